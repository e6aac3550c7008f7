//! What computes right passes, with the bits it has without a check.

use crate::common;
use crate::mlp::{Mlp, train};
use crate::support::{devices, session, step, three_steps, traced};
use nn_core::graph::{self, Graph};
use nn_core::{Check, CheckReport, DType, Device, Error, StepScalar};

const MLP: Mlp = Mlp { batch: 8, inputs: 6, hidden: 10, classes: 4 };

/// A training step of a text classifier: the mean of the words' rows, with dropout, and a linear layer.
fn classifier() -> Graph {
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
    });
    train(&forward.unwrap(), &["table", "weight"]).unwrap()
}

/// A training step of one attention head over `(batch, length, width)`.
fn attention() -> Graph {
    let (batch, length, width) = (2, 5, 8);
    let forward = graph::trace(|trace| {
        let x = trace.input("x", DType::F32, [batch, length, width]);
        let project = |name| x.matmul(trace.state(name, DType::F32, [width, width]));
        let [query, key, value] = ["query", "key", "value"]
            .map(|name| project(name).reshape([batch, length, 2, width / 2]).permute(&[0, 2, 1, 3]));
        let weights = (query.matmul(key.transpose()) * 0.5).softmax(3);
        let mixed = weights.matmul(value).permute(&[0, 2, 1, 3]).reshape([batch, length, width]);
        trace.output("loss", (mixed - x).gelu().abs().mean_all());
        Ok(())
    });
    train(&forward.unwrap(), &["query", "key", "value"]).unwrap()
}

/// Views of all kinds into groups, a concatenation (several launches), integers, padding, random numbers.
fn assorted() -> Graph {
    traced(|trace| {
        let x = trace.input("x", DType::F32, [4, 6]);
        let column = trace.input("column", DType::F32, [4, 1]);
        let scale = trace.step_scalar(StepScalar::LearningRate);
        let part = x.slice(&[1, 2], [3, 4]);
        trace.output("group", (x.transpose().tanh() * column.transpose() + scale).exp() * x.transpose());
        trace.output("part", (part * part + 1.0).log().softplus());
        trace.output("joined", part.concat(&[part * 2.0, part.sigmoid()], 0));
        trace.output("padded", x.pad(&[(1, 0), (0, 2)], -1.0));
        trace.output("whole", (x.greater(column).select(x * 100.0, column) - 1.0).to_i32());
        trace.output("floor", (x * 3.0).floor() + (x * 0.5 - column).less_equal(0.0).to_f32());
        trace.output("noise", trace.random_normal([4, 6], 5) * x);
        trace.output("norm", x.sum_of_squares(&[0, 1]).sqrt());
        trace.output("largest", x.max(&[1]) - x.min(&[1]));
    })
}

/// Two states that swap, which takes a late copy, and one that is replaced by a view of itself.
fn swapping() -> Graph {
    traced(|trace| {
        let [p, q, r] = ["p", "q", "r"].map(|name| trace.state(name, DType::F32, [3, 3]));
        trace.update("p", q);
        trace.update("q", p.transpose() * 1.5);
        trace.update("r", r.transpose());
        trace.output("sum", (p + q).sum_all());
    })
}

