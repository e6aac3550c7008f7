//! Memory on the GPU that the caller may write and read.

use crate::device::Device;
use crate::error::Error;
use crate::readback::Staging;
use std::fmt;
use std::sync::Arc;

/// A write this large is pushed to the GPU at once, so that staging memory does not pile up.
const FLUSH_BYTES: usize = 4 << 20;

/// A GPU buffer with its share of the memory budget, given back when it is dropped.
pub(crate) struct Allocation {
    pub(crate) raw: wgpu::Buffer,
    device: Device,
    reserved: u64,
}

impl Drop for Allocation {
    fn drop(&mut self) {
        self.device.release(self.reserved);
    }
}

impl Allocation {
    /// Makes a buffer of `bytes`, a multiple of 4 above 0.
    pub(crate) async fn new(
        device: &Device,
        label: &str,
        bytes: u64,
        usage: wgpu::BufferUsages,
    ) -> Result<Allocation, Error> {
        let limit = device.limits().max_buffer_bytes;
        if bytes > limit {
            let remedy = "use a smaller batch or model".to_string();
            let what = "the largest buffer";
            return Err(Error::TooLarge { label: label.to_string(), bytes, limit, what, remedy });
        }
        // Staging buffers are host memory and short-lived: the budget is for the GPU's.
        let reserved = if usage.contains(wgpu::BufferUsages::MAP_READ) { 0 } else { bytes };
        device.reserve(label, reserved)?;
        let descriptor = wgpu::BufferDescriptor { label: Some(label), size: bytes, usage, mapped_at_creation: false };
        let context = format!("while buffer \"{label}\" of {bytes} bytes was made");
        let made = device.checked(&context, || device.raw().create_buffer(&descriptor)).await;
        match made {
            Ok(raw) => {
                device.count_buffer();
                Ok(Allocation { raw, device: device.clone(), reserved })
            }
            Err(error) => {
                device.release(reserved);
                Err(error)
            }
        }
    }
}

/// A storage buffer; clones share its memory. It begins filled with zeros.
#[derive(Clone)]
pub struct Buffer {
    inner: Arc<Inner>,
}

struct Inner {
    allocation: Allocation,
    label: String,
    bytes: u64,
}

impl Device {
    /// Makes a buffer; see [`Device::buffer_async`].
    ///
    /// # Errors
    /// Those of [`Device::buffer_async`].
    pub fn buffer(&self, label: &str, bytes: u64) -> Result<Buffer, Error> {
        pollster::block_on(self.buffer_async(label, bytes))
    }

    /// Makes a storage buffer of `bytes`, rounded up to a multiple of 4, filled with zeros.
    ///
    /// # Errors
    /// [`Error::TooLarge`] and [`Error::OverBudget`] before anything is allocated, [`Error::OutOfMemory`]
    /// where the driver has no more, [`Error::Internal`] for 0 bytes.
    pub async fn buffer_async(&self, label: &str, bytes: u64) -> Result<Buffer, Error> {
        if bytes == 0 {
            return Err(Error::internal(format!("buffer \"{label}\" has no bytes")));
        }
        let bytes = bytes.checked_next_multiple_of(4).unwrap_or(u64::MAX);
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let allocation = Allocation::new(self, label, bytes, usage).await?;
        Ok(Buffer { inner: Arc::new(Inner { allocation, label: label.to_string(), bytes }) })
    }
}

impl Buffer {
    /// Size in bytes, a multiple of 4.
    pub fn bytes(&self) -> u64 {
        self.inner.bytes
    }

    /// The label that it was made with.
    pub fn label(&self) -> &str {
        &self.inner.label
    }

    /// The device that it lives on.
    pub fn device(&self) -> &Device {
        &self.inner.allocation.device
    }

    pub(crate) fn raw(&self) -> &wgpu::Buffer {
        &self.inner.allocation.raw
    }

    /// Replaces the whole content; runs that were submitted before still see the old one.
    ///
    /// `data` may be up to 3 bytes shorter than the buffer, whose size is rounded up to a multiple of 4.
    ///
    /// # Errors
    /// [`Error::WrongLength`] for any other length, [`Error::Lost`] or [`Error::Device`] where the device
    /// has failed.
    pub fn write(&self, data: &[u8]) -> Result<(), Error> {
        if (data.len() as u64).next_multiple_of(4) != self.bytes() {
            return Err(Error::WrongLength {
                what: "buffer",
                name: self.label().to_string(),
                expected: self.bytes(),
                given: data.len() as u64,
            });
        }
        let padded: Vec<u8>;
        let data = if data.len().is_multiple_of(4) {
            data
        } else {
            padded = data.iter().copied().chain([0; 4]).take(self.bytes() as usize).collect();
            &padded
        };
        let device = self.device();
        device.guarded("while a buffer was written", || {
            device.queue().write_buffer(self.raw(), 0, data);
            if data.len() >= FLUSH_BYTES {
                device.submit(None);
            }
        })
    }

    /// Reads the whole content; see [`Buffer::read_async`].
    ///
    /// # Errors
    /// Those of [`Buffer::read_async`].
    pub fn read(&self) -> Result<Vec<u8>, Error> {
        pollster::block_on(self.read_async())
    }

    /// Reads the whole content, after everything that was submitted before.
    ///
    /// # Errors
    /// [`Error::Lost`], [`Error::Device`] or [`Error::OutOfMemory`] where the device has failed.
    pub async fn read_async(&self) -> Result<Vec<u8>, Error> {
        self.read_front_async(self.bytes()).await
    }

    /// Reads the first `bytes`, a multiple of 4; see [`Buffer::read_async`].
    ///
    /// # Errors
    /// [`Error::Internal`] unless `bytes` is a multiple of 4 within the buffer; those of [`Buffer::read_async`].
    pub fn read_front(&self, bytes: u64) -> Result<Vec<u8>, Error> {
        self.check_front(bytes)?;
        pollster::block_on(self.read_front_async(bytes))
    }

    /// Replaces the first bytes, a multiple of 4, and leaves the others.
    ///
    /// # Errors
    /// [`Error::Internal`] unless their number is a multiple of 4 within the buffer; those of [`Buffer::write`].
    pub fn write_front(&self, data: &[u8]) -> Result<(), Error> {
        self.check_front(data.len() as u64)?;
        let device = self.device();
        device.guarded("while a buffer was written", || device.queue().write_buffer(self.raw(), 0, data))
    }

    fn check_front(&self, bytes: u64) -> Result<(), Error> {
        if bytes > self.bytes() || !bytes.is_multiple_of(4) {
            return Err(Error::internal(format!("{bytes} of the {} bytes of {:?}", self.bytes(), self.label())));
        }
        Ok(())
    }

    /// Reads the first `bytes`, a multiple of 4 within the buffer.
    pub(crate) async fn read_front_async(&self, bytes: u64) -> Result<Vec<u8>, Error> {
        let device = self.device();
        let context = "while a buffer was read";
        let staging = Staging::new(device, "read", bytes).await?;
        let mut pending = device.guarded(context, || {
            let mut encoder =
                device.raw().create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("read") });
            encoder.copy_buffer_to_buffer(self.raw(), 0, staging.raw(), 0, Some(bytes));
            let submission = device.submit(Some(encoder.finish()));
            staging.map(submission)
        })?;
        pending.wait(device).await?;
        staging.take(0, bytes, device)
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Buffer({:?}, {} bytes)", self.label(), self.bytes())
    }
}
