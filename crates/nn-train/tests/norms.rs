//! Normalisation layers: their values, their running statistics against PyTorch's, and what they refuse.

use nn_core::{DType, Device, Input, Session, StepScalars, Tensor};
use nn_train::nn::{
    BatchNorm1d, BatchNorm2d, Flatten, GroupNorm, InstanceNorm1d, InstanceNorm2d, Layer, LayerNorm, Linear, Loss,
    RmsNorm, Sequential, Tanh,
};
use nn_train::optim::{AdamW, Decay, Sgd};
use nn_train::train::read_tensors;
use nn_train::{ArrayData, Compiled, Error, Observer, Order, Trainer, compile};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

fn message<T>(result: Result<T, Error>) -> String {
    result.err().map(|error| error.to_string()).unwrap_or_default()
}

fn bits(trainer: &Trainer) -> Vec<(String, Vec<u8>)> {
    let tensors = trainer.state_dict().unwrap();
    tensors.into_iter().map(|(name, tensor)| (name, tensor.bytes().to_vec())).collect()
}

/// `scale` numbers around `shift`, the same each time.
fn numbers(count: usize, scale: f32, shift: f32) -> Vec<f32> {
    (0..count).map(|place| scale * (((place * 37 + 11) % 29) as f32 / 14.0 - 1.0) + shift).collect()
}

/// What a layer makes of `x` with `weight` and `bias` other than at first, and the names and shapes that it declares.
fn applied(layer: &dyn Layer, training: bool, shape: &[usize], x: &[f32]) -> (Vec<f32>, Vec<(String, Vec<usize>)>) {
    let mut session = Session::new(&Device::cpu());
    let traced = compile(&mut session, training, 0, |s| {
        let x = s.input("x", DType::F32, shape);
        let y = layer.forward(s, x);
        s.output("y", y);
        Ok(())
    });
    let Compiled { mut program, declarations } = traced.unwrap();
    let mut declared = Vec::new();
    for declaration in declarations.iter() {
        let count = declaration.shape.elements();
        if declaration.trainable {
            let values = numbers(count, 0.5, 1.0 - declared.len() as f32);
            session
                .set_state(&declaration.name, &Tensor::from_f32(declaration.shape.clone(), &values).unwrap())
                .unwrap();
        }
        declared.push((declaration.name.clone(), declaration.shape.to_vec()));
    }
    session.run(&mut program, &[("x", Input::F32(x))], StepScalars::default()).unwrap();
    (session.output(&mut program, "y").unwrap().as_f32().unwrap().to_vec(), declared)
}

/// By the formula: `group` says which elements are normalised together, `parameter` which weight and bias an element has.
fn by_formula(
    x: &[f32],
    group: impl Fn(usize) -> usize,
    parameter: impl Fn(usize) -> Option<(usize, usize)>,
    eps: f64,
) -> Vec<f64> {
    let element = |place: usize| {
        let members: Vec<f64> =
            (0..x.len()).filter(|&other| group(other) == group(place)).map(|other| f64::from(x[other])).collect();
        let mean = members.iter().sum::<f64>() / members.len() as f64;
        let variance = members.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / members.len() as f64;
        let normalised = (f64::from(x[place]) - mean) / (variance + eps).sqrt();
        parameter(place).map_or(normalised, |(number, count)| {
            let [weight, bias] = [1.0, 0.0].map(|shift| f64::from(numbers(count, 0.5, shift)[number]));
            normalised * weight + bias
        })
    };
    (0..x.len()).map(element).collect()
}

#[track_caller]
fn assert_near(found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (place, (found, expected)) in found.iter().zip(expected).enumerate() {
        let apart = (f64::from(*found) - expected).abs();
        assert!(apart < 2e-6 * (1.0 + expected.abs()), "element {place}: {found} instead of {expected}");
    }
}

