//! Convolution of images with two dimensions, and its gradients: matrix products whose columns are gathered from the images
//! as they are packed. Outside of an image are zeros, which are multiplied like other numbers: a weight of NaN meets them
//! too.

mod classes;
mod direct;
mod input_gradient;
mod planes;
#[cfg(test)]
mod tests;

use rayon::prelude::*;

use crate::memory::Scratch;
use crate::product::{Gathered, Output, Run, Strided, Transposed, product};
use crate::real::Real;
pub use input_gradient::convolution_input_gradient;
use planes::Planes;

/// Fewer multiplications than this are done by one thread: waking another costs more.
const PARALLEL_WORK: usize = 1 << 18;

/// The most places of small images that one product takes together, and those of a weight's gradient.
const PLACES: usize = 512;
const PLACES_OF_WEIGHTS: usize = 1024;

/// So many channels or fewer are summed one by one: a matrix product of so few rows would pack more than it multiplies.
const FEW: usize = 3;

/// The most parts of the batch whose weight gradients are summed apart, and the most elements in all of them.
const PARTS: usize = 16;
const PART_ELEMENTS: usize = 1 << 18;
/// How much longer it takes to turn a sum than to turn an element that is packed.
const TURNED: usize = 4;
/// Output channels whose gradients one task adds up.
const CHANNELS: usize = 16;

/// The sizes of a convolution. Pairs are (height, width); channels are counted within their group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Convolution {
    /// Images.
    pub batch: usize,
    /// Groups of channels: each of the output's is computed from the same of the input.
    pub groups: usize,
    /// Input channels of a group.
    pub inputs: usize,
    /// Output channels of a group.
    pub outputs: usize,
    /// Height and width of the input.
    pub input: [usize; 2],
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Height and width of the output.
    pub output: [usize; 2],
    /// Elements of the input between the kernel's places.
    pub stride: [usize; 2],
    /// Zeros before the input's first row and column.
    pub before: [usize; 2],
    /// Elements of the input between neighbours of the kernel.
    pub dilation: [usize; 2],
}

impl Convolution {
    fn input_area(&self) -> usize {
        self.input[0] * self.input[1]
    }

    fn output_area(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Weights of a channel.
    fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Products that make one element of the output.
    fn depth(&self) -> usize {
        self.inputs * self.taps()
    }

    /// The convolution that makes an input's gradient of `dy`, with its kernel turned around; none if `dy` would have to
    /// lose rows or columns.
    fn turned(&self) -> Option<Convolution> {
        let mut before = [0; 2];
        for axis in [0, 1] {
            before[axis] = ((self.kernel[axis] - 1) * self.dilation[axis]).checked_sub(self.before[axis])?;
        }
        let Convolution { inputs, outputs, input, output, .. } = *self;
        let turned = Convolution {
            inputs: outputs,
            outputs: inputs,
            input: output,
            output: input,
            stride: [1, 1],
            before,
            ..*self
        };
        (self.stride == [1, 1]).then_some(turned)
    }

    /// Whether each group has one input channel, and there are several.
    fn is_depthwise(&self) -> bool {
        self.inputs == 1 && self.groups > 1
    }

    /// How many images one product takes, if it should have so many places: as even a part of the batch as can be.
    fn images(&self, area: usize, places: usize) -> usize {
        let most = if self.groups > 1 { 1 } else { (places / area).clamp(1, self.batch) };
        self.batch.div_ceil(self.batch.div_ceil(most))
    }

    /// Lets channels be written with so many images side by side in each, and puts them where they belong: one image
    /// behind the other.
    fn joined<T: Real>(
        &self,
        values: &mut [T],
        area: usize,
        images: usize,
        share: Share,
        write: impl FnOnce(&mut [T]),
    ) {
        if images == 1 {
            return write(values);
        }
        let channels = values.len() / (images * area);
        with_sums(values.len(), |sums| {
            write(sums);
            share.within(values, area, |number, values| {
                let (image, channel) = (number / channels, number % channels);
                values.copy_from_slice(&sums[(channel * images + image) * area..][..area]);
            });
        });
    }

    /// Multiplications in all.
    fn work(&self) -> usize {
        self.batch * self.groups * self.outputs * self.output_area() * self.depth()
    }

    /// Panics unless the sizes fit these lengths of input, weight and output.
    fn check(&self, input: usize, weight: usize, output: usize) {
        let Convolution { batch, groups, inputs, outputs, .. } = *self;
        let lengths = [
            batch * groups * inputs * self.input_area(),
            groups * outputs * self.depth(),
            batch * groups * outputs * self.output_area(),
        ];
        assert!(
            lengths == [input, weight, output] && !lengths.contains(&0) && !self.stride.contains(&0),
            "internal: {self:?} does not fit tensors of {input}, {weight} and {output} elements"
        );
    }
}

/// How a kernel shares its work among threads; no bit depends on it.
#[derive(Clone, Copy, PartialEq)]
enum Share {
    /// One thread does it all.
    Alone,
    /// One image's group, or one part, after the other, each by all threads.
    Within,
    /// Each by one thread.
    Apart,
}

impl Share {
    fn of(work: usize, tasks: usize) -> Share {
        let threads = rayon::current_num_threads();
        match () {
            () if threads == 1 || work < PARALLEL_WORK => Share::Alone,
            () if tasks < threads || (tasks < 2 * threads && !tasks.is_multiple_of(threads)) => Share::Within,
            () => Share::Apart,
        }
    }

