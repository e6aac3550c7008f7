//! Reductions over any axes: sum, mean, maximum, minimum; and argmax and argmin over one.

use crate::Error;
use crate::graph::{Accuracy, Arithmetic, Backward, CpuCall, GpuCall, KernelOp, Op, OpKind, Value, apply, word, words};
use crate::ops::accuracy::double_sum;
use crate::ops::samples::{Samples, tensor};
use crate::ops::support::{check_axes, for_precision, one, row_groups};
use crate::tensor::window::Axis;
use crate::tensor::{DType, Layout, Shape, TensorType};
use cpu_reference::{Extreme, Reduction, Strided};

/// The operators of this family.
pub(super) const NAMES: &[&str] = &["sum", "mean", "sum_of_squares", "max", "min", "argmax", "argmin"];

/// Elements that an invocation adds up before they join the total; cuts fall between two such groups.
pub(super) const GROUP: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sum,
    Mean,
    SumOfSquares,
    Max,
    Min,
}

/// A reduction that leaves the axes out of the result.
#[derive(Debug)]
struct Reduce {
    kind: Kind,
    axes: Vec<usize>,
}

/// The kept and the reduced dimensions of views of one shape, each merged where all are evenly spaced: their sizes, and
/// each view's strides.
pub(super) struct Split {
    pub(super) kept: (Vec<usize>, Vec<Vec<usize>>),
    pub(super) reduced: (Vec<usize>, Vec<Vec<usize>>),
}

pub(super) fn split(shape: &[usize], views: &[&[usize]], axes: &[usize]) -> Split {
    let part = |wanted: bool| {
        let chosen: Vec<usize> = (0..shape.len()).filter(|axis| axes.contains(axis) == wanted).collect();
        let sizes: Shape = chosen.iter().map(|&axis| shape[axis]).collect::<Vec<_>>().into();
        let view = |strides: &&[usize]| {
            let strides = chosen.iter().map(|&axis| strides[axis]).collect();
            Layout { shape: sizes.clone(), strides, offset: 0 }
        };
        let views: Vec<Layout> = views.iter().map(view).collect();
        let (mut sizes, mut strides) = Layout::collapse(&views.iter().collect::<Vec<_>>(), &sizes);
        if sizes.is_empty() {
            // The shaders count at least one dimension.
            sizes.push(1);
            strides.iter_mut().for_each(|strides| strides.push(0));
        }
        (sizes, strides)
    };
    Split { kept: part(false), reduced: part(true) }
}

/// The strides of a reduction's output along the axes of its input: 0 along those that it lacks.
pub(super) fn output_strides(shape: &Shape, axes: &[usize]) -> Vec<usize> {
    let mut strides = Layout::contiguous(&shape.keep(axes)).strides;
    axes.iter().for_each(|&axis| strides[axis] = 0);
    strides
}

impl Reduce {
    fn count(&self, shape: &Shape) -> usize {
        self.axes.iter().map(|&axis| shape[axis]).product()
    }

    fn scale(&self, shape: &Shape) -> f64 {
        if self.kind == Kind::Mean { 1.0 / self.count(shape) as f64 } else { 1.0 }
    }
}

/// Into how many equal parts a sum of so many elements to one is cut, if it is: a divisor near the square root.
fn parts_of(elements: usize) -> Option<usize> {
    const LONG: usize = 1 << 16;
    let root = elements.isqrt();
    if elements < LONG { None } else { (32..=root).rev().find(|parts| elements.is_multiple_of(*parts)) }
}

/// The most additions that a term goes through on a GPU, not counting those to 0.
pub(super) fn additions(count: usize) -> usize {
    // One invocation adds up groups of 64, then the groups.
    let alone = if count <= 4096 { count.min(64) + count.div_ceil(64) - 2 } else { 0 };
    // A workgroup's 256 invocations each add up every 256th element; a tree of eight levels joins them.
    let together = if count > 32 { count.div_ceil(256) + 7 } else { 0 };
    // Which of the two it is depends on the layout too.
    alone.max(together)
}

