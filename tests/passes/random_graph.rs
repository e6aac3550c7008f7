//! Random small graphs that tempt the passes: views of views, duplicates, constants, dead nodes, state updates.

use crate::interpreter::Named;
use cpu_reference::philox::Philox;
use nn_core::graph::{self, Graph, Trace, Value};
use nn_core::passes::ScheduleOptions;
use nn_core::{DType, Device, Input, Session, StepScalars, Tensor};
use std::collections::HashMap;

const INPUTS: [(&str, &[usize]); 3] = [("a", &[3, 4]), ("b", &[4]), ("c", &[2, 3, 4])];
const STATES: [(&str, &[usize]); 3] = [("p", &[3, 4]), ("q", &[3, 4]), ("square", &[3, 3])];

/// The most elements of a value.
const LARGEST: usize = 400;

/// The graph of a seed. Values stay near 1, so that rounding errors do.
pub(crate) fn random_graph(seed: u64) -> Graph {
    let mut random = Philox::new(seed, 1);
    graph::trace(|trace| {
        let mut pool: Vec<Value> =
            INPUTS.iter().map(|(name, shape)| trace.input(name, DType::F32, shape.to_vec())).collect();
        pool.extend(STATES.iter().map(|(name, shape)| trace.state(name, DType::F32, shape.to_vec())));
        for _ in 0..24 {
            let value = trace.scoped(["left", "right"][random.below(2) as usize], || grow(trace, &mut random, &pool));
            if value.shape().elements() <= LARGEST {
                pool.push(value);
            }
        }
        let pick = |random: &mut Philox| pool[random.below(pool.len() as u32) as usize];
        trace.output("last", pool[pool.len() - 1]);
        trace.output("same", pool[pool.len() - 1]);
        trace.output("some", pick(&mut random));
        trace.output("other", pick(&mut random));
        for (name, shape) in STATES {
            let fitting: Vec<Value> = pool.iter().copied().filter(|value| value.shape()[..] == *shape).collect();
            let chosen = fitting[random.below(fitting.len() as u32) as usize];
            if random.below(4) > 0 {
                trace.update(name, chosen);
            }
        }
        Ok(())
    })
    .unwrap()
}

/// One more value made of the pool's.
fn grow(trace: &Trace, random: &mut Philox, pool: &[Value]) -> Value {
    let mut pick = || pool[random.below(pool.len() as u32) as usize];
    let (x, y) = (pick(), pick());
    let shape = x.shape();
    let rank = shape.rank();
    let y_shape = y.shape();
    let binary = |work: fn(Value, Value) -> Value| {
        let fits = shape.broadcast(&y_shape).is_some_and(|common| common.elements() <= LARGEST);
        if fits { work(x, y) } else { work(x, x) }
    };
    match random.below(28) {
        0 => x.tanh(),
        1 => x.sigmoid(),
        2 => x.relu(),
        3 => -x,
        4 => x * 1.0,
        5 => x.contiguous() + 0.0,
        6 => x + x.full_like(0.25).exp() * 0.5,
        7 => (x * 0.5).tanh() + (x * 0.5).tanh(),
        8 => binary(|x, y| x + y).tanh(),
        9 => binary(|x, y| x * y).tanh(),
        10 => binary(|x, y| x - y).sigmoid(),
        11 => binary(Value::maximum),
        12 if rank > 0 => x.mean(&[random.below(rank as u32) as usize]),
        13 if rank > 0 => x.sum(&[0]).tanh(),
        14 if rank > 0 => x.max(&[rank - 1]),
        15 => x.sum(&[]) * 0.5,
        16 if rank >= 2 => x.transpose(),
        17 if rank >= 2 => x.transpose().transpose(),
        18 => x.reshape([shape.elements()]),
        19 if shape.elements().is_multiple_of(12) => {
            x.reshape([shape.elements() / 12, 3, 4]).reshape([shape.elements() / 4, 4])
        }
        20 if rank >= 1 && shape[0] >= 2 => {
            let mut starts = vec![0; rank];
            let mut sizes = shape.to_vec();
            (starts[0], sizes[0]) = (1, shape[0] - 1);
            x.slice(&starts, sizes)
        }
        21 if rank >= 1 => x.concat(&[x.tanh(), x], 0),
        22 if rank == 2 => x.pad(&[(0, 1), (1, 0)], 0.5),
        23 if rank >= 2 => x.matmul(x.transpose()).tanh(),
        24 if rank >= 1 => x.softmax(rank - 1),
        // One buffer read in two ways by one launch, which may not work in place.
        26 if rank == 2 && shape[0] == shape[1] => x.tanh().transpose() + x.tanh(),
        27 if rank >= 1 && shape[0].is_multiple_of(2) => {
            let (mut starts, mut half) = (vec![0; rank], shape.to_vec());
            half[0] /= 2;
            let first = x.tanh().slice(&starts, half.clone());
            starts[0] = half[0];
            first - x.tanh().slice(&starts, half)
        }
        // A mask that no rounding error can turn: it compares an input with a number.
        25 => trace.input("b", DType::F32, [4]).less(0.125).select(trace.scalar(0.5), trace.scalar(-0.5)),
        _ => x.abs().sqrt() * 0.5,
    }
}

/// Inputs and states of every random graph.
pub(crate) fn leaves(seed: u64) -> Named {
    let mut random = Philox::new(seed, 2);
    let mut values =
        |shape: &[usize]| (0..shape.iter().product()).map(|_| f64::from(random.normal() as f32)).collect::<Vec<f64>>();
    INPUTS.iter().chain(&STATES).map(|(name, shape)| (name.to_string(), values(shape))).collect()
}

/// The outputs and the updated states of one run in a session.
pub(crate) fn run(device: &Device, options: ScheduleOptions, graph: &Graph, leaves: &Named) -> (Named, Named) {
    let narrow: HashMap<&str, Vec<f32>> = leaves
        .iter()
        .map(|(name, values)| (name.as_str(), values.iter().map(|&value| value as f32).collect()))
        .collect();
    let mut session = Session::with_options(device, options);
    for (name, kind) in graph.states() {
        session.set_state(name, &Tensor::from_f32(kind.shape.clone(), &narrow[name]).unwrap()).unwrap();
    }
    let mut program = session.compile(graph).unwrap();
    let names: Vec<String> = program.schedule().inputs.iter().map(|(name, _)| name.clone()).collect();
    let inputs: Vec<(&str, Input<'_>)> =
        names.iter().map(|name| (name.as_str(), Input::F32(&narrow[name.as_str()]))).collect();
    session.run(&mut program, &inputs, StepScalars::default()).unwrap();
    let outputs = graph.outputs.iter().map(|(name, _)| {
        let values = session.output_f64(&mut program, name).unwrap();
        (name.clone(), values)
    });
    let outputs = outputs.collect();
    let wide = |tensor: &Tensor| tensor.as_f32().unwrap().iter().map(|&value| f64::from(value)).collect();
    let updates = graph.updates.iter().map(|(name, _)| (name.clone(), wide(&session.state(name).unwrap())));
    (outputs, updates.collect())
}
