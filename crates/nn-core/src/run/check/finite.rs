//! Where NaN and infinity come from.

use super::group::Values;
use super::{Context, Spot, coordinates, number};
use crate::Error;
use crate::finding::{Fault, Finding};
use crate::graph::NodeId;
use crate::schedule::{Fused, Launch, Operand, Place, Source, Work};
use crate::tensor::{Bytes, DType, Layout, TensorType};
use std::collections::HashSet;

/// Runs all launches, up to the first that makes NaN or infinity.
pub(super) fn run(context: &mut Context<'_>) -> Result<(), Error> {
    // Inputs and states as they were handed in, each looked at once, and states that the run itself has written.
    let mut seen: HashSet<(Place, Layout)> = HashSet::new();
    let mut written: HashSet<Place> = HashSet::new();
    let schedule = context.schedule;
    for (number, launch) in schedule.launches.iter().enumerate() {
        for input in &launch.inputs {
            let given = matches!(input.place, Place::State(_) | Place::Input(_)) && !written.contains(&input.place);
            if given && seen.insert((input.place, input.layout.clone())) {
                look_at_given(context, number, launch, input)?;
            }
        }
        match &launch.work {
            Work::Kernel(node) => kernel(context, number, launch, *node)?,
            Work::Fused(fused) => group(context, number, launch, fused)?,
        }
        written.extend(launch.outputs.iter().map(|output| output.place));
    }
    Ok(())
}

/// What is wrong with the elements of a view, if anything is.
#[derive(Clone, Copy, Default)]
struct Strays {
    /// The place in the buffer and value of the first NaN.
    nan: Option<(usize, f64)>,
    infinity: Option<(usize, f64)>,
}

impl Strays {
    fn any(self) -> Option<(usize, f64)> {
        self.nan.or(self.infinity)
    }

    /// That of `self` which operands with `before` do not explain: NaN is made by who had none, infinity by who had
    /// neither.
    fn made_from(self, before: Strays) -> Option<(usize, f64)> {
        let nan = self.nan.filter(|_| before.nan.is_none());
        nan.or(self.infinity.filter(|_| before.any().is_none()))
    }

    fn join(self, other: Strays) -> Strays {
        Strays { nan: self.nan.or(other.nan), infinity: self.infinity.or(other.infinity) }
    }
}

/// Looks through the elements of a view.
fn strays(context: &Context<'_>, operand: &Operand, bytes: &Bytes) -> Strays {
    let mut found = Strays::default();
    if operand.dtype != DType::F32 {
        return found;
    }
    let element_bytes = context.steps.precision().element_bytes(DType::F32);
    let layout = &operand.layout;
    super::kernel::for_each_element(&layout.shape, &layout.strides, layout.offset, &mut |index| {
        let value = number(bytes.as_ref(), DType::F32, element_bytes, index);
        if value.is_nan() {
            found.nan.get_or_insert((index, value));
        } else if value.is_infinite() {
            found.infinity.get_or_insert((index, value));
        }
    });
    found
}

fn look_at_given(context: &Context<'_>, number: usize, launch: &Launch, input: &Operand) -> Result<(), Error> {
    let bytes = context.steps.read(input)?;
    let Some((index, found)) = strays(context, input, &bytes).any() else { return Ok(()) };
    let schedule = context.schedule;
    let (op, (name, kind)) = match input.place {
        Place::State(state) => ("state", &schedule.states[state]),
        Place::Input(given) => ("input", &schedule.inputs[given]),
        other => return Err(Error::Internal(format!("{other} was not handed in"))),
    };
    // States and inputs lie in row-major order, so the place in the buffer is the element's number.
    Err(context.given(number, launch, Given { op, name, kind }, index, found))
}

/// A tensor or number from outside the program.
struct Given<'a> {
    op: &'a str,
    name: &'a str,
    kind: &'a TensorType,
}

impl Context<'_> {
    fn given(&self, number: usize, launch: &Launch, tensor: Given<'_>, index: usize, found: f64) -> Error {
        Error::Check(Box::new(Finding {
            fault: Fault::Given { reader: launch.label.clone() },
            op: tensor.op.into(),
            scope: String::new(),
            label: tensor.name.into(),
            location: None,
            launch: number,
            inputs: Vec::new(),
            outputs: vec![tensor.kind.clone()],
            output: 0,
            element: coordinates(&tensor.kind.shape, index),
            found,
            arguments: Vec::new(),
            device: self.device.into(),
        }))
    }
}

