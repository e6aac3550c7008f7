//! The one rule of how far a result may lie from PyTorch's in double precision.
//!
//! |found − reference| ≤ unit · (relative · |reference| + (absolute + terms − 1) · magnitude) + smallest
//!
//! `unit` is the distance of 1 from the next number, twice the error of one rounding. `terms − 1` roundings of partial
//! sums, none above the sum of the terms' absolute values, are the classic bound for a sum in any order. `relative`
//! and `absolute` follow from each operator's formula, rounding by rounding, with the errors of the functions in it: on
//! the CPU those of the C library (one unit) and of `cpu-reference`'s exp (two) and tanh (four); on a GPU those that the
//! WGSL specification allows ("Accuracy of Concrete Floating Point Expressions"). Figures err upwards to whole numbers.

/// Who computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    /// The CPU in double precision; the reference's own errors are as large.
    Oracle,
    /// The CPU in single precision.
    Cpu,
    /// A GPU in single precision.
    Gpu,
}

impl Arithmetic {
    fn unit(self) -> f64 {
        if self == Arithmetic::Oracle { f64::EPSILON } else { f64::from(f32::EPSILON) }
    }

    /// What a result may lose near zero: the last bit of denormal numbers, or on a GPU all of them.
    fn smallest(self) -> f64 {
        match self {
            Arithmetic::Oracle => 0.0,
            Arithmetic::Cpu => f64::from(f32::from_bits(1)),
            Arithmetic::Gpu => f64::from(f32::MIN_POSITIVE),
        }
    }
}

/// Errors in units: of the result, and of the magnitude of its terms.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Accuracy {
    relative: f64,
    absolute: f64,
}

impl Accuracy {
    /// The larger of both errors.
    pub(crate) fn or(self, other: Accuracy) -> Accuracy {
        Accuracy { relative: self.relative.max(other.relative), absolute: self.absolute.max(other.absolute) }
    }

    /// How far the result may lie from `reference`.
    pub(crate) fn allows(self, arithmetic: Arithmetic, reference: f64, terms: f64, magnitude: f64) -> f64 {
        let both = if arithmetic == Arithmetic::Oracle { 2.0 } else { 1.0 };
        let (relative, absolute) = (both * self.relative, both * self.absolute);
        let units = relative * reference.abs() + (absolute + terms - 1.0) * magnitude;
        arithmetic.unit() * units + arithmetic.smallest()
    }
}

fn relative(relative: f64) -> Accuracy {
    Accuracy { relative, absolute: 0.0 }
}

fn absolute(absolute: f64) -> Accuracy {
    Accuracy { relative: 0.0, absolute }
}

/// WGSL: tanh may err by 1e-5.
const GPU_TANH: f64 = 84.0;
/// WGSL: sin, cos may err by 2⁻¹¹ within ±π.
const GPU_SINE: f64 = 4096.0;
/// WGSL: log may err by 2⁻²¹ within 0.5 to 2 and by three units elsewhere; exp by (3 + 2|x|) units, see below.
const GPU_LOG: Accuracy = Accuracy { relative: 3.0, absolute: 4.0 };
/// Abramowitz and Stegun 7.1.26 errs by 1.5e-7; its divisions, exponential and polynomial add to that.
const GPU_ERF: f64 = 12.0;

