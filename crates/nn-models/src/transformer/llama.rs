//! Llama (Touvron et al. 2023) and its kin, as `transformers.LlamaForCausalLM`.

use super::settings::{Other, check_dropout, check_model_type, check_other, check_positive, document, token_ids};
use super::{
    Attend, LanguageModel, Place, activate, attend, check_activation, fit_language, fit_vocabulary, fits_context,
    project, split_heads,
};
use crate::Model;
use nn_core::ops::RotaryPairing;
use nn_core::{DType, Value};
use nn_train::nn::{Layer, RmsNorm, RotaryScaling, RotaryTable, TargetKind};
use nn_train::{Init, Scope};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// `transformers.LlamaForCausalLM`: token ids `u32 (rows, length)` → logits `(rows, length, vocab_size)`. SmolLM2 is
/// one; with `model_type` `qwen2` or `mistral` the file's settings mean what they mean in `Qwen2ForCausalLM` or
/// `MistralForCausalLM`.
///
/// Tensors are named as there: `model.embed_tokens.weight`, `model.layers.0.self_attn.q_proj.weight`, …; files without the
/// prefix are read too. Weights begin normal with `initializer_range`, biases 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Llama {
    /// Tokens; 0 takes the data's.
    pub vocab_size: usize,
    /// The width.
    pub hidden_size: usize,
    /// The width inside a block's perceptron.
    pub intermediate_size: usize,
    /// Blocks.
    pub num_hidden_layers: usize,
    /// Heads of attention.
    pub num_attention_heads: usize,
    /// Heads of keys and values, each shared by as many of queries; by default as many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_key_value_heads: Option<usize>,
    /// The size of a head; by default `hidden_size` / `num_attention_heads`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head_dim: Option<usize>,
    /// The activation of the gate.
    pub hidden_act: String,
    /// The longest context.
    pub max_position_embeddings: usize,
    /// The standard deviation of weights at first.
    pub initializer_range: f64,
    /// What the norms add to the mean square.
    pub rms_norm_eps: f32,
    /// Whether the embedding of tokens is the last layer's weight.
    pub tie_word_embeddings: bool,
    /// Whether the projections of attention have biases.
    pub attention_bias: bool,
    /// Dropout of the attention's weights.
    pub attention_dropout: f32,
    /// Whether the layers of the perceptron have biases.
    pub mlp_bias: bool,
    /// The base of the rotation's wavelengths, if no table below says it; by default 10,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rope_theta: Option<f64>,
    /// The rotation of positions, as files have it since version 5 of `transformers`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rope_parameters: Option<Rope>,
    /// The same, as files had it before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rope_scaling: Option<Rope>,
    /// How many tokens back each one sees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sliding_window: Option<usize>,
    /// For `qwen2`: whether `sliding_window` counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub use_sliding_window: Option<bool>,
    #[serde(flatten)]
    /// The other settings of a file, by name; those without effect are kept, others refused.
    pub other: Other,
}

/// How positions turn queries and keys (Su et al. 2021), and how that is stretched for longer contexts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rope {
    /// `default`, `linear`, `dynamic` or `llama3`.
    #[serde(alias = "type", skip_serializing_if = "Option::is_none")]
    pub rope_type: Option<String>,
    /// The base of the wavelengths.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rope_theta: Option<f64>,
    /// How far the context is stretched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factor: Option<f64>,
    /// `llama3`: below this many turns in the original context a wavelength is stretched wholly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low_freq_factor: Option<f64>,
    /// `llama3`: above this many turns it stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high_freq_factor: Option<f64>,
    /// The context that the model was trained on at first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub original_max_position_embeddings: Option<usize>,
    #[serde(flatten)]
    /// The other settings of a file, by name; those without effect are kept, others refused.
    pub other: Other,
}

impl Default for Llama {
    fn default() -> Llama {
        Llama {
            vocab_size: 32000,
            hidden_size: 4096,
            intermediate_size: 11008,
            num_hidden_layers: 32,
            num_attention_heads: 32,
            num_key_value_heads: None,
            head_dim: None,
            hidden_act: "silu".into(),
            max_position_embeddings: 2048,
            initializer_range: 0.02,
            rms_norm_eps: 1e-6,
            tie_word_embeddings: false,
            attention_bias: false,
            attention_dropout: 0.0,
            mlp_bias: false,
            rope_theta: None,
            rope_parameters: None,
            rope_scaling: None,
            sliding_window: None,
            use_sliding_window: None,
            other: Other::new(),
        }
    }
}

impl Llama {
    fn groups(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    fn size(&self) -> usize {
        self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads.max(1))
    }

    fn is(&self, kind: &str) -> bool {
        self.other.get("model_type").and_then(Json::as_str) == Some(kind)
    }

    /// How many tokens back each one sees, where that is limited.
    fn window(&self) -> Option<usize> {
        let counts = match self.use_sliding_window {
            Some(used) => used,
            None => !self.is("qwen2"),
        };
        self.sliding_window.filter(|_| counts)
    }

