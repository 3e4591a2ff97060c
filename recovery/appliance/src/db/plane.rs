//! Table `plane`: what the embedded control plane knows of each endpoint.

use recovery_protocol::EndpointId;

use super::{Conn, DbError, num, query, sql, text};

/// One endpoint as the embedded control plane knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolled {
    /// Grows with each recovery: an older registration never replaces a newer one.
    pub generation: u64,
    /// It may work: its quarantine is lifted.
    pub trusted: bool,
    /// What it registered with.
    pub record: serde_json::Value,
}

/// One endpoint.
pub async fn get(conn: &mut Conn, endpoint: &EndpointId) -> Result<Option<Enrolled>, DbError> {
    let row = query("SELECT generation, trusted, record FROM plane WHERE endpoint = $1")
        .bind(endpoint.as_str())
        .fetch_optional(conn)
        .await?;
    row.map(|row| {
        Ok(Enrolled {
            generation: num(&row, "generation")?,
            trusted: row.try_get::<i64>("trusted")? != 0,
            record: super::json(&row, "record")?,
        })
    })
    .transpose()
}

/// Write one endpoint; an older generation changes nothing.
pub async fn put(conn: &mut Conn, endpoint: &EndpointId, e: &Enrolled) -> Result<(), DbError> {
    query(
        "INSERT INTO plane (endpoint, generation, trusted, record) VALUES ($1, $2, $3, $4) ON CONFLICT (endpoint) \
         DO UPDATE SET generation = $2, trusted = $3, record = $4 WHERE plane.generation <= $2",
    )
    .bind(endpoint.as_str())
    .bind(sql(e.generation))
    .bind(i64::from(e.trusted))
    .bind(text("plane", &e.record)?)
    .execute(conn)
    .await?;
    Ok(())
}

/// An endpoint is removed: whoever had its name is not trusted, and nothing of its generation changes that.
pub async fn retire(conn: &mut Conn, endpoint: &EndpointId) -> Result<(), DbError> {
    query("UPDATE plane SET trusted = 0, generation = generation + 1 WHERE endpoint = $1")
        .bind(endpoint.as_str())
        .execute(conn)
        .await?;
    Ok(())
}
