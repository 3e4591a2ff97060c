//! One endpoint: what it is, how it is, and the one button. Pure: a view in, markup out.

use maud::{Markup, html};
use recovery_protocol::{
    MacAddr,
    agent::Firmware,
    job::{HoldReason, JobState},
    operator::{ClaimView, EkCertificate, EndpointState, EndpointView, JobView, Mode},
};

use super::{
    job::{decisions, story},
    may::{Button, Viewer},
    page::sentence,
    review,
    words::{badge, bytes, duration, endpoint_state, job_state, moment},
};

/// How long the button must be held, in milliseconds.
pub const HOLD_MS: u32 = 3000;

/// The live part of an endpoint's page. `image` is what a recovery would write, `usual_ms` how long the last one took.
#[must_use]
pub fn content(view: &EndpointView, viewer: &Viewer, now_ms: u64) -> Markup {
    let (tone, word) = endpoint_state(view.state);
    let open_job = view.job.as_ref().filter(|job| !job.state.is_over());
    html! {
        div class="endpoint" data-now=(now_ms) {
            p class="crumb" { a href="/" { "Endpoints" } }
            div class="title" { h1 { (view.endpoint) } (badge(tone, word)) }
            p class="subtitle" { (what_it_is(view)) }
            @if let Some(claim) = &view.conflict { (conflict(view, claim, viewer)) }
            @if let Some(refusal) = &view.refusal { (refused(refusal)) }
            @if let Some(job) = open_job { (working(view, job, viewer, now_ms)) }
            @else {
                @if let Some(job) = &view.job { (last_job(job)) }
                (recover_card(view, viewer))
                (review::break_card(view, None, viewer))
            }
            (facts(view)) (hardware(view))
        }
    }
}

fn what_it_is(view: &EndpointView) -> String {
    let made_of =
        view.inventory.as_ref().map(|inventory| format!("{} {}", inventory.vendor, inventory.product));
    [Some(view.blueprint.clone()), Some(view.group.clone()), made_of]
        .into_iter()
        .flatten()
        .map(|part| part.trim().to_owned())
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" · ")
}

fn working(view: &EndpointView, job: &JobView, viewer: &Viewer, now_ms: u64) -> Markup {
    let pairing = view.pairing_code.as_deref().filter(|_| {
        matches!(
            job.state,
            JobState::Held { reason: HoldReason::PairingNeeded, .. } | JobState::Working { .. }
        )
    });
    html! {
        @if job.mode == Mode::Drill { p class="drill-tape" { "DRILL" } }
        @if let Some(code) = pairing { (pairing_card(view, code, viewer)) }
        (story(job, now_ms))
        (decisions(job, viewer))
        (review::break_card(view, Some(job), viewer))
        p { a class="quiet-link" href={ "/jobs/" (job.job) } { "All of this job, with its evidence" } }
    }
}

/// What it, or whoever speaks in its name, was not given.
fn refused(why: &str) -> Markup {
    html! {
        section class="card attention" id="refused" {
            h2 { "It was refused" }
            p { (sentence(why)) }
            p class="small" { "This stands here until it proves itself. The evidence log has each refusal with its time." }
        }
    }
}

/// Another one came with its address: a person says which it is.
fn conflict(view: &EndpointView, claim: &ClaimView, viewer: &Viewer) -> Markup {
    let said = &claim.inventory;
    let choice = |replace: &str, class: &str, word: Markup| {
        let id = format!("resolve-{replace}");
        let button = Button { class, id: &id, sends: None, word };
        html! {
            form method="post" action={ "/endpoints/" (view.endpoint) "/resolve" } {
                input type="hidden" name="replace" value=(replace);
                (viewer.button("/endpoints/{endpoint}/resolve", button))
            }
        }
    };
    html! {
        section class="card attention" id="conflict" {
            h2 { "Who is this?" }
            p { "Another one came with an address of " strong { (view.endpoint) } ": " (sentence(&claim.why)) }
            p class="small" {
                (said.vendor) " " (said.product) " " (said.serial) " · " (claim.count) " times since " (moment(claim.since_unix_ms))
            }
            p { "It is not recovered until you say which it is. If you did not move or replace anything, isolate the other one." }
            div class="actions" {
                (choice("false", "primary", html! { "The one on record stays; refuse the other" }))
                (choice("true", "danger", html! { "Its hardware was replaced by this" }))
            }
        }
    }
}

