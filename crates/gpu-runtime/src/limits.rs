//! What a device allows, in numbers.

/// The limits that a program is checked against before anything runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Storage buffers that one kernel may bind.
    pub max_storage_buffers_per_stage: u32,
    /// Bytes of one storage binding.
    pub max_binding_bytes: u64,
    /// Bytes of one buffer.
    pub max_buffer_bytes: u64,
    /// Bytes of workgroup memory of one workgroup.
    pub max_workgroup_bytes: u32,
    /// Invocations of one workgroup.
    pub max_invocations: u32,
    /// Workgroups in each dimension of one launch.
    pub max_groups_per_dimension: u32,
    /// Bytes at which a parameter block must be aligned inside its buffer.
    pub uniform_alignment: u32,
    /// Bytes at which a window of a storage buffer must begin.
    pub storage_alignment: u32,
    /// Bytes that all storage buffers together may take; `None` where only the driver knows.
    pub memory_budget: Option<u64>,
    /// Loop iterations after which the driver silently ends an invocation; `None` where it does not.
    pub max_loop_iterations: Option<u64>,
}

impl Limits {
    /// What every WebGPU implementation gives.
    pub const WEBGPU_DEFAULT: Limits = Limits {
        max_storage_buffers_per_stage: 8,
        max_binding_bytes: 128 << 20,
        max_buffer_bytes: 256 << 20,
        max_workgroup_bytes: 16 << 10,
        max_invocations: 256,
        max_groups_per_dimension: 65_535,
        uniform_alignment: 256,
        storage_alignment: 256,
        memory_budget: None,
        max_loop_iterations: None,
    };
}
