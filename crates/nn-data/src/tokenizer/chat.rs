//! Conversations as the text that a model was trained on: chat templates of Hugging Face's form.

use std::path::{Path, PathBuf};

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{AutoEscape, Environment, ErrorKind, context, escape_formatter};
use serde_json::Value as Json;

use super::{chat_json, chat_time};
use crate::{DataError, text_file};

const TEMPLATE: &str = "chat_template.jinja";
const SETTINGS: &str = "tokenizer_config.json";
/// Where older folders keep what their special tokens are.
const SPECIAL: &str = "special_tokens_map.json";
/// The special tokens that a template may name.
const TOKENS: [&str; 7] = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// A part of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatMessage {
    /// Who says it: `system`, `user` or `assistant`.
    pub role: String,
    /// What is said.
    pub content: String,
}

impl ChatMessage {
    /// What `role` says.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into() }
    }
}

/// What makes a conversation the text that a model goes on with; as `apply_chat_template` of `transformers`.
///
/// The template is written in Jinja. It sees `messages` (each with `role` and `content`), `add_generation_prompt`, the
/// special tokens by name (`bos_token`, `eos_token`, …), `tools` and `documents` (both `none`), the functions
/// `raise_exception` and `strftime_now` (in UTC), the filter `tojson`, and Python's methods of strings, lists and
/// dictionaries. Line feeds after blocks and spaces before them are left out.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    /// The file that it comes from.
    path: PathBuf,
    tokens: Vec<(&'static str, String)>,
}

/// What a template says by `raise_exception`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Raised(String);

impl ChatTemplate {
    /// Reads the template of a folder: `chat_template.jinja`, else what `tokenizer_config.json` says, of several that named
    /// `default`. The special tokens come from `tokenizer_config.json`, else from `special_tokens_map.json`. `None` if
    /// there is no template.
    ///
    /// # Errors
    /// [`DataError::Read`] for a file that cannot be read; [`DataError::File`] for one that is no JSON, several templates
    /// without a default, and a template that is no Jinja.
    pub fn read(folder: &Path) -> Result<Option<Self>, DataError> {
        let settings = read_json(&folder.join(SETTINGS))?;
        let file = folder.join(TEMPLATE);
        let (source, path) = if file.is_file() {
            let bytes = text_file::read_bytes(&file, "a chat template")?;
            let unfit = |_| DataError::file(&file, "the chat template is no UTF-8 text", "get the file again");
            (String::from_utf8(bytes).map_err(unfit)?, file)
        } else {
            let path = folder.join(SETTINGS);
            match template_of(&settings["chat_template"], &path)? {
                Some(source) => (source, path),
                None => return Ok(None),
            }
        };
        let older = read_json(&folder.join(SPECIAL))?;
        let tokens = TOKENS.into_iter().filter_map(|name| {
            let given = token_text(&settings[name]).or_else(|| token_text(&older[name]));
            Some((name, given?.to_owned()))
        });
        Self::new(source, tokens.collect(), path).map(Some)
    }

