//! Steps of blocks of transformers: normalised rows, rotated pairs.

use crate::call::Call;
use crate::methods::SIN;
use crate::recipe::Step;
use crate::resolve::{Resolver, choose};
use nn_core::DType;
use nn_core::ops::RotaryPairing;
use nn_core::tensor::TensorType;

impl Resolver<'_> {
    /// Rows normalised, with parameters that fit them.
    pub(crate) fn row_norm(&mut self, step: &Step) -> Option<usize> {
        let [first, second, third, which] = step.picks;
        let x = self.find(first, |kind| kind.dtype == DType::F32 && kind.shape.rank() > 0)?;
        let width = self.shape(x)[self.shape(x).rank() - 1];
        let fits = |kind: &TensorType| kind.dtype == DType::F32 && kind.shape[..] == [width];
        // Where nothing fits, the sine of a part of the rows themselves does.
        let mut parameter = |pick: u8| {
            self.find(pick, fits).or_else(|| {
                let shape = self.shape(x);
                let part = self.push(Call::Slice(x, vec![0; shape.rank()], row_of(&shape)), self.bounds[x]);
                let row = self.push(Call::Reshape(part, vec![width]), self.bounds[x]);
                Some(self.push(Call::Plain(SIN, row), 1.0))
            })
        };
        let weight = if which % 2 == 1 { parameter(second) } else { None };
        let bias = if which / 2 % 2 == 1 { parameter(third) } else { None };
        // Large enough that differences can follow where all elements are nearly equal.
        let eps = choose(&[0.1_f32, 0.5], step.numbers[7])?;
        let largest = |parameter: Option<usize>, without: f64| parameter.map_or(without, |place| self.bounds[place]);
        // One element is no larger than √n deviations.
        let bound = (width as f64).sqrt() * largest(weight, 1.0);
        Some(match which / 4 % 3 {
            0 => self.call(Call::RmsNorm(x, weight, eps), bound),
            _ => self.call(Call::LayerNorm(x, [weight, bias], eps), bound + largest(bias, 0.0)),
        })
    }

    /// Heads turned by tables that are a part of themselves, and its sines.
    pub(crate) fn rotary(&mut self, step: &Step) -> Option<usize> {
        let [first, _, _, which] = step.picks;
        let x = self.picture(first, 2)?;
        let (shape, bound) = (self.shape(x), self.bounds[x]);
        (shape[3] > 1).then_some(())?;
        let pairs = 1 + usize::from(step.numbers[0]) % (shape[3] / 2);
        let part = self.push(Call::Slice(x, vec![0; 4], vec![1, shape[1], 1, pairs]), bound);
        let cosine = self.push(Call::Reshape(part, vec![shape[1], pairs]), bound);
        let sine = self.push(Call::Plain(SIN, cosine), 1.0);
        let pairing = choose(&[RotaryPairing::Half, RotaryPairing::Interleaved], which)?;
        Some(self.call(Call::Rotary([x, cosine, sine], pairing), bound * (bound + 1.0)))
    }
}

/// The shape of a tensor's first row.
fn row_of(shape: &[usize]) -> Vec<usize> {
    let mut row = vec![1; shape.len()];
    row[shape.len() - 1] = shape[shape.len() - 1];
    row
}
