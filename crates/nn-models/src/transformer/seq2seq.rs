//! The encoder and decoder of "Attention Is All You Need" (Vaswani et al. 2017), as `torch.nn.Transformer`.

use super::settings::{check_dropout, check_positive};
use super::translate::Step;
use super::{Attend, activate, attend, constant, drop, fit_vocabulary, split_heads};
use crate::Model;
use nn_core::{DType, Value};
use nn_train::nn::loss::mean_cross_entropy;
use nn_train::nn::{IGNORED, Layer, LayerNorm, Linear, Objective, TargetKind};
use nn_train::{Init, Scope};
use serde::{Deserialize, Serialize};

const ACTIVATIONS: [&str; 2] = ["relu", "gelu"];
const INITIALIZERS: [&str; 3] = ["xavier_uniform", "xavier_normal", "normal"];

/// A model that reads a text and writes another, such as its translation: token ids
/// `u32 (rows, max_source + max_target)` → logits `(rows, max_target, vocab_size)`.
///
/// A row is the source, filled up with `pad_token_id`, then `bos_token_id` and the target, filled up too; the targets are
/// the target and `eos_token_id`, [`IGNORED`] at the places after it ([`Seq2Seq::row`]). Nobody sees the source's padding,
/// and in the target each token sees those before it and itself. Source and target share one vocabulary.
///
/// Embeddings are multiplied by √`d_model`, and sines and cosines of the position added. Tensors are named
/// `src_embedding.weight`, `tgt_embedding.weight`, `generator.weight` (the last two only where embeddings are not tied),
/// and as those of `torch.nn.Transformer` with `transformer.` before: `transformer.encoder.layers.0.self_attn.in_proj_weight`,
/// `transformer.decoder.layers.0.multihead_attn.out_proj.bias`, `transformer.decoder.norm.weight`, …
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Seq2Seq {
    /// Tokens of source and target together; 0 takes the data's.
    pub vocab_size: usize,
    /// The width.
    pub d_model: usize,
    /// Heads of attention.
    pub nhead: usize,
    /// Layers of the encoder.
    pub num_encoder_layers: usize,
    /// Layers of the decoder.
    pub num_decoder_layers: usize,
    /// The width inside a layer's perceptron.
    pub dim_feedforward: usize,
    /// Dropout of embeddings, of the attention's weights, inside the perceptrons, and before each residual sum.
    pub dropout: f32,
    /// The activation inside the perceptrons: `relu` or `gelu`.
    pub activation: String,
    /// Whether layers are normalised before they compute (Xiong et al. 2020), which trains more easily, or after the
    /// residual sum, as in the paper.
    pub norm_first: bool,
    /// Tokens of a source; 0 takes the data's.
    pub max_source: usize,
    /// Tokens of a target with its end; 0 takes the data's.
    pub max_target: usize,
    /// The token that fills up rows.
    pub pad_token_id: u32,
    /// The token that the decoder begins with.
    pub bos_token_id: u32,
    /// The token that ends a target.
    pub eos_token_id: u32,
    /// Whether sources, targets and the output's layer share one table.
    pub tie_word_embeddings: bool,
    /// The share of each target that training spreads over all tokens alike; evaluation does not.
    pub label_smoothing: f32,
    /// How matrices begin: `xavier_uniform`, as PyTorch's, `xavier_normal`, or `normal` with a deviation of 0.02. Biases
    /// begin with 0, embeddings normal with a deviation of 1/√`d_model`.
    pub initializer: String,
}

impl Default for Seq2Seq {
    fn default() -> Seq2Seq {
        Seq2Seq {
            vocab_size: 0,
            d_model: 512,
            nhead: 8,
            num_encoder_layers: 6,
            num_decoder_layers: 6,
            dim_feedforward: 2048,
            dropout: 0.1,
            activation: "relu".into(),
            norm_first: true,
            max_source: 0,
            max_target: 0,
            pad_token_id: 0,
            bos_token_id: 1,
            eos_token_id: 2,
            tie_word_embeddings: true,
            label_smoothing: 0.0,
            initializer: "xavier_uniform".into(),
        }
    }
}

