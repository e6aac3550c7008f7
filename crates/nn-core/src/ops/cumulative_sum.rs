//! Cumulative sums along an axis.

use crate::Error;
use crate::graph::{Accuracy, Arithmetic, Backward, CpuCall, GpuCall, KernelOp, Op, OpKind, Value, apply, word};
use crate::ops::accuracy::double_sum;
use crate::ops::samples::{Samples, tensor};
use crate::ops::support::{axis_last, for_precision, one, reordered, row_groups};
use crate::tensor::window::Axis;
use crate::tensor::{DType, TensorType};

/// The operators of this family.
pub(super) const NAMES: &[&str] = &["cumulative_sum"];

/// Elements that one invocation of the kernel adds up at a time.
const ELEMENTS: usize = 4;

/// Loop iterations of one launch: a longer row is gone through in several.
const LOOPS: usize = 60_000;

/// Which elements of its row a cumulative sum adds up; by default those up to its own place, with that one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CumulativeSum {
    /// Without the element at its own place.
    pub exclusive: bool,
    /// From the end of the row on.
    pub reverse: bool,
}

/// The invocations of a workgroup for rows of so many elements.
fn width(columns: usize) -> usize {
    columns.div_ceil(ELEMENTS).next_power_of_two().clamp(32, 256)
}

/// The most additions that a term goes through on a GPU, not counting those to 0: among the elements of its invocation,
/// in the scan, in the invocation whose results it is part of, and in the carry from block to block.
fn additions(columns: usize) -> usize {
    let width = width(columns);
    (ELEMENTS - 1) + width.ilog2() as usize + ELEMENTS + columns.div_ceil(width * ELEMENTS)
}

/// Over the last dimension.
impl Op for CumulativeSum {
    fn name(&self) -> &'static str {
        NAMES[0]
    }

    fn attributes(&self) -> String {
        let kind = if self.exclusive { "exclusive" } else { "inclusive" };
        format!("{kind}{}", if self.reverse { " from the end" } else { "" })
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
        if inputs[0].dtype != DType::F32 || inputs[0].shape.rank() == 0 {
            return Err(format!("it needs f32 with at least one dimension, not {}", inputs[0]));
        }
        one(DType::F32, inputs[0].shape.clone())
    }

    fn gradient(&self, backward: &Backward<'_>) -> Vec<Option<Value>> {
        // An element is in the sums of all places after its own.
        let back = CumulativeSum { reverse: !self.reverse, ..*self };
        vec![Some(apply(back, &[backward.dy()])[0])]
    }

    fn kind(&self) -> OpKind<'_> {
        OpKind::Kernel(self)
    }
}

impl KernelOp for CumulativeSum {
    fn cpu(&self, call: &mut CpuCall<'_>) -> Result<(), Error> {
        let columns = call.kinds[0].shape.last().copied().unwrap_or(1);
        for_precision!(call.precision, T => {
            let input = call.inputs[0].elements::<T>();
            cpu_reference::cumulative_sum(input, columns, self.exclusive, self.reverse, call.output::<T>(0));
        });
        Ok(())
    }

