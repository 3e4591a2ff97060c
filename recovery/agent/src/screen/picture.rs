//! The picture on the endpoint's own screen, for a technician two metres away: a scene laid out in a size, then its pixels.
//!
//! ```text
//!   ┌──────────────────────────────┐
//!   │ ! WORD                 DRILL │  band: the mood by sign, word and colour
//!   │ ▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒ │  stripes, here and at the bottom, in a drill only
//!   │ press-01                     │
//!   │ What is going on             │  as large as it goes
//!   │ ██████████░░░░░  or  739 102 │  bar and figures, or the pairing code
//!   │ why                          │  gives way first where room is short
//!   │ what now                     │
//!   │ You may walk away …          │  or the short code of a failure
//!   └──────────────────────────────┘
//! ```
//!
//! The unit is a letter's pixel: the largest whole number that leaves 640 x 480 units. A picture is a list of rectangles, so that two
//! of them tell what changed between them, and no more than a line of pixels is ever in memory.
//!
//! It must never leave the screen, say anything by colour alone, or use two colours whose contrast is below 7:1.

use super::raster::{CELL, Font, Item, Paint, Rect, Rgb, Size, shorten, wrap};
use super::scene::{Mood, Progress, Scene};

/// The smallest size that a picture fits into, in units.
const LEAST: Size = Size { width: 640, height: 480 };
/// Between the edge and anything that is not the band, in units.
const MARGIN: usize = 8;
/// Between two blocks, in units.
const GAP: usize = 12;
/// Height of the bar, and of the stripes of a drill, in units.
const BAR: usize = 40;
const STRIPES: usize = 16;

const WHITE: Rgb = Rgb(255, 255, 255);
const BLACK: Rgb = Rgb(0, 0, 0);
const YELLOW: Rgb = Rgb(255, 214, 0);

/// How a mood looks.
#[derive(Debug, Clone, Copy)]
struct Theme {
    sign: &'static str,
    word: &'static str,
    /// Of the band at the top, and of what stands in it.
    band: (Rgb, Rgb),
    /// Behind everything else.
    ground: Rgb,
    /// What matters most, on the ground. All else is white.
    accent: Rgb,
}

fn theme(mood: &Mood) -> Theme {
    let (night, blue) = (Rgb(8, 12, 28), Rgb(16, 52, 140));
    let calm = Theme { sign: ">", word: "WORKING", band: (blue, WHITE), ground: night, accent: YELLOW };
    match mood {
        Mood::Starting => Theme { sign: "…", word: "STARTING", ..calm },
        Mood::Working => calm,
        Mood::Person | Mood::Held | Mood::Pairing(_) => {
            Theme { sign: "!", word: "NEEDS YOU", band: (YELLOW, BLACK), ground: BLACK, accent: YELLOW }
        }
        Mood::Failed(_) => {
            let red = Rgb(120, 0, 16);
            Theme { sign: "X", word: "STOPPED", band: (WHITE, red), ground: red, accent: Rgb(255, 230, 128) }
        }
        Mood::Rebooting => Theme { sign: "@", word: "REBOOTING", ..calm },
    }
}

/// A scene laid out in a size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    size: Size,
    ground: Rgb,
    /// Later ones lie over earlier ones.
    items: Vec<Item>,
}

impl Picture {
    /// Lays `scene` out; `None` on a screen that is too small for letters that can be read.
    pub fn of(scene: &Scene, size: Size) -> Option<Self> {
        let unit = (size.width / LEAST.width).min(size.height / LEAST.height);
        if unit == 0 {
            return None;
        }
        let theme = theme(&scene.mood);
        let items =
            vec![Item { at: Rect { x: 0..size.width, y: 0..size.height }, paint: Paint::Fill(theme.ground) }];
        let picture = Self { size, ground: theme.ground, items };
        let mut layout = Layout { picture, font: Font::built_in()?, theme, unit };
        layout.all(scene);
        Some(layout.picture)
    }

    /// Draws the part of line `y` that begins at column `from` and fills `line`.
    pub fn draw(&self, y: usize, from: usize, line: &mut [Rgb]) {
        line.fill(self.ground);
        self.items.iter().for_each(|item| item.draw(y, from, line));
    }

    /// Where this picture differs from the one `before`.
    pub fn changes(&self, before: &Self) -> Vec<Rect> {
        let only = |of: &Self, other: &Self| -> Vec<Rect> {
            of.items.iter().filter(|item| !other.items.contains(item)).map(|item| item.at.clone()).collect()
        };
        let mut changed = only(self, before);
        changed.extend(only(before, self));
        changed
    }
}

/// A picture in the making.
struct Layout {
    picture: Picture,
    font: Font,
    theme: Theme,
    /// Pixels.
    unit: usize,
}

impl Layout {
    fn units(&self, units: usize) -> usize {
        units * self.unit
    }

