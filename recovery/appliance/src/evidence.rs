//! Writing the evidence log: every order, decision, transition, proof and refusal, in the transaction of the fact itself.
//!
//! ```text
//! fact ─► Entry (JSON text) ─► leaf hash ─► the nodes it completes ─► one row       every 64th entry, at the end of each
//!                                                                                job and of each export: a checkpoint
//! ```
//!
//! The form and its verification are [`recovery_protocol::evidence`]. It must never: change or remove an entry, or hold
//! a secret.

use std::sync::{Arc, Mutex, PoisonError};

use recovery_protocol::{
    EndpointId, JobId,
    evidence::{
        Checkpoint, Entry, Line, Origin, proof,
        tree::{self, Hash, Stretch, Tree},
    },
    operator::Mode,
};
use ring::signature::KeyPair as _;
use serde_json::Value;

use crate::{
    db::{
        self, Conn, Db, DbError,
        log::{ChainCheckpoint, EntryRow},
    },
    keys::Keys,
};

pub mod anchor;
pub mod inventory;
mod room;

pub use room::{is_little, of as room_of};

/// Entries between two checkpoints, at most.
const CHECKPOINT_EVERY: u64 = 64;

/// Entries read at once for an export.
const PAGE: u64 = 1024;

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
    /// The tree after the last append and that entry's leaf. Where the database ends otherwise, because a transaction was
    /// rolled back, it is read anew.
    tree: Arc<Mutex<Option<(Tree, Hash)>>>,
}

impl EvidenceLog {
    /// A log signed with the appliance's evidence key.
    #[must_use]
    pub fn new(keys: Arc<Keys>) -> Self {
        Self { keys, tree: Arc::default() }
    }

    /// Work out the nodes of entries that earlier versions wrote. Nothing of theirs is changed.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn catch_up(&self, db: &Db) -> Result<(), DbError> {
        loop {
            let mut tx = db.begin().await?;
            let missing = db::log::without_nodes(&mut tx, PAGE).await?;
            let Some((first, _)) = missing.first() else { return Ok(()) };
            let mut tree = read_tree(&mut tx, first - 1).await?;
            for (seq, text) in missing {
                // Where entries are missing there is no tree; whoever verifies the log is told which.
                let nodes = tree.push(tree::leaf(text.as_bytes()));
                if tree.size() != seq {
                    let why = format!("entry {} is missing", tree.size());
                    return Err(DbError::Damaged { what: "evidence log", why });
                }
                db::log::put_nodes(&mut tx, seq, &nodes).await?;
            }
            tx.commit().await?;
        }
    }

    /// Append one fact in the caller's transaction.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn append(&self, conn: &mut Conn, at_unix_ms: u64, fact: Fact) -> Result<(), DbError> {
        let mut tree = self.tree(conn).await?;
        let seq = tree.size() + 1;
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
        let leaf = tree::leaf(text.as_bytes());
        db::log::append(conn, seq, fact.job, &text, &tree.push(leaf)).await?;
        if seq.is_multiple_of(CHECKPOINT_EVERY) {
            self.sign(conn, &tree).await?;
        }
        *self.tree.lock().unwrap_or_else(PoisonError::into_inner) = Some((tree, leaf));
        Ok(())
    }

    /// Sign everything so far, in the caller's transaction; an export is to end in what is signed. None: there is nothing.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn checkpoint(&self, conn: &mut Conn) -> Result<Option<Checkpoint>, DbError> {
        let tree = self.tree(conn).await?;
        if tree.size() == 0 { Ok(None) } else { self.sign(conn, &tree).await.map(Some) }
    }

    /// Who keeps this log, and its key.
    #[must_use]
    pub fn origin(&self) -> Origin {
        let mut key = [0; 32];
        key.copy_from_slice(self.keys.evidence.public_key().as_ref());
        Origin::of(key)
    }

    async fn sign(&self, conn: &mut Conn, tree: &Tree) -> Result<Checkpoint, DbError> {
        let signed = Checkpoint::sign(&self.keys.evidence, tree.size(), tree.root());
        db::log::checkpoint(conn, tree.size(), signed.note()).await?;
        Ok(signed)
    }

    /// The tree over everything that the database holds.
    async fn tree(&self, conn: &mut Conn) -> Result<Tree, DbError> {
        let Some((seq, leaf)) = db::log::last(conn).await? else { return Ok(Tree::default()) };
        let kept = self.tree.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match kept {
            Some((tree, last)) if tree.size() == seq && Some(last) == leaf => Ok(tree),
            _ => read_tree(conn, seq).await,
        }
    }
}

/// The tree over the first `size` entries, from the nodes beside them.
///
/// # Errors
/// [`DbError::Damaged`] where one is missing.
pub async fn read_tree(conn: &mut Conn, size: u64) -> Result<Tree, DbError> {
    let peaks = db::log::nodes(conn, &Stretch::whole(size).perfect()).await?;
    let peaks: Option<Vec<Hash>> = peaks.into_iter().collect();
    peaks.and_then(|peaks| Tree::of(size, peaks)).ok_or_else(|| damaged_tree(size))
}

fn damaged_tree(size: u64) -> DbError {
    let why = format!("of the first {size} entries at least one is missing");
    DbError::Damaged { what: "evidence log", why }
}

async fn hashes(conn: &mut Conn, stretches: &[Stretch], size: u64) -> Result<Vec<Hash>, DbError> {
    let mut hashes = Vec::new();
    for stretch in stretches {
        let nodes = db::log::nodes(conn, &stretch.perfect()).await?;
        let nodes: Option<Vec<Hash>> = nodes.into_iter().collect();
        hashes.push(nodes.and_then(|nodes| stretch.hash(&nodes)).ok_or_else(|| damaged_tree(size))?);
    }
    Ok(hashes)
}

