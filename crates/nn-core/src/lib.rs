//! Tensors, graphs, operators, passes, schedules, and the sessions that run them.
//!
//! The life of a model: [`graph::trace`] records a function once, [`passes::differentiate`] appends gradients,
//! [`passes::schedule`] orders launches over memory slots, and a [`Session`] runs them on the CPU or a GPU.
//!
//! ```
//! use nn_core::{DType, Device, Input, Session, StepScalars, graph};
//!
//! let graph = graph::trace(|trace| {
//!     let x = trace.input("x", DType::F32, [2, 3]);
//!     trace.output("y", (x * 2.0).relu().sum(&[1]));
//!     Ok(())
//! })?;
//! let mut session = Session::new(&Device::cpu());
//! let mut program = session.compile(&graph)?;
//! session.run(&mut program, &[("x", Input::F32(&[1.0, 2.0, 3.0, -1.0, -2.0, 4.0]))], StepScalars::default())?;
//! assert_eq!(session.output(&mut program, "y")?.as_f32()?, [12.0, 8.0]);
//! # Ok::<(), nn_core::Error>(())
//! ```

mod error;
mod finding;
pub mod graph;
pub mod ops;
pub mod passes;
pub mod run;
pub mod schedule;
pub mod tensor;

pub use error::Error;
pub use finding::{Fault, Finding};
pub use graph::{Graph, StepScalar, Trace, Value};
pub use run::{Check, CheckReport, Device, Executable, Explanation, Input, OpReport, Session, StepScalars};
pub use tensor::{DType, Shape, Tensor, TensorType};
