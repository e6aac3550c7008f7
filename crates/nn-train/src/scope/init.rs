//! How parameters begin: distributions as PyTorch's `torch.nn.init` defines them, drawn on the host.

use cpu_reference::philox::fill;
use nn_core::Shape;

/// How the values of a parameter are chosen at first.
///
/// Numbers are drawn in double precision on the host from a stream that the seed and the parameter's name decide:
/// they are the same on every device, and a layer more changes no other layer's values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// All 0.
    Zeros,
    /// All 1.
    Ones,
    /// All the given number.
    Constant(f32),
    /// Evenly distributed in `low..high`.
    Uniform {
        /// The lower end.
        low: f64,
        /// The upper end.
        high: f64,
    },
    /// Normally distributed.
    Normal {
        /// The mean.
        mean: f64,
        /// The standard deviation.
        std: f64,
    },
    /// Normally distributed around 0, but for one row of zeros: what `torch.nn.Embedding` does with its padding.
    NormalButRow {
        /// The standard deviation.
        std: f64,
        /// The place of the row along the first dimension.
        row: usize,
    },
    /// `torch.nn.init.xavier_uniform_` (Glorot and Bengio, 2010).
    XavierUniform {
        /// The factor for the activation that follows; 1 for none.
        gain: f64,
    },
    /// `torch.nn.init.xavier_normal_`.
    XavierNormal {
        /// The factor for the activation that follows; 1 for none.
        gain: f64,
    },
    /// `torch.nn.init.kaiming_uniform_` (He et al., 2015), by the fan-in.
    KaimingUniform {
        /// The negative slope of the leaky ReLU that follows; 0 for ReLU.
        a: f64,
    },
    /// `torch.nn.init.kaiming_normal_` for a ReLU that follows, by the fan-in.
    KaimingNormal,
    /// `torch.nn.init.kaiming_normal_` for a ReLU that follows, by the fan-out.
    KaimingNormalFanOut,
    /// What `torch.nn.Linear` does with its weight: evenly distributed within ±1/√fan-in.
    LinearDefault,
}

impl Init {
    /// The values of the parameter `name` of the given shape, in row-major order.
    ///
    /// Of a shape `[out, in, …]` the fan-in is `in·…` and the fan-out `out·…`.
    pub fn values(&self, shape: &Shape, seed: u64, name: &str) -> Vec<f32> {
        let (fan_in, fan_out) = fans(shape);
        let uniform = |bound: f64| Drawn::Uniform { low: -bound, high: bound };
        let normal = |std: f64| Drawn::Normal { mean: 0.0, std };
        let drawn = match *self {
            Init::Zeros => Drawn::Constant(0.0),
            Init::Ones => Drawn::Constant(1.0),
            Init::Constant(value) => Drawn::Constant(value),
            Init::Uniform { low, high } => Drawn::Uniform { low, high },
            Init::Normal { mean, std } => Drawn::Normal { mean, std },
            Init::NormalButRow { std, .. } => normal(std),
            Init::XavierUniform { gain } => uniform(gain * (6.0 / (fan_in + fan_out)).sqrt()),
            Init::XavierNormal { gain } => normal(gain * (2.0 / (fan_in + fan_out)).sqrt()),
            Init::KaimingUniform { a } => uniform((6.0 / ((1.0 + a * a) * fan_in)).sqrt()),
            Init::KaimingNormal => normal((2.0 / fan_in).sqrt()),
            Init::KaimingNormalFanOut => normal((2.0 / fan_out).sqrt()),
            Init::LinearDefault => uniform(1.0 / fan_in.sqrt()),
        };
        let mut values = vec![0.0f32; shape.elements()];
        let stream = stream_of(name);
        match drawn {
            Drawn::Constant(value) => values.fill(value),
            Drawn::Uniform { low, high } => {
                fill(seed, stream, &mut values, |random| (low + (high - low) * random.uniform_f64()) as f32);
            }
            Drawn::Normal { mean, std } => {
                fill(seed, stream, &mut values, |random| (mean + std * random.normal()) as f32);
            }
        }
        if let Init::NormalButRow { row, .. } = *self {
            let width: usize = shape.iter().skip(1).product();
            values.iter_mut().skip(row * width).take(width).for_each(|value| *value = 0.0);
        }
        values
    }
}

enum Drawn {
    Constant(f32),
    Uniform { low: f64, high: f64 },
    Normal { mean: f64, std: f64 },
}

