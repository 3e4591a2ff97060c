//! Blocks onto pages of A4: what goes where, in points from the upper left corner.

use super::{
    Block, Figure, Paper, Style, Text, Tone,
    faces::Faces,
    figure::{self, Hold, LABEL, Pen, Shape},
    ops::{Box, GREY, INK, LIGHT, Op, WHITE, YELLOW},
    table,
    wrap::{LEADING, runs, widths, wrap},
};

/// A4.
pub(super) const PAGE: (f32, f32) = (595.28, 841.89);
pub(super) const LEFT: f32 = 48.0;
pub(super) const WIDTH: f32 = PAGE.0 - 2.0 * LEFT;
pub(super) const TOP: f32 = 52.0;
pub(super) const BOTTOM: f32 = PAGE.1 - 64.0;

/// Body text.
const BODY: f32 = 9.6;
const NOTE: f32 = 8.6;
/// No line of text is longer than an eye follows.
const MEASURE: f32 = 455.0;
/// A drill's frame.
const STRIPE: f32 = 15.0;

/// A title in a reader's side bar.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mark {
    pub title: String,
    pub page: usize,
    pub y: f32,
}

/// Pages as they fill.
pub(super) struct Pages<'f> {
    pub faces: &'f Faces,
    pub pages: Vec<Vec<Op>>,
    pub marks: Vec<Mark>,
    /// Where the next thing goes on the last page.
    pub y: f32,
}

impl Pages<'_> {
    /// A new page.
    pub(super) fn turn(&mut self) {
        self.pages.push(Vec::new());
        self.y = TOP;
    }

    /// A new page unless so much is left on this one.
    pub(super) fn room(&mut self, height: f32) {
        if self.y + height > BOTTOM && self.y > TOP {
            self.turn();
        }
    }

    /// Strokes on the last page.
    pub(super) fn draw(&mut self, ops: impl IntoIterator<Item = Op>) {
        match self.pages.last_mut() {
            Some(page) => page.extend(ops),
            None => self.pages.push(ops.into_iter().collect()),
        }
    }

    /// A text in lines, each with room for itself.
    fn text(&mut self, text: &Text, size: f32, x: f32, width: f32) {
        for row in wrap(self.faces, text, size, width) {
            self.room(size * LEADING);
            let y = self.y + size;
            self.draw(runs(self.faces, &row, size, x, y));
            self.y += size * LEADING;
        }
    }

    fn rule(&mut self, x: f32, width: f32, pen: f32, colour: super::ops::Colour) {
        let points = vec![(x, self.y), (x + width, self.y)];
        self.draw([Op::Line { points, colour, width: pen, dash: false }]);
    }
}

/// Lay a report out. The last act is the foot of each page, since it says how many there are.
pub(super) fn lay_out<'f>(faces: &'f Faces, paper: &Paper) -> Pages<'f> {
    let mut pages = Pages { faces, pages: vec![Vec::new()], marks: Vec::new(), y: TOP };
    for block in &paper.blocks {
        place(&mut pages, block);
    }
    if faces.missing() > 0 {
        let said = format!(
            "{}: {}",
            paper.language.pick(
                "Characters that the fonts in this file lack, shown as \u{fffd}",
                "Zeichen, die den Schriften dieser Datei fehlen, gezeigt als \u{fffd}"
            ),
            faces.missing()
        );
        place(&mut pages, &Block::Note(said.into()));
    }
    let count = pages.pages.len();
    for (at, page) in pages.pages.iter_mut().enumerate() {
        foot(faces, paper, page, at + 1, count);
    }
    pages
}

