//! One recovery job: what is happening, what now, the stretches with their times, the proof. Pure: a view in, markup out.

use maud::{Markup, html};
use recovery_protocol::{
    agent::{Activity, BootEntry},
    evidence::{self, Entry},
    job::{HoldReason, JobState, Word},
    operator::{JobKind, JobView, Mode, PhaseView, ProgressView},
};

use super::{
    drill::tape,
    may::Viewer,
    page::{code_text, sentence},
    reports, review,
    texts::Texts,
    words::{
        Progress, SLOTS, Tone, actor, badge, bytes, duration, english, fill, job_state, moment, since,
        stage_name, stretches_of, trigger,
    },
};
use crate::service::{NOT_TOUCHED, SWITCH_BY_HAND};

/// The live part of a job's page: its story, its numbers, its evidence.
#[must_use]
pub fn content(job: &JobView, evidence: &[String], viewer: &Viewer, now_ms: u64) -> Markup {
    let t = Texts::here();
    let (endpoint, id) = (job.endpoint.as_str(), html! { code class="long" { (job.job) } });
    html! {
        div class="job" data-now=(now_ms) {
            p class="crumb" { a href="/jobs" { (t.tab_jobs()) } " › " a href={ "/endpoints/" (endpoint) } { (endpoint) } }
            @if job.mode == Mode::Drill { (tape()) }
            h1 { (title(job)) }
            p class="subtitle" {
                (job.image_name) " · " (asked_by(job)) " · " (moment(job.asked_unix_ms))
                @if !job.reason.is_empty() { " · “" (job.reason) "”" }
            }
            (story(job, now_ms))
            (decisions(job, viewer))
            (numbers(job))
            (captured(job))
            (super::exhibit::card(job))
            (waterfall(job, now_ms))
            (evidence_list(evidence))
            (reports::links(&format!("/api/v1/jobs/{}/report", job.job)))
            p class="small" { (fill(&t.job_id(SLOTS[0]), [id]))
                @if job.kind == JobKind::Recovery || job.state == JobState::Captured {
                    " · " (fill(&t.image_id(SLOTS[0]), [html! { code class="long" { (job.image.to_string()) } }]))
                }
            }
        }
    }
}

/// What asked for it, in a few words.
#[must_use]
pub fn asked_by(job: &JobView) -> String {
    Texts::here().asked_by(trigger(&job.trigger))
}

/// What the job is, as the title of its page.
#[must_use]
pub fn title(job: &JobView) -> String {
    let t = Texts::here();
    match job.kind {
        JobKind::Capture => t.capture_of(job.endpoint.as_str()),
        JobKind::Recovery => t.recovery_of(job.endpoint.as_str()),
    }
}

/// What is said of a job: in the reader's language, and beside it what the record says more.
pub struct Said {
    /// What happens or happened.
    pub what: Markup,
    /// What now; nothing where nobody needs to do anything.
    pub now: Option<Markup>,
    /// The record's own words, where they say more.
    pub beside: Option<Markup>,
}

impl Said {
    /// All of it in one line, for lists.
    #[must_use]
    pub fn in_a_row(&self) -> Markup {
        html! { (self.what) @if let Some(now) = &self.now { " " (now) } }
    }
}

/// The sentences of a job. English ones are the record's own.
#[must_use]
pub fn said_of(job: &JobView) -> Said {
    let t = Texts::here();
    let record = || {
        (english(sentence(&job.what)), (!job.what_now.is_empty()).then(|| english(sentence(&job.what_now))))
    };
    if t.is_the_records() {
        let (what, now) = record();
        return Said { what, now, beside: None };
    }
    let (endpoint, image) = (job.endpoint.as_str(), job.image_name.as_str());
    let mut plain = (String::new(), String::new());
    let (what, now) = match &job.state {
        JobState::Working { stage } => {
            let by_hand = job.what_now == SWITCH_BY_HAND;
            plain = (
                sentence(&stage_name(*stage)),
                if by_hand { SWITCH_BY_HAND.to_owned() } else { String::new() },
            );
            (sentence(&stage_name(*stage)), by_hand.then(|| t.now_by_hand()))
        }
        JobState::Held { reason, detail, .. } => {
            plain = (whole(*reason, detail), reason.what_now().to_owned());
            (of_code(*reason, "what", reason.what()), Some(of_code(*reason, "now", reason.what_now())))
        }
        JobState::Failed { reason, detail, .. } => {
            plain = (whole(*reason, detail), job.what_now.clone());
            (of_code(*reason, "what", reason.what()), Some(t.now_failed()))
        }
        JobState::Recovered => match job.word {
            Word::CheckIn => (t.said_recovered(endpoint, image), None),
            Word::ControlPlane => (t.said_recovered_plane(endpoint, image), None),
            Word::Person => (t.said_recovered_person(endpoint, image), None),
        },
        JobState::Captured => (t.said_captured(endpoint, image), Some(t.now_sign())),
        JobState::Cancelled { stage } if job.what.contains(NOT_TOUCHED) => {
            (t.said_untouched(stage_name(*stage)), None)
        }
        JobState::Cancelled { stage } => (t.said_given_up(stage_name(*stage)), Some(t.now_order_new())),
    };
    let more = !plain.0.is_empty() && (plain.0 != job.what || plain.1 != job.what_now);
    let beside = more.then(|| {
        let (what, now) = record();
        html! { (t.record_says()) " " (what) @if let Some(now) = now { " " (now) } }
    });
    Said { what: html! { (what) }, now: now.map(|now| html! { (now) }), beside }
}

