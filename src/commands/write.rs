//! How a language model goes on with a text: for `wgrad generate`, and as samples while it is trained.

use super::log::SAMPLE_MARK;
use super::{model, print_json};
use crate::config::{Architecture, Config, LoadedData};
use crate::error::Error;
use nn_data::Tokenizer;
use nn_models::LanguageModel;
use nn_models::transformer::{Generator, Sampling};
use nn_train::Trainer;
use serde_json::json;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

/// Tokens of a sample while a model is trained.
const SAMPLE: usize = 160;

#[derive(clap::Args)]
pub(super) struct TextArguments {
    /// The text to go on with
    #[arg(long, value_name = "TEXT", help_heading = "Texts")]
    prompt: Option<String>,
    /// Tokens to write at most
    #[arg(long, value_name = "N", default_value_t = 200, help_heading = "Texts")]
    tokens: usize,
    /// Higher is bolder; 0 takes the likeliest token each time
    #[arg(long, value_name = "T", default_value_t = 0.8, help_heading = "Texts")]
    temperature: f32,
    /// Choose from the K likeliest tokens only; 0 for all
    #[arg(long, value_name = "K", default_value_t = 0, help_heading = "Texts")]
    top_k: usize,
    /// Choose from the likeliest tokens that together have this probability
    #[arg(long, value_name = "P", default_value_t = 1.0, help_heading = "Texts")]
    top_p: f32,
    /// Above 1, tokens that occurred become less likely
    #[arg(long, value_name = "R", default_value_t = 1.0, help_heading = "Texts")]
    repetition_penalty: f32,
    /// End before this text; may be given several times
    #[arg(long, value_name = "TEXT", help_heading = "Texts")]
    stop: Vec<String>,
    /// Read the whole text again for each token, for comparison
    #[arg(long, help_heading = "Texts")]
    no_cache: bool,
}

/// Goes on with the prompt, to standard output as it comes.
///
/// # Errors
/// If the prompt or the settings cannot be used, or the device fails.
pub(super) fn run(
    arguments: &TextArguments,
    found: &model::Found,
    device: Option<&str>,
    seed: u32,
    json: bool,
) -> Result<(), Error> {
    let prompt = arguments.prompt.as_deref().filter(|prompt| !prompt.is_empty()).ok_or_else(|| {
        Error::usage("the model writes texts: give it one to go on with, such as --prompt \"Once upon a time\"")
    })?;
    let sampling = Sampling {
        temperature: arguments.temperature,
        top_k: arguments.top_k,
        top_p: arguments.top_p,
        repetition_penalty: arguments.repetition_penalty,
        seed: seed.into(),
    };
    sampling.check().map_err(|message| Error::usage(format!("--{message}")))?;
    let tokenizer = tokenizer(&found.config)?;
    let tokens = tokenizer.encode(prompt)?;
    let mut trainer = found.load(device)?;
    let name = trainer.device_name().unwrap_or_default();
    let language = language(&found.config.model.architecture)?;
    if tokens.len() > language.context() {
        let (found, most) = (tokens.len(), language.context());
        eprintln!("the prompt has {found} tokens, but the model looks at {most}: only the last of them count");
    }
    let mut output = Output::new(&tokenizer, &arguments.stop, !json);
    output.show(prompt)?;
    let mut generator = if arguments.no_cache { Generator::without_cache() } else { Generator::new() };
    let ends = language.end_tokens();
    let start = Instant::now();
    let each = |token| if ends.contains(&token) { ControlFlow::Break(()) } else { output.push(token) };
    let session = trainer.session_mut().ok_or_else(|| Error::run("internal: the model is not built"))?;
    let made = generator.generate(language, session, &tokens, arguments.tokens, sampling, each)?;
    let seconds = start.elapsed().as_secs_f64();
    let text = output.finish()?;
    let speed = made.len() as f64 / seconds;
    if json {
        return print_json(&json!({
            "prompt": prompt,
            "text": text,
            "tokens": made.len(),
            "seconds": seconds,
            "tokens_per_s": speed,
            "device": name,
        }));
    }
    super::print("\n")?;
    eprintln!("{} tokens in {seconds:.1} s, {speed:.0} tokens/s, on {name}", made.len());
    Ok(())
}

/// The tokeniser of a run or of a folder with `tokenizer.json`.
///
/// # Errors
/// If there is none, or it cannot be used.
pub(super) fn tokenizer(config: &Config) -> Result<Tokenizer, Error> {
    let path = config.data.tokenizer.as_deref().filter(|path| *path != Path::new("char"));
    let path = path.ok_or_else(|| {
        Error::usage(
            "the model was trained on token ids, so what its tokens mean is unknown; train on data of kind text",
        )
    })?;
    Ok(Tokenizer::load(path)?)
}