/// The weights of all projections of an attention, one above the other as in `torch.nn.MultiheadAttention`.
pub(super) struct Projections {
    weight: Value,
    bias: Value,
    width: usize,
}

impl Projections {
    /// `x (rows, length, width)` by `COUNT` projections from number `first` on: queries 0, keys 1, values 2.
    pub(super) fn of<const COUNT: usize>(&self, x: Value, first: usize) -> [Value; COUNT] {
        let width = self.width;
        let weight = self.weight.slice(&[first * width, 0], [COUNT * width, width]);
        let y = x.matmul(weight.transpose()) + self.bias.slice(&[first * width], [COUNT * width]);
        let [rows, length, _] = y.shape()[..] else { return [x; COUNT] };
        std::array::from_fn(|number| y.slice(&[0, 0, number * width], [rows, length, width]))
    }
}

/// Where the decoder's attention to sources takes keys and values `(rows, max_source, d_model)` of a layer from.
pub(super) type KeysAndValues<'a> = dyn Fn(&mut Scope, &Projections) -> [Value; 2] + 'a;

impl Seq2Seq {
    fn matrices(&self) -> Init {
        match self.initializer.as_str() {
            "xavier_normal" => Init::XavierNormal { gain: 1.0 },
            "normal" => Init::Normal { mean: 0.0, std: 0.02 },
            _ => Init::XavierUniform { gain: 1.0 },
        }
    }

    fn linear(&self, s: &mut Scope, name: &str, x: Value, outputs: usize) -> Value {
        let inputs = x.shape().last().copied().unwrap_or(1);
        let layer = Linear::new(inputs, outputs).init(self.matrices(), Init::Zeros);
        s.scope(name, |s| layer.forward(s, x))
    }

    fn norm(&self, s: &mut Scope, name: &str, x: Value) -> Value {
        s.scope(name, |s| LayerNorm::new([self.d_model]).forward(s, x))
    }

    /// The table of embeddings of this name, or the only one.
    fn table(&self, s: &mut Scope, name: &str) -> Value {
        let name = if self.tie_word_embeddings { "src_embedding" } else { name };
        let init = match name {
            "generator" => self.matrices(),
            _ => Init::Normal { mean: 0.0, std: 1.0 / (self.d_model as f64).sqrt() },
        };
        s.scope(name, |s| s.param("weight", [self.vocab_size, self.d_model], init))
    }

    /// Sines and cosines of the positions `0 .. length`, in turn: `(length, d_model)`.
    pub(super) fn positions(&self, s: &mut Scope, length: usize) -> Value {
        let wave = |at: usize| {
            let (position, place) = (at / self.d_model, at % self.d_model);
            let frequency = 10_000f64.powf(-((place - place % 2) as f64) / self.d_model as f64);
            let angle = position as f64 * frequency;
            (if place % 2 == 0 { angle.sin() } else { angle.cos() }) as f32
        };
        let all: Vec<f32> = (0..length * self.d_model).map(wave).collect();
        constant(s, [length, self.d_model], &all)
    }

    /// Tokens `(rows, length)` with their positions `(length, d_model)`: `(rows, length, d_model)`.
    pub(super) fn embed(&self, s: &mut Scope, name: &str, tokens: Value, positions: Value) -> Value {
        let table = self.table(s, name);
        drop(s, table.gather_rows(tokens) * (self.d_model as f32).sqrt() + positions, self.dropout)
    }

    fn attention(&self, s: &mut Scope, parts: [Value; 3], causal: bool, mask: Option<Value>) -> Value {
        let [query, key, value] = parts;
        let how = Attend { causal, window: None, mask, dropout: self.dropout, scale: None };
        let y = attend(s, query, key, value, &how);
        self.linear(s, "out_proj", y, self.d_model)
    }

    fn projections(&self, s: &mut Scope) -> Projections {
        let width = self.d_model;
        let weight = s.param("in_proj_weight", [3 * width, width], self.matrices());
        Projections { weight, bias: s.param("in_proj_bias", [3 * width], Init::Zeros), width }
    }

