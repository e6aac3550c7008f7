//! The one error type of this crate: what was wrong, where, and what to do.

use std::path::PathBuf;

/// What can go wrong while data is read, checked or split.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file could not be opened or read.
    #[error(
        "cannot read {}: {source}; expected {expected}; check the path and that the file may be read",
        path.display()
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// What the file should hold.
        expected: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error(
        "cannot write {}: {source}; check that the folder exists, may be written and has room",
        path.display()
    )]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file as a whole is not what it should be.
    #[error("{}: {what}; {remedy}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// A line of a text file is wrong.
    #[error("{}, line {line}: {what}; {remedy}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// One cell of a table is wrong.
    #[error("{}, line {line}, column {column:?}: {what}; {remedy}", path.display())]
    Cell {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The column's name.
        column: String,
        /// What is wrong.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// One row of an array (counted from 0, as NumPy does) is wrong.
    #[error("{}, row {row}: {what}; {remedy}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The row, from 0.
        row: usize,
        /// What is wrong.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// A NaN or an infinity in the data.
    #[error(
        "data set {dataset}: {part} row {row}, column {column} (both from 0) is {value}; \
         replace or remove that row: training on it makes every parameter NaN"
    )]
    NotFinite {
        /// The data set's name.
        dataset: String,
        /// `inputs` or `targets`.
        part: &'static str,
        /// The row, from 0.
        row: usize,
        /// The position in the row, from 0.
        column: usize,
        /// The value found.
        value: f32,
    },
    /// A class number with no class name.
    #[error(
        "data set {dataset}: the target of row {row} (from 0) is class {class}, but there are {classes} classes; \
         classes count from 0"
    )]
    ClassOutOfRange {
        /// The data set's name.
        dataset: String,
        /// The row, from 0.
        row: usize,
        /// The class found.
        class: u32,
        /// How many classes there are.
        classes: usize,
    },
    /// A data set without a sample, or without a number in each sample.
    #[error("data set {dataset} is empty: {what}; give at least one row with at least one input number")]
    Empty {
        /// The data set's name.
        dataset: String,
        /// What is empty.
        what: &'static str,
    },
    /// The lengths of a data set's parts contradict each other.
    #[error("data set {dataset}: {what}; inputs and targets must have the same number of rows")]
    Length {
        /// The data set's name.
        dataset: String,
        /// The two lengths.
        what: String,
    },
    /// An argument that cannot be used.
    #[error("{what}; {remedy}")]
    Argument {
        /// What is wrong.
        what: String,
        /// What to do.
        remedy: String,
    },
}

impl DataError {
    /// A [`DataError::Argument`] from two texts.
    pub(crate) fn argument(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Argument { what: what.into(), remedy: remedy.into() }
    }

    /// A [`DataError::File`] from a path and two texts.
    pub(crate) fn file(path: &std::path::Path, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::File { path: path.to_path_buf(), what: what.into(), remedy: remedy.into() }
    }
}
