//! Convolutions as layers: shapes, initial values, and what they refuse.

use nn_core::{DType, Shape};
use nn_train::nn::{Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d, Padding};
use nn_train::{Declarations, Error, Init, Layer, trace_model};

/// The shape of the result, and what the layer declares.
fn traced(layer: &dyn Layer, input: &[usize]) -> Result<(Shape, Declarations), Error> {
    let mut shape = Shape::from([]);
    let (_, declarations) = trace_model(true, |s| {
        let x = s.input("x", DType::F32, input);
        shape = layer.forward(s, x).shape();
        Ok(())
    })?;
    Ok((shape, declarations))
}

#[track_caller]
fn assert_shapes(layer: &dyn Layer, input: &[usize], output: &[usize], weight: &[usize]) -> Declarations {
    let (shape, declarations) = traced(layer, input).unwrap();
    assert_eq!(&*shape, output);
    assert_eq!(&*declarations.get("weight").unwrap().shape, weight);
    declarations
}

#[track_caller]
fn assert_refused(layer: &dyn Layer, input: &[usize], parts: &[&str]) {
    let message = traced(layer, input).expect_err("it cannot work").to_string();
    for part in parts {
        assert!(message.contains(part), "expected {part:?} in: {message}");
    }
}

/// The figures are those of PyTorch's documentation and of its modules.
#[test]
fn shapes_are_those_of_pytorch() {
    assert_shapes(&Conv2d::new(16, 33, 3).stride(2), &[20, 16, 50, 100], &[20, 33, 24, 49], &[33, 16, 3, 3]);
    let layer = Conv2d::new(16, 33, [3, 5]).stride([2, 1]).padding([4, 2]).dilation([3, 1]);
    assert_shapes(&layer, &[20, 16, 50, 100], &[20, 33, 26, 100], &[33, 16, 3, 5]);
    assert_shapes(&Conv2d::new(4, 8, 3).groups(4), &[2, 4, 5, 5], &[2, 8, 3, 3], &[8, 1, 3, 3]);
    assert_shapes(&Conv2d::new(3, 4, 2).padding([(1, 0), (0, 2)]), &[1, 3, 5, 5], &[1, 4, 5, 6], &[4, 3, 2, 2]);
    assert_shapes(&Conv2d::new(3, 4, 3), &[3, 8, 9], &[4, 6, 7], &[4, 3, 3, 3]);
    assert_shapes(&Conv1d::new(16, 33, 3).stride(2), &[20, 16, 50], &[20, 33, 24], &[33, 16, 3]);
    assert_shapes(&Conv1d::new(2, 3, 2).padding((1, 0)).dilation(3), &[4, 2, 9], &[4, 3, 7], &[3, 2, 2]);
    let layer = ConvTranspose2d::new(16, 33, [3, 5]).stride([2, 1]).padding([4, 2]);
    assert_shapes(&layer, &[20, 16, 50, 100], &[20, 33, 93, 100], &[16, 33, 3, 5]);
    let layer = ConvTranspose2d::new(16, 16, 3).stride(2).padding(1).output_padding(1).groups(2);
    assert_shapes(&layer, &[1, 16, 6, 6], &[1, 16, 12, 12], &[16, 8, 3, 3]);
    let layer = ConvTranspose1d::new(4, 6, 4).stride(3).padding(1).output_padding(2);
    assert_shapes(&layer, &[2, 4, 5], &[2, 6, 16], &[4, 6, 4]);
}

#[test]
fn same_padding_keeps_the_size() {
    for kernel in 1..6 {
        for dilation in 1..4 {
            let layer = Conv2d::new(2, 3, [kernel, 2]).dilation([dilation, 1]).padding(Padding::Same);
            assert_shapes(&layer, &[1, 2, 7, 5], &[1, 3, 7, 5], &[3, 2, kernel, 2]);
            let layer = Conv1d::new(2, 3, kernel).dilation(dilation).padding(Padding::Same);
            assert_shapes(&layer, &[1, 2, 7], &[1, 3, 7], &[3, 2, kernel]);
        }
    }
}

