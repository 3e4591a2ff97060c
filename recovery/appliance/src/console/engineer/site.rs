//! The site itself: what runs here, until when its certificates count, when it was saved, how full it is, where it listens.

use axum::{
    extract::{Query, State},
    response::Response,
};
use maud::{Markup, html};

use super::super::{
    Failed, Part, now_ms,
    page::{Tab, sentence},
    texts::Texts,
    words::{Tone, badge, bytes, english, moment, since},
};
use crate::{api::People, service::site::SiteFacts};

/// A certificate that ends within so long is told.
const ENDS_SOON_MS: u64 = 30 * 24 * 3_600_000;

/// `GET /site`.
pub async fn page(State(people): State<People>, Query(part): Query<Part>) -> Result<Response, Failed> {
    let content = content(&people.service.site_facts().await?, now_ms());
    part.of(&people, Tab::Site, &Texts::here().tab_site(), "/site", content).await
}

/// The page.
#[must_use]
pub fn content(site: &SiteFacts, now: u64) -> Markup {
    let t = Texts::here();
    html! {
        div data-now=(now) {
            h1 { (site.site) }
            section class="card" {
                h2 { (t.site_appliance()) }
                dl class="figures" {
                    dt { (t.site_version()) } dd { (site.version) }
                    dt { (t.site_up()) } dd { (since(site.started_unix_ms, now)) " · " (moment(site.started_unix_ms)) }
                }
            }
            (certificates(site, now)) (backup(site, now)) (takeover(site, now)) (storage(site)) (follow(site)) (ports(site)) (links())
        }
    }
}

fn certificates(site: &SiteFacts, now: u64) -> Markup {
    let t = Texts::here();
    let soon = site.certificate_ends_unix_ms.is_none_or(|end| end < now + ENDS_SOON_MS);
    html! {
        section class={ "card " @if soon { "attention" } } id="certificates" {
            h2 { (t.site_certificates()) }
            dl class="figures" {
                dt { (t.site_tls()) }
                dd { @match site.certificate_ends_unix_ms { Some(end) => { (t.site_until()) " " (moment(end)) }, None => (t.site_unreadable()) } }
                dt { (t.site_pin()) } dd { code class="long" { (site.spki_sha256) } }
            }
            p class="small" { (t.site_renewed()) }
        }
    }
}

fn backup(site: &SiteFacts, now: u64) -> Markup {
    let t = Texts::here();
    html! {
        section class={ "card " @if site.saved.at.is_none() { "attention" } } id="backup" {
            h2 { (t.site_backup()) }
            p { @match site.saved.at { Some(at) => { (t.site_saved()) " " (moment(at)) ", " (since(at, now)) }, None => (t.home_backup_none()) } }
            p { (t.site_backup_how()) }
            pre { code { "groundstate backup /media/usb/" (site.site) ".gsb" } }
            p class="small" { (t.site_restore_how()) " " code { "groundstate restore-state" } }
        }
    }
}

fn takeover(site: &SiteFacts, now: u64) -> Markup {
    let t = Texts::here();
    html! {
        section class={ "card " @if !site.is_ours && !site.holder.is_empty() { "bad" } } id="takeover" {
            h2 { (t.site_takeover()) }
            p {
                @if site.holder.is_empty() { (t.site_nobody_writes()) }
                @else if site.is_ours { (t.site_we_write(site.term)) }
                @else { (t.site_other_writes(site.holder.clone(), site.term)) }
                @if site.holds_since_unix_ms > 0 { " " (t.site_since()) " " (moment(site.holds_since_unix_ms)) ", " (since(site.holds_since_unix_ms, now)) }
            }
            p class="small" { (t.site_takeover_how()) " " code { "groundstate takeover --reason '…'" } }
        }
    }
}

fn storage(site: &SiteFacts) -> Markup {
    let t = Texts::here();
    let little = site.room.is_some_and(|room| room.is_little());
    html! {
        section class={ "card " @if little { "bad" } } id="storage" {
            h2 { (t.site_storage()) }
            dl class="figures" {
                dt { (t.site_data_dir()) } dd { code { (site.data_dir) } }
                @if let Some(room) = site.room {
                    dt { (t.site_free()) }
                    dd { (t.home_room(bytes(room.free_bytes), bytes(room.total_bytes))) @if little { " " (badge(Tone::Bad, t.home_room_title())) } }
                }
                dt { (t.site_database()) } dd { @if site.database_is_file { "SQLite" } @else { "PostgreSQL" } }
                dt { (t.site_images()) } dd { code { (site.image_store) } }
                @if let Some(depot) = &site.depot {
                    dt { (t.site_depot()) }
                    dd { (depot.place) " · " (bytes(depot.store_bytes))
                        @if let Some(most) = depot.store_bytes_max { " / " (bytes(most)) }
                        @if !depot.trouble.is_empty() { " " (badge(Tone::Bad, t.site_trouble())) " " (english(sentence(&depot.trouble))) } }
                }
            }
        }
    }
}

/// Who else gets the evidence.
fn follow(site: &SiteFacts) -> Markup {
    let t = Texts::here();
    html! {
        @if !site.sinks.is_empty() {
            section class="card" id="sinks" {
                h2 { (t.site_sinks()) }
                dl { @for sink in &site.sinks {
                    dt { (sink.name) }
                    dd {
                        @if sink.trouble.is_empty() { (badge(Tone::Good, t.site_delivers())) } @else { (badge(Tone::Bad, t.site_trouble())) " " (english(sentence(&sink.trouble))) }
                        " " (t.site_behind(sink.behind))
                        @if let Some(at) = sink.moved_unix_ms { " · " (t.site_delivered()) " " (moment(at)) }
                        @if sink.dead > 0 { " · " (t.site_dead(sink.dead)) " " (english(sentence(&sink.last_dead))) }
                    }
                } }
            }
        }
    }
}

fn ports(site: &SiteFacts) -> Markup {
    let t = Texts::here();
    html! {
        section class="card" id="ports" {
            h2 { (t.site_ports()) }
            div class="scroll" { table {
                thead { tr { th scope="col" { (t.site_port()) } th scope="col" { (t.site_purpose()) } th scope="col" { (t.site_at()) } } }
                tbody { @for port in &site.ports {
                    tr {
                        td { (port.number) "/" (port.protocol) }
                        td { (t.by_code(port.purpose, "port", []).unwrap_or_else(|| port.purpose.to_owned())) }
                        td { code { (port.at) } }
                    }
                } }
            } }
        }
    }
}

fn links() -> Markup {
    let t = Texts::here();
    html! {
        section class="card" {
            h2 { (t.site_more()) }
            ul {
                li { a href="/policy" { (t.site_policy()) } }
                li { a href="/plans" { (t.tab_plans()) } }
                li { a href="/reviews" { (t.site_reviews()) } }
                li { a href="/metrics" { (t.site_metrics()) } }
            }
        }
    }
}
