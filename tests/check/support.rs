//! Runs with checks on, and devices that compute wrong.

use crate::common;
use cpu_reference::philox::Philox;
use gpu_runtime::{Choice, DeviceOptions, Tamper};
use nn_core::graph::{self, Graph, Trace};
use nn_core::{
    Check, CheckReport, DType, Device, Error, Executable, Fault, Finding, Input, Session, StepScalars, Tensor,
};

/// The CPU, and a GPU if there is one.
pub(crate) fn devices() -> Vec<Device> {
    [Some(Device::cpu()), common::gpu()].into_iter().flatten().collect()
}

pub(crate) fn traced(function: impl FnOnce(&Trace)) -> Graph {
    let graph = graph::trace(|trace| {
        function(trace);
        Ok::<(), Error>(())
    });
    graph.unwrap()
}

/// A GPU whose driver compiles `to` where the text of the kernel `name` says `from`, in kernels that also say
/// `context`.
pub(crate) fn broken(
    name: &'static str,
    context: &'static str,
    from: &'static str,
    to: &'static str,
) -> Option<Device> {
    let whole = common::gpu()?;
    let tamper = Tamper::new(move |kernel, source| {
        let hit = kernel == name && source.contains(context) && source.contains(from);
        hit.then(|| source.replace(from, to))
    });
    let options = DeviceOptions { tamper: Some(tamper), ..DeviceOptions::default() };
    Some(Device::open(&Choice::Name(whole.name()), &options).unwrap())
}

/// A tensor for each input of a program: random numbers, or indices below 3.
fn batch(program: &Executable, seed: u64) -> Vec<(String, Tensor)> {
    let mut random = Philox::new(seed, 4);
    let inputs = program.schedule().inputs.iter().map(|(name, kind)| {
        let count = kind.shape.elements();
        let tensor = match kind.dtype {
            DType::F32 => {
                let values: Vec<f32> = (0..count).map(|_| random.normal() as f32).collect();
                Tensor::from_f32(kind.shape.clone(), &values)
            }
            _ => Tensor::from_u32(kind.shape.clone(), &(0..count).map(|_| random.below(3)).collect::<Vec<_>>()),
        };
        (name.clone(), tensor.unwrap())
    });
    inputs.collect()
}

/// A session with every state of the graph set to small random numbers, the same every time.
pub(crate) fn session(device: &Device, graph: &Graph) -> Session {
    let mut random = Philox::new(7, 0);
    let mut session = Session::new(device);
    for (name, kind) in graph.states() {
        let values: Vec<f32> = (0..kind.shape.elements()).map(|_| 0.3 * random.normal() as f32).collect();
        session.set_state(name, &Tensor::from_f32(kind.shape.clone(), &values).unwrap()).unwrap();
    }
    session
}

pub(crate) fn step(session: &mut Session, program: &mut Executable, number: u32) -> Result<u64, Error> {
    let tensors = batch(program, u64::from(number));
    let inputs: Vec<(&str, Input<'_>)> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.into())).collect();
    session.run(program, &inputs, StepScalars::new(number, 11, 0.05))
}

/// Three steps under a check: all outputs and states, and what was compared.
pub(crate) fn three_steps(
    device: &Device,
    graph: &Graph,
    check: Option<Check>,
) -> Result<(Vec<Tensor>, CheckReport), Error> {
    let mut session = session(device, graph);
    let mut program = session.compile(graph)?;
    session.set_check(check);
    let mut left = Vec::new();
    for number in 1..=3 {
        step(&mut session, &mut program, number)?;
        for (name, _) in &graph.outputs {
            left.push(session.output(&mut program, name)?);
        }
    }
    let results = session.results(&mut program, true)?;
    assert_eq!(results.iter().map(|result| result.run).collect::<Vec<_>>(), [0, 1, 2], "each run gives its results");
    let names: Vec<String> = session.states().iter().map(|(name, _)| name.clone()).collect();
    for name in names {
        left.push(session.state(&name)?);
    }
    Ok((left, session.take_check_report()))
}

/// What a check finds; a run that passes is a failure.
#[track_caller]
pub(crate) fn found(device: &Device, graph: &Graph, check: Check) -> Finding {
    match three_steps(device, graph, Some(check)) {
        Err(Error::Check(finding)) => {
            println!("{finding}");
            *finding
        }
        Err(other) => panic!("another error on {device:?}: {other}"),
        Ok(_) => panic!("nothing was found on {device:?}"),
    }
}

/// That a finding is a wrong result of `op` in `scope`, wholly described.
#[track_caller]
pub(crate) fn assert_differs(finding: &Finding, op: &str, scope: &str) {
    assert_eq!((finding.op.as_str(), finding.scope.as_str()), (op, scope), "{finding}");
    let Fault::Differs { expected, tolerance, differing } = finding.fault else { panic!("{finding}") };
    assert!(differing > 0 && expected.is_finite() && tolerance.is_finite(), "{finding}");
    assert!((finding.found - expected).abs() > tolerance, "{finding}");
    let shape = &finding.outputs[finding.output].shape;
    assert_eq!(finding.element.len(), shape.rank(), "{finding}");
    assert!(finding.element.iter().zip(shape.iter()).all(|(index, size)| index < size), "{finding}");
    let text = finding.to_string();
    for part in [op, scope, &finding.label, &finding.device, &format!("{:?}", finding.element)] {
        assert!(text.contains(part), "{text} lacks {part}");
    }
}
