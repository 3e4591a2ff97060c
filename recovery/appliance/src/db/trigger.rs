//! Table `trigger_seen`: what sources reported, kept as received.

use recovery_protocol::EndpointId;
use sqlx::Row as _;

use super::{Conn, DbError, num, sql};

/// The recorded outcome (JSON) of a delivery that was seen before.
pub async fn seen(conn: &mut Conn, source: &str, delivery: &str) -> Result<Option<String>, DbError> {
    let row = sqlx::query("SELECT outcome FROM trigger_seen WHERE source = $1 AND delivery = $2")
        .bind(source)
        .bind(delivery)
        .fetch_optional(conn)
        .await?;
    row.map(|row| Ok(row.try_get("outcome")?)).transpose()
}

/// One delivery.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'a> {
    /// Who reports.
    pub source: &'a str,
    /// The delivery's key.
    pub delivery: &'a str,
    /// Whom it names.
    pub endpoint: &'a EndpointId,
    /// `integrity`, `unreachable`, `alert`.
    pub class: &'a str,
    /// The source confirmed it.
    pub confirmed: bool,
    /// When, milliseconds since 1970.
    pub received: u64,
    /// The message as received.
    pub raw: &'a [u8],
    /// What became of it, JSON.
    pub outcome: &'a str,
}

/// Keep a delivery.
pub async fn put(conn: &mut Conn, d: &Delivery<'_>) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO trigger_seen (source, delivery, endpoint, class, confirmed, received, raw, outcome) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(d.source)
    .bind(d.delivery)
    .bind(d.endpoint.as_str())
    .bind(d.class)
    .bind(i64::from(d.confirmed))
    .bind(sql(d.received))
    .bind(d.raw)
    .bind(d.outcome)
    .execute(conn)
    .await?;
    Ok(())
}

/// A delivery whose source is still to be asked back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsettled {
    /// Who reported.
    pub source: String,
    /// The delivery's key.
    pub delivery: String,
    /// The message as received.
    pub raw: Vec<u8>,
}

/// Failed integrity checks that were stored and neither confirmed nor given up, oldest first.
pub async fn unsettled(conn: &mut Conn) -> Result<Vec<Unsettled>, DbError> {
    let rows = sqlx::query(
        "SELECT source, delivery, raw FROM trigger_seen \
         WHERE settled IS NULL AND class = 'integrity' AND confirmed = 0 ORDER BY received, delivery",
    )
    .fetch_all(conn)
    .await?;
    let of = |row: &sqlx::sqlite::SqliteRow| {
        Ok(Unsettled {
            source: row.try_get("source")?,
            delivery: row.try_get("delivery")?,
            raw: row.try_get("raw")?,
        })
    };
    rows.iter().map(of).collect()
}

/// The source was asked back: it is not asked again.
pub async fn settle(conn: &mut Conn, source: &str, delivery: &str, at: u64) -> Result<(), DbError> {
    sqlx::query("UPDATE trigger_seen SET settled = $3 WHERE source = $1 AND delivery = $2")
        .bind(source)
        .bind(delivery)
        .bind(sql(at))
        .execute(conn)
        .await?;
    Ok(())
}

/// As if the appliance had died before it wrote down that it had asked.
#[cfg(test)]
pub async fn unsettle_all(conn: &mut Conn) -> Result<(), DbError> {
    sqlx::query("UPDATE trigger_seen SET settled = NULL").execute(conn).await?;
    Ok(())
}

/// How many endpoints of a group reported a failed integrity check since `since` (milliseconds since 1970).
pub async fn failing(conn: &mut Conn, members: &[&EndpointId], since: u64) -> Result<u64, DbError> {
    let rows = sqlx::query(
        "SELECT DISTINCT endpoint FROM trigger_seen WHERE class = 'integrity' AND received >= $1",
    )
    .bind(sql(since))
    .fetch_all(conn)
    .await?;
    let mut failing = 0;
    for row in &rows {
        let endpoint: &str = row.try_get("endpoint")?;
        failing += u64::from(members.iter().any(|member| member.as_str() == endpoint));
    }
    Ok(failing)
}

/// How many triggers a source sent since `since` (milliseconds since 1970).
pub async fn rate(conn: &mut Conn, source: &str, since: u64) -> Result<u64, DbError> {
    let row = sqlx::query("SELECT COUNT(*) AS n FROM trigger_seen WHERE source = $1 AND received >= $2")
        .bind(source)
        .bind(sql(since))
        .fetch_one(conn)
        .await?;
    num(&row, "n")
}
