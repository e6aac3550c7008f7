//! State updates whose old values are still needed: swaps, transposes, later readers. On every device.

use crate::common;
use nn_core::graph::{self, Graph, Trace};
use nn_core::passes::ScheduleOptions;
use nn_core::{DType, Device, Error, Session, StepScalars, Tensor};

/// Runs a graph over the states `p` and `q` of shape `[2, 2]`, `runs` times, and reads both and the outputs.
fn run(device: &Device, fuse: bool, graph: &Graph, runs: u32) -> Vec<Vec<f32>> {
    let mut session = Session::with_options(device, ScheduleOptions { fuse, max_buffers: 8 });
    for (name, values) in [("p", [1.0, 2.0, 3.0, 4.0]), ("q", [10.0, 20.0, 30.0, 40.0])] {
        session.set_state(name, &Tensor::from_f32([2, 2], &values).unwrap()).unwrap();
    }
    let mut program = session.compile(graph).unwrap();
    for step in 1..=runs {
        session.run(&mut program, &[], StepScalars::new(step, 0, 0.0)).unwrap();
    }
    let states = ["p", "q"].map(|name| session.state(name).unwrap());
    let outputs = graph.outputs.iter().map(|(name, _)| session.output(&mut program, name).unwrap());
    states.into_iter().chain(outputs).map(|tensor| tensor.as_f32().unwrap().to_vec()).collect()
}

/// Whole numbers: every device must give exactly these.
#[track_caller]
fn assert_states(runs: u32, expected: &[[f32; 4]], function: impl FnOnce(&Trace)) {
    let graph = graph::trace(|trace| {
        function(trace);
        Ok::<(), Error>(())
    });
    let graph = graph.unwrap();
    for device in [Some(Device::cpu()), Some(Device::oracle()), common::gpu()].into_iter().flatten() {
        for fuse in [true, false] {
            assert_eq!(run(&device, fuse, &graph, runs), expected, "{device:?}, fuse {fuse}");
        }
    }
}

#[test]
fn two_states_swap() {
    let swap = |trace: &Trace| {
        let [p, q] = ["p", "q"].map(|name| trace.state(name, DType::F32, [2, 2]));
        trace.update("p", q);
        trace.update("q", p);
    };
    assert_states(1, &[[10.0, 20.0, 30.0, 40.0], [1.0, 2.0, 3.0, 4.0]], swap);
    assert_states(2, &[[1.0, 2.0, 3.0, 4.0], [10.0, 20.0, 30.0, 40.0]], swap);
    assert_states(3, &[[10.0, 20.0, 30.0, 40.0], [1.0, 2.0, 3.0, 4.0]], swap);
}

#[test]
fn two_states_swap_through_transposes() {
    assert_states(1, &[[10.0, 30.0, 20.0, 40.0], [2.0, 6.0, 4.0, 8.0]], |trace| {
        let [p, q] = ["p", "q"].map(|name| trace.state(name, DType::F32, [2, 2]));
        trace.update("p", q.transpose());
        trace.update("q", p.transpose() * 2.0);
    });
}

#[test]
fn the_old_state_is_read_after_its_update_was_computed() {
    // y needs the new q, which needs the new p; and y needs the old p.
    let [p, q] = [[2.0, 3.0, 4.0, 5.0], [12.0, 23.0, 34.0, 45.0]];
    let y = [12.0 + 34.0 * 2.0, 23.0 + 45.0 * 2.0, 12.0 * 3.0 + 34.0 * 4.0, 23.0 * 3.0 + 45.0 * 4.0];
    assert_states(1, &[p, q, y], |trace| {
        let [p, q] = ["p", "q"].map(|name| trace.state(name, DType::F32, [2, 2]));
        let new_p = p + 1.0;
        let new_q = q + new_p;
        trace.update("p", new_p);
        trace.update("q", new_q);
        trace.output("y", p.matmul(new_q));
    });
}

#[test]
fn another_launch_reads_the_old_state() {
    assert_states(2, &[[3.0, 4.0, 5.0, 6.0], [13.0, 27.0, 35.0, 49.0], [2.0, 4.0, 3.0, 5.0]], |trace| {
        let [p, q] = ["p", "q"].map(|name| trace.state(name, DType::F32, [2, 2]));
        trace.update("p", p + 1.0);
        trace.update("q", q + p.transpose());
        trace.output("y", p.transpose() * 1.0);
    });
}

#[test]
fn an_update_reads_its_own_state_through_a_transpose() {
    assert_states(1, &[[3.0, 8.0, 7.0, 12.0], [10.0, 20.0, 30.0, 40.0]], |trace| {
        let p = trace.state("p", DType::F32, [2, 2]);
        trace.state("q", DType::F32, [2, 2]);
        trace.update("p", p.transpose() * 2.0 + p);
    });
}

#[test]
fn a_value_is_read_in_two_ways_by_its_last_reader() {
    // Neither sum may be written over the product that it reads, though nobody needs that any more.
    let doubled = [[2.0, 5.0, 5.0, 8.0], [10.0, 20.0, 30.0, 40.0], [40.0, 60.0, 40.0, 60.0]];
    assert_states(1, &doubled, |trace| {
        let [p, q] = ["p", "q"].map(|name| trace.state(name, DType::F32, [2, 2]));
        let one = trace.constant(&Tensor::from_f32([2, 2], &[1.0, 0.0, 0.0, 1.0]).unwrap());
        let product = p.matmul(one);
        trace.update("p", product.transpose() + product);
        let product = q.matmul(one);
        let rows = product.slice(&[0, 0], [1, 2]) + product.slice(&[1, 0], [1, 2]);
        trace.output("y", rows.broadcast_to([2, 2]).contiguous());
    });
}

#[test]
fn an_output_equals_an_updated_state() {
    assert_states(2, &[[3.0, 4.0, 5.0, 6.0], [1.0, 2.0, 3.0, 4.0], [3.0, 4.0, 5.0, 6.0]], |trace| {
        let p = trace.state("p", DType::F32, [2, 2]);
        trace.state("q", DType::F32, [2, 2]);
        let next = p + 1.0;
        trace.update("p", next);
        trace.update("q", p - 1.0);
        trace.output("y", next);
    });
}

#[test]
fn integers_change_their_type_in_place() {
    assert_states(1, &[[1.0, 2.0, 3.0, 4.0], [10.0, 20.0, 30.0, 40.0], [1.0, 1.0, 1.0, 1.0]], |trace| {
        let p = trace.state("p", DType::F32, [2, 2]);
        trace.state("q", DType::F32, [2, 2]);
        let place = p.reshape([4, 1]).concat(&[(p * 2.0).reshape([4, 1])], 1).argmax(1);
        // Two launches on purpose: u32 to i32 may overwrite the slot that argmax made.
        trace.output("y", place.to_i32().to_f32().reshape([2, 2]).contiguous());
    });
}
