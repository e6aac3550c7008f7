//! Rotary position embedding: pairs of elements of each head are turned by angles that grow with the position.

mod kernel;
mod samples;

pub(super) use samples::add_samples;

use crate::graph::{Backward, Op, OpKind, Value, apply};
use crate::ops::support::one;
use crate::tensor::{DType, TensorType};

/// The operators of this family.
pub(super) const NAMES: &[&str] = &["rotary"];

/// Which elements of a head are turned together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RotaryPairing {
    /// The first half of the rotated elements with the second: GPT-NeoX, Llama in Hugging Face's files.
    Half,
    /// Neighbours: the paper, GPT-J, Llama in its authors' files.
    Interleaved,
}

/// `x` of shape `(batch, length, heads, size)`, cosines and sines `(length, rotated/2)` → the same with pairs turned.
#[derive(Clone, Copy, Debug)]
struct Rotary {
    pairing: RotaryPairing,
    /// By the negative angles.
    backwards: bool,
}

impl Op for Rotary {
    fn name(&self) -> &'static str {
        "rotary"
    }

    fn attributes(&self) -> String {
        let pairing = match self.pairing {
            RotaryPairing::Half => "half",
            RotaryPairing::Interleaved => "interleaved",
        };
        format!("{pairing}{}", if self.backwards { ", backwards" } else { "" })
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
        let [x, cosine, sine] = [0, 1, 2].map(|input| &inputs[input]);
        if x.dtype != DType::F32 || x.shape.rank() != 4 {
            return Err(format!("it needs f32 of shape [batch, length, heads, size], not {x}"));
        }
        let (length, size) = (x.shape[1], x.shape[3]);
        let fits = cosine.dtype == DType::F32
            && cosine.shape.rank() == 2
            && cosine.shape[0] == length
            && 2 * cosine.shape[1] <= size;
        if !fits || sine != cosine {
            return Err(format!(
                "for {x} both tables must be f32[{length}, pairs] with at most {} pairs, not {cosine} and {sine}",
                size / 2
            ));
        }
        one(DType::F32, x.shape.clone())
    }

    fn gradient(&self, backward: &Backward<'_>) -> Vec<Option<Value>> {
        let [x, cosine, sine] = [0, 1, 2].map(|input| backward.inputs[input]);
        let dy = backward.dy();
        let dx = apply(Rotary { backwards: !self.backwards, ..*self }, &[dy, cosine, sine])[0];
        let pairs = cosine.shape()[1];
        let [[a, b], [da, db]] = [x, dy].map(|value| self.pairs(value, pairs));
        let over_heads = |value: Value| value.sum(&[0, 2]);
        let dsine = over_heads(if self.backwards { da * b - db * a } else { db * a - da * b });
        vec![Some(dx), Some(over_heads(da * a + db * b)), Some(dsine)]
    }

    fn kind(&self) -> OpKind<'_> {
        OpKind::Kernel(self)
    }
}

impl Rotary {
    /// The first and the second elements of all pairs, each `(batch, length, heads, pairs)`.
    fn pairs(self, value: Value, pairs: usize) -> [Value; 2] {
        let shape = value.shape();
        let [batch, length, heads, _] = [0, 1, 2, 3].map(|axis| shape[axis]);
        let (starts, sizes) = match self.pairing {
            RotaryPairing::Half => {
                return [0, pairs].map(|start| value.slice(&[0, 0, 0, start], [batch, length, heads, pairs]));
            }
            RotaryPairing::Interleaved => ([0, 1], [batch, length, heads, pairs, 1]),
        };
        let rotated = value.slice(&[0; 4], [batch, length, heads, 2 * pairs]).reshape([batch, length, heads, pairs, 2]);
        starts.map(|start| rotated.slice(&[0, 0, 0, 0, start], sizes).reshape([batch, length, heads, pairs]))
    }
}

impl Value {
    /// Rotary position embedding (Su et al., 2021) of `(batch, length, heads, size)`: each pair (a, b) among the first
    /// elements of a head becomes (a·cos − b·sin, b·cos + a·sin), where `cosine` and `sine` are `f32 (length, pairs)` with two
    /// elements for each pair; elements beyond the pairs stay. `self` may be a view whose last dimension lies side by side, as a
    /// part of queries, keys and values is. `transformers`' `apply_rotary_pos_emb`.
    #[track_caller]
    pub fn rotary(self, cosine: Value, sine: Value, pairing: RotaryPairing) -> Value {
        apply(Rotary { pairing, backwards: false }, &[self, cosine, sine])[0]
    }
}
