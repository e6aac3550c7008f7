//! Tests of reading one picture.

use super::*;
use crate::test_files::{Folder, jpeg, png};
use ::png::{BitDepth, ColorType};

fn read(content: &[u8], options: PictureOptions) -> Result<Vec<u8>, String> {
    let folder = Folder::new();
    let path = folder.write("picture.png", content);
    read_picture(&path, &options).map_err(|error| error.to_string())
}

/// Mode, depth and bytes of a picture of two pixels, and what it becomes in colours and in grey.
type Mode<'a> = (ColorType, BitDepth, &'a [u8], [u8; 6], [u8; 2]);

#[test]
fn every_mode_becomes_red_green_and_blue_or_grey() {
    let rgb = PictureOptions::new(3, 1, 2);
    let grey = PictureOptions::new(1, 1, 2);
    let modes: [Mode<'_>; 9] = [
        (ColorType::Grayscale, BitDepth::Eight, &[10, 200], [10, 200, 10, 200, 10, 200], [10, 200]),
        (ColorType::Grayscale, BitDepth::One, &[0b0100_0000], [0, 255, 0, 255, 0, 255], [0, 255]),
        (ColorType::Grayscale, BitDepth::Sixteen, &[10, 10, 200, 200], [10, 200, 10, 200, 10, 200], [10, 200]),
        // Half transparent black shows half of the white behind it.
        (ColorType::GrayscaleAlpha, BitDepth::Eight, &[0, 51, 9, 255], [204, 9, 204, 9, 204, 9], [204, 9]),
        (ColorType::Rgb, BitDepth::Eight, &[255, 0, 0, 1, 2, 3], [255, 1, 0, 2, 0, 3], [76, 2]),
        (ColorType::Rgb, BitDepth::Sixteen, &[255, 255, 0, 0, 0, 0, 1, 1, 2, 2, 3, 3], [255, 1, 0, 2, 0, 3], [76, 2]),
        (ColorType::Rgba, BitDepth::Eight, &[9, 9, 9, 0, 1, 2, 3, 255], [255, 1, 255, 2, 255, 3], [255, 2]),
        (
            ColorType::Rgba,
            BitDepth::Sixteen,
            &[9, 9, 9, 9, 9, 9, 0, 0, 1, 1, 2, 2, 3, 3, 255, 255],
            [255, 1, 255, 2, 255, 3],
            [255, 2],
        ),
        // The palette of `png`: red, and blue that shows a fifth.
        (ColorType::Indexed, BitDepth::Eight, &[0, 1], [255, 204, 0, 204, 0, 255], [76, 210]),
    ];
    for (mode, depth, pixels, colours, greys) in modes {
        let file = png(2, 1, mode, depth, pixels);
        assert_eq!(read(&file, rgb).unwrap(), colours, "{mode:?} {depth:?}");
        assert_eq!(read(&file, grey).unwrap(), greys, "{mode:?} {depth:?}");
    }
}

#[test]
fn jpegs_are_read_whatever_their_name() {
    let colours = read(&jpeg(16, 16, |_, _| [200, 100, 50]), PictureOptions::new(3, 16, 16)).unwrap();
    for (channel, level) in [200, 100, 50].into_iter().enumerate() {
        assert!(colours[channel * 256..(channel + 1) * 256].iter().all(|found| found.abs_diff(level) <= 3));
    }
}

#[test]
fn broken_files_are_found() {
    let options = PictureOptions::new(3, 16, 16);
    let noise = |x: u32, y: u32| [(x * 37 + y * 101) as u8, (x * 91 + y * 53) as u8, (x * 7) as u8];
    let pixels: Vec<u8> = (0..256).flat_map(|pixel| noise(pixel % 16, pixel / 16)).collect();
    let whole = png(16, 16, ColorType::Rgb, BitDepth::Eight, &pixels);
    assert_eq!(read(&whole, options).unwrap().len(), 768);
    assert!(read(&whole[..whole.len() / 2], options).unwrap_err().contains("picture.png: it cannot be read"));
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 0x40;
    assert!(read(&damaged, options).is_err());

    let whole = jpeg(16, 16, noise);
    assert!(read(&whole, options).is_ok());
    for length in [whole.len() / 2, whole.len() - 2, whole.len() - 1, 30, 5, 3] {
        assert!(read(&whole[..length], options).is_err(), "{length} of {}", whole.len());
    }
    // The end of a preview is not the end of the picture.
    let mut with_preview = whole[..2].to_vec();
    with_preview.extend([0xff, 0xe1, 0, 6, 1, 2, 0xff, 0xd9]);
    with_preview.extend(&whole[2..]);
    assert!(read(&with_preview, options).is_ok());
    assert!(read(&with_preview[..with_preview.len() - 9], options).unwrap_err().contains("cut off"));

    assert!(read(&[], options).unwrap_err().contains("picture.png: the file is empty"));
    assert!(read(b"GIF89a, or so it says", options).unwrap_err().contains("neither PNG nor JPEG"));
    let missing = read_picture(Path::new("/nowhere/x.png"), &options).unwrap_err().to_string();
    assert!(missing.contains("/nowhere/x.png"), "{missing}");
}

