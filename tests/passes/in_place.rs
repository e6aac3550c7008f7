//! Kernels that write their result over an input which dies with it.

use nn_core::DType;
use nn_core::graph::{self, InPlace, Trace, Value};
use nn_core::passes::{ScheduleOptions, differentiate, schedule};
use nn_core::schedule::{Launch, Schedule};

/// What the launches of the operator write over what.
fn in_place(schedule: &Schedule, op: &str) -> Vec<Option<InPlace>> {
    let start = format!("{op}#");
    let launches = schedule.launches.iter().filter(|launch| launch.label.starts_with(&start));
    launches.map(Launch::in_place).collect()
}

fn softmax_of(function: impl FnOnce(&Trace, Value)) -> Option<InPlace> {
    let graph = graph::trace(|trace| {
        function(trace, trace.input("x", DType::F32, [4, 6]));
        Ok(())
    });
    let found = in_place(&schedule(&graph.unwrap(), ScheduleOptions::default()).unwrap(), "softmax");
    assert_eq!(found.len(), 1);
    found[0]
}

#[test]
fn softmax_overwrites_what_nothing_else_reads() {
    let over = Some(InPlace { input: 0, output: 0 });
    assert_eq!(softmax_of(|trace, x| trace.output("y", (x * 2.0).softmax(1))), over);
    // Inputs are the caller's.
    assert_eq!(softmax_of(|trace, x| trace.output("y", x.softmax(1))), None);
    // An output is read after the run.
    assert_eq!(
        softmax_of(|trace, x| {
            trace.output("z", x * 2.0);
            trace.output("y", (x * 2.0).softmax(1));
        }),
        None
    );
    // A later launch reads what softmax read.
    assert_eq!(
        softmax_of(|trace, x| {
            let z = x * 2.0;
            trace.output("y", z.softmax(1).matmul(z.transpose()));
        }),
        None
    );
    // A part of a buffer is no place for the whole.
    assert_eq!(softmax_of(|trace, x| trace.output("y", (x * 2.0).slice(&[1, 0], [2, 6]).softmax(1))), None);
}

#[test]
fn the_gradient_of_cross_entropy_takes_the_place_of_the_logits() {
    let graph = graph::trace(|trace| {
        let (x, weight) = (trace.input("x", DType::F32, [8, 5]), trace.state("weight", DType::F32, [5, 7]));
        let targets = trace.input("targets", DType::U32, [8]);
        trace.output("loss", x.matmul(weight).cross_entropy(targets).mean_all());
        Ok(())
    });
    let graph = differentiate(&graph.unwrap(), "loss", &["weight"]).unwrap();
    let schedule = schedule(&graph, ScheduleOptions::default()).unwrap();
    assert_eq!(in_place(&schedule, "cross_entropy_gradient"), [Some(InPlace { input: 0, output: 0 })]);
    let logits = schedule.slots.iter().filter(|slot| slot.reals >= 8 * 7).count();
    assert_eq!(logits, 1, "no second copy of the logits");
}
