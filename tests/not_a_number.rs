//! NaN and infinity stay what they are: wherever the oracle's result is no number, every device's is none either.

mod common;

use nn_core::ops::samples::{Sample, samples};
use nn_core::{DType, Device, Executable, Input, Session, StepScalars, Tensor};
use std::collections::BTreeMap;

/// Samples of one operator; those after each other are alike.
const SAMPLES: usize = 3;
/// Elements of one input that are replaced, one at a time.
const PLACES: usize = 3;

/// Some small samples of each operator that take real numbers.
fn chosen() -> Vec<Sample> {
    let mut by_op: BTreeMap<&'static str, Vec<Sample>> = BTreeMap::new();
    let elements = |sample: &Sample| sample.inputs.iter().map(|input| input.shape().elements()).sum::<usize>();
    for sample in samples() {
        if !sample.real_inputs().is_empty() && elements(&sample) <= 1500 {
            by_op.entry(sample.op).or_default().push(sample);
        }
    }
    let spread = |list: Vec<Sample>| {
        let every = list.len().div_ceil(SAMPLES);
        list.into_iter().step_by(every)
    };
    by_op.into_values().flat_map(spread).collect()
}

struct Running {
    session: Session,
    program: Executable,
}

impl Running {
    fn new(device: &Device, sample: &Sample) -> Running {
        let mut session = Session::new(device);
        let program = session.compile(&sample.graph(false).expect("it is traced")).expect("it is compiled");
        Running { session, program }
    }

    fn result(&mut self, inputs: &[Tensor]) -> Vec<f64> {
        let names: Vec<String> = self.program.schedule().inputs.iter().map(|(name, _)| name.clone()).collect();
        let all = inputs.iter().enumerate().map(|(place, tensor)| (format!("x{place}"), Input::from(tensor)));
        let known: Vec<(String, Input<'_>)> = all.filter(|(name, _)| names.contains(name)).collect();
        let known: Vec<(&str, Input<'_>)> = known.iter().map(|(name, input)| (name.as_str(), *input)).collect();
        self.session.run(&mut self.program, &known, StepScalars::default()).expect("it runs");
        self.session.output_f64(&mut self.program, "y").expect("it is an output")
    }
}

/// The inputs with one element replaced: each f32 input in turn, at some places.
fn replaced(sample: &Sample, value: f32) -> Vec<(String, Vec<Tensor>)> {
    let mut all = Vec::new();
    for place in sample.real_inputs() {
        let tensor = &sample.inputs[place];
        let count = tensor.shape().elements();
        let mut elements: Vec<usize> = (0..PLACES).map(|part| part * (count - 1) / (PLACES - 1)).collect();
        elements.dedup();
        for element in elements {
            let mut values = tensor.as_f32().expect("it is f32").to_vec();
            values[element] = value;
            let mut inputs = sample.inputs.clone();
            inputs[place] = Tensor::from_f32(tensor.shape().clone(), &values).expect("it has its shape");
            all.push((format!("element {element} of input {place}"), inputs));
        }
    }
    all
}

/// Puts the value into every sample; `alike` compares a device's result with the oracle's. Returns in how many elements
/// the oracle's result was no finite number.
fn check(device: &Device, value: f32, alike: impl Fn(f64, f64) -> bool) -> usize {
    let (mut wrong, mut reached) = (Vec::new(), 0);
    for sample in chosen() {
        let mut oracle = Running::new(&Device::oracle(), &sample);
        let mut running = Running::new(device, &sample);
        for (what, inputs) in replaced(&sample, value) {
            let (expected, found) = (oracle.result(&inputs), running.result(&inputs));
            reached += expected.iter().filter(|result| !result.is_finite()).count();
            let differs = |place: &usize| !alike(expected[*place], found[*place]);
            if let Some(place) = (0..expected.len()).find(differs) {
                let Sample { op, label, .. } = &sample;
                let (expected, found) = (expected[place], found[place]);
                wrong.push(format!("{op} ({label}), {what}: result {place} is {found:?}, the oracle's {expected:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{value:?} on {}, {} wrong:\n{}", device.name(), wrong.len(), wrong.join("\n"));
    reached
}

fn nan_alike(expected: f64, found: f64) -> bool {
    expected.is_nan() == found.is_nan()
}

#[test]
fn the_cpu_keeps_nan() {
    assert!(check(&Device::cpu(), f32::NAN, nan_alike) > 1000);
}

#[test]
fn the_gpu_keeps_nan() {
    let Some(device) = common::gpu() else { return };
    assert!(check(&device, f32::NAN, nan_alike) > 1000);
}

/// Of infinite numbers WGSL promises nothing, but the CPU computes as IEEE 754 has it.
#[test]
fn the_cpu_keeps_infinity() {
    let alike = |expected: f64, found: f64| {
        let beyond = expected.abs() > f64::from(f32::MAX);
        if beyond || expected.is_nan() || !found.is_finite() {
            (expected.is_nan() && found.is_nan()) || (beyond && found == expected.signum() * f64::INFINITY)
        } else {
            true
        }
    };
    for value in [f32::INFINITY, f32::NEG_INFINITY] {
        assert!(check(&Device::cpu(), value, alike) > 500);
    }
}

#[test]
fn every_operator_of_real_numbers_is_among_the_samples() {
    let known: Vec<&str> = chosen().iter().map(|sample| sample.op).collect();
    let takes_real = |name: &&str| samples().iter().any(|s| s.op == *name && !s.real_inputs().is_empty());
    let missing: Vec<&str> =
        nn_core::ops::names().into_iter().filter(takes_real).filter(|n| !known.contains(n)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(samples().iter().all(|s| s.inputs.iter().all(|input| input.kind().dtype != DType::F16)));
}
