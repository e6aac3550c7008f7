//! Convolutions as layers.

use super::Layer;
use crate::scope::{Init, Scope};
use nn_core::Value;
use nn_core::ops::Convolution;

/// A number for height and width, or one for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair(pub [usize; 2]);

impl From<usize> for Pair {
    fn from(both: usize) -> Pair {
        Pair([both; 2])
    }
}

impl From<[usize; 2]> for Pair {
    fn from(sizes: [usize; 2]) -> Pair {
        Pair(sizes)
    }
}

/// Zeros around the input of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// As many as keep the size, where the stride is 1; an odd one comes after. `padding="same"` of PyTorch.
    Same,
    /// So many before and after, for (height, width). One dimension takes the last.
    Around([(usize, usize); 2]),
}

impl From<usize> for Padding {
    fn from(everywhere: usize) -> Padding {
        Padding::Around([(everywhere, everywhere); 2])
    }
}

impl From<[usize; 2]> for Padding {
    fn from(sizes: [usize; 2]) -> Padding {
        Padding::Around(sizes.map(|size| (size, size)))
    }
}

impl From<(usize, usize)> for Padding {
    /// So many before and after along each axis.
    fn from(around: (usize, usize)) -> Padding {
        Padding::Around([around; 2])
    }
}

impl From<[(usize, usize); 2]> for Padding {
    fn from(around: [(usize, usize); 2]) -> Padding {
        Padding::Around(around)
    }
}

/// What all four layers have.
#[derive(Clone, Debug, PartialEq)]
struct Settings {
    /// The layer's name in messages.
    name: &'static str,
    /// 1 or 2; one dimension is the second of each pair.
    dimensions: usize,
    transposed: bool,
    inputs: usize,
    outputs: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: Padding,
    output_padding: [usize; 2],
    dilation: [usize; 2],
    groups: usize,
    bias: bool,
    weight_init: Init,
    /// By the fan-in if none is given.
    bias_init: Option<Init>,
}

impl Settings {
    fn new(name: &'static str, transposed: bool, channels: [usize; 2], kernel: &[usize]) -> Settings {
        let dimensions = kernel.len();
        Settings {
            name,
            dimensions,
            transposed,
            inputs: channels[0],
            outputs: channels[1],
            kernel: if dimensions == 1 { [1, kernel[0]] } else { [kernel[0], kernel[1]] },
            stride: [1; 2],
            padding: Padding::Around([(0, 0); 2]),
            output_padding: [0; 2],
            dilation: [1; 2],
            groups: 1,
            bias: true,
            weight_init: Init::LinearDefault,
            bias_init: None,
        }
    }

    /// The constructor's call, for messages.
    fn call(&self) -> String {
        let kernel = &self.kernel[2 - self.dimensions..];
        let kernel = if kernel.len() == 1 { kernel[0].to_string() } else { format!("{kernel:?}") };
        format!("{}::new({}, {}, {kernel})", self.name, self.inputs, self.outputs)
    }

    /// What the operator needs, or what is wrong with the settings or the input.
    fn options(&self, rank: usize, channels: Option<&usize>, shape: &str) -> Result<Convolution, String> {
        let groups = self.groups;
        let call = self.call();
        let axes = 2 - self.dimensions..2;
        if groups == 0 || !self.inputs.is_multiple_of(groups) || !self.outputs.is_multiple_of(groups) {
            return Err(format!("{call} has channels that {groups} groups don't divide"));
        }
        let sizes = [self.inputs, self.outputs].into_iter().chain(self.kernel[axes.clone()].iter().copied());
        if sizes.into_iter().any(|size| size == 0) {
            return Err(format!("{call} has a size of 0"));
        }
        if rank != self.dimensions + 2 || channels != Some(&self.inputs) {
            let field = if self.dimensions == 1 { "length" } else { "height, width" };
            let wanted = format!("[batch, {}, {field}]", self.inputs);
            return Err(format!("{call} needs an input of shape {wanted}, but its input has shape {shape}"));
        }
        let padding = match self.padding {
            Padding::Around(around) => around,
            Padding::Same if self.transposed => {
                return Err(format!("{call}: padding \"same\" is for convolutions that are not transposed"));
            }
            Padding::Same if self.stride[axes].iter().any(|&stride| stride != 1) => {
                let stride = self.stride;
                return Err(format!(
                    "{call}: padding \"same\" needs a stride of 1, not {stride:?}; give it in numbers"
                ));
            }
            Padding::Same => [0, 1].map(|axis| {
                let total = self.dilation[axis] * (self.kernel[axis] - 1);
                (total / 2, total - total / 2)
            }),
        };
        Ok(Convolution { stride: self.stride, padding, dilation: self.dilation, groups })
    }

    fn forward(&self, s: &mut Scope, x: Value) -> Value {
        let shape = x.shape();
        // One sample without a batch dimension is a batch of one.
        let single = shape.rank() == self.dimensions + 1;
        let channels = if single { shape.first() } else { shape.get(1) };
        let options = match self.options(shape.rank() + usize::from(single), channels, &shape.to_string()) {
            Ok(options) => options,
            Err(message) => {
                s.trace().fail(self.name, message);
                return x;
            }
        };
        let between = if self.transposed { [self.inputs, self.outputs] } else { [self.outputs, self.inputs] };
        let kernel = &self.kernel[2 - self.dimensions..];
        let sizes: Vec<usize> = [between[0], between[1] / self.groups].iter().chain(kernel).copied().collect();
        let weight = s.param("weight", sizes.clone(), self.weight_init);
        let batch = if single { x.reshape([&[1], &shape[..]].concat()) } else { x };
        let y = match (self.transposed, self.dimensions) {
            (false, 1) => batch.conv1d(weight, &options),
            (false, _) => batch.conv2d(weight, &options),
            (true, 1) => batch.conv_transpose1d(weight, &options, self.output_padding[1]),
            (true, _) => batch.conv_transpose2d(weight, &options, self.output_padding),
        };
        if y.id() == batch.id() {
            // A mistake that the operator has noted.
            return x;
        }
        let y = if self.bias {
            let fan_in: usize = sizes[1..].iter().product();
            let bound = 1.0 / (fan_in as f64).sqrt();
            let init = self.bias_init.unwrap_or(Init::Uniform { low: -bound, high: bound });
            let mut each = vec![1; self.dimensions + 1];
            each[0] = self.outputs;
            y + s.param("bias", [self.outputs], init).reshape(each)
        } else {
            y
        };
        if single { y.reshape(y.shape()[1..].to_vec()) } else { y }
    }
}

