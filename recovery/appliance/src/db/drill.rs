//! Tables `drill_schedule` and `drill_action`: when runbooks are rehearsed, and what is to be mended after a drill.

use recovery_protocol::drill::Schedule;

use super::{Conn, DbError, Row, json, num, num_opt, query, sql, text};

/// A schedule as it lies in the database. Times in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheduled {
    /// What was asked for.
    pub schedule: Schedule,
    /// Since when.
    pub added: u64,
    /// By whom, as in evidence.
    pub added_by: String,
    /// When it last began by itself.
    pub began: Option<u64>,
    /// When it was last said that it is due.
    pub noticed: Option<u64>,
}

/// All schedules, by name.
pub async fn schedules(conn: &mut Conn) -> Result<Vec<Scheduled>, DbError> {
    let rows = query("SELECT * FROM drill_schedule ORDER BY name").fetch_all(conn).await?;
    let of = |row: &Row| {
        Ok(Scheduled {
            schedule: json(row, "schedule")?,
            added: num(row, "added")?,
            added_by: row.try_get("added_by")?,
            began: num_opt(row, "began")?,
            noticed: num_opt(row, "noticed")?,
        })
    };
    rows.iter().map(of).collect()
}

/// Write a new one; `false`: there is one of that name.
pub async fn add(conn: &mut Conn, one: &Scheduled) -> Result<bool, DbError> {
    let statement = "INSERT INTO drill_schedule (name, schedule, added, added_by) VALUES ($1, $2, $3, $4) \
                     ON CONFLICT (name) DO NOTHING";
    let done = query(statement)
        .bind(&one.schedule.name)
        .bind(text("schedule", &one.schedule)?)
        .bind(sql(one.added))
        .bind(&one.added_by)
        .execute(conn)
        .await?;
    Ok(done > 0)
}

/// Take one away; `false`: there is none of that name.
pub async fn remove(conn: &mut Conn, name: &str) -> Result<bool, DbError> {
    Ok(query("DELETE FROM drill_schedule WHERE name = $1").bind(name).execute(conn).await? > 0)
}

/// It began by itself.
pub async fn began(conn: &mut Conn, name: &str, at: u64) -> Result<(), DbError> {
    query("UPDATE drill_schedule SET began = $2 WHERE name = $1")
        .bind(name)
        .bind(sql(at))
        .execute(conn)
        .await?;
    Ok(())
}

/// It was said that it is due.
pub async fn noticed(conn: &mut Conn, name: &str, at: u64) -> Result<(), DbError> {
    let statement = "UPDATE drill_schedule SET noticed = $2 WHERE name = $1";
    query(statement).bind(name).bind(sql(at)).execute(conn).await?;
    Ok(())
}

/// Something to mend after a drill. Times in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// Its id.
    pub id: String,
    /// The runbook.
    pub runbook: String,
    /// Of which hardware class.
    pub class: String,
    /// The step or the objective.
    pub subject: String,
    /// What was not as it should be.
    pub what: String,
    /// The drill that opened it.
    pub drill: String,
    /// When.
    pub opened: u64,
    /// Until when it should be mended.
    pub due: u64,
    /// When it was closed.
    pub closed: Option<u64>,
    /// By which drill.
    pub closed_by: Option<String>,
}

/// All of them, the open ones first, then the newest.
pub async fn actions(conn: &mut Conn) -> Result<Vec<Action>, DbError> {
    let statement = "SELECT * FROM drill_action ORDER BY CASE WHEN closed IS NULL THEN 0 ELSE 1 END, opened DESC, id LIMIT 1000";
    let of = |row: &Row| {
        Ok(Action {
            id: row.try_get("id")?,
            runbook: row.try_get("runbook")?,
            class: row.try_get("class")?,
            subject: row.try_get("subject")?,
            what: row.try_get("what")?,
            drill: row.try_get("drill")?,
            opened: num(row, "opened")?,
            due: num(row, "due")?,
            closed: num_opt(row, "closed")?,
            closed_by: row.try_get("closed_by")?,
        })
    };
    query(statement).fetch_all(conn).await?.iter().map(of).collect()
}

/// Open one; `false`: it is open already.
pub async fn open(conn: &mut Conn, action: &Action) -> Result<bool, DbError> {
    let done = query(
        "INSERT INTO drill_action (id, runbook, class, subject, what, drill, opened, due) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
    )
    .bind(&action.id)
    .bind(&action.runbook)
    .bind(&action.class)
    .bind(&action.subject)
    .bind(&action.what)
    .bind(&action.drill)
    .bind(sql(action.opened))
    .bind(sql(action.due))
    .execute(conn)
    .await?;
    Ok(done > 0)
}

/// Close one that is open.
pub async fn close(conn: &mut Conn, id: &str, drill: &str, at: u64) -> Result<(), DbError> {
    query("UPDATE drill_action SET closed = $2, closed_by = $3 WHERE id = $1 AND closed IS NULL")
        .bind(id)
        .bind(sql(at))
        .bind(drill)
        .execute(conn)
        .await?;
    Ok(())
}
