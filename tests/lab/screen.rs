//! What stands on an endpoint's own screen: a picture of it by QEMU's monitor, and whether a text is in it.
//!
//! A text is there when each of its letters is, pixel for pixel, as the recovery system's font draws it: squares of whole pixels, one colour
//! for the letters and one behind them. So nothing is guessed, and the size of the letters comes with the answer.
//!
//! It must never ask the agent what it drew.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use spleen_font::{FONT_16X32, PSF2Font};

/// A letter's width and height at scale 1.
const CELL: (usize, usize) = (16, 32);
/// The largest letters that are looked for, in pixels to a pixel of the font.
const SCALE_MAX: usize = 8;

type Rgb = [u8; 3];

/// A picture of a screen.
#[derive(Debug)]
pub struct Screen {
    width: usize,
    height: usize,
    pixels: Vec<Rgb>,
}

impl Screen {
    /// Reads what QEMU wrote: PPM, raw, 8 bits (ppm(5)).
    ///
    /// # Errors
    /// When it is none.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("no picture at {}", path.display()))?;
        Self::parse(&bytes).with_context(|| format!("{} is no picture", path.display()))
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        let mut rest = bytes;
        let mut word = || -> Result<String> {
            let end = rest.iter().position(u8::is_ascii_whitespace).context("it is cut short")?;
            let (word, more) = rest.split_at(end);
            rest = &more[1..];
            Ok(String::from_utf8(word.to_vec())?)
        };
        ensure!(word()? == "P6", "another format");
        let (width, height): (usize, usize) = (word()?.parse()?, word()?.parse()?);
        ensure!(word()? == "255", "other than 8 bits");
        let pixels: Vec<Rgb> = rest.as_chunks::<3>().0.to_vec();
        ensure!(
            width > 0 && Some(pixels.len()) == width.checked_mul(height),
            "{width} x {height} pixels are not there"
        );
        Ok(Self { width, height, pixels })
    }

    /// Height of the letters of `text` in thousandths of the screen's, where it stands there in one line; the largest, if it does twice.
    #[must_use]
    pub fn shows(&self, text: &str) -> Option<usize> {
        let letters = letters(text)?;
        (1..=SCALE_MAX)
            .rev()
            .find(|scale| self.has(&letters, *scale))
            .map(|scale| CELL.1 * scale * 1000 / self.height)
    }

    fn has(&self, letters: &[&[u8]], scale: usize) -> bool {
        let (wide, high) = (CELL.0 * scale * letters.len(), CELL.1 * scale);
        let (Some(right), Some(below)) = (self.width.checked_sub(wide), self.height.checked_sub(high)) else {
            return false;
        };
        let squares = squares(letters);
        // Ink beside ground: what tells at once that nothing is there.
        let edge = squares.windows(2).find(|pair| pair[0].2 != pair[1].2);
        let Some([one, other]) = edge.map(|pair| [pair[0], pair[1]]) else { return false };
        let at = |x: usize, y: usize, square: &Square| self.pixel(x + square.0 * scale, y + square.1 * scale);
        (0..=below).any(|y| {
            (0..=right).any(|x| {
                at(x, y, &one) != at(x, y, &other)
                    && self.has_at(&squares, 1, scale, (x, y))
                    && self.has_at(&squares, scale, scale, (x, y))
            })
        })
    }

    /// Whether each square has one colour for ink and one for ground, by its first pixel or by all `each` x `each` of them.
    fn has_at(&self, squares: &[Square], each: usize, scale: usize, (left, top): (usize, usize)) -> bool {
        let mut colours: [Option<Rgb>; 2] = [None, None];
        squares.iter().all(|(column, row, ink)| {
            (0..each * each).all(|at| {
                let pixel = self.pixel(left + column * scale + at % each, top + row * scale + at / each);
                *colours[usize::from(*ink)].get_or_insert(pixel) == pixel
            })
        })
    }

    fn pixel(&self, x: usize, y: usize) -> Rgb {
        self.pixels[y * self.width + x]
    }
}

/// Column and row in pixels of the font, and whether it is ink.
type Square = (usize, usize, bool);

/// A text in one line.
fn squares(letters: &[&[u8]]) -> Vec<Square> {
    let letter = |(at, bits): (usize, &&[u8])| -> Vec<Square> {
        let square = |n: usize| {
            let (column, row) = (n % CELL.0, n / CELL.0);
            (at * CELL.0 + column, row, bits[row * CELL.0 / 8 + column / 8] >> (7 - column % 8) & 1 == 1)
        };
        (0..CELL.0 * CELL.1).map(square).collect()
    };
    letters.iter().enumerate().flat_map(letter).collect()
}

/// The bitmaps of a text; none where the font lacks a letter.
fn letters(text: &str) -> Option<Vec<&'static [u8]>> {
    let mut font = PSF2Font::new(FONT_16X32).ok()?;
    text.chars().map(|letter| font.get_glyph_data(letter.encode_utf8(&mut [0; 4]).as_bytes())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(text: &str, scale: usize, (left, top): (usize, usize)) -> Vec<u8> {
        let (width, height) = (400, 240);
        let mut pixels = vec![[8, 12, 28]; width * height];
        for (at, bits) in letters(text).unwrap().iter().enumerate() {
            for dy in 0..CELL.1 * scale {
                for dx in 0..CELL.0 * scale {
                    let (column, row) = (dx / scale, dy / scale);
                    if bits[row * 2 + column / 8] >> (7 - column % 8) & 1 == 1 {
                        pixels[(top + dy) * width + left + at * CELL.0 * scale + dx] = [255, 214, 0];
                    }
                }
            }
        }
        let mut bytes = format!("P6\n{width} {height}\n255\n").into_bytes();
        bytes.extend(pixels.concat());
        bytes
    }

    #[test]
    fn a_text_is_found_as_it_was_drawn_and_no_other() {
        for scale in [1, 2, 3] {
            let mut bytes = drawn("press", scale, (17, 31));
            let screen = Screen::parse(&bytes).unwrap();
            assert_eq!(screen.shows("press"), Some(32 * scale * 1000 / 240));
            assert_eq!(screen.shows("ress"), Some(32 * scale * 1000 / 240));
            assert_eq!(screen.shows("pross"), None);
            assert_eq!(screen.shows("    "), None, "nothing is no text");
            // One wrong pixel of a letter.
            let at = bytes.len() - 3 * 400 * 240 + 3 * ((31 + 20 * scale) * 400 + 17 + 8 * scale);
            bytes[at] ^= 0x80;
            assert_eq!(Screen::parse(&bytes).unwrap().shows("press"), None);
        }
        let bytes = drawn("x", 1, (0, 0));
        for broken in [&bytes[..bytes.len() - 1], b"P6\n4 4\n65535\n", b"P5\n1 1\n255\n\0", b""] {
            Screen::parse(broken).unwrap_err();
        }
    }
}
