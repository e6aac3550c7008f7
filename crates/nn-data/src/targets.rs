//! The targets of a data set: what a model is to predict for each sample.

use crate::inputs::{gather_rows, gather_windows};

/// What a model is to predict for each sample.
#[derive(Debug, Clone, PartialEq)]
pub enum Targets {
    /// One class a row.
    Classes {
        /// `[rows]`, each below `names.len()`.
        labels: Vec<u32>,
        /// The classes' names, in order of their numbers.
        names: Vec<String>,
    },
    /// Some numbers a row.
    Values {
        /// `[rows, width]`, contiguous.
        values: Vec<f32>,
        /// Numbers per row.
        width: usize,
    },
    /// A class for each pixel of a picture: segmentation.
    ClassMaps {
        /// `[rows, size]`, contiguous, each below `names.len()`.
        labels: Vec<u32>,
        /// Pixels per row: height · width.
        size: usize,
        /// The classes' names, in order of their numbers.
        names: Vec<String>,
    },
    /// A class for each of `length` places in a row, such as the token that comes next, or
    /// [`IGNORED`](nn_train::IGNORED). Rows may overlap.
    Sequences {
        /// Row `r` has `labels[r · stride ..][.. length]`, each below `count` or ignored.
        labels: Vec<u32>,
        /// Places per row.
        length: usize,
        /// From one row to the next; at least 1.
        stride: usize,
        /// How many classes there are.
        count: usize,
    },
}

impl Targets {
    /// How many rows have a target.
    pub fn rows(&self) -> usize {
        match self {
            Self::Classes { labels, .. } => labels.len(),
            Self::Values { values, width } => values.len().checked_div(*width).unwrap_or(0),
            Self::ClassMaps { labels, size, .. } => labels.len().checked_div(*size).unwrap_or(0),
            Self::Sequences { labels, length, stride, .. } if labels.len() >= *length && *stride > 0 => {
                (labels.len() - length) / stride + 1
            }
            Self::Sequences { .. } => 0,
        }
    }

    /// The classes' names, in order of their numbers; empty where the targets are values.
    pub fn names(&self) -> &[String] {
        match self {
            Self::Classes { names, .. } | Self::ClassMaps { names, .. } => names,
            Self::Values { .. } | Self::Sequences { .. } => &[],
        }
    }

    /// The rows named by `indices`. The caller has checked that they exist.
    pub(crate) fn gather(&self, indices: &[usize]) -> Self {
        match self {
            Self::Classes { labels, names } => {
                Self::Classes { labels: gather_rows(labels, 1, indices), names: names.clone() }
            }
            Self::Values { values, width } => {
                Self::Values { values: gather_rows(values, *width, indices), width: *width }
            }
            Self::ClassMaps { labels, size, names } => {
                Self::ClassMaps { labels: gather_rows(labels, *size, indices), size: *size, names: names.clone() }
            }
            Self::Sequences { labels, length, stride, count } => {
                let labels = gather_windows(labels, *length, *stride, indices);
                Self::Sequences { labels, length: *length, stride: *length, count: *count }
            }
        }
    }
}
