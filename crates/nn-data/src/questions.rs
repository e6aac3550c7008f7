//! Questions whose answers are spans of a text: files of SQuAD's form.

use std::ops::Range;
use std::path::Path;

use serde_json::Value;

use crate::parts::{self, Part};
use crate::split::held_out;
use crate::{DataError, text_file};

const EXPECTED: &str = "a JSON file of SQuAD's form";
/// The random stream of what is held out.
const SPLIT_STREAM: u32 = 0x5000_0003;

/// A question about a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What the file calls it.
    pub id: String,
    /// The text it is about: an index of [`Questions::contexts`].
    pub context: usize,
    /// The question.
    pub question: String,
    /// Where each accepted answer stands in the context, in bytes; at least one.
    pub answers: Vec<Range<usize>>,
}

/// Questions with the texts that answer them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Questions {
    /// The texts; several questions may share one.
    pub contexts: Vec<String>,
    /// The questions.
    pub questions: Vec<Question>,
    /// How many questions without an answer were left out.
    pub skipped: usize,
}

/// Questions as their author divided them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuestionParts {
    /// What to train on.
    pub training: Questions,
    /// What to choose settings by.
    pub validation: Option<Questions>,
    /// What to measure the end result on.
    pub test: Option<Questions>,
}

/// What to do with a question that its text does not answer (SQuAD 2.0 has `is_impossible`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unanswerable {
    /// It is an error.
    Refuse,
    /// It is left out and counted.
    Skip,
}

impl Questions {
    /// Reads a file of SQuAD's form, version 1.1 or 2.0, plain or gzip.
    ///
    /// Places of answers are counted in characters there, and in bytes here.
    ///
    /// # Errors
    /// [`DataError::Read`] for a file that cannot be read; [`DataError::File`] for one that is no JSON, lacks a field
    /// (with its place), has no question, holds an answer that does not stand where it should (with the question's
    /// id), or an unanswerable question if those are to be refused.
    pub fn read(path: &Path, unanswerable: Unanswerable) -> Result<Self, DataError> {
        let text = text_file::read(path, EXPECTED)?;
        let file: Value = serde_json::from_str(&text)
            .map_err(|error| DataError::file(path, format!("no JSON: {error}"), format!("give {EXPECTED}")))?;
        let mut reader = Reader { path, unanswerable, found: Self::default() };
        for (index, article) in list(path, &file, "data", "")?.iter().enumerate() {
            let place = format!("data[{index}]");
            for (index, paragraph) in list(path, article, "paragraphs", &place)?.iter().enumerate() {
                reader.paragraph(paragraph, &format!("{place}.paragraphs[{index}]"))?;
            }
        }
        let found = reader.found;
        if found.questions.is_empty() {
            let what = match found.skipped {
                0 => "there is no question".into(),
                skipped => format!("none of the {skipped} questions has an answer"),
            };
            return Err(DataError::file(path, what, "give at least one question with an answer"));
        }
        Ok(found)
    }

    /// How many questions there are.
    pub fn len(&self) -> usize {
        self.questions.len()
    }

    /// Whether there is no question.
    pub fn is_empty(&self) -> bool {
        self.questions.is_empty()
    }

    /// The text that question `index` is about, or `None` past the end.
    pub fn context(&self, index: usize) -> Option<&str> {
        self.contexts.get(self.questions.get(index)?.context).map(String::as_str)
    }

    /// The accepted answers to question `index`: none past the end.
    pub fn answers(&self, index: usize) -> Vec<&str> {
        let answers = self.questions.get(index).zip(self.context(index));
        let text = |(question, context): (&Question, _)| {
            let spans = question.answers.iter().cloned();
            spans.filter_map(|span| str::get(context, span)).collect()
        };
        answers.map(text).unwrap_or_default()
    }
}