impl Op for Reduce {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Sum => "sum",
            Kind::Mean => "mean",
            Kind::SumOfSquares => "sum_of_squares",
            Kind::Max => "max",
            Kind::Min => "min",
        }
    }

    fn attributes(&self) -> String {
        format!("axes {:?}", self.axes)
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
        check_axes(&self.axes, &inputs[0].shape)?;
        if inputs[0].dtype != DType::F32 {
            return Err(format!("reductions are for f32, not {}; cast it first", inputs[0]));
        }
        one(DType::F32, inputs[0].shape.without(&self.axes))
    }

    fn gradient(&self, backward: &Backward<'_>) -> Vec<Option<Value>> {
        let (x, y, dy) = (backward.inputs[0], backward.outputs[0], backward.dy());
        let shape = x.shape();
        let spread = |value: Value| value.reshape(shape.keep(&self.axes)).broadcast_to(shape.clone());
        let dx = match self.kind {
            Kind::Sum => spread(dy),
            // Divided, since 1/n is rounded and n is not.
            Kind::Mean => spread(dy / self.count(&shape) as f32),
            Kind::SumOfSquares => spread(dy) * x * 2.0,
            // Equal extremes share the gradient evenly, as torch.amax does.
            Kind::Max | Kind::Min => {
                let winners = x.equal(spread(y)).to_f32();
                spread(dy / winners.sum(&self.axes)) * winners
            }
        };
        vec![Some(dx)]
    }

    fn kind(&self) -> OpKind<'_> {
        OpKind::Kernel(self)
    }
}

impl KernelOp for Reduce {
    fn accepts(&self, _input: usize, _layout: &Layout) -> bool {
        true
    }

    fn cpu(&self, call: &mut CpuCall<'_>) -> Result<(), Error> {
        let layout = call.inputs[0].layout;
        let Split { kept, reduced } = split(&layout.shape, &[&layout.strides], &self.axes);
        let operation = match self.kind {
            Kind::Sum | Kind::Mean => Reduction::Sum,
            Kind::SumOfSquares => Reduction::SumOfSquares,
            Kind::Max => Reduction::Maximum,
            Kind::Min => Reduction::Minimum,
        };
        let kept = Strided { sizes: &kept.0, strides: &kept.1[0], offset: layout.offset };
        let reduced = Strided { sizes: &reduced.0, strides: &reduced.1[0], offset: 0 };
        for_precision!(call.precision, T => {
            let input = call.inputs[0].buffer::<T>();
            cpu_reference::reduce(operation, input, kept, reduced, self.scale(&layout.shape), call.output::<T>(0));
        });
        Ok(())
    }

    fn gpu(&self, call: &mut GpuCall) -> Result<(), Error> {
        let layout = call.inputs[0].layout.clone();
        let shape = &layout.shape;
        let output = output_strides(shape, &self.axes);
        let operation = match self.kind {
            Kind::Sum | Kind::Mean => 0,
            Kind::Max => 1,
            Kind::Min => 2,
            Kind::SumOfSquares => 3,
        };
        // A lone invocation per output reads neighbours' addresses together when outputs lie side by side.
        let whole = split(shape, &[&layout.strides, &output], &self.axes);
        let (outputs, count): (usize, usize) = (whole.kept.0.iter().product(), whole.reduced.0.iter().product());
        let side_by_side = whole.kept.1[0].last() == Some(&1) && outputs >= 64;
        let alone = count <= 32 || (side_by_side && count <= 4096);
        let axis = |axis: usize| match self.axes.contains(&axis) {
            true => Axis::in_steps(shape[axis], GROUP),
            false => Axis::any(shape[axis]),
        };
        let axes: Vec<Axis> = (0..shape.rank()).map(axis).collect();
        let views = [call.view(0, layout.strides.clone()), call.view(1, output.clone())];
        for piece in call.cut(&axes, &views)? {
            let Split { kept, reduced } = split(&piece.sizes, &[&layout.strides, &output], &self.axes);
            let (outputs, count): (usize, usize) = (kept.0.iter().product(), reduced.0.iter().product());
            // A piece goes on from what the one before left; the last one scales.
            let first = self.axes.iter().all(|&axis| piece.starts[axis] == 0);
            let last = self.axes.iter().all(|&axis| piece.starts[axis] + piece.sizes[axis] == shape[axis]);
            let scale = if last { self.scale(shape) as f32 } else { 1.0 };
            let (shader, groups) = match alone {
                true => ("reduce_invocation", row_groups(outputs.div_ceil(64))?),
                false => ("reduce_workgroup", row_groups(outputs)?),
            };
            let constants = [("OPERATION", operation), ("CONTINUE", 1)];
            call.launch(
                shader,
                if first { &constants[..1] } else { &constants },
                &[
                    ("kept_count", word(outputs, "the number of outputs")?.into()),
                    ("reduced_count", word(count, "the number of reduced elements")?.into()),
                    ("kept_rank", word(kept.0.len(), "the rank")?.into()),
                    ("reduced_rank", word(reduced.0.len(), "the rank")?.into()),
                    ("kept_sizes", (&words(&kept.0, "a size")?[..]).into()),
                    ("kept_strides", (&words(&kept.1[0], "a stride")?[..]).into()),
                    ("output_strides", (&words(&kept.1[1], "a stride")?[..]).into()),
                    ("reduced_sizes", (&words(&reduced.0, "a size")?[..]).into()),
                    ("reduced_strides", (&words(&reduced.1[0], "a stride")?[..]).into()),
                    ("input_offset", piece.offsets[0].into()),
                    ("output_offset", piece.offsets[1].into()),
                    ("scale", scale.into()),
                ],
                &piece.windows,
                groups,
            )?;
            // The place of an element takes a loop over the dimensions but one.
            let places = reduced.0.len();
            let added = if alone { count } else { count.div_ceil(256) };
            call.loops(added * places + if alone { count.div_ceil(GROUP) } else { 8 });
        }
        Ok(())
    }