fn place(pages: &mut Pages<'_>, block: &Block) {
    match block {
        Block::Head { kind, title, lead, facts } => head(pages, kind, title, lead, facts),
        Block::Outcome { tone, word, said } => outcome(pages, *tone, word, said),
        Block::Chapter(title) => chapter(pages, title),
        Block::Part(text) => {
            pages.room(10.8 * LEADING + 48.0);
            pages.y += if pages.y > TOP { 7.0 } else { 0.0 };
            let bold = text.0.iter().map(|(style, part)| {
                (if *style == Style::Plain { Style::Bold } else { *style }, part.clone())
            });
            pages.text(&Text(bold.collect()), 10.8, LEFT, WIDTH);
            pages.y += 2.0;
        }
        Block::Said(text) => said(pages, text, BODY),
        Block::Note(text) => said(pages, &quiet(text), NOTE),
        Block::Facts(list) => facts(pages, list),
        Block::Table { columns, rows } => table::set(pages, columns, rows),
        Block::Points { numbered, points } => {
            for (at, point) in points.iter().enumerate() {
                pages.room(BODY * LEADING * 2.0);
                let sign = if *numbered { format!("{}.", at + 1) } else { "•".to_owned() };
                let y = pages.y + BODY;
                pages.draw(runs(pages.faces, &vec![(Style::Note, sign)], BODY, LEFT, y));
                pages.text(point, BODY, LEFT + 16.0, MEASURE - 16.0);
                pages.y += 2.0;
            }
            pages.y += 4.0;
        }
        Block::Verbatim(text) => {
            pages.text(&Text::code(text.trim_end()), 7.8, LEFT + 16.0, WIDTH - 16.0);
            pages.y += 5.0;
        }
        Block::Figure(figure) => drawing(pages, figure),
        Block::Signing { title, boxes, heads, parts } => signing(pages, title, boxes, heads, parts),
    }
}

fn quiet(text: &Text) -> Text {
    Text(
        text.0
            .iter()
            .map(|(style, part)| (if *style == Style::Plain { Style::Note } else { *style }, part.clone()))
            .collect(),
    )
}

fn said(pages: &mut Pages<'_>, text: &Text, size: f32) {
    pages.room(size * LEADING * 2.0);
    pages.text(text, size, LEFT, MEASURE);
    pages.y += 4.0;
}

fn head(pages: &mut Pages<'_>, kind: &str, title: &str, lead: &Text, list: &[(String, Text)]) {
    pages.text(&Text::of(Style::Note, kind.to_uppercase()), 8.2, LEFT, WIDTH);
    pages.text(&Text::of(Style::Bold, title), 19.0, LEFT, WIDTH);
    pages.y += 2.0;
    if !lead.0.is_empty() {
        said(pages, lead, BODY);
    }
    facts(pages, list);
    pages.y += 2.0;
    pages.rule(LEFT, WIDTH, 1.5, INK);
    pages.y += 12.0;
}

fn outcome(pages: &mut Pages<'_>, tone: Tone, word: &str, lines: &[Text]) {
    let (size, inset) = (14.0, 18.0);
    let word = Text::word(tone, word);
    let beside = widths(pages.faces, &word, size).0 + inset + 16.0;
    let rows: Vec<_> =
        lines.iter().flat_map(|line| wrap(pages.faces, line, BODY, WIDTH - beside - 12.0)).collect();
    let height = (rows.len() as f32 * BODY * LEADING).max(size * LEADING) + 16.0;
    pages.room(height + 8.0);
    let (top, faces) = (pages.y, pages.faces);
    let (x, right) = (LEFT + 0.6, LEFT + WIDTH - 0.6);
    let colour = tone.colour();
    let points = vec![(x, top), (right, top), (right, top + height), (x, top + height), (x, top)];
    pages.draw([
        Op::Line { points, colour, width: 1.2, dash: false },
        Op::Area { place: (LEFT, top, 9.0, height), colour },
    ]);
    for row in wrap(faces, &word, size, WIDTH) {
        pages.draw(runs(faces, &row, size, LEFT + inset, top + 8.0 + size));
    }
    for (at, row) in rows.iter().enumerate() {
        let y = top + 8.0 + BODY * (LEADING * at as f32 + 1.15);
        pages.draw(runs(faces, row, BODY, LEFT + beside, y));
    }
    pages.y = top + height + 8.0;
}

