//! The oracle for members of fused groups: exact results of the device's own values of their arguments.

use super::compare::Tally;
use super::{Context, number};
use crate::Error;
use crate::graph::{Arithmetic, ElementwiseOp, OpKind, Precision};
use crate::run::cpu::number_bytes;
use crate::schedule::{Fused, Instruction, Launch, Operand, Source};
use crate::tensor::{Bytes, DType};
use cpu_reference::Strided;
use cpu_reference::elementwise::{Ahead, BLOCK, BlockFunction};
use std::rc::Rc;

/// The values of a group as the device has them, read where they are needed.
pub(super) struct Values<'a> {
    number: usize,
    launch: &'a Launch,
    fused: &'a Fused,
    inputs: Vec<Argument>,
    members: Vec<Option<Rc<Bytes>>>,
    shifts: Vec<Shifts>,
}

/// For each element how far a member's value may lie elsewhere where the device computes it again in another kernel;
/// nothing before the member was compared.
type Shifts = Rc<Vec<f64>>;

/// One argument of a member.
#[derive(Clone)]
pub(super) struct Argument {
    values: Rc<Bytes>,
    dtype: DType,
    /// Bytes of one element.
    element_bytes: usize,
    /// Whether there is one value for all elements.
    repeated: bool,
    /// If the group computes it: then a compiler may keep it unrounded, or merge its computation into the next, and do
    /// so in one kernel and not in another.
    inside: Option<Shifts>,
}

impl Argument {
    pub(super) fn at(&self, index: usize) -> f64 {
        let index = if self.repeated { 0 } else { index };
        number(self.values.as_ref().as_ref(), self.dtype, self.element_bytes, index)
    }

    /// Other values of this argument for a block of the oracle's; whole numbers keep within their type.
    fn changed(&self, block: &Bytes, change: impl Fn(usize, f64) -> f64) -> Bytes {
        let mut bytes = block.clone();
        match self.dtype {
            DType::U32 => {
                let values: &mut [u32] = bytemuck::cast_slice_mut(bytes.as_mut());
                let values = values.iter_mut().enumerate();
                values.for_each(|(index, value)| *value = change(index, f64::from(*value)) as u32);
            }
            DType::I32 => {
                let values: &mut [i32] = bytemuck::cast_slice_mut(bytes.as_mut());
                let values = values.iter_mut().enumerate();
                values.for_each(|(index, value)| *value = change(index, f64::from(*value)) as i32);
            }
            DType::F32 | DType::F16 => {
                let values: &mut [f64] = bytemuck::cast_slice_mut(bytes.as_mut());
                values.iter_mut().enumerate().for_each(|(index, value)| *value = change(index, *value));
            }
        }
        bytes
    }
}

/// The elements of an operand one after the other.
fn gather(operand: &Operand, buffer: &[u8], element_bytes: usize) -> Bytes {
    let layout = &operand.layout;
    let contiguous = crate::tensor::Layout::contiguous(&layout.shape);
    let mut gathered = Bytes::zeroed(layout.shape.elements() * element_bytes);
    let view = Strided { sizes: &layout.shape, strides: &layout.strides, offset: layout.offset };
    if element_bytes == 8 {
        let (from, to) = (bytemuck::cast_slice(buffer), bytemuck::cast_slice_mut(gathered.as_mut()));
        cpu_reference::copy::<u64>(from, view, to, &contiguous.strides, 0);
    } else {
        let (from, to) = (bytemuck::cast_slice(buffer), bytemuck::cast_slice_mut(gathered.as_mut()));
        cpu_reference::copy::<u32>(from, view, to, &contiguous.strides, 0);
    }
    gathered
}

