//! Text to train a language model on: a user's file, or the project's own source code.

mod chunks;
mod own;
// A release build holds the sources and does not look for them.
#[cfg(any(not(packed_sources), test))]
mod tree;

use std::path::Path;

pub use chunks::own_chunks;
pub use own::{Source, own_corpus, own_sources};

use crate::{DataError, text_file};

/// Reads a text file (UTF-8, plain or gzip). A byte order mark is left out; line ends stay as they are.
///
/// # Errors
/// [`DataError::Read`] for a file that cannot be read, [`DataError::Line`] with the place of the first byte that is no
/// UTF-8, [`DataError::File`] for an empty file.
pub fn read_text(path: &Path) -> Result<String, DataError> {
    let text = text_file::read(path, "a text file")?;
    if text.is_empty() {
        return Err(DataError::file(path, "the file is empty", "give some text to train on"));
    }
    Ok(text)
}

/// Splits a text into (training, validation), where the last `validation` of its characters are for validation.
///
/// The training part has ⌊n · (1 − `validation`)⌋ of the n characters, as nanoGPT has it. Encode both parts by
/// themselves, so that no token lies across the cut.
///
/// # Errors
/// [`DataError::Argument`] unless 0 < `validation` < 1 and both parts have a character.
pub fn split_text(text: &str, validation: f64) -> Result<(&str, &str), DataError> {
    if !(validation > 0.0 && validation < 1.0) {
        return Err(DataError::argument(
            format!("cannot hold out {validation} of a text"),
            "give a fraction above 0 and below 1, such as 0.1",
        ));
    }
    let characters = text.chars().count();
    let training = (characters as f64 * (1.0 - validation)) as usize;
    let cut = text.char_indices().nth(training).map_or(text.len(), |(place, _)| place);
    let parts = text.split_at(cut);
    if parts.0.is_empty() || parts.1.is_empty() {
        return Err(DataError::argument(
            format!("a text of {characters} characters cannot be split with {validation} for validation"),
            "give more text, or another fraction",
        ));
    }
    Ok(parts)
}

#[cfg(test)]
mod pack;
#[cfg(test)]
mod tests;
