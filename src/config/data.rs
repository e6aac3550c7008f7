//! From configurations to data sets.

use super::{Architecture, Config, Data};
use crate::error::Error;
use nn_data::arrays::read_arrays;
use nn_data::csv_table::read_csv;
use nn_data::digits::digits;
use nn_data::text_table::TextTable;
use nn_data::topics::{TopicsOptions, topics};
use nn_data::{Dataset, Inputs, Targets};
use std::path::{Path, PathBuf};

/// Numbers in a bag of words if nothing else is said: enough that few words of a small corpus share one.
const BAG_DIMENSIONS: usize = 1000;
/// More names than this are not written to a config.
const NAMED_CLASSES: usize = 1000;
/// Fewer rows than this are not split unless the config says so.
const ROWS_TO_SPLIT: usize = 10;

/// Data sets, ready to be trained on and evaluated.
#[derive(Debug)]
pub(crate) struct LoadedData {
    pub(crate) training: Dataset,
    /// `None` if all rows are trained on.
    pub(crate) held_out: Option<Dataset>,
    /// Height and width, where a sample is a picture.
    pub(crate) picture: Option<(usize, usize)>,
}

impl LoadedData {
    /// What is evaluated: the held-out rows, or those trained on where none are held out.
    pub(crate) fn evaluated(&self) -> &Dataset {
        self.held_out.as_ref().unwrap_or(&self.training)
    }

    /// What [`LoadedData::evaluated`] is, in words.
    pub(crate) fn evaluated_name(&self) -> &'static str {
        if self.held_out.is_some() { "held-out data" } else { "training data" }
    }
}

/// The names of a data set's classes; empty where the targets are values.
pub(crate) fn class_names(data: &Dataset) -> &[String] {
    match &data.targets {
        Targets::Classes { names, .. } => names,
        Targets::Values { .. } | Targets::ClassMaps { .. } => &[],
    }
}

/// Loads the data of a config, splits it, and fills in the config's defaults. `outputs` is the number of the model's
/// outputs where it is known; classes that are only numbers are as many.
///
/// # Errors
/// What is wrong with the files, with path and place; settings that contradict the data.
pub(crate) fn load_split(
    data: &mut Data,
    outputs: Option<usize>,
    architecture: &Architecture,
) -> Result<LoadedData, Error> {
    let (all, picture) = load(data, outputs, architecture)?;
    let default = match data.kind.as_str() {
        "csv" | "text-table" if all.rows() >= ROWS_TO_SPLIT => 0.1,
        "digits" | "topics" => 0.2,
        _ => 0.0,
    };
    let fraction = data.validation.unwrap_or(default);
    if !(0.0..1.0).contains(&fraction) {
        return Err(Error::usage(format!("data.validation = {fraction} must be 0 or more and below 1")));
    }
    let seed = data.seed.unwrap_or(0);
    let (training, held_out) = if fraction == 0.0 {
        (all, None)
    } else {
        // Whoever asks for the rows in order knows which ones are last; otherwise a file sorted by class would hold
        // out one class only.
        let sequential = data.order.as_deref() == Some("sequential");
        let (training, held_out) = if sequential { all.split_last(fraction) } else { all.split(fraction, seed) }?;
        (training, Some(held_out))
    };
    if data.kind != "xor" {
        (data.validation, data.seed) = (Some(fraction), Some(seed));
    }
    data.order.get_or_insert_with(|| "shuffled".into());
    data.batch_size.get_or_insert(if data.kind == "xor" { 4 } else { 32 });
    let names = class_names(&training);
    if data.classes.is_none() && !names.is_empty() && names.len() <= NAMED_CLASSES {
        data.classes = Some(names.to_vec());
    }
    Ok(LoadedData { training, held_out, picture })
}

/// Loads other files, whole, as the data of a config that was trained with.
///
/// # Errors
/// As [`load_split`]; also if the config's kind takes no files, or another number of them.
pub(crate) fn load_alone(config: &Config, files: &[PathBuf]) -> Result<Dataset, Error> {
    let mut data = config.data.clone();
    match (data.kind.as_str(), files) {
        ("arrays", [inputs, targets]) => {
            (data.inputs, data.targets) = (Some(inputs.clone()), Some(targets.clone()));
        }
        ("arrays", _) => return Err(Error::usage("--data needs two files here: inputs.npy targets.npy")),
        ("csv" | "text-table", [path]) => data.path = Some(path.clone()),
        ("csv" | "text-table", _) => return Err(Error::usage("--data needs one file here")),
        // Whatever a model was trained on, arrays of its shape can be given.
        (_, [inputs, targets]) => {
            let classes = data.classes.take();
            data = Data { kind: "arrays".into(), classes, ..Data::default() };
            (data.inputs, data.targets) = (Some(inputs.clone()), Some(targets.clone()));
        }
        (kind, _) => {
            let message = format!("the data {kind:?} has no file; --data needs two files: inputs.npy targets.npy");
            return Err(Error::usage(message));
        }
    }
    Ok(load(&mut data, config.outputs(), &config.model.architecture)?.0)
}

fn load(
    data: &mut Data,
    outputs: Option<usize>,
    architecture: &Architecture,
) -> Result<(Dataset, Option<(usize, usize)>), Error> {
    let missing = |key: &str| Error::usage(format!("data.{key} is missing; data of kind {:?} needs it", data.kind));
    let needed = |key: &str, path: &Option<PathBuf>| path.clone().ok_or_else(|| missing(key));
    let mut picture = None;
    let mut set = match data.kind.as_str() {
        "arrays" => {
            let (inputs, targets) = (needed("inputs", &data.inputs)?, needed("targets", &data.targets)?);
            name_numbered(read_arrays(&inputs, &targets)?, data.classes.as_deref(), outputs, &targets)?
        }
        "csv" => {
            let path = needed("path", &data.path)?;
            let set = read_csv(&path, data.target.as_deref())?;
            name_numbered(set, data.classes.as_deref(), outputs, &path)?
        }
        "digits" => {
            let set = digits()?;
            picture = <[usize; 2]>::try_from(set.sample_shape.clone()).ok().map(|[height, width]| (height, width));
            set
        }
        "xor" => xor(),
        "topics" => {
            let default = TopicsOptions::default();
            let options = TopicsOptions {
                samples: *data.samples.get_or_insert(default.samples),
                dimensions: *data.dimensions.get_or_insert(default.dimensions),
                topics: *data.topics.get_or_insert(default.topics),
                words: *data.words.get_or_insert(default.words),
            };
            topics(options, data.seed.unwrap_or(0))?
        }
        "text-table" => {
            let table = TextTable::read(&needed("path", &data.path)?)?;
            let dimensions = *data.dimensions.get_or_insert(BAG_DIMENSIONS);
            match &data.classes {
                Some(names) => table.dataset_with_names(dimensions, names)?,
                None => table.dataset(dimensions)?,
            }
        }
        other => return Err(Error::usage(format!("unknown data.kind = {other:?}"))),
    };
    let shape = architecture.sample_shape(&set.sample_shape);
    set.sample_shape = shape.map_err(|message| Error::usage(format!("{}: {message}", set.name)))?;
    Ok((set, picture))
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