fn whole(reason: HoldReason, detail: &str) -> String {
    if detail.is_empty() { reason.what().to_owned() } else { format!("{} {detail}", reason.what()) }
}

fn of_code(reason: HoldReason, what: &str, english: &str) -> String {
    code_text(reason.code(), what).unwrap_or_else(|| english.to_owned())
}

/// What is happening, in a card: sentence, what now, stretches, progress.
#[must_use]
pub fn story(job: &JobView, now_ms: u64) -> Markup {
    let t = Texts::here();
    let (tone, word) = job_state(&job.state);
    let end = job.over_unix_ms.unwrap_or(now_ms);
    let said = said_of(job);
    html! {
        section class={ "card story " (tone.class()) } {
            div class="card-head" {
                (badge(tone, word))
                span class="clock" {
                    @if job.over_unix_ms.is_some() { (duration(end.saturating_sub(job.asked_unix_ms))) }
                    @else { (since(job.asked_unix_ms, now_ms)) }
                }
            }
            p class="what" { (said.what) }
            @if let Some(now) = &said.now { p class="now" { strong { (t.what_now()) " " } (now) } }
            @if let JobState::Held { reason, detail, .. } | JobState::Failed { reason, detail, .. } = &job.state { (why(*reason, detail)) }
            @if let Some(beside) = &said.beside { p class="small" { (beside) } }
            @if let Some(progress) = job.progress { (progress_bar(progress)) }
            (stretches(job, now_ms))
            @if let (JobState::Working { .. }, Some(limit)) = (&job.state, job.limit_unix_ms) {
                p class="small" { (fill(&t.limit_says(SLOTS[0]), [moment(limit)])) }
            }
        }
    }
}

fn why(reason: HoldReason, detail: &str) -> Markup {
    html! {
        p class="small" {
            (Texts::here().word_code()) " " code { (reason.code()) }
            @if !detail.is_empty() { " · " (english(sentence(detail))) }
        }
    }
}

/// Bytes of what it is doing now.
#[must_use]
pub fn progress_bar(progress: ProgressView) -> Markup {
    let t = Texts::here();
    let doing = match progress.activity {
        Activity::Scanning => t.activity_scanning(),
        Activity::Writing => t.activity_writing(),
        Activity::ReadingBack => t.activity_reading_back(),
        Activity::Capturing => t.stretch_read(),
        Activity::Erasing => t.activity_erasing(),
        Activity::Keeping => t.activity_keeping(),
    };
    html! {
        div class="progress" {
            label for="bytes" { (doing) }
            progress id="bytes" max=(progress.total_bytes.max(1)) value=(progress.done_bytes) {}
            span class="small" {
                (t.bytes_of(bytes(progress.done_bytes), bytes(progress.total_bytes)))
                @if progress.rate > 0 { " · " (t.rate_per_second(bytes(progress.rate))) }
            }
        }
    }
}

/// The stretches, each with how far it is.
#[must_use]
pub fn stretches(job: &JobView, now_ms: u64) -> Markup {
    let t = Texts::here();
    html! {
        ol class="stretches" {
            @for stretch in stretches_of(job.kind) {
                @let (class, tone, said) = match stretch.progress(job) {
                    Progress::Ahead => ("ahead", Tone::Quiet, t.stretch_ahead()),
                    Progress::Now => ("now", Tone::Busy, t.stretch_now()),
                    Progress::Stopped => ("stopped", Tone::Attention, t.stretch_stopped()),
                    Progress::Done => ("done", Tone::Good, t.stretch_done()),
                };
                @let spent = stretch.spent_ms(&job.phases, job.over_unix_ms.unwrap_or(now_ms));
                li class=(class) {
                    (tone.shape())
                    span class="stretch-name" { ((stretch.name)(t)) }
                    span class="stretch-said" { (said) }
                    span class="stretch-time" {
                        @if class == "now" { (since(now_ms.saturating_sub(spent), now_ms)) }
                        @else if spent > 0 { (duration(spent)) }
                    }
                }
            }
        }
    }
}

