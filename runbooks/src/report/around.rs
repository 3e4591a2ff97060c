//! What stands around a run: what went wrong in it on purpose, the items that are on record for its runbook, the run before it step by step, and the line of its runs.
//!
//! The caller knows them; the report lays them out. Times are milliseconds since 1970, lengths milliseconds.

use serde::{Deserialize, Serialize};

use super::{RunReport, words};
use crate::{
    paper::{
        Block, Figure, Language, Style, Text, Tone, columns,
        figure::{Fill, Hold, Pen, WIDTH},
    },
    report::waterfall::{round_step, tick},
};

/// What the caller knows and the run's own record does not.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Around {
    /// What went wrong on purpose, in order.
    pub injects: Vec<Inject>,
    /// Items on record for the runbook and the classes of the run: the open ones, and those that it opened or closed.
    pub items: Vec<Item>,
    /// The comparable run before it; `None`: there is none.
    pub before: Option<Before>,
    /// The comparable runs of the runbook that are over, the oldest first, this one last.
    pub line: Vec<RunPoint>,
}

/// Something that went wrong on purpose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inject {
    /// What.
    pub kind: String,
    /// On which endpoint.
    pub endpoint: String,
    /// By whom it was ordered: the runbook, or a person as in evidence.
    pub by: String,
    /// Since when.
    pub from_ms: u64,
    /// When it ended; `None`: it still goes on.
    pub ended_ms: Option<u64>,
    /// How often the recovery met it; 0: it changed nothing.
    pub met: u32,
}

/// Something to mend, as it is on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Its id.
    pub id: String,
    /// Of which hardware class.
    pub class: String,
    /// The step or the objective.
    pub subject: String,
    /// What was not as it should be.
    pub what: String,
    /// The run that opened it.
    pub opened_by: String,
    /// When.
    pub opened_ms: u64,
    /// Until when it should be mended.
    pub due_ms: u64,
    /// When it was closed, and by which run.
    pub closed: Option<(u64, String)>,
}

/// The run before, beside this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// Which run.
    pub run: String,
    /// When it ended.
    pub ended_ms: u64,
    /// Its runbook was the same, byte for byte.
    pub same_runbook: bool,
    /// Its golden images were the same.
    pub same_images: bool,
    /// From begin to the last step before the clean-up, then and now; `None`: not gone through.
    pub run_ms: (Option<u64>, Option<u64>),
    /// Step by step, the slowest endpoint counting: how long then, and now.
    pub steps: Vec<(String, Option<u64>, Option<u64>)>,
}

/// One run on the line of its runbook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunPoint {
    /// The run.
    pub run: String,
    /// When it ended.
    pub ended_ms: u64,
    /// How long it took; `None`: not gone through.
    pub took_ms: Option<u64>,
    /// Other golden images than the run before it.
    pub images_changed: bool,
}

/// Runs that are drawn.
const POINTS_MOST: usize = 40;

/// A step changed so much that somebody should look: a fifth.
const NOTABLE_PERCENT: i128 = 20;

/// What went wrong on purpose, and whether it was met; nothing where nothing did.
pub(super) fn injects(report: &RunReport) -> Vec<Block> {
    let language = report.language;
    if report.around.injects.is_empty() {
        return Vec::new();
    }
    let row = |one: &Inject| {
        let met = match one.met {
            0 => Text::word(Tone::Partly, language.pick("never met", "nie getroffen")),
            n => language.pick(format!("met {n} times"), format!("{n}-mal getroffen")).into(),
        };
        let took = one.ended_ms.map(|ended_ms| words::length(ended_ms.saturating_sub(one.from_ms)));
        vec![
            Text::of(Style::Bold, one.kind.as_str()),
            (&one.endpoint).into(),
            (&one.by).into(),
            words::clock(one.from_ms).into(),
            took.unwrap_or_else(|| language.pick("goes on", "dauert an").into()).into(),
            met,
        ]
    };
    vec![
        Block::Chapter(language.pick("What went wrong on purpose", "Was mit Absicht schiefging").into()),
        Block::Table {
            columns: columns(language.pick(
                ["What", "Endpoint", "By", "#Began (UTC)", "#For", ""],
                ["Was", "Endgerät", "Durch", "#Beginn (UTC)", "#Dauer", ""],
            )),
            rows: report.around.injects.iter().map(row).collect(),
        },
    ]
}

