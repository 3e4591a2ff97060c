//! An endpoint's network boot, hop by hop, and what is the matter with it. Pure: a view in, markup out.

use maud::{Markup, html};
use recovery_protocol::net::{AddressInUseView, BootView, ForeignView, HopView};

use super::{
    page::sentence,
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
                p { (english(sentence(&diagnosis.cause))) }
                @if !diagnosis.remedy.is_empty() {
                    p class="now" { strong { (t.what_now()) " " } (english(sentence(diagnosis.remedy.as_str()))) }
                }
                @for also in &diagnosis.also { p class="small" { (english(sentence(also))) } }
                p class="small" {
                    (t.word_code()) " " code { (diagnosis.code) } " · " (english(&view.firmware))
                    @if let Some(chain) = &view.chain { " · " (fill(&t.boot_chain(SLOTS[0]), [html! { code { (chain) } }])) }
                    @if !view.offer.is_empty() { " · " (fill(&t.boot_offered(SLOTS[0]), [english(&view.offer)])) }
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
                        (english(sentence(&earlier.cause)))
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
                        " " (english(sentence(&server.what)))
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
                        " " (english(sentence(&used.what)))
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
            td { (english(&hop.step)) }
            td { (english(&hop.outcome)) @if hop.count > 1 { " ×" (hop.count) } }
            td { (english(&hop.what)) @if hop.bytes > 0 { ", " (bytes(hop.bytes)) } }
        }
    }
}
