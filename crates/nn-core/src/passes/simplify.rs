//! Drops what need not be computed: unused nodes, duplicates, views that change nothing, arithmetic on constants.

use super::join::{Joined, side_by_side};
use crate::Error;
use crate::graph::{Graph, Node, NodeId, NodeKind, OpKind, Precision, ValueId};
use crate::ops;
use crate::tensor::{Bytes, DType, Layout, TensorType};
use cpu_reference::elementwise::Ahead;
use std::collections::HashMap;
use std::sync::Arc;

/// Rebuilds the graph from its outputs and updates, leaving out all that changes nothing.
///
/// # Errors
/// None but faults of ours.
pub fn simplify(graph: &Graph) -> Result<Graph, Error> {
    let used = used_nodes(graph);
    let mut rebuild = Rebuild::default();
    let mut moved: HashMap<ValueId, ValueId> = HashMap::new();
    for (id, node) in graph.iter().filter(|(id, _)| used[id.index()]) {
        let inputs: Vec<ValueId> = node.inputs.iter().map(|input| moved[input]).collect();
        for output in 0..node.outputs.len() as u32 {
            let value = rebuild.add(node, &inputs, output);
            moved.insert(ValueId { node: id, output }, value);
        }
    }
    let move_all = |named: &[(String, ValueId)]| {
        named.iter().map(|(name, value)| (name.clone(), moved[value])).collect::<Vec<_>>()
    };
    let mut result = rebuild.graph;
    result.outputs = move_all(&graph.outputs);
    result.updates = move_all(&graph.updates);
    // Folding leaves nodes behind that were only read by what it replaced.
    if used_nodes(&result).contains(&false) { simplify(&result) } else { Ok(result) }
}

/// Which nodes some output or update depends on.
fn used_nodes(graph: &Graph) -> Vec<bool> {
    let mut used = vec![false; graph.nodes().len()];
    for (_, value) in graph.outputs.iter().chain(&graph.updates) {
        used[value.node.index()] = true;
    }
    for (id, node) in graph.iter().rev() {
        // A state that is written is kept even if nothing reads it.
        if let NodeKind::State(name) = &node.kind {
            used[id.index()] |= graph.updates.iter().any(|(updated, _)| updated == name);
        }
        if used[id.index()] {
            node.inputs.iter().for_each(|input| used[input.node.index()] = true);
        }
    }
    used
}

#[derive(Default)]
struct Rebuild {
    graph: Graph,
    /// Nodes by all that decides their values.
    known: HashMap<Key, NodeId>,
}

#[derive(PartialEq, Eq, Hash)]
enum Key {
    Constant(TensorType, Vec<u8>),
    Op(&'static str, String, Vec<ValueId>, Vec<TensorType>),
}

impl Rebuild {
    fn add(&mut self, node: &Node, inputs: &[ValueId], output: u32) -> ValueId {
        if let Some(op) = node.op() {
            match op.kind() {
                OpKind::View(view) => {
                    let before = Layout::contiguous(&self.graph.kind_of(inputs[0]).shape);
                    let shape = &node.outputs[0].shape;
                    let after = view.layout(&before);
                    if *shape == before.shape && after.is_some_and(|after| after == before) {
                        return inputs[0];
                    }
                }
                OpKind::Elementwise(elementwise) => {
                    let numbers: Option<Vec<[u8; 4]>> =
                        inputs.iter().map(|&input| uniform(&self.graph, input)).collect();
                    let dtypes: Vec<DType> = inputs.iter().map(|&input| self.graph.kind_of(input).dtype).collect();
                    let function = elementwise.block_function(Precision::F32, &dtypes);
                    if let (Some(numbers), Some(function), false) = (numbers, function, elementwise.depends_on_index())
                    {
                        let aligned: Vec<Bytes> = numbers.iter().map(|number| Bytes::copy_of(number)).collect();
                        let slices: Vec<&[u8]> = aligned.iter().map(AsRef::as_ref).collect();
                        let mut result = Bytes::zeroed(4);
                        function(&slices, result.as_mut(), 0, &Ahead::default());
                        return self.uniform(node, result);
                    }
                    let number = |(input, dtype): (&ValueId, &DType)| match dtype {
                        DType::F32 => uniform(&self.graph, *input).map(f32::from_ne_bytes),
                        _ => None,
                    };
                    let known: Vec<Option<f32>> = inputs.iter().zip(&dtypes).map(number).collect();
                    if let Some(same) = elementwise.same_as(&known) {
                        return inputs[same];
                    }
                    if op.name() == "add"
                        && let Some(joined) = self.join(node, inputs[0], inputs[1])
                    {
                        return joined;
                    }
                }
                OpKind::Kernel(_) => {}
            }
        }
        let id = self.node(node.kind.clone(), inputs.to_vec(), node.outputs.clone(), node);
        ValueId { node: id, output }
    }

