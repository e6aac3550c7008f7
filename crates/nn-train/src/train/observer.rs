//! What the trainer tells while it runs.

use super::{Evaluation, Trainer};
use crate::Error;
use std::ops::ControlFlow;

/// One training step, once its numbers have come back from the device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// The step's number, from 1.
    pub step: u32,
    /// Its epoch, from 1.
    pub epoch: u32,
    /// The mean loss of its batch, before the update.
    pub loss: f32,
    /// The learning rate.
    pub learning_rate: f32,
    /// The Euclidean norm of all gradients together, before clipping.
    pub gradient_norm: f32,
    /// Samples a second, over the last steps.
    pub samples_per_second: f64,
}

/// An evaluation on the validation data.
#[derive(Clone, Debug, PartialEq)]
pub struct EvalReport {
    /// How many steps were taken before.
    pub step: u32,
    /// The epoch of the last step, from 1.
    pub epoch: u32,
    /// What was measured.
    pub evaluation: Evaluation,
}

/// Watches a run. Each call can end it by [`ControlFlow::Break`].
pub trait Observer {
    /// A step's numbers have come back: in order, every step once, on a GPU a few steps after it was handed over.
    fn on_step(&mut self, report: &StepReport) -> ControlFlow<()> {
        let _ = report;
        ControlFlow::Continue(())
    }

    /// The validation data was evaluated.
    fn on_evaluation(&mut self, report: &EvalReport) -> ControlFlow<()> {
        let _ = report;
        ControlFlow::Continue(())
    }

    /// The validation data was evaluated after step `step`: the place to try the model out, such as by programs of one's
    /// own in its session.
    ///
    /// # Errors
    /// Whatever ends the run.
    fn after_evaluation(&mut self, trainer: &mut Trainer, step: u32) -> Result<ControlFlow<()>, Error> {
        let _ = (trainer, step);
        Ok(ControlFlow::Continue(()))
    }

    /// Step `step` was handed to the device: the place to save checkpoints (saving waits for the device).
    ///
    /// # Errors
    /// Whatever ends the run.
    fn after_step(&mut self, trainer: &Trainer, step: u32) -> Result<ControlFlow<()>, Error> {
        let _ = (trainer, step);
        Ok(ControlFlow::Continue(()))
    }
}

/// Watches nothing.
impl Observer for () {}
