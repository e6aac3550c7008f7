//! How exact the functions are that operators are made of. On a GPU: what WGSL demands ("Accuracy of Concrete Floating
//! Point Expressions"). On the CPU: what the C library keeps (one unit), and `cpu-reference`'s tanh (four).
//!
//! Errors of a formula's steps add up, each weighed by how much the result changes with it. Terms of second order
//! (units of units) are left out, and figures err upwards.

use super::elementwise::{CUBIC, TWICE_SCALE};
use crate::graph::{Accuracy, Arithmetic};
use crate::ops::support::row_lanes;
use cpu_reference::Real;

const UNIT: f64 = f32::EPSILON as f64;

/// e^x, in units of the result.
pub(super) fn exp(on: Arithmetic, x: f64) -> f64 {
    on.pick(1.0, 3.0 + 2.0 * x.abs())
}

/// The natural logarithm of x. Near 1 a GPU's error is absolute: 2⁻²¹.
pub(super) fn log(on: Arithmetic, x: f64) -> Accuracy {
    match on {
        Arithmetic::Gpu if (0.5..=2.0).contains(&x) => Accuracy::absolute(4.0),
        Arithmetic::Gpu => Accuracy::relative(3.0),
        _ => Accuracy::relative(1.0),
    }
}

/// A quotient of ordinary numbers, in units of the result.
pub(super) fn quotient(on: Arithmetic) -> f64 {
    on.pick(0.5, 2.5)
}

/// A quotient by `divisor`: for very small and very large ones WGSL promises nothing.
pub(super) fn divide(on: Arithmetic, divisor: f64) -> Accuracy {
    let ordinary = (f64::from(f32::MIN_POSITIVE)..=2_f64.powi(126)).contains(&divisor.abs());
    if on == Arithmetic::Gpu && !ordinary { Accuracy::UNKNOWN } else { Accuracy::relative(quotient(on)) }
}

/// The square root, in units of the result: in WGSL 1 / inverseSqrt, of two units.
pub(super) fn sqrt(on: Arithmetic) -> f64 {
    on.pick(0.5, 2.0 + quotient(on))
}

/// Sine and cosine of x: within ±π a GPU errs by 2⁻¹¹, beyond WGSL promises nothing.
pub(super) fn sine(on: Arithmetic, x: f64) -> Accuracy {
    match on {
        Arithmetic::Gpu if x.abs() <= std::f64::consts::PI => Accuracy::absolute(4096.0),
        Arithmetic::Gpu => Accuracy::UNKNOWN,
        _ => Accuracy::relative(1.0),
    }
}

/// The hyperbolic tangent: WGSL allows an absolute 1e-5, or what sinh / cosh gives, which within ±10 is less; beyond,
/// the table's text takes tanh 10.
pub(super) fn tanh(on: Arithmetic) -> Accuracy {
    if on == Arithmetic::Gpu { Accuracy::absolute(85.0) } else { Accuracy::relative(4.0) }
}

/// base^exponent, in units of the result: in WGSL exp2(exponent · log2(base)). The logarithm's error and the
/// product's rounding are errors of an exponent, and 2^(t + δ) errs by e^(δ·ln 2) − 1.
pub(super) fn pow(on: Arithmetic, base: f64, exponent: f64) -> f64 {
    // What the table's text answers without computing.
    let known = base == 0.0 || base == 1.0 || exponent == 0.0;
    if on != Arithmetic::Gpu || known {
        return if known { 0.0 } else { 1.0 };
    }
    let logarithm = base.abs().log2();
    let power = (exponent * logarithm).abs();
    let shift = UNIT * (exponent.abs() * log(on, base.abs()).units(logarithm) + on.rounding() * power);
    let growth = (shift * std::f64::consts::LN_2).exp();
    exp(on, power + shift) * growth + (growth - 1.0) / UNIT
}

/// The error function. On a GPU its series (rounding by rounding 3.6 units of the result), or beyond ½ Abramowitz and
/// Stegun's 7.1.26 (1.3 units), whose division, polynomial and exponential add up to thirteen. On the CPU a rational
/// function, 3.55 units at most over all numbers.
pub(super) fn erf(on: Arithmetic, x: f64) -> Accuracy {
    match on {
        // An argument that was rounded may lie on the other side of ½.
        Arithmetic::Gpu if x.abs() < 0.499 => Accuracy::relative(4.0),
        Arithmetic::Gpu => Accuracy::absolute(15.0),
        Arithmetic::Cpu => Accuracy::relative(4.0),
        Arithmetic::Oracle => Accuracy::relative(1.0),
    }
}

