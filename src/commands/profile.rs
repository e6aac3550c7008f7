//! `wgrad profile`: where the time of a training step goes, launch by launch.

use super::{DeviceArgument, device_name, open_device, print, print_json, train};
use crate::error::Error;
use nn_core::run::{Profile, Roof, amount};
use nn_core::schedule::{Launch, Schedule, Work};
use nn_train::train::{Observer, StepReport};
use serde_json::{Value, json};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

/// Keys of the JSON document, for the help.
pub(super) const KEYS: &str = "\
Keys of the JSON document (times in ms, medians over the steps):
  device, clock   where, and what measured: \"host\" around each launch, or \"device\" (a GPU's own timestamps)
  roof            gflops, gb_per_s: what the device can do at best, measured before
  steps           how many were measured
  step_ms         a whole step with timing; launches_ms: the sum of its launches; roof_ms: their least time by the roof
  launches        label, kernel, ms, share (of launches_ms), bytes, flop, gb_per_s, gflops, roof_share
A kernel whose operands stay in caches may exceed the roof of memory: its roof_share is then above 1.";

/// Steps whose times do not count: memory is touched for the first time, processors speed up.
const WARM_UP: usize = 3;
/// Launches in the table, the longest.
const SHOWN: usize = 30;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// A preset (`wgrad train` lists them), a workload of `wgrad bench` (w2 to w7), or a config file
    #[arg(value_name = "PRESET | FILE.toml")]
    target: String,
    #[command(flatten)]
    device: DeviceArgument,
    /// How many steps to measure
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    /// Show all launches, in the order they run
    #[arg(long)]
    all: bool,
    /// Write the last step as a trace that ui.perfetto.dev and chrome://tracing open
    #[arg(long, value_name = "FILE.json")]
    trace: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// What one launch is and how long it took.
struct Row {
    label: String,
    kernel: String,
    seconds: f64,
    bytes: u64,
    flops: u64,
}

/// All that there is to tell.
struct Report {
    name: String,
    device: String,
    clock: &'static str,
    roof: Roof,
    steps: usize,
    step: f64,
    rows: Vec<Row>,
}

/// Takes the time between steps, and when the first was done.
#[derive(Default)]
pub(super) struct Clock {
    pub(super) first: Option<Instant>,
    last: Option<Instant>,
    pub(super) steps: Vec<f64>,
}

impl Observer for Clock {
    fn on_step(&mut self, _: &StepReport) -> ControlFlow<()> {
        let now = Instant::now();
        self.first.get_or_insert(now);
        if let Some(last) = self.last.replace(now) {
            self.steps.push(now.duration_since(last).as_secs_f64());
        }
        ControlFlow::Continue(())
    }
}

/// # Errors
/// If the preset or config does not exist or is wrong, its data cannot be read, the device fails, or the trace cannot be
/// written.
pub(super) fn run(arguments: &Arguments) -> Result<(), Error> {
    let (mut config, at) = train::named(&arguments.target)?;
    let name = device_name(arguments.device.device.as_deref(), config.train.device.as_deref());
    let device = open_device(&name)?;
    if arguments.trace.as_ref().is_some_and(|path| path.exists()) {
        return Err(Error::usage("the file of the trace is there already; name another one by --trace"));
    }
    config.train.epochs = None;
    config.train.steps = Some(arguments.steps + WARM_UP as u32);
    let data = config.complete(&at)?;
    let mut trainer = config.trainer(device.clone())?.loader_threads(0);
    config.load_beginning(&mut trainer)?;
    trainer.prepare(&data.training)?;
    if let Some(session) = trainer.session_mut() {
        session.set_profile(true);
    }
    let mut clock = Clock::default();
    trainer.fit(&data.training, None, &mut clock)?;
    let profiles = trainer.session_mut().map(nn_core::Session::take_profile).unwrap_or_default();
    // Rows left over at the end of an epoch have a program of their own.
    let longest = profiles.into_iter().max_by_key(|profile| profile.runs.len());
    let Some(mut profile) = longest else { return Err(Error::run("internal: no step was measured")) };
    if profile.runs.len() > WARM_UP {
        profile.runs.drain(..WARM_UP);
    }
    let report = Report::new(config.output.name, &device, &profile, &clock)?;
    if let Some(path) = &arguments.trace {
        let text = report.trace(&profile).to_string();
        let failed = |error| Error::run(format!("{} cannot be written: {error}", path.display()));
        std::fs::write(path, text).map_err(failed)?;
    }
    if arguments.json { print_json(&report.document()) } else { print(&report.text(arguments.all)) }
}

