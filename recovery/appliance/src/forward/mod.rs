//! Who else gets the evidence: a SIEM by syslog, others by webhook. Each follows the log with a cursor of its own.
//!
//! ```text
//! evidence log (written in the transaction of the fact) ─► page after the cursor ─► sink ─► it has them ─► cursor
//!                                                            └─ it has them not: from the same place, later
//! ```
//!
//! The log is the outbox: what is committed is in it, and nothing is taken out. So a sink gets each entry at least once and
//! in order, whatever crashes; twice is told apart by the entry's number and hash. A sink that is gone costs no memory and holds up
//! nobody else. It must never: write into the log for each entry that it sent, which would have no end.

pub mod syslog;
pub mod trust;
pub mod webhook;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use recovery_protocol::{evidence::tree, operator::SinkView};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{
    config::Evidence,
    db::{self, DbError, log::EntryRow},
    evidence::Fact,
    jobs::journal::Journal,
};

/// Entries that are sent before the cursor moves, at most.
const BATCH: u64 = 256;
/// New entries are gathered for so long.
const GATHER: Duration = Duration::from_millis(200);
const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(300);

/// What came of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// The sink has all of them that it is told.
    All {
        /// It was told one at least, and took it.
        taken: bool,
    },
    /// It has those up to this entry, and then failed, with these words; the rest is sent again later.
    UpTo(u64, String),
    /// It refuses this entry for good, with these words, and has those before it.
    Refused(u64, String),
}

/// An entry of this kind shows that a way works: everybody gets it.
pub const TEST: &str = "order.notify-test";

/// A way out.
enum Way {
    Syslog(syslog::Syslog),
    Webhook(Box<webhook::Webhook>),
}

/// One that follows the log.
pub struct Sink {
    name: String,
    way: Way,
    journal: Arc<Journal>,
    trouble: Arc<Mutex<String>>,
}

/// How it stands with all who follow the log.
#[derive(Debug, Clone, Default)]
pub struct Standing(Vec<(String, Arc<Mutex<String>>)>);

impl Standing {
    /// Whether one of them has this name.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// For `status`.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn view(&self, conn: &mut db::Conn) -> Result<Vec<SinkView>, DbError> {
        let last = db::log::last(conn).await?.map_or(0, |(seq, _)| seq);
        let mut views = Vec::new();
        for (name, trouble) in &self.0 {
            let (seq, moved) = db::forward::cursor(conn, name).await?.unwrap_or_default();
            let (dead, last_dead) = db::forward::dead(conn, name).await?;
            let oldest = db::log::page(conn, seq, u64::MAX, 1).await?.pop();
            views.push(SinkView {
                name: name.clone(),
                behind: last.saturating_sub(seq),
                oldest_unix_ms: oldest.as_ref().and_then(entry).map(|entry| entry.at_unix_ms),
                moved_unix_ms: (moved > 0).then_some(moved),
                dead,
                last_dead: last_dead.map(|(seq, why)| format!("entry {seq}: {why}")).unwrap_or_default(),
                trouble: trouble.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            });
        }
        Ok(views)
    }
}

/// All that the configuration names.
///
/// # Errors
/// What a file of theirs is not, in a sentence.
pub fn open(
    settings: &Evidence,
    site: &str,
    journal: &Arc<Journal>,
) -> Result<(Vec<Sink>, Standing), String> {
    let mut sinks = Vec::new();
    let mut add = |name: String, way| {
        sinks.push(Sink { name, way, journal: Arc::clone(journal), trouble: Arc::default() });
    };
    if let Some(siem) = &settings.siem {
        add("siem".to_owned(), Way::Syslog(syslog::Syslog::open(siem, site)?));
    }
    for (name, hook) in &settings.webhooks {
        add(format!("webhook:{name}"), Way::Webhook(Box::new(webhook::Webhook::open(hook, site)?)));
    }
    let standing = sinks.iter().map(|sink| (sink.name.clone(), Arc::clone(&sink.trouble))).collect();
    Ok((sinks, Standing(standing)))
}

impl Sink {
    /// Follow until told to stop. Cancel-safe: what was sent and not noted is sent again.
    pub async fn run(mut self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.follow() => {}
        }
    }

    async fn follow(&mut self) {
        let mut changes = self.journal.changes();
        let mut backoff = BACKOFF_MIN;
        loop {
            match self.step().await {
                Ok(true) => backoff = BACKOFF_MIN,
                Ok(false) => {
                    backoff = BACKOFF_MIN;
                    if changes.changed().await.is_err() {
                        return;
                    }
                    tokio::time::sleep(GATHER).await;
                }
                Err(why) => {
                    self.failed(&why).await;
                    tokio::time::sleep(backoff).await;
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                }
            }
        }
    }

    /// Send what is next; false where there is nothing.
    async fn step(&mut self) -> Result<bool, String> {
        let gone = |error: DbError| error.chain();
        let rows = {
            let mut conn = self.journal.db.read().await.map_err(gone)?;
            let after = db::forward::cursor(&mut conn, &self.name).await.map_err(gone)?;
            let after = after.map_or(0, |(seq, _)| seq);
            db::log::page(&mut conn, after, u64::MAX, BATCH).await.map_err(gone)?
        };
        let (Some(first), Some(last)) = (rows.first().map(|row| row.seq), rows.last().map(|row| row.seq))
        else {
            return Ok(false);
        };
        let sent = match &mut self.way {
            Way::Syslog(way) => way.send(&rows).await,
            Way::Webhook(way) => way.send(&rows).await,
        };
        let at = self.journal.now();
        let mut tx = self.journal.db.begin().await.map_err(gone)?;
        // That an entry was refused for good, or that none was for it, does not say that the trouble is over. If it did, what is written
        // down of the next trouble would be refused in its turn, and there would be no end of it.
        let (mut well, mut why) = (false, None);
        let upto = match sent {
            Sent::All { taken } => {
                well = taken;
                last
            }
            Sent::UpTo(seq, because) => {
                why = Some(because);
                seq
            }
            Sent::Refused(seq, why) => {
                tracing::warn!(sink = self.name, seq, why, "an entry was refused for good");
                db::forward::bury(&mut tx, &self.name, seq, at, &why).await.map_err(gone)?;
                seq
            }
        };
        if upto >= first {
            db::forward::advance(&mut tx, &self.name, upto, at).await.map_err(gone)?;
        }
        tx.commit().await.map_err(|error| error.to_string())?;
        if well {
            self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
        why.map_or(Ok(true), Err)
    }

    /// Said once in evidence for each time that it begins, not for each try.
    async fn failed(&self, why: &str) {
        let begun = {
            let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
            let begun = trouble.is_empty();
            why.clone_into(&mut trouble);
            begun
        };
        tracing::warn!(sink = self.name, why, "evidence is not forwarded; it is tried again");
        if begun {
            let facts = json!({ "sink": self.name, "failure": why });
            if let Err(error) = self.journal.note(Fact::new("log.failure", "appliance", facts)).await {
                tracing::error!(error = error.chain(), "that evidence is not forwarded was not written down");
            }
        }
    }
}

/// What tells an entry from one of the same number that a restore from a backup took away: its number, and the
/// beginning of its leaf's hash.
pub fn id(row: &EntryRow) -> String {
    format!("{}-{}", row.seq, hex::encode(&tree::leaf(row.text.as_bytes())[..8]))
}

/// The entry of a row; a row that cannot be read is told by the log's verification, and goes out as what it is.
pub fn entry(row: &EntryRow) -> Option<recovery_protocol::evidence::Entry> {
    serde_json::from_str(&row.text).ok()
}

#[cfg(test)]
pub mod tests;
