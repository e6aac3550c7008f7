//! Elements moved to other places: roll, tile, pixel shuffle. All compositions of views, copies and concatenation.

use crate::graph::Value;
use crate::ops::support::{check_axes, refused};
use crate::tensor::Shape;

/// The sizes of all images as one batch `[batch, channels, height, width]`, if there are images.
fn images(shape: &Shape) -> Result<[usize; 4], String> {
    match **shape {
        [ref batch @ .., channels, height, width] => Ok([batch.iter().product(), channels, height, width]),
        _ => Err(format!("the input must be [.., channels, height, width], not {shape}")),
    }
}

/// The shape with other last three sizes.
fn with_image(shape: &Shape, image: [usize; 3]) -> Vec<usize> {
    [&shape[..shape.rank() - 3], &image[..]].concat()
}

impl Value {
    /// Moves the elements by so many places along each axis towards its end; those that leave it come back at its
    /// beginning. Negative shifts move towards the beginning. `torch.roll`.
    #[track_caller]
    pub fn roll(self, shifts: &[isize], axes: &[usize]) -> Value {
        let shape = self.shape();
        if shifts.len() != axes.len() {
            return refused(self, "roll", format!("{} shifts for {} axes", shifts.len(), axes.len()));
        }
        if let Err(message) = check_axes(axes, &shape) {
            return refused(self, "roll", message);
        }
        shifts.iter().zip(axes).fold(self, |value, (&shift, &axis)| {
            let size = shape[axis];
            let wrapped = shift.rem_euclid(size as isize) as usize;
            if wrapped == 0 {
                return value;
            }
            let part = |start: usize, length: usize| {
                let (mut starts, mut sizes) = (vec![0; shape.rank()], shape.to_vec());
                (starts[axis], sizes[axis]) = (start, length);
                value.slice(&starts, sizes)
            };
            part(size - wrapped, wrapped).concat(&[part(0, size - wrapped)], axis)
        })
    }

    /// The whole tensor so many times along each dimension. The shorter of shape and repeats is filled up with ones in
    /// front. `torch.tile`.
    #[track_caller]
    pub fn tile(self, repeats: &[usize]) -> Value {
        if repeats.contains(&0) {
            return refused(self, "tile", format!("repeats must be at least 1, but they are {repeats:?}"));
        }
        let shape = self.shape();
        let missing = repeats.len().saturating_sub(shape.rank());
        let mut sizes = [&vec![1; missing][..], &shape[..]].concat();
        let first = sizes.len() - repeats.len();
        let mut value = if missing > 0 { self.reshape(sizes.clone()) } else { self };
        for (axis, &count) in (first..).zip(repeats) {
            if count == 1 {
                continue;
            }
            let (outer, inner): (usize, usize) = (sizes[..axis].iter().product(), sizes[axis..].iter().product());
            sizes[axis] = sizes[axis].saturating_mul(count);
            value = value.reshape([outer, 1, inner]).broadcast_to([outer, count, inner]).reshape(sizes.clone());
        }
        value
    }

    /// `(…, channels·factor², height, width)` → `(…, channels, height·factor, width·factor)`: each square of the result
    /// is made of neighbouring channels. `torch.nn.functional.pixel_shuffle`.
    #[track_caller]
    pub fn pixel_shuffle(self, factor: usize) -> Value {
        let shape = self.shape();
        let [batch, channels, height, width] = match images(&shape) {
            Ok(sizes) => sizes,
            Err(message) => return refused(self, "pixel_shuffle", message),
        };
        let square = factor.saturating_mul(factor);
        if square == 0 || !channels.is_multiple_of(square) {
            let message = format!("{channels} channels are not a multiple of the factor's square, {factor}²");
            return refused(self, "pixel_shuffle", message);
        }
        let channels = channels / square;
        let squares = self.reshape([batch, channels, factor, factor, height, width]).permute(&[0, 1, 4, 2, 5, 3]);
        squares.reshape(with_image(&shape, [channels, height * factor, width * factor]))
    }

    /// `(…, channels, height·factor, width·factor)` → `(…, channels·factor², height, width)`: the way back from
    /// [`Value::pixel_shuffle`]. `torch.nn.functional.pixel_unshuffle`.
    #[track_caller]
    pub fn pixel_unshuffle(self, factor: usize) -> Value {
        let shape = self.shape();
        let [batch, channels, height, width] = match images(&shape) {
            Ok(sizes) => sizes,
            Err(message) => return refused(self, "pixel_unshuffle", message),
        };
        if factor == 0 || !height.is_multiple_of(factor) || !width.is_multiple_of(factor) {
            let message = format!("height {height} and width {width} are not multiples of the factor {factor}");
            return refused(self, "pixel_unshuffle", message);
        }
        let (height, width) = (height / factor, width / factor);
        let squares = self.reshape([batch, channels, height, factor, width, factor]).permute(&[0, 1, 3, 5, 2, 4]);
        squares.reshape(with_image(&shape, [channels * factor * factor, height, width]))
    }
}
