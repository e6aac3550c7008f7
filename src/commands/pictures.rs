//! Pictures for a run's report: mistakes, masks, pictures that came back, and pictures that a model drew.

use crate::config::{Architecture, Config, LoadedData};
use crate::error::Error;
use crate::report::{Picture, Sheet, Tile};
use nn_data::Dataset;
use nn_train::{Data as _, Loss, TargetsRef, Trainer};

/// Tiles of a sheet.
const TILES: usize = 24;
/// Rows that are looked at for mistakes.
const ROWS: usize = 5000;
/// Colours of the classes of a mask, in order; the first is the background.
const CLASSES: [[u8; 3]; 8] = [
    [240, 240, 240],
    [31, 119, 180],
    [214, 39, 40],
    [44, 160, 44],
    [255, 187, 40],
    [148, 103, 189],
    [23, 190, 207],
    [140, 86, 75],
];

/// The sheets that the evaluated data and the model are good for; none where samples are no pictures.
///
/// # Errors
/// If the device fails.
pub(super) fn sheets(config: &Config, data: &LoadedData, trainer: &mut Trainer) -> Result<Vec<Sheet>, Error> {
    let Some(shape) = data.picture else { return Ok(Vec::new()) };
    let set = data.tested();
    let shown = Shown { set, look: Look::of(config, shape) };
    let rows: Vec<usize> = (0..set.rows().min(ROWS)).collect();
    match (&config.model.architecture, set.targets()) {
        (Architecture::Vae(_), _) => {
            let classes = vec![0; 2 * TILES];
            let drawn = draw(config, trainer, &classes, config.train.seed as u32)?;
            Ok(vec![returned(shown, trainer, &rows)?, drawn_sheet(config, &drawn, &classes)])
        }
        (Architecture::Ddpm(_), TargetsRef::Classes { count, .. }) => {
            let classes: Vec<u32> = (0..(4 * count).min(120)).map(|place| (place % count) as u32).collect();
            let drawn = draw(config, trainer, &classes, config.train.seed as u32)?;
            Ok(vec![drawn_sheet(config, &drawn, &classes)])
        }
        (_, TargetsRef::Classes { labels, .. }) => classified(config, shown, labels, trainer, &rows),
        (_, TargetsRef::ClassMaps { labels, size, .. }) => Ok(vec![masks(shown, labels, size, trainer, &rows)?]),
        (_, TargetsRef::Values { width, .. }) if width == shown.size() => Ok(vec![returned(shown, trainer, &rows)?]),
        _ => Ok(Vec::new()),
    }
}

/// How many classes a model draws pictures of; 0 if it draws without a class, `None` if it draws none.
pub(super) fn drawable_classes(config: &Config) -> Option<usize> {
    match &config.model.architecture {
        Architecture::Vae(_) => Some(0),
        Architecture::Ddpm(ddpm) => Some(ddpm.num_classes),
        _ => None,
    }
}

/// Pictures that a model draws, one of each of `classes`: bytes `[channels, height, width]` each, as files of pictures
/// have them.
///
/// # Errors
/// If the model draws none (that is the caller's fault), or the device fails.
pub(super) fn draw(config: &Config, trainer: &mut Trainer, classes: &[u32], seed: u32) -> Result<Vec<Vec<u8>>, Error> {
    let shape = config.sample_shape()[..].try_into();
    let (Some(session), Ok(shape)) = (trainer.session_mut(), shape) else {
        return Err(Error::run("internal: a model without weights or pictures is to draw"));
    };
    let drawn = match &config.model.architecture {
        Architecture::Vae(vae) => vae.sample(session, shape, classes.len(), seed)?,
        Architecture::Ddpm(ddpm) => ddpm.sample(session, shape, classes, seed)?,
        _ => return Err(Error::run("internal: a model that draws nothing is to draw")),
    };
    Ok(drawn.chunks(shape.iter().product()).map(bytes).collect())
}