impl QuestionParts {
    /// Reads a file (see [`Questions::read`]), which is all for training, or a folder with `train*.json`, and maybe
    /// `dev*.json` (or `val*.json`, `valid*.json`) and `test*.json`, plain or gzip. Of several for one part the first by
    /// name is read, the plain name before others.
    ///
    /// # Errors
    /// As [`Questions::read`]; with the folder if it has no file for training.
    pub fn read(path: &Path, unanswerable: Unanswerable) -> Result<Self, DataError> {
        if !path.is_dir() {
            return Ok(Self { training: Questions::read(path, unanswerable)?, validation: None, test: None });
        }
        let files = parts::list(path, EXPECTED)?;
        let read = |part: Part| {
            let of_part = files
                .iter()
                .filter(|file| file.part == part && text_file::extension(&file.path).as_deref() == Some("json"));
            let first = of_part.min_by_key(|file| (!file.is_plain(), &file.path));
            first.map(|file| Questions::read(&file.path, unanswerable)).transpose()
        };
        let Some(training) = read(Part::Training)? else {
            return Err(DataError::file(
                path,
                "there is no file train*.json",
                "name the files train.json and dev.json",
            ));
        };
        Ok(Self { training, validation: read(Part::Validation)?, test: read(Part::Test)? })
    }
}

impl Questions {
    /// Divides the questions: about a `fraction` of the texts, drawn by `seed`, with all questions about them are held
    /// out; the others come first. With two texts or more each part has one.
    pub fn split(&self, fraction: f64, seed: u64) -> (Self, Self) {
        let texts = self.contexts.len();
        let held_out = held_out(texts, fraction, (seed, SPLIT_STREAM));
        let part = |wanted: bool| {
            let mut part = Self { skipped: if wanted { 0 } else { self.skipped }, ..Self::default() };
            let mut places = vec![None; texts];
            for question in self.questions.iter().filter(|question| held_out[question.context] == wanted) {
                let context = *places[question.context].get_or_insert_with(|| {
                    part.contexts.push(self.contexts[question.context].clone());
                    part.contexts.len() - 1
                });
                part.questions.push(Question { context, ..question.clone() });
            }
            part
        };
        (part(false), part(true))
    }
}

struct Reader<'a> {
    path: &'a Path,
    unanswerable: Unanswerable,
    found: Questions,
}

impl Reader<'_> {
    fn paragraph(&mut self, paragraph: &Value, place: &str) -> Result<(), DataError> {
        let context = string(self.path, paragraph, "context", place)?;
        let questions = list(self.path, paragraph, "qas", place)?;
        self.found.contexts.push(context.to_owned());
        // The byte at which each character begins, and the end; a context without answers needs none.
        let starts: Vec<usize> = context.char_indices().map(|(start, _)| start).chain([context.len()]).collect();
        for (index, entry) in questions.iter().enumerate() {
            let place = format!("{place}.qas[{index}]");
            let id = match entry.get("id") {
                Some(Value::String(id)) => id.clone(),
                Some(Value::Number(id)) => id.to_string(),
                _ => return Err(missing(self.path, "id", &place, "text")),
            };
            let question = string(self.path, entry, "question", &place)?;
            let entries = list(self.path, entry, "answers", &place)?;
            let impossible = entry.get("is_impossible").and_then(Value::as_bool).unwrap_or(false);
            if impossible || entries.is_empty() {
                match self.unanswerable {
                    Unanswerable::Skip => self.found.skipped += 1,
                    Unanswerable::Refuse => {
                        return Err(DataError::file(
                            self.path,
                            format!("question {id} has no answer in its text"),
                            "remove such questions, or have them left out",
                        ));
                    }
                }
                continue;
            }
            let mut answers = Vec::with_capacity(entries.len());
            for (index, answer) in entries.iter().enumerate() {
                let place = format!("{place}.answers[{index}]");
                let text = string(self.path, answer, "text", &place)?;
                let start = answer.get("answer_start").and_then(Value::as_u64);
                let start = start.ok_or_else(|| missing(self.path, "answer_start", &place, "whole number"))?;
                answers.push(find_span(context, &starts, text, start).map_err(|what| {
                    DataError::file(
                        self.path,
                        format!("question {id}: {what}"),
                        "answer_start counts the characters (not bytes) before the answer in its context",
                    )
                })?);
            }
            let context = self.found.contexts.len() - 1;
            self.found.questions.push(Question { id, context, question: question.to_owned(), answers });
        }
        Ok(())
    }
}

