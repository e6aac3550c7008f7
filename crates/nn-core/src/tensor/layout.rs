//! Where a tensor's elements lie in a buffer: sizes, strides and an offset, in elements.

use super::Shape;

/// A strided view of a buffer. Strides are in elements and never negative; 0 repeats an element.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Layout {
    /// The sizes of the view.
    pub shape: Shape,
    /// The distance between neighbours along each dimension.
    pub strides: Vec<usize>,
    /// Where the first element lies.
    pub offset: usize,
}

impl Layout {
    /// The row-major layout of a whole tensor.
    pub fn contiguous(shape: &Shape) -> Layout {
        let mut strides = vec![1; shape.rank()];
        for axis in (1..shape.rank()).rev() {
            strides[axis - 1] = strides[axis] * shape[axis];
        }
        Layout { shape: shape.clone(), strides, offset: 0 }
    }

    /// Whether the elements lie one after the other in row-major order (from `offset` on).
    pub fn is_contiguous(&self) -> bool {
        let whole = Layout::contiguous(&self.shape);
        let sizes = self.shape.iter();
        sizes.zip(self.strides.iter().zip(&whole.strides)).all(|(&size, (a, b))| size == 1 || a == b)
    }

    /// Whether the view is the whole buffer in its own order: index `i` of one is index `i` of the other.
    pub fn is_identity(&self) -> bool {
        self.offset == 0 && self.is_contiguous()
    }

    /// Dimension `axis` of the result is dimension `order[axis]` of this view.
    pub fn permute(&self, order: &[usize]) -> Layout {
        Layout {
            shape: order.iter().map(|&axis| self.shape[axis]).collect::<Vec<_>>().into(),
            strides: order.iter().map(|&axis| self.strides[axis]).collect(),
            offset: self.offset,
        }
    }

    /// Repeats dimensions of size 1 and adds leading ones, as NumPy does; the caller has checked the fit.
    pub fn broadcast_to(&self, shape: &Shape) -> Layout {
        let missing = shape.rank() - self.shape.rank();
        let strides = (0..shape.rank()).map(|axis| {
            let repeated = axis < missing || self.shape[axis - missing] != shape[axis];
            if repeated { 0 } else { self.strides[axis - missing] }
        });
        Layout { shape: shape.clone(), strides: strides.collect(), offset: self.offset }
    }

    /// The part from `starts` on with the sizes `shape`.
    pub fn slice(&self, starts: &[usize], shape: &Shape) -> Layout {
        let skipped: usize = starts.iter().zip(&self.strides).map(|(start, stride)| start * stride).sum();
        Layout { shape: shape.clone(), strides: self.strides.clone(), offset: self.offset + skipped }
    }

    /// The same elements in order under another shape, or `None` where that takes a copy: where a new dimension would
    /// step unevenly through the buffer.
    pub fn reshape(&self, shape: &Shape) -> Option<Layout> {
        if self.is_contiguous() {
            return Some(Layout { offset: self.offset, ..Layout::contiguous(shape) });
        }
        // New dimensions share out the runs of old ones that are evenly spaced, from the innermost on.
        let (runs, steps) = Layout::collapse(&[self], &self.shape);
        let mut strides = vec![0; shape.rank()];
        let mut axis = shape.rank();
        for (mut run, mut step) in runs.into_iter().zip(steps[0].iter().copied()).rev() {
            while run > 1 {
                axis = axis.checked_sub(1)?;
                let size = shape[axis];
                if !run.is_multiple_of(size) {
                    return None;
                }
                run /= size;
                strides[axis] = if size == 1 { 0 } else { step };
                step *= size;
            }
        }
        Some(Layout { shape: shape.clone(), strides, offset: self.offset })
    }

    /// One past the last buffer element that the view reads.
    pub fn end(&self) -> usize {
        let last: usize = self.shape.iter().zip(&self.strides).map(|(size, stride)| (size - 1) * stride).sum();
        self.offset + last + 1
    }

