//! What several tests share: a device, kernels made of text, small programs.

use crate::reflect::{Reflection, reflect};
use gpu_runtime::{
    Binding, BindingKind, BufferId, BufferRole, BufferSpec, Choice, Device, DeviceOptions, Field, Kernel, Launch,
    Program,
};
use std::borrow::Cow;
use std::sync::OnceLock;

/// A fresh device, or `None` after saying so where this machine has no adapter.
pub(crate) fn fresh_device() -> Option<Device> {
    static THREADS: OnceLock<()> = OnceLock::new();
    THREADS.get_or_init(|| {
        // SAFETY: `OnceLock` lets one thread set it, before any of these tests has loaded a driver.
        #[allow(unsafe_code)]
        unsafe {
            std::env::set_var("LP_NUM_THREADS", "0");
        }
    });
    match Device::open(&Choice::Name("llvmpipe".to_string()), &DeviceOptions::default()) {
        Ok(device) => Some(device),
        Err(error) => {
            assert!(std::env::var("WGRAD_REQUIRE_GPU").as_deref() != Ok("1"), "{error}");
            println!("skipped: no adapter");
            None
        }
    }
}

/// One device for all tests that don't count or break anything.
pub(crate) fn device() -> Option<Device> {
    static DEVICE: OnceLock<Option<Device>> = OnceLock::new();
    DEVICE.get_or_init(fresh_device).clone()
}

/// A kernel with the facts that the build script would find.
pub(crate) fn kernel(name: &str, source: &str) -> Kernel {
    let Reflection { workgroup_size, workgroup_bytes, bindings, fields, parameter_bytes } =
        reflect(name, source).unwrap();
    let bindings = bindings.into_iter().map(|(name, kind)| Binding {
        name: Cow::Owned(name),
        kind: match kind {
            "Read" => BindingKind::Read,
            "ReadWrite" => BindingKind::ReadWrite,
            "Parameters" => BindingKind::Parameters,
            _ => BindingKind::StepScalars,
        },
    });
    let fields = fields.into_iter().map(|(name, offset, words)| Field { name: Cow::Owned(name), offset, words });
    Kernel {
        name: Cow::Owned(name.to_string()),
        source: Cow::Owned(source.to_string()),
        bindings: bindings.collect(),
        workgroup_size,
        workgroup_bytes,
        fields: fields.collect(),
        parameter_bytes,
    }
}

/// `y[i] = factor * x[i] + step[0][1]` with the scalar as `f32` bits.
pub(crate) const SCALE: &str = "
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
struct Parameters { count: u32, factor: f32, }
@group(0) @binding(2) var<uniform> parameters: Parameters;
@group(0) @binding(3) var<uniform> step: array<vec4<u32>, 4>;
@compute @workgroup_size(64)
fn scale(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= parameters.count) { return; }
    y[id.x] = parameters.factor * x[id.x] + bitcast<f32>(step[0].y);
}
";

/// `total[i] += x[i]`, in place.
pub(crate) const ADD_TO: &str = "
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> total: array<f32>;
@compute @workgroup_size(64)
fn add_to(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= arrayLength(&total)) { return; }
    total[id.x] = total[id.x] + x[id.x];
}
";

pub(crate) fn spec(label: &str, bytes: u64, role: BufferRole) -> BufferSpec {
    BufferSpec { label: label.to_string(), bytes, role }
}

pub(crate) fn launch(label: &str, kernel: usize, buffers: &[usize], parameters: Vec<u8>, groups: [u32; 3]) -> Launch {
    let windows = buffers.iter().map(|index| BufferId(*index).into()).collect();
    Launch { label: label.to_string(), kernel, windows, parameters, groups, bytes: 0, flops: 0, iterations: 0 }
}

/// `slot = 2 * x + step`, then `total += slot`, over `count` elements.
pub(crate) fn accumulate(count: u32) -> Program {
    let bytes = 4 * u64::from(count);
    let kernels = vec![kernel("scale", SCALE), kernel("add_to", ADD_TO)];
    let parameters = kernels[0].pack(&[("factor", 2.0f32.into()), ("count", count.into())]).unwrap();
    let groups = [count.div_ceil(64), 1, 1];
    Program {
        kernels,
        buffers: vec![
            spec("x", bytes, BufferRole::Input("x".to_string())),
            spec("scaled", bytes, BufferRole::Slot),
            spec("total", bytes, BufferRole::State("total".to_string())),
        ],
        launches: vec![
            launch("model/scale#0", 0, &[0, 1], parameters, groups),
            launch("model/add_to#1", 1, &[1, 2], vec![], groups),
        ],
        outputs: vec![],
    }
}

pub(crate) fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

pub(crate) fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|word| f32::from_le_bytes([word[0], word[1], word[2], word[3]])).collect()
}

/// Step scalars whose second word is this value's bits.
pub(crate) fn step(value: f32) -> [u32; 16] {
    let mut scalars = [0; 16];
    scalars[1] = value.to_bits();
    scalars
}