/// Where the answer `text`, `start` characters into the context, lies in bytes.
fn find_span(context: &str, starts: &[usize], text: &str, start: u64) -> Result<Range<usize>, String> {
    if text.is_empty() {
        return Err("its answer is empty".into());
    }
    let begin = usize::try_from(start).ok().and_then(|start| starts.get(start).copied());
    let rest = begin.and_then(|begin| context.get(begin..));
    match (begin, rest) {
        (Some(begin), Some(rest)) if rest.starts_with(text) => Ok(begin..begin + text.len()),
        (Some(_), Some(rest)) => {
            let there: String = rest.chars().take(text.chars().count()).collect();
            Err(format!("its answer {text:?} should begin at character {start} of its context, but {there:?} is there"))
        }
        _ => Err(format!(
            "its answer {text:?} should begin at character {start} of its context, which has {} characters",
            starts.len() - 1
        )),
    }
}

fn missing(path: &Path, field: &str, place: &str, what: &str) -> DataError {
    let place = if place.is_empty() { "the file" } else { place };
    DataError::file(path, format!("{place} has no field {field:?} that is a {what}"), format!("give {EXPECTED}"))
}

fn list<'a>(path: &Path, parent: &'a Value, field: &str, place: &str) -> Result<&'a Vec<Value>, DataError> {
    parent.get(field).and_then(Value::as_array).ok_or_else(|| missing(path, field, place, "list"))
}

