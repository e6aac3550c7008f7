//! Compiled kernels, each made once per device.

use crate::device::{Device, lock};
use crate::error::Error;
use crate::kernel::{BindingKind, Kernel, STEP_WORDS};
use crate::tamper::Tamper;
use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;

/// Parameter blocks are bound as if they were this long, or a multiple of it, so that kernels share layouts.
const BLOCK_BYTES: u64 = 256;

/// A compiled kernel with the layout that its bind groups need.
pub(crate) struct Pipeline {
    pub(crate) raw: wgpu::ComputePipeline,
    pub(crate) layout: wgpu::BindGroupLayout,
}

/// What a device has made for kernels.
#[derive(Default)]
pub(crate) struct PipelineCache {
    /// By name of the kernel and the text that was compiled.
    pipelines: HashMap<(String, String), Arc<Pipeline>>,
    layouts: HashMap<Vec<wgpu::BindGroupLayoutEntry>, (wgpu::BindGroupLayout, wgpu::PipelineLayout)>,
    tamper: Option<Tamper>,
}

impl PipelineCache {
    pub(crate) fn new(tamper: Option<Tamper>) -> PipelineCache {
        PipelineCache { tamper, ..PipelineCache::default() }
    }
}

/// How many bytes of parameters a launch of the kernel binds.
pub(crate) fn block_bytes(kernel: &Kernel) -> u64 {
    u64::from(kernel.parameter_bytes).next_multiple_of(BLOCK_BYTES)
}

/// The pipeline of a kernel, from the cache where it was made before.
pub(crate) async fn pipeline(device: &Device, kernel: &Kernel) -> Result<Arc<Pipeline>, Error> {
    let source = Tamper::source(lock(device.pipelines()).tamper.as_ref(), kernel);
    let key = (kernel.name.to_string(), source.to_string());
    let cached = lock(device.pipelines()).pipelines.get(&key).cloned();
    if let Some(pipeline) = cached {
        return Ok(pipeline);
    }
    let context = format!("while kernel \"{}\" was compiled", kernel.name);
    let made = device.checked(&context, || make(device, kernel, &source)).await?;
    device.count_pipeline();
    let made = Arc::new(made);
    lock(device.pipelines()).pipelines.insert(key, made.clone());
    Ok(made)
}

fn make(device: &Device, kernel: &Kernel, source: &str) -> Pipeline {
    let raw = device.raw();
    let label = Some(kernel.name.as_ref());
    let (layout, pipeline_layout) = layouts(device, kernel);
    let module = raw
        .create_shader_module(wgpu::ShaderModuleDescriptor { label, source: wgpu::ShaderSource::Wgsl(source.into()) });
    let pipeline = raw.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label,
        layout: Some(&pipeline_layout),
        module: &module,
        entry_point: Some(&kernel.name),
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    });
    Pipeline { raw: pipeline, layout }
}

/// The layouts of a kernel, one object for all kernels whose bindings are alike: wgpu then sees at once that a bind
/// group fits the next pipeline too. Explicit, because a layout derived from the text would lack a binding that the
/// text does not use.
fn layouts(device: &Device, kernel: &Kernel) -> (wgpu::BindGroupLayout, wgpu::PipelineLayout) {
    let entries: Vec<wgpu::BindGroupLayoutEntry> =
        (0u32..).zip(kernel.bindings.iter()).map(|(number, binding)| entry(number, binding.kind, kernel)).collect();
    let make = |entries: &Vec<wgpu::BindGroupLayoutEntry>| {
        let (raw, label) = (device.raw(), Some("kernel"));
        let layout = raw.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label, entries });
        let bind_group_layouts = &[Some(&layout)];
        let descriptor = wgpu::PipelineLayoutDescriptor { label, bind_group_layouts, immediate_size: 0 };
        let pipeline_layout = raw.create_pipeline_layout(&descriptor);
        (layout, pipeline_layout)
    };
    let mut cache = lock(device.pipelines());
    cache.layouts.entry(entries).or_insert_with_key(make).clone()
}

/// Sizes are stated, as wgpu would otherwise compare them at every launch: arrays hold one element of four bytes at least.
fn entry(number: u32, kind: BindingKind, kernel: &Kernel) -> wgpu::BindGroupLayoutEntry {
    let (ty, bytes) = match kind {
        BindingKind::Read => (wgpu::BufferBindingType::Storage { read_only: true }, 4),
        BindingKind::ReadWrite => (wgpu::BufferBindingType::Storage { read_only: false }, 4),
        BindingKind::Parameters => (wgpu::BufferBindingType::Uniform, block_bytes(kernel)),
        BindingKind::StepScalars => (wgpu::BufferBindingType::Uniform, 4 * STEP_WORDS as u64),
    };
    wgpu::BindGroupLayoutEntry {
        binding: number,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: NonZeroU64::new(bytes) },
        count: None,
    }
}
