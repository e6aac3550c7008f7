//! Tests of [`Augmentation`].

use super::*;
use crate::ChannelScale;

/// Pictures of 3×8×8 in which every pixel of a channel differs.
fn sample(rows: usize) -> Dataset {
    let values = (0..rows * 192).map(|index| (1 + index % 192 + index / 192 % 60) as u8).collect();
    Dataset {
        name: "sample".into(),
        inputs: Inputs::pictures(values, 3),
        sample_shape: vec![3, 8, 8],
        targets: Targets::Classes { labels: vec![0; rows], names: vec!["a".into()] },
        augmentation: None,
    }
}

fn everything() -> Augmentation {
    Augmentation {
        seed: 3,
        flip: true,
        crop_padding: 2,
        brightness: 0.3,
        contrast: 0.3,
        saturation: 0.3,
        erase: 0.5,
        ..Augmentation::default()
    }
}

fn changed(data: &Dataset, augmentation: Augmentation, visit: u64, rows: &[usize]) -> Vec<f32> {
    let data = data.clone().with_augmentation(augmentation).unwrap();
    let mut numbers = Vec::new();
    data.augmented(visit, rows, &mut numbers);
    assert_eq!(numbers.len(), rows.len() * data.width());
    numbers
}

fn plain(data: &Dataset, rows: &[usize]) -> Vec<f32> {
    let mut numbers = Vec::new();
    data.batch(rows, &mut numbers);
    numbers
}

#[test]
fn without_changes_the_bits_are_those_of_a_batch() {
    let mut data = sample(3);
    data.set_scale(&ChannelScale { mean: vec![0.4, 0.5, 0.6], deviation: vec![0.2, 0.3, 0.4] }).unwrap();
    let rows = [2, 0, 2];
    assert_eq!(changed(&data, Augmentation::default(), 7, &rows), plain(&data, &rows));
    let mut numbers = Vec::new();
    data.augmented(7, &rows, &mut numbers);
    assert_eq!(numbers, plain(&data, &rows), "no augmentation");
}

#[test]
fn seed_visit_and_row_decide_and_nothing_else() {
    let data = sample(40);
    let all: Vec<usize> = (0..40).collect();
    let whole = changed(&data, everything(), 5, &all);
    // One by one and backwards.
    for row in all.iter().rev() {
        assert_eq!(changed(&data, everything(), 5, &[*row]), whole[row * 192..(row + 1) * 192]);
    }
    assert_ne!(changed(&data, everything(), 6, &all), whole);
    assert_ne!(changed(&data, everything(), 5 + (1 << 32), &all), whole);
    assert_ne!(changed(&data, Augmentation { seed: 4, ..everything() }, 5, &all), whole);
    assert_ne!(changed(&data, Augmentation { seed: 3 + (1 << 32), ..everything() }, 5, &all), whole);
}

#[test]
fn the_bits_stay_those_they_have_been() {
    let mut data = sample(40);
    data.set_scale(&ChannelScale { mean: vec![0.4, 0.5, 0.6], deviation: vec![0.2, 0.3, 0.4] }).unwrap();
    let numbers = changed(&data, everything(), 5, &(0..40).collect::<Vec<_>>());
    let hash = numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    assert_eq!(hash, GOLDEN, "{hash:#x}");
}

/// Of the numbers' bits; a change of it makes runs that were interrupted go on otherwise.
const GOLDEN: u64 = 0x1d32_c892_f70a_2097;

#[test]
fn half_of_the_pictures_are_mirrored() {
    let data = sample(2000);
    let rows: Vec<usize> = (0..2000).collect();
    let (before, after) =
        (plain(&data, &rows), changed(&data, Augmentation { flip: true, ..Augmentation::default() }, 0, &rows));
    let mut mirrored = 0;
    for (before, after) in before.chunks(192).zip(after.chunks(192)) {
        let backwards: Vec<f32> = before.chunks(8).flat_map(|line| line.iter().rev().copied()).collect();
        assert!(after == before || after == backwards);
        mirrored += usize::from(after == backwards);
    }
    // Five standard deviations of a fair coin: 5 · sqrt(2000) / 2 = 112.
    assert!(mirrored.abs_diff(1000) < 112, "{mirrored}");
}

#[test]
fn crops_move_by_every_distance_equally_often() {
    let data = sample(2500);
    let rows: Vec<usize> = (0..2500).collect();
    let (before, after) =
        (plain(&data, &rows), changed(&data, Augmentation { crop_padding: 2, ..Augmentation::default() }, 0, &rows));
    let mut counts = [[0; 5]; 5];
    for (before, after) in before.chunks(192).zip(after.chunks(192)) {
        let moved = |down: isize, right: isize| -> Vec<f32> {
            let pixel = |channel: isize, y: isize, x: isize| {
                let inside = (0..8).contains(&y) && (0..8).contains(&x);
                if inside { before[(channel * 64 + y * 8 + x) as usize] } else { 0.0 }
            };
            (0..192).map(|index| pixel(index / 64, index / 8 % 8 + down, index % 8 + right)).collect()
        };
        let found = (0..25).find(|place| moved(place / 5 - 2, place % 5 - 2) == after).expect("a picture that moved");
        counts[found as usize / 5][found as usize % 5] += 1;
    }
    // A hundred of each; five standard deviations are 49.
    assert!(counts.iter().flatten().all(|count: &i32| count.abs_diff(100) < 49), "{counts:?}");
}

