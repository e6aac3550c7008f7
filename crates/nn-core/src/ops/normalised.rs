//! Normalisation by mean and variance over any axes, with a fused backward pass: what batch, layer, group and instance
//! norm are made of.
//!
//! The forward pass is the kernel `moments` and elementwise operators, which fuse with what follows. The gradient is that
//! of the whole: the view [`Normalised`] around the result has the rule, and is gone once the graph is simplified.

use crate::graph::{Backward, Op, OpKind, Value, ViewOp, apply, apply_many};
use crate::ops::normalise::{Moments, NormalisedSums, count};
use crate::tensor::{Layout, Shape, TensorType};

/// The operators of this family.
pub(super) const NAMES: &[&str] = &["normalised"];

/// The normalised values as they are. Inputs: they, and what they were made of: `x`, mean, 1/deviation, maybe weight,
/// maybe bias.
///
/// Its gradient for `x` is the total one, through mean and deviation too, which are those of `x`: these and the values
/// get none.
#[derive(Debug)]
struct Normalised {
    axes: Vec<usize>,
    weighted: bool,
    biased: bool,
}

impl Op for Normalised {
    fn name(&self) -> &'static str {
        "normalised"
    }

    fn attributes(&self) -> String {
        let Normalised { axes, weighted, biased } = self;
        format!("axes {axes:?}, weight {weighted}, bias {biased}")
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
        Ok(vec![inputs[0].clone()])
    }

    fn gradient(&self, backward: &Backward<'_>) -> Vec<Option<Value>> {
        let dy = backward.dy();
        let [x, mean, inverse] = [1, 2, 3].map(|input| backward.inputs[input]);
        let mut parameters = backward.inputs[4..].iter().copied();
        let weight = parameters.next().filter(|_| self.weighted);
        let bias = backward.inputs.last().copied().filter(|_| self.biased);
        let shape = x.shape();
        let spread = |value: Value| value.broadcast_to(shape.clone());
        let sums = |weight: Option<Value>, axes: &[usize]| {
            let inputs = [dy, x, spread(mean), spread(inverse)].into_iter().chain(weight.map(spread));
            apply_many::<2>(NormalisedSums { axes: axes.to_vec() }, &inputs.collect::<Vec<_>>())
        };
        // Where parameter and statistics are shared by the same elements, as in batch norm, one launch serves both.
        let of_parameters = weight.or(bias).map(|parameter| {
            let axes = repeated(&parameter.shape(), &shape);
            (sums(None, &axes), axes)
        });
        let statistics: Vec<usize> = (0..shape.rank()).filter(|a| shape[*a] != 1 && self.axes.contains(a)).collect();
        let shared = of_parameters.as_ref().filter(|(_, axes)| *axes == statistics).map(|(sums, _)| *sums);
        let ([sum, product], factor) = match (shared, weight) {
            (Some(sums), weight) => (sums, weight),
            (None, weight) => (sums(weight, &statistics), None),
        };
        // dx = r·(g − Σg/n − x̂·Σ(g·x̂)/n) with g = dy·w; a weight that the sums share may as well come last. Everything is
        // computed at the full shape, as parts of one launch.
        let gradient = match (weight, factor) {
            (Some(weight), None) => dy * weight,
            _ => dy,
        };
        let normalised = (x - mean) * inverse;
        let drawn = (normalised * product + sum) / count(&shape, &self.axes) as f32;
        let dx = (gradient - drawn) * inverse;
        let dx = factor.map_or(dx, |weight| dx * weight);
        let mut gradients = vec![None, Some(dx), None, None];
        if let Some(([dbias, dweight], _)) = of_parameters {
            gradients.extend(weight.map(|weight| Some(dweight.reshape(weight.shape()))));
            gradients.extend(bias.map(|bias| Some(dbias.reshape(bias.shape()))));
        }
        gradients
    }

    fn kind(&self) -> OpKind<'_> {
        OpKind::View(self)
    }
}

impl ViewOp for Normalised {
    fn layout(&self, input: &Layout) -> Option<Layout> {
        Some(input.clone())
    }
}

/// The axes of `shape` along which a tensor of the shape `small` is repeated when it is broadcast to it.
fn repeated(small: &Shape, shape: &Shape) -> Vec<usize> {
    let missing = shape.rank() - small.rank();
    (0..shape.rank()).filter(|&axis| shape[axis] != 1 && (axis < missing || small[axis - missing] == 1)).collect()
}

impl Value {
    /// (x − mean)/√(variance + `eps`) with the moments over the given axes, times a weight and plus a bias if there are
    /// any. Both must be of one shape that can be broadcast to that of `self`. Forward it is a launch for the moments and
    /// one for the rest, joined with elementwise operators that follow. `torch.nn.functional.layer_norm` over the last
    /// axes, `torch.nn.functional.batch_norm(training=True)` over all but the second.
    #[track_caller]
    pub fn normalise(self, axes: &[usize], eps: f32, weight: Option<Value>, bias: Option<Value>) -> Value {
        let shape = self.shape();
        let unfit = |value: &Value| value.shape().broadcast(&shape).as_ref() != Some(&shape);
        let parameters: Vec<Value> = weight.into_iter().chain(bias).collect();
        let differ = parameters.windows(2).any(|pair| pair[0].shape() != pair[1].shape());
        if let Some(parameter) = parameters.iter().find(|parameter| unfit(parameter) || differ) {
            let message = if differ {
                format!("weight {} and bias {} must be of one shape", parameters[0].kind(), parameters[1].kind())
            } else {
                format!("a weight or bias of {} cannot be broadcast to {}", parameter.kind(), self.kind())
            };
            self.recorder().fail("normalised", message);
            return self;
        }
        let Moments { mean, inverse_deviation, .. } = self.moments(axes, eps);
        let y = (self - mean) * inverse_deviation;
        let y = weight.map_or(y, |weight| y * weight);
        let y = bias.map_or(y, |bias| y + bias);
        let op = Normalised { axes: axes.to_vec(), weighted: weight.is_some(), biased: bias.is_some() };
        let inputs: Vec<Value> = [y, self, mean, inverse_deviation].into_iter().chain(parameters).collect();
        apply(op, &inputs)[0]
    }
}
