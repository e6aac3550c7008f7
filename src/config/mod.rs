//! The configuration of a run: what a config file or a preset says, with every default that is known at once.

mod architecture;
mod complete;
mod data;
mod keys;
mod parse;
mod presets;
mod settings;

pub(crate) use architecture::{Architecture, Mlp};
pub(crate) use data::{LoadedData, load_alone, load_split};
pub(crate) use keys::nearest;
pub(crate) use parse::read;
pub(crate) use presets::{PRESETS, preset};

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A whole configuration. What is `None` depends on the data and is filled in by [`Config::complete`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Config {
    pub(crate) model: Model,
    pub(crate) data: Data,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) loss: Option<Loss>,
    #[serde(default)]
    pub(crate) optimizer: Optimizer,
    #[serde(default)]
    pub(crate) train: Train,
    #[serde(default)]
    pub(crate) schedule: Schedule,
    #[serde(default)]
    pub(crate) checkpoint: Checkpoint,
    #[serde(default)]
    pub(crate) output: Output,
}

/// `[model]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Model {
    /// Tensors to begin with; random by the seed if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) weights: Option<PathBuf>,
    #[serde(flatten)]
    pub(crate) architecture: Architecture,
}

/// `[data]`. Which keys a kind takes is in `keys.rs`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Data {
    pub(crate) kind: String,
    /// `csv`, `text-table`: the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<PathBuf>,
    /// `arrays`: the `.npy` file of inputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) inputs: Option<PathBuf>,
    /// `arrays`: the `.npy` file of targets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) targets: Option<PathBuf>,
    /// `csv`: the target's column; by default the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<String>,
    /// `topics`: documents. `topics`, `text-table`: numbers a row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) samples: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dimensions: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) topics: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) words: Option<usize>,
    /// Rows of a step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) batch_size: Option<usize>,
    /// `shuffled` or `sequential`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) order: Option<String>,
    /// The share of rows that is held out and evaluated; 0 evaluates the training rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) validation: Option<f64>,
    /// Decides the held-out rows and generated data, whatever the seed of the training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seed: Option<u64>,
    /// The shape of a sample as the model takes it; a run writes it down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sample_shape: Option<Vec<usize>>,
    /// The classes' names, in order of their numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) classes: Option<Vec<String>>,
}

/// `[loss]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Loss {
    pub(crate) kind: String,
    /// `huber`: where the parabola ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) delta: Option<f32>,
}

/// `[optimizer]`. Which keys a kind takes is in `keys.rs`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Optimizer {
    #[serde(default = "adam")]
    pub(crate) kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lr: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) betas: Option<[f64; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) alpha: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) eps: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) momentum: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nesterov: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) weight_decay: Option<f64>,
    /// `all` or `matrices`.
    #[serde(default = "all")]
    pub(crate) decay: String,
}

/// `[train]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Train {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) steps: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) epochs: Option<u32>,
    pub(crate) seed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) device: Option<String>,
    pub(crate) precision: String,
    /// Steps between two lines in `metrics.jsonl`.
    pub(crate) log_every: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) clip_norm: Option<f64>,
    /// Steps between two evaluations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) eval_every: Option<u32>,
    /// The largest number of batches of an evaluation during training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) eval_batches: Option<usize>,
}

/// `[schedule]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Schedule {
    pub(crate) kind: String,
    /// Steps.
    pub(crate) warmup: u32,
    pub(crate) min_lr: f64,
}

/// `[checkpoint]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Checkpoint {
    /// Steps between two checkpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) every: Option<u32>,
    /// How many of the newest stay.
    pub(crate) keep: usize,
}

/// `[output]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Output {
    /// The run's folder. Not written to the run's own config, so that it can be trained again beside the first run.
    #[serde(skip_serializing)]
    pub(crate) dir: Option<PathBuf>,
    /// What the run is called: `runs/<name>-<n>` where no folder is given.
    pub(crate) name: String,
}

impl Default for Optimizer {
    fn default() -> Optimizer {
        Optimizer {
            kind: adam(),
            lr: None,
            betas: None,
            alpha: None,
            eps: None,
            momentum: None,
            nesterov: None,
            weight_decay: None,
            decay: all(),
        }
    }
}

impl Default for Train {
    fn default() -> Train {
        Train {
            steps: None,
            epochs: None,
            seed: 0,
            device: None,
            precision: "f32".into(),
            log_every: 1,
            clip_norm: None,
            eval_every: None,
            eval_batches: None,
        }
    }
}

impl Default for Schedule {
    fn default() -> Schedule {
        Schedule { kind: "constant".into(), warmup: 0, min_lr: 0.0 }
    }
}

impl Default for Checkpoint {
    fn default() -> Checkpoint {
        Checkpoint { every: None, keep: 3 }
    }
}

fn adam() -> String {
    "adam".into()
}

fn all() -> String {
    "all".into()
}
