//! A look at a database file that changes nothing: its pages, its size, its schema. For whoever asks how the appliance is.

use std::{collections::BTreeMap, path::Path};

use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _, sqlite::SqliteConnectOptions};

use super::DbError;

/// What a file is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Examined {
    /// The schema that it is at; 0: it has none.
    pub schema: i64,
    /// Its size.
    pub bytes: u64,
    /// What was written and is not in it yet.
    pub wal_bytes: u64,
}

/// Look through all pages of a file, read only. The appliance may run.
///
/// # Errors
/// [`DbError`]: not readable, or damaged, with the first finding.
pub async fn file(path: &Path) -> Result<Examined, DbError> {
    let mut conn = SqliteConnectOptions::new().filename(path).read_only(true).connect().await?;
    let row = sqlx::query("PRAGMA quick_check(1)").fetch_one(&mut conn).await?;
    let found: String = row.try_get(0)?;
    if found != "ok" {
        return Err(DbError::Damaged { what: "database page", why: found });
    }
    let row = sqlx::query("SELECT COALESCE(MAX(n), 0) FROM migration").fetch_one(&mut conn).await?;
    let schema = row.try_get(0)?;
    conn.close().await?;
    let len = |path: &Path| std::fs::metadata(path).map_or(0, |about| about.len());
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    Ok(Examined { schema, bytes: len(path), wal_bytes: len(Path::new(&wal)) })
}

/// How many rows each table has.
///
/// # Errors
/// [`DbError`].
pub async fn rows(path: &Path) -> Result<BTreeMap<String, i64>, DbError> {
    let mut conn = SqliteConnectOptions::new().filename(path).read_only(true).connect().await?;
    let tables =
        sqlx::query("SELECT name FROM sqlite_master WHERE type = 'table'").fetch_all(&mut conn).await?;
    let mut rows = BTreeMap::new();
    for table in tables {
        let name: String = table.try_get(0)?;
        // A name that the database itself has; ours are plain words.
        let text = format!("SELECT COUNT(*) FROM \"{}\"", name.replace('"', ""));
        let row = sqlx::query(AssertSqlSafe(text)).fetch_one(&mut conn).await?;
        rows.insert(name, row.try_get(0)?);
    }
    conn.close().await?;
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{Db, known};

    #[tokio::test]
    async fn a_file_is_looked_at_while_it_is_in_use_and_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let db = Db::open(&path).await.unwrap();
        let seen = file(&path).await.unwrap();
        assert_eq!(seen.schema, known());
        assert!(seen.bytes + seen.wal_bytes > 0, "{seen:?}");
        assert_eq!(rows(&path).await.unwrap().get("endpoint"), Some(&0));
        db.close().await;
        assert!(file(&dir.path().join("none.db")).await.is_err());
        assert!(!dir.path().join("none.db").exists(), "a look makes none");
    }
}