/// Of results. `operands` are those of one element, or the largest of each where elements mix.
pub(crate) fn forward(op: &str, arithmetic: Arithmetic, operands: &[f64]) -> Accuracy {
    let gpu = arithmetic == Arithmetic::Gpu;
    let x = operands.first().map_or(0.0, |x| x.abs());
    let pick = |cpu: f64, other: f64| if gpu { other } else { cpu };
    let exp = pick(2.0, 3.0 + 2.0 * x);
    match op {
        // Nothing is rounded: elements are moved, chosen or compared.
        "negate" | "minimum" | "maximum" | "clamp" | "abs" | "sign" | "floor" | "relu" | "contiguous" | "less"
        | "less_equal" | "greater" | "greater_equal" | "equal" | "not_equal" | "select" | "to_u32" | "to_i32"
        | "unit_interval" | "reshape" | "permute" | "broadcast" | "slice" | "concat" | "pad" | "max" | "min"
        | "argmax" | "argmin" | "gather_rows" => relative(0.0),
        // Rounded once.
        "add" | "subtract" | "multiply" | "leaky_relu" | "to_f32" => relative(0.5),
        "divide" => relative(pick(0.5, 2.5)),
        "exp" => relative(exp),
        "log" => {
            if gpu {
                GPU_LOG
            } else {
                relative(1.0)
            }
        }
        // WGSL: sqrt is 1 / inverseSqrt, of two units.
        "sqrt" => relative(pick(0.5, 4.5)),
        "rsqrt" => relative(pick(1.0, 7.0)),
        "pow" => relative(pick(1.0, gpu_pow(operands))),
        "sin" | "cos" => {
            if gpu {
                absolute(GPU_SINE)
            } else {
                relative(1.0)
            }
        }
        "erf" => {
            if gpu {
                absolute(GPU_ERF)
            } else {
                relative(1.0)
            }
        }
        "tanh" => {
            if gpu {
                absolute(GPU_TANH)
            } else {
                relative(4.0)
            }
        }
        "sigmoid" | "silu" => relative(exp + pick(1.5, 3.5)),
        // eˣ − 1 by subtraction loses most at −¼: 3.5 units of 0.78 in 0.22; its series leaves out x⁶/720.
        "elu" => relative(pick(2.0, 16.0)),
        "gelu" => Accuracy { relative: 2.0, absolute: pick(1.0, GPU_ERF / 2.0) },
        // The argument's three roundings weigh u·(1 − tanh²u) ≤ 0.45 each, beside tanh's own error; half of it counts.
        "gelu_tanh" => Accuracy { relative: 2.0, absolute: pick(4.0, GPU_TANH / 2.0 + 2.0) },
        "softplus" => Accuracy { relative: pick(4.0, 5.0 + 2.0 * x), absolute: pick(0.0, 5.0) },
        "sum" | "scatter_add_rows" => relative(0.0),
        // Products are rounded, then summed.
        "matmul" => absolute(0.5),
        "sum_of_squares" => relative(0.5),
        "mean" => relative(1.0),
        // The argument x − max is up to 2x and rounded; then the exponential and the division.
        "softmax" => relative(pick(3.0 + x, 6.0 + 5.0 * x)),
        "log_softmax" | "cross_entropy" => absolute(pick(5.0, 12.0 + 4.0 * x)),
        "cross_entropy_gradient" => absolute(pick(5.0 + x, 8.0 + 5.0 * x)),
        "loss/cross_entropy" => absolute(pick(6.0, 13.0 + 4.0 * x)),
        "loss/binary_cross_entropy" => Accuracy { relative: 1.0, absolute: pick(5.0, 11.0 + 2.0 * x) },
        "loss/mse" | "loss/mse_one_hot" | "loss/l1" | "loss/huber" => relative(4.0),
        other => panic!("{other} has no bound: add it by its formula"),
    }
}

/// WGSL: pow is exp2(b · log2 a).
fn gpu_pow(operands: &[f64]) -> f64 {
    let (base, exponent) = (operands[0].abs(), operands[1].abs());
    if base == 0.0 || exponent == 0.0 {
        return 0.0;
    }
    let logarithm = base.log2().abs();
    let error_of_logarithm = if (0.5..=2.0).contains(&base) { 4.0 } else { 3.0 * logarithm } + logarithm / 2.0;
    3.0 + 2.0 * exponent * logarithm + std::f64::consts::LN_2 * exponent * error_of_logarithm
}

