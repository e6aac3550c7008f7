//! Tokenizers of Hugging Face's form, by the `tokenizers` crate.

use std::path::Path;

use serde_json::Value;
use tokenizers::{EncodeInput, Encoding as CrateEncoding, ModelWrapper};

use super::pieces::pieces;
use super::{Encoding, TextSpan};
use crate::DataError;

/// A longer text is encoded in pieces: the crate keeps over a hundred bytes a token while it works.
const LONG: usize = 1 << 20;
/// How much text on either side of a cut is encoded to see that the cut changes nothing.
const NEIGHBOURHOOD: usize = 200;

/// What to do with another kind of file.
const CONVERT: &str = "a SentencePiece model is converted by transformers' save_pretrained";

#[derive(Debug, Clone)]
pub(super) struct HuggingFace {
    tokenizer: tokenizers::Tokenizer,
    /// One more than the largest id.
    size: usize,
    /// The ids of special tokens, sorted.
    special: Vec<u32>,
}

impl HuggingFace {
    pub(super) fn from_json(json: &[u8], path: &Path) -> Result<Self, DataError> {
        // The crate panics on some files that are not sound, so they are read once before.
        let file: Value = serde_json::from_slice(json).map_err(|error| {
            DataError::file(
                path,
                format!("no tokenizer: it is no JSON: {error}"),
                format!("give a tokenizer.json; {CONVERT}"),
            )
        })?;
        let checked = check_templates(&file["post_processor"]);
        let read = checked.and_then(|()| tokenizers::Tokenizer::from_bytes(json).map_err(|error| error.to_string()));
        let mut tokenizer = read.map_err(|error| {
            let (what, remedy) = explain(&file, &error);
            DataError::file(path, what, remedy)
        })?;
        // Rows are cut and filled where batches are made: a file that says otherwise would lose text in silence.
        let untruncated = tokenizer.with_truncation(None).map(|_| ());
        untruncated.map_err(|error| DataError::file(path, format!("internal: {error}"), "report this"))?;
        tokenizer.with_padding(None);
        // Dropout would give other tokens each time.
        if let ModelWrapper::BPE(model) = tokenizer.get_model()
            && model.dropout.is_some()
        {
            let mut model = model.clone();
            model.dropout = None;
            tokenizer.with_model(model);
        }
        let largest = tokenizer.get_vocab(true).into_values().max();
        let Some(largest) = largest else {
            return Err(DataError::file(
                path,
                "the tokenizer's vocabulary is empty",
                "train it, or get the file again",
            ));
        };
        let added = tokenizer.get_added_tokens_decoder();
        let mut special: Vec<u32> = added.iter().filter(|(_, token)| token.special).map(|(&id, _)| id).collect();
        special.sort_unstable();
        Ok(Self { tokenizer, size: largest as usize + 1, special })
    }

    pub(super) fn to_json(&self) -> Result<String, DataError> {
        self.tokenizer.to_string(true).map_err(|error| {
            DataError::argument(format!("cannot write the tokenizer: {error}"), "keep the file that it was read from")
        })
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    pub(super) fn is_special(&self, id: u32) -> bool {
        self.special.binary_search(&id).is_ok()
    }

    pub(super) fn token_of(&self, id: u32) -> Option<String> {
        self.tokenizer.id_to_token(id)
    }

    pub(super) fn id_of(&self, token: &str) -> Option<u32> {
        self.tokenizer.token_to_id(token)
    }

    pub(super) fn kind(&self) -> &'static str {
        match self.tokenizer.get_model() {
            ModelWrapper::BPE(_) => "BPE",
            ModelWrapper::WordPiece(_) => "WordPiece",
            ModelWrapper::WordLevel(_) => "WordLevel",
            ModelWrapper::Unigram(_) => "Unigram",
        }
    }

    pub(super) fn encode(&self, text: &str) -> Result<Vec<u32>, DataError> {
        self.encode_in_pieces(text, LONG)
    }

    /// Encodes a text in pieces of about `size` bytes, as far as that gives the same tokens.
    fn encode_in_pieces(&self, text: &str, size: usize) -> Result<Vec<u32>, DataError> {
        let mut ids = Vec::new();
        // What is to be encoded next, and where the piece after it begins.
        let (mut start, mut end) = (0, 0);
        for piece in pieces(text, size) {
            end += piece.len();
            if end == text.len() || self.may_cut(text, end)? {
                ids.extend_from_slice(self.encode_piece(&text[start..end])?.get_ids());
                start = end;
            }
        }
        Ok(ids)
    }

