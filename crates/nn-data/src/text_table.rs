//! The data set of a user's text table: texts with labels, as hashed bags of words.

use std::path::{Path, PathBuf};

use crate::text_columns::{self, Column, TwoColumns};
use crate::{DataError, Dataset, Inputs, Targets};

/// The columns of a table of texts with labels.
const COLUMNS: TwoColumns = TwoColumns {
    columns: [Column { what: "text", names: &["text", "sentence"] }, Column { what: "label", names: &["label"] }],
    expected: "a CSV, TSV or JSON lines file with a text and a label column",
    guess_header: true,
};

/// How many numbers a bag of words has if nothing else is said.
pub const DIMENSIONS: usize = 100;

/// A file of texts with their labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextTable {
    /// The file.
    pub path: PathBuf,
    /// The texts.
    pub texts: Vec<String>,
    /// The labels, as written.
    pub labels: Vec<String>,
    /// The line of each text in the file, from 1.
    pub lines: Vec<u64>,
}

impl TextTable {
    /// Reads a CSV or TSV file (`.tsv`, or a tab in the first line), or JSON lines (`.jsonl`), plain or gzip.
    ///
    /// The columns are found by the names `text` (or `sentence`) and `label` in the first line; where
    /// one is missing it is the first other column; where both are, the first two columns are text and
    /// label, and the first line is a header only if its label occurs on no other line of three or more.
    /// The fields of JSON objects are found in the same way, line by line; their labels may be numbers.
    ///
    /// # Errors
    /// [`DataError`] with file and line for a line without text or label; with the file for a missing file, a
    /// file with one column and a file without texts.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        let mut table = Self { path: path.to_path_buf(), texts: Vec::new(), labels: Vec::new(), lines: Vec::new() };
        for row in text_columns::read(path, &COLUMNS)? {
            let [text, label] = row.cells;
            table.texts.push(text);
            table.labels.push(label);
            table.lines.push(row.line);
        }
        Ok(table)
    }

    /// The different labels, sorted: numerically if all are whole numbers, else by their characters.
    pub fn label_names(&self) -> Vec<String> {
        let mut names = self.labels.clone();
        let all_whole = names.iter().all(|name| name.parse::<i64>().is_ok());
        names.sort_by_cached_key(|name| {
            let number = name.parse::<i64>().ok().filter(|_| all_whole);
            (number, name.clone())
        });
        names.dedup();
        names
    }

    /// The class of each text: the place of its label in `names`.
    ///
    /// # Errors
    /// [`DataError::Line`] for a label not in `names`.
    pub fn classes(&self, names: &[String]) -> Result<Vec<u32>, DataError> {
        let classes = self.labels.iter().zip(&self.lines).map(|(label, &line)| {
            let class = names.iter().position(|name| name == label);
            class.map(|class| class as u32).ok_or_else(|| DataError::Line {
                path: self.path.clone(),
                line,
                what: format!("the label {label:?} is unknown"),
                remedy: format!("the training data has the labels {}", names.join(", ")),
            })
        });
        classes.collect()
    }

    /// A bag of words for each text, `[rows, dimensions]`, with the classes of [`Self::label_names`].
    ///
    /// # Errors
    /// [`DataError::Argument`] if `dimensions` is 0.
    pub fn dataset(&self, dimensions: usize) -> Result<Dataset, DataError> {
        self.dataset_with_names(dimensions, &self.label_names())
    }

    /// As [`Self::dataset`], with the classes of another file: that of the training part.
    ///
    /// # Errors
    /// [`DataError::Argument`] if `dimensions` is 0; [`DataError::Line`] for a label not in `names`.
    pub fn dataset_with_names(&self, dimensions: usize, names: &[String]) -> Result<Dataset, DataError> {
        if dimensions == 0 {
            return Err(DataError::argument(
                "a bag of words of 0 dimensions holds nothing",
                "give dimensions = 100 or more",
            ));
        }
        let dataset = Dataset {
            name: self.path.display().to_string(),
            targets: Targets::Classes { labels: self.classes(names)?, names: names.to_vec() },
            inputs: Inputs::F32(self.texts.iter().flat_map(|text| bag_of_words(text, dimensions)).collect()),
            sample_shape: vec![dimensions],
            augmentation: None,
        };
        dataset.validate()?;
        Ok(dataset)
    }
}

/// A text as `dimensions` numbers that say which words it has, whatever their order.
///
/// Words are runs of letters and digits, in lower case. The 64-bit FNV-1a hash of a word's UTF-8 bytes
/// chooses one dimension (hash modulo `dimensions`) and a sign (its top bit), so that words that share
/// a dimension cancel on average instead of adding up (K. Weinberger et al., "Feature hashing", 2009).
/// The counts are scaled to a length of √`dimensions`, which gives each number a variance near 1; a
/// text without words is all zeros.
pub fn bag_of_words(text: &str, dimensions: usize) -> Vec<f32> {
    let mut counts = vec![0.0f32; dimensions];
    if dimensions == 0 {
        return counts;
    }
    let text = text.to_lowercase();
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        let hash = fnv1a(word.as_bytes());
        let sign = if hash >> 63 == 0 { 1.0 } else { -1.0 };
        counts[(hash % dimensions as u64) as usize] += sign;
    }
    let squares: f32 = counts.iter().map(|count| count * count).sum();
    if squares > 0.0 {
        let scale = (dimensions as f32 / squares).sqrt();
        counts.iter_mut().for_each(|count| *count *= scale);
    }
    counts
}

/// The 64-bit FNV-1a hash: the same on every machine and in every version, as the standard library's
/// hasher is not.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
#[path = "text_table_tests.rs"]
mod tests;
