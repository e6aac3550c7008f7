//! Data drawn at random: nothing can be learnt from it, but a step takes as long as on any other.

use cpu_reference::philox::Philox;

use crate::{DataError, Dataset, Inputs, Targets};

/// The streams of the seed that inputs and classes come from.
const INPUTS_STREAM: u32 = 0x7264_0000;
const CLASSES_STREAM: u32 = 0x7264_0001;

/// What [`random`] draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drawn {
    /// Numbers from -1 to 1, and a class for each row.
    Numbers {
        /// How many classes there are.
        classes: usize,
    },
    /// Token ids, and a class for each row.
    Tokens {
        /// How many kinds of tokens there are.
        vocabulary: usize,
        /// How many classes there are.
        classes: usize,
    },
    /// Token ids; the target of each is the one that follows.
    NextTokens {
        /// How many kinds of tokens there are.
        vocabulary: usize,
    },
}

/// A data set of `rows` rows of `sample_shape`, the same for the same seed.
///
/// # Errors
/// [`DataError::Argument`] if there would be no row, no number in a row, no class or no token.
pub fn random(drawn: Drawn, rows: usize, sample_shape: &[usize], seed: u64) -> Result<Dataset, DataError> {
    let width: usize = sample_shape.iter().product();
    let (vocabulary, classes) = match drawn {
        Drawn::Numbers { classes } => (None, Some(classes)),
        Drawn::Tokens { vocabulary, classes } => (Some(vocabulary), Some(classes)),
        Drawn::NextTokens { vocabulary } => (Some(vocabulary), None),
    };
    if [Some(rows), Some(width), vocabulary, classes].contains(&Some(0)) {
        return Err(DataError::argument(
            format!("{rows} rows of {sample_shape:?} with {drawn:?} cannot be drawn"),
            "give each at least 1",
        ));
    }
    let mut philox = Philox::new(seed, INPUTS_STREAM);
    // The target of the last token is one more.
    let count = rows * width + usize::from(classes.is_none());
    let inputs = match vocabulary {
        Some(vocabulary) => {
            let values = (0..count).map(|_| philox.below(vocabulary as u32)).collect();
            Inputs::Tokens { values, stride: width, vocabulary }
        }
        None => Inputs::F32((0..count).map(|_| philox.uniform() * 2.0 - 1.0).collect()),
    };
    let targets = match (classes, &inputs) {
        (None, Inputs::Tokens { values, vocabulary, .. }) => {
            Targets::Sequences { labels: values[1..].to_vec(), length: width, stride: width, count: *vocabulary }
        }
        (classes, _) => {
            let classes = classes.unwrap_or(1);
            let mut philox = Philox::new(seed, CLASSES_STREAM);
            let labels = (0..rows).map(|_| philox.below(classes as u32)).collect();
            Targets::Classes { labels, names: (0..classes).map(|class| class.to_string()).collect() }
        }
    };
    let name = "random data".into();
    let set = Dataset { name, inputs, sample_shape: sample_shape.to_vec(), targets, augmentation: None };
    set.validate()?;
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_of_the_shape_and_follow_the_seed() {
        let numbers = random(Drawn::Numbers { classes: 3 }, 5, &[2, 4], 1).unwrap();
        assert_eq!((numbers.rows(), numbers.width()), (5, 8));
        let row = numbers.input_row(4).unwrap();
        assert!(row.iter().all(|value| (-1.0..=1.0).contains(value)) && row.iter().any(|&value| value < 0.0));
        assert_eq!(numbers, random(Drawn::Numbers { classes: 3 }, 5, &[2, 4], 1).unwrap());
        assert_ne!(numbers, random(Drawn::Numbers { classes: 3 }, 5, &[2, 4], 2).unwrap());

        let text = random(Drawn::NextTokens { vocabulary: 9 }, 4, &[6], 1).unwrap();
        let (Inputs::Tokens { values, .. }, Targets::Sequences { labels, .. }) = (&text.inputs, &text.targets) else {
            panic!("{text:?}");
        };
        assert_eq!((text.rows(), values[1..].to_vec()), (4, labels.clone()));
        let sorted = random(Drawn::Tokens { vocabulary: 9, classes: 2 }, 4, &[6], 1).unwrap();
        assert_eq!((sorted.rows(), sorted.vocabulary()), (4, Some(9)));
        assert!(random(Drawn::Numbers { classes: 3 }, 5, &[2, 0], 1).is_err());
    }
}
