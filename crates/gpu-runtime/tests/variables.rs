//! What variables decide about a device; alone in its process, because it sets them.

use gpu_runtime::{Choice, Device, DeviceOptions, Error, Limits};

#[allow(unsafe_code)]
fn set(variable: &str, value: &str) {
    // SAFETY: this process runs one test, on one thread, and has loaded no driver yet or is between opens.
    unsafe { std::env::set_var(variable, value) }
}

#[test]
fn the_budget_counts_what_is_alive_and_limits_can_be_the_least() {
    set("LP_NUM_THREADS", "0");
    set("WGRAD_MEMORY_BUDGET", "lots");
    let choice = Choice::Name("llvmpipe".to_string());
    let error = Device::open(&choice, &DeviceOptions::default()).unwrap_err();
    assert!(error.to_string().contains("WGRAD_MEMORY_BUDGET=\"lots\""), "{error}");
    set("WGRAD_MEMORY_BUDGET", "1000");
    let device = match Device::open(&choice, &DeviceOptions::default()) {
        Ok(device) => device,
        Err(error) => {
            assert!(std::env::var("WGRAD_REQUIRE_GPU").as_deref() != Ok("1"), "{error}");
            println!("skipped: no adapter");
            return;
        }
    };
    assert_eq!(device.limits().memory_budget, Some(1000));
    let first = device.buffer("first", 600).unwrap();
    let before = device.counters();
    let error = device.buffer("second", 404).unwrap_err();
    assert!(matches!(error, Error::OverBudget { bytes: 1004, budget: 1000, .. }), "{error}");
    assert!(error.to_string().contains("\"second\""), "{error}");
    assert_eq!(device.counters(), before);
    let second = device.buffer("second", 400).unwrap();
    assert_eq!(first.read().unwrap(), [0; 600], "reading back needs no budget");
    drop(first);
    let third = device.buffer("third", 600).unwrap();
    assert_eq!(second.bytes() + third.bytes(), device.counters().bytes_alive);

    set("WGRAD_MINIMUM_LIMITS", "yes");
    let error = Device::open(&choice, &DeviceOptions::default()).unwrap_err();
    assert!(error.to_string().contains("WGRAD_MINIMUM_LIMITS=\"yes\""), "{error}");
    set("WGRAD_MINIMUM_LIMITS", "1");
    let least = Device::open(&choice, &DeviceOptions::default()).unwrap();
    let Limits { memory_budget, max_loop_iterations, .. } = *least.limits();
    assert_eq!(*least.limits(), Limits { memory_budget, max_loop_iterations, ..Limits::WEBGPU_DEFAULT });
}
