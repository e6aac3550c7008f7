//! `wgrad predict`: what a trained model makes of inputs.

use super::{DeviceArgument, answers, model, print, print_json, translations};
use crate::config::{self, Config};
use crate::error::Error;
use nn_core::DType;
use nn_data::npy::{NpyArray, NpyData};
use nn_data::text_table::bag_of_words;
use nn_train::Loss;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Classes that are printed with their probabilities, the likeliest first.
const SHOWN: usize = 5;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// A run's folder, a .safetensors file with config.toml beside or above it, or a folder from Hugging Face with a model
    /// that sorts texts or answers questions (bert, roberta, distilbert)
    #[arg(value_name = "RUN | CHECKPOINT | FOLDER")]
    model: PathBuf,
    /// A .npy file of rows, pictures (.png, .jpg), the numbers of a row (digits: 64 from 0 to 1), texts to sort or to
    /// translate, or questions about --context
    #[arg(required = true, allow_negative_numbers = true)]
    input: Vec<String>,
    /// The text that answers the questions, or a file with it
    #[arg(long, value_name = "TEXT | FILE", help_heading = "Questions")]
    context: Option<String>,
    /// Beginnings of a translation that are gone on with at each token; 1 takes the likeliest token each time
    #[arg(long, value_name = "N", default_value_t = 4, help_heading = "Translations", value_parser = clap::value_parser!(u32).range(1..=64))]
    beams: u32,
    #[command(flatten)]
    device: DeviceArgument,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// # Errors
/// If model, input or device cannot be used.
pub(super) fn run(arguments: &Arguments) -> Result<(), Error> {
    let mut found = model::find(&arguments.model)?;
    let device = arguments.device.device.as_deref();
    let model = found.config.model.architecture.model();
    if model.answers_questions() {
        return answers::print(&arguments.input, arguments.context.as_deref(), found, device, arguments.json);
    }
    if arguments.context.is_some() {
        return Err(Error::usage(format!(
            "--context: the model, {}, answers no questions; leave it out",
            model.describe()
        )));
    }
    if model.seq2seq().is_some() {
        return translations::print(&arguments.input, arguments.beams as usize, &found, device, arguments.json);
    }
    if found.hugging_face {
        fit_texts(&mut found.config, &arguments.input)?;
    }
    let config = &found.config;
    let inputs = inputs(config, &arguments.input)?;
    let mut trainer = found.load(device)?;
    let output = match &inputs {
        Inputs::Numbers(numbers) => trainer.predict(numbers),
        Inputs::Tokens(tokens) => trainer.predict(tokens),
    }?;
    let values = output.as_f32().map_err(nn_train::Error::from)?;
    let width: usize = output.shape().iter().skip(1).product();
    let loss = config.loss()?;
    let predictions: Vec<Prediction> = values.chunks(width).map(|row| Prediction::of(loss, row)).collect();
    if arguments.json {
        let predictions: Vec<Value> = predictions.iter().map(|prediction| prediction.document(config)).collect();
        return print_json(&json!({"predictions": predictions}));
    }
    print(&predictions.iter().map(|prediction| prediction.line(config)).collect::<String>())
}

/// Makes rows as long as the longest text needs, for a model that comes without a run.
///
/// # Errors
/// If the model sorts no texts, or the tokeniser cannot be used.
fn fit_texts(config: &mut Config, texts: &[String]) -> Result<(), Error> {
    let model = config.model.architecture.model();
    if model.task_type() != Some("SEQ_CLS") {
        let how = if model.language().is_some() { "; it writes texts: wgrad generate" } else { "" };
        let what = model.describe();
        return Err(Error::usage(format!(
            "the model, {what}, does not sort texts, by the architectures in its config.json{how}"
        )));
    }
    let tokenizer = super::write::tokenizer(config)?;
    let lengths = texts.iter().map(|text| Ok(tokenizer.encode(text)?.len() + 2));
    let longest: Option<usize> = lengths.collect::<Result<Vec<usize>, Error>>()?.into_iter().max();
    let most = model.longest_row().unwrap_or(usize::MAX);
    config.data.sample_shape = Some(vec![longest.unwrap_or(0).min(most)]);
    Ok(())
}

/// The rows that the arguments give, one after the other.
fn inputs(config: &Config, arguments: &[String]) -> Result<Inputs, Error> {
    if config.model.architecture.model().input_dtype() == DType::U32 {
        return tokens(config, arguments).map(Inputs::Tokens);
    }
    numbers(config, arguments).map(Inputs::Numbers)
}

/// A `.npy` file of token ids, or texts.
fn tokens(config: &Config, arguments: &[String]) -> Result<Vec<u32>, Error> {
    let width: usize = config.sample_shape().iter().product();
    if let [path] = arguments
        && Path::new(path).extension().is_some_and(|extension| extension == "npy")
    {
        return Ok(nn_data::arrays::read_token_rows(
            Path::new(path),
            width,
            config.model.architecture.model().vocabulary(),
        )?);
    }
    let tokenizer = super::write::tokenizer(config)?;
    arguments.iter().try_fold(Vec::new(), |mut rows, text| {
        let (mut row, cut) = config::text_row(&tokenizer, text, width)?;
        if cut {
            eprintln!("the text is longer than {width} tokens: the rest was left out");
        }
        rows.append(&mut row);
        Ok(rows)
    })
}

