//! `differentiate`: gradients through views and repeated use, and its errors.

use crate::interpreter::{Named, Reading, interpret};
use cpu_reference::philox::Philox;
use nn_core::graph::{self, Graph, Trace, Value};
use nn_core::passes::differentiate;
use nn_core::{DType, Error};

const SHAPE: [usize; 2] = [3, 4];

/// Σ y·w over whole numbers w, for y made of the state `x`.
fn weighted(function: impl Fn(&Trace, Value) -> Value) -> Graph {
    let graph = graph::trace(|trace| {
        let y = function(trace, trace.state("x", DType::F32, SHAPE));
        let mut random = Philox::new(3, 0);
        let weights: Vec<f32> = (0..y.shape().elements()).map(|_| random.below(19) as f32 - 9.0).collect();
        let weights = trace.constant(&nn_core::Tensor::from_f32(y.shape(), &weights).unwrap());
        trace.output("loss", (y * weights).sum_all());
        Ok(())
    });
    graph.unwrap()
}

fn at(x: &[f64]) -> Named {
    Named::from([("x".to_string(), x.to_vec())])
}

/// For a loss that is linear in whole numbers, differences over a step of 1 are exact.
#[track_caller]
fn assert_linear_gradient(what: &str, function: impl Fn(&Trace, Value) -> Value) {
    let graph = weighted(function);
    let derived = differentiate(&graph, "loss", &["x"]).unwrap();
    let x: Vec<f64> = (0..12).map(|number| f64::from(number * 5 % 7)).collect();
    let loss = |x: &[f64]| interpret(&graph, &at(x), Reading::Copies).0["loss"][0];
    let differences: Vec<f64> = (0..x.len())
        .map(|place| {
            let mut moved = x.clone();
            moved[place] += 1.0;
            loss(&moved) - loss(&x)
        })
        .collect();
    assert!(differences.iter().any(|&difference| difference != 0.0), "{what}: the loss does not depend on x");
    for reading in [Reading::Copies, Reading::Views] {
        assert_eq!(interpret(&derived, &at(&x), reading).0["gradient/x"], differences, "{what}");
    }
}

#[test]
fn gradients_pass_every_view() {
    assert_linear_gradient("reshape", |_, x| x.reshape([2, 6]));
    assert_linear_gradient("flatten", |_, x| x.flatten(0));
    assert_linear_gradient("permute", |_, x| x.reshape([3, 2, 2]).permute(&[2, 0, 1]));
    assert_linear_gradient("transpose", |_, x| x.transpose());
    assert_linear_gradient("broadcast of a new axis", |_, x| x.broadcast_to([5, 3, 4]));
    assert_linear_gradient("broadcast of size 1", |_, x| x.reshape([3, 1, 4]).broadcast_to([2, 3, 6, 4]));
    assert_linear_gradient("slice", |_, x| x.slice(&[1, 0], [2, 3]));
    assert_linear_gradient("slices that overlap", |_, x| x.slice(&[0, 0], [2, 3]) + x.slice(&[1, 1], [2, 3]));
    assert_linear_gradient("concat", |_, x| x.concat(&[x, x.reshape([3, 4])], 1));
    assert_linear_gradient("pad", |_, x| x.pad(&[(1, 0), (2, 1)], 7.0));
    assert_linear_gradient("contiguous", |_, x| x.transpose().contiguous());
    assert_linear_gradient("views of views", |_, x| {
        x.transpose().slice(&[1, 0], [2, 3]).reshape([1, 6]).broadcast_to([4, 6]).transpose()
    });
}

#[test]
fn every_use_of_a_value_adds_to_its_gradient() {
    assert_linear_gradient("used thrice", |_, x| x * 2.0 + x.transpose().transpose() - x * 5.0);
    assert_linear_gradient("a sum of a sum", |_, x| x.sum(&[0]) + x.sum_all());
    // Σ (x² + 3x)·w has the gradient (2x + 3)·w; with w for x = 0 the weights come out.
    let graph = weighted(|_, x| x * x + x * 3.0);
    let derived = differentiate(&graph, "loss", &["x"]).unwrap();
    let gradient = |x: f64| interpret(&derived, &at(&[x; 12]), Reading::Copies).0["gradient/x"].clone();
    let weights: Vec<f64> = gradient(0.0).iter().map(|slope| slope / 3.0).collect();
    let expected: Vec<f64> = weights.iter().map(|weight| 11.0 * weight).collect();
    assert_eq!(gradient(4.0), expected);
}

#[test]
fn parameters_without_gradient_are_named_together() {
    let graph = graph::trace(|trace| {
        let [x, unused, compared] = ["x", "unused", "compared"].map(|name| trace.state(name, DType::F32, SHAPE));
        let _ = unused.exp();
        let chosen = compared.greater(0.0).select(x, x * 2.0);
        trace.output("loss", chosen.mean_all());
        Ok(())
    });
    let error = differentiate(&graph.unwrap(), "loss", &["x", "unused", "compared", "absent"]).unwrap_err();
    assert!(matches!(error, Error::Usage(_)), "{error}");
    let message = error.to_string();
    for name in ["`unused`", "`compared`", "`absent`"] {
        assert!(message.contains(name), "{message}");
    }
    assert!(!message.contains("`x`") && message.contains("freeze"), "{message}");
}

#[test]
fn only_a_real_scalar_has_gradients() {
    let graph = graph::trace(|trace| {
        let x = trace.state("x", DType::F32, SHAPE);
        trace.output("rows", x.sum(&[1]));
        trace.output("integer", x.flatten(0).argmax(0));
        Ok(())
    });
    let graph = graph.unwrap();
    for (name, kind) in [("rows", "f32[3]"), ("integer", "u32[]")] {
        let message = differentiate(&graph, name, &["x"]).unwrap_err().to_string();
        assert!(message.contains(name) && message.contains(kind) && message.contains("scalar"), "{message}");
    }
    let message = differentiate(&graph, "nothing", &["x"]).unwrap_err().to_string();
    assert!(message.contains("\"nothing\""), "{message}");
}
