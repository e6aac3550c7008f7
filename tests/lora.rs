//! Low-rank adapters trained by the program, step for step as PEFT trains them (`scripts/make-golden-lora.py`), and
//! exchanged with it.

mod common;
mod program;

use nn_core::Device;
use nn_models::transformer::{Generator, Sampling};
use nn_models::{Bert, Gpt2, LanguageModel, Llama, Model};
use nn_train::train::{read_tensors, write_tensors};
use nn_train::{AdapterInfo, Layer, Lora, Trainer, read_adapter};
use program::{Folder, wgrad};
use safetensors::SafeTensors;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

const CASES: [&str; 3] = ["gpt2", "llama", "bert"];

fn golden(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/lora").join(case)
}

fn base(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/transformers").join(case)
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&text(path)).unwrap()
}

/// The `f32` tensors of a file, by name.
fn tensors(path: &Path) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let file = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let file = SafeTensors::deserialize(&file).unwrap();
    let values = |data: &[u8]| data.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    file.tensors().into_iter().map(|(name, view)| (name, (view.shape().to_vec(), values(view.data())))).collect()
}

/// The model that the case's base is.
fn model(case: &str) -> Box<dyn Model> {
    let config = text(&base(case).join("config.json"));
    match case {
        "bert" => Box::new(serde_json::from_str::<Bert>(&config).unwrap()),
        "gpt2" => Box::new(serde_json::from_str::<Gpt2>(&config).unwrap()),
        _ => Box::new(serde_json::from_str::<Llama>(&config).unwrap()),
    }
}

#[derive(Debug)]
struct Boxed(Box<dyn Model>);

impl Layer for Boxed {
    fn forward(&self, s: &mut nn_train::Scope, x: nn_core::Value) -> nn_core::Value {
        self.0.forward(s, x)
    }

    fn input_dtype(&self) -> nn_core::DType {
        self.0.input_dtype()
    }

    fn own_name(&self, name: &str) -> Option<String> {
        self.0.own_name(name)
    }
}

/// The first two rows of the case's data.
fn probe(case: &str) -> Vec<u32> {
    let (name, size, count) = if case == "bert" { ("x.npy", 4, 24) } else { ("tokens.npy", 2, 32) };
    let file = std::fs::read(base(case).join(name)).unwrap();
    let header = 10 + usize::from(u16::from_le_bytes([file[8], file[9]]));
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |number, &byte| number << 8 | u32::from(byte));
    file[header..].chunks(size).map(number).take(count).collect()
}

/// The case's base model with adapters.
fn trainer(case: &str, lora: Lora) -> Trainer {
    let mut trainer = Trainer::new(Boxed(model(case))).lora(lora).device(Device::cpu());
    trainer.build(&[probe(case).len() / 2]).unwrap();
    trainer.load(base(case).join("model.safetensors")).unwrap();
    trainer
}

/// The largest difference of the model's logits from PEFT's, as a share of the largest of them.
fn logits_differ(case: &str, trainer: &mut Trainer, name: &str) -> f64 {
    let (shape, expected) = tensors(&golden(case).join("logits.safetensors")).remove(name).unwrap();
    let found = trainer.predict(&probe(case)).unwrap();
    assert_eq!(found.shape().to_vec(), shape);
    let largest = expected.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    let differences = found.as_f32().unwrap().iter().zip(&expected).map(|(a, b)| f64::from((a - b).abs() / largest));
    differences.fold(0.0, f64::max)
}

