//! How far a result may lie from PyTorch's in double precision, beside what the operators say of themselves.
//!
//! The bounds of whole losses and of whole gradient formulas follow from those formulas, rounding by rounding, with the
//! errors of the functions in them: on the CPU those of the C library (one unit) and of `cpu-reference`'s tanh (four);
//! on a GPU those that the WGSL specification allows. Figures err upwards to whole numbers.
//!
//! `summed` counts in units of the reference's magnitude, the largest sum of absolute values of terms; a sum of n terms
//! adds n − 1 to it.

use crate::file::{Case, Reference};
use nn_core::graph::{Accuracy, Arithmetic, Graph, Node, NodeKind, OpKind, ValueId};

fn relative(units: f64) -> Accuracy {
    Accuracy::relative(units)
}

/// Units of the reference's magnitude.
fn absolute(units: f64) -> Accuracy {
    Accuracy { summed: units, ..Accuracy::EXACT }
}

/// Of sums of as many terms as the reference has.
pub(crate) fn with_terms(accuracy: Accuracy, reference: &Reference) -> Accuracy {
    accuracy + absolute(reference.terms - 1.0)
}

/// The larger of all errors.
pub(crate) fn or(one: Accuracy, other: Accuracy) -> Accuracy {
    Accuracy {
        relative: one.relative.max(other.relative),
        absolute: one.absolute.max(other.absolute),
        summed: one.summed.max(other.summed),
    }
}

/// WGSL: tanh may err by 1e-5.
const GPU_TANH: f64 = 84.0;
/// WGSL: sin, cos may err by 2⁻¹¹ within ±π.
const GPU_SINE: f64 = 4096.0;
/// WGSL: log may err by 2⁻²¹ within 0.5 to 2 and by three units elsewhere; exp by (3 + 2|x|) units, see below.
const GPU_LOG: Accuracy = Accuracy { relative: 3.0, absolute: 0.0, summed: 4.0 };
/// Abramowitz and Stegun's 7.1.26, with its roundings.
const GPU_ERF: f64 = 15.0;

/// Where a case's result comes from: the operator's node in its graph, or none for losses.
pub(crate) fn node_of<'a>(case: &Case, graph: &'a Graph) -> Option<&'a Node> {
    graph.nodes().iter().find(|node| node.op().is_some_and(|op| op.name() == case.op))
}

/// The arguments of one element of an elementwise operator, or the largest finite magnitude of each input of a kernel.
/// `operand` gives that for an operand of the case by its number; constants are taken from the graph.
pub(crate) fn arguments(graph: &Graph, node: &Node, operand: &impl Fn(usize) -> f64) -> Vec<f64> {
    node.inputs.iter().map(|&input| argument(graph, input, operand)).collect()
}

fn argument(graph: &Graph, value: ValueId, operand: &impl Fn(usize) -> f64) -> f64 {
    let node = graph.node(value.node);
    match (&node.kind, node.op_kind()) {
        (NodeKind::Input(name) | NodeKind::State(name), _) => {
            // The weights r have no number; only gradients read them.
            name.strip_prefix('x').and_then(|place| place.parse().ok()).map_or(0.0, operand)
        }
        (NodeKind::Constant(bytes), _) => match *bytes.as_ref().as_ref() {
            [a, b, c, d] => f64::from(f32::from_ne_bytes([a, b, c, d])),
            _ => panic!("a constant of many elements"),
        },
        (_, Some(OpKind::View(_))) => argument(graph, node.inputs[0], operand),
        // A product of weights, on its way to cross_entropy_gradient.
        _ => arguments(graph, node, operand).iter().fold(0.0, |largest, x| f64::max(largest, x.abs())),
    }
}

/// Of an operator's results, by the operator itself.
pub(crate) fn forward(graph: &Graph, node: &Node, arithmetic: Arithmetic, arguments: &[f64]) -> Accuracy {
    match node.op_kind() {
        Some(OpKind::Elementwise(op)) => op.accuracy(arithmetic, arguments),
        Some(OpKind::Kernel(kernel)) => {
            let kinds: Vec<_> = node.inputs.iter().map(|&input| graph.kind_of(input).clone()).collect();
            kernel.accuracy(arithmetic, &kinds, arguments)
        }
        _ => Accuracy::EXACT,
    }
}

/// What PyTorch's results in single precision lose beyond ours: it adds up in single precision, and the vectorised
/// error function in its gelu is Abramowitz and Stegun's 7.1.26 everywhere, as ours on a GPU beyond ½.
pub(crate) fn by_pytorch(case: &Case, elementwise: bool, reference: &Reference, operands: &[f64]) -> Accuracy {
    match case.op.as_str() {
        "gelu" => Accuracy::absolute(GPU_ERF / 2.0 * operands[0].abs()),
        // Its slopes are several operators, with 1 − s as a difference, whose roundings count x·2u′ times and four.
        "silu_slope" => Accuracy::absolute(operands[0].abs() + 4.0),
        "gelu_tanh_slope" => {
            Accuracy::absolute(2.0 * operands[0].abs() * (1.0 + operands[0] * operands[0] / 7.0) + 4.0)
        }
        // It computes in single precision where a result lies: of axes of up to nine elements three roundings are at most
        // thirteen units, by which weights err, each of a difference of neighbours, along each axis.
        "resample" if case.attributes["mode"] == "linear" => {
            let axes = case.output.rank() as f64 - 2.0;
            Accuracy::absolute(axes * 13.0 * 2.0 * operands[0]) + with_terms(Accuracy::EXACT, reference)
        }
        _ if elementwise => Accuracy::EXACT,
        _ => with_terms(Accuracy::EXACT, reference),
    }
}

