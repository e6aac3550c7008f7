//! `exp`, `tanh` and `erf` in `f32`, without branches or calls, so that a loop over them becomes vector code.
//!
//! The C library's versions are a call per element; activations and softmax are bound by them.

/// Adding this to a value below 2²² in size rounds it to a whole number in the low bits.
const ROUNDING: f32 = 12_582_912.0;

/// e^x to within one unit in the last place; NaN stays NaN, and the ends are 0 and infinity.
///
/// The method of Cephes' `expf`: x = n·ln 2 + r, a polynomial for e^r, then a scaling by 2^n.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let shifted = x * std::f32::consts::LOG2_E + ROUNDING;
    let whole = shifted - ROUNDING;
    // ln 2 in two parts, the first with so few bits that its product with `whole` is exact.
    let rest = (x - whole * 0.693_359_4) + whole * 2.121_944_4e-4;
    let mut series = 1.987_569_1e-4_f32;
    series = series * rest + 1.398_199_9e-3;
    series = series * rest + 8.333_452e-3;
    series = series * rest + 4.166_579_6e-2;
    series = series * rest + 1.666_666_5e-1;
    series = series * rest + 0.5;
    let value = series * rest * rest + rest + 1.0;
    // Two factors, because 2^n alone leaves the range of f32 at both ends.
    let exponent = (shifted.to_bits() as i32).wrapping_sub(ROUNDING.to_bits() as i32);
    let half = exponent >> 1;
    let scaled = value * power_of_two(half) * power_of_two(exponent.wrapping_sub(half));
    let low = if x < -104.0 { 0.0 } else { scaled };
    if x > 88.722_84 { f32::INFINITY } else { low }
}

/// 2^exponent for an exponent in the normal range; anything for others (the caller masks them).
#[inline(always)]
fn power_of_two(exponent: i32) -> f32 {
    f32::from_bits((exponent.wrapping_add(127) << 23) as u32)
}

/// tanh x to within four units in the last place; NaN stays NaN.
///
/// An odd rational function of degree 13 over 6 (the one in Eigen), on the range where tanh is not ±1.
#[inline]
pub fn tanh(x: f32) -> f32 {
    const LIMIT: f32 = 7.905_311;
    let low = if x < -LIMIT { -LIMIT } else { x };
    let clamped = if low > LIMIT { LIMIT } else { low };
    let square = clamped * clamped;
    let mut numerator = -2.760_768_5e-16_f32;
    numerator = numerator * square + 2.000_188e-13;
    numerator = numerator * square - 8.604_672e-11;
    numerator = numerator * square + 5.122_297_1e-8;
    numerator = numerator * square + 1.485_722_4e-5;
    numerator = numerator * square + 6.372_619e-4;
    numerator = numerator * square + 4.893_524_6e-3;
    let mut denominator = 1.198_258_4e-6_f32;
    denominator = denominator * square + 1.185_347_1e-4;
    denominator = denominator * square + 2.268_434_6e-3;
    denominator = denominator * square + 4.893_525e-3;
    let ratio = clamped * numerator / denominator;
    let capped = if ratio > 1.0 { 1.0 } else { ratio };
    let value = if capped < -1.0 { -1.0 } else { capped };
    // From here on the nearest f32 is ±1; below 4e-4 it is x.
    let ended = if x.abs() > 9.02 { x.signum() } else { value };
    if x.abs() < 4e-4 { x } else { ended }
}

/// The error function to within four units in the last place (3.55 over all numbers); NaN stays NaN, and the ends are ±1.
///
/// x·P(x²)/Q(x²), fitted for the least relative error on the range where erf is not ±1.
#[inline]
pub fn erf(x: f32) -> f32 {
    const LIMIT: f32 = 3.95;
    let low = if x < -LIMIT { -LIMIT } else { x };
    let clamped = if low > LIMIT { LIMIT } else { low };
    let square = clamped * clamped;
    let mut numerator = 2.025_907_8e-6_f32;
    numerator = numerator * square + 2.846_886e-4;
    numerator = numerator * square + 3.808_187e-3;
    numerator = numerator * square + 5.287_553e-2;
    numerator = numerator * square + 1.915_508_6e-1;
    numerator = numerator * square + std::f32::consts::FRAC_2_SQRT_PI;
    let mut denominator = 3.783_184_6e-5_f32;
    denominator = denominator * square + 1.170_732_5e-3;
    denominator = denominator * square + 1.505_514_2e-2;
    denominator = denominator * square + 1.145_598_6e-1;
    denominator = denominator * square + 5.030_902e-1;
    denominator = denominator * square + 1.0;
    let ratio = clamped * numerator / denominator;
    let capped = if ratio > 1.0 { 1.0 } else { ratio };
    if capped < -1.0 { -1.0 } else { capped }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_agrees_with_f64_over_its_whole_range() {
        let mut worst: f64 = 0.0;
        for step in -8700..=8870 {
            let x = step as f32 * 0.01 + 1e-3;
            if x > 88.7 {
                continue;
            }
            let exact = f64::from(x).exp();
            worst = worst.max((f64::from(exp(x)) - exact).abs() / exact);
        }
        assert!(worst < f64::from(f32::EPSILON), "relative error {worst:e}");
    }

    #[test]
    fn exp_keeps_the_ends() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert_eq!(exp(89.0), f32::INFINITY);
        assert_eq!(exp(1e30), f32::INFINITY);
        assert_eq!(exp(-1e30), 0.0);
        assert!(exp(f32::NAN).is_nan());
        let denormal = exp(-95.0);
        assert!((f64::from(denormal) / (-95.0f64).exp() - 1.0).abs() < 1e-3);
        assert!(exp(88.7).is_finite());
    }

    #[test]
    fn tanh_agrees_with_f64_and_stays_within_one() {
        for step in -200_000..=200_000 {
            let x = step as f32 * 1e-4;
            let exact = f64::from(x).tanh();
            let value = tanh(x);
            assert!(value.abs() <= 1.0);
            let error = (f64::from(value) - exact).abs();
            assert!(error <= 4.0 * f64::from(f32::EPSILON) * exact.abs(), "tanh({x}) = {value}, exact {exact}");
        }
        assert_eq!(tanh(f32::INFINITY), 1.0);
        assert_eq!(tanh(f32::NEG_INFINITY), -1.0);
        assert!(tanh(f32::NAN).is_nan());
        assert_eq!(tanh(1e-20), 1e-20);
    }

    #[test]
    fn erf_agrees_with_f64_and_stays_within_one() {
        let mut worst: f64 = 0.0;
        for step in -60_000..=60_000 {
            let x = step as f32 * 7e-5;
            let exact = libm::erf(f64::from(x));
            let value = erf(x);
            assert!(value.abs() <= 1.0);
            worst = worst.max((f64::from(value) - exact).abs() / exact.abs().max(1e-30));
        }
        assert!(worst < 4.0 * f64::from(f32::EPSILON), "relative error {worst:e}");
        assert_eq!([erf(f32::INFINITY), erf(f32::NEG_INFINITY), erf(4.0), erf(0.0)], [1.0, -1.0, 1.0, 0.0]);
        assert!(erf(f32::NAN).is_nan());
        let tiny = 1e-30;
        assert!((erf(tiny) / (tiny * std::f32::consts::FRAC_2_SQRT_PI) - 1.0).abs() < f32::EPSILON);
    }
}
