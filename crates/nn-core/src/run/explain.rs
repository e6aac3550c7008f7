//! A program in facts that a person or a tool can read: its launches, its memory, its sums.

mod text;

use crate::Error;
use crate::graph::OpKind;
use crate::schedule::{Launch, Operand, Place, Schedule, SlotUsage, Work};
use crate::tensor::TensorType;
use gpu_runtime::{Memory, Program};

pub use text::amount;

/// What a program does and takes. Its text (`to_string`) is a table for a terminal of 120 columns.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The launches in order.
    pub launches: Vec<ExplainedLaunch>,
    /// Working memory.
    pub slots: Vec<ExplainedSlot>,
    /// Tensors that the session keeps, by name.
    pub states: Vec<(String, TensorType)>,
    /// Tensors handed in at each run, by name.
    pub inputs: Vec<(String, TensorType)>,
    /// Fixed tensors, by the label of their node.
    pub constants: Vec<(String, TensorType)>,
    /// Values that can be read after a run, by name.
    pub outputs: Vec<(String, ExplainedOperand)>,
    /// How many different kernels the dispatches run; 0 on the CPU, which compiles none.
    pub kernels: usize,
    /// Bytes by purpose.
    pub memory: Memory,
    /// How well the slots are used.
    pub usage: SlotUsage,
}

/// One launch of the schedule.
#[derive(Clone, Debug)]
pub struct ExplainedLaunch {
    /// `scope/op#node`.
    pub label: String,
    /// The kernels of its dispatches; on the CPU the operator's name, or `fused`.
    pub kernels: Vec<String>,
    /// The operators of a fused group, in order; empty for a single kernel.
    pub operators: Vec<&'static str>,
    /// What it reads.
    pub inputs: Vec<ExplainedOperand>,
    /// What it writes.
    pub outputs: Vec<ExplainedOperand>,
    /// Bytes that it reads and writes at least: each distinct element once.
    pub traffic: u64,
    /// Floating-point operations.
    pub flops: u64,
    /// For each dispatch on a GPU the workgroups in x, y and z; empty on the CPU.
    pub groups: Vec<[u32; 3]>,
}

/// A tensor that a launch reads or writes.
#[derive(Clone, Debug)]
pub struct ExplainedOperand {
    /// Its buffer.
    pub place: Place,
    /// The buffer's name: that of a state or input, `slot 3`, or a constant's label.
    pub name: String,
    /// Element type and shape.
    pub kind: TensorType,
    /// Strides in elements, where the tensor is a view.
    pub strides: Option<Vec<usize>>,
    /// The element of the buffer at which it begins.
    pub offset: usize,
    /// Whether it is written over something that the same launch reads.
    pub in_place: bool,
}

/// One slot.
#[derive(Clone, Debug)]
pub struct ExplainedSlot {
    /// Its size in single precision.
    pub bytes: usize,
    /// How many values live in it by turns.
    pub values: usize,
    /// Its largest value.
    pub largest: TensorType,
    /// The launch that writes the largest value first.
    pub launch: usize,
}

