//! A program made ready for a device: everything is created and validated once, then run any number of times.

mod piecewise;
mod timed;

pub use timed::Clock;

use crate::buffer::{Allocation, Buffer};
use crate::device::Device;
use crate::error::{Error, list};
use crate::kernel::{BindingKind, STEP_WORDS};
use crate::limits::Limits;
use crate::memory::Memory;
use crate::pipeline::{Pipeline, block_bytes, pipeline};
use crate::program::{BufferRole, Launch, Output, Program};
use crate::readback::{Pending, Staging};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Runs that may be submitted and not yet finished.
const RUNS_IN_FLIGHT: usize = 4;

/// Streamed outputs begin at multiples of this, which every backend can copy to.
const COPY_ALIGNMENT: u64 = 256;

/// Bytes of the block of step scalars.
const STEP_BYTES: usize = 4 * STEP_WORDS;

/// The streamed outputs of one finished run, in program order.
pub type RunResult = (u64, Vec<Vec<u8>>);

/// A program with its GPU objects.
pub struct Plan {
    device: Device,
    program: Arc<Program>,
    buffers: Vec<Buffer>,
    inputs: HashMap<String, usize>,
    dispatches: Vec<Dispatch>,
    streamed: Vec<Streamed>,
    step_block: Allocation,
    /// Kept for its share of the memory budget; the bind groups hold the buffer itself.
    _parameters: Allocation,
    /// One for each run in flight; none where nothing is streamed.
    staging: Vec<Staging>,
    in_flight: VecDeque<(u64, Pending)>,
    finished: VecDeque<RunResult>,
    next_run: u64,
}

/// What one launch needs while it is recorded.
struct Dispatch {
    /// `None` where the launch before it uses the same one.
    pipeline: Option<wgpu::ComputePipeline>,
    bind_group: wgpu::BindGroup,
    groups: [u32; 3],
}

impl Dispatch {
    fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_bind_group(0, &self.bind_group, &[]);
        let [x, y, z] = self.groups;
        pass.dispatch_workgroups(x, y, z);
    }
}

/// An output that comes back from every run.
struct Streamed {
    buffer: usize,
    bytes: u64,
    offset: u64,
}

impl Plan {
    /// Makes a program ready; see [`Plan::new_async`].
    ///
    /// # Errors
    /// Those of [`Plan::new_async`].
    pub fn new(device: &Device, program: Arc<Program>, states: &HashMap<String, Buffer>) -> Result<Plan, Error> {
        pollster::block_on(Plan::new_async(device, program, states))
    }

    /// Verifies the program and makes its pipelines, buffers and bind groups.
    ///
    /// `states` holds at least the program's states, by name; other plans may share them.
    ///
    /// # Errors
    /// Those of [`Program::verify`]; [`Error::UnknownName`] and [`Error::WrongLength`] where a state is
    /// missing or has another size; [`Error::Device`] naming the kernel or launch that the driver refuses.
    pub async fn new_async(
        device: &Device,
        program: Arc<Program>,
        states: &HashMap<String, Buffer>,
    ) -> Result<Plan, Error> {
        program.verify(device.limits())?;
        let mut pipelines = Vec::with_capacity(program.kernels.len());
        for kernel in &program.kernels {
            pipelines.push(pipeline(device, kernel).await?);
        }
        let (buffers, inputs) = make_buffers(device, &program, states).await?;
        touch_buffers(device, &program, &buffers).await?;
        let uniform = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let step_block = Allocation::new(device, "step scalars", STEP_BYTES as u64, uniform).await?;
        device.guarded("while step scalars were cleared", || {
            device.queue().write_buffer(&step_block.raw, 0, &[0; STEP_BYTES]);
        })?;
        let (dispatches, parameters) = make_dispatches(device, &program, &pipelines, &buffers, &step_block).await?;
        let (streamed, streamed_bytes) = lay_out(&program.outputs);
        let mut staging = Vec::new();
        if streamed_bytes > 0 {
            for _ in 0..RUNS_IN_FLIGHT {
                staging.push(Staging::new(device, "streamed outputs", streamed_bytes).await?);
            }
        }
        let plan = Plan {
            device: device.clone(),
            program,
            buffers,
            inputs,
            dispatches,
            streamed,
            step_block,
            _parameters: parameters,
            staging,
            in_flight: VecDeque::with_capacity(RUNS_IN_FLIGHT),
            finished: VecDeque::new(),
            next_run: 0,
        };
        // Recorded once without being submitted: some rules are checked only while recording.
        device.checked("while the program was recorded", || plan.record(plan.launches(), Some(0))).await?;
        Ok(plan)
    }

