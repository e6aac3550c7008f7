//! Moments and sums against plain loops, and their bits against the number of threads.

use super::*;
use crate::testing::{assert_close, assert_same_bits, dot, indices, values};

type Case<'a> = (&'a [usize], &'a [usize], &'a [usize], &'a [usize]);

/// (kept sizes, kept strides, reduced sizes, reduced strides)
const CASES: [Case<'static>; 14] = [
    (&[], &[], &[], &[]),
    (&[5], &[1], &[], &[]),
    (&[], &[], &[1001], &[1]),
    (&[], &[], &[150_001], &[1]),
    (&[7], &[13], &[13], &[1]),
    (&[13], &[1], &[7], &[13]),
    (&[300], &[1], &[411], &[300]),
    (&[10], &[1], &[9_001], &[10]),
    (&[4, 6], &[30, 1], &[5], &[6]),
    (&[6], &[1], &[4, 5], &[30, 6]),
    (&[5], &[6], &[4, 6], &[30, 1]),
    (&[3, 8], &[0, 2], &[2, 9], &[100, 0]),
    (&[70, 3], &[2, 140], &[2, 50], &[1, 420]),
    (&[3], &[9000], &[5, 9000], &[27_000, 1]),
];

fn view<'a>(sizes: &'a [usize], strides: &'a [usize], offset: usize) -> Strided<'a> {
    Strided { sizes, strides, offset }
}