/// 1 / (1 + e⁻ˣ): of the sum 1 + e⁻ˣ the exponential is the part 1 − y.
pub(super) fn sigmoid(on: Arithmetic, x: f64) -> Accuracy {
    let others = 1.0 / (1.0 + x.exp());
    Accuracy::relative(exp(on, x) * others + on.rounding() + quotient(on)) + Accuracy::absolute(overflow(on))
}

/// x / (1 + e⁻ˣ).
pub(super) fn silu(on: Arithmetic, x: f64) -> Accuracy {
    Accuracy { absolute: overflow(on) * x.abs(), ..sigmoid(on, x) }
}

/// What 1 / e⁻ˣ loses where e⁻ˣ overflows, in units of 1.
fn overflow(on: Arithmetic) -> f64 {
    let lost = if on == Arithmetic::Oracle { f64::MIN_POSITIVE } else { f64::from(f32::MIN_POSITIVE) };
    lost / on.unit()
}

/// alpha · (eˣ − 1) for negative x. On a GPU the difference enlarges the exponential's error; within ¼ its series
/// leaves out x⁶/720, and |eˣ − 1| ≥ 0.885 |x|.
pub(super) fn elu(on: Arithmetic, x: f64) -> Accuracy {
    if x >= 0.0 {
        return Accuracy::EXACT;
    }
    let difference = match on {
        Arithmetic::Gpu if x > -0.25 => x.abs().powi(5) / 637.0 / UNIT + 3.0 * on.rounding(),
        Arithmetic::Gpu => exp(on, x) * x.exp() / -x.exp_m1() + on.rounding(),
        _ => 1.0,
    };
    Accuracy::relative(difference + on.rounding())
}

/// ½x · (1 + erf v) with v = x/√2: half of erf's error, and v's roundings, which weigh erf′(v)·v ≤ 0.49.
pub(super) fn gelu(on: Arithmetic, x: f64) -> Accuracy {
    let v = x.abs() * std::f64::consts::FRAC_1_SQRT_2;
    let sum = erf(on, v).units(Real::erf(v)) + 0.5 * (on.rounding() + 0.2);
    Accuracy { relative: 2.0 * on.rounding(), absolute: x.abs() * sum / 2.0, summed: 0.0 }
}

/// ½x · (1 + tanh u): half of tanh's error, and u's five roundings and constants, which weigh u·(1 − tanh²u) ≤ 0.45.
pub(super) fn gelu_tanh(on: Arithmetic, x: f64) -> Accuracy {
    let sum = tanh(on).units(1.0) + 0.45 * (5.0 * on.rounding() + 1.0);
    Accuracy { relative: 2.0 * on.rounding(), absolute: x.abs() * sum / 2.0, summed: 0.0 }
}

/// Φ(x) + x·φ(x): half of erf's error and its argument's roundings as in [`gelu`]; of φ the exponential, whose argument
/// −x²/2 was rounded twice, and three roundings.
pub(super) fn gelu_slope(on: Arithmetic, x: f64) -> Accuracy {
    let x = x.abs().min(40.0);
    let v = x * std::f64::consts::FRAC_1_SQRT_2;
    let cumulative = (erf(on, v).units(Real::erf(v)) + 0.5 * (on.rounding() + 0.2)) / 2.0;
    let exponent = x * x / 2.0;
    let density = (-exponent).exp() * (0.4 * x) * (exp(on, exponent) + 2.0 * on.rounding() * exponent + 3.0);
    let lost = x * on.smallest() / on.unit();
    Accuracy { relative: on.rounding(), absolute: cumulative + density + 2.0 * on.rounding() + lost, summed: 0.0 }
}

/// See [`sigmoid_slope`]: three roundings, and in the terms with x² four more.
pub(super) fn gelu_tanh_slope(on: Arithmetic, x: f64) -> Accuracy {
    let x = x.clamp(-30.0, 30.0);
    let square = CUBIC * x * x;
    let roundings = |square: f64| 3.0 + 4.0 * square / (1.0 + square);
    let exponent = TWICE_SCALE * x * (1.0 + square);
    let f = TWICE_SCALE * x * (1.0 + 3.0 * square);
    sigmoid_slope(on, exponent, roundings(square), f, roundings(3.0 * square))
}

/// See [`sigmoid_slope`].
pub(super) fn silu_slope(on: Arithmetic, x: f64) -> Accuracy {
    let x = x.clamp(-1000.0, 1000.0);
    sigmoid_slope(on, x, 0.0, x, 0.0)
}

