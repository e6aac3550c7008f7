//! Runs a graph node by node on a device and holds each node to its operator's own accuracy, on the very inputs that
//! the device computed: errors don't accumulate, so gradients need no tolerance of their own.

use nn_core::graph::{Accuracy, Arithmetic, ElementwiseOp, Graph, Node, NodeKind, OpKind, StepScalar, ValueId};
use nn_core::tensor::Bytes;
use nn_core::{Device, Error, Input, Session, StepScalars, Tensor, TensorType};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What was compared of one operator.
#[derive(Default)]
pub(crate) struct Row {
    /// Samples that are named after it.
    pub(crate) samples: usize,
    /// Elements compared in forward parts of graphs, and in the parts that gradients added.
    elements: [usize; 2],
    /// Elements of which nothing is promised.
    skipped: usize,
    /// The largest share of its bound that an error uses.
    share: f64,
}

/// What was compared, and what is wrong.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) rows: BTreeMap<&'static str, Row>,
    pub(crate) mistakes: Vec<String>,
}

impl Report {
    /// Prints the table and fails if anything is wrong.
    #[track_caller]
    pub(crate) fn finish(self, device: &Device) {
        println!("on {}, compared with f64:", device.name());
        println!(
            "{:<24}{:>8}{:>11}{:>11}{:>9}{:>13}",
            "op", "samples", "forward", "gradient", "skipped", "error/bound"
        );
        for (op, row) in &self.rows {
            let [forward, gradient] = row.elements;
            println!("{op:<24}{:>8}{forward:>11}{gradient:>11}{:>9}{:>13.3}", row.samples, row.skipped, row.share);
        }
        assert!(self.mistakes.is_empty(), "{} mistakes:\n{}", self.mistakes.len(), self.mistakes.join("\n"));
    }
}

/// Values of a graph as the device computed them.
type Values = HashMap<ValueId, Tensor>;

/// Runs every node of a graph. `leaves` are its inputs and states by name; what comes after the output `y` belongs to
/// gradients.
pub(crate) fn check(
    what: &str,
    device: &Device,
    arithmetic: Arithmetic,
    graph: &Graph,
    leaves: &[(String, Tensor)],
    report: &mut Report,
) -> Result<(), Error> {
    let scalars = StepScalars::new(3, 12_345, 0.25);
    let mut values = Values::new();
    let result = graph.output("y").map(|value| value.node);
    for (id, node) in graph.iter() {
        let value = |output: usize| ValueId { node: id, output: output as u32 };
        let Some(op) = node.op() else {
            values.insert(value(0), leaf(node, leaves, scalars)?);
            continue;
        };
        let piece = Piece::new(graph, node, &values, false)?;
        let found = piece.run(device, scalars, Session::output)?;
        let exact = piece.run(&Device::oracle(), scalars, Session::output_f64)?;
        let inputs: Vec<Elements> = node.inputs.iter().map(|input| Elements::of(&values[input])).collect();
        let (accuracy, magnitudes) = match node.op_kind() {
            Some(OpKind::Kernel(kernel)) => {
                let kinds: Vec<TensorType> = node.inputs.iter().map(|&input| graph.kind_of(input).clone()).collect();
                let largest: Vec<f64> = inputs.iter().map(Elements::largest).collect();
                let accuracy = kernel.accuracy(arithmetic, &kinds, &largest);
                let absolute =
                    || Piece::new(graph, node, &values, true)?.run(&Device::oracle(), scalars, Session::output_f64);
                (accuracy, if accuracy.summed == 0.0 { Vec::new() } else { absolute()? })
            }
            // A view moves elements.
            _ => (Accuracy::EXACT, Vec::new()),
        };
        let elementwise = if let Some(OpKind::Elementwise(op)) = node.op_kind() { Some(op) } else { None };
        let row = report.rows.entry(op.name()).or_default();
        for (output, (found, exact)) in found.iter().zip(&exact).enumerate() {
            let magnitudes = magnitudes.get(output).map(Vec::as_slice);
            let comparison = Comparison { arithmetic, elementwise, accuracy, inputs: &inputs, magnitudes };
            let outcome = comparison.run(exact, &Elements::of(found));
            row.elements[usize::from(result.is_some_and(|result| id > result))] += outcome.compared;
            row.skipped += outcome.skipped;
            row.share = row.share.max(outcome.share);
            if let Some(mistake) = outcome.mistake {
                report.mistakes.push(format!("{what} on {}: {}: {mistake}", device.name(), graph.label(id)));
            }
        }
        for (output, tensor) in found.into_iter().enumerate() {
            values.insert(value(output), tensor);
        }
    }
    Ok(())
}

