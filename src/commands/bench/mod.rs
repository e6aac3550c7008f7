//! `wgrad bench`: how fast kernels and training steps are, and how far from what the device can do at best.

mod cases;
mod measure;

use super::{DeviceArgument, device_name, open_device, print, print_json, profile::roof};
use crate::config::{WORKLOADS, nearest, workload};
use crate::error::Error;
use crate::report::{self, Roofline, RooflinePoint, RunReport};
use cases::{Case, cases};
use measure::Measured;
use nn_core::Device;
use nn_core::run::Roof;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Instant;

/// Keys of the JSON document, for the help.
pub(super) const KEYS: &str = "\
Keys of the JSON document:
  device, threads   where; threads of the CPU
  roof              gflops, gb_per_s: what the device can do at best, measured in this run
  results           kernel, shape, dtype, ms, gflops, gb_per_s (bytes read and written at least once), roof_share (the
                    least time by the roof, launch by launch, over that measured; above 1 where caches hold the operands)
                    of training steps also launches, prepare_ms (data, trace, compilation), first_step_ms (from the start
                    of the process: measure one workload alone), planned_bytes, peak_bytes (of the process, on Linux)
  skipped           kernel, shape, reason

With --follow each line of standard input is a name, and answered by a line: kernel, shape and ms, or reason.

Kernels named …_with_gradients run forward and backward. Workloads:
  w2  perceptron 784-512-256-10, batch 128, Adam           w5  ResNet-50, 4 pictures of 3x224x224, SGD with momentum
  w3  small CNN, 64 pictures of 1x28x28, Adam              w6  SmolLM2-135M, 1 x 128 tokens, AdamW
  w4  GPT of width 128, 8 x 128 tokens, AdamW              w7  GPT-2 124M, 4 x 1,024 tokens, AdamW (not on the CPU)";

/// What a software adapter is given: it is for checking, not for speed.
const SOFTWARE_FLOPS: u64 = 300_000_000;
const SOFTWARE_BYTES: u64 = 20_000_000;
const SOFTWARE_WORKLOADS: [&str; 3] = ["w2", "w3", "w4"];

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Only what has one of these in its name, such as `matmul`, `softmax 4096` or `w2`; --list shows all names
    #[arg(value_name = "PART")]
    parts: Vec<String>,
    #[command(flatten)]
    device: DeviceArgument,
    /// List the names and measure nothing
    #[arg(long)]
    list: bool,
    /// Measure each name that standard input gives, line by line, so that another program can measure in between
    #[arg(long, conflicts_with_all = ["parts", "list", "out"])]
    follow: bool,
    /// Also write a report with a roofline picture into this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// What can be measured.
enum Task {
    Kernel(Case),
    Step(&'static str),
}

impl Task {
    fn kernel(&self) -> &'static str {
        match self {
            Task::Kernel(case) => case.kernel,
            Task::Step(_) => "step",
        }
    }

    fn shape(&self) -> &str {
        match self {
            Task::Kernel(case) => &case.shape,
            Task::Step(name) => name,
        }
    }

    fn title(&self) -> String {
        match self {
            Task::Kernel(case) => case.title(),
            Task::Step(name) => format!("step {name}"),
        }
    }

    /// Its time on this device.
    fn measure(&self, device: &Device, start: Instant) -> Result<Measured, Error> {
        match self {
            Task::Kernel(case) => measure::kernel(device, case),
            Task::Step(name) => {
                let config = workload(name).ok_or_else(|| Error::run(format!("internal: no workload {name}")))?;
                measure::training(device, config, start)
            }
        }
    }

    /// Why it is not for this device.
    fn refused(&self, device: &Device) -> Result<Option<String>, Error> {
        let software = device.as_gpu().is_some_and(|gpu| gpu.info().kind == gpu_runtime::AdapterKind::Software);
        let large = Some("too large for a software adapter".to_string());
        match self {
            Task::Step("w7") if device.as_gpu().is_none() => Ok(Some("for GPUs only".into())),
            Task::Step(name) if software && !SOFTWARE_WORKLOADS.contains(name) => Ok(large),
            Task::Kernel(case) if software => {
                let (flops, bytes) = measure::size(case)?;
                Ok(large.filter(|_| flops > SOFTWARE_FLOPS || bytes > SOFTWARE_BYTES))
            }
            _ => Ok(None),
        }
    }
}

