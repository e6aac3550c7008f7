//! BERT (Devlin et al. 2018), RoBERTa (Liu et al. 2019) and DistilBERT (Sanh et al. 2019), as in `transformers`.

use super::encoder::{Encoder, Family, Head};
use super::settings::{Other, check_dropout, check_model_type, check_other, check_positive, document};
use super::{check_activation, fit_vocabulary};
use crate::Model;
use nn_core::{DType, Value};
use nn_train::Scope;
use nn_train::nn::{Layer, Objective, TargetKind};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// `transformers.BertForSequenceClassification` and the others of its family, or with `model_type` `roberta` those of
/// `RobertaModel`'s: token ids `u32 (rows, length)` → what [`Head`] says. `pad_token_id` is seen by no token.
///
/// Tensors are named as there: `bert.encoder.layer.0.attention.self.query.weight`, `classifier.weight`, …; files without
/// the prefix are read too. Weights begin normal with `initializer_range`, biases 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bert {
    /// Tokens; 0 takes the data's.
    pub vocab_size: usize,
    /// The width.
    pub hidden_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Heads of attention.
    pub num_attention_heads: usize,
    /// The width inside a layer's perceptron.
    pub intermediate_size: usize,
    /// The activation there.
    pub hidden_act: String,
    /// Dropout of embeddings and before each residual sum.
    pub hidden_dropout_prob: f32,
    /// Dropout of the attention's weights.
    pub attention_probs_dropout_prob: f32,
    /// Dropout before the classifier; by default `hidden_dropout_prob`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classifier_dropout: Option<f32>,
    /// Rows in the table of positions.
    pub max_position_embeddings: usize,
    /// Kinds of segments. Every token is of the first, unless `sep_token_id` says where the second begins.
    pub type_vocab_size: usize,
    /// The standard deviation of weights at first.
    pub initializer_range: f64,
    /// What layer normalisation adds to the variance.
    pub layer_norm_eps: f32,
    /// The token that fills up rows.
    pub pad_token_id: u32,
    /// The token that ends each text of a row: those after the first of them, but for padding, are of the second kind of
    /// segment, as BERT's tokeniser has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sep_token_id: Option<u32>,
    /// What hidden tokens are replaced by, for masked language modelling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask_token_id: Option<u32>,
    /// What stands on top; by default what `architectures` says, else a classifier of sequences.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<Head>,
    /// Classes or values; by default those of `id2label`, else the data's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_labels: Option<usize>,
    #[serde(flatten)]
    /// The other settings of a file, by name; those without effect are kept, others refused.
    pub other: Other,
}

/// `transformers.DistilBertForSequenceClassification` and the others of its family; as [`Bert`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DistilBert {
    /// Tokens; 0 takes the data's.
    pub vocab_size: usize,
    /// The width.
    pub dim: usize,
    /// Layers.
    pub n_layers: usize,
    /// Heads of attention.
    pub n_heads: usize,
    /// The width inside a layer's perceptron.
    pub hidden_dim: usize,
    /// The activation there.
    pub activation: String,
    /// Dropout of embeddings and before each residual sum.
    pub dropout: f32,
    /// Dropout of the attention's weights.
    pub attention_dropout: f32,
    /// Dropout before the classifier.
    pub seq_classif_dropout: f32,
    /// Dropout before the span's logits.
    pub qa_dropout: f32,
    /// Rows in the table of positions.
    pub max_position_embeddings: usize,
    /// The standard deviation of weights at first.
    pub initializer_range: f64,
    /// The token that fills up rows.
    pub pad_token_id: u32,
    /// What hidden tokens are replaced by, for masked language modelling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask_token_id: Option<u32>,
    /// What stands on top; by default what `architectures` says, else a classifier of sequences.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<Head>,
    /// Classes or values; by default those of `id2label`, else the data's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_labels: Option<usize>,
    #[serde(flatten)]
    /// The other settings of a file, by name; those without effect are kept, others refused.
    pub other: Other,
}

impl Default for Bert {
    fn default() -> Bert {
        Bert {
            vocab_size: 30522,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: "gelu".into(),
            hidden_dropout_prob: 0.1,
            attention_probs_dropout_prob: 0.1,
            classifier_dropout: None,
            max_position_embeddings: 512,
            type_vocab_size: 2,
            initializer_range: 0.02,
            layer_norm_eps: 1e-12,
            pad_token_id: 0,
            sep_token_id: None,
            mask_token_id: None,
            head: None,
            num_labels: None,
            other: Other::new(),
        }
    }
}

impl Default for DistilBert {
    fn default() -> DistilBert {
        DistilBert {
            vocab_size: 30522,
            dim: 768,
            n_layers: 6,
            n_heads: 12,
            hidden_dim: 3072,
            activation: "gelu".into(),
            dropout: 0.1,
            attention_dropout: 0.1,
            seq_classif_dropout: 0.2,
            qa_dropout: 0.1,
            max_position_embeddings: 512,
            initializer_range: 0.02,
            pad_token_id: 0,
            mask_token_id: None,
            head: None,
            num_labels: None,
            other: Other::new(),
        }
    }
}

