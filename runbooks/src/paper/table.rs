//! A table on paper: how wide its columns are, how it breaks over pages, and its head on each of them.

use super::{
    Column, Style, Text,
    faces::Faces,
    layout::{BOTTOM, LEFT, Pages, TOP, WIDTH},
    ops::{INK, LIGHT, Op},
    wrap::{LEADING, Row, row_width, runs, widths, wrap},
};

/// The size of its text.
const SIZE: f32 = 8.2;
/// Between columns.
const GAP: f32 = 7.0;
/// Above and below the text of a row.
const PAD: f32 = 2.6;
/// A column need not be wider than this for one word: hashes break.
const WORD_MAX: f32 = 92.0;
/// Rows that are looked at to find widths.
const LOOKED_AT: usize = 400;

/// A row's cells as lines.
type Cells = Vec<Vec<Row>>;

/// Set a table.
pub(super) fn set(pages: &mut Pages<'_>, columns: &[Column], rows: &[Vec<Text>]) {
    let faces = pages.faces;
    let heads: Vec<Text> = columns.iter().map(|column| Text::of(Style::Note, column.head.as_str())).collect();
    let widths = column_widths(faces, columns, &heads, rows);
    let cells = |row: &[Text]| -> Cells {
        row.iter().zip(&widths).map(|(text, width)| wrap(faces, text, SIZE, width - GAP)).collect()
    };
    let head = cells(&heads);
    let head_height = height(&head);
    let first = rows.first().map_or(0.0, |row| height(&cells(row)).min(60.0));
    pages.room(head_height + first);
    draw(pages, columns, &widths, &head, true);
    for row in rows {
        let mut cells = cells(row);
        if pages.y + height(&cells) > BOTTOM {
            let whole_page = BOTTOM - TOP - head_height;
            // A row that fits on a page of its own is never cut.
            while height(&cells) > whole_page {
                let lines = ((BOTTOM - pages.y - 2.0 * PAD) / (SIZE * LEADING)) as usize;
                if lines > 2 {
                    let part =
                        cells.iter_mut().map(|cell| cell.drain(..lines.min(cell.len())).collect()).collect();
                    draw(pages, columns, &widths, &part, false);
                }
                pages.turn();
                draw(pages, columns, &widths, &head, true);
            }
            if pages.y + height(&cells) > BOTTOM {
                pages.turn();
                draw(pages, columns, &widths, &head, true);
            }
        }
        draw(pages, columns, &widths, &cells, false);
    }
    pages.y += 7.0;
}

fn height(cells: &Cells) -> f32 {
    cells.iter().map(Vec::len).max().unwrap_or(0).max(1) as f32 * SIZE * LEADING + 2.0 * PAD
}

fn draw(pages: &mut Pages<'_>, columns: &[Column], widths: &[f32], cells: &Cells, head: bool) {
    let (faces, top, height) = (pages.faces, pages.y, height(cells));
    let mut x = LEFT;
    for ((column, width), cell) in columns.iter().zip(widths).zip(cells) {
        for (at, row) in cell.iter().enumerate() {
            let indent = if column.figures { width - GAP - row_width(faces, row, SIZE) } else { 0.0 };
            let y = top + PAD + SIZE * (LEADING * at as f32 + 1.0);
            pages.draw(runs(faces, row, SIZE, x + indent, y));
        }
        x += width;
    }
    pages.y = top + height;
    let (colour, width) = if head { (INK, 0.8) } else { (LIGHT, 0.4) };
    let points = vec![(LEFT, pages.y), (LEFT + WIDTH, pages.y)];
    pages.draw([Op::Line { points, colour, width, dash: false }]);
}

/// As a browser does it: each column gets what its longest word needs, and the rest by what its longest line would like.
fn column_widths(faces: &Faces, columns: &[Column], heads: &[Text], rows: &[Vec<Text>]) -> Vec<f32> {
    let mut like = vec![0.0_f32; heads.len()];
    let mut need = vec![0.0_f32; heads.len()];
    for row in std::iter::once(heads).chain(rows.iter().take(LOOKED_AT).map(Vec::as_slice)) {
        for (at, text) in row.iter().enumerate() {
            let (line, word) = widths(faces, text, SIZE);
            like[at] = like[at].max(line + GAP);
            // A figure is not torn from its unit.
            let whole = columns[at].figures && row.as_ptr() != heads.as_ptr();
            let word = if whole { line } else { word };
            need[at] = need[at].max(word.min(WORD_MAX) + GAP);
        }
    }
    // A little air, so that rounding never breaks a word.
    let (like, need): (Vec<f32>, Vec<f32>) =
        like.iter().zip(&need).map(|(like, need)| (like + 0.5, need + 0.5)).unzip();
    let (likes, needs): (f32, f32) = (like.iter().sum(), need.iter().sum());
    if likes <= WIDTH {
        return like.iter().map(|one| one + (WIDTH - likes) * one / likes).collect();
    }
    if needs >= WIDTH {
        return need.iter().map(|one| WIDTH * one / needs).collect();
    }
    let share = (WIDTH - needs) / (likes - needs);
    like.iter().zip(&need).map(|(like, need)| need + (like - need) * share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paper::columns;

    #[test]
    fn columns_fill_the_page_and_no_short_word_is_cut() {
        let faces = Faces::read().unwrap();
        let long = "a sentence that is far too long to stand in a single line of a table on this paper, whatever the others need";
        for rows in [
            vec![vec!["a".into(), "b".into()]],
            vec![vec![long.into(), "word".into()]],
            vec![vec![Text::code("0".repeat(300)), long.into()]],
        ] {
            let widths = column_widths(
                &faces,
                &columns(["Head", "#Other head"]),
                &["Head".into(), "Other head".into()],
                &rows,
            );
            assert!((widths.iter().sum::<f32>() - WIDTH).abs() < 0.1, "{widths:?}");
            assert!(widths.iter().all(|one| *one > 20.0), "{widths:?}");
        }
    }
}
