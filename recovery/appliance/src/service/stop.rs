//! STOP for the whole site: pressed by anyone in one transaction that holds every job which could still write or switch, released by
//! two. It stands in the database, so a restart does not lift it.
//!
//! It must never: end a job. What it held, people resume.

use recovery_protocol::{
    Problem,
    operator::Decision,
    stop::{ReleaseView, StopAnswer, StopView},
};
use serde_json::json;

use super::{Actor, Inner, Service, orders, scope};
use crate::{
    db::{
        self,
        job::JobRow,
        stop::{Release, Stop},
    },
    evidence::Fact,
    jobs::{job::What, limits::Limits, machine},
    refusals::site_stopped,
};

/// How long the first release waits for the second.
const RELEASE_MS: u64 = 60 * 60 * 1000;

impl Service {
    /// Whether something may begin. 409 `site-stopped`.
    pub async fn may_begin(&self) -> Result<(), Problem> {
        none_stands(&mut *self.0.journal.db.read().await?).await
    }
}

/// The one that stands at this time.
pub async fn show(conn: &mut db::Conn, now: u64) -> Result<Option<StopView>, Problem> {
    let Some(stop) = db::stop::standing(conn).await? else { return Ok(None) };
    Ok(Some(view(stop, goes_on(conn, now).await?, now)))
}

/// What nobody can stop, of every job that is open, or was while its disk may be at it still.
async fn goes_on(conn: &mut db::Conn, now: u64) -> Result<Vec<String>, Problem> {
    let since = now.saturating_sub(u64::try_from(Limits::ERASE.as_millis()).unwrap_or(u64::MAX));
    let mut open = db::job::open(conn).await?;
    open.extend(db::job::left_erasing(conn, since).await?);
    let sentence = |row: &JobRow| row.job.erases_itself().map(|what| format!("{}: {what}", row.job.endpoint));
    Ok(open.iter().filter_map(sentence).collect())
}

/// Press it. Pressed again it stays, and a release that was given is void: somebody saw a reason after it.
pub async fn press(inner: &Inner, actor: &Actor, order: Decision) -> Result<StopAnswer, Problem> {
    let reason = orders::within(&order.reason);
    let mut tx = inner.journal.begin().await?;
    let at = tx.at;
    let standing = db::stop::standing(tx.conn()).await?;
    let stop = match standing {
        Some(stop) => {
            db::stop::first(tx.conn(), None).await?;
            let voided = stop.first.as_ref().map(|release| &release.by);
            let facts = json!({ "reason": reason, "again": true, "voided_release_of": voided });
            tx.note(Fact::new("order.stop", &actor.name, facts)).await?;
            Stop { first: None, ..stop }
        }
        None => {
            let open = db::job::open(tx.conn()).await?;
            let held: Vec<_> =
                open.iter().filter(|row| machine::stoppable(&row.job)).map(|row| row.job.id).collect();
            let jobs_held = u64::try_from(held.len()).unwrap_or(u64::MAX);
            let stop = Stop {
                pressed: at,
                pressed_by: actor.name.clone(),
                reason: reason.clone(),
                jobs_held,
                first: None,
            };
            // The order comes before what it does, in the log too.
            tx.note(Fact::new("order.stop", &actor.name, json!({ "reason": reason, "jobs": held }))).await?;
            for job in held {
                let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
                let by = format!("{}{why}", actor.name);
                tx.event(job, &actor.name, What::SiteStop { by }).await?;
            }
            db::stop::press(tx.conn(), &stop).await?;
            stop
        }
    };
    let goes_on = goes_on(tx.conn(), at).await?;
    tx.commit().await?;
    Ok(StopAnswer { stop: Some(view(stop, goes_on, at)) })
}

/// Give one of two releases.
pub async fn release(inner: &Inner, actor: &Actor, order: Decision) -> Result<StopAnswer, Problem> {
    scope::whole_site(actor)?;
    let reason = orders::within(&order.reason);
    if reason.trim().is_empty() {
        let remedy = "write what was found and why it may go on";
        let detail = "a release goes into evidence with its reason";
        return Err(Problem::new(422, "reason-missing", "Say why STOP is released", detail, remedy));
    }
    let mut tx = inner.journal.begin().await?;
    let at = tx.at;
    let Some(stop) = db::stop::standing(tx.conn()).await? else {
        let remedy = "nothing is to be done: jobs that it held are resumed one by one";
        return Err(Problem::new(
            409,
            "not-stopped",
            "STOP does not stand",
            "it was released, or never pressed",
            remedy,
        ));
    };
    let first = stop.first.clone().filter(|release| at < ends(release));
    match first {
        Some(release) if release.by == actor.name => {
            let detail = format!("{} gave the first release; the second is another person's", actor.name);
            let remedy =
                "ask another engineer, approver or admin; `groundstate person add` puts one on record";
            return Err(Problem::new(
                409,
                "second-person-needed",
                "Another person must release it too",
                detail,
                remedy,
            ));
        }
        Some(release) => {
            db::stop::release(tx.conn(), at).await?;
            let facts = json!({
                "reason": reason, "first": { "by": release.by, "reason": release.reason, "at_unix_ms": release.at },
                "pressed_by": stop.pressed_by, "stood_ms": at.saturating_sub(stop.pressed),
            });
            tx.note(Fact::new("order.stop-released", &actor.name, facts)).await?;
        }
        None => {
            let release = Release { by: actor.name.clone(), reason: reason.clone(), at };
            db::stop::first(tx.conn(), Some(&release)).await?;
            tx.note(Fact::new("order.stop-release", &actor.name, json!({ "reason": reason }))).await?;
        }
    }
    let stop = show(tx.conn(), at).await?;
    tx.commit().await?;
    Ok(StopAnswer { stop })
}

/// 409 `site-stopped` while it stands.
pub async fn none_stands(conn: &mut db::Conn) -> Result<(), Problem> {
    match db::stop::standing(conn).await? {
        Some(stop) => Err(site_stopped(&stop)),
        None => Ok(()),
    }
}

fn ends(release: &Release) -> u64 {
    release.at.saturating_add(RELEASE_MS)
}

fn view(stop: Stop, goes_on: Vec<String>, now: u64) -> StopView {
    let release = stop.first.filter(|release| now < ends(release)).map(|release| {
        let ends_unix_ms = ends(&release);
        ReleaseView { by: release.by, reason: release.reason, ends_unix_ms }
    });
    StopView {
        pressed_by: stop.pressed_by,
        pressed_unix_ms: stop.pressed,
        reason: stop.reason,
        jobs_held: stop.jobs_held,
        goes_on,
        release,
    }
}
