//! Normalisation over the last dimension, as layer norm and RMS norm have it, with its gradient: one launch each.
//!
//! The forward pass keeps two numbers of each row, its mean and 1/deviation. The gradients of weight and bias are sums down
//! the columns, of the operator `normalised_sums`.

mod kernel;
mod samples;

pub(super) use samples::add_samples;

use crate::graph::{Backward, Op, OpKind, Value, apply, apply_many};
use crate::ops::normalise::NormalisedSums;
use crate::ops::support::{one, refused};
use crate::tensor::{DType, Shape, TensorType};

/// The operators of this family.
pub(super) const NAMES: &[&str] = &["layer_norm", "layer_norm_gradient", "rms_norm", "rms_norm_gradient"];

/// `x` of shape `(…, width)`, then maybe a weight and maybe a bias `(width)` → the normalised values, and statistics
/// `(…, 2)`: the mean (0 where it is not taken off) and 1/√(variance or mean square + eps).
#[derive(Clone, Copy, Debug)]
struct RowNorm {
    centred: bool,
    eps: f32,
    weighted: bool,
    biased: bool,
}

/// `dy`, `x`, statistics and maybe a weight → the gradient of `x`.
#[derive(Clone, Copy, Debug)]
struct RowNormGradient {
    centred: bool,
    weighted: bool,
}

/// The shape of a row's statistics.
fn statistics_of(shape: &Shape) -> Shape {
    let leading = shape[..shape.rank() - 1].iter().copied();
    Shape::from(leading.chain([2]).collect::<Vec<_>>())
}

fn check(input: &TensorType, parameters: &[TensorType]) -> Result<(), String> {
    if input.dtype != DType::F32 || input.shape.rank() == 0 {
        return Err(format!("it needs f32 with at least one dimension, not {input}"));
    }
    let expected = TensorType::new(DType::F32, [input.shape[input.shape.rank() - 1]]);
    match parameters.iter().find(|parameter| **parameter != expected) {
        Some(other) => Err(format!("weight and bias for {input} must be {expected}, not {other}")),
        None => Ok(()),
    }
}

/// The last axis of a value, and those before it.
fn axes_of(value: Value) -> (usize, Vec<usize>) {
    let last = value.shape().rank() - 1;
    (last, (0..last).collect())
}

/// Mean and 1/deviation among statistics, each with a last dimension of 1.
fn parts(statistics: Value) -> [Value; 2] {
    let parts = statistics.split(&[1, 1], axes_of(statistics).0);
    [parts[0], parts[1]]
}

impl Op for RowNorm {
    fn name(&self) -> &'static str {
        if self.centred { "layer_norm" } else { "rms_norm" }
    }

    fn attributes(&self) -> String {
        let RowNorm { eps, weighted, biased, .. } = self;
        format!("eps {eps:e}, weight {weighted}, bias {biased}")
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
        check(&inputs[0], &inputs[1..])?;
        if self.eps.is_nan() || self.eps < 0.0 {
            return Err(format!("eps must be 0 or more, not {}", self.eps));
        }
        let shape = &inputs[0].shape;
        Ok(vec![TensorType::new(DType::F32, shape.clone()), TensorType::new(DType::F32, statistics_of(shape))])
    }

    fn gradient(&self, backward: &Backward<'_>) -> Vec<Option<Value>> {
        let RowNorm { centred, weighted, biased, .. } = *self;
        let (x, statistics) = (backward.inputs[0], backward.outputs[1]);
        let weight = backward.inputs.get(1).copied().filter(|_| weighted);
        let shape = x.shape();
        let (last, leading) = axes_of(x);
        let [mean, inverse] = parts(statistics);
        let mut gradients = vec![None; backward.inputs.len()];
        if let Some(dy) = backward.gradients[0] {
            if weighted || biased {
                // First, so that dx may take the place of dy.
                let spread = |value: Value| value.broadcast_to(shape.clone());
                let inputs = [dy, x, spread(mean), spread(inverse)];
                let [dbias, dweight] = apply_many(NormalisedSums { axes: leading }, &inputs);
                let sums = [weighted.then_some(dweight), biased.then_some(dbias)].into_iter().flatten();
                for (gradient, sum) in gradients[1..].iter_mut().zip(sums) {
                    *gradient = Some(sum.reshape([shape[last]]));
                }
            }
            let inputs: Vec<Value> = [dy, x, statistics].into_iter().chain(weight).collect();
            gradients[0] = Some(apply(RowNormGradient { centred, weighted }, &inputs)[0]);
        }
        if let Some(gradient) = backward.gradients[1] {
            // d 1/√(v + eps) / dx = −r³·(x − m)/n, and dm/dx = 1/n.
            let [dmean, dinverse] = parts(gradient);
            let through = (x - mean) * (dinverse * inverse * inverse * inverse);
            let sum = if centred { -through + dmean } else { -through };
            let dx = sum / shape[last] as f32;
            gradients[0] = Some(gradients[0].map_or(dx, |before| before + dx));
        }
        gradients
    }

    fn kind(&self) -> OpKind<'_> {
        OpKind::Kernel(self)
    }
}

