//! PostgreSQL 15 or later as the database: how it is reached, what it must be, and who writes.
//!
//! One writer, as with SQLite: a write transaction begins with a lock of its own (READ COMMITTED, then an advisory lock until
//! its end), so that each statement after it sees all that was committed before. Guard rails count and act in one
//! transaction; SERIALIZABLE would give the same by refusing and asking again, and every caller would have to be one that can
//! be asked again.
//!
//! It must never: read a password from anywhere but the file that the configuration names, or let one into an error.

use std::{fmt, fs, io, path::PathBuf, str::FromStr as _, time::Duration};

use serde::{Deserialize, Deserializer, de};
use sqlx::{
    Connection as _, PgConnection, PgPool, Postgres, Row as _, Transaction,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::DbError;

/// The oldest version that is tried here.
const VERSION: i32 = 15;
/// To begin to write. The server itself gives up after 20 s.
const BEGIN_MAX: Duration = Duration::from_secs(30);
/// For one statement, or a commit. The server itself gives up after 300 s.
pub(super) const ASKED_MAX: Duration = Duration::from_secs(if cfg!(test) { 10 } else { 330 });
/// What is given back, to answer once more.
const GIVEN_BACK_MAX: Duration = Duration::from_secs(5);

/// A database server: `database = "postgres://user@host/name"`, or a table with the file of a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// `postgres://…`, as libpq writes it, without a password.
    pub url: String,
    /// The password's file: one line.
    pub password_file: Option<PathBuf>,
}

impl<'de> Deserialize<'de> for Database {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            url: String,
            password_file: Option<PathBuf>,
        }
        struct Either;
        impl<'de> de::Visitor<'de> for Either {
            type Value = Database;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"postgres://…\", or a table with `url` and `password_file`")
            }
            fn visit_str<E: de::Error>(self, url: &str) -> Result<Database, E> {
                Ok(Database { url: url.to_owned(), password_file: None })
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Database, A::Error> {
                let table = Table::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(Database { url: table.url, password_file: table.password_file })
            }
        }
        from.deserialize_any(Either)
    }
}

impl Database {
    /// Why this is no server that we can use; said without what may be a password.
    pub fn check(&self) -> Result<(), &'static str> {
        let rest = ["postgres://", "postgresql://"].iter().find_map(|scheme| self.url.strip_prefix(scheme));
        let Some(rest) = rest else { return Err("is no PostgreSQL URL") };
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
        if user.contains(':') || rest.contains("password=") {
            return Err("holds a password, which others can read here");
        }
        PgConnectOptions::from_str(&self.url).map(drop).map_err(|_| "is no PostgreSQL URL")
    }

    fn options(&self) -> Result<PgConnectOptions, DbError> {
        self.check().map_err(|why| unfit(format!("`database` {why}")))?;
        let mut options = PgConnectOptions::from_str(&self.url)?;
        if let Some(file) = &self.password_file {
            let text = fs::read_to_string(file)
                .map_err(|error| unfit(format!("its password file {}: {error}", file.display())))?;
            options = options.password(text.trim_end_matches(['\r', '\n']));
        }
        // A session that hangs in a transaction, since its appliance is cut off, must not keep another one out for ever.
        Ok(options.application_name("groundstate").statement_cache_capacity(256).options([
            ("default_transaction_isolation", "read committed"),
            ("synchronous_commit", "on"),
            ("idle_in_transaction_session_timeout", "30s"),
            ("lock_timeout", "20s"),
            ("statement_timeout", "300s"),
            ("tcp_keepalives_idle", "5"),
            ("tcp_keepalives_interval", "5"),
            ("tcp_keepalives_count", "3"),
            ("tcp_user_timeout", "20s"),
        ]))
    }
}

fn unfit(why: String) -> DbError {
    DbError::Unfit { why }
}

