//! The tables of rotary embeddings against those of `transformers`, and what they do to queries and keys.

use nn_core::ops::RotaryPairing;
use nn_core::{DType, Device, Error, Input, Session, StepScalars, graph};
use nn_train::nn::{RotaryScaling, RotaryTable};

/// What may differ where the reference takes powers in single precision.
const SINGLE: f64 = 1e-6;

#[test]
fn angles_are_those_of_transformers() {
    let table = |theta: f64, size: usize, scaling: RotaryScaling| RotaryTable { theta, size, scaling };
    let ntk = RotaryScaling::Ntk { factor: 2.0, original_length: 32 };
    let llama3 = RotaryScaling::Llama3 {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: 8192,
    };
    let plain: &[f64] = &[1.0, 0.100_000_001, 0.009_999_999_8, 0.001_000_000_05];
    // By transformers 5.24: the rule of Llama without scaling, and ROPE_INIT_FUNCTIONS.
    let cases: [(RotaryTable, usize, &[f64]); 6] = [
        (RotaryTable::new(8), 100, plain),
        (
            table(1e4, 8, RotaryScaling::Linear { factor: 4.0 }),
            100,
            &[0.25, 0.025, 0.002_499_999_94, 0.000_250_000_012],
        ),
        (table(1e4, 8, ntk), 128, &[1.0, 0.052_275_795_5, 0.002_732_758_88, 0.000_142_857_141]),
        (table(1e4, 8, ntk), 20, plain),
        (table(1e4, 8, ntk), 32, plain),
        (
            table(5e5, 16, llama3),
            100,
            &[
                1.0,
                0.193_922_758,
                0.037_606_030_7,
                0.007_292_665_08,
                0.000_524_846_022,
                3.428_102_35e-5,
                6.647_869_67e-6,
                1.289_173_16e-6,
            ],
        ),
    ];
    for (table, length, expected) in cases {
        let found = table.angles(length).unwrap();
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().map(|&found| f64::from(found)).zip(expected) {
            assert!((found - expected).abs() < SINGLE * expected, "{table:?}, {length}: {found} instead of {expected}");
        }
    }
}

#[test]
fn tables_hold_the_cosines_and_sines_of_all_positions_or_of_some() -> Result<(), Error> {
    let table = RotaryTable::new(8);
    let graph = graph::trace(|trace| {
        let [cosine, sine] = table.table(trace, 9);
        let positions = trace.input("positions", DType::U32, [3]);
        let [some_cosine, some_sine] = table.at(positions, 9);
        for (name, value) in
            [("cosine", cosine), ("sine", sine), ("some cosine", some_cosine), ("some sine", some_sine)]
        {
            trace.output(name, value);
        }
        Ok(())
    })?;
    let mut session = Session::new(&Device::cpu());
    let mut program = session.compile(&graph)?;
    session.run(&mut program, &[("positions", Input::U32(&[7, 0, 9]))], StepScalars::default())?;
    let mut values =
        |name: &str| -> Result<Vec<f32>, Error> { Ok(session.output(&mut program, name)?.as_f32()?.to_vec()) };
    let [cosine, sine] = [values("cosine")?, values("sine")?];
    // LlamaRotaryEmbedding at position 7.
    let expected =
        [[0.753_902_26, 0.764_842_2, 0.997_551, 0.999_975_5], [0.656_986_6, 0.644_217_7, 0.069_942_85, 0.006_999_943]];
    for (found, expected) in [&cosine, &sine].into_iter().zip(expected) {
        assert_eq!(found.len(), 9 * 4);
        let apart = found[28..32].iter().zip(expected).map(|(found, expected)| (found - expected).abs());
        assert!(apart.fold(0.0, f32::max) < 1e-6, "{:?}", &found[28..32]);
    }
    for (some, all) in [(values("some cosine")?, &cosine), (values("some sine")?, &sine)] {
        assert_eq!(some[..8], [&all[28..32], &all[..4]].concat());
        assert!(some[8..].iter().all(|value| value.is_nan()), "position 9 is beyond the table");
    }
    Ok(())
}

