//! What a run of low-rank adapters leaves besides what every run does.

use super::with_commas;
use crate::config::Config;
use crate::error::Error;
use crate::run_folder::RunFolder;
use nn_train::{AdapterInfo, Trainer};
use std::path::PathBuf;

/// Adapters that are trained.
pub(super) struct Finished {
    /// How many numbers were trained.
    pub(super) parameters: usize,
    /// What they are, in a few words.
    pub(super) description: String,
}

/// Writes the run's adapters to a folder of their own and merges them into the model, if there are any.
///
/// # Errors
/// If a file cannot be written, or the device fails.
pub(super) fn finish(config: &Config, trainer: &mut Trainer, folder: &RunFolder) -> Result<Option<Finished>, Error> {
    let Some(adapters) = trainer.adapters() else { return Ok(None) };
    let declarations = trainer.declarations();
    let trained = declarations.parameters().filter(|parameter| adapters.trains(&parameter.name));
    let parameters = trained.map(|parameter| parameter.shape.elements()).sum();
    let (lora, layers) = (adapters.lora(), adapters.layers().len());
    let description = format!(
        "rank {}, alpha {} in {layers} linear layers, {} parameters trained",
        lora.rank,
        lora.alpha,
        with_commas(parameters as u64)
    );
    // Only the folder's path is cleaned: the file may be a link to where a cache keeps it.
    let folder_of = |weights: &PathBuf| weights.parent().and_then(|folder| folder.canonicalize().ok());
    let base = config.model.weights.as_ref().and_then(folder_of);
    let base = base.as_ref().map(|base| base.to_string_lossy());
    let info = AdapterInfo { task_type: config.model.architecture.model().task_type(), base_model: base.as_deref() };
    trainer.save_adapter(folder.adapter(), info)?;
    trainer.merge()?;
    Ok(Some(Finished { parameters, description }))
}
