//! The CPU backend: walks the schedule and calls `cpu-reference`'s kernels, in f32 or in f64.

use crate::Error;
use crate::graph::{CpuCall, CpuInput, ElementwiseOp, Graph, NodeId, NodeKind, OpKind, Precision};
use crate::schedule::{Fused, Launch, Operand, Place, Schedule, Source, Work};
use crate::tensor::{Bytes, DType, Layout, TensorType};
use cpu_reference::Strided;
use cpu_reference::elementwise::{self, BlockInput, BlockProgram, Destination, InputBytes, Instruction};
use gpu_runtime::Memory;
use std::mem::take;
use std::ops::Range;
use std::time::Instant;

/// Programs whose values all have fewer bytes than this gain nothing from threads.
const SMALL: usize = 1 << 16;

/// A schedule made ready to run: memory, and fused groups as block programs.
pub(super) struct CpuExecutable {
    precision: Precision,
    slots: Vec<Bytes>,
    constants: Vec<Bytes>,
    groups: Vec<Option<Group>>,
}

/// A fused group as a block program. Its inputs are the launch's, then its numbers.
pub(super) struct Group {
    program: BlockProgram,
    /// Whether it only copies a view: that goes by squares, so that transposes use whole cache lines.
    copies: bool,
    numbers: Vec<Source>,
    /// Strides of a number: it is the same everywhere.
    zeros: Vec<usize>,
}

/// The tensors of one run that the executable does not own.
pub(super) struct Surroundings<'a> {
    pub(super) states: &'a mut [Bytes],
    /// For each of the schedule's states its place in `states`.
    pub(super) state_places: &'a [usize],
    pub(super) inputs: &'a [&'a [u8]],
    pub(super) step: &'a [u32; 16],
}

/// Elements as the backend holds them, from bytes as devices hold them.
pub(super) fn widen(precision: Precision, kind: &TensorType, bytes: &[u8]) -> Bytes {
    if precision == Precision::F64 && kind.dtype == DType::F32 {
        let wide: Vec<f64> = bytes
            .chunks_exact(4)
            .map(|word| f64::from(f32::from_ne_bytes([word[0], word[1], word[2], word[3]])))
            .collect();
        return Bytes::copy_of(bytemuck::cast_slice(&wide));
    }
    Bytes::copy_of(bytes)
}

impl CpuExecutable {
    pub(super) fn new(schedule: &Schedule, precision: Precision) -> Result<CpuExecutable, Error> {
        let constant = |&id: &NodeId| {
            let node = schedule.graph.node(id);
            match &node.kind {
                NodeKind::Constant(bytes) => widen(precision, &node.outputs[0], bytes.as_ref().as_ref()),
                _ => Bytes::default(),
            }
        };
        let group = |launch: &Launch| match &launch.work {
            Work::Fused(fused) => Group::new(&schedule.graph, launch, fused, precision).map(Some),
            Work::Kernel(_) => Ok(None),
        };
        Ok(CpuExecutable {
            precision,
            slots: schedule.slots.iter().map(|slot| Bytes::zeroed(slot.bytes(precision))).collect(),
            constants: schedule.constants.iter().map(constant).collect(),
            groups: schedule.launches.iter().map(group).collect::<Result<_, _>>()?,
        })
    }

    /// Runs some of the launches, in order; if `times` are wanted, with the begin and end of each in seconds.
    pub(super) fn run(
        &mut self,
        schedule: &Schedule,
        launches: Range<usize>,
        around: &mut Surroundings<'_>,
        times: Option<&mut Vec<Range<f64>>>,
    ) -> Result<(), Error> {
        // Small programs stay on their thread: their kernels don't split their work.
        if schedule.slots.iter().all(|slot| slot.bytes(Precision::F32) < SMALL) {
            return self.run_launches(schedule, launches, around, times);
        }
        cpu_reference::on_pool(|| self.run_launches(schedule, launches, around, times))
    }

    fn run_launches(
        &mut self,
        schedule: &Schedule,
        launches: Range<usize>,
        around: &mut Surroundings<'_>,
        mut times: Option<&mut Vec<Range<f64>>>,
    ) -> Result<(), Error> {
        let zero = Instant::now();
        for number in launches {
            let begin = times.is_some().then(|| zero.elapsed());
            let launch = &schedule.launches[number];
            // The outputs' buffers are taken out, so that inputs can be read beside them.
            let mut outputs: Vec<Bytes> = Vec::with_capacity(launch.outputs.len());
            for output in &launch.outputs {
                outputs.push(self.buffer_mut(output.place, around).map(take)?);
            }
            let result = self.launch(&schedule.graph, launch, self.groups[number].as_ref(), &mut outputs, around);
            for (output, bytes) in launch.outputs.iter().zip(outputs) {
                *self.buffer_mut(output.place, around)? = bytes;
            }
            result?;
            if let (Some(times), Some(begin)) = (&mut times, begin) {
                times.push(begin.as_secs_f64()..zero.elapsed().as_secs_f64());
            }
        }
        Ok(())
    }