    /// A part of a layer with its norm and the residual sum.
    fn residual(&self, s: &mut Scope, norm: &str, x: Value, part: impl FnOnce(&mut Scope, Value) -> Value) -> Value {
        let normed = if self.norm_first { self.norm(s, norm, x) } else { x };
        let y = part(s, normed);
        let sum = x + drop(s, y, self.dropout);
        if self.norm_first { sum } else { self.norm(s, norm, sum) }
    }

    fn perceptron(&self, s: &mut Scope, x: Value) -> Value {
        let y = self.linear(s, "linear1", x, self.dim_feedforward);
        let y = drop(s, activate(&self.activation, y), self.dropout);
        self.linear(s, "linear2", y, self.d_model)
    }

    /// What hides the padding of sources `(rows, length)`: 0 or −∞, `(rows, 1, 1, length)`.
    fn hidden(&self, s: &mut Scope, source: Value) -> Value {
        let known = source.not_equal(s.trace().scalar_u32(self.pad_token_id));
        let hidden = known.select(s.trace().scalar(0.0), f32::NEG_INFINITY);
        let [rows, length] = source.shape()[..] else { return hidden };
        hidden.reshape([rows, 1, 1, length])
    }

    /// What the encoder makes of sources `u32 (rows, max_source)`: `(rows, max_source, d_model)`.
    pub(super) fn encode(&self, s: &mut Scope, source: Value) -> Value {
        let mask = Some(self.hidden(s, source));
        let positions = self.positions(s, self.max_source);
        let mut x = self.embed(s, "src_embedding", source, positions);
        s.scope("transformer.encoder", |s| {
            for layer in 0..self.num_encoder_layers {
                x = s.scope(&format!("layers.{layer}"), |s| {
                    let x = self.residual(s, "norm1", x, |s, x| {
                        s.scope("self_attn", |s| {
                            let parts = self.heads(self.projections(s).of(x, 0));
                            self.attention(s, parts, false, mask)
                        })
                    });
                    self.residual(s, "norm2", x, |s, x| self.perceptron(s, x))
                });
            }
            self.norm(s, "norm", x)
        })
    }

    /// Runs `function` for the attention to the source in each layer of the decoder.
    pub(super) fn each_layer(&self, s: &mut Scope, function: impl Fn(&mut Scope, &Projections)) {
        for layer in 0..self.num_decoder_layers {
            s.scope(&format!("transformer.decoder.layers.{layer}.multihead_attn"), |s| {
                let projections = self.projections(s);
                function(s, &projections);
            });
        }
    }

    /// The logits `(rows, length, vocab_size)` after embedded target tokens `(rows, length, d_model)`. `source` gives keys
    /// and values of the sources, `u32 (rows, max_source)`; in a step, rows are the beams of the sources.
    pub(super) fn decode(
        &self,
        s: &mut Scope,
        mut x: Value,
        sources: Value,
        source: &KeysAndValues<'_>,
        step: Option<&Step>,
    ) -> Value {
        let hidden = Some(self.hidden(s, sources));
        let x = s.scope("transformer.decoder", |s| {
            for layer in 0..self.num_decoder_layers {
                x = s.scope(&format!("layers.{layer}"), |s| {
                    let x = self.residual(s, "norm1", x, |s, x| {
                        s.scope("self_attn", |s| {
                            let [query, mut key, mut value] = self.projections(s).of(x, 0);
                            if let Some(step) = step {
                                (key, value) =
                                    (step.remember(s, "cached_key", key), step.remember(s, "cached_value", value));
                            }
                            let parts = self.heads([query, key, value]);
                            self.attention(s, parts, step.is_none(), step.map(Step::mask))
                        })
                    });
                    let x = self.residual(s, "norm2", x, |s, x| {
                        s.scope("multihead_attn", |s| {
                            let projections = self.projections(s);
                            let ([query], [key, value]) = (projections.of(x, 0), source(s, &projections));
                            // The beams of a source look at it together, as the tokens of a row do.
                            let (rows, all) = (sources.shape()[0], query.shape().elements());
                            let query = query.reshape([rows, all / (rows * self.d_model), self.d_model]);
                            let parts = self.heads([query, key, value]);
                            self.attention(s, parts, false, hidden).reshape(x.shape())
                        })
                    });
                    self.residual(s, "norm3", x, |s, x| self.perceptron(s, x))
                });
            }
            self.norm(s, "norm", x)
        });
        x.matmul(self.table(s, "generator").transpose())
    }

