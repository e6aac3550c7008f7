//! The training loop.

use super::Evaluation;
use super::batches::Batches;
use super::data::{Data, check};
use super::loader::{Loader, Source, handed};
use super::observer::{EvalReport, Observer, StepReport};
use super::trainer::{Length, ProgramKey, Purpose, Settings, Trainer};
use crate::Error;
use nn_core::DType;
use nn_core::run::RunResult;
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::thread::Scope;
use std::time::Instant;

/// How a call of [`Trainer::fit`] ended.
#[derive(Clone, Debug, PartialEq)]
pub struct FitReport {
    /// How many steps the call took.
    pub steps: u32,
    /// Whether the run is complete; otherwise an observer ended it, and the next call goes on.
    pub finished: bool,
    /// The loss of the last batch, before its update.
    pub loss: Option<f32>,
    /// The last evaluation of the validation data.
    pub evaluation: Option<Evaluation>,
}

/// A step whose numbers have not come back yet.
struct Pending {
    step: u32,
    epoch: u32,
    learning_rate: f32,
    rows: usize,
}

/// Reports on their way from the device to the observer.
struct Reports<'a> {
    observer: &'a mut dyn Observer,
    pending: VecDeque<Pending>,
    /// When rows came back, and how many, lately.
    arrivals: VecDeque<(Instant, usize)>,
    allow_non_finite: bool,
    stop: bool,
    loss: Option<f32>,
}

impl Reports<'_> {
    fn deliver(&mut self, results: &[RunResult]) -> Result<(), Error> {
        for result in results {
            let missing = || nn_core::Error::Internal("a result came back that no step waits for".into());
            let Pending { step, epoch, learning_rate, rows } = self.pending.pop_front().ok_or_else(missing)?;
            let loss = result.scalar("loss")?;
            self.loss = Some(loss);
            let gradient_norm = result.scalar("gradient_norm")?;
            let samples_per_second = self.speed(rows);
            let report = StepReport { step, epoch, loss, learning_rate, gradient_norm, samples_per_second };
            if self.observer.on_step(&report).is_break() {
                self.stop = true;
            }
            if !loss.is_finite() && !self.allow_non_finite {
                return Err(Error::NonFinite { step, epoch, loss });
            }
        }
        Ok(())
    }

    /// Samples a second, over the last arrivals: several may arrive together.
    fn speed(&mut self, rows: usize) -> f64 {
        let now = Instant::now();
        self.arrivals.push_back((now, rows));
        if self.arrivals.len() > 33 {
            self.arrivals.pop_front();
        }
        let samples: usize = self.arrivals.iter().skip(1).map(|(_, rows)| rows).sum();
        let begin = self.arrivals.front().map_or(now, |(begin, _)| *begin);
        samples as f64 / now.duration_since(begin).as_secs_f64().max(1e-9)
    }

    fn restart_clock(&mut self) {
        self.arrivals.clear();
        self.arrivals.push_back((Instant::now(), 0));
    }
}

impl Trainer {
    /// Makes the first step's program ready, so that what cannot run is known before anything is done or written:
    /// a model that does not fit the device, data that don't fit the model, a check that names nothing.
    /// [`Trainer::fit`] then finds the program made.
    ///
    /// # Errors
    /// As [`Trainer::fit`], but for those of running.
    pub fn prepare(&mut self, data: &dyn Data) -> Result<(), Error> {
        self.check_data(data, "the training data")?;
        self.build(data.sample_shape())?;
        let rows = self.settings.batch_size.min(data.rows());
        let check = self.settings.check.clone();
        let key = ProgramKey { rows, purpose: Purpose::Training(self.loader(data).kind()) };
        let (_, program) = self.program(key)?;
        let named = check.map_or(Ok(0), |check| check.first_launch(program.schedule()));
        named.map(|_| ()).map_err(|error| Error::Setting(error.to_string()))
    }

    /// Trains for one run: as many epochs or steps as were set. A run that an observer ended, or that was loaded by
    /// [`Trainer::load_training`], goes on where it was; after a whole run, another one begins.
    ///
    /// The data is checked before the first step.
    ///
    /// # Errors
    /// If data, model and loss don't fit, no gradient reaches a parameter, the loss becomes NaN or infinite, the
    /// observer fails, or the device does.
    pub fn fit(
        &mut self,
        data: &dyn Data,
        validation: Option<&dyn Data>,
        observer: &mut dyn Observer,
    ) -> Result<FitReport, Error> {
        self.check_data(data, "the training data")?;
        self.build(data.sample_shape())?;
        if let Some(validation) = validation {
            self.check_data(validation, "the validation data")?;
            self.build(validation.sample_shape())?;
        }
        let report = std::thread::scope(|scope| self.run(scope, data, validation, observer));
        if report.is_err() {
            // Results of steps that were under way must not turn up in a later run.
            self.forget_programs();
        }
        report
    }

