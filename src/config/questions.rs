//! From configurations to questions whose answers a model is to find in a text.

use super::language::{Text, Trial, hold_out};
use super::pictures::Parts;
use super::texts::{SPECIAL, special};
use super::{Config, Data};
use crate::error::Error;
use nn_data::{
    Dataset, Encoding, Inputs, PartSizes, QuestionParts, Questions, Targets, TextSpan, Tokenizer, Unanswerable,
    stories, train_byte_bpe,
};
use nn_models::Model;
use std::ops::Range;

/// Tokens a row if nothing is said: of drawn stories, and of texts of a file.
const CONTEXT: [usize; 2] = [96, 256];
/// Tokens that there must be room for, of question and text together.
const LEAST: usize = 12;
/// Stories that are trained on if nothing is said.
const SAMPLES: usize = 8000;
/// Stories that are trained on for each that is held out, and for each that is tested with.
const TRAINED_FOR_TESTED: usize = 16;
/// Tokens of a tokeniser that is made of the training texts: of drawn stories, and of texts of a file.
const VOCABULARY: [usize; 2] = [1000, 8000];

/// Data of kind `questions`: by default drawn stories.
///
/// # Errors
/// What is wrong with the texts or the tokeniser, with its place.
pub(super) fn questions(data: &mut Data, model: &dyn Model) -> Result<Parts, Error> {
    if !model.answers_questions() {
        let what = model.describe();
        return Err(Error::usage(format!(
            "data of kind \"questions\" is for a model that finds answers in a text, not {what}; take bert or distilbert \
             with head = \"question_answering\" in [model.config]"
        )));
    }
    let of_file = usize::from(data.path.is_some());
    let (name, QuestionParts { training, validation, test }) = match &data.path {
        Some(path) => (path.display().to_string(), QuestionParts::read(path, Unanswerable::Skip)?),
        None => {
            let training = *data.samples.get_or_insert(SAMPLES);
            let other = training.div_ceil(TRAINED_FOR_TESTED);
            let sizes = PartSizes { training, validation: other, test: other };
            ("drawn stories".into(), stories(sizes, *data.facts.get_or_insert(1), data.seed.unwrap_or(0))?)
        }
    };
    let (training, validation) =
        hold_out(data, training, validation, test.is_some(), |all, share, seed| Ok(all.split(share, seed)))?;
    let tokenizer = match &data.tokenizer {
        Some(path) => Tokenizer::load(path)?,
        None => {
            let questions = training.questions.iter().map(|question| &question.question);
            let vocabulary = *data.vocabulary.get_or_insert(VOCABULARY[of_file]);
            train_byte_bpe(training.contexts.iter().chain(questions), vocabulary, &SPECIAL)?
        }
    };
    let length = *data.context.get_or_insert(CONTEXT[of_file]);
    let mut notes = Vec::new();
    if training.skipped > 0 {
        notes.push(format!("{name}: {} questions without an answer were left out", training.skipped));
    }
    let refuse = data.refuses_long("split")?;
    let (mut cut, mut cut_off) = (0, 0);
    let mut rows = |questions: &Questions| {
        let (set, texts, questions) = dataset(&tokenizer, questions, length, &name, refuse)?;
        (cut, cut_off) = (cut + texts, cut_off + questions);
        Ok::<Dataset, Error>(set)
    };
    let all = rows(&training)?;
    let held_out = validation.as_ref().map(&mut rows).transpose()?;
    let tested = test.as_ref().map(&mut rows).transpose()?;
    if cut > 0 {
        notes.push(format!(
            "{name}: {cut} texts are longer than data.context = {length} tokens leaves room for and were cut into several rows"
        ));
    }
    if cut_off > 0 {
        notes.push(format!("{name}: {cut_off} questions take more than half of the room for tokens and were cut off"));
    }
    let evaluated = validation.as_ref().or(test.as_ref()).unwrap_or(&training).clone();
    let tried = test.or(validation).unwrap_or(training);
    let text = Text {
        notes,
        evaluated: Some(Trial::Questions(evaluated)),
        tested: Some(Trial::Questions(tried)),
        ..Text::of(tokenizer)
    };
    Ok(Parts { validation: held_out, test: tested, text: Some(text), ..Parts::one(all) })
}

