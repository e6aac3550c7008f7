//! `wgrad bench` and `wgrad profile`, and the times that sessions take.

mod common;
mod program;

use nn_core::{DType, Device, Graph, Session, StepScalars, Tensor, graph};
use program::{Folder, command, wgrad};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

fn document(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// What the program prints about bad usage.
fn refused(folder: &Folder, arguments: &[&str]) -> String {
    let found = wgrad(folder, arguments);
    assert_eq!(found.code, Some(2), "{}", found.output);
    found.errors
}

fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_else(|| panic!("{key} of {value}"))
}

#[test]
fn kernels_are_measured_against_the_roof() {
    let folder = Folder::new();
    let arguments =
        ["bench", "sum 1048576", "relu 1048576", "softmax 1024", "--device", "cpu", "--threads", "2", "--json"];
    let found = document(&wgrad(&folder, &arguments).succeeds());
    assert_eq!(found["device"], "cpu");
    assert_eq!(found["threads"], 2);
    let (gflops, bandwidth) = (number(&found["roof"], "gflops"), number(&found["roof"], "gb_per_s"));
    assert!(gflops > 0.1 && bandwidth > 0.1, "{found}");
    let results = found["results"].as_array().unwrap();
    let names: Vec<String> = results.iter().map(|r| format!("{} {}", r["kernel"], r["shape"])).collect();
    assert_eq!(names, [r#""softmax" "1024x1024""#, r#""relu" "1048576""#, r#""sum" "1048576""#]);
    // The partial sums of the last are few.
    for (result, bytes) in results.iter().zip([8 << 20, 8 << 20, 4 << 20]) {
        let seconds = number(result, "ms") / 1e3;
        assert!((number(result, "gb_per_s") * seconds * 1e9 / f64::from(bytes) - 1.0).abs() < 0.01, "{result}");
        let least = f64::from(bytes) / bandwidth / 1e9;
        let share = number(result, "roof_share");
        assert!((share - least / seconds).abs() <= 0.5 * share, "{result}: {least}");
        assert_eq!(result["dtype"], "f32");
    }
    assert_eq!(found["skipped"].as_array().unwrap().len(), 0);
}

#[test]
fn a_step_tells_of_its_memory_and_a_report_is_drawn() {
    let folder = Folder::new();
    let table = wgrad(&folder, &["bench", "step w2", "--device", "cpu", "--out", "report"]).succeeds();
    assert!(table.contains("step w2") && table.contains("launches; prepared in"), "{table}");
    let page = std::fs::read_to_string(folder.path().join("report/report.html")).unwrap();
    assert!(page.contains("Roofline") && page.contains("step w2"));
    assert!(folder.path().join("report/plots/roofline.png").is_file());
    assert!(!folder.path().join("report/plots/loss.png").exists());
    let again = refused(&folder, &["bench", "step w2", "--device", "cpu", "--out", "report"]);
    assert!(again.contains("report already"), "{again}");
}

#[test]
fn names_are_listed_and_unknown_ones_told() {
    let folder = Folder::new();
    let list = wgrad(&folder, &["bench", "--list"]).succeeds();
    for kernel in
        ["matmul 1024x1024x1024", "convolution_weight_gradient 64x32x14x14", "attention 1x4096x8x64", "step w7"]
    {
        assert!(list.contains(kernel), "{kernel} in {list}");
    }
    assert_eq!(wgrad(&folder, &["bench", "--list", "w2"]).succeeds(), "step w2\n");
    let error = refused(&folder, &["bench", "sofmax"]);
    assert!(error.contains("\"sofmax\"") && error.contains("\"softmax\""), "{error}");
}

/// Another program measures between two names, so an answer has to come before the next name.
#[test]
fn names_are_answered_one_by_one() {
    let folder = Folder::new();
    let mut command = command(&folder, &["bench", "--follow", "--device", "cpu", "--threads", "2"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut names, answers) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut answers = BufReader::new(answers).lines().map(|line| document(&line.unwrap()));
    let about = answers.next().unwrap();
    assert_eq!([&about["peer"], &about["device"], &about["threads"]], [&json!("wgrad"), &json!("cpu"), &json!(2)]);
    for (kernel, shape, reason) in
        [("relu", "1048576", None), ("relu", "7", Some("--list")), ("step", "w7", Some("GPU"))]
    {
        writeln!(names, "{kernel} {shape}").unwrap();
        let answer = answers.next().unwrap();
        assert_eq!([&answer["kernel"], &answer["shape"]], [kernel, shape]);
        match reason {
            None => assert!(number(&answer, "ms") > 0.0),
            Some(reason) => assert!(answer["reason"].as_str().unwrap().contains(reason), "{answer}"),
        }
    }
    drop(names);
    assert!(child.wait().unwrap().success());
}

/// The workloads are the models that they are called.
#[test]
fn workloads_have_as_many_parameters_as_elsewhere() {
    let folder = Folder::new();
    for (name, parameters) in [
        ("w2", 535_818),
        ("w3", 421_642),
        ("w4", 834_304),
        ("w5", 25_557_032),
        ("w6", 134_515_008),
        ("w7", 124_439_808),
    ] {
        let found = document(&wgrad(&folder, &["explain", name, "--json"]).succeeds());
        assert_eq!(found["parameters"], parameters, "{name}");
    }
}

#[test]
fn a_profile_has_the_launches_of_the_program() {
    let folder = Folder::new();
    let explained = document(&wgrad(&folder, &["explain", "digits", "--device", "cpu", "--json"]).succeeds());
    let arguments = ["profile", "digits", "--device", "cpu", "--steps", "5", "--trace", "trace.json", "--json"];
    let found = document(&wgrad(&folder, &arguments).succeeds());
    let labels = |document: &Value| -> Vec<String> {
        document["launches"].as_array().unwrap().iter().map(|launch| launch["label"].to_string()).collect()
    };
    assert_eq!(labels(&found), labels(&explained));
    assert_eq!((found["steps"].as_u64(), &found["clock"]), (Some(5), &Value::from("host")));
    let launches = found["launches"].as_array().unwrap();
    let sum: f64 = launches.iter().map(|launch| number(launch, "ms")).sum();
    assert!((sum / number(&found, "launches_ms") - 1.0).abs() < 1e-6);
    assert!(sum > 0.0 && number(&found, "roof_ms") > 0.0);
    for (launch, told) in launches.iter().zip(explained["launches"].as_array().unwrap()) {
        assert_eq!((&launch["bytes"], &launch["flop"]), (&told["traffic"], &told["flop"]));
    }

    let trace = document(&std::fs::read_to_string(folder.path().join("trace.json")).unwrap());
    let events = trace["traceEvents"].as_array().unwrap();
    let spans: Vec<&Value> = events.iter().filter(|event| event["ph"] == "X").collect();
    assert_eq!(spans.len(), launches.len());
    for pair in spans.windows(2) {
        let end = number(pair[0], "ts") + number(pair[0], "dur");
        assert!(number(pair[1], "ts") >= end - 1e-3, "launches follow each other: {pair:?}");
    }
    let text = wgrad(&folder, &["profile", "xor", "--device", "cpu", "--steps", "2", "--all"]).succeeds();
    assert!(text.contains("a step") && text.contains("matmul"), "{text}");
    let error = refused(&folder, &["profile", "digits", "--device", "cpu", "--trace", "trace.json"]);
    assert!(error.contains("is there already"), "{error}");
}

/// A few launches that hang together.
fn chain() -> Graph {
    graph::trace(|trace| {
        let x = trace.state("x", DType::F32, [40, 30]);
        let y = x.matmul(x.transpose()).tanh().softmax(1).matmul(x);
        trace.update("x", y);
        trace.output("sum", y.sum_all());
        Ok(())
    })
    .unwrap()
}

/// The bits after three runs, and the times that were taken.
fn bits(device: &Device, profile: bool) -> (Vec<u32>, Vec<nn_core::run::Profile>) {
    let mut session = Session::new(device);
    let values: Vec<f32> = (0..1200).map(|i| (i % 17) as f32 / 9.0 - 0.9).collect();
    session.set_state("x", &Tensor::from_f32([40, 30], &values).unwrap()).unwrap();
    let mut program = session.compile(&chain()).unwrap();
    session.set_profile(profile);
    for step in 1..=3 {
        session.run(&mut program, &[], StepScalars::new(step, 0, 0.0)).unwrap();
    }
    session.results(&mut program, true).unwrap();
    let x = session.state("x").unwrap();
    (x.as_f32().unwrap().iter().map(|value| value.to_bits()).collect(), session.take_profile())
}

fn timed_runs_keep_their_bits(device: &Device) {
    let (plain, none) = bits(device, false);
    let (timed, profiles) = bits(device, true);
    assert_eq!(plain, timed);
    assert!(none.is_empty());
    let [profile] = &profiles[..] else { panic!("{} programs", profiles.len()) };
    assert_eq!(profile.runs.len(), 3);
    for run in &profile.runs {
        assert_eq!(run.len(), profile.schedule.launches.len());
        assert!(run.iter().all(|span| span.end >= span.start && span.end - span.start < 60.0), "{run:?}");
        assert!(run.windows(2).all(|pair| pair[1].start >= pair[0].start), "{run:?}");
    }
    assert!(profile.medians().iter().sum::<f64>() > 0.0);
}

#[test]
fn timed_runs_keep_their_bits_on_the_cpu() {
    timed_runs_keep_their_bits(&Device::cpu());
}

#[test]
fn timed_runs_keep_their_bits_on_a_gpu() {
    let Some(device) = common::gpu() else { return };
    timed_runs_keep_their_bits(&device);
    let roof = device.roof().unwrap();
    assert!(roof.bytes_per_second > 1e7 && roof.flops_per_second > 1e7, "{roof:?}");
}
