//! Copying a strided view to another: `contiguous()`, concatenation, slices.

use crate::strided::{Dimensions, MAX_RANK, Strided};

/// Elements worth handing to another thread.
const TASK: usize = 1 << 15;
/// The side of the square in which a transposing copy walks both operands, in elements.
const TILE: usize = 32;

/// Copies each element of `view` (of `source`) to
/// `destination[destination_offset + index·destination_strides]`; other elements of `destination` stay.
///
/// The destination's strides must give each index an element of its own.
///
/// # Panics
/// If a view leads out of its slice ("internal: …" or an index out of range).
pub fn copy<E: Copy + Send + Sync>(
    source: &[E],
    view: Strided<'_>,
    destination: &mut [E],
    destination_strides: &[usize],
    destination_offset: usize,
) {
    assert!(
        view.sizes.len() == view.strides.len()
            && view.sizes.len() == destination_strides.len()
            && view.offset <= source.len()
            && destination_offset <= destination.len(),
        "internal: a copy of {view:?} to strides {destination_strides:?} does not fit"
    );
    if view.count() == 0 {
        return;
    }
    let dimensions = Dimensions::new(view.sizes, [view.strides, destination_strides]);
    copy_part(&source[view.offset..], &dimensions, 0, &mut destination[destination_offset..]);
}

/// Copies one part, halved along its first long dimension while that keeps the halves of the
/// destination apart and there is work for two threads.
fn copy_part<E: Copy + Send + Sync>(
    source: &[E],
    dimensions: &Dimensions<2>,
    source_start: usize,
    destination: &mut [E],
) {
    let count = dimensions.count();
    if count > TASK && rayon::current_num_threads() > 1 {
        // Dimensions before the first long one have one index left, which is in the start.
        let split = (0..dimensions.rank).find(|&dimension| dimensions.sizes[dimension] > 1).unwrap_or(0);
        let half = dimensions.sizes[split] / 2;
        let boundary = half * dimensions.strides[split][1];
        let (mut left, mut right) = (*dimensions, *dimensions);
        left.sizes[split] = half;
        right.sizes[split] -= half;
        if half > 0 && extent(&left) <= boundary && boundary <= destination.len() {
            let (left_destination, right_destination) = destination.split_at_mut(boundary);
            let right_start = source_start + half * dimensions.strides[split][0];
            rayon::join(
                || copy_part(source, &left, source_start, left_destination),
                || copy_part(source, &right, right_start, right_destination),
            );
            return;
        }
    }
    copy_whole(source, dimensions, source_start, destination);
}

/// How many destination elements lie from the first one written to the last.
fn extent(dimensions: &Dimensions<2>) -> usize {
    let last: usize = (0..dimensions.rank)
        .map(|dimension| (dimensions.sizes[dimension] - 1) * dimensions.strides[dimension][1])
        .sum();
    last + 1
}

fn copy_whole<E: Copy>(source: &[E], dimensions: &Dimensions<2>, source_start: usize, destination: &mut [E]) {
    let (_, [source_stride, destination_stride]) = dimensions.innermost();
    // A dimension along which the source is contiguous, other than the innermost: a transpose.
    let crossing = (0..dimensions.rank - 1)
        .find(|&dimension| dimensions.strides[dimension][0] == 1 && dimensions.sizes[dimension] > 1);
    if let (Some(crossing), 1) = (crossing, destination_stride)
        && source_stride > 1
    {
        return copy_transposed(source, dimensions, crossing, source_start, destination);
    }
    dimensions.runs(0, dimensions.count(), |[from, to], run| {
        let source = &source[source_start + from..];
        match (source_stride, destination_stride) {
            (1, 1) => destination[to..to + run].copy_from_slice(&source[..run]),
            (0, 1) => destination[to..to + run].fill(source[0]),
            _ => {
                for place in 0..run {
                    destination[to + place * destination_stride] = source[place * source_stride];
                }
            }
        }
    });
}

