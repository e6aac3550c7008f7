//! Batches made ready: on the thread that trains, or ahead of it on others. They are the same either way.

use super::batches::Batches;
use super::data::{Data, TargetsRef};
use crate::Error;
use crate::nn::{Loss, TargetKind};
use crate::scope::stream_of;
use cpu_reference::philox::Philox;
use nn_core::run::Executable;
use nn_core::{DType, Input};
use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::Scope;

/// Batches that a thread makes ahead.
const AHEAD: usize = 2;

/// The samples or the targets of a batch as its program takes them.
pub(super) enum Elements {
    Indices(Vec<u32>),
    Numbers(Vec<f32>),
}

impl Default for Elements {
    fn default() -> Elements {
        Elements::Numbers(Vec::new())
    }
}

impl Elements {
    /// Makes samples, with the memory of the last ones if they are of the same type: `numbers` or `indices` appends them.
    pub(super) fn refill(
        &mut self,
        data: &dyn Data,
        numbers: impl FnOnce(&mut Vec<f32>),
        indices: impl FnOnce(&mut Vec<u32>),
    ) {
        *self = match (data.sample_dtype(), std::mem::take(self)) {
            (DType::U32, old) => {
                let mut kept = if let Elements::Indices(old) = old { old } else { Vec::new() };
                kept.clear();
                indices(&mut kept);
                Elements::Indices(kept)
            }
            (_, old) => {
                let mut kept = if let Elements::Numbers(old) = old { old } else { Vec::new() };
                kept.clear();
                numbers(&mut kept);
                Elements::Numbers(kept)
            }
        };
    }

    /// The samples of these rows, unchanged.
    pub(super) fn read(&mut self, data: &dyn Data, rows: &[usize]) {
        self.refill(data, |numbers| data.batch(rows, numbers), |indices| data.batch_indices(rows, indices));
    }

    /// The targets of these rows.
    pub(super) fn gather(&mut self, targets: TargetsRef<'_>, loss: Loss, rows: &[usize]) {
        *self = match targets {
            TargetsRef::Classes { labels, .. } if loss == Loss::BinaryCrossEntropy => {
                Elements::Numbers(rows.iter().map(|&row| labels[row] as f32).collect())
            }
            TargetsRef::Classes { labels, .. } => Elements::Indices(rows.iter().map(|&row| labels[row]).collect()),
            TargetsRef::ClassMaps { labels, size, .. } => Elements::Indices(gather(labels, size, rows)),
            TargetsRef::Sequences { labels, length, stride, .. } => Elements::Indices(
                rows.iter().flat_map(|row| &labels[row * stride..row * stride + length]).copied().collect(),
            ),
            TargetsRef::Values { values, width } => Elements::Numbers(gather(values, width, rows)),
        };
    }

    pub(super) fn input(&self) -> Input<'_> {
        match self {
            Elements::Indices(indices) => Input::U32(indices),
            Elements::Numbers(numbers) => Input::F32(numbers),
        }
    }
}

/// What to hand to a program. A model with a loss of its own may not need the targets; its program then lacks them.
pub(super) fn handed<'a>(
    program: &Executable,
    inputs: &'a Elements,
    targets: &'a Elements,
) -> Vec<(&'static str, Input<'a>)> {
    let mut handed = vec![("inputs", inputs.input())];
    if program.schedule().inputs.iter().any(|(name, _)| name == "targets") {
        handed.push(("targets", targets.input()));
    }
    handed
}

fn gather<T: Copy>(values: &[T], width: usize, rows: &[usize]) -> Vec<T> {
    rows.iter().flat_map(|&row| &values[row * width..(row + 1) * width]).copied().collect()
}

/// What one step takes.
#[derive(Default)]
pub(super) struct Batch {
    /// The epoch, from 0.
    pub(super) epoch: u64,
    pub(super) rows: usize,
    pub(super) inputs: Elements,
    pub(super) targets: Elements,
}