/// Of losses; `x` is the largest magnitude of the inputs.
pub(crate) fn loss(op: &str, arithmetic: Arithmetic, x: f64) -> Accuracy {
    match op {
        "loss/cross_entropy" => absolute(arithmetic.pick(6.0, 13.0 + 4.0 * x)),
        // Six roundings for weights and shares, and three for the mean.
        "loss/cross_entropy_mean" => absolute(arithmetic.pick(10.5, 22.0 + 4.0 * x)),
        "loss/binary_cross_entropy" => relative(1.0) + absolute(arithmetic.pick(5.0, 11.0 + 2.0 * x)),
        "loss/mse" | "loss/mse_one_hot" | "loss/l1" | "loss/huber" => relative(4.0),
        other => panic!("{other} has no bound: add it by its formula"),
    }
}

/// Of (x − m)·r·w + b, for the largest magnitude of the inputs and sums of so many terms, where r = 1/√(v + 0.1) ≤ 3.2:
/// m errs by the roundings of its sum (on the CPU, which adds up in double precision, by one), r by 1.25 times as many,
/// and fifteen more; see the bounds of `moments`.
pub(crate) fn normalised(arithmetic: Arithmetic, x: f64, terms: f64) -> Accuracy {
    absolute(arithmetic.pick(3.2 * x * 1.5 + 4.0, 3.2 * x * (terms + 6.0) + 1.25 * terms + 20.0))
}

/// Of results of one or two axes resampled, each by two products with weights; see the bounds of `resample`.
pub(crate) fn resampled(case: &Case, arithmetic: Arithmetic) -> Accuracy {
    let axes = case.output.rank() as f64 - 2.0;
    if case.attributes["mode"] == "nearest" { Accuracy::EXACT } else { absolute(axes * arithmetic.pick(2.5, 4.5)) }
}

/// Of attention's result, or of gradients, for the largest magnitude x of the inputs. A score is at most r = scale·size·x²
/// and what mask and slopes make of it; it errs by size + 1 roundings of that, and two more for each of these. A weight errs
/// by e: that, 3 + 3·distance, and four a tile of 32 keys. The result is a mean of values: 2e, twice its sum's roundings
/// and five. Gradients are sums over weights (that by a key or value, one for each query) of scale · (W − D) · k, where W and D
/// are at most size·x·dy, and err by their own roundings and the result's.
pub(crate) fn attention(case: &Case, arithmetic: Arithmetic, x: f64, gradient: Option<usize>) -> Accuracy {
    let [query, key] = [0, 1].map(|place| case.inputs[place].shape().to_vec());
    let (size, keys) = (query[3] as f64, key[1] as f64);
    let rows = (query[1] * query[2] / key[2]) as f64;
    let scale = case.attributes["scale"].as_f64().expect("a number");
    let product = scale * size * x * x;
    let is = |name: &str| case.attributes[name].as_bool() == Some(true);
    let others = if is("mask") { x } else { 0.0 } + if is("slopes") { x * keys.max(rows) } else { 0.0 };
    let score = product + others;
    let tiles = (keys / 32.0).ceil();
    let weight = (size + 1.0) * product + 4.0 * others + 2.0 * score + 3.0 * 2.0 * score + 3.0 + 4.0 * tiles;
    let result = 2.0 * weight + 2.0 * (keys + tiles) + 5.0;
    let of_weights = size * x;
    let of_scores = scale * of_weights * (2.0 * (weight + result + 4.0 + keys.max(rows)) + 2.0 * size + 1.0);
    absolute(
        arithmetic.rounding()
            * match gradient {
                None => result,
                Some(0) => of_scores,
                Some(1) => rows * of_scores,
                Some(_) => rows * (weight + result + rows + 1.0),
            },
    )
}

/// WGSL: pow is exp2(b · log2 a).
fn gpu_pow(base: f64, exponent: f64) -> f64 {
    if base == 0.0 || exponent == 0.0 {
        return 0.0;
    }
    let logarithm = base.log2().abs();
    let error_of_logarithm = if (0.5..=2.0).contains(&base) { 4.0 } else { 3.0 * logarithm } + logarithm;
    3.0 + 2.0 * exponent * logarithm + std::f64::consts::LN_2 * exponent * error_of_logarithm
}

