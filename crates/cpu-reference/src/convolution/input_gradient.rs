//! The gradient of a convolution by its input: by sums where the input has few channels, by one matrix product where the
//! stride is 1, and by products for each weight that are added where they belong elsewhere.

use rayon::prelude::*;

use super::classes::{Classes, Pair};
use super::planes::Planes;
use super::{Convolution, FEW, PLACES, Share, direct, with_sums};
use crate::product::{Gathered, Output, Run, Strided, product};
use crate::real::Real;

/// The most elements of products that are added together: they stay in the second cache.
const ELEMENTS: usize = 1 << 18;

/// The gradient of [`convolution`](super::convolution) by its input, given that by its output: what each element of the
/// input took part in.
///
/// # Panics
/// If the lengths do not agree ("internal: …").
pub fn convolution_input_gradient<T: Real>(sizes: &Convolution, dy: &[T], weight: &[T], dx: &mut [T]) {
    sizes.check(dx.len(), weight.len(), dy.len());
    match sizes.turned() {
        _ if sizes.inputs <= FEW => by_sums(sizes, dy, weight, dx),
        Some(turned) => by_product(sizes, &turned, dy, weight, dx),
        None => by_columns(sizes, dy, weight, dx),
    }
    if sizes.kernel != [1, 1] || sizes.stride != [1, 1] || sizes.before != [0, 0] || sizes.input != sizes.output {
        meet_zeros(sizes, weight, dx);
    }
}

/// For a weight of each output channel that a class of places meets the element of `dy` for the first place.
fn elements(sizes: &Convolution, classes: &Classes, pair: &Pair) -> Vec<usize> {
    let channel: usize = classes.size.iter().product();
    let of_output = |output| pair.distances.iter().map(move |distance| output * channel + distance);
    (0..sizes.outputs).flat_map(of_output).collect()
}

fn by_sums<T: Real>(sizes: &Convolution, dy: &[T], weight: &[T], dx: &mut [T]) {
    let (area, taps) = (sizes.input_area(), sizes.taps());
    let (image, group) = (sizes.inputs * area, sizes.outputs * sizes.depth());
    let classes = Classes::of(sizes);
    let share = Share::of(sizes.work(), sizes.batch * sizes.groups);
    let elements: Vec<_> = classes.pairs.iter().map(|pair| elements(sizes, &classes, pair)).collect();
    share.each(dx, image, |task, dx| {
        let weight = &weight[task % sizes.groups * group..][..group];
        let dy = &dy[task * sizes.outputs * sizes.output_area()..];
        classes.with(sizes, dy, share, |values| {
            with_sums(image, |sums| {
                let mut rest = &mut *sums;
                for (pair, elements) in classes.pairs.iter().zip(&elements) {
                    let (sums, others) = rest.split_at_mut(sizes.inputs * pair.places());
                    rest = others;
                    if pair.weights.is_empty() {
                        sums.fill(T::ZERO);
                        continue;
                    }
                    let mut weights = Vec::with_capacity(sizes.inputs * elements.len());
                    for channel in 0..sizes.inputs {
                        for weight in weight.chunks_exact(sizes.depth()) {
                            weights.extend(pair.weights.iter().map(|tap| weight[channel * taps + tap]));
                        }
                    }
                    direct::sums(values, classes.size[1], elements, &weights, pair.count[1], share, sums);
                }
                share.within(dx, area, |channel, dx| classes.put_together(sizes, sums, channel, dx));
            });
        });
    });
}

fn by_product<T: Real>(sizes: &Convolution, turned: &Convolution, dy: &[T], weight: &[T], dx: &mut [T]) {
    let (area, taps) = (sizes.input_area(), sizes.taps());
    let (image, group) = (sizes.inputs * area, sizes.outputs * sizes.depth());
    let planes = Planes::of(turned, false);
    let images = turned.images(area, PLACES);
    let share = Share::of(sizes.work(), sizes.batch.div_ceil(images) * sizes.groups);
    let places = planes.runs(turned, images);
    // The last weight of a channel meets what the first would.
    let elements: Vec<usize> =
        planes.offsets.chunks_exact(taps).flat_map(|channel| channel.iter().rev().copied()).collect();
    // Weights of an input channel lie side by side for each output channel.
    let channels: Vec<usize> = (0..sizes.inputs).map(|channel| channel * taps).collect();
    let mut weights = Vec::new();
    (0..sizes.outputs).for_each(|output| Run::push(&mut weights, output * sizes.depth(), taps));
    share.each(dx, images * image, |task, dx| {
        let (first, number) = (task / sizes.groups * images, task % sizes.groups);
        let weight = &weight[number * group..][..group];
        let count = dx.len() / image;
        planes.with(turned, dy, first..first + count, number, share, |values| {
            sizes.joined(dx, area, count, share, |dx| {
                let lengths = [sizes.inputs, elements.len(), count * area];
                let (output, within) = (Output::new(dx, count * area), share == Share::Within);
                let right = Gathered { values, offsets: &elements, runs: &places };
                if taps == 1 {
                    let left = Strided { values: weight, strides: [1, sizes.depth()] };
                    product(&left, &right, lengths, &output, false, within);
                } else {
                    let left = Gathered { values: weight, offsets: &channels, runs: &weights };
                    product(&left, &right, lengths, &output, false, within);
                }
            });
        });
    });
}

/// Some input channels of a group in some images.
struct Piece<'a, T> {
    first_image: usize,
    group: usize,
    first_channel: usize,
    /// Of each image these channels.
    images: Vec<&'a mut [T]>,
}

