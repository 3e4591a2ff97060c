//! The evidence log: entry by entry from the newest back, each with its hash and its proof, and checked whole by one button. What is looked for
//! stands in the address.

use axum::{
    Extension,
    extract::{Path, Query, State},
    response::Response,
};
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use maud::{Markup, html};
use recovery_protocol::{
    Problem,
    history::{EntryView, LogVerdict},
};
use serde::Deserialize;

use super::{
    super::{
        Failed, Part,
        job::facts,
        may::Viewer,
        page::{Tab, sentence},
        texts::Texts,
        words::{SLOTS, Tone, actor, badge, duration, english, fill, moment},
    },
    query::{Pages, link},
};
use crate::{
    api::{People, endpoint_id, gate::Who, job_id},
    service::{
        Actor,
        evidence_look::{EvidenceAsk, EvidencePage},
        list::limit,
    },
};

/// Entries on a page.
const PAGE: usize = 50;
const VERIFY: &str = "/evidence/verify";

/// What is looked for, as it stands in the address.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Ask {
    kind: String,
    by: String,
    endpoint: String,
    job: String,
    from: String,
    to: String,
    cursor: String,
    limit: Option<usize>,
}

impl Ask {
    fn path(&self) -> String {
        let limit = self.limit.map(|limit| limit.to_string()).unwrap_or_default();
        let asked = [
            ("kind", self.kind.trim()),
            ("by", self.by.trim()),
            ("endpoint", self.endpoint.trim()),
            ("job", self.job.trim()),
            ("from", self.from.trim()),
            ("to", self.to.trim()),
            ("cursor", &self.cursor),
            ("limit", &limit),
        ];
        link("/evidence", &asked)
    }

    fn wanted(&self) -> Result<EvidenceAsk, Failed> {
        let endpoint = match self.endpoint.trim() {
            "" => None,
            name => Some(endpoint_id(name)?),
        };
        let job = match self.job.trim() {
            "" => None,
            id => Some(job_id(id)?),
        };
        Ok(EvidenceAsk {
            kind: self.kind.clone(),
            actor: self.by.clone(),
            endpoint,
            job,
            from_unix_ms: at(&self.from, "00:00:00")?,
            to_unix_ms: at(&self.to, "23:59:59.999")?,
            cursor: self.cursor.clone(),
            limit: limit(self.limit, PAGE)?,
        })
    }
}

/// `2026-11-30` or `2026-11-30T13:05`, in UTC, as milliseconds since 1970; a day alone with this time of day. Empty: none.
fn at(text: &str, of_a_day: &str) -> Result<Option<u64>, Problem> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let whole = if text.contains(['T', ' ']) { text.to_owned() } else { format!("{text}T{of_a_day}") };
    let read = whole.parse::<DateTime>().ok().and_then(|at| at.to_zoned(TimeZone::UTC).ok());
    let ms = read.and_then(|at| u64::try_from(Timestamp::from(at).as_millisecond()).ok());
    ms.map(Some).ok_or_else(|| {
        let detail = format!("`{text}` is no time");
        let remedy = "write it as 2026-11-30 or 2026-11-30T13:05; it is taken as UTC";
        Problem::new(400, "bad-time", "The time cannot be understood", detail, remedy)
    })
}

/// `GET /evidence`.
pub async fn page(
    State(people): State<People>,
    Extension(who): Extension<Who>,
    Query(ask): Query<Ask>,
) -> Result<Response, Failed> {
    let found = people.service.evidence_page(&who.actor(), &ask.wanted()?).await?;
    let content = content(&ask, &found, &Viewer::of(&who));
    Part::still(&people, Tab::Evidence, &Texts::here().tab_evidence(), content).await
}

/// `GET /evidence/{seq}`.
pub async fn one(State(people): State<People>, Path(seq): Path<u64>) -> Result<Response, Failed> {
    let entry = people.service.evidence_entry(seq).await?;
    let t = Texts::here();
    let content = html! {
        p class="crumb" { a href="/evidence" { (t.tab_evidence()) } " › " (seq) }
        h1 { (t.evidence_entry(seq)) }
        section class="card" { (whole(&entry)) }
    };
    Part::still(&people, Tab::Evidence, &t.evidence_entry(seq), content).await
}

/// `POST /evidence/verify`: nothing is ordered, so the answer is a page.
pub async fn verify(
    State(people): State<People>,
    Extension(by): Extension<Actor>,
) -> Result<Response, Failed> {
    let verdict = people.service.verify_log(&by).await?;
    let t = Texts::here();
    let content = html! {
        p class="crumb" { a class="tap" href="/evidence" { (t.tab_evidence()) } }
        h1 { (t.verify_title()) }
        (said(&verdict))
    };
    Part::still(&people, Tab::Evidence, &t.verify_title(), content).await
}

