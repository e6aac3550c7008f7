//! `wgrad explain`: the program of a training step, without running it.

use super::{open_device, print, print_json, train, with_commas};
use crate::config::{Config, LoadedData};
use crate::error::Error;
use gpu_runtime::{Limits, Memory};
use nn_core::Graph;
use nn_core::graph::Precision;
use nn_core::passes::{ScheduleOptions, lower, schedule};
use nn_core::run::{ExplainedLaunch, ExplainedOperand, ExplainedSlot, Explanation, amount};
use nn_core::schedule::Place;
use nn_core::tensor::TensorType;
use nn_train::Data as _;
use serde_json::{Value, json};

/// What every WebGPU device gives, in words.
const DEFAULT: &str = "WebGPU's default limits";

/// The keys of the JSON document, for the help.
pub(super) const KEYS: &str = "\
Keys of the JSON document (sizes in bytes; everything is of one training step unless said):
  name, model, parameters, rows   the config's name, the model, its trained numbers, rows of a step
  device      \"cpu\", an adapter's name, or null for any device with WebGPU's default limits
  launches    label, kernels, operators (of a fused group), inputs, outputs, traffic, flop, groups (one per dispatch)
              inputs and outputs: place (slot, state, input, constant), name, dtype, shape, strides (of a view),
              offset; outputs also in_place
  slots       bytes, values (how many, by turns), largest (dtype, shape), launch (that writes the largest)
  states, inputs, constants       name, dtype, shape, bytes
  outputs     as those of launches; key: what to ask for
  memory      states, inputs, constants, slots, parameters, step_block; peak: their sum; staging: host memory beside it;
              slots_needed: the most bytes alive at one launch; slots_needed_launch; slots_least: what slots take at
              least as whole buffers; waste: the share of the slots beyond slots_needed
  totals      launches, dispatches, kernels, flop, traffic, flop_per_byte
  fits        limits (whose), fits, error (what does not fit, or null)
  evaluation  rows, launches, dispatches, kernels, flop, traffic, peak
  run         programs (purpose, rows, own: bytes without states), peak: states once and all programs";

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// A preset (`wgrad train` lists them) or a config file
    #[arg(value_name = "PRESET | FILE.toml")]
    target: String,
    /// For this device; without it, for a GPU with the limits that every WebGPU device has
    #[arg(long, value_name = "D")]
    device: Option<String>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Where the program would run.
enum Target {
    Cpu,
    Gpu { name: Option<String>, limits: Limits },
}

/// One program of a run.
struct Part {
    purpose: &'static str,
    rows: usize,
    explanation: Explanation,
    /// Whose limits, and what does not fit them.
    fits: Vec<(String, Option<String>)>,
}

/// All that there is to tell.
struct Report {
    config: Config,
    parameters: u64,
    target: Target,
    /// The training step.
    step: Part,
    /// The other programs of a run: the step for the rows left over, and evaluation; at least one.
    others: Vec<Part>,
}

/// # Errors
/// If the preset or config does not exist or is wrong, its data cannot be read, or the device does not exist.
pub(super) fn run(arguments: &Arguments) -> Result<(), Error> {
    let (mut config, at) = train::named(&arguments.target)?;
    let target = match &arguments.device {
        None => Target::Gpu { name: None, limits: Limits::WEBGPU_DEFAULT },
        Some(name) => match open_device(&(name.clone(), "--device"))?.as_gpu() {
            None => Target::Cpu,
            Some(gpu) => Target::Gpu { name: Some(gpu.info().name.clone()), limits: *gpu.limits() },
        },
    };
    let data = config.complete(&at)?;
    let report = Report::new(config, &data, target)?;
    if arguments.json { print_json(&report.document()) } else { print(&report.text()) }
}

impl Report {
    fn new(config: Config, data: &LoadedData, target: Target) -> Result<Report, Error> {
        let trainer = config.settings()?;
        let (sample, kind) = (config.sample_shape(), data.training.targets().kind());
        let batch = config.batch_size();
        let first = batch.min(data.training.rows());
        let training = trainer.training_graph(&sample, first, kind)?;
        let step = part("training", first, &training.graph, &target)?;
        let mut others = Vec::new();
        for rows in batches(data.training.rows(), batch).into_iter().skip(1) {
            others.push(part("training", rows, &trainer.training_graph(&sample, rows, kind)?.graph, &target)?);
        }
        for rows in batches(data.evaluated().rows(), batch) {
            others.push(part("evaluation", rows, &trainer.evaluation_graph(&sample, rows, kind)?, &target)?);
        }
        Ok(Report { parameters: training.declarations.parameter_count() as u64, config, target, step, others })
    }

