//! Data sets for wgrad: where samples come from, and how an epoch is cut into batches.
//!
//! A [`Dataset`] holds inputs as contiguous `f32` rows and targets as classes or values. It comes from
//! [`digits`](digits::digits) (embedded), [`topics`](topics::topics) (generated), or a user's files:
//! [`csv`](csv_table::read_csv), [`arrays`](arrays::read_arrays) (`.npy`) and
//! [`text_table`](text_table::TextTable). [`Batches`] walks one epoch, [`Steps`] answers "the batch of
//! step `s`" without end.
//!
//! The same seed gives the same split, order and generated data on every machine.

pub mod arrays;
mod batches;
pub mod csv_table;
mod dataset;
mod delimited;
pub mod digits;
mod error;
pub mod npy;
mod standardise;
#[cfg(test)]
mod test_files;
pub mod text_table;
pub mod topics;

pub use batches::{Batch, BatchTargets, Batches, Order, Steps};
pub use dataset::{Dataset, Inputs, Targets};
pub use error::DataError;
pub use standardise::Standardisation;
