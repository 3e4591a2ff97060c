//! Tables `job`, `phase` and `journal`.

mod lists;

use std::collections::HashMap;

use recovery_protocol::{
    EndpointId, JobId,
    job::{HoldReason, JobState, Stage},
    operator::PhaseView,
};

use super::{Conn, DbError, Row, id, json, name, num, num_opt, query, sql, text};
pub use lists::*;

use crate::jobs::job::{Duty, Job};

/// A job as it lies in the database: the machine's part and what people want to read beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRow {
    /// The machine's part.
    pub job: Job,
    /// The endpoint's group when the job was made.
    pub group: String,
    /// `operator`, `attestation`, `webhook:<source>`, `drill`.
    pub trigger: String,
    /// Why, in the asker's words.
    pub reason: String,
    /// A confirmed integrity failure asked for it: where the group's mode is `auto`, nobody needs to approve.
    pub automatic: bool,
    /// The golden image's name and version, for people.
    pub image_name: String,
    /// When it was asked for, milliseconds since 1970.
    pub asked: u64,
    /// When it was over.
    pub ended: Option<u64>,
    /// Whether a person saw live values on its endpoint's screen, once they said. Written by [`accepted`] alone.
    pub accepted: Option<bool>,
}

/// One intent of the journal that has no outcome yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// The job.
    pub job: JobId,
    /// Its number within the job.
    pub intent: u32,
    /// What to do.
    pub duty: Duty,
    /// Not before, milliseconds since 1970.
    pub due: u64,
}

fn of(row: &Row) -> Result<JobRow, DbError> {
    Ok(JobRow {
        job: json(row, "machine")?,
        group: row.try_get("group_name")?,
        trigger: row.try_get("trigger")?,
        reason: row.try_get("reason")?,
        automatic: row.try_get::<i64>("automatic")? != 0,
        image_name: row.try_get("image_name")?,
        asked: num(row, "asked")?,
        ended: num_opt(row, "ended")?,
        accepted: num_opt(row, "accepted")?.map(|said| said != 0),
    })
}

fn state_name(state: &JobState) -> &'static str {
    match state {
        JobState::Working { .. } => "working",
        JobState::Held { .. } => "held",
        JobState::Recovered => "recovered",
        JobState::Captured => "captured",
        JobState::Cancelled { .. } => "cancelled",
        JobState::Failed { .. } => "failed",
    }
}

/// One job.
pub async fn get(conn: &mut Conn, job: JobId) -> Result<Option<JobRow>, DbError> {
    let row = query("SELECT * FROM job WHERE id = $1").bind(job.to_string()).fetch_optional(conn).await?;
    row.as_ref().map(of).transpose()
}

/// Jobs, newest first, of one endpoint or of all; at most `most`.
pub async fn list(conn: &mut Conn, endpoint: Option<&EndpointId>, most: u32) -> Result<Vec<JobRow>, DbError> {
    // Two statements: one with "or" would look at every job there ever was.
    let statement = match endpoint {
        Some(_) => "SELECT * FROM job WHERE endpoint = $1 ORDER BY asked DESC, id DESC LIMIT $2",
        None => "SELECT * FROM job WHERE $1 IS NULL ORDER BY asked DESC, id DESC LIMIT $2",
    };
    let rows =
        query(statement).bind(endpoint.map(EndpointId::as_str)).bind(i64::from(most)).fetch_all(conn).await?;
    rows.iter().map(of).collect()
}

/// The newest job of every endpoint that ever had one.
pub async fn newest(conn: &mut Conn) -> Result<Vec<JobRow>, DbError> {
    let rows = query(
        "SELECT j.* FROM endpoint e JOIN job j ON j.id = \
         (SELECT id FROM job WHERE endpoint = e.id ORDER BY asked DESC, id DESC LIMIT 1)",
    )
    .fetch_all(conn)
    .await?;
    rows.iter().map(of).collect()
}

