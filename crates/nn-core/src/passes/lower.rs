//! Schedule → program: every launch as a kernel with its buffers, parameters and grid.

use super::codegen::{self, WIDTH};
use crate::Error;
use crate::graph::{GpuCall, GpuOperand, NodeKind, OpKind, Precision};
use crate::schedule::{Operand, Place, Schedule, Work};
use crate::tensor::TensorType;
use gpu_runtime::Kernel;
use gpu_runtime::{BufferId, BufferRole, BufferSpec, Launch, Output, Program, fold_groups};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// Outputs up to this many bytes come back from every run through the ring of staging buffers.
const STREAMED_BYTES: u64 = 256;

/// Lowers a schedule for a GPU. Needs no GPU.
///
/// # Errors
/// If a tensor is beyond what the kernels can address.
pub fn lower(schedule: &Schedule) -> Result<Program, Error> {
    lower_launches(schedule).map(|lowered| lowered.program)
}

/// A program, and which of its launches each launch of the schedule became.
pub(crate) struct Lowered {
    pub(crate) program: Program,
    pub(crate) ranges: Vec<Range<usize>>,
}

/// As [`lower`], for those who look between launches.
pub(crate) fn lower_launches(schedule: &Schedule) -> Result<Lowered, Error> {
    let mut ranges = Vec::with_capacity(schedule.launches.len());
    let mut lowering = Lowering { program: Program::default(), kernels: HashMap::new(), schedule };
    lowering.buffers();
    for launch in &schedule.launches {
        let begin = lowering.program.launches.len();
        let (flops, bytes) = (schedule.flops(launch), schedule.traffic(launch));
        match &launch.work {
            Work::Fused(fused) => {
                let generated = codegen::generate(&schedule.graph, launch, fused)?;
                let groups = fold_groups(fused.shape.elements().div_ceil(WIDTH) as u64);
                let buffers = generated.places.iter().map(|&place| lowering.buffer(place)).collect();
                let kernel = lowering.kernel(generated.kernel);
                let (label, parameters) = (launch.label.clone(), generated.parameters);
                lowering.program.launches.push(Launch {
                    label,
                    kernel,
                    buffers,
                    parameters,
                    groups,
                    bytes,
                    flops,
                    iterations: 0,
                });
            }
            Work::Kernel(node) => {
                let Some(OpKind::Kernel(op)) = schedule.graph.node(*node).op_kind() else {
                    return Err(Error::Internal(format!("{} has no kernel", launch.label)));
                };
                let operand = |operand: &Operand| GpuOperand { layout: operand.layout.clone(), dtype: operand.dtype };
                let mut call = GpuCall {
                    inputs: launch.inputs.iter().map(operand).collect(),
                    outputs: launch.outputs.iter().map(operand).collect(),
                    launches: Vec::new(),
                };
                op.gpu(&mut call)?;
                let operands: Vec<Place> =
                    launch.inputs.iter().chain(&launch.outputs).map(|operand| operand.place).collect();
                let parts = call.launches.len().max(1) as u64;
                for part in call.launches {
                    let buffers = part.operands.iter().map(|&operand| lowering.buffer(operands[operand])).collect();
                    let kernel = lowering.kernel(part.kernel);
                    lowering.program.launches.push(Launch {
                        label: launch.label.clone(),
                        kernel,
                        buffers,
                        parameters: part.parameters,
                        groups: part.groups,
                        bytes: bytes / parts,
                        flops: flops / parts,
                        iterations: part.iterations,
                    });
                }
            }
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

struct Lowering<'a> {
    program: Program,
    /// Kernels by source, so that each is compiled once.
    kernels: HashMap<(String, String), usize>,
    schedule: &'a Schedule,
}

impl Lowering<'_> {
    fn buffers(&mut self) {
        let schedule = self.schedule;
        let mut add = |label: String, bytes: u64, role| self.program.buffers.push(BufferSpec { label, bytes, role });
        for (number, slot) in schedule.slots.iter().enumerate() {
            add(format!("slot {number}"), slot.bytes(Precision::F32) as u64, BufferRole::Slot);
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