/// s + f·s·(1 − s) with s = 1 / (1 + e^−exponent), where the exponent and f come with so many roundings. Of s and 1 − s
/// the larger is 1 / (1 + z) and the smaller z times that, with z = e^−|exponent|.
fn sigmoid_slope(on: Arithmetic, exponent: f64, of_exponent: f64, f: f64, of_f: f64) -> Accuracy {
    let z = (-exponent.abs()).exp();
    let (large, small) = (1.0 / (1.0 + z), z / (1.0 + z));
    let of_z = exp(on, exponent) + of_exponent * on.rounding() * exponent.abs();
    let of_large = of_z * small + on.rounding() + quotient(on);
    let of_small = of_z * large + 2.0 * on.rounding() + quotient(on);
    let of_s = if exponent < 0.0 { small * of_small } else { large * of_large };
    let of_product = f.abs() * small * large * (of_small + of_large + (of_f + 2.0) * on.rounding());
    let lost = (1.0 + f.abs()) * on.smallest() / on.unit();
    Accuracy { relative: on.rounding(), absolute: of_s + of_product + lost, summed: 0.0 }
}

/// first + second, each a product that was rounded.
pub(super) fn weighted_sum(on: Arithmetic, first: f64, second: f64) -> Accuracy {
    let lost = 2.0 * on.smallest() / on.unit();
    Accuracy { relative: on.rounding(), absolute: (first.abs() + second.abs()) * on.rounding() + lost, summed: 0.0 }
}

/// shrunk − scaled / (root + eps): `shrunk` is a product, `scaled` is multiplied by its rate after the division, and
/// `root` is a square root times the correction. Squares near zero may be lost before their root is taken.
pub(super) fn adam_step(on: Arithmetic, shrunk: f64, scaled: f64, root: f64, correction: f64, eps: f64) -> Accuracy {
    let divisor = root + eps;
    // Neither zero nor NaN: of such quotients nothing is promised.
    if divisor.is_nan() || divisor <= 0.0 {
        return Accuracy::UNKNOWN;
    }
    let step = scaled / divisor;
    let of_root = (sqrt(on) + on.rounding()) * root.abs() + on.smallest().sqrt() * correction.abs() / on.unit();
    let of_step = of_root / divisor + 2.0 * on.rounding();
    let lost = (2.0 + 1.0 / divisor) * on.smallest() / on.unit();
    let quotient = divide(on, divisor);
    let absolute = shrunk.abs() * on.rounding() + step.abs() * (of_step + quotient.relative) + lost + quotient.absolute;
    Accuracy { relative: on.rounding(), absolute, summed: 0.0 }
}

/// max(x, 0) + log(1 + e⁻|ˣ|). On a GPU the logarithm of 1 + e errs absolutely, by its own error, the sum's rounding
/// and e's error; below e = 0.01 its series leaves out e³/4.
pub(super) fn softplus(on: Arithmetic, x: f64) -> Accuracy {
    let e = (-x.abs()).exp();
    let last = Accuracy::rounded(on);
    let series = exp(on, x) + 3.0 * on.rounding() + 2.2;
    match on {
        Arithmetic::Gpu if e < 0.009 && x < 0.0 => last + Accuracy::relative(series),
        Arithmetic::Gpu if e < 0.009 => last + Accuracy::absolute(series * e),
        Arithmetic::Gpu => {
            let logarithm = log(on, 1.0 + e).absolute + on.rounding() + exp(on, x) * e / (1.0 + e);
            last + Accuracy::absolute(logarithm)
        }
        _ => last + Accuracy::relative(2.0),
    }
}

/// A sum of `terms` numbers accumulated in `f64`, in units of the sum of absolute values.
pub(super) fn double_sum(on: Arithmetic, terms: usize) -> f64 {
    0.5 * terms as f64 * f64::EPSILON / on.unit()
}

/// What softmax and its relatives do with a row of `columns`: the sum of eˣ⁻ᵐᵃˣ, in units of that sum.
///
/// Weighed by softmax, the mean of max − x is the entropy less the logarithm of the sum, so at most ln(columns):
/// that far the exponentials' errors, which grow with it, count on average.
pub(super) fn sum_of_exponentials(on: Arithmetic, columns: usize) -> f64 {
    let distance = (columns as f64).ln();
    exponential(on, distance) + row_additions(on, columns)
}

/// A sum over a row, in units of the sum of absolute values. On a GPU each of the invocations that share the row adds up
/// what it meets, then there is a tree; on the CPU a term goes through up to three additions before those in `f64`.
pub(super) fn row_additions(on: Arithmetic, columns: usize) -> f64 {
    let lanes = row_lanes(columns);
    on.pick(1.5 + double_sum(on, columns), (columns.div_ceil(lanes) - 1) as f64 + f64::from(lanes.ilog2()))
}

