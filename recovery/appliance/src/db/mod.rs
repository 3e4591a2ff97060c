//! The database: SQLite in a file or a PostgreSQL server, one writer, and the only place where SQL is written.
//!
//! Each module owns the tables of one noun and offers plain functions over a connection; a caller who needs several in
//! one transaction calls [`Db::begin`] and commits. A transaction begins IMMEDIATE: a read that turns into a write
//! would else fail as busy, and no timeout helps (SQLite, "Isolation", snapshot upgrades). `synchronous=FULL`: what was
//! committed survives a power cut. On PostgreSQL a lock at the begin means the same ([`server`]).
//!
//! | module | tables |
//! |---|---|
//! | [`endpoint`] | endpoint, endpoint_mac, endpoint_removed, endpoint_edit |
//! | [`job`] | job, phase, journal |
//! | [`ticket`] | boot_ticket, enrolment_ticket, est_secret, certificate |
//! | [`session`] | session |
//! | [`trigger`] | trigger_seen, trigger_raw, trigger_incident |
//! | [`plan`] | plan, plan_use |
//! | [`history`] | job and trigger_seen, told again elsewhere |
//! | [`plane`] | plane (the embedded control plane), plane_queue (what others were not told yet) |
//! | [`log`] | evidence, evidence_checkpoint, tree_checkpoint |
//! | [`notice`] | notice, notice_channel, mark |
//! | [`forward`] | forward_cursor, dead_letter |
//! | [`kiosk`] | kiosk |
//! | [`lease`] | lease |
//! | [`person`] | person |
//! | [`duty`] | person_duty |
//! | [`photo`] | endpoint_photo |
//! | [`exhibit`] | exhibit |
//! | [`drill`] | drill_schedule, drill_action |
//! | [`drill_code`] | drill_code |
//! | [`review`] | review |
//! | [`stop`] | stop |
//! | [`reign`] | reign: which appliance writes |
//!
//! It must never: decide anything, or read a clock.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};
use sqlx::{
    PgPool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous},
};
use tokio_util::sync::CancellationToken;

pub mod chain;
#[cfg(test)]
pub mod conformance;
pub mod drill;
pub mod drill_code;
pub mod duty;
pub mod endpoint;
pub mod examine;
pub mod exhibit;
pub mod forward;
pub mod history;
pub mod job;
pub mod kiosk;
pub mod lease;
pub mod log;
mod migrate;
mod moved;
pub mod notice;
pub mod person;
pub mod photo;
pub mod plan;
pub mod plane;
pub mod reign;
pub mod review;
pub mod server;
pub mod session;
pub mod sql;
pub mod stop;
pub mod ticket;
pub mod trigger;

use crate::config::Config;
pub use migrate::{down as back_to, known};
use sql::Held;
pub use sql::{Conn, Reader, Row, Tx, query};

/// The database's file in the data directory.
pub const FILE: &str = "groundstate.db";

/// Numbered migrations, in order; a shipped one is never changed.
const MIGRATIONS: &[(i64, &str)] = &[
    (1, include_str!("../../migrations/0001_first.sql")),
    (2, include_str!("../../migrations/0002_ek_certificate.sql")),
    (3, include_str!("../../migrations/0003_trigger_settled.sql")),
    (4, include_str!("../../migrations/0004_boot_chain.sql")),
    (5, include_str!("../../migrations/0005_endpoint_revision.sql")),
    (6, include_str!("../../migrations/0006_identity_conflict.sql")),
    (7, include_str!("../../migrations/0007_person.sql")),
    (8, include_str!("../../migrations/0008_trigger_sources.sql")),
    (9, include_str!("../../migrations/0009_evidence_tree.sql")),
    (10, include_str!("../../migrations/0010_stop.sql")),
    (12, include_str!("../../migrations/0012_forward.sql")),
    (13, include_str!("../../migrations/0013_person_scope.sql")),
    (14, include_str!("../../migrations/0014_endpoint_edit.sql")),
    (17, include_str!("../../migrations/0017_person_password.sql")),
    (18, include_str!("../../migrations/0018_second_person.sql")),
    (19, include_str!("../../migrations/0019_ways_in.sql")),
    (20, include_str!("../../migrations/0020_reign.sql")),
    (21, include_str!("../../migrations/0021_person_origin.sql")),
    (22, include_str!("../../migrations/0022_person_subject.sql")),
    (24, include_str!("../../migrations/0024_endpoint_facts.sql")),
    (27, include_str!("../../migrations/0027_tpm_counted.sql")),
    (28, include_str!("../../migrations/0028_plane_queue.sql")),
    (29, include_str!("../../migrations/0029_boot_age.sql")),
    (32, include_str!("../../migrations/0032_person_believed.sql")),
    (33, include_str!("../../migrations/0033_certificate_sha256.sql")),
    (34, include_str!("../../migrations/0034_plane_sequence.sql")),
    (35, include_str!("../../migrations/0035_machine.sql")),
    (36, include_str!("../../migrations/0036_job_by_asked.sql")),
    (38, include_str!("../../migrations/0038_notice.sql")),
    (40, include_str!("../../migrations/0040_person_duty.sql")),
    (41, include_str!("../../migrations/0041_drill_code.sql")),
    (42, include_str!("../../migrations/0042_drill_schedule.sql")),
    (43, include_str!("../../migrations/0043_exhibit.sql")),
    (45, include_str!("../../migrations/0045_person_token_id.sql")),
];

