//! Checks that a graph is well formed: what a pass may rely on, and must leave behind.

use crate::Error;
use crate::graph::{Graph, NodeKind, ValueId};
use std::collections::HashSet;

/// Checks order, types (by every operator's own shape rule), names, and the types of state updates.
///
/// # Errors
/// An internal error that names the node: some pass broke the graph.
pub fn verify(graph: &Graph) -> Result<(), Error> {
    let fault = |message: String| Err(Error::Internal(format!("malformed graph: {message}")));
    let exists = |value: &ValueId, before: usize| {
        value.node.index() < before
            && (value.output as usize) < graph.nodes().get(value.node.index()).map_or(0, |node| node.outputs.len())
    };
    let mut names = HashSet::new();
    for (id, node) in graph.iter() {
        let label = graph.label(id);
        if let Some(late) = node.inputs.iter().find(|input| !exists(input, id.index())) {
            return fault(format!("{label} reads {late}, which is not made before it"));
        }
        match &node.kind {
            NodeKind::Input(name) | NodeKind::State(name) => {
                let is_state = matches!(node.kind, NodeKind::State(_));
                if !names.insert((is_state, name.as_str())) {
                    return fault(format!("{label} is declared twice"));
                }
            }
            NodeKind::Constant(bytes) if bytes.as_ref().as_ref().len() != node.outputs[0].bytes() => {
                return fault(format!("{label} holds {} bytes as {}", bytes.as_ref().as_ref().len(), node.outputs[0]));
            }
            NodeKind::Constant(_) | NodeKind::StepScalar(_) => {}
            NodeKind::Op(op) => {
                let inputs: Vec<_> = node.inputs.iter().map(|&input| graph.kind_of(input).clone()).collect();
                match op.infer(&inputs) {
                    Ok(outputs) if outputs == node.outputs => {}
                    Ok(outputs) => return fault(format!("{label} claims {:?} but makes {outputs:?}", node.outputs)),
                    Err(message) => return fault(format!("{label}: {message}")),
                }
            }
        }
    }
    let count = graph.nodes().len();
    let mut outputs = HashSet::new();
    for (name, value) in &graph.outputs {
        if !exists(value, count) || !outputs.insert(name) {
            return fault(format!("output {name:?} does not exist or is named twice"));
        }
    }
    let mut updates = HashSet::new();
    for (name, value) in &graph.updates {
        let state = graph.states().into_iter().find(|(known, _)| known == name).map(|(_, kind)| kind.clone());
        if !exists(value, count) || state.as_ref() != Some(graph.kind_of(*value)) || !updates.insert(name) {
            return fault(format!("the update of {name:?} has no state of its type, or comes twice"));
        }
    }
    Ok(())
}
