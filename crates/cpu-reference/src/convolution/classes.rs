//! The classes of an input's places: those a stride apart meet the same weights.

use super::planes::{BEYOND, surround};
use super::{Convolution, Share, with_planes};
use crate::real::Real;

/// The rows, or columns, of an input that the same weights meet: those a stride apart.
struct Class {
    first: usize,
    count: usize,
    /// The kernel's places that meet them, and where each finds its element of `dy` for the first of them.
    taps: Vec<(usize, usize)>,
}

/// The classes of an axis, the zeros that they need before `dy`, and its size with those.
fn classes(sizes: &Convolution, axis: usize) -> (Vec<Class>, usize, usize) {
    let (stride, size, before) = (sizes.stride[axis], sizes.input[axis], sizes.before[axis]);
    let zeros = (sizes.kernel[axis] - 1) * sizes.dilation[axis] / stride;
    let class = |first: usize| {
        let reach = |tap: usize| tap * sizes.dilation[axis];
        let meets = |tap: &usize| reach(*tap) % stride == (first + before) % stride;
        let place = |tap: usize| (tap, (first + before) / stride + zeros - reach(tap) / stride);
        let taps = (0..sizes.kernel[axis]).filter(meets).map(place).collect();
        Class { first, count: (size - first).div_ceil(stride), taps }
    };
    let length = zeros + (size - 1 + before) / stride + 1;
    ((0..stride.min(size)).map(class).collect(), zeros, length)
}

/// A class of rows and one of columns: the first element and how many there are, and of each weight that they meet its
/// number and where it finds its element of `dy` for the first of them.
pub(super) struct Pair {
    pub(super) first: [usize; 2],
    pub(super) count: [usize; 2],
    pub(super) weights: Vec<usize>,
    pub(super) distances: Vec<usize>,
}

impl Pair {
    /// Elements of a channel.
    pub(super) fn places(&self) -> usize {
        self.count[0] * self.count[1]
    }
}

/// Which weights each element of the input meets, made once for all images.
pub(super) struct Classes {
    /// The first has the most elements.
    pub(super) pairs: Vec<Pair>,
    /// Zeros before dy, and its size with those around it.
    pub(super) before: [usize; 2],
    pub(super) size: [usize; 2],
}

impl Classes {
    pub(super) fn of(sizes: &Convolution) -> Classes {
        let ((rows, top, height), (columns, left, width)) = (classes(sizes, 0), classes(sizes, 1));
        let pair = |(row, column): (&Class, &Class)| {
            let taps = row.taps.iter().flat_map(|r| column.taps.iter().map(move |s| (r, s)));
            let tap = |((r, y), (s, x)): (&(usize, usize), &(usize, usize))| (r * sizes.kernel[1] + s, y * width + x);
            let (weights, distances) = taps.map(tap).unzip();
            Pair { first: [row.first, column.first], count: [row.count, column.count], weights, distances }
        };
        let pairs = rows.iter().flat_map(|row| columns.iter().map(move |column| (row, column))).map(pair).collect();
        Classes { pairs, before: [top, left], size: [height, width] }
    }

    /// Lends `dy` of a group of channels of an image, with the zeros around it, and as many elements behind the last as
    /// vectors may read.
    pub(super) fn with<T: Real, R>(
        &self,
        sizes: &Convolution,
        dy: &[T],
        share: Share,
        work: impl FnOnce(&[T]) -> R,
    ) -> R {
        let channel = self.size[0] * self.size[1];
        with_planes(sizes.outputs * channel + BEYOND, |planes| {
            let (filled, beyond) = planes.split_at_mut(sizes.outputs * channel);
            beyond.fill(T::ZERO);
            share.within(filled, channel, |number, plane| {
                let dy = &dy[number * sizes.output_area()..][..sizes.output_area()];
                surround(dy, sizes.output, self.before, self.size, plane);
            });
            work(planes)
        })
    }

    /// Writes a channel, given the sums of all channels, one class behind the other.
    pub(super) fn put_together<T: Real>(&self, sizes: &Convolution, sums: &[T], channel: usize, dx: &mut [T]) {
        let (width, [down, across]) = (sizes.input[1], sizes.stride);
        let mut before = 0;
        for pair in &self.pairs {
            let places = pair.places();
            let sums = &sums[before + channel * places..][..places];
            before += sizes.inputs * places;
            for (row, sums) in sums.chunks_exact(pair.count[1]).enumerate() {
                let row = &mut dx[(pair.first[0] + row * down) * width + pair.first[1]..];
                if across == 1 {
                    row[..sums.len()].copy_from_slice(sums);
                } else {
                    row.iter_mut().step_by(across).zip(sums).for_each(|(dx, sum)| *dx = *sum);
                }
            }
        }
    }
}
