//! The evidence log as people look into it: entry by entry from the newest back, and checked whole by the appliance itself.

use std::time::Instant;

use recovery_protocol::{
    EndpointId, JobId, Problem,
    evidence::{Entry, Origin, Tampered, Verified, Verifier, checkpoint},
    history::{EntryView, LogVerdict},
};
use serde_json::json;

use super::{Actor, Service, list::Cursor};
use crate::{
    db::{
        self, Db,
        log::{EntryRow, Looked},
    },
    evidence::Export,
};

/// Entries that one page looks through, at most; it ends there with a cursor, whether it is full or not.
const LOOKED_MOST: u64 = 200_000;
/// Entries of which those that may be meant are read at once.
const WINDOW: u64 = 20_000;
/// Texts read at once.
const ROWS: u64 = 512;

/// Which entries are asked for; what is empty asks for nothing.
#[derive(Debug, Clone, Default)]
pub struct EvidenceAsk {
    /// Of this kind, or of one below it: `order` means `order.recover`, too.
    pub kind: String,
    /// By them, as in evidence; a bare name means a person (`anna`: `operator:anna`).
    pub actor: String,
    /// About this endpoint.
    pub endpoint: Option<EndpointId>,
    /// Of this job.
    pub job: Option<JobId>,
    /// Not before, milliseconds since 1970.
    pub from_unix_ms: Option<u64>,
    /// Not after, milliseconds since 1970.
    pub to_unix_ms: Option<u64>,
    /// Where the page begins, as the one before it ended.
    pub cursor: String,
    /// Entries on the page.
    pub limit: usize,
}

/// A page of the log, the newest entry first.
#[derive(Debug, Clone)]
pub struct EvidencePage {
    /// They.
    pub entries: Vec<EntryView>,
    /// Entries in the log, whichever are asked for.
    pub size: u64,
    /// Down to this entry was looked; 1: to the beginning.
    pub looked_to: u64,
    /// Where the next page begins; none: this is the last.
    pub next: Option<String>,
}

impl EvidenceAsk {
    fn means(&self, entry: &Entry) -> bool {
        let kind = self.kind.trim();
        let below = || entry.kind.strip_prefix(kind).is_some_and(|rest| rest.starts_with('.'));
        let time = self.from_unix_ms.is_none_or(|from| entry.at_unix_ms >= from)
            && self.to_unix_ms.is_none_or(|to| entry.at_unix_ms <= to);
        let by = self.by();
        (kind.is_empty() || entry.kind == kind || below())
            && (by.is_empty() || entry.actor == by || entry.actor == format!("operator:{by}"))
            && self.endpoint.as_ref().is_none_or(|endpoint| entry.endpoint.as_ref() == Some(endpoint))
            && self.job.is_none_or(|job| entry.job == Some(job))
            && time
    }

    fn by(&self) -> &str {
        self.actor.trim()
    }

    /// What a text holds that may be meant. [`EvidenceAsk::means`] decides.
    fn looked(&self) -> Looked {
        let json = |text: &str| serde_json::Value::from(text).to_string().trim_matches('"').to_owned();
        let mut holds = Vec::new();
        if !self.kind.trim().is_empty() {
            holds.push(format!("\"kind\":\"{}", json(self.kind.trim())));
        }
        if !self.by().is_empty() {
            holds.push(format!("{}\"", json(self.by())));
        }
        if let Some(endpoint) = &self.endpoint {
            holds.push(format!("\"endpoint\":\"{endpoint}\""));
        }
        Looked { holds, job: self.job }
    }
}

fn view(row: EntryRow) -> Option<EntryView> {
    let entry = serde_json::from_str(&row.text).ok()?;
    // As it was written; none is beside what an earlier version wrote until its nodes are worked out.
    let hash = row.nodes.and_then(|nodes| nodes.first().map(hex::encode)).unwrap_or(row.hash);
    Some(EntryView { entry, hash })
}

/// Entries from `from` down that are meant, at most `most`, and down to which was looked.
async fn look(db: &Db, ask: &EvidenceAsk, from: u64, most: usize) -> Result<(Vec<EntryView>, u64), Problem> {
    let (looked, mut found) = (ask.looked(), Vec::new());
    let end = from.saturating_sub(LOOKED_MOST);
    let mut top = from;
    while top > end {
        let low = top.saturating_sub(WINDOW).max(end);
        let rows = db::log::backwards(&mut *db.read().await?, &looked, low, top, ROWS).await?;
        // What is not full was read to its end.
        let to = if (rows.len() as u64) < ROWS { low } else { rows.last().map_or(low, |row| row.seq - 1) };
        for row in rows {
            let seq = row.seq;
            found.extend(view(row).filter(|view| ask.means(&view.entry)));
            if found.len() == most {
                return Ok((found, seq));
            }
        }
        top = to;
    }
    Ok((found, end + 1))
}

impl Service {
    /// A page of the evidence log, the newest entry first. The first page of a look is itself written down. 400 `bad-cursor`.
    pub async fn evidence_page(&self, actor: &Actor, ask: &EvidenceAsk) -> Result<EvidencePage, Problem> {
        let db = &self.0.journal.db;
        let size = db::log::last(&mut *db.read().await?).await?.map_or(0, |(seq, _)| seq);
        let after = Cursor::of(&ask.cursor, 1)?.and_then(|Cursor(parts)| parts.first()?.parse::<u64>().ok());
        let from = after.map_or(size, |after| after.saturating_sub(1)).min(size);
        let (entries, looked_to) = look(db, ask, from, ask.limit).await?;
        let next = (looked_to > 1 && from > 0).then(|| Cursor(vec![looked_to.to_string()]).text());
        if ask.cursor.is_empty() {
            let facts = json!({
                "what": "page", "kind": ask.kind, "by": ask.actor, "of_endpoint": ask.endpoint, "of_job": ask.job,
            });
            self.note("log.read", actor, None, None, facts).await?;
        }
        Ok(EvidencePage { entries, size, looked_to, next })
    }

