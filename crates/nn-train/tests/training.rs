//! The trainer: what it learns, that it repeats itself bit for bit, and that it counts every row once.

use nn_core::{Check, Device, Fault, Tensor};
use nn_train::nn::{Dropout, Linear, Loss, Relu, Sequential, Tanh};
use nn_train::optim::{Adam, Schedule, Sgd};
use nn_train::{
    ArrayData, Data, Error, EvalReport, Init, Layer, Observer, Order, Scope, StepReport, TargetsRef, Trainer,
};
use std::ops::ControlFlow;

/// Keeps all reports, and ends the run after a step.
#[derive(Default)]
struct Notes {
    steps: Vec<StepReport>,
    evaluations: Vec<EvalReport>,
    stop_after: Option<u32>,
}

impl Observer for Notes {
    fn on_step(&mut self, report: &StepReport) -> ControlFlow<()> {
        self.steps.push(*report);
        ControlFlow::Continue(())
    }

    fn on_evaluation(&mut self, report: &EvalReport) -> ControlFlow<()> {
        self.evaluations.push(report.clone());
        ControlFlow::Continue(())
    }

    fn after_step(&mut self, trainer: &Trainer, step: u32) -> Result<ControlFlow<()>, Error> {
        assert_eq!(trainer.step(), step);
        Ok(if self.stop_after == Some(step) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }
}

fn xor() -> ArrayData {
    ArrayData::with_classes(vec![0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0], [2], vec![0, 1, 1, 0], 2).unwrap()
}

/// 23 samples of 3 numbers and a class that depends on them.
fn small() -> ArrayData {
    let inputs: Vec<f32> = (0..69).map(|place| ((place * 37 + 11) % 17) as f32 / 8.0 - 1.0).collect();
    let labels = inputs.chunks(3).map(|row| u32::from(row[0] + row[1] * row[2] > 0.0)).collect();
    ArrayData::with_classes(inputs, [3], labels, 2).unwrap()
}

fn with_dropout() -> Trainer {
    let model = Sequential::new().add(Linear::new(3, 16)).add(Tanh).add(Dropout::new(0.2)).add(Linear::new(16, 2));
    Trainer::new(model).device(Device::cpu()).optimizer(Adam::new(0.02)).batch_size(5).seed(4)
}

fn bits(trainer: &Trainer) -> Vec<(String, Vec<u8>)> {
    let tensors = trainer.state_dict().unwrap();
    tensors.into_iter().map(|(name, tensor)| (name, tensor.bytes().to_vec())).collect()
}

fn message<T>(result: Result<T, Error>) -> String {
    result.err().map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn xor_is_learned_with_classes_and_with_one_logit() -> Result<(), Error> {
    let losses = [(Loss::CrossEntropy, 2), (Loss::BinaryCrossEntropy, 1), (Loss::MseOneHot, 2)];
    for (loss, outputs) in losses {
        let model = Sequential::new().add(Linear::new(2, 8)).add(Tanh).add(Linear::new(8, outputs));
        let mut trainer =
            Trainer::new(model).device(Device::cpu()).loss(loss).optimizer(Adam::new(0.05)).batch_size(4).steps(300);
        let before = trainer.evaluate(&xor())?;
        let report = trainer.fit(&xor(), None, &mut ())?;
        assert_eq!((report.steps, report.finished), (300, true));
        let after = trainer.evaluate(&xor())?;
        assert!(after.loss < 0.1 * before.loss, "{loss:?}: {} after {}", after.loss, before.loss);
        assert_eq!(after.accuracy, Some(1.0), "{loss:?}");
        assert_eq!(after.confusion, Some(vec![vec![2, 0], vec![0, 2]]), "{loss:?}");
        assert_eq!(trainer.predict_classes(&[0.0, 1.0, 1.0, 1.0, 1.0, 0.0])?, [1, 0, 1], "{loss:?}");
    }
    Ok(())
}

#[test]
fn short_batches_and_their_gradients_are_means_over_their_own_rows() -> Result<(), Error> {
    // y = w·x from w = 0, rows (x, y), batches of 3 and 2, plain gradient descent: dw = mean 2x(wx − y).
    let rows = [(1.0, 2.0), (-2.0, 1.0), (0.5, 0.5), (3.0, -1.0), (1.5, 4.0)];
    let (x, y): (Vec<f32>, Vec<f32>) = rows.iter().copied().unzip();
    let data = ArrayData::with_values(x, [1], y, 1)?;
    let model = Linear::new(1, 1).bias(false).init(Init::Zeros, Init::Zeros);
    let mut trainer = Trainer::new(model)
        .device(Device::cpu())
        .loss(Loss::Mse)
        .optimizer(Sgd::new(0.125))
        .order(Order::Sequential)
        .batch_size(3)
        .steps(4);
    let mut notes = Notes::default();
    trainer.fit(&data, Some(&data), &mut notes)?;
    let mut weight = 0.0;
    for (step, batch) in [&rows[..3], &rows[3..], &rows[..3], &rows[3..]].into_iter().enumerate() {
        let count = batch.len() as f64;
        let error = |&(x, y): &(f32, f32)| weight * f64::from(x) - f64::from(y);
        let loss = batch.iter().map(|row| error(row).powi(2)).sum::<f64>() / count;
        let gradient = batch.iter().map(|row| 2.0 * f64::from(row.0) * error(row)).sum::<f64>() / count;
        let report = &notes.steps[step];
        assert_eq!((report.step, report.epoch), (step as u32 + 1, step as u32 / 2 + 1));
        assert!((f64::from(report.loss) - loss).abs() < 1e-5, "step {step}: {}, expected {loss}", report.loss);
        assert!((f64::from(report.gradient_norm) - gradient.abs()).abs() < 1e-5, "step {step}: {report:?}, {gradient}");
        weight -= 0.125 * gradient;
    }
    let found = f64::from(trainer.state_dict()?[0].1.as_f32()?[0]);
    assert!((found - weight).abs() < 1e-5, "{found}, expected {weight}");
    let residuals: Vec<f64> = rows.iter().map(|&(x, y)| weight * f64::from(x) - f64::from(y)).collect();
    let evaluation = &notes.evaluations.last().unwrap().evaluation;
    assert_eq!((notes.evaluations.len(), evaluation.rows), (1, 5));
    assert!((evaluation.loss - residuals.iter().map(|d| d * d).sum::<f64>() / 5.0).abs() < 1e-5, "{evaluation:?}");
    let absolute = residuals.iter().map(|d| d.abs()).sum::<f64>() / 5.0;
    assert!((evaluation.mean_absolute_error.unwrap() - absolute).abs() < 1e-5, "{evaluation:?}");
    assert_eq!((evaluation.accuracy, &evaluation.confusion), (None, &None));
    Ok(())
}

#[test]
fn the_same_seed_gives_the_same_bits_and_another_does_not() -> Result<(), Error> {
    let train = |seed| -> Result<_, Error> {
        let mut trainer = with_dropout().seed(seed).epochs(3);
        let mut notes = Notes::default();
        trainer.fit(&small(), None, &mut notes)?;
        let losses: Vec<u32> = notes.steps.iter().map(|report| report.loss.to_bits()).collect();
        Ok((losses, bits(&trainer)))
    };
    let first = train(4)?;
    assert_eq!(first.0.len(), 15);
    assert!(first == train(4)?);
    assert!(first.1 != train(5)?.1);
    Ok(())
}

#[test]
fn an_interrupted_run_goes_on_with_the_same_bits() -> Result<(), Error> {
    let mut whole = with_dropout().schedule(Schedule::Cosine { warmup: 3, min_lr: 0.0 }).epochs(3);
    let mut expected = Notes::default();
    whole.fit(&small(), None, &mut expected)?;
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("interrupted.safetensors");
    let configured = || with_dropout().schedule(Schedule::Cosine { warmup: 3, min_lr: 0.0 }).epochs(3);
    let mut begun = configured();
    let mut notes = Notes { stop_after: Some(7), ..Notes::default() };
    let report = begun.fit(&small(), Some(&small()), &mut notes)?;
    assert_eq!((report.steps, report.finished, notes.steps.len()), (7, false, 7));
    begun.save_training(&path)?;
    let mut resumed = configured();
    resumed.build(&[3])?;
    resumed.load_training(&path)?;
    let report = resumed.fit(&small(), None, &mut notes)?;
    assert_eq!((report.steps, report.finished, resumed.step()), (8, true, 15));
    assert!(bits(&whole) == bits(&resumed));
    let told = |notes: &Notes| -> Vec<_> {
        notes.steps.iter().map(|r| (r.step, r.epoch, r.loss.to_bits(), r.learning_rate.to_bits())).collect()
    };
    assert_eq!(told(&notes), told(&expected));
    // A finished run is followed by another one.
    assert_eq!(resumed.fit(&small(), None, &mut ())?.steps, 15);
    assert!(message(with_dropout().seed(9).load_training(&path)).contains("build"));
    let mut other = with_dropout().seed(9);
    other.build(&[3])?;
    assert!(message(other.load_training(&path)).contains("seed"));
    let mut other = configured().optimizer(Sgd::new(0.1).momentum(0.9));
    other.build(&[3])?;
    let text = message(other.load_training(&path));
    assert!(
        text.contains("missing: `optimizer/momentum/0.weight`") && text.contains("surplus: `optimizer/m/0.weight`"),
        "{text}"
    );
    Ok(())
}

#[test]
fn dropout_is_off_outside_training() -> Result<(), Error> {
    let inputs: Vec<f32> = (0..12).map(|value| value as f32 / 6.0).collect();
    let mut with = with_dropout();
    with.build(&[3])?;
    let plain = Sequential::new().add(Linear::new(3, 16)).add(Tanh).add(Dropout::new(0.0)).add(Linear::new(16, 2));
    let mut without = Trainer::new(plain).device(Device::cpu()).seed(4).batch_size(5);
    without.build(&[3])?;
    assert_eq!(with.predict(&inputs)?, without.predict(&inputs)?);
    assert_eq!(with.evaluate(&small())?, without.evaluate(&small())?);
    Ok(())
}

#[test]
fn prediction_does_not_depend_on_how_rows_are_batched() -> Result<(), Error> {
    let inputs: Vec<f32> = (0..33).map(|value| (value % 7) as f32 - 3.0).collect();
    let mut trainer = with_dropout();
    trainer.build(&[3])?;
    let all = trainer.predict(&inputs)?;
    assert_eq!(all.shape().to_vec(), [11, 2]);
    for (row, sample) in inputs.chunks(3).enumerate() {
        let one = trainer.predict(sample)?;
        for (found, expected) in one.as_f32()?.iter().zip(&all.as_f32()?[2 * row..]) {
            assert!((found - expected).abs() < 1e-6, "row {row}: {found}, in a batch {expected}");
        }
    }
    Ok(())
}

#[test]
fn frozen_parameters_keep_their_bits() -> Result<(), Error> {
    let model = Sequential::new().add(Linear::new(3, 4)).add(Relu).add(Linear::new(4, 2));
    let mut trainer =
        Trainer::new(model).device(Device::cpu()).optimizer(Adam::new(0.1)).freeze("0.").freeze("2.bias").steps(5);
    trainer.build(&[3])?;
    let before = bits(&trainer);
    trainer.fit(&small(), None, &mut ())?;
    let changed: Vec<String> =
        before.iter().zip(bits(&trainer)).filter(|(a, b)| *a != b).map(|(a, _)| a.0.clone()).collect();
    assert_eq!(changed, ["2.weight"]);
    let text = message(with_dropout().freeze("4.").build(&[3]));
    assert!(text.contains("\"4.\"") && text.contains("0.weight"), "{text}");
    let text = message(with_dropout().freeze("").fit(&small(), None, &mut ()));
    assert!(text.contains("frozen"), "{text}");
    Ok(())
}

#[test]
fn evaluations_come_when_they_are_due() -> Result<(), Error> {
    let steps = |trainer: Trainer| -> Result<Vec<(u32, u32)>, Error> {
        let mut trainer = trainer;
        let mut notes = Notes::default();
        trainer.fit(&small(), Some(&small()), &mut notes)?;
        assert!(notes.steps.iter().all(|report| report.samples_per_second > 0.0));
        Ok(notes.evaluations.iter().map(|report| (report.step, report.epoch)).collect())
    };
    assert_eq!(steps(with_dropout().epochs(2))?, [(5, 1), (10, 2)]);
    assert_eq!(steps(with_dropout().steps(7))?, [(7, 2)]);
    assert_eq!(steps(with_dropout().steps(7).evaluate_every(3))?, [(3, 1), (6, 2), (7, 2)]);
    let mut trainer = with_dropout().steps(1).evaluation_batches(2);
    assert_eq!(trainer.fit(&small(), Some(&small()), &mut ())?.evaluation.unwrap().rows, 10);
    Ok(())
}

/// Data that holds whatever it is given.
struct Broken {
    inputs: Vec<f32>,
    labels: Vec<u32>,
}

impl Data for Broken {
    fn rows(&self) -> usize {
        self.labels.len()
    }

    fn sample_shape(&self) -> &[usize] {
        &[3]
    }

    fn targets(&self) -> TargetsRef<'_> {
        TargetsRef::Classes { labels: &self.labels, count: 2 }
    }

    fn batch(&self, rows: &[usize], inputs: &mut Vec<f32>) {
        rows.iter().for_each(|row| inputs.extend_from_slice(&self.inputs[3 * row..3 * row + 3]));
    }
}

#[test]
fn broken_data_is_refused_before_the_first_step() {
    let refused = |inputs: Vec<f32>, labels: Vec<u32>, parts: &[&str]| {
        let mut trainer = with_dropout();
        let text = message(trainer.fit(&Broken { inputs, labels }, None, &mut ()));
        assert!(parts.iter().all(|part| text.contains(part)), "{text:?} lacks one of {parts:?}");
        assert_eq!(trainer.step(), 0);
    };
    refused(Vec::new(), Vec::new(), &["training data", "no rows"]);
    refused(vec![0.0, 0.0, 0.0, 0.0, f32::NAN, 0.0], vec![0, 1], &["NaN", "row 1"]);
    refused(vec![f32::INFINITY, 0.0, 0.0], vec![0], &["inf", "row 0"]);
    refused(vec![0.0; 9], vec![0, 1, 2], &["class 2", "row 2", "2 classes"]);
    let values = ArrayData::with_values(vec![0.0; 4], [4], vec![0.0], 1).unwrap();
    let text = message(with_dropout().loss(Loss::Mse).fit(&values, None, &mut ()));
    assert!(text.contains("Linear::new(3, 16)"), "{text}");
    let text = message(with_dropout().loss(Loss::Mse).fit(&small(), None, &mut ()));
    assert!(text.contains("mse_one_hot"), "{text}");
    let mut trainer = with_dropout();
    trainer.fit(&small(), None, &mut ()).unwrap();
    assert!(message(trainer.evaluate(&xor())).contains("built for [3]"));
    assert!(message(trainer.predict(&[0.0; 4])).contains("whole number of samples"));
    assert!(message(ArrayData::with_values(vec![0.0; 4], [2], vec![0.0, f32::NAN], 1)).contains("row 1"));
    assert!(message(with_dropout().batch_size(0).fit(&small(), None, &mut ())).contains("batch size"));
}

/// A model with a parameter that the loss does not depend on.
#[derive(Debug)]
struct Forgetful;

impl Layer for Forgetful {
    fn forward(&self, s: &mut Scope, x: nn_core::Value) -> nn_core::Value {
        s.scope("lost", |s| s.param("scale", [2], Init::Ones));
        Linear::new(3, 2).forward(s, x)
    }
}

#[test]
fn a_parameter_without_a_gradient_is_named() -> Result<(), Error> {
    let text = message(Trainer::new(Forgetful).device(Device::cpu()).fit(&small(), None, &mut ()));
    assert!(text.contains("`lost.scale`") && text.contains("freeze"), "{text}");
    Trainer::new(Forgetful).device(Device::cpu()).freeze("lost.").fit(&small(), None, &mut ())?;
    Ok(())
}

#[test]
fn a_loss_that_explodes_ends_the_run_at_its_step() -> Result<(), Error> {
    let data = ArrayData::with_values(vec![10.0; 8], [1], vec![1.0; 8], 1)?;
    let trainer = || {
        let model = Linear::new(1, 1);
        Trainer::new(model).device(Device::cpu()).loss(Loss::Mse).optimizer(Sgd::new(1e6)).batch_size(8).steps(30)
    };
    let mut notes = Notes::default();
    let error = trainer().fit(&data, None, &mut notes).expect_err("the loss explodes");
    let Error::NonFinite { step, loss, .. } = error else { panic!("{error}") };
    assert!(!loss.is_finite() && step > 1);
    let last = notes.steps.last().unwrap();
    assert_eq!(last.step, step);
    assert!(notes.steps[..step as usize - 1].iter().all(|report| report.loss.is_finite()));
    assert_eq!(trainer().allow_non_finite(true).fit(&data, None, &mut ())?.steps, 30);

    // As the message says: the step before is where the parameters were spoilt.
    assert!(error.to_string().contains(&format!("check_from_step({})", step - 1)), "{error}");
    let mut again = trainer().check(Some(Check::Finite)).check_from_step(step - 1);
    let mut notes = Notes::default();
    let Err(Error::Core(nn_core::Error::Check(finding))) = again.fit(&data, None, &mut notes) else {
        panic!("nothing was found");
    };
    assert!(finding.fault == Fault::NotFinite && !finding.found.is_finite(), "{finding}");
    assert!(again.step() + 1 >= step - 1 && again.step() < step, "{} of {step}: {finding}", again.step());
    Ok(())
}

#[test]
fn a_checked_run_has_the_same_bits() -> Result<(), Error> {
    let data = small();
    let mut plain = with_dropout();
    plain.fit(&data, Some(&data), &mut ())?;
    let cases = |trainer: &Trainer, op: &str| {
        let report = trainer.session().expect("it is built").check_report();
        report.ops().filter(|known| known.op == op).map(|known| known.cases).sum::<u64>()
    };
    let mut checked = with_dropout().check(Some(Check::Every));
    checked.fit(&data, Some(&data), &mut ())?;
    assert_eq!(bits(&checked), bits(&plain));
    let (products, steps) = (cases(&checked, "matmul"), u64::from(checked.step()));
    assert!(products > 2 * steps && cases(&checked, "cross_entropy_gradient") == steps, "{products} in {steps} steps");
    // From the last step on; an evaluation after it is checked too, unless the check begins at a name.
    for (check, evaluated) in [(Check::Every, true), (Check::From("cross_entropy_gradient".into()), false)] {
        let mut late = with_dropout().check(Some(check)).check_from_step(checked.step());
        late.fit(&data, Some(&data), &mut ())?;
        assert_eq!(bits(&late), bits(&plain));
        assert_eq!(cases(&late, "cross_entropy_gradient"), 1);
        assert_eq!(cases(&late, "argmax") > 0, evaluated);
    }
    Ok(())
}

#[test]
fn a_gpu_learns_the_same_as_the_cpu() -> Result<(), Error> {
    let device = Device::gpu().or_else(|_| Device::from_name("gpu:llvmpipe"));
    let Ok(device) = device else {
        assert!(
            std::env::var("WGRAD_REQUIRE_GPU").as_deref() != Ok("1"),
            "WGRAD_REQUIRE_GPU=1, but there is no adapter"
        );
        println!("skipped: no adapter");
        return Ok(());
    };
    let train = |device: Device| -> Result<_, Error> {
        let mut trainer = with_dropout().device(device).epochs(3);
        let mut notes = Notes::default();
        trainer.fit(&small(), Some(&small()), &mut notes)?;
        Ok((trainer.state_dict()?, notes, trainer))
    };
    let (gpu, gpu_notes, gpu_trainer) = train(device.clone())?;
    let (cpu, cpu_notes, _) = train(Device::cpu())?;
    assert_eq!(gpu_notes.steps.iter().map(|report| report.step).collect::<Vec<_>>(), (1..=15).collect::<Vec<_>>());
    for (gpu, cpu) in gpu_notes.steps.iter().zip(&cpu_notes.steps) {
        assert!(
            (gpu.loss - cpu.loss).abs() < 1e-3,
            "step {}: {} on the GPU, {} on the CPU",
            gpu.step,
            gpu.loss,
            cpu.loss
        );
    }
    let worst = |a: &Tensor, b: &Tensor| -> Result<f32, Error> {
        Ok(a.as_f32()?.iter().zip(b.as_f32()?).fold(0.0, |worst: f32, (a, b)| worst.max((a - b).abs())))
    };
    for ((name, gpu), (_, cpu)) in gpu.iter().zip(&cpu) {
        // Adam's steps are 0.02 whatever the gradient's size, so small gradients turn rounding into visible steps.
        let error = worst(gpu, cpu)?;
        assert!(error < 5e-3, "{name} differs by {error}");
    }
    assert!(bits(&gpu_trainer) == bits(&train(device)?.2), "a GPU repeats itself bit for bit");
    Ok(())
}
