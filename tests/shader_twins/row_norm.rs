//! The shaders of normalised rows, and of rotated pairs.

use super::{OFFSET, assert_close, bytes, device, exact, floats, launch, launch_all, normal, shifted};
use cpu_reference::{Rotary, RowNorm};
use gpu_runtime::{Words, fold_groups, shader};

const ROWS: [[usize; 2]; 6] = [[1, 1], [9, 4], [3, 255], [10, 257], [5, 3001], [130, 5]];

/// Invocations of a workgroup, and how many of them share a row.
const WIDTHS: [[u32; 2]; 3] = [[256, 256], [256, 4], [32, 32]];

#[test]
fn row_norms_and_their_gradients_agree() {
    let Some(device) = device() else { return };
    let at = OFFSET as u32;
    for ([rows, width], [threads, lanes]) in ROWS.into_iter().flat_map(|shape| WIDTHS.map(|widths| (shape, widths))) {
        let count = rows * width;
        let x: Vec<f32> = normal(count, 40).into_iter().map(|value| value + 3.0).collect();
        let (dy, weight, bias) = (normal(count, 41), normal(width, 42), normal(width, 43));
        let [wide, wide_dy, wide_weight, wide_bias] = [&x, &dy, &weight, &bias].map(|values| exact(values));
        let given = [&x, &dy, &weight, &bias].map(|values| bytes(&shifted(values, f32::NAN)));
        let groups = fold_groups((rows as u64 * u64::from(lanes)).div_ceil(u64::from(threads)));
        for flags in 0..8u32 {
            let [centred, weighted, biased] = [0, 1, 2].map(|bit| flags >> bit & 1 == 1);
            let norm = RowNorm {
                width,
                centred,
                eps: 0.25,
                weight: weighted.then_some(&wide_weight[..]),
                bias: biased.then_some(&wide_bias[..]),
            };
            let (mut y, mut statistics) = (vec![0f64; count], vec![0f64; 2 * rows]);
            cpu_reference::row_norm(&norm, &wide, &mut y, &mut statistics);
            let what = format!("{rows} {width} {threads} {lanes} {centred} {weighted} {biased}");
            let constants = [
                ("WIDTH", threads),
                ("LANES", lanes),
                ("CENTRED", u32::from(centred)),
                ("WEIGHTED", u32::from(weighted)),
                ("BIASED", u32::from(biased)),
            ];
            let common: [(&str, Words); 4] = [
                ("rows", (rows as u32).into()),
                ("columns", (width as u32).into()),
                ("weight_offset", at.into()),
                ("output_offset", at.into()),
            ];
            let others: [(&str, Words); 4] = [
                ("eps", 0.25f32.into()),
                ("input_offset", at.into()),
                ("bias_offset", at.into()),
                ("statistics_offset", at.into()),
            ];
            let kernel = shader("row_norm").unwrap().specialise(&constants).unwrap();
            let inputs = [given[0].clone(), given[2].clone(), given[3].clone()];
            let parameters = [&common[..], &others].concat();
            let found = launch_all(&device, &kernel, &inputs, &parameters, [count, 2 * rows], groups).map(floats);
            assert_close(&format!("values {what}"), &found[0], &y, 1e-5);
            assert_close(&format!("statistics {what}"), &found[1], &statistics, 5e-6);
            if biased {
                continue;
            }
            let mut dx = vec![0f64; count];
            cpu_reference::row_norm_gradient(&norm, Some(&wide_dy), &wide, &exact(&found[1]), &mut dx);
            let others: [(&str, Words); 3] =
                [("dy_offset", at.into()), ("x_offset", at.into()), ("statistics_offset", at.into())];
            let kernel = shader("row_norm_gradient").unwrap().specialise(&constants[..4]).unwrap();
            let statistics = bytes(&shifted(&found[1], f32::NAN));
            let inputs = [given[1].clone(), given[0].clone(), statistics, given[2].clone()];
            let output = launch(&device, &kernel, &inputs, &[&common[..], &others].concat(), count, groups);
            assert_close(&format!("gradient {what}"), &floats(output), &dx, 1e-5);
        }
    }
}

#[test]
fn rotary_agrees() {
    let Some(device) = device() else { return };
    let at = OFFSET as u32;
    // Sizes, strides of the input, and pairs.
    let cases: [([usize; 4], [usize; 3], usize); 4] = [
        ([1, 1, 1, 2], [2, 2, 2], 1),
        ([2, 3, 4, 7], [84, 28, 7], 2),
        ([3, 19, 4, 16], [1216, 64, 16], 8),
        ([2, 9, 3, 16], [1296, 16, 144], 4),
    ];
    for (sizes, strides, pairs) in cases {
        let [batch, length, heads, size] = sizes;
        let (data, cosine, sine) =
            (normal(batch * strides[0] + size, 50), normal(length * pairs, 51), normal(length * pairs, 52));
        let [wide, cosines, sines] = [&data, &cosine, &sine].map(|values| exact(values));
        let inputs = [&data, &cosine, &sine].map(|values| bytes(&shifted(values, f32::NAN)));
        let count = batch * length * heads * size;
        let invocations = batch * length * heads * (size - pairs);
        for (interleaved, backwards) in [(false, false), (true, false), (false, true), (true, true)] {
            let of = Rotary { sizes, strides, cosine: &cosines, sine: &sines, interleaved, backwards };
            let mut expected = vec![0f64; count];
            cpu_reference::rotary(&of, Some(&wide), &mut expected);
            let parameters: [(&str, Words); 15] = [
                ("length", (length as u32).into()),
                ("heads", (heads as u32).into()),
                ("size", (size as u32).into()),
                ("pairs", (pairs as u32).into()),
                ("count", (invocations as u32).into()),
                ("direction", if backwards { -1f32 } else { 1.0 }.into()),
                ("input_batch_stride", (strides[0] as u32).into()),
                ("input_length_stride", (strides[1] as u32).into()),
                ("input_head_stride", (strides[2] as u32).into()),
                ("output_batch_stride", ((length * heads * size) as u32).into()),
                ("output_length_stride", ((heads * size) as u32).into()),
                ("input_offset", at.into()),
                ("cosine_offset", at.into()),
                ("sine_offset", at.into()),
                ("output_offset", at.into()),
            ];
            let kernel = shader("rotary").unwrap().specialise(&[("INTERLEAVED", u32::from(interleaved))]).unwrap();
            let groups = fold_groups(invocations.div_ceil(256) as u64);
            let output = launch(&device, &kernel, &inputs, &parameters, count, groups);
            assert_close(&format!("{sizes:?} {interleaved} {backwards}"), &floats(output), &expected, 1e-6);
        }
    }
}