    fn flops(&self, inputs: &[TensorType], _outputs: &[TensorType]) -> u64 {
        inputs[0].shape.elements() as u64
    }

    fn accuracy(&self, arithmetic: Arithmetic, inputs: &[TensorType], _largest: &[f64]) -> Accuracy {
        let count = self.count(&inputs[0].shape);
        let single = arithmetic == Arithmetic::Gpu;
        let square = usize::from(self.kind == Kind::SumOfSquares);
        match self.kind {
            Kind::Max | Kind::Min => Accuracy::EXACT,
            // 1/n is rounded to the nearest f32 before the product is.
            Kind::Mean if single => Accuracy::sum(arithmetic, count, additions(count)) + Accuracy::relative(1.5),
            Kind::Sum | Kind::SumOfSquares if single => Accuracy::sum(arithmetic, count, additions(count) + square),
            Kind::Sum | Kind::Mean | Kind::SumOfSquares => {
                Accuracy { summed: double_sum(arithmetic, count + square), ..Accuracy::rounded(arithmetic) }
            }
        }
    }
}

/// Where along one axis the extreme element lies.
#[derive(Debug)]
struct ArgReduce {
    largest: bool,
    axis: usize,
}

impl Op for ArgReduce {
    fn name(&self) -> &'static str {
        if self.largest { "argmax" } else { "argmin" }
    }

    fn attributes(&self) -> String {
        format!("axis {}", self.axis)
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
        check_axes(&[self.axis], &inputs[0].shape)?;
        if inputs[0].dtype != DType::F32 {
            return Err(format!("it is for f32, not {}; cast it first", inputs[0]));
        }
        one(DType::U32, inputs[0].shape.without(&[self.axis]))
    }

    fn gradient(&self, _backward: &Backward<'_>) -> Vec<Option<Value>> {
        // An index does not move with its element.
        vec![None]
    }

    fn kind(&self) -> OpKind<'_> {
        OpKind::Kernel(self)
    }
}

impl KernelOp for ArgReduce {
    fn accepts(&self, _input: usize, _layout: &Layout) -> bool {
        true
    }

    fn cpu(&self, call: &mut CpuCall<'_>) -> Result<(), Error> {
        let layout = call.inputs[0].layout;
        let (sizes, strides) = split(&layout.shape, &[&layout.strides], &[self.axis]).kept;
        let kept = Strided { sizes: &sizes, strides: &strides[0], offset: layout.offset };
        let extreme = if self.largest { Extreme::Maximum } else { Extreme::Minimum };
        let (size, stride) = (layout.shape[self.axis], layout.strides[self.axis]);
        for_precision!(call.precision, T => {
            let input = call.inputs[0].buffer::<T>();
            cpu_reference::arg_reduce(extreme, input, kept, size, stride, call.output::<u32>(0));
        });
        Ok(())
    }

