//! The same bits every time: each operator and a training run with dropout leave equal bits in processes of their own, on
//! each device, whatever the number of threads.

mod common;
#[path = "common/losses.rs"]
mod losses;

use cpu_reference::philox::Philox;
use losses::Losses;
use nn_core::graph::{self, Value};
use nn_core::ops::samples::samples;
use nn_core::ops::{CrossEntropyOptions, RotaryPairing};
use nn_core::{DType, Device, Input, Session, StepScalars, Tensor, passes};
use nn_train::nn::{Dropout, Gelu, Linear, Relu};
use nn_train::optim::Adam;
use nn_train::{ArrayData, Sequential, Trainer};
use std::collections::BTreeMap;
use std::process::Command;

/// Tells the process of a [`job`] what to do, and on which device.
const JOB: &str = "WGRAD_TEST_JOB";

/// FNV-1a of 64 bits.
struct Hash(u64);

impl Hash {
    fn new() -> Hash {
        Hash(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn add_f64(&mut self, values: &[f64]) {
        values.iter().for_each(|value| self.add(&value.to_bits().to_le_bytes()));
    }
}

/// What was computed, and the hash of its bits.
type Hashes = BTreeMap<String, u64>;

/// Every sample of every operator, forward and with gradients.
fn operators(device: &Device) -> Hashes {
    let mut hashes: BTreeMap<String, Hash> = BTreeMap::new();
    for sample in samples() {
        let hash = hashes.entry(sample.op.to_string()).or_insert_with(Hash::new);
        for gradients in [false, true] {
            if gradients && !sample.smooth {
                continue;
            }
            let mut session = Session::new(device);
            let mut program = sample.run(&mut session, gradients).expect("every sample runs");
            let names: Vec<String> = program.schedule().outputs.iter().map(|(name, _)| name.clone()).collect();
            for name in names {
                hash.add_f64(&session.output_f64(&mut program, &name).expect("it is an output"));
            }
        }
    }
    hashes.into_iter().map(|(op, hash)| (op, hash.0)).collect()
}

type Op = fn(Value, Value) -> Value;

/// Operators on tensors so large that the CPU's kernels hand parts of them to other threads.
fn large(device: &Device) -> Hashes {
    let sizes = [384, 520];
    let ops: [(&str, Op); 12] = [
        ("elementwise", |x, w| (x * w).gelu() + x.tanh()),
        ("matmul", |x, w| x.matmul(w.transpose())),
        ("batched matmul", |x, w| x.reshape([3, 128, 520]).matmul(w.reshape([3, 520, 128]))),
        ("sum of rows", |x, w| (x * w).sum(&[1])),
        ("sum of columns", |x, w| (x * w).sum(&[0])),
        ("sum", |x, w| (x * w).sum_all()),
        ("softmax", |x, w| x.softmax(1) * w),
        ("log_softmax", |x, w| x.log_softmax(1) * w),
        ("layer_norm", |x, w| {
            let row = |start: usize| w.slice(&[start, 0], [1, 520]).reshape([520]);
            x.layer_norm(Some(row(0)), Some(row(1)), 1e-5)
        }),
        ("rotary", |x, w| {
            let table = |start: usize| w.slice(&[0, start], [96, 130]);
            x.reshape([4, 96, 2, 260]).rotary(table(0), table(130), RotaryPairing::Half)
        }),
        ("cross_entropy", |x, w| {
            let classes = (w.slice(&[0, 0], [384, 1]).reshape([384]).abs() * 500.0).to_u32();
            let options = CrossEntropyOptions { ignore_index: Some(7), label_smoothing: 0.1, weight: None };
            (x * 3.0).cross_entropy_with(classes, &options)
        }),
        ("scatter_add_rows", |x, w| {
            let indices = (w.slice(&[0, 0], [384, 1]).reshape([384]).abs() * 16.0).to_u32();
            x.scatter_add_rows(indices, 40) + w.gather_rows(indices.slice(&[0], [40]))
        }),
    ];
    let mut random = Philox::new(17, 1);
    let mut values = || (0..sizes[0] * sizes[1]).map(|_| 2.0 * random.uniform() - 1.0).collect::<Vec<f32>>();
    let (x, w) = (values(), values());
    let mut hashes = Hashes::new();
    for (name, op) in ops {
        let graph = graph::trace(|trace| {
            let x = trace.state("x", DType::F32, sizes);
            let w = trace.input("w", DType::F32, sizes);
            let y = op(x, w);
            trace.output("y", y);
            trace.output("loss", (y * y).mean_all());
            Ok::<(), nn_core::Error>(())
        });
        let graph = passes::differentiate(&graph.expect("it is traced"), "loss", &["x"]).expect("it has a gradient");
        let mut session = Session::new(device);
        session.set_state("x", &Tensor::from_f32(sizes, &x).expect("it fits")).expect("it is kept");
        let mut program = session.compile(&graph).expect("it is compiled");
        session.run(&mut program, &[("w", Input::F32(&w))], StepScalars::default()).expect("it runs");
        let mut hash = Hash::new();
        for output in ["y", "loss", "gradient/x"] {
            hash.add(session.output(&mut program, output).expect("it is an output").bytes());
        }
        hashes.insert(name.to_string(), hash.0);
    }
    hashes
}

/// Fifty steps with dropout: the losses, and every state that is left.
fn training(device: &Device) -> Hashes {
    let mut random = Philox::new(5, 2);
    let (rows, width) = (256, 40);
    let inputs: Vec<f32> = (0..rows * width).map(|_| 2.0 * random.uniform() - 1.0).collect();
    let labels = inputs.chunks(width).map(|row| u32::from(row[0] * row[1] > 0.0)).collect();
    let data = ArrayData::with_classes(inputs, [width], labels, 2).expect("rows and labels fit");
    let model = Sequential::new()
        .add(Linear::new(width, 64))
        .add(Gelu)
        .add(Dropout::new(0.2))
        .add(Linear::new(64, 32))
        .add(Relu)
        .add(Dropout::new(0.1))
        .add(Linear::new(32, 2));
    let mut trainer =
        Trainer::new(model).optimizer(Adam::new(1e-2)).device(device.clone()).seed(11).batch_size(64).steps(50);
    let mut losses = Losses::default();
    trainer.fit(&data, None, &mut losses).expect("the run ends well");
    assert_eq!(losses.0.len(), 50);
    assert!(losses.0[49] < losses.0[0], "it learns: {:?}", losses.0);
    let mut hash = Hash::new();
    losses.0.iter().for_each(|loss| hash.add(&loss.to_bits().to_le_bytes()));
    let mut hashes = Hashes::from([("losses".to_string(), hash.0)]);
    let session = trainer.session().expect("it was trained");
    for (name, _) in session.states() {
        let mut hash = Hash::new();
        hash.add(session.state(name).expect("it is kept").bytes());
        hashes.insert(name.clone(), hash.0);
    }
    hashes
}

/// What a process of its own does; without a job, that hashes tell results apart.
#[test]
fn job() {
    let Ok(job) = std::env::var(JOB) else {
        let hash = |bytes: &[u8]| {
            let mut hash = Hash::new();
            hash.add(bytes);
            hash.0
        };
        // The known answer for "a" (Fowler, Noll and Vo).
        assert_eq!(hash(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_ne!(hash(&1.0_f32.to_bits().to_le_bytes()), hash(&(1.0_f32.to_bits() + 1).to_le_bytes()));
        return;
    };
    let (what, device) = job.split_once(' ').expect("a job and a device");
    let device = Device::from_name(device).expect("the device of the process that asks");
    let hashes = match what {
        "operators" => operators(&device),
        "large" => large(&device),
        "training" => training(&device),
        _ => panic!("{what} is no job"),
    };
    for (name, hash) in hashes {
        println!("\nhash {hash:016x} {name}");
    }
}

/// Runs a job in a process of its own.
fn in_a_process(what: &str, device: &str, threads: Option<usize>) -> Hashes {
    let mut command = Command::new(std::env::current_exe().expect("this test has a file"));
    command.args(["job", "--exact", "--nocapture", "--test-threads", "1"]).env(JOB, format!("{what} {device}"));
    match threads {
        Some(threads) => command.env("RAYON_NUM_THREADS", threads.to_string()),
        None => command.env_remove("RAYON_NUM_THREADS"),
    };
    let output = command.output().expect("the process starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{what} on {device}: {text}{}", String::from_utf8_lossy(&output.stderr));
    let line = |line: &str| {
        let (hash, name) = line.strip_prefix("hash ")?.split_once(' ')?;
        Some((name.to_string(), u64::from_str_radix(hash, 16).ok()?))
    };
    text.lines().filter_map(line).collect()
}

/// Fails with the names of what differs.
fn assert_equal(what: &str, first: &Hashes, second: &Hashes) {
    assert!(!first.is_empty(), "{what}: nothing was computed");
    let names = |hashes: &Hashes| hashes.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(first), names(second), "{what}");
    let different: Vec<&String> = first.keys().filter(|name| first[*name] != second[*name]).collect();
    assert!(different.is_empty(), "{what}: other bits in {different:?}");
    let mut all = Hash::new();
    first.values().for_each(|hash| all.add(&hash.to_le_bytes()));
    println!("{what}: {} hashes, together {:016x}", first.len(), all.0);
}

#[test]
fn operators_leave_the_same_bits_in_every_process_on_the_cpu() {
    let first = in_a_process("operators", "cpu", None);
    assert_eq!(first.len(), nn_core::ops::names().len());
    assert_equal("operators on the CPU", &first, &in_a_process("operators", "cpu", None));
}

#[test]
fn threads_change_no_bit_on_the_cpu() {
    for what in ["large", "training"] {
        let one = in_a_process(what, "cpu", Some(1));
        for threads in [1, 2, 3] {
            assert_equal(&format!("{what} by {threads} threads"), &one, &in_a_process(what, "cpu", Some(threads)));
        }
    }
}

#[test]
fn operators_and_training_leave_the_same_bits_in_every_process_on_the_gpu() {
    let Some(device) = common::gpu() else { return };
    let name = format!("gpu:{}", device.name());
    for what in ["operators", "training"] {
        let [first, second] = [0, 1].map(|_| in_a_process(what, &name, None));
        assert_equal(&format!("{what} on {name}"), &first, &second);
    }
}
