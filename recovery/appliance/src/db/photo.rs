//! Table `endpoint_photo`: pictures of endpoints, for people.

use std::collections::HashMap;

use recovery_protocol::EndpointId;

use super::{Conn, DbError, Row, num, query, sql};

/// One picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Photo {
    /// `image/jpeg`, `image/png` or `image/webp`.
    pub media_type: String,
    /// SHA-256 of its bytes, lower-case hex.
    pub sha256: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// When it was set, milliseconds since 1970.
    pub set: u64,
    /// By whom, as in evidence.
    pub set_by: String,
}

fn of(row: &Row) -> Result<Photo, DbError> {
    Ok(Photo {
        media_type: row.try_get("media_type")?,
        sha256: row.try_get("sha256")?,
        bytes: row.try_get("photo")?,
        set: num(row, "set_at")?,
        set_by: row.try_get("set_by")?,
    })
}

/// An endpoint's picture.
pub async fn get(conn: &mut Conn, endpoint: &EndpointId) -> Result<Option<Photo>, DbError> {
    let row = query("SELECT * FROM endpoint_photo WHERE endpoint = $1")
        .bind(endpoint.as_str())
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(of).transpose()
}

/// The digest of an endpoint's picture.
pub async fn sha256_of(conn: &mut Conn, endpoint: &EndpointId) -> Result<Option<String>, DbError> {
    let row = query("SELECT sha256 FROM endpoint_photo WHERE endpoint = $1")
        .bind(endpoint.as_str())
        .fetch_optional(conn)
        .await?;
    row.map(|row| row.try_get("sha256")).transpose()
}

/// The digest of every picture, by endpoint.
pub async fn all(conn: &mut Conn) -> Result<HashMap<String, String>, DbError> {
    let rows = query("SELECT endpoint, sha256 FROM endpoint_photo ORDER BY endpoint").fetch_all(conn).await?;
    rows.iter().map(|row| Ok((row.try_get("endpoint")?, row.try_get("sha256")?))).collect()
}

/// Write one; the one before goes.
pub async fn put(conn: &mut Conn, endpoint: &EndpointId, photo: &Photo) -> Result<(), DbError> {
    query(
        "INSERT INTO endpoint_photo (endpoint, media_type, sha256, photo, set_at, set_by) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (endpoint) DO UPDATE SET media_type = $2, sha256 = $3, photo = $4, set_at = $5, set_by = $6",
    )
    .bind(endpoint.as_str())
    .bind(&photo.media_type)
    .bind(&photo.sha256)
    .bind(&photo.bytes)
    .bind(sql(photo.set))
    .bind(&photo.set_by)
    .execute(conn)
    .await?;
    Ok(())
}

/// Forget one.
pub async fn remove(conn: &mut Conn, endpoint: &EndpointId) -> Result<(), DbError> {
    query("DELETE FROM endpoint_photo WHERE endpoint = $1").bind(endpoint.as_str()).execute(conn).await?;
    Ok(())
}
