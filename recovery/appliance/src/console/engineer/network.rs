//! The boot network: how each interface serves, who else does, what was refused; and an endpoint's boot as a waterfall, with the hop that
//! did not come by name and what that likely means.

use axum::{
    Extension,
    extract::{Path, Query, State},
    response::{Redirect, Response},
};
use maud::{Markup, html};
use recovery_protocol::{
    net::{BootDiagnosis, BootView, ForeignView, HopView, NetView},
    operator::RefusalView,
};
use serde::Deserialize;

use super::super::{
    Failed, Part, boot, endpoints,
    may::Viewer,
    now_ms,
    page::Tab,
    texts::Texts,
    words::{Tone, badge, bytes, duration, moment, since},
};
use crate::api::{People, endpoint_id, gate::Who};

/// Endpoints in the list of the page, at most: trouble comes first.
const ROWS_MOST: usize = 200;

/// The steps of a boot that a person thinks in, and the names that the boot layer has for what belongs to each.
const HOPS: [(&str, &[&str]); 5] = [
    ("discover", &["discover"]),
    ("offer", &["offer", "request", "4011"]),
    ("file", &["options", "loader", "second-stage", "config"]),
    ("kernel", &["kernel", "initrd"]),
    ("agent", &["agent"]),
];

#[derive(Deserialize)]
pub struct Meant {
    part: Option<String>,
    #[serde(default)]
    all: bool,
}

/// `GET /network`.
pub async fn page(
    State(people): State<People>,
    Extension(who): Extension<Who>,
    Query(meant): Query<Meant>,
) -> Result<Response, Failed> {
    let (net, status) = (people.service.net().await?, people.service.status().await?);
    let content = content(&net, &status.refusals, meant.all, &Viewer::of(&who), now_ms());
    let path = if meant.all { "/network?all=true" } else { "/network" };
    Part { part: meant.part }.of(&people, Tab::Network, &Texts::here().tab_network(), path, content).await
}

/// `POST /network`: every interface is asked who else serves boots on it.
pub async fn probe(State(people): State<People>) -> Result<Redirect, Failed> {
    people.service.probe().await?;
    Ok(Redirect::to("/network#foreign"))
}

/// `GET /network/{endpoint}`.
pub async fn one(
    State(people): State<People>,
    Path(name): Path<String>,
    Query(part): Query<Part>,
) -> Result<Response, Failed> {
    let endpoint = endpoint_id(&name)?;
    let view = people.service.boot(&endpoint).await?;
    let t = Texts::here();
    let content = html! {
        div data-now=(now_ms()) {
            p class="crumb" { a href="/network" { (t.tab_network()) } " › " a href={ "/endpoints/" (endpoint) } { (endpoint) } }
            h1 { (t.network_boot_of(endpoint.to_string())) }
            (trace(&view))
            (boot::card(&view))
        }
    };
    part.of(
        &people,
        Tab::Network,
        &t.network_boot_of(endpoint.to_string()),
        &format!("/network/{endpoint}"),
        content,
    )
    .await
}

/// The page.
#[must_use]
pub fn content(net: &NetView, refusals: &[RefusalView], all: bool, viewer: &Viewer, now: u64) -> Markup {
    let t = Texts::here();
    html! {
        div data-now=(now) {
            h1 { (t.tab_network()) }
            (interfaces(net))
            (foreign(&net.servers, viewer))
            @if !net.addresses_in_use.is_empty() { (boot::alarms(&[], &net.addresses_in_use)) }
            (boots(net, all, now))
            @if !refusals.is_empty() { (endpoints::refused(refusals)) }
        }
    }
}

fn interfaces(net: &NetView) -> Markup {
    let t = Texts::here();
    let mode = |mode: &str| match mode {
        "observe" => t.network_observe(),
        "proxy" => t.network_proxy(),
        "full" => t.network_full(),
        other => other.to_owned(),
    };
    html! {
        section class="card" id="interfaces" {
            h2 { (t.network_interfaces()) }
            @if net.interfaces.is_empty() { p { (t.network_no_interface()) } }
            @else {
                dl {
                    @for interface in &net.interfaces {
                        dt { code { (interface.name) } " " (interface.address) }
                        dd { code { (interface.mode) } ": " (mode(&interface.mode)) }
                    }
                }
            }
        }
    }
}

