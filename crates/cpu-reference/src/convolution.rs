//! Convolution of images with two dimensions, and its gradients: matrix products of columns that are gathered image by
//! image. Outside of an image are zeros, which are multiplied like other numbers: a weight of NaN meets them too.

mod columns;
mod depthwise;
mod direct;
#[cfg(test)]
mod tests;
mod vector;

use gemm::Parallelism;
use rayon::prelude::*;

use crate::matmul::multiply;
use crate::memory::Scratch;
use crate::real::Real;
use columns::Block;

/// Fewer multiplications than this are done by one thread: waking another costs more.
const PARALLEL_WORK: usize = 1 << 18;

/// Elements of gathered columns that stay near a core, and the fewest columns that make a product worth its while.
const BLOCK: usize = 1 << 16;
const COLUMNS: usize = 256;

/// The most parts of the batch whose weight gradients are summed apart, and the most elements in all of them.
const PARTS: usize = 16;
const PART_ELEMENTS: usize = 1 << 22;
/// Elements whose parts one task adds up.
const SUMS: usize = 1 << 14;

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

    /// Products that make one element of the output.
    fn depth(&self) -> usize {
        self.inputs * self.kernel[0] * self.kernel[1]
    }

    /// Whether the kernel meets each element of the input once and alone: the columns are the image itself.
    fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == [1, 1] && self.before == [0, 0] && self.input == self.output
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

    /// The blocks of an image's places whose columns are gathered together: always the same.
    fn blocks(&self) -> impl Iterator<Item = Block> {
        let area = self.output_area();
        // Columns that are a part of the image only are worth being gathered whole.
        let room = if self.kernel == [1, 1] { 4 * BLOCK } else { BLOCK };
        let most = (room / self.depth()).max(COLUMNS);
        let size = area.div_ceil(area.div_ceil(most));
        (0..area).step_by(size).map(move |first| Block { first, count: size.min(area - first) })
    }

    /// The room that the columns of any block need.
    fn room(&self) -> usize {
        if self.is_pointwise() { 0 } else { self.blocks().map(|block| block.count).max().unwrap_or(0) * self.depth() }
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

    fn within(self) -> Parallelism {
        if self == Share::Within { Parallelism::Rayon(0) } else { Parallelism::None }
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
    /// Of tasks, and of calls for all their tasks.
    static SCRATCH: [Scratch; 2] = const { [Scratch::new(), Scratch::new()] };
}

/// Lends a task so many elements of scratch, whose values are left over from before.
fn with_scratch<T: Real, R>(count: usize, work: impl FnOnce(&mut [T]) -> R) -> R {
    SCRATCH.with(|scratch| scratch[0].lend(count, work))
}

/// Lends a call so many elements for what all its tasks read.
fn with_panels<T: Real, R>(count: usize, work: impl FnOnce(&mut [T]) -> R) -> R {
    SCRATCH.with(|scratch| scratch[1].lend(count, work))
}

/// Height and width of what the kernel moves over: the image with the zeros around it, as far as it gets.
fn padded(sizes: &Convolution) -> [usize; 2] {
    [0, 1]
        .map(|axis| (sizes.output[axis] - 1) * sizes.stride[axis] + (sizes.kernel[axis] - 1) * sizes.dilation[axis] + 1)
}

/// Copies the channels of an image into planes with the zeros around it.
fn pad<T: Real>(sizes: &Convolution, input: &[T], planes: &mut [T]) {
    surround(input, sizes.input, sizes.before, padded(sizes), planes);
}

/// Copies planes of one size into planes of another, from the given row and column on, with zeros around; what does not
/// fit is left out.
fn surround<T: Real>(from: &[T], size: [usize; 2], [top, left]: [usize; 2], planes: [usize; 2], to: &mut [T]) {
    to.fill(T::ZERO);
    for (plane, channel) in to.chunks_exact_mut(planes[0] * planes[1]).zip(from.chunks_exact(size[0] * size[1])) {
        for (row, values) in plane.chunks_exact_mut(planes[1]).skip(top).zip(channel.chunks_exact(size[1])) {
            if let Some(row) = row.get_mut(left..) {
                let count = row.len().min(values.len());
                row[..count].copy_from_slice(&values[..count]);
            }
        }
    }
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
    if let (Some(input), Some(weight), Some(output)) = (singles(input), singles(weight), singles_mut(output))
        && direct::forward(sizes, input, weight, output)
    {
        return;
    }
    let (area, depth) = (sizes.output_area(), sizes.depth());
    let share = Share::of(sizes.work(), sizes.batch * sizes.groups);
    share.each(output, sizes.outputs * area, |index, output| {
        let input = &input[index * sizes.inputs * sizes.input_area()..][..sizes.inputs * sizes.input_area()];
        let weight = &weight[index % sizes.groups * sizes.outputs * depth..][..sizes.outputs * depth];
        if sizes.inputs == 1 && sizes.groups > 1 {
            return depthwise::forward(sizes, input, weight, output);
        }
        let product = |columns: (&[T], usize, usize), block: Block, output: &mut [T]| {
            let product = [sizes.outputs, depth, block.count];
            multiply((weight, depth, 1), columns, product, (&mut output[block.first..], area), false, share.within());
        };
        if sizes.is_pointwise() {
            return product((input, area, 1), Block { first: 0, count: area }, output);
        }
        with_scratch(sizes.room(), |columns| {
            for block in sizes.blocks() {
                let columns = &mut columns[..depth * block.count];
                columns::gather(sizes, input, block, columns, share == Share::Within);
                product((columns, block.count, 1), block, output);
            }
        });
    });
}

/// The gradient of [`convolution`] by its input, given that by its output: what each element of the input took part in.
///
/// # Panics
/// If the lengths do not agree ("internal: …").
pub fn convolution_input_gradient<T: Real>(sizes: &Convolution, dy: &[T], weight: &[T], dx: &mut [T]) {
    sizes.check(dx.len(), weight.len(), dy.len());
    let is_done = match (singles(dy), singles(weight), singles_mut(dx)) {
        (Some(dy), Some(weight), Some(dx)) => direct::input_gradient(sizes, dy, weight, dx),
        _ => false,
    };
    if is_done {
        return meet_zeros(sizes, weight, dx);
    }
    let (area, depth) = (sizes.output_area(), sizes.depth());
    let share = Share::of(sizes.work(), sizes.batch * sizes.groups);
    let alone = (sizes.inputs == 1 && sizes.groups > 1).then(|| depthwise::InputGradient::of(sizes));
    share.each(dx, sizes.inputs * sizes.input_area(), |index, dx| {
        let dy = &dy[index * sizes.outputs * area..][..sizes.outputs * area];
        let weight = &weight[index % sizes.groups * sizes.outputs * depth..][..sizes.outputs * depth];
        let product = |block: Block, columns: &mut [T]| {
            let product = [depth, sizes.outputs, block.count];
            let dy = (&dy[block.first..], area, 1);
            multiply((weight, 1, depth), dy, product, (columns, block.count), false, share.within());
        };
        if sizes.is_pointwise() {
            return product(Block { first: 0, count: area }, dx);
        }
        dx.fill(T::ZERO);
        if let Some(alone) = &alone {
            alone.add(sizes, dy, weight, dx);
        } else {
            with_scratch(sizes.room(), |columns| {
                for block in sizes.blocks() {
                    let columns = &mut columns[..depth * block.count];
                    product(block, columns);
                    columns::add(sizes, columns, block, dx, share == Share::Within);
                }
            });
        }
    });
    if !sizes.is_pointwise() {
        meet_zeros(sizes, weight, dx);
    }
}

/// Adds to an input's gradient what the weights make of the zeros beside dy: nothing, or NaN.
fn meet_zeros<T: Real>(sizes: &Convolution, weight: &[T], dx: &mut [T]) {
    let area = sizes.input_area();
    for channel in columns::channels_not_finite(sizes, weight) {
        dx.chunks_exact_mut(sizes.groups * sizes.inputs * area).for_each(|image| {
            image[channel * area..][..area].fill(T::NAN);
        });
    }
}

/// The gradient of [`convolution`] by its weight, given that by its output.
///
/// # Panics
/// If the lengths do not agree ("internal: …").
pub fn convolution_weight_gradient<T: Real>(sizes: &Convolution, input: &[T], dy: &[T], dw: &mut [T]) {
    sizes.check(input.len(), dw.len(), dy.len());
    let (area, depth) = (sizes.output_area(), sizes.depth());
    // A fixed partition of the batch, whose sums are added in order: no bit depends on the number of threads.
    let images = sizes.batch.div_ceil((PART_ELEMENTS / dw.len()).clamp(1, PARTS));
    let parts = sizes.batch.div_ceil(images);
    let share = Share::of(sizes.work(), parts * sizes.groups);
    let direct = singles(input).and_then(|_| direct::WeightGradient::of(sizes));
    let part_sum = |task: usize, dw: &mut [T]| {
        let (part, group) = (task / sizes.groups, task % sizes.groups);
        let all = part * images..sizes.batch.min((part + 1) * images);
        let first = all.start;
        if let (Some(direct), Some(input), Some(dy), Some(dw)) = (&direct, singles(input), singles(dy), singles_mut(dw))
        {
            let image = |image: usize| {
                let place = image * sizes.groups + group;
                let input = &input[place * sizes.inputs * sizes.input_area()..][..sizes.inputs * sizes.input_area()];
                (input, &dy[place * sizes.outputs * area..][..sizes.outputs * area])
            };
            return direct.sum(sizes, all.map(image), dw, share);
        }
        for image in all {
            let (add, place) = (image > first, image * sizes.groups + group);
            let input = &input[place * sizes.inputs * sizes.input_area()..][..sizes.inputs * sizes.input_area()];
            let dy = &dy[place * sizes.outputs * area..][..sizes.outputs * area];
            if sizes.inputs == 1 && sizes.groups > 1 {
                depthwise::weight_gradient(sizes, input, dy, dw, add);
                continue;
            }
            let mut product = |columns: (&[T], usize, usize), block: Block| {
                let product = [sizes.outputs, block.count, depth];
                let add = add || block.first > 0;
                multiply((&dy[block.first..], area, 1), columns, product, (&mut *dw, depth), add, share.within());
            };
            if sizes.is_pointwise() {
                product((input, 1, area), Block { first: 0, count: area });
                continue;
            }
            with_scratch(sizes.room(), |columns| {
                for block in sizes.blocks() {
                    let columns = &mut columns[..depth * block.count];
                    columns::gather(sizes, input, block, columns, share == Share::Within);
                    product((columns, 1, block.count), block);
                }
            });
        }
    };
    let group = sizes.outputs * depth;
    if parts == 1 {
        return share.each(dw, group, part_sum);
    }
    let length = dw.len();
    with_panels(parts * length, |sums| {
        share.each(sums, group, part_sum);
        let sums = &*sums;
        let add_up = |(number, dw): (usize, &mut [T])| {
            for (index, part) in sums.chunks_exact(length).enumerate() {
                let part = &part[number * SUMS..][..dw.len()];
                if index == 0 {
                    dw.copy_from_slice(part);
                } else {
                    dw.iter_mut().zip(part).for_each(|(sum, value)| *sum += *value);
                }
            }
        };
        if share == Share::Alone {
            dw.chunks_mut(SUMS).enumerate().for_each(add_up);
        } else {
            dw.par_chunks_mut(SUMS).enumerate().for_each(add_up);
        }
    });
}
