//! The waterfall of one endpoint's phases as inline SVG: a row for each phase, time to the right, the objective as a line.
//!
//! Drawn here because no charting library draws phase bars against a target with patterns that survive a grey printer. Who a phase depended
//! on is told by fill, by pattern and by the row's text, never by colour alone.

use maud::{Markup, PreEscaped, html};

use super::words;
use crate::measure::{Actor, Phase, PhaseTiming};

const WIDTH: f64 = 720.0;
const LABELS: f64 = 190.0;
const FIGURES: f64 = 76.0;
const ROW: f64 = 17.0;
const HEAD: f64 = 26.0;

/// An objective further away than this many times what was measured is told in words: to scale it would flatten the bars.
const FAR: f64 = 4.0;

/// The figure; nothing without timings. `objective_ms` counts from the first phase at or after `declare`, as the service time does.
pub(super) fn waterfall(name: &str, timings: &[PhaseTiming], objective_ms: Option<u64>) -> Markup {
    let mut rows: Vec<&PhaseTiming> = timings.iter().collect();
    rows.sort_by_key(|timing| (timing.from_ms, timing.phase));
    let Some(from_ms) = rows.first().map(|timing| timing.from_ms) else { return html! {} };
    let declared_ms =
        rows.iter().filter(|timing| timing.phase >= Phase::Declare).map(|timing| timing.from_ms).min();
    let lead_ms = declared_ms.map_or(0, |ms| ms.saturating_sub(from_ms));
    let total_ms = rows.iter().map(|timing| timing.to_ms.saturating_sub(from_ms)).max().unwrap_or(0).max(1);
    let objective_end_ms = objective_ms.map(|ms| ms.saturating_add(lead_ms));
    let objective = objective_end_ms.filter(|ms| *ms as f64 <= total_ms as f64 * FAR);
    let scale = Scale { ms: total_ms.max(objective.unwrap_or(0)) as f64 * 1.02 };
    let bottom = HEAD + ROW * rows.len() as f64;
    let title = format!("Phases of {name}: {} in all", words::length(total_ms));
    html! {
        figure {
            svg xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {WIDTH} {}", bottom + 8.0)) role="img" aria-label=(title)
                font-family="inherit" font-size="10.5" {
                (patterns())
                @for tick_ms in scale.ticks() {
                    @let x = scale.x(tick_ms);
                    line x1=(x) x2=(x) y1=(HEAD - 4.0) y2=(bottom) stroke="#c9cfd6" stroke-width="0.6" {}
                    text x=(x) y=(HEAD - 9.0) text-anchor="middle" fill="#4a535d" { (tick(tick_ms)) }
                }
                @for (at, timing) in rows.iter().enumerate() {
                    (row(timing, from_ms, HEAD + ROW * at as f64, &scale))
                }
                line x1=(LABELS) x2=(LABELS) y1=(HEAD - 4.0) y2=(bottom) stroke="#1b1f24" stroke-width="0.8" {}
                @if let (Some(objective_ms), Some(end_ms)) = (objective_ms, objective) {
                    @let x = scale.x(end_ms);
                    line x1=(x) x2=(x) y1=(HEAD - 4.0) y2=(bottom + 4.0) stroke="#a3261c" stroke-width="1.6" stroke-dasharray="5 3" {}
                    text x=(x - 4.0) y=(bottom - 4.0) text-anchor="end" fill="#a3261c" font-weight="600" {
                        "objective " (words::length(objective_ms))
                    }
                }
            }
            figcaption {
                (legend(timings))
                @if let (Some(ms), None) = (objective_ms, objective) {
                    " The objective of " (words::length(ms)) " lies far to the right of this picture."
                }
            }
        }
    }
}

fn row(timing: &PhaseTiming, from_ms: u64, y: f64, scale: &Scale) -> Markup {
    let x = scale.x(timing.from_ms.saturating_sub(from_ms));
    let width = (scale.x(timing.from_ms.saturating_sub(from_ms) + timing.took_ms()) - x).max(1.2);
    let middle = y + ROW / 2.0 + 3.5;
    let label = if timing.label.is_empty() { timing.phase.label() } else { &timing.label };
    html! {
        g {
            title { (label) ", " (timing.actor.label()) ": " (words::length(timing.took_ms())) }
            text x=(LABELS - 6.0) y=(middle) text-anchor="end" fill="#1b1f24" { (shortened(label)) }
            rect x=(x) y=(y + 2.5) width=(width) height=(ROW - 5.0) fill=(fill(timing.actor)) stroke="#1b1f24" stroke-width="0.5" {}
            text x=(WIDTH) y=(middle) text-anchor="end" fill="#1b1f24" { (words::length(timing.took_ms())) }
        }
    }
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

fn fill(actor: Actor) -> &'static str {
    match actor {
        Actor::Machine => "#1d4e89",
        Actor::Human => "url(#human)",
        Actor::Firmware => "url(#firmware)",
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
         </defs>"
            .to_owned(),
    )
}

fn legend(timings: &[PhaseTiming]) -> Markup {
    html! {
        @for actor in Actor::ALL {
            @let took_ms: u64 = timings.iter().filter(|timing| timing.actor == actor).map(PhaseTiming::took_ms).sum();
            @if took_ms > 0 {
                svg viewBox="0 0 14 10" style="display:inline-block;width:4mm;height:2.8mm;vertical-align:-.2mm" aria-hidden="true" {
                    rect x="0.5" y="0.5" width="13" height="9" fill=(fill(actor)) stroke="#1b1f24" stroke-width="0.5" {}
                }
                span style="margin:0 5mm 0 1.5mm" { (actor.label()) " " (words::length(took_ms)) }
            }
        }
    }
}

struct Scale {
    ms: f64,
}

impl Scale {
    fn x(&self, ms: u64) -> f64 {
        let x = LABELS + (WIDTH - LABELS - FIGURES) * ms as f64 / self.ms;
        (x * 10.0).round() / 10.0
    }

    /// Round times, about six of them.
    fn ticks(&self) -> impl Iterator<Item = u64> {
        const STEPS: [u64; 16] = [
            10, 50, 100, 500, 1_000, 5_000, 10_000, 30_000, 60_000, 120_000, 300_000, 600_000, 1_800_000,
            3_600_000, 14_400_000, 86_400_000,
        ];
        let fits = |step: &u64| self.ms / *step as f64 <= 7.0;
        let step = STEPS.into_iter().find(fits).unwrap_or_else(|| (self.ms / 6.0) as u64);
        (0..8).map(move |n| n * step).take_while(|ms| *ms as f64 <= self.ms)
    }
}

/// A round time at its shortest: `30 s`, `4 min`.
fn tick(ms: u64) -> String {
    match ms {
        0 => "0".to_owned(),
        ms if ms % 3_600_000 == 0 => format!("{} h", ms / 3_600_000),
        ms if ms % 60_000 == 0 => format!("{} min", ms / 60_000),
        ms if ms % 1_000 == 0 => format!("{} s", ms / 1_000),
        ms => format!("{ms} ms"),
    }
}
