//! Pictures as data: reading them, scaling, noise, and random changes.

use super::language::Text;
use super::{Augment, Config, Data, DataKind, LoadedData, Size};
use crate::error::Error;
use nn_data::digits::digits;
use nn_data::fetch::Published;
use nn_data::image_folder::{ImageFolderOptions, read_image_folder};
use nn_data::pictures::{Fit, PictureOptions, read_picture_scaled};
use nn_data::shape_maps::{ShapeMapsOptions, shape_maps};
use nn_data::shapes::{ShapesOptions, shapes};
use nn_data::{Augmentation, ChannelScale, Dataset, Targets};
use nn_models::Model;
use std::path::{Path, PathBuf};

/// Data as it is read.
pub(super) struct Parts {
    pub(super) all: Dataset,
    pub(super) validation: Option<Dataset>,
    pub(super) test: Option<Dataset>,
    pub(super) text: Option<Text>,
}

impl Parts {
    pub(super) fn one(all: Dataset) -> Parts {
        Parts { all, validation: None, test: None, text: None }
    }
}

/// Reads data of the kinds that are pictures; `None` for other kinds.
///
/// # Errors
/// What is wrong with the files, or the settings.
pub(super) fn load(data: &mut Data, model: &dyn Model) -> Result<Option<Parts>, Error> {
    let mut parts = match data.kind {
        DataKind::Digits => {
            let mut all = digits()?;
            all.sample_shape.insert(0, 1);
            Parts::one(all)
        }
        DataKind::Mnist => published(data, Published::Mnist)?,
        DataKind::FashionMnist => published(data, Published::FashionMnist)?,
        DataKind::Cifar10 => published(data, Published::Cifar10)?,
        DataKind::Images => images(data)?,
        DataKind::Shapes => {
            let default = ShapesOptions::default();
            let options = ShapesOptions {
                samples: *data.samples.get_or_insert(default.samples),
                size: side(data.size.get_or_insert(Size::Side(default.size)))?,
            };
            Parts::one(shapes(options, data.seed.unwrap_or(0))?)
        }
        DataKind::ShapeMaps => {
            let default = ShapeMapsOptions::default();
            let options = ShapeMapsOptions {
                samples: *data.samples.get_or_insert(default.samples),
                size: side(data.size.get_or_insert(Size::Side(default.size)))?,
                channels: *data.channels.get_or_insert(default.channels),
            };
            Parts::one(shape_maps(options, data.seed.unwrap_or(0))?)
        }
        DataKind::Arrays
        | DataKind::Tokens
        | DataKind::Text
        | DataKind::LabelledText
        | DataKind::Pairs
        | DataKind::Questions
        | DataKind::Random
        | DataKind::Csv
        | DataKind::Xor
        | DataKind::Topics
        | DataKind::TextTable => return Ok(None),
    };
    if model.restores_pictures() {
        for set in [Some(&mut parts.all), parts.validation.as_mut(), parts.test.as_mut()].into_iter().flatten() {
            let rows = (0..set.rows()).filter_map(|row| set.input_row(row));
            let values: Vec<f32> = rows.flat_map(|row| row.into_owned()).collect();
            set.targets = Targets::Values { values, width: set.width() };
        }
    }
    Ok(Some(parts))
}

/// A data set from its folder, or fetched where no folder is given.
fn published(data: &mut Data, set: Published) -> Result<Parts, Error> {
    let folder = match &data.path {
        Some(path) => path.clone(),
        None => {
            let folder = cache()?.join(set.name());
            eprintln!("data.path is not given; fetching {} into {}", set.name(), folder.display());
            set.fetch(&folder)?;
            folder
        }
    };
    let (all, test) = set.read(&folder)?;
    Ok(Parts { test: Some(test), ..Parts::one(all) })
}

/// The folder for what can be fetched again.
fn cache() -> Result<PathBuf, Error> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = variable("HOME").or_else(|| variable("USERPROFILE")).map(|home| home.join(".cache"));
    let cache = variable("XDG_CACHE_HOME").or(home).map(|cache| cache.join("wgrad"));
    cache.ok_or_else(|| Error::usage("there is no home folder to keep data in; give the data's folder as data.path"))
}

