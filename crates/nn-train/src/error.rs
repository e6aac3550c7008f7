//! What can go wrong while a model is described, trained, saved or loaded.

use std::path::PathBuf;

/// Every error of this crate. Messages say what was wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A fault while tracing, compiling or running.
    #[error(transparent)]
    Core(#[from] nn_core::Error),
    /// Settings that cannot be trained with.
    #[error("{0}")]
    Setting(String),
    /// Data that cannot be trained on.
    #[error("{0}")]
    Data(String),
    /// The loss became NaN or infinite.
    #[error(
        "the loss became {loss} at step {step} (epoch {epoch}); lower the learning rate, clip gradients (clip_norm), or \
         check the data. To see where it began, run the same again with check(Some(Check::Finite)) and \
         check_from_step({}): the run repeats bit for bit", .step.saturating_sub(1).max(1)
    )]
    NonFinite {
        /// The step whose batch gave the loss.
        step: u32,
        /// Its epoch, from 1.
        epoch: u32,
        /// The loss.
        loss: f32,
    },
    /// A file that cannot be read, written or understood.
    #[error("{}: {message}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was wrong with it and what to do.
        message: String,
    },
}

impl Error {
    pub(crate) fn file(path: impl Into<PathBuf>, message: impl Into<String>) -> Error {
        Error::File { path: path.into(), message: message.into() }
    }
}
