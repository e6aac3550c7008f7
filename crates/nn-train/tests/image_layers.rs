//! Layers that resample, move and drop parts of images: values, shapes, and what they refuse.

use nn_core::ops::{Extent, Resample};
use nn_core::{DType, Device, Input, Session, Shape, StepScalars, Value, graph};
use nn_train::nn::{Dropout1d, Dropout2d, Identity, Padding, PixelShuffle, PixelUnshuffle, Upsample, ZeroPad2d};
use nn_train::{Error, Layer, trace_model};

/// The result on the CPU for an input of the numbers 1, 2, 3, …, and its shape.
#[track_caller]
fn computed(shape: &[usize], function: impl FnOnce(Value) -> Value) -> (Shape, Vec<f32>) {
    let mut result = Shape::from([]);
    let graph = graph::trace(|trace| {
        let y = function(trace.input("x", DType::F32, shape));
        result = y.shape();
        trace.output("y", y);
        Ok(())
    });
    let mut session = Session::new(&Device::cpu());
    let mut program = session.compile(&graph.unwrap()).unwrap();
    let numbers: Vec<f32> = (1..=shape.iter().product()).map(|number: usize| number as f32).collect();
    session.run(&mut program, &[("x", Input::F32(&numbers))], StepScalars::default()).unwrap();
    (result, session.output(&mut program, "y").unwrap().as_f32().unwrap().to_vec())
}

/// The shape of a layer's result in training.
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
fn assert_refused(layer: &dyn Layer, input: &[usize], parts: &[&str]) {
    let message = traced(layer, input).expect_err("it cannot work").to_string();
    for part in parts {
        assert!(message.contains(part), "expected {part:?} in: {message}");
    }
}

