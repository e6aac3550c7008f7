//! `Real`: the arithmetic that the kernels need, for `f32` and `f64`.

use std::fmt::Debug;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};

use bytemuck::Pod;

use crate::exponential;
use crate::product::Vectors;

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// A floating-point number: `f32` (training) or `f64` (the oracle), and no other type.
pub trait Real:
    sealed::Sealed
    + Vectors
    + Pod
    + Default
    + Send
    + Sync
    + PartialOrd
    + Debug
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + 'static
{
    /// Zero.
    const ZERO: Self;
    /// One.
    const ONE: Self;
    /// A quiet NaN.
    const NAN: Self;
    /// Plus infinity.
    const INFINITY: Self;
    /// Minus infinity.
    const NEG_INFINITY: Self;

    /// The nearest value of this type.
    fn from_f64(value: f64) -> Self;
    /// The same value as an `f64`, exact.
    fn to_f64(self) -> f64;
    /// e^x.
    fn exp(self) -> Self;
    /// e^x − 1, accurate near zero.
    fn exp_m1(self) -> Self;
    /// The natural logarithm.
    fn ln(self) -> Self;
    /// ln(1 + x), accurate near zero.
    fn log1p(self) -> Self;
    /// The square root.
    fn sqrt(self) -> Self;
    /// The absolute value.
    fn abs(self) -> Self;
    /// The hyperbolic tangent.
    fn tanh(self) -> Self;
    /// The sine, of radians.
    fn sin(self) -> Self;
    /// The cosine, of radians.
    fn cos(self) -> Self;
    /// x raised to `exponent`.
    fn powf(self, exponent: Self) -> Self;
    /// The largest whole number that is not above x.
    fn floor(self) -> Self;
    /// The error function, 2/√π·∫₀ˣ e^(−t²) dt.
    fn erf(self) -> Self;
    /// Whether this is NaN.
    fn is_nan(self) -> bool;

    /// The larger of the two; NaN if either is NaN (`f32::max` would drop it).
    #[inline]
    fn maximum(self, other: Self) -> Self {
        if self > other || self.is_nan() { self } else { other }
    }

    /// The smaller of the two; NaN if either is NaN (`f32::min` would drop it).
    #[inline]
    fn minimum(self, other: Self) -> Self {
        if self < other || self.is_nan() { self } else { other }
    }
}

macro_rules! implement_real {
    ($type:ident, $exp:path, $tanh:path, $erf:path) => {
        impl Real for $type {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const NAN: Self = $type::NAN;
            const INFINITY: Self = $type::INFINITY;
            const NEG_INFINITY: Self = $type::NEG_INFINITY;

            #[inline]
            fn from_f64(value: f64) -> Self {
                value as $type
            }
            #[inline]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            #[inline]
            fn exp(self) -> Self {
                $exp(self)
            }
            #[inline]
            fn exp_m1(self) -> Self {
                $type::exp_m1(self)
            }
            #[inline]
            fn ln(self) -> Self {
                $type::ln(self)
            }
            #[inline]
            fn log1p(self) -> Self {
                $type::ln_1p(self)
            }
            #[inline]
            fn sqrt(self) -> Self {
                $type::sqrt(self)
            }
            #[inline]
            fn abs(self) -> Self {
                $type::abs(self)
            }
            #[inline]
            fn tanh(self) -> Self {
                $tanh(self)
            }
            #[inline]
            fn sin(self) -> Self {
                $type::sin(self)
            }
            #[inline]
            fn cos(self) -> Self {
                $type::cos(self)
            }
            #[inline]
            fn powf(self, exponent: Self) -> Self {
                $type::powf(self, exponent)
            }
            #[inline]
            fn floor(self) -> Self {
                $type::floor(self)
            }
            #[inline]
            fn erf(self) -> Self {
                $erf(self)
            }
            #[inline]
            fn is_nan(self) -> bool {
                $type::is_nan(self)
            }
        }
    };
}

implement_real!(f32, exponential::exp, exponential::tanh, exponential::erf);
implement_real!(f64, f64::exp, f64::tanh, libm::erf);

#[cfg(test)]
mod tests {
    use super::*;

    fn keeps_nan<T: Real>() {
        let one = T::ONE;
        assert!(T::NAN.maximum(one).is_nan() && one.maximum(T::NAN).is_nan());
        assert!(T::NAN.minimum(one).is_nan() && one.minimum(T::NAN).is_nan());
        assert!(T::NAN.maximum(T::NAN).is_nan());
        assert!(T::NEG_INFINITY.maximum(one) == one && one.maximum(T::ZERO) == one);
        assert!(T::INFINITY.minimum(one) == one && one.minimum(T::ZERO) == T::ZERO);
        assert!(T::NAN.exp().is_nan() && T::NAN.tanh().is_nan() && T::NAN.erf().is_nan());
    }

    #[test]
    fn maximum_and_minimum_keep_nan() {
        keeps_nan::<f32>();
        keeps_nan::<f64>();
    }

    #[test]
    fn erf_has_its_tabled_values() {
        // Abramowitz and Stegun, table 7.1.
        for (x, expected) in [(0.0, 0.0), (0.5, 0.520_499_877_8), (1.0, 0.842_700_792_9)] {
            assert!((Real::erf(x) - expected).abs() < 1e-9);
            assert!((f64::from(Real::erf(x as f32)) - expected).abs() <= 4.0 * f64::from(f32::EPSILON) * expected);
            assert!((Real::erf(-x) + expected).abs() < 1e-9);
        }
    }
}
