//! Compiled kernels, each made once per device.

use crate::device::{Device, lock};
use crate::error::Error;
use crate::kernel::{BindingKind, Kernel, STEP_WORDS};
use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;

/// A compiled kernel with the layout that its bind groups need.
pub(crate) struct Pipeline {
    pub(crate) raw: wgpu::ComputePipeline,
    pub(crate) layout: wgpu::BindGroupLayout,
}

/// Pipelines by name and text of their kernel.
pub(crate) type PipelineCache = HashMap<(String, String), Arc<Pipeline>>;

/// The pipeline of a kernel, from the cache where it was made before.
pub(crate) async fn pipeline(device: &Device, kernel: &Kernel) -> Result<Arc<Pipeline>, Error> {
    let key = (kernel.name.to_string(), kernel.source.to_string());
    let cached = lock(device.pipelines()).get(&key).cloned();
    if let Some(pipeline) = cached {
        return Ok(pipeline);
    }
    let context = format!("while kernel \"{}\" was compiled", kernel.name);
    let made = device.checked(&context, || make(device, kernel)).await?;
    device.count_pipeline();
    let made = Arc::new(made);
    lock(device.pipelines()).insert(key, made.clone());
    Ok(made)
}

fn make(device: &Device, kernel: &Kernel) -> Pipeline {
    let raw = device.raw();
    let label = Some(kernel.name.as_ref());
    // Explicit, because a layout derived from the text would lack a binding that the text does not use.
    let entries: Vec<wgpu::BindGroupLayoutEntry> =
        (0u32..).zip(kernel.bindings.iter()).map(|(number, binding)| entry(number, binding.kind, kernel)).collect();
    let layout = raw.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label, entries: &entries });
    let pipeline_layout = raw.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label,
        bind_group_layouts: &[Some(&layout)],
        immediate_size: 0,
    });
    let module = raw.create_shader_module(wgpu::ShaderModuleDescriptor {
        label,
        source: wgpu::ShaderSource::Wgsl(kernel.source.as_ref().into()),
    });
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

fn entry(number: u32, kind: BindingKind, kernel: &Kernel) -> wgpu::BindGroupLayoutEntry {
    let (ty, bytes) = match kind {
        BindingKind::Read => (wgpu::BufferBindingType::Storage { read_only: true }, 0),
        BindingKind::ReadWrite => (wgpu::BufferBindingType::Storage { read_only: false }, 0),
        BindingKind::Parameters => (wgpu::BufferBindingType::Uniform, u64::from(kernel.parameter_bytes)),
        BindingKind::StepScalars => (wgpu::BufferBindingType::Uniform, 4 * STEP_WORDS as u64),
    };
    wgpu::BindGroupLayoutEntry {
        binding: number,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: NonZeroU64::new(bytes) },
        count: None,
    }
}
