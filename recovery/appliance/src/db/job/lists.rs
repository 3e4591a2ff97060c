//! Jobs as lists and pictures ask for them: by page, by endpoint, by how they ended.

use std::collections::HashMap;

use recovery_protocol::{EndpointId, JobId, operator::PhaseView};

use super::{
    super::{
        Conn, DbError, id, num, query,
        sql::{Query, places, query_of},
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

/// The last recovery that ended well of every endpoint on record.
pub async fn last_recoveries(conn: &mut Conn) -> Result<Vec<JobRow>, DbError> {
    let text = "SELECT j.* FROM endpoint e JOIN job j ON j.id = (SELECT id FROM job WHERE endpoint = e.id AND state = 'recovered' \
                ORDER BY asked DESC, id DESC LIMIT 1)";
    query(text).fetch_all(conn).await?.iter().map(of).collect()
}

/// A recovery that ended well, for a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The endpoint's group when it began.
    pub group: String,
    /// The image's name and version.
    pub image_name: String,
    /// It was a drill.
    pub drill: bool,
    /// When it ended, milliseconds since 1970.
    pub ended: u64,
    /// How long it took from its first boot ticket, milliseconds.
    pub took: u64,
}

/// The newest recoveries that ended well, newest first.
pub async fn newest_recoveries(conn: &mut Conn, most: u64) -> Result<Vec<Ended>, DbError> {
    let text = "SELECT j.group_name, j.image_name, j.trigger, j.ended, j.ended - p.entered AS took FROM job j \
                JOIN phase p ON p.job = j.id AND p.n = (SELECT MIN(n) FROM phase WHERE job = j.id AND stage = 'ticketed') \
                WHERE j.state = 'recovered' ORDER BY j.ended DESC LIMIT $1";
    let rows = query(text).bind(super::super::sql(most)).fetch_all(conn).await?;
    let of = |row: &super::super::Row| {
        Ok(Ended {
            group: row.try_get("group_name")?,
            image_name: row.try_get("image_name")?,
            drill: row.try_get::<String>("trigger")? == "drill",
            ended: num(row, "ended")?,
            took: num(row, "took")?,
        })
    };
    rows.iter().map(of).collect()
}

/// In which order jobs are listed; ids, which grow with time, decide between equals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum By {
    /// Those asked for last first.
    #[default]
    Newest,
    /// Those asked for first first.
    Oldest,
    /// By the endpoint's name.
    Endpoint,
    /// Those that took longest first; those that are not over last.
    Longest,
}

impl By {
    fn key(self) -> &'static str {
        match self {
            Self::Newest | Self::Oldest => "asked",
            Self::Endpoint => "endpoint",
            Self::Longest => "COALESCE(ended - asked, -1)",
        }
    }

    fn falls(self) -> bool {
        matches!(self, Self::Newest | Self::Longest)
    }
}

/// What a page of jobs begins after: the last one's key and id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum After {
    /// Where the key is a number.
    Number(i64, String),
    /// Where the key is a text.
    Text(String, String),
}

/// Which jobs are asked for; what is empty asks for nothing.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// In one of these states, as in the database.
    pub states: Vec<&'static str>,
    /// Of this endpoint.
    pub endpoint: Option<EndpointId>,
    /// Asked for by this trigger, or by one of its kind (`webhook`: all of them).
    pub trigger: String,
    /// Words, in small letters, that each stand in endpoint, image, trigger, reason or id.
    pub words: Vec<String>,
}

impl Wanted {
    /// The condition, and its values in order.
    fn condition(&self, states: bool) -> (String, Vec<String>) {
        let (mut parts, mut values) = (vec!["1 = 1".to_owned()], Vec::new());
        let mut with = |text: &str, value: String| {
            values.push(value);
            text.replace('?', &format!("${}", values.len()))
        };
        if states && !self.states.is_empty() {
            let places: Vec<String> =
                self.states.iter().map(|state| with("?", (*state).to_owned())).collect();
            parts.push(format!("state IN ({})", places.join(", ")));
        }
        if let Some(endpoint) = &self.endpoint {
            parts.push(with("endpoint = ?", endpoint.to_string()));
        }
        if !self.trigger.is_empty() {
            let kind = format!("{}:%", escaped(&self.trigger));
            let (one, all) =
                (with("trigger = ?", self.trigger.clone()), with("trigger LIKE ? ESCAPE '!'", kind));
            parts.push(format!("({one} OR {all})"));
        }
        for word in &self.words {
            let text = "LOWER(endpoint || ' ' || image_name || ' ' || trigger || ' ' || reason || ' ' || id) LIKE ? ESCAPE '!'";
            parts.push(with(text, format!("%{}%", escaped(word))));
        }
        (parts.join(" AND "), values)
    }
}

/// A text within a pattern of LIKE, whose escape is `!`.
pub fn escaped(text: &str) -> String {
    text.replace('!', "!!").replace('%', "!%").replace('_', "!_")
}

fn bound(text: String, values: Vec<String>) -> Query<'static> {
    values.into_iter().fold(query_of(text), |query, value| query.bind(value))
}

/// A page of jobs: at most `most` of those that are wanted, after the last one of the page before.
pub async fn page(
    conn: &mut Conn,
    wanted: &Wanted,
    by: By,
    after: Option<After>,
    most: i64,
) -> Result<Vec<JobRow>, DbError> {
    let (condition, values) = wanted.condition(true);
    let (key, at) = (by.key(), values.len());
    let (further, order) = if by.falls() { ("<", "DESC") } else { (">", "ASC") };
    let from = match &after {
        None => String::new(),
        Some(_) => {
            let (k, i) = (at + 1, at + 2);
            format!(" AND ({key} {further} ${k} OR ({key} = ${k} AND id {further} ${i}))")
        }
    };
    let limit = if after.is_some() { at + 3 } else { at + 1 };
    let text = format!(
        "SELECT * FROM job WHERE {condition}{from} ORDER BY {key} {order}, id {order} LIMIT ${limit}"
    );
    let query = bound(text, values);
    let query = match after {
        None => query,
        Some(After::Number(key, id)) => query.bind(key).bind(id),
        Some(After::Text(key, id)) => query.bind(key).bind(id),
    };
    query.bind(most).fetch_all(conn).await?.iter().map(of).collect()
}

/// How many of those that are wanted, whatever their state, are in each.
pub async fn states(conn: &mut Conn, wanted: &Wanted) -> Result<Vec<(String, u64)>, DbError> {
    let (condition, values) = wanted.condition(false);
    let text =
        format!("SELECT state, COUNT(*) AS n FROM job WHERE {condition} GROUP BY state ORDER BY state");
    let rows = bound(text, values).fetch_all(conn).await?;
    rows.iter().map(|row| Ok((row.try_get("state")?, num(row, "n")?))).collect()
}
