//! Direct convolution in f32: no columns are gathered. Each element of an image with the zeros around it meets the vector
//! of the channels that it is multiplied for. Two lists of offsets tell where elements lie: the sum of an offset of a
//! place and one of a weight.

use rayon::prelude::*;

use super::vector::{Products, lanes};
use super::{Convolution, Share, pad, padded, surround, with_panels, with_scratch};

/// Places of all images that an arrangement of the weights, or of the output's gradient, must be worth; fewer are left to
/// the matrix product. For the gradient by the input, whose columns would have to be added up, it is worth it sooner.
const LEAST_PLACES: usize = 512;
const LEAST_PLACES_OF_INPUT: usize = 128;
/// Fewer products for each element are left to the matrix product.
const LEAST_DEPTH: usize = 16;

/// The channels that lie side by side, if this machine and these sizes suit.
fn suits(sizes: &Convolution, channels: usize, depth: usize, least_places: usize) -> Option<usize> {
    let lanes = lanes()?;
    let places = sizes.batch * sizes.output_area() >= least_places;
    let small = [sizes.inputs, sizes.outputs].iter().all(|channels| {
        let [height, width] = [0, 1].map(|axis| 2 * sizes.input[axis].max(padded(sizes)[axis]) + sizes.kernel[axis]);
        (height * width).saturating_mul(*channels) < u32::MAX as usize
    });
    let filled = 2 * channels >= channels.next_multiple_of(lanes);
    // Of a kernel of one weight the columns are a part of the image, and the product of matrices has nothing to lose.
    let wide = sizes.kernel != [1, 1];
    (places && small && filled && depth >= LEAST_DEPTH && wide).then_some(lanes)
}

/// Where the elements lie in an image with the zeros around it.
struct Offsets {
    /// Elements of one channel.
    plane: usize,
    /// For each weight `(c, r, s)`.
    weights: Vec<u32>,
    /// For each place of the output.
    places: Vec<u32>,
}

impl Offsets {
    fn of(sizes: &Convolution) -> Offsets {
        let [height, width] = padded(sizes);
        let plane = height * width;
        let mut weights = Vec::with_capacity(sizes.depth());
        for channel in 0..sizes.inputs {
            for r in 0..sizes.kernel[0] {
                let row = channel * plane + r * sizes.dilation[0] * width;
                weights.extend((0..sizes.kernel[1]).map(|s| (row + s * sizes.dilation[1]) as u32));
            }
        }
        let mut places = Vec::with_capacity(sizes.output_area());
        for y in 0..sizes.output[0] {
            let row = y * sizes.stride[0] * width;
            places.extend((0..sizes.output[1]).map(|x| (row + x * sizes.stride[1]) as u32));
        }
        Offsets { plane, weights, places }
    }
}

/// Writes the rows of some places to the channels of `output`, each of which has `area` elements.
fn spread(values: &[f32], lanes: usize, places: &[u32], area: usize, output: &mut [f32]) {
    let contiguous = (places[places.len() - 1] - places[0]) as usize == places.len() - 1;
    for (lane, output) in output.chunks_exact_mut(area).enumerate() {
        if contiguous {
            let output = &mut output[places[0] as usize..][..places.len()];
            for (output, row) in output.iter_mut().zip(values.chunks_exact(lanes)) {
                *output = row[lane];
            }
        } else {
            for (place, row) in places.iter().zip(values.chunks_exact(lanes)) {
                output[*place as usize] = row[lane];
            }
        }
    }
}

/// Places that are interleaved together: their vectors stay near while all channels are gone through.
const TOGETHER: usize = 16;

/// Puts channels of `length` elements side by side: `panel[place · lanes + lane]` is `channels[lane · length + place]`.
/// Lanes beyond the channels stay as they are.
fn interleave(channels: &[f32], length: usize, lanes: usize, panel: &mut [f32]) {
    for (number, panel) in panel.chunks_mut(TOGETHER * lanes).enumerate() {
        let first = number * TOGETHER;
        for (lane, channel) in channels.chunks_exact(length).take(lanes).enumerate() {
            for (vector, value) in panel.chunks_exact_mut(lanes).zip(&channel[first..]) {
                vector[lane] = *value;
            }
        }
    }
}

/// The reverse of [`interleave`].
fn separate(panel: &[f32], length: usize, lanes: usize, channels: &mut [f32]) {
    for (number, panel) in panel.chunks(TOGETHER * lanes).enumerate() {
        let first = number * TOGETHER;
        for (lane, channel) in channels.chunks_exact_mut(length).take(lanes).enumerate() {
            for (vector, value) in panel.chunks_exact(lanes).zip(&mut channel[first..]) {
                *value = vector[lane];
            }
        }
    }
}

