//! Losses and layers against their formulas, written out in double precision.

use nn_core::ops::CrossEntropyOptions;
use nn_core::{DType, Device, Input, Session, StepScalars, Value};
use nn_train::nn::loss::{cross_entropy_mean, mean_cross_entropy};
use nn_train::nn::{Dropout, Elu, Flatten, IGNORED, LeakyRelu, Linear, Loss, Sequential, Softmax, TargetKind};
use nn_train::{Error, Init, Layer, Scope, compile};

const OUTPUT: [f32; 6] = [0.5, -1.5, 2.0, -40.0, 30.0, 0.0];
const TARGETS: [f32; 6] = [1.0, 0.0, 0.25, 1.0, 0.0, 0.5];

/// The loss of each row and their mean.
fn losses(loss: Loss, targets: Input<'_>) -> (Vec<f32>, f32) {
    let mut session = Session::new(&Device::cpu());
    let mut compiled = compile(&mut session, false, 0, |s| {
        let output = s.input("output", DType::F32, [2, 3]);
        let targets = match targets {
            Input::U32(_) => s.input("targets", DType::U32, [2]),
            _ => s.input("targets", DType::F32, [2, 3]),
        };
        s.output("rows", loss.per_row(output, targets));
        s.output("mean", loss.mean(output, targets));
        Ok(())
    })
    .unwrap();
    let inputs = [("output", Input::F32(&OUTPUT)), ("targets", targets)];
    session.run(&mut compiled.program, &inputs, StepScalars::default()).unwrap();
    let rows = session.output(&mut compiled.program, "rows").unwrap().as_f32().unwrap().to_vec();
    (rows, session.output(&mut compiled.program, "mean").unwrap().as_f32().unwrap()[0])
}

fn compare(loss: Loss, targets: Input<'_>, rows: [f64; 2]) {
    let (found, mean) = losses(loss, targets);
    let near = |found: f32, expected: f64| (f64::from(found) - expected).abs() <= 1e-6 * expected.abs().max(1.0);
    assert!(near(found[0], rows[0]) && near(found[1], rows[1]), "{loss:?}: {found:?}, expected {rows:?}");
    assert!(near(mean, 0.5 * (rows[0] + rows[1])), "{loss:?}: mean {mean}, rows {rows:?}");
}

fn by_element(element: impl Fn(f64, f64) -> f64) -> [f64; 2] {
    [0, 1].map(|row| {
        (0..3)
            .map(|column| element(f64::from(OUTPUT[3 * row + column]), f64::from(TARGETS[3 * row + column])))
            .sum::<f64>()
            / 3.0
    })
}

#[test]
fn losses_are_those_of_their_formulas() {
    let targets = Input::F32(&TARGETS);
    compare(Loss::Mse, targets, by_element(|x, y| (x - y) * (x - y)));
    compare(Loss::L1, targets, by_element(|x, y| (x - y).abs()));
    for delta in [0.75, 2.0] {
        let huber = |x: f64, y: f64| {
            let (d, delta) = ((x - y).abs(), f64::from(delta));
            if d <= delta { 0.5 * d * d } else { delta * (d - 0.5 * delta) }
        };
        compare(Loss::Huber { delta }, targets, by_element(huber));
    }
    // ln σ(x) = −ln(1 + e⁻ˣ), in a range where double precision needs no care.
    let binary = |x: f64, y: f64| y * (-x).exp().ln_1p() + (1.0 - y) * x.exp().ln_1p();
    compare(Loss::BinaryCrossEntropy, targets, by_element(binary));
}

#[test]
fn losses_over_classes_are_those_of_their_formulas() {
    let classes = [2usize, 1];
    let logit = |row: usize, column: usize| f64::from(OUTPUT[3 * row + column]);
    let cross_entropy = [0, 1].map(|row| {
        let sum: f64 = (0..3).map(|column| logit(row, column).exp()).sum();
        sum.ln() - logit(row, classes[row])
    });
    compare(Loss::CrossEntropy, Input::U32(&[2, 1]), cross_entropy);
    let one_hot = [0, 1].map(|row| {
        let goal = |column| if column == classes[row] { 1.0 } else { 0.0 };
        (0..3).map(|column| (logit(row, column) - goal(column)).powi(2)).sum::<f64>() / 3.0
    });
    compare(Loss::MseOneHot, Input::U32(&[2, 1]), one_hot);
}