    /// The memory that it holds: what was foretold, but for the bytes that it looks up itself.
    pub(super) fn memory(&self, schedule: &Schedule) -> Memory {
        let held = |all: &[Bytes]| all.iter().map(|bytes| bytes.as_ref().len() as u64).sum();
        Memory { slots: held(&self.slots), constants: held(&self.constants), ..schedule.memory(self.precision) }
    }

    /// The bytes of an operand that owns its buffer.
    pub(super) fn read(&self, operand: &Operand) -> Result<&[u8], Error> {
        let Place::Slot(slot) = operand.place else {
            return Err(Error::Internal(format!("an output lies in {}", operand.place)));
        };
        let bytes = operand.layout.shape.elements() * self.precision.element_bytes(operand.dtype);
        Ok(&self.slots[slot].as_ref()[..bytes])
    }

    /// What one launch that stands in no schedule makes of the buffers as they are; it has one output.
    pub(super) fn compute(
        &self,
        graph: &Graph,
        launch: &Launch,
        group: &Group,
        around: &Surroundings<'_>,
    ) -> Result<Bytes, Error> {
        let output = &launch.outputs[0];
        let bytes = output.layout.shape.elements() * self.precision.element_bytes(output.dtype);
        let mut outputs = [Bytes::zeroed(bytes)];
        self.launch(graph, launch, Some(group), &mut outputs, around)?;
        let [output] = outputs;
        Ok(output)
    }

    pub(super) fn buffer_mut<'b>(
        &'b mut self,
        place: Place,
        around: &'b mut Surroundings<'_>,
    ) -> Result<&'b mut Bytes, Error> {
        match place {
            Place::Slot(slot) => Ok(&mut self.slots[slot]),
            Place::State(state) => Ok(&mut around.states[around.state_places[state]]),
            Place::Input(_) | Place::Constant(_) => Err(Error::Internal(format!("a launch writes {place}"))),
        }
    }

    pub(super) fn buffer<'b>(&'b self, place: Place, around: &'b Surroundings<'_>) -> &'b [u8] {
        match place {
            Place::Slot(slot) => self.slots[slot].as_ref(),
            Place::State(state) => around.states[around.state_places[state]].as_ref(),
            Place::Input(input) => around.inputs[input],
            Place::Constant(constant) => self.constants[constant].as_ref(),
        }
    }

    fn launch(
        &self,
        graph: &Graph,
        launch: &Launch,
        group: Option<&Group>,
        outputs: &mut [Bytes],
        around: &Surroundings<'_>,
    ) -> Result<(), Error> {
        // A slot is as large as its largest value.
        let lengths: Vec<usize> = launch
            .outputs
            .iter()
            .map(|output| output.layout.shape.elements() * self.precision.element_bytes(output.dtype))
            .collect();
        let mut outputs: Vec<&mut [u8]> =
            outputs.iter_mut().zip(lengths).map(|(bytes, length)| &mut bytes.as_mut()[..length]).collect();
        match &launch.work {
            Work::Kernel(id) => {
                let node = graph.node(*id);
                let Some(OpKind::Kernel(kernel)) = node.op_kind() else {
                    return Err(Error::Internal(format!("{} has no kernel", launch.label)));
                };
                let in_place = launch.in_place();
                let inputs = launch.inputs.iter().enumerate();
                let inputs = inputs.map(|(number, input)| {
                    let over = in_place.is_some_and(|pair| pair.input == number);
                    let bytes = if over { &[] } else { self.buffer(input.place, around) };
                    CpuInput { bytes, layout: &input.layout }
                });
                let inputs = inputs.collect();
                let (precision, kinds) = (self.precision, &node.outputs[..]);
                kernel.cpu(&mut CpuCall { precision, inputs, outputs, kinds, in_place })
            }
            Work::Fused(fused) => {
                let Some(group) = group else {
                    return Err(Error::Internal(format!("{} was not made ready", launch.label)));
                };
                if let ([input], true, [None]) = (&launch.inputs[..], group.copies, &fused.in_place[..]) {
                    let input = CpuInput { bytes: self.buffer(input.place, around), layout: &input.layout };
                    copy(&input, self.precision.element_bytes(launch.outputs[0].dtype), outputs[0]);
                    return Ok(());
                }
                let numbers: Vec<Bytes> =
                    group.numbers.iter().map(|source| number_bytes(*source, self.precision, around.step)).collect();
                let mut inputs: Vec<BlockInput<'_>> = Vec::with_capacity(launch.inputs.len() + numbers.len());
                for (place, input) in launch.inputs.iter().enumerate() {
                    let over = fused.in_place.iter().position(|over| *over == Some(place));
                    let bytes = match over {
                        Some(output) => InputBytes::InPlaceOf(output),
                        None => InputBytes::Slice(self.buffer(input.place, around)),
                    };
                    inputs.push(BlockInput { bytes, strides: &input.layout.strides, offset: input.layout.offset });
                }
                for bytes in &numbers {
                    let bytes = InputBytes::Slice(bytes.as_ref());
                    inputs.push(BlockInput { bytes, strides: &group.zeros, offset: 0 });
                }
                elementwise::run(&group.program, &fused.shape, &inputs, &mut outputs);
                Ok(())
            }
        }
    }
}

