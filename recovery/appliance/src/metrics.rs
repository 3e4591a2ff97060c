//! `/metrics`: what a monitoring system may count, in OpenMetrics text. Behind the gate like any other call.
//!
//! Names begin with `groundstate_`, units are base units. No label names an endpoint: a site has too many, and the
//! evidence log knows them anyway. Counters of requests live here; all others are read from the service at each scrape.

mod counted;
mod plain;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fs, time::Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, header},
    middleware::Next,
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
        info::Info,
    },
    registry::{Registry, Unit},
};
use recovery_protocol::Problem;

use crate::{
    api::{Closed, Needs, People, Refusal},
    notify::Told,
    service::Figures,
};

pub use counted::Counted;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    method: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabel {
    route: String,
}

/// Counters of the people's listener.
pub struct Metrics {
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabel, Histogram>,
}

impl Default for Metrics {
    fn default() -> Self {
        let histogram = || Histogram::new(exponential_buckets(0.001, 4.0, 8));
        Self { requests: Family::default(), durations: Family::new_with_constructor(histogram) }
    }
}

/// The route.
pub fn routes() -> Vec<Closed> {
    vec![("/metrics", get(scrape), Needs::LOOK)]
}

/// Count each request by route pattern (never by path: a stranger could make up as many as he likes).
pub async fn count(State(metrics): State<std::sync::Arc<Metrics>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("(none)", MatchedPath::as_str).to_owned();
    let method =
        if request.method().as_str().len() > 7 { "(other)" } else { request.method().as_str() }.to_owned();
    let begun = Instant::now();
    let response = next.run(request).await;
    metrics
        .durations
        .get_or_create(&RouteLabel { route: route.clone() })
        .observe(begun.elapsed().as_secs_f64());
    metrics
        .requests
        .get_or_create(&RequestLabels { route, method, status: response.status().as_u16() })
        .inc();
    response
}

async fn scrape(State(people): State<People>, headers: HeaderMap) -> Result<Response, Refusal> {
    let status = people.service.status().await?;
    let figures = people.service.figures().await?;
    let mut registry = Registry::with_prefix("groundstate");
    let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("build", "What runs", build);
    registry.register(
        "http_requests",
        "Requests of people, scripts and webhooks",
        people.metrics.requests.clone(),
    );
    let durations = people.metrics.durations.clone();
    registry.register_with_unit(
        "http_request_duration",
        "Time to the answer's head",
        Unit::Seconds,
        durations,
    );
    gauge(&mut registry, "up_seconds", "Seconds since the start", status.up_seconds);
    gauge(&mut registry, "jobs_held", "Jobs that wait for a person", status.jobs_held);
    let foreign = u64::try_from(status.foreign.len()).unwrap_or(u64::MAX);
    gauge(&mut registry, "foreign_servers", "Other DHCP and boot servers in the way", foreign);
    let used = u64::try_from(status.addresses_in_use.len()).unwrap_or(u64::MAX);
    gauge(&mut registry, "addresses_in_use", "Addresses of the pools in use without a lease", used);
    if let Some(bytes) = resident_bytes() {
        gauge(&mut registry, "resident_bytes", "Memory of the appliance's process", bytes);
    }
    register_operations(&mut registry, &figures);
    register_figures(&mut registry, figures);
    people.service.counted().register(&mut registry);
    let mut text = String::new();
    encode(&mut text, &registry).map_err(|error| {
        Refusal(Problem::new(
            500,
            "metrics-failed",
            "Metrics could not be written",
            error.to_string(),
            "look at the log",
        ))
    })?;
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    if plain::is_asked_for(accept) {
        let media_type = "text/plain; version=0.0.4; charset=utf-8";
        return Ok(([(header::CONTENT_TYPE, media_type)], plain::text(&text)).into_response());
    }
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, media_type)], text).into_response())
}

