//! An observer that keeps every loss.

use nn_train::{Observer, StepReport};
use std::ops::ControlFlow;

/// The losses of a run, step by step.
#[derive(Default)]
pub(crate) struct Losses(pub(crate) Vec<f32>);

impl Observer for Losses {
    fn on_step(&mut self, report: &StepReport) -> ControlFlow<()> {
        self.0.push(report.loss);
        ControlFlow::Continue(())
    }
}
