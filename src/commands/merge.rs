//! `wgrad merge`: a model's weights with low-rank adapters added, as a file.

use super::print;
use crate::error::Error;
use nn_train::merge_adapter;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The .safetensors file of the model's weights
    #[arg(value_name = "WEIGHTS")]
    weights: PathBuf,
    /// The adapters: a folder as PEFT saves it, or adapter_model.safetensors in it. The final weights of a run have its
    /// adapters in them already
    #[arg(value_name = "ADAPTER")]
    adapter: PathBuf,
    /// The .safetensors file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// # Errors
/// If a file cannot be read or written, the adapters are of a kind that is not supported, or for other weights.
pub(super) fn run(arguments: &Arguments) -> Result<(), Error> {
    if arguments.out.exists() {
        return Err(Error::usage(format!("{} exists already; name another file by --out", arguments.out.display())));
    }
    merge_adapter(&arguments.weights, &arguments.adapter, &arguments.out)?;
    print(&format!("merged: {}\n", arguments.out.display()))
}
