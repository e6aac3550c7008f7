//! From configurations to texts that a model is to sort.

use super::Data;
use super::language::{Text, hold_out};
use super::pictures::Parts;
use crate::error::Error;
use nn_data::{Dataset, Inputs, LabelledParts, LabelledTexts, Targets, Tokenizer, own_chunks, train_byte_bpe};

/// Tokens a row if nothing is said.
const CONTEXT: usize = 64;
/// Tokens of a tokeniser that is made of the training texts: of a file, and of the project's sources, which are few.
const VOCABULARY: [usize; 2] = [8000, 2000];
/// Characters of a piece of the project's sources.
const CHUNK: usize = 200;
/// Its special tokens, as BERT has them.
pub(super) const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

/// Data of kind `labelled-text`: by default pieces of the project's own sources, by their kind of file.
///
/// # Errors
/// What is wrong with the texts or the tokeniser, with its place.
pub(super) fn labelled(data: &mut Data) -> Result<Parts, Error> {
    let (name, LabelledParts { training, validation, test }) = match &data.path {
        Some(path) => (path.display().to_string(), LabelledParts::read(path)?),
        None => {
            let (training, held_out) = own_chunks(data.seed.unwrap_or(0), CHUNK)?;
            ("pieces of wgrad's sources".into(), LabelledParts { training, validation: Some(held_out), test: None })
        }
    };
    // Texts are held out before they are cut into rows: no part of one may be trained on and evaluated.
    let (training, validation) = hold_out(data, training, validation, test.is_some(), split)?;
    let tokenizer = match &data.tokenizer {
        Some(path) => Tokenizer::load(path)?,
        None => train_byte_bpe(
            &training.texts,
            *data.vocabulary.get_or_insert(VOCABULARY[usize::from(data.path.is_none())]),
            &SPECIAL,
        )?,
    };
    let names = data.classes.clone().unwrap_or_else(|| training.names.clone());
    let mut rows = Rows { tokenizer: &tokenizer, names: &names, data, cut: 0 };
    let (all, _) = rows.of(&training, &name)?;
    let validation = validation.map(|texts| rows.of(&texts, &name)).transpose()?;
    let test = test.map(|texts| rows.of(&texts, &name)).transpose()?;
    let cut = rows.cut;
    let mut notes = Vec::new();
    if cut > 0 {
        let context = data.context.unwrap_or(CONTEXT);
        notes.push(format!(
            "{cut} texts are longer than data.context = {context} tokens and were cut into several rows"
        ));
    }
    let (validation, evaluated) = validation.unzip();
    let (test, tested) = test.unzip();
    let shown = tested.or(evaluated).unwrap_or_default();
    let text = Text { notes, shown, ..Text::of(tokenizer) };
    Ok(Parts { validation, test, text: Some(text), ..Parts::one(all) })
}

/// A text as one row of `context` tokens, and whether it was too long for that.
///
/// # Errors
/// If the tokeniser is not one for such models, or cannot encode the text.
pub(crate) fn text_row(tokenizer: &Tokenizer, text: &str, context: usize) -> Result<(Vec<u32>, bool), Error> {
    let [first, last, pad] = special(tokenizer)?;
    let tokens = tokenizer.encode(text)?;
    let room = context.saturating_sub(2);
    let mut row = vec![first];
    row.extend(tokens.iter().take(room));
    row.push(last);
    row.resize(context, pad);
    Ok((row, tokens.len() > room))
}

/// How many tokens of a row are no padding.
pub(crate) fn text_length(tokenizer: &Tokenizer, row: &[u32]) -> usize {
    let pad = tokenizer.special().pad;
    row.iter().rposition(|&token| Some(token) != pad).map_or(0, |place| place + 1)
}

