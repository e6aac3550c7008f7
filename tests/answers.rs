//! Texts written anew, answers found in texts, and vectors of texts, by the program as a user calls it.

#[path = "program/files.rs"]
mod files;
mod program;

use program::{Folder, wgrad};
use serde_json::{Value, json};

fn document(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The lines of `metrics.jsonl` that are evaluations, and the last line.
fn evaluations(folder: &Folder, run: &str) -> (Vec<Value>, Value) {
    let lines: Vec<Value> = folder.read(&format!("{run}/metrics.jsonl")).lines().map(document).collect();
    let all = lines.iter().filter(|line| line.get("eval_loss").is_some() && line.get("final").is_none());
    (all.cloned().collect(), lines.last().unwrap().clone())
}

fn number(line: &Value, key: &str) -> f64 {
    line[key].as_f64().unwrap_or_else(|| panic!("no number {key} in {line}"))
}

/// Animals and what they are called elsewhere.
const WORDS: [[&str; 2]; 6] =
    [["cat", "Katze"], ["dog", "Hund"], ["hen", "Huhn"], ["cow", "Kuh"], ["pig", "Schwein"], ["fox", "Fuchs"]];

/// A line of two columns: two words and theirs.
fn pair(place: usize) -> [String; 2] {
    let (first, second) = (WORDS[place % 6], WORDS[(place / 6) % 6]);
    [format!("the {} and the {}", first[0], second[0]), format!("{} und {} bitte", first[1], second[1])]
}

fn table(places: impl Iterator<Item = usize>) -> String {
    places.map(|place| pair(place).join("\t") + "\n").collect()
}

fn pairs_config(more: &str) -> String {
    format!(
        "[model]\nkind = \"seq2seq\"\n[model.config]\nd_model = 32\nnhead = 2\nnum_encoder_layers = 1\n\
         num_decoder_layers = 1\ndim_feedforward = 64\ndropout = 0.0\n[data]\nkind = \"pairs\"\npath = \"data\"\n\
         vocabulary = 300\nbatch_size = 12\n{more}\n[optimizer]\nkind = \"adamw\"\nlr = 5e-3\n\
         [train]\nepochs = 25\neval_every = 30\ndevice = \"cpu\"\n"
    )
}

#[test]
fn texts_are_written_anew_and_measured() {
    let folder = Folder::new();
    // Of the 36 pairs of words some are held out.
    folder.write("data/train.tsv", table((0..36).filter(|place| place % 7 != 0)).repeat(2));
    folder.write("data/dev.tsv", table((0..36).filter(|place| place % 7 == 0)));
    folder.write("data/test.tsv", table((0..36).filter(|place| place % 6 == 1)));
    folder.write("run.toml", pairs_config(""));
    let outcome = wgrad(&folder, &["train", "run.toml", "--out", "run"]);
    assert!(outcome.errors.contains("  | the cat and the cat → "), "{}", outcome.errors);
    let output = outcome.succeeds();
    for part in ["test data (6 rows)", "exact match ", "bleu with beams "] {
        assert!(output.contains(part), "{part:?} is not in: {output}");
    }
    assert!(!output.contains("macro f1"), "tokens are no classes: {output}");
    let (lines, last) = evaluations(&folder, "run");
    assert!(lines.len() >= 3);
    lines.iter().for_each(|line| assert!(number(line, "eval_bleu") <= 100.0 + 1e-9));
    assert!(folder.exists("run/plots/texts.png"));

    // What the run says of itself is what comes out by hand.
    let sources: Vec<[String; 2]> = (0..36).filter(|place| place % 6 == 1).map(pair).collect();
    for (beams, key) in [("1", "eval_exact_match"), ("4", "eval_exact_match_beams")] {
        let mut arguments = vec!["predict", "run", "--beams", beams];
        arguments.extend(sources.iter().map(|[source, _]| source.as_str()));
        let found = wgrad(&folder, &arguments).succeeds();
        let right = found.lines().zip(&sources).filter(|(found, [_, target])| found == target).count();
        assert_eq!(found.lines().count(), 6);
        let share = right as f64 / 6.0;
        assert!((number(&last, key) - share).abs() < 1e-9, "{key}: {last} but {right} of 6 are right: {found}");
        assert_eq!(lines.last().unwrap()[key], last[key], "the last evaluation is that of the test data");
        assert!(right >= 5, "{found}");
    }
    let predicted = document(&wgrad(&folder, &["predict", "run", "the cow and the fox", "--json"]).succeeds());
    assert_eq!(predicted["predictions"][0]["text"], "Kuh und Fuchs bitte");
    let evaluated = document(&wgrad(&folder, &["eval", "run", "--json"]).succeeds());
    assert_eq!(evaluated["exact_match"], last["eval_exact_match"]);
    assert_eq!(evaluated["bleu"], last["eval_bleu"]);
    folder.write("other.tsv", table(0..6));
    let outcome = wgrad(&folder, &["eval", "run", "--data", "other.tsv", "--json"]);
    assert!(!outcome.errors.contains("left out"), "{}", outcome.errors);
    let other = document(&outcome.succeeds());
    assert!(number(&other, "exact_match") > 0.8 && other["rows"] == 6, "{other}");
    folder.write("long.tsv", table(0..3) + &"the cat ".repeat(40) + "\tx\n");
    let outcome = wgrad(&folder, &["eval", "run", "--data", "long.tsv"]);
    assert!(outcome.errors.contains("1 pairs are longer"), "{}", outcome.errors);
    outcome.succeeds();
    // A source that is too long is cut off, and an empty one becomes nothing.
    let long = "the cat and ".repeat(40);
    let cut = wgrad(&folder, &["predict", "run", &long, ""]);
    assert!(cut.errors.contains("the rest was left out"), "{}", cut.errors);
    assert_eq!(cut.succeeds().lines().count(), 2);
    wgrad(&folder, &["generate", "run", "--prompt", "the cat"]).fails(2, "wgrad predict");
    wgrad(&folder, &["predict", "run", "the cat", "--context", "x"]).fails(2, "answers no questions");
}

#[test]
fn pairs_that_do_not_fit_are_named() {
    let folder = Folder::new();
    folder.write("data/train.tsv", table(0..36));
    let with = |from: &str, to: &str| {
        folder.write("run.toml", pairs_config("").replace(from, to).replace("epochs = 25", "steps = 2"));
        wgrad(&folder, &["train", "run.toml", "--out", "run", "--overwrite"])
    };
    with("batch_size = 12", "batch_size = 12\nlong = \"refuse\"\n[model.config]\nmax_source = 4").fails(2, "duplicate");
    with("nhead = 2", "nhead = 2\nmax_source = 2").fails(1, "no pair is short enough for model.config.max_source = 2");
    let refused = with("nhead = 2", "nhead = 2\nmax_target = 2");
    refused.fails(1, "max_target = 2");
    with("batch_size = 12", "batch_size = 12\nlong = \"cut\"").fails(2, "data.long");
    with("batch_size = 12", "batch_size = 12\nlanguages = [\"en\"]").fails(2, "languages");
    with("batch_size = 12", "batch_size = 12\ndrawn = \"poems\"\n").succeeds();
    with("path = \"data\"\nvocabulary = 300", "drawn = \"poems\"").fails(2, "data.drawn");
    with("nhead = 2", "nhead = 2\npad_token_id = 3").fails(2, "model.config.pad_token_id = 3; give 0");
    folder.write("plain.txt", "the cat\nthe dog\n");
    wgrad(&folder, &["tokenizer", "train", "plain.txt", "--vocabulary", "257"]).succeeds();
    with("vocabulary = 300", "tokenizer = \"tokenizer.json\"").fails(2, "no token pad");
    let gpt =
        "[model]\nkind = \"gpt2\"\n[model.config]\nn_embd = 8\nn_head = 1\nn_layer = 1\n[data]\nkind = \"pairs\"\n";
    folder.write("gpt.toml", gpt);
    wgrad(&folder, &["train", "gpt.toml"]).fails(2, "take seq2seq");
    let masked = "[model]\nkind = \"bert\"\n[model.config]\nvocab_size = 0\nhidden_size = 8\nnum_hidden_layers = 1\n\
                  num_attention_heads = 1\nintermediate_size = 8\nhead = \"masked_language_modelling\"\n\
                  [data]\nkind = \"labelled-text\"\npath = \"data/train.tsv\"\nvocabulary = 300\n";
    folder.write("masked.toml", masked);
    wgrad(&folder, &["train", "masked.toml"]).fails(2, "mask_token_id is missing");
    folder.write("questions.toml", gpt.replace("pairs", "questions"));
    wgrad(&folder, &["train", "questions.toml"]).fails(2, "head = \"question_answering\"");
}

/// A file of SQuAD's form about the colours of animals.
fn colours(places: impl Iterator<Item = usize>) -> String {
    let colours = ["red", "blue", "green", "white"];
    let paragraph = |place: usize| {
        let (first, second) = (WORDS[place % 6][0], WORDS[(place + 1 + place / 6 % 5) % 6][0]);
        let [a, b] = [colours[place % 4], colours[(place / 4 + place % 4 + 1) % 4]];
        let context = format!("Ünder a tree the {first} is {a} now. The {second} is {b} today.");
        let question = |name: &str, colour: &str, id: String| {
            let start = context.find(&format!("{name} is")).unwrap() + name.len() + 4;
            let start = context[..start].chars().count();
            json!({"id": id, "question": format!("Which colour is the {name}?"),
                   "answers": [{"text": colour, "answer_start": start}]})
        };
        json!({"context": context, "qas": [
            question(first, a, format!("{place}a")), question(second, b, format!("{place}b"))]})
    };
    json!({"data": [{"paragraphs": places.map(paragraph).collect::<Vec<Value>>()}]}).to_string()
}

fn questions_config(more: &str) -> String {
    format!(
        "[model]\nkind = \"bert\"\n[model.config]\nvocab_size = 0\nhidden_size = 32\nnum_hidden_layers = 2\n\
         num_attention_heads = 2\nintermediate_size = 64\nmax_position_embeddings = 64\nhidden_dropout_prob = 0.0\n\
         attention_probs_dropout_prob = 0.0\ninitializer_range = 0.15\nhead = \"question_answering\"\n\
         [data]\nkind = \"questions\"\npath = \"data\"\nvocabulary = 330\ncontext = 48\nbatch_size = 16\n{more}\n\
         [optimizer]\nkind = \"adamw\"\nlr = 3e-3\n[train]\nepochs = 12\neval_every = 40\ndevice = \"cpu\"\n"
    )
}

#[test]
fn answers_are_found_in_texts_and_measured() {
    let folder = Folder::new();
    folder.write("data/train.json", colours(0..90));
    folder.write("data/dev.json", colours(200..210));
    folder.write("run.toml", questions_config(""));
    let outcome = wgrad(&folder, &["train", "run.toml", "--out", "run"]);
    assert!(outcome.errors.contains("  | Which colour is the "), "{}", outcome.errors);
    assert!(outcome.succeeds().contains("exact match "));
    let (lines, last) = evaluations(&folder, "run");
    assert!(lines.iter().all(|line| number(line, "eval_f1") <= 1.0));

    let file = document(&colours(200..210));
    let (mut right, mut all) = (0, 0);
    for paragraph in file["data"][0]["paragraphs"].as_array().unwrap() {
        let context = paragraph["context"].as_str().unwrap();
        folder.write("context.txt", context);
        let questions = paragraph["qas"].as_array().unwrap();
        let mut arguments = vec!["predict", "run", "--context", "context.txt", "--json"];
        arguments.extend(questions.iter().map(|question| question["question"].as_str().unwrap()));
        let found = document(&wgrad(&folder, &arguments).succeeds());
        for (found, question) in found["predictions"].as_array().unwrap().iter().zip(questions) {
            let [start, end] = ["start", "end"].map(|key| found[key].as_u64().unwrap() as usize);
            assert_eq!(&context[start..end], found["answer"]);
            assert!((0.0..=1.0).contains(&number(found, "probability")));
            right += usize::from(found["answer"] == question["answers"][0]["text"]);
            all += 1;
        }
    }
    assert_eq!(all, 20);
    assert!((number(&last, "eval_exact_match") - right as f64 / 20.0).abs() < 1e-9, "{right} of 20, but {last}");
    // The two colours are told apart from all else, if not from each other.
    assert!(right >= 8, "{right} of 20");
    assert_eq!(document(&folder.read("run/config.json"))["sep_token_id"], 3);

    let evaluated = document(&wgrad(&folder, &["eval", "run", "--json"]).succeeds());
    assert_eq!(evaluated["exact_match"], last["eval_exact_match"]);
    wgrad(&folder, &["predict", "run", "Which colour?"]).fails(2, "--context");
    // A long text is read in parts.
    let long = format!("{}The fox is green today. {}", "Rain fell on it. ".repeat(12), "All slept. ".repeat(20));
    let found = wgrad(&folder, &["predict", "run", "Which colour is the fox?", "--context", &long]).succeeds();
    assert!(found.contains("probability"), "{found}");
    folder.write("long.toml", questions_config("long = \"refuse\"").replace("context = 48", "context = 20"));
    wgrad(&folder, &["train", "long.toml", "--out", "long"]).fails(1, "question 0a is longer");
    folder.write("pad.toml", questions_config("").replace("head =", "pad_token_id = 5\nhead ="));
    wgrad(&folder, &["train", "pad.toml", "--out", "long"]).fails(2, "pad_token_id = 5");
    folder.write("alone.json", colours(0..20));
    folder.write("alone.toml", questions_config("").replace("path = \"data\"", "path = \"alone.json\""));
    let alone = wgrad(&folder, &["train", "alone.toml", "--steps", "2", "--out", "alone"]).succeeds();
    assert!(alone.contains("held-out data (4 rows)"), "{alone}");

    // Its vectors are those of its last layer.
    let texts = "the fox is red\n\nthe hen is red\nnothing of the kind\n";
    folder.write("texts.txt", texts);
    let embed = ["embed", "run", "texts.txt", "--out", "vectors.npy", "--query", "the fox is red", "--json"];
    let found = document(&wgrad(&folder, &embed).succeeds());
    assert_eq!((&found["texts"], &found["width"]), (&json!(3), &json!(32)));
    let near = found["queries"][0]["nearest"].as_array().unwrap();
    assert_eq!((near.len(), near[0]["text"].as_str()), (3, Some("the fox is red")));
    assert!((number(&near[0], "cosine") - 1.0).abs() < 1e-6 && number(&near[2], "cosine") < 0.999);
    let file = folder.bytes("vectors.npy");
    assert!(String::from_utf8_lossy(&file[..80]).contains("'shape': (3, 32)"));
    let shown = wgrad(&folder, &["embed", "run", "texts.txt", "--query", "hen", "--nearest", "1"]).succeeds();
    assert_eq!(shown.lines().count(), 2, "{shown}");
    wgrad(&folder, &["embed", "run", "texts.txt"]).fails(2, "--out vectors.npy");
    wgrad(&folder, &["embed", "run", "none.txt", "--query", "x"]).fails(1, "none.txt");
    folder.write("blank.txt", " \n\n");
    wgrad(&folder, &["embed", "run", "blank.txt", "--query", "x"]).fails(1, "no line with text");
    let asked = "Which colour is it, ".repeat(20);
    let cut = wgrad(&folder, &["predict", "run", &asked, "--context", "The fox is red."]);
    assert!(cut.errors.contains("1 questions take more than half"), "{}", cut.errors);
    cut.succeeds();
}

#[test]
fn the_presets_draw_what_they_need() {
    let folder = Folder::new();
    folder.write("data.tsv", table(0..36));
    for arguments in [
        vec!["train", "translate", "--steps", "1", "--out", "dates"],
        vec!["train", "translate", "--data", "data.tsv", "--steps", "1", "--out", "file"],
    ] {
        let output = wgrad(&folder, &[&arguments[..], &["--device", "cpu"]].concat()).succeeds();
        assert!(output.contains("exact match 0.0000"), "{output}");
    }
    wgrad(&folder, &["embed", "dates", "data.tsv", "--query", "x"]).fails(2, "makes no vectors of texts");
}
