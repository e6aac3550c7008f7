//! Every hand-written shader against its CPU twin in `f64`, on the shader's own inputs.

#[path = "shader_twins/along.rs"]
mod along;
mod common;
#[path = "shader_twins/normalise.rs"]
mod normalise;
#[path = "shader_twins/pool.rs"]
mod pool;
#[path = "shader_twins/row_norm.rs"]
mod row_norm;
#[path = "shader_twins/rows.rs"]
mod rows;

use cpu_reference::philox::{Philox, philox_word, unit_interval};
use cpu_reference::strided::{collapse, contiguous_strides};
use cpu_reference::{Extreme, Matrix, Reduction, Strided};
use gpu_runtime::{
    BufferId, BufferRole, BufferSpec, Device, Kernel, Launch, Output, Plan, Program, Words, fold_groups, shader,
};
use nn_core::{Session, StepScalars, graph};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

/// One device for all tests, or `None` after saying so.
fn device() -> Option<Device> {
    static DEVICE: OnceLock<Option<nn_core::Device>> = OnceLock::new();
    DEVICE.get_or_init(common::gpu).as_ref().and_then(nn_core::Device::as_gpu).cloned()
}

/// Elements before the first of every operand, so that a kernel that forgets an offset is found out.
const OFFSET: usize = 3;

/// `values` after `OFFSET` elements that no kernel should touch.
fn shifted<T: Copy>(values: &[T], filler: T) -> Vec<T> {
    [&[filler; OFFSET][..], values].concat()
}

/// Runs one launch; the output begins as 4-byte words of `0x55555555`, and so must its first `OFFSET` stay.
fn launch(
    device: &Device,
    kernel: &Kernel,
    inputs: &[Vec<u8>],
    parameters: &[(&str, Words)],
    output_words: usize,
    groups: [u32; 3],
) -> Vec<u32> {
    let [output] = launch_all(device, kernel, inputs, parameters, [output_words], groups);
    output
}

/// The same for a kernel of several outputs.
fn launch_all<const N: usize>(
    device: &Device,
    kernel: &Kernel,
    inputs: &[Vec<u8>],
    parameters: &[(&str, Words)],
    output_words: [usize; N],
    groups: [u32; 3],
) -> [Vec<u32>; N] {
    let bytes = output_words.map(|words| 4 * (OFFSET + words) as u64);
    let names: [String; N] = std::array::from_fn(|number| format!("output {number}"));
    let mut buffers: Vec<BufferSpec> = inputs
        .iter()
        .enumerate()
        .map(|(number, input)| BufferSpec {
            label: format!("input {number}"),
            bytes: input.len() as u64,
            role: BufferRole::Constant(input.clone().into()),
        })
        .collect();
    for (name, bytes) in names.iter().zip(bytes) {
        buffers.push(BufferSpec { label: name.clone(), bytes, role: BufferRole::Input(name.clone()) });
    }
    let output = |number: usize| Output {
        name: names[number].clone(),
        buffer: BufferId(inputs.len() + number),
        bytes: bytes[number],
        streamed: false,
    };
    let program = Program {
        kernels: vec![kernel.clone()],
        launches: vec![Launch {
            label: kernel.name.to_string(),
            kernel: 0,
            windows: (0..buffers.len()).map(|number| BufferId(number).into()).collect(),
            parameters: kernel.pack(parameters).unwrap(),
            groups,
            bytes: 0,
            flops: 0,
            iterations: 0,
        }],
        outputs: (0..N).map(output).collect(),
        buffers,
    };
    let mut plan = Plan::new(device, Arc::new(program), &HashMap::new()).unwrap();
    for (name, bytes) in names.iter().zip(bytes) {
        plan.write_input(name, &vec![0x55; bytes as usize]).unwrap();
    }
    plan.run(&[0; 16]).unwrap();
    names.map(|name| {
        let output = plan.read_output(&name).unwrap();
        let words: Vec<u32> = output.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect();
        assert_eq!(words[..OFFSET], [0x5555_5555; OFFSET], "{} wrote before its output", kernel.name);
        words[OFFSET..].to_vec()
    })
}

