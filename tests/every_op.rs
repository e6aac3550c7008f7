//! Every operator's samples: shape rule, gradient against finite differences in f64, and each node of them and of
//! their gradients on the CPU and on a GPU against f64, on the device's own inputs.

mod common;
#[path = "common/node_by_node.rs"]
mod node_by_node;

use cpu_reference::philox::Philox;
use nn_core::graph::{self, Arithmetic, Graph, Value};
use nn_core::ops::samples::{Sample, samples};
use nn_core::passes::differentiate;
use nn_core::{DType, Device, Error, Input, Session, StepScalars, Tensor};
use node_by_node::{Report, check};

/// Traces a sample. With `states`, its f32 inputs are states `x0`, `x1`, … that gradients can be taken of; the
/// output `loss` is then Σ y·r with the input `r`.
fn trace(sample: &Sample, states: bool) -> Result<Graph, Error> {
    graph::trace(|trace| {
        let leaf = |(place, tensor): (usize, &Tensor)| {
            let (name, kind) = (format!("x{place}"), tensor.kind());
            if states && kind.dtype == DType::F32 {
                trace.state(&name, kind.dtype, kind.shape.clone())
            } else {
                trace.input(&name, kind.dtype, kind.shape.clone())
            }
        };
        let inputs: Vec<Value> = sample.inputs.iter().enumerate().map(leaf).collect();
        let y = (sample.build)(&inputs);
        trace.output("y", y);
        if states {
            let r = trace.input("r", DType::F32, y.shape());
            trace.output("loss", (y * r).sum_all());
        }
        Ok(())
    })
}

fn named<'a>(tensors: &'a [Tensor]) -> Vec<(String, Input<'a>)> {
    tensors.iter().enumerate().map(|(place, tensor)| (format!("x{place}"), tensor.into())).collect()
}

