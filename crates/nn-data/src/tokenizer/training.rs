//! Training a byte-level BPE tokenizer, as GPT-2's: the pairs of tokens that occur most often become tokens.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet};
use std::path::Path;

use serde_json::json;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

use super::Tokenizer;
use super::hugging_face::HuggingFace;
use super::pieces::pieces;
use crate::DataError;

/// A pair that occurs once only is no use to any other text.
const LEAST: u64 = 2;
/// Words are counted in pieces of this many bytes: the splitter takes several times the text's memory.
const PIECE: usize = 1 << 20;

type Pair = (u32, u32);

/// Trains a byte-level BPE tokenizer (R. Sennrich et al., 2016; A. Radford et al., 2019), the same one for the same
/// texts, always.
///
/// Ids are the `special` tokens in their order, then the 256 bytes, then the merged tokens, the most frequent first,
/// until there are `vocabulary_size` tokens or no pair occurs twice. Texts are split into words by GPT-2's rules.
///
/// With `[CLS]` and `[SEP]` among the special tokens it is one for encoders: [`Tokenizer::encode_whole`] and
/// [`Tokenizer::encode_pair`] add them as BERT's tokenizer does, and a space is put before each text that begins with
/// none, so that its first word is the same token as elsewhere (`add_prefix_space`).
///
/// [Saved](Tokenizer::save), it is a `tokenizer.json` for Python's `tokenizers` and `transformers`. Equals
/// `BpeTrainer(min_frequency=2, initial_alphabet=ByteLevel.alphabet())` there.
///
/// # Errors
/// [`DataError::Argument`] if `vocabulary_size` has no room for the bytes and special tokens, for a special token that has
/// fewer than two characters or is given twice, and if there is no text.
pub fn train_byte_bpe<T: AsRef<str>>(
    texts: impl IntoIterator<Item = T>,
    vocabulary_size: usize,
    special: &[&str],
) -> Result<Tokenizer, DataError> {
    check(vocabulary_size, special)?;
    let mut alphabet: Vec<char> = ByteLevel::alphabet().into_iter().collect();
    alphabet.sort_unstable();
    let mut tokens: Vec<String> = special.iter().map(|&token| token.to_owned()).collect();
    tokens.extend(alphabet.iter().map(char::to_string));

    let marks = ["[CLS]", "[SEP]"].map(|name| special.iter().position(|token| *token == name));
    let marks = if let [Some(first), Some(last)] = marks { Some([first, last]) } else { None };
    let counts = count_words(texts, marks.is_some())?;
    if counts.is_empty() {
        return Err(DataError::argument("there is no text to train a tokenizer on", "give some text"));
    }
    let ids: HashMap<char, u32> = alphabet.into_iter().zip(special.len() as u32..).collect();
    let words = counts
        .into_iter()
        .map(|(word, count)| Word { tokens: word.chars().filter_map(|c| ids.get(&c).copied()).collect(), count });
    let mut merger = Merger::new(words.collect());
    let mut known: HashMap<String, u32> = tokens.iter().cloned().zip(0..).collect();
    let (mut merged, mut merges) = (HashSet::new(), Vec::new());
    while tokens.len() < vocabulary_size {
        let Some(pair) = merger.most_frequent() else { break };
        let parts = [&tokens[pair.0 as usize], &tokens[pair.1 as usize]];
        if merged.insert(pair) {
            merges.push(json!(parts));
        }
        // Another pair may have made the same token before: `a` with `bc`, and `ab` with `c`.
        let joined = parts.map(String::as_str).concat();
        let token = *known.entry(joined).or_insert_with_key(|joined| {
            tokens.push(joined.clone());
            tokens.len() as u32 - 1
        });
        merger.merge(pair, token);
    }
    let file = file(&tokens, merges, special, marks);
    HuggingFace::from_json(file.to_string().as_bytes(), Path::new("the trained tokenizer"))
        .map(Tokenizer::of_hugging_face)
}

fn check(vocabulary_size: usize, special: &[&str]) -> Result<(), DataError> {
    let least = 256 + special.len();
    if vocabulary_size < least || vocabulary_size > 1 << 24 {
        return Err(DataError::argument(
            format!("a vocabulary of {vocabulary_size} tokens cannot be trained"),
            format!("give {least} (the bytes and the special tokens) or more, such as 4096"),
        ));
    }
    for (index, token) in special.iter().enumerate() {
        // One letter could not be told from that of a byte.
        if token.chars().count() < 2 || special[..index].contains(token) {
            return Err(DataError::argument(
                format!("the special token {token:?} is too short or occurs twice"),
                "give special tokens such as <|endoftext|>, each once",
            ));
        }
    }
    Ok(())
}

/// How often each word occurs, spelled in GPT-2's letters for bytes; with `prefix` as if each text began with a space.
fn count_words<T: AsRef<str>>(
    texts: impl IntoIterator<Item = T>,
    prefix: bool,
) -> Result<BTreeMap<String, u64>, DataError> {
    let mut counts = BTreeMap::new();
    for text in texts {
        for (number, piece) in pieces(text.as_ref(), PIECE).enumerate() {
            let splitter = ByteLevel::new(prefix && number == 0, true, true);
            let mut words = PreTokenizedString::from(piece);
            splitter.pre_tokenize(&mut words).map_err(|error| {
                DataError::argument(format!("internal: cannot split a text into words: {error}"), "report this")
            })?;
            for (word, ..) in words.get_splits(OffsetReferential::Original, OffsetType::Byte) {
                match counts.get_mut(word) {
                    Some(count) => *count += 1,
                    None => {
                        counts.insert(word.to_owned(), 1);
                    }
                }
            }
        }
    }
    Ok(counts)
}

