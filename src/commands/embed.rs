//! `wgrad embed`: vectors of texts, and which texts are near to each other.

use super::{DeviceArgument, model, print, print_json, with_commas};
use crate::config;
use crate::error::Error;
use nn_data::npy::{NpyArray, NpyData};
use serde_json::{Value, json};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The folder of a run that trained a bert or a distilbert, or a .safetensors file with config.toml beside or above it
    #[arg(value_name = "RUN | CHECKPOINT")]
    model: PathBuf,
    /// A file with a text on each line
    #[arg(value_name = "FILE")]
    texts: PathBuf,
    /// Where the vectors go: a .npy file, f32 [texts, width], the mean of the last layer over each text's tokens
    #[arg(long, value_name = "FILE.npy")]
    out: Option<PathBuf>,
    /// Print the texts that are nearest to this one; may be given several times
    #[arg(long, value_name = "TEXT")]
    query: Vec<String>,
    /// How many of them
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    nearest: u32,
    #[command(flatten)]
    device: DeviceArgument,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// # Errors
/// If the model is none that reads texts, a file cannot be read or written, or the device fails.
pub(super) fn run(arguments: &Arguments) -> Result<(), Error> {
    if arguments.out.is_none() && arguments.query.is_empty() {
        return Err(Error::usage("say where the vectors go, --out vectors.npy, or what to look for, --query TEXT"));
    }
    let mut found = model::find(&arguments.model)?.embedding()?;
    let tokenizer = super::write::tokenizer(&found.config)?;
    let content = nn_data::read_text(&arguments.texts)?;
    let texts: Vec<&str> = content.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if texts.is_empty() {
        return Err(Error::run(format!(
            "{}: there is no line with text; give a text on each",
            arguments.texts.display()
        )));
    }
    let all: Vec<&str> = texts.iter().copied().chain(arguments.query.iter().map(String::as_str)).collect();

    let most = found.config.row_length();
    let (mut rows, mut longest, mut cut) = (Vec::with_capacity(all.len()), 3, 0);
    for text in &all {
        let (row, was_cut) = config::text_row(&tokenizer, text, most)?;
        cut += usize::from(was_cut);
        longest = longest.max(config::text_length(&tokenizer, &row));
        rows.push(row);
    }
    if cut > 0 {
        eprintln!("{cut} texts are longer than {most} tokens: the rest of them was left out");
    }
    // Padding takes time and changes nothing.
    let tokens: Vec<u32> = rows.iter().flat_map(|row| row[..longest].iter().copied()).collect();
    found.config.data.sample_shape = Some(vec![longest]);
    let mut trainer = found.load(arguments.device.device.as_deref())?;
    let output = trainer.predict(&tokens)?;
    let values = output.as_f32().map_err(nn_train::Error::from)?;
    let width = values.len() / all.len();
    let (vectors, queries) = values.split_at(texts.len() * width);

    if let Some(path) = &arguments.out {
        NpyArray { shape: vec![texts.len(), width], data: NpyData::F32(vectors.to_vec()) }.write(path)?;
    }
    let nearest = queries.chunks(width.max(1)).map(|query| nearest(query, vectors, arguments.nearest as usize));
    let found: Vec<(&String, Vec<(usize, f64)>)> = arguments.query.iter().zip(nearest).collect();
    if arguments.json {
        let place = |&(place, cosine): &(usize, f64)| json!({"row": place, "text": texts[place], "cosine": cosine});
        let query = |(text, near): &(&String, Vec<(usize, f64)>)| json!({"query": text, "nearest": near.iter().map(place).collect::<Vec<Value>>()});
        return print_json(&json!({
            "out": arguments.out.as_ref().map(|path| path.display().to_string()),
            "texts": texts.len(),
            "width": width,
            "queries": found.iter().map(query).collect::<Vec<Value>>(),
            "device": trainer.device_name(),
        }));
    }
    let mut lines = String::new();
    if let Some(path) = &arguments.out {
        lines += &format!("{}: {} vectors of {width} numbers\n", path.display(), with_commas(texts.len() as u64));
    }
    for (text, near) in &found {
        lines += &format!("{text}\n");
        near.iter().for_each(|(place, cosine)| lines += &format!("  {cosine:.4}  {}\n", texts[*place]));
    }
    print(&lines)
}

/// The rows of `vectors` that point most in the direction of `query`, with the cosines of the angles between; the first
/// of equals first.
fn nearest(query: &[f32], vectors: &[f32], count: usize) -> Vec<(usize, f64)> {
    let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    let norm = product(query, query).sqrt();
    let cosine = |row: &[f32]| {
        let length = norm * product(row, row).sqrt();
        if length > 0.0 { product(query, row) / length } else { 0.0 }
    };
    let mut all: Vec<(usize, f64)> = vectors.chunks(query.len().max(1)).map(cosine).enumerate().collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    all.truncate(count);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_point_the_same_way_whatever_their_length() {
        let vectors = [0.0, 1.0, 10.0, 1.0, 0.1, 0.1, -1.0, 0.0, 0.0, 0.0, 0.0, 5.0];
        let found = nearest(&[0.0, 2.0], &vectors, 4);
        let places: Vec<usize> = found.iter().map(|(place, _)| *place).collect();
        assert_eq!(places, [0, 5, 2, 1]);
        assert!((found[2].1 - 0.5f64.sqrt()).abs() < 1e-6 && (found[0].1 - 1.0).abs() < 1e-12);
    }
}