/// The phases of the newest job of every endpoint, in order, by job.
pub async fn newest_phases(conn: &mut Conn) -> Result<HashMap<JobId, Vec<PhaseView>>, DbError> {
    let rows = query(
        "SELECT p.job, p.stage, p.entered, p.ended FROM endpoint e JOIN phase p ON p.job = \
         (SELECT id FROM job WHERE endpoint = e.id ORDER BY asked DESC, id DESC LIMIT 1) ORDER BY p.job, p.n",
    )
    .fetch_all(conn)
    .await?;
    let mut phases: HashMap<JobId, Vec<PhaseView>> = HashMap::new();
    for row in &rows {
        phases.entry(super::id(row, "job")?).or_default().push(phase(row)?);
    }
    Ok(phases)
}

/// Jobs that are not over, oldest first.
pub async fn open(conn: &mut Conn) -> Result<Vec<JobRow>, DbError> {
    let rows = query("SELECT * FROM job WHERE open = 1 ORDER BY asked").fetch_all(conn).await?;
    rows.iter().map(of).collect()
}

/// Jobs that ended since, milliseconds since 1970, with a disk that was erasing itself.
pub async fn left_erasing(conn: &mut Conn, since: u64) -> Result<Vec<JobRow>, DbError> {
    let rows = query(
        "SELECT * FROM job WHERE open = 0 AND ended >= $1 AND machine LIKE '%\"erasing\":\"%' ORDER BY asked",
    )
    .bind(sql(since))
    .fetch_all(conn)
    .await?;
    rows.iter().map(of).collect()
}

/// The open job of an endpoint; there is at most one.
pub async fn open_of(conn: &mut Conn, endpoint: &EndpointId) -> Result<Option<JobRow>, DbError> {
    let row = query("SELECT * FROM job WHERE open = 1 AND endpoint = $1")
        .bind(endpoint.as_str())
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(of).transpose()
}

/// Write a job whole.
pub async fn put(conn: &mut Conn, row: &JobRow) -> Result<(), DbError> {
    query(
        "INSERT INTO job (id, endpoint, group_name, open, state, trigger, reason, image_name, asked, ended, machine, \
         automatic) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
         ON CONFLICT (id) DO UPDATE SET open = $4, state = $5, ended = $10, machine = $11",
    )
    .bind(row.job.id.to_string())
    .bind(row.job.endpoint.as_str())
    .bind(&row.group)
    .bind(i64::from(!row.job.state.is_over()))
    .bind(state_name(&row.job.state))
    .bind(&row.trigger)
    .bind(&row.reason)
    .bind(&row.image_name)
    .bind(sql(row.asked))
    .bind(row.ended.map(sql))
    .bind(text("machine", &row.job)?)
    .bind(i64::from(row.automatic))
    .execute(conn)
    .await?;
    Ok(())
}

/// Leave the current phase of a job and, where it works on, enter the next.
pub async fn turn_phase(conn: &mut Conn, job: JobId, next: Option<Stage>, at: u64) -> Result<(), DbError> {
    query("UPDATE phase SET ended = $2 WHERE job = $1 AND ended IS NULL")
        .bind(job.to_string())
        .bind(sql(at))
        .execute(&mut *conn)
        .await?;
    if let Some(stage) = next {
        query(
            "INSERT INTO phase (job, n, stage, entered) \
             SELECT $1, COALESCE(MAX(n), 0) + 1, $2, $3 FROM phase WHERE job = $1",
        )
        .bind(job.to_string())
        .bind(name("stage", &stage)?)
        .bind(sql(at))
        .execute(conn)
        .await?;
    }
    Ok(())
}

/// The phases of a job, in order.
pub async fn phases(conn: &mut Conn, job: JobId) -> Result<Vec<PhaseView>, DbError> {
    let rows = query("SELECT stage, entered, ended FROM phase WHERE job = $1 ORDER BY n")
        .bind(job.to_string())
        .fetch_all(conn)
        .await?;
    rows.iter().map(phase).collect()
}

