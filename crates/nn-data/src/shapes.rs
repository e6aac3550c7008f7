//! The drawn data set `shapes`: pictures of one shape each, in ten classes, for want of photographs.

use cpu_reference::philox::Philox;

use crate::{DataError, Dataset, Inputs, Targets, parallel};

/// The stream of the first picture; each picture has the next one, so that it is the same in a larger data set.
const STREAM: u32 = 0x3000_0000;
const LARGEST_STREAM: usize = 1 << 28;

/// Points looked at in each pixel, in each direction.
const POINTS: usize = 3;

/// A form that is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Circle,
    Square,
    Triangle,
    Star,
    Cross,
    Ring,
    Crescent,
    Diamond,
    Stripes,
    Checker,
}

impl Form {
    /// The classes, in order of their numbers.
    const ALL: [(Self, &str); 10] = [
        (Self::Circle, "circle"),
        (Self::Square, "square"),
        (Self::Triangle, "triangle"),
        (Self::Star, "star"),
        (Self::Cross, "cross"),
        (Self::Ring, "ring"),
        (Self::Crescent, "crescent"),
        (Self::Diamond, "diamond"),
        (Self::Stripes, "stripes"),
        (Self::Checker, "checker"),
    ];

    /// Whether a point belongs to the form, which lies within a circle of about 1 around 0.
    fn contains(self, x: f64, y: f64) -> bool {
        let square = |half: f64| x.abs() <= half && y.abs() <= half;
        let radius = x * x + y * y;
        match self {
            Self::Circle => radius <= 0.85,
            Self::Square => square(0.8),
            Self::Triangle => {
                // Three sides at distance ½, whose normals are 120° apart.
                let slanted = 3.0f64.sqrt() / 2.0;
                y >= -0.5 && slanted * x + 0.5 * y <= 0.5 && -slanted * x + 0.5 * y <= 0.5
            }
            Self::Star => {
                // Folded to half of one of five points: its edge goes from the tip to the notch.
                let part = std::f64::consts::PI / 5.0;
                let angle = y.atan2(x).rem_euclid(2.0 * part);
                let angle = angle.min(2.0 * part - angle);
                let (x, y) = (radius.sqrt() * angle.cos(), radius.sqrt() * angle.sin());
                let (notch_x, notch_y) = (0.42 * part.cos(), 0.42 * part.sin());
                (x - 1.0) * notch_y - y * (notch_x - 1.0) <= 0.0
            }
            Self::Cross => x.abs().min(y.abs()) <= 0.27 && square(0.95),
            Self::Ring => (0.34..=0.95).contains(&radius),
            Self::Crescent => radius <= 1.0 && (x - 0.5) * (x - 0.5) + y * y > 0.64,
            Self::Diamond => x.abs() / 0.55 + y.abs() / 1.05 <= 1.0,
            // Three bars and two gaps.
            Self::Stripes => square(0.9) && (((x + 0.9) / 0.36) as usize).is_multiple_of(2),
            Self::Checker => {
                let cell = |place: f64| ((place + 0.9) / 0.45) as usize;
                square(0.9) && (cell(x) + cell(y)).is_multiple_of(2)
            }
        }
    }
}

/// A form at its place; lengths are in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Figure {
    pub(crate) form: Form,
    pub(crate) centre: [f64; 2],
    pub(crate) radius: f64,
    /// Cosine and sine of its turn.
    turn: [f64; 2],
}

impl Figure {
    /// A figure turned at random, with a radius in this range of parts of `size`, nearly all of it inside.
    pub(crate) fn random(random: &mut Philox, form: Form, size: usize, [low, high]: [f64; 2]) -> Self {
        let size = size as f64;
        let radius = size * (low + (high - low) * random.uniform_f64());
        let inner = size - 1.7 * radius;
        let mut place = || (size - inner) / 2.0 + inner * random.uniform_f64();
        let centre = [place(), place()];
        let angle = std::f64::consts::TAU * random.uniform_f64();
        Self { form, centre, radius, turn: [angle.cos(), angle.sin()] }
    }

    /// Whether the point belongs to the figure.
    pub(crate) fn contains(&self, x: f64, y: f64) -> bool {
        let (x, y) = ((x - self.centre[0]) / self.radius, (y - self.centre[1]) / self.radius);
        // No form reaches further than the corners of the largest square.
        x * x + y * y < 1.9
            && self.form.contains(self.turn[0] * x + self.turn[1] * y, self.turn[0] * y - self.turn[1] * x)
    }

    /// What part of a pixel the figure covers.
    fn coverage(&self, x: usize, y: usize) -> f64 {
        let point = |pixel: usize, index: usize| pixel as f64 + (index as f64 + 0.5) / POINTS as f64;
        let inside = |index: &usize| self.contains(point(x, index % POINTS), point(y, index / POINTS));
        (0..POINTS * POINTS).filter(inside).count() as f64 / (POINTS * POINTS) as f64
    }
}

