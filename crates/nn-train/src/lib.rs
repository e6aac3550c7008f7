//! Layers, losses, metrics, optimisers, the trainer and its checkpoints.
//!
//! A layer is a plain struct of hyper-parameters; its parameters live in the session, under the names that its
//! [`Scope`] gives them. [`Trainer`] is the loop; [`compile`] and [`compile_training`] are for those who write their own.
//!
//! ```
//! use nn_core::Device;
//! use nn_train::{ArrayData, Trainer, nn::{Linear, Loss, Sequential, Tanh}, optim::Adam};
//!
//! let data = ArrayData::with_classes(vec![0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0], [2], vec![0, 1, 1, 0], 2)?;
//! let model = Sequential::new().add(Linear::new(2, 8)).add(Tanh).add(Linear::new(8, 2));
//! let mut trainer = Trainer::new(model)
//!     .loss(Loss::CrossEntropy)
//!     .optimizer(Adam::new(0.05))
//!     .device(Device::cpu())
//!     .seed(0)
//!     .batch_size(4)
//!     .epochs(200);
//! trainer.fit(&data, None, &mut ())?;
//! assert_eq!(trainer.evaluate(&data)?.accuracy, Some(1.0));
//! # Ok::<(), nn_train::Error>(())
//! ```

pub mod doctor;
mod error;
pub mod nn;
pub mod optim;
pub mod scope;
pub mod train;

pub use error::Error;
pub use nn::{IGNORED, Layer, Loss, Sequential};
pub use optim::{Decay, Optimizer, Schedule};
pub use scope::{Adapters, Declaration, Declarations, Init, LinearLayer, Lora, Scope, WeightLayout, trace_model};
pub use train::{
    AdapterFile, AdapterInfo, ArrayData, Compiled, Data, EvalReport, Evaluation, FitReport, Observer, Order,
    StepReport, TargetsRef, Trainer, TrainingGraph, compile, compile_training, merge_adapter, read_adapter,
    training_graph,
};
