//! The inputs of a data set: numbers, or pictures kept as bytes that are scaled when they are read.

use std::borrow::Cow;

use crate::{DataError, Dataset};

/// The inputs of all samples, row after row.
#[derive(Debug, Clone, PartialEq)]
pub enum Inputs {
    /// Numbers, `[rows, sample_shape…]`, contiguous.
    F32(Vec<f32>),
    /// Pictures as bytes: a quarter of the memory of numbers. They become numbers when a row is read.
    U8 {
        /// `[rows, channels, height, width]`, contiguous.
        values: Vec<u8>,
        /// How a byte becomes a number, by its channel.
        scale: ChannelScale,
    },
    /// Token ids. Rows may overlap: windows of one long text.
    Tokens {
        /// Row `r` has `values[r · stride ..][.. width]`.
        values: Vec<u32>,
        /// From one row to the next; at least 1.
        stride: usize,
        /// How many kinds of tokens there are: each value is below it.
        vocabulary: usize,
    },
}

impl Inputs {
    /// Pictures whose bytes become numbers from 0 to 1.
    pub fn pictures(values: Vec<u8>, channels: usize) -> Self {
        Self::U8 { values, scale: ChannelScale::unit(channels) }
    }

    /// Whether they are so many rows of `width` numbers.
    pub(crate) fn are_rows(&self, rows: usize, width: usize) -> bool {
        match self {
            Self::F32(values) => rows.checked_mul(width) == Some(values.len()),
            Self::U8 { values, .. } => rows.checked_mul(width) == Some(values.len()),
            Self::Tokens { values, stride, .. } => {
                *stride > 0 && rows > 0 && (rows - 1) * stride + width <= values.len()
            }
        }
    }

    /// How many numbers they are.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::U8 { values, .. } => values.len(),
            Self::Tokens { values, .. } => values.len(),
        }
    }

    /// The rows named by `indices`, each of `width` numbers. The caller has checked that they exist.
    pub(crate) fn gather(&self, width: usize, indices: &[usize]) -> Self {
        match self {
            Self::F32(values) => Self::F32(gather_rows(values, width, indices)),
            Self::U8 { values, scale } => {
                Self::U8 { values: gather_rows(values, width, indices), scale: scale.clone() }
            }
            Self::Tokens { values, stride, vocabulary } => {
                let values = gather_windows(values, width, *stride, indices);
                Self::Tokens { values, stride: width, vocabulary: *vocabulary }
            }
        }
    }

    /// The numbers from `start` to `end`, or `None` past the end and for token ids.
    pub(crate) fn numbers(&self, start: usize, end: usize) -> Option<Cow<'_, [f32]>> {
        match self {
            Self::F32(values) => values.get(start..end).map(Cow::Borrowed),
            Self::U8 { values, scale } => values.get(start..end).map(|bytes| Cow::Owned(scale.apply(bytes))),
            Self::Tokens { .. } => None,
        }
    }
}

/// Rows `indices` of a matrix with `width` columns.
pub(crate) fn gather_rows<T: Copy>(values: &[T], width: usize, indices: &[usize]) -> Vec<T> {
    let mut rows = Vec::with_capacity(indices.len() * width);
    for &index in indices {
        rows.extend_from_slice(&values[index * width..(index + 1) * width]);
    }
    rows
}

/// Rows `indices` of overlapping rows, one after the other.
pub(crate) fn gather_windows(values: &[u32], width: usize, stride: usize, indices: &[usize]) -> Vec<u32> {
    indices.iter().flat_map(|&index| &values[index * stride..index * stride + width]).copied().collect()
}

/// How a byte of channel `c` becomes a number: `(byte / 255 − mean[c]) / deviation[c]`.
///
/// As torchvision's `ToTensor` and `Normalize(mean, std)`, to the bit.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelScale {
    /// `[channels]`, on the scale from 0 to 1.
    pub mean: Vec<f32>,
    /// `[channels]`, each above 0.
    pub deviation: Vec<f32>,
}

impl ChannelScale {
    /// The scale that leaves numbers from 0 to 1.
    pub fn unit(channels: usize) -> Self {
        Self { mean: vec![0.0; channels], deviation: vec![1.0; channels] }
    }

