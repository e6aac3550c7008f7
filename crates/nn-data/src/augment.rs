//! Random changes of training pictures: moved, mirrored, turned, recoloured, with a rectangle erased.

use cpu_reference::philox::{Philox, philox};
use nn_train::Data;

use crate::inputs::not_bytes;
use crate::{DataError, Dataset, Inputs, Targets};

/// Sets the counters of this file apart from those of other uses of one seed.
const COUNTER: u32 = 2;

/// Streams of one picture's random numbers: a change that is added leaves what the others draw.
const FLIP: u32 = 0;
const SHIFT: u32 = 1;
const TURN: u32 = 2;
const COLOUR: u32 = 3;
const ERASE: u32 = 4;
const NOISE: u32 = 5;

/// An erased rectangle's share of the picture, its ratio of height to width, and how often one is drawn
/// until it fits: those of torchvision.
const ERASED_SHARE: [f32; 2] = [0.02, 0.33];
const ERASED_RATIO: [f32; 2] = [0.3, 3.3];
const ERASE_ATTEMPTS: usize = 10;

/// What part each channel has in a pixel's brightness (ITU-R 601, as torchvision).
const BRIGHTNESS: [f32; 3] = [0.2989, 0.587, 0.114];

/// How pictures are changed at random each time they are trained on; by default not at all.
///
/// The changes come in the order of the fields: first places, then colours (on the scale from 0 to 1),
/// then the data set's scale, then erasing. What happens to a picture is decided by `seed`, the number of the
/// visit and the row alone: not by the batch, the order of rows or threads.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Augmentation {
    /// What all random numbers come from.
    pub seed: u64,
    /// Pictures are turned by up to this many degrees, either way, around their centre; bilinear, black beyond the edge.
    pub rotation: f32,
    /// Pictures are scaled by 1 − `zoom` to 1 + `zoom`, around their centre.
    pub zoom: f32,
    /// Pictures are moved by up to this many pixels, in both directions, as by torchvision's
    /// `RandomCrop(size, padding)`; what comes in is black (0, before the data set's scale).
    pub crop_padding: usize,
    /// Every other picture is mirrored, left to right (`RandomHorizontalFlip`).
    pub flip: bool,
    /// Colours are multiplied by 1 − `brightness` (at least 0) to 1 + `brightness`, as by `ColorJitter`.
    pub brightness: f32,
    /// Distances from the picture's mean grey are multiplied by 1 ± `contrast`.
    pub contrast: f32,
    /// Distances from each pixel's own grey are multiplied by 1 ± `saturation`.
    pub saturation: f32,
    /// Hues are turned by up to this part of the colour circle, either way: at most 0.5.
    pub hue: f32,
    /// The probability that a rectangle becomes 0, after scaling (`RandomErasing`): 2 to 33 % of the picture.
    pub erase: f32,
    /// Normally distributed numbers of this deviation are added last.
    pub noise: f32,
}

impl Augmentation {
    /// Checks that these changes can be made to `dataset`.
    ///
    /// # Errors
    /// [`DataError::Argument`]: samples that are no pictures, a number out of range, changes of colour without
    /// pictures kept as bytes (`saturation` or `hue` without three channels), or places that move while targets are maps.
    pub fn check(&self, dataset: &Dataset) -> Result<(), DataError> {
        let Some([channels, height, width]) = dataset.picture_shape() else {
            return Err(DataError::argument(
                format!("data set {} has samples of shape {:?}, no pictures", dataset.name, dataset.sample_shape),
                "change pictures of shape [channels, height, width] or [height, width] only",
            ));
        };
        let range = |name: &str, value: f32, most: f32| {
            if (0.0..=most).contains(&value) {
                return Ok(());
            }
            Err(DataError::argument(
                format!("pictures cannot be changed with {name} = {value}"),
                format!("give a number from 0 to {most}"),
            ))
        };
        range("rotation", self.rotation, 180.0)?;
        range("zoom", self.zoom, 0.9)?;
        range("brightness", self.brightness, 10.0)?;
        range("contrast", self.contrast, 10.0)?;
        range("saturation", self.saturation, 10.0)?;
        range("hue", self.hue, 0.5)?;
        range("erase", self.erase, 1.0)?;
        range("noise", self.noise, 100.0)?;
        if self.crop_padding >= height.min(width) {
            return Err(DataError::argument(
                format!("crop_padding = {} moves pictures of {height}×{width} out of sight", self.crop_padding),
                "give fewer pixels, such as an eighth of the height",
            ));
        }
        if self.recolours() && !matches!(dataset.inputs, Inputs::U8 { .. }) {
            return Err(not_bytes(dataset));
        }
        if (self.saturation > 0.0 || self.hue > 0.0) && channels != 3 {
            return Err(DataError::argument(
                format!("saturation = {} and hue = {} for pictures of {channels} channels", self.saturation, self.hue),
                "only red, green and blue have them; leave them out",
            ));
        }
        let moves = self.flip || self.crop_padding > 0 || self.turns();
        if moves && matches!(dataset.targets, Targets::ClassMaps { .. }) {
            return Err(DataError::argument(
                format!("data set {} has a class for each pixel, which would not move with the picture", dataset.name),
                "change colours only, or erase",
            ));
        }
        Ok(())
    }

