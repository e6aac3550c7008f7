//! Windows of buffers: cuts work on large tensors so that what each piece shows of a buffer fits one binding.

use std::ops::Range;

/// What a device lets one binding show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindingLimit {
    /// The most bytes.
    pub bytes: u64,
    /// Bytes at which a window must begin.
    pub alignment: u64,
}

/// One axis of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis {
    size: usize,
    /// 0 if the axis is never cut.
    step: usize,
}

impl Axis {
    /// An axis that may be cut anywhere.
    pub const fn any(size: usize) -> Axis {
        Axis { size, step: 1 }
    }

    /// An axis that is cut at multiples of `step`, and elsewhere only if a piece of one step is too large.
    pub const fn in_steps(size: usize, step: usize) -> Axis {
        Axis { size, step }
    }

    /// An axis that must stay whole.
    pub const fn whole(size: usize) -> Axis {
        Axis { size, step: 0 }
    }
}

/// Where a tensor's elements lie along the axes of the work, in elements; a stride of 0 reads the same one again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Where the first element lies.
    pub offset: usize,
    /// The distance between neighbours along each axis.
    pub strides: Vec<usize>,
}

/// What one binding must show: all that its views reach of one buffer.
#[derive(Clone, Debug)]
pub struct Bound {
    /// The views of the buffer.
    pub views: Vec<View>,
    /// Bytes of one element.
    pub element_bytes: usize,
    /// Bytes of the buffer. One that fits a binding is bound whole and never a reason to cut.
    pub buffer_bytes: u64,
}

/// A box of the work, and the part of each buffer that it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where it begins along each axis.
    pub starts: Vec<usize>,
    /// Its size along each axis.
    pub sizes: Vec<usize>,
    /// For each binding the elements to show, or `None` for the whole buffer.
    pub windows: Vec<Option<Range<usize>>>,
}

/// A piece that cannot be cut further shows too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// Which binding.
    pub bound: usize,
    /// The bytes that it shows.
    pub bytes: u64,
}

impl View {
    fn reach(&self, starts: &[usize], sizes: &[usize]) -> Range<usize> {
        let first = self.offset + dot(starts, &self.strides);
        let last: usize = sizes.iter().zip(&self.strides).map(|(size, stride)| (size - 1) * stride).sum();
        first..first + last + 1
    }
}

impl Bound {
    fn reach(&self, starts: &[usize], sizes: &[usize]) -> Range<usize> {
        let all = self.views.iter().map(|view| view.reach(starts, sizes));
        all.reduce(|a, b| a.start.min(b.start)..a.end.max(b.end)).unwrap_or(0..1)
    }

    fn window(&self, starts: &[usize], sizes: &[usize], limit: BindingLimit) -> Option<Range<usize>> {
        let unit = (limit.alignment as usize / self.element_bytes).max(1);
        let reach = self.reach(starts, sizes);
        (self.buffer_bytes > limit.bytes).then(|| reach.start / unit * unit..reach.end)
    }
}

impl Piece {
    /// Where in the window of binding `bound` the element lies that is number `place` of the buffer. Negative, as
    /// wrapped 32-bit arithmetic has it, for an element before the window.
    pub fn place_in_window(&self, bound: usize, place: usize) -> u32 {
        let start = self.windows[bound].as_ref().map_or(0, |window| window.start);
        place.wrapping_sub(start) as u32
    }

    /// The number of places in the box.
    pub fn elements(&self) -> usize {
        self.sizes.iter().product()
    }
}

/// The sum of products.
pub fn dot(left: &[usize], right: &[usize]) -> usize {
    left.iter().zip(right).map(|(a, b)| a * b).sum()
}

