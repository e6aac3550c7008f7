//! `exp`, `tanh` and `erf` in `f32`, without branches or calls, so that a loop over them becomes vector code.
//!
//! The C library's versions are a call per element; activations and softmax are bound by them. Products and sums are rounded
//! once, by `mul_add`: an instruction of every processor with AVX2 or NEON, if the loop is compiled for it, and a slow call
//! otherwise.

/// e^x to within one unit in the last place; NaN stays NaN, and the ends are 0 and infinity.
///
/// x = n·ln 2 + r, a polynomial for e^r with the least relative error, then a scaling by 2^n.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Added to a number below 2²² in size it rounds it to a whole one in the low bits; those of 254 are added beside.
    const ROUNDING: f32 = 12_582_912.0 + 254.0;
    // ln 2 less what f32 holds of it.
    const REST_OF_LN_2: f32 = -1.904_654_2e-9;
    // Further out the result is 0 or infinity.
    let low = if x < -104.0 { -104.0 } else { x };
    let clamped = if low > 89.0 { 89.0 } else { low };
    let shifted = clamped.mul_add(std::f32::consts::LOG2_E, ROUNDING);
    let whole = shifted - ROUNDING;
    let rest = whole.mul_add(-REST_OF_LN_2, whole.mul_add(-std::f32::consts::LN_2, clamped));
    let mut series = 1.381_459_9e-3_f32;
    series = series.mul_add(rest, 8.368_717e-3);
    series = series.mul_add(rest, 4.166_839e-2);
    series = series.mul_add(rest, 1.666_652_1e-1);
    series = series.mul_add(rest, 0.499_999_94);
    series = series.mul_add(rest, 1.0);
    series = series.mul_add(rest, 1.0);
    // Two factors, because 2^n alone leaves the range of f32 at both ends: 2^(n ∓ 64) and 2^±64.
    const TWO_TO_64: f32 = (1u128 << 64) as f32;
    let second = if x < 0.0 { 1.0 / TWO_TO_64 } else { TWO_TO_64 };
    let first = f32::from_bits((shifted.to_bits() << 23).wrapping_sub(second.to_bits()));
    series * first * second
}

/// tanh x with a relative error below 3·2⁻²³ (2.42·2⁻²³ over all numbers); NaN stays NaN.
///
/// An odd rational function of degree 13 over 6 (the one in Eigen), on the range where tanh is not ±1.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    const LIMIT: f32 = 7.905_311;
    let low = if x < -LIMIT { -LIMIT } else { x };
    let clamped = if low > LIMIT { LIMIT } else { low };
    let square = clamped * clamped;
    let mut numerator = -2.760_768_5e-16_f32;
    numerator = numerator.mul_add(square, 2.000_188e-13);
    numerator = numerator.mul_add(square, -8.604_672e-11);
    numerator = numerator.mul_add(square, 5.122_297_1e-8);
    numerator = numerator.mul_add(square, 1.485_722_4e-5);
    numerator = numerator.mul_add(square, 6.372_619e-4);
    numerator = numerator.mul_add(square, 4.893_524_6e-3);
    let mut denominator = 1.198_258_4e-6_f32;
    denominator = denominator.mul_add(square, 1.185_347_1e-4);
    denominator = denominator.mul_add(square, 2.268_434_6e-3);
    denominator = denominator.mul_add(square, 4.893_525e-3);
    let ratio = clamped * numerator / denominator;
    let capped = if ratio > 1.0 { 1.0 } else { ratio };
    let value = if capped < -1.0 { -1.0 } else { capped };
    // From here on the nearest f32 is ±1; below 4e-4 it is x.
    let ended = if x.abs() > 9.02 { x.signum() } else { value };
    if x.abs() < 4e-4 { x } else { ended }
}

/// The error function with a relative error below 3·2⁻²³ (2.96·2⁻²³ over all numbers); NaN stays NaN, and the ends are ±1.
///
/// x·P(x²)/Q(x²), fitted for the least relative error on the range where erf is not ±1.
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    const LIMIT: f32 = 4.0;
    let low = if x < -LIMIT { -LIMIT } else { x };
    let clamped = if low > LIMIT { LIMIT } else { low };
    let square = clamped * clamped;
    let mut numerator = 2.025_907_8e-6_f32;
    numerator = numerator.mul_add(square, 2.846_886e-4);
    numerator = numerator.mul_add(square, 3.808_187e-3);
    numerator = numerator.mul_add(square, 5.287_553e-2);
    numerator = numerator.mul_add(square, 1.915_508_6e-1);
    numerator = numerator.mul_add(square, std::f32::consts::FRAC_2_SQRT_PI);
    let mut denominator = 3.783_184_6e-5_f32;
    denominator = denominator.mul_add(square, 1.170_732_5e-3);
    denominator = denominator.mul_add(square, 1.505_514_2e-2);
    denominator = denominator.mul_add(square, 1.145_598_6e-1);
    denominator = denominator.mul_add(square, 5.030_902e-1);
    denominator = denominator.mul_add(square, 1.0);
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
            assert!(error <= 3.0 * f64::from(f32::EPSILON) * exact.abs(), "tanh({x}) = {value}, exact {exact}");
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
        assert!(worst < 3.0 * f64::from(f32::EPSILON), "relative error {worst:e}");
        assert_eq!([erf(f32::INFINITY), erf(f32::NEG_INFINITY), erf(4.0), erf(0.0)], [1.0, -1.0, 1.0, 0.0]);
        assert!(erf(f32::NAN).is_nan());
        let tiny = 1e-30;
        assert!((erf(tiny) / (tiny * std::f32::consts::FRAC_2_SQRT_PI) - 1.0).abs() < f32::EPSILON);
    }
}