/// The items on record; nothing where there is none.
pub(super) fn items(report: &RunReport) -> Vec<Block> {
    let language = report.language;
    if report.around.items.is_empty() {
        return Vec::new();
    }
    let row = |item: &Item| {
        let stands =
            match &item.closed {
                Some((at_ms, by)) => Text::word(Tone::Good, language.pick("closed", "erledigt"))
                    .and(format!(" {} {}", words::day(*at_ms), by)),
                None if item.due_ms <= report.written_at_ms => {
                    Text::word(Tone::Bad, language.pick("overdue", "überfällig"))
                }
                None => Text::word(Tone::Partly, language.pick("open", "offen")),
            };
        vec![
            Text::code(item.id.as_str()),
            Text::of(Style::Bold, format!("{}\n", item.subject)).then(Style::Note, item.class.as_str()),
            (&item.what).into(),
            format!("{} {}", words::day(item.opened_ms), item.opened_by).into(),
            words::day(item.due_ms).into(),
            stands,
        ]
    };
    vec![
        Block::Part(
            language
                .pick("Items on record for this runbook", "Maßnahmen auf der Liste zu diesem Runbook")
                .into(),
        ),
        Block::Table {
            columns: columns(language.pick(
                ["Item", "Of", "What happened", "Opened", "Due", ""],
                ["Maßnahme", "Zu", "Was geschah", "Eröffnet", "Fällig", ""],
            )),
            rows: report.around.items.iter().map(row).collect(),
        },
    ]
}

/// The run before, and the line of runs; nothing where this is the first.
pub(super) fn compared(report: &RunReport) -> Vec<Block> {
    let (language, around) = (report.language, &report.around);
    let Some(before) = &around.before else {
        return Vec::new();
    };
    let same = |same: bool| {
        language.pick(if same { "the same" } else { "others" }, if same { "dieselben" } else { "andere" })
    };
    let book = language.pick(
        if before.same_runbook { "the same, byte for byte" } else { "another text" },
        if before.same_runbook { "derselbe Text" } else { "ein anderer Text" },
    );
    let mut blocks = vec![
        Block::Chapter(language.pick("Compared with the run before", "Verglichen mit dem Lauf davor").into()),
        Block::Facts(vec![
            (
                language.pick("Run before", "Lauf davor").into(),
                Text::code(before.run.as_str()).and(format!(", {}", words::moment(before.ended_ms))),
            ),
            (language.pick("Runbook", "Runbook").into(), book.into()),
            (language.pick("Golden images", "Golden Images").into(), same(before.same_images).into()),
        ]),
    ];
    let row = |name: Text, then_ms: Option<u64>, now_ms: Option<u64>| {
        let time = |ms: Option<u64>| Text::from(ms.map_or("–".to_owned(), words::length));
        vec![name, time(then_ms), time(now_ms), change(language, then_ms, now_ms)]
    };
    let whole = Text::of(Style::Bold, language.pick("the whole run", "der ganze Lauf"));
    let mut rows = vec![row(whole, before.run_ms.0, before.run_ms.1)];
    rows.extend(
        before.steps.iter().map(|(step, then_ms, now_ms)| row(step.as_str().into(), *then_ms, *now_ms)),
    );
    blocks.push(Block::Table {
        columns: columns(
            language
                .pick(["Step", "#Before", "#Now", "#Change"], ["Schritt", "#Davor", "#Jetzt", "#Änderung"]),
        ),
        rows,
    });
    if around.line.len() > 1 {
        blocks.push(Block::Figure(line(report)));
    }
    blocks
}

