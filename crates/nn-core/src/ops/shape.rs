//! Operators that move elements without computing: views (reshape, permute, broadcast, slice), concat and pad.

use crate::Error;
use crate::graph::{
    Accuracy, Arithmetic, Backward, CpuCall, GpuCall, GpuView, GpuWindow, KernelOp, Op, OpKind, Value, ViewOp, apply,
};
use crate::graph::{word, words};
use crate::ops::samples::Samples;
use crate::ops::support::{flat_groups, one, strided};
use crate::tensor::window::{Axis, View};
use crate::tensor::{DType, Layout, Shape, TensorType};
use std::sync::Arc;

/// The operators of this family.
pub(super) const NAMES: &[&str] = &["reshape", "permute", "broadcast", "slice", "concat", "pad"];

/// Reshape: the same elements in row-major order under other sizes.
#[derive(Debug)]
struct Reshape(Shape);

impl Op for Reshape {
    fn name(&self) -> &'static str {
        "reshape"
    }

    fn attributes(&self) -> String {
        self.0.to_string()
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
        let (found, wanted) = (inputs[0].shape.elements(), self.0.elements());
        if found != wanted {
            return Err(format!("{} has {found} elements, {} has {wanted}", inputs[0].shape, self.0));
        }
        one(inputs[0].dtype, self.0.clone())
    }

    fn gradient(&self, backward: &Backward<'_>) -> Vec<Option<Value>> {
        vec![Some(backward.dy().reshape(backward.inputs[0].shape()))]
    }

    fn kind(&self) -> OpKind<'_> {
        OpKind::View(self)
    }
}

impl ViewOp for Reshape {
    fn layout(&self, input: &Layout) -> Option<Layout> {
        input.reshape(&self.0)
    }
}

/// Permute: dimension `i` of the result is dimension `order[i]` of the input.
#[derive(Debug)]
struct Permute(Vec<usize>);

impl Op for Permute {
    fn name(&self) -> &'static str {
        "permute"
    }

    fn attributes(&self) -> String {
        format!("{:?}", self.0)
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        if sorted != (0..inputs[0].shape.rank()).collect::<Vec<_>>() {
            return Err(format!(
                "{:?} is not an order of the {} dimensions of {}",
                self.0,
                inputs[0].shape.rank(),
                inputs[0].shape
            ));
        }
        let sizes: Vec<usize> = self.0.iter().map(|&axis| inputs[0].shape[axis]).collect();
        one(inputs[0].dtype, sizes)
    }

    fn gradient(&self, backward: &Backward<'_>) -> Vec<Option<Value>> {
        let mut inverse = vec![0; self.0.len()];
        for (place, &axis) in self.0.iter().enumerate() {
            inverse[axis] = place;
        }
        vec![Some(backward.dy().permute(&inverse))]
    }

    fn kind(&self) -> OpKind<'_> {
        OpKind::View(self)
    }
}

impl ViewOp for Permute {
    fn layout(&self, input: &Layout) -> Option<Layout> {
        Some(input.permute(&self.0))
    }
}

/// Broadcast: repeats dimensions of size 1 and adds leading ones.
#[derive(Debug)]
struct Broadcast(Shape);

impl Op for Broadcast {
    fn name(&self) -> &'static str {
        "broadcast"
    }

    fn attributes(&self) -> String {
        self.0.to_string()
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
        if inputs[0].shape.broadcast(&self.0).as_ref() != Some(&self.0) {
            return Err(format!("{} cannot be broadcast to {}", inputs[0].shape, self.0));
        }
        one(inputs[0].dtype, self.0.clone())
    }

    fn gradient(&self, backward: &Backward<'_>) -> Vec<Option<Value>> {
        let input = backward.inputs[0].shape();
        let missing = self.0.rank() - input.rank();
        let repeated = |&axis: &usize| axis < missing || (input[axis - missing] == 1 && self.0[axis] != 1);
        let axes: Vec<usize> = (0..self.0.rank()).filter(repeated).collect();
        vec![Some(backward.dy().sum(&axes).reshape(input))]
    }

    fn kind(&self) -> OpKind<'_> {
        OpKind::View(self)
    }
}

impl ViewOp for Broadcast {
    fn layout(&self, input: &Layout) -> Option<Layout> {
        Some(input.broadcast_to(&self.0))
    }
}

