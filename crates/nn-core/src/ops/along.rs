//! Elements by index along one axis, and the sum of elements by index: each the gradient of the other.

use crate::Error;
use crate::graph::{Accuracy, Arithmetic, Backward, CpuCall, GpuCall, KernelOp, Op, OpKind, Value, apply, word};
use crate::ops::samples::{Samples, tensor, whole};
use crate::ops::support::{axis_last, flat_groups, for_precision, one, refused, reordered, row_groups};
use crate::tensor::window::Axis;
use crate::tensor::{DType, Shape, TensorType};

/// The operators of this family.
pub(super) const NAMES: &[&str] = &["gather", "scatter_add"];

/// Places that one invocation of the sum by index computes.
const ELEMENTS: usize = 4;

/// Indices of one launch of the sum by index, which may take a loop iteration each: a multiple of every width.
const PART: usize = 49_920;

/// `(outer…, size, inner…)` and indices `(outer…, count, inner…)` → the elements there, of the indices' shape.
#[derive(Debug)]
struct Gather {
    axis: usize,
}

/// `(rows…, count)` elements and their indices → `(rows…, size)` sums.
#[derive(Debug)]
struct ScatterAdd {
    size: usize,
}

fn check_types(values: &TensorType, indices: &TensorType) -> Result<(), String> {
    if values.dtype != DType::F32 {
        return Err(format!("it is for f32, not {values}; cast it first"));
    }
    if indices.dtype != DType::U32 {
        return Err(format!("the indices must be u32, not {indices}"));
    }
    Ok(())
}

impl Op for Gather {
    fn name(&self) -> &'static str {
        NAMES[0]
    }

    fn attributes(&self) -> String {
        format!("axis {}", self.axis)
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
        let (input, indices) = (&inputs[0], &inputs[1]);
        check_types(input, indices)?;
        let same = input.shape.rank() == indices.shape.rank()
            && self.axis < input.shape.rank()
            && input.shape.without(&[self.axis]) == indices.shape.without(&[self.axis]);
        if !same {
            return Err(format!("{input} and {indices} differ not only along axis {}", self.axis));
        }
        one(DType::F32, indices.shape.clone())
    }

    fn gradient(&self, backward: &Backward<'_>) -> Vec<Option<Value>> {
        let (input, indices) = (backward.inputs[0], backward.inputs[1]);
        vec![Some(sums_by_index(backward.dy(), indices, self.axis, input.shape()[self.axis])), None]
    }

    fn kind(&self) -> OpKind<'_> {
        OpKind::Kernel(self)
    }
}

impl Gather {
    /// Sizes before the axis, of the input and of the indices along it, and after it.
    fn sizes(&self, input: &Shape, indices: &Shape) -> [usize; 4] {
        let outer = input[..self.axis].iter().product();
        [outer, input[self.axis], indices[self.axis], input[self.axis + 1..].iter().product()]
    }
}

impl KernelOp for Gather {
    fn cpu(&self, call: &mut CpuCall<'_>) -> Result<(), Error> {
        let [_, size, count, inner] = self.sizes(&call.inputs[0].layout.shape, &call.inputs[1].layout.shape);
        let indices = call.inputs[1].elements::<u32>();
        for_precision!(call.precision, T => {
            let input = call.inputs[0].elements::<T>();
            cpu_reference::gather(input, indices, [size, count, inner], call.output::<T>(0));
        });
        Ok(())
    }

