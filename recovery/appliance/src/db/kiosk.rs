//! Table `kiosk`: tablets at which technicians show a badge. Of a kiosk's secret the hash lies here.

use super::{Conn, DbError, Row, num, num_opt, query, sql};

/// One kiosk. Times in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kiosk {
    /// Its name.
    pub name: String,
    /// SHA-256 of the secret that its browser keeps, lower-case hex.
    pub secret_sha256: String,
    /// When it was paired.
    pub paired: u64,
    /// By whom, as in evidence.
    pub paired_by: String,
    /// When it was taken away.
    pub ended: Option<u64>,
}

fn of(row: &Row) -> Result<Kiosk, DbError> {
    Ok(Kiosk {
        name: row.try_get("name")?,
        secret_sha256: row.try_get("secret_sha256")?,
        paired: num(row, "paired")?,
        paired_by: row.try_get("paired_by")?,
        ended: num_opt(row, "ended")?,
    })
}

/// All of them, by name.
pub async fn all(conn: &mut Conn) -> Result<Vec<Kiosk>, DbError> {
    let rows = query("SELECT * FROM kiosk ORDER BY name").fetch_all(conn).await?;
    rows.iter().map(of).collect()
}

/// Write one; paired again it is another browser's.
pub async fn put(conn: &mut Conn, kiosk: &Kiosk) -> Result<(), DbError> {
    query(
        "INSERT INTO kiosk (name, secret_sha256, paired, paired_by, ended) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (name) DO UPDATE SET secret_sha256 = $2, paired = $3, paired_by = $4, ended = $5",
    )
    .bind(&kiosk.name)
    .bind(&kiosk.secret_sha256)
    .bind(sql(kiosk.paired))
    .bind(&kiosk.paired_by)
    .bind(kiosk.ended.map(sql))
    .execute(conn)
    .await?;
    Ok(())
}