/// Products of rotated queries and keys, `(length, length)`, of one head of four elements.
fn products(pairing: RotaryPairing) -> Result<Vec<f32>, Error> {
    let graph = graph::trace(|trace| {
        let [cosine, sine] = RotaryTable::new(4).table(trace, 6);
        let vector = |name: &str| trace.input(name, DType::F32, [4]).broadcast_to([1, 6, 1, 4]);
        let rotated = ["query", "key"].map(|name| vector(name).rotary(cosine, sine, pairing).reshape([6, 4]));
        trace.output("products", rotated[0].matmul(rotated[1].transpose()));
        Ok(())
    })?;
    let mut session = Session::new(&Device::cpu());
    let mut program = session.compile(&graph)?;
    let inputs = [("query", Input::F32(&[0.3, -1.2, 0.7, 2.0])), ("key", Input::F32(&[1.1, 0.4, -0.9, 0.6]))];
    session.run(&mut program, &inputs, StepScalars::default())?;
    Ok(session.output(&mut program, "products")?.as_f32()?.to_vec())
}

#[test]
fn products_depend_on_how_far_apart_positions_are_alone() -> Result<(), Error> {
    for pairing in [RotaryPairing::Half, RotaryPairing::Interleaved] {
        let products = products(pairing)?;
        for (row, column) in (1..6).flat_map(|row| (1..6).map(move |column| (row, column))) {
            let (here, before) = (products[row * 6 + column], products[(row - 1) * 6 + column - 1]);
            assert!((here - before).abs() < 2e-6, "{pairing:?} at {row}, {column}: {here}, before {before}");
        }
        assert!((products[1] - products[0]).abs() > 0.1, "{pairing:?} turns");
    }
    Ok(())
}

#[test]
fn what_makes_no_table_is_refused() {
    let with = |scaling: RotaryScaling| RotaryTable { scaling, ..RotaryTable::new(8) };
    let llama3 = |factor: f64, low: f64, high: f64| RotaryScaling::Llama3 {
        factor,
        low_freq_factor: low,
        high_freq_factor: high,
        original_max_position_embeddings: 16,
    };
    let cases = [
        (RotaryTable::new(7), "even number"),
        (RotaryTable::new(0), "even number"),
        (RotaryTable { theta: -1.0, ..RotaryTable::new(8) }, "theta"),
        (with(RotaryScaling::Linear { factor: 0.0 }), "factor"),
        (with(RotaryScaling::Ntk { factor: f64::NAN, original_length: 8 }), "factor"),
        (with(RotaryScaling::Ntk { factor: 2.0, original_length: 0 }), "original_length"),
        (RotaryTable { size: 2, ..with(RotaryScaling::Ntk { factor: 2.0, original_length: 8 }) }, "ntk"),
        (with(llama3(0.0, 1.0, 4.0)), "factor"),
        (with(llama3(8.0, 4.0, 4.0)), "below high_freq_factor 4"),
    ];
    for (table, part) in cases {
        let message = table.angles(16).expect_err("it is no table");
        assert!(message.contains(part), "{table:?}: {message}");
        let traced = graph::trace(|trace| {
            let [cosine, _] = table.table(trace, 16);
            trace.output("y", cosine + 1.0);
            Ok(())
        });
        assert!(traced.expect_err("it is refused").to_string().contains(part));
    }
    let odd = graph::trace(|trace| {
        let [cosine, sine] = RotaryTable::new(8).table(trace, 3);
        trace.output("y", trace.input("x", DType::F32, [1, 3, 2, 7]).rotary(cosine, sine, RotaryPairing::Half));
        Ok(())
    });
    let message = odd.expect_err("seven elements are not four pairs").to_string();
    assert!(message.contains("at most 3 pairs") && message.contains("[1, 3, 2, 7]"), "{message}");
}
