//! Layers for sequences against PyTorch: embeddings with their padding, positions, gated activations.

use nn_core::passes::differentiate;
use nn_core::{DType, Device, Session, StepScalars, Tensor, Value};
use nn_train::nn::{Embedding, Layer, geglu, glu, sinusoidal_positions, swiglu};
use nn_train::{Init, Scope, trace_model};

#[track_caller]
fn refused(words: &str, function: impl FnOnce(&mut Scope)) {
    let traced = trace_model(true, |s| {
        function(s);
        Ok(())
    });
    let message = traced.expect_err("it cannot work").to_string();
    assert!(message.contains(words), "{words:?} is not in: {message}");
}

/// The result of a model on the CPU, and the gradients of Σ y·(1, 2, 3, …) by parameters of these values.
fn computed(parameters: &[(&str, Tensor)], model: impl FnOnce(&mut Scope) -> Value) -> (Vec<f32>, Vec<Vec<f32>>) {
    let (graph, _) = trace_model(true, |s| {
        let y = model(s);
        let weights: Vec<f32> = (1..=y.shape().elements()).map(|number| number as f32).collect();
        let weights = s.trace().constant(&Tensor::from_f32(y.shape(), &weights).unwrap());
        s.output("y", y);
        s.output("loss", (y * weights).sum_all());
        Ok(())
    })
    .unwrap();
    let names: Vec<&str> = parameters.iter().map(|(name, _)| *name).collect();
    let graph = differentiate(&graph, "loss", &names).unwrap();
    let mut session = Session::new(&Device::cpu());
    for (name, tensor) in parameters {
        session.set_state(name, tensor).unwrap();
    }
    let mut program = session.compile(&graph).unwrap();
    session.run(&mut program, &[], StepScalars::default()).unwrap();
    let mut read = |name: &str| session.output(&mut program, name).unwrap().as_f32().unwrap().to_vec();
    let y = read("y");
    (y, names.iter().map(|name| read(&format!("gradient/{name}"))).collect())
}

#[test]
fn embeddings_are_rows_and_the_padding_gets_no_gradient() {
    // torch.nn.Embedding(4, 3, padding_idx=2) with a weight of 0.25, 0.5, 0.75, …
    let weight: Vec<f32> = (1..=12).map(|number| number as f32 / 4.0).collect();
    let parameters = [("weight", Tensor::from_f32([4, 3], &weight).unwrap())];
    let indices = Tensor::from_u32([2, 3], &[1, 2, 0, 1, 3, 2]).unwrap();
    let run = |layer: Embedding| {
        computed(&parameters, |s| {
            let indices = s.trace().constant(&indices);
            let rows = layer.forward(s, indices);
            assert_eq!(*rows.shape(), [2, 3, 3]);
            rows
        })
    };
    let (y, gradients) = run(Embedding::new(4, 3).padding_idx(Some(2)));
    let row = |index: usize| weight[3 * index..3 * index + 3].to_vec();
    assert_eq!(y, [1, 2, 0, 1, 3, 2].map(row).concat());
    assert_eq!(gradients[0], [7.0, 8.0, 9.0, 11.0, 13.0, 15.0, 0.0, 0.0, 0.0, 13.0, 14.0, 15.0]);
    let (_, gradients) = run(Embedding::new(4, 3));
    assert_eq!(gradients[0], [7.0, 8.0, 9.0, 11.0, 13.0, 15.0, 20.0, 22.0, 24.0, 13.0, 14.0, 15.0]);
}