impl Explanation {
    /// Explains a schedule, with the kernels and grids of `program`, which was lowered from it, if it is for a GPU.
    ///
    /// # Errors
    /// A fault of ours: the program's launches are not those of the schedule.
    pub fn new(schedule: &Schedule, program: Option<&Program>, memory: Memory) -> Result<Explanation, Error> {
        let mut launches = Vec::with_capacity(schedule.launches.len());
        let mut dispatches = program.map(|program| program.launches.iter().peekable());
        for launch in &schedule.launches {
            let (mut kernels, mut groups) = (Vec::new(), Vec::new());
            if let (Some(program), Some(dispatches)) = (program, &mut dispatches) {
                while let Some(dispatch) = dispatches.next_if(|dispatch| dispatch.label == launch.label) {
                    groups.push(dispatch.groups);
                    kernels.extend(program.kernels.get(dispatch.kernel).map(|kernel| kernel.name.to_string()));
                }
            } else {
                kernels.push(work_name(schedule, launch).to_string());
            }
            launches.push(explain_launch(schedule, launch, kernels, groups));
        }
        if let Some(stray) = dispatches.and_then(|mut dispatches| dispatches.next()) {
            return Err(Error::Internal(format!("{} is launched by no launch of the schedule", stray.label)));
        }
        let largest = |(slot, tenants): (usize, &Vec<crate::schedule::Tenant>)| {
            // The first of several that are equally large.
            let largest = tenants.iter().rev().max_by_key(|tenant| tenant.kind.bytes());
            let missing = || Error::Internal(format!("slot {slot} holds no value"));
            let largest = largest.ok_or_else(missing)?;
            let bytes = schedule.slots[slot].bytes(crate::graph::Precision::F32);
            let (values, kind) = (tenants.len(), largest.kind.clone());
            Ok(ExplainedSlot { bytes, values, largest: kind, launch: largest.written })
        };
        let constant =
            |&id: &crate::graph::NodeId| (schedule.graph.label(id), schedule.graph.node(id).outputs[0].clone());
        Ok(Explanation {
            launches,
            slots: schedule.tenants().iter().enumerate().map(largest).collect::<Result<_, Error>>()?,
            states: schedule.states.clone(),
            inputs: schedule.inputs.clone(),
            constants: schedule.constants.iter().map(constant).collect(),
            outputs: schedule.outputs.iter().map(|(name, at)| (name.clone(), operand(schedule, at, false))).collect(),
            kernels: program.map_or(0, |program| program.kernels.len()),
            memory,
            usage: schedule.slot_usage(),
        })
    }

    /// Floating-point operations of one run.
    pub fn flops(&self) -> u64 {
        self.launches.iter().map(|launch| launch.flops).sum()
    }

    /// Bytes that one run reads and writes at least.
    pub fn traffic(&self) -> u64 {
        self.launches.iter().map(|launch| launch.traffic).sum()
    }

    /// Floating-point operations for each byte of traffic: a device whose peak rates have a higher ratio waits for
    /// its memory.
    pub fn intensity(&self) -> f64 {
        self.flops() as f64 / self.traffic().max(1) as f64
    }

    /// How many dispatches a run takes on a GPU; 0 on the CPU.
    pub fn dispatches(&self) -> usize {
        self.launches.iter().map(|launch| launch.groups.len()).sum()
    }
}

fn explain_launch(
    schedule: &Schedule,
    launch: &Launch,
    kernels: Vec<String>,
    groups: Vec<[u32; 3]>,
) -> ExplainedLaunch {
    let operators = match &launch.work {
        Work::Kernel(_) => Vec::new(),
        Work::Fused(fused) => {
            let nodes = fused.instructions.iter().map(|instruction| schedule.graph.node(instruction.node));
            nodes.filter_map(|node| node.op().map(|op| op.name())).collect()
        }
    };
    let over = |output: &Operand| launch.inputs.iter().any(|input| input.place == output.place);
    ExplainedLaunch {
        label: launch.label.clone(),
        kernels,
        operators,
        inputs: launch.inputs.iter().map(|input| operand(schedule, input, false)).collect(),
        outputs: launch.outputs.iter().map(|output| operand(schedule, output, over(output))).collect(),
        traffic: schedule.traffic(launch),
        flops: schedule.flops(launch),
        groups,
    }
}

fn work_name(schedule: &Schedule, launch: &Launch) -> &'static str {
    match &launch.work {
        Work::Kernel(node) => match (schedule.graph.node(*node).op_kind(), schedule.graph.node(*node).op()) {
            (Some(OpKind::Kernel(_)), Some(op)) => op.name(),
            _ => "?",
        },
        Work::Fused(_) => "fused",
    }
}

fn operand(schedule: &Schedule, operand: &Operand, in_place: bool) -> ExplainedOperand {
    let name = match operand.place {
        Place::Slot(number) => format!("slot {number}"),
        Place::State(number) => schedule.states[number].0.clone(),
        Place::Input(number) => schedule.inputs[number].0.clone(),
        Place::Constant(number) => schedule.graph.label(schedule.constants[number]),
    };
    let layout = &operand.layout;
    ExplainedOperand {
        place: operand.place,
        name,
        kind: TensorType::new(operand.dtype, layout.shape.clone()),
        strides: (!layout.is_contiguous()).then(|| layout.strides.clone()),
        offset: layout.offset,
        in_place,
    }
}
