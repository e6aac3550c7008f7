//! The embedded data set `digits`: 1,797 handwritten digits of 8×8 pixels.

use crate::{DataError, Dataset, Inputs, Targets};

/// Made by scripts/make-digits.py: all labels, then all pictures, a byte a number.
static FILE: &[u8] = include_bytes!("../data/digits.bin");

const ROWS: usize = 1797;
const PIXELS: usize = 64;
/// The largest pixel value in the file: each is the number of set dots in a 4×4 block.
const WHITE: f32 = 16.0;

/// The test part of UCI's "Optical Recognition of Handwritten Digits" (E. Alpaydin, C. Kaynak; CC BY
/// 4.0), in the order of `sklearn.datasets.load_digits`: inputs `[1797, 8, 8]` from 0 (paper) to 1
/// (ink), classes 0 to 9. See `data/ATTRIBUTION.md`.
///
/// # Errors
/// [`DataError`] if the embedded file is damaged.
pub fn digits() -> Result<Dataset, DataError> {
    let Some((labels, pixels)) = FILE.split_at_checked(ROWS) else {
        return Err(DataError::argument(
            "internal: the embedded file digits.bin is too short",
            "run scripts/make-digits.py and build again",
        ));
    };
    let dataset = Dataset {
        name: "digits".into(),
        inputs: Inputs::F32(pixels.iter().map(|&pixel| f32::from(pixel) / WHITE).collect()),
        sample_shape: vec![8, PIXELS / 8],
        targets: Targets::Classes {
            labels: labels.iter().map(|&label| u32::from(label)).collect(),
            names: (0..10).map(|digit| digit.to_string()).collect(),
        },
        augmentation: None,
    };
    dataset.validate()?;
    Ok(dataset)
}

#[cfg(test)]
mod tests {
    use super::*;

    // The numbers below are printed by scripts/make-digits.py from scikit-learn's own arrays.

    #[test]
    fn the_file_is_the_one_that_was_made_from_scikit_learn() {
        let hash = FILE
            .iter()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        assert_eq!(hash, 0x6a5c_f7c9_786b_a501);
    }

    #[test]
    fn class_counts_and_sums_are_scikit_learns() {
        let data = digits().unwrap();
        assert_eq!(data.rows(), 1797);
        assert_eq!(data.sample_shape, [8, 8]);
        let Targets::Classes { labels, names } = &data.targets else {
            panic!("classes expected");
        };
        assert_eq!(names.len(), 10);
        let mut counts = [0; 10];
        labels.iter().for_each(|&label| counts[label as usize] += 1);
        assert_eq!(counts, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
        // Sums are exact: every number is a multiple of 1/16 and the totals are far below 2^24.
        for (row, label, sum) in [(0, 0, 294.0), (1000, 1, 268.0), (1796, 8, 392.0)] {
            assert_eq!(labels[row], label);
            let pixels = data.input_row(row).unwrap();
            assert_eq!(16.0 * pixels.iter().sum::<f32>(), sum);
        }
        let Inputs::F32(values) = &data.inputs else {
            panic!("numbers expected");
        };
        assert_eq!(16.0 * values.iter().map(|&v| f64::from(v)).sum::<f64>(), 561_718.0);
        let second_line: Vec<f32> = data.input_row(0).unwrap()[8..16].to_vec();
        assert_eq!(second_line, [0.0, 0.0, 13.0, 15.0, 10.0, 15.0, 5.0, 0.0].map(|pixel: f32| pixel / 16.0));
    }
}
