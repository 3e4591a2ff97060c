//! Writing the evidence log: every order, decision, transition, proof and refusal, in the transaction of the fact itself.
//!
//! ```text
//! fact ─► Entry (JSON text) ─► chain hash over the text ─► row          every 64th entry, and at the end of each job:
//!                                                                       Ed25519 over (number, chain hash) ─► checkpoint
//! ```
//!
//! The form and its verification are [`recovery_protocol::evidence`]. It must never: change or remove an entry, or hold
//! a secret.

use std::sync::Arc;

use recovery_protocol::{
    EndpointId, JobId,
    evidence::{self, Entry, GENESIS, Line},
    operator::Mode,
};
use serde_json::Value;

use crate::{
    db::{self, Conn, DbError},
    keys::Keys,
};

/// Entries between two checkpoints, at most.
const CHECKPOINT_EVERY: u64 = 64;

/// One fact, before it has a number.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// Dotted kind: `order.recover`, `decision.admitted`, `transition`, `proof.quote`, `refusal.ticket` …
    pub kind: String,
    /// Who: `operator:<name>`, `trigger:<source>`, `agent`, `appliance`.
    pub actor: String,
    /// The endpoint it is about.
    pub endpoint: Option<EndpointId>,
    /// The job it belongs to.
    pub job: Option<JobId>,
    /// Rehearsal or real.
    pub mode: Mode,
    /// The facts, an object.
    pub facts: Value,
}

impl Fact {
    /// A fact of the real world; add endpoint, job and mode with the other functions.
    pub fn new(kind: &str, actor: &str, facts: Value) -> Self {
        let (kind, actor) = (kind.to_owned(), actor.to_owned());
        Self { kind, actor, endpoint: None, job: None, mode: Mode::Real, facts }
    }

    /// About this endpoint.
    pub fn about(mut self, endpoint: &EndpointId) -> Self {
        self.endpoint = Some(endpoint.clone());
        self
    }

    /// Belonging to this job.
    pub fn of(mut self, job: Option<JobId>) -> Self {
        self.job = job;
        self
    }
}

/// Appends facts and signs checkpoints.
#[derive(Debug, Clone)]
pub struct EvidenceLog {
    keys: Arc<Keys>,
}

impl EvidenceLog {
    /// A log signed with the appliance's evidence key.
    #[must_use]
    pub fn new(keys: Arc<Keys>) -> Self {
        Self { keys }
    }

    /// Append one fact in the caller's transaction.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn append(&self, conn: &mut Conn, at_unix_ms: u64, fact: Fact) -> Result<(), DbError> {
        let (seq, previous) = match db::log::last(conn).await? {
            Some((seq, hash)) => (seq + 1, unhex(&hash)?),
            None => (1, GENESIS),
        };
        let facts = match fact.facts {
            Value::Object(map) => map,
            other => serde_json::Map::from_iter([("value".to_owned(), other)]),
        };
        let mode = match fact.mode {
            Mode::Real => "real",
            Mode::Drill => "drill",
        };
        let entry = Entry {
            seq,
            at_unix_ms,
            kind: fact.kind,
            actor: fact.actor,
            endpoint: fact.endpoint,
            job: fact.job,
            mode: mode.to_owned(),
            facts,
        };
        let text = serde_json::to_string(&entry)
            .map_err(|e| DbError::Damaged { what: "evidence entry", why: e.to_string() })?;
        let hash = evidence::chain(&previous, &text);
        db::log::append(conn, seq, fact.job, &text, &hex::encode(hash)).await?;
        if seq.is_multiple_of(CHECKPOINT_EVERY) {
            self.sign(conn, seq, &hash).await?;
        }
        Ok(())
    }

    /// Sign everything so far, in the caller's transaction; an export is to end in what is signed.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn checkpoint(&self, conn: &mut Conn) -> Result<(), DbError> {
        match db::log::last(conn).await? {
            Some((seq, hash)) => self.sign(conn, seq, &unhex(&hash)?).await,
            None => Ok(()),
        }
    }

    async fn sign(&self, conn: &mut Conn, seq: u64, hash: &[u8; 32]) -> Result<(), DbError> {
        let signature = self.keys.evidence.sign(&evidence::checkpoint_message(seq, hash));
        db::log::checkpoint(conn, seq, &hex::encode(hash), &hex::encode(signature)).await
    }
}

/// The log as JSON lines, each checkpoint after the entry that it covers; of one job: its entries alone.
///
/// # Errors
/// [`DbError`].
pub async fn lines(conn: &mut Conn, job: Option<JobId>) -> Result<Vec<String>, DbError> {
    let checkpoints = if job.is_none() { db::log::checkpoints(conn).await? } else { Vec::new() };
    let mut checkpoints = checkpoints.into_iter().peekable();
    let mut lines = Vec::new();
    for (seq, text, hash) in db::log::entries(conn, job).await? {
        lines.push(line(&Line::Entry { text, hash })?);
        while let Some((seq, hash, signature)) = checkpoints.next_if(|(covered, ..)| *covered <= seq) {
            lines.push(line(&Line::Checkpoint { seq, hash, signature })?);
        }
    }
    // A checkpoint that covers more than there is says that the tail was cut: it must be in the export.
    for (seq, hash, signature) in checkpoints {
        lines.push(line(&Line::Checkpoint { seq, hash, signature })?);
    }
    Ok(lines)
}

fn line(line: &Line) -> Result<String, DbError> {
    serde_json::to_string(line).map_err(|e| DbError::Damaged { what: "evidence line", why: e.to_string() })
}

fn unhex(hash: &str) -> Result<[u8; 32], DbError> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(hash, &mut bytes)
        .map_err(|e| DbError::Damaged { what: "evidence hash", why: e.to_string() })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use ring::signature::KeyPair as _;
    use serde_json::json;

    use super::*;
    use crate::db::Db;

    #[tokio::test]
    async fn the_export_verifies_and_a_cut_tail_shows() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Arc::new(Keys::open(&dir.path().join("state"), &["a".to_owned()], &[]).unwrap());
        let db = Db::open(&dir.path().join("state/db")).await.unwrap();
        let log = EvidenceLog::new(keys.clone());
        let mut tx = db.begin().await.unwrap();
        for n in 0..70 {
            log.append(&mut tx, n, Fact::new("order.recover", "operator:anna", json!({ "n": n })))
                .await
                .unwrap();
        }
        log.checkpoint(&mut tx).await.unwrap();
        log.append(&mut tx, 71, Fact::new("transition", "appliance", json!({}))).await.unwrap();
        tx.commit().await.unwrap();
        let key = keys.evidence.public_key();
        let exported = lines(&mut db.read().await.unwrap(), None).await.unwrap();
        let check = |lines: &[String]| evidence::verify(lines.iter().map(String::as_str), key.as_ref());
        let seen = check(&exported).unwrap();
        assert_eq!((seen.entries, seen.checkpoints, seen.signed_up_to), (71, 2, 70));

        let mut tx = db.begin().await.unwrap();
        sqlx::query("DELETE FROM evidence WHERE seq >= 68").execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        let exported = lines(&mut db.read().await.unwrap(), None).await.unwrap();
        assert_eq!(check(&exported), Err(evidence::Tampered::Truncated { last: 67, covered: 70 }));
    }
}