    fn new(source: String, tokens: Vec<(&'static str, String)>, path: PathBuf) -> Result<Self, DataError> {
        let source = generation_as_condition(&source);
        let template = Self { environment: environment(), source, path, tokens };
        template.environment.template_from_str(&template.source).map_err(|error| template.explain(&error))?;
        Ok(template)
    }

    /// The special token of this name (`bos_token`, `eos_token`, …), if the folder tells of it.
    pub fn token(&self, name: &str) -> Option<&str> {
        self.tokens.iter().find(|(known, _)| *known == name).map(|(_, token)| token.as_str())
    }

    /// The text of a conversation; `add_generation_prompt` ends it with what begins an answer of the assistant.
    ///
    /// What it gives has all special tokens in it: it is encoded by [`Tokenizer::encode`](super::Tokenizer::encode).
    /// (Python: `apply_chat_template(messages, add_generation_prompt=…, tokenize=False)`.)
    ///
    /// # Errors
    /// [`DataError::File`] if the template refuses the conversation, such as one with a system message where the model
    /// knows none, or fails.
    pub fn render(&self, messages: &[ChatMessage], add_generation_prompt: bool) -> Result<String, DataError> {
        let message = |message: &ChatMessage| context! { role => message.role, content => message.content };
        let tokens: Value = self.tokens.iter().map(|(name, token)| (*name, Value::from(token.as_str()))).collect();
        let given = context! {
            messages => messages.iter().map(message).collect::<Vec<_>>(),
            tools => Value::from(()),
            documents => Value::from(()),
            add_generation_prompt,
            ..tokens
        };
        let template = self.environment.template_from_str(&self.source).map_err(|error| self.explain(&error))?;
        template.render(given).map_err(|error| self.explain(&error))
    }

    fn explain(&self, error: &minijinja::Error) -> DataError {
        let mut cause: Option<&dyn std::error::Error> = Some(error);
        while let Some(error) = cause {
            if let Some(Raised(message)) = error.downcast_ref() {
                let what = format!("the chat template refuses the conversation: {message}");
                return DataError::file(&self.path, what, "begin another conversation");
            }
            cause = error.source();
        }
        let what =
            error.detail().map_or_else(|| error.kind().to_string(), |detail| format!("{}: {detail}", error.kind()));
        let line = error.line().map(|line| format!(" in line {line}")).unwrap_or_default();
        DataError::file(
            &self.path,
            format!("the chat template fails{line}: {what}"),
            "put a simpler template for this model into chat_template.jinja",
        )
    }
}

/// The content of a JSON file; `null` if there is none.
fn read_json(path: &Path) -> Result<Json, DataError> {
    if !path.is_file() {
        return Ok(Json::Null);
    }
    let bytes = text_file::read_bytes(path, "JSON")?;
    serde_json::from_slice(&bytes)
        .map_err(|error| DataError::file(path, format!("this is no JSON: {error}"), "get the file again"))
}

/// The template that `chat_template` of a `tokenizer_config.json` says: a text, or several with names.
fn template_of(value: &Json, path: &Path) -> Result<Option<String>, DataError> {
    let several: Vec<(&str, &str)> = match value {
        Json::String(source) => return Ok(Some(source.clone())),
        Json::Array(all) => {
            all.iter().filter_map(|one| Some((one["name"].as_str()?, one["template"].as_str()?))).collect()
        }
        Json::Object(all) => all.iter().filter_map(|(name, source)| Some((name.as_str(), source.as_str()?))).collect(),
        _ => return Ok(None),
    };
    match several.iter().find(|(name, _)| *name == "default") {
        Some((_, source)) => Ok(Some((*source).to_owned())),
        None if several.is_empty() => Ok(None),
        None => {
            let names: Vec<&str> = several.iter().map(|(name, _)| *name).collect();
            Err(DataError::file(
                path,
                format!("none of the chat templates is named \"default\": there are {}", names.join(", ")),
                format!("put the one to use into {TEMPLATE}"),
            ))
        }
    }
}

/// A special token is a text, or has it as its content.
fn token_text(value: &Json) -> Option<&str> {
    value.as_str().or_else(|| value["content"].as_str())
}

/// The tags of a block `generation` as those of a condition that holds: the block marks what an assistant said for
/// training, and its content stays as it is.
fn generation_as_condition(source: &str) -> String {
    let mut changed = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(begin) = rest.find("{%") {
        let Some(length) = rest[begin..].find("%}") else { break };
        let (tag, after) = (&rest[begin + 2..begin + length], &rest[begin + length + 2..]);
        changed += &rest[..begin];
        let word = tag.trim_matches(|c: char| c == '-' || c == '+' || c.is_whitespace());
        let condition = match word {
            "generation" => Some("if true"),
            "endgeneration" => Some("endif"),
            _ => None,
        };
        match condition {
            Some(condition) => changed += &format!("{{%{}%}}", tag.replace(word, condition)),
            None => changed += &rest[begin..begin + length + 2],
        }
        rest = after;
    }
    changed + rest
}

/// What templates run in.
fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    // As Python writes them.
    environment.set_formatter(|output, state, value| match value.kind() {
        ValueKind::Bool => Ok(output.write_str(if value.is_true() { "True" } else { "False" })?),
        ValueKind::None => Ok(output.write_str("None")?),
        _ => escape_formatter(output, state, value),
    });
    let failed = |message: String| minijinja::Error::new(ErrorKind::InvalidOperation, message);
    environment.add_function("raise_exception", move |message: String| -> Result<Value, minijinja::Error> {
        Err(failed(message.clone()).with_source(Raised(message)))
    });
    environment.add_function("strftime_now", move |format: String| chat_time::now(&format).map_err(failed));
    environment.add_filter("tojson", move |value: Value, settings: Kwargs| {
        let value = serde_json::to_value(&value).map_err(|error| failed(error.to_string()))?;
        let indent: Option<usize> = settings.get("indent")?;
        let sorted: Option<bool> = settings.get("sort_keys")?;
        // Others than ASCII are never escaped, as templates expect it.
        let _: Option<bool> = settings.get("ensure_ascii")?;
        settings.assert_all_used()?;
        Ok::<_, minijinja::Error>(chat_json::write(&value, indent, sorted.unwrap_or(false)))
    });
    environment
}