    fn heads(&self, parts: [Value; 3]) -> [Value; 3] {
        parts.map(|part| split_heads(part, self.nhead))
    }

    /// A sample and its targets: `source`, `bos_token_id` and `target`, filled up; `target` and `eos_token_id`, with
    /// [`IGNORED`] after that. Neither has a beginning or an end of its own.
    ///
    /// # Errors
    /// If one is too long, the source is empty, or a token is out of range.
    pub fn row(&self, source: &[u32], target: &[u32]) -> Result<(Vec<u32>, Vec<u32>), String> {
        let mut row = self.source_row(source)?;
        if target.len() >= self.max_target {
            return Err(format!(
                "a target of {} tokens and its end are too long for model.config.max_target = {}",
                target.len(),
                self.max_target
            ));
        }
        self.check_tokens("target", target)?;
        row.push(self.bos_token_id);
        row.extend_from_slice(target);
        row.resize(self.max_source + self.max_target, self.pad_token_id);
        let mut targets = target.to_vec();
        targets.push(self.eos_token_id);
        targets.resize(self.max_target, IGNORED);
        Ok((row, targets))
    }

    /// A source, filled up.
    ///
    /// # Errors
    /// If it is too long or empty, or a token is out of range.
    pub(super) fn source_row(&self, source: &[u32]) -> Result<Vec<u32>, String> {
        if source.len() > self.max_source {
            return Err(format!(
                "a source of {} tokens is too long for model.config.max_source = {}; shorten it",
                source.len(),
                self.max_source
            ));
        }
        self.check_tokens("source", source)?;
        if source.iter().all(|&token| token == self.pad_token_id) {
            return Err("a source has no tokens, or only padding; give at least one".into());
        }
        let mut row = source.to_vec();
        row.resize(self.max_source, self.pad_token_id);
        Ok(row)
    }

    fn check_tokens(&self, what: &str, tokens: &[u32]) -> Result<(), String> {
        match tokens.iter().position(|&token| token as usize >= self.vocab_size) {
            Some(place) => Err(format!(
                "the {what}'s token {} at place {place} is out of range: the model's vocabulary has the tokens 0 to {}",
                tokens[place],
                self.vocab_size.saturating_sub(1)
            )),
            None => Ok(()),
        }
    }

    /// Checks that the model knows its special tokens.
    fn check_special(&self) -> Result<(), String> {
        let special = [("pad", self.pad_token_id), ("bos", self.bos_token_id), ("eos", self.eos_token_id)];
        match special.iter().find(|(_, token)| *token as usize >= self.vocab_size) {
            Some((name, token)) => Err(format!(
                "model.config.{name}_token_id = {token} is out of range: the vocabulary has the tokens 0 to {}",
                self.vocab_size.saturating_sub(1)
            )),
            None => Ok(()),
        }
    }
}

impl Layer for Seq2Seq {
    fn forward(&self, s: &mut Scope, x: Value) -> Value {
        let (source, target) = (self.max_source, self.max_target);
        let fits = source > 0 && target > 0 && x.dtype() == DType::U32 && x.shape().rank() == 2;
        if !fits || x.shape()[1] != source + target {
            let message = format!(
                "it takes u32 token ids (rows, max_source + max_target), here (rows, {source} + {target}), not {}{}",
                x.dtype(),
                x.shape()
            );
            s.trace().fail("seq2seq", message);
            return x;
        }
        let rows = x.shape()[0];
        let sources = x.slice(&[0, 0], [rows, source]);
        let memory = self.encode(s, sources);
        let positions = self.positions(s, target);
        let x = self.embed(s, "tgt_embedding", x.slice(&[0, source], [rows, target]), positions);
        self.decode(s, x, sources, &|_, projections| projections.of(memory, 1), None)
    }