fn kernel(context: &mut Context<'_>, number: usize, launch: &Launch, node: NodeId) -> Result<(), Error> {
    // What a kernel writes over must be looked at before it does.
    let mut overwritten = Strays::default();
    let over = launch.in_place().map(|pair| &launch.inputs[pair.input]);
    if let Some(input) = over {
        overwritten = strays(context, input, &context.steps.read(input)?);
    }
    context.steps.run(number..number + 1)?;
    let mut before: Option<Strays> = None;
    for (output, operand) in launch.outputs.iter().enumerate() {
        let after = strays(context, operand, &context.steps.read(operand)?);
        if after.any().is_none() {
            continue;
        }
        // The other inputs can be looked at afterwards.
        let before = match before {
            Some(before) => before,
            None => {
                let mut all = overwritten;
                let others = launch.inputs.iter().filter(|input| over.is_none_or(|over| over.place != input.place));
                for input in others {
                    all = all.join(strays(context, input, &context.steps.read(input)?));
                }
                *before.insert(all)
            }
        };
        if let Some((index, found)) = after.made_from(before) {
            let spot = Spot { launch: number, node, output, index, found, arguments: Vec::new() };
            return Err(context.finding(spot, Fault::NotFinite));
        }
    }
    Ok(())
}

fn group(context: &mut Context<'_>, number: usize, launch: &Launch, fused: &Fused) -> Result<(), Error> {
    let mut overwritten = Vec::new();
    for input in launch.inputs.iter().filter(|input| launch.outputs.iter().any(|output| output.place == input.place)) {
        overwritten.push((input, context.steps.read(input)?));
    }
    context.steps.run(number..number + 1)?;
    let mut results = Vec::new();
    for (&place, output) in fused.results.iter().zip(&launch.outputs) {
        let bytes = context.steps.read(output)?;
        if strays(context, output, &bytes).any().is_some() {
            results.push((place, bytes));
        }
    }
    if results.is_empty() {
        return Ok(());
    }
    // The members are computed again, from what the launch had before it.
    let mut after = Vec::new();
    for (input, bytes) in &overwritten {
        after.push((*input, context.steps.read(input)?));
        context.steps.write(input, bytes)?;
    }
    let mut group = Group { number, launch, fused, values: Values::read(context, number, launch, fused)? };
    let element_bytes = context.steps.precision().element_bytes(DType::F32);
    for (place, bytes) in &results {
        for index in 0..fused.shape.elements() {
            let found = super::number(bytes.as_ref(), DType::F32, element_bytes, index);
            if found.is_finite() {
                continue;
            }
            if let Some(spot) = group.origin(context, *place, index, found)? {
                return Err(context.finding(spot, Fault::NotFinite));
            }
        }
    }
    // Nothing began here: go on as if nobody had looked.
    for (input, bytes) in &after {
        context.steps.write(input, bytes)?;
    }
    Ok(())
}

/// A fused group whose results hold strays, with its inputs as they were.
struct Group<'a> {
    number: usize,
    launch: &'a Launch,
    fused: &'a Fused,
    values: Values<'a>,
}

impl Group<'_> {
    /// Where a stray element of a member began, if within this group.
    fn origin(
        &mut self,
        context: &mut Context<'_>,
        place: usize,
        index: usize,
        found: f64,
    ) -> Result<Option<Spot>, Error> {
        let arguments = self.values.case(context, place)?.arguments_at(index);
        let sources = &self.fused.instructions[place].sources;
        let among = |guilty: &dyn Fn(f64) -> bool| -> Vec<usize> {
            (0..sources.len()).filter(|&argument| guilty(arguments[argument])).collect()
        };
        // NaN comes from NaN, infinity from either; NaN that is made of infinity came about where that did.
        let handed_on = if found.is_nan() { among(&f64::is_nan) } else { among(&|value| !value.is_finite()) };
        let made_of = if handed_on.is_empty() { among(&f64::is_infinite) } else { handed_on.clone() };
        for suspect in made_of {
            let value = arguments[suspect];
            match sources[suspect] {
                Source::Instruction(earlier) => {
                    if let Some(spot) = self.origin(context, earlier, index, value)? {
                        return Ok(Some(spot));
                    }
                }
                Source::StepScalar(scalar) => {
                    let (name, kind) = (scalar.name(), scalar.kind());
                    let tensor = Given { op: "step scalar", name, kind: &kind };
                    return Err(context.given(self.number, self.launch, tensor, 0, value));
                }
                // It was handed on from elsewhere, or stands in the program as a number.
                Source::Input(_) | Source::Literal(..) => {}
            }
        }
        let node = self.fused.instructions[place].node;
        let spot = Spot { launch: self.number, node, output: 0, index, found, arguments };
        Ok(handed_on.is_empty().then_some(spot))
    }
}
