//! The program as a user meets it: good and bad input, exit statuses, and what is left on the disk.

mod common;
#[path = "program/files.rs"]
mod files;
mod program;

use program::{Folder, Outcome, wgrad};
use serde_json::Value;

impl Folder {
    fn remove(&self, name: &str) {
        std::fs::remove_file(self.path().join(name)).unwrap();
    }

    fn is_empty(&self) -> bool {
        std::fs::read_dir(self.path()).unwrap().next().is_none()
    }
}

/// Runs the program in the folder with variables set.
fn with_variables(folder: &Folder, arguments: &[&str], variables: &[(&str, &str)]) -> Outcome {
    let mut command = program::command(folder, arguments);
    command.envs(variables.iter().copied());
    program::outcome(command)
}

const CSV: &str = "a,b,kind\n0,0,0\n0,1,1\n1,0,1\n1,1,0\n";

fn csv_config(path: &str) -> String {
    format!(
        "[model]\nkind = \"mlp\"\n[model.config]\nsizes = [2, 4, 2]\n[data]\nkind = \"csv\"\npath = \"{path}\"\n\
         [train]\nsteps = 4\n"
    )
}

/// A folder with a table and a config that trains on it.
fn prepared(csv: &str) -> Folder {
    let folder = Folder::new();
    folder.write("table.csv", csv);
    folder.write("model.toml", csv_config("table.csv"));
    folder
}