fn side(size: &Size) -> Result<usize, Error> {
    match *size {
        Size::Side(side) => Ok(side),
        Size::HeightWidth([height, width]) if height == width => Ok(height),
        Size::HeightWidth(size) => {
            Err(Error::usage(format!("data.size = {size:?}: drawn pictures are squares; give one number")))
        }
    }
}

/// A picture in a file as the model of a trained config takes it.
///
/// # Errors
/// If the model takes no pictures, or the file is none.
pub(crate) fn read_picture(config: &Config, path: &Path) -> Result<Vec<f32>, Error> {
    let data = &config.data;
    let shape = match (config.sample_shape()[..].try_into(), data.kind) {
        (Ok(shape), _) => shape,
        // Rows of numbers to the model, but known to be pictures.
        (Err(_), DataKind::Digits) => [1, 8, 8],
        (Err(_), kind) => {
            let kind = kind.name();
            let message = format!("the model was trained on data of kind {kind:?} and takes no pictures; give numbers");
            return Err(Error::usage(message));
        }
    };
    let [channels, height, width]: [usize; 3] = shape;
    let options = match data.kind {
        DataKind::Images => picture_options(data)?,
        _ => PictureOptions { fit: Fit::Stretch, upscale: true, ..PictureOptions::new(channels, height, width) },
    };
    let mean = data.mean.clone().unwrap_or_else(|| vec![0.0; channels]);
    let scale = ChannelScale { deviation: data.std.clone().unwrap_or_else(|| vec![1.0; mean.len()]), mean };
    Ok(read_picture_scaled(path, &options, &scale)?)
}

/// What pictures in files are made into, for data of kind `images`.
fn picture_options(data: &Data) -> Result<PictureOptions, Error> {
    let (height, width) = match data.size {
        Some(Size::Side(side)) => (side, side),
        Some(Size::HeightWidth([height, width])) => (height, width),
        None => return Err(Error::usage("data.size is missing; give the side of the pictures in pixels, such as 64")),
    };
    let fit = match data.fit.as_deref() {
        None | Some("crop") => Fit::Crop,
        Some("stretch") => Fit::Stretch,
        Some(other) => return Err(Error::usage(format!("unknown data.fit = {other:?}; give \"crop\" or \"stretch\""))),
    };
    let upscale = data.upscale.unwrap_or(false);
    Ok(PictureOptions { fit, upscale, ..PictureOptions::new(data.channels.unwrap_or(3), height, width) })
}

fn images(data: &mut Data) -> Result<Parts, Error> {
    data.channels.get_or_insert(3);
    data.fit.get_or_insert_with(|| "crop".into());
    let options = ImageFolderOptions {
        picture: picture_options(data)?,
        skip_broken: *data.skip_broken.get_or_insert(false),
        threads: 0,
    };
    let missing = || Error::usage("data.path is missing; give the folder with a sub-folder of pictures for each class");
    let path = data.path.as_deref().ok_or_else(missing)?;
    let mut found = read_image_folder(path, &options)?;
    if let Some(names) = &data.classes {
        let sets = [Some(&mut found.training), found.validation.as_mut(), found.test.as_mut()];
        sets.into_iter().flatten().try_for_each(|set| name_classes(set, names, path))?;
    }
    if !found.broken.is_empty() {
        let names: Vec<String> = found.broken.iter().take(3).map(|path| path.display().to_string()).collect();
        let more = if found.broken.len() > 3 { ", …" } else { "" };
        eprintln!("{} broken pictures are left out: {}{more}", found.broken.len(), names.join(", "));
    }
    if found.ignored > 0 {
        eprintln!("passed over, as they are no pictures of a class: {} files", found.ignored);
    }
    Ok(Parts { validation: found.validation, test: found.test, ..Parts::one(found.training) })
}