/// What a launch computes, in a word or two.
fn kernel(schedule: &Schedule, launch: &Launch) -> String {
    match &launch.work {
        Work::Kernel(id) => schedule.graph.node(*id).op().map_or("?", |op| op.name()).to_string(),
        Work::Fused(fused) if fused.instructions.len() == 1 => {
            let op = schedule.graph.node(fused.instructions[0].node).op();
            op.map_or("?", |op| op.name()).to_string()
        }
        Work::Fused(fused) => format!("{} fused", fused.instructions.len()),
    }
}

impl Report {
    fn new(name: String, device: &nn_core::Device, profile: &Profile, clock: &Clock) -> Result<Report, Error> {
        let schedule = &profile.schedule;
        let medians = profile.medians();
        let rows = schedule.launches.iter().zip(medians).map(|(launch, seconds)| Row {
            label: launch.label.clone(),
            kernel: kernel(schedule, launch),
            seconds,
            bytes: schedule.traffic(launch),
            flops: schedule.flops(launch),
        });
        let mut steps: Vec<f64> = clock.steps.iter().skip(WARM_UP).copied().collect();
        steps.sort_by(f64::total_cmp);
        Ok(Report {
            name,
            device: device.name(),
            clock: profile_clock(device),
            roof: device.roof().map_err(|error| Error::run(error.to_string()))?,
            steps: profile.runs.len(),
            step: steps.get(steps.len() / 2).copied().unwrap_or(0.0),
            rows: rows.collect(),
        })
    }

    fn sum(&self) -> f64 {
        self.rows.iter().map(|row| row.seconds).sum()
    }

    fn least(&self) -> f64 {
        self.rows.iter().map(|row| self.roof.seconds(row.flops, row.bytes)).sum()
    }

    fn document(&self) -> Value {
        let sum = self.sum();
        let launch = |row: &Row| {
            json!({
                "label": row.label,
                "kernel": row.kernel,
                "ms": row.seconds * 1e3,
                "share": row.seconds / sum,
                "bytes": row.bytes,
                "flop": row.flops,
                "gb_per_s": row.bytes as f64 / row.seconds / 1e9,
                "gflops": row.flops as f64 / row.seconds / 1e9,
                "roof_share": self.roof.seconds(row.flops, row.bytes) / row.seconds,
            })
        };
        json!({
            "name": self.name,
            "device": self.device,
            "clock": self.clock,
            "roof": roof(&self.roof),
            "steps": self.steps,
            "step_ms": self.step * 1e3,
            "launches_ms": sum * 1e3,
            "roof_ms": self.least() * 1e3,
            "launches": self.rows.iter().map(launch).collect::<Vec<_>>(),
        })
    }

