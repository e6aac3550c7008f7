//! The trainer: its settings, its session, and the programs it compiles for each batch size.

use super::batches::Order;
use super::compile::{TrainingGraph, begin, compile, training_graph};
use super::evaluate::measure;
use crate::Error;
use crate::nn::{Layer, Loss, Objective, TargetKind};
use crate::optim::{Adam, Optimizer, Schedule};
use crate::scope::{Adapters, Declarations, Lora, Scope, trace_model};
use nn_core::run::Executable;
use nn_core::{Check, DType, Device, Graph, Session, StepScalars, Value};
use std::collections::HashMap;

/// Trains one model on one device. Settings are chained; then [`Trainer::fit`], [`Trainer::evaluate`],
/// [`Trainer::predict`], [`Trainer::save`].
///
/// The same model, data, seed, settings and device give the same bits.
pub struct Trainer {
    pub(super) model: Box<dyn Layer>,
    pub(super) settings: Settings,
    pub(super) built: Option<Built>,
    programs: HashMap<ProgramKey, Executable>,
    /// Steps taken in all.
    pub(super) step: u32,
    /// How many steps had been taken when the run that is under way began.
    pub(super) run_start: u32,
}

pub(super) struct Settings {
    pub(super) loss: Loss,
    pub(super) optimizer: Optimizer,
    pub(super) schedule: Schedule,
    device: Option<Device>,
    pub(super) seed: u64,
    pub(super) batch_size: usize,
    pub(super) length: Length,
    pub(super) order: Order,
    clip_norm: Option<f64>,
    frozen: Vec<String>,
    pub(super) lora: Option<Lora>,
    pub(super) evaluate_every: Option<u32>,
    pub(super) evaluation_batches: Option<usize>,
    pub(super) mixup: f64,
    pub(super) loader_threads: Option<usize>,
    pub(super) allow_non_finite: bool,
    pub(super) check: Option<Check>,
    check_from: u32,
}

/// How long a run is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Length {
    Epochs(u32),
    Steps(u32),
}

/// What exists once the shape of a sample is known.
pub(super) struct Built {
    pub(super) sample_shape: Vec<usize>,
    pub(super) declarations: Declarations,
    /// The layers that have low-rank adapters, if they are used.
    pub(super) adapters: Option<Adapters>,
    pub(super) session: Session,
}

/// What decides a program, the model and the settings apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ProgramKey {
    pub(super) rows: usize,
    pub(super) purpose: Purpose,
}

/// What a program is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Purpose {
    Training(TargetKind),
    Evaluation(TargetKind),
    Prediction,
}

impl Trainer {
    /// A trainer with the loss cross-entropy, Adam at 1e-3, device `auto`, seed 0, batches of 32, and one epoch.
    pub fn new(model: impl Layer + 'static) -> Trainer {
        let settings = Settings {
            loss: Loss::CrossEntropy,
            optimizer: Adam::new(1e-3).into(),
            schedule: Schedule::Constant,
            device: None,
            seed: 0,
            batch_size: 32,
            length: Length::Epochs(1),
            order: Order::Shuffled,
            clip_norm: None,
            frozen: Vec::new(),
            lora: None,
            evaluate_every: None,
            evaluation_batches: None,
            mixup: 0.0,
            loader_threads: None,
            allow_non_finite: false,
            check: None,
            check_from: 0,
        };
        let programs = HashMap::new();
        Trainer { model: Box::new(model), settings, built: None, programs, step: 0, run_start: 0 }
    }

    fn set(mut self, change: impl FnOnce(&mut Settings)) -> Trainer {
        change(&mut self.settings);
        // What was compiled may follow the old settings.
        self.programs.clear();
        self
    }

    /// What to make small.
    #[must_use]
    pub fn loss(self, loss: Loss) -> Trainer {
        self.set(|settings| settings.loss = loss)
    }

