//! What a step takes and makes small: batches from threads, mixed rows, class maps, and a model's own loss.

use nn_core::{Device, Value};
use nn_train::nn::{Layer, Linear, Loss, Objective, Relu, Sequential};
use nn_train::optim::Adam;
use nn_train::{ArrayData, Data, Error, Observer, Scope, StepReport, TargetsRef, Trainer};
use std::ops::ControlFlow;

/// Points whose class is the sign of their first number, moved a little at each visit.
struct Moved {
    inputs: Vec<f32>,
    labels: Vec<u32>,
}

impl Moved {
    fn new() -> Moved {
        let inputs: Vec<f32> = (0..90).map(|place| ((place * 37 % 41) as f32 - 20.0) / 10.0).collect();
        let labels = inputs.chunks(3).map(|point| u32::from(point[0] > 0.0)).collect();
        Moved { inputs, labels }
    }
}

impl Data for Moved {
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

    fn augmented(&self, visit: u64, rows: &[usize], inputs: &mut Vec<f32>) {
        self.batch(rows, inputs);
        inputs.iter_mut().zip(0_u64..).for_each(|(value, place)| *value += ((visit ^ place) % 7) as f32 / 50.0);
    }
}

#[derive(Default)]
struct Losses(Vec<u32>);

impl Observer for Losses {
    fn on_step(&mut self, report: &StepReport) -> ControlFlow<()> {
        self.0.push(report.loss.to_bits());
        ControlFlow::Continue(())
    }
}

fn classifier() -> Trainer {
    let model = Sequential::new().add(Linear::new(3, 16)).add(Relu).add(Linear::new(16, 2));
    Trainer::new(model).device(Device::cpu()).optimizer(Adam::new(0.02)).batch_size(8).epochs(4).seed(2)
}

fn losses(mut trainer: Trainer, data: &dyn Data) -> Result<Vec<u32>, Error> {
    let mut losses = Losses::default();
    trainer.fit(data, Some(data), &mut losses)?;
    Ok(losses.0)
}

#[test]
fn threads_that_make_batches_change_no_bit() -> Result<(), Error> {
    for mixup in [0.0, 0.4] {
        let expected = losses(classifier().mixup(mixup).loader_threads(0), &Moved::new())?;
        assert_eq!(expected.len(), 16);
        for threads in [1, 2, 5, 40] {
            assert_eq!(
                losses(classifier().mixup(mixup).loader_threads(threads), &Moved::new())?,
                expected,
                "{threads}"
            );
        }
    }
    Ok(())
}

#[test]
fn each_epoch_and_seed_is_another_visit() -> Result<(), Error> {
    struct Seen(Moved, std::sync::Mutex<Vec<u64>>);
    impl Data for Seen {
        fn rows(&self) -> usize {
            self.0.rows()
        }
        fn sample_shape(&self) -> &[usize] {
            self.0.sample_shape()
        }
        fn targets(&self) -> TargetsRef<'_> {
            self.0.targets()
        }
        fn batch(&self, rows: &[usize], inputs: &mut Vec<f32>) {
            self.0.batch(rows, inputs);
        }
        fn augmented(&self, visit: u64, rows: &[usize], inputs: &mut Vec<f32>) {
            self.1.lock().expect("no thread fails").push(visit);
            self.0.batch(rows, inputs);
        }
        fn is_laborious(&self) -> bool {
            true
        }
    }
    let data = Seen(Moved::new(), Default::default());
    classifier().fit(&data, None, &mut ())?;
    classifier().seed(3).fit(&data, None, &mut ())?;
    let mut visits = data.1.into_inner().expect("no thread fails");
    assert_eq!(visits.len(), 2 * 16);
    visits.sort_unstable();
    visits.dedup();
    assert_eq!(visits.len(), 2 * 4);
    Ok(())
}

#[test]
fn mixed_rows_are_learned_from() -> Result<(), Error> {
    let data = Moved::new();
    let mut trainer = classifier().mixup(0.2).epochs(60);
    trainer.fit(&data, None, &mut ())?;
    assert!(trainer.evaluate(&data)?.accuracy > Some(0.9), "{:?}", trainer.evaluate(&data)?);
    let error = classifier().mixup(0.2).loss(Loss::MseOneHot).fit(&data, None, &mut ()).unwrap_err().to_string();
    assert!(error.contains("mixup") && error.contains("cross_entropy"), "{error}");
    Ok(())
}

/// One linear layer over all places, with the classes of each place beside each other.
#[derive(Debug)]
struct Places;

impl Layer for Places {
    fn forward(&self, s: &mut Scope, x: Value) -> Value {
        let rows = x.shape()[0];
        Linear::new(4, 8).forward(s, x).reshape([rows, 2, 4])
    }
}

/// Rows of four numbers, each of which is above 0 or not.
struct Signs {
    inputs: Vec<f32>,
    labels: Vec<u32>,
}

