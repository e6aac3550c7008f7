//! Stack, split, chunk and triangles against what PyTorch makes of the same numbers, with gradients and mistakes.

use nn_core::passes::differentiate;
use nn_core::{DType, Device, Session, StepScalars, Tensor, Value, graph};

/// The result on the CPU for an input of the numbers 1, 2, 3, …, and the gradient of Σ y·(1, 2, 3, …) by the input.
#[track_caller]
fn computed(shape: &[usize], function: impl Fn(Value) -> Value) -> (Vec<f32>, Vec<f32>) {
    let numbers = |count: usize| (1..=count).map(|number| number as f32).collect::<Vec<f32>>();
    let graph = graph::trace(|trace| {
        let x = trace.state("x", DType::F32, shape);
        let y = function(x);
        let weights = Tensor::from_f32(y.shape(), &numbers(y.shape().elements())).unwrap();
        trace.output("loss", (y * trace.constant(&weights)).sum_all());
        trace.output("y", y);
        Ok(())
    });
    let graph = differentiate(&graph.unwrap(), "loss", &["x"]).unwrap();
    let mut session = Session::new(&Device::cpu());
    session.set_state("x", &Tensor::from_f32(shape, &numbers(shape.iter().product())).unwrap()).unwrap();
    let mut program = session.compile(&graph).unwrap();
    session.run(&mut program, &[], StepScalars::default()).unwrap();
    let read = |session: &mut Session, program: &mut _, name| session.output(program, name).unwrap();
    let y = read(&mut session, &mut program, "y").as_f32().unwrap().to_vec();
    (y, read(&mut session, &mut program, "gradient/x").as_f32().unwrap().to_vec())
}

#[track_caller]
fn refused(shape: &[usize], words: &str, function: impl Fn(Value) -> Value) {
    let result = graph::trace(|trace| {
        let y = function(trace.input("x", DType::F32, shape));
        trace.output("y", y);
        Ok(())
    });
    let message = result.map(|_| ()).expect_err("it cannot work").to_string();
    assert!(message.contains(words), "{words:?} is not in: {message}");
}

#[test]
fn values_are_stacked_along_a_new_dimension() {
    // torch.stack([x, 10 * x], 1), for x = [[1, 2], [3, 4]]
    let (y, dx) = computed(&[2, 2], |x| x.stack(&[x * 10.0], 1));
    assert_eq!(y, [1.0, 2.0, 10.0, 20.0, 3.0, 4.0, 30.0, 40.0]);
    assert_eq!(dx, [31.0, 42.0, 75.0, 86.0]);
    let (y, _) = computed(&[2, 2], |x| x.stack(&[x * 10.0], 2));
    assert_eq!(y, [1.0, 10.0, 2.0, 20.0, 3.0, 30.0, 4.0, 40.0]);
    refused(&[2, 3], "stack", |x| x.stack(&[x.reshape([3, 2])], 0));
    refused(&[2, 3], "axis 3", |x| x.stack(&[x], 3));
}

#[test]
fn parts_make_up_the_whole() {
    let (y, dx) = computed(&[2, 4], |x| {
        let parts = x.split(&[1, 3], 1);
        parts[1].concat(&[parts[0]], 1)
    });
    assert_eq!(y, [2.0, 3.0, 4.0, 1.0, 6.0, 7.0, 8.0, 5.0]);
    assert_eq!(dx, [4.0, 1.0, 2.0, 3.0, 8.0, 5.0, 6.0, 7.0]);
    // torch.chunk of 7 in 3 gives 3, 3 and 1; of 5 in 4 gives 2, 2 and 1.
    let (y, _) = computed(&[7], |x| {
        let parts = x.chunk(3, 0);
        assert_eq!(parts.len(), 3);
        parts[2]
    });
    assert_eq!(y, [7.0]);
    let (y, _) = computed(&[5], |x| {
        let parts = x.chunk(4, 0);
        assert_eq!(parts.len(), 3);
        parts[1]
    });
    assert_eq!(y, [3.0, 4.0]);
    refused(&[2, 4], "split", |x| x.split(&[1, 2], 1)[0]);
    refused(&[2, 4], "split", |x| x.split(&[4, 0], 1)[0]);
    refused(&[2, 4], "split", |x| x.split(&[2], 2)[0]);
    refused(&[2, 4], "chunk", |x| x.chunk(0, 1)[0]);
}

#[test]
fn triangles_are_those_of_pytorch() {
    let (y, dx) = computed(&[2, 3], |x| x.tril(0));
    assert_eq!((&*y, &*dx), (&[1.0, 0.0, 0.0, 4.0, 5.0, 0.0][..], &[1.0, 0.0, 0.0, 4.0, 5.0, 0.0][..]));
    let (y, _) = computed(&[2, 3], |x| x.tril(1));
    assert_eq!(y, [1.0, 2.0, 0.0, 4.0, 5.0, 6.0]);
    let (y, _) = computed(&[1, 3, 2], |x| x.tril(-1));
    assert_eq!(y, [0.0, 0.0, 3.0, 0.0, 5.0, 6.0]);
    let (y, dx) = computed(&[3, 3], |x| x.triu(0));
    assert_eq!(y, [1.0, 2.0, 3.0, 0.0, 5.0, 6.0, 0.0, 0.0, 9.0]);
    assert_eq!(dx, [1.0, 2.0, 3.0, 0.0, 5.0, 6.0, 0.0, 0.0, 9.0]);
    for (diagonal, kept) in [(-9, 4), (9, 0)] {
        let (y, _) = computed(&[2, 2], |x| x.triu(diagonal));
        assert_eq!(y.iter().filter(|number| **number != 0.0).count(), kept);
    }
    // What is left out is dropped, not multiplied by zero.
    let (y, _) = computed(&[2, 2], |x| (x - 2.0).log().tril(0));
    assert!(y[1] == 0.0 && y[0].is_nan() && y[3] == 2.0_f32.ln());
    refused(&[3], "tril", |x| x.tril(0));
}