    /// The largest evaluation's program.
    fn evaluation(&self) -> Option<&Part> {
        self.others.iter().find(|part| part.purpose == "evaluation")
    }

    /// Bytes of all programs together: they share the states, and evaluation has none that training lacks.
    fn run_peak(&self) -> u64 {
        let own = self.others.iter().map(|part| part.explanation.memory.own()).sum::<u64>();
        self.step.explanation.memory.peak() + own
    }

    fn text(&self) -> String {
        let Part { rows, explanation, fits, .. } = &self.step;
        let place = match &self.target {
            Target::Cpu => "the CPU".to_string(),
            Target::Gpu { name: None, .. } => format!("a GPU with {DEFAULT}"),
            Target::Gpu { name: Some(name), .. } => name.clone(),
        };
        let (name, model) = (&self.config.output.name, self.config.model.architecture.model().describe());
        let parameters = with_commas(self.parameters);
        let mut text = format!(
            "{name}: {model}, {parameters} parameters; a training step of {rows} rows for {place}\n\n{explanation}"
        );
        for (limits, fault) in fits {
            text += &match fault {
                None => format!("fits {limits}\n"),
                Some(fault) => format!("does not fit {limits}: {fault}\n"),
            };
        }
        if let Some(Part { rows, explanation, .. }) = self.evaluation() {
            text += &format!("evaluation of {rows} rows: {}\n", explanation.totals());
        }
        let parts = || std::iter::once(&self.step).chain(&self.others);
        let rows = |purpose| {
            let rows = parts().filter(|part| part.purpose == purpose).map(|part| part.rows.to_string());
            rows.collect::<Vec<_>>().join(" and ")
        };
        text + &format!(
            "a whole run: {} programs over the same states (training {} rows, evaluation {} rows), peak {}\n",
            parts().count(),
            rows("training"),
            rows("evaluation"),
            amount(self.run_peak(), "B")
        )
    }

    fn document(&self) -> Value {
        let Part { rows, explanation, fits, .. } = &self.step;
        let fit = |(limits, fault): &(String, Option<String>)| json!({"limits": limits, "fits": fault.is_none(), "error": fault});
        let program =
            |part: &Part| json!({"purpose": part.purpose, "rows": part.rows, "own": part.explanation.memory.own()});
        let slot = |slot: &ExplainedSlot| {
            let largest = json!({"dtype": slot.largest.dtype.name(), "shape": slot.largest.shape.to_vec()});
            json!({"bytes": slot.bytes, "values": slot.values, "largest": largest, "launch": slot.launch})
        };
        let tensors = |all: &[(String, TensorType)]| all.iter().map(tensor).collect::<Vec<_>>();
        let output = |(key, at): &(String, ExplainedOperand)| {
            let mut document = operand(at);
            document["key"] = json!(key);
            document
        };
        let mut evaluation = self.evaluation().map_or(Value::Null, |part| totals(&part.explanation));
        if let Some(part) = self.evaluation() {
            evaluation["rows"] = json!(part.rows);
            evaluation["peak"] = json!(part.explanation.memory.peak());
        }
        json!({
            "name": self.config.output.name,
            "model": self.config.model.architecture.model().describe(),
            "parameters": self.parameters,
            "rows": rows,
            "device": match &self.target {
                Target::Cpu => Some("cpu"),
                Target::Gpu { name, .. } => name.as_deref(),
            },
            "launches": explanation.launches.iter().map(launch).collect::<Vec<_>>(),
            "slots": explanation.slots.iter().map(slot).collect::<Vec<_>>(),
            "states": tensors(&explanation.states),
            "inputs": tensors(&explanation.inputs),
            "constants": tensors(&explanation.constants),
            "outputs": explanation.outputs.iter().map(output).collect::<Vec<_>>(),
            "memory": memory(explanation),
            "totals": totals(explanation),
            "fits": fits.iter().map(fit).collect::<Vec<_>>(),
            "evaluation": evaluation,
            "run": {
                "programs": std::iter::once(&self.step).chain(&self.others).map(program).collect::<Vec<_>>(),
                "peak": self.run_peak(),
            },
        })
    }
}

