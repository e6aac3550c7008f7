//! A trained model from a run's folder, a checkpoint or a folder of Hugging Face's form.

use super::{device_name, open_device};
use crate::config::{Config, hugging_face_weights, is_hugging_face, read_hugging_face};
use crate::error::Error;
use crate::run_folder::RunFolder;
use nn_data::ChatTemplate;
use nn_train::Trainer;
use std::path::{Path, PathBuf};

/// Where a trained model is.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) config: Config,
    weights: PathBuf,
    /// Whether it comes from a folder of Hugging Face's form rather than from a run.
    pub(super) hugging_face: bool,
}

/// Finds config and weights: in a run's folder, a `.safetensors` file with `config.toml` beside or above it, or a folder of
/// Hugging Face's form or such a file in one.
///
/// # Errors
/// If one of them is missing or cannot be read.
pub(super) fn find(path: &Path) -> Result<Found, Error> {
    if path.is_dir() {
        let folder = RunFolder::open(path);
        if !folder.config().is_file() && is_hugging_face(path) {
            return of_hugging_face(path, hugging_face_weights);
        }
        if !folder.config().is_file() {
            return Err(Error::usage(format!(
                "{} holds no run: there is no config.toml in it, nor the config.json of a model from Hugging Face; check the \
                 path",
                path.display()
            )));
        }
        return Ok(Found { config: folder.read_config()?, weights: folder.weights()?, hugging_face: false });
    }
    if !path.is_file() {
        return Err(Error::usage(format!(
            "there is no run's folder or checkpoint {}; check the path, or train first",
            path.display()
        )));
    }
    let full = std::path::absolute(path).map_err(|error| Error::usage(format!("{}: {error}", path.display())))?;
    let beside = full.parent().filter(|folder| is_hugging_face(folder) && !RunFolder::open(folder).config().is_file());
    if let Some(folder) = beside {
        return of_hugging_face(folder, |_| Ok(full.clone()));
    }
    let folder = full.ancestors().skip(1).take(2).map(RunFolder::open).find(|folder| folder.config().is_file());
    let folder = folder.ok_or_else(|| {
        Error::usage(format!("{} has no config.toml beside or above it, so the model is unknown", path.display()))
    })?;
    Ok(Found { config: folder.read_config()?, weights: path.to_path_buf(), hugging_face: false })
}

fn of_hugging_face(folder: &Path, weights: impl Fn(&Path) -> Result<PathBuf, Error>) -> Result<Found, Error> {
    Ok(Found { config: read_hugging_face(folder)?, weights: weights(folder)?, hugging_face: true })
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

    /// The template of conversations: of the folder, or for a run of that whose weights it began with.
    ///
    /// # Errors
    /// If there is none, or it cannot be used.
    pub(super) fn chat_template(&self) -> Result<ChatTemplate, Error> {
        let (model, data) = (&self.config.model, &self.config.data);
        let files = [Some(&self.weights), data.tokenizer.as_ref(), model.weights.as_ref()];
        let mut folders: Vec<&Path> = files.into_iter().flatten().filter_map(|file| file.parent()).collect();
        folders.dedup();
        for folder in &folders {
            if let Some(template) = ChatTemplate::read(folder)? {
                return Ok(template);
            }
        }
        let folder = folders.first().map(|folder| folder.display().to_string()).unwrap_or_default();
        Err(Error::usage(format!(
            "{folder} has no chat template, neither chat_template.jinja nor in tokenizer_config.json, so how the model was \
             trained to converse is unknown; take a model for conversations (often named -Instruct or -Chat), or leave out \
             --chat"
        )))
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
