//! Resampling along the middle one of three axes, by tables of where each result comes from; and the sums that are its
//! gradient.

use crate::real::Real;
use rayon::prelude::*;

/// Elements worth handing to another thread.
const TASK: usize = 1 << 14;

/// Where the elements along an axis come from: result `o` is input `lows[o]`, or lies `parts[o] / whole` of the way from it
/// to the next one.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// The input at or before each result.
    pub lows: &'a [u32],
    /// How far beyond it each result lies.
    pub parts: &'a [u32],
    /// The distance of neighbours, in the unit of `parts`.
    pub whole: u32,
}

impl Places<'_> {
    /// The weights of both neighbours, for each result.
    fn weights<T: Real>(&self) -> Vec<[T; 2]> {
        let whole = real::<T>(self.whole);
        self.parts.iter().map(|&part| [real::<T>(self.whole - part) / whole, real::<T>(part) / whole]).collect()
    }
}

fn real<T: Real>(number: u32) -> T {
    T::from_f64(f64::from(number))
}

/// The runs of rows of one outer index in a piece of `len` rows from `first` on, of `size` rows each: `work` is given the
/// outer index, the first row of it and which rows of the piece these are.
fn runs(first: usize, len: usize, size: usize, mut work: impl FnMut(usize, usize, std::ops::Range<usize>)) {
    let mut done = 0;
    while done < len {
        let (outer, row) = ((first + done) / size, (first + done) % size);
        let count = (size - row).min(len - done);
        work(outer, row, done..done + count);
        done += count;
    }
}

/// `input` (outer, `size`, `inner`) → `output` (outer, as many as there are places, `inner`).
///
/// # Panics
/// If a place lies outside the input, or lengths don't fit ("internal: …" or an index out of range).
pub fn resample<T: Real>(input: &[T], size: usize, inner: usize, places: &Places<'_>, output: &mut [T]) {
    let count = places.lows.len();
    assert!(
        input.len() * count == output.len() * size && places.parts.len() == count,
        "internal: {} elements do not become {} by {count} places for {size}",
        input.len(),
        output.len()
    );
    let weights = places.weights::<T>();
    let rows = (TASK / inner).max(1);
    output.par_chunks_mut(rows * inner).enumerate().for_each(|(task, chunk)| {
        runs(task * rows, chunk.len() / inner, count, |outer, first, within| {
            let input = &input[outer * size * inner..][..size * inner];
            let chunk = &mut chunk[within.start * inner..within.end * inner];
            for (result, place) in chunk.chunks_exact_mut(inner).zip(first..) {
                let (low, [near, far]) = (places.lows[place] as usize, weights[place]);
                let left = &input[low * inner..][..inner];
                if places.parts[place] == 0 {
                    result.copy_from_slice(left);
                    continue;
                }
                let right = &input[(low + 1) * inner..][..inner];
                for ((result, &left), &right) in result.iter_mut().zip(left).zip(right) {
                    *result = left * near + right * far;
                }
            }
        });
    });
}

/// `dy` (outer, as many as there are places, `inner`) → `dx` (outer, as many as `firsts`, `inner`): for each input the
/// weighted sum over the results from `firsts` to before `ends` that it takes part in.
///
/// # Panics
/// If lengths don't fit ("internal: …" or an index out of range).
pub fn resample_gradient<T: Real>(
    dy: &[T],
    inner: usize,
    places: &Places<'_>,
    [firsts, ends]: [&[u32]; 2],
    dx: &mut [T],
) {
    let (count, size) = (places.lows.len(), firsts.len());
    assert!(
        dx.len() * count == dy.len() * size && ends.len() == size && places.parts.len() == count,
        "internal: {} elements do not become {} by {count} places for {size}",
        dy.len(),
        dx.len()
    );
    let weights = places.weights::<T>();
    let rows = (TASK / inner).max(1);
    dx.par_chunks_mut(rows * inner).enumerate().for_each(|(task, chunk)| {
        runs(task * rows, chunk.len() / inner, size, |outer, first, within| {
            let dy = &dy[outer * count * inner..][..count * inner];
            let chunk = &mut chunk[within.start * inner..within.end * inner];
            for (sums, place) in chunk.chunks_exact_mut(inner).zip(first..) {
                sums.fill(T::ZERO);
                for result in firsts[place] as usize..ends[place] as usize {
                    let weight = weights[result][usize::from(places.lows[result] as usize != place)];
                    for (sum, &gradient) in sums.iter_mut().zip(&dy[result * inner..][..inner]) {
                        *sum += gradient * weight;
                    }
                }
            }
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::assert_same_bits;

    const LOWS: [u32; 5] = [0, 0, 1, 1, 2];
    const PARTS: [u32; 5] = [0, 1, 0, 3, 0];
    const PLACES: Places<'_> = Places { lows: &LOWS, parts: &PARTS, whole: 4 };
    const RANGES: [&[u32]; 2] = [&[0, 1, 3], &[2, 4, 5]];

    #[test]
    fn results_lie_between_neighbours() {
        let mut output = [0.0; 5];
        resample(&[1.0f64, 5.0, -3.0], 3, 1, &PLACES, &mut output);
        assert_eq!(output, [1.0, 2.0, 5.0, -1.0, -3.0]);
        let mut output = [0.0; 10];
        resample(&[1.0f64, 10.0, 5.0, 50.0, -3.0, -30.0], 3, 2, &PLACES, &mut output);
        assert_eq!(output, [1.0, 10.0, 2.0, 20.0, 5.0, 50.0, -1.0, -10.0, -3.0, -30.0]);
    }

    #[test]
    fn a_neighbour_that_does_not_count_is_not_read() {
        let mut output = [0.0; 5];
        resample(&[f32::NAN, 5.0, f32::INFINITY], 3, 1, &PLACES, &mut output);
        assert!(output[0].is_nan() && output[1].is_nan() && output[2] == 5.0);
        let mut dx = [0.0; 3];
        resample_gradient(&[f32::NAN, 1.0, 2.0, 4.0, 8.0], 1, &PLACES, RANGES, &mut dx);
        assert!(dx[0].is_nan());
        assert_eq!(dx[1..], [0.25 + 2.0 + 1.0, 3.0 + 8.0]);
    }

    #[test]
    fn the_number_of_threads_does_not_change_a_bit() {
        let (outer, inner) = (700, 37);
        let values: Vec<f32> = (0..outer * 5 * inner).map(|place| (place as f32 * 0.7).sin()).collect();
        assert_same_bits(|| {
            let mut dx = vec![0.0; outer * 3 * inner];
            resample_gradient(&values, inner, &PLACES, RANGES, &mut dx);
            let mut output = vec![0.0; outer * 5 * inner];
            resample(&dx, 3, inner, &PLACES, &mut output);
            [dx, output].concat()
        });
    }
}
