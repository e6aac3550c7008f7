//! Tiles of a product: some rows by one or two vectors of columns, whose sums stay in registers for a whole block of depth.

use std::marker::PhantomData;

use bytemuck::Pod;
use pulp::{Simd, WithSimd};

use super::Output;
use crate::real::Real;

/// Elements from one row of a left panel to the next: a block's depth, and a cache line more so that rows don't compete for
/// the same places of the cache.
pub(crate) const ROW: usize = super::DEPTH + 16;

/// The vectors of a machine, of numbers of a kind.
pub trait Vectors: Sized {
    /// One vector.
    type Vector<S: Simd>: Pod;

    /// The same number in all places.
    fn splat<S: Simd>(simd: S, value: Self) -> Self::Vector<S>;
    /// `a·b + c`, rounded once where the machine can.
    fn mul_add<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>, c: Self::Vector<S>) -> Self::Vector<S>;
    /// `a + b`.
    fn plus<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// The sum of a vector's elements.
    fn total<S: Simd>(simd: S, vector: Self::Vector<S>) -> Self;
}

macro_rules! implement_vectors {
    ($type:ident, $vector:ident, $splat:ident, $mul_add:ident, $add:ident, $total:ident) => {
        impl Vectors for $type {
            type Vector<S: Simd> = S::$vector;

            #[inline(always)]
            fn splat<S: Simd>(simd: S, value: Self) -> S::$vector {
                simd.$splat(value)
            }
            #[inline(always)]
            fn mul_add<S: Simd>(simd: S, a: S::$vector, b: S::$vector, c: S::$vector) -> S::$vector {
                simd.$mul_add(a, b, c)
            }
            #[inline(always)]
            fn plus<S: Simd>(simd: S, a: S::$vector, b: S::$vector) -> S::$vector {
                simd.$add(a, b)
            }
            #[inline(always)]
            fn total<S: Simd>(simd: S, vector: S::$vector) -> Self {
                simd.$total(vector)
            }
        }
    };
}

implement_vectors!(f32, f32s, splat_f32s, mul_add_e_f32s, add_f32s, reduce_sum_f32s);
implement_vectors!(f64, f64s, splat_f64s, mul_add_e_f64s, add_f64s, reduce_sum_f64s);

/// The rows of a tile where there are 32 registers for its sums, two vectors a row, and where there are 16.
pub(super) const MOST_ROWS: usize = 12;
pub(super) const FEWER_ROWS: usize = 6;

/// How many rows and columns are packed together on this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
}

impl Shape {
    pub(crate) fn of<T: Real>() -> Shape {
        pulp::Arch::new().dispatch(OfMachine(PhantomData::<T>))
    }
}

/// [`Shape::of`].
#[derive(Default)]
pub(super) struct OfMachine<T>(PhantomData<T>);

impl<T: Real> WithSimd for OfMachine<T> {
    type Output = Shape;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> Shape {
        Shape { rows: rows::<S>(), columns: 2 * lanes::<T, S>() }
    }
}

const fn rows<S: Simd>() -> usize {
    if S::REGISTER_COUNT >= 32 { MOST_ROWS } else { FEWER_ROWS }
}

/// Numbers of a vector.
const fn lanes<T: Vectors, S: Simd>() -> usize {
    size_of::<T::Vector<S>>() / size_of::<T>()
}

/// How some rows of the left operand lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// The depths of a row side by side, and [`ROW`] elements from one row to the next, for all rows of a tile.
    Packed,
    /// The depths of a row side by side, and so many elements from one row to the next.
    ByRow(usize),
    /// The rows of a depth side by side, as many as a tile has, and so many elements from one depth to the next.
    ByDepth(usize),
}

impl Layout {
    /// Elements of a panel.
    pub(crate) fn panel(self, shape: Shape, depth: usize) -> usize {
        match self {
            Layout::Packed => shape.rows * ROW,
            Layout::ByRow(stride) => shape.rows * stride,
            Layout::ByDepth(stride) => depth * stride,
        }
    }
}

/// Adds the products of one panel of rows with panels of columns to a part of the output, or writes them there.
pub(crate) struct Panels<'a, 'o, T> {
    pub(crate) left: &'a [T],
    pub(crate) layout: Layout,
    /// The packed columns: see [`super::panels`].
    pub(crate) right: &'a [T],
    pub(crate) depth: usize,
    pub(crate) output: &'a Output<'o, T>,
    /// The part's first row and column, how many it has.
    pub(crate) first: [usize; 2],
    pub(crate) count: [usize; 2],
    pub(crate) add: bool,
}

impl<T: Real> WithSimd for Panels<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // What doesn't fit the machine is left out when this is compiled.
        if rows::<S>() == FEWER_ROWS {
            match self.count[0] {
                0..=2 => self.tiles::<S, 2>(simd),
                3..=4 => self.tiles::<S, 4>(simd),
                _ => self.tiles::<S, FEWER_ROWS>(simd),
            }
        } else {
            match self.count[0] {
                0..=4 => self.tiles::<S, 4>(simd),
                5..=8 => self.tiles::<S, 8>(simd),
                _ => self.tiles::<S, MOST_ROWS>(simd),
            }
        }
    }
}

