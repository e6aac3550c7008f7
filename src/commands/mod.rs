//! The command line: its grammar, and one file per sub-command.

mod adapters;
mod answers;
mod bench;
mod chat;
mod devices;
mod doctor;
mod embed;
mod evaluate;
mod explain;
mod generate;
mod judge;
mod log;
mod merge;
mod mistakes;
mod model;
mod origin;
mod pictures;
mod predict;
mod profile;
mod progress;
mod tokenizer;
mod tour;
mod train;
mod translations;
mod write;

use crate::error::Error;
use clap::{Args, Parser, Subcommand};
use nn_core::Device;
use std::io::Write;
use std::time::Instant;

/// Trains neural networks on any GPU that speaks Vulkan, Metal or DX12, and on the CPU where there is none.
#[derive(Parser)]
#[command(name = "wgrad", version, about, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Threads of the CPU, at most 1,024; by default as many as it has cores. Also by the variable RAYON_NUM_THREADS
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

#[derive(Subcommand)]
enum Command {
    /// List the devices, their limits and features, and which one `auto` takes
    Devices(devices::Arguments),
    /// Train a preset or a config file; alone, list the presets
    Train(train::Arguments),
    /// Measure a trained model on its held-out data or on other data
    Eval(evaluate::Arguments),
    /// Print the class or value that a trained model gives an input
    Predict(predict::Arguments),
    /// Go on with a text, or draw pictures, by a trained model
    Generate(generate::Arguments),
    /// Make vectors of texts by a trained encoder, and find those that are near to each other
    Embed(embed::Arguments),
    /// Make a tokeniser of texts
    Tokenizer(tokenizer::Arguments),
    /// Add low-rank adapters to the weights that they are for
    Merge(merge::Arguments),
    /// Show the program of a training step: launches, memory, operations; runs nothing and needs no GPU
    #[command(after_long_help = explain::KEYS)]
    Explain(explain::Arguments),
    /// Measure how fast kernels and training steps are, and how far from what the device can do
    #[command(after_long_help = bench::KEYS)]
    Bench(bench::Arguments),
    /// Show where the time of a training step goes, launch by launch
    #[command(after_long_help = profile::KEYS)]
    Profile(profile::Arguments),
    /// Compare what a device computes, operator by operator, with the CPU in double precision
    Doctor(doctor::Arguments),
    /// Name the operator that first made NaN or infinity in a run that such a loss ended
    Where(origin::Arguments),
}

/// Where to compute.
#[derive(Args)]
struct DeviceArgument {
    /// auto, cpu, gpu, or gpu:<part of an adapter's name>; also by train.device or the variable WGRAD_DEVICE
    #[arg(long, value_name = "D")]
    device: Option<String>,
}

/// Reads the command line and does what it says. clap prints its own errors and ends with status 2.
///
/// # Errors
/// Those of the sub-command.
pub(crate) fn run() -> Result<(), Error> {
    let start = Instant::now();
    let Arguments { command, threads } = Arguments::parse();
    let threads = threads.map_or(0, usize::from);
    nn_core::run::set_cpu_threads(threads).map_err(|error| Error::run(error.to_string()))?;
    match command {
        None => tour::run(),
        Some(Command::Devices(arguments)) => devices::run(&arguments),
        Some(Command::Train(arguments)) => train::run(&arguments),
        Some(Command::Eval(arguments)) => evaluate::run(&arguments),
        Some(Command::Predict(arguments)) => predict::run(&arguments),
        Some(Command::Generate(arguments)) => generate::run(&arguments),
        Some(Command::Embed(arguments)) => embed::run(&arguments),
        Some(Command::Tokenizer(arguments)) => tokenizer::run(&arguments),
        Some(Command::Merge(arguments)) => merge::run(&arguments),
        Some(Command::Explain(arguments)) => explain::run(&arguments),
        Some(Command::Bench(arguments)) => bench::run(&arguments, start),
        Some(Command::Profile(arguments)) => profile::run(&arguments),
        Some(Command::Doctor(arguments)) => doctor::run(&arguments),
        Some(Command::Where(arguments)) => origin::run(&arguments),
    }
}

/// The name of a device, and who gave it: the first of these that is set.
fn device_name(argument: Option<&str>, config: Option<&str>) -> (String, &'static str) {
    let variable = std::env::var("WGRAD_DEVICE").ok().filter(|name| !name.is_empty());
    match (argument, config, variable) {
        (Some(name), _, _) => (name.into(), "--device"),
        (None, Some(name), _) => (name.into(), "train.device"),
        (None, None, Some(name)) => (name, "WGRAD_DEVICE"),
        (None, None, None) => ("auto".into(), "the default"),
    }
}

/// Opens a device by a name from [`device_name`].
///
/// # Errors
/// If the name is unknown, or the device does not exist or cannot be opened.
fn open_device((name, source): &(String, &str)) -> Result<Device, Error> {
    Device::from_name(name).map_err(|error| match error {
        nn_core::Error::Usage(message) => Error::usage(format!("{source}: {message}")),
        other => Error::run(format!("the device {name:?} ({source}) cannot be used: {other}")),
    })
}

/// Prints results to standard output. A reader that has gone, such as `head`, is no fault.
///
/// # Errors
/// If they cannot be written.
fn print(text: &str) -> Result<(), Error> {
    let mut output = std::io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::run(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints one JSON document.
///
/// # Errors
/// As [`print`].
fn print_json(document: &serde_json::Value) -> Result<(), Error> {
    print(&format!("{document:#}\n"))
}

/// A whole number with commas between thousands.
fn with_commas(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_sound_and_numbers_are_grouped() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
        assert_eq!(with_commas(7), "7");
        assert_eq!(with_commas(1_234_567), "1,234,567");
        assert_eq!(with_commas(100_000), "100,000");
    }
}
