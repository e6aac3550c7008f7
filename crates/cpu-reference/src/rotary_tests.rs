//! Rotated pairs against plain loops, and their bits against the number of threads.

use super::*;
use crate::testing::{assert_close, assert_same_bits, values};

fn naive(rotary: &Rotary<'_, f64>, input: &[f64]) -> Vec<f64> {
    let Rotary { sizes: [batch, length, heads, size], strides, .. } = *rotary;
    let pairs = rotary.cosine.len() / length;
    let mut output = Vec::new();
    for (b, l, h) in (0..batch).flat_map(|b| (0..length).flat_map(move |l| (0..heads).map(move |h| (b, l, h)))) {
        let at = |element: usize| input[b * strides[0] + l * strides[1] + h * strides[2] + element];
        for element in 0..size {
            let (pair, second) = match rotary.interleaved {
                true => (element / 2, element % 2 == 1),
                false => (element % pairs.max(1), element >= pairs),
            };
            if element >= 2 * pairs {
                output.push(at(element));
                continue;
            }
            let other = match (rotary.interleaved, second) {
                (true, false) => element + 1,
                (true, true) => element - 1,
                (false, false) => element + pairs,
                (false, true) => element - pairs,
            };
            let [cosine, sine] = [rotary.cosine, rotary.sine].map(|table| table[l * pairs + pair]);
            let turned = at(other) * if rotary.backwards == second { sine } else { -sine };
            output.push(at(element) * cosine - turned);
        }
    }
    output
}

type Case = ([usize; 4], [usize; 3], usize);

/// Sizes, strides of the input, and pairs.
const CASES: [Case; 7] = [
    ([1, 1, 1, 2], [2, 2, 2], 1),
    ([2, 3, 4, 6], [72, 24, 6], 3),
    ([2, 3, 4, 7], [84, 28, 7], 2),
    ([2, 3, 4, 5], [60, 20, 5], 0),
    ([3, 50, 8, 64], [25_600, 512, 64], 32),
    // Heads before positions, and one of three parts.
    ([2, 9, 3, 16], [432, 16, 144], 8),
    ([2, 9, 3, 16], [1296, 144, 16], 4),
];

fn every_case<T: Real>(tolerance: f64) {
    for ((sizes, strides, pairs), (interleaved, backwards)) in CASES
        .into_iter()
        .flat_map(|case| [(false, false), (true, false), (false, true), (true, true)].map(|how| (case, how)))
    {
        let input: Vec<T> = values(sizes[0] * strides[0] + 64, 30);
        let (cosine, sine): (Vec<T>, Vec<T>) = (values(sizes[1] * pairs, 31), values(sizes[1] * pairs, 32));
        let of = Rotary { sizes, strides, cosine: &cosine, sine: &sine, interleaved, backwards };
        let mut output = vec![T::ZERO; sizes.iter().product()];
        rotary(&of, Some(&input), &mut output);
        let [wide, cosines, sines] =
            [&input, &cosine, &sine].map(|all| all.iter().map(|x| x.to_f64()).collect::<Vec<_>>());
        let exact = Rotary { sizes, strides, cosine: &cosines, sine: &sines, interleaved, backwards };
        assert_close(&output, &naive(&exact, &wide), tolerance);
        let [_, length, heads, size] = sizes;
        if strides == [length * heads * size, heads * size, size] {
            let mut within = input[..output.len()].to_vec();
            rotary(&of, None, &mut within);
            assert!(within == output);
        }
    }
}

#[test]
fn every_case_agrees_with_a_plain_loop() {
    every_case::<f32>(1e-6);
    every_case::<f64>(1e-14);
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    let (sizes, strides) = ([3, 50, 8, 64], [25_600, 512, 64]);
    let (input, cosine): (Vec<f32>, Vec<f32>) = (values(76_800, 33), values(50 * 32, 34));
    for interleaved in [false, true] {
        let of = Rotary { sizes, strides, cosine: &cosine, sine: &cosine, interleaved, backwards: false };
        assert_same_bits(|| {
            let mut output = vec![0f32; 76_800];
            rotary(&of, Some(&input), &mut output);
            output
        });
    }
}