/// Runs a graph and reads outputs in double precision.
fn run(
    device: &Device,
    graph: &Graph,
    states: &[(String, &Tensor)],
    inputs: &[(String, Input<'_>)],
    outputs: &[String],
) -> Result<Vec<Vec<f64>>, Error> {
    let mut session = Session::new(device);
    for (name, tensor) in states {
        session.set_state(name, tensor)?;
    }
    let mut program = session.compile(graph)?;
    let known: Vec<String> = program.schedule().inputs.iter().map(|(name, _)| name.clone()).collect();
    // A gradient may not need every input; the program then does not have it.
    let inputs: Vec<(&str, Input<'_>)> =
        inputs.iter().filter(|(name, _)| known.contains(name)).map(|(name, input)| (name.as_str(), *input)).collect();
    session.run(&mut program, &inputs, StepScalars::default())?;
    outputs.iter().map(|name| session.output_f64(&mut program, name)).collect()
}

struct Gradients {
    /// The sample's f32 inputs, by place.
    places: Vec<usize>,
    r: Vec<f32>,
    values: Vec<Vec<f64>>,
}

/// The graph of a sample with the gradients of the loss by its f32 inputs, their places, and r.
fn differentiated(sample: &Sample) -> Result<(Graph, Vec<usize>, Tensor), Error> {
    let graph = trace(sample, true)?;
    let is_real = |place: &usize| sample.inputs[*place].kind().dtype == DType::F32;
    let places: Vec<usize> = (0..sample.inputs.len()).filter(is_real).collect();
    let names: Vec<String> = places.iter().map(|place| format!("x{place}")).collect();
    let graph = differentiate(&graph, "loss", &names.iter().map(String::as_str).collect::<Vec<_>>())?;
    let Some(y) = graph.output("y") else { unreachable!("the trace has an output y") };
    let shape = graph.kind_of(y).shape.clone();
    let mut random = Philox::new(7, 7);
    let r: Vec<f32> = (0..shape.elements()).map(|_| random.uniform() + 0.5).collect();
    Ok((graph, places, Tensor::from_f32(shape, &r)?))
}

fn exact_gradients(sample: &Sample) -> Result<Gradients, Error> {
    let (graph, places, r) = differentiated(sample)?;
    let r = r.as_f32()?.to_vec();
    let states: Vec<(String, &Tensor)> =
        places.iter().map(|&place| (format!("x{place}"), &sample.inputs[place])).collect();
    let mut inputs = named(&sample.inputs);
    inputs.push(("r".into(), Input::F32(&r)));
    let outputs: Vec<String> = places.iter().map(|place| format!("gradient/x{place}")).collect();
    let values = run(&Device::oracle(), &graph, &states, &inputs, &outputs)?;
    Ok(Gradients { places, r, values })
}

/// Σ y·r at shifted inputs, in f64.
fn loss_at(sample: &Sample, r: &[f32], shifted: &[Vec<f64>]) -> Result<f64, Error> {
    let graph = trace(sample, false)?;
    let inputs: Vec<(String, Input<'_>)> = shifted
        .iter()
        .zip(&sample.inputs)
        .enumerate()
        .map(|(place, (values, tensor))| {
            let input = if tensor.kind().dtype == DType::F32 { Input::F64(values) } else { tensor.into() };
            (format!("x{place}"), input)
        })
        .collect();
    let y = run(&Device::oracle(), &graph, &[], &inputs, &["y".to_string()])?.remove(0);
    Ok(y.iter().zip(r).map(|(y, r)| y * f64::from(*r)).sum())
}

/// Compares each input's gradient with central differences along random directions, and for small inputs along
/// each element.
fn against_differences(sample: &Sample, exact: &Gradients) -> Result<(), String> {
    let wide = |tensor: &Tensor| match tensor.as_f32() {
        Ok(values) => values.iter().map(|&value| f64::from(value)).collect(),
        Err(_) => Vec::new(),
    };
    let origin: Vec<Vec<f64>> = sample.inputs.iter().map(wide).collect();
    let mut random = Philox::new(11, 3);
    for (&place, gradient) in exact.places.iter().zip(&exact.values) {
        let count = origin[place].len();
        let mut directions: Vec<Vec<f64>> =
            (0..2).map(|_| (0..count).map(|_| random.uniform_f64() - 0.5).collect()).collect();
        if count <= 16 {
            directions
                .extend((0..count).map(|one| (0..count).map(|other| f64::from(u8::from(one == other))).collect()));
        }
        for direction in directions {
            let step = 1e-6;
            let along = |sign: f64| {
                let mut shifted = origin.clone();
                for (value, slope) in shifted[place].iter_mut().zip(&direction) {
                    *value += sign * step * slope;
                }
                loss_at(sample, &exact.r, &shifted).map_err(|error| error.to_string())
            };
            let numeric = (along(1.0)? - along(-1.0)?) / (2.0 * step);
            let analytic: f64 = gradient.iter().zip(&direction).map(|(slope, along)| slope * along).sum();
            // The difference's own error: f64 rounding of the loss over 2·step, and the third derivative.
            let scale: f64 = gradient.iter().map(|slope| slope.abs()).sum::<f64>() + 1.0;
            if (numeric - analytic).abs() > 1e-8 * scale {
                return Err(format!("gradient of input {place}: differences say {numeric:e}, the rule {analytic:e}"));
            }
        }
    }
    Ok(())
}

/// Runs all samples, with gradients where they are smooth, node by node.
fn check_on(device: &Device, arithmetic: Arithmetic) {
    let mut report = Report::default();
    for sample in samples() {
        let what = format!("{} ({})", sample.op, sample.label);
        report.rows.entry(sample.op).or_default().samples += 1;
        let name = |(place, tensor): (usize, &Tensor)| (format!("x{place}"), tensor.clone());
        let mut leaves: Vec<(String, Tensor)> = sample.inputs.iter().enumerate().map(name).collect();
        let graph = if sample.smooth {
            differentiated(&sample).map(|(graph, _, r)| {
                leaves.push(("r".into(), r));
                graph
            })
        } else {
            trace(&sample, false)
        };
        let outcome = graph.and_then(|graph| check(&what, device, arithmetic, &graph, &leaves, &mut report));
        if let Err(error) = outcome {
            report.mistakes.push(format!("{what} on {}: {error}", device.name()));
        }
    }
    report.finish(device);
}

#[test]
fn every_operator_has_samples_and_appears_in_its_graph() {
    let all = samples();
    for name in nn_core::ops::names() {
        assert!(all.iter().any(|sample| sample.op == name), "{name} has no sample");
    }
    for sample in &all {
        assert!(nn_core::ops::names().contains(&sample.op), "{} is not in the list of operators", sample.op);
        let graph = trace(sample, false).unwrap_or_else(|error| panic!("{} ({}): {error}", sample.op, sample.label));
        let applied = graph.nodes().iter().any(|node| node.op().is_some_and(|op| op.name() == sample.op));
        assert!(applied, "{} ({}) does not apply it", sample.op, sample.label);
    }
}

#[test]
fn gradients_agree_with_finite_differences_in_f64() {
    let mut failures = Vec::new();
    for sample in samples().iter().filter(|sample| sample.smooth) {
        let outcome = exact_gradients(sample)
            .map_err(|error| error.to_string())
            .and_then(|exact| against_differences(sample, &exact));
        if let Err(why) = outcome {
            failures.push(format!("{} ({}): {why}", sample.op, sample.label));
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn f32_on_the_cpu_agrees_with_f64() {
    check_on(&Device::cpu(), Arithmetic::Cpu);
}

#[test]
fn the_gpu_agrees_with_f64() {
    if let Some(device) = common::gpu() {
        check_on(&device, Arithmetic::Gpu);
    }
}
