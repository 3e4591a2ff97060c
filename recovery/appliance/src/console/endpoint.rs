//! One endpoint: what it is, how it is, and the one button. Pure: a view in, markup out.

use maud::{Markup, html};
use recovery_protocol::{
    MacAddr,
    agent::{Firmware, Inventory},
    job::{HoldReason, JobState},
    operator::{ClaimView, EkCertificate, EndpointState, EndpointView, FactSource, JobView, Mode},
};

use super::{
    drill::tape,
    job::{decisions, said_of, story},
    may::{Button, Viewer},
    page::sentence,
    review,
    texts::Texts,
    words::{SLOTS, badge, bytes, duration, endpoint_state, english, fill, job_state, moment},
};

/// How long the button must be held, in milliseconds.
pub const HOLD_MS: u32 = 3000;

/// The live part of an endpoint's page. `image` is what a recovery would write, `usual_ms` how long the last one took.
#[must_use]
pub fn content(view: &EndpointView, viewer: &Viewer, now_ms: u64) -> Markup {
    let t = Texts::here();
    let (tone, word) = endpoint_state(view.state);
    let open_job = view.job.as_ref().filter(|job| !job.state.is_over());
    html! {
        div class="endpoint" data-now=(now_ms) {
            p class="crumb" { a href="/endpoints" { (t.tab_endpoints()) } }
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
        @if job.mode == Mode::Drill { (tape()) }
        @if let Some(code) = pairing { (pairing_card(view, code, viewer)) }
        (story(job, now_ms))
        (decisions(job, viewer))
        (review::break_card(view, Some(job), viewer))
        p { a class="quiet-link" href={ "/jobs/" (job.job) } { (Texts::here().all_of_job()) } }
    }
}

/// What it, or whoever speaks in its name, was not given.
fn refused(why: &str) -> Markup {
    let t = Texts::here();
    html! {
        section class="card attention" id="refused" {
            h2 { (t.endpoint_refused()) }
            p { (english(sentence(why))) }
            p class="small" { (t.endpoint_refused_stands()) }
        }
    }
}

/// Another one came with its address: a person says which it is.
fn conflict(view: &EndpointView, claim: &ClaimView, viewer: &Viewer) -> Markup {
    let t = Texts::here();
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
            h2 { (t.conflict_title()) }
            p { (fill(&t.conflict_came(SLOTS[0]), [html! { strong { (view.endpoint) } }])) " " (english(sentence(&claim.why))) }
            p class="small" {
                (said.vendor) " " (said.product) " " (said.serial) " · " (fill(&t.conflict_times(SLOTS[0], claim.count), [moment(claim.since_unix_ms)]))
            }
            p { (t.conflict_say()) }
            div class="actions" {
                (choice("false", "primary", html! { (t.conflict_keep()) }))
                (choice("true", "danger", html! { (t.conflict_replace()) }))
            }
        }
    }
}

/// The code on its screen, and the button that says it is the same.
#[must_use]
pub fn pairing_card(view: &EndpointView, code: &str, viewer: &Viewer) -> Markup {
    let t = Texts::here();
    html! {
        section class="card attention" {
            h2 { (t.pair_title()) }
            p class="code" aria-label=(code.chars().map(|c| format!("{c} ")).collect::<String>()) { (code) }
            p { (fill(&t.pair_why(SLOTS[0]), [html! { strong { (view.endpoint) } }])) }
            form method="post" action={ "/endpoints/" (view.endpoint) "/pair" } {
                input type="hidden" name="code" value=(code);
                (viewer.plain("/endpoints/{endpoint}/pair", "primary", "pair", t.pair_yes()))
            }
            p class="small" { (t.pair_differ()) }
        }
    }
}

fn last_job(job: &JobView) -> Markup {
    let (t, said) = (Texts::here(), said_of(job));
    let (tone, word) = job_state(&job.state);
    let took = job.over_unix_ms.map(|over| over.saturating_sub(job.asked_unix_ms));
    html! {
        section class={ "card " (tone.class()) } {
            div class="card-head" { h2 { (t.last_recovery()) } (badge(tone, word)) }
            p { (said.what) }
            @if let Some(now) = &said.now { p class="now" { strong { (t.what_now()) " " } (now) } }
            @if let Some(beside) = &said.beside { p class="small" { (beside) } }
            p class="small" {
                (job.image_name)
                @if let Some(took) = took { " · " (t.took(duration(took))) }
                @if let Some(over) = job.over_unix_ms { " · " (moment(over)) }
                " · " a href={ "/jobs/" (job.job) } { (t.open_job()) }
            }
        }
    }
}

