//! `simplify`: what it drops, and that the graph still means the same.

use nn_core::graph::{self, Graph, NodeKind, Trace, Value};
use nn_core::passes::simplify;
use nn_core::{DType, Device, Error, Input, Session, StepScalars, Tensor};

fn traced(function: impl FnOnce(&Trace, Value) -> Value) -> Graph {
    let graph = graph::trace(|trace| {
        let x = trace.input("x", DType::F32, [2, 3]);
        trace.output("y", function(trace, x));
        Ok(())
    });
    graph.unwrap()
}

/// The operators left after simplifying, in order.
fn operators(graph: &Graph) -> Vec<&'static str> {
    graph.nodes().iter().filter_map(|node| node.op().map(|op| op.name())).collect()
}

fn simplified(function: impl FnOnce(&Trace, Value) -> Value) -> Vec<&'static str> {
    operators(&simplify(&traced(function)).unwrap())
}

#[test]
fn folds_arithmetic_on_constants() {
    let graph = simplify(&traced(|_, x| x + (x.full_like(3.0) * 2.0 + 1.0).exp())).unwrap();
    assert_eq!(operators(&graph), ["broadcast", "add"]);
    let constants = graph.nodes().iter().filter_map(|node| match &node.kind {
        NodeKind::Constant(bytes) => Some(f32::from_ne_bytes(bytes.as_ref().as_ref().try_into().unwrap())),
        _ => None,
    });
    assert_eq!(constants.collect::<Vec<_>>(), [7.0_f32.exp()]);
}

#[test]
fn keeps_random_numbers_of_different_streams_apart() {
    let graph = traced(|trace, x| x + trace.random_uniform([2, 3], 1) + trace.random_uniform([2, 3], 2));
    let left = operators(&simplify(&graph).unwrap());
    assert_eq!(left.iter().filter(|name| **name == "random_bits").count(), 2, "streams differ, so do the numbers");
}

#[test]
fn removes_duplicates() {
    assert_eq!(simplified(|_, x| x.exp() + x.exp()), ["exp", "add"]);
    assert_eq!(simplified(|_, x| x.sum(&[0]) * x.sum(&[0])), ["sum", "multiply"]);
    // Equal but for an attribute is not equal.
    assert_eq!(simplified(|_, x| x.sum(&[0]).sum_all() * x.sum(&[1]).sum_all()).len(), 5);
    assert_eq!(
        simplified(|_, x| x.pad(&[(0, 1), (0, 0)], 0.0) - x.pad(&[(0, 1), (0, 0)], 1.0)),
        ["pad", "pad", "subtract"]
    );
}

/// Gradients of slices that share out a value need no zeros, and no sums.
#[test]
fn joins_parts_amid_zeros() {
    let parts = |x: Value, axis: usize, places: &[usize]| {
        let shape = x.shape();
        let part = |&place: &usize| {
            let mut sizes = shape.to_vec();
            sizes[axis] = 1;
            let mut around = vec![(0, 0); 2];
            around[axis] = (place, shape[axis] - place - 1);
            (x * place as f32).sum(&[axis]).reshape(sizes).pad(&around, 0.0)
        };
        places.iter().map(part).reduce(|sum, part| sum + part).unwrap()
    };
    let count = |name: &str, names: &[&str]| names.iter().filter(|found| **found == name).count();
    for (axis, places, [concats, pads, adds]) in [
        (1, &[0, 1, 2][..], [1, 0, 0]),
        (1, &[2, 1, 0], [1, 0, 0]),
        (1, &[1, 2, 0], [1, 0, 0]),
        (1, &[0, 2, 1], [1, 0, 0]),
        (1, &[0, 2, 0, 1], [1, 1, 1]),
        (0, &[1, 0], [1, 0, 0]),
        // What is left over stays zero.
        (1, &[1, 2], [1, 1, 0]),
        // Not side by side, and one on the other.
        (1, &[0, 2], [0, 2, 1]),
        (1, &[1, 1], [0, 1, 1]),
    ] {
        let graph = traced(|_, x| parts(x, axis, places));
        let left = simplified(|_, x| parts(x, axis, places));
        let found = [count("concat", &left), count("pad", &left), count("add", &left)];
        assert_eq!(found, [concats, pads, adds], "{places:?} along {axis}: {left:?}");
        let mut session = Session::new(&Device::cpu());
        let x: Vec<f32> = (0..6).map(|x| x as f32 + 0.5).collect();
        let mut program = session.compile(&graph).unwrap();
        session.run(&mut program, &[("x", Input::F32(&x))], StepScalars::default()).unwrap();
        let found = session.output(&mut program, "y").unwrap();
        let shape = [2, 3];
        let expected = (0..6).map(|index| {
            let at = [index / 3, index % 3];
            let line = (0..shape[axis]).map(|place| x[if axis == 0 { place * 3 + at[1] } else { at[0] * 3 + place }]);
            let times = places.iter().filter(|place| **place == at[axis]).count();
            (times * at[axis]) as f32 * line.sum::<f32>()
        });
        assert_eq!(found.as_f32().unwrap(), expected.collect::<Vec<_>>(), "{places:?} along {axis}");
    }
    // Zeros of another kind, other zeros around, and an element between.
    let kept = |around: [(usize, usize); 2], value: f32| {
        simplified(|_, x| x.pad(&[(0, 0), (0, 3)], 0.0) + x.exp().pad(&around, value))
    };
    assert_eq!(kept([(0, 0), (3, 0)], 0.0), ["exp", "concat"]);
    assert_eq!(kept([(0, 0), (3, 0)], -0.0), ["pad", "exp", "pad", "add"]);
    assert_eq!(simplified(|_, x| x.pad(&[(0, 1), (0, 3)], 0.0) + x.exp().pad(&[(1, 0), (3, 0)], 0.0)).len(), 4);
}

#[test]
fn drops_dead_nodes_and_unread_inputs() {
    let graph = traced(|trace, x| {
        let _unread = trace.input("z", DType::F32, [9]).tanh();
        x.relu()
    });
    let graph = simplify(&graph).unwrap();
    assert_eq!(operators(&graph), ["relu"]);
    assert_eq!(graph.inputs().len(), 1);
}

#[test]
fn drops_views_and_factors_that_change_nothing() {
    assert_eq!(simplified(|_, x| x.reshape([2, 3]).permute(&[0, 1]).slice(&[0, 0], [2, 3]).relu()), ["relu"]);
    assert_eq!(simplified(|_, x| (x * 1.0 / 1.0).contiguous().relu()), ["relu"]);
    // x + 0 is not x: −0 + 0 is 0.
    assert_eq!(simplified(|_, x| (x + 0.0).relu()), ["broadcast", "add", "relu"]);
    assert_eq!(simplified(|_, x| x.permute(&[1, 0]).relu()), ["permute", "relu"]);
}

#[test]
fn keeps_a_state_that_is_only_written() -> Result<(), Error> {
    let graph = graph::trace(|trace| {
        let x = trace.input("x", DType::F32, [3]);
        trace.state("kept", DType::F32, [3]);
        trace.update("kept", x * 2.0);
        Ok(())
    })?;
    let mut session = Session::new(&Device::cpu());
    session.set_state("kept", &Tensor::from_f32([3], &[0.0; 3])?)?;
    let mut program = session.compile(&graph)?;
    session.run(&mut program, &[("x", Input::F32(&[1.0, 2.0, 3.0]))], StepScalars::default())?;
    assert_eq!(session.state("kept")?.as_f32()?, [2.0, 4.0, 6.0]);
    Ok(())
}
