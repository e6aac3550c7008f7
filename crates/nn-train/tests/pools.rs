//! Pooling layers: shapes, values, and what they refuse.

use nn_core::{DType, Device, Input, Session, Shape, StepScalars};
use nn_train::nn::{
    AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveMaxPool1d, AdaptiveMaxPool2d, AvgPool1d, AvgPool2d,
    GlobalAveragePool, MaxPool1d, MaxPool2d,
};
use nn_train::{Error, Layer, trace_model};

fn traced(layer: &dyn Layer, input: &[usize]) -> Result<Shape, Error> {
    let mut shape = Shape::from([]);
    trace_model(true, |s| {
        let x = s.input("x", DType::F32, input);
        shape = layer.forward(s, x).shape();
        Ok(())
    })?;
    Ok(shape)
}

#[track_caller]
fn assert_shape(layer: &dyn Layer, input: &[usize], output: &[usize]) {
    assert_eq!(&*traced(layer, input).unwrap(), output);
}

#[track_caller]
fn assert_refused(layer: &dyn Layer, input: &[usize], parts: &[&str]) {
    let message = traced(layer, input).expect_err("it cannot work").to_string();
    for part in parts {
        assert!(message.contains(part), "expected {part:?} in: {message}");
    }
}

#[track_caller]
fn assert_values(layer: &dyn Layer, input: &[usize], values: &[f32], expected: &[f32]) {
    let (graph, _) = trace_model(true, |s| {
        let x = s.input("x", DType::F32, input);
        let y = layer.forward(s, x);
        s.trace().output("y", y);
        Ok(())
    })
    .unwrap();
    let mut session = Session::new(&Device::cpu());
    let mut program = session.compile(&graph).unwrap();
    session.run(&mut program, &[("x", Input::F32(values))], StepScalars::default()).unwrap();
    assert_eq!(session.output(&mut program, "y").unwrap().as_f32().unwrap(), expected);
}

/// The figures are those of PyTorch's modules.
#[test]
fn shapes_are_those_of_pytorch() {
    assert_shape(&MaxPool2d::new(2), &[2, 3, 8, 9], &[2, 3, 4, 4]);
    assert_shape(&MaxPool2d::new(2).ceil_mode(true), &[2, 3, 8, 9], &[2, 3, 4, 5]);
    assert_shape(&MaxPool2d::new(3).stride(2).padding(1), &[2, 64, 112, 112], &[2, 64, 56, 56]);
    assert_shape(&MaxPool2d::new([3, 2]).stride([2, 1]), &[20, 16, 50, 32], &[20, 16, 24, 31]);
    assert_shape(&MaxPool2d::new(2).stride(1).dilation([3, 1]), &[1, 1, 8, 8], &[1, 1, 5, 7]);
    assert_shape(&MaxPool2d::new(2), &[3, 8, 8], &[3, 4, 4]);
    // The last window would begin in the padding after the input.
    assert_shape(&MaxPool2d::new(2).padding(1).ceil_mode(true), &[1, 1, 5, 3], &[1, 1, 3, 2]);
    assert_shape(&MaxPool1d::new(3).stride(2), &[20, 16, 50], &[20, 16, 24]);
    assert_shape(&MaxPool1d::new(2).dilation(2).padding(1).stride(1), &[4, 7], &[4, 7]);
    assert_shape(&AvgPool2d::new([3, 2]).stride([2, 1]), &[20, 16, 50, 32], &[20, 16, 24, 31]);
    assert_shape(&AvgPool1d::new(4).padding(2), &[2, 3, 9], &[2, 3, 3]);
    assert_shape(&AdaptiveAvgPool2d::new([4, 4]), &[2, 3, 10, 7], &[2, 3, 4, 4]);
    assert_shape(&AdaptiveAvgPool2d::new(1), &[2, 3, 10, 7], &[2, 3, 1, 1]);
    assert_shape(&AdaptiveAvgPool2d::new([4, 4]), &[3, 10, 7], &[3, 4, 4]);
    assert_shape(&AdaptiveMaxPool2d::new([5, 7]), &[1, 64, 8, 9], &[1, 64, 5, 7]);
    assert_shape(&AdaptiveAvgPool1d::new(5), &[1, 64, 8], &[1, 64, 5]);
    assert_shape(&AdaptiveAvgPool1d::new(1), &[64, 8], &[64, 1]);
    assert_shape(&AdaptiveMaxPool1d::new(5), &[1, 64, 3], &[1, 64, 5]);
    assert_shape(&GlobalAveragePool, &[2, 5, 3, 4], &[2, 5]);
    assert_shape(&GlobalAveragePool, &[2, 5, 7], &[2, 5]);
}

#[test]
fn values_are_those_of_pytorch() {
    let line = [1.0, 5.0, 2.0, -3.0, 4.0];
    assert_values(&MaxPool1d::new(2), &[1, 1, 5], &line, &[5.0, 2.0]);
    assert_values(&MaxPool1d::new(2).ceil_mode(true), &[1, 1, 5], &line, &[5.0, 2.0, 4.0]);
    assert_values(&MaxPool1d::new(2).dilation(3).stride(1), &[1, 1, 5], &line, &[1.0, 5.0]);
    assert_values(&AvgPool1d::new(2).padding(1), &[1, 1, 5], &line, &[0.5, 3.5, 0.5]);
    assert_values(&AvgPool1d::new(2).padding(1).count_include_pad(false), &[1, 1, 5], &line, &[1.0, 3.5, 0.5]);
    assert_values(&AvgPool2d::new([1, 2]).divisor(4), &[1, 1, 5], &line, &[1.5, -0.25]);
    assert_values(&AdaptiveAvgPool1d::new(2), &[1, 1, 5], &line, &[8.0 / 3.0, 1.0]);
    assert_values(&AdaptiveMaxPool2d::new([2, 1]), &[1, 5, 1], &line, &[5.0, 4.0]);
    assert_values(&AdaptiveAvgPool2d::new(1), &[1, 1, 5], &line, &[1.8]);
    assert_values(&GlobalAveragePool, &[1, 2, 2], &line[..4], &[3.0, -0.5]);
}

#[test]
fn what_does_not_fit_is_said() {
    let layer = MaxPool2d::new(2);
    assert_refused(&layer, &[2, 4], &["MaxPool2d", "[batch, channels, height, width]", "[2, 4]"]);
    assert_refused(&layer, &[2, 4, 9, 1], &["max_pool2d", "smaller than a window", "width is 1", "reach over 2"]);
    assert_refused(&MaxPool1d::new(5), &[2, 4, 3], &["max_pool1d", "length is 3", "reach over 5"]);
    assert_refused(&MaxPool2d::new(3).padding(2), &[1, 1, 9, 9], &["padding 2", "half of the kernel's 3"]);
    assert_refused(&AvgPool2d::new(2).stride(0), &[1, 1, 9, 9], &["at least 1", "height", "2, 0 and 1"]);
    assert_refused(&AvgPool2d::new(0), &[1, 1, 9, 9], &["at least 1"]);
    assert_refused(&AvgPool2d::new(2).divisor(0), &[1, 1, 9, 9], &["divisor", "not 0"]);
    let gaps = MaxPool1d::new(2).padding(1).dilation(3);
    assert_refused(&gaps, &[1, 1, 2], &["window 0", "nothing but padding", "dilation is 3"]);
    assert_refused(&AdaptiveAvgPool2d::new([4, 0]), &[1, 1, 9, 9], &["at least 1", "[4, 0]"]);
    assert_refused(&GlobalAveragePool, &[2, 4], &["global_average_pool", "[batch, channels, …]", "[2, 4]"]);
}
