//! Every operator's samples, with gradients, fused as they are in programs.

use crate::support::devices;
use nn_core::graph::{self, Graph, Value};
use nn_core::ops::samples::{Sample, samples};
use nn_core::passes::differentiate;
use nn_core::{Check, CheckReport, DType, Device, Error, Input, Session, StepScalars, Tensor};

/// A sample's output `y`, and where it is smooth the gradients of Σ y² by its inputs.
fn traced(sample: &Sample) -> Result<Graph, Error> {
    let name = |place: usize| format!("x{place}");
    let graph = graph::trace(|trace| {
        let leaf = |(place, tensor): (usize, &Tensor)| {
            let kind = tensor.kind();
            match kind.dtype {
                DType::F32 if sample.smooth => trace.state(&name(place), kind.dtype, kind.shape.clone()),
                _ => trace.input(&name(place), kind.dtype, kind.shape.clone()),
            }
        };
        let inputs: Vec<Value> = sample.inputs.iter().enumerate().map(leaf).collect();
        let y = (sample.build)(&inputs);
        trace.output("y", y);
        if sample.smooth {
            trace.output("loss", (y * y).sum_all());
        }
        Ok(())
    })?;
    let places = 0..sample.inputs.len();
    let real: Vec<String> = places.filter(|&place| sample.inputs[place].kind().dtype == DType::F32).map(name).collect();
    let names: Vec<&str> = real.iter().map(String::as_str).collect();
    if sample.smooth { differentiate(&graph, "loss", &names) } else { Ok(graph) }
}

fn checked(device: &Device, sample: &Sample) -> Result<CheckReport, Error> {
    let graph = traced(sample)?;
    let mut session = Session::new(device);
    let names: Vec<String> = (0..sample.inputs.len()).map(|place| format!("x{place}")).collect();
    for (name, _) in graph.states() {
        let place = names.iter().position(|known| known == name).unwrap();
        session.set_state(name, &sample.inputs[place])?;
    }
    let mut program = session.compile(&graph)?;
    let needed = |name: &str| program.schedule().inputs.iter().any(|(known, _)| known == name);
    let inputs: Vec<(&str, Input<'_>)> = names
        .iter()
        .zip(&sample.inputs)
        .filter(|(name, _)| needed(name))
        .map(|(name, tensor)| (name.as_str(), tensor.into()))
        .collect();
    session.set_check(Some(Check::Every));
    session.run(&mut program, &inputs, StepScalars::new(3, 12_345, 0.25))?;
    Ok(session.take_check_report())
}

#[test]
fn every_sample_passes() {
    for device in devices() {
        let mut mistakes = Vec::new();
        for sample in samples() {
            match checked(&device, &sample) {
                Ok(report) => assert!(!report.is_empty(), "{} ({})", sample.op, sample.label),
                Err(error) => mistakes.push(format!("{} ({}): {error}", sample.op, sample.label)),
            }
        }
        assert!(mistakes.is_empty(), "{} mistakes:\n{}", mistakes.len(), mistakes.join("\n"));
    }
}