/// Lends the panels of all groups and blocks of channels, each filled by `fill(group, block, panel)`.
fn with_filled<R>(
    groups: usize,
    blocks: usize,
    panel: usize,
    fill: impl Fn(usize, usize, &mut [f32]) + Sync,
    work: impl FnOnce(&[f32]) -> R,
) -> R {
    with_panels(groups * blocks * panel, |panels| {
        let each = |(number, panel): (usize, &mut [f32])| fill(number / blocks, number % blocks, panel);
        if panels.len() < 1 << 16 {
            panels.chunks_exact_mut(panel).enumerate().for_each(each);
        } else {
            panels.par_chunks_exact_mut(panel).enumerate().for_each(each);
        }
        work(panels)
    })
}

/// Runs a task for each block of channels of a result.
fn each_block<'a>(
    share: Share,
    result: &mut [f32],
    size: usize,
    panels: impl Iterator<Item = &'a [f32]> + Send,
    task: impl Fn((&mut [f32], &'a [f32])) + Sync + Send,
) {
    let blocks = result.chunks_mut(size).zip(panels);
    if share == Share::Within { blocks.par_bridge().for_each(task) } else { blocks.for_each(task) }
}

/// The convolution, if it suits.
pub(super) fn forward(sizes: &Convolution, input: &[f32], weight: &[f32], output: &mut [f32]) -> bool {
    let Some(lanes) = suits(sizes, sizes.outputs, sizes.depth(), LEAST_PLACES) else { return false };
    let (area, depth) = (sizes.output_area(), sizes.depth());
    let offsets = Offsets::of(sizes);
    let all: Vec<u32> = (0..area as u32).collect();
    let blocks = sizes.outputs.div_ceil(lanes);
    let share = Share::of(sizes.work(), sizes.batch * sizes.groups);
    let fill = |group: usize, block: usize, panel: &mut [f32]| {
        panel.fill(0.0);
        let weights = &weight[group * sizes.outputs * depth..][..sizes.outputs * depth];
        interleave(&weights[block * lanes * depth..], depth, lanes, panel);
    };
    with_filled(sizes.groups, blocks, depth * lanes, fill, |panels| {
        share.each(output, sizes.outputs * area, |index, output| {
            let input = &input[index * sizes.inputs * sizes.input_area()..][..sizes.inputs * sizes.input_area()];
            with_scratch(sizes.inputs * offsets.plane, |image| {
                pad(sizes, input, image);
                let image = &*image;
                let panels = panels.chunks_exact(depth * lanes).skip(index % sizes.groups * blocks);
                each_block(share, output, lanes * area, panels, |(output, panel)| {
                    let products = Products { x: image, inner: &offsets.weights, outer: &offsets.places, panel };
                    products.write(|first, values| {
                        spread(values, lanes, &all[first..first + values.len() / lanes], area, output);
                    });
                });
            });
        });
    });
    true
}

/// The rows (or columns) of an input that lie `start` beyond a multiple of the stride, and where the kernel's weights
/// find the output's gradient for the first of them.
struct Class {
    start: usize,
    count: usize,
    /// (place in the kernel, place in the output, which may be before its first).
    taps: Vec<(usize, isize)>,
}

fn classes(sizes: &Convolution, axis: usize) -> Vec<Class> {
    let (stride, size) = (sizes.stride[axis], sizes.input[axis]);
    let class = |start: usize| {
        let distance = |tap: usize| (start + sizes.before[axis]) as isize - (tap * sizes.dilation[axis]) as isize;
        let meets = |&tap: &usize| distance(tap).rem_euclid(stride as isize) == 0;
        let taps = (0..sizes.kernel[axis]).filter(meets).map(|tap| (tap, distance(tap) / stride as isize)).collect();
        Class { start, count: (size - start).div_ceil(stride), taps }
    };
    (0..stride.min(size)).map(class).collect()
}

/// The zeros before the output's gradient, and its size with them, so that all classes find what they look for.
fn field(classes: &[Class]) -> (usize, usize) {
    let places = || classes.iter().flat_map(|class| class.taps.iter().map(move |(_, place)| (class.count, *place)));
    let before = places().map(|(_, place)| -place).max().unwrap_or(0).max(0) as usize;
    let end = places().map(|(count, place)| count as isize + place).max().unwrap_or(0).max(1) as usize;
    (before, before + end)
}

/// A class of rows and one of columns.
struct Pair {
    /// For each product where it finds the output's gradient, and the weight of the first channel.
    inner: Vec<u32>,
    weights: Vec<u32>,
    /// For each place of the input its offset in the output's gradient, and its own.
    outer: Vec<u32>,
    places: Vec<u32>,
}

impl Pair {
    fn of(sizes: &Convolution, [row, column]: [&Class; 2], before: [usize; 2], [height, width]: [usize; 2]) -> Pair {
        let mut pair = Pair { inner: Vec::new(), weights: Vec::new(), outer: Vec::new(), places: Vec::new() };
        for output in 0..sizes.outputs {
            for ((r, y), (s, x)) in row.taps.iter().flat_map(|r| column.taps.iter().map(move |s| (r, s))) {
                let [y, x] = [(y, before[0]), (x, before[1])].map(|(place, before)| (place + before as isize) as usize);
                pair.inner.push((output * height * width + y * width + x) as u32);
                pair.weights.push((output * sizes.depth() + r * sizes.kernel[1] + s) as u32);
            }
        }
        for (i, j) in (0..row.count).flat_map(|i| (0..column.count).map(move |j| (i, j))) {
            pair.outer.push((i * width + j) as u32);
            let row = row.start + i * sizes.stride[0];
            pair.places.push((row * sizes.input[1] + column.start + j * sizes.stride[1]) as u32);
        }
        pair
    }
}

/// The gradient by the input, if it suits.
pub(super) fn input_gradient(sizes: &Convolution, dy: &[f32], weight: &[f32], dx: &mut [f32]) -> bool {
    let taps = sizes.kernel[0] * sizes.kernel[1];
    let depth = sizes.outputs * taps;
    let strides = sizes.stride[0] * sizes.stride[1];
    let Some(lanes) = suits(sizes, sizes.inputs, depth / strides, LEAST_PLACES_OF_INPUT) else { return false };
    let (rows, columns) = (classes(sizes, 0), classes(sizes, 1));
    let [(top, height), (left, width)] = [field(&rows), field(&columns)];
    let both = rows.iter().flat_map(|row| columns.iter().map(move |column| [row, column]));
    // Together they have each weight at most once.
    let pairs: Vec<Pair> = both.map(|both| Pair::of(sizes, both, [top, left], [height, width])).collect();
    let (area, blocks) = (sizes.input_area(), sizes.inputs.div_ceil(lanes));
    let share = Share::of(sizes.work(), sizes.batch * sizes.groups);
    let group = sizes.outputs * sizes.depth();
    let fill = |number: usize, block: usize, panel: &mut [f32]| {
        panel.fill(0.0);
        let weights = &weight[number * group..][..group];
        let channels = lanes.min(sizes.inputs - block * lanes);
        for (vector, place) in panel.chunks_exact_mut(lanes).zip(pairs.iter().flat_map(|pair| &pair.weights)) {
            let weights = weights[*place as usize + block * lanes * taps..].iter().step_by(taps);
            vector[..channels].iter_mut().zip(weights).for_each(|(value, weight)| *value = *weight);
        }
    };
    with_filled(sizes.groups, blocks, depth * lanes, fill, |panels| {
        share.each(dx, sizes.inputs * area, |index, dx| {
            let dy = &dy[index * sizes.outputs * sizes.output_area()..][..sizes.outputs * sizes.output_area()];
            with_scratch(sizes.outputs * height * width, |image| {
                surround(dy, sizes.output, [top, left], [height, width], image);
                let image = &*image;
                let panels = panels.chunks_exact(depth * lanes).skip(index % sizes.groups * blocks);
                each_block(share, dx, lanes * area, panels, |(dx, mut panel)| {
                    for Pair { inner, outer, places, .. } in &pairs {
                        let (of_pair, rest) = panel.split_at(inner.len() * lanes);
                        panel = rest;
                        let products = Products { x: image, inner, outer, panel: of_pair };
                        products.write(|first, values| {
                            spread(values, lanes, &places[first..first + values.len() / lanes], area, dx);
                        });
                    }
                });
            });
        });
    });
    true
}

/// What the sums of a weight gradient need, made once.
pub(super) struct WeightGradient {
    lanes: usize,
    offsets: Offsets,
}

impl WeightGradient {
    /// None if the direct way does not suit.
    pub(super) fn of(sizes: &Convolution) -> Option<WeightGradient> {
        let lanes = suits(sizes, sizes.outputs, sizes.depth(), LEAST_PLACES)?;
        Some(WeightGradient { lanes, offsets: Offsets::of(sizes) })
    }

    /// The gradient of one group's weights by some images, each given with its output's gradient.
    pub(super) fn sum<'a>(
        &self,
        sizes: &Convolution,
        images: impl Iterator<Item = (&'a [f32], &'a [f32])>,
        dw: &mut [f32],
        share: Share,
    ) {
        let WeightGradient { lanes, offsets } = self;
        let (lanes, area, depth) = (*lanes, sizes.output_area(), sizes.depth());
        let room = sizes.inputs * offsets.plane;
        // Of each block of output channels: the sums, and the output's gradient with channels side by side.
        let block = (depth + area) * lanes;
        with_scratch(room + sizes.outputs.div_ceil(lanes) * block, |scratch| {
            let (image, blocks) = scratch.split_at_mut(room);
            blocks.fill(0.0);
            for (input, dy) in images {
                pad(sizes, input, image);
                let image = &*image;
                each_block(share, blocks, block, dy.chunks(lanes * area), |(block, dy)| {
                    let (sums, panel) = block.split_at_mut(depth * lanes);
                    interleave(dy, area, lanes, panel);
                    Products { x: image, inner: &offsets.places, outer: &offsets.weights, panel }.add(sums);
                });
            }
            for (dw, block) in dw.chunks_mut(lanes * depth).zip(blocks.chunks_exact(block)) {
                separate(&block[..depth * lanes], depth, lanes, dw);
            }
        });
    }
}
