//! Tests of tokenizers: against Python's `tokenizers`, by `scripts/make-golden-text.py`, and of characters.

use std::process::Command;

use serde_json::Value;

use super::*;
use crate::test_files::Folder;

macro_rules! golden {
    ($name:literal) => {
        include_str!(concat!("../../tests/golden/tokenizers/", $name, ".json"))
    };
}

const NAMES: [&str; 6] = ["bytes", "split", "wordpiece", "unigram", "fallback", "words"];
pub(super) const GOLDEN_FILES: [&str; 6] = [
    golden!("bytes"),
    golden!("split"),
    golden!("wordpiece"),
    golden!("unigram"),
    golden!("fallback"),
    golden!("words"),
];
/// A tokenizer that puts a token for a space before each text.
pub(super) const METASPACE: &str = golden!("unigram");

fn golden(name: &str) -> Tokenizer {
    let place = NAMES.iter().position(|own| *own == name).unwrap();
    Tokenizer::from_json(GOLDEN_FILES[place].as_bytes(), Path::new(name)).unwrap()
}

fn cases() -> Value {
    serde_json::from_str(golden!("cases")).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

fn encoding(value: &Value) -> Encoding {
    let spans = value["spans"].as_array().unwrap().iter().map(|span| {
        let numbers: Vec<usize> = span.as_array()?.iter().map(|place| place.as_u64().unwrap() as usize).collect();
        Some(TextSpan { text: numbers[0], bytes: numbers[1]..numbers[2] })
    });
    Encoding { ids: ids(&value["ids"]), types: ids(&value["types"]), spans: spans.collect() }
}

#[test]
fn every_kind_equals_python() {
    let cases = cases();
    for name in NAMES {
        let (tokenizer, cases) = (golden(name), &cases[name]);
        assert_eq!(tokenizer.vocabulary_size() as u64, cases["size"].as_u64().unwrap(), "{name}");
        for case in cases["singles"].as_array().unwrap() {
            let text = case["text"].as_str().unwrap();
            let plain = encoding(&case["plain"]);
            assert_eq!(tokenizer.encode(text).unwrap(), plain.ids, "{name} {text:?}");
            assert_eq!(tokenizer.encode_with_offsets(text).unwrap(), plain, "{name} {text:?}");
            let whole = encoding(&case["whole"]);
            assert_eq!(tokenizer.encode_whole(text).unwrap(), whole, "{name} {text:?}");
            assert_eq!(tokenizer.decode(&whole.ids, false), case["decoded"].as_str().unwrap(), "{name} {text:?}");
            assert_eq!(tokenizer.decode(&whole.ids, true), case["skipped"].as_str().unwrap(), "{name} {text:?}");
        }
        for case in cases["pairs"].as_array().unwrap() {
            let [first, second] = [0, 1].map(|index| case["texts"][index].as_str().unwrap());
            assert_eq!(tokenizer.encode_pair(first, second).unwrap(), encoding(&case["pair"]), "{name} {first:?}");
        }
    }
}

#[test]
fn spans_stand_between_characters() {
    for name in NAMES {
        let tokenizer = golden(name);
        for case in cases()[name]["singles"].as_array().unwrap() {
            let text = case["text"].as_str().unwrap();
            for span in tokenizer.encode_whole(text).unwrap().spans.into_iter().flatten() {
                assert!(text.get(span.bytes.clone()).is_some(), "{name} {text:?} {span:?}");
            }
        }
    }
}

#[test]
fn what_is_saved_gives_the_same_tokens() {
    let folder = Folder::new();
    for name in NAMES {
        let tokenizer = golden(name);
        let path = folder.path().join("tokenizer.json");
        tokenizer.save(&path).unwrap();
        let again = Tokenizer::load(&path).unwrap();
        assert_eq!(again.to_json().unwrap(), tokenizer.to_json().unwrap());
        for case in cases()[name]["singles"].as_array().unwrap() {
            let text = case["text"].as_str().unwrap();
            assert_eq!(again.encode_whole(text).unwrap(), tokenizer.encode_whole(text).unwrap(), "{name} {text:?}");
        }
    }
    assert!(golden("bytes").save(Path::new("no/such/folder/x.json")).is_err());
}

#[test]
fn streams_give_what_decoding_gives_and_no_half_characters() {
    for name in NAMES {
        let tokenizer = golden(name);
        for case in cases()[name]["singles"].as_array().unwrap() {
            let whole = ids(&case["whole"]["ids"]);
            for skip in [false, true] {
                let mut stream = tokenizer.stream(skip);
                let mut text = String::new();
                for &id in &whole {
                    let new = stream.push(id);
                    assert!(!new.ends_with(char::REPLACEMENT_CHARACTER), "{name} {new:?}");
                    text += &new;
                }
                text += &stream.finish();
                assert_eq!(text, tokenizer.decode(&whole, skip), "{name}");
            }
        }
    }
}

#[test]
fn a_character_comes_with_its_last_byte() {
    let tokenizer = golden("bytes");
    let ids = tokenizer.encode("ж😀a").unwrap();
    let mut stream = tokenizer.stream(true);
    let given: Vec<String> = ids.iter().map(|&id| stream.push(id)).collect();
    let shown = given.iter().filter(|new| !new.is_empty()).map(String::as_str).collect::<Vec<_>>();
    assert!(ids.len() > 3 && shown == ["ж", "😀", "a"], "{given:?}");
    // Bytes that never become a character, and an id that is none.
    let lead = tokenizer.encode("ж").unwrap()[0];
    let a = tokenizer.encode("a").unwrap()[0];
    let mut stream = tokenizer.stream(true);
    assert_eq!([lead, lead, 9999, a].map(|id| stream.push(id)), ["", "", "", "\u{fffd}\u{fffd}a"]);
    assert_eq!(stream.push(lead), "");
    assert_eq!(stream.finish(), "\u{fffd}");
}

#[test]
fn tokens_and_text_find_each_other() {
    let tokenizer = golden("wordpiece");
    let (question, context) = ("Where is it?", "In the  große Küche.");
    let encoding = tokenizer.encode_pair(question, context).unwrap();
    let start = context.find("große").unwrap();
    let answer = start..start + "große Küche".len();
    let tokens = encoding.tokens_of(1, answer.clone()).unwrap();
    assert!(tokens.len() >= 2 && tokens.start > encoding.tokens_of(0, 0..question.len()).unwrap().end);
    assert_eq!(encoding.bytes_of(1, tokens.clone()), Some(answer));
    assert_eq!(encoding.bytes_of(0, tokens.clone()), None);
    // The second of two spaces is in no token; `[CLS]` is no text.
    assert_eq!(encoding.tokens_of(1, 7..8), None);
    assert_eq!(encoding.bytes_of(0, 0..1), None);
    assert_eq!(encoding.bytes_of(0, 0..1000), None);
    assert_eq!(encoding.bytes_of(0, 0..tokens.start), Some(0..question.len()));
}

#[test]
fn special_tokens_are_known() {
    let bert = golden("wordpiece");
    assert_eq!(bert.special().mask, bert.id_of("[MASK]"));
    assert_eq!((bert.special().pad, bert.special().eos), (Some(0), None));
    assert_eq!([0, 4, 5].map(|id| bert.is_special(id)), [true, true, false]);
    let gpt = golden("bytes");
    assert_eq!((gpt.special().eos, gpt.special().pad), (Some(0), None));
    assert_eq!((gpt.token_of(0).as_deref(), gpt.token_of(100_000)), (Some("<|endoftext|>"), None));
    assert_eq!(golden("split").special().bos, Some(0));
    assert_eq!(NAMES.map(|name| golden(name).kind()), ["BPE", "BPE", "WordPiece", "Unigram", "BPE", "WordLevel"]);
}

#[test]
fn dropout_is_left_out() {
    let json = golden!("bytes").replace("\"dropout\":null", "\"dropout\":0.9");
    assert!(json.contains("0.9"));
    let tokenizer = Tokenizer::from_json(json.as_bytes(), Path::new("x")).unwrap();
    let text = "The Licensor grants You a licence.";
    assert_eq!(tokenizer.encode(text).unwrap(), golden("bytes").encode(text).unwrap());
}

#[test]
fn files_that_are_no_tokenizers_are_told() {
    let told = |content: &[u8]| {
        let folder = Folder::new();
        Tokenizer::load(&folder.write("t.json", content)).unwrap_err().to_string()
    };
    for (content, part) in [
        ("", "no JSON"),
        ("\u{e}<unk>", "no JSON"),
        (&golden!("bytes")[..1000], "no JSON"),
        ("[]", "no field \"model\""),
        ("{\"a\": 1, \"b\": 0}", "bare vocabulary"),
        ("{\"tokenizer_class\": \"GPT2Tokenizer\"}", "tokenizer_config.json"),
        (
            "{\"version\": \"1.0\", \"model\": {\"type\": \"Future\", \"vocab\": {}}}",
            "of kind Future that cannot be read",
        ),
        ("{\"type\":\"wgrad-characters\",\"version\":2}", "version is not 1"),
        ("{\"type\":\"wgrad-characters\",\"version\":1}", "no text \"characters\""),
        ("{\"type\":\"wgrad-characters\",\"version\":1,\"characters\":\"ab\"}", "\"special\""),
        ("{\"type\":\"wgrad-characters\",\"version\":1,\"characters\":\"aa\",\"special\":[]}", "'a' occurs twice"),
        ("{\"type\":\"wgrad-characters\",\"version\":1,\"characters\":\"\",\"special\":[]}", "no character"),
        ("{\"type\":\"wgrad-characters\",\"version\":1,\"characters\":\"a\",\"special\":[1]}", "\"special\""),
        ("{\"type\":\"wgrad-characters\",", "damaged"),
    ] {
        let error = told(content.as_bytes());
        assert!(error.contains("t.json: ") && error.contains(part), "{error}, not {part}");
    }
    let changed = golden!("wordpiece").replace("\"[SEP]\":{\"id\"", "\"[OTHER]\":{\"id\"");
    assert!(told(changed.as_bytes()).contains("a token \"[SEP]\" that is not among"), "{}", told(changed.as_bytes()));
    let changed = golden!("wordpiece").replace("\"type\":\"BertPreTokenizer\"", "\"type\":\"FuturePreTokenizer\"");
    assert!(told(changed.as_bytes()).contains("of kind WordPiece that cannot be read"));
    assert!(Tokenizer::load(Path::new("no/such.json")).unwrap_err().to_string().contains("no/such.json"));
}

#[test]
fn what_a_vocabulary_lacks_may_be_an_error() {
    let json =
        golden!("words").replace("[UNK]", "[OTHER]").replace("\"unk_token\":\"[OTHER]\"", "\"unk_token\":\"[UNK]\"");
    let tokenizer = Tokenizer::from_json(json.as_bytes(), Path::new("x")).unwrap();
    assert!(tokenizer.encode("unheardof").unwrap_err().to_string().contains("cannot be encoded"));
}

#[test]
fn characters_are_sorted_after_special_tokens() {
    let tokenizer = Tokenizer::characters("hello ß\n", &["<pad>", "</s>"]).unwrap();
    assert_eq!(tokenizer.vocabulary_size(), 2 + 7);
    let ids = tokenizer.encode("\nhoß").unwrap();
    assert_eq!(ids, [2, 5, 7, 8]);
    assert_eq!(tokenizer.decode(&ids, true), "\nhoß");
    assert_eq!((tokenizer.special().pad, tokenizer.special().eos), (Some(0), Some(1)));
    assert_eq!(tokenizer.decode(&[0, 5, 1, 99], false), "<pad>h</s>");
    assert_eq!(tokenizer.decode(&[0, 5, 1, 99], true), "h");
    assert_eq!((tokenizer.id_of("ß"), tokenizer.id_of("<pad>"), tokenizer.id_of("he")), (Some(8), Some(0), None));
    assert_eq!(
        (tokenizer.token_of(1), tokenizer.token_of(3), tokenizer.token_of(9)),
        (Some("</s>".into()), Some(" ".into()), None)
    );
    // As nanoGPT numbers them.
    assert_eq!(Tokenizer::characters("banana", &[]).unwrap().encode("nab").unwrap(), [2, 0, 1]);
}

#[test]
fn a_character_that_is_not_known_is_named_with_its_place() {
    let tokenizer = Tokenizer::characters("ab\nä", &["<pad>"]).unwrap();
    let error = tokenizer.encode("ab\näbc").unwrap_err().to_string();
    assert!(error.contains("'c' (U+0063) at line 2, column 3") && error.contains("byte 6"), "{error}");
    // A special token is no text.
    assert!(tokenizer.encode("<pad>").is_err());
    assert!(tokenizer.encode_pair("a", "x").is_err());
}

#[test]
fn characters_can_be_marked_and_saved() {
    let tokenizer = Tokenizer::characters("aé", &["[CLS]", "[SEP]"]).unwrap();
    let encoding = tokenizer.encode_pair("éa", "a").unwrap();
    assert_eq!(encoding.ids, [0, 3, 2, 1, 2, 1]);
    assert_eq!(encoding.types, [0, 0, 0, 0, 1, 1]);
    assert_eq!(encoding.tokens_of(0, 0..3), Some(1..3));
    assert_eq!(encoding.bytes_of(1, 0..6), Some(0..1));
    assert_eq!(tokenizer.encode_whole("a").unwrap().ids, [0, 2, 1]);
    assert_eq!(tokenizer.encode_with_offsets("a").unwrap().ids, [2]);
    let folder = Folder::new();
    let path = folder.path().join("characters.json");
    tokenizer.save(&path).unwrap();
    let again = Tokenizer::load(&path).unwrap();
    assert_eq!(again.to_json().unwrap(), tokenizer.to_json().unwrap());
    assert_eq!(again.encode_pair("éa", "a").unwrap(), encoding);
    // Formatted by hand, the type is not where it was written.
    let padded = std::fs::read_to_string(&path).unwrap().replace('{', &format!("{{{}", " ".repeat(500)));
    assert_eq!(Tokenizer::from_json(padded.as_bytes(), &path).unwrap().kind(), "characters");
}

#[test]
fn characters_need_a_text_and_sound_special_tokens() {
    for (text, special) in [("", vec![]), ("a", vec!["x"]), ("a", vec![""]), ("a", vec!["<s>", "<s>"])] {
        assert!(Tokenizer::characters(text, &special).is_err(), "{special:?}");
    }
}

fn training() -> Vec<String> {
    serde_json::from_str::<Vec<String>>(golden!("training")).unwrap()
}

#[test]
fn training_finds_the_tokens_that_python_finds() {
    let trained = train_byte_bpe(training(), 500, &["<|endoftext|>"]).unwrap();
    let golden = golden("bytes");
    assert_eq!(trained.vocabulary_size(), 500);
    for id in 0..500 {
        assert_eq!(trained.token_of(id), golden.token_of(id), "{id}");
    }
    for case in cases()["bytes"]["singles"].as_array().unwrap() {
        let plain = encoding(&case["plain"]);
        assert_eq!(trained.encode_with_offsets(case["text"].as_str().unwrap()).unwrap(), plain);
    }
}

#[test]
fn training_stops_where_nothing_occurs_twice() {
    // `ab` and then `abab` become tokens; after that every pair is a single one.
    let trained = train_byte_bpe(["abab abab", "xy"], 1000, &[]).unwrap();
    assert_eq!(trained.vocabulary_size(), 258);
    assert_eq!((trained.token_of(256).as_deref(), trained.token_of(257).as_deref()), (Some("ab"), Some("abab")));
    assert_eq!(trained.encode("abab ab").unwrap().len(), 3);
    assert_eq!(trained.decode(&trained.encode("Größe 😀\0").unwrap(), true), "Größe 😀\0");
}

#[test]
fn training_adds_the_marks_of_whole_texts() {
    let trained = train_byte_bpe(training(), 400, &["[PAD]", "[CLS]", "[SEP]", "[MASK]"]).unwrap();
    let encoding = trained.encode_pair("the terms", "and conditions").unwrap();
    assert_eq!((encoding.ids[0], *encoding.ids.last().unwrap()), (1, 2));
    assert_eq!((encoding.types[0], *encoding.types.last().unwrap()), (0, 1));
    assert_eq!(encoding.ids.iter().filter(|&&id| id == 2).count(), 2);
    // The span of a word leaves out the space before it.
    let tokens = encoding.tokens_of(0, 4..9).unwrap();
    assert_eq!(encoding.bytes_of(0, tokens), Some(4..9));
    assert_eq!(trained.encode_whole("").unwrap().ids, [1, 2]);
    assert_eq!(trained.special().mask, Some(3));
}

#[test]
fn a_word_that_begins_a_text_is_the_same_token_as_elsewhere() {
    let marked = train_byte_bpe(["film", "good film", "film good"], 300, &["[CLS]", "[SEP]"]).unwrap();
    let [film, good] = ["film", "good"].map(|word| marked.encode(word).unwrap());
    assert_eq!((film.len(), good.len()), (1, 1));
    assert_eq!(marked.encode("film good").unwrap(), [film.clone(), good].concat());
    assert_eq!(marked.encode(" film").unwrap(), film);
    assert_eq!(marked.encode_with_offsets("film good").unwrap().spans[1].as_ref().unwrap().bytes, 5..9);
    // What goes on from another text has no space put before it.
    let plain = train_byte_bpe(["film", "good film", "film good"], 300, &[]).unwrap();
    assert_eq!(plain.decode(&plain.encode("film").unwrap(), true), "film");
}

#[test]
fn training_refuses_what_it_cannot_do() {
    let told =
        |texts: &[&str], size: usize, special: &[&str]| train_byte_bpe(texts, size, special).unwrap_err().to_string();
    assert!(told(&["a b"], 257, &["<s>", "</s>"]).contains("give 258"));
    assert!(told(&["a b"], usize::MAX, &[]).contains("cannot be trained"));
    assert!(told(&["a b"], 300, &["<s>", "<s>"]).contains("occurs twice"));
    assert!(told(&["a b"], 300, &["a"]).contains("too short"));
    assert!(told(&["", ""], 300, &[]).contains("no text"));
}

/// The name of the test below, which runs itself in other processes.
const TRAINING_TEST: &str = "tokenizer::tests::training_writes_the_same_file_in_every_process";

#[test]
fn training_writes_the_same_file_in_every_process() {
    let made = train_byte_bpe(training(), 450, &["[PAD]", "[CLS]", "[SEP]"]).unwrap().to_json().unwrap();
    if let Some(path) = std::env::var_os("WGRAD_TEST_TOKENIZER") {
        std::fs::write(path, made).unwrap();
        return;
    }
    // Hash tables are seeded anew in each process.
    let folder = Folder::new();
    for number in 0..3 {
        let path = folder.path().join(format!("{number}.json"));
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", TRAINING_TEST]).env("WGRAD_TEST_TOKENIZER", &path);
        assert!(command.output().unwrap().status.success());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), made);
    }
}
