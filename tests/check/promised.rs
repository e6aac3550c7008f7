//! What WGSL leaves open is no fault: infinities, denormal numbers, products merged into sums. What it does not is.

use crate::support::{assert_differs, broken, session, traced};
use nn_core::graph::Graph;
use nn_core::{Check, CheckReport, DType, Device, Error, Input, StepScalars};

/// One checked run of a graph over `f32` inputs.
fn run(device: &Device, graph: &Graph, inputs: &[(&str, &[f32])]) -> Result<CheckReport, Error> {
    let mut session = session(device, graph);
    let mut program = session.compile(graph)?;
    session.set_check(Some(Check::Every));
    let inputs: Vec<(&str, Input<'_>)> = inputs.iter().map(|(name, values)| (*name, Input::F32(values))).collect();
    session.run(&mut program, &inputs, StepScalars::default())?;
    Ok(session.take_check_report())
}

fn elements(report: &CheckReport, op: &str) -> u64 {
    report.ops().filter(|known| known.op == op).map(|known| known.elements).sum()
}

fn exponentials() -> Graph {
    traced(|trace| trace.output("y", trace.input("x", DType::F32, [4]).exp()))
}

fn product() -> Graph {
    traced(|trace| {
        let [a, b] = ["a", "b"].map(|name| trace.input(name, DType::F32, [2, 2]));
        trace.output("y", a.matmul(b));
    })
}

const STRAYS: [f32; 4] = [1.0, f32::NEG_INFINITY, f32::NAN, 2.0];

#[test]
fn an_elementwise_operator_of_infinity() {
    let wrong = "select(exp(input_0), 7.0, abs(input_0) > 3e38)";
    let Some(device) = broken("fused", "", "exp(input_0)", wrong) else { return };
    let report = run(&device, &exponentials(), &[("x", &STRAYS)]).unwrap();
    assert_eq!(elements(&report, "exp"), 3, "the infinite argument is left out");
    // The CPU keeps to IEEE 754, infinities included.
    let report = run(&Device::cpu(), &exponentials(), &[("x", &STRAYS)]).unwrap();
    assert_eq!(elements(&report, "exp"), 4);
    // NaN must stay.
    let swallowed = "select(exp(input_0), 7.0, (bitcast<u32>(input_0) & 0x7fffffffu) > 0x7f800000u)";
    let Some(device) = broken("fused", "", "exp(input_0)", swallowed) else { return };
    let Err(Error::Check(finding)) = run(&device, &exponentials(), &[("x", &STRAYS)]) else {
        panic!("NaN may not be swallowed");
    };
    assert_eq!((finding.op.as_str(), &*finding.element, finding.found), ("exp", &[2][..], 7.0), "{finding}");
}

#[test]
fn a_kernel_over_infinity() {
    // What the infinite element reaches is one row of the product; there this driver makes 7 of it.
    let read = "return left[start + row * parameters.left_row_stride + depth * parameters.left_column_stride];";
    let wrong = "let x = left[start + row * parameters.left_row_stride + depth * parameters.left_column_stride];
        return select(x, 7.0, abs(x) > 3e38);";
    let Some(device) = broken("matmul", "", read, wrong) else { return };
    let b = [1.0, 2.0, 3.0, 4.0];
    let report = run(&device, &product(), &[("a", &[1.0, f32::INFINITY, 2.0, 3.0]), ("b", &b)]).unwrap();
    assert_eq!(elements(&report, "matmul"), 2, "the row of the infinite element is left out");
    let a = [1.0, f32::INFINITY, 2.0, 3.0];
    assert_eq!(elements(&run(&Device::cpu(), &product(), &[("a", &a), ("b", &b)]).unwrap(), "matmul"), 4);
    let swallowed = "let x = left[start + row * parameters.left_row_stride + depth * parameters.left_column_stride];
        return select(x, 7.0, (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u);";
    let Some(device) = broken("matmul", "", read, swallowed) else { return };
    let result = run(&device, &product(), &[("a", &[f32::INFINITY, 1.0, f32::NAN, 3.0]), ("b", &b)]);
    let Err(Error::Check(finding)) = result else { panic!("NaN may not be swallowed") };
    assert_eq!((finding.op.as_str(), finding.element[0]), ("matmul", 1), "{finding}");
}

#[test]
fn denormal_arguments_may_be_taken_for_zero() {
    let scaled = traced(|trace| {
        let [a, b] = ["a", "b"].map(|name| trace.input(name, DType::F32, [2, 2]));
        trace.output("y", a * b);
    });
    let (a, b) = ([1e-40, 1.0, 2.0, 3.0], [1e38, 1.0, 1.0, 1.0]);
    let flush = "select(input_0, 0.0, abs(input_0) < 1.1754943e-38) * input_1";
    if let Some(device) = broken("fused", "", "input_0 * input_1", flush) {
        let report = run(&device, &scaled, &[("a", &a), ("b", &b)]).unwrap();
        assert_eq!(elements(&report, "multiply"), 4);
    }
    // A number that is not denormal may not.
    if let Some(device) =
        broken("fused", "", "input_0 * input_1", "select(input_0, 0.0, abs(input_0) < 2e-38) * input_1")
    {
        run(&device, &scaled, &[("a", &[1.5e-38, 1.0, 2.0, 3.0]), ("b", &b)]).unwrap_err();
    }
    let read = "return left[start + row * parameters.left_row_stride + depth * parameters.left_column_stride];";
    let flush = "let x = left[start + row * parameters.left_row_stride + depth * parameters.left_column_stride];
        return select(x, 0.0, abs(x) < 1.1754943e-38);";
    if let Some(device) = broken("matmul", "", read, flush) {
        run(&device, &product(), &[("a", &a), ("b", &b)]).unwrap();
    }
}

#[test]
fn a_product_may_be_merged_into_a_sum() {
    let graph = traced(|trace| {
        let [a, b, c] = ["a", "b", "c"].map(|name| trace.input(name, DType::F32, [2]));
        trace.output("y", trace.scoped("sum", || a * b + c));
    });
    // The sum cancels, so that the rounding of the products, of which one unit is 1e-6, is all that is left of it.
    // Drivers without a merged operation are given what it may leave.
    let (a, b) = ([1.234_567_8_f32, 3.3], [7.654_321_f32, 2.9]);
    let c = [-(a[0] * b[0]), -(a[1] * b[1])];
    let inputs: [(&str, &[f32]); 3] = [("a", &a), ("b", &b), ("c", &c)];
    let sum = "value_0 + input_2";
    for merged in ["fma(input_0, input_1, input_2)", "value_0 + input_2 + 5e-7"] {
        if let Some(device) = broken("fused", "", sum, merged) {
            run(&device, &graph, &inputs).unwrap();
        }
    }
    if let Some(device) = broken("fused", "", sum, "value_0 + input_2 + 4e-6") {
        let Err(Error::Check(finding)) = run(&device, &graph, &inputs) else { panic!("4e-6 is more than one unit") };
        assert_differs(&finding, "add", "sum");
    }
}

#[test]
fn a_comparison_may_turn_by_the_rounding_of_its_argument_and_no_further() {
    let graph = traced(|trace| {
        let [a, b] = ["a", "b"].map(|name| trace.input(name, DType::F32, [2]));
        let above = trace.scoped("limit", || (a * b).greater(trace.input("limit", DType::F32, [2])));
        trace.output("y", above);
    });
    let (a, b) = ([1.234_567_8_f32, 3.3], [7.654_321_f32, 0.3]);
    let limit = [a[0] * b[0], a[1] * b[1]];
    let inputs: [(&str, &[f32]); 3] = [("a", &a), ("b", &b), ("limit", &limit)];
    let Some(device) = broken("fused", "", "value_0 > input_2", "value_0 >= input_2") else { return };
    run(&device, &graph, &inputs).unwrap();
    if let Some(device) = broken("fused", "", "value_0 > input_2", "value_0 > input_2 - 0.01") {
        let far = [limit[0] + 0.001, limit[1]];
        run(&device, &graph, &[inputs[0], inputs[1], ("limit", &far)]).unwrap_err();
    }
    // Compared with what the group does not compute, nothing is rounded.
    let graph = traced(|trace| {
        let [a, b] = ["a", "b"].map(|name| trace.input(name, DType::F32, [2]));
        trace.output("y", trace.scoped("limit", || a.greater(b)));
    });
    let Some(device) = broken("fused", "", "input_0 > input_1", "input_0 >= input_1") else { return };
    let Err(Error::Check(finding)) = run(&device, &graph, &[("a", &a), ("b", &[a[0], 9.0])]) else {
        panic!("equal numbers are not greater");
    };
    assert_eq!((finding.op.as_str(), finding.found), ("greater", 1.0), "{finding}");
}
