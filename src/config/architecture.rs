//! The kinds of models that a configuration can name, and what they take from the data.

use super::settings::unknown;
use nn_core::Value;
use nn_models::transformer::Head;
use nn_models::{
    Autoencoder, Bert, Cnn, Ddpm, DistilBert, GoogLeNet, Gpt2, Llama, MobileNetV2, Model, ResNet, Seq2Seq, Unet, Vae,
    Vgg,
};
use nn_train::Scope;
use nn_train::nn::{
    Dropout, Elu, Gelu, GeluTanh, Init, Layer, LeakyRelu, Linear, Relu, Sequential, Sigmoid, Silu, Softplus, Tanh,
    TargetKind,
};
use serde::{Deserialize, Serialize};

const ACTIVATIONS: [&str; 10] =
    ["relu", "leaky_relu", "elu", "gelu", "gelu_tanh", "silu", "tanh", "sigmoid", "softplus", "none"];
const INITS: [&str; 5] = ["torch", "xavier_uniform", "xavier_normal", "kaiming_uniform", "kaiming_normal"];

macro_rules! architectures {
    ($($kind:ident($model:ty),)*) => {
        /// `[model]`: the kind, and the settings of that kind.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind", content = "config", rename_all = "snake_case")]
        #[expect(clippy::large_enum_variant, reason = "a run has one or two of them")]
        pub(crate) enum Architecture {
            $($kind($model),)*
        }

        impl Architecture {
            /// The model.
            pub(crate) fn model(&self) -> &dyn Model {
                match self {
                    $(Architecture::$kind(model) => model,)*
                }
            }

            /// The model, to be fitted to data.
            pub(super) fn model_mut(&mut self) -> &mut dyn Model {
                match self {
                    $(Architecture::$kind(model) => model,)*
                }
            }

            /// The model's layer.
            pub(super) fn layer(&self) -> Box<dyn Layer> {
                match self {
                    $(Architecture::$kind(model) => Box::new(model.clone()),)*
                }
            }
        }
    };
}

architectures! {
    Mlp(Mlp),
    Cnn(Cnn),
    Resnet(ResNet),
    Googlenet(GoogLeNet),
    Vgg(Vgg),
    MobilenetV2(MobileNetV2),
    Unet(Unet),
    Autoencoder(Autoencoder),
    Vae(Vae),
    Ddpm(Ddpm),
    Gpt2(Gpt2),
    Llama(Llama),
    Bert(Bert),
    Distilbert(DistilBert),
    Seq2seq(Seq2Seq),
}

impl Architecture {
    /// The model without its head, so that it gives a vector for each text, if it can.
    pub(crate) fn embedding(&self) -> Option<Architecture> {
        let head = Some(Head::Embedding);
        match self {
            Architecture::Bert(model) => Some(Architecture::Bert(Bert { head, ..model.clone() })),
            Architecture::Distilbert(model) => Some(Architecture::Distilbert(DistilBert { head, ..model.clone() })),
            _ => None,
        }
    }
}

/// `[model.config]` of an `mlp`: linear layers with an activation between them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Mlp {
    /// Features of the input, of each hidden layer and of the output. 0 as the first or last takes the data's.
    pub(crate) sizes: Vec<usize>,
    #[serde(default = "relu")]
    pub(crate) activation: String,
    /// How weights begin: `torch` (as `torch.nn.Linear`), or the name of another initialisation.
    #[serde(default = "torch")]
    pub(crate) init: String,
    /// A factor on the initial weights of the `xavier` kinds.
    #[serde(default = "one")]
    pub(crate) gain: f64,
    /// The share of hidden features that training sets to 0.
    #[serde(default)]
    pub(crate) dropout: f32,
}

impl Layer for Mlp {
    fn forward(&self, s: &mut Scope, x: Value) -> Value {
        match self.build() {
            Ok(layers) => layers.forward(s, x),
            Err(message) => {
                s.trace().fail("mlp", message);
                x
            }
        }
    }
}