    /// How to change the parameters.
    #[must_use]
    pub fn optimizer(self, optimizer: impl Into<Optimizer>) -> Trainer {
        self.set(|settings| settings.optimizer = optimizer.into())
    }

    /// How the learning rate changes over a run.
    #[must_use]
    pub fn schedule(self, schedule: Schedule) -> Trainer {
        self.set(|settings| settings.schedule = schedule)
    }

    /// Where to compute. To be set before the first [`Trainer::build`] or [`Trainer::fit`].
    #[must_use]
    pub fn device(self, device: Device) -> Trainer {
        self.set(|settings| settings.device = Some(device))
    }

    /// The seed of initial parameters, shuffling and dropout. To be set before the first [`Trainer::build`] or
    /// [`Trainer::fit`].
    #[must_use]
    pub fn seed(self, seed: u64) -> Trainer {
        self.set(|settings| settings.seed = seed)
    }

    /// How many rows each step takes; the last step of an epoch takes what is left.
    #[must_use]
    pub fn batch_size(self, batch_size: usize) -> Trainer {
        self.set(|settings| settings.batch_size = batch_size)
    }

    /// A run takes each row so many times.
    #[must_use]
    pub fn epochs(self, epochs: u32) -> Trainer {
        self.set(|settings| settings.length = Length::Epochs(epochs))
    }

    /// A run takes so many steps.
    #[must_use]
    pub fn steps(self, steps: u32) -> Trainer {
        self.set(|settings| settings.length = Length::Steps(steps))
    }

    /// In which order rows are taken.
    #[must_use]
    pub fn order(self, order: Order) -> Trainer {
        self.set(|settings| settings.order = order)
    }

    /// Scales gradients so that their norm together is at most this. `torch.nn.utils.clip_grad_norm_`.
    #[must_use]
    pub fn clip_norm(self, max_norm: f64) -> Trainer {
        self.set(|settings| settings.clip_norm = Some(max_norm))
    }

    /// Leaves the parameters whose names begin with `prefix` as they are. Can be called several times.
    #[must_use]
    pub fn freeze(self, prefix: &str) -> Trainer {
        self.set(|settings| settings.frozen.push(prefix.to_string()))
    }

    /// Trains low-rank adapters of the chosen linear layers, and the modules named to be saved; all else is frozen, and
    /// the optimiser keeps nothing of it. Initial values and the numbers that the model draws stay as they are without.
    /// To be set before the first [`Trainer::build`] or [`Trainer::fit`]; then [`Trainer::load`] the model's weights,
    /// train, and [`Trainer::save_adapter`] or [`Trainer::merge`]. `peft.get_peft_model`.
    #[must_use]
    pub fn lora(self, lora: Lora) -> Trainer {
        self.set(|settings| settings.lora = Some(lora))
    }

    /// Evaluates the validation data each time so many steps are done; the default is after each epoch. It is
    /// evaluated at the end of a run in any case.
    #[must_use]
    pub fn evaluate_every(self, steps: u32) -> Trainer {
        self.set(|settings| settings.evaluate_every = Some(steps))
    }

    /// Evaluates at most so many batches of the validation data during [`Trainer::fit`].
    #[must_use]
    pub fn evaluation_batches(self, batches: usize) -> Trainer {
        self.set(|settings| settings.evaluation_batches = Some(batches))
    }

    /// Mixes each row of a training batch with another, in shares drawn from Beta(`alpha`, `alpha`), and their classes
    /// alike (Zhang et al. 2018, mixup); 0 mixes nothing. For classes and cross-entropy.
    #[must_use]
    pub fn mixup(self, alpha: f64) -> Trainer {
        self.set(|settings| settings.mixup = alpha)
    }

    /// How many threads make batches ready while the device trains; 0 leaves that to the thread that trains. The
    /// default is 2 for data that takes work, else 0. The batches are the same.
    #[must_use]
    pub fn loader_threads(self, threads: usize) -> Trainer {
        self.set(|settings| settings.loader_threads = Some(threads))
    }

