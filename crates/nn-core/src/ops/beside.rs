//! Operators that put elements beside others: concat and pad.

use crate::Error;
use crate::graph::{
    Accuracy, Arithmetic, Backward, CpuCall, GpuCall, GpuView, GpuWindow, KernelOp, Op, OpKind, Value, apply,
};
use crate::graph::{word, words};
use crate::ops::samples::Samples;
use crate::ops::support::{flat_groups, one, strided};
use crate::tensor::window::{Axis, View};
use crate::tensor::{DType, Layout, Shape, TensorType};
use std::sync::Arc;

/// The operators of this family.
pub(super) const NAMES: &[&str] = &["concat", "pad"];

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
}

/// Samples of this family.
pub(super) fn add_samples(samples: &mut Samples) {
    let x = samples.uniform([4, 6], -2.0, 2.0);
    samples.smooth("pad", "both sides", vec![x.clone()], |x| x[0].pad(&[(1, 2), (0, 3)], 0.5));
    samples.smooth("pad", "of a transpose", vec![x], |x| x[0].transpose().pad(&[(2, 0), (1, 1)], -7.5));
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
