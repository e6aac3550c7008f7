//! Runs launch by launch, and kernels changed on purpose.

use crate::common::{accumulate, bytes, device, floats, step};
use gpu_runtime::{BufferId, Choice, Device, DeviceOptions, Error, Output, Plan, Tamper};
use std::collections::HashMap;
use std::sync::Arc;

/// `total += 2·x + step` over three elements; both buffers come back from every run.
fn plan(device: &Device) -> Plan {
    let mut program = accumulate(3);
    let output = |name: &str, buffer| Output { name: name.into(), buffer: BufferId(buffer), bytes: 12, streamed: true };
    program.outputs = vec![output("scaled", 1), output("total", 2)];
    let states = HashMap::from([("total".to_string(), device.buffer("total", 12).unwrap())]);
    let plan = Plan::new(device, Arc::new(program), &states).unwrap();
    plan.write_input("x", &bytes(&[1.0, 2.0, 3.0])).unwrap();
    plan
}

#[test]
fn launches_can_be_run_and_their_buffers_looked_at_one_by_one() {
    let Some(device) = device() else { return };
    let mut whole = plan(&device);
    whole.run(&step(0.5)).unwrap();
    whole.run(&step(0.25)).unwrap();
    let expected = whole.results(true).unwrap();
    let mut plan = plan(&device);
    plan.run(&step(0.5)).unwrap();
    let read = |plan: &Plan, id| floats(&plan.buffer(BufferId(id)).unwrap().read().unwrap());
    assert_eq!((read(&plan, 1), read(&plan, 2)), (vec![2.5, 4.5, 6.5], vec![2.5, 4.5, 6.5]));
    plan.run_launches(&step(0.25), 0..1).unwrap();
    assert_eq!((read(&plan, 1), read(&plan, 2)), (vec![2.25, 4.25, 6.25], vec![2.5, 4.5, 6.5]));
    plan.run_launches(&step(0.25), 1..1).unwrap();
    // The second launch alone needs its own pipeline.
    plan.run_launches(&step(0.25), 1..2).unwrap();
    assert_eq!(read(&plan, 2), [4.75, 8.75, 12.75]);
    assert_eq!(plan.end_run(&step(0.25)).unwrap(), 1);
    assert_eq!(plan.results(true).unwrap(), expected);
    assert!(matches!(plan.run_launches(&step(0.0), 1..3), Err(Error::Internal { .. })));
    assert!(plan.buffer(BufferId(3)).is_none());
}

#[test]
fn launches_that_share_a_pipeline_can_be_run_from_any_of_them() {
    let Some(device) = device() else { return };
    let mut program = accumulate(3);
    // The third launch finds its pipeline two launches before it.
    let again = program.launches[1].clone();
    program.launches.extend([again.clone(), again]);
    let total = device.buffer("total", 12).unwrap();
    let states = HashMap::from([("total".to_string(), total.clone())]);
    let mut plan = Plan::new(&device, Arc::new(program), &states).unwrap();
    plan.write_input("x", &bytes(&[1.0, 2.0, 3.0])).unwrap();
    plan.run_launches(&step(0.0), 0..1).unwrap();
    plan.run_launches(&step(0.0), 3..4).unwrap();
    assert_eq!(floats(&total.read().unwrap()), [2.0, 4.0, 6.0]);
}

#[test]
fn the_front_of_a_buffer_is_read_and_written_alone() {
    let Some(device) = device() else { return };
    let buffer = device.buffer("numbers", 12).unwrap();
    buffer.write(&bytes(&[1.0, 2.0, 3.0])).unwrap();
    buffer.write_front(&bytes(&[4.0, 5.0])).unwrap();
    assert_eq!(floats(&buffer.read_front(8).unwrap()), [4.0, 5.0]);
    assert_eq!(floats(&buffer.read().unwrap()), [4.0, 5.0, 3.0]);
    for wrong in [6, 16] {
        assert!(matches!(buffer.read_front(wrong), Err(Error::Internal { .. })), "{wrong} bytes");
        assert!(matches!(buffer.write_front(&vec![0; wrong as usize]), Err(Error::Internal { .. })), "{wrong} bytes");
    }
}

#[test]
fn a_tampered_device_compiles_the_changed_text() {
    if device().is_none() {
        return;
    }
    let tamper = Tamper::new(|name, source| (name == "scale").then(|| source.replace("parameters.factor *", "3.0 +")));
    let options = DeviceOptions { tamper: Some(tamper), ..DeviceOptions::default() };
    let device = Device::open(&Choice::Name("llvmpipe".to_string()), &options).unwrap();
    let mut plan = plan(&device);
    plan.run(&step(0.5)).unwrap();
    assert_eq!(floats(&plan.read_output("total").unwrap()), [4.5, 5.5, 6.5]);
}
