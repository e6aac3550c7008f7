//! Drivers that compute wrong are found out, and the operator is named.

use crate::mlp::Mlp;
use crate::support::{assert_differs, broken, found, session, step, three_steps, traced};
use nn_core::graph::Graph;
use nn_core::{Check, DType, Fault};

const MLP: Mlp = Mlp { batch: 8, inputs: 6, hidden: 10, classes: 4 };

#[test]
fn a_wrong_matmul() {
    // The last product of every sum is missing.
    let wrong = broken(
        "matmul",
        "",
        "row < parameters.m && depth < parameters.k)",
        "row < parameters.m && depth + 1u < parameters.k)",
    );
    let Some(device) = wrong else { return };
    let graph = MLP.step().unwrap();
    let finding = found(&device, &graph, Check::Every);
    assert_differs(&finding, "matmul", "hidden");
    assert_eq!((finding.launch, finding.output), (0, 0));
    let shapes: Vec<Vec<usize>> =
        finding.inputs.iter().chain(&finding.outputs).map(|kind| kind.shape.to_vec()).collect();
    assert_eq!(shapes, [vec![8, 6], vec![6, 10], vec![8, 10]]);
    assert!(matches!(finding.fault, Fault::Differs { differing: 80, .. }), "{finding}");
    // A check that begins later trusts what was computed before.
    assert_differs(&found(&device, &graph, Check::From("head".into())), "matmul", "head");
    // Not finite it is not.
    three_steps(&device, &graph, Some(Check::Finite)).unwrap();
}

/// A group of four members of scope `mix`, whose last is its only result.
fn mix() -> Graph {
    traced(|trace| {
        let [a, b] = ["a", "b"].map(|name| trace.input(name, DType::F32, [6, 5]));
        let mixed = trace.scoped("mix", || {
            let squeezed = (a * b).tanh();
            (squeezed + a) * squeezed
        });
        trace.output("mixed", mixed);
    })
}

#[test]
fn a_wrong_member_of_a_group() {
    let Some(device) = broken("fused", "", "tanh(clamp(", "tanh(0.999 * clamp(") else { return };
    let finding = found(&device, &mix(), Check::Every);
    assert_differs(&finding, "tanh", "mix");
    let [argument] = finding.arguments[..] else { panic!("{finding}") };
    let Fault::Differs { expected, .. } = finding.fault else { panic!("{finding}") };
    assert!((argument.tanh() - expected).abs() < 1e-9, "the arguments are the element's: {finding}");
    assert!((0.999 * argument).tanh() - finding.found < 1e-6, "{finding}");
}

#[test]
fn a_member_that_is_wrong_in_its_group_only() {
    // The whole group stores another member's value. Alone, each member is right.
    let Some(device) = broken("fused", "let value_3", "[index] = value_3;", "[index] = value_2;") else { return };
    let finding = found(&device, &mix(), Check::Every);
    assert_differs(&finding, "multiply", "mix");
    assert!(finding.label.starts_with("mix/multiply#"), "{finding}");
    let Fault::Differs { expected, .. } = finding.fault else { panic!("{finding}") };
    assert!((finding.arguments[0] * finding.arguments[1] - expected).abs() < 1e-12, "{finding}");
    // A member in the middle, spoilt by what comes after it.
    let Some(device) = broken("fused", "let value_3", "value_0: f32 = ", "value_0: f32 = 1.001 * ") else { return };
    assert_differs(&found(&device, &mix(), Check::Every), "multiply", "mix");
}

#[test]
fn a_wrong_read_of_a_view() {
    // Every broadcast column is read as if it were the first.
    let Some(device) = broken("fused", "strides_", "rest % ", "0u * rest % ") else { return };
    let graph = traced(|trace| {
        let a = trace.input("a", DType::F32, [4, 3]);
        trace.output("sum", trace.scoped("turned", || a.transpose().exp() + 1.0));
    });
    assert_differs(&found(&device, &graph, Check::Every), "exp", "turned");
}

#[test]
fn a_wrong_reduction() {
    // The last element of each sum is missing, among forty million times the rounding that is allowed.
    let wrong = broken("reduce_workgroup", "", "parameters.reduced_count", "(parameters.reduced_count - 1u)");
    let Some(device) = wrong else { return };
    let graph = traced(|trace| {
        let x = trace.input("x", DType::F32, [3, 1000]);
        trace.output("sum", trace.scoped("loss", || x.sum(&[1])));
    });
    assert_differs(&found(&device, &graph, Check::Every), "sum", "loss");
}

