//! One way to ask two engines: a text with `$1`, `$2`, …, values, and rows read by the name of a column.
//!
//! SQLite and PostgreSQL both understand these placeholders, `ON CONFLICT` and `RETURNING`, so that each query of ours is
//! one text. What they do not share stays out: columns are BIGINT, TEXT and BLOB, order is by bytes (`COLLATE "C"`), a row
//! lock or a pragma stands in `mod.rs` and `server.rs` alone.
//!
//! It must never: know a table.

use std::{
    borrow::Cow,
    ops::{Deref, DerefMut},
};

use sqlx::{
    AssertSqlSafe, Decode, PgConnection, Postgres, Row as _, SqlSafeStr, SqlStr, Sqlite, SqliteConnection,
    Transaction, Type, pool::PoolConnection, postgres::PgRow, sqlite::SqliteRow,
};

use super::{
    DbError,
    server::{ASKED_MAX, within},
};

/// A connection, inside a transaction or not.
#[derive(Debug)]
pub struct Conn(pub(super) Held);

/// How a connection is held.
#[derive(Debug)]
pub(super) enum Held {
    LiteRead(PoolConnection<Sqlite>),
    LiteWrite(Transaction<'static, Sqlite>),
    PgRead(PoolConnection<Postgres>),
    PgWrite(Transaction<'static, Postgres>),
}

enum Native<'c> {
    Lite(&'c mut SqliteConnection),
    Pg(&'c mut PgConnection),
}

impl Conn {
    /// Whether it is of a file, and not of a server.
    pub fn is_file(&self) -> bool {
        matches!(self.0, Held::LiteRead(_) | Held::LiteWrite(_))
    }

    fn native(&mut self) -> Native<'_> {
        match &mut self.0 {
            Held::LiteRead(conn) => Native::Lite(conn),
            Held::LiteWrite(conn) => Native::Lite(conn),
            Held::PgRead(conn) => Native::Pg(conn),
            Held::PgWrite(conn) => Native::Pg(conn),
        }
    }
}

/// A connection to read with.
#[derive(Debug)]
pub struct Reader(pub(super) Conn);

/// A write transaction: rolled back unless committed.
#[derive(Debug)]
pub struct Tx(pub(super) Conn);

impl Tx {
    /// Keep what was written.
    ///
    /// # Errors
    /// [`DbError`]: nothing was written; or, where the server went away just then, perhaps everything.
    pub async fn commit(self) -> Result<(), DbError> {
        match self.0.0 {
            Held::LiteWrite(tx) => Ok(tx.commit().await?),
            Held::PgWrite(tx) => Ok(within(ASKED_MAX, tx.commit()).await?),
            Held::LiteRead(_) | Held::PgRead(_) => Ok(()),
        }
    }
}

impl Deref for Reader {
    type Target = Conn;
    fn deref(&self) -> &Conn {
        &self.0
    }
}

impl DerefMut for Reader {
    fn deref_mut(&mut self) -> &mut Conn {
        &mut self.0
    }
}

impl Deref for Tx {
    type Target = Conn;
    fn deref(&self) -> &Conn {
        &self.0
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut Conn {
        &mut self.0
    }
}

/// A value for a placeholder.
#[derive(Debug)]
pub enum Value<'q> {
    /// BIGINT.
    Int(Option<i64>),
    /// TEXT.
    Text(Option<Cow<'q, str>>),
    /// BLOB.
    Bytes(Option<Cow<'q, [u8]>>),
}

/// A query whose values are not all there yet.
#[derive(Debug)]
pub struct Query<'q> {
    text: SqlStr,
    values: Vec<Value<'q>>,
}

/// A query by its text.
pub fn query<'q>(text: &'static str) -> Query<'q> {
    Query { text: text.into_sql_str(), values: Vec::with_capacity(4) }
}

/// A query whose text is put together here, of nothing that came from outside.
pub(super) fn query_of<'q>(text: String) -> Query<'q> {
    Query { text: AssertSqlSafe(text).into_sql_str(), values: Vec::new() }
}

/// `$1, $2, …`: so many placeholders.
pub(super) fn places(count: usize) -> String {
    (1..=count).map(|n| format!("${n}")).collect::<Vec<_>>().join(", ")
}

/// Statements without values, `;` between them.
pub async fn raw(text: impl SqlSafeStr, conn: &mut Conn) -> Result<(), DbError> {
    match conn.native() {
        Native::Lite(conn) => sqlx::raw_sql(text).execute(conn).await.map(|_| ())?,
        Native::Pg(conn) => within(ASKED_MAX, sqlx::raw_sql(text).execute(conn)).await.map(|_| ())?,
    }
    Ok(())
}

macro_rules! bound {
    ($engine:ty, $query:expr, $text:ident => $written:expr) => {{
        let mut query = sqlx::query::<$engine>($query.text);
        for value in $query.values {
            query = match value {
                Value::Int(n) => query.bind(n),
                Value::Text($text) => query.bind($written),
                Value::Bytes(bytes) => query.bind(bytes.map(Cow::into_owned)),
            };
        }
        query
    }};
}

/// PostgreSQL keeps no NUL in a text. None of ours has one; a text from outside loses it visibly.
fn without_nul(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { text }
}

macro_rules! lite {
    ($query:expr) => {
        bound!(Sqlite, $query, text => text)
    };
}

macro_rules! pg {
    ($query:expr) => {
        bound!(Postgres, $query, text => text.map(without_nul))
    };
}

impl<'q> Query<'q> {
    /// The value of the next placeholder.
    pub fn bind(mut self, value: impl Into<Value<'q>>) -> Self {
        self.values.push(value.into());
        self
    }