/// Numbers the classes of a folder's pictures as `names` has them.
fn name_classes(set: &mut Dataset, names: &[String], folder: &Path) -> Result<(), Error> {
    let Targets::Classes { labels, names: found } = &mut set.targets else { return Ok(()) };
    let number = |name: &String| {
        names.iter().position(|known| known == name).map(|class| class as u32).ok_or_else(|| {
            Error::run(format!(
                "{}: {name:?} is none of the classes {}; rename or remove that folder",
                folder.display(),
                names.join(", ")
            ))
        })
    };
    let numbers: Vec<u32> = found.iter().map(number).collect::<Result<_, _>>()?;
    labels.iter_mut().for_each(|label| *label = numbers[*label as usize]);
    *found = names.to_vec();
    Ok(())
}

/// Makes a folder of pictures by class the data, whatever pictures they were before; says whether it is such a folder.
pub(super) fn replace_by_folder(data: &mut Data, folder: &Path) -> bool {
    let shape = data.sample_shape.clone().and_then(|shape| <[usize; 3]>::try_from(shape).ok());
    let Some([channels, height, width]) = shape else { return false };
    let (Some(names), Ok(entries)) = (&data.classes, std::fs::read_dir(folder)) else { return false };
    let folders = entries.flatten().filter(|entry| entry.path().is_dir());
    let found: Vec<String> = folders.filter_map(|folder| folder.file_name().into_string().ok()).collect();
    if data.kind == DataKind::Images || found.is_empty() || !found.iter().all(|name| names.contains(name)) {
        return false;
    }
    *data = Data {
        kind: DataKind::Images,
        path: Some(folder.to_path_buf()),
        channels: Some(channels),
        size: Some(Size::HeightWidth([height, width])),
        fit: Some("stretch".into()),
        upscale: Some(true),
        ..std::mem::take(data)
    };
    true
}

/// Scales pictures, adds noise and random changes, and writes down what was measured.
///
/// # Errors
/// If a setting does not fit the data.
pub(super) fn prepare(data: &mut Data, loaded: &mut LoadedData, model: &dyn Model) -> Result<(), Error> {
    if data.normalise == Some(true) && data.mean.is_none() {
        let measured = ChannelScale::measure(&loaded.training)?;
        (data.mean, data.std) = (Some(measured.mean), Some(measured.deviation));
    }
    let LoadedData { training, held_out, test, .. } = loaded;
    let mut sets: Vec<&mut Dataset> =
        [Some(training), held_out.as_mut(), test.as_mut()].into_iter().flatten().collect();
    if let Some(mean) = &data.mean {
        let deviation = data.std.clone().unwrap_or_else(|| vec![1.0; mean.len()]);
        let scale = ChannelScale { mean: mean.clone(), deviation };
        sets.iter_mut().try_for_each(|set| set.set_scale(&scale))?;
    }
    let noise = data.noise.unwrap_or(0.0);
    if !(noise.is_finite() && noise >= 0.0) || (noise > 0.0 && !model.restores_pictures()) {
        return Err(Error::usage(format!(
            "data.noise = {noise} must be 0 or more, and is for models that give pictures back, such as an autoencoder"
        )));
    }
    let seed = data.seed.unwrap_or(0);
    // Rows that are looked at again and again have the same noise each time.
    for (part, set) in sets.iter_mut().enumerate().skip(1).filter(|_| noise > 0.0) {
        **set = set.clone().with_noise(noise, seed + part as u64);
    }
    if data.augment.is_some() || noise > 0.0 {
        let Augment { rotation, zoom, crop_padding, flip, brightness, contrast, saturation, hue, erase } =
            data.augment.unwrap_or_default();
        let changes = Augmentation {
            seed,
            rotation,
            zoom,
            crop_padding,
            flip,
            brightness,
            contrast,
            saturation,
            hue,
            erase,
            noise,
        };
        changes.check(sets[0])?;
        sets[0].augmentation = Some(changes);
    }
    Ok(())
}
