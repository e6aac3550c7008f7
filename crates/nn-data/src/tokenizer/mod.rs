//! Tokenizers: text to the numbers that a model reads, and back.

mod characters;
mod hugging_face;
mod pieces;
mod special;
mod stream;
mod training;

use std::ops::Range;
use std::path::Path;

pub use special::SpecialTokens;
pub use stream::StreamDecoder;
pub use training::train_byte_bpe;

use crate::{DataError, text_file};
use characters::Characters;
use hugging_face::HuggingFace;

const EXPECTED: &str = "a tokenizer: tokenizer.json of Hugging Face's form, or one of characters";

/// What turns text into token ids and ids into text.
///
/// There are two kinds. A tokenizer of [characters](Tokenizer::characters) has one token for each character of the text
/// that it was made from. Any other comes from a `tokenizer.json` of Hugging Face's form ([`Tokenizer::load`]: BPE,
/// WordPiece, Unigram and WordLevel) or is [trained](train_byte_bpe) and can be saved as one. Those give the same ids as
/// the `tokenizers` package of Python; what their files say of truncation, padding and dropout is left out.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    kind: Kind,
    special: SpecialTokens,
}

#[derive(Debug, Clone)]
enum Kind {
    Characters(Characters),
    HuggingFace(Box<HuggingFace>),
}

/// A part of one of the texts that were encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextSpan {
    /// 0 for the first text, 1 for the second.
    pub text: usize,
    /// Where it stands in that text.
    pub bytes: Range<usize>,
}

/// Token ids with where they come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Encoding {
    /// The tokens.
    pub ids: Vec<u32>,
    /// For each token the segment that BERT and its like tell apart: 0 for the first text, 1 for the second.
    pub types: Vec<u32>,
    /// For each token the text that it stands for; `None` for tokens that were added, such as `[SEP]`.
    ///
    /// Where a token holds a part of a character only, the span is that of the whole character.
    pub spans: Vec<Option<TextSpan>>,
}

impl Encoding {
    /// How many tokens there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The tokens that stand for some of `bytes` of text number `text`: from the first to the last of them. `None` if
    /// there are none: the bytes are spaces, say, that the tokenizer leaves out.
    pub fn tokens_of(&self, text: usize, bytes: Range<usize>) -> Option<Range<usize>> {
        let overlaps = |span: &Option<TextSpan>| {
            let span = span.as_ref().filter(|span| span.text == text);
            span.is_some_and(|span| span.bytes.start < bytes.end && bytes.start < span.bytes.end)
        };
        let first = self.spans.iter().position(overlaps)?;
        let last = self.spans.iter().rposition(overlaps)?;
        Some(first..last + 1)
    }

    /// The part of text number `text` that the tokens `tokens` stand for, from the first to the last; `None` if they
    /// stand for none of it.
    pub fn bytes_of(&self, text: usize, tokens: Range<usize>) -> Option<Range<usize>> {
        let spans = self.spans.get(tokens)?;
        let mut own = spans.iter().flatten().filter(|span| span.text == text).map(|span| &span.bytes);
        let first = own.next()?;
        let (start, end) =
            own.fold((first.start, first.end), |(start, end), span| (start.min(span.start), end.max(span.end)));
        Some(start..end)
    }
}

impl Tokenizer {
    /// One token for each different character of `text`, in the order of their code points, after the `special` tokens.
    ///
    /// Special tokens (`<pad>`, `<s>`, `[CLS]`, …; usually none for a language model) never come from a text. To encode
    /// a validation text too, make it from both texts: a character that it lacks is an error.
    ///
    /// # Errors
    /// [`DataError::Argument`] for an empty text, and for a special token that is given twice or has fewer than two
    /// characters.
    pub fn characters(text: &str, special: &[&str]) -> Result<Self, DataError> {
        Characters::of_text(text, special).map(Self::of_characters)
    }

    /// Reads a `tokenizer.json` of Hugging Face's form, or a file that [`Tokenizer::save`] wrote.
    ///
    /// # Errors
    /// [`DataError::Read`] for a file that cannot be read; [`DataError::File`] for one that is no tokenizer, is damaged,
    /// or is of an unknown kind.
    pub fn load(path: &Path) -> Result<Self, DataError> {
        Self::from_json(&text_file::read_bytes(path, EXPECTED)?, path)
    }

    /// Reads the bytes of a file; `path` is used in messages only.
    ///
    /// # Errors
    /// As [`Tokenizer::load`].
    pub fn from_json(json: &[u8], path: &Path) -> Result<Self, DataError> {
        if Characters::is_form_of(json) {
            return Characters::from_json(json, path).map(Self::of_characters);
        }
        HuggingFace::from_json(json, path).map(Self::of_hugging_face)
    }

    /// The file as [`Tokenizer::save`] writes it: the same text for the same tokenizer, always.
    ///
    /// # Errors
    /// [`DataError::Argument`] if the `tokenizers` crate cannot write it.
    pub fn to_json(&self) -> Result<String, DataError> {
        match &self.kind {
            Kind::Characters(characters) => Ok(characters.to_json()),
            Kind::HuggingFace(other) => other.to_json(),
        }
    }