fn chapter(pages: &mut Pages<'_>, title: &str) {
    pages.room(13.0 * LEADING + 74.0);
    pages.y += if pages.y > TOP { 13.0 } else { 0.0 };
    pages.marks.push(Mark { title: title.into(), page: pages.pages.len() - 1, y: pages.y });
    pages.text(&Text::of(Style::Bold, title), 13.0, LEFT, WIDTH);
    pages.y += 1.5;
    pages.rule(LEFT, WIDTH, 0.6, (0x9a, 0xa3, 0xad));
    pages.y += 5.0;
}

fn facts(pages: &mut Pages<'_>, list: &[(String, Text)]) {
    for (name, text) in list {
        let size = 9.2;
        pages.room(size * LEADING);
        let top = pages.y;
        let page = pages.pages.len();
        pages.text(&Text::of(Style::Note, name.as_str()), size, LEFT, 100.0);
        let after_name = pages.y;
        if pages.pages.len() == page {
            pages.y = top;
        }
        pages.text(text, size, LEFT + 108.0, WIDTH - 108.0);
        if pages.pages.len() == page {
            pages.y = pages.y.max(after_name);
        }
        pages.y += 1.6;
    }
    pages.y += 3.0;
}

fn drawing(pages: &mut Pages<'_>, drawn: &Figure) {
    let scale = WIDTH / figure::WIDTH as f32;
    let height = drawn.height as f32 * scale;
    pages.room(height + 24.0);
    let (top, faces) = (pages.y, pages.faces);
    let at = |x: f64, y: f64| (LEFT + x as f32 * scale, top + y as f32 * scale);
    for shape in &drawn.shapes {
        match shape {
            Shape::Line { points, pen } => {
                let points = points.iter().map(|(x, y)| at(*x, *y)).collect();
                let width = pen.width() as f32 * scale;
                pages.draw([Op::Line { points, colour: pen.colour(), width, dash: *pen == Pen::Aim }]);
            }
            Shape::Bar { place: (x, y, w, h), fill, .. } => {
                let (x, y) = at(*x, *y);
                let place: Box = (x, y, *w as f32 * scale, *h as f32 * scale);
                pages.draw([Op::Bar { place, fill: *fill, edge: 0.4 }]);
            }
            Shape::Label { x, y, hold, pen, text } => {
                let ((x, y), size, bold) = (at(*x, *y), LABEL as f32 * scale, *pen == Pen::Aim);
                let text = faces.printable(text);
                let wide = faces.width(bold, &text, size);
                let x = x - match hold {
                    Hold::Start => 0.0,
                    Hold::Middle => wide / 2.0,
                    Hold::End => wide,
                };
                pages.draw([Op::Run { x, y, size, bold, colour: pen.colour(), text }]);
            }
        }
    }
    pages.y = top + height + 3.0;
    legend(pages, drawn);
    pages.y += 7.0;
}

fn legend(pages: &mut Pages<'_>, drawn: &Figure) {
    let (mut x, size) = (LEFT, 8.2);
    let top = pages.y;
    for (fill, what) in &drawn.legend {
        let wide = pages.faces.width(false, &pages.faces.printable(what), size);
        pages.draw([Op::Bar { place: (x, top + 2.2, 11.0, 7.0), fill: *fill, edge: 0.4 }]);
        pages.draw(runs(
            pages.faces,
            &vec![(Style::Note, pages.faces.printable(what))],
            size,
            x + 15.0,
            top + size + 0.6,
        ));
        x += 15.0 + wide + 14.0;
    }
    if !drawn.legend.is_empty() {
        pages.y += size * LEADING + 1.0;
    }
    if !drawn.caption.is_empty() {
        pages.text(&Text::of(Style::Note, drawn.caption.trim()), size, LEFT, MEASURE);
    }
}

