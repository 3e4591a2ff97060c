//! Table `drill_code`: what a person must match before hardware is written in a drill.

use recovery_protocol::JobId;

use super::{Conn, DbError, num, num_opt, query, sql};

/// The code of a job. Times in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrillCode {
    /// Four digits.
    pub code: String,
    /// Wrong tries.
    pub wrong: u64,
    /// When a person matched it.
    pub matched: Option<u64>,
}

/// The code of a job.
pub async fn of(conn: &mut Conn, job: JobId) -> Result<Option<DrillCode>, DbError> {
    let asked = query("SELECT * FROM drill_code WHERE job = $1").bind(job.to_string());
    let Some(row) = asked.fetch_optional(conn).await? else { return Ok(None) };
    let (wrong, matched) = (num(&row, "wrong")?, num_opt(&row, "matched")?);
    Ok(Some(DrillCode { code: row.try_get("code")?, wrong, matched }))
}

/// A job's endpoint shows a code from now on.
pub async fn show(conn: &mut Conn, job: JobId, code: &str, at: u64) -> Result<(), DbError> {
    query("INSERT INTO drill_code (job, code, shown, wrong) VALUES ($1, $2, $3, 0)")
        .bind(job.to_string())
        .bind(code)
        .bind(sql(at))
        .execute(conn)
        .await?;
    Ok(())
}

/// Somebody gave another one.
pub async fn wrong(conn: &mut Conn, job: JobId) -> Result<(), DbError> {
    query("UPDATE drill_code SET wrong = wrong + 1 WHERE job = $1")
        .bind(job.to_string())
        .execute(conn)
        .await?;
    Ok(())
}

/// Somebody matched it.
pub async fn matched(conn: &mut Conn, job: JobId, by: &str, at: u64) -> Result<(), DbError> {
    query("UPDATE drill_code SET matched = $2, matched_by = $3 WHERE job = $1")
        .bind(job.to_string())
        .bind(sql(at))
        .bind(by)
        .execute(conn)
        .await?;
    Ok(())
}
