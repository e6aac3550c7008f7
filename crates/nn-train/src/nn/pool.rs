//! Pooling as layers.

use super::Layer;
use super::convolution::Pair;
use crate::scope::Scope;
use nn_core::Value;
use nn_core::ops::PoolOptions;

/// Runs a layer of so many dimensions on one sample without a batch dimension, too, as a batch of one.
#[track_caller]
fn with_batch(s: &mut Scope, name: &str, dimensions: usize, x: Value, pool: impl FnOnce(Value) -> Value) -> Value {
    let shape = x.shape();
    if shape.rank() == dimensions + 2 {
        return pool(x);
    }
    if shape.rank() != dimensions + 1 {
        let wanted = if dimensions == 1 { "[batch, channels, length]" } else { "[batch, channels, height, width]" };
        s.trace().fail(name, format!("{name} needs an input of shape {wanted}, but its input has shape {shape}"));
        return x;
    }
    let batch = x.reshape([&[1], &shape[..]].concat());
    let y = pool(batch);
    // A mistake that the operator has noted leaves the batch as it was.
    if y.id() == batch.id() { x } else { y.reshape(y.shape()[1..].to_vec()) }
}

macro_rules! windows {
    ($(
        $(#[doc = $doc:literal])+
        $name:ident: $method:ident over $dimensions:literal, $size:ty, |$given:ident| $sizes:expr, $($kind:ident)?;
    )*) => {
        $($(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name(PoolOptions);

        impl $name {
            /// Windows of this size, side by side.
            pub fn new(kernel: $size) -> $name {
                let $given = kernel;
                $name(PoolOptions::new($sizes))
            }

            /// Elements of the input from window to window; by default as many as a window has.
            #[must_use]
            pub fn stride(mut self, stride: $size) -> $name {
                let $given = stride;
                self.0.stride = $sizes;
                self
            }

            /// Elements before the input and after it that windows may have, at most half of the kernel.
            #[must_use]
            pub fn padding(mut self, padding: $size) -> $name {
                let $given = padding;
                self.0.padding = $sizes;
                self
            }

            /// Whether a last window that reaches beyond the padded input is kept.
            #[must_use]
            pub fn ceil_mode(mut self, ceil_mode: bool) -> $name {
                self.0.ceil_mode = ceil_mode;
                self
            }

            windows!(@ $($kind)? $name, $size, |$given| $sizes);
        }

        impl Layer for $name {
            #[track_caller]
            fn forward(&self, s: &mut Scope, x: Value) -> Value {
                with_batch(s, stringify!($name), $dimensions, x, |x| x.$method(&self.0))
            }
        })*
    };
    (@ largest $name:ident, $size:ty, |$given:ident| $sizes:expr) => {
        /// Elements of the input between neighbours in a window.
        #[must_use]
        pub fn dilation(mut self, dilation: $size) -> $name {
            let $given = dilation;
            self.0.dilation = $sizes;
            self
        }
    };
    (@ mean $name:ident, $size:ty, |$given:ident| $sizes:expr) => {
        /// Whether means count the padding, as they do by default.
        #[must_use]
        pub fn count_include_pad(mut self, count_include_pad: bool) -> $name {
            self.0.count_include_pad = count_include_pad;
            self
        }
    };
}

macro_rules! adaptive {
    ($(
        $(#[doc = $doc:literal])+
        $name:ident: $method:ident over $dimensions:literal, $size:ty, |$given:ident| $sizes:expr => $kept:ty;
    )*) => {
        $($(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name($kept);

        impl $name {
            /// So many windows.
            pub fn new(output: $size) -> $name {
                let $given = output;
                $name($sizes)
            }
        }

        impl Layer for $name {
            #[track_caller]
            fn forward(&self, s: &mut Scope, x: Value) -> Value {
                with_batch(s, stringify!($name), $dimensions, x, |x| x.$method(self.0))
            }
        })*
    };
}

windows! {
    /// The largest element of each window: `(batch, channels, length)` → `(batch, channels, length')`.
    /// `torch.nn.MaxPool1d`. One sample without a batch dimension will do.
    MaxPool1d: max_pool1d over 1, usize, |size| [1, size], largest;
    /// The largest element of each window: `(batch, channels, height, width)` → `(batch, channels, height', width')`.
    /// `torch.nn.MaxPool2d`. One sample without a batch dimension will do.
    ///
    /// ```
    /// use nn_train::nn::{Conv2d, MaxPool2d, Relu, Sequential};
    /// let stem = Sequential::new()
    ///     .add(Conv2d::new(3, 64, 7).stride(2).padding(3))
    ///     .add(Relu)
    ///     .add(MaxPool2d::new(3).stride(2).padding(1));
    /// ```
    MaxPool2d: max_pool2d over 2, impl Into<Pair>, |size| size.into().0, largest;
    /// The mean of each window: `(batch, channels, length)` → `(batch, channels, length')`. `torch.nn.AvgPool1d`. One
    /// sample without a batch dimension will do.
    AvgPool1d: average_pool1d over 1, usize, |size| [1, size], mean;
    /// The mean of each window: `(batch, channels, height, width)` → `(batch, channels, height', width')`.
    /// `torch.nn.AvgPool2d`. One sample without a batch dimension will do.
    AvgPool2d: average_pool2d over 2, impl Into<Pair>, |size| size.into().0, mean;
}

adaptive! {
    /// The mean of each of so many windows: `(batch, channels, length)` → `(batch, channels, output)`.
    /// `torch.nn.AdaptiveAvgPool1d`. One sample without a batch dimension will do.
    AdaptiveAvgPool1d: adaptive_average_pool1d over 1, usize, |size| size => usize;
    /// The mean of each of so many windows: `(batch, channels, height, width)` → `(batch, channels, output height, output
    /// width)`. `torch.nn.AdaptiveAvgPool2d`. One sample without a batch dimension will do.
    AdaptiveAvgPool2d: adaptive_average_pool2d over 2, impl Into<Pair>, |size| size.into().0 => [usize; 2];
    /// The largest element of each of so many windows: `(batch, channels, length)` → `(batch, channels, output)`.
    /// `torch.nn.AdaptiveMaxPool1d`. One sample without a batch dimension will do.
    AdaptiveMaxPool1d: adaptive_max_pool1d over 1, usize, |size| size => usize;
    /// The largest element of each of so many windows: `(batch, channels, height, width)` → `(batch, channels, output
    /// height, output width)`. `torch.nn.AdaptiveMaxPool2d`. One sample without a batch dimension will do.
    AdaptiveMaxPool2d: adaptive_max_pool2d over 2, impl Into<Pair>, |size| size.into().0 => [usize; 2];
}

impl AvgPool2d {
    /// What means divide by instead of the number of elements. `divisor_override` of PyTorch.
    #[must_use]
    pub fn divisor(mut self, divisor: usize) -> AvgPool2d {
        self.0.divisor = Some(divisor);
        self
    }
}

/// The mean of each channel: `(batch, channels, …)` → `(batch, channels)`, as convolutional networks have it before
/// their last layer. `torch.nn.AdaptiveAvgPool2d(1)` and `torch.nn.Flatten()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GlobalAveragePool;

impl Layer for GlobalAveragePool {
    #[track_caller]
    fn forward(&self, _s: &mut Scope, x: Value) -> Value {
        x.global_average_pool()
    }
}