/// The sheet of pictures from [`draw`].
pub(super) fn drawn_sheet(config: &Config, drawn: &[Vec<u8>], classes: &[u32]) -> Sheet {
    let look = Look::of(config, config.sample_shape()[..].try_into().unwrap_or([1, 1, 1]));
    let named = drawable_classes(config) != Some(0);
    let tile = |(bytes, class): (&Vec<u8>, &u32)| Tile {
        pictures: vec![look.picture(bytes)],
        captions: if named { vec![config.class_name(*class as usize)] } else { Vec::new() },
        right: None,
    };
    Sheet {
        name: "generated",
        heading: "Drawn by the model".into(),
        note: if named { "Drawn from noise, each for the class below it." } else { "Drawn from random numbers." }
            .into(),
        tiles: drawn.iter().zip(classes).map(tile).collect(),
    }
}

/// Bytes of values in 0..=1, as a model makes them.
fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().map(|value| (255.0 * value.clamp(0.0, 1.0)).round() as u8).collect()
}

/// How numbers become a picture to look at.
#[derive(Clone, Copy)]
struct Look {
    /// Channels, height, width.
    shape: [usize; 3],
    /// Whether one channel is ink on paper, rather than light.
    ink: bool,
}

impl Look {
    fn of(config: &Config, shape: [usize; 3]) -> Look {
        Look { shape, ink: config.data.kind.is_ink() }
    }

    /// A picture of `[channels, height, width]` bytes.
    fn picture(&self, bytes: &[u8]) -> Picture {
        let [channels, height, width] = self.shape;
        let size = height * width;
        let pixel = |place: usize| {
            let value = |channel: usize| bytes.get(channel * size + place).copied().unwrap_or(0);
            match channels {
                3.. => [0, 1, 2].map(value),
                _ if self.ink => [255 - value(0); 3],
                _ => [value(0); 3],
            }
        };
        Picture { pixels: (0..size).map(pixel).collect(), width, height }
    }
}

/// The data whose pictures are shown.
#[derive(Clone, Copy)]
struct Shown<'a> {
    set: &'a Dataset,
    look: Look,
}

impl Shown<'_> {
    /// A picture of values in 0..=1, as a model makes them.
    fn made(&self, values: &[f32]) -> Picture {
        self.look.picture(&bytes(values))
    }

    /// The picture of a row of the data.
    fn row(&self, row: usize) -> Picture {
        self.look.picture(&self.set.pixels(row).unwrap_or_default())
    }

    /// Numbers of a picture.
    fn size(&self) -> usize {
        self.look.shape.iter().product()
    }
}

/// What the model makes of rows, as probabilities for cross-entropy, one row after the other; and the numbers a row.
fn outputs(set: &Dataset, trainer: &mut Trainer, rows: &[usize]) -> Result<(Vec<f32>, usize), Error> {
    let mut inputs = Vec::new();
    set.batch(rows, &mut inputs);
    let output = trainer.predict(&inputs)?;
    let width = output.shape().iter().skip(1).product();
    Ok((output.as_f32().map_err(nn_train::Error::from)?.to_vec(), width))
}

