//! Tables `evidence` and `evidence_checkpoint`: append and read, nothing else.

use recovery_protocol::JobId;
use sqlx::Row as _;

use super::{Conn, DbError, num, sql};

/// The last entry: its number and its chain hash (lower-case hex).
pub async fn last(conn: &mut Conn) -> Result<Option<(u64, String)>, DbError> {
    let row =
        sqlx::query("SELECT seq, hash FROM evidence ORDER BY seq DESC LIMIT 1").fetch_optional(conn).await?;
    row.map(|row| Ok((num(&row, "seq")?, row.try_get("hash")?))).transpose()
}

/// Append an entry: its exact text and its chain hash (lower-case hex).
pub async fn append(
    conn: &mut Conn,
    seq: u64,
    job: Option<JobId>,
    text: &str,
    hash: &str,
) -> Result<(), DbError> {
    sqlx::query("INSERT INTO evidence (seq, job, text, hash) VALUES ($1, $2, $3, $4)")
        .bind(sql(seq))
        .bind(job.map(|job| job.to_string()))
        .bind(text)
        .bind(hash)
        .execute(conn)
        .await?;
    Ok(())
}

/// Write a checkpoint; one that exists stays.
pub async fn checkpoint(conn: &mut Conn, seq: u64, hash: &str, signature: &str) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO evidence_checkpoint (seq, hash, signature) VALUES ($1, $2, $3) ON CONFLICT (seq) DO NOTHING",
    )
    .bind(sql(seq))
    .bind(hash)
    .bind(signature)
    .execute(conn)
    .await?;
    Ok(())
}

/// Entries (seq, text, hash), oldest first; of one job or all.
pub async fn entries(conn: &mut Conn, job: Option<JobId>) -> Result<Vec<(u64, String, String)>, DbError> {
    let rows = sqlx::query("SELECT seq, text, hash FROM evidence WHERE $1 IS NULL OR job = $1 ORDER BY seq")
        .bind(job.map(|job| job.to_string()))
        .fetch_all(conn)
        .await?;
    rows.iter().map(|row| Ok((num(row, "seq")?, row.try_get("text")?, row.try_get("hash")?))).collect()
}

/// Checkpoints (seq, hash, signature), oldest first.
pub async fn checkpoints(conn: &mut Conn) -> Result<Vec<(u64, String, String)>, DbError> {
    let rows = sqlx::query("SELECT seq, hash, signature FROM evidence_checkpoint ORDER BY seq")
        .fetch_all(conn)
        .await?;
    rows.iter().map(|row| Ok((num(row, "seq")?, row.try_get("hash")?, row.try_get("signature")?))).collect()
}