#[test]
fn a_wrong_softmax() {
    let Some(device) = broken("softmax", "", "/ sum", "/ (1.0001 * sum)") else { return };
    let graph = traced(|trace| {
        let x = trace.input("x", DType::F32, [3, 10]);
        trace.output("y", trace.scoped("attention", || x.softmax(1)));
    });
    assert_differs(&found(&device, &graph, Check::Every), "softmax", "attention");
}

#[test]
fn a_wrong_update_in_place() {
    // The learning rate is the third of the step's numbers.
    let Some(device) = broken("fused", "", "bitcast<f32>(step[0].z)", "(1.001 * bitcast<f32>(step[0].z))") else {
        return;
    };
    let graph = MLP.step().unwrap();
    let finding = found(&device, &graph, Check::Every);
    assert_differs(&finding, "multiply", "");
    assert!(finding.arguments.contains(&f64::from(0.05_f32)), "{finding}");
    // The state itself: what is stored over the old value.
    let graph = traced(|trace| {
        let weight = trace.state("weight", DType::F32, [4, 4]);
        let gradient = trace.input("gradient", DType::F32, [4, 4]);
        trace.scoped("update", || trace.update("weight", weight - gradient * 0.5));
    });
    let Some(device) = broken("fused", "value_1", "= value_1;", "= value_0;") else { return };
    let finding = found(&device, &graph, Check::Every);
    assert_differs(&finding, "subtract", "update");
}

#[test]
fn wrong_integers() {
    let graph = traced(|trace| {
        let [a, b] = ["a", "b"].map(|name| trace.input(name, DType::U32, [10]));
        trace.output("sum", trace.scoped("count", || a + b * trace.scalar_u32(3)));
    });
    let Some(device) = broken("fused", "value_1", "value_0: u32 = ", "value_0: u32 = 1u + ") else { return };
    assert_differs(&found(&device, &graph, Check::Every), "add", "count");
    let graph = traced(|trace| {
        let x = trace.input("x", DType::F32, [5, 7]);
        trace.output("guess", trace.scoped("guess", || x.argmax(1)));
    });
    let Some(device) = broken("arg_reduce", "", "parameters.reduced_size", "(parameters.reduced_size - 1u)") else {
        return;
    };
    assert_differs(&found(&device, &graph, Check::Every), "argmax", "guess");
}

#[test]
fn nan_that_is_swallowed() {
    let graph = traced(|trace| {
        let x = trace.input("x", DType::F32, [4]);
        // −1 has no logarithm.
        trace.output("y", trace.scoped("clip", || (x * 0.0 - 1.0).log().maximum(0.5)));
    });
    let Some(device) = broken("fused", "", "> 0x7f800000u", "> 0x7fffffffu") else { return };
    let finding = found(&device, &graph, Check::Every);
    assert_eq!((finding.op.as_str(), finding.found), ("maximum", 0.5), "{finding}");
    assert!(matches!(finding.fault, Fault::Differs { expected, .. } if expected.is_nan()), "{finding}");
}

#[test]
fn a_finding_is_an_error_that_says_what_and_where() {
    let Some(device) = broken("softmax", "", "/ sum", "/ (1.0001 * sum)") else { return };
    let graph = traced(|trace| {
        let x = trace.input("x", DType::F32, [3, 10]);
        trace.output("y", trace.scoped("attention", || x.softmax(1)));
    });
    let mut session = session(&device, &graph);
    let mut program = session.compile(&graph).unwrap();
    session.set_check(Some(Check::Every));
    let text = step(&mut session, &mut program, 1).unwrap_err().to_string();
    let location = format!("traced at {}:", file!());
    for part in
        ["check: softmax in `attention` (attention/softmax#1, launch 0, ", &location, "computes wrong on", "f32[3, 10]"]
    {
        assert!(text.contains(part), "{text} lacks {part}");
    }
    // The report has the failure; without the check the run goes on.
    let wrong = session.check_report().ops().find(|op| op.op == "softmax").unwrap();
    assert!(wrong.cases == 1 && wrong.share > 1.0 && wrong.max_error > wrong.tolerance, "{wrong:?}");
    session.set_check(None);
    step(&mut session, &mut program, 2).unwrap();
    assert_eq!(session.results(&mut program, true).unwrap().len(), 1);
}
