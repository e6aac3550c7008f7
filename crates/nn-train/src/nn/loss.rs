//! Losses, reduced as PyTorch's `reduction="mean"`, and per row.

use nn_core::ops::CrossEntropyOptions;
use nn_core::{DType, Shape, Tensor, Value};
use std::fmt;

/// The class index of a place that has no target: it counts neither in the loss nor in the accuracy.
pub const IGNORED: u32 = u32::MAX;

/// What a model is trained to make small.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    /// Logits `(rows, classes)` against class indices. `torch.nn.CrossEntropyLoss`.
    CrossEntropy,
    /// Logits against numbers in 0..=1, or one logit a row against two classes. `torch.nn.BCEWithLogitsLoss`.
    BinaryCrossEntropy,
    /// The squared difference. `torch.nn.MSELoss`.
    Mse,
    /// The absolute difference. `torch.nn.L1Loss`.
    L1,
    /// Half the squared difference up to `delta`, linear beyond. `torch.nn.HuberLoss`.
    Huber {
        /// Where the parabola ends; above 0.
        delta: f32,
    },
    /// The squared difference from 1 for the class of the row and 0 for the others, averaged over all.
    /// `torch.nn.MSELoss` against `torch.nn.functional.one_hot`.
    MseOneHot,
    /// What the model itself says, see [`Layer::judge`](super::Layer::judge).
    Own,
}

/// What the targets of a data set are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TargetKind {
    /// One class index a row.
    Classes {
        /// The number of classes.
        count: usize,
    },
    /// One class index for each of the places in a row, such as the pixels of a picture.
    ClassMaps {
        /// The number of classes.
        count: usize,
        /// How many places a row has.
        size: usize,
    },
    /// One class index for each of the places in a row, such as the token that comes next. The model gives logits
    /// `(rows, length, classes)`, and an index of [`IGNORED`] counts for nothing.
    Sequences {
        /// The number of classes.
        count: usize,
        /// How many places a row has.
        length: usize,
    },
    /// The probability of each class, as mixing two rows makes them.
    Probabilities {
        /// The number of classes.
        count: usize,
    },
    /// So many numbers a row.
    Values {
        /// How many.
        width: usize,
    },
}

/// A loss, and the targets of a batch that it compares an output with.
#[derive(Clone, Copy, Debug)]
pub struct Objective {
    /// The loss.
    pub loss: Loss,
    /// What the targets are.
    pub kind: TargetKind,
    /// The targets of all rows: `u32` class indices, `(rows)` or `(rows, size)`; else `f32`.
    pub targets: Value,
}

impl Objective {
    /// The mean loss of an output `(rows, …)`, a scalar; a mistake if the targets don't fit it.
    #[track_caller]
    pub fn mean(&self, output: Value) -> Value {
        if let Err(message) = self.loss.check(&output.shape(), self.kind) {
            output.recorder().fail("loss", message);
            return output;
        }
        match self.kind {
            TargetKind::Sequences { .. } => mean_cross_entropy(output, self.targets, 0.0),
            _ => self.loss.mean(output, self.targets),
        }
    }
}

/// The mean cross-entropy of logits `(…, classes)` over the places whose target, `u32 (…)`, is not [`IGNORED`]; 0 if
/// there is none. The share `label_smoothing` of each target is spread over all classes alike (Szegedy et al. 2016).
/// `torch.nn.CrossEntropyLoss(ignore_index=…, label_smoothing=…)`, which gives NaN if there is none.
#[track_caller]
pub fn mean_cross_entropy(logits: Value, targets: Value, label_smoothing: f32) -> Value {
    let options = CrossEntropyOptions { ignore_index: Some(IGNORED), label_smoothing, weight: None };
    let known = targets.not_equal(targets.recorder().scalar_u32(IGNORED)).to_f32();
    logits.cross_entropy_with(targets, &options).sum_all() / known.sum_all().maximum(1.0)
}

impl fmt::Display for TargetKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TargetKind::Classes { count } => write!(formatter, "{count} classes"),
            TargetKind::ClassMaps { count, size } => write!(formatter, "{count} classes at {size} places a row"),
            TargetKind::Sequences { count, length } => write!(formatter, "{length} of {count} classes a row"),
            TargetKind::Probabilities { count } => write!(formatter, "probabilities of {count} classes"),
            TargetKind::Values { width } => write!(formatter, "{width} values a row"),
        }
    }
}