/// The operator that repeats to a shape, for passes.
pub fn broadcast_op(shape: &Shape) -> Arc<dyn Op> {
    Arc::new(Broadcast(shape.clone()))
}

/// Slice: the block of the given sizes that begins at `starts`.
#[derive(Debug)]
struct Slice {
    starts: Vec<usize>,
    sizes: Shape,
}

impl Op for Slice {
    fn name(&self) -> &'static str {
        "slice"
    }

    fn attributes(&self) -> String {
        format!("{:?}+{}", self.starts, self.sizes)
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
        let shape = &inputs[0].shape;
        let fits = self.starts.len() == shape.rank()
            && self.sizes.rank() == shape.rank()
            && (0..shape.rank()).all(|axis| self.starts[axis] + self.sizes[axis] <= shape[axis]);
        if !fits {
            return Err(format!("the block {} from {:?} on reaches beyond {shape}", self.sizes, self.starts));
        }
        one(inputs[0].dtype, self.sizes.clone())
    }

    fn gradient(&self, backward: &Backward<'_>) -> Vec<Option<Value>> {
        let shape = backward.inputs[0].shape();
        let padding: Vec<(usize, usize)> = (0..shape.rank())
            .map(|axis| (self.starts[axis], shape[axis] - self.starts[axis] - self.sizes[axis]))
            .collect();
        vec![Some(backward.dy().pad(&padding, 0.0))]
    }

    fn kind(&self) -> OpKind<'_> {
        OpKind::View(self)
    }
}

impl ViewOp for Slice {
    fn layout(&self, input: &Layout) -> Option<Layout> {
        Some(input.slice(&self.starts, &self.sizes))
    }
}

/// The operator that puts values one after the other along an axis, for passes.
pub fn concat_op(axis: usize) -> Arc<dyn Op> {
    Arc::new(Concat(axis))
}

/// The operator that puts zeros around a value, for passes.
pub fn zeros_around_op(around: &[(usize, usize)]) -> Arc<dyn Op> {
    Arc::new(Pad { around: around.to_vec(), value: 0.0 })
}

/// Concat: tensors one after the other along an axis.
#[derive(Debug)]
struct Concat(usize);

impl Concat {
    /// Where in the output each input lies.
    fn parts<'a>(&self, inputs: impl Iterator<Item = &'a Shape>, output: &Shape) -> Vec<Layout> {
        let whole = Layout::contiguous(output);
        let mut starts = vec![0; output.rank()];
        let mut parts = Vec::new();
        for shape in inputs {
            parts.push(whole.slice(&starts, shape));
            starts[self.0] += shape[self.0];
        }
        parts
    }
}

impl Op for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn attributes(&self) -> String {
        format!("axis {}", self.0)
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
        let first = &inputs[0];
        let axis = self.0;
        if axis >= first.shape.rank() {
            return Err(format!("axis {axis} is beyond the dimensions of {}", first.shape));
        }
        let fits = |input: &TensorType| {
            input.dtype == first.dtype
                && input.shape.rank() == first.shape.rank()
                && input.shape.without(&[axis]) == first.shape.without(&[axis])
        };
        if let Some(other) = inputs.iter().find(|input| !fits(input)) {
            return Err(format!("{other} does not continue {first} along axis {axis}"));
        }
        let mut sizes = first.shape.to_vec();
        sizes[axis] = inputs.iter().map(|input| input.shape[axis]).sum();
        one(first.dtype, sizes)
    }

    fn gradient(&self, backward: &Backward<'_>) -> Vec<Option<Value>> {
        let dy = backward.dy();
        let mut starts = vec![0; dy.shape().rank()];
        let mut parts = Vec::new();
        for input in backward.inputs {
            let shape = input.shape();
            parts.push(input.dtype().is_float().then(|| dy.slice(&starts, shape.clone())));
            starts[self.0] += shape[self.0];
        }
        parts
    }

    fn kind(&self) -> OpKind<'_> {
        OpKind::Kernel(self)
    }
}

impl KernelOp for Concat {
    fn accepts(&self, _input: usize, _layout: &Layout) -> bool {
        true
    }

