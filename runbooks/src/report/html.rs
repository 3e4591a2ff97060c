//! The page: lays the model out, decides nothing.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{Claim, EndpointResult, RunReport, Standing, waterfall::waterfall, words};
use crate::{
    run::{CheckResult, Verdict},
    runbook::ModeName,
};

const STYLE: &str = include_str!("style.css");

pub(super) fn page(report: &RunReport) -> String {
    let rehearsal = report.mode != ModeName::Real;
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { (title(report)) ": " (report.plan.title) " (" (report.run) ")" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                @if rehearsal {
                    @for side in ["top", "bottom"] { div class={ "edge " (side) } { b { "DRILL" } } }
                    @for side in ["left", "right"] { div class={ "edge " (side) } {} }
                }
                // The empty head and foot keep the text clear of the frame on every printed page.
                table.sheet role="presentation" {
                    thead { tr { td {} } }
                    tfoot { tr { td {} } }
                    tbody { tr { td { (content(report)) } } }
                }
            }
        }
    };
    markup.into_string()
}

fn title(report: &RunReport) -> &'static str {
    if report.mode == ModeName::Real { "Recovery report" } else { "Drill report" }
}

fn content(report: &RunReport) -> Markup {
    html! {
        (header(report))
        (outcome(report))
        (scope(report))
        (objectives(report))
        (actions(report))
        (endpoints(report))
        (steps(report))
        (checks_and_cleanup(report))
        (not_assessed(report))
        (timeline(report))
        (evidence(report))
        (signing(report))
    }
}