    fn judge(&self, s: &mut Scope, x: Value, objective: &Objective) -> (Value, Value) {
        let output = self.forward(s, x);
        let plain = objective.mean(output);
        let smooths = s.training() && self.label_smoothing > 0.0;
        if smooths {
            (output, mean_cross_entropy(output, objective.targets, self.label_smoothing))
        } else {
            (output, plain)
        }
    }

    fn input_dtype(&self) -> DType {
        DType::U32
    }

    fn own_name(&self, name: &str) -> Option<String> {
        let copy = self.tie_word_embeddings && ["tgt_embedding.weight", "generator.weight"].contains(&name);
        (!copy).then(|| name.to_string())
    }
}

impl Model for Seq2Seq {
    fn check(&self) -> Result<(), String> {
        check_positive(&[
            ("d_model", self.d_model),
            ("nhead", self.nhead),
            ("num_encoder_layers", self.num_encoder_layers),
            ("num_decoder_layers", self.num_decoder_layers),
            ("dim_feedforward", self.dim_feedforward),
        ])?;
        check_dropout(&[("dropout", self.dropout), ("label_smoothing", self.label_smoothing)])?;
        for (key, name, known) in
            [("activation", &self.activation, &ACTIVATIONS[..]), ("initializer", &self.initializer, &INITIALIZERS)]
        {
            if !known.contains(&name.as_str()) {
                return Err(format!("model.config.{key} = {name:?} is not supported; supported: {}", known.join(", ")));
            }
        }
        if !self.d_model.is_multiple_of(2) {
            return Err(format!(
                "model.config.d_model = {} must be even: of each position there are as many sines as cosines",
                self.d_model
            ));
        }
        if !self.d_model.is_multiple_of(self.nhead) {
            return Err(format!(
                "model.config.d_model = {} must be a multiple of model.config.nhead = {}",
                self.d_model, self.nhead
            ));
        }
        if self.vocab_size > 0 { self.check_special() } else { Ok(()) }
    }

    fn sample_shape(&self, data: &[usize]) -> Result<Vec<usize>, String> {
        Ok(data.to_vec())
    }

    fn fit_vocabulary(&mut self, tokens: usize) -> Result<(), String> {
        fit_vocabulary(&mut self.vocab_size, tokens)
    }

    fn fit(&mut self, sample: &[usize], targets: TargetKind) -> Result<(), String> {
        let (&[length], TargetKind::Sequences { count, length: target }) = (sample, targets) else {
            return Err(format!(
                "the model takes rows of a source's and a target's token ids, with a token for each of the target's places, \
                 but the data has samples of shape {sample:?} and {targets}"
            ));
        };
        if target >= length {
            return Err(format!(
                "the data has {length} tokens and {target} targets a row; the tokens must be a source and as many as there \
                 are targets"
            ));
        }
        let lengths =
            [("max_source", &mut self.max_source, length - target), ("max_target", &mut self.max_target, target)];
        for (key, own, found) in lengths {
            if *own == 0 {
                *own = found;
            }
            if *own != found {
                return Err(format!(
                    "the data's rows have room for {} source and {target} target tokens, but model.config.{key} = {own}; \
                     give {found}, or 0 to take the data's",
                    length - target
                ));
            }
        }
        if count > self.vocab_size {
            return Err(format!(
                "the data has {count} tokens, but the model only {}; give vocab_size = {count}",
                self.vocab_size
            ));
        }
        self.check_special()
    }

    fn outputs(&self) -> Option<usize> {
        Some(self.vocab_size).filter(|&size| size > 0)
    }

    fn vocabulary(&self) -> Option<usize> {
        self.outputs()
    }

    fn seq2seq(&self) -> Option<&Seq2Seq> {
        Some(self)
    }

    fn describe(&self) -> String {
        let Seq2Seq { num_encoder_layers, num_decoder_layers, d_model, nhead, .. } = self;
        format!("seq2seq {num_encoder_layers}+{num_decoder_layers} layers, width {d_model}, {nhead} heads")
    }
}
