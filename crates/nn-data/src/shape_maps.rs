//! The drawn data set `shape_maps`: pictures of several shapes, with the class of each pixel.

use cpu_reference::philox::Philox;

use crate::shapes::{Figure, Form, Scene, check_sizes, contrasting};
use crate::{DataError, Dataset, Inputs, Targets, parallel};

/// The stream of the first picture; each picture has the next one.
const STREAM: u32 = 0x4000_0000;

/// The forms, in order of their classes from 1; 0 is the background.
const FORMS: [Form; 3] = [Form::Circle, Form::Square, Form::Triangle];
const NAMES: [&str; 4] = ["background", "circle", "square", "triangle"];

/// Figures in a picture, at most.
const FIGURES: u32 = 4;
/// How often a place is drawn for a figure before it is left out.
const ATTEMPTS: usize = 20;

/// How much data [`shape_maps`] draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShapeMapsOptions {
    /// Pictures: rows of the data set.
    pub samples: usize,
    /// Height and width, 16 to 256.
    pub size: usize,
    /// 1 (grey) or 3 (red, green, blue).
    pub channels: usize,
}

impl Default for ShapeMapsOptions {
    /// 2,000 pictures of 3×32×32.
    fn default() -> Self {
        Self { samples: 2000, size: 32, channels: 3 }
    }
}

/// Draws pictures of one to four circles, squares and triangles, the same ones for the same `seed`, with the
/// class of each pixel: background, circle, square or triangle, by what its centre shows.
///
/// Figures may touch and overlap a little; the later one covers the earlier one. Place, size (a diameter of a third
/// to 0.6 of the picture), turn and colours are random, as in [`shapes`](crate::shapes::shapes). Inputs: bytes
/// `[samples, channels, size, size]`; targets: [`Targets::ClassMaps`] of size · size.
///
/// # Errors
/// [`DataError::Argument`] for no pictures, a size out of range, or other numbers of channels.
pub fn shape_maps(options: ShapeMapsOptions, seed: u64) -> Result<Dataset, DataError> {
    let ShapeMapsOptions { samples, size, channels } = options;
    check_sizes("shape_maps", samples, size)?;
    if !matches!(channels, 1 | 3) {
        return Err(DataError::argument(
            format!("data set shape_maps cannot be made with {channels} channels"),
            "give 1 (grey) or 3 (colours)",
        ));
    }
    let pixels = size * size;
    let mut values = vec![0; samples * channels * pixels];
    let mut labels = vec![0; samples * pixels];
    let rows = values.chunks_exact_mut(channels * pixels).zip(labels.chunks_exact_mut(pixels));
    parallel::for_each(0, rows.enumerate(), |(row, (picture, map))| {
        let mut random = Philox::new(seed, STREAM + row as u32);
        let mut scene = Scene::random(&mut random, size, channels);
        let mut classes = Vec::new();
        for _ in 0..=random.below(FIGURES) {
            let form = random.below(FORMS.len() as u32);
            let figure = (0..ATTEMPTS)
                .map(|_| Figure::random(&mut random, FORMS[form as usize], size, [0.17, 0.3]))
                .find(|figure| scene.figures.iter().all(|(other, _)| apart(figure, other)));
            if let Some(figure) = figure {
                let mut others = scene.background.to_vec();
                others.extend(scene.figures.iter().map(|(_, colour)| *colour));
                let colour = contrasting(&mut random, channels, &others, if channels == 3 { 0.35 } else { 0.25 });
                scene.figures.push((figure, colour));
                classes.push(form + 1);
            }
        }
        scene.draw(&mut random, picture);
        for (index, label) in map.iter_mut().enumerate() {
            let centre = [index % size, index / size].map(|place| place as f64 + 0.5);
            let top = scene.figures.iter().rposition(|(figure, _)| figure.contains(centre[0], centre[1]));
            *label = top.map_or(0, |top| classes[top]);
        }
    });
    let dataset = Dataset {
        name: "shape_maps".into(),
        inputs: Inputs::pictures(values, channels),
        sample_shape: vec![channels, size, size],
        targets: Targets::ClassMaps { labels, size: pixels, names: NAMES.map(String::from).to_vec() },
        augmentation: None,
    };
    dataset.validate()?;
    Ok(dataset)
}

/// Whether two figures overlap so little that both can be told.
fn apart(one: &Figure, other: &Figure) -> bool {
    let [x, y] = [0, 1].map(|axis| one.centre[axis] - other.centre[axis]);
    (x * x + y * y).sqrt() >= 0.8 * (one.radius + other.radius)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: ShapeMapsOptions = ShapeMapsOptions { samples: 60, size: 48, channels: 1 };

    #[test]
    fn a_picture_depends_on_the_seed_and_its_row() {
        let data = shape_maps(SMALL, 1).unwrap();
        assert_eq!((data.rows(), &data.sample_shape[..]), (60, &[1, 48, 48][..]));
        assert_eq!(data, shape_maps(SMALL, 1).unwrap());
        assert_ne!(data.targets, shape_maps(SMALL, 2).unwrap().targets);
        let fewer = shape_maps(ShapeMapsOptions { samples: 7, ..SMALL }, 1).unwrap();
        assert_eq!(data.subset(&(0..7).collect::<Vec<_>>()).unwrap(), fewer);
    }

    #[test]
    fn maps_show_what_the_pictures_do() {
        let data = shape_maps(ShapeMapsOptions { samples: 200, ..ShapeMapsOptions::default() }, 3).unwrap();
        let Targets::ClassMaps { labels, size: 1024, names } = &data.targets else {
            panic!("maps expected");
        };
        assert_eq!(names[..], NAMES);
        let mut counts = [0; 4];
        labels.iter().for_each(|&label| counts[label as usize] += 1);
        assert!(
            counts[0] < 200 * 1024 * 9 / 10 && counts[1..].iter().all(|&count| count > 200 * 1024 / 30),
            "{counts:?}"
        );
        // Neighbours of different classes differ more in colour than neighbours of the same class.
        let (mut edges, mut rest) = ((0, 0), (0, 0));
        for row in 0..200 {
            let (pixels, map) = (data.pixels(row).unwrap(), &labels[row * 1024..(row + 1) * 1024]);
            for place in (0..1022).filter(|place| place % 32 < 30) {
                let differs =
                    (0..3).map(|c| u64::from(pixels[c * 1024 + place].abs_diff(pixels[c * 1024 + place + 2])));
                let sum = if map[place] == map[place + 2] { &mut rest } else { &mut edges };
                *sum = (sum.0 + differs.sum::<u64>(), sum.1 + 1);
            }
        }
        assert!(edges.0 * rest.1 > 4 * rest.0 * edges.1, "{edges:?} {rest:?}");
    }

    #[test]
    fn options_out_of_range_are_refused() {
        for options in [
            ShapeMapsOptions { samples: 0, ..SMALL },
            ShapeMapsOptions { size: 8, ..SMALL },
            ShapeMapsOptions { channels: 2, ..SMALL },
        ] {
            assert!(matches!(shape_maps(options, 0), Err(DataError::Argument { .. })));
        }
    }
}
