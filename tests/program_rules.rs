//! Programs of whole models: they fit what every GPU offers, make nothing while they run, and repeat their bits.

mod common;
#[path = "common/mlp.rs"]
mod mlp;

use cpu_reference::philox::Philox;
use gpu_runtime::{BindingKind, Limits, Program};
use mlp::{Mlp, train};
use nn_core::graph::{self, Graph};
use nn_core::ops::Convolution;
use nn_core::passes::{ScheduleOptions, differentiate, lower, schedule};
use nn_core::{DType, Device, Error, Executable, Input, Session, StepScalar, StepScalars, Tensor};
use std::collections::HashSet;
use std::process::Command;

const SMALL: Mlp = Mlp { batch: 8, inputs: 6, hidden: 10, classes: 4 };

/// Large enough for kernels to share their work among threads.
const LARGE: Mlp = Mlp { batch: 192, inputs: 300, hidden: 260, classes: 10 };

/// A training step of one attention head over `(batch, length, width)`.
fn attention() -> Result<Graph, Error> {
    let (batch, length, width) = (2, 5, 8);
    let forward = graph::trace(|trace| {
        let x = trace.input("x", DType::F32, [batch, length, width]);
        let project = |name| x.matmul(trace.state(name, DType::F32, [width, width]));
        let [query, key, value] = ["query", "key", "value"].map(|name| {
            // (batch, heads, length, width / heads)
            project(name).reshape([batch, length, 2, width / 2]).permute(&[0, 2, 1, 3])
        });
        let weights = (query.matmul(key.transpose()) * 0.5).softmax(3);
        let mixed = weights.matmul(value).permute(&[0, 2, 1, 3]).reshape([batch, length, width]);
        trace.output("loss", (mixed - x).abs().mean_all());
        Ok(())
    })?;
    train(&forward, &["query", "key", "value"])
}

/// A training step of a text classifier: the mean of the words' rows, with dropout, and a linear layer.
fn classifier() -> Result<Graph, Error> {
    let (batch, length, vocabulary, width, classes) = (4, 7, 50, 6, 3);
    let forward = graph::trace(|trace| {
        let words = trace.input("words", DType::U32, [batch, length]);
        let targets = trace.input("targets", DType::U32, [batch]);
        let table = trace.state("table", DType::F32, [vocabulary, width]);
        let pooled = table.gather_rows(words).mean(&[1]).dropout(0.25, 3);
        let logits = pooled.matmul(trace.state("weight", DType::F32, [width, classes]));
        trace.output("loss", logits.cross_entropy(targets).mean_all());
        trace.output("guess", logits.argmax(1));
        Ok(())
    })?;
    train(&forward, &["table", "weight"])
}

fn models() -> Vec<(&'static str, Graph)> {
    vec![
        ("small mlp", SMALL.step().unwrap()),
        ("large mlp", LARGE.step().unwrap()),
        ("attention", attention().unwrap()),
        ("classifier", classifier().unwrap()),
    ]
}

/// A tensor for each input of a program: random numbers, or indices below the smallest vocabulary in use.
fn batch(program: &Executable, seed: u64) -> Vec<(String, Tensor)> {
    let mut random = Philox::new(seed, 4);
    let inputs = program.schedule().inputs.iter().map(|(name, kind)| {
        let count = kind.shape.elements();
        let tensor = match kind.dtype {
            DType::F32 => {
                let values: Vec<f32> = (0..count).map(|_| random.normal() as f32).collect();
                Tensor::from_f32(kind.shape.clone(), &values)
            }
            _ => {
                let indices: Vec<u32> = (0..count).map(|_| random.below(3)).collect();
                Tensor::from_u32(kind.shape.clone(), &indices)
            }
        };
        (name.clone(), tensor.unwrap())
    });
    inputs.collect()
}

