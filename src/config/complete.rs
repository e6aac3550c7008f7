//! Checking a configuration, filling in what the data decides, and making the trainer.

use super::data::LoadedData;
use super::{Config, DataKind, Loss, load_split};
use crate::error::Error;
use nn_data::Dataset;
use nn_train::nn::TargetKind;
use nn_train::{Data as _, Trainer};

impl Config {
    /// Checks what can be checked without data.
    pub(crate) fn check(&self) -> Result<(), String> {
        let train = &self.train;
        self.model.architecture.model().check()?;
        self.optimizer.build()?;
        self.build_schedule()?;
        self.build_order()?;
        if train.precision != "f32" {
            let known = ["f16", "bf16"].contains(&train.precision.as_str());
            let what = if known { "is not supported yet" } else { "is unknown" };
            return Err(format!("train.precision = {:?} {what}; supported: f32", train.precision));
        }
        if train.steps.is_some() && train.epochs.is_some() {
            return Err("train.steps and train.epochs are both given; keep one of them".into());
        }
        let numbers = [
            ("train.steps", train.steps.map(u64::from)),
            ("train.epochs", train.epochs.map(u64::from)),
            ("train.log_every", Some(train.log_every.into())),
            ("train.eval_every", train.eval_every.map(u64::from)),
            ("train.eval_batches", train.eval_batches.map(|batches| batches as u64)),
            ("checkpoint.every", self.checkpoint.every.map(u64::from)),
            ("checkpoint.keep", Some(self.checkpoint.keep as u64)),
            ("data.batch_size", self.data.batch_size.map(|size| size as u64)),
        ];
        if let Some((key, _)) = numbers.iter().find(|(_, number)| *number == Some(0)) {
            return Err(format!("{key} = 0 makes no sense; give 1 or more"));
        }
        if let Some(norm) = train.clip_norm.filter(|norm| !(norm.is_finite() && *norm > 0.0)) {
            return Err(format!("train.clip_norm = {norm} must be above 0"));
        }
        if let Some(loss) = &self.loss {
            loss.build()?;
        }
        self.check_lora()
    }

    /// The number of the model's outputs, if the config says it.
    pub(crate) fn outputs(&self) -> Option<usize> {
        self.model.architecture.model().outputs()
    }

    /// Loads the data and fills in every default that it decides. `at` names the config in messages.
    ///
    /// # Errors
    /// What is wrong with the data, or how model, loss and data contradict each other.
    pub(crate) fn complete(&mut self, at: &str) -> Result<LoadedData, Error> {
        let outputs = self.outputs();
        let data = load_split(&mut self.data, outputs, self.model.architecture.model())?;
        self.fill_lora()?;
        if let (DataKind::Questions, Some(text)) = (self.data.kind, &data.text) {
            let special = text.tokenizer.special();
            let (pad, separator) =
                special.pad.zip(special.sep).ok_or_else(|| Error::run("internal: no special tokens"))?;
            let fitted = self.model.architecture.model_mut().fit_special(pad, separator);
            fitted.map_err(|message| Error::usage(format!("{at}: {message}")))?;
        }
        self.fit_model(&data.training).map_err(|message| Error::usage(format!("{at}: {message}")))?;
        self.optimizer.fill().map_err(Error::Usage)?;
        let train = &mut self.train;
        if train.steps.is_none() {
            train.epochs.get_or_insert(10);
        }
        let per_epoch = data.training.rows().div_ceil(self.data.batch_size.unwrap_or(1));
        let steps = match (train.steps, train.epochs) {
            (Some(steps), _) => u64::from(steps),
            (None, epochs) => u64::from(epochs.unwrap_or(0)) * per_epoch as u64,
        };
        let steps = u32::try_from(steps)
            .map_err(|_| Error::usage(format!("{at}: a run of {steps} steps is too long; at most {}", u32::MAX)))?;
        // Rows held out are looked at after each epoch; those trained on have shown their loss already.
        let apart = data.held_out.is_some() || data.test.is_some();
        let every = if train.epochs.is_some() && apart { per_epoch as u32 } else { steps };
        let eval_every = *train.eval_every.get_or_insert(every.max(1));
        self.checkpoint.every.get_or_insert(eval_every);
        Ok(data)
    }

