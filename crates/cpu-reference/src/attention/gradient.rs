//! The gradient of attention.

use std::ops::Range;

use rayon::prelude::*;

use super::tile::{COLUMNS, ROWS, Tile};
use super::{Attention, AttentionSizes, Heads, PARALLEL_WORK, with_scratch};
use crate::real::Real;

/// With fewer heads of keys than this the keys are split among tasks too, and queries have tasks of their own, which
/// compute the probabilities once more. It does not depend on the number of threads, so that the bits don't.
const MANY: usize = 16;

/// Keys of a task where keys are split.
const PART: usize = 2 * COLUMNS;

/// What the gradient is computed from, besides the attention.
#[derive(Clone, Copy)]
struct Given<'a, T> {
    attention: &'a Attention<'a, T>,
    dy: Heads<'a, T>,
    /// For each row of each head (batch, queries, heads) the logarithm of its sum, and Σ dy·y.
    rows: Heads<'a, T>,
}

impl<T: Real> Given<'_, T> {
    fn of_row(&self, batch: usize, query: usize, head: usize, which: usize) -> T {
        self.rows.from(batch, query, head)[which]
    }

    /// Adds what some queries of a head and some keys make of each other; `None` where it is not wanted.
    fn add(
        &self,
        (batch, head): (usize, usize),
        queries: Range<usize>,
        keys: Range<usize>,
        mut of_queries: Option<&mut [T]>,
        mut of_keys: Option<(&mut [T], &mut [T])>,
    ) {
        let attention = self.attention;
        let (size, group) = (attention.sizes.size, attention.group(head));
        let first_key = keys.start;
        for start in queries.clone().step_by(ROWS) {
            let rows = start..(start + ROWS).min(queries.end);
            let seen = attention.seen_by(&rows);
            let first = seen.start.clamp(keys.start, keys.end);
            let seen = first..seen.end.clamp(first, keys.end);
            for tile in Tile::all(attention, batch, head, rows.clone(), seen) {
                with_scratch(3 * tile.elements(), |scratch: &mut [T]| {
                    let (weights, rest) = scratch.split_at_mut(tile.elements());
                    let (gradients, random) = rest.split_at_mut(tile.elements());
                    tile.products(attention, &attention.query, &attention.key, weights);
                    tile.weigh(attention, weights, |row| self.of_row(batch, start + row, head, 0));
                    tile.products(attention, &self.dy, &attention.value, gradients);
                    let from = (tile.keys.start - first_key) * size;
                    let dy = (self.dy.from(batch, start, head), self.dy.strides[1]);
                    if let Some(dropout) = attention.dropout {
                        let factors = tile.kept(attention, dropout, random);
                        gradients.iter_mut().zip(factors).for_each(|(gradient, factor)| *gradient *= *factor);
                    }
                    tile.differ(attention, weights, gradients, |row| self.of_row(batch, start + row, head, 1));
                    if let Some((of_keys, of_values)) = &mut of_keys {
                        let query = (attention.query.from(batch, start, head), attention.query.strides[1]);
                        tile.add_by_columns(attention, gradients, query, &mut of_keys[from..]);
                        if attention.dropout.is_some() {
                            weights.iter_mut().zip(&*random).for_each(|(weight, factor)| *weight *= *factor);
                        }
                        tile.add_by_columns(attention, weights, dy, &mut of_values[from..]);
                    }
                    if let Some(of_queries) = &mut of_queries {
                        let key = (attention.key.from(batch, tile.keys.start, group), attention.key.strides[1]);
                        let output = &mut of_queries[(start - queries.start) * size..];
                        tile.add_by_rows(attention, gradients, key, (output, size));
                    }
                });
            }
        }
    }
}

/// The rows of one head of a tensor `(rows, heads, size)`.
type RowsOfHead<'a, T> = Vec<&'a mut [T]>;