/// The writer's pool and the readers', of a server that state may be trusted to.
pub(super) async fn pools(server: &Database) -> Result<(PgPool, PgPool), DbError> {
    let options = server.options()?;
    let mut conn = PgConnection::connect_with(&options).await?;
    fit(&mut conn).await?;
    conn.close().await?;
    let pool = |most: u32| {
        PgPoolOptions::new()
            .max_connections(most)
            .min_connections(0)
            .acquire_timeout(Duration::from_secs(10))
            .idle_timeout(Duration::from_secs(600))
            .after_release(|conn, _| {
                // Without a limit the place of one whose server is silent would be taken until the system gives up.
                Box::pin(async move {
                    tokio::time::timeout(GIVEN_BACK_MAX, conn.ping())
                        .await
                        .map_err(|_| silent(GIVEN_BACK_MAX))??;
                    Ok(true)
                })
            })
    };
    let readers = options.clone().options([("default_transaction_read_only", "on")]);
    Ok((pool(1).connect_lazy_with(options), pool(4).connect_lazy_with(readers)))
}

/// What is committed there must stay, and text be text.
async fn fit(conn: &mut PgConnection) -> Result<(), DbError> {
    let asked = "SELECT current_setting('server_version_num')::bigint AS version, current_setting('fsync') AS fsync, \
                 current_setting('full_page_writes') AS pages, current_setting('server_encoding') AS encoding";
    let row = sqlx::query(asked).fetch_one(conn).await?;
    let version = row.try_get::<i64, _>("version")? / 10_000;
    let text = |column: &str| row.try_get::<String, _>(column);
    if version < i64::from(VERSION) {
        return Err(unfit(format!("it is PostgreSQL {version}; {VERSION} or later is needed")));
    }
    if text("fsync")? != "on" || text("pages")? != "on" {
        return Err(unfit(
            "`fsync` or `full_page_writes` is off there, and a power cut would lose what was promised; switch both on"
                .to_owned(),
        ));
    }
    match text("encoding")?.as_str() {
        "UTF8" => Ok(()),
        other => Err(unfit(format!("its encoding is {other}; create the database with ENCODING 'UTF8'"))),
    }
}

/// A write transaction; whoever else writes waits until it ends.
pub(super) async fn begin(writer: &PgPool) -> Result<Transaction<'static, Postgres>, DbError> {
    let begun = within(BEGIN_MAX, async {
        let mut tx = writer.begin().await?;
        let lock =
            "SELECT pg_advisory_xact_lock(hashtextextended('groundstate writes ' || current_schema(), 0))";
        sqlx::query(lock).execute(&mut *tx).await?;
        Ok(tx)
    });
    begun.await.map_err(waited)
}

/// A server that is cut off, or has died without a word, ends nothing: whoever asks gives up by himself.
pub(super) async fn within<T>(
    most: Duration,
    asked: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    tokio::time::timeout(most, asked).await.unwrap_or_else(|_| Err(silent(most)))
}

fn silent(most: Duration) -> sqlx::Error {
    let why = format!("the database server does not answer within {} s", most.as_secs());
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, why))
}

/// A transaction that sees the database as it is now, whatever others commit meanwhile.
pub(super) async fn snapshot(readers: &PgPool) -> Result<Transaction<'static, Postgres>, DbError> {
    readers.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await.map_err(waited)
}

/// A connection that did not come in time is a server that is gone.
pub(super) fn waited(error: sqlx::Error) -> DbError {
    match error {
        sqlx::Error::PoolTimedOut => DbError::Gone(error),
        other => other.into(),
    }
}

/// What a SQLSTATE means (PostgreSQL 15, appendix A).
pub(super) fn named(code: &str) -> fn(sqlx::Error) -> DbError {
    match code {
        "53100" => DbError::Full,
        "25006" => DbError::ReadOnly,
        "XX001" | "XX002" => DbError::Corrupt,
        // Connection, too many of them, shut down, told to leave a transaction in which it idled, waited for a lock.
        "53300" | "25P03" | "55P03" => DbError::Gone,
        code if code.starts_with("08") || code.starts_with("57P") => DbError::Gone,
        _ => DbError::Sql,
    }
}

/// A migration in this dialect: bytes have another name, and text is ordered by its bytes as in SQLite.
pub(super) fn dialect(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 256);
    for line in text.lines() {
        let code = line.split("--").next().unwrap_or_default();
        out.push_str(&code.replace(" BLOB", " BYTEA").replace(" TEXT", " TEXT COLLATE \"C\""));
        out.push('\n');
    }
    out
}
