//! `wgrad tokenizer`: making a tokeniser of one's own.

use super::{print, print_json, with_commas};
use crate::error::Error;
use nn_data::train_byte_bpe;
use serde_json::json;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Make a byte-level BPE tokeniser of texts
    Train(Train),
}

#[derive(clap::Args)]
struct Train {
    /// Text files
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// How many tokens it is to have: special ones, the 256 bytes, and parts of words
    #[arg(long, value_name = "N", default_value_t = 4096)]
    vocabulary: usize,
    /// A token that stands for no text; may be given several times, the first has the id 0
    #[arg(long, value_name = "TOKEN", default_values_t = ["<|endoftext|>".to_string()])]
    special: Vec<String>,
    /// Where it goes, in the form of Hugging Face's
    #[arg(long, value_name = "FILE", default_value = "tokenizer.json")]
    out: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// # Errors
/// If a file cannot be read or is no text, the settings make no sense, or the result cannot be written.
pub(super) fn run(arguments: &Arguments) -> Result<(), Error> {
    let Command::Train(Train { files, vocabulary, special, out, json }) = &arguments.command;
    if out.exists() {
        return Err(Error::usage(format!("{} is there already; name another file by --out", out.display())));
    }
    let texts = files.iter().map(|path| Ok(nn_data::read_text(path)?)).collect::<Result<Vec<String>, Error>>()?;
    let special: Vec<&str> = special.iter().map(String::as_str).collect();
    let tokenizer = train_byte_bpe(&texts, *vocabulary, &special)?;
    tokenizer.save(out)?;
    let bytes: usize = texts.iter().map(String::len).sum();
    let mut tokens = 0;
    for text in &texts {
        tokens += tokenizer.encode(text)?.len();
    }
    let per_token = bytes as f64 / tokens.max(1) as f64;
    if *json {
        return print_json(&json!({
            "tokenizer": out.display().to_string(),
            "vocabulary": tokenizer.vocabulary_size(),
            "bytes": bytes,
            "tokens": tokens,
            "bytes_per_token": per_token,
        }));
    }
    print(&format!(
        "{}: {} tokens; the texts' {} bytes become {} tokens, {per_token:.2} bytes each\n",
        out.display(),
        with_commas(tokenizer.vocabulary_size() as u64),
        with_commas(bytes as u64),
        with_commas(tokens as u64)
    ))
}