/// Other servers, each with what to do about it.
fn foreign(servers: &[ForeignView], viewer: &Viewer) -> Markup {
    let t = Texts::here();
    let alarm = servers.iter().any(|server| server.alarm);
    html! {
        section class={ "card " @if alarm { "attention" } } id="foreign" {
            h2 { (t.network_foreign()) }
            @if servers.is_empty() { p { (t.network_foreign_none()) } }
            @for server in servers {
                div {
                    p { code { (server.server) } " "
                        @if server.alarm { (badge(Tone::Bad, t.network_in_the_way())) } @else { (badge(Tone::Quiet, t.network_harmless())) }
                        " " (boot::server_said(server)) }
                    @if server.alarm { p class="now" { strong { (t.what_now()) } " " (remedy(server)) } }
                    p class="small" { (t.network_heard(server.count, server.interface.clone())) " " (moment(server.first_unix_ms)) " – " (moment(server.last_unix_ms)) }
                }
            }
            form method="post" action="/network" {
                div class="actions" { (viewer.plain("/network", "", "probe", t.network_probe())) }
                p class="small" { (t.network_probe_help()) }
            }
        }
    }
}

fn remedy(server: &ForeignView) -> String {
    let t = Texts::here();
    match (server.gives_addresses, server.boots) {
        (true, true) => t.network_remedy_both(server.server.clone()),
        (false, true) => t.network_remedy_boots(server.server.clone()),
        (true | false, false) => t.network_remedy_gives(server.server.clone()),
    }
}

/// Each endpoint's boot in a line: how far it came.
fn boots(net: &NetView, all: bool, now: u64) -> Markup {
    let t = Texts::here();
    let seen = |view: &&BootView| all || view.begun_unix_ms.is_some() || view.diagnosis.is_trouble();
    let shown: Vec<&BootView> = net.endpoints.iter().filter(seen).collect();
    let silent = net.endpoints.len() - shown.len();
    html! {
        section class="card" id="boots" {
            h2 { (t.network_boots()) }
            @if shown.is_empty() { p { (t.network_boots_none()) } }
            @else {
                div class="scroll" { table {
                    thead { tr { th scope="col" { (t.network_who()) } th scope="col" { (t.network_reached()) } th scope="col" { (t.network_matter()) } th scope="col" { (t.network_last()) } } }
                    tbody { @for view in shown.iter().take(ROWS_MOST) { (boot_row(view, now)) } }
                } }
                @if shown.len() > ROWS_MOST { p class="small" { (t.network_more(shown.len() - ROWS_MOST)) } }
            }
            @if silent > 0 { p class="small" { a class="quiet-link" href="/network?all=true" { (t.network_silent(silent)) } } }
        }
    }
}

fn boot_row(view: &BootView, now: u64) -> Markup {
    let tone = tone(&view.diagnosis);
    html! {
        tr {
            th scope="row" {
                @match (&view.endpoint, &view.mac) {
                    (Some(endpoint), _) => a href={ "/network/" (endpoint) } { (endpoint) },
                    (None, Some(mac)) => code { (mac) },
                    (None, None) => {},
                }
            }
            td { (boot::step(&view.reached)) @if let Some(missing) = &view.diagnosis.missing { " ↛ " strong { (boot::step(missing)) } } }
            td { (badge(tone, html! { code { (view.diagnosis.code) } })) " " (boot::cause(&view.diagnosis)) }
            td { @if let Some(last) = view.last_unix_ms { (since(last, now)) } }
        }
    }
}

fn tone(diagnosis: &BootDiagnosis) -> Tone {
    match diagnosis.level.as_str() {
        "fine" => Tone::Good,
        "waiting" => Tone::Busy,
        "trouble" => Tone::Bad,
        _ => Tone::Quiet,
    }
}

/// A group of hops on the time axis.
struct Lane<'a> {
    name: &'static str,
    hops: Vec<&'a HopView>,
    missing: bool,
}

fn lanes(view: &BootView) -> Vec<Lane<'_>> {
    let missing = view.diagnosis.missing.as_deref();
    HOPS.iter()
        .map(|(name, steps)| Lane {
            name,
            hops: view.hops.iter().filter(|hop| steps.contains(&hop.step.as_str())).collect(),
            missing: missing.is_some_and(|missing| steps.contains(&missing)),
        })
        .collect()
}

