//! Every operator and every loss, with gradients, against values that PyTorch computed (`scripts/make-golden.py`).

mod bound;
mod calls;
#[path = "../common/mod.rs"]
mod common;
mod file;

use bound::{
    arguments, attention, by_pytorch, forward, gradient, loss, node_of, normalised, or, resampled, single_constants,
    with_terms,
};
use file::{Case, cases};
use nn_core::graph::{Accuracy, Arithmetic, Graph, OpKind};
use nn_core::{DType, Device, Session};
use std::collections::{BTreeMap, BTreeSet};

/// Operators that no case is named after.
const INDIRECT: &[(&str, &str)] = &[
    (
        "random_bits",
        "PyTorch has no counter-based generator: the cases of unit_interval pass random bits on, against Philox in \
         Python, which the script checks against the known answers of the Random123 library",
    ),
    ("normalised_sums", "the gradients of normalised are made of it; it has no call of its own"),
    ("max_pool_gather", "the cases of max_pool_gradient have it as their gradient"),
    ("resample_gradient", "the gradients of resample are made of it; it has no call of its own"),
    ("sort_gradient", "the gradients of sort are made of it; it has no call of its own"),
    ("attention_gradient", "the gradients of attention are made of it; it has no call of its own"),
];

#[test]
fn every_operator_has_a_case() {
    let named: BTreeSet<String> = cases().into_iter().map(|case| case.op).collect();
    for name in nn_core::ops::names() {
        assert!(
            named.contains(name) || INDIRECT.iter().any(|(known, _)| *known == name),
            "{name} has no case: add one to scripts/golden/"
        );
    }
    let indirect = [
        ("random_bits", "unit_interval"),
        ("normalised_sums", "normalised"),
        ("max_pool_gather", "max_pool_gradient"),
        ("resample_gradient", "resample"),
        ("sort_gradient", "sort"),
        ("attention_gradient", "attention"),
    ];
    for (op, of) in indirect {
        let case = cases().into_iter().find(|case| case.op == of).expect("a case of it");
        let (graph, _) = calls::run(&case, &mut Session::new(&Device::oracle())).expect("it runs");
        assert!(graph.nodes().iter().any(|node| node.op().is_some_and(|known| known.name() == op)), "{op}");
    }
}

#[test]
fn oracle_agrees_with_pytorch() {
    check(&Device::oracle(), Arithmetic::Oracle);
}

#[test]
fn cpu_agrees_with_pytorch() {
    check(&Device::cpu(), Arithmetic::Cpu);
}

#[test]
fn gpu_agrees_with_pytorch() {
    if let Some(device) = common::gpu() {
        println!("on {}", device.name());
        check(&device, Arithmetic::Gpu);
    }
}

/// A bound that PyTorch's own single precision broke would be wrong.
#[test]
fn pytorch_in_single_precision_keeps_the_bounds() {
    let mut report = Report::default();
    // Whole numbers beyond 2²⁴ are there too, which the file of f32 cannot hold.
    let in_floats = |case: &Case| case.inputs.iter().any(|input| input.kind().dtype == DType::F32);
    for case in cases().into_iter().filter(in_floats) {
        let found: Vec<Vec<f64>> = case
            .references
            .iter()
            .map(|reference| reference.single.iter().map(|&value| f64::from(value)).collect())
            .collect();
        let graph = calls::build(&case).expect("a graph");
        compare(&case, &graph, By::PyTorch, &found, &mut report);
    }
    report.finish();
}

/// What was compared, and what is wrong.
#[derive(Default)]
struct Report {
    compared: usize,
    /// The largest share of its bound that an operator uses.
    shares: BTreeMap<String, f64>,
    mistakes: Vec<String>,
}

impl Report {
    fn finish(self) {
        println!("{} numbers compared; error / bound by operator:", self.compared);
        for (op, share) in &self.shares {
            println!("  {op:<24} {share:.3}");
        }
        assert!(self.compared > 5000, "only {} numbers were compared", self.compared);
        assert!(self.mistakes.is_empty(), "{} mistakes:\n{}", self.mistakes.len(), self.mistakes.join("\n"));
    }
}

fn check(device: &Device, arithmetic: Arithmetic) {
    let mut report = Report::default();
    for case in cases() {
        match calls::run(&case, &mut Session::new(device)) {
            Ok((graph, found)) => compare(&case, &graph, By::Us(arithmetic), &found, &mut report),
            Err(error) => report.mistakes.push(format!("{}: {error}", case.name)),
        }
    }
    report.finish();
}

/// The operands of each element of an elementwise operator's result.
fn operands(case: &Case) -> Vec<Vec<f64>> {
    let element = |index: usize| {
        let of = |place: usize| {
            let shape = case.inputs[place].shape();
            let (mut rest, mut offset, mut stride) = (index, 0, 1);
            for (axis, &size) in case.output.iter().enumerate().rev() {
                let coordinate = rest % size;
                rest /= size;
                let missing = case.output.rank() - shape.rank();
                if axis >= missing && shape[axis - missing] != 1 {
                    offset += coordinate * stride;
                    stride *= shape[axis - missing];
                }
            }
            case.number(place, offset)
        };
        (0..case.inputs.len()).map(of).collect()
    };
    (0..case.output.elements()).map(element).collect()
}

/// Who computed what is compared.
#[derive(Clone, Copy)]
enum By {
    Us(Arithmetic),
    /// In single precision on the CPU.
    PyTorch,
}

