//! Low-rank adapters as files: the folder that Hugging Face's library PEFT writes and reads.

use super::files::{TensorFile, read_tensors, write_tensors, write_whole};
use crate::Error;
use crate::scope::{Adapters, Lora, WeightLayout, adapter_path};
use nn_core::Tensor;
use serde_json::{Map, Value, json};
use std::path::Path;

const CONFIG: &str = "adapter_config.json";
const TENSORS: &str = "adapter_model.safetensors";
/// What PEFT's wrappers put before a tensor's name.
const PREFIX: &str = "base_model.model.";

/// Keys of `adapter_config.json` that change nothing of what an adapter computes once its tensors are known: records, what
/// chose the layers, how a weight lies (which each layer knows), and what only counts beside another key.
const WITHOUT_EFFECT: &[&str] = &[
    "auto_mapping",
    "base_model_name_or_path",
    "ensure_weight_tying",
    "exclude_modules",
    "fan_in_fan_out",
    "inference_mode",
    "layers_pattern",
    "layers_to_transform",
    "megatron_core",
    "modules_to_save",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "target_modules",
    "task_type",
];

/// Ways to begin that leave the model's own weights as they were.
const INITIALISATIONS: &[&str] = &["gaussian", "eva", "orthogonal"];

/// An adapter in PEFT's format.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterFile {
    /// Its settings. The targets are the paths of the layers that the file has adapters for, the modules to save those of
    /// its other tensors, whatever chose them.
    pub lora: Lora,
    /// How the layers' weights lie, by its `fan_in_fan_out`; a model's layers know better.
    pub layout: WeightLayout,
    /// The tensors, named as the model's are, in the order of their names.
    pub tensors: Vec<(String, Tensor)>,
}

/// What else an `adapter_config.json` says, for those who load it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AdapterInfo<'a> {
    /// What PEFT calls the task, such as `CAUSAL_LM` or `SEQ_CLS`.
    pub task_type: Option<&'a str>,
    /// The folder or name of the model that the adapter is for.
    pub base_model: Option<&'a str>,
}

/// Reads an adapter in PEFT's format: a folder with `adapter_config.json` and `adapter_model.safetensors`, or the latter
/// with the former beside it. `peft.PeftModel.from_pretrained`.
///
/// # Errors
/// If a file is missing or damaged, a setting is not supported (it is named), or a tensor is not one of an adapter of a
/// linear layer or a module that is saved.
pub fn read_adapter(path: impl AsRef<Path>) -> Result<AdapterFile, Error> {
    let path = path.as_ref();
    let tensors_path = if path.is_dir() { path.join(TENSORS) } else { path.to_path_buf() };
    if !tensors_path.is_file() {
        return Err(Error::file(
            &tensors_path,
            format!("there is no such file; an adapter is a folder with {TENSORS} and {CONFIG}, as PEFT saves it"),
        ));
    }
    let config_path = tensors_path.with_file_name(CONFIG);
    let unreadable = |error: &dyn std::fmt::Display| {
        Error::file(&config_path, format!("the adapter's settings cannot be read: {error}"))
    };
    let text = std::fs::read_to_string(&config_path).map_err(|error| unreadable(&error))?;
    let config: Map<String, Value> = serde_json::from_str(&text).map_err(|error| unreadable(&error))?;
    let mut lora = settings(&config).map_err(|message| Error::file(&config_path, message))?;
    let TensorFile { tensors, .. } = read_tensors(&tensors_path)?;
    let mut named = Vec::with_capacity(tensors.len());
    for (full, tensor) in tensors {
        let unfit = |what: &str| Error::file(&tensors_path, format!("the tensor `{full}` {what}"));
        let name =
            full.strip_prefix(PREFIX).ok_or_else(|| unfit("is no adapter's: its name lacks base_model.model."))?;
        let (list, path) = match adapter_path(name) {
            Some(path) => (&mut lora.targets, path),
            None if name.split('.').any(|part| part.starts_with("lora_")) => {
                return Err(unfit("is of a kind of adapter that is not supported: only those of linear layers are"));
            }
            None => (&mut lora.modules_to_save, name.rsplit_once('.').map_or(name, |(module, _)| module)),
        };
        if list.iter().all(|known| known != path) {
            list.push(path.to_string());
        }
        named.push((name.to_string(), tensor));
    }
    let layout = match config.get("fan_in_fan_out") {
        Some(Value::Bool(true)) => WeightLayout::InputsOutputs,
        _ => WeightLayout::OutputsInputs,
    };
    Ok(AdapterFile { lora, layout, tensors: named })
}

