//! Every result against the oracle.

use super::group::{MemberCase, Values};
use super::kernel::KernelCase;
use super::{CheckReport, Context, Spot, op_name};
use crate::Error;
use crate::finding::Fault;
use crate::graph::{NodeId, OpKind};
use crate::run::check::compare::Tally;
use crate::run::cpu::widen;
use crate::schedule::{Fused, Launch, Operand, Work};
use crate::tensor::{Bytes, TensorType};

/// Runs all launches and compares those from `start` on.
pub(super) fn run(context: &mut Context<'_>, start: usize, report: &mut CheckReport) -> Result<(), Error> {
    context.steps.run(0..start)?;
    let schedule = context.schedule;
    for (number, launch) in schedule.launches.iter().enumerate().skip(start) {
        match &launch.work {
            Work::Kernel(node) => kernel(context, report, number, launch, *node)?,
            Work::Fused(fused) => group(context, report, number, launch, fused)?,
        }
    }
    Ok(())
}

/// An operand's buffer with `f32` values in double precision.
fn wide(context: &Context<'_>, operand: &Operand) -> Result<Bytes, Error> {
    let bytes = context.steps.read(operand)?;
    let elements = operand.layout.end();
    if bytes.as_ref().len() == elements * operand.dtype.bytes() {
        return Ok(widen(crate::graph::Precision::F64, &TensorType::new(operand.dtype, [elements]), bytes.as_ref()));
    }
    Ok(bytes)
}

fn kernel(
    context: &mut Context<'_>,
    report: &mut CheckReport,
    number: usize,
    launch: &Launch,
    node: NodeId,
) -> Result<(), Error> {
    let graph = &context.schedule.graph;
    let Some(OpKind::Kernel(kernel)) = graph.node(node).op_kind() else {
        return Err(Error::Internal(format!("{} has no kernel", launch.label)));
    };
    let inputs = launch.inputs.iter().map(|input| wide(context, input)).collect::<Result<_, _>>()?;
    context.steps.run(number..number + 1)?;
    let found: Vec<Bytes> = launch.outputs.iter().map(|output| wide(context, output)).collect::<Result<_, _>>()?;
    let case = KernelCase { kernel, node: graph.node(node), launch, inputs };
    for (output, tally) in case.compare(context.steps.arithmetic(), &found)?.into_iter().enumerate() {
        judge(context, report, Judged { launch: number, node, output }, &tally, |_| Vec::new())?;
    }
    Ok(())
}

fn group(
    context: &mut Context<'_>,
    report: &mut CheckReport,
    number: usize,
    launch: &Launch,
    fused: &Fused,
) -> Result<(), Error> {
    let arithmetic = context.steps.arithmetic();
    let mut values = Values::read(context, number, launch, fused)?;
    for (place, instruction) in fused.instructions.iter().enumerate() {
        if values.is_read(place) {
            let case = values.case(context, place)?;
            let tally = values.compare_member(context, place, &case)?;
            let judged = Judged { launch: number, node: instruction.node, output: 0 };
            judge(context, report, judged, &tally, |index| case.arguments_at(index))?;
        }
    }
    // The arguments are fetched first: the launch may overwrite what they are made of.
    let cases: Vec<MemberCase<'_>> =
        fused.results.iter().map(|&place| values.case(context, place)).collect::<Result<_, _>>()?;
    context.steps.run(number..number + 1)?;
    for ((&place, case), output) in fused.results.iter().zip(&cases).zip(&launch.outputs) {
        let found = context.steps.read(output)?;
        let judged = Judged { launch: number, node: fused.instructions[place].node, output: 0 };
        let (tally, _) = case.compare(arithmetic, &found);
        judge(context, report, judged, &tally, |index| case.arguments_at(index))?;
    }
    Ok(())
}

/// Whose result was compared.
struct Judged {
    launch: usize,
    node: NodeId,
    output: usize,
}

fn judge(
    context: &Context<'_>,
    report: &mut CheckReport,
    judged: Judged,
    tally: &Tally,
    arguments: impl Fn(usize) -> Vec<f64>,
) -> Result<(), Error> {
    let Judged { launch, node, output } = judged;
    let graph = &context.schedule.graph;
    report.add(op_name(graph, node), graph.node(node).outputs[output].dtype, tally);
    match &tally.worst {
        Some(worst) if tally.differing > 0 => {
            let (index, found) = (worst.index, worst.found);
            let (expected, tolerance, differing) = (worst.exact, worst.tolerance, tally.differing);
            let spot = Spot { launch, node, output, index, found, arguments: arguments(index) };
            Err(context.finding(spot, Fault::Differs { expected, tolerance, differing }))
        }
        _ => Ok(()),
    }
}
