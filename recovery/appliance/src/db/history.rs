//! What was reported and recovered before, to be told again in another database: tables `trigger_seen` and `job`.
//!
//! It must never: be used on the database of the appliance but to read.

use recovery_protocol::{EndpointId, JobId};

use super::{Conn, DbError, Row, id, num, num_opt, query, sql};

/// A report as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reported {
    /// Who.
    pub source: String,
    /// The delivery's key.
    pub delivery: String,
    /// Whom it named.
    pub endpoint: EndpointId,
    /// How its source calls it.
    pub named: String,
    /// As in the database.
    pub class: String,
    /// Why, in the source's words.
    pub reason: String,
    /// Its source had confirmed it.
    pub confirmed: bool,
    /// When, milliseconds since 1970.
    pub received: u64,
    /// When the source had been asked about it.
    pub settled: Option<u64>,
}

/// The newest so many reports since then (milliseconds since 1970), oldest first, and how many are left out.
pub async fn reported(conn: &mut Conn, since: u64, most: u64) -> Result<(Vec<Reported>, u64), DbError> {
    let all = query("SELECT COUNT(*) AS n FROM trigger_seen WHERE received >= $1");
    let all = num(&all.bind(sql(since)).fetch_one(conn).await?, "n")?;
    let rows = query(
        "SELECT source, delivery, endpoint, named, class, reason, confirmed, received, settled FROM trigger_seen \
         WHERE received >= $1 ORDER BY received DESC, delivery DESC LIMIT $2",
    )
    .bind(sql(since))
    .bind(sql(most))
    .fetch_all(conn)
    .await?;
    let of = |row: &Row| {
        Ok(Reported {
            source: row.try_get("source")?,
            delivery: row.try_get("delivery")?,
            endpoint: id(row, "endpoint")?,
            named: row.try_get("named")?,
            class: row.try_get("class")?,
            reason: row.try_get("reason")?,
            confirmed: row.try_get::<i64>("confirmed")? != 0,
            received: num(row, "received")?,
            settled: num_opt(row, "settled")?,
        })
    };
    let newest = rows.iter().rev().map(of).collect::<Result<Vec<_>, DbError>>()?;
    let left_out = all.saturating_sub(newest.len() as u64);
    Ok((newest, left_out))
}

/// A job as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// Its endpoint.
    pub endpoint: EndpointId,
    /// What asked for it.
    pub trigger: String,
    /// How it ended; `working`, `held`: it has not.
    pub state: String,
    /// When it was asked for, milliseconds since 1970.
    pub asked: u64,
    /// When it was over.
    pub ended: Option<u64>,
}

/// Jobs asked for since then (milliseconds since 1970), oldest first.
pub async fn jobs(conn: &mut Conn, since: u64) -> Result<Vec<Past>, DbError> {
    let rows =
        query("SELECT endpoint, trigger, state, asked, ended FROM job WHERE asked >= $1 ORDER BY asked")
            .bind(sql(since))
            .fetch_all(conn)
            .await?;
    let of = |row: &Row| {
        Ok(Past {
            endpoint: id(row, "endpoint")?,
            trigger: row.try_get("trigger")?,
            state: row.try_get("state")?,
            asked: num(row, "asked")?,
            ended: num_opt(row, "ended")?,
        })
    };
    rows.iter().map(of).collect()
}

/// A told job is over.
pub async fn over(conn: &mut Conn, job: JobId, state: &str, at: u64) -> Result<(), DbError> {
    query("UPDATE job SET open = 0, state = $2, ended = $3 WHERE id = $1")
        .bind(job.to_string())
        .bind(state)
        .bind(sql(at))
        .execute(conn)
        .await?;
    Ok(())
}