/// The pieces of an input's gradient, of so many channels and images or fewer.
fn pieces<'a, T>(sizes: &Convolution, dx: &'a mut [T], channels: usize, images: usize) -> Vec<Piece<'a, T>> {
    let area = sizes.input_area();
    let mut pieces: Vec<Piece<'a, T>> = Vec::new();
    for (number, dx) in dx.chunks_exact_mut(sizes.inputs * area).enumerate() {
        let (image, group) = (number / sizes.groups, number % sizes.groups);
        let parts = dx.chunks_mut(channels * area).enumerate();
        if image % images == 0 {
            pieces.extend(parts.map(|(part, dx)| Piece {
                first_image: image,
                group,
                first_channel: part * channels,
                images: vec![dx],
            }));
        } else {
            let first = pieces.len() - parts.len();
            parts.for_each(|(part, dx)| pieces[first + part].images.push(dx));
        }
    }
    pieces
}

fn by_columns<T: Real>(sizes: &Convolution, dy: &[T], weight: &[T], dx: &mut [T]) {
    let (output, taps) = (sizes.output_area(), sizes.taps());
    let (image, group) = (sizes.outputs * output, sizes.outputs * sizes.depth());
    let images = sizes.images(output, PLACES);
    // Small enough for the cache, and enough of them to go round.
    let tasks = sizes.batch.div_ceil(images) * sizes.groups;
    let most = (sizes.inputs * tasks).div_ceil(rayon::current_num_threads());
    let most = (ELEMENTS / (taps * images * output)).min(most).clamp(1, sizes.inputs);
    let channels = sizes.inputs.div_ceil(sizes.inputs.div_ceil(most));
    let outputs: Vec<usize> = (0..sizes.outputs).map(|channel| channel * output).collect();
    let mut places = Vec::new();
    (0..images).for_each(|number| Run::push(&mut places, number * sizes.groups * image, output));
    let each = |piece: Piece<'_, T>| {
        let Piece { first_image, group: number, first_channel, images } = piece;
        let rows = images[0].len() / sizes.input_area() * taps;
        let columns = images.len() * output;
        let weight = &weight[number * group + first_channel * taps..(number + 1) * group];
        let left = Strided { values: weight, strides: [1, sizes.depth()] };
        let values = &dy[(first_image * sizes.groups + number) * image..];
        let right = Gathered { values, offsets: &outputs, runs: &places };
        with_sums(rows * columns, |sums| {
            product(&left, &right, [rows, sizes.outputs, columns], &Output::new(sums, columns), false, false);
            for (image, dx) in images.into_iter().enumerate() {
                for (channel, dx) in dx.chunks_exact_mut(sizes.input_area()).enumerate() {
                    dx.fill(T::ZERO);
                    for tap in 0..taps {
                        add(sizes, tap, &sums[(channel * taps + tap) * columns + image * output..][..output], dx);
                    }
                }
            }
        });
    };
    let pieces = pieces(sizes, dx, channels, images);
    match Share::of(sizes.work(), pieces.len()) {
        Share::Alone => pieces.into_iter().for_each(each),
        Share::Within | Share::Apart => pieces.into_par_iter().for_each(each),
    }
}

/// Adds to a channel's gradient the products of one weight.
fn add<T: Real>(sizes: &Convolution, tap: usize, products: &[T], dx: &mut [T]) {
    let [down, across] = sizes.stride;
    let [reach_down, reach_across] =
        [tap / sizes.kernel[1] * sizes.dilation[0], tap % sizes.kernel[1] * sizes.dilation[1]];
    let [height, width] = sizes.input;
    // The columns of the output for which it lies in the image.
    let inside =
        |end: usize| (end + sizes.before[1]).saturating_sub(reach_across).div_ceil(across).min(sizes.output[1]);
    let (low, high) = (inside(0), inside(width));
    if low == high {
        return;
    }
    for (row, products) in products.chunks_exact(sizes.output[1]).enumerate() {
        let y = (row * down + reach_down).wrapping_sub(sizes.before[0]);
        if y < height {
            let dx = &mut dx[y * width + low * across + reach_across - sizes.before[1]..(y + 1) * width];
            dx.iter_mut().step_by(across).zip(&products[low..high]).for_each(|(dx, product)| *dx += *product);
        }
    }
}

/// Adds to an input's gradient what the weights make of the zeros beside dy: nothing, or NaN.
fn meet_zeros<T: Real>(sizes: &Convolution, weight: &[T], dx: &mut [T]) {
    let area = sizes.input_area();
    for channel in channels_not_finite(sizes, weight) {
        dx.chunks_exact_mut(sizes.groups * sizes.inputs * area).for_each(|image| {
            image[channel * area..][..area].fill(T::NAN);
        });
    }
}

/// The channels of the input, counted over all groups, with a weight that isn't finite: the zeros beside dy make NaN of it.
fn channels_not_finite<T: Real>(sizes: &Convolution, weight: &[T]) -> Vec<usize> {
    let breaks = |weight: &T| (*weight * T::ZERO).is_nan();
    // Counted, so that the compiler makes vectors of it.
    if weight.chunks(1 << 10).all(|weights| weights.iter().filter(|weight| breaks(weight)).count() == 0) {
        return Vec::new();
    }
    let taps = sizes.taps();
    let broken = |channel: &usize| {
        let (group, channel) = (channel / sizes.inputs, channel % sizes.inputs);
        let weights = &weight[group * sizes.outputs * sizes.depth()..][..sizes.outputs * sizes.depth()];
        weights.chunks_exact(sizes.depth()).any(|output| output[channel * taps..][..taps].iter().any(breaks))
    };
    (0..sizes.groups * sizes.inputs).filter(broken).collect()
}
