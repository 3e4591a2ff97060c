//! What is drawn on a page of paper: strokes, shapes and runs of text at points (1/72 inch), from the upper left corner.

use super::{Style, figure::Fill};

/// Red, green, blue.
pub(crate) type Colour = (u8, u8, u8);

pub(crate) const INK: Colour = (0x1b, 0x1f, 0x24);
pub(crate) const GREY: Colour = (0x4a, 0x53, 0x5d);
pub(crate) const LIGHT: Colour = (0xc9, 0xcf, 0xd6);
pub(crate) const YELLOW: Colour = (0xf2, 0xb7, 0x05);
pub(crate) const WHITE: Colour = (0xff, 0xff, 0xff);
const CODE: Colour = (0x2d, 0x3a, 0x4a);

/// Left, top, width, height.
pub(crate) type Box = (f32, f32, f32, f32);

/// One stroke of the pen.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Op {
    /// A run of text with its base line at `y`.
    Run { x: f32, y: f32, size: f32, bold: bool, colour: Colour, text: String },
    /// A line through points.
    Line { points: Vec<(f32, f32)>, colour: Colour, width: f32, dash: bool },
    /// A bar, filled in one of the ways that survive a grey printer, with an edge.
    Bar { place: Box, fill: Fill, edge: f32 },
    /// A plain area.
    Area { place: Box, colour: Colour },
    /// Stripes of a drill's frame.
    Stripes { place: Box },
}

/// How a stretch of text of this style is drawn: bold, and in which colour.
pub(crate) fn pen(style: Style) -> (bool, Colour) {
    match style {
        Style::Plain => (false, INK),
        Style::Bold => (true, INK),
        Style::Note => (false, GREY),
        Style::Code => (false, CODE),
        Style::Word(super::Tone::Plain) => (false, GREY),
        Style::Word(tone) => (true, tone.colour()),
    }
}
