//! The matrix product, batched, of operands read through any strides: no transpose is ever copied.

use crate::Error;
use crate::graph::{Accuracy, Arithmetic, Backward, CpuCall, GpuCall, KernelOp, Op, OpKind, Value, apply, word, words};
use crate::ops::samples::{Samples, tensor};
use crate::ops::support::{for_precision, one};
use crate::tensor::window::Axis;
use crate::tensor::{DType, Layout, Shape, TensorType};
use cpu_reference::Matrix;

/// The operators of this family.
pub(super) const NAMES: &[&str] = &["matmul"];

/// The most batch dimensions that the shader addresses after merging.
const BATCH_DIMENSIONS: usize = 4;

/// Rows and columns of the result that one workgroup computes.
const TILE: usize = 64;

/// Steps along the depth that a workgroup takes at once.
const DEPTH: usize = 16;

/// `(batch…, m, k) · (batch…, k, n)`, with equal batch dimensions.
#[derive(Debug)]
struct Matmul;

/// Sizes and strides of a product, its batch dimensions merged.
struct Product {
    sizes: [usize; 3],
    batch_sizes: Vec<usize>,
    batch_strides: [Vec<usize>; 2],
    row_strides: [usize; 2],
    column_strides: [usize; 2],
    offsets: [usize; 2],
}

impl Product {
    fn of(a: &Layout, b: &Layout) -> Product {
        let rank = a.shape.rank();
        let batch = |layout: &Layout| Layout {
            shape: layout.shape[..rank - 2].into(),
            strides: layout.strides[..rank - 2].to_vec(),
            offset: 0,
        };
        let (left, right) = (batch(a), batch(b));
        let (batch_sizes, mut strides) = Layout::collapse(&[&left, &right], &left.shape);
        let right = strides.pop().unwrap_or_default();
        let left = strides.pop().unwrap_or_default();
        Product {
            sizes: [a.shape[rank - 2], a.shape[rank - 1], b.shape[rank - 1]],
            batch_sizes,
            batch_strides: [left, right],
            row_strides: [a.strides[rank - 2], b.strides[rank - 2]],
            column_strides: [a.strides[rank - 1], b.strides[rank - 1]],
            offsets: [a.offset, b.offset],
        }
    }
}

impl Op for Matmul {
    fn name(&self) -> &'static str {
        "matmul"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
        let (a, b) = (&inputs[0].shape, &inputs[1].shape);
        if inputs.iter().any(|input| input.dtype != DType::F32) {
            return Err(format!("it is for f32, not {} and {}; cast them first", inputs[0], inputs[1]));
        }
        let rank = a.rank();
        if rank < 2 || b.rank() != rank || a[..rank - 2] != b[..rank - 2] {
            return Err(format!("{a} and {b} are not batches of matrices of equal number"));
        }
        if a[rank - 1] != b[rank - 2] {
            return Err(format!("{a} × {b}: {} columns meet {} rows", a[rank - 1], b[rank - 2]));
        }
        let mut sizes = a.to_vec();
        sizes[rank - 1] = b[rank - 1];
        one(DType::F32, sizes)
    }

    fn gradient(&self, backward: &Backward<'_>) -> Vec<Option<Value>> {
        let (a, b, dy) = (backward.inputs[0], backward.inputs[1], backward.dy());
        // The gradient of an operand that is a transpose is computed as one, so that the operand below it (a weight)
        // gets its gradient in its own order of elements.
        let product = |operand: Value, left: Value, right: Value| match operand.made_by() {
            Some("permute") => apply(Matmul, &[right.transpose(), left.transpose()])[0].transpose(),
            _ => apply(Matmul, &[left, right])[0],
        };
        vec![Some(product(a, dy, b.transpose())), Some(product(b, a.transpose(), dy))]
    }

    fn kind(&self) -> OpKind<'_> {
        OpKind::Kernel(self)
    }
}

impl KernelOp for Matmul {
    fn accepts(&self, _input: usize, layout: &Layout) -> bool {
        // Both operands' batch dimensions merge together or not at all; up to four always fit.
        layout.is_contiguous() || layout.shape.rank() <= BATCH_DIMENSIONS + 2
    }

    fn cpu(&self, call: &mut CpuCall<'_>) -> Result<(), Error> {
        let product = Product::of(call.inputs[0].layout, call.inputs[1].layout);
        for_precision!(call.precision, T => {
            let [a, b] = [0, 1].map(|side| Matrix {
                values: call.inputs[side].buffer::<T>(),
                offset: product.offsets[side],
                row_stride: product.row_strides[side],
                column_stride: product.column_strides[side],
                batch_strides: &product.batch_strides[side],
            });
            cpu_reference::matmul(&a, &b, &product.batch_sizes, product.sizes, call.output::<T>(0));
        });
        Ok(())
    }

