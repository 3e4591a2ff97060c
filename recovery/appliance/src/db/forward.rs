//! Tables `forward_cursor` and `dead_letter`: how far who follows the evidence log has it.

use super::{Conn, DbError, num, query, sql};

/// The last entry that this sink has, and when it got there; None: it never had one.
pub async fn cursor(conn: &mut Conn, sink: &str) -> Result<Option<(u64, u64)>, DbError> {
    let row = query("SELECT seq, moved FROM forward_cursor WHERE sink = $1")
        .bind(sink)
        .fetch_optional(conn)
        .await?;
    row.map(|row| Ok((num(&row, "seq")?, num(&row, "moved")?))).transpose()
}

/// This sink has everything up to `seq`. Never back.
pub async fn advance(conn: &mut Conn, sink: &str, seq: u64, at: u64) -> Result<(), DbError> {
    query(
        "INSERT INTO forward_cursor (sink, seq, moved) VALUES ($1, $2, $3) ON CONFLICT (sink) DO UPDATE \
         SET seq = excluded.seq, moved = excluded.moved WHERE excluded.seq > forward_cursor.seq",
    )
    .bind(sink)
    .bind(sql(seq))
    .bind(sql(at))
    .execute(conn)
    .await?;
    Ok(())
}

/// This sink refused an entry for good.
pub async fn bury(conn: &mut Conn, sink: &str, seq: u64, at: u64, why: &str) -> Result<(), DbError> {
    query(
        "INSERT INTO dead_letter (sink, seq, at, why) VALUES ($1, $2, $3, $4) ON CONFLICT (sink, seq) DO NOTHING",
    )
    .bind(sink)
    .bind(sql(seq))
    .bind(sql(at))
    .bind(why)
    .execute(conn)
    .await?;
    Ok(())
}

/// Entries that this sink refused for good: how many, and the newest (seq, why).
pub async fn dead(conn: &mut Conn, sink: &str) -> Result<(u64, Option<(u64, String)>), DbError> {
    let row = query("SELECT COUNT(*) AS n FROM dead_letter WHERE sink = $1")
        .bind(sink)
        .fetch_one(&mut *conn)
        .await?;
    let count = num(&row, "n")?;
    let last = query("SELECT seq, why FROM dead_letter WHERE sink = $1 ORDER BY seq DESC LIMIT 1")
        .bind(sink)
        .fetch_optional(conn)
        .await?;
    let last = last.map(|row| Ok::<_, DbError>((num(&row, "seq")?, row.try_get("why")?))).transpose()?;
    Ok((count, last))
}
