//! The presets reach their accuracies, whatever the seed.

mod program;

use program::{Folder, wgrad};
use serde_json::Value;

fn accuracy(folder: &Folder, preset: &str, seed: u32) -> f64 {
    let out = format!("{preset}-{seed}");
    wgrad(folder, &["train", preset, "--seed", &seed.to_string(), "--device", "cpu", "--out", &out]).succeeds();
    let lines = std::fs::read_to_string(folder.path().join(out).join("metrics.jsonl")).unwrap();
    let last: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!(last["final"], true);
    last["eval_accuracy"].as_f64().unwrap()
}

#[test]
fn xor_is_learnt_from_ten_seeds() {
    let folder = Folder::new();
    for seed in 0..10 {
        assert_eq!(accuracy(&folder, "xor", seed), 1.0, "seed {seed}");
    }
}

#[test]
fn digits_reach_97_percent_from_five_seeds() {
    let folder = Folder::new();
    for seed in 0..5 {
        let accuracy = accuracy(&folder, "digits", seed);
        assert!(accuracy >= 0.97, "seed {seed}: {accuracy}");
    }
}

#[test]
fn text_reaches_90_percent_in_both_ways() {
    let folder = Folder::new();
    for preset in ["text", "text-mse"] {
        let accuracy = accuracy(&folder, preset, 0);
        assert!(accuracy >= 0.90, "{preset}: {accuracy}");
    }
}
