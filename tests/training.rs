//! Whole training runs: against PyTorch's curve, GPU against CPU, bit for bit, and what must stop them.

mod common;
#[path = "common/losses.rs"]
mod losses;

use losses::Losses;
use nn_core::Device;
use nn_data::digits;
use nn_train::nn::{Dropout, Flatten, Layer, Linear, Relu, Tanh};
use nn_train::optim::{Adam, Sgd};
use nn_train::{ArrayData, Data, Observer, Order, Scope, Sequential, Trainer};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/mlp").join(name)
}

/// The losses of the golden run: an MLP with tanh from given weights, batches of 32 in order, SGD with momentum.
fn golden_run(device: Device) -> Vec<f32> {
    let data = nn_data::arrays::read_arrays(&golden("x.npy"), &golden("y.npy")).expect("the golden arrays are read");
    let model =
        Sequential::new().add(Linear::new(12, 16)).add(Tanh).add(Linear::new(16, 8)).add(Tanh).add(Linear::new(8, 5));
    let mut trainer = Trainer::new(model)
        .optimizer(Sgd::new(f64::from(0.1_f32)).momentum(f64::from(0.9_f32)))
        .device(device)
        .batch_size(32)
        .order(Order::Sequential)
        .steps(50);
    trainer.build(data.sample_shape()).expect("the model is built");
    trainer.load(golden("model.safetensors")).expect("the golden weights are read");
    let mut losses = Losses::default();
    trainer.fit(&data, None, &mut losses).expect("the run ends well");
    losses.0
}

/// The largest relative distance from PyTorch's curve in double precision.
fn distance(losses: &[f32]) -> f64 {
    let text = std::fs::read_to_string(golden("losses.json")).expect("the golden losses are read");
    let json: serde_json::Value = serde_json::from_str(&text).expect("they are JSON");
    let expected: Vec<f64> =
        json["f64"].as_array().expect("a list").iter().filter_map(serde_json::Value::as_f64).collect();
    assert_eq!((losses.len(), expected.len()), (50, 50));
    let relative = |(found, expected): (&f32, &f64)| ((f64::from(*found) - expected) / expected).abs();
    losses.iter().zip(&expected).map(relative).fold(0.0, f64::max)
}

#[test]
fn the_cpu_follows_pytorch_within_1e_5() {
    let distance = distance(&golden_run(Device::cpu()));
    println!("CPU: {distance:e} from PyTorch's curve");
    assert!(distance < 1e-5, "{distance:e}");
}

#[test]
fn the_gpu_follows_pytorch_within_1e_4() {
    let Some(device) = common::gpu() else { return };
    let distance = distance(&golden_run(device));
    println!("GPU: {distance:e} from PyTorch's curve");
    assert!(distance < 1e-4, "{distance:e}");
}

/// A few steps on real digits, with dropout: losses and the bits of all parameters.
fn digits_run(device: Device, seed: u64) -> (Vec<f32>, Vec<Vec<u32>>) {
    let data = digits::digits().expect("the digits are carried along");
    let rows: Vec<usize> = (0..200).collect();
    let data = data.subset(&rows).expect("there are 200 digits");
    let model = Sequential::new()
        .add(Flatten)
        .add(Linear::new(64, 32))
        .add(Relu)
        .add(Dropout::new(0.2))
        .add(Linear::new(32, 10));
    // 200 rows in batches of 64: the last batch of an epoch has 8.
    let mut trainer = Trainer::new(model).optimizer(Adam::new(1e-2)).device(device).seed(seed).batch_size(64).steps(30);
    let mut losses = Losses::default();
    trainer.fit(&data, None, &mut losses).expect("the run ends well");
    let bits = |(_, tensor): (String, nn_core::Tensor)| {
        tensor.as_f32().expect("parameters are f32").iter().map(|value| value.to_bits()).collect()
    };
    (losses.0, trainer.state_dict().expect("parameters are kept").into_iter().map(bits).collect())
}

#[test]
fn cpu_and_gpu_curves_agree() {
    let Some(device) = common::gpu() else { return };
    let (cpu, gpu) = (digits_run(Device::cpu(), 3).0, digits_run(device, 3).0);
    for (step, (cpu, gpu)) in cpu.iter().zip(&gpu).enumerate() {
        assert!((cpu - gpu).abs() < 2e-4 * cpu.abs().max(0.1), "step {step}: CPU {cpu}, GPU {gpu}");
    }
    assert!(cpu[29] < 0.5 * cpu[0], "thirty steps must learn something: {cpu:?}");
}

