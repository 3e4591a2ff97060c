//! An endpoint's network boot, hop by hop, and what is the matter with it. Pure: a view in, markup out.

use maud::{Markup, html};
use recovery_protocol::net::{AddressInUseView, BootDiagnosis, BootView, EarlierView, ForeignView, HopView};

use super::{
    page::{code_text, sentence},
    texts::Texts,
    words::{SLOTS, bytes, duration, english, fill, moment},
};

/// The boot in a card; nothing where nothing was seen and nothing is the matter.
#[must_use]
pub fn card(view: &BootView) -> Markup {
    let t = Texts::here();
    let diagnosis = &view.diagnosis;
    let begun = view.begun_unix_ms.unwrap_or_default();
    html! {
        @if !view.hops.is_empty() || diagnosis.is_trouble() {
            details class={ "card " @if diagnosis.is_trouble() { "attention" } } id="boot" open[diagnosis.is_trouble()] {
                summary { (t.boot_title()) }
                (what_now(diagnosis))
                p class="small" {
                    (t.word_code()) " " code { (diagnosis.code) } " · " (english(&view.firmware))
                    @if let Some(chain) = &view.chain { " · " (fill(&t.boot_chain(SLOTS[0]), [html! { code { (chain) } }])) }
                    @if !view.offer.is_empty() { " · " (fill(&t.boot_offered(SLOTS[0]), [offer(view)])) }
                    " · " (fill(&t.boot_began(SLOTS[0]), [moment(begun)]))
                }
                table {
                    thead { tr { th scope="col" { (t.col_after()) } th scope="col" { (t.col_step()) } th scope="col" { (t.col_outcome()) } th scope="col" { (t.col_what()) } } }
                    tbody { @for hop in &view.hops { (row(hop, begun)) } }
                }
                @for line in &view.said {
                    p class="small" { (duration(line.at_unix_ms.saturating_sub(begun))) " · " code { (line.text) } }
                }
                @for earlier in &view.earlier {
                    p class="small" {
                        (fill(&t.boot_before(SLOTS[0]), [moment(earlier.begun_unix_ms)])) " "
                        @if let Some(chain) = &earlier.chain { code { (chain) } " " }
                        (ended(earlier))
                    }
                }
            }
        }
    }
}

/// Other servers that are in the way, and addresses in use, above everything else.
#[must_use]
pub fn alarms(servers: &[ForeignView], used: &[AddressInUseView]) -> Markup {
    let t = Texts::here();
    html! {
        @if !servers.is_empty() {
            section class="card attention" id="foreign" {
                h2 { (t.boot_foreign()) }
                @for server in servers {
                    p {
                        (fill(&t.boot_on(SLOTS[0], SLOTS[1]), [html! { code { (server.interface) } }, html! { code { (server.server) } }]))
                        " " (server_said(server))
                        span class="small" { " " (fill(&t.last_heard(SLOTS[0]), [moment(server.last_unix_ms)])) }
                    }
                }
            }
        }
        @if !used.is_empty() {
            section class="card attention" id="addresses" {
                h2 { (t.boot_twice()) }
                @for used in used {
                    p {
                        (fill(&t.boot_used_by(SLOTS[0], SLOTS[1]), [html! { code { (used.address) } }, html! { code { (used.by) } }]))
                        " " (used_said(used))
                        span class="small" { " " (fill(&t.last_heard(SLOTS[0]), [moment(used.last_unix_ms)])) }
                    }
                }
            }
        }
    }
}

fn row(hop: &HopView, begun: u64) -> Markup {
    html! {
        tr {
            td { (duration(hop.at_unix_ms.saturating_sub(begun))) }
            td { (step(&hop.step)) }
            td { (outcome(&hop.outcome)) @if hop.count > 1 { " ×" (hop.count) } }
            td { (english(&hop.what)) @if hop.bytes > 0 { ", " (bytes(hop.bytes)) } }
        }
    }
}

