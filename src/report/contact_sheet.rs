//! A sheet of pictures in a report, with captions, and borders that tell right from wrong.

use super::canvas::{Canvas, Colour, FAINT_INK, Font, GRID, INK};
use super::{Picture, Tile};

const MARGIN: i32 = 20;
const GAP: i32 = 8;
/// The sheet is about this many pixels wide.
const WIDTH: i32 = 1000;
/// A picture is enlarged (or shrunk) to about this many pixels.
const PICTURE: i32 = 72;
const BORDER: i32 = 4;
/// Captions wider than this are shortened.
const CAPTION: i32 = 180;
/// More tiles than this would make the sheet too long to look at.
const TILES: usize = 120;

const GREEN: Colour = [29, 128, 85];
const RED: Colour = [200, 40, 45];

/// Draws the first 120 `tiles`, with a green border where the model was right and a red one where it was wrong.
pub(super) fn draw(tiles: &[Tile]) -> Canvas {
    let given = tiles.len();
    let tiles = &tiles[..given.min(TILES)];
    let line = Font::Plain.height();
    let captions: Vec<Vec<String>> = tiles
        .iter()
        .map(|tile| tile.captions.iter().map(|caption| Font::Plain.fit(caption, CAPTION)).collect())
        .collect();
    let sizes: Vec<[i32; 2]> = tiles.iter().map(tile_size).collect();
    let lines = captions.iter().map(Vec::len).max().unwrap_or(0) as i32;
    let caption_width = captions.iter().flatten().map(|text| Font::Plain.width(text)).max().unwrap_or(0);
    let picture_width = sizes.iter().map(|size| size[0]).max().unwrap_or(1);
    let picture_height = sizes.iter().map(|size| size[1]).max().unwrap_or(1);
    let tile_width = (picture_width + 2 * BORDER).max(caption_width) + 2 * GAP;
    let tile_height = picture_height + 2 * BORDER + GAP / 2 + lines * line + 2 * GAP;
    let mut legend = Vec::new();
    if tiles.iter().any(|tile| tile.right.is_some()) {
        legend.extend([("green border: right".to_owned(), GREEN), ("red border: wrong".to_owned(), RED)]);
    }
    if given > TILES {
        legend.push((format!("the first {TILES} of {given}"), FAINT_INK));
    }
    let legend_width: i32 = legend.iter().map(|(text, _)| Font::Plain.width(text) + 4 * GAP).sum();
    let columns = ((WIDTH - 2 * MARGIN) / tile_width).clamp(1, tiles.len().max(1) as i32);
    let rows = (tiles.len() as i32 + columns - 1) / columns;
    let width = (columns * tile_width).max(legend_width) + 2 * MARGIN;
    let top = if legend.is_empty() { MARGIN } else { MARGIN + line + 2 * GAP };
    let mut canvas = Canvas::new(width, top + rows * tile_height + MARGIN);
    let mut left = MARGIN;
    for (text, colour) in &legend {
        canvas.text(left, MARGIN, text, Font::Plain, *colour);
        left += Font::Plain.width(text) + 4 * GAP;
    }

    for (index, ((tile, captions), size)) in tiles.iter().zip(&captions).zip(&sizes).enumerate() {
        let tile_left = MARGIN + (index as i32 % columns) * tile_width;
        let tile_top = top + (index as i32 / columns) * tile_height;
        let left = tile_left + (tile_width - size[0] - 2 * BORDER) / 2;
        let colour = tile.right.map_or(GRID, |right| if right { GREEN } else { RED });
        canvas.rectangle(left, tile_top, size[0] + 2 * BORDER, size[1] + 2 * BORDER, colour);
        let mut across = left + BORDER;
        for picture in &tile.pictures {
            let shown = shown_size(picture);
            draw_picture(&mut canvas, across, tile_top + BORDER, picture, shown);
            across += shown[0] + BORDER;
        }
        let below = tile_top + picture_height + 2 * BORDER + GAP / 2;
        for (row, text) in captions.iter().enumerate() {
            let colour = match (row, tile.right) {
                (1.., Some(false)) => RED,
                (0, Some(_)) => FAINT_INK,
                _ => INK,
            };
            let x = tile_left + (tile_width - Font::Plain.width(text)) / 2;
            canvas.text(x, below + row as i32 * line, text, Font::Plain, colour);
        }
    }
    canvas
}