    /// Fits model and loss to the data, and each to the other.
    fn fit_model(&mut self, data: &Dataset) -> Result<(), String> {
        let kind = data.targets().kind();
        let model = self.model.architecture.model_mut();
        if let Some(tokens) = data.vocabulary() {
            model.fit_vocabulary(tokens)?;
        }
        model.fit(&data.sample_shape, kind)?;
        let (outputs, own) = (model.outputs(), model.has_own_loss());
        self.data.sample_shape = Some(data.sample_shape.clone());
        let default = match kind {
            _ if own => "own",
            TargetKind::Classes { count: ..=2 } if outputs == Some(1) => "binary_cross_entropy",
            TargetKind::Values { .. } => "mse",
            _ => "cross_entropy",
        };
        let loss = self.loss.get_or_insert(Loss { kind: default.into(), delta: None });
        if loss.kind == "huber" {
            loss.delta.get_or_insert(1.0);
        }
        let trainer = self.settings().map_err(|error| error.to_string())?;
        trainer.evaluation_graph(&data.sample_shape, 1, kind).map(|_| ()).map_err(|error| error.to_string())
    }

    /// How many steps the run takes, for a completed config.
    pub(crate) fn total_steps(&self, data: &LoadedData) -> u32 {
        let per_epoch = data.training.rows().div_ceil(self.batch_size()) as u32;
        self.train.steps.unwrap_or_else(|| self.train.epochs.unwrap_or(0) * per_epoch)
    }

    /// Rows of a step, for a completed config.
    pub(crate) fn batch_size(&self) -> usize {
        self.data.batch_size.unwrap_or(1).max(1)
    }

    /// The loss, for a completed config.
    pub(crate) fn loss(&self) -> Result<nn_train::Loss, Error> {
        let missing = || Error::usage("loss.kind is missing; add a section [loss]");
        self.loss.as_ref().ok_or_else(missing)?.build().map_err(Error::Usage)
    }

    /// The trainer of a completed config, with its parameters set up.
    ///
    /// # Errors
    /// If a setting is wrong, or the device fails.
    pub(crate) fn trainer(&self, device: nn_core::Device) -> Result<Trainer, Error> {
        let mut trainer = self.settings()?.device(device);
        trainer.build(&self.sample_shape())?;
        Ok(trainer)
    }

    /// The shape of a row of a completed config's data.
    pub(crate) fn sample_shape(&self) -> Vec<usize> {
        self.data.sample_shape.clone().unwrap_or_default()
    }

    /// The trainer of a completed config, before it has a device.
    ///
    /// # Errors
    /// If a setting is wrong.
    pub(crate) fn settings(&self) -> Result<Trainer, Error> {
        let build = || -> Result<Trainer, String> {
            let mut trainer = Trainer::new(self.model.architecture.layer())
                .optimizer(self.optimizer.build()?)
                .schedule(self.build_schedule()?)
                .order(self.build_order()?);
            trainer = match (self.train.steps, self.train.epochs) {
                (Some(steps), _) => trainer.steps(steps),
                (None, epochs) => trainer.epochs(epochs.unwrap_or(0)),
            };
            if let Some(norm) = self.train.clip_norm {
                trainer = trainer.clip_norm(norm);
            }
            if let Some(alpha) = self.train.mixup {
                trainer = trainer.mixup(alpha);
            }
            if let Some(batches) = self.train.eval_batches {
                trainer = trainer.evaluation_batches(batches);
            }
            if let Some(every) = self.train.eval_every {
                trainer = trainer.evaluate_every(every);
            }
            Ok(trainer)
        };
        let trainer = build().map_err(Error::Usage)?.loss(self.loss()?);
        Ok(self.adapt(trainer.seed(self.train.seed).batch_size(self.batch_size())))
    }

    /// The class's name, or its number where it has none.
    pub(crate) fn class_name(&self, class: usize) -> String {
        let name = self.data.classes.as_ref().and_then(|names| names.get(class));
        name.cloned().unwrap_or_else(|| class.to_string())
    }

    /// The file as it is written to a run's folder.
    pub(crate) fn to_toml(&self) -> Result<String, Error> {
        toml::to_string(self).map_err(|error| Error::run(format!("internal: the config cannot be written: {error}")))
    }
}
