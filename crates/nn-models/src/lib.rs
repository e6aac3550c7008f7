//! Models, each a plain struct of settings that is a [`Layer`]: its tensors have the names of the library it is known
//! from, so that weights can be exchanged.
//!
//! | model | names as |
//! |---|---|
//! | [`ResNet`], [`GoogLeNet`], [`Vgg`], [`MobileNetV2`] | torchvision |
//! | [`Gpt2`], [`Llama`], [`Bert`], [`DistilBert`] | Hugging Face's `transformers` |
//! | [`Seq2Seq`] | `torch.nn.Transformer` |
//! | [`Cnn`] | `torch.nn.Sequential` |
//! | [`Unet`], [`Autoencoder`], [`Vae`], [`Ddpm`] | each says its own |

mod autoencoder;
mod blocks;
mod cnn;
mod ddpm;
mod googlenet;
mod mobilenet;
mod resnet;
pub mod transformer;
mod unet;
mod vgg;

pub use autoencoder::{Autoencoder, Vae};
pub use cnn::Cnn;
pub use ddpm::Ddpm;
pub use googlenet::GoogLeNet;
pub use mobilenet::MobileNetV2;
pub use resnet::{Block, ResNet, Stem};
pub use transformer::{Bert, DistilBert, Gpt2, LanguageModel, Llama, Seq2Seq};
pub use unet::Unet;
pub use vgg::Vgg;

use nn_train::Layer;
use nn_train::nn::TargetKind;

/// A model that a configuration describes.
pub trait Model: Layer {
    /// Checks the settings by themselves.
    ///
    /// # Errors
    /// What is wrong and what to do; settings are named as in configurations, `model.config.…`.
    fn check(&self) -> Result<(), String>;

    /// The shape in which the model takes samples of the data's shape; by default pictures, `[channels, height, width]`.
    ///
    /// # Errors
    /// If it cannot take them.
    fn sample_shape(&self, data: &[usize]) -> Result<Vec<usize>, String> {
        match data {
            [height, width] => Ok(vec![1, *height, *width]),
            [_, _, _] => Ok(data.to_vec()),
            _ => Err(format!(
                "the model takes pictures of shape [channels, height, width], but a sample of the data has shape {data:?}"
            )),
        }
    }

    /// Fits what the settings leave open, or 0, to samples and targets of the data.
    ///
    /// # Errors
    /// If the settings contradict the data.
    fn fit(&mut self, sample: &[usize], targets: TargetKind) -> Result<(), String>;

    /// The number of classes or values that the model gives, if the settings say it.
    fn outputs(&self) -> Option<usize>;

    /// How many token ids the model knows, for models that take such: ids from 0 to below this.
    fn vocabulary(&self) -> Option<usize> {
        None
    }

    /// The most tokens of a row, for models that take token ids and limit them.
    fn longest_row(&self) -> Option<usize> {
        self.language().map(LanguageModel::context)
    }

    /// Takes the number of token ids that the data's tokeniser knows, where the settings leave it open.
    ///
    /// # Errors
    /// If the data has more tokens than the model, or the model takes none.
    fn fit_vocabulary(&mut self, tokens: usize) -> Result<(), String> {
        Err(format!("the data has {tokens} kinds of tokens, but the model takes numbers"))
    }

    /// Takes the tokens that fill up rows and end each text of them, where rows are two texts.
    ///
    /// # Errors
    /// If the model takes another token for padding, or no pairs of texts.
    fn fit_special(&mut self, pad: u32, separator: u32) -> Result<(), String> {
        let _ = (pad, separator);
        Err("the model does not read a question and a text; take bert or distilbert".into())
    }

    /// Whether it gives where in a text the answer to a question begins and ends.
    fn answers_questions(&self) -> bool {
        false
    }

    /// The model as one that says which token comes next, if it is one.
    fn language(&self) -> Option<&dyn LanguageModel> {
        None
    }

    /// The settings as Hugging Face's `config.json` has them, for models of `transformers`; `labels` are the classes' names.
    fn hugging_face(&self, labels: &[String]) -> Option<serde_json::Value> {
        let _ = labels;
        None
    }

    /// The model as one that reads a text and writes another, if it is one.
    fn seq2seq(&self) -> Option<&Seq2Seq> {
        None
    }

    /// What adapters for PEFT call the model's task, such as `CAUSAL_LM`, if they know it.
    fn task_type(&self) -> Option<&'static str> {
        self.language().map(|_| "CAUSAL_LM")
    }

    /// Whether it gives pictures back, so that the pictures themselves are its targets.
    fn restores_pictures(&self) -> bool {
        false
    }

    /// Whether what it makes small is its own, [`Loss::Own`](nn_train::Loss::Own).
    fn has_own_loss(&self) -> bool {
        false
    }

    /// The model in a few words, such as `mlp 64-96-48-10 relu`.
    fn describe(&self) -> String;
}

/// Takes channels and classes from the data where they are 0.
fn fit_classifier(
    in_channels: &mut usize,
    num_classes: &mut usize,
    sample: &[usize],
    targets: TargetKind,
) -> Result<(), String> {
    fit_channels(in_channels, sample)?;
    let found = match targets {
        TargetKind::Classes { count } | TargetKind::Probabilities { count } => count,
        TargetKind::Values { width } => width,
        TargetKind::ClassMaps { .. } => {
            return Err(format!("the model gives one class a picture, but the data has {targets}; take a unet"));
        }
        TargetKind::Sequences { .. } => {
            return Err(format!("the model gives one class a picture, but the data has {targets}; take gpt2 or llama"));
        }
    };
    if *num_classes == 0 {
        *num_classes = found;
    }
    Ok(())
}

/// Takes the number of channels from the data where it is 0.
fn fit_channels(in_channels: &mut usize, sample: &[usize]) -> Result<(), String> {
    let found = sample.first().copied().unwrap_or(1);
    if *in_channels == 0 {
        *in_channels = found;
    }
    if *in_channels != found {
        return Err(format!(
            "model.config.in_channels = {in_channels}, but a sample of the data has shape {sample:?}, {found} channels; \
             give {found}"
        ));
    }
    Ok(())
}
