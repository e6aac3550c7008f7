//! Text from a language model, token by token, with the keys and values of the tokens before kept in the session.

use super::sample::{Sampler, Sampling};
use super::{LanguageModel, Place};
use nn_core::run::Executable;
use nn_core::{DType, Input, Session, StepScalars};
use nn_train::{Adapters, Error, compile};
use std::collections::HashMap;
use std::ops::ControlFlow;

/// Tokens of a prompt that are read together.
const CHUNK: usize = 32;

/// Generates text by the parameters of a session. Programs are compiled at their first use: one for a single token, one
/// for a part of a prompt; none later.
#[derive(Default)]
pub struct Generator {
    programs: HashMap<usize, Executable>,
    /// How many tokens are looked at; 0 before the first use.
    capacity: usize,
    /// Reads the whole text for each token instead of keeping keys and values.
    without_cache: bool,
    /// The low-rank adapters of the session's parameters.
    adapters: Option<Adapters>,
}

impl std::fmt::Debug for Generator {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Generator").field("without_cache", &self.without_cache).finish_non_exhaustive()
    }
}

impl Generator {
    /// A generator that keeps keys and values in the session.
    pub fn new() -> Generator {
        Generator::default()
    }

    /// One that reads the whole text for each token: slower, for comparison.
    pub fn without_cache() -> Generator {
        Generator { without_cache: true, ..Generator::default() }
    }

    /// For parameters with low-rank adapters: those of their trainer, [`Trainer::adapters`](nn_train::Trainer::adapters).
    #[must_use]
    pub fn adapters(mut self, adapters: Option<&Adapters>) -> Generator {
        self.adapters = adapters.cloned();
        self
    }

    /// Continues `prompt` by at most `most` tokens, which are handed to `each` one by one, until that breaks. A text that
    /// outgrows the model's context goes on from its second half. The model's parameters are the session's.
    ///
    /// # Errors
    /// If the prompt is empty or has a token beyond the vocabulary, the settings make no sense, the logits are NaN, or the
    /// device fails.
    pub fn generate(
        &mut self,
        model: &dyn LanguageModel,
        session: &mut Session,
        prompt: &[u32],
        most: usize,
        sampling: Sampling,
        mut each: impl FnMut(u32) -> ControlFlow<()>,
    ) -> Result<Vec<u32>, Error> {
        sampling.check().map_err(Error::Setting)?;
        if prompt.is_empty() {
            return Err(Error::Data("the prompt has no tokens; give at least one".into()));
        }
        if let Some(place) = prompt.iter().position(|&token| token as usize >= model.vocabulary()) {
            return Err(Error::Data(format!(
                "the prompt's token {} at place {place} is out of range: the model's vocabulary has the tokens 0 to {}",
                prompt[place],
                model.vocabulary() - 1
            )));
        }
        self.capacity = model.context();
        let mut sampler = Sampler::new(sampling);
        let mut text = prompt.to_vec();
        // The part of the text that is looked at begins here, and so much of it has been read.
        let (mut start, mut read) = (text.len().saturating_sub(self.capacity), 0);
        for _ in 0..most {
            if text.len() - start > self.capacity {
                (start, read) = (text.len() - self.capacity.div_ceil(2), 0);
            }
            let mut logits = self.read(model, session, &text[start..], read)?;
            read = text.len() - start;
            let token = sampler.choose(&mut logits, &text).ok_or_else(|| {
                Error::Data("the model gives no token a chance (NaN or −infinity); its weights may be broken".into())
            })?;
            text.push(token);
            if each(token).is_break() {
                break;
            }
        }
        Ok(text.split_off(prompt.len()))
    }

    /// The logits of the token after `text`, of which the first `read` tokens are known to the session.
    fn read(
        &mut self,
        model: &dyn LanguageModel,
        session: &mut Session,
        text: &[u32],
        mut read: usize,
    ) -> Result<Vec<f32>, Error> {
        if self.without_cache {
            let mut padded = text.to_vec();
            padded.resize(self.capacity, 0);
            return self.run(model, session, &padded, text.len() - 1);
        }
        loop {
            let count = if text.len() - read >= CHUNK { CHUNK } else { 1 };
            let logits = self.run(model, session, &text[read..read + count], read)?;
            read += count;
            if read == text.len() {
                return Ok(logits);
            }
        }
    }

    /// The logits after the last of `tokens`, which come after `position` others; without a cache those after the token at
    /// `position`.
    fn run(
        &mut self,
        model: &dyn LanguageModel,
        session: &mut Session,
        tokens: &[u32],
        position: usize,
    ) -> Result<Vec<f32>, Error> {
        let count = tokens.len();
        let program = match self.programs.entry(count) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(free) => {
                let (capacity, without_cache) = (self.capacity, self.without_cache);
                let adapters = self.adapters.as_ref();
                let compiled = compile(session, false, 0, |s| {
                    if let Some(adapters) = adapters {
                        s.adapt(adapters);
                    }
                    let tokens = s.input("tokens", DType::U32, [1, count]);
                    let position = s.input("position", DType::U32, [1]);
                    let place = if without_cache { Place::Beginning } else { Place::After { position, capacity } };
                    let logits = model.logits(s, tokens, place);
                    let vocabulary = logits.shape().last().copied().unwrap_or(1);
                    let last = match without_cache {
                        true => logits.reshape([count, vocabulary]).gather_rows(position),
                        false => logits.slice(&[0, count - 1, 0], [1, 1, vocabulary]),
                    };
                    s.output("logits", last.reshape([vocabulary]));
                    Ok(())
                })?;
                free.insert(compiled.program)
            }
        };
        let position = [position as u32];
        let inputs = [("tokens", Input::U32(tokens)), ("position", Input::U32(&position))];
        session.run(program, &inputs, StepScalars::default())?;
        let logits = session.output(program, "logits")?;
        session.results(program, true)?;
        Ok(logits.as_f32()?.to_vec())
    }
}