/// A colour, or a grey level if all three are equal; each from 0 to 1.
pub(crate) type Colour = [f64; 3];

/// The distance of two colours: that of their most different channel.
pub(crate) fn contrast(one: Colour, other: Colour) -> f64 {
    (0..3).map(|channel| (one[channel] - other[channel]).abs()).fold(0.0, f64::max)
}

/// A random colour; of one channel, a random grey.
pub(crate) fn colour(random: &mut Philox, channels: usize) -> Colour {
    let mut colour = [0.0; 3].map(|_: f64| random.uniform_f64());
    if channels == 1 {
        colour = [colour[0]; 3];
    }
    colour
}

/// A colour at least `least` away from all `others`, or the best of many.
pub(crate) fn contrasting(random: &mut Philox, channels: usize, others: &[Colour], least: f64) -> Colour {
    let mut best = ([0.0; 3], -1.0);
    for _ in 0..64 {
        let candidate = colour(random, channels);
        let nearest = others.iter().map(|&other| contrast(candidate, other)).fold(f64::INFINITY, f64::min);
        if nearest > best.1 {
            best = (candidate, nearest);
        }
        if nearest >= least {
            break;
        }
    }
    best.0
}

/// A picture to draw: a background that changes from one colour to another, figures on it, and noise.
pub(crate) struct Scene {
    pub(crate) size: usize,
    pub(crate) channels: usize,
    pub(crate) background: [Colour; 2],
    /// In order: later ones cover earlier ones.
    pub(crate) figures: Vec<(Figure, Colour)>,
}

impl Scene {
    /// A background of two similar colours, without figures.
    pub(crate) fn random(random: &mut Philox, size: usize, channels: usize) -> Self {
        let first = colour(random, channels);
        let change = colour(random, channels);
        let second = std::array::from_fn(|channel| (first[channel] + 0.5 * (change[channel] - 0.5)).clamp(0.0, 1.0));
        Self { size, channels, background: [first, second], figures: Vec::new() }
    }

    /// Draws the scene as bytes `[channels, size, size]`, with a direction of the background and noise from `random`.
    pub(crate) fn draw(&self, random: &mut Philox, picture: &mut [u8]) {
        let size = self.size;
        let angle = std::f64::consts::TAU * random.uniform_f64();
        let noise = 0.05 + 0.15 * random.uniform_f64();
        let [first, second] = self.background;
        for y in 0..size {
            for x in 0..size {
                let from_middle = |place: usize| (place as f64 + 0.5) / size as f64 - 0.5;
                let along = angle.cos() * from_middle(x) + angle.sin() * from_middle(y);
                let part = (0.5 + 0.7 * along).clamp(0.0, 1.0);
                let mut pixel: Colour =
                    std::array::from_fn(|channel| first[channel] + part * (second[channel] - first[channel]));
                for (figure, colour) in &self.figures {
                    let covered = figure.coverage(x, y);
                    for channel in 0..3 {
                        pixel[channel] += covered * (colour[channel] - pixel[channel]);
                    }
                }
                for channel in 0..self.channels {
                    // The sum of two uniform numbers.
                    let word = random.next_u32();
                    let grain = f64::from((word >> 16) + (word & 0xffff)) / 65_535.0 - 1.0;
                    picture[(channel * size + y) * size + x] = ((pixel[channel] + noise * grain) * 255.0).round() as u8;
                }
            }
        }
    }
}

/// Checks sizes that both drawn data sets share.
pub(crate) fn check_sizes(name: &str, samples: usize, size: usize) -> Result<(), DataError> {
    if samples == 0 || samples > LARGEST_STREAM || !(16..=256).contains(&size) {
        return Err(DataError::argument(
            format!("data set {name} cannot be made of {samples} pictures of {size}×{size}"),
            "give at least one picture, and a size from 16 to 256",
        ));
    }
    Ok(())
}

/// How much data [`shapes`] draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShapesOptions {
    /// Pictures: rows of the data set.
    pub samples: usize,
    /// Height and width, 16 to 256.
    pub size: usize,
}

impl Default for ShapesOptions {
    /// 10,000 pictures of 32×32, the size of CIFAR-10's.
    fn default() -> Self {
        Self { samples: 10_000, size: 32 }
    }
}

