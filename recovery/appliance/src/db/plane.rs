//! Tables `plane`, what the embedded control plane knows of each endpoint, and `plane_queue`, what others were not told yet.

use recovery_protocol::EndpointId;

use super::{Conn, DbError, Row, id, json_opt, num, query, sql, text};
use crate::control_plane::Registration;

/// One endpoint as the embedded control plane knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolled {
    /// Grows with each recovery: an older registration never replaces a newer one.
    pub generation: u64,
    /// It may work: its quarantine is lifted.
    pub trusted: bool,
    /// What it registered with.
    pub record: serde_json::Value,
    /// When this was set, milliseconds since 1970.
    pub changed: u64,
}

/// What a control plane is told of an endpoint, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Its old record goes.
    Reset,
    /// It is recovered.
    Register,
    /// Its quarantine is lifted.
    Lift,
}

impl Step {
    const ALL: [Self; 3] = [Self::Reset, Self::Register, Self::Lift];

    /// Its name, in the database and in evidence.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::Register => "register",
            Self::Lift => "lift",
        }
    }
}

/// A step that a control plane did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// Which control plane.
    pub plane: String,
    /// Of which endpoint.
    pub endpoint: EndpointId,
    /// Of which recovery.
    pub generation: u64,
    /// Which step.
    pub step: Step,
    /// What it registers with.
    pub registration: Option<Registration>,
    /// Since when it is queued, milliseconds since 1970.
    pub since: u64,
}

fn queued_of(row: &Row) -> Result<Queued, DbError> {
    let place = num(row, "place")?;
    let step =
        usize::try_from(place).ok().and_then(|place| Step::ALL.get(place)).copied().unwrap_or(Step::Lift);
    Ok(Queued {
        plane: row.try_get("plane")?,
        endpoint: id(row, "endpoint")?,
        generation: num(row, "generation")?,
        step,
        registration: json_opt(row, "registration")?,
        since: num(row, "since")?,
    })
}

/// All that is queued, in the order in which it is to be told.
pub async fn queued(conn: &mut Conn) -> Result<Vec<Queued>, DbError> {
    let rows = query("SELECT * FROM plane_queue ORDER BY plane, endpoint, generation, place")
        .fetch_all(conn)
        .await?;
    rows.iter().map(queued_of).collect()
}

/// Queue a step, where it is not yet; says whether it was not. What is queued of older recoveries is not told any more.
pub async fn queue(conn: &mut Conn, q: &Queued) -> Result<bool, DbError> {
    query("DELETE FROM plane_queue WHERE plane = $1 AND endpoint = $2 AND generation < $3")
        .bind(&q.plane)
        .bind(q.endpoint.as_str())
        .bind(sql(q.generation))
        .execute(&mut *conn)
        .await?;
    let known = query(
        "SELECT since FROM plane_queue WHERE plane = $1 AND endpoint = $2 AND generation = $3 AND step = $4",
    )
    .bind(&q.plane)
    .bind(q.endpoint.as_str())
    .bind(sql(q.generation))
    .bind(q.step.as_str())
    .fetch_optional(&mut *conn)
    .await?;
    if known.is_some() {
        return Ok(false);
    }
    query(
        "INSERT INTO plane_queue (plane, endpoint, generation, step, place, registration, since) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(&q.plane)
    .bind(q.endpoint.as_str())
    .bind(sql(q.generation))
    .bind(q.step.as_str())
    .bind(sql(q.step as u64))
    .bind(q.registration.as_ref().map(|r| text("plane_queue", r)).transpose()?)
    .bind(sql(q.since))
    .execute(conn)
    .await?;
    Ok(true)
}

/// A step was taken: it and what is older goes.
pub async fn unqueue(conn: &mut Conn, q: &Queued) -> Result<(), DbError> {
    query(
        "DELETE FROM plane_queue WHERE plane = $1 AND endpoint = $2 \
         AND (generation < $3 OR (generation = $3 AND step = $4))",
    )
    .bind(&q.plane)
    .bind(q.endpoint.as_str())
    .bind(sql(q.generation))
    .bind(q.step.as_str())
    .execute(conn)
    .await?;
    Ok(())
}

/// All endpoints that changed after this time (milliseconds since 1970), by name.
pub async fn changed_since(conn: &mut Conn, since: u64) -> Result<Vec<(EndpointId, Enrolled)>, DbError> {
    let rows = query("SELECT * FROM plane WHERE changed > $1 ORDER BY endpoint")
        .bind(sql(since))
        .fetch_all(conn)
        .await?;
    rows.iter().map(|row| Ok((id(row, "endpoint")?, enrolled(row)?))).collect()
}

fn enrolled(row: &Row) -> Result<Enrolled, DbError> {
    Ok(Enrolled {
        generation: num(row, "generation")?,
        trusted: row.try_get::<i64>("trusted")? != 0,
        record: super::json(row, "record")?,
        changed: num(row, "changed")?,
    })
}

/// One endpoint.
pub async fn get(conn: &mut Conn, endpoint: &EndpointId) -> Result<Option<Enrolled>, DbError> {
    let row =
        query("SELECT * FROM plane WHERE endpoint = $1").bind(endpoint.as_str()).fetch_optional(conn).await?;
    row.as_ref().map(enrolled).transpose()
}

/// Write one endpoint; an older generation changes nothing.
pub async fn put(conn: &mut Conn, endpoint: &EndpointId, e: &Enrolled) -> Result<(), DbError> {
    query(
        "INSERT INTO plane (endpoint, generation, trusted, record, changed) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (endpoint) \
         DO UPDATE SET generation = $2, trusted = $3, record = $4, changed = $5 WHERE plane.generation <= $2",
    )
    .bind(endpoint.as_str())
    .bind(sql(e.generation))
    .bind(i64::from(e.trusted))
    .bind(text("plane", &e.record)?)
    .bind(sql(e.changed))
    .execute(conn)
    .await?;
    Ok(())
}

/// An endpoint is removed: whoever had its name is not trusted, and nothing of its generation changes that.
pub async fn retire(conn: &mut Conn, endpoint: &EndpointId, at: u64) -> Result<(), DbError> {
    query("UPDATE plane SET trusted = 0, generation = generation + 1, changed = $2 WHERE endpoint = $1")
        .bind(endpoint.as_str())
        .bind(sql(at))
        .execute(conn)
        .await?;
    Ok(())
}
