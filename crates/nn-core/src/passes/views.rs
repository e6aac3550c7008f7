//! Finds where each value lies, and inserts copies where a kernel or a reader cannot do with a view.

use crate::Error;
use crate::graph::{Graph, Node, NodeKind, OpKind, ValueId};
use crate::ops;
use crate::tensor::Layout;
use std::collections::{HashMap, HashSet};

/// Where a value lies: the value that owns the buffer, and the layout in it.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    /// The value whose node makes the buffer; never a view.
    pub(crate) root: ValueId,
    /// Where in the buffer the elements lie.
    pub(crate) layout: Layout,
}

/// The homes of all values of a graph without impossible views.
pub(crate) fn homes(graph: &Graph) -> Result<HashMap<ValueId, Home>, Error> {
    let mut homes = HashMap::new();
    for (id, node) in graph.iter() {
        for output in 0..node.outputs.len() as u32 {
            let value = ValueId { node: id, output };
            let home = home_of(graph, node, value, &homes)
                .ok_or_else(|| Error::Internal(format!("{} is a view that takes a copy", graph.label(id))))?;
            homes.insert(value, home);
        }
    }
    Ok(homes)
}

fn home_of(graph: &Graph, node: &Node, value: ValueId, homes: &HashMap<ValueId, Home>) -> Option<Home> {
    if let Some(OpKind::View(view)) = node.op_kind() {
        let input = &homes[&node.inputs[0]];
        return view.layout(&input.layout).map(|layout| Home { root: input.root, layout });
    }
    Some(Home { root: value, layout: Layout::contiguous(&graph.kind_of(value).shape) })
}

/// Inserts `contiguous` nodes so that afterwards every view is possible, every kernel reads its inputs through
/// a layout it accepts, every output owns its buffer, and every state update is the result of an elementwise node.
///
/// # Errors
/// None but faults of ours.
pub fn insert_copies(graph: &Graph) -> Result<Graph, Error> {
    let mut copies = Copies::default();
    let mut moved: HashMap<ValueId, ValueId> = HashMap::new();
    for (id, node) in graph.iter() {
        let mut inputs: Vec<ValueId> = node.inputs.iter().map(|input| moved[input]).collect();
        match node.op_kind() {
            Some(OpKind::View(view)) if view.layout(&copies.homes[&inputs[0]].layout).is_none() => {
                inputs[0] = copies.copy(inputs[0]);
            }
            Some(OpKind::Kernel(kernel)) => {
                for (place, input) in inputs.iter_mut().enumerate() {
                    let home = &copies.homes[input];
                    let step_scalar = matches!(copies.graph.node(home.root.node).kind, NodeKind::StepScalar(_));
                    if step_scalar || !kernel.accepts(place, &home.layout) {
                        *input = copies.copy(*input);
                    }
                }
            }
            _ => {}
        }
        let new = copies.push(Node { inputs, ..node.clone() });
        for output in 0..node.outputs.len() as u32 {
            moved.insert(ValueId { node: id, output }, ValueId { node: new.node, output });
        }
    }
    // An output must own a buffer that nobody else hands out or changes.
    let mut taken = HashSet::new();
    for (name, value) in &graph.outputs {
        let value = moved[value];
        let owns = copies.is_op(value) && taken.insert(value);
        let value = if owns { value } else { copies.copy_anew(value) };
        copies.graph.outputs.push((name.clone(), value));
    }
    // An update is written by its own elementwise launch, straight into the state where possible.
    for (name, value) in &graph.updates {
        let value = moved[value];
        let elementwise = matches!(copies.graph.node(value.node).op_kind(), Some(OpKind::Elementwise(_)));
        let owns = elementwise && taken.insert(value);
        let value = if owns { value } else { copies.copy_anew(value) };
        copies.graph.updates.push((name.clone(), value));
    }
    Ok(copies.graph)
}

#[derive(Default)]
struct Copies {
    graph: Graph,
    homes: HashMap<ValueId, Home>,
    /// Copies made so far, so that two readers share one.
    made: HashMap<ValueId, ValueId>,
}

impl Copies {
    fn push(&mut self, node: Node) -> ValueId {
        let count = node.outputs.len() as u32;
        let id = self.graph.push(node);
        for output in 0..count {
            let value = ValueId { node: id, output };
            // Possible by construction: an impossible view's input was replaced by a copy.
            if let Some(home) = home_of(&self.graph, self.graph.node(id), value, &self.homes) {
                self.homes.insert(value, home);
            }
        }
        ValueId { node: id, output: 0 }
    }

    fn copy(&mut self, value: ValueId) -> ValueId {
        if let Some(&copy) = self.made.get(&value) {
            return copy;
        }
        let copy = self.copy_anew(value);
        self.made.insert(value, copy);
        copy
    }

    fn copy_anew(&mut self, value: ValueId) -> ValueId {
        let origin = self.graph.node(value.node);
        let node = Node {
            kind: NodeKind::Op(ops::contiguous_op()),
            inputs: vec![value],
            outputs: vec![self.graph.kind_of(value).clone()],
            scope: origin.scope.clone(),
            location: origin.location,
        };
        self.push(node)
    }

    /// Whether the value is made by a kernel or an elementwise operator, not a view or a leaf.
    fn is_op(&self, value: ValueId) -> bool {
        let kind = self.graph.node(value.node).op_kind();
        matches!(kind, Some(OpKind::Elementwise(_) | OpKind::Kernel(_)))
    }
}
