//! Low-rank adapters (Hu et al. 2021): their settings, and which linear layers of a model they go to.

use super::{Declarations, Init, Scope};
use crate::Error;
use nn_core::Value;

/// How a linear layer's weight lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightLayout {
    /// `[out, in]`, as `torch.nn.Linear` has it.
    OutputsInputs,
    /// `[in, out]`, as the `Conv1D` of GPT-2 has it.
    InputsOutputs,
}

/// A linear layer that a model declared: one with a parameter `<path>.weight`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinearLayer {
    /// Where it stands, such as `model.layers.0.self_attn.q_proj`.
    pub path: String,
    /// Features of its input.
    pub inputs: usize,
    /// Features of its output.
    pub outputs: usize,
    /// How its weight lies.
    pub layout: WeightLayout,
    /// Whether its result is an output of the traced function as it is.
    pub is_output: bool,
    /// Whether it was traced with an adapter.
    pub adapted: bool,
}

/// Low-rank adapters (Hu et al. 2021, "LoRA"): to what a chosen linear layer makes of `x` they add
/// `dropout(x)·Aᵀ·Bᵀ · scale`, with the parameters `<path>.lora_A.weight [rank, in]`, evenly distributed within ±1/√in at
/// first, and `<path>.lora_B.weight [out, rank]`, 0 at first. Everything else is frozen. `peft.LoraConfig`, with its
/// defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct Lora {
    /// The rank of the product B·A.
    pub rank: usize,
    /// The product is scaled by alpha / rank.
    pub alpha: f64,
    /// In training, elements of the adapters' input are set to 0 with this probability.
    pub dropout: f32,
    /// Scales by alpha / √rank instead (Kalajdzievski 2023).
    pub rslora: bool,
    /// The layers: whole paths, or their ends, such as `q_proj` or `self_attn.q_proj`. [`Lora::ALL_LINEAR`] is all but
    /// the one whose result is the model's output.
    pub targets: Vec<String>,
    /// Modules that are trained and saved as a whole, such as a new `classifier`: a name, or several in a row, anywhere
    /// in the path of a parameter. Layers in them get no adapters.
    pub modules_to_save: Vec<String>,
}

impl Default for Lora {
    fn default() -> Lora {
        Lora { rank: 8, alpha: 8.0, dropout: 0.0, rslora: false, targets: Vec::new(), modules_to_save: Vec::new() }
    }
}

impl Lora {
    /// The target that is all linear layers.
    pub const ALL_LINEAR: &str = "all-linear";

    /// What the adapters' product is multiplied by.
    pub fn scale(&self) -> f64 {
        let rank = self.rank as f64;
        self.alpha / if self.rslora { rank.sqrt() } else { rank }
    }

    /// Checks the settings by themselves.
    ///
    /// # Errors
    /// The first that makes no sense, without where it was set.
    pub fn check(&self) -> Result<(), String> {
        if self.rank == 0 {
            return Err("rank = 0 makes no sense; give 1 or more".into());
        }
        if !(self.alpha.is_finite() && self.alpha > 0.0) {
            return Err(format!("alpha = {} must be above 0", self.alpha));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(format!("dropout = {} must be 0 or more and below 1", self.dropout));
        }
        Ok(())
    }

    /// Finds the layers and modules of a model that was traced without adapters.
    ///
    /// # Errors
    /// If a setting makes no sense, a target names no linear layer, or a module no parameter: the message lists what
    /// there is.
    pub fn choose(&self, declarations: &Declarations) -> Result<Adapters, Error> {
        self.check().map_err(|message| Error::Setting(format!("LoRA: {message}")))?;
        let saved: Vec<String> = declarations.parameters().map(|parameter| parameter.name.clone()).collect();
        let saved: Vec<String> = saved.into_iter().filter(|name| self.saves(name)).collect();
        for module in &self.modules_to_save {
            if !saved.iter().any(|name| is_within(module, name)) {
                let names = declarations.parameters().map(|parameter| module_of(&parameter.name));
                return Err(Error::Setting(format!(
                    "LoRA: modules_to_save has {module:?}, but there is no such module; there are {}",
                    listed(names)
                )));
            }
        }
        let free = |layer: &&LinearLayer| !self.saves(&format!("{}.weight", layer.path));
        let free: Vec<&LinearLayer> = declarations.linear_layers().iter().filter(free).collect();
        let names = |target: &str, layer: &LinearLayer| match target {
            Self::ALL_LINEAR => !layer.is_output,
            _ => is_end(target, &layer.path),
        };
        let unknown = self.targets.iter().find(|target| !free.iter().any(|layer| names(target, layer)));
        if self.targets.is_empty() || unknown.is_some() {
            let what = match unknown {
                Some(target) => format!("the target {target:?} names no linear layer"),
                None => "there are no targets".into(),
            };
            let there = listed(free.iter().map(|layer| layer.path.as_str()));
            return Err(Error::Setting(format!(
                "LoRA: {what}; name linear layers by the ends of their paths, or {:?}. There are {}",
                Self::ALL_LINEAR,
                if there.is_empty() { "none" } else { &there }
            )));
        }
        let chosen = free.into_iter().filter(|layer| self.targets.iter().any(|target| names(target, layer)));
        Ok(Adapters { lora: self.clone(), layers: chosen.cloned().collect(), saved })
    }

    fn saves(&self, parameter: &str) -> bool {
        self.modules_to_save.iter().any(|module| is_within(module, parameter))
    }
}