/// The head that a file's `architectures` names.
fn named_head(other: &Other) -> Option<Head> {
    let named = other.get("architectures").and_then(Json::as_array);
    named.and_then(|names| names.first()).and_then(Json::as_str).and_then(Head::of)
}

/// The number of labels that a file's `id2label` names.
fn named_labels(other: &Other) -> Option<usize> {
    other.get("id2label").and_then(Json::as_object).map(|names| names.len())
}

impl Bert {
    fn encoder(&self) -> Encoder<'_> {
        let head = self.head.or(named_head(&self.other)).unwrap_or_default();
        Encoder {
            family: match self.other.get("model_type").and_then(Json::as_str) {
                Some("roberta") => Family::Roberta,
                _ => Family::Bert,
            },
            vocabulary: self.vocab_size,
            width: self.hidden_size,
            layers: self.num_hidden_layers,
            heads: self.num_attention_heads,
            inner: self.intermediate_size,
            activation: &self.hidden_act,
            dropout: self.hidden_dropout_prob,
            attention_dropout: self.attention_probs_dropout_prob,
            positions: self.max_position_embeddings,
            types: self.type_vocab_size,
            eps: self.layer_norm_eps,
            std: self.initializer_range,
            pad: self.pad_token_id,
            separator: self.sep_token_id.filter(|_| self.type_vocab_size > 1),
            mask_token: self.mask_token_id,
            head,
            head_dropout: self.classifier_dropout.unwrap_or(self.hidden_dropout_prob),
            labels: self.num_labels.or(named_labels(&self.other)).unwrap_or(2),
        }
    }
}

impl DistilBert {
    fn encoder(&self) -> Encoder<'_> {
        let head = self.head.or(named_head(&self.other)).unwrap_or_default();
        Encoder {
            family: Family::DistilBert,
            vocabulary: self.vocab_size,
            width: self.dim,
            layers: self.n_layers,
            heads: self.n_heads,
            inner: self.hidden_dim,
            activation: &self.activation,
            dropout: self.dropout,
            attention_dropout: self.attention_dropout,
            positions: self.max_position_embeddings,
            types: 0,
            eps: 1e-12,
            std: self.initializer_range,
            pad: self.pad_token_id,
            separator: None,
            mask_token: self.mask_token_id,
            head,
            head_dropout: match head {
                Head::SequenceClassification => self.seq_classif_dropout,
                Head::QuestionAnswering => self.qa_dropout,
                _ => self.dropout,
            },
            labels: self.num_labels.or(named_labels(&self.other)).unwrap_or(2),
        }
    }
}

macro_rules! encoder_model {
    ($model:ident, $kinds:expr, $others:expr, $separate:expr) => {
        impl Layer for $model {
            fn forward(&self, s: &mut Scope, x: Value) -> Value {
                self.encoder().forward(s, x)
            }

            fn judge(&self, s: &mut Scope, x: Value, objective: &Objective) -> (Value, Value) {
                let encoder = self.encoder();
                if encoder.head == Head::MaskedLanguageModelling {
                    return encoder.judge_masked(s, x);
                }
                let output = encoder.forward(s, x);
                (output, objective.mean(output))
            }

            fn input_dtype(&self) -> DType {
                DType::U32
            }

            fn own_name(&self, name: &str) -> Option<String> {
                own_name(&self.encoder(), name)
            }
        }

        impl Model for $model {
            fn check(&self) -> Result<(), String> {
                check_model_type(&self.other, $kinds)?;
                check_other(&self.other, $others)?;
                check(&self.encoder())
            }

            fn sample_shape(&self, data: &[usize]) -> Result<Vec<usize>, String> {
                Ok(data.to_vec())
            }

            fn fit_vocabulary(&mut self, tokens: usize) -> Result<(), String> {
                fit_vocabulary(&mut self.vocab_size, tokens)
            }

            fn fit_special(&mut self, pad: u32, separator: u32) -> Result<(), String> {
                check_pad(self.pad_token_id, pad)?;
                let separate: fn(&mut $model, u32) = $separate;
                separate(self, separator);
                Ok(())
            }

            fn answers_questions(&self) -> bool {
                self.encoder().head == Head::QuestionAnswering
            }

            fn fit(&mut self, sample: &[usize], targets: TargetKind) -> Result<(), String> {
                let mut labels = self.num_labels.or(named_labels(&self.other));
                self.encoder().fit(&mut labels, sample, targets)?;
                self.num_labels = labels;
                Ok(())
            }

            fn outputs(&self) -> Option<usize> {
                self.num_labels.or(named_labels(&self.other))
            }

            fn vocabulary(&self) -> Option<usize> {
                Some(self.vocab_size).filter(|&size| size > 0)
            }

            fn longest_row(&self) -> Option<usize> {
                Some(self.encoder().context())
            }

            fn task_type(&self) -> Option<&'static str> {
                match self.encoder().head {
                    Head::SequenceClassification => Some("SEQ_CLS"),
                    Head::TokenClassification => Some("TOKEN_CLS"),
                    Head::QuestionAnswering => Some("QUESTION_ANS"),
                    Head::Embedding => Some("FEATURE_EXTRACTION"),
                    Head::MaskedLanguageModelling => None,
                }
            }

            fn has_own_loss(&self) -> bool {
                self.encoder().head == Head::MaskedLanguageModelling
            }

            fn hugging_face(&self, labels: &[String]) -> Option<Json> {
                hugging_face(self, &self.encoder(), labels)
            }

            fn describe(&self) -> String {
                let Encoder { family, layers, width, heads, .. } = self.encoder();
                format!("{} {layers} layers, width {width}, {heads} heads", family.names().prefix)
            }
        }
    };
}

