//! Samples of convolutions: over the grid of options, and at the edges of tiles.

use super::{Convolution, input_gradient, weight_gradient};
use crate::ops::samples::Samples;
use crate::tensor::{Shape, Tensor};

struct Case {
    label: &'static str,
    /// (batch, channels, height, width)
    input: [usize; 4],
    /// (outputs, inputs of a group, height, width)
    weight: [usize; 4],
    options: Convolution,
}

fn case(label: &'static str, input: [usize; 4], weight: [usize; 4], options: Convolution) -> Case {
    Case { label, input, weight, options }
}

fn cases() -> Vec<Case> {
    let plain = Convolution::default();
    let padded = Convolution { padding: [(1, 1); 2], ..plain };
    let halving = Convolution { stride: [2, 2], ..padded };
    let assorted = Convolution { stride: [2, 1], padding: [(0, 2), (3, 1)], dilation: [1, 2], groups: 1 };
    vec![
        case("one number", [1, 1, 1, 1], [1, 1, 1, 1], plain),
        case("plain", [2, 3, 5, 6], [4, 3, 3, 2], plain),
        case("padded", [2, 3, 5, 4], [2, 3, 3, 3], padded),
        case("stride 2", [2, 3, 6, 7], [4, 3, 3, 3], halving),
        case("1×1", [2, 5, 3, 4], [3, 5, 1, 1], plain),
        case("1×1, stride 2", [2, 5, 3, 4], [3, 5, 1, 1], Convolution { stride: [2, 2], ..plain }),
        case("1×1, padded", [1, 2, 3, 4], [3, 2, 1, 1], padded),
        case("assorted options", [2, 3, 6, 5], [2, 3, 3, 3], assorted),
        case("dilation", [1, 2, 7, 8], [3, 2, 3, 3], Convolution { dilation: [3, 2], ..plain }),
        case("stride beyond the kernel", [1, 2, 8, 9], [2, 2, 1, 2], Convolution { stride: [3, 4], ..plain }),
        case("groups", [2, 4, 5, 5], [6, 2, 3, 3], padded.grouped(2)),
        case("groups, assorted options", [1, 6, 5, 6], [3, 2, 3, 2], assorted.grouped(3)),
        case("depthwise", [2, 3, 5, 6], [3, 1, 3, 3], padded.grouped(3)),
        case("depthwise, stride 2", [2, 3, 7, 6], [3, 1, 3, 3], halving.grouped(3)),
        case("depthwise, assorted options", [2, 2, 6, 5], [2, 1, 3, 3], assorted.grouped(2)),
        case("depthwise, two outputs each", [2, 3, 4, 5], [6, 1, 2, 3], padded.grouped(3)),
        case("one channel in", [3, 1, 6, 6], [5, 1, 3, 3], padded),
        case(
            "a kernel larger than the image",
            [1, 2, 2, 3],
            [2, 2, 4, 5],
            Convolution { padding: [(1, 2), (2, 1)], ..plain },
        ),
        case("a row", [2, 3, 1, 9], [4, 3, 1, 3], Convolution { padding: [(0, 0), (1, 1)], ..plain }),
    ]
}

/// Cases with more than one tile, each a little beyond or below whole ones.
fn large() -> Vec<Case> {
    let padded = Convolution { padding: [(1, 1); 2], ..Convolution::default() };
    vec![
        case("tiles", [3, 9, 7, 6], [66, 9, 3, 3], padded),
        case("tiles of input channels", [2, 65, 5, 7], [4, 65, 1, 2], Convolution::default()),
        case("tiles by groups", [2, 20, 9, 8], [10, 10, 3, 2], Convolution { stride: [2, 1], ..padded.grouped(2) }),
        case("depthwise, long", [3, 4, 40, 37], [4, 1, 3, 3], padded.grouped(4)),
        case("channels for vectors", [2, 17, 24, 23], [20, 17, 3, 3], padded),
        case("depthwise, many images", [70, 2, 9, 9], [2, 1, 3, 3], padded.grouped(2)),
    ]
}