/// # Errors
/// If a name stands for nothing, the device does not exist or fails, or the report cannot be written.
pub(super) fn run(arguments: &Arguments, start: Instant) -> Result<(), Error> {
    if arguments.follow {
        return follow(arguments, start);
    }
    let tasks = tasks(&arguments.parts)?;
    if arguments.list {
        return print(&tasks.iter().map(|task| task.title() + "\n").collect::<String>());
    }
    let device = open_device(&device_name(arguments.device.device.as_deref(), None))?;
    if let Some(folder) = &arguments.out
        && folder.join("report.html").exists()
    {
        return Err(Error::usage(format!("{} has a report already; name another folder by --out", folder.display())));
    }
    let failed = |error: nn_core::Error| Error::run(error.to_string());
    let mut known: Option<Roof> = None;
    let mut results: Vec<(Task, Measured)> = Vec::new();
    let mut skipped: Vec<(Task, String)> = Vec::new();
    for task in tasks {
        if let Some(reason) = task.refused(&device)? {
            skipped.push((task, reason));
            continue;
        }
        let measured = task.measure(&device, start);
        // Only now, so that nothing is done from the start of the process to the end of a first step.
        let roof = match known {
            Some(roof) => roof,
            None => *known.insert(device.roof().map_err(failed)?),
        };
        match measured {
            Ok(measured) => {
                if !arguments.json {
                    print(&line(&task, &measured, &roof, results.is_empty().then_some(&device)))?;
                }
                results.push((task, measured));
            }
            Err(Error::Usage(message)) => return Err(Error::Usage(message)),
            Err(error) => skipped.push((task, error.to_string())),
        }
    }
    let roof = match known {
        Some(roof) => roof,
        None => device.roof().map_err(failed)?,
    };
    let report = Report { device, roof, results, skipped };
    if let Some(folder) = &arguments.out {
        std::fs::create_dir_all(folder)
            .map_err(|error| Error::run(format!("cannot make {}: {error}", folder.display())))?;
        report::write(folder, &report.pictured()).map_err(|error| Error::run(error.to_string()))?;
        eprintln!("report: {}", folder.join("report.html").display());
    }
    if arguments.json { print_json(&report.document()) } else { print(&report.end()) }
}

/// Says what this is, then answers each name of standard input by a line of JSON: what `benches/peers` do too.
fn follow(arguments: &Arguments, start: Instant) -> Result<(), Error> {
    let device = open_device(&device_name(arguments.device.device.as_deref(), None))?;
    let threads = nn_core::run::cpu_threads();
    let version = env!("CARGO_PKG_VERSION");
    print(&format!("{}\n", json!({"peer": "wgrad", "version": version, "device": device.name(), "threads": threads})))?;
    for name in std::io::stdin().lines() {
        let name = name.map_err(|error| Error::run(format!("cannot read standard input: {error}")))?;
        let (kernel, shape) = name.split_once(' ').unwrap_or((&name, ""));
        let mut answer = json!({"kernel": kernel, "shape": shape});
        match measured(&name, &device, start) {
            Ok(measured) => answer["ms"] = json!(measured.seconds * 1e3),
            Err(reason) => answer["reason"] = json!(reason),
        }
        print(&format!("{answer}\n"))?;
    }
    Ok(())
}

/// The time of what has this name, or why there is none.
fn measured(name: &str, device: &Device, start: Instant) -> Result<Measured, String> {
    let tasks = tasks(&[]).map_err(|error| error.to_string())?;
    let task = tasks.into_iter().find(|task| task.title() == name);
    let task = task.ok_or("nothing has this name; `wgrad bench --list` shows all names")?;
    match task.refused(device).map_err(|error| error.to_string())? {
        Some(reason) => Err(reason),
        None => task.measure(device, start).map_err(|error| error.to_string()),
    }
}

/// What the parts of names stand for, in order; all of it if there are none.
fn tasks(parts: &[String]) -> Result<Vec<Task>, Error> {
    let steps = WORKLOADS.iter().map(|(name, _)| Task::Step(name));
    let all: Vec<Task> = cases().into_iter().map(Task::Kernel).chain(steps).collect();
    if let Some(unknown) = parts.iter().find(|part| !all.iter().any(|task| task.title().contains(part.as_str()))) {
        let known = all.iter().map(Task::kernel).chain(WORKLOADS.iter().map(|(name, _)| *name));
        let near = nearest(unknown, known).unwrap_or_default();
        return Err(Error::usage(format!(
            "nothing that is measured has {unknown:?} in its name; the nearest is {near:?}; `wgrad bench --list` shows all"
        )));
    }
    let wanted = |task: &Task| parts.is_empty() || parts.iter().any(|part| task.title().contains(part.as_str()));
    Ok(all.into_iter().filter(wanted).collect())
}

