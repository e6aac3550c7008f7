//! Products of few rows: each element of the right operand is used so seldom that it is read where it lies, once.

use std::array::from_fn;
use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{DEPTH, Output, Strided};
use crate::real::Real;

/// So many rows or fewer.
pub(super) const ROWS: usize = 4;

/// Depths that are multiplied in one pass over the sums, and columns whose sums are made together.
const TOGETHER: usize = 4;

/// Columns whose sums stay in the first cache while all depths are gone through.
const COLUMNS: usize = 512;

/// Fewer multiplications than this are done by one thread: waking another costs more.
const TASK: usize = 1 << 18;

/// The same as [`super::product`], for few rows and columns that lie side by side along one axis or the other.
pub(super) fn product<T: Real>(
    left: &Strided<'_, T>,
    right: &Strided<'_, T>,
    [m, k, n]: [usize; 3],
    output: &Output<'_, T>,
    add: bool,
    parallel: bool,
) {
    let tasks = if parallel { (m * k * n / TASK).clamp(1, 4 * rayon::current_num_threads()) } else { 1 };
    let width = n.div_ceil(tasks).next_multiple_of(16);
    let part = |columns: Range<usize>| {
        let part = FewRows { left, right, depth: k, columns, output, add };
        match m {
            1 => Arch::new().dispatch(Rows::<_, 1>(part)),
            2 => Arch::new().dispatch(Rows::<_, 2>(part)),
            3 => Arch::new().dispatch(Rows::<_, 3>(part)),
            _ => Arch::new().dispatch(Rows::<_, ROWS>(part)),
        }
    };
    let columns = |task: usize| task * width..n.min((task + 1) * width);
    if tasks == 1 {
        part(0..n);
    } else {
        (0..n.div_ceil(width)).into_par_iter().for_each(|task| part(columns(task)));
    }
}

struct FewRows<'a, T> {
    left: &'a Strided<'a, T>,
    right: &'a Strided<'a, T>,
    depth: usize,
    columns: Range<usize>,
    output: &'a Output<'a, T>,
    add: bool,
}

/// So many rows.
struct Rows<'a, T, const M: usize>(FewRows<'a, T>);

impl<T: Real, const M: usize> WithSimd for Rows<'_, T, M> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if self.0.right.strides[1] == 1 { self.sweep(simd) } else { self.dots(simd) }
    }
}

impl<T: Real, const M: usize> Rows<'_, T, M> {
    fn left(&self, row: usize, depth: usize) -> T {
        let [down, across] = self.0.left.strides;
        self.0.left.values[row * down + depth * across]
    }

    /// Writes or adds the sums of some columns of a row.
    #[inline(always)]
    fn write(&self, row: usize, column: usize, sums: &[T], add: bool) {
        for (value, sum) in self.0.output.slice(row, column, sums.len()).iter_mut().zip(sums) {
            *value = if add { *value + *sum } else { *sum };
        }
    }

    /// The columns of a depth lie side by side: goes through the depths with the sums of many columns.
    #[inline(always)]
    fn sweep<S: Simd>(&self, simd: S) {
        let FewRows { right, depth, ref columns, .. } = self.0;
        for first in columns.clone().step_by(COLUMNS) {
            let count = COLUMNS.min(columns.end - first);
            let row = |depth: usize| &right.values[depth * right.strides[0] + first..][..count];
            // Sums of fewer depths are more exact.
            for depths in (0..depth).step_by(DEPTH).map(|start| start..depth.min(start + DEPTH)) {
                let mut sums = [[T::ZERO; COLUMNS]; M];
                let whole = depths.start + depths.len() / TOGETHER * TOGETHER;
                for start in (depths.start..whole).step_by(TOGETHER) {
                    let left: [[T; TOGETHER]; M] = from_fn(|row| from_fn(|next| self.left(row, start + next)));
                    add_rows(simd, left, from_fn(|next| row(start + next)), &mut sums);
                }
                for depth in whole..depths.end {
                    add_rows(simd, from_fn(|row| [self.left(row, depth)]), [row(depth)], &mut sums);
                }
                let add = self.0.add || depths.start > 0;
                sums.iter().enumerate().for_each(|(row, sums)| self.write(row, first, &sums[..count], add));
            }
        }
    }

    /// The depths of a column lie side by side, and are summed so.
    #[inline(always)]
    fn dots<S: Simd>(&self, simd: S) {
        let FewRows { left, right, depth, ref columns, .. } = self.0;
        let copies: [Vec<T>; M];
        let rows: [&[T]; M] = if left.strides[1] == 1 {
            from_fn(|row| &left.values[row * left.strides[0]..][..depth])
        } else {
            copies = from_fn(|row| (0..depth).map(|depth| self.left(row, depth)).collect());
            from_fn(|row| &copies[row][..])
        };
        let column = |column: usize| &right.values[column * right.strides[1]..][..depth];
        for first in columns.clone().step_by(TOGETHER) {
            if first + TOGETHER <= columns.end {
                let columns: [_; TOGETHER] = from_fn(|next| column(first + next));
                let sums = dot(simd, rows, columns);
                sums.iter().enumerate().for_each(|(row, sums)| self.write(row, first, sums, self.0.add));
            } else {
                for last in first..columns.end {
                    let sums = dot(simd, rows, [column(last)]);
                    sums.iter().enumerate().for_each(|(row, sums)| self.write(row, last, sums, self.0.add));
                }
            }
        }
    }
}

