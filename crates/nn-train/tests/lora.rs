//! Low-rank adapters: what they add, what they leave alone, and mistakes in asking for them.

use nn_core::{Device, Input, StepScalars, Tensor};
use nn_train::nn::{Dropout, Layer, Linear, Relu, Sequential};
use nn_train::optim::Adam;
use nn_train::train::{read_tensors, write_tensors};
use nn_train::{
    AdapterInfo, ArrayData, Error, Lora, Observer, StepReport, Trainer, compile, read_adapter, trace_model,
};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Linear layers at `0`, `3` and `5`, the last of which gives the output.
fn model() -> Sequential {
    let model = Sequential::new().add(Linear::new(4, 6)).add(Relu).add(Dropout::new(0.3));
    model.add(Linear::new(6, 6)).add(Relu).add(Linear::new(6, 3))
}

fn data() -> ArrayData {
    let inputs: Vec<f32> = (0..32 * 4).map(|place| ((place * 37) % 23) as f32 / 11.0 - 1.0).collect();
    ArrayData::with_classes(inputs, [4], (0..32).map(|row| row % 3).collect(), 3).unwrap()
}

fn lora(targets: &[&str]) -> Lora {
    Lora { rank: 2, alpha: 6.0, targets: targets.iter().map(|target| target.to_string()).collect(), ..Lora::default() }
}

fn plain() -> Trainer {
    Trainer::new(model()).device(Device::cpu()).seed(5).batch_size(8).optimizer(Adam::new(0.05)).steps(12)
}

fn built(lora: Lora) -> Trainer {
    let mut trainer = plain().lora(lora);
    trainer.build(&[4]).unwrap();
    trainer
}

fn message<T>(result: Result<T, Error>) -> String {
    result.err().map(|error| error.to_string()).unwrap_or_default()
}

/// Keeps losses and gradient norms.
#[derive(Default)]
struct Seen(Vec<(f32, f32)>);

impl Observer for Seen {
    fn on_step(&mut self, report: &StepReport) -> ControlFlow<()> {
        self.0.push((report.loss, report.gradient_norm));
        ControlFlow::Continue(())
    }
}

fn bits(tensors: &[(String, Tensor)], name: &str) -> Vec<u32> {
    let (_, tensor) = tensors.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("no {name}"));
    tensor.as_f32().unwrap().iter().map(|value| value.to_bits()).collect()
}

#[test]
fn adapters_leave_what_is_begun_and_drawn_as_it_is() -> Result<(), Error> {
    let mut without = plain();
    without.build(&[4])?;
    let before = without.state_dict()?;
    let mut with = built(Lora { dropout: 0.5, ..lora(&["0", "3"]) });
    let begun = with.state_dict()?;
    assert_eq!(begun.len(), before.len() + 4);
    for (name, _) in &before {
        assert_eq!(bits(&begun, name), bits(&before, name), "{name}");
    }
    // B begins at 0, so that the first loss is the model's own, with its own dropout.
    let (mut first, mut second) = (Seen::default(), Seen::default());
    without.fit(&data(), None, &mut first)?;
    with.fit(&data(), None, &mut second)?;
    assert_eq!(first.0[0].0.to_bits(), second.0[0].0.to_bits());
    assert!(first.0[1].0 != second.0[1].0, "the second step is of other parameters");
    Ok(())
}

#[test]
fn only_adapters_and_saved_modules_are_trained_and_have_optimizer_state() -> Result<(), Error> {
    let mut trainer = built(Lora { modules_to_save: vec!["5".into()], ..lora(&["3"]) });
    let before = trainer.state_dict()?;
    trainer.fit(&data(), None, &mut ())?;
    let after = trainer.state_dict()?;
    let trained = ["3.lora_A.weight", "3.lora_B.weight", "5.weight", "5.bias"];
    for (name, _) in &before {
        assert_eq!(bits(&before, name) != bits(&after, name), trained.contains(&name.as_str()), "{name}");
    }
    let states = trainer.session().unwrap().states();
    let kept: Vec<&str> = states.iter().filter_map(|(name, _)| name.strip_prefix("optimizer/")).collect();
    let mut expected: Vec<String> =
        trained.iter().flat_map(|name| [format!("m/{name}"), format!("v/{name}")]).collect();
    let mut kept: Vec<String> = kept.into_iter().map(String::from).collect();
    expected.sort();
    kept.sort();
    assert_eq!(kept, expected);
    // The norm of the gradients is that of the trained ones alone: with B = 0 that of B and the module.
    let mut frozen = Seen::default();
    built(lora(&["3"])).freeze("3.lora_B").fit(&data(), None, &mut frozen)?;
    assert_eq!(frozen.0[0].1, 0.0, "no gradient reaches A while B is 0");
    Ok(())
}

