//! Training: data, the trainer and its loop, evaluation, metrics, checkpoints.

mod adapter;
mod batches;
mod checkpoint;
mod compile;
mod data;
mod evaluate;
mod files;
mod fit;
mod loader;
mod merge;
pub mod metrics;
mod observer;
mod peft;
mod trainer;

pub use batches::Order;
pub use compile::{Compiled, TrainingGraph, compile, compile_training, training_graph};
pub use data::{ArrayData, Data, TargetsRef};
pub use evaluate::Evaluation;
pub use files::{TensorFile, read_tensors, write_tensors};
pub use fit::FitReport;
pub use merge::merge_adapter;
pub use observer::{EvalReport, Observer, StepReport};
pub use peft::{AdapterFile, AdapterInfo, read_adapter};
pub use trainer::Trainer;
