//! A schedule: launches in order over memory slots. Both backends run it.

mod usage;

pub use usage::{SlotUsage, Tenant};

use crate::graph::{Graph, InPlace, NodeId, Precision, StepScalar};
use crate::tensor::{DType, Layout, Shape, TensorType};
use std::fmt;
use std::sync::Arc;

/// Which buffer a tensor lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// Working memory, shared by values that live at different times.
    Slot(usize),
    /// A tensor that the session keeps: a number into [`Schedule::states`].
    State(usize),
    /// A tensor handed in at each run: a number into [`Schedule::inputs`].
    Input(usize),
    /// Fixed values: a number into [`Schedule::constants`].
    Constant(usize),
}

/// A tensor that a launch reads or writes.
#[derive(Clone, Debug)]
pub struct Operand {
    /// Its buffer.
    pub place: Place,
    /// Where in the buffer it lies.
    pub layout: Layout,
    /// Its element type.
    pub dtype: DType,
}

/// Where an instruction of a fused group takes an argument from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Source {
    /// An input of the launch.
    Input(usize),
    /// The result of an earlier instruction of the group.
    Instruction(usize),
    /// A number known while tracing: the four bytes of its element.
    Literal([u8; 4], DType),
    /// A number of the step.
    StepScalar(StepScalar),
}

/// One elementwise operator inside a fused group.
#[derive(Clone, Debug)]
pub struct Instruction {
    /// The operator's node.
    pub node: NodeId,
    /// Its arguments.
    pub sources: Vec<Source>,
}

/// Elementwise operators over one shape, run as one launch.
#[derive(Clone, Debug)]
pub struct Fused {
    /// The shape that all of them have.
    pub shape: Shape,
    /// The operators in order.
    pub instructions: Vec<Instruction>,
    /// Which instruction makes each output of the launch.
    pub results: Vec<usize>,
    /// For each output the input whose buffer it overwrites, element by element.
    pub in_place: Vec<Option<usize>>,
}

/// What a launch does.
#[derive(Clone, Debug)]
pub enum Work {
    /// The kernel of one operator.
    Kernel(NodeId),
    /// A fused group.
    Fused(Fused),
}

/// One step of the schedule.
#[derive(Clone, Debug)]
pub struct Launch {
    /// What it does.
    pub work: Work,
    /// What it reads, each buffer and layout once.
    pub inputs: Vec<Operand>,
    /// What it writes; contiguous.
    pub outputs: Vec<Operand>,
    /// `scope/op#node`, of the last member for a group.
    pub label: String,
}

impl Launch {
    /// The output that a kernel writes over one of its inputs; of a group see [`Fused::in_place`].
    pub fn in_place(&self) -> Option<InPlace> {
        let over = |(output, operand): (usize, &Operand)| {
            let input = self.inputs.iter().position(|input| input.place == operand.place)?;
            Some(InPlace { input, output })
        };
        match self.work {
            Work::Kernel(_) => self.outputs.iter().enumerate().find_map(over),
            Work::Fused(_) => None,
        }
    }
}

/// The size of a piece of working memory, in elements of each kind that ever lies in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// The most `f32` elements.
    pub reals: usize,
    /// The most bytes of values of other types.
    pub other_bytes: usize,
}

impl Slot {
    /// The slot that holds one value.
    pub fn of(kind: &TensorType) -> Slot {
        match kind.dtype {
            DType::F32 => Slot { reals: kind.shape.elements(), other_bytes: 0 },
            _ => Slot { reals: 0, other_bytes: kind.bytes() },
        }
    }

    /// Bytes where `f32` values are held in the given precision: whole elements of it, since kernels read a buffer as
    /// a slice of them.
    pub fn bytes(self, precision: Precision) -> usize {
        let element = precision.element_bytes(DType::F32);
        (self.reals * element).max(self.other_bytes).next_multiple_of(element)
    }

    /// The slot that holds either.
    pub fn union(self, other: Slot) -> Slot {
        Slot { reals: self.reals.max(other.reals), other_bytes: self.other_bytes.max(other.other_bytes) }
    }
}