/// Why the database did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The engine said no.
    #[error(
        "the database failed; check the disk of the data directory, or the database server, for space and errors"
    )]
    Sql(#[source] sqlx::Error),
    /// The server does not answer, or broke off. The same may be asked again.
    #[error(
        "the database server cannot be reached, or broke off; what was asked can be asked again when it answers"
    )]
    Gone(#[source] sqlx::Error),
    /// The server is not one that state may be trusted to.
    #[error("the database server will not do: {why}")]
    Unfit {
        /// Why, and what to do.
        why: String,
    },
    /// No room.
    #[error(
        "the disk of the data directory, or of the database server, is full: nothing was written. Make room, and what was asked can be asked again"
    )]
    Full(#[source] sqlx::Error),
    /// The disk or the file is read-only.
    #[error(
        "the data directory, or the database server, is read-only: nothing was written. Look whether the disk failed and was mounted read-only, who owns the files, and whether the server is a standby"
    )]
    ReadOnly(#[source] sqlx::Error),
    /// A page is not what was written, or the file is no database.
    #[error(
        "the database is damaged on disk; stop the appliance, keep the data directory, and restore the newest backup (`groundstate restore-state`)"
    )]
    Corrupt(#[source] sqlx::Error),
    /// Another appliance took over: this one writes nothing any more.
    #[error(
        "another appliance took over (term {now}, ours was {ours}): nothing is written here any more. Switch this one off, or let it take over again by `groundstate takeover`"
    )]
    Fenced {
        /// Our number.
        ours: u64,
        /// Theirs.
        now: u64,
    },
    /// Another appliance has this database.
    #[error(
        "another appliance ({holder}) has this database, by term {term}. When that one is off or cut off for good, say `groundstate takeover --reason …` here"
    )]
    Held {
        /// Their id.
        holder: String,
        /// Their number.
        term: u64,
    },
    /// A row holds what no version of ours writes.
    #[error(
        "the database holds a `{what}` that cannot be read: {why}; restore the data directory from a backup"
    )]
    Damaged {
        /// Which column or record.
        what: &'static str,
        /// The parser's words.
        why: String,
    },
    /// Written by a newer appliance.
    #[error(
        "the database was written by a newer appliance (schema {found}, this one knows {known}); install that one"
    )]
    Newer {
        /// Schema on disk.
        found: i64,
        /// Schema of this program.
        known: i64,
    },
}

impl DbError {
    /// The whole chain, for logs.
    #[must_use]
    pub fn chain(&self) -> String {
        match self {
            Self::Sql(source)
            | Self::Gone(source)
            | Self::Full(source)
            | Self::ReadOnly(source)
            | Self::Corrupt(source) => format!("{self}: {source}"),
            Self::Unfit { .. }
            | Self::Fenced { .. }
            | Self::Held { .. }
            | Self::Damaged { .. }
            | Self::Newer { .. } => self.to_string(),
        }
    }
}

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(|error| error.code()).map(|code| code.into_owned());
        match code.as_deref() {
            Some(code) if code.len() == 5 => server::named(code)(error),
            // The primary result code is the low byte of the extended one (sqlite.org/rescode.html).
            Some(code) => match code.parse::<u32>().map(|code| code & 0xff) {
                Ok(8) => Self::ReadOnly(error),
                Ok(11 | 26) => Self::Corrupt(error),
                Ok(13) => Self::Full(error),
                _ => Self::Sql(error),
            },
            None if matches!(error, sqlx::Error::Io(_) | sqlx::Error::Tls(_)) => Self::Gone(error),
            None => Self::Sql(error),
        }
    }
}

