//! Runs a program launch by launch and looks at every result: is it what its inputs give, is it finite?

mod compare;
mod every;
mod finite;
mod group;
mod kernel;
mod report;

pub use report::{CheckReport, OpReport};

use super::stepwise::Stepwise;
use crate::Error;
use crate::finding::{Fault, Finding};
use crate::graph::{Graph, NodeId};
use crate::schedule::{Launch, Schedule, Work};
use crate::tensor::{DType, Shape};

/// What [`crate::Session::run`] looks at while it runs; see [`crate::Session::set_check`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// After each launch every result is compared with what the double-precision oracle makes of the launch's own
    /// inputs, within the operator's accuracy; in a fused group each member with what the oracle makes of the
    /// device's values of its arguments.
    Every,
    /// As `Every`, from the first launch on that the name means: a path of scopes (`blocks.3`, which means
    /// `blocks.3.attention` too), an operator (`matmul`), an operator in a scope (`blocks.3/matmul`), or a launch's
    /// label with the number (`blocks.3/matmul#17`). A name that means nothing in a program is an error.
    From(String),
    /// Nothing is compared: the run ends at the first operator that makes NaN out of numbers, or infinity out of
    /// finite ones, or at the first input or state that holds either. What is masked away later, within a fused
    /// group, is not complained of.
    Finite,
}

/// A run that is being checked.
struct Context<'a> {
    schedule: &'a Schedule,
    steps: &'a mut dyn Stepwise,
    step: &'a [u32; 16],
    device: &'a str,
}

/// Runs every launch once, with a check.
pub(super) fn run(
    check: &Check,
    schedule: &Schedule,
    steps: &mut dyn Stepwise,
    step: &[u32; 16],
    device: &str,
    report: &mut CheckReport,
) -> Result<(), Error> {
    let mut context = Context { schedule, steps, step, device };
    let first = check.first_launch(schedule)?;
    match check {
        Check::Every | Check::From(_) => every::run(&mut context, first, report),
        Check::Finite => finite::run(&mut context),
    }
}

impl Check {
    /// The launch that the check begins with.
    ///
    /// # Errors
    /// If the name of [`Check::From`] means nothing in the program; those that come near are listed.
    pub fn first_launch(&self, schedule: &Schedule) -> Result<usize, Error> {
        match self {
            Check::Every | Check::Finite => Ok(0),
            Check::From(name) => first_named(schedule, name),
        }
    }
}

/// The nodes that a launch computes.
fn members(launch: &Launch) -> Vec<NodeId> {
    match &launch.work {
        Work::Kernel(node) => vec![*node],
        Work::Fused(fused) => fused.instructions.iter().map(|instruction| instruction.node).collect(),
    }
}

fn op_name(graph: &Graph, node: NodeId) -> &'static str {
    graph.node(node).op().map_or("?", |op| op.name())
}

fn means(graph: &Graph, node: NodeId, name: &str) -> bool {
    let label = graph.label(node);
    let numberless = label.rsplit_once('#').map_or(&*label, |(front, _)| front);
    let below = graph.node(node).scope.strip_prefix(name);
    let in_scope = below.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    !name.is_empty() && (in_scope || name == label || name == numberless || name == op_name(graph, node))
}

/// The first launch that a name means.
fn first_named(schedule: &Schedule, name: &str) -> Result<usize, Error> {
    let graph = &schedule.graph;
    let named = |launch: &Launch| members(launch).iter().any(|&node| means(graph, node, name));
    schedule.launches.iter().position(named).ok_or_else(|| {
        let nodes = || schedule.launches.iter().flat_map(members);
        let mut scopes: Vec<String> = nodes().map(|node| graph.node(node).scope.to_string()).collect();
        let mut operators: Vec<String> = nodes().map(|node| op_name(graph, node).to_string()).collect();
        for names in [&mut scopes, &mut operators] {
            names.sort_unstable();
            names.dedup();
            names.retain(|known| !known.is_empty());
        }
        Error::Usage(format!(
            "the check is to begin at {name:?}, which is no scope, operator or launch of this program; scopes are {}; \
             operators are {}",
            nearest(scopes, name),
            nearest(operators, name)
        ))
    })
}

/// Those of the names that share something with the one that was looked for, else all; the first few of them.
fn nearest(names: Vec<String>, wanted: &str) -> String {
    const LISTED: usize = 12;
    let wanted = wanted.to_lowercase();
    let parts: Vec<&str> = wanted.split(['.', '/', '#']).filter(|part| part.len() > 1).collect();
    let near = |name: &&String| {
        let name = name.to_lowercase();
        parts.iter().any(|part| name.contains(part) || part.contains(&name))
    };
    let similar: Vec<&String> = names.iter().filter(near).collect();
    let chosen = if similar.is_empty() { names.iter().collect() } else { similar };
    let mut listed: Vec<&str> = chosen.iter().take(LISTED).map(|name| name.as_str()).collect();
    match chosen.len() {
        0 => listed.push("none"),
        count if count > LISTED => listed.push("…"),
        _ => {}
    }
    listed.join(", ")
}

/// An element of a result.
struct Spot {
    launch: usize,
    node: NodeId,
    output: usize,
    index: usize,
    found: f64,
    arguments: Vec<f64>,
}

impl Context<'_> {
    fn finding(&self, spot: Spot, fault: Fault) -> Error {
        let graph = &self.schedule.graph;
        let node = graph.node(spot.node);
        Error::Check(Box::new(Finding {
            fault,
            op: op_name(graph, spot.node).into(),
            scope: node.scope.to_string(),
            label: graph.label(spot.node),
            location: Some(node.location),
            launch: spot.launch,
            inputs: node.inputs.iter().map(|&input| graph.kind_of(input).clone()).collect(),
            outputs: node.outputs.clone(),
            output: spot.output,
            element: coordinates(&node.outputs[spot.output].shape, spot.index),
            found: spot.found,
            arguments: spot.arguments,
            device: self.device.into(),
        }))
    }
}

/// The index along each dimension of an element in row-major order.
fn coordinates(shape: &Shape, index: usize) -> Vec<usize> {
    let mut rest = index;
    let mut coordinates: Vec<usize> = shape
        .iter()
        .rev()
        .map(|&size| {
            let here = rest % size;
            rest /= size;
            here
        })
        .collect();
    coordinates.reverse();
    coordinates
}

/// Element `index` of a buffer as a number; `f32` elements may lie in either precision.
fn number(bytes: &[u8], dtype: DType, element_bytes: usize, index: usize) -> f64 {
    let at = index * element_bytes;
    match (dtype, element_bytes) {
        (DType::F32, 8) => f64::from_ne_bytes(std::array::from_fn(|byte| bytes[at + byte])),
        (DType::U32, _) => f64::from(u32::from_ne_bytes(std::array::from_fn(|byte| bytes[at + byte]))),
        (DType::I32, _) => f64::from(i32::from_ne_bytes(std::array::from_fn(|byte| bytes[at + byte]))),
        (DType::F32 | DType::F16, _) => f64::from(f32::from_ne_bytes(std::array::from_fn(|byte| bytes[at + byte]))),
    }
}
