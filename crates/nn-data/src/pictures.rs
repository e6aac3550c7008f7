//! One picture file, PNG or JPEG, as the bytes and numbers that a model reads.

use std::io::Cursor;
use std::path::Path;

use image::imageops::{self, FilterType};
use image::{DynamicImage, GrayImage, ImageBuffer, ImageFormat, ImageReader, Pixel, RgbImage};

use crate::{ChannelScale, DataError};

const EXPECTED: &str = "a PNG or JPEG picture";
/// Of a longer strip only the middle is used, so that a file of a few bytes cannot fill the memory.
const LONGEST: u32 = 8;

/// How a picture of another size becomes one of the size asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fit {
    /// Scaled until it covers the size, then cut off on both sides (torchvision's `Resize` and `CenterCrop`).
    #[default]
    Crop,
    /// Scaled to the size, whatever its shape was.
    Stretch,
}

/// What pictures are made into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureOptions {
    /// 1 (grey) or 3 (red, green, blue).
    pub channels: usize,
    /// Lines of pixels.
    pub height: usize,
    /// Pixels in a line.
    pub width: usize,
    /// How other sizes become this one.
    pub fit: Fit,
    /// Whether smaller pictures are scaled up; otherwise they are an error.
    pub upscale: bool,
}

impl PictureOptions {
    /// Pictures of this shape; others are cropped, smaller ones refused.
    pub fn new(channels: usize, height: usize, width: usize) -> Self {
        Self { channels, height, width, fit: Fit::Crop, upscale: false }
    }

    /// Bytes of one picture: channels · height · width.
    pub(crate) fn size(&self) -> usize {
        self.channels * self.height * self.width
    }

    pub(crate) fn check(&self) -> Result<(), DataError> {
        let side = 1..=1 << 14;
        if !matches!(self.channels, 1 | 3) || !side.contains(&self.height) || !side.contains(&self.width) {
            return Err(DataError::argument(
                format!("pictures cannot be made {} channels of {}×{}", self.channels, self.height, self.width),
                "give 1 or 3 channels, and a height and width from 1 to 16384",
            ));
        }
        Ok(())
    }
}

/// Why a file gives no picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It cannot be read or decoded.
    Broken(String),
    /// It is smaller than asked.
    Small(String),
}

/// Reads a picture as bytes `[channels, height, width]`.
///
/// Grey, palette and 16-bit pictures and those with transparency are converted: transparency shows white, grey is ITU-R
/// 601 as in PIL's `convert("L")`. The orientation that a camera noted is not applied, as torchvision does not either.
///
/// # Errors
/// [`DataError::File`]: cannot be read, is neither PNG nor JPEG, is cut off or damaged, or is smaller than
/// asked. [`DataError::Argument`] for options out of range.
pub fn read_picture(path: &Path, options: &PictureOptions) -> Result<Vec<u8>, DataError> {
    options.check()?;
    decode(path, options).map_err(|fault| match fault {
        Fault::Broken(what) => DataError::file(path, what, format!("give {EXPECTED}")),
        Fault::Small(what) => DataError::file(path, what, "give a larger picture, or allow scaling up"),
    })
}

/// Reads a picture as the numbers `[channels, height, width]` that a model trained on data of this `scale` reads.
///
/// # Errors
/// As [`read_picture`]; [`DataError::Argument`] for a scale of other channels.
pub fn read_picture_scaled(path: &Path, options: &PictureOptions, scale: &ChannelScale) -> Result<Vec<f32>, DataError> {
    scale.check(options.channels)?;
    Ok(scale.apply(&read_picture(path, options)?))
}

/// Reads a picture as bytes `[channels, height, width]`.
pub(crate) fn decode(path: &Path, options: &PictureOptions) -> Result<Vec<u8>, Fault> {
    let broken = |error: &dyn std::fmt::Display| Fault::Broken(format!("it cannot be read: {error}"));
    let bytes = std::fs::read(path).map_err(|error| broken(&error))?;
    if bytes.is_empty() {
        return Err(Fault::Broken("the file is empty".into()));
    }
    // By content: names are often wrong.
    let reader = ImageReader::new(Cursor::new(&bytes)).with_guessed_format().map_err(|error| broken(&error))?;
    match reader.format() {
        Some(ImageFormat::Png) => {}
        // The decoder fills what is missing with grey.
        Some(ImageFormat::Jpeg) if !has_jpeg_end(&bytes) => return Err(Fault::Broken("it is cut off".into())),
        Some(ImageFormat::Jpeg) => {}
        _ => return Err(Fault::Broken("it is neither PNG nor JPEG".into())),
    }
    let image = reader.decode().map_err(|error| broken(&error))?;
    match options.channels {
        1 => Ok(fit(to_grey(&image), options)?.into_raw()),
        _ => {
            let pixels = fit(to_rgb(&image), options)?.into_raw();
            Ok((0..3).flat_map(|channel| pixels.iter().skip(channel).step_by(3).copied()).collect())
        }
    }
}