    /// Whether to go on when the loss is NaN or infinite, instead of stopping with an error.
    #[must_use]
    pub fn allow_non_finite(self, allow: bool) -> Trainer {
        self.set(|settings| settings.allow_non_finite = allow)
    }

    /// Looks at every result while it trains, evaluates and predicts, which is slow; what is found ends
    /// [`Trainer::fit`] with [`nn_core::Error::Check`]. The results keep their bits. [`Check::From`] is for training
    /// steps only: other programs may lack the name. [`Trainer::session`] has the report.
    #[must_use]
    pub fn check(mut self, check: Option<Check>) -> Trainer {
        self.settings.check = check;
        self
    }

    /// Checks only from this step on, counted as [`Trainer::step`] does: a run repeated from the same seed meets at
    /// this step what it met before.
    #[must_use]
    pub fn check_from_step(mut self, step: u32) -> Trainer {
        self.settings.check_from = step;
        self
    }

    /// How many steps were taken in all.
    pub fn step(&self) -> u32 {
        self.step
    }

    /// What the model keeps; empty before it is built.
    pub fn declarations(&self) -> Declarations {
        self.built.as_ref().map(|built| built.declarations.clone()).unwrap_or_default()
    }

    /// The name of the device, once the model is built.
    pub fn device_name(&self) -> Option<String> {
        self.built.as_ref().map(|built| built.session.device().name())
    }

    /// The session that keeps the parameters, once the model is built.
    pub fn session(&self) -> Option<&Session> {
        self.built.as_ref().map(|built| &built.session)
    }

    /// The session, for programs of one's own on the parameters that it keeps.
    pub fn session_mut(&mut self) -> Option<&mut Session> {
        self.built.as_mut().map(|built| &mut built.session)
    }

    /// Opens the device and sets the initial parameters for samples of this shape, without the batch dimension.
    /// [`Trainer::fit`] does it by itself; it is needed before [`Trainer::load`]. Again with the same shape it does
    /// nothing.
    ///
    /// # Errors
    /// If the model does not fit the shape, `freeze` names no parameter, `lora` no linear layer, or the model was built
    /// for another shape.
    pub fn build(&mut self, sample_shape: &[usize]) -> Result<(), Error> {
        self.check_settings()?;
        if let Some(built) = &self.built {
            if built.sample_shape == sample_shape {
                return Ok(());
            }
            return Err(Error::Data(format!(
                "the samples have shape {sample_shape:?}, but the model was built for {:?}",
                built.sample_shape
            )));
        }
        let (declarations, adapters) = self.declare(sample_shape)?;
        let device = self.settings.device.clone().unwrap_or_else(Device::auto);
        let mut session = Session::new(&device);
        begin(&mut session, &declarations, self.settings.seed)?;
        self.built = Some(Built { sample_shape: sample_shape.to_vec(), declarations, adapters, session });
        Ok(())
    }

    fn check_settings(&self) -> Result<(), Error> {
        if self.settings.batch_size == 0 {
            return Err(Error::Setting("the batch size is 0; it must be at least 1".into()));
        }
        let (alpha, loss) = (self.settings.mixup, self.settings.loss);
        if !(alpha.is_finite() && alpha >= 0.0) || (alpha > 0.0 && loss != Loss::CrossEntropy) {
            return Err(Error::Setting(format!(
                "mixup({alpha}) with the loss {} is impossible; it needs 0 or more, and the loss cross_entropy",
                loss.name()
            )));
        }
        Ok(self.settings.optimizer.check()?)
    }