    fn text(&self, all: bool) -> String {
        let sum = self.sum();
        let mut text = format!(
            "{} on {}: {} steps, times are medians\nroof: {:.0} GFLOP/s, {:.1} GB/s\n\n",
            self.name,
            self.device,
            self.steps,
            self.roof.flops_per_second / 1e9,
            self.roof.bytes_per_second / 1e9
        );
        // By what they compute.
        let mut kinds: Vec<(String, f64, usize)> = Vec::new();
        for row in &self.rows {
            let kind = if row.kernel.ends_with(" fused") { "fused" } else { &row.kernel };
            match kinds.iter_mut().find(|(known, ..)| known == kind) {
                Some((_, seconds, count)) => (*seconds, *count) = (*seconds + row.seconds, *count + 1),
                None => kinds.push((kind.to_string(), row.seconds, 1)),
            }
        }
        kinds.sort_by(|a, b| b.1.total_cmp(&a.1));
        text += &format!("{:>10}  {:>6}  {:>8}  kernel\n", "ms", "share", "launches");
        for (kind, seconds, count) in &kinds {
            let (ms, share) = (seconds * 1e3, seconds / sum * 100.0);
            text += &format!("{ms:>10.3}  {share:>5.1}%  {count:>8}  {kind}\n");
        }
        text += &format!(
            "\n{:>10}  {:>6}  {:>9}  {:>9}  {:>8}  {:>8}  {:>5}  launch\n",
            "ms", "share", "bytes", "FLOP", "GB/s", "GFLOP/s", "roof"
        );
        let mut order: Vec<&Row> = self.rows.iter().collect();
        if !all {
            order.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
            order.truncate(SHOWN);
        }
        for row in &order {
            text += &format!(
                "{:>10.3}  {:>5.1}%  {:>9}  {:>9}  {:>8.1}  {:>8.1}  {:>4.0}%  {} ({})\n",
                row.seconds * 1e3,
                row.seconds / sum * 100.0,
                amount(row.bytes, "B"),
                amount(row.flops, ""),
                row.bytes as f64 / row.seconds / 1e9,
                row.flops as f64 / row.seconds / 1e9,
                self.roof.seconds(row.flops, row.bytes) / row.seconds * 100.0,
                row.label,
                row.kernel
            );
        }
        let hidden = self.rows.len() - order.len();
        if hidden > 0 {
            let rest = sum - order.iter().map(|row| row.seconds).sum::<f64>();
            text +=
                &format!("{:>10.3}  {:>5.1}%  in {hidden} more; --all shows them\n", rest * 1e3, rest / sum * 100.0);
        }
        text += &format!(
            "\na step {:.3} ms, its {} launches {:.3} ms, by the roof at least {:.3} ms\n",
            self.step * 1e3,
            self.rows.len(),
            sum * 1e3,
            self.least() * 1e3
        );
        text
    }

    /// The last step in the format of Chrome's trace events, which Perfetto reads.
    fn trace(&self, profile: &Profile) -> Value {
        let last = profile.runs.last().map(Vec::as_slice).unwrap_or_default();
        let zero = last.first().map_or(0.0, |span| span.start);
        let event = |(row, span): (&Row, &std::ops::Range<f64>)| {
            let seconds = span.end - span.start;
            json!({
                "name": row.label,
                "cat": row.kernel,
                "ph": "X",
                "pid": 1,
                "tid": 1,
                "ts": (span.start - zero) * 1e6,
                "dur": seconds * 1e6,
                "args": {
                    "kernel": row.kernel,
                    "bytes": row.bytes,
                    "flop": row.flops,
                    "gb_per_s": row.bytes as f64 / seconds / 1e9,
                    "gflops": row.flops as f64 / seconds / 1e9,
                },
            })
        };
        let name =
            |what: &str, name: &str| json!({"name": what, "ph": "M", "pid": 1, "tid": 1, "args": {"name": name}});
        let mut events = vec![name("process_name", &format!("wgrad {}", self.name)), name("thread_name", &self.device)];
        events.extend(self.rows.iter().zip(last).map(event));
        json!({"displayTimeUnit": "ns", "traceEvents": events})
    }
}

/// What measured the launches.
fn profile_clock(device: &nn_core::Device) -> &'static str {
    match device.as_gpu().map(gpu_runtime::Device::clock) {
        Some(gpu_runtime::Clock::Device) => "device",
        _ => "host",
    }
}

/// The roof as other documents have it.
pub(super) fn roof(roof: &Roof) -> Value {
    json!({"gflops": roof.flops_per_second / 1e9, "gb_per_s": roof.bytes_per_second / 1e9})
}
