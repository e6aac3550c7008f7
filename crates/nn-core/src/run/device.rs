//! Where programs run: the CPU, or one GPU.

use crate::Error;
use crate::graph::Precision;
use gpu_runtime::{Choice, DeviceOptions};

/// A place to run programs. Cheap to clone.
#[derive(Clone)]
pub struct Device(pub(super) Kind);

#[derive(Clone)]
pub(super) enum Kind {
    Cpu(Precision),
    Gpu(gpu_runtime::Device),
}

/// How many threads the CPU's kernels run on.
pub fn cpu_threads() -> usize {
    cpu_reference::threads()
}

/// Sets how many threads the CPU's kernels run on; 0: as many as there are cores, or as `RAYON_NUM_THREADS` says. Results
/// are the same for any number.
///
/// Where there are two or more, the calling thread becomes one of them, which saves handing each step over to another:
/// call this on the thread that trains.
///
/// # Errors
/// If kernels ran already, or the system gives no threads.
pub fn set_cpu_threads(threads: usize) -> Result<(), Error> {
    cpu_reference::set_threads(threads).map_err(Error::Usage)
}

impl Device {
    /// The best hardware GPU if there is one that can be opened, else the CPU.
    pub fn auto() -> Device {
        Device::gpu().unwrap_or_else(|_| Device::cpu())
    }

    /// The CPU in single precision, on all cores (the variable `RAYON_NUM_THREADS` limits them).
    pub fn cpu() -> Device {
        Device(Kind::Cpu(Precision::F32))
    }

    /// The CPU in double precision, unfused: what other devices are checked against.
    pub fn oracle() -> Device {
        Device(Kind::Cpu(Precision::F64))
    }

    /// The best hardware GPU.
    ///
    /// # Errors
    /// If there is none; the message lists the adapters that exist.
    pub fn gpu() -> Result<Device, Error> {
        Device::open(&Choice::BestHardware, &DeviceOptions::default())
    }

    /// A GPU by choice and options, for tests and tools.
    ///
    /// # Errors
    /// If no adapter fits, or it cannot be opened.
    pub fn open(choice: &Choice, options: &DeviceOptions) -> Result<Device, Error> {
        Ok(Device(Kind::Gpu(gpu_runtime::Device::open(choice, options)?)))
    }

    /// The device that a user names: `auto`, `cpu`, `gpu`, or `gpu:` and a part of an adapter's name.
    ///
    /// # Errors
    /// If the name is none of these, or the GPU does not exist.
    pub fn from_name(name: &str) -> Result<Device, Error> {
        match name.split_once(':') {
            None if name == "auto" => Ok(Device::auto()),
            None if name == "cpu" => Ok(Device::cpu()),
            None if name == "gpu" => Device::gpu(),
            Some(("gpu", part)) if !part.is_empty() => {
                Device::open(&Choice::Name(part.to_string()), &DeviceOptions::default())
            }
            _ => Err(Error::Usage(format!(
                "unknown device {name:?}; use auto, cpu, gpu, or gpu: and a part of an adapter's name (see `wgrad devices`)"
            ))),
        }
    }

    /// The device's name: `cpu`, or the adapter's name.
    pub fn name(&self) -> String {
        match &self.0 {
            Kind::Cpu(Precision::F32) => "cpu".into(),
            Kind::Cpu(Precision::F64) => "cpu (f64 oracle)".into(),
            Kind::Gpu(device) => device.info().name.clone(),
        }
    }

    /// The GPU behind this device, for tools that look closer.
    pub fn as_gpu(&self) -> Option<&gpu_runtime::Device> {
        match &self.0 {
            Kind::Gpu(device) => Some(device),
            Kind::Cpu(_) => None,
        }
    }
}

impl std::fmt::Debug for Device {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Device({})", self.name())
    }
}
