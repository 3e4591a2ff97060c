//! What recoveries kept of old systems: closed, listed, read, deleted; and who had it in hands, in evidence.
//!
//! It must never: give one to a recovery.

use std::time::Duration;

use recovery_protocol::{
    JobId, Problem,
    exhibit::{Cut, ExhibitState, ExhibitView, Kept},
    job::JobState,
    operator::Decision,
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{Actor, Inner, Service, orders::within, scope};
use crate::{
    db::{self, exhibit::Exhibit},
    evidence::Fact,
    exhibits::{Exhibits, Part},
    refusals::unknown_job,
};

const DAY_MS: u64 = 24 * 3_600_000;
/// How often it is looked whose days are over.
const MIND_EVERY: Duration = Duration::from_secs(3600);

impl Service {
    /// Where their bytes lie.
    #[must_use]
    pub fn exhibits(&self) -> &Exhibits {
        &self.0.exhibits
    }

    /// All of them, the newest first; the deleted ones, too.
    pub async fn list_exhibits(&self) -> Result<Vec<ExhibitView>, Problem> {
        let rows = db::exhibit::all(&mut *self.0.journal.db.read().await?).await?;
        Ok(rows.into_iter().map(|row| view(&self.0, row)).collect())
    }

    /// The one of a job. 404 `unknown-exhibit`.
    pub async fn exhibit(&self, job: JobId) -> Result<ExhibitView, Problem> {
        Ok(view(&self.0, self.exhibit_row(job).await?))
    }

    async fn exhibit_row(&self, job: JobId) -> Result<Exhibit, Problem> {
        let row = db::exhibit::get(&mut *self.0.journal.db.read().await?, job).await?;
        row.ok_or_else(|| {
            let detail = format!("job {job} was not told to keep anything of the old system");
            let remedy = "look for it with `groundstate exhibit list`";
            Problem::new(404, "unknown-exhibit", "There is no such exhibit", detail, remedy)
        })
    }

    /// Whether somebody may have this job's exhibit in hands. 404 `unknown-job`, 403 `out-of-scope`.
    async fn theirs(&self, actor: &Actor, job: JobId) -> Result<(), Problem> {
        let mut conn = self.0.journal.db.read().await?;
        let row = db::job::get(&mut conn, job).await?.ok_or_else(|| unknown_job(job))?;
        match db::endpoint::get(&mut conn, &row.job.endpoint).await? {
            Some(endpoint) => scope::covers(&self.0, actor, &endpoint),
            // Of an endpoint that is gone: whoever may order something about the whole site.
            None => scope::whole_site(actor),
        }
    }

    /// Its parts, to be read; that somebody reads them is in evidence before the first byte. 404 `unknown-exhibit`, 409 `exhibit-gone`.
    pub async fn read_exhibit(&self, actor: &Actor, job: JobId) -> Result<(ExhibitView, Vec<Part>), Problem> {
        self.theirs(actor, job).await?;
        let row = self.exhibit_row(job).await?;
        if row.state != ExhibitState::Kept {
            return Err(gone(&row));
        }
        let exhibits = self.0.exhibits.clone();
        let parts = blocking(move || exhibits.parts(job)).await?.map_err(|error| broken(&error))?;
        let lies: u64 = parts.iter().map(|part| part.len).sum();
        if row.record.kept.as_ref().is_some_and(|kept| kept.bytes != lies) {
            let detail = format!("{lies} of its bytes lie on this appliance; a backup holds none of them");
            let remedy = "look on the appliance that kept it";
            return Err(Problem::new(409, "exhibit-gone", "It is not here", detail, remedy));
        }
        let facts = json!({ "sha256": row.record.kept.as_ref().map(|kept| &kept.sha256) });
        let fact = Fact::new("exhibit.read", &actor.name, facts).about(&row.endpoint).of(Some(job));
        self.0.journal.note(fact).await?;
        Ok((view(&self.0, row), parts))
    }

    /// Deletes its bytes; the record stays. 404 `unknown-exhibit`, 409 `exhibit-gone`, 422 `reason-missing`.
    pub async fn delete_exhibit(
        &self,
        actor: &Actor,
        job: JobId,
        order: Decision,
    ) -> Result<ExhibitView, Problem> {
        self.theirs(actor, job).await?;
        let reason = within(order.reason.trim());
        if reason.is_empty() {
            let remedy = "say it with --reason";
            let detail = "an exhibit is deleted for a reason, and none was given";
            return Err(Problem::new(422, "reason-missing", "Why?", detail, remedy));
        }
        let row = self.exhibit_row(job).await?;
        if row.state != ExhibitState::Kept {
            return Err(gone(&row));
        }
        let row = delete(&self.0, job, &actor.name, &reason).await?;
        Ok(view(&self.0, row))
    }

    /// Nothing more comes to this job's exhibit: what lies here is read once more, and stands in evidence. Of one that is closed: nothing.
    pub async fn close_exhibit(&self, job: JobId, told: Option<Kept>, why: &str) -> Result<(), Problem> {
        let row = db::exhibit::get(&mut *self.0.journal.db.read().await?, job).await?;
        if row.is_none_or(|row| row.state != ExhibitState::Ordered) {
            return Ok(());
        }
        let exhibits = self.0.exhibits.clone();
        let lies = blocking(move || exhibits.measure(job)).await?;
        let kept = match lies {
            Ok(lies) => joined(lies, told, why),
            Err(error) => Kept::nothing(Cut::new("all of it", error.to_string())),
        };
        let mut tx = self.0.journal.begin().await?;
        let at = tx.at;
        let Some(mut row) = db::exhibit::get(tx.conn(), job).await? else { return Ok(()) };
        if row.state != ExhibitState::Ordered {
            return Ok(());
        }
        row.close(kept, at);
        db::exhibit::put(tx.conn(), &row).await?;
        let mut fact = fact(&row);
        fact.mode = db::job::get(tx.conn(), job).await?.map_or(fact.mode, |row| row.job.mode);
        tx.note(fact).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Whether what lies here of a job is what evidence says: `Err` says what is not.
    pub async fn prove_exhibit(&self, job: JobId) -> Result<Result<String, String>, Problem> {
        let row = db::exhibit::get(&mut *self.0.journal.db.read().await?, job).await?;
        let Some(row) = row else { return Ok(Ok("nothing was to be kept".to_owned())) };
        let kept = match (row.state, row.record.kept) {
            (ExhibitState::Kept, Some(kept)) => kept,
            (ExhibitState::Nothing, kept) => {
                let why =
                    kept.and_then(|kept| kept.cut.into_iter().next()).map_or_else(String::new, |cut| cut.why);
                return Ok(Err(format!("nothing was kept: {why}")));
            }
            (state, _) => return Ok(Err(format!("it is {}", state.as_str()))),
        };
        let exhibits = self.0.exhibits.clone();
        let lies = blocking(move || exhibits.measure(job)).await?;
        Ok(match lies {
            Ok(lies) if (lies.bytes, &lies.sha256) == (kept.bytes, &kept.sha256) => {
                Ok(format!("{} bytes, SHA-256 {}", lies.bytes, lies.sha256))
            }
            Ok(lies) => Err(format!("{} bytes, SHA-256 {}, and not what was kept", lies.bytes, lies.sha256)),
            Err(error) => Err(error.to_string()),
        })
    }

    /// Minds them for ever, from now on every hour.
    pub async fn keep_exhibits(&self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(MIND_EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
            }
            if let Err(problem) = self.mind_exhibits().await {
                tracing::error!(why = problem.detail, "cannot mind the exhibits");
            }
        }
    }

    /// Closes those whose recovery is over, deletes those whose days are over, and bytes of which no row knows.
    pub async fn mind_exhibits(&self) -> Result<(), Problem> {
        let rows = db::exhibit::all(&mut *self.0.journal.db.read().await?).await?;
        let now = self.0.journal.now();
        for row in &rows {
            let of = db::job::get(&mut *self.0.journal.db.read().await?, row.job).await?;
            let open =
                of.is_some_and(|of| matches!(of.job.state, JobState::Working { .. } | JobState::Held { .. }));
            if row.state == ExhibitState::Ordered && !open {
                self.close_exhibit(row.job, None, "its recovery ended before the endpoint said a word of it")
                    .await?;
            }
            if row.state == ExhibitState::Kept && ends(&self.0, row).is_some_and(|ends| ends <= now) {
                let days = self.0.journal.config.exhibits.days;
                delete(&self.0, row.job, "appliance", &format!("it was kept for {days} days")).await?;
            }
        }
        let exhibits = self.0.exhibits.clone();
        let lie = blocking(move || exhibits.jobs()).await?.map_err(|error| broken(&error))?;
        for job in lie {
            let row = rows.iter().find(|row| row.job == job);
            // A row that is younger than this look has its bytes.
            let fresh = db::exhibit::get(&mut *self.0.journal.db.read().await?, job).await?;
            let known = row.or(fresh.as_ref()).is_some_and(|row| row.state != ExhibitState::Deleted);
            if !known {
                let exhibits = self.0.exhibits.clone();
                blocking(move || exhibits.delete(job)).await?.map_err(|error| broken(&error))?;
            }
        }
        Ok(())
    }
}

/// First the row, then the bytes: after a crash in between they are bytes of which no row knows.
async fn delete(inner: &Inner, job: JobId, by: &str, reason: &str) -> Result<Exhibit, Problem> {
    let mut tx = inner.journal.begin().await?;
    let at = tx.at;
    let row = db::exhibit::get(tx.conn(), job).await?;
    let mut row = row.filter(|row| row.state == ExhibitState::Kept).ok_or_else(|| {
        Problem::new(
            409,
            "exhibit-gone",
            "It is not here",
            "somebody deleted it just now",
            "look at the list again",
        )
    })?;
    row.state = ExhibitState::Deleted;
    row.record.deleted = Some((by.to_owned(), at));
    db::exhibit::put(tx.conn(), &row).await?;
    let facts = json!({ "reason": reason, "kept": row.record.kept });
    tx.note(Fact::new("exhibit.deleted", by, facts).about(&row.endpoint).of(Some(job))).await?;
    tx.commit().await?;
    let exhibits = inner.exhibits.clone();
    blocking(move || exhibits.delete(job)).await?.map_err(|error| broken(&error))?;
    Ok(row)
}

fn ends(inner: &Inner, row: &Exhibit) -> Option<u64> {
    let days = u64::from(inner.journal.config.exhibits.days);
    row.record.kept_at.map(|at| at.saturating_add(days.saturating_mul(DAY_MS)))
}

/// As people see it.
pub fn view(inner: &Inner, row: Exhibit) -> ExhibitView {
    let ends_unix_ms = ends(inner, &row).filter(|_| row.state == ExhibitState::Kept);
    let record = row.record;
    let (deleted_by, deleted_unix_ms) = record.deleted.unzip();
    ExhibitView {
        job: row.job,
        endpoint: row.endpoint,
        state: row.state,
        keep: record.keep,
        ordered_by: record.ordered_by,
        ordered_unix_ms: row.ordered,
        seconds: record.seconds,
        bytes_most: record.bytes_most,
        patterns: record.patterns,
        kept_unix_ms: record.kept_at,
        kept: record.kept,
        sealed: record.sealed,
        ends_unix_ms,
        deleted_by,
        deleted_unix_ms,
    }
}

fn gone(row: &Exhibit) -> Problem {
    let (detail, remedy) = match row.state {
        ExhibitState::Ordered => {
            ("the endpoint has not said yet what came of it", "wait until its recovery goes on")
        }
        ExhibitState::Nothing => {
            ("nothing came of it; its record says why", "look at it with `groundstate exhibit show`")
        }
        ExhibitState::Deleted | ExhibitState::Kept => {
            ("it was deleted; its record and its digests stay", "look at it with `groundstate exhibit show`")
        }
    };
    Problem::new(409, "exhibit-gone", "It is not here", detail, remedy)
}

fn broken(error: &dyn std::error::Error) -> Problem {
    let remedy = "look at the directory of exhibits, its owner and its disk";
    Problem::new(
        500,
        "exhibit-unreadable",
        "The exhibit cannot be read or removed",
        error.to_string(),
        remedy,
    )
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|error| broken(&error))
}