/// The rows of questions, how many texts became several, and how many questions were cut off. A row without its answer has
/// the first token in its place.
fn dataset(
    tokenizer: &Tokenizer,
    questions: &Questions,
    length: usize,
    name: &str,
    refuse: bool,
) -> Result<(Dataset, usize, usize), Error> {
    let mut reader = Rows::new(tokenizer, length)?;
    let (mut values, mut labels, mut cut) = (Vec::new(), Vec::new(), 0);
    for (place, question) in questions.questions.iter().enumerate() {
        let rows = reader.of(questions, place)?;
        if rows.len() > 1 {
            if refuse {
                return Err(Error::run(format!(
                    "{name}: the text of question {} is longer than data.context = {length} tokens leaves room for; give a \
                     larger one, or data.long = \"split\"",
                    question.id
                )));
            }
            cut += 1;
        }
        // The first of several answers, as training on SQuAD has it.
        let answer = question.answers.first().cloned().unwrap_or_default();
        for row in &rows {
            let [first, last] = row.place_of(&answer).unwrap_or([0, 0]);
            labels.extend([first as u32, last as u32]);
        }
        rows.into_iter().for_each(|row| values.extend(row.tokens));
    }
    let set = Dataset {
        name: name.into(),
        inputs: Inputs::Tokens { values, stride: length, vocabulary: tokenizer.vocabulary_size() },
        sample_shape: vec![length],
        targets: Targets::Sequences { labels, length: 2, stride: 2, count: length },
        augmentation: None,
    };
    set.validate()?;
    Ok((set, cut, reader.cut))
}

/// A question and a part of its text, as a model reads them.
#[derive(Debug)]
pub(crate) struct Row {
    /// `[CLS] question [SEP] text [SEP]`, filled up.
    pub(crate) tokens: Vec<u32>,
    /// The place of the text's first token.
    pub(crate) first: usize,
    /// Of each of the text's tokens the bytes of the text that it stands for.
    pub(crate) spans: Vec<Range<usize>>,
}

impl Row {
    /// The places of the first and the last token of these bytes of the text, if all of them are in the row.
    fn place_of(&self, bytes: &Range<usize>) -> Option<[usize; 2]> {
        let overlaps = |span: &Range<usize>| span.start < bytes.end && bytes.start < span.end;
        let (first, last) = (self.spans.iter().position(overlaps)?, self.spans.iter().rposition(overlaps)?);
        // Spaces at either end may belong to no token.
        let cut = (first == 0 && self.spans[0].start > bytes.start)
            || (last + 1 == self.spans.len() && self.spans[last].end < bytes.end);
        (!cut).then_some([self.first + first, self.first + last])
    }
}

/// Makes rows of questions; each text is read once.
pub(crate) struct Rows<'a> {
    tokenizer: &'a Tokenizer,
    length: usize,
    /// What comes before the question, between it and the text, and after that.
    frame: [Vec<u32>; 3],
    /// What fills a row up.
    pad: u32,
    texts: Vec<Option<Encoding>>,
    /// Questions that left no room for a text and were cut off.
    pub(crate) cut: usize,
}

