//! The contact sheet of a report: pictures with their true and predicted classes.

use super::Example;
use super::canvas::{Canvas, Colour, FAINT_INK, Font, INK};

const MARGIN: i32 = 20;
const GAP: i32 = 8;
/// The sheet is about this many pixels wide.
const WIDTH: i32 = 1000;
/// A picture is enlarged (or shrunk) to about this many pixels.
const PICTURE: i32 = 72;
const BORDER: i32 = 4;
/// Captions wider than this are shortened.
const CAPTION: i32 = 180;
/// More pictures than this would make the sheet too long to look at.
const PICTURES: usize = 120;

const GREEN: Colour = [29, 128, 85];
const RED: Colour = [200, 40, 45];

/// Draws the first 120 `examples`, with a green border where the model was right and a red one where
/// it was wrong.
pub(super) fn draw(examples: &[Example]) -> Canvas {
    let given = examples.len();
    let examples = &examples[..given.min(PICTURES)];
    let line = Font::Plain.height();
    let captions: Vec<[String; 2]> = examples
        .iter()
        .map(|example| {
            [
                Font::Plain.fit(&format!("true {}", example.truth), CAPTION),
                Font::Plain.fit(&format!("got {}", example.predicted), CAPTION),
            ]
        })
        .collect();
    let sizes: Vec<[i32; 2]> = examples.iter().map(shown_size).collect();
    let caption_width = captions.iter().flatten().map(|text| Font::Plain.width(text)).max();
    let picture_width = sizes.iter().map(|size| size[0]).max().unwrap_or(1);
    let picture_height = sizes.iter().map(|size| size[1]).max().unwrap_or(1);
    let tile_width = (picture_width + 2 * BORDER).max(caption_width.unwrap_or(0)) + 2 * GAP;
    let tile_height = picture_height + 2 * BORDER + GAP / 2 + 2 * line + 2 * GAP;
    let mut legend = vec![("green border: right".to_owned(), GREEN), ("red border: wrong".to_owned(), RED)];
    if given > PICTURES {
        legend.push((format!("the first {PICTURES} of {given}"), FAINT_INK));
    }
    let legend_width: i32 = legend.iter().map(|(text, _)| Font::Plain.width(text) + 4 * GAP).sum();
    let columns = ((WIDTH - 2 * MARGIN) / tile_width).clamp(1, examples.len().max(1) as i32);
    let rows = (examples.len() as i32 + columns - 1) / columns;
    let width = (columns * tile_width).max(legend_width) + 2 * MARGIN;
    let top = MARGIN + line + 2 * GAP;
    let mut canvas = Canvas::new(width, top + rows * tile_height + MARGIN);
    let mut left = MARGIN;
    for (text, colour) in &legend {
        canvas.text(left, MARGIN, text, Font::Plain, *colour);
        left += Font::Plain.width(text) + 4 * GAP;
    }

    for (index, ((example, caption), size)) in examples.iter().zip(&captions).zip(&sizes).enumerate() {
        let tile_left = MARGIN + (index as i32 % columns) * tile_width;
        let tile_top = top + (index as i32 / columns) * tile_height;
        let left = tile_left + (tile_width - size[0] - 2 * BORDER) / 2;
        let is_right = example.truth == example.predicted;
        let colour = if is_right { GREEN } else { RED };
        let (outer_width, outer_height) = (size[0] + 2 * BORDER, size[1] + 2 * BORDER);
        canvas.rectangle(left, tile_top, outer_width, outer_height, colour);
        draw_picture(&mut canvas, left + BORDER, tile_top + BORDER, example, *size);
        let below = tile_top + picture_height + 2 * BORDER + GAP / 2;
        let predicted_colour = if is_right { INK } else { RED };
        for (row, (text, colour)) in caption.iter().zip([FAINT_INK, predicted_colour]).enumerate() {
            let x = tile_left + (tile_width - Font::Plain.width(text)) / 2;
            canvas.text(x, below + row as i32 * line, text, Font::Plain, colour);
        }
    }
    canvas
}

/// Width and height on the sheet: a whole multiple of small pictures, so that pixels stay square.
fn shown_size(example: &Example) -> [i32; 2] {
    let longest = example.width.max(example.height).max(1);
    let shown = |size: usize| {
        if longest <= PICTURE as usize {
            (size.max(1) * (PICTURE as usize / longest)) as i32
        } else {
            ((size * PICTURE as usize / longest) as i32).max(1)
        }
    };
    [shown(example.width), shown(example.height)]
}

fn draw_picture(canvas: &mut Canvas, left: i32, top: i32, example: &Example, size: [i32; 2]) {
    for y in 0..size[1] {
        for x in 0..size[0] {
            let column = x as usize * example.width / size[0] as usize;
            let row = y as usize * example.height / size[1] as usize;
            // A pixel that is missing or NaN is paper.
            let ink = example.pixels.get(row * example.width + column).copied();
            let grey = (255.0 * (1.0 - ink.unwrap_or(0.0).clamp(0.0, 1.0))).round();
            let grey = if grey.is_nan() { 255 } else { grey as u8 };
            canvas.rectangle(left + x, top + y, 1, 1, [grey; 3]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::canvas::WHITE;
    use super::*;

    fn example(predicted: &str) -> Example {
        Example {
            pixels: vec![1.0, 0.0, 0.0, 1.0],
            width: 2,
            height: 2,
            truth: "a".into(),
            predicted: predicted.into(),
        }
    }

    #[test]
    fn borders_tell_right_from_wrong() {
        let has = |canvas: &Canvas, colour| {
            // Below the legend, whose text has both colours.
            (44..120).any(|y| (0..canvas.width()).any(|x| canvas.pixel(x, y) == colour))
        };
        let canvas = draw(&[example("a")]);
        assert!(has(&canvas, GREEN) && !has(&canvas, RED));
        let canvas = draw(&[example("b")]);
        assert!(has(&canvas, RED) && !has(&canvas, GREEN));
        assert!(has(&draw(&[example("b"), example("a")]), GREEN));
    }

    #[test]
    fn pixels_keep_their_places() {
        let mut canvas = Canvas::new(20, 20);
        draw_picture(&mut canvas, 2, 2, &example("a"), [16, 16]);
        assert_eq!(canvas.pixel(4, 4), [0; 3]);
        assert_eq!(canvas.pixel(14, 4), WHITE);
        assert_eq!(canvas.pixel(4, 14), WHITE);
        assert_eq!(canvas.pixel(14, 14), [0; 3]);
    }

    #[test]
    fn sizes_are_whole_multiples_or_shrunk() {
        let size = |width, height| shown_size(&Example { width, height, ..Example::default() });
        assert_eq!(size(8, 8), [72, 72]);
        assert_eq!(size(28, 28), [56, 56]);
        assert_eq!(size(224, 112), [72, 36]);
        assert_eq!(size(0, 0), [72, 72]);
    }

    #[test]
    fn pictures_with_missing_pixels_do_no_harm() {
        let mut bad = example("a");
        bad.pixels = vec![f32::NAN];
        let canvas = draw(&[bad, Example::default()]);
        assert!(canvas.width() > 100);
    }
}