    /// One entry. 404 `unknown-entry`.
    pub async fn evidence_entry(&self, seq: u64) -> Result<EntryView, Problem> {
        let row = db::log::get(&mut *self.0.journal.db.read().await?, seq).await?;
        row.and_then(view).ok_or_else(|| {
            let detail = format!("no entry of the log is number {seq}");
            let remedy = "take the number of an entry (`seq`) from an export or a job's page";
            Problem::new(404, "unknown-entry", "There is no such entry", detail, remedy)
        })
    }

    /// Check the whole log: each entry against its hash, all of them against every signed checkpoint and against the anchors that lie here,
    /// and the last signature. What comes of it is written down.
    pub async fn verify_log(&self, actor: &Actor) -> Result<LogVerdict, Problem> {
        let begin = Instant::now();
        let signed = self.evidence_checkpoint().await?.size();
        let held = self.anchors().await;
        // Where a quick look finds something, a thorough one says exactly what.
        let found = match self.check(signed, &held, Verifier::quick).await? {
            Err(_) => self.check(signed, &held, Verifier::new).await?,
            good => good,
        };
        let entries = db::log::last(&mut *self.0.journal.db.read().await?).await?.map_or(0, |(seq, _)| seq);
        let took_ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        let verdict = verdict(found, signed.min(entries), took_ms);
        let facts = json!({
            "good": verdict.good, "entries": verdict.entries, "first_bad": verdict.first_bad, "what": verdict.what,
        });
        self.note("log.verified", actor, None, None, facts).await?;
        Ok(verdict)
    }

    /// The notes in the file of anchors; none where there is no such file. What a power cut tore is no note.
    async fn anchors(&self) -> Vec<String> {
        let config = &self.0.journal.config;
        let bytes = tokio::fs::read(config.evidence.anchors(&config.data_dir)).await.unwrap_or_default();
        let (text, origin) = (String::from_utf8_lossy(&bytes), self.0.journal.origin());
        let whole = checkpoint::notes(&text).filter(|note| !checkpoint::is_torn(note, &origin));
        whole.map(str::to_owned).collect()
    }

    async fn check(
        &self,
        signed: u64,
        held: &[String],
        verifier: fn([u8; 32]) -> Verifier,
    ) -> Result<Result<Verified, Found>, Problem> {
        let origin: Origin = self.0.journal.origin();
        let mut verifier = verifier(*origin.key());
        for (n, note) in held.iter().enumerate() {
            if let Err(why) = verifier.hold(&format!("anchor {}", n + 1), note) {
                return Ok(Err(Found::Anchor(format!("anchor {} does not count: {why}", n + 1))));
            }
        }
        let mut export = Export::begin(&self.0.journal.db).await?.ending_at(signed);
        while let Some(page) = export.next().await? {
            if let Err(tampered) = page.lines().try_for_each(|line| verifier.line(line)) {
                return Ok(Err(Found::Log(tampered)));
            }
        }
        Ok(verifier.finish().map_err(Found::Log))
    }
}

/// What is wrong.
enum Found {
    Log(Tampered),
    Anchor(String),
}

const KEEP: &str = "Keep the database as it is, take an export and the newest backup, and compare them; treat what follows \
                    the first bad entry as unproven.";

fn verdict(found: Result<Verified, Found>, entries: u64, took_ms: u64) -> LogVerdict {
    let bad = |first_bad, what: String| {
        let (checkpoints, held) = (0, 0);
        LogVerdict {
            good: false,
            entries,
            checkpoints,
            held,
            first_bad,
            what,
            what_now: KEEP.to_owned(),
            took_ms,
        }
    };
    match found {
        Ok(Verified { entries, checkpoints, signed_up_to, held }) if signed_up_to >= entries => LogVerdict {
            good: true,
            entries,
            checkpoints,
            held,
            first_bad: None,
            what: format!("all {entries} entries are as they were written, and signed"),
            what_now: String::new(),
            took_ms,
        },
        Ok(Verified { signed_up_to, .. }) => {
            bad(Some(signed_up_to + 1), format!("the signature covers {signed_up_to} of {entries} entries"))
        }
        Err(Found::Anchor(what)) => bad(None, what),
        Err(Found::Log(tampered)) => bad(first_bad(&tampered), tampered.to_string()),
    }
}

/// The first entry that is not what was written, or is missing; none where a line is no entry's.
fn first_bad(tampered: &Tampered) -> Option<u64> {
    match tampered {
        Tampered::Dropped { seq, .. } | Tampered::Swapped { seq, .. } | Tampered::Changed { seq } => {
            Some(*seq)
        }
        Tampered::Replaced { first, .. } | Tampered::OtherThan { first, .. } => Some(*first),
        Tampered::Cut { last, .. } | Tampered::OlderThan { last, .. } => Some(last + 1),
        Tampered::Unreadable { .. } | Tampered::Signature { .. } => None,
    }
}