/// Whether a path is the name, or ends with it after a dot.
fn is_end(name: &str, path: &str) -> bool {
    path.strip_suffix(name).is_some_and(|front| front.is_empty() || front.ends_with('.'))
}

/// Whether a parameter belongs to the module, or to one inside it.
fn is_within(module: &str, parameter: &str) -> bool {
    !module.is_empty() && format!(".{parameter}").contains(&format!(".{module}."))
}

/// The path of the module that a parameter belongs to.
fn module_of(parameter: &str) -> &str {
    parameter.rsplit_once('.').map_or("", |(module, _)| module)
}

/// Paths as a list in which those that differ by a number are one, with `*` for it.
fn listed<'a>(paths: impl Iterator<Item = &'a str>) -> String {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let mut seen = Vec::new();
    for path in paths.filter(|path| !path.is_empty()) {
        let parts: Vec<&str> = path.split('.').collect();
        // A path of one part is a name, whatever it looks like.
        let star = |part: &&str| if parts.len() > 1 && is_number(part) { "*".to_string() } else { part.to_string() };
        let path = parts.iter().map(star).collect::<Vec<_>>().join(".");
        if !seen.contains(&path) {
            seen.push(path);
        }
    }
    seen.join(", ")
}

/// The layers of a model that have adapters, found by [`Lora::choose`].
#[derive(Clone, Debug, PartialEq)]
pub struct Adapters {
    lora: Lora,
    layers: Vec<LinearLayer>,
    saved: Vec<String>,
}

impl Adapters {
    /// The settings.
    pub fn lora(&self) -> &Lora {
        &self.lora
    }

    /// The layers that have one, in the order they were declared.
    pub fn layers(&self) -> &[LinearLayer] {
        &self.layers
    }

    /// The parameters of the modules that are trained and saved as a whole.
    pub fn saved(&self) -> &[String] {
        &self.saved
    }

    /// Whether the parameter is trained: one of an adapter, or of a module that is saved.
    pub fn trains(&self, name: &str) -> bool {
        self.saved.iter().any(|saved| saved == name) || self.adapted_path(name).is_some()
    }

    /// The path of the layer whose adapter has this parameter.
    fn adapted_path(&self, name: &str) -> Option<&str> {
        let path = adapter_path(name)?;
        self.layers.iter().map(|layer| layer.path.as_str()).find(|known| *known == path)
    }
}

/// The two parameters of an adapter below its layer's path.
pub(crate) const PARTS: [&str; 2] = ["lora_A.weight", "lora_B.weight"];

/// The full names of an adapter's A and B.
pub(crate) fn adapter_names(path: &str) -> [String; 2] {
    PARTS.map(|part| if path.is_empty() { part.to_string() } else { format!("{path}.{part}") })
}

/// The path of the layer whose adapter has a parameter of this name, if the name is such a one.
pub(crate) fn adapter_path(name: &str) -> Option<&str> {
    let front = PARTS.iter().find_map(|part| name.strip_suffix(part))?;
    if front.is_empty() { Some("") } else { front.strip_suffix('.') }
}

/// The adapters of a scope.
#[derive(Debug)]
pub(super) struct Adapting {
    adapters: Adapters,
    next_stream: u32,
}

impl Adapting {
    pub(super) fn new(adapters: Adapters) -> Adapting {
        // Far from the streams that layers take, so that these draw the same numbers without adapters.
        Adapting { adapters, next_stream: 1 << 31 }
    }
}

impl Scope {
    /// Gives the linear layers that are traced from here on the adapters chosen for them.
    pub fn adapt(&mut self, adapters: &Adapters) {
        self.adapting = Some(Adapting::new(adapters.clone()));
    }

    /// Tells that `y (…, out)` is what the linear layer with the parameter `weight` at this path makes of `x (…, in)`;
    /// returns it with what the layer's adapter adds, if it has one. [`Linear`](crate::nn::Linear) calls it; layers that
    /// multiply by a weight of their own may.
    #[track_caller]
    pub fn linear_output(&mut self, x: Value, y: Value, layout: WeightLayout) -> Value {
        let [inputs, outputs] = [x, y].map(|value| value.shape().last().copied().unwrap_or(1));
        let chosen = |adapting: &Adapting| adapting.adapters.layers.iter().any(|layer| layer.path == self.path);
        let adapted = self.adapting.as_ref().is_some_and(chosen);
        let path = self.path.clone();
        let trace = self.trace;
        let y = if adapted { trace.scoped("lora", || self.adapter(x, y, inputs, outputs)) } else { y };
        // A layer that is used again is the same one.
        if self.declarations.linear.iter().all(|known| known.path != path) {
            let layer = LinearLayer { path, inputs, outputs, layout, is_output: false, adapted };
            self.declarations.linear.push(layer);
            self.linear_results.push(y);
        }
        y
    }

    #[track_caller]
    fn adapter(&mut self, x: Value, y: Value, inputs: usize, outputs: usize) -> Value {
        let training = self.training;
        let Some(Adapting { adapters: Adapters { lora, .. }, next_stream }) = &mut self.adapting else { return y };
        let (rank, scale, dropout) = (lora.rank, lora.scale() as f32, lora.dropout);
        let stream = *next_stream;
        *next_stream += 2;
        let a = self.param(PARTS[0], [rank, inputs], Init::LinearDefault);
        let b = self.param(PARTS[1], [outputs, rank], Init::Zeros);
        let x = if training && dropout > 0.0 { x.dropout(dropout, stream) } else { x };
        y + x.matmul(a.transpose()).matmul(b.transpose()) * scale
    }
}