/// As torch.flip, torch.roll and torch.tile have it.
#[test]
fn elements_are_moved_as_pytorch_does() {
    let (_, flipped) = computed(&[2, 3], |x| x.flip(&[1]));
    assert_eq!(flipped, [3.0, 2.0, 1.0, 6.0, 5.0, 4.0]);
    let (_, flipped) = computed(&[2, 3], |x| x.flip(&[0, 1]));
    assert_eq!(flipped, [6.0, 5.0, 4.0, 3.0, 2.0, 1.0]);
    let (_, rolled) = computed(&[4, 2], |x| x.roll(&[1], &[0]));
    assert_eq!(rolled, [7.0, 8.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let (_, rolled) = computed(&[2, 3], |x| x.roll(&[-4, 3], &[1, 0]));
    assert_eq!(rolled, [5.0, 6.0, 4.0, 2.0, 3.0, 1.0]);
    let (shape, tiled) = computed(&[2, 2], |x| x.tile(&[1, 2]));
    assert_eq!((&*shape, &*tiled), (&[2, 4][..], &[1.0, 2.0, 1.0, 2.0, 3.0, 4.0, 3.0, 4.0][..]));
    let (shape, tiled) = computed(&[2], |x| x.tile(&[2, 1, 2]));
    assert_eq!((&*shape, &*tiled), (&[2, 1, 4][..], &[1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0][..]));
    let (shape, _) = computed(&[2, 3, 4], |x| x.tile(&[5]));
    assert_eq!(&*shape, [2, 3, 20]);
}

/// torch.arange(1, 9).reshape(4, 1, 2) through pixel_shuffle(2), and back.
#[test]
fn pixels_are_shuffled_as_pytorch_does() {
    let (shape, image) = computed(&[4, 1, 2], |x| x.pixel_shuffle(2));
    assert_eq!((&*shape, &*image), (&[1, 2, 4][..], &[1.0, 3.0, 2.0, 4.0, 5.0, 7.0, 6.0, 8.0][..]));
    let (shape, back) = computed(&[2, 18, 3, 5], |x| x.pixel_shuffle(3).pixel_unshuffle(3));
    assert_eq!(&*shape, [2, 18, 3, 5]);
    assert!(back.iter().zip(1..).all(|(&found, number)| found == number as f32));
}

#[test]
fn shapes_are_those_of_pytorch() {
    let shapes: [(&dyn Layer, &[usize], &[usize]); 11] = [
        (&Upsample::scale(2), &[2, 3, 4, 5], &[2, 3, 8, 10]),
        (&Upsample::scale(1.3).mode(Resample::Linear), &[2, 3, 10, 5], &[2, 3, 13, 6]),
        (&Upsample::scale([0.5, 3.0]), &[2, 3, 5, 5], &[2, 3, 2, 15]),
        (&Upsample::size([7, 1]).mode(Resample::Linear).align_corners(true), &[2, 3, 4, 5], &[2, 3, 7, 1]),
        (&Upsample::size(9), &[2, 3, 4], &[2, 3, 9]),
        (&PixelShuffle::new(2), &[2, 12, 3, 5], &[2, 3, 6, 10]),
        (&PixelUnshuffle::new(2), &[2, 3, 6, 10], &[2, 12, 3, 5]),
        (&ZeroPad2d::new([(1, 2), (0, 3)]), &[2, 3, 4, 5], &[2, 3, 7, 8]),
        (&Dropout2d::new(0.5), &[2, 3, 4, 5], &[2, 3, 4, 5]),
        (&Dropout1d::new(0.5), &[2, 3, 4], &[2, 3, 4]),
        (&Identity, &[2, 7], &[2, 7]),
    ];
    for (layer, input, output) in shapes {
        assert_eq!(&*traced(layer, input).unwrap(), output, "{layer:?}");
    }
}

#[test]
fn whole_channels_are_dropped() {
    let drop = |x: Value| x.dropout_channels(0.25, 3);
    let (_, values) = computed(&[8, 16, 3, 3], drop);
    let mut kept = 0;
    for (place, channel) in values.chunks(9).enumerate() {
        let whole = |factor: f32| channel.iter().zip(place * 9 + 1..).all(|(&y, x)| y == factor * x as f32);
        assert!(whole(0.0) || whole(1.0 / 0.75), "channel {place} is {channel:?}");
        kept += usize::from(!whole(0.0));
    }
    // Four deviations of the 128 choices.
    assert!((76..=116).contains(&kept), "{kept} of 128 channels are kept");
}

#[test]
fn mistakes_are_named() {
    assert_refused(&Upsample::scale(2), &[3, 4], &["upsample2d", "[batch, channels, height, width]", "[3, 4]"]);
    assert_refused(&Upsample::scale(0.0), &[1, 1, 4, 4], &["positive number", "0"]);
    assert_refused(&Upsample::scale(0.1), &[1, 1, 4, 4], &["leaves nothing", "[1, 1, 4, 4]"]);
    assert_refused(&Upsample::size([0, 3]), &[1, 1, 4, 4], &["leaves nothing"]);
    assert_refused(&Upsample::scale(2).align_corners(true), &[1, 1, 4, 4], &["corners", "Linear"]);
    assert_refused(&PixelShuffle::new(2), &[1, 6, 4, 4], &["6 channels", "2²"]);
    assert_refused(&PixelUnshuffle::new(3), &[1, 6, 9, 4], &["height 9", "width 4", "factor 3"]);
    assert_refused(&PixelUnshuffle::new(0), &[1, 6, 9, 4], &["factor 0"]);
    assert_refused(&Dropout2d::new(0.5), &[1, 6, 9], &["[batch, channels, height, width]", "[1, 6, 9]"]);
    assert_refused(&Dropout1d::new(1.0), &[1, 6, 9], &["probability 1"]);
    assert_refused(&ZeroPad2d::new(Padding::Same), &[1, 6, 9, 4], &["same"]);
    let wrong: [fn(Value) -> Value; 4] = [
        |x| x.flip(&[2]),
        |x| x.roll(&[1, 2], &[0]),
        |x| x.tile(&[0, 2]),
        |x| x.upsample1d(Extent::Size([3]), Resample::Nearest, false),
    ];
    for function in wrong {
        let traced = graph::trace(|trace| {
            function(trace.input("x", DType::F32, [2, 3]));
            Ok(())
        });
        assert!(traced.is_err());
    }
}