/// How many inputs each output depends on, and the reverse.
fn fans(shape: &Shape) -> (f64, f64) {
    match **shape {
        [] => (1.0, 1.0),
        [size] => (size as f64, size as f64),
        [outputs, inputs, ref field @ ..] => {
            let field: usize = field.iter().product();
            ((inputs * field) as f64, (outputs * field) as f64)
        }
    }
}

/// The stream of random numbers that a name owns: its FNV-1a hash.
pub(crate) fn stream_of(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(init: Init, shape: [usize; 2]) -> (f64, f64, f64) {
        let values = init.values(&shape.into(), 5, "weight");
        let count = values.len() as f64;
        let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
        let variance = values.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>() / count;
        let largest = values.iter().fold(0.0, |largest: f64, &value| largest.max(f64::from(value).abs()));
        (mean, variance.sqrt(), largest)
    }

    #[test]
    fn uniform_kinds_have_their_bounds_and_deviations() {
        // 200 outputs of 300 inputs; bounds from the papers' formulas.
        let cases = [
            (Init::LinearDefault, 1.0 / 300f64.sqrt()),
            (Init::KaimingUniform { a: 5f64.sqrt() }, 1.0 / 300f64.sqrt()),
            (Init::KaimingUniform { a: 0.0 }, (6.0 / 300f64).sqrt()),
            (Init::XavierUniform { gain: 2.0 }, 2.0 * (6.0 / 500f64).sqrt()),
            (Init::Uniform { low: -0.25, high: 0.25 }, 0.25),
        ];
        for (init, bound) in cases {
            let (mean, deviation, largest) = moments(init, [200, 300]);
            let expected = bound / 3f64.sqrt();
            // Five standard errors of 60,000 draws.
            assert!(mean.abs() < 5.0 * expected / 60_000f64.sqrt(), "{init:?}: mean {mean}");
            assert!((deviation / expected - 1.0).abs() < 0.02, "{init:?}: deviation {deviation}, expected {expected}");
            assert!(largest <= bound * (1.0 + 1e-6) && largest > 0.999 * bound, "{init:?}: {largest} of {bound}");
        }
    }

    #[test]
    fn normal_kinds_have_their_deviations() {
        let cases = [
            (Init::KaimingNormal, (2.0 / 300f64).sqrt()),
            (Init::KaimingNormalFanOut, (2.0 / 200f64).sqrt()),
            (Init::XavierNormal { gain: 1.0 }, (2.0 / 500f64).sqrt()),
            (Init::Normal { mean: 0.0, std: 0.02 }, 0.02),
        ];
        for (init, expected) in cases {
            let (mean, deviation, largest) = moments(init, [200, 300]);
            assert!(mean.abs() < 5.0 * expected / 60_000f64.sqrt(), "{init:?}: mean {mean}");
            assert!((deviation / expected - 1.0).abs() < 0.02, "{init:?}: deviation {deviation}, expected {expected}");
            assert!(largest > 3.5 * expected, "{init:?}: {largest} is no normal tail");
        }
    }

    #[test]
    fn one_row_may_begin_at_zeros() {
        let shape = Shape::from([3, 4]);
        let all = Init::Normal { mean: 0.0, std: 2.0 }.values(&shape, 5, "weight");
        let others = Init::NormalButRow { std: 2.0, row: 1 }.values(&shape, 5, "weight");
        assert_eq!((&others[..4], &others[4..8], &others[8..]), (&all[..4], &[0.0; 4][..], &all[8..]));
        assert!(all.iter().all(|value| *value != 0.0));
    }

    #[test]
    fn fans_count_the_receptive_field() {
        assert_eq!(fans(&[8, 3, 5, 5].into()), (75.0, 200.0));
        assert_eq!(fans(&[7].into()), (7.0, 7.0));
    }

    #[test]
    fn the_name_and_the_seed_decide_the_values() {
        let shape = Shape::from([4, 4]);
        let values = |seed, name| Init::LinearDefault.values(&shape, seed, name);
        assert_eq!(values(1, "0.weight"), values(1, "0.weight"));
        assert!(values(1, "0.weight") != values(1, "2.weight"));
        assert!(values(1, "0.weight") != values(2, "0.weight"));
        // The published test vector of FNV-1a, 32 bits.
        assert_eq!(stream_of("foobar"), 0xbf9c_f968);
    }
}
