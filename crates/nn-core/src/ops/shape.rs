//! Operators that move elements without computing: views reshape, permute, broadcast, slice.

use crate::graph::{Backward, Op, OpKind, Value, ViewOp, apply};
use crate::ops::samples::Samples;
use crate::ops::support::one;
use crate::tensor::{DType, Layout, Shape, TensorType};
use std::sync::Arc;

/// The operators of this family.
pub(super) const NAMES: &[&str] = &["reshape", "permute", "broadcast", "slice"];

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
    samples.smooth("broadcast", "new dimensions", vec![x], |x| x[0].broadcast_to([3, 2, 4, 6]));
    let x = samples.uniform([2, 3, 5, 7], -2.0, 2.0);
    samples.smooth("permute", "rank 4", vec![x.clone()], |x| x[0].permute(&[2, 0, 3, 1]));
    samples.smooth("slice", "rank 4", vec![x], |x| x[0].slice(&[1, 0, 2, 3], [1, 3, 2, 4]));
    let x = samples.uniform([5, 1, 3], -2.0, 2.0);
    samples.smooth("broadcast", "middle dimension", vec![x.clone()], |x| x[0].broadcast_to([5, 4, 3]));
    samples.smooth("broadcast", "one element", vec![x], |x| x[0].slice(&[2, 0, 1], [1, 1, 1]).broadcast_to([2, 70, 3]));
}