/// Copies the planes of the `crossing` and the innermost dimension in square tiles, so that the cache
/// lines of both operands are used whole.
fn copy_transposed<E: Copy>(
    source: &[E],
    dimensions: &Dimensions<2>,
    crossing: usize,
    source_start: usize,
    destination: &mut [E],
) {
    let innermost = dimensions.rank - 1;
    let mut planes = Dimensions { rank: dimensions.rank, sizes: [1; MAX_RANK], strides: dimensions.strides };
    for dimension in (0..innermost).filter(|&dimension| dimension != crossing) {
        planes.sizes[dimension] = dimensions.sizes[dimension];
    }
    let rows = dimensions.sizes[crossing];
    let row_stride = dimensions.strides[crossing][1];
    let columns = dimensions.sizes[innermost];
    let column_stride = dimensions.strides[innermost][0];
    for plane in 0..planes.count() {
        let [from, to] = planes.offsets(plane);
        for first_row in (0..rows).step_by(TILE) {
            for first_column in (0..columns).step_by(TILE) {
                let width = TILE.min(columns - first_column);
                for row in first_row..rows.min(first_row + TILE) {
                    let start = to + row * row_stride + first_column;
                    let from = source_start + from + row + first_column * column_stride;
                    let target = &mut destination[start..start + width];
                    for (element, value) in target.iter_mut().zip(source[from..].iter().step_by(column_stride)) {
                        *element = *value;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strided::contiguous_strides;
    use crate::testing::{assert_same_bits, dot, indices};

    fn check(sizes: &[usize], strides: &[usize], offset: usize, to: &[usize], to_offset: usize) {
        let reach = |strides: &[usize]| -> usize {
            sizes.iter().zip(strides).map(|(size, stride)| (size - 1) * stride).sum::<usize>() + 1
        };
        let source: Vec<u32> = (1..=(offset + reach(strides)) as u32).collect();
        let mut destination = vec![0u32; to_offset + reach(to) + 3];
        let mut expected = destination.clone();
        copy(&source, Strided { sizes, strides, offset }, &mut destination, to, to_offset);
        for index in indices(sizes) {
            expected[to_offset + dot(&index, to)] = source[offset + dot(&index, strides)];
        }
        assert!(destination == expected, "{sizes:?} {strides:?} -> {to:?}");
    }

    #[test]
    fn every_view_agrees_with_a_plain_loop() {
        check(&[], &[], 2, &[], 1);
        check(&[1, 1], &[5, 0], 0, &[9, 9], 0);
        check(&[7], &[3], 1, &[2], 4);
        check(&[4, 5], &[0, 0], 0, &[5, 1], 0);
        check(&[4, 5], &[1, 0], 0, &[5, 1], 0);
        check(&[3, 2, 5], &[1, 3, 6], 0, &[10, 5, 1], 0);
        check(&[67, 45], &[1, 67], 3, &[45, 1], 2);
        check(&[2, 67, 3, 45], &[67 * 135, 1, 67 * 45, 67], 0, &[67 * 135, 135, 45, 1], 0);
        check(
            &[2, 3, 2, 2, 2, 2, 2, 2],
            &[1, 2, 6, 12, 24, 48, 96, 192],
            0,
            &contiguous_strides(&[2, 3, 2, 2, 2, 2, 2, 2]),
            0,
        );
        check(&[33, 70], &[70, 1], 0, &[1, 33], 0);
    }

    #[test]
    fn large_views_in_parallel_agree_with_a_plain_loop() {
        check(&[400, 300], &[1, 400], 0, &[300, 1], 5);
        check(&[2, 250, 200], &[50_000, 200, 1], 0, &[120_000, 200, 1], 7);
        check(&[2, 250, 200], &[50_000, 200, 1], 0, &[200, 400, 1], 0);
        check(&[90_001], &[1], 3, &[2], 1);
        check(&[1, 3, 300, 100], &[0, 1, 300, 3], 0, &[90_000, 30_000, 100, 1], 0);
        check(&[300, 300], &[300, 1], 0, &[1, 300], 0);
    }

    #[test]
    fn the_number_of_threads_does_not_change_a_bit() {
        let source: Vec<u32> = (0..120_000).collect();
        assert_same_bits(|| {
            let mut destination = vec![0u32; 120_000];
            let view = Strided { sizes: &[300, 400], strides: &[1, 300], offset: 0 };
            copy(&source, view, &mut destination, &[400, 1], 0);
            destination
        });
    }
}
