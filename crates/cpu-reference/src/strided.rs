//! Strided views: sizes, strides and an offset, and walking through them by innermost runs.

/// The most dimensions a kernel takes.
pub const MAX_RANK: usize = 8;

/// A view of a slice: element `index` of the view is `slice[offset + Σ index[d]·strides[d]]`.
///
/// Sizes and strides are in elements and have the same length (at most [`MAX_RANK`]; none is a view of
/// one element); a stride of 0 repeats the element along that dimension.
#[derive(Clone, Copy, Debug)]
pub struct Strided<'a> {
    /// Elements along each dimension.
    pub sizes: &'a [usize],
    /// Elements between neighbours along each dimension.
    pub strides: &'a [usize],
    /// Elements before the first.
    pub offset: usize,
}

impl Strided<'_> {
    /// How many elements the view has.
    pub fn count(&self) -> usize {
        self.sizes.iter().product()
    }
}

/// The strides of a contiguous row-major tensor of `sizes`.
pub fn contiguous_strides(sizes: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; sizes.len()];
    for dimension in (1..sizes.len()).rev() {
        strides[dimension - 1] = strides[dimension] * sizes[dimension];
    }
    strides
}

/// The same view with dimensions of size 1 left out and neighbours merged where one stride serves both:
/// `(sizes, strides)`. Kernels with an index computation per dimension are given this.
pub fn collapse(sizes: &[usize], strides: &[usize]) -> (Vec<usize>, Vec<usize>) {
    let dimensions = Dimensions::new(sizes, [strides]);
    let rank = dimensions.rank;
    let strides = dimensions.strides[..rank].iter().map(|stride| stride[0]);
    (dimensions.sizes[..rank].to_vec(), strides.collect())
}

/// Collapsed dimensions that `N` views share; never of rank 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dimensions<const N: usize> {
    pub(crate) rank: usize,
    pub(crate) sizes: [usize; MAX_RANK],
    pub(crate) strides: [[usize; N]; MAX_RANK],
}

impl<const N: usize> Dimensions<N> {
    /// Drops dimensions of size 1 and merges neighbours that are one run in all `N` views.
    pub(crate) fn new(sizes: &[usize], strides: [&[usize]; N]) -> Self {
        let mut result = Self { rank: 0, sizes: [1; MAX_RANK], strides: [[0; N]; MAX_RANK] };
        for (dimension, &size) in sizes.iter().enumerate() {
            if size == 1 {
                continue;
            }
            let here: [usize; N] = std::array::from_fn(|view| strides[view][dimension]);
            if result.rank > 0 {
                let before = result.strides[result.rank - 1];
                if (0..N).all(|view| before[view] == here[view] * size) {
                    result.sizes[result.rank - 1] *= size;
                    result.strides[result.rank - 1] = here;
                    continue;
                }
            }
            assert!(result.rank < MAX_RANK, "internal: a kernel takes at most {MAX_RANK} dimensions, not {sizes:?}");
            result.sizes[result.rank] = size;
            result.strides[result.rank] = here;
            result.rank += 1;
        }
        result.rank = result.rank.max(1);
        result
    }

    /// How many elements each view has.
    pub(crate) fn count(&self) -> usize {
        self.sizes[..self.rank].iter().product()
    }

    /// The size and the strides of the innermost dimension.
    pub(crate) fn innermost(&self) -> (usize, [usize; N]) {
        (self.sizes[self.rank - 1], self.strides[self.rank - 1])
    }

    /// All dimensions but the innermost.
    pub(crate) fn outer(&self) -> Self {
        let mut result = *self;
        result.rank = (self.rank - 1).max(1);
        result.sizes[self.rank - 1] = 1;
        result.strides[self.rank - 1] = [0; N];
        result
    }

    /// The offsets of the element with this linear index.
    pub(crate) fn offsets(&self, index: usize) -> [usize; N] {
        let mut rest = index;
        let mut offsets = [0; N];
        for dimension in (0..self.rank).rev() {
            let place = rest % self.sizes[dimension];
            rest /= self.sizes[dimension];
            for (offset, stride) in offsets.iter_mut().zip(self.strides[dimension]) {
                *offset += place * stride;
            }
        }
        offsets
    }

    /// Visits `count` elements from the linear index `first` on, in order, as runs along the innermost
    /// dimension: `visit(offsets of the run's first element, length of the run)`.
    #[inline]
    pub(crate) fn runs(&self, first: usize, count: usize, mut visit: impl FnMut([usize; N], usize)) {
        let innermost = self.rank - 1;
        let (size, strides) = self.innermost();
        if first.is_multiple_of(size) && count <= size {
            // The common case of one row at a time needs no odometer.
            return visit(self.offsets(first), count);
        }
        let mut index = [0; MAX_RANK];
        let mut rest = first;
        for dimension in (0..self.rank).rev() {
            index[dimension] = rest % self.sizes[dimension];
            rest /= self.sizes[dimension];
        }
        let mut offsets = self.offsets(first);
        let mut left = count;
        while left > 0 {
            let run = (size - index[innermost]).min(left);
            visit(offsets, run);
            left -= run;
            if left == 0 {
                return;
            }
            // The run ended at the end of the row: back to the row's start, then carry.
            for (offset, stride) in offsets.iter_mut().zip(strides) {
                *offset -= index[innermost] * stride;
            }
            index[innermost] = 0;
            for dimension in (0..innermost).rev() {
                index[dimension] += 1;
                let wrapped = index[dimension] == self.sizes[dimension];
                for (offset, stride) in offsets.iter_mut().zip(self.strides[dimension]) {
                    *offset += stride;
                    if wrapped {
                        *offset -= self.sizes[dimension] * stride;
                    }
                }
                if !wrapped {
                    break;
                }
                index[dimension] = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collapse_merges_what_is_one_run() {
        assert_eq!(collapse(&[2, 3, 4], &[12, 4, 1]), (vec![24], vec![1]));
        assert_eq!(collapse(&[2, 1, 4], &[4, 99, 1]), (vec![8], vec![1]));
        assert_eq!(collapse(&[3, 4], &[1, 3]), (vec![3, 4], vec![1, 3]));
        assert_eq!(collapse(&[3, 4], &[0, 0]), (vec![12], vec![0]));
        assert_eq!(collapse(&[], &[]), (vec![1], vec![0]));
        assert_eq!(collapse(&[2, 3, 4], &[12, 0, 1]).0, [2, 3, 4]);
    }

    #[test]
    fn runs_visit_each_element_in_order() {
        let sizes = [3, 1, 4, 2];
        for strides in [[8, 8, 2, 1], [1, 0, 3, 12], [0, 0, 1, 4]] {
            let dimensions = Dimensions::new(&sizes, [&strides]);
            let mut expected = Vec::new();
            for a in 0..3 {
                for b in 0..4 {
                    for c in 0..2 {
                        expected.push(a * strides[0] + b * strides[2] + c * strides[3]);
                    }
                }
            }
            let inner = dimensions.innermost().1[0];
            for first in 0..24 {
                for count in 0..=24 - first {
                    let mut seen = Vec::new();
                    dimensions.runs(first, count, |[offset], run| {
                        seen.extend((0..run).map(|place| offset + place * inner));
                    });
                    assert_eq!(seen, expected[first..first + count]);
                }
            }
        }
    }
}
