//! Scaled dot-product attention and its gradient, tile by tile: no matrix of all queries and keys is ever stored.
//!
//! The running softmax is that of M. Milakov and N. Gimelshein, "Online normalizer calculation for softmax", 2018; that
//! the gradient computes the probabilities again from the logarithm of their sum, that of T. Dao et al.,
//! "FlashAttention", 2022.

mod gradient;
mod tile;

#[cfg(test)]
mod tests;

use crate::memory::Scratch;
use std::ops::Range;

use rayon::prelude::*;

use crate::real::Real;
pub use gradient::attention_gradient;
use tile::{ROWS, Running, Tile, soften};

/// The logarithm of the sum of a query that sees no key: e to the power of any score less this is 0.
pub const UNSEEING: f32 = f32::MAX;

/// Fewer multiplications than this are done by one thread.
const PARALLEL_WORK: usize = 1 << 18;

/// The sizes of an attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionSizes {
    /// Independent attentions.
    pub batch: usize,
    /// Rows that look.
    pub queries: usize,
    /// Rows that are looked at.
    pub keys: usize,
    /// Heads of the queries.
    pub heads: usize,
    /// Heads of keys and values, each for `heads / groups` of the queries'.
    pub groups: usize,
    /// Elements of a row of a head.
    pub size: usize,
}

/// Rows of heads, `(batch, rows, heads, size)`, read through strides; the elements of a row lie side by side.
#[derive(Clone, Copy, Debug)]
pub struct Heads<'a, T> {
    /// The elements.
    pub values: &'a [T],
    /// Elements before the first.
    pub offset: usize,
    /// Elements between neighbours along batch, rows and heads.
    pub strides: [usize; 3],
}

impl<'a, T> Heads<'a, T> {
    /// The elements from one row of a head on.
    pub fn from(&self, batch: usize, row: usize, head: usize) -> &'a [T] {
        let [batch_stride, row_stride, head_stride] = self.strides;
        &self.values[self.offset + batch * batch_stride + row * row_stride + head * head_stride..]
    }
}

/// What is added to the scores, `(batch, heads, queries, keys)`, read through strides.
#[derive(Clone, Copy, Debug)]
pub struct Bias<'a, T> {
    /// The elements.
    pub values: &'a [T],
    /// Elements before the first.
    pub offset: usize,
    /// Elements between neighbours along the four dimensions; 0 repeats.
    pub strides: [usize; 4],
}

/// Which weights are dropped: those that `Value::dropout` would drop of `(batch, heads, queries, keys)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WeightDropout {
    /// The share that is dropped.
    pub probability: f32,
    /// The session's seed.
    pub seed: u32,
    /// The number of the step.
    pub step: u32,
    /// The stream of random numbers.
    pub stream: u32,
}

/// One attention of `query` `(batch, queries, heads, size)` to `key` and `value` `(batch, keys, groups, size)`.
#[derive(Clone, Copy, Debug)]
pub struct Attention<'a, T> {
    /// All sizes.
    pub sizes: AttentionSizes,
    /// The rows that look.
    pub query: Heads<'a, T>,
    /// What they are compared with.
    pub key: Heads<'a, T>,
    /// What they get.
    pub value: Heads<'a, T>,
    /// What the products are multiplied by.
    pub scale: f32,
    /// Whether query i sees key j only if j ≤ i + keys − queries.
    pub causal: bool,
    /// Whether it sees it only if i + keys − queries − j is less than this.
    pub window: Option<usize>,
    /// What is added to the scores.
    pub mask: Option<Bias<'a, T>>,
    /// For each head what is subtracted for each place between i + keys − queries and j.
    pub slopes: Option<&'a [T]>,
    /// Which weights are dropped.
    pub dropout: Option<WeightDropout>,
}

impl<T: Real> Attention<'_, T> {
    /// The keys that a query sees.
    pub fn seen(&self, query: usize) -> Range<usize> {
        let AttentionSizes { queries, keys, .. } = self.sizes;
        // Place query + keys − queries, where it may lie before the first key; all is moved by `queries`.
        let after = query + keys + 1;
        let end = if self.causal { after.saturating_sub(queries).min(keys) } else { keys };
        let start = self.window.map_or(0, |window| after.saturating_sub(window).saturating_sub(queries));
        start.min(end)..end
    }

    /// The keys that some query of a range sees: all between the first and the last.
    fn seen_by(&self, queries: &Range<usize>) -> Range<usize> {
        let (start, end) = (self.seen(queries.start).start, self.seen(queries.end - 1).end);
        start.min(end)..end
    }

    /// The head of keys and values that a head of queries looks at.
    pub fn group(&self, head: usize) -> usize {
        head / (self.sizes.heads / self.sizes.groups)
    }

    fn check(&self) {
        let AttentionSizes { batch, queries, keys, heads, groups, size } = self.sizes;
        let reach = |heads: &Heads<'_, T>, rows: usize, count: usize| {
            let strides = heads.strides;
            heads.offset + (batch - 1) * strides[0] + (rows - 1) * strides[1] + (count - 1) * strides[2] + size
                <= heads.values.len()
        };
        let masked = self.mask.is_none_or(|mask| {
            let last =
                [batch, heads, queries, keys].into_iter().zip(mask.strides).map(|(size, stride)| (size - 1) * stride);
            mask.offset + last.sum::<usize>() < mask.values.len()
        });
        assert!(
            batch * queries * keys * heads * groups * size > 0
                && heads.is_multiple_of(groups)
                && reach(&self.query, queries, heads)
                && reach(&self.key, keys, groups)
                && reach(&self.value, keys, groups)
                && masked
                && self.slopes.is_none_or(|slopes| slopes.len() == heads),
            "internal: an attention of {:?} does not fit its operands",
            self.sizes
        );
    }

    /// Multiplications of one product of all queries and keys.
    fn work(&self) -> usize {
        let AttentionSizes { batch, queries, keys, heads, size, .. } = self.sizes;
        batch * queries * keys * heads * size
    }
}

