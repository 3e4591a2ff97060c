//! What waits for somebody, soonest first: each line names the next step and who may take it. Below it what the site does now.

use axum::{
    Extension,
    extract::{Query, State},
    response::{IntoResponse as _, Redirect, Response},
};
use maud::{Markup, html};
use recovery_protocol::{
    drill::{ScheduleView, Stands},
    job::JobState,
    operator::{DrillView, JobView, StatusView},
    people::Permission,
    plan::{PlanState, PlanView},
};
use serde::Deserialize;

use super::{
    super::{
        Failed, Part, boot, endpoints,
        job::said_of,
        may::Viewer,
        now_ms,
        page::{Tab, sentence},
        texts::Texts,
        words::{
            SLOTS, Tone, actor, badge, bytes, duration, endpoint_state, english, fill, job_state, moment,
            since,
        },
    },
    list::Ask,
    query::link,
    who_may,
};
use crate::{
    api::{People, gate::Who},
    service::home::{Room, Saved},
};

/// A backup older than this is due.
const SAVED_MS: u64 = 7 * 24 * 3_600_000;
/// A rehearsal longer ago than a quarter of a year is due.
const DRILLED_MS: u64 = 92 * 24 * 3_600_000;

/// What the page is made of.
pub struct Facts<'a> {
    /// The appliance in one look.
    pub status: &'a StatusView,
    /// Jobs that are not over.
    pub open: &'a [JobView],
    /// Endpoints by state, as in JSON.
    pub states: &'a [(String, u64)],
    /// Standing plans, with those to be approved.
    pub plans: &'a [PlanView],
    /// Drills on record.
    pub drills: &'a [DrillView],
    /// When drills are due by their schedules.
    pub schedules: &'a [ScheduleView],
    /// When the newest drill was planned; none: never.
    pub drilled: Option<u64>,
    /// Endpoints that may be drilled.
    pub drillable: usize,
    /// When the state was saved last.
    pub saved: Saved,
    /// Room on the disk.
    pub room: Option<Room>,
    /// Milliseconds since 1970.
    pub now: u64,
}

/// How soon somebody has to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Soon {
    /// An endpoint or the site stands still, or is in danger.
    Now,
    /// A time is set.
    Due,
    /// When there is time.
    Later,
}

/// One line.
struct Row {
    soon: Soon,
    /// Until when, or since when it waits: milliseconds since 1970.
    at: u64,
    /// `at` is a time to come or missed, not one since which it waits.
    until: bool,
    tone: Tone,
    id: String,
    title: String,
    word: String,
    what: Markup,
    next: String,
    to: String,
    who: Permission,
}

#[derive(Deserialize)]
pub struct Meant {
    part: Option<String>,
    selector: Option<String>,
}

/// `GET /`. The list of endpoints was here once, so a selector leads to it.
pub async fn page(
    State(people): State<People>,
    Extension(who): Extension<Who>,
    Query(meant): Query<Meant>,
) -> Result<Response, Failed> {
    if let Some(selector) = meant.selector {
        let ask = Ask { selector, part: meant.part.unwrap_or_default(), ..Ask::default() };
        return Ok(Redirect::permanent(&ask.path()).into_response());
    }
    let service = &people.service;
    let drills = people.drills.list();
    let facts = Facts {
        status: &service.status().await?,
        open: &service.open_jobs().await?,
        states: &service.endpoint_states().await?,
        plans: &service.plans().await?,
        drills: &drills,
        schedules: &people.drills.schedules().await?,
        drilled: people.drills.newest_unix_ms(),
        drillable: service.drillable().await?,
        saved: service.saved().await?,
        room: service.room(),
        now: now_ms(),
    };
    let content = content(&facts, &Viewer::of(&who));
    Part { part: meant.part }.of(&people, Tab::Home, &Texts::here().tab_home(), "/", content).await
}

/// The page.
#[must_use]
pub fn content(facts: &Facts<'_>, viewer: &Viewer) -> Markup {
    let t = Texts::here();
    let mut rows = rows(facts);
    // What has its time set counts by it; what waits already, the longest first.
    rows.sort_by(|a, b| (a.soon, a.at, &a.id).cmp(&(b.soon, b.at, &b.id)));
    html! {
        div class="list" data-now=(facts.now) {
            h1 { (t.home_title()) }
            (states(facts))
            @if rows.is_empty() {
                section class="card good" { p { (Tone::Good.shape()) " " (t.home_nothing()) } }
            } @else {
                ul class="rows" id="to-do" { @for row in &rows { li { (line(row, viewer, facts.now)) } } }
            }
            (running(facts))
            @if facts.status.endpoints == 0 { (nothing_yet()) }
        }
    }
}