    fn gpu(&self, call: &mut GpuCall) -> Result<(), Error> {
        let product = Product::of(&call.inputs[0].layout, &call.inputs[1].layout);
        let [m, k, n] = product.sizes;
        if product.batch_sizes.len() > BATCH_DIMENSIONS {
            let message =
                format!("a matrix product with batch dimensions {:?} cannot be addressed", product.batch_sizes);
            return Err(Error::Usage(format!("{message}; merge some of them with reshape")));
        }
        let dimensions = product.batch_sizes.len();
        let sizes: Vec<usize> = product.batch_sizes.iter().copied().chain([m, n]).collect();
        let output = Layout::contiguous(&Shape::from(sizes)).strides;
        let along = |side: usize, last: [usize; 3]| [&product.batch_strides[side][..], &last[..]].concat();
        let views = [
            call.view(0, along(0, [product.row_strides[0], 0, product.column_strides[0]])),
            call.view(1, along(1, [0, product.column_strides[1], product.row_strides[1]])),
            call.view(2, [&output[..], &[0][..]].concat()),
        ];
        // Pieces along the depth add to what the one before left, in the same order as in one launch.
        let mut axes: Vec<Axis> = product.batch_sizes.iter().map(|&size| Axis::any(size)).collect();
        axes.extend([Axis::in_steps(m, TILE), Axis::in_steps(n, TILE), Axis::in_steps(k, DEPTH)]);
        let stride = |numbers: &[usize]| words(numbers, "a stride");
        for piece in call.cut(&axes, &views)? {
            let (batch_sizes, rest) = piece.sizes.split_at(dimensions);
            let (m, n, k) = (rest[0], rest[1], rest[2]);
            let batch: usize = batch_sizes.iter().product();
            let mut batch_sizes = batch_sizes.to_vec();
            batch_sizes.resize(BATCH_DIMENSIONS, 1);
            // Batches beyond what one grid dimension holds are looped over in the shader.
            let planes = word(batch.min(65_535), "the number of matrices")?;
            let groups = [word(n.div_ceil(TILE), "the width")?, word(m.div_ceil(TILE), "the height")?, planes];
            let goes_on: &[(&str, u32)] = if piece.starts[dimensions + 2] > 0 { &[("CONTINUE", 1)] } else { &[] };
            call.launch(
                "matmul",
                goes_on,
                &[
                    ("m", word(m, "a size")?.into()),
                    ("n", word(n, "a size")?.into()),
                    ("k", word(k, "a size")?.into()),
                    ("batch", word(batch, "the number of matrices")?.into()),
                    ("batch_sizes", (&words(&batch_sizes, "a size")?[..]).into()),
                    ("left_batch_strides", (&stride(&product.batch_strides[0])?[..]).into()),
                    ("right_batch_strides", (&stride(&product.batch_strides[1])?[..]).into()),
                    ("output_batch_strides", (&stride(&output[..dimensions])?[..]).into()),
                    ("left_row_stride", word(product.row_strides[0], "a stride")?.into()),
                    ("left_column_stride", word(product.column_strides[0], "a stride")?.into()),
                    ("right_row_stride", word(product.row_strides[1], "a stride")?.into()),
                    ("right_column_stride", word(product.column_strides[1], "a stride")?.into()),
                    ("output_row_stride", word(output[dimensions], "a stride")?.into()),
                    ("left_offset", piece.offsets[0].into()),
                    ("right_offset", piece.offsets[1].into()),
                    ("output_offset", piece.offsets[2].into()),
                ],
                &piece.windows,
                groups,
            )?;
            call.loops(k.next_multiple_of(DEPTH) * batch.div_ceil(65_535));
        }
        Ok(())
    }

    fn flops(&self, inputs: &[TensorType], outputs: &[TensorType]) -> u64 {
        let depth = inputs[0].shape.last().copied().unwrap_or(1);
        2 * outputs[0].shape.elements() as u64 * depth as u64
    }

    fn accuracy(&self, arithmetic: Arithmetic, inputs: &[TensorType], _largest: &[f64]) -> Accuracy {
        // The shader and the CPU's kernel add one product after the other: each product is rounded, and each addition
        // but the first, which is to 0.
        let depth = inputs[0].shape.last().copied().unwrap_or(1);
        Accuracy::sum(arithmetic, depth, depth)
    }
}