    /// Measures each channel over all pictures of `dataset`; the deviation divides by the number of pixels
    /// and is 1 where a channel is constant. The sums are exact, so the order of rows does not matter.
    ///
    /// # Errors
    /// [`DataError::Argument`] if the inputs are not bytes; what [`Dataset::validate`] says of lengths.
    pub fn measure(dataset: &Dataset) -> Result<Self, DataError> {
        dataset.check_lengths()?;
        let Inputs::U8 { values, scale } = &dataset.inputs else {
            return Err(not_bytes(dataset));
        };
        let (channels, plane) = (scale.mean.len(), dataset.width() / scale.mean.len());
        let mut counts = vec![[0u64; 256]; channels];
        for (index, plane) in values.chunks_exact(plane).enumerate() {
            let counts = &mut counts[index % channels];
            plane.iter().for_each(|&byte| counts[usize::from(byte)] += 1);
        }
        let pixels = (dataset.rows() * plane) as f64;
        let (mut mean, mut deviation) = (Vec::new(), Vec::new());
        for counts in &counts {
            let level = |byte: usize| byte as f64 / 255.0;
            let average: f64 = (0..256).map(|byte| counts[byte] as f64 * level(byte)).sum::<f64>() / pixels;
            let variance = (0..256).map(|byte| counts[byte] as f64 * (level(byte) - average).powi(2)).sum::<f64>();
            let constant = counts.iter().filter(|&&count| count > 0).count() == 1;
            mean.push(average as f32);
            deviation.push(if constant { 1.0 } else { (variance / pixels).sqrt() as f32 });
        }
        Ok(Self { mean, deviation })
    }

    /// One picture's bytes, `[channels, height, width]`, as numbers.
    pub fn apply(&self, bytes: &[u8]) -> Vec<f32> {
        let mut numbers = Vec::with_capacity(bytes.len());
        self.extend(bytes, &self.table(), &mut numbers);
        numbers
    }

    /// The number of each byte of each channel.
    pub(crate) fn table(&self) -> Vec<[f32; 256]> {
        let number = |byte: usize, channel: usize| self.number(byte as f32 / 255.0, channel);
        (0..self.mean.len()).map(|channel| std::array::from_fn(|byte| number(byte, channel))).collect()
    }

    /// What becomes of `level`, a byte divided by 255.
    #[inline]
    pub(crate) fn number(&self, level: f32, channel: usize) -> f32 {
        (level - self.mean[channel]) / self.deviation[channel]
    }

    /// Appends one picture's numbers, looked up in this scale's `table`.
    pub(crate) fn extend(&self, bytes: &[u8], table: &[[f32; 256]], numbers: &mut Vec<f32>) {
        let plane = (bytes.len() / table.len().max(1)).max(1);
        for (bytes, table) in bytes.chunks(plane).zip(table) {
            numbers.extend(bytes.iter().map(|&byte| table[usize::from(byte)]));
        }
    }

    /// Checks that the scale is one for `channels` channels.
    pub(crate) fn check(&self, channels: usize) -> Result<(), DataError> {
        if channels == 0 || self.mean.len() != channels || self.deviation.len() != channels {
            return Err(DataError::argument(
                format!(
                    "a scale of {} means and {} deviations does not fit pictures of {channels} channels",
                    self.mean.len(),
                    self.deviation.len()
                ),
                "give one mean and one deviation for each channel",
            ));
        }
        let good = |deviation: &f32| deviation.is_finite() && *deviation > 0.0;
        if !self.mean.iter().all(|mean| mean.is_finite()) || !self.deviation.iter().all(good) {
            return Err(DataError::argument(
                format!("the means {:?} and deviations {:?} cannot scale pictures", self.mean, self.deviation),
                "give finite means, and deviations above 0",
            ));
        }
        Ok(())
    }
}