fn phase(row: &Row) -> Result<PhaseView, DbError> {
    let stage: &str = row.try_get("stage")?;
    Ok(PhaseView {
        stage: super::parse("stage", &format!("\"{stage}\""))?,
        from_unix_ms: num(row, "entered")?,
        to_unix_ms: num_opt(row, "ended")?,
    })
}

/// Write an intent.
pub async fn intend(conn: &mut Conn, intent: &Intent) -> Result<(), DbError> {
    query("INSERT INTO journal (job, intent, duty, due) VALUES ($1, $2, $3, $4)")
        .bind(intent.job.to_string())
        .bind(i64::from(intent.intent))
        .bind(name("duty", &intent.duty)?)
        .bind(sql(intent.due))
        .execute(conn)
        .await?;
    Ok(())
}

/// Intents without an outcome, the most urgent first.
pub async fn intents(conn: &mut Conn) -> Result<Vec<Intent>, DbError> {
    let rows = query("SELECT job, intent, duty, due FROM journal WHERE ended IS NULL ORDER BY due")
        .fetch_all(conn)
        .await?;
    rows.iter()
        .map(|row| {
            let duty: &str = row.try_get("duty")?;
            Ok(Intent {
                job: id(row, "job")?,
                intent: u32::try_from(num(row, "intent")?).unwrap_or(u32::MAX),
                duty: super::parse("duty", &format!("\"{duty}\""))?,
                due: num(row, "due")?,
            })
        })
        .collect()
}

/// Do it later: it is open still.
pub async fn postpone(conn: &mut Conn, job: JobId, intent: u32, due: u64) -> Result<(), DbError> {
    query("UPDATE journal SET due = $3 WHERE job = $1 AND intent = $2 AND ended IS NULL")
        .bind(job.to_string())
        .bind(i64::from(intent))
        .bind(sql(due))
        .execute(conn)
        .await?;
    Ok(())
}

/// Whether an act of this job failed for this reason before.
pub async fn failed_for(conn: &mut Conn, job: JobId, reason: HoldReason) -> Result<bool, DbError> {
    let rows = query("SELECT outcome FROM journal WHERE job = $1 AND outcome IS NOT NULL")
        .bind(job.to_string())
        .fetch_all(conn)
        .await?;
    let named = format!("\"{}\"", reason.code());
    for row in &rows {
        if row.try_get::<String>("outcome")?.contains(&named) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Write the outcome of an intent.
pub async fn outcome(conn: &mut Conn, job: JobId, intent: u32, what: &str, at: u64) -> Result<(), DbError> {
    query("UPDATE journal SET outcome = $3, ended = $4 WHERE job = $1 AND intent = $2 AND ended IS NULL")
        .bind(job.to_string())
        .bind(i64::from(intent))
        .bind(what)
        .bind(sql(at))
        .execute(conn)
        .await?;
    Ok(())
}

/// What the guard rails count in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GroupLoad {
    /// Open jobs, held ones included.
    pub open: u64,
    /// Jobs begun since the given time.
    pub begun: u64,
    /// Jobs held or failed since the given time.
    pub troubled: u64,
}

/// Count a group's jobs; `but` is not counted. `since`: milliseconds since 1970.
pub async fn load(
    conn: &mut Conn,
    group: &str,
    but: Option<JobId>,
    since: u64,
) -> Result<GroupLoad, DbError> {
    let row = query(
        // What is open, and what is recent: not all that ever was.
        "SELECT (SELECT COUNT(*) FROM job WHERE open = 1 AND group_name = $1 AND id <> $3) AS open, COUNT(*) AS begun, \
         COALESCE(SUM(CASE WHEN state IN ('held', 'failed') THEN 1 ELSE 0 END), 0) AS troubled \
         FROM job WHERE group_name = $1 AND asked >= $2 AND id <> $3",
    )
    .bind(group)
    .bind(sql(since))
    .bind(but.map_or_else(String::new, |job| job.to_string()))
    .fetch_one(conn)
    .await?;
    Ok(GroupLoad { open: num(&row, "open")?, begun: num(&row, "begun")?, troubled: num(&row, "troubled")? })
}

/// When the endpoint's last recovery ended well, milliseconds since 1970.
pub async fn last_recovered(conn: &mut Conn, endpoint: &EndpointId) -> Result<Option<u64>, DbError> {
    let row = query("SELECT MAX(ended) AS ended FROM job WHERE endpoint = $1 AND state = 'recovered'")
        .bind(endpoint.as_str())
        .fetch_one(conn)
        .await?;
    num_opt(&row, "ended")
}

/// When each endpoint was last recovered by each trigger, and whether that was a rehearsal.
pub async fn recovered(conn: &mut Conn) -> Result<Vec<(EndpointId, u64, bool)>, DbError> {
    let statement = "SELECT endpoint, trigger, MAX(ended) AS ended FROM job WHERE state = 'recovered' GROUP BY endpoint, trigger";
    let rows = query(statement).fetch_all(conn).await?;
    let of = |row: &Row| {
        let trigger: String = row.try_get("trigger")?;
        Ok((id(row, "endpoint")?, num(row, "ended")?, trigger == "drill"))
    };
    rows.iter().map(of).collect()
}

/// Recoveries of an endpoint that began by themselves since then, milliseconds since 1970.
pub async fn begun_alone(conn: &mut Conn, endpoint: &EndpointId, since: u64) -> Result<u64, DbError> {
    let row = query(
        "SELECT COUNT(*) AS n FROM job WHERE endpoint = $1 AND automatic = 1 AND asked >= $2 AND state <> 'cancelled'",
    )
    .bind(endpoint.as_str())
    .bind(sql(since))
    .fetch_one(conn)
    .await?;
    num(&row, "n")
}

/// How long the last hundred recoveries of a group took, in milliseconds.
pub async fn durations(conn: &mut Conn, group: &str) -> Result<Vec<u64>, DbError> {
    let rows = query(
        "SELECT ended - asked AS took FROM job WHERE group_name = $1 AND state = 'recovered' \
         ORDER BY ended DESC LIMIT 100",
    )
    .bind(group)
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| num(row, "took")).collect()
}