    fn cpu(&self, call: &mut CpuCall<'_>) -> Result<(), Error> {
        let kind = &call.kinds[0];
        let parts = self.parts(call.inputs.iter().map(|input| &input.layout.shape), &kind.shape);
        let wide = call.precision.element_bytes(kind.dtype) == 8;
        for (input, part) in call.inputs.iter().zip(&parts) {
            let from = strided(input.layout);
            let to = &mut *call.outputs[0];
            if wide {
                let to = bytemuck::cast_slice_mut::<u8, u64>(to);
                cpu_reference::copy(input.buffer(), from, to, &part.strides, part.offset);
            } else {
                let to = bytemuck::cast_slice_mut::<u8, u32>(to);
                cpu_reference::copy(input.buffer(), from, to, &part.strides, part.offset);
            }
        }
        Ok(())
    }

    fn gpu(&self, call: &mut GpuCall) -> Result<(), Error> {
        let output = call.outputs[0].layout.shape.clone();
        let parts = self.parts(call.inputs.iter().map(|input| &input.layout.shape), &output);
        parts.iter().enumerate().try_for_each(|(input, part)| copy(call, input, part))
    }

    fn flops(&self, _inputs: &[TensorType], _outputs: &[TensorType]) -> u64 {
        0
    }

    fn accuracy(&self, _arithmetic: Arithmetic, _inputs: &[TensorType], _largest: &[f64]) -> Accuracy {
        Accuracy::EXACT
    }
}

/// The launches that copy input `input` to where `part` says in the output.
fn copy(call: &mut GpuCall, input: usize, part: &Layout) -> Result<(), Error> {
    let axes: Vec<Axis> = part.shape.iter().map(|&size| Axis::any(size)).collect();
    let from = call.view(input, call.inputs[input].layout.strides.clone());
    let to = View { offset: part.offset, strides: part.strides.clone() };
    let views = [from, GpuView { operand: call.inputs.len(), view: to }];
    for piece in call.cut(&axes, &views)? {
        let elements: usize = piece.sizes.iter().product();
        call.launch(
            "copy",
            &[],
            &[
                ("count", word(elements, "the number of elements")?.into()),
                ("rank", word(part.shape.rank(), "the rank")?.into()),
                ("sizes", (&words(&piece.sizes, "a size")?[..]).into()),
                ("input_strides", (&words(&views[0].view.strides, "a stride")?[..]).into()),
                ("output_strides", (&words(&part.strides, "a stride")?[..]).into()),
                ("input_offset", piece.offsets[0].into()),
                ("output_offset", piece.offsets[1].into()),
            ],
            &piece.windows,
            flat_groups(elements)?,
        )?;
    }
    Ok(())
}

/// Pad: `before` and `after` elements of one value around each dimension.
#[derive(Debug)]
struct Pad {
    around: Vec<(usize, usize)>,
    value: f32,
}

impl Pad {
    /// One launch: `input`, with `before` elements before it along each dimension, and the value around it.
    fn fill(
        &self,
        call: &mut GpuCall,
        output: &Shape,
        before: &[usize],
        input: &Layout,
        offsets: [usize; 2],
        windows: &[GpuWindow],
    ) -> Result<(), Error> {
        call.launch(
            "pad",
            &[],
            &[
                ("count", word(output.elements(), "the number of elements")?.into()),
                ("rank", word(output.rank(), "the rank")?.into()),
                ("output_sizes", (&words(output, "a size")?[..]).into()),
                ("before", (&words(before, "a padding")?[..]).into()),
                ("input_sizes", (&words(&input.shape, "a size")?[..]).into()),
                ("input_strides", (&words(&input.strides, "a stride")?[..]).into()),
                ("input_offset", word(offsets[0], "an offset")?.into()),
                ("value", self.value.to_bits().into()),
                ("output_offset", word(offsets[1], "an offset")?.into()),
            ],
            windows,
            flat_groups(output.elements())?,
        )
    }
}

impl Op for Pad {
    fn name(&self) -> &'static str {
        "pad"
    }

    fn attributes(&self) -> String {
        format!("{:?} with {:?} ({:08x})", self.around, self.value, self.value.to_bits())
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
        let shape = &inputs[0].shape;
        if inputs[0].dtype != DType::F32 {
            return Err(format!("padding is for f32, not {}", inputs[0]));
        }
        if self.around.len() != shape.rank() {
            return Err(format!(
                "{} pairs of padding for the {} dimensions of {shape}",
                self.around.len(),
                shape.rank()
            ));
        }
        let sizes: Vec<usize> =
            self.around.iter().zip(shape.iter()).map(|((before, after), size)| before + size + after).collect();
        one(DType::F32, sizes)
    }

    fn gradient(&self, backward: &Backward<'_>) -> Vec<Option<Value>> {
        let starts: Vec<usize> = self.around.iter().map(|(before, _)| *before).collect();
        vec![Some(backward.dy().slice(&starts, backward.inputs[0].shape()))]
    }

    fn kind(&self) -> OpKind<'_> {
        OpKind::Kernel(self)
    }

    fn zeros_around(&self) -> Option<&[(usize, usize)]> {
        (self.value.to_bits() == 0).then_some(&self.around)
    }
}