/// The mistakes that the model was surest of, and some rows that it got right.
fn classified(
    config: &Config,
    shown: Shown<'_>,
    labels: &[u32],
    trainer: &mut Trainer,
    rows: &[usize],
) -> Result<Vec<Sheet>, Error> {
    let loss = config.loss()?;
    let (values, width) = outputs(shown.set, trainer, rows)?;
    let guesses: Vec<(usize, f64)> = values.chunks(width).map(|row| guess(loss, row)).collect();
    let (mut wrong, right): (Vec<usize>, Vec<usize>) =
        rows.iter().partition(|&&row| guesses[row].0 != labels[row] as usize);
    wrong.sort_by(|&a, &b| guesses[b].1.total_cmp(&guesses[a].1));
    let tiles = |rows: &[usize], right: bool| -> Vec<Tile> {
        let one = |&row: &usize| {
            let (class, sure) = guesses[row];
            let captions = vec![
                format!("true {}", config.class_name(labels[row] as usize)),
                format!("got {} ({:.0} %)", config.class_name(class), 100.0 * sure),
            ];
            Tile { pictures: vec![shown.row(row)], captions, right: Some(right) }
        };
        rows.iter().take(TILES).map(one).collect()
    };
    let note = format!(
        "{} of {} pictures were taken for another class; here are those that the model was surest of.",
        wrong.len(),
        rows.len()
    );
    Ok(vec![
        Sheet { name: "mistakes", heading: "Worst mistakes".into(), note, tiles: tiles(&wrong, false) },
        Sheet {
            name: "examples",
            heading: "Examples".into(),
            note: "Below each picture: its true class, and the class the model got.".into(),
            tiles: tiles(&right, true),
        },
    ])
}

/// The class of an output row and how sure of it the model is.
fn guess(loss: Loss, row: &[f32]) -> (usize, f64) {
    if let (Loss::BinaryCrossEntropy, [logit]) = (loss, row) {
        let probability = 1.0 / (1.0 + (-f64::from(*logit)).exp());
        return if *logit > 0.0 { (1, probability) } else { (0, 1.0 - probability) };
    }
    let class = (0..row.len()).rev().max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap_or(0);
    if loss != Loss::CrossEntropy {
        return (class, f64::from(row[class]));
    }
    let total: f64 = row.iter().map(|&logit| f64::from(logit - row[class]).exp()).sum();
    (class, 1.0 / total)
}

/// Pictures with their true and their predicted masks.
fn masks(shown: Shown<'_>, labels: &[u32], size: usize, trainer: &mut Trainer, rows: &[usize]) -> Result<Sheet, Error> {
    let [_, height, width] = shown.look.shape;
    let rows = &rows[..rows.len().min(TILES)];
    let (values, numbers) = outputs(shown.set, trainer, rows)?;
    let classes = numbers / size;
    let mask = |class: &dyn Fn(usize) -> usize| {
        let pixels = (0..size).map(|place| CLASSES[class(place) % CLASSES.len()]).collect();
        Picture { pixels, width, height }
    };
    let one = |(&row, output): (&usize, &[f32])| {
        let truth = mask(&|place| labels[row * size + place] as usize);
        let value = |class: usize, place: usize| output[class * size + place];
        let predicted = mask(&|place| {
            let largest = |&a: &usize, &b: &usize| value(a, place).total_cmp(&value(b, place));
            (0..classes).rev().max_by(largest).unwrap_or(0)
        });
        Tile { pictures: vec![shown.row(row), truth, predicted], ..Tile::default() }
    };
    Ok(Sheet {
        name: "masks",
        heading: "Masks".into(),
        note: "Each picture, its true mask, and the mask the model got.".into(),
        tiles: rows.iter().zip(values.chunks(numbers)).map(one).collect(),
    })
}

/// Pictures as they go in, as they should come back, and as they do.
fn returned(shown: Shown<'_>, trainer: &mut Trainer, rows: &[usize]) -> Result<Sheet, Error> {
    let rows = &rows[..rows.len().min(TILES)];
    let (values, numbers) = outputs(shown.set, trainer, rows)?;
    let TargetsRef::Values { values: targets, width } = shown.set.targets() else { return Ok(Sheet::default()) };
    let one = |(&row, output): (&usize, &[f32])| {
        let target = shown.made(&targets[row * width..(row + 1) * width]);
        Tile { pictures: vec![shown.row(row), target, shown.made(output)], ..Tile::default() }
    };
    Ok(Sheet {
        name: "returned",
        heading: "Pictures that came back".into(),
        note: "Each picture as the model gets it, as it should come back, and as it does.".into(),
        tiles: rows.iter().zip(values.chunks(numbers)).map(one).collect(),
    })
}
