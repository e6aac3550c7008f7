//! Adapters and devices: choosing one, opening it, and noticing when it fails.

use crate::error::{Error, list};
use crate::limits::Limits;
use crate::pipeline::PipelineCache;
use crate::tamper::Tamper;
use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The variable that limits the bytes of all storage and uniform buffers of a device.
const MEMORY_BUDGET: &str = "WGRAD_MEMORY_BUDGET";

/// The variable that, set to 1, opens every device with no more than WebGPU's default limits: what runs so runs on every
/// WebGPU device.
const MINIMUM_LIMITS: &str = "WGRAD_MINIMUM_LIMITS";

/// What kind of hardware an adapter is, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AdapterKind {
    /// A graphics card with memory of its own.
    Discrete,
    /// A GPU that shares the processor's memory.
    Integrated,
    /// A share of a GPU inside a virtual machine.
    Virtual,
    /// The driver does not say.
    Other,
    /// The processor, made to look like a GPU: for checking, not for speed.
    Software,
}

/// What is known of an adapter without opening it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterInfo {
    /// The name that the driver gives.
    pub name: String,
    /// `vulkan`, `metal` or `dx12`.
    pub backend: String,
    /// The driver's name and version.
    pub driver: String,
    /// Kind of hardware.
    pub kind: AdapterKind,
    /// Names of its optional WebGPU features.
    pub features: Vec<String>,
    /// What it allows.
    pub limits: Limits,
}

/// Which adapter to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The best hardware GPU; never a software adapter.
    BestHardware,
    /// The best adapter whose name contains this text, whatever the case; may be a software adapter.
    Name(String),
}

/// How to open an adapter.
#[derive(Debug, Clone, Default)]
pub struct DeviceOptions {
    /// Ask only for what every WebGPU implementation gives, to check that a program runs anywhere.
    pub minimum_limits: bool,
    /// Stands in for a driver that computes wrong, to test that such a driver is found out.
    pub tamper: Option<Tamper>,
    /// Bind at most so many bytes at once, where the device allows more: small tensors then go the way of large ones.
    pub max_binding_bytes: Option<u64>,
    /// Make no buffer of more bytes, where the device allows more.
    pub max_buffer_bytes: Option<u64>,
}

/// How much was made on a device since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Buffers made, staging buffers included.
    pub buffers_created: u64,
    /// Bind groups made.
    pub bind_groups_created: u64,
    /// Pipelines compiled; a pipeline found in the cache does not count.
    pub pipelines_created: u64,
    /// Submits to the queue.
    pub submits: u64,
    /// Bytes of buffers alive now, without the staging buffers, which are host memory.
    pub bytes_alive: u64,
}

/// An open GPU; clones share it.
#[derive(Clone)]
pub struct Device {
    inner: Arc<Inner>,
}

struct Inner {
    raw: wgpu::Device,
    queue: wgpu::Queue,
    info: AdapterInfo,
    health: Arc<Health>,
    pipelines: Mutex<PipelineCache>,
    buffers_created: AtomicU64,
    bind_groups_created: AtomicU64,
    pipelines_created: AtomicU64,
    submits: AtomicU64,
    bytes_alive: AtomicU64,
}

/// What the driver's callbacks have reported; shared with them.
#[derive(Default)]
struct Health {
    lost: Mutex<Option<String>>,
    fault: Mutex<Option<String>>,
}

/// A lock whose data stays usable when another thread panicked while holding it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The adapters of this machine, best first; empty where there is no driver.
pub fn adapters() -> Vec<AdapterInfo> {
    pollster::block_on(adapters_async())
}

/// The adapters of this machine, best first; empty where there is no driver.
pub async fn adapters_async() -> Vec<AdapterInfo> {
    let budget = memory_budget().unwrap_or_default();
    let found = enumerate().await;
    found.iter().map(|adapter| describe(adapter, adapter.limits(), budget)).collect()
}

/// The door to the drivers of this machine.
fn instance() -> wgpu::Instance {
    #[cfg(target_os = "linux")]
    if let Some(instance) = instance_without_wayland() {
        return instance;
    }
    wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: wgpu::Backends::PRIMARY,
        // Without debug flags no layer is asked for, and none complains on standard error.
        flags: wgpu::InstanceFlags::empty(),
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    })
}