fn mean_of(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[test]
fn moments_agree_with_plain_loops_near_and_far_from_zero() {
    for far in [0.0, 1e4, -1e6] {
        let data: Vec<f64> = values::<f64>(200_000, 3).iter().map(|value| f64::from((value + far) as f32)).collect();
        let floats: Vec<f32> = data.iter().map(|value| *value as f32).collect();
        for (kept_sizes, kept_strides, sizes, strides) in CASES {
            let (kept, reduced) = (view(kept_sizes, kept_strides, 2), view(sizes, strides, 1));
            let places = indices(kept_sizes).into_iter().map(|index| 3 + dot(&index, kept_strides));
            let elements: Vec<Vec<f64>> = places
                .map(|start| indices(sizes).iter().map(|index| data[start + dot(index, strides)]).collect())
                .collect();
            let mean: Vec<f64> = elements.iter().map(|values| mean_of(values)).collect();
            let squares = elements.iter().zip(&mean);
            let squares = squares.map(|(values, mean)| values.iter().map(|x| (x - mean) * (x - mean)).collect());
            let variance: Vec<f64> = squares.map(|squares: Vec<f64>| mean_of(&squares)).collect();
            let inverse: Vec<f64> = variance.iter().map(|variance| 1.0 / (variance + 0.25).sqrt()).collect();
            let mut found = vec![vec![0f32; kept.count()]; 3];
            let mut exact = vec![vec![0f64; kept.count()]; 3];
            let [a, b, c] = &mut found[..] else { unreachable!("three") };
            moments(&floats, kept, reduced, 0.25, [a, b, c]);
            let [a, b, c] = &mut exact[..] else { unreachable!("three") };
            moments(&data, kept, reduced, 0.25, [a, b, c]);
            for (place, expected) in [mean, variance, inverse].iter().enumerate() {
                assert_close(&found[place], expected, 1e-7);
                assert_close(&exact[place], expected, 1e-9);
            }
        }
    }
}

#[test]
fn equal_elements_have_no_variance() {
    let input = vec![0.1f32; 70_000];
    for (rows, columns) in [(1, 70_000), (70, 1000)] {
        for by_rows in [true, false] {
            let (row, column) = ((&[rows][..], &[columns][..]), (&[columns][..], &[1][..]));
            let ((kept, kept_strides), (sizes, strides)) = if by_rows { (row, column) } else { (column, row) };
            let mut outputs = vec![vec![9f32; kept[0]]; 3];
            let [mean, variance, inverse] = &mut outputs[..] else { unreachable!("three") };
            moments(&input, view(kept, kept_strides, 0), view(sizes, strides, 0), 1.0, [mean, variance, inverse]);
            assert!(mean.iter().all(|mean| *mean == 0.1) && variance.iter().all(|variance| *variance == 0.0));
            assert!(inverse.iter().all(|inverse| *inverse == 1.0));
        }
    }
}

/// (kept sizes, reduced sizes, and the strides of dy, x, mean, inverse and weight along both)
type SumsCase<'a> = (&'a [usize], &'a [usize], [(&'a [usize], &'a [usize]); 5]);

const SUMS: [SumsCase<'static>; 7] = [
    // Rows of 1001 with a weight along them, and with none.
    (&[7], &[1001], [(&[1001], &[1]), (&[1001], &[1]), (&[1], &[0]), (&[1], &[0]), (&[0], &[1])]),
    (&[7], &[1001], [(&[1001], &[1]), (&[1001], &[1]), (&[1], &[0]), (&[1], &[0]), (&[0], &[0])]),
    // Columns: statistics of the rows, then of the columns.
    (&[301], &[407], [(&[1], &[301]), (&[1], &[301]), (&[0], &[1]), (&[0], &[1]), (&[0], &[0])]),
    (&[301], &[407], [(&[1], &[301]), (&[1], &[301]), (&[1], &[0]), (&[1], &[0]), (&[1], &[0])]),
    // Channels of (batch, channels, places).
    (
        &[3],
        &[2, 9001],
        [(&[9001], &[27_003, 1]), (&[9001], &[27_003, 1]), (&[1], &[0, 0]), (&[1], &[0, 0]), (&[0], &[0, 0])],
    ),
    // Anything.
    (
        &[4, 5],
        &[3, 2],
        [(&[1, 4], &[20, 60]), (&[5, 1], &[20, 60]), (&[5, 1], &[0, 20]), (&[0, 1], &[5, 0]), (&[2, 3], &[1, 4])],
    ),
    (&[], &[], [(&[], &[]), (&[], &[]), (&[], &[]), (&[], &[]), (&[], &[])]),
];

fn sums_of<T: Real>(data: &[Vec<T>], (kept, reduced, strides): SumsCase<'_>) -> Vec<T> {
    let input = |view: usize| {
        let (kept, reduced) = strides[view];
        SumsInput { values: &data[view][..], kept, reduced, offset: view }
    };
    let count = kept.iter().product();
    let (mut sums, mut products) = (vec![T::ZERO; count], vec![T::ZERO; count]);
    normalised_sums(std::array::from_fn(input), kept, reduced, [&mut sums, &mut products]);
    [sums, products].concat()
}

#[test]
fn sums_agree_with_plain_loops() {
    let floats: Vec<Vec<f32>> = (0..5).map(|seed| values(130_000, 20 + seed)).collect();
    let data: Vec<Vec<f64>> = floats.iter().map(|all| all.iter().map(|value| f64::from(*value)).collect()).collect();
    for case in SUMS {
        let (kept, reduced, strides) = case;
        let mut expected = vec![Vec::new(); 2];
        for outer in indices(kept) {
            let mut sums = [0.0; 2];
            for inner in indices(reduced) {
                let at = |view: usize| data[view][view + dot(&outer, strides[view].0) + dot(&inner, strides[view].1)];
                sums[0] += at(0) * at(4);
                sums[1] += at(0) * at(4) * (at(1) - at(2)) * at(3);
            }
            expected[0].push(sums[0]);
            expected[1].push(sums[1]);
        }
        let expected = expected.concat();
        assert_close(&sums_of(&data, case), &expected, 1e-10);
        assert_close(&sums_of(&floats, case), &expected, 1e-6);
    }
}

/// Sums down the columns of rows with statistics of their own, as those of layer norm's parameters.
fn down_columns<T: Real>(data: &[Vec<T>], [rows, width]: [usize; 2], apart: usize) -> Vec<T> {
    let matrix = |view: usize| SumsInput { values: &data[view][..], kept: &[1], reduced: &[0], offset: view };
    let (stride, one) = ([width + 5], [T::ONE]);
    let (beside, apart) = ([width], [apart]);
    let inputs = [
        SumsInput { reduced: &stride, ..matrix(0) },
        SumsInput { reduced: &beside, ..matrix(1) },
        SumsInput { kept: &[0], reduced: &apart, ..matrix(2) },
        SumsInput { kept: &[0], reduced: &apart, ..matrix(3) },
        SumsInput { values: &one, kept: &[0], reduced: &[0], offset: 0 },
    ];
    let (mut sums, mut products) = (vec![T::ZERO; width], vec![T::ZERO; width]);
    normalised_sums(inputs, &[width], &[rows], [&mut sums, &mut products]);
    [sums, products].concat()
}

#[test]
fn columns_with_statistics_of_rows_agree_with_plain_loops() {
    let floats: Vec<Vec<f32>> = (0..4).map(|seed| values(130_000, 20 + seed)).collect();
    let data: Vec<Vec<f64>> = floats.iter().map(|all| all.iter().map(|value| f64::from(*value)).collect()).collect();
    for (rows, width) in [(2, 32), (7, 33), (300, 100), (1000, 65), (5, 4000), (8, 7), (1, 64)] {
        for apart in [0, 1, 2] {
            let (mut expected, mut sizes) = (vec![0.0; 2 * width], vec![0.0; 2 * width]);
            for row in 0..rows {
                for column in 0..width {
                    let dy = data[0][row * (width + 5) + column];
                    let x = data[1][1 + row * width + column];
                    let product = dy * (x - data[2][2 + row * apart]) * data[3][3 + row * apart];
                    for (place, term) in [(column, dy), (width + column, product)] {
                        expected[place] += term;
                        sizes[place] += f64::abs(term);
                    }
                }
            }
            assert_close(&down_columns(&data, [rows, width], apart), &expected, 1e-10);
            // Three roundings of a product, seven of additions, and one at the end.
            for ((found, expected), size) in down_columns(&floats, [rows, width], apart).iter().zip(expected).zip(sizes)
            {
                let error = (f64::from(*found) - expected).abs();
                assert!(error <= 5.5 * f64::from(f32::EPSILON) * size, "{found} instead of {expected}");
            }
        }
    }
    assert_same_bits(|| down_columns(&floats, [1000, 100], 2));
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    let data: Vec<f32> = values(600_000, 10);
    for (rows, columns) in [(1, 600_000), (60_000, 10), (775, 774), (10, 60_000)] {
        for over_rows in [true, false] {
            let (row, column) = ((&[rows][..], &[columns][..]), (&[columns][..], &[1][..]));
            let ((kept, kept_strides), (sizes, strides)) = if over_rows { (column, row) } else { (row, column) };
            assert_same_bits(|| {
                let mut outputs = vec![vec![0f32; kept[0]]; 3];
                let [a, b, c] = &mut outputs[..] else { unreachable!("three") };
                moments(&data, view(kept, kept_strides, 0), view(sizes, strides, 0), 1e-5, [a, b, c]);
                outputs.concat()
            });
        }
    }
    let data: Vec<Vec<f32>> = (0..5).map(|seed| values(130_000, 20 + seed)).collect();
    for case in SUMS {
        assert_same_bits(|| sums_of(&data, case));
    }
}