    /// The program that this plan runs.
    pub fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// The memory that this plan holds, with the states that it was given.
    pub fn memory(&self) -> Memory {
        self.program.memory(self.device.limits())
    }

    /// Replaces the content of an input for the runs that follow.
    ///
    /// # Errors
    /// [`Error::UnknownName`] where the program has no such input, [`Error::WrongLength`] unless `data` has
    /// exactly its bytes, [`Error::Lost`] or [`Error::Device`] where the device has failed.
    pub fn write_input(&self, name: &str, data: &[u8]) -> Result<(), Error> {
        let index = self.inputs.get(name).ok_or_else(|| {
            let mut known: Vec<&str> = self.inputs.keys().map(String::as_str).collect();
            known.sort_unstable();
            Error::UnknownName { what: "input", name: name.to_string(), known: list(known) }
        })?;
        let buffer = &self.buffers[*index];
        if data.len() as u64 != buffer.bytes() {
            let (expected, given) = (buffer.bytes(), data.len() as u64);
            return Err(Error::WrongLength { what: "input", name: name.to_string(), expected, given });
        }
        buffer.write(data)
    }

    /// Submits one run; see [`Plan::run_async`].
    ///
    /// # Errors
    /// Those of [`Plan::run_async`].
    pub fn run(&mut self, step_scalars: &[u32; STEP_WORDS]) -> Result<u64, Error> {
        pollster::block_on(self.run_async(step_scalars))
    }

    /// Submits one run and returns its number, from 0, without waiting for it.
    ///
    /// Waits for the oldest run where four are in flight. Finished runs are kept until [`Plan::results`]
    /// takes them, so take them from time to time.
    ///
    /// # Errors
    /// [`Error::Lost`] or [`Error::Device`] where the device has failed, in this run or an earlier one.
    pub async fn run_async(&mut self, step_scalars: &[u32; STEP_WORDS]) -> Result<u64, Error> {
        self.run_counted(step_scalars, self.launches()).await
    }

    async fn run_counted(&mut self, step_scalars: &[u32; STEP_WORDS], launches: Range<usize>) -> Result<u64, Error> {
        if self.in_flight.len() >= RUNS_IN_FLIGHT {
            self.finish_oldest().await?;
        }
        let run = self.next_run;
        let slot = self.slot(run);
        let pending = self.device.guarded("while a run was submitted", || {
            self.write_step(step_scalars);
            let submission = self.device.submit(Some(self.record(launches, Some(slot))));
            match self.staging.get(slot) {
                Some(staging) => staging.map(submission),
                None => Pending::done(&self.device, submission),
            }
        })?;
        self.device.check("while a run was submitted")?;
        self.in_flight.push_back((run, pending));
        self.next_run += 1;
        Ok(run)
    }

    fn write_step(&self, step_scalars: &[u32; STEP_WORDS]) {
        let mut step_bytes = [0u8; STEP_BYTES];
        for (place, word) in step_bytes.chunks_exact_mut(4).zip(step_scalars) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        self.device.queue().write_buffer(&self.step_block.raw, 0, &step_bytes);
    }

    /// The runs that have finished; see [`Plan::results_async`].
    ///
    /// # Errors
    /// Those of [`Plan::results_async`].
    pub fn results(&mut self, wait: bool) -> Result<Vec<RunResult>, Error> {
        pollster::block_on(self.results_async(wait))
    }

