//! The two faces that every PDF carries: Noto Sans, regular and bold, cut down to European scripts (`fonts/`, SIL Open Font License 1.1).
//!
//! No shaping: one character is one glyph, which is right for the scripts that are in it.

use std::{cell::RefCell, collections::BTreeSet};

use skrifa::{
    FontRef, MetadataProvider as _,
    instance::{LocationRef, Size},
};

const REGULAR: &[u8] = include_bytes!("../../fonts/NotoSans-Regular.ttf");
const BOLD: &[u8] = include_bytes!("../../fonts/NotoSans-Bold.ttf");

/// What stands for a character that no face has.
pub const MISSING: char = '\u{fffd}';

/// A glyph: its number, and its advance at size 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Shown {
    pub id: u32,
    pub advance: f32,
}

struct Face {
    font: krilla::text::Font,
    /// By character; what is asked for most comes first in no order that matters.
    glyphs: std::collections::HashMap<char, Shown>,
}

/// Both faces, and which characters were asked for that they lack.
pub(crate) struct Faces {
    faces: [Face; 2],
    missing: RefCell<BTreeSet<char>>,
}

/// The faces that ship cannot be read: a fault of this program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the fonts that are built in cannot be read: report this with the version of the program")]
pub struct NoFaces;

impl Face {
    fn read(bytes: &'static [u8]) -> Result<Self, NoFaces> {
        let font = FontRef::new(bytes).map_err(|_| NoFaces)?;
        let metrics = font.glyph_metrics(Size::new(1.0), LocationRef::default());
        let glyphs = font
            .charmap()
            .mappings()
            .filter_map(|(code, glyph)| {
                let advance = metrics.advance_width(glyph)?;
                Some((char::from_u32(code)?, Shown { id: glyph.to_u32(), advance }))
            })
            .collect();
        Ok(Self { font: krilla::text::Font::new(bytes.into(), 0).ok_or(NoFaces)?, glyphs })
    }
}

impl Faces {
    pub(crate) fn read() -> Result<Self, NoFaces> {
        Ok(Self { faces: [Face::read(REGULAR)?, Face::read(BOLD)?], missing: RefCell::default() })
    }

    pub(crate) fn font(&self, bold: bool) -> krilla::text::Font {
        self.faces[usize::from(bold)].font.clone()
    }

    /// The glyph of a character that [`Faces::printable`] gave.
    pub(crate) fn shown(&self, bold: bool, ch: char) -> Shown {
        let glyphs = &self.faces[usize::from(bold)].glyphs;
        glyphs.get(&ch).or_else(|| glyphs.get(&MISSING)).copied().unwrap_or(Shown { id: 0, advance: 0.6 })
    }

    pub(crate) fn width(&self, bold: bool, text: &str, size: f32) -> f32 {
        text.chars().map(|ch| self.shown(bold, ch).advance * size).sum()
    }

    /// The text in characters that the faces have. A sign with a common spelling is spelled; any other is shown as [`MISSING`] and remembered.
    pub(crate) fn printable(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        for ch in text.chars() {
            match ch {
                '\n' => out.push('\n'),
                '→' | '►' => out.push_str("->"),
                '≤' => out.push_str("<="),
                '≥' => out.push_str(">="),
                ch if ch.is_control() => out.push(' '),
                ch if self.faces[0].glyphs.contains_key(&ch) => out.push(ch),
                ch => {
                    self.missing.borrow_mut().insert(ch);
                    out.push(MISSING);
                }
            }
        }
        out
    }

    /// How many distinct characters were asked for that the faces lack.
    pub(crate) fn missing(&self) -> usize {
        self.missing.borrow().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_faces_hold_what_english_german_french_and_spanish_are_written_with() {
        let faces = Faces::read().unwrap();
        let text = "Äpfel Öl Übergröße ẞ – „so“ · … œuvre Œil çà éèêë îï ôù ÿ « ça » ¿niño? ¡Él! ü €5 ½ ° × ± µ Łódź Škoda Žluť Ω Пульт";
        assert_eq!(faces.printable(text), text);
        assert_eq!(faces.missing(), 0);
        assert_eq!((faces.printable("a→b ≤ 终端"), faces.missing()), ("a->b <= \u{fffd}\u{fffd}".into(), 2));
        let digits: Vec<f32> = ('0'..='9').map(|ch| faces.shown(false, ch).advance).collect();
        assert!(digits.iter().all(|one| *one == digits[0]), "figures stand under each other");
        assert!(faces.width(true, "wide", 10.0) > faces.width(false, "wide", 10.0));
    }
}
