//! Turns a case into a graph: the operator's call, and the gradients of Σ y·r.

use crate::file::{Case, whole_numbers};
use nn_core::graph::{self, Graph};
use nn_core::ops::{
    Attention, Convolution, CrossEntropyOptions, CumulativeSum, Extent, PoolOptions, Resample, RotaryPairing,
};
use nn_core::{DType, Error, Input, Session, StepScalars, Trace, Value, passes};
use nn_train::nn::loss::{Loss, cross_entropy_mean};
use serde_json::Value as Json;

/// Names of the states or inputs that hold a case's operands.
fn operand(place: usize) -> String {
    format!("x{place}")
}

/// The result, then the gradients, in double precision; and the graph that computed them.
pub(crate) fn run(case: &Case, session: &mut Session) -> Result<(Graph, Vec<Vec<f64>>), Error> {
    let graph = build(case)?;
    for (place, tensor) in case.inputs.iter().enumerate().filter(|(_, tensor)| tensor.kind().dtype == DType::F32) {
        session.set_state(&operand(place), tensor)?;
    }
    let names: Vec<String> = (0..case.inputs.len()).map(operand).collect();
    let mut given: Vec<(&str, Input<'_>)> = Vec::new();
    for (name, _) in graph.inputs() {
        let place = names.iter().position(|known| known == name);
        given.push((name, place.map_or(Input::F32(&case.weights), |place| Input::from(&case.inputs[place]))));
    }
    let mut program = session.compile(&graph)?;
    let word = |name: &str| case.attributes[name].as_u64().unwrap_or(0) as u32;
    session.run(&mut program, &given, StepScalars::new(word("step"), word("seed"), 0.0))?;
    let gradients = case.gradients.iter().map(|&place| format!("gradient/{}", operand(place)));
    let outputs: Result<Vec<_>, Error> =
        std::iter::once("y".to_string()).chain(gradients).map(|name| session.output_f64(&mut program, &name)).collect();
    Ok((graph, outputs?))
}

/// The graph of a case.
pub(crate) fn build(case: &Case) -> Result<Graph, Error> {
    let parameters: Vec<String> = case.gradients.iter().map(|&place| operand(place)).collect();
    let parameters: Vec<&str> = parameters.iter().map(String::as_str).collect();
    let finish = |trace: &Trace, y: Value| {
        if y.shape() != case.output {
            let message = format!("the result is {}, in PyTorch {}", y.shape(), case.output);
            return Err(Error::Usage(message));
        }
        trace.output("y", y);
        if !parameters.is_empty() {
            trace.output("loss", (y * trace.input("r", DType::F32, case.output.clone())).sum_all());
        }
        Ok(())
    };
    let operands = |trace: &Trace| -> Vec<Value> {
        let declare = |(place, tensor): (usize, &nn_core::Tensor)| {
            let (name, kind) = (operand(place), tensor.kind().clone());
            if kind.dtype == DType::F32 {
                trace.state(&name, kind.dtype, kind.shape)
            } else {
                trace.input(&name, kind.dtype, kind.shape)
            }
        };
        case.inputs.iter().enumerate().map(declare).collect()
    };
    // Which operand the first gradient is by.
    let by = match case.op.as_str() {
        "cross_entropy_gradient" | "max_pool_gradient" | "average_pool_gradient" => Some("x0"),
        "layer_norm_gradient" | "rms_norm_gradient" => Some("x0"),
        "convolution_weight_gradient" => Some("x2"),
        _ => None,
    };
    let graph = if let Some(by) = by {
        // It has no method of its own: it appears when weighted losses are differentiated, and is differentiated again.
        let first = graph::trace(|trace| {
            let y = match (case.op.as_str(), &operands(trace)[..]) {
                ("cross_entropy_gradient", &[logits, targets, factors, ref weight @ ..]) => {
                    logits.cross_entropy_with(targets, &cross_entropy(case, weight)) * factors
                }
                ("convolution_weight_gradient", &[x, dy, weight]) => x.conv2d(weight, &convolution(case)) * dy,
                ("layer_norm_gradient" | "rms_norm_gradient", &[x, dy, ref weight @ ..]) => {
                    row_norm(case, x, weight) * dy
                }
                (_, &[x, weights]) => pool(case, x) * weights,
                (_, operands) => return Err(Error::Usage(format!("{} has {} operands", case.op, operands.len()))),
            };
            trace.output("first loss", y.sum_all());
            Ok(())
        })?;
        let mut first = passes::differentiate(&first, "first loss", &[by])?;
        for (name, _) in &mut first.outputs {
            if *name == format!("gradient/{by}") {
                *name = "first gradient".into();
            }
        }
        graph::extend(first, |trace| match trace.existing_output("first gradient") {
            Some(y) => finish(trace, y),
            None => Err(Error::Usage("differentiate left no gradient".into())),
        })?
        .0
    } else {
        graph::trace(|trace| finish(trace, call(case, trace, &operands(trace))))?
    };
    if parameters.is_empty() { Ok(graph) } else { passes::differentiate(&graph, "loss", &parameters) }
}

/// A number among the attributes.
fn number(case: &Case, name: &str) -> f32 {
    let value = &case.attributes[name];
    // JSON has no infinities; they are written as words.
    let number = value.as_f64().or_else(|| value.as_str().and_then(|word| word.parse().ok()));
    number.unwrap_or_else(|| panic!("{}: {name} is missing", case.name)) as f32
}

/// The options of a convolution among the attributes, (height, width).
fn convolution(case: &Case) -> Convolution {
    let list = |name: &str| whole_numbers(&case.attributes[name]);
    let pair = |name: &str| [list(name)[0], list(name)[1]];
    let around = list("padding");
    let padding = [(around[0], around[1]), (around[2], around[3])];
    Convolution { stride: pair("stride"), padding, dilation: pair("dilation"), groups: list("groups")[0] }
}

/// The options of a cross-entropy: among the attributes, and maybe a weight.
fn cross_entropy(case: &Case, weight: &[Value]) -> CrossEntropyOptions {
    let ignored = case.attributes.get("ignore_index");
    CrossEntropyOptions {
        ignore_index: ignored.map(|index| index.as_u64().expect("an index") as u32),
        label_smoothing: if ignored.is_some() { number(case, "label_smoothing") } else { 0.0 },
        weight: weight.first().copied(),
    }
}

/// Normalised rows, with a weight and a bias as the attributes say.
fn row_norm(case: &Case, x: Value, parameters: &[Value]) -> Value {
    let [weighted, biased] = ["weighted", "biased"].map(|name| case.attributes[name] == Json::Bool(true));
    let weight = parameters.first().copied().filter(|_| weighted);
    let bias = parameters.last().copied().filter(|_| biased);
    let eps = number(case, "eps");
    if case.op.starts_with("layer") { x.layer_norm(weight, bias, eps) } else { x.rms_norm(weight, eps) }
}

/// As torch's interpolate, over one or two axes.
fn resampled(case: &Case, x: Value) -> Value {
    let mode = if case.attributes["mode"] == "nearest" { Resample::Nearest } else { Resample::Linear };
    let corners = case.attributes["corners"] == Json::Bool(true);
    let extent = if case.attributes["size"].is_array() {
        let sizes = whole_numbers(&case.attributes["size"]);
        Extent::Size([sizes[0], sizes[sizes.len() - 1]])
    } else {
        let factors = case.attributes["factor"].as_array().expect("factors").iter();
        let factors: Vec<f64> = factors.map(|factor| factor.as_f64().expect("a factor")).collect();
        Extent::Factor([factors[0], factors[factors.len() - 1]])
    };
    match (extent, x.shape().rank()) {
        (Extent::Size([size, _]), 3) => x.upsample1d(Extent::Size([size]), mode, corners),
        (Extent::Factor([factor, _]), 3) => x.upsample1d(Extent::Factor([factor]), mode, corners),
        _ => x.upsample2d(extent, mode, corners),
    }
}

fn call(case: &Case, trace: &Trace, inputs: &[Value]) -> Value {
    let list = |name: &str| whole_numbers(&case.attributes[name]);
    let axis = || case.attributes["axis"].as_u64().expect("an axis") as usize;
    let number = |name: &str| number(case, name);
    if case.op == "loss/cross_entropy_mean" {
        return cross_entropy_mean(inputs[0], inputs[1], &cross_entropy(case, &inputs[2..]));
    }
    if let Some(name) = case.op.strip_prefix("loss/") {
        let loss = match name {
            "cross_entropy" => Loss::CrossEntropy,
            "binary_cross_entropy" => Loss::BinaryCrossEntropy,
            "mse" => Loss::Mse,
            "l1" => Loss::L1,
            "huber" => Loss::Huber { delta: number("delta") },
            "mse_one_hot" => Loss::MseOneHot,
            other => panic!("no loss named {other:?}"),
        };
        assert_eq!(loss.name(), name);
        let per_row = case.attributes["rows"] == Json::Bool(true);
        return if per_row { loss.per_row(inputs[0], inputs[1]) } else { loss.mean(inputs[0], inputs[1]) };
    }
    if case.op == "unit_interval" {
        let stream = case.attributes["stream"].as_u64().expect("a stream") as u32;
        return trace.random_uniform(case.output.clone(), stream);
    }
    let x = inputs[0];
    match case.op.as_str() {
        "add" => x + inputs[1],
        "subtract" => x - inputs[1],
        "multiply" => x * inputs[1],
        "divide" => x / inputs[1],
        "negate" => -x,
        "minimum" => x.minimum(inputs[1]),
        "maximum" => x.maximum(inputs[1]),
        "clamp" if inputs.len() == 3 => x.clamp(inputs[1], inputs[2]),
        "clamp" => x.clamp(number("min"), number("max")),
        "abs" => x.abs(),
        "sign" => x.sign(),
        "floor" => x.floor(),
        "exp" => x.exp(),
        "log" => x.log(),
        "sqrt" => x.sqrt(),
        "rsqrt" => x.rsqrt(),
        "pow" => x.pow(inputs[1]),
        "sin" => x.sin(),
        "cos" => x.cos(),
        "erf" => x.erf(),
        "tanh" => x.tanh(),
        "sigmoid" => x.sigmoid(),
        "relu" => x.relu(),
        "leaky_relu" => x.leaky_relu(number("slope")),
        "elu" => x.elu(number("alpha")),
        "gelu" => x.gelu(),
        "gelu_tanh" => x.gelu_tanh(),
        "silu" => x.silu(),
        "gelu_slope" => x.gelu_slope(),
        "gelu_tanh_slope" => x.gelu_tanh_slope(),
        "silu_slope" => x.silu_slope(),
        "weighted_sum" => x.weighted_sum(inputs[1], inputs[2], inputs[3]),
        "adam_step" => {
            let [shrink, mean, rate, square, correction, eps] = [1, 2, 3, 4, 5, 6].map(|place| inputs[place]);
            x.adam_step(shrink, mean, rate, square, correction, eps)
        }
        "softplus" => x.softplus(),
        "contiguous" => x.contiguous(),
        "less" => x.less(inputs[1]),
        "less_equal" => x.less_equal(inputs[1]),
        "greater" => x.greater(inputs[1]),
        "greater_equal" => x.greater_equal(inputs[1]),
        "equal" => x.equal(inputs[1]),
        "not_equal" => x.not_equal(inputs[1]),
        "select" => x.select(inputs[1], inputs[2]),
        "to_f32" => x.to_f32(),
        "to_u32" => x.to_u32(),
        "to_i32" => x.to_i32(),
        "reshape" => x.reshape(list("to")),
        "permute" => x.permute(&list("order")),
        "detach" => x.detach(),
        "broadcast" => x.broadcast_to(list("to")),
        "slice" => x.slice(&list("starts"), list("sizes")),
        "concat" => x.concat(&inputs[1..], axis()),
        "pad" => {
            let pairs = case.attributes["around"].as_array().expect("pairs");
            let pair = |pair: &Json| (whole_numbers(pair)[0], whole_numbers(pair)[1]);
            x.pad(&pairs.iter().map(pair).collect::<Vec<_>>(), number("value"))
        }
        "sum" => x.sum(&list("axes")),
        "mean" => x.mean(&list("axes")),
        "sum_of_squares" => x.sum_of_squares(&list("axes")),
        "max" => x.max(&list("axes")),
        "min" => x.min(&list("axes")),
        "argmax" => x.argmax(axis()),
        "argmin" => x.argmin(axis()),
        "matmul" => {
            let transposed = |side: usize| case.attributes["transpose"][side] == Json::Bool(true);
            let side = |side: usize| if transposed(side) { inputs[side].transpose() } else { inputs[side] };
            side(0).matmul(side(1))
        }
        "convolution" if case.output.rank() == 3 => x.conv1d(inputs[1], &convolution(case)),
        "convolution" => x.conv2d(inputs[1], &convolution(case)),
        "convolution_input_gradient" => {
            let more = list("output_padding");
            if case.output.rank() == 3 {
                x.conv_transpose1d(inputs[1], &convolution(case), more[1])
            } else {
                x.conv_transpose2d(inputs[1], &convolution(case), [more[0], more[1]])
            }
        }
        "softmax" => x.softmax(axis()),
        "log_softmax" => x.log_softmax(axis()),
        "cross_entropy" => x.cross_entropy_with(inputs[1], &cross_entropy(case, &inputs[2..])),
        "max_pool" | "average_pool" => pool(case, x),
        "gather_rows" => x.gather_rows(inputs[1]),
        "moments" => {
            let moments = x.moments(&list("axes"), number("eps"));
            match case.attributes["which"].as_str() {
                Some("mean") => moments.mean,
                Some("variance") => moments.variance,
                _ => moments.inverse_deviation,
            }
        }
        "normalised" => {
            let groups = case.attributes["groups"].as_u64().expect("a number of groups") as usize;
            let shape = x.shape();
            let grouped = match groups {
                0 => x,
                _ => x.reshape([shape[0], groups, shape[1] / groups, shape[2..].iter().product()]),
            };
            let parameter = |place: usize| inputs.get(place).map(|value| value.reshape(list("seen")));
            grouped.normalise(&list("axes"), number("eps"), parameter(1), parameter(2)).reshape(shape)
        }
        "attention" => {
            let is = |name: &str| case.attributes[name] == Json::Bool(true);
            let mut more = inputs[3..].iter().copied();
            let options = Attention {
                scale: Some(number("scale")),
                causal: is("causal"),
                window: case.attributes["window"].as_u64().filter(|&window| window > 0).map(|window| window as usize),
                mask: if is("mask") { more.next() } else { None },
                slopes: if is("slopes") { more.next() } else { None },
                ..Attention::default()
            };
            x.attention(inputs[1], inputs[2], &options)
        }
        "rotary" => {
            let interleaved = case.attributes["interleaved"] == Json::Bool(true);
            let pairing = if interleaved { RotaryPairing::Interleaved } else { RotaryPairing::Half };
            x.rotary(inputs[1], inputs[2], pairing)
        }
        "layer_norm" | "rms_norm" => row_norm(case, x, &inputs[1..]),
        "resample" => resampled(case, x),
        "gather" => x.gather(axis(), inputs[1]),
        "scatter_add" => x.scatter_add(axis(), inputs[1], inputs[2]),
        "sort" => {
            let is = |name: &str| case.attributes[name] == Json::Bool(true);
            let [values, places] = match case.attributes["count"].as_u64() {
                Some(count) => x.top_k(axis(), count as usize, is("largest")),
                None => x.sort(axis(), is("descending")),
            };
            if case.attributes["which"] == "values" { values } else { places }
        }
        "cumulative_sum" => {
            let is = |name: &str| case.attributes[name] == Json::Bool(true);
            x.cumulative_sum_by(axis(), CumulativeSum { exclusive: is("exclusive"), reverse: is("reverse") })
        }
        "scatter_add_rows" => {
            let vocabulary = case.attributes["vocabulary"].as_u64().expect("a number of rows") as usize;
            x.scatter_add_rows(inputs[1], vocabulary)
        }
        other => panic!("tests/golden has cases of {other:?}, which this test cannot call"),
    }
}

/// Pooling by the maximum or the mean, as the operator's name begins.
fn pool(case: &Case, x: Value) -> Value {
    let (rows, largest) = (x.shape().rank() == 3, case.op.starts_with("max"));
    let given = |name: &str| case.attributes.get(name).is_some();
    let pair = |name: &str| match whole_numbers(&case.attributes[name])[..] {
        [one] => [1, one],
        [first, second] => [first, second],
        _ => panic!("{}: {name} is no pair", case.name),
    };
    if given("output") {
        let output = pair("output");
        return match (rows, largest) {
            (true, true) => x.adaptive_max_pool1d(output[1]),
            (true, false) => x.adaptive_average_pool1d(output[1]),
            (false, true) => x.adaptive_max_pool2d(output),
            (false, false) => x.adaptive_average_pool2d(output),
        };
    }
    let options = PoolOptions {
        stride: pair("stride"),
        padding: pair("padding"),
        dilation: if given("dilation") { pair("dilation") } else { [1, 1] },
        ceil_mode: case.attributes["ceil_mode"] == Json::Bool(true),
        count_include_pad: !given("count_include_pad") || case.attributes["count_include_pad"] == Json::Bool(true),
        divisor: given("divisor_override").then(|| number(case, "divisor_override") as usize),
        ..PoolOptions::new(pair("kernel_size"))
    };
    match (rows, largest) {
        (true, true) => x.max_pool1d(&options),
        (true, false) => x.average_pool1d(&options),
        (false, true) => x.max_pool2d(&options),
        (false, false) => x.average_pool2d(&options),
    }
}