/// Trains as PEFT did; the losses may differ so far, as shares.
fn trains_as_peft(case: &str, device: &str, most: f64) {
    let folder = Folder::new();
    let config = golden(case).join("run.toml").display().to_string();
    wgrad(&folder, &["train", &config, "--device", device, "--out", "run"]).succeeds();
    let run = folder.path().join("run");
    let lines = text(&run.join("metrics.jsonl"));
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let losses = lines.iter().filter(|line| line.get("lr").is_some()).map(|line| line["loss"].as_f64().unwrap());
    let losses: Vec<f64> = losses.collect();
    let expected: Vec<f64> =
        serde_json::from_value(json(&golden(case).join("expected.json"))["losses"].clone()).unwrap();
    assert_eq!(losses.len(), expected.len());
    let apart = losses.iter().zip(&expected).map(|(found, exact)| ((found - exact) / exact).abs()).fold(0.0, f64::max);

    // What was trained is where PEFT has it, and what was not keeps its bits.
    let (found, exact) = (
        tensors(&run.join("adapter/adapter_model.safetensors")),
        tensors(&golden(case).join("trained/adapter_model.safetensors")),
    );
    assert!(found.keys().eq(exact.keys()), "{case}: {:?}", found.keys());
    let mut weights_apart: f64 = 0.0;
    for (name, (shape, values)) in &exact {
        assert_eq!(&found[name].0, shape, "{case} {name}");
        let largest = values.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        let differences = found[name].1.iter().zip(values).map(|(a, b)| f64::from((a - b).abs() / largest));
        weights_apart = differences.fold(weights_apart, f64::max);
    }
    println!(
        "{case} on {device}: losses at most {apart:.1e} apart, adapters {weights_apart:.1e} of the largest weight"
    );
    assert!(apart <= most, "{case}: {losses:?} instead of {expected:?}");
    // Adam makes steps of its full size of gradients that are 0 but for rounding.
    assert!(weights_apart <= 100.0 * most, "{case}: {weights_apart}");
    let (merged, given) = (tensors(&run.join("model.safetensors")), tensors(&base(case).join("model.safetensors")));
    assert!(merged.keys().eq(given.keys()), "{case}");
    let adapters = trainer(case, read_adapter(run.join("adapter")).unwrap().lora).adapters().unwrap().clone();
    let changes = |name: &str| {
        let path = name.strip_suffix(".weight");
        adapters.trains(name) || adapters.layers().iter().any(|layer| Some(layer.path.as_str()) == path)
    };
    for (name, (_, values)) in &merged {
        let same = values.iter().zip(&given[name].1).all(|(a, b)| a.to_bits() == b.to_bits());
        assert_eq!(same, !changes(name), "{case} {name}");
    }

    // The settings are those that PEFT wrote, where it matters.
    let (found, exact) =
        (json(&run.join("adapter/adapter_config.json")), json(&golden(case).join("trained/adapter_config.json")));
    for key in [
        "peft_type",
        "r",
        "lora_alpha",
        "lora_dropout",
        "fan_in_fan_out",
        "bias",
        "task_type",
        "use_rslora",
        "use_dora",
    ] {
        assert_eq!(found[key], exact[key], "{case}: {key}");
    }

    // The run can be used without knowing of adapters, from its end and from a checkpoint.
    let last = lines.last().unwrap();
    assert!(last["trained_parameters"].as_u64().unwrap() < last["parameters"].as_u64().unwrap());
    for model in ["run", "run/checkpoints/step-000000020.safetensors"] {
        let found: Value =
            serde_json::from_str(&wgrad(&folder, &["eval", model, "--device", device, "--json"]).succeeds()).unwrap();
        let (found, exact) = (found["loss"].as_f64().unwrap(), last["eval_loss"].as_f64().unwrap());
        assert!(((found - exact) / exact).abs() <= 1e-5, "{case}, {model}: {found} instead of {exact}");
    }
}

#[test]
fn adapters_train_as_those_of_peft_on_the_cpu() {
    CASES.iter().for_each(|case| trains_as_peft(case, "cpu", 1e-5));
}

#[test]
fn adapters_train_as_those_of_peft_on_a_gpu() {
    let Some(device) = common::gpu() else { return };
    let name = format!("gpu:{}", device.as_gpu().expect("a GPU").info().name);
    CASES.iter().for_each(|case| trains_as_peft(case, &name, 1e-4));
}

