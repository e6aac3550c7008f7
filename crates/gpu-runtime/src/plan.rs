//! A program made ready for a device: everything is created and validated once, then run any number of times.

use crate::buffer::{Allocation, Buffer};
use crate::device::Device;
use crate::error::{Error, list};
use crate::kernel::{BindingKind, STEP_WORDS};
use crate::pipeline::{Pipeline, pipeline};
use crate::program::{BufferRole, Launch, Output, Program};
use crate::readback::{Pending, Staging};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

/// Runs that may be submitted and not yet finished.
const RUNS_IN_FLIGHT: usize = 4;

/// Streamed outputs begin at multiples of this, which every backend can copy to.
const COPY_ALIGNMENT: u64 = 256;

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
        let uniform = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let step_block = Allocation::new(device, "step scalars", 4 * STEP_WORDS as u64, uniform).await?;
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
        device.checked("while the program was recorded", || plan.record(0)).await?;
        plan.touch_buffers().await?;
        Ok(plan)
    }

    /// The program that this plan runs.
    pub fn program(&self) -> &Arc<Program> {
        &self.program
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
        if self.in_flight.len() >= RUNS_IN_FLIGHT {
            self.finish_oldest().await?;
        }
        let mut step_bytes = [0u8; 4 * STEP_WORDS];
        for (place, word) in step_bytes.chunks_exact_mut(4).zip(step_scalars) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        let run = self.next_run;
        let slot = self.slot(run);
        let pending = self.device.guarded("while a run was submitted", || {
            self.device.queue().write_buffer(&self.step_block.raw, 0, &step_bytes);
            let submission = self.device.submit(Some(self.record(slot)));
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
        self.buffers[output.buffer.0].read_front(output.bytes).await
    }

    fn slot(&self, run: u64) -> usize {
        (run % RUNS_IN_FLIGHT as u64) as usize
    }

    /// Records every launch and the copies of the streamed outputs into a staging slot.
    fn record(&self, slot: usize) -> wgpu::CommandBuffer {
        let mut encoder =
            self.device.raw().create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("run") });
        if !self.dispatches.is_empty() {
            let descriptor = wgpu::ComputePassDescriptor { label: Some("run"), timestamp_writes: None };
            // One pass: wgpu puts a barrier between launches that need one, and a pass costs microseconds.
            let mut pass = encoder.begin_compute_pass(&descriptor);
            for dispatch in &self.dispatches {
                if let Some(pipeline) = &dispatch.pipeline {
                    pass.set_pipeline(pipeline);
                }
                pass.set_bind_group(0, &dispatch.bind_group, &[]);
                let [x, y, z] = dispatch.groups;
                pass.dispatch_workgroups(x, y, z);
            }
        }
        if let Some(staging) = self.staging.get(slot) {
            for output in &self.streamed {
                let source = self.buffers[output.buffer].raw();
                encoder.copy_buffer_to_buffer(source, 0, staging.raw(), output.offset, Some(output.bytes));
            }
        }
        encoder.finish()
    }

    /// Clears the plan's own buffers: the first use of a buffer does so anyway, and the first run shall not pay.
    async fn touch_buffers(&self) -> Result<(), Error> {
        let device = &self.device;
        let touch = || {
            let mut encoder =
                device.raw().create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("clear") });
            for (spec, buffer) in self.program.buffers.iter().zip(&self.buffers) {
                if matches!(spec.role, BufferRole::Slot | BufferRole::Input(_)) {
                    encoder.clear_buffer(buffer.raw(), 0, None);
                }
            }
            device.submit(Some(encoder.finish()))
        };
        device.checked("while buffers were cleared", touch).await.map(|_| ())
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
    let alignment = u64::from(device.limits().uniform_alignment.max(16));
    let mut blocks = Vec::new();
    let mut offsets = Vec::with_capacity(program.launches.len());
    for launch in &program.launches {
        blocks.resize(blocks.len().next_multiple_of(alignment as usize), 0u8);
        offsets.push(blocks.len() as u64);
        blocks.extend_from_slice(&launch.parameters);
    }
    // A program without parameters still gets a block, which spares a special case below.
    blocks.resize(blocks.len().max(16), 0);
    let uniform = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
    let parameters = Allocation::new(device, "parameters", blocks.len() as u64, uniform).await?;
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
                    size: std::num::NonZeroU64::new(u64::from(kernel.parameter_bytes)),
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
