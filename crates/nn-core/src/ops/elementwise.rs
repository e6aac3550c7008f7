//! The elementwise table: one row is one operator, with its WGSL, its Rust and its gradient.
//!
//! A row reads: `/// documentation`, then `Signature CONSTANT name(arguments) flops = "WGSL" => Rust => gradient;`, and
//! gives the method `Value::name` too. In the Rust expression `T` is
//! the element type (`f32`, `f64` and, among numbers, `u32` and `i32`), so both number formats of the
//! CPU backend come from one line. In the gradient, `dy` is the gradient of the result `y`; each entry is
//! the gradient of one argument, `None` where none flows.

use super::IntoValue;
use super::elementwise_support::{Number, Real, helpers, loop_over};
use crate::graph::{Backward, ElementwiseOp, Op, OpKind, Precision, Value, apply};
use crate::tensor::{DType, TensorType};
use cpu_reference::elementwise::BlockFunction;
use std::sync::Arc;

/// Which element types a row takes and gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signature {
    /// `f32 → f32`, all arguments alike.
    Real,
    /// `f32`, `u32` or `i32`, all arguments and the result alike.
    Number,
    /// Two numbers alike → a `u32` mask of 0 and 1.
    Compare,
    /// A `u32` mask and two numbers alike → the like.
    Select,
    /// Any type → the given one.
    Cast(DType),
    /// `u32` bits → `f32`.
    UnitInterval,
    /// Three `u32`, the same for all elements, and the element's number → `u32`.
    Random,
}

type Gradient = fn(arguments: &[Value], y: Value, dy: Value) -> Vec<Option<Value>>;

