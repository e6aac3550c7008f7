//! A training step of a small classifier: two layers, cross entropy, SGD with momentum.

use nn_core::graph::{self, Graph};
use nn_core::{DType, Error, StepScalar, passes};

/// The trained states of [`Mlp`].
pub(crate) const PARAMETERS: [&str; 4] = ["hidden.weight", "hidden.bias", "head.weight", "head.bias"];

/// The sizes of a classifier of two layers.
#[derive(Clone, Copy)]
pub(crate) struct Mlp {
    pub(crate) batch: usize,
    pub(crate) inputs: usize,
    pub(crate) hidden: usize,
    pub(crate) classes: usize,
}

impl Mlp {
    /// From the batch to the output `loss`.
    pub(crate) fn forward(&self) -> Result<Graph, Error> {
        graph::trace(|trace| {
            let x = trace.input("x", DType::F32, [self.batch, self.inputs]);
            let targets = trace.input("targets", DType::U32, [self.batch]);
            let layer = |scope: &str, from: usize, to: usize| {
                trace.scoped(scope, || {
                    let weight = trace.state(&format!("{scope}.weight"), DType::F32, [to, from]);
                    (weight, trace.state(&format!("{scope}.bias"), DType::F32, [to]))
                })
            };
            let (weight, bias) = layer("hidden", self.inputs, self.hidden);
            let hidden = trace.scoped("hidden", || (x.matmul(weight.transpose()) + bias).relu());
            let (weight, bias) = layer("head", self.hidden, self.classes);
            let logits = trace.scoped("head", || hidden.matmul(weight.transpose()) + bias);
            trace.output("loss", logits.cross_entropy(targets).mean_all());
            Ok(())
        })
    }

    /// The whole training step.
    pub(crate) fn step(&self) -> Result<Graph, Error> {
        train(&self.forward()?, &PARAMETERS)
    }
}

/// Adds the gradients of `loss` and an update of each parameter by SGD with momentum 0.9.
pub(crate) fn train(forward: &Graph, parameters: &[&str]) -> Result<Graph, Error> {
    let graph = passes::differentiate(forward, "loss", parameters)?;
    let (mut graph, ()) = graph::extend(graph, |trace| {
        let rate = trace.step_scalar(StepScalar::LearningRate);
        for &name in parameters {
            let missing = || Error::Usage(format!("{name} has no gradient"));
            let gradient = trace.existing_output(&format!("gradient/{name}")).ok_or_else(missing)?;
            let velocity_name = format!("{name}/velocity");
            let velocity = trace.state(&velocity_name, DType::F32, gradient.shape()) * 0.9 + gradient;
            trace.update(&velocity_name, velocity);
            trace.update(name, trace.state(name, DType::F32, gradient.shape()) - velocity * rate);
        }
        Ok(())
    })?;
    // Nobody reads the gradients themselves, so they need not outlive the update.
    graph.outputs.retain(|(name, _)| !name.starts_with("gradient/"));
    Ok(graph)
}
