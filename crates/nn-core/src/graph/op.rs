//! What an operator tells the rest of the crate about itself. Passes reach operators through these traits only.

use super::{Accuracy, Arithmetic, Value, ValueId};
use crate::Error;
use crate::tensor::window::{self, Axis, BindingLimit, Bound, View};
use crate::tensor::{DType, Layout, TensorType};
use cpu_reference::elementwise::BlockFunction;
use gpu_runtime::{Kernel, Words};
use std::fmt::Debug;
use std::ops::Range;

/// Everything about one operator: shape rule, gradient rule, and how each backend computes it.
pub trait Op: Debug + Send + Sync + 'static {
    /// The operator's name: lower case, words joined by `_`.
    fn name(&self) -> &'static str;

    /// Everything besides the inputs that decides the result, as text. Two nodes of equal name,
    /// attributes and inputs are merged, so it must tell any two settings apart.
    fn attributes(&self) -> String {
        String::new()
    }

    /// The shape rule: the types of the outputs, or what is wrong with the inputs.
    ///
    /// # Errors
    /// A message for the user that names the shapes.
    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, String>;

    /// The gradient rule: for each input the gradient of the loss, or `None` where none flows.
    fn gradient(&self, backward: &Backward<'_>) -> Vec<Option<Value>>;

    /// How it is computed.
    fn kind(&self) -> OpKind<'_>;

    /// For an operator that only puts zeros around its input: how many before and after, along each dimension.
    fn zeros_around(&self) -> Option<&[(usize, usize)]> {
        None
    }
}

/// How an operator is computed.
pub enum OpKind<'a> {
    /// Another view of the input's buffer: costs nothing.
    View(&'a dyn ViewOp),
    /// Each output element depends on the input elements at the same place: can be fused.
    Elementwise(&'a dyn ElementwiseOp),
    /// A kernel of its own.
    Kernel(&'a dyn KernelOp),
}

/// What a gradient rule works on.
pub struct Backward<'a> {
    /// The operator's inputs.
    pub inputs: &'a [Value],
    /// Its outputs.
    pub outputs: &'a [Value],
    /// The gradient of the loss with respect to each output; `None` where none flows.
    pub gradients: &'a [Option<Value>],
}

impl Backward<'_> {
    /// The gradient of the first output. Autodiff calls a rule only if some output has one.
    pub fn dy(&self) -> Value {
        self.gradients[0].unwrap_or_else(|| self.outputs[0].zeros_like())
    }
}

/// An operator that reads its input's buffer through another layout.
pub trait ViewOp {
    /// The layout of the result, or `None` where the input must be copied first.
    fn layout(&self, input: &Layout) -> Option<Layout>;
}

/// The number format that the CPU backend computes `f32` values in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Single precision: the fallback that people train on.
    F32,
    /// Double precision: the oracle that kernels are checked against.
    F64,
}

impl Precision {
    /// Bytes of one element of the given type in host buffers.
    pub const fn element_bytes(self, dtype: DType) -> usize {
        match (self, dtype) {
            (Precision::F64, DType::F32) => 8,
            (_, other) => other.bytes(),
        }
    }
}

/// An operator that can join a fused group.
pub trait ElementwiseOp {
    /// The WGSL expression over the arguments' expressions; `index` is the expression of the element's number.
    fn wgsl(&self, arguments: &[String], index: &str, output: DType) -> String;
    /// WGSL functions that the expression calls.
    fn wgsl_helpers(&self) -> &'static [&'static str];
    /// The same as a loop over a block on the CPU.
    fn block_function(&self, precision: Precision, inputs: &[DType]) -> Option<BlockFunction>;
    /// How many floating-point operations one element counts as.
    fn flops(&self) -> u64;
    /// Whether elements differ though their arguments are alike, as random numbers do.
    fn depends_on_index(&self) -> bool;
    /// The argument that the result always equals, given the arguments that are one known number throughout:
    /// x·1 is x.
    fn same_as(&self, known: &[Option<f32>]) -> Option<usize>;
    /// How exact one element is, given its arguments. For results of type `f32`; others are exact.
    fn accuracy(&self, arithmetic: Arithmetic, arguments: &[f64]) -> Accuracy;
}

/// An operator with a kernel of its own on each backend.
pub trait KernelOp {
    /// Whether the kernels can read input `input` through this layout; otherwise it is copied first.
    fn accepts(&self, _input: usize, layout: &Layout) -> bool {
        layout.is_contiguous()
    }

    /// The output that may be written over an input which nothing reads afterwards. Both are contiguous, of one type and
    /// shape; every element is read before it is written, by the one that writes it or behind a barrier. Then
    /// [`CpuCall::in_place`] and [`GpuCall::in_place`] say whether it is so.
    fn in_place(&self) -> Option<InPlace> {
        None
    }

