//! Tables `evidence`, `evidence_checkpoint` (version 1) and `tree_checkpoint`: append and read, nothing else.

use recovery_protocol::{
    JobId,
    evidence::tree::{Hash, Perfect},
};

use super::{
    Conn, DbError, Row, num, query, sql,
    sql::{places, query_of},
};

/// An entry as it lies in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryRow {
    /// Its number.
    pub seq: u64,
    /// Its exact text.
    pub text: String,
    /// Its chain hash, lower-case hex, where version 1 wrote it; else empty.
    pub hash: String,
    /// Its leaf hash, and those of the perfect nodes that it completes. None where that is not worked out yet.
    pub nodes: Option<Vec<Hash>>,
}

/// A checkpoint of version 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainCheckpoint {
    /// The last entry it covers.
    pub seq: u64,
    /// That entry's chain hash, lower-case hex.
    pub hash: String,
    /// Lower-case hex.
    pub signature: String,
}

/// The last entry: its number and its leaf's hash.
pub async fn last(conn: &mut Conn) -> Result<Option<(u64, Option<Hash>)>, DbError> {
    let row = query("SELECT seq, nodes FROM evidence ORDER BY seq DESC LIMIT 1").fetch_optional(conn).await?;
    row.map(|row| {
        let leaf = hashes(row.try_get("nodes")?)?.and_then(|nodes| nodes.first().copied());
        Ok((num(&row, "seq")?, leaf))
    })
    .transpose()
}

/// Append an entry: its exact text, and the hashes of its leaf and of the perfect nodes that it completes.
pub async fn append(
    conn: &mut Conn,
    seq: u64,
    job: Option<JobId>,
    text: &str,
    nodes: &[Hash],
) -> Result<(), DbError> {
    query("INSERT INTO evidence (seq, job, text, hash, nodes) VALUES ($1, $2, $3, '', $4)")
        .bind(sql(seq))
        .bind(job.map(|job| job.to_string()))
        .bind(text)
        .bind(nodes.concat())
        .execute(conn)
        .await?;
    Ok(())
}

/// Write a checkpoint; one that exists stays.
pub async fn checkpoint(conn: &mut Conn, size: u64, note: &str) -> Result<(), DbError> {
    query("INSERT INTO tree_checkpoint (size, note) VALUES ($1, $2) ON CONFLICT (size) DO NOTHING")
        .bind(sql(size))
        .bind(note)
        .execute(conn)
        .await?;
    Ok(())
}

/// At most `most` entries after `after` and up to `to`, oldest first.
pub async fn page(conn: &mut Conn, after: u64, to: u64, most: u64) -> Result<Vec<EntryRow>, DbError> {
    let rows = query(
        "SELECT seq, text, hash, nodes FROM evidence WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT $3",
    )
    .bind(sql(after))
    .bind(sql(to))
    .bind(sql(most))
    .fetch_all(conn)
    .await?;
    rows.iter().map(entry).collect()
}

/// What is looked for in texts.
#[derive(Debug, Clone, Default)]
pub struct Looked {
    /// Pieces that each stand in the text, as it is written.
    pub holds: Vec<String>,
    /// The job to which it belongs.
    pub job: Option<JobId>,
}

/// The newest so many entries after `after` and up to `to` whose text may be what is looked for, newest first. What is found holds each
/// piece somewhere; the caller looks where.
pub async fn backwards(
    conn: &mut Conn,
    looked: &Looked,
    after: u64,
    to: u64,
    most: u64,
) -> Result<Vec<EntryRow>, DbError> {
    let mut text = "SELECT seq, text, hash, nodes FROM evidence WHERE seq > $1 AND seq <= $2".to_owned();
    let mut values = Vec::new();
    for piece in &looked.holds {
        values.push(format!("%{}%", super::job::escaped(piece)));
        text += &format!(" AND text LIKE ${} ESCAPE '!'", values.len() + 2);
    }
    if let Some(job) = looked.job {
        values.push(job.to_string());
        text += &format!(" AND job = ${}", values.len() + 2);
    }
    text += &format!(" ORDER BY seq DESC LIMIT ${}", values.len() + 3);
    let query = query_of(text).bind(sql(after)).bind(sql(to));
    let query = values.into_iter().fold(query, |query, value| query.bind(value)).bind(sql(most));
    query.fetch_all(conn).await?.iter().map(entry).collect()
}

/// Entries of one job, oldest first.
pub async fn of_job(conn: &mut Conn, job: JobId) -> Result<Vec<EntryRow>, DbError> {
    let rows = query("SELECT seq, text, hash, nodes FROM evidence WHERE job = $1 ORDER BY seq")
        .bind(job.to_string())
        .fetch_all(conn)
        .await?;
    rows.iter().map(entry).collect()
}

