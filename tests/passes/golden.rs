//! The text of a training step after each pass, against files; `WGRAD_BLESS=1` writes them anew.

use crate::mlp::{Mlp, PARAMETERS};
use gpu_runtime::Limits;
use nn_core::Explanation;
use nn_core::passes::{ScheduleOptions, differentiate, insert_copies, lower, schedule, simplify};
use nn_core::schedule::Schedule;
use std::path::Path;

fn check(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/passes").join(format!("{name}.txt"));
    if std::env::var("WGRAD_BLESS").as_deref() == Ok("1") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        return;
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
    let differs = golden.lines().zip(text.lines()).position(|(a, b)| a != b);
    let line = differs.unwrap_or_else(|| golden.lines().count().min(text.lines().count()));
    assert!(
        golden == text,
        "line {} of {} differs; WGRAD_BLESS=1 accepts the new text:\n{text}",
        line + 1,
        path.display()
    );
}

/// The program of a schedule as a table, for the limits that every WebGPU device has.
fn explained(schedule: &Schedule) -> String {
    let program = lower(schedule, &Limits::WEBGPU_DEFAULT).unwrap();
    let memory = program.memory(&Limits::WEBGPU_DEFAULT);
    Explanation::new(schedule, Some(&program), memory).unwrap().to_string()
}

#[test]
fn a_training_step_after_each_pass() {
    let model = Mlp { batch: 4, inputs: 6, hidden: 5, classes: 3 };
    let forward = model.forward().unwrap();
    check("0-traced", &forward.to_string());
    check("1-differentiated", &differentiate(&forward, "loss", &PARAMETERS).unwrap().to_string());
    let step = model.step().unwrap();
    let simple = simplify(&step).unwrap();
    check("2-simplified", &simple.to_string());
    check("3-copies", &insert_copies(&simple).unwrap().to_string());
    let schedule = schedule(&step, ScheduleOptions::default()).unwrap();
    check("4-schedule", &schedule.to_string());
    check("5-program", &explained(&schedule));
}

#[test]
fn the_same_graph_has_the_same_text() {
    let text = || {
        let step = Mlp { batch: 4, inputs: 6, hidden: 5, classes: 3 }.step().unwrap();
        let schedule = schedule(&step, ScheduleOptions::default()).unwrap();
        format!("{step}{schedule}{}", explained(&schedule))
    };
    let first = text();
    assert!((0..20).all(|_| text() == first), "hash order must not reach the schedule");
}
