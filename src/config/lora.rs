//! `[lora]`: low-rank adapters in place of training every parameter.

use super::Config;
use crate::error::Error;
use nn_train::{Lora as Settings, Trainer, read_adapter};
use serde::{Deserialize, Serialize};

/// `[lora]`, see `nn_train::Lora`. What is not said is taken from `model.adapter` if there is one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Lora {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rank: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) alpha: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dropout: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rslora: Option<bool>,
    /// The layers that get adapters, by the ends of their paths, or `all-linear`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) targets: Option<Targets>,
    /// Modules that are trained and saved as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) modules_to_save: Option<Vec<String>>,
}

/// One name or several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Targets {
    One(String),
    Several(Vec<String>),
}

impl Lora {
    /// The library's settings, with its defaults for what is not said.
    fn build(&self) -> Settings {
        let Settings { rank, alpha, dropout, rslora, .. } = Settings::default();
        Settings {
            rank: self.rank.unwrap_or(rank),
            alpha: self.alpha.unwrap_or(alpha),
            dropout: self.dropout.unwrap_or(dropout),
            rslora: self.rslora.unwrap_or(rslora),
            targets: match &self.targets {
                Some(Targets::One(target)) => vec![target.clone()],
                Some(Targets::Several(targets)) => targets.clone(),
                None => Vec::new(),
            },
            modules_to_save: self.modules_to_save.clone().unwrap_or_default(),
        }
    }

    /// Writes down what is not said: as `given`.
    fn fill(&mut self, given: Settings) {
        self.rank.get_or_insert(given.rank);
        self.alpha.get_or_insert(given.alpha);
        self.dropout.get_or_insert(given.dropout);
        self.rslora.get_or_insert(given.rslora);
        self.targets.get_or_insert(Targets::Several(given.targets));
        self.modules_to_save.get_or_insert(given.modules_to_save);
    }

    fn is_complete(&self) -> bool {
        let Lora { rank, alpha, dropout, rslora, targets, modules_to_save } = self;
        let numbers = rank.is_some() && alpha.is_some() && dropout.is_some() && rslora.is_some();
        numbers && targets.is_some() && modules_to_save.is_some()
    }
}

impl Config {
    /// Checks `[lora]` and `model.adapter` by themselves.
    pub(super) fn check_lora(&self) -> Result<(), String> {
        match (&self.lora, &self.model.adapter) {
            (None, Some(_)) => {
                Err("model.adapter is trained further by a section [lora], which is missing; an empty one \
                                    takes the adapter's own settings"
                    .into())
            }
            (Some(lora), None) if lora.targets.is_none() => Err(format!(
                "lora.targets is missing; name linear layers by the ends of their paths, such as [\"q_proj\", \"v_proj\"], or \
                 {:?}",
                Settings::ALL_LINEAR
            )),
            (Some(lora), _) => lora.build().check().map_err(|message| format!("lora.{message}")),
            (None, None) => Ok(()),
        }
    }

    /// Fills in what `[lora]` does not say.
    ///
    /// # Errors
    /// If the adapter to begin with cannot be read.
    pub(super) fn fill_lora(&mut self) -> Result<(), Error> {
        let Some(lora) = self.lora.as_mut().filter(|lora| !lora.is_complete()) else { return Ok(()) };
        let given = match &self.model.adapter {
            Some(path) => read_adapter(path)?.lora,
            None => Settings::default(),
        };
        lora.fill(given);
        Ok(())
    }

    /// The trainer with the adapters that a completed config asks for.
    pub(super) fn adapt(&self, trainer: Trainer) -> Trainer {
        match &self.lora {
            Some(lora) => trainer.lora(lora.build()),
            None => trainer,
        }
    }

    /// Loads what the model begins with, where the config says so.
    ///
    /// # Errors
    /// If a file cannot be read, or doesn't fit the model.
    pub(crate) fn load_beginning(&self, trainer: &mut Trainer) -> Result<(), Error> {
        if let Some(weights) = &self.model.weights {
            trainer.load(weights)?;
        }
        if let Some(adapter) = &self.model.adapter {
            trainer.load_adapter(adapter)?;
        }
        Ok(())
    }
}
