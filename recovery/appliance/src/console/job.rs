//! One recovery job: what is happening, what now, the stretches with their times, the proof. Pure: a view in, markup out.

use maud::{Markup, html};
use recovery_protocol::{
    agent::{Activity, BootEntry},
    evidence::{self, Entry},
    job::{HoldReason, JobState},
    operator::{JobKind, JobView, Mode, PhaseView, ProgressView},
};

use super::{
    may::Viewer,
    page::sentence,
    review,
    words::{Progress, Tone, badge, bytes, duration, job_state, moment, since, stretches_of},
};

/// The live part of a job's page: its story, its numbers, its evidence.
#[must_use]
pub fn content(job: &JobView, evidence: &[String], viewer: &Viewer, now_ms: u64) -> Markup {
    html! {
        div class="job" data-now=(now_ms) {
            p class="crumb" { a href="/" { "Endpoints" } " › " a href={ "/endpoints/" (job.endpoint) } { (job.endpoint) } }
            @if job.mode == Mode::Drill { p class="drill-tape" { "DRILL" } }
            h1 { @if job.kind == JobKind::Capture { "Capture of " } @else { "Recovery of " } (job.endpoint) }
            p class="subtitle" {
                (job.image_name) " · asked for by " (job.trigger) " · " (moment(job.asked_unix_ms))
                @if !job.reason.is_empty() { " · “" (job.reason) "”" }
            }
            (story(job, now_ms))
            (decisions(job, viewer))
            (numbers(job))
            (captured(job))
            (waterfall(job, now_ms))
            (evidence_list(evidence))
            p class="small" { "Job " code class="long" { (job.job) }
                @if job.kind == JobKind::Recovery || job.state == JobState::Captured {
                    " · image " code class="long" { (job.image.to_string()) }
                }
            }
        }
    }
}

/// What is happening, in a card: sentence, what now, stretches, progress.
#[must_use]
pub fn story(job: &JobView, now_ms: u64) -> Markup {
    let (tone, word) = job_state(&job.state);
    let end = job.over_unix_ms.unwrap_or(now_ms);
    html! {
        section class={ "card story " (tone.class()) } {
            div class="card-head" {
                (badge(tone, word))
                span class="clock" {
                    @if job.over_unix_ms.is_some() { (duration(end.saturating_sub(job.asked_unix_ms))) }
                    @else { (since(job.asked_unix_ms, now_ms)) }
                }
            }
            p class="what" { (sentence(&job.what)) }
            @if !job.what_now.is_empty() { p class="now" { strong { "What now: " } (sentence(&job.what_now)) } }
            @if let JobState::Held { reason, detail, .. } | JobState::Failed { reason, detail, .. } = &job.state { (why(*reason, detail)) }
            @if let Some(progress) = job.progress { (progress_bar(progress)) }
            (stretches(job, now_ms))
            @if let (JobState::Working { .. }, Some(limit)) = (&job.state, job.limit_unix_ms) {
                p class="small" { "If nothing moves, it stops and says why at " (moment(limit)) "." }
            }
        }
    }
}

fn why(reason: HoldReason, detail: &str) -> Markup {
    html! {
        p class="small" {
            "Code " code { (reason.code()) }
            @if !detail.is_empty() { " · " (detail) }
        }
    }
}

fn progress_bar(progress: ProgressView) -> Markup {
    let doing = match progress.activity {
        Activity::Scanning => "Reading the disk",
        Activity::Writing => "Writing",
        Activity::ReadingBack => "Reading back",
        Activity::Capturing => "Reading the disk into the store",
        Activity::Erasing => "Erasing the disk",
    };
    html! {
        div class="progress" {
            label for="bytes" { (doing) }
            progress id="bytes" max=(progress.total_bytes.max(1)) value=(progress.done_bytes) {}
            span class="small" {
                (bytes(progress.done_bytes)) " of " (bytes(progress.total_bytes))
                @if progress.rate > 0 { " · " (bytes(progress.rate)) "/s" }
            }
        }
    }
}

