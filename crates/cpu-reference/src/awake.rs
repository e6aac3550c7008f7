//! The threads of the pool, kept awake while many kernels run in a row.
//!
//! Between two kernels a thread without work would fall asleep, and waking it takes about as long as a small kernel. Here
//! the others look for work until all is done, and for a moment longer, since a program is often run again.
//!
//! Looking must never hold anybody up: a thread may come to look for the work of a program while a part of that very
//! program lies unfinished below on its own stack, and would then wait for itself. So whoever finds nothing for a while
//! gives up, and nobody waits for those who look.

use std::cell::Cell;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Looks without success after which other programs of the machine are let in.
const PATIENCE: usize = 64;

/// Time without success after which a thread gives up: longer than most programs go without a kernel worth sharing.
const LONGEST_SEARCH: Duration = Duration::from_millis(5);

/// Time after the last program after which a thread gives up: a few times what waking it takes.
const REST: Duration = Duration::from_micros(200);

/// Programs that run, on whatever pool.
static RUNNING: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static LOOKING: Cell<bool> = const { Cell::new(false) };
}

/// How many threads the pool has.
pub fn threads() -> usize {
    rayon::current_num_threads()
}

/// Sets how many threads the pool has; 0: as many as the machine has cores, or as `RAYON_NUM_THREADS` says.
///
/// Where there are two or more the calling thread becomes one of them, so that programs which it runs are not handed over
/// to another. Call it on the thread that trains: while that thread does other things, the pool has one fewer.
///
/// # Errors
/// If kernels ran already, or the system gives no threads.
pub fn set_threads(threads: usize) -> Result<(), String> {
    let threads = if threads > 0 { threads } else { default_threads() };
    let builder = rayon::ThreadPoolBuilder::new().num_threads(threads);
    // A pool of the calling thread alone would leave the programs of all other threads undone.
    let builder = if threads > 1 { builder.use_current_thread() } else { builder };
    builder.build_global().map_err(|error| format!("the CPU's kernels cannot run on {threads} threads: {error}"))
}

fn default_threads() -> usize {
    let variable = std::env::var("RAYON_NUM_THREADS").ok().and_then(|threads| threads.parse().ok());
    let cores = || std::thread::available_parallelism().map_or(1, NonZero::get);
    variable.filter(|&threads| threads > 0).unwrap_or_else(cores)
}

/// Runs `work` on a thread of the pool that the kernels share, while its other threads look out for parts of it.
///
/// A kernel that is called from any other thread has its work handed over and waited for, two changes of thread each;
/// many kernels in a row are faster called from within.
pub fn on_pool<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    // A scope for its thread only: what it is given to run is on the pool, whoever calls.
    rayon::scope(|_| {
        RUNNING.fetch_add(1, Ordering::Relaxed);
        let _end = End;
        let own = rayon::current_thread_index();
        if rayon::current_num_threads() > 1 {
            rayon::spawn_broadcast(move |thread| {
                if own != Some(thread.index()) {
                    look_for_work();
                }
            });
        }
        work()
    })
}

/// Takes what others hand out until all is over, or nothing has come for a while.
fn look_for_work() {
    if LOOKING.replace(true) {
        // Found while it looked, and goes on looking when this returns.
        return;
    }
    let mut idle = 0;
    let mut found = Instant::now();
    let mut running = found;
    loop {
        if let Some(rayon::Yield::Executed) = rayon::yield_now() {
            (idle, found) = (0, Instant::now());
            continue;
        }
        idle += 1;
        if idle % PATIENCE != 0 {
            std::hint::spin_loop();
            continue;
        }
        let now = Instant::now();
        if RUNNING.load(Ordering::Relaxed) > 0 {
            running = now;
        }
        if now - found > LONGEST_SEARCH || now - running > REST {
            break;
        }
        std::thread::yield_now();
    }
    LOOKING.set(false);
}

/// Says that a program is over, also if it ends in a panic.
struct End;

impl Drop for End {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rayon::prelude::*;
    use std::sync::atomic::AtomicBool;

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

    /// A thread comes to look for the work of a program that waits for what the thread was doing.
    #[test]
    fn who_is_waited_for_gives_up_looking() {
        let reach = |flag: &AtomicBool| flag.store(true, Ordering::Release);
        let wait = |flag: &AtomicBool| {
            while !flag.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
        };
        let [other_began, program_began, other_ended] = [const { AtomicBool::new(false) }; 3];
        let program = || {
            wait(&other_began);
            on_pool(|| {
                reach(&program_began);
                wait(&other_ended);
            });
        };
        let other = || {
            reach(&other_began);
            wait(&program_began);
            let looked = rayon::yield_now();
            reach(&other_ended);
            looked
        };
        let ((), looked) = on_threads(2, || rayon::join(program, other));
        assert_eq!(looked, Some(rayon::Yield::Executed));
    }

    #[test]
    fn a_panic_lets_all_go() {
        let caught = on_threads(3, || std::panic::catch_unwind(|| on_pool(|| panic!("internal: a fault"))));
        assert!(caught.is_err());
    }
}
