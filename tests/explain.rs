//! `wgrad explain` and what it foretells: the text, the document, and the bytes that a device then holds.

mod common;
mod program;

use nn_core::graph::{self, Graph, Precision};
use nn_core::passes::{ScheduleOptions, schedule};
use nn_core::{DType, Device, Input, Session, StepScalars, Tensor};
use nn_train::nn::{Dropout, Linear, Loss, Relu, Sequential, TargetKind};
use nn_train::optim::Adam;
use nn_train::train::TrainingGraph;
use nn_train::{Trainer, compile};
use program::{Folder, Outcome, command, outcome, wgrad};
use serde_json::Value;
use std::path::Path;

/// Runs the program where there is no graphics driver.
fn explain(arguments: &[&str]) -> Outcome {
    let folder = Folder::new();
    let arguments: Vec<&str> = std::iter::once("explain").chain(arguments.iter().copied()).collect();
    let mut command = command(&folder, &arguments);
    command.env("VK_DRIVER_FILES", "/nonexistent").env("VK_ICD_FILENAMES", "/nonexistent");
    let outcome = outcome(command);
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "nothing is left on the disk");
    outcome
}

fn document(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// The sum of a number over all objects of an array.
fn sum(array: &Value, key: &str) -> u64 {
    array.as_array().unwrap().iter().map(|item| item[key].as_u64().unwrap()).sum()
}

#[test]
fn the_text_of_the_presets_is_as_it_was() {
    for preset in ["digits", "text"] {
        let text = explain(&[preset]).succeeds();
        let wide: Vec<&str> = text.lines().filter(|line| line.chars().count() > 120).collect();
        assert!(wide.is_empty(), "{wide:?}");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/explain/{preset}.txt"));
        if std::env::var("WGRAD_BLESS").as_deref() == Ok("1") {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
        let differs = golden.lines().zip(text.lines()).find(|(a, b)| a != b);
        assert!(golden == text, "{differs:?} in {}; WGRAD_BLESS=1 accepts the new text:\n{text}", path.display());
    }
}

#[test]
fn the_document_adds_up_and_agrees_with_the_text() {
    for preset in ["xor", "xor-2-2-1", "digits", "text", "text-mse"] {
        let json = document(&explain(&[preset, "--json"]).succeeds());
        let text = explain(&[preset]).succeeds();
        let (memory, totals) = (&json["memory"], &json["totals"]);
        for key in ["flop", "traffic"] {
            assert_eq!(sum(&json["launches"], key), totals[key].as_u64().unwrap(), "{preset}: {key}");
        }
        let launches = json["launches"].as_array().unwrap();
        assert_eq!(totals["launches"], launches.len());
        let dispatches = launches.iter().map(|launch| launch["groups"].as_array().unwrap().len()).sum::<usize>();
        assert_eq!(totals["dispatches"], dispatches);
        for (part, tensors) in
            [("slots", "slots"), ("states", "states"), ("inputs", "inputs"), ("constants", "constants")]
        {
            assert_eq!(sum(&json[tensors], "bytes"), memory[part].as_u64().unwrap(), "{preset}: {part}");
        }
        let parts = ["states", "inputs", "constants", "slots", "parameters", "step_block"];
        let peak = parts.iter().map(|part| memory[part].as_u64().unwrap()).sum::<u64>();
        assert_eq!(memory["peak"], peak, "{preset}");
        // Blocks lie 256 bytes apart and are bound with 256 bytes; two numbers come back from each step.
        assert_eq!(memory["parameters"], 256 * dispatches, "{preset}");
        assert_eq!(memory["staging"], 4 * (256 + 4), "{preset}");
        let run = &json["run"];
        let shared = memory["states"].as_u64().unwrap();
        assert_eq!(run["peak"], shared + sum(&run["programs"], "own"), "{preset}");
        assert_eq!(run["programs"][0]["own"], peak - shared, "{preset}");
        assert_eq!(json["fits"][0]["fits"], true, "{preset}");
        assert!(json["device"].is_null() && json["evaluation"]["launches"].as_u64().unwrap() > 0);

        assert!(text.contains(&format!("{peak} bytes from the first step")), "{preset}: {peak}\n{text}");
        let total = text.lines().find_map(|line| line.strip_prefix("total: ")).unwrap();
        let short = |key: &str, unit: &str| nn_core::run::amount(totals[key].as_u64().unwrap(), unit);
        let told = format!(
            "{} launches, {} kernels, {}, {} of traffic, {:.2} FLOP per byte, peak {}",
            totals["launches"],
            totals["kernels"],
            short("flop", "FLOP"),
            short("traffic", "B"),
            totals["flop_per_byte"].as_f64().unwrap(),
            nn_core::run::amount(peak, "B")
        );
        assert_eq!(total, told, "{preset}");
        let labels = launches.iter().map(|launch| launch["label"].as_str().unwrap());
        let rows = labels.enumerate().map(|(number, label)| format!("{number:>4}  {label} "));
        rows.for_each(|row| assert!(text.contains(&row), "{preset}: {row:?}\n{text}"));
    }
}

#[test]
fn the_operations_are_those_of_the_layers() {
    let json = document(&explain(&["digits", "--json"]).succeeds());
    let launches = json["launches"].as_array().unwrap();
    let products: Vec<&Value> = launches.iter().filter(|launch| launch["kernels"][0] == "matmul").collect();
    // Forward, gradient of the weights, and of the input but for the first layer; 64 rows.
    let layers = [64 * 160, 160 * 80, 80 * 10];
    let expected: u64 = layers.iter().map(|weights| 3 * 2 * 64 * weights).sum::<u64>() - 2 * 64 * layers[0];
    assert_eq!(products.iter().map(|launch| launch["flop"].as_u64().unwrap()).sum::<u64>(), expected);
    assert_eq!(json["parameters"], layers.iter().sum::<u64>() + 160 + 80 + 10);
    let first = products[0];
    assert_eq!(first["inputs"][0]["name"], "inputs");
    assert_eq!(first["inputs"][1]["name"], "0.weight");
    assert_eq!(first["inputs"][1]["strides"], serde_json::json!([1, 64]));
    assert_eq!(first["traffic"].as_u64().unwrap(), 4 * (64 * 64 + 64 * 160 + 64 * 160));
    let update = launches.iter().find(|launch| launch["outputs"][0]["name"] == "optimizer/m/0.weight").unwrap();
    assert!(update["outputs"].as_array().unwrap().iter().all(|output| output["in_place"] == true), "{update}");
}

#[test]
fn slots_waste_little() {
    // What is beyond the least that whole buffers take would be waste by choice; the rest is their price.
    for (preset, most) in [("xor", 0.0), ("digits", 0.11), ("text", 0.17), ("text-mse", 0.17)] {
        let json = document(&explain(&[preset, "--json"]).succeeds());
        let memory = &json["memory"];
        assert_eq!(memory["slots"], memory["slots_least"], "{preset}");
        let (slots, needed) = (memory["slots"].as_f64().unwrap(), memory["slots_needed"].as_f64().unwrap());
        let waste = memory["waste"].as_f64().unwrap();
        assert!((waste - (slots - needed) / slots).abs() < 1e-12 && waste <= most, "{preset}: {waste}");
    }
}

#[test]
fn bad_requests_are_told_as_such() {
    let refused = |arguments: &[&str], code: i32, words: &str| {
        let Outcome { code: found, output, errors } = explain(arguments);
        assert_eq!(found, Some(code), "{arguments:?}: {output}\n{errors}");
        assert!(output.is_empty() && errors.starts_with("error: ") && errors.contains(words), "{errors}");
    };
    refused(&["digit"], 2, "the nearest preset is \"digits\"");
    refused(&["missing.toml"], 2, "missing.toml");
    refused(&["digits", "--device", "tpu"], 2, "--device: unknown device \"tpu\"");
    refused(&["digits", "--device", "gpu"], 1, "no GPU adapter");
    refused(&[], 2, "required");

    let folder = Folder::new();
    let config =
        "[model]\nkind = \"mlp\"\n[model.config]\nsizes = [3, 2]\n[data]\nkind = \"csv\"\npath = \"table.csv\"\n";
    std::fs::write(folder.path().join("model.toml"), config).unwrap();
    let told = wgrad(&folder, &["explain", "model.toml"]);
    assert!(told.code == Some(1) && told.errors.contains("table.csv"), "{}", told.errors);
    std::fs::write(folder.path().join("table.csv"), "a,b,kind\n0,0,0\n0,1,1\n1,0,1\n1,1,0\n").unwrap();
    let told = wgrad(&folder, &["explain", "model.toml"]);
    assert!(told.code == Some(2) && told.errors.contains("begin with 2"), "{}", told.errors);
    std::fs::write(folder.path().join("model.toml"), config.replace("[3, 2]", "[2, 2]")).unwrap();
    let text = wgrad(&folder, &["explain", "model.toml"]).succeeds();
    assert!(text.starts_with("model: mlp 2-2 relu, 6 parameters; a training step of 4 rows for a GPU"), "{text}");
}

#[test]
fn what_does_not_fit_is_said() {
    let folder = Folder::new();
    // 2 inputs · 40,000,000 outputs · 4 bytes is more than the 256 MiB of a buffer.
    let config = "[model]\nkind = \"mlp\"\n[model.config]\nsizes = [2, 40000000, 2]\n[data]\nkind = \"xor\"\n";
    std::fs::write(folder.path().join("large.toml"), config).unwrap();
    let text = wgrad(&folder, &["explain", "large.toml"]).succeeds();
    let fault = text.lines().find_map(|line| line.strip_prefix("does not fit WebGPU's default limits: ")).unwrap();
    assert!(fault.contains("320000000 bytes"), "{fault}");
    let json = document(&wgrad(&folder, &["explain", "large.toml", "--json"]).succeeds());
    assert_eq!((&json["fits"][0]["fits"], &json["fits"][0]["error"]), (&false.into(), &fault.into()));
    assert!(json["memory"]["peak"].as_u64().unwrap() > 600_000_000);
}

/// A perceptron as the presets make it.
fn perceptron(sizes: &[usize], dropout: f32, rows: usize) -> Trainer {
    let mut model = Sequential::new();
    for (layer, pair) in sizes.windows(2).enumerate() {
        model = model.add(Linear::new(pair[0], pair[1]));
        if layer + 2 < sizes.len() {
            let hidden = Sequential::new().add(Relu);
            model = model.add(if dropout > 0.0 { hidden.add(Dropout::new(dropout)) } else { hidden });
        }
    }
    Trainer::new(model).loss(Loss::CrossEntropy).optimizer(Adam::new(1e-3)).batch_size(rows)
}

fn perceptrons() -> Vec<(&'static str, TrainingGraph)> {
    let graph = |sizes: &[usize], dropout, rows| {
        let trainer = perceptron(sizes, dropout, rows);
        trainer.training_graph(&sizes[..1], rows, TargetKind::Classes { count: 10 }).unwrap()
    };
    vec![
        ("mlp", graph(&[784, 512, 256, 10], 0.0, 128)),
        ("digits", graph(&[64, 160, 80, 10], 0.4, 64)),
        ("text", graph(&[100, 100, 50, 10], 0.0, 64)),
    ]
}

#[test]
fn the_foretold_peak_is_what_the_device_holds() {
    for (name, training) in perceptrons() {
        let Some(device) = common::gpu() else { return };
        let gpu = device.as_gpu().unwrap();
        let foretold = schedule(&training.graph, ScheduleOptions::default()).unwrap();
        let foretold = nn_core::passes::lower(&foretold, gpu.limits()).unwrap().memory(gpu.limits());
        let mut session = Session::new(&device);
        let mut program = training.compile(&mut session, 0).unwrap().program;
        assert_eq!(gpu.counters().bytes_alive, foretold.peak(), "{name}");
        assert_eq!(program.memory(), foretold, "{name}");
        assert!(foretold.staging > 0, "{name}: the loss comes back");
        let explanation = program.explain().unwrap();
        assert_eq!(explanation.memory, foretold, "{name}");

        let shapes: Vec<usize> = program.schedule().inputs.iter().map(|(_, kind)| kind.shape.elements()).collect();
        let (inputs, targets) = (vec![0.5; shapes[0]], vec![3; shapes[1]]);
        for step in 1..=3 {
            let batch = [("inputs", Input::F32(&inputs)), ("targets", Input::U32(&targets))];
            session.run(&mut program, &batch, StepScalars::new(step, 0, 1e-3)).unwrap();
        }
        session.results(&mut program, true).unwrap();
        assert_eq!(gpu.counters().bytes_alive, foretold.peak(), "{name} after steps");

        if name != "mlp" {
            let device = format!("gpu:{}", device.name());
            let outcome = wgrad(&Folder::new(), &["explain", name, "--device", &device, "--json"]);
            let json = document(&outcome.succeeds());
            assert_eq!(json["memory"]["peak"], foretold.peak(), "{name} on the command line");
            assert_eq!(json["memory"]["staging"], foretold.staging, "{name} on the command line");
        }
    }
}

#[test]
fn states_that_programs_share_count_once() {
    let Some(device) = common::gpu() else { return };
    let alive = || device.as_gpu().unwrap().counters().bytes_alive;
    let sizes = [64, 160, 80, 10];
    let trainer = perceptron(&sizes, 0.4, 64);
    let mut session = Session::new(&device);
    let training = |rows| trainer.training_graph(&[64], rows, TargetKind::Classes { count: 10 }).unwrap();
    let whole = training(64).compile(&mut session, 0).unwrap().program;
    let short = training(29).compile(&mut session, 0).unwrap().program;
    let graph = trainer.evaluation_graph(&[64], 64, TargetKind::Classes { count: 10 }).unwrap();
    let evaluation = session.compile(&graph).unwrap();
    let own = [&whole, &short, &evaluation].map(|program| program.memory().own());
    assert_eq!(alive(), whole.memory().states + own.iter().sum::<u64>());
    assert!(evaluation.memory().states < whole.memory().states, "evaluation reads no optimiser state");
    drop((short, evaluation));
    assert_eq!(alive(), whole.memory().peak());
}

#[test]
fn a_program_that_streams_nothing_has_no_staging_ring() {
    let Some(device) = common::gpu() else { return };
    let graph = |sizes: [usize; 2]| -> Graph {
        graph::trace(|trace| {
            let table = trace.constant(&Tensor::from_u32([3], &[2, 0, 1])?);
            let x = trace.input("x", DType::F32, sizes);
            trace.output("y", x.gather_rows(table).tanh());
            Ok(())
        })
        .unwrap()
    };
    for (sizes, staging) in [([4, 30], 0), ([4, 5], 4 * 60)] {
        let mut session = Session::new(&device);
        let program = session.compile(&graph(sizes)).unwrap();
        let memory = program.memory();
        assert_eq!((memory.staging, memory.states, memory.constants), (staging, 0, 12), "{sizes:?}");
        assert_eq!(device.as_gpu().unwrap().counters().bytes_alive, memory.peak(), "{sizes:?}");
    }
}

#[test]
fn the_cpu_holds_slots_states_and_constants() {
    for (name, training) in perceptrons() {
        let foretold = schedule(&training.graph, ScheduleOptions::default()).unwrap().memory(Precision::F32);
        let mut session = Session::new(&Device::cpu());
        let program = training.compile(&mut session, 0).unwrap().program;
        assert_eq!(program.memory(), foretold, "{name}");
        assert_eq!(foretold.peak(), foretold.states + foretold.constants + foretold.slots, "{name}");
        let explanation = program.explain().unwrap();
        assert_eq!((explanation.dispatches(), explanation.kernels), (0, 0), "{name}");
        if name != "mlp" {
            let json = document(&explain(&[name, "--device", "cpu", "--json"]).succeeds());
            assert_eq!((&json["memory"]["peak"], &json["device"]), (&foretold.peak().into(), &"cpu".into()));
            let text = explain(&[name, "--device", "cpu"]).succeeds();
            assert!(text.contains(" rows for the CPU\n") && !text.contains("groups  "), "{text}");
        }
    }
    // The oracle holds twice the bytes.
    let compiled = |device: &Device| {
        let mut session = Session::new(device);
        let compiled = compile(&mut session, false, 0, |s| {
            let x = s.input("x", DType::F32, [2, 3]);
            s.output("y", x.softmax(1));
            Ok(())
        });
        compiled.unwrap().program.memory()
    };
    assert_eq!(compiled(&Device::oracle()).slots, 2 * compiled(&Device::cpu()).slots);
}