    fn gpu(&self, call: &mut GpuCall) -> Result<(), Error> {
        let layout = call.inputs[0].layout.clone();
        let shape = &layout.shape;
        let output = output_strides(shape, &[self.axis]);
        let axis = |axis: usize| if axis == self.axis { Axis::whole(shape[axis]) } else { Axis::any(shape[axis]) };
        let axes: Vec<Axis> = (0..shape.rank()).map(axis).collect();
        let views = [call.view(0, layout.strides.clone()), call.view(1, output.clone())];
        for piece in call.cut(&axes, &views)? {
            let (sizes, strides) = split(&piece.sizes, &[&layout.strides, &output], &[self.axis]).kept;
            let outputs: usize = sizes.iter().product();
            call.launch(
                "arg_reduce",
                &[("OPERATION", if self.largest { 1 } else { 2 })],
                &[
                    ("kept_count", word(outputs, "the number of outputs")?.into()),
                    ("reduced_size", word(shape[self.axis], "the number of reduced elements")?.into()),
                    ("kept_rank", word(sizes.len(), "the rank")?.into()),
                    ("kept_sizes", (&words(&sizes, "a size")?[..]).into()),
                    ("kept_strides", (&words(&strides[0], "a stride")?[..]).into()),
                    ("output_strides", (&words(&strides[1], "a stride")?[..]).into()),
                    ("reduced_stride", word(layout.strides[self.axis], "a stride")?.into()),
                    ("input_offset", piece.offsets[0].into()),
                    ("output_offset", piece.offsets[1].into()),
                ],
                &piece.windows,
                row_groups(outputs)?,
            )?;
            call.loops(shape[self.axis].div_ceil(256) + 8);
        }
        Ok(())
    }

    fn flops(&self, inputs: &[TensorType], _outputs: &[TensorType]) -> u64 {
        inputs[0].shape.elements() as u64
    }

    fn accuracy(&self, _arithmetic: Arithmetic, _inputs: &[TensorType], _largest: &[f64]) -> Accuracy {
        Accuracy::EXACT
    }
}

impl Value {
    #[track_caller]
    fn reduce(self, kind: Kind, axes: &[usize]) -> Value {
        if axes.is_empty() {
            return self;
        }
        let shape = self.shape();
        let rank = shape.rank();
        // One workgroup adds up one result: a long sum to a scalar is cut into parts, so that many work at it.
        let is_sum = matches!(kind, Kind::Sum | Kind::Mean | Kind::SumOfSquares);
        if let (true, true, Some(parts)) = (is_sum, axes.len() == rank, parts_of(shape.elements())) {
            let rows = self.reshape([parts, shape.elements() / parts]);
            let second = if kind == Kind::SumOfSquares { Kind::Sum } else { kind };
            return rows.reduce(kind, &[1]).reduce(second, &[0]);
        }
        apply(Reduce { kind, axes: axes.to_vec() }, &[self])[0]
    }

    fn all_axes(self) -> Vec<usize> {
        (0..self.shape().rank()).collect()
    }

    /// The sum over the given axes, which the result lacks. `torch.sum(dim=axes)`.
    #[track_caller]
    pub fn sum(self, axes: &[usize]) -> Value {
        self.reduce(Kind::Sum, axes)
    }

    /// The mean over the given axes, which the result lacks. `torch.mean(dim=axes)`.
    #[track_caller]
    pub fn mean(self, axes: &[usize]) -> Value {
        self.reduce(Kind::Mean, axes)
    }

    /// The sum of squares over the given axes, which the result lacks. `torch.linalg.vector_norm(dim=axes) ** 2`.
    #[track_caller]
    pub fn sum_of_squares(self, axes: &[usize]) -> Value {
        // Over no axes it is still a square.
        if axes.is_empty() { self * self } else { self.reduce(Kind::SumOfSquares, axes) }
    }

    /// The largest element over the given axes; NaN if there is one; equal extremes share the gradient. `torch.amax`.
    #[track_caller]
    pub fn max(self, axes: &[usize]) -> Value {
        self.reduce(Kind::Max, axes)
    }

    /// The smallest element over the given axes; NaN if there is one; equal extremes share the gradient. `torch.amin`.
    #[track_caller]
    pub fn min(self, axes: &[usize]) -> Value {
        self.reduce(Kind::Min, axes)
    }

    /// The sum of all elements: a scalar.
    #[track_caller]
    pub fn sum_all(self) -> Value {
        self.sum(&self.all_axes())
    }

