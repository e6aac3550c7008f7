//! Where NaN and infinity come from.

use crate::support::{devices, found, session, step, three_steps, traced};
use nn_core::graph::Graph;
use nn_core::{Check, DType, Error, Fault, Finding, Input, StepScalar, StepScalars, Tensor};

/// That an operator made NaN or infinity itself.
#[track_caller]
fn assert_made(finding: &Finding, op: &str, scope: &str) {
    assert_eq!((finding.op.as_str(), finding.scope.as_str()), (op, scope), "{finding}");
    assert!(finding.fault == Fault::NotFinite && !finding.found.is_finite(), "{finding}");
    for part in [op, scope, finding.label.as_str(), finding.device.as_str()] {
        assert!(finding.to_string().contains(part), "{finding}");
    }
}

#[test]
fn the_logarithm_of_a_sum_that_is_zero() {
    let graph = traced(|trace| {
        let x = trace.input("x", DType::F32, [3, 4]);
        let empty = (x * 0.0).sum(&[1]);
        let y = trace.scoped("normalise", || empty.log() * 2.0);
        trace.output("loss", (y - y.exp()).mean_all());
    });
    for device in devices() {
        let finding = found(&device, &graph, Check::Finite);
        assert_made(&finding, "log", "normalise");
        assert_eq!((finding.element.as_slice(), finding.found), (&[0][..], f64::NEG_INFINITY), "{finding}");
        assert_eq!(finding.arguments, [0.0], "{finding}");
    }
}

#[test]
fn a_quotient_of_zeros_in_the_middle_of_a_group() {
    let graph = traced(|trace| {
        let [a, b] = ["a", "b"].map(|name| trace.input(name, DType::F32, [2, 3]));
        // Zero in the last column only.
        let last = trace.constant(&Tensor::from_f32([3], &[1.0, 1.0, 0.0]).unwrap());
        let (above, below) = (a.tanh() * last, (b * b + 1.0) * last);
        let share = trace.scoped("ratio", || above / below);
        trace.output("y", (share * a + 1.0).relu());
    });
    for device in devices() {
        let finding = found(&device, &graph, Check::Finite);
        assert_made(&finding, "divide", "ratio");
        assert!(finding.found.is_nan() && finding.element == [0, 2], "{finding}");
        assert_eq!(finding.arguments, [0.0, 0.0].map(|zero| zero * finding.arguments[0].signum()), "{finding}");
    }
}

#[test]
fn an_exponential_that_overflows() {
    let graph = traced(|trace| {
        let x = trace.input("x", DType::F32, [4]);
        let big = trace.scoped("head", || (x * x + 100.0).exp());
        // Not `big − big`, which a driver may take for 0.
        trace.output("y", (big - (x * x + 200.0).exp()).sum_all());
    });
    for device in devices() {
        let finding = found(&device, &graph, Check::Finite);
        assert_made(&finding, "exp", "head");
        assert!(finding.found == f64::INFINITY && finding.arguments[0] >= 100.0, "{finding}");
    }
}

#[test]
fn a_kernel_that_overflows() {
    let graph = traced(|trace| {
        let x = trace.input("x", DType::F32, [3, 4]);
        let large = (x.abs() + 1.0) * 1e30;
        let product = trace.scoped("scores", || large.matmul(large.transpose()));
        trace.output("y", product.softmax(1));
    });
    for device in devices() {
        let finding = found(&device, &graph, Check::Finite);
        assert_made(&finding, "matmul", "scores");
        assert_eq!(finding.element, [0, 0]);
    }
}

#[test]
fn what_a_group_masks_away_is_no_matter() {
    let graph = traced(|trace| {
        let x = trace.input("x", DType::F32, [8]);
        // The logarithm of negative numbers is NaN, which `select` leaves out.
        let safe = x.greater(0.0).select(x.log(), 0.0);
        // Its sibling is not: what is found is where it began, not the first member that is NaN.
        let root = trace.scoped("root", || (x - 100.0).sqrt());
        trace.output("y", safe);
        trace.output("z", safe + root);
    });
    let harmless = traced(|trace| {
        let x = trace.input("x", DType::F32, [8]);
        trace.output("y", x.greater(0.0).select(x.log(), 0.0) * 2.0);
    });
    for device in devices() {
        three_steps(&device, &harmless, Some(Check::Finite)).unwrap();
        assert_made(&found(&device, &graph, Check::Finite), "sqrt", "root");
    }
}