    /// A constant of one element, repeated to the node's shape.
    fn uniform(&mut self, node: &Node, bytes: Bytes) -> ValueId {
        let kind = &node.outputs[0];
        let scalar = TensorType::new(kind.dtype, []);
        let constant = self.node(NodeKind::Constant(Arc::new(bytes)), Vec::new(), vec![scalar], node);
        let value = ValueId { node: constant, output: 0 };
        if kind.shape.rank() == 0 {
            return value;
        }
        let broadcast = NodeKind::Op(ops::broadcast_op(&kind.shape));
        ValueId { node: self.node(broadcast, vec![value], vec![kind.clone()], node), output: 0 }
    }

    /// The sum of two parts amid zeros that lie side by side: one after the other, amid the zeros that are left. If one is
    /// a sum with one such part, the other joins that part.
    fn join(&mut self, node: &Node, one: ValueId, other: ValueId) -> Option<ValueId> {
        if let Some(joined) = side_by_side(&self.graph, one, other) {
            return Some(self.joined(node, joined));
        }
        for (sum, part) in [(one, other), (other, one)] {
            let inner = self.graph.node(sum.node);
            let terms = match (inner.op(), &inner.inputs[..]) {
                (Some(op), &[first, second]) if op.name() == "add" => [(first, second), (second, first)],
                _ => continue,
            };
            for (beside, rest) in terms {
                if let Some(joined) = side_by_side(&self.graph, beside, part) {
                    let joined = self.joined(node, joined);
                    return Some(self.add(node, &[joined, rest], 0));
                }
            }
        }
        None
    }

    fn joined(&mut self, node: &Node, joined: Joined) -> ValueId {
        let Joined { axis, pieces, around } = joined;
        let whole = &node.outputs[0];
        let sizes = whole.shape.iter().zip(&around).map(|(size, (before, after))| size - before - after);
        let kind = TensorType::new(whole.dtype, sizes.collect::<Vec<_>>());
        let id = self.node(NodeKind::Op(ops::concat_op(axis)), pieces, vec![kind], node);
        let joined = ValueId { node: id, output: 0 };
        if around.iter().all(|zeros| *zeros == (0, 0)) {
            return joined;
        }
        let id = self.node(NodeKind::Op(ops::zeros_around_op(&around)), vec![joined], vec![whole.clone()], node);
        ValueId { node: id, output: 0 }
    }

    /// The node itself, or the one that computes the same already.
    fn node(&mut self, kind: NodeKind, inputs: Vec<ValueId>, outputs: Vec<TensorType>, origin: &Node) -> NodeId {
        let key = match &kind {
            NodeKind::Constant(bytes) => Some(Key::Constant(outputs[0].clone(), bytes.as_ref().as_ref().to_vec())),
            NodeKind::Op(op) => Some(Key::Op(op.name(), op.attributes(), inputs.clone(), outputs.clone())),
            NodeKind::Input(_) | NodeKind::State(_) | NodeKind::StepScalar(_) => None,
        };
        if let Some(&known) = key.as_ref().and_then(|key| self.known.get(key)) {
            return known;
        }
        let (scope, location) = (origin.scope.clone(), origin.location);
        let id = self.graph.push(Node { kind, inputs, outputs, scope, location });
        if let Some(key) = key {
            self.known.insert(key, id);
        }
        id
    }
}

/// The one number that all elements of a value are, if it is a constant of one element seen through views.
pub(super) fn uniform(graph: &Graph, value: ValueId) -> Option<[u8; 4]> {
    let node = graph.node(value.node);
    match &node.kind {
        NodeKind::Constant(bytes) => bytes.as_ref().as_ref().try_into().ok(),
        NodeKind::Op(op) if matches!(op.kind(), OpKind::View(_)) => uniform(graph, node.inputs[0]),
        _ => None,
    }
}