#[test]
fn parameters_begin_as_those_of_pytorch() {
    let within = |declarations: &Declarations, name: &str, bound: f64| {
        let declared = declarations.get(name).unwrap();
        let values = declared.init.values(&declared.shape, 7, name);
        let largest = values.iter().fold(0.0, |largest: f64, value| largest.max(f64::from(value.abs())));
        assert!(largest <= bound && largest > 0.9 * bound, "{name}: {largest} for {bound}");
    };
    let declarations =
        assert_shapes(&Conv2d::new(8, 64, [3, 5]).groups(2), &[1, 8, 6, 6], &[1, 64, 4, 2], &[64, 4, 3, 5]);
    for name in ["weight", "bias"] {
        within(&declarations, name, 1.0 / 60f64.sqrt());
    }
    let declarations = assert_shapes(&Conv1d::new(6, 50, 4), &[1, 6, 6], &[1, 50, 3], &[50, 6, 4]);
    for name in ["weight", "bias"] {
        within(&declarations, name, 1.0 / 24f64.sqrt());
    }
    // PyTorch takes the second size of a weight for its fan-in, which is that of the output here.
    let layer = ConvTranspose2d::new(8, 60, 3).groups(4);
    let declarations = assert_shapes(&layer, &[1, 8, 2, 2], &[1, 60, 4, 4], &[8, 15, 3, 3]);
    for name in ["weight", "bias"] {
        within(&declarations, name, 1.0 / 135f64.sqrt());
    }
    let layer = Conv2d::new(1, 2, 3).init(Init::Ones, Init::Constant(2.5));
    let declarations = assert_shapes(&layer, &[1, 1, 3, 3], &[1, 2, 1, 1], &[2, 1, 3, 3]);
    assert_eq!(declarations.get("weight").unwrap().init, Init::Ones);
    assert_eq!(declarations.get("bias").unwrap().init, Init::Constant(2.5));
    let (_, declarations) = traced(&Conv1d::new(1, 2, 3).bias(false), &[1, 1, 3]).unwrap();
    assert!(declarations.get("bias").is_none());
}

#[test]
fn what_does_not_fit_is_said() {
    let layer = Conv2d::new(3, 8, 3);
    assert_refused(&layer, &[2, 4, 9, 9], &["Conv2d::new(3, 8, [3, 3])", "[batch, 3, height, width]", "[2, 4, 9, 9]"]);
    assert_refused(&layer, &[9], &["[batch, 3, height, width]", "[9]"]);
    assert_refused(&layer, &[2, 3, 9, 2], &["smaller than the kernel's reach", "width is 2", "reach over 3"]);
    assert_refused(&Conv2d::new(3, 8, 3).stride(0), &[2, 3, 9, 9], &["stride, dilation and groups", "at least 1"]);
    assert_refused(&Conv2d::new(3, 8, 3).groups(2), &[2, 3, 9, 9], &["2 groups"]);
    assert_refused(&Conv2d::new(3, 8, 3).groups(0), &[2, 3, 9, 9], &["0 groups"]);
    assert_refused(&Conv2d::new(3, 0, 3), &[2, 3, 9, 9], &["size of 0"]);
    let same = Conv2d::new(3, 8, 3).padding(Padding::Same);
    assert_refused(&same.clone().stride(2), &[2, 3, 9, 9], &["\"same\"", "stride of 1"]);
    assert_refused(&ConvTranspose2d::new(3, 8, 3).padding(Padding::Same), &[2, 3, 9, 9], &["\"same\"", "transposed"]);
    let layer = Conv1d::new(3, 8, 5);
    assert_refused(&layer, &[2, 4, 9], &["Conv1d::new(3, 8, 5)", "[batch, 3, length]", "[2, 4, 9]"]);
    assert_refused(&layer, &[2, 3, 4], &["conv1d", "length is 4", "reach over 5"]);
    let layer = ConvTranspose1d::new(3, 8, 2).stride(2);
    assert_refused(&layer.clone().output_padding(2), &[2, 3, 4], &["output padding 2", "stride 2"]);
    assert_refused(&layer.padding(4), &[2, 3, 4], &["leaves nothing", "length of 8"]);
}