#[test]
fn rectangles_are_erased_as_often_and_as_large_as_asked() {
    let mut data = sample(2000);
    // Erased pixels are 0 after scaling; no other becomes 0 with such a mean.
    data.set_scale(&ChannelScale { mean: vec![1.5; 3], deviation: vec![0.5; 3] }).unwrap();
    let rows: Vec<usize> = (0..2000).collect();
    let after = changed(&data, Augmentation { erase: 0.25, ..Augmentation::default() }, 0, &rows);
    let mut erased = 0;
    for picture in after.chunks(192) {
        let gone: Vec<usize> = (0..64).filter(|&pixel| picture[pixel] == 0.0).collect();
        for channel in picture.chunks(64) {
            assert!((0..64).all(|pixel| (channel[pixel] == 0.0) == gone.contains(&pixel)), "all channels alike");
        }
        if let (Some(first), Some(last)) = (gone.first(), gone.last()) {
            let (lines, columns) = (last / 8 - first / 8 + 1, last % 8 - first % 8 + 1);
            assert_eq!(lines * columns, gone.len(), "a rectangle");
            assert!(gone.len() <= 64 / 3 + 8, "rounding adds at most half a line and half a column");
            erased += 1;
        }
    }
    // Five standard deviations: 5 · sqrt(2000 · 0.25 · 0.75) = 97.
    assert!(erased > 403 && erased < 597, "{erased}");
}

#[test]
fn colours_change_as_by_torchvision() {
    // One pixel: contrast and saturation move about its own grey.
    let mut data = sample(1);
    data.inputs = Inputs::pictures(vec![200, 100, 50], 3);
    data.sample_shape = vec![3, 1, 1];
    let levels = [200.0 / 255.0, 100.0 / 255.0, 50.0 / 255.0f32];
    let grey: f32 = levels.iter().zip(BRIGHTNESS).map(|(level, part)| level * part).sum();
    let (mut low, mut high) = (f32::MAX, f32::MIN);
    for visit in 0..500 {
        let bright = changed(&data, Augmentation { brightness: 0.4, ..Augmentation::default() }, visit, &[0]);
        let factor = bright[2] / levels[2];
        (low, high) = (low.min(factor), high.max(factor));
        for (found, level) in bright.iter().zip(levels) {
            assert!((found - (level * factor).min(1.0)).abs() < 1e-6);
        }
        for change in [
            Augmentation { contrast: 0.4, ..Augmentation::default() },
            Augmentation { saturation: 0.4, ..Augmentation::default() },
        ] {
            let found = changed(&data, change, visit, &[0]);
            let factor = (found[2] - grey) / (levels[2] - grey);
            assert!((0.599..1.401).contains(&factor), "{factor}");
            assert!((found[0] - (grey + factor * (levels[0] - grey)).min(1.0)).abs() < 1e-5);
            assert!((found[1] - (grey + factor * (levels[1] - grey))).abs() < 1e-5);
        }
    }
    assert!((0.6..0.61).contains(&low) && (1.39..1.4).contains(&high), "{low} {high}");
}

#[test]
fn hues_turn_as_in_pythons_colorsys() {
    for (colour, turn, expected) in [
        ([0.2, 0.5, 0.9], 1.0 / 3.0, [0.9, 0.2, 0.5]),
        ([0.2, 0.5, 0.9], 0.5, [0.9, 0.6, 0.2]),
        ([0.2, 0.5, 0.9], -0.2, [0.2, 0.9, 0.46]),
        ([0.8, 0.1, 0.1], 0.5, [0.1, 0.8, 0.8]),
        ([0.8, 0.1, 0.1], -0.2, [0.66, 0.1, 0.8]),
        ([0.3, 0.3, 0.3], 0.5, [0.3, 0.3, 0.3]),
    ] {
        let found = turn_hue(colour, turn);
        assert!(found.iter().zip(expected).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-6), "{colour:?}: {found:?}");
    }
    // Drawn after the others, so that what they draw stays.
    let (data, both) = (sample(1), Augmentation { hue: 0.5, ..everything() });
    let turned: Vec<Vec<f32>> = (0..8).map(|visit| changed(&data, both.clone(), visit, &[0])).collect();
    let others: Vec<Vec<f32>> = (0..8).map(|visit| changed(&data, everything(), visit, &[0])).collect();
    assert!(turned.iter().zip(&others).all(|(turned, other)| turned != other));
    let largest = |numbers: &[f32], pixel: usize| numbers[pixel].max(numbers[64 + pixel]).max(numbers[128 + pixel]);
    for (turned, other) in turned.iter().zip(&others) {
        assert!((0..64).all(|pixel| (largest(turned, pixel) - largest(other, pixel)).abs() < 1e-6));
    }
}

