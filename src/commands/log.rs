//! What is kept of a run while it goes on: metrics, checkpoints, progress, and the wish to stop.

use super::judge::{Extent, Findings, Judge, MEASURES};
use super::progress::{Progress, speed};
use super::write::Writer;
use crate::config::Trial;
use crate::error::Error;
use crate::run_folder::{Metrics, RunFolder};
use nn_train::{EvalReport, Evaluation, Observer, StepReport, Trainer};
use serde_json::{Value, json};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

/// Set by Ctrl-C.
pub(super) static STOP: AtomicBool = AtomicBool::new(false);

/// What begins each line of a text that a model in training made.
pub(super) const SAMPLE_MARK: &str = "  | ";

/// Watches a run.
pub(super) struct Log {
    pub(super) folder: RunFolder,
    pub(super) metrics: Metrics,
    pub(super) progress: Progress,
    pub(super) log_every: u32,
    pub(super) checkpoint_every: u32,
    pub(super) keep: usize,
    pub(super) total: u32,
    /// (step, loss) of all lines.
    pub(super) steps: Vec<(u64, f32)>,
    /// (step, loss, accuracy) of all lines.
    pub(super) evaluations: Vec<(u64, f32, Option<f32>)>,
    /// The last evaluation, and after which step it was made.
    pub(super) last: Option<(u32, Evaluation)>,
    /// Samples a second at the last step.
    pub(super) speed: f64,
    /// Of the text that is evaluated, if it is one.
    pub(super) bytes_per_token: Option<f64>,
    /// Shows how a model of texts goes on.
    pub(super) writer: Option<Writer>,
    /// Measures a model of texts by what it makes of these.
    pub(super) judge: Option<(Judge, Trial)>,
    /// (name, (step, value)) of what it found, in percent.
    pub(super) measures: Vec<(&'static str, Vec<(u64, f64)>)>,
    /// What went wrong in here: the trainer can only be told to stop.
    pub(super) failure: Option<Error>,
}

impl Log {
    /// Takes the lines of an earlier part of the run for the report.
    pub(super) fn take_up(&mut self, lines: &[Value]) {
        for line in lines {
            let number = |key: &str| line.get(key).and_then(Value::as_f64).map(|number| number as f32);
            let step = line.get("step").and_then(Value::as_u64).unwrap_or(0);
            if let Some(loss) = number("loss") {
                self.steps.push((step, loss));
            }
            if let Some(loss) = number("eval_loss") {
                self.evaluations.push((step, loss, number("eval_accuracy")));
            }
            for (key, name) in MEASURES {
                if let Some(value) = line.get(format!("eval_{key}")).and_then(Value::as_f64) {
                    self.found(step, key, name, value);
                }
            }
        }
    }

    /// Tries the model out after an evaluation, and writes its line.
    pub(super) fn try_out(&mut self, trainer: &mut Trainer, step: u32, evaluation: &Evaluation) -> Result<(), Error> {
        let findings = match &mut self.judge {
            Some((judge, trial)) => judge.try_out(trainer, trial, Extent::Some)?,
            None => Findings::default(),
        };
        self.evaluated(step, evaluation, &findings)?;
        findings.shown.iter().for_each(|line| self.progress.line(line));
        if let Some(writer) = &mut self.writer {
            let sample = writer.sample(trainer, step)?;
            self.progress.line(&sample);
        }
        Ok(())
    }

    /// Keeps a number for the report.
    fn found(&mut self, step: u64, key: &str, name: &'static str, value: f64) {
        let percent = if key.starts_with("bleu") { value } else { 100.0 * value };
        match self.measures.iter_mut().find(|(known, _)| *known == name) {
            Some((_, points)) => points.push((step, percent)),
            None => self.measures.push((name, vec![(step, percent)])),
        }
    }

    /// Writes the line of an evaluation.
    pub(super) fn evaluated(&mut self, step: u32, evaluation: &Evaluation, findings: &Findings) -> Result<(), Error> {
        let accuracy = evaluation.accuracy.map(|accuracy| accuracy as f32);
        self.evaluations.push((step.into(), evaluation.loss as f32, accuracy));
        let mut line = json!({"step": step});
        evaluation_fields(&mut line, evaluation, self.bytes_per_token);
        findings_fields(&mut line, findings);
        self.metrics.write(&line)?;
        let measures = match (evaluation.accuracy, evaluation.mean_absolute_error) {
            (Some(accuracy), _) => format!("  accuracy {accuracy:.4}"),
            (None, Some(error)) => format!("  mean absolute error {error:.4}"),
            (None, None) => String::new(),
        };
        let bits = self.bytes_per_token.map(|bytes| bits_per_byte(evaluation, bytes));
        let mut measures = bits.map_or(String::new(), |bits| format!("  bits per byte {bits:.4}")) + &measures;
        for measure in &findings.measures {
            self.found(step.into(), measure.key, measure.name, measure.value);
            measures += &format!("  {} {}", measure.name_in_line(), measure.text);
        }
        self.last = Some((step, evaluation.clone()));
        self.progress.line(&format!("step {step}/{}  eval loss {:.4}{measures}", self.total, evaluation.loss));
        Ok(())
    }

