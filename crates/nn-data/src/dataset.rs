//! A data set: samples in rows with their targets, checked, split and selected.

use cpu_reference::philox::Philox;
use nn_train::{Data, TargetsRef};

use crate::DataError;

/// Streams of random numbers that this file uses; each purpose has its own, so that none repeats another.
const SPLIT_STREAM: u32 = 0x2000_0000;
const SPLIT_ORDER_STREAM: u32 = 0x2800_0000;

/// The inputs of all samples, row after row.
#[derive(Debug, Clone, PartialEq)]
pub enum Inputs {
    /// Numbers, `[rows, sample_shape…]`, contiguous.
    F32(Vec<f32>),
}

/// What a model is to predict for each sample.
#[derive(Debug, Clone, PartialEq)]
pub enum Targets {
    /// One class a row.
    Classes {
        /// `[rows]`, each below `names.len()`.
        labels: Vec<u32>,
        /// The classes' names, in order of their numbers.
        names: Vec<String>,
    },
    /// Some numbers a row.
    Values {
        /// `[rows, width]`, contiguous.
        values: Vec<f32>,
        /// Numbers per row.
        width: usize,
    },
}

impl Targets {
    /// How many rows have a target.
    pub fn rows(&self) -> usize {
        match self {
            Self::Classes { labels, .. } => labels.len(),
            Self::Values { values, width } => values.len().checked_div(*width).unwrap_or(0),
        }
    }
}

/// Samples with their targets.
///
/// The fields are open; [`Dataset::validate`] says whether they fit together, and every source in this
/// crate returns only what has passed it.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// What messages call it: a preset's name or a path.
    pub name: String,
    /// `[rows, sample_shape…]`.
    pub inputs: Inputs,
    /// The shape of one sample, without the rows.
    pub sample_shape: Vec<usize>,
    /// One target a row.
    pub targets: Targets,
}

impl Dataset {
    /// How many samples there are.
    pub fn rows(&self) -> usize {
        self.targets.rows()
    }

    /// How many input numbers a sample has.
    pub fn width(&self) -> usize {
        self.sample_shape.iter().product()
    }

    /// The numbers of sample `row`, `[width]`, or `None` past the end.
    pub fn input_row(&self, row: usize) -> Option<&[f32]> {
        let Inputs::F32(values) = &self.inputs;
        let start = row.checked_mul(self.width())?;
        values.get(start..start.checked_add(self.width())?)
    }

    /// Checks the whole data set: lengths, class numbers, and that every number is finite.
    ///
    /// # Errors
    /// [`DataError::Empty`], [`DataError::Length`], [`DataError::ClassOutOfRange`], or
    /// [`DataError::NotFinite`] with the first row and column at fault.
    pub fn validate(&self) -> Result<(), DataError> {
        self.check_lengths()?;
        let Inputs::F32(inputs) = &self.inputs;
        self.check_finite("inputs", inputs, self.width())?;
        match &self.targets {
            Targets::Classes { labels, names } => {
                match labels.iter().position(|&class| class as usize >= names.len()) {
                    Some(row) => Err(DataError::ClassOutOfRange {
                        dataset: self.name.clone(),
                        row,
                        class: labels[row],
                        classes: names.len(),
                    }),
                    None => Ok(()),
                }
            }
            Targets::Values { values, width } => self.check_finite("targets", values, *width),
        }
    }

    /// Checks what the other functions rely on: that no part is empty and that all have the same number of rows.
    pub(crate) fn check_lengths(&self) -> Result<(), DataError> {
        let Inputs::F32(inputs) = &self.inputs;
        let empty = |what| DataError::Empty { dataset: self.name.clone(), what };
        let length = |what| DataError::Length { dataset: self.name.clone(), what };
        if self.width() == 0 {
            return Err(empty("a sample has no numbers"));
        }
        if let Targets::Values { values, width } = &self.targets {
            if *width == 0 {
                return Err(empty("a target has no numbers"));
            }
            if !values.len().is_multiple_of(*width) {
                return Err(length(format!("{} target numbers do not make rows of {width}", values.len())));
            }
        }
        if inputs.is_empty() && self.rows() == 0 {
            return Err(empty("it has no rows"));
        }
        if self.rows().checked_mul(self.width()) != Some(inputs.len()) {
            return Err(length(format!(
                "{} input numbers are not {} rows (the targets' number) of {}",
                inputs.len(),
                self.rows(),
                self.width()
            )));
        }
        Ok(())
    }

