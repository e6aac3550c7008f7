//! Work on many items in threads, each of which takes the next item that nobody has.

use std::num::NonZero;
use std::sync::{Mutex, PoisonError};

/// Calls `work` once for each item, in `threads` threads (0: one on each core). Where a result goes must be part of
/// the item; then nothing depends on who takes it.
pub(crate) fn for_each<T: Send>(threads: usize, items: impl Iterator<Item = T> + Send, work: impl Fn(T) + Sync) {
    let threads = match threads {
        0 => std::thread::available_parallelism().map_or(1, NonZero::get),
        threads => threads,
    };
    let items = Mutex::new(items);
    let take = || items.lock().unwrap_or_else(PoisonError::into_inner).next();
    std::thread::scope(|scope| {
        for _ in 0..threads.min(256) {
            scope.spawn(|| {
                while let Some(item) = take() {
                    work(item);
                }
            });
        }
    });
}