/// A word as the tokens it is made of so far.
struct Word {
    tokens: Vec<u32>,
    count: u64,
}

/// The words, with the pairs of neighbours in them.
struct Merger {
    words: Vec<Word>,
    /// How often each pair occurs, and the words that have it or had it.
    pairs: HashMap<Pair, (u64, BTreeSet<u32>)>,
    /// The most frequent pair on top, of equals the smaller; an entry whose count is out of date is passed over.
    queue: BinaryHeap<(u64, Reverse<Pair>)>,
}

impl Merger {
    fn new(words: Vec<Word>) -> Self {
        let mut pairs: HashMap<Pair, (u64, BTreeSet<u32>)> = HashMap::new();
        for (word, number) in words.iter().zip(0..) {
            for pair in neighbours(&word.tokens) {
                let (count, places) = pairs.entry(pair).or_default();
                *count += word.count;
                places.insert(number);
            }
        }
        let queue = pairs.iter().map(|(&pair, (count, _))| (*count, Reverse(pair))).collect();
        Self { words, pairs, queue }
    }

    /// The pair that occurs most often, if any occurs often enough.
    fn most_frequent(&mut self) -> Option<Pair> {
        loop {
            let (count, Reverse(pair)) = self.queue.pop()?;
            if count < LEAST {
                return None;
            }
            if self.pairs.get(&pair).is_some_and(|&(current, _)| current == count) {
                return Some(pair);
            }
        }
    }

    /// Makes one token of each occurrence of a pair.
    fn merge(&mut self, pair: Pair, token: u32) {
        let Some((_, places)) = self.pairs.remove(&pair) else { return };
        let mut changed = BTreeSet::new();
        for number in places {
            let word = &mut self.words[number as usize];
            let merged = replace(&word.tokens, pair, token);
            if merged.len() == word.tokens.len() {
                continue;
            }
            for old in neighbours(&word.tokens).filter(|&old| old != pair) {
                if let Some((count, _)) = self.pairs.get_mut(&old) {
                    *count -= word.count;
                    changed.insert(old);
                }
            }
            for new in neighbours(&merged).filter(|&new| new != pair) {
                let (count, places) = self.pairs.entry(new).or_default();
                *count += word.count;
                places.insert(number);
                changed.insert(new);
            }
            word.tokens = merged;
        }
        for pair in changed {
            match self.pairs.get(&pair) {
                Some((0, _)) => {
                    self.pairs.remove(&pair);
                }
                Some(&(count, _)) => self.queue.push((count, Reverse(pair))),
                None => {}
            }
        }
    }
}

fn neighbours(tokens: &[u32]) -> impl Iterator<Item = Pair> + '_ {
    tokens.windows(2).map(|pair| (pair[0], pair[1]))
}

/// Replaces a pair by one token, from left to right.
fn replace(tokens: &[u32], pair: Pair, token: u32) -> Vec<u32> {
    let mut merged = Vec::with_capacity(tokens.len());
    let mut place = 0;
    while place < tokens.len() {
        if tokens[place] == pair.0 && tokens.get(place + 1) == Some(&pair.1) {
            merged.push(token);
            place += 2;
        } else {
            merged.push(tokens[place]);
            place += 1;
        }
    }
    merged
}

/// The tokenizer as Hugging Face's file; `marks` are the ids of what begins and ends whole texts.
fn file(
    tokens: &[String],
    merges: Vec<serde_json::Value>,
    special: &[&str],
    marks: Option<[usize; 2]>,
) -> serde_json::Value {
    let vocabulary: serde_json::Map<_, _> = tokens.iter().cloned().zip((0..tokens.len()).map(|id| json!(id))).collect();
    let added = special.iter().enumerate().map(|(id, token)| {
        json!({
            "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
            "special": true
        })
    });
    // Spans of words leave the space before them out.
    let words = json!({
        "type": "ByteLevel", "add_prefix_space": marks.is_some(), "trim_offsets": true, "use_regex": true
    });
    let processor = match marks {
        Some([cls, sep]) => {
            let added = |name: &str, segment: u32| json!({"SpecialToken": {"id": name, "type_id": segment}});
            let text = |name: &str, segment: u32| json!({"Sequence": {"id": name, "type_id": segment}});
            let first = vec![added("[CLS]", 0), text("A", 0), added("[SEP]", 0)];
            let pair = [first.clone(), vec![text("B", 1), added("[SEP]", 1)]].concat();
            let token = |name: &str, id: usize| json!({"id": name, "ids": [id], "tokens": [name]});
            let template = json!({
                "type": "TemplateProcessing", "single": first, "pair": pair,
                "special_tokens": {"[CLS]": token("[CLS]", cls), "[SEP]": token("[SEP]", sep)}
            });
            json!({"type": "Sequence", "processors": [words, template]})
        }
        None => words.clone(),
    };
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": added.collect::<Vec<_>>(),
        "normalizer": null,
        "pre_tokenizer": words,
        "post_processor": processor,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocabulary, "merges": merges
        }
    })
}
