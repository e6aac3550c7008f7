//! Buffers, and state that launches change in place and plans share.

use crate::common::{accumulate, bytes, device, floats, fresh_device, step};
use gpu_runtime::{BufferId, Choice, Device, DeviceOptions, Error, Limits, Output, Plan, adapters};
use std::collections::HashMap;
use std::sync::Arc;

#[test]
fn state_changes_in_place_over_a_hundred_runs_in_two_plans() {
    let Some(device) = fresh_device() else { return };
    let total = device.buffer("total", 4 * 100).unwrap();
    total.write(&bytes(&[0.25; 100])).unwrap();
    let states = HashMap::from([("total".to_string(), total.clone())]);
    let program = Arc::new(accumulate(100));
    let mut first = Plan::new(&device, program.clone(), &states).unwrap();
    let mut second = Plan::new(&device, program, &states).unwrap();
    assert_eq!(device.counters().pipelines_created, 2, "plans share pipelines");
    let x: Vec<f32> = (0..100).map(|index| index as f32).collect();
    first.write_input("x", &bytes(&x)).unwrap();
    for run in 0..100 {
        first.run(&step(1.0)).unwrap();
        if run % 10 == 0 {
            second.run(&step(0.5)).unwrap(); // its input is zero: adds one half
        }
    }
    // Every value is a small multiple of 1/4, so that f32 is exact.
    let right: Vec<f32> = x.iter().map(|x| 0.25 + 100.0 * (2.0 * x + 1.0) + 10.0 * 0.5).collect();
    assert_eq!(floats(&total.read().unwrap()), right);
    assert_eq!(first.results(true).unwrap().len(), 100);
}

#[test]
fn outputs_may_be_states_and_parts_of_buffers() {
    let Some(device) = device() else { return };
    let total = device.buffer("total", 12).unwrap();
    total.write(&bytes(&[1.0, 2.0, 3.0])).unwrap();
    let mut program = accumulate(3);
    program.outputs = vec![Output { name: "front".to_string(), buffer: BufferId(2), bytes: 8, streamed: false }];
    let plan = Plan::new(&device, Arc::new(program), &HashMap::from([("total".to_string(), total)])).unwrap();
    assert_eq!(floats(&plan.read_output("front").unwrap()), [1.0, 2.0], "making a plan leaves states alone");
}

#[test]
fn buffers_keep_what_was_written_and_begin_with_zeros() {
    let Some(device) = device() else { return };
    let buffer = device.buffer("odd", 6).unwrap();
    assert_eq!(buffer.bytes(), 8);
    assert_eq!(buffer.read().unwrap(), [0; 8]);
    buffer.write(&[1, 2, 3, 4, 5, 6]).unwrap();
    assert_eq!(buffer.read().unwrap(), [1, 2, 3, 4, 5, 6, 0, 0]);
    assert!(matches!(buffer.write(&[0; 4]), Err(Error::WrongLength { expected: 8, given: 4, .. })));
    assert!(matches!(buffer.write(&[0; 9]), Err(Error::WrongLength { expected: 8, given: 9, .. })));
    assert!(matches!(device.buffer("none", 0), Err(Error::Internal(_))));
    let large: Vec<u8> = (0..5u32 << 20).map(|index| (index % 251) as u8).collect();
    let buffer = device.buffer("large", large.len() as u64).unwrap();
    buffer.write(&large).unwrap();
    assert!(buffer.read().unwrap() == large);
}

#[test]
fn a_buffer_beyond_the_limits_is_refused_before_it_is_made() {
    let Some(device) = fresh_device() else { return };
    let before = device.counters();
    let limit = device.limits().max_buffer_bytes;
    let bytes = limit.checked_add(4).expect("llvmpipe has limits");
    let error = device.buffer("huge", bytes).unwrap_err();
    assert!(matches!(&error, Error::TooLarge { label, .. } if label == "huge"), "{error}");
    assert!(matches!(device.buffer("absurd", u64::MAX), Err(Error::TooLarge { .. })));
    assert_eq!(device.counters(), before);
    let buffer = device.buffer("small", 16).unwrap();
    assert_eq!(device.counters().bytes_alive, before.bytes_alive + 16);
    drop(buffer);
    assert_eq!(device.counters().bytes_alive, before.bytes_alive);
}

#[test]
fn devices_are_chosen_by_name_and_software_is_never_hardware() {
    if device().is_none() {
        return;
    }
    let found = adapters();
    assert!(found.iter().any(|adapter| adapter.name.contains("llvmpipe")));
    let kinds: Vec<_> = found.iter().map(|adapter| adapter.kind).collect();
    assert!(kinds.is_sorted(), "best first: {kinds:?}");
    let options = DeviceOptions { minimum_limits: true, ..DeviceOptions::default() };
    let least = Device::open(&Choice::Name("LLVMPIPE".to_string()), &options).unwrap();
    let max_loop_iterations = least.limits().max_loop_iterations;
    assert_eq!(least.limits(), &Limits { max_loop_iterations, ..Limits::WEBGPU_DEFAULT });
    let lower = DeviceOptions { max_binding_bytes: Some(4096), max_buffer_bytes: Some(u64::MAX), ..options.clone() };
    let lowered = Device::open(&Choice::Name("llvmpipe".to_string()), &lower).unwrap();
    assert_eq!(lowered.limits(), &Limits { max_binding_bytes: 4096, ..*least.limits() }, "never raised");
    let error = Device::open(&Choice::Name("no such card".to_string()), &options).unwrap_err();
    assert!(error.to_string().contains("llvmpipe"), "tells what there is: {error}");
    if let Ok(best) = Device::open(&Choice::BestHardware, &options) {
        assert_ne!(best.info().kind, gpu_runtime::AdapterKind::Software);
    }
}
