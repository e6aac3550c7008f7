//! From configurations to data of which a model is to say what comes next.

use super::Data;
use super::pictures::Parts;
use crate::error::Error;
use nn_data::tokens::{check_range, read_tokens};
use nn_data::{Dataset, Inputs, Pairs, Questions, Targets, Tokenizer, own_corpus, read_text};
use std::path::Path;

/// Tokens a row if nothing is said.
const CONTEXT: usize = 64;
/// The share of texts that is held out if nothing is said; of one text its end.
const VALIDATION: f64 = 0.1;

/// How texts became tokens.
#[derive(Debug)]
pub(crate) struct Text {
    pub(crate) tokenizer: Tokenizer,
    /// Of a text to go on with: its bytes for each token.
    pub(crate) bytes_per_token: Option<f64>,
    /// What the user should know.
    pub(crate) notes: Vec<String>,
    /// Of each row that is evaluated at the end the text that it comes from, where rows are texts.
    pub(crate) shown: Vec<String>,
    /// What the model is tried out on while it is trained, and at the end, where its output is a text.
    pub(crate) evaluated: Option<Trial>,
    pub(crate) tested: Option<Trial>,
}

/// Texts for which it is known what a model should make of them.
#[derive(Clone, Debug)]
pub(crate) enum Trial {
    Pairs(Pairs),
    Questions(Questions),
}

impl Text {
    pub(super) fn of(tokenizer: Tokenizer) -> Text {
        Text { tokenizer, bytes_per_token: None, notes: Vec::new(), shown: Vec::new(), evaluated: None, tested: None }
    }
}

impl Data {
    /// Whether texts that are too long end the run, by the key `long`; the other way of it is `default`.
    ///
    /// # Errors
    /// If it is neither.
    pub(super) fn refuses_long(&mut self, default: &str) -> Result<bool, Error> {
        let ways = [default, "refuse"];
        let own = self.long.get_or_insert_with(|| default.into());
        match ways.iter().position(|way| way == own) {
            Some(place) => Ok(place == 1),
            None => Err(Error::usage(super::settings::unknown("data.long", own, &ways))),
        }
    }
}

/// Texts to train on and to validate by, of which `split` holds a share out where there are none for that, by a seed.
///
/// # Errors
/// If the share is none, or the texts cannot be split.
pub(super) fn hold_out<T>(
    data: &mut Data,
    training: T,
    validation: Option<T>,
    tested: bool,
    split: impl FnOnce(T, f64, u64) -> Result<(T, T), Error>,
) -> Result<(T, Option<T>), Error> {
    let share = held_out_share(data, validation.is_none() && !tested)?;
    if validation.is_some() || share == 0.0 {
        return Ok((training, validation));
    }
    let (training, held_out) = split(training, share, data.seed.unwrap_or(0))?;
    Ok((training, Some(held_out)))
}

/// The share of texts that is held out: as `data.validation` says, else a tenth of data without a part for that.
///
/// # Errors
/// If it is no share.
fn held_out_share(data: &mut Data, whole: bool) -> Result<f64, Error> {
    let share = *data.validation.get_or_insert(if whole { VALIDATION } else { 0.0 });
    if !(0.0..1.0).contains(&share) {
        return Err(Error::usage(format!("data.validation = {share} must be 0 or more and below 1")));
    }
    Ok(share)
}

/// Data of kind `tokens`.
///
/// # Errors
/// What is wrong with the file or with a token, with its place; too few tokens for a row.
pub(super) fn tokens(data: &mut Data, path: &Path, vocabulary: Option<usize>) -> Result<Parts, Error> {
    let tokens = read_tokens(path)?;
    let count = vocabulary.unwrap_or_else(|| tokens.iter().max().map_or(1, |&largest| largest as usize + 1));
    let name = path.display().to_string();
    check_range(&name, &tokens, count)?;
    data.validation.get_or_insert(0.0);
    let fraction = held_out_share(data, false)?;
    windows(data, &name, tokens, count, fraction)
}

/// Data of kind `text`: by default the project's own sources.
///
/// # Errors
/// What is wrong with the text or the tokeniser, with its place.
pub(super) fn text(data: &mut Data) -> Result<Parts, Error> {
    let (text, name) = match &data.path {
        Some(path) => (read_text(path)?, path.display().to_string()),
        None => (own_corpus()?, "the sources of wgrad".to_string()),
    };
    let fraction = held_out_share(data, true)?;
    let tokenizer = match &data.tokenizer {
        Some(path) if path.as_os_str() != "char" => Tokenizer::load(path)?,
        _ => Tokenizer::characters(&text, &[])?,
    };
    let tokens = tokenizer.encode(&text)?;
    let bytes_per_token = Some(text.len() as f64 / tokens.len().max(1) as f64);
    let parts = windows(data, &name, tokens, tokenizer.vocabulary_size(), fraction)?;
    let text = Text { bytes_per_token, ..Text::of(tokenizer) };
    Ok(Parts { text: Some(text), ..parts })
}

/// The rows of a long list of tokens, the last part of which is held out.
///
/// # Errors
/// If the settings make no sense, or there are too few tokens.
pub(super) fn windows(
    data: &mut Data,
    name: &str,
    mut tokens: Vec<u32>,
    count: usize,
    fraction: f64,
) -> Result<Parts, Error> {
    let context = *data.context.get_or_insert(CONTEXT);
    let sequential = data.order.as_deref() == Some("sequential");
    let stride = *data.stride.get_or_insert(if sequential { context } else { 1 });
    for (key, number) in [("context", context), ("stride", stride)] {
        if number == 0 {
            return Err(Error::usage(format!("data.{key} = 0 makes no sense; give 1 or more")));
        }
    }
    let first = ((tokens.len() as f64) * (1.0 - fraction)) as usize;
    let held_out = tokens.split_off(first);
    let all = rows(name, tokens, context, stride, count)?;
    let validation = if fraction > 0.0 { Some(rows(name, held_out, context, context, count)?) } else { None };
    Ok(Parts { validation, ..Parts::one(all) })
}

/// Row `r` begins at token `r · stride`; its targets are the tokens that follow each.
fn rows(name: &str, tokens: Vec<u32>, context: usize, stride: usize, count: usize) -> Result<Dataset, Error> {
    if tokens.len() <= context {
        return Err(Error::run(format!(
            "{name}: {} tokens are too few for rows of {context} and the token that follows; give a smaller data.context \
             or more data",
            tokens.len()
        )));
    }
    let labels = tokens[1..].to_vec();
    let set = Dataset {
        name: name.into(),
        inputs: Inputs::Tokens { values: tokens, stride, vocabulary: count },
        sample_shape: vec![context],
        targets: Targets::Sequences { labels, length: context, stride, count },
        augmentation: None,
    };
    set.validate()?;
    Ok(set)
}