/// A sentence in which what stands between backquotes is code.
fn prose(text: &str) -> Markup {
    html! {
        @for (at, part) in text.split('`').enumerate() {
            @if at % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

fn header(report: &RunReport) -> Markup {
    html! {
        header {
            p.kind { (title(report)) " · mode " (report.mode.word()) " · " (report.site) }
            h1 { (report.plan.title) }
            p { (report.plan.purpose) }
            dl {
                dt { "Run" } dd { (report.run) ", by " (report.appliance) }
                dt { "Runbook" } dd { (report.plan.runbook) " version " (report.plan.version) ", answered for by " (report.plan.owner) }
                dt { "Began" } dd { (report.begun_at_ms.map_or("never".into(), words::moment)) }
                dt { "Report written" } dd { (words::moment(report.written_at_ms)) }
                @for person in &report.people {
                    dt { "Person" } dd { (person.person) " " (person.part) ", " (words::moment(person.at_ms)) }
                }
            }
        }
    }
}

fn outcome(report: &RunReport) -> Markup {
    let (class, word) = match report.verdict {
        Verdict::Succeeded => ("good", "Succeeded"),
        Verdict::Partly => ("part", "In part"),
        Verdict::Failed => ("bad", "Failed"),
        Verdict::Aborted => ("bad", "Stopped"),
    };
    html! {
        div class={ "outcome " (class) } {
            strong { (word) }
            div { @for sentence in &report.summary { p { (prose(sentence)) } } }
        }
    }
}

fn standing(standing: Standing) -> Markup {
    let (class, word) = match standing {
        Standing::Met => ("good", "met"),
        Standing::Missed => ("bad", "missed"),
        Standing::NoTarget => ("none", "no target"),
        Standing::NotMeasured => ("none", "not measured"),
    };
    html! { span class={ "word " (class) } { (word) } }
}

fn objectives(report: &RunReport) -> Markup {
    let time = |ms: Option<u64>| ms.map_or("–".to_owned(), words::length);
    html! {
        h2 { "Objectives" }
        table.data {
            thead { tr { th { "Objective" } th { "Measured" } th.num { "Target" } th.num { "Actual" } th.num { "n" } th { "" } } }
            tbody {
                @for objective in &report.objectives {
                    tr {
                        td { (objective.name) } td.note { (objective.meaning) }
                        td.num { (time(objective.target_ms)) } td.num { (time(objective.actual_ms)) }
                        td.num { (objective.n) } td { (standing(objective.standing)) }
                    }
                }
            }
        }
        @for claim in &report.claims { (claim_text(claim)) }
    }
}

fn claim_text(claim: &Claim) -> Markup {
    let summary = &claim.summary;
    html! {
        p.note {
            b { "What may be claimed for " (claim.of) ": " }
            "n = " (summary.n) ", median " (words::length(summary.median_ms)) ", slowest " (words::length(summary.max_ms))
            @if let Some(p95_ms) = summary.p95_ms { ", 95th percentile " (words::length(p95_ms)) }
            @else { " (no percentile below 20 runs)" }
            ". "
            @match claim.percent {
                Some(percent) => {
                    "With 95 % confidence at least " (percent) " % of such recoveries finish within the slowest one seen"
                    @if claim.missing_for_90 > 0 { "; " (words::count(claim.missing_for_90 as usize, "more clean run")) " would make that 90 %" }
                    "."
                }
                None => { "A run of this class did not finish, so nothing may be claimed; 29 clean runs in a row would allow 90 %." }
            }
        }
    }
}

fn actions(report: &RunReport) -> Markup {
    html! {
        h2 { "After-action items" }
        @if report.actions.is_empty() {
            p { "None: every step passed within its target and every objective that was measured was met." }
        } @else {
            table.data {
                thead { tr { th { "No." } th { "From" } th { "What happened" } th { "What to do" } th style="width:26mm" { "Owner, due" } } }
                tbody {
                    @for action in &report.actions {
                        tr { td { (action.id) } td { (prose(&action.from)) } td { (prose(&action.what)) } td { (action.what_now) } td {} }
                    }
                }
            }
            p.note { "An item is closed by a later run in which the same step passes." }
        }
    }
}

fn endpoints(report: &RunReport) -> Markup {
    html! {
        h2 { "Result per endpoint" }
        @for endpoint in &report.endpoints { (one_endpoint(endpoint)) }
    }
}

fn one_endpoint(endpoint: &EndpointResult) -> Markup {
    let (class, planned) = (state_class(&endpoint.state), &endpoint.planned);
    let measured = &endpoint.measured;
    html! {
        section.endpoint {
            h3 { (planned.target) ": " span class={ "word " (class) } { (endpoint.state) } }
            @if let Some(failure) = &endpoint.failure {
                p { b { (failure.what) } " " (failure.what_now) " " code { "[" (failure.code) "]" } }
            }
            dl {
                dt { "Class, place, zone" } dd { (planned.class) ", " (planned.place.label()) ", zone " (planned.zone) }
                @if let Some(observed) = &endpoint.observed {
                    dt { "Golden image" } dd { (observed.image_name) }
                    @if let Some(job) = &observed.job { dt { "Recovery job" } dd { code { (job) } } }
                    @if let Some(bytes) = observed.written_bytes { dt { "Written" } dd { (words::size(bytes)) } }
                }
                dt { "RTO" } dd {
                    "service " (measured.service_rto_ms.map_or("not reached".into(), words::length))
                    ", machine " (measured.machine_rto_ms.map_or("not reached".into(), words::length))
                }
            }
            @if let Some(observed) = &endpoint.observed {
                (waterfall(planned.target.as_str(), &observed.timings, endpoint.target_ms))
            }
            (checks(&endpoint.checks))
        }
    }
}

fn state_class(state: &str) -> &'static str {
    match state {
        "proven" | "passed" => "good",
        "failed" => "bad",
        "held" | "working" => "part",
        _ => "none",
    }
}

fn checks(checks: &[CheckResult]) -> Markup {
    html! {
        @if !checks.is_empty() {
            table.data {
                thead { tr { th { "Check" } th { "Expected" } th { "Seen" } th { "" } } }
                tbody {
                    @for check in checks {
                        tr {
                            td { (check.check) } td { (check.expected) } td { (check.seen) }
                            td { @if check.passed { span.word.good { "passed" } } @else { span.word.bad { "failed" } } }
                        }
                    }
                }
            }
        }
    }
}

fn steps(report: &RunReport) -> Markup {
    html! {
        h2 { "Steps" }
        table.data {
            thead { tr { th { "Step" } th { "Endpoint" } th { "" } th { "What" } th { "Began" } th.num { "Took" } th.num { "Target" } } }
            tbody {
                @for step in &report.steps {
                    tr {
                        td { b { (step.step) } br; span.note { (step.verb) } }
                        td { @if let Some(target) = &step.target { (target) } }
                        td { span class={ "word " (state_class(&step.state)) } { (step.state) } }
                        td { (prose(&step.what)) @if step.attempts > 1 { " (attempt " (step.attempts) ")" } }
                        td.num { (step.from_ms.map_or("–".into(), words::clock)) }
                        td.num { (step.took_ms.map_or("–".into(), words::length)) }
                        td.num { (step.target_ms.map_or("–".into(), words::length)) }
                    }
                }
            }
        }
        @if !report.deviations.is_empty() {
            h3 { "Where the run left its plan" }
            ul { @for deviation in &report.deviations { li { (prose(deviation)) } } }
        }
    }
}

fn checks_and_cleanup(report: &RunReport) -> Markup {
    html! {
        h2 { "Checks that failed" }
        @if report.failed_checks.is_empty() {
            p { "None." }
        } @else {
            table.data {
                thead { tr { th { "Step" } th { "Endpoint" } th { "Check" } th { "Expected" } th { "Seen" } } }
                tbody {
                    @for failed in &report.failed_checks {
                        tr {
                            td { (failed.step) } td { @if let Some(target) = &failed.target { (target) } }
                            td { (failed.check.check) } td { (failed.check.expected) } td { (failed.check.seen) }
                        }
                    }
                }
            }
        }
        h2 { "Proof of clean-up" }
        p {
            @if report.cleanup.proven { span.word.good { "Proven." } " Nothing of the run was left behind:" }
            @else { span.word.bad { "Not proven." } " Do not close this run before it is:" }
        }
        (checks(&report.cleanup.checks))
    }
}

fn scope(report: &RunReport) -> Markup {
    html! {
        h2 { "Scope, as planned and approved" }
        table.data {
            thead { tr { th { "Endpoint" } th { "Class" } th { "Place" } th { "Zone" } th { "Golden image (digest)" } } }
            tbody {
                @for target in &report.scope {
                    tr {
                        td { (target.target) } td { (target.class) } td { (target.place.label()) } td { (target.zone) }
                        td.hash { (target.image) }
                    }
                }
            }
        }
        dl {
            dt { "Runbook's text" } dd.hash { "blake3 " (report.plan.digest) }
            dt { "The plan as a whole" } dd.hash { "blake3 " (report.plan.binding) }
        }
        @if report.mode != ModeName::Real {
            p.note {
                "By the appliance's inventory every endpoint above was drill-safe in label, place, zone and function when the run was planned. "
                "The program makes no permit to write for any other endpoint in a drill; whether the inventory is right is for its owner."
            }
        }
    }
}

fn not_assessed(report: &RunReport) -> Markup {
    html! {
        h2 { "Not assessed here" }
        table.data {
            thead { tr { th { "What" } th style="width:55mm" { "Who can say" } } }
            tbody { @for item in &report.not_assessed { tr { td { (item.what) } td { (item.who) } } } }
        }
    }
}

fn timeline(report: &RunReport) -> Markup {
    let began_ms = report.begun_at_ms.unwrap_or(report.planned_at_ms);
    html! {
        h2 { "Timeline" }
        table.data {
            thead { tr { th { "UTC" } th.num { "Since begin" } th { "Step" } th { "Endpoint" } th { "What happened" } } }
            tbody {
                @for moment in &report.timeline {
                    tr {
                        td.num { (words::clock(moment.at_ms)) }
                        td.num { "+" (words::length(moment.at_ms.saturating_sub(began_ms))) }
                        td { @if let Some(step) = &moment.step { (step) } @else { span.note { "run" } } }
                        td { @if let Some(target) = &moment.target { (target) } }
                        td { (prose(&moment.what)) }
                    }
                }
            }
        }
    }
}

fn evidence(report: &RunReport) -> Markup {
    let seal = &report.seal;
    html! {
        h2 { "Evidence" }
        @if report.evidence.is_empty() {
            p { "No entries of the evidence log were named to this report." }
        } @else {
            table.data {
                thead { tr { th { "What it shows" } th.num { "Entries" } th { "Hash of the last entry" } } }
                tbody {
                    @for item in &report.evidence {
                        tr { td { (item.what) } td.num { (item.seq_first) "–" (item.seq_last) } td.hash { (item.hash) } }
                    }
                }
            }
        }
        h3 { "How to verify this report" }
        ol.how {
            li { "Get the evidence log from the appliance: a file of one JSON entry per line." }
            li { "On a computer of your own run " code { "groundstate evidence verify" } " on that file. It recomputes the Merkle tree, checks the signatures and names the first entry that does not fit." }
            li { "Compare the key that it prints with " span.hash { (blank(&seal.key_ed25519)) } " (Ed25519), which you should also have from the owner on another way." }
            li { "Hold this report against it: put these lines into a file, the empty one too, and add " code { "--since" } " and its name. The log is whole if it still holds these " (seal.seq) " entries, with the root " span.hash { (blank(&seal.hash)) } "."
                pre { (blank(&seal.checkpoint)) }
            }
            li { "Compare the hashes in the table above with those of the entries in the file." }
            li { "Compare " code { "b3sum" } " of the runbook's file with the digest under “Scope”." }
        }
    }
}

fn blank(text: &str) -> &str {
    if text.is_empty() { "(not given)" } else { text }
}

fn signing(report: &RunReport) -> Markup {
    html! {
        section.signing {
            h2 { "Signed off" }
            p { span.box {} "Lessons are the items above." span.box style="margin-left:8mm" {} "No lessons. Observations:" }
            div.write {} div.write {}
            div.sign {
                @for head in ["Part", "Name", "Date", "Signature"] { div.head { (head) } }
                @for part in ["Lead of the run", "OT security", "Owner of the endpoints"] { div { (part) } div {} div {} div {} }
            }
            p.note style="margin-top:3mm" { "Run " (report.run) ", " (report.site) ", written " (words::moment(report.written_at_ms)) ". This report states what was measured. It is not a certificate." }
        }
    }
}
