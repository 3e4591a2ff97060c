//! The waterfall of one endpoint's phases: a row for each phase, time to the right, the objective as a line.
//!
//! Who a phase depended on is told by fill, by pattern and by the row's text, never by colour alone.

use super::words;
use crate::{
    measure::{Actor, Phase, PhaseTiming},
    paper::{
        Language,
        figure::{Figure, Fill, Hold, Pen, WIDTH},
    },
};

const LABELS: f64 = 190.0;
const FIGURES: f64 = 76.0;
const ROW: f64 = 17.0;
const HEAD: f64 = 26.0;

/// An objective further away than this many times what was measured is told in words: to scale it would flatten the bars.
const FAR: f64 = 4.0;

/// The figure; nothing without timings. `objective_ms` counts from the first phase at or after `declare`, as the service time does.
pub(super) fn waterfall(
    language: Language,
    name: &str,
    timings: &[PhaseTiming],
    objective_ms: Option<u64>,
) -> Option<Figure> {
    let mut rows: Vec<&PhaseTiming> = timings.iter().collect();
    rows.sort_by_key(|timing| (timing.from_ms, timing.phase));
    let from_ms = rows.first().map(|timing| timing.from_ms)?;
    let declared_ms =
        rows.iter().filter(|timing| timing.phase >= Phase::Declare).map(|timing| timing.from_ms).min();
    let lead_ms = declared_ms.map_or(0, |ms| ms.saturating_sub(from_ms));
    let total_ms = rows.iter().map(|timing| timing.to_ms.saturating_sub(from_ms)).max().unwrap_or(0).max(1);
    let objective_end_ms = objective_ms.map(|ms| ms.saturating_add(lead_ms));
    let objective = objective_end_ms.filter(|ms| *ms as f64 <= total_ms as f64 * FAR);
    let scale = Scale { ms: total_ms.max(objective.unwrap_or(0)) as f64 * 1.02 };
    let bottom = HEAD + ROW * rows.len() as f64;
    let mut figure = Figure {
        title: language.pick(
            format!("Phases of {name}: {} in all", words::length(total_ms)),
            format!("Phasen von {name}: {} im Ganzen", words::length(total_ms)),
        ),
        height: bottom + 8.0,
        legend: legend(language, timings),
        ..Figure::default()
    };
    for tick_ms in scale.ticks() {
        let x = scale.x(tick_ms);
        figure.line(Pen::Grid, &[(x, HEAD - 4.0), (x, bottom)]);
        figure.label(Pen::Quiet, Hold::Middle, (x, HEAD - 9.0), tick(tick_ms));
    }
    for (at, timing) in rows.iter().enumerate() {
        row(language, &mut figure, timing, from_ms, (HEAD + ROW * at as f64, &scale));
    }
    figure.line(Pen::Axis, &[(LABELS, HEAD - 4.0), (LABELS, bottom)]);
    match (objective_ms, objective) {
        (Some(objective_ms), Some(end_ms)) => {
            let x = scale.x(end_ms);
            figure.line(Pen::Aim, &[(x, HEAD - 4.0), (x, bottom + 4.0)]);
            let said = format!("{} {}", language.pick("objective", "Ziel"), words::length(objective_ms));
            figure.label(Pen::Aim, Hold::End, (x - 4.0, bottom - 4.0), said);
        }
        (Some(ms), None) => {
            let far = words::length(ms);
            figure.caption = language.pick(
                format!(" The objective of {far} lies far to the right of this picture."),
                format!(" Das Ziel von {far} liegt weit rechts von diesem Bild."),
            );
        }
        (None, _) => {}
    }
    Some(figure)
}

fn row(
    language: Language,
    figure: &mut Figure,
    timing: &PhaseTiming,
    from_ms: u64,
    (y, scale): (f64, &Scale),
) {
    let x = scale.x(timing.from_ms.saturating_sub(from_ms));
    let width = (scale.x(timing.from_ms.saturating_sub(from_ms) + timing.took_ms()) - x).max(1.2);
    let middle = y + ROW / 2.0 + 3.5;
    let label = if timing.label.is_empty() { timing.phase.label() } else { &timing.label };
    let took = words::length(timing.took_ms());
    figure.label(Pen::Axis, Hold::End, (LABELS - 6.0, middle), shortened(label));
    let hint = format!("{label}, {}: {took}", words::actor(language, timing.actor));
    figure.bar(fill(timing.actor), (x, y + 2.5, width, ROW - 5.0), hint);
    figure.label(Pen::Axis, Hold::End, (WIDTH, middle), took);
}

/// A label that fits its column.
fn shortened(label: &str) -> String {
    const CHARS: usize = 34;
    if label.chars().count() <= CHARS {
        label.to_owned()
    } else {
        label.chars().take(CHARS - 1).chain(['…']).collect()
    }
}

fn fill(actor: Actor) -> Fill {
    match actor {
        Actor::Machine => Fill::Solid,
        Actor::Human => Fill::Striped,
        Actor::Firmware => Fill::Dotted,
    }
}

fn legend(language: Language, timings: &[PhaseTiming]) -> Vec<(Fill, String)> {
    let of = |actor: Actor| {
        let took_ms: u64 =
            timings.iter().filter(|timing| timing.actor == actor).map(PhaseTiming::took_ms).sum();
        (took_ms > 0)
            .then(|| (fill(actor), format!("{} {}", words::actor(language, actor), words::length(took_ms))))
    };
    Actor::ALL.into_iter().filter_map(of).collect()
}

struct Scale {
    ms: f64,
}

impl Scale {
    fn x(&self, ms: u64) -> f64 {
        LABELS + (WIDTH - LABELS - FIGURES) * ms as f64 / self.ms
    }

    /// Round times, about six of them.
    fn ticks(&self) -> impl Iterator<Item = u64> {
        let step = round_step(self.ms);
        (0..8).map(move |n| n * step).take_while(|ms| *ms as f64 <= self.ms)
    }
}

/// A round length of time that goes about six times into this one.
pub(super) fn round_step(ms: f64) -> u64 {
    const STEPS: [u64; 16] = [
        10, 50, 100, 500, 1_000, 5_000, 10_000, 30_000, 60_000, 120_000, 300_000, 600_000, 1_800_000,
        3_600_000, 14_400_000, 86_400_000,
    ];
    let fits = |step: &u64| ms / *step as f64 <= 7.0;
    STEPS.into_iter().find(fits).unwrap_or_else(|| (ms / 6.0) as u64)
}

/// A round time at its shortest: `30 s`, `4 min`.
pub(super) fn tick(ms: u64) -> String {
    match ms {
        0 => "0".to_owned(),
        ms if ms % 3_600_000 == 0 => format!("{} h", ms / 3_600_000),
        ms if ms % 60_000 == 0 => format!("{} min", ms / 60_000),
        ms if ms % 1_000 == 0 => format!("{} s", ms / 1_000),
        ms => format!("{ms} ms"),
    }
}
