//! Evaluation and prediction.

use super::data::{Data, TargetsRef, check};
use super::loader::{TargetBatch, handed};
use super::metrics;
use super::trainer::{ProgramKey, Purpose, Trainer, not_built};
use crate::Error;
use crate::nn::{Loss, Objective, TargetKind};
use crate::scope::Scope;
use nn_core::{Input, Shape, Tensor, Value};

/// The largest number of classes that a confusion table is made for.
const MAX_CONFUSION: usize = 1000;

/// What was measured on a data set.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// How many rows were measured.
    pub rows: usize,
    /// The mean loss over them.
    pub loss: f64,
    /// For classes, and for one binary target a row: the share of right predictions, over all places of class maps.
    pub accuracy: Option<f64>,
    /// For class maps: the mean over the classes that occur of the intersection of true and predicted places over
    /// their union.
    pub mean_iou: Option<f64>,
    /// For numbers: the mean absolute error over all of them.
    pub mean_absolute_error: Option<f64>,
    /// For up to 1000 classes: how often class `i` was predicted as `j`, at `[i][j]`.
    pub confusion: Option<Vec<Vec<u32>>>,
}

/// What the predictions of a loss are compared by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Measure {
    Classes,
    Binary,
    AbsoluteError,
    Nothing,
}

impl Measure {
    fn of(loss: Loss, kind: TargetKind) -> Measure {
        match (loss, kind) {
            (Loss::CrossEntropy | Loss::MseOneHot, _) => Measure::Classes,
            (Loss::BinaryCrossEntropy, TargetKind::Classes { .. } | TargetKind::Values { width: 1 }) => Measure::Binary,
            (Loss::BinaryCrossEntropy, _) => Measure::Nothing,
            (Loss::Mse | Loss::L1 | Loss::Huber { .. }, _) => Measure::AbsoluteError,
            (Loss::Own, _) => Measure::Nothing,
        }
    }
}

/// Adds the outputs that an evaluation reads: `predictions` as `u32 (rows)`, or the scalar `absolute_error`.
pub(super) fn measure(s: &mut Scope, objective: &Objective, output: Value) {
    let Objective { loss, kind, targets } = *objective;
    match Measure::of(loss, kind) {
        Measure::Classes => s.output("predictions", output.argmax(1)),
        Measure::Binary => s.output("predictions", output.reshape([output.shape().elements()]).greater(0.0)),
        Measure::AbsoluteError => {
            s.output("absolute_error", (output - targets.reshape(output.shape())).abs().mean_all());
        }
        Measure::Nothing => {}
    }
}

impl Trainer {
    /// Measures loss and metrics on a data set, with dropout off. Every row counts alike, also in a short last batch.
    ///
    /// # Errors
    /// If the data is empty or broken, or does not fit the model and the loss.
    pub fn evaluate(&mut self, data: &dyn Data) -> Result<Evaluation, Error> {
        check(data, "the evaluation data")?;
        self.build(data.sample_shape())?;
        self.evaluate_checked(data, None)
    }

