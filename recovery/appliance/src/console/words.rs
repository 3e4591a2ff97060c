//! How the console says things: times, sizes, states, in the reader's language. Each state has a word and a shape of its own; colour only repeats.
//!
//! What the record says in English and no text of ours says better is marked as English ([`english`]): a screen reader then reads it so.

use jiff::Timestamp;
use maud::{Markup, PreEscaped, Render, html};
use recovery_protocol::{
    job::{JobState, Stage},
    operator::{EndpointState, JobKind, JobView, PhaseView},
    people::Role,
};

use super::texts::Texts;

/// Where markup goes in a text that is filled by [`fill`]: give these as the text's values, in the order of the parts.
pub const SLOTS: [&str; 6] = ["\u{e000}", "\u{e001}", "\u{e002}", "\u{e003}", "\u{e004}", "\u{e005}"];

/// A text with markup in its slots; the text itself is escaped.
#[must_use]
pub fn fill<const N: usize>(text: &str, parts: [Markup; N]) -> Markup {
    let mut whole = html! { (text) }.into_string();
    for (slot, part) in SLOTS.iter().zip(parts) {
        whole = whole.replace(slot, &part.into_string());
    }
    PreEscaped(whole)
}

/// Words of the record, which are English whatever the page speaks.
#[must_use]
pub fn english(words: impl std::fmt::Display) -> Markup {
    let words = named(&words.to_string());
    html! {
        span lang="en" dir="ltr" {
            // What stands between backticks is typed as it is.
            @for (at, part) in words.split('`').enumerate() {
                @if at % 2 == 0 || part.is_empty() { (part) } @else { code { (part) } }
            }
        }
    }
}

/// People in the record's words (`operator:anna`) by their names.
fn named(words: &str) -> String {
    words.replace("operator:token", "the site's own key").replace("operator:", "")
}

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
pub fn badge(tone: Tone, word: impl Render) -> Markup {
    html! { span class={ "badge " (tone.class()) } { (tone.shape()) (word) } }
}

/// An endpoint's state: tone and word.
#[must_use]
pub fn endpoint_state(state: EndpointState) -> (Tone, String) {
    let t = Texts::here();
    match state {
        EndpointState::Discovered => (Tone::Quiet, t.state_discovered()),
        EndpointState::Known => (Tone::Quiet, t.state_known()),
        EndpointState::Trusted => (Tone::Good, t.state_trusted()),
        EndpointState::Suspect => (Tone::Bad, t.state_suspect()),
        EndpointState::Recovering => (Tone::Busy, t.state_recovering()),
        EndpointState::Held => (Tone::Attention, t.state_held()),
    }
}

/// A job's state: tone and word.
#[must_use]
pub fn job_state(state: &JobState) -> (Tone, String) {
    let t = Texts::here();
    match state {
        JobState::Working { .. } => (Tone::Busy, t.job_working()),
        JobState::Held { .. } => (Tone::Attention, t.job_held()),
        JobState::Recovered => (Tone::Good, t.job_recovered()),
        JobState::Captured => (Tone::Good, t.job_captured()),
        JobState::Cancelled { .. } => (Tone::Quiet, t.job_cancelled()),
        JobState::Failed { .. } => (Tone::Bad, t.job_failed()),
    }
}

/// A stage's name, with a small first letter where the language has one.
#[must_use]
pub fn stage_name(stage: Stage) -> String {
    let t = Texts::here();
    match stage {
        Stage::Proposed => t.stage_proposed(),
        Stage::Admitted => t.stage_admitted(),
        Stage::Approved => t.stage_approved(),
        Stage::Fenced => t.stage_fenced(),
        Stage::Ticketed => t.stage_ticketed(),
        Stage::Powering => t.stage_powering(),
        Stage::AgentWait => t.stage_agent_wait(),
        Stage::Proving => t.stage_proving(),
        Stage::Capturing => t.stage_capturing(),
        Stage::Imaging => t.stage_imaging(),
        Stage::ReadBack => t.stage_read_back(),
        Stage::Disarming => t.stage_disarming(),
        Stage::OsWait => t.stage_os_wait(),
        Stage::Verifying => t.stage_verifying(),
        Stage::Enrolling => t.stage_enrolling(),
        Stage::Registering => t.stage_registering(),
        Stage::Releasing => t.stage_releasing(),
    }
}

