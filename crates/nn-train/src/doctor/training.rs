//! A short training run for the doctor: against the CPU's, and against itself.

use super::{Examined, Outcome};
use crate::nn::{Dropout, Gelu, Linear, Relu, Sequential};
use crate::optim::AdamW;
use crate::{ArrayData, Error, Observer, StepReport, Trainer};
use cpu_reference::philox::Philox;
use nn_core::{DType, Device};
use std::ops::ControlFlow;

const STEPS: u32 = 20;
/// How far two sound devices' losses may part in so few steps, relatively. Each step's rounding errors, some 1e-7, grow
/// through the steps after it; well-conditioned as this run is, they stay below 1e-5 (docs/accuracy.md). A wrong
/// gradient is off by far more.
const TOLERANCE: f64 = 1e-4;

#[derive(Default)]
struct Losses(Vec<f32>);

impl Observer for Losses {
    fn on_step(&mut self, report: &StepReport) -> ControlFlow<()> {
        self.0.push(report.loss);
        ControlFlow::Continue(())
    }
}

/// What a run leaves: the losses, and the bits of all states.
struct Trained {
    losses: Vec<f32>,
    states: Vec<Vec<u8>>,
}

/// A classifier of points by the quadrant of their first two coordinates.
fn train(device: &Device) -> Result<Trained, Error> {
    let mut random = Philox::new(3, 9);
    let (rows, width) = (96, 12);
    let inputs: Vec<f32> = (0..rows * width).map(|_| 2.0 * random.uniform() - 1.0).collect();
    let quadrant = |point: &[f32]| 2 * u32::from(point[0] > 0.0) + u32::from(point[1] > 0.0);
    let labels = inputs.chunks(width).map(quadrant).collect();
    let data = ArrayData::with_classes(inputs, [width], labels, 4)?;
    let model = Sequential::new()
        .add(Linear::new(width, 24))
        .add(Gelu)
        .add(Dropout::new(0.1))
        .add(Linear::new(24, 16))
        .add(Relu)
        .add(Linear::new(16, 4));
    let mut trainer = Trainer::new(model)
        .optimizer(AdamW::new(1e-2))
        .clip_norm(1.0)
        .device(device.clone())
        .seed(5)
        .batch_size(32)
        .steps(STEPS);
    let mut losses = Losses::default();
    trainer.fit(&data, None, &mut losses)?;
    let mut states = Vec::new();
    if let Some(session) = trainer.session() {
        for (name, _) in session.states() {
            states.push(session.state(name)?.bytes().to_vec());
        }
    }
    Ok(Trained { losses: losses.0, states })
}

/// What was examined: `training` and `repetition`.
pub(super) fn examine(device: &Device) -> Vec<Examined> {
    let mut training = Examined::new("training", DType::F32);
    let mut repetition = Examined::new("repetition", DType::F32);
    let runs = train(&Device::cpu()).and_then(|cpu| Ok((cpu, train(device)?, train(device)?)));
    match runs {
        Err(error) => training.fail(error.to_string()),
        Ok((cpu, first, second)) => {
            (training.cases, repetition.cases) = (STEPS as usize, 2);
            let error =
                |(found, expected): (&f32, &f32)| f64::from((found - expected).abs()) / f64::from(expected.abs());
            // NaN counts as infinitely far off.
            let errors =
                first.losses.iter().zip(&cpu.losses).map(error).map(|e| if e.is_nan() { f64::INFINITY } else { e });
            let worst = errors.enumerate().max_by(|left, right| left.1.total_cmp(&right.1)).unwrap_or_default();
            training.note(worst.1, TOLERANCE);
            if worst.1 > TOLERANCE {
                let (step, error) = worst;
                let (found, expected) = (first.losses[step], cpu.losses[step]);
                training.fail(format!(
                    "at step {} the loss is {found}, the CPU's {expected}: off by {error:.1e} of it",
                    step + 1
                ));
            }
            if first.states != second.states || first.losses != second.losses {
                repetition.outcome = Outcome::Fail("the same run twice left different bits".into());
            }
        }
    }
    vec![training, repetition]
}