fn floats(words: Vec<u32>) -> Vec<f32> {
    words.into_iter().map(f32::from_bits).collect()
}

fn bytes<T: bytemuck::NoUninit>(values: &[T]) -> Vec<u8> {
    bytemuck::cast_slice(values).to_vec()
}

fn normal(count: usize, seed: u64) -> Vec<f32> {
    let mut random = Philox::new(seed, 5);
    (0..count).map(|_| random.normal() as f32).collect()
}

fn exact(values: &[f32]) -> Vec<f64> {
    values.iter().map(|value| f64::from(*value)).collect()
}

#[track_caller]
fn assert_close(what: &str, actual: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), expected.len(), "{what}");
    for (index, (actual, expected)) in actual.iter().zip(expected).enumerate() {
        let actual = f64::from(*actual);
        let same = actual == *expected || (actual.is_nan() && expected.is_nan());
        let close = (actual - expected).abs() <= tolerance * (1.0 + expected.abs());
        let finite = actual.is_finite() && expected.is_finite();
        assert!(same || (finite && close), "{what}: element {index} is {actual} instead of {expected}");
    }
}

fn words(values: &[usize]) -> Vec<u32> {
    values.iter().map(|value| *value as u32).collect()
}

/// The specialised width to try besides the default.
const WIDTHS: [u32; 2] = [256, 32];

#[test]
fn matmul_agrees() {
    let Some(device) = device() else { return };
    let kernel = shader("matmul").unwrap();
    let data = normal(60_000, 1);
    for [m, k, n] in [[1, 1, 1], [1, 7, 5], [5, 1, 1], [64, 16, 64], [65, 17, 63], [130, 33, 70]] {
        for transposed in 0..4 {
            let batch_sizes = [1, 2, 1, 3];
            let strides = |bit: usize, rows: usize, columns: usize| match transposed & bit {
                0 => (columns, 1),
                _ => (1, rows),
            };
            let (a_row, a_column) = strides(1, m, k);
            let (b_row, b_column) = strides(2, k, n);
            let (a_batch, b_batch) = ([0, 3 * m * k, 0, m * k], [0, 0, 0, k * n]);
            let left = exact(&data);
            let a = Matrix {
                values: &left,
                offset: 3,
                row_stride: a_row,
                column_stride: a_column,
                batch_strides: &a_batch,
            };
            let b = Matrix {
                values: &left,
                offset: 8,
                row_stride: b_row,
                column_stride: b_column,
                batch_strides: &b_batch,
            };
            let mut expected = vec![0f64; 6 * m * n];
            cpu_reference::matmul(&a, &b, &batch_sizes, [m, k, n], &mut expected);
            let (a_batch, b_batch, sizes) = (words(&a_batch), words(&b_batch), words(&batch_sizes));
            let output_batch = words(&[6, 3, 3, 1].map(|batch| batch * m * n));
            let parameters = [
                ("batch_sizes", Words::from(&sizes)),
                ("left_batch_strides", Words::from(&a_batch)),
                ("right_batch_strides", Words::from(&b_batch)),
                ("output_batch_strides", Words::from(&output_batch)),
                ("output_row_stride", (n as u32).into()),
                ("m", (m as u32).into()),
                ("n", (n as u32).into()),
                ("k", (k as u32).into()),
                ("batch", 6u32.into()),
                ("left_row_stride", (a_row as u32).into()),
                ("left_column_stride", (a_column as u32).into()),
                ("right_row_stride", (b_row as u32).into()),
                ("right_column_stride", (b_column as u32).into()),
                ("left_offset", 3u32.into()),
                ("right_offset", 8u32.into()),
                ("output_offset", (OFFSET as u32).into()),
            ];
            // Fewer groups in z than matrices: rounds.
            let groups = [n.div_ceil(64) as u32, m.div_ceil(64) as u32, 4];
            let inputs = [bytes(&data), bytes(&data)];
            let output = floats(launch(&device, kernel, &inputs, &parameters, 6 * m * n, groups));
            assert_close(&format!("matmul {m} {k} {n}, {transposed}"), &output, &expected, 2e-5);
        }
    }
}

