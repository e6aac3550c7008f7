//! The kernels of normalisation: mean and variance over any axes, and the sums that the gradient takes.

use crate::Error;
use crate::graph::{
    Accuracy, Arithmetic, Backward, CpuCall, GpuCall, GpuPiece, GpuView, KernelOp, Op, OpKind, Value, apply_many, word,
    words,
};
use crate::ops::accuracy::double_sum;
use crate::ops::normalise_bounds as bounds;
use crate::ops::reduce::{GROUP, Split, output_strides, split};
use crate::ops::support::{check_axes, for_precision, row_groups};
use crate::tensor::window::Axis;
use crate::tensor::{DType, Layout, Shape, TensorType};
use cpu_reference::{Strided, SumsInput};

/// The operators of this family.
pub(super) const NAMES: &[&str] = &["moments", "normalised_sums"];

/// The most iterations of one invocation: some drivers end it silently after 65,535.
const MOST: usize = 60_000;

/// `x` → mean, variance and 1/√(variance + eps) over the axes, which become of size 1.
#[derive(Debug)]
pub(super) struct MomentsOp {
    pub(super) axes: Vec<usize>,
    eps: f32,
}

/// What [`Value::moments`] finds; all have size 1 along the axes.
#[derive(Clone, Copy, Debug)]
pub struct Moments {
    /// The mean.
    pub mean: Value,
    /// The mean of the squares of what elements differ from the mean by: the biased variance.
    pub variance: Value,
    /// 1/√(variance + eps).
    pub inverse_deviation: Value,
}

/// `dy`, `x`, mean, 1/deviation and maybe a weight, all of one shape → Σ g and Σ g·x̂ over the axes, which become of size
/// 1, where g = dy·weight and x̂ = (x − mean)/deviation.
#[derive(Debug)]
pub(super) struct NormalisedSums {
    pub(super) axes: Vec<usize>,
}

fn all_f32(inputs: &[TensorType]) -> Result<(), String> {
    match inputs.iter().find(|input| input.dtype != DType::F32) {
        Some(other) => Err(format!("normalisations are for f32, not {other}; cast it first")),
        None => Ok(()),
    }
}

pub(super) fn count(shape: &Shape, axes: &[usize]) -> usize {
    axes.iter().map(|&axis| shape[axis]).product()
}

impl Op for MomentsOp {
    fn name(&self) -> &'static str {
        "moments"
    }

    fn attributes(&self) -> String {
        format!("axes {:?}, eps {:e}", self.axes, self.eps)
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
        check_axes(&self.axes, &inputs[0].shape)?;
        all_f32(inputs)?;
        if self.eps.is_nan() || self.eps < 0.0 {
            return Err(format!("eps must be 0 or more, not {}", self.eps));
        }
        Ok(vec![TensorType::new(DType::F32, inputs[0].shape.keep(&self.axes)); 3])
    }

    fn gradient(&self, backward: &Backward<'_>) -> Vec<Option<Value>> {
        let x = backward.inputs[0];
        let (mean, inverse) = (backward.outputs[0], backward.outputs[2]);
        let [dmean, dvariance, dinverse] = std::array::from_fn(|output| backward.gradients[output]);
        // d 1/√(v + eps) / dv = −½ (v + eps)^−3/2.
        let through = dinverse.map(|dinverse| dinverse * inverse * inverse * inverse * -0.5);
        let dvariance = match (dvariance, through) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        };
        let spread = dvariance.map(|dvariance| (x - mean) * (dvariance * 2.0));
        let sum = match (dmean, spread) {
            (Some(dmean), Some(spread)) => spread + dmean,
            (Some(dmean), None) => dmean.broadcast_to(x.shape()),
            (None, Some(spread)) => spread,
            (None, None) => return vec![None],
        };
        // Divided, since 1/n is rounded and n is not.
        vec![Some(sum / count(&x.shape(), &self.axes) as f32)]
    }

    fn kind(&self) -> OpKind<'_> {
        OpKind::Kernel(self)
    }
}