    /// What the model declares for samples of this shape, once what is frozen or adapted is found in it.
    pub(super) fn declare(&self, sample_shape: &[usize]) -> Result<(Declarations, Option<Adapters>), Error> {
        let key = ProgramKey { rows: self.settings.batch_size, purpose: Purpose::Prediction };
        let traced = |adapters| trace_model(false, |s| self.trace(s, sample_shape, adapters, key));
        let (_, mut declarations) = traced(None)?;
        let adapters = self.settings.lora.as_ref().map(|lora| lora.choose(&declarations)).transpose()?;
        if adapters.is_some() {
            declarations = traced(adapters.as_ref())?.1;
        }
        for prefix in &self.settings.frozen {
            if !declarations.parameters().any(|parameter| parameter.name.starts_with(prefix)) {
                let names: Vec<&str> = declarations.parameters().map(|parameter| parameter.name.as_str()).collect();
                let names = names.join(", ");
                return Err(Error::Setting(format!("freeze({prefix:?}) names no parameter; the model has {names}")));
            }
        }
        Ok((declarations, adapters))
    }

    /// The graph of a training step of `rows` samples of this shape, without the batch dimension. Needs no device and
    /// leaves the trainer as it is: for tools that look at a program before it runs.
    ///
    /// # Errors
    /// As [`Trainer::build`]; also if the targets don't fit the loss, or no gradient reaches a parameter.
    pub fn training_graph(
        &self,
        sample_shape: &[usize],
        rows: usize,
        targets: TargetKind,
    ) -> Result<TrainingGraph, Error> {
        self.check_settings()?;
        let (_, adapters) = self.declare(sample_shape)?;
        let key = ProgramKey { rows, purpose: Purpose::Training(targets) };
        self.trace_training(sample_shape, adapters.as_ref(), key)
    }

    /// The graph that evaluates `rows` samples of this shape; as [`Trainer::training_graph`].
    ///
    /// # Errors
    /// As [`Trainer::build`]; also if the targets don't fit the loss.
    pub fn evaluation_graph(&self, sample_shape: &[usize], rows: usize, targets: TargetKind) -> Result<Graph, Error> {
        self.check_settings()?;
        let (_, adapters) = self.declare(sample_shape)?;
        let key = ProgramKey { rows, purpose: Purpose::Evaluation(targets) };
        Ok(trace_model(false, |s| self.trace(s, sample_shape, adapters.as_ref(), key))?.0)
    }

    /// Records the model and what the purpose needs on top.
    fn trace(
        &self,
        s: &mut Scope,
        sample_shape: &[usize],
        adapters: Option<&Adapters>,
        key: ProgramKey,
    ) -> Result<(), nn_core::Error> {
        if let Some(adapters) = adapters {
            s.adapt(adapters);
        }
        let sizes: Vec<usize> = std::iter::once(key.rows).chain(sample_shape.iter().copied()).collect();
        let inputs = s.input("inputs", self.model.input_dtype(), sizes);
        let output = match key.purpose {
            Purpose::Prediction => {
                let output = self.model.forward(s, inputs);
                s.output("output", output);
                output
            }
            Purpose::Training(kind) => self.judge(s, inputs, kind).0,
            Purpose::Evaluation(kind) => {
                let (output, objective) = self.judge(s, inputs, kind);
                measure(s, &objective, output);
                output
            }
        };
        if output.shape().first() != Some(&key.rows) {
            let (rows, shape) = (key.rows, output.shape());
            let message =
                format!("the model's output has shape {shape}; its first dimension must be the batch ({rows})");
            return Err(nn_core::Error::Usage(message));
        }
        Ok(())
    }

    /// Records the model with its loss, and the targets as an input.
    fn judge(&self, s: &mut Scope, inputs: Value, kind: TargetKind) -> (Value, Objective) {
        let (loss, rows) = (self.settings.loss, inputs.shape()[0]);
        let targets = match kind {
            TargetKind::Classes { .. } if loss == Loss::BinaryCrossEntropy => s.input("targets", DType::F32, [rows]),
            TargetKind::Classes { .. } => s.input("targets", DType::U32, [rows]),
            TargetKind::ClassMaps { size, .. } | TargetKind::Sequences { length: size, .. } => {
                s.input("targets", DType::U32, [rows, size])
            }
            TargetKind::Probabilities { count: width } | TargetKind::Values { width } => {
                s.input("targets", DType::F32, [rows, width])
            }
        };
        let objective = Objective { loss, kind, targets };
        let (output, loss) = self.model.judge(s, inputs, &objective);
        s.output("loss", loss);
        (output, objective)
    }

