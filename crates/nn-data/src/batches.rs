//! Batches of a data set: one epoch as an iterator, or the batch of any step without end.

use cpu_reference::philox::Philox;

use crate::dataset::gather_rows;
use crate::{DataError, Dataset, Inputs, Targets};

/// The first of the random streams that shuffle epochs; epoch `e` uses this one plus `e`.
const EPOCH_STREAM: u32 = 0x4000_0000;

/// In which order an epoch takes the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As they are.
    Sequential,
    /// Shuffled anew for each epoch.
    Shuffled {
        /// The run's seed.
        seed: u64,
        /// The epoch, from 0.
        epoch: u32,
    },
}

impl Order {
    /// The row numbers of the epoch that is `later` epochs after this order's own.
    fn permutation(self, rows: usize, later: u32) -> Option<Vec<usize>> {
        match self {
            Self::Sequential => None,
            Self::Shuffled { seed, epoch } => {
                let stream = EPOCH_STREAM.wrapping_add(epoch).wrapping_add(later);
                let permutation = Philox::new(seed, stream).permutation(rows);
                Some(permutation.into_iter().map(|row| row as usize).collect())
            }
        }
    }
}

/// Some rows of a data set.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// `[rows, sample_shape…]`, contiguous.
    pub inputs: Vec<f32>,
    /// One target a row.
    pub targets: BatchTargets,
    /// How many rows.
    pub rows: usize,
}

/// The targets of a batch.
#[derive(Debug, Clone, PartialEq)]
pub enum BatchTargets {
    /// `[rows]` class numbers.
    Classes(Vec<u32>),
    /// `[rows, width]` numbers.
    Values(Vec<f32>),
}

/// One epoch of a data set in batches; the last one has what is left, so it may be smaller.
#[derive(Debug, Clone)]
pub struct Batches<'a> {
    dataset: &'a Dataset,
    batch_size: usize,
    permutation: Option<Vec<usize>>,
    next_row: usize,
}

impl<'a> Batches<'a> {
    /// Starts the epoch that `order` names.
    ///
    /// # Errors
    /// [`DataError::Argument`] if `batch_size` is 0; [`DataError::Empty`] or [`DataError::Length`] if
    /// the data set's parts don't fit together.
    pub fn new(dataset: &'a Dataset, batch_size: usize, order: Order) -> Result<Self, DataError> {
        check(dataset, batch_size)?;
        Ok(Self { dataset, batch_size, permutation: order.permutation(dataset.rows(), 0), next_row: 0 })
    }
}

impl Iterator for Batches<'_> {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let left = self.dataset.rows() - self.next_row;
        if left == 0 {
            return None;
        }
        let end = self.next_row + self.batch_size.min(left);
        let permutation = self.permutation.as_deref();
        let rows: Vec<usize> =
            (self.next_row..end).map(|row| permutation.map_or(row, |permutation| permutation[row])).collect();
        self.next_row = end;
        Some(gather(self.dataset, &rows))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (self.dataset.rows() - self.next_row).div_ceil(self.batch_size);
        (left, Some(left))
    }
}

impl ExactSizeIterator for Batches<'_> {}

/// A data set without end: step `s` takes rows `s·B .. (s+1)·B`, and starts over at the end.
///
/// Every batch has exactly `B` rows: one that crosses the end goes on with the first rows of the next
/// epoch. Any step can be asked for at any time, so a resumed run goes on where it stopped.
#[derive(Debug, Clone)]
pub struct Steps<'a> {
    dataset: &'a Dataset,
    batch_size: usize,
    order: Order,
    /// The permutation last made, with its epoch: the steps of one epoch share it.
    permutation: Option<(u32, Vec<usize>)>,
}

impl<'a> Steps<'a> {
    /// Prepares the steps; with [`Order::Shuffled`], step 0 begins the epoch that `order` names.
    ///
    /// # Errors
    /// As [`Batches::new`].
    pub fn new(dataset: &'a Dataset, batch_size: usize, order: Order) -> Result<Self, DataError> {
        check(dataset, batch_size)?;
        Ok(Self { dataset, batch_size, order, permutation: None })
    }

    /// The batch of `step`, from 0.
    pub fn batch(&mut self, step: u64) -> Batch {
        // 128 bits: step · batch_size must not wrap, whatever the step.
        let rows = self.dataset.rows();
        let first = u128::from(step) * self.batch_size as u128;
        let rows_of_batch: Vec<usize> = (0..self.batch_size)
            .map(|offset| {
                let position = first + offset as u128;
                let (epoch, row) = (position / rows as u128, position % rows as u128);
                self.row(epoch as u32, row as usize)
            })
            .collect();
        gather(self.dataset, &rows_of_batch)
    }

    /// The row of the data set at place `position` of `epoch`.
    fn row(&mut self, epoch: u32, position: usize) -> usize {
        if self.permutation.as_ref().is_none_or(|(held, _)| *held != epoch) {
            self.permutation =
                self.order.permutation(self.dataset.rows(), epoch).map(|permutation| (epoch, permutation));
        }
        match &self.permutation {
            Some((_, permutation)) => permutation[position],
            None => position,
        }
    }
}

fn check(dataset: &Dataset, batch_size: usize) -> Result<(), DataError> {
    if batch_size == 0 {
        return Err(DataError::argument("the batch size is 0", "give batch_size = 1 or more"));
    }
    dataset.check_lengths()
}