    /// Whether a cut at `place` leaves the tokens around it as they are.
    fn may_cut(&self, text: &str, place: usize) -> Result<bool, DataError> {
        let mut start = place.saturating_sub(NEIGHBOURHOOD);
        let mut end = (place + NEIGHBOURHOOD).min(text.len());
        while !text.is_char_boundary(start) {
            start -= 1;
        }
        while !text.is_char_boundary(end) {
            end += 1;
        }
        let whole = self.encode_piece(&text[start..end])?;
        let (before, after) = (self.encode_piece(&text[start..place])?, self.encode_piece(&text[place..end])?);
        Ok(whole.get_ids().iter().eq(before.get_ids().iter().chain(after.get_ids())))
    }

    fn encode_piece(&self, text: &str) -> Result<CrateEncoding, DataError> {
        self.tokenizer.encode_fast(text, false).map_err(|error| cannot_encode(&*error))
    }

    pub(super) fn encode_with_offsets(
        &self,
        first: &str,
        second: Option<&str>,
        mark: bool,
    ) -> Result<Encoding, DataError> {
        let input = match second {
            Some(second) => EncodeInput::Dual(first.into(), second.into()),
            None => EncodeInput::Single(first.into()),
        };
        let found = self.tokenizer.encode(input, mark).map_err(|error| cannot_encode(&*error))?;
        let texts = found.get_sequence_ids();
        let added = found.get_special_tokens_mask();
        let spans = found.get_offsets().iter().zip(texts).zip(added).map(|((&(start, end), text), &added)| {
            // Without a second text and added tokens, the crate leaves the number of the text out.
            let text = if second.is_none() { Some(0) } else { text };
            text.filter(|_| added == 0).map(|text| TextSpan { text, bytes: start..end })
        });
        Ok(Encoding { ids: found.get_ids().to_vec(), types: found.get_type_ids().to_vec(), spans: spans.collect() })
    }

    pub(super) fn decode(&self, ids: &[u32], skip_special: bool) -> String {
        // No decoder of the crate fails; if one comes to, the plain tokens tell more than nothing.
        self.tokenizer.decode(ids, skip_special).unwrap_or_else(|_| {
            let shown = ids.iter().filter(|&&id| !skip_special || !self.is_special(id));
            shown.filter_map(|&id| self.token_of(id)).collect()
        })
    }
}

fn cannot_encode(error: &(dyn std::error::Error + Send + Sync)) -> DataError {
    DataError::argument(
        format!("the text cannot be encoded: {error}"),
        "take a tokenizer whose vocabulary has a token for unknown text",
    )
}

/// Checks that each special token of a template for whole texts is told of there.
fn check_templates(processor: &Value) -> Result<(), String> {
    let lists = ["processors", "single", "pair"].map(|name| processor[name].as_array());
    let [processors, templates @ ..] = lists;
    processors.into_iter().flatten().try_for_each(check_templates)?;
    for piece in templates.into_iter().flatten().flatten() {
        match piece["SpecialToken"]["id"].as_str() {
            Some(token) if processor["special_tokens"].get(token).is_none() => {
                return Err(format!(
                    "the template of its post_processor has a token {token:?} that is not among its special tokens"
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Says what is wrong with a file that the crate does not read, and what to do.
fn explain(file: &Value, error: &str) -> (String, String) {
    let is_vocabulary = file.as_object().is_some_and(|file| !file.is_empty() && file.values().all(Value::is_u64));
    if is_vocabulary {
        return (
            "no tokenizer, but a bare vocabulary".into(),
            "give the tokenizer.json that belongs to it; transformers' save_pretrained writes it".into(),
        );
    }
    if file.get("model").is_none() {
        let name = if file.get("tokenizer_class").is_some() { ": it is a tokenizer_config.json" } else { "" };
        return (
            format!("no tokenizer: it has no field \"model\"{name}"),
            format!("give the tokenizer.json beside it; {CONVERT}"),
        );
    }
    let kind = file["model"]["type"].as_str().map(|kind| format!(" of kind {kind}")).unwrap_or_default();
    (
        format!("a tokenizer{kind} that cannot be read: {error}"),
        "what can be read is BPE, WordPiece, Unigram and WordLevel as tokenizers 0.23 writes them; load the file there and \
         save it again"
            .into(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_have_the_same_tokens_in_pieces() {
        let path = Path::new("x");
        for json in super::super::tests::GOLDEN_FILES {
            let tokenizer = HuggingFace::from_json(json.as_bytes(), path).unwrap();
            let text = include_str!("mod.rs").replace("    ", "\n") + include_str!("../topics.rs");
            let whole = tokenizer.encode_in_pieces(&text, usize::MAX).unwrap();
            assert_eq!(tokenizer.encode_in_pieces(&text, 100).unwrap(), whole, "{}", tokenizer.kind());
        }
    }

    #[test]
    fn cuts_that_change_tokens_are_not_made() {
        let tokenizer = HuggingFace::from_json(super::super::tests::METASPACE.as_bytes(), Path::new("x")).unwrap();
        // Each piece would begin with a token for a space that is not there.
        assert!(!tokenizer.may_cut("one\ntwo", 4).unwrap());
    }
}
