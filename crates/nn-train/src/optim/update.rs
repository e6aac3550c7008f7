//! The update rules, as nodes.

use super::gradients::{add_norm, gradients};
use super::{Decay, Optimizer, RmsProp, Sgd, StateDeclaration};
use nn_core::{DType, Error, Graph, Shape, StepScalar, Trace, Value, graph};

/// Appends the updates and drops the outputs `gradient/…`.
pub(super) fn append(
    optimizer: &Optimizer,
    graph: Graph,
    parameters: &[(String, Shape)],
) -> Result<(Graph, Vec<StateDeclaration>), Error> {
    let (mut graph, ()) = graph::extend(graph, |trace| {
        let gradients = gradients(trace, parameters.iter().map(|(name, _)| name.as_str()))?;
        add_norm(trace, &gradients);
        let update = Update { trace, lr: trace.step_scalar(StepScalar::LearningRate) };
        trace.scoped("optimizer", || {
            for ((name, shape), gradient) in parameters.iter().zip(gradients) {
                update.parameter(optimizer, &Parameter { name, shape, gradient });
            }
        });
        Ok(())
    })?;
    graph.outputs.retain(|(name, _)| !name.starts_with("gradient/"));
    Ok((graph, optimizer.states(parameters)))
}

struct Parameter<'a> {
    name: &'a str,
    shape: &'a Shape,
    gradient: Value,
}

struct Update<'a> {
    trace: &'a Trace,
    lr: Value,
}

/// What the two kinds of Adam share.
struct Moments {
    betas: [f64; 2],
    eps: f64,
}

impl Update<'_> {
    fn parameter(&self, optimizer: &Optimizer, parameter: &Parameter<'_>) {
        let value = self.trace.state(parameter.name, DType::F32, parameter.shape.clone());
        let gradient = parameter.gradient;
        let decays = |decay: Decay| decay == Decay::All || parameter.shape.rank() >= 2;
        // Without weight decay no node is added, so that NaN in a parameter cannot spread by 0·NaN.
        let decayed = |weight_decay: f64, decay: Decay| {
            if weight_decay == 0.0 || !decays(decay) { gradient } else { gradient + value * weight_decay as f32 }
        };
        let next = match optimizer {
            Optimizer::Sgd(sgd) => self.sgd(sgd, parameter, value, decayed(sgd.weight_decay, sgd.decay)),
            Optimizer::RmsProp(rms) => self.rms_prop(rms, parameter, value, decayed(rms.weight_decay, rms.decay)),
            Optimizer::Adam(adam) => {
                let moments = Moments { betas: adam.betas, eps: adam.eps };
                let decayed = decayed(adam.weight_decay, adam.decay);
                self.adam(&moments, parameter, value, decayed, self.trace.scalar(1.0))
            }
            Optimizer::AdamW(adam) => {
                let moments = Moments { betas: adam.betas, eps: adam.eps };
                let shrink = if adam.weight_decay == 0.0 || !decays(adam.decay) {
                    self.trace.scalar(1.0)
                } else {
                    -(self.lr * adam.weight_decay as f32) + 1.0
                };
                self.adam(&moments, parameter, value, gradient, shrink)
            }
        };
        self.trace.update(parameter.name, next);
    }

    /// The state `optimizer/<what>/<parameter>` and its name.
    fn state(&self, what: &str, parameter: &Parameter<'_>) -> (String, Value) {
        let name = format!("optimizer/{what}/{}", parameter.name);
        let value = self.trace.state(&name, DType::F32, parameter.shape.clone());
        (name, value)
    }

    /// Replaces a state by `old·kept + new·(1 − kept)`.
    ///
    /// 1 − β is taken in double precision: in single precision 1 − 0.999 would be off by 5e-5 of itself.
    fn average(&self, what: &str, parameter: &Parameter<'_>, kept: f64, new: Value) -> Value {
        let (name, old) = self.state(what, parameter);
        let next = old.weighted_sum(kept as f32, new, (1.0 - kept) as f32);
        self.trace.update(&name, next);
        next
    }

    /// PyTorch begins with the first gradient as the momentum; a buffer of zeros gives the same.
    fn momentum(&self, parameter: &Parameter<'_>, momentum: f64, new: Value) -> Value {
        let (name, old) = self.state("momentum", parameter);
        let next = old * momentum as f32 + new;
        self.trace.update(&name, next);
        next
    }

    fn sgd(&self, sgd: &Sgd, parameter: &Parameter<'_>, value: Value, gradient: Value) -> Value {
        if sgd.momentum == 0.0 {
            return value - gradient * self.lr;
        }
        let momentum = self.momentum(parameter, sgd.momentum, gradient);
        let step = if sgd.nesterov { gradient + momentum * sgd.momentum as f32 } else { momentum };
        value - step * self.lr
    }

    fn rms_prop(&self, rms: &RmsProp, parameter: &Parameter<'_>, value: Value, gradient: Value) -> Value {
        let square = self.average("square_average", parameter, rms.alpha, gradient * gradient);
        let step = gradient / (square.sqrt() + rms.eps as f32);
        let step = if rms.momentum == 0.0 { step } else { self.momentum(parameter, rms.momentum, step) };
        value - step * self.lr
    }

    /// What Adam makes of the parameter, which is first multiplied by `shrink`.
    fn adam(
        &self,
        moments: &Moments,
        parameter: &Parameter<'_>,
        value: Value,
        gradient: Value,
        shrink: Value,
    ) -> Value {
        let [first, second] = moments.betas;
        let mean = self.average("m", parameter, first, gradient);
        let square = self.average("v", parameter, second, gradient * gradient);
        let rate = self.lr / self.bias_correction(first);
        let correction = self.trace.scalar(1.0) / self.bias_correction(second).sqrt();
        value.adam_step(shrink, mean, rate, square, correction, moments.eps as f32)
    }

    /// 1 − βᵗ for step t.
    ///
    /// βᵗ is near 1 in the first steps, and 1 − βᵗ from it would keep few digits (at β = 0.999, t = 1 an error of
    /// 6e-5). −(e^{t·ln β} − 1) keeps all of them, with ln β taken in double precision; for x ≤ 0 `elu` with
    /// alpha 1 is the accurate eˣ − 1 on every device.
    fn bias_correction(&self, beta: f64) -> Value {
        if beta == 0.0 {
            return self.trace.scalar(1.0);
        }
        -(self.trace.step_scalar(StepScalar::Step).to_f32() * beta.ln() as f32).elu(1.0)
    }
}