fn language(architecture: &Architecture) -> Result<&dyn LanguageModel, Error> {
    let model = architecture.model();
    model.language().ok_or_else(|| Error::usage(format!("the model, {}, writes no texts", model.describe())))
}

/// Text on its way out: held back while it may be the beginning of what ends it.
struct Output<'a> {
    decoder: nn_data::StreamDecoder<'a>,
    stops: &'a [String],
    pending: String,
    text: String,
    shown: bool,
    failure: Option<Error>,
}

impl<'a> Output<'a> {
    fn new(tokenizer: &'a Tokenizer, stops: &'a [String], shown: bool) -> Output<'a> {
        let decoder = tokenizer.stream(true);
        Output { decoder, stops, pending: String::new(), text: String::new(), shown, failure: None }
    }

    fn show(&self, text: &str) -> Result<(), Error> {
        if self.shown {
            super::print(text)?;
            let _ = std::io::stdout().flush();
        }
        Ok(())
    }

    fn push(&mut self, token: u32) -> ControlFlow<()> {
        self.pending += &self.decoder.push(token);
        let end = self.stops.iter().filter(|stop| !stop.is_empty()).filter_map(|stop| self.pending.find(stop)).min();
        let ready = end.unwrap_or_else(|| self.pending.len() - held_back(&self.pending, self.stops));
        let rest = self.pending.split_off(ready);
        let ready = std::mem::replace(&mut self.pending, rest);
        self.text += &ready;
        if let Err(error) = self.show(&ready) {
            self.failure = Some(error);
            return ControlFlow::Break(());
        }
        if end.is_some() {
            self.pending.clear();
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    /// All of the text, once what was held back is out.
    fn finish(mut self) -> Result<String, Error> {
        if let Some(error) = self.failure.take() {
            return Err(error);
        }
        self.show(&self.pending)?;
        Ok(self.text + &self.pending)
    }
}

/// How many bytes at the end may be the beginning of one of these.
fn held_back(text: &str, stops: &[String]) -> usize {
    let longest = |stop: &String| {
        let lengths = (1..stop.len()).rev().filter(|&length| stop.is_char_boundary(length));
        lengths.into_iter().find(|&length| text.ends_with(&stop[..length])).unwrap_or(0)
    };
    stops.iter().map(longest).max().unwrap_or(0)
}

/// Shows how a model in training goes on.
pub(super) struct Writer {
    architecture: Architecture,
    tokenizer: Tokenizer,
    generator: Generator,
}

impl Writer {
    /// For a language model that is trained on texts.
    pub(super) fn new(config: &Config, data: &LoadedData) -> Option<Writer> {
        let architecture = config.model.architecture.clone();
        architecture.model().language()?;
        let tokenizer = data.text.as_ref()?.tokenizer.clone();
        Some(Writer { architecture, tokenizer, generator: Generator::new() })
    }

    /// What the model makes of the beginning of a line, after this step.
    ///
    /// # Errors
    /// If the device fails.
    pub(super) fn sample(&mut self, trainer: &mut Trainer, step: u32) -> Result<String, nn_train::Error> {
        let Some(model) = self.architecture.model().language() else { return Ok(String::new()) };
        let prompt = self.tokenizer.encode("\n").ok().filter(|tokens| !tokens.is_empty()).unwrap_or_else(|| vec![0]);
        let Some(session) = trainer.session_mut() else { return Ok(String::new()) };
        let sampling = Sampling { temperature: 0.8, seed: step.into(), ..Sampling::default() };
        let go_on = |_| ControlFlow::Continue(());
        let made = self.generator.generate(model, session, &prompt, SAMPLE, sampling, go_on)?;
        let text = self.tokenizer.decode(&made, true);
        Ok(format!("{SAMPLE_MARK}{}", text.trim().replace('\n', &format!("\n{SAMPLE_MARK}"))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_a_stop_is_held_back() {
        let stops = ["\nEnd".to_string(), "ö!".to_string()];
        assert_eq!(held_back("text", &stops), 0);
        assert_eq!(held_back("text\n", &stops), 1);
        assert_eq!(held_back("text\nEn", &stops), 3);
        assert_eq!(held_back("schö", &stops), 2);
        assert_eq!(held_back("", &[]), 0);
    }
}
