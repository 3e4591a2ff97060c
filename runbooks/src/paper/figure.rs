//! A picture as lines, bars and labels: SVG on a page, paths on paper.
//!
//! Drawn here because no charting library draws bars against a target with fills that survive a grey printer, in two forms and without a font of its own. What a
//! bar means is told by fill, by pattern and by text, never by colour alone.

use maud::{Markup, PreEscaped, html};

use super::ops::{Colour, GREY, INK, LIGHT};

/// The width of every figure in its own units; it is scaled to the page.
pub const WIDTH: f64 = 720.0;

/// How a bar is filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// Solid: our machinery, what is shown.
    Solid,
    /// Diagonal stripes on yellow: people.
    Striped,
    /// Dots on grey: firmware and systems.
    Dotted,
    /// Diagonal lines on white: what might be.
    Hatched,
}

impl Fill {
    fn svg(self) -> &'static str {
        ["#1d4e89", "url(#human)", "url(#firmware)", "url(#open)"][self as usize]
    }
}

/// One stroke of a figure, in its units, from the upper left corner.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// A line through points.
    Line {
        /// The points.
        points: Vec<(f64, f64)>,
        /// How it is drawn.
        pen: Pen,
    },
    /// A bar.
    Bar {
        /// Left, top, width, height.
        place: (f64, f64, f64, f64),
        /// Its fill.
        fill: Fill,
        /// What a pointer over it says.
        hint: String,
    },
    /// A text with its base line at `y`.
    Label {
        /// Where it is held.
        x: f64,
        /// Its base line.
        y: f64,
        /// At which end it is held.
        hold: Hold,
        /// How it is drawn.
        pen: Pen,
        /// The text.
        text: String,
    },
}

/// At which end a label is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// At its beginning.
    Start,
    /// In its middle.
    Middle,
    /// At its end.
    End,
}

/// How a line or label is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pen {
    /// A rule of the grid.
    Grid,
    /// An axis, a plain label.
    Axis,
    /// A label of less weight.
    Quiet,
    /// The objective: dashed, and bold as a label.
    Aim,
    /// A curve.
    Curve,
}

impl Pen {
    pub(crate) fn colour(self) -> Colour {
        match self {
            Self::Grid => LIGHT,
            Self::Axis => INK,
            Self::Quiet => GREY,
            Self::Aim => (0xa3, 0x26, 0x1c),
            Self::Curve => (0x1d, 0x4e, 0x89),
        }
    }

    pub(crate) fn width(self) -> f64 {
        match self {
            Self::Grid => 0.6,
            Self::Axis | Self::Quiet => 0.8,
            Self::Aim | Self::Curve => 1.6,
        }
    }

    fn hex(self) -> String {
        let (r, g, b) = self.colour();
        format!("#{r:02x}{g:02x}{b:02x}")
    }
}

/// The size of every label.
pub(crate) const LABEL: f64 = 10.5;

/// A picture.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Figure {
    /// What it shows, for who cannot see it.
    pub title: String,
    /// Its height in its units.
    pub height: f64,
    /// What is drawn, the lowest first.
    pub shapes: Vec<Shape>,
    /// What the fills mean.
    pub legend: Vec<(Fill, String)>,
    /// A sentence under it.
    pub caption: String,
}

impl Figure {
    /// Draw a line.
    pub fn line(&mut self, pen: Pen, points: &[(f64, f64)]) {
        self.shapes.push(Shape::Line { points: points.to_vec(), pen });
    }

    /// Write a label.
    pub fn label(&mut self, pen: Pen, hold: Hold, (x, y): (f64, f64), text: impl Into<String>) {
        self.shapes.push(Shape::Label { x, y, hold, pen, text: text.into() });
    }

    /// Draw a bar.
    pub fn bar(&mut self, fill: Fill, place: (f64, f64, f64, f64), hint: impl Into<String>) {
        self.shapes.push(Shape::Bar { place, fill, hint: hint.into() });
    }