/// One operator of the table.
#[derive(Debug)]
pub(super) struct Row {
    name: &'static str,
    arguments: &'static [&'static str],
    signature: Signature,
    flops: u64,
    wgsl: &'static str,
    functions: &'static [(DType, Precision, BlockFunction)],
    gradient: Gradient,
}

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
        = $wgsl:literal => $rust:expr => |$y:ident, $dy:ident| [$($gradient:expr),*];)*) => {
        $(static $constant: Row = Row {
            name: stringify!($name),
            arguments: &[stringify!($first) $(, stringify!($rest))*],
            signature: Signature::$kind,
            flops: $flops,
            wgsl: $wgsl,
            functions: functions!($kind, ($first $(, $rest)*), $rust),
            gradient: gradient!(|$first $(, $rest)*; $y, $dy| $($gradient),*),
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
    Real DIVIDE divide(a, b) 1 = "{a} / {b}" => a / b => |y, dy| [Some(dy / b), Some(-(dy * y / b))];
    /// The negative of each element; also `-`. `torch.neg`.
    Real NEGATE negate(a) 1 = "-{a}" => -a => |y, dy| [Some(-dy)];
    // At a tie each argument gets half, as in PyTorch. NaN is kept.
    /// The smaller of two, element by element; NaN if either is. `torch.minimum`.
    Number MINIMUM minimum(a, b) 1 = "minimum_{type}({a}, {b})" => Number::lesser(a, b)
        => |y, dy| [Some(dy * share(a, b, y)), Some(dy * share(b, a, y))];
    /// The larger of two, element by element; NaN if either is. `torch.maximum`.
    Number MAXIMUM maximum(a, b) 1 = "maximum_{type}({a}, {b})" => Number::larger(a, b)
        => |y, dy| [Some(dy * share(a, b, y)), Some(dy * share(b, a, y))];
    /// Limits elements to `low..=high`; the gradient is 0 outside and at the limits. `torch.clamp`.
    Real CLAMP clamp(a, low, high) 2 = "minimum_f32(maximum_f32({a}, {low}), {high})"
        => Number::lesser(Number::larger(a, low), high)
        => |y, dy| [Some(a.greater(low).select(a.less(high).select(dy, dy.zeros_like()), dy.zeros_like())), None, None];
    /// |x|; the gradient at 0 is 0. `torch.abs`.
    Real ABS abs(a) 1 = "abs({a})" => a.abs() => |y, dy| [Some(dy * a.sign())];
    /// −1, 0 or 1; no gradient. `torch.sign`.
    Real SIGN sign(a) 1 = "select(sign({a}), {a}, is_nan({a}))"
        => if a.is_nan() || a == 0.0 { a } else { a.signum() } => |y, dy| [None];
    /// The largest whole number not above; no gradient. `torch.floor`.
    Real FLOOR floor(a) 1 = "floor({a})" => a.floor() => |y, dy| [None];
    // Powers and transcendental functions.
    /// eˣ. `torch.exp`.
    Real EXP exp(a) 4 = "exp({a})" => Real::exp(a) => |y, dy| [Some(dy * y)];
    /// The natural logarithm. `torch.log`.
    Real LOG log(a) 4 = "log({a})" => a.ln() => |y, dy| [Some(dy / a)];
    /// The square root. `torch.sqrt`.
    Real SQRT sqrt(a) 1 = "sqrt({a})" => a.sqrt() => |y, dy| [Some(dy / (y * 2.0))];
    /// 1/√x. `torch.rsqrt`.
    Real RSQRT rsqrt(a) 2 = "(1.0 / sqrt({a}))" => 1.0 / a.sqrt() => |y, dy| [Some(dy * y * y * y * -0.5)];
    /// x to the power of `exponent`. `torch.pow`.
    Real POW pow(a, exponent) 8 = "power({a}, {exponent})" => a.powf(exponent) => |y, dy| [
        // x⁰ is 1 everywhere, at 0 too, where 0·0⁻¹ would be no number.
        Some(exponent.equal(exponent.zeros_like()).select(dy.zeros_like(), dy * exponent * a.pow(exponent - 1.0))),
        Some(dy * a.equal(a.zeros_like()).select(a.zeros_like(), y * a.log()))
    ];
    /// The sine of radians. `torch.sin`.
    Real SIN sin(a) 4 = "sin({a})" => a.sin() => |y, dy| [Some(dy * a.cos())];
    /// The cosine of radians. `torch.cos`.
    Real COS cos(a) 4 = "cos({a})" => a.cos() => |y, dy| [Some(-(dy * a.sin()))];
    /// The error function. `torch.erf`.
    Real ERF erf(a) 12 = "error_function({a})" => Real::erf(a)
        => |y, dy| [Some(dy * (-(a * a)).exp() * std::f32::consts::FRAC_2_SQRT_PI)];
    /// The hyperbolic tangent. `torch.tanh`.
    Real TANH tanh(a) 6 = "hyperbolic_tangent({a})" => Real::tanh(a) => |y, dy| [Some(dy * (-(y * y) + 1.0))];
    // Activations.
    /// 1/(1+e⁻ˣ). `torch.sigmoid`.
    Real SIGMOID sigmoid(a) 6 = "(1.0 / (1.0 + exp(-{a})))" => 1.0 / (1.0 + Real::exp(-a))
        => |y, dy| [Some(dy * y * (-y + 1.0))];
    // `select` and not `max`, which may swallow NaN.
    /// 0 for negative elements; NaN stays NaN. `torch.relu`.
    Real RELU relu(a) 1 = "select({a}, 0.0, {a} < 0.0)" => if a < 0.0 { 0.0 } else { a }
        => |y, dy| [Some(y.greater(y.zeros_like()).select(dy, dy.zeros_like()))];
    /// `slope`·x for negative elements. `torch.nn.functional.leaky_relu`; no gradient for `slope`.
    Real LEAKY_RELU leaky_relu(a, slope) 2 = "select({a}, {a} * {slope}, {a} < 0.0)"
        => if a < 0.0 { a * slope } else { a }
        => |y, dy| [Some(a.greater(a.zeros_like()).select(dy, dy * slope)), None];
    /// `alpha`·(eˣ−1) for negative elements. `torch.nn.functional.elu`; no gradient for `alpha`.
    Real ELU elu(a, alpha) 6 = "select({a}, {alpha} * exp_minus_one({a}), {a} < 0.0)"
        => if a < 0.0 { alpha * a.exp_m1() } else { a }
        => |y, dy| [Some(a.less_equal(a.zeros_like()).select(dy * (y + alpha), dy)), None];
    /// x·Φ(x), by the error function. `torch.nn.functional.gelu`.
    Real GELU gelu(a) 16 = "gelu_exact({a})" => 0.5 * a * (1.0 + Real::erf(a * std::f64::consts::FRAC_1_SQRT_2 as T))
        => |y, dy| [Some(dy * gelu_slope(a))];
    /// x·Φ(x) by the tanh approximation. `torch.nn.functional.gelu(approximate="tanh")`.
    Real GELU_TANH gelu_tanh(a) 14 = "gelu_by_tanh({a})"
        => 0.5 * a * (1.0 + Real::tanh((2.0 / std::f64::consts::PI).sqrt() as T * (a + 0.044715 * a * a * a)))
        => |y, dy| [Some(dy * gelu_tanh_slope(a))];
    /// x·sigmoid(x). `torch.nn.functional.silu`.
    Real SILU silu(a) 7 = "({a} / (1.0 + exp(-{a})))" => a / (1.0 + Real::exp(-a))
        => |y, dy| [Some(dy * silu_slope(a))];
    /// log(1+eˣ) without overflow. `torch.nn.functional.softplus`.
    Real SOFTPLUS softplus(a) 10 = "softplus_stable({a})" => if a > 0.0 { a + (-a).exp().ln_1p() } else { a.exp().ln_1p() }
        => |y, dy| [Some(dy * a.sigmoid())];
    // A copy in row-major order; what the passes insert where a kernel cannot read a view.
    /// A copy in row-major order; the passes drop it where it changes nothing. `torch.Tensor.contiguous`.
    Number CONTIGUOUS contiguous(a) 0 = "{a}" => a => |y, dy| [Some(dy)];
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
static SELECT: Row = Row {
    name: "select",
    arguments: &["mask", "a", "b"],
    signature: Signature::Select,
    flops: 1,
    wgsl: "select({b}, {a}, {mask} != 0u)",
    functions: &[
        (DType::F32, Precision::F32, loop_over!(u32, f32, f32 => f32, (mask, a, b), if mask != 0 { a } else { b })),
        (DType::F32, Precision::F64, loop_over!(u32, f64, f64 => f64, (mask, a, b), if mask != 0 { a } else { b })),
        (DType::U32, Precision::F32, loop_over!(u32, u32, u32 => u32, (mask, a, b), if mask != 0 { a } else { b })),
        (DType::I32, Precision::F32, loop_over!(u32, i32, i32 => i32, (mask, a, b), if mask != 0 { a } else { b })),
    ],
    gradient: gradient!(|mask, a, b; y, dy| None, Some(mask.select(dy, dy.zeros_like())), Some(mask.select(dy.zeros_like(), dy))),
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
};

fn random_block(inputs: &[&[u8]], output: &mut [u8], first_index: usize) {
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

/// A row in use as an operator.
#[derive(Debug)]
struct Elementwise(&'static Row);

impl Op for Elementwise {
    fn name(&self) -> &'static str {
        self.0.name
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
        let row = self.0;
        if inputs.iter().any(|input| input.shape != inputs[0].shape) {
            let shapes: Vec<String> = inputs.iter().map(|input| input.shape.to_string()).collect();
            return Err(format!("shapes {} differ", shapes.join(", ")));
        }
        let alike = |inputs: &[TensorType]| inputs.iter().all(|input| input.dtype == inputs[0].dtype);
        let real = |input: &TensorType| input.dtype == DType::F32;
        let number = |input: &TensorType| input.dtype != DType::F16;
        let (fits, dtype) = match row.signature {
            Signature::Real => (inputs.iter().all(real), DType::F32),
            Signature::Number => (alike(inputs) && number(&inputs[0]), inputs[0].dtype),
            Signature::Compare => (alike(inputs) && number(&inputs[0]), DType::U32),
            Signature::Select => {
                (inputs[0].dtype == DType::U32 && alike(&inputs[1..]) && number(&inputs[1]), inputs[1].dtype)
            }
            Signature::Cast(dtype) => (number(&inputs[0]), dtype),
            Signature::UnitInterval => (inputs[0].dtype == DType::U32, DType::F32),
            Signature::Random => (inputs.iter().all(|input| input.dtype == DType::U32), DType::U32),
        };
        if !fits {
            let kinds: Vec<String> = inputs.iter().map(ToString::to_string).collect();
            return Err(format!("element types of {} don't fit; cast them first", kinds.join(", ")));
        }
        Ok(vec![TensorType::new(dtype, inputs[0].shape.clone())])
    }

    fn gradient(&self, backward: &Backward<'_>) -> Vec<Option<Value>> {
        (self.0.gradient)(backward.inputs, backward.outputs[0], backward.dy())
    }

    fn kind(&self) -> OpKind<'_> {
        OpKind::Elementwise(self)
    }
}

impl ElementwiseOp for Elementwise {
    fn wgsl(&self, arguments: &[String], index: &str, output: DType) -> String {
        let mut text = self.0.wgsl.replace("{index}", index).replace("{type}", output.name());
        for (name, argument) in self.0.arguments.iter().zip(arguments) {
            text = text.replace(&format!("{{{name}}}"), argument);
        }
        text
    }

    fn wgsl_helpers(&self) -> &'static [&'static str] {
        helpers(self.0.wgsl)
    }

    fn block_function(&self, precision: Precision, inputs: &[DType]) -> Option<BlockFunction> {
        let decisive = if self.0.signature == Signature::Select { inputs[1] } else { inputs[0] };
        let find = |precision| {
            let mut functions = self.0.functions.iter();
            functions.find(|(dtype, known, _)| (*dtype, *known) == (decisive, precision)).map(|entry| entry.2)
        };
        // Integers are computed alike in both precisions, so they are listed once.
        find(precision).or_else(|| if decisive == DType::F32 { None } else { find(Precision::F32) })
    }

    fn flops(&self) -> u64 {
        self.0.flops
    }

    fn depends_on_index(&self) -> bool {
        self.0.signature == Signature::Random
    }

    fn same_as(&self, known: &[Option<f32>]) -> Option<usize> {
        match self.0.name {
            "contiguous" => Some(0),
            "multiply" | "divide" if known[1] == Some(1.0) => Some(0),
            "multiply" if known[0] == Some(1.0) => Some(1),
            _ => None,
        }
    }
}

impl Row {
    /// The operator's name.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    #[track_caller]
    fn on(&'static self, arguments: &[Value]) -> Value {
        apply(Elementwise(self), arguments)[0]
    }

    /// Applies the row to arguments broadcast against each other.
    #[track_caller]
    fn broadcast(&'static self, arguments: &[Value]) -> Value {
        let shapes: Vec<_> = arguments.iter().map(|argument| argument.shape()).collect();
        let common = shapes[1..].iter().try_fold(shapes[0].clone(), |common, shape| common.broadcast(shape));
        match common {
            Some(shape) => {
                let fitted: Vec<Value> =
                    arguments.iter().map(|argument| argument.broadcast_to(shape.clone())).collect();
                self.on(&fitted)
            }
            None => {
                let shapes: Vec<String> = shapes.iter().map(ToString::to_string).collect();
                let message = format!("shapes {} cannot be broadcast against each other", shapes.join(" and "));
                arguments[0].recorder().fail(self.name, message);
                arguments[0]
            }
        }
    }
}

/// Which part of dy an argument of minimum or maximum gets: 1 where it won, ½ at a tie.
fn share(mine: Value, other: Value, y: Value) -> Value {
    let (one, half) = (y.full_like(1.0), y.full_like(0.5));
    mine.equal(other).select(half, mine.equal(y).select(one, y.zeros_like()))
}

/// d gelu / da = Φ(a) + a·φ(a).
fn gelu_slope(a: Value) -> Value {
    let cumulative = (a * std::f32::consts::FRAC_1_SQRT_2).erf() * 0.5 + 0.5;
    let density = (a * a * -0.5).exp() * (0.5 * std::f32::consts::FRAC_2_SQRT_PI * std::f32::consts::FRAC_1_SQRT_2);
    cumulative + a * density
}

fn gelu_tanh_slope(a: Value) -> Value {
    let scale = (2.0 / std::f64::consts::PI).sqrt() as f32;
    let tanh = ((a + a * a * a * 0.044_715) * scale).tanh();
    let inner = (a * a * (3.0 * 0.044_715) + 1.0) * scale;
    (tanh + 1.0) * 0.5 + a * 0.5 * (-(tanh * tanh) + 1.0) * inner
}

fn silu_slope(a: Value) -> Value {
    let sigmoid = a.sigmoid();
    sigmoid * (a * (-sigmoid + 1.0) + 1.0)
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