    /// Checks a data set as a whole, and that the model takes such samples.
    pub(super) fn check_data(&self, data: &dyn Data, what: &str) -> Result<(), Error> {
        let (found, wanted) = (data.sample_dtype(), self.model.input_dtype());
        if found != wanted {
            return Err(Error::Data(format!(
                "{what} has samples of {found} values, but the model takes {wanted} ({})",
                if wanted == DType::U32 { "token ids" } else { "numbers" }
            )));
        }
        check(data, what)
    }

    /// How batches of this data are made.
    fn loader<'a>(&self, data: &'a dyn Data) -> Loader<'a> {
        let Settings { batch_size, order, seed, loss, mixup, .. } = self.settings;
        Loader { data, batches: Batches::new(data.rows(), batch_size, order, seed), loss, seed, mixup }
    }

    fn run<'scope, 'data: 'scope>(
        &mut self,
        scope: &'scope Scope<'scope, '_>,
        data: &'data dyn Data,
        validation: Option<&dyn Data>,
        observer: &mut dyn Observer,
    ) -> Result<FitReport, Error> {
        let (optimizer, schedule) = (self.settings.optimizer, self.settings.schedule);
        let Loader { batches, .. } = self.loader(data);
        let kind = self.loader(data).kind();
        let total = match self.settings.length {
            Length::Steps(steps) => u64::from(steps),
            Length::Epochs(epochs) => u64::from(epochs) * batches.per_epoch(),
        };
        let end = u32::try_from(u64::from(self.run_start) + total).map_err(|_| {
            Error::Setting(format!("a run of {total} steps is too long; at most {} are possible", u32::MAX))
        })?;
        let (start, first) = (self.run_start, self.step);
        let total = end - start;
        let mut reports = Reports {
            observer,
            pending: VecDeque::new(),
            arrivals: VecDeque::new(),
            allow_non_finite: self.settings.allow_non_finite,
            stop: false,
            loss: None,
        };
        reports.restart_clock();
        let mut evaluation: Option<Evaluation> = None;
        let mut under_way: Option<ProgramKey> = None;
        let threads = self.settings.loader_threads.unwrap_or(if data.is_laborious() { 2 } else { 0 });
        let steps = u64::from(first - start)..u64::from(total);
        let mut source = Source::new(scope, threads, steps, || self.loader(data));
        while self.step < end && !reports.stop {
            let index = u64::from(self.step - start);
            let batch = source.take(index)?;
            let (epoch, rows) = (batch.epoch as u32 + 1, batch.rows);
            let key = ProgramKey { rows, purpose: Purpose::Training(kind) };
            if under_way != Some(key) {
                // Results come in the order of one program's runs, so its last ones are awaited before the next begins.
                self.flush(under_way.replace(key), &mut reports)?;
            }
            let step = self.step + 1;
            let learning_rate = schedule.learning_rate(optimizer.learning_rate(), step - start, total) as f32;
            reports.pending.push_back(Pending { step, epoch, learning_rate, rows });
            let scalars = self.scalars(step, learning_rate);
            let (session, program) = self.program(key)?;
            session.run(program, &handed(program, &batch.inputs, &batch.targets), scalars)?;
            let results = session.results(program, false)?;
            self.step = step;
            source.give_back(index, batch);
            reports.deliver(&results)?;
            if reports.observer.after_step(self, step)?.is_break() {
                reports.stop = true;
            }
            let epoch_ends = batches.epoch(index + 1) != batches.epoch(index);
            let due = match (self.settings.evaluate_every, self.settings.length) {
                (Some(every), _) => every > 0 && (step - start).is_multiple_of(every),
                (None, Length::Epochs(_)) => epoch_ends,
                (None, Length::Steps(_)) => false,
            };
            if let Some(validation) = validation.filter(|_| (due || step == end) && !reports.stop) {
                self.flush(under_way, &mut reports)?;
                let measured = self.evaluate_checked(validation, self.settings.evaluation_batches)?;
                let report = EvalReport { step, epoch, evaluation: measured };
                if reports.observer.on_evaluation(&report) == ControlFlow::Break(()) {
                    reports.stop = true;
                }
                if reports.observer.after_evaluation(self, step)?.is_break() {
                    reports.stop = true;
                }
                evaluation = Some(report.evaluation);
                reports.restart_clock();
            }
        }
        self.flush(under_way, &mut reports)?;
        let finished = self.step == end;
        if finished {
            self.run_start = end;
        }
        Ok(FitReport { steps: self.step - first, finished, loss: reports.loss, evaluation })
    }

    /// Waits for the results of a program and reports them.
    fn flush(&mut self, key: Option<ProgramKey>, reports: &mut Reports<'_>) -> Result<(), Error> {
        let Some(key) = key else { return Ok(()) };
        let (session, program) = self.program(key)?;
        let results = session.results(program, true)?;
        reports.deliver(&results)
    }
}