fn models() -> [(&'static str, Graph); 5] {
    [
        ("mlp", MLP.step().unwrap()),
        ("classifier", classifier()),
        ("attention", attention()),
        ("assorted", assorted()),
        ("swapping", swapping()),
    ]
}

fn print(name: &str, device: &Device, report: &CheckReport) {
    for op in report.ops() {
        println!(
            "{name} on {}: {} {}: {} cases, {} elements, error {:.2e} of {:.2e}",
            device.name(),
            op.op,
            op.dtype,
            op.cases,
            op.elements,
            op.max_error,
            op.tolerance
        );
    }
}

#[test]
fn training_steps_pass_and_keep_their_bits() {
    for device in devices() {
        for (name, graph) in models() {
            let (plain, nothing) = three_steps(&device, &graph, None).unwrap();
            assert!(nothing.is_empty());
            let checked = three_steps(&device, &graph, Some(Check::Every));
            let (checked, report) = checked.unwrap_or_else(|error| panic!("{name} on {device:?}: {error}"));
            print(name, &device, &report);
            assert!(checked == plain, "{name} on {device:?} has other bits with a check");
            // Every operator that the schedule computes was compared, in each step.
            let mut session = session(&device, &graph);
            let program = session.compile(&graph).unwrap();
            let schedule = program.schedule();
            for node in schedule.graph.nodes() {
                let Some(op) = node.op().filter(|op| !matches!(op.kind(), graph::OpKind::View(_))) else { continue };
                let compared = report.ops().find(|known| known.op == op.name() && known.dtype == node.outputs[0].dtype);
                let compared = compared.unwrap_or_else(|| panic!("{name}: {} was not compared", op.name()));
                assert!(compared.cases >= 3 && compared.elements > 0 && compared.share <= 1.0, "{compared:?}");
            }
            let (finite, nothing) = three_steps(&device, &graph, Some(Check::Finite)).unwrap();
            assert!(finite == plain && nothing.is_empty(), "{name} on {device:?}");
        }
    }
}

#[test]
fn the_oracle_agrees_with_itself() {
    let (_, report) = three_steps(&Device::oracle(), &MLP.step().unwrap(), Some(Check::Every)).unwrap();
    assert!(report.ops().count() > 5);
    assert!(report.ops().all(|op| op.max_error == 0.0), "{report:?}");
}

#[test]
fn a_check_can_be_turned_on_and_off_and_the_report_taken() {
    let graph = MLP.step().unwrap();
    for device in devices() {
        let (plain, _) = three_steps(&device, &graph, None).unwrap();
        let mut session = session(&device, &graph);
        let mut program = session.compile(&graph).unwrap();
        step(&mut session, &mut program, 1).unwrap();
        session.set_check(Some(Check::Every));
        step(&mut session, &mut program, 2).unwrap();
        let cases = |report: &CheckReport| report.ops().find(|op| op.op == "matmul").map_or(0, |op| op.cases);
        // Two forward, two for the weights, one for the hidden layer.
        assert_eq!(cases(session.check_report()), 5);
        session.set_check(None);
        assert_eq!(session.check(), None);
        step(&mut session, &mut program, 3).unwrap();
        assert_eq!(cases(session.check_report()), 5);
        assert_eq!(cases(&session.take_check_report()), 5);
        assert!(session.check_report().is_empty());
        let results = session.results(&mut program, true).unwrap();
        let losses: Vec<f32> = results.iter().map(|result| result.scalar("loss").unwrap()).collect();
        let expected: Vec<f32> = plain[..3].iter().map(|loss| loss.as_f32().unwrap()[0]).collect();
        assert_eq!(losses, expected, "on {device:?}");
        assert_eq!(session.state("head.weight").unwrap(), plain[5]);
    }
}

#[test]
fn a_check_that_is_off_costs_nothing() {
    let Some(device) = common::gpu() else { return };
    let gpu = device.as_gpu().unwrap();
    let graph = MLP.step().unwrap();
    let mut session = session(&device, &graph);
    let mut program = session.compile(&graph).unwrap();
    let mut two_steps = |check: Option<Check>| {
        session.set_check(check);
        step(&mut session, &mut program, 1).unwrap();
        let before = gpu.counters();
        step(&mut session, &mut program, 2).unwrap();
        (before, gpu.counters())
    };
    let (before, after) = two_steps(None);
    assert_eq!(after.submits, before.submits + 1);
    let (before, after) = two_steps(Some(Check::Every));
    assert!(after.submits > before.submits + 20);
    // What a check compiles it compiles once.
    assert_eq!(after.pipelines_created, before.pipelines_created);
    let (before, after) = two_steps(None);
    assert_eq!(after.submits, before.submits + 1);
    assert_eq!(after.pipelines_created, before.pipelines_created);
    assert_eq!(after.buffers_created, before.buffers_created);
    assert_eq!(after.bind_groups_created, before.bind_groups_created);
}

#[test]
fn a_check_begins_where_its_name_says() {
    let graph = MLP.step().unwrap();
    for device in devices() {
        let (plain, _) = three_steps(&device, &graph, None).unwrap();
        let cases = |name: &str| {
            let (left, report) = three_steps(&device, &graph, Some(Check::From(name.into()))).unwrap();
            assert!(left == plain, "{name:?} changes bits on {device:?}");
            report.ops().map(|op| op.cases).sum::<u64>()
        };
        let (_, all) = three_steps(&device, &graph, Some(Check::Every)).unwrap();
        let all = all.ops().map(|op| op.cases).sum::<u64>();
        assert_eq!(cases("hidden"), all, "the hidden layer is the first launch");
        assert_eq!(cases("matmul"), all);
        let (head, loss) = (cases("head"), cases("cross_entropy"));
        assert_eq!(cases("head/matmul"), head);
        assert!(0 < loss && loss < head && head < all, "{loss} {head} {all} on {device:?}");
        let label = {
            let mut session = session(&device, &graph);
            let program = session.compile(&graph).unwrap();
            let mut labels = program.schedule().launches.iter().map(|launch| launch.label.clone());
            labels.find(|label| label.starts_with("head/matmul#")).unwrap()
        };
        assert_eq!(cases(&label), head);
    }
}

#[test]
fn a_name_that_means_nothing_is_refused_with_near_ones() {
    let graph = MLP.step().unwrap();
    for device in devices() {
        let refused = |name: &str| match three_steps(&device, &graph, Some(Check::From(name.into()))) {
            Err(Error::Usage(message)) => message,
            other => panic!("{name:?} was taken: {other:?}"),
        };
        let message = refused("head.0");
        assert!(message.contains("\"head.0\"") && message.contains("scopes are head;"), "{message}");
        let message = refused("matmull");
        assert!(message.contains("operators are matmul"), "{message}");
        assert!(message.contains("scopes are head, hidden;"), "{message}");
        // No part of a name: `h` is not `head`.
        refused("h");
        refused("");
    }
}