encoder_model!(
    Bert,
    &["bert", "roberta"],
    &[("position_embedding_type", &["\"absolute\""]), ("tie_word_embeddings", &["true"])],
    |model, separator| {
        // RoBERTa's has one kind of segment.
        if model.type_vocab_size > 1 {
            model.sep_token_id = Some(separator);
        }
    }
);
encoder_model!(
    DistilBert,
    &["distilbert"],
    &[("sinusoidal_pos_embds", &["false"]), ("tie_word_embeddings", &["true"]), ("tie_weights_", &["true"])],
    |_, _| {}
);

/// Checks that the data's rows are filled up with the token that the model takes for padding.
///
/// # Errors
/// If it is another.
fn check_pad(own: u32, data: u32) -> Result<(), String> {
    match own == data {
        true => Ok(()),
        false => Err(format!(
            "the data's rows are filled up with token {data}, but model.config.pad_token_id = {own}; give {data}, or the \
             tokeniser that belongs to the model"
        )),
    }
}

/// The `config.json`: `transformers` reads the number of labels off their names.
fn hugging_face(model: &impl Serialize, encoder: &Encoder<'_>, labels: &[String]) -> Option<Json> {
    let (kind, class) = match encoder.family {
        Family::Bert => ("bert", "Bert"),
        Family::Roberta => ("roberta", "Roberta"),
        Family::DistilBert => ("distilbert", "DistilBert"),
    };
    let mut document = document(model, kind, &format!("{class}{}", encoder.head.architecture()))?;
    let fields = document.as_object_mut()?;
    fields.remove("num_labels");
    let name = |label: usize| labels.get(label).cloned().unwrap_or_else(|| format!("LABEL_{label}"));
    let names: Vec<String> = (0..encoder.labels).map(name).collect();
    let numbered: serde_json::Map<String, Json> =
        names.iter().enumerate().map(|(label, name)| (label.to_string(), name.clone().into())).collect();
    let numbers: serde_json::Map<String, Json> =
        names.iter().enumerate().map(|(label, name)| (name.clone(), label.into())).collect();
    fields.insert("id2label".into(), numbered.into());
    fields.insert("label2id".into(), numbers.into());
    Some(document)
}

/// Checks the settings by themselves.
///
/// # Errors
/// The first that makes no sense.
fn check(encoder: &Encoder<'_>) -> Result<(), String> {
    check_positive(&[
        ("hidden_size", encoder.width),
        ("num_hidden_layers", encoder.layers),
        ("num_attention_heads", encoder.heads),
        ("intermediate_size", encoder.inner),
        ("max_position_embeddings", encoder.context()),
        ("num_labels", encoder.labels),
    ])?;
    check_dropout(&[
        ("hidden_dropout_prob", encoder.dropout),
        ("attention_probs_dropout_prob", encoder.attention_dropout),
        ("classifier_dropout", encoder.head_dropout),
    ])?;
    check_activation("hidden_act", encoder.activation)?;
    if !encoder.width.is_multiple_of(encoder.heads) {
        return Err(format!(
            "model.config.hidden_size = {} must be a multiple of num_attention_heads = {}",
            encoder.width, encoder.heads
        ));
    }
    Ok(())
}

/// The model's name for a tensor of a file, which may lack the prefix, or have heads that the model has not.
fn own_name(encoder: &Encoder<'_>, name: &str) -> Option<String> {
    let prefix = encoder.family.names().prefix;
    // As TensorFlow had it.
    let name = name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias");
    let inside = ["embeddings.", "encoder.", "transformer.", "pooler."].iter().any(|part| name.starts_with(part));
    let name = if inside { format!("{prefix}.{name}") } else { name };
    let pooled = encoder.family == Family::Bert && encoder.head == Head::SequenceClassification;
    let useless = name.ends_with("position_ids")
        || (name.starts_with(&format!("{prefix}.pooler.")) && !pooled)
        || (encoder.head == Head::Embedding && !name.starts_with(&format!("{prefix}.")))
        // The last layer's weight is the table of embeddings.
        || name.ends_with("predictions.decoder.weight")
        || name.ends_with("predictions.decoder.bias")
        || name == "lm_head.decoder.weight"
        || name == "lm_head.decoder.bias"
        || name == "vocab_projector.weight";
    (!useless).then_some(name)
}
