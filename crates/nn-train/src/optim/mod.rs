//! Optimisers: passes that append in-place updates of the parameters to a graph with gradients.

mod gradients;
mod schedule;
mod update;

pub use gradients::clip_gradients;
pub use schedule::Schedule;

use nn_core::{Error, Graph, Shape};

/// Which parameters weight decay touches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Decay {
    /// Every parameter, as `torch.optim` does.
    #[default]
    All,
    /// Those of two dimensions or more: weights, but neither biases nor the scales of normalisations.
    Matrices,
}

/// Gradient descent, with or without momentum. `torch.optim.SGD`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// The learning rate, before the schedule.
    pub lr: f64,
    /// How much of the last update goes on; 0 keeps no state.
    pub momentum: f64,
    /// Whether to look ahead (Nesterov).
    pub nesterov: bool,
    /// The factor of the parameter that is added to its gradient.
    pub weight_decay: f64,
    /// Which parameters decay.
    pub decay: Decay,
}

/// Adam (Kingma and Ba, 2015); weight decay is added to the gradient. `torch.optim.Adam`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// The learning rate, before the schedule.
    pub lr: f64,
    /// How slowly the averages of the gradient and of its square move.
    pub betas: [f64; 2],
    /// Added to the denominator.
    pub eps: f64,
    /// The factor of the parameter that is added to its gradient.
    pub weight_decay: f64,
    /// Which parameters decay.
    pub decay: Decay,
}

/// Adam with decoupled weight decay (Loshchilov and Hutter, 2019). `torch.optim.AdamW`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// The learning rate, before the schedule.
    pub lr: f64,
    /// How slowly the averages of the gradient and of its square move.
    pub betas: [f64; 2],
    /// Added to the denominator.
    pub eps: f64,
    /// Parameters shrink by the learning rate times this at each step.
    pub weight_decay: f64,
    /// Which parameters decay.
    pub decay: Decay,
}

/// RMSprop (Hinton, 2012). `torch.optim.RMSprop`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RmsProp {
    /// The learning rate, before the schedule.
    pub lr: f64,
    /// How slowly the average of the squared gradient moves.
    pub alpha: f64,
    /// Added to the denominator.
    pub eps: f64,
    /// How much of the last update goes on; 0 keeps no state for it.
    pub momentum: f64,
    /// The factor of the parameter that is added to its gradient.
    pub weight_decay: f64,
    /// Which parameters decay.
    pub decay: Decay,
}

