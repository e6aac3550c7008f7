//! Translation by an encoder and a decoder: a source is read once, then its target is written token by token, with the
//! keys and values of both kept in the session.

use super::Seq2Seq;
use super::beam::{Beams, Rules, Search, Translation};
use super::cache::numbers;
use nn_core::run::Executable;
use nn_core::{DType, Input, Session, StepScalars, Value};
use nn_train::{Error, Init, Scope, compile};
use std::collections::HashMap;

/// How many sources there are at once, and how many beams of each.
#[derive(Clone, Copy, Debug)]
struct Size {
    sources: usize,
    beams: usize,
    /// The most tokens of a target.
    capacity: usize,
}

impl Size {
    /// The name of a state of this size: several can be kept in a session.
    fn name(self, what: &str) -> String {
        let Size { sources, beams, capacity } = self;
        format!("{what}.{sources}x{beams}x{capacity}")
    }

    /// A state `name` that keeps keys or values of the sources, `(sources, max_source, d_model)`.
    fn memory(self, s: &mut Scope, model: &Seq2Seq, name: &str) -> Value {
        s.state(&self.name(name), [self.sources, model.max_source, model.d_model], Init::Zeros)
    }
}

/// The next token of each beam, after those whose keys and values the session keeps.
pub(super) struct Step {
    size: Size,
    /// How many came before, `u32 (1)`.
    position: Value,
    /// The row that each row goes on from, `u32 (sources · beams)`.
    parents: Value,
}

impl Step {
    /// A key or value of each row `(rows, 1, width)`, with those that came before: `(rows, capacity, width)`, kept as the
    /// state `name`.
    pub(super) fn remember(&self, s: &mut Scope, name: &str, new: Value) -> Value {
        let capacity = self.size.capacity;
        let [rows, _, width] = new.shape()[..] else { return new };
        let name = self.size.name(name);
        let old = s.state(&name, [rows, capacity * width], Init::Zeros);
        let old = old.gather_rows(self.parents).reshape([rows, capacity, width]);
        let places = numbers(self.position, capacity).reshape([1, capacity, 1]);
        // What comes later is of another text: not even NaN may remain of it, which no mask hides.
        let old = places.less(self.position).select(old, 0.0);
        let all = places.equal(self.position).select(new, old);
        s.update(&name, all.reshape([rows, capacity * width]));
        all
    }

    /// What hides the places after this one, `(1, 1, 1, capacity)`: 0 or −∞.
    pub(super) fn mask(&self) -> Value {
        let seen = numbers(self.position, self.size.capacity).less_equal(self.position);
        let mask = seen.select(self.position.recorder().scalar(0.0), f32::NEG_INFINITY);
        mask.reshape([1, 1, 1, self.size.capacity])
    }
}

/// The programs for so many sources at once.
struct Programs {
    encoder: Executable,
    decoder: Executable,
}

/// Translates by the parameters of a session, one and the same each time. Programs are compiled at their first use: two
/// for [`Search::batch`] sources, two for a single one; none later.
pub struct Translator {
    model: Seq2Seq,
    search: Search,
    programs: HashMap<usize, Programs>,
}

impl std::fmt::Debug for Translator {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Translator").field("search", &self.search).finish_non_exhaustive()
    }
}

impl Translator {
    /// A translator by a model that is fitted to data.
    ///
    /// # Errors
    /// If the search's settings make no sense, or the model does not know its lengths or its vocabulary.
    pub fn new(model: &Seq2Seq, search: Search) -> Result<Translator, Error> {
        search.check().map_err(Error::Setting)?;
        let open =
            [("vocab_size", model.vocab_size), ("max_source", model.max_source), ("max_target", model.max_target)];
        if let Some((name, _)) = open.iter().find(|(_, number)| *number == 0) {
            return Err(Error::Setting(format!(
                "model.config.{name} = 0 leaves it to data; give a number to translate with"
            )));
        }
        Ok(Translator { model: model.clone(), search, programs: HashMap::new() })
    }

    /// The most tokens of a source.
    pub fn longest_source(&self) -> usize {
        self.model.max_source
    }

    /// How it searches.
    pub fn search(&self) -> Search {
        self.search
    }

    /// The best translation of each source that is found, in their order, with the parameters that the session keeps. The
    /// same sources give the same bits; other numbers of them may be rounded otherwise.
    ///
    /// # Errors
    /// If a source is empty or too long, a token is out of range, the logits are NaN, or the device fails.
    pub fn translate(&mut self, session: &mut Session, sources: &[Vec<u32>]) -> Result<Vec<Translation>, Error> {
        let mut rows = Vec::with_capacity(sources.len());
        for (number, source) in sources.iter().enumerate() {
            let row = self.model.source_row(source);
            rows.push(row.map_err(|message| Error::Data(format!("source {number} (counted from 0): {message}")))?);
        }
        // Sources of like lengths end at about the same time.
        let mut order: Vec<usize> = (0..sources.len()).collect();
        order.sort_by_key(|&number| sources[number].len());
        let mut found: Vec<Option<Translation>> = vec![None; sources.len()];
        for chunk in order.chunks(self.search.batch) {
            let all: Vec<&[u32]> = chunk.iter().map(|&number| rows[number].as_slice()).collect();
            for (&number, translation) in chunk.iter().zip(self.together(session, &all)?) {
                found[number] = Some(translation);
            }
        }
        found.into_iter().collect::<Option<_>>().ok_or_else(|| internal("a source has no translation"))
    }

