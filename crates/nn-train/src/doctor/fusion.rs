//! Chains of elementwise operators for the doctor: what the code generator fuses into one kernel.

use cpu_reference::philox::Philox;
use nn_core::graph::{self, Graph, Trace};
use nn_core::{DType, Error, Shape, Tensor, Value};

/// Operators in one chain.
const LENGTH: usize = 14;

type Unary = fn(Value) -> Value;
type Binary = fn(Value, Value) -> Value;

/// Operators that map moderate numbers to moderate numbers.
const UNARY: [Unary; 12] = [
    |x| x.tanh(),
    |x| x.sigmoid(),
    |x| x.relu(),
    |x| x.silu(),
    |x| x.gelu(),
    |x| x.softplus(),
    |x| x.tanh().exp(),
    |x| (x.abs() + 1.0).log(),
    |x| (x * x + 0.5).sqrt(),
    |x| x.elu(0.7),
    |x| -x,
    |x| x.floor(),
];
const BINARY: [Binary; 7] = [
    |a, b| a + b,
    |a, b| a - b,
    |a, b| a.tanh() * b,
    |a, b| a / (b.abs() + 1.0),
    |a, b| a.maximum(b),
    |a, b| a.minimum(b),
    |a, b| a.less(b).select(a * 0.5, b),
];

/// One chain: its graph, and its inputs `x0`, `x1`, `x2`.
pub(super) struct Chain {
    pub(super) graph: Graph,
    pub(super) inputs: Vec<Tensor>,
}

/// The chain of this number: over a whole tensor, a transposed one and one row repeated, so that every way to read an
/// input is in it, with random numbers in some.
pub(super) fn chain(number: u64) -> Result<Chain, Error> {
    let mut random = Philox::new(number, 5);
    let [rows, columns] = [1 + random.below(40) as usize, 1 + random.below(40) as usize];
    let shapes = [Shape::from([rows, columns]), Shape::from([columns, rows]), Shape::from([1, columns])];
    let mut tensor = |shape: &Shape| {
        let values: Vec<f32> = (0..shape.elements()).map(|_| 6.0 * random.uniform() - 3.0).collect();
        Tensor::from_f32(shape.clone(), &values)
    };
    let inputs = shapes.iter().map(&mut tensor).collect::<Result<Vec<_>, _>>()?;
    let mut pick = move |below: usize| random.below(below as u32) as usize;
    let graph = graph::trace(|trace: &Trace| {
        let [whole, turned, row] = [0, 1, 2].map(|place| {
            let shape: &Shape = &shapes[place];
            trace.input(&format!("x{place}"), DType::F32, shape.clone())
        });
        let mut values = vec![whole, turned.transpose(), row.broadcast_to([rows, columns])];
        if number.is_multiple_of(3) {
            values.push(trace.random_uniform(Shape::from([rows, columns]), number as u32));
        }
        for _ in 0..LENGTH {
            // Mostly from the youngest values: then the chain is long and not wide.
            let young = values.len().saturating_sub(3);
            let a = values[young + pick(values.len() - young)];
            let b = values[pick(values.len())];
            let next = if pick(2) == 0 { UNARY[pick(UNARY.len())](a) } else { BINARY[pick(BINARY.len())](a, b) };
            values.push(next);
        }
        trace.output("last", values[values.len() - 1]);
        trace.output("middle", values[values.len() - LENGTH / 2]);
        Ok(())
    })?;
    Ok(Chain { graph, inputs })
}
