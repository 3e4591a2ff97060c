//! Jobs as lists and pictures ask for them: by page, by endpoint, by how they ended.

use std::collections::HashMap;

use recovery_protocol::{EndpointId, JobId, operator::PhaseView};

use super::{
    super::{
        Conn, DbError, id, query,
        sql::{places, query_of},
    },
    JobRow, of, phase,
};

/// The newest job of each of these endpoints.
pub async fn newest_of(conn: &mut Conn, names: &[EndpointId]) -> Result<Vec<JobRow>, DbError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let text = format!(
        "SELECT j.* FROM endpoint e JOIN job j ON j.id = \
         (SELECT id FROM job WHERE endpoint = e.id ORDER BY asked DESC, id DESC LIMIT 1) WHERE e.id IN ({})",
        places(names.len())
    );
    let query = names.iter().fold(query_of(text), |query, name| query.bind(name.as_str()));
    query.fetch_all(conn).await?.iter().map(of).collect()
}

/// The phases of these jobs, in order.
pub async fn phases_of(conn: &mut Conn, jobs: &[JobId]) -> Result<HashMap<JobId, Vec<PhaseView>>, DbError> {
    let mut phases: HashMap<JobId, Vec<PhaseView>> = HashMap::new();
    if jobs.is_empty() {
        return Ok(phases);
    }
    let places = places(jobs.len());
    let text =
        format!("SELECT job, stage, entered, ended FROM phase WHERE job IN ({places}) ORDER BY job, n");
    let query = jobs.iter().fold(query_of(text), |query, job| query.bind(job.to_string()));
    for row in &query.fetch_all(conn).await? {
        phases.entry(id(row, "job")?).or_default().push(phase(row)?);
    }
    Ok(phases)
}

/// The last recovery of an endpoint that ended well.
pub async fn last_recovery(conn: &mut Conn, endpoint: &EndpointId) -> Result<Option<JobRow>, DbError> {
    let row = query(
        "SELECT * FROM job WHERE endpoint = $1 AND state = 'recovered' ORDER BY asked DESC, id DESC LIMIT 1",
    )
    .bind(endpoint.as_str())
    .fetch_optional(conn)
    .await?;
    row.as_ref().map(of).transpose()
}