/// Draws pictures of one shape each, the same ones for the same `seed`.
///
/// Classes, in turn: circle, square, triangle, star, cross, ring, crescent, diamond, stripes, checker. Place, size (a
/// diameter of 0.44 to 0.8 of the picture), turn and colours are random, before a background that changes from one
/// colour to a similar one, under noise. A picture depends on `seed` and its row alone. Inputs: bytes
/// `[samples, 3, size, size]`.
///
/// # Errors
/// [`DataError::Argument`] if there are no pictures or they are smaller than 16×16 or larger than 256×256.
pub fn shapes(options: ShapesOptions, seed: u64) -> Result<Dataset, DataError> {
    let ShapesOptions { samples, size } = options;
    check_sizes("shapes", samples, size)?;
    let mut values = vec![0; samples * 3 * size * size];
    parallel::for_each(0, values.chunks_exact_mut(3 * size * size).enumerate(), |(row, picture)| {
        let mut random = Philox::new(seed, STREAM + row as u32);
        let (form, _) = Form::ALL[row % Form::ALL.len()];
        let mut scene = Scene::random(&mut random, size, 3);
        let figure = Figure::random(&mut random, form, size, [0.22, 0.4]);
        let colour = contrasting(&mut random, 3, &scene.background, 0.4);
        scene.figures.push((figure, colour));
        scene.draw(&mut random, picture);
    });
    let dataset = Dataset {
        name: "shapes".into(),
        inputs: Inputs::pictures(values, 3),
        sample_shape: vec![3, size, size],
        targets: Targets::Classes {
            labels: (0..samples).map(|row| (row % Form::ALL.len()) as u32).collect(),
            names: Form::ALL.iter().map(|(_, name)| (*name).into()).collect(),
        },
        augmentation: None,
    };
    dataset.validate()?;
    Ok(dataset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_depends_on_the_seed_and_its_row() {
        let small = ShapesOptions { samples: 25, size: 32 };
        let data = shapes(small, 1).unwrap();
        assert_eq!((data.rows(), &data.sample_shape[..]), (25, &[3, 32, 32][..]));
        assert_eq!(data, shapes(small, 1).unwrap());
        assert_ne!(data.inputs, shapes(small, 2).unwrap().inputs);
        let more = shapes(ShapesOptions { samples: 40, size: 32 }, 1).unwrap();
        assert_eq!(more.subset(&(0..25).collect::<Vec<_>>()).unwrap(), data);
        let Targets::Classes { labels, names } = &data.targets else {
            panic!("classes expected");
        };
        assert_eq!((names.len(), labels[3], labels[13], labels[24]), (10, 3, 3, 4));
        assert_ne!(data.pixels(3), data.pixels(13));
    }

    /// The share of the circle's square that each form covers, exactly.
    #[test]
    fn forms_have_their_areas() {
        let third = 3.0f64.sqrt();
        let (tip, notch) = (1.0, 0.42);
        // Two circles of radius 1 and 0.8 whose centres are ½ apart: what of the first lies outside the second.
        let (d, r, s) = (0.5f64, 1.0f64, 0.8f64);
        let lens = r * r * ((d * d + r * r - s * s) / (2.0 * d * r)).acos()
            + s * s * ((d * d + s * s - r * r) / (2.0 * d * s)).acos()
            - 0.5 * ((-d + r + s) * (d + r - s) * (d - r + s) * (d + r + s)).sqrt();
        let pi = std::f64::consts::PI;
        let areas = [
            0.85 * pi,
            1.6 * 1.6,
            3.0 * third / 4.0,
            5.0 * tip * notch * (pi / 5.0).sin(),
            2.0 * 1.9 * 0.54 - 0.54 * 0.54,
            (0.95 - 0.34) * pi,
            pi - lens,
            2.0 * 0.55 * 1.05,
            1.8 * 0.36 * 3.0,
            1.8 * 1.8 / 2.0,
        ];
        for ((form, name), area) in Form::ALL.into_iter().zip(areas) {
            let steps = 600;
            let place = |step: usize| 3.0 * (step as f64 + 0.5) / steps as f64 - 1.5;
            let inside = (0..steps * steps).filter(|at| form.contains(place(at % steps), place(at / steps))).count();
            let found = 9.0 * inside as f64 / (steps * steps) as f64;
            assert!((found - area).abs() < 0.02, "{name}: {found} for {area}");
        }
    }

    #[test]
    fn the_figure_stands_out_and_stays_inside() {
        let mut random = Philox::new(0, 7);
        for _ in 0..500 {
            let figure = Figure::random(&mut random, Form::Circle, 32, [0.22, 0.4]);
            assert!(
                figure
                    .centre
                    .iter()
                    .all(|&place| { place - 0.85 * figure.radius > -0.01 && place + 0.85 * figure.radius < 32.01 })
            );
            let scene = Scene::random(&mut random, 32, 3);
            let colour = contrasting(&mut random, 3, &scene.background, 0.4);
            assert!(scene.background.iter().all(|&background| contrast(colour, background) >= 0.3));
        }
    }

    #[test]
    fn sizes_out_of_range_are_refused() {
        for (samples, size) in [(0, 32), (1, 15), (1, 257), (usize::MAX, 32)] {
            assert!(matches!(shapes(ShapesOptions { samples, size }, 0), Err(DataError::Argument { .. })));
        }
    }
}