    /// The rotation's tables.
    ///
    /// # Errors
    /// If its settings are unknown or incomplete.
    fn rotary(&self) -> Result<RotaryTable, String> {
        let (key, rope) = match (&self.rope_parameters, &self.rope_scaling) {
            (Some(rope), _) => ("rope_parameters", rope.clone()),
            (None, Some(rope)) => ("rope_scaling", rope.clone()),
            (None, None) => ("rope_parameters", Rope::default()),
        };
        let at = |name: &str| format!("model.config.{key}.{name}");
        if let Some(name) =
            rope.other.keys().find(|name| name.as_str() != "partial_rotary_factor" || rope.other[*name] != 1.0)
        {
            return Err(format!("{} = {} is not supported", at(name), rope.other[name]));
        }
        let number = |name: &str, value: Option<f64>| match value {
            Some(value) if value.is_finite() && value > 0.0 => Ok(value),
            Some(value) => Err(format!("{} = {value} must be above 0", at(name))),
            None => Err(format!("{} is missing", at(name))),
        };
        let original = rope.original_max_position_embeddings;
        let scaling = match rope.rope_type.as_deref().unwrap_or("default") {
            "default" => RotaryScaling::None,
            "linear" => RotaryScaling::Linear { factor: number("factor", rope.factor)? },
            // It changes nothing within the context that the model is said to have.
            "dynamic" if original.is_none_or(|length| length >= self.max_position_embeddings) => RotaryScaling::None,
            "dynamic" => {
                return Err(format!(
                    "{} = {original:?} is not supported with dynamic scaling",
                    at("original_max_position_embeddings")
                ));
            }
            "llama3" => RotaryScaling::Llama3 {
                factor: number("factor", rope.factor)?,
                low_freq_factor: number("low_freq_factor", rope.low_freq_factor)?,
                high_freq_factor: number("high_freq_factor", rope.high_freq_factor)?,
                original_max_position_embeddings: original
                    .ok_or_else(|| format!("{} is missing", at("original_max_position_embeddings")))?,
            },
            other => {
                return Err(format!(
                    "{} = {other:?} is not supported; supported: default, linear, dynamic, llama3",
                    at("rope_type")
                ));
            }
        };
        let theta = rope.rope_theta.or(self.rope_theta).unwrap_or(10_000.0);
        let table = RotaryTable { theta: number("rope_theta", Some(theta))?, size: self.size(), scaling };
        table.angles(self.max_position_embeddings).map_err(|problem| format!("model.config.{key}: {problem}"))?;
        Ok(table)
    }

    fn attention(&self, s: &mut Scope, x: Value, tables: [Value; 2], place: Place) -> Value {
        let (heads, groups, size) = (self.num_attention_heads, self.groups(), self.size());
        // Of Qwen2's projections the last one has no bias.
        let inner = self.attention_bias || self.is("qwen2");
        let std = self.initializer_range;
        let mut part = |name: &str, heads: usize| split_heads(project(s, name, x, heads * size, inner, std), heads);
        let [query, key, value] = [part("q_proj", heads), part("k_proj", groups), part("v_proj", groups)];

        let [cosine, sine] = tables;
        let turn = |x: Value| x.rotary(cosine, sine, RotaryPairing::Half);
        let key = place.remember(s, "cached_key", turn(key));
        let value = place.remember(s, "cached_value", value);
        let how = Attend {
            causal: matches!(place, Place::Beginning),
            window: self.window(),
            mask: place.mask(x.shape()[1], self.window()),
            dropout: self.attention_dropout,
            scale: None,
        };
        let y = attend(s, turn(query), key, value, &how);
        project(s, "o_proj", y, self.hidden_size, self.attention_bias, std)
    }

    fn norm(&self, s: &mut Scope, name: &str, x: Value) -> Value {
        s.scope(name, |s| RmsNorm::new([self.hidden_size]).eps(self.rms_norm_eps).forward(s, x))
    }

    fn block(&self, s: &mut Scope, x: Value, tables: [Value; 2], place: Place) -> Value {
        let y = self.norm(s, "input_layernorm", x);
        let x = x + s.scope("self_attn", |s| self.attention(s, y, tables, place));
        let y = self.norm(s, "post_attention_layernorm", x);
        x + s.scope("mlp", |s| {
            let (width, bias, std) = (self.intermediate_size, self.mlp_bias, self.initializer_range);
            let gate = activate(&self.hidden_act, project(s, "gate_proj", y, width, bias, std));
            let up = project(s, "up_proj", y, width, bias, std);
            project(s, "down_proj", gate * up, self.hidden_size, bias, std)
        })
    }
}

impl LanguageModel for Llama {
    fn vocabulary(&self) -> usize {
        self.vocab_size
    }

    fn context(&self) -> usize {
        self.max_position_embeddings
    }

    fn end_tokens(&self) -> Vec<u32> {
        token_ids(&self.other, "eos_token_id")
    }

