//! What a GPU can do at best, measured: the roof that kernels are held against.

use crate::device::Device;
use crate::error::Error;
use crate::kernel::shader;
use crate::plan::Plan;
use crate::program::{BufferId, BufferRole, BufferSpec, Launch, Program};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

/// Bytes that are copied: more than caches hold, where the device allows it.
const COPY_BYTES: u64 = 256 << 20;
/// The same on a software adapter.
const SOFTWARE_COPY_BYTES: u64 = 32 << 20;
/// Workgroups of a launch of multiply-adds.
const GROUPS: u32 = 512;
/// Steps of each of their chains.
const STEPS: u32 = 512;
/// Numbers that an invocation multiplies and adds in a step.
const CHAINS: u64 = 32;
/// A measurement takes at least so long, in seconds.
const ENOUGH: f64 = 0.02;
/// Measurements, of which the best counts.
const TRIES: usize = 5;

/// Bytes read and written a second by a copy from buffer to buffer.
///
/// # Errors
/// Where the device has failed, or has no memory for two large buffers.
pub fn copy_rate(device: &Device) -> Result<f64, Error> {
    let software = device.info().kind == crate::device::AdapterKind::Software;
    let wanted = if software { SOFTWARE_COPY_BYTES } else { COPY_BYTES };
    let bytes = wanted.min(device.limits().max_buffer_bytes);
    let (from, to) = (device.buffer("copied from", bytes)?, device.buffer("copied to", bytes)?);
    let run = |count: usize| -> Result<(), Error> {
        let context = "while copies were measured";
        let submission = device.guarded(context, || {
            let mut encoder =
                device.raw().create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("copies") });
            for _ in 0..count {
                encoder.copy_buffer_to_buffer(from.raw(), 0, to.raw(), 0, Some(bytes));
            }
            device.submit(Some(encoder.finish()))
        })?;
        device.poll(context, Some(submission))
    };
    let (count, seconds) = measure(run)?;
    Ok(2.0 * bytes as f64 * count as f64 / seconds)
}

/// `f32` operations a second, two for each multiply-add.
///
/// # Errors
/// Where the device has failed.
pub fn multiply_add_rate(device: &Device) -> Result<f64, Error> {
    let kernel = shader("roof_multiply_add")?;
    let invocations = u64::from(GROUPS) * u64::from(kernel.workgroup_size[0]);
    let launch = Launch {
        label: "roof".into(),
        kernel: 0,
        windows: vec![BufferId(0).into()],
        parameters: kernel.pack(&[("steps", STEPS.into())])?,
        groups: [GROUPS, 1, 1],
        bytes: 4 * invocations,
        flops: 2 * CHAINS * invocations * u64::from(STEPS),
        iterations: u64::from(STEPS),
    };
    let output = BufferSpec { label: "roof".into(), bytes: launch.bytes, role: BufferRole::Slot };
    let flops = launch.flops as f64;
    let mut made: Option<(usize, Plan)> = None;
    let run = |count: usize| -> Result<(), Error> {
        let (_, plan) = match made.take().filter(|(known, _)| *known == count) {
            Some(known) => made.insert(known),
            None => {
                let (kernels, buffers) = (vec![kernel.clone()], vec![output.clone()]);
                let program = Program { kernels, buffers, launches: vec![launch.clone(); count], outputs: Vec::new() };
                made.insert((count, Plan::new(device, Arc::new(program), &HashMap::new())?))
            }
        };
        plan.run(&[0; 16])?;
        plan.results(true).map(|_| ())
    };
    let (count, seconds) = measure(run)?;
    Ok(flops * count as f64 / seconds)
}

/// Runs something so many times together that it takes long enough, and tells how many times and the shortest time.
fn measure(mut run: impl FnMut(usize) -> Result<(), Error>) -> Result<(usize, f64), Error> {
    let mut timed = |count: usize| -> Result<f64, Error> {
        let begin = Instant::now();
        run(count)?;
        Ok(begin.elapsed().as_secs_f64())
    };
    timed(1)?;
    let mut count = 1;
    while timed(count)? < ENOUGH && count < 1024 {
        timed(2 * count)?;
        count *= 2;
    }
    let mut least = f64::INFINITY;
    for _ in 0..TRIES {
        least = least.min(timed(count)?);
    }
    Ok((count, least))
}
