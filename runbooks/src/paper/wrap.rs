//! Text into lines of a width. Lines break at spaces; a word that is wider than the line breaks where it must.

use super::{
    Style, Text,
    faces::Faces,
    ops::{Op, pen},
};

/// How high a line is, in sizes of its text.
pub(crate) const LEADING: f32 = 1.36;

/// One line: stretches of text.
pub(crate) type Row = Vec<(Style, String)>;

type Char = (Style, char);

/// Break a text.
pub(crate) fn wrap(faces: &Faces, text: &Text, size: f32, width: f32) -> Vec<Row> {
    let chars: Vec<Char> = text
        .0
        .iter()
        .flat_map(|(style, part)| faces.printable(part).chars().map(|ch| (*style, ch)).collect::<Vec<_>>())
        .collect();
    let wide = |(style, ch): &Char| faces.shown(pen(*style).0, *ch).advance * size;
    let mut rows = Vec::new();
    for line in chars.split(|(_, ch)| *ch == '\n') {
        let (mut row, mut row_width): (Vec<Char>, f32) = (Vec::new(), 0.0);
        for word in line.split_inclusive(|(style, ch)| *ch == ' ' && !matches!(style, Style::Word(_))) {
            let word_width: f32 = word.iter().map(wide).sum();
            let visible = word_width - word.last().filter(|(_, ch)| *ch == ' ').map_or(0.0, wide);
            if row_width + visible > width && !row.is_empty() {
                rows.push(std::mem::take(&mut row));
                row_width = 0.0;
            }
            if visible <= width {
                row.extend_from_slice(word);
                row_width += word_width;
                continue;
            }
            for one in word {
                if row_width + wide(one) > width && !row.is_empty() {
                    rows.push(std::mem::take(&mut row));
                    row_width = 0.0;
                }
                row.push(*one);
                row_width += wide(one);
            }
        }
        rows.push(row);
    }
    rows.into_iter().map(|row| joined(&row)).collect()
}

fn joined(row: &[Char]) -> Row {
    let mut stretches: Row = Vec::new();
    for (style, ch) in row {
        match stretches.last_mut() {
            Some((last, text)) if last == style => text.push(*ch),
            _ => stretches.push((*style, ch.to_string())),
        }
    }
    if let Some((_, text)) = stretches.last_mut() {
        text.truncate(text.trim_end().len());
    }
    stretches
}

/// The widest line without a break, and the widest word, of a text.
pub(crate) fn widths(faces: &Faces, text: &Text, size: f32) -> (f32, f32) {
    let (mut line, mut word, mut line_max, mut word_max) = (0.0_f32, 0.0_f32, 0.0_f32, 0.0_f32);
    for (style, part) in &text.0 {
        for ch in faces.printable(part).chars() {
            let wide = faces.shown(pen(*style).0, ch).advance * size;
            match ch {
                '\n' => (line, word) = (0.0, 0.0),
                ' ' if !matches!(style, Style::Word(_)) => (line, word) = (line + wide, 0.0),
                _ => (line, word) = (line + wide, word + wide),
            }
            (line_max, word_max) = (line_max.max(line), word_max.max(word));
        }
    }
    (line_max, word_max)
}

/// How wide a line is.
pub(crate) fn row_width(faces: &Faces, row: &Row, size: f32) -> f32 {
    row.iter().map(|(style, text)| faces.width(pen(*style).0, text, size)).sum()
}

/// A line as strokes, with its base line at `y`.
pub(crate) fn runs(faces: &Faces, row: &Row, size: f32, mut x: f32, y: f32) -> Vec<Op> {
    let mut ops = Vec::with_capacity(row.len());
    for (style, text) in row {
        let (bold, colour) = pen(*style);
        ops.push(Op::Run { x, y, size, bold, colour, text: text.clone() });
        x += faces.width(bold, text, size);
    }
    ops
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &Text, width: f32) -> Vec<String> {
        let faces = Faces::read().unwrap();
        let rows = wrap(&faces, text, 10.0, width);
        for row in &rows {
            assert!(row_width(&faces, row, 10.0) <= width + 0.01, "{row:?}");
        }
        rows.iter().map(|row| row.iter().map(|(_, text)| text.as_str()).collect()).collect()
    }

    #[test]
    fn lines_break_at_spaces_and_a_hash_where_it_must() {
        assert_eq!(lines(&"one two three".into(), 45.0), ["one two", "three"]);
        assert_eq!(lines(&"".into(), 45.0), [""]);
        assert_eq!(lines(&"a\nb".into(), 45.0), ["a", "b"]);
        let hash = lines(&Text::code("0123456789abcdef"), 45.0);
        assert!(hash.len() == 3 && hash.concat() == "0123456789abcdef", "{hash:?}");
        assert_eq!(
            lines(&Text::from("so ").then(Style::Word(super::super::Tone::Bad), "not met"), 45.0),
            ["so", "not met"]
        );
    }
}
