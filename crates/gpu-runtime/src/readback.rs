//! Bytes on their way back from the GPU: staging buffers, and answers that arrive later.

use crate::buffer::Allocation;
use crate::device::Device;
use crate::error::Error;
use futures_intrusive::channel::shared::{OneshotReceiver, oneshot_channel};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// How long an answer may take to arrive once its submission is done; in truth it takes microseconds.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// A buffer that the host can map.
pub(crate) struct Staging {
    allocation: Allocation,
    bytes: u64,
}

/// The answer to a submission, which arrives inside a poll (in a browser: whenever it likes).
pub(crate) struct Pending {
    submission: wgpu::SubmissionIndex,
    receiver: OneshotReceiver<Result<(), wgpu::BufferAsyncError>>,
    answer: Option<Result<(), String>>,
}

impl Staging {
    pub(crate) async fn new(device: &Device, label: &str, bytes: u64) -> Result<Staging, Error> {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        Ok(Staging { allocation: Allocation::new(device, label, bytes, usage).await?, bytes })
    }

    pub(crate) fn raw(&self) -> &wgpu::Buffer {
        &self.allocation.raw
    }

    /// Asks for the bytes, once the submission that writes them is done.
    pub(crate) fn map(&self, submission: wgpu::SubmissionIndex) -> Pending {
        let (sender, receiver) = oneshot_channel();
        self.raw().map_async(wgpu::MapMode::Read, 0..self.bytes, move |result| {
            // Nobody listens where the plan was dropped meanwhile.
            let _ = sender.send(result);
        });
        Pending { submission, receiver, answer: None }
    }

    /// Copies bytes out of the mapped buffer.
    pub(crate) fn copy_out(&self, offset: u64, bytes: u64, device: &Device) -> Result<Vec<u8>, Error> {
        let context = "while results were copied";
        let view = device.guarded(context, || self.raw().get_mapped_range(offset..offset + bytes))?;
        match view {
            Ok(view) => Ok(view.to_vec()),
            Err(error) => Err(Error::Device { context: context.to_string(), message: error.to_string() }),
        }
    }

    /// Gives the buffer back to the GPU.
    pub(crate) fn unmap(&self) {
        self.raw().unmap();
    }

    /// Copies bytes out, then gives the buffer back to the GPU.
    pub(crate) fn take(&self, offset: u64, bytes: u64, device: &Device) -> Result<Vec<u8>, Error> {
        let copied = self.copy_out(offset, bytes, device);
        self.unmap();
        copied
    }
}

impl Pending {
    /// Asks to be told when the submission is done, where no bytes come back.
    pub(crate) fn done(device: &Device, submission: wgpu::SubmissionIndex) -> Pending {
        let (sender, receiver) = oneshot_channel();
        device.queue().on_submitted_work_done(move || {
            let _ = sender.send(Ok(()));
        });
        Pending { submission, receiver, answer: None }
    }

    /// Whether the answer has arrived; the caller polls the device first.
    pub(crate) fn is_ready(&mut self) -> bool {
        if self.answer.is_none() {
            let receive = pin!(self.receiver.receive());
            if let Poll::Ready(received) = receive.poll(&mut Context::from_waker(Waker::noop())) {
                self.answer = Some(told(received));
            }
        }
        self.answer.is_some()
    }

    /// Waits for the answer.
    pub(crate) async fn wait(&mut self, device: &Device) -> Result<(), Error> {
        let context = "while results were waited for";
        if !self.is_ready() {
            device.poll(context, Some(self.submission.clone()))?;
        }
        if cfg!(target_family = "wasm") {
            if !self.is_ready() {
                self.answer = Some(told(self.receiver.receive().await));
            }
        } else {
            self.await_other_threads(device, context)?;
        }
        match &self.answer {
            Some(Ok(())) => Ok(()),
            Some(Err(message)) => {
                device.check(context)?;
                Err(Error::Device { context: context.to_string(), message: message.clone() })
            }
            None => {
                let message = "the submission ended without an answer".to_string();
                Err(Error::Device { context: context.to_string(), message })
            }
        }
    }

    /// Another thread that polls the same device may have taken this answer up and not yet delivered it, or a
    /// submission of its own may have come between this one and the request to be told: the answer is then a moment
    /// away although this submission is done.
    fn await_other_threads(&mut self, device: &Device, context: &str) -> Result<(), Error> {
        let begin = std::time::Instant::now();
        while !self.is_ready() && begin.elapsed() < PATIENCE {
            std::thread::sleep(std::time::Duration::from_micros(20));
            device.poll(context, None)?;
        }
        Ok(())
    }
}

fn told(received: Option<Result<(), wgpu::BufferAsyncError>>) -> Result<(), String> {
    match received {
        Some(Ok(())) => Ok(()),
        Some(Err(error)) => Err(error.to_string()),
        None => Err("the driver dropped the request".to_string()),
    }
}
