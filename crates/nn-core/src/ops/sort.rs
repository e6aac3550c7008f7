//! Sorting along an axis, and the largest or smallest elements.

use crate::Error;
use crate::graph::{
    Accuracy, Arithmetic, Backward, CpuCall, GpuCall, GpuPiece, GpuWindow, KernelOp, Op, OpKind, Value, apply,
    apply_many, word,
};
use crate::ops::samples::{Samples, tensor, whole};
use crate::ops::support::{axis_last, flat_groups, for_precision, one, refused, reordered, row_groups};
use crate::tensor::window::Axis;
use crate::tensor::{DType, Tensor, TensorType};

/// The operators of this family.
pub(super) const NAMES: &[&str] = &["sort", "sort_gradient"];

/// The longest row that a workgroup sorts alone; of longer ones it sorts parts, which are then merged.
const LENGTH: usize = 2048;

/// `x` → each row of it in order, and where each element stood.
#[derive(Debug)]
struct Sort {
    descending: bool,
}

/// `dy, indices → dx` of [`Sort`].
#[derive(Debug)]
struct SortGradient;

impl Op for Sort {
    fn name(&self) -> &'static str {
        NAMES[0]
    }

    fn attributes(&self) -> String {
        if self.descending { "descending" } else { "ascending" }.into()
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
        let shape = &inputs[0].shape;
        if inputs[0].dtype != DType::F32 || shape.rank() == 0 {
            return Err(format!("it needs f32 with at least one dimension, not {}", inputs[0]));
        }
        Ok(vec![TensorType::new(DType::F32, shape.clone()), TensorType::new(DType::U32, shape.clone())])
    }

    fn gradient(&self, backward: &Backward<'_>) -> Vec<Option<Value>> {
        let dx = |dy| apply(SortGradient, &[dy, backward.outputs[1]])[0];
        vec![backward.gradients[0].map(dx)]
    }

    fn kind(&self) -> OpKind<'_> {
        OpKind::Kernel(self)
    }
}

impl Sort {
    /// Sorts blocks of the rows, and merges what they became, two runs at a time. The places that the runs hold go to and
    /// fro between the two outputs, so that the last merge leaves them in the indices.
    fn of_long_rows(&self, call: &mut GpuCall, piece: &GpuPiece, columns: usize) -> Result<(), Error> {
        let elements = piece.sizes[0] * columns;
        let order = [("DESCENDING", u32::from(self.descending))];
        let (rows, count) = (word(piece.sizes[0], "the number of rows")?, word(columns, "the number of columns")?);
        let merges = columns.div_ceil(LENGTH).next_power_of_two().ilog2();
        let home = |merge: u32| if (merges - merge).is_multiple_of(2) { 2 } else { 1 };
        let window = |operand: usize| piece.windows[operand].clone();
        self.blocks(call, piece, columns, [3 - home(0), home(0)])?;
        for merge in 0..merges {
            let (from, to) = (home(merge), home(merge + 1));
            call.launch(
                "sort_merge",
                &order,
                &[
                    ("rows", rows.into()),
                    ("columns", count.into()),
                    ("run", word(LENGTH << merge, "a run")?.into()),
                    ("input_offset", piece.offsets[0].into()),
                    ("from_offset", piece.offsets[from].into()),
                    ("to_offset", piece.offsets[to].into()),
                ],
                &[window(0), window(from), window(to)],
                flat_groups(elements)?,
            )?;
            call.loops(32);
        }
        call.launch(
            "gather",
            &[],
            &[
                ("outer", rows.into()),
                ("size", count.into()),
                ("first_place", 0.into()),
                ("count", count.into()),
                ("inner", 1.into()),
                ("axis_stride", 1.into()),
                ("input_outer_stride", count.into()),
                ("output_outer_stride", count.into()),
                ("input_offset", piece.offsets[0].into()),
                ("indices_offset", piece.offsets[2].into()),
                ("output_offset", piece.offsets[1].into()),
            ],
            &[window(0), window(2), window(1)],
            flat_groups(elements)?,
        )
    }

    /// The launch that sorts rows, or blocks of long ones, and leaves values and places in these operands.
    fn blocks(
        &self,
        call: &mut GpuCall,
        piece: &GpuPiece,
        columns: usize,
        [values, places]: [usize; 2],
    ) -> Result<(), Error> {
        let length = columns.next_power_of_two().clamp(64, LENGTH);
        let width = (length / 2).min(256);
        let windows: Vec<GpuWindow> = [0, values, places].map(|operand| piece.windows[operand].clone()).into();
        call.launch(
            "sort",
            &[
                ("WIDTH", word(width, "the width")?),
                ("LENGTH", word(length, "the length")?),
                ("PART", u32::from(columns > length)),
                ("DESCENDING", u32::from(self.descending)),
            ],
            &[
                ("rows", word(piece.sizes[0], "the number of rows")?.into()),
                ("columns", word(columns, "the number of columns")?.into()),
                ("input_offset", piece.offsets[0].into()),
                ("values_offset", piece.offsets[values].into()),
                ("indices_offset", piece.offsets[places].into()),
            ],
            &windows,
            row_groups(piece.sizes[0] * columns.div_ceil(length))?,
        )?;
        let (levels, pairs) = (length.ilog2() as usize, length.div_ceil(2 * width));
        call.loops(levels * (levels + 1) / 2 * (1 + pairs) + levels + 4 * pairs);
        Ok(())
    }
}

