//! What the elementwise table is written with: loops over blocks, number traits, WGSL helper functions.

pub(super) use cpu_reference::Real;
pub(super) use cpu_reference::elementwise::{Ahead, STRETCH};

/// A function that applies an expression to each element of a block.
macro_rules! loop_over {
    ($input:ty => $output:ty, ($a:ident), $rust:expr) => { loop_over!(@ $output, $rust, $a: $input = 0) };
    ($input:ty => $output:ty, ($a:ident, $b:ident), $rust:expr) => {
        loop_over!(@ $output, $rust, $a: $input = 0, $b: $input = 1)
    };
    ($input:ty => $output:ty, ($a:ident, $b:ident, $c:ident), $rust:expr) => {
        loop_over!(@ $output, $rust, $a: $input = 0, $b: $input = 1, $c: $input = 2)
    };
    ($input:ty => $output:ty, ($a:ident, $b:ident, $c:ident, $d:ident), $rust:expr) => {
        loop_over!(@ $output, $rust, $a: $input = 0, $b: $input = 1, $c: $input = 2, $d: $input = 3)
    };
    ($input:ty => $output:ty,
        ($a:ident, $b:ident, $c:ident, $d:ident, $e:ident, $f:ident, $g:ident), $rust:expr) => {
        loop_over!(@ $output, $rust, $a: $input = 0, $b: $input = 1, $c: $input = 2, $d: $input = 3, $e: $input = 4,
            $f: $input = 5, $g: $input = 6)
    };
    ($x:ty, $y:ty, $z:ty => $output:ty, ($a:ident, $b:ident, $c:ident), $rust:expr) => {
        loop_over!(@ $output, $rust, $a: $x = 0, $b: $y = 1, $c: $z = 2)
    };
    (@ $output:ty, $rust:expr, $($argument:ident: $input:ty = $place:literal),*) => {{
        #[inline(always)]
        fn elements(inputs: &[&[u8]], output: &mut [u8], ahead: &Ahead) {
            let output: &mut [$output] = bytemuck::cast_slice_mut(output);
            let count = output.len();
            $(let $argument: &[$input] = bytemuck::cast_slice(inputs[$place]);)*
            for (number, output) in output.chunks_mut(STRETCH).enumerate() {
                ahead.ask();
                // Slices of one known length let the compiler drop bounds checks. With one left, the loop could end
                // anywhere, and up to a whole unrolled step of it would be done number by number.
                $(let first = if $argument.len() < count { 0 } else { number * STRETCH };
                let $argument = &$argument[first..][..output.len()];)*
                let count = output.len();
                for index in 0..count {
                    $(let $argument = $argument[index];)*
                    output[index] = $rust;
                }
            }
        }
        // The same operations on wider registers. A product and a sum are rounded once only where `mul_add` says so, so the
        // bits are those of the plain loop.
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        fn wide(inputs: &[&[u8]], output: &mut [u8], ahead: &Ahead) {
            elements(inputs, output, ahead);
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512vl,avx512dq,fma")]
        fn widest(inputs: &[&[u8]], output: &mut [u8], ahead: &Ahead) {
            elements(inputs, output, ahead);
        }
        fn block(inputs: &[&[u8]], output: &mut [u8], _first_index: usize, ahead: &Ahead) {
            #[cfg(target_arch = "x86_64")]
            if std::arch::is_x86_feature_detected!("avx512vl") && std::arch::is_x86_feature_detected!("avx512dq") {
                // SAFETY: the processor has the features that the function is compiled for; the others come with these.
                #[allow(unsafe_code)]
                return unsafe { widest(inputs, output, ahead) };
            }
            #[cfg(target_arch = "x86_64")]
            if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
                // SAFETY: the processor has the features that the function is compiled for.
                #[allow(unsafe_code)]
                return unsafe { wide(inputs, output, ahead) };
            }
            elements(inputs, output, ahead);
        }
        block
    }};
}
pub(super) use loop_over;

