//! A report as a sequence of blocks, and the two things that are made of it: a page of HTML and a PDF.
//!
//! ```text
//! RunReport, zones, recovery, month ─► Paper ─┬─► html::page   one file, loads nothing, prints well
//!                                             └─► layout ─► pdf::write   PDF/A-3b, fonts inside, no clock: same input, same bytes
//! ```
//!
//! Who writes a report says what stands in it and never how wide a column is, so both forms hold the same by construction. A [`Figure`] is a list of
//! lines, bars and labels: SVG on the page, paths on paper.
//!
//! What it must never do: read a clock, load anything, or drop a character in silence. What the fonts inside lack is shown as `�` and counted
//! on the last page: they hold European scripts; Chinese, Japanese and Korean would each need megabytes, and stand in the HTML and JSON as they are.

pub mod faces;
pub mod figure;
mod html;
mod layout;
mod ops;
mod pdf;
mod table;
#[cfg(test)]
pub(crate) mod tests;
mod wrap;

use serde::{Deserialize, Serialize};

pub use figure::Figure;
pub use pdf::PdfError;

/// The language of a report's own sentences. What an appliance or a person wrote stays as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// English.
    #[default]
    En,
    /// German.
    De,
}

impl Language {
    /// Its code (BCP 47).
    #[must_use]
    pub fn code(self) -> &'static str {
        self.pick("en", "de")
    }

    /// One of two.
    #[must_use]
    pub fn pick<T>(self, en: T, de: T) -> T {
        match self {
            Self::En => en,
            Self::De => de,
        }
    }
}

/// A report, ready to be laid out.
#[derive(Debug, Clone, PartialEq)]
pub struct Paper {
    /// The language of its sentences.
    pub language: Language,
    /// What stands in a window's title and in a PDF's metadata.
    pub title: String,
    /// What stands small at the foot of each printed page.
    pub foot: String,
    /// A word for a striped frame around each page, such as `DRILL`.
    pub frame: Option<String>,
    /// When it was written, milliseconds since 1970: the only time in it.
    pub written_at_ms: u64,
    /// What stands in it.
    pub blocks: Vec<Block>,
}

/// One thing on a page.
#[derive(Debug, Clone, PartialEq)]
pub enum Block {
    /// The head of the report: what kind it is, its title, what it is for, and facts.
    Head {
        /// What kind of report, small above the title.
        kind: String,
        /// The title.
        title: String,
        /// A sentence or two.
        lead: Text,
        /// Facts by name.
        facts: Vec<(String, Text)>,
    },
    /// How it went, in a frame.
    Outcome {
        /// How it went.
        tone: Tone,
        /// In a word.
        word: String,
        /// And in sentences.
        said: Vec<Text>,
    },
    /// A chapter.
    Chapter(String),
    /// A part of one.
    Part(Text),
    /// A paragraph.
    Said(Text),
    /// A paragraph of less weight.
    Note(Text),
    /// Facts by name.
    Facts(Vec<(String, Text)>),
    /// Rows under heads.
    Table {
        /// The heads; a column of figures is set to the right.
        columns: Vec<Column>,
        /// The rows, a cell for each column.
        rows: Vec<Vec<Text>>,
    },
    /// Points.
    Points {
        /// They are in order.
        numbered: bool,
        /// The points.
        points: Vec<Text>,
    },
    /// Lines as they are.
    Verbatim(String),
    /// A picture.
    Figure(Figure),
    /// Boxes to tick, lines to write on, and places to sign.
    Signing {
        /// The chapter's title.
        title: String,
        /// What can be ticked.
        boxes: Vec<String>,
        /// The four heads.
        heads: [String; 4],
        /// Who signs.
        parts: Vec<String>,
    },
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its head.
    pub head: String,
    /// It holds figures.
    pub figures: bool,
}

/// Heads of a table: `#` in front says that a column holds figures.
#[must_use]
pub fn columns<const N: usize>(heads: [&str; N]) -> Vec<Column> {
    heads
        .map(|head| Column { head: head.trim_start_matches('#').into(), figures: head.starts_with('#') })
        .into()
}

/// How something stands, told by colour and by its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// In part, or not known.
    Partly,
    /// Not as it should be.
    Bad,
    /// Nothing to judge.
    Plain,
}

impl Tone {
    fn class(self) -> &'static str {
        ["good", "part", "bad", "none"][self as usize]
    }

    fn colour(self) -> ops::Colour {
        [(0x1a, 0x6b, 0x3c), (0x9a, 0x67, 0x00), (0xa3, 0x26, 0x1c), ops::GREY][self as usize]
    }
}

/// How a stretch of text is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// As it comes.
    Plain,
    /// Bold.
    Bold,
    /// Of less weight.
    Note,
    /// A command, a hash, a code.
    Code,
    /// A word of judgement; it is not broken.
    Word(Tone),
}

/// Text in stretches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Text(pub(crate) Vec<(Style, String)>);

impl Text {
    /// A sentence in which what stands between backquotes is code.
    #[must_use]
    pub fn prose(text: &str) -> Self {
        let style = |at: usize| if at % 2 == 1 { Style::Code } else { Style::Plain };
        Self(text.split('`').enumerate().map(|(at, part)| (style(at), part.to_owned())).collect())
    }

    /// One stretch.
    #[must_use]
    pub fn of(style: Style, text: impl Into<String>) -> Self {
        Self(vec![(style, text.into())])
    }

    /// A hash, a command.
    #[must_use]
    pub fn code(text: impl Into<String>) -> Self {
        Self::of(Style::Code, text)
    }

    /// A word of judgement.
    #[must_use]
    pub fn word(tone: Tone, text: impl Into<String>) -> Self {
        Self::of(Style::Word(tone), text)
    }

    /// More of it.
    #[must_use]
    pub fn then(mut self, style: Style, text: impl Into<String>) -> Self {
        self.0.push((style, text.into()));
        self
    }

    /// More of it, as it comes.
    #[must_use]
    pub fn and(self, text: impl Into<String>) -> Self {
        self.then(Style::Plain, text)
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::of(Style::Plain, text)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::of(Style::Plain, text)
    }
}

impl From<&String> for Text {
    fn from(text: &String) -> Self {
        Self::of(Style::Plain, text.as_str())
    }
}

impl Paper {
    /// One file of HTML: self-contained, printable, without scripts.
    #[must_use]
    pub fn html(&self) -> String {
        html::page(self)
    }

    /// A PDF/A-3b with its fonts inside. The same paper gives the same bytes.
    ///
    /// # Errors
    /// When the writer finds that what it wrote is no PDF/A-3b: a fault of this program.
    pub fn pdf(&self) -> Result<Vec<u8>, PdfError> {
        pdf::write(self)
    }
}
