//! The tokenizer of characters: each different character of a text is a token.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Value, json};

use super::{Encoding, TextSpan};
use crate::DataError;

/// What tells its file from one of Hugging Face's form.
const TYPE: &str = "wgrad-characters";

/// A vocabulary of characters after special tokens: the place is the id.
#[derive(Debug, Clone)]
pub(super) struct Characters {
    special: Vec<String>,
    characters: Vec<char>,
    ids: HashMap<char, u32>,
}

impl Characters {
    pub(super) fn of_text(text: &str, special: &[&str]) -> Result<Self, DataError> {
        let mut characters: Vec<char> = text.chars().collect();
        characters.sort_unstable();
        characters.dedup();
        let special = special.iter().map(|&token| token.to_owned()).collect();
        Self::new(special, characters).map_err(|what| {
            DataError::argument(
                format!("cannot make a tokenizer of characters: {what}"),
                "give some text, and special tokens such as <pad>, each once",
            )
        })
    }

    fn new(special: Vec<String>, characters: Vec<char>) -> Result<Self, String> {
        if characters.is_empty() {
            return Err("there is no character".into());
        }
        for (index, token) in special.iter().enumerate() {
            // One character could not be told from the text's own.
            if token.chars().count() < 2 {
                return Err(format!("the special token {token:?} is too short"));
            }
            if special[..index].contains(token) {
                return Err(format!("the special token {token:?} occurs twice"));
            }
        }
        let mut ids = HashMap::with_capacity(characters.len());
        for (&c, id) in characters.iter().zip(special.len() as u32..) {
            if ids.insert(c, id).is_some() {
                return Err(format!("the character {c:?} occurs twice"));
            }
        }
        Ok(Self { special, characters, ids })
    }

    /// Whether a file is meant to be one of this form.
    pub(super) fn is_form_of(json: &[u8]) -> bool {
        // The type stands first in a file that was written here; one that was edited is found when all of it is read.
        let head = &json[..json.len().min(200)];
        head.windows(TYPE.len()).any(|window| window == TYPE.as_bytes())
            || (json.len() < 1 << 20
                && serde_json::from_slice::<Value>(json).is_ok_and(|file| file.get("type") == Some(&json!(TYPE))))
    }

    pub(super) fn from_json(json: &[u8], path: &Path) -> Result<Self, DataError> {
        let wrong = |what: String| {
            DataError::file(path, format!("damaged tokenizer of characters: {what}"), "save it again, or make it anew")
        };
        let file: Value = serde_json::from_slice(json).map_err(|error| wrong(error.to_string()))?;
        if file.get("version") != Some(&json!(1)) {
            return Err(wrong("its version is not 1, the one known here".into()));
        }
        let characters = file.get("characters").and_then(Value::as_str);
        let characters = characters.ok_or_else(|| wrong("it has no text \"characters\"".into()))?.chars().collect();
        let special = file.get("special").and_then(Value::as_array);
        let special = special.and_then(|list| list.iter().map(|token| token.as_str().map(str::to_owned)).collect());
        let special = special.ok_or_else(|| wrong("it has no list of texts \"special\"".into()))?;
        Self::new(special, characters).map_err(wrong)
    }

    pub(super) fn to_json(&self) -> String {
        let characters: String = self.characters.iter().collect();
        // Written by hand for the order of the fields.
        let (special, characters) = (json!(self.special), json!(characters));
        format!("{{\"type\":\"{TYPE}\",\"version\":1,\"special\":{special},\"characters\":{characters}}}\n")
    }

    pub(super) fn size(&self) -> usize {
        self.special.len() + self.characters.len()
    }

    pub(super) fn is_special(&self, id: u32) -> bool {
        (id as usize) < self.special.len()
    }

    fn character_of(&self, id: u32) -> Option<char> {
        self.characters.get((id as usize).checked_sub(self.special.len())?).copied()
    }

    pub(super) fn token_of(&self, id: u32) -> Option<String> {
        self.special.get(id as usize).cloned().or_else(|| self.character_of(id).map(String::from))
    }

    pub(super) fn id_of(&self, token: &str) -> Option<u32> {
        let mut characters = token.chars();
        match (characters.next(), characters.next()) {
            (Some(only), None) => self.ids.get(&only).copied(),
            _ => self.special.iter().position(|own| own == token).map(|place| place as u32),
        }
    }

    pub(super) fn encode(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let id = |(place, c): (usize, char)| self.ids.get(&c).copied().ok_or_else(|| self.unknown(text, place, c));
        text.char_indices().map(id).collect()
    }

    fn unknown(&self, text: &str, place: usize, c: char) -> DataError {
        let before = &text[..place];
        let line = 1 + before.matches('\n').count();
        let column = 1 + before.chars().rev().take_while(|&c| c != '\n').count();
        DataError::argument(
            format!(
                "the character {c:?} (U+{:04X}) at line {line}, column {column} of the text (byte {place}, from 0) is not \
                 among the {} of the tokenizer",
                u32::from(c),
                self.characters.len()
            ),
            "replace it, or make the tokenizer from a text that has it",
        )
    }

    pub(super) fn encode_with_offsets(
        &self,
        first: &str,
        second: Option<&str>,
        mark: bool,
    ) -> Result<Encoding, DataError> {
        let (cls, sep) = (self.id_of("[CLS]").filter(|_| mark), self.id_of("[SEP]").filter(|_| mark));
        let mut encoding = Encoding::default();
        let mut push = |id: u32, segment: u32, span: Option<TextSpan>| {
            encoding.ids.push(id);
            encoding.types.push(segment);
            encoding.spans.push(span);
        };
        cls.into_iter().for_each(|id| push(id, 0, None));
        for (number, text) in [Some(first), second].into_iter().flatten().enumerate() {
            for ((start, c), id) in text.char_indices().zip(self.encode(text)?) {
                let span = TextSpan { text: number, bytes: start..start + c.len_utf8() };
                push(id, number as u32, Some(span));
            }
            sep.into_iter().for_each(|id| push(id, number as u32, None));
        }
        Ok(encoding)
    }

    pub(super) fn decode(&self, ids: &[u32], skip_special: bool) -> String {
        let mut text = String::with_capacity(ids.len());
        for &id in ids {
            match self.special.get(id as usize) {
                Some(token) if !skip_special => text.push_str(token),
                Some(_) => {}
                None => text.extend(self.character_of(id)),
            }
        }
        text
    }
}
