//! Pages into a PDF/A-3b (ISO 19005-3): fonts inside, titles in the side bar, nothing from a clock.

use jiff::{Timestamp, tz::TimeZone};
use krilla::{
    Document, SerializeSettings,
    color::rgb,
    configure::{Archival, ConfigurationBuilder},
    destination::XyzDestination,
    error::KrillaError,
    geom::{Path, PathBuilder, Point, Rect},
    metadata::{DateTime, Metadata},
    num::NormalizedF32,
    outline::{Outline, OutlineNode},
    page::PageSettings,
    paint::{Fill as Paint, FillRule, Stroke, StrokeDash},
    surface::Surface,
    text::{GlyphId, KrillaGlyph},
};

use super::{
    Paper,
    faces::{Faces, NoFaces},
    figure::Fill,
    layout::{LEFT, PAGE, STRIPES, lay_out},
    ops::{Box, Colour, INK, Op, WHITE},
};

/// Why there is no PDF. Each is a fault of this program: the same report as HTML holds the same.
#[derive(Debug, thiserror::Error)]
pub enum PdfError {
    /// The fonts inside the program.
    #[error(transparent)]
    Faces(#[from] NoFaces),
    /// What was written is no PDF/A-3b.
    #[error("the PDF could not be written ({0}): take the HTML form, which holds the same, and report this")]
    Written(String),
}

impl From<KrillaError> for PdfError {
    fn from(error: KrillaError) -> Self {
        Self::Written(format!("{error:?}"))
    }
}

/// Write it.
pub(super) fn write(paper: &Paper) -> Result<Vec<u8>, PdfError> {
    let faces = Faces::read()?;
    let pages = lay_out(&faces, paper);
    let configuration = ConfigurationBuilder::new()
        .with_archival_validator(Archival::A3_B)
        .finish()
        .map_err(|error| PdfError::Written(format!("{error:?}")))?;
    let mut document =
        Document::new_with(SerializeSettings { configuration, ..SerializeSettings::default() });
    let settings =
        PageSettings::from_wh(PAGE.0, PAGE.1).ok_or_else(|| PdfError::Written("no page".into()))?;
    for ops in &pages.pages {
        let mut page = document.start_page_with(settings.clone());
        let mut surface = page.surface();
        for op in ops {
            draw(&mut surface, &faces, op);
        }
        surface.finish();
        page.finish();
    }
    let mut outline = Outline::new();
    for mark in &pages.marks {
        let to = XyzDestination::new(mark.page, Point::from_xy(LEFT, mark.y));
        outline.push_child(OutlineNode::new(faces.printable(&mark.title), to));
    }
    document.set_outline(outline);
    document.set_metadata(metadata(paper));
    Ok(document.finish()?)
}

fn metadata(paper: &Paper) -> Metadata {
    let id = blake3::hash(format!("{} {} {}", paper.title, paper.foot, paper.written_at_ms).as_bytes());
    Metadata::new()
        .title(paper.title.clone())
        .language(paper.language.code().into())
        .creator("Groundstate".into())
        .producer("Groundstate".into())
        .document_id(id.to_hex().to_string())
        .creation_date(moment(paper.written_at_ms))
}

/// In UTC; what is no time is the year 1970.
fn moment(ms: u64) -> DateTime {
    let at = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
    let at = at.to_zoned(TimeZone::UTC);
    let small = |value: i8| u8::try_from(value).unwrap_or_default();
    DateTime::new(u16::try_from(at.year()).unwrap_or(1970))
        .month(small(at.month()))
        .day(small(at.day()))
        .hour(small(at.hour()))
        .minute(small(at.minute()))
        .second(small(at.second()))
        .utc_offset_hour(0)
        .utc_offset_minute(0)
}

fn filled((r, g, b): Colour) -> Option<Paint> {
    Some(Paint {
        paint: rgb::Color::new(r, g, b).into(),
        opacity: NormalizedF32::ONE,
        rule: FillRule::NonZero,
    })
}

fn stroked((r, g, b): Colour, width: f32, dash: bool) -> Option<Stroke> {
    let dash = dash.then(|| StrokeDash { array: vec![4.0, 2.5], offset: 0.0 });
    Some(Stroke { paint: rgb::Color::new(r, g, b).into(), width, dash, ..Stroke::default() })
}

fn rectangle((x, y, width, height): Box) -> Option<Path> {
    let mut path = PathBuilder::new();
    path.push_rect(Rect::from_xywh(x, y, width.max(0.1), height.max(0.1))?);
    path.finish()
}

fn polyline(points: &[(f32, f32)], close: bool) -> Option<Path> {
    let mut path = PathBuilder::new();
    let (first, rest) = points.split_first()?;
    path.move_to(first.0, first.1);
    for (x, y) in rest {
        path.line_to(*x, *y);
    }
    if close {
        path.close();
    }
    path.finish()
}

fn fill(surface: &mut Surface<'_>, path: Option<Path>, colour: Colour) {
    let Some(path) = path else { return };
    surface.set_stroke(None);
    surface.set_fill(filled(colour));
    surface.draw_path(&path);
}

fn stroke(surface: &mut Surface<'_>, path: Option<Path>, pen: Option<Stroke>) {
    let Some(path) = path else { return };
    surface.set_fill(None);
    surface.set_stroke(pen);
    surface.draw_path(&path);
}

fn draw(surface: &mut Surface<'_>, faces: &Faces, op: &Op) {
    match op {
        Op::Run { x, y, size, bold, colour, text } => {
            if text.trim().is_empty() {
                return;
            }
            surface.set_stroke(None);
            surface.set_fill(filled(*colour));
            let glyphs: Vec<KrillaGlyph> = text
                .char_indices()
                .map(|(at, ch)| {
                    let shown = faces.shown(*bold, ch);
                    let range = at..at + ch.len_utf8();
                    KrillaGlyph::new(GlyphId::new(shown.id), shown.advance, 0.0, 0.0, 0.0, range, None)
                })
                .collect();
            surface.draw_glyphs(Point::from_xy(*x, *y), &glyphs, faces.font(*bold), text, *size, false);
        }
        Op::Line { points, colour, width, dash } => {
            stroke(surface, polyline(points, false), stroked(*colour, *width, *dash));
        }
        Op::Area { place, colour } => fill(surface, rectangle(*place), *colour),
        Op::Bar { place, fill: kind, edge } => {
            bar(surface, *place, *kind);
            stroke(surface, rectangle(*place), stroked(INK, *edge, false));
        }
        Op::Stripes { place } => stripes(surface, *place),
    }
}

fn bar(surface: &mut Surface<'_>, place: Box, kind: Fill) {
    let ground = match kind {
        Fill::Solid => (0x1d, 0x4e, 0x89),
        Fill::Striped => (0xf2, 0xb7, 0x05),
        Fill::Dotted => (0xdf, 0xe4, 0xea),
        Fill::Hatched => WHITE,
    };
    fill(surface, rectangle(place), ground);
    match kind {
        Fill::Solid => {}
        Fill::Striped => diagonals(surface, place, 3.6, stroked((0x7a, 0x5b, 0x00), 1.0, false)),
        Fill::Hatched => diagonals(surface, place, 3.6, stroked((0x1d, 0x4e, 0x89), 0.6, false)),
        Fill::Dotted => dots(surface, place),
    }
}

/// Lines at 45 degrees, cut at the bar's edge: each is reckoned, so no clipping is needed.
fn diagonals(surface: &mut Surface<'_>, (x, y, width, height): Box, apart: f32, pen: Option<Stroke>) {
    let mut path = PathBuilder::new();
    let mut reach = apart / 2.0;
    let mut drawn = false;
    while reach < width + height {
        // From the left or lower edge up to the upper or right edge, along x + y = reach.
        let (x1, y1) = if reach <= height { (0.0, reach) } else { (reach - height, height) };
        let (x2, y2) = if reach <= width { (reach, 0.0) } else { (width, reach - width) };
        path.move_to(x + x1, y + y1);
        path.line_to(x + x2, y + y2);
        drawn = true;
        reach += apart * 1.4;
    }
    if drawn {
        stroke(surface, path.finish(), pen);
    }
}

fn dots(surface: &mut Surface<'_>, (x, y, width, height): Box) {
    let mut path = PathBuilder::new();
    let (mut left, mut drawn) = (1.2, false);
    while left + 1.0 < width {
        let mut top = 1.2;
        while top + 1.0 < height {
            if let Some(dot) = Rect::from_xywh(x + left, y + top, 1.0, 1.0) {
                path.push_rect(dot);
                drawn = true;
            }
            top += 2.8;
        }
        left += 2.8;
    }
    if drawn {
        fill(surface, path.finish(), (0x5b, 0x66, 0x72));
    }
}

fn stripes(surface: &mut Surface<'_>, place: Box) {
    let (x, y, width, height) = place;
    fill(surface, rectangle(place), STRIPES.0);
    let Some(clip) = rectangle(place) else { return };
    surface.push_clip_path(&clip, &FillRule::NonZero);
    // Counted from the page's corner, so that the four sides meet.
    let (wide, mut at) = (14.0, ((x + y) / 28.0).floor() * 28.0);
    while at < x + y + width + height {
        let corners = [
            (at - y, y),
            (at + wide - y, y),
            (at + wide - y - height, y + height),
            (at - y - height, y + height),
        ];
        fill(surface, polyline(&corners, true), STRIPES.1);
        at += 2.0 * wide;
    }
    surface.pop();
}
