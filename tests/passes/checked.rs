//! Random graphs under a check: whatever the passes group, every launch and every member gives what its inputs say.

use crate::common;
use crate::random_graph::{leaves, random_graph};
use nn_core::passes::ScheduleOptions;
use nn_core::{Check, Device, Input, Session, StepScalars, Tensor};

/// Two runs of the graph of each seed; prints the largest part that an operator takes of the error it may make.
fn check(device: &Device, seeds: u64) {
    let (mut share, mut cases) = (0.0_f64, 0);
    for seed in 0..seeds {
        let graph = random_graph(seed);
        let values = |name: &str| leaves(seed)[name].iter().map(|&value| value as f32).collect::<Vec<f32>>();
        for fuse in [true, false] {
            let mut session = Session::with_options(device, ScheduleOptions { fuse, max_buffers: 8 });
            for (name, kind) in graph.states() {
                session.set_state(name, &Tensor::from_f32(kind.shape.clone(), &values(name)).unwrap()).unwrap();
            }
            let mut program = session.compile(&graph).unwrap();
            let given: Vec<(String, Vec<f32>)> =
                program.schedule().inputs.iter().map(|(name, _)| (name.clone(), values(name))).collect();
            let inputs: Vec<(&str, Input<'_>)> =
                given.iter().map(|(name, values)| (name.as_str(), Input::F32(values))).collect();
            session.set_check(Some(Check::Every));
            for step in 1..=2 {
                if let Err(error) = session.run(&mut program, &inputs, StepScalars::new(step, 0, 0.0)) {
                    panic!("seed {seed}, fuse {fuse}: {error}\n{}", program.schedule());
                }
            }
            share = session.check_report().ops().map(|op| op.share).fold(share, f64::max);
            cases += session.check_report().ops().map(|op| op.cases).sum::<u64>();
        }
    }
    println!("{}: {cases} cases, at most {share:.3} of what is allowed", device.name());
    assert!(cases > 20 * seeds);
}

#[test]
fn every_launch_of_random_graphs_is_right_on_the_cpu() {
    check(&Device::cpu(), 150);
}

#[test]
fn every_launch_of_random_graphs_is_right_on_the_gpu() {
    let Some(device) = common::gpu() else { return };
    check(&device, 20);
}
