//! Figures as a person reads them: lengths of time, points in time (always UTC), sizes.

use jiff::Timestamp;

use crate::{measure::Actor, paper::Language, runbook::ModeName, target::Place};

/// A length of time: `850 ms`, `42.3 s`, `4 min 12 s`, `1 h 05 min`, `7 d 3 h`.
pub(crate) fn length(ms: u64) -> String {
    let s = ms / 1_000;
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{s}.{} s", ms % 1_000 / 100),
        60_000..3_600_000 => format!("{} min {:02} s", s / 60, s % 60),
        3_600_000..86_400_000 => format!("{} h {:02} min", s / 3_600, s / 60 % 60),
        _ => format!("{} d {} h", s / 86_400, s / 3_600 % 24),
    }
}

/// A point in time: `2026-11-22 13:02:11 UTC`.
pub(crate) fn moment(ms: u64) -> String {
    format(ms, "%Y-%m-%d %H:%M:%S UTC")
}

/// Its day: `2026-11-22`.
pub(crate) fn day(ms: u64) -> String {
    format(ms, "%Y-%m-%d")
}

/// Its time of day: `13:02:11`.
pub(crate) fn clock(ms: u64) -> String {
    format(ms, "%H:%M:%S")
}

fn format(ms: u64, form: &str) -> String {
    match i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()) {
        Some(at) => at.strftime(form).to_string(),
        None => "not a time".to_owned(),
    }
}

/// A size: `812 B`, `4.1 MiB`, `2.0 GiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.into_iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        None => format!("{bytes} B"),
    }
}

/// A line of CSV (RFC 4180). What a spreadsheet would take for a formula gets a quote in front.
pub(crate) fn csv_line(cells: &[String]) -> String {
    let quoted = |cell: &String| {
        let formula = cell.starts_with(['=', '+', '-', '@']);
        let cell = if formula { format!("'{cell}") } else { cell.clone() };
        if cell.contains([',', '"', '\n', '\r']) {
            format!("\"{}\"", cell.replace('"', "\"\""))
        } else {
            cell
        }
    };
    cells.iter().map(quoted).collect::<Vec<_>>().join(",") + "\n"
}

/// `1 endpoint`, `2 endpoints`; in German as it stands behind a dative.
pub(crate) fn endpoints(language: Language, n: usize) -> String {
    match (language, n) {
        (Language::En, n) => count(n, "endpoint"),
        (Language::De, 1) => "1 Endgerät".to_owned(),
        (Language::De, n) => format!("{n} Endgeräten"),
    }
}

/// Where an endpoint stands.
pub(crate) fn place(language: Language, place: Place) -> &'static str {
    language.pick(
        place.label(),
        match place {
            Place::Production => "Produktion",
            Place::Canary => "Vorläufer in der Produktion",
            Place::SpareDisk => "Ersatzdatenträger",
            Place::Bench => "Prüfplatz",
            Place::Virtual => "virtuell",
        },
    )
}

/// On whom a phase depended.
pub(crate) fn actor(language: Language, actor: Actor) -> &'static str {
    language.pick(
        actor.label(),
        match actor {
            Actor::Machine => "Groundstate",
            Actor::Human => "Menschen",
            Actor::Firmware => "Firmware und Systeme",
        },
    )
}

/// As what a runbook was run.
pub(crate) fn mode(language: Language, mode: ModeName) -> &'static str {
    language.pick(
        mode.word(),
        match mode {
            ModeName::Real => "Ernstfall",
            ModeName::Drill => "Übung",
            ModeName::DryRun => "Trockenlauf",
            ModeName::Tabletop => "Planspiel",
            ModeName::Virtual => "virtuell",
        },
    )
}

/// `1 endpoint`, `2 endpoints`.
pub(crate) fn count(n: usize, one: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_read_well_at_their_edges() {
        let said: Vec<String> =
            [0, 999, 1_000, 59_999, 60_000, 3_599_999, 3_600_000, 86_399_999, 86_400_000].map(length).into();
        assert_eq!(
            said,
            [
                "0 ms",
                "999 ms",
                "1.0 s",
                "59.9 s",
                "1 min 00 s",
                "59 min 59 s",
                "1 h 00 min",
                "23 h 59 min",
                "1 d 0 h"
            ]
        );
    }

    #[test]
    fn points_in_time_are_utc_and_never_panic() {
        assert_eq!(moment(1_795_352_531_000), "2026-11-22 13:02:11 UTC");
        assert_eq!(clock(1_795_352_531_999), "13:02:11");
        assert_eq!(moment(u64::MAX), "not a time");
    }

    #[test]
    fn sizes_have_a_unit() {
        assert_eq!(
            [0, 1023, 1024, 4_300_000, 2 << 30].map(size),
            ["0 B", "1023 B", "1.0 KiB", "4.1 MiB", "2.0 GiB"]
        );
    }
}