    fn gpu(&self, call: &mut GpuCall) -> Result<(), Error> {
        let [outer, size, count, stride] = self.sizes(&call.inputs[0].layout.shape, &call.inputs[1].layout.shape);
        let axes = [outer, size, count, stride].map(Axis::any);
        let chosen = [count * stride, 0, stride, 1];
        let views = [call.view(0, [size * stride, stride, 0, 1]), call.view(1, chosen), call.view(2, chosen)];
        for piece in call.cut(&axes, &views)? {
            let [outer, places, indices, inner] = [0, 1, 2, 3].map(|axis| piece.sizes[axis]);
            call.launch(
                "gather",
                &[],
                &[
                    ("outer", word(outer, "a size")?.into()),
                    ("size", word(places, "a size")?.into()),
                    ("first_place", word(piece.starts[1], "a place")?.into()),
                    ("count", word(indices, "the number of indices")?.into()),
                    ("inner", word(inner, "a size")?.into()),
                    ("axis_stride", word(stride, "a stride")?.into()),
                    ("input_outer_stride", word(size * stride, "a stride")?.into()),
                    ("output_outer_stride", word(count * stride, "a stride")?.into()),
                    ("input_offset", piece.offsets[0].into()),
                    ("indices_offset", piece.offsets[1].into()),
                    ("output_offset", piece.offsets[2].into()),
                ],
                &piece.windows,
                flat_groups(outer * indices * inner)?,
            )?;
        }
        Ok(())
    }

    fn flops(&self, _inputs: &[TensorType], _outputs: &[TensorType]) -> u64 {
        0
    }

    fn accuracy(&self, _arithmetic: Arithmetic, _inputs: &[TensorType], _largest: &[f64]) -> Accuracy {
        Accuracy::EXACT
    }
}

impl Op for ScatterAdd {
    fn name(&self) -> &'static str {
        NAMES[1]
    }

    fn attributes(&self) -> String {
        format!("into {} places", self.size)
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
        let (source, indices) = (&inputs[0], &inputs[1]);
        check_types(source, indices)?;
        if source.shape != indices.shape || source.shape.rank() == 0 {
            return Err(format!("{source} and {indices} must be of one shape, of at least one dimension"));
        }
        let mut sizes = source.shape.to_vec();
        sizes.iter_mut().last().into_iter().for_each(|last| *last = self.size);
        one(DType::F32, sizes)
    }

    fn gradient(&self, backward: &Backward<'_>) -> Vec<Option<Value>> {
        let indices = backward.inputs[1];
        let dx = apply(Gather { axis: indices.shape().rank() - 1 }, &[backward.dy(), indices])[0];
        // An element that is added nowhere has no gradient, where gathering gives NaN.
        let within = indices.less(indices.recorder().scalar_u32(self.size as u32));
        vec![Some(within.select(dx, dx.zeros_like())), None]
    }

    fn kind(&self) -> OpKind<'_> {
        OpKind::Kernel(self)
    }
}

impl KernelOp for ScatterAdd {
    fn cpu(&self, call: &mut CpuCall<'_>) -> Result<(), Error> {
        let count = call.inputs[0].layout.shape.last().copied().unwrap_or(1);
        let indices = call.inputs[1].elements::<u32>();
        for_precision!(call.precision, T => {
            let source = call.inputs[0].elements::<T>();
            cpu_reference::scatter_add(source, indices, [self.size, count], call.output::<T>(0));
        });
        Ok(())
    }

    fn gpu(&self, call: &mut GpuCall) -> Result<(), Error> {
        let shape = call.inputs[0].layout.shape.clone();
        let count = shape.last().copied().unwrap_or(1);
        let rows = shape.elements() / count;
        // A workgroup no larger than one row needs.
        let width = self.size.div_ceil(ELEMENTS).max(count.min(256)).next_power_of_two().clamp(32, 256);
        let axes = [Axis::any(rows), Axis::any(self.size), Axis::in_steps(count, width)];
        let chosen = [count, 0, 1];
        let views = [call.view(0, chosen), call.view(1, chosen), call.view(2, [self.size, 1, 0])];
        for piece in call.cut(&axes, &views)? {
            let [rows, size, indices] = [0, 1, 2].map(|axis| piece.sizes[axis]);
            for start in (0..indices).step_by(PART) {
                let part = PART.min(indices - start);
                // Later indices add to what the ones before left.
                let goes_on = u32::from(piece.starts[2] + start > 0);
                let skip = word(start, "a place")?;
                call.launch(
                    "scatter_add",
                    &[("WIDTH", word(width, "the width")?), ("CONTINUE", goes_on)],
                    &[
                        ("rows", word(rows, "the number of rows")?.into()),
                        ("size", word(size, "a size")?.into()),
                        ("first_place", word(piece.starts[1], "a place")?.into()),
                        ("count", word(part, "the number of indices")?.into()),
                        ("source_stride", word(count, "a stride")?.into()),
                        ("output_stride", word(self.size, "a stride")?.into()),
                        ("source_offset", (piece.offsets[0] + skip).into()),
                        ("indices_offset", (piece.offsets[1] + skip).into()),
                        ("output_offset", piece.offsets[2].into()),
                    ],
                    &piece.windows,
                    row_groups(rows * size.div_ceil(width * ELEMENTS))?,
                )?;
                // If every index is the same.
                call.loops(part + part.div_ceil(width) * (1 + width / 32) + 2 * ELEMENTS);
            }
        }
        Ok(())
    }