macro_rules! builders {
    ($optimizer:ident: $($(#[doc = $doc:literal])+ $field:ident: $kind:ty;)*) => {
        impl $optimizer {
            $($(#[doc = $doc])+
            #[must_use]
            pub fn $field(mut self, $field: $kind) -> $optimizer {
                self.$field = $field;
                self
            })*
        }
    };
}

builders! { Sgd:
    /// Sets how much of the last update goes on.
    momentum: f64;
    /// Sets whether to look ahead.
    nesterov: bool;
    /// Sets the weight decay.
    weight_decay: f64;
    /// Sets which parameters decay.
    decay: Decay;
}
builders! { Adam:
    /// Sets how slowly the averages move.
    betas: [f64; 2];
    /// Sets what is added to the denominator.
    eps: f64;
    /// Sets the weight decay.
    weight_decay: f64;
    /// Sets which parameters decay.
    decay: Decay;
}
builders! { AdamW:
    /// Sets how slowly the averages move.
    betas: [f64; 2];
    /// Sets what is added to the denominator.
    eps: f64;
    /// Sets the weight decay.
    weight_decay: f64;
    /// Sets which parameters decay.
    decay: Decay;
}
builders! { RmsProp:
    /// Sets how slowly the average moves.
    alpha: f64;
    /// Sets what is added to the denominator.
    eps: f64;
    /// Sets how much of the last update goes on.
    momentum: f64;
    /// Sets the weight decay.
    weight_decay: f64;
    /// Sets which parameters decay.
    decay: Decay;
}

impl Sgd {
    /// Plain gradient descent with the given learning rate.
    pub fn new(lr: f64) -> Sgd {
        Sgd { lr, momentum: 0.0, nesterov: false, weight_decay: 0.0, decay: Decay::All }
    }
}

impl Adam {
    /// PyTorch's defaults: betas 0.9 and 0.999, eps 1e-8, no weight decay.
    pub fn new(lr: f64) -> Adam {
        Adam { lr, betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.0, decay: Decay::All }
    }
}

impl AdamW {
    /// PyTorch's defaults: betas 0.9 and 0.999, eps 1e-8, weight decay 0.01.
    pub fn new(lr: f64) -> AdamW {
        AdamW { lr, betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.01, decay: Decay::All }
    }
}

impl RmsProp {
    /// PyTorch's defaults: alpha 0.99, eps 1e-8, no momentum, no weight decay.
    pub fn new(lr: f64) -> RmsProp {
        RmsProp { lr, alpha: 0.99, eps: 1e-8, momentum: 0.0, weight_decay: 0.0, decay: Decay::All }
    }
}

/// Any of the optimisers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimizer {
    /// Gradient descent.
    Sgd(Sgd),
    /// Adam.
    Adam(Adam),
    /// Adam with decoupled weight decay.
    AdamW(AdamW),
    /// RMSprop.
    RmsProp(RmsProp),
}

macro_rules! from {
    ($($optimizer:ident)*) => {
        $(impl From<$optimizer> for Optimizer {
            fn from(optimizer: $optimizer) -> Optimizer {
                Optimizer::$optimizer(optimizer)
            }
        })*
    };
}
from! { Sgd Adam AdamW RmsProp }

/// A tensor that an optimiser keeps between steps: `f32`, zero at first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDeclaration {
    /// Its name: `optimizer/<what>/<parameter>`.
    pub name: String,
    /// Its sizes: the parameter's.
    pub shape: Shape,
}

impl Optimizer {
    /// The learning rate before the schedule.
    pub fn learning_rate(&self) -> f64 {
        match self {
            Optimizer::Sgd(Sgd { lr, .. })
            | Optimizer::Adam(Adam { lr, .. })
            | Optimizer::AdamW(AdamW { lr, .. })
            | Optimizer::RmsProp(RmsProp { lr, .. }) => *lr,
        }
    }

    /// The name in configurations.
    pub fn name(&self) -> &'static str {
        match self {
            Optimizer::Sgd(_) => "sgd",
            Optimizer::Adam(_) => "adam",
            Optimizer::AdamW(_) => "adamw",
            Optimizer::RmsProp(_) => "rmsprop",
        }
    }

    /// The states that it keeps for these parameters (names and shapes).
    pub fn states(&self, parameters: &[(String, Shape)]) -> Vec<StateDeclaration> {
        let kinds: &[&str] = match self {
            Optimizer::Sgd(sgd) if sgd.momentum == 0.0 => &[],
            Optimizer::Sgd(_) => &["momentum"],
            Optimizer::Adam(_) | Optimizer::AdamW(_) => &["m", "v"],
            Optimizer::RmsProp(rms_prop) if rms_prop.momentum == 0.0 => &["square_average"],
            Optimizer::RmsProp(_) => &["square_average", "momentum"],
        };
        let state = |(name, shape): &(String, Shape), kind: &&str| StateDeclaration {
            name: format!("optimizer/{kind}/{name}"),
            shape: shape.clone(),
        };
        parameters.iter().flat_map(|parameter| kinds.iter().map(move |kind| state(parameter, kind))).collect()
    }

    /// Whether the settings make sense.
    ///
    /// # Errors
    /// The setting that does not, with its range.
    pub fn check(&self) -> Result<(), Error> {
        let below_one = |number: &f64| (0.0..1.0).contains(number);
        let not_negative = |number: &f64| number.is_finite() && *number >= 0.0;
        let lr = self.learning_rate();
        let mut wrong = (!not_negative(&lr)).then(|| format!("lr = {lr} (0 or more)"));
        let mut check = |fits: bool, what: &str, value: f64, range: &str| {
            if !fits {
                wrong.get_or_insert(format!("{what} = {value} ({range})"));
            }
        };
        let (weight_decay, momentum, nesterov) = match self {
            Optimizer::Sgd(sgd) => (sgd.weight_decay, sgd.momentum, sgd.nesterov),
            Optimizer::Adam(Adam { betas, eps, weight_decay, .. })
            | Optimizer::AdamW(AdamW { betas, eps, weight_decay, .. }) => {
                betas.iter().for_each(|beta| check(below_one(beta), "a beta", *beta, "0 or more, below 1"));
                check(not_negative(eps), "eps", *eps, "0 or more");
                (*weight_decay, 0.0, false)
            }
            Optimizer::RmsProp(rms_prop) => {
                check(below_one(&rms_prop.alpha), "alpha", rms_prop.alpha, "0 or more, below 1");
                check(not_negative(&rms_prop.eps), "eps", rms_prop.eps, "0 or more");
                (rms_prop.weight_decay, rms_prop.momentum, false)
            }
        };
        check(not_negative(&weight_decay), "weight_decay", weight_decay, "0 or more");
        check(not_negative(&momentum), "momentum", momentum, "0 or more");
        check(!nesterov || momentum > 0.0, "momentum", momentum, "nesterov needs one above 0");
        match wrong {
            Some(wrong) => Err(Error::Usage(format!("the optimizer {} cannot have {wrong}", self.name()))),
            None => Ok(()),
        }
    }

    /// Appends the updates of `parameters` (names and shapes) to a graph with outputs `gradient/<parameter>`, as
    /// [`nn_core::passes::differentiate`] makes it. These outputs are dropped and `gradient_norm` is added: the
    /// Euclidean norm of all gradients together. Returns the graph and the states that it needs, zero at first.
    ///
    /// The learning rate comes from the step scalar at each run, not from this struct.
    ///
    /// # Errors
    /// If settings make no sense or a gradient is missing.
    pub fn apply(&self, graph: Graph, parameters: &[(String, Shape)]) -> Result<(Graph, Vec<StateDeclaration>), Error> {
        self.check()?;
        update::append(self, graph, parameters)
    }
}