    fn check_finite(&self, part: &'static str, values: &[f32], width: usize) -> Result<(), DataError> {
        match values.iter().position(|value| !value.is_finite()) {
            Some(index) => Err(DataError::NotFinite {
                dataset: self.name.clone(),
                part,
                row: index / width,
                column: index % width,
                value: values[index],
            }),
            None => Ok(()),
        }
    }

    /// The rows named by `indices`, in that order; a row may be named twice.
    ///
    /// # Errors
    /// [`DataError::Argument`] for an index past the end, and what [`Dataset::validate`] says of lengths.
    pub fn subset(&self, indices: &[usize]) -> Result<Self, DataError> {
        self.check_lengths()?;
        let rows = self.rows();
        if let Some(index) = indices.iter().find(|&&index| index >= rows) {
            return Err(DataError::argument(
                format!("row {index} of data set {} was asked for", self.name),
                format!("it has rows 0 to {}", rows - 1),
            ));
        }
        let Inputs::F32(inputs) = &self.inputs;
        Ok(Self {
            name: self.name.clone(),
            inputs: Inputs::F32(gather_rows(inputs, self.width(), indices)),
            sample_shape: self.sample_shape.clone(),
            targets: match &self.targets {
                Targets::Classes { labels, names } => {
                    Targets::Classes { labels: gather_rows(labels, 1, indices), names: names.clone() }
                }
                Targets::Values { values, width } => {
                    Targets::Values { values: gather_rows(values, *width, indices), width: *width }
                }
            },
        })
    }

    /// Splits into (training, held out), where `fraction` of the rows, rounded, is held out.
    ///
    /// The choice is random but fixed by `seed`, and stratified: each class gives its share (to within
    /// one row). Both parts come shuffled and have at least one row.
    ///
    /// # Errors
    /// [`DataError::Argument`] unless 0 < `fraction` < 1 and there are two rows or more; what
    /// [`Dataset::validate`] finds.
    pub fn split(&self, fraction: f64, seed: u64) -> Result<(Self, Self), DataError> {
        self.validate()?;
        let held_out = self.held_out_rows(fraction)?;
        let (mut first, mut second) = (Vec::new(), Vec::new());
        let mut groups = self.rows_by_class();
        let shares = shares(&groups.iter().map(Vec::len).collect::<Vec<_>>(), held_out);
        for (class, (group, share)) in groups.iter_mut().zip(shares).enumerate() {
            Philox::new(seed, SPLIT_STREAM.wrapping_add(class as u32)).shuffle(group);
            second.extend_from_slice(&group[..share]);
            first.extend_from_slice(&group[share..]);
        }
        // Without this the rows would come class by class.
        let mut random = Philox::new(seed, SPLIT_ORDER_STREAM);
        random.shuffle(&mut first);
        random.shuffle(&mut second);
        Ok((self.subset(&first)?, self.subset(&second)?))
    }

    /// Splits into (all but the last `fraction` of the rows, the last `fraction`), in the given order.
    ///
    /// # Errors
    /// As [`Dataset::split`].
    pub fn split_last(&self, fraction: f64) -> Result<(Self, Self), DataError> {
        let first = self.rows() - self.held_out_rows(fraction)?;
        let indices: Vec<usize> = (0..self.rows()).collect();
        Ok((self.subset(&indices[..first])?, self.subset(&indices[first..])?))
    }

    /// How many rows `fraction` holds out: at least one, and not all.
    fn held_out_rows(&self, fraction: f64) -> Result<usize, DataError> {
        self.check_lengths()?;
        if !(fraction > 0.0 && fraction < 1.0) {
            return Err(DataError::argument(
                format!("cannot hold out {fraction} of data set {}", self.name),
                "give a fraction above 0 and below 1, such as 0.1",
            ));
        }
        if self.rows() < 2 {
            return Err(DataError::argument(
                format!("data set {} has one row and cannot be split", self.name),
                "give more rows, or train without a validation part",
            ));
        }
        let wanted = (self.rows() as f64 * fraction).round() as usize;
        Ok(wanted.clamp(1, self.rows() - 1))
    }