type Case<'a> = (&'a [usize], &'a [usize], &'a [usize], &'a [usize]);

const REDUCTIONS: [Case<'static>; 10] = [
    (&[], &[], &[], &[]),
    (&[5], &[1], &[], &[]),
    (&[], &[], &[10_001], &[1]),
    (&[7], &[13], &[13], &[1]),
    (&[13], &[1], &[7], &[13]),
    (&[300], &[1], &[111], &[300]),
    (&[4, 6], &[30, 1], &[5], &[6]),
    (&[5], &[6], &[4, 6], &[30, 1]),
    (&[3, 8], &[0, 2], &[2, 9], &[100, 0]),
    (&[70, 3], &[2, 140], &[2, 5, 3, 2, 2], &[1, 420, 7, 1100, 3]),
];

#[test]
fn reductions_agree() {
    let Some(device) = device() else { return };
    let clean = normal(60_000, 2);
    let mut outliers = clean.clone();
    for place in (0..outliers.len()).step_by(29) {
        outliers[place] = [1e4, -1e4, f32::INFINITY, f32::NAN, f32::NEG_INFINITY][place % 5];
    }
    for (data, (sizes, strides, reduced_sizes, reduced_strides)) in
        [&clean, &outliers].into_iter().flat_map(|data| REDUCTIONS.map(|case| (data, case)))
    {
        let kept = Strided { sizes, strides, offset: OFFSET };
        let reduced = Strided { sizes: reduced_sizes, strides: reduced_strides, offset: 0 };
        let (kept_sizes, kept_strides) = collapse(sizes, strides);
        let (inner_sizes, inner_strides) = collapse(reduced_sizes, reduced_strides);
        let output_strides = contiguous_strides(&kept_sizes);
        let [kept_sizes, kept_strides, output_strides, inner_sizes, inner_strides] =
            [&kept_sizes, &kept_strides, &output_strides, &inner_sizes, &inner_strides].map(|values| words(values));
        let count = kept.count() as u32;
        let scale = 1.0 / reduced.count() as f32;
        for (code, operation) in
            [(0, Reduction::Sum), (1, Reduction::Maximum), (2, Reduction::Minimum), (3, Reduction::SumOfSquares)]
        {
            let mut expected = vec![0f64; kept.count()];
            cpu_reference::reduce(operation, &exact(data), kept, reduced, f64::from(scale), &mut expected);
            // The error of a sum is measured by the sum of the sizes of its terms, which may cancel.
            let sizes_of_terms: Vec<f64> = data.iter().map(|value| f64::from(value.abs())).collect();
            let mut magnitudes = vec![0f64; kept.count()];
            cpu_reference::reduce(operation, &sizes_of_terms, kept, reduced, f64::from(scale), &mut magnitudes);
            for (name, outputs_per_group) in [("reduce_workgroup", 1), ("reduce_invocation", 64)] {
                let kernel = shader(name).unwrap().specialise(&[("OPERATION", code)]).unwrap();
                let parameters = [
                    ("kept_sizes", Words::from(&kept_sizes)),
                    ("kept_strides", Words::from(&kept_strides)),
                    ("output_strides", Words::from(&output_strides)),
                    ("reduced_sizes", Words::from(&inner_sizes)),
                    ("reduced_strides", Words::from(&inner_strides)),
                    ("kept_rank", (kept_sizes.len() as u32).into()),
                    ("reduced_rank", (inner_sizes.len() as u32).into()),
                    ("kept_count", count.into()),
                    ("reduced_count", (reduced.count() as u32).into()),
                    ("scale", scale.into()),
                    ("input_offset", (OFFSET as u32).into()),
                    ("output_offset", (OFFSET as u32).into()),
                ];
                let groups = fold_groups(u64::from(count.div_ceil(outputs_per_group)));
                let output = launch(&device, &kernel, &[bytes(data)], &parameters, count as usize, groups);
                for ((actual, expected), magnitude) in floats(output).into_iter().zip(&expected).zip(&magnitudes) {
                    let tolerance = match code {
                        0 if magnitude.is_finite() => 1e-6 * magnitude,
                        // Squares don't cancel.
                        3 if expected.is_finite() => 1e-6 * expected,
                        _ => 0.0,
                    };
                    let what = format!("{name} {operation:?} {sizes:?}");
                    let difference = (f64::from(actual) - expected).abs();
                    let same = f64::from(actual) == *expected || (actual.is_nan() && expected.is_nan());
                    assert!(same || difference <= tolerance, "{what}: {actual} instead of {expected}");
                }
            }
            if matches!(code, 1 | 2) && reduced_sizes.len() == 1 {
                let extreme = if code == 1 { Extreme::Maximum } else { Extreme::Minimum };
                let mut expected = vec![0u32; kept.count()];
                cpu_reference::arg_reduce(extreme, data, kept, reduced_sizes[0], reduced_strides[0], &mut expected);
                let kernel = shader("arg_reduce").unwrap().specialise(&[("OPERATION", code)]).unwrap();
                let parameters = [
                    ("kept_sizes", Words::from(&kept_sizes)),
                    ("kept_strides", Words::from(&kept_strides)),
                    ("output_strides", Words::from(&output_strides)),
                    ("kept_rank", (kept_sizes.len() as u32).into()),
                    ("kept_count", count.into()),
                    ("reduced_size", (reduced_sizes[0] as u32).into()),
                    ("reduced_stride", (reduced_strides[0] as u32).into()),
                    ("input_offset", (OFFSET as u32).into()),
                    ("output_offset", (OFFSET as u32).into()),
                ];
                let groups = fold_groups(u64::from(count));
                let output = launch(&device, &kernel, &[bytes(data)], &parameters, count as usize, groups);
                assert_eq!(output, expected, "arg_reduce {extreme:?} {sizes:?}");
            }
        }
    }
}