/// The buttons that this state allows.
#[must_use]
pub fn decisions(job: &JobView, viewer: &Viewer) -> Markup {
    let t = Texts::here();
    let button = |action: &str, route: &str, class: &str, word: String| {
        html! {
            form method="post" action={ "/jobs/" (job.job) "/" (action) } {
                @if action == "approve" { input type="hidden" name="seen" value=[job.approves.as_ref()]; }
                (viewer.plain(route, class, action, word))
            }
        }
    };
    let (approve, resume, cancel) = ("/jobs/{job}/approve", "/jobs/{job}/resume", "/jobs/{job}/cancel");
    html! {
        (review::mark(job))
        @if job.give_up_preserved && !job.state.is_over() {
            p class="warning" role="note" {
                strong { (t.preserved_given_up()) } " " (t.preserved_given_up_more())
            }
        }
        @match &job.state {
            JobState::Held { .. } => div class="actions" {
                @if job.approves.is_some() { (button("approve", approve, "primary", t.button_approve())) }
                @else { (button("resume", resume, "primary", t.button_go_on())) }
                (button("cancel", cancel, "", t.button_give_up()))
            },
            JobState::Working { stage } => div class="actions" {
                (button("cancel", cancel, "", if stage.past_point_of_no_return() { t.button_stop() } else { t.button_cancel() }))
            },
            // Orders of other pages begin captures and rehearsals anew.
            JobState::Cancelled { .. } | JobState::Failed { .. } if job.kind == JobKind::Recovery && job.mode == Mode::Real => {
                div class="actions" { (button("retry", "/jobs/{job}/retry", "primary", t.button_retry())) }
            }
            JobState::Recovered | JobState::Captured | JobState::Cancelled { .. } | JobState::Failed { .. } => {}
        }
    }
}

/// The page between a stop button and the stop.
#[must_use]
pub fn confirm_cancel(job: &JobView, viewer: &Viewer) -> Markup {
    let (t, endpoint) = (Texts::here(), job.endpoint.as_str());
    let late = job.state.stage().is_some_and(|stage| stage.past_point_of_no_return());
    html! {
        section class="card attention" {
            h1 { (t.stop_sure(endpoint)) }
            @if late { p { (t.stop_late(endpoint)) } }
            @else { p { (t.stop_early()) } }
            form method="post" action={ "/jobs/" (job.job) "/cancel" } {
                input type="hidden" name="confirm" value="yes";
                label for="reason" { (t.why_field()) }
                input id="reason" name="reason" maxlength="200" autocomplete="off";
                div class="actions" {
                    (viewer.plain("/jobs/{job}/cancel", "danger", "sure", t.yes_stop()))
                    a class="button" href={ "/endpoints/" (job.endpoint) } { (t.no_back()) }
                }
            }
        }
    }
}

fn numbers(job: &JobView) -> Markup {
    let t = Texts::here();
    html! {
        @if let Some(plan) = job.plan {
            section class="card" {
                h2 { (t.plan_result()) }
                dl class="figures" {
                    dt { (t.fig_image()) } dd { (bytes(plan.image_bytes)) }
                    dt { (t.fig_keep()) } dd { (bytes(plan.keep_bytes)) }
                    @if plan.preserve_bytes > 0 { dt { (t.fig_preserved()) } dd { (bytes(plan.preserve_bytes)) } }
                    @if plan.move_bytes > 0 { dt { (t.fig_move()) } dd { (bytes(plan.move_bytes)) } }
                    dt { (t.fig_fetch()) } dd { (t.in_chunks(bytes(plan.fetch_bytes), plan.fetch_chunks)) }
                    dt { (t.fig_zero()) } dd { (bytes(plan.zero_bytes)) }
                    @if let Some(health) = &job.disk_health { dt { (t.fig_health()) } dd { (english(health)) } }
                    @if let Some(erased) = &job.erased { dt { (t.fig_erased()) } dd { (english(erased)) } }
                    @if let Some(restore) = job.restore {
                        dt { (t.fig_wire()) } dd { (bytes(restore.wire_bytes)) }
                        dt { (t.fig_written()) } dd { (bytes(restore.written_bytes)) }
                        dt { (t.fig_read_back()) } dd { (bytes(restore.read_back_bytes)) }
                        @if let Some(said) = boot_entry(restore.boot_entry) { dt { (t.fig_boot_entry()) } dd { (said) } }
                    }
                }
            }
        }
    }
}