fn stretches(job: &JobView, now_ms: u64) -> Markup {
    html! {
        ol class="stretches" {
            @for stretch in stretches_of(job.kind) {
                @let (class, tone, said) = match stretch.progress(job) {
                    Progress::Ahead => ("ahead", Tone::Quiet, "to come"),
                    Progress::Now => ("now", Tone::Busy, "now"),
                    Progress::Stopped => ("stopped", Tone::Attention, "stopped here"),
                    Progress::Done => ("done", Tone::Good, "done"),
                };
                @let spent = stretch.spent_ms(&job.phases, job.over_unix_ms.unwrap_or(now_ms));
                li class=(class) {
                    (tone.shape())
                    span class="stretch-name" { (stretch.name) }
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
    let button = |action: &str, route: &str, class: &str, word: &str| {
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
                strong { "Preserved partitions are given up." }
                " What the endpoint has on them is written over with what the image has there."
            }
        }
        @match &job.state {
            JobState::Held { .. } => div class="actions" {
                @if job.approves.is_some() { (button("approve", approve, "primary", "Approve")) }
                @else { (button("resume", resume, "primary", "Go on")) }
                (button("cancel", cancel, "", "Give up"))
            },
            JobState::Working { stage } => div class="actions" {
                (button("cancel", cancel, "", if stage.past_point_of_no_return() { "Stop" } else { "Cancel" }))
            },
            JobState::Recovered | JobState::Captured | JobState::Cancelled { .. } | JobState::Failed { .. } => {}
        }
    }
}

/// The page between a stop button and the stop.
#[must_use]
pub fn confirm_cancel(job: &JobView, viewer: &Viewer) -> Markup {
    let late = job.state.stage().is_some_and(|stage| stage.past_point_of_no_return());
    html! {
        section class="card attention" {
            h1 { "Stop the recovery of " (job.endpoint) "?" }
            @if late { p { "Its disk is being written: " (job.endpoint) " does not boot until the recovery is finished." } }
            @else { p { "Its disk is untouched so far." } }
            form method="post" action={ "/jobs/" (job.job) "/cancel" } {
                input type="hidden" name="confirm" value="yes";
                label for="reason" { "Why? (goes into evidence, may stay empty)" }
                input id="reason" name="reason" maxlength="200" autocomplete="off";
                div class="actions" {
                    (viewer.plain("/jobs/{job}/cancel", "danger", "sure", "Yes, stop it"))
                    a class="button" href={ "/endpoints/" (job.endpoint) } { "No, go back" }
                }
            }
        }
    }
}

fn numbers(job: &JobView) -> Markup {
    html! {
        @if let Some(plan) = job.plan {
            section class="card" {
                h2 { "Plan and result" }
                dl class="figures" {
                    dt { "Image" } dd { (bytes(plan.image_bytes)) }
                    dt { "Already right" } dd { (bytes(plan.keep_bytes)) }
                    @if plan.preserve_bytes > 0 { dt { "Preserved, hashed before and after" } dd { (bytes(plan.preserve_bytes)) } }
                    @if plan.move_bytes > 0 { dt { "Elsewhere on the disk" } dd { (bytes(plan.move_bytes)) } }
                    dt { "To fetch" } dd { (bytes(plan.fetch_bytes)) " in " (plan.fetch_chunks) " chunks" }
                    dt { "To make zero" } dd { (bytes(plan.zero_bytes)) }
                    @if let Some(health) = &job.disk_health { dt { "Disk health" } dd { (health) } }
                    @if let Some(erased) = &job.erased { dt { "Disk erased" } dd { (erased) } }
                    @if let Some(restore) = job.restore {
                        dt { "Over the network" } dd { (bytes(restore.wire_bytes)) }
                        dt { "Written" } dd { (bytes(restore.written_bytes)) }
                        dt { "Read back, equal" } dd { (bytes(restore.read_back_bytes)) }
                        @if let Some(said) = boot_entry(restore.boot_entry) { dt { "Firmware's boot entry" } dd { (said) } }
                    }
                }
            }
        }
    }
}

/// What became of it, in words; nothing where there was nothing to do.
fn boot_entry(entry: BootEntry) -> Option<&'static str> {
    match entry {
        BootEntry::None => None,
        BootEntry::Kept => Some("was right"),
        BootEntry::Set => Some("set"),
        BootEntry::Refused => Some("the firmware refused it: see that it boots this disk by itself"),
    }
}

/// What a capture found, and what is to be looked at before anybody signs it.
fn captured(job: &JobView) -> Markup {
    html! {
        @if let Some(captured) = &job.captured {
            section class="card" {
                h2 { "What was captured" }
                dl class="figures" {
                    dt { "Disk" } dd { (bytes(captured.disk_bytes)) }
                    dt { "Kept" } dd { (bytes(captured.data_bytes)) }
                    dt { "Free, left out" } dd { (bytes(captured.free_bytes)) }
                    dt { "Over the network" } dd { (bytes(captured.sent_bytes)) " in " (captured.new_chunks) " chunks" }
                }
                @if !captured.warnings.is_empty() {
                    h3 { "Look at this before you sign it" }
                    ul { @for warning in &captured.warnings { li { (warning) } } }
                }
            }
        }
    }
}

/// Each passage through a stage as a bar on one time axis; the table beside it says the same in words.
fn waterfall(job: &JobView, now_ms: u64) -> Markup {
    let end = job.over_unix_ms.unwrap_or(now_ms).max(job.asked_unix_ms + 1);
    let whole = end - job.asked_unix_ms;
    let permille = |ms: u64| u128::from(ms.saturating_sub(job.asked_unix_ms)) * 1000 / u128::from(whole);
    html! {
        @if !job.phases.is_empty() {
            section class="card" {
                h2 { "Phases" }
                table class="phases" {
                    thead { tr { th scope="col" { "Phase" } th scope="col" class="bar-cell" { "When" } th scope="col" class="num" { "Time" } } }
                    tbody {
                        @for PhaseView { stage, from_unix_ms, to_unix_ms } in &job.phases {
                            @let to = to_unix_ms.unwrap_or(end);
                            tr {
                                th scope="row" { (stage.label()) }
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
                    tfoot { tr { th scope="row" { "In all" } td class="bar-cell" {} td class="num" { (duration(whole)) } } }
                }
            }
        }
    }
}

fn evidence_list(lines: &[String]) -> Markup {
    let entries: Vec<Entry> = lines.iter().filter_map(|line| evidence::entry(line)).collect();
    html! {
        details class="card" id="evidence" {
            summary { "Evidence (" (entries.len()) " entries)" }
            ol class="evidence" {
                @for entry in &entries {
                    li value=(entry.seq) {
                        span class="small" { (moment(entry.at_unix_ms)) " · " (entry.actor) }
                        strong { (entry.kind) }
                        @for (name, value) in facts(entry) { span class="small long" { (name) " " code { (value) } } }
                    }
                }
            }
            p class="small" { "Check the whole log with " code { "groundstate evidence verify" } "." }
        }
    }
}

/// The facts of an entry as names and short values; a transition as the two stages.
fn facts(entry: &Entry) -> Vec<(String, String)> {
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
