//! Normalisation layers: batch, layer, RMS, group and instance norm.

use super::Layer;
use crate::scope::{Init, Scope};
use nn_core::{Shape, Value};

/// PyTorch's default of what is added to the variance.
const EPS: f32 = 1e-5;

macro_rules! builders {
    ($layer:ident: $($(#[doc = $doc:literal])+ $field:ident: $kind:ty;)*) => {
        impl $layer {
            $($(#[doc = $doc])+
            #[must_use]
            pub fn $field(mut self, $field: $kind) -> $layer {
                self.$field = $field;
                self
            })*
        }
    };
}

/// The parameters `weight` (ones) and `bias` (zeros) of this shape, seen as of shape `as_shape`.
fn parameters(s: &mut Scope, shape: &[usize], as_shape: &[usize], bias: bool) -> (Value, Option<Value>) {
    let weight = s.param("weight", shape, Init::Ones).reshape(as_shape);
    (weight, bias.then(|| s.param("bias", shape, Init::Zeros).reshape(as_shape)))
}

/// `[features, 1, …]`: broadcast to a tensor of the given rank, it lies along dimension 1.
fn along_channels(features: usize, rank: usize) -> Vec<usize> {
    let mut shape = vec![1; rank - 1];
    shape[0] = features;
    shape
}

macro_rules! batch_norm {
    ($(#[doc = $doc:literal])+ $layer:ident, $ranks:pat, $shapes:literal) => {
        $(#[doc = $doc])+
        ///
        /// In training each channel is normalised by its mean and variance in the batch, and the running statistics take
        /// them up: running ← (1 − momentum) · running + momentum · batch, with the variance times n/(n − 1). Elsewhere the
        /// running statistics stand in their place.
        ///
        /// Parameters: `weight [features]`, ones at first, and `bias [features]`, zeros. States that are not trained:
        /// `running_mean [features]`, zeros at first, and `running_var [features]`, ones. PyTorch's
        /// `num_batches_tracked` is not kept.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct $layer {
            features: usize,
            eps: f32,
            momentum: f32,
            affine: bool,
            track_running_stats: bool,
        }

        impl $layer {
            /// PyTorch's defaults: eps 1e-5, momentum 0.1, with weight and bias, with running statistics.
            pub fn new(features: usize) -> $layer {
                $layer { features, eps: EPS, momentum: 0.1, affine: true, track_running_stats: true }
            }
        }

        builders! { $layer:
            /// Sets what is added to the variance.
            eps: f32;
            /// Sets which part of the running statistics each batch makes up.
            momentum: f32;
            /// With or without weight and bias.
            affine: bool;
            /// With or without running statistics; without them those of the batch serve everywhere.
            track_running_stats: bool;
        }

        impl Layer for $layer {
            fn forward(&self, s: &mut Scope, x: Value) -> Value {
                if !matches!(x.shape().rank(), $ranks) || x.shape()[1] != self.features {
                    let message = format!(
                        concat!(stringify!($layer), "::new({}) needs an input of shape ", $shapes, " with {} channels in \
                         dimension 1, but it has shape {}"),
                        self.features, self.features, x.shape()
                    );
                    s.trace().fail("batch_norm", message);
                    return x;
                }
                let $layer { features, eps, momentum, affine, track_running_stats } = *self;
                BatchNorm { features, eps, momentum, affine, track_running_stats }.forward(s, x)
            }
        }
    };
}

batch_norm! {
    /// Batch normalisation (Ioffe and Szegedy, 2015) of features `(batch, features)` or sequences `(batch, features,
    /// length)`. `torch.nn.BatchNorm1d`.
    BatchNorm1d, 2 | 3, "[batch, features] or [batch, features, length]"
}
batch_norm! {
    /// Batch normalisation (Ioffe and Szegedy, 2015) of images `(batch, features, height, width)`.
    /// `torch.nn.BatchNorm2d`.
    BatchNorm2d, 4, "[batch, features, height, width]"
}

/// What the batch norms share, once the shape is known to fit.
struct BatchNorm {
    features: usize,
    eps: f32,
    momentum: f32,
    affine: bool,
    track_running_stats: bool,
}

impl BatchNorm {
    fn forward(&self, s: &mut Scope, x: Value) -> Value {
        let shape = x.shape();
        if !(0.0..=1.0).contains(&self.momentum) {
            s.trace().fail("batch_norm", format!("the momentum {} is not in 0 ≤ momentum ≤ 1", self.momentum));
        }
        let channels = along_channels(self.features, shape.rank());
        let affine = self.affine.then(|| parameters(s, &[self.features], &channels, true));
        let (weight, bias) = affine.map_or((None, None), |(weight, bias)| (Some(weight), bias));
        let running = self.track_running_stats.then(|| {
            let mean = s.state("running_mean", [self.features], Init::Zeros);
            (mean, s.state("running_var", [self.features], Init::Ones))
        });
        if let (Some((mean, variance)), false) = (running, s.training()) {
            // At the full shape, so that all of it is one launch.
            let spread = |statistic: Value| statistic.reshape(&channels[..]).broadcast_to(shape.clone());
            let y = (x - spread(mean)) * (spread(variance) + self.eps).rsqrt();
            let y = weight.map_or(y, |weight| y * weight);
            return bias.map_or(y, |bias| y + bias);
        }
        let values = shape.elements() / self.features;
        if s.training() && values == 1 {
            let message = format!(
                "expected more than 1 value per channel when training, but the input has shape {shape}: the variance of \
                 one value says nothing; choose a batch size that leaves no batch of one row, at the end of an epoch too"
            );
            s.trace().fail("batch_norm", message);
        }
        let axes: Vec<usize> = (0..shape.rank()).filter(|&axis| axis != 1).collect();
        if let Some((mean, variance)) = running {
            let batch = x.moments(&axes, self.eps);
            let mut update = |name: &str, running: Value, batch: Value, factor: f32| {
                let batch = batch.reshape([self.features]);
                s.update(name, running * (1.0 - self.momentum) + batch * (self.momentum * factor));
            };
            update("running_mean", mean, batch.mean, 1.0);
            let unbiased = (values as f64 / (values as f64 - 1.0)) as f32;
            update("running_var", variance, batch.variance, unbiased);
        }
        x.normalise(&axes, self.eps, weight, bias)
    }
}

/// Normalises over the last dimensions, which are those of `own`, seen as one.
fn in_rows(x: Value, own: &Shape, normalise: impl FnOnce(Value) -> Value) -> Value {
    if own.rank() == 1 {
        return normalise(x);
    }
    let shape = x.shape();
    let leading = shape[..shape.rank() - own.rank()].iter().copied();
    let rows: Vec<usize> = leading.chain([own.elements()]).collect();
    normalise(x.reshape(rows)).reshape(shape)
}

/// Layer normalisation (Ba et al., 2016) over the last dimensions, sample by sample. `torch.nn.LayerNorm`.
///
/// Parameters: `weight`, ones at first, and `bias`, zeros, both of the normalised shape.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerNorm {
    normalized_shape: Shape,
    eps: f32,
    elementwise_affine: bool,
    bias: bool,
}

impl LayerNorm {
    /// Over the last dimensions, which must be of these sizes. PyTorch's defaults: eps 1e-5, with weight and bias.
    pub fn new(normalized_shape: impl Into<Shape>) -> LayerNorm {
        LayerNorm { normalized_shape: normalized_shape.into(), eps: EPS, elementwise_affine: true, bias: true }
    }
}

builders! { LayerNorm:
    /// Sets what is added to the variance.
    eps: f32;
    /// With or without weight and bias.
    elementwise_affine: bool;
    /// With or without a bias beside the weight.
    bias: bool;
}

impl Layer for LayerNorm {
    fn forward(&self, s: &mut Scope, x: Value) -> Value {
        let (shape, own) = (x.shape(), &self.normalized_shape);
        if own.rank() == 0 || !shape.ends_with(own) {
            let message = format!("LayerNorm::new({own}) needs these last dimensions, but its input has shape {shape}");
            s.trace().fail("layer_norm", message);
            return x;
        }
        let affine = self.elementwise_affine.then(|| parameters(s, own, &[own.elements()], self.bias));
        let (weight, bias) = affine.map_or((None, None), |(weight, bias)| (Some(weight), bias));
        in_rows(x, own, |rows| rows.layer_norm(weight, bias, self.eps))
    }
}

/// Normalisation by the root mean square (Zhang and Sennrich, 2019) over the last dimensions, sample by sample.
/// `torch.nn.RMSNorm`.
///
/// Parameter: `weight`, ones at first, of the normalised shape.
#[derive(Clone, Debug, PartialEq)]
pub struct RmsNorm {
    normalized_shape: Shape,
    eps: f32,
    elementwise_affine: bool,
}

impl RmsNorm {
    /// Over the last dimensions, which must be of these sizes. PyTorch's defaults: eps 2⁻²³, with weight.
    pub fn new(normalized_shape: impl Into<Shape>) -> RmsNorm {
        RmsNorm { normalized_shape: normalized_shape.into(), eps: f32::EPSILON, elementwise_affine: true }
    }
}

builders! { RmsNorm:
    /// Sets what is added to the mean square.
    eps: f32;
    /// With or without weight.
    elementwise_affine: bool;
}

impl Layer for RmsNorm {
    fn forward(&self, s: &mut Scope, x: Value) -> Value {
        let (shape, own) = (x.shape(), &self.normalized_shape);
        if own.rank() == 0 || !shape.ends_with(own) {
            let message = format!("RmsNorm::new({own}) needs these last dimensions, but its input has shape {shape}");
            s.trace().fail("rms_norm", message);
            return x;
        }
        let weight = self.elementwise_affine.then(|| parameters(s, own, &[own.elements()], false).0);
        in_rows(x, own, |rows| rows.rms_norm(weight, self.eps))
    }
}

/// Group normalisation (Wu and He, 2018): the channels, dimension 1, of each sample in groups. `torch.nn.GroupNorm`.
///
/// Parameters: `weight [channels]`, ones at first, and `bias [channels]`, zeros.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupNorm {
    groups: usize,
    channels: usize,
    eps: f32,
    affine: bool,
}

impl GroupNorm {
    /// So many groups, which must divide the channels. PyTorch's defaults: eps 1e-5, with weight and bias.
    pub fn new(groups: usize, channels: usize) -> GroupNorm {
        GroupNorm { groups, channels, eps: EPS, affine: true }
    }
}

builders! { GroupNorm:
    /// Sets what is added to the variance.
    eps: f32;
    /// With or without weight and bias.
    affine: bool;
}

impl Layer for GroupNorm {
    fn forward(&self, s: &mut Scope, x: Value) -> Value {
        let (shape, GroupNorm { groups, channels, .. }) = (x.shape(), *self);
        let problem = if groups == 0 || !channels.is_multiple_of(groups) {
            Some("the groups must divide the channels".to_string())
        } else if shape.rank() < 2 || shape[1] != channels {
            Some(format!("its input needs {channels} channels in dimension 1, but it has shape {shape}"))
        } else {
            None
        };
        if let Some(problem) = problem {
            s.trace().fail("group_norm", format!("GroupNorm::new({groups}, {channels}): {problem}"));
            return x;
        }
        let members = channels / groups;
        let affine = self.affine.then(|| parameters(s, &[channels], &[groups, members, 1], true));
        let (weight, bias) = affine.map_or((None, None), |(weight, bias)| (Some(weight), bias));
        let places: usize = shape[2..].iter().product();
        let grouped = x.reshape([shape[0], groups, members, places]);
        grouped.normalise(&[2, 3], self.eps, weight, bias).reshape(shape)
    }
}

macro_rules! instance_norm {
    ($(#[doc = $doc:literal])+ $layer:ident, $rank:literal, $shape:literal) => {
        $(#[doc = $doc])+
        /// The same in training and elsewhere: it keeps no running statistics.
        ///
        /// Parameters, only with `affine(true)`: `weight [features]`, ones at first, and `bias [features]`, zeros.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct $layer {
            features: usize,
            eps: f32,
            affine: bool,
        }

        impl $layer {
            /// PyTorch's defaults: eps 1e-5, without weight and bias.
            pub fn new(features: usize) -> $layer {
                $layer { features, eps: EPS, affine: false }
            }
        }

        builders! { $layer:
            /// Sets what is added to the variance.
            eps: f32;
            /// With or without weight and bias.
            affine: bool;
        }

        impl Layer for $layer {
            fn forward(&self, s: &mut Scope, x: Value) -> Value {
                let shape = x.shape();
                let problem = if shape.rank() != $rank || shape[1] != self.features {
                    Some(format!(concat!("needs an input of shape ", $shape, " with {} channels"), self.features))
                } else if s.training() && shape[2..].iter().product::<usize>() == 1 {
                    Some("needs more than 1 value per channel and sample when training".to_string())
                } else {
                    None
                };
                if let Some(problem) = problem {
                    let features = self.features;
                    let layer = stringify!($layer);
                    s.trace().fail("instance_norm", format!("{layer}::new({features}) {problem}, but it has shape {shape}"));
                    return x;
                }
                let channels = along_channels(self.features, $rank);
                let affine = self.affine.then(|| parameters(s, &[self.features], &channels, true));
                let (weight, bias) = affine.map_or((None, None), |(weight, bias)| (Some(weight), bias));
                x.normalise(&(2..$rank).collect::<Vec<_>>(), self.eps, weight, bias)
            }
        }
    };
}

instance_norm! {
    /// Instance normalisation (Ulyanov et al., 2016) of sequences `(batch, features, length)`: each channel of each sample
    /// by itself. `torch.nn.InstanceNorm1d`.
    InstanceNorm1d, 3, "[batch, features, length]"
}
instance_norm! {
    /// Instance normalisation (Ulyanov et al., 2016) of images `(batch, features, height, width)`: each channel of each
    /// sample by itself. `torch.nn.InstanceNorm2d`.
    InstanceNorm2d, 4, "[batch, features, height, width]"
}