/// What somebody is here.
#[must_use]
pub fn role(role: Role) -> String {
    let t = Texts::here();
    match role {
        Role::Technician => t.role_technician(),
        Role::Engineer => t.role_engineer(),
        Role::Approver => t.role_approver(),
        Role::Auditor => t.role_auditor(),
        Role::Admin => t.role_admin(),
        Role::Automation => t.role_automation(),
    }
}

/// Who did something, as evidence has it (`operator:anna`, `trigger:fleet`, `appliance`), for people: a name, or what it is.
#[must_use]
pub fn actor(recorded: &str) -> String {
    let t = Texts::here();
    match recorded.split_once(':').unwrap_or((recorded, "")) {
        ("operator", "token") => t.actor_token(),
        ("operator", name) => name.to_owned(),
        ("trigger", source) if !source.is_empty() => t.actor_source(source.to_owned()),
        ("agent", _) => t.actor_agent(),
        ("appliance", _) => t.actor_appliance(),
        _ => recorded.to_owned(),
    }
}

/// What asked for a job (`operator`, `attestation`, `webhook:fleet`, `drill`), for people.
#[must_use]
pub fn trigger(recorded: &str) -> String {
    let t = Texts::here();
    match recorded.split_once(':').unwrap_or((recorded, "")) {
        ("operator", _) => t.trigger_person(),
        ("attestation", _) => t.trigger_attestation(),
        ("drill", _) => t.trigger_drill(),
        ("webhook", source) if !source.is_empty() => t.trigger_source(source.to_owned()),
        _ => recorded.to_owned(),
    }
}

/// A stretch of a recovery as a person at the endpoint tells it; several stages of the machine.
#[derive(Debug, Clone, Copy)]
pub struct Stretch {
    /// Its name, two or three words.
    pub name: fn(Texts) -> String,
    /// Its first stage.
    pub first: Stage,
    /// Its last stage.
    pub last: Stage,
}

/// Every stage belongs to exactly one stretch.
pub const STRETCHES: [Stretch; 6] = [
    Stretch { name: Texts::stretch_approve, first: Stage::Proposed, last: Stage::Approved },
    Stretch { name: Texts::stretch_network, first: Stage::Fenced, last: Stage::AgentWait },
    Stretch { name: Texts::stretch_prove, first: Stage::Proving, last: Stage::Capturing },
    Stretch { name: Texts::stretch_write, first: Stage::Imaging, last: Stage::Disarming },
    Stretch { name: Texts::stretch_start, first: Stage::OsWait, last: Stage::Verifying },
    Stretch { name: Texts::stretch_enrol, first: Stage::Enrolling, last: Stage::Releasing },
];

