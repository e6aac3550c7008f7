//! Runs of a plan that tell how long each launch took.

use super::Plan;
use crate::buffer::Allocation;
use crate::device::Device;
use crate::error::Error;
use crate::kernel::STEP_WORDS;
use crate::readback::Staging;
use std::ops::Range;
use std::time::Instant;

/// Launches whose beginnings and ends one query set holds.
const PIECE: usize = wgpu::QUERY_SET_MAX_QUERIES as usize / 2;

/// What the times of [`Plan::run_timed`] were taken by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// The GPU's own clock, around each launch.
    Device,
    /// The host's clock around a submit and the wait for it, where the GPU has none: tens of microseconds more.
    Host,
}

impl Device {
    /// What [`Plan::run_timed`] measures by on this device.
    pub fn clock(&self) -> Clock {
        let has = self.raw().features().contains(wgpu::Features::TIMESTAMP_QUERY);
        if has { Clock::Device } else { Clock::Host }
    }
}

impl Plan {
    /// Runs once, waits, and returns the run's number, and when each launch began and ended, in seconds from some moment
    /// before the first. Results and their bits are those of [`Plan::run`], but each launch has a pass of its own.
    ///
    /// # Errors
    /// Those of [`Plan::run_async`].
    pub fn run_timed(&mut self, step_scalars: &[u32; STEP_WORDS]) -> Result<(u64, Vec<Range<f64>>), Error> {
        let mut times = Vec::with_capacity(self.dispatches.len());
        match self.device.clock() {
            Clock::Device => {
                let all = self.dispatches.len();
                let mut ticks = Vec::with_capacity(all);
                for start in (0..all).step_by(PIECE) {
                    ticks.extend(self.time_by_device(step_scalars, start..all.min(start + PIECE))?);
                }
                // Ticks since who knows when may have more digits than a number in double precision.
                let zero = ticks.first().map_or(0, |[begin, _]| *begin);
                let period = f64::from(self.device.queue().get_timestamp_period()) * 1e-9;
                let seconds = |tick: u64| tick.saturating_sub(zero) as f64 * period;
                times.extend(ticks.into_iter().map(|[begin, end]| seconds(begin)..seconds(end)));
            }
            Clock::Host => {
                let zero = Instant::now();
                for launch in 0..self.dispatches.len() {
                    let begin = zero.elapsed();
                    self.run_launches(step_scalars, launch..launch + 1)?;
                    let submission = self.device.guarded("while a launch was timed", || self.device.submit(None))?;
                    self.device.poll("while a launch was timed", Some(submission))?;
                    times.push(begin.as_secs_f64()..zero.elapsed().as_secs_f64());
                }
            }
        }
        Ok((self.end_run(step_scalars)?, times))
    }

    /// Submits launches with a timestamp before and after each, and waits for them; the timestamps, in the GPU's ticks.
    fn time_by_device(
        &mut self,
        step_scalars: &[u32; STEP_WORDS],
        launches: Range<usize>,
    ) -> Result<Vec<[u64; 2]>, Error> {
        let context = "while launches were timed";
        let count = 2 * launches.len() as u32;
        let bytes = 8 * u64::from(count);
        let device = &self.device;
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        let resolved = pollster::block_on(Allocation::new(device, "timestamps", bytes, usage))?;
        let staging = pollster::block_on(Staging::new(device, "timestamps", bytes))?;
        let mut pending = pollster::block_on(device.checked(context, || {
            let descriptor =
                wgpu::QuerySetDescriptor { label: Some("timestamps"), ty: wgpu::QueryType::Timestamp, count };
            let queries = device.raw().create_query_set(&descriptor);
            let mut encoder =
                device.raw().create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("timed run") });
            let mut pipeline = self.pipeline_before(launches.start);
            for (dispatch, query) in self.dispatches[launches.clone()].iter().zip((0..).step_by(2)) {
                let writes = wgpu::ComputePassTimestampWrites {
                    query_set: &queries,
                    beginning_of_pass_write_index: Some(query),
                    end_of_pass_write_index: Some(query + 1),
                };
                let descriptor = wgpu::ComputePassDescriptor { label: Some("timed"), timestamp_writes: Some(writes) };
                let mut pass = encoder.begin_compute_pass(&descriptor);
                pipeline = dispatch.pipeline.as_ref().or(pipeline);
                if let Some(pipeline) = pipeline {
                    pass.set_pipeline(pipeline);
                }
                dispatch.record(&mut pass);
            }
            encoder.resolve_query_set(&queries, 0..count, &resolved.raw, 0);
            encoder.copy_buffer_to_buffer(&resolved.raw, 0, staging.raw(), 0, Some(bytes));
            self.write_step(step_scalars);
            staging.map(device.submit(Some(encoder.finish())))
        }))?;
        pollster::block_on(pending.wait(device))?;
        let ticks = staging.take(0, bytes, device)?;
        let tick = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap_or_default());
        Ok(ticks.chunks_exact(16).map(|pair| [tick(&pair[..8]), tick(&pair[8..])]).collect())
    }
}
