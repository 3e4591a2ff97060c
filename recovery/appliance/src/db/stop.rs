//! Table `stop`: STOP for the whole site.

use super::{Conn, DbError, num, num_opt, query, sql};

/// A STOP that stands. Times in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// When it was pressed.
    pub pressed: u64,
    /// By whom, as in evidence.
    pub pressed_by: String,
    /// Why.
    pub reason: String,
    /// Jobs that it held.
    pub jobs_held: u64,
    /// The first of two releases.
    pub first: Option<Release>,
}

/// The first of two releases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// By whom, as in evidence.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: u64,
}

/// The one that stands.
pub async fn standing(conn: &mut Conn) -> Result<Option<Stop>, DbError> {
    let row = query("SELECT * FROM stop WHERE released IS NULL").fetch_optional(conn).await?;
    let Some(row) = row else { return Ok(None) };
    let first = match (row.try_get("first_by")?, num_opt(&row, "first_at")?) {
        (Some(by), Some(at)) => Some(Release {
            by,
            reason: row.try_get::<Option<String>>("first_reason")?.unwrap_or_default(),
            at,
        }),
        _ => None,
    };
    Ok(Some(Stop {
        pressed: num(&row, "pressed")?,
        pressed_by: row.try_get("pressed_by")?,
        reason: row.try_get("reason")?,
        jobs_held: num(&row, "jobs_held")?,
        first,
    }))
}

/// Write one that was pressed now; none stands.
pub async fn press(conn: &mut Conn, stop: &Stop) -> Result<(), DbError> {
    query("INSERT INTO stop (pressed, pressed_by, reason, jobs_held) VALUES ($1, $2, $3, $4)")
        .bind(sql(stop.pressed))
        .bind(&stop.pressed_by)
        .bind(&stop.reason)
        .bind(sql(stop.jobs_held))
        .execute(conn)
        .await?;
    Ok(())
}

/// Write the first release of the one that stands, or that there is none any more.
pub async fn first(conn: &mut Conn, release: Option<&Release>) -> Result<(), DbError> {
    query("UPDATE stop SET first_by = $1, first_reason = $2, first_at = $3 WHERE released IS NULL")
        .bind(release.map(|release| &release.by))
        .bind(release.map(|release| &release.reason))
        .bind(release.map(|release| sql(release.at)))
        .execute(conn)
        .await?;
    Ok(())
}

/// The one that stands is over.
pub async fn release(conn: &mut Conn, at: u64) -> Result<(), DbError> {
    query("UPDATE stop SET released = $1 WHERE released IS NULL").bind(sql(at)).execute(conn).await?;
    Ok(())
}
