//! How cross-entropy and its gradient are computed, and how exactly.

use super::{Counting, CrossEntropy, CrossEntropyGradient};
use crate::Error;
use crate::graph::{Accuracy, Arithmetic, CpuCall, CpuInput, GpuCall, GpuView, InPlace, KernelOp, word};
use crate::ops::accuracy;
use crate::ops::support::{flat_groups, for_precision, row_groups, row_lanes};
use crate::tensor::TensorType;
use crate::tensor::window::Axis;
use cpu_reference::{Counted, Real};
use gpu_runtime::Words;

impl Counting {
    /// What the CPU's kernels take, of weights and maybe their sum.
    fn counted<'a, T: Real>(self, columns: usize, weights: &[CpuInput<'a>]) -> Counted<'a, T> {
        let total = weights.get(1).map_or(columns as f64, |total| total.elements::<T>()[0].to_f64());
        let weight = weights.first().map(CpuInput::elements);
        Counted { ignored: self.ignore_index, smoothing: f64::from(self.smoothing), weight, total }
    }

    /// The shaders' constants.
    fn constants(self) -> [(&'static str, u32); 3] {
        [
            ("IGNORING", u32::from(self.ignore_index.is_some())),
            ("SMOOTHING", u32::from(self.smoothing > 0.0)),
            ("WEIGHTED", u32::from(self.weighted)),
        ]
    }

    /// The parameters that do not depend on where tensors lie.
    fn parameters(self, rows: usize, columns: usize) -> Result<Vec<(&'static str, Words<'static>)>, Error> {
        let smoothing = f64::from(self.smoothing);
        Ok(vec![
            ("rows", word(rows, "the number of rows")?.into()),
            ("columns", word(columns, "the number of classes")?.into()),
            ("ignored", self.ignore_index.unwrap_or(0).into()),
            ("confidence", ((1.0 - smoothing) as f32).into()),
            ("each", ((smoothing / columns as f64) as f32).into()),
        ])
    }

    /// Views of the weights and their sum, the first of which is input `first`; where there are none, of what stands in
    /// their place and is not read.
    fn weights(self, call: &GpuCall, first: usize, instead: usize) -> [GpuView; 2] {
        let view = |number: usize, strides: [usize; 3]| match number < self.inputs() {
            true => call.view(first + number, strides),
            false => call.view(instead, [0, 0, 0]),
        };
        [view(0, [0, 1, 0]), view(1, [0, 0, 0])]
    }
}

/// The axes of the work: rows, their columns, and their two statistics.
fn axes(rows: usize, columns: usize) -> [Axis; 3] {
    [Axis::any(rows), Axis::whole(columns), Axis::whole(2)]
}

impl KernelOp for CrossEntropy {
    fn cpu(&self, call: &mut CpuCall<'_>) -> Result<(), Error> {
        let columns = call.inputs[0].layout.shape[1];
        let targets = call.inputs[1].elements::<u32>();
        for_precision!(call.precision, T => {
            let logits = call.inputs[0].elements::<T>();
            let counted = self.0.counted(columns, &call.inputs[2..]);
            let [loss, statistics] = &mut call.outputs[..] else {
                return Err(Error::Internal("cross_entropy was called with too few outputs".into()));
            };
            let (loss, statistics) = (bytemuck::cast_slice_mut(loss), bytemuck::cast_slice_mut(statistics));
            cpu_reference::cross_entropy::<T>(logits, columns, targets, &counted, loss, statistics);
        });
        Ok(())
    }

