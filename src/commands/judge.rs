//! What a model of texts is measured by beyond its loss: its translations and answers beside those that are right.

use super::answers::{self, Answer};
use super::log::SAMPLE_MARK;
use super::translations::{translate, translator};
use crate::config::{Config, Text, Trial};
use crate::error::Error;
use nn_data::text_metrics::{answer_f1, corpus_bleu, exact_match};
use nn_data::{Pairs, Questions, Tokenizer};
use nn_models::transformer::{Search, Translator};
use nn_train::Trainer;

/// Texts that a model is tried out on while it is trained; at the end it is tried out on all.
const SOME: usize = 200;
/// Texts that are shown.
const SHOWN: usize = 3;
/// Words of a target from which on BLEU says something: it counts runs of up to four words.
const LONG: usize = 4;

/// The keys of what is measured in JSON, and their names in words. BLEU is from 0 to 100, others from 0 to 1.
pub(super) const MEASURES: [(&str, &str); 5] = [
    ("exact_match", "Exact match"),
    ("f1", "F1"),
    ("bleu", "BLEU"),
    ("exact_match_beams", "Exact match with beams"),
    ("bleu_beams", "BLEU with beams"),
];

/// A number that tells how good texts are.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Measure {
    /// Its name in JSON.
    pub(super) key: &'static str,
    /// Its name in words.
    pub(super) name: &'static str,
    pub(super) value: f64,
    /// The number for people.
    pub(super) text: String,
}

impl Measure {
    fn new(key: &'static str, value: f64, text: String) -> Measure {
        let name = MEASURES.iter().find(|(known, _)| *known == key).map_or(key, |(_, name)| name);
        Measure { key, name, value, text }
    }

    /// Its name within a line.
    pub(super) fn name_in_line(&self) -> String {
        // BLEU and F1 are written so everywhere.
        self.name.replacen("Exact", "exact", 1)
    }
}

/// What a trial found.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Findings {
    pub(super) measures: Vec<Measure>,
    /// Some of the texts, a line each.
    pub(super) shown: Vec<String>,
}

/// How much is tried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// The first texts, in the fastest way.
    Some,
    /// All texts, in all ways.
    All,
}

/// Tries a model of texts out.
pub(super) struct Judge {
    tokenizer: Tokenizer,
    way: Way,
}

enum Way {
    /// The likeliest token each time, and several beginnings at once.
    Translation { greedy: Box<Translator>, beams: Box<Translator> },
    /// Tokens a row.
    Reading { length: usize },
}

impl Judge {
    /// For a completed config whose model writes texts anew or answers questions; `None` for others.
    ///
    /// # Errors
    /// If the model does not know its lengths.
    pub(super) fn new(config: &Config, text: &Text) -> Result<Option<Judge>, Error> {
        let model = config.model.architecture.model();
        let way = match model.seq2seq() {
            Some(model) => {
                let (greedy, beams) = (translator(model, 1)?, translator(model, Search::default().beams)?);
                Way::Translation { greedy: Box::new(greedy), beams: Box::new(beams) }
            }
            None if model.answers_questions() => Way::Reading { length: config.row_length() },
            None => return Ok(None),
        };
        Ok(Some(Judge { tokenizer: text.tokenizer.clone(), way }))
    }

    /// Tries the model out.
    ///
    /// # Errors
    /// If a text cannot be encoded, or the device fails.
    pub(super) fn try_out(&mut self, trainer: &mut Trainer, trial: &Trial, extent: Extent) -> Result<Findings, Error> {
        let tokenizer = &self.tokenizer;
        match (&mut self.way, trial) {
            (Way::Translation { greedy, beams }, Trial::Pairs(pairs)) => {
                let pairs = some(pairs, extent);
                let found = translate(greedy, tokenizer, trainer, &pairs.sources)?;
                let mut measures = measure_translations(&found, &pairs, greedy.search())?;
                if extent == Extent::All {
                    let found = translate(beams, tokenizer, trainer, &pairs.sources)?;
                    measures.extend(measure_translations(&found, &pairs, beams.search())?);
                }
                let all = pairs.sources.iter().zip(&found).zip(&pairs.targets);
                let line = |((source, found), target): ((&String, &String), &String)| {
                    format!("{SAMPLE_MARK}{source} → {found}{}", beside(found == target, target))
                };
                Ok(Findings { measures, shown: all.take(SHOWN).map(line).collect() })
            }
            (Way::Reading { length }, Trial::Questions(questions)) => {
                let count = if extent == Extent::All { questions.len() } else { SOME.min(questions.len()) };
                let found = answers::find(trainer, tokenizer, questions, count, *length)?;
                let line = |(place, answer): (usize, &Answer)| {
                    let accepted = questions.answers(place);
                    let question = &questions.questions[place].question;
                    let right = accepted.first().copied().unwrap_or_default();
                    let mark = beside(exact_match(&answer.text, &accepted), right);
                    format!("{SAMPLE_MARK}{question} {}{mark}", answer.text)
                };
                let shown = found.iter().enumerate().take(SHOWN).map(line).collect();
                Ok(Findings { measures: measure_answers(&found, questions), shown })
            }
            _ => Ok(Findings::default()),
        }
    }
}

/// What is right, beside what is not.
fn beside(right: bool, what: &str) -> String {
    if right { String::new() } else { format!("  (right: {what})") }
}

/// The first pairs, or all.
fn some(pairs: &Pairs, extent: Extent) -> Pairs {
    let count = if extent == Extent::All { pairs.len() } else { SOME.min(pairs.len()) };
    Pairs { sources: pairs.sources[..count].to_vec(), targets: pairs.targets[..count].to_vec(), skipped: 0 }
}

fn measure_translations(found: &[String], pairs: &Pairs, search: Search) -> Result<Vec<Measure>, Error> {
    let greedy = search.beams == 1;
    let right = found.iter().zip(&pairs.targets).filter(|(found, target)| found.trim() == target.trim()).count();
    let mut measures = vec![share(if greedy { "exact_match" } else { "exact_match_beams" }, right, found.len())];
    let words: usize = pairs.targets.iter().map(|target| target.split_whitespace().count()).sum();
    if words >= LONG * pairs.len() {
        let references: Vec<Vec<&String>> = pairs.targets.iter().map(|target| vec![target]).collect();
        let value = corpus_bleu(found, &references)?.score;
        let key = if greedy { "bleu" } else { "bleu_beams" };
        measures.push(Measure::new(key, value, format!("{value:.2}")));
    }
    Ok(measures)
}

fn measure_answers(found: &[Answer], questions: &Questions) -> Vec<Measure> {
    let all = || found.iter().enumerate().map(|(place, answer)| (answer, questions.answers(place)));
    let right = all().filter(|(answer, accepted)| exact_match(&answer.text, accepted)).count();
    let f1: f64 = all().map(|(answer, accepted)| answer_f1(&answer.text, &accepted)).sum();
    let f1 = f1 / found.len().max(1) as f64;
    vec![share("exact_match", right, found.len()), Measure::new("f1", f1, format!("{f1:.4}"))]
}

fn share(key: &'static str, right: usize, all: usize) -> Measure {
    let value = right as f64 / all.max(1) as f64;
    Measure::new(key, value, format!("{value:.4} ({right} of {all})"))
}
