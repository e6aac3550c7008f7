//! Samples of pooling: over the grid of options.

use super::{
    AveragePool, AveragePoolGradient, Divisor, MaxPoolGather, MaxPoolGradient, PoolAxis, PoolOptions, adaptive,
    average_pool, max_pool,
};
use crate::graph::apply;
use crate::ops::samples::{Samples, tensor, whole};
use crate::tensor::{Shape, Tensor};

struct Case {
    label: &'static str,
    /// (batch, channels, height, width)
    input: [usize; 4],
    axes: Result<[PoolAxis; 2], String>,
    /// None for windows with gaps.
    divisor: Result<Divisor, String>,
}

fn case(label: &'static str, input: [usize; 4], options: PoolOptions) -> Case {
    let axes = options.axes([input[2], input[3]], ["height", "width"]);
    Case { label, input, axes, divisor: options.divisor() }
}

fn cases() -> Vec<Case> {
    let halves = PoolOptions::new([2, 2]);
    let thirds = PoolOptions { stride: [2, 2], padding: [1, 1], ..PoolOptions::new([3, 3]) };
    let inside = PoolOptions { count_include_pad: false, ..thirds };
    let even = |label, input: [usize; 4], output| {
        let axes = adaptive([input[2], input[3]], output);
        Case { label, input, axes, divisor: Ok(Divisor::Inside) }
    };
    vec![
        case("one number", [1, 1, 1, 1], PoolOptions::new([1, 1])),
        case("halves", [2, 3, 6, 8], halves),
        case("halves of odd sizes", [2, 3, 5, 7], halves),
        case("3×3, stride 2", [2, 3, 7, 8], thirds),
        case("3×3, stride 2, rounded up", [2, 3, 8, 8], PoolOptions { ceil_mode: true, ..thirds }),
        case("3×3, padding not counted", [2, 2, 6, 5], inside),
        case("rounded up, padding not counted", [1, 2, 4, 6], PoolOptions { ceil_mode: true, ..inside }),
        case("overlapping", [1, 2, 6, 7], PoolOptions { stride: [1, 1], ..PoolOptions::new([3, 4]) }),
        case("stride beyond the kernel", [1, 2, 9, 8], PoolOptions { stride: [4, 3], ..PoolOptions::new([2, 1]) }),
        case("a divisor of seven", [1, 2, 5, 5], PoolOptions { divisor: Some(7), ..thirds }),
        case("dilation", [1, 3, 9, 8], PoolOptions { stride: [2, 1], dilation: [2, 3], ..PoolOptions::new([3, 2]) }),
        case("dilation, padded", [2, 2, 6, 7], PoolOptions { dilation: [2, 1], ceil_mode: true, ..thirds }),
        case(
            "a window larger than the input",
            [1, 2, 2, 3],
            PoolOptions { ceil_mode: true, ..PoolOptions::new([3, 2]) },
        ),
        even("even windows", [2, 3, 6, 8], [3, 2]),
        even("uneven windows", [2, 2, 7, 10], [3, 4]),
        even("more windows than elements", [1, 2, 2, 3], [5, 4]),
        even("one row of windows", [3, 2, 5, 4], [1, 3]),
    ]
}

/// Samples of this family.
pub(in crate::ops) fn add_samples(samples: &mut Samples) {
    for Case { label, input, axes, divisor } in cases() {
        let Ok(axes) = axes else { continue };
        let output = [input[0], input[1], axes[0].output, axes[1].output];
        let x = samples.uniform(input, -1.0, 1.0);
        let dy = samples.uniform(output, -1.0, 1.0);
        let indices = places(&axes, &x);
        samples.smooth("max_pool", label, vec![x.clone()], move |x| max_pool(axes, x[0])[0]);
        samples.forward("max_pool", &format!("{label}, indices"), vec![x.clone()], move |x| max_pool(axes, x[0])[1]);
        samples.smooth("max_pool_gradient", label, vec![dy.clone(), indices.clone()], move |x| {
            apply(MaxPoolGradient(axes), x)[0]
        });
        samples.smooth("max_pool_gather", label, vec![x.clone(), indices], move |x| apply(MaxPoolGather(axes), x)[0]);
        if let Ok(divisor) = divisor {
            samples.smooth("average_pool", label, vec![x], move |x| apply(AveragePool(axes, divisor), x)[0]);
            samples.smooth("average_pool_gradient", label, vec![dy], move |x| {
                apply(AveragePoolGradient(axes, divisor), x)[0]
            });
        }
    }
    add_special(samples);
}