#[test]
fn contrast_is_about_the_pictures_mean() {
    let mut data = sample(1);
    data.inputs = Inputs::pictures(vec![0, 51, 102, 255], 1);
    data.sample_shape = vec![1, 2, 2];
    let found = changed(&data, Augmentation { contrast: 0.2, ..Augmentation::default() }, 1, &[0]);
    let factor = (found[2] - found[1]) / 0.2;
    let mean = 0.4;
    for (found, level) in found.iter().zip([0.0, 0.2, 0.4, 1.0f32]) {
        assert!((found - (mean + factor * (level - mean)).clamp(0.0, 1.0)).abs() < 1e-6);
    }
}

#[test]
fn turned_pictures_keep_their_centre_and_turn_either_way() {
    // A line from the centre to the right, in a picture of numbers.
    let mut line = vec![0.0; 81];
    line[4 * 9 + 4..4 * 9 + 9].fill(1.0);
    let data = Dataset {
        name: "line".into(),
        inputs: Inputs::F32(line),
        sample_shape: vec![9, 9],
        targets: Targets::Values { values: vec![0.0], width: 1 },
        augmentation: None,
    };
    let (mut up, mut down) = (0, 0);
    for visit in 0..200 {
        let turned = changed(&data, Augmentation { rotation: 45.0, ..Augmentation::default() }, visit, &[0]);
        assert!((turned[4 * 9 + 4] - 1.0).abs() < 1e-5, "the centre stays");
        let sum = |lines: std::ops::Range<usize>| turned[lines.start * 9..lines.end * 9].iter().sum::<f32>();
        if sum(0..4) > sum(5..9) {
            up += 1
        } else {
            down += 1
        }
        // No more than 45 degrees: nothing on the left but what bilinear sampling smears.
        assert!(turned.chunks(9).all(|line| line[..3].iter().all(|&number| number == 0.0)));
        let zoomed = changed(&data, Augmentation { zoom: 0.5, ..Augmentation::default() }, visit, &[0]);
        let length: f32 = zoomed[36..45].iter().sum();
        assert!((1.5..=5.6).contains(&length), "{length}");
    }
    assert!(up > 60 && down > 60, "{up} {down}");
    // A turn of nothing is no change.
    let turn = Turn { sine: 0.0, cosine: 1.0, down: 1.0, right: -1.0 };
    let source: Vec<f32> = (1..=6).map(|value| value as f32).collect();
    let mut target = vec![9.0; 6];
    turn.sample([2, 3], &source, &mut target);
    assert_eq!(target, [0.0, 4.0, 5.0, 0.0, 0.0, 0.0]);
}

#[test]
fn changes_that_cannot_be_made_are_refused() {
    let none = Augmentation::default;
    let refused = |data: &Dataset, augmentation: Augmentation, part: &str| {
        let message = data.clone().with_augmentation(augmentation.clone()).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
        let data = Dataset { augmentation: Some(augmentation), ..data.clone() };
        assert_eq!(data.validate().unwrap_err().to_string(), message);
    };
    let pictures = sample(2);
    refused(&pictures, Augmentation { erase: 1.5, ..none() }, "erase = 1.5");
    refused(&pictures, Augmentation { contrast: f32::NAN, ..none() }, "contrast = NaN");
    refused(&pictures, Augmentation { rotation: -1.0, ..none() }, "rotation = -1");
    refused(&pictures, Augmentation { crop_padding: 8, ..none() }, "crop_padding = 8");
    let grey = Dataset { inputs: Inputs::pictures(vec![0; 384], 1), sample_shape: vec![1, 8, 24], ..pictures.clone() };
    refused(&grey, Augmentation { saturation: 0.1, ..none() }, "saturation");
    refused(&grey, Augmentation { hue: 0.1, ..none() }, "hue");
    refused(&sample(1), Augmentation { hue: 0.6, ..none() }, "0.5");
    let numbers = Dataset { inputs: Inputs::F32(vec![0.0; 384]), ..pictures.clone() };
    refused(&numbers, Augmentation { brightness: 0.1, ..none() }, "bytes");
    let flat = Dataset { sample_shape: vec![192], ..numbers };
    refused(&flat, none(), "no pictures");
    let maps = Targets::ClassMaps { labels: vec![0; 128], size: 64, names: vec!["a".into()] };
    let maps = Dataset { targets: maps, ..pictures };
    refused(&maps, Augmentation { flip: true, ..none() }, "each pixel");
    assert!(maps.with_augmentation(Augmentation { brightness: 0.1, erase: 0.1, ..none() }).is_ok());
}
