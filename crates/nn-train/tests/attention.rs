//! Attention as one operator against the same by plain operators: results, gradients, second gradients and mistakes.

use nn_core::ops::Attention;
use nn_core::passes::differentiate;
use nn_core::{DType, Device, Session, StepScalars, Tensor, Trace, Value, graph};

/// Sizes: batch, queries, keys, heads, groups, size.
type Sizes = [usize; 6];

fn numbers(shape: &[usize], seed: f64) -> Tensor {
    let count = shape.iter().product::<usize>();
    let values: Vec<f32> = (0..count).map(|index| ((index as f64 + seed) * 12.9898).sin() as f32 * 1.2).collect();
    Tensor::from_f32(shape, &values).unwrap()
}

fn shapes([batch, queries, keys, heads, groups, size]: Sizes) -> [Vec<usize>; 3] {
    let key = vec![batch, keys, groups, size];
    [vec![batch, queries, heads, size], key.clone(), key]
}

/// The result and the gradients of Σ sin(y), in double precision; with `twice` those of the sum of squared gradients.
fn computed(sizes: Sizes, twice: bool, attend: impl Fn(&Trace, [Value; 3]) -> Value) -> Vec<Vec<f64>> {
    const NAMES: [&str; 3] = ["query", "key", "value"];
    let shapes = shapes(sizes);
    let traced = graph::trace(|trace| {
        let place = |place: usize| trace.state(NAMES[place], DType::F32, shapes[place].clone());
        let y = attend(trace, [place(0), place(1), place(2)]);
        trace.output("y", y);
        trace.output("loss", y.sin().sum_all());
        Ok(())
    });
    let mut graph = differentiate(&traced.unwrap(), "loss", &NAMES).unwrap();
    if twice {
        let (mut more, ()) = graph::extend(graph, |trace| {
            let squares = NAMES.map(|name| {
                let gradient = trace.existing_output(&format!("gradient/{name}")).unwrap();
                (gradient * gradient).sum_all()
            });
            trace.output("second", squares[0] + squares[1] * 0.5 + squares[2] * 2.0);
            Ok(())
        })
        .unwrap();
        more.outputs.retain(|(name, _)| !name.starts_with("gradient/"));
        graph = differentiate(&more, "second", &NAMES).unwrap();
    }
    let mut session = Session::new(&Device::oracle());
    for (place, name) in NAMES.iter().enumerate() {
        session.set_state(name, &numbers(&shapes[place], place as f64 * 0.37)).unwrap();
    }
    let mut program = session.compile(&graph).unwrap();
    session.run(&mut program, &[], StepScalars::new(3, 5, 0.0)).unwrap();
    let outputs = ["y".to_string()].into_iter().chain(NAMES.iter().map(|name| format!("gradient/{name}")));
    outputs.map(|name| session.output_f64(&mut program, &name).unwrap()).collect()
}

#[track_caller]
fn agree(found: &[Vec<f64>], expected: &[Vec<f64>], what: &str) {
    for (place, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found.len(), expected.len());
        let largest = expected.iter().fold(1.0_f64, |most, value| most.max(value.abs()));
        for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
            let off = (found - expected).abs();
            // Some thousand roundings of f64.
            assert!(off < 1e-12 * largest, "{what}: result {place}, element {index}: {found}, composed {expected}");
        }
    }
}

/// A name, sizes, whether causal, the window, dropout, and whether there are a mask and slopes.
type Variant = (&'static str, Sizes, bool, Option<usize>, f32, [bool; 2]);

/// What the options are that have no values, and whether there are a mask and slopes.
fn variants() -> Vec<Variant> {
    vec![
        ("plain", [2, 5, 7, 4, 2, 6], false, None, 0.0, [false; 2]),
        ("causal", [1, 70, 70, 2, 1, 5], true, None, 0.0, [false; 2]),
        ("without keys", [1, 6, 3, 2, 2, 3], true, None, 0.0, [false; 2]),
        ("window", [1, 9, 12, 2, 2, 3], true, Some(4), 0.0, [false; 2]),
        ("dropout", [2, 9, 9, 2, 1, 4], true, None, 0.4, [false; 2]),
        ("everything", [2, 6, 8, 4, 2, 3], true, Some(5), 0.3, [true; 2]),
    ]
}

fn compare(twice: bool) {
    for (label, sizes, causal, window, dropout, [masked, sloped]) in variants() {
        let [batch, queries, keys, heads, ..] = sizes;
        let options = |trace: &Trace| Attention {
            causal,
            window,
            mask: masked.then(|| trace.constant(&numbers(&[batch, 1, queries, keys], 0.1))),
            slopes: sloped.then(|| trace.constant(&numbers(&[heads], 0.2))),
            dropout,
            stream: 4,
            ..Attention::default()
        };
        let kernel = computed(sizes, twice, |trace, [q, k, v]| q.attention(k, v, &options(trace)));
        let composed = computed(sizes, twice, |trace, [q, k, v]| q.attention_composed(k, v, &options(trace)));
        assert!(composed.iter().flatten().all(|value| value.is_finite()), "{label}");
        assert!(composed.iter().all(|values| values.iter().any(|value| *value != 0.0)), "{label}");
        agree(&kernel, &composed, label);
    }
}

#[test]
fn the_operator_is_the_composition() {
    compare(false);
}

#[test]
fn so_is_the_gradient_of_its_gradient() {
    compare(true);
}

#[test]
fn a_mask_is_trained_by_the_composition() {
    let trained = |composed: bool| {
        let traced = graph::trace(|trace| {
            let x = trace.constant(&numbers(&[1, 3, 2, 4], 0.5));
            let mask = trace.state("mask", DType::F32, [2, 3, 3]);
            let options = Attention { mask: Some(mask), ..Attention::default() };
            let y = if composed { x.attention_composed(x, x, &options) } else { x.attention(x, x, &options) };
            trace.output("loss", y.sin().sum_all());
            Ok(())
        });
        differentiate(&traced.unwrap(), "loss", &["mask"]).map(|_| ())
    };
    assert!(trained(true).is_ok());
    let message = trained(false).expect_err("the operator gives it none").to_string();
    assert!(message.contains("no gradient reaches `mask`"), "{message}");
}

#[test]
fn mistakes_are_told() {
    let refused = |sizes: Sizes, options: &dyn Fn(&Trace) -> Attention, words: &str| {
        let result = graph::trace(|trace| {
            let [q, k, v] = shapes(sizes).map(|shape| trace.constant(&numbers(&shape, 0.0)));
            trace.output("y", q.attention(k, v, &options(trace)));
            Ok(())
        });
        let message = result.map(|_| ()).expect_err(words).to_string();
        assert!(message.contains(words), "{words:?} is not in: {message}");
    };
    let plain = |_: &Trace| Attention::default();
    refused([1, 2, 2, 3, 2, 4], &plain, "2 heads of keys don't divide 3 heads of queries");
    refused([1, 2, 2, 1, 1, 300], &plain, "size 300 are beyond 256");
    let dropped = |_: &Trace| Attention { dropout: 1.0, ..Attention::default() };
    refused([1, 2, 2, 1, 1, 4], &dropped, "not in 0..1");
    let masked = |trace: &Trace| Attention { mask: Some(trace.constant(&numbers(&[3], 0.0))), ..Attention::default() };
    refused([1, 2, 2, 1, 1, 4], &masked, "broadcasts to [1, 1, 2, 2]");
    let sloped =
        |trace: &Trace| Attention { slopes: Some(trace.constant(&numbers(&[3], 0.0))), ..Attention::default() };
    refused([1, 2, 2, 2, 1, 4], &sloped, "one for each head");
}