impl KernelOp for Pad {
    fn accepts(&self, _input: usize, _layout: &Layout) -> bool {
        true
    }

    fn cpu(&self, call: &mut CpuCall<'_>) -> Result<(), Error> {
        let before: Vec<usize> = self.around.iter().map(|(before, _)| *before).collect();
        let source = strided(call.inputs[0].layout);
        let sizes = &call.kinds[0].shape;
        crate::ops::support::for_precision!(call.precision, T => {
            let input = call.inputs[0].buffer::<T>();
            let output = bytemuck::cast_slice_mut(call.outputs[0]);
            cpu_reference::pad(input, source, &before, sizes, T::from(self.value), output);
        });
        Ok(())
    }

    fn gpu(&self, call: &mut GpuCall) -> Result<(), Error> {
        let output = call.outputs[0].layout.shape.clone();
        let before: Vec<usize> = self.around.iter().map(|(before, _)| *before).collect();
        let input = call.inputs[0].layout.clone();
        if !call.is_large() {
            let windows = [0, 1].map(|operand| GpuWindow { operand, elements: None });
            return self.fill(call, &output, &before, &input, [input.offset, 0], &windows);
        }
        // Filled piece by piece as if there were no input, and then the input is copied into it.
        let nothing = Layout { shape: [0].into(), strides: vec![0], offset: 0 };
        let views = [call.view(0, [0]), call.view(1, [1])];
        for piece in call.cut(&[Axis::any(output.elements())], &views)? {
            let [from, to] = [0, 1].map(|view| piece.offsets[view] as usize);
            self.fill(call, &piece.sizes.clone().into(), &[0], &nothing, [from, to], &piece.windows)?;
        }
        copy(call, 0, &Layout::contiguous(&output).slice(&before, &input.shape))
    }

    fn flops(&self, _inputs: &[TensorType], _outputs: &[TensorType]) -> u64 {
        0
    }

    fn accuracy(&self, _arithmetic: Arithmetic, _inputs: &[TensorType], _largest: &[f64]) -> Accuracy {
        Accuracy::EXACT
    }
}

impl Value {
    /// The same elements in row-major order under another shape. `torch.reshape`.
    #[track_caller]
    pub fn reshape(self, shape: impl Into<Shape>) -> Value {
        apply(Reshape(shape.into()), &[self])[0]
    }

    /// Dimension `i` of the result is dimension `order[i]` of this value. `torch.permute`.
    #[track_caller]
    pub fn permute(self, order: &[usize]) -> Value {
        apply(Permute(order.to_vec()), &[self])[0]
    }

    /// Swaps the last two dimensions. `torch.Tensor.mT`.
    #[track_caller]
    pub fn transpose(self) -> Value {
        let rank = self.shape().rank();
        let mut order: Vec<usize> = (0..rank).collect();
        if rank < 2 {
            self.recorder().fail("transpose", format!("{} has fewer than two dimensions", self.shape()));
            return self;
        }
        order.swap(rank - 2, rank - 1);
        self.permute(&order)
    }

    /// Repeats dimensions of size 1 and adds leading ones. `torch.broadcast_to`.
    #[track_caller]
    pub fn broadcast_to(self, shape: impl Into<Shape>) -> Value {
        let shape = shape.into();
        if self.shape() == shape { self } else { apply(Broadcast(shape), &[self])[0] }
    }

    /// The block of the given sizes from `starts` on. `torch.narrow` along each dimension.
    #[track_caller]
    pub fn slice(self, starts: &[usize], sizes: impl Into<Shape>) -> Value {
        apply(Slice { starts: starts.to_vec(), sizes: sizes.into() }, &[self])[0]
    }

    /// This value followed by others along `axis`. `torch.cat`.
    #[track_caller]
    pub fn concat(self, others: &[Value], axis: usize) -> Value {
        let all: Vec<Value> = std::iter::once(self).chain(others.iter().copied()).collect();
        apply(Concat(axis), &all)[0]
    }

