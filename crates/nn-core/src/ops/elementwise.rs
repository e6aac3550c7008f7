//! The elementwise table: one row is one operator, with its WGSL, its Rust and its gradient.
//!
//! A row reads: `/// documentation`, then `Signature CONSTANT name(arguments) flops = "WGSL" => Rust => gradient;`, and
//! gives the method `Value::name` too. In the Rust expression `T` is
//! the element type (`f32`, `f64` and, among numbers, `u32` and `i32`), so both number formats of the
//! CPU backend come from one line. In the gradient, `dy` is the gradient of the result `y`; each entry is
//! the gradient of one argument, `None` where none flows.
//!
//! A row whose result is not simply rounded once (or, for masks, exact) ends in `within |on| accuracy`: how exact one
//! element is with the arithmetic `on`, given the arguments as `f64`.

use super::IntoValue;
use super::accuracy;
use super::elementwise_row::{Elementwise, Row, Signature};
use super::elementwise_support::{Ahead, Number, Real, STRETCH, loop_over};
use crate::graph::{Accuracy, Arithmetic, Op, Precision, Value};
use crate::tensor::DType;
use std::hint::select_unpredictable;
use std::sync::Arc;

macro_rules! gradient {
    (|$($argument:ident),*; $y:ident, $dy:ident| $($body:expr),*) => {{
        fn rule(arguments: &[Value], $y: Value, $dy: Value) -> Vec<Option<Value>> {
            let _ = ($y, $dy);
            let [$($argument),*] = *arguments else { return Vec::new() };
            let _ = ($($argument,)*);
            vec![$($body),*]
        }
        rule
    }};
}

/// The rule of accuracy of a row; without one real results are rounded once and others exact.
macro_rules! within {
    (Compare, $arguments:tt) => { |_, _| Accuracy::EXACT };
    ($kind:ident, $arguments:tt) => { |on, _| Accuracy::rounded(on) };
    ($kind:ident, ($($argument:ident),*), $on:ident, $accuracy:expr) => {{
        fn rule($on: Arithmetic, arguments: &[f64]) -> Accuracy {
            let [$($argument),*] = *arguments else { return Accuracy::UNKNOWN };
            let _ = ($($argument,)*);
            $accuracy
        }
        rule
    }};
}

macro_rules! functions {
    (Real, $arguments:tt, $rust:expr) => {
        &[
            (DType::F32, Precision::F32, { type T = f32; loop_over!(T => T, $arguments, $rust) }),
            (DType::F32, Precision::F64, { type T = f64; loop_over!(T => T, $arguments, $rust) }),
        ]
    };
    (Number, $arguments:tt, $rust:expr) => {
        &[
            (DType::F32, Precision::F32, { type T = f32; loop_over!(T => T, $arguments, $rust) }),
            (DType::F32, Precision::F64, { type T = f64; loop_over!(T => T, $arguments, $rust) }),
            (DType::U32, Precision::F32, { type T = u32; loop_over!(T => T, $arguments, $rust) }),
            (DType::I32, Precision::F32, { type T = i32; loop_over!(T => T, $arguments, $rust) }),
        ]
    };
    (Compare, $arguments:tt, $rust:expr) => {
        &[
            (DType::F32, Precision::F32, { type T = f32; loop_over!(T => u32, $arguments, u32::from($rust)) }),
            (DType::F32, Precision::F64, { type T = f64; loop_over!(T => u32, $arguments, u32::from($rust)) }),
            (DType::U32, Precision::F32, { type T = u32; loop_over!(T => u32, $arguments, u32::from($rust)) }),
            (DType::I32, Precision::F32, { type T = i32; loop_over!(T => u32, $arguments, u32::from($rust)) }),
        ]
    };
}