/// PEFT's adapters give the logits that they give there, merged or not; what is saved of them is what PEFT was seen to
/// load with the same logits (`scripts/make-golden-lora.py check`).
#[test]
fn adapters_are_exchanged_with_peft() {
    for case in CASES {
        for name in ["start", "trained"] {
            let path = golden(case).join(name);
            let lora = Lora { dropout: 0.5, ..read_adapter(&path).unwrap().lora };
            let mut trainer = trainer(case, lora);
            trainer.load_adapter(&path).unwrap();
            let unmerged = logits_differ(case, &mut trainer, name);
            trainer.merge().unwrap();
            let merged = logits_differ(case, &mut trainer, name);
            println!("{case} {name}: logits {unmerged:.1e} apart, {merged:.1e} merged");
            assert!(unmerged <= 1e-5 && merged <= 1e-5, "{case} {name}: {unmerged} {merged}");
        }
        let targets: &[&str] = match case {
            "gpt2" => &["c_attn", "c_proj"],
            "llama" => &["q_proj", "self_attn.v_proj", "down_proj"],
            _ => &["query", "output.dense"],
        };
        let mut lora = read_adapter(golden(case).join("start")).unwrap().lora;
        lora.targets = targets.iter().map(|target| target.to_string()).collect();
        let mut trainer = trainer(case, lora);
        trainer.load_adapter(golden(case).join("start")).unwrap();
        let folder = Folder::new();
        let task_type = model(case).task_type();
        trainer.save_adapter(folder.path(), AdapterInfo { task_type, base_model: None }).unwrap();
        for name in ["adapter_config.json", "adapter_model.safetensors"] {
            let (found, known) = (folder.path().join(name), golden(case).join("saved").join(name));
            if std::env::var("WGRAD_BLESS").as_deref() == Ok("1") {
                std::fs::create_dir_all(known.parent().unwrap()).unwrap();
                std::fs::copy(&found, &known).unwrap();
            }
            assert!(std::fs::read(found).unwrap() == std::fs::read(known).unwrap(), "{case}: {name} is another file");
        }
    }
}

/// Copies an adapter with other names of tensors.
fn renamed(case: &str, folder: &Folder, name: impl Fn(&str) -> String) -> PathBuf {
    let (from, to) = (golden(case).join("start"), folder.path().join("renamed"));
    std::fs::create_dir_all(&to).unwrap();
    std::fs::copy(from.join("adapter_config.json"), to.join("adapter_config.json")).unwrap();
    let tensors = read_tensors(&from.join("adapter_model.safetensors")).unwrap().tensors;
    let tensors: Vec<_> = tensors.into_iter().map(|(known, tensor)| (name(&known), tensor)).collect();
    write_tensors(&to.join("adapter_model.safetensors"), &tensors, ("format", "pt")).unwrap();
    to
}

#[test]
fn adapters_of_a_model_without_its_head_fit_it_with_one() {
    let folder = Folder::new();
    let path = renamed("gpt2", &folder, |name| name.replace("transformer.", ""));
    let lora = read_adapter(&path).unwrap().lora;
    assert!(lora.targets.contains(&"h.1.mlp.c_proj".to_string()));
    let mut other = trainer("gpt2", lora);
    other.load_adapter(&path).unwrap();
    assert!(logits_differ("gpt2", &mut other, "start") <= 1e-5);
    // A tied last layer that was trained by itself is none that this model has: it must not be dropped in silence.
    let path = renamed("bert", &folder, |name| name.replace("classifier.weight", "lm_head.weight"));
    let mut tied = trainer("llama", Lora { targets: vec!["q_proj".into()], ..Lora::default() });
    let error = tied.load_adapter(&path).unwrap_err().to_string();
    assert!(error.contains("surplus: `lm_head.weight`"), "{error}");
}

