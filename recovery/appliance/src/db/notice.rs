//! Tables `notice`, `notice_channel` and `mark`: what waits to be told, how it stands with each channel, when something was done last.

use super::{Conn, DbError, Row, num, num_opt, query, sql};

/// Something that a channel is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The entry of the evidence log.
    pub seq: u64,
    /// Which event, in its word.
    pub event: String,
    /// When it happened, milliseconds since 1970.
    pub at: u64,
    /// How often it was tried.
    pub tries: u64,
}

/// How it stands with a channel. Times in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// What happened before is not told.
    pub since: u64,
    /// It took something last.
    pub delivered: Option<u64>,
    /// It failed last.
    pub failed: Option<u64>,
    /// Why; empty: it took what came after.
    pub failure: String,
    /// Messages that it took.
    pub sent: u64,
    /// Tries that failed.
    pub failures: u64,
}

/// A channel that the configuration names is on record from now on; one that is stays as it is.
pub async fn know(conn: &mut Conn, channel: &str, now: u64) -> Result<(), DbError> {
    query(
        "INSERT INTO notice_channel (channel, since, failure, sent, failures) VALUES ($1, $2, '', 0, 0) \
         ON CONFLICT (channel) DO NOTHING",
    )
    .bind(channel)
    .bind(sql(now))
    .execute(conn)
    .await?;
    Ok(())
}

/// How it stands with a channel.
pub async fn standing(conn: &mut Conn, channel: &str) -> Result<Standing, DbError> {
    let row =
        query("SELECT * FROM notice_channel WHERE channel = $1").bind(channel).fetch_optional(conn).await?;
    let Some(row) = row else { return Ok(Standing::default()) };
    Ok(Standing {
        since: num(&row, "since")?,
        delivered: num_opt(&row, "delivered")?,
        failed: num_opt(&row, "failed")?,
        failure: row.try_get("failure")?,
        sent: num(&row, "sent")?,
        failures: num(&row, "failures")?,
    })
}

/// A channel took so many messages.
pub async fn took(conn: &mut Conn, channel: &str, messages: u64, now: u64) -> Result<(), DbError> {
    query("UPDATE notice_channel SET delivered = $2, failure = '', sent = sent + $3 WHERE channel = $1")
        .bind(channel)
        .bind(sql(now))
        .bind(sql(messages))
        .execute(conn)
        .await?;
    Ok(())
}

/// A channel took nothing.
pub async fn failed(conn: &mut Conn, channel: &str, why: &str, now: u64) -> Result<(), DbError> {
    query("UPDATE notice_channel SET failed = $2, failure = $3, failures = failures + 1 WHERE channel = $1")
        .bind(channel)
        .bind(sql(now))
        .bind(why)
        .execute(conn)
        .await?;
    Ok(())
}

/// A channel is to be told of this, not before `due`; told twice it stays as it is.
pub async fn queue(conn: &mut Conn, channel: &str, notice: &Notice, due: u64) -> Result<(), DbError> {
    query(
        "INSERT INTO notice (channel, seq, event, at, due, tries) VALUES ($1, $2, $3, $4, $5, 0) \
         ON CONFLICT (channel, seq) DO NOTHING",
    )
    .bind(channel)
    .bind(sql(notice.seq))
    .bind(&notice.event)
    .bind(sql(notice.at))
    .bind(sql(due))
    .execute(conn)
    .await?;
    Ok(())
}

/// What is due for a channel, the oldest first, at most `most`.
pub async fn due(conn: &mut Conn, channel: &str, now: u64, most: u64) -> Result<Vec<Notice>, DbError> {
    let rows = query(
        "SELECT seq, event, at, tries FROM notice WHERE channel = $1 AND due <= $2 ORDER BY seq LIMIT $3",
    )
    .bind(channel)
    .bind(sql(now))
    .bind(sql(most))
    .fetch_all(conn)
    .await?;
    let read = |row: &Row| {
        let (seq, at, tries) = (num(row, "seq")?, num(row, "at")?, num(row, "tries")?);
        Ok(Notice { seq, event: row.try_get("event")?, at, tries })
    };
    rows.iter().map(read).collect()
}

/// When the next one is due; None: nothing waits.
pub async fn next_due(conn: &mut Conn, channel: &str) -> Result<Option<u64>, DbError> {
    let row =
        query("SELECT MIN(due) AS due FROM notice WHERE channel = $1").bind(channel).fetch_one(conn).await?;
    num_opt(&row, "due")
}

/// It is to be tried again, not before `due`.
pub async fn postpone(conn: &mut Conn, channel: &str, seq: u64, due: u64) -> Result<(), DbError> {
    query("UPDATE notice SET tries = tries + 1, due = $3 WHERE channel = $1 AND seq = $2")
        .bind(channel)
        .bind(sql(seq))
        .bind(sql(due))
        .execute(conn)
        .await?;
    Ok(())
}

/// It waits no more.
pub async fn done(conn: &mut Conn, channel: &str, seq: u64) -> Result<(), DbError> {
    query("DELETE FROM notice WHERE channel = $1 AND seq = $2")
        .bind(channel)
        .bind(sql(seq))
        .execute(conn)
        .await?;
    Ok(())
}

/// What waits for a channel: how many, and when what the oldest tells of happened.
pub async fn waiting(conn: &mut Conn, channel: &str) -> Result<(u64, Option<u64>), DbError> {
    let row = query("SELECT COUNT(*) AS n, MIN(at) AS oldest FROM notice WHERE channel = $1")
        .bind(channel)
        .fetch_one(conn)
        .await?;
    Ok((num(&row, "n")?, num_opt(&row, "oldest")?))
}

/// It happened at this time; an earlier one changes nothing.
pub async fn mark(conn: &mut Conn, what: &str, at: u64) -> Result<(), DbError> {
    query(
        "INSERT INTO mark (what, at) VALUES ($1, $2) ON CONFLICT (what) DO UPDATE SET at = excluded.at \
         WHERE excluded.at > mark.at",
    )
    .bind(what)
    .bind(sql(at))
    .execute(conn)
    .await?;
    Ok(())
}

/// When it happened last; None: never, as far as the log goes back.
pub async fn marked(conn: &mut Conn, what: &str) -> Result<Option<u64>, DbError> {
    let row = query("SELECT at FROM mark WHERE what = $1").bind(what).fetch_optional(conn).await?;
    row.map(|row| num(&row, "at")).transpose()
}
