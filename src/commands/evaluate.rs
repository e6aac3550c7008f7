//! `wgrad eval`: metrics of a trained model on a data set.

use super::judge::{Extent, Findings};
use super::train::{judge, measures};
use super::{DeviceArgument, model, print, print_json};
use crate::config;
use crate::error::Error;
use serde_json::json;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// A run's folder, or a .safetensors file with config.toml beside or above it
    #[arg(value_name = "RUN | CHECKPOINT")]
    model: PathBuf,
    #[command(flatten)]
    device: DeviceArgument,
    /// Other data than the run's held-out part: a file as the run's own, for models of pictures a folder with a
    /// sub-folder for each class, or inputs.npy targets.npy
    #[arg(long, value_name = "PATH", num_args = 1..=2)]
    data: Vec<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// # Errors
/// If model, data or device cannot be used.
pub(super) fn run(arguments: &Arguments) -> Result<(), Error> {
    let mut found = model::find(&arguments.model)?;
    if found.hugging_face && arguments.data.is_empty() {
        return Err(Error::usage("the folder says nothing of the data that was held out; give some with --data"));
    }
    let (loaded, name) = if arguments.data.is_empty() {
        let at = arguments.model.display().to_string();
        let loaded = found.config.complete(&at)?;
        let name = loaded.tested_name();
        (loaded, name)
    } else {
        (config::load_alone(&found.config, &arguments.data)?, "given data")
    };
    loaded.text.iter().flat_map(|text| &text.notes).for_each(|note| eprintln!("{note}"));
    let mut trainer = found.load(arguments.device.device.as_deref())?;
    let evaluation = trainer.evaluate(loaded.tested())?;
    let findings = match judge(&found.config, loaded.text.as_ref().map(|text| (text, &text.tested)))? {
        Some((mut judge, trial)) => judge.try_out(&mut trainer, &trial, Extent::All)?,
        None => Findings::default(),
    };
    if arguments.json {
        let classes: Option<Vec<String>> = evaluation
            .confusion
            .as_ref()
            .map(|counts| (0..counts.len()).map(|class| found.config.class_name(class)).collect());
        let mut document = json!({
            "data": name,
            "rows": evaluation.rows,
            "loss": evaluation.loss,
            "accuracy": evaluation.accuracy,
            "mean_iou": evaluation.mean_iou,
            "mean_absolute_error": evaluation.mean_absolute_error,
            "classes": classes,
            "confusion": evaluation.confusion,
            "device": trainer.device_name(),
        });
        findings.measures.iter().for_each(|measure| document[measure.key] = json!(measure.value));
        return print_json(&document);
    }
    let mut text = format!("{name} ({} rows)\n", evaluation.rows);
    for (name, value) in measures(&evaluation, &findings) {
        text += &format!("  {:<20} {value}\n", name.to_lowercase());
    }
    print(&text)
}
