//! Cross-entropy of logits against class indices, row by row, and its gradient.
//!
//! The forward pass keeps two numbers of each row, its largest logit and the sum of exponentials. With them the gradient
//! reads every logit once, and may be written over the logits.

mod kernel;
mod samples;

pub(super) use samples::add_samples;

use crate::graph::{Backward, Op, OpKind, Value, apply, apply_many};
use crate::ops::support::{one, refused};
use crate::tensor::{DType, Shape, TensorType};

/// The operators of this family.
pub(super) const NAMES: &[&str] = &["cross_entropy", "cross_entropy_gradient"];

/// What a cross-entropy counts how much; see [`Value::cross_entropy_with`].
#[derive(Clone, Copy, Debug, Default)]
pub struct CrossEntropyOptions {
    /// Rows of this index count for nothing: their loss is 0, and so is the gradient of their logits, whatever these are.
    /// It need not be a class. PyTorch's is −100 where none is given; here there is none then.
    pub ignore_index: Option<u32>,
    /// The share of the target that is spread over all classes alike, from 0 to 1: Szegedy et al. (2016).
    pub label_smoothing: f32,
    /// The weight of each class, `f32 (classes)`. No gradient reaches it, as in PyTorch.
    pub weight: Option<Value>,
}

/// What both operators are told. Weighted, they have two more inputs: the weights and, if they smooth, their sum.
#[derive(Clone, Copy, Debug)]
struct Counting {
    ignore_index: Option<u32>,
    smoothing: f32,
    weighted: bool,
}

impl Counting {
    fn attributes(self) -> String {
        let Counting { ignore_index, smoothing, weighted } = self;
        let mut text = Vec::new();
        text.extend(ignore_index.map(|index| format!("ignore {index}")));
        text.extend((smoothing > 0.0).then(|| format!("smoothing {smoothing:e}")));
        text.extend(weighted.then(|| "weighted".to_string()));
        text.join(", ")
    }

    /// How many inputs come after those that are always there.
    fn inputs(self) -> usize {
        match (self.weighted, self.smoothing > 0.0) {
            (false, _) => 0,
            (true, false) => 1,
            (true, true) => 2,
        }
    }

    /// Checks logits, class indices and what comes after `given` inputs in all.
    fn check(self, inputs: &[TensorType], given: usize) -> Result<(), String> {
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
        if !(0.0..=1.0).contains(&self.smoothing) {
            return Err(format!("label_smoothing must be from 0 to 1, not {}", self.smoothing));
        }
        let expected = [TensorType::new(DType::F32, [logits.shape[1]]), TensorType::new(DType::F32, [])];
        for (expected, found) in expected[..self.inputs()].iter().zip(&inputs[given..]) {
            if expected != found {
                return Err(format!(
                    "the weight for logits {logits} must be {expected}, one for each class, not {found}"
                ));
            }
        }
        Ok(())
    }
}

/// `(rows, classes)` logits and `(rows)` class indices → `(rows)` losses and `(rows, 2)` of statistics: the largest logit
/// and the sum of exponentials of what the others differ from it by.
#[derive(Debug)]
struct CrossEntropy(Counting);

/// Logits, class indices, statistics and the gradient of each row's loss → the gradient of the logits.
#[derive(Debug)]
struct CrossEntropyGradient(Counting);

impl Op for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }

    fn attributes(&self) -> String {
        self.0.attributes()
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
        self.0.check(inputs, 2)?;
        let rows = inputs[0].shape[0];
        Ok(vec![TensorType::new(DType::F32, [rows]), TensorType::new(DType::F32, [rows, 2])])
    }

    fn gradient(&self, backward: &Backward<'_>) -> Vec<Option<Value>> {
        let first = [backward.inputs[0], backward.inputs[1], backward.outputs[1], backward.dy()];
        let inputs: Vec<Value> = first.iter().chain(&backward.inputs[2..]).copied().collect();
        let mut gradients = vec![None; backward.inputs.len()];
        gradients[0] = Some(apply(CrossEntropyGradient(self.0), &inputs)[0]);
        gradients
    }

    fn kind(&self) -> OpKind<'_> {
        OpKind::Kernel(self)
    }
}