/// The database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Db {
    engine: Engine,
    /// By which number this appliance writes, and its id; tools that write beside it have none.
    term: Arc<OnceLock<(u64, String)>>,
    fenced: CancellationToken,
}

#[derive(Debug, Clone)]
enum Engine {
    Lite { writer: SqlitePool, readers: SqlitePool },
    Pg { writer: PgPool, readers: PgPool },
}

impl Db {
    /// Open or create the database file and bring it to this program's schema.
    ///
    /// # Errors
    /// [`DbError`]: not writable, damaged, or from a newer appliance.
    pub async fn open(path: &Path) -> Result<Self, DbError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(5));
        let pool = |most: u32| SqlitePoolOptions::new().max_connections(most).min_connections(0);
        let writer = pool(1).connect_with(options.clone()).await?;
        before_upgrade(&writer, path).await?;
        let mut tx = Tx(Conn(Held::LiteWrite(writer.begin_with("BEGIN IMMEDIATE").await?)));
        migrate::up(&mut tx, &str::to_owned).await?;
        tx.commit().await?;
        let readers = pool(4).connect_with(options.read_only(true)).await?;
        Ok(Self::on(Engine::Lite { writer, readers }))
    }

    /// Open the database that the configuration names.
    ///
    /// # Errors
    /// As [`Db::open`] and [`Db::connect`].
    pub async fn of(config: &Config) -> Result<Self, DbError> {
        match &config.database {
            None => Self::open(&config.data_dir.join(FILE)).await,
            Some(server) => {
                let own = std::fs::read_to_string(config.data_dir.join(crate::keys::ID));
                Self::connect_as(server, Some(own.unwrap_or_default().trim())).await
            }
        }
    }

    /// The same for one that takes over: it may change the schema of what another one holds.
    ///
    /// # Errors
    /// As [`Db::of`].
    pub async fn of_any(config: &Config) -> Result<Self, DbError> {
        match &config.database {
            None => Self::of(config).await,
            Some(server) => Self::connect(server).await,
        }
    }

    /// Open a database of a PostgreSQL server and bring it to this program's schema.
    ///
    /// # Errors
    /// [`DbError`]: not reachable, not fit, or from a newer appliance.
    pub async fn connect(server: &server::Database) -> Result<Self, DbError> {
        Self::connect_as(server, None).await
    }

    /// The same; with an id, the schema is not changed under another appliance.
    async fn connect_as(server: &server::Database, own: Option<&str>) -> Result<Self, DbError> {
        let (writer, readers) = server::pools(server).await?;
        let db = Self::on(Engine::Pg { writer, readers });
        let mut tx = db.begin().await?;
        let found = migrate::found(&mut tx).await?;
        if let Some(own) = own
            && (reign::SINCE_SCHEMA..known()).contains(&found)
        {
            reign::ours(&mut tx, own).await?;
        }
        migrate::up(&mut tx, &server::dialect).await?;
        tx.commit().await?;
        Ok(db)
    }

    fn on(engine: Engine) -> Self {
        Self { engine, term: Arc::default(), fenced: CancellationToken::new() }
    }

    /// Write as this appliance from here on, by the next number: nobody else writes, or it did before.
    ///
    /// # Errors
    /// [`DbError::Held`] where another one does.
    pub async fn claim(&self, appliance: &str, at: u64) -> Result<(), DbError> {
        let mut tx = self.begin().await?;
        reign::ours(&mut tx, appliance).await?;
        let term = reign::turn(&mut tx, appliance, at).await?;
        tx.commit().await?;
        let _ = self.term.set((term, appliance.to_owned()));
        Ok(())
    }

    /// Cancelled when another appliance took over.
    pub fn fenced(&self) -> &CancellationToken {
        &self.fenced
    }

    /// Look whether another appliance took over; [`Db::begin`] looks, too.
    ///
    /// # Errors
    /// [`DbError::Fenced`].
    pub async fn still_ours(&self, conn: &mut Conn) -> Result<(), DbError> {
        let Some((ours, own)) = self.term.get() else { return Ok(()) };
        let now = reign::now(conn).await?;
        // A database that was restored may count to our number once more, for another one.
        if (now.term, &now.holder) == (*ours, own) {
            return Ok(());
        }
        self.fenced.cancel();
        Err(DbError::Fenced { ours: *ours, now: now.term })
    }

    /// Begin a write transaction; others wait. An appliance that was fenced begins none.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn begin(&self) -> Result<Tx, DbError> {
        let mut tx = self.begin_unasked().await?;
        self.still_ours(&mut tx).await?;
        Ok(tx)
    }

    async fn begin_unasked(&self) -> Result<Tx, DbError> {
        let held = match &self.engine {
            Engine::Pg { writer, .. } => Held::PgWrite(server::begin(writer).await?),
            Engine::Lite { writer, .. } => match writer.begin_with("BEGIN IMMEDIATE").await {
                // Where the disk is full SQLite ends the transaction by itself. The connection still counts it as open and
                // would never begin another one: it is replaced.
                Err(sqlx::Error::InvalidSavePointStatement) => {
                    drop(writer.acquire().await?.detach());
                    Held::LiteWrite(writer.begin_with("BEGIN IMMEDIATE").await?)
                }
                begun => Held::LiteWrite(begun?),
            },
        };
        Ok(Tx(Conn(held)))
    }

    /// A connection to read with: it sees what was committed before each query.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn read(&self) -> Result<Reader, DbError> {
        Ok(Reader(Conn(match &self.engine {
            Engine::Lite { readers, .. } => Held::LiteRead(readers.acquire().await?),
            Engine::Pg { readers, .. } => Held::PgRead(readers.acquire().await.map_err(server::waited)?),
        })))
    }

    /// A copy of the database as it is now, as a new SQLite file, while others go on.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn copy_to(&self, path: &Path) -> Result<(), DbError> {
        match &self.engine {
            Engine::Lite { .. } => {
                let path = path.to_string_lossy().into_owned();
                query("VACUUM INTO $1").bind(path).execute(&mut *self.read().await?).await?;
            }
            Engine::Pg { readers, .. } => {
                let mut from = Conn(Held::PgWrite(server::snapshot(readers).await?));
                let into = Self::open(path).await?;
                moved::all(&mut from, &into).await?;
                into.close().await;
            }
        }
        Ok(())
    }

    /// Put everything of another database into this one, which is new.
    ///
    /// # Errors
    /// [`DbError::Unfit`] where this one holds something already; nothing was written then.
    pub async fn take_over(&self, from: &Self) -> Result<(), DbError> {
        moved::all(&mut *from.read().await?, self).await
    }

    /// Look through all pages for what is damaged; a server does that itself.
    ///
    /// # Errors
    /// [`DbError::Damaged`] with the first finding.
    pub async fn check(&self) -> Result<(), DbError> {
        if let Engine::Pg { .. } = &self.engine {
            return Ok(());
        }
        let row = query("PRAGMA quick_check(1)").fetch_one(&mut *self.read().await?).await?;
        let found: String = row.try_get("quick_check")?;
        if found == "ok" { Ok(()) } else { Err(DbError::Damaged { what: "database page", why: found }) }
    }

    /// Close all connections; what was committed is on disk.
    pub async fn close(&self) {
        match &self.engine {
            Engine::Lite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Engine::Pg { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
        }
    }
}

