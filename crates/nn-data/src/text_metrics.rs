//! How good texts are: BLEU of translations, exact match and F1 of answers, and F1 over classes.

use std::collections::HashMap;

use crate::DataError;

/// The longest runs of words that BLEU counts.
const ORDERS: usize = 4;

/// Corpus BLEU with what it is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bleu {
    /// The score, from 0 to 100.
    pub score: f64,
    /// The share, from 0 to 100, of the runs of 1, 2, 3 and 4 words that the references have too, smoothed.
    pub precisions: [f64; ORDERS],
    /// What the score was multiplied by because the translations are shorter than the references: at most 1.
    pub brevity_penalty: f64,
    /// Words of all translations.
    pub hypothesis_words: usize,
    /// Words of the references that are nearest in length.
    pub reference_words: usize,
}

/// BLEU of a whole corpus (K. Papineni et al., 2002) as sacreBLEU computes it by default: words by the rules of
/// mteval-v13a, upper and lower case distinct, runs of up to 4 words, exponential smoothing of precisions that are 0.
///
/// `references[n]` are the accepted translations of sentence `n`, at least one. Equals
/// `sacrebleu.corpus_bleu(hypotheses, references).score`, signature `case:mixed|eff:no|tok:13a|smooth:exp`.
///
/// # Errors
/// [`DataError::Argument`] if there is no sentence, if the two differ in number, or if a sentence has no reference.
pub fn corpus_bleu<H: AsRef<str>, R: AsRef<str>>(hypotheses: &[H], references: &[Vec<R>]) -> Result<Bleu, DataError> {
    if hypotheses.is_empty() || hypotheses.len() != references.len() {
        return Err(DataError::argument(
            format!("{} translations for the references of {} sentences", hypotheses.len(), references.len()),
            "give as many of one as of the other, and at least one",
        ));
    }
    let (mut correct, mut total) = ([0usize; ORDERS], [0usize; ORDERS]);
    let (mut hypothesis_words, mut reference_words) = (0, 0);
    for (index, (hypothesis, references)) in hypotheses.iter().zip(references).enumerate() {
        let hypothesis = words_13a(hypothesis.as_ref());
        let references: Vec<_> = references.iter().map(|reference| words_13a(reference.as_ref())).collect();
        let length = |words: &Vec<String>| words.len();
        let nearest = references.iter().map(length).min_by_key(|words| (words.abs_diff(hypothesis.len()), *words));
        let Some(nearest) = nearest else {
            return Err(DataError::argument(
                format!("sentence {index} (from 0) has no reference"),
                "give at least one for each",
            ));
        };
        hypothesis_words += hypothesis.len();
        reference_words += nearest;
        for order in 0..ORDERS {
            let mut allowed: HashMap<&[String], usize> = HashMap::new();
            for reference in &references {
                for (run, count) in runs(reference, order + 1) {
                    let most = allowed.entry(run).or_default();
                    *most = count.max(*most);
                }
            }
            for (run, count) in runs(&hypothesis, order + 1) {
                total[order] += count;
                correct[order] += count.min(allowed.get(run).copied().unwrap_or(0));
            }
        }
    }
    Ok(score(correct, total, hypothesis_words, reference_words))
}

/// How often each run of `length` words occurs.
fn runs(words: &[String], length: usize) -> HashMap<&[String], usize> {
    let mut counts = HashMap::new();
    for run in words.windows(length) {
        *counts.entry(run).or_default() += 1;
    }
    counts
}

fn score(correct: [usize; ORDERS], total: [usize; ORDERS], hypothesis_words: usize, reference_words: usize) -> Bleu {
    let brevity_penalty = if hypothesis_words >= reference_words {
        1.0
    } else if hypothesis_words == 0 {
        0.0
    } else {
        (1.0 - reference_words as f64 / hypothesis_words as f64).exp()
    };
    let mut precisions = [0.0; ORDERS];
    if correct.iter().any(|&count| count > 0) {
        let mut smoothing = 1.0;
        for order in 0..ORDERS {
            // Without runs of this length there are no longer ones either.
            if total[order] == 0 {
                break;
            }
            let matched = if correct[order] > 0 {
                correct[order] as f64
            } else {
                smoothing *= 2.0;
                1.0 / smoothing
            };
            precisions[order] = 100.0 * matched / total[order] as f64;
        }
    }
    let score = if precisions.contains(&0.0) {
        0.0
    } else {
        brevity_penalty * (precisions.iter().map(|precision| precision.ln()).sum::<f64>() / ORDERS as f64).exp()
    };
    Bleu { score, precisions, brevity_penalty, hypothesis_words, reference_words }
}