/// Arithmetic that integers and reals share; integers wrap as on a GPU.
pub(super) trait Number: Copy + PartialOrd {
    fn plus(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;
    fn times(self, other: Self) -> Self;
    fn lesser(self, other: Self) -> Self;
    fn larger(self, other: Self) -> Self;
}

macro_rules! real_number {
    ($($real:ty),*) => {
        $(impl Number for $real {
            fn plus(self, other: Self) -> Self { self + other }
            fn minus(self, other: Self) -> Self { self - other }
            fn times(self, other: Self) -> Self { self * other }
            // Written so that NaN on either side stays NaN, unlike `f32::min`.
            fn lesser(self, other: Self) -> Self { if self.is_nan() || self < other { self } else { other } }
            fn larger(self, other: Self) -> Self { if self.is_nan() || self > other { self } else { other } }
        })*
    };
}
real_number!(f32, f64);

macro_rules! whole_number {
    ($($whole:ty),*) => {
        $(impl Number for $whole {
            fn plus(self, other: Self) -> Self { self.wrapping_add(other) }
            fn minus(self, other: Self) -> Self { self.wrapping_sub(other) }
            fn times(self, other: Self) -> Self { self.wrapping_mul(other) }
            fn lesser(self, other: Self) -> Self { self.min(other) }
            fn larger(self, other: Self) -> Self { self.max(other) }
        })*
    };
}
whole_number!(u32, i32);

const IS_NAN: &str = "fn is_nan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }";
const MINIMUM: &str = "fn minimum_f32(a: f32, b: f32) -> f32 { return select(select(min(a, b), b, is_nan(b)), a, is_nan(a)); }\n\
    fn minimum_u32(a: u32, b: u32) -> u32 { return min(a, b); }\n\
    fn minimum_i32(a: i32, b: i32) -> i32 { return min(a, b); }";
const MAXIMUM: &str = "fn maximum_f32(a: f32, b: f32) -> f32 { return select(select(max(a, b), b, is_nan(b)), a, is_nan(a)); }\n\
    fn maximum_u32(a: u32, b: u32) -> u32 { return max(a, b); }\n\
    fn maximum_i32(a: i32, b: i32) -> i32 { return max(a, b); }";
/// Beyond ±10 tanh is ±1 in f32, and some drivers overflow on larger arguments.
const TANH: &str = "fn hyperbolic_tangent(x: f32) -> f32 { return select(tanh(clamp(x, -10.0, 10.0)), x, is_nan(x)); }";
/// eˣ − 1 by its series where the subtraction would cancel.
const EXPM1: &str = "fn exp_minus_one(x: f32) -> f32 {
    let series = x * (1.0 + x * (0.5 + x * (0.16666667 + x * (0.041666668 + x * 0.008333334))));
    return select(exp(x) - 1.0, series, abs(x) < 0.25);
}";
/// WGSL's pow is undefined for negative bases: whole exponents keep their sign rule here.
const POWER: &str = "fn power(base: f32, exponent: f32) -> f32 {
    if (exponent == 0.0 || base == 1.0) { return 1.0; }
    if (is_nan(base)) { return base; }
    if (is_nan(exponent)) { return exponent; }
    let size = pow(abs(base), exponent);
    if (base >= 0.0) { return size; }
    if (floor(exponent) != exponent) { return bitcast<f32>(bitcast<u32>(base) | 0x7fc00000u); }
    let odd = floor(exponent * 0.5) * 2.0 != exponent;
    return select(size, -size, odd);
}";
/// Abramowitz and Stegun 7.1.26 beyond |x| = 0.5 (error below 1.5e-7), the Taylor series within.
const ERF: &str = "fn error_function(x: f32) -> f32 {
    let z = x * x;
    let series = 1.1283792 * x * (1.0 + z * (-0.33333334 + z * (0.1 + z * (-0.023809524 + z * (0.0046296297 - z * 0.00075757576)))));
    let t = 1.0 / (1.0 + 0.3275911 * abs(x));
    let tail = t * (0.2548296 + t * (-0.28449672 + t * (1.4214138 + t * (-1.4531521 + t * 1.0614054)))) * exp(-z);
    return select(select(1.0 - tail, tail - 1.0, x < 0.0), series, abs(x) < 0.5);
}";
const GELU: &str = "fn gelu_exact(x: f32) -> f32 { return 0.5 * x * (1.0 + error_function(x * 0.70710677)); }";
const GELU_TANH: &str = "fn gelu_by_tanh(x: f32) -> f32 { return 0.5 * x * (1.0 + hyperbolic_tangent(0.7978846 * (x + 0.044715 * x * x * x))); }";
/// The slopes' arguments are limited as in the table.
const GELU_SLOPE: &str = "fn slope_of_gelu(a: f32) -> f32 {
    let x = minimum_f32(maximum_f32(a, -40.0), 40.0);
    return 0.5 * (1.0 + error_function(x * 0.70710677)) + x * (exp(-0.5 * x * x) * 0.3989423);
}";
const GELU_TANH_SLOPE: &str = "fn slope_of_tanh_gelu(a: f32) -> f32 {
    let x = minimum_f32(maximum_f32(a, -30.0), 30.0);
    let twice = 1.5957691 * (x + 0.044715 * x * x * x);
    let e = exp(-abs(twice));
    let large = 1.0 / (1.0 + e);
    let small = e * large;
    return select(large, small, twice < 0.0) + x * (1.5957691 * (1.0 + 0.134145 * x * x)) * (small * large);
}";
const SILU_SLOPE: &str = "fn slope_of_silu(a: f32) -> f32 {
    let x = minimum_f32(maximum_f32(a, -1000.0), 1000.0);
    let e = exp(-abs(x));
    let large = 1.0 / (1.0 + e);
    let small = e * large;
    return select(large, small, x < 0.0) + x * (small * large);
}";
/// log(1+eˣ) = max(x,0) + log(1+e^−|x|), with the logarithm's series where 1 + tiny would lose it.
const SOFTPLUS: &str = "fn softplus_stable(x: f32) -> f32 {
    let e = exp(-abs(x));
    let logarithm = select(log(1.0 + e), e * (1.0 - e * (0.5 - e * 0.33333334)), e < 0.01);
    return select(select(x, 0.0, x < 0.0) + logarithm, x, is_nan(x));
}";
/// The generator, the same text as for hand-written shaders.
const PHILOX: &str = include_str!("../../../../shaders/shared/philox.wgsl");

