//! Running schedules, and telling beforehand what that takes: devices, sessions that keep state, the two backends.

mod check;
mod cpu;
mod device;
mod explain;
mod input;
mod profile;
mod roof;
mod sample;
mod session;
mod stepwise;

pub use check::{Check, CheckReport, OpReport};
pub use device::{Device, cpu_threads, set_cpu_threads};
pub use explain::{ExplainedLaunch, ExplainedOperand, ExplainedSlot, Explanation, amount};
pub use input::Input;
pub use profile::Profile;
pub use roof::Roof;
pub use session::{Executable, RunResult, Session, StepScalars};