impl<'a> Values<'a> {
    /// Reads a group's inputs, which its launch may overwrite.
    pub(super) fn read(
        context: &Context<'_>,
        number: usize,
        launch: &'a Launch,
        fused: &'a Fused,
    ) -> Result<Values<'a>, Error> {
        let precision = context.steps.precision();
        let input = |operand: &Operand| {
            let buffer = context.steps.read(operand)?;
            let element_bytes = precision.element_bytes(operand.dtype);
            let values = Rc::new(gather(operand, buffer.as_ref(), element_bytes));
            Ok(Argument { values, dtype: operand.dtype, element_bytes, repeated: false, inside: None })
        };
        let inputs = launch.inputs.iter().map(input).collect::<Result<_, Error>>()?;
        let count = fused.instructions.len();
        let (members, shifts) = (vec![None; count], vec![Shifts::default(); count]);
        Ok(Values { number, launch, fused, inputs, members, shifts })
    }

    /// The value of a member that another one reads. To be called while the inputs are what they were.
    pub(super) fn member(&mut self, context: &mut Context<'_>, place: usize) -> Result<Rc<Bytes>, Error> {
        if let Some(values) = &self.members[place] {
            return Ok(values.clone());
        }
        let values = Rc::new(context.steps.member(self.number, place)?);
        Ok(self.members[place].insert(values).clone())
    }

    /// Compares the value of a member that another one reads, and keeps how far it may lie elsewhere.
    pub(super) fn compare_member(
        &mut self,
        context: &mut Context<'_>,
        place: usize,
        case: &MemberCase<'_>,
    ) -> Result<Tally, Error> {
        let found = self.member(context, place)?;
        let (tally, shifts) = case.compare(context.steps.arithmetic(), &found);
        self.shifts[place] = Rc::new(shifts);
        Ok(tally)
    }

    /// Which members others of the group read.
    pub(super) fn is_read(&self, place: usize) -> bool {
        let reads = |later: &Instruction| later.sources.contains(&Source::Instruction(place));
        self.fused.instructions.iter().any(reads)
    }

    /// A member with the values of its arguments.
    pub(super) fn case<'g>(&mut self, context: &mut Context<'g>, place: usize) -> Result<MemberCase<'g>, Error> {
        let graph = &context.schedule.graph;
        let instruction = &self.fused.instructions[place];
        let node = graph.node(instruction.node);
        let Some(OpKind::Elementwise(op)) = node.op_kind() else {
            return Err(Error::Internal(format!("{} cannot be fused", graph.label(instruction.node))));
        };
        let precision = context.steps.precision();
        let mut arguments = Vec::with_capacity(instruction.sources.len());
        for (source, &input) in instruction.sources.iter().zip(&node.inputs) {
            let dtype = graph.kind_of(input).dtype;
            arguments.push(match source {
                Source::Input(number) => self.inputs[*number].clone(),
                Source::Instruction(earlier) => Argument {
                    values: self.member(context, *earlier)?,
                    dtype,
                    element_bytes: precision.element_bytes(dtype),
                    repeated: false,
                    inside: Some(self.shifts[*earlier].clone()),
                },
                Source::Literal(..) | Source::StepScalar(_) => Argument {
                    values: Rc::new(number_bytes(*source, precision, context.step)),
                    dtype,
                    element_bytes: precision.element_bytes(dtype),
                    repeated: true,
                    inside: None,
                },
            });
        }
        let dtypes: Vec<DType> = arguments.iter().map(|argument| argument.dtype).collect();
        let missing = || Error::Internal(format!("the oracle lacks {} of {dtypes:?}", self.launch.label));
        let function = op.block_function(Precision::F64, &dtypes).ok_or_else(missing)?;
        let (dtype, count) = (node.outputs[0].dtype, self.fused.shape.elements());
        Ok(MemberCase { op, function, arguments, dtype, element_bytes: precision.element_bytes(dtype), count })
    }
}

/// One member of a group.
pub(super) struct MemberCase<'a> {
    op: &'a dyn ElementwiseOp,
    function: BlockFunction,
    pub(super) arguments: Vec<Argument>,
    /// The result's.
    dtype: DType,
    element_bytes: usize,
    count: usize,
}

/// A few elements of each argument as the oracle holds them.
struct Block {
    first: usize,
    count: usize,
    arguments: Vec<Bytes>,
}

