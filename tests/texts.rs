//! Texts: language models that go on with a prompt, classifiers of texts, tokenisers, and what may be wrong with either.

#[path = "program/files.rs"]
mod files;
mod program;

use program::{Folder, wgrad};
use serde_json::Value;

/// A language that four letters make up: each word follows its own letter.
fn letters(count: usize) -> String {
    let words = ["abc ", "bca ", "cab ", "dd\n"];
    (0..count).map(|place| words[(place * 7 + place / 5) % 4]).collect()
}

fn small(kind: &str, more: &str) -> String {
    format!(
        "[model]\nkind = \"gpt2\"\n[model.config]\nvocab_size = 0\nn_positions = 16\nn_embd = 16\nn_layer = 1\nn_head = 2\n\
         resid_pdrop = 0.0\nembd_pdrop = 0.0\nattn_pdrop = 0.0\n[data]\nkind = \"{kind}\"\ncontext = 8\nbatch_size = 8\n{more}\n\
         [optimizer]\nkind = \"adamw\"\nlr = 1e-2\n[train]\nsteps = 60\neval_every = 30\ndevice = \"cpu\"\n"
    )
}

fn document(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_text_is_learnt_and_gone_on_with() {
    let folder = Folder::new();
    folder.write("text.txt", letters(400));
    folder.write("run.toml", small("text", "path = \"text.txt\""));
    let outcome = wgrad(&folder, &["train", "run.toml", "--out", "run"]);
    assert!(outcome.errors.contains("  | "), "a sample is shown: {}", outcome.errors);
    outcome.succeeds();
    let metrics = folder.read("run/metrics.jsonl");
    let last = document(metrics.lines().last().unwrap());
    // Six characters in all: a byte each.
    let bits = last["eval_loss"].as_f64().unwrap() / std::f64::consts::LN_2;
    assert!((last["eval_bits_per_byte"].as_f64().unwrap() - bits).abs() < 1e-9);
    assert!(bits < 1.5, "{bits} bits of log 6 = 2.6");
    assert!(document(&folder.read("run/tokenizer.json"))["type"].as_str().unwrap().contains("characters"));

    let generate = |more: &[&str]| {
        let mut arguments = vec!["generate", "run", "--prompt", "abc ", "--tokens", "40", "--json"];
        arguments.extend(more);
        document(&wgrad(&folder, &arguments).succeeds())["text"].as_str().unwrap().to_string()
    };
    let text = generate(&["--seed", "3"]);
    assert_eq!(text.chars().count(), 40);
    assert_eq!(text, generate(&["--seed", "3"]));
    assert_eq!(text, generate(&["--seed", "3", "--no-cache"]));
    assert!(text != generate(&["--seed", "4"]));
    assert_eq!(generate(&["--temperature", "0"]), generate(&["--temperature", "0", "--seed", "9"]));
    let stopped = generate(&["--seed", "3", "--stop", " "]);
    assert_eq!(stopped, text.split(' ').next().unwrap());
    let streamed = wgrad(&folder, &["generate", "run", "--prompt", "abc ", "--tokens", "40", "--seed", "3"]).succeeds();
    assert_eq!(streamed, format!("abc {text}\n"));

    let no_letter = wgrad(&folder, &["generate", "run", "--prompt", "xyz"]);
    no_letter.fails(1, "'x'");
    wgrad(&folder, &["generate", "run"]).fails(2, "--prompt");
    wgrad(&folder, &["generate", "run", "--prompt", "a", "--top-p", "0"]).fails(2, "top-p");
    let evaluated = wgrad(&folder, &["eval", "run", "--data", "text.txt", "--json"]).succeeds();
    assert!(document(&evaluated)["loss"].as_f64().unwrap() < 1.5);
}

#[test]
fn a_tokeniser_is_made_and_used() {
    let folder = Folder::new();
    folder.write("text.txt", letters(400));
    let made = wgrad(&folder, &["tokenizer", "train", "text.txt", "--vocabulary", "262", "--json"]).succeeds();
    let made = document(&made);
    assert_eq!(made["vocabulary"], 262);
    assert!(made["bytes_per_token"].as_f64().unwrap() > 1.5, "{made}");
    let first = folder.bytes("tokenizer.json");
    wgrad(&folder, &["tokenizer", "train", "text.txt"]).fails(2, "tokenizer.json is there already");
    wgrad(&folder, &["tokenizer", "train", "text.txt", "--vocabulary", "262", "--out", "again.json"]).succeeds();
    assert_eq!(first, folder.bytes("again.json"));
    folder.write("run.toml", small("text", "path = \"text.txt\"\ntokenizer = \"tokenizer.json\""));
    wgrad(&folder, &["train", "run.toml", "--out", "run"]).succeeds();
    let text = wgrad(&folder, &["generate", "run", "--prompt", "abc", "--tokens", "12"]).succeeds();
    assert!(text.starts_with("abc") && text.len() > 12, "{text:?}");
    folder.write("broken.json", "{\"model\": {\"type\": \"Mystery\"}}");
    folder.write("broken.toml", small("text", "path = \"text.txt\"\ntokenizer = \"broken.json\""));
    wgrad(&folder, &["train", "broken.toml", "--out", "broken"]).fails(1, "broken.json");
    assert!(!folder.exists("broken"));
}

/// A one-dimensional `.npy` file of u16.
fn npy(tokens: &[u16]) -> Vec<u8> {
    let mut header = format!("{{'descr': '<u2', 'fortran_order': False, 'shape': ({},), }}", tokens.len()).into_bytes();
    header.resize((header.len() + 11).next_multiple_of(64) - 11, b' ');
    header.push(b'\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header);
    tokens.iter().for_each(|token| file.extend(token.to_le_bytes()));
    file
}

#[test]
fn tokens_and_settings_that_do_not_fit_are_named() {
    let folder = Folder::new();
    folder.write("tokens.npy", npy(&[1, 2, 3, 4, 9, 6, 7, 8, 1, 2, 3, 4]));
    let with = |name: &str, from: &str, to: &str| {
        folder.write(name, small("tokens", "path = \"tokens.npy\"").replace(from, to));
        wgrad(&folder, &["train", name, "--out", "run"])
    };
    with("range.toml", "vocab_size = 0", "vocab_size = 9").fails(1, "token 9 at position 4");
    with("long.toml", "context = 8", "context = 12").fails(1, "12 tokens are too few");
    with("context.toml", "n_positions = 16", "n_positions = 4").fails(2, "n_positions = 4");
    with("heads.toml", "n_head = 2", "n_head = 3").fails(2, "must be a multiple of model.config.n_head = 3");
    with("option.toml", "n_head = 2", "n_head = 2\nscale_attn = true")
        .fails(2, "model.config.scale_attn = true is not");
    with("cross.toml", "n_head = 2", "n_head = 2\nadd_cross_attention = true").fails(2, "add_cross_attention = true");
    with("numbers.toml", "kind = \"gpt2\"", "kind = \"mlp\"").fails(2, "model.config");
    assert!(!folder.exists("run"));
    with("good.toml", "vocab_size = 0", "vocab_size = 12").succeeds();
    wgrad(&folder, &["generate", "run", "--prompt", "x"]).fails(2, "trained on token ids");
}

#[test]
fn texts_are_sorted_and_mistakes_told() {
    let folder = Folder::new();
    let line = |place: usize| match (place % 3, place / 3 % 10) {
        (0, number) => format!("the cat number {number} sleeps on the mat\tanimal\n"),
        (1, number) => format!("car {number} drives along the road\tmachine\n"),
        (_, number) => format!("seven plus {number} makes more than {number}\tsum\n"),
    };
    let mut table: String = (0..120).map(line).collect();
    // One is labelled wrong, and one is too long.
    table += "the cat sleeps on the mat\tmachine\n";
    table += &format!("{} cat on the mat\tanimal\n", "the cat sleeps ".repeat(40));
    folder.write("data/train.tsv", format!("text\tlabel\n{table}"));
    folder.write(
        "data/test.tsv",
        format!("text\tlabel\n{}", (120..150).map(line).collect::<String>() + "the cat sleeps\tsum\n"),
    );
    folder.write(
        "run.toml",
        "[model]\nkind = \"bert\"\n[model.config]\nvocab_size = 0\nhidden_size = 32\nnum_hidden_layers = 1\n\
         num_attention_heads = 2\nintermediate_size = 64\nmax_position_embeddings = 32\ntype_vocab_size = 1\n\
         [data]\nkind = \"labelled-text\"\npath = \"data\"\nvocabulary = 400\ncontext = 32\nbatch_size = 16\n\
         [optimizer]\nkind = \"adamw\"\nlr = 2e-3\n[train]\nepochs = 40\ndevice = \"cpu\"\n\
         [schedule]\nkind = \"linear\"\nwarmup = 20\n",
    );
    let outcome = wgrad(&folder, &["train", "run.toml", "--out", "run"]);
    assert!(outcome.errors.contains("1 texts are longer than data.context = 32"), "{}", outcome.errors);
    let output = outcome.succeeds();
    for part in ["test data (31 rows)", "(30 of 31 right)", "macro f1 0.9", "instead of sum: the cat sleeps"] {
        assert!(output.contains(part), "{part:?} is not in: {output}");
    }
    assert!(folder.read("run/report.html").contains("Most confident mistakes"));
    let predicted = wgrad(
        &folder,
        &["predict", "run", "the cat number 9 sleeps on the mat", "car 9 drives along the road", "--json"],
    )
    .succeeds();
    let predicted = document(&predicted);
    let names = [0, 1].map(|row: usize| predicted["predictions"][row]["name"].as_str().unwrap().to_string());
    assert_eq!(names, ["animal", "machine"]);
    wgrad(&folder, &["eval", "run", "--data", "data", "--json"]).succeeds();
    let preset = ["train", "text-classify", "--data", "data", "--steps", "2", "--device", "cpu", "--out", "preset"];
    wgrad(&folder, &preset).succeeds();
    folder.write("other.tsv", "text\tlabel\nthe cat\tpet\n");
    wgrad(&folder, &["eval", "run", "--data", "other.tsv"]).fails(1, "pet");
}
