//! Settings and rows of the encoder and decoder: what is right, and what is told of what is wrong.

use super::Seq2Seq;
use crate::Model;
use nn_core::{DType, Device, Input, Session, StepScalars};
use nn_train::nn::{IGNORED, Layer, TargetKind};
use nn_train::{compile, trace_model};

type Change = fn(&mut Seq2Seq);

fn small() -> Seq2Seq {
    Seq2Seq {
        vocab_size: 11,
        d_model: 8,
        nhead: 2,
        num_encoder_layers: 1,
        num_decoder_layers: 2,
        dim_feedforward: 12,
        max_source: 5,
        max_target: 4,
        ..Seq2Seq::default()
    }
}

#[test]
fn settings_that_make_no_sense_are_named() {
    small().check().unwrap();
    Seq2Seq::default().check().unwrap();
    let cases: [(Change, &str); 9] = [
        (
            |model| model.activation = "tanh".into(),
            "model.config.activation = \"tanh\" is not supported; supported: relu, gelu",
        ),
        (
            |model| model.initializer = "zeros".into(),
            "model.config.initializer = \"zeros\" is not supported; supported: xavier_uniform",
        ),
        (|model| (model.d_model, model.nhead) = (9, 3), "model.config.d_model = 9 must be even"),
        (|model| model.nhead = 3, "model.config.d_model = 8 must be a multiple of model.config.nhead = 3"),
        (|model| model.nhead = 0, "model.config.nhead = 0 makes no sense"),
        (|model| model.num_decoder_layers = 0, "model.config.num_decoder_layers = 0 makes no sense"),
        (|model| model.dropout = 1.0, "model.config.dropout = 1 must be 0 or more and below 1"),
        (|model| model.label_smoothing = -0.1, "model.config.label_smoothing = -0.1 must be"),
        (
            |model| model.eos_token_id = 11,
            "model.config.eos_token_id = 11 is out of range: the vocabulary has the tokens 0 to 10",
        ),
    ];
    for (change, expected) in cases {
        let mut model = small();
        change(&mut model);
        let error = model.check().unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn lengths_and_vocabulary_come_from_the_data() {
    let pairs = |count, length| TargetKind::Sequences { count, length };
    let mut model = Seq2Seq { vocab_size: 0, max_source: 0, max_target: 0, ..small() };
    model.fit_vocabulary(12).unwrap();
    model.fit(&[9], pairs(12, 4)).unwrap();
    assert_eq!((model.vocab_size, model.max_source, model.max_target), (12, 5, 4));
    // Once more it fits.
    model.fit(&[9], pairs(12, 4)).unwrap();
    for (sample, targets, expected) in [
        (
            vec![12],
            pairs(12, 4),
            "room for 8 source and 4 target tokens, but model.config.max_source = 5; give 8, or 0",
        ),
        (vec![9], pairs(12, 5), "room for 4 source and 5 target tokens, but model.config.max_source = 5"),
        (vec![10], pairs(12, 5), "model.config.max_target = 4; give 5, or 0"),
        (vec![4], pairs(12, 4), "4 tokens and 4 targets a row"),
        (vec![9], pairs(13, 4), "the data has 13 tokens, but the model only 12; give vocab_size = 13"),
        (vec![9], TargetKind::Classes { count: 3 }, "the data has samples of shape [9] and 3 classes"),
        (vec![3, 3], pairs(12, 4), "samples of shape [3, 3]"),
    ] {
        let error = model.clone().fit(&sample, targets).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
    assert!(model.fit_vocabulary(13).unwrap_err().contains("vocab_size = 12"));
    let error = Seq2Seq { eos_token_id: 99, ..model }.fit(&[9], pairs(12, 4)).unwrap_err();
    assert!(error.contains("eos_token_id = 99"), "{error}");
}

#[test]
fn rows_hold_source_and_target() {
    let model = small();
    let row = model.row(&[7, 8, 9], &[4, 5]).unwrap();
    assert_eq!(row, (vec![7, 8, 9, 0, 0, 1, 4, 5, 0], vec![4, 5, 2, IGNORED]));
    assert_eq!(model.row(&[7, 8, 9, 7, 8], &[4, 5, 6]).unwrap().1, [4, 5, 6, 2]);
    for (source, target, expected) in [
        (vec![3; 6], vec![3], "a source of 6 tokens is too long for model.config.max_source = 5"),
        (vec![3], vec![3; 4], "a target of 4 tokens and its end are too long for model.config.max_target = 4"),
        (vec![], vec![3], "a source has no tokens"),
        (vec![3, 11], vec![3], "the source's token 11 at place 1 is out of range"),
        (
            vec![3],
            vec![11],
            "the target's token 11 at place 0 is out of range: the model's vocabulary has the tokens 0 to 10",
        ),
    ] {
        let error = model.row(&source, &target).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
    let wrong = trace_model(false, |s| {
        let x = s.input("x", DType::U32, [2, 8]);
        let y = model.forward(s, x);
        s.output("y", y);
        Ok(())
    });
    let error = wrong.unwrap_err().to_string();
    assert!(error.contains("here (rows, 5 + 4), not u32[2, 8]"), "{error}");
}

#[test]
fn tensors_are_named_as_those_of_pytorch() {
    let names = |model: &Seq2Seq| {
        let (_, declarations) = trace_model(true, |s| {
            let x = s.input("x", DType::U32, [1, 9]);
            let y = model.forward(s, x);
            s.output("y", y);
            Ok(())
        })
        .unwrap();
        declarations.iter().map(|declaration| declaration.name.clone()).collect::<Vec<_>>()
    };
    let tied = names(&small());
    for name in [
        "src_embedding.weight",
        "transformer.encoder.layers.0.self_attn.in_proj_weight",
        "transformer.encoder.norm.bias",
        "transformer.decoder.layers.1.multihead_attn.out_proj.bias",
        "transformer.decoder.layers.1.norm3.weight",
    ] {
        assert!(tied.iter().any(|found| found == name), "{name} is not in {tied:?}");
    }
    let apart = Seq2Seq { tie_word_embeddings: false, ..small() };
    assert_eq!(names(&apart).len(), tied.len() + 2);
    // A file may hold the one table under each of its names.
    assert_eq!(small().own_name("generator.weight"), None);
    assert_eq!(apart.own_name("generator.weight").as_deref(), Some("generator.weight"));
    assert_eq!(small().own_name("src_embedding.weight").as_deref(), Some("src_embedding.weight"));
}

/// The logits of one row, `(max_target, vocab_size)`, of a model with weights that only the seed decides.
fn logits(model: &Seq2Seq, source: &[u32], target: &[u32]) -> Vec<f32> {
    let mut session = Session::new(&Device::cpu());
    let (row, _) = model.row(source, target).unwrap();
    let mut compiled = compile(&mut session, false, 3, |s| {
        let x = s.input("x", DType::U32, [1, row.len()]);
        let y = model.forward(s, x);
        s.output("y", y);
        Ok(())
    })
    .unwrap();
    session.run(&mut compiled.program, &[("x", Input::U32(&row))], StepScalars::default()).unwrap();
    session.output(&mut compiled.program, "y").unwrap().as_f32().unwrap().to_vec()
}

#[test]
fn nobody_sees_padding_or_what_comes_later() {
    let model = small();
    let first = logits(&model, &[7, 8], &[4, 5, 6]);
    let other = logits(&model, &[7, 8], &[4, 5, 9]);
    // The third token is read at the last place only.
    assert_eq!(first[..33], other[..33]);
    assert!(first[33..] != other[33..]);
    assert!(logits(&model, &[7, 9], &[4, 5, 6])[..11] != first[..11]);
    let roomy = logits(&Seq2Seq { max_source: 9, ..model }, &[7, 8], &[4, 5, 6]);
    let apart = first.iter().zip(&roomy).fold(0.0f32, |worst, (a, b)| worst.max((a - b).abs()));
    assert!(apart < 1e-6, "{apart}");
}
