//! Columns of a matrix put side by side: the transposing half of packing.

use crate::real::Real;

/// Columns and depths that are turned together, in registers.
const BLOCK: usize = 8;

/// Puts columns side by side: element `depth · width + column` of the panel is that of the column at the depth. What the
/// panel has for further columns stays.
pub(super) fn interleave<'a, T: Real>(
    columns: usize,
    column: impl Fn(usize) -> &'a [T],
    width: usize,
    panel: &mut [T],
) {
    let depth = panel.len() / width;
    for first in (0..columns).step_by(BLOCK) {
        let count = BLOCK.min(columns - first);
        let columns: [&[T]; BLOCK] = std::array::from_fn(|number| &column(first + number.min(count - 1))[..depth]);
        let done = if count == BLOCK { turned(columns, first, width, panel) } else { 0 };
        for (depth, packed) in panel.chunks_exact_mut(width).enumerate().skip(done) {
            for (packed, column) in packed[first..first + count].iter_mut().zip(columns) {
                *packed = column[depth];
            }
        }
    }
}

/// Does as much as can be done by vectors of this machine, and returns up to which depth.
fn turned<T: Real>(columns: [&[T]; BLOCK], first: usize, width: usize, panel: &mut [T]) -> usize {
    #[cfg(target_arch = "x86_64")]
    if size_of::<T>() == size_of::<f32>()
        && let Some(simd) = pulp::x86::V3::try_new()
    {
        let columns = columns.map(bytemuck::cast_slice);
        return simd.vectorize(Turn { simd, columns, first, width, panel: bytemuck::cast_slice_mut(panel) });
    }
    let _ = (columns, first, width, panel);
    0
}

#[cfg(target_arch = "x86_64")]
struct Turn<'a> {
    simd: pulp::x86::V3,
    columns: [&'a [f32]; BLOCK],
    first: usize,
    width: usize,
    panel: &'a mut [f32],
}

#[cfg(target_arch = "x86_64")]
impl pulp::NullaryFnOnce for Turn<'_> {
    type Output = usize;

    #[inline(always)]
    fn call(self) -> usize {
        use bytemuck::cast;
        use std::arch::x86_64::{__m256, __m256d};
        let Turn { simd: pulp::x86::V3 { avx, .. }, columns, first, width, panel } = self;
        let columns = columns.map(|column| column.as_chunks::<BLOCK>().0);
        let number = columns[0].len();
        let columns = columns.map(|column| &column[..number]);
        for (block, rows) in panel.chunks_exact_mut(BLOCK * width).enumerate().take(number) {
            // Pairs, then fours, then eights of neighbours come to lie side by side.
            let ones: [__m256; BLOCK] = columns.map(|column| cast(column[block]));
            let pairs: [__m256d; BLOCK] = std::array::from_fn(|row| {
                let (upper, lower) = (ones[row & !1], ones[row | 1]);
                cast(if row & 1 == 0 {
                    avx._mm256_unpacklo_ps(upper, lower)
                } else {
                    avx._mm256_unpackhi_ps(upper, lower)
                })
            });
            // Fours of the depths 0 and 4, 1 and 5, 2 and 6, 3 and 7, first of the upper columns.
            let fours: [__m256; BLOCK] = std::array::from_fn(|row| {
                let (half, depth) = (row & 4, row & 3);
                let (upper, lower) = (pairs[half + depth / 2], pairs[half + 2 + depth / 2]);
                cast(if depth & 1 == 0 {
                    avx._mm256_unpacklo_pd(upper, lower)
                } else {
                    avx._mm256_unpackhi_pd(upper, lower)
                })
            });
            for depth in 0..BLOCK {
                let (left, right) = (fours[depth & 3], fours[4 + (depth & 3)]);
                let row = if depth < 4 {
                    avx._mm256_permute2f128_ps::<0x20>(left, right)
                } else {
                    avx._mm256_permute2f128_ps::<0x31>(left, right)
                };
                rows[depth * width + first..][..BLOCK].copy_from_slice(&cast::<_, [f32; BLOCK]>(row));
            }
        }
        number * BLOCK
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::values;

    fn each_element_finds_its_place<T: Real>() {
        let data: Vec<T> = values(4000, 3);
        for (columns, width, depth) in [(1, 8, 5), (7, 16, 8), (8, 8, 1), (16, 16, 24), (13, 32, 37), (32, 32, 40)] {
            let mut panel = vec![T::NAN; width * depth];
            interleave(columns, |column| &data[column * 61..], width, &mut panel);
            for (place, value) in panel.iter().enumerate() {
                let (depth, column) = (place / width, place % width);
                let expected = if column < columns { data[column * 61 + depth] } else { T::NAN };
                assert_eq!(value.to_f64().to_bits(), expected.to_f64().to_bits(), "{columns} {width} {depth} {column}");
            }
        }
    }

    #[test]
    fn columns_lie_side_by_side() {
        each_element_finds_its_place::<f32>();
        each_element_finds_its_place::<f64>();
    }
}