/// An instance that cannot draw to a Wayland window, which nothing here does.
///
/// With that extension, Mesa's device-selection layer looks for a compositor whenever adapters are listed,
/// and where there is none libwayland prints "error: XDG_RUNTIME_DIR is invalid" on standard error.
/// `None` without a Vulkan loader.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn instance_without_wayland() -> Option<wgpu::Instance> {
    use wgpu::hal::{InstanceDescriptor, api::Vulkan, vulkan};
    let descriptor = InstanceDescriptor {
        name: "wgrad",
        flags: wgpu::InstanceFlags::empty(),
        memory_budget_thresholds: wgpu::MemoryBudgetThresholds::default(),
        backend_options: wgpu::BackendOptions::default(),
        telemetry: None,
        display: None,
    };
    let without_wayland = |arguments: vulkan::CreateInstanceCallbackArgs| {
        arguments.extensions.retain(|name| name.to_bytes() != b"VK_KHR_wayland_surface");
    };
    // SAFETY: what is asked for is what wgpu asks for on a system without this extension. wgpu looks it up
    // in this same list before it makes a Wayland surface, its only use, and no surface is ever made here.
    let instance = unsafe { vulkan::Instance::init_with_callback(&descriptor, Some(Box::new(without_wayland))) };
    match instance {
        // SAFETY: just made, usable, and owned by nobody else.
        Ok(instance) => Some(unsafe { wgpu::Instance::from_hal::<Vulkan>(instance) }),
        Err(error) => {
            log::debug!("no Vulkan: {error}");
            None
        }
    }
}

/// Asks every backend for its adapters, best first.
async fn enumerate() -> Vec<wgpu::Adapter> {
    let made = catch_unwind(instance);
    let Ok(instance) = made else {
        log::warn!("the graphics driver failed while it was asked for its adapters");
        return Vec::new();
    };
    let mut found = instance.enumerate_adapters(wgpu::Backends::PRIMARY).await;
    // Stable: equal adapters stay in the driver's order, so that a choice does not change between runs.
    found.sort_by_key(|adapter| kind(adapter.get_info().device_type));
    found
}

fn kind(device_type: wgpu::DeviceType) -> AdapterKind {
    match device_type {
        wgpu::DeviceType::DiscreteGpu => AdapterKind::Discrete,
        wgpu::DeviceType::IntegratedGpu => AdapterKind::Integrated,
        wgpu::DeviceType::VirtualGpu => AdapterKind::Virtual,
        wgpu::DeviceType::Other => AdapterKind::Other,
        wgpu::DeviceType::Cpu => AdapterKind::Software,
    }
}

fn describe(adapter: &wgpu::Adapter, limits: wgpu::Limits, memory_budget: Option<u64>) -> AdapterInfo {
    let info = adapter.get_info();
    AdapterInfo {
        name: info.name,
        backend: info.backend.to_str().to_string(),
        driver: format!("{} {}", &info.driver, &info.driver_info).trim().to_string(),
        kind: kind(info.device_type),
        features: adapter.features().iter_names().map(|(name, _)| name.to_string()).collect(),
        limits: Limits {
            max_storage_buffers_per_stage: limits.max_storage_buffers_per_shader_stage,
            max_binding_bytes: limits.max_storage_buffer_binding_size,
            max_buffer_bytes: limits.max_buffer_size,
            max_workgroup_bytes: limits.max_compute_workgroup_storage_size,
            max_invocations: limits.max_compute_invocations_per_workgroup,
            max_groups_per_dimension: limits.max_compute_workgroups_per_dimension,
            uniform_alignment: limits.min_uniform_buffer_offset_alignment,
            storage_alignment: limits.min_storage_buffer_offset_alignment,
            memory_budget,
            max_loop_iterations: loop_limit(&info.driver, &info.driver_info),
        },
    }
}

/// llvmpipe of Mesa 22.3 silently ends an invocation after 65,535 loop iterations in all; that of Mesa 26 does not.
/// What lies between is taken to do so too.
fn loop_limit(driver: &str, version: &str) -> Option<u64> {
    let major = version.split_once("Mesa ").and_then(|(_, rest)| rest.split('.').next()?.parse::<u32>().ok());
    (driver == "llvmpipe" && major.is_none_or(|major| major < 26)).then_some(65_535)
}

fn minimum_limits() -> Result<bool, Error> {
    match std::env::var(MINIMUM_LIMITS).as_deref() {
        Err(_) | Ok("" | "0") => Ok(false),
        Ok("1") => Ok(true),
        Ok(value) => Err(Error::BadSetting { variable: MINIMUM_LIMITS, value: value.to_string(), wanted: "0 or 1" }),
    }
}