#[test]
fn every_layer_follows_its_formula_and_names_its_parameters() {
    let shape = [2, 4, 3, 5];
    let x = numbers(120, 2.0, 3.0);
    let channel = |place: usize| place / 15 % 4;
    type Group = fn(usize) -> usize;
    let by_channel: [(&dyn Layer, Group); 2] =
        [(&BatchNorm2d::new(4), |place| place / 15 % 4), (&GroupNorm::new(2, 4).eps(1e-5), |place| place / 30)];
    for (layer, group) in by_channel {
        let (y, declared) = applied(layer, true, &shape, &x);
        assert_near(&y, &by_formula(&x, group, |place| Some((channel(place), 4)), 1e-5));
        assert_eq!(declared[..2], [("weight".to_string(), vec![4]), ("bias".to_string(), vec![4])], "{layer:?}");
    }
    for (layer, last) in [(LayerNorm::new([5]), 5), (LayerNorm::new([3, 5]), 15), (LayerNorm::new([4, 3, 5]), 60)] {
        let (y, declared) = applied(&layer, false, &shape, &x);
        assert_near(&y, &by_formula(&x, |place| place / last, |place| Some((place % last, last)), 1e-5));
        assert_eq!(declared[0].1.iter().product::<usize>(), last);
        let (y, declared) = applied(&layer.elementwise_affine(false).eps(0.5), true, &shape, &x);
        assert_near(&y, &by_formula(&x, |place| place / last, |_| None, 0.5));
        assert_eq!(declared, []);
    }
    assert_eq!(applied(&LayerNorm::new([5]).bias(false), false, &shape, &x).1, [("weight".to_string(), vec![5])]);
    for (layer, last) in [(RmsNorm::new([5]), 5), (RmsNorm::new([3, 5]), 15), (RmsNorm::new([4, 3, 5]), 60)] {
        // Beside its own negative a row has a mean of 0: there both norms are one.
        let mirrored: Vec<f32> =
            x.chunks(last).flat_map(|row| row.iter().copied().chain(row.iter().map(|x| -x))).collect();
        let by_mean_square = |eps: f64| by_formula(&mirrored, |place| place / (2 * last), |_| None, eps);
        let own = |all: &[f64]| -> Vec<f64> { all.chunks(2 * last).flat_map(|row| row[..last].to_vec()).collect() };
        let (y, declared) = applied(&layer, false, &shape, &x);
        let weighted = own(&by_mean_square(f64::from(f32::EPSILON))).into_iter().enumerate();
        let weight = numbers(last, 0.5, 1.0);
        assert_near(&y, &weighted.map(|(place, y)| y * f64::from(weight[place % last])).collect::<Vec<_>>());
        assert!(declared.len() == 1 && declared[0].0 == "weight" && declared[0].1.iter().product::<usize>() == last);
        let (y, declared) = applied(&layer.elementwise_affine(false).eps(0.5), true, &shape, &x);
        assert_near(&y, &own(&by_mean_square(0.5)));
        assert_eq!(declared, []);
    }
    let instance = by_formula(&x, |place| place / 15, |_| None, 1e-5);
    assert_near(&applied(&InstanceNorm2d::new(4), true, &shape, &x).0, &instance);
    assert_near(&applied(&InstanceNorm2d::new(4), false, &shape, &x).0, &instance);
    assert_near(&applied(&InstanceNorm1d::new(4), false, &[2, 4, 15], &x).0, &instance);
    let affine = by_formula(&x, |place| place / 15, |place| Some((channel(place), 4)), 1e-5);
    assert_near(&applied(&InstanceNorm2d::new(4).affine(true), true, &shape, &x).0, &affine);
    assert_near(&applied(&GroupNorm::new(2, 4).affine(false), true, &[8, 4], &x[..32]).0, &{
        by_formula(&x[..32], |place| place / 2, |_| None, 1e-5)
    });
    // Without running statistics a batch is normalised by itself in evaluation too; at first they change nothing.
    let plain = BatchNorm1d::new(4).affine(false).track_running_stats(false);
    let by_itself = by_formula(&x[..24], |place| place % 4, |_| None, 1e-5);
    assert_near(&applied(&plain, false, &[6, 4], &x[..24]).0, &by_itself);
    let as_it_is: Vec<f64> = x.iter().map(|x| f64::from(*x) / (1.0_f64 + 1e-5).sqrt()).collect();
    assert_near(&applied(&BatchNorm1d::new(4).affine(false), false, &[2, 4, 15], &x).0, &as_it_is);
}

