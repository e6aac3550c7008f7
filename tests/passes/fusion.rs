//! Fusion: what joins, and that no launch binds more buffers than it may.

use crate::mlp::Mlp;
use crate::random_graph::random_graph;
use gpu_runtime::Limits;
use nn_core::DType;
use nn_core::graph::{self, Graph, Value};
use nn_core::passes::{ScheduleOptions, lower, schedule};
use nn_core::schedule::{Place, Schedule, Work};
use std::collections::HashSet;

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

#[test]
fn no_launch_binds_more_buffers_than_allowed() {
    let mlp = Mlp { batch: 4, inputs: 5, hidden: 6, classes: 3 }.step().unwrap();
    let graphs: Vec<Graph> = (0..100).map(random_graph).chain([mlp, wide(30)]).collect();
    for (number, graph) in graphs.iter().enumerate() {
        // A single operator, `select`, binds up to four.
        for max_buffers in 4..=8 {
            let schedule = scheduled(graph, true, max_buffers);
            for launch in schedule.launches.iter().filter(|launch| matches!(launch.work, Work::Fused(_))) {
                let operands = launch.inputs.iter().chain(&launch.outputs);
                let places: HashSet<Place> = operands.map(|operand| operand.place).collect();
                assert!(places.len() <= max_buffers, "graph {number}: {} binds {places:?}", launch.label);
            }
            let program = lower(&schedule, &Limits::WEBGPU_DEFAULT).unwrap();
            for kernel in program.kernels.iter().filter(|kernel| kernel.name == "fused") {
                assert!(kernel.storage_bindings().count() <= max_buffers, "graph {number}:\n{}", kernel.source);
            }
        }
    }
}
