//! The index of the largest or smallest element along one dimension.

use rayon::prelude::*;

use crate::real::Real;
use crate::strided::{Dimensions, Strided};

/// Which element is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extreme {
    /// The largest.
    Maximum,
    /// The smallest.
    Minimum,
}

/// Elements worth handing to another thread.
const TASK: usize = 1 << 14;

/// For each element of `kept`, the index of the extreme one among the `size` elements that lie `stride`
/// apart: the first of equals; the first NaN if there is one (as `torch.argmax`).
///
/// `output` is contiguous over `kept.sizes`.
///
/// # Panics
/// If the views lead out of `input`, `size` is 0, or `output` has not one element per kept one
/// ("internal: …").
pub fn arg_reduce<T: Real>(
    extreme: Extreme,
    input: &[T],
    kept: Strided<'_>,
    size: usize,
    stride: usize,
    output: &mut [u32],
) {
    assert!(
        output.len() == kept.count() && size > 0 && u32::try_from(size).is_ok(),
        "internal: an arg-reduction of {size} elements for {kept:?} has {} outputs",
        output.len()
    );
    let dimensions = Dimensions::new(kept.sizes, [kept.strides]);
    let task = (TASK / size).max(1);
    let reduce_task = |(number, outputs): (usize, &mut [u32])| {
        for (place, output) in outputs.iter_mut().enumerate() {
            let start = kept.offset + dimensions.offsets(number * task + place)[0];
            let elements = input[start..].iter().step_by(stride.max(1));
            *output = match stride {
                0 => 0,
                _ => first_extreme(extreme, elements.take(size).copied()),
            };
        }
    };
    if output.len() <= task {
        output.chunks_mut(task).enumerate().for_each(reduce_task);
    } else {
        output.par_chunks_mut(task).enumerate().for_each(reduce_task);
    }
}

fn first_extreme<T: Real>(extreme: Extreme, elements: impl Iterator<Item = T>) -> u32 {
    let mut best: Option<(usize, T)> = None;
    for (index, value) in elements.enumerate() {
        if value.is_nan() {
            return index as u32;
        }
        let better = match (best, extreme) {
            (None, _) => true,
            (Some((_, old)), Extreme::Maximum) => value > old,
            (Some((_, old)), Extreme::Minimum) => value < old,
        };
        if better {
            best = Some((index, value));
        }
    }
    best.map_or(0, |(index, _)| index as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_same_bits, dot, indices, values};

    fn run(extreme: Extreme, input: &[f32], kept: Strided<'_>, size: usize, stride: usize) -> Vec<u32> {
        let mut output = vec![u32::MAX; kept.count()];
        arg_reduce(extreme, input, kept, size, stride, &mut output);
        output
    }

    #[test]
    fn strided_views_agree_with_a_plain_loop() {
        // Rounded to tenths, so that there are ties.
        let data: Vec<f32> = values::<f32>(50_000, 11).iter().map(|x| (x * 10.0).round()).collect();
        let cases: [(&[usize], &[usize], usize, usize); 6] = [
            (&[], &[], 1, 1),
            (&[], &[], 1001, 1),
            (&[77], &[13], 13, 1),
            (&[13], &[1], 77, 13),
            (&[4, 6], &[30, 1], 5, 6),
            (&[3, 200], &[0, 17], 9, 0),
        ];
        for (sizes, strides, size, stride) in cases {
            let kept = Strided { sizes, strides, offset: 4 };
            let largest = run(Extreme::Maximum, &data, kept, size, stride);
            let smallest = run(Extreme::Minimum, &data, kept, size, stride);
            for (place, index) in indices(sizes).iter().enumerate() {
                let start = 4 + dot(index, strides);
                let row: Vec<f32> = (0..size).map(|item| data[start + item * stride]).collect();
                let top = row.iter().copied().fold(f32::MIN, f32::max);
                let bottom = row.iter().copied().fold(f32::MAX, f32::min);
                assert_eq!(Some(largest[place] as usize), row.iter().position(|x| *x == top));
                assert_eq!(Some(smallest[place] as usize), row.iter().position(|x| *x == bottom));
            }
        }
    }

    #[test]
    fn the_first_nan_wins_and_infinities_count() {
        let row = |values: &[f32], extreme| {
            let kept = Strided { sizes: &[], strides: &[], offset: 0 };
            run(extreme, values, kept, values.len(), 1)[0]
        };
        let nan = f32::NAN;
        assert_eq!(row(&[1.0, nan, f32::INFINITY, nan], Extreme::Maximum), 1);
        assert_eq!(row(&[1.0, -9.0, nan, nan], Extreme::Minimum), 2);
        let minus = f32::NEG_INFINITY;
        assert_eq!(row(&[minus, minus], Extreme::Maximum), 0);
        assert_eq!(row(&[minus, -1e4, 1e4], Extreme::Maximum), 2);
        assert_eq!(row(&[1e4, minus, -1e4], Extreme::Minimum), 1);
    }

    #[test]
    fn the_number_of_threads_does_not_change_a_bit() {
        let data: Vec<f32> = values(100_000, 12);
        assert_same_bits(|| {
            let kept = Strided { sizes: &[1000], strides: &[100], offset: 0 };
            run(Extreme::Maximum, &data, kept, 100, 1)
        });
    }
}
