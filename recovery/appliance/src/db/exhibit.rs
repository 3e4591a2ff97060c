//! Table `exhibit`: what recoveries keep of old systems. The bytes lie beside the database ([`crate::exhibits`]).

use recovery_protocol::{
    EndpointId, JobId,
    exhibit::{ExhibitState, FilePattern, Keep, Kept},
};
use serde::{Deserialize, Serialize};

use super::{Conn, DbError, Row, id, json, num, query, sql, text};

/// One exhibit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exhibit {
    /// The recovery that keeps it.
    pub job: JobId,
    /// Of which endpoint.
    pub endpoint: EndpointId,
    /// How it stands.
    pub state: ExhibitState,
    /// When the endpoint was told, milliseconds since 1970.
    pub ordered: u64,
    /// The rest.
    pub record: Record,
}

/// What an exhibit's row holds beside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// How much was ordered.
    pub keep: Keep,
    /// Who ordered the recovery, as in evidence.
    pub ordered_by: String,
    /// Its limit in seconds.
    pub seconds: u32,
    /// Its limit in bytes.
    pub bytes_most: u64,
    /// Which files were to be kept.
    pub patterns: Vec<FilePattern>,
    /// When it was closed, milliseconds since 1970.
    pub kept_at: Option<u64>,
    /// What lies here.
    pub kept: Option<Kept>,
    /// It lies sealed.
    pub sealed: bool,
    /// Who deleted it, and when.
    pub deleted: Option<(String, u64)>,
}

impl Exhibit {
    /// What lies here is this, and no more comes.
    pub fn close(&mut self, kept: Kept, at: u64) {
        self.state = if kept.bytes > 0 { ExhibitState::Kept } else { ExhibitState::Nothing };
        (self.record.kept, self.record.kept_at) = (Some(kept), Some(at));
    }
}

fn of(row: &Row) -> Result<Exhibit, DbError> {
    let state: String = row.try_get("state")?;
    let states = [ExhibitState::Ordered, ExhibitState::Kept, ExhibitState::Nothing, ExhibitState::Deleted];
    Ok(Exhibit {
        job: id(row, "job")?,
        endpoint: id(row, "endpoint")?,
        state: states.into_iter().find(|known| known.as_str() == state).unwrap_or(ExhibitState::Nothing),
        ordered: num(row, "ordered")?,
        record: json(row, "record")?,
    })
}

/// The one of a job.
pub async fn get(conn: &mut Conn, job: JobId) -> Result<Option<Exhibit>, DbError> {
    let row =
        query("SELECT * FROM exhibit WHERE job = $1").bind(job.to_string()).fetch_optional(conn).await?;
    row.as_ref().map(of).transpose()
}

/// All of them, the newest first.
pub async fn all(conn: &mut Conn) -> Result<Vec<Exhibit>, DbError> {
    let rows = query("SELECT * FROM exhibit ORDER BY ordered DESC, job").fetch_all(conn).await?;
    rows.iter().map(of).collect()
}

/// Write one.
pub async fn put(conn: &mut Conn, exhibit: &Exhibit) -> Result<(), DbError> {
    query(
        "INSERT INTO exhibit (job, endpoint, state, ordered, record) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (job) DO UPDATE SET state = $3, ordered = $4, record = $5",
    )
    .bind(exhibit.job.to_string())
    .bind(exhibit.endpoint.as_str())
    .bind(exhibit.state.as_str())
    .bind(sql(exhibit.ordered))
    .bind(text("record", &exhibit.record)?)
    .execute(conn)
    .await?;
    Ok(())
}