    fn turns(&self) -> bool {
        self.rotation > 0.0 || self.zoom > 0.0
    }

    fn recolours(&self) -> bool {
        [self.brightness, self.contrast, self.saturation, self.hue].iter().any(|most| *most > 0.0)
    }

    /// The key of all that happens to `row` at this visit.
    fn key(&self, visit: u64, row: usize) -> u64 {
        let counter = [row as u32, visit as u32, (visit >> 32) as u32, COUNTER];
        let words = philox(counter, [self.seed as u32, (self.seed >> 32) as u32]);
        u64::from(words[0]) | u64::from(words[1]) << 32
    }

    /// Moves, turns and mirrors `source`, `shape`d, into `target`.
    fn place(&self, key: u64, [_, height, width]: [usize; 3], source: &[f32], target: &mut [f32]) {
        let mirror = self.flip && Philox::new(key, FLIP).uniform() < 0.5;
        let mut random = Philox::new(key, SHIFT);
        let mut shift = |size: usize| {
            let most = self.crop_padding.min(size);
            random.below(2 * most as u32 + 1) as isize - most as isize
        };
        let [down, right] = if self.crop_padding > 0 { [shift(height), shift(width)] } else { [0, 0] };
        if self.turns() {
            let mut random = Philox::new(key, TURN);
            let angle = spread(&mut random, self.rotation).to_radians();
            let zoom = 1.0 + spread(&mut random, self.zoom);
            // Where the picture's axes come from in the source.
            let (sine, cosine) = angle.sin_cos();
            let turn = Turn { sine: sine / zoom, cosine: cosine / zoom, down: down as f32, right: right as f32 };
            turn.sample([height, width], source, target);
        } else {
            for (source, target) in source.chunks_exact(height * width).zip(target.chunks_exact_mut(height * width)) {
                for (y, target) in target.chunks_exact_mut(width).enumerate() {
                    let line = y.checked_add_signed(down).filter(|&line| line < height);
                    // Columns of the target whose source exists.
                    let first = (-right).max(0) as usize;
                    let last = width - right.max(0) as usize;
                    match line {
                        Some(line) => {
                            let from = line * width;
                            target[..first].fill(0.0);
                            target[last..].fill(0.0);
                            let begin = from.saturating_add_signed(right + first as isize);
                            target[first..last].copy_from_slice(&source[begin..begin + (last - first)]);
                        }
                        None => target.fill(0.0),
                    }
                }
            }
        }
        if mirror {
            target.chunks_exact_mut(width).for_each(<[f32]>::reverse);
        }
    }

    /// Changes brightness, contrast, saturation and hue of a picture on the scale from 0 to 1.
    fn recolour(&self, key: u64, plane: usize, picture: &mut [f32]) {
        let mut random = Philox::new(key, COLOUR);
        let mut factor = |most: f32| {
            let low = (1.0 - most).max(0.0);
            low + (1.0 + most - low) * random.uniform()
        };
        let [brightness, contrast, saturation] = [self.brightness, self.contrast, self.saturation].map(&mut factor);
        if self.brightness > 0.0 {
            picture.iter_mut().for_each(|level| *level = (*level * brightness).clamp(0.0, 1.0));
        }
        if self.contrast > 0.0 {
            let sum: f64 = if picture.len() == 3 * plane {
                (0..plane).map(|pixel| f64::from(grey(picture, plane, pixel))).sum()
            } else {
                picture.iter().map(|&level| f64::from(level)).sum::<f64>() * plane as f64 / picture.len() as f64
            };
            let rest = (1.0 - contrast) * (sum / plane as f64) as f32;
            picture.iter_mut().for_each(|level| *level = (*level * contrast + rest).clamp(0.0, 1.0));
        }
        if self.saturation > 0.0 && picture.len() == 3 * plane {
            for pixel in 0..plane {
                let rest = (1.0 - saturation) * grey(picture, plane, pixel);
                for channel in 0..3 {
                    let level = &mut picture[channel * plane + pixel];
                    *level = (*level * saturation + rest).clamp(0.0, 1.0);
                }
            }
        }
        if self.hue > 0.0 && picture.len() == 3 * plane {
            let turn = spread(&mut random, self.hue);
            for pixel in 0..plane {
                let colour = [0, 1, 2].map(|channel| picture[channel * plane + pixel]);
                for (channel, level) in turn_hue(colour, turn).into_iter().enumerate() {
                    picture[channel * plane + pixel] = level;
                }
            }
        }
    }

