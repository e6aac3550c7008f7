//! From configurations to data sets.

use super::language::{self, Text};
use super::pictures::{self, Parts};
use super::{Config, Data, DataKind};
use super::{parallel, questions, random, texts};
use crate::error::Error;
use nn_data::arrays::{read_arrays, read_token_arrays};
use nn_data::csv_table::read_csv;
use nn_data::text_table::TextTable;
use nn_data::topics::{TopicsOptions, topics};
use nn_data::{Dataset, Inputs, Targets};
use nn_models::Model;
use std::path::{Path, PathBuf};

/// Numbers in a bag of words if nothing else is said: enough that few words of a small corpus share one.
const BAG_DIMENSIONS: usize = 1000;
/// More names than this are not written to a config.
const NAMED_CLASSES: usize = 1000;

/// Data sets, ready to be trained on and evaluated.
#[derive(Debug)]
pub(crate) struct LoadedData {
    pub(crate) training: Dataset,
    /// What is evaluated during training; `None` if no rows are held out.
    pub(crate) held_out: Option<Dataset>,
    /// What is evaluated at the end, where the data says so.
    pub(crate) test: Option<Dataset>,
    /// Channels, height and width, where a sample is a picture.
    pub(crate) picture: Option<[usize; 3]>,
    /// How texts became tokens, where they did.
    pub(crate) text: Option<Text>,
}

impl LoadedData {
    /// What is evaluated during training: rows that are not trained on, if there are such.
    pub(crate) fn evaluated(&self) -> &Dataset {
        self.held_out.as_ref().or(self.test.as_ref()).unwrap_or(&self.training)
    }

    /// What is evaluated at the end.
    pub(crate) fn tested(&self) -> &Dataset {
        self.test.as_ref().or(self.held_out.as_ref()).unwrap_or(&self.training)
    }

    /// What [`LoadedData::tested`] is, in words.
    pub(crate) fn tested_name(&self) -> &'static str {
        match (&self.test, &self.held_out) {
            (Some(_), _) => "test data",
            (None, Some(_)) => "held-out data",
            (None, None) => "training data",
        }
    }
}

/// Loads the data of a config, splits it, and fills in the config's defaults. `outputs` is the number of the model's
/// outputs where it is known; classes that are only numbers are as many.
///
/// # Errors
/// What is wrong with the files, with path and place; settings that contradict the data.
pub(crate) fn load_split(data: &mut Data, outputs: Option<usize>, model: &dyn Model) -> Result<LoadedData, Error> {
    let Parts { all, validation, test, text } = load(data, outputs, model)?;
    let whole = validation.is_none() && test.is_none();
    let default = if whole { data.kind.default_validation(all.rows()) } else { 0.0 };
    let fraction = data.validation.unwrap_or(default);
    if !(0.0..1.0).contains(&fraction) {
        return Err(Error::usage(format!("data.validation = {fraction} must be 0 or more and below 1")));
    }
    let seed = data.seed.unwrap_or(0);
    let (training, held_out) = match validation {
        Some(validation) => (all, Some(validation)),
        None if fraction == 0.0 => (all, None),
        None => {
            // Whoever asks for the rows in order knows which ones are last; otherwise a file sorted by class would hold
            // out one class only.
            let sequential = data.order.as_deref() == Some("sequential");
            let (training, held_out) = if sequential { all.split_last(fraction) } else { all.split(fraction, seed) }?;
            (training, Some(held_out))
        }
    };
    if data.kind != DataKind::Xor {
        (data.validation, data.seed) = (Some(fraction), Some(seed));
    }
    data.order.get_or_insert_with(|| "shuffled".into());
    data.batch_size.get_or_insert(if data.kind == DataKind::Xor { 4 } else { 32 });
    let names = training.targets.names();
    if data.classes.is_none() && !names.is_empty() && names.len() <= NAMED_CLASSES {
        data.classes = Some(names.to_vec());
    }
    let picture = <[usize; 3]>::try_from(training.sample_shape.clone()).ok();
    let mut loaded = LoadedData { training, held_out, test, picture, text };
    pictures::prepare(data, &mut loaded, model)?;
    let LoadedData { training, held_out, test, .. } = &mut loaded;
    for set in [Some(training), held_out.as_mut(), test.as_mut()].into_iter().flatten() {
        fit(set, model)?;
    }
    Ok(loaded)
}

/// Brings samples into the shape that the model takes.
fn fit(set: &mut Dataset, model: &dyn Model) -> Result<(), Error> {
    let shape = model.sample_shape(&set.sample_shape);
    set.sample_shape = shape.map_err(|message| Error::usage(format!("{}: {message}", set.name)))?;
    Ok(())
}