    /// Height of a line of text.
    fn line(&self, scale: usize) -> usize {
        self.units(CELL.1 * scale)
    }

    /// Letters of a line of text.
    fn columns(&self, scale: usize) -> usize {
        (self.picture.size.width - self.units(2 * MARGIN)) / self.units(CELL.0 * scale)
    }

    /// The largest of `scales` at which `text` fits into one line, else the last.
    fn largest(&self, text: &str, scales: &[usize]) -> usize {
        let fits = |scale: &&usize| text.chars().count() <= self.columns(**scale);
        scales.iter().find(fits).or(scales.last()).copied().unwrap_or(1)
    }

    fn fill(&mut self, x: std::ops::Range<usize>, y: std::ops::Range<usize>, paint: Paint) {
        self.picture.items.push(Item { at: Rect { x, y }, paint });
    }

    /// One line of text; scale in units.
    fn text(&mut self, (x, y): (usize, usize), scale: usize, text: &str, (ink, ground): (Rgb, Rgb)) {
        let letters = self.font.letters(text);
        let right = x + letters.len() * self.units(CELL.0 * scale);
        let paint = Paint::Text { letters, scale: self.units(scale), ink, ground };
        self.fill(x..right, y..y + self.line(scale), paint);
    }

    /// Lines of text on the ground, from `y` down; gives where they end.
    fn lines(&mut self, mut y: usize, scale: usize, lines: &[String], ink: Rgb) -> usize {
        for line in lines {
            self.text((self.units(MARGIN), y), scale, line, (ink, self.theme.ground));
            y += self.line(scale);
        }
        y
    }

    fn all(&mut self, scene: &Scene) {
        let mut top = self.band(scene.drill);
        let mut bottom = self.picture.size.height - self.units(MARGIN);
        if scene.drill {
            bottom -= self.units(STRIPES);
            top = self.drill(top);
        }
        top += self.units(GAP);
        if !scene.endpoint.is_empty() {
            let scale = self.largest(&scene.endpoint, &[2, 1]);
            let columns = self.columns(scale);
            let name = shorten(wrap(&scene.endpoint, columns), 1, columns);
            top = self.lines(top, scale, &name, WHITE) + self.units(GAP);
        }
        bottom = self.foot(&scene.mood, bottom);
        self.body(scene, top, bottom);
    }

    /// The band with sign and word; gives where it ends.
    fn band(&mut self, drill: bool) -> usize {
        let (width, margin) = (self.picture.size.width, self.units(MARGIN));
        let Theme { sign, word, band: (band, ink), .. } = self.theme;
        let end = self.line(2) + 2 * margin;
        self.fill(0..width, 0..end, Paint::Fill(band));
        self.text((margin, margin), 2, sign, (band, ink));
        self.text((margin + self.units(3 * CELL.0), margin), 2, word, (ink, band));
        if drill {
            let x = width - margin - self.units("DRILL".len() * 2 * CELL.0);
            self.text((x, margin), 2, "DRILL", (band, ink));
        }
        end
    }

    /// What tells a rehearsal from an emergency; gives where its upper part ends.
    fn drill(&mut self, top: usize) -> usize {
        let Size { width, height } = self.picture.size;
        let high = self.units(STRIPES);
        for y in [top, height - high] {
            self.fill(0..width, y..y + high, Paint::Stripes(YELLOW, BLACK, high));
        }
        let said = ["This is a drill, a rehearsal.".to_owned()];
        self.lines(top + high + self.units(GAP), 1, &said, self.theme.accent)
    }

    /// What stands at the bottom; gives where it begins.
    fn foot(&mut self, mood: &Mood, bottom: usize) -> usize {
        let text = match mood {
            Mood::Working => "You may walk away: it reboots by itself.".to_owned(),
            Mood::Failed(code) if !code.is_empty() => format!("CODE {code}"),
            _ => return bottom,
        };
        let scale = self.largest(&text, &[2, 1]);
        let lines = shorten(wrap(&text, self.columns(scale)), 2, self.columns(scale));
        let top = bottom - lines.len() * self.line(scale);
        self.lines(top, scale, &lines, self.theme.accent);
        top - self.units(GAP)
    }

    /// What happened, bar or code, why, what now: between `top` and `bottom`.
    fn body(&mut self, scene: &Scene, top: usize, bottom: usize) {
        let gap = self.units(GAP);
        let code = match &scene.mood {
            Mood::Pairing(code) => Some(self.code(code, (bottom - top) * 2 / 5)),
            _ => None,
        };
        let gauge = scene.progress.filter(|_| code.is_none()).map(|progress| self.gauge(&progress));
        let middle = match (&code, &gauge) {
            (Some((_, scale)), _) => self.line(*scale) + gap,
            (None, Some(gauge)) => gauge.height + gap,
            (None, None) => 0,
        };
        let room = (bottom - top).saturating_sub(middle);
        let words = self.words(scene, room);
        let mut y = self.lines(top, words.scale, &words.now, WHITE) + gap;
        if let Some((code, scale)) = code {
            y = self.lines(y, scale, &[code], self.theme.accent) + gap;
        } else if let Some(gauge) = gauge {
            y = self.draw_gauge(y, &gauge) + gap;
        }
        if !words.why.is_empty() {
            y = self.lines(y, 1, &words.why, WHITE) + gap;
        }
        self.lines(y, words.next_scale, &words.next, self.theme.accent);
    }