/// A text of ours as a sentence. A name that it begins with stays as it is.
fn plain(text: &str) -> Markup {
    html! { (text) @if !text.ends_with(['.', '!', '?', '。']) { "." } }
}

fn rows(facts: &Facts<'_>) -> Vec<Row> {
    let mut rows = Vec::new();
    stop(facts, &mut rows);
    jobs(facts, &mut rows);
    conflicts(facts, &mut rows);
    network(facts, &mut rows);
    decisions(facts, &mut rows);
    upkeep(facts, &mut rows);
    rows
}

fn stop(facts: &Facts<'_>, rows: &mut Vec<Row>) {
    let t = Texts::here();
    let Some(stop) = &facts.status.stop else { return };
    rows.push(Row {
        soon: Soon::Now,
        at: stop.pressed_unix_ms,
        until: false,
        tone: Tone::Bad,
        id: "todo-stop".into(),
        title: t.stop_word(),
        word: t.home_stands(),
        what: plain(&t.home_stop(stop.jobs_held, actor(&stop.pressed_by))),
        next: t.home_stop_next(),
        to: "/stop".into(),
        who: Permission::ReleaseStop,
    });
}

fn jobs(facts: &Facts<'_>, rows: &mut Vec<Row>) {
    let t = Texts::here();
    for job in facts.open {
        let JobState::Held { .. } = &job.state else { continue };
        let since = job.phases.iter().filter_map(|phase| phase.to_unix_ms).max().unwrap_or(job.asked_unix_ms);
        let (tone, held) = job_state(&job.state);
        let asks = job.approves.is_some();
        rows.push(Row {
            soon: Soon::Now,
            at: since,
            until: false,
            tone,
            id: format!("todo-{}", job.job),
            title: job.endpoint.to_string(),
            word: if asks { t.home_asks() } else { held },
            what: said_of(job).in_a_row(),
            next: String::new(),
            to: if asks { format!("/approvals#{}", job.job) } else { format!("/jobs/{}", job.job) },
            who: if asks { Permission::Approve } else { Permission::Resume },
        });
    }
}

fn conflicts(facts: &Facts<'_>, rows: &mut Vec<Row>) {
    let t = Texts::here();
    for endpoint in &facts.status.conflicts {
        rows.push(Row {
            soon: Soon::Now,
            at: 0,
            until: false,
            tone: Tone::Attention,
            id: format!("todo-conflict-{endpoint}"),
            title: endpoint.to_string(),
            word: t.home_conflict_word(),
            what: plain(&t.home_conflict()),
            next: t.home_conflict_next(),
            to: format!("/endpoints/{endpoint}#conflict"),
            who: Permission::Endpoints,
        });
    }
    let suspect = count(facts.states, "suspect");
    if suspect > 0 {
        rows.push(Row {
            soon: Soon::Now,
            at: 0,
            until: false,
            tone: Tone::Bad,
            id: "todo-suspect".into(),
            title: t.home_suspect_title(suspect),
            word: endpoint_state(recovery_protocol::operator::EndpointState::Suspect).1,
            what: plain(&t.home_suspect()),
            next: t.home_suspect_next(),
            to: link("/endpoints", &[("selector", "state=suspect")]),
            who: Permission::Recover,
        });
    }
}

fn network(facts: &Facts<'_>, rows: &mut Vec<Row>) {
    let t = Texts::here();
    for server in &facts.status.foreign {
        rows.push(Row {
            soon: Soon::Now,
            at: server.first_unix_ms,
            until: false,
            tone: Tone::Bad,
            id: format!("todo-foreign-{}-{}", server.interface, server.server),
            title: t.home_foreign_title(server.server.clone()),
            word: t.home_network_word(),
            what: boot::server_said(server),
            next: t.home_foreign_next(),
            to: "/network#foreign".into(),
            who: Permission::Network,
        });
    }
    for used in &facts.status.addresses_in_use {
        rows.push(Row {
            soon: Soon::Due,
            at: used.first_unix_ms,
            until: false,
            tone: Tone::Attention,
            id: format!("todo-address-{}", used.address),
            title: used.address.clone(),
            word: t.home_network_word(),
            what: boot::used_said(used),
            next: t.home_address_next(used.by.to_string()),
            to: "/network#addresses".into(),
            who: Permission::Network,
        });
    }
    for refusal in &facts.status.refusals {
        rows.push(Row {
            soon: Soon::Later,
            at: refusal.last_unix_ms,
            until: false,
            tone: Tone::Quiet,
            id: format!("todo-refusal-{}", refusal.code),
            title: refusal.code.clone(),
            word: t.home_refused_word(),
            what: fill(
                &t.home_refused(refusal.count, refusal.from.clone(), SLOTS[0]),
                [endpoints::why_refused(refusal)],
            ),
            next: t.home_refused_next(),
            to: "/network#refusals".into(),
            who: Permission::Look,
        });
    }
}