/// Samples of this family.
pub(in crate::ops) fn add_samples(samples: &mut Samples) {
    for (small, Case { label, input, weight, options }) in
        cases().into_iter().map(|case| (true, case)).chain(large().into_iter().map(|case| (false, case)))
    {
        let Ok(sizes) = options.sizes(&input, &weight) else { continue };
        let mut random = |shape: [usize; 4]| samples.uniform(shape, -1.0, 1.0);
        let output = [input[0], weight[0], sizes.output[0], sizes.output[1]];
        let [x, w, dy] = [random(input), random(weight), random(output)];
        let field = |shape: [usize; 4]| [shape[2], shape[3]];
        let (size, kernel) = (field(input), field(weight));
        let mut add = |name: &'static str, inputs: Vec<Tensor>, build: Build| {
            if small {
                samples.smooth(name, label, inputs, build);
            } else {
                samples.forward(name, label, inputs, build);
            }
        };
        add("convolution", vec![x.clone(), w.clone()], Box::new(move |x| x[0].conv2d(x[1], &options)));
        add(
            "convolution_input_gradient",
            vec![dy.clone(), w],
            Box::new(move |x| input_gradient(options, x[0], x[1], size)),
        );
        add(
            "convolution_weight_gradient",
            vec![x, dy],
            Box::new(move |x| weight_gradient(options, x[0], x[1], kernel)),
        );
    }
    let options = Convolution { stride: [7, 2], padding: [(9, 9), (2, 1)], dilation: [9, 1], groups: 1 };
    let x = samples.uniform([2, 3, 9], -1.0, 1.0);
    let w = samples.uniform([4, 3, 4], -1.0, 1.0);
    samples.smooth("convolution", "one dimension", vec![x.clone(), w], move |x| x[0].conv1d(x[1], &options));
    let w = samples.uniform([3, 2, 4], -1.0, 1.0);
    samples.smooth("convolution_input_gradient", "one dimension, transposed", vec![x, w], move |x| {
        x[0].conv_transpose1d(x[1], &options, 1)
    });
    let options = Convolution { stride: [3, 2], padding: [(1, 0), (1, 2)], dilation: [1, 2], groups: 2 };
    let x = samples.uniform([2, 4, 3, 4], -1.0, 1.0);
    let w = samples.uniform([4, 3, 2, 3], -1.0, 1.0);
    samples.smooth("convolution_input_gradient", "transposed", vec![x, w], move |x| {
        x[0].conv_transpose2d(x[1], &options, [2, 1])
    });
    let x = samples.uniform(Shape::from([2, 5, 6, 3]), -1.0, 1.0);
    let w = samples.uniform([2, 3, 2, 4], -1.0, 1.0);
    samples.smooth("convolution", "of a permutation", vec![x, w], |x| {
        x[0].permute(&[0, 3, 1, 2]).conv2d(x[1].permute(&[3, 1, 2, 0]), &Convolution::default())
    });
    let (all, w) = (samples.uniform([3, 2, 4, 5], -1.0, 1.0), samples.uniform([3, 2, 2, 2], -1.0, 1.0));
    let inputs = vec![all.clone(), w];
    samples.smooth("convolution", "from the second image on", inputs, |x| {
        x[0].slice(&[1, 0, 0, 0], [2, 2, 4, 5]).conv2d(x[1].slice(&[1, 0, 0, 0], [2, 2, 2, 2]), &Convolution::default())
    });
    let w = samples.uniform([3, 1, 2, 2], -1.0, 1.0);
    samples.smooth("convolution", "depthwise, from the second image on", vec![all, w], |x| {
        let options = Convolution { groups: 2, ..Convolution::default() };
        x[0].slice(&[1, 0, 0, 0], [2, 2, 4, 5]).conv2d(x[1].slice(&[1, 0, 0, 0], [2, 1, 2, 2]), &options)
    });
}

/// What applies an operator.
type Build = Box<dyn Fn(&[crate::graph::Value]) -> crate::graph::Value + Send + Sync>;
