//! Schedule → program: every launch as a kernel with its buffers, parameters and grid.

use super::bindings::Memory;
use super::codegen::{self, Generated, WIDTH};
use crate::Error;
use crate::graph::{GpuCall, GpuOperand, GpuWindow, NodeId, NodeKind, OpKind, Precision};
use crate::schedule::{Fused, Launch as ScheduledLaunch, Operand, Place, Schedule, Work};
use crate::tensor::window::BindingLimit;
use crate::tensor::{DType, TensorType};
use gpu_runtime::{BufferId, BufferRole, BufferSpec, Kernel, Launch, Limits, Output, Program, Window, fold_groups};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// Outputs up to this many bytes come back from every run through the ring of staging buffers.
const STREAMED_BYTES: u64 = 256;

/// Lowers a schedule for a GPU of the given limits, for which launches on larger tensors are cut in several. Needs no
/// GPU.
///
/// # Errors
/// If a tensor is beyond what the kernels can address, or a launch cannot be cut so far that it fits the limits.
pub fn lower(schedule: &Schedule, limits: &Limits) -> Result<Program, Error> {
    lower_launches(schedule, limits).map(|lowered| lowered.program)
}

/// A program, and which of its launches each launch of the schedule became.
pub(crate) struct Lowered {
    pub(crate) program: Program,
    pub(crate) ranges: Vec<Range<usize>>,
}

/// As [`lower`], for those who look between launches.
pub(crate) fn lower_launches(schedule: &Schedule, limits: &Limits) -> Result<Lowered, Error> {
    let mut ranges = Vec::with_capacity(schedule.launches.len());
    let tenants = vec![String::new(); schedule.slots.len()];
    let mut lowering = Lowering { program: Program::default(), kernels: HashMap::new(), schedule, limits, tenants };
    lowering.buffers();
    for launch in &schedule.launches {
        let begin = lowering.program.launches.len();
        // Before an output that is written over an input gives the place its own name.
        let labels: Vec<String> = launch.inputs.iter().map(|input| lowering.label(input.place)).collect();
        for (label, output) in written(schedule, launch) {
            if let Place::Slot(slot) = output.place {
                lowering.tenants[slot] = label;
            }
        }
        match &launch.work {
            Work::Fused(fused) => lowering.fused(launch, fused)?,
            Work::Kernel(node) => lowering.kernel_op(launch, *node, labels)?,
        }
        ranges.push(begin..lowering.program.launches.len());
    }
    for (name, operand) in &schedule.outputs {
        let bytes = (operand.layout.shape.elements() * operand.dtype.bytes()) as u64;
        let (name, buffer) = (name.clone(), lowering.buffer(operand.place));
        lowering.program.outputs.push(Output { name, buffer, bytes, streamed: bytes <= STREAMED_BYTES });
    }
    Ok(Lowered { program: lowering.program, ranges })
}

/// The outputs of a launch, each with the label of the value that lies there.
fn written<'a>(schedule: &'a Schedule, launch: &'a ScheduledLaunch) -> impl Iterator<Item = (String, &'a Operand)> {
    let node = |place: usize| match &launch.work {
        Work::Fused(fused) => fused.instructions[fused.results[place]].node,
        Work::Kernel(node) => *node,
    };
    launch.outputs.iter().enumerate().map(move |(place, output)| (schedule.graph.label(node(place)), output))
}

struct Lowering<'a> {
    program: Program,
    /// Kernels by source, so that each is compiled once.
    kernels: HashMap<(String, String), usize>,
    schedule: &'a Schedule,
    limits: &'a Limits,
    /// The label of the value that lies in each slot.
    tenants: Vec<String>,
}

impl Memory for Lowering<'_> {
    fn bytes(&self, place: Place) -> u64 {
        self.program.buffers[self.buffer(place).0].bytes
    }

    fn label(&self, place: Place) -> String {
        match place {
            Place::Slot(slot) => self.tenants[slot].clone(),
            _ => self.program.buffers[self.buffer(place).0].label.clone(),
        }
    }

    fn limit(&self) -> BindingLimit {
        let Limits { max_binding_bytes, storage_alignment, .. } = *self.limits;
        BindingLimit { bytes: max_binding_bytes, alignment: u64::from(storage_alignment) }
    }

    fn most_bindings(&self) -> usize {
        self.limits.max_storage_buffers_per_stage as usize
    }
}