/// Of gradients by any input, on top of dy.
pub(crate) fn gradient(op: &str, arithmetic: Arithmetic, operands: &[f64]) -> Accuracy {
    let gpu = arithmetic == Arithmetic::Gpu;
    let x = operands.first().map_or(0.0, |x| x.abs());
    let pick = |cpu: f64, other: f64| arithmetic.pick(cpu, other);
    let rounding = arithmetic.rounding();
    let exp = pick(1.0, 3.0 + 2.0 * x);
    match op {
        // dy moved, chosen, halved or summed.
        "add" | "subtract" | "negate" | "minimum" | "maximum" | "clamp" | "abs" | "relu" | "contiguous" | "select"
        | "to_f32" | "reshape" | "permute" | "broadcast" | "slice" | "concat" | "pad" | "sum" | "gather_rows"
        | "scatter_add_rows" | "cumulative_sum" | "gather" | "scatter_add" | "sort" | "max_pool"
        | "max_pool_gradient" => relative(0.0),
        "matmul" | "convolution" | "convolution_input_gradient" | "convolution_weight_gradient" => absolute(rounding),
        // Terms are divided by a count, or their sum is.
        "average_pool" | "average_pool_gradient" => absolute(pick(0.5, 2.5)),
        // Two axes, a weight and a product each.
        "resample" => absolute(2.0 * pick(2.0, 3.5)),
        "multiply" | "leaky_relu" | "sum_of_squares" | "weighted_sum" => relative(rounding),
        // −dy · y / b: two divisions and a product.
        "divide" => relative(pick(1.5, 6.0)),
        "exp" => relative(exp + rounding),
        "log" => relative(pick(0.5, 2.5)),
        "sqrt" => relative(pick(1.0, 7.0)),
        "rsqrt" => relative(pick(5.0, 24.0)),
        // b · a^(b−1), whose exponent is rounded; and y · log a.
        "pow" => {
            let spread = operands[1].abs() * operands[0].abs().max(f64::MIN_POSITIVE).ln().abs();
            let lower = gpu_pow(operands[0].abs(), operands[1].abs() + 1.0);
            let logarithm = if gpu { GPU_LOG } else { relative(1.0) };
            let power = pick(1.0 + if operands[0] == 0.0 { 0.0 } else { spread }, lower);
            // The logarithm's absolute error is multiplied by y, up to three to the third here.
            Accuracy { relative: power + logarithm.relative + 1.0, absolute: 0.0, summed: logarithm.summed * 27.0 }
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
        // s + a·s·(1 − s)·2u′: s errs by a quarter of what e^−2u does, which comes with seven roundings of 2u, and the
        // product of the last three, at most ½, by all of it.
        "gelu_tanh" | "silu" => absolute(3.0 * (exp + pick(3.5, 7.0))),
        // φ ≤ 0.4, and 2 − a²; the exponential of −a²/2, whose roundings count a² times, falls faster than they grow.
        "gelu_slope" => absolute(pick(4.0, 8.0)),
        // Two sigmoids of 2u, which comes with six roundings, and a bracket of ten; s·o falls as e to the −|2u|.
        "gelu_tanh_slope" => absolute(pick(10.0, 40.0)),
        "silu_slope" => absolute(3.0 * (exp + pick(1.5, 3.5))),
        "softplus" => relative(exp + pick(2.0, 4.0)),
        "mean" => relative(1.0),
        // r³·(x − m)/n at worst, of sums of up to forty terms, and r ≤ 1.
        "moments" => absolute(pick(8.0, 3.0 * 65.0)),
        // r·(g − Σg/n − x̂·Σ(g·x̂)/n): r ≤ 3.2, the bracket is at most 2 + √40 times the largest g, and errs as x̂ does, in
        // which m's sum and r count, and by some roundings.
        "normalised" | "layer_norm" | "rms_norm" => absolute(3.2 * 8.4 * pick(6.0, 75.0)),
        // Two products and a sum; those of the tables are sums of two more.
        "rotary" => absolute(4.0 * rounding),
        // Twice differentiated r stands in it twice, and two such brackets; as many roundings again.
        "layer_norm_gradient" | "rms_norm_gradient" => absolute(3.2 * 3.2 * 2.0 * 8.4 * pick(12.0, 150.0)),
        "max" | "min" => relative(pick(0.5, 2.5)),
        "softmax" => absolute(pick(8.0 + 2.0 * x, 14.0 + 10.0 * x)),
        // The exponential turns y's absolute error into a relative one, times Σ dy.
        "log_softmax" => absolute(pick(9.0, 18.0 + 6.0 * x)),
        "cross_entropy" | "loss/cross_entropy" => absolute(pick(6.0 + x, 9.0 + 5.0 * x)),
        // The same roundings.
        "loss/cross_entropy_mean" => absolute(pick(10.5 + x, 18.0 + 5.0 * x)),
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
        // 1/√(2π), made of three such constants.
        "gelu_slope" => 3.0 * half_unit * reference.abs(),
        // 0.044715 and √(2/π) in 2u, f and f′: s·o·2u ≤ ½, and s·o times the bracket is at most one.
        "gelu_tanh_slope" => 4.0 * half_unit * magnitude,
        _ => 0.0,
    }
}
