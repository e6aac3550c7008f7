//! Encoders that see a text whole (Vaswani et al. 2017; Devlin et al. 2018), and what stands on top of them.

use super::{Attend, activate, attend, drop, fits_context, project, split_heads};
use nn_core::Value;
use nn_core::ops::CumulativeSum;
use nn_train::nn::{Layer, LayerNorm, TargetKind};
use nn_train::{Init, Scope};
use serde::{Deserialize, Serialize};

/// What stands on top of an encoder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Head {
    /// A class, or some numbers, for each text: `(rows, num_labels)`.
    #[default]
    SequenceClassification,
    /// A class for each token: `(rows, length, num_labels)`.
    TokenClassification,
    /// Where an answer begins and ends: `(rows, 2, length)`.
    QuestionAnswering,
    /// The tokens themselves, some of which are hidden in training: `(rows, length, vocab_size)`.
    MaskedLanguageModelling,
    /// The mean of the last layer over the tokens that are no padding: `(rows, width)`.
    Embedding,
}

impl Head {
    /// The head of a class of Hugging Face's, such as `BertForTokenClassification`.
    pub(super) fn of(architecture: &str) -> Option<Head> {
        let all = [
            Head::SequenceClassification,
            Head::TokenClassification,
            Head::QuestionAnswering,
            Head::MaskedLanguageModelling,
            Head::Embedding,
        ];
        all.into_iter().find(|head| architecture.ends_with(head.architecture()))
    }
}

impl Head {
    /// The end of the name of Hugging Face's class.
    pub(super) fn architecture(self) -> &'static str {
        match self {
            Head::SequenceClassification => "ForSequenceClassification",
            Head::TokenClassification => "ForTokenClassification",
            Head::QuestionAnswering => "ForQuestionAnswering",
            Head::MaskedLanguageModelling => "ForMaskedLM",
            Head::Embedding => "Model",
        }
    }
}

/// Names of an encoder's tensors.
pub(super) struct Names {
    pub(super) prefix: &'static str,
    layers: &'static str,
    query: &'static str,
    key: &'static str,
    value: &'static str,
    output: &'static str,
    attention_norm: &'static str,
    up: &'static str,
    down: &'static str,
    norm: &'static str,
}

const BERT: Names = Names {
    prefix: "bert",
    layers: "encoder.layer",
    query: "attention.self.query",
    key: "attention.self.key",
    value: "attention.self.value",
    output: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    up: "intermediate.dense",
    down: "output.dense",
    norm: "output.LayerNorm",
};
const ROBERTA: Names = Names { prefix: "roberta", ..BERT };
const DISTILBERT: Names = Names {
    prefix: "distilbert",
    layers: "transformer.layer",
    query: "attention.q_lin",
    key: "attention.k_lin",
    value: "attention.v_lin",
    output: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    up: "ffn.lin1",
    down: "ffn.lin2",
    norm: "output_layer_norm",
};

/// Whose encoder it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Bert,
    Roberta,
    DistilBert,
}

impl Family {
    pub(super) fn names(self) -> &'static Names {
        match self {
            Family::Bert => &BERT,
            Family::Roberta => &ROBERTA,
            Family::DistilBert => &DISTILBERT,
        }
    }
}

/// The settings of an encoder, whatever a file calls them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Encoder<'a> {
    pub(super) family: Family,
    pub(super) vocabulary: usize,
    pub(super) width: usize,
    pub(super) layers: usize,
    pub(super) heads: usize,
    pub(super) inner: usize,
    pub(super) activation: &'a str,
    pub(super) dropout: f32,
    pub(super) attention_dropout: f32,
    pub(super) positions: usize,
    /// Kinds of segments; 0 where there is no table of them.
    pub(super) types: usize,
    pub(super) eps: f32,
    pub(super) std: f64,
    pub(super) pad: u32,
    /// What ends a text, where the second text of a row is of another segment.
    pub(super) separator: Option<u32>,
    /// What hidden tokens are replaced by.
    pub(super) mask_token: Option<u32>,
    pub(super) head: Head,
    pub(super) head_dropout: f32,
    pub(super) labels: usize,
}

