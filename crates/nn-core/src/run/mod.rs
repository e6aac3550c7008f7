//! Running schedules, and telling beforehand what that takes: devices, sessions that keep state, the two backends.

mod cpu;
mod device;
mod explain;
mod sample;
mod session;

pub use device::Device;
pub use explain::{ExplainedLaunch, ExplainedOperand, ExplainedSlot, Explanation, amount};
pub use session::{Executable, Input, RunResult, Session, StepScalars};
