//! Saving and loading: parameters alone, or all that a run needs to go on.

use super::files::{TensorFile, read_tensors, write_tensors};
use super::trainer::{Trainer, not_built};
use crate::Error;
use crate::scope::adapter_path;
use nn_core::{Shape, Tensor};
use std::path::Path;

/// The metadata entry under which a run's progress is kept.
const PROGRESS: &str = "wgrad_training";

impl Trainer {
    /// The model's tensors by name, in the order of declaration; waits for the device.
    ///
    /// # Errors
    /// If the model is not built, or the device fails.
    pub fn state_dict(&self) -> Result<Vec<(String, Tensor)>, Error> {
        let built = self.built.as_ref().ok_or_else(not_built)?;
        let read = |name: &String| Ok((name.clone(), built.session.state(name)?));
        built.declarations.iter().map(|declaration| read(&declaration.name)).collect()
    }

    /// Writes the model's tensors to a safetensors file, under the names they were declared by. The old file stays
    /// until the new one is whole.
    ///
    /// # Errors
    /// If the model is not built, or the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        write_tensors(path.as_ref(), &self.state_dict()?, ("format", "pt"))
    }

    /// Takes the model's tensors from a safetensors file (F32, F16 or BF16), also from one of
    /// [`Trainer::save_training`], under the model's names or those it knows besides
    /// ([`Layer::own_name`](crate::Layer::own_name)). With [`Trainer::lora`] the file may be that of the model without
    /// adapters, and lack modules that are to be saved: all these stay as they are. Nothing changes on an error.
    ///
    /// # Errors
    /// If the model is not built, the file cannot be read or is damaged, or tensors are missing, surplus or of
    /// another shape: all such are listed.
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<(), Error> {
        let TensorFile { mut tensors, metadata } = read_tensors(path.as_ref())?;
        if metadata.contains_key(PROGRESS) {
            tensors.retain(|(name, _)| !name.starts_with("optimizer/"));
        }
        let own = |(name, tensor): (String, Tensor)| Some((self.model.own_name(&name)?, tensor));
        let tensors: Vec<(String, Tensor)> = tensors.into_iter().filter_map(own).collect();
        let mut expected = self.expected(false)?;
        if let Some(adapters) = self.adapters()
            && !tensors.iter().any(|(name, _)| adapter_path(name).is_some())
        {
            expected.retain(|(name, _)| !adapters.trains(name) || tensors.iter().any(|(known, _)| known == name));
        }
        self.take(path.as_ref(), tensors, &expected)
    }

    /// Writes all that a run needs to go on with the same bits: the model's tensors, the optimiser's, and how many
    /// steps were taken.
    ///
    /// # Errors
    /// As [`Trainer::save`].
    pub fn save_training(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let built = self.built.as_ref().ok_or_else(not_built)?;
        let kept = |name: &str| built.session.states().iter().any(|(known, _)| known == name);
        let mut tensors = Vec::new();
        for (name, shape) in self.expected(true)? {
            // Before the first step the optimiser's tensors are not there yet; they begin at zero.
            let zeros = || Tensor::from_f32(shape.clone(), &vec![0.0; shape.elements()]);
            let tensor = if kept(&name) { built.session.state(&name)? } else { zeros()? };
            tensors.push((name, tensor));
        }
        let progress = format!("step={} run_start={} seed={}", self.step, self.run_start, self.settings.seed);
        write_tensors(path.as_ref(), &tensors, (PROGRESS, &progress))
    }

    /// Takes up a run that [`Trainer::save_training`] wrote: the next [`Trainer::fit`] goes on with it. Model,
    /// optimiser, seed and data must be the same.
    ///
    /// # Errors
    /// As [`Trainer::load`]; also if the file holds a model only, or a run with another seed.
    pub fn load_training(&mut self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        let expected = self.expected(true)?;
        let TensorFile { tensors, metadata } = read_tensors(path)?;
        let no_run = || Error::file(path, "this file holds no training run, only tensors; load it with `load`");
        let progress = metadata.get(PROGRESS).ok_or_else(no_run)?;
        let number = |key: &str| -> Result<u64, Error> {
            let found = progress.split(' ').find_map(|entry| entry.strip_prefix(key)?.strip_prefix('='));
            let damaged =
                || Error::file(path, format!("the record of the run ({progress:?}) lacks a number for {key}"));
            found.and_then(|digits| digits.parse().ok()).ok_or_else(damaged)
        };
        let small = |key: &str| -> Result<u32, Error> {
            u32::try_from(number(key)?).map_err(|_| Error::file(path, format!("{key} is beyond {}", u32::MAX)))
        };
        let (step, run_start, seed) = (small("step")?, small("run_start")?, number("seed")?);
        if seed != self.settings.seed {
            let own = self.settings.seed;
            let message = format!("the run has the seed {seed}, the trainer {own}; it can only go on with the same");
            return Err(Error::file(path, message));
        }
        if run_start > step {
            return Err(Error::file(path, format!("the record of the run ({progress:?}) contradicts itself")));
        }
        self.take(path, tensors, &expected)?;
        (self.step, self.run_start) = (step, run_start);
        Ok(())
    }

    /// Names and shapes of the model's tensors and, if asked for, the optimiser's.
    fn expected(&self, with_optimizer: bool) -> Result<Vec<(String, Shape)>, Error> {
        let built = self.built.as_ref().ok_or_else(not_built)?;
        let mut expected: Vec<(String, Shape)> =
            built.declarations.iter().map(|known| (known.name.clone(), known.shape.clone())).collect();
        if with_optimizer {
            let adapters = built.adapters.as_ref();
            let trained = built.declarations.parameters().filter(|known| self.trains(adapters, &known.name));
            let parameters: Vec<_> = trained.map(|known| (known.name.clone(), known.shape.clone())).collect();
            let states = self.settings.optimizer.states(&parameters);
            expected.extend(states.into_iter().map(|state| (state.name, state.shape)));
        }
        Ok(expected)
    }

    /// Sets the session's tensors, if they are exactly those expected.
    ///
    /// # Errors
    /// If they are not: all that are missing, surplus or of another shape are listed.
    pub(super) fn take(
        &mut self,
        path: &Path,
        tensors: Vec<(String, Tensor)>,
        expected: &[(String, Shape)],
    ) -> Result<(), Error> {
        let mut problems = Vec::new();
        for (name, shape) in expected {
            match tensors.iter().find(|(known, _)| known == name) {
                None => problems.push(format!("missing: `{name}` {shape}")),
                Some((_, tensor)) if tensor.shape() != shape => {
                    problems.push(format!("misshapen: `{name}` is {}, the model needs {shape}", tensor.shape()));
                }
                Some(_) => {}
            }
        }
        for (name, tensor) in &tensors {
            if !expected.iter().any(|(known, _)| known == name) {
                problems.push(format!("surplus: `{name}` {}", tensor.shape()));
            }
        }
        if !problems.is_empty() {
            let message = format!("the tensors are not the model's:\n  {}", problems.join("\n  "));
            return Err(Error::file(path, message));
        }
        let built = self.built.as_mut().ok_or_else(not_built)?;
        for (name, tensor) in &tensors {
            built.session.set_state(name, tensor)?;
        }
        Ok(())
    }
}
