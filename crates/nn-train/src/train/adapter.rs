//! Low-rank adapters of a trainer's model: saved, loaded, and merged into its weights.

use super::merge::add_product;
use super::peft::{AdapterFile, AdapterInfo, read_adapter, write_adapter};
use super::trainer::{Built, Trainer, not_built};
use crate::Error;
use crate::scope::{Adapters, LinearLayer, adapter_names, adapter_path};
use nn_core::{Session, Shape};
use std::path::Path;

impl Trainer {
    /// The layers that have low-rank adapters, once the model is built with [`Trainer::lora`]. Programs of one's own on
    /// the trainer's session need them, see [`Scope::adapt`](crate::Scope::adapt).
    pub fn adapters(&self) -> Option<&Adapters> {
        self.built.as_ref().and_then(|built| built.adapters.as_ref())
    }

    fn adapted(&self) -> Result<(&Built, &Adapters), Error> {
        let built = self.built.as_ref().ok_or_else(not_built)?;
        let none = || Error::Setting("the model has no adapters: choose layers for them by Trainer::lora".into());
        Ok((built, built.adapters.as_ref().ok_or_else(none)?))
    }

    /// Writes the adapters, and the modules that are saved as a whole, to a folder as PEFT does: `adapter_config.json` and
    /// `adapter_model.safetensors`. `peft.PeftModel.save_pretrained`.
    ///
    /// # Errors
    /// If the model is not built or has no adapters, or a file cannot be written.
    pub fn save_adapter(&self, folder: impl AsRef<Path>, info: AdapterInfo<'_>) -> Result<(), Error> {
        let (built, adapters) = self.adapted()?;
        let names = built.declarations.parameters().map(|parameter| &parameter.name);
        let names = names.filter(|name| adapters.trains(name));
        let tensors = names.map(|name| Ok((name.clone(), built.session.state(name)?)));
        let tensors = tensors.collect::<Result<Vec<_>, Error>>()?;
        // A table of embeddings may be the last layer's weight as well.
        let is_linear = |name: &str| {
            let path = name.strip_suffix(".weight");
            built.declarations.linear_layers().iter().any(|layer| Some(layer.path.as_str()) == path)
        };
        let is_table = |name: &String| {
            let shape = built.declarations.get(name).map(|parameter| parameter.shape.rank());
            shape == Some(2) && !is_linear(name)
        };
        let tied = adapters.saved().iter().any(is_table);
        write_adapter(folder.as_ref(), adapters, tensors, info, tied)
    }

    /// Takes the adapters, and the modules that are saved as a whole, from PEFT's format, see [`read_adapter`]. Nothing
    /// changes on an error.
    ///
    /// # Errors
    /// If the model is not built or has no adapters, the file cannot be read, rank or scale are not those of
    /// [`Trainer::lora`], or tensors are missing, surplus or of another shape: all such are listed.
    pub fn load_adapter(&mut self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        let (built, adapters) = self.adapted()?;
        let AdapterFile { lora, tensors, .. } = read_adapter(path)?;
        let own = adapters.lora();
        if (own.rank, own.scale()) != (lora.rank, lora.scale()) {
            let say = |rank, alpha, by: bool| format!("rank {rank}, alpha {alpha}{}", if by { ", rslora" } else { "" });
            return Err(Error::file(
                path,
                format!(
                    "the adapter has {}, but {} is asked for; ask for the same",
                    say(lora.rank, lora.alpha, lora.rslora),
                    say(own.rank, own.alpha, own.rslora)
                ),
            ));
        }
        let trained = built.declarations.parameters().filter(|parameter| adapters.trains(&parameter.name));
        let expected: Vec<(String, Shape)> =
            trained.map(|parameter| (parameter.name.clone(), parameter.shape.clone())).collect();
        let named = tensors.into_iter().map(|(name, tensor)| (self.own_adapter_name(&name), tensor)).collect();
        self.take(path, named, &expected)
    }

    /// The model's name for a tensor of an adapter: as for the weight that it belongs to. One that the model has no use
    /// for keeps its own, to be told.
    fn own_adapter_name(&self, name: &str) -> String {
        let own = match adapter_path(name) {
            None => self.model.own_name(name),
            Some(path) => self
                .model
                .own_name(&format!("{path}.weight"))
                .and_then(|weight| Some(format!("{}{}", weight.strip_suffix(".weight")?, name.strip_prefix(path)?))),
        };
        own.unwrap_or_else(|| name.to_string())
    }

    /// Adds each adapter's product to its layer's weight. The trainer is then one without [`Trainer::lora`], of a model
    /// that computes the same but for rounding; what the optimiser kept is gone. Without adapters it does nothing.
    /// `peft.LoraModel.merge_and_unload`.
    ///
    /// # Errors
    /// If the model is not built, or the device fails: the trainer then has to be built and loaded anew.
    pub fn merge(&mut self) -> Result<(), Error> {
        if self.settings.lora.is_none() {
            return Ok(());
        }
        let built = self.built.take().ok_or_else(not_built)?;
        self.forget_programs();
        self.settings.lora = None;
        let Built { sample_shape, adapters, session, .. } = built;
        let (declarations, _) = self.declare(&sample_shape)?;
        let (layers, scale) = adapters.as_ref().map_or((&[][..], 1.0), |all| (all.layers(), all.lora().scale()));
        let mut merged = Vec::new();
        for declaration in declarations.iter() {
            let name = &declaration.name;
            let weight = session.state(name)?;
            let is_adapted = |layer: &&LinearLayer| weight_name(layer) == *name;
            let tensor = match layers.iter().find(is_adapted) {
                Some(layer) => {
                    let [a, b] = adapter_names(&layer.path);
                    add_product(layer.layout, &weight, [&session.state(&a)?, &session.state(&b)?], scale)?
                }
                None => weight,
            };
            merged.push((name, tensor));
        }
        // A device need not hold both.
        let device = session.device().clone();
        drop(session);
        let mut session = Session::new(&device);
        for (name, tensor) in merged {
            session.set_state(name, &tensor)?;
        }
        self.built = Some(Built { sample_shape, declarations, adapters: None, session });
        Ok(())
    }
}

fn weight_name(layer: &LinearLayer) -> String {
    if layer.path.is_empty() { "weight".into() } else { format!("{}.weight", layer.path) }
}