/// Copies rows out of a data set whose lengths have been checked.
fn gather(dataset: &Dataset, rows: &[usize]) -> Batch {
    let Inputs::F32(inputs) = &dataset.inputs;
    Batch {
        inputs: gather_rows(inputs, dataset.width(), rows),
        targets: match &dataset.targets {
            Targets::Classes { labels, .. } => BatchTargets::Classes(gather_rows(labels, 1, rows)),
            Targets::Values { values, width } => BatchTargets::Values(gather_rows(values, *width, rows)),
        },
        rows: rows.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Row `r` has inputs `[r, -r]` and value target `10·r`.
    fn sample(rows: usize) -> Dataset {
        Dataset {
            name: "sample".into(),
            inputs: Inputs::F32((0..rows).flat_map(|row| [row as f32, -(row as f32)]).collect()),
            sample_shape: vec![2],
            targets: Targets::Values { values: (0..rows).map(|row| 10.0 * row as f32).collect(), width: 1 },
        }
    }

    /// The row numbers of a batch, having checked that inputs and targets belong together.
    fn rows_of(batch: &Batch) -> Vec<usize> {
        let BatchTargets::Values(values) = &batch.targets else {
            panic!("values expected");
        };
        assert_eq!(batch.inputs.len(), 2 * batch.rows);
        assert_eq!(values.len(), batch.rows);
        (0..batch.rows)
            .map(|index| {
                let row = batch.inputs[2 * index];
                assert_eq!(batch.inputs[2 * index + 1], -row);
                assert_eq!(values[index], 10.0 * row);
                row as usize
            })
            .collect()
    }

    #[test]
    fn an_epoch_yields_the_partial_batch_last() {
        let data = sample(10);
        let batches = Batches::new(&data, 4, Order::Sequential).unwrap();
        assert_eq!(batches.len(), 3);
        let rows: Vec<_> = batches.map(|batch| rows_of(&batch)).collect();
        assert_eq!(rows, [vec![0, 1, 2, 3], vec![4, 5, 6, 7], vec![8, 9]]);
    }

    #[test]
    fn a_shuffled_epoch_takes_each_row_once_in_an_order_of_its_own() {
        let data = sample(50);
        let epoch = |seed, epoch| -> Vec<usize> {
            Batches::new(&data, 8, Order::Shuffled { seed, epoch }).unwrap().flat_map(|batch| rows_of(&batch)).collect()
        };
        let mut first = epoch(3, 0);
        assert_eq!(first, epoch(3, 0));
        assert_ne!(first, epoch(3, 1));
        assert_ne!(first, epoch(4, 0));
        first.sort_unstable();
        assert_eq!(first, (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn steps_start_over_at_the_end() {
        let data = sample(10);
        let mut steps = Steps::new(&data, 4, Order::Sequential).unwrap();
        assert_eq!(rows_of(&steps.batch(0)), [0, 1, 2, 3]);
        assert_eq!(rows_of(&steps.batch(2)), [8, 9, 0, 1]);
        assert_eq!(rows_of(&steps.batch(5)), [0, 1, 2, 3]);
        // A batch larger than the data set goes round more than once.
        let data = sample(3);
        let mut steps = Steps::new(&data, 7, Order::Sequential).unwrap();
        assert_eq!(rows_of(&steps.batch(0)), [0, 1, 2, 0, 1, 2, 0]);
        assert_eq!(rows_of(&steps.batch(u64::MAX)).len(), 7);
    }

    #[test]
    fn shuffled_steps_are_the_shuffled_epochs_end_to_end() {
        let data = sample(10);
        let expected: Vec<usize> = (5..9)
            .flat_map(|epoch| Batches::new(&data, 3, Order::Shuffled { seed: 1, epoch }).unwrap())
            .flat_map(|batch| rows_of(&batch))
            .collect();
        let order = Order::Shuffled { seed: 1, epoch: 5 };
        let mut steps = Steps::new(&data, 4, order).unwrap();
        let found: Vec<usize> = (0..10).flat_map(|step| rows_of(&steps.batch(step))).collect();
        assert_eq!(found, expected);
        // A resumed run asks for a late step first and must get the same rows.
        let mut resumed = Steps::new(&data, 4, order).unwrap();
        assert_eq!(rows_of(&resumed.batch(7)), expected[28..32]);
    }

    #[test]
    fn classes_travel_with_their_rows() {
        let mut data = sample(6);
        data.targets =
            Targets::Classes { labels: vec![5, 4, 3, 2, 1, 0], names: (0..6).map(|class| class.to_string()).collect() };
        let last = Batches::new(&data, 4, Order::Sequential).unwrap().last().unwrap();
        assert_eq!(last.targets, BatchTargets::Classes(vec![1, 0]));
        assert_eq!(last.inputs, [4.0, -4.0, 5.0, -5.0]);
    }

    #[test]
    fn bad_arguments_are_errors() {
        let mut data = sample(6);
        assert!(matches!(Batches::new(&data, 0, Order::Sequential), Err(DataError::Argument { .. })));
        assert!(Steps::new(&data, 0, Order::Sequential).is_err());
        data.sample_shape = vec![3];
        assert!(matches!(Batches::new(&data, 2, Order::Sequential), Err(DataError::Length { .. })));
    }
}