    /// Computes the outputs on the CPU.
    ///
    /// # Errors
    /// Faults of ours only: shapes were checked while tracing.
    fn cpu(&self, call: &mut CpuCall<'_>) -> Result<(), Error>;

    /// Adds the launches that compute the outputs on a GPU.
    ///
    /// # Errors
    /// If a tensor is beyond what the kernels can address.
    fn gpu(&self, call: &mut GpuCall) -> Result<(), Error>;

    /// Floating-point operations of one run.
    fn flops(&self, inputs: &[TensorType], outputs: &[TensorType]) -> u64;

    /// How exact the results are, given the inputs' types and the largest finite magnitude in each.
    fn accuracy(&self, arithmetic: Arithmetic, inputs: &[TensorType], largest: &[f64]) -> Accuracy;

    /// Computes in double precision what [`Accuracy::summed`] counts units of, for operators whose own results on the
    /// absolute values of their inputs are not that: sums of differences.
    fn magnitudes(&self, _call: &mut CpuCall<'_>) -> Option<Result<(), Error>> {
        None
    }
}

/// An output that lies in the buffer of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InPlace {
    /// The number of the input.
    pub input: usize,
    /// The number of the output.
    pub output: usize,
}

/// One input of a CPU kernel.
pub struct CpuInput<'a> {
    /// The whole buffer.
    pub bytes: &'a [u8],
    /// Where in it the tensor lies.
    pub layout: &'a Layout,
}

/// One run of a CPU kernel: whole input buffers with layouts, and contiguous outputs to fill.
pub struct CpuCall<'a> {
    /// The number format of `f32` values.
    pub precision: Precision,
    /// The inputs.
    pub inputs: Vec<CpuInput<'a>>,
    /// The outputs' bytes, exactly as long as their types say.
    pub outputs: Vec<&'a mut [u8]>,
    /// The outputs' types.
    pub kinds: &'a [TensorType],
    /// Which output holds the elements of an input until it is written; the input itself is then empty.
    pub in_place: Option<InPlace>,
}

impl<'a> CpuInput<'a> {
    /// The elements of a contiguous input.
    pub fn elements<E: bytemuck::Pod>(&self) -> &'a [E] {
        &self.buffer()[self.layout.offset..self.layout.offset + self.layout.shape.elements()]
    }

    /// The whole buffer, for kernels that read through strides.
    pub fn buffer<E: bytemuck::Pod>(&self) -> &'a [E] {
        bytemuck::cast_slice(self.bytes)
    }
}

impl<'a> CpuCall<'a> {
    /// The elements of a contiguous input; none if they lie in the output that is written over them.
    pub fn unless_in_place<E: bytemuck::Pod>(&self, input: usize) -> Option<&'a [E]> {
        let over = self.in_place.is_some_and(|pair| pair.input == input);
        (!over).then(|| self.inputs[input].elements())
    }

    /// The elements of output `index`.
    pub fn output<E: bytemuck::Pod>(&mut self, index: usize) -> &mut [E] {
        bytemuck::cast_slice_mut(self.outputs[index])
    }
}

/// One input or output of a GPU kernel: which buffer, and where in it the tensor lies.
#[derive(Clone, Debug)]
pub struct GpuOperand {
    /// Where in the buffer the tensor lies.
    pub layout: Layout,
    /// Its element type.
    pub dtype: DType,
    /// What messages call the tensor.
    pub label: String,
    /// Bytes of the buffer.
    pub buffer_bytes: u64,
}

/// Where an operand's elements lie along the axes of a launch's work.
#[derive(Clone, Debug)]
pub struct GpuView {
    /// Which operand (inputs first, then outputs).
    pub operand: usize,
    /// Where in its buffer.
    pub view: View,
}

/// A part of a launch's work that one launch can do, see [`GpuCall::cut`].
#[derive(Clone, Debug)]
pub struct GpuPiece {
    /// Where it begins along each axis of the work.
    pub starts: Vec<usize>,
    /// Its size along each axis.
    pub sizes: Vec<usize>,
    /// For each view where its first element lies, counted from the beginning of its window.
    pub offsets: Vec<u32>,
    /// What to bind for each view.
    pub windows: Vec<GpuWindow>,
}

/// What one binding of a launch shows.
#[derive(Clone, Debug)]
pub struct GpuWindow {
    /// Which operand (inputs first, then outputs).
    pub operand: usize,
    /// Which elements of its buffer; `None` for all.
    pub elements: Option<Range<usize>>,
}

/// One launch that an operator asks for. Bindings are numbers into inputs, then outputs.
#[derive(Clone, Debug)]
pub struct GpuLaunch {
    /// The kernel, specialised.
    pub kernel: Kernel,
    /// What each storage binding shows.
    pub windows: Vec<GpuWindow>,
    /// The packed parameter block.
    pub parameters: Vec<u8>,
    /// The grid in workgroups.
    pub groups: [u32; 3],
    /// Loop iterations that the busiest invocation runs at most.
    pub iterations: u64,
}

/// What a kernel operator works on when it lowers itself for a GPU.
pub struct GpuCall {
    /// What messages call the operator: `scope/op#node`.
    pub label: String,
    /// What one binding may show.
    pub limit: BindingLimit,
    /// The inputs.
    pub inputs: Vec<GpuOperand>,
    /// The contiguous outputs.
    pub outputs: Vec<GpuOperand>,
    /// Which output lies in the buffer of an input. A launch may bind that buffer only once.
    pub in_place: Option<InPlace>,
    /// The launches asked for so far.
    pub launches: Vec<GpuLaunch>,
}