    /// Merges neighbouring dimensions wherever **all** views step through them evenly, and drops
    /// those of size 1: fewer dimensions mean less index arithmetic in a kernel. All views have the
    /// same shape; returns the merged sizes and each view's strides.
    pub fn collapse(views: &[&Layout], shape: &Shape) -> (Vec<usize>, Vec<Vec<usize>>) {
        let mut sizes: Vec<usize> = Vec::new();
        let mut strides: Vec<Vec<usize>> = vec![Vec::new(); views.len()];
        for axis in 0..shape.rank() {
            let size = shape[axis];
            if size == 1 {
                continue;
            }
            let merges = !sizes.is_empty()
                && views.iter().zip(&strides).all(|(view, outer)| outer.last() == Some(&(view.strides[axis] * size)));
            if merges {
                if let Some(last) = sizes.last_mut() {
                    *last *= size;
                }
                for (view, merged) in views.iter().zip(&mut strides) {
                    if let Some(last) = merged.last_mut() {
                        *last = view.strides[axis];
                    }
                }
            } else {
                sizes.push(size);
                for (view, merged) in views.iter().zip(&mut strides) {
                    merged.push(view.strides[axis]);
                }
            }
        }
        (sizes, strides)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_find_the_right_elements() {
        let whole = Layout::contiguous(&Shape::from([2, 3, 4]));
        assert_eq!(whole.strides, [12, 4, 1]);
        let turned = whole.permute(&[2, 0, 1]);
        assert_eq!((&*turned.shape, &*turned.strides), (&[4, 2, 3][..], &[1, 12, 4][..]));
        assert!(!turned.is_contiguous());
        let part = whole.slice(&[1, 1, 0], &Shape::from([1, 2, 4]));
        assert_eq!(part.offset, 16);
        assert!(part.is_contiguous() && !part.is_identity());
        assert_eq!(part.end(), 24);
        assert_eq!(turned.reshape(&Shape::from([24])), None);
        let longer = turned.reshape(&Shape::from([4, 1, 2, 3])).expect("only a dimension of size 1 is new");
        assert_eq!(longer.strides, [1, 0, 12, 4]);
        assert_eq!(turned.reshape(&Shape::from([12, 2])), None);
        let row = Layout::contiguous(&Shape::from([4])).broadcast_to(&Shape::from([3, 4]));
        assert_eq!(row.strides, [0, 1]);
    }

    #[test]
    fn dimensions_split_and_merge_where_the_steps_are_even() {
        let elements = |layout: &Layout| {
            layout.shape.iter().zip(&layout.strides).fold(vec![layout.offset], |outer, (&size, stride)| {
                outer.iter().flat_map(|start| (0..size).map(move |index| start + index * stride)).collect()
            })
        };
        // The middle third of each row, as heads, and back.
        let part = Layout::contiguous(&Shape::from([2, 5, 12])).slice(&[0, 0, 4], &Shape::from([2, 5, 4]));
        for (shape, possible) in [
            (vec![2, 5, 2, 2], true),
            (vec![10, 4], true),
            (vec![1, 10, 1, 2, 2, 1], true),
            (vec![5, 2, 4], true),
            (vec![5, 8], false),
            (vec![2, 20], false),
            (vec![40], false),
        ] {
            let found = part.reshape(&shape.clone().into());
            assert_eq!(found.is_some(), possible, "{shape:?}");
            assert!(found.is_none_or(|found| elements(&found) == elements(&part)), "{shape:?}");
        }
        let repeated = Layout::contiguous(&Shape::from([3, 1, 1])).broadcast_to(&Shape::from([3, 4, 6]));
        let merged = repeated.reshape(&Shape::from([3, 24])).expect("a repeated element stays one");
        assert_eq!(merged.strides, [1, 0]);
        assert_eq!(repeated.reshape(&Shape::from([12, 6])), None);
    }

    #[test]
    fn collapse_merges_only_what_all_views_share() {
        let shape = Shape::from([2, 3, 4]);
        let whole = Layout::contiguous(&shape);
        assert_eq!(Layout::collapse(&[&whole], &shape), (vec![24], vec![vec![1]]));
        let row = Layout::contiguous(&Shape::from([4])).broadcast_to(&shape);
        let (sizes, strides) = Layout::collapse(&[&whole, &row], &shape);
        assert_eq!((sizes, strides), (vec![6, 4], vec![vec![4, 1], vec![0, 1]]));
    }
}
