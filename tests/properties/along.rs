//! Steps along an axis: cumulative sums, elements by index, sorting.

use crate::call::Call;
use crate::recipe::Step;
use crate::resolve::{LARGEST, Resolver};
use nn_core::DType;
use nn_core::ops::CumulativeSum;
use nn_core::tensor::{Shape, TensorType};

/// Whether indices of a shape can stand along the axis of another.
fn suit(indices: &Shape, axis: usize, shape: &Shape) -> bool {
    indices.rank() == shape.rank() && (0..shape.rank()).all(|other| other == axis || indices[other] <= shape[other])
}

impl Resolver<'_> {
    /// A value of real numbers with an axis.
    fn with_axis(&self, pick: u8, number: u8) -> Option<(usize, usize)> {
        let x = self.find(pick, |kind| kind.dtype == DType::F32 && kind.shape.rank() > 0)?;
        Some((x, usize::from(number) % self.shape(x).rank()))
    }

    pub(crate) fn cumulative_sum(&mut self, first: u8, which: u8, numbers: &[u8; 8]) -> Option<usize> {
        let (x, axis) = self.with_axis(first, numbers[0])?;
        let options = CumulativeSum { exclusive: which % 2 == 1, reverse: which / 2 % 2 == 1 };
        let bound = self.bounds[x] * self.shape(x)[axis] as f64;
        Some(self.call(Call::Cumulative(x, axis, options), bound))
    }

    pub(crate) fn gather_along(&mut self, first: u8, second: u8, numbers: &[u8; 8]) -> Option<usize> {
        let (x, axis) = self.with_axis(first, numbers[0])?;
        let shape = self.shape(x);
        let fits = |kind: &TensorType| kind.shape.elements() <= LARGEST && suit(&kind.shape, axis, &shape);
        let indices = self.natural(second, &shape, fits);
        let indices = self.below(shape[axis], indices);
        Some(self.call(Call::GatherAlong(x, axis, indices), self.bounds[x]))
    }

    pub(crate) fn scatter_along(&mut self, step: &Step) -> Option<usize> {
        let [first, second, third, _] = step.picks;
        let (x, axis) = self.with_axis(first, step.numbers[0])?;
        let shape = self.shape(x);
        // Some indices lie beyond the axis: their elements are added nowhere.
        let indices = self.natural(second, &shape, |kind| suit(&kind.shape, axis, &shape));
        let chosen = self.shape(indices);
        let source = self.find(third, |kind| {
            let larger = || (0..chosen.rank()).all(|axis| chosen[axis] <= kind.shape[axis]);
            kind.dtype == DType::F32 && kind.shape.rank() == chosen.rank() && larger()
        })?;
        let bound = self.bounds[x] + self.bounds[source] * chosen[axis] as f64;
        Some(self.call(Call::ScatterAlong(x, axis, [indices, source]), bound))
    }

    pub(crate) fn sort(&mut self, first: u8, which: u8, numbers: &[u8; 8]) -> Option<usize> {
        let (x, axis) = self.with_axis(first, numbers[0])?;
        let size = self.shape(x)[axis];
        let (descending, result) = (which % 2 == 1, usize::from(which / 2 % 3 == 1));
        let bound = if result == 0 { self.bounds[x] } else { size as f64 };
        let call = match which / 6 % 2 {
            0 => Call::Sort(x, axis, descending, result),
            _ => Call::TopK(x, axis, 1 + usize::from(numbers[1]) % size, descending, result),
        };
        Some(self.call(call, bound))
    }
}