/// The bytes of a `.npy` file, made here from NumPy's description of the format.
fn npy(kind: &str, shape: &str, content: &[u8]) -> Vec<u8> {
    let mut header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(content);
    bytes
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn integers(values: &[i64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// A safetensors file, made here from the description of the format.
fn safetensors(tensors: &[(&str, &[usize], &[f32])]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut content = Vec::new();
    for (name, shape, values) in tensors {
        let begin = content.len();
        content.extend(floats(values));
        let entry = serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": [begin, content.len()]});
        header.insert(name.to_string(), entry);
    }
    let header = Value::Object(header).to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(content);
    bytes
}

fn metrics(folder: &Folder, run: &str) -> Vec<Value> {
    let text = folder.read(&format!("{run}/metrics.jsonl"));
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

#[test]
fn alone_it_shows_what_can_be_done() {
    let folder = Folder::new();
    let tour = wgrad(&folder, &[]).succeeds();
    assert!(tour.contains("wgrad train digits") && tour.contains("cpu"), "{tour}");
    let presets = wgrad(&folder, &["train"]).succeeds();
    for preset in ["xor", "digits", "text"] {
        assert!(presets.contains(preset), "{presets}");
    }
    let devices: Value = serde_json::from_str(&wgrad(&folder, &["devices", "--json"]).succeeds()).unwrap();
    assert!(devices["adapters"].is_array() && devices["auto"].is_string(), "{devices}");
    assert!(folder.is_empty());
}

#[test]
fn bad_usage_is_status_two_and_names_the_nearest() {
    let folder = Folder::new();
    wgrad(&folder, &["trian"]).fails(2, "train");
    wgrad(&folder, &["train", "digit"]).fails(2, "the nearest preset is \"digits\"");
    wgrad(&folder, &["train", "xor", "--device", "tpu"]).fails(2, "unknown device \"tpu\"");
    wgrad(&folder, &["train", "absent.toml"]).fails(2, "absent.toml");
    wgrad(&folder, &["train", "xor", "--steps", "0"]).fails(2, "--steps");
    wgrad(&folder, &["train", "xor", "--steps", "3", "--epochs", "3"]).fails(2, "--epochs");
    wgrad(&folder, &["train", "digits", "--data", "x.csv"]).fails(2, "cannot be replaced");
    wgrad(&folder, &["eval", "absent"]).fails(2, "absent");
    assert!(folder.is_empty());
}

#[test]
fn a_gpu_that_is_not_there_is_status_one() {
    let hardware = gpu_runtime::adapters().iter().any(|adapter| adapter.kind != gpu_runtime::AdapterKind::Software);
    let folder = Folder::new();
    if hardware {
        println!("skipped in part: there is a hardware GPU");
    } else {
        wgrad(&folder, &["train", "xor", "--device", "gpu"]).fails(1, "no GPU adapter for a hardware GPU");
    }
    wgrad(&folder, &["train", "xor", "--device", "gpu:no such card"]).fails(1, "no such card");
    assert!(folder.is_empty());
}

#[test]
fn the_first_device_that_is_set_wins() {
    let folder = prepared(CSV);
    let config = csv_config("table.csv") + "device = \"config\"\n";
    folder.write("device.toml", config);
    let variable = [("WGRAD_DEVICE", "variable")];
    wgrad(&folder, &["train", "device.toml", "--device", "argument"]).fails(2, "\"argument\"");
    with_variables(&folder, &["train", "device.toml"], &variable).fails(2, "\"config\"");
    with_variables(&folder, &["train", "model.toml"], &variable).fails(2, "\"variable\"");
}

#[test]
fn unknown_keys_and_kinds_are_named() {
    let folder = prepared(CSV);
    for (from, to, expected) in [
        ("steps = 4", "step = 4", "unknown key train.step; the nearest known one is train.steps"),
        ("[train]", "[optimizer]\nlearning_rte = 1\n[train]", "the nearest known one is optimizer.lr"),
        ("[train]", "batchsize = 2\n[train]", "the nearest known one is data.batch_size"),
        ("[train]", "[trian]", "the nearest known one is [train]"),
        ("sizes", "size", "model.config.sizes"),
        ("\"mlp\"", "\"gpt3\"", "the nearest known one is \"gpt2\""),
        ("\"csv\"", "\"token\"", "the nearest known one is \"tokens\""),
        ("steps = 4", "steps = \"4\"", "train.steps"),
        ("steps = 4", "steps = 4\nepochs = 2", "train.steps and train.epochs"),
        ("steps = 4", "precision = \"f16\"", "not supported yet; supported: f32"),
        ("steps = 4", "steps = = 4", "bad.toml"),
        ("[2, 4, 2]", "[3, 4, 2]", "a row of the data has 2 input numbers"),
        ("steps = 4", "[optimizer]\nlr = -1.0", "lr = -1"),
        ("steps = 4", "[loss]\nkind = \"mse\"", "use cross_entropy"),
    ] {
        folder.write("bad.toml", csv_config("table.csv").replace(from, to));
        wgrad(&folder, &["train", "bad.toml", "--out", "run"]).fails(2, expected);
        wgrad(&folder, &["train", "bad.toml", "--out", "run"]).fails(2, "bad.toml");
        assert!(!folder.exists("run"), "{to} left a folder");
    }
}

#[test]
fn faults_in_tables_have_file_line_and_column() {
    for (csv, expected) in [
        ("a,b,kind\n0,0,0\n0,1\n", "table.csv, line 3, column \"kind\""),
        ("a,b,kind\n0,0,0\n0,one,1\n", "table.csv, line 3, column \"b\": \"one\" is not a number"),
        ("a,b,kind\nNaN,0,0\n0,1,1\n", "table.csv, line 2, column \"a\": \"NaN\""),
        ("a,b,kind\n0,0,0\n0,1,2\n", "row 1 (from 0) is class 2, but there are 2 classes"),
        ("a,b,kind\n", "no line after the header"),
        ("", "the file is empty"),
    ] {
        let folder = prepared(csv);
        wgrad(&folder, &["train", "model.toml", "--out", "run"]).fails(1, expected);
        assert!(!folder.exists("run"), "{csv:?} left a folder");
    }
}

fn arrays_config(more: &str) -> String {
    format!(
        "[model]\nkind = \"mlp\"\n{more}\n[model.config]\nsizes = [2, 3, 2]\nactivation = \"tanh\"\n[data]\nkind = \"arrays\"\n\
         inputs = \"x.npy\"\ntargets = \"y.npy\"\nbatch_size = 2\norder = \"sequential\"\n[optimizer]\nkind = \"sgd\"\n\
         lr = 0.1\n[train]\nsteps = 3\n"
    )
}

/// Four rows of two numbers with classes.
fn arrays(more: &str, inputs: &[f32], classes: &[i64]) -> Folder {
    let folder = Folder::new();
    folder.write("x.npy", npy("<f4", &format!("({}, 2)", inputs.len() / 2), &floats(inputs)));
    folder.write("y.npy", npy("<i8", &format!("({},)", classes.len()), &integers(classes)));
    folder.write("model.toml", arrays_config(more));
    folder
}

const ROWS: [f32; 8] = [0.5, -1.0, 2.0, 0.25, -0.5, 1.5, 1.0, 1.0];

#[test]
fn faults_in_arrays_have_the_row() {
    let mut rows = ROWS;
    rows[5] = f32::NAN;
    let folder = arrays("", &rows, &[0, 1, 0, 1]);
    wgrad(&folder, &["train", "model.toml", "--out", "run"]).fails(1, "x.npy: inputs row 2, column 1");
    let folder = arrays("", &ROWS, &[0, 1, 5, 1]);
    wgrad(&folder, &["train", "model.toml", "--out", "run"]).fails(1, "y.npy: the target of row 2 (from 0) is class 5");
    let folder = arrays("", &[], &[]);
    wgrad(&folder, &["train", "model.toml", "--out", "run"]).fails(1, "empty");
    assert!(!folder.exists("run"));
}

const WEIGHT_0: [f32; 6] = [0.1, -0.2, 0.3, 0.4, -0.5, 0.6];
const BIAS_0: [f32; 3] = [0.01, -0.02, 0.03];
const WEIGHT_2: [f32; 6] = [0.7, -0.8, 0.9, -0.1, 0.2, -0.3];
const BIAS_2: [f32; 2] = [0.05, -0.05];

fn weights() -> Vec<u8> {
    safetensors(&[
        ("0.weight", &[3, 2], &WEIGHT_0),
        ("0.bias", &[3], &BIAS_0),
        ("2.weight", &[2, 3], &WEIGHT_2),
        ("2.bias", &[2], &BIAS_2),
    ])
}

#[test]
fn faults_in_weights_are_all_listed() {
    let folder = arrays("weights = \"w.safetensors\"", &ROWS, &[0, 1, 0, 1]);
    let train = ["train", "model.toml", "--out", "run", "--device", "cpu"];
    wgrad(&folder, &train).fails(1, "w.safetensors");
    folder.write("w.safetensors", &weights()[..weights().len() - 5]);
    wgrad(&folder, &train).fails(1, "damaged");
    let wrong = [("0.weight", &[2, 3][..], &WEIGHT_0[..]), ("1.bias", &[3][..], &BIAS_0[..])];
    folder.write("w.safetensors", safetensors(&wrong));
    for expected in ["misshapen: `0.weight`", "missing: `0.bias`", "missing: `2.weight`", "surplus: `1.bias`"] {
        wgrad(&folder, &train).fails(1, expected);
    }
    assert!(!folder.exists("run"));
}

/// The mean loss of two rows by the given weights, in double precision.
fn loss_by_hand(rows: &[f32], classes: &[usize]) -> f64 {
    let layer = |x: &[f64], weight: &[f32], bias: &[f32]| -> Vec<f64> {
        let product = |row: &[f32]| x.iter().zip(row).map(|(x, weight)| x * f64::from(*weight)).sum::<f64>();
        weight.chunks(x.len()).zip(bias).map(|(row, bias)| product(row) + f64::from(*bias)).collect()
    };
    let losses = rows.chunks(2).zip(classes).map(|(row, class)| {
        let x: Vec<f64> = row.iter().map(|&x| x.into()).collect();
        let hidden: Vec<f64> = layer(&x, &WEIGHT_0, &BIAS_0).iter().map(|x| x.tanh()).collect();
        let logits = layer(&hidden, &WEIGHT_2, &BIAS_2);
        logits.iter().map(|logit| logit.exp()).sum::<f64>().ln() - logits[*class]
    });
    losses.sum::<f64>() / classes.len() as f64
}

#[test]
fn arrays_are_trained_on_from_given_weights() {
    let folder = arrays("weights = \"w.safetensors\"", &ROWS, &[0, 1, 1, 1]);
    folder.write("w.safetensors", weights());
    wgrad(&folder, &["train", "model.toml", "--out", "run", "--device", "cpu"]).succeeds();
    let first = metrics(&folder, "run")[0]["loss"].as_f64().unwrap();
    let expected = loss_by_hand(&ROWS[..4], &[0, 1]);
    assert!((first - expected).abs() < 1e-6, "{first}, expected {expected}");
    let answer = wgrad(&folder, &["predict", "run", "x.npy", "--json"]).succeeds();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["predictions"].as_array().unwrap().len(), 4);
    let measured = wgrad(&folder, &["eval", "run", "--data", "x.npy", "y.npy", "--json"]).succeeds();
    assert_eq!(serde_json::from_str::<Value>(&measured).unwrap()["rows"], 4);
}

#[test]
fn output_folders_are_not_overwritten_unasked() {
    let folder = prepared(CSV);
    let train = ["train", "model.toml", "--device", "cpu", "--out"];
    let with = |more: &[&'static str]| [&train[..], more].concat();
    folder.write("file", "text");
    wgrad(&folder, &with(&["file"])).fails(1, "is a file");
    wgrad(&folder, &with(&["file/run"])).fails(1, "is a file");
    assert_eq!(folder.read("file"), "text");
    folder.write("full/notes.txt", "mine");
    wgrad(&folder, &with(&["full"])).fails(2, "not empty");
    assert!(!folder.exists("full/config.toml"));
    wgrad(&folder, &with(&["full", "--overwrite"])).succeeds();
    assert_eq!(folder.read("full/notes.txt"), "mine");
    wgrad(&folder, &with(&["full"])).fails(2, "--resume full");
}

#[test]
fn digits_are_trained_evaluated_and_predicted() {
    let folder = Folder::new();
    let printed = wgrad(&folder, &["train", "digits", "--epochs", "3", "--device", "cpu"]).succeeds();
    assert!(printed.contains("runs/digits-1") && printed.contains("accuracy"), "{printed}");
    for file in ["config.toml", "model.safetensors", "report.html", "plots/loss.png", "plots/confusion.png"] {
        assert!(folder.exists(&format!("runs/digits-1/{file}")), "{file}");
    }
    let lines = metrics(&folder, "runs/digits-1");
    let steps: Vec<&Value> = lines.iter().filter(|line| line.get("loss").is_some() && line["final"] != true).collect();
    assert_eq!(steps.len(), 3 * 23);
    for key in ["step", "loss", "lr", "grad_norm", "samples_per_s"] {
        assert!(steps[0][key].is_number(), "{key}: {}", steps[0]);
    }
    assert_eq!(lines.iter().filter(|line| line.get("eval_loss").is_some() && line["final"] != true).count(), 3);
    let last = lines.last().unwrap();
    assert_eq!((&last["final"], &last["steps"], &last["device"]), (&true.into(), &69.into(), &"cpu".into()));
    let report = folder.read("runs/digits-1/report.html");
    assert!(report.matches("data:image/png;base64,").count() >= 4);

    let measured = wgrad(&folder, &["eval", "runs/digits-1", "--json"]).succeeds();
    let measured: Value = serde_json::from_str(&measured).unwrap();
    assert_eq!(measured["loss"], last["eval_loss"]);
    assert_eq!(measured["accuracy"], last["eval_accuracy"]);
    let checkpoint = "runs/digits-1/checkpoints/step-000000069.safetensors";
    let same: Value = serde_json::from_str(&wgrad(&folder, &["eval", checkpoint, "--json"]).succeeds()).unwrap();
    assert_eq!(same["loss"], measured["loss"]);

    let numbers = vec!["0.5"; 64].join(" ");
    assert!(wgrad(&folder, &["predict", "runs/digits-1", &numbers]).succeeds().contains("probabilities"));
    wgrad(&folder, &["predict", "runs/digits-1", "1", "2"]).fails(2, "64 a row");

    // The run's own config is complete: it trains again to the same bits, beside the first run.
    wgrad(&folder, &["train", "runs/digits-1/config.toml"]).succeeds();
    assert_eq!(folder.bytes("runs/digits-2/model.safetensors"), folder.bytes("runs/digits-1/model.safetensors"));
}

#[test]
fn a_stopped_run_goes_on_to_the_same_bits() {
    let folder = Folder::new();
    let xor = |more: &[&'static str]| [&["train", "xor", "--device", "cpu"][..], more].concat();
    wgrad(&folder, &xor(&["--out", "whole", "--steps", "250"])).succeeds();
    wgrad(&folder, &xor(&["--out", "parts", "--steps", "250"])).succeeds();
    // As if the machine had gone off after step 200, while the checkpoint of a later step was being written.
    let later = "parts/checkpoints/step-000000250.safetensors";
    let cut = folder.bytes(later)[..100].to_vec();
    folder.write(later, cut);
    folder.remove("parts/model.safetensors");
    let resumed = wgrad(&folder, &["train", "--resume", "parts"]);
    assert!(resumed.errors.contains("going on after step 200"), "{}", resumed.errors);
    resumed.succeeds();
    assert_eq!(folder.bytes("whole/model.safetensors"), folder.bytes("parts/model.safetensors"));
    let losses = |run| -> Vec<Value> { metrics(&folder, run).iter().map(|line| line["loss"].clone()).collect() };
    assert_eq!(losses("whole"), losses("parts"));
    // Without a checkpoint it starts over, and says so.
    let fresh = wgrad(&folder, &xor(&["--resume", "fresh", "--steps", "5"]));
    assert!(fresh.errors.contains("starting over"), "{}", fresh.errors);
    fresh.succeeds();
}

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_a_checkpoint_and_says_how_to_go_on() {
    let folder = Folder::new();
    let mut child =
        program::command(&folder, &["train", "xor", "--steps", "4000000", "--out", "run", "--device", "cpu"])
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
    let begun = || folder.exists("run/metrics.jsonl") && folder.read("run/metrics.jsonl").lines().count() > 50;
    for _ in 0..600 {
        if begun() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(begun(), "the run did not begin");
    std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let status = child.wait().unwrap();
    let mut errors = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut errors).unwrap();
    assert_eq!(status.code(), Some(1), "{errors}");
    assert!(errors.contains("wgrad train --resume run"), "{errors}");
    let newest = std::fs::read_dir(folder.path().join("run/checkpoints")).unwrap().count();
    assert!(newest >= 1);
    wgrad(&folder, &["eval", "run"]).succeeds();
}

#[test]
fn a_checked_run_says_what_it_compared() {
    let folder = prepared(CSV);
    let Outcome { code, output, errors } = wgrad(&folder, &["train", "model.toml", "--device", "cpu", "--check"]);
    assert_eq!(code, Some(0), "{output}{errors}");
    assert!(output.contains("checked: ") && output.contains("as the oracle has them"), "{output}");
    let Outcome { code, output, .. } = wgrad(&folder, &["train", "model.toml", "--device", "cpu", "--check=matmul"]);
    assert_eq!(code, Some(0), "{output}");
    let unknown = wgrad(&folder, &["train", "model.toml", "--device", "cpu", "--out", "no", "--check=attention"]);
    unknown.fails(2, "attention");
    assert!(!folder.exists("no"), "nothing is written for a run that cannot be");
    let plain = wgrad(&folder, &["train", "model.toml", "--device", "cpu"]);
    assert!(!plain.output.contains("checked: "), "{}", plain.output);
}

#[test]
fn a_model_that_does_not_fit_leaves_nothing() {
    let Some(device) = common::gpu() else { return };
    let (folder, name) = (Folder::new(), format!("gpu:{}", device.name()));
    let arguments = ["train", "digits", "--device", &name, "--out", "no"];
    with_variables(&folder, &arguments, &[("WGRAD_MEMORY_BUDGET", "300000")]).fails(1, "budget");
    assert!(folder.is_empty());
}

#[test]
fn where_a_loss_broke_is_told_afterwards() {
    let folder = prepared("a,b,y\n0.5,2,7.5\n3,1,-2.5\n2,2,4.5\n1,5,9.5\n");
    let config = csv_config("table.csv").replace("[2, 4, 2]", "[2, 4, 1]").replace("steps = 4", "steps = 60");
    let optimizer = "[loss]\nkind = \"mse\"\n[optimizer]\nkind = \"sgd\"\nlr = 1e6\n[output]\ndir = \"lost\"\n";
    folder.write("lost.toml", config + optimizer);
    let run = wgrad(&folder, &["train", "lost.toml", "--device", "cpu"]);
    run.fails(1, "`wgrad where");
    let step = metrics(&folder, "lost").iter().find(|line| line["loss"].is_null()).map(|line| line["step"].clone());
    let step = step.expect("the step that broke is written down");
    let Outcome { code, output, errors } = wgrad(&folder, &["where", "lost"]);
    assert_eq!(code, Some(0), "{output}{errors}");
    assert!(output.contains(&format!("the loss of step {step} is no finite number; it began at step ")), "{output}");
    assert!(output.contains(" makes ") && output.contains("launch") && output.contains("element"), "{output}");
    let Outcome { code, output, errors } =
        wgrad(&folder, &["train", "xor", "--device", "cpu", "--steps", "3", "--out", "sound"]);
    assert_eq!(code, Some(0), "{output}{errors}");
    wgrad(&folder, &["where", "sound"]).fails(2, "finite");
    wgrad(&folder, &["where", "nowhere"]).fails(2, "config.toml");
}