impl Value {
    /// The matrix product over the last two dimensions; leading ones are broadcast. `torch.matmul` for operands
    /// of two dimensions or more.
    #[track_caller]
    pub fn matmul(self, other: Value) -> Value {
        let (a, b) = (self.shape(), other.shape());
        if a.rank() > 2 && b.rank() == 2 && a[a.rank() - 1] == b[0] {
            // One tall product instead of a batch of small ones.
            let rows: usize = a[..a.rank() - 1].iter().product();
            let flat = self.reshape([rows, a[a.rank() - 1]]);
            let mut sizes = a.to_vec();
            sizes[a.rank() - 1] = b[1];
            return apply(Matmul, &[flat, other])[0].reshape(sizes);
        }
        if a.rank() >= 2 && b.rank() >= 2 {
            let (left, right) = (a[..a.rank() - 2].into(), b[..b.rank() - 2].into());
            let common: Option<crate::tensor::Shape> = crate::tensor::Shape::broadcast(&left, &right);
            if let Some(batch) = common {
                let fit = |value: Value, shape: &[usize]| {
                    let sizes: Vec<usize> = batch.iter().chain(&shape[shape.len() - 2..]).copied().collect();
                    value.broadcast_to(sizes)
                };
                return apply(Matmul, &[fit(self, &a), fit(other, &b)])[0];
            }
        }
        apply(Matmul, &[self, other])[0]
    }
}

/// Samples of this family.
pub(super) fn add_samples(samples: &mut Samples) {
    for [m, k, n] in [[1, 1, 1], [2, 3, 4], [17, 31, 5], [65, 17, 66], [1, 300, 1], [130, 1, 70], [64, 64, 64]] {
        let (a, b) = (samples.uniform([m, k], -1.0, 1.0), samples.uniform([k, n], -1.0, 1.0));
        let size = format!("{m}×{k}×{n}");
        samples.smooth("matmul", &size, vec![a.clone(), b.clone()], |x| x[0].matmul(x[1]));
        let (ta, tb) = (samples.uniform([k, m], -1.0, 1.0), samples.uniform([n, k], -1.0, 1.0));
        let label = format!("{size}, left transposed");
        samples.smooth("matmul", &label, vec![ta.clone(), b], |x| x[0].transpose().matmul(x[1]));
        let label = format!("{size}, right transposed");
        samples.smooth("matmul", &label, vec![a, tb.clone()], |x| x[0].matmul(x[1].transpose()));
        let label = format!("{size}, both transposed");
        samples.smooth("matmul", &label, vec![ta, tb], |x| x[0].transpose().matmul(x[1].transpose()));
    }
    let (a, b) = (samples.uniform([3, 5, 6], -1.0, 1.0), samples.uniform([3, 6, 4], -1.0, 1.0));
    samples.smooth("matmul", "batch", vec![a.clone(), b], |x| x[0].matmul(x[1]));
    let c = samples.uniform([6, 5, 4], -1.0, 1.0);
    samples.smooth("matmul", "permuted batch", vec![a.clone(), c], |x| {
        x[0].permute(&[1, 0, 2]).matmul(x[1].permute(&[1, 0, 2]))
    });
    let b = samples.uniform([6, 4], -1.0, 1.0);
    samples.smooth("matmul", "one matrix for all", vec![a.clone(), b], |x| x[0].matmul(x[1]));
    let b = samples.uniform([2, 1, 6, 4], -1.0, 1.0);
    samples.smooth("matmul", "broadcast batch", vec![a, b], |x| x[0].matmul(x[1]));
    let (a, b) = (samples.uniform([2, 3, 4, 5, 6], -1.0, 1.0), samples.uniform([2, 3, 4, 6, 2], -1.0, 1.0));
    samples.smooth("matmul", "three batch dimensions", vec![a, b], |x| {
        x[0].permute(&[2, 0, 1, 3, 4]).matmul(x[1].permute(&[2, 0, 1, 3, 4]))
    });
    let a = tensor([2, 3], &[1e4, f32::NAN, 2.0, -1e4, 0.5, 1e4]);
    let b = tensor([3, 2], &[1e4, 1.0, 0.0, 2.0, -1e4, 3.0]);
    samples.forward("matmul", "outliers", vec![a, b], |x| x[0].matmul(x[1]));
    // More matrices than one dimension of a grid holds.
    let (a, b) = (samples.uniform([65_540, 1, 2], -1.0, 1.0), samples.uniform([65_540, 2, 1], -1.0, 1.0));
    samples.forward("matmul", "grid beyond 65,535 groups", vec![a, b], |x| x[0].matmul(x[1]));
}
