//! Table `review`: where somebody broke the glass, and what another person says of it.

use recovery_protocol::{EndpointId, JobId};

use super::{Conn, DbError, id, num, num_opt, query, sql};

/// One recovery that began without its approval. Times in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// The job.
    pub job: JobId,
    /// Its endpoint.
    pub endpoint: EndpointId,
    /// Who broke the glass, as in evidence.
    pub broke: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: u64,
    /// Until when another person looks at it.
    pub due: u64,
    /// What they said.
    pub said: Option<Said>,
}

/// What the other person says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Who, as in evidence.
    pub by: String,
    /// When.
    pub at: u64,
    /// It was right to.
    pub justified: bool,
    /// In their words.
    pub note: String,
}

/// Those that nobody has looked at, the oldest first; `due`: of those, the ones that are late at this time and of which nobody was told.
pub async fn open(conn: &mut Conn, late_at: Option<u64>) -> Result<Vec<Review>, DbError> {
    let rows = match late_at {
        None => query("SELECT * FROM review WHERE reviewed IS NULL ORDER BY at, job").fetch_all(conn).await?,
        Some(at) => {
            query("SELECT * FROM review WHERE reviewed IS NULL AND told = 0 AND due <= $1 ORDER BY at, job")
                .bind(sql(at))
                .fetch_all(conn)
                .await?
        }
    };
    rows.iter()
        .map(|row| {
            Ok(Review {
                job: id(row, "job")?,
                endpoint: id(row, "endpoint")?,
                broke: row.try_get("broke")?,
                reason: row.try_get("reason")?,
                at: num(row, "at")?,
                due: num(row, "due")?,
                said: match (row.try_get("reviewed_by")?, num_opt(row, "reviewed")?) {
                    (Some(by), Some(at)) => Some(Said {
                        by,
                        at,
                        justified: num_opt(row, "justified")?.unwrap_or(0) != 0,
                        note: row.try_get::<Option<String>>("note")?.unwrap_or_default(),
                    }),
                    _ => None,
                },
            })
        })
        .collect()
}

/// Somebody broke the glass now.
pub async fn begin(conn: &mut Conn, review: &Review) -> Result<(), DbError> {
    query("INSERT INTO review (job, endpoint, broke, reason, at, due) VALUES ($1, $2, $3, $4, $5, $6)")
        .bind(review.job.to_string())
        .bind(review.endpoint.as_str())
        .bind(&review.broke)
        .bind(&review.reason)
        .bind(sql(review.at))
        .bind(sql(review.due))
        .execute(conn)
        .await?;
    Ok(())
}

/// Another person has looked at it.
pub async fn end(conn: &mut Conn, job: JobId, said: &Said) -> Result<(), DbError> {
    query("UPDATE review SET reviewed = $2, reviewed_by = $3, justified = $4, note = $5 WHERE job = $1")
        .bind(job.to_string())
        .bind(sql(said.at))
        .bind(&said.by)
        .bind(i64::from(said.justified))
        .bind(&said.note)
        .execute(conn)
        .await?;
    Ok(())
}

/// It was told that nobody looked at it in time.
pub async fn told(conn: &mut Conn, job: JobId) -> Result<(), DbError> {
    query("UPDATE review SET told = 1 WHERE job = $1").bind(job.to_string()).execute(conn).await?;
    Ok(())
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// As if it had never begun.
    pub async fn forget(conn: &mut Conn, job: JobId) {
        query("DELETE FROM review WHERE job = $1").bind(job.to_string()).execute(conn).await.unwrap();
    }
}
