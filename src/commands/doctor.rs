//! `wgrad doctor`: whether a device computes right, as a table to paste into a bug report or as JSON.

use super::{DeviceArgument, device_name, open_device, print, print_json};
use crate::error::Error;
use nn_core::Device;
use nn_train::doctor::{Examined, Outcome, examine};
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};
use std::time::Instant;

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    device: DeviceArgument,
    /// Every sample of every operator, and more fused chains: minutes on a software adapter
    #[arg(long)]
    all: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// # Errors
/// If the device cannot be opened, or computes something wrong.
pub(super) fn run(arguments: &Arguments) -> Result<(), Error> {
    let device = open_device(&device_name(arguments.device.device.as_deref(), None))?;
    let begin = Instant::now();
    let terminal = std::io::stderr().is_terminal();
    let findings = examine(&device, arguments.all, |what, done, total| {
        if terminal {
            eprint!("\r\x1b[K{done}/{total} {what}");
            let _ = std::io::stderr().flush();
        }
    });
    if terminal {
        eprint!("\r\x1b[K");
    }
    let seconds = begin.elapsed().as_secs_f64();
    let failed = findings.iter().filter(|finding| matches!(finding.outcome, Outcome::Fail(_))).count();
    if arguments.json {
        print_json(&document(&device, &findings, seconds))?;
    } else {
        print(&table(&device, &findings, seconds))?;
    }
    if failed > 0 {
        let noun = if failed == 1 { "row" } else { "rows" };
        return Err(Error::run(format!(
            "{} computes wrong: {failed} {noun} above; update the driver, and report it with the table if that does not \
             help; train with --device cpu meanwhile",
            device.name()
        )));
    }
    Ok(())
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "pass",
        Outcome::Fail(_) => "fail",
        Outcome::Unsupported(_) => "unsupported",
    }
}

fn reason(outcome: &Outcome) -> Option<&str> {
    match outcome {
        Outcome::Pass => None,
        Outcome::Fail(why) | Outcome::Unsupported(why) => Some(why),
    }
}

/// Backend and driver of a device.
fn origin(device: &Device) -> (String, String) {
    match device.as_gpu() {
        Some(gpu) => (gpu.info().backend.clone(), gpu.info().driver.clone()),
        None => ("cpu".into(), format!("wgrad {}", env!("CARGO_PKG_VERSION"))),
    }
}

fn table(device: &Device, findings: &[Examined], seconds: f64) -> String {
    let (backend, driver) = origin(device);
    let mut text = format!("wgrad {}: {} ({backend}, {driver})\n", env!("CARGO_PKG_VERSION"), device.name());
    if let Some(gpu) = device.as_gpu() {
        let limits = gpu.limits();
        text += &format!(
            "limits: binding {} MiB, buffer {} MiB, {} storage buffers, workgroup {} KiB and {} invocations\n",
            limits.max_binding_bytes >> 20,
            limits.max_buffer_bytes >> 20,
            limits.max_storage_buffers_per_stage,
            limits.max_workgroup_bytes >> 10,
            limits.max_invocations
        );
        text += &format!("features: {}\n", gpu.info().features.join(", "));
    }
    text += &format!(
        "\n{:<24} {:<5} {:>5}  {:>10} {:>10} {:>6}  status\n",
        "op", "dtype", "cases", "error", "tolerance", "share"
    );
    for finding in findings {
        let Examined { op, dtype, cases, max_error, tolerance, outcome } = finding;
        let share = finding.share();
        let status = word(outcome);
        text +=
            &format!("{op:<24} {dtype:<5} {cases:>5}  {max_error:>10.1e} {tolerance:>10.1e} {share:>6.2}  {status}\n");
    }
    for finding in findings {
        if let Some(why) = reason(&finding.outcome) {
            text += &format!("\n{} {}: {why}\n", finding.op, word(&finding.outcome));
        }
    }
    let count = |wanted: &str| findings.iter().filter(|finding| word(&finding.outcome) == wanted).count();
    let (passed, failed, unsupported) = (count("pass"), count("fail"), count("unsupported"));
    text + &format!("\n{passed} passed, {failed} failed, {unsupported} unsupported in {seconds:.1} s\n")
}

fn document(device: &Device, findings: &[Examined], seconds: f64) -> Value {
    let (backend, driver) = origin(device);
    let row = |finding: &Examined| {
        let mut row = json!({
            "op": finding.op,
            "dtype": finding.dtype,
            "cases": finding.cases,
            "max_error": finding.max_error,
            "tolerance": finding.tolerance,
            "status": word(&finding.outcome),
        });
        if let Some(why) = reason(&finding.outcome) {
            row["reason"] = json!(why);
        }
        row
    };
    let count = |wanted: &str| findings.iter().filter(|finding| word(&finding.outcome) == wanted).count();
    let mut document = json!({"device": device.name(), "backend": backend, "driver": driver});
    if let Some(gpu) = device.as_gpu() {
        document["features"] = json!(gpu.info().features);
        document["limits"] = super::devices::limits(gpu.limits());
    }
    document["ops"] = findings.iter().map(row).collect();
    document["passed"] = json!(count("pass"));
    document["failed"] = json!(count("fail"));
    document["unsupported"] = json!(count("unsupported"));
    document["seconds"] = json!((seconds * 10.0).round() / 10.0);
    document
}
