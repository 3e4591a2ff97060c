//! Tables `trigger_seen`, `trigger_raw` and `trigger_incident`: what sources reported, and their messages as received, both bounded.

use recovery_protocol::EndpointId;

use super::{Conn, DbError, Row, endpoint::Record, num, query, sql};
use crate::hooks::wire;

/// The recorded outcome (JSON) of a delivery that was seen before.
pub async fn seen(conn: &mut Conn, source: &str, delivery: &str) -> Result<Option<String>, DbError> {
    let row = query("SELECT outcome FROM trigger_seen WHERE source = $1 AND delivery = $2")
        .bind(source)
        .bind(delivery)
        .fetch_optional(conn)
        .await?;
    row.map(|row| row.try_get("outcome")).transpose()
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
    /// How the source calls it.
    pub named: &'a str,
    /// `integrity`, `unreachable`, `alert`, `notice`, `resolved`.
    pub class: &'a str,
    /// Why, in the source's words.
    pub reason: &'a str,
    /// The source confirmed it.
    pub confirmed: bool,
    /// When, milliseconds since 1970.
    pub received: u64,
    /// SHA-256 of the message, lower-case hex.
    pub raw_sha256: &'a str,
    /// What became of it, JSON.
    pub outcome: &'a str,
}

/// Keep a delivery.
pub async fn put(conn: &mut Conn, d: &Delivery<'_>) -> Result<(), DbError> {
    query(
        "INSERT INTO trigger_seen (source, delivery, endpoint, class, confirmed, received, raw, outcome, raw_sha256, reason, named) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(d.source)
    .bind(d.delivery)
    .bind(d.endpoint.as_str())
    .bind(d.class)
    .bind(i64::from(d.confirmed))
    .bind(sql(d.received))
    .bind(&[] as &[u8])
    .bind(d.outcome)
    .bind(d.raw_sha256)
    .bind(d.reason)
    .bind(d.named)
    .execute(conn)
    .await?;
    Ok(())
}

/// Keep a message as it was received, once.
pub async fn keep_raw(
    conn: &mut Conn,
    source: &str,
    sha256: &str,
    received: u64,
    raw: &[u8],
) -> Result<(), DbError> {
    query(
        "INSERT INTO trigger_raw (source, sha256, received, raw) VALUES ($1, $2, $3, $4) ON CONFLICT (source, sha256) DO NOTHING",
    )
    .bind(source)
    .bind(sha256)
    .bind(sql(received))
    .bind(raw)
    .execute(conn)
    .await?;
    Ok(())
}

/// Forget messages of a source beyond the newest `most`, and messages and settled deliveries that are older than `before`
/// (milliseconds since 1970).
pub async fn forget(conn: &mut Conn, source: &str, most: u32, before: u64) -> Result<(), DbError> {
    for statement in [
        "DELETE FROM trigger_raw WHERE source = $1 AND (received < $3 OR received <= \
         (SELECT received FROM trigger_raw WHERE source = $1 ORDER BY received DESC LIMIT 1 OFFSET $2))",
        "DELETE FROM trigger_seen WHERE source = $1 AND received < $3 AND $2 = $2 \
         AND NOT (settled IS NULL AND class = 'integrity' AND confirmed = 0)",
    ] {
        query(statement).bind(source).bind(i64::from(most)).bind(sql(before)).execute(&mut *conn).await?;
    }
    Ok(())
}

/// Keys of a source's deliveries that brought about this outcome (JSON), and how it calls the endpoint.
pub async fn with_outcome(
    conn: &mut Conn,
    source: &str,
    outcome: &str,
) -> Result<Vec<(String, String)>, DbError> {
    let rows = query("SELECT delivery, named FROM trigger_seen WHERE source = $1 AND outcome = $2")
        .bind(source)
        .bind(outcome)
        .fetch_all(conn)
        .await?;
    rows.iter().map(|row| Ok((row.try_get("delivery")?, row.try_get("named")?))).collect()
}

/// A delivery whose source is still to be asked back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsettled {
    /// Who reported.
    pub source: String,
    /// The delivery's key.
    pub delivery: String,
    /// Whom it named.
    pub endpoint: EndpointId,
    /// How the source calls it.
    pub named: String,
    /// Why, in the source's words.
    pub reason: String,
}

/// Failed integrity checks that were stored and neither confirmed nor given up, oldest first, so many at most.
pub async fn unsettled(conn: &mut Conn, most: u32) -> Result<Vec<Unsettled>, DbError> {
    let rows = query(
        "SELECT source, delivery, endpoint, named, reason FROM trigger_seen \
         WHERE settled IS NULL AND class = 'integrity' AND confirmed = 0 ORDER BY received, delivery LIMIT $1",
    )
    .bind(i64::from(most))
    .fetch_all(conn)
    .await?;
    let of = |row: &Row| {
        Ok(Unsettled {
            source: row.try_get("source")?,
            delivery: row.try_get("delivery")?,
            endpoint: super::id(row, "endpoint")?,
            named: row.try_get("named")?,
            reason: row.try_get("reason")?,
        })
    };
    rows.iter().map(of).collect()
}

