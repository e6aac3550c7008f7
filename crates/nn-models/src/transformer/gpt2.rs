//! GPT-2 (Radford et al. 2019), as `transformers.GPT2LMHeadModel`.

use super::settings::{Other, check_dropout, check_model_type, check_other, check_positive, document, token_ids};
use super::{
    Attend, LanguageModel, Place, activate, attend, check_activation, drop, fit_language, fit_vocabulary, fits_context,
    project,
};
use crate::Model;
use nn_core::{DType, Value};
use nn_train::nn::{Layer, LayerNorm, TargetKind};
use nn_train::{Init, Scope, WeightLayout};
use serde::{Deserialize, Serialize};

/// `transformers.GPT2LMHeadModel`: token ids `u32 (rows, length)` → logits `(rows, length, vocab_size)`.
///
/// Tensors are named as there: `transformer.wte.weight`, `transformer.h.0.attn.c_attn.weight [in, out]`, …; files without
/// the prefix are read too. They begin as there: weights normal with `initializer_range`, those before a residual sum
/// smaller by 1/√(2 · layers), biases 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Gpt2 {
    /// Tokens; 0 takes the data's.
    pub vocab_size: usize,
    /// The longest context.
    pub n_positions: usize,
    /// The width.
    pub n_embd: usize,
    /// Blocks.
    pub n_layer: usize,
    /// Heads of attention.
    pub n_head: usize,
    /// The width between the two layers of a block's perceptron; by default 4 · `n_embd`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n_inner: Option<usize>,
    /// The activation there.
    pub activation_function: String,
    /// Dropout before each residual sum.
    pub resid_pdrop: f32,
    /// Dropout of the embeddings.
    pub embd_pdrop: f32,
    /// Dropout of the attention's weights.
    pub attn_pdrop: f32,
    /// What layer normalisation adds to the variance.
    pub layer_norm_epsilon: f32,
    /// The standard deviation of weights at first.
    pub initializer_range: f64,
    /// Whether scores are divided by the square root of the head's size.
    pub scale_attn_weights: bool,
    /// Whether they are divided by the block's number, too.
    pub scale_attn_by_inverse_layer_idx: bool,
    /// Whether the embedding of tokens is the last layer's weight.
    pub tie_word_embeddings: bool,
    #[serde(flatten)]
    /// The other settings of a file, by name; those without effect are kept, others refused.
    pub other: Other,
}

impl Default for Gpt2 {
    fn default() -> Gpt2 {
        Gpt2 {
            vocab_size: 50257,
            n_positions: 1024,
            n_embd: 768,
            n_layer: 12,
            n_head: 12,
            n_inner: None,
            activation_function: "gelu_new".into(),
            resid_pdrop: 0.1,
            embd_pdrop: 0.1,
            attn_pdrop: 0.1,
            layer_norm_epsilon: 1e-5,
            initializer_range: 0.02,
            scale_attn_weights: true,
            scale_attn_by_inverse_layer_idx: false,
            tie_word_embeddings: true,
            other: Other::new(),
        }
    }
}

impl Gpt2 {
    /// `x·W + b` with `<name>.weight [inputs, outputs]`, as GPT-2's tensors lie.
    fn conv1d(&self, s: &mut Scope, name: &str, x: Value, outputs: usize, std: f64) -> Value {
        let inputs = x.shape().last().copied().unwrap_or(1);
        s.scope(name, |s| {
            let weight = s.param("weight", [inputs, outputs], Init::Normal { mean: 0.0, std });
            let y = x.matmul(weight) + s.param("bias", [outputs], Init::Zeros);
            s.linear_output(x, y, WeightLayout::InputsOutputs)
        })
    }

    fn norm(&self, s: &mut Scope, name: &str, x: Value) -> Value {
        s.scope(name, |s| LayerNorm::new([self.n_embd]).eps(self.layer_norm_epsilon).forward(s, x))
    }

    fn residual_std(&self) -> f64 {
        self.initializer_range / (2.0 * self.n_layer as f64).sqrt()
    }

    fn attention(&self, s: &mut Scope, x: Value, layer: usize, place: Place) -> Value {
        let size = self.n_embd / self.n_head;
        let qkv = self.conv1d(s, "c_attn", x, 3 * self.n_embd, self.initializer_range);
        let [rows, length, _] = x.shape()[..] else { return x };
        let part = |number: usize| {
            let part = qkv.slice(&[0, 0, number * self.n_embd], [rows, length, self.n_embd]);
            part.reshape([rows, length, self.n_head, size])
        };
        let mut scale = if self.scale_attn_weights { 1.0 / (size as f32).sqrt() } else { 1.0 };
        if self.scale_attn_by_inverse_layer_idx {
            scale /= (layer + 1) as f32;
        }
        let (key, value) = (place.remember(s, "cached_key", part(1)), place.remember(s, "cached_value", part(2)));
        let how = Attend {
            causal: matches!(place, Place::Beginning),
            window: None,
            mask: place.mask(length, None),
            dropout: self.attn_pdrop,
            scale: Some(scale),
        };
        let y = attend(s, part(0), key, value, &how);
        let y = self.conv1d(s, "c_proj", y, self.n_embd, self.residual_std());
        drop(s, y, self.resid_pdrop)
    }

