//! What kernels of rows share: vectors of neighbouring elements, their largest one and their sums.
//!
//! Everything here is to be inlined into the `with_simd` of a kernel, which compiles it for the vectors of this machine.

use std::array::from_fn;
use std::hint::{black_box, select_unpredictable};

use crate::real::Real;

/// Elements that are computed side by side.
pub(crate) const LANES: usize = 16;
/// Elements that are added in their own precision before they join a sum in `f64`: each takes part in three additions.
pub(crate) const BLOCK: usize = 4 * LANES;

/// A few elements as one vector, followed by `filler`.
#[inline(always)]
pub(crate) fn padded<T: Real>(few: &[T], filler: T) -> [T; LANES] {
    let mut all = [filler; LANES];
    all.iter_mut().zip(few).for_each(|(lane, value)| *lane = *value);
    all
}

/// The elements of a row beyond its whole vectors as one, `filler` in the place of others; none if there are no such.
#[inline(always)]
fn rest<T: Real>(row: &[T], filler: T) -> Option<[T; LANES]> {
    let count = row.len() % LANES;
    match row.last_chunk::<LANES>() {
        _ if count == 0 => None,
        // Elements that were seen before stand in front of them.
        Some(last) => Some(from_fn(|lane| select_unpredictable(lane + count >= LANES, last[lane], filler))),
        None => Some(padded(row, filler)),
    }
}

/// The largest element of a row that has no NaN. Where there is one, it may be passed over.
#[inline(always)]
pub(crate) fn largest<T: Real>(row: &[T]) -> T {
    let mut lanes = [[T::NEG_INFINITY; LANES]; 4];
    let (blocks, rest) = row.as_chunks::<BLOCK>();
    for block in blocks {
        for (lanes, values) in lanes.iter_mut().zip(block.as_chunks::<LANES>().0) {
            raise(lanes, values);
        }
    }
    for (lanes, values) in lanes.iter_mut().zip(rest.as_chunks::<LANES>().0) {
        raise(lanes, values);
    }
    if let Some(last) = row.last_chunk() {
        raise(&mut lanes[3], last);
    } else {
        raise(&mut lanes[3], &padded(row, T::NEG_INFINITY));
    }
    let [mut first, second, mut third, fourth] = lanes;
    raise(&mut first, &second);
    raise(&mut third, &fourth);
    raise(&mut first, &third);
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            first[lane] = if first[lane + width] > first[lane] { first[lane + width] } else { first[lane] };
        }
        width /= 2;
    }
    first[0]
}

#[inline(always)]
fn raise<T: Real>(lanes: &mut [T; LANES], values: &[T; LANES]) {
    for lane in 0..LANES {
        lanes[lane] = if values[lane] > lanes[lane] { values[lane] } else { lanes[lane] };
    }
}

/// A sum in `f64` of as many parts as there are lanes.
#[derive(Clone, Copy)]
pub(crate) struct Sum([f64; LANES]);

impl Sum {
    #[inline(always)]
    pub(crate) fn new() -> Sum {
        Sum([0.0; LANES])
    }

    #[inline(always)]
    pub(crate) fn add<T: Real>(&mut self, values: &[T; LANES]) {
        for (sum, value) in self.0.iter_mut().zip(values) {
            *sum += value.to_f64();
        }
    }

    /// The parts added up as a tree.
    #[inline(always)]
    pub(crate) fn total(self) -> f64 {
        // Written down first. Where the ends of two sums stand side by side, the compiler would pair the lanes of both, and
        // compute pairs instead of vectors.
        let all = black_box(self.0);
        let half: [f64; 8] = from_fn(|lane| all[lane] + all[8 + lane]);
        let quarter: [f64; 4] = from_fn(|lane| half[lane] + half[4 + lane]);
        (quarter[0] + quarter[2]) + (quarter[1] + quarter[3])
    }
}