/// Rows of the batches that a data set is cut into: a full one, and what is left over.
fn batches(rows: usize, batch: usize) -> Vec<usize> {
    [batch.min(rows), if rows > batch { rows % batch } else { 0 }].into_iter().filter(|&rows| rows > 0).collect()
}

fn part(purpose: &'static str, rows: usize, graph: &Graph, target: &Target) -> Result<Part, Error> {
    let core = |error: nn_core::Error| Error::from(nn_train::Error::from(error));
    let schedule = schedule(graph, ScheduleOptions::default()).map_err(core)?;
    let (program, memory, fits) = match target {
        Target::Cpu => (None, schedule.memory(Precision::F32), Vec::new()),
        Target::Gpu { name, limits } => {
            // What does not fit is shown as it would be without these limits.
            let boundless = Limits { max_binding_bytes: u64::MAX, max_buffer_bytes: u64::MAX, ..*limits };
            let program = lower(&schedule, limits).or_else(|_| lower(&schedule, &boundless)).map_err(core)?;
            let fit = |name: &str, limits: &Limits| {
                let verified = lower(&schedule, limits).and_then(|program| Ok(program.verify(limits)?));
                (name.to_string(), verified.err().map(|error| error.to_string()))
            };
            let mut fits = vec![fit(DEFAULT, &Limits::WEBGPU_DEFAULT)];
            fits.extend(name.as_ref().map(|name| fit(name, limits)));
            let memory = program.memory(limits);
            (Some(program), memory, fits)
        }
    };
    let explanation = Explanation::new(&schedule, program.as_ref(), memory).map_err(core)?;
    Ok(Part { purpose, rows, explanation, fits })
}

fn launch(launch: &ExplainedLaunch) -> Value {
    let output = |at: &ExplainedOperand| {
        let mut document = operand(at);
        document["in_place"] = json!(at.in_place);
        document
    };
    json!({
        "label": launch.label,
        "kernels": launch.kernels,
        "operators": launch.operators,
        "inputs": launch.inputs.iter().map(operand).collect::<Vec<_>>(),
        "outputs": launch.outputs.iter().map(output).collect::<Vec<_>>(),
        "traffic": launch.traffic,
        "flop": launch.flops,
        "groups": launch.groups,
    })
}

fn operand(operand: &ExplainedOperand) -> Value {
    let place = match operand.place {
        Place::Slot(_) => "slot",
        Place::State(_) => "state",
        Place::Input(_) => "input",
        Place::Constant(_) => "constant",
    };
    let kind = &operand.kind;
    let mut document = json!({"place": place, "name": operand.name, "dtype": kind.dtype.name()});
    document["shape"] = json!(kind.shape.to_vec());
    if let Some(strides) = &operand.strides {
        document["strides"] = json!(strides);
    }
    document["offset"] = json!(operand.offset);
    document
}

fn tensor((name, kind): &(String, TensorType)) -> Value {
    json!({"name": name, "dtype": kind.dtype.name(), "shape": kind.shape.to_vec(), "bytes": kind.bytes()})
}

fn memory(explanation: &Explanation) -> Value {
    let Memory { states, inputs, constants, slots, parameters, step_block, staging } = explanation.memory;
    let usage = &explanation.usage;
    json!({
        "states": states,
        "inputs": inputs,
        "constants": constants,
        "slots": slots,
        "parameters": parameters,
        "step_block": step_block,
        "peak": explanation.memory.peak(),
        "staging": staging,
        "slots_needed": usage.needed_bytes,
        "slots_needed_launch": usage.launch,
        "slots_least": usage.least_bytes,
        "waste": usage.waste(),
    })
}

fn totals(explanation: &Explanation) -> Value {
    json!({
        "launches": explanation.launches.len(),
        "dispatches": explanation.dispatches(),
        "kernels": explanation.kernels,
        "flop": explanation.flops(),
        "traffic": explanation.traffic(),
        "flop_per_byte": explanation.intensity(),
    })
}
