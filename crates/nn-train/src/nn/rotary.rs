//! The angles of rotary position embeddings, and how they are stretched for longer texts.

use nn_core::{Tensor, Trace, Value};
use std::f64::consts::PI;

/// How the angles are changed for texts longer than those a model was trained on; `rope_type` in Hugging Face's
/// configurations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RotaryScaling {
    /// Not at all: `default`.
    None,
    /// All positions are divided by a number: `linear`.
    Linear {
        /// That number.
        factor: f64,
    },
    /// The base grows with the length beyond the original one, so that the fast angles stay as they are: `dynamic`. The length
    /// is that of the table.
    Ntk {
        /// How much the base grows, about: by how much more of the original length there is.
        factor: f64,
        /// The longest text in training, `max_position_embeddings`.
        original_length: usize,
    },
    /// Slow angles are divided by a number, fast ones stay, and between them it changes smoothly: `llama3`.
    Llama3 {
        /// That number.
        factor: f64,
        /// Angles that turn less than so often in the original length are slow.
        low_freq_factor: f64,
        /// Angles that turn more than so often are fast.
        high_freq_factor: f64,
        /// The longest text in training.
        original_max_position_embeddings: usize,
    },
}

/// The tables that [`Value::rotary`] takes: cosines and sines of each position's angles. Pair i of position p is turned by
/// p·`theta`^(−2i/`size`), Su et al. (2021).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RotaryTable {
    /// The base, 10,000 in the paper.
    pub theta: f64,
    /// How many elements of a head are rotated: two for each angle.
    pub size: usize,
    /// How the angles are changed for longer texts.
    pub scaling: RotaryScaling,
}

impl RotaryTable {
    /// The angles of the paper for so many elements of a head, an even number.
    pub fn new(size: usize) -> RotaryTable {
        RotaryTable { theta: 10_000.0, size, scaling: RotaryScaling::None }
    }

    /// By how much each pair turns from a position to the next, in radians, in a table of `length` positions. `inv_freq` of
    /// `transformers`' `ROPE_INIT_FUNCTIONS`, in single precision as there.
    ///
    /// # Errors
    /// For sizes and factors that make no table.
    pub fn angles(&self, length: usize) -> Result<Vec<f32>, String> {
        let RotaryTable { theta, size, scaling } = *self;
        let positive = |what: &str, value: f64| match value.is_finite() && value > 0.0 {
            true => Ok(value),
            false => Err(format!("{what} of a rotary embedding must be a number above 0, not {value}")),
        };
        if size == 0 || size % 2 == 1 {
            return Err(format!("a rotary embedding needs an even number of elements, not {size}"));
        }
        let count = size as f64;
        let of_base = |base: f64| -> Vec<f64> {
            (0..size).step_by(2).map(|element| 1.0 / base.powf(element as f64 / count)).collect()
        };
        let mut angles = of_base(positive("theta", theta)?);
        match scaling {
            RotaryScaling::None => {}
            RotaryScaling::Linear { factor } => {
                let factor = positive("factor", factor)?;
                angles.iter_mut().for_each(|angle| *angle /= factor);
            }
            RotaryScaling::Ntk { factor, original_length } => {
                let original = positive("original_length", original_length as f64)?;
                let factor = positive("factor", factor)?;
                let stretched = factor * original.max(length as f64) / original - (factor - 1.0);
                if size == 2 {
                    return Err("the base of a single angle means nothing: scale it by another rule than ntk".into());
                }
                let stretched = positive("the stretched length", stretched)?;
                angles = of_base(theta * stretched.powf(count / (count - 2.0)));
            }
            RotaryScaling::Llama3 {
                factor,
                low_freq_factor: low,
                high_freq_factor: high,
                original_max_position_embeddings: original,
            } => {
                let factor = positive("factor", factor)?;
                let original = positive("original_max_position_embeddings", original as f64)?;
                if positive("low_freq_factor", low)? >= positive("high_freq_factor", high)? {
                    return Err(format!(
                        "low_freq_factor {low} of a rotary embedding must be below high_freq_factor {high}"
                    ));
                }
                for angle in &mut angles {
                    // How often it turns in the original length.
                    let turns = original * *angle / (2.0 * PI);
                    let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                    *angle = (1.0 - kept) * *angle / factor + kept * *angle;
                }
            }
        }
        Ok(angles.into_iter().map(|angle| angle as f32).collect())
    }

    /// Cosines and sines of the positions 0 to `length` − 1, constants of `f32 (length, size/2)`. A table that is none is a
    /// mistake that the trace reports.
    #[track_caller]
    pub fn table(&self, trace: &Trace, length: usize) -> [Value; 2] {
        let tensors = self.angles(length).and_then(|angles| {
            let table = |of: fn(f64) -> f64| {
                // The product is rounded as in `transformers`: at far positions that moves the angle by more than all else.
                let place = |position: usize, angle: f32| of(f64::from(position as f32 * angle)) as f32;
                let row = |position: usize| angles.iter().map(move |angle| place(position, *angle));
                let values: Vec<f32> = (0..length).flat_map(row).collect();
                Tensor::from_f32([length, angles.len()], &values).map_err(|error| error.to_string())
            };
            Ok([table(f64::cos)?, table(f64::sin)?])
        });
        match tensors {
            Ok(tensors) => tensors.map(|tensor| trace.constant(&tensor)),
            Err(message) => {
                trace.fail("rotary", message);
                [trace.scalar(1.0); 2]
            }
        }
    }

    /// Cosines and sines of positions that are known when the program runs: `u32 (count)`, all below `length`. Each
    /// `f32 (count, size/2)`; a position beyond gives NaN.
    #[track_caller]
    pub fn at(&self, positions: Value, length: usize) -> [Value; 2] {
        self.table(&positions.recorder(), length).map(|table| table.gather_rows(positions))
    }
}