/// A session with all states of a graph set to small random numbers, the same every time.
fn session(device: &Device, graph: &Graph) -> Session {
    let mut random = Philox::new(7, 0);
    let mut session = Session::new(device);
    for (name, kind) in graph.states() {
        let values: Vec<f32> = (0..kind.shape.elements()).map(|_| 0.3 * random.normal() as f32).collect();
        session.set_state(name, &Tensor::from_f32(kind.shape.clone(), &values).unwrap()).unwrap();
    }
    session
}

fn step(session: &mut Session, program: &mut Executable, number: u32) {
    let tensors = batch(program, u64::from(number));
    let inputs: Vec<(&str, Input<'_>)> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.into())).collect();
    session.run(program, &inputs, StepScalars::new(number, 11, 0.05)).unwrap();
}

/// Everything that a training run leaves: the losses of three steps and all states.
fn train_three_steps(device: &Device, graph: &Graph) -> Vec<Tensor> {
    let mut session = session(device, graph);
    let mut program = session.compile(graph).unwrap();
    let mut left = Vec::new();
    for number in 1..=3 {
        step(&mut session, &mut program, number);
        left.push(session.output(&mut program, "loss").unwrap());
    }
    let names: Vec<String> = session.states().iter().map(|(name, _)| name.clone()).collect();
    left.extend(names.iter().map(|name| session.state(name).unwrap()));
    left
}

fn lowered(graph: &Graph, fuse: bool) -> Program {
    lower(&schedule(graph, ScheduleOptions { fuse, max_buffers: 8 }).unwrap(), &Limits::WEBGPU_DEFAULT).unwrap()
}

/// What no WebGPU device allows, found without the program's own check.
fn assert_lawful(what: &str, program: &Program) {
    program.verify(&Limits::WEBGPU_DEFAULT).unwrap_or_else(|error| panic!("{what}: {error}"));
    for launch in &program.launches {
        let kernel = &program.kernels[launch.kernel];
        let mut written = HashSet::new();
        let mut read = HashSet::new();
        for (binding, window) in kernel.storage_bindings().zip(&launch.windows) {
            let set = if binding.kind == BindingKind::ReadWrite { &mut written } else { &mut read };
            assert!(
                set.insert(window.buffer) || binding.kind == BindingKind::Read,
                "{what}: {} writes twice",
                launch.label
            );
        }
        assert!(read.is_disjoint(&written), "{what}: {} binds a buffer both ways", launch.label);
        assert!(launch.groups.iter().all(|&groups| (1..=65_535).contains(&groups)), "{what}: {:?}", launch.groups);
    }
}

#[test]
fn programs_keep_to_what_every_device_offers() {
    for (name, graph) in models() {
        for fuse in [true, false] {
            assert_lawful(&format!("{name}, fuse {fuse}"), &lowered(&graph, fuse));
        }
    }
}

#[test]
fn large_grids_are_folded() {
    // Near the 128 MiB of a binding: more workgroups than one dimension holds, for every kind of kernel.
    let graph = graph::trace(|trace| {
        let rows = 70_000;
        let x = trace.input("x", DType::F32, [rows, 256]);
        let targets = trace.input("targets", DType::U32, [rows]);
        trace.output("elementwise", x.tanh());
        trace.output("strided", x.transpose().exp());
        trace.output("softmax", x.softmax(1));
        trace.output("sums", x.sum(&[1]));
        trace.output("argmax", x.argmax(1));
        trace.output("losses", x.cross_entropy(targets));
        trace.output("padded", x.pad(&[(0, 1), (0, 0)], 0.0));
        trace.output("gathered", x.gather_rows(targets));
        trace.output("scattered", x.scatter_add_rows(targets, rows));
        trace.output("products", x.reshape([rows, 16, 16]).matmul(x.reshape([rows, 16, 16])));
        trace.output("joined", x.concat(&[x.slice(&[0, 0], [10, 256])], 0));
        Ok(())
    });
    let program = lowered(&graph.unwrap(), true);
    assert_lawful("large grids", &program);
    let folded: Vec<&str> =
        program.launches.iter().filter(|launch| launch.groups[1] > 1).map(|launch| launch.label.as_str()).collect();
    // Rows of softmax and cross-entropy share a workgroup: there are never so many in a binding.
    for name in ["tanh", "exp", "sum", "argmax", "pad", "gather_rows", "concat"] {
        assert!(folded.iter().any(|label| label.starts_with(name)), "{name} is not among {folded:?}");
    }
    for launch in program.launches.iter().filter(|launch| launch.label.starts_with("tanh")) {
        let invocations = launch.groups.iter().map(|&groups| u64::from(groups)).product::<u64>() * 256;
        assert!(invocations >= 70_000 * 256, "{:?} do not cover the tensor", launch.groups);
    }
}

#[test]
fn tensors_beyond_a_binding_are_bound_in_lawful_pieces() {
    // 234 MiB each, where a binding shows 128 and a buffer holds 256.
    let rows = 60_000;
    let graph = graph::trace(|trace| {
        let x = trace.input("x", DType::F32, [rows, 1024]);
        let targets = trace.input("targets", DType::U32, [rows]);
        let weight = trace.state("weight", DType::F32, [1024, 1024]);
        let table = trace.state("table", DType::F32, [rows, 1024]);
        let y = x.matmul(weight).relu();
        trace.output("gradient", x.transpose().matmul(y));
        trace.output("turned", y.transpose().tanh());
        trace.output("softmax", y.softmax(1));
        trace.output("sums", y.sum(&[0]));
        trace.output("argmax", y.argmax(1));
        trace.output("losses", y.cross_entropy(targets));
        trace.output("padded", x.slice(&[0, 0], [rows, 1000]).pad(&[(0, 0), (20, 4)], 0.0));
        trace.output("scattered", table.gather_rows(targets).scatter_add_rows(targets, rows));
        trace.output("joined", x.slice(&[0, 0], [rows, 24]).concat(&[y.slice(&[0, 0], [rows, 1000])], 1));
        trace.output("halves", x.slice(&[0, 0], [rows / 2, 1024]) * x.slice(&[rows / 2, 0], [rows / 2, 1024]));
        trace.update("table", table - y.dropout(0.5, 1) * trace.step_scalar(StepScalar::LearningRate));
        Ok(())
    });
    let program = lowered(&graph.unwrap(), true);
    assert_lawful("pieces", &program);
    let pieces = |name: &str| program.launches.iter().filter(|launch| launch.label.starts_with(name)).count();
    for name in
        ["matmul", "tanh", "softmax", "sum", "argmax", "cross_entropy", "pad", "gather_rows", "scatter_add_rows"]
    {
        assert!((2..=16).contains(&pieces(name)), "{} launches of {name}", pieces(name));
    }
}

#[test]
fn what_does_not_fit_is_refused_with_names_and_numbers() {
    let forward = lowered(&LARGE.forward().unwrap(), true);
    // 300 × 260 weights in 4 bytes each are the largest tensor.
    let limits = Limits { max_buffer_bytes: 311_999, ..Limits::WEBGPU_DEFAULT };
    let error = forward.verify(&limits).unwrap_err();
    assert!(matches!(&error, gpu_runtime::Error::TooLarge { label, .. } if label == "hidden.weight"), "{error}");
    let message = error.to_string();
    for part in ["hidden.weight", "312000", "311999", "smaller batch"] {
        assert!(message.contains(part), "expected {part} in: {message}");
    }
    forward.verify(&Limits { max_buffer_bytes: 312_000, ..limits }).unwrap();
    let limits = Limits { max_binding_bytes: 311_999, ..Limits::WEBGPU_DEFAULT };
    assert!(forward.verify(&limits).unwrap_err().to_string().contains("binding"));

    let bytes = forward.memory(&Limits::WEBGPU_DEFAULT).peak();
    let budget = |budget| Limits { memory_budget: Some(budget), ..Limits::WEBGPU_DEFAULT };
    forward.verify(&budget(bytes)).unwrap();
    let message = forward.verify(&budget(bytes - 1)).unwrap_err().to_string();
    for part in [&bytes.to_string(), &(bytes - 1).to_string(), "hidden.weight"] {
        assert!(message.contains(part), "expected {part} in: {message}");
    }

    let limits = Limits { max_groups_per_dimension: 1, ..Limits::WEBGPU_DEFAULT };
    let message = forward.verify(&limits).unwrap_err().to_string();
    assert!(message.contains("matmul") && message.contains("workgroups"), "{message}");
}

#[test]
fn half_precision_is_refused_clearly() {
    let graph = graph::trace(|trace| {
        let x = trace.input("half", DType::F16, [2, 3]);
        trace.output("y", x.transpose());
        Ok(())
    });
    let graph = graph.unwrap();
    for device in [Some(Device::cpu()), Some(Device::oracle()), common::gpu()].into_iter().flatten() {
        let Err(error) = Session::new(&device).compile(&graph) else { panic!("{device:?} took f16") };
        let message = error.to_string();
        assert!(matches!(error, Error::Usage(_)), "{device:?}: {message}");
        assert!(message.contains("half#0 is f16") && message.contains("as f32"), "{message}");
    }
}

#[test]
fn nothing_is_made_after_the_second_step() {
    let Some(device) = common::gpu() else { return };
    for (name, graph) in models() {
        let mut session = session(&device, &graph);
        let mut program = session.compile(&graph).unwrap();
        let counters = || device.as_gpu().unwrap().counters();
        for number in 1..=2 {
            step(&mut session, &mut program, number);
        }
        session.results(&mut program, true).unwrap();
        let before = counters();
        for number in 3..=9 {
            step(&mut session, &mut program, number);
            session.results(&mut program, number % 3 == 0).unwrap();
        }
        let after = counters();
        assert_eq!(after.buffers_created, before.buffers_created, "{name}");
        assert_eq!(after.bind_groups_created, before.bind_groups_created, "{name}");
        assert_eq!(after.pipelines_created, before.pipelines_created, "{name}");
        assert_eq!(after.submits, before.submits + 7, "{name}: one submit a step");
        assert_eq!(after.bytes_alive, before.bytes_alive, "{name}");
    }
}

/// Set in a process that runs one test only.
const ALONE: &str = "WGRAD_TEST_ALONE";

/// How many steps the tests of constant memory take.
const MANY_STEPS: u32 = 2000;

/// Whether this process runs the test alone; if not, one that does has been run, and has succeeded.
fn alone(test: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    // llvmpipe reads its number of threads when it is loaded; without any, a launch costs next to nothing.
    let child = child.args(["--exact", test, "--nocapture"]).env(ALONE, "1").env("LP_NUM_THREADS", "0");
    assert!(child.status().unwrap().success(), "{test} failed in a process of its own, see above");
    false
}

/// Some drivers end an invocation after 65,535 loop iterations: longer sums are cut into launches that go on.
#[test]
fn long_sums_of_convolutions_are_cut() {
    let cases: [([usize; 4], [usize; 4], usize); 5] = [
        // 3 · 150 · 150 places for each weight.
        ([3, 4, 150, 150], [5, 4, 1, 1], 1),
        // 7,000 · 9 products for each element.
        ([1, 7000, 4, 4], [2, 7000, 3, 3], 1),
        ([1, 2, 4, 4], [7000, 2, 3, 3], 1),
        ([1, 1, 4, 4], [7000, 1, 3, 3], 1),
        ([1, 2, 1, 70_000], [2, 1, 1, 66_000], 2),
    ];
    for (input, kernel, groups) in cases {
        let forward = graph::trace(|trace| {
            let (x, weight) = (trace.state("x", DType::F32, input), trace.state("weight", DType::F32, kernel));
            let options = Convolution { groups, ..Convolution::default() };
            trace.output("loss", x.conv2d(weight, &options).tanh().sum_all());
            Ok(())
        });
        let graph = differentiate(&forward.unwrap(), "loss", &["x", "weight"]).unwrap();
        let program = lower(&schedule(&graph, ScheduleOptions::default()).unwrap(), &Limits::WEBGPU_DEFAULT).unwrap();
        let convolutions = || program.launches.iter().filter(|launch| launch.label.contains("convolution"));
        assert!(convolutions().count() > 3, "{input:?} by {kernel:?} is not cut");
        for launch in convolutions() {
            assert!((1..=65_535).contains(&launch.iterations), "{} loops {} times", launch.label, launch.iterations);
        }
    }
}

#[test]
fn gpu_memory_is_constant_over_many_steps() {
    if !alone("gpu_memory_is_constant_over_many_steps") {
        return;
    }
    let Some(device) = common::gpu() else { return };
    let graph = SMALL.step().unwrap();
    let mut session = session(&device, &graph);
    let mut program = session.compile(&graph).unwrap();
    let bytes = || device.as_gpu().unwrap().counters().bytes_alive;
    let begin = bytes();
    assert_eq!(begin, program.memory().peak());
    let mut finished = 0;
    for number in 1..=MANY_STEPS {
        step(&mut session, &mut program, number);
        finished += session.results(&mut program, false).unwrap().len();
        assert_eq!(bytes(), begin, "step {number}");
    }
    finished += session.results(&mut program, true).unwrap().len();
    assert_eq!(finished, MANY_STEPS as usize, "every step's loss comes back once");
    drop((program, session));
    assert_eq!(bytes(), 0, "everything is given back");
}

/// Bytes of anonymous memory that this process holds, as Linux counts them.
#[cfg(target_os = "linux")]
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    1024 * line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn cpu_memory_is_constant_over_many_steps() {
    if !alone("cpu_memory_is_constant_over_many_steps") {
        return;
    }
    // A kilobyte lost at each step, less than almost any of its tensors, would come to 1.8 MB.
    let graph = Mlp { batch: 64, inputs: 32, hidden: 64, classes: 4 }.step().unwrap();
    let mut session = session(&Device::cpu(), &graph);
    let mut program = session.compile(&graph).unwrap();
    let told = program.memory();
    assert_eq!(told, program.schedule().memory(nn_core::graph::Precision::F32));
    let mut begin = 0;
    for number in 1..=MANY_STEPS {
        step(&mut session, &mut program, number);
        assert_eq!(session.results(&mut program, false).unwrap().len(), 1);
        if number == MANY_STEPS / 10 {
            begin = resident_bytes();
        }
    }
    assert_eq!(program.memory(), told);
    let grown = resident_bytes().saturating_sub(begin);
    assert!(grown < 1 << 20, "{grown} bytes more after {MANY_STEPS} steps, at {begin} bytes");
}

#[test]
fn runs_repeat_their_bits_on_the_cpu_with_any_number_of_threads() {
    for (name, graph) in models() {
        let with_threads = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| train_three_steps(&Device::cpu(), &graph))
        };
        let first = with_threads(1);
        assert!(first.iter().all(|tensor| tensor.as_f32().unwrap().iter().all(|value| value.is_finite())), "{name}");
        for threads in [1, 2, 3] {
            assert!(with_threads(threads) == first, "{name} differs with {threads} threads");
        }
    }
}

#[test]
fn runs_repeat_their_bits_on_the_gpu() {
    let Some(device) = common::gpu() else { return };
    for (name, graph) in models() {
        let first = train_three_steps(&device, &graph);
        assert!(train_three_steps(&device, &graph) == first, "{name}");
        // And they are the right bits, but for rounding.
        let expected = train_three_steps(&Device::oracle(), &graph);
        for (a, b) in first.iter().zip(&expected).flat_map(|(a, b)| a.as_f32().unwrap().iter().zip(b.as_f32().unwrap()))
        {
            assert!((a - b).abs() <= 1e-3 * (1.0 + b.abs()), "{name}: {a} instead of {b}");
        }
    }
}