    /// Translates filled up sources, at most as many as go together.
    fn together(&mut self, session: &mut Session, sources: &[&[u32]]) -> Result<Vec<Translation>, Error> {
        let rows = if sources.len() == 1 { 1 } else { self.search.batch };
        let beams = self.search.beams;
        let model = &self.model;
        let size = Size { sources: rows, beams, capacity: model.max_target };
        let programs = match self.programs.entry(rows) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(free) => free
                .insert(Programs { encoder: encoder(model, session, size)?, decoder: decoder(model, session, size)? }),
        };
        // Where fewer are left the first stands in, whose numbers are as good as any.
        let mut tokens: Vec<u32> = Vec::with_capacity(rows * model.max_source);
        (0..rows).for_each(|row| tokens.extend_from_slice(sources.get(row).unwrap_or(&sources[0])));
        let sources_input = ("sources", Input::U32(&tokens));
        session.run(&mut programs.encoder, &[sources_input], StepScalars::default())?;
        session.results(&mut programs.encoder, true)?;

        let rules = Rules {
            search: self.search,
            most: model.max_target,
            end: model.eos_token_id,
            never: [model.pad_token_id, model.bos_token_id],
        };
        let mut searches = vec![Beams::new(rules); sources.len()];
        let vocabulary = model.vocab_size;
        for position in 0..model.max_target as u32 {
            if searches.iter().all(|search| search.open.is_empty()) {
                break;
            }
            let mut last = vec![model.bos_token_id; rows * beams];
            let mut parents: Vec<u32> = (0..(rows * beams) as u32).collect();
            for (row, search) in searches.iter().enumerate() {
                for (number, beam) in search.open.iter().enumerate() {
                    let place = row * beams + number;
                    last[place] = beam.tokens.last().copied().unwrap_or(model.bos_token_id);
                    parents[place] = (row * beams + beam.parent) as u32;
                }
            }
            let position = [position];
            let inputs = [
                sources_input,
                ("tokens", Input::U32(&last)),
                ("parents", Input::U32(&parents)),
                ("position", Input::U32(&position)),
            ];
            session.run(&mut programs.decoder, &inputs, StepScalars::default())?;
            let logits = session.output(&mut programs.decoder, "logits")?;
            session.results(&mut programs.decoder, true)?;
            let all = logits.as_f32()?.chunks(beams * vocabulary);
            for (search, logits) in searches.iter_mut().zip(all).filter(|(search, _)| !search.open.is_empty()) {
                search.advance(logits, vocabulary).ok_or_else(|| {
                    Error::Data("the model gives no token a chance (NaN or infinity); its weights may be broken".into())
                })?;
            }
        }
        let best = searches.into_iter().map(|search| search.best).collect::<Option<_>>();
        best.ok_or_else(|| internal("a search ended without a translation"))
    }
}

fn internal(message: &str) -> Error {
    nn_core::Error::Internal(message.into()).into()
}

/// Reads sources: keeps what the decoder's layers look at.
fn encoder(model: &Seq2Seq, session: &mut Session, size: Size) -> Result<Executable, Error> {
    let compiled = compile(session, false, 0, |s| {
        let sources = s.input("sources", DType::U32, [size.sources, model.max_source]);
        let memory = model.encode(s, sources);
        model.each_layer(s, |s, projections| {
            for (name, part) in ["source_key", "source_value"].into_iter().zip(projections.of::<2>(memory, 1)) {
                size.memory(s, model, name);
                s.update(&size.name(name), part);
            }
        });
        Ok(())
    })?;
    Ok(compiled.program)
}

/// Gives the logits `(sources · beams, vocab_size)` after one more token of each beam.
fn decoder(model: &Seq2Seq, session: &mut Session, size: Size) -> Result<Executable, Error> {
    let compiled = compile(session, false, 0, |s| {
        let rows = size.sources * size.beams;
        let sources = s.input("sources", DType::U32, [size.sources, model.max_source]);
        let tokens = s.input("tokens", DType::U32, [rows, 1]);
        let parents = s.input("parents", DType::U32, [rows]);
        let position = s.input("position", DType::U32, [1]);
        let positions = model.positions(s, size.capacity).gather_rows(position);
        let x = model.embed(s, "tgt_embedding", tokens, positions);
        let kept = |s: &mut Scope, _: &_| ["source_key", "source_value"].map(|name| size.memory(s, model, name));
        let logits = model.decode(s, x, sources, &kept, Some(&Step { size, position, parents }));
        s.output("logits", logits.reshape([rows, model.vocab_size]));
        Ok(())
    })?;
    Ok(compiled.program)
}