    pub(super) fn evaluate_checked(
        &mut self,
        data: &dyn Data,
        max_batches: Option<usize>,
    ) -> Result<Evaluation, Error> {
        let (loss, batch_size) = (self.settings.loss, self.settings.batch_size);
        let targets = data.targets();
        let kind = targets.kind();
        let measure = Measure::of(loss, kind);
        let all: Vec<usize> = (0..data.rows()).collect();
        let (mut loss_sum, mut error_sum, mut rows_done) = (0.0, 0.0, 0);
        let (mut predictions, mut labels) = (Vec::new(), Vec::new());
        let mut inputs = Vec::new();
        let mut batch = TargetBatch::default();
        for rows in all.chunks(batch_size).take(max_batches.unwrap_or(usize::MAX)) {
            inputs.clear();
            data.batch(rows, &mut inputs);
            batch.gather(targets, loss, rows);
            let scalars = self.scalars(self.step, 0.0);
            let (session, program) =
                self.program(ProgramKey { rows: rows.len(), purpose: Purpose::Evaluation(kind) })?;
            session.run(program, &handed(program, &inputs, &batch), scalars)?;
            let results = session.results(program, true)?;
            let missing = || nn_core::Error::Internal("an evaluation gave no result".into());
            let result = results.last().ok_or_else(missing)?;
            loss_sum += f64::from(result.scalar("loss")?) * rows.len() as f64;
            rows_done += rows.len();
            match measure {
                Measure::Classes | Measure::Binary => {
                    predictions.extend_from_slice(session.output(program, "predictions")?.as_u32()?);
                    match targets {
                        TargetsRef::Classes { labels: all, .. } => labels.extend(rows.iter().map(|&row| all[row])),
                        TargetsRef::ClassMaps { labels: all, size, .. } => {
                            rows.iter().for_each(|&row| labels.extend_from_slice(&all[row * size..(row + 1) * size]));
                        }
                        TargetsRef::Values { values, .. } => {
                            labels.extend(rows.iter().map(|&row| u32::from(values[row] > 0.5)));
                        }
                    }
                }
                Measure::AbsoluteError => error_sum += f64::from(result.scalar("absolute_error")?) * rows.len() as f64,
                Measure::Nothing => {}
            }
        }
        let classes = match kind {
            TargetKind::Classes { count } | TargetKind::ClassMaps { count, .. } if measure == Measure::Classes => count,
            _ => 2,
        };
        let classified = matches!(measure, Measure::Classes | Measure::Binary);
        let confusion =
            (classified && classes <= MAX_CONFUSION).then(|| metrics::confusion(&predictions, &labels, classes));
        let maps = matches!(kind, TargetKind::ClassMaps { .. });
        Ok(Evaluation {
            rows: rows_done,
            loss: loss_sum / rows_done as f64,
            accuracy: classified.then(|| metrics::accuracy(&predictions, &labels)),
            mean_absolute_error: (measure == Measure::AbsoluteError).then(|| error_sum / rows_done as f64),
            mean_iou: confusion.as_ref().filter(|_| maps).map(|counts| metrics::mean_iou(counts)),
            confusion,
        })
    }

    /// The model's output, such as logits, for samples that lie one after the other: `(rows, …)`. Dropout is off.
    ///
    /// # Errors
    /// If the model is not built, or the values are no whole number of samples.
    pub fn predict(&mut self, inputs: &[f32]) -> Result<Tensor, Error> {
        let Some(built) = &self.built else { return Err(not_built()) };
        let size: usize = built.sample_shape.iter().product();
        if inputs.is_empty() || !inputs.len().is_multiple_of(size) {
            return Err(Error::Data(format!(
                "{} input values are not a whole number of samples of shape {:?} ({size} values each)",
                inputs.len(),
                built.sample_shape
            )));
        }
        if let Some(place) = inputs.iter().position(|value| !value.is_finite()) {
            let (row, value) = (place / size, inputs[place]);
            return Err(Error::Data(format!("the input has {value} in row {row} (counted from 0); give a number")));
        }
        let mut values = Vec::new();
        let mut shape = Shape::default();
        for batch in inputs.chunks(size * self.settings.batch_size) {
            let scalars = self.scalars(self.step, 0.0);
            let key = ProgramKey { rows: batch.len() / size, purpose: Purpose::Prediction };
            let (session, program) = self.program(key)?;
            session.run(program, &[("inputs", Input::F32(batch))], scalars)?;
            let output = session.output(program, "output")?;
            session.results(program, true)?;
            values.extend_from_slice(output.as_f32()?);
            shape = output.shape().clone();
        }
        let mut sizes = shape.to_vec();
        sizes[0] = inputs.len() / size;
        Ok(Tensor::from_f32(sizes, &values)?)
    }

    /// The class of each sample: that of the largest output; with one output a row, 1 where it is above 0.
    ///
    /// # Errors
    /// As [`Trainer::predict`].
    pub fn predict_classes(&mut self, inputs: &[f32]) -> Result<Vec<u32>, Error> {
        let output = self.predict(inputs)?;
        if output.shape().iter().skip(1).product::<usize>() == 1 {
            return Ok(output.as_f32()?.iter().map(|&logit| u32::from(logit > 0.0)).collect());
        }
        Ok(metrics::argmax_rows(&output)?)
    }
}
