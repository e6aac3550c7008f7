//! The doctor: sound devices pass, and a driver that computes wrong is found out, with the operator's name.

mod common;
mod program;

use common::gpu;
use gpu_runtime::{Choice, DeviceOptions, Tamper};
use nn_core::Device;
use nn_train::doctor::{Examined, Outcome, examine};
use program::{Folder, wgrad};
use serde_json::Value;

/// What failed on a device like the one at hand, but whose compiler puts `wrong` for `right` in every text.
fn failures(right: &'static str, wrong: &'static str) -> Option<Vec<Examined>> {
    let name = gpu()?.name();
    let change = move |_: &str, text: &str| text.contains(right).then(|| text.replace(right, wrong));
    let options = DeviceOptions { tamper: Some(Tamper::new(change)), ..DeviceOptions::default() };
    let device = Device::open(&Choice::Name(name), &options).expect("it was opened before");
    let examined = examine(&device, false, |_, _, _| {});
    Some(examined.into_iter().filter(|examined| matches!(examined.outcome, Outcome::Fail(_))).collect())
}

fn names(failures: &[Examined]) -> Vec<&str> {
    failures.iter().map(|examined| examined.op.as_str()).collect()
}

#[test]
fn a_driver_that_computes_wrong_is_found_out() {
    let Some(failures) = failures("exp(difference)", "exp(difference * 1.00001)") else { return };
    let names = names(&failures);
    for op in ["attention", "softmax", "log_softmax", "cross_entropy", "cross_entropy_gradient"] {
        assert!(names.contains(&op), "{op} is not among {names:?}");
    }
    for op in ["add", "matmul", "sum", "fusion"] {
        assert!(!names.contains(&op), "{op} is among {names:?}");
    }
    let cross_entropy = failures.iter().find(|failure| failure.op == "cross_entropy").expect("it is among them");
    let Outcome::Fail(why) = &cross_entropy.outcome else { unreachable!("only failures were kept") };
    assert!(why.contains("cross_entropy") && why.contains("expected") && why.contains("element"), "{why}");
    assert!(failures.iter().all(|failure| failure.share() > 1.0), "{failures:?}");
}

#[test]
fn a_fault_that_only_fusion_meets_is_found_out() {
    // The tenth value of a group, as a compiler that mixes up its registers would have it: only chains are so long.
    let Some(failures) = failures("let value_9: f32 = ", "let value_9: f32 = 1.0e-3 + ") else { return };
    assert!(names(&failures).contains(&"fusion"), "{:?}", names(&failures));
}

#[test]
fn a_sound_gpu_passes_and_the_document_keeps_its_keys() {
    let Some(device) = gpu() else { return };
    let folder = Folder::new();
    let output = wgrad(&folder, &["doctor", "--json", "--device", &format!("gpu:{}", device.name())]).succeeds();
    let document: Value = serde_json::from_str(&output).expect("one JSON document");
    for key in ["device", "backend", "driver"] {
        assert!(document[key].is_string(), "{key}: {document:#}");
    }
    assert_eq!(document["failed"], 0);
    let rows = document["ops"].as_array().expect("a list");
    assert_eq!(document["passed"], rows.len());
    for name in nn_core::ops::names().into_iter().chain(["fusion", "training", "repetition"]) {
        let row = rows.iter().find(|row| row["op"] == name).unwrap_or_else(|| panic!("{name} was not examined"));
        assert_eq!(row["status"], "pass", "{row:#}");
        assert!(row["cases"].as_u64() > Some(0), "{row:#}");
        let [error, tolerance] = ["max_error", "tolerance"].map(|key| row[key].as_f64().expect("a number"));
        assert!(error <= tolerance, "{row:#}");
    }
}

#[test]
fn the_cpu_passes_with_every_sample_and_a_table() {
    let folder = Folder::new();
    let whole = wgrad(&folder, &["doctor", "--device", "cpu", "--all"]).succeeds();
    assert!(whole.contains(" passed, 0 failed, 0 unsupported"), "{whole}");
    assert!(whole.lines().any(|line| line.starts_with("add ") && line.contains(" i32 ")), "{whole}");
    let short = wgrad(&folder, &["doctor", "--device", "cpu"]).succeeds();
    let cases = |text: &str| {
        let matmul = text.lines().find(|line| line.starts_with("matmul ")).expect("a row");
        matmul.split_whitespace().nth(2).and_then(|word| word.parse::<usize>().ok()).expect("a count")
    };
    assert!(cases(&whole) > cases(&short));
}
