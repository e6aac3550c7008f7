//! Steps on batches of pictures and of rows, (batch, channels, …): convolutions, pooling and resampling; and normalisation.

use crate::call::Call;
use crate::methods::*;
use crate::recipe::Step;
use crate::resolve::{LARGEST, Resolver, choose};
use nn_core::DType;
use nn_core::ops::{Convolution, Extent, PoolOptions, Resample};
use nn_core::tensor::TensorType;

impl Resolver<'_> {
    /// A value with so many dimensions after batch and channels; another one is reshaped.
    pub(crate) fn picture(&mut self, pick: u8, dimensions: usize) -> Option<usize> {
        let x = self.real(pick)?;
        if self.shape(x).rank() == 2 + dimensions {
            return Some(x);
        }
        let elements = self.shape(x).elements();
        let channels = if elements.is_multiple_of(2) { 2 } else { 1 };
        let height = if dimensions == 2 && (elements / channels).is_multiple_of(3) { 3 } else { 1 };
        let mut shape = vec![1, channels, height, elements / channels / height];
        if dimensions == 1 {
            shape.remove(2);
        }
        Some(self.push(Call::Reshape(x, shape), self.bounds[x]))
    }

    /// A convolution of a value with a part of itself.
    pub(crate) fn convolution(&mut self, first: u8, which: u8, numbers: &[u8; 8]) -> Option<usize> {
        let x = self.picture(first, 2)?;
        let shape = self.shape(x);
        let small = |axis: usize, most: usize| 1 + usize::from(numbers[axis]) % shape[axis].min(most);
        let kernel = [small(2, 3), small(3, 3)];
        let number = |place: usize, count: usize| usize::from(numbers[place]) % count;
        let (stride, padding) =
            ([1 + number(4, 2), 1 + number(5, 3)], [(number(6, 2), number(7, 3)), (number(5, 2), 0)]);
        // Without dilation the kernel lies within the image.
        let fits = |axis: usize| 2 * (kernel[axis] - 1) < shape[2 + axis];
        let dilation = [0, 1].map(|axis| if fits(axis) { 1 + number(axis, 2) } else { 1 });
        let transposed = which % 3 == 2;
        let groups = if !transposed && shape[0] > 1 && shape[1].is_multiple_of(2) { 1 + number(0, 2) } else { 1 };
        let options = Convolution { stride, padding, dilation, groups };
        let sizes = vec![2.min(shape[0]), shape[1] / groups, kernel[0], kernel[1]];
        let terms = shape[1] / groups * kernel[0] * kernel[1];
        let outputs = shape[0] * sizes[0];
        let reach = |axis: usize| dilation[axis] * (kernel[axis] - 1);
        let result = |axis: usize| {
            let (size, around) = (shape[2 + axis], padding[axis].0 + padding[axis].1);
            let whole = if transposed { (size - 1) * stride[axis] } else { (size + around) / stride[axis] };
            whole + reach(axis) + 1
        };
        (outputs * result(0) * result(1) <= LARGEST).then_some(())?;
        let part = self.push(Call::Slice(x, vec![0; 4], sizes), self.bounds[x]);
        let bound = self.bounds[x] * self.bounds[x] * terms as f64;
        if !transposed {
            return Some(self.call(Call::Convolution([x, part], options), bound));
        }
        // Padding takes away from the result, of which something must be left.
        let left = |axis: usize| (shape[2 + axis] - 1) * stride[axis] + reach(axis) + 1;
        let padding = [0, 1].map(|axis| if left(axis) > 3 { padding[axis] } else { (0, 0) });
        let weight = self.push(Call::Permute(part, vec![1, 0, 2, 3]), self.bounds[x]);
        let more = [stride[0] - 1, number(1, stride[1])];
        Some(self.call(Call::Transposed([x, weight], Convolution { padding, ..options }, more), bound))
    }

    /// Moments, or a value normalised with parameters that fit it.
    pub(crate) fn normalisation(&mut self, step: &Step) -> Option<usize> {
        let [first, second, third, which] = step.picks;
        let x = self.real(first)?;
        let (shape, bound) = (self.shape(x), self.bounds[x]);
        let axes: Vec<usize> = (0..shape.rank()).filter(|&axis| step.numbers[axis % 7] % 2 == 1).collect();
        // Large enough that differences can follow where all elements are nearly equal.
        let eps = choose(&[0.1_f32, 0.5], step.numbers[7])?;
        let moments = [(Moment::Mean, bound), (Moment::Variance, bound * bound), (Moment::InverseDeviation, 4.0)];
        if let Some(&(moment, bound)) = moments.get(usize::from(which % 8)) {
            return Some(self.call(Call::Moment(moment, x, axes, eps), bound));
        }
        let fits = |kind: &TensorType| {
            kind.dtype == DType::F32 && kind.shape.broadcast(&shape).is_some_and(|common| common == shape)
        };
        let weight = if which % 2 == 1 { self.find(second, fits) } else { None };
        let like = weight.map(|weight| self.shape(weight));
        let suits = |kind: &TensorType| fits(kind) && like.as_ref().is_none_or(|like| kind.shape == *like);
        let bias = if !which.is_multiple_of(3) { self.find(third, suits) } else { None };
        // One element is no further from the mean of n than √n deviations.
        let count: usize = axes.iter().map(|&axis| shape[axis]).product();
        let factor = weight.map_or(1.0, |weight| self.bounds[weight]);
        let bound = (count as f64).sqrt() * factor + bias.map_or(0.0, |bias| self.bounds[bias]);
        Some(self.call(Call::Normalise(x, axes, eps, weight, bias), bound))
    }

    /// Windows over a value's last two dimensions, of which one is 1 for rows. Without dilation for means.
    fn windows(&self, x: usize, numbers: &[u8; 8], dilated: bool) -> Option<PoolOptions> {
        let shape = self.shape(x);
        let number = |place: usize, count: usize| usize::from(numbers[place]) % count;
        let size = |axis: usize| if shape.rank() == 4 { shape[2 + axis] } else { [1, shape[2]][axis] };
        let kernel = [0, 1].map(|axis| 1 + number(axis, size(axis).min(3)));
        let stride = [0, 1].map(|axis| 1 + number(2 + axis, 3));
        let padding = [0, 1].map(|axis| number(4 + axis, kernel[axis] / 2 + 1));
        // With dilation the kernel lies within the input still.
        let fits = |axis: usize| dilated && 2 * (kernel[axis] - 1) < size(axis);
        let dilation = [0, 1].map(|axis| if fits(axis) { 1 + number(6, 2) } else { 1 });
        let most = |axis: usize| (size(axis) + 2 * padding[axis]) / stride[axis] + 1;
        (shape[0] * shape[1] * most(0) * most(1) <= LARGEST).then_some(())?;
        let ceil_mode = numbers[7] % 2 == 1;
        Some(PoolOptions { stride, padding, dilation, ceil_mode, ..PoolOptions::new(kernel) })
    }

    /// How many windows of about equal size, possibly more than there are elements.
    fn adaptive(&self, x: usize, numbers: &[u8; 8]) -> Option<[usize; 2]> {
        let shape = self.shape(x);
        let wanted = [0, 1].map(|axis| 1 + usize::from(numbers[axis]) % 5);
        let area = if shape.rank() == 4 { wanted[0] * wanted[1] } else { wanted[1] };
        (shape[0] * shape[1] * area <= LARGEST).then_some(wanted)
    }

    /// Means of windows.
    pub(crate) fn average_pool(&mut self, first: u8, which: u8, numbers: &[u8; 8]) -> Option<usize> {
        let planes = !which.is_multiple_of(3);
        let x = self.picture(first, if planes { 2 } else { 1 })?;
        let bound = self.bounds[x];
        if which % 4 == 3 {
            let wanted = self.adaptive(x, numbers)?;
            return Some(match planes {
                true => self.call(Call::Adaptive(ADAPTIVE_AVERAGE_POOL_2D, x, wanted), bound),
                false => self.call(Call::Axis(ADAPTIVE_AVERAGE_POOL_1D, x, wanted[1]), bound),
            });
        }
        let divisor = choose(&[None, Some(3), None], which)?;
        let count_include_pad = numbers[6].is_multiple_of(2);
        let options = PoolOptions { divisor, count_include_pad, ..self.windows(x, numbers, false)? };
        let method = if planes { AVERAGE_POOL_2D } else { AVERAGE_POOL_1D };
        // A window has at most nine elements.
        Some(self.call(Call::Pool(method, x, options), if divisor.is_some() { 3.0 * bound } else { bound }))
    }

    /// The largest elements of windows, or where they are.
    pub(crate) fn max_pool(&mut self, first: u8, which: u8, numbers: &[u8; 8]) -> Option<usize> {
        let planes = !which.is_multiple_of(3);
        let x = self.picture(first, if planes { 2 } else { 1 })?;
        let bound = self.bounds[x];
        if which % 4 == 3 {
            let wanted = self.adaptive(x, numbers)?;
            return Some(match planes {
                true => self.call(Call::Adaptive(ADAPTIVE_MAX_POOL_2D, x, wanted), bound),
                false => self.call(Call::Axis(ADAPTIVE_MAX_POOL_1D, x, wanted[1]), bound),
            });
        }
        let options = self.windows(x, numbers, true)?;
        Some(match which % 8 {
            _ if !planes => self.call(Call::Pool(MAX_POOL_1D, x, options), bound),
            2 => self.call(Call::PoolIndices(x, options), LARGEST as f64),
            _ => self.call(Call::Pool(MAX_POOL_2D, x, options), bound),
        })
    }

    /// Another size, or the reverse order.
    pub(crate) fn resampling(&mut self, first: u8, which: u8, numbers: &[u8; 8]) -> Option<usize> {
        if which % 4 == 3 {
            let x = self.real(first)?;
            let axes = (0..self.shape(x).rank()).filter(|&axis| numbers[axis % 8] % 2 == 1).collect();
            return Some(self.call(Call::Axes(FLIP, x, axes), self.bounds[x]));
        }
        let dimensions = if which % 4 == 2 { 1 } else { 2 };
        let x = self.picture(first, dimensions)?;
        let shape = self.shape(x);
        let size = |axis: usize| shape[2 + axis];
        let (mode, corners) =
            choose(&[(Resample::Nearest, false), (Resample::Linear, false), (Resample::Linear, true)], numbers[4])?;
        let factors = [0, 1].map(|axis| [2.0, 1.5, 1.0, 0.5, 1.3, 3.0][usize::from(numbers[axis]) % 6]);
        let sizes = [0, 1].map(|axis| 1 + usize::from(numbers[2 + axis]) % 7);
        let scaled = |axis: usize| (size(axis) as f64 * factors[axis]).floor() as usize;
        // A factor may leave nothing.
        let by_factor = numbers[5] % 2 == 1 && (0..dimensions).all(|axis| scaled(axis) > 0);
        let area: usize = (0..dimensions).map(|axis| if by_factor { scaled(axis) } else { sizes[axis] }).product();
        (shape[0] * shape[1] * area <= LARGEST).then_some(())?;
        let call = match (dimensions, by_factor) {
            (1, true) => Call::UpsampleRows(x, Extent::Factor([factors[0]]), mode, corners),
            (1, false) => Call::UpsampleRows(x, Extent::Size([sizes[0]]), mode, corners),
            (_, true) => Call::Upsample(x, Extent::Factor(factors), mode, corners),
            (_, false) => Call::Upsample(x, Extent::Size(sizes), mode, corners),
        };
        Some(self.call(call, self.bounds[x]))
    }
}
