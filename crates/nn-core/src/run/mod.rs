//! Running schedules: devices, sessions that keep state, and the two backends.

mod cpu;
mod device;
mod sample;
mod session;

pub use device::Device;
pub use session::{Executable, Input, RunResult, Session, StepScalars};