/// The text of the newest entry of a kind after entry `after`; the caller looks whether it is of that kind.
pub async fn newest_of_kind(conn: &mut Conn, kind: &str, after: u64) -> Result<Option<String>, DbError> {
    let row = query("SELECT text FROM evidence WHERE seq > $1 AND text LIKE $2 ORDER BY seq DESC LIMIT 1")
        .bind(sql(after))
        .bind(format!("%\"kind\":\"{kind}\"%"))
        .fetch_optional(conn)
        .await?;
    row.map(|row| row.try_get("text")).transpose()
}

/// One entry.
pub async fn get(conn: &mut Conn, seq: u64) -> Result<Option<EntryRow>, DbError> {
    Ok(page(conn, seq.saturating_sub(1), seq, 1).await?.pop())
}

/// The hashes of perfect nodes, in the order asked for; None for one that is not there.
pub async fn nodes(conn: &mut Conn, wanted: &[Perfect]) -> Result<Vec<Option<Hash>>, DbError> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let text = format!("SELECT seq, nodes FROM evidence WHERE seq IN ({})", places(wanted.len()));
    let query = wanted.iter().fold(query_of(text), |query, node| query.bind(sql(node.seq)));
    let mut found = std::collections::BTreeMap::new();
    for row in query.fetch_all(conn).await? {
        found.insert(num(&row, "seq")?, hashes(row.try_get("nodes")?)?.unwrap_or_default());
    }
    let hash = |node: &Perfect| found.get(&node.seq)?.get(node.level as usize).copied();
    Ok(wanted.iter().map(hash).collect())
}

/// The first entries of which the nodes are not worked out, at most `most`: their numbers and texts.
pub async fn without_nodes(conn: &mut Conn, most: u64) -> Result<Vec<(u64, String)>, DbError> {
    let rows = query("SELECT seq, text FROM evidence WHERE nodes IS NULL ORDER BY seq LIMIT $1")
        .bind(sql(most))
        .fetch_all(conn)
        .await?;
    rows.iter().map(|row| Ok((num(row, "seq")?, row.try_get("text")?))).collect()
}

/// Put the nodes beside an entry that has none.
pub async fn put_nodes(conn: &mut Conn, seq: u64, nodes: &[Hash]) -> Result<(), DbError> {
    query("UPDATE evidence SET nodes = $2 WHERE seq = $1 AND nodes IS NULL")
        .bind(sql(seq))
        .bind(nodes.concat())
        .execute(conn)
        .await?;
    Ok(())
}

/// Checkpoints (size, note) after `after` and up to `to`, oldest first.
pub async fn checkpoints(conn: &mut Conn, after: u64, to: u64) -> Result<Vec<(u64, String)>, DbError> {
    let rows = query("SELECT size, note FROM tree_checkpoint WHERE size > $1 AND size <= $2 ORDER BY size")
        .bind(sql(after))
        .bind(sql(to))
        .fetch_all(conn)
        .await?;
    rows.iter().map(|row| Ok((num(row, "size")?, row.try_get("note")?))).collect()
}

/// The newest checkpoint (size, note).
pub async fn last_checkpoint(conn: &mut Conn) -> Result<Option<(u64, String)>, DbError> {
    let row = query("SELECT size, note FROM tree_checkpoint ORDER BY size DESC LIMIT 1")
        .fetch_optional(conn)
        .await?;
    row.map(|row| Ok((num(&row, "size")?, row.try_get("note")?))).transpose()
}

/// Checkpoints of version 1 after `after` and up to `to`, oldest first.
pub async fn chain_checkpoints(
    conn: &mut Conn,
    after: u64,
    to: u64,
) -> Result<Vec<ChainCheckpoint>, DbError> {
    let rows = query(
        "SELECT seq, hash, signature FROM evidence_checkpoint WHERE seq > $1 AND seq <= $2 ORDER BY seq",
    )
    .bind(sql(after))
    .bind(sql(to))
    .fetch_all(conn)
    .await?;
    let read = |row: &Row| {
        let (hash, signature) = (row.try_get("hash")?, row.try_get("signature")?);
        Ok(ChainCheckpoint { seq: num(row, "seq")?, hash, signature })
    };
    rows.iter().map(read).collect()
}

fn entry(row: &Row) -> Result<EntryRow, DbError> {
    let nodes = hashes(row.try_get("nodes")?)?;
    Ok(EntryRow { seq: num(row, "seq")?, text: row.try_get("text")?, hash: row.try_get("hash")?, nodes })
}

fn hashes(bytes: Option<&[u8]>) -> Result<Option<Vec<Hash>>, DbError> {
    let Some(bytes) = bytes else { return Ok(None) };
    let (hashes, rest) = bytes.as_chunks::<32>();
    if rest.is_empty() && !hashes.is_empty() {
        return Ok(Some(hashes.to_vec()));
    }
    Err(DbError::Damaged { what: "evidence nodes", why: format!("{} bytes are no hashes", bytes.len()) })
}