    /// How many rows it changed.
    pub async fn execute(self, conn: &mut Conn) -> Result<u64, DbError> {
        Ok(match conn.native() {
            Native::Lite(conn) => lite!(self).execute(conn).await?.rows_affected(),
            Native::Pg(conn) => within(ASKED_MAX, pg!(self).execute(conn)).await?.rows_affected(),
        })
    }

    /// All rows.
    pub async fn fetch_all(self, conn: &mut Conn) -> Result<Vec<Row>, DbError> {
        Ok(match conn.native() {
            Native::Lite(conn) => lite!(self).fetch_all(conn).await?.into_iter().map(Row::Lite).collect(),
            Native::Pg(conn) => {
                within(ASKED_MAX, pg!(self).fetch_all(conn)).await?.into_iter().map(Row::Pg).collect()
            }
        })
    }

    /// The first row, if there is one.
    pub async fn fetch_optional(self, conn: &mut Conn) -> Result<Option<Row>, DbError> {
        Ok(match conn.native() {
            Native::Lite(conn) => lite!(self).fetch_optional(conn).await?.map(Row::Lite),
            Native::Pg(conn) => within(ASKED_MAX, pg!(self).fetch_optional(conn)).await?.map(Row::Pg),
        })
    }

    /// The one row.
    pub async fn fetch_one(self, conn: &mut Conn) -> Result<Row, DbError> {
        self.fetch_optional(conn).await?.ok_or_else(|| sqlx::Error::RowNotFound.into())
    }
}

/// A row.
pub enum Row {
    /// Of SQLite.
    Lite(SqliteRow),
    /// Of PostgreSQL.
    Pg(PgRow),
}

impl Row {
    /// A column's value.
    ///
    /// # Errors
    /// [`DbError::Sql`]: no such column, or another kind of value.
    pub fn try_get<'r, T>(&'r self, column: &str) -> Result<T, DbError>
    where
        T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>,
    {
        Ok(match self {
            Self::Lite(row) => row.try_get(column)?,
            Self::Pg(row) => row.try_get(column)?,
        })
    }
}

impl From<i64> for Value<'_> {
    fn from(n: i64) -> Self {
        Self::Int(Some(n))
    }
}

impl From<Option<i64>> for Value<'_> {
    fn from(n: Option<i64>) -> Self {
        Self::Int(n)
    }
}

impl<'q> From<&'q str> for Value<'q> {
    fn from(text: &'q str) -> Self {
        Self::Text(Some(Cow::Borrowed(text)))
    }
}

impl<'q> From<&'q String> for Value<'q> {
    fn from(text: &'q String) -> Self {
        Self::Text(Some(Cow::Borrowed(text)))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(Some(Cow::Owned(text)))
    }
}

impl From<Option<String>> for Value<'_> {
    fn from(text: Option<String>) -> Self {
        Self::Text(text.map(Cow::Owned))
    }
}

impl<'q> From<Option<&'q str>> for Value<'q> {
    fn from(text: Option<&'q str>) -> Self {
        Self::Text(text.map(Cow::Borrowed))
    }
}

impl<'q> From<Option<&'q String>> for Value<'q> {
    fn from(text: Option<&'q String>) -> Self {
        Self::Text(text.map(|text| Cow::Borrowed(text.as_str())))
    }
}

impl<'q> From<&'q Option<String>> for Value<'q> {
    fn from(text: &'q Option<String>) -> Self {
        Self::Text(text.as_deref().map(Cow::Borrowed))
    }
}

impl<'q> From<&'q [u8]> for Value<'q> {
    fn from(bytes: &'q [u8]) -> Self {
        Self::Bytes(Some(Cow::Borrowed(bytes)))
    }
}

impl<'q> From<&'q Vec<u8>> for Value<'q> {
    fn from(bytes: &'q Vec<u8>) -> Self {
        Self::Bytes(Some(Cow::Borrowed(bytes)))
    }
}

impl From<Vec<u8>> for Value<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(Some(Cow::Owned(bytes)))
    }
}
