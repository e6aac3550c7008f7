//! Standardising inputs: each column shifted and scaled to mean 0 and standard deviation 1.

use nn_train::Data;

use crate::{DataError, Dataset, Inputs};

/// The mean and standard deviation of each input column, to be measured on the training part and
/// applied to every part (as scikit-learn's `StandardScaler`).
#[derive(Debug, Clone, PartialEq)]
pub struct Standardisation {
    /// `[width]`.
    pub mean: Vec<f32>,
    /// `[width]`; 1 where a column is constant, so that it becomes 0 rather than NaN.
    pub deviation: Vec<f32>,
}

impl Standardisation {
    /// Measures the columns of `dataset`, in `f64`; the deviation divides by the number of rows.
    ///
    /// # Errors
    /// What [`Dataset::validate`] finds.
    pub fn measure(dataset: &Dataset) -> Result<Self, DataError> {
        dataset.validate()?;
        let (rows, width) = (dataset.rows() as f64, dataset.width());
        let mut mean = vec![0.0f64; width];
        for row in (0..dataset.rows()).filter_map(|row| dataset.input_row(row)) {
            for (sum, &value) in mean.iter_mut().zip(row.iter()) {
                *sum += f64::from(value);
            }
        }
        mean.iter_mut().for_each(|sum| *sum /= rows);
        let mut variance = vec![0.0f64; width];
        for row in (0..dataset.rows()).filter_map(|row| dataset.input_row(row)) {
            for ((sum, &value), centre) in variance.iter_mut().zip(row.iter()).zip(&mean) {
                *sum += (f64::from(value) - centre).powi(2);
            }
        }
        let deviation = variance.iter().zip(&mean).map(|(sum, centre)| {
            let deviation = (sum / rows).sqrt();
            // A constant column's deviation may come out as rounding noise instead of 0.
            if deviation <= 1e-7 * centre.abs() || (deviation as f32) < f32::MIN_POSITIVE {
                1.0
            } else {
                deviation as f32
            }
        });
        Ok(Self { deviation: deviation.collect(), mean: mean.iter().map(|&centre| centre as f32).collect() })
    }

    /// Replaces each input `x` of column `c` by `(x − mean[c]) / deviation[c]`. Pictures kept as bytes become numbers.
    ///
    /// # Errors
    /// [`DataError::Argument`] if `dataset` has another width than the measured one.
    pub fn apply(&self, dataset: &mut Dataset) -> Result<(), DataError> {
        dataset.check_lengths()?;
        let width = dataset.width();
        if width != self.mean.len() || width != self.deviation.len() {
            return Err(DataError::argument(
                format!("data set {} has {width} inputs a row, but {} were measured", dataset.name, self.mean.len()),
                "standardise with columns measured on data of the same width",
            ));
        }
        let mut values = Vec::with_capacity(dataset.inputs.len());
        dataset.batch(&(0..dataset.rows()).collect::<Vec<_>>(), &mut values);
        for row in values.chunks_exact_mut(width) {
            for ((value, mean), deviation) in row.iter_mut().zip(&self.mean).zip(&self.deviation) {
                *value = (*value - mean) / deviation;
            }
        }
        dataset.inputs = Inputs::F32(values);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Targets;

    fn sample(inputs: Vec<f32>, width: usize) -> Dataset {
        Dataset {
            name: "sample".into(),
            targets: Targets::Values { values: vec![0.0; inputs.len() / width], width: 1 },
            inputs: Inputs::F32(inputs),
            sample_shape: vec![width],
            augmentation: None,
        }
    }

    #[test]
    fn columns_get_mean_zero_and_deviation_one() {
        // Column 0: mean 2, deviation sqrt(2.5); column 1: constant; column 2: mean 0, deviation 1000.
        let mut data = sample(vec![0.0, 0.1, 1000.0, 1.0, 0.1, -1000.0, 3.0, 0.1, 1000.0, 4.0, 0.1, -1000.0], 3);
        let measured = Standardisation::measure(&data).unwrap();
        assert_eq!(measured.mean, [2.0, 0.1, 0.0]);
        assert_eq!(measured.deviation, [2.5f32.sqrt(), 1.0, 1000.0]);
        measured.apply(&mut data).unwrap();
        let unit = 1.0 / 2.5f32.sqrt();
        let Inputs::F32(values) = &data.inputs else {
            panic!("numbers expected");
        };
        let expected = [-2.0 * unit, 0.0, 1.0, -unit, 0.0, -1.0, unit, 0.0, 1.0, 2.0 * unit, 0.0, -1.0];
        for (found, expected) in values.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} for {expected}");
        }
    }

    #[test]
    fn pictures_kept_as_bytes_become_numbers() {
        let mut data = sample(vec![0.0; 4], 2);
        data.inputs = Inputs::pictures(vec![0, 255, 255, 255], 1);
        let measured = Standardisation::measure(&data).unwrap();
        assert_eq!((&measured.mean[..], &measured.deviation[..]), (&[0.5, 1.0][..], &[0.5, 1.0][..]));
        measured.apply(&mut data).unwrap();
        assert_eq!(data.inputs, Inputs::F32(vec![-1.0, 0.0, 1.0, 0.0]));
    }

    #[test]
    fn another_width_is_refused() {
        let measured = Standardisation::measure(&sample(vec![1.0, 2.0], 2)).unwrap();
        assert!(measured.apply(&mut sample(vec![1.0, 2.0, 3.0], 3)).is_err());
    }
}
