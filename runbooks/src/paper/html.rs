//! Blocks into one page of HTML: self-contained, printable, without scripts.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{Block, Column, Paper, Style, Text};

const STYLE: &str = include_str!("../report/style.css");

pub(super) fn page(paper: &Paper) -> String {
    let markup = html! {
        (DOCTYPE)
        html lang=(paper.language.code()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { (paper.title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                @if let Some(word) = &paper.frame {
                    @for side in ["top", "bottom"] { div class={ "edge " (side) } { b { (word) } } }
                    @for side in ["left", "right"] { div class={ "edge " (side) } {} }
                }
                // The empty head and foot keep the text clear of the frame on every printed page.
                table.sheet role="presentation" {
                    thead { tr { td {} } }
                    tfoot { tr { td {} } }
                    tbody { tr { td { @for block in &paper.blocks { (one(block)) } p.note style="margin-top:3mm" { (paper.foot) } } } }
                }
            }
        }
    };
    markup.into_string()
}

fn text(text: &Text) -> Markup {
    html! {
        @for (style, part) in &text.0 {
            @match style {
                Style::Plain => (lines(part)),
                Style::Bold => b { (lines(part)) },
                Style::Note => span.note { (lines(part)) },
                Style::Code => code { (part) },
                Style::Word(tone) => span class={ "word " (tone.class()) } { (part) },
            }
        }
    }
}

fn lines(text: &str) -> Markup {
    html! { @for (at, line) in text.split('\n').enumerate() { @if at > 0 { br; } (line) } }
}

fn one(block: &Block) -> Markup {
    match block {
        Block::Head { kind, title, lead, facts: list } => html! {
            header { p.kind { (kind) } h1 { (title) } @if !lead.0.is_empty() { p { (text(lead)) } } (facts(list)) }
        },
        Block::Outcome { tone, word, said } => html! {
            div class={ "outcome " (tone.class()) } {
                strong { (word) }
                div { @for sentence in said { p { (text(sentence)) } } }
            }
        },
        Block::Chapter(title) => html! { h2 { (title) } },
        Block::Part(title) => html! { h3 { (text(title)) } },
        Block::Said(said) => html! { p { (text(said)) } },
        Block::Note(said) => html! { p.note { (text(said)) } },
        Block::Facts(list) => facts(list),
        Block::Table { columns, rows } => table(columns, rows),
        Block::Points { numbered: true, points } => {
            html! { ol.how { @for point in points { li { (text(point)) } } } }
        }
        Block::Points { numbered: false, points } => {
            html! { ul { @for point in points { li { (text(point)) } } } }
        }
        Block::Verbatim(text) => html! { pre { (text) } },
        Block::Figure(figure) => figure.svg(),
        Block::Signing { title, boxes, heads, parts } => html! {
            section.signing {
                h2 { (title) }
                p { @for said in boxes { span.box style="margin-left:4mm" {} (said) } }
                div.write {} div.write {}
                div.sign {
                    @for head in heads { div.head { (head) } }
                    @for part in parts { div { (part) } div {} div {} div {} }
                }
            }
        },
    }
}

fn facts(list: &[(String, Text)]) -> Markup {
    html! { dl { @for (name, said) in list { dt { (name) } dd { (text(said)) } } } }
}

fn table(columns: &[Column], rows: &[Vec<Text>]) -> Markup {
    let class = |column: &Column| column.figures.then_some("num");
    html! {
        table.data {
            thead { tr { @for column in columns { th class=[class(column)] { (column.head) } } } }
            tbody { @for row in rows { tr { @for (column, cell) in columns.iter().zip(row) { td class=[class(column)] { (text(cell)) } } } } }
        }
    }
}