/// The stretches of a capture.
pub const CAPTURE_STRETCHES: [Stretch; 5] = [
    Stretch { name: Texts::stretch_approve, first: Stage::Proposed, last: Stage::Fenced },
    Stretch { name: Texts::stretch_network, first: Stage::Ticketed, last: Stage::AgentWait },
    Stretch { name: Texts::stretch_prove, first: Stage::Proving, last: Stage::Proving },
    Stretch { name: Texts::stretch_read, first: Stage::Capturing, last: Stage::ReadBack },
    Stretch { name: Texts::stretch_own, first: Stage::Disarming, last: Stage::Releasing },
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

/// `4.2 s`, `3 min 05 s`, `2 h 10 min`; the decimal sign and the units are the language's.
#[must_use]
pub fn duration(ms: u64) -> String {
    let t = Texts::here();
    let seconds = ms / 1000;
    match seconds {
        0..10 => t.duration_seconds(tenths(ms / 100)),
        10..60 => t.duration_seconds(seconds),
        60..3600 => t.duration_minutes(seconds / 60, format!("{:02}", seconds % 60)),
        _ => t.duration_hours(seconds / 3600, format!("{:02}", seconds / 60 % 60)),
    }
}

fn tenths(count: u64) -> String {
    format!("{}{}{}", count / 10, Texts::here().decimal_sign(), count % 10)
}

/// `512 B`, `1.5 MiB`, `12 GiB`: powers of 1024, at most three digits.
#[must_use]
pub fn bytes(count: u64) -> String {
    let unit_of = Texts::here().byte_unit();
    let units = ["Ki", "Mi", "Gi", "Ti", "Pi"];
    if count < 1024 {
        return format!("{count} {unit_of}");
    }
    let mut parts = u128::from(count) * 10 / 1024;
    let mut unit = 0;
    while parts >= 10_240 && unit + 1 < units.len() {
        parts /= 1024;
        unit += 1;
    }
    let number = match u64::try_from(parts) {
        Ok(parts) if parts < 100 => tenths(parts),
        _ => (parts / 10).to_string(),
    };
    format!("{number} {}{unit_of}", units[unit])
}

/// A moment: UTC in the page, the reader's own clock once the script ran.
#[must_use]
pub fn moment(unix_ms: u64) -> Markup {
    let at =
        i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
    let text = at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    html! { time datetime=(at.strftime("%Y-%m-%dT%H:%M:%SZ")) data-moment=(unix_ms) { (text) } }
}

/// The time of day of a moment: UTC in the page, the reader's own clock once the script ran.
#[must_use]
pub fn time_of_day(unix_ms: u64) -> Markup {
    let at =
        i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
    let text = at.strftime("%H:%M UTC").to_string();
    html! { time datetime=(at.strftime("%Y-%m-%dT%H:%M:%SZ")) data-time=(unix_ms) { (text) } }
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
    fn the_records_words_show_commands_as_such_and_people_by_name() {
        let said = |words: &str| english(words).into_string();
        let span = |inside: &str| format!("<span lang=\"en\" dir=\"ltr\">{inside}</span>");
        assert_eq!(said("run `a <b>`, then go on"), span("run <code>a &lt;b&gt;</code>, then go on"));
        assert_eq!(said("asked by operator:anna."), span("asked by anna."));
        assert_eq!(said("Asked by operator:token."), span("Asked by the site's own key."));
        assert_eq!(actor("operator:anna"), "anna");
        assert_eq!(actor("operator:token"), "the site's own key");
        assert_eq!(actor("trigger:fleet"), "the source fleet");
        assert_eq!(actor("appliance"), "the appliance");
    }

    #[test]
    fn markup_goes_into_the_slots_of_a_text_and_the_text_stays_text() {
        let text = format!("<i> {} & {}", SLOTS[1], SLOTS[0]);
        let filled = fill(&text, [html! { b { "one" } }, html! { "two" }]).into_string();
        assert_eq!(filled, "&lt;i&gt; two &amp; <b>one</b>");
    }

    #[tokio::test]
    async fn numbers_have_the_decimal_sign_and_the_units_of_the_language() {
        let of = async |name| {
            Texts::of(name).unwrap().while_here(async { (bytes(1_572_864), duration(4_250)) }).await
        };
        assert_eq!(of("de").await, ("1,5 MiB".to_owned(), "4,2 s".to_owned()));
        assert_eq!(of("fr").await, ("1,5 Mio".to_owned(), "4,2 s".to_owned()));
        assert_eq!(of("zh").await, ("1.5 MiB".to_owned(), "4.2 秒".to_owned()));
    }

    #[test]
    fn a_moment_out_of_range_does_not_break_a_page() {
        assert!(moment(u64::MAX).into_string().contains("1970"));
        assert!(moment(1_763_800_000_000).into_string().contains("2025-11-22"));
    }
}