/// Rows of three logits each; the targets of some are ignored.
#[test]
fn places_without_a_target_count_for_nothing_and_smoothed_targets_are_spread() {
    let logits: Vec<f32> = OUTPUT.iter().chain(&TARGETS).copied().collect();
    let mean = |targets: &[u32; 4], smoothing: f32| {
        let mut session = Session::new(&Device::cpu());
        let mut compiled = compile(&mut session, false, 0, |s| {
            let logits = s.input("logits", DType::F32, [2, 2, 3]);
            let targets = s.input("targets", DType::U32, [2, 2]);
            s.output("mean", mean_cross_entropy(logits, targets, smoothing));
            Ok(())
        })
        .unwrap();
        let inputs = [("logits", Input::F32(&logits)), ("targets", Input::U32(targets))];
        session.run(&mut compiled.program, &inputs, StepScalars::default()).unwrap();
        f64::from(session.output(&mut compiled.program, "mean").unwrap().as_f32().unwrap()[0])
    };
    let loss = |place: usize, target: u32, smoothing: f64| {
        let row: Vec<f64> = logits[3 * place..][..3].iter().map(|&logit| f64::from(logit)).collect();
        let sum = row.iter().map(|logit| logit.exp()).sum::<f64>().ln();
        let even = row.iter().map(|logit| sum - logit).sum::<f64>() / 3.0;
        (1.0 - smoothing) * (sum - row[target as usize]) + smoothing * even
    };
    for smoothing in [0.0, 0.25] {
        for targets in [[2, 1, 0, 2], [IGNORED, 1, IGNORED, 0], [0, IGNORED, IGNORED, IGNORED]] {
            let known = targets.iter().enumerate().filter(|(_, target)| **target != IGNORED);
            let all: Vec<f64> = known.map(|(place, &target)| loss(place, target, f64::from(smoothing))).collect();
            let expected = all.iter().sum::<f64>() / all.len() as f64;
            let found = mean(&targets, smoothing);
            assert!((found - expected).abs() <= 1e-6 * expected.max(1.0), "{targets:?}: {found}, expected {expected}");
        }
        assert_eq!(mean(&[IGNORED; 4], smoothing), 0.0);
    }
}

/// The mean cross-entropy of rows of three logits.
fn mean_with(
    classes: &[u32],
    ignore_index: Option<u32>,
    label_smoothing: f32,
    weight: Option<&[f32]>,
) -> Result<f32, Error> {
    let mut session = Session::new(&Device::cpu());
    let mut compiled = compile(&mut session, false, 0, |s| {
        let output = s.input("output", DType::F32, [2, 3]);
        let classes = s.input("classes", DType::U32, [2]);
        let weight = weight.map(|weight| s.input("weight", DType::F32, [weight.len()]));
        let options = CrossEntropyOptions { ignore_index, label_smoothing, weight };
        s.output("mean", cross_entropy_mean(output, classes, &options));
        Ok(())
    })?;
    let mut inputs = vec![("output", Input::F32(&OUTPUT)), ("classes", Input::U32(classes))];
    inputs.extend(weight.map(|weight| ("weight", Input::F32(weight))));
    session.run(&mut compiled.program, &inputs, StepScalars::default())?;
    Ok(session.output(&mut compiled.program, "mean")?.as_f32()?[0])
}

#[test]
fn the_mean_cross_entropy_counts_rows_by_weight() -> Result<(), Error> {
    // By torch.nn.functional.cross_entropy in double precision.
    let weight = [0.5, 2.0, 3.0];
    // Classes, the ignored one, smoothing, weights; the mean.
    type Case<'a> = (&'a [u32], Option<u32>, f32, Option<&'a [f32]>, f64);
    let cases: [Case<'_>; 6] = [
        (&[2, 0], None, 0.0, None, 35.11290102461585),
        (&[2, 7], Some(7), 0.0, None, 0.22580204923159933),
        (&[2, 0], None, 0.25, None, 30.73790102461585),
        (&[2, 0], None, 0.0, Some(&weight), 10.193544613627099),
        (&[1, 2], Some(2), 0.5, Some(&weight), 2.6122269638469495),
        (&[1, 2], None, 0.5, Some(&weight), 14.21155745220549),
    ];
    for (classes, ignored, smoothing, weight, expected) in cases {
        let found = f64::from(mean_with(classes, ignored, smoothing, weight)?);
        assert!((found - expected).abs() < 1e-6 * expected, "{classes:?} {ignored:?} {smoothing}: {found}");
    }
    assert!(mean_with(&[9, 9], Some(9), 0.1, None)?.is_nan());
    assert!(mean_with(&[9, 9], Some(9), 0.0, Some(&weight))?.is_nan());
    assert!(mean_with(&[2, 9], None, 0.0, None)?.is_nan());
    for (smoothing, weight, part) in
        [(1.5, None, "label_smoothing"), (0.0, Some(&weight[..2]), "f32[3], one for each class")]
    {
        let message = mean_with(&[1, 2], None, smoothing, weight).expect_err("it is refused").to_string();
        assert!(message.contains(part), "{message}");
    }
    Ok(())
}