/// How batches are made; each thread has its own.
pub(super) struct Loader<'a> {
    pub(super) data: &'a dyn Data,
    pub(super) batches: Batches,
    pub(super) loss: Loss,
    pub(super) seed: u64,
    /// The parameter of mixup's distribution; 0 for none.
    pub(super) mixup: f64,
}

impl Loader<'_> {
    /// What the targets of the batches are.
    pub(super) fn kind(&self) -> TargetKind {
        match self.data.targets().kind() {
            TargetKind::Classes { count } if self.mixup > 0.0 => TargetKind::Probabilities { count },
            kind => kind,
        }
    }

    /// Makes the batch of a step, counted from 0.
    fn load(&mut self, step: u64, batch: &mut Batch) {
        let epoch = self.batches.epoch(step);
        let rows = self.batches.rows(step);
        (batch.epoch, batch.rows) = (epoch, rows.len());
        let (data, visit) = (self.data, self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(epoch));
        batch.inputs.refill(
            data,
            |numbers| data.augmented(visit, rows, numbers),
            |indices| data.batch_indices(rows, indices),
        );
        match (data.targets(), &mut batch.inputs) {
            (TargetsRef::Classes { labels, count }, Elements::Numbers(inputs)) if self.mixup > 0.0 => {
                let classes: Vec<usize> = rows.iter().map(|&row| labels[row] as usize).collect();
                let mut random = Philox::new(self.seed, stream_of(&format!("mixup/{step}")));
                let probabilities = mix(&mut random, self.mixup, inputs, &classes, count);
                batch.targets = Elements::Numbers(probabilities);
            }
            (targets, _) => batch.targets.gather(targets, self.loss, rows),
        }
    }
}

/// Mixes each row with another of the batch in the same shares, and returns the classes' probabilities
/// `(rows, count)`.
fn mix(random: &mut Philox, alpha: f64, inputs: &mut [f32], classes: &[usize], count: usize) -> Vec<f32> {
    let share = beta(random, alpha) as f32;
    let mut partners: Vec<usize> = (0..classes.len()).collect();
    random.shuffle(&mut partners);
    let width = inputs.len() / classes.len();
    let before = inputs.to_vec();
    for (row, &partner) in inputs.chunks_exact_mut(width).zip(&partners) {
        for (value, other) in row.iter_mut().zip(&before[partner * width..(partner + 1) * width]) {
            *value = share * *value + (1.0 - share) * other;
        }
    }
    let mut probabilities = vec![0.0; classes.len() * count];
    for ((row, &class), &partner) in probabilities.chunks_exact_mut(count).zip(classes).zip(&partners) {
        row[class] += share;
        row[classes[partner]] += 1.0 - share;
    }
    probabilities
}

/// A number from Beta(`alpha`, `alpha`), as the share of one of two gamma variates.
fn beta(random: &mut Philox, alpha: f64) -> f64 {
    let (a, b) = (gamma(random, alpha), gamma(random, alpha));
    // Both may be 0 for very small alpha, where the shares are 0 or 1.
    if a + b > 0.0 { a / (a + b) } else { f64::from(random.below(2)) }
}

/// Marsaglia and Tsang 2000; below 1 by a variate of alpha + 1.
fn gamma(random: &mut Philox, alpha: f64) -> f64 {
    if alpha < 1.0 {
        return gamma(random, alpha + 1.0) * random.uniform_f64().powf(1.0 / alpha);
    }
    let d = alpha - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = random.normal();
        let v = (1.0 + c * x).powi(3);
        if v > 0.0 && (1.0 - random.uniform_f64()).ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return d * v;
        }
    }
}

/// Where the steps of a run get their batches from, in order.
pub(super) enum Source<'a> {
    Here {
        loader: Loader<'a>,
        batch: Batch,
    },
    /// Thread `n` of `t` makes every `t`-th batch.
    Threads {
        ready: Vec<Receiver<Batch>>,
        used: Vec<Sender<Batch>>,
        first: u64,
    },
}