/// Why an endpoint cannot be recovered now; `None`: it can.
fn why_not(view: &EndpointView) -> Option<Markup> {
    if view.state != EndpointState::Discovered && !view.blueprint.is_empty() {
        return None;
    }
    let t = Texts::here();
    let mac = view.macs.first().map(ToString::to_string).unwrap_or_default();
    Some(html! {
        p { (t.unknown_why()) }
        pre { code { "groundstate endpoint add NAME --mac " (mac) " --blueprint BLUEPRINT" } }
        p class="small" { (t.unknown_forget()) " " code { "groundstate endpoint remove " (view.endpoint) } }
    })
}

fn recover_card(view: &EndpointView, viewer: &Viewer) -> Markup {
    let (t, endpoint) = (Texts::here(), view.endpoint.as_str());
    let action = format!("/endpoints/{}/recover", view.endpoint);
    html! {
        section class="card recover" {
            h2 { (t.recover_title(endpoint)) }
            @if let Some(why) = why_not(view) {
                (why)
                button class="hold" id="recover" disabled { span { (t.hold_to_recover()) } }
            } @else {
                p { (fill(&t.recover_lost(SLOTS[0]), [html! { strong { (view.blueprint) } }])) }
                (usual_time(view))
                @if let Some(rule) = &view.why_not {
                    p class="now" { strong { (t.recover_would_wait()) " " } (english(sentence(rule))) }
                }
                form method="post" action=(action) data-hold=(HOLD_MS) {
                    input type="hidden" name="confirm" value="";
                    (super::exhibit::choice())
                    (hold_button(viewer, "/endpoints/{endpoint}/recover"))
                }
            }
        }
    }
}

/// The button that is held, alive or dead, of a form of this route.
#[must_use]
pub fn hold_button(viewer: &Viewer, route: &str) -> Markup {
    let t = Texts::here();
    html! {
        @if let Some(why) = viewer.why_not(route) {
            button class="hold" id="recover" disabled aria-describedby="recover-why" { span { (t.hold_to_recover()) } }
            p class="small why-not" id="recover-why" { (why) }
        } @else {
            button class="hold" id="recover" aria-describedby="hold-help" {
                svg class="ring" viewBox="0 0 100 100" aria-hidden="true" {
                    circle class="ring-track" cx="50" cy="50" r="46" {}
                    circle class="ring-fill" cx="50" cy="50" r="46" pathLength="100" {}
                }
                span { (t.hold_to_recover()) }
            }
            p class="small" id="hold-help" { (t.hold_help()) }
        }
    }
}

fn usual_time(view: &EndpointView) -> Markup {
    let took = view
        .job
        .as_ref()
        .filter(|job| job.state == JobState::Recovered)
        .and_then(|job| job.over_unix_ms.map(|over| over.saturating_sub(job.asked_unix_ms)));
    html! { @if let Some(took) = took { p { (Texts::here().last_time(duration(took))) } } }
}

/// The page between the button and the job, for whoever has no script.
#[must_use]
pub fn confirm(view: &EndpointView, viewer: &Viewer) -> Markup {
    confirm_at(view, viewer, &format!("/endpoints/{}", view.endpoint), "/endpoints/{endpoint}/recover")
}

/// The same, for a form of another route under another path.
#[must_use]
pub fn confirm_at(view: &EndpointView, viewer: &Viewer, back: &str, route: &str) -> Markup {
    let (t, endpoint) = (Texts::here(), view.endpoint.as_str());
    html! {
        p class="crumb" { a href=(back) { (endpoint) } }
        section class="card attention" {
            h1 { (t.recover_sure(endpoint)) }
            p { (fill(&t.recover_lost(SLOTS[0]), [html! { strong { (view.blueprint) } }])) }
            form method="post" action={ (back) "/recover" } {
                input type="hidden" name="confirm" value="yes";
                @if route.starts_with("/m/") { input type="hidden" name="safe" value="yes"; }
                @else {
                    label for="reason" { (t.why_field()) }
                    input id="reason" name="reason" maxlength="200" autocomplete="off";
                    (super::exhibit::choice())
                }
                div class="actions" {
                    (viewer.plain(route, "danger", "sure", t.yes_recover(endpoint)))
                    a class="button" href=(back) { (t.no_back()) }
                }
            }
        }
    }
}

/// Who vouches for the TPM, and what it means when nobody does.
fn maker(certificate: Option<&EkCertificate>) -> Markup {
    let said = certificate.unwrap_or(&EkCertificate::Absent);
    html! { (english(said.to_string())) @if !said.is_verified() { ". " (Texts::here().tpm_weaker()) } }
}

