//! Softmax and its logarithm over the last dimension.

use crate::Error;
use crate::graph::{
    Accuracy, Arithmetic, Backward, CpuCall, GpuCall, GpuView, InPlace, KernelOp, Op, OpKind, Value, apply, word,
};
use crate::ops::accuracy;
use crate::ops::samples::{Samples, tensor};
use crate::ops::support::{for_precision, one, row_groups, row_lanes};
use crate::tensor::window::Axis;
use crate::tensor::{DType, TensorType};

/// The operators of this family.
pub(super) const NAMES: &[&str] = &["softmax", "log_softmax"];

#[derive(Debug)]
struct Softmax {
    logarithm: bool,
}

impl Op for Softmax {
    fn name(&self) -> &'static str {
        if self.logarithm { "log_softmax" } else { "softmax" }
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
        if inputs[0].dtype != DType::F32 || inputs[0].shape.rank() == 0 {
            return Err(format!("it needs f32 with at least one dimension, not {}", inputs[0]));
        }
        one(DType::F32, inputs[0].shape.clone())
    }

    fn gradient(&self, backward: &Backward<'_>) -> Vec<Option<Value>> {
        let (y, dy) = (backward.outputs[0], backward.dy());
        let shape = y.shape();
        let last = shape.rank() - 1;
        let spread = |row: Value| row.reshape(shape.keep(&[last])).broadcast_to(shape.clone());
        let dx = if self.logarithm {
            dy - y.exp() * spread(dy.sum(&[last]))
        } else {
            y * (dy - spread((dy * y).sum(&[last])))
        };
        vec![Some(dx)]
    }

    fn kind(&self) -> OpKind<'_> {
        OpKind::Kernel(self)
    }
}

impl KernelOp for Softmax {
    fn in_place(&self) -> Option<InPlace> {
        Some(InPlace { input: 0, output: 0 })
    }

    fn cpu(&self, call: &mut CpuCall<'_>) -> Result<(), Error> {
        let columns = call.kinds[0].shape.last().copied().unwrap_or(1);
        for_precision!(call.precision, T => {
            let input = call.unless_in_place::<T>(0);
            let kernel = if self.logarithm { cpu_reference::log_softmax::<T> } else { cpu_reference::softmax::<T> };
            kernel(input, columns, call.output(0));
        });
        Ok(())
    }

    fn gpu(&self, call: &mut GpuCall) -> Result<(), Error> {
        let layout = call.inputs[0].layout.clone();
        let columns = layout.shape.last().copied().unwrap_or(1);
        let rows = layout.shape.elements() / columns;
        let by_rows = [columns, 1];
        // What is bound for writing is called by the name of what it overwrites.
        let (shader, operands, offsets): (_, &[usize], &[&str]) = match call.in_place {
            Some(_) => ("softmax_in_place", &[0], &["output_offset"]),
            None => ("softmax", &[0, 1], &["input_offset", "output_offset"]),
        };
        let views: Vec<GpuView> = operands.iter().map(|&operand| call.view(operand, by_rows)).collect();
        let lanes = row_lanes(columns);
        let constants = [("LANES", lanes as u32), ("LOGARITHM", u32::from(self.logarithm))];
        for piece in call.cut(&[Axis::any(rows), Axis::whole(columns)], &views)? {
            let rows = piece.sizes[0];
            let mut parameters = vec![
                ("rows", word(rows, "the number of rows")?.into()),
                ("columns", word(columns, "the number of columns")?.into()),
            ];
            parameters.extend(offsets.iter().zip(&piece.offsets).map(|(&name, &at)| (name, at.into())));
            let groups = row_groups((rows * lanes).div_ceil(256))?;
            call.launch(shader, &constants, &parameters, &piece.windows, groups)?;
            call.loops(3 * columns.div_ceil(lanes) + 16);
        }
        Ok(())
    }

    fn flops(&self, inputs: &[TensorType], _outputs: &[TensorType]) -> u64 {
        8 * inputs[0].shape.elements() as u64
    }

    fn accuracy(&self, arithmetic: Arithmetic, inputs: &[TensorType], largest: &[f64]) -> Accuracy {
        let columns = inputs[0].shape.last().copied().unwrap_or(1);
        if !self.logarithm {
            return accuracy::softmax(arithmetic, columns, 2.0 * largest[0]);
        }
        // |x − max| is at most |y|, so its rounding counts like y's own.
        let logarithm = Accuracy::absolute(accuracy::log_of_sum(arithmetic, columns));
        Accuracy::relative(2.0 * arithmetic.rounding()) + logarithm
    }
}

impl Value {
    #[track_caller]
    fn softmax_along(self, axis: usize, logarithm: bool) -> Value {
        let rank = self.shape().rank();
        let mut order: Vec<usize> = (0..rank).collect();
        if axis >= rank {
            self.recorder().fail("softmax", format!("axis {axis} is beyond the dimensions of {}", self.shape()));
            return self;
        }
        if axis + 1 == rank {
            return apply(Softmax { logarithm }, &[self])[0];
        }
        order.swap(axis, rank - 1);
        apply(Softmax { logarithm }, &[self.permute(&order)])[0].permute(&order)
    }

    /// Exponentials divided by their sum along `axis`. `torch.softmax`.
    #[track_caller]
    pub fn softmax(self, axis: usize) -> Value {
        self.softmax_along(axis, false)
    }

    /// The logarithm of the softmax along `axis`, without overflow. `torch.log_softmax`.
    #[track_caller]
    pub fn log_softmax(self, axis: usize) -> Value {
        self.softmax_along(axis, true)
    }
}

/// Samples of this family.
pub(super) fn add_samples(samples: &mut Samples) {
    for shape in [vec![1], vec![3, 1], vec![4, 10], vec![5, 257], vec![2, 3, 33]] {
        let x = samples.uniform(shape.clone(), -4.0, 4.0);
        let (label, last) = (format!("{shape:?}"), shape.len() - 1);
        samples.smooth("softmax", &label, vec![x.clone()], move |x| x[0].softmax(last));
        samples.smooth("log_softmax", &label, vec![x], move |x| x[0].log_softmax(last));
    }
    let x = samples.uniform([5, 6, 7], -4.0, 4.0);
    samples.smooth("softmax", "first axis", vec![x.clone()], |x| x[0].softmax(0));
    samples.smooth("log_softmax", "middle axis", vec![x], |x| x[0].log_softmax(1));
    let x = tensor([3, 3], &[1e4, -1e4, 0.0, f32::NAN, 1.0, 2.0, 80.0, 80.0, -80.0]);
    samples.forward("softmax", "outliers", vec![x.clone()], |x| x[0].softmax(1));
    samples.forward("log_softmax", "outliers", vec![x], |x| x[0].log_softmax(1));
    for (rows, columns) in [(3, 33), (5, 257)] {
        let x = samples.uniform([rows, columns], -4.0, 4.0);
        let label = format!("of [{rows}, {columns}] over what they are made of");
        samples.smooth("softmax", &label, vec![x.clone()], |x| (x[0] * 0.5).softmax(1));
        samples.smooth("log_softmax", &label, vec![x], |x| (x[0] * 0.5).log_softmax(1));
    }
    let x = samples.uniform([65_540, 2], -4.0, 4.0);
    samples.forward("softmax", "many short rows", vec![x], |x| x[0].softmax(1));
}
