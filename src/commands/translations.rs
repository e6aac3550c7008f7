//! Texts written anew: what a model that reads a text and writes another makes of them.

use super::{model, print_json, write};
use crate::error::Error;
use nn_data::Tokenizer;
use nn_models::Seq2Seq;
use nn_models::transformer::{Search, Translator};
use nn_train::Trainer;
use serde_json::{Value, json};

/// Prints what becomes of texts, a line each.
///
/// # Errors
/// If model or device cannot be used, or a text cannot be encoded.
pub(super) fn print(
    texts: &[String],
    beams: usize,
    found: &model::Found,
    device: Option<&str>,
    json: bool,
) -> Result<(), Error> {
    let model = found.config.model.architecture.model().seq2seq();
    let model = model.ok_or_else(|| Error::run("internal: the model writes no text anew"))?;
    let tokenizer = write::tokenizer(&found.config)?;
    let mut trainer = found.load(device)?;
    let mut translator = translator(model, beams)?;
    for text in texts {
        let (length, most) = (tokenizer.encode(text)?.len(), translator.longest_source());
        if length > most {
            eprintln!("a text has {length} tokens, but the model reads {most}: the rest was left out");
        }
    }
    let found = translate(&mut translator, &tokenizer, &mut trainer, texts)?;
    if json {
        let document = |text: &String| json!({"text": text});
        return print_json(&json!({"predictions": found.iter().map(document).collect::<Vec<Value>>()}));
    }
    super::print(&found.iter().map(|text| format!("{text}\n")).collect::<String>())
}

/// A translator with so many beams.
///
/// # Errors
/// If the model does not know its lengths.
pub(super) fn translator(model: &Seq2Seq, beams: usize) -> Result<Translator, Error> {
    Ok(Translator::new(model, Search { beams, ..Search::default() })?)
}

/// Translations of texts; of those that are too long or empty of what the model can read of them.
///
/// # Errors
/// If a text cannot be encoded, or the device fails.
pub(super) fn translate(
    translator: &mut Translator,
    tokenizer: &Tokenizer,
    trainer: &mut Trainer,
    texts: &[String],
) -> Result<Vec<String>, Error> {
    let most = translator.longest_source();
    let mut sources = Vec::with_capacity(texts.len());
    for text in texts {
        let mut tokens = tokenizer.encode(text)?;
        tokens.truncate(most);
        sources.push(tokens);
    }
    // Nothing becomes nothing.
    let given: Vec<Vec<u32>> = sources.iter().filter(|source| !source.is_empty()).cloned().collect();
    let session = trainer.session_mut().ok_or_else(|| Error::run("internal: the model is not built"))?;
    let mut found = translator.translate(session, &given)?.into_iter();
    let text = |source: &Vec<u32>| match source.is_empty() {
        true => String::new(),
        false => found.next().map(|found| tokenizer.decode(&found.tokens, true)).unwrap_or_default(),
    };
    Ok(sources.iter().map(text).collect())
}
