//! All rows of one database into another, where one of the two is a SQLite file: backups of a server, and the way from one
//! engine to the other. Which tables and columns there are, the file says.
//!
//! It must never: write into a database that holds something.

use super::{
    Conn, Db, DbError, Row, query,
    sql::{Query, Value, query_of},
};

/// Rows in one statement.
const BATCH: usize = 200;

/// A table and its columns, in the order of the file.
struct Table {
    name: String,
    columns: Vec<(String, Kind)>,
}

#[derive(Clone, Copy)]
enum Kind {
    Int,
    Text,
    Bytes,
}

/// Every row, in one transaction of the database that receives them.
pub(super) async fn all(from: &mut Conn, into: &Db) -> Result<(), DbError> {
    let mut tx = into.begin().await?;
    let (from_file, into_file) = (from.is_file(), tx.is_file());
    let tables = tables(if from_file { from } else { &mut tx }).await?;
    for name in ["evidence", "endpoint", "person"] {
        let text = format!("SELECT COUNT(*) AS n FROM {name}");
        if super::num(&query_of(text).fetch_one(&mut tx).await?, "n")? > 0 {
            let why = format!("it holds something already (table {name}); name an empty database");
            return Err(DbError::Unfit { why });
        }
    }
    // What a new database begins with.
    for table in tables.iter().rev() {
        query_of(format!("DELETE FROM \"{}\"", table.name)).execute(&mut tx).await?;
    }
    debug_assert!(from_file || into_file, "one of them is a file");
    for table in &tables {
        let mut pages = Pages::begin(from, table).await?;
        loop {
            let rows = pages.next(from).await?;
            if rows.is_empty() {
                break;
            }
            table.insert(&rows)?.execute(&mut tx).await?;
        }
    }
    tx.commit().await
}

/// What there is, those first to which others refer: they were made first.
async fn tables(file: &mut Conn) -> Result<Vec<Table>, DbError> {
    let names = query(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name <> 'migration' \
         ORDER BY rowid",
    );
    let mut tables = Vec::new();
    for row in names.fetch_all(file).await? {
        let name: String = row.try_get("name")?;
        let asked = query("SELECT name, type FROM pragma_table_info($1) ORDER BY cid").bind(&name);
        let mut columns = Vec::new();
        for row in asked.fetch_all(file).await? {
            let kind = match row.try_get::<&str>("type")? {
                "TEXT" => Kind::Text,
                "BLOB" => Kind::Bytes,
                _ => Kind::Int,
            };
            columns.push((row.try_get("name")?, kind));
        }
        tables.push(Table { name, columns });
    }
    Ok(tables)
}

/// The rows of one table, a batch at a time.
struct Pages {
    text: String,
    /// Of a file: the last row that was read.
    after: Option<i64>,
}

impl Pages {
    async fn begin(from: &mut Conn, table: &Table) -> Result<Self, DbError> {
        let (columns, name) = (table.names(), &table.name);
        if from.is_file() {
            let text = format!(
                "SELECT rowid AS moved_row, {columns} FROM \"{name}\" WHERE rowid > $1 ORDER BY rowid LIMIT {BATCH}"
            );
            return Ok(Self { text, after: Some(i64::MIN) });
        }
        let declared =
            format!("DECLARE \"moved_{name}\" NO SCROLL CURSOR FOR SELECT {columns} FROM \"{name}\"");
        query_of(declared).execute(from).await?;
        Ok(Self { text: format!("FETCH {BATCH} FROM \"moved_{name}\""), after: None })
    }

    async fn next(&mut self, from: &mut Conn) -> Result<Vec<Row>, DbError> {
        let mut asked = query_of(self.text.clone());
        if let Some(after) = self.after {
            asked = asked.bind(after);
        }
        let rows = asked.fetch_all(from).await?;
        if let (Some(after), Some(last)) = (&mut self.after, rows.last()) {
            *after = last.try_get("moved_row")?;
        }
        Ok(rows)
    }
}

impl Table {
    fn names(&self) -> String {
        let names: Vec<String> = self.columns.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        names.join(", ")
    }

    fn insert<'q>(&self, rows: &[Row]) -> Result<Query<'q>, DbError> {
        let width = self.columns.len();
        let places = |row: usize| {
            let places: Vec<String> = (1..=width).map(|n| format!("${}", row * width + n)).collect();
            format!("({})", places.join(", "))
        };
        let places: Vec<String> = (0..rows.len()).map(places).collect();
        let text = format!("INSERT INTO \"{}\" ({}) VALUES {}", self.name, self.names(), places.join(", "));
        let mut insert = query_of(text);
        for row in rows {
            for (name, kind) in &self.columns {
                insert = insert.bind(match kind {
                    Kind::Int => Value::Int(row.try_get(name)?),
                    Kind::Text => Value::Text(row.try_get::<Option<String>>(name)?.map(Into::into)),
                    Kind::Bytes => Value::Bytes(row.try_get::<Option<Vec<u8>>>(name)?.map(Into::into)),
                });
            }
        }
        Ok(insert)
    }
}
