//! From configurations to texts that a model is to write anew, such as translations.

use super::Data;
use super::language::{Text, Trial, hold_out};
use super::pictures::Parts;
use crate::error::Error;
use nn_data::{Dataset, Inputs, PairParts, Pairs, PartSizes, Targets, Tokenizer, dates, number_words, train_byte_bpe};
use nn_models::{Model, Seq2Seq};

/// Pairs of a drawn set that are trained on if nothing is said.
const SAMPLES: usize = 8000;
/// Pairs of it that are trained on for each that is held out, and for each that is tested with.
const TRAINED_FOR_TESTED: usize = 8;
/// Tokens of a tokeniser that is made of the training texts of a file.
const VOCABULARY: usize = 8000;
/// Special tokens: what fills up a row, begins a target and ends it, and stands for what is unknown.
const SPECIAL: [&str; 4] = ["[PAD]", "[BOS]", "[EOS]", "[UNK]"];
/// What can be drawn.
const DRAWN: [&str; 2] = ["dates", "number-words"];

/// Data of kind `pairs`: by default drawn dates.
///
/// # Errors
/// What is wrong with the texts, the tokeniser or the model's lengths, with its place.
pub(super) fn pairs(data: &mut Data, model: &dyn Model) -> Result<Parts, Error> {
    let model = model.seq2seq().ok_or_else(|| {
        let what = model.describe();
        Error::usage(format!(
            "data of kind \"pairs\" is for a model that reads a text and writes another, not {what}; take seq2seq"
        ))
    })?;
    let (name, PairParts { training, validation, test }) = read(data)?;
    let (training, validation) =
        hold_out(data, training, validation, test.is_some(), |pairs, share, seed| Ok(pairs.split(share, seed)))?;
    let tokenizer = tokenizer(data, &training)?;
    let mut notes = Vec::new();
    if training.skipped > 0 {
        notes.push(format!("{name}: {} pairs with a blank line were left out", training.skipped));
    }
    let encode = |pairs: &Pairs| Encoded::of(&tokenizer, pairs);
    let all = encode(&training)?;
    let [held_out, tested] = [&validation, &test].map(|part| part.as_ref().map(encode).transpose());
    let (held_out, tested) = (held_out?, tested?);
    let shape = fitted(model, &tokenizer, [Some(&all), held_out.as_ref(), tested.as_ref()].into_iter().flatten())?;
    let mut left_out = 0;
    let refuse = data.refuses_long("skip")?;
    let mut rows = |part: Encoded| {
        let (set, long) = part.dataset(&shape, &name, refuse)?;
        left_out += long;
        Ok::<Dataset, Error>(set)
    };
    let all = rows(all)?;
    let held_out = held_out.map(&mut rows).transpose()?;
    let tested = tested.map(&mut rows).transpose()?;
    if left_out > 0 {
        notes.push(format!(
            "{name}: {left_out} pairs are longer than model.config.max_source = {} and max_target = {} tokens and were left \
             out; when translated, such sources are cut off",
            shape.max_source, shape.max_target
        ));
    }
    let evaluated = validation.as_ref().or(test.as_ref()).unwrap_or(&training).clone();
    let tried = test.or(validation).unwrap_or(training);
    let text = Text {
        notes,
        evaluated: Some(Trial::Pairs(evaluated)),
        tested: Some(Trial::Pairs(tried)),
        ..Text::of(tokenizer)
    };
    Ok(Parts { validation: held_out, test: tested, text: Some(text), ..Parts::one(all) })
}

/// The pairs, and what to call them.
fn read(data: &mut Data) -> Result<(String, PairParts), Error> {
    if let Some(path) = &data.path {
        let languages = data.languages.as_ref().map(|[source, target]| [source.as_str(), target.as_str()]);
        return Ok((path.display().to_string(), PairParts::read(path, languages)?));
    }
    let training = *data.samples.get_or_insert(SAMPLES);
    let other = training.div_ceil(TRAINED_FOR_TESTED);
    let sizes = PartSizes { training, validation: other, test: other };
    let seed = data.seed.unwrap_or(0);
    let drawn = data.drawn.get_or_insert_with(|| DRAWN[0].into());
    let parts = match drawn.as_str() {
        "dates" => dates(sizes, seed)?,
        "number-words" => number_words(sizes, seed)?,
        other => return Err(Error::usage(super::settings::unknown("data.drawn", other, &DRAWN))),
    };
    Ok((format!("drawn {}", drawn.replace('-', " ")), parts))
}

