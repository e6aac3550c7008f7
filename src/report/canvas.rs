//! A raster picture to draw on: rectangles, smooth lines, text; saved as PNG.

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

/// Red, green, blue.
pub(super) type Colour = [u8; 3];

pub(super) const WHITE: Colour = [255, 255, 255];
pub(super) const INK: Colour = [31, 36, 42];
pub(super) const FAINT_INK: Colour = [92, 99, 108];
pub(super) const GRID: Colour = [228, 231, 235];

/// How text looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Font {
    /// 20 pixels high.
    Plain,
    /// 24 pixels high, bold.
    Title,
}

impl Font {
    fn raster(self) -> (FontWeight, RasterHeight) {
        match self {
            Self::Plain => (FontWeight::Regular, RasterHeight::Size20),
            Self::Title => (FontWeight::Bold, RasterHeight::Size24),
        }
    }

    /// Pixels from one line's top to its bottom.
    pub(super) fn height(self) -> i32 {
        self.raster().1.val() as i32
    }

    /// Pixels that `text` takes from left to right.
    pub(super) fn width(self, text: &str) -> i32 {
        let (weight, height) = self.raster();
        text.chars().count() as i32 * get_raster_width(weight, height) as i32
    }

    /// `text`, or its beginning, "..." and its end where it is wider than `width` pixels: what tells
    /// long names apart is often at their end.
    pub(super) fn fit(self, text: &str, width: i32) -> String {
        if self.width(text) <= width {
            return text.to_owned();
        }
        let characters: Vec<char> = text.chars().collect();
        let room = (width / self.width("x")).max(0) as usize;
        let Some(kept) = room.checked_sub(3) else {
            return characters.into_iter().take(room).collect();
        };
        let (head, tail) = (kept.div_ceil(2), characters.len() - kept / 2);
        let parts = [&characters[..head], &['.'; 3], &characters[tail..]];
        parts.into_iter().flatten().collect()
    }
}

/// Where text was put: left, top, right, bottom.
#[cfg(test)]
pub(super) type TextBox = (i32, i32, i32, i32);

/// A picture; (0, 0) is its top left pixel. What lies outside is not drawn.
pub(super) struct Canvas {
    width: i32,
    height: i32,
    pixels: Vec<Colour>,
    /// Lets tests find text that overlaps or is cut.
    #[cfg(test)]
    pub(super) text_boxes: Vec<(TextBox, String)>,
}

impl Canvas {
    /// A white picture.
    pub(super) fn new(width: i32, height: i32) -> Self {
        let (width, height) = (width.max(1), height.max(1));
        Self {
            width,
            height,
            pixels: vec![WHITE; width as usize * height as usize],
            #[cfg(test)]
            text_boxes: Vec::new(),
        }
    }

    /// Pixels from left to right.
    pub(super) fn width(&self) -> i32 {
        self.width
    }

    /// Mixes `colour` into a pixel; `coverage` is from 0 (nothing) to 1 (all).
    fn blend(&mut self, x: i32, y: i32, colour: Colour, coverage: f32) {
        if (0..self.width).contains(&x) && (0..self.height).contains(&y) {
            let pixel = &mut self.pixels[(y * self.width + x) as usize];
            for (old, new) in pixel.iter_mut().zip(colour) {
                let mixed = f32::from(*old) + coverage * (f32::from(new) - f32::from(*old));
                *old = mixed.round().clamp(0.0, 255.0) as u8;
            }
        }
    }

    /// A filled rectangle.
    pub(super) fn rectangle(&mut self, x: i32, y: i32, width: i32, height: i32, colour: Colour) {
        for y in y.max(0)..(y + height).min(self.height) {
            for x in x.max(0)..(x + width).min(self.width) {
                self.pixels[(y * self.width + x) as usize] = colour;
            }
        }
    }

    /// A smooth line with round ends; a line of no length is a dot.
    pub(super) fn line(&mut self, from: [f32; 2], to: [f32; 2], thickness: f32, colour: Colour) {
        let reach = thickness / 2.0 + 1.0;
        let bounds = |axis: usize, size: i32| {
            let low = (from[axis].min(to[axis]) - reach).floor().max(0.0) as i32;
            let high = (from[axis].max(to[axis]) + reach).ceil().min(size as f32) as i32;
            low..high
        };
        let along = [to[0] - from[0], to[1] - from[1]];
        let length_squared = along[0] * along[0] + along[1] * along[1];
        for y in bounds(1, self.height) {
            for x in bounds(0, self.width) {
                let offset = [x as f32 + 0.5 - from[0], y as f32 + 0.5 - from[1]];
                let part = if length_squared > 0.0 {
                    let projection = offset[0] * along[0] + offset[1] * along[1];
                    (projection / length_squared).clamp(0.0, 1.0)
                } else {
                    0.0
                };
                let distance = (offset[0] - part * along[0]).hypot(offset[1] - part * along[1]);
                let coverage = (thickness / 2.0 + 0.5 - distance).clamp(0.0, 1.0);
                if coverage > 0.0 {
                    self.blend(x, y, colour, coverage);
                }
            }
        }
    }