    fn gpu(&self, call: &mut GpuCall) -> Result<(), Error> {
        let (rows, columns) = (call.inputs[0].layout.shape[0], call.inputs[0].layout.shape[1]);
        let outputs = call.inputs.len();
        let [weight, total] = self.0.weights(call, 2, 0);
        let [logits, targets] = [call.view(0, [columns, 1, 0]), call.view(1, [1, 0, 0])];
        let [loss, statistics] = [call.view(outputs, [1, 0, 0]), call.view(outputs + 1, [2, 0, 1])];
        let views = [logits, targets, weight, total, loss, statistics];
        let lanes = row_lanes(columns);
        let constants: Vec<_> = self.0.constants().into_iter().chain([("LANES", lanes as u32)]).collect();
        let offsets =
            ["logits_offset", "targets_offset", "weight_offset", "total_offset", "loss_offset", "statistics_offset"];
        for piece in call.cut(&axes(rows, columns), &views)? {
            let rows = piece.sizes[0];
            let mut parameters = self.0.parameters(rows, columns)?;
            parameters.extend(offsets.iter().zip(&piece.offsets).map(|(&name, &at)| (name, at.into())));
            let groups = row_groups((rows * lanes).div_ceil(256))?;
            call.launch("cross_entropy", &constants, &parameters, &piece.windows, groups)?;
            call.loops(2 * columns.div_ceil(lanes) + 32);
        }
        Ok(())
    }

    fn flops(&self, inputs: &[TensorType], _outputs: &[TensorType]) -> u64 {
        6 * inputs[0].shape.elements() as u64
    }

    /// In units of [`KernelOp::magnitudes`]: the sum's error, the logarithm's, and on top six roundings of a term at most.
    fn accuracy(&self, arithmetic: Arithmetic, inputs: &[TensorType], _largest: &[f64]) -> Accuracy {
        let columns = inputs[0].shape[1];
        let mut summed = accuracy::log_of_sum(arithmetic, columns) + 6.0 * arithmetic.rounding();
        if self.0.smoothing > 0.0 {
            summed += accuracy::row_additions(arithmetic, columns);
        }
        // What may be lost of terms that are denormal.
        let absolute = 2.0 * columns as f64 * arithmetic.smallest() / arithmetic.unit();
        Accuracy { summed, ..Accuracy::absolute(absolute) }
    }

    /// Of a loss the sum of its terms' absolute values, of which the logarithm's error counts like 1; of the largest
    /// logit 0, since it is chosen; of the sum itself.
    fn magnitudes(&self, call: &mut CpuCall<'_>) -> Option<Result<(), Error>> {
        Some(self.cpu(call).map(|()| {
            let columns = call.inputs[0].layout.shape[1];
            let (logits, targets) = (call.inputs[0].elements::<f64>(), call.inputs[1].elements::<u32>());
            let weights = absolute(&call.inputs[2..]);
            let weight = |class: usize| weights.as_ref().map_or(1.0, |weights| weights[class]);
            let smoothing = f64::from(self.0.smoothing);
            for (row, target) in targets.iter().enumerate() {
                let (loss, statistics) = (call.output::<f64>(0)[row], call.output::<f64>(1)[2 * row..][..2].to_vec());
                call.output::<f64>(1)[2 * row] = 0.0;
                let x = &logits[row * columns..][..columns];
                if !loss.is_finite() || self.0.ignore_index == Some(*target) {
                    continue;
                }
                let away = |class: usize| weight(class) * (statistics[0] - x[class] + statistics[1].ln() + 1.0);
                let own = (1.0 - smoothing) * away(*target as usize);
                let spread: f64 = if smoothing > 0.0 { (0..columns).map(away).sum() } else { 0.0 };
                call.output::<f64>(0)[row] = own + smoothing / columns as f64 * spread;
            }
        }))
    }
}