/// The settings of an `adapter_config.json`, without targets and modules.
///
/// # Errors
/// The first key that is missing, or whose value is not supported.
fn settings(config: &Map<String, Value>) -> Result<Lora, String> {
    let mut lora = Lora::default();
    let mut missing = vec!["lora_alpha", "peft_type", "r"];
    for (key, value) in config {
        missing.retain(|name| name != key);
        let unsupported = |supported: &str| format!("{key} = {value} is not supported; supported: {supported}");
        match (key.as_str(), value) {
            ("peft_type", value) if value == "LORA" => {}
            ("peft_type", _) => return Err(unsupported("\"LORA\"")),
            ("r", value) => {
                let rank = value.as_u64().and_then(|rank| usize::try_from(rank).ok());
                lora.rank = rank.ok_or_else(|| unsupported("a whole number above 0"))?;
            }
            ("lora_alpha", value) => lora.alpha = value.as_f64().ok_or_else(|| unsupported("a number"))?,
            ("lora_dropout", value) => lora.dropout = value.as_f64().ok_or_else(|| unsupported("a number"))? as f32,
            ("use_rslora", Value::Bool(stabilised)) => lora.rslora = *stabilised,
            ("bias", value) if value == "none" => {}
            ("bias", _) => return Err(unsupported("\"none\"")),
            ("init_lora_weights", Value::Bool(_) | Value::Null) => {}
            ("init_lora_weights", value) => {
                if !value.as_str().is_some_and(|name| INITIALISATIONS.contains(&name)) {
                    return Err(unsupported(&format!(
                        "true, false, {}; others may have changed the weights that the adapter is for",
                        INITIALISATIONS.join(", ")
                    )));
                }
            }
            (key, _) if WITHOUT_EFFECT.contains(&key) => {}
            (_, Value::Null | Value::Bool(false)) => {}
            (_, Value::Object(fields)) if fields.is_empty() => {}
            (_, Value::Array(elements)) if elements.is_empty() => {}
            _ => return Err(format!("{key} = {value} is not supported; adapters are plain LoRA here")),
        }
    }
    if let Some(key) = missing.first() {
        return Err(format!("{key} is missing, so this is no adapter_config.json of LoRA"));
    }
    lora.check()?;
    Ok(lora)
}

/// Writes an adapter's folder; `tensors` have the model's names. `tied` says that a saved module may be one whose weight
/// the model uses twice.
///
/// # Errors
/// If a file cannot be written.
pub(super) fn write_adapter(
    folder: &Path,
    adapters: &Adapters,
    tensors: Vec<(String, Tensor)>,
    info: AdapterInfo<'_>,
    tied: bool,
) -> Result<(), Error> {
    let cannot = |error: std::io::Error| Error::file(folder, format!("the folder cannot be written: {error}"));
    std::fs::create_dir_all(folder).map_err(cannot)?;
    let tensors: Vec<(String, Tensor)> =
        tensors.into_iter().map(|(name, tensor)| (format!("{PREFIX}{name}"), tensor)).collect();
    write_tensors(&folder.join(TENSORS), &tensors, ("format", "pt"))?;
    let lora = adapters.lora();
    let targets: Vec<&str> = match lora.targets.iter().any(|target| target == Lora::ALL_LINEAR) {
        true => adapters.layers().iter().map(|layer| layer.path.as_str()).collect(),
        false => lora.targets.iter().map(String::as_str).collect(),
    };
    let alpha = if lora.alpha.fract() == 0.0 { json!(lora.alpha as i64) } else { json!(lora.alpha) };
    let by_inputs = adapters.layers().iter().any(|layer| layer.layout == WeightLayout::InputsOutputs);
    let modules = (!lora.modules_to_save.is_empty()).then_some(&lora.modules_to_save);
    // In the order of the alphabet: a map may sort its keys, or not.
    let config = json!({
        "alpha_pattern": {},
        "base_model_name_or_path": info.base_model,
        "bias": "none",
        "ensure_weight_tying": tied,
        "fan_in_fan_out": by_inputs,
        "inference_mode": true,
        "init_lora_weights": true,
        "lora_alpha": alpha,
        // The shortest number that is this one in single precision.
        "lora_dropout": lora.dropout.to_string().parse::<f64>().ok(),
        "modules_to_save": modules,
        "peft_type": "LORA",
        "r": lora.rank,
        "rank_pattern": {},
        "target_modules": targets,
        "task_type": info.task_type,
        "use_dora": false,
        "use_rslora": lora.rslora,
    });
    let path = folder.join(CONFIG);
    write_whole(&path, [format!("{config:#}\n").as_bytes()]).map_err(|error| {
        Error::file(&path, format!("the file cannot be written: {error}; check the folder and its space"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = r#"{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "lora_dropout": 0.1, "bias": "none",
        "target_modules": ["q_proj"], "use_rslora": true, "rank_pattern": {}, "layer_replication": null}"#;

    fn read(config: &Map<String, Value>) -> Result<Lora, String> {
        settings(config)
    }

    #[test]
    fn what_changes_the_meaning_of_an_adapter_is_refused() {
        let plain: Map<String, Value> = serde_json::from_str(PLAIN).unwrap();
        let lora = read(&plain).unwrap();
        assert_eq!((lora.rank, lora.alpha, lora.dropout, lora.rslora), (4, 8.0, 0.1, true));
        assert_eq!(lora.scale(), 4.0);
        for (key, value) in [
            ("bias", json!("all")),
            ("use_dora", json!(true)),
            ("rank_pattern", json!({"q_proj": 8})),
            ("alpha_pattern", json!({"q_proj": 8})),
            ("peft_type", json!("IA3")),
            ("init_lora_weights", json!("pissa")),
            ("lora_bias", json!(true)),
            ("target_parameters", json!(["w"])),
            ("something_new", json!(3)),
            ("r", json!(2.5)),
        ] {
            let mut config = plain.clone();
            config.insert(key.into(), value.clone());
            let error = read(&config).expect_err(key);
            assert!(error.contains(&format!("{key} = {value} is not supported")), "{error}");
        }
        for (key, value, expected) in [("r", json!(0), "rank = 0"), ("lora_alpha", json!(0), "alpha = 0")] {
            let mut config = plain.clone();
            config.insert(key.into(), value);
            assert!(read(&config).unwrap_err().contains(expected));
        }
        for key in ["peft_type", "r", "lora_alpha"] {
            let mut config = plain.clone();
            config.remove(key);
            assert!(read(&config).unwrap_err().contains(&format!("{key} is missing")));
        }
    }
}
