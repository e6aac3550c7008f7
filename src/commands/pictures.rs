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
    let shown = Shown { set, shape, ink: data.ink };
    let rows: Vec<usize> = (0..set.rows().min(ROWS)).collect();
    match (&config.model.architecture, set.targets()) {
        (Architecture::Vae(vae), _) => {
            let mut sheets = vec![returned(shown, trainer, &rows)?];
            if let Some(session) = trainer.session_mut() {
                let drawn = vae.sample(session, shape, 2 * TILES, config.train.seed as u32)?;
                let tiles = drawn.chunks(shown.size()).map(|values| tile(shown.made(values), Vec::new()));
                sheets.push(drawn_sheet(tiles.collect(), "from normally distributed numbers"));
            }
            Ok(sheets)
        }
        (Architecture::Ddpm(ddpm), TargetsRef::Classes { count, .. }) => {
            let Some(session) = trainer.session_mut() else { return Ok(Vec::new()) };
            let classes: Vec<u32> = (0..(4 * count).min(120)).map(|place| (place % count) as u32).collect();
            let drawn = ddpm.sample(session, shape, &classes, config.train.seed as u32)?;
            let tiles = drawn.chunks(shown.size()).zip(&classes);
            let tiles = tiles.map(|(values, &class)| tile(shown.made(values), vec![config.class_name(class as usize)]));
            Ok(vec![drawn_sheet(tiles.collect(), "from noise, each for the class below it")])
        }
        (_, TargetsRef::Classes { labels, .. }) => classified(config, shown, labels, trainer, &rows),
        (_, TargetsRef::ClassMaps { labels, size, .. }) => Ok(vec![masks(shown, labels, size, trainer, &rows)?]),
        (_, TargetsRef::Values { width, .. }) if width == shown.size() => Ok(vec![returned(shown, trainer, &rows)?]),
        _ => Ok(Vec::new()),
    }
}

fn tile(picture: Picture, captions: Vec<String>) -> Tile {
    Tile { pictures: vec![picture], captions, right: None }
}

fn drawn_sheet(tiles: Vec<Tile>, how: &str) -> Sheet {
    Sheet { name: "generated", heading: "Drawn by the model".into(), note: format!("Drawn {how}."), tiles }
}

/// The data whose pictures are shown.
#[derive(Clone, Copy)]
struct Shown<'a> {
    set: &'a Dataset,
    shape: [usize; 3],
    /// Whether one channel is ink on paper, rather than light.
    ink: bool,
}

impl Shown<'_> {
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

    /// A picture of values in 0..=1, as a model makes them.
    fn made(&self, values: &[f32]) -> Picture {
        let byte = |value: &f32| (255.0 * value.clamp(0.0, 1.0)).round() as u8;
        self.picture(&values.iter().map(byte).collect::<Vec<u8>>())
    }

    /// The picture of a row of the data.
    fn row(&self, row: usize) -> Picture {
        self.picture(&self.set.pixels(row).unwrap_or_default())
    }

    /// Numbers of a picture.
    fn size(&self) -> usize {
        self.shape.iter().product()
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
    let [_, height, width] = shown.shape;
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