#[test]
fn embeddings_begin_as_those_of_pytorch() {
    let declared = |layer: Embedding| {
        let traced = trace_model(true, |s| {
            let indices = s.input("indices", DType::U32, [5]);
            layer.forward(s, indices);
            Ok(())
        });
        traced.unwrap().1.get("weight").unwrap().clone()
    };
    let plain = declared(Embedding::new(300, 200));
    assert_eq!((&*plain.shape, plain.init), (&[300, 200][..], Init::Normal { mean: 0.0, std: 1.0 }));
    let padded = declared(Embedding::new(300, 200).std(0.5).padding_idx(Some(7)));
    let values = padded.init.values(&padded.shape, 3, "weight");
    let (padding, others): (Vec<_>, Vec<_>) = values.iter().enumerate().partition(|(place, _)| place / 200 == 7);
    assert!(padding.len() == 200 && padding.iter().all(|(_, value)| **value == 0.0));
    let deviation = (others.iter().map(|(_, value)| f64::from(**value).powi(2)).sum::<f64>() / 59_800.0).sqrt();
    assert!((deviation / 0.5 - 1.0).abs() < 0.02, "{deviation}");
    refused("takes u32 indices", |s| {
        let x = s.input("x", DType::F32, [5]);
        Embedding::new(3, 2).forward(s, x);
    });
    refused("the padding 3 is beyond the 3 rows", |s| {
        let x = s.input("x", DType::U32, [5]);
        Embedding::new(3, 2).padding_idx(Some(3)).forward(s, x);
    });
}

#[test]
fn positions_are_waves_of_growing_length() {
    // PE(pos, 2i) = sin(pos / 10000^(2i/width)) and PE(pos, 2i + 1) = cos of the same, from torch in f64.
    let (y, _) = computed(&[], |s| sinusoidal_positions(s, 4, 4));
    let expected = [
        [0.0, 1.0, 0.0, 1.0],
        [0.841_470_96, 0.540_302_3, 0.009_999_833, 0.999_95],
        [0.909_297_4, -0.416_146_84, 0.019_998_668, 0.999_8],
        [0.141_12, -0.989_992_5, 0.029_995_5, 0.999_550_04],
    ];
    for (found, expected) in y.iter().zip(expected.concat()) {
        assert!((found - expected).abs() <= 6e-8, "{found} instead of {expected}");
    }
    // An odd width ends in a sine.
    let (y, _) = computed(&[], |s| sinusoidal_positions(s, 3, 5));
    let expected = [0.909_297_4, -0.416_146_84, 0.050_216_6, 0.998_738_35, 0.001_261_914];
    for (found, expected) in y[10..].iter().zip(expected) {
        assert!((found - expected).abs() <= 6e-8, "{found} instead of {expected}");
    }
    refused("size 0", |s| {
        sinusoidal_positions(s, 0, 4);
    });
}

#[test]
fn gates_are_those_of_pytorch() {
    let parameters = [
        ("value", Tensor::from_f32([3], &[1.0, -2.0, 0.5]).unwrap()),
        ("gate", Tensor::from_f32([3], &[-1.0, 0.75, 2.5]).unwrap()),
    ];
    type Gate = fn(Value, Value) -> Value;
    // The result and both gradients by torch.nn.functional.glu, silu and gelu in f32.
    let cases: [(Gate, [[f32; 3]; 3]); 3] = [
        (
            glu,
            [
                [0.268_941_43, -1.358_357_4, 0.462_070_9],
                [0.268_941_43, 1.358_357_4, 2.772_425_4],
                [0.196_611_94, -0.871_579_95, 0.105_155_57],
            ],
        ),
        (
            swiglu,
            [
                [-0.268_941_43, -1.018_768_1, 1.155_177_2],
                [-0.268_941_43, 1.018_768_1, 6.931_063_7],
                [0.072_329_484, -3.370_399_7, 1.649_101_6],
            ],
        ),
        (
            geglu,
            [
                [-0.158_655_26, -1.160_059, 1.242_237_9],
                [-0.158_655_26, 1.160_059, 7.453_427_3],
                [-0.083_315_43, -3.996_903_2, 1.556_416_5],
            ],
        ),
    ];
    for (gate, expected) in cases {
        let (found, gradients) = computed(&parameters, |s| {
            let [a, b] = ["value", "gate"].map(|name| s.param(name, [3], Init::Zeros));
            gate(a, b)
        });
        for (found, expected) in found.iter().chain(&gradients[0]).chain(&gradients[1]).zip(expected.concat()) {
            assert!((found - expected).abs() <= 4e-7 * expected.abs().max(1.0), "{found} instead of {expected}");
        }
    }
    refused("its gate [2]", |s| {
        let [a, b] = [3, 2].map(|size| s.input(&format!("x{size}"), DType::F32, [size]));
        swiglu(a, b);
    });
}
