//! Decoding token by token, never half a character.

use super::Tokenizer;

/// Turns tokens into text one after the other, as a model makes them.
///
/// What [`push`](Self::push) and at last [`finish`](Self::finish) return is, put together, what [`Tokenizer::decode`]
/// makes of all tokens: spaces between words are as there, and a character whose bytes are spread over several tokens
/// comes with the last of them.
#[derive(Debug, Clone)]
pub struct StreamDecoder<'a> {
    tokenizer: &'a Tokenizer,
    skip_special: bool,
    /// The tokens that are not all given out, after those given out last: how a token is spelled may depend on whether
    /// another stands before it.
    ids: Vec<u32>,
    /// How many bytes of the text of `ids` have been given out.
    given: usize,
    /// How many of `ids` had been given out entirely before.
    settled: usize,
}

impl<'a> StreamDecoder<'a> {
    pub(super) fn new(tokenizer: &'a Tokenizer, skip_special: bool) -> Self {
        Self { tokenizer, skip_special, ids: Vec::new(), given: 0, settled: 0 }
    }

    /// Takes the next token and returns the text that is certain now: nothing for a part of a character, and for an id
    /// without a token.
    pub fn push(&mut self, id: u32) -> String {
        if (self.skip_special && self.tokenizer.is_special(id)) || self.tokenizer.token_of(id).is_none() {
            return String::new();
        }
        self.ids.push(id);
        let text = self.text();
        // Bytes that may become a character are U+FFFD as yet.
        let certain = text.trim_end_matches(char::REPLACEMENT_CHARACTER).len();
        let new = text.get(self.given..certain).unwrap_or_default().to_owned();
        if certain == text.len() {
            // All is out: what came before this token is not needed any more, but the token itself is.
            self.ids.drain(..self.settled);
            self.settled = self.ids.len();
            self.given = self.text().len();
        } else {
            self.given += new.len();
        }
        new
    }

    /// Returns what is left at the end: U+FFFD for bytes that made no character.
    pub fn finish(self) -> String {
        self.text().get(self.given..).unwrap_or_default().to_owned()
    }

    fn text(&self) -> String {
        self.tokenizer.decode(&self.ids, self.skip_special)
    }
}