impl KernelOp for Sort {
    fn cpu(&self, call: &mut CpuCall<'_>) -> Result<(), Error> {
        let columns = call.kinds[0].shape.last().copied().unwrap_or(1);
        for_precision!(call.precision, T => {
            let input = call.inputs[0].elements::<T>();
            let [values, indices] = &mut call.outputs[..] else {
                return Err(Error::Internal("sort was called with too few outputs".into()));
            };
            let (values, indices) = (bytemuck::cast_slice_mut::<u8, T>(values), bytemuck::cast_slice_mut(indices));
            cpu_reference::sort(input, columns, self.descending, values, indices);
        });
        Ok(())
    }

    fn gpu(&self, call: &mut GpuCall) -> Result<(), Error> {
        let shape = call.inputs[0].layout.shape.clone();
        let columns = shape.last().copied().unwrap_or(1);
        let axes = [Axis::any(shape.elements() / columns), Axis::whole(columns)];
        let views = [0, 1, 2].map(|operand| call.view(operand, [columns, 1]));
        for piece in call.cut(&axes, &views)? {
            match columns > LENGTH {
                true => self.of_long_rows(call, &piece, columns)?,
                false => self.blocks(call, &piece, columns, [1, 2])?,
            }
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

impl Op for SortGradient {
    fn name(&self) -> &'static str {
        NAMES[1]
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
        let (dy, indices) = (&inputs[0], &inputs[1]);
        if dy.dtype != DType::F32 || indices.dtype != DType::U32 || dy.shape != indices.shape || dy.shape.rank() == 0 {
            return Err(format!("it needs f32 and u32 of one shape, not {dy} and {indices}"));
        }
        one(DType::F32, dy.shape.clone())
    }

    fn gradient(&self, backward: &Backward<'_>) -> Vec<Option<Value>> {
        let indices = backward.inputs[1];
        vec![Some(backward.dy().gather(indices.shape().rank() - 1, indices)), None]
    }

    fn kind(&self) -> OpKind<'_> {
        OpKind::Kernel(self)
    }
}

impl KernelOp for SortGradient {
    fn cpu(&self, call: &mut CpuCall<'_>) -> Result<(), Error> {
        let columns = call.kinds[0].shape.last().copied().unwrap_or(1);
        let indices = call.inputs[1].elements::<u32>();
        for_precision!(call.precision, T => {
            cpu_reference::permute_back(call.inputs[0].elements::<T>(), indices, columns, call.output::<T>(0));
        });
        Ok(())
    }