/// Loads other files, whole or of several parts the test part, as the data of a config that was trained with.
///
/// # Errors
/// As [`load_split`]; also if the config's kind takes no files, or another number of them.
pub(crate) fn load_alone(config: &Config, files: &[PathBuf]) -> Result<LoadedData, Error> {
    let mut data = config.data.clone();
    let replaced = matches!(files, [path] if pictures::replace_by_folder(&mut data, path));
    match (data.kind, files) {
        (DataKind::Arrays, [inputs, targets]) => {
            (data.inputs, data.targets) = (Some(inputs.clone()), Some(targets.clone()));
        }
        (DataKind::Arrays, _) => return Err(Error::usage("--data needs two files here: inputs.npy targets.npy")),
        _ if replaced => {}
        (kind, [path]) if kind.has_path() => data.path = Some(path.clone()),
        (DataKind::Csv | DataKind::TextTable, _) => return Err(Error::usage("--data needs one file here")),
        // Whatever a model was trained on, arrays of its shape can be given.
        (_, [inputs, targets]) => {
            let classes = data.classes.take();
            data = Data { kind: DataKind::Arrays, classes, ..Data::default() };
            (data.inputs, data.targets) = (Some(inputs.clone()), Some(targets.clone()));
        }
        (kind, _) => {
            let folder = if data.sample_shape.as_ref().is_some_and(|shape| shape.len() == 3) {
                ", or a folder with a sub-folder of pictures for each class"
            } else {
                ""
            };
            let message = format!(
                "the data {:?} has no file; --data needs two files: inputs.npy targets.npy{folder}",
                kind.name()
            );
            return Err(Error::usage(message));
        }
    }
    let model = config.model.architecture.model();
    // What is given is evaluated whole.
    data.validation = Some(0.0);
    let Parts { all, test, text, .. } = load(&mut data, config.outputs(), model)?;
    let set = test.unwrap_or(all);
    let picture = <[usize; 3]>::try_from(set.sample_shape.clone()).ok();
    // Scale and noise are those that the run wrote down.
    let mut loaded = LoadedData { training: set.clone(), held_out: Some(set), test: None, picture, text };
    pictures::prepare(&mut data, &mut loaded, model)?;
    if let Some(set) = &mut loaded.held_out {
        fit(set, model)?;
    }
    Ok(loaded)
}

fn load(data: &mut Data, outputs: Option<usize>, model: &dyn Model) -> Result<Parts, Error> {
    if let Some(parts) = pictures::load(data, model)? {
        return Ok(parts);
    }
    let missing =
        |key: &str| Error::usage(format!("data.{key} is missing; data of kind {:?} needs it", data.kind.name()));
    let needed = |key: &str, path: &Option<PathBuf>| path.clone().ok_or_else(|| missing(key));
    let vocabulary = model.vocabulary();
    let set = match data.kind {
        DataKind::Tokens => return language::tokens(data, &needed("path", &data.path)?, vocabulary),
        DataKind::Text => return language::text(data),
        DataKind::LabelledText => return texts::labelled(data),
        DataKind::Pairs => return parallel::pairs(data, model),
        DataKind::Questions => return questions::questions(data, model),
        DataKind::Random => return random::random(data, model),
        DataKind::Arrays if takes_tokens(model) => {
            let (inputs, targets) = (needed("inputs", &data.inputs)?, needed("targets", &data.targets)?);
            let set = read_token_arrays(&inputs, &targets, vocabulary)?;
            name_numbered(set, data.classes.as_deref(), outputs, &targets)?
        }
        DataKind::Arrays => {
            let (inputs, targets) = (needed("inputs", &data.inputs)?, needed("targets", &data.targets)?);
            name_numbered(read_arrays(&inputs, &targets)?, data.classes.as_deref(), outputs, &targets)?
        }
        DataKind::Csv => {
            let path = needed("path", &data.path)?;
            let set = read_csv(&path, data.target.as_deref())?;
            name_numbered(set, data.classes.as_deref(), outputs, &path)?
        }
        DataKind::Xor => xor(),
        DataKind::Topics => {
            let default = TopicsOptions::default();
            let options = TopicsOptions {
                samples: *data.samples.get_or_insert(default.samples),
                dimensions: *data.dimensions.get_or_insert(default.dimensions),
                topics: *data.topics.get_or_insert(default.topics),
                words: *data.words.get_or_insert(default.words),
            };
            topics(options, data.seed.unwrap_or(0))?
        }
        DataKind::TextTable => {
            let table = TextTable::read(&needed("path", &data.path)?)?;
            let dimensions = *data.dimensions.get_or_insert(BAG_DIMENSIONS);
            match &data.classes {
                Some(names) => table.dataset_with_names(dimensions, names)?,
                None => table.dataset(dimensions)?,
            }
        }
        kind => return Err(Error::run(format!("internal: nothing reads data of kind {:?}", kind.name()))),
    };
    Ok(Parts::one(set))
}

/// Whether the model's samples are token ids.
fn takes_tokens(model: &dyn Model) -> bool {
    model.input_dtype() == nn_core::DType::U32
}

/// Names classes that are only numbers in the file: as the config says, else as many as the model has outputs.
fn name_numbered(
    mut set: Dataset,
    names: Option<&[String]>,
    outputs: Option<usize>,
    path: &Path,
) -> Result<Dataset, Error> {
    let Targets::Classes { labels, names: found } = &mut set.targets else { return Ok(set) };
    // One output tells two classes apart.
    let count = names.map(<[String]>::len).or(outputs.map(|outputs| outputs.max(2)));
    let count = count.unwrap_or(found.len());
    if let Some(row) = labels.iter().position(|&label| label as usize >= count) {
        return Err(Error::run(format!(
            "{}: the target of row {row} (from 0) is class {}, but there are {count} classes, 0 to {}; correct the row, \
             or give the model more outputs",
            path.display(),
            labels[row],
            count.saturating_sub(1)
        )));
    }
    *found = names.map_or_else(|| (0..count).map(|class| class.to_string()).collect(), <[String]>::to_vec);
    Ok(set)
}

/// The four rows of exclusive or.
fn xor() -> Dataset {
    Dataset {
        name: "xor".into(),
        inputs: Inputs::F32(vec![0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0]),
        sample_shape: vec![2],
        targets: Targets::Classes { labels: vec![0, 1, 1, 0], names: vec!["0".into(), "1".into()] },
        augmentation: None,
    }
}
