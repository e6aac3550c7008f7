//! Every operator's samples: shape rule, gradient against finite differences in f64, and every launch of them and of
//! their gradients on the CPU and on a GPU against f64, on the device's own inputs.

mod common;

use cpu_reference::philox::Philox;
use nn_core::ops::samples::{Sample, samples};
use nn_core::{Check, DType, Device, Error, Input, Session, Tensor};
use std::collections::BTreeMap;

struct Gradients {
    /// The sample's f32 inputs, by place.
    places: Vec<usize>,
    r: Vec<f32>,
    values: Vec<Vec<f64>>,
}

fn exact_gradients(sample: &Sample) -> Result<Gradients, Error> {
    let mut session = Session::new(&Device::oracle());
    let mut program = sample.run(&mut session, true)?;
    let places = sample.real_inputs();
    let mut gradient = |place: &usize| session.output_f64(&mut program, &format!("gradient/x{place}"));
    let values = places.iter().map(&mut gradient).collect::<Result<_, Error>>()?;
    let r = Sample::weights(session.output(&mut program, "y")?.shape().elements());
    Ok(Gradients { places, r, values })
}

/// y at shifted inputs, in f64.
fn result_at(sample: &Sample, shifted: &[Vec<f64>]) -> Result<Vec<f64>, Error> {
    let input = |(values, tensor): (_, _)| match Tensor::kind(tensor).dtype {
        DType::F32 => Input::F64(values),
        _ => tensor.into(),
    };
    let inputs: Vec<Input<'_>> = shifted.iter().map(Vec::as_slice).zip(&sample.inputs).map(input).collect();
    let mut session = Session::new(&Device::oracle());
    let mut program = sample.run_with(&mut session, false, &inputs)?;
    session.output_f64(&mut program, "y")
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
                result_at(sample, &shifted).map_err(|error| error.to_string())
            };
            let (above, below) = (along(1.0)?, along(-1.0)?);
            // Of Σ y·r, element by element: long sums would be rounded by more than they differ.
            let differences = above.iter().zip(&below).zip(&exact.r);
            let numeric =
                differences.map(|((above, below), r)| (above - below) * f64::from(*r)).sum::<f64>() / (2.0 * step);
            let analytic: f64 = gradient.iter().zip(&direction).map(|(slope, along)| slope * along).sum();
            // The difference's own error: f64 rounding of y over 2·step, and the third derivative.
            let scale: f64 = gradient.iter().map(|slope| slope.abs()).sum::<f64>() + 1.0;
            if (numeric - analytic).abs() > 1e-8 * scale {
                return Err(format!("gradient of input {place}: differences say {numeric:e}, the rule {analytic:e}"));
            }
        }
    }
    Ok(())
}

/// What was compared of the samples of one operator: how many, elements of results and of what gradients take, and the
/// largest share of its bound that an error uses.
#[derive(Default)]
struct Row {
    samples: usize,
    elements: [u64; 2],
    share: f64,
}

/// Runs all samples, with gradients where they are smooth, and holds every launch to the oracle on the device's own
/// inputs: errors don't add up, so gradients need no tolerance of their own.
fn check_on(device: &Device) {
    let (mut rows, mut mistakes) = (BTreeMap::<&str, Row>::new(), Vec::new());
    for sample in samples() {
        let row = rows.entry(sample.op).or_default();
        row.samples += 1;
        for gradients in [false, true] {
            if gradients && !sample.smooth {
                continue;
            }
            let mut session = Session::new(device);
            session.set_check(Some(Check::Every));
            if let Err(error) = sample.run(&mut session, gradients) {
                let what = if gradients { ", with gradients" } else { "" };
                mistakes.push(format!("{} ({}{what}): {error}", sample.op, sample.label));
            }
            for op in session.check_report().ops() {
                row.elements[usize::from(gradients)] += op.elements;
                row.share = row.share.max(op.share);
            }
        }
    }
    println!("on {}, compared with f64:", device.name());
    println!("{:<24}{:>8}{:>11}{:>11}{:>13}", "op", "samples", "forward", "gradient", "error/bound");
    for (op, Row { samples, elements: [forward, gradient], share }) in &rows {
        println!("{op:<24}{samples:>8}{forward:>11}{gradient:>11}{share:>13.3}");
        assert!(*forward > 0, "nothing of {op} was compared");
    }
    assert!(mistakes.is_empty(), "{} mistakes:\n{}", mistakes.len(), mistakes.join("\n"));
}

#[test]
fn every_operator_has_samples_and_appears_in_its_graph() {
    let all = samples();
    for name in nn_core::ops::names() {
        assert!(all.iter().any(|sample| sample.op == name), "{name} has no sample");
    }
    for sample in &all {
        assert!(nn_core::ops::names().contains(&sample.op), "{} is not in the list of operators", sample.op);
        let graph = sample.graph(false).unwrap_or_else(|error| panic!("{} ({}): {error}", sample.op, sample.label));
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
    check_on(&Device::cpu());
}

#[test]
fn the_gpu_agrees_with_f64() {
    if let Some(device) = common::gpu() {
        check_on(&device);
    }
}