impl<'a> Rows<'a> {
    /// # Errors
    /// If the tokeniser is not one for such models, or there is no room for a question and a text.
    pub(crate) fn new(tokenizer: &'a Tokenizer, length: usize) -> Result<Rows<'a>, Error> {
        let ([.., pad], frame) = (special(tokenizer)?, frame(tokenizer)?);
        let least = LEAST + frame.iter().map(Vec::len).sum::<usize>();
        if length < least {
            return Err(Error::usage(format!(
                "data.context = {length} is too short for a question and a text; give {least} or more"
            )));
        }
        Ok(Rows { tokenizer, length, frame, pad, texts: Vec::new(), cut: 0 })
    }

    /// The rows of a question: one, or where the text is too long several whose texts overlap.
    ///
    /// # Errors
    /// If a text cannot be encoded.
    pub(crate) fn of(&mut self, questions: &Questions, place: usize) -> Result<Vec<Row>, Error> {
        let Some(question) = questions.questions.get(place) else { return Ok(Vec::new()) };
        self.texts.resize(questions.contexts.len(), None);
        let text = match &mut self.texts[question.context] {
            Some(text) => text,
            free => free.insert(self.tokenizer.encode_with_offsets(&questions.contexts[question.context])?),
        };
        let [begin, between, end] = &self.frame;
        let mut head = begin.clone();
        let question = self.tokenizer.encode(&question.question)?;
        let room = self.length - begin.len() - between.len() - end.len();
        // A longer one would leave too little of the text.
        let kept = question.len().min(room.div_ceil(2));
        self.cut += usize::from(kept < question.len());
        head.extend(&question[..kept]);
        head.extend(between);
        let room = room - kept;
        let step = (room * 2 / 3).max(1);
        let spans: Vec<Range<usize>> =
            text.spans.iter().map(|span| span.as_ref().map_or(0..0, |span| span.bytes.clone())).collect();
        let mut rows = Vec::new();
        let mut start = 0;
        loop {
            let stop = (start + room).min(text.len());
            let mut tokens = head.clone();
            tokens.extend_from_slice(&text.ids[start..stop]);
            tokens.extend(end);
            tokens.resize(self.length, self.pad);
            rows.push(Row { tokens, first: head.len(), spans: spans[start..stop].to_vec() });
            if stop == text.len() {
                return Ok(rows);
            }
            start += step;
        }
    }
}

/// What the tokeniser puts before, between and after two texts.
///
/// # Errors
/// If that cannot be found out.
fn frame(tokenizer: &Tokenizer) -> Result<[Vec<u32>; 3], Error> {
    // Most tokenisers know these; one of characters may not.
    let known = [["a", "b"], ["?", "."], ["1", "2"]].into_iter();
    let pair = known.into_iter().find_map(|[first, second]| tokenizer.encode_pair(first, second).ok());
    let of = |text: usize, pair: &Encoding| {
        let own = |span: &Option<TextSpan>| span.as_ref().is_some_and(|span| span.text == text);
        Some([pair.spans.iter().position(own)?, pair.spans.iter().rposition(own)? + 1])
    };
    let found = pair.and_then(|pair| {
        let ([start, stop], [again, end]) = (of(0, &pair)?, of(1, &pair)?);
        Some([&pair.ids[..start], &pair.ids[stop..again], &pair.ids[end..]].map(<[u32]>::to_vec))
    });
    let [begin, end, _] = special(tokenizer)?;
    let found = found.unwrap_or_else(|| [vec![begin], vec![end], vec![end]]);
    match found.iter().any(Vec::is_empty) {
        false => Ok(found),
        true => {
            Err(Error::usage("the tokeniser puts nothing between two texts; give one made for models such as BERT"))
        }
    }
}

impl Config {
    /// Tokens a row of a completed config.
    pub(crate) fn row_length(&self) -> usize {
        self.sample_shape().iter().product()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nn_data::Question;

    fn questions() -> Questions {
        let text = "The cat sat on a mat. The dog ran to the far end of the long road and came back.";
        let start = text.find("the far end").unwrap();
        let answer = start..start + 11;
        let question = Question { id: "a".into(), context: 0, question: "Where?".into(), answers: vec![answer] };
        Questions { contexts: vec![text.into()], questions: vec![question], skipped: 0 }
    }

    #[test]
    fn each_part_of_a_long_text_is_in_a_row_and_answers_are_found_again() {
        let questions = questions();
        let tokenizer = Tokenizer::characters(&format!("{}Where?", questions.contexts[0]), &SPECIAL).unwrap();
        let answer = &questions.questions[0].answers[0];
        for length in [24, 40, 128] {
            let rows = Rows::new(&tokenizer, length).unwrap().of(&questions, 0).unwrap();
            assert_eq!(rows.len() == 1, length == 128, "{length}");
            let mut found = 0;
            for row in &rows {
                assert_eq!(row.tokens.len(), length);
                assert_eq!(tokenizer.decode(&row.tokens[1..7], true), "Where?");
                let Some([first, last]) = row.place_of(answer) else { continue };
                assert_eq!(tokenizer.decode(&row.tokens[first..=last], true), "the far end");
                found += 1;
            }
            assert!(found > 0 || length == 24, "{length}");
            let covered: Vec<usize> = rows.iter().flat_map(|row| row.spans.iter().map(|span| span.start)).collect();
            assert!((0..questions.contexts[0].len()).all(|place| covered.contains(&place)));
        }
        let error = dataset(&tokenizer, &questions, 40, "q", true).unwrap_err().to_string();
        assert!(error.contains("question a is longer"), "{error}");
        let (set, cut, cut_off) = dataset(&tokenizer, &questions, 40, "q", false).unwrap();
        assert_eq!((cut, cut_off), (1, 0));
        let Targets::Sequences { labels, .. } = &set.targets else { panic!("targets are places") };
        // Of 17 tokens' room at most 9 are the question's.
        let mut asked = questions.clone();
        asked.questions[0].question = "Where? Where?".into();
        let mut rows = Rows::new(&tokenizer, 20).unwrap();
        assert_eq!(tokenizer.decode(&rows.of(&asked, 0).unwrap()[0].tokens[1..10], true), "Where? Wh");
        assert_eq!(rows.cut, 1);
        assert!(Rows::new(&tokenizer, 14).is_err());
        assert!(
            labels.chunks(2).any(|places| places == [0, 0])
                && labels.chunks(2).any(|places| places[1] == places[0] + 10)
        );
    }
}