/// A part of a reduction that one launch does.
struct Part {
    piece: GpuPiece,
    /// Elements that earlier parts reduced into the same outputs.
    before: usize,
    split: Split,
    outputs: usize,
    count: usize,
    iterations: usize,
}

/// How a reduction is done.
#[derive(Clone, Copy)]
struct Walk {
    /// By lone invocations: for few elements, and where outputs lie side by side, so that invocations read neighbours'
    /// addresses together. Else by workgroups.
    alone: bool,
    /// How often each element is read.
    passes: usize,
}

impl Walk {
    /// `whole` has the view that decides first.
    fn new(whole: &Split, passes: usize) -> Walk {
        let (outputs, count): (usize, usize) = (whole.kept.0.iter().product(), whole.reduced.0.iter().product());
        let side_by_side = whole.kept.1[0].last() == Some(&1) && outputs >= 64;
        Walk { alone: count <= 32 || (side_by_side && count <= 4096), passes }
    }

    /// Iterations of the busiest invocation: over elements, groups of them, and for each element its dimensions.
    fn iterations(self, reduced: &[usize]) -> usize {
        let count: usize = reduced.iter().product();
        let each = if self.alone { count } else { count.div_ceil(256) };
        self.passes * (each * (1 + reduced.len()) + 2 * each.div_ceil(GROUP) + 16) + 16
    }
}

/// Cuts a reduction of `shape` over `axes`, so that windows fit their bindings and loops their limit.
fn parts(call: &GpuCall, shape: &Shape, axes: &[usize], views: &[GpuView], walk: Walk) -> Result<Vec<Part>, Error> {
    let axis = |axis: usize| match axes.contains(&axis) {
        true => Axis::in_steps(shape[axis], GROUP),
        false => Axis::any(shape[axis]),
    };
    let all: Vec<Axis> = (0..shape.rank()).map(axis).collect();
    let mut pieces: Vec<GpuPiece> = call.cut(&all, views)?;
    pieces.reverse();
    let strides: Vec<&[usize]> = views.iter().map(|view| &view.view.strides[..]).collect();
    let mut parts: Vec<Part> = Vec::new();
    while let Some(piece) = pieces.pop() {
        let split = split(&piece.sizes, &strides, axes);
        let iterations = walk.iterations(&split.reduced.0);
        let longest = axes.iter().copied().max_by_key(|&axis| piece.sizes[axis]);
        if let Some(axis) = longest.filter(|&axis| iterations > MOST && piece.sizes[axis] > 1) {
            let (mut low, mut high) = (piece.clone(), piece.clone());
            low.sizes[axis] = piece.sizes[axis].div_ceil(2);
            high.sizes[axis] -= low.sizes[axis];
            high.starts[axis] += low.sizes[axis];
            for (offset, view) in high.offsets.iter_mut().zip(views) {
                *offset += word(low.sizes[axis] * view.view.strides[axis], "an offset")?;
            }
            pieces.extend([high, low]);
            continue;
        }
        // Whatever was reduced before into one of the outputs here was into all of them: cuts halve boxes.
        let kept = |axis: &usize| !axes.contains(axis);
        let covers = |other: &GpuPiece| {
            (0..shape.rank())
                .filter(kept)
                .all(|axis| (other.starts[axis]..other.starts[axis] + other.sizes[axis]).contains(&piece.starts[axis]))
        };
        let before = parts.iter().filter(|part| covers(&part.piece)).map(|part| part.count).sum();
        let (outputs, count) = (split.kept.0.iter().product(), split.reduced.0.iter().product());
        parts.push(Part { piece, before, split, outputs, count, iterations });
    }
    Ok(parts)
}

impl KernelOp for MomentsOp {
    fn accepts(&self, _input: usize, _layout: &Layout) -> bool {
        true
    }