/// Splits a sentence into words by the rules of mteval-v13a, NIST's script: most ASCII punctuation stands alone, but
/// points and commas between digits, hyphens and apostrophes do not.
fn words_13a(text: &str) -> Vec<String> {
    let text = text.trim_end_matches(is_space);
    let text = text.replace("<skipped>", "").replace("-\n", "").replace('\n', " ");
    // In this order: `&amp;lt;` becomes `<`.
    let text = text.replace("&quot;", "\"").replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">");
    let mut spaced = String::with_capacity(2 * text.len() + 2);
    spaced.push(' ');
    for c in text.chars() {
        match c {
            ' '..='&' | '(' | ')' | '*' | '+' | '/' | ':'..='@' | '['..='`' | '{'..='~' => spaced.extend([' ', c, ' ']),
            _ => spaced.push(c),
        }
    }
    spaced.push(' ');
    const fn is_stop(c: char) -> bool {
        matches!(c, '.' | ',')
    }
    // A stop after what is no digit; then a stop before what is no digit; then a hyphen after a digit. As with regular
    // expressions, a character that one match took begins no other.
    let spaced = space_pairs(&spaced, |a, b| !a.is_ascii_digit() && is_stop(b), |a, b| [a, ' ', b, ' ']);
    let spaced = space_pairs(&spaced, |a, b| is_stop(a) && !b.is_ascii_digit(), |a, b| [' ', a, ' ', b]);
    let spaced = space_pairs(&spaced, |a, b| a.is_ascii_digit() && b == '-', |a, b| [a, ' ', b, ' ']);
    spaced.split(is_space).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Replaces, from left to right, each pair of neighbours that `matches`.
fn space_pairs(text: &str, matches: fn(char, char) -> bool, spaced: fn(char, char) -> [char; 4]) -> String {
    let mut result = String::with_capacity(2 * text.len());
    let mut rest = text.chars();
    while let Some(first) = rest.next() {
        match rest.clone().next() {
            Some(second) if matches(first, second) => {
                result.extend(spaced(first, second));
                rest.next();
            }
            _ => result.push(first),
        }
    }
    result
}

/// What Python's `str.split` takes for a space: Unicode's white space and four control characters.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// An answer as SQuAD's script compares it: lower case, without ASCII punctuation and the articles a, an and the,
/// words separated by single spaces.
pub fn normalise_answer(text: &str) -> String {
    let mut text = text.to_lowercase();
    text.retain(|c| !c.is_ascii_punctuation());
    // Articles are whole runs of letters and digits: "–the–" holds one.
    let mut kept = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let word = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
        match &rest[..word] {
            "a" | "an" | "the" => kept.push(' '),
            word => kept.push_str(word),
        }
        let next = rest[word..].find(char::is_alphanumeric).map_or(rest.len(), |next| word + next);
        kept.push_str(&rest[word..next]);
        rest = &rest[next..];
    }
    kept.split(is_space).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Whether the answer equals one of the accepted ones after [`normalise_answer`]: SQuAD's exact match.
pub fn exact_match<S: AsRef<str>>(answer: &str, accepted: &[S]) -> bool {
    let answer = normalise_answer(answer);
    accepted.iter().any(|accepted| normalise_answer(accepted.as_ref()) == answer)
}

/// SQuAD's F1, from 0 to 1: how far the words of the answer are those of an accepted one, for the one that fits best.
///
/// The harmonic mean of the share of the answer's words that the accepted one has and the share of the accepted one's
/// that the answer has, after [`normalise_answer`]. If one of the two has no words it is 1 if neither has, else 0, as
/// in SQuAD 2.0's script.
pub fn answer_f1<S: AsRef<str>>(answer: &str, accepted: &[S]) -> f64 {
    let answer = normalise_answer(answer);
    let f1 = |accepted: &S| {
        let accepted = normalise_answer(accepted.as_ref());
        let (found, wanted): (Vec<&str>, Vec<&str>) =
            (answer.split_whitespace().collect(), accepted.split_whitespace().collect());
        if found.is_empty() || wanted.is_empty() {
            return f64::from(u8::from(found.is_empty() && wanted.is_empty()));
        }
        let mut left: HashMap<&str, usize> = HashMap::new();
        wanted.iter().for_each(|word| *left.entry(word).or_default() += 1);
        let mut shared = 0;
        for word in &found {
            if let Some(count) = left.get_mut(word).filter(|count| **count > 0) {
                *count -= 1;
                shared += 1;
            }
        }
        // 2pr / (p + r) with p = shared / found and r = shared / wanted.
        2.0 * f64::from(shared) / (found.len() + wanted.len()) as f64
    };
    accepted.iter().map(f1).fold(0.0, f64::max)
}

/// The mean of the classes' F1 from a confusion table (rows are true classes, columns predicted ones), each class
/// counting alike however rare it is. Classes that neither occur nor are predicted do not count; NaN if none does.
///
/// Equals scikit-learn's `f1_score(labels, predictions, average="macro")`.
pub fn macro_f1(confusion: &[Vec<u32>]) -> f64 {
    let f1 = |class: usize| {
        let count = |counts: &mut dyn Iterator<Item = u32>| counts.map(f64::from).sum::<f64>();
        let labelled = count(&mut confusion[class].iter().copied());
        let predicted = count(&mut confusion.iter().filter_map(|row| row.get(class).copied()));
        let right = f64::from(confusion[class].get(class).copied().unwrap_or(0));
        (labelled + predicted > 0.0).then(|| 2.0 * right / (labelled + predicted))
    };
    let scores: Vec<f64> = (0..confusion.len()).filter_map(f1).collect();
    scores.iter().sum::<f64>() / scores.len() as f64
}

#[cfg(test)]
#[path = "text_metrics_tests.rs"]
mod tests;