/// A line of the table, below its heading if it is the first.
fn line(task: &Task, measured: &Measured, roof: &Roof, first: Option<&Device>) -> String {
    let mut text = String::new();
    if let Some(device) = first {
        let (gflops, bandwidth) = (roof.flops_per_second / 1e9, roof.bytes_per_second / 1e9);
        text += &format!("{}: at best {gflops:.0} GFLOP/s and {bandwidth:.1} GB/s\n\n", device.name());
        text += &format!("{:>10}  {:>8}  {:>8}  {:>5}  kernel\n", "ms", "GFLOP/s", "GB/s", "roof");
    }
    let seconds = measured.seconds;
    text += &format!(
        "{:>10.3}  {:>8.1}  {:>8.1}  {:>4.0}%  {}\n",
        seconds * 1e3,
        measured.flops() as f64 / seconds / 1e9,
        measured.bytes() as f64 / seconds / 1e9,
        measured.roof_share(roof) * 100.0,
        task.title()
    );
    if let Some(step) = &measured.step {
        let peak = step.peak.map(|peak| format!(", {:.0} MB at most resident", peak as f64 / 1e6)).unwrap_or_default();
        text += &format!(
            "{:>43}{} launches; prepared in {:.0} ms; {:.0} MB planned{peak}\n",
            "",
            measured.launches(),
            step.prepared * 1e3,
            step.planned as f64 / 1e6
        );
    }
    text
}

/// All that was found.
struct Report {
    device: Device,
    roof: Roof,
    results: Vec<(Task, Measured)>,
    skipped: Vec<(Task, String)>,
}

impl Report {
    fn document(&self) -> Value {
        let result = |(task, measured): &(Task, Measured)| {
            let mut document = json!({
                "kernel": task.kernel(),
                "shape": task.shape(),
                "dtype": "f32",
                "ms": measured.seconds * 1e3,
                "gflops": measured.flops() as f64 / measured.seconds / 1e9,
                "gb_per_s": measured.bytes() as f64 / measured.seconds / 1e9,
                "roof_share": measured.roof_share(&self.roof),
            });
            if let Some(step) = &measured.step {
                document["launches"] = json!(measured.launches());
                document["prepare_ms"] = json!(step.prepared * 1e3);
                document["first_step_ms"] = json!(step.first * 1e3);
                document["planned_bytes"] = json!(step.planned);
                document["peak_bytes"] = json!(step.peak);
            }
            document
        };
        let skipped =
            |(task, reason): &(Task, String)| json!({"kernel": task.kernel(), "shape": task.shape(), "reason": reason});
        json!({
            "device": self.device.name(),
            "threads": nn_core::run::cpu_threads(),
            "roof": roof(&self.roof),
            "results": self.results.iter().map(result).collect::<Vec<_>>(),
            "skipped": self.skipped.iter().map(skipped).collect::<Vec<_>>(),
        })
    }

    /// What stands below the table.
    fn end(&self) -> String {
        let mut text = String::new();
        for (task, reason) in &self.skipped {
            text += &format!("left out: {}: {reason}\n", task.title());
        }
        text
    }

    /// The same as a page with a picture.
    fn pictured(&self) -> RunReport {
        let point = |(task, measured): &(Task, Measured)| RooflinePoint {
            family: family(task.kernel()),
            flops_per_byte: measured.flops() as f64 / measured.bytes().max(1) as f64,
            flops_per_second: measured.flops() as f64 / measured.seconds,
        };
        let told = |(task, measured): &(Task, Measured)| {
            let seconds = measured.seconds;
            let text = format!(
                "{:.3} ms, {:.1} GFLOP/s, {:.1} GB/s, {:.0} % of the roof",
                seconds * 1e3,
                measured.flops() as f64 / seconds / 1e9,
                measured.bytes() as f64 / seconds / 1e9,
                measured.roof_share(&self.roof) * 100.0
            );
            (task.title(), text)
        };
        let device = self.device.name();
        let roofline = Roofline {
            flops_per_second: self.roof.flops_per_second,
            bytes_per_second: self.roof.bytes_per_second,
            points: self.results.iter().map(point).collect(),
        };
        RunReport {
            title: format!("wgrad bench on {device}"),
            device,
            roofline: Some(roofline),
            summary: self.results.iter().map(told).collect(),
            ..RunReport::default()
        }
    }
}

/// What a kernel is drawn as.
fn family(kernel: &str) -> &'static str {
    let families = ["matmul", "convolution", "attention", "step"];
    families.into_iter().find(|family| kernel.starts_with(family)).unwrap_or("others")
}
