//! Which rows each step takes: a function of the step's number alone, so that a run can go on anywhere.

use crate::scope::stream_of;
use cpu_reference::philox::Philox;

/// In which order the rows are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// In a new random order in each epoch, which the seed and the epoch decide.
    #[default]
    Shuffled,
    /// As they are: step `s` takes rows `s·B .. (s+1)·B`. Where fewer than B are left, the step takes those, and the
    /// next one starts over at row 0.
    Sequential,
}

/// The batches of a run.
#[derive(Debug)]
pub(super) struct Batches {
    rows: usize,
    batch_size: usize,
    order: Order,
    seed: u64,
    /// The epoch whose order is at hand, and the order.
    current: Option<(u64, Vec<usize>)>,
}

impl Batches {
    /// `rows` and `batch_size` are above 0.
    pub(super) fn new(rows: usize, batch_size: usize, order: Order, seed: u64) -> Batches {
        Batches { rows, batch_size, order, seed, current: None }
    }

    /// Steps in one epoch.
    pub(super) fn per_epoch(&self) -> u64 {
        self.rows.div_ceil(self.batch_size) as u64
    }

    /// The epoch of a step; both count from 0.
    pub(super) fn epoch(&self, step: u64) -> u64 {
        step / self.per_epoch()
    }

    /// The rows of a step, counted from 0.
    pub(super) fn rows(&mut self, step: u64) -> &[usize] {
        let epoch = self.epoch(step);
        let first = (step % self.per_epoch()) as usize * self.batch_size;
        let last = (first + self.batch_size).min(self.rows);
        if self.current.as_ref().is_none_or(|(known, _)| *known != epoch) {
            self.current = Some((epoch, self.order_of(epoch)));
        }
        self.current.as_ref().map_or(&[], |(_, order)| &order[first..last])
    }

    fn order_of(&self, epoch: u64) -> Vec<usize> {
        match self.order {
            Order::Sequential => (0..self.rows).collect(),
            Order::Shuffled => {
                let mut random = Philox::new(self.seed, stream_of(&format!("shuffle/{epoch}")));
                let mut order: Vec<usize> = (0..self.rows).collect();
                random.shuffle(&mut order);
                order
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequential_batches_start_over_after_a_short_one() {
        let mut batches = Batches::new(7, 3, Order::Sequential, 0);
        let all: Vec<Vec<usize>> = (0..5).map(|step| batches.rows(step).to_vec()).collect();
        assert_eq!(all, [vec![0, 1, 2], vec![3, 4, 5], vec![6], vec![0, 1, 2], vec![3, 4, 5]]);
    }

    #[test]
    fn shuffled_epochs_hold_every_row_once_and_differ() {
        let mut batches = Batches::new(50, 8, Order::Shuffled, 3);
        let mut epochs = (0..2).map(|epoch| {
            let steps = epoch * 7..(epoch + 1) * 7;
            steps.flat_map(|step| batches.rows(step).to_vec()).collect::<Vec<usize>>()
        });
        let (first, second) = (epochs.next().unwrap(), epochs.next().unwrap());
        assert!(first != second);
        for mut epoch in [first.clone(), second] {
            epoch.sort_unstable();
            assert_eq!(epoch, (0..50).collect::<Vec<_>>());
        }
        // A run that goes on at step 3 sees the same rows as one that came there.
        assert_eq!(Batches::new(50, 8, Order::Shuffled, 3).rows(3), &first[24..32]);
    }
}