    fn gpu(&self, call: &mut GpuCall) -> Result<(), Error> {
        let shape = call.inputs[0].layout.shape.clone();
        let columns = shape.last().copied().unwrap_or(1);
        let rows = shape.elements() / columns;
        let by_rows = [columns, 1];
        let views = [call.view(0, by_rows), call.view(1, by_rows)];
        let block = width(columns) * ELEMENTS;
        let iterations_of_block = 1 + 2 * ELEMENTS + width(columns).ilog2() as usize;
        let part = LOOPS / iterations_of_block * block;
        for piece in call.cut(&[Axis::any(rows), Axis::whole(columns)], &views)? {
            let rows = piece.sizes[0];
            for first in (0..columns).step_by(part) {
                let end = columns.min(first + part);
                call.launch(
                    "cumulative_sum",
                    &[
                        ("WIDTH", word(width(columns), "the width")?),
                        ("EXCLUSIVE", u32::from(self.exclusive)),
                        ("REVERSE", u32::from(self.reverse)),
                        ("CONTINUE", u32::from(first > 0)),
                    ],
                    &[
                        ("rows", word(rows, "the number of rows")?.into()),
                        ("columns", word(columns, "the number of columns")?.into()),
                        ("first", word(first, "a place")?.into()),
                        ("end", word(end, "a place")?.into()),
                        ("input_offset", piece.offsets[0].into()),
                        ("output_offset", piece.offsets[1].into()),
                    ],
                    &piece.windows,
                    row_groups(rows)?,
                )?;
                call.loops((end - first).div_ceil(block) * iterations_of_block);
            }
        }
        Ok(())
    }

    fn flops(&self, inputs: &[TensorType], _outputs: &[TensorType]) -> u64 {
        inputs[0].shape.elements() as u64
    }

    fn accuracy(&self, arithmetic: Arithmetic, inputs: &[TensorType], _largest: &[f64]) -> Accuracy {
        let columns = inputs[0].shape.last().copied().unwrap_or(1);
        match arithmetic {
            Arithmetic::Gpu => Accuracy::sum(arithmetic, columns, additions(columns)),
            _ => Accuracy { summed: double_sum(arithmetic, columns), ..Accuracy::rounded(arithmetic) },
        }
    }
}

impl Value {
    /// The sums of the elements along `axis` up to each place, that one included: `f32`, of the same shape. An axis beyond
    /// the shape, or another element type, is an error of the trace. `torch.cumsum`.
    #[track_caller]
    pub fn cumulative_sum(self, axis: usize) -> Value {
        self.cumulative_sum_by(axis, CumulativeSum::default())
    }

    /// As [`Value::cumulative_sum`], without the element at each place or from the end of the axis on.
    /// `torch.cumsum(x.flip(axis), axis).flip(axis)` for the latter.
    #[track_caller]
    pub fn cumulative_sum_by(self, axis: usize, options: CumulativeSum) -> Value {
        let Some((x, order)) = axis_last(NAMES[0], self, axis) else { return self };
        reordered(apply(options, &[x])[0], &order)
    }
}

/// Samples of this family.
pub(super) fn add_samples(samples: &mut Samples) {
    let all = [(false, false), (true, false), (false, true), (true, true)];
    let all = all.map(|(exclusive, reverse)| CumulativeSum { exclusive, reverse });
    // One number, less than a workgroup's invocations take, a block and one more, several blocks.
    for shape in [vec![1], vec![4, 1], vec![3, 7], vec![4, 9, 33], vec![2, 129], vec![3, 1025], vec![2, 3100]] {
        let x = samples.uniform(shape.clone(), -2.0, 2.0);
        let last = shape.len() - 1;
        for options in all {
            let label = format!("{shape:?}, {}", options.attributes());
            samples.smooth(NAMES[0], &label, vec![x.clone()], move |x| x[0].cumulative_sum_by(last, options));
        }
    }
    let x = samples.uniform([5, 6, 7], -2.0, 2.0);
    samples.smooth(NAMES[0], "first axis", vec![x.clone()], |x| x[0].cumulative_sum(0));
    samples.smooth(NAMES[0], "middle axis", vec![x], move |x| x[0].cumulative_sum_by(1, all[3]));
    let x = tensor([3, 3], &[1e4, -1e4, 0.5, f32::NAN, 1.0, 2.0, 1e-40, -1e-40, 3e-39]);
    samples.forward(NAMES[0], "outliers", vec![x], |x| x[0].cumulative_sum(1));
    let x = samples.uniform([65_540, 2], -2.0, 2.0);
    samples.forward(NAMES[0], "grid beyond 65,535 groups", vec![x], |x| x[0].cumulative_sum(1));
}
