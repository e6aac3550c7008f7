//! A data set: samples in rows with their targets, checked and selected.

use std::borrow::Cow;

use nn_core::DType;
use nn_train::{Data, IGNORED, TargetsRef};

use crate::augment::Augmentation;
use crate::inputs::not_bytes;
use crate::{ChannelScale, DataError, Inputs, Targets};

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
    /// How pictures are changed at random when they are trained on; see [`Dataset::augmented`].
    pub augmentation: Option<Augmentation>,
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

    /// Channels, height and width, where a sample is a picture (`[height, width]` has one channel).
    pub fn picture_shape(&self) -> Option<[usize; 3]> {
        match self.sample_shape[..] {
            [height, width] => Some([1, height, width]),
            [channels, height, width] => Some([channels, height, width]),
            _ => None,
        }
    }

    /// The numbers of sample `row`, `[width]`, or `None` past the end and for token ids. Pictures kept as bytes are scaled.
    pub fn input_row(&self, row: usize) -> Option<Cow<'_, [f32]>> {
        let (start, end) = self.row_bounds(row)?;
        self.inputs.numbers(start, end)
    }

    /// The pixels of sample `row` for showing it, `[channels, height, width]`, or `None` past the end.
    ///
    /// Bytes are given as they are, unscaled. Numbers from 0 to 1 become 0 to 255; if a row has others, its
    /// smallest becomes 0 and its largest 255. Token ids show nothing.
    pub fn pixels(&self, row: usize) -> Option<Vec<u8>> {
        let (start, end) = self.row_bounds(row)?;
        match &self.inputs {
            Inputs::U8 { values, .. } => values.get(start..end).map(<[u8]>::to_vec),
            Inputs::Tokens { .. } => None,
            Inputs::F32(values) => {
                let values = values.get(start..end)?;
                let extreme = |start, choose: fn(f32, f32) -> f32| values.iter().copied().fold(start, choose);
                let (low, high) = if values.iter().all(|value| (0.0..=1.0).contains(value)) {
                    (0.0, 1.0)
                } else {
                    (extreme(f32::INFINITY, f32::min), extreme(f32::NEG_INFINITY, f32::max))
                };
                let spread = if high > low { high - low } else { 1.0 };
                Some(values.iter().map(|value| ((value - low) / spread * 255.0).round() as u8).collect())
            }
        }
    }

    /// The token ids of sample `row`, `[width]`, or `None` past the end and for other samples.
    pub fn token_row(&self, row: usize) -> Option<&[u32]> {
        let Inputs::Tokens { values, .. } = &self.inputs else { return None };
        let (start, end) = self.row_bounds(row)?;
        values.get(start..end)
    }

    /// How many kinds of token ids there are, as far as the data says; `None` where samples are numbers.
    pub fn vocabulary(&self) -> Option<usize> {
        match self.inputs {
            Inputs::Tokens { vocabulary, .. } => Some(vocabulary),
            Inputs::F32(_) | Inputs::U8 { .. } => None,
        }
    }

    /// Where sample `row` begins and ends in the inputs, if it may exist at all.
    pub(crate) fn row_bounds(&self, row: usize) -> Option<(usize, usize)> {
        let stride = if let Inputs::Tokens { stride, .. } = &self.inputs { *stride } else { self.width() };
        let start = row.checked_mul(stride)?;
        Some((start, start.checked_add(self.width())?))
    }

    /// Sets how bytes become numbers; give every part of one data set the same scale.
    ///
    /// # Errors
    /// [`DataError::Argument`] if the inputs are no bytes, or the scale is not one for their channels.
    pub fn set_scale(&mut self, scale: &ChannelScale) -> Result<(), DataError> {
        let Inputs::U8 { scale: own, .. } = &mut self.inputs else {
            return Err(not_bytes(self));
        };
        scale.check(own.mean.len())?;
        *own = scale.clone();
        Ok(())
    }

    /// Checks the whole data set: lengths, class numbers, that every number is finite, and that the
    /// augmentation is one for such data.
    ///
    /// # Errors
    /// [`DataError::Empty`], [`DataError::Length`], [`DataError::ClassOutOfRange`],
    /// [`DataError::NotFinite`] with the first row and column at fault, or [`DataError::Argument`] for a
    /// scale or an augmentation that does not fit.
    pub fn validate(&self) -> Result<(), DataError> {
        self.check_lengths()?;
        if let Inputs::F32(inputs) = &self.inputs {
            self.check_finite("inputs", inputs, self.width())?;
        }
        if let Inputs::Tokens { values, vocabulary, .. } = &self.inputs
            && let Some(place) = values.iter().position(|&token| token as usize >= *vocabulary)
        {
            return Err(DataError::argument(
                format!("data set {} has the token {} at place {place}", self.name, values[place]),
                format!("its vocabulary has the tokens 0 to {}", vocabulary.saturating_sub(1)),
            ));
        }
        match &self.targets {
            Targets::Classes { labels, names } => self.check_classes(labels, 1, names.len())?,
            Targets::ClassMaps { labels, size, names } => self.check_classes(labels, *size, names.len())?,
            Targets::Values { values, width } => self.check_finite("targets", values, *width)?,
            Targets::Sequences { labels, count, stride, .. } => {
                let wrong = |label: &u32| *label as usize >= *count && *label != IGNORED;
                if let Some(place) = labels.iter().position(wrong) {
                    let (row, class, classes) = (place / stride, labels[place], *count);
                    return Err(DataError::ClassOutOfRange { dataset: self.name.clone(), row, class, classes });
                }
            }
        }
        match &self.augmentation {
            Some(augmentation) => augmentation.check(self),
            None => Ok(()),
        }
    }

    /// Checks what the other functions rely on: that no part is empty and that all have the same number of rows.
    pub(crate) fn check_lengths(&self) -> Result<(), DataError> {
        let empty = |what| DataError::Empty { dataset: self.name.clone(), what };
        let length = |what| DataError::Length { dataset: self.name.clone(), what };
        if self.width() == 0 {
            return Err(empty("a sample has no numbers"));
        }
        let (target_numbers, target_width) = match &self.targets {
            Targets::Classes { labels, .. } => (labels.len(), 1),
            Targets::Values { values, width } => (values.len(), *width),
            Targets::ClassMaps { labels, size, .. } => (labels.len(), *size),
            // Its rows are counted from the labels, and those of overlapping rows make no whole number of lengths.
            Targets::Sequences { length, stride, .. } => (self.rows() * length, *length.min(stride)),
        };
        if target_width == 0 {
            return Err(empty("a target has no numbers"));
        }
        if !target_numbers.is_multiple_of(target_width) {
            return Err(length(format!("{target_numbers} target numbers do not make rows of {target_width}")));
        }
        let inputs = self.inputs.len();
        if inputs == 0 && self.rows() == 0 {
            return Err(empty("it has no rows"));
        }
        if !self.inputs.are_rows(self.rows(), self.width()) {
            return Err(length(format!(
                "{inputs} input numbers are not {} rows (the targets' number) of {}",
                self.rows(),
                self.width()
            )));
        }
        if let Inputs::U8 { scale, .. } = &self.inputs {
            // A flat sample shape does not tell the channels: they are the scale's then.
            scale.check(self.picture_shape().map_or(scale.mean.len(), |[channels, ..]| channels))?;
            if !self.width().is_multiple_of(scale.mean.len()) {
                return Err(length(format!("{} bytes a row are not {} channels", self.width(), scale.mean.len())));
            }
        }
        if let (Targets::ClassMaps { size, .. }, Some([_, height, width])) = (&self.targets, self.picture_shape())
            && *size != height * width
        {
            return Err(length(format!("maps of {size} pixels are not those of pictures of {height}×{width}")));
        }
        Ok(())
    }

    fn check_classes(&self, labels: &[u32], width: usize, classes: usize) -> Result<(), DataError> {
        match labels.iter().position(|&class| class as usize >= classes) {
            Some(index) => Err(DataError::ClassOutOfRange {
                dataset: self.name.clone(),
                row: index / width,
                class: labels[index],
                classes,
            }),
            None => Ok(()),
        }
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
        Ok(Self {
            name: self.name.clone(),
            inputs: self.inputs.gather(self.width(), indices),
            sample_shape: self.sample_shape.clone(),
            targets: self.targets.gather(indices),
            augmentation: self.augmentation.clone(),
        })
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
            Targets::ClassMaps { labels, size, names } => {
                TargetsRef::ClassMaps { labels, count: names.len(), size: *size }
            }
            Targets::Sequences { labels, length, stride, count } => {
                TargetsRef::Sequences { labels, count: *count, length: *length, stride: *stride }
            }
        }
    }

    fn sample_dtype(&self) -> DType {
        if matches!(self.inputs, Inputs::Tokens { .. }) { DType::U32 } else { DType::F32 }
    }

    fn batch_indices(&self, rows: &[usize], inputs: &mut Vec<u32>) {
        // As in `batch`, a row past the end adds nothing.
        rows.iter().filter_map(|&row| self.token_row(row)).for_each(|row| inputs.extend_from_slice(row));
    }

    fn augmented(&self, visit: u64, rows: &[usize], inputs: &mut Vec<f32>) {
        Dataset::augmented(self, visit, rows, inputs);
    }

    fn is_laborious(&self) -> bool {
        self.augmentation.is_some()
    }

    fn batch(&self, rows: &[usize], inputs: &mut Vec<f32>) {
        let table = match &self.inputs {
            Inputs::U8 { scale, .. } => scale.table(),
            Inputs::F32(_) | Inputs::Tokens { .. } => Vec::new(),
        };
        // A row past the end adds nothing; the trainer's check finds that values are missing.
        for (start, end) in rows.iter().filter_map(|&row| self.row_bounds(row)) {
            match &self.inputs {
                Inputs::F32(values) => inputs.extend_from_slice(values.get(start..end).unwrap_or_default()),
                Inputs::U8 { values, scale } => {
                    scale.extend(values.get(start..end).unwrap_or_default(), &table, inputs);
                }
                Inputs::Tokens { .. } => {}
            }
        }
    }
}

#[cfg(test)]
#[path = "dataset_tests.rs"]
mod tests;
