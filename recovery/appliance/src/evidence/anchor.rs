//! Anchors: signed checkpoints outside the database, so that an old copy of it is seen.
//!
//! ```text
//! commit ─► newest checkpoint ─► anchor file (appended, synced) and the log of the process (journal, syslog)
//! start  ─► last anchor ─► does the database hold all that it covers? no: refused, and in evidence at the next start
//! ```
//!
//! An anchor is written after the commit that it covers, never before: a crash leaves one too few, and the next start makes
//! it good. A power cut may leave a part of one: what is left of it stands apart from the next one and is passed over. It must never: write into a file whose last checkpoint the log does not continue.

use std::{
    fs,
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use recovery_protocol::evidence::{
    Checkpoint, NotACheckpoint, Origin,
    checkpoint::{is_torn, notes},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{Fact, read_tree, room::Room};
use crate::{
    db::{self, Conn, DbError},
    jobs::journal::Journal,
};

/// What is read of the end of an anchor file; a note has some 250 bytes.
const TAIL: u64 = 64 * 1024;
/// No anchor sooner after another one.
const PAUSE: Duration = Duration::from_secs(1);
/// A refused start is kept here for the evidence log.
const ROLLED_BACK: &str = "rolled-back.json";

/// Why the anchors and the database do not go together.
#[derive(Debug, thiserror::Error)]
pub enum AnchorError {
    /// The file cannot be read or written.
    #[error(
        "the anchor file {path} cannot be used: {source}; check the path and the disk, or set `evidence.anchor_file`"
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// There is no checkpoint of ours in it.
    #[error(
        "the anchor file {path} holds no checkpoint of this appliance ({why}); move it away, or name another file"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What was wrong with the last one.
        why: String,
    },
    /// The database is older than the anchors, or another one.
    #[error(
        "the database is not the one that {path} knows: {anchored} entries were signed, and it has {found} of which the first {anchored} are not those; \
         this is an old copy, or its evidence log was changed. Restore the newest backup. If this database is meant to be the true one, move the \
         anchor file away and keep it: the next start writes down that it was so"
    )]
    RolledBack {
        /// The anchor file.
        path: PathBuf,
        /// Entries that the last anchor covers.
        anchored: u64,
        /// Entries that the database has.
        found: u64,
    },
    /// Database.
    #[error("{}", .0.chain())]
    Db(#[from] DbError),
}

/// Kept between a refused start and the next one.
#[derive(Debug, Serialize, Deserialize)]
struct RolledBack {
    anchored: u64,
    found: u64,
    checkpoint: String,
}

/// A file of anchors.
#[derive(Debug, Clone)]
pub struct Anchors {
    path: PathBuf,
    origin: Origin,
}

impl Anchors {
    /// The anchors of this log in this file, which need not exist.
    #[must_use]
    pub fn new(path: PathBuf, origin: Origin) -> Self {
        Self { path, origin }
    }

    /// The last anchor; None where there is no file, an empty one, or one with nothing but torn notes.
    ///
    /// # Errors
    /// [`AnchorError::Io`], [`AnchorError::Foreign`].
    pub fn last(&self) -> Result<Option<Checkpoint>, AnchorError> {
        let tail = match fs::File::open(&self.path).and_then(|file| tail(&file)) {
            Ok(tail) => tail,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(self.io(source)),
        };
        let mut wrong = None;
        for note in notes(&tail).filter(|note| !is_torn(note, &self.origin)).collect::<Vec<_>>().iter().rev()
        {
            match Checkpoint::verify(note, &self.origin) {
                Ok(last) => return Ok(Some(last)),
                Err(why) => wrong = wrong.or(Some(why)),
            }
        }
        let foreign =
            |why: NotACheckpoint| AnchorError::Foreign { path: self.path.clone(), why: why.to_string() };
        wrong.map_or(Ok(None), |why| Err(foreign(why)))
    }

    /// Append an anchor.
    ///
    /// # Errors
    /// [`AnchorError::Io`].
    pub fn append(&self, checkpoint: &Checkpoint) -> Result<(), AnchorError> {
        let write = || {
            let mut file = fs::OpenOptions::new().create(true).append(true).read(true).open(&self.path)?;
            let before = tail(&file)?;
            // An empty line ends what is left of a torn one, so that the new one stands alone.
            let torn =
                notes(&before).last().is_some_and(|note| Checkpoint::verify(note, &self.origin).is_err());
            let apart = if torn { "\n\n" } else { "\n" };
            file.write_all(format!("{apart}{}", checkpoint.note()).as_bytes())?;
            file.sync_all()
        };
        write().map_err(|source| self.io(source))
    }

