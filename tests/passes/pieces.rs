//! Programs for bindings so small that nearly every launch is cut in pieces still mean the same as their graphs.

use crate::common;
use crate::interpreter::{assert_close, interpret};
use crate::random_graph::{leaves, random_graph, run};
use gpu_runtime::{Choice, DeviceOptions};
use nn_core::passes::{ScheduleOptions, lower, schedule};
use nn_core::{Device, Error};

/// As for programs that are not cut.
const SINGLE: f64 = 1e-3;

#[test]
fn programs_in_pieces_mean_the_same_as_their_graphs() {
    let Some(whole) = common::gpu() else { return };
    let smallest = u64::from(whole.as_gpu().unwrap().limits().storage_alignment.max(64));
    let options = DeviceOptions { max_binding_bytes: Some(smallest), ..DeviceOptions::default() };
    let small = Device::open(&Choice::Name(whole.name()), &options).unwrap();
    let (mut pieces, mut refused) = (0, 0);
    for (seed, fuse) in (0..60).flat_map(|seed| [(seed, true), (seed, false)]) {
        let (graph, leaves) = (random_graph(seed), leaves(seed));
        let options = ScheduleOptions { fuse, max_buffers: 8 };
        let scheduled = schedule(&graph, options).unwrap();
        let program = match lower(&scheduled, small.as_gpu().unwrap().limits()) {
            Ok(program) => program,
            // A row of softmax may be longer than a binding.
            Err(Error::Gpu(gpu_runtime::Error::TooLarge { .. })) => {
                refused += 1;
                continue;
            }
            Err(error) => panic!("seed {seed}: {error}"),
        };
        pieces += program.launches.len() - scheduled.launches.len();
        let (outputs, updates) = interpret(&graph, &leaves);
        let found = run(&small, options, &graph, &leaves);
        assert_close(&format!("seed {seed}, fuse {fuse}"), &found.0, &outputs, SINGLE);
        assert_close(&format!("seed {seed}, fuse {fuse}"), &found.1, &updates, SINGLE);
    }
    println!("{pieces} more launches, {refused} of 120 programs refused");
    // The graphs' tensors are small: bindings of 256 bytes, WebGPU's least, cut fewer of them than bindings of 64.
    let expected = if smallest > 64 { 100 } else { 300 };
    assert!(pieces > expected && refused < 60, "{pieces} more launches, {refused} of 120 programs refused");
}