/// What lies here, with what the endpoint says of it.
fn joined(lies: Kept, told: Option<Kept>, why: &str) -> Kept {
    let Some(told) = told else {
        let cut = Cut::new("what was not collected yet", why);
        return Kept { cut: vec![cut], ..lies };
    };
    let mut kept = Kept { files: told.files, took_ms: told.took_ms, cut: told.cut, ..lies };
    let same = (told.bytes, &told.sha256, &told.blake3) == (kept.bytes, &kept.sha256, &kept.blake3);
    if !same {
        let why = format!(
            "{} bytes with the SHA-256 {} were sent, as the endpoint says; what lies here is something else",
            told.bytes, told.sha256
        );
        kept.cut.insert(0, Cut::new("what was sent and what lies here are not the same", why));
    }
    kept
}

/// In evidence, whoever closes it.
fn fact(exhibit: &Exhibit) -> Fact {
    let record = &exhibit.record;
    let facts = json!({
        "keep": record.keep, "ordered_by": record.ordered_by, "state": exhibit.state,
        "budget": { "seconds": record.seconds, "bytes": record.bytes_most }, "files": record.patterns,
        "kept": record.kept, "sealed": record.sealed,
    });
    Fact::new("exhibit.kept", "agent", facts).about(&exhibit.endpoint).of(Some(exhibit.job))
}