pub(crate) fn not_bytes(dataset: &Dataset) -> DataError {
    DataError::argument(
        format!("data set {} has numbers, not pictures kept as bytes", dataset.name),
        "scale channels and change colours of pictures read as such, standardise other data by columns",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Targets;
    use nn_train::Data;

    /// Two pictures of two channels of 1×3.
    fn sample() -> Dataset {
        Dataset {
            name: "sample".into(),
            inputs: Inputs::pictures(vec![0, 51, 255, 7, 7, 7, 102, 0, 204, 7, 7, 7], 2),
            sample_shape: vec![2, 1, 3],
            targets: Targets::Classes { labels: vec![0, 1], names: vec!["a".into(), "b".into()] },
            augmentation: None,
        }
    }

    #[test]
    fn rows_are_scaled_by_channel_wherever_they_are_read() {
        let mut data = sample();
        data.set_scale(&ChannelScale { mean: vec![0.5, 0.1], deviation: vec![0.25, 2.0] }).unwrap();
        let seven = (7.0f32 / 255.0 - 0.1) / 2.0;
        let second = [(0.4f32 - 0.5) / 0.25, -2.0, (0.8f32 - 0.5) / 0.25, seven, seven, seven];
        assert_eq!(data.input_row(1).unwrap(), &second[..]);
        assert!(data.input_row(2).is_none() && data.input_row(usize::MAX).is_none());
        let mut batch = Vec::new();
        data.batch(&[1, 0, 1], &mut batch);
        assert_eq!(batch.len(), 18);
        assert_eq!((&batch[..6], &batch[12..]), (&second[..], &second[..]));
        assert_eq!(batch[6..12], *data.input_row(0).unwrap());
        assert_eq!(data.subset(&[1]).unwrap().input_row(0).unwrap(), &second[..]);
        assert_eq!(data.pixels(1).unwrap(), [102, 0, 204, 7, 7, 7]);
    }

    #[test]
    fn every_byte_is_scaled_as_one_number_is() {
        let scale = ChannelScale { mean: vec![0.4914], deviation: vec![0.247] };
        let bytes: Vec<u8> = (0..=255).collect();
        for (byte, number) in scale.apply(&bytes).into_iter().enumerate() {
            assert_eq!(number.to_bits(), ((byte as f32 / 255.0 - 0.4914) / 0.247).to_bits());
        }
    }

    #[test]
    fn channels_are_measured_over_all_pictures() {
        let mut data = sample();
        let scale = ChannelScale::measure(&data).unwrap();
        // Channel 0: 0, 0.2, 1, 0.4, 0, 0.8, whose mean is 0.4 and whose squares sum to 1.84.
        assert_eq!(scale.mean[0], 0.4);
        assert!((scale.deviation[0] - (1.84f32 / 6.0 - 0.16).sqrt()).abs() < 1e-6);
        assert_eq!((scale.mean[1], scale.deviation[1]), (7.0 / 255.0, 1.0));
        data.set_scale(&scale).unwrap();
        assert_eq!(data.input_row(0).unwrap()[3..], [0.0; 3]);
        // Measuring reads the bytes, whatever scale is set.
        assert_eq!(ChannelScale::measure(&data).unwrap(), scale);
    }

    #[test]
    fn a_scale_that_does_not_fit_is_refused() {
        for (mean, deviation) in
            [(vec![0.0], vec![1.0]), (vec![0.0; 2], vec![1.0, 0.0]), (vec![0.0, f32::NAN], vec![1.0; 2])]
        {
            let scale = ChannelScale { mean, deviation };
            let mut data = sample();
            assert!(data.set_scale(&scale).is_err());
            data.inputs = Inputs::U8 { values: vec![0; 12], scale };
            assert!(data.validate().is_err());
        }
        let mut numbers = sample();
        numbers.inputs = Inputs::F32(vec![0.0; 12]);
        assert!(ChannelScale::measure(&numbers).is_err());
        assert!(numbers.set_scale(&ChannelScale::unit(2)).is_err());
        let mut short = sample();
        short.inputs = Inputs::pictures(vec![0; 11], 2);
        assert!(matches!(short.validate(), Err(DataError::Length { .. })));
        // Three channels cannot be read from pictures of two.
        let mut other = sample();
        other.inputs = Inputs::pictures(vec![0; 12], 3);
        assert!(other.validate().is_err());
    }
}