impl Data for Signs {
    fn rows(&self) -> usize {
        self.inputs.len() / 4
    }

    fn sample_shape(&self) -> &[usize] {
        &[4]
    }

    fn targets(&self) -> TargetsRef<'_> {
        TargetsRef::ClassMaps { labels: &self.labels, count: 2, size: 4 }
    }

    fn batch(&self, rows: &[usize], inputs: &mut Vec<f32>) {
        rows.iter().for_each(|row| inputs.extend_from_slice(&self.inputs[4 * row..4 * row + 4]));
    }
}

#[test]
fn each_place_of_a_class_map_is_learned() -> Result<(), Error> {
    let inputs: Vec<f32> = (0..160).map(|place| ((place * 61 % 97) as f32 - 48.0) / 30.0).collect();
    let labels: Vec<u32> = inputs.iter().map(|&value| u32::from(value > 0.0)).collect();
    let mut data = Signs { inputs, labels };
    let trainer = || Trainer::new(Places).device(Device::cpu()).optimizer(Adam::new(0.05)).batch_size(16).epochs(80);
    let mut fitted = trainer();
    fitted.fit(&data, Some(&data), &mut ())?;
    let measured = fitted.evaluate(&data)?;
    assert!(measured.accuracy > Some(0.95) && measured.mean_iou > Some(0.9), "{measured:?}");
    assert_eq!(measured.confusion.map(|counts| counts.iter().flatten().sum::<u32>()), Some(160));
    data.labels[7] = 2;
    let error = trainer().fit(&data, None, &mut ()).unwrap_err().to_string();
    assert!(error.contains("class 2 in row 1") && error.contains("2 classes"), "{error}");
    data.labels.pop();
    let error = trainer().fit(&data, None, &mut ()).unwrap_err().to_string();
    assert!(error.contains("160 target values") && error.contains("159"), "{error}");
    let flat = Trainer::new(Linear::new(4, 8)).device(Device::cpu());
    data.labels = vec![0; 160];
    let error = losses(flat, &data).unwrap_err().to_string();
    assert!(error.contains("2 classes at 4 places a row") && error.contains("[32, 8]"), "{error}");
    Ok(())
}

/// Learns to give back its input, and half as much from an output on the way.
#[derive(Debug)]
struct TwoHeads {
    /// Whether `forward` leaves out what only training needs.
    forgets: bool,
}

impl TwoHeads {
    fn side(&self, s: &mut Scope, x: Value) -> Value {
        s.scope("side", |s| Linear::new(3, 3).forward(s, x))
    }
}

impl Layer for TwoHeads {
    fn forward(&self, s: &mut Scope, x: Value) -> Value {
        if !self.forgets {
            self.side(s, x);
        }
        s.scope("main", |s| Linear::new(3, 3).forward(s, x))
    }

    fn judge(&self, s: &mut Scope, x: Value, objective: &Objective) -> (Value, Value) {
        let output = self.forward(s, x);
        let side = self.side(s, x);
        let difference = |y: Value| ((y - x) * (y - x)).mean_all();
        match objective.loss {
            Loss::Own => (output, difference(output) + difference(side) * 0.5),
            _ => (output, objective.mean(output) + objective.mean(side) * 0.5),
        }
    }
}

#[test]
fn a_model_may_say_itself_what_is_made_small() -> Result<(), Error> {
    let inputs = Moved::new().inputs;
    let data = ArrayData::with_values(inputs.clone(), [3], inputs, 3)?;
    let train = |loss: Loss| -> Result<(f64, Option<f64>, usize), Error> {
        let mut trainer = Trainer::new(TwoHeads { forgets: false })
            .device(Device::cpu())
            .optimizer(Adam::new(0.05))
            .loss(loss)
            .epochs(600);
        trainer.fit(&data, None, &mut ())?;
        let measured = trainer.evaluate(&data)?;
        Ok((measured.loss, measured.mean_absolute_error, trainer.declarations().parameter_count()))
    };
    let (own, nothing, parameters) = train(Loss::Own)?;
    assert!(own < 1e-3 && nothing.is_none() && parameters == 24, "{own} {nothing:?} {parameters}");
    // The targets are the inputs: the same numbers either way.
    let (mse, error, _) = train(Loss::Mse)?;
    assert!((own - mse).abs() < 1e-9 && error < Some(0.02), "{own} {mse} {error:?}");
    let late = Trainer::new(TwoHeads { forgets: true }).device(Device::cpu()).loss(Loss::Own).fit(&data, None, &mut ());
    assert!(late.unwrap_err().to_string().contains("`side.weight` in training but not in `forward`"));
    let missing = Trainer::new(Linear::new(3, 3)).device(Device::cpu()).loss(Loss::Own).fit(&data, None, &mut ());
    assert!(missing.unwrap_err().to_string().contains("no loss of its own"));
    Ok(())
}
