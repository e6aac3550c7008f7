//! Reverse-mode differentiation: appends the nodes that compute gradients, through the operators' own rules.

use crate::Error;
use crate::graph::{Backward, Graph, NodeKind, Value, ValueId, extend};
use crate::tensor::TensorType;
use std::collections::HashMap;

/// Adds the gradient of the output `loss` with respect to each state in `parameters`, as outputs named
/// `gradient/<parameter>`.
///
/// # Errors
/// If `loss` is no `f32` scalar output, or if no gradient reaches a parameter: all such are named.
pub fn differentiate(graph: &Graph, loss: &str, parameters: &[&str]) -> Result<Graph, Error> {
    let Some(root) = graph.output(loss) else {
        return Err(Error::Usage(format!("there is no output named {loss:?} to take gradients of")));
    };
    let kind = graph.kind_of(root);
    if !kind.dtype.is_float() || kind.shape.rank() != 0 {
        return Err(Error::Usage(format!(
            "the loss {loss:?} is {kind}; gradients need an f32 scalar: take a mean or sum"
        )));
    }
    let leads = leads_to(graph, parameters);
    let (graph, ()) = extend(graph.clone(), |trace| {
        let mut gradients: HashMap<ValueId, Value> = HashMap::new();
        gradients.insert(root, trace.existing(root).full_like(1.0));
        for (id, node) in graph.iter().take(root.node.index() + 1).collect::<Vec<_>>().into_iter().rev() {
            let Some(op) = node.op().filter(|_| leads[id.index()]) else { continue };
            let ids = (0..node.outputs.len() as u32).map(|output| ValueId { node: id, output });
            let outputs: Vec<Value> = ids.clone().map(|id| trace.existing(id)).collect();
            let found: Vec<Option<Value>> = ids.map(|id| gradients.get(&id).copied()).collect();
            if found.iter().all(Option::is_none) {
                continue;
            }
            let inputs: Vec<Value> = node.inputs.iter().map(|&input| trace.existing(input)).collect();
            trace.on_behalf_of(node, || -> Result<(), Error> {
                let rule = op.gradient(&Backward { inputs: &inputs, outputs: &outputs, gradients: &found });
                if rule.len() != inputs.len() {
                    let message = format!("{} gave {} gradients for {} inputs", op.name(), rule.len(), inputs.len());
                    return Err(Error::Internal(message));
                }
                for (&input, gradient) in node.inputs.iter().zip(rule) {
                    let Some(gradient) = gradient.filter(|_| leads[input.node.index()]) else { continue };
                    same_type(op.name(), graph.kind_of(input), &gradient.kind())?;
                    let sum = gradients.get(&input).map_or(gradient, |&before| before + gradient);
                    gradients.insert(input, sum);
                }
                Ok(())
            })?;
        }
        let mut missing = Vec::new();
        for &parameter in parameters {
            let state = find_state(graph, parameter);
            match state.and_then(|state| gradients.get(&state)) {
                Some(&gradient) => trace.output(&format!("gradient/{parameter}"), gradient),
                None => missing.push(format!("`{parameter}`")),
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        Err(Error::Usage(format!(
            "no gradient reaches {}: the loss does not depend on it, or only through operators without a gradient \
             (comparisons, argmax, casts to integers); freeze it if that is meant",
            missing.join(", ")
        )))
    })?;
    Ok(graph)
}

fn same_type(op: &str, input: &TensorType, gradient: &TensorType) -> Result<(), Error> {
    if input == gradient {
        return Ok(());
    }
    Err(Error::Internal(format!("{op} gave a gradient of type {gradient} for an input of type {input}")))
}

fn find_state(graph: &Graph, name: &str) -> Option<ValueId> {
    let is_it = |kind: &NodeKind| matches!(kind, NodeKind::State(known) if known == name);
    graph.iter().find(|(_, node)| is_it(&node.kind)).map(|(node, _)| ValueId { node, output: 0 })
}

/// For each node whether it depends on one of the parameters.
fn leads_to(graph: &Graph, parameters: &[&str]) -> Vec<bool> {
    let mut leads: Vec<bool> = Vec::with_capacity(graph.nodes().len());
    for node in graph.nodes() {
        let is_parameter = matches!(&node.kind, NodeKind::State(name) if parameters.contains(&name.as_str()));
        let reads_one = node.inputs.iter().any(|input| leads[input.node.index()]);
        leads.push(is_parameter || reads_one);
    }
    leads
}
