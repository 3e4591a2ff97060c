//! Table `boot_chain`: which chain of loaders worked on which endpoint, and which failed since.

use recovery_protocol::EndpointId;

use super::{Conn, DbError, id, json, num_opt, query, sql, text};

/// How one chain did on one endpoint. Times in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainRow {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// The chain's stable name.
    pub chain: String,
    /// When it led to the agent last.
    pub worked: Option<u64>,
    /// When it failed since then, oldest first.
    pub failed: Vec<u64>,
}

/// All rows.
pub async fn all(conn: &mut Conn) -> Result<Vec<ChainRow>, DbError> {
    let rows = query("SELECT * FROM boot_chain").fetch_all(conn).await?;
    rows.iter()
        .map(|row| {
            Ok(ChainRow {
                endpoint: id(row, "endpoint")?,
                chain: row.try_get("chain")?,
                worked: num_opt(row, "worked")?,
                failed: json(row, "failed")?,
            })
        })
        .collect()
}

/// Write one row.
pub async fn put(conn: &mut Conn, row: &ChainRow) -> Result<(), DbError> {
    query(
        "INSERT INTO boot_chain (endpoint, chain, worked, failed) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (endpoint, chain) DO UPDATE SET worked = $3, failed = $4",
    )
    .bind(row.endpoint.as_str())
    .bind(&row.chain)
    .bind(row.worked.map(sql))
    .bind(text("failed", &row.failed)?)
    .execute(conn)
    .await?;
    Ok(())
}

/// Forget what is known of an endpoint.
pub async fn forget(conn: &mut Conn, endpoint: &EndpointId) -> Result<(), DbError> {
    query("DELETE FROM boot_chain WHERE endpoint = $1").bind(endpoint.as_str()).execute(conn).await?;
    Ok(())
}
