//! What can go wrong between a traced function and its results.

use crate::finding::Finding;
use std::panic::Location;

/// Every error of this crate. Messages say what was wrong, where, and what to do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// A call on a traced value whose shapes or types don't fit.
    #[error("{op}: {message} (in `{scope}`, at {location})")]
    Trace {
        /// The operator.
        op: String,
        /// What was wrong, with the shapes.
        message: String,
        /// The path of scopes, such as `blocks.3.attention`.
        scope: String,
        /// The user's line.
        location: &'static Location<'static>,
    },
    /// A request that cannot be met: unknown names, wrong sizes, missing state.
    #[error("{0}")]
    Usage(String),
    /// A fault of the device, its driver or its limits.
    #[error(transparent)]
    Gpu(#[from] gpu_runtime::Error),
    /// What a check found in a run, see [`crate::Check`].
    #[error("check: {0}")]
    Check(Box<Finding>),
    /// A fault of ours.
    #[error("internal: {0} (please report this)")]
    Internal(String),
}

impl Error {
    /// Whether a program was refused because it does not fit the device, before anything ran.
    pub fn is_limit(&self) -> bool {
        use gpu_runtime::Error::{LaunchLimit, OverBudget, TooLarge};
        matches!(self, Error::Gpu(LaunchLimit { .. } | OverBudget { .. } | TooLarge { .. }))
    }
}