    /// A filled circle.
    pub(super) fn dot(&mut self, centre: [f32; 2], radius: f32, colour: Colour) {
        self.line(centre, centre, 2.0 * radius, colour);
    }

    /// Text whose top left corner is at (`x`, `y`).
    pub(super) fn text(&mut self, x: i32, y: i32, text: &str, font: Font, colour: Colour) {
        #[cfg(test)]
        self.text_boxes.push(((x, y, x + font.width(text), y + font.height()), text.to_owned()));
        self.glyphs(text, font, |canvas, column, row, coverage| {
            canvas.blend(x + column, y + row, colour, coverage);
        });
    }

    /// Text that reads upwards, whose bottom left corner (where it begins) is at (`x`, `y`).
    pub(super) fn text_upwards(&mut self, x: i32, y: i32, text: &str, font: Font, colour: Colour) {
        #[cfg(test)]
        self.text_boxes.push(((x, y - font.width(text), x + font.height(), y), text.to_owned()));
        self.glyphs(text, font, |canvas, column, row, coverage| {
            canvas.blend(x + row, y - 1 - column, colour, coverage);
        });
    }

    /// Calls `draw(self, column, row, coverage)` for each pixel of a line of text that has ink.
    fn glyphs(&mut self, text: &str, font: Font, draw: impl Fn(&mut Self, i32, i32, f32)) {
        let (weight, height) = font.raster();
        let advance = get_raster_width(weight, height) as i32;
        for (position, character) in text.chars().enumerate() {
            // The font lacks most scripts; a question mark shows that something stands there.
            let Some(glyph) = get_raster(character, weight, height).or_else(|| get_raster('?', weight, height)) else {
                continue;
            };
            for (row, line) in glyph.rows().enumerate() {
                for (column, &intensity) in line.iter().enumerate() {
                    if intensity > 0 {
                        let column = position as i32 * advance + column as i32;
                        draw(self, column, row as i32, f32::from(intensity) / 255.0);
                    }
                }
            }
        }
    }

    /// The picture as a PNG file, 8 bits each of red, green and blue.
    pub(super) fn png(&self) -> Result<Vec<u8>, png::EncodingError> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, self.width as u32, self.height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(self.pixels.as_flattened())?;
        writer.finish()?;
        Ok(file)
    }

    #[cfg(test)]
    pub(super) fn pixel(&self, x: i32, y: i32) -> Colour {
        self.pixels[(y * self.width + x) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_land_where_they_are_put_and_nothing_outside() {
        let mut canvas = Canvas::new(20, 10);
        canvas.rectangle(-5, -5, 8, 7, INK);
        assert_eq!(canvas.pixel(2, 1), INK);
        assert_eq!(canvas.pixel(3, 1), WHITE);
        assert_eq!(canvas.pixel(2, 2), WHITE);
        canvas.line([4.5, 5.5], [300.0, 5.5], 1.0, INK);
        assert_eq!(canvas.pixel(19, 5), INK);
        assert_eq!(canvas.pixel(3, 5), WHITE);
        assert_eq!(canvas.pixel(10, 7), WHITE);
        canvas.dot([10.0, 8.0], 1.0, INK);
        assert_ne!(canvas.pixel(10, 8), WHITE);
        canvas.text(15, 5, "a long text", Font::Title, INK);
    }

    #[test]
    fn text_upwards_is_the_text_turned() {
        let (mut level, mut upwards) = (Canvas::new(60, 60), Canvas::new(60, 60));
        level.text(3, 7, "Loß?", Font::Plain, INK);
        upwards.text_upwards(7, 57, "Loß?", Font::Plain, INK);
        let mut inked = 0;
        for y in 0..60 {
            for x in 0..60 {
                assert_eq!(level.pixel(x, y), upwards.pixel(y, 59 - x));
                inked += u32::from(level.pixel(x, y) != WHITE);
            }
        }
        assert!(inked > 50);
    }

    #[test]
    fn fit_keeps_what_fits() {
        let character = Font::Plain.width("x");
        assert_eq!(Font::Plain.fit("abcdef", 6 * character), "abcdef");
        assert_eq!(Font::Plain.fit("abcdefgh", 6 * character), "ab...h");
        assert_eq!(Font::Plain.fit("abcdefg", 2 * character), "ab");
    }

    #[test]
    fn a_png_decodes_to_the_same_pixels() {
        let mut canvas = Canvas::new(7, 3);
        canvas.rectangle(1, 1, 2, 1, [10, 200, 30]);
        let file = canvas.png().unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut bytes).unwrap();
        assert_eq!((info.width, info.height), (7, 3));
        assert_eq!(bytes, canvas.pixels.as_flattened());
        assert_eq!(bytes[3 * 8..3 * 9], [10, 200, 30]);
    }
}
