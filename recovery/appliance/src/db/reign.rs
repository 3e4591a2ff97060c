//! Table `reign`: which appliance writes.
//!
//! ```text
//! nobody ─► claim ─► term 1, ours ─► every write transaction asks: still ours? ─► yes ─► it writes
//!                        │                                                   └─► no ─► refused, and the appliance stops
//!                        └─ another appliance: take over, by a person's order ─► term 2, theirs
//! ```
//!
//! The question stands behind the lock that makes one writer, in the same transaction: after a takeover was committed no
//! write of the one before it can be, however long its network was cut or its machine slept.
//!
//! It must never: let a term go down.

use super::{Conn, DbError, num, query, sql};

/// Who writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reign {
    /// Grows with each takeover.
    pub term: u64,
    /// The appliance's own id; empty: nobody yet.
    pub holder: String,
    /// Since when, milliseconds since 1970.
    pub since: u64,
}

/// Who writes now.
pub async fn now(conn: &mut Conn) -> Result<Reign, DbError> {
    let row = query("SELECT term, holder, since FROM reign WHERE one = 1").fetch_one(conn).await?;
    Ok(Reign { term: num(&row, "term")?, holder: row.try_get("holder")?, since: num(&row, "since")? })
}

/// The schema that brought the table.
pub const SINCE_SCHEMA: i64 = 20;

/// Nobody writes, or this one does.
///
/// # Errors
/// [`DbError::Held`] where another one does.
pub async fn ours(conn: &mut Conn, own: &str) -> Result<(), DbError> {
    let now = now(conn).await?;
    if now.holder.is_empty() || now.holder == own {
        return Ok(());
    }
    Err(DbError::Held { holder: now.holder, term: now.term })
}

/// From here on it is this one, by the next number, which is returned.
pub async fn turn(conn: &mut Conn, holder: &str, at: u64) -> Result<u64, DbError> {
    let text = "UPDATE reign SET term = term + 1, holder = $1, since = $2 WHERE one = 1 RETURNING term";
    num(&query(text).bind(holder).bind(sql(at)).fetch_one(conn).await?, "term")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{Db, sql::raw};

    /// Two databases of one origin count alike: the number says less than whose it is.
    #[tokio::test]
    async fn the_same_number_of_another_one_is_not_ours() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(&dir.path().join("db")).await.unwrap();
        db.claim("first", 1).await.unwrap();
        let mut tx = db.begin().await.unwrap();
        raw("UPDATE reign SET holder = 'second' WHERE one = 1", &mut tx).await.unwrap();
        tx.commit().await.unwrap();
        let refused = db.begin().await.map(drop).unwrap_err();
        assert!(matches!(refused, DbError::Fenced { ours: 1, now: 1 }), "{refused}");
        assert!(db.fenced().is_cancelled());
        let other = Db::open(&dir.path().join("db")).await.unwrap();
        let mut conn = other.read().await.unwrap();
        assert!(matches!(ours(&mut conn, "first").await, Err(DbError::Held { term: 1, .. })));
        ours(&mut conn, "second").await.unwrap();
    }
}
