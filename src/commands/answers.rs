//! Answers to questions: the part of a text that a model finds the likeliest.

use super::{model, print_json, write};
use crate::config::Rows;
use crate::error::Error;
use nn_data::{Question, Questions, Tokenizer};
use nn_train::Trainer;
use serde_json::{Value, json};
use std::ops::Range;
use std::path::Path;

/// The most tokens of an answer, as is usual for SQuAD.
const LONGEST: usize = 30;
/// Room in a row for what a tokeniser puts around question and text, and so that none is too short.
const ROOM: usize = 16;
/// Rows that are read at once.
const TOGETHER: usize = 256;

/// What a model answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Answer {
    pub(super) text: String,
    /// Where it stands in the text, in bytes.
    pub(super) bytes: Range<usize>,
    /// The probability of its first token times that of its last, among those of its row.
    pub(super) probability: f64,
    /// The sum of their logits, by which rows of a text are compared.
    score: f32,
}

/// Prints the answers to questions about a text, or the file of that name.
///
/// # Errors
/// If there is no text, model or device cannot be used, or a text cannot be encoded.
pub(super) fn print(
    questions: &[String],
    context: Option<&str>,
    mut found: model::Found,
    device: Option<&str>,
    json: bool,
) -> Result<(), Error> {
    let context = context.ok_or_else(|| {
        Error::usage("the model finds answers in a text: give it by --context \"…\", or a file with it")
    })?;
    let path = Path::new(context);
    let text = if path.is_file() { nn_data::read_text(path)? } else { context.to_string() };
    let question = |(place, question): (usize, &String)| Question {
        id: place.to_string(),
        context: 0,
        question: question.clone(),
        answers: Vec::new(),
    };
    let questions: Vec<Question> = questions.iter().enumerate().map(question).collect();
    let count = questions.len();
    let tokenizer = write::tokenizer(&found.config)?;
    // Padding takes time and changes nothing.
    let mut longest = 0;
    for question in &questions {
        longest = longest.max(tokenizer.encode(&question.question)?.len());
    }
    let needed = tokenizer.encode(&text)?.len() + longest + ROOM;
    let length = found.config.row_length().min(needed);
    found.config.data.sample_shape = Some(vec![length]);
    let questions = Questions { contexts: vec![text], questions, skipped: 0 };
    let mut trainer = found.load(device)?;
    let answers = find(&mut trainer, &tokenizer, &questions, count, length)?;
    if json {
        let document = |answer: &Answer| {
            let Answer { text, bytes, probability, .. } = answer;
            json!({"answer": text, "start": bytes.start, "end": bytes.end, "probability": probability})
        };
        return print_json(&json!({"predictions": answers.iter().map(document).collect::<Vec<Value>>()}));
    }
    let line = |answer: &Answer| format!("{}  (probability {:.4})\n", answer.text, answer.probability);
    super::print(&answers.iter().map(line).collect::<String>())
}

/// The answers to the first `count` questions, read in rows of `length` tokens.
///
/// # Errors
/// If a text cannot be encoded, or the device fails.
pub(super) fn find(
    trainer: &mut Trainer,
    tokenizer: &Tokenizer,
    questions: &Questions,
    count: usize,
    length: usize,
) -> Result<Vec<Answer>, Error> {
    let mut reader = Rows::new(tokenizer, length)?;
    let mut rows = Vec::new();
    for place in 0..count {
        rows.extend(reader.of(questions, place)?.into_iter().map(|row| (place, row)));
    }
    if reader.cut > 0 {
        eprintln!("{} questions take more than half of the room for tokens and were cut off", reader.cut);
    }
    let mut best: Vec<Option<Answer>> = vec![None; count];
    for rows in rows.chunks(TOGETHER) {
        let tokens: Vec<u32> = rows.iter().flat_map(|(_, row)| row.tokens.iter().copied()).collect();
        let output = trainer.predict(&tokens)?;
        let logits = output.as_f32().map_err(nn_train::Error::from)?;
        for ((place, row), logits) in rows.iter().zip(logits.chunks(2 * length)) {
            let (starts, ends) = logits.split_at(length);
            let Some((first, last)) = likeliest(starts, ends, row.first..row.first + row.spans.len()) else { continue };
            let score = starts[first] + ends[last];
            if best[*place].as_ref().is_some_and(|best| best.score >= score) {
                continue;
            }
            let text = questions.context(*place).unwrap_or_default();
            let bytes = row.spans[first - row.first].start..row.spans[last - row.first].end;
            let bytes = trimmed(text, bytes);
            best[*place] = Some(Answer {
                text: text.get(bytes.clone()).unwrap_or_default().to_string(),
                bytes,
                probability: probability(starts, first) * probability(ends, last),
                score,
            });
        }
    }
    Ok(best.into_iter().map(Option::unwrap_or_default).collect())
}

/// The places of the first and the last token of the likeliest answer within `places`.
fn likeliest(starts: &[f32], ends: &[f32], places: Range<usize>) -> Option<(usize, usize)> {
    let spans =
        places.clone().flat_map(|first| (first..places.end.min(first + LONGEST)).map(move |last| (first, last)));
    let score = |&(first, last): &(usize, usize)| starts[first] + ends[last];
    // The first of equals.
    spans.reduce(|best, span| if score(&span) > score(&best) { span } else { best })
}

fn probability(logits: &[f32], place: usize) -> f64 {
    super::predict::softmax(logits)[place]
}

/// Without spaces at both ends, which byte-level tokens begin with.
fn trimmed(text: &str, bytes: Range<usize>) -> Range<usize> {
    let Some(part) = text.get(bytes.clone()) else { return bytes };
    let start = bytes.start + (part.len() - part.trim_start().len());
    start..start + part.trim().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_answer_is_in_the_text_and_not_backwards() {
        let mut starts = vec![0.0; 50];
        let mut ends = starts.clone();
        (starts[2], starts[9], starts[12]) = (9.0, 3.0, 2.0);
        (ends[1], ends[8], ends[11], ends[45]) = (9.0, 6.0, 2.0, 7.0);
        // 2 is not of the text, 8 is before 9, 45 is too far from 9 but not from 16.
        assert_eq!(likeliest(&starts, &ends, 5..50), Some((16, 45)));
        assert_eq!(likeliest(&starts, &ends, 5..40), Some((5, 8)));
        assert_eq!(likeliest(&starts, &ends, 9..40), Some((9, 11)));
        assert_eq!(likeliest(&starts, &ends, 9..9), None);
        assert_eq!(trimmed("ab  c d ", 2..8), 4..7);
    }
}