macro_rules! layers {
    ($(
        $(#[doc = $doc:literal])+
        $name:ident($($transposed:ident)?), $size:ty, |$given:ident| $sizes:expr;
    )*) => {
        $($(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name(Settings);

        impl $name {
            /// A layer from `inputs` to `outputs` channels, with a kernel of this size, stride 1, no padding and a bias.
            pub fn new(inputs: usize, outputs: usize, kernel: $size) -> $name {
                let $given = kernel;
                $name(Settings::new(stringify!($name), layers!(@ $($transposed)?), [inputs, outputs], &$sizes))
            }

            /// Elements of the input (of the output if transposed) between places of the kernel.
            #[must_use]
            pub fn stride(mut self, stride: $size) -> $name {
                let $given = stride;
                self.0.stride = both(&$sizes);
                self
            }

            /// Zeros around the input; if transposed, as many elements fewer around the output.
            #[must_use]
            pub fn padding(mut self, padding: impl Into<Padding>) -> $name {
                self.0.padding = padding.into();
                self
            }

            /// Elements of the input (of the output if transposed) between neighbours of the kernel.
            #[must_use]
            pub fn dilation(mut self, dilation: $size) -> $name {
                let $given = dilation;
                self.0.dilation = both(&$sizes);
                self
            }

            /// Parts of the channels: each part of the output's is computed from the same part of the input's.
            #[must_use]
            pub fn groups(mut self, groups: usize) -> $name {
                self.0.groups = groups;
                self
            }

            /// With or without a bias.
            #[must_use]
            pub fn bias(mut self, bias: bool) -> $name {
                self.0.bias = bias;
                self
            }

            /// How weight and bias begin.
            #[must_use]
            pub fn init(mut self, weight: Init, bias: Init) -> $name {
                (self.0.weight_init, self.0.bias_init) = (weight, Some(bias));
                self
            }

            $(
            /// Elements more at the output's end, fewer than the stride.
            #[must_use]
            pub fn output_padding(mut self, $transposed: $size) -> $name {
                let $given = $transposed;
                self.0.output_padding = both(&$sizes);
                self
            })?
        }

        impl Layer for $name {
            fn forward(&self, s: &mut Scope, x: Value) -> Value {
                self.0.forward(s, x)
            }
        })*
    };
    (@) => { false };
    (@ $transposed:ident) => { true };
}

/// A size for each axis, of one or two.
fn both(sizes: &[usize]) -> [usize; 2] {
    if sizes.len() == 1 { [1, sizes[0]] } else { [sizes[0], sizes[1]] }
}

layers! {
    /// Convolution over one dimension: `(batch, inputs, length)` → `(batch, outputs, length')`. `torch.nn.Conv1d`.
    ///
    /// Parameters: `weight [outputs, inputs/groups, kernel]` and `bias [outputs]`, both evenly distributed within
    /// ±1/√(inputs/groups·kernel) at first, as PyTorch does. One sample without a batch dimension will do.
    Conv1d(), usize, |size| [size];
    /// Convolution over two dimensions: `(batch, inputs, height, width)` → `(batch, outputs, height', width')`.
    /// `torch.nn.Conv2d`.
    ///
    /// Parameters: `weight [outputs, inputs/groups, height, width]` and `bias [outputs]`, both evenly distributed within
    /// ±1/√(inputs/groups·height·width) at first, as PyTorch does. One sample without a batch dimension will do.
    ///
    /// ```
    /// use nn_train::nn::{Conv2d, Padding, Relu, Sequential};
    /// let model = Sequential::new()
    ///     .add(Conv2d::new(3, 16, 3).padding(1))
    ///     .add(Relu)
    ///     .add(Conv2d::new(16, 16, [3, 5]).padding(Padding::Same).groups(16))
    ///     .add(Conv2d::new(16, 32, 1).stride(2).bias(false));
    /// ```
    Conv2d(), impl Into<Pair>, |size| size.into().0;
    /// Transposed convolution over one dimension: `(batch, inputs, length)` → `(batch, outputs, length')`.
    /// `torch.nn.ConvTranspose1d`.
    ///
    /// Parameters: `weight [inputs, outputs/groups, kernel]` and `bias [outputs]`, both evenly distributed within
    /// ±1/√(outputs/groups·kernel) at first, as PyTorch does. One sample without a batch dimension will do.
    ConvTranspose1d(output_padding), usize, |size| [size];
    /// Transposed convolution over two dimensions: `(batch, inputs, height, width)` → `(batch, outputs, height', width')`.
    /// `torch.nn.ConvTranspose2d`.
    ///
    /// Parameters: `weight [inputs, outputs/groups, height, width]` and `bias [outputs]`, both evenly distributed within
    /// ±1/√(outputs/groups·height·width) at first, as PyTorch does. One sample without a batch dimension will do.
    ConvTranspose2d(output_padding), impl Into<Pair>, |size| size.into().0;
}
