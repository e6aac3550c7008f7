//! From configurations to the library's losses, optimisers and schedules.

use super::{Config, Optimizer};
use nn_train::optim::{Adam, AdamW, RmsProp, Sgd};
use nn_train::{Decay, Loss, Order, Schedule};

pub(super) fn unknown(key: &str, value: &str, known: &[&str]) -> String {
    let near = super::nearest(value, known.iter().copied()).unwrap_or_default();
    format!("unknown {key} = {value:?}; the nearest known one is {near:?} (of {})", known.join(", "))
}

impl super::Loss {
    pub(super) fn build(&self) -> Result<Loss, String> {
        Ok(match self.kind.as_str() {
            "cross_entropy" => Loss::CrossEntropy,
            "own" => Loss::Own,
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
