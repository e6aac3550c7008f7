//! Where in a sequence something stands, as numbers.

use crate::scope::Scope;
use nn_core::{Tensor, Value};

/// A constant table `(length, width)` of `f32` that tells positions apart by waves of growing length (Vaswani et al.,
/// 2017, "Attention is all you need", section 3.5): the sine of position / 10000^(2i/width) in column 2i, and its cosine in
/// column 2i + 1. A length or width of 0 is an error of the trace.
#[track_caller]
pub fn sinusoidal_positions(s: &mut Scope, length: usize, width: usize) -> Value {
    let wave = |place: usize| {
        let (position, column) = (place / width, place % width);
        let slowness = 10_000_f64.powf((column / 2 * 2) as f64 / width as f64);
        let angle = position as f64 / slowness;
        (if column.is_multiple_of(2) { angle.sin() } else { angle.cos() }) as f32
    };
    let values: Vec<f32> = (0..length * width).map(wave).collect();
    match Tensor::from_f32([length, width], &values) {
        Ok(table) => s.trace().constant(&table),
        Err(error) => {
            s.trace().fail("sinusoidal_positions", error.to_string());
            s.trace().scalar(0.0)
        }
    }
}
