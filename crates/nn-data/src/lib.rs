//! Data sets for wgrad: where samples come from.
//!
//! A [`Dataset`] holds inputs as contiguous `f32` rows and targets as classes or values. It comes from
//! [`digits`](digits::digits) (embedded), [`topics`](topics::topics) (generated), or a user's files:
//! [`csv`](csv_table::read_csv), [`arrays`](arrays::read_arrays) (`.npy`) and
//! [`text_table`](text_table::TextTable). It is [`nn_train::Data`], so that a trainer takes it as it is.
//!
//! The same seed gives the same split and generated data on every machine.

pub mod arrays;
mod augment;
pub mod cifar;
pub mod csv_table;
mod dataset;
mod delimited;
pub mod digits;
mod error;
pub mod idx;
pub mod image_folder;
mod inputs;
pub mod npy;
mod parallel;
pub mod pictures;
pub mod shape_maps;
pub mod shapes;
mod split;
mod standardise;
mod targets;
#[cfg(test)]
mod test_files;
pub mod text_table;
pub mod topics;

pub use augment::Augmentation;
pub use dataset::Dataset;
pub use error::DataError;
pub use inputs::{ChannelScale, Inputs};
pub use pictures::{Fit, PictureOptions};
pub use standardise::Standardisation;
pub use targets::Targets;