#[test]
fn adapters_are_merged_into_weights_without_a_model() {
    let folder = Folder::new();
    for case in CASES {
        let (weights, adapter) = (base(case).join("model.safetensors"), golden(case).join("start"));
        let (weights, adapter) = (weights.display().to_string(), adapter.display().to_string());
        let out = format!("{case}.safetensors");
        wgrad(&folder, &["merge", &weights, &adapter, "--out", &out]).succeeds();
        let mut plain = Trainer::new(Boxed(model(case))).device(Device::cpu());
        plain.build(&[probe(case).len() / 2]).unwrap();
        plain.load(folder.path().join(&out)).unwrap();
        let apart = logits_differ(case, &mut plain, "start");
        assert!(apart <= 1e-5, "{case}: {apart}");
        let again = wgrad(&folder, &["merge", &weights, &adapter, "--out", &out]);
        assert!(again.code == Some(2) && again.errors.contains("exists already"), "{}", again.errors);
    }
    // Names may lack the model's prefix.
    let path = renamed("gpt2", &folder, |name| name.replace("transformer.", "")).display().to_string();
    let weights = base("gpt2").join("model.safetensors").display().to_string();
    wgrad(&folder, &["merge", &weights, &path, "--out", "short.safetensors"]).succeeds();
    let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    assert!(read("short.safetensors") == read("gpt2.safetensors"));
    // An adapter of another model, or of another size.
    let weights = base("qwen2").join("model.safetensors").display().to_string();
    for (case, expected) in [
        ("gpt2", "no tensor `transformer.h.0.attn.c_attn.weight`"),
        ("llama", "do not fit the weight `model.layers.0.self_attn.v_proj.weight` [8, 32]"),
    ] {
        let adapter = golden(case).join("start").display().to_string();
        let run = wgrad(&folder, &["merge", &weights, &adapter, "--out", "wrong.safetensors"]);
        assert!(run.code == Some(1) && run.errors.contains(expected), "{}", run.errors);
        assert!(!folder.path().join("wrong.safetensors").exists());
    }
}

#[test]
fn a_run_goes_on_with_the_same_bits() {
    let folder = Folder::new();
    let config = text(&golden("gpt2").join("run.toml")).replace("../../", &format!("{}/../", base("").display()));
    let config = config.replace("[lora]", "[lora]\ndropout = 0.3").replace("adapter = \"start\"\n", "");
    let config = config.replace("order = \"sequential\"", "validation = 0.2");
    std::fs::write(folder.path().join("run.toml"), config).unwrap();
    wgrad(&folder, &["train", "run.toml", "--device", "cpu", "--steps", "9", "--out", "straight"]).succeeds();
    wgrad(&folder, &["train", "run.toml", "--device", "cpu", "--steps", "4", "--out", "stopped"]).succeeds();
    let run = wgrad(&folder, &["train", "--resume", "stopped", "--device", "cpu", "--steps", "9"]);
    assert!(run.errors.contains("going on after step 4"), "{}", run.errors);
    run.succeeds();
    for file in ["model.safetensors", "adapter/adapter_model.safetensors", "adapter/adapter_config.json"] {
        let read = |run: &str| std::fs::read(folder.path().join(run).join(file)).unwrap();
        assert!(read("straight") == read("stopped"), "{file}");
    }
    // What a run leaves is replaced with it.
    let overwritten = ["train", "digits", "--steps", "1", "--device", "cpu", "--out", "stopped", "--overwrite"];
    wgrad(&folder, &overwritten).succeeds();
    assert!(!folder.path().join("stopped/adapter").exists());
}

#[test]
fn text_is_generated_with_and_without_merging() {
    for case in ["gpt2", "llama"] {
        let path = golden(case).join("trained");
        let language: Box<dyn LanguageModel> = match case {
            "gpt2" => Box::new(serde_json::from_str::<Gpt2>(&text(&base(case).join("config.json"))).unwrap()),
            _ => Box::new(serde_json::from_str::<Llama>(&text(&base(case).join("config.json"))).unwrap()),
        };
        let mut trainer = trainer(case, read_adapter(&path).unwrap().lora);
        trainer.load_adapter(&path).unwrap();
        let mut texts = Vec::new();
        for merged in [false, true] {
            if merged {
                trainer.merge().unwrap();
            }
            let mut generator = Generator::new().adapters(trainer.adapters());
            let sampling = Sampling { temperature: 0.0, ..Sampling::default() };
            let session = trainer.session_mut().unwrap();
            let each = |_| ControlFlow::Continue(());
            texts.push(generator.generate(&*language, session, &[3, 10, 17], 20, sampling, each).unwrap());
        }
        assert_eq!(texts[0], texts[1], "{case}");
    }
}