    fn stepped(&mut self, report: &StepReport) -> Result<(), Error> {
        self.speed = report.samples_per_second;
        self.progress.step(report.step, report.loss, report.samples_per_second);
        // The first and the last step are always of interest, and so is a loss that ends the run.
        let due = report.step.is_multiple_of(self.log_every) || report.step == 1 || report.step == self.total;
        if due || !report.loss.is_finite() {
            self.steps.push((report.step.into(), report.loss));
            self.metrics.write(&json!({
                "step": report.step,
                "loss": number(report.loss),
                "lr": number(report.learning_rate),
                "grad_norm": number(report.gradient_norm),
                "samples_per_s": speed(report.samples_per_second),
            }))?;
        }
        Ok(())
    }

    /// Saves a checkpoint, and removes old ones.
    fn save(&self, trainer: &Trainer, step: u32) -> Result<(), Error> {
        trainer.save_training(self.folder.checkpoint(step))?;
        self.folder.keep_checkpoints(self.keep)
    }

    fn go_on(&mut self, done: Result<(), Error>) -> ControlFlow<()> {
        match done {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.failure.get_or_insert(error);
                ControlFlow::Break(())
            }
        }
    }
}

/// The shortest number that is this one in single precision: 0.003, not 0.003000000026077032. NaN is null in JSON.
pub(super) fn number(value: f32) -> Value {
    json!(value.to_string().parse::<f64>().ok())
}

/// How many bits a byte of the text takes, by the loss in nats a token.
pub(super) fn bits_per_byte(evaluation: &Evaluation, bytes_per_token: f64) -> f64 {
    evaluation.loss / std::f64::consts::LN_2 / bytes_per_token
}

/// The fields of an evaluation in `metrics.jsonl`; of texts with the bytes a token stands for.
pub(super) fn evaluation_fields(line: &mut Value, evaluation: &Evaluation, bytes_per_token: Option<f64>) {
    line["eval_loss"] = json!(evaluation.loss);
    if let Some(bytes) = bytes_per_token {
        line["eval_bits_per_byte"] = json!(bits_per_byte(evaluation, bytes));
    }
    if let Some(accuracy) = evaluation.accuracy {
        line["eval_accuracy"] = json!(accuracy);
    }
    if let Some(overlap) = evaluation.mean_iou {
        line["eval_mean_iou"] = json!(overlap);
    }
    if let Some(error) = evaluation.mean_absolute_error {
        line["eval_mean_absolute_error"] = json!(error);
    }
}

/// The fields of what was found.
pub(super) fn findings_fields(line: &mut Value, findings: &Findings) {
    for measure in &findings.measures {
        line[format!("eval_{}", measure.key)] = json!(measure.value);
    }
}

impl Observer for Log {
    fn on_step(&mut self, report: &StepReport) -> ControlFlow<()> {
        let done = self.stepped(report);
        self.go_on(done)
    }

    fn on_evaluation(&mut self, report: &EvalReport) -> ControlFlow<()> {
        self.last = Some((report.step, report.evaluation.clone()));
        ControlFlow::Continue(())
    }

    fn after_evaluation(&mut self, trainer: &mut Trainer, step: u32) -> Result<ControlFlow<()>, nn_train::Error> {
        let Some((_, evaluation)) = self.last.clone() else { return Ok(ControlFlow::Continue(())) };
        let done = self.try_out(trainer, step, &evaluation);
        Ok(self.go_on(done))
    }

    fn after_step(&mut self, trainer: &Trainer, step: u32) -> Result<ControlFlow<()>, nn_train::Error> {
        let stop = STOP.load(Ordering::Relaxed) && step < self.total;
        if stop || step.is_multiple_of(self.checkpoint_every) || step == self.total {
            let saved = self.save(trainer, step);
            if self.go_on(saved).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }
}