/// Copies a view to contiguous elements of so many bytes.
fn copy(input: &CpuInput<'_>, bytes: usize, output: &mut [u8]) {
    let layout = input.layout;
    let from = Strided { sizes: &layout.shape, strides: &layout.strides, offset: layout.offset };
    let to = Layout::contiguous(&layout.shape).strides;
    match bytes {
        2 => cpu_reference::copy(input.buffer(), from, bytemuck::cast_slice_mut::<u8, u16>(output), &to, 0),
        8 => cpu_reference::copy(input.buffer(), from, bytemuck::cast_slice_mut::<u8, u64>(output), &to, 0),
        _ => cpu_reference::copy(input.buffer(), from, bytemuck::cast_slice_mut::<u8, u32>(output), &to, 0),
    }
}

/// A number of a fused group as an element of the precision.
pub(super) fn number_bytes(source: Source, precision: Precision, step: &[u32; 16]) -> Bytes {
    let (bytes, dtype) = match source {
        Source::Literal(bytes, dtype) => (bytes, dtype),
        Source::StepScalar(scalar) => (step[scalar.word()].to_ne_bytes(), scalar.kind().dtype),
        Source::Input(_) | Source::Instruction(_) => ([0; 4], DType::U32),
    };
    widen(precision, &TensorType::new(dtype, []), &bytes)
}

impl Group {
    pub(super) fn new(graph: &Graph, launch: &Launch, fused: &Fused, precision: Precision) -> Result<Group, Error> {
        let mut numbers: Vec<Source> = Vec::new();
        let mut program = BlockProgram {
            input_bytes: launch.inputs.iter().map(|input| precision.element_bytes(input.dtype)).collect(),
            output_bytes: launch.outputs.iter().map(|output| precision.element_bytes(output.dtype)).collect(),
            ..BlockProgram::default()
        };
        let mut last_use = vec![0; fused.instructions.len()];
        for (place, instruction) in fused.instructions.iter().enumerate() {
            for source in &instruction.sources {
                if let Source::Instruction(earlier) = source {
                    last_use[*earlier] = place;
                }
            }
        }
        // Registers are used again, so that a long group still works within the cache.
        let mut free: Vec<usize> = Vec::new();
        let mut homes: Vec<Destination> = Vec::new();
        for (place, instruction) in fused.instructions.iter().enumerate() {
            let node = graph.node(instruction.node);
            let Some(OpKind::Elementwise(op)) = node.op_kind() else {
                return Err(Error::Internal(format!("{} cannot be fused", graph.label(instruction.node))));
            };
            let dtypes: Vec<DType> = node.inputs.iter().map(|&input| graph.kind_of(input).dtype).collect();
            let function = op.block_function(precision, &dtypes).ok_or_else(|| {
                Error::Usage(format!("{} has no CPU kernel for {dtypes:?}; cast to f32", graph.label(instruction.node)))
            })?;
            let inputs = instruction.sources.iter().map(|source| match source {
                Source::Input(input) => elementwise::Source::Input(*input),
                Source::Instruction(earlier) => match homes[*earlier] {
                    Destination::Register(register) => elementwise::Source::Register(register),
                    Destination::Output(output) => elementwise::Source::Output(output),
                },
                number => {
                    let known = numbers.iter().position(|known| known == number);
                    elementwise::Source::Input(
                        launch.inputs.len()
                            + known.unwrap_or_else(|| {
                                numbers.push(*number);
                                numbers.len() - 1
                            }),
                    )
                }
            });
            let inputs: Vec<elementwise::Source> = inputs.collect();
            let bytes = precision.element_bytes(node.outputs[0].dtype);
            let destination = match fused.results.iter().position(|&result| result == place) {
                Some(output) => Destination::Output(output),
                None => {
                    let reused = free.iter().position(|&register| program.registers[register] == bytes);
                    Destination::Register(reused.map(|position| free.swap_remove(position)).unwrap_or_else(|| {
                        program.registers.push(bytes);
                        program.registers.len() - 1
                    }))
                }
            };
            homes.push(destination);
            program.instructions.push(Instruction { function, inputs, destination });
            for earlier in 0..place {
                if let (true, Destination::Register(register)) = (last_use[earlier] == place, homes[earlier]) {
                    free.push(register);
                }
            }
        }
        for number in &numbers {
            program.input_bytes.push(number_bytes(*number, precision, &[0; 16]).as_ref().len());
        }
        let copies = matches!(&fused.instructions[..], [one] if is_copy(graph, one.node));
        Ok(Group { program, copies, numbers, zeros: vec![0; fused.shape.rank()] })
    }
}

/// Whether the operator of a node gives its one input as it is.
fn is_copy(graph: &Graph, node: NodeId) -> bool {
    let node = graph.node(node);
    let same = |op: &dyn ElementwiseOp| node.inputs.len() == 1 && op.same_as(&[None]) == Some(0);
    matches!(node.op_kind(), Some(OpKind::Elementwise(op)) if same(op))
}
