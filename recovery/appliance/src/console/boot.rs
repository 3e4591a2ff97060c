//! An endpoint's network boot, hop by hop, and what is the matter with it. Pure: a view in, markup out.

use maud::{Markup, html};
use recovery_protocol::net::{AddressInUseView, BootView, ForeignView, HopView};

use super::{
    page::sentence,
    words::{bytes, duration, moment},
};

/// The boot in a card; nothing where nothing was seen and nothing is the matter.
#[must_use]
pub fn card(view: &BootView) -> Markup {
    let diagnosis = &view.diagnosis;
    let begun = view.begun_unix_ms.unwrap_or_default();
    html! {
        @if !view.hops.is_empty() || diagnosis.is_trouble() {
            details class={ "card " @if diagnosis.is_trouble() { "attention" } } id="boot" open[diagnosis.is_trouble()] {
                summary { "Its network boot" }
                p { (sentence(&diagnosis.cause)) }
                @if !diagnosis.remedy.is_empty() {
                    p class="now" { strong { "What now: " } (sentence(diagnosis.remedy.as_str())) }
                }
                @for also in &diagnosis.also { p class="small" { (sentence(also)) } }
                p class="small" {
                    "Code " code { (diagnosis.code) } " · " (view.firmware)
                    @if let Some(chain) = &view.chain { " · chain " code { (chain) } }
                    @if !view.offer.is_empty() { " · offered " (view.offer) }
                    " · began " (moment(begun))
                }
                table {
                    thead { tr { th { "After" } th { "Step" } th { "Outcome" } th { "What" } } }
                    tbody { @for hop in &view.hops { (row(hop, begun)) } }
                }
                @for line in &view.said {
                    p class="small" { (duration(line.at_unix_ms.saturating_sub(begun))) " · " code { (line.text) } }
                }
                @for earlier in &view.earlier {
                    p class="small" {
                        "Before, " (moment(earlier.begun_unix_ms))
                        @if let Some(chain) = &earlier.chain { " by " code { (chain) } }
                        ": " (sentence(&earlier.cause))
                    }
                }
            }
        }
    }
}

/// Other servers that are in the way, and addresses in use, above everything else.
#[must_use]
pub fn alarms(servers: &[ForeignView], used: &[AddressInUseView]) -> Markup {
    html! {
        @if !servers.is_empty() {
            section class="card attention" id="foreign" {
                h2 { "Another server on the boot network" }
                @for server in servers {
                    p { code { (server.server) } " on " (server.interface) ": " (sentence(&server.what))
                        span class="small" { " Last heard " (moment(server.last_unix_ms)) } }
                }
            }
        }
        @if !used.is_empty() {
            section class="card attention" id="addresses" {
                h2 { "An address is in use twice, or may be" }
                @for used in used {
                    p { code { (used.address) } " is used by " code { (used.by) } " without a lease: " (sentence(&used.what))
                        span class="small" { " Last heard " (moment(used.last_unix_ms)) } }
                }
            }
        }
    }
}

fn row(hop: &HopView, begun: u64) -> Markup {
    html! {
        tr {
            td { (duration(hop.at_unix_ms.saturating_sub(begun))) }
            td { (hop.step) }
            td { (hop.outcome) @if hop.count > 1 { " ×" (hop.count) } }
            td { (hop.what) @if hop.bytes > 0 { ", " (bytes(hop.bytes)) } }
        }
    }
}