    /// Whether the database holds all that the last anchor covers. A refusal is kept in the data directory.
    ///
    /// # Errors
    /// [`AnchorError`].
    pub async fn check(&self, conn: &mut Conn, data_dir: &Path) -> Result<(), AnchorError> {
        let Some(last) = self.last()? else { return Ok(()) };
        let found = db::log::last(conn).await?.map_or(0, |(seq, _)| seq);
        if holds(conn, &last, found).await? {
            return Ok(());
        }
        let kept = RolledBack { anchored: last.size(), found, checkpoint: last.note().to_owned() };
        let written = serde_json::to_vec(&kept)
            .map_err(std::io::Error::other)
            .and_then(|text| fs::write(data_dir.join(ROLLED_BACK), text));
        if let Err(error) = written {
            tracing::warn!(%error, "the refused start could not be kept for the evidence log");
        }
        Err(AnchorError::RolledBack { path: self.path.clone(), anchored: last.size(), found })
    }

    fn io(&self, source: std::io::Error) -> AnchorError {
        AnchorError::Io { path: self.path.clone(), source }
    }
}

/// The end of an anchor file.
fn tail(mut file: &fs::File) -> std::io::Result<String> {
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(TAIL)))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    Ok(String::from_utf8_lossy(&tail).into_owned())
}

/// Whether a log of `found` entries holds what this checkpoint covers. A database that cannot tell has not said no.
async fn holds(conn: &mut Conn, anchor: &Checkpoint, found: u64) -> Result<bool, DbError> {
    Ok(found >= anchor.size() && read_tree(conn, anchor.size()).await?.root() == *anchor.root())
}

/// That a start was refused because of the anchors goes into evidence, once, when the appliance starts all the same.
///
/// # Errors
/// [`DbError`]; then it is kept for the next start.
pub async fn write_down(data_dir: &Path, journal: &Journal) -> Result<(), DbError> {
    let file = data_dir.join(ROLLED_BACK);
    let Some(kept) = fs::read(&file).ok().and_then(|text| serde_json::from_slice::<RolledBack>(&text).ok())
    else {
        return Ok(());
    };
    journal.note(Fact::new("alarm.rolled-back", "appliance", json!(kept))).await?;
    let _ = fs::remove_file(file);
    Ok(())
}

/// Anchors the newest checkpoint whenever there is one.
pub struct AnchorWriter {
    anchors: Anchors,
    journal: Arc<Journal>,
}

impl AnchorWriter {
    /// A writer for this log.
    pub fn new(anchors: Anchors, journal: Arc<Journal>) -> Self {
        Self { anchors, journal }
    }

