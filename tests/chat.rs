//! Folders as people get them from the Hugging Face hub: texts gone on with, conversations and classes as `transformers`
//! gives them (`scripts/make-golden-chat.py`), and what such a folder may lack.

#[path = "program/files.rs"]
mod files;
mod program;

use program::{Folder, Outcome, command, outcome, wgrad};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

const LANGUAGES: [&str; 2] = ["gpt2", "llama"];

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/hugging_face").join(name)
}

fn document(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn expected(name: &str) -> Value {
    document(&std::fs::read_to_string(golden(name).join("expected.json")).unwrap())
}

/// A folder with a copy of a golden one, `model`, to be changed.
fn copy_of(name: &str) -> Folder {
    let folder = Folder::new();
    for entry in std::fs::read_dir(golden(name)).unwrap() {
        let path = entry.unwrap().path();
        folder.write(&format!("model/{}", path.file_name().unwrap().to_str().unwrap()), std::fs::read(&path).unwrap());
    }
    folder
}

/// Changes the fields of a JSON file; `null` takes one away.
fn change(folder: &Folder, name: &str, changes: &Value) {
    let mut content = document(&folder.read(name));
    for (field, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(content.as_object_mut().unwrap().remove(field)),
            value => content[field] = value.clone(),
        }
    }
    folder.write(name, content.to_string());
}

/// What follows the prompt, greedily, on the CPU.
fn likeliest(folder: &Folder, model: &Path, more: &[&str]) -> Outcome {
    let mut arguments = vec!["generate", model.to_str().unwrap(), "--temperature", "0", "--device", "cpu"];
    arguments.extend(more);
    wgrad(folder, &arguments)
}

#[test]
fn texts_go_on_as_transformers_goes_on_with_them() {
    let folder = Folder::new();
    for name in LANGUAGES {
        let expected = expected(name);
        let prompt = expected["prompt"].as_str().unwrap();
        for more in [&[][..], &["--no-cache"], &["--context", "40"]] {
            let arguments = [&["--prompt", prompt, "--tokens", "24", "--json"][..], more].concat();
            let found = document(&likeliest(&folder, &golden(name), &arguments).succeeds());
            assert_eq!(found["ids"], expected["ids"], "{name} {more:?}");
            assert_eq!(found["text"], expected["text"], "{name}");
        }
        let streamed = likeliest(&folder, &golden(name), &["--prompt", prompt, "--tokens", "24"]).succeeds();
        assert_eq!(streamed, format!("{prompt}{}\n", expected["text"].as_str().unwrap()));
    }
    // The file of weights alone says where the rest is.
    let expected = expected("gpt2");
    let arguments = ["--prompt", expected["prompt"].as_str().unwrap(), "--tokens", "24", "--json"];
    let found = likeliest(&folder, &golden("gpt2").join("model.safetensors"), &arguments).succeeds();
    assert_eq!(document(&found)["ids"], expected["ids"]);
}

/// Without `generation_config.json` the text ends where `config.json` says.
#[test]
fn settings_say_where_texts_end() {
    let folder = copy_of("gpt2");
    let expected = expected("gpt2");
    let arguments = ["--prompt", expected["prompt"].as_str().unwrap(), "--tokens", "24", "--json"];
    let ids = |folder: &Folder| document(&likeliest(folder, Path::new("model"), &arguments).succeeds())["ids"].clone();
    change(&folder, "model/generation_config.json", &json!({"eos_token_id": null}));
    assert_eq!(ids(&folder), expected["free"]);
    std::fs::remove_file(folder.path().join("model/generation_config.json")).unwrap();
    assert_eq!(ids(&folder), expected["free"]);
    change(&folder, "model/config.json", &json!({"eos_token_id": expected["ids"].as_array().unwrap().last()}));
    assert_eq!(ids(&folder), expected["ids"]);
}

/// Files on the hub have records in them that change nothing.
#[test]
fn records_in_settings_are_passed_over() {
    let folder = copy_of("llama");
    let records = json!({
        "is_llama_config": true, "rope_interleaved": false, "transformers.js_config": {"dtype": "q4", "none": null},
        "torch_dtype": "bfloat16", "pretraining_tp": 1, "_name_or_path": "x", "unsloth_fixed": true, "use_mrope": false,
    });
    change(&folder, "model/config.json", &records);
    let expected = expected("llama");
    let arguments = ["--prompt", expected["prompt"].as_str().unwrap(), "--tokens", "24", "--json"];
    let found = document(&likeliest(&folder, Path::new("model"), &arguments).succeeds());
    assert_eq!(found["ids"], expected["ids"]);
    change(&folder, "model/config.json", &json!({"rope_interleaved": true}));
    likeliest(&folder, Path::new("model"), &arguments)
        .fails(2, "model.config.rope_interleaved = true is not supported");
}