    fn logits(&self, s: &mut Scope, tokens: Value, place: Place) -> Value {
        if !fits_context(s, "llama", tokens, self.max_position_embeddings) {
            return tokens;
        }
        let length = tokens.shape()[1];
        let most = if let Place::After { capacity, .. } = place { capacity } else { length };
        let tables = match self.rotary() {
            Ok(rotary) => rotary.table(&s.trace(), most).map(|table| place.rows(table, length)),
            Err(message) => {
                s.trace().fail("llama", message);
                return tokens;
            }
        };
        let std = Init::Normal { mean: 0.0, std: self.initializer_range };
        let (x, embedding) = s.scope("model", |s| {
            let embedding = s.scope("embed_tokens", |s| s.param("weight", [self.vocab_size, self.hidden_size], std));
            let mut x = embedding.gather_rows(tokens);
            for layer in 0..self.num_hidden_layers {
                x = s.scope(&format!("layers.{layer}"), |s| self.block(s, x, tables, place));
            }
            (self.norm(s, "norm", x), embedding)
        });
        match self.tie_word_embeddings {
            true => x.matmul(embedding.transpose()),
            false => project(s, "lm_head", x, self.vocab_size, false, self.initializer_range),
        }
    }
}

impl Layer for Llama {
    fn forward(&self, s: &mut Scope, x: Value) -> Value {
        self.logits(s, x, Place::Beginning)
    }

    fn input_dtype(&self) -> DType {
        DType::U32
    }

    fn own_name(&self, name: &str) -> Option<String> {
        if name.ends_with("rotary_emb.inv_freq") || (name == "lm_head.weight" && self.tie_word_embeddings) {
            return None;
        }
        let whole = name.starts_with("model.") || name.starts_with("lm_head.");
        Some(if whole { name.into() } else { format!("model.{name}") })
    }
}

impl Model for Llama {
    fn check(&self) -> Result<(), String> {
        check_model_type(&self.other, &["llama", "qwen2", "mistral"])?;
        check_other(
            &self.other,
            &[
                ("max_window_layers", &[]),
                ("layer_types", &[]),
                ("rope_interleaved", &["false"]),
                ("use_mrope", &["false"]),
            ],
        )?;
        check_positive(&[
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.groups()),
            ("max_position_embeddings", self.max_position_embeddings),
            ("sliding_window", self.sliding_window.unwrap_or(1)),
        ])?;
        check_dropout(&[("attention_dropout", self.attention_dropout)])?;
        check_activation("hidden_act", &self.hidden_act)?;
        let (heads, groups, size) = (self.num_attention_heads, self.groups(), self.size());
        if self.head_dim.is_none() && !self.hidden_size.is_multiple_of(heads) {
            let width = self.hidden_size;
            return Err(format!(
                "model.config.hidden_size = {width} must be a multiple of num_attention_heads = {heads}"
            ));
        }
        if size == 0 || !size.is_multiple_of(2) {
            return Err(format!(
                "model.config.head_dim = {size} must be even and above 0: positions turn pairs of elements"
            ));
        }
        if !heads.is_multiple_of(groups) {
            return Err(format!(
                "model.config.num_attention_heads = {heads} must be a multiple of num_key_value_heads = {groups}"
            ));
        }
        // Only some layers having a window is not what `window` says.
        if self.window().is_some() && self.is("qwen2") {
            return Err("model.config.use_sliding_window = true is not supported for qwen2".into());
        }
        self.rotary().map(|_| ())
    }

    fn sample_shape(&self, data: &[usize]) -> Result<Vec<usize>, String> {
        Ok(data.to_vec())
    }

    fn fit_vocabulary(&mut self, tokens: usize) -> Result<(), String> {
        fit_vocabulary(&mut self.vocab_size, tokens)
    }

    fn fit(&mut self, sample: &[usize], targets: TargetKind) -> Result<(), String> {
        let context = (self.max_position_embeddings, "max_position_embeddings");
        fit_language(self.vocab_size, context, sample, targets)
    }

    fn outputs(&self) -> Option<usize> {
        Some(self.vocab_size).filter(|&size| size > 0)
    }

    fn vocabulary(&self) -> Option<usize> {
        self.outputs()
    }

    fn hugging_face(&self, _labels: &[String]) -> Option<Json> {
        let (kind, class) = match () {
            () if self.is("qwen2") => ("qwen2", "Qwen2ForCausalLM"),
            () if self.is("mistral") => ("mistral", "MistralForCausalLM"),
            () => ("llama", "LlamaForCausalLM"),
        };
        document(self, kind, class)
    }

    fn language(&self) -> Option<&dyn LanguageModel> {
        Some(self)
    }

    fn describe(&self) -> String {
        let (layers, width, heads, groups) =
            (self.num_hidden_layers, self.hidden_size, self.num_attention_heads, self.groups());
        format!("llama {layers} layers, width {width}, {heads} heads on {groups}")
    }
}