    /// The pairing code and the largest scale at which it fits into this height.
    fn code(&self, code: &str, height: usize) -> (String, usize) {
        let code: String = code.chars().take(self.columns(1)).collect();
        let scale = (self.columns(1) / code.chars().count().max(1)).min(height / self.line(1)).max(1);
        (code, scale)
    }

    /// The sentences as they fit into `room`: what happened as large as it goes; why gives way first.
    fn words(&self, scene: &Scene, room: usize) -> Words {
        const NOW_MOST: usize = 3;
        const WHY_LEAST: usize = 3;
        let (line, gap, columns) = (self.line(1), self.units(GAP), self.columns(1));
        // The appliance's reason to wait for a pairing is the code once more.
        let why = if matches!(scene.mood, Mood::Pairing(_)) { "" } else { scene.why.as_str() };
        let (why, next) = (wrap(why, columns), wrap(&scene.next, columns));
        let room = room.saturating_sub(2 * gap);
        let whole = |text: &str, scale| {
            text.split_whitespace().all(|word| word.chars().count() <= self.columns(scale))
        };
        for (scale, next_scale) in [(3, 2), (2, 2), (3, 1), (2, 1)] {
            let next = wrap(&scene.next, self.columns(next_scale));
            let now = wrap(&scene.now, self.columns(scale));
            let rest = room.checked_sub(now.len() * self.line(scale) + next.len() * self.line(next_scale));
            let Some(most) = rest.map(|rest| rest / line) else { continue };
            let whole = whole(&scene.now, scale) && whole(&scene.next, next_scale);
            if whole && now.len() <= NOW_MOST && most >= why.len().min(WHY_LEAST) {
                return Words { scale, now, why: shorten(why, most, columns), next_scale, next };
            }
        }
        let most = room / line;
        let now = wrap(&scene.now, columns);
        let now_most = now.len().min(most - next.len().min(most / 2));
        let next_most = next.len().min(most - now_most);
        let shortened = |lines: Vec<String>, most| shorten(lines, most, columns);
        let why = shortened(why, most - now_most - next_most);
        Words {
            scale: 1,
            now: shortened(now, now_most),
            why,
            next_scale: 1,
            next: shortened(next, next_most),
        }
    }

    fn gauge(&self, progress: &Progress) -> Gauge {
        let permille = progress.permille();
        let percent = format!("{} %", permille / 10);
        let mut figures = progress.figures();
        let left =
            if figures.last().is_some_and(|last| last.ends_with("left")) { figures.pop() } else { None };
        let large = std::iter::once(percent).chain(left).collect::<Vec<_>>().join("  ");
        let small = figures.join("  ");
        let scale = self.largest(&large, &[2, 1]);
        let height = self.units(BAR + GAP) + self.line(scale) + self.line(1);
        let fitting = |text: &str, scale| shorten(wrap(text, self.columns(scale)), 1, self.columns(scale));
        Gauge { permille, large: fitting(&large, scale), scale, small: fitting(&small, 1), height }
    }

    fn draw_gauge(&mut self, y: usize, gauge: &Gauge) -> usize {
        let (left, thick) = (self.units(MARGIN), self.units(4));
        let (right, end) = (self.picture.size.width - left, y + self.units(BAR));
        let (inner, ground) = ((left + thick, right - thick), self.theme.ground);
        let filled = inner.0 + (inner.1 - inner.0) * gauge.permille as usize / 1000;
        self.fill(left..right, y..end, Paint::Fill(WHITE));
        self.fill(inner.0..inner.1, y + thick..end - thick, Paint::Fill(ground));
        self.fill(inner.0..filled, y + thick..end - thick, Paint::Fill(self.theme.accent));
        let y = self.lines(end + self.units(GAP), gauge.scale, &gauge.large, self.theme.accent);
        self.lines(y, 1, &gauge.small, WHITE)
    }
}

/// The sentences, in lines.
struct Words {
    /// Of `now`.
    scale: usize,
    now: Vec<String>,
    why: Vec<String>,
    /// Of `next`.
    next_scale: usize,
    next: Vec<String>,
}

/// Bar and figures.
struct Gauge {
    permille: u64,
    large: Vec<String>,
    /// Of `large`.
    scale: usize,
    small: Vec<String>,
    /// Pixels.
    height: usize,
}

#[cfg(test)]
mod tests;
