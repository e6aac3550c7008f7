//! The gradients of a graph as a whole: their norm, and clipping by it.

use nn_core::{Error, Graph, Trace, Value, graph};

const NORM: &str = "gradient_norm";

/// The gradients of the parameters, in order.
pub(super) fn gradients<'a>(trace: &Trace, names: impl Iterator<Item = &'a str>) -> Result<Vec<Value>, Error> {
    names
        .map(|name| {
            let missing = || Error::Usage(format!("the graph has no output `gradient/{name}`; differentiate it first"));
            trace.existing_output(&format!("gradient/{name}")).ok_or_else(missing)
        })
        .collect()
}

/// Adds the output `gradient_norm`, if it is not there yet.
pub(super) fn add_norm(trace: &Trace, gradients: &[Value]) -> Option<Value> {
    if let Some(norm) = trace.existing_output(NORM) {
        return Some(norm);
    }
    let squares = gradients.iter().map(|&gradient| gradient.sum_of_squares(&all_axes(gradient)));
    let norm = squares.reduce(|sum, square| sum + square)?.sqrt();
    trace.output(NORM, norm);
    Some(norm)
}

fn all_axes(value: Value) -> Vec<usize> {
    (0..value.shape().rank()).collect()
}

/// Scales the outputs `gradient/<parameter>` of all `parameters` so that their norm together is at most `max_norm`.
/// Adds the output `gradient_norm`, the norm before clipping. `torch.nn.utils.clip_grad_norm_`.
///
/// # Errors
/// If `max_norm` is not above 0, or a gradient is missing.
pub fn clip_gradients(mut graph: Graph, parameters: &[String], max_norm: f64) -> Result<Graph, Error> {
    if max_norm.is_nan() || max_norm <= 0.0 {
        return Err(Error::Usage(format!("the largest norm of gradients (clip_norm) must be above 0, not {max_norm}")));
    }
    // A graph's outputs are fixed once named, so the clipped gradients get other names at first.
    const CLIPPED: &str = "clipped/";
    let extended = graph::extend(std::mem::take(&mut graph), |trace| {
        let gradients = gradients(trace, parameters.iter().map(String::as_str))?;
        let Some(norm) = add_norm(trace, &gradients) else { return Ok(()) };
        // `minimum` keeps NaN: a broken gradient must not pass as a clipped one.
        let scale = (trace.scalar(max_norm as f32) / (norm + 1e-6)).minimum(1.0);
        for (name, gradient) in parameters.iter().zip(gradients) {
            trace.output(&format!("{CLIPPED}{name}"), gradient * scale);
        }
        Ok(())
    });
    let (mut graph, ()) = extended?;
    let replaced = |name: &str| parameters.iter().any(|parameter| name.strip_prefix("gradient/") == Some(parameter));
    graph.outputs.retain(|(name, _)| !replaced(name));
    for (name, _) in &mut graph.outputs {
        if let Some(parameter) = name.strip_prefix(CLIPPED) {
            *name = format!("gradient/{parameter}");
        }
    }
    Ok(graph)
}