    fn gpu(&self, call: &mut GpuCall) -> Result<(), Error> {
        let shape = call.inputs[0].layout.shape.clone();
        let columns = shape.last().copied().unwrap_or(1);
        let axes = [Axis::any(shape.elements() / columns), Axis::any(columns), Axis::any(columns)];
        let from = [columns, 0, 1];
        let views = [call.view(0, from), call.view(1, from), call.view(2, [columns, 1, 0])];
        for piece in call.cut(&axes, &views)? {
            let [rows, size, count] = [0, 1, 2].map(|axis| piece.sizes[axis]);
            call.launch(
                "sort_gradient",
                &[],
                &[
                    ("rows", word(rows, "the number of rows")?.into()),
                    ("size", word(size, "a size")?.into()),
                    ("first_place", word(piece.starts[1], "a place")?.into()),
                    ("count", word(count, "the number of indices")?.into()),
                    ("stride", word(columns, "a stride")?.into()),
                    ("dy_offset", piece.offsets[0].into()),
                    ("indices_offset", piece.offsets[1].into()),
                    ("output_offset", piece.offsets[2].into()),
                ],
                &piece.windows,
                flat_groups(rows * count)?,
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

impl Value {
    /// The elements along `axis` in order, the smallest first or, if `descending`, the largest: their values as `f32` and
    /// where along the axis each stood as `u32`, both of this value's shape. Equal elements stay in their order. NaN counts
    /// as larger than all numbers. The gradient goes back to where the elements stood. `torch.sort(stable=True)`.
    #[track_caller]
    pub fn sort(self, axis: usize, descending: bool) -> [Value; 2] {
        let Some((x, order)) = axis_last(NAMES[0], self, axis) else { return [self; 2] };
        let [values, places] = apply_many(Sort { descending }, &[x]);
        [reordered(values, &order), reordered(places, &order)]
    }

    /// The `count` largest elements along `axis`, the largest first, or the smallest ones, the smallest first: their
    /// values as `f32` and where along the axis each stood as `u32`. Of equal elements the first come first; NaN counts as
    /// larger than all numbers. A count of zero or beyond the axis is an error of the trace. `torch.topk`, which leaves
    /// open where equal elements are found.
    #[track_caller]
    pub fn top_k(self, axis: usize, count: usize, largest: bool) -> [Value; 2] {
        let shape = self.shape();
        match shape.get(axis) {
            None => return [refused(self, "top_k", format!("axis {axis} is beyond the dimensions of {shape}")); 2],
            Some(&size) if count == 0 || count > size => {
                let message =
                    format!("{count} of the {size} elements along axis {axis} of {shape}; take from 1 to {size}");
                return [refused(self, "top_k", message); 2];
            }
            Some(_) => {}
        }
        let mut sizes = shape.to_vec();
        sizes[axis] = count;
        let starts = vec![0; sizes.len()];
        let [values, places] = self.sort(axis, largest);
        [values.slice(&starts, sizes.clone()), places.slice(&starts, sizes)]
    }
}

/// Numbers from −2 to 2 that lie evenly apart, in random order, and random permutations, by rows.
fn shuffled(samples: &mut Samples, rows: usize, columns: usize) -> [Tensor; 2] {
    let (mut values, mut places) = (Vec::new(), Vec::new());
    for _ in 0..rows {
        let keys = samples.uniform([columns], 0.0, 1.0);
        let mut order = vec![0; columns];
        if let Ok(keys) = keys.as_f32() {
            cpu_reference::sort(keys, columns, false, &mut vec![0.0; columns], &mut order);
        }
        values.extend(order.iter().map(|&place| 4.0 * place as f32 / columns as f32 - 2.0));
        places.extend(order);
    }
    [tensor([rows, columns], &values), whole([rows, columns], &places)]
}

/// Samples of this family.
pub(super) fn add_samples(samples: &mut Samples) {
    // One element, a row within the smallest workgroup, beyond it, and rows of one to three merges.
    for [rows, columns] in [[1, 1], [4, 2], [3, 7], [9, 70], [2, 513], [2, 2048], [2, 2049], [1, 5000], [1, 9001]] {
        let [x, places] = shuffled(samples, rows, columns);
        let dy = samples.uniform([rows, columns], -2.0, 2.0);
        for descending in [false, true] {
            let label = format!("[{rows}, {columns}]{}", if descending { ", descending" } else { "" });
            samples.smooth("sort", &label, vec![x.clone()], move |x| x[0].sort(1, descending)[0]);
            let label = format!("{label}, places");
            samples.forward("sort", &label, vec![x.clone()], move |x| x[0].sort(1, descending)[1]);
        }
        let label = format!("[{rows}, {columns}]");
        samples.smooth("sort_gradient", &label, vec![dy, places], |x| apply(SortGradient, x)[0]);
    }
    let [x, _] = shuffled(samples, 1, 60);
    samples.smooth("sort", "first axis", vec![x.clone()], |x| x[0].reshape([5, 3, 4]).sort(0, false)[0]);
    samples.smooth("sort", "middle axis", vec![x.clone()], |x| x[0].reshape([5, 3, 4]).sort(1, true)[0]);
    samples.smooth("sort", "the largest four", vec![x.clone()], |x| x[0].reshape([6, 10]).top_k(1, 4, true)[0]);
    samples.smooth("sort", "the smallest", vec![x], |x| x[0].reshape([6, 10]).top_k(0, 1, false)[0]);
    // Few different values, so that nearly all are equal to others, within a block and beyond.
    for columns in [8, 300, 4500] {
        let special = [f32::NAN, 0.0, -0.0, 1e4, f32::INFINITY, -1e4, f32::NEG_INFINITY, 1e-40, -3e-39, 0.5];
        let numbers = samples.indices([2, columns], special.len() as u32);
        let chosen: Vec<f32> = match numbers.as_u32() {
            Ok(numbers) => numbers.iter().map(|&number| special[number as usize]).collect(),
            Err(_) => continue,
        };
        let x = tensor([2, columns], &chosen);
        for output in [0, 1] {
            for descending in [false, true] {
                let label = format!("{columns} outliers and equals, output {output}, descending {descending}");
                samples.forward("sort", &label, vec![x.clone()], move |x| x[0].sort(1, descending)[output]);
            }
        }
    }
    let x = samples.uniform([65_540, 2], -2.0, 2.0);
    samples.forward("sort", "grid beyond 65,535 groups", vec![x], |x| x[0].sort(1, false)[0]);
}