    /// Whether an optimiser may change the parameter.
    pub(super) fn trains(&self, adapters: Option<&Adapters>, name: &str) -> bool {
        let frozen = self.settings.frozen.iter().any(|prefix| name.starts_with(prefix));
        !frozen && adapters.is_none_or(|adapters| adapters.trains(name))
    }

    /// The session, and the program for a purpose, compiled at its first use.
    pub(super) fn program(&mut self, key: ProgramKey) -> Result<(&mut Session, &mut Executable), Error> {
        let Some(mut built) = self.built.take() else { return Err(not_built()) };
        let compiled = if self.programs.contains_key(&key) { Ok(()) } else { self.compile(&mut built, key) };
        let training = matches!(key.purpose, Purpose::Training(_));
        // A training step that is about to run is one more than those that were taken.
        let due = self.step + u32::from(training) >= self.settings.check_from;
        let fits = |check: &&Check| due && (training || !matches!(check, Check::From(_)));
        let check = self.settings.check.as_ref().filter(fits);
        if built.session.check() != check {
            built.session.set_check(check.cloned());
        }
        let built = self.built.insert(built);
        compiled?;
        let missing = || nn_core::Error::Internal("a program vanished after it was compiled".into());
        Ok((&mut built.session, self.programs.get_mut(&key).ok_or_else(missing)?))
    }

    fn compile(&mut self, built: &mut Built, key: ProgramKey) -> Result<(), Error> {
        let (seed, adapters) = (self.settings.seed, built.adapters.as_ref());
        let compiled = match key.purpose {
            Purpose::Training(_) => {
                self.trace_training(&built.sample_shape, adapters, key)?.compile(&mut built.session, seed)
            }
            Purpose::Evaluation(_) | Purpose::Prediction => {
                compile(&mut built.session, false, seed, |s| self.trace(s, &built.sample_shape, adapters, key))
            }
        }?;
        let known = |name: &str| built.declarations.get(name).is_some();
        if let Some(late) = compiled.declarations.iter().find(|declaration| !known(&declaration.name)) {
            return Err(Error::Setting(format!(
                "the model declares `{}` in training but not in `forward`, so it would not be saved; declare it there too",
                late.name
            )));
        }
        self.programs.insert(key, compiled.program);
        Ok(())
    }

    fn trace_training(
        &self,
        sample_shape: &[usize],
        adapters: Option<&Adapters>,
        key: ProgramKey,
    ) -> Result<TrainingGraph, Error> {
        let Settings { optimizer, clip_norm, .. } = &self.settings;
        let function = |s: &mut Scope| self.trace(s, sample_shape, adapters, key);
        training_graph(optimizer, *clip_norm, |name| self.trains(adapters, name), function)
    }

    /// Drops every program, with results that were not fetched.
    pub(super) fn forget_programs(&mut self) {
        self.programs.clear();
    }

    /// The numbers of a step.
    pub(super) fn scalars(&self, step: u32, learning_rate: f32) -> StepScalars {
        // A step has room for half of the seed.
        let seed = (self.settings.seed ^ (self.settings.seed >> 32)) as u32;
        StepScalars::new(step, seed, learning_rate)
    }
}

pub(super) fn not_built() -> Error {
    Error::Setting("the model has no parameters yet: call fit, or build with the shape of a sample, first".into())
}

impl std::fmt::Debug for Trainer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = formatter.debug_struct("Trainer");
        text.field("model", &self.model)
            .field("loss", &self.settings.loss)
            .field("optimizer", &self.settings.optimizer);
        text.field("step", &self.step).finish_non_exhaustive()
    }
}