    fn block(&self, s: &mut Scope, x: Value, layer: usize, place: Place) -> Value {
        let y = self.norm(s, "ln_1", x);
        let x = x + s.scope("attn", |s| self.attention(s, y, layer, place));
        let y = self.norm(s, "ln_2", x);
        x + s.scope("mlp", |s| {
            let inner = self.n_inner.unwrap_or(4 * self.n_embd);
            let y = self.conv1d(s, "c_fc", y, inner, self.initializer_range);
            let y = activate(&self.activation_function, y);
            let y = self.conv1d(s, "c_proj", y, self.n_embd, self.residual_std());
            drop(s, y, self.resid_pdrop)
        })
    }
}

impl LanguageModel for Gpt2 {
    fn vocabulary(&self) -> usize {
        self.vocab_size
    }

    fn context(&self) -> usize {
        self.n_positions
    }

    fn end_tokens(&self) -> Vec<u32> {
        token_ids(&self.other, "eos_token_id")
    }

    fn logits(&self, s: &mut Scope, tokens: Value, place: Place) -> Value {
        if !fits_context(s, "gpt2", tokens, self.n_positions) {
            return tokens;
        }
        let std = Init::Normal { mean: 0.0, std: self.initializer_range };
        let (x, embedding) = s.scope("transformer", |s| {
            let embedding = s.scope("wte", |s| s.param("weight", [self.vocab_size, self.n_embd], std));
            let positions = s.scope("wpe", |s| s.param("weight", [self.n_positions, self.n_embd], std));
            let x = embedding.gather_rows(tokens) + place.rows(positions, tokens.shape()[1]);
            let mut x = drop(s, x, self.embd_pdrop);
            for layer in 0..self.n_layer {
                x = s.scope(&format!("h.{layer}"), |s| self.block(s, x, layer, place));
            }
            (self.norm(s, "ln_f", x), embedding)
        });
        match self.tie_word_embeddings {
            true => x.matmul(embedding.transpose()),
            false => project(s, "lm_head", x, self.vocab_size, false, self.initializer_range),
        }
    }
}

impl Layer for Gpt2 {
    fn forward(&self, s: &mut Scope, x: Value) -> Value {
        self.logits(s, x, Place::Beginning)
    }

    fn input_dtype(&self) -> DType {
        DType::U32
    }

    fn own_name(&self, name: &str) -> Option<String> {
        // Older files hold the causal mask as a tensor.
        let mask = name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias");
        if mask || (name == "lm_head.weight" && self.tie_word_embeddings) {
            return None;
        }
        let whole = name.starts_with("transformer.") || name.starts_with("lm_head.");
        Some(if whole { name.into() } else { format!("transformer.{name}") })
    }
}

impl Model for Gpt2 {
    fn check(&self) -> Result<(), String> {
        check_model_type(&self.other, &["gpt2"])?;
        let known: &[(&str, &[&str])] = &[
            ("reorder_and_upcast_attn", &["false"]),
            ("summary_type", &[]),
            ("summary_use_proj", &[]),
            ("summary_activation", &[]),
            ("summary_proj_to_labels", &[]),
            ("summary_first_dropout", &[]),
        ];
        check_other(&self.other, known)?;
        check_positive(&[
            ("n_positions", self.n_positions),
            ("n_embd", self.n_embd),
            ("n_layer", self.n_layer),
            ("n_head", self.n_head),
        ])?;
        check_dropout(&[
            ("resid_pdrop", self.resid_pdrop),
            ("embd_pdrop", self.embd_pdrop),
            ("attn_pdrop", self.attn_pdrop),
        ])?;
        check_activation("activation_function", &self.activation_function)?;
        if !self.n_embd.is_multiple_of(self.n_head) {
            return Err(format!(
                "model.config.n_embd = {} must be a multiple of model.config.n_head = {}",
                self.n_embd, self.n_head
            ));
        }
        Ok(())
    }

    fn sample_shape(&self, data: &[usize]) -> Result<Vec<usize>, String> {
        Ok(data.to_vec())
    }

    fn fit_vocabulary(&mut self, tokens: usize) -> Result<(), String> {
        fit_vocabulary(&mut self.vocab_size, tokens)
    }

    fn fit(&mut self, sample: &[usize], targets: TargetKind) -> Result<(), String> {
        fit_language(self.vocab_size, (self.n_positions, "n_positions"), sample, targets)
    }

    fn outputs(&self) -> Option<usize> {
        Some(self.vocab_size).filter(|&size| size > 0)
    }

    fn vocabulary(&self) -> Option<usize> {
        self.outputs()
    }

    fn hugging_face(&self, _labels: &[String]) -> Option<serde_json::Value> {
        document(self, "gpt2", "GPT2LMHeadModel")
    }

    fn language(&self) -> Option<&dyn LanguageModel> {
        Some(self)
    }

    fn describe(&self) -> String {
        format!("gpt2 {} layers, width {}, {} heads", self.n_layer, self.n_embd, self.n_head)
    }
}