    fn cpu(&self, call: &mut CpuCall<'_>) -> Result<(), Error> {
        let layout = call.inputs[0].layout;
        let Split { kept, reduced } = split(&layout.shape, &[&layout.strides], &self.axes);
        let kept = Strided { sizes: &kept.0, strides: &kept.1[0], offset: layout.offset };
        let reduced = Strided { sizes: &reduced.0, strides: &reduced.1[0], offset: 0 };
        for_precision!(call.precision, T => {
            let input = call.inputs[0].buffer::<T>();
            let [mean, variance, inverse] = &mut call.outputs[..] else { return Err(outputs_missing(self)) };
            let outputs = [mean, variance, inverse].map(|output| bytemuck::cast_slice_mut::<u8, T>(output));
            cpu_reference::moments(input, kept, reduced, f64::from(self.eps), outputs);
        });
        Ok(())
    }

    fn gpu(&self, call: &mut GpuCall) -> Result<(), Error> {
        let layout = call.inputs[0].layout.clone();
        let output = output_strides(&layout.shape, &self.axes);
        let views = [layout.strides.clone(), output.clone(), output.clone(), output];
        let views: Vec<GpuView> = views.into_iter().enumerate().map(|(place, view)| call.view(place, view)).collect();
        let walk = Walk::new(&split(&layout.shape, &[&layout.strides], &self.axes), 2);
        let whole = self::count(&layout.shape, &self.axes);
        for Part { piece, before, split, outputs, count, iterations } in
            parts(call, &layout.shape, &self.axes, &views, walk)?
        {
            let Split { kept, reduced } = split;
            let (shader, groups) = match walk.alone {
                true => ("moments_invocation", row_groups(outputs.div_ceil(64))?),
                false => ("moments_workgroup", row_groups(outputs)?),
            };
            call.launch(
                shader,
                &[("CONTINUE", u32::from(before > 0)), ("UNFINISHED", u32::from(before + count < whole))],
                &[
                    ("kept_count", word(outputs, "the number of outputs")?.into()),
                    ("reduced_count", word(count, "the number of reduced elements")?.into()),
                    ("before_count", word(before, "the number of reduced elements")?.into()),
                    ("kept_rank", word(kept.0.len(), "the rank")?.into()),
                    ("reduced_rank", word(reduced.0.len(), "the rank")?.into()),
                    ("kept_sizes", (&words(&kept.0, "a size")?[..]).into()),
                    ("kept_strides", (&words(&kept.1[0], "a stride")?[..]).into()),
                    ("output_strides", (&words(&kept.1[1], "a stride")?[..]).into()),
                    ("reduced_sizes", (&words(&reduced.0, "a size")?[..]).into()),
                    ("reduced_strides", (&words(&reduced.1[0], "a stride")?[..]).into()),
                    ("eps", self.eps.into()),
                    ("input_offset", piece.offsets[0].into()),
                    ("mean_offset", piece.offsets[1].into()),
                    ("variance_offset", piece.offsets[2].into()),
                    ("inverse_offset", piece.offsets[3].into()),
                ],
                &piece.windows,
                groups,
            )?;
            call.loops(iterations);
        }
        Ok(())
    }

    fn flops(&self, inputs: &[TensorType], _outputs: &[TensorType]) -> u64 {
        5 * inputs[0].shape.elements() as u64
    }

    fn accuracy(&self, arithmetic: Arithmetic, inputs: &[TensorType], _largest: &[f64]) -> Accuracy {
        bounds::moments(arithmetic, count(&inputs[0].shape, &self.axes))
    }

    fn magnitudes(&self, call: &mut CpuCall<'_>) -> Option<Result<(), Error>> {
        Some(self.cpu(call).map(|()| bounds::moments_magnitudes(call, &self.axes, f64::from(self.eps))))
    }
}

fn outputs_missing(op: &dyn Op) -> Error {
    Error::Internal(format!("{} was called with too few outputs", op.name()))
}