    /// Write until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        let mut changes = self.journal.changes();
        let (mut failing, mut room) = (false, Room::default());
        loop {
            let done = self.write_due().await;
            if let Err(error) = &done {
                tracing::error!(%error, "the evidence log is not anchored");
            }
            if matches!(done, Err(AnchorError::RolledBack { .. })) {
                // Another appliance goes on in our place, from a copy of our state. That this task ends stops the appliance.
                let fact = Fact::new("alarm.fenced", "appliance", json!({ "anchors": self.anchors.path }));
                if let Err(error) = self.journal.note(fact).await {
                    tracing::error!(error = error.chain(), "that another one goes on was not written down");
                }
                return;
            }
            // A disk that is full or gone is one entry, not one each second.
            if done.is_err() && !failing {
                let facts = json!({ "failure": done.as_ref().err().map(ToString::to_string) });
                if let Err(error) = self.journal.note(Fact::new("log.failure", "appliance", facts)).await {
                    tracing::error!(
                        error = error.chain(),
                        "that the log is not anchored was not written down"
                    );
                }
            }
            failing = done.is_err();
            if let Some(facts) = room.look(&self.journal.config.data_dir, self.journal.now()) {
                tracing::warn!(%facts, "little room is left for the evidence log");
                if let Err(error) = self.journal.note(Fact::new("log.capacity", "appliance", facts)).await {
                    tracing::error!(error = error.chain(), "that little room is left was not written down");
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(PAUSE) => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                changed = changes.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Anchor the newest checkpoint, if it is newer than the last anchor.
    async fn write_due(&self) -> Result<(), AnchorError> {
        let mut conn = self.journal.db.read().await?;
        let Some((size, note)) = db::log::last_checkpoint(&mut conn).await? else { return Ok(()) };
        if let Some(last) = self.anchors.last()? {
            let found = db::log::last(&mut conn).await?.map_or(0, |(seq, _)| seq);
            if !holds(&mut conn, &last, found).await? {
                let (path, anchored) = (self.anchors.path.clone(), last.size());
                return Err(AnchorError::RolledBack { path, anchored, found });
            }
            if last.size() >= size {
                return Ok(());
            }
        }
        drop(conn);
        let checkpoint = Checkpoint::verify(&note, &self.anchors.origin)
            .map_err(|why| DbError::Damaged { what: "evidence checkpoint", why: why.to_string() })?;
        self.anchors.append(&checkpoint)?;
        let line = note.trim_end().replace('\n', " | ");
        tracing::info!(size, checkpoint = line, "evidence anchor");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    async fn written(bench: &Bench, count: usize) {
        for _ in 0..count {
            bench.journal.note(Fact::new("order.recover", "operator:anna", json!({}))).await.unwrap();
        }
        bench.journal.sign_log().await.unwrap();
    }

    fn anchors(bench: &Bench) -> Anchors {
        Anchors::new(bench.data.path().join("anchors"), bench.journal.origin())
    }

    async fn check(bench: &Bench) -> Result<(), AnchorError> {
        anchors(bench).check(&mut bench.journal.db.read().await.unwrap(), bench.data.path()).await
    }

    #[tokio::test]
    async fn a_database_that_lost_what_was_anchored_is_refused_and_the_next_start_says_so() {
        let bench = Bench::new("").await;
        let writer = AnchorWriter::new(anchors(&bench), Arc::clone(&bench.journal));
        check(&bench).await.unwrap();
        for count in [3, 70, 5] {
            written(&bench, count).await;
            for _ in 0..2 {
                writer.write_due().await.unwrap();
            }
        }
        let text = fs::read_to_string(bench.data.path().join("anchors")).unwrap();
        assert_eq!(notes(&text).count(), 3, "each once");
        written(&bench, 1).await;
        check(&bench).await.unwrap();
        let last = anchors(&bench).last().unwrap().unwrap();
        crate::evidence::tests::cut(&bench.journal.db, last.size() - 1).await;
        let found = last.size() - 1;
        assert!(
            matches!(check(&bench).await, Err(AnchorError::RolledBack { anchored, found: f, .. }) if anchored == last.size() && f == found)
        );
        // The old copy goes on with other entries: as many, and not the same.
        written(&bench, 10).await;
        assert!(matches!(check(&bench).await, Err(AnchorError::RolledBack { .. })));
        for _ in 0..2 {
            write_down(bench.data.path(), &bench.journal).await.unwrap();
        }
        let kinds = bench.evidence(None).await;
        assert_eq!(kinds.iter().filter(|kind| *kind == "alarm.rolled-back").count(), 1);
    }

    /// Two of one identity with one anchor file, after a restore while the old one still ran: the older history stops.
    #[tokio::test]
    async fn an_appliance_stops_once_another_one_anchors_in_its_place() {
        let bench = Bench::new("").await;
        let writer = || AnchorWriter::new(anchors(&bench), Arc::clone(&bench.journal));
        written(&bench, 3).await;
        writer().write_due().await.unwrap();
        // What the other one signs, with the same key, over entries that are not ours.
        let foreign = Checkpoint::sign(&bench.keys.evidence, 5, [9; 32]);
        anchors(&bench).append(&foreign).unwrap();
        let before = fs::read_to_string(bench.data.path().join("anchors")).unwrap();
        written(&bench, 30).await;
        writer().run(CancellationToken::new()).await;
        assert_eq!(fs::read_to_string(bench.data.path().join("anchors")).unwrap(), before);
        assert_eq!(bench.evidence(None).await.last().unwrap(), "alarm.fenced");
        assert!(matches!(check(&bench).await, Err(AnchorError::RolledBack { .. })));
    }

    #[tokio::test]
    async fn a_torn_anchor_is_passed_over_and_a_foreign_file_is_not_written_to() {
        let bench = Bench::new("").await;
        written(&bench, 3).await;
        let (file, path) = (anchors(&bench), bench.data.path().join("anchors"));
        let signed = bench.journal.sign_log().await.unwrap().unwrap();
        file.append(&signed).unwrap();
        let whole = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{whole}\n{}", &signed.note()[..90])).unwrap();
        assert_eq!(file.last().unwrap(), Some(signed.clone()));
        file.append(&signed).unwrap();
        assert_eq!(notes(&fs::read_to_string(&path).unwrap()).count(), 3);
        assert_eq!(file.last().unwrap(), Some(signed));
        fs::write(&path, "somebody's notes\n").unwrap();
        assert!(matches!(check(&bench).await, Err(AnchorError::Foreign { .. })));
        let writer = AnchorWriter::new(file, Arc::clone(&bench.journal));
        assert!(matches!(writer.write_due().await, Err(AnchorError::Foreign { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "somebody's notes\n");
        assert!(matches!(
            Anchors::new(path.join("x"), bench.journal.origin())
                .append(&bench.journal.sign_log().await.unwrap().unwrap()),
            Err(AnchorError::Io { .. })
        ));
    }

    /// How many entries of a kind there are, in a log of which not all can be read.
    async fn said(bench: &Bench, kind: &str) -> i64 {
        let mut conn = bench.journal.db.read().await.unwrap();
        let count = "SELECT COUNT(*) AS n FROM evidence WHERE text LIKE '%\"kind\":\"' || $1 || '\"%'";
        db::query(count).bind(kind).fetch_one(&mut conn).await.unwrap().try_get("n").unwrap()
    }

    /// A row that cannot be read is a failure of its own: it neither fences an appliance nor calls its database an old copy.
    #[tokio::test]
    async fn a_database_that_cannot_tell_is_not_taken_for_another_one() {
        let bench = Bench::new("").await;
        let writer = AnchorWriter::new(anchors(&bench), Arc::clone(&bench.journal));
        written(&bench, 3).await;
        writer.write_due().await.unwrap();
        let anchored = anchors(&bench).last().unwrap().unwrap().size();
        written(&bench, 5).await;
        let mut tx = bench.journal.db.begin().await.unwrap();
        let broken = "UPDATE evidence SET nodes = $2 WHERE seq <= $1";
        let broken = db::query(broken).bind(i64::try_from(anchored).unwrap()).bind(vec![0_u8]);
        broken.execute(&mut tx).await.unwrap();
        tx.commit().await.unwrap();
        for seen in [check(&bench).await, writer.write_due().await] {
            assert!(matches!(seen, Err(AnchorError::Db(_))), "{seen:?}");
        }
        assert!(!bench.data.path().join(ROLLED_BACK).exists());
        // It says so once and goes on, until it is told to stop.
        let stop = CancellationToken::new();
        let running = tokio::spawn(writer.run(stop.clone()));
        let mut changes = bench.journal.changes();
        while said(&bench, "log.failure").await == 0 {
            changes.changed().await.unwrap();
        }
        assert!(!running.is_finished());
        stop.cancel();
        running.await.unwrap();
        assert_eq!((said(&bench, "log.failure").await, said(&bench, "alarm.fenced").await), (1, 0));
    }

    /// The power may go at any byte of a note, of the first one or of a later one: the appliance starts, and the next note stands alone.
    #[tokio::test]
    async fn a_note_cut_at_any_byte_neither_keeps_it_from_starting_nor_spoils_the_next_one() {
        let bench = Bench::new("").await;
        let (file, path) = (anchors(&bench), bench.data.path().join("anchors"));
        let mut signed = Vec::new();
        for _ in 0..3 {
            written(&bench, 1).await;
            signed.push(bench.journal.sign_log().await.unwrap().unwrap());
        }
        file.append(&signed[0]).unwrap();
        let first = fs::read(&path).unwrap();
        file.append(&signed[1]).unwrap();
        let second = fs::read(&path).unwrap();
        for (from, whole) in [(0, &first), (first.len(), &second)] {
            let before = usize::from(from > 0);
            for at in from..whole.len() {
                fs::write(&path, &whole[..at]).unwrap();
                assert_eq!(file.last().unwrap().as_ref(), signed[..before].last(), "cut at {at}");
                check(&bench).await.unwrap();
                file.append(&signed[2]).unwrap();
                assert_eq!(file.last().unwrap().as_ref(), Some(&signed[2]), "cut at {at}");
                let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
                let standing = |note: &&str| !is_torn(note, &bench.journal.origin());
                let mut good = 0;
                for note in notes(&text).filter(standing) {
                    Checkpoint::verify(note, &bench.journal.origin()).unwrap();
                    good += 1;
                }
                // Where only its last line end was missing, the note is whole again.
                let mended = usize::from(at == whole.len() - 1);
                assert_eq!(good, before + 1 + mended, "cut at {at}: {text}");
            }
        }
    }
}