    /// Adds normally distributed numbers.
    fn add_noise(&self, key: u64, numbers: &mut [f32]) {
        if self.noise > 0.0 {
            let mut random = Philox::new(key, NOISE);
            numbers.iter_mut().for_each(|number| *number += self.noise * random.normal() as f32);
        }
    }

    /// Sets a rectangle of every channel to 0, with probability `erase`.
    fn erase(&self, key: u64, [_, height, width]: [usize; 3], numbers: &mut [f32]) {
        let mut random = Philox::new(key, ERASE);
        if random.uniform() >= self.erase {
            return;
        }
        let mut between = |[low, high]: [f32; 2]| low + (high - low) * random.uniform();
        let rectangle = (0..ERASE_ATTEMPTS).find_map(|_| {
            let area = (height * width) as f32 * between(ERASED_SHARE);
            let ratio = between(ERASED_RATIO.map(f32::ln)).exp();
            let size = [(area * ratio).sqrt().round() as usize, (area / ratio).sqrt().round() as usize];
            (size[0] < height && size[1] < width).then_some(size)
        });
        let Some([tall, wide]) = rectangle else { return };
        let top = random.below((height - tall + 1) as u32) as usize;
        let left = random.below((width - wide + 1) as u32) as usize;
        for plane in numbers.chunks_exact_mut(height * width) {
            for line in plane.chunks_exact_mut(width).skip(top).take(tall) {
                line[left..left + wide].fill(0.0);
            }
        }
    }
}

/// A uniform number from −`most` to `most`.
fn spread(random: &mut Philox, most: f32) -> f32 {
    most * (2.0 * random.uniform() - 1.0)
}

/// Red, green and blue with the hue turned by a part of the colour circle; value and saturation (of HSV) stay.
fn turn_hue([red, green, blue]: [f32; 3], turn: f32) -> [f32; 3] {
    let (most, least) = (red.max(green).max(blue), red.min(green).min(blue));
    let range = most - least;
    if range <= 0.0 {
        return [red, green, blue];
    }
    // In sixths of the circle, from red.
    let hue = match () {
        () if most == red => (green - blue) / range,
        () if most == green => (blue - red) / range + 2.0,
        () => (red - green) / range + 4.0,
    };
    let hue = hue + 6.0 * turn;
    [5.0, 3.0, 1.0].map(|place: f32| {
        let distance = (place + hue).rem_euclid(6.0);
        most - range * distance.min(4.0 - distance).clamp(0.0, 1.0)
    })
}

/// The brightness of one pixel of a picture of red, green and blue.
#[inline]
fn grey(picture: &[f32], plane: usize, pixel: usize) -> f32 {
    BRIGHTNESS[0] * picture[pixel] + BRIGHTNESS[1] * picture[plane + pixel] + BRIGHTNESS[2] * picture[2 * plane + pixel]
}

/// A picture turned and scaled around its centre, and moved.
struct Turn {
    sine: f32,
    cosine: f32,
    down: f32,
    right: f32,
}

