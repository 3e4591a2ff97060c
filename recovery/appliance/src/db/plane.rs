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
    /// By which name that control plane knows the endpoint, whatever its record says by now.
    pub known_as: Option<String>,
    /// Since when it is queued, milliseconds since 1970.
    pub since: u64,
}

impl Queued {
    /// Whether it is of the same control plane and the same endpoint.
    #[must_use]
    pub fn beside(&self, other: &Self) -> bool {
        (&self.plane, &self.endpoint) == (&other.plane, &other.endpoint)
    }
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
        known_as: row.try_get("known_as")?,
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

/// What is queued of older recoveries is not told any more, but that a record goes which has another name: no later step takes it away.
async fn forget_older(conn: &mut Conn, q: &Queued) -> Result<(), DbError> {
    query(
        "DELETE FROM plane_queue WHERE plane = $1 AND endpoint = $2 AND generation < $3 \
         AND (step <> 'reset' OR known_as IS NULL OR known_as = $4)",
    )
    .bind(&q.plane)
    .bind(q.endpoint.as_str())
    .bind(sql(q.generation))
    .bind(&q.known_as)
    .execute(conn)
    .await?;
    Ok(())
}

/// Queue a step, where it is not yet; says whether it was not. What is queued of older recoveries goes.
pub async fn queue(conn: &mut Conn, q: &Queued) -> Result<bool, DbError> {
    forget_older(conn, q).await?;
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
        "INSERT INTO plane_queue (plane, endpoint, generation, step, place, registration, since, known_as) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(&q.plane)
    .bind(q.endpoint.as_str())
    .bind(sql(q.generation))
    .bind(q.step.as_str())
    .bind(sql(q.step as u64))
    .bind(q.registration.as_ref().map(|r| text("plane_queue", r)).transpose()?)
    .bind(sql(q.since))
    .bind(&q.known_as)
    .execute(conn)
    .await?;
    Ok(true)
}

/// A step was taken: it and what is older goes.
pub async fn unqueue(conn: &mut Conn, q: &Queued) -> Result<(), DbError> {
    forget_older(conn, q).await?;
    query("DELETE FROM plane_queue WHERE plane = $1 AND endpoint = $2 AND generation = $3 AND step = $4")
        .bind(&q.plane)
        .bind(q.endpoint.as_str())
        .bind(sql(q.generation))
        .bind(q.step.as_str())
        .execute(conn)
        .await?;
    Ok(())
}

/// One endpoint, and its place in the order of changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Which.
    pub endpoint: EndpointId,
    /// Greater than that of every change before it.
    pub sequence: u64,
    /// As it is now.
    pub known: Enrolled,
}

/// All endpoints that changed after this place in the order of changes; the last one changed last.
pub async fn changed_since(conn: &mut Conn, since: u64) -> Result<Vec<Changed>, DbError> {
    let rows = query("SELECT * FROM plane WHERE sequence > $1 ORDER BY sequence, endpoint")
        .bind(sql(since))
        .fetch_all(conn)
        .await?;
    let one = |row: &Row| {
        Ok(Changed { endpoint: id(row, "endpoint")?, sequence: num(row, "sequence")?, known: enrolled(row)? })
    };
    rows.iter().map(one).collect()
}

/// The place of a change that is written now. One transaction writes at a time, so none becomes visible before an earlier one. It is never
/// less than the time: whoever asks with a time as before misses nothing, nor does anybody after a backup was restored.
async fn next(conn: &mut Conn, at: u64) -> Result<u64, DbError> {
    let row = query("SELECT COALESCE(MAX(sequence), 0) AS last FROM plane").fetch_one(conn).await?;
    Ok(at.max(num(&row, "last")? + 1))
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
    let sequence = next(conn, e.changed).await?;
    query(
        "INSERT INTO plane (endpoint, generation, trusted, record, changed, sequence) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (endpoint) DO UPDATE SET generation = $2, trusted = $3, record = $4, changed = $5, sequence = $6 \
         WHERE plane.generation <= $2",
    )
    .bind(endpoint.as_str())
    .bind(sql(e.generation))
    .bind(i64::from(e.trusted))
    .bind(text("plane", &e.record)?)
    .bind(sql(e.changed))
    .bind(sql(sequence))
    .execute(conn)
    .await?;
    Ok(())
}

/// An endpoint is removed: whoever had its name is not trusted, and nothing of its generation changes that.
pub async fn retire(conn: &mut Conn, endpoint: &EndpointId, at: u64) -> Result<(), DbError> {
    let sequence = next(conn, at).await?;
    query(
        "UPDATE plane SET trusted = 0, generation = generation + 1, changed = $2, sequence = $3 WHERE endpoint = $1",
    )
    .bind(endpoint.as_str())
    .bind(sql(at))
    .bind(sql(sequence))
    .execute(conn)
    .await?;
    Ok(())
}
