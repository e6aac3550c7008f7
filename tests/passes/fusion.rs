//! Fusion: what joins, and what does not; and the launches of normalisations.

use nn_core::DType;
use nn_core::graph::{self, Graph, Value};
use nn_core::passes::{ScheduleOptions, differentiate, schedule};
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

/// The launches of a normalisation of `x` over the axes with parameters of the given shape, each by its kernel or the
/// operators that it joins; followed by a ReLU, or up to the gradients of x, weight and bias.
fn launches(axes: &[usize], parameter: &[usize], backward: bool) -> Vec<String> {
    let graph = graph::trace(|trace| {
        let leaf = |name: &str, shape: &[usize]| trace.state(name, DType::F32, shape);
        let (x, weight, bias) = (leaf("x", &[6, 4, 5, 3]), leaf("weight", parameter), leaf("bias", parameter));
        let y = x.normalise(axes, 1e-5, Some(weight), Some(bias));
        if backward {
            // A loss whose gradient by y is read, not computed.
            trace.output("loss", (y * trace.input("dy", DType::F32, [6, 4, 5, 3])).sum_all());
        } else {
            trace.output("y", y.relu());
        }
        Ok(())
    });
    let mut graph = graph.unwrap();
    if backward {
        graph = differentiate(&graph, "loss", &["x", "weight", "bias"]).unwrap();
        graph.outputs.retain(|(name, _)| name != "loss");
    }
    let graph = nn_core::passes::simplify(&graph).unwrap();
    let schedule = scheduled(&graph, true, 8);
    let ops = |launch: &nn_core::schedule::Launch| match &launch.work {
        nn_core::schedule::Work::Kernel(node) => schedule.graph.node(*node).op().unwrap().name().to_string(),
        nn_core::schedule::Work::Fused(fused) => {
            let names = fused.instructions.iter().map(|member| schedule.graph.node(member.node).op().unwrap().name());
            names.collect::<Vec<_>>().join(" ")
        }
    };
    schedule.launches.iter().map(ops).collect()
}

#[test]
fn a_normalisation_is_two_launches_with_what_follows() {
    let fused = "subtract multiply multiply add relu";
    for (axes, parameter) in [(&[0, 2, 3][..], &[4, 1, 1][..]), (&[2, 3], &[5, 3]), (&[3], &[3])] {
        assert_eq!(launches(axes, parameter, false), ["moments", fused]);
    }
}

#[test]
fn its_gradients_take_one_launch_for_the_sums_where_parameters_and_statistics_are_shared_alike() {
    // The gradients of weight and bias are views of the sums: as outputs they get copies.
    let copies = ["contiguous"; 2];
    let batch_norm = ["moments", "normalised_sums", "subtract multiply multiply add divide subtract multiply multiply"];
    assert_eq!(launches(&[0, 2, 3], &[4, 1, 1], true), [&batch_norm[..], &copies].concat());
    let dx = "multiply subtract multiply multiply add divide subtract multiply";
    let layer_norm = ["moments", "normalised_sums", "normalised_sums", dx];
    assert_eq!(launches(&[3], &[3], true), [&layer_norm[..], &copies].concat());
}