/// What whoever keeps the appliance wants to know.
fn register_operations(registry: &mut Registry, figures: &Figures) {
    let s = |ms: u64| ms / 1000;
    gauge(registry, "approvals_pending", "Jobs that wait for an approval", figures.approvals_pending);
    let help = "Age of the oldest job that has not come to its endpoint";
    gauge(registry, "queue_oldest_seconds", help, s(figures.queue_oldest_ms));
    let help = "Longest silence of a recovery system at work";
    gauge(registry, "agent_heartbeat_age_seconds", help, s(figures.silence_ms));
    let told = &figures.told;
    let results = told.iter().flat_map(|told| {
        [("taken", told.sent), ("failed", told.failures)]
            .map(|(result, n)| ((told.channel.as_str(), result), n))
    });
    let help = "Messages that a channel took, and tries that failed";
    pairs(registry, "notifications", help, ["channel", "result"], results);
    let oldest = |told: &Told| {
        let age = told.oldest_unix_ms.map_or(0, |at| figures.now_unix_ms.saturating_sub(at));
        (told.channel.clone(), s(age))
    };
    let help = "Age of the oldest message that a channel has not taken";
    gauges(
        registry,
        "notification_oldest_undelivered_seconds",
        help,
        "channel",
        told.iter().map(oldest).collect(),
    );
    let help = "Entries of the evidence log that who follows it has not got";
    gauges(registry, "evidence_behind_entries", help, "sink", figures.behind.clone());
    let ages = &figures.ages;
    let help = "When a drill recovered an endpoint last; 0: never";
    gauge(registry, "drill_last_success_timestamp_seconds", help, s(ages.drill.unwrap_or_default()));
    let help = "When a backup was made last; 0: never";
    gauge(registry, "backup_last_success_timestamp_seconds", help, s(ages.backup.unwrap_or_default()));
    let unanchored = ages.unanchored.map_or(0, |at| figures.now_unix_ms.saturating_sub(at));
    gauge(
        registry,
        "evidence_anchor_age_seconds",
        "Age of the oldest evidence that is not anchored",
        s(unanchored),
    );
    let disks = |of: fn(&(&'static str, u64, u64)) -> u64| {
        figures.disks.iter().map(|disk| (disk.0.to_owned(), of(disk))).collect::<Vec<_>>()
    };
    gauges(registry, "disk_size_bytes", "Size of the disk that it lies on", "of", disks(|disk| disk.1));
    gauges(registry, "disk_free_bytes", "Free on the disk that it lies on", "of", disks(|disk| disk.2));
}

fn register_figures(registry: &mut Registry, figures: Figures) {
    gauges(registry, "endpoints", "Endpoints on record", "state", figures.endpoints);
    gauges(registry, "jobs_running", "Jobs at work", "phase", figures.jobs_running);
    counters(registry, "jobs", "Recovery jobs that are over", "result", figures.jobs_over);
    counters(registry, "boot_requests", "Boot requests answered", "answer", figures.boot_requests);
    counters(
        registry,
        "boot_refusals",
        "Asked of the boot layer and not given",
        "code",
        figures.boot_refusals,
    );
    let outcomes = &figures.boot_outcomes;
    let help = "Packets and transfers of the boot layer";
    pairs(registry, "boot_events", help, ["protocol", "outcome"], owned(&outcomes.outcomes));
    let help = "Boots that came to the agent, and that stopped behind their loader";
    pairs(registry, "boots", help, ["chain", "outcome"], owned(&outcomes.boots));
    let bytes = outcomes.bytes.iter().map(|(protocol, bytes)| ((*protocol).to_owned(), *bytes)).collect();
    counters(registry, "boot_sent_bytes", "Bytes of boot files sent", "protocol", bytes);
    counters(registry, "attestation", "Quotes judged", "verdict", figures.attestations);
    counters(registry, "refusals", "Refusals", "code", figures.refusals);
    counters(registry, "triggers", "Triggers decided", "decision", figures.triggers);
    counter(registry, "image_bytes_sent", "Bytes of chunk frames sent", figures.frame_bytes);
    gauge(registry, "stop", "STOP stands for the whole site", u64::from(figures.stopped));
    counter(registry, "evidence_entries", "Entries of the evidence log", figures.evidence_entries);
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let gauge = Gauge::<i64>::default();
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
    registry.register(name, help, gauge);
}

fn counter(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let counter = Counter::<u64>::default();
    counter.inc_by(value);
    registry.register(name, help, counter);
}

fn owned<'a>(
    values: &'a BTreeMap<(&'static str, &'static str), u64>,
) -> impl Iterator<Item = ((&'a str, &'a str), u64)> {
    values.iter().map(|(both, count)| (*both, *count))
}

type Labels = Vec<(String, String)>;

fn gauges(registry: &mut Registry, name: &str, help: &str, label: &str, values: Vec<(String, u64)>) {
    let family = Family::<Labels, Gauge>::default();
    for (value, count) in values {
        family.get_or_create(&vec![(label.to_owned(), value)]).set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    registry.register(name, help, family);
}

fn counters(registry: &mut Registry, name: &str, help: &str, label: &str, values: Vec<(String, u64)>) {
    let family = Family::<Labels, Counter>::default();
    for (value, count) in values {
        family.get_or_create(&vec![(label.to_owned(), value)]).inc_by(count);
    }
    registry.register(name, help, family);
}

fn pairs<'a>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    labels: [&str; 2],
    values: impl IntoIterator<Item = ((&'a str, &'a str), u64)>,
) {
    let family = Family::<Labels, Counter>::default();
    for ((first, second), count) in values {
        let [a, b] = labels;
        let both = vec![(a.to_owned(), first.to_owned()), (b.to_owned(), second.to_owned())];
        family.get_or_create(&both).inc_by(count);
    }
    registry.register(name, help, family);
}

/// Resident memory from `/proc/self/status` (`VmRSS`, in kB; proc(5)).
fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