fn signing(pages: &mut Pages<'_>, title: &str, boxes: &[String], heads: &[String; 4], parts: &[String]) {
    pages.room(110.0 + 34.0 * parts.len() as f32);
    chapter(pages, title);
    let (mut x, y, faces) = (LEFT, pages.y, pages.faces);
    for said in boxes {
        let (left, top, side) = (x, y + 1.5, 9.0);
        let edge =
            vec![(left, top), (left + side, top), (left + side, top + side), (left, top + side), (left, top)];
        pages.draw([Op::Line { points: edge, colour: INK, width: 0.9, dash: false }]);
        let text = faces.printable(said);
        let wide = faces.width(false, &text, BODY);
        pages.draw(runs(faces, &vec![(Style::Plain, text)], BODY, x + 14.0, y + BODY));
        x += 14.0 + wide + 22.0;
    }
    pages.y += 8.0;
    for _ in 0..2 {
        pages.y += 24.0;
        pages.rule(LEFT, WIDTH, 0.8, INK);
    }
    pages.y += 12.0;
    let columns: [(f32, f32); 4] = [(0.0, 130.0), (142.0, 120.0), (274.0, 80.0), (366.0, WIDTH - 366.0)];
    let y = pages.y + 8.0;
    for ((x, _), head) in columns.iter().zip(heads) {
        pages.draw(runs(faces, &vec![(Style::Note, faces.printable(head))], NOTE, LEFT + x, y));
    }
    pages.y += 8.0;
    for part in parts {
        pages.y += 30.0;
        let y = pages.y - 3.0;
        pages.draw(runs(faces, &vec![(Style::Plain, faces.printable(part))], NOTE, LEFT, y));
        for (x, width) in columns {
            pages.rule(LEFT + x, width, 0.8, INK);
        }
    }
    pages.y += 12.0;
}

fn foot(faces: &Faces, paper: &Paper, page: &mut Vec<Op>, at: usize, of: usize) {
    let (size, y) = (7.6, PAGE.1 - 46.0);
    let number = paper.language.pick(format!("page {at} of {of}"), format!("Seite {at} von {of}"));
    let x = LEFT + WIDTH - faces.width(false, &number, size);
    let line = vec![(LEFT, y - 12.0), (LEFT + WIDTH, y - 12.0)];
    page.push(Op::Line { points: line, colour: LIGHT, width: 0.4, dash: false });
    page.push(Op::Run { x, y, size, bold: false, colour: GREY, text: number });
    let text = Text::of(Style::Note, paper.foot.as_str());
    for (at, row) in wrap(faces, &text, size, WIDTH - 76.0).iter().take(2).enumerate() {
        page.extend(runs(faces, row, size, LEFT, y + at as f32 * 8.6));
    }
    let Some(word) = &paper.frame else { return };
    let (right, bottom) = (PAGE.0 - 12.0, PAGE.1 - 12.0);
    let frame: [Box; 4] = [
        (12.0, 12.0, right - 12.0, STRIPE),
        (12.0, bottom - STRIPE, right - 12.0, STRIPE),
        (12.0, 12.0 + STRIPE, 10.0, bottom - 12.0 - 2.0 * STRIPE),
        (right - 10.0, 12.0 + STRIPE, 10.0, bottom - 12.0 - 2.0 * STRIPE),
    ];
    page.extend(frame.into_iter().map(|place| Op::Stripes { place }));
    let (size, word) = (10.0, faces.printable(word));
    let wide = faces.width(true, &word, size);
    for top in [12.0, bottom - STRIPE] {
        let x = (PAGE.0 - wide) / 2.0;
        page.push(Op::Area { place: (x - 12.0, top, wide + 24.0, STRIPE), colour: WHITE });
        page.push(Op::Run { x, y: top + 11.2, size, bold: true, colour: INK, text: word.clone() });
    }
}

/// The colours of a drill's frame.
pub(super) const STRIPES: (super::ops::Colour, super::ops::Colour) = (YELLOW, INK);