impl Op for NormalisedSums {
    fn name(&self) -> &'static str {
        "normalised_sums"
    }

    fn attributes(&self) -> String {
        format!("axes {:?}", self.axes)
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
        check_axes(&self.axes, &inputs[0].shape)?;
        all_f32(inputs)?;
        if !(4..=5).contains(&inputs.len()) || inputs.iter().any(|input| input.shape != inputs[0].shape) {
            let kinds: Vec<String> = inputs.iter().map(ToString::to_string).collect();
            return Err(format!("it needs four or five tensors of one shape, not {}", kinds.join(", ")));
        }
        Ok(vec![TensorType::new(DType::F32, inputs[0].shape.keep(&self.axes)); 2])
    }

    fn gradient(&self, backward: &Backward<'_>) -> Vec<Option<Value>> {
        let [dy, x, mean, inverse] = [0, 1, 2, 3].map(|input| backward.inputs[input]);
        let weight = backward.inputs.get(4).copied();
        let weighted = |value: Value, by: Option<Value>| by.map_or(value, |by| value * by);
        let spread = |gradient: Value| gradient.broadcast_to(x.shape());
        let [da, db] = [0, 1].map(|output| backward.gradients[output].map(spread));
        // Σ g and Σ g·d·r with g = dy·w, d = x − mean: of g the gradient is da + db·d·r.
        let product = db.map(|db| db * ((x - mean) * inverse));
        let dg = match (da, product) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        };
        let slope = db.map(|db| weighted(db * dy, weight));
        let dx = slope.map(|slope| slope * inverse);
        let mut gradients =
            vec![dg.map(|dg| weighted(dg, weight)), dx, dx.map(|dx| -dx), slope.map(|slope| slope * (x - mean))];
        if weight.is_some() {
            gradients.push(dg.map(|dg| dg * dy));
        }
        gradients
    }

    fn kind(&self) -> OpKind<'_> {
        OpKind::Kernel(self)
    }
}

impl KernelOp for NormalisedSums {
    fn accepts(&self, _input: usize, _layout: &Layout) -> bool {
        true
    }