fn net() -> Sequential {
    let images = Sequential::new().add(BatchNorm2d::new(2)).add(Flatten).add(Linear::new(24, 5));
    images.add(BatchNorm1d::new(5)).add(Tanh).add(Linear::new(5, 2))
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/batch_norm").join(format!("{name}.safetensors"))
}

fn trainer(device: &Device) -> Trainer {
    let optimizer = Sgd::new(0.1).momentum(0.9);
    Trainer::new(net()).device(device.clone()).loss(Loss::Mse).optimizer(optimizer).order(Order::Sequential)
}

fn data() -> Result<(ArrayData, Vec<f32>, Vec<f32>), Error> {
    let file = read_tensors(&golden("data"))?;
    let of = |name: &str| -> Result<Vec<f32>, Error> {
        let found = file.tensors.iter().find(|(known, _)| known == name);
        Ok(found.map(|(_, tensor)| tensor.as_f32().map(<[f32]>::to_vec)).transpose()?.unwrap_or_default())
    };
    let (x, y, output) = (of("x")?, of("y")?, of("output")?);
    Ok((ArrayData::with_values(x.clone(), [2, 3, 4], y, 2)?, x, output))
}

#[test]
fn three_steps_leave_the_tensors_of_pytorch() -> Result<(), Error> {
    let (data, x, output) = data()?;
    for device in
        [Some(Device::cpu()), Device::gpu().or_else(|_| Device::from_name("gpu:llvmpipe")).ok()].into_iter().flatten()
    {
        let mut trainer = trainer(&device).batch_size(8).steps(3);
        trainer.build(&[2, 3, 4])?;
        // PyTorch's file has `num_batches_tracked`, too.
        trainer.load(golden("before"))?;
        trainer.fit(&data, None, &mut ())?;
        let expected = read_tensors(&golden("after"))?.tensors;
        let mut found = trainer.state_dict()?;
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        assert_eq!(found.len(), 12);
        for ((name, tensor), (expected_name, expected)) in found.iter().zip(&expected) {
            assert_eq!(name, expected_name);
            for (a, b) in tensor.as_f32()?.iter().zip(expected.as_f32()?) {
                assert!((a - b).abs() < 2e-5 * (1.0 + b.abs()), "{name} on {}: {a} instead of {b}", device.name());
            }
        }
        // Prediction reads the running statistics that training wrote.
        for (a, b) in trainer.predict(&x)?.as_f32()?.iter().zip(&output) {
            assert!((a - b).abs() < 2e-5 * (1.0 + b.abs()), "output on {}: {a} instead of {b}", device.name());
        }
    }
    Ok(())
}

struct StopAfter(u32);