impl Loss {
    /// The name in configurations.
    pub fn name(&self) -> &'static str {
        match self {
            Loss::CrossEntropy => "cross_entropy",
            Loss::BinaryCrossEntropy => "binary_cross_entropy",
            Loss::Mse => "mse",
            Loss::L1 => "l1",
            Loss::Huber { .. } => "huber",
            Loss::MseOneHot => "mse_one_hot",
            Loss::Own => "own",
        }
    }

    /// Whether an output `(rows, …)` of a model can be compared with such targets by this loss.
    ///
    /// # Errors
    /// What doesn't fit and what to do, for the user.
    pub fn check(&self, output: &Shape, targets: TargetKind) -> Result<(), String> {
        let name = self.name();
        let width: usize = output.iter().skip(1).product();
        match (self, targets) {
            (Loss::Own, _) => Ok(()),
            (Loss::Huber { delta }, _) if delta.is_nan() || *delta <= 0.0 => {
                Err(format!("the loss huber needs a delta above 0, not {delta}"))
            }
            (Loss::CrossEntropy | Loss::MseOneHot, TargetKind::Values { .. }) => {
                Err(format!("the loss {name} needs class targets, but the data has {targets}; use mse, l1 or huber"))
            }
            (Loss::Mse | Loss::L1 | Loss::Huber { .. }, TargetKind::Classes { .. }) => Err(format!(
                "the loss {name} needs number targets, but the data has {targets}; use cross_entropy or mse_one_hot"
            )),
            (Loss::CrossEntropy | Loss::MseOneHot, TargetKind::Classes { count }) => {
                if output.rank() == 2 && width >= count {
                    return Ok(());
                }
                Err(format!(
                    "the data has {count} classes, so the model's output must be [rows, {count}], but it is {output}"
                ))
            }
            (Loss::CrossEntropy, TargetKind::ClassMaps { count, size }) => {
                let places: usize = output.iter().skip(2).product();
                if output.rank() > 2 && output[1] >= count && places == size {
                    return Ok(());
                }
                Err(format!(
                    "the data has {targets}, so the model's output must be [rows, {count}, …] with {size} places, but it \
                     is {output}"
                ))
            }
            (Loss::CrossEntropy, TargetKind::Sequences { count, length }) => {
                if output.rank() == 3 && output[1] == length && output[2] >= count {
                    return Ok(());
                }
                Err(format!(
                    "the data has {targets}, so the model's output must be [rows, {length}, {count}] or have more \
                     classes, but it is {output}"
                ))
            }
            (Loss::CrossEntropy, TargetKind::Probabilities { count }) if output.rank() == 2 && width == count => Ok(()),
            (_, TargetKind::ClassMaps { .. } | TargetKind::Sequences { .. } | TargetKind::Probabilities { .. }) => {
                Err(format!("the loss {name} cannot be used with {targets}; use cross_entropy"))
            }
            (Loss::BinaryCrossEntropy, TargetKind::Classes { count }) if count > 2 => {
                Err(format!("the loss {name} is for two classes, but the data has {count}; use cross_entropy"))
            }
            (Loss::BinaryCrossEntropy, TargetKind::Classes { .. }) if width != 1 => Err(format!(
                "the loss {name} needs one logit a row for class targets, but the model's output is {output}"
            )),
            (_, TargetKind::Values { width: wanted }) if width != wanted || output.rank() == 0 => Err(format!(
                "the data has {targets}, but the model's output {output} has {width}; they must be as many"
            )),
            _ => Ok(()),
        }
    }

    /// The loss of each row, `(rows)`: the mean over the row's elements. `output` is `(rows, …)`. The targets are
    /// `u32 (rows)` for the losses over classes, else `f32` of as many elements as `output`.
    #[track_caller]
    pub fn per_row(&self, output: Value, targets: Value) -> Value {
        let elements = self.elements(output, targets);
        let axes: Vec<usize> = (1..elements.shape().rank()).collect();
        elements.mean(&axes)
    }

    /// The mean loss, a scalar: over rows and their elements alike, as PyTorch's `reduction="mean"`.
    #[track_caller]
    pub fn mean(&self, output: Value, targets: Value) -> Value {
        self.elements(output, targets).mean_all()
    }

    /// The loss before any reduction.
    #[track_caller]
    fn elements(&self, output: Value, targets: Value) -> Value {
        match *self {
            Loss::CrossEntropy if targets.dtype() == DType::F32 => cross_entropy_of_probabilities(output, targets),
            Loss::CrossEntropy => cross_entropy(last_axis(output), targets.reshape(places(output))),
            Loss::BinaryCrossEntropy => binary_cross_entropy_with_logits(output, targets.reshape(output.shape())),
            Loss::Mse => mse(output, targets.reshape(output.shape())),
            Loss::L1 => l1(output, targets.reshape(output.shape())),
            Loss::Huber { delta } => huber(output, targets.reshape(output.shape()), delta),
            Loss::MseOneHot => {
                let classes = output.shape().last().copied().unwrap_or(1);
                mse(output, one_hot(targets, classes))
            }
            Loss::Own => {
                output.recorder().fail("loss", "this model has no loss of its own; choose another loss");
                output
            }
        }
    }
}