/// Scores with −∞ where the mask is 1.
fn masked(mask: &[f32]) -> Graph {
    traced(|trace| {
        let x = trace.input("x", DType::F32, [2, 3]);
        let mask = trace.constant(&Tensor::from_f32([2, 3], mask).unwrap());
        let scores = mask.greater(0.0).select(x.full_like(f32::NEG_INFINITY), x + 1.0);
        trace.output("weights", trace.scoped("attention", || scores.softmax(1)));
        // Infinity made of infinity begins nowhere new.
        trace.output("total", scores.sum(&[1]));
    })
}

#[test]
fn infinity_that_stands_in_the_program_is_meant() {
    for device in devices() {
        three_steps(&device, &masked(&[0.0, 1.0, 1.0, 0.0, 0.0, 1.0]), Some(Check::Finite)).unwrap();
        // A row that is masked away whole is NaN, and that nobody means.
        let finding = found(&device, &masked(&[0.0, 1.0, 1.0, 1.0, 1.0, 1.0]), Check::Finite);
        assert_made(&finding, "softmax", "attention");
        assert!(finding.found.is_nan() && finding.element == [1, 0], "{finding}");
    }
}

#[track_caller]
fn given(result: Result<u64, Error>, op: &str, name: &str, element: &[usize]) {
    let Err(Error::Check(finding)) = result else { panic!("{result:?}") };
    println!("{finding}");
    assert!(matches!(&finding.fault, Fault::Given { reader } if reader.contains('#')), "{finding}");
    assert_eq!((finding.op.as_str(), finding.label.as_str(), &*finding.element), (op, name, element), "{finding}");
}

#[test]
fn what_was_handed_in_is_named() {
    let graph = traced(|trace| {
        let x = trace.input("x", DType::F32, [2, 3]);
        let weight = trace.state("weight", DType::F32, [4, 3]);
        let rate = trace.step_scalar(StepScalar::LearningRate);
        let y = trace.scoped("layer", || x.matmul(weight.transpose()).tanh());
        trace.output("y", y * rate);
    });
    for device in devices() {
        let mut session = session(&device, &graph);
        let mut program = session.compile(&graph).unwrap();
        session.set_check(Some(Check::Finite));
        step(&mut session, &mut program, 1).unwrap();
        let (x, rate) = ([1.0, 2.0, 3.0, 4.0, f32::NAN, 6.0], StepScalars::new(2, 0, 0.1));
        given(session.run(&mut program, &[("x", Input::F32(&x))], rate), "input", "x", &[1, 1]);
        let nan = StepScalars::new(2, 0, f32::NAN);
        let fine = [0.5; 6];
        given(session.run(&mut program, &[("x", Input::F32(&fine))], nan), "step scalar", "learning_rate", &[]);
        let mut weight = session.state("weight").unwrap().as_f32().unwrap().to_vec();
        weight[7] = f32::INFINITY;
        session.set_state("weight", &Tensor::from_f32([4, 3], &weight).unwrap()).unwrap();
        // The matrix product reads the weight transposed; the element is that of the weight itself.
        given(session.run(&mut program, &[("x", Input::F32(&fine))], rate), "state", "weight", &[2, 1]);
    }
}

#[test]
fn an_update_in_place_that_overflows_leaves_the_state_as_it_was() {
    let graph = traced(|trace| {
        let weight = trace.state("weight", DType::F32, [3]);
        let factor = trace.input("factor", DType::F32, [3]);
        trace.scoped("update", || trace.update("weight", weight * factor * 10.0));
    });
    for device in devices() {
        let mut session = session(&device, &graph);
        let before = Tensor::from_f32([3], &[1.0, 2.0, 3.0]).unwrap();
        session.set_state("weight", &before).unwrap();
        let mut program = session.compile(&graph).unwrap();
        session.set_check(Some(Check::Finite));
        let run = session.run(&mut program, &[("factor", Input::F32(&[1.0, 1e38, 3e38]))], StepScalars::default());
        let Err(Error::Check(finding)) = run else { panic!("{run:?}") };
        assert_made(&finding, "multiply", "update");
        // Element 1 overflows in the second product, element 2 in the first; both are where they began.
        assert_eq!((finding.element.as_slice(), finding.arguments[1]), (&[1][..], 10.0), "{finding}");
        assert_eq!(session.state("weight").unwrap(), before);
    }
}
