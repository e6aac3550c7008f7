use super::*;
use crate::testing::{assert_close, values};

/// Rows, depth and columns around the sizes of tiles and blocks.
const SIZES: [[usize; 3]; 13] = [
    [1, 1, 1],
    [2, 3, 16],
    [3, 5, 700],
    [1, 1000, 531],
    [4, 256, 17],
    [5, 257, 130],
    [8, 30, 33],
    [9, 20, 40],
    [11, 7, 64],
    [12, 600, 129],
    [13, 515, 520],
    [29, 100, 1030],
    [31, 770, 48],
];

/// A matrix in a slice that ends with its last element.
fn matrix<T: Real>(data: &[T], [rows, columns]: [usize; 2], by_columns: bool) -> Strided<'_, T> {
    // The stride of a packed panel's rows, too.
    let strides = if by_columns { [1, rows + 1] } else { [columns.max(ROW), 1] };
    Strided { values: &data[..(rows - 1) * strides[0] + (columns - 1) * strides[1] + 1], strides }
}

fn expected<T: Real>(
    left: impl Fn(usize, usize) -> T,
    right: impl Fn(usize, usize) -> T,
    [m, k, n]: [usize; 3],
) -> Vec<f64> {
    let element = |row: usize, column: usize| {
        (0..k).map(|depth| left(row, depth).to_f64() * right(depth, column).to_f64()).sum::<f64>()
    };
    (0..m).flat_map(|row| (0..n).map(move |column| (row, column))).map(|(row, column)| element(row, column)).collect()
}

fn element<'a, T: Real>(matrix: Strided<'a, T>) -> impl Fn(usize, usize) -> T + 'a {
    move |row, column| matrix.values[row * matrix.strides[0] + column * matrix.strides[1]]
}

/// Written and added, to rows that lie apart: what is between them stays.
fn check<T: Real>(left: &impl Left<T>, right: &impl Right<T>, sizes: [usize; 3], expected: &[f64], tolerance: f64) {
    let [m, _, n] = sizes;
    let row_stride = n + 3;
    for add in [false, true] {
        let mut output = vec![T::ONE; m * row_stride];
        product(left, right, sizes, &Output::new(&mut output, row_stride), add, true);
        let found: Vec<T> = output.chunks(row_stride).flat_map(|row| row[..n].to_vec()).collect();
        let expected: Vec<f64> = expected.iter().map(|value| value + f64::from(u8::from(add))).collect();
        assert_close(&found, &expected, tolerance);
        assert!(output.chunks(row_stride).all(|row| row[n..] == [T::ONE; 3]), "{sizes:?}");
    }
}

fn every_layout<T: Real>(tolerance: f64) {
    let data: Vec<T> = values(900_000, 4);
    for [m, k, n] in SIZES {
        for (left_by_columns, right_by_columns) in [(false, false), (false, true), (true, false), (true, true)] {
            let left = matrix(&data, [m, k], left_by_columns);
            let right = matrix(&data[7..], [k, n], right_by_columns);
            let expected = expected(element(left), element(right), [m, k, n]);
            check(&left, &right, [m, k, n], &expected, tolerance);
            if m <= few::ROWS {
                for (add, first) in [(false, 0.0), (true, 1.0)] {
                    let mut output = vec![T::from_f64(first); m * n];
                    few::product(&left, &right, [m, k, n], &Output::new(&mut output, n), add, true);
                    let expected: Vec<f64> = expected.iter().map(|value| value + first).collect();
                    assert_close(&output, &expected, tolerance);
                }
            }
        }
    }
}

#[test]
fn every_layout_agrees_with_a_plain_loop_in_f32() {
    every_layout::<f32>(3e-5);
}

#[test]
fn every_layout_agrees_with_a_plain_loop_in_f64() {
    every_layout::<f64>(1e-13);
}

