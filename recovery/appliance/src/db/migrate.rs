//! Up to this program's schema, and back down by as many numbers as somebody asks for.
//!
//! Ours only add: a table, a column, an index. What takes one back follows from its text, so it cannot be forgotten; a
//! migration of another kind is the floor below which nobody goes.
//!
//! It must never: go down by itself.

use sqlx::AssertSqlSafe;

use super::{DbError, MIGRATIONS, Tx, query, sql::raw};

/// A migration's text as the engine wants it.
pub(super) type Dialect = dyn Fn(&str) -> String + Send + Sync;

/// The number that this program knows.
pub fn known() -> i64 {
    MIGRATIONS.last().map_or(0, |(n, _)| *n)
}

/// The number that the database is at; 0: it is new.
pub(super) async fn found(tx: &mut Tx) -> Result<i64, DbError> {
    raw("CREATE TABLE IF NOT EXISTS migration (n BIGINT PRIMARY KEY)", tx).await?;
    query("SELECT COALESCE(MAX(n), 0) AS n FROM migration").fetch_one(tx).await?.try_get("n")
}

/// Up to what this program knows.
pub(super) async fn up(tx: &mut Tx, dialect: &Dialect) -> Result<(), DbError> {
    let (found, known) = (found(tx).await?, known());
    if found > known {
        return Err(DbError::Newer { found, known });
    }
    for (n, text) in MIGRATIONS.iter().filter(|(n, _)| *n > found) {
        raw(AssertSqlSafe(dialect(text)), tx).await?;
        query("INSERT INTO migration (n) VALUES ($1)").bind(*n).execute(tx).await?;
    }
    Ok(())
}

/// The schema of the release before the first that could go back.
const FLOOR: i64 = 14;

/// Down to a number, for the program that knows no more.
///
/// # Errors
/// [`DbError::Unfit`] where there is no way back; the transaction is to be dropped then.
pub async fn down(tx: &mut Tx, to: i64) -> Result<(), DbError> {
    let unfit = |why: String| DbError::Unfit { why };
    if to < FLOOR || !MIGRATIONS.iter().any(|(n, _)| *n == to) {
        return Err(unfit(format!("there is no schema {to} to go back to; {FLOOR} is the oldest")));
    }
    for (n, text) in MIGRATIONS.iter().rev().filter(|(n, _)| *n > to) {
        let back = back(text).ok_or_else(|| {
            unfit(format!("schema {n} cannot be taken back; restore the backup made before it"))
        })?;
        for statement in back {
            raw(AssertSqlSafe(statement), tx).await?;
        }
        query("DELETE FROM migration WHERE n = $1").bind(*n).execute(tx).await?;
    }
    Ok(())
}

/// The statements that take a migration back, last first. None: it does something else than to add.
fn back(text: &str) -> Option<Vec<String>> {
    let bare: Vec<&str> = text.lines().map(|line| line.split("--").next().unwrap_or_default()).collect();
    let bare = bare.join(" ");
    let mut back = Vec::new();
    for statement in bare.split(';') {
        let words: Vec<&str> = statement.split_whitespace().collect();
        match words.as_slice() {
            [] | ["UPDATE" | "INSERT", ..] => {}
            ["CREATE", "TABLE", name, ..] => back.push(format!("DROP TABLE {name}")),
            ["CREATE", "INDEX", name, ..] | ["CREATE", "UNIQUE", "INDEX", name, ..] => {
                back.push(format!("DROP INDEX {name}"));
            }
            ["ALTER", "TABLE", table, "ADD", "COLUMN", name, ..] => {
                back.push(format!("ALTER TABLE {table} DROP COLUMN {name}"));
            }
            _ => return None,
        }
    }
    back.reverse();
    Some(back)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_adds_can_be_taken_back_and_nothing_else() {
        for (n, text) in MIGRATIONS.iter().filter(|(n, _)| *n > 1) {
            assert!(back(text).is_some_and(|back| !back.is_empty()), "migration {n}");
        }
        let text = "CREATE TABLE a (b TEXT); -- DROP TABLE c;\nCREATE UNIQUE INDEX d ON a (b);\nALTER TABLE e ADD COLUMN f TEXT;";
        let expected = ["ALTER TABLE e DROP COLUMN f", "DROP INDEX d", "DROP TABLE a"];
        assert_eq!(back(text).unwrap(), expected);
        assert_eq!(back("DROP TABLE a;"), None);
        assert_eq!(back("ALTER TABLE a RENAME TO b;"), None);
        assert_eq!(back("CREATE TRIGGER a;"), None);
    }
}