/// `u32` class indices `(rows)` as `f32 (rows, classes)`: 1 at the index, else 0. `torch.nn.functional.one_hot`.
#[track_caller]
pub fn one_hot(indices: Value, classes: usize) -> Value {
    let numbers: Vec<u32> = (0..classes).map(|class| class as u32).collect();
    let trace = indices.recorder();
    match Tensor::from_u32([1, classes], &numbers) {
        Ok(numbers) => indices.reshape([indices.shape().elements(), 1]).equal(trace.constant(&numbers)).to_f32(),
        Err(error) => {
            trace.fail("one_hot", error.to_string());
            indices
        }
    }
}

/// The cross-entropy of logits `(…, classes)` against `u32` class indices `(…)`, one loss each.
/// `torch.nn.functional.cross_entropy(reduction="none")`.
#[track_caller]
pub fn cross_entropy(logits: Value, classes: Value) -> Value {
    logits.cross_entropy(classes)
}

/// The mean cross-entropy of logits `(…, classes)` against `u32` class indices `(…)`, a scalar: the sum of the losses
/// divided by that of the weights of the classes of the rows that are not ignored. NaN if all are ignored.
/// `torch.nn.functional.cross_entropy(weight=…, ignore_index=…, label_smoothing=…, reduction="mean")`.
#[track_caller]
pub fn cross_entropy_mean(logits: Value, classes: Value, options: &CrossEntropyOptions) -> Value {
    let losses = logits.cross_entropy_with(classes, options);
    let counts = match options.weight {
        Some(weight) => {
            let table = weight.reshape([weight.shape().elements(), 1]);
            table.gather_rows(classes).reshape(losses.shape())
        }
        None if options.ignore_index.is_none() => return losses.mean_all(),
        None => losses.full_like(1.0),
    };
    let ignored = options.ignore_index.map(|index| classes.equal(classes.recorder().scalar_u32(index)));
    let counts = ignored.map_or(counts, |ignored| ignored.select(counts.zeros_like(), counts));
    losses.sum_all() / counts.sum_all()
}

/// The cross-entropy of logits `(rows, classes)` against probabilities of the classes of the same shape, `(rows)`.
/// `torch.nn.functional.cross_entropy(reduction="none")` with probabilities as targets.
#[track_caller]
pub fn cross_entropy_of_probabilities(logits: Value, probabilities: Value) -> Value {
    -(logits.log_softmax(1) * probabilities).sum(&[1])
}

/// The shape of logits `(rows, classes, …)` without the classes.
fn places(logits: Value) -> Shape {
    logits.shape().without(&[1])
}

/// Logits `(rows, classes, …)` with the classes last.
#[track_caller]
fn last_axis(logits: Value) -> Value {
    let rank = logits.shape().rank();
    if rank <= 2 {
        return logits;
    }
    let order: Vec<usize> = [0].into_iter().chain(2..rank).chain([1]).collect();
    logits.permute(&order)
}

/// The cross-entropy of logits against numbers in 0..=1 of the same shape, element by element; finite for any logit.
/// `torch.nn.functional.binary_cross_entropy_with_logits(reduction="none")`.
#[track_caller]
pub fn binary_cross_entropy_with_logits(logits: Value, targets: Value) -> Value {
    // −y·log σ(x) − (1−y)·log(1−σ(x)) = softplus(x) − x·y
    logits.softplus() - logits * targets
}

/// The squared difference, element by element. `torch.nn.functional.mse_loss(reduction="none")`.
#[track_caller]
pub fn mse(output: Value, targets: Value) -> Value {
    let difference = output - targets;
    difference * difference
}

/// The absolute difference, element by element. `torch.nn.functional.l1_loss(reduction="none")`.
#[track_caller]
pub fn l1(output: Value, targets: Value) -> Value {
    (output - targets).abs()
}

/// ½d² where |d| ≤ `delta`, else `delta`·(|d| − ½`delta`), element by element.
/// `torch.nn.functional.huber_loss(reduction="none")`.
#[track_caller]
pub fn huber(output: Value, targets: Value, delta: f32) -> Value {
    let difference = output - targets;
    let size = difference.abs();
    // A difference of NaN is not below delta and stays NaN in the other branch.
    size.less_equal(delta).select(difference * difference * 0.5, (size - 0.5 * delta) * delta)
}