#[test]
fn rows_by_index_agree() {
    let Some(device) = device() else { return };
    for [vocabulary, width, count] in
        [[1, 1, 1], [5, 3, 17], [100, 64, 700], [9, 1, 1000], [3, 1500, 257], [2000, 2, 3]]
    {
        let mut random = Philox::new(6, 0);
        let indices: Vec<u32> = (0..count).map(|_| random.below((vocabulary + 1 + vocabulary / 9) as u32)).collect();
        let table = normal(vocabulary * width, 7);
        let dy = normal(count * width, 8);
        let mut gathered = vec![0f64; count * width];
        cpu_reference::gather_rows(&exact(&table), width, &indices, &mut gathered);
        let mut scattered = vec![0f64; vocabulary * width];
        cpu_reference::scatter_add_rows(&exact(&dy), width, &indices, &mut scattered);
        let common = [
            ("vocabulary", Words::from(vocabulary as u32)),
            ("first_row", 0u32.into()),
            ("width", (width as u32).into()),
            ("count", (count as u32).into()),
            ("indices_offset", (OFFSET as u32).into()),
            ("output_offset", (OFFSET as u32).into()),
        ];
        let what = format!("{vocabulary} {width} {count}");
        let index_bytes = bytes(&shifted(&indices, 0));
        let parameters = [&common[..], &[("table_offset", (OFFSET as u32).into())]].concat();
        let inputs = [bytes(&shifted(&table, f32::NAN)), index_bytes.clone()];
        let groups = fold_groups((count * width).div_ceil(256) as u64);
        let output = launch(&device, shader("gather_rows").unwrap(), &inputs, &parameters, count * width, groups);
        assert_close(&format!("gather_rows {what}"), &floats(output), &gathered, 0.0);
        let parameters = [&common[..], &[("dy_offset", (OFFSET as u32).into())]].concat();
        let inputs = [bytes(&shifted(&dy, f32::NAN)), index_bytes];
        for width_constant in WIDTHS {
            let kernel = shader("scatter_add_rows").unwrap().specialise(&[("WIDTH", width_constant)]).unwrap();
            let groups = fold_groups((vocabulary * width).div_ceil(4 * width_constant as usize) as u64);
            let output = launch(&device, &kernel, &inputs, &parameters, vocabulary * width, groups);
            assert_close(&format!("scatter_add_rows {what}"), &floats(output), &scattered, 1e-5);
        }
    }
}