    /// The runs that have finished since the last call, oldest first, each with its streamed outputs in
    /// program order; with `wait`, all runs that were submitted.
    ///
    /// # Errors
    /// [`Error::Lost`] or [`Error::Device`] where the device has failed.
    pub async fn results_async(&mut self, wait: bool) -> Result<Vec<RunResult>, Error> {
        if !self.in_flight.is_empty() {
            self.device.poll("while results were collected", None)?;
        }
        while let Some((_, pending)) = self.in_flight.front_mut() {
            if !wait && !pending.is_ready() {
                break;
            }
            self.finish_oldest().await?;
        }
        Ok(self.finished.drain(..).collect())
    }

    /// Reads an output; see [`Plan::read_output_async`].
    ///
    /// # Errors
    /// Those of [`Plan::read_output_async`].
    pub fn read_output(&self, name: &str) -> Result<Vec<u8>, Error> {
        pollster::block_on(self.read_output_async(name))
    }

    /// Reads any output as the last submitted run leaves it, and waits for it.
    ///
    /// # Errors
    /// [`Error::UnknownName`] where the program has no such output, [`Error::Lost`], [`Error::Device`] or
    /// [`Error::OutOfMemory`] where the device has failed.
    pub async fn read_output_async(&self, name: &str) -> Result<Vec<u8>, Error> {
        let outputs = &self.program.outputs;
        let output = outputs.iter().find(|output| output.name == name).ok_or_else(|| Error::UnknownName {
            what: "output",
            name: name.to_string(),
            known: list(outputs.iter().map(|output| output.name.as_str())),
        })?;
        self.buffers[output.buffer.0].read_front_async(output.bytes).await
    }

    fn slot(&self, run: u64) -> usize {
        (run % RUNS_IN_FLIGHT as u64) as usize
    }

    fn launches(&self) -> Range<usize> {
        0..self.dispatches.len()
    }

    /// The pipeline that is set when a launch comes, which may rely on it.
    fn pipeline_before(&self, launch: usize) -> Option<&wgpu::ComputePipeline> {
        self.dispatches[..launch].iter().rev().find_map(|dispatch| dispatch.pipeline.as_ref())
    }

    /// Records launches and, for the end of a run, the copies of the streamed outputs into a staging slot.
    fn record(&self, launches: Range<usize>, slot: Option<usize>) -> wgpu::CommandBuffer {
        let mut encoder =
            self.device.raw().create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("run") });
        if !launches.is_empty() {
            let descriptor = wgpu::ComputePassDescriptor { label: Some("run"), timestamp_writes: None };
            // One pass: wgpu puts a barrier between launches that need one, and a pass costs microseconds.
            let mut pass = encoder.begin_compute_pass(&descriptor);
            if let Some(pipeline) = self.pipeline_before(launches.start) {
                pass.set_pipeline(pipeline);
            }
            for dispatch in &self.dispatches[launches] {
                if let Some(pipeline) = &dispatch.pipeline {
                    pass.set_pipeline(pipeline);
                }
                dispatch.record(&mut pass);
            }
        }
        if let Some(staging) = slot.and_then(|slot| self.staging.get(slot)) {
            for output in &self.streamed {
                let source = self.buffers[output.buffer].raw();
                encoder.copy_buffer_to_buffer(source, 0, staging.raw(), output.offset, Some(output.bytes));
            }
        }
        encoder.finish()
    }

    /// Waits for the oldest run in flight and keeps its streamed outputs.
    async fn finish_oldest(&mut self) -> Result<(), Error> {
        let Some((run, mut pending)) = self.in_flight.pop_front() else {
            return Ok(());
        };
        pending.wait(&self.device).await?;
        let mut outputs = Vec::with_capacity(self.streamed.len());
        if let Some(staging) = self.staging.get(self.slot(run)) {
            for output in &self.streamed {
                outputs.push(staging.copy_out(output.offset, output.bytes, &self.device)?);
            }
            staging.unmap();
        }
        self.finished.push_back((run, outputs));
        Ok(())
    }
}