/// The value of a node that is no operator.
fn leaf(node: &Node, leaves: &[(String, Tensor)], scalars: StepScalars) -> Result<Tensor, Error> {
    match &node.kind {
        NodeKind::Input(name) | NodeKind::State(name) => {
            let given = leaves.iter().find(|(known, _)| known == name).map(|(_, tensor)| tensor.clone());
            given.ok_or_else(|| Error::Usage(format!("no value was given for {name}")))
        }
        NodeKind::Constant(bytes) => Tensor::from_bytes(node.outputs[0].clone(), bytes.as_ref().as_ref()),
        NodeKind::StepScalar(StepScalar::Step) => Tensor::from_u32([], &[scalars.step]),
        NodeKind::StepScalar(StepScalar::Seed) => Tensor::from_u32([], &[scalars.seed]),
        NodeKind::StepScalar(StepScalar::LearningRate) => Tensor::from_f32([], &[scalars.learning_rate]),
        NodeKind::Op(op) => Err(Error::Usage(format!("{} is no leaf", op.name()))),
    }
}

/// A graph of one operator. The views that it reads through, constants and numbers of the step are there too, so that
/// it is compiled as in the whole graph; what others computed is handed in.
#[derive(Default)]
struct Piece {
    graph: Graph,
    inputs: Vec<(String, Tensor)>,
    moved: HashMap<ValueId, ValueId>,
}

impl Piece {
    /// With `absolute`, on the absolute values of its inputs.
    fn new(graph: &Graph, node: &Node, values: &Values, absolute: bool) -> Result<Piece, Error> {
        let mut piece = Piece::default();
        let mut inputs = Vec::new();
        for &input in &node.inputs {
            inputs.push(piece.import(graph, input, values, absolute)?);
        }
        let id = piece.graph.push(Node { inputs, ..node.clone() });
        for output in 0..node.outputs.len() as u32 {
            piece.graph.outputs.push((format!("output {output}"), ValueId { node: id, output }));
        }
        Ok(piece)
    }

    fn import(&mut self, graph: &Graph, value: ValueId, values: &Values, absolute: bool) -> Result<ValueId, Error> {
        if let Some(&known) = self.moved.get(&value) {
            return Ok(known);
        }
        let origin = graph.node(value.node);
        let node = match (&origin.kind, origin.op_kind()) {
            (NodeKind::Op(_), Some(OpKind::View(_))) => {
                Node { inputs: vec![self.import(graph, origin.inputs[0], values, absolute)?], ..origin.clone() }
            }
            (NodeKind::Constant(_), _) if absolute => {
                let bytes = Arc::new(Bytes::copy_of(absolutes(&values[&value])?.bytes()));
                Node { kind: NodeKind::Constant(bytes), ..origin.clone() }
            }
            (NodeKind::Constant(_) | NodeKind::StepScalar(_), _) => origin.clone(),
            _ => {
                let tensor = if absolute { absolutes(&values[&value])? } else { values[&value].clone() };
                let (name, outputs) = (format!("input {}", self.inputs.len()), vec![tensor.kind().clone()]);
                self.inputs.push((name.clone(), tensor));
                Node { kind: NodeKind::Input(name), inputs: Vec::new(), outputs, ..origin.clone() }
            }
        };
        let moved = ValueId { node: self.graph.push(node), output: 0 };
        self.moved.insert(value, moved);
        Ok(moved)
    }