/// By the formula, in double precision.
#[test]
fn the_scale_is_that_of_the_paper_and_merging_keeps_the_outputs() -> Result<(), Error> {
    for (rslora, scale) in [(false, 3.0), (true, 6.0 / 2f64.sqrt())] {
        let mut trainer = built(Lora { rslora, dropout: 0.4, ..lora(&["0", "5"]) });
        trainer.fit(&data(), None, &mut ())?;
        let before = trainer.state_dict()?;
        let find = |name: &str| before.iter().find(|(known, _)| known == name).unwrap().1.as_f32().unwrap().to_vec();
        let inputs: Vec<f32> = (0..12).map(|place| place as f32 / 7.0 - 0.6).collect();
        let unmerged = trainer.predict(&inputs)?;
        trainer.merge()?;
        assert!(trainer.adapters().is_none());
        let after = trainer.state_dict()?;
        assert_eq!(after.len(), 6);
        for (path, [wide, tall]) in [("0", [4, 6]), ("5", [6, 3])] {
            let [w, a, b] = ["weight", "lora_A.weight", "lora_B.weight"].map(|part| find(&format!("{path}.{part}")));
            let merged = bits(&after, &format!("{path}.weight"));
            for (place, merged) in merged.iter().enumerate() {
                let (row, column) = (place / wide, place % wide);
                let product: f64 = (0..2).map(|k| f64::from(b[row * 2 + k]) * f64::from(a[k * wide + column])).sum();
                let exact = f64::from(w[place]) + product * scale;
                assert!(
                    (f64::from(f32::from_bits(*merged)) - exact).abs() <= exact.abs() * 1e-7,
                    "{path} {row},{column}"
                );
            }
            assert_eq!(merged.len(), wide * tall);
        }
        for name in ["0.bias", "3.weight", "3.bias", "5.bias"] {
            assert_eq!(bits(&before, name), bits(&after, name), "{name}");
        }
        let merged = trainer.predict(&inputs)?;
        for (a, b) in unmerged.as_f32()?.iter().zip(merged.as_f32()?) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
        // It goes on as one that never had adapters.
        trainer.fit(&data(), None, &mut ())?;
        assert!(bits(&after, "3.weight") != bits(&trainer.state_dict()?, "3.weight"));
    }
    Ok(())
}

