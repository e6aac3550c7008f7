//! Runs of a plan launch by launch, for those who look at its buffers in between.

use super::Plan;
use crate::buffer::Buffer;
use crate::error::Error;
use crate::kernel::STEP_WORDS;
use crate::program::BufferId;
use std::ops::Range;

impl Plan {
    /// A buffer of the program, for those who look at it between launches.
    pub fn buffer(&self, id: BufferId) -> Option<&Buffer> {
        self.buffers.get(id.0)
    }

    /// Submits some of the launches alone, for those who look at buffers between launches; see [`Plan::end_run`].
    ///
    /// # Errors
    /// [`Error::Lost`] or [`Error::Device`] where the device has failed, [`Error::Internal`] where there are fewer
    /// launches.
    pub fn run_launches(&mut self, step_scalars: &[u32; STEP_WORDS], launches: Range<usize>) -> Result<(), Error> {
        if launches.end > self.dispatches.len() {
            let message = format!("launches {launches:?} of {} were asked for", self.dispatches.len());
            return Err(Error::internal(message));
        }
        self.device.guarded("while launches were submitted", || {
            self.write_step(step_scalars);
            self.device.submit(Some(self.record(launches, None)));
        })?;
        self.device.check("while launches were submitted")
    }

    /// Ends a run whose launches were all submitted by [`Plan::run_launches`]: returns its number as [`Plan::run`]
    /// does, and its streamed outputs come with the results.
    ///
    /// # Errors
    /// Those of [`Plan::run_async`].
    pub fn end_run(&mut self, step_scalars: &[u32; STEP_WORDS]) -> Result<u64, Error> {
        let end = self.dispatches.len();
        pollster::block_on(self.run_counted(step_scalars, end..end))
    }
}
