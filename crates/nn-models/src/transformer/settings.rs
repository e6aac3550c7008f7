//! What a `config.json` of Hugging Face's holds besides the settings that a model knows.

use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Settings that no field of a model holds, by name. They are kept, so that the file can be written again.
pub type Other = BTreeMap<String, Value>;

/// Settings that change nothing of what a model computes from its weights: records, outputs, and how to generate.
const WITHOUT_EFFECT: &[&str] = &[
    "_attn_implementation",
    "_name_or_path",
    "architectures",
    "attn_implementation",
    "auto_map",
    "bad_words_ids",
    "begin_suppress_tokens",
    "bos_token_id",
    "chunk_size_feed_forward",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "dtype",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "eos_token_id",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "gradient_checkpointing",
    "id2label",
    "label2id",
    "length_penalty",
    "max_length",
    "min_length",
    "model_type",
    "n_ctx",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_past",
    "output_scores",
    "pad_token_id",
    "prefix",
    "pretraining_tp",
    "problem_type",
    "remove_invalid_values",
    "repetition_penalty",
    "return_dict",
    "return_dict_in_generate",
    "sep_token_id",
    "suppress_tokens",
    "task_specific_params",
    "temperature",
    "tf_legacy_loss",
    "tie_encoder_decoder",
    "tokenizer_class",
    "top_k",
    "top_p",
    "torch_dtype",
    "torchscript",
    "transformers_version",
    "typical_p",
    "use_bfloat16",
    "use_cache",
];

/// Checks the other settings: each must be without effect, or have one of the values (as JSON) that `known` allows; an
/// empty list allows all.
///
/// # Errors
/// The first setting that is unknown, or whose value is not supported.
pub(crate) fn check_other(other: &Other, known: &[(&str, &[&str])]) -> Result<(), String> {
    const ALWAYS: &[(&str, &[&str])] = &[
        ("add_cross_attention", &["false"]),
        ("is_decoder", &["false"]),
        ("is_encoder_decoder", &["false"]),
        ("cross_attention_hidden_size", &[]),
        ("pruned_heads", &["{}"]),
        ("quantization_config", &["{}"]),
    ];
    for (name, value) in other {
        if WITHOUT_EFFECT.contains(&name.as_str()) {
            continue;
        }
        let Some((_, allowed)) = known.iter().chain(ALWAYS).find(|(known, _)| known == name) else {
            return Err(format!(
                "model.config.{name} = {value} is not supported: its meaning is unknown here; leave it out if it changes \
                 nothing that the model computes"
            ));
        };
        let value = value.to_string();
        if !allowed.is_empty() && !allowed.contains(&value.as_str()) {
            return Err(format!("model.config.{name} = {value} is not supported; supported: {}", allowed.join(", ")));
        }
    }
    Ok(())
}

/// Checks that the file is of one of the given kinds of models, if it says so.
///
/// # Errors
/// If it is of another.
pub(crate) fn check_model_type(other: &Other, supported: &[&str]) -> Result<(), String> {
    match other.get("model_type").map(Value::to_string) {
        Some(kind) if !supported.iter().any(|known| kind == format!("\"{known}\"")) => Err(format!(
            "model.config.model_type = {kind} is not what model.kind says; supported here: {}",
            supported.join(", ")
        )),
        _ => Ok(()),
    }
}

/// The token ids that a setting names: one or several.
pub(crate) fn token_ids(other: &Other, name: &str) -> Vec<u32> {
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match other.get(name) {
        Some(Value::Array(ids)) => ids.iter().filter_map(id).collect(),
        Some(value) => id(value).into_iter().collect(),
        None => Vec::new(),
    }
}

/// A model's settings as a `config.json`, with the class of `transformers` that they are for.
pub(crate) fn document(model: &impl Serialize, model_type: &str, architecture: &str) -> Option<Value> {
    let mut document = serde_json::to_value(model).ok()?;
    let fields = document.as_object_mut()?;
    fields.entry("model_type").or_insert_with(|| json!(model_type));
    fields.insert("architectures".into(), json!([architecture]));
    fields.entry("dtype").or_insert_with(|| json!("float32"));
    Some(document)
}

/// Checks that numbers are above 0.
///
/// # Errors
/// The first that is not.
pub(crate) fn check_positive(numbers: &[(&str, usize)]) -> Result<(), String> {
    match numbers.iter().find(|(_, number)| *number == 0) {
        Some((name, _)) => Err(format!("model.config.{name} = 0 makes no sense; give 1 or more")),
        None => Ok(()),
    }
}

/// Checks that numbers are probabilities below 1.
///
/// # Errors
/// The first that is not.
pub(crate) fn check_dropout(numbers: &[(&str, f32)]) -> Result<(), String> {
    match numbers.iter().find(|(_, number)| !(0.0..1.0).contains(number)) {
        Some((name, number)) => Err(format!("model.config.{name} = {number} must be 0 or more and below 1")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn other(name: &str, value: Value) -> Other {
        [(name.to_string(), value)].into()
    }

    #[test]
    fn what_is_not_supported_is_named() {
        let known: &[(&str, &[&str])] = &[("scale", &["true"]), ("any", &[])];
        check_other(&other("use_cache", json!(true)), known).unwrap();
        check_other(&other("scale", json!(true)), known).unwrap();
        check_other(&other("any", json!(7)), known).unwrap();
        let error = check_other(&other("scale", json!(false)), known).unwrap_err();
        assert!(error.contains("model.config.scale = false is not supported"), "{error}");
        let error = check_other(&other("mystery", json!([1])), known).unwrap_err();
        assert!(error.contains("model.config.mystery = [1] is not supported"), "{error}");
        assert!(check_model_type(&other("model_type", json!("t5")), &["gpt2"]).unwrap_err().contains("\"t5\""));
        check_model_type(&other("model_type", json!("gpt2")), &["gpt2"]).unwrap();
    }
}