/// e^−distance of a difference that was rounded, in units of the result.
pub(super) fn exponential(on: Arithmetic, distance: f64) -> f64 {
    exp(on, distance) + on.rounding() * distance
}

/// The logarithm of such a sum, which is at least 1, in units of 1.
pub(super) fn log_of_sum(on: Arithmetic, columns: usize) -> f64 {
    let logarithm = (columns as f64).ln();
    sum_of_exponentials(on, columns) + on.pick(logarithm, f64::max(4.0, 3.0 * logarithm))
}

/// The elements of a row's softmax where no two inputs lie further apart than `distance`.
pub(super) fn softmax(on: Arithmetic, columns: usize, distance: f64) -> Accuracy {
    // Beyond these the exponentials are 0 or nearly so.
    let distance = match on {
        Arithmetic::Oracle => distance.min(746.0),
        Arithmetic::Cpu => distance.min(104.0),
        Arithmetic::Gpu => distance.min(88.0),
    };
    let relative = exponential(on, distance) + sum_of_exponentials(on, columns) + softmax_quotient(on);
    Accuracy { relative, absolute: 2.0 * on.smallest() / on.unit(), summed: 0.0 }
}

/// The division by the sum; the CPU rounds 1/sum and then the product.
pub(super) fn softmax_quotient(on: Arithmetic) -> f64 {
    on.pick(1.0, quotient(on))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::ElementwiseOp;
    use crate::ops::elementwise::rows;
    use crate::ops::elementwise_row::Elementwise;

    const ALL: [Arithmetic; 3] = [Arithmetic::Oracle, Arithmetic::Cpu, Arithmetic::Gpu];
    const SPECIAL: [f64; 12] =
        [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, 1.0, -0.5, 88.8, -1e4, 3e38, -3e38, 1e-40];

    #[test]
    fn no_argument_makes_a_bound_nan_or_negative() {
        for row in rows() {
            let count = row.arguments.len() as u32;
            let all = SPECIAL.len().pow(count);
            // Of many arguments some combinations, by a stride that has no factor in common with their number.
            for which in (0..all).step_by(if count > 4 { 997 } else { 1 }) {
                let special = |place: u32| SPECIAL[which / SPECIAL.len().pow(place) % SPECIAL.len()];
                let arguments: Vec<f64> = (0..count).map(special).collect();
                for on in ALL {
                    let accuracy = Elementwise(row).accuracy(on, &arguments);
                    for exact in [0.0, 1.0, -1e-40, 3e38] {
                        let allowed = accuracy.allows(on, exact, f64::INFINITY);
                        assert!(allowed >= 0.0, "{} of {arguments:?} by {on:?}: {allowed}", row.name());
                    }
                }
            }
        }
    }

    /// Ordinary arguments leave few units of ordinary results, so that wrong results show.
    #[test]
    fn bounds_are_tight() {
        for row in rows().filter(|row| !matches!(row.name(), "sin" | "cos")) {
            for on in ALL {
                for x in [0.3, 1.0, 3.0, 10.0] {
                    let arguments = match row.name() {
                        "weighted_sum" => vec![x, 0.9, x, 0.1],
                        "adam_step" => vec![x, 1.0, x, 1e-3, x * x, 1.0, 1e-8],
                        _ => vec![x; row.arguments.len()],
                    };
                    let accuracy = Elementwise(row).accuracy(on, &arguments);
                    let units = accuracy.allows(on, x, 0.0) / on.unit() / x.max(1.0);
                    let most = on.pick(4.5, 170.0);
                    assert!(units <= most, "{} of {x} by {on:?}: {units} units", row.name());
                }
            }
        }
    }

    #[test]
    fn wgsl_promises_nothing_of_large_angles_and_extreme_divisors() {
        for (accuracy, known) in [
            (sine(Arithmetic::Gpu, 3.1), true),
            (sine(Arithmetic::Gpu, 3.2), false),
            (sine(Arithmetic::Cpu, 3.2), true),
            (divide(Arithmetic::Gpu, 1e-37), true),
            (divide(Arithmetic::Gpu, 1e38), false),
            (divide(Arithmetic::Gpu, 1e-39), false),
            (divide(Arithmetic::Cpu, 1e-39), true),
        ] {
            assert_eq!(accuracy.allows(Arithmetic::Gpu, 1.0, 1.0).is_finite(), known);
        }
    }
}