fn memory_budget() -> Result<Option<u64>, Error> {
    let Ok(value) = std::env::var(MEMORY_BUDGET) else {
        return Ok(None);
    };
    match value.trim().parse() {
        Ok(bytes) => Ok(Some(bytes)),
        Err(_) => Err(Error::BadSetting { variable: MEMORY_BUDGET, value, wanted: "a number of bytes" }),
    }
}

impl Device {
    /// Opens an adapter; see [`Device::open_async`].
    ///
    /// # Errors
    /// Those of [`Device::open_async`].
    pub fn open(choice: &Choice, options: &DeviceOptions) -> Result<Device, Error> {
        pollster::block_on(Device::open_async(choice, options))
    }

    /// Opens an adapter with all that it allows, or with the WebGPU defaults.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] where none fits the choice, [`Error::OpenFailed`] where the driver refuses,
    /// [`Error::BadSetting`] where `WGRAD_MEMORY_BUDGET` or `WGRAD_MINIMUM_LIMITS` cannot be understood.
    pub async fn open_async(choice: &Choice, options: &DeviceOptions) -> Result<Device, Error> {
        let budget = memory_budget()?;
        let minimum_limits = minimum_limits()? || options.minimum_limits;
        let found = enumerate().await;
        let fits = |info: &wgpu::AdapterInfo| match choice {
            Choice::BestHardware => kind(info.device_type) != AdapterKind::Software,
            Choice::Name(part) => info.name.to_lowercase().contains(&part.to_lowercase()),
        };
        let Some(adapter) = found.iter().find(|adapter| fits(&adapter.get_info())) else {
            let names: Vec<String> = found.iter().map(|adapter| adapter.get_info().name).collect();
            let wanted = match choice {
                Choice::BestHardware => "a hardware GPU".to_string(),
                Choice::Name(part) => format!("the name \"{part}\""),
            };
            let available = list(names.iter().map(String::as_str));
            return Err(Error::NoAdapter { wanted, available });
        };
        let limits = if minimum_limits { wgpu::Limits::default() } else { adapter.limits() };
        let mut info = describe(adapter, limits.clone(), budget);
        let lower = |granted: u64, wanted: Option<u64>| wanted.map_or(granted, |wanted| wanted.min(granted));
        info.limits.max_binding_bytes = lower(info.limits.max_binding_bytes, options.max_binding_bytes);
        info.limits.max_buffer_bytes = lower(info.limits.max_buffer_bytes, options.max_buffer_bytes);
        // For `Plan::run_timed`; costs nothing where it is not used. Not every WebGPU device has it.
        let timestamps = adapter.features() & wgpu::Features::TIMESTAMP_QUERY;
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("wgrad"),
            required_features: if minimum_limits { wgpu::Features::empty() } else { timestamps },
            required_limits: limits,
            ..Default::default()
        };
        let (raw, queue) = adapter
            .request_device(&descriptor)
            .await
            .map_err(|error| Error::OpenFailed { adapter: info.name.clone(), message: error.to_string() })?;
        let health = Arc::new(Health::default());
        let reported = health.clone();
        // wgpu's own handler panics.
        raw.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            lock(&reported.fault).get_or_insert(error.to_string());
        }));
        let reported = health.clone();
        raw.set_device_lost_callback(move |reason, message| {
            lock(&reported.lost).get_or_insert(format!("{reason:?}: {message}"));
        });
        Ok(Device {
            inner: Arc::new(Inner {
                raw,
                queue,
                info,
                health,
                pipelines: Mutex::new(PipelineCache::new(options.tamper.clone())),
                buffers_created: AtomicU64::new(0),
                bind_groups_created: AtomicU64::new(0),
                pipelines_created: AtomicU64::new(0),
                submits: AtomicU64::new(0),
                bytes_alive: AtomicU64::new(0),
            }),
        })
    }

    /// The adapter, with the limits that were granted.
    pub fn info(&self) -> &AdapterInfo {
        &self.inner.info
    }

    /// The limits that were granted.
    pub fn limits(&self) -> &Limits {
        &self.inner.info.limits
    }

    /// How much was made on this device until now.
    pub fn counters(&self) -> Counters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            buffers_created: read(&self.inner.buffers_created),
            bind_groups_created: read(&self.inner.bind_groups_created),
            pipelines_created: read(&self.inner.pipelines_created),
            submits: read(&self.inner.submits),
            bytes_alive: read(&self.inner.bytes_alive),
        }
    }

    pub(crate) fn raw(&self) -> &wgpu::Device {
        &self.inner.raw
    }

    pub(crate) fn queue(&self) -> &wgpu::Queue {
        &self.inner.queue
    }

    pub(crate) fn pipelines(&self) -> &Mutex<PipelineCache> {
        &self.inner.pipelines
    }

    pub(crate) fn count_buffer(&self) {
        self.inner.buffers_created.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_bind_group(&self) {
        self.inner.bind_groups_created.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_pipeline(&self) {
        self.inner.pipelines_created.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes `bytes` from the memory budget for the buffer `label`.
    pub(crate) fn reserve(&self, label: &str, bytes: u64) -> Result<(), Error> {
        let budget = self.limits().memory_budget.unwrap_or(u64::MAX);
        self.inner
            .bytes_alive
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |alive| {
                alive.checked_add(bytes).filter(|total| *total <= budget)
            })
            .map(|_| ())
            .map_err(|alive| Error::OverBudget {
                what: format!("buffer \"{label}\" ({bytes} bytes), with those that exist,"),
                bytes: alive.saturating_add(bytes),
                budget,
                remedy: "use a smaller batch or model, or raise the budget".to_string(),
            })
    }

    pub(crate) fn release(&self, bytes: u64) {
        self.inner.bytes_alive.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Fails if the driver has reported an error that nobody was waiting for, or lost the device.
    pub(crate) fn check(&self, context: &str) -> Result<(), Error> {
        if let Some(message) = lock(&self.inner.health.lost).clone() {
            return Err(Error::Lost { message });
        }
        match lock(&self.inner.health.fault).clone() {
            Some(message) => Err(Error::Device { context: context.to_string(), message }),
            None => Ok(()),
        }
    }

    /// Runs `make` and turns every error that the driver reports meanwhile into `Err`.
    pub(crate) async fn checked<T>(&self, context: &str, make: impl FnOnce() -> T) -> Result<T, Error> {
        self.check(context)?;
        let internal = self.raw().push_error_scope(wgpu::ErrorFilter::Internal);
        let memory = self.raw().push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let validation = self.raw().push_error_scope(wgpu::ErrorFilter::Validation);
        let made = fenced(make);
        // Popped at once, in reverse order; only the answers are waited for.
        let answers = (validation.pop(), memory.pop(), internal.pop());
        let errors = [answers.0.await, answers.1.await, answers.2.await];
        let context = context.to_string();
        match errors.into_iter().flatten().next() {
            Some(error @ wgpu::Error::OutOfMemory { .. }) => {
                Err(Error::OutOfMemory { context, message: error.to_string() })
            }
            Some(error) => Err(Error::Device { context, message: error.to_string() }),
            None => made.map_err(|message| Error::Device { context, message }),
        }
    }

    /// Runs `work` on the queue; a panic inside wgpu becomes an error and the device is not used again.
    pub(crate) fn guarded<T>(&self, context: &str, work: impl FnOnce() -> T) -> Result<T, Error> {
        self.check(context)?;
        match fenced(work) {
            Ok(done) => Ok(done),
            Err(message) => {
                lock(&self.inner.health.fault).get_or_insert(message.clone());
                self.check(context)?;
                Err(Error::Device { context: context.to_string(), message })
            }
        }
    }

    /// Submits at most one command buffer; without one, pushes what was written to the queue.
    pub(crate) fn submit(&self, commands: Option<wgpu::CommandBuffer>) -> wgpu::SubmissionIndex {
        self.inner.submits.fetch_add(1, Ordering::Relaxed);
        self.queue().submit(commands)
    }

    /// Runs callbacks that are due; with `until`, blocks for that submission first (not in a browser).
    pub(crate) fn poll(&self, context: &str, until: Option<wgpu::SubmissionIndex>) -> Result<(), Error> {
        let poll_type = match until {
            Some(submission) => wgpu::PollType::Wait { submission_index: Some(submission), timeout: None },
            None => wgpu::PollType::Poll,
        };
        let polled = self.guarded(context, || self.raw().poll(poll_type))?;
        // What the poll found out matters more than how it ended.
        self.check(context)?;
        match polled {
            Ok(_) => Ok(()),
            Err(error) => Err(Error::Device { context: context.to_string(), message: error.to_string() }),
        }
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Device").field(&self.info().name).finish()
    }
}

/// Catches a panic inside wgpu or naga; some of their faults are not errors but `unreachable!`.
fn fenced<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| panic_message(&*panic))
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("the driver layer panicked: {}", text.unwrap_or("without a message"))
}

#[cfg(test)]
#[path = "device_tests.rs"]
mod tests;
