//! Rotation of pairs of elements by angles of their own: rotary position embedding.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::real::Real;

#[cfg(test)]
#[path = "rotary_tests.rs"]
mod tests;

/// Elements worth handing to another thread.
const TASK: usize = 1 << 14;

/// What is rotated, and by which angles.
#[derive(Clone, Copy, Debug)]
pub struct Rotary<'a, T> {
    /// Batch, length, heads, and elements of a head.
    pub sizes: [usize; 4],
    /// How far apart batches, positions and heads of the input lie; the elements of a head are neighbours.
    pub strides: [usize; 3],
    /// The cosines of each position's angles, `(length, pairs)`. The first two elements of a head for each are rotated.
    pub cosine: &'a [T],
    /// The sines, likewise.
    pub sine: &'a [T],
    /// Whether the elements of a pair are neighbours; else they are as far apart as there are pairs.
    pub interleaved: bool,
    /// Whether it is turned back, by the negative angles.
    pub backwards: bool,
}

/// `(a·cos − b·sin, b·cos + a·sin)` for each pair `(a, b)` of rotated elements, and the others as they are. `input` begins with
/// the first element and is strided; `output` is `(batch, length, heads, size)`. Without an input the elements lie in `output`,
/// and are replaced.
///
/// # Panics
/// If the lengths do not agree or the strides lead out of `input` ("internal: …").
pub fn rotary<T: Real>(rotary: &Rotary<'_, T>, input: Option<&[T]>, output: &mut [T]) {
    let Rotary { sizes: [batch, length, heads, size], cosine, sine, .. } = *rotary;
    let pairs = cosine.len() / length.max(1);
    assert!(
        output.len() == batch * length * heads * size && cosine.len() == length * pairs && sine.len() == cosine.len(),
        "internal: {} elements of {:?} and {} cosines",
        output.len(),
        rotary.sizes,
        cosine.len()
    );
    assert!(2 * pairs <= size, "internal: {pairs} pairs in heads of {size} elements");
    let rows = (TASK / size).max(1);
    output.par_chunks_mut(rows * size).enumerate().for_each(|(number, output)| {
        Arch::new().dispatch(Rows { rotary, input, first: number * rows, pairs, output });
    });
}

struct Rows<'a, T> {
    rotary: &'a Rotary<'a, T>,
    input: Option<&'a [T]>,
    /// The number of the first row, which is a head of a position.
    first: usize,
    pairs: usize,
    output: &'a mut [T],
}

impl<T: Real> WithSimd for Rows<'_, T> {
    type Output = ();

    // Its loops are compiled for the vectors of this machine.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Rotary { sizes: [_, length, heads, size], strides, cosine, sine, interleaved, backwards } = *self.rotary;
        let pairs = self.pairs;
        let direction = if backwards { -T::ONE } else { T::ONE };
        for (number, row) in self.output.chunks_exact_mut(size).enumerate() {
            let number = self.first + number;
            let (position, head) = (number / heads % length, number % heads);
            if let Some(input) = self.input {
                let start = number / heads / length * strides[0] + position * strides[1] + head * strides[2];
                row.copy_from_slice(&input[start..start + size]);
            }
            let cosine = &cosine[position * pairs..][..pairs];
            let sine = &sine[position * pairs..][..pairs];
            let angles = cosine.iter().zip(sine);
            let rotated = &mut row[..2 * pairs];
            if interleaved {
                for ([a, b], (cosine, sine)) in rotated.as_chunks_mut::<2>().0.iter_mut().zip(angles) {
                    turn(a, b, *cosine, *sine * direction);
                }
            } else {
                let (first, second) = rotated.split_at_mut(pairs);
                for ((a, b), (cosine, sine)) in first.iter_mut().zip(second).zip(angles) {
                    turn(a, b, *cosine, *sine * direction);
                }
            }
        }
    }
}

#[inline(always)]
fn turn<T: Real>(a: &mut T, b: &mut T, cosine: T, sine: T) {
    (*a, *b) = (*a * cosine - *b * sine, *b * cosine + *a * sine);
}