#[test]
fn all_linear_is_all_but_the_output_layer() {
    let all = |case: &str, model: Box<dyn Layer>| {
        let lora = Lora { targets: vec![Lora::ALL_LINEAR.into()], ..Lora::default() };
        let mut trainer = Trainer::new(model).lora(lora).device(Device::cpu());
        trainer.build(&[8]).unwrap_or_else(|error| panic!("{case}: {error}"));
        trainer.adapters().unwrap().layers().iter().map(|layer| layer.path.clone()).collect::<Vec<String>>()
    };
    // The weight of GPT-2's output layer is the table of tokens, which is none of its linear layers.
    assert_eq!(all("gpt2", Box::new(Boxed(model("gpt2")))).len(), 2 * 4);
    assert_eq!(all("llama", Box::new(Boxed(model("llama")))).len(), 2 * 7);
    let untied: Llama = serde_json::from_str(&text(&base("qwen2").join("config.json"))).unwrap();
    let layers = all("qwen2", Box::new(untied));
    assert!(layers.len() == 2 * 7 && !layers.contains(&"lm_head".into()), "{layers:?}");
    let layers = all("bert", Box::new(Boxed(model("bert"))));
    assert!(layers.len() == 2 * 6 + 1 && !layers.contains(&"classifier".into()), "{layers:?}");
}

#[test]
fn mistakes_are_told_with_what_there_is() {
    let folder = Folder::new();
    let config = text(&golden("llama").join("run.toml")).replace("../../", &format!("{}/../", base("").display()));
    let config = config.replace("adapter = \"start\"", &format!("adapter = {:?}", golden("llama").join("start")));
    let none = config.replace(&format!("adapter = {:?}\n", golden("llama").join("start")), "");
    let fault = |config: &str| {
        std::fs::write(folder.path().join("run.toml"), config).unwrap();
        let run = wgrad(&folder, &["train", "run.toml", "--device", "cpu", "--out", "run"]);
        assert!(run.code != Some(0) && !folder.path().join("run").exists(), "{config}");
        run.errors
    };
    for (config, expected) in [
        (none.clone(), "lora.targets is missing"),
        (none.replace("[lora]", "[lora]\ntargets = [\"c_attn\"]"), "\"c_attn\" names no linear layer"),
        (none.replace("[lora]", "[lora]\ntargets = [\"c_attn\"]"), "model.layers.*.self_attn.q_proj"),
        (none.replace("[lora]", "[lora]\ntargets = \"q_proj\"\nrank = 0"), "lora.rank = 0"),
        (none.replace("[lora]", "[lora]\ntargets = \"q_proj\"\nr = 3"), "unknown key lora.r"),
        (none.replace("[lora]", "[lora]\ntargets = \"q_proj\"\nmodules_to_save = [\"score\"]"), "\"score\""),
        (config.replace("[lora]\n", ""), "a section [lora]"),
        (config.replace("[lora]", "[lora]\nrank = 4"), "the adapter has rank 2, alpha 6, rslora"),
        (
            config.replace("[lora]", "[lora]\ntargets = [\"q_proj\"]"),
            "surplus: `model.layers.0.mlp.down_proj.lora_A.weight`",
        ),
        (config.replace("lora/llama/start", "lora/gpt2/start"), "names no linear layer"),
        (config.replace("lora/llama/start", "lora/absent"), "there is no such file"),
    ] {
        let errors = fault(&config);
        assert!(errors.contains(expected), "{errors} lacks {expected}");
    }
}
