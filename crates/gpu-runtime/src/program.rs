//! A program: kernels, buffers and launches as plain data, verifiable without a GPU.

use crate::error::{Error, list};
use crate::kernel::{BindingKind, Kernel};
use crate::limits::Limits;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

/// How many buffers a "too large" message lists.
const LISTED_BUFFERS: usize = 5;

/// Workgroups that every WebGPU device allows in one dimension.
const GROUPS_PER_DIMENSION: u64 = 65_535;

/// The place of a buffer in [`Program::buffers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufferId(pub usize);

/// Who owns a buffer and what is in it when a run begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BufferRole {
    /// Owned by the plan; holds whatever the launches put there.
    Slot,
    /// Owned by the caller and shared by name between plans; launches may change it in place.
    State(String),
    /// Owned by the plan; the caller writes it before a run.
    Input(String),
    /// Owned by the plan; holds these bytes, which no launch may change.
    Constant(Arc<[u8]>),
}

/// One buffer of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BufferSpec {
    /// For messages and debuggers.
    pub label: String,
    /// Size in bytes, a multiple of 4.
    pub bytes: u64,
    /// Owner and content.
    pub role: BufferRole,
}

/// The part of a buffer that a launch binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Window {
    /// The buffer.
    pub buffer: BufferId,
    /// Where the window begins, in bytes: a multiple of [`Limits::storage_alignment`].
    pub offset: u64,
    /// Its bytes, a multiple of 4; `None` for all from `offset` on.
    pub bytes: Option<u64>,
}

impl From<BufferId> for Window {
    /// The whole buffer.
    fn from(buffer: BufferId) -> Window {
        Window { buffer, offset: 0, bytes: None }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.offset, self.bytes) {
            (0, None) => write!(formatter, "{}", self.buffer.0),
            (offset, None) => write!(formatter, "{}[{offset}..]", self.buffer.0),
            (offset, Some(bytes)) => write!(formatter, "{}[{offset}..{}]", self.buffer.0, offset.saturating_add(bytes)),
        }
    }
}

/// One dispatch of a kernel.
#[derive(Debug, Clone, PartialEq)]
pub struct Launch {
    /// `scope/op#node`.
    pub label: String,
    /// Index in [`Program::kernels`].
    pub kernel: usize,
    /// What each storage binding of the kernel shows, in order.
    pub windows: Vec<Window>,
    /// The parameter block, as [`Kernel::pack`] makes it.
    pub parameters: Vec<u8>,
    /// Workgroups in x, y and z.
    pub groups: [u32; 3],
    /// Bytes of memory traffic, for reports.
    pub bytes: u64,
    /// Floating-point operations, for reports.
    pub flops: u64,
    /// Loop iterations that the busiest invocation runs at most.
    pub iterations: u64,
}

/// A buffer that the caller may read after a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The name to ask for.
    pub name: String,
    /// Where it is.
    pub buffer: BufferId,
    /// Bytes from the start of the buffer, a multiple of 4.
    pub bytes: u64,
    /// Whether it comes back from every run without being asked for (for small values, such as a loss).
    pub streamed: bool,
}

/// Everything that one run does.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Program {
    /// The kernels that launches refer to.
    pub kernels: Vec<Kernel>,
    /// The buffers that launches and outputs refer to.
    pub buffers: Vec<BufferSpec>,
    /// The launches in order; each sees what those before it wrote.
    pub launches: Vec<Launch>,
    /// What can be read after a run.
    pub outputs: Vec<Output>,
}

/// Spreads a one-dimensional count of workgroups over x and y, 65,535 at most in each.
///
/// The grid may hold more groups than asked for: the kernel computes
/// `workgroup_id.y * num_workgroups.x + workgroup_id.x` and skips what lies beyond. A count of 0 gives one
/// group. Counts beyond 65,535² give a grid that [`Program::verify`] refuses.
pub fn fold_groups(groups: u64) -> [u32; 3] {
    let groups = groups.max(1);
    let rows = groups.div_ceil(GROUPS_PER_DIMENSION);
    // Equal rows waste fewer groups than full rows and a short one.
    let columns = groups.div_ceil(rows);
    // `columns` is at most 65,535; rows of an absurd count saturate and are refused by `verify`.
    [u32::try_from(columns).unwrap_or(u32::MAX), u32::try_from(rows).unwrap_or(u32::MAX), 1]
}

impl Program {
    /// Floating-point operations of one run.
    pub fn flops(&self) -> u64 {
        self.launches.iter().fold(0, |sum, launch| sum.saturating_add(launch.flops))
    }