/// Cuts the work in two along the axis that shortens the longest window most, and so on until every window fits. Of
/// two pieces that a cut parts, the one of lower places comes first.
///
/// # Errors
/// If no cut shortens a window that is too long.
pub fn cut(axes: &[Axis], bounds: &[Bound], limit: BindingLimit) -> Result<Vec<Piece>, TooLong> {
    let mut pieces = Vec::new();
    let mut open = vec![(vec![0; axes.len()], axes.iter().map(|axis| axis.size).collect::<Vec<_>>())];
    while let Some((starts, sizes)) = open.pop() {
        let windows: Vec<_> = bounds.iter().map(|bound| bound.window(&starts, &sizes, limit)).collect();
        let bytes = |bound: usize| {
            windows[bound].as_ref().map_or(0, |window| (window.len() as u64) * bounds[bound].element_bytes as u64)
        };
        // Of equals the first: an input is what a user knows by name.
        let worst =
            (0..bounds.len()).rev().filter(|&bound| bytes(bound) > limit.bytes).max_by_key(|&bound| bytes(bound));
        let Some(worst) = worst else {
            pieces.push(Piece { starts, sizes, windows });
            continue;
        };
        let reach = |(starts, sizes): &Part| bounds[worst].reach(starts, sizes).len();
        let whole = reach(&(starts.clone(), sizes.clone()));
        let halves = (0..axes.len()).filter_map(|axis| halves(&starts, &sizes, axis, axes[axis].step));
        let best = halves.min_by_key(|(low, high)| reach(low).max(reach(high)));
        match best {
            Some((low, high)) if reach(&low).max(reach(&high)) < whole => open.extend([high, low]),
            _ => return Err(TooLong { bound: worst, bytes: bytes(worst) }),
        }
    }
    Ok(pieces)
}

/// Where a box begins, and its sizes.
type Part = (Vec<usize>, Vec<usize>);