/// Whether the mark of a JPEG's end follows its picture (a preview inside has one of its own).
fn has_jpeg_end(bytes: &[u8]) -> bool {
    let mut place = 2;
    while let Some(&[0xff, mark]) = bytes.get(place..place + 2).and_then(|mark| <&[u8; 2]>::try_from(mark).ok()) {
        match mark {
            // Fill bytes, and marks without content.
            0xff => place += 1,
            0x01 | 0xd0..=0xd8 => place += 2,
            // The picture: within it a byte 0xff is followed by 0.
            0xda => return bytes[place..].windows(2).any(|pair| pair == [0xff, 0xd9]),
            _ => match bytes.get(place + 2..place + 4) {
                Some(length) => place += 2 + usize::from(length[0]) * 256 + usize::from(length[1]),
                None => return false,
            },
        }
    }
    false
}

fn to_rgb(image: &DynamicImage) -> RgbImage {
    if !image.color().has_alpha() {
        return image.to_rgb8();
    }
    let image = image.to_rgba8();
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let [red, green, blue, alpha] = image.get_pixel(x, y).0;
        image::Rgb([red, green, blue].map(|level| on_white(level, alpha)))
    })
}

fn to_grey(image: &DynamicImage) -> GrayImage {
    if !image.color().has_color() && !image.color().has_alpha() {
        return image.to_luma8();
    }
    let image = to_rgb(image);
    GrayImage::from_fn(image.width(), image.height(), |x, y| {
        let [red, green, blue] = image.get_pixel(x, y).0.map(u32::from);
        // PIL's whole numbers; where all three are equal they give the same back.
        image::Luma([((19_595 * red + 38_470 * green + 7_471 * blue + 0x8000) >> 16) as u8])
    })
}

fn on_white(level: u8, alpha: u8) -> u8 {
    let (level, alpha) = (u32::from(level), u32::from(alpha));
    ((level * alpha + 255 * (255 - alpha) + 127) / 255) as u8
}

/// A picture of the height and width asked for.
fn fit<P>(image: ImageBuffer<P, Vec<u8>>, options: &PictureOptions) -> Result<ImageBuffer<P, Vec<u8>>, Fault>
where
    P: Pixel<Subpixel = u8> + 'static,
{
    let (width, height) = (options.width as u32, options.height as u32);
    let (found_width, found_height) = image.dimensions();
    if (found_width, found_height) == (width, height) {
        return Ok(image);
    }
    if found_width == 0 || found_height == 0 {
        return Err(Fault::Broken("it has no pixels".into()));
    }
    if !options.upscale && (found_width < width || found_height < height) {
        return Err(Fault::Small(format!(
            "the picture of {found_height}×{found_width} is smaller than {height}×{width} (height×width)"
        )));
    }
    if options.fit == Fit::Stretch {
        return Ok(imageops::resize(&image, width, height, FilterType::Triangle));
    }
    let image = middle(image, found_height.saturating_mul(LONGEST), found_width.saturating_mul(LONGEST));
    let (found_width, found_height) = image.dimensions();
    // The larger scale covers the size: height/found_height or width/found_width.
    let (wide, tall) = (u64::from(width) * u64::from(found_height), u64::from(height) * u64::from(found_width));
    let scaled = |size: u32, numerator: u32, denominator: u32| {
        ((u64::from(size) * u64::from(numerator) + u64::from(denominator) / 2) / u64::from(denominator)) as u32
    };
    let (new_width, new_height) = if wide > tall {
        (width, scaled(found_height, width, found_width).max(height))
    } else {
        (scaled(found_width, height, found_height).max(width), height)
    };
    Ok(middle(imageops::resize(&image, new_width, new_height, FilterType::Triangle), width, height))
}

/// The middle of a picture, at most `width` by `height`.
fn middle<P>(image: ImageBuffer<P, Vec<u8>>, width: u32, height: u32) -> ImageBuffer<P, Vec<u8>>
where
    P: Pixel<Subpixel = u8> + 'static,
{
    let (found_width, found_height) = image.dimensions();
    if found_width <= width && found_height <= height {
        return image;
    }
    let (width, height) = (width.min(found_width), height.min(found_height));
    imageops::crop_imm(&image, (found_width - width) / 2, (found_height - height) / 2, width, height).to_image()
}

#[cfg(test)]
#[path = "pictures_tests.rs"]
mod tests;
