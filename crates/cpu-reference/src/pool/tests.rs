//! Pooling against plain loops over every element of every window.

use super::*;
use crate::testing::{assert_close, assert_same_bits, values};

fn regular(input: usize, [kernel, stride, padding, dilation]: [usize; 4], ceil: bool) -> PoolAxis {
    let room = (input + 2 * padding) as i64 - (dilation * (kernel - 1) + 1) as i64;
    let mut output = (room + if ceil { stride as i64 - 1 } else { 0 }).div_euclid(stride as i64) as usize + 1;
    if ceil && (output - 1) * stride >= input + padding {
        output -= 1;
    }
    PoolAxis { input, output, windows: Windows::Regular { kernel, stride, padding, dilation } }
}

fn adaptive(input: usize, output: usize) -> PoolAxis {
    PoolAxis { input, output, windows: Windows::Adaptive }
}

fn cases() -> Vec<[PoolAxis; 2]> {
    vec![
        [regular(6, [2, 2, 0, 1], false), regular(9, [2, 2, 0, 1], false)],
        [regular(14, [2, 2, 0, 1], false), regular(14, [2, 2, 0, 1], false)],
        [regular(4, [2, 2, 0, 1], false), regular(34, [2, 2, 0, 1], false)],
        [regular(2, [2, 2, 0, 1], false), regular(2, [2, 2, 0, 1], false)],
        [regular(7, [3, 2, 1, 1], false), regular(8, [3, 2, 1, 1], true)],
        [regular(5, [3, 1, 1, 1], false), regular(11, [4, 3, 2, 1], true)],
        [regular(9, [3, 2, 1, 2], false), regular(7, [2, 1, 0, 3], false)],
        [regular(1, [1, 1, 0, 1], false), regular(70, [5, 7, 0, 1], true)],
        [regular(2, [3, 2, 0, 1], true), regular(5, [2, 4, 1, 1], true)],
        [adaptive(7, 3), adaptive(10, 4)],
        [adaptive(2, 5), adaptive(3, 1)],
        [adaptive(4, 4), adaptive(1, 6)],
    ]
}

/// The places of the window along the axis, found one by one.
fn places(axis: &PoolAxis, window: usize) -> Vec<usize> {
    let has = |place: &usize| match axis.windows {
        Windows::Regular { kernel, stride, padding, dilation } => {
            (0..kernel).any(|tap| place + padding == window * stride + tap * dilation)
        }
        // The parts of the axis that overlap with the window's part of it.
        Windows::Adaptive => {
            (place + 1) * axis.output > window * axis.input && place * axis.output < (window + 1) * axis.input
        }
    };
    (0..axis.input).filter(has).collect()
}

/// For each window its places in the plane, in order, and how many it has with its padding.
fn windows(axes: &[PoolAxis; 2]) -> Vec<(Vec<usize>, usize)> {
    let count = |axis: &PoolAxis, window: usize| match axis.windows {
        Windows::Regular { kernel, stride, padding, .. } => {
            (0..kernel).filter(|tap| window * stride + tap < axis.input + 2 * padding).count()
        }
        Windows::Adaptive => places(axis, window).len(),
    };
    let mut all = Vec::new();
    for y in 0..axes[0].output {
        for x in 0..axes[1].output {
            let row = |row: usize| places(&axes[1], x).into_iter().map(move |column| row * axes[1].input + column);
            let window = places(&axes[0], y).into_iter().flat_map(row).collect();
            all.push((window, count(&axes[0], y) * count(&axes[1], x)));
        }
    }
    all
}

fn naive_max(axes: &[PoolAxis; 2], input: &[f64]) -> (Vec<f64>, Vec<u32>) {
    let mut found = (Vec::new(), Vec::new());
    for plane in input.chunks(area(axes, |axis| axis.input)) {
        for (places, _) in windows(axes) {
            let mut best = places[0];
            for place in places {
                if plane[place] > plane[best] || plane[place].is_nan() {
                    best = place;
                }
            }
            found.0.push(plane[best]);
            found.1.push(best as u32);
        }
    }
    found
}

/// Few different values, so that there are equals; a NaN and an infinity where asked for.
fn coarse(count: usize, seed: u64, special: bool) -> Vec<f32> {
    let mut all: Vec<f32> = values::<f32>(count, seed).into_iter().map(|value| (value * 2.0).round()).collect();
    if special {
        (all[count / 2], all[count / 3], all[0]) = (f32::NAN, f32::NEG_INFINITY, f32::INFINITY);
    }
    all
}