    /// Row numbers grouped by class; all in one group where the targets are values.
    fn rows_by_class(&self) -> Vec<Vec<usize>> {
        match &self.targets {
            Targets::Classes { labels, .. } => {
                let classes = labels.iter().max().map_or(0, |&class| class as usize + 1);
                let mut groups = vec![Vec::new(); classes];
                for (row, &class) in labels.iter().enumerate() {
                    groups[class as usize].push(row);
                }
                groups
            }
            Targets::Values { .. } => vec![(0..self.rows()).collect()],
        }
    }
}

impl Data for Dataset {
    fn rows(&self) -> usize {
        self.targets.rows()
    }

    fn sample_shape(&self) -> &[usize] {
        &self.sample_shape
    }

    fn targets(&self) -> TargetsRef<'_> {
        match &self.targets {
            Targets::Classes { labels, names } => TargetsRef::Classes { labels, count: names.len() },
            Targets::Values { values, width } => TargetsRef::Values { values, width: *width },
        }
    }

    fn batch(&self, rows: &[usize], inputs: &mut Vec<f32>) {
        // A row past the end adds nothing; the trainer's check finds that values are missing.
        for &row in rows {
            inputs.extend_from_slice(self.input_row(row).unwrap_or_default());
        }
    }
}

/// Rows `indices` of a matrix with `width` columns.
fn gather_rows<T: Copy>(values: &[T], width: usize, indices: &[usize]) -> Vec<T> {
    let mut rows = Vec::with_capacity(indices.len() * width);
    for &index in indices {
        rows.extend_from_slice(&values[index * width..(index + 1) * width]);
    }
    rows
}