/// Reports of failed integrity about an endpoint since then (milliseconds since 1970) by which their sources did not stand when they
/// were asked.
pub async fn withdrawn(conn: &mut Conn, endpoint: &EndpointId, since: u64) -> Result<u64, DbError> {
    let row = query(
        "SELECT COUNT(*) AS n FROM trigger_seen AS said WHERE endpoint = $1 AND class = 'integrity' AND confirmed = 0 \
         AND settled IS NOT NULL AND received >= $2 AND NOT EXISTS (SELECT 1 FROM trigger_seen AS again \
         WHERE again.source = said.source AND again.delivery = said.delivery || $3)",
    )
    .bind(endpoint.as_str())
    .bind(sql(since))
    .bind(CONFIRMED)
    .fetch_one(conn)
    .await?;
    num(&row, "n")
}

/// When the incident of an endpoint, as its source calls it, was opened (milliseconds since 1970): now, unless one is open that began
/// after `since`.
pub async fn incident(
    conn: &mut Conn,
    source: &str,
    named: &str,
    now: u64,
    since: u64,
) -> Result<u64, DbError> {
    let row = query(
        "INSERT INTO trigger_incident (source, named, opened) VALUES ($1, $2, $3) ON CONFLICT (source, named) \
         DO UPDATE SET opened = CASE WHEN trigger_incident.opened >= $4 THEN trigger_incident.opened ELSE $3 END RETURNING opened",
    )
    .bind(source)
    .bind(named)
    .bind(sql(now))
    .bind(sql(since))
    .fetch_one(conn)
    .await?;
    num(&row, "opened")
}

/// An incident is over, if there was one; whether there was.
pub async fn incident_over(conn: &mut Conn, source: &str, named: &str) -> Result<bool, DbError> {
    let done = query("DELETE FROM trigger_incident WHERE source = $1 AND named = $2")
        .bind(source)
        .bind(named)
        .execute(conn)
        .await?;
    Ok(done > 0)
}

/// Names of endpoints, as this source calls them, whose incidents are open.
pub async fn incidents(conn: &mut Conn, source: &str) -> Result<Vec<String>, DbError> {
    let rows =
        query("SELECT named FROM trigger_incident WHERE source = $1").bind(source).fetch_all(conn).await?;
    rows.iter().map(|row| row.try_get("named")).collect()
}

/// How many deliveries other than this one, its confirmation and its end brought about the same outcome (JSON).
pub async fn others_with(
    conn: &mut Conn,
    outcome: &str,
    source: &str,
    delivery: &str,
) -> Result<u64, DbError> {
    let row = query(
        "SELECT COUNT(*) AS n FROM trigger_seen WHERE outcome = $1 \
         AND NOT (source = $2 AND (delivery = $3 OR delivery = $4))",
    )
    .bind(outcome)
    .bind(source)
    .bind(delivery)
    .bind(format!("{delivery}{CONFIRMED}"))
    .fetch_one(conn)
    .await?;
    num(&row, "n")
}

/// Behind the key of a delivery: its source said so again when it was asked.
pub const CONFIRMED: &str = wire::CONFIRMED;
/// Behind the key of a delivery: its source said that it is over.
pub const RESOLVED: &str = wire::RESOLVED;

/// The source was asked back: it is not asked again.
pub async fn settle(conn: &mut Conn, source: &str, delivery: &str, at: u64) -> Result<(), DbError> {
    query("UPDATE trigger_seen SET settled = $3 WHERE source = $1 AND delivery = $2")
        .bind(source)
        .bind(delivery)
        .bind(sql(at))
        .execute(conn)
        .await?;
    Ok(())
}

/// Messages of a source that are still kept, newest first.
#[cfg(test)]
pub async fn raw_of(conn: &mut Conn, source: &str) -> Result<Vec<Vec<u8>>, DbError> {
    let rows = query("SELECT raw FROM trigger_raw WHERE source = $1 ORDER BY received DESC, sha256")
        .bind(source)
        .fetch_all(conn)
        .await?;
    rows.iter().map(|row| row.try_get("raw")).collect()
}

/// As if the appliance had died before it wrote down that it had asked.
#[cfg(test)]
pub async fn unsettle_all(conn: &mut Conn) -> Result<(), DbError> {
    query("UPDATE trigger_seen SET settled = NULL").execute(conn).await?;
    Ok(())
}

/// How many endpoints of a group, this one left out, reported a failed integrity check since `since` (milliseconds since 1970).
pub async fn failing(conn: &mut Conn, group: &str, but: &EndpointId, since: u64) -> Result<u64, DbError> {
    let rows = query(
        "SELECT DISTINCT e.id, e.record FROM trigger_seen t JOIN endpoint e ON e.id = t.endpoint \
         WHERE t.class = 'integrity' AND t.received >= $1 AND t.endpoint <> $2",
    )
    .bind(sql(since))
    .bind(but.as_str())
    .fetch_all(conn)
    .await?;
    let mut failing = 0;
    for row in &rows {
        let record: Record = super::json(row, "record")?;
        failing += u64::from(record.group == group);
    }
    Ok(failing)
}

/// How many triggers a source sent since `since` (milliseconds since 1970). Our own notes that it confirmed one are not counted; what a
/// source sends is, whatever key it gives.
pub async fn rate(conn: &mut Conn, source: &str, since: u64) -> Result<u64, DbError> {
    let row = query(
        "SELECT COUNT(*) AS n FROM trigger_seen WHERE source = $1 AND received >= $2 \
         AND NOT (confirmed = 1 AND delivery LIKE '%' || $3)",
    )
    .bind(source)
    .bind(sql(since))
    .bind(CONFIRMED)
    .fetch_one(conn)
    .await?;
    num(&row, "n")
}