fn pairing_card(view: &EndpointView, code: &str, viewer: &Viewer) -> Markup {
    html! {
        section class="card attention" {
            h2 { "Is this code on its screen?" }
            p class="code" aria-label=(code.chars().map(|c| format!("{c} ")).collect::<String>()) { (code) }
            p { "The endpoint has no TPM to prove itself with. Compare the code with the screen of " strong { (view.endpoint) } "." }
            form method="post" action={ "/endpoints/" (view.endpoint) "/pair" } {
                input type="hidden" name="code" value=(code);
                (viewer.plain("/endpoints/{endpoint}/pair", "primary", "pair", "Yes, the codes are the same"))
            }
            p class="small" { "If they differ: isolate the endpoint. Another one may be answering in its name." }
        }
    }
}

fn last_job(job: &JobView) -> Markup {
    let (tone, word) = job_state(&job.state);
    let took = job.over_unix_ms.map(|over| over.saturating_sub(job.asked_unix_ms));
    html! {
        section class={ "card " (tone.class()) } {
            div class="card-head" { h2 { "Last recovery" } (badge(tone, word)) }
            p { (sentence(&job.what)) }
            @if !job.what_now.is_empty() { p class="now" { strong { "What now: " } (sentence(&job.what_now)) } }
            p class="small" {
                (job.image_name)
                @if let Some(took) = took { " · took " (duration(took)) }
                @if let Some(over) = job.over_unix_ms { " · " (moment(over)) }
                " · " a href={ "/jobs/" (job.job) } { "Open the job" }
            }
        }
    }
}

/// Why an endpoint cannot be recovered now; `None`: it can.
fn why_not(view: &EndpointView) -> Option<Markup> {
    if view.state != EndpointState::Discovered && !view.blueprint.is_empty() {
        return None;
    }
    let mac = view.macs.first().map(ToString::to_string).unwrap_or_default();
    Some(html! {
        p { "It was seen and is not on record: it boots its own disk and gets nothing. Put it on record; then it can be recovered." }
        pre { code { "groundstate endpoint add NAME --mac " (mac) " --blueprint BLUEPRINT" } }
        p class="small" { "Or forget it: " code { "groundstate endpoint remove " (view.endpoint) } }
    })
}

fn recover_card(view: &EndpointView, viewer: &Viewer) -> Markup {
    let refused = viewer.why_not("/endpoints/{endpoint}/recover");
    let action = format!("/endpoints/{}/recover", view.endpoint);
    html! {
        section class="card recover" {
            h2 { "Recover " (view.endpoint) }
            @if let Some(why) = why_not(view) {
                (why)
                button class="hold" id="recover" disabled { span { "Hold to recover" } }
            } @else {
                p { "Everything on its disk is replaced by the golden image of " strong { (view.blueprint) } ". Nothing on it is kept." }
                (usual_time(view))
                @if let Some(rule) = &view.why_not {
                    p class="now" { strong { "It would wait: " } (sentence(rule)) }
                }
                @if let Some(why) = refused {
                    button class="hold" id="recover" disabled aria-describedby="recover-why" { span { "Hold to recover" } }
                    p class="small why-not" id="recover-why" { (sentence(&why)) }
                } @else {
                form method="post" action=(action) data-hold=(HOLD_MS) {
                    input type="hidden" name="confirm" value="";
                    button class="hold" id="recover" aria-describedby="hold-help" {
                        svg class="ring" viewBox="0 0 100 100" aria-hidden="true" {
                            circle class="ring-track" cx="50" cy="50" r="46" {}
                            circle class="ring-fill" cx="50" cy="50" r="46" pathLength="100" {}
                        }
                        span { "Hold to recover" }
                    }
                    p class="small" id="hold-help" { "Hold for 3 seconds. Letting go stops it." }
                }
                }
            }
        }
    }
}

fn usual_time(view: &EndpointView) -> Markup {
    let took = view
        .job
        .as_ref()
        .filter(|job| job.state == JobState::Recovered)
        .and_then(|job| job.over_unix_ms.map(|over| over.saturating_sub(job.asked_unix_ms)));
    html! { @if let Some(took) = took { p { "Last time it took " (duration(took)) "." } } }
}

/// The page between the button and the job, for whoever has no script.
#[must_use]
pub fn confirm(view: &EndpointView, viewer: &Viewer) -> Markup {
    html! {
        p class="crumb" { a href={ "/endpoints/" (view.endpoint) } { (view.endpoint) } }
        section class="card attention" {
            h1 { "Recover " (view.endpoint) "?" }
            p { "Everything on its disk is replaced by the golden image of " strong { (view.blueprint) } ". Nothing on it is kept." }
            form method="post" action={ "/endpoints/" (view.endpoint) "/recover" } {
                input type="hidden" name="confirm" value="yes";
                label for="reason" { "Why? (goes into evidence, may stay empty)" }
                input id="reason" name="reason" maxlength="200" autocomplete="off";
                div class="actions" {
                    (viewer.plain("/endpoints/{endpoint}/recover", "danger", "sure", &format!("Yes, recover {}", view.endpoint)))
                    a class="button" href={ "/endpoints/" (view.endpoint) } { "No, go back" }
                }
            }
        }
    }
}

