//! Table `lease`: addresses lent by DHCP.

use super::{Conn, DbError, num, query, sql};

/// One lease: address, hardware address, end in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The address, as text.
    pub address: String,
    /// Who holds it, as text.
    pub mac: String,
    /// Until when.
    pub until: u64,
}

/// Leases that still run.
pub async fn running(conn: &mut Conn, at: u64) -> Result<Vec<Lease>, DbError> {
    let rows =
        query("SELECT address, mac, until FROM lease WHERE until > $1").bind(sql(at)).fetch_all(conn).await?;
    rows.iter()
        .map(|row| {
            Ok(Lease {
                address: row.try_get("address")?,
                mac: row.try_get("mac")?,
                until: num(row, "until")?,
            })
        })
        .collect()
}

/// Write a lease; leases that ended are forgotten.
pub async fn put(conn: &mut Conn, lease: &Lease, at: u64) -> Result<(), DbError> {
    query("DELETE FROM lease WHERE until <= $1 OR (mac = $2 AND address <> $3)")
        .bind(sql(at))
        .bind(&lease.mac)
        .bind(&lease.address)
        .execute(&mut *conn)
        .await?;
    query("INSERT INTO lease (address, mac, until) VALUES ($1, $2, $3) ON CONFLICT (address) DO UPDATE SET mac = $2, until = $3")
        .bind(&lease.address)
        .bind(&lease.mac)
        .bind(sql(lease.until))
        .execute(conn)
        .await?;
    Ok(())
}

/// Forget a lease.
pub async fn forget(conn: &mut Conn, address: &str) -> Result<(), DbError> {
    query("DELETE FROM lease WHERE address = $1").bind(address).execute(conn).await?;
    Ok(())
}