/// Where the largest elements are.
fn places(axes: &[PoolAxis; 2], x: &Tensor) -> Tensor {
    let shape = x.shape();
    let output = Shape::from([shape[0], shape[1], axes[0].output, axes[1].output]);
    let (mut values, mut indices) = (vec![0.0; output.elements()], vec![0; output.elements()]);
    if let Ok(x) = x.as_f32() {
        cpu_reference::max_pool(axes, x, &mut values, &mut indices);
    }
    whole(output, &indices)
}

/// One dimension, equals, many planes, windows beyond what one launch goes through.
fn add_special(samples: &mut Samples) {
    let options = PoolOptions { stride: [9, 2], padding: [0, 1], ..PoolOptions::new([9, 3]) };
    let x = samples.uniform([2, 3, 9], -1.0, 1.0);
    samples.smooth("max_pool", "one dimension", vec![x.clone()], move |x| x[0].max_pool1d(&options));
    samples.smooth("average_pool", "one dimension", vec![x.clone()], move |x| x[0].average_pool1d(&options));
    samples.smooth("average_pool", "one dimension, adaptive", vec![x.clone()], |x| x[0].adaptive_average_pool1d(4));
    samples.smooth("max_pool", "one dimension, adaptive", vec![x], |x| x[0].adaptive_max_pool1d(4));
    let equals: Vec<f32> = (0..70).map(|place| [1.0, 0.0, 1.0, f32::NEG_INFINITY, 0.5, 1.0, -0.0][place % 7]).collect();
    let options = PoolOptions { stride: [1, 2], padding: [1, 1], ..PoolOptions::new([2, 3]) };
    for output in [0, 1] {
        samples.forward("max_pool", "equals", vec![tensor([1, 1, 7, 10], &equals)], move |x| {
            x[0].max_pool2d_with_indices(&options)[output]
        });
    }
    let x = samples.uniform([30, 41, 4, 4], -1.0, 1.0);
    let options = PoolOptions::new([2, 2]);
    samples.forward("max_pool", "many planes", vec![x.clone()], move |x| x[0].max_pool2d(&options));
    samples.forward("average_pool", "many planes", vec![x], move |x| x[0].average_pool2d(&options));
    let dy = samples.uniform([30, 41, 2, 2], -1.0, 1.0);
    let Ok(axes) = options.axes([4, 4], ["height", "width"]) else { return };
    samples.forward("average_pool_gradient", "many planes", vec![dy], move |x| {
        apply(AveragePoolGradient(axes, Divisor::Padded), x)[0]
    });
    let x = samples.uniform(Shape::from([2, 5, 6, 3]), -1.0, 1.0);
    samples.smooth("max_pool", "of a permutation", vec![x], move |x| x[0].permute(&[0, 3, 1, 2]).max_pool2d(&options));
    // Windows of which one launch goes through a part: rows of them, and parts of a row.
    let x = samples.uniform([1, 1, 270, 263], -1.0, 1.0);
    let Ok(axes) = adaptive([270, 263], [1, 1]) else { return };
    samples.forward("max_pool", "a large window", vec![x.clone()], |x| x[0].adaptive_max_pool2d([1, 1]));
    samples.forward("average_pool", "a large window", vec![x], move |x| average_pool(axes, Divisor::Inside, x[0]));
    let x = samples.uniform([1, 1, 71_003], -1.0, 1.0);
    samples.forward("max_pool", "a long window", vec![x], |x| x[0].adaptive_max_pool1d(1));
    let dy = samples.uniform([1, 1, 270, 263], -1.0, 1.0);
    let Ok(axes) = adaptive([1, 1], [270, 263]) else { return };
    samples.forward("average_pool_gradient", "many windows", vec![dy.clone()], move |x| {
        apply(AveragePoolGradient(axes, Divisor::Inside), x)[0]
    });
    let indices = whole([1, 1, 270, 263], &vec![0; 270 * 263]);
    samples
        .forward("max_pool_gradient", "many windows", vec![dy, indices], move |x| apply(MaxPoolGradient(axes), x)[0]);
}
