//! The confusion matrix of a report, as a heat map with counts.

use super::canvas::{Canvas, Colour, FAINT_INK, Font, INK, WHITE};
use super::chart::draw_title;

const MARGIN: i32 = 20;
const GAP: i32 = 8;
/// Class names longer than this many pixels are shortened.
const NAME_WIDTH: i32 = 200;
/// With more classes than this the cells are too small for counts.
const COUNTED: usize = 30;
/// The matrix is about this many pixels wide where its counts allow.
const SIZE: i32 = 560;

const PALE: Colour = [240, 244, 249];
const RIGHT: Colour = [24, 95, 165];
const WRONG: Colour = [196, 72, 20];

/// Draws `counts[true class][predicted class]`; a missing count is 0.
///
/// The diagonal (right) is blue, the rest (wrong) orange; the darker, the larger the share of the true
/// class, so that rare classes are as visible as frequent ones.
pub(super) fn draw(names: &[String], counts: &[Vec<u32>]) -> Canvas {
    let line = Font::Plain.height();
    let classes = names.len().max(1) as i32;
    let names: Vec<String> = names.iter().map(|name| Font::Plain.fit(name, NAME_WIDTH)).collect();
    let name_width = widest(names.iter());
    let counted = names.len() <= COUNTED;
    let mut cell = (SIZE / classes).clamp(2, 72);
    if counted {
        let count_width = widest(counts.iter().flatten().map(u32::to_string));
        cell = cell.max(count_width + GAP).max(line + 4);
    }
    // Names stand upright below the columns unless each fits under its own.
    let level = name_width + GAP <= cell;
    let names_below = if level { line } else { name_width };
    // Not every name has room where cells are smaller than a line.
    let every = ((line + 2) / cell + 1).min(classes).max(1) as usize;
    let every = if cell >= line + 2 { 1 } else { every };

    let size = cell * classes;
    let left = MARGIN + line + GAP + name_width + GAP;
    let width = (left + size + MARGIN).max(2 * MARGIN + Font::Title.width(TITLE));
    let top = MARGIN + Font::Title.height() + 2 * GAP;
    let height = top + size + GAP + names_below + GAP + line + MARGIN;
    let mut canvas = Canvas::new(width, height);
    draw_title(&mut canvas, TITLE);

    for (row, row_name) in names.iter().enumerate() {
        let total: u64 = counts.get(row).map_or(0, |row| row.iter().map(|&n| u64::from(n)).sum());
        let y = top + row as i32 * cell;
        for column in 0..names.len() {
            let count = counts.get(row).and_then(|row| row.get(column)).copied();
            let count = count.unwrap_or(0);
            let share = f64::from(count) / total.max(1) as f64;
            let x = left + column as i32 * cell;
            let border = i32::from(cell > 6);
            let colour = shade(share, row == column);
            canvas.rectangle(x, y, cell - border, cell - border, colour);
            if counted && (count > 0 || row == column) {
                let text = count.to_string();
                let x = x + (cell - border - Font::Plain.width(&text)) / 2;
                let ink = if share > 0.45 { WHITE } else { INK };
                canvas.text(x, y + (cell - border - line) / 2, &text, Font::Plain, ink);
            }
        }
        if row % every == 0 {
            let x = left - GAP - Font::Plain.width(row_name);
            canvas.text(x, y + (cell - line) / 2, row_name, Font::Plain, INK);
            let x = left + row as i32 * cell;
            let y = top + size + GAP;
            if level {
                let x = x + (cell - Font::Plain.width(row_name)) / 2;
                canvas.text(x, y, row_name, Font::Plain, INK);
            } else {
                let y = y + Font::Plain.width(row_name);
                canvas.text_upwards(x + (cell - line) / 2, y, row_name, Font::Plain, INK);
            }
        }
    }
    let x = left + (size - Font::Plain.width(COLUMNS)) / 2;
    let y = top + size + GAP + names_below + GAP;
    canvas.text(x, y, COLUMNS, Font::Plain, FAINT_INK);
    let y = top + (size + Font::Plain.width(ROWS)) / 2;
    canvas.text_upwards(MARGIN - GAP, y, ROWS, Font::Plain, FAINT_INK);
    canvas
}

const TITLE: &str = "Confusion matrix";
const ROWS: &str = "true";
const COLUMNS: &str = "predicted";

fn widest(texts: impl Iterator<Item = impl AsRef<str>>) -> i32 {
    texts.map(|text| Font::Plain.width(text.as_ref())).max().unwrap_or(0)
}

/// From pale (none of the row) to full colour (all of it).
fn shade(share: f64, right: bool) -> Colour {
    let full = if right { RIGHT } else { WRONG };
    // The square root lets a few mistakes among many right answers be seen.
    let part = if right { share } else { share.sqrt() };
    std::array::from_fn(|channel| {
        let (from, to) = (f64::from(PALE[channel]), f64::from(full[channel]));
        (from + part * (to - from)).round() as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shades_run_from_pale_to_full() {
        assert_eq!(shade(0.0, true), PALE);
        assert_eq!(shade(0.0, false), PALE);
        assert_eq!(shade(1.0, true), RIGHT);
        assert_eq!(shade(1.0, false), WRONG);
    }

    #[test]
    fn counts_are_written_where_there_is_room() {
        let names: Vec<String> = (0..3).map(|class| class.to_string()).collect();
        let counts = vec![vec![501, 2, 0], vec![0, 502, 0], vec![7, 0, 503]];
        let canvas = draw(&names, &counts);
        let texts: Vec<&str> = canvas.text_boxes.iter().map(|(_, text)| text.as_str()).collect();
        for text in ["501", "502", "503", "2", "7", "true", "predicted"] {
            assert!(texts.contains(&text), "{text}");
        }
        let many: Vec<String> = (0..100).map(|class| class.to_string()).collect();
        let canvas = draw(&many, &vec![vec![12_345; 100]; 100]);
        assert!(!canvas.text_boxes.iter().any(|(_, text)| text == "12345"));
    }
}
