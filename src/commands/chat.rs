//! `wgrad generate --chat`: a conversation with a language model.

use super::write::{self, Output, TextArguments};
use super::{model, print, print_json};
use crate::error::Error;
use nn_core::Session;
use nn_data::{ChatMessage, ChatTemplate, Tokenizer};
use nn_models::LanguageModel;
use nn_models::transformer::{Generator, Sampling};
use serde_json::json;
use std::io::{BufRead, IsTerminal};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Tokens of an answer at most if nothing is said.
const TOKENS: usize = 1000;
/// Tokens of a conversation at most if nothing is said.
const CONTEXT: usize = 2048;

/// Whether an answer is being written, which Ctrl-C then ends; else it ends the program.
static ANSWERING: AtomicBool = AtomicBool::new(false);
/// Whether the answer is to end.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Answers `--prompt` and ends, or each line of standard input in turn until an empty one.
///
/// # Errors
/// If the model has no chat template, the template refuses the conversation, that outgrows the context, or the device
/// fails.
pub(super) fn run(
    arguments: &TextArguments,
    found: &model::Found,
    device: Option<&str>,
    seed: u32,
    json: bool,
) -> Result<(), Error> {
    let prompt = arguments.prompt.as_deref().filter(|prompt| !prompt.is_empty());
    if json && prompt.is_none() {
        return Err(Error::usage("--json prints one answer: give --prompt with --chat, or leave --json out"));
    }
    let sampling = arguments.sampling(seed)?;
    let template = found.chat_template()?;
    let tokenizer = write::tokenizer(&found.config)?;
    let language = write::language(&found.config.model.architecture)?;
    let mut trainer = found.load(device)?;
    let name = trainer.device_name().unwrap_or_default();
    let context = language.context().min(arguments.context.map_or(CONTEXT, |context| context as usize));
    let mut ends = language.end_tokens();
    ends.extend(template.token("eos_token").and_then(|token| tokenizer.id_of(token)));
    let messages = arguments.system.iter().map(|text| ChatMessage::new("system", text)).collect();
    let mut conversation = Conversation {
        messages,
        template,
        tokenizer: &tokenizer,
        language,
        session: trainer.session_mut().ok_or_else(|| Error::run("internal: the model is not built"))?,
        generator: arguments.generator(context).resuming(),
        context,
        most: arguments.tokens.unwrap_or(TOKENS),
        sampling,
        ends,
        stops: &arguments.stop,
        shown: !json,
    };
    let Some(prompt) = prompt else { return conversation.converse(&name) };
    let start = Instant::now();
    let Answer { text, ids } = conversation.answer(prompt)?;
    let seconds = start.elapsed().as_secs_f64();
    let speed = ids.len() as f64 / seconds;
    if json {
        return print_json(&json!({
            "prompt": prompt,
            "text": text,
            "tokens": ids.len(),
            "ids": ids,
            "seconds": seconds,
            "tokens_per_s": speed,
            "device": name,
        }));
    }
    eprintln!("{} tokens in {seconds:.1} s, {speed:.0} tokens/s, on {name}", ids.len());
    Ok(())
}

/// What was said, and what it takes to answer.
struct Conversation<'a> {
    messages: Vec<ChatMessage>,
    template: ChatTemplate,
    tokenizer: &'a Tokenizer,
    language: &'a dyn LanguageModel,
    session: &'a mut Session,
    generator: Generator,
    /// Tokens that are looked at, at most.
    context: usize,
    /// Tokens of an answer, at most.
    most: usize,
    sampling: Sampling,
    ends: Vec<u32>,
    stops: &'a [String],
    /// Whether answers are printed as they come.
    shown: bool,
}

struct Answer {
    text: String,
    ids: Vec<u32>,
}

impl Conversation<'_> {
    /// Answers lines of standard input.
    fn converse(&mut self, device: &str) -> Result<(), Error> {
        let typed = std::io::stdin().is_terminal();
        if typed {
            eprintln!("on {device}; an empty line ends, Ctrl-C ends an answer");
        }
        if ctrlc::set_handler(interrupt).is_err() {
            ::log::warn!("Ctrl-C cannot be caught here: it ends the program");
        }
        loop {
            if typed {
                print("> ")?;
            }
            let mut line = String::new();
            let read = std::io::stdin().lock().read_line(&mut line);
            let read = read.map_err(|error| Error::run(format!("standard input cannot be read: {error}")))?;
            if read == 0 && typed {
                print("\n")?;
            }
            let line = line.trim();
            if line.is_empty() {
                return Ok(());
            }
            self.answer(line)?;
        }
    }

    /// Answers what a user says, and remembers both.
    fn answer(&mut self, said: &str) -> Result<Answer, Error> {
        self.messages.push(ChatMessage::new("user", said));
        let text = self.template.render(&self.messages, true)?;
        let tokens = self.tokenizer.encode(&text)?;
        let context = self.context;
        let room = context.saturating_sub(tokens.len());
        if room == 0 {
            let longer = match self.language.context() {
                most if most > context => format!("give --context up to {most}, or begin anew"),
                _ => "that is all the model can look at; begin anew".to_string(),
            };
            return Err(Error::run(format!(
                "the conversation has {} tokens, but only {context} can be looked at, with the answer: {longer}",
                tokens.len()
            )));
        }
        INTERRUPTED.store(false, Ordering::SeqCst);
        ANSWERING.store(true, Ordering::SeqCst);
        let most = self.most.min(room);
        let mut output = Output::new(self.tokenizer, self.stops, self.shown);
        let mut over = false;
        let each = |token| {
            over = self.ends.contains(&token) || output.push(token).is_break() || INTERRUPTED.load(Ordering::SeqCst);
            if over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let made = self.generator.generate(self.language, self.session, &tokens, most, self.sampling, each);
        ANSWERING.store(false, Ordering::SeqCst);
        let ids = made?;
        let text = output.finish()?;
        if self.shown {
            print("\n")?;
        }
        if !over && room < self.most {
            eprintln!("the answer is cut off: it and what was said before fill the {context} tokens of the context");
        } else if !over {
            eprintln!("the answer is cut off after {most} tokens; --tokens gives it more");
        }
        self.messages.push(ChatMessage::new("assistant", text.as_str()));
        // Each answer draws numbers of its own.
        self.sampling.seed = self.sampling.seed.wrapping_add(1);
        Ok(Answer { text, ids })
    }
}

/// Ends the answer that is being written; else, and the second time, the program, with the status that shells expect.
fn interrupt() {
    if !ANSWERING.load(Ordering::SeqCst) || INTERRUPTED.swap(true, Ordering::SeqCst) {
        eprintln!();
        std::process::exit(130);
    }
}
