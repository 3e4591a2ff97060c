//! The list of jobs: state, endpoint, trigger, words, order and page stand in the address.

use axum::{
    extract::{Query, State},
    response::Response,
};
use maud::{Markup, html};
use recovery_protocol::operator::{JobKind, JobView, Mode};
use serde::Deserialize;

use super::{
    super::{
        Failed, Part,
        job::{asked_by, said_of},
        now_ms,
        page::Tab,
        texts::Texts,
        words::{Tone, badge, duration, english, job_state, moment, since},
    },
    query::{Pages, link},
};
use crate::{
    api::{People, endpoint_id},
    service::{
        jobs::{JobsAsk, JobsPage, ORDERS, STATES},
        list::limit,
    },
};

/// Jobs on a page.
const PAGE: usize = 50;

/// What is asked for, as it stands in the address.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Ask {
    part: String,
    state: String,
    endpoint: String,
    trigger: String,
    q: String,
    sort: String,
    cursor: String,
    limit: Option<usize>,
}

impl Ask {
    fn path(&self) -> String {
        let limit = self.limit.map(|limit| limit.to_string()).unwrap_or_default();
        let asked = [
            ("state", self.state.trim()),
            ("endpoint", self.endpoint.trim()),
            ("trigger", self.trigger.trim()),
            ("q", self.q.trim()),
            ("sort", &self.sort),
            ("cursor", &self.cursor),
            ("limit", &limit),
        ];
        link("/jobs", &asked)
    }

    /// The same from its first page on.
    fn anew(&self) -> Self {
        Self { cursor: String::new(), ..self.clone() }
    }

    fn is_narrow(&self) -> bool {
        [&self.state, &self.endpoint, &self.trigger, &self.q].iter().any(|part| !part.trim().is_empty())
    }
}

/// `GET /jobs`.
pub async fn page(State(people): State<People>, Query(ask): Query<Ask>) -> Result<Response, Failed> {
    let endpoint = match ask.endpoint.trim() {
        "" => None,
        name => Some(endpoint_id(name)?),
    };
    let wanted = JobsAsk {
        state: ask.state.clone(),
        endpoint,
        trigger: ask.trigger.clone(),
        q: ask.q.clone(),
        sort: ask.sort.clone(),
        cursor: ask.cursor.clone(),
        limit: limit(ask.limit, PAGE)?,
    };
    let found = people.service.jobs_page(&wanted).await?;
    let content = content(&ask, &found, now_ms());
    let part = Part { part: Some(ask.part.clone()) };
    part.of(&people, Tab::Jobs, &Texts::here().tab_jobs(), &ask.path(), content).await
}

/// The page.
#[must_use]
pub fn content(ask: &Ask, found: &JobsPage, now: u64) -> Markup {
    let t = Texts::here();
    let next = found.next.as_ref().map(|next| Ask { cursor: next.clone(), ..ask.clone() }.path());
    let first = (!ask.cursor.is_empty()).then(|| ask.anew().path());
    html! {
        div class="list" data-now=(now) {
            h1 { (t.tab_jobs()) }
            (find(ask))
            (counts(ask, found))
            @if found.jobs.is_empty() { p { (t.jobs_none()) " " a href="/jobs" { (t.show_all()) } } }
            @else { ul class="rows" { @for job in &found.jobs { li { (row(job, now)) } } } }
            (Pages { first, next })
        }
    }
}

/// A state's name, as people choose it.
fn state_word(name: &str) -> String {
    let t = Texts::here();
    match name {
        "working" => t.job_working(),
        "held" => t.job_held(),
        "recovered" => t.job_recovered(),
        "captured" => t.job_captured(),
        "cancelled" => t.job_cancelled(),
        "failed" => t.job_failed(),
        _ => t.jobs_open(),
    }
}

fn find(ask: &Ask) -> Markup {
    let t = Texts::here();
    let order = |name: &str| match name {
        "oldest" => t.jobs_sort_oldest(),
        "endpoint" => t.list_sort_name(),
        "longest" => t.jobs_sort_longest(),
        _ => t.jobs_sort_newest(),
    };
    html! {
        form class="ask" method="get" action="/jobs" role="search" {
            div { label for="q" { (t.list_words()) }
                input id="q" name="q" type="search" maxlength="200" autocomplete="off" value=(ask.q); }
            div { label for="endpoint" { (t.jobs_endpoint()) }
                input id="endpoint" class="typed" name="endpoint" maxlength="63" autocomplete="off" spellcheck="false"
                    placeholder="press-01" value=(ask.endpoint); }
            div { label for="trigger" { (t.jobs_trigger()) }
                input id="trigger" class="typed" name="trigger" maxlength="80" autocomplete="off" spellcheck="false"
                    placeholder="operator, webhook" value=(ask.trigger); }
            div { label for="state" { (t.jobs_state()) }
                select id="state" name="state" {
                    option value="" selected[ask.state.is_empty()] { (t.jobs_any()) }
                    @for (name, _) in STATES { option value=(name) selected[name == ask.state] { (state_word(name)) } }
                } }
            div { label for="sort" { (t.list_sort()) }
                select id="sort" name="sort" {
                    @for (name, _) in ORDERS { option value=(name) selected[name == ask.sort] { (order(name)) } }
                } }
            button { (t.list_show()) }
        }
    }
}

/// How many there are in each state; each number leads to its own list.
fn counts(ask: &Ask, found: &JobsPage) -> Markup {
    let t = Texts::here();
    let tone = |state: &str| match state {
        "working" => Tone::Busy,
        "held" => Tone::Attention,
        "failed" => Tone::Bad,
        "cancelled" => Tone::Quiet,
        _ => Tone::Good,
    };
    let all: u64 = found.states.iter().map(|(_, count)| count).sum();
    html! {
        ul class="states" aria-label=(t.jobs_states()) {
            @for (state, count) in &found.states {
                @let only = Ask { state: state.clone(), ..ask.anew() }.path();
                li { a href=(only) aria-current=[(*state == ask.state).then_some("true")] { (badge(tone(state), format!("{count} {}", state_word(state)))) } }
            }
            li { (t.list_found(all)) }
            @if ask.is_narrow() { li { a href="/jobs" { (t.show_all()) } } }
        }
    }
}

fn row(job: &JobView, now: u64) -> Markup {
    let t = Texts::here();
    let (tone, word) = job_state(&job.state);
    html! {
        a class={ "row " (tone.class()) } id={ "job-" (job.job) } href={ "/jobs/" (job.job) } {
            span class="row-name" {
                (job.endpoint)
                span class="small" {
                    @if job.kind == JobKind::Capture { (t.jobs_capture()) " · " }
                    @if job.mode == Mode::Drill { (t.drill_word()) " · " }
                    code { (job.image_name) }
                }
            }
            (badge(tone, word))
            span class="row-what" {
                (said_of(job).in_a_row())
                span class="block small" {
                    (asked_by(job)) " · " (moment(job.asked_unix_ms)) " · "
                    @match job.over_unix_ms {
                        Some(over) => (duration(over.saturating_sub(job.asked_unix_ms))),
                        None => (since(job.asked_unix_ms, now)),
                    }
                    @if !job.reason.is_empty() { " · " (english(format!("“{}”", job.reason))) }
                }
            }
        }
    }
}