/// Of gradients by any input, on top of dy.
pub(crate) fn gradient(op: &str, arithmetic: Arithmetic, operands: &[f64]) -> Accuracy {
    let gpu = arithmetic == Arithmetic::Gpu;
    let x = operands.first().map_or(0.0, |x| x.abs());
    let pick = |cpu: f64, other: f64| if gpu { other } else { cpu };
    let exp = pick(2.0, 3.0 + 2.0 * x);
    match op {
        // dy moved, chosen, halved or summed.
        "add" | "subtract" | "negate" | "minimum" | "maximum" | "clamp" | "abs" | "relu" | "contiguous" | "select"
        | "to_f32" | "reshape" | "permute" | "broadcast" | "slice" | "concat" | "pad" | "sum" | "gather_rows"
        | "scatter_add_rows" => relative(0.0),
        "matmul" => absolute(0.5),
        "multiply" | "leaky_relu" | "sum_of_squares" => relative(0.5),
        // −dy · y / b: two divisions and a product.
        "divide" => relative(pick(1.5, 5.5)),
        "exp" => relative(exp + 0.5),
        "log" => relative(pick(0.5, 2.5)),
        "sqrt" => relative(pick(1.0, 7.0)),
        "rsqrt" => relative(pick(5.0, 23.0)),
        // b · a^(b−1), whose exponent is rounded; and y · log a.
        "pow" => {
            let spread = operands[1].abs() * operands[0].abs().max(f64::MIN_POSITIVE).ln().abs();
            let lower = gpu_pow(&[operands[0], operands[1].abs() + 1.0]);
            let logarithm = if gpu { GPU_LOG } else { relative(1.0) };
            let power = pick(1.0 + if operands[0] == 0.0 { 0.0 } else { spread }, lower);
            // The logarithm's absolute error is multiplied by y, up to three to the third here.
            Accuracy { relative: power + logarithm.relative + 1.0, absolute: logarithm.absolute * 27.0 }
        }
        "sin" | "cos" => {
            if gpu {
                absolute(GPU_SINE)
            } else {
                relative(1.5)
            }
        }
        // The exponential of −a², whose rounding counts a² times.
        "erf" => relative(pick(3.0 + x * x, 4.5 + 3.0 * x * x)),
        "tanh" => absolute(pick(10.0, 2.0 * GPU_TANH + 2.0)),
        // y · (1 − y) ≤ ¼, where both factors carry the error of y.
        "sigmoid" => absolute(exp + pick(3.0, 5.0)),
        // y + alpha is a difference; see the result.
        "elu" => absolute(pick(3.0, 16.0)),
        // Φ, and a·φ, in which φ's exponential and its rounded argument count.
        "gelu" => absolute(pick(6.0, GPU_ERF / 2.0 + 8.0)),
        // ½(1 + t) and ½a · (1 − t²) · u′ with |u′| ≤ 2.5, where t errs as tanh and its argument do.
        "gelu_tanh" => absolute(pick(5.4, GPU_TANH + 1.4) * (0.5 + 2.5)),
        "silu" => absolute(3.0 * (exp + pick(1.5, 3.5))),
        "softplus" => relative(exp + pick(2.0, 4.0)),
        "mean" => relative(1.0),
        "max" | "min" => relative(pick(0.5, 2.5)),
        "softmax" => absolute(pick(8.0 + 2.0 * x, 14.0 + 10.0 * x)),
        // The exponential turns y's absolute error into a relative one, times Σ dy.
        "log_softmax" => absolute(pick(9.0, 18.0 + 6.0 * x)),
        "cross_entropy" | "loss/cross_entropy" => absolute(pick(6.0 + x, 9.0 + 5.0 * x)),
        "cross_entropy_gradient" => absolute(pick(16.0 + 3.0 * x, 28.0 + 15.0 * x)),
        "loss/binary_cross_entropy" => absolute(exp + pick(4.0, 6.0)),
        "loss/mse" | "loss/mse_one_hot" | "loss/l1" | "loss/huber" => relative(4.0),
        other => panic!("the gradient of {other} has no bound: add it by its formula"),
    }
}

/// What the oracle's gradients lose beyond that: they are graphs of the same operators as on every device, and the
/// constants of a graph are f32, so that one which f32 cannot hold errs by up to 2⁻²⁴ of itself.
pub(crate) fn single_constants(op: &str, reference: f64, magnitude: f64) -> f64 {
    let half_unit = f64::from(f32::EPSILON) / 2.0;
    match op {
        // 2/√π.
        "erf" => half_unit * reference.abs(),
        // √½ in Φ's argument, whose error Φ′·a ≤ ¼ weakens, and 1/√(2π) made of three such constants, times a·φ ≤ ¼.
        "gelu" => half_unit * magnitude,
        // 0.044715 and √(2/π) in the argument u and in u′: (1 − t²)·u ≤ ½ and ½a·(1 − t²)·u′ ≤ 1, times two each, and
        // the change of 1 − t² with u.
        "gelu_tanh" => 4.0 * half_unit * magnitude,
        _ => 0.0,
    }
}
