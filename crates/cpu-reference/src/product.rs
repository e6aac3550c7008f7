//! The product of two matrices, block by block: the columns of a block are packed for the second cache, each panel of rows
//! for the first, and tiles of the output are summed in registers (Goto and van de Geijn, "Anatomy of high-performance
//! matrix multiplication", 2008). What is multiplied need not lie in memory as a matrix: an operand says how it is packed.

mod few;
mod gathered;
mod interleave;
mod pack;
mod strided;
#[cfg(test)]
mod tests;
mod tile;

use std::marker::PhantomData;
use std::ops::Range;

use pulp::Arch;

use crate::memory::Scratch;
use crate::real::Real;
pub(crate) use gathered::{Gathered, Run, Transposed};
pub(crate) use strided::Strided;
use tile::Panels;
pub(crate) use tile::Vectors;
pub(crate) use tile::{Layout, ROW, Shape};

/// The most elements of a row and a column that are multiplied before the sums are written: the panels of a tile stay in
/// the first cache.
const DEPTH: usize = 256;

/// The most columns that are packed together: they stay in the second cache.
const COLUMNS: usize = 512;

/// So many tiles of columns or fewer read the rows where they lie: to pack them would take longer than it saves.
const TILES_IN_PLACE: usize = 4;

/// So many rows or columns for each thread make tasks that are worth halving, which shares them more evenly.
const WIDE: usize = 1024;

/// Fewer multiplications than this are done by one thread: waking another costs more.
const TASK: usize = 1 << 19;

/// What is multiplied from the left.
pub(crate) trait Left<T>: Sync {
    /// How its panels lie when they are packed.
    fn packed(&self, shape: Shape) -> Layout;

    /// Packs some depths of as many rows as a tile has, or fewer.
    fn pack(&self, rows: Range<usize>, depth: Range<usize>, panel: &mut [T]);

    /// The same where they lie, if a tile can read them there: from the first element on, and how they lie.
    fn in_place(&self, rows: Range<usize>, depth: Range<usize>, shape: Shape) -> Option<(&[T], Layout)>;
}

/// What is multiplied from the right.
pub(crate) trait Right<T>: Sync {
    /// Packs some columns into [`panels`], and leaves what these have room for beside them.
    fn pack(&self, depth: Range<usize>, columns: Range<usize>, width: usize, panels: &mut [T]);
}

/// Where the product is written: a matrix whose columns lie side by side, its rows so far apart.
pub(crate) struct Output<'a, T> {
    first: *mut T,
    length: usize,
    row_stride: usize,
    borrowed: PhantomData<&'a mut [T]>,
}

// SAFETY: it stands for a mutable slice of numbers, of which each task writes elements that no other does.
#[allow(unsafe_code)]
unsafe impl<T: Send> Sync for Output<'_, T> {}

impl<'a, T: Real> Output<'a, T> {
    pub(crate) fn new(values: &'a mut [T], row_stride: usize) -> Output<'a, T> {
        Output { first: values.as_mut_ptr(), length: values.len(), row_stride, borrowed: PhantomData }
    }

    /// Asks for the memory of so many elements of a row, which will be written soon, where the machine can be asked.
    #[inline(always)]
    fn fetch(&self, row: usize, column: usize, count: usize) {
        let first = self.first.wrapping_add(row * self.row_stride + column);
        #[cfg(target_arch = "x86_64")]
        for element in (0..count).step_by(64 / size_of::<T>()) {
            use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
            // SAFETY: asking for memory neither reads nor writes, and may be for anybody's.
            #[allow(unsafe_code)]
            unsafe {
                _mm_prefetch::<_MM_HINT_ET0>(first.wrapping_add(element).cast());
            }
        }
        let _ = (first, count);
    }

    /// So many elements of a row, from a column on.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    fn slice(&self, row: usize, column: usize, count: usize) -> &mut [T] {
        let start = row * self.row_stride + column;
        assert!(start + count <= self.length, "internal: a product leads out of its output");
        // SAFETY: the elements lie in the slice that this stands for. Nobody else has them: `product` gives each
        // rectangle of rows and columns to one task, which takes one slice at a time, and rows don't overlap.
        #[allow(unsafe_code)]
        unsafe {
            std::slice::from_raw_parts_mut(self.first.add(start), count)
        }
    }
}

/// Rows and columns of a product.
#[derive(Clone)]
struct Part {
    rows: Range<usize>,
    columns: Range<usize>,
}

thread_local! {
    static SCRATCH: Scratch = const { Scratch::new() };
}