    /// All outputs, read by `read`.
    fn run<T>(
        &self,
        device: &Device,
        scalars: StepScalars,
        read: impl Fn(&mut Session, &mut nn_core::Executable, &str) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut session = Session::new(device);
        let mut program = session.compile(&self.graph)?;
        // A folded constant or a stream of random numbers needs none of its inputs.
        let needed = |name: &str| program.schedule().inputs.iter().any(|(known, _)| known == name);
        let given = self.inputs.iter().filter(|(name, _)| needed(name));
        let given: Vec<(&str, Input<'_>)> = given.map(|(name, tensor)| (name.as_str(), tensor.into())).collect();
        session.run(&mut program, &given, scalars)?;
        self.graph.outputs.iter().map(|(name, _)| read(&mut session, &mut program, name)).collect()
    }
}

fn absolutes(tensor: &Tensor) -> Result<Tensor, Error> {
    let Ok(values) = tensor.as_f32() else { return Ok(tensor.clone()) };
    Tensor::from_f32(tensor.shape().clone(), &values.iter().map(|value| value.abs()).collect::<Vec<f32>>())
}

/// A tensor's elements, whatever their type.
enum Elements<'a> {
    F32(&'a [f32]),
    U32(&'a [u32]),
    I32(&'a [i32]),
}

impl Elements<'_> {
    fn of(tensor: &Tensor) -> Elements<'_> {
        match Input::from(tensor) {
            Input::F32(values) => Elements::F32(values),
            Input::U32(values) => Elements::U32(values),
            Input::I32(values) => Elements::I32(values),
            Input::F64(_) => unreachable!("a tensor holds no f64"),
        }
    }

    fn len(&self) -> usize {
        match self {
            Elements::F32(values) => values.len(),
            Elements::U32(values) => values.len(),
            Elements::I32(values) => values.len(),
        }
    }

    fn get(&self, index: usize) -> f64 {
        match self {
            Elements::F32(values) => f64::from(values[index]),
            Elements::U32(values) => f64::from(values[index]),
            Elements::I32(values) => f64::from(values[index]),
        }
    }

    fn any(&self, test: impl Fn(f64) -> bool) -> bool {
        (0..self.len()).any(|index| test(self.get(index)))
    }

    /// The largest finite magnitude.
    fn largest(&self) -> f64 {
        (0..self.len()).map(|index| self.get(index).abs()).filter(|x| x.is_finite()).fold(0.0, f64::max)
    }
}

/// How the results of one operator are compared.
struct Comparison<'a> {
    arithmetic: Arithmetic,
    /// An elementwise operator says for each element how exact it is.
    elementwise: Option<&'a dyn ElementwiseOp>,
    /// Others say it for all.
    accuracy: Accuracy,
    inputs: &'a [Elements<'a>],
    /// The results on absolute values, where they matter.
    magnitudes: Option<&'a [f64]>,
}

#[derive(Default)]
struct Outcome {
    compared: usize,
    skipped: usize,
    share: f64,
    mistake: Option<String>,
}

impl Comparison<'_> {
    fn run(&self, exact: &[f64], found: &Elements<'_>) -> Outcome {
        assert_eq!(exact.len(), found.len());
        let mut outcome = Outcome::default();
        let mut given = Vec::new();
        let mut nan = self.inputs.iter().any(|input| input.any(f64::is_nan));
        let mut infinite = self.inputs.iter().any(|input| input.any(f64::is_infinite));
        for (index, &exact) in exact.iter().enumerate() {
            let mut accuracy = self.accuracy;
            if let Some(op) = self.elementwise {
                given = self.inputs.iter().map(|input| input.get(index)).collect();
                nan = given.iter().any(|x| x.is_nan());
                // A GPU may take a denormal argument for 0.
                infinite = given.iter().any(|x| x.is_infinite() || (*x as f32).is_subnormal());
                accuracy = op.accuracy(self.arithmetic, &given);
            }
            let magnitude = self.magnitudes.map_or(0.0, |values| values[index]);
            let allowed = accuracy.allows(self.arithmetic, exact, magnitude);
            if !self.promised(exact, found, nan, infinite) || (allowed == f64::INFINITY && !exact.is_nan()) {
                outcome.skipped += 1;
                continue;
            }
            outcome.compared += 1;
            let found_number = found.get(index);
            let error = (found_number - exact).abs();
            let right = match found {
                Elements::F32(_) => self.accepts(exact, found_number, allowed),
                _ => error == 0.0,
            };
            if error > 0.0 && error.is_finite() {
                outcome.share = outcome.share.max(error / allowed);
            }
            if !right && outcome.mistake.is_none() {
                let of = if given.is_empty() { String::new() } else { format!(" of {given:?}") };
                let numbers = format!("element {index}{of} is {found_number:e} instead of {exact:e}");
                outcome.mistake = Some(format!("{numbers}, off by {error:.2e} where {allowed:.2e} is allowed"));
            }
        }
        outcome
    }

    /// Whether a device owes us anything. WGSL promises nothing of infinite numbers, nor of operations that are not
    /// defined for their arguments; that NaN is kept is our own promise.
    fn promised(&self, exact: f64, found: &Elements<'_>, nan: bool, infinite: bool) -> bool {
        if self.arithmetic != Arithmetic::Gpu {
            return true;
        }
        match (self.elementwise.is_some(), exact.is_nan()) {
            (true, true) => nan && matches!(found, Elements::F32(_)),
            (true, false) => !nan && !infinite,
            (false, _) => !infinite,
        }
    }

    fn accepts(&self, exact: f64, found: f64, allowed: f64) -> bool {
        let largest = f64::from(f32::MAX);
        if exact.is_nan() {
            found.is_nan()
        } else if exact.abs() > largest && found.is_nan() {
            self.arithmetic == Arithmetic::Gpu
        } else if exact.abs() > largest || (exact.abs() + allowed > largest && found.is_infinite()) {
            found.abs() > 1e38 && found.signum() == exact.signum()
        } else {
            (found - exact).abs() <= allowed
        }
    }
}