impl<T: Real> Panels<'_, '_, T> {
    /// Tiles of `ROWS` rows.
    #[inline(always)]
    fn tiles<S: Simd, const ROWS: usize>(&self, simd: S) {
        let width = 2 * lanes::<T, S>();
        for (first, count, room) in super::panels(self.count[1], width) {
            let right = &self.right[first * self.depth..][..room * self.depth];
            let columns = (self.first[1] + first, count);
            if room == width {
                self.tile::<S, ROWS, 2>(simd, right, columns);
            } else {
                self.tile::<S, ROWS, 1>(simd, right, columns);
            }
        }
    }

    /// One tile, of the given column on and so many.
    #[inline(always)]
    fn tile<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &self,
        simd: S,
        right: &[T],
        (column, columns): (usize, usize),
    ) {
        let width = VECTORS * lanes::<T, S>();
        let right: &[[T::Vector<S>; VECTORS]] = bytemuck::cast_slice(&right[..self.depth * width]);
        let (left, row, count) = (self.left, self.first[0], self.count[0]);
        if columns == width {
            // The sums take long enough for what they are added to to come near.
            for row in row..row + count {
                self.output.fetch(row, column, width);
            }
        }
        let sums = match self.layout {
            // With a stride that is known there are no addresses to keep for each row.
            Layout::Packed => {
                let rows = left.as_chunks::<ROW>().0.first_chunk::<ROWS>();
                let rows = rows.unwrap_or_else(|| unreachable!("internal: a panel lacks rows"));
                sum::<T, S, ROWS, VECTORS, _>(simd, right, |depth| move |row: usize| rows[row][depth])
            }
            // Rows that are lacking are the last again.
            Layout::ByRow(stride) => {
                let rows: [&[T]; ROWS] = std::array::from_fn(|row| &left[row.min(count - 1) * stride..][..right.len()]);
                let rows = &rows;
                sum::<T, S, ROWS, VECTORS, _>(simd, right, |depth| move |row: usize| rows[row][depth])
            }
            Layout::ByDepth(stride) => {
                let lacks = || unreachable!("internal: a product's depth lacks rows");
                sum::<T, S, ROWS, VECTORS, _>(simd, right, |depth| {
                    let rows: &[T; ROWS] = left[depth * stride..].first_chunk().unwrap_or_else(lacks);
                    move |row: usize| rows[row]
                })
            }
        };
        if columns == width {
            // As below, written out.
            macro_rules! write_rows {
                ($($row:literal)*) => {$(
                    if $row < ROWS && $row < count {
                        let run: &mut [[T::Vector<S>; VECTORS]] =
                            bytemuck::cast_slice_mut(self.output.slice(row + $row, column, width));
                        for (value, sum) in run[0].iter_mut().zip(sums[$row]) {
                            *value = if self.add { T::plus(simd, *value, sum) } else { sum };
                        }
                    }
                )*};
            }
            write_rows!(0 1 2 3 4 5 6 7 8 9 10 11);
        } else {
            self.write_each(bytemuck::cast_slice(&sums), width, (column, columns));
        }
    }

    /// Writes a tile of fewer columns than its vectors have.
    #[inline(never)]
    fn write_each(&self, sums: &[T], width: usize, (column, columns): (usize, usize)) {
        for (row, sums) in sums.chunks_exact(width).enumerate().take(self.count[0]) {
            let values = self.output.slice(self.first[0] + row, column, columns);
            for (value, sum) in values.iter_mut().zip(sums) {
                *value = if self.add { *value + *sum } else { *sum };
            }
        }
    }
}

/// The sums of a tile; `left` gives for a depth what gives the elements of the rows.
#[inline(always)]
fn sum<T: Real, S: Simd, const ROWS: usize, const VECTORS: usize, R: Fn(usize) -> T>(
    simd: S,
    right: &[[T::Vector<S>; VECTORS]],
    left: impl Fn(usize) -> R,
) -> [[T::Vector<S>; VECTORS]; ROWS] {
    let mut sums = [[T::splat(simd, T::ZERO); VECTORS]; ROWS];
    // Written out row by row: of a loop over the rows the compiler does not keep the sums in registers.
    macro_rules! add_rows {
        ($columns:ident, $rows:ident: $($row:literal)*) => {$(
            if $row < ROWS {
                let value = T::splat(simd, $rows($row));
                for (sum, column) in sums[$row].iter_mut().zip($columns) {
                    *sum = T::mul_add(simd, value, *column, *sum);
                }
            }
        )*};
    }
    for (depth, columns) in right.iter().enumerate() {
        let rows = left(depth);
        add_rows!(columns, rows: 0 1 2 3 4 5 6 7 8 9 10 11);
    }
    sums
}