impl Lowering<'_> {
    fn fused(&mut self, launch: &ScheduledLaunch, fused: &Fused) -> Result<(), Error> {
        let Generated { kernel, bindings, pieces } = codegen::generate(&self.schedule.graph, launch, fused, self)?;
        let kernel = self.kernel(kernel);
        let (flops, bytes) = (self.schedule.flops(launch), self.schedule.traffic(launch));
        let total = fused.shape.elements() as u128;
        for (piece, (parameters, elements)) in bindings.pieces.iter().zip(pieces) {
            let entries = bindings.entries.iter().zip(&piece.windows);
            let windows =
                entries.map(|(entry, window)| self.window(entry.place, entry.dtype, window.as_ref())).collect();
            let share = |all: u64| (u128::from(all) * elements as u128 / total) as u64;
            self.program.launches.push(Launch {
                label: launch.label.clone(),
                kernel,
                windows,
                parameters,
                groups: fold_groups(elements.div_ceil(WIDTH) as u64),
                bytes: share(bytes),
                flops: share(flops),
                iterations: 0,
            });
        }
        Ok(())
    }

    fn kernel_op(&mut self, launch: &ScheduledLaunch, node: NodeId, labels: Vec<String>) -> Result<(), Error> {
        let Some(OpKind::Kernel(op)) = self.schedule.graph.node(node).op_kind() else {
            return Err(Error::Internal(format!("{} has no kernel", launch.label)));
        };
        let operand = |(operand, label): (&Operand, String)| GpuOperand {
            layout: operand.layout.clone(),
            dtype: operand.dtype,
            label,
            buffer_bytes: self.bytes(operand.place),
        };
        let outputs = launch.outputs.iter().map(|output| (output, self.label(output.place)));
        let mut call = GpuCall {
            label: launch.label.clone(),
            limit: self.limit(),
            inputs: launch.inputs.iter().zip(labels).map(operand).collect(),
            outputs: outputs.map(operand).collect(),
            in_place: launch.in_place(),
            launches: Vec::new(),
        };
        op.gpu(&mut call)?;
        let operands: Vec<&Operand> = launch.inputs.iter().chain(&launch.outputs).collect();
        let (flops, bytes) = (self.schedule.flops(launch), self.schedule.traffic(launch));
        let parts = call.launches.len().max(1) as u64;
        for part in call.launches {
            let window = |window: &GpuWindow| {
                let operand = operands[window.operand];
                self.window(operand.place, operand.dtype, window.elements.as_ref())
            };
            let windows = part.windows.iter().map(window).collect();
            let kernel = self.kernel(part.kernel);
            self.program.launches.push(Launch {
                label: launch.label.clone(),
                kernel,
                windows,
                parameters: part.parameters,
                groups: part.groups,
                bytes: bytes / parts,
                flops: flops / parts,
                iterations: part.iterations,
            });
        }
        Ok(())
    }

    fn window(&self, place: Place, dtype: DType, elements: Option<&Range<usize>>) -> Window {
        let whole = Window::from(self.buffer(place));
        elements.map_or(whole, |elements| Window {
            offset: (elements.start * dtype.bytes()) as u64,
            bytes: Some((elements.len() * dtype.bytes()) as u64),
            ..whole
        })
    }

    fn buffers(&mut self) {
        let schedule = self.schedule;
        // The label of the largest value that ever lies in each slot.
        let mut largest: Vec<(usize, String)> = vec![(0, String::new()); schedule.slots.len()];
        for (label, output) in schedule.launches.iter().flat_map(|launch| written(schedule, launch)) {
            let bytes = output.layout.shape.elements() * output.dtype.bytes();
            match output.place {
                Place::Slot(slot) if bytes > largest[slot].0 => largest[slot] = (bytes, label),
                _ => {}
            }
        }
        let mut add = |label: String, bytes: u64, role| self.program.buffers.push(BufferSpec { label, bytes, role });
        for (number, (slot, (_, value))) in schedule.slots.iter().zip(largest).enumerate() {
            add(format!("slot {number} ({value})"), slot.bytes(Precision::F32) as u64, BufferRole::Slot);
        }
        let bytes = |kind: &TensorType| kind.bytes().next_multiple_of(4) as u64;
        for (name, kind) in &schedule.states {
            add(name.clone(), bytes(kind), BufferRole::State(name.clone()));
        }
        for (name, kind) in &schedule.inputs {
            add(name.clone(), bytes(kind), BufferRole::Input(name.clone()));
        }
        for &id in &schedule.constants {
            if let NodeKind::Constant(values) = &schedule.graph.node(id).kind {
                let values: Arc<[u8]> = values.as_ref().as_ref().into();
                add(schedule.graph.label(id), values.len() as u64, BufferRole::Constant(values));
            }
        }
    }

    fn buffer(&self, place: Place) -> BufferId {
        buffer_of(self.schedule, place)
    }

    fn kernel(&mut self, kernel: Kernel) -> usize {
        let key = (kernel.name.to_string(), kernel.source.to_string());
        *self.kernels.entry(key).or_insert_with(|| {
            self.program.kernels.push(kernel);
            self.program.kernels.len() - 1
        })
    }
}

/// A place as the program of a schedule has it: in the order slots, states, inputs, constants.
pub(crate) fn buffer_of(schedule: &Schedule, place: Place) -> BufferId {
    let (slots, states, inputs) = (schedule.slots.len(), schedule.states.len(), schedule.inputs.len());
    BufferId(match place {
        Place::Slot(number) => number,
        Place::State(number) => slots + number,
        Place::Input(number) => slots + states + number,
        Place::Constant(number) => slots + states + inputs + number,
    })
}
