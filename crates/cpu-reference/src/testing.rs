//! What the kernels' tests share: test values, thread pools, comparison.

use crate::philox::Philox;
use crate::real::Real;

/// Values from a normal distribution.
pub(crate) fn values<T: Real>(count: usize, seed: u64) -> Vec<T> {
    let mut random = Philox::new(seed, 77);
    (0..count).map(|_| T::from_f64(random.normal())).collect()
}

/// The result of `work` inside a pool of this many threads.
pub(crate) fn with_threads<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.expect("a thread pool").install(work)
}

/// Whether 1, 2 and 5 threads give the same bits.
pub(crate) fn assert_same_bits<T: bytemuck::NoUninit + Send>(work: impl Fn() -> Vec<T> + Sync) {
    let one = with_threads(1, &work);
    for threads in [2, 5] {
        let many = with_threads(threads, &work);
        assert!(
            bytemuck::cast_slice::<T, u8>(&one) == bytemuck::cast_slice::<T, u8>(&many),
            "{threads} threads give other bits than one"
        );
    }
}

/// Fails where `actual` is further from `expected` than `tolerance·(1 + |expected|)`; NaN equals NaN.
#[track_caller]
pub(crate) fn assert_close<T: Real>(actual: &[T], expected: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), expected.len());
    for (index, (actual, expected)) in actual.iter().zip(expected).enumerate() {
        let actual = actual.to_f64();
        let same = actual == *expected || (actual.is_nan() && expected.is_nan());
        let close = (actual - expected).abs() <= tolerance * (1.0 + expected.abs());
        let finite = actual.is_finite() && expected.is_finite();
        assert!(same || (finite && close), "element {index}: {actual} instead of {expected}");
    }
}

/// All index tuples of `sizes`, in row-major order.
pub(crate) fn indices(sizes: &[usize]) -> Vec<Vec<usize>> {
    let mut all = vec![vec![]];
    for &size in sizes {
        all = all
            .into_iter()
            .flat_map(|prefix: Vec<usize>| {
                (0..size).map(move |place| {
                    let mut index = prefix.clone();
                    index.push(place);
                    index
                })
            })
            .collect();
    }
    all
}

/// Σ index·stride.
pub(crate) fn dot(index: &[usize], strides: &[usize]) -> usize {
    index.iter().zip(strides).map(|(place, stride)| place * stride).sum()
}