#[test]
fn the_same_seed_gives_the_same_bits() {
    let devices = [Some(Device::cpu()), common::gpu()];
    for device in devices.into_iter().flatten() {
        let (first, second) = (digits_run(device.clone(), 5), digits_run(device.clone(), 5));
        assert!(first == second, "two runs differ on {}", device.name());
        assert!(first.1 != digits_run(device.clone(), 6).1, "another seed must give another run on {}", device.name());
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let with_threads = |count: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(count).build().expect("threads are to be had");
        pool.install(|| digits_run(Device::cpu(), 5))
    };
    assert!(with_threads(1) == with_threads(3));
}

/// A layer with a parameter that its result does not depend on.
#[derive(Debug)]
struct Forgetful;

impl Layer for Forgetful {
    fn forward(&self, s: &mut Scope, x: nn_core::Value) -> nn_core::Value {
        let _unused = s.param("scale", [4], nn_train::Init::Ones);
        // A step function: no gradient flows back through a comparison.
        let gate = s.param("gate", [4], nn_train::Init::Zeros);
        x * gate.greater(0.0).to_f32()
    }
}

#[test]
fn a_parameter_without_a_gradient_is_an_error_that_names_it() {
    let data = ArrayData::with_classes(vec![0.5; 8], [4], vec![0, 1], 2).expect("the data fits");
    let model = Sequential::new().add(Linear::new(4, 4)).add(Forgetful).add(Linear::new(4, 2));
    let mut trainer = Trainer::new(model).device(Device::cpu()).batch_size(2);
    let message = match trainer.fit(&data, None, &mut ()) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("the run must not begin"),
    };
    assert!(message.contains("`1.scale`") && message.contains("`1.gate`"), "{message}");
    assert!(message.contains("freeze"), "{message}");
}

#[test]
fn a_wrong_shape_names_layer_shapes_and_line() {
    let data = ArrayData::with_classes(vec![0.5; 8], [4], vec![0, 1], 2).expect("the data fits");
    let model = Sequential::new().add(Linear::new(4, 4)).add(Linear::new(5, 2));
    let mut trainer = Trainer::new(model).device(Device::cpu()).batch_size(2);
    let message = trainer.fit(&data, None, &mut ()).expect_err("5 is not 4").to_string();
    assert!(message.contains('5') && message.contains("[2, 4]") && message.contains("`1`"), "{message}");
}

#[test]
fn memory_and_objects_stay_constant_on_the_gpu() {
    let Some(device) = common::gpu() else { return };
    let data = ArrayData::with_classes(vec![0.25; 64], [4], (0..16).map(|row| row % 2).collect(), 2).expect("it fits");
    let model = Sequential::new().add(Linear::new(4, 8)).add(Relu).add(Linear::new(8, 2));
    let mut trainer = Trainer::new(model).device(device.clone()).batch_size(8).steps(2);
    trainer.fit(&data, None, &mut ()).expect("the run ends well");
    let gpu = device.as_gpu().expect("it is a GPU");
    let before = gpu.counters();
    let mut trainer = trainer.steps(1002);
    // Changing a setting compiles the program anew; the first two steps of that are not counted.
    struct Count<'a>(&'a gpu_runtime::Device, Vec<gpu_runtime::Counters>);
    impl Observer for Count<'_> {
        fn after_step(&mut self, _trainer: &Trainer, _step: u32) -> Result<ControlFlow<()>, nn_train::Error> {
            self.1.push(self.0.counters());
            Ok(ControlFlow::Continue(()))
        }
    }
    let mut count = Count(gpu, Vec::new());
    trainer.fit(&data, None, &mut count).expect("the run ends well");
    let (early, late) = (count.1[2], count.1[count.1.len() - 1]);
    assert!(count.1.len() >= 1000, "{} steps", count.1.len());
    assert_eq!(early.buffers_created, late.buffers_created);
    assert_eq!(early.bind_groups_created, late.bind_groups_created);
    assert_eq!(early.pipelines_created, late.pipelines_created);
    assert_eq!(early.bytes_alive, late.bytes_alive);
    assert_eq!(late.submits - early.submits, count.1.len() as u64 - 3);
    assert!(late.pipelines_created >= before.pipelines_created);
}
