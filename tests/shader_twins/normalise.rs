//! The shaders of normalisation.

use super::{OFFSET, REDUCTIONS, assert_close, bytes, device, exact, floats, launch_all, normal, words};
use cpu_reference::strided::{collapse, contiguous_strides};
use cpu_reference::{Strided, SumsInput};
use gpu_runtime::{Words, fold_groups, shader};

#[test]
fn moments_agree() {
    let Some(device) = device() else { return };
    let data: Vec<f32> = normal(60_000, 12).into_iter().map(|value| value + 30.0).collect();
    for (sizes, strides, reduced_sizes, reduced_strides) in REDUCTIONS {
        let kept = Strided { sizes, strides, offset: OFFSET };
        let reduced = Strided { sizes: reduced_sizes, strides: reduced_strides, offset: 0 };
        let (kept_sizes, kept_strides) = collapse(sizes, strides);
        let (inner_sizes, inner_strides) = collapse(reduced_sizes, reduced_strides);
        let output_strides = contiguous_strides(&kept_sizes);
        let [kept_sizes, kept_strides, output_strides, inner_sizes, inner_strides] =
            [&kept_sizes, &kept_strides, &output_strides, &inner_sizes, &inner_strides].map(|values| words(values));
        let count = kept.count();
        let mut expected = vec![vec![0f64; count]; 3];
        let [mean, variance, inverse] = &mut expected[..] else { unreachable!("three") };
        cpu_reference::moments(&exact(&data), kept, reduced, 0.5, [mean, variance, inverse]);
        for (name, outputs_per_group) in [("moments_workgroup", 1), ("moments_invocation", 64)] {
            let parameters = [
                ("kept_sizes", Words::from(&kept_sizes)),
                ("kept_strides", Words::from(&kept_strides)),
                ("output_strides", Words::from(&output_strides)),
                ("reduced_sizes", Words::from(&inner_sizes)),
                ("reduced_strides", Words::from(&inner_strides)),
                ("kept_rank", (kept_sizes.len() as u32).into()),
                ("reduced_rank", (inner_sizes.len() as u32).into()),
                ("kept_count", (count as u32).into()),
                ("reduced_count", (reduced.count() as u32).into()),
                ("before_count", 0u32.into()),
                ("eps", 0.5f32.into()),
                ("input_offset", (OFFSET as u32).into()),
                ("mean_offset", (OFFSET as u32).into()),
                ("variance_offset", (OFFSET as u32).into()),
                ("inverse_offset", (OFFSET as u32).into()),
            ];
            let groups = fold_groups(count.div_ceil(outputs_per_group) as u64);
            let outputs = launch_all(&device, shader(name).unwrap(), &[bytes(&data)], &parameters, [count; 3], groups);
            for ((output, expected), what) in outputs.into_iter().zip(&expected).zip(["mean", "variance", "inverse"]) {
                assert_close(&format!("{name} {sizes:?} {what}"), &floats(output), expected, 3e-6);
            }
        }
    }
}

/// (kept sizes, reduced sizes, and the strides of dy, x, mean, inverse and weight along both)
type SumsCase<'a> = (&'a [usize], &'a [usize], [(&'a [usize], &'a [usize]); 5]);

const SUMS: [SumsCase<'static>; 5] = [
    (&[7], &[1001], [(&[1001], &[1]), (&[1001], &[1]), (&[1], &[0]), (&[1], &[0]), (&[0], &[1])]),
    (&[301], &[47], [(&[1], &[301]), (&[1], &[301]), (&[0], &[1]), (&[0], &[1]), (&[0], &[0])]),
    (&[301], &[47], [(&[1], &[301]), (&[1], &[301]), (&[1], &[0]), (&[1], &[0]), (&[1], &[0])]),
    (&[3], &[2, 901], [(&[901], &[2703, 1]), (&[901], &[2703, 1]), (&[1], &[0, 0]), (&[1], &[0, 0]), (&[0], &[0, 0])]),
    (
        &[4, 5],
        &[3, 2],
        [(&[1, 4], &[20, 60]), (&[5, 1], &[20, 60]), (&[5, 1], &[0, 20]), (&[0, 1], &[5, 0]), (&[2, 3], &[1, 4])],
    ),
];