/// The helper functions that a row's WGSL needs, each after those it calls.
pub(super) fn helpers(wgsl: &str) -> &'static [&'static str] {
    let table: [(&str, &'static [&'static str]); 15] = [
        ("minimum_f32(maximum", &[IS_NAN, MINIMUM, MAXIMUM]),
        ("minimum_", &[IS_NAN, MINIMUM]),
        ("maximum_", &[IS_NAN, MAXIMUM]),
        ("hyperbolic_tangent", &[IS_NAN, TANH]),
        ("exp_minus_one", &[EXPM1]),
        ("power", &[IS_NAN, POWER]),
        ("error_function", &[ERF]),
        ("gelu_exact", &[ERF, GELU]),
        ("gelu_by_tanh", &[IS_NAN, TANH, GELU_TANH]),
        ("slope_of_gelu", &[IS_NAN, MINIMUM, MAXIMUM, ERF, GELU_SLOPE]),
        ("slope_of_tanh_gelu", &[IS_NAN, MINIMUM, MAXIMUM, GELU_TANH_SLOPE]),
        ("slope_of_silu", &[IS_NAN, MINIMUM, MAXIMUM, SILU_SLOPE]),
        ("softplus_stable", &[IS_NAN, SOFTPLUS]),
        ("philox_word", &[PHILOX]),
        ("unit_interval", &[PHILOX]),
    ];
    if wgsl.contains("is_nan(") {
        return &[IS_NAN];
    }
    table.iter().find(|(word, _)| wgsl.contains(word)).map_or(&[], |(_, helpers)| helpers)
}