fn decisions(facts: &Facts<'_>, rows: &mut Vec<Row>) {
    let t = Texts::here();
    for review in &facts.status.reviews {
        rows.push(Row {
            soon: if review.overdue { Soon::Now } else { Soon::Due },
            at: review.due_unix_ms,
            until: true,
            tone: if review.overdue { Tone::Bad } else { Tone::Attention },
            id: format!("todo-review-{}", review.job),
            title: review.endpoint.to_string(),
            word: if review.overdue { t.home_overdue() } else { t.home_review_word() },
            what: plain(&t.home_review(actor(&review.broke), review.reason.clone())),
            next: t.home_review_next(),
            to: "/reviews".into(),
            who: Permission::Approve,
        });
    }
    for plan in facts.plans.iter().filter(|plan| plan.state == PlanState::Proposed) {
        rows.push(Row {
            soon: Soon::Due,
            at: plan.ends_unix_ms,
            until: true,
            tone: Tone::Attention,
            id: format!("todo-plan-{}", plan.plan),
            title: plan.plan.clone(),
            word: t.home_asks(),
            what: plain(&t.home_plan(actor(&plan.made_by), plan.endpoints.len())),
            next: t.home_plan_next(),
            to: "/plans".into(),
            who: Permission::Approve,
        });
    }
    for drill in facts.drills.iter().filter(|drill| drill.state == "waiting_person") {
        let asks = drill.steps.iter().find(|step| step.state == "waiting_person");
        rows.push(Row {
            soon: Soon::Due,
            at: 0,
            until: false,
            tone: Tone::Attention,
            id: format!("todo-drill-{}", drill.drill),
            title: drill.runbook.clone(),
            word: t.home_drill_word(),
            what: english(sentence(&asks.map(|step| step.what.clone()).unwrap_or_default())),
            next: t.home_drill_next(),
            to: format!("/drills/{}", drill.drill),
            who: Permission::Answer,
        });
    }
}

fn upkeep(facts: &Facts<'_>, rows: &mut Vec<Row>) {
    let t = Texts::here();
    if let Some(room) = facts.room.filter(Room::is_little) {
        rows.push(Row {
            soon: Soon::Now,
            at: 0,
            until: false,
            tone: Tone::Bad,
            id: "todo-room".into(),
            title: t.home_room_title(),
            word: bytes(room.free_bytes),
            what: plain(&t.home_room(bytes(room.free_bytes), bytes(room.total_bytes))),
            next: t.home_room_next(),
            to: "/site#storage".into(),
            who: Permission::Endpoints,
        });
    }
    let old = facts.saved.at.is_none_or(|at| facts.now.saturating_sub(at) > SAVED_MS);
    if old && facts.status.endpoints > 0 {
        rows.push(Row {
            soon: Soon::Later,
            at: facts.saved.at.unwrap_or_default(),
            until: false,
            tone: Tone::Attention,
            id: "todo-backup".into(),
            title: t.home_backup_title(),
            word: t.home_due_word(),
            what: plain(&if facts.saved.at.is_some() { t.home_backup_old() } else { t.home_backup_none() }),
            next: t.home_backup_next(),
            to: "/site#backup".into(),
            who: Permission::Endpoints,
        });
    }
    drills_due(facts, rows);
    let seen = count(facts.states, "discovered");
    if seen > 0 {
        rows.push(Row {
            soon: Soon::Later,
            at: u64::MAX,
            until: false,
            tone: Tone::Quiet,
            id: "todo-discovered".into(),
            title: t.home_seen_title(seen),
            word: endpoint_state(recovery_protocol::operator::EndpointState::Discovered).1,
            what: plain(&t.home_seen()),
            next: t.home_seen_next(),
            to: link("/endpoints", &[("selector", "state=discovered")]),
            who: Permission::Endpoints,
        });
    }
}

