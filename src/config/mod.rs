//! The configuration of a run: what a config file or a preset says, with every default that is known at once.

mod architecture;
mod complete;
mod data;
mod hugging_face;
mod keys;
mod kinds;
mod language;
mod lora;
mod parallel;
mod parse;
mod pictures;
mod presets;
mod questions;
mod random;
mod settings;
mod texts;
mod workloads;

pub(crate) use architecture::{Architecture, Mlp};
pub(crate) use data::{LoadedData, load_alone, load_split};
pub(crate) use hugging_face::{hugging_face_weights, is_hugging_face, read_hugging_face};
pub(crate) use keys::nearest;
pub(crate) use kinds::DataKind;
pub(crate) use language::{Text, Trial};
pub(crate) use lora::Lora;
pub(crate) use parse::read;
pub(crate) use pictures::read_picture;
pub(crate) use presets::{PRESETS, preset};
pub(crate) use questions::Rows;
pub(crate) use texts::{text_length, text_row};
pub(crate) use workloads::{WORKLOADS, workload};

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A whole configuration. What is `None` depends on the data and is filled in by [`Config::complete`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Config {
    pub(crate) model: Model,
    pub(crate) data: Data,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) loss: Option<Loss>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lora: Option<Lora>,
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
    /// Low-rank adapters to begin with, in PEFT's format.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) adapter: Option<PathBuf>,
    #[serde(flatten)]
    pub(crate) architecture: Architecture,
}

/// `[data]`. Which keys a kind takes is in `kinds.rs`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Data {
    pub(crate) kind: DataKind,
    /// `csv`, `text-table`, `tokens`, `text`: the file.
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
    /// `pairs`: the languages of source and target, which are extensions of files or names of columns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) languages: Option<[String; 2]>,
    /// `pairs`: what is drawn where there is no file, `dates` or `number-words`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) drawn: Option<String>,
    /// `questions`: what a drawn story tells of one kind, 1 to 4; with more than one it is hard to find out which is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) facts: Option<usize>,
    /// `topics`: documents. `pairs`, `questions`, `random`: what is drawn to be trained on. `topics`, `text-table`: numbers a row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) samples: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dimensions: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) topics: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) words: Option<usize>,
    /// Texts: a `tokenizer.json`; of `text` and `pairs` also `char`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tokenizer: Option<PathBuf>,
    /// `tokens`, `text`, `labelled-text`, `questions`: tokens a row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) context: Option<usize>,
    /// `labelled-text`, `pairs`, `questions`: tokens of a tokeniser that is made of the training texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) vocabulary: Option<usize>,
    /// What becomes of texts that are too long: of `labelled-text` and `questions` `split` or `refuse`, of `pairs` `skip`
    /// or `refuse`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) long: Option<String>,
    /// `tokens`, `text`: from the beginning of a row of training to that of the next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stride: Option<usize>,
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
    /// `images`, `shapes`, `shape-maps`: the side of the pictures in pixels, or height and width.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<Size>,
    /// `images`, `shape-maps`: 1 for grey, 3 for colours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) channels: Option<usize>,
    /// `images`: how other sizes become this one, `crop` or `stretch`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fit: Option<String>,
    /// `images`: whether smaller pictures are scaled up instead of refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) upscale: Option<bool>,
    /// `images`: whether broken files are left out and counted instead of refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) skip_broken: Option<bool>,
    /// Whether each channel is brought to mean 0 and deviation 1, as measured on the training data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) normalise: Option<bool>,
    /// What `normalise` measured, or what to take in its place, on the scale from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mean: Option<Vec<f32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) std: Option<Vec<f32>>,
    /// The deviation of noise that is added to pictures which a model is to clean.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) noise: Option<f32>,
    /// Random changes of training pictures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) augment: Option<Augment>,
    /// The shape of a sample as the model takes it; a run writes it down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sample_shape: Option<Vec<usize>>,
    /// The classes' names, in order of their numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) classes: Option<Vec<String>>,
}

/// The size of pictures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Size {
    Side(usize),
    HeightWidth([usize; 2]),
}

/// `[data.augment]`: what can happen to a training picture each time it is taken; see `nn_data::Augmentation`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Augment {
    pub(crate) rotation: f32,
    pub(crate) zoom: f32,
    pub(crate) crop_padding: usize,
    pub(crate) flip: bool,
    pub(crate) brightness: f32,
    pub(crate) contrast: f32,
    pub(crate) saturation: f32,
    pub(crate) hue: f32,
    pub(crate) erase: f32,
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
    /// Mixes rows of a batch, in shares from Beta(`mixup`, `mixup`); 0 mixes nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mixup: Option<f64>,
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
            mixup: None,
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
