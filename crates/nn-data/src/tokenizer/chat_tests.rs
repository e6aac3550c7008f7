//! Tests of chat templates, against `apply_chat_template` of `transformers` by `scripts/make-golden-chat.py`.

use serde_json::{Value, json};

use super::{ChatMessage, ChatTemplate};
use crate::test_files::Folder;

fn cases() -> Vec<Value> {
    serde_json::from_str(include_str!("../../tests/golden/chat.json")).unwrap()
}

fn messages(value: &Value) -> Vec<ChatMessage> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    value.as_array().unwrap().iter().map(|message| ChatMessage::new(text(&message[0]), text(&message[1]))).collect()
}

/// The settings of a tokenizer with this template and these special tokens.
fn settings(template: &Value, tokens: &Value) -> Value {
    let mut settings = tokens.clone();
    settings["chat_template"] = template.clone();
    settings
}

fn read(settings: &Value) -> Result<Option<ChatTemplate>, String> {
    let folder = Folder::new();
    folder.write("tokenizer_config.json", settings.to_string());
    ChatTemplate::read(folder.path()).map_err(|error| error.to_string())
}

fn rendered(source: &str) -> Result<String, String> {
    let template = read(&settings(&json!(source), &json!({})))?.unwrap();
    let messages = [ChatMessage::new("user", "Hi")];
    template.render(&messages, true).map_err(|error| error.to_string())
}

#[test]
fn templates_give_what_python_makes_of_them() {
    let (mut same, mut refused) = (0, 0);
    for style in cases() {
        let template = read(&settings(&style["template"], &style["tokens"])).unwrap().unwrap();
        for case in style["cases"].as_array().unwrap() {
            let found = template.render(&messages(&case["messages"]), case["add_generation_prompt"].as_bool().unwrap());
            match case["error"].as_str() {
                None => {
                    assert_eq!(found.unwrap(), case["text"].as_str().unwrap(), "{} of {case}", style["name"]);
                    same += 1;
                }
                Some(error) => {
                    let found = found.unwrap_err().to_string();
                    assert!(found.contains(&format!("refuses the conversation: {error};")), "{found}");
                    refused += 1;
                }
            }
        }
    }
    assert!(same > 70 && refused > 3, "{same}, {refused}");
}

#[test]
fn templates_are_found_where_folders_have_them() {
    let user = [ChatMessage::new("user", "Hi")];
    let folder = Folder::new();
    assert!(ChatTemplate::read(folder.path()).unwrap().is_none());
    folder.write("tokenizer_config.json", json!({"bos_token": null, "chat_template": null}).to_string());
    assert!(ChatTemplate::read(folder.path()).unwrap().is_none());
    let several = json!([{"name": "tool_use", "template": "t"}, {"name": "default", "template": "{{ bos_token }}{{ eos_token }}d"}]);
    let bos = json!({"content": "<s>", "lstrip": false});
    folder.write("tokenizer_config.json", json!({"bos_token": bos, "chat_template": several}).to_string());
    folder.write("special_tokens_map.json", json!({"bos_token": "<x>", "eos_token": {"content": "</s>"}}).to_string());
    let template = ChatTemplate::read(folder.path()).unwrap().unwrap();
    assert_eq!(template.render(&user, false).unwrap(), "<s></s>d");
    assert_eq!((template.token("eos_token"), template.token("pad_token")), (Some("</s>"), None));
    folder.write("chat_template.jinja", "{{ bos_token }}{{ messages[0].content }}\n");
    assert_eq!(ChatTemplate::read(folder.path()).unwrap().unwrap().render(&user, false).unwrap(), "<s>Hi");
}

#[test]
fn what_is_wrong_with_a_template_is_told() {
    let error = read(&json!({"chat_template": [{"name": "rag", "template": "x"}]})).unwrap_err();
    assert!(error.contains("none of the chat templates is named \"default\": there are rag"), "{error}");
    let error = rendered("a\n{% if %}").unwrap_err();
    assert!(error.contains("tokenizer_config.json: the chat template fails in line 2: syntax error"), "{error}");
    let error = rendered("{{ messages[7].content.strip() }}").unwrap_err();
    assert!(error.contains("the chat template fails in line 1: undefined value"), "{error}");
    let error = rendered("{{ strftime_now('%Q') }}").unwrap_err();
    assert!(error.contains("\"%Q\" is not supported"), "{error}");
    let folder = Folder::new();
    folder.write("tokenizer_config.json", "{");
    let error = ChatTemplate::read(folder.path()).unwrap_err().to_string();
    assert!(error.contains("tokenizer_config.json: this is no JSON"), "{error}");
    folder.write("tokenizer_config.json", "{}");
    folder.write("chat_template.jinja", [0xff, 0xfe]);
    let error = ChatTemplate::read(folder.path()).unwrap_err().to_string();
    assert!(error.contains("chat_template.jinja: the chat template is no UTF-8 text"), "{error}");
}