/// What came of a check.
fn said(verdict: &LogVerdict) -> Markup {
    let t = Texts::here();
    html! {
        section class={ "card " @if verdict.good { "good" } @else { "bad" } } id="verdict" role="status" {
            p { @if verdict.good { (badge(Tone::Good, t.verify_good())) } @else { (badge(Tone::Bad, t.verify_bad())) } }
            @if verdict.good { p { (t.verify_all(verdict.checkpoints, verdict.entries)) " " (t.verify_held(verdict.held)) } }
            @else {
                @if let Some(first) = verdict.first_bad {
                    p class="what" { (fill(&t.verify_first(SLOTS[0]), [html! { a href={ "/evidence/" (first) } { (first) } }])) }
                }
                p { (english(sentence(&verdict.what))) }
                p class="now" { strong { (t.what_now()) " " } (t.verify_now()) }
            }
            p class="small" { (t.verify_took(duration(verdict.took_ms))) " " (t.verify_elsewhere()) " " code { "groundstate evidence verify" } }
            p { a class="button" href="/evidence" { (t.go_back()) } }
        }
    }
}

fn content(ask: &Ask, found: &EvidencePage, viewer: &Viewer) -> Markup {
    let t = Texts::here();
    let first = (!ask.cursor.is_empty()).then(|| Ask { cursor: String::new(), ..ask.clone() }.path());
    let next = found.next.as_ref().map(|next| Ask { cursor: next.clone(), ..ask.clone() }.path());
    html! {
        h1 { (t.tab_evidence()) }
        p { (t.evidence_what(found.size)) }
        form method="post" action=(VERIFY) { div class="actions" { (viewer.plain(VERIFY, "primary", "verify", t.verify_button())) } }
        (find(ask))
        @if found.entries.is_empty() { p { (t.evidence_none()) " " a href="/evidence" { (t.show_all()) } } }
        @else { ol class="rows entries" { @for entry in &found.entries { li { (row(entry)) } } } }
        @if found.next.is_some() { p class="small" { (t.evidence_looked(found.looked_to)) } }
        (Pages { first, next })
    }
}

fn find(ask: &Ask) -> Markup {
    let t = Texts::here();
    let field = |id: &str, word: String, hint: &str, value: &str| {
        html! {
            div { label for=(id) { (word) }
                input id=(id) class="typed" name=(id) maxlength="80" autocomplete="off" spellcheck="false" placeholder=(hint) value=(value); }
        }
    };
    html! {
        form class="ask" method="get" action="/evidence" role="search" {
            (field("kind", t.evidence_kind(), "order, proof.quote", &ask.kind))
            (field("by", t.evidence_by(), "anna", &ask.by))
            (field("endpoint", t.jobs_endpoint(), "press-01", &ask.endpoint))
            (field("from", t.evidence_from(), "2026-11-30", &ask.from))
            (field("to", t.evidence_to(), "2026-11-30T13:05", &ask.to))
            @if !ask.job.is_empty() { input type="hidden" name="job" value=(ask.job); }
            button { (t.list_show()) }
        }
    }
}

fn row(view: &EntryView) -> Markup {
    let entry = &view.entry;
    html! {
        details class="entry" id={ "entry-" (entry.seq) } {
            summary {
                span class="entry-n" { (entry.seq) } " " (moment(entry.at_unix_ms)) " "
                strong { code { (entry.kind) } } " " (actor(&entry.actor))
                @if let Some(endpoint) = &entry.endpoint { " · " (endpoint) }
            }
            (whole(view))
        }
    }
}

/// All that an entry says, its hash, and where its proof is.
fn whole(view: &EntryView) -> Markup {
    let (t, entry) = (Texts::here(), &view.entry);
    html! {
        dl class="figures" {
            dt { (t.steps_when()) } dd { (moment(entry.at_unix_ms)) }
            dt { (t.evidence_kind()) } dd { a class="tap" href=(link("/evidence", &[("kind", &entry.kind)])) { code { (entry.kind) } } }
            dt { (t.steps_who()) } dd { a href=(link("/evidence", &[("by", &entry.actor)])) { (actor(&entry.actor)) } " " code { (entry.actor) } }
            @if let Some(endpoint) = &entry.endpoint { dt { (t.jobs_endpoint()) } dd { a class="tap" href=(link("/evidence", &[("endpoint", endpoint.as_str())])) { (endpoint) } } }
            @if let Some(job) = &entry.job { dt { (t.evidence_job()) } dd { a class="tap" href={ "/jobs/" (job) } { code class="long" { (job) } } } }
            @if entry.mode == "drill" { dt { (t.approvals_mode()) } dd { (t.drill_word()) } }
            @for (name, value) in facts(entry) { dt { code { (name) } } dd { code class="long" { (value) } } }
            dt { (t.evidence_hash()) } dd { code class="long" { (view.hash) } }
        }
        div class="actions" {
            a class="button" download={ "entry-" (entry.seq) ".tlog-proof" } href={ "/api/v1/evidence/entries/" (entry.seq) "/proof" } { (t.evidence_proof()) }
            a class="button" download={ "entry-" (entry.seq) ".json" } href={ "/api/v1/evidence/entries/" (entry.seq) } { (t.evidence_text()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_taken_whole_and_a_moment_as_it_is() {
        assert_eq!(at("1970-01-02", "00:00:00").unwrap(), Some(86_400_000));
        assert_eq!(at("1970-01-01", "23:59:59.999").unwrap(), Some(86_399_999));
        assert_eq!(at(" 1970-01-01T00:01 ", "").unwrap(), Some(60_000));
        assert_eq!(at("", "").unwrap(), None);
        for wrong in ["yesterday", "2026-13-01", "1969-12-31"] {
            assert_eq!(at(wrong, "00:00:00").unwrap_err().code, "bad-time", "{wrong}");
        }
    }
}
