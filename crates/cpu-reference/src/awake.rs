//! The threads of the pool, kept awake while many kernels run in a row.
//!
//! Between two kernels a thread without work would fall asleep, and waking it takes about as long as a small kernel. Here
//! the others look for work until all is done.

use std::sync::atomic::{AtomicBool, Ordering};

/// Looks without success after which other programs are let in.
const PATIENCE: usize = 64;

/// Runs `work` on a thread of the pool that the kernels share, while its other threads wait for parts of it awake.
///
/// A kernel that is called from any other thread has its work handed over and waited for, two changes of thread each;
/// many kernels in a row are faster called from within.
pub fn on_pool<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    let over = AtomicBool::new(false);
    let over = &over;
    rayon::scope(|scope| {
        let own = rayon::current_thread_index();
        if rayon::current_num_threads() > 1 {
            // No thread can take this from another: the one that works must not wait for itself.
            scope.spawn_broadcast(move |_, thread| {
                if own != Some(thread.index()) {
                    look_for_work(over);
                }
            });
        }
        let _end = End(over);
        work()
    })
}

/// Takes what others hand out until all is over.
fn look_for_work(over: &AtomicBool) {
    let mut idle = 0;
    while !over.load(Ordering::Acquire) {
        idle = match rayon::yield_now() {
            Some(rayon::Yield::Executed) => 0,
            _ => idle + 1,
        };
        if idle % PATIENCE == PATIENCE - 1 {
            std::thread::yield_now();
        } else {
            std::hint::spin_loop();
        }
    }
}

/// Says that all is over, also if it ends in a panic.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rayon::prelude::*;

    fn on_threads<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(work)
    }

    fn square_sum(count: u64) -> u64 {
        (0..count).into_par_iter().map(|number| number * number).sum()
    }

    #[test]
    fn work_is_done_whoever_waits() {
        for threads in [1, 2, 5] {
            let found = on_threads(threads, || on_pool(|| (0..300).map(|_| square_sum(1000)).max()));
            assert_eq!(found, Some(332_833_500));
        }
    }

    #[test]
    fn programs_run_beside_and_within_each_other() {
        let found = on_threads(2, || {
            let each = |_| on_pool(|| (0..50).map(|_| on_pool(|| square_sum(100))).sum::<u64>());
            (0..40).into_par_iter().map(each).sum::<u64>()
        });
        assert_eq!(found, 40 * 50 * 328_350);
    }

    #[test]
    fn a_panic_lets_all_go() {
        let caught = on_threads(3, || std::panic::catch_unwind(|| on_pool(|| panic!("internal: a fault"))));
        assert!(caught.is_err());
    }
}