fn string<'a>(path: &Path, parent: &'a Value, field: &str, place: &str) -> Result<&'a str, DataError> {
    parent.get(field).and_then(Value::as_str).ok_or_else(|| missing(path, field, place, "text"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_files::{Folder, gzip};
    use serde_json::json;

    const CONTEXT: &str = "Zürich liegt am See. 🚲 fährt Anna nach Zürich.";

    fn file(questions: &str) -> String {
        format!(
            r#"{{"version": "1.1", "data": [{{"title": "t", "paragraphs": [{{"context": "{CONTEXT}", "qas": [{questions}]}}]}}]}}"#
        )
    }

    fn read(content: &str, unanswerable: Unanswerable) -> Result<Questions, String> {
        let folder = Folder::new();
        Questions::read(&folder.write("x.json", content), unanswerable).map_err(|error| error.to_string())
    }

    #[test]
    fn places_in_characters_become_places_in_bytes() {
        let content = file(
            r#"{"id": "a", "question": "Wo?", "answers": [
                {"text": "Zürich", "answer_start": 39}, {"text": "Zürich.", "answer_start": 39}]},
               {"id": 7, "question": "Wer?", "answers": [{"text": "Anna", "answer_start": 29}]}"#,
        );
        let expected_start = CONTEXT.rfind("Zürich").unwrap();
        for content in [content.clone().into_bytes(), gzip(content.as_bytes())] {
            let folder = Folder::new();
            let found = Questions::read(&folder.write("x.json", content), Unanswerable::Refuse).unwrap();
            assert_eq!(found.len(), 2);
            assert_eq!(found.questions[0].answers[0], expected_start..expected_start + "Zürich".len());
            assert_eq!(found.answers(0), ["Zürich", "Zürich."]);
            assert_eq!(found.answers(1), ["Anna"]);
            assert_eq!((found.questions[1].id.as_str(), found.questions[1].question.as_str()), ("7", "Wer?"));
            assert_eq!(found.context(1), Some(CONTEXT));
            assert_eq!((found.answers(2).len(), found.context(2)), (0, None));
        }
    }

    #[test]
    fn an_answer_that_stands_elsewhere_is_told_with_its_id() {
        let at = |text: &str, start: &str| {
            let answer = format!(r#"{{"text": "{text}", "answer_start": {start}}}"#);
            let content = file(&format!(r#"{{"id": "q7", "question": "?", "answers": [{answer}]}}"#));
            read(&content, Unanswerable::Refuse).unwrap_err()
        };
        let error = at("Anna", "30");
        assert!(
            error.contains("question q7: ") && error.contains("character 30") && error.contains("\"nna \""),
            "{error}"
        );
        // The last character is number 45.
        assert!(at("Zürich", "46").contains("\"\" is there"), "{}", at("Zürich", "46"));
        assert!(at("Zürich", "47").contains("has 46 characters"));
        assert!(at("", "3").contains("empty"));
        assert!(at("Anna", "-1").contains("answers[0] has no field \"answer_start\""));
    }

    #[test]
    fn questions_without_answers_are_refused_or_counted() {
        let content = file(
            r#"{"id": "a", "question": "?", "is_impossible": true, "answers": [], "plausible_answers": []},
               {"id": "b", "question": "?", "is_impossible": false, "answers": [{"text": "See", "answer_start": 16}]},
               {"id": "c", "question": "?", "answers": []}"#,
        );
        let found = read(&content, Unanswerable::Skip).unwrap();
        assert_eq!((found.len(), found.skipped), (1, 2));
        assert_eq!(found.answers(0), ["See"]);
        assert!(read(&content, Unanswerable::Refuse).unwrap_err().contains("question a has no answer"));
        let content = file(r#"{"id": "a", "question": "?", "answers": []}"#);
        assert!(read(&content, Unanswerable::Skip).unwrap_err().contains("none of the 1 questions"));
    }

    #[test]
    fn files_of_another_form_are_refused() {
        for (content, told) in [
            ("{", "no JSON"),
            ("[]", "the file has no field \"data\""),
            (r#"{"data": [{"title": "t"}]}"#, "data[0] has no field \"paragraphs\""),
            (r#"{"data": [{"paragraphs": [{"context": 3}]}]}"#, "data[0].paragraphs[0] has no field \"context\""),
            (r#"{"data": []}"#, "there is no question"),
            (&file(r#"{"question": "?"}"#), "qas[0] has no field \"id\""),
            (&file(r#"{"id": "a"}"#), "qas[0] has no field \"question\""),
            (&file(r#"{"id": "a", "question": "?"}"#), "qas[0] has no field \"answers\""),
        ] {
            let error = read(content, Unanswerable::Skip).unwrap_err();
            assert!(error.contains(told), "{error}, not {told}");
        }
    }

    #[test]
    fn texts_are_held_out_with_all_their_questions() {
        let answer = 0..1;
        let question = |context: usize, id: &str| Question {
            id: id.into(),
            context,
            question: "?".into(),
            answers: vec![answer.clone()],
        };
        let all = Questions {
            contexts: vec!["a".into(), "b".into(), "c".into(), "d".into()],
            questions: vec![question(0, "0"), question(1, "1"), question(0, "2"), question(3, "3"), question(2, "4")],
            skipped: 7,
        };
        let (training, held_out) = all.split(0.25, 5);
        assert_eq!((training.contexts.len(), held_out.contexts.len(), training.skipped), (3, 1, 7));
        assert_eq!(training.len() + held_out.len(), 5);
        for part in [&training, &held_out] {
            for (index, question) in part.questions.iter().enumerate() {
                let original = all.questions.iter().find(|other| other.id == question.id).unwrap();
                assert_eq!(part.context(index), Some(all.contexts[original.context].as_str()));
            }
        }
        assert_eq!(all.split(0.25, 5), (training, held_out));
        assert!((0..20).any(|seed| all.split(0.25, seed).1 != all.split(0.25, 5).1));
        assert_eq!(all.split(0.0001, 0).1.contexts.len(), 1);
    }

    #[test]
    fn folders_have_a_file_for_each_part() {
        let folder = Folder::new();
        let file = |answer: &str| {
            let start = CONTEXT.chars().count() - CONTEXT.split(answer).last().unwrap().chars().count();
            let start = start - answer.chars().count();
            json!({"data": [{"paragraphs": [{"context": CONTEXT, "qas": [
                {"id": 1, "question": "?", "answers": [{"text": answer, "answer_start": start}]}]}]}]})
            .to_string()
        };
        assert!(
            QuestionParts::read(folder.path(), Unanswerable::Refuse).unwrap_err().to_string().contains("train*.json")
        );
        folder.write("train-v1.1.json", file("See"));
        folder.write("dev-v1.1.json.gz", gzip(file("Anna").as_bytes()));
        let parts = QuestionParts::read(folder.path(), Unanswerable::Refuse).unwrap();
        assert_eq!(parts.training.answers(0), ["See"]);
        assert_eq!(parts.validation.unwrap().answers(0), ["Anna"]);
        assert_eq!(parts.test, None);
    }
}
