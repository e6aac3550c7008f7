//! What several tests share.

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
    device
}