/// Before a newer schema: the file as it was stays beside it, so that the older program can be put back with it.
async fn before_upgrade(writer: &SqlitePool, path: &Path) -> Result<(), DbError> {
    let mut tx = Tx(Conn(Held::LiteWrite(writer.begin_with("BEGIN IMMEDIATE").await?)));
    let found = migrate::found(&mut tx).await?;
    tx.commit().await?;
    let kept = path.with_added_extension(format!("schema-{found}"));
    if found == 0 || found >= known() || kept.exists() {
        return Ok(());
    }
    let into = kept.to_string_lossy().into_owned();
    sqlx::query("VACUUM INTO $1").bind(into).execute(writer).await?;
    Ok(())
}

/// A text column holding JSON.
fn json<T: DeserializeOwned>(row: &Row, column: &'static str) -> Result<T, DbError> {
    parse(column, row.try_get(column)?)
}

/// A text column holding JSON, or NULL.
fn json_opt<T: DeserializeOwned>(row: &Row, column: &'static str) -> Result<Option<T>, DbError> {
    row.try_get::<Option<&str>>(column)?.map(|text| parse(column, text)).transpose()
}

fn parse<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T, DbError> {
    serde_json::from_str(text).map_err(|e| DbError::Damaged { what, why: e.to_string() })
}