impl Model for Mlp {
    fn check(&self) -> Result<(), String> {
        self.build().map(|_| ())
    }

    fn sample_shape(&self, data: &[usize]) -> Result<Vec<usize>, String> {
        // A perceptron takes rows of numbers, whatever they show.
        Ok(vec![data.iter().product()])
    }

    fn fit(&mut self, sample: &[usize], targets: TargetKind) -> Result<(), String> {
        let width = sample.iter().product();
        if let [first, .., last] = self.sizes.as_mut_slice() {
            if *first == 0 {
                *first = width;
            }
            if *last == 0 {
                *last = match targets {
                    TargetKind::Classes { count } | TargetKind::Probabilities { count } => count,
                    TargetKind::ClassMaps { count, size } | TargetKind::Sequences { count, length: size } => {
                        count * size
                    }
                    TargetKind::Values { width } => width,
                };
            }
        }
        let first = self.sizes[0];
        if first != width {
            return Err(format!(
                "model.config.sizes begins with {first}, but a row of the data has {width} input numbers; begin with {width}"
            ));
        }
        if self.sizes.contains(&0) {
            return Err(
                "model.config.sizes has a 0 between others; only the first and the last may follow the data".into()
            );
        }
        Ok(())
    }

    fn outputs(&self) -> Option<usize> {
        self.sizes.last().copied().filter(|size| *size > 0)
    }

    fn describe(&self) -> String {
        let sizes: Vec<String> = self.sizes.iter().map(usize::to_string).collect();
        format!("mlp {} {}", sizes.join("-"), self.activation)
    }
}

impl Mlp {
    /// Linear layers with the activation between them, named as `torch.nn.Sequential` names them.
    fn build(&self) -> Result<Sequential, String> {
        let mut model = Sequential::new();
        if self.sizes.len() < 2 {
            return Err("model.config.sizes needs at least two numbers: those of the input and of the output".into());
        }
        if !(self.gain.is_finite() && self.gain > 0.0) {
            return Err(format!("model.config.gain = {} must be above 0", self.gain));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(format!("model.config.dropout = {} must be 0 or more and below 1", self.dropout));
        }
        for (index, pair) in self.sizes.windows(2).enumerate() {
            if index > 0 {
                model = model.add(self.activate()?);
            }
            let linear = Linear::new(pair[0], pair[1]);
            model = model.add(match self.init.as_str() {
                "torch" => linear,
                "xavier_uniform" => linear.init(Init::XavierUniform { gain: self.gain }, Init::Zeros),
                "xavier_normal" => linear.init(Init::XavierNormal { gain: self.gain }, Init::Zeros),
                "kaiming_uniform" => linear.init(Init::KaimingUniform { a: 0.0 }, Init::Zeros),
                "kaiming_normal" => linear.init(Init::KaimingNormal, Init::Zeros),
                other => return Err(unknown("model.config.init", other, &INITS)),
            });
        }
        Ok(model)
    }

    /// Activation and dropout as one layer, so that the names of the layers after it don't depend on the dropout.
    fn activate(&self) -> Result<Sequential, String> {
        let layer = Sequential::new();
        let layer = match self.activation.as_str() {
            "relu" => layer.add(Relu),
            "leaky_relu" => layer.add(LeakyRelu::default()),
            "elu" => layer.add(Elu::default()),
            "gelu" => layer.add(Gelu),
            "gelu_tanh" => layer.add(GeluTanh),
            "silu" => layer.add(Silu),
            "tanh" => layer.add(Tanh),
            "sigmoid" => layer.add(Sigmoid),
            "softplus" => layer.add(Softplus),
            "none" => layer,
            other => return Err(unknown("model.config.activation", other, &ACTIVATIONS)),
        };
        Ok(if self.dropout > 0.0 { layer.add(Dropout::new(self.dropout)) } else { layer })
    }
}

fn relu() -> String {
    "relu".into()
}

fn torch() -> String {
    "torch".into()
}

fn one() -> f64 {
    1.0
}
