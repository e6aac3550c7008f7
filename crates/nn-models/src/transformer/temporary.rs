//! Stand-ins until the operators are merged.

use nn_core::{Tensor, Value};
use nn_train::{Init, Scope};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum RotaryScaling {
    None,
    Linear { factor: f64 },
    Ntk { factor: f64, original_length: usize },
    Llama3 { factor: f64, low_freq_factor: f64, high_freq_factor: f64, original_length: usize },
}

pub(super) struct RotaryTable {
    pub(super) theta: f64,
    pub(super) size: usize,
    pub(super) scaling: RotaryScaling,
}

impl RotaryTable {
    pub(super) fn values(&self, s: &mut Scope, length: usize) -> Result<[Value; 2], String> {
        let half = self.size / 2;
        let angle = |at: usize| {
            let (place, pair) = (at / half, at % half);
            let inverse = 1.0 / self.theta.powf(2.0 * pair as f64 / self.size as f64);
            f64::from(place as f32 * inverse as f32)
        };
        let all = [f64::cos, f64::sin].map(|function| {
            let values: Vec<f32> = (0..length * half).map(|at| function(angle(at)) as f32).collect();
            Tensor::from_f32([length, half], &values)
        });
        let _ = self.scaling;
        let [a, b] = all;
        Ok([s.trace().constant(&a.map_err(|e| e.to_string())?), s.trace().constant(&b.map_err(|e| e.to_string())?)])
    }
}

pub(super) fn rotary(x: Value, cosine: Value, sine: Value) -> Value {
    let [rows, length, heads, size] = x.shape()[..] else { return x };
    let half = size / 2;
    let a = x.slice(&[0, 0, 0, 0], [rows, length, heads, half]);
    let b = x.slice(&[0, 0, 0, half], [rows, length, heads, half]);
    let (c, s) = (cosine.reshape([1, length, 1, half]), sine.reshape([1, length, 1, half]));
    (a * c - b * s).concat(&[b * c + a * s], 3)
}

pub(super) fn rms_norm(s: &mut Scope, x: Value, eps: f32) -> Value {
    let shape = x.shape();
    let last = shape.rank() - 1;
    let weight = s.param("weight", [shape[last]], Init::Ones);
    let scale = ((x * x).mean(&[last]) + eps).rsqrt();
    let mut sizes = shape.to_vec();
    sizes[last] = 1;
    x * scale.reshape(sizes) * weight
}