/// The numbers of the rows that the arguments give.
fn numbers(config: &Config, arguments: &[String]) -> Result<Vec<f32>, Error> {
    let width: usize = config.sample_shape().iter().product();
    if let [path] = arguments
        && Path::new(path).extension().is_some_and(|extension| extension == "npy")
    {
        return read_rows(Path::new(path), width);
    }
    let is_picture = |argument: &String| {
        let extension = Path::new(argument).extension().map(|extension| extension.to_ascii_lowercase());
        extension.is_some_and(|extension| ["png", "jpg", "jpeg"].iter().any(|known| extension == *known))
    };
    if arguments.iter().all(is_picture) {
        return arguments.iter().try_fold(Vec::new(), |mut all, path| {
            all.extend(config::read_picture(config, Path::new(path))?);
            Ok(all)
        });
    }
    if config.data.kind == config::DataKind::TextTable {
        return Ok(bag_of_words(&arguments.join(" "), width));
    }
    let words = arguments.iter().flat_map(|text| text.split(|c: char| c == ',' || c.is_whitespace()));
    let parse = |word: &str| match word.parse::<f32>() {
        Ok(number) if number.is_finite() => Ok(number),
        _ => Err(Error::usage(format!("{word:?} is not a finite number; give {width} numbers or a .npy file of rows"))),
    };
    let numbers: Vec<f32> = words.filter(|word| !word.is_empty()).map(parse).collect::<Result<_, _>>()?;
    if numbers.is_empty() || !numbers.len().is_multiple_of(width) {
        let count = numbers.len();
        return Err(Error::usage(format!("the input has {count} numbers, but the model takes {width} a row")));
    }
    Ok(numbers)
}

/// Reads rows of `width` numbers, of any type.
fn read_rows(path: &Path, width: usize) -> Result<Vec<f32>, Error> {
    let NpyArray { shape, data } = NpyArray::read(path)?;
    // A single row may come without a dimension for the rows.
    let row = if shape.iter().product::<usize>() == width { width } else { shape.iter().skip(1).product() };
    if row != width || data.is_empty() {
        return Err(Error::run(format!(
            "{}: the array has the shape {shape:?}, but the model takes rows of {width} numbers",
            path.display()
        )));
    }
    let numbers: Vec<f32> = match data {
        NpyData::F32(values) => values,
        NpyData::F64(values) => values.iter().map(|&value| value as f32).collect(),
        NpyData::U8(values) => values.iter().map(|&value| f32::from(value)).collect(),
        NpyData::U16(values) => values.iter().map(|&value| f32::from(value)).collect(),
        NpyData::U32(values) => values.iter().map(|&value| value as f32).collect(),
        NpyData::I32(values) => values.iter().map(|&value| value as f32).collect(),
        NpyData::I64(values) => values.iter().map(|&value| value as f32).collect(),
    };
    match numbers.iter().position(|number| !number.is_finite()) {
        Some(place) => Err(Error::run(format!(
            "{}: row {} (from 0) has {}; give finite numbers",
            path.display(),
            place / width,
            numbers[place]
        ))),
        None => Ok(numbers),
    }
}

/// Rows, one after the other.
enum Inputs {
    Numbers(Vec<f32>),
    Tokens(Vec<u32>),
}

/// What the model makes of one row.
enum Prediction {
    /// A class, and a number for each: its probability, or its output where that is none.
    Class {
        class: usize,
        scores: Vec<f64>,
        probabilities: bool,
    },
    Values(Vec<f32>),
}

impl Prediction {
    fn of(loss: Loss, row: &[f32]) -> Prediction {
        let (scores, probabilities) = match (loss, row) {
            (Loss::CrossEntropy, _) => (softmax(row), true),
            (Loss::BinaryCrossEntropy, [logit]) => {
                let probability = 1.0 / (1.0 + (-f64::from(*logit)).exp());
                (vec![1.0 - probability, probability], true)
            }
            (Loss::MseOneHot, _) => (row.iter().map(|&value| f64::from(value)).collect(), false),
            _ => return Prediction::Values(row.to_vec()),
        };
        // The first of equals, as the evaluation does. One logit decides at 0, as the evaluation does.
        let class = match (loss, row) {
            (Loss::BinaryCrossEntropy, [logit]) => usize::from(*logit > 0.0),
            _ => (0..row.len()).rev().max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap_or(0),
        };
        Prediction::Class { class, scores, probabilities }
    }

    fn line(&self, config: &Config) -> String {
        match self {
            Prediction::Values(values) => {
                let values: Vec<String> = values.iter().map(f32::to_string).collect();
                format!("{}\n", values.join(" "))
            }
            Prediction::Class { class, scores, probabilities } => {
                let mut order: Vec<usize> = (0..scores.len()).collect();
                order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
                let shown = order.iter().take(SHOWN);
                let shown = shown.map(|&class| format!("{} {:.4}", config.class_name(class), scores[class]));
                let what = if *probabilities { "probabilities" } else { "outputs" };
                format!("{}  ({what}: {})\n", config.class_name(*class), shown.collect::<Vec<_>>().join(", "))
            }
        }
    }

    fn document(&self, config: &Config) -> Value {
        match self {
            Prediction::Values(values) if values.len() == 1 => json!({"value": values[0]}),
            Prediction::Values(values) => json!({"values": values}),
            Prediction::Class { class, scores, probabilities } => {
                let names = (0..scores.len()).map(|class| config.class_name(class));
                let scores: serde_json::Map<String, Value> =
                    names.zip(scores.iter().map(|score| json!(score))).collect();
                let key = if *probabilities { "probabilities" } else { "outputs" };
                json!({"class": class, "name": config.class_name(*class), key: scores})
            }
        }
    }
}

/// Probabilities.
pub(super) fn softmax(logits: &[f32]) -> Vec<f64> {
    let largest = logits.iter().fold(f64::NEG_INFINITY, |largest, &logit| largest.max(logit.into()));
    let powers: Vec<f64> = logits.iter().map(|&logit| (f64::from(logit) - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|power| power / sum).collect()
}