/// What became of it, in words; nothing where there was nothing to do.
fn boot_entry(entry: BootEntry) -> Option<String> {
    let t = Texts::here();
    match entry {
        BootEntry::None => None,
        BootEntry::Kept => Some(t.entry_kept()),
        BootEntry::Set => Some(t.entry_set()),
        BootEntry::Refused => Some(t.entry_refused()),
    }
}

/// What a capture found, and what is to be looked at before anybody signs it.
fn captured(job: &JobView) -> Markup {
    let t = Texts::here();
    html! {
        @if let Some(captured) = &job.captured {
            section class="card" {
                h2 { (t.captured_title()) }
                dl class="figures" {
                    dt { (t.fact_disk()) } dd { (bytes(captured.disk_bytes)) }
                    dt { (t.fig_kept()) } dd { (bytes(captured.data_bytes)) }
                    dt { (t.fig_free()) } dd { (bytes(captured.free_bytes)) }
                    dt { (t.fig_wire()) } dd { (t.in_chunks(bytes(captured.sent_bytes), captured.new_chunks)) }
                }
                @if !captured.warnings.is_empty() {
                    h3 { (t.captured_look()) }
                    ul { @for warning in &captured.warnings { li { (english(warning)) } } }
                }
            }
        }
    }
}

/// Each passage through a stage as a bar on one time axis; the table beside it says the same in words.
fn waterfall(job: &JobView, now_ms: u64) -> Markup {
    let t = Texts::here();
    let end = job.over_unix_ms.unwrap_or(now_ms).max(job.asked_unix_ms + 1);
    let whole = end - job.asked_unix_ms;
    let permille = |ms: u64| u128::from(ms.saturating_sub(job.asked_unix_ms)) * 1000 / u128::from(whole);
    html! {
        @if !job.phases.is_empty() {
            section class="card" {
                h2 { (t.phases_title()) }
                table class="phases" {
                    thead { tr { th scope="col" { (t.col_phase()) } th scope="col" class="bar-cell" { (t.col_when()) } th scope="col" class="num" { (t.col_time()) } } }
                    tbody {
                        @for PhaseView { stage, from_unix_ms, to_unix_ms } in &job.phases {
                            @let to = to_unix_ms.unwrap_or(end);
                            tr {
                                th scope="row" { (stage_name(*stage)) }
                                td class="bar-cell" {
                                    svg class="bar" viewBox="0 0 1000 16" preserveAspectRatio="none" aria-hidden="true" {
                                        rect class="bar-track" x="0" y="7" width="1000" height="2" {}
                                        rect class="bar-fill" x=(permille(*from_unix_ms)) y="2" height="12"
                                            width=(permille(to).saturating_sub(permille(*from_unix_ms)).max(4)) {}
                                    }
                                }
                                td class="num" { (duration(to.saturating_sub(*from_unix_ms))) }
                            }
                        }
                    }
                    tfoot { tr { th scope="row" { (t.in_all()) } td class="bar-cell" {} td class="num" { (duration(whole)) } } }
                }
            }
        }
    }
}

fn evidence_list(lines: &[String]) -> Markup {
    let t = Texts::here();
    let entries: Vec<Entry> = lines.iter().filter_map(|line| evidence::entry(line)).collect();
    html! {
        details class="card" id="evidence" {
            summary { (t.evidence_title(entries.len())) }
            ol class="evidence" lang="en" dir="ltr" {
                @for entry in &entries {
                    li value=(entry.seq) {
                        span class="small" { (moment(entry.at_unix_ms)) " · " (actor(&entry.actor)) }
                        strong { (entry.kind) }
                        @for (name, value) in facts(entry) { span class="small long" { (name) " " code { (value) } } }
                    }
                }
            }
            p class="small" { (fill(&t.evidence_check(SLOTS[0]), [html! { code { "groundstate evidence verify" } }])) }
        }
    }
}

/// The facts of an entry as names and short values; a transition as the two stages.
#[must_use]
pub fn facts(entry: &Entry) -> Vec<(String, String)> {
    let stage = |name: &str| {
        let state = entry.facts.get(name)?;
        let word = state.get("stage").or_else(|| state.get("is"))?.as_str()?;
        Some(if state.get("is")? == "held" { format!("{word} (held)") } else { word.to_owned() })
    };
    if let (Some(from), Some(to)) = (stage("from"), stage("to")) {
        return vec![(String::new(), format!("{from} → {to}"))];
    }
    let short = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    entry.facts.iter().map(|(name, value)| (name.replace('_', " "), short(value))).collect()
}