impl Observer for StopAfter {
    fn after_step(&mut self, _trainer: &Trainer, step: u32) -> Result<ControlFlow<()>, Error> {
        Ok(if step == self.0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }
}

#[test]
fn an_interrupted_run_goes_on_with_the_same_statistics() -> Result<(), Error> {
    let (data, x, _) = data()?;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let configured = || trainer(&Device::cpu()).order(Order::Shuffled).batch_size(7).epochs(3);
    // Batches of 7, 7, 7 and 3 rows.
    let mut whole = configured();
    let report = whole.fit(&data, Some(&data), &mut ())?;
    assert_eq!(report.steps, 12);
    let mut begun = configured();
    begun.fit(&data, Some(&data), &mut StopAfter(5))?;
    begun.save_training(folder.join("norms.run.safetensors"))?;
    let mut resumed = configured();
    resumed.build(&[2, 3, 4])?;
    resumed.load_training(folder.join("norms.run.safetensors"))?;
    resumed.fit(&data, None, &mut ())?;
    assert!(bits(&whole) == bits(&resumed));
    // Evaluating and predicting leave them alone.
    let before = bits(&whole);
    let (loss, output) = (whole.evaluate(&data)?.loss, whole.predict(&x)?);
    assert!(bits(&whole) == before);
    // The weights' file has them.
    whole.save(folder.join("norms.safetensors"))?;
    let names: Vec<String> =
        read_tensors(&folder.join("norms.safetensors"))?.tensors.into_iter().map(|(name, _)| name).collect();
    assert!(names.contains(&"0.running_mean".to_string()) && names.contains(&"3.running_var".to_string()), "{names:?}");
    let mut loaded = configured();
    loaded.build(&[2, 3, 4])?;
    loaded.load(folder.join("norms.safetensors"))?;
    assert_eq!(loaded.predict(&x)?, output);
    assert_eq!(loaded.evaluate(&data)?.loss, loss);
    Ok(())
}

#[test]
fn no_decay_and_no_update_touches_running_statistics() -> Result<(), Error> {
    let (data, ..) = data()?;
    for decay in [Decay::All, Decay::Matrices] {
        // With a learning rate of 0 nothing but the running statistics moves.
        let run = |lr: f64, weight_decay: f64| -> Result<Vec<(String, Vec<u8>)>, Error> {
            let optimizer = AdamW::new(lr).weight_decay(weight_decay).decay(decay);
            let mut trainer = trainer(&Device::cpu()).optimizer(optimizer).batch_size(8).steps(2);
            trainer.fit(&data, None, &mut ())?;
            Ok(bits(&trainer).into_iter().filter(|(name, _)| name.starts_with("0.running")).collect())
        };
        let (still, moving) = (run(0.0, 0.0)?, run(0.5, 0.5)?);
        assert_eq!(still.len(), 2);
        // The first layer's are those of the data.
        assert!(still == moving);
    }
    let mut trainer = trainer(&Device::cpu());
    trainer.build(&[2, 3, 4])?;
    let declarations = trainer.declarations();
    let kept: Vec<&str> = declarations.iter().filter(|known| !known.trainable).map(|known| &known.name[..]).collect();
    assert_eq!(kept, ["0.running_mean", "0.running_var", "3.running_mean", "3.running_var"]);
    Ok(())
}

#[test]
fn what_cannot_be_normalised_is_refused() -> Result<(), Error> {
    let traced = |layer: &dyn Layer, training: bool, shape: &[usize]| {
        message(compile(&mut Session::new(&Device::cpu()), training, 0, |s| {
            let x = s.input("x", DType::F32, shape);
            let y = layer.forward(s, x);
            s.output("y", y);
            Ok(())
        }))
    };
    let cases: [(&dyn Layer, bool, &[usize], &str); 11] = [
        (&BatchNorm1d::new(4), true, &[1, 4], "expected more than 1 value per channel when training"),
        (&BatchNorm1d::new(4), true, &[2, 5], "BatchNorm1d::new(4) needs an input of shape [batch, features]"),
        (&BatchNorm1d::new(4), true, &[4], "but it has shape [4]"),
        (&BatchNorm2d::new(4), false, &[2, 4, 3], "[batch, features, height, width] with 4 channels"),
        (&BatchNorm2d::new(4).momentum(1.5), false, &[2, 4, 3, 3], "momentum 1.5"),
        (&LayerNorm::new([3, 5]), false, &[2, 5, 3], "LayerNorm::new([3, 5]) needs these last dimensions"),
        (&RmsNorm::new([3, 5]), false, &[2, 5, 3], "RmsNorm::new([3, 5]) needs these last dimensions"),
        (&GroupNorm::new(3, 4), false, &[2, 4, 3], "the groups must divide the channels"),
        (&GroupNorm::new(2, 4), false, &[2, 6, 3], "4 channels in dimension 1"),
        (&InstanceNorm1d::new(4), true, &[2, 4, 1], "more than 1 value per channel and sample"),
        (&LayerNorm::new([3]).eps(-1.0), false, &[2, 3], "eps must be 0 or more"),
    ];
    for (layer, training, shape, expected) in cases {
        let text = traced(layer, training, shape);
        assert!(text.contains(expected), "{layer:?}: {text:?}");
    }
    assert_eq!(traced(&BatchNorm1d::new(4), false, &[1, 4]), "");
    assert_eq!(traced(&InstanceNorm1d::new(4), false, &[2, 4, 1]), "");
    // The last batch of an epoch has one row; every other one has eleven or two.
    let data = ArrayData::with_values(numbers(23 * 24, 1.0, 0.0), [2, 3, 4], numbers(46, 1.0, 0.0), 2)?;
    let text = message(trainer(&Device::cpu()).batch_size(11).fit(&data, None, &mut ()));
    assert!(text.contains("more than 1 value per channel") && text.contains("batch size"), "{text}");
    Ok(())
}