fn compare(case: &Case, graph: &Graph, by: By, found: &[Vec<f64>], report: &mut Report) {
    let arithmetic = if let By::Us(arithmetic) = by { arithmetic } else { Arithmetic::Cpu };
    let node = node_of(case, graph);
    // Broadcasting to the same shape is the one call that records nothing.
    let nothing = case.op == "broadcast" && case.inputs[0].shape() == &case.output;
    assert!(node.is_some() || nothing || case.op.starts_with("loss/"), "{} is not in its graph", case.op);
    let largest_of = |floats: &[f32]| {
        let finite = floats.iter().filter(|x| x.is_finite()).map(|x| f64::from(x.abs()));
        finite.fold(0.0, f64::max)
    };
    let floats: Vec<f32> = (0..case.inputs.len()).flat_map(|place| case.floats(place)).copied().collect();
    let largest = vec![largest_of(&floats); 3];
    let floats: Vec<f64> = floats.into_iter().map(f64::from).collect();
    let elementwise = node.is_some_and(|node| matches!(node.op_kind(), Some(OpKind::Elementwise(_))));
    let elements = elementwise.then(|| operands(case));
    let of_gradients =
        elements.as_ref().unwrap_or(&vec![largest.clone()]).iter().fold(Accuracy::default(), |worst, operands| {
            if case.gradients.is_empty() || case.op == "attention" {
                worst
            } else {
                or(worst, gradient(&case.op, arithmetic, operands))
            }
        });
    let of_result = |index: usize| match (node, &elements) {
        // The view is exact; what it shows is a formula.
        _ if case.op == "normalised" => normalised(arithmetic, largest[0], case.references[0].terms),
        _ if case.op == "attention" => attention(case, arithmetic, largest[0], None),
        // The sums are added to what was there.
        (Some(node), None) if case.op == "scatter_add" => {
            forward(graph, node, arithmetic, &largest) + Accuracy::rounded(arithmetic)
        }
        // One node an axis.
        _ if case.op == "resample" => resampled(case, arithmetic),
        (Some(node), Some(elements)) => {
            forward(graph, node, arithmetic, &arguments(graph, node, &|place| elements[index][place]))
        }
        (Some(node), None) => {
            forward(graph, node, arithmetic, &arguments(graph, node, &|place| largest_of(case.floats(place))))
        }
        (None, _) if nothing => Accuracy::EXACT,
        (None, _) => with_terms(loss(&case.op, arithmetic, largest[0]), &case.references[0]),
    };
    for (which, (reference, found)) in case.references.iter().zip(found).enumerate() {
        let what = if which == 0 { "result".into() } else { format!("gradient {}", case.gradients[which - 1]) };
        assert_eq!(reference.double.len(), found.len(), "{}: {what}", case.name);
        let (mut wrong, mut worst) = (0, (0.0, String::new()));
        for (index, (&expected, &found)) in reference.double.iter().zip(found).enumerate() {
            let operands = elements.as_ref().map_or(&largest, |all| all.get(index).unwrap_or(&largest));
            let accuracy = match by {
                _ if which > 0 && case.op == "attention" => {
                    attention(case, arithmetic, largest[0], Some(case.gradients[which - 1]))
                }
                _ if which > 0 => with_terms(of_gradients, reference),
                By::Us(_) => of_result(index),
                By::PyTorch => of_result(index) + by_pytorch(case, elementwise, reference, operands),
            };
            // Beyond the range of f32, infinity is right.
            let expected = if arithmetic == Arithmetic::Oracle || expected.abs() <= f64::from(f32::MAX) {
                expected
            } else {
                f64::from(expected as f32)
            };
            let given = if elements.is_some() { operands } else { &floats };
            if arithmetic == Arithmetic::Gpu && !promised(case, expected, given, elements.is_some()) {
                continue;
            }
            report.compared += 1;
            let mut allowed = accuracy.allows(arithmetic, expected, reference.magnitude);
            if arithmetic == Arithmetic::Oracle {
                // The reference's own errors are as large.
                allowed *= 2.0;
            }
            if which > 0 && arithmetic == Arithmetic::Oracle {
                allowed += single_constants(&case.op, expected, reference.magnitude);
            }
            let error = (found - expected).abs();
            let right = if expected.is_finite() {
                error <= allowed
            } else {
                (found.is_nan() && expected.is_nan()) || found == expected
            };
            if right && error > 0.0 {
                let share = report.shares.entry(case.op.clone()).or_default();
                *share = share.max(error / allowed);
            }
            if !right {
                let excess = if error.is_finite() { error / allowed } else { f64::INFINITY };
                if wrong == 0 || excess > worst.0 {
                    let numbers = format!("{found:e} instead of {expected:e}, off by {error:.2e}");
                    worst = (excess, format!("element {index}: {numbers} where {allowed:.2e} is allowed"));
                }
                wrong += 1;
            }
        }
        if wrong > 0 {
            let count = reference.double.len();
            report.mistakes.push(format!("{}: {what}, {wrong} of {count} wrong, the worst {}", case.name, worst.1));
        }
    }
}

/// What WGSL promises: finite results of finite numbers; and we, that NaN is kept. Infinities may be anything.
fn promised(case: &Case, expected: f64, given: &[f64], elementwise: bool) -> bool {
    if !case.special {
        return true;
    }
    if expected.is_nan() {
        let infinite = !elementwise && given.iter().any(|x| x.is_infinite());
        return given.iter().any(|x| x.is_nan()) && !infinite;
    }
    // Without a row of its own known, NaN in another row may stay what it is.
    let fine = |x: &f64| x.is_finite() || (x.is_nan() && !elementwise);
    let beyond_sine = matches!(case.op.as_str(), "sin" | "cos") && given.iter().any(|x| x.abs() > std::f64::consts::PI);
    expected.is_finite() && given.iter().all(fine) && !beyond_sine
}
