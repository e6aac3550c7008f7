//! Cross-entropy of logits against class indices, row by row, and its gradient.

use crate::Error;
use crate::graph::{
    Accuracy, Arithmetic, Backward, CpuCall, GpuCall, GpuView, KernelOp, Op, OpKind, Value, apply, word,
};
use crate::ops::accuracy;
use crate::ops::samples::{Samples, tensor, whole};
use crate::ops::support::{for_precision, one, row_groups};
use crate::tensor::window::Axis;
use crate::tensor::{DType, Shape, TensorType};

/// The operators of this family.
pub(super) const NAMES: &[&str] = &["cross_entropy", "cross_entropy_gradient"];

/// `(rows, classes)` logits and `(rows)` class indices → `(rows)` losses.
#[derive(Debug)]
struct CrossEntropy;

/// Logits, class indices and the gradient of each row's loss → the gradient of the logits.
#[derive(Debug)]
struct CrossEntropyGradient;

fn check(inputs: &[TensorType]) -> Result<(), String> {
    let (logits, targets) = (&inputs[0], &inputs[1]);
    if logits.dtype != DType::F32 || logits.shape.rank() != 2 {
        return Err(format!("logits must be f32 of shape [rows, classes], not {logits}"));
    }
    if *targets != TensorType::new(DType::U32, [logits.shape[0]]) {
        return Err(format!(
            "class indices for logits {} must be u32[{}], not {targets}",
            logits.shape, logits.shape[0]
        ));
    }
    Ok(())
}

impl Op for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
        check(inputs)?;
        one(DType::F32, [inputs[0].shape[0]])
    }

    fn gradient(&self, backward: &Backward<'_>) -> Vec<Option<Value>> {
        let dx = apply(CrossEntropyGradient, &[backward.inputs[0], backward.inputs[1], backward.dy()])[0];
        vec![Some(dx), None]
    }

    fn kind(&self) -> OpKind<'_> {
        OpKind::Kernel(self)
    }
}

/// The launches of either shader: the first view is of the logits, the last of the output.
fn launch(call: &mut GpuCall, name: &str, views: &[GpuView]) -> Result<(), Error> {
    let (rows, classes) = (call.inputs[0].layout.shape[0], call.inputs[0].layout.shape[1]);
    let columns = word(classes, "the number of classes")?;
    for piece in call.cut(&[Axis::any(rows), Axis::whole(classes)], views)? {
        let rows = piece.sizes[0];
        let mut parameters = vec![("rows", word(rows, "the number of rows")?.into()), ("columns", columns.into())];
        let names = ["logits_offset", "targets_offset", "dloss_offset"];
        parameters.extend(names[..views.len() - 1].iter().zip(&piece.offsets).map(|(&name, &at)| (name, at.into())));
        parameters.push(("output_offset", piece.offsets[views.len() - 1].into()));
        call.launch(name, &[], &parameters, &piece.windows, row_groups(rows)?)?;
        call.loops(3 * classes.div_ceil(256) + 16);
    }
    Ok(())
}

impl KernelOp for CrossEntropy {
    fn cpu(&self, call: &mut CpuCall<'_>) -> Result<(), Error> {
        let columns = call.inputs[0].layout.shape[1];
        let targets = call.inputs[1].elements::<u32>();
        for_precision!(call.precision, T => {
            let logits = call.inputs[0].elements::<T>();
            cpu_reference::cross_entropy(logits, columns, targets, call.output::<T>(0));
        });
        Ok(())
    }

    fn gpu(&self, call: &mut GpuCall) -> Result<(), Error> {
        let classes = call.inputs[0].layout.shape[1];
        let views = [call.view(0, [classes, 1]), call.view(1, [1, 0]), call.view(2, [1, 0])];
        launch(call, "cross_entropy", &views)
    }

    fn flops(&self, inputs: &[TensorType], _outputs: &[TensorType]) -> u64 {
        6 * inputs[0].shape.elements() as u64
    }

    fn accuracy(&self, arithmetic: Arithmetic, inputs: &[TensorType], _largest: &[f64]) -> Accuracy {
        // max − x[target] is at most the loss, so its rounding counts like the loss's own.
        let logarithm = Accuracy::absolute(accuracy::log_of_sum(arithmetic, inputs[0].shape[1]));
        Accuracy::relative(2.0 * arithmetic.rounding()) + logarithm
    }
}

impl Op for CrossEntropyGradient {
    fn name(&self) -> &'static str {
        "cross_entropy_gradient"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
        check(inputs)?;
        if inputs[2] != TensorType::new(DType::F32, [inputs[0].shape[0]]) {
            return Err(format!("the losses' gradient must be f32[{}], not {}", inputs[0].shape[0], inputs[2]));
        }
        one(DType::F32, inputs[0].shape.clone())
    }

    fn gradient(&self, backward: &Backward<'_>) -> Vec<Option<Value>> {
        // y = (softmax(x) − one_hot)·w, so with p = softmax(x):
        // dx = w·p·(dy − Σ p·dy), dw = Σ dy·y/w; the latter as Σ dy·p − dy[target] to allow w = 0.
        let (x, targets, weight) = (backward.inputs[0], backward.inputs[1], backward.inputs[2]);
        let dy = backward.dy();
        let shape = x.shape();
        let spread = |row: Value| row.reshape([shape[0], 1]).broadcast_to(shape.clone());
        let softmax = x.softmax(1);
        let inner = (softmax * dy).sum(&[1]);
        let dx = spread(weight) * softmax * (dy - spread(inner));
        let unweighted = apply(CrossEntropyGradient, &[x, targets, weight.full_like(1.0)])[0];
        vec![Some(dx), None, Some((dy * unweighted).sum(&[1]))]
    }

    fn kind(&self) -> OpKind<'_> {
        OpKind::Kernel(self)
    }
}

