//! From configurations to data of which a model is to say what comes next.

use super::Data;
use super::pictures::Parts;
use crate::error::Error;
use nn_data::npy::{NpyArray, NpyData};
use nn_data::{Dataset, Inputs, Targets};
use std::path::Path;

/// Tokens a row if nothing is said.
const CONTEXT: usize = 64;

/// Data of kind `tokens`.
///
/// # Errors
/// What is wrong with the file or with a token, with its place; too few tokens for a row.
pub(super) fn tokens(data: &mut Data, path: &Path, vocabulary: Option<usize>) -> Result<Parts, Error> {
    let tokens = read(path, vocabulary)?;
    let count = vocabulary.unwrap_or_else(|| tokens.iter().max().map_or(1, |&largest| largest as usize + 1));
    let fraction = *data.validation.get_or_insert(0.0);
    windows(data, &path.display().to_string(), tokens, count, fraction)
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
    if !(0.0..1.0).contains(&fraction) {
        return Err(Error::usage(format!("data.validation = {fraction} must be 0 or more and below 1")));
    }
    let first = ((tokens.len() as f64) * (1.0 - fraction)) as usize;
    let held_out = tokens.split_off(first);
    let all = rows(name, tokens, context, stride, count)?;
    let validation = if fraction > 0.0 { Some(rows(name, held_out, context, context, count)?) } else { None };
    Ok(Parts { all, validation, test: None })
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

/// Reads a one-dimensional array of token ids.
fn read(path: &Path, vocabulary: Option<usize>) -> Result<Vec<u32>, Error> {
    let fault = |what: String| Error::run(format!("{}: {what}", path.display()));
    let NpyArray { shape, data } = NpyArray::read(path)?;
    if shape.len() != 1 {
        return Err(fault(format!("the array has the shape {shape:?}; give token ids in one dimension")));
    }
    let dtype = data.dtype();
    let wide: Vec<i64> = match data {
        NpyData::U16(values) => values.into_iter().map(i64::from).collect(),
        NpyData::U32(values) => values.into_iter().map(i64::from).collect(),
        NpyData::I64(values) => values,
        _ => {
            return Err(fault(format!(
                "values of type {dtype} are no token ids; save them as uint16, uint32 or int64"
            )));
        }
    };
    let most = vocabulary.map_or(i64::from(u32::MAX), |count| count as i64);
    match wide.iter().position(|token| !(0..most).contains(token)) {
        Some(place) => Err(fault(format!(
            "the token {} at place {place} (from 0) is out of range: the vocabulary has the tokens 0 to {}; correct the file, \
             or give a model with a larger vocab_size",
            wide[place],
            most - 1
        ))),
        None => Ok(wide.into_iter().map(|token| token as u32).collect()),
    }
}