    fn flops(&self, inputs: &[TensorType], _outputs: &[TensorType]) -> u64 {
        inputs[0].shape.elements() as u64
    }

    fn accuracy(&self, arithmetic: Arithmetic, inputs: &[TensorType], _largest: &[f64]) -> Accuracy {
        // If every index is the same, one sum takes a whole row; the first addition is to 0.
        let count = inputs[0].shape.last().copied().unwrap_or(1);
        Accuracy::sum(arithmetic, count, count - 1)
    }
}

/// Zeros, `size` of them along `axis`, to which each element of `source` is added at its index.
#[track_caller]
fn sums_by_index(source: Value, indices: Value, axis: usize, size: usize) -> Value {
    let Some((source, order)) = axis_last(NAMES[1], source, axis) else { return source };
    let indices = reordered(indices, &order);
    reordered(apply(ScatterAdd { size }, &[source, indices])[0], &order)
}

impl Value {
    /// The elements of this value that the `u32` indices name along `axis`: `output[i][j] = self[indices[i][j]][j]` for
    /// axis 0 of two. The output has the shape of the indices, which have as many dimensions as this value and are no
    /// larger along all other axes. An index beyond the axis gives NaN. `torch.gather`.
    #[track_caller]
    pub fn gather(self, axis: usize, indices: Value) -> Value {
        let (shape, chosen) = (self.shape(), indices.shape());
        let fits = shape.rank() == chosen.rank()
            && axis < shape.rank()
            && (0..shape.rank()).all(|other| other == axis || chosen[other] <= shape[other]);
        if !fits {
            let message = format!(
                "indices of {chosen} along axis {axis} of {shape}: both must have the same number of dimensions, and \
                 along other axes there may be no more indices than elements"
            );
            return refused(self, NAMES[0], message);
        }
        let mut sizes = chosen.to_vec();
        sizes[axis] = shape[axis];
        let part = if *sizes == *shape { self } else { self.slice(&vec![0; sizes.len()], sizes) };
        apply(Gather { axis }, &[part, indices])[0]
    }

    /// This value, and in it the elements of `source` added at their `u32` indices along `axis`:
    /// `output[indices[i][j]][j] += source[i][j]` for axis 0 of two, always in the order of the indices. The indices have
    /// as many dimensions as both; they are no larger than the source, nor, along all other axes, than this value. Indices
    /// beyond the axis add nothing. `torch.scatter_add`.
    #[track_caller]
    pub fn scatter_add(self, axis: usize, indices: Value, source: Value) -> Value {
        let (shape, chosen, given) = (self.shape(), indices.shape(), source.shape());
        let rank = shape.rank();
        let fits = chosen.rank() == rank
            && given.rank() == rank
            && axis < rank
            && (0..rank).all(|other| chosen[other] <= given[other] && (other == axis || chosen[other] <= shape[other]));
        if !fits {
            let message = format!(
                "indices of {chosen} along axis {axis}, elements of {given} and sums of {shape}: all must have the same \
                 number of dimensions, and there may be no more indices than elements nor, along other axes, than sums"
            );
            return refused(self, NAMES[1], message);
        }
        let source = if given == chosen { source } else { source.slice(&vec![0; rank], chosen.clone()) };
        let sums = sums_by_index(source, indices, axis, shape[axis]);
        let found = sums.shape();
        let missing: Vec<(usize, usize)> = (0..rank).map(|axis| (0, shape[axis] - found[axis])).collect();
        self + if found == shape { sums } else { sums.pad(&missing, 0.0) }
    }
}