/// Rows of the table, each with the method of [`Value`] that applies it; its first argument is `self`.
macro_rules! rows {
    ($($(#[doc = $doc:literal])+ $kind:ident $constant:ident $name:ident ($first:ident $(, $rest:ident)*) $flops:literal
        = $wgsl:literal => $rust:expr => |$y:ident, $dy:ident| [$($gradient:expr),*]
        $(within |$on:ident| $accuracy:expr)?;)*) => {
        $(static $constant: Row = Row {
            name: stringify!($name),
            arguments: &[stringify!($first) $(, stringify!($rest))*],
            signature: Signature::$kind,
            flops: $flops,
            wgsl: $wgsl,
            functions: functions!($kind, ($first $(, $rest)*), $rust),
            gradient: gradient!(|$first $(, $rest)*; $y, $dy| $($gradient),*),
            accuracy: within!($kind, ($first $(, $rest)*) $(, $on, $accuracy)?),
        };)*
        /// Every row of the table that is written as one.
        static TABLE: &[&Row] = &[$(&$constant),*];
        impl Value {
            $($(#[doc = $doc])+
            // `add` is the trait's too: see operands.rs.
            #[allow(clippy::should_implement_trait)]
            #[track_caller]
            pub fn $name(self $(, $rest: impl IntoValue)*) -> Value {
                $constant.broadcast(&[self $(, $rest.into_value(self))*])
            })*
        }
    };
}

rows! {
    // Arithmetic.
    /// The sum, element by element; also `+`. `torch.add`.
    Number ADD add(a, b) 1 = "{a} + {b}" => Number::plus(a, b) => |y, dy| [Some(dy), Some(dy)];
    /// The difference, element by element; also `-`. `torch.sub`.
    Number SUBTRACT subtract(a, b) 1 = "{a} - {b}" => Number::minus(a, b) => |y, dy| [Some(dy), Some(-dy)];
    /// The product, element by element; also `*`. `torch.mul`.
    Number MULTIPLY multiply(a, b) 1 = "{a} * {b}" => Number::times(a, b) => |y, dy| [Some(dy * b), Some(dy * a)];
    /// The quotient, element by element; also `/`. `torch.div`.
    Real DIVIDE divide(a, b) 1 = "{a} / {b}" => a / b => |y, dy| [Some(dy / b), Some(-(dy * y / b))]
        within |on| accuracy::divide(on, b);
    /// The negative of each element; also `-`. `torch.neg`.
    Real NEGATE negate(a) 1 = "-{a}" => -a => |y, dy| [Some(-dy)] within |_on| Accuracy::EXACT;
    // At a tie each argument gets half, as in PyTorch. NaN is kept.
    /// The smaller of two, element by element; NaN if either is. `torch.minimum`.
    Number MINIMUM minimum(a, b) 1 = "minimum_{type}({a}, {b})" => Number::lesser(a, b)
        => |y, dy| [Some(dy * share(a, b, y)), Some(dy * share(b, a, y))] within |_on| Accuracy::EXACT;
    /// The larger of two, element by element; NaN if either is. `torch.maximum`.
    Number MAXIMUM maximum(a, b) 1 = "maximum_{type}({a}, {b})" => Number::larger(a, b)
        => |y, dy| [Some(dy * share(a, b, y)), Some(dy * share(b, a, y))] within |_on| Accuracy::EXACT;
    /// Limits elements to `low..=high`; the gradient is 0 outside and at the limits. `torch.clamp`.
    Real CLAMP clamp(a, low, high) 2 = "minimum_f32(maximum_f32({a}, {low}), {high})"
        => Number::lesser(Number::larger(a, low), high)
        => |y, dy| [Some(a.greater(low).select(a.less(high).select(dy, dy.zeros_like()), dy.zeros_like())), None, None]
        within |_on| Accuracy::EXACT;
    /// |x|; the gradient at 0 is 0. `torch.abs`.
    Real ABS abs(a) 1 = "abs({a})" => a.abs() => |y, dy| [Some(dy * a.sign())] within |_on| Accuracy::EXACT;
    /// −1, 0 or 1; no gradient. `torch.sign`.
    Real SIGN sign(a) 1 = "select(sign({a}), {a}, is_nan({a}))"
        => if a.is_nan() || a == 0.0 { a } else { a.signum() } => |y, dy| [None] within |_on| Accuracy::EXACT;
    /// The largest whole number not above; no gradient. `torch.floor`.
    Real FLOOR floor(a) 1 = "floor({a})" => a.floor() => |y, dy| [None] within |_on| Accuracy::EXACT;
    // Powers and transcendental functions.
    /// eˣ. `torch.exp`.
    Real EXP exp(a) 4 = "exp({a})" => Real::exp(a) => |y, dy| [Some(dy * y)]
        within |on| Accuracy::relative(accuracy::exp(on, a));
    /// The natural logarithm. `torch.log`.
    Real LOG log(a) 4 = "log({a})" => a.ln() => |y, dy| [Some(dy / a)] within |on| accuracy::log(on, a);
    /// The square root. `torch.sqrt`.
    Real SQRT sqrt(a) 1 = "sqrt({a})" => a.sqrt() => |y, dy| [Some(dy / (y * 2.0))]
        within |on| Accuracy::relative(accuracy::sqrt(on));
    /// 1/√x. `torch.rsqrt`.
    Real RSQRT rsqrt(a) 2 = "(1.0 / sqrt({a}))" => 1.0 / a.sqrt() => |y, dy| [Some(dy * y * y * y * -0.5)]
        within |on| Accuracy::relative(accuracy::sqrt(on) + accuracy::quotient(on));
    /// x to the power of `exponent`. `torch.pow`.
    Real POW pow(a, exponent) 8 = "power({a}, {exponent})" => a.powf(exponent) => |y, dy| [
        // x⁰ is 1 everywhere, at 0 too, where 0·0⁻¹ would be no number.
        Some(exponent.equal(exponent.zeros_like()).select(dy.zeros_like(), dy * exponent * a.pow(exponent - 1.0))),
        Some(dy * a.equal(a.zeros_like()).select(a.zeros_like(), y * a.log()))
    ] within |on| Accuracy::relative(accuracy::pow(on, a, exponent));
    /// The sine of radians. `torch.sin`.
    Real SIN sin(a) 4 = "sin({a})" => a.sin() => |y, dy| [Some(dy * a.cos())] within |on| accuracy::sine(on, a);
    /// The cosine of radians. `torch.cos`.
    Real COS cos(a) 4 = "cos({a})" => a.cos() => |y, dy| [Some(-(dy * a.sin()))] within |on| accuracy::sine(on, a);
    /// The error function. `torch.erf`.
    Real ERF erf(a) 12 = "error_function({a})" => Real::erf(a)
        => |y, dy| [Some(dy * (-(a * a)).exp() * std::f32::consts::FRAC_2_SQRT_PI)] within |on| accuracy::erf(on, a);
    /// The hyperbolic tangent. `torch.tanh`.
    Real TANH tanh(a) 6 = "hyperbolic_tangent({a})" => Real::tanh(a) => |y, dy| [Some(dy * (-(y * y) + 1.0))]
        within |on| accuracy::tanh(on);
    // Activations.
    /// 1/(1+e⁻ˣ). `torch.sigmoid`.
    Real SIGMOID sigmoid(a) 6 = "(1.0 / (1.0 + exp(-{a})))" => 1.0 / (1.0 + Real::exp(-a))
        => |y, dy| [Some(dy * y * (-y + 1.0))] within |on| accuracy::sigmoid(on, a);
    // `select` and not `max`, which may swallow NaN.
    /// 0 for negative elements; NaN stays NaN. `torch.relu`.
    Real RELU relu(a) 1 = "select({a}, 0.0, {a} < 0.0)" => if a < 0.0 { 0.0 } else { a }
        => |y, dy| [Some(y.greater(y.zeros_like()).select(dy, dy.zeros_like()))] within |_on| Accuracy::EXACT;
    /// `slope`·x for negative elements. `torch.nn.functional.leaky_relu`; no gradient for `slope`.
    Real LEAKY_RELU leaky_relu(a, slope) 2 = "select({a}, {a} * {slope}, {a} < 0.0)"
        => if a < 0.0 { a * slope } else { a }
        => |y, dy| [Some(a.greater(a.zeros_like()).select(dy, dy * slope)), None];
    /// `alpha`·(eˣ−1) for negative elements. `torch.nn.functional.elu`; no gradient for `alpha`.
    Real ELU elu(a, alpha) 6 = "select({a}, {alpha} * exp_minus_one({a}), {a} < 0.0)"
        => if a < 0.0 { alpha * a.exp_m1() } else { a }
        => |y, dy| [Some(a.less_equal(a.zeros_like()).select(dy * (y + alpha), dy)), None]
        within |on| accuracy::elu(on, a);
    /// x·Φ(x), by the error function. `torch.nn.functional.gelu`.
    Real GELU gelu(a) 16 = "gelu_exact({a})" => 0.5 * a * (1.0 + Real::erf(a * std::f64::consts::FRAC_1_SQRT_2 as T))
        => |y, dy| [Some(dy * a.gelu_slope())] within |on| accuracy::gelu(on, a);
    /// x·Φ(x) by the tanh approximation. `torch.nn.functional.gelu(approximate="tanh")`.
    Real GELU_TANH gelu_tanh(a) 14 = "gelu_by_tanh({a})"
        => 0.5 * a * (1.0 + Real::tanh((2.0 / std::f64::consts::PI).sqrt() as T * (a + 0.044715 * a * a * a)))
        => |y, dy| [Some(dy * a.gelu_tanh_slope())] within |on| accuracy::gelu_tanh(on, a);
    /// x·sigmoid(x). `torch.nn.functional.silu`.
    Real SILU silu(a) 7 = "({a} / (1.0 + exp(-{a})))" => a / (1.0 + Real::exp(-a))
        => |y, dy| [Some(dy * a.silu_slope())] within |on| accuracy::silu(on, a);
    /// log(1+eˣ) without overflow. `torch.nn.functional.softplus`.
    Real SOFTPLUS softplus(a) 10 = "softplus_stable({a})" => if a > 0.0 { a + (-a).exp().ln_1p() } else { a.exp().ln_1p() }
        => |y, dy| [Some(dy * a.sigmoid())] within |on| accuracy::softplus(on, a);
    // Slopes of activations, one row each, because a step that is bound by memory passes over them as over one product.
    // Arguments are limited to where the slope still changes, so that infinity times nothing does not come up.
    /// The slope of [`Value::gelu`] at x: Φ(x) + x·φ(x). `aten::gelu_backward(1, x)`.
    Real GELU_SLOPE gelu_slope(a) 24 = "slope_of_gelu({a})" => {
        let x = Number::lesser(Number::larger(a, -40.0), 40.0);
        0.5 * (1.0 + Real::erf(x * std::f64::consts::FRAC_1_SQRT_2 as T)) + x * (Real::exp(-0.5 * x * x) * DENSITY as T)
    } => |y, dy| [Some(dy * gelu_curvature(a))] within |on| accuracy::gelu_slope(on, a);
    /// The slope of [`Value::gelu_tanh`] at x: with s = ½(1 + tanh u), s + x·2u′·s·(1 − s).
    /// `aten::gelu_backward(1, x, "tanh")`.
    Real GELU_TANH_SLOPE gelu_tanh_slope(a) 24 = "slope_of_tanh_gelu({a})" => {
        let x = Number::lesser(Number::larger(a, -30.0), 30.0);
        let twice = TWICE_SCALE as T * (x + CUBIC as T * x * x * x);
        let e = Real::exp(-twice.abs());
        let large = 1.0 / (1.0 + e);
        let small = e * large;
        let sigmoid = if twice < 0.0 { small } else { large };
        sigmoid + x * (TWICE_SCALE as T * (1.0 + 3.0 * CUBIC as T * x * x)) * (small * large)
    } => |y, dy| [Some(dy * gelu_tanh_curvature(a))] within |on| accuracy::gelu_tanh_slope(on, a);
    /// The slope of [`Value::silu`] at x: s + x·s·(1 − s) with s = sigmoid(x). `aten::silu_backward(1, x)`.
    Real SILU_SLOPE silu_slope(a) 16 = "slope_of_silu({a})" => {
        let x = Number::lesser(Number::larger(a, -1000.0), 1000.0);
        let e = Real::exp(-x.abs());
        let large = 1.0 / (1.0 + e);
        let small = e * large;
        let sigmoid = if x < 0.0 { small } else { large };
        sigmoid + x * (small * large)
    } => |y, dy| [Some(dy * silu_curvature(a))] within |on| accuracy::silu_slope(on, a);
    // What optimisers do to every parameter, one row each for the same reason.
    /// self·factor + other·weight: a moving average where factor + weight = 1. `torch.lerp`.
    Real WEIGHTED_SUM weighted_sum(a, factor, b, weight) 3 = "({a} * {factor} + {b} * {weight})" => a * factor + b * weight
        => |y, dy| [Some(dy * factor), Some(dy * a), Some(dy * weight), Some(dy * b)]
        within |on| accuracy::weighted_sum(on, a * factor, b * weight);
    /// What Adam makes of a parameter: self·shrink − mean / (√square·correction + eps)·rate; no gradient.
    /// `torch.optim.AdamW`, with rate lr / (1 − β₁ᵗ), correction 1 / √(1 − β₂ᵗ) and shrink 1 − lr·weight_decay.
    Real ADAM_STEP adam_step(a, shrink, mean, rate, square, correction, eps) 7
        = "({a} * {shrink} - {mean} / (sqrt({square}) * {correction} + {eps}) * {rate})"
        => a * shrink - mean / (square.sqrt() * correction + eps) * rate
        => |y, dy| [None, None, None, None, None, None, None]
        within |on| accuracy::adam_step(on, a * shrink, mean * rate, square.sqrt() * correction, correction, eps);
    // A copy in row-major order; what the passes insert where a kernel cannot read a view.
    /// A copy in row-major order; the passes drop it where it changes nothing. `torch.Tensor.contiguous`.
    Number CONTIGUOUS contiguous(a) 0 = "{a}" => a => |y, dy| [Some(dy)] within |_on| Accuracy::EXACT;
    // Comparisons; NaN compares as IEEE 754 has it.
    /// A `u32` mask: 1 where self < other. `torch.lt`.
    Compare LESS less(a, b) 1 = "u32({a} < {b})" => a < b => |y, dy| [None, None];
    /// A `u32` mask: 1 where self ≤ other. `torch.le`.
    Compare LESS_EQUAL less_equal(a, b) 1 = "u32({a} <= {b})" => a <= b => |y, dy| [None, None];
    /// A `u32` mask: 1 where self > other. `torch.gt`.
    Compare GREATER greater(a, b) 1 = "u32({a} > {b})" => a > b => |y, dy| [None, None];
    /// A `u32` mask: 1 where self ≥ other. `torch.ge`.
    Compare GREATER_EQUAL greater_equal(a, b) 1 = "u32({a} >= {b})" => a >= b => |y, dy| [None, None];
    /// A `u32` mask: 1 where equal. `torch.eq`.
    Compare EQUAL equal(a, b) 1 = "u32({a} == {b})" => a == b => |y, dy| [None, None];
    /// A `u32` mask: 1 where not equal; so is NaN and anything. `torch.ne`.
    Compare NOT_EQUAL not_equal(a, b) 1 = "u32(!({a} == {b}))" => a != b => |y, dy| [None, None];
}

/// Rows whose arguments differ in type, written out.
// Of a plain `if` between two elements the compiler makes one between their addresses, and loads them one by one.
static SELECT: Row = Row {
    name: "select",
    arguments: &["mask", "a", "b"],
    signature: Signature::Select,
    flops: 1,
    wgsl: "select({b}, {a}, {mask} != 0u)",
    functions: &[
        (
            DType::F32,
            Precision::F32,
            loop_over!(u32, f32, f32 => f32, (mask, a, b), select_unpredictable(mask != 0, a, b)),
        ),
        (
            DType::F32,
            Precision::F64,
            loop_over!(u32, f64, f64 => f64, (mask, a, b), select_unpredictable(mask != 0, a, b)),
        ),
        (
            DType::U32,
            Precision::F32,
            loop_over!(u32, u32, u32 => u32, (mask, a, b), select_unpredictable(mask != 0, a, b)),
        ),
        (
            DType::I32,
            Precision::F32,
            loop_over!(u32, i32, i32 => i32, (mask, a, b), select_unpredictable(mask != 0, a, b)),
        ),
    ],
    gradient: gradient!(|mask, a, b; y, dy| None, Some(mask.select(dy, dy.zeros_like())), Some(mask.select(dy.zeros_like(), dy))),
    accuracy: |_, _| Accuracy::EXACT,
};

macro_rules! cast {
    ($constant:ident, $name:literal, $dtype:ident, $rust:ident, $wgsl:literal, $f64:ty, $gradient:expr) => {
        static $constant: Row = Row {
            name: $name,
            arguments: &["a"],
            signature: Signature::Cast(DType::$dtype),
            flops: 1,
            wgsl: $wgsl,
            functions: &[
        (DType::F32, Precision::F32, loop_over!(f32 => $rust, (a), a as $rust)),
        (DType::F32, Precision::F64, loop_over!(f64 => $f64, (a), a as $f64)),
        (DType::U32, Precision::F32, loop_over!(u32 => $rust, (a), a as $rust)),
        (DType::U32, Precision::F64, loop_over!(u32 => $f64, (a), a as $f64)),
        (DType::I32, Precision::F32, loop_over!(i32 => $rust, (a), a as $rust)),
        (DType::I32, Precision::F64, loop_over!(i32 => $f64, (a), a as $f64)),
            ],
            gradient: $gradient,
            // Whole numbers beyond 2²⁴ are rounded as f32; what f32 holds already is exact.
            accuracy: |on, a| match a[0] == f64::from(a[0] as f32) || DType::$dtype != DType::F32 {
                true => Accuracy::EXACT,
                false => Accuracy::rounded(on),
            },
        };
    };
}
// Rust's casts saturate and turn NaN into 0; WGSL's truncate after clamping to the range, with the same result for numbers.
cast!(TO_F32, "to_f32", F32, f32, "f32({a})", f64, |arguments, _, dy| vec![
    arguments[0].dtype().is_float().then_some(dy)
]);
cast!(TO_U32, "to_u32", U32, u32, "u32({a})", u32, |_, _, _| vec![None]);
cast!(TO_I32, "to_i32", I32, i32, "i32({a})", i32, |_, _, _| vec![None]);

/// The counter-based generator: element number, seed, step and stream give 32 random bits.
static RANDOM_BITS: Row = Row {
    name: "random_bits",
    arguments: &["seed", "step", "stream"],
    signature: Signature::Random,
    flops: 40,
    wgsl: "philox_word({index}, {seed}, {step}, {stream})",
    functions: &[(DType::U32, Precision::F32, random_block)],
    gradient: |_, _, _| vec![None, None, None],
    accuracy: |_, _| Accuracy::EXACT,
};

/// Random bits → a number in [0, 1) from the upper 24 of them, exact.
static UNIT_INTERVAL: Row = Row {
    name: "unit_interval",
    arguments: &["bits"],
    signature: Signature::UnitInterval,
    flops: 2,
    wgsl: "unit_interval({bits})",
    functions: &[
        (DType::U32, Precision::F32, loop_over!(u32 => f32, (bits), cpu_reference::philox::unit_interval(bits))),
        (
            DType::U32,
            Precision::F64,
            loop_over!(u32 => f64, (bits), f64::from(cpu_reference::philox::unit_interval(bits))),
        ),
    ],
    gradient: |_, _, _| vec![None],
    accuracy: |_, _| Accuracy::EXACT,
};

fn random_block(inputs: &[&[u8]], output: &mut [u8], first_index: usize, _: &Ahead) {
    let first = |input: usize| bytemuck::cast_slice::<u8, u32>(inputs[input])[0];
    let output = bytemuck::cast_slice_mut(output);
    // Tensors of 2^32 elements are beyond every backend; their index wraps.
    cpu_reference::philox::fill_bits(first(0), first(1), first(2), first_index as u32, output);
}

/// The operator that copies into row-major order, for passes.
pub fn contiguous_op() -> Arc<dyn Op> {
    Arc::new(Elementwise(&CONTIGUOUS))
}

/// Every row, for the op list and the tests.
pub(super) fn rows() -> impl Iterator<Item = &'static Row> {
    TABLE.iter().copied().chain([&SELECT, &TO_F32, &TO_U32, &TO_I32, &RANDOM_BITS, &UNIT_INTERVAL])
}

/// Which part of dy an argument of minimum or maximum gets: 1 where it won, ½ at a tie.
fn share(mine: Value, other: Value, y: Value) -> Value {
    let (one, half) = (y.full_like(1.0), y.full_like(0.5));
    mine.equal(other).select(half, mine.equal(y).select(one, y.zeros_like()))
}

/// 1/√(2π), the height of φ.
const DENSITY: f64 = 0.5 * std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2;
/// Of gelu's approximation by tanh u with u = √(2/π)·(x + 0.044715 x³): the factor of the cube.
pub(super) const CUBIC: f64 = 0.044_715;
/// 2·√(2/π).
pub(super) const TWICE_SCALE: f64 = std::f64::consts::SQRT_2 * std::f64::consts::FRAC_2_SQRT_PI;

/// The second derivative of gelu: φ(a)·(2 − a²).
fn gelu_curvature(a: Value) -> Value {
    let square = a * a;
    (square * -0.5).exp() * (DENSITY as f32) * (-square + 2.0)
}

/// With s = sigmoid(2u), o = 1 − s and f = 2u′: s·o·(2f + a·f′ − a·(s − o)·f²).
fn gelu_tanh_curvature(a: Value) -> Value {
    let square = a * a;
    let twice = a * (square * (CUBIC as f32) + 1.0) * (TWICE_SCALE as f32);
    let (s, o) = (twice.sigmoid(), (-twice).sigmoid());
    let first = square * ((3.0 * CUBIC * TWICE_SCALE) as f32) + TWICE_SCALE as f32;
    let second = a * ((6.0 * CUBIC * TWICE_SCALE) as f32);
    s * o * (first * 2.0 + a * second - a * (s - o) * first * first)
}

/// With s = sigmoid(a): s·(1 − s)·(2 + a·(1 − 2s)).
fn silu_curvature(a: Value) -> Value {
    let sigmoid = a.sigmoid();
    sigmoid * (-sigmoid + 1.0) * (a * (sigmoid * -2.0 + 1.0) + 2.0)
}

impl Value {
    /// Where this `u32` mask is not 0 the element of `chosen`, else that of `otherwise`. `torch.where`.
    #[track_caller]
    pub fn select(self, chosen: impl IntoValue, otherwise: impl IntoValue) -> Value {
        SELECT.broadcast(&[self, chosen.into_value(self), otherwise.into_value(self)])
    }

    /// As `f32`; the gradient passes for `f32` input.
    #[track_caller]
    pub fn to_f32(self) -> Value {
        TO_F32.on(&[self])
    }

    /// As `u32`, towards zero; negative numbers become 0.
    #[track_caller]
    pub fn to_u32(self) -> Value {
        TO_U32.on(&[self])
    }

    /// As `i32`, towards zero.
    #[track_caller]
    pub fn to_i32(self) -> Value {
        TO_I32.on(&[self])
    }
}

impl Value {
    /// Numbers in [0, 1) from random bits.
    #[track_caller]
    pub(super) fn unit_interval(self) -> Value {
        UNIT_INTERVAL.on(&[self])
    }

    /// 32 random bits an element, from Philox 4×32-10 with this value (a `u32` scalar) as the seed.
    #[track_caller]
    pub(super) fn random_bits(self, step: Value, stream: Value, shape: impl Into<crate::tensor::Shape>) -> Value {
        let shape = shape.into();
        RANDOM_BITS.on(&[self, step, stream].map(|scalar| scalar.broadcast_to(shape.clone())))
    }
}
