//! Evaluation and prediction.

use super::data::{Data, TargetsRef};
use super::loader::{Elements, handed};
use super::metrics;
use super::trainer::{ProgramKey, Purpose, Trainer, not_built};
use crate::Error;
use crate::nn::{IGNORED, Loss, Objective, TargetKind};
use crate::scope::Scope;
use nn_core::{DType, Input, Shape, Tensor, Value};

/// The largest number of classes that a confusion table is made for.
const MAX_CONFUSION: usize = 1000;

/// What was measured on a data set.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// How many rows were measured.
    pub rows: usize,
    /// How many targets they have: one a row, or one for each place that has one.
    pub targets: usize,
    /// The mean loss over them.
    pub loss: f64,
    /// For classes, and for one binary target a row: the share of right predictions, over all places of class maps and
    /// of sequences.
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
        Measure::Classes if matches!(kind, TargetKind::Sequences { .. }) => s.output("predictions", output.argmax(2)),
        Measure::Classes => s.output("predictions", output.argmax(1)),
        Measure::Binary => s.output("predictions", output.reshape([output.shape().elements()]).greater(0.0)),
        Measure::AbsoluteError => {
            s.output("absolute_error", (output - targets.reshape(output.shape())).abs().mean_all());
        }
        Measure::Nothing => {}
    }
}

impl Trainer {
    /// Measures loss and metrics on a data set, with dropout off. Every row counts alike, also in a short last batch; of
    /// sequences every place that has a target.
    ///
    /// # Errors
    /// If the data is empty or broken, or does not fit the model and the loss.
    pub fn evaluate(&mut self, data: &dyn Data) -> Result<Evaluation, Error> {
        self.check_data(data, "the evaluation data")?;
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
        let (mut loss_sum, mut error_sum, mut rows_done, mut counted) = (0.0, 0.0, 0, 0.0);
        let (mut predictions, mut labels) = (Vec::new(), Vec::new());
        let (mut inputs, mut batch) = (Elements::default(), Elements::default());
        for rows in all.chunks(batch_size).take(max_batches.unwrap_or(usize::MAX)) {
            inputs.read(data, rows);
            batch.gather(targets, loss, rows);
            let scalars = self.scalars(self.step, 0.0);
            let (session, program) =
                self.program(ProgramKey { rows: rows.len(), purpose: Purpose::Evaluation(kind) })?;
            session.run(program, &handed(program, &inputs, &batch), scalars)?;
            let results = session.results(program, true)?;
            let missing = || nn_core::Error::Internal("an evaluation gave no result".into());
            let result = results.last().ok_or_else(missing)?;
            // What the mean of this batch was taken over.
            let weight = match (&batch, kind) {
                (Elements::Indices(labels), TargetKind::Sequences { .. }) => {
                    labels.iter().filter(|label| **label != IGNORED).count() as f64
                }
                _ => rows.len() as f64,
            };
            if weight > 0.0 {
                loss_sum += f64::from(result.scalar("loss")?) * weight;
            }
            counted += weight;
            rows_done += rows.len();
            match measure {
                Measure::Classes | Measure::Binary => {
                    predictions.extend_from_slice(session.output(program, "predictions")?.as_u32()?);
                    match targets {
                        TargetsRef::Classes { labels: all, .. } => labels.extend(rows.iter().map(|&row| all[row])),
                        TargetsRef::ClassMaps { labels: all, size, .. } => {
                            rows.iter().for_each(|&row| labels.extend_from_slice(&all[row * size..(row + 1) * size]));
                        }
                        TargetsRef::Sequences { labels: all, length, stride, .. } => {
                            rows.iter().for_each(|&row| labels.extend_from_slice(&all[row * stride..][..length]));
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
            TargetKind::Classes { count }
            | TargetKind::ClassMaps { count, .. }
            | TargetKind::Sequences { count, .. }
                if measure == Measure::Classes =>
            {
                count
            }
            _ => 2,
        };
        let classified = matches!(measure, Measure::Classes | Measure::Binary);
        if matches!(kind, TargetKind::Sequences { .. }) {
            let mut known = labels.iter().map(|label| *label != IGNORED);
            predictions.retain(|_| known.next() == Some(true));
            labels.retain(|label| *label != IGNORED);
        }
        let confusion =
            (classified && classes <= MAX_CONFUSION).then(|| metrics::confusion(&predictions, &labels, classes));
        let targets = if classified { labels.len() } else { rows_done };
        let maps = matches!(kind, TargetKind::ClassMaps { .. });
        Ok(Evaluation {
            rows: rows_done,
            targets,
            loss: loss_sum / counted,
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
    pub fn predict<'a>(&mut self, inputs: impl Into<Input<'a>>) -> Result<Tensor, Error> {
        let inputs = inputs.into();
        let Some(built) = &self.built else { return Err(not_built()) };
        let size: usize = built.sample_shape.iter().product();
        let length = match (inputs, self.model.input_dtype()) {
            (Input::U32(indices), DType::U32) => indices.len(),
            (Input::F32(values), DType::F32) => {
                if let Some(place) = values.iter().position(|value| !value.is_finite()) {
                    let (row, value) = (place / size, values[place]);
                    let message = format!("the input has {value} in row {row} (counted from 0); give a number");
                    return Err(Error::Data(message));
                }
                values.len()
            }
            (_, dtype) => return Err(Error::Data(format!("the model takes samples of {dtype} values, not of others"))),
        };
        if length == 0 || !length.is_multiple_of(size) {
            return Err(Error::Data(format!(
                "{length} input values are not a whole number of samples of shape {:?} ({size} values each)",
                built.sample_shape
            )));
        }
        let mut values = Vec::new();
        let mut shape = Shape::default();
        let rows = length / size;
        for first in (0..rows).step_by(self.settings.batch_size) {
            let count = self.settings.batch_size.min(rows - first);
            let range = first * size..(first + count) * size;
            let batch = match inputs {
                Input::U32(indices) => Input::U32(&indices[range]),
                Input::F32(values) => Input::F32(&values[range]),
                other => other,
            };
            let scalars = self.scalars(self.step, 0.0);
            let (session, program) = self.program(ProgramKey { rows: count, purpose: Purpose::Prediction })?;
            session.run(program, &[("inputs", batch)], scalars)?;
            let output = session.output(program, "output")?;
            session.results(program, true)?;
            values.extend_from_slice(output.as_f32()?);
            shape = output.shape().clone();
        }
        let mut sizes = shape.to_vec();
        sizes[0] = rows;
        Ok(Tensor::from_f32(sizes, &values)?)
    }

    /// The class of each sample: that of the largest output; with one output a row, 1 where it is above 0.
    ///
    /// # Errors
    /// As [`Trainer::predict`].
    pub fn predict_classes<'a>(&mut self, inputs: impl Into<Input<'a>>) -> Result<Vec<u32>, Error> {
        let output = self.predict(inputs)?;
        if output.shape().iter().skip(1).product::<usize>() == 1 {
            return Ok(output.as_f32()?.iter().map(|&logit| u32::from(logit > 0.0)).collect());
        }
        Ok(metrics::argmax_rows(&output)?)
    }
}
