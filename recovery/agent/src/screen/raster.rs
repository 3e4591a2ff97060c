//! Rectangles, colours and letters, and how they become a line of pixels.
//!
//! Letters are Spleen's bitmaps of 16 x 32, each of their pixels drawn as a square of whole pixels: crisp at any size.
//!
//! Nothing here knows what it draws, and nothing is drawn outside of a picture's size.

use std::ops::Range;

use spleen_font::{FONT_16X32, PSF2Font};

/// A letter's width and height at scale 1.
pub const CELL: (usize, usize) = (16, 32);
/// Bytes of a letter's line.
const CELL_STRIDE: usize = CELL.0 / 8;

/// Red, green, blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rgb(pub u8, pub u8, pub u8);

/// Width and height in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Columns.
    pub width: usize,
    /// Lines.
    pub height: usize,
}

/// A part of the picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rect {
    /// Columns.
    pub x: Range<usize>,
    /// Lines.
    pub y: Range<usize>,
}

/// What fills an item's rectangle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Paint {
    /// One colour.
    Fill(Rgb),
    /// Two colours in slanting stripes so wide.
    Stripes(Rgb, Rgb, usize),
    /// One line of letters at a scale, ink on ground.
    Text {
        /// Their bitmaps.
        letters: Vec<&'static [u8]>,
        /// Pixels to a pixel of a letter.
        scale: usize,
        /// Colour of the letters.
        ink: Rgb,
        /// Colour behind them.
        ground: Rgb,
    },
}

/// One thing in the picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Where.
    pub at: Rect,
    /// What.
    pub paint: Paint,
}

/// The letters.
pub struct Font(PSF2Font<'static>);

impl Font {
    /// The one that is built in; `None` never happens with it.
    pub fn built_in() -> Option<Self> {
        let font = PSF2Font::new(FONT_16X32).ok()?;
        let fits = (font.width as usize, font.height as usize) == CELL
            && font.bytes_per_glyph as usize == CELL_STRIDE * CELL.1;
        fits.then_some(Self(font))
    }

    /// The bitmaps of `text`; what the font lacks is a question mark, and so is what shares its bitmap with another letter beyond
    /// ASCII (`Å`, `►`): `spleen-font` 0.2 does not find those.
    pub fn letters(&mut self, text: &str) -> Vec<&'static [u8]> {
        let letter = |c: char| {
            let c = if c.is_control() { ' ' } else { c };
            let found = self.0.get_glyph_data(c.encode_utf8(&mut [0; 4]).as_bytes());
            found.or_else(|| self.0.get_glyph_data(b"?")).unwrap_or(&[])
        };
        text.chars().map(letter).collect()
    }
}

impl Item {
    /// Draws the item's part of line `y` into `line`, whose first pixel is column `from`.
    pub fn draw(&self, y: usize, from: usize, line: &mut [Rgb]) {
        let to = from + line.len();
        let (x0, x1) = (self.at.x.start.max(from), self.at.x.end.min(to));
        if !self.at.y.contains(&y) || x0 >= x1 {
            return;
        }
        let (dx, dy, line) = (x0 - self.at.x.start, y - self.at.y.start, &mut line[x0 - from..x1 - from]);
        match &self.paint {
            Paint::Fill(colour) => line.fill(*colour),
            Paint::Stripes(one, other, wide) => {
                for (at, pixel) in line.iter_mut().enumerate() {
                    *pixel = if ((dx + at + dy) / (*wide).max(1)).is_multiple_of(2) { *one } else { *other };
                }
            }
            Paint::Text { letters, scale, ink, ground } => {
                for (at, pixel) in line.iter_mut().enumerate() {
                    let (column, row) = ((dx + at) / scale, dy / scale);
                    let bits = letters
                        .get(column / CELL.0)
                        .and_then(|letter| letter.get(row * CELL_STRIDE + column % CELL.0 / 8));
                    let set = bits.is_some_and(|bits| bits & (0x80 >> (column % 8)) != 0);
                    *pixel = if set { *ink } else { *ground };
                }
            }
        }
    }
}

/// Breaks `text` at spaces into lines of at most `columns` letters; a word that is longer is broken where it must be.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(1);
    let (mut lines, mut line, mut len) = (Vec::new(), String::new(), 0);
    for word in text.split_whitespace() {
        let word: Vec<char> = word.chars().collect();
        if len > 0 && len + 1 + word.len() > columns {
            lines.push(std::mem::take(&mut line));
            len = 0;
        }
        for (at, c) in word.into_iter().enumerate() {
            if at == 0 && len > 0 {
                line.push(' ');
                len += 1;
            }
            if len == columns {
                lines.push(std::mem::take(&mut line));
                len = 0;
            }
            line.push(c);
            len += 1;
        }
    }
    if len > 0 {
        lines.push(line);
    }
    lines
}

/// The first `most` lines; where some are left out, the last ends in an ellipsis.
pub fn shorten(mut lines: Vec<String>, most: usize, columns: usize) -> Vec<String> {
    if lines.len() > most {
        lines.truncate(most);
        if let Some(last) = lines.last_mut() {
            *last = last.chars().take(columns.saturating_sub(1)).chain(['…']).collect();
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_wraps_at_words_and_breaks_only_what_must() {
        assert_eq!(wrap("the disk is  gone", 8), ["the disk", "is gone"]);
        assert_eq!(wrap("a 0123456789abc b", 5), ["a", "01234", "56789", "abc b"]);
        assert_eq!(wrap("  ", 5), Vec::<String>::new());
        assert_eq!(shorten(wrap("aa bb cc", 2), 2, 2), ["aa", "b…"]);
    }

    #[test]
    fn letters_are_squares_of_whole_pixels() {
        let mut font = Font::built_in().unwrap();
        let (one, two) = (pixels(&mut font, 1), pixels(&mut font, 2));
        for (at, pixel) in two.iter().enumerate() {
            let (x, y) = (at % 32, at / 32);
            assert_eq!(*pixel, one[y / 2 * 16 + x / 2]);
        }
        assert!(one.contains(&Rgb(1, 1, 1)) && one.contains(&Rgb(0, 0, 0)));
    }

    fn pixels(font: &mut Font, scale: usize) -> Vec<Rgb> {
        let (width, height) = (CELL.0 * scale, CELL.1 * scale);
        let (ink, ground) = (Rgb(1, 1, 1), Rgb(0, 0, 0));
        let paint = Paint::Text { letters: font.letters("E"), scale, ink, ground };
        let item = Item { at: Rect { x: 0..width, y: 0..height }, paint };
        let mut all = vec![Rgb(9, 9, 9); width * height];
        all.chunks_mut(width).enumerate().for_each(|(y, line)| item.draw(y, 0, line));
        all
    }

    #[test]
    fn what_the_font_lacks_is_a_question_mark() {
        let mut font = Font::built_in().unwrap();
        assert_eq!(font.letters("漢\u{1b}"), font.letters("? "));
        assert_ne!(font.letters("ü"), font.letters("?"));
    }
}
