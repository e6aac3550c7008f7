//! Rows of a table by index.

use super::Layer;
use crate::scope::{Init, Scope};
use nn_core::{DType, Value};

/// A trained row of numbers for each index: `u32` indices of any shape `(…)` → `f32` of `(…, dim)`. `torch.nn.Embedding`.
///
/// Parameter: `weight [num_embeddings, dim]`, normally distributed with mean 0 and deviation 1 at first. An index that is
/// not below `num_embeddings` gives NaN. Other element types of the input, and a padding beyond the table, are errors of the
/// trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding {
    num_embeddings: usize,
    dim: usize,
    padding_idx: Option<usize>,
    std: f64,
}

impl Embedding {
    /// A table of `num_embeddings` rows of `dim` numbers.
    pub fn new(num_embeddings: usize, dim: usize) -> Embedding {
        Embedding { num_embeddings, dim, padding_idx: None, std: 1.0 }
    }

    /// The index that fills up short sequences: its row begins at zeros and gets no gradient, so that it stays as it is.
    #[must_use]
    pub fn padding_idx(mut self, padding_idx: Option<usize>) -> Embedding {
        self.padding_idx = padding_idx;
        self
    }

    /// The standard deviation at first.
    #[must_use]
    pub fn std(mut self, std: f64) -> Embedding {
        self.std = std;
        self
    }
}

impl Layer for Embedding {
    fn forward(&self, s: &mut Scope, x: Value) -> Value {
        if x.dtype() != DType::U32 {
            let message = format!("it takes u32 indices, such as token ids, but its input is {}", x.kind());
            s.trace().fail("embedding", message);
            return x;
        }
        let init = match self.padding_idx {
            Some(row) if row >= self.num_embeddings => {
                let message = format!("the padding {row} is beyond the {} rows of the table", self.num_embeddings);
                s.trace().fail("embedding", message);
                return x;
            }
            Some(row) => Init::NormalButRow { std: self.std, row },
            None => Init::Normal { mean: 0.0, std: self.std },
        };
        let rows = s.param("weight", [self.num_embeddings, self.dim], init).gather_rows(x);
        let Some(padding) = self.padding_idx else { return rows };
        let sizes: Vec<usize> = x.shape().iter().copied().chain([1]).collect();
        let is_padding = x.equal(s.trace().scalar_u32(padding as u32)).reshape(sizes);
        is_padding.select(rows.detach(), rows)
    }

    fn input_dtype(&self) -> DType {
        DType::U32
    }
}
