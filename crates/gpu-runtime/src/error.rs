//! The one error type of this crate.

/// What can go wrong between a program and the GPU. Each message says what was wrong, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No adapter fits the choice.
    #[error(
        "no GPU adapter for {wanted}; available: {available}; install a Vulkan, Metal or DX12 driver, \
         name one of the available adapters, or use the CPU"
    )]
    NoAdapter {
        /// What was asked for.
        wanted: String,
        /// The names of the adapters that exist, or "none".
        available: String,
    },
    /// The driver refused to open the adapter.
    #[error("could not open GPU \"{adapter}\": {message}; update its driver or choose another device")]
    OpenFailed {
        /// The adapter's name.
        adapter: String,
        /// The driver's words.
        message: String,
    },
    /// A buffer is larger than this device allows.
    #[error("buffer \"{label}\" needs {bytes} bytes, more than {limit} ({what}) on this device; {remedy}")]
    TooLarge {
        /// The buffer's label.
        label: String,
        /// Its size in bytes.
        bytes: u64,
        /// The limit in bytes.
        limit: u64,
        /// Which limit.
        what: &'static str,
        /// What to do, with the largest buffers if a whole program was checked.
        remedy: String,
    },
    /// The bytes of all buffers together pass the memory budget.
    #[error(
        "{what} needs {bytes} bytes of GPU memory in all, over the budget of {budget} bytes \
         (WGRAD_MEMORY_BUDGET); {remedy}"
    )]
    OverBudget {
        /// The program or the buffer that passed it.
        what: String,
        /// The bytes that would be alive.
        bytes: u64,
        /// The budget in bytes.
        budget: u64,
        /// What to do, with the largest buffers if a whole program was checked.
        remedy: String,
    },
    /// The GPU has no memory left.
    #[error("out of GPU memory {context}: {message}; use a smaller batch or model")]
    OutOfMemory {
        /// What was being made.
        context: String,
        /// The driver's words.
        message: String,
    },
    /// A launch asks more than this device can do.
    #[error("launch \"{launch}\" needs {needed} {what}, this device allows {limit}; {remedy}")]
    LaunchLimit {
        /// The launch's label.
        launch: String,
        /// Which limit.
        what: &'static str,
        /// What the launch needs.
        needed: u64,
        /// What the device allows.
        limit: u64,
        /// What to do.
        remedy: &'static str,
    },
    /// The caller passed bytes of the wrong length.
    #[error("{what} \"{name}\" takes {expected} bytes, but was given {given}; pass the whole tensor")]
    WrongLength {
        /// "input", "buffer" or "state".
        what: &'static str,
        /// Its name.
        name: String,
        /// Bytes expected.
        expected: u64,
        /// Bytes given.
        given: u64,
    },
    /// A name that the program does not have, or lacks.
    #[error("no {what} is named \"{name}\"; there are: {known}")]
    UnknownName {
        /// "input", "output", "state" or "kernel".
        what: &'static str,
        /// The name that was asked for.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// The GPU stopped answering; every object made on it is gone.
    #[error("the GPU was lost ({message}); open the device again and resume from the last checkpoint")]
    Lost {
        /// The driver's words.
        message: String,
    },
    /// The driver or wgpu reported an error while the program was running.
    #[error("the GPU reported an error {context}: {message}; open the device again, and report this if it returns")]
    Device {
        /// What was being done.
        context: String,
        /// wgpu's words.
        message: String,
    },
    /// An environment variable holds something that cannot be used.
    #[error("{variable}=\"{value}\" is not {wanted}; correct the variable or unset it")]
    BadSetting {
        /// The variable's name.
        variable: &'static str,
        /// What it holds.
        value: String,
        /// What it should hold.
        wanted: &'static str,
    },
    /// A fault of this project: a program, kernel or plan that is not well formed.
    #[error("internal: {0}; please report this")]
    Internal(String),
}

impl Error {
    /// A fault of this project, told as it is.
    pub fn internal(message: impl Into<String>) -> Error {
        Error::Internal(message.into())
    }
}

/// "a, b, c", or "none".
pub(crate) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    if names.is_empty() { "none".to_string() } else { names.join(", ") }
}