impl Turn {
    /// Reads each pixel of `target` between four pixels of `source`, black beyond its edge.
    fn sample(&self, [height, width]: [usize; 2], source: &[f32], target: &mut [f32]) {
        let plane = height * width;
        let centre = [(height - 1) as f32 / 2.0, (width - 1) as f32 / 2.0];
        for y in 0..height {
            let v = y as f32 - centre[0];
            for x in 0..width {
                let u = x as f32 - centre[1];
                let from_y = self.cosine * v + self.sine * u + centre[0] + self.down;
                let from_x = self.cosine * u - self.sine * v + centre[1] + self.right;
                let (floor_y, floor_x) = (from_y.floor(), from_x.floor());
                let (part_y, part_x) = (from_y - floor_y, from_x - floor_x);
                let (line, column) = (floor_y as isize, floor_x as isize);
                let weights = [
                    (1.0 - part_y) * (1.0 - part_x),
                    (1.0 - part_y) * part_x,
                    part_y * (1.0 - part_x),
                    part_y * part_x,
                ];
                let place = |down: isize, right: isize| {
                    let (line, column) = (line + down, column + right);
                    let inside = (0..height as isize).contains(&line) && (0..width as isize).contains(&column);
                    inside.then(|| line as usize * width + column as usize)
                };
                let places = [place(0, 0), place(0, 1), place(1, 0), place(1, 1)];
                let at = y * width + x;
                for (source, target) in source.chunks_exact(plane).zip(target.chunks_exact_mut(plane)) {
                    let corner = |index: usize| places[index].map_or(0.0, |place| source[place] * weights[index]);
                    target[at] = corner(0) + corner(1) + corner(2) + corner(3);
                }
            }
        }
    }
}

impl Dataset {
    /// The same data with pictures changed at random when they are trained on.
    ///
    /// # Errors
    /// As [`Augmentation::check`].
    pub fn with_augmentation(mut self, augmentation: Augmentation) -> Result<Self, DataError> {
        augmentation.check(&self)?;
        self.augmentation = Some(augmentation);
        Ok(self)
    }

    /// The same data with noise of this deviation in its inputs, the same at each reading; they become numbers.
    pub fn with_noise(self, deviation: f32, seed: u64) -> Self {
        let noisy = Augmentation { seed, noise: deviation, ..Augmentation::default() };
        let rows: Vec<usize> = (0..self.rows()).collect();
        let mut inputs = Vec::with_capacity(self.inputs.len());
        self.batch(&rows, &mut inputs);
        for (row, numbers) in inputs.chunks_exact_mut(self.width().max(1)).enumerate() {
            noisy.add_noise(noisy.key(0, row), numbers);
        }
        Self { inputs: Inputs::F32(inputs), ..self }
    }

    /// Appends the samples of these rows to `inputs` as `batch` does, but changed by the data set's
    /// [`Augmentation`], if it has one: otherwise at each `visit`, the same at the same one.
    pub fn augmented(&self, visit: u64, rows: &[usize], inputs: &mut Vec<f32>) {
        let (Some(augmentation), Some(shape)) = (&self.augmentation, self.picture_shape()) else {
            return self.batch(rows, inputs);
        };
        let [channels, height, width] = shape;
        if self.check_lengths().is_err() {
            return self.batch(rows, inputs);
        }
        let levels: [f32; 256] = std::array::from_fn(|byte| byte as f32 / 255.0);
        let (mut source, mut picture) = (Vec::with_capacity(self.width()), vec![0.0; self.width()]);
        for &row in rows {
            let Some((start, end)) = self.row_bounds(row).filter(|&(_, end)| end <= self.inputs.len()) else {
                continue;
            };
            let key = augmentation.key(visit, row);
            source.clear();
            match &self.inputs {
                // Nothing of these is changed.
                Inputs::Tokens { .. } => return,
                Inputs::F32(values) => source.extend_from_slice(&values[start..end]),
                Inputs::U8 { values, .. } => {
                    source.extend(values[start..end].iter().map(|&byte| levels[usize::from(byte)]));
                }
            }
            augmentation.place(key, shape, &source, &mut picture);
            let first = inputs.len();
            match &self.inputs {
                Inputs::F32(_) | Inputs::Tokens { .. } => inputs.extend_from_slice(&picture),
                Inputs::U8 { scale, .. } => {
                    if augmentation.recolours() {
                        augmentation.recolour(key, height * width, &mut picture);
                    }
                    for channel in 0..channels {
                        let plane = &picture[channel * height * width..(channel + 1) * height * width];
                        inputs.extend(plane.iter().map(|&level| scale.number(level, channel)));
                    }
                }
            }
            augmentation.erase(key, shape, &mut inputs[first..]);
            augmentation.add_noise(key, &mut inputs[first..]);
        }
    }
}

#[cfg(test)]
#[path = "augment_tests.rs"]
mod tests;