thread_local! {
    static SCRATCH: Scratch = const { Scratch::new() };
}

/// Lends a task so many elements of scratch, whose values are left over from before.
fn with_scratch<T: Real, R>(count: usize, work: impl FnOnce(&mut [T]) -> R) -> R {
    SCRATCH.with(|scratch| scratch.lend(count, work))
}

/// `output (batch, queries, heads, size)` = softmax(scale · query · keyᵀ + …) · value, and the logarithm of each softmax's
/// sum, `logarithms (batch, queries, heads)`. A query that sees no key, or whose scores are all −∞, gives zeros and
/// [`UNSEEING`]. What a query does not see has no influence, be it NaN.
///
/// # Panics
/// If the strides lead out of a slice, or sizes don't fit ("internal: …").
pub fn attention<T: Real>(attention: &Attention<'_, T>, output: &mut [T], logarithms: &mut [T]) {
    attention.check();
    let AttentionSizes { batch, queries, heads, size, .. } = attention.sizes;
    assert!(
        output.len() == batch * queries * heads * size && logarithms.len() == batch * queries * heads,
        "internal: an attention was given outputs of {} and {} elements",
        output.len(),
        logarithms.len()
    );
    // A task writes whole rows of all heads, or of a single row some heads.
    let each = if queries == 1 { 1 } else { heads };
    for_each_task(attention, attention.work() < PARALLEL_WORK, each, size, output, logarithms, |at, output, logs| {
        at.heads.clone().for_each(|head| forward(attention, at.batch, head, &at, output, logs));
    });
}

/// Which rows of which heads a task computes.
struct Task {
    batch: usize,
    queries: Range<usize>,
    heads: Range<usize>,
}

/// Runs tasks over all rows of `output (batch, queries, heads, size)` and `rows (batch, queries, heads)`.
fn for_each_task<T: Real>(
    attention: &Attention<'_, T>,
    alone: bool,
    heads_of_task: usize,
    size: usize,
    output: &mut [T],
    rows: &mut [T],
    run: impl Fn(Task, &mut [T], &mut [T]) + Sync,
) {
    let AttentionSizes { queries, heads, .. } = attention.sizes;
    let at = |batch: usize, task: usize| match queries {
        1 => Task { batch, queries: 0..1, heads: task * heads_of_task..(task + 1) * heads_of_task },
        _ => Task { batch, queries: task * ROWS..(task * ROWS + ROWS).min(queries), heads: 0..heads },
    };
    let task_rows = if queries == 1 { heads_of_task } else { ROWS * heads };
    let whole = queries * heads;
    if alone {
        let each = output.chunks_mut(whole * size).zip(rows.chunks_mut(whole)).enumerate();
        for (batch, (output, rows)) in each {
            let tasks = output.chunks_mut(task_rows * size).zip(rows.chunks_mut(task_rows)).enumerate();
            tasks.for_each(|(task, (output, rows))| run(at(batch, task), output, rows));
        }
    } else {
        let each = output.par_chunks_mut(whole * size).zip(rows.par_chunks_mut(whole)).enumerate();
        each.for_each(|(batch, (output, rows))| {
            let tasks = output.par_chunks_mut(task_rows * size).zip(rows.par_chunks_mut(task_rows)).enumerate();
            tasks.for_each(|(task, (output, rows))| run(at(batch, task), output, rows));
        });
    }
}

/// The rows of one head that a task computes.
fn forward<T: Real>(
    attention: &Attention<'_, T>,
    batch: usize,
    head: usize,
    task: &Task,
    output: &mut [T],
    logs: &mut [T],
) {
    let size = attention.sizes.size;
    let stride = task.heads.len();
    let place = head - task.heads.start;
    let rows = task.queries.len();
    let output = &mut output[place * size..];
    let row_stride = stride * size;
    for row in 0..rows {
        output[row * row_stride..][..size].fill(T::ZERO);
    }
    let mut running = Running::default();
    for tile in Tile::all(attention, batch, head, task.queries.clone(), attention.seen_by(&task.queries)) {
        with_scratch(tile.elements() * 2, |scratch: &mut [T]| {
            let (weights, random) = scratch.split_at_mut(tile.elements());
            tile.products(attention, &attention.query, &attention.key, weights);
            soften(attention, &tile, weights, &mut running, |row, factor| {
                output[row * row_stride..][..size].iter_mut().for_each(|value| *value *= factor);
            });
            if let Some(dropout) = attention.dropout {
                let factors = tile.kept(attention, dropout, random);
                weights.iter_mut().zip(factors).for_each(|(weight, factor)| *weight *= *factor);
            }
            let value = attention.value.from(batch, tile.keys.start, attention.group(head));
            tile.add_by_rows(attention, weights, (value, attention.value.strides[1]), (output, row_stride));
        });
    }
    for row in 0..rows {
        let (factor, logarithm) = running.finish(row);
        output[row * row_stride..][..size].iter_mut().for_each(|value| *value *= factor);
        logs[row * stride + place] = logarithm;
    }
}