fn halves(starts: &[usize], sizes: &[usize], axis: usize, step: usize) -> Option<(Part, Part)> {
    let size = sizes[axis];
    if size < 2 || step == 0 {
        return None;
    }
    let half = size.div_ceil(2);
    let at = Some(half.next_multiple_of(step)).filter(|&at| at < size).unwrap_or(half);
    let (mut low, mut high) = ((starts.to_vec(), sizes.to_vec()), (starts.to_vec(), sizes.to_vec()));
    low.1[axis] = at;
    high.0[axis] += at;
    high.1[axis] = size - at;
    Some((low, high))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{Layout, Shape};
    use cpu_reference::philox::Philox;

    const LIMIT: BindingLimit = BindingLimit { bytes: 1024, alignment: 256 };

    fn bound(layout: &Layout) -> Bound {
        let view = View { offset: layout.offset, strides: layout.strides.clone() };
        Bound { views: vec![view], element_bytes: 4, buffer_bytes: 4 * layout.end() as u64 }
    }

    /// A random view of the shape: permuted, sliced, broadcast.
    fn random_view(random: &mut Philox, shape: &Shape) -> Layout {
        let mut order: Vec<usize> = (0..shape.rank()).collect();
        (1..order.len()).rev().for_each(|place| order.swap(place, random.below(place as u32 + 1) as usize));
        let larger: Vec<usize> = order.iter().map(|&axis| shape[axis] + random.below(3) as usize).collect();
        let mut inverse = vec![0; order.len()];
        order.iter().enumerate().for_each(|(place, &axis)| inverse[axis] = place);
        let mut view = Layout::contiguous(&larger.into()).permute(&inverse);
        let starts: Vec<usize> =
            (0..shape.rank()).map(|axis| random.below((view.shape[axis] - shape[axis]) as u32 + 1) as usize).collect();
        view = view.slice(&starts, shape);
        view.strides.iter_mut().for_each(|stride| *stride *= usize::from(random.below(5) > 0));
        view
    }

    #[test]
    fn pieces_tile_the_box_in_order_and_every_window_fits() {
        let mut random = Philox::new(5, 0);
        let (mut cuts, mut refusals) = (0, 0);
        for round in 0..300 {
            let rank = 1 + random.below(4) as usize;
            let most = [2000, 60, 14, 8][rank - 1];
            let shape: Shape = (0..rank).map(|_| 1 + random.below(most) as usize).collect::<Vec<_>>().into();
            let axes: Vec<Axis> = shape
                .iter()
                .map(|&size| match random.below(8) {
                    0 => Axis::whole(size),
                    1 | 2 => Axis::in_steps(size, 4),
                    _ => Axis::any(size),
                })
                .collect();
            let views: Vec<Layout> = (0..1 + random.below(3)).map(|_| random_view(&mut random, &shape)).collect();
            let bounds: Vec<Bound> = views.iter().map(bound).collect();
            let pieces = match cut(&axes, &bounds, LIMIT) {
                Ok(pieces) => pieces,
                Err(TooLong { bound, bytes }) => {
                    // Even the smallest boxes that the axes allow are too long for it.
                    let least: Vec<usize> =
                        axes.iter().map(|axis| if axis.step == 0 { axis.size } else { 1 }).collect();
                    let reach = bounds[bound].reach(&vec![0; rank], &least);
                    assert!(4 * (reach.len() + 63) > 1024 && bytes > 1024, "round {round} gave up too early");
                    refusals += 1;
                    continue;
                }
            };
            cuts += usize::from(pieces.len() > 1);
            let mut met = vec![0; shape.elements()];
            for piece in &pieces {
                for place in 0..piece.elements() {
                    let mut rest = place;
                    let mut coordinates = vec![0; rank];
                    for axis in (0..rank).rev() {
                        coordinates[axis] = rest % piece.sizes[axis];
                        rest /= piece.sizes[axis];
                    }
                    for (number, view) in views.iter().enumerate() {
                        let inside = dot(&coordinates, &view.strides);
                        let buffer = view.offset + dot(&piece.starts, &view.strides) + inside;
                        let Some(window) = &piece.windows[number] else { continue };
                        assert!(window.contains(&buffer), "round {round}");
                        assert_eq!(piece.place_in_window(number, buffer) as usize, buffer - window.start);
                    }
                    let whole: Vec<usize> = coordinates.iter().zip(&piece.starts).map(|(a, b)| a + b).collect();
                    met[dot(&whole, &Layout::contiguous(&shape).strides)] += 1;
                }
                for (window, bound) in piece.windows.iter().zip(&bounds) {
                    match window {
                        Some(window) => assert!(window.start % 64 == 0 && 4 * window.len() <= 1024, "round {round}"),
                        None => assert!(bound.buffer_bytes <= 1024),
                    }
                }
            }
            assert!(met.iter().all(|&times| times == 1), "round {round}: the pieces don't tile {shape}");
            // Where two pieces overlap along all axes but one, the lower comes first.
            for (place, later) in pieces.iter().enumerate() {
                for earlier in &pieces[..place] {
                    let apart: Vec<usize> = (0..rank)
                        .filter(|&axis| {
                            earlier.starts[axis] + earlier.sizes[axis] <= later.starts[axis]
                                || later.starts[axis] + later.sizes[axis] <= earlier.starts[axis]
                        })
                        .collect();
                    if let [axis] = apart[..] {
                        assert!(earlier.starts[axis] < later.starts[axis], "round {round}");
                    }
                }
            }
        }
        assert!(cuts > 100 && refusals > 10, "{cuts} cuts, {refusals} refusals");
    }

    #[test]
    fn cuts_fall_where_they_help_and_on_steps() {
        let shape = Shape::from([100, 48]);
        let rows = bound(&Layout::contiguous(&shape));
        let sizes = |axes: [Axis; 2], bound: &Bound| {
            let pieces = cut(&axes, std::slice::from_ref(bound), BindingLimit { bytes: 12_800, alignment: 256 });
            pieces.map(|pieces| pieces.into_iter().map(|piece| piece.sizes).collect::<Vec<_>>())
        };
        assert_eq!(sizes([Axis::any(100), Axis::any(48)], &rows), Ok(vec![vec![50, 48]; 2]));
        assert_eq!(sizes([Axis::in_steps(100, 64), Axis::any(48)], &rows), Ok(vec![vec![64, 48], vec![36, 48]]));
        assert_eq!(sizes([Axis::whole(100), Axis::any(48)], &rows), Err(TooLong { bound: 0, bytes: 19_200 - 4 * 47 }));
        let columns = bound(&Layout::contiguous(&[48, 100].into()).permute(&[1, 0]));
        assert_eq!(sizes([Axis::any(100), Axis::any(48)], &columns), Ok(vec![vec![100, 24]; 2]));
        // An element before the window has a negative place there.
        let piece = Piece { starts: vec![], sizes: vec![], windows: vec![Some(64..100)] };
        assert_eq!((piece.place_in_window(0, 70), piece.place_in_window(0, 60)), (6, u32::MAX - 3));
    }
}
