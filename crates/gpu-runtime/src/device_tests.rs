use super::*;
use crate::{BufferId, BufferRole, BufferSpec, Output, Plan, Program};
use std::collections::HashMap;

#[test]
fn a_lost_device_gives_errors_and_no_panic() {
    let Ok(device) = Device::open(&Choice::Name("llvmpipe".to_string()), &DeviceOptions::default()) else {
        assert!(std::env::var("WGRAD_REQUIRE_GPU").as_deref() != Ok("1"), "no adapter");
        println!("skipped: no adapter");
        return;
    };
    let x = BufferSpec { label: "x".to_string(), bytes: 8, role: BufferRole::Input("x".to_string()) };
    let output = Output { name: "x".to_string(), buffer: BufferId(0), bytes: 8, streamed: true };
    let program = Program { buffers: vec![x], outputs: vec![output], ..Program::default() };
    let mut plan = Plan::new(&device, Arc::new(program), &HashMap::new()).unwrap();
    let buffer = device.buffer("before", 4).unwrap();
    plan.run(&[0; 16]).unwrap();
    device.raw().destroy();
    let lost = |result: Result<(), Error>| {
        let error = result.expect_err("the device is gone");
        assert!(matches!(error, Error::Lost { .. } | Error::Device { .. }), "{error}");
    };
    for _ in 0..6 {
        // A run that was submitted before may still end well; none after it may.
        let _ = plan.results(false);
        let _ = plan.run(&[0; 16]);
    }
    lost(plan.run(&[0; 16]).map(|_| ()));
    lost(plan.results(true).map(|_| ()));
    lost(plan.read_output("x").map(|_| ()));
    lost(buffer.read().map(|_| ()));
    lost(buffer.write(&[0; 4]));
    lost(device.buffer("after", 4).map(|_| ()));
}

#[test]
fn a_panic_inside_the_driver_layer_becomes_an_error() {
    let Err(message) = fenced::<()>(|| std::panic::panic_any("entered unreachable code")) else {
        panic!("the fence let a panic through");
    };
    assert!(message.ends_with("entered unreachable code"), "{message}");
}
