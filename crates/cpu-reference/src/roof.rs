//! What the processor can do at best, measured: the roof that kernels are held against.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Bytes that are copied: more than caches hold.
const COPY_BYTES: usize = 128 << 20;
/// Bytes of a task of the copy.
const PART: usize = 1 << 20;
/// Products and sums that do not wait for each other: enough for two units with a latency of four or five cycles.
const CHAINS: usize = 12;
/// Steps of a task.
const STEPS: usize = 1 << 16;
/// How long each rate is measured.
const TIME: Duration = Duration::from_millis(300);

/// Bytes read and written a second by a copy on all threads of the pool.
pub fn copy_rate() -> f64 {
    let from = vec![1u8; COPY_BYTES];
    let mut to = vec![0u8; COPY_BYTES];
    let seconds = least(|| {
        to.par_chunks_mut(PART).zip(from.par_chunks(PART)).for_each(|(to, from)| {
            to.copy_from_slice(from);
        })
    });
    black_box(&to);
    2.0 * COPY_BYTES as f64 / seconds
}

/// `f32` operations a second, two for each multiply-add, on all threads of the pool.
pub fn multiply_add_rate() -> f64 {
    let arch = Arch::new();
    let threads = rayon::current_num_threads();
    let lanes = arch.dispatch(Lanes);
    let seconds = least(|| {
        (0..threads).into_par_iter().for_each(|_| {
            black_box(arch.dispatch(MultiplyAdds { factor: black_box(0.999) }));
        });
    });
    (2 * threads * lanes * CHAINS * STEPS) as f64 / seconds
}

/// The shortest time of many runs, in seconds.
fn least(mut run: impl FnMut()) -> f64 {
    run();
    let begin = Instant::now();
    let mut least = f64::INFINITY;
    while begin.elapsed() < TIME {
        let start = Instant::now();
        run();
        least = least.min(start.elapsed().as_secs_f64());
    }
    least
}

/// How many numbers a vector of the machine has.
struct Lanes;

impl WithSimd for Lanes {
    type Output = usize;

    fn with_simd<S: Simd>(self, _: S) -> usize {
        S::F32_LANES
    }
}

struct MultiplyAdds {
    factor: f32,
}

impl WithSimd for MultiplyAdds {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f32 {
        let factor = simd.splat_f32s(self.factor);
        let mut chains = [simd.splat_f32s(1.0); CHAINS];
        for _ in 0..STEPS {
            for chain in &mut chains {
                *chain = simd.mul_add_f32s(*chain, factor, factor);
            }
        }
        let sum = chains.into_iter().fold(simd.splat_f32s(0.0), |sum, chain| simd.add_f32s(sum, chain));
        simd.reduce_sum_f32s(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_a_machine() {
        // A core of the last twenty years moves and computes more than this, and none so much more.
        let (copy, multiply_add) = (copy_rate(), multiply_add_rate());
        assert!((1e8..1e14).contains(&copy), "{copy}");
        assert!((1e8..1e16).contains(&multiply_add), "{multiply_add}");
    }
}