fn change(language: Language, then_ms: Option<u64>, now_ms: Option<u64>) -> Text {
    let Some((then_ms, now_ms)) = then_ms.zip(now_ms).filter(|(then_ms, _)| *then_ms > 0) else {
        return language.pick("not comparable", "nicht vergleichbar").into();
    };
    let percent = (i128::from(now_ms) - i128::from(then_ms)) * 100 / i128::from(then_ms);
    let said = format!("{percent:+} %");
    if percent >= NOTABLE_PERCENT { Text::word(Tone::Partly, said) } else { said.into() }
}

/// How long each run took, the newest last; where the golden images changed there is a mark.
fn line(report: &RunReport) -> Figure {
    const LEFT: f64 = 70.0;
    const HEAD: f64 = 18.0;
    const HEIGHT: f64 = 100.0;
    let language = report.language;
    let points = &report.around.line[report.around.line.len().saturating_sub(POINTS_MOST)..];
    let aim_ms = report.objectives.first().and_then(|objective| objective.target_ms);
    let slowest_ms = points.iter().filter_map(|point| point.took_ms).max().unwrap_or(0);
    let drawn_aim_ms = aim_ms.filter(|ms| *ms <= slowest_ms.saturating_mul(3).max(1));
    let top_ms = slowest_ms.max(drawn_aim_ms.unwrap_or(0)).max(1) as f64 * 1.08;
    let bottom = HEAD + HEIGHT;
    let y = |ms: u64| bottom - HEIGHT * ms as f64 / top_ms;
    let mut figure = Figure {
        title: language.pick("The runs of this runbook, the newest last", "Die Läufe dieses Runbooks, der neueste zuletzt").into(),
        height: bottom + 18.0,
        legend: vec![
            (Fill::Solid, language.pick("this run", "dieser Lauf").into()),
            (Fill::Dotted, language.pick("earlier", "frühere").into()),
        ],
        caption: language
            .pick(
                "Length of each comparable run, the newest last. A cross: it was not gone through. A triangle: other golden images than before.",
                "Dauer jedes vergleichbaren Laufs, der neueste zuletzt. Ein Kreuz: er kam nicht durch. Ein Dreieck: andere Golden Images als zuvor.",
            )
            .into(),
        ..Figure::default()
    };
    let step_ms = round_step(top_ms);
    for at_ms in (0..8).map(|n| n * step_ms).take_while(|ms| *ms as f64 <= top_ms) {
        figure.line(Pen::Grid, &[(LEFT, y(at_ms)), (WIDTH, y(at_ms))]);
        figure.label(Pen::Quiet, Hold::End, (LEFT - 6.0, y(at_ms) + 3.5), tick(at_ms));
    }
    let wide = ((WIDTH - LEFT) / points.len().max(1) as f64).min(60.0);
    for (at, point) in points.iter().enumerate() {
        let x = LEFT + wide * at as f64 + wide * 0.15;
        let middle = x + wide * 0.35;
        match point.took_ms {
            Some(ms) => {
                let fill = if at + 1 == points.len() { Fill::Solid } else { Fill::Dotted };
                figure.bar(
                    fill,
                    (x, y(ms), wide * 0.7, bottom - y(ms)),
                    format!("{}: {}", point.run, words::length(ms)),
                );
            }
            None => {
                figure.line(Pen::Curve, &[(middle - 4.0, bottom - 12.0), (middle + 4.0, bottom - 4.0)]);
                figure.line(Pen::Curve, &[(middle - 4.0, bottom - 4.0), (middle + 4.0, bottom - 12.0)]);
            }
        }
        if point.images_changed {
            let tip = bottom + 3.0;
            figure.line(
                Pen::Curve,
                &[(middle, tip), (middle - 4.0, tip + 7.0), (middle + 4.0, tip + 7.0), (middle, tip)],
            );
        }
    }
    figure.line(Pen::Axis, &[(LEFT, bottom), (WIDTH, bottom)]);
    if let Some(ms) = drawn_aim_ms {
        figure.line(Pen::Aim, &[(LEFT, y(ms)), (WIDTH, y(ms))]);
        let said = format!("{} {}", language.pick("objective", "Ziel"), words::length(ms));
        figure.label(Pen::Aim, Hold::End, (WIDTH, y(ms) - 4.0), said);
    }
    figure
}