#[test]
fn losses_refuse_what_they_cannot_compare() {
    let classes = |count| TargetKind::Classes { count };
    let values = |width| TargetKind::Values { width };
    let shape = |sizes: [usize; 2]| nn_core::Shape::from(sizes);
    assert!(Loss::CrossEntropy.check(&shape([4, 3]), classes(3)).is_ok());
    assert!(Loss::BinaryCrossEntropy.check(&shape([4, 1]), classes(2)).is_ok());
    assert!(Loss::Mse.check(&shape([4, 2]), values(2)).is_ok());
    let refused = [
        (Loss::CrossEntropy, [4, 2], classes(3), "[rows, 3]"),
        (Loss::CrossEntropy, [4, 2], values(2), "class targets"),
        (Loss::Mse, [4, 3], classes(3), "mse_one_hot"),
        (Loss::Mse, [4, 1], values(2), "2 values a row"),
        (Loss::BinaryCrossEntropy, [4, 3], classes(3), "two classes"),
        (Loss::BinaryCrossEntropy, [4, 2], classes(2), "one logit"),
        (Loss::Huber { delta: 0.0 }, [4, 1], values(1), "delta"),
    ];
    for (loss, output, kind, part) in refused {
        let message = loss.check(&shape(output), kind).err().unwrap_or_default();
        assert!(message.contains(part), "{loss:?} {output:?} {kind}: {message:?} lacks {part:?}");
    }
}

/// A layer's output for inputs of a shape.
fn forward(
    layer: &dyn Layer,
    training: bool,
    shape: &[usize],
    inputs: &[f32],
) -> Result<(Vec<usize>, Vec<f32>), Error> {
    let mut session = Session::new(&Device::cpu());
    let mut compiled = compile(&mut session, training, 7, |s: &mut Scope| {
        let x: Value = s.input("x", DType::F32, shape);
        let y = layer.forward(s, x);
        s.output("y", y);
        Ok(())
    })?;
    session.run(&mut compiled.program, &[("x", Input::F32(inputs))], StepScalars::new(1, 3, 0.0))?;
    let y = session.output(&mut compiled.program, "y")?;
    Ok((y.shape().to_vec(), y.as_f32()?.to_vec()))
}

#[test]
fn layers_keep_the_shapes_that_pytorch_keeps() -> Result<(), Error> {
    let linear = Linear::new(3, 2).init(Init::Ones, Init::Constant(0.5));
    assert_eq!(forward(&linear, false, &[3], &[1.0, 2.0, 3.0])?, (vec![2], vec![6.5, 6.5]));
    assert_eq!(forward(&linear, false, &[1, 1, 3], &[1.0, 2.0, 3.0])?, (vec![1, 1, 2], vec![6.5, 6.5]));
    assert_eq!(forward(&linear.bias(false), false, &[1, 3], &[1.0, 2.0, 3.0])?, (vec![1, 2], vec![6.0, 6.0]));
    assert_eq!(forward(&Flatten, false, &[2, 3, 4], &[0.0; 24])?.0, [2, 12]);
    assert_eq!(forward(&Sequential::new(), false, &[2], &[4.0, 5.0])?, (vec![2], vec![4.0, 5.0]));
    assert_eq!(forward(&LeakyRelu { slope: 0.5 }, false, &[2], &[-4.0, 5.0])?.1, [-2.0, 5.0]);
    assert_eq!(forward(&Elu::default(), false, &[2], &[-1e9, 5.0])?.1, [-1.0, 5.0]);
    assert_eq!(forward(&Softmax { axis: 1 }, false, &[1, 2], &[3.0, 3.0])?.1, [0.5, 0.5]);
    Ok(())
}

#[test]
fn a_linear_layer_of_the_wrong_width_says_so() {
    let model = Sequential::new().add(Flatten).add(Linear::new(5, 2));
    let message = forward(&model, false, &[2, 3], &[0.0; 6]).err().map(|error| error.to_string()).unwrap_or_default();
    let parts = ["Linear::new(5, 2)", "[2, 3]", "`1`"];
    assert!(parts.iter().all(|part| message.contains(part)), "{message}");
}

#[test]
fn dropout_keeps_the_mean_in_training_and_everything_otherwise() -> Result<(), Error> {
    let inputs = vec![1.0; 10_000];
    assert_eq!(forward(&Dropout::new(0.25), false, &[10_000], &inputs)?.1, inputs);
    let dropped = forward(&Dropout::new(0.25), true, &[10_000], &inputs)?.1;
    let zeros = dropped.iter().filter(|value| **value == 0.0).count();
    // A binomial of deviation √(10000·¼·¾) ≈ 43.
    assert!(zeros.abs_diff(2500) < 220, "{zeros}");
    assert!(dropped.iter().all(|&value| value == 0.0 || (value - 4.0 / 3.0).abs() < 1e-6));
    assert!(forward(&Dropout::new(1.0), true, &[1], &[1.0]).is_err());
    Ok(())
}
