//! Data sets for wgrad: where samples come from.
//!
//! A [`Dataset`] holds inputs as contiguous `f32` rows, or pictures as bytes, and targets as classes, values or maps of
//! classes. It comes from [`digits`](digits::digits) (embedded), [`topics`](topics::topics), [`shapes`](shapes::shapes)
//! and [`shape_maps`](shape_maps::shape_maps) (generated), or a user's files: [`csv`](csv_table::read_csv),
//! [`arrays`](arrays::read_arrays) (`.npy`), [`text_table`](text_table::TextTable), and for pictures
//! [`idx`](idx::read_idx) (MNIST), [`cifar`](cifar::read_cifar10) and [`image_folder`](image_folder::read_image_folder);
//! [`fetch`](fetch::Published) gets them. It is [`nn_train::Data`], so that a trainer takes it as it is.
//! An [`Augmentation`] changes pictures at random where they are trained on.
//!
//! The same seed gives the same split and generated data on every machine.

pub mod arrays;
mod augment;
pub mod cifar;
pub mod corpus;
pub mod csv_table;
mod dataset;
mod delimited;
pub mod digits;
mod error;
pub mod fetch;
mod generated_pairs;
pub mod idx;
pub mod image_folder;
mod inputs;
mod labelled_text;
pub mod npy;
mod pairs;
mod parallel;
mod parts;
pub mod pictures;
mod questions;
mod random;
pub mod shape_maps;
pub mod shapes;
mod split;
mod standardise;
mod stories;
mod targets;
#[cfg(test)]
mod test_files;
mod text_columns;
mod text_file;
pub mod text_metrics;
pub mod text_table;
pub mod tokenizer;
pub mod tokens;
pub mod topics;

pub use augment::Augmentation;
pub use corpus::{Source, own_chunks, own_corpus, own_sources, read_text};
pub use dataset::Dataset;
pub use error::DataError;
pub use generated_pairs::{dates, number_words};
pub use inputs::{ChannelScale, Inputs};
pub use labelled_text::{LabelledParts, LabelledTexts};
pub use pairs::{PairParts, Pairs};
pub use parts::PartSizes;
pub use pictures::{Fit, PictureOptions};
pub use questions::{Question, QuestionParts, Questions, Unanswerable};
pub use random::{Drawn, random};
pub use standardise::Standardisation;
pub use stories::stories;
pub use targets::Targets;
pub use tokenizer::{
    ChatMessage, ChatTemplate, Encoding, SpecialTokens, StreamDecoder, TextSpan, Tokenizer, train_byte_bpe,
};
