//! The kinds of data, and the keys that each takes in `[data]`.

use serde::{Deserialize, Serialize};

/// Keys of all data; of data that can be held out in part; of pictures kept as bytes.
const ROWS: &[&str] = &["batch_size", "order", "classes"];
const SPLIT: &[&str] = &["validation", "seed"];
const SCALE: &[&str] = &["normalise", "mean", "std"];

macro_rules! kinds {
    ($($(#[$about:meta])* $kind:ident $name:literal: $($keys:expr),*;)*) => {
        /// `data.kind`
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub(crate) enum DataKind {
            $($(#[$about])* #[serde(rename = $name)] $kind,)*
        }

        impl DataKind {
            /// The kind as it is written in a config.
            pub(crate) fn name(self) -> &'static str {
                match self {
                    $(DataKind::$kind => $name,)*
                }
            }
        }

        /// The names, with the keys beside `kind` and `sample_shape`.
        pub(super) const DATA_KINDS: &[(&str, &[&[&str]])] = &[$(($name, &[$($keys),*]),)*];
    };
}

kinds! {
    /// Two `.npy` files.
    #[default]
    Arrays "arrays": &["inputs", "targets"], ROWS, SPLIT;
    /// A table of numbers.
    Csv "csv": &["path", "target"], ROWS, SPLIT;
    /// Handwritten digits that the program carries.
    Digits "digits": &["noise", "augment"], ROWS, SPLIT;
    /// MNIST's files.
    Mnist "mnist": &["path", "noise", "augment"], ROWS, SPLIT, SCALE;
    /// Fashion-MNIST's files.
    FashionMnist "fashion-mnist": &["path", "noise", "augment"], ROWS, SPLIT, SCALE;
    /// CIFAR-10's binary files.
    Cifar10 "cifar10": &["path", "noise", "augment"], ROWS, SPLIT, SCALE;
    /// A folder with a sub-folder of pictures for each class.
    Images "images":
        &["path", "size", "channels", "fit", "upscale", "skip_broken", "noise", "augment"], ROWS, SPLIT, SCALE;
    /// Drawn shapes to be told apart.
    Shapes "shapes": &["samples", "size", "noise", "augment"], ROWS, SPLIT, SCALE;
    /// Drawn shapes to be found in a picture.
    ShapeMaps "shape-maps": &["samples", "size", "channels", "augment"], ROWS, SPLIT, SCALE;
    /// Token ids in a `.npy` file, of which a model is to say the next ones.
    Tokens "tokens": &["path", "context", "stride"], ROWS, SPLIT;
    /// A text, of which a model is to say how it goes on.
    Text "text": &["path", "tokenizer", "context", "stride"], ROWS, SPLIT;
    /// Texts with labels, as tokens.
    LabelledText "labelled-text": &["path", "tokenizer", "vocabulary", "context", "long"], ROWS, SPLIT;
    /// Texts with what each is to become.
    Pairs "pairs": &["path", "languages", "drawn", "samples", "tokenizer", "vocabulary", "long"], ROWS, SPLIT;
    /// Questions whose answers stand in a text.
    Questions "questions": &["path", "samples", "facts", "tokenizer", "vocabulary", "context", "long"], ROWS, SPLIT;
    /// Numbers or tokens drawn at random, to measure how long a step takes.
    Random "random": &["samples"], ROWS, SPLIT;
    /// Exclusive or.
    Xor "xor": ROWS;
    /// Word vectors of drawn topics.
    Topics "topics": &["samples", "dimensions", "topics", "words"], ROWS, SPLIT;
    /// A table of texts with labels.
    TextTable "text-table": &["path", "dimensions"], ROWS, SPLIT;
}

impl DataKind {
    /// The share of rows that is held out if nothing is said, of data without a part for that.
    pub(super) fn default_validation(self, rows: usize) -> f64 {
        match self {
            // Fewer rows are not split unless the config says so.
            DataKind::Csv | DataKind::TextTable => {
                if rows >= 10 {
                    0.1
                } else {
                    0.0
                }
            }
            DataKind::Digits | DataKind::Topics | DataKind::Shapes | DataKind::ShapeMaps | DataKind::Images => 0.2,
            DataKind::Arrays
            | DataKind::Tokens
            | DataKind::Text
            | DataKind::LabelledText
            | DataKind::Pairs
            | DataKind::Questions
            | DataKind::Mnist
            | DataKind::FashionMnist
            | DataKind::Cifar10
            | DataKind::Random
            | DataKind::Xor => 0.0,
        }
    }

    /// Whether a picture of one channel is ink on paper, rather than light.
    pub(crate) fn is_ink(self) -> bool {
        matches!(self, DataKind::Digits | DataKind::Mnist)
    }

    /// Whether it is read from the file or folder `data.path`.
    pub(crate) fn has_path(self) -> bool {
        let keys = DATA_KINDS.iter().find(|(name, _)| *name == self.name());
        keys.is_some_and(|(_, keys)| keys.iter().any(|keys| keys.contains(&"path")))
    }
}
