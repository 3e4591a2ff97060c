//! How the console says things: times, sizes, states. Each state has a word and a shape of its own; colour only repeats.

use jiff::Timestamp;
use maud::{Markup, html};
use recovery_protocol::{
    job::{JobState, Stage},
    operator::{EndpointState, JobKind, JobView, PhaseView},
};

/// The tone of a badge or card: names a colour and, always with it, a shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// Moving.
    Busy,
    /// A person must do something.
    Attention,
    /// Not as it should be.
    Bad,
    /// Nothing to say.
    Quiet,
}

impl Tone {
    /// The CSS class.
    #[must_use]
    pub fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Busy => "busy",
            Self::Attention => "attention",
            Self::Bad => "bad",
            Self::Quiet => "quiet",
        }
    }

    /// A shape on a grid of 20 by 20: tick in a circle, turning arrow, warning triangle, cross in an octagon, ring.
    #[must_use]
    pub fn shape(self) -> Markup {
        let (outline, sign) = match self {
            Self::Good => ("M10 1.5a8.5 8.5 0 1 0 0 17a8.5 8.5 0 0 0 0-17z", "M6 10.4l2.8 2.8L14.2 7.4"),
            Self::Busy => ("", "M16.2 7.2A7 7 0 1 0 17 10.6M16.6 2.6v4.8h-4.8"),
            Self::Attention => ("M10 1.8L19.2 18H.8z", "M10 7.6v4.6M10 15v.2"),
            Self::Bad => ("M6.5 1.5h7l5 5v7l-5 5h-7l-5-5v-7z", "M7 7l6 6M13 7l-6 6"),
            Self::Quiet => ("", "M10 4a6 6 0 1 0 0 12a6 6 0 0 0 0-12z"),
        };
        html! {
            svg class="shape" viewBox="0 0 20 20" aria-hidden="true" focusable="false" {
                @if !outline.is_empty() { path class="outline" d=(outline) {} }
                path class="sign" d=(sign) {}
            }
        }
    }
}

/// A word with its shape.
#[must_use]
pub fn badge(tone: Tone, word: &str) -> Markup {
    html! { span class={ "badge " (tone.class()) } { (tone.shape()) (word) } }
}

/// An endpoint's state: tone and word.
#[must_use]
pub fn endpoint_state(state: EndpointState) -> (Tone, &'static str) {
    match state {
        EndpointState::Discovered => (Tone::Quiet, "Discovered"),
        EndpointState::Known => (Tone::Quiet, "Known"),
        EndpointState::Trusted => (Tone::Good, "Trusted"),
        EndpointState::Suspect => (Tone::Bad, "Suspect"),
        EndpointState::Recovering => (Tone::Busy, "Recovering"),
        EndpointState::Held => (Tone::Attention, "Needs you"),
    }
}

/// A job's state: tone and word.
#[must_use]
pub fn job_state(state: &JobState) -> (Tone, &'static str) {
    match state {
        JobState::Working { .. } => (Tone::Busy, "Working"),
        JobState::Held { .. } => (Tone::Attention, "Held"),
        JobState::Recovered => (Tone::Good, "Recovered"),
        JobState::Captured => (Tone::Good, "Captured"),
        JobState::Cancelled { .. } => (Tone::Quiet, "Cancelled"),
        JobState::Failed { .. } => (Tone::Bad, "Failed"),
    }
}

/// A stretch of a recovery as a person at the endpoint tells it; several stages of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Its name, two or three words.
    pub name: &'static str,
    /// Its first stage.
    pub first: Stage,
    /// Its last stage.
    pub last: Stage,
}

/// Every stage belongs to exactly one stretch.
pub const STRETCHES: [Stretch; 6] = [
    Stretch { name: "Approve", first: Stage::Proposed, last: Stage::Approved },
    Stretch { name: "Start from the network", first: Stage::Fenced, last: Stage::AgentWait },
    Stretch { name: "Prove the hardware", first: Stage::Proving, last: Stage::Capturing },
    Stretch { name: "Write the golden image", first: Stage::Imaging, last: Stage::Disarming },
    Stretch { name: "Start the restored system", first: Stage::OsWait, last: Stage::Verifying },
    Stretch { name: "Enrol", first: Stage::Enrolling, last: Stage::Releasing },
];