impl Op for RowNormGradient {
    fn name(&self) -> &'static str {
        if self.centred { "layer_norm_gradient" } else { "rms_norm_gradient" }
    }

    fn attributes(&self) -> String {
        format!("weight {}", self.weighted)
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
        check(&inputs[0], &inputs[3..])?;
        let statistics = TensorType::new(DType::F32, statistics_of(&inputs[0].shape));
        if inputs[1] != inputs[0] || inputs[2] != statistics {
            let [dy, x, found] = [0, 1, 2].map(|input| &inputs[input]);
            return Err(format!("for dy {dy} it needs x {dy} and statistics {statistics}, not {x} and {found}"));
        }
        one(DType::F32, inputs[0].shape.clone())
    }

    fn gradient(&self, backward: &Backward<'_>) -> Vec<Option<Value>> {
        // With g = dy·w and x̂ = (x − m)·r it is y = r·(g − Σg/n − x̂·Σ(g·x̂)/n), of g a symmetric matrix: its gradient for
        // the cotangent v is the same of v. That of x̂ is −r·(v·Σ(g·x̂)/n + g·Σ(v·x̂)/n).
        let RowNormGradient { centred, weighted } = *self;
        let [dy, x, statistics] = [0, 1, 2].map(|input| backward.inputs[input]);
        let (v, y) = (backward.dy(), backward.outputs[0]);
        let weight = backward.inputs.get(3).copied();
        let (last, leading) = axes_of(x);
        let row = x.shape().keep(&[last]);
        let mean_of = |value: Value| value.mean(&[last]).reshape(row.clone());
        let [mean, inverse] = parts(statistics);
        let difference = x - mean;
        let normalised = difference * inverse;
        let g = weight.map_or(dy, |weight| dy * weight);
        let dg = apply(RowNormGradient { centred, weighted: false }, &[v, x, statistics])[0];
        let dnormalised = -(v * mean_of(g * normalised) + g * mean_of(v * normalised)) * inverse;
        let dx = dnormalised * inverse;
        let sum_of = |value: Value| value.sum(&[last]).reshape(row.clone());
        let dinverse = sum_of(dnormalised * difference + v * y / inverse);
        let dmean = if centred { -sum_of(dx) } else { dinverse.zeros_like() };
        let dstatistics = dmean.concat(&[dinverse], last);
        let mut gradients = vec![Some(weight.map_or(dg, |weight| dg * weight)), Some(dx), Some(dstatistics)];
        if weighted {
            gradients.push(Some((dg * dy).sum(&leading)));
        }
        gradients
    }

    fn kind(&self) -> OpKind<'_> {
        OpKind::Kernel(self)
    }
}

impl Value {
    /// (x − mean)/√(variance + `eps`) with mean and biased variance over the last dimension of `(…, width)`, times a weight
    /// and plus a bias if there are any, both `f32 (width)`. Ba et al. (2016), `torch.nn.functional.layer_norm`.
    #[track_caller]
    pub fn layer_norm(self, weight: Option<Value>, bias: Option<Value>, eps: f32) -> Value {
        self.row_norm(true, weight, bias, eps)
    }

    /// x/√(mean of x² + `eps`) with the mean over the last dimension of `(…, width)`, times a weight `f32 (width)` if there
    /// is one. Zhang and Sennrich (2019), `torch.nn.functional.rms_norm`.
    #[track_caller]
    pub fn rms_norm(self, weight: Option<Value>, eps: f32) -> Value {
        self.row_norm(false, weight, None, eps)
    }

    #[track_caller]
    fn row_norm(self, centred: bool, weight: Option<Value>, bias: Option<Value>, eps: f32) -> Value {
        let op = RowNorm { centred, eps, weighted: weight.is_some(), biased: bias.is_some() };
        if self.shape().rank() == 0 {
            return refused(self, op.name(), format!("it needs at least one dimension, not {}", self.kind()));
        }
        let inputs: Vec<Value> = [self].into_iter().chain(weight).chain(bias).collect();
        let [y, _statistics] = apply_many(op, &inputs);
        y
    }
}