/// The tokeniser that the config names, or one of the training texts: of characters for drawn ones, else byte-level BPE.
fn tokenizer(data: &mut Data, training: &Pairs) -> Result<Tokenizer, Error> {
    let texts = || training.sources.iter().chain(&training.targets);
    let characters = match &data.tokenizer {
        Some(path) if path.as_os_str() == "char" => true,
        Some(path) => return Ok(Tokenizer::load(path)?),
        None => data.path.is_none(),
    };
    if characters {
        return Ok(Tokenizer::characters(&texts().map(String::as_str).collect::<String>(), &SPECIAL)?);
    }
    Ok(train_byte_bpe(texts(), *data.vocabulary.get_or_insert(VOCABULARY), &SPECIAL)?)
}

/// The model with the lengths and the vocabulary of the data, where it leaves them open.
fn fitted<'a>(
    model: &Seq2Seq,
    tokenizer: &Tokenizer,
    parts: impl Iterator<Item = &'a Encoded> + Clone,
) -> Result<Seq2Seq, Error> {
    let mut model = model.clone();
    let special = tokenizer.special();
    let own = [("pad", model.pad_token_id), ("bos", model.bos_token_id), ("eos", model.eos_token_id)];
    for ((name, own), found) in own.into_iter().zip([special.pad, special.bos, special.eos]) {
        match found {
            Some(found) if found == own => {}
            Some(found) => {
                return Err(Error::usage(format!(
                    "the tokeniser's token {name} is {found}, but model.config.{name}_token_id = {own}; give {found}"
                )));
            }
            None => {
                return Err(Error::usage(format!(
                    "the tokeniser has no token {name}; give one with [PAD], [BOS] and [EOS], or leave data.tokenizer out"
                )));
            }
        }
    }
    model.fit_vocabulary(tokenizer.vocabulary_size()).map_err(Error::Usage)?;
    let longest = |of: fn(&(Vec<u32>, Vec<u32>)) -> usize| parts.clone().flat_map(|part| &part.0).map(of).max();
    if model.max_source == 0 {
        model.max_source = longest(|(source, _)| source.len()).unwrap_or(0).max(1);
    }
    if model.max_target == 0 {
        model.max_target = longest(|(_, target)| target.len()).unwrap_or(0) + 1;
    }
    Ok(model)
}

/// Sources and targets as tokens.
struct Encoded(Vec<(Vec<u32>, Vec<u32>)>);

impl Encoded {
    fn of(tokenizer: &Tokenizer, pairs: &Pairs) -> Result<Encoded, Error> {
        let encode = |(source, target): (&String, &String)| {
            Ok::<_, Error>((tokenizer.encode(source)?, tokenizer.encode(target)?))
        };
        Ok(Encoded(pairs.sources.iter().zip(&pairs.targets).map(encode).collect::<Result<_, _>>()?))
    }

    /// The rows, and how many pairs are too long for one.
    fn dataset(self, model: &Seq2Seq, name: &str, refuse: bool) -> Result<(Dataset, usize), Error> {
        let (mut values, mut labels, mut long) = (Vec::new(), Vec::new(), 0);
        for (place, (source, target)) in self.0.iter().enumerate() {
            let fits = source.len() <= model.max_source && target.len() < model.max_target;
            if !fits && !refuse {
                long += 1;
                continue;
            }
            let row = model.row(source, target);
            let (row, targets) =
                row.map_err(|message| Error::run(format!("{name}: pair {place} (from 0): {message}")))?;
            values.extend(row);
            labels.extend(targets);
        }
        if values.is_empty() {
            let (source, target) = (model.max_source, model.max_target);
            return Err(Error::run(format!(
                "{name}: no pair is short enough for model.config.max_source = {source} and max_target = {target}; give more"
            )));
        }
        let vocabulary = model.vocab_size;
        let (length, stride) = (model.max_target, model.max_source + model.max_target);
        let set = Dataset {
            name: name.into(),
            inputs: Inputs::Tokens { values, stride, vocabulary },
            sample_shape: vec![stride],
            targets: Targets::Sequences { labels, length, stride: length, count: vocabulary },
            augmentation: None,
        };
        set.validate()?;
        Ok((set, long))
    }
}