    /// `(before, after)` elements of `value` around each dimension, outermost first. `torch.nn.functional.pad`.
    #[track_caller]
    pub fn pad(self, around: &[(usize, usize)], value: f32) -> Value {
        apply(Pad { around: around.to_vec(), value }, &[self])[0]
    }

    /// All dimensions from `axis` on merged into one. `torch.flatten(start_dim=axis)`.
    #[track_caller]
    pub fn flatten(self, axis: usize) -> Value {
        let shape = self.shape();
        let axis = axis.min(shape.rank());
        let mut sizes = shape[..axis].to_vec();
        sizes.push(shape[axis..].iter().product());
        self.reshape(sizes)
    }

    /// The number `value` in this value's shape and element type.
    #[track_caller]
    pub fn full_like(self, value: f32) -> Value {
        let trace = self.recorder();
        let scalar = match self.dtype() {
            DType::U32 => trace.scalar_u32(value as u32),
            DType::I32 => trace.scalar(value).to_i32(),
            DType::F32 | DType::F16 => trace.scalar(value),
        };
        scalar.broadcast_to(self.shape())
    }

    /// Zeros in this value's shape and element type. `torch.zeros_like`.
    #[track_caller]
    pub fn zeros_like(self) -> Value {
        self.full_like(0.0)
    }
}

/// Samples of this family.
pub(super) fn add_samples(samples: &mut Samples) {
    let x = samples.uniform([4, 6], -2.0, 2.0);
    samples.smooth("reshape", "plain", vec![x.clone()], |x| x[0].reshape([2, 3, 4]));
    samples.smooth("reshape", "of a transpose", vec![x.clone()], |x| x[0].transpose().reshape([3, 8]));
    samples.smooth("reshape", "of a slice", vec![x.clone()], |x| x[0].slice(&[1, 2], [2, 4]).reshape([8]));
    samples.smooth("permute", "transpose", vec![x.clone()], |x| x[0].transpose());
    samples.smooth("slice", "block", vec![x.clone()], |x| x[0].slice(&[1, 2], [3, 3]));
    samples.smooth("slice", "of a transpose", vec![x.clone()], |x| x[0].transpose().slice(&[5, 0], [1, 4]));
    samples.smooth("broadcast", "new dimensions", vec![x.clone()], |x| x[0].broadcast_to([3, 2, 4, 6]));
    samples.smooth("pad", "both sides", vec![x.clone()], |x| x[0].pad(&[(1, 2), (0, 3)], 0.5));
    samples.smooth("pad", "of a transpose", vec![x], |x| x[0].transpose().pad(&[(2, 0), (1, 1)], -7.5));
    let x = samples.uniform([2, 3, 5, 7], -2.0, 2.0);
    samples.smooth("permute", "rank 4", vec![x.clone()], |x| x[0].permute(&[2, 0, 3, 1]));
    samples.smooth("slice", "rank 4", vec![x], |x| x[0].slice(&[1, 0, 2, 3], [1, 3, 2, 4]));
    let x = samples.uniform([5, 1, 3], -2.0, 2.0);
    samples.smooth("broadcast", "middle dimension", vec![x.clone()], |x| x[0].broadcast_to([5, 4, 3]));
    samples.smooth("broadcast", "one element", vec![x], |x| x[0].slice(&[2, 0, 1], [1, 1, 1]).broadcast_to([2, 70, 3]));
    for axis in 0..3 {
        let mut sizes = [3, 4, 5];
        let a = samples.uniform(sizes, -2.0, 2.0);
        sizes[axis] = 2;
        let b = samples.uniform(sizes, -2.0, 2.0);
        let label = format!("axis {axis}");
        samples.smooth("concat", &label, vec![a, b], move |x| x[0].concat(&[x[1], x[0]], axis));
    }
    let (a, b) = (samples.uniform([7, 4], -2.0, 2.0), samples.uniform([4, 9], -2.0, 2.0));
    samples.smooth("concat", "of a transpose", vec![a, b], |x| x[0].transpose().concat(&[x[1]], 1));
    let (a, b) = (samples.indices([1], 9), samples.indices([300], 9));
    samples.forward("concat", "whole numbers", vec![a, b], |x| x[0].concat(&[x[1]], 0));
}