/// Rehearsals that are due: by their schedules; where none was made, once a quarter.
fn drills_due(facts: &Facts<'_>, rows: &mut Vec<Row>) {
    let t = Texts::here();
    for view in facts.schedules.iter().filter(|view| view.stands != Stands::Fine) {
        let overdue = view.due_unix_ms <= facts.now;
        rows.push(Row {
            soon: if overdue { Soon::Due } else { Soon::Later },
            at: view.due_unix_ms,
            until: true,
            tone: if overdue { Tone::Attention } else { Tone::Quiet },
            id: format!("todo-drill-{}", view.schedule.name),
            title: view.schedule.name.clone(),
            word: if overdue { t.home_overdue() } else { t.home_due_word() },
            what: plain(&t.home_drill_schedule(view.schedule.runbook.clone())),
            next: t.home_drill_schedule_next(),
            to: format!("/drills#schedule-{}", view.schedule.name),
            who: Permission::Drill,
        });
    }
    if !facts.schedules.is_empty() {
        return;
    }
    let long_ago = facts.drilled.is_none_or(|at| facts.now.saturating_sub(at) > DRILLED_MS);
    if long_ago && facts.drillable > 0 {
        rows.push(Row {
            soon: Soon::Later,
            at: facts.drilled.unwrap_or_default(),
            until: false,
            tone: Tone::Attention,
            id: "todo-drill-due".into(),
            title: t.home_drill_due_title(),
            word: t.home_due_word(),
            what: plain(&if facts.drilled.is_some() { t.home_drill_old() } else { t.home_drill_none() }),
            next: t.home_drill_due_next(facts.drillable),
            to: "/drills".into(),
            who: Permission::Drill,
        });
    }
}

fn line(row: &Row, viewer: &Viewer, now: u64) -> Markup {
    let t = Texts::here();
    let told = row.at > 0 && row.at < u64::MAX;
    html! {
        a class={ "row " (row.tone.class()) } id=(row.id) href=(row.to) {
            span class="row-name" { (row.title)
                span class="small" {
                    @if told && row.until { (t.home_until()) " " (moment(row.at)) }
                    @else if told { (t.home_for()) " " (since(row.at, now)) }
                }
            }
            (badge(row.tone, &row.word))
            span class="row-what" {
                (row.what)
                @if !row.next.is_empty() { span class="block" { strong { (t.what_now()) } " " (sentence(&row.next)) } }
                span class="block small" {
                    @if viewer.may(row.who) { (t.home_you_may()) } @else { (t.home_they_may(who_may(row.who))) }
                }
            }
        }
    }
}

fn count(states: &[(String, u64)], wanted: &str) -> u64 {
    states.iter().find(|(state, _)| state == wanted).map_or(0, |(_, count)| *count)
}

/// How many there are in each state: a number and a word, each leading to its list.
fn states(facts: &Facts<'_>) -> Markup {
    use recovery_protocol::operator::EndpointState as S;
    let t = Texts::here();
    let all = [S::Held, S::Suspect, S::Recovering, S::Trusted, S::Known, S::Discovered];
    html! {
        ul class="states" aria-label=(t.home_states()) {
            @for state in all {
                @let name = crate::service::list::state_name(state);
                @let (tone, word) = endpoint_state(state);
                @let count = count(facts.states, name);
                @if count > 0 {
                    li { a href=(link("/endpoints", &[("selector", &format!("state={name}"))])) { (badge(tone, format!("{count} {word}"))) } }
                }
            }
            li { a href="/endpoints" { (t.home_all(facts.status.endpoints)) } }
        }
    }
}

fn running(facts: &Facts<'_>) -> Markup {
    let t = Texts::here();
    let working: Vec<&JobView> =
        facts.open.iter().filter(|job| matches!(job.state, JobState::Working { .. })).collect();
    html! {
        @if !working.is_empty() {
            h2 { (t.home_running(working.len())) }
            ul class="rows" id="running" {
                @for job in working {
                    li {
                        a class="row busy" href={ "/jobs/" (job.job) } {
                            span class="row-name" { (job.endpoint) span class="small" { (job.image_name) } }
                            (badge(Tone::Busy, duration(facts.now.saturating_sub(job.asked_unix_ms))))
                            span class="row-what" { (said_of(job).in_a_row()) }
                        }
                    }
                }
            }
        }
    }
}

fn nothing_yet() -> Markup {
    let t = Texts::here();
    html! {
        section class="card" {
            h2 { (t.none_yet()) }
            p { (t.none_yet_put()) }
            pre { code { "groundstate endpoint add press-01 --mac 52:54:00:12:34:56 --blueprint hmi" } }
            p { (t.none_yet_boot()) }
        }
    }
}
