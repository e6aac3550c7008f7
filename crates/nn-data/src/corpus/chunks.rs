//! Chunks of the project's own source code, labelled by the kind of file that they are from.

use std::collections::BTreeSet;

use cpu_reference::philox::Philox;

use super::own::{Source, own_sources};
use crate::{DataError, LabelledTexts};

/// The first of the random streams; each kind of file takes two.
const STREAM: u32 = 0x5100_0000;
/// The kinds of files, by their extensions, sorted by name.
const KINDS: [(&str, &str); 4] = [("Markdown", "md"), ("Rust", "rs"), ("TOML", "toml"), ("WGSL", "wgsl")];
/// Chunks of each kind, to train on and held out, where there is text enough.
const TRAINING: usize = 1000;
const HELD_OUT: usize = 200;

/// A file that is made of pieces of the others, whatever its own kind.
const QUOTING: &str = "mutations.toml";

/// Chunks of `length` characters of the project's own files as (training, held out), to be told apart as Markdown, Rust,
/// TOML and WGSL: the same ones for the same `seed` and the same sources.
///
/// About a fifth of the text of each kind is held out, in whole files, so that no held-out chunk comes from a file that
/// is trained on. Each kind has 1,000 chunks for training and 200 held out, or fewer where its files have fewer places
/// for one to begin; all kinds have as many. They are drawn at random places, so those of the kinds with little text
/// overlap. A file that is shorter than a chunk is one chunk. `scripts/mutations.toml`, which quotes the others, is left out.
///
/// # Errors
/// As [`own_sources`]; [`DataError::Argument`] for a length of 0, and if the crate was built outside of the project, so
/// that it lacks files of some kinds.
pub fn own_chunks(seed: u64, length: usize) -> Result<(LabelledTexts, LabelledTexts), DataError> {
    chunks(&own_sources()?, seed, length)
}

pub(super) fn chunks(
    sources: &[Source],
    seed: u64,
    length: usize,
) -> Result<(LabelledTexts, LabelledTexts), DataError> {
    if length == 0 {
        return Err(DataError::argument("chunks of 0 characters hold nothing", "give a length such as 200"));
    }
    let mut parts = [Vec::new(), Vec::new()];
    for ((name, extension), stream) in KINDS.into_iter().zip((STREAM..).step_by(2)) {
        let files: Vec<Vec<char>> = sources
            .iter()
            .filter(|source| source.path.rsplit_once('.').is_some_and(|(_, own)| own == extension))
            .filter(|source| !source.path.ends_with(QUOTING))
            .map(|source| source.text.chars().collect::<Vec<char>>())
            .filter(|text| !text.is_empty())
            .collect();
        if files.len() < 2 {
            return Err(DataError::argument(
                format!("the sources have {} {name} files, too few to train on some and hold out others", files.len()),
                "build the program from the whole project, or give a file of texts with labels",
            ));
        }
        let split = split(files, &mut Philox::new(seed, stream));
        let mut random = Philox::new(seed, stream + 1);
        for ((part, files), most) in parts.iter_mut().zip(split).zip([TRAINING, HELD_OUT]) {
            part.push(draw(&files, length, most, &mut random));
        }
    }
    let [training, held_out] = parts.map(balance);
    Ok((training, held_out))
}

/// Splits files into (training, held out): about a fifth of the text is held out, at least a file and never all.
fn split(mut files: Vec<Vec<char>>, random: &mut Philox) -> [Vec<Vec<char>>; 2] {
    random.shuffle(&mut files);
    let total: usize = files.iter().map(Vec::len).sum();
    let mut held = 0;
    let (mut held_out, mut training): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| {
        let take = held * 5 < total && (held + file.len()) * 10 < total * 3;
        held += if take { file.len() } else { 0 };
        take
    });
    // Few large files: the smallest one is the nearest to a fifth.
    if held_out.is_empty()
        && let Some(smallest) = (0..training.len()).min_by_key(|&index| training[index].len())
    {
        held_out.push(training.swap_remove(smallest));
    }
    [training, held_out]
}

/// Up to `most` different chunks, from places drawn at random; those of the files in turn if there are no more.
fn draw(files: &[Vec<char>], length: usize, most: usize, random: &mut Philox) -> Vec<String> {
    let places = |file: &Vec<char>| (file.len() + 1).saturating_sub(length).max(1);
    let total: usize = files.iter().map(places).sum();
    let chunk = |mut place: usize| {
        for file in files {
            if place < places(file) {
                return file[place..(place + length).min(file.len())].iter().collect();
            }
            place -= places(file);
        }
        String::new()
    };
    if total <= most {
        return (0..total).map(chunk).collect();
    }
    let mut drawn = BTreeSet::new();
    let mut chunks = Vec::with_capacity(most);
    while chunks.len() < most {
        let place = random.below(total as u32) as usize;
        if drawn.insert(place) {
            chunks.push(chunk(place));
        }
    }
    chunks
}

/// As many chunks of each kind as there are of the rarest, the kinds in turn.
fn balance(kinds: Vec<Vec<String>>) -> LabelledTexts {
    let count = kinds.iter().map(Vec::len).min().unwrap_or(0);
    let (mut texts, mut labels) = (Vec::new(), Vec::new());
    for index in 0..count {
        for (label, chunks) in kinds.iter().enumerate() {
            texts.push(chunks[index].clone());
            labels.push(label as u32);
        }
    }
    LabelledTexts { texts, labels, names: KINDS.map(|(name, _)| name.to_owned()).to_vec() }
}