    /// Writes a file that [`Tokenizer::load`] reads; unless it is of characters, Python's `tokenizers` and `transformers`
    /// read it too.
    ///
    /// # Errors
    /// [`DataError::Write`], or as [`Tokenizer::to_json`].
    pub fn save(&self, path: &Path) -> Result<(), DataError> {
        std::fs::write(path, self.to_json()?).map_err(|source| DataError::Write { path: path.to_path_buf(), source })
    }

    /// The ids of a text's tokens, with none added. (Python: `encode(text, add_special_tokens=False).ids`.)
    ///
    /// # Errors
    /// [`DataError::Argument`] for a character that a tokenizer of characters lacks, with its place; for what the
    /// `tokenizers` crate cannot encode.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, DataError> {
        match &self.kind {
            Kind::Characters(characters) => characters.encode(text),
            Kind::HuggingFace(other) => other.encode(text),
        }
    }

    /// A text's tokens with where they stand, with none added.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_with_offsets(&self, text: &str) -> Result<Encoding, DataError> {
        match &self.kind {
            Kind::Characters(characters) => characters.encode_with_offsets(text, None, false),
            Kind::HuggingFace(other) => other.encode_with_offsets(text, None, false),
        }
    }

    /// A text's tokens with those added that a model of whole texts expects: `[CLS] … [SEP]`, `<s> … </s>` and so on, as
    /// the tokenizer's file says. (Python: `encode(text)`.)
    ///
    /// A tokenizer of characters adds `[CLS]` and `[SEP]` if it has them.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_whole(&self, text: &str) -> Result<Encoding, DataError> {
        match &self.kind {
            Kind::Characters(characters) => characters.encode_with_offsets(text, None, true),
            Kind::HuggingFace(other) => other.encode_with_offsets(text, None, true),
        }
    }

    /// Two texts in one row, with the tokens added that a model of pairs expects: `[CLS] … [SEP] … [SEP]`, as the
    /// tokenizer's file says. (Python: `encode(first, second)`.)
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_pair(&self, first: &str, second: &str) -> Result<Encoding, DataError> {
        match &self.kind {
            Kind::Characters(characters) => characters.encode_with_offsets(first, Some(second), true),
            Kind::HuggingFace(other) => other.encode_with_offsets(first, Some(second), true),
        }
    }

    /// The text of tokens; bytes that make no whole character become U+FFFD, and ids without a token nothing.
    ///
    /// `skip_special` leaves special tokens out. (Python: `decode(ids, skip_special_tokens=skip_special)`.)
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> String {
        match &self.kind {
            Kind::Characters(characters) => characters.decode(ids, skip_special),
            Kind::HuggingFace(other) => other.decode(ids, skip_special),
        }
    }

    /// Decodes tokens one after the other, as a model makes them.
    pub fn stream(&self, skip_special: bool) -> StreamDecoder<'_> {
        StreamDecoder::new(self, skip_special)
    }

    /// The size of a model's vocabulary that has room for every id: one more than the largest.
    pub fn vocabulary_size(&self) -> usize {
        match &self.kind {
            Kind::Characters(characters) => characters.size(),
            Kind::HuggingFace(other) => other.size(),
        }
    }

    /// The token of this id as the vocabulary spells it (`Ġthe`, `##ing`), if there is one.
    pub fn token_of(&self, id: u32) -> Option<String> {
        match &self.kind {
            Kind::Characters(characters) => characters.token_of(id),
            Kind::HuggingFace(other) => other.token_of(id),
        }
    }

    /// The id of a token as the vocabulary spells it, if there is such a token.
    pub fn id_of(&self, token: &str) -> Option<u32> {
        match &self.kind {
            Kind::Characters(characters) => characters.id_of(token),
            Kind::HuggingFace(other) => other.id_of(token),
        }
    }

    /// The special tokens that are known by their usual names.
    pub fn special(&self) -> SpecialTokens {
        self.special
    }

    /// Whether a token is special: `[PAD]`, `<|endoftext|>` and so on, which [`Tokenizer::decode`] can leave out.
    pub fn is_special(&self, id: u32) -> bool {
        match &self.kind {
            Kind::Characters(characters) => characters.is_special(id),
            Kind::HuggingFace(other) => other.is_special(id),
        }
    }

    /// What kind it is: `characters`, or the kind that its file says: `BPE`, `WordPiece`, `Unigram`, `WordLevel`.
    pub fn kind(&self) -> &'static str {
        match &self.kind {
            Kind::Characters(_) => "characters",
            Kind::HuggingFace(other) => other.kind(),
        }
    }

    fn of_characters(characters: Characters) -> Self {
        let special = SpecialTokens::find(|name| characters.id_of(name).filter(|&id| characters.is_special(id)));
        Self { kind: Kind::Characters(characters), special }
    }

    fn of_hugging_face(other: HuggingFace) -> Self {
        let special = SpecialTokens::find(|name| other.id_of(name).filter(|&id| other.is_special(id)));
        Self { kind: Kind::HuggingFace(Box::new(other)), special }
    }
}

#[cfg(test)]
mod tests;
