//! The shaders that work on rows: softmax and cross-entropy.

use super::{OFFSET, assert_close, bytes, device, exact, floats, launch, launch_all, normal, shifted};
use cpu_reference::Counted;
use gpu_runtime::{Device, Words, fold_groups, shader};

/// Rows of ordinary values, and in front of them rows with outliers where there is room.
fn logits(rows: usize, columns: usize) -> Vec<f32> {
    let mut values = normal(rows * columns, 3);
    if rows >= 8 && columns >= 4 {
        let (plus, minus) = (f32::INFINITY, f32::NEG_INFINITY);
        values[0] = 1e4;
        values[columns + 1] = -1e4;
        values[2 * columns + 2] = f32::NAN;
        values[3 * columns + 3] = plus;
        values[4 * columns] = minus;
        values[5 * columns..6 * columns].fill(minus);
    }
    values
}

const ROWS: [[usize; 2]; 7] = [[1, 1], [9, 4], [3, 255], [8, 256], [10, 257], [9, 3001], [130, 5]];

/// Invocations of a workgroup, and how many of them share a row.
const WIDTHS: [[u32; 2]; 4] = [[256, 256], [256, 4], [32, 32], [64, 1]];

fn cases() -> impl Iterator<Item = ([usize; 2], [u32; 2])> {
    let all = ROWS.into_iter().flat_map(|shape| WIDTHS.map(|widths| (shape, widths)));
    // More workgroups than a dimension of the grid holds.
    all.chain([([65_540, 2], [32, 32])])
}

/// The grid for so many rows.
fn groups(rows: usize, [width, lanes]: [u32; 2]) -> [u32; 3] {
    fold_groups((rows as u64 * u64::from(lanes)).div_ceil(u64::from(width)))
}

#[test]
fn softmax_agrees() {
    let Some(device) = device() else { return };
    for ([rows, columns], [width, lanes]) in cases() {
        let data = logits(rows, columns);
        let count = rows * columns;
        for logarithm in [0, 1] {
            let mut expected = vec![0f64; count];
            match logarithm {
                0 => cpu_reference::softmax(Some(&exact(&data)), columns, &mut expected),
                _ => cpu_reference::log_softmax(Some(&exact(&data)), columns, &mut expected),
            }
            let constants = [("WIDTH", width), ("LANES", lanes), ("LOGARITHM", logarithm)];
            let kernel = shader("softmax").unwrap().specialise(&constants).unwrap();
            let parameters = [
                ("rows", (rows as u32).into()),
                ("columns", (columns as u32).into()),
                ("input_offset", (OFFSET as u32).into()),
                ("output_offset", (OFFSET as u32).into()),
            ];
            let inputs = [bytes(&shifted(&data, f32::NAN))];
            let output = launch(&device, &kernel, &inputs, &parameters, count, groups(rows, [width, lanes]));
            assert_close(&format!("{logarithm} {rows} {columns}"), &floats(output), &expected, 5e-6);
        }
    }
}

#[test]
fn cross_entropy_agrees() {
    let Some(device) = device() else { return };
    for ([rows, columns], widths) in cases() {
        for (ignored, smoothing, weighted) in
            [(None, 0.0, false), (Some(1), 0.0, true), (Some(u32::MAX), 0.25, false), (None, 0.5, true)]
        {
            cross_entropy(&device, [rows, columns], widths, Options { ignored, smoothing, weighted });
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Options {
    ignored: Option<u32>,
    smoothing: f64,
    weighted: bool,
}

fn cross_entropy(device: &Device, [rows, columns]: [usize; 2], widths: [u32; 2], options: Options) {
    let Options { ignored, smoothing, weighted } = options;
    let mut data = logits(rows, columns);
    if smoothing > 0.0 {
        // WGSL promises nothing of infinite distances.
        data.iter_mut().filter(|value| value.is_infinite()).for_each(|value| *value = -50.0);
    }
    let mut targets: Vec<u32> = (0..rows).map(|row| (row * 7 % columns) as u32).collect();
    targets[rows / 2] = columns as u32;
    targets[rows - 1] = if rows > 8 { u32::MAX } else { 0 };
    let (dloss, weight) = (normal(rows, 4), normal(columns, 5));
    let (wide, wide_weight) = (exact(&data), exact(&weight));
    let sum: f32 = weight.iter().sum();
    let total = if weighted { f64::from(sum) } else { columns as f64 };
    let counted = Counted { ignored, smoothing, weight: weighted.then_some(&wide_weight[..]), total };
    let (mut loss, mut statistics) = (vec![0f64; rows], vec![0f64; 2 * rows]);
    cpu_reference::cross_entropy(&wide, columns, &targets, &counted, &mut loss, &mut statistics);
    let at = OFFSET as u32;
    let common: [(&str, Words); 9] = [
        ("rows", (rows as u32).into()),
        ("columns", (columns as u32).into()),
        ("ignored", ignored.unwrap_or(0).into()),
        ("confidence", ((1.0 - smoothing) as f32).into()),
        ("each", ((smoothing / columns as f64) as f32).into()),
        ("targets_offset", at.into()),
        ("weight_offset", at.into()),
        ("total_offset", at.into()),
        ("statistics_offset", at.into()),
    ];
    let constants = [
        ("IGNORING", u32::from(ignored.is_some())),
        ("SMOOTHING", u32::from(smoothing > 0.0)),
        ("WEIGHTED", u32::from(weighted)),
    ];
    let logits = bytes(&shifted(&data, f32::NAN));
    let targets_bytes = bytes(&shifted(&targets, 9));
    let weights = [bytes(&shifted(&weight, f32::NAN)), bytes(&shifted(&[sum], f32::NAN))];
    let what = format!("{rows} {columns} {widths:?} {options:?}");

    let inputs = [&[logits.clone(), targets_bytes.clone()], &weights[..]].concat();
    let parameters = [&common[..], &[("logits_offset", at.into()), ("loss_offset", at.into())]].concat();
    let with_widths = [&constants[..], &[("WIDTH", widths[0]), ("LANES", widths[1])]].concat();
    let kernel = shader("cross_entropy").unwrap().specialise(&with_widths).unwrap();
    let counts = [rows, 2 * rows];
    let found = launch_all(device, &kernel, &inputs, &parameters, counts, groups(rows, widths)).map(floats);
    assert_close(&format!("loss {what}"), &found[0], &loss, 5e-6);
    assert_close(&format!("statistics {what}"), &found[1], &statistics, 5e-6);

    let mut dlogits = vec![0f64; rows * columns];
    let (statistics, given) = (exact(&found[1]), bytes(&shifted(&found[1], f32::NAN)));
    cpu_reference::cross_entropy_gradient(
        Some(&wide),
        columns,
        &targets,
        &statistics,
        &exact(&dloss),
        &counted,
        &mut dlogits,
    );
    let inputs = [&[logits, targets_bytes, given, bytes(&shifted(&dloss, f32::NAN))], &weights[..]].concat();
    let others = [("logits_offset", at.into()), ("dloss_offset", at.into()), ("output_offset", at.into())];
    let parameters = [&common[..], &others].concat();
    let kernel = shader("cross_entropy_gradient").unwrap().specialise(&constants).unwrap();
    let groups = fold_groups((rows * columns).div_ceil(256) as u64);
    let output = launch(device, &kernel, &inputs, &parameters, rows * columns, groups);
    assert_close(&format!("gradient {what}"), &floats(output), &dlogits, 5e-6);
}
