//! Folders as people get them from the Hugging Face hub: their `config.json` as a configuration, and their weights.

use super::parse::drop_nulls;
use super::{Architecture, Config, Data, DataKind, Loss, Model, Output};
use crate::error::Error;
use nn_data::Tokenizer;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// `model_type` and the kind of model that reads it.
const KINDS: [(&str, &str); 7] = [
    ("gpt2", "gpt2"),
    ("llama", "llama"),
    ("qwen2", "llama"),
    ("mistral", "llama"),
    ("bert", "bert"),
    ("roberta", "bert"),
    ("distilbert", "distilbert"),
];
/// Weights in forms that are not read.
const OTHER_WEIGHTS: [&str; 6] = [
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "tf_model.h5",
    "flax_model.msgpack",
    "consolidated.00.pth",
    "adapter_model.safetensors",
];
/// The longest rows of texts that are evaluated if nothing is said.
const CONTEXT: usize = 512;

/// Whether the folder has the settings of a model of `transformers`.
pub(crate) fn is_hugging_face(folder: &Path) -> bool {
    folder.join("config.json").is_file()
}

/// The configuration of a folder with `config.json` and `tokenizer.json`, as `save_pretrained` of `transformers` writes
/// them: the model, its tokeniser, the classes' names. What ends a text is taken from `generation_config.json` if that says
/// it.
///
/// # Errors
/// If a file is missing or no JSON, the model is of a kind that is not supported, or has a setting that is not.
pub(crate) fn read_hugging_face(folder: &Path) -> Result<Config, Error> {
    let path = folder.join("config.json");
    let fault = |message: String| Error::usage(format!("{}: {message}", path.display()));
    let mut settings = read_object(&path)?;
    let name = settings.get("model_type").and_then(Value::as_str).ok_or_else(|| {
        fault(
            "it has no model_type, so the model is unknown; take a folder as save_pretrained of transformers writes it"
                .into(),
        )
    })?;
    let name = name.to_string();
    let kind = KINDS.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind).ok_or_else(|| {
        let known: Vec<&str> = KINDS.iter().map(|(known, _)| *known).collect();
        fault(format!("models of model_type {name:?} are not supported; supported: {}", known.join(", ")))
    })?;
    let class = settings.get("architectures").and_then(|classes| classes[0].as_str()).unwrap_or_default();
    if matches!(kind, "gpt2" | "llama") && class.contains("For") && !class.ends_with("ForCausalLM") {
        return Err(fault(format!("the model is a {class}; of {name} only models that write texts are supported")));
    }
    let generation = folder.join("generation_config.json");
    if generation.is_file()
        && let Some(ends) = read_object(&generation)?.remove("eos_token_id").filter(|ends| !ends.is_null())
    {
        settings.insert("eos_token_id".into(), ends);
    }
    let tokenizer = tokenizer(folder)?;
    let classes = if kind.ends_with("bert") { class_names(&settings) } else { None };
    let problem = settings.get("problem_type").and_then(Value::as_str).unwrap_or_default();
    if problem == "multi_label_classification" {
        return Err(fault(format!("problem_type = {problem:?} is not supported: classes must exclude each other")));
    }
    let regression = problem == "regression" || classes.as_ref().is_some_and(|names| names.len() == 1);

    let mut document = Value::Object(settings);
    drop_nulls(&mut document);
    let mut architecture = Architecture::deserialize(json!({"kind": kind, "config": document}))
        .map_err(|error| fault(format!("a setting cannot be understood: {error}")))?;
    architecture.model().check().map_err(fault)?;
    if architecture.model().answers_questions() {
        // The file does not say which token separates texts.
        let special = Tokenizer::load(&tokenizer)?.special();
        if let Some((pad, separator)) = special.pad.zip(special.sep) {
            architecture.model_mut().fit_special(pad, separator).map_err(fault)?;
        }
    }
    let context = architecture.model().longest_row().map_or(CONTEXT, |most| most.min(CONTEXT));
    Ok(Config {
        model: Model { weights: None, adapter: None, architecture },
        data: Data {
            kind: if kind.ends_with("bert") { DataKind::LabelledText } else { DataKind::Text },
            tokenizer: Some(tokenizer),
            context: Some(context),
            sample_shape: Some(vec![context]),
            classes,
            ..Data::default()
        },
        loss: Some(Loss { kind: if regression { "mse" } else { "cross_entropy" }.into(), delta: None }),
        lora: None,
        optimizer: Default::default(),
        train: Default::default(),
        schedule: Default::default(),
        checkpoint: Default::default(),
        output: Output::default(),
    })
}

/// The weights of such a folder: `model.safetensors`, or the index of several files.
///
/// # Errors
/// If there are none, or only some in a form that is not read.
pub(crate) fn hugging_face_weights(folder: &Path) -> Result<PathBuf, Error> {
    for name in ["model.safetensors", "model.safetensors.index.json"] {
        if folder.join(name).is_file() {
            return Ok(folder.join(name));
        }
    }
    let at = folder.display();
    let other = OTHER_WEIGHTS.iter().find(|name| folder.join(name).is_file());
    Err(Error::run(match other {
        Some(&"adapter_model.safetensors") => {
            format!("{at} has the weights of an adapter only; get the model that it is for, and add it by: wgrad merge")
        }
        Some(name) => format!(
            "{at} has weights in a form that is not read, {name}, but no model.safetensors; convert them in Python, by \
             from_pretrained and save_pretrained of transformers"
        ),
        None => format!(
            "{at} has no weights: there is neither model.safetensors nor model.safetensors.index.json; get them from where \
             config.json is from"
        ),
    }))
}

/// # Errors
/// If the folder has no `tokenizer.json`.
fn tokenizer(folder: &Path) -> Result<PathBuf, Error> {
    let path = folder.join("tokenizer.json");
    if path.is_file() {
        return Ok(path);
    }
    let other = ["tokenizer.model", "spiece.model", "vocab.json", "vocab.txt"];
    let other = other.into_iter().find(|name| folder.join(name).is_file());
    let other = other.map(|name| format!(", only {name}")).unwrap_or_default();
    Err(Error::run(format!(
        "{} has no tokenizer.json{other}; get it from where config.json is from, or write it in Python: \
         AutoTokenizer.from_pretrained(folder).save_pretrained(folder)",
        folder.display()
    )))
}

/// The names that `id2label` says, in the order of their numbers.
fn class_names(settings: &Map<String, Value>) -> Option<Vec<String>> {
    let names = settings.get("id2label")?.as_object()?;
    (0..names.len()).map(|class| names.get(&class.to_string())?.as_str().map(String::from)).collect()
}

/// # Errors
/// If the file cannot be read or holds no JSON object.
fn read_object(path: &Path) -> Result<Map<String, Value>, Error> {
    let at = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| Error::run(format!("cannot read {at}: {error}")))?;
    match serde_json::from_str(&text) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(Error::run(format!("{at}: it holds no JSON object; get the file again"))),
        Err(error) => Err(Error::run(format!("{at}: it is no JSON: {error}; get the file again"))),
    }
}
