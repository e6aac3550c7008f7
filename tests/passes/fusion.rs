//! Fusion: what joins, and what does not.

use nn_core::DType;
use nn_core::graph::{self, Graph, Value};
use nn_core::passes::{ScheduleOptions, schedule};
use nn_core::schedule::Schedule;

fn scheduled(graph: &Graph, fuse: bool, max_buffers: usize) -> Schedule {
    schedule(graph, ScheduleOptions { fuse, max_buffers }).unwrap()
}

fn chain() -> Graph {
    let graph = graph::trace(|trace| {
        let x = trace.input("x", DType::F32, [4, 5]);
        trace.output("y", ((x * 2.0).tanh() + x).exp());
        Ok(())
    });
    graph.unwrap()
}

/// Σ of many inputs: joined as far as the buffers reach.
fn wide(count: usize) -> Graph {
    let graph = graph::trace(|trace| {
        let inputs: Vec<Value> = (0..count).map(|number| trace.input(&format!("x{number}"), DType::F32, [7])).collect();
        let sum = inputs[1..].iter().fold(inputs[0], |sum, &input| sum * 0.5 + input);
        trace.output("y", sum);
        Ok(())
    });
    graph.unwrap()
}

#[test]
fn neighbours_become_one_launch() {
    assert_eq!(scheduled(&chain(), true, 8).launches.len(), 1);
    assert_eq!(scheduled(&chain(), false, 8).launches.len(), 4);
}

#[test]
fn a_reduction_in_between_keeps_launches_apart() {
    let graph = graph::trace(|trace| {
        let x = trace.input("x", DType::F32, [4, 5]);
        let y = x.exp();
        trace.output("y", y / y.sum(&[1]).reshape([4, 1]));
        Ok(())
    });
    assert_eq!(scheduled(&graph.unwrap(), true, 8).launches.len(), 3);
}

#[test]
fn groups_stop_at_the_buffer_limit() {
    assert_eq!(scheduled(&wide(7), true, 8).launches.len(), 1, "seven inputs and one output are eight");
    assert_eq!(scheduled(&wide(8), true, 8).launches.len(), 2);
    assert_eq!(scheduled(&wide(30), true, 31).launches.len(), 1);
}