/// Launches in order, and the memory they work in.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// The graph that the launches compute; instructions and kernels refer to its nodes.
    pub graph: Arc<Graph>,
    /// The launches.
    pub launches: Vec<Launch>,
    /// Working memory.
    pub slots: Vec<Slot>,
    /// Tensors that the session keeps.
    pub states: Vec<(String, TensorType)>,
    /// Tensors handed in at each run.
    pub inputs: Vec<(String, TensorType)>,
    /// Constant nodes that some launch reads.
    pub constants: Vec<NodeId>,
    /// Values that can be read after a run.
    pub outputs: Vec<(String, Operand)>,
}

impl Schedule {
    /// Bytes of working memory on a device.
    pub fn slot_bytes(&self) -> usize {
        self.slots.iter().map(|slot| slot.bytes(Precision::F32)).sum()
    }

    /// Floating-point operations of one launch.
    pub fn flops(&self, launch: &Launch) -> u64 {
        match &launch.work {
            Work::Kernel(node) => {
                let node = self.graph.node(*node);
                let inputs: Vec<_> = node.inputs.iter().map(|&input| self.graph.kind_of(input).clone()).collect();
                match node.op_kind() {
                    Some(crate::graph::OpKind::Kernel(kernel)) => kernel.flops(&inputs, &node.outputs),
                    _ => 0,
                }
            }
            Work::Fused(fused) => {
                let each = |instruction: &Instruction| match self.graph.node(instruction.node).op_kind() {
                    Some(crate::graph::OpKind::Elementwise(op)) => op.flops(),
                    _ => 0,
                };
                fused.instructions.iter().map(each).sum::<u64>() * fused.shape.elements() as u64
            }
        }
    }

    /// Bytes that one launch reads and writes at least: each distinct element once.
    pub fn traffic(&self, launch: &Launch) -> u64 {
        let bytes = |operand: &Operand| {
            let sizes = operand.layout.shape.iter().zip(&operand.layout.strides);
            let distinct: usize = sizes.filter(|(_, stride)| **stride != 0).map(|(size, _)| *size).product();
            (distinct * operand.dtype.bytes()) as u64
        };
        launch.inputs.iter().chain(&launch.outputs).map(bytes).sum()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Slot(number) => write!(formatter, "slot {number}"),
            Place::State(number) => write!(formatter, "state {number}"),
            Place::Input(number) => write!(formatter, "input {number}"),
            Place::Constant(number) => write!(formatter, "constant {number}"),
        }
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}{}", self.place, self.dtype, self.layout.shape)?;
        if self.layout.is_identity() {
            return Ok(());
        }
        write!(formatter, " by {:?}", self.layout.strides)?;
        if self.layout.offset > 0 { write!(formatter, " from {}", self.layout.offset) } else { Ok(()) }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |operands: &[Operand]| operands.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        for (number, launch) in self.launches.iter().enumerate() {
            writeln!(formatter, "launch {number}: {}", launch.label)?;
            if let Work::Fused(fused) = &launch.work {
                for (place, instruction) in fused.instructions.iter().enumerate() {
                    let name = self.graph.node(instruction.node).op().map_or("?", |op| op.name());
                    let sources: Vec<String> = instruction.sources.iter().map(source_text).collect();
                    let output = fused.results.iter().position(|&result| result == place);
                    let arrow = output.map(|output| format!(" → out{output}")).unwrap_or_default();
                    writeln!(formatter, "    v{place} = {name}({}){arrow}", sources.join(", "))?;
                }
            }
            writeln!(formatter, "    reads {}", list(&launch.inputs))?;
            writeln!(formatter, "    writes {}", list(&launch.outputs))?;
        }
        for (number, slot) in self.slots.iter().enumerate() {
            writeln!(formatter, "slot {number}: {} bytes", slot.bytes(Precision::F32))?;
        }
        for (name, operand) in &self.outputs {
            writeln!(formatter, "output {name:?}: {operand}")?;
        }
        Ok(())
    }
}

fn source_text(source: &Source) -> String {
    match source {
        Source::Input(number) => format!("in{number}"),
        Source::Instruction(number) => format!("v{number}"),
        Source::StepScalar(scalar) => scalar.name().to_string(),
        Source::Literal(bytes, DType::F32) => format!("{:?}", f32::from_ne_bytes(*bytes)),
        Source::Literal(bytes, DType::I32) => i32::from_ne_bytes(*bytes).to_string(),
        Source::Literal(bytes, _) => format!("{}u", u32::from_ne_bytes(*bytes)),
    }
}