    fn cpu(&self, call: &mut CpuCall<'_>) -> Result<(), Error> {
        let shape = &call.inputs[0].layout.shape;
        let strides: Vec<&[usize]> = call.inputs.iter().map(|input| &input.layout.strides[..]).collect();
        let Split { kept, reduced } = split(shape, &strides, &self.axes);
        let (none_kept, none_reduced) = (vec![0; kept.0.len()], vec![0; reduced.0.len()]);
        for_precision!(call.precision, T => {
            let one: [T; 1] = [1.0];
            let inputs: [SumsInput<'_, T>; 5] = std::array::from_fn(|input| match call.inputs.get(input) {
                Some(given) => SumsInput {
                    values: given.buffer(),
                    kept: &kept.1[input],
                    reduced: &reduced.1[input],
                    offset: given.layout.offset,
                },
                None => SumsInput { values: &one, kept: &none_kept, reduced: &none_reduced, offset: 0 },
            });
            let [sums, products] = &mut call.outputs[..] else { return Err(outputs_missing(self)) };
            let outputs = [sums, products].map(|output| bytemuck::cast_slice_mut::<u8, T>(output));
            cpu_reference::normalised_sums(inputs, &kept.0, &reduced.0, outputs);
        });
        Ok(())
    }

    fn gpu(&self, call: &mut GpuCall) -> Result<(), Error> {
        let inputs = call.inputs.len();
        let shape = call.inputs[0].layout.shape.clone();
        let output = output_strides(&shape, &self.axes);
        let input = |input: usize| call.view(input, call.inputs[input].layout.strides.clone());
        // Without a weight the shader does not read what stands in its place.
        let mut views: Vec<GpuView> = [0, 1, 2, 3, if inputs == 5 { 4 } else { 2 }].map(input).into();
        views.extend([call.view(inputs, output.clone()), call.view(inputs + 1, output)]);
        let strides: Vec<&[usize]> = views.iter().map(|view| &view.view.strides[..]).collect();
        let walk = Walk::new(&split(&shape, &strides, &self.axes), 1);
        for Part { piece, before, split, outputs, count, iterations } in parts(call, &shape, &self.axes, &views, walk)?
        {
            let Split { kept, reduced } = split;
            let (shader, groups) = match walk.alone {
                true => ("normalised_sums_invocation", row_groups(outputs.div_ceil(64))?),
                false => ("normalised_sums_workgroup", row_groups(outputs)?),
            };
            // Four words for each dimension.
            let beside = |strides: &[Vec<usize>], views: &[usize]| {
                let word = |place: usize| {
                    let view = views.get(place % 4);
                    view.map_or(0, |&view| strides[view][place / 4])
                };
                words(&(0..4 * strides[0].len()).map(word).collect::<Vec<_>>(), "a stride")
            };
            let constants = [("WEIGHTED", u32::from(inputs == 5)), ("CONTINUE", u32::from(before > 0))];
            call.launch(
                shader,
                &constants,
                &[
                    ("kept_sizes", (&words(&kept.0, "a size")?[..]).into()),
                    ("kept_strides", (&beside(&kept.1, &[0, 1, 2, 3])?[..]).into()),
                    ("kept_other_strides", (&beside(&kept.1, &[4, 5])?[..]).into()),
                    ("reduced_sizes", (&words(&reduced.0, "a size")?[..]).into()),
                    ("reduced_strides", (&beside(&reduced.1, &[0, 1, 2, 3])?[..]).into()),
                    ("reduced_weight_strides", (&words(&reduced.1[4], "a stride")?[..]).into()),
                    ("offsets", (&piece.offsets[..4]).into()),
                    ("weight_offset", piece.offsets[4].into()),
                    ("kept_rank", word(kept.0.len(), "the rank")?.into()),
                    ("reduced_rank", word(reduced.0.len(), "the rank")?.into()),
                    ("kept_count", word(outputs, "the number of outputs")?.into()),
                    ("reduced_count", word(count, "the number of reduced elements")?.into()),
                    ("sum_offset", piece.offsets[5].into()),
                    ("product_offset", piece.offsets[6].into()),
                ],
                &piece.windows,
                groups,
            )?;
            call.loops(iterations);
        }
        Ok(())
    }

    fn flops(&self, inputs: &[TensorType], _outputs: &[TensorType]) -> u64 {
        (1 + inputs.len() as u64) * inputs[0].shape.elements() as u64
    }

    fn accuracy(&self, arithmetic: Arithmetic, inputs: &[TensorType], _largest: &[f64]) -> Accuracy {
        let count = count(&inputs[0].shape, &self.axes);
        match arithmetic {
            // A term is a difference and up to three products.
            Arithmetic::Gpu => Accuracy::sum(arithmetic, 4 * count, bounds::additions(count) + 4),
            // In double precision, rounded at the end. Down the columns of rows a product is rounded three times, and goes
            // through seven additions in single precision.
            _ => Accuracy { summed: 5.0 + double_sum(arithmetic, count + 4), ..Accuracy::rounded(arithmetic) },
        }
    }

    fn magnitudes(&self, call: &mut CpuCall<'_>) -> Option<Result<(), Error>> {
        bounds::sums_magnitudes(call, &self.axes);
        Some(Ok(()))
    }
}

impl Value {
    /// Mean, biased variance and 1/√(variance + `eps`) over the given axes, which become of size 1; in one launch, and
    /// exact also where the mean is much larger than the deviation.
    /// `torch.var_mean(dim=axes, correction=0, keepdim=True)`.
    #[track_caller]
    pub fn moments(self, axes: &[usize], eps: f32) -> Moments {
        let [mean, variance, inverse_deviation] = apply_many(MomentsOp { axes: axes.to_vec(), eps }, &[self]);
        Moments { mean, variance, inverse_deviation }
    }
}