#[test]
fn copy_and_pad_agree() {
    let Some(device) = device() else { return };
    let input: Vec<u32> = (1..9000).collect();
    let cases: [Case<'_>; 7] = [
        (&[1], &[1], &[0], &[0]),
        (&[257], &[1], &[2], &[0]),
        (&[3, 4], &[4, 1], &[1, 2], &[0, 3]),
        (&[30, 40], &[1, 30], &[0, 0], &[2, 1]),
        (&[2, 3, 28, 29], &[2436, 812, 29, 1], &[0, 0, 1, 2], &[0, 0, 1, 2]),
        (&[3, 200], &[0, 1], &[300, 0], &[300, 5]),
        (
            &[2, 3, 2, 2, 1, 2, 2, 2],
            &[1, 2, 6, 12, 7, 24, 48, 96],
            &[0, 1, 0, 0, 0, 0, 0, 0],
            &[0, 0, 0, 1, 1, 0, 0, 1],
        ),
    ];
    for (sizes, strides, before, after) in cases {
        let view = Strided { sizes, strides, offset: OFFSET };
        let output_sizes: Vec<usize> = (0..sizes.len()).map(|d| before[d] + sizes[d] + after[d]).collect();
        let count: usize = output_sizes.iter().product();
        let output_strides = contiguous_strides(&output_sizes);
        let [size_words, stride_words, before_words, output_words, output_stride_words] =
            [sizes, strides, before, &output_sizes, &output_strides].map(words);
        let mut expected = vec![0u32; count];
        cpu_reference::pad(&input, view, before, &output_sizes, 0xdead_beef, &mut expected);
        let parameters = [
            ("output_sizes", Words::from(&output_words)),
            ("before", (&before_words).into()),
            ("input_sizes", (&size_words).into()),
            ("input_strides", (&stride_words).into()),
            ("rank", (sizes.len() as u32).into()),
            ("count", (count as u32).into()),
            ("value", 0xdead_beefu32.into()),
            ("input_offset", (OFFSET as u32).into()),
            ("output_offset", (OFFSET as u32).into()),
        ];
        let groups = fold_groups(count.div_ceil(256) as u64);
        let output = launch(&device, shader("pad").unwrap(), &[bytes(&input)], &parameters, count, groups);
        assert!(output == expected, "pad {sizes:?}");

        // A copy to the inside of the larger tensor leaves the rest as it was.
        let inside: usize = before.iter().zip(&output_strides).map(|(place, stride)| place * stride).sum();
        let mut expected = vec![0x5555_5555u32; count];
        cpu_reference::copy(&input, view, &mut expected, &output_strides, inside);
        let parameters = [
            ("sizes", Words::from(&size_words)),
            ("input_strides", (&stride_words).into()),
            ("output_strides", (&output_stride_words).into()),
            ("rank", (sizes.len() as u32).into()),
            ("count", (view.count() as u32).into()),
            ("input_offset", (OFFSET as u32).into()),
            ("output_offset", ((OFFSET + inside) as u32).into()),
        ];
        let groups = fold_groups(view.count().div_ceil(256) as u64);
        let output = launch(&device, shader("copy").unwrap(), &[bytes(&input)], &parameters, count, groups);
        assert!(output == expected, "copy {sizes:?}");
    }
}

#[test]
fn random_bits_agree() {
    let Some(device) = common::gpu() else { return };
    for (seed, step, stream) in [(0, 0, 0), (u32::MAX, 7, 0x8000_0001), (12_345, 6789, 42)] {
        let graph = graph::trace(|trace| {
            trace.output("y", trace.random_uniform([1000], stream));
            Ok(())
        });
        let mut session = Session::new(&device);
        let mut program = session.compile(&graph.unwrap()).unwrap();
        session.run(&mut program, &[], StepScalars::new(step, seed, 0.0)).unwrap();
        let expected: Vec<f32> = (0..1000).map(|index| unit_interval(philox_word(index, seed, step, stream))).collect();
        assert_eq!(session.output(&mut program, "y").unwrap().as_f32().unwrap(), expected);
    }
}