impl<'a> Source<'a> {
    /// For these steps, counted from 0. `loader` makes one loader a thread.
    pub(super) fn new<'scope>(
        scope: &'scope Scope<'scope, '_>,
        threads: usize,
        steps: Range<u64>,
        loader: impl Fn() -> Loader<'a>,
    ) -> Source<'a>
    where
        'a: 'scope,
    {
        if threads == 0 {
            return Source::Here { loader: loader(), batch: Batch::default() };
        }
        let (mut ready, mut used) = (Vec::new(), Vec::new());
        for number in 0..threads {
            let (sender, receiver) = sync_channel(AHEAD);
            let (back, returned) = channel();
            let (loader, steps) = (loader(), steps.start + number as u64..steps.end);
            scope.spawn(move || make(loader, steps.step_by(threads), &sender, &returned));
            ready.push(receiver);
            used.push(back);
        }
        Source::Threads { ready, used, first: steps.start }
    }

    /// The batch of the next step, which is `step`.
    ///
    /// # Errors
    /// If the thread that makes it has ended.
    pub(super) fn take(&mut self, step: u64) -> Result<Batch, Error> {
        match self {
            Source::Here { loader, batch } => {
                loader.load(step, batch);
                Ok(std::mem::take(batch))
            }
            Source::Threads { ready, first, .. } => {
                let thread = ((step - *first) % ready.len() as u64) as usize;
                let ended = |_| Error::Data("a thread that reads the data ended before its last batch".into());
                ready[thread].recv().map_err(ended)
            }
        }
    }

    /// Takes back a batch whose memory can be used again.
    pub(super) fn give_back(&mut self, step: u64, used: Batch) {
        match self {
            Source::Here { batch, .. } => *batch = used,
            Source::Threads { used: backs, first, .. } => {
                let thread = ((step - *first) % backs.len() as u64) as usize;
                // A thread that has made its last batch needs no memory.
                let _ = backs[thread].send(used);
            }
        }
    }
}

/// What a thread does until its steps are done or nobody waits for them.
fn make(
    mut loader: Loader<'_>,
    steps: impl Iterator<Item = u64>,
    ready: &SyncSender<Batch>,
    returned: &Receiver<Batch>,
) {
    for step in steps {
        let mut batch = returned.try_recv().unwrap_or_default();
        loader.load(step, &mut batch);
        if ready.send(batch).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixed_rows_keep_their_shares() {
        let mut random = Philox::new(1, 2);
        let mut inputs = vec![1.0, 1.0, 2.0, 2.0, 4.0, 4.0];
        let probabilities = mix(&mut random, 0.4, &mut inputs, &[0, 1, 2], 3);
        for (row, of) in inputs.chunks(2).zip(probabilities.chunks(3)) {
            assert!((of.iter().sum::<f32>() - 1.0).abs() < 1e-6);
            let expected = of[0] + 2.0 * of[1] + 4.0 * of[2];
            assert!((row[0] - expected).abs() < 1e-6 && row[0] == row[1], "{row:?} of {of:?}");
        }
    }

    /// Mean ½ and variance 1/(4·(2α + 1)).
    #[test]
    fn shares_are_distributed_as_beta() {
        for alpha in [0.2, 1.0, 3.0] {
            let mut random = Philox::new(3, 4);
            let drawn: Vec<f64> = (0..40_000).map(|_| beta(&mut random, alpha)).collect();
            let mean = drawn.iter().sum::<f64>() / 40_000.0;
            let variance = drawn.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / 40_000.0;
            // Four standard errors of each at the widest, which is ½ and 1/√8.
            assert!((mean - 0.5).abs() < 0.01, "mean {mean} for {alpha}");
            assert!((variance - 0.25 / (2.0 * alpha + 1.0)).abs() < 0.007, "variance {variance} for {alpha}");
        }
    }
}
