//! From configurations to the library's models, losses, optimisers and schedules.

use super::{Config, Mlp, Optimizer};
use nn_train::nn::{
    Dropout, Elu, Gelu, GeluTanh, Init, LeakyRelu, Linear, Relu, Sequential, Sigmoid, Silu, Softplus, Tanh,
};
use nn_train::optim::{Adam, AdamW, RmsProp, Sgd};
use nn_train::{Decay, Loss, Order, Schedule};

const ACTIVATIONS: [&str; 10] =
    ["relu", "leaky_relu", "elu", "gelu", "gelu_tanh", "silu", "tanh", "sigmoid", "softplus", "none"];
const INITS: [&str; 5] = ["torch", "xavier_uniform", "xavier_normal", "kaiming_uniform", "kaiming_normal"];

fn unknown(key: &str, value: &str, known: &[&str]) -> String {
    let near = super::nearest(value, known.iter().copied()).unwrap_or_default();
    format!("unknown {key} = {value:?}; the nearest known one is {near:?} (of {})", known.join(", "))
}

impl Mlp {
    /// Linear layers with the activation between them, named as `torch.nn.Sequential` names them.
    pub(super) fn build(&self) -> Result<Sequential, String> {
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

impl super::Loss {
    pub(super) fn build(&self) -> Result<Loss, String> {
        Ok(match self.kind.as_str() {
            "cross_entropy" => Loss::CrossEntropy,
            "binary_cross_entropy" => Loss::BinaryCrossEntropy,
            "mse" => Loss::Mse,
            "mse_one_hot" => Loss::MseOneHot,
            "l1" => Loss::L1,
            "huber" => Loss::Huber { delta: self.delta.unwrap_or(1.0) },
            other => return Err(format!("unknown loss.kind = {other:?}")),
        })
    }
}

impl Optimizer {
    /// The optimiser, with the library's (that is PyTorch's) defaults for what is not said.
    pub(super) fn build(&self) -> Result<nn_train::Optimizer, String> {
        let decay = match self.decay.as_str() {
            "all" => Decay::All,
            "matrices" => Decay::Matrices,
            other => return Err(unknown("optimizer.decay", other, &["all", "matrices"])),
        };
        let optimizer: nn_train::Optimizer = match self.kind.as_str() {
            "sgd" => {
                let sgd = Sgd::new(self.lr.unwrap_or(1e-2)).momentum(self.momentum.unwrap_or(0.0)).decay(decay);
                sgd.nesterov(self.nesterov.unwrap_or(false)).weight_decay(self.weight_decay.unwrap_or(0.0)).into()
            }
            "adam" => {
                let mut adam = Adam::new(self.lr.unwrap_or(1e-3)).decay(decay);
                (adam.betas, adam.eps) = (self.betas.unwrap_or(adam.betas), self.eps.unwrap_or(adam.eps));
                adam.weight_decay(self.weight_decay.unwrap_or(adam.weight_decay)).into()
            }
            "adamw" => {
                let mut adamw = AdamW::new(self.lr.unwrap_or(1e-3)).decay(decay);
                (adamw.betas, adamw.eps) = (self.betas.unwrap_or(adamw.betas), self.eps.unwrap_or(adamw.eps));
                adamw.weight_decay(self.weight_decay.unwrap_or(adamw.weight_decay)).into()
            }
            "rmsprop" => {
                let mut rms_prop = RmsProp::new(self.lr.unwrap_or(1e-2)).decay(decay);
                (rms_prop.alpha, rms_prop.eps) =
                    (self.alpha.unwrap_or(rms_prop.alpha), self.eps.unwrap_or(rms_prop.eps));
                let rms_prop = rms_prop.momentum(self.momentum.unwrap_or(0.0));
                rms_prop.weight_decay(self.weight_decay.unwrap_or(0.0)).into()
            }
            other => return Err(format!("unknown optimizer.kind = {other:?}")),
        };
        optimizer.check().map_err(|error| error.to_string())?;
        Ok(optimizer)
    }

    /// Writes down the defaults that [`Optimizer::build`] takes.
    pub(super) fn fill(&mut self) -> Result<(), String> {
        match self.build()? {
            nn_train::Optimizer::Sgd(Sgd { lr, momentum, nesterov, weight_decay, .. }) => {
                (self.lr, self.momentum) = (Some(lr), Some(momentum));
                (self.nesterov, self.weight_decay) = (Some(nesterov), Some(weight_decay));
            }
            nn_train::Optimizer::Adam(Adam { lr, betas, eps, weight_decay, .. })
            | nn_train::Optimizer::AdamW(AdamW { lr, betas, eps, weight_decay, .. }) => {
                (self.lr, self.betas) = (Some(lr), Some(betas));
                (self.eps, self.weight_decay) = (Some(eps), Some(weight_decay));
            }
            nn_train::Optimizer::RmsProp(RmsProp { lr, alpha, eps, momentum, weight_decay, .. }) => {
                (self.lr, self.alpha, self.eps) = (Some(lr), Some(alpha), Some(eps));
                (self.momentum, self.weight_decay) = (Some(momentum), Some(weight_decay));
            }
        }
        Ok(())
    }
}

impl Config {
    pub(super) fn build_schedule(&self) -> Result<Schedule, String> {
        let super::Schedule { kind, warmup, min_lr } = &self.schedule;
        let (warmup, min_lr) = (*warmup, *min_lr);
        if !(min_lr.is_finite() && min_lr >= 0.0) {
            return Err(format!("schedule.min_lr = {min_lr} must be 0 or more"));
        }
        Ok(match kind.as_str() {
            "constant" if warmup > 0 => Schedule::Warmup { warmup },
            "constant" => Schedule::Constant,
            "linear" => Schedule::Linear { warmup, min_lr },
            "cosine" => Schedule::Cosine { warmup, min_lr },
            other => return Err(format!("unknown schedule.kind = {other:?}")),
        })
    }

    pub(super) fn build_order(&self) -> Result<Order, String> {
        match self.data.order.as_deref() {
            None | Some("shuffled") => Ok(Order::Shuffled),
            Some("sequential") => Ok(Order::Sequential),
            Some(other) => Err(unknown("data.order", other, &["shuffled", "sequential"])),
        }
    }
}