    /// The figure as SVG within a page.
    #[must_use]
    pub fn svg(&self) -> Markup {
        html! {
            figure {
                svg xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {WIDTH} {}", self.height)) role="img" aria-label=(self.title)
                    font-family="inherit" font-size=(LABEL) {
                    (patterns())
                    @for shape in &self.shapes { (drawn(shape)) }
                }
                @if !self.legend.is_empty() || !self.caption.is_empty() {
                    figcaption {
                        @for (fill, what) in &self.legend {
                            svg viewBox="0 0 14 10" style="display:inline-block;width:4mm;height:2.8mm;vertical-align:-.2mm" aria-hidden="true" {
                                rect x="0.5" y="0.5" width="13" height="9" fill=(fill.svg()) stroke="#1b1f24" stroke-width="0.5" {}
                            }
                            span style="margin:0 5mm 0 1.5mm" { (what) }
                        }
                        (self.caption)
                    }
                }
            }
        }
    }
}

fn round(at: f64) -> f64 {
    (at * 10.0).round() / 10.0
}

fn drawn(shape: &Shape) -> Markup {
    match shape {
        Shape::Line { points, pen } => {
            let points: Vec<String> =
                points.iter().map(|(x, y)| format!("{},{}", round(*x), round(*y))).collect();
            let dash = (*pen == Pen::Aim).then_some("5 3");
            html! { polyline points=(points.join(" ")) fill="none" stroke=(pen.hex()) stroke-width=(pen.width()) stroke-dasharray=[dash] {} }
        }
        Shape::Bar { place: (x, y, width, height), fill, hint } => html! {
            rect x=(round(*x)) y=(round(*y)) width=(round(*width)) height=(round(*height)) fill=(fill.svg()) stroke="#1b1f24" stroke-width="0.5" { title { (hint) } }
        },
        Shape::Label { x, y, hold, pen, text } => {
            let anchor = ["start", "middle", "end"][*hold as usize];
            let weight = (*pen == Pen::Aim).then_some("600");
            html! { text x=(round(*x)) y=(round(*y)) text-anchor=(anchor) fill=(pen.hex()) font-weight=[weight] { (text) } }
        }
    }
}

/// Patterns have one meaning for the whole page, so repeating their ids in each figure is harmless.
fn patterns() -> Markup {
    PreEscaped(
        "<defs>\
         <pattern id=\"human\" width=\"5\" height=\"5\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
         <rect width=\"5\" height=\"5\" fill=\"#f2b705\"/><rect width=\"1.6\" height=\"5\" fill=\"#7a5b00\"/></pattern>\
         <pattern id=\"firmware\" width=\"4\" height=\"4\" patternUnits=\"userSpaceOnUse\">\
         <rect width=\"4\" height=\"4\" fill=\"#dfe4ea\"/><circle cx=\"2\" cy=\"2\" r=\"0.8\" fill=\"#5b6672\"/></pattern>\
         <pattern id=\"open\" width=\"5\" height=\"5\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
         <rect width=\"5\" height=\"5\" fill=\"#fff\"/><rect width=\"0.9\" height=\"5\" fill=\"#1d4e89\"/></pattern>\
         </defs>"
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_tells_who_cannot_see_it_and_escapes_what_it_is_told() {
        let mut figure = Figure { title: "<a> & b".into(), height: 20.0, ..Figure::default() };
        figure.bar(Fill::Striped, (1.23, 2.0, 3.0, 4.0), "<hint>");
        figure.label(Pen::Aim, Hold::End, (10.0, 9.0), "<aim>");
        let svg = figure.svg().into_string();
        for wanted in [
            "aria-label=\"&lt;a&gt; &amp; b\"",
            "&lt;hint&gt;",
            "&lt;aim&gt;",
            "url(#human)",
            "x=\"1.2\"",
            "font-weight=\"600\"",
        ] {
            assert!(svg.contains(wanted), "{wanted}: {svg}");
        }
        assert!(!svg.contains("figcaption"));
    }
}