    /// The mean of all elements: a scalar.
    #[track_caller]
    pub fn mean_all(self) -> Value {
        self.mean(&self.all_axes())
    }

    /// The place of the largest element along `axis` as `u32`: the first of equals, the first NaN if there is one.
    /// No gradient. `torch.argmax`.
    #[track_caller]
    pub fn argmax(self, axis: usize) -> Value {
        apply(ArgReduce { largest: true, axis }, &[self])[0]
    }

    /// The place of the smallest element along `axis` as `u32`: the first of equals, the first NaN if there is one.
    /// No gradient. `torch.argmin`.
    #[track_caller]
    pub fn argmin(self, axis: usize) -> Value {
        apply(ArgReduce { largest: false, axis }, &[self])[0]
    }
}

/// Samples of this family.
pub(super) fn add_samples(samples: &mut Samples) {
    let x = samples.uniform([3, 4, 5], -2.0, 2.0);
    for axes in [vec![0], vec![1], vec![2], vec![0, 2], vec![2, 0], vec![1, 2], vec![0, 1, 2]] {
        let label = format!("axes {axes:?}");
        let (a, b) = (axes.clone(), axes.clone());
        samples.smooth("sum", &label, vec![x.clone()], move |x| x[0].sum(&a));
        samples.smooth("mean", &label, vec![x.clone()], move |x| x[0].mean(&b));
        let a = axes.clone();
        samples.smooth("sum_of_squares", &label, vec![x.clone()], move |x| x[0].sum_of_squares(&a));
        let (a, b) = (axes.clone(), axes);
        samples.smooth("max", &label, vec![x.clone()], move |x| x[0].max(&a));
        samples.smooth("min", &label, vec![x.clone()], move |x| x[0].min(&b));
    }
    for axis in 0..3 {
        let label = format!("axis {axis}");
        samples.forward("argmax", &label, vec![x.clone()], move |x| x[0].argmax(axis));
        samples.forward("argmin", &label, vec![x.clone()], move |x| x[0].argmin(axis));
    }
    // Rows and columns that don't divide a workgroup, through every path of the lowering.
    for (rows, columns) in [(1, 1), (3, 1031), (257, 33), (130, 70), (5000, 3)] {
        let x = samples.uniform([rows, columns], -2.0, 2.0);
        for axis in [0, 1] {
            let label = format!("[{rows}, {columns}] over axis {axis}");
            samples.smooth("sum", &label, vec![x.clone()], move |x| x[0].sum(&[axis]));
            samples.smooth("sum_of_squares", &label, vec![x.clone()], move |x| x[0].sum_of_squares(&[axis]));
            samples.forward("max", &label, vec![x.clone()], move |x| x[0].max(&[axis]));
            samples.forward("argmax", &label, vec![x.clone()], move |x| x[0].argmax(axis));
        }
    }
    // Cut into parts, and (a prime number of elements) not.
    for elements in [1 << 16, 65_537] {
        let x = samples.uniform([elements], -2.0, 2.0);
        let label = format!("{elements} to one");
        samples.smooth("sum", &label, vec![x.clone()], |x| x[0].sum_all());
        samples.smooth("mean", &label, vec![x], |x| x[0].mean_all());
    }
    let x = samples.uniform([6, 40, 5], -2.0, 2.0);
    samples.smooth("sum", "strided", vec![x], |x| x[0].permute(&[1, 2, 0]).sum(&[0, 1]));
    let x = tensor([2, 5], &[1.0, f32::NAN, 3.0, 1e4, -1e4, 7.0, 7.0, -7.0, 0.0, -7.0]);
    for axis in [0, 1] {
        samples.forward("sum", "outliers", vec![x.clone()], move |x| x[0].sum(&[axis]));
        samples.forward("max", "outliers", vec![x.clone()], move |x| x[0].max(&[axis]));
        samples.forward("min", "outliers", vec![x.clone()], move |x| x[0].min(&[axis]));
        samples.forward("argmax", "ties and NaN", vec![x.clone()], move |x| x[0].argmax(axis));
        samples.forward("argmin", "ties and NaN", vec![x.clone()], move |x| x[0].argmin(axis));
    }
    // One workgroup a row, in more rows than one dimension of a grid holds.
    let x = samples.uniform([65_536 + 5, 33], -2.0, 2.0);
    samples.forward("sum", "grid beyond 65,535 groups", vec![x], |x| x[0].sum(&[1]));
}
