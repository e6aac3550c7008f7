//! Positions as rotations (Su et al. 2021), and how these are stretched for longer contexts.

use super::constant;
use nn_core::Value;
use nn_train::Scope;
use std::f64::consts::PI;

/// How wavelengths are stretched.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scaling {
    None,
    /// All by the same factor (Chen et al. 2023).
    Linear {
        factor: f64,
    },
    /// The long ones by a factor, the short ones not, and those between by less (Llama 3.1).
    Llama3 {
        factor: f64,
        low_freq_factor: f64,
        high_freq_factor: f64,
        original_length: usize,
    },
}

/// The angles by which pairs of elements are turned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rotary {
    /// The base of the wavelengths.
    pub(super) theta: f64,
    /// Elements of a head.
    pub(super) size: usize,
    pub(super) scaling: Scaling,
}

impl Rotary {
    /// How far a pair is turned from one position to the next; in single precision, as `transformers` has it.
    fn frequency(&self, pair: usize) -> f32 {
        let plain = 1.0 / self.theta.powf(2.0 * pair as f64 / self.size as f64);
        let frequency = match self.scaling {
            Scaling::None => plain,
            Scaling::Linear { factor } => plain / factor,
            Scaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_length } => {
                let turns = original_length as f64 * plain / (2.0 * PI);
                let kept = ((turns - low_freq_factor) / (high_freq_factor - low_freq_factor)).clamp(0.0, 1.0);
                (1.0 - kept) * plain / factor + kept * plain
            }
        };
        frequency as f32
    }

    /// Cosines and sines of the first `length` positions, `(length, size / 2)` each.
    pub(super) fn tables(&self, s: &mut Scope, length: usize) -> [Value; 2] {
        let half = self.size / 2;
        let frequencies: Vec<f32> = (0..half).map(|pair| self.frequency(pair)).collect();
        // The product is rounded as there: at far positions that moves the angle by more than all else.
        let angles = (0..length).flat_map(|place| frequencies.iter().map(move |frequency| place as f32 * frequency));
        let angles: Vec<f64> = angles.map(f64::from).collect();
        [f64::cos, f64::sin].map(|function| {
            let values: Vec<f32> = angles.iter().map(|&angle| function(angle) as f32).collect();
            constant(s, [length, half], &values)
        })
    }
}

/// Turns element `i` of each head `(rows, length, heads, size)` together with element `i + size/2`, by the rows of the
/// tables `(length, size / 2)`.
pub(super) fn turn(x: Value, [cosine, sine]: [Value; 2]) -> Value {
    let [rows, length, heads, size] = x.shape()[..] else { return x };
    let half = size / 2;
    let part = |start: usize| x.slice(&[0, 0, 0, start], [rows, length, heads, half]);
    let (a, b) = (part(0), part(half));
    let table = |table: Value| table.reshape([1, length, 1, half]);
    let (cosine, sine) = (table(cosine), table(sine));
    (a * cosine - b * sine).concat(&[b * cosine + a * sine], 3)
}