fn facts(view: &EndpointView) -> Markup {
    let t = Texts::here();
    let at = |moment_ms: Option<u64>| match moment_ms {
        Some(at) => moment(at),
        None => html! { (t.never()) },
    };
    html! {
        details class="card facts" id="facts" {
            summary { (t.facts_title()) }
            dl {
                @if let Some(kind) = view.kind { dt { (t.fact_kind()) } dd { code { (kind.as_str()) } } }
                @for (key, value) in view.labels.iter() { dt { code { (key) } } dd { (value) } }
                @if view.safety_class > 0 { dt { (t.fact_safety()) } dd { (view.safety_class) } }
                @if let Some(word) = &view.redundancy { dt { (t.fact_redundancy()) } dd { (word) } }
                dt { (t.fact_ethernet()) } dd { @for mac in &view.macs { code { (mac) } @if docked(view, mac) { " " (t.fact_docked()) } " " } }
                dt { "TPM" } dd {
                    @match &view.ek_sha256 { Some(ek) => { code class="long" { (ek) } } None => { (t.none_on_record()) } }
                }
                @if view.ek_sha256.is_some() {
                    dt { (t.fact_maker()) } dd { (maker(view.ek_certificate.as_ref())) }
                }
                @if let Some(age) = &view.boot_age {
                    dt { (t.fact_chain()) } dd { (english(age)) }
                }
                dt { (t.fact_certificate()) } dd {
                    @match &view.certificate_serial { Some(serial) => { code class="long" { (serial) } } None => { (t.not_enrolled()) } }
                }
                dt { (t.fact_seen()) } dd { (at(view.seen_unix_ms)) }
                dt { (t.fact_proof()) } dd { (at(view.proven_unix_ms)) }
                dt { (t.tab_drills()) } dd { @if view.drill_safe { (t.may_be_drilled()) } @else { (t.never_drilled()) } }
                @if let Some(inventory) = &view.inventory { (told(inventory)) }
            }
        }
    }
}

/// What it said of itself.
fn told(inventory: &Inventory) -> Markup {
    let t = Texts::here();
    html! {
        dt { (t.fact_serial()) } dd { (inventory.serial) }
        dt { (t.fact_firmware()) } dd { (firmware(inventory.firmware)) }
        @if let Some(secure_boot) = &inventory.secure_boot {
            dt { "Secure Boot" } dd { (english(secure_boot)) }
        }
        dt { (t.fact_memory()) } dd { (bytes(inventory.memory_bytes)) }
        @for (at, disk) in inventory.disks.iter().enumerate() {
            dt { (t.fact_disk()) }
            dd {
                (disk.model) " " (bytes(disk.size_bytes)) " " code { (disk.transport) }
                @if let Some(serial) = &disk.serial { ", " (fill(&t.disk_serial(SLOTS[0]), [html! { code { (serial) } }])) }
                @if let Some(path) = &disk.path { ", " (fill(&t.disk_path(SLOTS[0]), [html! { code { (path) } }])) }
                @if disk.removable { " " (t.disk_removable()) }
                @if let Some(health) = inventory.disk_health.get(at) { "; " (fill(&t.disk_health(SLOTS[0]), [english(health)])) }
                @if let Some(offer) = inventory.disk_erase.get(at) { "; " (fill(&t.disk_erase(SLOTS[0]), [english(offer)])) }
            }
        }
    }
}

/// What it is made of: who told it, since when, and when last.
fn hardware(view: &EndpointView) -> Markup {
    let t = Texts::here();
    let told_by = |source| match source {
        FactSource::RecoverySystem => t.told_recovery(),
        FactSource::RestoredSystem => t.told_restored(),
    };
    html! {
        @if !view.facts.is_empty() {
            details class="card facts" id="hardware" {
                summary { (t.hardware_title()) }
                div class="scroll" tabindex="0" role="region" aria-label=(t.hardware_region()) {
                    table {
                        thead { tr {
                            th scope="col" { (t.col_has()) } th scope="col" { (t.col_as()) } th scope="col" { (t.col_since()) }
                            th scope="col" { (t.col_told()) } th scope="col" { (t.col_last()) }
                        } }
                        tbody {
                            @for fact in &view.facts {
                                tr {
                                    th scope="row" { (english(&fact.fact)) }
                                    td { (english(&fact.value)) }
                                    td { (moment(fact.since_unix_ms)) }
                                    td { (told_by(fact.source)) }
                                    td { (moment(fact.seen_unix_ms)) }
                                }
                            }
                        }
                    }
                }
                p class="small" { (t.hardware_unknown()) }
            }
        }
    }
}

fn firmware(firmware: Firmware) -> String {
    let t = Texts::here();
    match firmware {
        Firmware::Bios => t.fw_bios(),
        Firmware::Uefi => t.fw_uefi(),
        Firmware::UefiSecureBoot => t.fw_uefi_secure(),
    }
}

fn docked(view: &EndpointView, mac: &MacAddr) -> bool {
    view.inventory.as_ref().is_some_and(|inventory| inventory.dock_macs.contains(mac))
}