#[test]
fn targets_are_paths_or_their_ends() {
    let (_, declarations) = trace_model(false, |s| {
        let x = s.input("x", nn_core::DType::F32, [2, 4]);
        let layer = |s: &mut nn_train::Scope, path: &str, x| s.scope(path, |s| Linear::new(4, 4).forward(s, x));
        let mut y = x;
        for path in
            ["blocks.0.attn.q_proj", "blocks.0.mlp.q_proj", "blocks.1.attn.q_proj", "blocks.1.attn.xq_proj", "head"]
        {
            y = layer(s, path, y);
        }
        s.output("y", y);
        Ok(())
    })
    .unwrap();
    let chosen = |lora: Lora| -> Vec<String> {
        lora.choose(&declarations).unwrap().layers().iter().map(|layer| layer.path.clone()).collect()
    };
    assert_eq!(chosen(lora(&["q_proj"])), ["blocks.0.attn.q_proj", "blocks.0.mlp.q_proj", "blocks.1.attn.q_proj"]);
    assert_eq!(chosen(lora(&["attn.q_proj"])), ["blocks.0.attn.q_proj", "blocks.1.attn.q_proj"]);
    assert_eq!(chosen(lora(&["blocks.0.mlp.q_proj", "head"])), ["blocks.0.mlp.q_proj", "head"]);
    let all = chosen(lora(&["all-linear"]));
    assert!(all.len() == 4 && !all.contains(&"head".to_string()), "{all:?}: the output's layer is left out");
    let saving = Lora { modules_to_save: vec!["attn".into()], ..lora(&["q_proj"]) };
    assert_eq!(chosen(saving.clone()), ["blocks.0.mlp.q_proj"]);
    assert_eq!(saving.choose(&declarations).unwrap().saved().len(), 6);

    let error = |lora: Lora| message(lora.choose(&declarations));
    let text = error(lora(&["q_proj", "k_proj"]));
    for part in
        ["\"k_proj\" names no linear layer", "blocks.*.attn.q_proj, blocks.*.mlp.q_proj, blocks.*.attn.xq_proj, head"]
    {
        assert!(text.contains(part), "{text} lacks {part}");
    }
    assert!(error(lora(&[])).contains("no targets") && error(lora(&["proj"])).contains("\"proj\" names no"));
    let text = error(Lora { modules_to_save: vec!["classifier".into()], ..lora(&["head"]) });
    assert!(text.contains("no such module") && text.contains("blocks.*.attn.q_proj"), "{text}");
    for (broken, expected) in [
        (Lora { rank: 0, ..lora(&["head"]) }, "rank = 0"),
        (Lora { alpha: f64::NAN, ..lora(&["head"]) }, "alpha = NaN"),
        (Lora { dropout: 1.0, ..lora(&["head"]) }, "dropout = 1"),
    ] {
        assert!(error(broken).contains(expected));
    }
}

#[test]
fn an_adapter_is_saved_and_loaded_and_misfits_are_listed() -> Result<(), Error> {
    let folder = folder("lora_files");
    let saved = folder.join("adapter");
    let asked = Lora { modules_to_save: vec!["5".into()], dropout: 0.1, ..lora(&["0", "3"]) };
    let mut trainer = built(asked.clone());
    trainer.fit(&data(), None, &mut ())?;
    trainer.save_adapter(&saved, AdapterInfo { task_type: Some("SEQ_CLS"), base_model: None })?;
    let file = read_adapter(&saved)?;
    assert_eq!(file.lora, asked);
    assert_eq!(file.tensors.len(), 6);
    let tensors = read_tensors(&saved.join("adapter_model.safetensors"))?.tensors;
    assert!(tensors.iter().all(|(name, _)| name.starts_with("base_model.model.")));

    // Into the same model, by the folder or the file.
    let base = folder.join("base.safetensors");
    let mut plain = plain();
    plain.build(&[4])?;
    plain.save(&base)?;
    for path in [saved.clone(), saved.join("adapter_model.safetensors")] {
        let mut other = built(file.lora.clone()).seed(6);
        other.load(&base)?;
        other.load_adapter(path)?;
        assert_eq!(other.state_dict()?, trainer.state_dict()?);
    }
    // A base may lack the module that is trained, but nothing else.
    let mut headless = read_tensors(&base)?.tensors;
    headless.retain(|(name, _)| !name.starts_with("5."));
    write_tensors(&base, &headless, ("format", "pt"))?;
    built(asked.clone()).load(&base)?;
    headless.retain(|(name, _)| name != "3.bias");
    write_tensors(&base, &headless, ("format", "pt"))?;
    let text = message(built(asked.clone()).load(&base));
    assert!(text.contains("missing: `3.bias`") && !text.contains("`5.") && !text.contains("lora_A"), "{text}");

    let text = message(built(Lora { rank: 3, ..asked.clone() }).load_adapter(&saved));
    assert!(text.contains("the adapter has rank 2, alpha 6") && text.contains("rank 3, alpha 6"), "{text}");
    let mut wrong = built(Lora { modules_to_save: Vec::new(), ..lora(&["0", "5"]) });
    let before = wrong.state_dict()?;
    let text = message(wrong.load_adapter(&saved));
    for part in ["missing: `5.lora_A.weight` [2, 6]", "surplus: `3.lora_B.weight` [6, 2]", "surplus: `5.bias` [3]"] {
        assert!(text.contains(part), "{text} lacks {part}");
    }
    assert_eq!(wrong.state_dict()?, before, "an error changes nothing");
    assert!(message(plain.load_adapter(&saved)).contains("no adapters"));
    let unbuilt = Trainer::new(model()).lora(asked.clone());
    assert!(message(unbuilt.save_adapter(&saved, AdapterInfo::default())).contains("build"));
    assert!(message(Trainer::new(model()).lora(asked).merge()).contains("build"));

    // Files of other kinds.
    let text = message(read_adapter(folder.join("absent")));
    assert!(text.contains("no such file") && text.contains("adapter_config.json"), "{text}");
    write_tensors(&saved.join("adapter_model.safetensors"), &headless, ("format", "pt"))?;
    assert!(message(read_adapter(&saved)).contains("`0.bias` is no adapter's"));
    let embedding = [("base_model.model.0.lora_embedding_A".to_string(), Tensor::from_f32([2, 4], &[0.0; 8])?)];
    write_tensors(&saved.join("adapter_model.safetensors"), &embedding, ("format", "pt"))?;
    assert!(message(read_adapter(&saved)).contains("lora_embedding_A` is of a kind of adapter that is not supported"));
    std::fs::write(saved.join("adapter_config.json"), "{\"peft_type\": \"IA3\"").unwrap();
    assert!(message(read_adapter(&saved)).contains("adapter_config.json: the adapter's settings cannot be read"));
    std::fs::write(saved.join("adapter_config.json"), "{\"peft_type\": \"IA3\"}").unwrap();
    assert!(message(read_adapter(&saved)).contains("peft_type = \"IA3\" is not supported"));
    Ok(())
}