/// Width and height of a tile's pictures side by side.
fn tile_size(tile: &Tile) -> [i32; 2] {
    let sizes: Vec<[i32; 2]> = tile.pictures.iter().map(shown_size).collect();
    let gaps = BORDER * (sizes.len().max(1) as i32 - 1);
    [sizes.iter().map(|size| size[0]).sum::<i32>().max(1) + gaps, sizes.iter().map(|size| size[1]).max().unwrap_or(1)]
}

/// Width and height on the sheet: a whole multiple of small pictures, so that pixels stay square.
fn shown_size(picture: &Picture) -> [i32; 2] {
    let longest = picture.width.max(picture.height).max(1);
    let shown = |size: usize| {
        if longest <= PICTURE as usize {
            (size.max(1) * (PICTURE as usize / longest)) as i32
        } else {
            ((size * PICTURE as usize / longest) as i32).max(1)
        }
    };
    [shown(picture.width), shown(picture.height)]
}

fn draw_picture(canvas: &mut Canvas, left: i32, top: i32, picture: &Picture, size: [i32; 2]) {
    for y in 0..size[1] {
        for x in 0..size[0] {
            let column = x as usize * picture.width / size[0] as usize;
            let row = y as usize * picture.height / size[1] as usize;
            // A pixel that is missing is paper.
            let colour = picture.pixels.get(row * picture.width + column).copied().unwrap_or([255; 3]);
            canvas.rectangle(left + x, top + y, 1, 1, colour);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::canvas::WHITE;
    use super::*;

    const BLUE: Colour = [0, 0, 200];

    fn tile(right: Option<bool>) -> Tile {
        let picture = Picture { pixels: vec![BLUE, WHITE, WHITE, BLUE], width: 2, height: 2 };
        Tile { pictures: vec![picture], captions: vec!["true a".into(), "got b".into()], right }
    }

    fn has(canvas: &Canvas, colour: Colour) -> bool {
        // Below the legend, whose text has both colours.
        (44..120).any(|y| (0..canvas.width()).any(|x| canvas.pixel(x, y) == colour))
    }

    #[test]
    fn borders_tell_right_from_wrong() {
        let canvas = draw(&[tile(Some(true))]);
        assert!(has(&canvas, GREEN) && !has(&canvas, RED));
        let canvas = draw(&[tile(Some(false))]);
        assert!(has(&canvas, RED) && !has(&canvas, GREEN));
        assert!(has(&draw(&[tile(Some(false)), tile(Some(true))]), GREEN));
        let canvas = draw(&[tile(None)]);
        assert!(!has(&canvas, GREEN) && !has(&canvas, RED) && has(&canvas, GRID));
    }

    #[test]
    fn pixels_keep_their_places() {
        let mut canvas = Canvas::new(20, 20);
        draw_picture(&mut canvas, 2, 2, &tile(None).pictures[0], [16, 16]);
        assert_eq!(canvas.pixel(4, 4), BLUE);
        assert_eq!(canvas.pixel(14, 4), WHITE);
        assert_eq!(canvas.pixel(4, 14), WHITE);
        assert_eq!(canvas.pixel(14, 14), BLUE);
    }

    #[test]
    fn sizes_are_whole_multiples_or_shrunk() {
        let picture = |width, height| Picture { width, height, ..Picture::default() };
        assert_eq!(shown_size(&picture(8, 8)), [72, 72]);
        assert_eq!(shown_size(&picture(28, 28)), [56, 56]);
        assert_eq!(shown_size(&picture(224, 112)), [72, 36]);
        assert_eq!(shown_size(&picture(0, 0)), [72, 72]);
        let two = Tile { pictures: vec![picture(8, 8), picture(8, 8)], ..Tile::default() };
        assert_eq!(tile_size(&two), [72 + BORDER + 72, 72]);
    }

    #[test]
    fn pictures_with_missing_pixels_do_no_harm() {
        let mut bad = tile(Some(true));
        bad.pictures[0].pixels.clear();
        let canvas = draw(&[bad, Tile::default()]);
        assert!(canvas.width() > 100);
    }
}