/// What is the matter with a boot, the hop that did not come by name, what to do, what else was noticed.
#[must_use]
pub fn what_now(diagnosis: &BootDiagnosis) -> Markup {
    let t = Texts::here();
    let now = code(&diagnosis.code, "now").filter(|_| !diagnosis.remedy.is_empty());
    html! {
        p { (cause(diagnosis)) }
        @if code(&diagnosis.code, "what").is_some() && diagnosis.level != "fine" {
            p class="small" { (t.record_says()) " " (english(sentence(&diagnosis.cause))) }
        }
        @if let Some(missing) = &diagnosis.missing { p { strong { (fill(&t.trace_missing(SLOTS[0]), [step(missing)])) } } }
        @if !diagnosis.remedy.is_empty() {
            p class="now" {
                strong { (t.what_now()) " " }
                @match now { Some(now) => (now), None => (english(sentence(&diagnosis.remedy))) }
            }
        }
        @for (at, also) in diagnosis.also.iter().enumerate() {
            p class="small" {
                @match diagnosis.noticed.get(at).and_then(|noticed| named(&noticed.code, "noticed", &[("value", &noticed.value)])) {
                    Some(said) => (said),
                    None => (english(sentence(also))),
                }
            }
        }
    }
}

/// What is the matter with a boot, in a sentence.
#[must_use]
pub fn cause(diagnosis: &BootDiagnosis) -> Markup {
    match code(&diagnosis.code, "what") {
        Some(said) => html! { (said) },
        None => english(sentence(&diagnosis.cause)),
    }
}

/// A step of a boot by name.
#[must_use]
pub fn step(name: &str) -> Markup {
    word(name, "step")
}

/// The same without markup, for the titles of a drawing.
#[must_use]
pub fn plain_step(name: &str) -> String {
    named(name, "step", &[]).unwrap_or_else(|| name.to_owned())
}

/// What a hop of a drawing is: its step, how it ended, and in the record's language what the record says of it.
#[must_use]
pub fn plain_hop(hop: &HopView) -> String {
    let outcome = named(&hop.outcome, "outcome", &[]).unwrap_or_else(|| hop.outcome.clone());
    let what = if Texts::here().is_the_records() { hop.what.as_str() } else { "" };
    format!("{}: {outcome} {what}", plain_step(&hop.step)).trim_end().to_owned()
}

/// How a hop ended.
#[must_use]
pub fn outcome(name: &str) -> Markup {
    word(name, "outcome")
}

/// What another server means, in a sentence.
#[must_use]
pub fn server_said(server: &ForeignView) -> Markup {
    match named(&server.code, "server", &[]) {
        Some(said) => html! { (said) },
        None => english(sentence(&server.what)),
    }
}

/// What an address in use means, and what to do.
#[must_use]
pub fn used_said(used: &AddressInUseView) -> Markup {
    let t = Texts::here();
    match used.holder {
        Some(holder) => html! { (t.boot_used_holder(holder.to_string())) },
        None => html! { (t.boot_used_nobody()) },
    }
}

fn ended(earlier: &EarlierView) -> Markup {
    match code(&earlier.code, "what") {
        Some(said) => html! { (said) },
        None => english(sentence(&earlier.cause)),
    }
}

fn offer(view: &BootView) -> Markup {
    match named(&view.offer_code, "offer", &[("chain", SLOTS[0])]) {
        Some(said) => fill(&said, [html! { code { (view.offer_chain) } }]),
        None => english(&view.offer),
    }
}

/// A text for what a boot's code says; its own where a job's code has the same name.
fn code(name: &str, what: &str) -> Option<String> {
    code_text(&format!("boot-{name}"), what).or_else(|| code_text(name, what))
}

fn word(name: &str, what: &str) -> Markup {
    match named(name, what, &[]) {
        Some(said) => html! { (said) },
        None if Texts::here().is_the_records() => html! { (name) },
        None => english(name),
    }
}

/// A text of ours for a stable name; `None` where the record's own words serve.
fn named(name: &str, what: &str, values: &[(&'static str, &str)]) -> Option<String> {
    let t = Texts::here();
    if t.is_the_records() {
        return None;
    }
    match values {
        [(key, value)] => t.by_code(name, what, [(*key, (*value).to_owned().into())]),
        _ => t.by_code(name, what, []),
    }
}