#[test]
fn sums_of_normalised_values_agree() {
    let Some(device) = device() else { return };
    let data: Vec<Vec<f32>> = (0..5).map(|seed| normal(20_000, 30 + seed)).collect();
    let wide: Vec<Vec<f64>> = data.iter().map(|values| exact(values)).collect();
    for ((kept, reduced, strides), weighted) in SUMS.into_iter().flat_map(|case| [(case, false), (case, true)]) {
        let one = [1.0];
        let (none_kept, none_reduced) = (vec![0; kept.len()], vec![0; reduced.len()]);
        let input = |view: usize| match weighted || view < 4 {
            true => SumsInput { values: &wide[view], kept: strides[view].0, reduced: strides[view].1, offset: view },
            false => SumsInput { values: &one, kept: &none_kept, reduced: &none_reduced, offset: 0 },
        };
        let count: usize = kept.iter().product();
        let mut expected = vec![vec![0f64; count]; 2];
        let [sums, products] = &mut expected[..] else { unreachable!("two") };
        cpu_reference::normalised_sums(std::array::from_fn(input), kept, reduced, [sums, products]);
        let beside = |of: &dyn Fn(usize) -> &'static [usize], rank: usize| -> Vec<u32> {
            (0..4 * rank).map(|place| of(place % 4)[place / 4] as u32).collect()
        };
        let outputs = contiguous_strides(kept);
        let others = |place: usize| [strides[4].0[place / 4], outputs[place / 4], 0, 0][place % 4] as u32;
        let [kept_sizes, reduced_sizes, weight_strides] = [kept, reduced, strides[4].1].map(words);
        let kept_strides = beside(&|view| strides[view].0, kept.len());
        let reduced_strides = beside(&|view| strides[view].1, reduced.len());
        let other_strides: Vec<u32> = (0..4 * kept.len()).map(others).collect();
        let offsets = [0u32, 1, 2, 3];
        let parameters = [
            ("kept_sizes", Words::from(&kept_sizes)),
            ("kept_strides", Words::from(&kept_strides)),
            ("kept_other_strides", Words::from(&other_strides)),
            ("reduced_sizes", Words::from(&reduced_sizes)),
            ("reduced_strides", Words::from(&reduced_strides)),
            ("reduced_weight_strides", Words::from(&weight_strides)),
            ("offsets", Words::from(&offsets[..])),
            ("weight_offset", 4u32.into()),
            ("kept_rank", (kept.len() as u32).into()),
            ("reduced_rank", (reduced.len() as u32).into()),
            ("kept_count", (count as u32).into()),
            ("reduced_count", (reduced.iter().product::<usize>() as u32).into()),
            ("sum_offset", (OFFSET as u32).into()),
            ("product_offset", (OFFSET as u32).into()),
        ];
        let inputs: Vec<Vec<u8>> = data.iter().map(|values| bytes(values)).collect();
        for (name, outputs_per_group) in [("normalised_sums_workgroup", 1), ("normalised_sums_invocation", 64)] {
            let kernel = shader(name).unwrap().specialise(&[("WEIGHTED", u32::from(weighted))]).unwrap();
            let groups = fold_groups(count.div_ceil(outputs_per_group) as u64);
            let found = launch_all(&device, &kernel, &inputs, &parameters, [count; 2], groups);
            for (output, expected) in found.into_iter().zip(&expected) {
                // Terms of size one cancel in sums of up to two thousand.
                assert_close(&format!("{name} {kept:?} {weighted}"), &floats(output), expected, 5e-5);
            }
        }
    }
}