/// Who vouches for the TPM, and what it means when nobody does.
fn maker(certificate: Option<&EkCertificate>) -> String {
    let said = certificate.unwrap_or(&EkCertificate::Absent);
    match said.is_verified() {
        true => said.to_string(),
        false => format!(
            "certificate {said}. The TPM is believed since its first approved recovery: a weaker proof than its maker's."
        ),
    }
}

fn facts(view: &EndpointView) -> Markup {
    html! {
        details class="card facts" id="facts" {
            summary { "What it is" }
            dl {
                @if let Some(kind) = view.kind { dt { "Kind" } dd { (kind.as_str()) } }
                @for (key, value) in view.labels.iter() { dt { (key) } dd { (value) } }
                @if view.safety_class > 0 { dt { "Safety class" } dd { (view.safety_class) } }
                @if let Some(word) = &view.redundancy { dt { "Redundancy group" } dd { (word) } }
                dt { "Ethernet" } dd { @for mac in &view.macs { code { (mac) } @if docked(view, mac) { " (dock or USB adapter: identifies nobody)" } " " } }
                dt { "TPM" } dd {
                    @match &view.ek_sha256 { Some(ek) => { code class="long" { (ek) } } None => { "none on record" } }
                }
                @if view.ek_sha256.is_some() {
                    dt { "TPM's maker" } dd { (maker(view.ek_certificate.as_ref())) }
                }
                @if let Some(age) = &view.boot_age {
                    dt { "Boot chain" } dd { (age) }
                }
                dt { "Certificate" } dd {
                    @match &view.certificate_serial { Some(serial) => { code class="long" { (serial) } } None => { "not enrolled" } }
                }
                dt { "Last seen" } dd { @match view.seen_unix_ms { Some(at) => { (moment(at)) } None => { "never" } } }
                dt { "Last proof" } dd { @match view.proven_unix_ms { Some(at) => { (moment(at)) } None => { "never" } } }
                dt { "Drills" } dd { @if view.drill_safe { "may be drilled" } @else { "never drilled" } }
                @if let Some(inventory) = &view.inventory {
                    dt { "Serial number" } dd { (inventory.serial) }
                    dt { "Firmware" } dd { (firmware(inventory.firmware)) }
                    @if let Some(secure_boot) = &inventory.secure_boot {
                        dt { "Secure Boot" } dd { (secure_boot) }
                    }
                    dt { "Memory" } dd { (bytes(inventory.memory_bytes)) }
                    @for (at, disk) in inventory.disks.iter().enumerate() {
                        dt { "Disk" }
                        dd {
                            (disk.model) " " (bytes(disk.size_bytes)) " " (disk.transport)
                            @if let Some(serial) = &disk.serial { ", serial " code { (serial) } }
                            @if let Some(path) = &disk.path { ", at " code { (path) } }
                            @if disk.removable { " (removable: never written)" }
                            @if let Some(health) = inventory.disk_health.get(at) { "; health: " (health) }
                            @if let Some(offer) = inventory.disk_erase.get(at) { "; can erase itself by: " (offer) }
                        }
                    }
                }
            }
        }
    }
}

/// What it is made of: who told it, since when, and when last.
fn hardware(view: &EndpointView) -> Markup {
    html! {
        @if !view.facts.is_empty() {
            details class="card facts" id="hardware" {
                summary { "What it is made of, who told it and when" }
                div class="scroll" tabindex="0" role="region" aria-label="Hardware facts" {
                    table {
                        thead { tr { th scope="col" { "It has" } th scope="col" { "As" } th scope="col" { "Since" } th scope="col" { "Told by" } th scope="col" { "Last" } } }
                        tbody {
                            @for fact in &view.facts {
                                tr {
                                    th scope="row" { (fact.fact) }
                                    td { (fact.value) }
                                    td { (moment(fact.since_unix_ms)) }
                                    td { (fact.source.words()) }
                                    td { (moment(fact.seen_unix_ms)) }
                                }
                            }
                        }
                    }
                }
                p class="small" { "What nobody told is not shown: unknown is not zero." }
            }
        }
    }
}

fn firmware(firmware: Firmware) -> &'static str {
    match firmware {
        Firmware::Bios => "BIOS",
        Firmware::Uefi => "UEFI, Secure Boot off",
        Firmware::UefiSecureBoot => "UEFI, Secure Boot on",
    }
}

fn docked(view: &EndpointView, mac: &MacAddr) -> bool {
    view.inventory.as_ref().is_some_and(|inventory| inventory.dock_macs.contains(mac))
}
