//! What several tests share.

use gpu_runtime::Limits;
use nn_core::Device;

/// A GPU to test on: the best hardware, else any adapter. Without one the test prints that it is skipped, or fails
/// where `WGRAD_REQUIRE_GPU=1` demands one.
pub(crate) fn gpu() -> Option<Device> {
    let any = || {
        let adapter = gpu_runtime::adapters().into_iter().next()?;
        Device::from_name(&format!("gpu:{}", adapter.name)).ok()
    };
    let device = Device::gpu().ok().or_else(any);
    if device.is_none() {
        assert!(
            std::env::var("WGRAD_REQUIRE_GPU").as_deref() != Ok("1"),
            "WGRAD_REQUIRE_GPU=1, but there is no adapter"
        );
        println!("skipped: no adapter");
    }
    // The lane with WebGPU's default limits is one: the device has no more.
    if let (Some(device), Ok("1")) = (&device, std::env::var("WGRAD_MINIMUM_LIMITS").as_deref())
        && let Some(gpu) = device.as_gpu()
    {
        let Limits { memory_budget, max_loop_iterations, .. } = *gpu.limits();
        assert_eq!(*gpu.limits(), Limits { memory_budget, max_loop_iterations, ..Limits::WEBGPU_DEFAULT });
    }
    device
}