/// Deals `total` out to groups in proportion to their sizes, by largest remainder (ties: first group).
///
/// Needs `total` ≤ the sum of `sizes`; no share is larger than its group.
fn shares(sizes: &[usize], total: usize) -> Vec<usize> {
    let all: u128 = sizes.iter().map(|&size| size as u128).sum::<u128>().max(1);
    let exact = |size: usize| size as u128 * total as u128;
    let mut shares: Vec<usize> = sizes.iter().map(|&size| (exact(size) / all) as usize).collect();
    let missing = total.saturating_sub(shares.iter().sum());
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&group| std::cmp::Reverse(exact(sizes[group]) % all));
    for &group in order.iter().take(missing) {
        shares[group] += 1;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 100 rows of two numbers, the first of which is the row number; 70 of class 0, 20 of 1, 10 of 2.
    fn sample() -> Dataset {
        Dataset {
            name: "sample".into(),
            inputs: Inputs::F32((0..100).flat_map(|row| [row as f32, 0.5]).collect()),
            sample_shape: vec![2],
            targets: Targets::Classes {
                labels: (0..100).map(|row| u32::from(row >= 70) + u32::from(row >= 90)).collect(),
                names: vec!["a".into(), "b".into(), "c".into()],
            },
        }
    }

    fn row_numbers(dataset: &Dataset) -> Vec<usize> {
        (0..dataset.rows()).map(|row| dataset.input_row(row).unwrap()[0] as usize).collect()
    }

    fn class_counts(dataset: &Dataset) -> Vec<usize> {
        let Targets::Classes { labels, names } = &dataset.targets else {
            panic!("classes expected");
        };
        (0..names.len()).map(|class| labels.iter().filter(|&&label| label as usize == class).count()).collect()
    }

    #[test]
    fn split_is_stratified_disjoint_shuffled_and_fixed_by_the_seed() {
        let data = sample();
        let (train, held_out) = data.split(0.2, 7).unwrap();
        assert_eq!(class_counts(&train), [56, 16, 8]);
        assert_eq!(class_counts(&held_out), [14, 4, 2]);
        let mut all = row_numbers(&train);
        assert!(!all.is_sorted(), "the training rows must come shuffled");
        all.extend(row_numbers(&held_out));
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<_>>());
        assert_eq!(data.split(0.2, 7).unwrap(), (train.clone(), held_out));
        assert_ne!(data.split(0.2, 8).unwrap().0, train);
    }

    #[test]
    fn split_keeps_inputs_and_targets_together() {
        let (train, held_out) = sample().split(0.31, 1).unwrap();
        assert_eq!((train.rows(), held_out.rows()), (69, 31));
        for part in [train, held_out] {
            let Targets::Classes { labels, .. } = &part.targets else {
                panic!("classes expected");
            };
            for (row, label) in row_numbers(&part).into_iter().zip(labels) {
                assert_eq!(*label, u32::from(row >= 70) + u32::from(row >= 90));
            }
        }
    }

    #[test]
    fn a_trainer_sees_rows_and_targets_together() {
        let data: &dyn Data = &sample();
        let mut inputs = Vec::new();
        data.batch(&[95, 3], &mut inputs);
        assert_eq!(inputs, [95.0, 0.5, 3.0, 0.5]);
        assert_eq!((data.rows(), data.sample_shape()), (100, &[2][..]));
        let TargetsRef::Classes { labels, count } = data.targets() else {
            panic!("classes expected");
        };
        assert_eq!((labels[95], labels[3], count), (2, 0, 3));
    }

    #[test]
    fn split_last_takes_the_end() {
        let (first, last) = sample().split_last(0.1).unwrap();
        assert_eq!(row_numbers(&first), (0..90).collect::<Vec<_>>());
        assert_eq!(row_numbers(&last), (90..100).collect::<Vec<_>>());
    }

    #[test]
    fn split_refuses_what_leaves_a_part_empty() {
        for fraction in [0.0, 1.0, -0.5, f64::NAN] {
            assert!(matches!(sample().split(fraction, 0), Err(DataError::Argument { .. })));
        }
        let (train, held_out) = sample().subset(&[3, 4]).unwrap().split(0.01, 0).unwrap();
        assert_eq!((train.rows(), held_out.rows()), (1, 1));
        assert!(sample().subset(&[3]).unwrap().split(0.5, 0).is_err());
    }

    #[test]
    fn shares_add_up_and_never_exceed_a_group() {
        for total in 0..=13 {
            let shares = shares(&[1, 7, 0, 5], total);
            assert_eq!(shares.iter().sum::<usize>(), total);
            assert!(shares.iter().zip([1, 7, 0, 5]).all(|(share, size)| *share <= size));
        }
    }

    #[test]
    fn validate_names_the_row_and_column_of_a_bad_number() {
        let mut data = sample();
        let Inputs::F32(values) = &mut data.inputs;
        values[41] = f32::NAN;
        let message = data.validate().unwrap_err().to_string();
        assert!(message.contains("inputs row 20, column 1"), "{message}");
        let Inputs::F32(values) = &mut data.inputs;
        values[41] = 0.0;
        values[4] = f32::INFINITY;
        let message = data.validate().unwrap_err().to_string();
        assert!(message.contains("row 2, column 0") && message.contains("inf"), "{message}");
    }

    #[test]
    fn validate_finds_each_kind_of_fault() {
        let mut data = sample();
        assert!(data.validate().is_ok());
        if let Targets::Classes { names, .. } = &mut data.targets {
            names.pop();
        }
        assert!(matches!(data.validate(), Err(DataError::ClassOutOfRange { row: 90, class: 2, classes: 2, .. })));
        let mut data = sample();
        data.sample_shape = vec![3];
        assert!(matches!(data.validate(), Err(DataError::Length { .. })));
        data.sample_shape = vec![0];
        assert!(matches!(data.validate(), Err(DataError::Empty { .. })));
        let mut data = sample();
        data.inputs = Inputs::F32(Vec::new());
        data.targets = Targets::Values { values: Vec::new(), width: 1 };
        assert!(matches!(data.validate(), Err(DataError::Empty { .. })));
        let mut data = sample();
        data.targets = Targets::Values { values: vec![0.0; 100], width: 1 };
        assert!(data.validate().is_ok());
        if let Targets::Values { values, .. } = &mut data.targets {
            values[9] = f32::NAN;
        }
        assert!(matches!(data.validate(), Err(DataError::NotFinite { part: "targets", row: 9, column: 0, .. })));
    }

    #[test]
    fn rows_past_the_end_are_refused() {
        assert!(sample().input_row(100).is_none());
        assert!(sample().input_row(usize::MAX).is_none());
        assert!(sample().subset(&[0, 100]).is_err());
        assert_eq!(row_numbers(&sample().subset(&[5, 5, 2]).unwrap()), [5, 5, 2]);
    }
}
