//! Tables `plan` and `plan_use`: standing plans, and which recoveries they began.

use std::collections::BTreeMap;

use images::ImageId;
use recovery_protocol::{
    EndpointId, JobId,
    plan::{NewPlan, PlanApproval},
};
use serde::{Deserialize, Serialize};

use super::{Conn, DbError, Row, json, num, num_opt, query, sql, text};

/// A plan. Times in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Hash of its body, its maker and its time: its key.
    pub hash: String,
    /// What it says and names.
    pub body: Body,
    /// Who made it, as in evidence.
    pub made_by: String,
    /// When.
    pub made: u64,
    /// When it ends.
    pub ends: u64,
    /// Who approved it.
    pub approvals: Vec<PlanApproval>,
    /// When and why it was over before its end.
    pub over: Option<(u64, String)>,
}

/// What a plan says, and what it named when it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body {
    /// As asked for.
    pub asked: NewPlan,
    /// The image.
    pub image: ImageId,
    /// Its name and version.
    pub image_name: String,
    /// The endpoints, and of each what counts.
    pub named: BTreeMap<EndpointId, Named>,
}

/// What a plan binds of one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// The revision of its record.
    pub revision: u64,
    /// Its generation by the time at which it came on record.
    pub added: u64,
    /// What its group and its blueprint say.
    pub rules: String,
}

fn of(row: &Row) -> Result<Plan, DbError> {
    Ok(Plan {
        hash: row.try_get("hash")?,
        body: json(row, "body")?,
        made_by: row.try_get("made_by")?,
        made: num(row, "made")?,
        ends: num(row, "ends")?,
        approvals: json(row, "approvals")?,
        over: match (num_opt(row, "over_at")?, row.try_get("over_why")?) {
            (Some(at), Some(why)) => Some((at, why)),
            _ => None,
        },
    })
}

/// Plans, the newest first; those that are over, the last hundred.
pub async fn list(conn: &mut Conn) -> Result<Vec<Plan>, DbError> {
    let rows = query(
        "SELECT * FROM plan WHERE over_at IS NULL OR hash IN \
         (SELECT hash FROM plan WHERE over_at IS NOT NULL ORDER BY made DESC LIMIT 100) ORDER BY made DESC, hash",
    )
    .fetch_all(conn)
    .await?;
    rows.iter().map(of).collect()
}

/// Those that are not over.
pub async fn open(conn: &mut Conn) -> Result<Vec<Plan>, DbError> {
    let rows = query("SELECT * FROM plan WHERE over_at IS NULL ORDER BY made, hash").fetch_all(conn).await?;
    rows.iter().map(of).collect()
}

/// One by its hash.
pub async fn get(conn: &mut Conn, hash: &str) -> Result<Option<Plan>, DbError> {
    let row = query("SELECT * FROM plan WHERE hash = $1").bind(hash).fetch_optional(conn).await?;
    row.as_ref().map(of).transpose()
}

/// Write a plan.
pub async fn put(conn: &mut Conn, plan: &Plan) -> Result<(), DbError> {
    query(
        "INSERT INTO plan (hash, body, made_by, made, ends, approvals, over_at, over_why) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (hash) DO UPDATE \
         SET approvals = $6, over_at = $7, over_why = $8",
    )
    .bind(&plan.hash)
    .bind(text("plan", &plan.body)?)
    .bind(&plan.made_by)
    .bind(sql(plan.made))
    .bind(sql(plan.ends))
    .bind(text("approvals", &plan.approvals)?)
    .bind(plan.over.as_ref().map(|(at, _)| sql(*at)))
    .bind(plan.over.as_ref().map(|(_, why)| why.as_str()))
    .execute(conn)
    .await?;
    Ok(())
}

/// A recovery begins by it.
pub async fn used(conn: &mut Conn, hash: &str, job: JobId, at: u64) -> Result<(), DbError> {
    query("INSERT INTO plan_use (job, plan, at) VALUES ($1, $2, $3)")
        .bind(job.to_string())
        .bind(hash)
        .bind(sql(at))
        .execute(conn)
        .await?;
    Ok(())
}

/// The plan by which a recovery began.
pub async fn of_job(conn: &mut Conn, job: JobId) -> Result<Option<Plan>, DbError> {
    let row =
        query("SELECT plan.* FROM plan JOIN plan_use ON plan_use.plan = plan.hash WHERE plan_use.job = $1")
            .bind(job.to_string())
            .fetch_optional(conn)
            .await?;
    row.as_ref().map(of).transpose()
}

/// Recoveries that it began since then.
pub async fn begun(conn: &mut Conn, hash: &str, since: u64) -> Result<u64, DbError> {
    let row = query("SELECT COUNT(*) AS n FROM plan_use WHERE plan = $1 AND at >= $2")
        .bind(hash)
        .bind(sql(since))
        .fetch_one(conn)
        .await?;
    num(&row, "n")
}
