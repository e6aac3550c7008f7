//! `wgrad generate`: what a trained model draws or writes.

use super::{DeviceArgument, model, pictures, print, print_json, write};
use crate::config::{Config, nearest};
use crate::error::Error;
use crate::report;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Pictures that are drawn at once.
const TOGETHER: usize = 128;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The folder of a run that trained a language model, a vae or a ddpm, or a .safetensors file with config.toml beside or above it
    #[arg(value_name = "RUN | CHECKPOINT")]
    model: PathBuf,
    /// Pictures to draw; of each class, where the model knows classes
    #[arg(long, value_name = "N", help_heading = "Pictures", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    count: u32,
    /// Draw this class; may be given several times. All classes without it
    #[arg(long, value_name = "NAME", help_heading = "Pictures")]
    class: Vec<String>,
    /// Other numbers make other pictures or texts
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u32,
    /// The new folder for the pictures: one PNG file each, in a sub-folder for each class, and all of them in sheet.png;
    /// by default `generated` in the run's folder
    #[arg(long, value_name = "DIR", help_heading = "Pictures")]
    out: Option<PathBuf>,
    #[command(flatten)]
    texts: write::TextArguments,
    #[command(flatten)]
    device: DeviceArgument,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// # Errors
/// If the model draws nothing, a class is unknown, the folder is in use, or the device fails.
pub(super) fn run(arguments: &Arguments) -> Result<(), Error> {
    let start = Instant::now();
    let found = model::find(&arguments.model)?;
    let config = &found.config;
    if config.model.architecture.model().language().is_some() {
        return write::run(
            &arguments.texts,
            &found,
            arguments.device.device.as_deref(),
            arguments.seed,
            arguments.json,
        );
    }
    if config.model.architecture.model().seq2seq().is_some() {
        let path = arguments.model.display();
        return Err(Error::usage(format!("the model writes a text anew: wgrad predict {path} \"the text\"")));
    }
    let known = pictures::drawable_classes(config).ok_or_else(|| {
        Error::usage(format!(
            "{}: the model, {}, draws no pictures and writes no texts; such as the presets char-gpt, vae-digits and ddpm-digits do",
            arguments.model.display(),
            config.model.architecture.model().describe()
        ))
    })?;
    let wanted = wanted(config, known, &arguments.class)?;
    let folder = arguments.out.clone().unwrap_or_else(|| beside(&arguments.model).join("generated"));
    refuse_used(&folder)?;
    let classes: Vec<u32> = (0..arguments.count).flat_map(|_| wanted.iter().copied()).collect();
    let mut trainer = found.load(arguments.device.device.as_deref())?;
    let mut drawn = Vec::with_capacity(classes.len());
    for (number, classes) in classes.chunks(TOGETHER).enumerate() {
        // Each lot has numbers of its own, far from those of neighbouring seeds.
        let seed = arguments.seed.wrapping_add((number as u32).wrapping_mul(0x9e37_79b9));
        drawn.extend(pictures::draw(config, &mut trainer, classes, seed)?);
    }
    let files = write(config, known, &folder, &drawn, &classes)?;
    let sheet = folder.join("sheet.png");
    report::write_sheet(&sheet, &pictures::drawn_sheet(config, &drawn, &classes))
        .map_err(|error| Error::run(error.to_string()))?;
    if arguments.json {
        let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
        return print_json(&json!({
            "pictures": files,
            "sheet": sheet.display().to_string(),
            "device": trainer.device_name(),
        }));
    }
    let of = if known > 0 { format!(", {} of each class", arguments.count) } else { String::new() };
    print(&format!(
        "drew {} pictures{of}, on {} in {:.1} s\nsheet: {}\n",
        drawn.len(),
        trainer.device_name().unwrap_or_default(),
        start.elapsed().as_secs_f64(),
        sheet.display()
    ))
}

/// The classes that the arguments name, or all; one without meaning where the model knows none.
fn wanted(config: &Config, known: usize, names: &[String]) -> Result<Vec<u32>, Error> {
    if known == 0 {
        let unknown = || Error::usage("--class: the model was trained without classes; leave it out");
        return if names.is_empty() { Ok(vec![0]) } else { Err(unknown()) };
    }
    let all: Vec<String> = (0..known).map(|class| config.class_name(class)).collect();
    let number = |name: &String| {
        all.iter().position(|known| known == name).map(|class| class as u32).ok_or_else(|| {
            let near = nearest(name, all.iter().map(String::as_str)).unwrap_or_default();
            Error::usage(format!("--class {name}: there is no such class; the nearest is {near:?}"))
        })
    };
    if names.is_empty() { Ok((0..known as u32).collect()) } else { names.iter().map(number).collect() }
}

/// The folder of a run, or that of a checkpoint.
fn beside(model: &Path) -> PathBuf {
    if model.is_dir() { model.to_path_buf() } else { model.parent().map(Path::to_path_buf).unwrap_or_default() }
}

fn refuse_used(folder: &Path) -> Result<(), Error> {
    let why = match std::fs::read_dir(folder).map(|mut entries| entries.next().is_none()) {
        Ok(true) => return Ok(()),
        Ok(false) => "holds files already".to_string(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => error.to_string(),
    };
    Err(Error::usage(format!("{}: {why}; name another folder by --out", folder.display())))
}

/// Writes one file for each picture, as data of kind `images` is laid out; returns their paths.
fn write(
    config: &Config,
    known: usize,
    folder: &Path,
    drawn: &[Vec<u8>],
    classes: &[u32],
) -> Result<Vec<PathBuf>, Error> {
    let cannot = |path: &Path, error: &dyn std::fmt::Display| {
        Error::run(format!("cannot write {}: {error}; check that the folder may be written", path.display()))
    };
    let mut counts = vec![0; known.max(1)];
    let mut files = Vec::with_capacity(drawn.len());
    for (bytes, &class) in drawn.iter().zip(classes) {
        let place = if known > 0 { folder.join(class_folder(config, class as usize)) } else { folder.to_path_buf() };
        let count = &mut counts[class as usize];
        *count += 1;
        let path = place.join(format!("{count:04}.png"));
        std::fs::create_dir_all(&place).map_err(|error| cannot(&place, &error))?;
        let png = encode(config, bytes).map_err(|error| cannot(&path, &error))?;
        std::fs::write(&path, png).map_err(|error| cannot(&path, &error))?;
        files.push(path);
    }
    Ok(files)
}

/// A class's name if it can be a folder's, else its number.
fn class_folder(config: &Config, class: usize) -> String {
    let name = config.class_name(class);
    let plain = |letter: char| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_');
    if !name.is_empty() && name.chars().all(plain) { name } else { format!("class {class}") }
}

/// A PNG file of the picture's own channels, grey for one and colours for three.
fn encode(config: &Config, bytes: &[u8]) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let shape: [usize; 3] = config.sample_shape()[..].try_into()?;
    let [channels, height, width] = shape;
    let size = height * width;
    let colour = match channels {
        1 => png::ColorType::Grayscale,
        3 => png::ColorType::Rgb,
        _ => return Err(format!("a picture of {channels} channels is neither grey nor of colours").into()),
    };
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, u32::try_from(width)?, u32::try_from(height)?);
    encoder.set_color(colour);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    let pixels: Vec<u8> =
        (0..size).flat_map(|place| (0..channels).map(move |channel| bytes[channel * size + place])).collect();
    writer.write_image_data(&pixels)?;
    writer.finish()?;
    Ok(file)
}