/// Adds to the sums of each row the products of its numbers with as many rows of the right operand, one after the other.
#[inline(always)]
fn add_rows<T: Real, S: Simd, const M: usize, const K: usize>(
    simd: S,
    left: [[T; K]; M],
    rows: [&[T]; K],
    sums: &mut [[T; COLUMNS]; M],
) {
    let lanes = size_of::<T::Vector<S>>() / size_of::<T>();
    let count = rows[0].len();
    let whole = count / lanes * lanes;
    let number = whole / lanes;
    let vectors: [&[T::Vector<S>]; K] = rows.map(|row| &bytemuck::cast_slice(&row[..whole])[..number]);
    let factors = left.map(|left| left.map(|value| T::splat(simd, value)));
    let mut all: [&mut [T::Vector<S>]; M] =
        sums.each_mut().map(|sums| &mut bytemuck::cast_slice_mut(&mut sums[..whole])[..number]);
    for place in 0..number {
        let vectors = vectors.map(|row| row[place]);
        for (factors, sums) in factors.iter().zip(&mut all) {
            for (factor, vector) in factors.iter().zip(vectors) {
                sums[place] = T::mul_add(simd, *factor, vector, sums[place]);
            }
        }
    }
    for (left, sums) in left.iter().zip(sums) {
        for (place, sum) in sums[..count].iter_mut().enumerate().skip(whole) {
            for (value, row) in left.iter().zip(rows) {
                *sum += *value * row[place];
            }
        }
    }
}

/// The sums of the products of rows with columns of one length.
#[inline(always)]
fn dot<T: Real, S: Simd, const M: usize, const N: usize>(simd: S, rows: [&[T]; M], columns: [&[T]; N]) -> [[T; N]; M] {
    let lanes = size_of::<T::Vector<S>>() / size_of::<T>();
    let depth = columns[0].len();
    let whole = depth / lanes * lanes;
    let number = whole / lanes;
    let row_vectors: [&[T::Vector<S>]; M] = rows.map(|row| &bytemuck::cast_slice(&row[..whole])[..number]);
    let column_vectors: [&[T::Vector<S>]; N] = columns.map(|column| &bytemuck::cast_slice(&column[..whole])[..number]);
    let mut vectors = [[T::splat(simd, T::ZERO); N]; M];
    for place in 0..number {
        let columns = column_vectors.map(|column| column[place]);
        for (sums, row) in vectors.iter_mut().zip(row_vectors) {
            for (sum, column) in sums.iter_mut().zip(columns) {
                *sum = T::mul_add(simd, row[place], column, *sum);
            }
        }
    }
    from_fn(|row| {
        from_fn(|column| {
            let sum = T::total(simd, vectors[row][column]);
            let rest = rows[row][whole..].iter().zip(&columns[column][whole..]);
            rest.fold(sum, |sum, (left, right)| sum + *left * *right)
        })
    })
}
