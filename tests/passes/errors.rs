//! A user's mistake is told with the operator, the shapes, the scope and the user's own line.

use nn_core::graph::{self, Trace};
use nn_core::{DType, Error};

/// The message of a mistake on line `line` of this file, traced in the scope `blocks.3`.
#[track_caller]
fn assert_told(parts: &[&str], function: impl FnOnce(&Trace) -> u32) {
    let mut line = 0;
    let outcome = graph::trace(|trace| {
        line = trace.scoped("blocks", || trace.scoped("3", || function(trace)));
        Ok(())
    });
    let error = outcome.expect_err("the mistake was not noticed");
    assert!(matches!(error, Error::Trace { .. }), "{error}");
    let message = error.to_string();
    let place = format!("{}:{line}", file!());
    for part in parts.iter().copied().chain(["`blocks.3`", place.as_str()]) {
        assert!(message.contains(part), "expected {part:?} in: {message}");
    }
}

#[test]
fn products_that_do_not_fit() {
    assert_told(&["matmul", "[2, 3]", "[4, 5]"], |trace| {
        let [a, b] = [("a", [2, 3]), ("b", [4, 5])].map(|(name, shape)| trace.input(name, DType::F32, shape));
        a.matmul(b);
        line!() - 1
    });
}

#[test]
fn shapes_that_do_not_broadcast() {
    assert_told(&["add", "[2, 3]", "[4, 5]"], |trace| {
        let [a, b] = [("a", [2, 3]), ("b", [4, 5])].map(|(name, shape)| trace.input(name, DType::F32, shape));
        let _ = a + b;
        line!() - 1
    });
    assert_told(&["maximum", "[2, 3]", "[4, 5]"], |trace| {
        let [a, b] = [("a", [2, 3]), ("b", [4, 5])].map(|(name, shape)| trace.input(name, DType::F32, shape));
        a.maximum(b);
        line!() - 1
    });
}

#[test]
fn views_that_do_not_fit() {
    assert_told(&["reshape", "[2, 3]", "[4]", "6 elements"], |trace| {
        trace.input("a", DType::F32, [2, 3]).reshape([4]);
        line!() - 1
    });
    assert_told(&["slice", "[2, 3]", "[2, 2]"], |trace| {
        trace.input("a", DType::F32, [2, 3]).slice(&[1, 1], [2, 2]);
        line!() - 1
    });
    assert_told(&["permute", "[2, 3]", "[0, 0]"], |trace| {
        trace.input("a", DType::F32, [2, 3]).permute(&[0, 0]);
        line!() - 1
    });
}

#[test]
fn element_types_that_do_not_fit() {
    assert_told(&["add", "f32[2]", "u32[2]", "cast"], |trace| {
        let (a, b) = (trace.input("a", DType::F32, [2]), trace.input("b", DType::U32, [2]));
        let _ = a + b;
        line!() - 1
    });
}

#[test]
fn the_first_mistake_is_the_one_told() {
    assert_told(&["matmul", "[2, 3]", "[4, 5]"], |trace| {
        let [a, b] = [("a", [2, 3]), ("b", [4, 5])].map(|(name, shape)| trace.input(name, DType::F32, shape));
        let product = a.matmul(b);
        let line = line!() - 1;
        // What follows from it is not reported instead.
        let _ = product.reshape([1]) + b;
        line
    });
}

#[test]
fn names_used_twice_and_states_that_do_not_fit() {
    assert_told(&["\"a\"", "[2]", "[3]"], |trace| {
        trace.input("a", DType::F32, [2]);
        trace.input("a", DType::F32, [3]);
        line!() - 1
    });
    assert_told(&["output", "\"y\""], |trace| {
        let a = trace.input("a", DType::F32, [2]);
        trace.output("y", a);
        trace.output("y", a);
        line!() - 1
    });
    assert_told(&["update", "\"s\"", "f32[2]", "f32[3]"], |trace| {
        let a = trace.input("a", DType::F32, [3]);
        trace.state("s", DType::F32, [2]);
        trace.update("s", a);
        line!() - 1
    });
    assert_told(&["[2, 0]", "size 0"], |trace| {
        trace.input("a", DType::F32, [2, 0]);
        line!() - 1
    });
}