impl Encoder<'_> {
    /// The longest text.
    pub(super) fn context(&self) -> usize {
        match self.family {
            // Positions are counted from the one after the padding's.
            Family::Roberta => self.positions.saturating_sub(self.pad as usize + 1),
            _ => self.positions,
        }
    }

    fn norm(&self, s: &mut Scope, name: &str, x: Value) -> Value {
        s.scope(name, |s| LayerNorm::new([self.width]).eps(self.eps).forward(s, x))
    }

    fn table(&self, s: &mut Scope, name: &str, rows: usize) -> Value {
        let std = Init::Normal { mean: 0.0, std: self.std };
        s.scope(name, |s| s.param("weight", [rows, self.width], std))
    }

    fn linear(&self, s: &mut Scope, name: &str, x: Value, outputs: usize) -> Value {
        project(s, name, x, outputs, true, self.std)
    }

    /// Rows of a table `(rows, width)`; that of the padding gets no gradient. `torch.nn.Embedding(padding_idx=…)`.
    fn look_up(&self, table: Value, indices: Value) -> Value {
        let rows = table.gather_rows(indices);
        let known = indices.not_equal(indices.recorder().scalar_u32(self.pad));
        let sizes: Vec<usize> = indices.shape().iter().copied().chain([1]).collect();
        known.reshape(sizes).select(rows, rows.detach())
    }

    /// The sum of the embeddings of tokens, positions and segments: the tokens' table and `(rows, length, width)`.
    fn embed(&self, s: &mut Scope, tokens: Value, known: Value) -> (Value, Value) {
        let length = tokens.shape()[1];
        s.scope("embeddings", |s| {
            let words = self.table(s, "word_embeddings", self.vocabulary);
            let places = self.table(s, "position_embeddings", self.positions);
            let mut x = self.look_up(words, tokens);
            if self.types > 0 {
                let types = self.table(s, "token_type_embeddings", self.types);
                x = x + self.segments(s, types, tokens, known);
            }
            let places = match self.family {
                Family::Roberta => {
                    let pad = s.trace().scalar_u32(self.pad);
                    let counted = known.to_f32().cumulative_sum(1).to_u32();
                    self.look_up(places, counted * known + pad)
                }
                _ => places.slice(&[0, 0], [length, self.width]),
            };
            let x = self.norm(s, "LayerNorm", x + places);
            (words, drop(s, x, self.dropout))
        })
    }

    /// The embedding of each token's segment, of the table `(kinds, width)`: `(rows, length, width)`, or `(1, width)` where
    /// all are of the first.
    fn segments(&self, s: &mut Scope, table: Value, tokens: Value, known: Value) -> Value {
        let first = table.slice(&[0, 0], [1, self.width]);
        let Some(separator) = self.separator else { return first };
        let ends = tokens.equal(s.trace().scalar_u32(separator)).to_f32();
        let before = ends.cumulative_sum_by(1, CumulativeSum { exclusive: true, reverse: false });
        let second = before.greater(0.0) * known;
        let sizes: Vec<usize> = tokens.shape().iter().copied().chain([1]).collect();
        second.reshape(sizes).select(table.slice(&[1, 0], [1, self.width]), first)
    }

    fn layer(&self, s: &mut Scope, x: Value, mask: Value) -> Value {
        let names = self.family.names();
        let mut part = |name: &str| split_heads(self.linear(s, name, x, self.width), self.heads);
        let [query, key, value] = [part(names.query), part(names.key), part(names.value)];
        let (mask, dropout) = (Some(mask), self.attention_dropout);
        let y = attend(s, query, key, value, &Attend { causal: false, window: None, mask, dropout, scale: None });
        let y = self.linear(s, names.output, y, self.width);
        let y = drop(s, y, self.dropout);
        let x = self.norm(s, names.attention_norm, y + x);
        let y = self.linear(s, names.up, x, self.inner);
        let y = self.linear(s, names.down, activate(self.activation, y), self.width);
        let y = drop(s, y, self.dropout);
        self.norm(s, names.norm, y + x)
    }

    /// The last layer `(rows, length, width)`, which tokens are no padding `u32 (rows, length)`, the tokens' table.
    fn encode(&self, s: &mut Scope, tokens: Value) -> (Value, Value, Value) {
        let names = self.family.names();
        let known = tokens.not_equal(s.trace().scalar_u32(self.pad));
        let [rows, length] = tokens.shape()[..] else { return (tokens, known, tokens) };
        let hidden = known.select(s.trace().scalar(0.0), f32::NEG_INFINITY);
        let mask = hidden.reshape([rows, 1, 1, length]);
        s.scope(names.prefix, |s| {
            let (words, mut x) = self.embed(s, tokens, known);
            for layer in 0..self.layers {
                x = s.scope(&format!("{}.{layer}", names.layers), |s| self.layer(s, x, mask));
            }
            (x, known, words)
        })
    }

    /// The head's output for token ids `(rows, length)`, see [`Head`].
    pub(super) fn forward(&self, s: &mut Scope, tokens: Value) -> Value {
        if !fits_context(s, self.family.names().prefix, tokens, self.context()) {
            return tokens;
        }
        let (x, known, words) = self.encode(s, tokens);
        let [rows, length, width] = x.shape()[..] else { return x };
        match self.head {
            Head::SequenceClassification => {
                let first = x.slice(&[0, 0, 0], [rows, 1, width]).reshape([rows, width]);
                self.classify(s, first)
            }
            Head::TokenClassification => {
                let x = drop(s, x, self.head_dropout);
                self.linear(s, "classifier", x, self.labels)
            }
            Head::QuestionAnswering => {
                let x = if self.family == Family::DistilBert { drop(s, x, self.head_dropout) } else { x };
                self.linear(s, "qa_outputs", x, 2).permute(&[0, 2, 1])
            }
            Head::MaskedLanguageModelling => self.restore(s, x, words),
            Head::Embedding => {
                let known = known.to_f32();
                let sum = (x * known.reshape([rows, length, 1])).sum(&[1]);
                // A text of nothing but padding has the sum 0.
                sum / known.sum(&[1]).maximum(1.0).reshape([rows, 1])
            }
        }
    }

    /// The classes' logits, from the first token `(rows, width)`.
    fn classify(&self, s: &mut Scope, x: Value) -> Value {
        match self.family {
            Family::Bert => {
                let pooled = s.scope("bert.pooler", |s| self.linear(s, "dense", x, self.width)).tanh();
                let pooled = drop(s, pooled, self.head_dropout);
                self.linear(s, "classifier", pooled, self.labels)
            }
            Family::Roberta => s.scope("classifier", |s| {
                let x = drop(s, x, self.head_dropout);
                let y = self.linear(s, "dense", x, self.width).tanh();
                let y = drop(s, y, self.head_dropout);
                self.linear(s, "out_proj", y, self.labels)
            }),
            Family::DistilBert => {
                let y = self.linear(s, "pre_classifier", x, self.width).relu();
                let y = drop(s, y, self.head_dropout);
                self.linear(s, "classifier", y, self.labels)
            }
        }
    }

    /// The tokens' logits; the last layer's weight is the table of embeddings.
    fn restore(&self, s: &mut Scope, x: Value, words: Value) -> Value {
        let (path, dense, norm, bias) = match self.family {
            Family::Bert => ("cls.predictions", "transform.dense", "transform.LayerNorm", "bias"),
            Family::Roberta => ("lm_head", "dense", "layer_norm", "bias"),
            Family::DistilBert => ("", "vocab_transform", "vocab_layer_norm", "vocab_projector.bias"),
        };
        let function = |s: &mut Scope| {
            let y = self.linear(s, dense, x, self.width);
            // RoBERTa's has this one whatever the others are.
            let y = if self.family == Family::Roberta { y.gelu() } else { activate(self.activation, y) };
            let y = self.norm(s, norm, y);
            y.matmul(words.transpose()) + s.param(bias, [self.vocabulary], Init::Zeros)
        };
        if path.is_empty() { function(s) } else { s.scope(path, function) }
    }

    /// The output, and the loss of tokens hidden at random (Devlin et al. 2018): of 15 % in every 100 that are no
    /// padding 80 are replaced by the mask token, 10 by a random one, and 10 stay.
    pub(super) fn judge_masked(&self, s: &mut Scope, tokens: Value) -> (Value, Value) {
        let shape = tokens.shape();
        let [chosen, how, which] = [0, 1, 2].map(|_| {
            let stream = s.next_stream();
            s.trace().random_uniform(shape.clone(), stream)
        });
        let known = tokens.not_equal(s.trace().scalar_u32(self.pad));
        let chosen = known * chosen.less(0.15);
        let random =
            (which * self.vocabulary as f32).to_u32().minimum(s.trace().scalar_u32(self.vocabulary as u32 - 1));
        // A file of settings often lacks it, and only this needs it.
        let mask = self.mask_token.unwrap_or_else(|| {
            let message = "model.config.mask_token_id is missing: masked language modelling replaces tokens by it";
            s.trace().fail(self.family.names().prefix, message);
            0
        });
        let mask = s.trace().scalar_u32(mask);
        let replaced = how.less(0.8).select(mask, how.less(0.9).select(random, tokens));
        let logits = self.forward(s, chosen.select(replaced, tokens));
        let (losses, weights) = (logits.cross_entropy(tokens), chosen.to_f32());
        (logits, (losses * weights).sum_all() / weights.sum_all().maximum(1.0))
    }

    /// Checks samples and targets of the data; labels of 0 become the data's.
    ///
    /// # Errors
    /// What doesn't fit.
    pub(super) fn fit(&self, labels: &mut Option<usize>, sample: &[usize], targets: TargetKind) -> Result<(), String> {
        let [length] = sample else {
            return Err(format!("the model takes rows of token ids, but a sample of the data has shape {sample:?}"));
        };
        if *length > self.context() {
            return Err(format!(
                "the data has {length} tokens a row, but by model.config.max_position_embeddings = {} the model takes {}",
                self.positions,
                self.context()
            ));
        }
        let found = match (self.head, targets) {
            (Head::SequenceClassification, TargetKind::Classes { count } | TargetKind::Values { width: count }) => {
                count
            }
            (Head::TokenClassification, TargetKind::Sequences { count, length: places }) if places == *length => count,
            (Head::QuestionAnswering, TargetKind::Sequences { length: 2, .. })
            | (Head::MaskedLanguageModelling | Head::Embedding, _) => return Ok(()),
            (head, targets) => {
                return Err(format!("model.config.head = {head:?} cannot be trained on data with {targets}"));
            }
        };
        if *labels.get_or_insert(found) < found {
            return Err(format!(
                "the data has {targets}, but the model {} (model.config.num_labels, or id2label); give {found}",
                self.labels
            ));
        }
        Ok(())
    }
}