impl Program {
    /// The memory that a plan of this program takes on a device with these limits, told without a device: the same
    /// functions lay out the plan's own buffers.
    pub fn memory(&self, limits: &Limits) -> Memory {
        let (mut slots, mut states, mut inputs, mut constants) = (0u64, 0u64, 0u64, 0u64);
        for buffer in &self.buffers {
            let sum = match buffer.role {
                BufferRole::Slot => &mut slots,
                BufferRole::State(_) => &mut states,
                BufferRole::Input(_) => &mut inputs,
                BufferRole::Constant(_) => &mut constants,
            };
            *sum = sum.saturating_add(buffer.bytes);
        }
        let (_, parameters) = parameter_layout(self, limits);
        let (_, streamed) = lay_out(&self.outputs);
        let staging = RUNS_IN_FLIGHT as u64 * streamed;
        Memory { states, inputs, constants, slots, parameters, step_block: STEP_BYTES as u64, staging }
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Plan({} launches on {:?})", self.dispatches.len(), self.device)
    }
}

/// Makes the plan's own buffers and takes the caller's states; also where each input is.
async fn make_buffers(
    device: &Device,
    program: &Program,
    states: &HashMap<String, Buffer>,
) -> Result<(Vec<Buffer>, HashMap<String, usize>), Error> {
    let mut buffers = Vec::with_capacity(program.buffers.len());
    let mut inputs = HashMap::new();
    for (index, spec) in program.buffers.iter().enumerate() {
        let buffer = match &spec.role {
            BufferRole::State(name) => state(states, name, spec.bytes)?,
            BufferRole::Slot => device.buffer_async(&spec.label, spec.bytes).await?,
            BufferRole::Input(name) => {
                inputs.insert(name.clone(), index);
                device.buffer_async(&spec.label, spec.bytes).await?
            }
            BufferRole::Constant(data) => {
                let buffer = device.buffer_async(&spec.label, spec.bytes).await?;
                buffer.write(data)?;
                buffer
            }
        };
        buffers.push(buffer);
    }
    Ok((buffers, inputs))
}

/// Clears the plan's own buffers: the first use of a buffer does so anyway, and the first run shall not pay. Done
/// before bind groups are made, which otherwise ask at every launch whether their buffers have been cleared.
async fn touch_buffers(device: &Device, program: &Program, buffers: &[Buffer]) -> Result<(), Error> {
    let touch = || {
        let mut encoder = device.raw().create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("clear") });
        for (spec, buffer) in program.buffers.iter().zip(buffers) {
            if matches!(spec.role, BufferRole::Slot | BufferRole::Input(_)) {
                encoder.clear_buffer(buffer.raw(), 0, None);
            }
        }
        device.submit(Some(encoder.finish()))
    };
    device.checked("while buffers were cleared", touch).await.map(|_| ())
}

fn state(states: &HashMap<String, Buffer>, name: &str, bytes: u64) -> Result<Buffer, Error> {
    let buffer = states.get(name).ok_or_else(|| {
        let mut known: Vec<&str> = states.keys().map(String::as_str).collect();
        known.sort_unstable();
        Error::UnknownName { what: "state", name: name.to_string(), known: list(known) }
    })?;
    if buffer.bytes() != bytes {
        let (expected, given) = (bytes, buffer.bytes());
        return Err(Error::WrongLength { what: "state", name: name.to_string(), expected, given });
    }
    Ok(buffer.clone())
}