/// The stretches of a capture.
pub const CAPTURE_STRETCHES: [Stretch; 5] = [
    Stretch { name: "Approve", first: Stage::Proposed, last: Stage::Fenced },
    Stretch { name: "Start from the network", first: Stage::Ticketed, last: Stage::AgentWait },
    Stretch { name: "Prove the hardware", first: Stage::Proving, last: Stage::Proving },
    Stretch { name: "Read the disk into the store", first: Stage::Capturing, last: Stage::ReadBack },
    Stretch { name: "Start its own system again", first: Stage::Disarming, last: Stage::Releasing },
];

/// The stretches of a job.
#[must_use]
pub fn stretches_of(kind: JobKind) -> &'static [Stretch] {
    match kind {
        JobKind::Recovery => &STRETCHES,
        JobKind::Capture => &CAPTURE_STRETCHES,
    }
}

/// How far a stretch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Not reached.
    Ahead,
    /// In it.
    Now,
    /// Stopped in it.
    Stopped,
    /// Passed.
    Done,
}

impl Stretch {
    /// True when `stage` is part of it.
    #[must_use]
    pub fn holds(&self, stage: Stage) -> bool {
        (self.first..=self.last).contains(&stage)
    }

    /// How far `job` is with it.
    #[must_use]
    pub fn progress(&self, job: &JobView) -> Progress {
        match (&job.state, job.state.stage()) {
            (JobState::Recovered | JobState::Captured, _) | (_, None) => Progress::Done,
            (_, Some(stage)) if stage > self.last => Progress::Done,
            (_, Some(stage)) if stage < self.first => Progress::Ahead,
            (JobState::Working { .. }, _) => Progress::Now,
            _ => Progress::Stopped,
        }
    }

    /// Milliseconds spent in it so far; a stage entered twice counts twice.
    #[must_use]
    pub fn spent_ms(&self, phases: &[PhaseView], now_ms: u64) -> u64 {
        phases
            .iter()
            .filter(|phase| self.holds(phase.stage))
            .map(|phase| phase.to_unix_ms.unwrap_or(now_ms).saturating_sub(phase.from_unix_ms))
            .sum()
    }
}

/// `4.2 s`, `3 min 05 s`, `2 h 10 min`.
#[must_use]
pub fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..10 => format!("{}.{} s", seconds, ms % 1000 / 100),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// `512 B`, `1.5 MiB`, `12 GiB`: powers of 1024, at most three digits.
#[must_use]
pub fn bytes(count: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut tenths = u128::from(count) * 10 / 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < units.len() {
        tenths /= 1024;
        unit += 1;
    }
    if tenths < 100 {
        format!("{}.{} {}", tenths / 10, tenths % 10, units[unit])
    } else {
        format!("{} {}", tenths / 10, units[unit])
    }
}

/// A moment: UTC in the page, the reader's own clock once the script ran.
#[must_use]
pub fn moment(unix_ms: u64) -> Markup {
    let at =
        i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
    let text = at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    html! { time datetime=(at.strftime("%Y-%m-%dT%H:%M:%SZ")) data-moment=(unix_ms) { (text) } }
}

/// Time since a moment; the script keeps it running.
#[must_use]
pub fn since(unix_ms: u64, now_ms: u64) -> Markup {
    html! { span data-since=(unix_ms) { (duration(now_ms.saturating_sub(unix_ms))) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_belongs_to_one_stretch() {
        for stage in Stage::ALL {
            assert_eq!(STRETCHES.iter().filter(|stretch| stretch.holds(stage)).count(), 1, "{stage:?}");
        }
    }

    #[test]
    fn sizes_and_durations_are_short() {
        for (count, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_572_864, "1.5 MiB"),
            (12 << 30, "12 GiB"),
            (u64::MAX, "16383 PiB"),
        ] {
            assert_eq!(bytes(count), text);
        }
        for (ms, text) in [
            (0, "0.0 s"),
            (4_250, "4.2 s"),
            (59_999, "59 s"),
            (185_000, "3 min 05 s"),
            (7_800_000, "2 h 10 min"),
        ] {
            assert_eq!(duration(ms), text);
        }
    }

    #[test]
    fn a_moment_out_of_range_does_not_break_a_page() {
        assert!(moment(u64::MAX).into_string().contains("1970"));
        assert!(moment(1_763_800_000_000).into_string().contains("2025-11-22"));
    }
}
