//! Adapters, buffers, WGSL kernels, and plans made of them, on `wgpu`.
//!
//! A [`Program`] is plain data: kernels, buffers and launches. It is verified against [`Limits`], and
//! its [`Memory`] is told, without a GPU. [`Plan::new`] turns it into GPU objects on a [`Device`], all made and validated
//! before the first run; [`Plan::run`] then encodes every launch into one submit and returns at once.
//! The crate knows no operator, no layer, no gradient.

mod buffer;
mod constants;
mod device;
mod error;
mod kernel;
mod limits;
mod memory;
mod pipeline;
mod plan;
mod program;
mod readback;
pub mod roof;
mod tamper;

pub use buffer::Buffer;
pub use device::{AdapterInfo, AdapterKind, Choice, Counters, Device, DeviceOptions, adapters, adapters_async};
pub use error::Error;
pub use kernel::{Binding, BindingKind, Field, Kernel, STEP_WORDS, Words, shader, shaders};
pub use limits::Limits;
pub use memory::Memory;
pub use plan::{Clock, Plan, RunResult};
pub use program::{BufferId, BufferRole, BufferSpec, Launch, Output, Program, Window, fold_groups};
pub use tamper::Tamper;