/// Writes all parameter blocks into one buffer and makes the bind group of each launch.
async fn make_dispatches(
    device: &Device,
    program: &Program,
    pipelines: &[Arc<Pipeline>],
    buffers: &[Buffer],
    step_block: &Allocation,
) -> Result<(Vec<Dispatch>, Allocation), Error> {
    let (offsets, bytes) = parameter_layout(program, device.limits());
    let mut blocks = vec![0u8; bytes as usize];
    for (launch, offset) in program.launches.iter().zip(&offsets) {
        let offset = *offset as usize;
        blocks[offset..offset + launch.parameters.len()].copy_from_slice(&launch.parameters);
    }
    let uniform = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
    let parameters = Allocation::new(device, "parameters", bytes, uniform).await?;
    device.guarded("while parameters were written", || device.queue().write_buffer(&parameters.raw, 0, &blocks))?;
    let mut dispatches: Vec<Dispatch> = Vec::with_capacity(program.launches.len());
    let mut last_kernel = None;
    for (launch, offset) in program.launches.iter().zip(offsets) {
        let pipeline = &pipelines[launch.kernel];
        let resources = Resources { program, launch, buffers, step_block, parameters: &parameters, offset };
        let context = format!("while launch \"{}\" was bound", launch.label);
        let bind_group = device.checked(&context, || resources.bind(device, pipeline)).await?;
        device.count_bind_group();
        dispatches.push(Dispatch {
            pipeline: (last_kernel != Some(launch.kernel)).then(|| pipeline.raw.clone()),
            bind_group,
            groups: launch.groups,
        });
        last_kernel = Some(launch.kernel);
    }
    Ok((dispatches, parameters))
}

/// Where each launch's parameter block begins in the buffer of all of them, and how many bytes that buffer has.
fn parameter_layout(program: &Program, limits: &Limits) -> (Vec<u64>, u64) {
    let alignment = u64::from(limits.uniform_alignment.max(16));
    let mut offsets = Vec::with_capacity(program.launches.len());
    let mut next = 0u64;
    // What is bound beyond a launch's own block is not read; it may be the next block, and must exist. A program without
    // parameters still gets a block, which spares a special case elsewhere.
    let mut end = 16;
    for launch in &program.launches {
        let offset = next.next_multiple_of(alignment);
        offsets.push(offset);
        next = offset + launch.parameters.len() as u64;
        end = end.max(next).max(offset + program.kernels.get(launch.kernel).map_or(0, block_bytes));
    }
    (offsets, end)
}

/// What the bind group of one launch is made of.
struct Resources<'a> {
    program: &'a Program,
    launch: &'a Launch,
    buffers: &'a [Buffer],
    step_block: &'a Allocation,
    parameters: &'a Allocation,
    offset: u64,
}

impl Resources<'_> {
    fn bind(&self, device: &Device, pipeline: &Pipeline) -> wgpu::BindGroup {
        let kernel = &self.program.kernels[self.launch.kernel];
        let mut storage = self.launch.windows.iter();
        let mut entries = Vec::with_capacity(kernel.bindings.len());
        for (number, binding) in (0u32..).zip(kernel.bindings.iter()) {
            let resource = match binding.kind {
                BindingKind::Parameters => wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer: &self.parameters.raw,
                    offset: self.offset,
                    size: std::num::NonZeroU64::new(block_bytes(kernel)),
                }),
                BindingKind::StepScalars => self.step_block.raw.as_entire_binding(),
                BindingKind::Read | BindingKind::ReadWrite => match storage.next() {
                    Some(window) => wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                        buffer: self.buffers[window.buffer.0].raw(),
                        offset: window.offset,
                        size: window.bytes.and_then(std::num::NonZeroU64::new),
                    }),
                    None => continue, // `Program::verify` has counted them
                },
            };
            entries.push(wgpu::BindGroupEntry { binding: number, resource });
        }
        device.raw().create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(&self.launch.label),
            layout: &pipeline.layout,
            entries: &entries,
        })
    }
}

/// Where each streamed output goes in a staging buffer, and the staging buffer's size.
fn lay_out(outputs: &[Output]) -> (Vec<Streamed>, u64) {
    let mut end = 0u64;
    let mut streamed = Vec::new();
    for output in outputs.iter().filter(|output| output.streamed) {
        let offset = end.next_multiple_of(COPY_ALIGNMENT);
        streamed.push(Streamed { buffer: output.buffer.0, bytes: output.bytes, offset });
        end = offset + output.bytes;
    }
    (streamed, end)
}