/// A text column holding one of our identifiers or names.
fn id<T: std::str::FromStr>(row: &Row, column: &'static str) -> Result<T, DbError>
where
    T::Err: std::fmt::Display,
{
    let text: &str = row.try_get(column)?;
    text.parse().map_err(|e: T::Err| DbError::Damaged { what: column, why: e.to_string() })
}

/// A column of milliseconds or a count.
fn num(row: &Row, column: &'static str) -> Result<u64, DbError> {
    Ok(row.try_get::<i64>(column)?.max(0).unsigned_abs())
}

/// A column of milliseconds or a count, or NULL.
fn num_opt(row: &Row, column: &'static str) -> Result<Option<u64>, DbError> {
    Ok(row.try_get::<Option<i64>>(column)?.map(|n| n.max(0).unsigned_abs()))
}

/// A number for SQL; beyond 2^63 it is no time and no count of ours.
fn sql(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// A value as JSON text.
fn text<T: Serialize>(what: &'static str, value: &T) -> Result<String, DbError> {
    serde_json::to_string(value).map_err(|e| DbError::Damaged { what, why: e.to_string() })
}

/// The JSON name of a unit variant, as it stands in a column that is searched.
fn name<T: Serialize>(what: &'static str, value: &T) -> Result<String, DbError> {
    text(what, value).map(|quoted| quoted.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::{conformance::database, *};

    #[tokio::test]
    async fn a_database_is_made_once_and_a_newer_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let db = database(&path).await;
        let mut tx = db.begin().await.unwrap();
        query("INSERT INTO migration (n) VALUES (999)").execute(&mut tx).await.unwrap();
        drop(tx);
        db.close().await;
        let db = database(&path).await;
        let mut tx = db.begin().await.unwrap();
        query("INSERT INTO migration (n) VALUES (999)").execute(&mut tx).await.unwrap();
        tx.commit().await.unwrap();
        db.close().await;
        assert!(matches!(conformance::tried(&path).await, Err(DbError::Newer { found: 999, .. })));
    }

    #[tokio::test]
    async fn two_writers_wait_for_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let db = database(&dir.path().join("state.db")).await;
        let writes = (0..8_u64).map(|n| {
            let db = db.clone();
            async move {
                let mut tx = db.begin().await.unwrap();
                let before = log::last(&mut tx).await.unwrap();
                let seq = before.map_or(1, |(seq, _)| seq + 1);
                log::append(&mut tx, seq, None, &n.to_string(), &[[0; 32]]).await.unwrap();
                tx.commit().await.unwrap();
            }
        });
        futures_util::future::join_all(writes).await;
        assert_eq!(log::last(&mut db.read().await.unwrap()).await.unwrap().unwrap().0, 8);
    }

    /// Rows until there is no room, a database without write permission, and one of which a page was overwritten.
    #[tokio::test]
    async fn a_full_a_read_only_and_a_damaged_disk_have_names_and_leave_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let db = Db::open(&path).await.unwrap();
        let text = "x".repeat(3000);
        let fill = async |db: &Db, from: u64, to: u64| -> Result<(), DbError> {
            let mut tx = db.begin().await?;
            for seq in from..=to {
                log::append(&mut tx, seq, None, &text, &[[0; 32]]).await?;
            }
            tx.commit().await
        };
        fill(&db, 1, 50).await.unwrap();
        let mut tx = db.begin().await.unwrap();
        sql::raw("PRAGMA max_page_count = 120", &mut tx).await.unwrap();
        tx.commit().await.unwrap();
        assert!(matches!(fill(&db, 51, 500).await, Err(DbError::Full(_))));
        assert_eq!(log::last(&mut db.read().await.unwrap()).await.unwrap().unwrap().0, 50, "all or nothing");
        fill(&db, 51, 52).await.unwrap();
        let reader = query("INSERT INTO dead_letter (sink, seq, at, why) VALUES ('a', 1, 1, 'b')");
        let refused = reader.execute(&mut db.read().await.unwrap()).await.unwrap_err();
        assert!(matches!(refused, DbError::ReadOnly(_)));
        db.check().await.unwrap();
        db.close().await;
        let mut bytes = std::fs::read(&path).unwrap();
        for page in bytes.chunks_mut(4096).skip(1) {
            page[..64].fill(0xa5);
        }
        std::fs::write(&path, bytes).unwrap();
        let found = match Db::open(&path).await {
            Ok(db) => log::last(&mut db.read().await.unwrap()).await.map(drop).unwrap_err(),
            Err(error) => error,
        };
        assert!(matches!(found, DbError::Corrupt(_)), "{found:?}");
        std::fs::write(&path, vec![7; 8192]).unwrap();
        let _ = std::fs::remove_file(dir.path().join("state.db-wal"));
        assert!(matches!(Db::open(&path).await, Err(DbError::Corrupt(_))));
    }
}
