//! Transformers, with the settings and tensor names of Hugging Face's `transformers`, and what they share.

mod beam;
mod bert;
mod cache;
mod encoder;
mod generate;
mod gpt2;
mod llama;
mod sample;
mod seq2seq;
#[cfg(test)]
mod seq2seq_tests;
mod settings;
mod translate;

pub use beam::{Search, Translation};
pub use bert::{Bert, DistilBert};
pub use cache::Place;
pub use encoder::Head;
pub use generate::Generator;
pub use gpt2::Gpt2;
pub use llama::{Llama, Rope};
pub use sample::Sampling;
pub use seq2seq::Seq2Seq;
pub use settings::Other;
pub use translate::Translator;

use nn_core::ops::Attention;
use nn_core::{DType, Tensor, Value};
use nn_train::nn::{Dropout, Layer, TargetKind};
use nn_train::{Init, Scope};

/// A model that says which token comes next.
pub trait LanguageModel: Layer {
    /// How many tokens it knows.
    fn vocabulary(&self) -> usize;

    /// How many tokens it looks at at most.
    fn context(&self) -> usize;

    /// The tokens that end a text, as far as the settings say.
    fn end_tokens(&self) -> Vec<u32>;

    /// The logits `(rows, length, vocabulary)` of the token after each of `tokens`, `u32 (rows, length)`.
    fn logits(&self, s: &mut Scope, tokens: Value, place: Place) -> Value;
}

/// The activations' names in settings.
const ACTIVATIONS: [&str; 9] =
    ["gelu", "gelu_new", "gelu_pytorch_tanh", "gelu_fast", "relu", "silu", "swish", "tanh", "linear"];

/// Checks an activation's name.
///
/// # Errors
/// If there is no such activation.
fn check_activation(key: &str, name: &str) -> Result<(), String> {
    match ACTIVATIONS.contains(&name) {
        true => Ok(()),
        false => Err(format!("model.config.{key} = {name:?} is not supported; supported: {}", ACTIVATIONS.join(", "))),
    }
}

/// The activation of a checked name.
fn activate(name: &str, x: Value) -> Value {
    match name {
        "gelu" => x.gelu(),
        "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => x.gelu_tanh(),
        "relu" => x.relu(),
        "silu" | "swish" => x.silu(),
        "tanh" => x.tanh(),
        _ => x,
    }
}

/// `x·Wᵀ + b` over the last dimension, with the tensors `<name>.weight [outputs, inputs]` and `<name>.bias`.
fn project(s: &mut Scope, name: &str, x: Value, outputs: usize, bias: bool, std: f64) -> Value {
    let inputs = x.shape().last().copied().unwrap_or(1);
    let layer = nn_train::nn::Linear::new(inputs, outputs).bias(bias);
    s.scope(name, |s| layer.init(Init::Normal { mean: 0.0, std }, Init::Zeros).forward(s, x))
}

/// Dropout of this probability.
fn drop(s: &mut Scope, x: Value, probability: f32) -> Value {
    Dropout::new(probability).forward(s, x)
}

/// `(rows, length, heads · size)` as `(rows, length, heads, size)`.
fn split_heads(x: Value, heads: usize) -> Value {
    let [rows, length, width] = x.shape()[..] else { return x };
    x.reshape([rows, length, heads, width / heads])
}

/// How tokens look at each other.
struct Attend {
    /// Whether each sees only those before it and itself.
    causal: bool,
    /// Whether each sees only so many, if causal: itself and those right before it.
    window: Option<usize>,
    /// Added to the scores, `(rows or 1, 1, queries or 1, keys)`.
    mask: Option<Value>,
    /// Dropout of the weights.
    dropout: f32,
    /// What the scores are multiplied by; by default 1/√size.
    scale: Option<f32>,
}

/// Attention of queries `(rows, queries, heads, size)` to keys and values `(rows, keys, groups, size)`:
/// `(rows, queries, heads · size)`.
fn attend(s: &mut Scope, query: Value, key: Value, value: Value, how: &Attend) -> Value {
    let [rows, queries, heads, size] = query.shape()[..].try_into().unwrap_or([1; 4]);
    // The stream is taken in any case, so that layers after this one draw the same numbers without dropout.
    let stream = s.next_stream();
    let options = Attention {
        scale: how.scale,
        causal: how.causal,
        window: how.window.filter(|_| how.causal),
        mask: how.mask,
        slopes: None,
        dropout: if s.training() { how.dropout } else { 0.0 },
        stream,
    };
    let y = match size <= Attention::LARGEST_SIZE {
        true => query.attention(key, value, &options),
        false => query.attention_composed(key, value, &options),
    };
    y.reshape([rows, queries, heads * size])
}

/// Numbers that are known beforehand.
fn constant(s: &mut Scope, shape: [usize; 2], values: &[f32]) -> Value {
    match Tensor::from_f32(shape, values) {
        Ok(tensor) => s.trace().constant(&tensor),
        Err(error) => {
            s.trace().fail("constant", error.to_string());
            s.trace().scalar(0.0)
        }
    }
}

/// Whether token ids `(rows, length)` have so few places as the model has positions; a mistake of its user if not.
fn fits_context(s: &mut Scope, model: &str, tokens: Value, most: usize) -> bool {
    let (shape, dtype) = (tokens.shape(), tokens.dtype());
    let fits = dtype == DType::U32 && matches!(shape[..], [_, length] if length <= most);
    if !fits {
        let message = format!("it takes u32 token ids (rows, length) with at most {most} in a row, not {dtype}{shape}");
        s.trace().fail(model, message);
    }
    fits
}

/// Takes the number of tokens from the data where it is 0.
///
/// # Errors
/// If the data has more.
fn fit_vocabulary(vocabulary: &mut usize, tokens: usize) -> Result<(), String> {
    if *vocabulary == 0 {
        *vocabulary = tokens;
    }
    if tokens > *vocabulary {
        return Err(format!(
            "the data's vocabulary has {tokens} tokens, but model.config.vocab_size = {vocabulary}; give {tokens} or more"
        ));
    }
    Ok(())
}

/// Checks samples and targets of a language model against its settings.
///
/// # Errors
/// What doesn't fit.
fn fit_language(
    vocabulary: usize,
    (context, key): (usize, &str),
    sample: &[usize],
    targets: TargetKind,
) -> Result<(), String> {
    let [length] = sample else {
        return Err(format!("the model takes rows of token ids, but a sample of the data has shape {sample:?}"));
    };
    let TargetKind::Sequences { count, .. } = targets else {
        return Err(format!(
            "the model says which token comes next, but the data has {targets}; take data of kind text or tokens"
        ));
    };
    if count > vocabulary {
        return Err(format!("the data has {count} tokens, but the model only {vocabulary}; give vocab_size = {count}"));
    }
    if *length > context {
        return Err(format!(
            "data.context = {length}, but model.config.{key} = {context}; give a shorter context or more positions"
        ));
    }
    Ok(())
}
