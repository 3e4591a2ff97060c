//! What waits for somebody's yes, with what they need to see before they give it.

use images::ImageId;
use recovery_protocol::{
    Problem,
    operator::{EndpointView, JobView},
};

use super::{Actor, Service, views};
use crate::db;

/// A job that asks for a yes.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// The job.
    pub job: JobView,
    /// Who asked for it, as in evidence.
    pub asked_by: String,
    /// Another person than they must approve it.
    pub second_person: bool,
    /// Its endpoint; none: it was removed since.
    pub endpoint: Option<EndpointView>,
    /// What it runs as far as its last recovery tells.
    pub runs: Option<Runs>,
    /// How its disk is erased first, as its blueprint has it.
    pub erase: String,
    /// What stands against the approval of who asks.
    pub against: Result<(), Problem>,
}

/// What an endpoint was recovered to last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runs {
    /// The image's name and version.
    pub image_name: String,
    /// The image.
    pub image: ImageId,
    /// When that recovery ended, milliseconds since 1970.
    pub since_unix_ms: u64,
}

impl Service {
    /// Jobs that ask for a yes, those first that wait the longest.
    pub async fn inbox(&self, actor: &Actor) -> Result<Vec<Waiting>, Problem> {
        let mut found = Vec::new();
        for job in self.open_jobs().await? {
            if job.approves.is_some() {
                found.push(self.waiting(actor, job).await?);
            }
        }
        Ok(found)
    }

    async fn waiting(&self, actor: &Actor, job: JobView) -> Result<Waiting, Problem> {
        let against = match self.may_begin().await {
            Ok(()) => self.may_approve(actor, job.job).await,
            stands => stands,
        };
        let mut conn = self.0.journal.db.read().await?;
        let row = db::job::get(&mut conn, job.job).await?;
        let (asked_by, second_person) =
            row.map(|row| (row.job.asked_by, row.job.second_person)).unwrap_or_default();
        let endpoint = match db::endpoint::get(&mut conn, &job.endpoint).await? {
            Some(endpoint) => Some(views::endpoint(&self.0, &mut conn, endpoint).await?),
            None => None,
        };
        let last = db::job::last_recovery(&mut conn, &job.endpoint).await?;
        let runs = last.map(|row| Runs {
            image_name: row.image_name,
            image: row.job.image,
            since_unix_ms: row.ended.unwrap_or_default(),
        });
        let blueprints = &self.0.journal.config.blueprints;
        let erase = endpoint.as_ref().and_then(|endpoint| blueprints.get(&endpoint.blueprint));
        let erase = erase.and_then(|blueprint| serde_json::to_value(blueprint.erase).ok());
        let erase = erase.and_then(|erase| erase.as_str().map(str::to_owned)).unwrap_or_default();
        Ok(Waiting { job, asked_by, second_person, endpoint, runs, erase, against })
    }
}