#[test]
fn a_run_goes_on_with_the_same_bits() -> Result<(), Error> {
    let path = folder("lora_goes_on").join("run.safetensors");
    let asked = Lora { dropout: 0.5, modules_to_save: vec!["5".into()], ..lora(&["0", "3"]) };
    let mut straight = built(asked.clone());
    straight.fit(&data(), None, &mut ())?;

    struct Until(u32);
    impl Observer for Until {
        fn after_step(&mut self, _: &Trainer, step: u32) -> Result<ControlFlow<()>, Error> {
            Ok(if step == self.0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        }
    }
    let mut first = built(asked.clone());
    first.fit(&data(), None, &mut Until(5))?;
    first.save_training(&path)?;
    let mut second = built(asked);
    second.load_training(&path)?;
    second.fit(&data(), None, &mut ())?;
    assert_eq!(second.step(), 12);
    assert_eq!(second.state_dict()?, straight.state_dict()?);
    assert!(message(built(lora(&["3"])).load_training(&path)).contains("surplus: `0.lora_A.weight`"));
    Ok(())
}

#[test]
fn programs_of_ones_own_need_the_adapters() -> Result<(), Error> {
    let mut trainer = built(lora(&["0"]));
    trainer.fit(&data(), None, &mut ())?;
    let adapters = trainer.adapters().cloned();
    let inputs = [0.5, -0.25, 0.75, 1.0];
    let expected = trainer.predict(&inputs)?;
    let session = trainer.session_mut().unwrap();
    let text = message(compile(session, false, 0, |s| {
        let x = s.input("x", nn_core::DType::F32, [1, 4]);
        let y = model().forward(s, x);
        s.output("y", y);
        Ok(())
    }));
    assert!(text.contains("adapter of `0`") && text.contains("Scope::adapt"), "{text}");
    let mut own = compile(session, false, 0, |s| {
        s.adapt(adapters.as_ref().unwrap());
        let x = s.input("x", nn_core::DType::F32, [1, 4]);
        let y = model().forward(s, x);
        s.output("y", y);
        Ok(())
    })?;
    session.run(&mut own.program, &[("x", Input::F32(&inputs))], StepScalars::default())?;
    assert_eq!(session.output(&mut own.program, "y")?, expected);
    Ok(())
}