    /// Says whether this program is well formed and fits the limits, before anything is allocated.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::OverBudget`] and [`Error::LaunchLimit`] where it does not fit, with the
    /// label and the largest buffers; [`Error::Internal`] where it is not well formed.
    pub fn verify(&self, limits: &Limits) -> Result<(), Error> {
        self.verify_buffers(limits)?;
        self.verify_budget(limits)?;
        for kernel in &self.kernels {
            verify_kernel(kernel, limits)?;
        }
        for launch in &self.launches {
            self.verify_launch(launch, limits)?;
        }
        self.verify_outputs()
    }

    fn verify_buffers(&self, limits: &Limits) -> Result<(), Error> {
        let mut names = HashSet::new();
        for buffer in &self.buffers {
            let label = &buffer.label;
            if buffer.bytes == 0 || !buffer.bytes.is_multiple_of(4) {
                return Err(Error::internal(format!(
                    "buffer \"{label}\" has {} bytes, expected a multiple of 4 above 0",
                    buffer.bytes
                )));
            }
            if buffer.bytes > limits.max_buffer_bytes {
                let (label, bytes, limit) = (label.clone(), buffer.bytes, limits.max_buffer_bytes);
                let (what, remedy) = ("the largest buffer", self.memory_remedy());
                return Err(Error::TooLarge { label, bytes, limit, what, remedy });
            }
            let (kind, name) = match &buffer.role {
                BufferRole::Slot => continue,
                BufferRole::Constant(data) if data.len() as u64 == buffer.bytes => continue,
                BufferRole::Constant(data) => {
                    return Err(Error::internal(format!(
                        "constant \"{label}\" has {} bytes of data for {} bytes",
                        data.len(),
                        buffer.bytes
                    )));
                }
                BufferRole::State(name) => ("state", name),
                BufferRole::Input(name) => ("input", name),
            };
            // Two specs of one state would hide that a launch reads and writes the same memory.
            if !names.insert((kind, name)) {
                return Err(Error::internal(format!("two buffers are the {kind} \"{name}\"")));
            }
        }
        Ok(())
    }

    fn verify_budget(&self, limits: &Limits) -> Result<(), Error> {
        let bytes = self.memory(limits).peak();
        match limits.memory_budget {
            Some(budget) if bytes > budget => {
                let (what, remedy) = ("the program".to_string(), self.memory_remedy());
                Err(Error::OverBudget { what, bytes, budget, remedy })
            }
            _ => Ok(()),
        }
    }

    fn verify_launch(&self, launch: &Launch, limits: &Limits) -> Result<(), Error> {
        let fault = |why: String| Err(Error::internal(format!("launch \"{}\" {why}", launch.label)));
        let Some(kernel) = self.kernels.get(launch.kernel) else {
            return fault(format!("uses kernel {} of {}", launch.kernel, self.kernels.len()));
        };
        let bindings: Vec<_> = kernel.storage_bindings().collect();
        if bindings.len() != launch.windows.len() {
            return fault(format!(
                "gives {} buffers to the {} storage bindings of kernel \"{}\"",
                launch.windows.len(),
                bindings.len(),
                kernel.name
            ));
        }
        let mut written = HashSet::new();
        for (binding, window) in bindings.iter().zip(&launch.windows) {
            let id = window.buffer;
            let Some(buffer) = self.buffers.get(id.0) else {
                return fault(format!("binds buffer {} of {}", id.0, self.buffers.len()));
            };
            verify_window(launch, window, buffer, limits)?;
            if binding.kind == BindingKind::ReadWrite {
                // Whole buffers: drivers track what a launch reads and writes by buffer, not by window.
                if !written.insert(id) {
                    return fault(format!("writes buffer \"{}\" through two bindings", buffer.label));
                }
                if matches!(buffer.role, BufferRole::Constant(_)) {
                    return fault(format!("writes the constant \"{}\"", buffer.label));
                }
            }
        }
        for (binding, window) in bindings.iter().zip(&launch.windows) {
            if binding.kind == BindingKind::Read && written.contains(&window.buffer) {
                return fault(format!(
                    "binds buffer \"{}\" both for reading (\"{}\") and for writing",
                    self.buffers[window.buffer.0].label, binding.name
                ));
            }
        }
        if launch.parameters.len() != kernel.parameter_bytes as usize {
            return fault(format!(
                "has {} bytes of parameters, kernel \"{}\" takes {}",
                launch.parameters.len(),
                kernel.name,
                kernel.parameter_bytes
            ));
        }
        if let Some(limit) = limits.max_loop_iterations.filter(|limit| launch.iterations > *limit) {
            return Err(Error::LaunchLimit {
                launch: launch.label.clone(),
                what: "loop iterations in one invocation",
                needed: launch.iterations,
                limit,
                remedy: "this software driver would end them silently: use a smaller batch, a newer driver, or the CPU",
            });
        }
        for (dimension, groups) in launch.groups.into_iter().enumerate() {
            if groups == 0 {
                return fault(format!("has no workgroups in dimension {dimension}"));
            }
            if groups > limits.max_groups_per_dimension {
                return Err(Error::LaunchLimit {
                    launch: launch.label.clone(),
                    what: "workgroups in one dimension",
                    needed: u64::from(groups),
                    limit: u64::from(limits.max_groups_per_dimension),
                    remedy: "use a smaller batch",
                });
            }
        }
        Ok(())
    }