#[test]
fn max_pooling_agrees_with_plain_loops() {
    for (number, axes) in cases().iter().enumerate() {
        for planes in [1, 5, 300] {
            for special in [false, true] {
                let [inputs, outputs] = [area(axes, |axis| axis.input), area(axes, |axis| axis.output)];
                let input = coarse(planes * inputs, number as u64, special);
                let exact: Vec<f64> = input.iter().map(|&value| f64::from(value)).collect();
                let (expected, places) = naive_max(axes, &exact);
                let (mut values, mut indices) = (vec![7f32; planes * outputs], vec![7; planes * outputs]);
                max_pool(axes, &input, &mut values, &mut indices);
                assert_close(&values, &expected, 0.0);
                assert_eq!(indices, places, "{axes:?}");
                let mut again = vec![7f32; planes * outputs];
                max_pool_gather(axes, &input, &indices, &mut again);
                assert_close(&again, &expected, 0.0);
                let dy: Vec<f64> = crate::testing::values(planes * outputs, 9);
                let mut expected = vec![0f64; planes * inputs];
                for (window, (&place, dy)) in places.iter().zip(&dy).enumerate() {
                    expected[window / outputs * inputs + place as usize] += dy;
                }
                let mut dx = vec![7f64; planes * inputs];
                max_pool_gradient(axes, &dy, &indices, &mut dx);
                assert_close(&dx, &expected, 1e-14);
            }
        }
    }
}

#[test]
fn average_pooling_agrees_with_plain_loops() {
    for axes in cases() {
        if matches!(axes[0].windows, Windows::Regular { dilation, .. } if dilation > 1) {
            continue;
        }
        for divisor in [Divisor::Padded, Divisor::Inside, Divisor::Given(5)] {
            let (planes, windows) = (40, windows(&axes));
            let [inputs, outputs] = [area(&axes, |axis| axis.input), area(&axes, |axis| axis.output)];
            let (input, dy): (Vec<f64>, Vec<f64>) = (values(planes * inputs, 3), values(planes * outputs, 4));
            let (mut expected, mut gradient) = (Vec::new(), vec![0f64; planes * inputs]);
            for (plane, elements) in input.chunks(inputs).enumerate() {
                for (window, (places, padded)) in windows.iter().enumerate() {
                    let by = match divisor {
                        Divisor::Padded => *padded,
                        Divisor::Inside => places.len(),
                        Divisor::Given(given) => given as usize,
                    } as f64;
                    expected.push(places.iter().map(|&place| elements[place]).sum::<f64>() / by);
                    for place in places {
                        gradient[plane * inputs + place] += dy[plane * outputs + window] / by;
                    }
                }
            }
            let (mut output, mut dx) = (vec![7f64; planes * outputs], vec![7f64; planes * inputs]);
            average_pool(&axes, divisor, &input, &mut output);
            assert_close(&output, &expected, 1e-14);
            average_pool_gradient(&axes, divisor, &dy, &mut dx);
            assert_close(&dx, &gradient, 1e-14);
        }
    }
}

#[test]
fn the_longest_window_and_the_most_windows_are_bounds() {
    for axis in cases().into_iter().flatten() {
        let windows: Vec<Vec<usize>> = (0..axis.output).map(|window| places(&axis, window)).collect();
        for (window, places) in windows.iter().enumerate() {
            assert_eq!(axis.window(window), (places[0], places.len()), "{axis:?}");
            assert!(places.len() <= axis.longest_window(), "{axis:?}");
        }
        for element in 0..axis.input {
            let over = windows.iter().filter(|places| places.contains(&element)).count();
            assert!(over <= axis.most_windows(), "{axis:?}");
        }
    }
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    let axes = [regular(30, [3, 2, 1, 1], true), regular(37, [3, 1, 1, 1], false)];
    let [inputs, outputs] = [area(&axes, |axis| axis.input), area(&axes, |axis| axis.output)];
    let (input, dy): (Vec<f32>, Vec<f32>) = (values(50 * inputs, 1), values(50 * outputs, 2));
    assert_same_bits(|| {
        let (mut y, mut indices) = (vec![0f32; 50 * outputs], vec![0; 50 * outputs]);
        max_pool(&axes, &input, &mut y, &mut indices);
        let mut all = y.clone();
        average_pool(&axes, Divisor::Inside, &input, &mut y);
        all.extend(&y);
        max_pool_gather(&axes, &input, &indices, &mut y);
        all.extend(&y);
        let mut dx = vec![0f32; 50 * inputs];
        max_pool_gradient(&axes, &dy, &indices, &mut dx);
        all.extend(&dx);
        average_pool_gradient(&axes, Divisor::Padded, &dy, &mut dx);
        all.extend(&dx);
        all
    });
}

#[test]
fn an_index_beyond_the_plane_reads_nothing() {
    let axes = [regular(2, [2, 2, 0, 1], false), regular(4, [2, 2, 0, 1], false)];
    let mut output = [0f32; 2];
    max_pool_gather(&axes, &[1.0; 8], &[8, u32::MAX], &mut output);
    assert!(output.iter().all(|value| value.is_nan()));
    let mut dx = [7f32; 8];
    max_pool_gradient(&axes, &[1.0; 2], &[8, 3], &mut dx);
    assert_eq!(dx, [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
}
