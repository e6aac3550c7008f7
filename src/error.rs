//! What the program tells a user who cannot have what was asked for, and the exit status that goes with it.

use std::fmt::Display;
use std::path::Path;
use std::process::ExitCode;

/// An error of the program. Messages say what was wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The command line or a config file is wrong.
    #[error("{0}")]
    Usage(String),
    /// The work failed: data, weights, device, disk.
    #[error("{0}")]
    Run(String),
    /// The user stopped the work.
    #[error("{0}")]
    Interrupted(String),
}

impl Error {
    pub(crate) fn usage(message: impl Into<String>) -> Error {
        Error::Usage(message.into())
    }

    pub(crate) fn run(message: impl Into<String>) -> Error {
        Error::Run(message.into())
    }

    /// A path that cannot be written.
    pub(crate) fn write(path: &Path, error: &dyn Display) -> Error {
        Error::Run(format!("cannot write {}: {error}; check that it may be written and has room", path.display()))
    }

    /// 1: the run failed or was stopped; 2: bad usage or bad config.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Error::Usage(_) => ExitCode::from(2),
            Error::Run(_) | Error::Interrupted(_) => ExitCode::FAILURE,
        }
    }
}

impl From<nn_data::DataError> for Error {
    fn from(error: nn_data::DataError) -> Error {
        Error::Run(error.to_string())
    }
}

impl From<nn_train::Error> for Error {
    fn from(error: nn_train::Error) -> Error {
        match error {
            nn_train::Error::Setting(message) => Error::Usage(message),
            other => Error::Run(other.to_string()),
        }
    }
}
