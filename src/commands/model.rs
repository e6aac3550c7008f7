//! A trained model from a run's folder or a checkpoint, for `eval` and `predict`.

use super::{device_name, open_device};
use crate::config::Config;
use crate::error::Error;
use crate::run_folder::RunFolder;
use nn_train::Trainer;
use std::path::{Path, PathBuf};

/// Where a trained model is.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) config: Config,
    weights: PathBuf,
}

/// Finds config and weights: in a run's folder, or a `.safetensors` file with `config.toml` beside or above it.
///
/// # Errors
/// If one of them is missing or cannot be read.
pub(super) fn find(path: &Path) -> Result<Found, Error> {
    if path.is_dir() {
        let folder = RunFolder::open(path);
        return Ok(Found { config: folder.read_config()?, weights: folder.weights()? });
    }
    if !path.is_file() {
        return Err(Error::usage(format!(
            "there is no run's folder or checkpoint {}; check the path, or train first",
            path.display()
        )));
    }
    let full = std::path::absolute(path).map_err(|error| Error::usage(format!("{}: {error}", path.display())))?;
    let folder = full.ancestors().skip(1).take(2).map(RunFolder::open).find(|folder| folder.config().is_file());
    let folder = folder.ok_or_else(|| {
        Error::usage(format!("{} has no config.toml beside or above it, so the model is unknown", path.display()))
    })?;
    Ok(Found { config: folder.read_config()?, weights: path.to_path_buf() })
}

impl Found {
    /// The model without its head: it gives a vector for each text.
    ///
    /// # Errors
    /// If it is none that does.
    pub(super) fn embedding(mut self) -> Result<Found, Error> {
        let architecture = &self.config.model.architecture;
        let embedding = architecture.embedding().ok_or_else(|| {
            Error::usage(format!(
                "the model, {}, makes no vectors of texts; bert and distilbert do",
                architecture.model().describe()
            ))
        })?;
        self.config.model.architecture = embedding;
        Ok(self)
    }

    /// The trainer with the model's weights. The run's own device is asked for last: that of this call matters more.
    ///
    /// # Errors
    /// If the weights don't fit, or the device cannot be used.
    pub(super) fn load(&self, device: Option<&str>) -> Result<Trainer, Error> {
        let mut name = device_name(device, None);
        if let (Some(own), "the default") = (&self.config.train.device, name.1) {
            name = (own.clone(), "train.device");
        }
        let mut trainer = self.config.trainer(open_device(&name)?)?;
        trainer.load(&self.weights)?;
        // The final weights of a run have its adapters in them, those of its checkpoints have them apart.
        trainer.merge()?;
        Ok(trainer)
    }
}
