//! Memory for tensors: beginning at a cache line, and on large pages.

/// Bytes of a cache line, and of the widest vector: one that lies across two lines is read and written twice.
const LINE: usize = 64;
/// Less memory than this is left on small pages, in bytes: a large page has 2 MiB.
#[cfg(target_os = "linux")]
const LARGE: usize = 8 << 20;

/// Bytes that begin at a cache line.
#[derive(Debug, Default)]
pub struct Bytes {
    words: Vec<u64>,
    /// Words before the first cache line.
    start: usize,
    length: usize,
}

impl Bytes {
    /// `length` zero bytes.
    pub fn zeroed(length: usize) -> Bytes {
        if length == 0 {
            return Bytes::default();
        }
        // The system gives zeroed memory that is not touched before it is used; memory of a larger alignment would be.
        let mut words = vec![0u64; length.div_ceil(8) + LINE / 8 - 1];
        let start = words.as_ptr().align_offset(LINE).min(LINE / 8 - 1);
        prefer_large_pages(&mut words);
        Bytes { words, start, length }
    }

    /// A copy of the given bytes.
    pub fn copy_of(source: &[u8]) -> Bytes {
        let mut bytes = Bytes::zeroed(source.len());
        bytes.as_mut().copy_from_slice(source);
        bytes
    }
}

impl AsRef<[u8]> for Bytes {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words[self.start..])[..self.length]
    }
}

impl AsMut<[u8]> for Bytes {
    #[inline]
    fn as_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.words[self.start..])[..self.length]
    }
}

impl Clone for Bytes {
    fn clone(&self) -> Bytes {
        Bytes::copy_of(self.as_ref())
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Bytes) -> bool {
        self.as_ref() == other.as_ref()
    }
}

impl Eq for Bytes {}

/// Asks the system to back large memory by large pages, before it is touched: a pass over it then finds where its pages lie
/// without looking for each 4 KiB anew, and one fault fills 512 of them. Where the system has none, or gives them by
/// itself, nothing happens.
fn prefer_large_pages(memory: &mut [u64]) {
    #[cfg(target_os = "linux")]
    if size_of_val(memory) >= LARGE {
        const PAGE: usize = 4096;
        let start = memory.as_mut_ptr();
        let skipped = start.addr().next_multiple_of(PAGE) - start.addr();
        let length = (size_of_val(memory) - skipped) / PAGE * PAGE;
        // SAFETY: the range begins at a page and lies within the slice, which is borrowed exclusively; the advice changes
        // none of its bytes. A refusal is no fault, so the result says nothing of use.
        #[allow(unsafe_code)]
        unsafe {
            libc::madvise(start.byte_add(skipped).cast(), length, libc::MADV_HUGEPAGE);
        }
    }
    let _ = memory;
}

/// Scratch of a thread that outlives a call, so that a call costs no allocation of it.
pub(crate) struct Scratch(std::cell::Cell<Bytes>);

impl Scratch {
    pub(crate) const fn new() -> Scratch {
        Scratch(std::cell::Cell::new(Bytes { words: Vec::new(), start: 0, length: 0 }))
    }

    /// Lends so many elements, whose values are left over from before. What a task on the same thread lends meanwhile is
    /// memory of its own, and dropped.
    pub(crate) fn lend<T: bytemuck::Pod, R>(&self, count: usize, work: impl FnOnce(&mut [T]) -> R) -> R {
        let mut memory = self.0.take();
        let needed = count * size_of::<T>();
        if memory.length < needed {
            memory = Bytes::zeroed(needed);
        }
        let result = work(bytemuck::cast_slice_mut(&mut memory.as_mut()[..needed]));
        self.0.set(memory);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_begin_at_a_cache_line_and_copies_too() {
        for length in [0, 1, 8, 63, 64, 1000, 9 << 20] {
            let mut bytes = Bytes::zeroed(length);
            assert_eq!(bytes.as_ref().len(), length);
            assert!(bytes.as_ref().iter().all(|&byte| byte == 0));
            bytes.as_mut().iter_mut().for_each(|byte| *byte = 7);
            let copy = bytes.clone();
            assert_eq!(bytes, copy);
            for bytes in [&bytes, &copy] {
                assert!(length == 0 || bytes.as_ref().as_ptr().addr().is_multiple_of(LINE), "{length}");
            }
        }
        assert_ne!(Bytes::zeroed(3), Bytes::zeroed(4));
    }

    #[test]
    fn scratch_may_be_lent_while_it_is_lent() {
        let scratch = Scratch::new();
        let sum = scratch.lend(5, |outer: &mut [f64]| {
            outer.fill(1.0);
            scratch.lend(9, |inner: &mut [f32]| inner.fill(2.0));
            outer.iter().sum::<f64>()
        });
        assert_eq!(sum, 5.0);
    }
}
