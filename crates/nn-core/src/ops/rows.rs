//! Rows of a table by index, and the sum of rows by index: each the gradient of the other.

use crate::Error;
use crate::graph::{Accuracy, Arithmetic, Backward, CpuCall, GpuCall, KernelOp, Op, OpKind, Value, apply, word};
use crate::ops::samples::{Samples, whole};
use crate::ops::support::{flat_groups, for_precision, one};
use crate::tensor::window::Axis;
use crate::tensor::{DType, Shape, TensorType};

/// The operators of this family.
pub(super) const NAMES: &[&str] = &["gather_rows", "scatter_add_rows"];

/// Indices that a workgroup of the sum of rows looks at together.
const TILE: usize = 256;

/// `(vocabulary, width)` table and `(count)` indices → `(count, width)`.
#[derive(Debug)]
struct GatherRows;

/// `(count, width)` rows and `(count)` indices → `(vocabulary, width)` sums.
#[derive(Debug)]
struct ScatterAddRows {
    vocabulary: usize,
}

impl Op for GatherRows {
    fn name(&self) -> &'static str {
        "gather_rows"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
        let (table, indices) = (&inputs[0], &inputs[1]);
        if table.dtype != DType::F32 || table.shape.rank() != 2 {
            return Err(format!("the table must be f32 of shape [rows, width], not {table}"));
        }
        if indices.dtype != DType::U32 || indices.shape.rank() != 1 {
            return Err(format!("the indices must be u32 of one dimension, not {indices}"));
        }
        one(DType::F32, [indices.shape[0], table.shape[1]])
    }

    fn gradient(&self, backward: &Backward<'_>) -> Vec<Option<Value>> {
        let (table, indices) = (backward.inputs[0], backward.inputs[1]);
        vec![Some(backward.dy().scatter_add_rows(indices, table.shape()[0])), None]
    }

    fn kind(&self) -> OpKind<'_> {
        OpKind::Kernel(self)
    }
}

impl KernelOp for GatherRows {
    fn cpu(&self, call: &mut CpuCall<'_>) -> Result<(), Error> {
        let width = call.kinds[0].shape[1];
        let indices = call.inputs[1].elements::<u32>();
        for_precision!(call.precision, T => {
            cpu_reference::gather_rows(call.inputs[0].elements::<T>(), width, indices, call.output::<T>(0));
        });
        Ok(())
    }