/// A picture whose red is its column and whose green is its line.
fn places(width: u32, height: u32) -> Vec<u8> {
    let pixels: Vec<u8> =
        (0..width * height).flat_map(|pixel| [(pixel % width) as u8, (pixel / width) as u8, 7]).collect();
    png(width, height, ColorType::Rgb, BitDepth::Eight, &pixels)
}

#[test]
fn the_middle_is_cut_out_without_scaling_where_one_side_fits() {
    let found = read(&places(10, 4), PictureOptions::new(3, 4, 4)).unwrap();
    assert_eq!(found[..8], [3, 4, 5, 6, 3, 4, 5, 6]);
    assert_eq!(found[16..24], [0, 0, 0, 0, 1, 1, 1, 1]);
    let found = read(&places(4, 9), PictureOptions::new(3, 4, 4)).unwrap();
    assert_eq!(found[16..24], [2, 2, 2, 2, 3, 3, 3, 3]);
}

#[test]
fn scaling_keeps_the_shape_or_stretches() {
    let file = places(160, 80);
    let cropped = read(&file, PictureOptions::new(3, 8, 8)).unwrap();
    let stretched = read(&file, PictureOptions { fit: Fit::Stretch, ..PictureOptions::new(3, 8, 8) }).unwrap();
    // Pixel x covers columns 40 + 10x to 49 + 10x of the middle, or 20x to 20x + 19 of all. At the edge the
    // filter sees more of the inside.
    for x in 1..7 {
        assert!((cropped[x] as f64 - (44.5 + 10.0 * x as f64)).abs() <= 1.0, "{:?}", &cropped[..8]);
        assert!((stretched[x] as f64 - (9.5 + 20.0 * x as f64)).abs() <= 1.0, "{:?}", &stretched[..8]);
        assert!((cropped[64 + 8 * x] as f64 - (4.5 + 10.0 * x as f64)).abs() <= 1.0);
    }
    assert_eq!(cropped[128..], [7; 64]);
}

#[test]
fn smaller_pictures_are_scaled_up_only_when_asked() {
    let file = places(6, 20);
    let options = PictureOptions::new(3, 8, 8);
    let message = read(&file, options).unwrap_err();
    assert!(message.contains("20×6 is smaller than 8×8"), "{message}");
    let found = read(&file, PictureOptions { upscale: true, ..options }).unwrap();
    assert_eq!((found.len(), found[0], found[7]), (192, 0, 5));
    // A strip that would become 32 lines of half a million pixels.
    let strip = png(16_384, 1, ColorType::Grayscale, BitDepth::Eight, &[9; 16_384]);
    let found = read(&strip, PictureOptions { upscale: true, ..PictureOptions::new(1, 32, 32) }).unwrap();
    assert_eq!(found, [9; 1024]);
}

#[test]
fn numbers_are_scaled_as_a_data_sets_rows_are() {
    let folder = Folder::new();
    let path = folder.write("x.png", places(2, 1));
    let scale = ChannelScale { mean: vec![0.5; 3], deviation: vec![0.25; 3] };
    let found = read_picture_scaled(&path, &PictureOptions::new(3, 1, 2), &scale).unwrap();
    assert_eq!(found[..2], [-2.0, (1.0 / 255.0 - 0.5) / 0.25]);
    assert!(read_picture_scaled(&path, &PictureOptions::new(1, 1, 2), &scale).is_err());
    for options in [PictureOptions::new(2, 1, 1), PictureOptions::new(3, 0, 1), PictureOptions::new(3, 1, 1 << 20)] {
        assert!(matches!(read_picture(&path, &options), Err(DataError::Argument { .. })));
    }
}