/// The absolute values of the weights, if there are weights.
fn absolute(weights: &[CpuInput<'_>]) -> Option<Vec<f64>> {
    weights.first().map(|weight| weight.elements::<f64>().iter().map(|weight| weight.abs()).collect())
}

impl KernelOp for CrossEntropyGradient {
    fn in_place(&self) -> Option<InPlace> {
        Some(InPlace { input: 0, output: 0 })
    }

    fn cpu(&self, call: &mut CpuCall<'_>) -> Result<(), Error> {
        let columns = call.inputs[0].layout.shape[1];
        let targets = call.inputs[1].elements::<u32>();
        for_precision!(call.precision, T => {
            let logits = call.unless_in_place::<T>(0);
            let (statistics, dloss) = (call.inputs[2].elements(), call.inputs[3].elements());
            let counted = self.0.counted(columns, &call.inputs[4..]);
            let output = call.output::<T>(0);
            cpu_reference::cross_entropy_gradient(logits, columns, targets, statistics, dloss, &counted, output);
        });
        Ok(())
    }

    fn gpu(&self, call: &mut GpuCall) -> Result<(), Error> {
        let (rows, columns) = (call.inputs[0].layout.shape[0], call.inputs[0].layout.shape[1]);
        let [weight, total] = self.0.weights(call, 4, 3);
        let [logits, targets] = [call.view(0, [columns, 1, 0]), call.view(1, [1, 0, 0])];
        let [statistics, dloss] = [call.view(2, [2, 0, 1]), call.view(3, [1, 0, 0])];
        let output = call.view(call.inputs.len(), [columns, 1, 0]);
        let mut views = vec![logits, targets, statistics, dloss, weight, total, output];
        let mut offsets = vec![
            "logits_offset",
            "targets_offset",
            "statistics_offset",
            "dloss_offset",
            "weight_offset",
            "total_offset",
            "output_offset",
        ];
        let shader = match call.in_place {
            Some(_) => {
                // What is bound for writing is called by the name of what it overwrites.
                let logits = views.remove(0);
                views.pop();
                views.push(logits);
                offsets.remove(0);
                "cross_entropy_gradient_in_place"
            }
            None => "cross_entropy_gradient",
        };
        for piece in call.cut(&axes(rows, columns), &views)? {
            let rows = piece.sizes[0];
            let mut parameters = self.0.parameters(rows, columns)?;
            parameters.extend(offsets.iter().zip(&piece.offsets).map(|(&name, &at)| (name, at.into())));
            let groups = flat_groups(rows * columns)?;
            call.launch(shader, &self.0.constants(), &parameters, &piece.windows, groups)?;
        }
        Ok(())
    }

    fn flops(&self, inputs: &[TensorType], _outputs: &[TensorType]) -> u64 {
        6 * inputs[0].shape.elements() as u64
    }

    /// In units of [`KernelOp::magnitudes`]. The exponential of a difference d errs by no more than 1 + d times what it errs
    /// by at 0; on the CPU seven roundings follow, on a GPU the division by the sum and as many.
    fn accuracy(&self, arithmetic: Arithmetic, _inputs: &[TensorType], largest: &[f64]) -> Accuracy {
        let steps = arithmetic.pick(3.5, 7.0 + accuracy::quotient(arithmetic));
        let summed = accuracy::exponential(arithmetic, 0.0) + steps;
        // Beyond the range of normal numbers exponentials are lost.
        let most = largest[3] * if self.0.weighted { 1.0 + 2.0 * largest[4] } else { 1.0 };
        let lost = 4.0 * arithmetic.smallest() / arithmetic.unit() * (1.0 + most);
        Accuracy { summed, ..Accuracy::absolute(lost) }
    }

    /// The sum of the terms' absolute values; p, the element of the softmax, counts 1 + d times where d is the logit's
    /// distance from the largest.
    fn magnitudes(&self, call: &mut CpuCall<'_>) -> Option<Result<(), Error>> {
        let columns = call.inputs[0].layout.shape[1];
        let smoothing = f64::from(self.0.smoothing);
        let weights = absolute(&call.inputs[4..]);
        let weight = |class: usize| weights.as_ref().map_or(1.0, |weights| weights[class]);
        let all: f64 = (0..columns).map(weight).sum();
        let (logits, targets) = (call.inputs[0].elements::<f64>(), call.inputs[1].elements::<u32>());
        let (statistics, dloss) = (call.inputs[2].elements::<f64>(), call.inputs[3].elements::<f64>());
        let each = smoothing / columns as f64;
        for (index, output) in call.output::<f64>(0).iter_mut().enumerate() {
            let (row, column) = (index / columns, index % columns);
            let target = targets[row] as usize;
            if target >= columns || self.0.ignore_index == Some(targets[row]) {
                *output = 0.0;
                continue;
            }
            let own = (1.0 - smoothing) * weight(target);
            let distance = statistics[2 * row] - logits[index];
            let probability = (-distance).exp() / statistics[2 * row + 1] * (1.0 + distance);
            let hot = if column == target { own } else { 0.0 };
            *output = (probability * (own + each * all) + hot + each * weight(column)) * dloss[row].abs();
        }
        Some(Ok(()))
    }
}