/// The gradients of an attention's query, key and value, each contiguous and of its shape, from that of its output: `dy`
/// is `(batch, queries, heads, size)`; `rows` `(batch, queries, heads, 2 or more)` holds for each row of the output the
/// logarithm of its sum, and Σ dy·output.
///
/// # Panics
/// If the strides lead out of a slice, or sizes don't fit ("internal: …").
pub fn attention_gradient<T: Real>(
    attention: &Attention<'_, T>,
    dy: Heads<'_, T>,
    rows: Heads<'_, T>,
    [dq, dk, dv]: [&mut [T]; 3],
) {
    attention.check();
    let AttentionSizes { batch, queries, keys, heads, groups, size } = attention.sizes;
    let last = |heads_of: &Heads<'_, T>, size: usize| {
        let strides = heads_of.strides;
        heads_of.offset + (batch - 1) * strides[0] + (queries - 1) * strides[1] + (heads - 1) * strides[2] + size
    };
    let of_keys = batch * keys * groups * size;
    assert!(
        last(&dy, size) <= dy.values.len()
            && last(&rows, 2) <= rows.values.len()
            && dq.len() == batch * queries * heads * size
            && dk.len() == of_keys
            && dv.len() == of_keys,
        "internal: the gradient of an attention of {:?} does not fit its operands",
        attention.sizes
    );
    let given = Given { attention, dy, rows };
    let share = heads / groups;
    let alone = 5 * attention.work() < PARALLEL_WORK;
    let split = batch * groups < MANY && keys > PART;
    let part = if split { PART } else { keys };
    let mut tasks = Vec::new();
    let all = dq.chunks_mut(queries * heads * size).zip(dk.chunks_mut(keys * groups * size));
    for (batch, ((dq, dk), dv)) in all.zip(dv.chunks_mut(keys * groups * size)).enumerate() {
        let mut of_queries = by_heads(dq, heads, size).into_iter();
        let of_keys = by_heads(dk, groups, size).into_iter().zip(by_heads(dv, groups, size));
        for (group, (mut dk, mut dv)) in of_keys.enumerate() {
            let mut dq: Vec<RowsOfHead<'_, T>> = of_queries.by_ref().take(share).collect();
            for first in (0..keys).step_by(part) {
                let rest = (dk.split_off(part.min(dk.len())), dv.split_off(part.min(dv.len())));
                let (some_dk, some_dv) = (std::mem::replace(&mut dk, rest.0), std::mem::replace(&mut dv, rest.1));
                let of_keys = Some((first, some_dk, some_dv));
                let dq = if split { Vec::new() } else { std::mem::take(&mut dq) };
                tasks.push(Work { batch, heads: group * share..(group + 1) * share, first_query: 0, dq, of_keys });
            }
            for (place, mut rows) in dq.into_iter().enumerate() {
                let head = group * share + place;
                for first_query in (0..queries).step_by(ROWS) {
                    let rest = rows.split_off(ROWS.min(rows.len()));
                    let dq = vec![std::mem::replace(&mut rows, rest)];
                    tasks.push(Work { batch, heads: head..head + 1, first_query, dq, of_keys: None });
                }
            }
        }
    }
    if alone {
        tasks.into_iter().for_each(|task| task.run(&given));
    } else {
        tasks.into_par_iter().with_max_len(1).for_each(|task| task.run(&given));
    }
}

/// The rows of each head of a tensor `(rows, heads, size)`.
fn by_heads<T>(tensor: &mut [T], heads: usize, size: usize) -> Vec<RowsOfHead<'_, T>> {
    let mut rows: Vec<RowsOfHead<'_, T>> =
        (0..heads).map(|_| Vec::with_capacity(tensor.len() / (heads * size))).collect();
    for (place, row) in tensor.chunks_exact_mut(size).enumerate() {
        rows[place % heads].push(row);
    }
    rows
}

/// What one task computes: gradients of some rows of some heads' queries, of some keys and values, or both.
struct Work<'a, T> {
    batch: usize,
    heads: Range<usize>,
    first_query: usize,
    /// For each of the heads; none if the task is for keys only.
    dq: Vec<RowsOfHead<'a, T>>,
    /// The first key, and the rows from it on of the gradients of keys and values.
    of_keys: Option<(usize, RowsOfHead<'a, T>, RowsOfHead<'a, T>)>,
}

impl<T: Real> Work<'_, T> {
    fn run(mut self, given: &Given<'_, T>) {
        let AttentionSizes { queries, keys, size, .. } = given.attention.sizes;
        let rows = self.dq.first().map_or(0, Vec::len);
        let count = self.of_keys.as_ref().map_or(0, |(_, rows, _)| rows.len());
        // Sums are gathered side by side; tiles have scratch of their own below.
        let mut memory = vec![T::ZERO; (rows + 2 * count) * size];
        let (of_queries, rest) = memory.split_at_mut(rows * size);
        let (of_keys, of_values) = rest.split_at_mut(count * size);
        let first_key = self.of_keys.as_ref().map_or(0, |(first, ..)| *first);
        let seen = if count == 0 { 0..keys } else { first_key..first_key + count };
        let range = if rows == 0 { 0..queries } else { self.first_query..self.first_query + rows };
        for (place, head) in self.heads.clone().enumerate() {
            of_queries.fill(T::ZERO);
            given.add(
                (self.batch, head),
                range.clone(),
                seen.clone(),
                if rows > 0 { Some(&mut *of_queries) } else { None },
                if count > 0 { Some((&mut *of_keys, &mut *of_values)) } else { None },
            );
            if let Some(rows) = self.dq.get_mut(place) {
                hand_out(of_queries, size, rows);
            }
        }
        if let Some((_, dk, dv)) = &mut self.of_keys {
            hand_out(of_keys, size, dk);
            hand_out(of_values, size, dv);
        }
    }
}

fn hand_out<T: Copy>(from: &[T], size: usize, rows: &mut [&mut [T]]) {
    rows.iter_mut().zip(from.chunks_exact(size)).for_each(|(row, values)| row.copy_from_slice(values));
}