/// What the program prints when these lines are typed into a conversation.
fn conversed(folder: &Folder, model: &Path, lines: &str, more: &[&str]) -> Outcome {
    let mut arguments = vec!["generate", model.to_str().unwrap(), "--chat", "--temperature", "0", "--device", "cpu"];
    arguments.extend(more);
    let mut command = command(folder, &arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Outcome { code: output.status.code(), output: text(output.stdout), errors: text(output.stderr) }
}

#[test]
fn conversations_go_as_with_transformers() {
    let folder = Folder::new();
    for name in LANGUAGES {
        let expected = expected(name);
        let answers = expected["answers"].as_array().unwrap();
        let system = ["--system", expected["system"].as_str().unwrap(), "--tokens", "12"];
        let said: String = answers.iter().map(|answer| format!("{}\n", answer["said"].as_str().unwrap())).collect();
        let all: String = answers.iter().map(|answer| format!("{}\n", answer["text"].as_str().unwrap())).collect();
        for (lines, more) in [(said.clone(), &[][..]), (said.clone() + "\nnot heard\n", &["--no-cache"])] {
            let arguments = [&system[..], more].concat();
            let outcome = conversed(&folder, &golden(name), &lines, &arguments);
            assert!(outcome.errors.contains("the answer is cut off after 12 tokens; --tokens"), "{}", outcome.errors);
            assert_eq!(outcome.succeeds(), all, "{name} {more:?}");
        }
        let once = [&system[..], &["--prompt", answers[0]["said"].as_str().unwrap()]].concat();
        let outcome = conversed(&folder, &golden(name), "not heard\n", &once);
        assert_eq!(outcome.succeeds(), format!("{}\n", answers[0]["text"].as_str().unwrap()));
        let json = [&once[..], &["--json"]].concat();
        let found = document(&conversed(&folder, &golden(name), "", &json).succeeds());
        assert_eq!((&found["ids"], &found["text"]), (&answers[0]["ids"], &answers[0]["text"]));
    }
}

/// The template is found where the run's weights came from.
#[test]
fn a_run_that_began_with_a_folder_converses() {
    let folder = copy_of("gpt2");
    folder.write("text.txt", "the model reads the words and writes the answer\n".repeat(20));
    folder.write(
        "run.toml",
        "[model]\nkind = \"gpt2\"\nconfig = \"model/config.json\"\nweights = \"model/model.safetensors\"\n[data]\n\
         kind = \"text\"\npath = \"text.txt\"\ntokenizer = \"model/tokenizer.json\"\ncontext = 16\n[train]\nsteps = 2\n",
    );
    wgrad(&folder, &["train", "run.toml", "--device", "cpu", "--out", "run"]).succeeds();
    assert!(!folder.exists("run/chat_template.jinja"));
    let answer = conversed(&folder, Path::new("run"), "hello\n", &["--tokens", "5"]).succeeds();
    assert!(answer.ends_with('\n') && answer.len() > 3, "{answer:?}");
    std::fs::remove_file(folder.path().join("model/chat_template.jinja")).unwrap();
    conversed(&folder, Path::new("run"), "hello\n", &[]).fails(2, "run has no chat template");
}

#[test]
fn conversations_that_cannot_go_on_say_so() {
    let folder = copy_of("gpt2");
    let model = Path::new("model");
    let first = expected("gpt2")["answers"][0].clone();
    let (said, tokens) = (first["said"].as_str().unwrap(), first["prompt_tokens"].as_u64().unwrap());
    let within = |context: u64| {
        let most = context.to_string();
        conversed(&folder, model, "", &["--system", "Be brief.", "--prompt", said, "--json", "--context", &most])
    };
    let cut = within(tokens + 3);
    let words = format!("fill the {} tokens of the context", tokens + 3);
    assert!(cut.errors.contains(&words), "{}", cut.errors);
    assert_eq!(document(&cut.succeeds())["tokens"], 3);
    within(tokens).fails(1, &format!("has {tokens} tokens, but only {tokens} can be looked at"));
    let long = "hello ".repeat(300);
    conversed(&folder, model, "", &["--prompt", &long])
        .fails(1, "only 192 can be looked at, with the answer: that is all");
    conversed(&folder, model, "hello\n", &["--json"]).fails(2, "--json prints one answer");
    assert_eq!(wgrad(&folder, &["generate", "model", "--system", "x"]).code, Some(2));

    folder.write("model/chat_template.jinja", "{{ raise_exception('System role not supported') }}");
    conversed(&folder, model, "hello\n", &[]).fails(1, "refuses the conversation: System role not supported");
    std::fs::remove_file(folder.path().join("model/chat_template.jinja")).unwrap();
    conversed(&folder, model, "hello\n", &[]).fails(2, "model has no chat template");
}

#[test]
fn texts_are_sorted_by_a_folder() {
    let folder = Folder::new();
    let expected = expected("bert");
    let rows = expected.as_array().unwrap();
    let model = golden("bert");
    // One by one and together: shorter texts are filled up then.
    let texts: Vec<&str> = rows.iter().map(|row| row["text"].as_str().unwrap()).collect();
    for (texts, rows) in
        std::iter::once((&texts[..], &rows[..])).chain((0..3).map(|row| (&texts[row..=row], &rows[row..=row])))
    {
        let arguments = [&["predict", model.to_str().unwrap(), "--device", "cpu", "--json"][..], texts].concat();
        let found = document(&wgrad(&folder, &arguments).succeeds());
        for (found, row) in found["predictions"].as_array().unwrap().iter().zip(rows) {
            let of = |value: &Value| -> Vec<f64> {
                let named = |name: &str| value["probabilities"][name].as_f64().unwrap();
                ["weather", "words", "neither"].map(named).to_vec()
            };
            let (found_all, exact) = (of(found), of(row));
            let apart = found_all.iter().zip(&exact).map(|(found, exact)| (found - exact).abs()).fold(0.0, f64::max);
            assert!(apart < 1e-5, "{found_all:?} instead of {exact:?}");
            assert_eq!(found["name"], "words");
        }
    }
    wgrad(&folder, &["eval", model.to_str().unwrap()]).fails(2, "give some with --data");
    let gpt2 = golden("gpt2");
    wgrad(&folder, &["predict", gpt2.to_str().unwrap(), "a"]).fails(2, "does not sort texts");
    wgrad(&folder, &["generate", model.to_str().unwrap(), "--prompt", "a"]).fails(2, "writes no texts");
}

#[test]
fn what_a_folder_lacks_is_named() {
    let generate = |folder: &Folder| wgrad(folder, &["generate", "model", "--prompt", "the", "--device", "cpu"]);
    let without = |name: &str, file: &str| {
        let folder = copy_of(name);
        assert!(folder.exists(&format!("model/{file}")));
        std::fs::remove_file(folder.path().join("model").join(file)).unwrap();
        folder
    };
    let folder = without("gpt2", "config.json");
    generate(&folder).fails(2, "model holds no run: there is no config.toml in it, nor the config.json of a model");
    let folder = without("gpt2", "tokenizer.json");
    folder.write("model/tokenizer.model", "x");
    generate(&folder).fails(1, "model has no tokenizer.json, only tokenizer.model");
    let folder = without("gpt2", "model.safetensors");
    generate(&folder)
        .fails(1, "model has no weights: there is neither model.safetensors nor model.safetensors.index.json");
    folder.write("model/pytorch_model.bin", "x");
    generate(&folder).fails(1, "a form that is not read, pytorch_model.bin, but no model.safetensors; convert");
    folder.write("model/model.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n");
    generate(&folder).fails(1, "only a pointer that Git LFS leaves");
    let folder = without("gpt2", "model.safetensors");
    folder.write("model/adapter_model.safetensors", "x");
    generate(&folder).fails(1, "the weights of an adapter only");
    let folder = without("llama", "model-00002-of-00003.safetensors");
    generate(&folder).fails(1, "model-00002-of-00003.safetensors: this part of the weights is missing");

    let with = |name: &str, file: &str, changes: Value| {
        let folder = copy_of(name);
        change(&folder, &format!("model/{file}"), &changes);
        generate(&folder)
    };
    let index = "model.safetensors.index.json";
    with("llama", index, json!({"weight_map": null})).fails(1, "it has no \"weight_map\"");
    with("llama", index, json!({"weight_map": {"a": "../b"}})).fails(1, "which is no file's name");
    let part = "model-00001-of-00003.safetensors";
    with("llama", index, json!({"weight_map": {"a": part}})).fails(1, "missing: `model.layers.1.");
    let config = "config.json";
    with("gpt2", config, json!({"model_type": "bloom"}))
        .fails(2, "model_type \"bloom\" are not supported; supported: gpt2,");
    with("gpt2", config, json!({"model_type": null})).fails(2, "it has no model_type");
    with("gpt2", config, json!({"n_embd": "x"})).fails(2, "config.json: a setting cannot be understood");
    with("gpt2", config, json!({"mystery": 1})).fails(2, "model.config.mystery = 1 is not supported");
    with("gpt2", config, json!({"n_embd": 32})).fails(1, "misshapen");
    with("gpt2", config, json!({"architectures": ["GPT2ForTokenClassification"]}))
        .fails(2, "GPT2ForTokenClassification");
    with("bert", config, json!({"problem_type": "multi_label_classification"}))
        .fails(2, "classes must exclude each other");
    let folder = copy_of("gpt2");
    folder.write("model/generation_config.json", "[]");
    generate(&folder).fails(1, "generation_config.json: it holds no JSON object");
    folder.write("model/config.json", "{");
    generate(&folder).fails(1, "config.json: it is no JSON");
    // Nothing is read from where there is nothing.
    outcome(command(&folder, &["generate", "nowhere", "--prompt", "a"])).fails(2, "nowhere");
}