    /// Runs a part of a task on each chunk of a slice.
    fn within<T: Real>(self, slice: &mut [T], chunk: usize, part: impl Fn(usize, &mut [T]) + Sync) {
        let share = if self == Share::Within { Share::Apart } else { Share::Alone };
        share.each(slice, chunk, part);
    }

    /// Runs a task on each chunk of a slice.
    fn each<T: Real>(self, slice: &mut [T], chunk: usize, task: impl Fn(usize, &mut [T]) + Sync) {
        if self == Share::Apart {
            slice.par_chunks_mut(chunk).enumerate().for_each(|(index, chunk)| task(index, chunk));
        } else {
            slice.chunks_mut(chunk).enumerate().for_each(|(index, chunk)| task(index, chunk));
        }
    }
}

thread_local! {
    /// For planes, and for sums.
    static SCRATCH: [Scratch; 2] = const { [Scratch::new(), Scratch::new()] };
}

/// Lends so many elements of scratch for planes, whose values are left over from before.
fn with_planes<T: Real, R>(count: usize, work: impl FnOnce(&mut [T]) -> R) -> R {
    SCRATCH.with(|scratch| scratch[0].lend(count, work))
}

/// Lends so many elements for sums that are put in their places later.
fn with_sums<T: Real, R>(count: usize, work: impl FnOnce(&mut [T]) -> R) -> R {
    SCRATCH.with(|scratch| scratch[1].lend(count, work))
}

/// Height and width of what the kernel moves over: the image with the zeros around it, as far as it gets.
fn padded(sizes: &Convolution) -> [usize; 2] {
    [0, 1]
        .map(|axis| (sizes.output[axis] - 1) * sizes.stride[axis] + (sizes.kernel[axis] - 1) * sizes.dilation[axis] + 1)
}

/// The elements as `f32`, if they are.
fn singles<T: Real>(values: &[T]) -> Option<&[f32]> {
    bytemuck::try_cast_slice(values).ok().filter(|_| size_of::<T>() == size_of::<f32>())
}

fn singles_mut<T: Real>(values: &mut [T]) -> Option<&mut [f32]> {
    if size_of::<T>() == size_of::<f32>() { bytemuck::try_cast_slice_mut(values).ok() } else { None }
}

/// `output[n, o, y, x] = Σ weight[o, c, r, s] · input[n, c, y·stride − before + r·dilation, …]` over c, r, s, by groups of
/// channels. `input` is (batch, groups·inputs, height, width), `weight` is (groups·outputs, inputs, height, width).
///
/// # Panics
/// If the lengths do not agree ("internal: …").
pub fn convolution<T: Real>(sizes: &Convolution, input: &[T], weight: &[T], output: &mut [T]) {
    sizes.check(input.len(), weight.len(), output.len());
    let (area, depth, group) = (sizes.output_area(), sizes.depth(), sizes.outputs * sizes.depth());
    let image = sizes.outputs * area;
    let direct = sizes.is_depthwise() || sizes.outputs <= FEW;
    let planes = Planes::of(sizes, direct);
    let images = if direct { 1 } else { sizes.images(area, PLACES) };
    let share = Share::of(sizes.work(), sizes.batch.div_ceil(images) * sizes.groups);
    let runs = planes.runs(sizes, images);
    share.each(output, images * image, |task, output| {
        let (first, number) = (task / sizes.groups * images, task % sizes.groups);
        let weight = &weight[number * group..][..group];
        let count = output.len() / image;
        planes.with(sizes, input, first..first + count, number, share, |values| {
            if direct {
                let (width, distances) = (planes.width(), &planes.offsets[..]);
                return direct::sums(values, width, distances, weight, sizes.output[1], share, output);
            }
            let left = Strided { values: weight, strides: [depth, 1] };
            sizes.joined(output, area, count, share, |output| {
                let (lengths, within) = ([sizes.outputs, depth, count * area], share == Share::Within);
                let output = Output::new(output, count * area);
                let right = Gathered { values, offsets: &planes.offsets, runs: &runs };
                product(&left, &right, lengths, &output, false, within);
            });
        });
    });
}

/// The gradient of [`convolution`] by its weight, given that by its output.
///
/// # Panics
/// If the lengths do not agree ("internal: …").
pub fn convolution_weight_gradient<T: Real>(sizes: &Convolution, input: &[T], dy: &[T], dw: &mut [T]) {
    sizes.check(input.len(), dw.len(), dy.len());
    let (area, depth, outputs) = (sizes.output_area(), sizes.depth(), sizes.outputs);
    // A fixed partition of the batch, whose sums are added in order: no bit depends on the number of threads.
    let of_part = sizes.batch.div_ceil((PART_ELEMENTS / dw.len()).clamp(1, PARTS));
    let parts = sizes.batch.div_ceil(of_part);
    let share = Share::of(sizes.work(), parts * sizes.groups);
    let planes = Planes::of(sizes, sizes.is_depthwise());
    let images = sizes.images(area, PLACES_OF_WEIGHTS).min(of_part);
    let runs = planes.runs(sizes, images);
    // What is packed with its columns as rows takes longer: the smaller operand, unless sums that then come out with their
    // columns as rows cost more.
    let transposed = of_part * area * depth.saturating_sub(outputs) > TURNED * outputs * depth;
    let channels: Vec<usize> = (0..outputs).map(|channel| channel * area).collect();
    let image = sizes.groups * outputs * area;
    let mut images_of_dy = Vec::new();
    (0..images).for_each(|number| Run::push(&mut images_of_dy, number * image, area));
    let part_sum = |task: usize, sums: &mut [T]| {
        let (part, number) = (task / sizes.groups, task % sizes.groups);
        let all = part * of_part..sizes.batch.min((part + 1) * of_part);
        for first in all.clone().step_by(images) {
            let count = images.min(all.end - first);
            let add = first > all.start;
            let dy = &dy[first * image + number * outputs * area..];
            planes.with(sizes, input, first..first + count, number, share, |values| {
                if sizes.is_depthwise() {
                    return direct::weight_gradient(sizes, &planes, values, &dy[..outputs * area], sums, add);
                }
                let x = Gathered { values, offsets: &planes.offsets, runs: &runs };
                let dy = Gathered { values: dy, offsets: &channels, runs: &images_of_dy };
                let (places, within) = (count * area, share == Share::Within);
                if transposed {
                    let output = Output::new(sums, outputs);
                    product(&x, &Transposed(dy), [depth, places, outputs], &output, add, within);
                } else {
                    let output = Output::new(sums, depth);
                    product(&dy, &Transposed(x), [outputs, places, depth], &output, add, within);
                }
            });
        }
    };
    let transposed = transposed && !sizes.is_depthwise();
    let group = outputs * depth;
    if parts == 1 && !transposed {
        return share.each(dw, group, part_sum);
    }
    let length = dw.len();
    with_sums(parts * length, |sums| {
        share.each(sums, group, part_sum);
        let sums = &*sums;
        let add_up = |(task, dw): (usize, &mut [T])| {
            let tasks = outputs.div_ceil(CHANNELS);
            let first = task % tasks * CHANNELS;
            for (part, sums) in sums[task / tasks * group..].chunks(length).enumerate() {
                // Rows of the channels in question, or columns.
                let (start, row, column) = if transposed { (first, 1, outputs) } else { (first * depth, depth, 1) };
                add_rows(&sums[start..], [row, column], dw, depth, part > 0);
            }
        };
        if share == Share::Alone {
            each_channels(dw, group, depth).into_iter().enumerate().for_each(add_up);
        } else {
            each_channels(dw, group, depth).into_par_iter().enumerate().for_each(add_up);
        }
    });
}

/// The weights in pieces of [`CHANNELS`] output channels of a group.
fn each_channels<T>(dw: &mut [T], group: usize, depth: usize) -> Vec<&mut [T]> {
    dw.chunks_exact_mut(group).flat_map(|group| group.chunks_mut(CHANNELS * depth)).collect()
}

/// Writes, or adds, the elements of rows with these strides to rows of so many.
fn add_rows<T: Real>(from: &[T], [row, column]: [usize; 2], to: &mut [T], depth: usize, add: bool) {
    for (number, to) in to.chunks_exact_mut(depth).enumerate() {
        let from = from[number * row..].iter().step_by(column);
        for (to, from) in to.iter_mut().zip(from) {
            *to = if add { *to + *from } else { *from };
        }
    }
}