impl GpuCall {
    /// Adds a launch of the hand-written shader `name`, with constants replaced and parameters packed by name.
    ///
    /// # Errors
    /// If the shader, a constant or a parameter does not exist: a fault of ours.
    pub fn launch(
        &mut self,
        name: &str,
        constants: &[(&str, u32)],
        parameters: &[(&str, Words<'_>)],
        windows: &[GpuWindow],
        groups: [u32; 3],
    ) -> Result<(), Error> {
        let kernel = gpu_runtime::shader(name)?.specialise(constants)?;
        let parameters = kernel.pack(parameters)?;
        self.launches.push(GpuLaunch { kernel, windows: windows.to_vec(), parameters, groups, iterations: 0 });
        Ok(())
    }

    /// An operand that begins where its layout says, with these strides along the axes of the work.
    pub fn view(&self, operand: usize, strides: impl Into<Vec<usize>>) -> GpuView {
        let offset = self.operand(operand).layout.offset;
        GpuView { operand, view: View { offset, strides: strides.into() } }
    }

    fn operand(&self, operand: usize) -> &GpuOperand {
        self.inputs.get(operand).unwrap_or_else(|| &self.outputs[operand - self.inputs.len()])
    }

    /// Whether some operand's buffer is larger than what one binding may show.
    pub fn is_large(&self) -> bool {
        self.inputs.iter().chain(&self.outputs).any(|operand| operand.buffer_bytes > self.limit.bytes)
    }

    /// Cuts work over the given axes into pieces whose windows fit what one binding may show: one piece, with whole
    /// buffers, unless a buffer is larger. `views` stand in the order of the kernel's bindings.
    ///
    /// Of two pieces that differ along one axis only, the lower comes first: what the first leaves in an output, the
    /// next can go on from.
    ///
    /// # Errors
    /// If an operand cannot be cut so far: an error for the user that names it.
    pub fn cut(&self, axes: &[Axis], views: &[GpuView]) -> Result<Vec<GpuPiece>, Error> {
        let bound = |view: &GpuView| {
            let operand = self.operand(view.operand);
            let (element_bytes, buffer_bytes) = (operand.dtype.bytes(), operand.buffer_bytes);
            Bound { views: vec![view.view.clone()], element_bytes, buffer_bytes }
        };
        let bounds: Vec<Bound> = views.iter().map(bound).collect();
        let pieces = window::cut(axes, &bounds, self.limit).map_err(|window::TooLong { bound, bytes }| {
            too_long(&self.label, &self.operand(views[bound].operand).label, bytes, self.limit)
        })?;
        let mut cut = Vec::with_capacity(pieces.len());
        for piece in pieces {
            let mut offsets = Vec::with_capacity(views.len());
            for (bound, view) in views.iter().enumerate() {
                let start = view.view.offset + window::dot(&piece.starts, &view.view.strides);
                let skipped = piece.windows[bound].as_ref().map_or(0, |window| window.start);
                offsets.push(word(start - skipped, "an offset")?);
            }
            let windows = views.iter().zip(piece.windows);
            let windows = windows.map(|(view, elements)| GpuWindow { operand: view.operand, elements }).collect();
            cut.push(GpuPiece { starts: piece.starts, sizes: piece.sizes, offsets, windows });
        }
        Ok(cut)
    }

    /// Says how many loop iterations the busiest invocation of the last launch runs at most: some software drivers
    /// end an invocation silently after 65,535.
    pub fn loops(&mut self, iterations: usize) {
        if let Some(launch) = self.launches.last_mut() {
            launch.iterations = iterations as u64;
        }
    }
}

/// The error that `operation` needs more of a tensor at once than one binding shows, however it is cut.
pub(crate) fn too_long(operation: &str, tensor: &str, bytes: u64, limit: BindingLimit) -> Error {
    Error::Gpu(gpu_runtime::Error::TooLarge {
        label: tensor.to_string(),
        bytes,
        limit: limit.bytes,
        what: "the largest storage binding",
        remedy: format!(
            "{operation} needs them at once and cannot be cut further: use a smaller tensor, a device with larger \
             bindings (see `wgrad devices`), or the CPU"
        ),
    })
}

/// A number that a shader's `u32` parameter can hold, or an error that says what was too large.
pub(crate) fn word(number: usize, what: &str) -> Result<u32, Error> {
    u32::try_from(number).map_err(|_| {
        Error::Usage(format!("{what} is {number}, beyond what a GPU kernel can address; use a smaller batch or tensor"))
    })
}

/// Many numbers as shader words.
pub(crate) fn words(numbers: &[usize], what: &str) -> Result<Vec<u32>, Error> {
    numbers.iter().map(|&number| word(number, what)).collect()
}

/// The values of a node, for those who need all of them.
pub(crate) fn values_of(node: super::NodeId, count: usize) -> impl Iterator<Item = ValueId> {
    (0..count as u32).map(move |output| ValueId { node, output })
}
