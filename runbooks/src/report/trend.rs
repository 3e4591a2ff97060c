//! Service times of one class, drill after drill: a bar for each recovery, the newest last, the objective as a line. One that never came back is a gap with a cross.

use super::{Trend, words};
use crate::{
    paper::{
        Language,
        figure::{Figure, Fill, Hold, Pen, WIDTH},
    },
    report::waterfall::{round_step, tick},
};

const LEFT: f64 = 70.0;
const HEAD: f64 = 16.0;
const HEIGHT: f64 = 110.0;

/// The figure.
pub(super) fn trend(language: Language, trend: &Trend) -> Figure {
    let slowest_ms = trend.runs.iter().filter_map(|run| run.took_ms).max().unwrap_or(0);
    let aim_ms = trend.objective_ms.filter(|ms| *ms <= slowest_ms.saturating_mul(3).max(1));
    let top_ms = slowest_ms.max(aim_ms.unwrap_or(0)).max(1) as f64 * 1.08;
    let bottom = HEAD + HEIGHT;
    let y = |ms: u64| bottom - HEIGHT * ms as f64 / top_ms;
    let mut figure = Figure {
        title: language.pick(
            format!("Recoveries of {}, the newest last", trend.of),
            format!("Wiederherstellungen von {}, die neueste zuletzt", trend.of),
        ),
        height: bottom + 18.0,
        ..Figure::default()
    };
    let step_ms = round_step(top_ms);
    for at_ms in (0..8).map(|n| n * step_ms).take_while(|ms| *ms as f64 <= top_ms) {
        figure.line(Pen::Grid, &[(LEFT, y(at_ms)), (WIDTH, y(at_ms))]);
        figure.label(Pen::Quiet, Hold::End, (LEFT - 6.0, y(at_ms) + 3.5), tick(at_ms));
    }
    let wide = ((WIDTH - LEFT) / trend.runs.len().max(1) as f64).min(40.0);
    for (at, run) in trend.runs.iter().enumerate() {
        let x = LEFT + wide * at as f64 + wide * 0.15;
        match run.took_ms {
            Some(ms) => {
                let fill = if run.now { Fill::Solid } else { Fill::Dotted };
                figure.bar(fill, (x, y(ms), wide * 0.7, bottom - y(ms)), words::length(ms));
            }
            None => {
                let (middle, arm) = (x + wide * 0.35, 4.0);
                figure.line(Pen::Curve, &[(middle - arm, bottom - 12.0), (middle + arm, bottom - 4.0)]);
                figure.line(Pen::Curve, &[(middle - arm, bottom - 4.0), (middle + arm, bottom - 12.0)]);
            }
        }
    }
    figure.line(Pen::Axis, &[(LEFT, bottom), (WIDTH, bottom)]);
    if let Some(ms) = aim_ms {
        figure.line(Pen::Aim, &[(LEFT, y(ms)), (WIDTH, y(ms))]);
        let said = format!("{} {}", language.pick("objective", "Ziel"), words::length(ms));
        figure.label(Pen::Aim, Hold::End, (WIDTH, y(ms) - 4.0), said);
    }
    figure.legend = vec![
        (Fill::Solid, language.pick("this run", "dieser Lauf").into()),
        (Fill::Dotted, language.pick("earlier", "frühere").into()),
    ];
    let of = &trend.of;
    figure.caption = language.pick(
        format!("{of}: service time of each recovery, the newest last. A cross: it did not come back."),
        format!("{of}: Dauer jeder Wiederherstellung, die neueste zuletzt. Ein Kreuz: es kam nicht zurück."),
    );
    if let (Some(ms), None) = (trend.objective_ms, aim_ms) {
        let far = words::length(ms);
        figure.caption += &language.pick(
            format!(" The objective of {far} lies far above this picture."),
            format!(" Das Ziel von {far} liegt weit über diesem Bild."),
        );
    }
    figure
}