impl Op for CrossEntropyGradient {
    fn name(&self) -> &'static str {
        "cross_entropy_gradient"
    }

    fn attributes(&self) -> String {
        self.0.attributes()
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
        self.0.check(inputs, 4)?;
        let rows = inputs[0].shape[0];
        if inputs[2] != TensorType::new(DType::F32, [rows, 2]) {
            return Err(format!("the statistics must be f32[{rows}, 2], not {}", inputs[2]));
        }
        if inputs[3] != TensorType::new(DType::F32, [rows]) {
            return Err(format!("the losses' gradient must be f32[{rows}], not {}", inputs[3]));
        }
        one(DType::F32, inputs[0].shape.clone())
    }

    /// For the logits the total one, through the statistics too, which are theirs and get none.
    fn gradient(&self, backward: &Backward<'_>) -> Vec<Option<Value>> {
        // y = (p·a − q)·d with p = softmax(x), and a the sum of q:
        // dx = d·a·p·(dy − Σ p·dy), dd = Σ dy·(p·a − q).
        let [x, targets, statistics, dloss] = [0, 1, 2, 3].map(|input| backward.inputs[input]);
        let dy = backward.dy();
        let shape = x.shape();
        let column = |row: Value| row.reshape([shape[0], 1]);
        let Counting { ignore_index, smoothing, weighted } = self.0;
        let ignored = ignore_index.map(|index| targets.equal(targets.recorder().scalar_u32(index)));
        let softmax = x.softmax(1);
        let inner = (softmax * dy).sum(&[1]);
        let mut dx = column(dloss) * softmax * (dy - column(inner));
        if weighted {
            let weight = backward.inputs[4].reshape([shape[1], 1]).gather_rows(targets);
            // Of constants that f32 holds, as the kernels have them.
            let smoothed = |total: &Value| weight - weight * smoothing + *total * smoothing / shape[1] as f32;
            let all = backward.inputs.get(5).map_or(weight, smoothed);
            dx = dx * all;
        }
        if let Some(ignored) = ignored {
            dx = column(ignored).select(dx.zeros_like(), dx);
        }
        let first = [x, targets, statistics, dloss.full_like(1.0)];
        let inputs: Vec<Value> = first.iter().chain(&backward.inputs[4..]).copied().collect();
        let undirected = apply(CrossEntropyGradient(self.0), &inputs)[0];
        let mut gradients = vec![None; backward.inputs.len()];
        gradients[0] = Some(dx);
        gradients[3] = Some((dy * undirected).sum(&[1]));
        gradients
    }

    fn kind(&self) -> OpKind<'_> {
        OpKind::Kernel(self)
    }
}

impl Value {
    /// The cross-entropy of logits `(…, classes)` against `u32` class indices `(…)`, one loss each; an index that
    /// is no class gives NaN. `torch.nn.functional.cross_entropy(reduction="none")`.
    #[track_caller]
    pub fn cross_entropy(self, targets: Value) -> Value {
        self.cross_entropy_with(targets, &CrossEntropyOptions::default())
    }

    /// As [`Value::cross_entropy`], with rows that are ignored, smoothed targets and weights of classes. The loss of a row
    /// is Σ q·(ln Σ exp(x) − x) over the classes, where q is weight·(1 − label_smoothing) at the row's own class, and
    /// weight·label_smoothing/classes more at each class.
    ///
    /// `torch.nn.functional.cross_entropy(weight=…, ignore_index=…, label_smoothing=…, reduction="none")`; but an ignored row
    /// has a gradient of 0 even where its logits are NaN.
    #[track_caller]
    pub fn cross_entropy_with(self, targets: Value, options: &CrossEntropyOptions) -> Value {
        let (shape, rows) = (self.shape(), targets.shape());
        if shape.rank() == 0 || *rows != shape[..shape.rank() - 1] {
            let message =
                format!("class indices {rows} don't fit logits {shape}: they need the same leading dimensions");
            return refused(self, "cross_entropy", message);
        }
        let flat: Shape = [rows.elements(), shape[shape.rank() - 1]].into();
        let logits = if shape.rank() == 2 { self } else { self.reshape(flat) };
        let indices = if shape.rank() == 2 { targets } else { targets.reshape([rows.elements()]) };
        let CrossEntropyOptions { ignore_index, label_smoothing: smoothing, weight } = *options;
        let counting = Counting { ignore_index, smoothing, weighted: weight.is_some() };
        let weights = weight.into_iter().flat_map(|weight| [Some(weight), (smoothing > 0.0).then(|| weight.sum_all())]);
        let inputs: Vec<Value> = [logits, indices].into_iter().chain(weights.flatten()).collect();
        let [losses, _statistics] = apply_many(CrossEntropy(counting), &inputs);
        if shape.rank() == 2 { losses } else { losses.reshape(rows) }
    }
}