/// The terms of `M` sums over `N` rows of one length.
pub(crate) trait Term<T, const N: usize, const M: usize> {
    /// Those of some elements of the rows: of the fillers they must be 0.
    fn of(&self, values: [&[T; LANES]; N]) -> [[T; LANES]; M];
    fn fillers(&self) -> [T; N];
}

/// The sums over rows: four terms are added in their own precision before they join a sum in `f64`.
#[inline(always)]
pub(crate) fn sums<T: Real, F: Term<T, N, M>, const N: usize, const M: usize>(rows: [&[T]; N], term: &F) -> [f64; M] {
    let mut sums = [Sum::new(); M];
    let (blocks, vectors) = (rows[0].len() / BLOCK, rows[0].len() % BLOCK / LANES);
    let all_blocks = rows.map(|row| &row.as_chunks::<BLOCK>().0[..blocks]);
    for block in 0..blocks {
        let mut parts = [[T::ZERO; LANES]; M];
        let values = all_blocks.map(|blocks| blocks[block].as_chunks::<LANES>().0);
        for vector in 0..BLOCK / LANES {
            let terms = term.of(values.map(|values| &values[vector]));
            for (parts, terms) in parts.iter_mut().zip(&terms) {
                for lane in 0..LANES {
                    parts[lane] += terms[lane];
                }
            }
        }
        for (sum, parts) in sums.iter_mut().zip(&parts) {
            sum.add(parts);
        }
    }
    let others = rows.map(|row| &row[blocks * BLOCK..].as_chunks::<LANES>().0[..vectors]);
    for vector in 0..vectors {
        let terms = term.of(others.map(|values| &values[vector]));
        for (sum, terms) in sums.iter_mut().zip(&terms) {
            sum.add(terms);
        }
    }
    if !rows[0].len().is_multiple_of(LANES) {
        let fillers = term.fillers();
        let rest: [[T; LANES]; N] = from_fn(|row| rest(rows[row], fillers[row]).unwrap_or([fillers[row]; LANES]));
        let terms = term.of(from_fn(|row| &rest[row]));
        for (sum, terms) in sums.iter_mut().zip(&terms) {
            sum.add(terms);
        }
    }
    sums.map(Sum::total)
}

/// What is made of each element of a row.
pub(crate) trait Map<T> {
    fn of(&mut self, values: &[T; LANES]) -> [T; LANES];
    /// What stands beyond the end of a row.
    fn filler(&self) -> T;
    /// Comes after each [`BLOCK`] of elements, and after the last ones.
    #[inline(always)]
    fn block_is_over(&mut self) {}
}

/// Writes to `output` what `map` makes of `input`, or without one of what is there.
#[inline(always)]
pub(crate) fn map<T: Real, F: Map<T>>(input: Option<&[T]>, output: &mut [T], map: &mut F) {
    const VECTORS: usize = BLOCK / LANES;
    let last = rest(input.unwrap_or(output), map.filler());
    let (vectors, rest) = output.as_chunks_mut::<LANES>();
    let any = !vectors.is_empty();
    let (blocks, others) = vectors.as_chunks_mut::<VECTORS>();
    match input {
        Some(input) => {
            let (from, others_from) = input.as_chunks::<LANES>().0.as_chunks::<VECTORS>();
            for (block, from) in blocks.iter_mut().zip(from) {
                for (output, input) in block.iter_mut().zip(from) {
                    *output = map.of(input);
                }
                map.block_is_over();
            }
            for (output, input) in others.iter_mut().zip(others_from) {
                *output = map.of(input);
            }
        }
        None => {
            for block in blocks {
                for values in block {
                    *values = map.of(values);
                }
                map.block_is_over();
            }
            for values in others {
                *values = map.of(values);
            }
        }
    }
    if let Some(last) = last {
        let values = map.of(&last);
        // Behind others in a row of at least one vector.
        let first = if any { LANES - rest.len() } else { 0 };
        rest.iter_mut().zip(&values[first..]).for_each(|(output, value)| *output = *value);
    }
    map.block_is_over();
}
