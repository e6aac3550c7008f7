//! Running schedules: devices, sessions that keep state, and the two backends.

mod check;
mod cpu;
mod device;
mod sample;
mod session;
mod stepwise;

pub use check::{Check, CheckReport, OpReport};
pub use device::Device;
pub use session::{Executable, Input, RunResult, Session, StepScalars};
