//! `verify` finds each way in which a pass could break a graph.

use nn_core::graph::{self, Graph, Node, NodeKind, ValueId};
use nn_core::passes::verify;
use nn_core::tensor::{Bytes, TensorType};
use nn_core::{DType, Error};
use std::sync::Arc;

/// `y = relu(x)`, the state `s`, and its update.
fn sound() -> Graph {
    let graph = graph::trace(|trace| {
        let x = trace.input("x", DType::F32, [2, 3]);
        trace.output("y", x.relu());
        trace.update("s", trace.state("s", DType::F32, [2]) * 2.0);
        Ok(())
    });
    graph.unwrap()
}

fn f32_of<const N: usize>(shape: [usize; N]) -> TensorType {
    TensorType::new(DType::F32, shape)
}

/// A node like the graph's `relu` but for what the caller changes.
fn relu_like(graph: &Graph, change: impl FnOnce(&mut Node)) -> Node {
    let is_relu = |node: &&Node| node.op().is_some_and(|op| op.name() == "relu");
    let mut node = graph.nodes().iter().find(is_relu).unwrap().clone();
    change(&mut node);
    node
}

fn leaf(graph: &Graph, kind: NodeKind, output: TensorType) -> Node {
    relu_like(graph, |node| (node.kind, node.inputs, node.outputs) = (kind, Vec::new(), vec![output]))
}

#[track_caller]
fn assert_found(what: &str, change: impl FnOnce(&mut Graph)) {
    let mut graph = sound();
    verify(&graph).unwrap();
    change(&mut graph);
    let error = verify(&graph).expect_err(what);
    assert!(matches!(error, Error::Internal(_)), "{what}: {error}");
    assert!(error.to_string().contains(what), "expected {what:?} in: {error}");
}

#[test]
fn inputs_that_do_not_exist() {
    assert_found("which is not made before it", |graph| {
        let node = relu_like(graph, |node| node.inputs[0].output = 1);
        graph.push(node);
    });
}

#[test]
fn names_declared_twice() {
    assert_found("declared twice", |graph| {
        let node = leaf(graph, NodeKind::Input("x".into()), f32_of([2, 3]));
        graph.push(node);
    });
    assert_found("declared twice", |graph| {
        let node = leaf(graph, NodeKind::State("s".into()), f32_of([2]));
        graph.push(node);
    });
    // An input and a state may share a name.
    let mut graph = sound();
    let node = leaf(&graph, NodeKind::State("x".into()), f32_of([9]));
    graph.push(node);
    verify(&graph).unwrap();
}

#[test]
fn constants_of_the_wrong_length() {
    assert_found("holds 8 bytes as f32[3]", |graph| {
        let node = leaf(graph, NodeKind::Constant(Arc::new(Bytes::zeroed(8))), f32_of([3]));
        graph.push(node);
    });
}

#[test]
fn types_that_the_operator_does_not_make() {
    assert_found("claims", |graph| {
        let node = relu_like(graph, |node| node.outputs[0] = f32_of([3, 2]));
        graph.push(node);
    });
    assert_found("claims", |graph| {
        let node = relu_like(graph, |node| node.outputs.push(f32_of([2, 3])));
        graph.push(node);
    });
}

#[test]
fn inputs_that_the_operator_refuses() {
    assert_found("relu#", |graph| {
        let mask = leaf(graph, NodeKind::Input("mask".into()), TensorType::new(DType::U32, [2, 3]));
        let mask = ValueId { node: graph.push(mask), output: 0 };
        let node = relu_like(graph, |node| node.inputs[0] = mask);
        graph.push(node);
    });
}

#[test]
fn outputs_that_do_not_exist_or_come_twice() {
    assert_found("output \"z\"", |graph| {
        let absent = ValueId { output: 7, ..graph.outputs[0].1 };
        graph.outputs.push(("z".into(), absent));
    });
    assert_found("output \"y\"", |graph| graph.outputs.push(graph.outputs[0].clone()));
}

#[test]
fn updates_that_fit_no_state() {
    assert_found("update of \"t\"", |graph| graph.updates.push(("t".into(), graph.updates[0].1)));
    assert_found("update of \"s\"", |graph| graph.updates.push(graph.updates[0].clone()));
    assert_found("update of \"s\"", |graph| graph.updates[0].1 = graph.outputs[0].1);
    assert_found("update of \"s\"", |graph| graph.updates[0].1.output = 3);
}