    fn gpu(&self, call: &mut GpuCall) -> Result<(), Error> {
        let (vocabulary, width) = (call.inputs[0].layout.shape[0], call.inputs[0].layout.shape[1]);
        let axes = [Axis::any(vocabulary), Axis::any(call.inputs[1].layout.shape[0]), Axis::whole(width)];
        let views = [call.view(0, [width, 0, 1]), call.view(1, [0, 1, 0]), call.view(2, [0, width, 1])];
        for piece in call.cut(&axes, &views)? {
            let (vocabulary, count) = (piece.sizes[0], piece.sizes[1]);
            call.launch(
                "gather_rows",
                &[],
                &[
                    ("count", word(count, "the number of indices")?.into()),
                    ("vocabulary", word(vocabulary, "the number of rows")?.into()),
                    ("first_row", word(piece.starts[0], "a row")?.into()),
                    ("width", word(width, "the width")?.into()),
                    ("table_offset", piece.offsets[0].into()),
                    ("indices_offset", piece.offsets[1].into()),
                    ("output_offset", piece.offsets[2].into()),
                ],
                &piece.windows,
                flat_groups(count * width)?,
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

impl Op for ScatterAddRows {
    fn name(&self) -> &'static str {
        "scatter_add_rows"
    }

    fn attributes(&self) -> String {
        format!("into {} rows", self.vocabulary)
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
        let (rows, indices) = (&inputs[0], &inputs[1]);
        if rows.dtype != DType::F32 || rows.shape.rank() != 2 {
            return Err(format!("the rows must be f32 of two dimensions, not {rows}"));
        }
        if *indices != TensorType::new(DType::U32, [rows.shape[0]]) {
            return Err(format!("the indices must be u32[{}], not {indices}", rows.shape[0]));
        }
        one(DType::F32, [self.vocabulary, rows.shape[1]])
    }

    fn gradient(&self, backward: &Backward<'_>) -> Vec<Option<Value>> {
        let indices = backward.inputs[1];
        let dx = apply(GatherRows, &[backward.dy(), indices])[0];
        // A row that adds nothing has no gradient, where gathering gives NaN.
        let within = indices.less(indices.recorder().scalar_u32(self.vocabulary as u32)).reshape([dx.shape()[0], 1]);
        vec![Some(within.select(dx, dx.zeros_like())), None]
    }

    fn kind(&self) -> OpKind<'_> {
        OpKind::Kernel(self)
    }
}

impl KernelOp for ScatterAddRows {
    fn cpu(&self, call: &mut CpuCall<'_>) -> Result<(), Error> {
        let width = call.kinds[0].shape[1];
        let indices = call.inputs[1].elements::<u32>();
        for_precision!(call.precision, T => {
            cpu_reference::scatter_add_rows(call.inputs[0].elements::<T>(), width, indices, call.output::<T>(0));
        });
        Ok(())
    }

    fn gpu(&self, call: &mut GpuCall) -> Result<(), Error> {
        let (count, width) = (call.inputs[0].layout.shape[0], call.inputs[0].layout.shape[1]);
        let axes = [Axis::any(self.vocabulary), Axis::in_steps(count, TILE), Axis::whole(width)];
        let views = [call.view(0, [0, width, 1]), call.view(1, [0, 1, 0]), call.view(2, [width, 0, 1])];
        for piece in call.cut(&axes, &views)? {
            let (vocabulary, count) = (piece.sizes[0], piece.sizes[1]);
            // Later indices add to what the ones before left.
            let goes_on: &[(&str, u32)] = if piece.starts[1] > 0 { &[("CONTINUE", 1)] } else { &[] };
            call.launch(
                "scatter_add_rows",
                goes_on,
                &[
                    ("count", word(count, "the number of indices")?.into()),
                    ("vocabulary", word(vocabulary, "the number of rows")?.into()),
                    ("first_row", word(piece.starts[0], "a row")?.into()),
                    ("width", word(width, "the width")?.into()),
                    ("dy_offset", piece.offsets[0].into()),
                    ("indices_offset", piece.offsets[1].into()),
                    ("output_offset", piece.offsets[2].into()),
                ],
                &piece.windows,
                flat_groups((vocabulary * width).div_ceil(4))?,
            )?;
            // If every index is the same.
            call.loops(count.div_ceil(28) + 5 * count);
        }
        Ok(())
    }

    fn flops(&self, inputs: &[TensorType], _outputs: &[TensorType]) -> u64 {
        inputs[0].shape.elements() as u64
    }

    fn accuracy(&self, arithmetic: Arithmetic, inputs: &[TensorType], _largest: &[f64]) -> Accuracy {
        // If every index is the same, one sum takes all rows; the first addition is to 0.
        let count = inputs[0].shape[0];
        Accuracy::sum(arithmetic, count, count - 1)
    }
}

impl Value {
    /// The rows of this table `(vocabulary, width)` that the `u32` indices of any shape name: `(…, width)`. An index
    /// beyond the table gives a row of NaN. `torch.nn.functional.embedding`.
    #[track_caller]
    pub fn gather_rows(self, indices: Value) -> Value {
        let shape = indices.shape();
        let flat = if shape.rank() == 1 { indices } else { indices.reshape([shape.elements()]) };
        let rows = apply(GatherRows, &[self, flat])[0];
        if shape.rank() == 1 {
            return rows;
        }
        let width = self.shape().last().copied().unwrap_or(1);
        let sizes: Vec<usize> = shape.iter().copied().chain([width]).collect();
        rows.reshape(Shape::from(sizes))
    }

    /// Sums these rows `(count, width)` into a table of `vocabulary` rows, each at its `u32` index, always in the
    /// order of the indices; indices beyond the table add nothing. `torch.Tensor.index_add` on zeros.
    #[track_caller]
    pub fn scatter_add_rows(self, indices: Value, vocabulary: usize) -> Value {
        apply(ScatterAddRows { vocabulary }, &[self, indices])[0]
    }
}

/// Samples of this family.
pub(super) fn add_samples(samples: &mut Samples) {
    for [vocabulary, width, count] in [[1, 1, 1], [5, 3, 9], [40, 17, 300], [300, 65, 7]] {
        let (table, indices) =
            (samples.uniform([vocabulary, width], -2.0, 2.0), samples.indices([count], vocabulary as u32));
        let label = format!("{count} of {vocabulary} rows of {width}");
        let inputs = vec![table, indices.clone()];
        samples.smooth("gather_rows", &label, inputs, |x| x[0].gather_rows(x[1]));
        let dy = samples.uniform([count, width], -2.0, 2.0);
        samples.smooth("scatter_add_rows", &label, vec![dy, indices], move |x| x[0].scatter_add_rows(x[1], vocabulary));
    }
    let (table, indices) = (samples.uniform([6, 4], -2.0, 2.0), samples.indices([3, 5], 6));
    samples.smooth("gather_rows", "rank 2 indices", vec![table.clone(), indices], |x| x[0].gather_rows(x[1]));
    let beyond = whole([4], &[0, 6, 5, u32::MAX]);
    let inputs = vec![table, beyond.clone()];
    samples.forward("gather_rows", "indices beyond the table", inputs, |x| x[0].gather_rows(x[1]));
    let dy = samples.uniform([4, 3], -2.0, 2.0);
    samples
        .forward("scatter_add_rows", "indices beyond the table", vec![dy, beyond], |x| x[0].scatter_add_rows(x[1], 6));
}