/// Discover, offer, file, kernel, agent as a waterfall, the missing one marked, the cause and the remedy beside it; and the same as a table.
#[must_use]
pub fn trace(view: &BootView) -> Markup {
    let t = Texts::here();
    let diagnosis = &view.diagnosis;
    let lanes = lanes(view);
    let begun = view.begun_unix_ms.unwrap_or_default();
    html! {
        section class={ "card " (tone(diagnosis).class()) } id="trace" {
            div class="card-head" { h2 { (t.trace_title()) } (badge(tone(diagnosis), html! { code { (diagnosis.code) } })) }
            (boot::what_now(diagnosis))
            @if !view.hops.is_empty() {
                (picture(view, &lanes, begun))
                div class="scroll" { table {
                    caption { (t.trace_table()) }
                    thead { tr { th scope="col" { (t.trace_hop()) } th scope="col" { (t.trace_at()) } th scope="col" { (t.trace_took()) } th scope="col" { (t.trace_what()) } } }
                    tbody { @for lane in &lanes { (lane_row(lane, begun)) } }
                } }
            }
        }
    }
}

fn hop_name(name: &str) -> String {
    Texts::here().by_code(name, "hop", []).unwrap_or_else(|| name.to_owned())
}

fn lane_row(lane: &Lane<'_>, begun: u64) -> Markup {
    let t = Texts::here();
    let first = lane.hops.iter().map(|hop| hop.at_unix_ms).min();
    let last = lane.hops.iter().map(|hop| hop.until_unix_ms).max();
    let done = lane.hops.iter().map(|hop| hop.bytes).sum::<u64>();
    html! {
        tr {
            th scope="row" { (hop_name(lane.name)) }
            @match first.zip(last) {
                Some((first, last)) => {
                    td class="num" { (duration(first.saturating_sub(begun))) }
                    td class="num" { (duration(last.saturating_sub(first))) }
                    td {
                        @for (at, hop) in lane.hops.iter().enumerate() {
                            @if at > 0 { ", " } (boot::step(&hop.step)) " " (boot::outcome(&hop.outcome)) @if hop.count > 1 { " ×" (hop.count) }
                        }
                        @if done > 0 { " · " (bytes(done)) }
                        @if lane.missing { " · " strong { (t.trace_gap()) } }
                    }
                }
                None => { td {} td {} td { @if lane.missing { strong { (t.trace_gap()) } } @else { (t.trace_not_reached()) } } }
            }
        }
    }
}

/// Width and height of the drawing, and where its bars begin.
const WIDTH: u64 = 720;
const LEFT: u64 = 130;
const LANE: u64 = 34;

fn picture(view: &BootView, lanes: &[Lane<'_>], begun: u64) -> Markup {
    let t = Texts::here();
    let end = view.hops.iter().map(|hop| hop.until_unix_ms).max().unwrap_or(begun).max(begun + 1);
    let whole = end - begun;
    let place = |at: u64| LEFT + at.saturating_sub(begun) * (WIDTH - LEFT - 10) / whole;
    let height = LANE * lanes.len() as u64 + 26;
    html! {
        svg class="waterfall" viewBox={ "0 0 " (WIDTH) " " (height) } role="img" aria-labelledby="trace-name" {
            title id="trace-name" { (t.trace_picture(duration(whole), boot::plain_step(&view.reached))) }
            @for (row, lane) in lanes.iter().enumerate() {
                @let top = LANE * row as u64;
                text class={ "lane" @if lane.missing { " missing" } } x="0" y=(top + 21) { (hop_name(lane.name)) }
                line class="axis" x1=(LEFT) x2=(WIDTH - 10) y1=(top + 16) y2=(top + 16) {}
                @for hop in &lane.hops { (bar(hop, place(hop.at_unix_ms), place(hop.until_unix_ms), top)) }
                @if lane.missing {
                    rect class="gap" x=(place(end).saturating_sub(60).max(LEFT)) y=(top + 5) width="60" height="22" rx="4" {}
                    text class="gap-word" x=(place(end).saturating_sub(30).max(LEFT + 30)) y=(top + 21) text-anchor="middle" { "✕" }
                }
            }
            text class="tick" x=(LEFT) y=(height - 6) { "0" }
            text class="tick" x=(WIDTH - 10) y=(height - 6) text-anchor="end" { (duration(whole)) }
        }
    }
}

/// Done, under way, or broken: each its own fill and stroke.
fn bar(hop: &HopView, from: u64, to: u64, top: u64) -> Markup {
    let class = match hop.outcome.as_str() {
        "done" => "done",
        "refused" | "broken" => "broken",
        _ => "underway",
    };
    html! {
        rect class={ "hop " (class) } x=(from) y=(top + 8) width=(to.saturating_sub(from).max(6)) height="16" rx="3" {
            title { (boot::plain_hop(hop)) }
        }
    }
}