/// How long the last hundred recoveries of a group to an image of this name took, from the boot ticket to the end, in milliseconds. Rehearsals are
/// not counted: what people do at a spare disk says little of the plant.
pub async fn took(conn: &mut Conn, group: &str, image: &str) -> Result<Vec<u64>, DbError> {
    let rows = query(
        "SELECT j.ended - p.entered AS took FROM job j JOIN phase p ON p.job = j.id AND p.n = \
         (SELECT MIN(n) FROM phase WHERE job = j.id AND stage = 'ticketed') \
         WHERE j.group_name = $1 AND j.state = 'recovered' AND j.trigger <> 'drill' AND j.image_name LIKE $2 \
         ORDER BY j.ended DESC LIMIT 100",
    )
    .bind(group)
    .bind(format!("{image} %"))
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| num(row, "took")).collect()
}

/// When a job got its boot ticket first, milliseconds since 1970.
pub async fn ticketed(conn: &mut Conn, job: JobId) -> Result<Option<u64>, DbError> {
    let row = query("SELECT MIN(entered) AS entered FROM phase WHERE job = $1 AND stage = 'ticketed'")
        .bind(job.to_string())
        .fetch_one(conn)
        .await?;
    num_opt(&row, "entered")
}

/// What a person said of the recovered endpoint.
pub async fn accepted(conn: &mut Conn, job: JobId, live_values: bool) -> Result<(), DbError> {
    query("UPDATE job SET accepted = $2 WHERE id = $1")
        .bind(job.to_string())
        .bind(i64::from(live_values))
        .execute(conn)
        .await?;
    Ok(())
}

/// How many jobs are in each state.
pub async fn count_by_state(conn: &mut Conn) -> Result<Vec<(String, u64)>, DbError> {
    let rows =
        query("SELECT state, COUNT(*) AS n FROM job GROUP BY state ORDER BY state").fetch_all(conn).await?;
    rows.iter().map(|row| Ok((row.try_get("state")?, num(row, "n")?))).collect()
}
