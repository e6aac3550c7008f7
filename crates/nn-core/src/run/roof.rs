//! What a device can do at best, as measured on it.

use super::device::{Device, Kind};
use crate::Error;

/// The rates that no kernel exceeds whose operands do not stay in caches: [`Device::roof`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Roof {
    /// Bytes read and written by a copy of a large buffer, a second.
    pub bytes_per_second: f64,
    /// Operations of independent `f32` multiply-adds a second, two for each.
    pub flops_per_second: f64,
}

impl Roof {
    /// The least time for so many operations and bytes, in seconds.
    pub fn seconds(&self, flops: u64, bytes: u64) -> f64 {
        (flops as f64 / self.flops_per_second).max(bytes as f64 / self.bytes_per_second)
    }
}

impl Device {
    /// Measures what the device can do at best (Williams et al. 2009, the roofline model); takes about a second.
    ///
    /// # Errors
    /// If the device fails.
    pub fn roof(&self) -> Result<Roof, Error> {
        let (bytes_per_second, flops_per_second) = match &self.0 {
            Kind::Cpu(_) => (cpu_reference::roof::copy_rate(), cpu_reference::roof::multiply_add_rate()),
            Kind::Gpu(device) => (gpu_runtime::roof::copy_rate(device)?, gpu_runtime::roof::multiply_add_rate(device)?),
        };
        Ok(Roof { bytes_per_second, flops_per_second })
    }
}