    fn verify_outputs(&self) -> Result<(), Error> {
        let mut names = HashSet::new();
        for output in &self.outputs {
            let fault = |why: String| Err(Error::internal(format!("output \"{}\" {why}", output.name)));
            if !names.insert(&output.name) {
                return fault("is declared twice".to_string());
            }
            let Some(buffer) = self.buffers.get(output.buffer.0) else {
                return fault(format!("is buffer {} of {}", output.buffer.0, self.buffers.len()));
            };
            if output.bytes == 0 || !output.bytes.is_multiple_of(4) || output.bytes > buffer.bytes {
                return fault(format!("takes {} of the {} bytes of \"{}\"", output.bytes, buffer.bytes, buffer.label));
            }
        }
        Ok(())
    }

    /// What to do about memory, with the largest buffers, largest first.
    fn memory_remedy(&self) -> String {
        let mut largest: Vec<&BufferSpec> = self.buffers.iter().collect();
        largest.sort_by_key(|buffer| std::cmp::Reverse(buffer.bytes));
        let lines: Vec<String> = largest
            .iter()
            .take(LISTED_BUFFERS)
            .map(|buffer| format!("{} ({} bytes)", buffer.label, buffer.bytes))
            .collect();
        format!(
            "use a smaller batch or model, or a device with more memory; largest buffers: {}",
            list(lines.iter().map(String::as_str))
        )
    }
}

fn verify_window(launch: &Launch, window: &Window, buffer: &BufferSpec, limits: &Limits) -> Result<(), Error> {
    let fault = |why: &str| {
        let Launch { label, .. } = launch;
        let BufferSpec { label: name, bytes, .. } = buffer;
        Err(Error::internal(format!("launch \"{label}\" binds {window} of the {bytes} bytes of \"{name}\": {why}")))
    };
    if !window.offset.is_multiple_of(u64::from(limits.storage_alignment)) {
        return fault(&format!("it must begin at a multiple of {}", limits.storage_alignment));
    }
    let rest = buffer.bytes.saturating_sub(window.offset);
    let bytes = window.bytes.unwrap_or(rest);
    if bytes == 0 || !bytes.is_multiple_of(4) || bytes > rest {
        return fault("it must hold a multiple of 4 bytes above 0 and end where the buffer does at the latest");
    }
    if bytes > limits.max_binding_bytes {
        return Err(Error::TooLarge {
            label: buffer.label.clone(),
            bytes,
            limit: limits.max_binding_bytes,
            what: "the largest storage binding",
            remedy: format!("launch \"{}\" binds them at once: use a smaller batch or model, or the CPU", launch.label),
        });
    }
    Ok(())
}

fn verify_kernel(kernel: &Kernel, limits: &Limits) -> Result<(), Error> {
    let over = |what, needed: u64, limit: u32| Error::LaunchLimit {
        launch: kernel.name.to_string(),
        what,
        needed,
        limit: u64::from(limit),
        remedy: "choose another device, or the CPU",
    };
    let storage = kernel.storage_bindings().count() as u64;
    if storage > u64::from(limits.max_storage_buffers_per_stage) {
        return Err(over("storage buffers", storage, limits.max_storage_buffers_per_stage));
    }
    if kernel.workgroup_bytes > limits.max_workgroup_bytes {
        let (needed, limit) = (u64::from(kernel.workgroup_bytes), limits.max_workgroup_bytes);
        return Err(over("bytes of workgroup memory", needed, limit));
    }
    let invocations = kernel.workgroup_size.iter().fold(1u64, |all, size| all.saturating_mul(u64::from(*size)));
    if invocations > u64::from(limits.max_invocations) {
        return Err(over("invocations per workgroup", invocations, limits.max_invocations));
    }
    let has_block = kernel.bindings.iter().any(|binding| binding.kind == BindingKind::Parameters);
    if invocations == 0 || !kernel.parameter_bytes.is_multiple_of(16) || has_block != (kernel.parameter_bytes > 0) {
        return Err(Error::internal(format!(
            "kernel \"{}\" states {invocations} invocations and {} bytes of parameters that don't fit its bindings",
            kernel.name, kernel.parameter_bytes
        )));
    }
    for kind in [BindingKind::Parameters, BindingKind::StepScalars] {
        if kernel.bindings.iter().filter(|binding| binding.kind == kind).count() > 1 {
            return Err(Error::internal(format!("kernel \"{}\" binds {kind:?} twice", kernel.name)));
        }
    }
    Ok(())
}