/// Rows at uneven or even offsets, columns in runs of uneven lengths; as either operand.
#[test]
fn gathered_operands_agree_with_a_plain_loop() {
    let data: Vec<f32> = values(600_000, 5);
    for [m, k, n] in SIZES {
        for (even, length) in [(false, 3), (false, 40), (true, usize::MAX)] {
            let offsets = |count: usize| -> Vec<usize> {
                (0..count).map(|row| if even { row * 61 } else { row * 61 + row * row % 17 }).collect()
            };
            let runs = |count: usize| {
                let (mut runs, mut place, mut left) = (Vec::new(), 5, count);
                while left > 0 {
                    let count = (length - left % 2).min(left);
                    Run::push(&mut runs, place, count);
                    (place, left) = (place + count + 2, left - count);
                }
                runs
            };
            let place = |runs: &[Run], column: usize| {
                let run = runs.iter().find(|run| column < run.first + run.count).expect("a run for each column");
                run.place + column - run.first
            };
            let gathered = |rows: usize, columns: usize| (offsets(rows), runs(columns));
            let other = |rows, columns| matrix(&data[11..], [rows, columns], false);

            let (offsets, runs) = gathered(m, k);
            let left = Gathered { values: &data, offsets: &offsets, runs: &runs };
            let right = other(k, n);
            let of_left = |row: usize, depth: usize| data[offsets[row] + place(&runs, depth)];
            check(&left, &right, [m, k, n], &expected(of_left, element(right), [m, k, n]), 3e-5);

            let (offsets, runs) = gathered(k, n);
            let (left, right) = (other(m, k), Gathered { values: &data, offsets: &offsets, runs: &runs });
            let of_right = |depth: usize, column: usize| data[offsets[depth] + place(&runs, column)];
            check(&left, &right, [m, k, n], &expected(element(left), of_right, [m, k, n]), 3e-5);

            let (offsets, runs) = gathered(n, k);
            let right = Transposed(Gathered { values: &data, offsets: &offsets, runs: &runs });
            let of_right = |depth: usize, column: usize| data[offsets[column] + place(&runs, depth)];
            check(&left, &right, [m, k, n], &expected(element(left), of_right, [m, k, n]), 3e-5);
        }
    }
}

/// Tiles of the widths and heights that machines have, on this one.
#[test]
fn tiles_of_every_machine_agree_with_a_plain_loop() {
    fn tiles<S: pulp::Simd>(simd: S) {
        let data: Vec<f32> = values(200_000, 6);
        let shape = pulp::WithSimd::with_simd(tile::OfMachine::<f32>::default(), simd);
        for [m, k, n] in [[1, 5, 3], [shape.rows, 40, 2 * shape.columns], [shape.rows - 1, 9, shape.columns + 1]] {
            for by_columns in [false, true] {
                let left = matrix(&data, [m, k], by_columns);
                let right = matrix(&data[7..], [k, n], false);
                let mut columns = vec![0f32; k * n.next_multiple_of(shape.columns)];
                Right::pack(&right, 0..k, 0..n, shape.columns, &mut columns);
                let packed = left.packed(shape);
                let mut panel = vec![0f32; packed.panel(shape, k)];
                Left::pack(&left, 0..m, 0..k, &mut panel);
                let mut output = vec![f32::NAN; m * n];
                let to = Output::new(&mut output, n);
                let panels = Panels {
                    left: &panel,
                    layout: packed,
                    right: &columns,
                    depth: k,
                    output: &to,
                    first: [0, 0],
                    count: [m, n],
                    add: false,
                };
                pulp::WithSimd::with_simd(panels, simd);
                assert_close(&output, &expected(element(left), element(right), [m, k, n]), 3e-5);
            }
        }
    }
    tiles(pulp::Scalar::new());
    #[cfg(target_arch = "x86_64")]
    {
        if let Some(simd) = pulp::x86::V3::try_new() {
            tiles(simd);
        }
        if let Some(simd) = pulp::x86::V4::try_new() {
            tiles(simd);
        }
    }
}