/// Samples of this family.
pub(super) fn add_samples(samples: &mut Samples) {
    for [outer, size, count, inner] in [[1, 1, 1, 1], [3, 5, 4, 1], [2, 4, 7, 3], [3, 300, 260, 1], [2, 1100, 600, 1]] {
        let x = samples.uniform([outer, size, inner], -2.0, 2.0);
        let indices = samples.indices([outer, count, inner], size as u32);
        let dy = samples.uniform([outer, count, inner], -2.0, 2.0);
        let base = samples.uniform([outer, size, inner], -2.0, 2.0);
        let label = format!("{count} of {size}, {outer} times {inner}");
        samples.smooth("gather", &label, vec![x, indices.clone()], |x| x[0].gather(1, x[1]));
        samples.smooth("scatter_add", &label, vec![base, indices, dy], |x| x[0].scatter_add(1, x[1], x[2]));
    }
    for axis in 0..3 {
        let (mut sizes, label) = ([3, 4, 5], format!("axis {axis}"));
        let x = samples.uniform(sizes, -2.0, 2.0);
        sizes[axis] = 6;
        let indices = samples.indices(sizes, 3 + axis as u32);
        let dy = samples.uniform(sizes, -2.0, 2.0);
        samples.smooth("gather", &label, vec![x.clone(), indices.clone()], move |x| x[0].gather(axis, x[1]));
        samples.smooth("scatter_add", &label, vec![x, indices, dy], move |x| x[0].scatter_add(axis, x[1], x[2]));
    }
    // Fewer indices than elements along other axes, too.
    let (x, indices) = (samples.uniform([4, 5], -2.0, 2.0), samples.indices([3, 2], 4));
    let dy = samples.uniform([3, 3], -2.0, 2.0);
    samples.smooth("gather", "a part", vec![x.clone(), indices.clone()], |x| x[0].gather(0, x[1]));
    samples.smooth("scatter_add", "a part", vec![x, indices, dy], |x| x[0].scatter_add(0, x[1], x[2]));
    // Every index the same, and two by turns; beyond what one launch takes.
    for (rows, count) in [(2, 700), (1, PART + 300)] {
        let dy = samples.uniform([rows, count], -2.0, 2.0);
        let base = samples.uniform([rows, 3], -2.0, 2.0);
        for period in [1, 2] {
            let indices: Vec<u32> = (0..rows * count).map(|place| 1 + (place % period) as u32).collect();
            let inputs = vec![base.clone(), whole([rows, count], &indices), dy.clone()];
            let label = format!("{count} of {period} places");
            samples.forward("scatter_add", &label, inputs, |x| x[0].scatter_add(1, x[1], x[2]));
        }
    }
    let (x, beyond) = (samples.uniform([2, 4], -2.0, 2.0), whole([2, 3], &[0, 4, 3, u32::MAX, 2, 5]));
    samples.forward("gather", "indices beyond the axis", vec![x.clone(), beyond.clone()], |x| x[0].gather(1, x[1]));
    let dy = tensor([2, 3], &[1.0, f32::NAN, 1e4, 7.0, -1e4, f32::NAN]);
    let inputs = vec![x, beyond, dy];
    samples.forward("scatter_add", "indices beyond the axis", inputs, |x| x[0].scatter_add(1, x[1], x[2]));
    let (x, indices) = (samples.uniform([65_540, 2], -2.0, 2.0), samples.indices([65_540, 1], 2));
    let dy = samples.uniform([65_540, 1], -2.0, 2.0);
    let inputs = vec![x, indices, dy];
    samples.forward("scatter_add", "grid beyond 65,535 groups", inputs, |x| x[0].scatter_add(1, x[1], x[2]));
}