impl MemberCase<'_> {
    pub(super) fn arguments_at(&self, index: usize) -> Vec<f64> {
        self.arguments.iter().map(|argument| argument.at(index)).collect()
    }

    fn block(&self, first: usize) -> Block {
        let count = BLOCK.min(self.count - first);
        let widen = |argument: &Argument| {
            let mut bytes = Bytes::zeroed(count * Precision::F64.element_bytes(argument.dtype));
            if argument.dtype == DType::F32 {
                let values: &mut [f64] = bytemuck::cast_slice_mut(bytes.as_mut());
                values.iter_mut().zip(first..).for_each(|(value, index)| *value = argument.at(index));
            } else {
                let words: &[u32] = bytemuck::cast_slice(argument.values.as_ref().as_ref());
                let to: &mut [u32] = bytemuck::cast_slice_mut(bytes.as_mut());
                to.iter_mut()
                    .zip(first..)
                    .for_each(|(word, index)| *word = words[if argument.repeated { 0 } else { index }]);
            }
            bytes
        };
        Block { first, count, arguments: self.arguments.iter().map(widen).collect() }
    }

    /// The oracle's results of a block's arguments, of which one may be replaced.
    fn results(&self, block: &Block, replaced: Option<(usize, &Bytes)>) -> Vec<f64> {
        let element_bytes = Precision::F64.element_bytes(self.dtype);
        let mut output = Bytes::zeroed(block.count * element_bytes);
        let argument = |(place, bytes)| match replaced {
            Some((wanted, other)) if wanted == place => other,
            _ => bytes,
        };
        let inputs: Vec<&[u8]> = block.arguments.iter().enumerate().map(|pair| argument(pair).as_ref()).collect();
        (self.function)(&inputs, output.as_mut(), block.first, &Ahead::default());
        (0..block.count).map(|index| number(output.as_ref(), self.dtype, element_bytes, index)).collect()
    }

    /// The other arguments that the device may have computed with instead of argument `place`, if any: what the group
    /// computes a unit of itself further, and besides where its own arguments so moved would take it.
    fn moved(&self, arithmetic: Arithmetic, block: &Block, place: usize) -> Vec<Bytes> {
        let argument = &self.arguments[place];
        let mut moved = Vec::new();
        if let Some(shifts) = &argument.inside {
            let shift = |index: usize| shifts.get(block.first + index).copied().unwrap_or(0.0);
            for sign in [1.0, -1.0] {
                moved.push(argument.changed(&block.arguments[place], |index, value| {
                    let unit = if argument.dtype.is_float() { arithmetic.unit() * value.abs() } else { 0.0 };
                    value + sign * (unit + shift(index))
                }));
            }
        }
        let denormal = |value: f64| value != 0.0 && value.abs() < f64::from(f32::MIN_POSITIVE);
        let flushes = arithmetic == Arithmetic::Gpu && argument.dtype.is_float();
        if flushes && (0..block.count).any(|index| denormal(argument.at(block.first + index))) {
            let flush = |_: usize, value| if denormal(value) { 0.0 } else { value };
            moved.push(argument.changed(&block.arguments[place], flush));
        }
        moved
    }

    /// Compares a result of the device, in its own precision. Also for each element how far it may lie elsewhere in
    /// another kernel, rounding apart.
    pub(super) fn compare(&self, arithmetic: Arithmetic, found: &Bytes) -> (Tally, Vec<f64>) {
        let (mut tally, mut shifts) = (Tally::default(), Vec::with_capacity(self.count));
        for first in (0..self.count).step_by(BLOCK) {
            shifts.extend(self.compare_block(arithmetic, &self.block(first), found, &mut tally));
        }
        (tally, shifts)
    }

    fn compare_block(&self, arithmetic: Arithmetic, block: &Block, found: &Bytes, tally: &mut Tally) -> Vec<f64> {
        let gpu = arithmetic == Arithmetic::Gpu;
        let found = |index: usize| number(found.as_ref(), self.dtype, self.element_bytes, block.first + index);
        let exact = self.results(block, None);
        // How far the result moves with its arguments; results that are whole may also be any of the others.
        let mut shifts = vec![0.0; block.count];
        let mut also = vec![false; block.count];
        for place in 0..self.arguments.len() {
            let mut largest = vec![0.0_f64; block.count];
            for moved in self.moved(arithmetic, block, place) {
                for (index, other) in self.results(block, Some((place, &moved))).into_iter().enumerate() {
                    also[index] |= other == found(index);
                    let same = other == exact[index] || (other.is_nan() && exact[index].is_nan());
                    let distance = if same { 0.0 } else { (other - exact[index]).abs() };
                    largest[index] = largest[index].max(if distance.is_nan() { f64::INFINITY } else { distance });
                }
            }
            shifts.iter_mut().zip(largest).for_each(|(shift, largest)| *shift += largest);
        }
        let mut magnitudes: Option<Vec<f64>> = None;
        let mut arguments = vec![0.0; self.arguments.len()];
        for index in 0..block.count {
            let at = block.first + index;
            arguments.iter_mut().zip(&self.arguments).for_each(|(value, argument)| *value = argument.at(at));
            let nan = arguments.iter().any(|value| value.is_nan());
            let infinite = arguments.iter().any(|value| value.is_infinite());
            let (found, exact) = (found(index), exact[index]);
            // WGSL promises nothing of infinities and of what is not defined, such as log −1; that NaN stays NaN is
            // this crate's promise, but not what it compares as.
            let promised = match (exact.is_nan(), nan) {
                (true, kept) => kept,
                (false, true) => !infinite && self.dtype.is_float(),
                (false, false) => !infinite,
            };
            if gpu && !promised {
                continue;
            }
            if !self.dtype.is_float() {
                tally.add(arithmetic, at, if also[index] { exact } else { found }, exact, 0.0);
                continue;
            }
            let accuracy = self.op.accuracy(arithmetic, &arguments);
            let magnitude = if accuracy.summed == 0.0 {
                0.0
            } else {
                magnitudes.get_or_insert_with(|| self.results_of_magnitudes(block))[index]
            };
            tally.add(arithmetic, at, found, exact, accuracy.allows(arithmetic, exact, magnitude) + shifts[index]);
        }
        shifts
    }

    fn results_of_magnitudes(&self, block: &Block) -> Vec<f64> {
        let mut arguments = block.arguments.clone();
        for (bytes, argument) in arguments.iter_mut().zip(&self.arguments) {
            *bytes = argument.changed(bytes, |_, value| value.abs());
        }
        self.results(&Block { arguments, ..*block }, None)
    }
}