/// The proof that entry `seq` is one of those that the checkpoint covers ([`proof::verify`]); None: it is none of them.
///
/// # Errors
/// [`DbError`].
pub async fn prove(conn: &mut Conn, seq: u64, checkpoint: &Checkpoint) -> Result<Option<String>, DbError> {
    let size = checkpoint.size();
    let Some(path) = tree::inclusion(seq, size) else { return Ok(None) };
    let Some(row) = db::log::get(conn, seq).await? else { return Ok(None) };
    let hashes = hashes(conn, &path, size).await?;
    Ok(Some(proof::write_inclusion(&row.text, seq, &hashes, checkpoint.note())))
}

/// The proof that the log of the newer checkpoint begins with that of the older one; None: it is shorter.
///
/// # Errors
/// [`DbError`].
pub async fn prove_since(
    conn: &mut Conn,
    old: &Checkpoint,
    new: &Checkpoint,
) -> Result<Option<String>, DbError> {
    let Some(path) = tree::consistency(old.size(), new.size()) else { return Ok(None) };
    let hashes = hashes(conn, &path, new.size()).await?;
    Ok(Some(proof::write_consistency(&hashes, old.note(), new.note())))
}

/// The entries of one job, as lines; alone they prove nothing.
///
/// # Errors
/// [`DbError`].
pub async fn of_job(conn: &mut Conn, job: JobId) -> Result<Vec<String>, DbError> {
    Ok(db::log::of_job(conn, job).await?.into_iter().map(line).collect())
}

/// The log as JSON lines, page by page, each checkpoint after the entry that it covers.
pub struct Export {
    db: Db,
    after: u64,
    /// The last entry when it began.
    to: u64,
    /// The last checkpoint when it began. One that covers more than there is says that the tail was cut: it is in the export.
    signed_to: u64,
    over: bool,
}

impl Export {
    /// Everything that is in the log now.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn begin(db: &Db) -> Result<Self, DbError> {
        let mut conn = db.read().await?;
        // Checkpoints first: one that is signed in between is left out, and the export is whole.
        let tree = db::log::last_checkpoint(&mut conn).await?.map_or(0, |(size, _)| size);
        let chained = db::log::chain_checkpoints(&mut conn, 0, u64::MAX).await?;
        let chained = chained.last().map_or(0, |checkpoint| checkpoint.seq);
        let to = db::log::last(&mut conn).await?.map_or(0, |(seq, _)| seq);
        Ok(Self { db: db.clone(), after: 0, to, signed_to: tree.max(chained), over: false })
    }

    /// The same, ending in what was signed at entry `size`: an entry that came since would stand behind the last signature.
    #[must_use]
    pub fn ending_at(self, size: u64) -> Self {
        // A checkpoint beyond the last entry stays: it says that the tail was cut.
        let signed_to = if self.signed_to > self.to { self.signed_to } else { self.signed_to.min(size) };
        Self { to: self.to.min(size), signed_to, ..self }
    }

    /// The next lines, each with its end; None at the end.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn next(&mut self) -> Result<Option<String>, DbError> {
        if self.over {
            return Ok(None);
        }
        let mut conn = self.db.read().await?;
        let rows = db::log::page(&mut conn, self.after, self.to, PAGE).await?;
        self.over = (rows.len() as u64) < PAGE;
        let upto = match rows.last() {
            Some(last) if !self.over => last.seq,
            _ => u64::MAX,
        }
        .min(self.signed_to.max(self.to));
        let chained = db::log::chain_checkpoints(&mut conn, self.after, upto.min(self.signed_to)).await?;
        let signed = db::log::checkpoints(&mut conn, self.after, upto.min(self.signed_to)).await?;
        self.after = upto;
        Ok(Some(lines(rows, chained, signed)))
    }
}

/// Entries and checkpoints in one order.
fn lines(rows: Vec<EntryRow>, chained: Vec<ChainCheckpoint>, signed: Vec<(u64, String)>) -> String {
    let chained = chained.into_iter().map(|ChainCheckpoint { seq, hash, signature }| {
        let (hash, signature) = (hash.into(), signature.into());
        (seq, Line::ChainSigned { seq, hash, signature }.to_string())
    });
    let signed = signed.into_iter().map(|(size, note)| (size, Line::Signed(note.into()).to_string()));
    let mut checkpoints: Vec<(u64, String)> = chained.chain(signed).collect();
    checkpoints.sort_by_key(|(seq, _)| *seq);
    let mut checkpoints = checkpoints.into_iter().peekable();
    let mut text = String::new();
    let mut add = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    for row in rows {
        let seq = row.seq;
        add(&line(row));
        while let Some((_, line)) = checkpoints.next_if(|(covered, _)| *covered <= seq) {
            add(&line);
        }
    }
    checkpoints.for_each(|(_, line)| add(&line));
    text
}

fn line(row: EntryRow) -> String {
    if !row.hash.is_empty() {
        return Line::Chained { text: row.text.into(), hash: row.hash.into() }.to_string();
    }
    // The hash as it was written: the one of the text would agree with any text.
    let hash = row.nodes.and_then(|nodes| nodes.first().copied()).unwrap_or_default();
    Line::Leaf { text: &row.text, hash }.to_string()
}

#[cfg(test)]
pub(crate) mod tests;
