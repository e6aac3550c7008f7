//! The planes of an image that a kernel moves over: the channels with the zeros around them, and of a stride the rows and
//! columns that it puts into different places of windows each in a plane of their own, so that neighbours are read.

use std::ops::Range;

use super::{Convolution, Share, padded, with_planes};
use crate::product::Run;
use crate::real::Real;

/// Which elements lie where.
pub(super) struct Planes {
    /// The first row and column of each plane.
    firsts: Vec<[usize; 2]>,
    /// Height and width of a plane.
    size: [usize; 2],
    /// Whether the planes are the channels themselves.
    same: bool,
    /// For each weight (c, r, s) where the element that it meets at the first place lies in an image.
    pub(super) offsets: Vec<usize>,
}

/// Elements behind the last that vectors may read.
pub(super) const BEYOND: usize = 32;

impl Planes {
    /// `beyond`: whether vectors may read elements behind the last.
    pub(super) fn of(sizes: &Convolution, beyond: bool) -> Planes {
        let moved = padded(sizes);
        let inside = [0, 1].map(|axis| sizes.before[axis] == 0 && moved[axis] <= sizes.input[axis]);
        let same = sizes.stride == [1, 1] && inside == [true, true] && !beyond;
        let size = if same { sizes.input } else { [0, 1].map(|axis| moved[axis].div_ceil(sizes.stride[axis])) };
        // The remainders by the stride of what the kernel's places meet.
        let [rows, columns] = [0, 1].map(|axis| {
            let remainder = |tap: usize| tap * sizes.dilation[axis] % sizes.stride[axis];
            let mut all: Vec<usize> = (0..sizes.kernel[axis]).map(remainder).collect();
            all.sort_unstable();
            all.dedup();
            all
        });
        let firsts = rows.iter().flat_map(|row| columns.iter().map(move |column| [*row, *column])).collect();
        let mut planes = Planes { firsts, size, same, offsets: Vec::with_capacity(sizes.depth()) };
        let find = |axis: usize, firsts: &[usize], tap: usize| {
            let reach = tap * sizes.dilation[axis];
            let plane = firsts.iter().position(|first| *first == reach % sizes.stride[axis]);
            (plane.unwrap_or(0), reach / sizes.stride[axis])
        };
        for channel in 0..sizes.inputs {
            for (r, s) in (0..sizes.kernel[0]).flat_map(|r| (0..sizes.kernel[1]).map(move |s| (r, s))) {
                let ((row, y), (column, x)) = (find(0, &rows, r), find(1, &columns, s));
                let plane = channel * planes.firsts.len() + row * columns.len() + column;
                planes.offsets.push((plane * size[0] + y) * size[1] + x);
            }
        }
        planes
    }

    /// Elements from one row of a plane to the next.
    pub(super) fn width(&self) -> usize {
        self.size[1]
    }

    /// Elements of the planes of a channel.
    fn channel(&self) -> usize {
        self.firsts.len() * self.size[0] * self.size[1]
    }

    /// Elements of an image's group of channels.
    fn image(&self, sizes: &Convolution) -> usize {
        sizes.inputs * self.channel()
    }

    /// Where the places of so many images find what the first weight meets.
    pub(super) fn runs(&self, sizes: &Convolution, images: usize) -> Vec<Run> {
        let image = if self.same { sizes.groups * self.image(sizes) } else { self.image(sizes) };
        let mut runs = Vec::new();
        for start in (0..images).map(|number| number * image) {
            (0..sizes.output[0]).for_each(|row| Run::push(&mut runs, start + row * self.size[1], sizes.output[1]));
        }
        runs
    }

    /// Lends the planes of a group of channels of some images.
    pub(super) fn with<T: Real, R>(
        &self,
        sizes: &Convolution,
        input: &[T],
        images: Range<usize>,
        group: usize,
        share: Share,
        work: impl FnOnce(&[T]) -> R,
    ) -> R {
        let of_group = sizes.inputs * sizes.input_area();
        let group = |image: usize| &input[(image * sizes.groups + group) * of_group..];
        if self.same {
            return work(group(images.start));
        }
        let image = self.image(sizes);
        let count = images.len() * image;
        with_planes(count + BEYOND, |planes| {
            let (filled, beyond) = planes.split_at_mut(count);
            beyond.fill(T::ZERO);
            share.within(filled, self.channel(), |number, planes| {
                let (image, channel) = (images.start + number / sizes.inputs, number % sizes.inputs);
                self.fill(sizes, &group(image)[channel * sizes.input_area()..][..sizes.input_area()], planes);
            });
            work(planes)
        })
    }

    /// Copies a channel to its planes.
    fn fill<T: Real>(&self, sizes: &Convolution, channel: &[T], planes: &mut [T]) {
        let ([height, width], [down, across]) = (sizes.input, sizes.stride);
        for (plane, [top, left]) in planes.chunks_exact_mut(self.size[0] * self.size[1]).zip(&self.firsts) {
            // The columns that lie in the image.
            let inside = |end: usize| (end + sizes.before[1]).saturating_sub(*left).div_ceil(across).min(self.size[1]);
            let (low, high) = (inside(0), inside(width));
            for number in 0..self.size[0] {
                let rows = &mut plane[number * self.size[1]..];
                let y = (number * down + top).wrapping_sub(sizes.before[0]);
                if y >= height || low == high {
                    rows[..self.size[1]].fill(T::ZERO);
                    continue;
                }
                let values = &channel[y * width + low * across + left - sizes.before[1]..];
                if across == 1 {
                    write_row(rows, self.size[1], low, values, high - low);
                } else {
                    let row = &mut rows[..self.size[1]];
                    row[..low].fill(T::ZERO);
                    row[high..].fill(T::ZERO);
                    row[low..high].iter_mut().zip(values.iter().step_by(across)).for_each(|(to, from)| *to = *from);
                }
            }
        }
    }
}

/// Copies a plane into a larger one, from the given row and column on, with zeros around; what does not fit is left out.
pub(super) fn surround<T: Real>(
    from: &[T],
    size: [usize; 2],
    [top, left]: [usize; 2],
    [height, width]: [usize; 2],
    to: &mut [T],
) {
    let count = size[1].min(width.saturating_sub(left));
    for row in 0..height {
        let rows = &mut to[row * width..];
        match row.checked_sub(top).filter(|row| *row < size[0]) {
            Some(row) if count > 0 => write_row(rows, width, left, &from[row * size[1]..], count),
            _ => rows[..width].fill(T::ZERO),
        }
    }
}

/// Writes a row of so many columns, given it with those that follow, which are written next: zeros, from a column on the
/// given count of values, and zeros.
#[inline]
fn write_row<T: Real>(rows: &mut [T], columns: usize, first: usize, values: &[T], count: usize) {
    // By pieces of a length that is known, as far as there is room, since a call for each row takes longer.
    const PIECE: usize = 16;
    for done in (0..count).step_by(PIECE) {
        let (to, from) = (&mut rows[first + done..], &values[done..]);
        if let (Some(to), Some(from)) = (to.first_chunk_mut::<PIECE>(), from.first_chunk::<PIECE>()) {
            *to = *from;
        } else {
            let rest = PIECE.min(count - done);
            to[..rest].copy_from_slice(&from[..rest]);
        }
    }
    rows[..first].fill(T::ZERO);
    rows[first + count..columns].fill(T::ZERO);
}
