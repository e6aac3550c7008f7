//! Trains neural networks on any GPU that speaks Vulkan, Metal or DX12, through WebGPU compute shaders, and on the
//! CPU where there is none.
//!
//! There are three ways in. The program `wgrad` trains presets and config files without a line of Rust. The
//! [`Trainer`] takes a [`Sequential`] or any other [`Layer`], a loss, an optimiser and data, and runs the loop. The
//! functions [`compile`] and [`compile_training`] turn a function over a [`Scope`] into a program for those who write
//! the loop themselves.
//!
//! ```
//! use wgrad::prelude::*;
//!
//! // 1,797 handwritten digits of 8×8 pixels; a fifth of each class is held out.
//! let (training, held_out) = wgrad::data::digits::digits()?.split(0.2, 0)?;
//!
//! let model = Sequential::new()
//!     .add(Flatten)
//!     .add(Linear::new(64, 48))
//!     .add(Relu)
//!     .add(Linear::new(48, 10));
//!
//! let mut trainer = Trainer::new(model)
//!     .loss(Loss::CrossEntropy)
//!     .optimizer(Adam::new(5e-3))
//!     .device(Device::auto())
//!     .seed(0)
//!     .batch_size(64)
//!     .epochs(10);
//! trainer.fit(&training, Some(&held_out), &mut ())?;
//!
//! let measured = trainer.evaluate(&held_out)?;
//! println!("accuracy {:.3} on {} digits", measured.accuracy.unwrap_or(f64::NAN), measured.rows);
//! let classes = trainer.predict_classes(&held_out.input_row(0).unwrap_or_default())?;
//! assert_eq!(classes.len(), 1);
//! # assert!(measured.accuracy > Some(0.9));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Layers are plain structs of hyper-parameters; parameters live in the trainer's session under their path's name,
//! as PyTorch's `torch.nn.Sequential` names them (`1.weight`, `1.bias`), and [`Trainer::save`] writes them to
//! safetensors files. The same seed, data and device give the same bits.

pub use nn_core as core;
pub use nn_data as data;
pub use nn_train as train;

pub use nn_core::{Check, DType, Device, Input, Session, Shape, StepScalars, Tensor, Value};
pub use nn_data::Dataset;
pub use nn_train::{ArrayData, Layer, Loss, Scope, Sequential, Trainer, compile, compile_training, training_graph};

/// What most programs that use wgrad need: `use wgrad::prelude::*;`.
pub mod prelude {
    pub use nn_core::{Check, DType, Device, Input, Session, Shape, StepScalars, Tensor, Value};
    pub use nn_data::arrays::read_arrays;
    pub use nn_data::csv_table::read_csv;
    pub use nn_data::digits::digits;
    pub use nn_data::text_table::TextTable;
    pub use nn_data::topics::{TopicsOptions, topics};
    pub use nn_data::{Dataset, Inputs, Standardisation, Targets};
    pub use nn_train::nn::*;
    pub use nn_train::optim::{Adam, AdamW, Decay, Optimizer, RmsProp, Schedule, Sgd};
    pub use nn_train::{
        AdapterInfo, ArrayData, Compiled, Data, EvalReport, Evaluation, FitReport, Lora, Observer, Order, Scope,
        StepReport, TargetsRef, Trainer, TrainingGraph, compile, compile_training, training_graph,
    };
}

/// The example of the README, compiled with the documentation's tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
