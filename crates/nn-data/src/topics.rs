//! The generated data set `topics`: documents as means of word vectors, from overlapping topics.

use cpu_reference::philox::Philox;

use crate::{DataError, Dataset, Inputs, Targets};

/// Random streams: one for the words, one for the documents made of them.
const WORDS_STREAM: u32 = 0x1000_0000;
const DOCUMENTS_STREAM: u32 = 0x1000_0001;

/// Dimensions of the hidden space in which sub-topics lie. So few that their regions interleave and a
/// linear classifier cannot cut them apart, whatever the number of input dimensions.
const HIDDEN: usize = 6;
/// Sub-topics a topic.
const FACETS: usize = 4;
/// Words a sub-topic.
const WORDS: usize = 40;
/// Standard deviation of a word around its sub-topic's centre, in each hidden dimension.
const WORD_SPREAD: f64 = 0.45;
/// Standard deviation of the part of a word's vector that has nothing to do with its meaning.
const WORD_NOISE: f64 = 0.5;

/// How much data [`topics`] makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicsOptions {
    /// Documents: rows of the data set.
    pub samples: usize,
    /// Numbers in a word vector: columns of the data set.
    pub dimensions: usize,
    /// Topics: classes.
    pub topics: usize,
    /// Words in a document; fewer words make the topics overlap more.
    pub words: usize,
}

impl Default for TopicsOptions {
    /// 10,000 documents of 24 words, 100 dimensions, 10 topics.
    fn default() -> Self {
        Self { samples: 10_000, dimensions: 100, topics: 10, words: 24 }
    }
}

/// Generates word-vector documents from overlapping topics, the same ones for the same `seed`.
///
/// Each topic has four sub-topics, each with a Gaussian centre in a hidden space of six dimensions.
/// A sub-topic has 40 words around its centre; a word's vector is its hidden position, mapped by one
/// random matrix to `dimensions`, plus noise of its own. A document has a topic (all topics in turn),
/// one of its sub-topics at random, and `words` words, three in five of them from that sub-topic on
/// average and the others from any; its row is the mean of their vectors. Inputs: `[samples,
/// dimensions]`; classes: the topics.
///
/// With the default options a linear classifier gets 80 to 85 % of held-out documents right, depending on
/// the seed, and a perceptron with one hidden layer of 128 about 98 %.
///
/// # Errors
/// [`DataError::Argument`] if an option is 0.
pub fn topics(options: TopicsOptions, seed: u64) -> Result<Dataset, DataError> {
    let TopicsOptions { samples, dimensions, topics, words } = options;
    for (name, value) in [("samples", samples), ("dimensions", dimensions), ("topics", topics), ("words", words)] {
        if value == 0 || u32::try_from(value).is_err() {
            return Err(DataError::argument(
                format!("data set topics cannot be made with {name} = {value}"),
                "give a number from 1 to about a million",
            ));
        }
    }

    let facets = topics * FACETS;
    let vocabulary = word_vectors(facets, dimensions, seed);
    let mut random = Philox::new(seed, DOCUMENTS_STREAM);
    let mut inputs = Vec::with_capacity(samples * dimensions);
    let mut labels = Vec::with_capacity(samples);
    let mut sum = vec![0.0f64; dimensions];
    for sample in 0..samples {
        let topic = sample % topics;
        let own_facet = topic * FACETS + random.below(FACETS as u32) as usize;
        sum.fill(0.0);
        for _ in 0..words {
            let facet = if random.below(5) < 3 { own_facet } else { random.below(facets as u32) as usize };
            let word = facet * WORDS + random.below(WORDS as u32) as usize;
            let vector = &vocabulary[word * dimensions..(word + 1) * dimensions];
            for (sum, value) in sum.iter_mut().zip(vector) {
                *sum += value;
            }
        }
        inputs.extend(sum.iter().map(|sum| (sum / words as f64) as f32));
        labels.push(topic as u32);
    }
    let dataset = Dataset {
        name: "topics".into(),
        inputs: Inputs::F32(inputs),
        sample_shape: vec![dimensions],
        targets: Targets::Classes { labels, names: (0..topics).map(|topic| format!("topic {topic}")).collect() },
        augmentation: None,
    };
    dataset.validate()?;
    Ok(dataset)
}

/// The vectors of all words, `[facets, WORDS, dimensions]`.
fn word_vectors(facets: usize, dimensions: usize, seed: u64) -> Vec<f64> {
    let mut random = Philox::new(seed, WORDS_STREAM);
    // (dimensions, HIDDEN), scaled so that a word's numbers have a variance near 1.
    let scale = 1.0 / (HIDDEN as f64).sqrt();
    let matrix: Vec<f64> = (0..dimensions * HIDDEN).map(|_| scale * random.normal()).collect();
    let mut vectors = Vec::with_capacity(facets * WORDS * dimensions);
    for _ in 0..facets {
        let centre: [f64; HIDDEN] = std::array::from_fn(|_| random.normal());
        for _ in 0..WORDS {
            let position = centre.map(|value| value + WORD_SPREAD * random.normal());
            for row in matrix.chunks_exact(HIDDEN) {
                let meaning: f64 = row.iter().zip(&position).map(|(a, b)| a * b).sum();
                vectors.push(meaning + WORD_NOISE * random.normal());
            }
        }
    }
    vectors
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: TopicsOptions = TopicsOptions { samples: 2000, dimensions: 30, topics: 4, words: 24 };

    fn labels(data: &Dataset) -> &[u32] {
        match &data.targets {
            Targets::Classes { labels, .. } => labels,
            _ => panic!("classes expected"),
        }
    }

    /// The share of rows from `from` on whose nearest other of the first `from` rows has their class.
    fn nearest_neighbour_accuracy(data: &Dataset, from: usize) -> f64 {
        let distance = |a: usize, b: usize| -> f32 {
            let (a, b) = (data.input_row(a).unwrap(), data.input_row(b).unwrap());
            a.iter().zip(b.iter()).map(|(a, b)| (a - b).powi(2)).sum()
        };
        let right = (from..data.rows())
            .filter(|&row| {
                let nearest = (0..from).min_by(|&a, &b| distance(row, a).total_cmp(&distance(row, b))).unwrap();
                labels(data)[row] == labels(data)[nearest]
            })
            .count();
        right as f64 / (data.rows() - from) as f64
    }

    #[test]
    fn the_seed_decides_and_sizes_are_kept() {
        let data = topics(SMALL, 5).unwrap();
        assert_eq!((data.rows(), data.width()), (2000, 30));
        assert_eq!(labels(&data)[..6], [0, 1, 2, 3, 0, 1]);
        assert_eq!(data, topics(SMALL, 5).unwrap());
        assert_ne!(data.inputs, topics(SMALL, 6).unwrap().inputs);
    }

    #[test]
    fn topics_can_be_told_apart() {
        let data = topics(TopicsOptions { samples: 3000, ..TopicsOptions::default() }, 0).unwrap();
        let accuracy = nearest_neighbour_accuracy(&data, 2500);
        // Chance is 10 %. The exact figure is not the point, but separable data must be well above it,
        // and data that overlaps cannot be perfect.
        assert!((0.6..1.0).contains(&accuracy), "{accuracy}");
    }

    #[test]
    fn a_size_of_zero_is_refused() {
        for options in [
            TopicsOptions { samples: 0, ..SMALL },
            TopicsOptions { dimensions: 0, ..SMALL },
            TopicsOptions { topics: 0, ..SMALL },
            TopicsOptions { words: 0, ..SMALL },
        ] {
            assert!(matches!(topics(options, 0), Err(DataError::Argument { .. })));
        }
    }
}