/// `output = left·right`, or `output += left·right`; `[m, k, n]` are rows, depth and columns. No bit depends on whether
/// threads share the work, or on how many.
pub(crate) fn product<T: Real>(
    left: &impl Left<T>,
    right: &impl Right<T>,
    [m, k, n]: [usize; 3],
    output: &Output<'_, T>,
    add: bool,
    parallel: bool,
) {
    let shape = Shape::of::<T>();
    // Each task packs its own rows and columns: they are few, unless they are large.
    let threads = rayon::current_num_threads();
    let most = match (parallel, m.max(n) >= WIDE * threads) {
        (false, _) => 1,
        (true, false) => threads,
        (true, true) => 2 * threads,
    };
    let tasks = (m * k * n / TASK).clamp(1, most);
    let product = Product { left, right, depth: k, output, add, shape };
    product.split(Part { rows: 0..m, columns: 0..n }, tasks);
}

/// [`product`] of two strided matrices, which takes a way of its own for few rows.
pub(crate) fn strided_product<T: Real>(
    left: &Strided<'_, T>,
    right: &Strided<'_, T>,
    sizes: [usize; 3],
    output: &Output<'_, T>,
    add: bool,
    parallel: bool,
) {
    if sizes[0] <= few::ROWS && right.strides.contains(&1) {
        few::product(left, right, sizes, output, add, parallel);
    } else {
        product(left, right, sizes, output, add, parallel);
    }
}

struct Product<'a, T, L, R> {
    left: &'a L,
    right: &'a R,
    depth: usize,
    output: &'a Output<'a, T>,
    add: bool,
    shape: Shape,
}

impl<T: Real, L: Left<T>, R: Right<T>> Product<'_, T, L, R> {
    /// Divides the longer side until there are as many tasks.
    fn split(&self, part: Part, tasks: usize) {
        let Part { rows, columns } = part.clone();
        let (first, last) = (tasks.div_ceil(2), tasks / 2);
        let middle = |range: &Range<usize>, unit: usize| {
            (range.len() * first / tasks.max(1)).next_multiple_of(unit).min(range.len())
        };
        let [down, across] = [middle(&rows, self.shape.rows), middle(&columns, self.shape.columns)];
        if tasks <= 1 || (down == rows.len() && across == columns.len()) {
            return self.run(part);
        }
        let (one, other) = if across == columns.len() || (down < rows.len() && rows.len() > columns.len()) {
            let middle = rows.start + down;
            (Part { rows: rows.start..middle, ..part.clone() }, Part { rows: middle..rows.end, ..part })
        } else {
            let middle = columns.start + across;
            (Part { columns: columns.start..middle, ..part.clone() }, Part { columns: middle..columns.end, ..part })
        };
        rayon::join(|| self.split(one, first), || self.split(other, last));
    }

    fn run(&self, part: Part) {
        let Part { rows: all_rows, columns } = part;
        let shape = self.shape;
        let depth = self.depth.div_ceil(self.depth.div_ceil(DEPTH));
        let packed = self.left.packed(shape);
        let in_place = columns.len() <= TILES_IN_PLACE * shape.columns;
        // Few rows leave the columns before they have to go to the second cache.
        let most = if all_rows.len() <= 2 * shape.rows { 2 * shape.columns } else { COLUMNS };
        let width = columns.len().div_ceil(columns.len().div_ceil(most)).next_multiple_of(shape.columns);
        let scratch = |scratch: &mut [T]| {
            let (right, left) = scratch.split_at_mut(depth * width);
            for start in (0..self.depth).step_by(depth) {
                let depth = start..self.depth.min(start + depth);
                let add = self.add || start > 0;
                for first in columns.clone().step_by(width) {
                    let columns = first..columns.end.min(first + width);
                    self.right.pack(depth.clone(), columns.clone(), shape.columns, right);
                    for first in all_rows.clone().step_by(shape.rows) {
                        let rows = first..all_rows.end.min(first + shape.rows);
                        let found =
                            if in_place { self.left.in_place(rows.clone(), depth.clone(), shape) } else { None };
                        let (left, layout) = found.unwrap_or_else(|| {
                            let left = &mut left[..packed.panel(shape, depth.len())];
                            self.left.pack(rows.clone(), depth.clone(), left);
                            (left, packed)
                        });
                        Arch::new().dispatch(Panels {
                            left,
                            layout,
                            right,
                            depth: depth.len(),
                            output: self.output,
                            first: [rows.start, columns.start],
                            count: [rows.len(), columns.len()],
                            add,
                        });
                    }
                }
            }
        };
        SCRATCH.with(|memory| memory.lend(depth * width + packed.panel(shape, depth), scratch));
    }
}

/// The panels of so many columns, one behind the other: the first column of each, how many there are, and how many it has
/// room for, which is what the tiles of a machine have, or half of it where that is enough.
#[inline(always)]
fn panels(columns: usize, width: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..columns).step_by(width).map(move |first| {
        let count = width.min(columns - first);
        (first, count, if 2 * count <= width { width / 2 } else { width })
    })
}