impl KernelOp for CrossEntropyGradient {
    fn cpu(&self, call: &mut CpuCall<'_>) -> Result<(), Error> {
        let columns = call.inputs[0].layout.shape[1];
        let targets = call.inputs[1].elements::<u32>();
        for_precision!(call.precision, T => {
            let (logits, dloss) = (call.inputs[0].elements::<T>(), call.inputs[2].elements::<T>());
            cpu_reference::cross_entropy_gradient(logits, columns, targets, dloss, call.output::<T>(0));
        });
        Ok(())
    }

    fn gpu(&self, call: &mut GpuCall) -> Result<(), Error> {
        let by_rows = [call.inputs[0].layout.shape[1], 1];
        let views = [call.view(0, by_rows), call.view(1, [1, 0]), call.view(2, [1, 0]), call.view(3, by_rows)];
        launch(call, "cross_entropy_gradient", &views)
    }

    fn flops(&self, inputs: &[TensorType], _outputs: &[TensorType]) -> u64 {
        8 * inputs[0].shape.elements() as u64
    }

    fn accuracy(&self, arithmetic: Arithmetic, inputs: &[TensorType], largest: &[f64]) -> Accuracy {
        let columns = inputs[0].shape[1];
        let softmax = accuracy::softmax(arithmetic, columns, 2.0 * largest[0]);
        // At the target p − 1 cancels, but not p's error. The part that grows with the distance to the row's largest
        // is weighed by p, and p·distance ≤ 1/e.
        let exponential = |distance: f64| accuracy::exponential(arithmetic, distance);
        let target = exponential(0.0) + 0.37 * (exponential(1.0) - exponential(0.0));
        let others = accuracy::sum_of_exponentials(arithmetic, columns) + accuracy::softmax_quotient(arithmetic);
        let cancelled = (target + others + softmax.absolute) * largest[2];
        Accuracy::relative(softmax.relative + arithmetic.rounding()) + Accuracy::absolute(cancelled)
    }
}

impl Value {
    /// The cross-entropy of logits `(…, classes)` against `u32` class indices `(…)`, one loss each; an index that
    /// is no class gives NaN. `torch.nn.functional.cross_entropy(reduction="none")`.
    #[track_caller]
    pub fn cross_entropy(self, targets: Value) -> Value {
        let (shape, rows) = (self.shape(), targets.shape());
        if shape.rank() == 0 || *rows != shape[..shape.rank() - 1] {
            let message =
                format!("class indices {rows} don't fit logits {shape}: they need the same leading dimensions");
            self.recorder().fail("cross_entropy", message);
            return self;
        }
        let flat: Shape = [rows.elements(), shape[shape.rank() - 1]].into();
        let logits = if shape.rank() == 2 { self } else { self.reshape(flat) };
        let indices = if shape.rank() == 2 { targets } else { targets.reshape([rows.elements()]) };
        let losses = apply(CrossEntropy, &[logits, indices])[0];
        if shape.rank() == 2 { losses } else { losses.reshape(rows) }
    }
}

/// Samples of this family.
pub(super) fn add_samples(samples: &mut Samples) {
    for [rows, classes] in [[1, 1], [1, 2], [7, 10], [33, 257], [300, 3]] {
        let (logits, targets) = (samples.uniform([rows, classes], -4.0, 4.0), samples.indices([rows], classes as u32));
        let label = format!("[{rows}, {classes}]");
        let both = vec![logits, targets];
        samples.smooth("cross_entropy", &label, both.clone(), |x| x[0].cross_entropy(x[1]));
        let weight = samples.uniform([rows], 0.5, 1.5);
        let inputs = both.into_iter().chain([weight]).collect();
        samples.smooth("cross_entropy_gradient", &label, inputs, |x| apply(CrossEntropyGradient, x)[0]);
    }
    let (logits, targets) = (samples.uniform([2, 3, 5], -4.0, 4.0), samples.indices([2, 3], 5));
    samples.smooth("cross_entropy", "rank 3", vec![logits, targets], |x| x[0].cross_entropy(x[1]));
    let logits = tensor([4, 3], &[1e4, -1e4, 0.0, f32::NAN, 1.0, 2.0, 80.0, 80.0, -80.0, 1.0, 2.0, 3.0]);
    let inputs = vec![logits, whole([4], &[1, 0, 2, 3]), tensor([4], &[1.0, 1.0, 0.0, 1.0])];
    let outliers = "outliers and an index that is no class";
    samples.forward("cross_entropy", outliers, inputs[..2].to_vec(), |x| x[0].cross_entropy(x[1]));
    samples.forward("cross_entropy_gradient", outliers, inputs, |x| apply(CrossEntropyGradient, x)[0]);
}