/// What begins a row, ends its text and fills it up.
pub(super) fn special(tokenizer: &Tokenizer) -> Result<[u32; 3], Error> {
    let special = tokenizer.special();
    let all = special.cls.zip(special.sep).zip(special.pad);
    all.map(|((first, last), pad)| [first, last, pad]).ok_or_else(|| {
        Error::usage("the tokeniser has no [CLS], [SEP] or [PAD]; give one made for models such as BERT")
    })
}

/// Makes rows of texts.
struct Rows<'a> {
    tokenizer: &'a Tokenizer,
    names: &'a [String],
    data: &'a mut Data,
    /// Texts that became several rows.
    cut: usize,
}

impl Rows<'_> {
    /// The rows, and of each the text that it comes from.
    fn of(&mut self, texts: &LabelledTexts, name: &str) -> Result<(Dataset, Vec<String>), Error> {
        let context = *self.data.context.get_or_insert(CONTEXT);
        let refuse = self.data.refuses_long("split")?;
        let [first, last, pad] = special(self.tokenizer)?;
        let room = context.checked_sub(2).filter(|room| *room > 0);
        let room =
            room.ok_or_else(|| Error::usage(format!("data.context = {context} is too short; give 3 or more")))?;
        let (mut values, mut labels, mut sources) = (Vec::new(), Vec::new(), Vec::new());
        for (place, (text, &label)) in texts.texts.iter().zip(&texts.labels).enumerate() {
            let label = self.class(&texts.names[label as usize], name)?;
            let tokens = self.tokenizer.encode(text)?;
            if tokens.len() > room {
                if refuse {
                    return Err(Error::run(format!(
                        "{name}: text {place} (from 0) has {} tokens, more than data.context = {context} has room for; give a \
                         larger one, or data.long = \"split\"",
                        tokens.len()
                    )));
                }
                self.cut += 1;
            }
            // An empty text is a row, too.
            let pieces = tokens.chunks(room).chain(tokens.is_empty().then_some(&tokens[..]));
            for piece in pieces {
                values.push(first);
                values.extend_from_slice(piece);
                values.push(last);
                values.resize(values.len().next_multiple_of(context), pad);
                labels.push(label);
                sources.push(text.clone());
            }
        }
        let vocabulary = self.tokenizer.vocabulary_size();
        let set = Dataset {
            name: name.into(),
            inputs: Inputs::Tokens { values, stride: context, vocabulary },
            sample_shape: vec![context],
            targets: Targets::Classes { labels, names: self.names.to_vec() },
            augmentation: None,
        };
        set.validate()?;
        Ok((set, sources))
    }

    /// The number of the class of this name.
    fn class(&self, label: &str, name: &str) -> Result<u32, Error> {
        let place = self.names.iter().position(|known| known == label);
        place.map(|place| place as u32).ok_or_else(|| {
            let known = self.names.join(", ");
            Error::run(format!("{name}: the label {label:?} is unknown; the model was trained on {known}"))
        })
    }
}

/// Holds out texts of each class alike.
fn split(texts: LabelledTexts, fraction: f64, seed: u64) -> Result<(LabelledTexts, LabelledTexts), Error> {
    // Numbers of texts, to be dealt out as rows are.
    let numbers = Dataset {
        name: "texts".into(),
        inputs: Inputs::Tokens {
            values: (0..texts.texts.len() as u32).collect(),
            stride: 1,
            vocabulary: texts.texts.len(),
        },
        sample_shape: vec![1],
        targets: Targets::Classes { labels: texts.labels.clone(), names: texts.names.clone() },
        augmentation: None,
    };
    let (training, held_out) = numbers.split(fraction, seed)?;
    let part = |chosen: &Dataset| {
        let numbers = (0..chosen.rows()).filter_map(|row| Some(*chosen.token_row(row)?.first()? as usize));
        let (all, labels) = numbers.map(|number| (texts.texts[number].clone(), texts.labels[number])).unzip();
        LabelledTexts { texts: all, labels, names: texts.names.clone() }
    };
    Ok((part(&training), part(&held_out)))
}
