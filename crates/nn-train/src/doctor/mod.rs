//! The doctor: what a device must compute right, each operator on its own, fused and in a training run.
//!
//! Every launch is compared with the f64 oracle on the device's own inputs, as [`Check::Every`] does.

mod fusion;
mod training;

use nn_core::ops::samples::{Sample, samples};
use nn_core::{Check, DType, Device, Error, Input, Session, StepScalars};
use std::collections::BTreeMap;

/// Elements that a sample may have in a short examination: what a software adapter computes in no time.
const SHORT_ELEMENTS: usize = 600;
/// Samples of one operator in a short examination.
const SHORT_SAMPLES: usize = 3;
/// Chains of fused operators.
const CHAINS: [u64; 2] = [6, 24];

/// What an examination found out about one operator, about fusion, or about training.
#[derive(Clone, Debug)]
pub struct Examined {
    /// The operator's name; `fusion`, `training` or `repetition` for what is about none.
    pub op: String,
    /// The type of the numbers that go in.
    pub dtype: &'static str,
    /// How many uses were computed; one forward and one with gradients are two.
    pub cases: usize,
    /// The error that comes nearest to its tolerance.
    pub max_error: f64,
    /// The tolerance at that place.
    pub tolerance: f64,
    /// How it went.
    pub outcome: Outcome,
}

/// How an examination went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every result is as near to the oracle's as the rule of accuracy demands.
    Pass,
    /// One is not, or the device failed: where, and both values.
    Fail(String),
    /// The device cannot run it: why.
    Unsupported(String),
}

impl Examined {
    fn new(op: &str, dtype: DType) -> Examined {
        let (cases, max_error, tolerance, outcome) = (0, 0.0, 0.0, Outcome::Pass);
        Examined { op: op.to_string(), dtype: dtype.name(), cases, max_error, tolerance, outcome }
    }

    /// How much of its tolerance the error takes; above 1 it is wrong.
    pub fn share(&self) -> f64 {
        share(self.max_error, self.tolerance)
    }

    /// Keeps the error that comes nearest to its tolerance.
    fn note(&mut self, error: f64, tolerance: f64) {
        let noted = (self.max_error, self.tolerance);
        if noted == (0.0, 0.0) || share(error, tolerance) > share(noted.0, noted.1) {
            (self.max_error, self.tolerance) = (error, tolerance);
        }
    }

    /// Takes up what a session compared, and how its run ended.
    fn take_up(&mut self, label: &str, session: &mut Session, ended: Result<(), Error>) {
        self.cases += 1;
        for compared in session.take_check_report().ops() {
            self.note(compared.max_error, compared.tolerance);
        }
        match ended {
            Ok(()) => {}
            // Refused before anything ran: no fault of the device's arithmetic.
            Err(error) if error.is_limit() => {
                if self.outcome == Outcome::Pass {
                    self.outcome = Outcome::Unsupported(format!("{label}: {error}"));
                }
            }
            Err(error) => self.fail(format!("{label}: {error}")),
        }
    }

    /// The first failure stays.
    fn fail(&mut self, why: String) {
        if !matches!(self.outcome, Outcome::Fail(_)) {
            self.outcome = Outcome::Fail(why);
        }
    }
}

fn share(error: f64, tolerance: f64) -> f64 {
    if error == 0.0 { 0.0 } else { error / tolerance }
}

/// Examines a device: samples of every operator, forward and with gradients; chains of operators as the code generator
/// fuses them; and a short training run, against the CPU's and against itself. With `all`, every sample and more chains.
///
/// `progress` hears what comes next, how much is done, and how much there is.
pub fn examine(device: &Device, all: bool, mut progress: impl FnMut(&str, usize, usize)) -> Vec<Examined> {
    let mut by_op: BTreeMap<(&'static str, DType), Vec<Sample>> = BTreeMap::new();
    for sample in samples() {
        by_op.entry((sample.op, dtype(&sample))).or_default().push(sample);
    }
    let total = by_op.len() + 2;
    let mut findings = Vec::with_capacity(total + 1);
    for ((op, dtype), samples) in &by_op {
        progress(op, findings.len(), total);
        findings.push(operator(device, Examined::new(op, *dtype), &chosen(samples, all)));
    }
    progress("fusion", findings.len(), total);
    findings.push(chains(device, CHAINS[usize::from(all)]));
    progress("training", findings.len(), total);
    findings.extend(training::examine(device));
    findings
}

/// The samples to run: all, or some small ones from the whole list, since those after each other are alike.
fn chosen(samples: &[Sample], all: bool) -> Vec<&Sample> {
    if all {
        return samples.iter().collect();
    }
    let elements = |sample: &Sample| sample.inputs.iter().map(|input| input.shape().elements()).sum::<usize>();
    let mut small: Vec<&Sample> = samples.iter().filter(|sample| elements(sample) <= SHORT_ELEMENTS).collect();
    if small.is_empty() {
        small.extend(samples.iter().min_by_key(|sample| elements(sample)));
    }
    let every = small.len().div_ceil(SHORT_SAMPLES).max(1);
    small.into_iter().step_by(every).collect()
}

/// Real numbers if any go in, else what the first input is.
fn dtype(sample: &Sample) -> DType {
    let mut dtypes = sample.inputs.iter().map(|input| input.kind().dtype);
    let first = dtypes.next().unwrap_or(DType::F32);
    if dtypes.any(|dtype| dtype == DType::F32) { DType::F32 } else { first }
}

fn operator(device: &Device, mut finding: Examined, samples: &[&Sample]) -> Examined {
    for sample in samples {
        for gradients in [false, true] {
            if gradients && !sample.smooth {
                continue;
            }
            let mut session = Session::new(device);
            session.set_check(Some(Check::Every));
            let ended = sample.run(&mut session, gradients).map(|_| ());
            let what = if gradients { ", with gradients" } else { "" };
            finding.take_up(&format!("{}{what}", sample.label), &mut session, ended);
        }
    }
    finding
}

fn chains(device: &Device, count: u64) -> Examined {
    let mut finding = Examined::new("fusion", DType::F32);
    for number in 0..count {
        let mut session = Session::new(device);
        session.set_check(Some(Check::Every));
        let ended = chain(&mut session, number);
        finding.take_up(&format!("chain {number}"), &mut session, ended);
    }
    finding
}

fn chain(session: &mut Session, number: u64) -> Result<(), Error> {
    let fusion::Chain { graph, inputs } = fusion::chain(number)?;
    let mut program = session.compile(&graph)?;
    let names: Vec<String> = program.schedule().inputs.iter().map(|(name, _)| name.clone()).collect();
    let inputs = inputs.iter().enumerate().map(|(place, tensor)| (format!("x{place}"), Input::from(tensor)));
    let inputs: Vec<(String, Input<'_>)> = inputs.filter(|(name, _)| names.contains(name)).collect();
    let inputs: Vec<(&str, Input<'_>)> = inputs.iter().map(|(name, input)| (name.as_str(), *input)).collect();
    session.run(&mut program, &inputs, StepScalars::new(1, 7, 0.0)).map(|_| ())
}
