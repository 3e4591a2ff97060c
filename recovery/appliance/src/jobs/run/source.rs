//! The source of a recovery that began by itself is asked once more, right before the point of no return.
//!
//! | it says | the job |
//! |---|---|
//! | the endpoint fails | goes on |
//! | it passes, or said in the meantime that it is over | is cancelled, and the endpoint boots its disk |
//! | nothing, or it cannot be asked | held: unreachable is not a yes, and a person decides |
//!
//! It must never: take silence for an answer.

use futures_util::future::BoxFuture;
use recovery_protocol::{EndpointId, job::HoldReason};
use serde_json::json;

use super::{super::job::Outcome, Runner, failed};
use crate::{
    db::{self, DbError, endpoint::Endpoint, job::JobRow, trigger},
    evidence::Fact,
    service::{TriggerDecision, WEBHOOK},
};

/// Whoever reports failed integrity checks and can be asked.
pub trait Sources: Send + Sync {
    /// Whether the endpoint, as the source calls it, still fails. Asks more than once before it gives up; may be cancelled.
    ///
    /// # Errors
    /// Why there is no answer.
    fn fails<'a>(
        &'a self,
        source: &'a str,
        endpoint: &'a EndpointId,
        named: &'a str,
    ) -> BoxFuture<'a, Result<bool, String>>;
}

/// No source is configured.
pub struct Nobody;

impl Sources for Nobody {
    fn fails<'a>(&'a self, _: &'a str, _: &'a EndpointId, _: &'a str) -> BoxFuture<'a, Result<bool, String>> {
        Box::pin(async { Err("the source is not configured any more".to_owned()) })
    }
}

impl Runner {
    pub(super) async fn confirm(&self, row: &JobRow, endpoint: &Endpoint) -> Outcome {
        let Some(source) = row.trigger.strip_prefix(WEBHOOK) else { return Outcome::Done };
        let (outcome, said) = match self.ask_source(source, row, endpoint).await {
            Err(error) => return failed(HoldReason::ApplianceFailed, error.chain()),
            Ok(Ok(true)) => (Outcome::Done, "asked again, it says that the endpoint fails".to_owned()),
            Ok(Ok(false)) => {
                let detail = format!("{source} does not stand by its report any more");
                (Outcome::Withdrawn { detail: detail.clone() }, detail)
            }
            Ok(Err(why)) => (failed(HoldReason::TriggerUnconfirmed, format!("{source}: {why}")), why),
        };
        let facts = json!({ "source": source, "said": said, "outcome": outcome });
        let mut fact = Fact::new("act.confirm", "appliance", facts).about(&endpoint.id).of(Some(row.job.id));
        fact.mode = row.job.mode;
        match self.journal.note(fact).await {
            Ok(()) => outcome,
            Err(error) => failed(HoldReason::ApplianceFailed, error.chain()),
        }
    }

    /// Whether the endpoint still fails, as the source has it.
    async fn ask_source(
        &self,
        source: &str,
        row: &JobRow,
        endpoint: &Endpoint,
    ) -> Result<Result<bool, String>, DbError> {
        let began = serde_json::to_string(&TriggerDecision::Started(row.job.id)).unwrap_or_default();
        let mut conn = self.journal.db.read().await?;
        let deliveries = trigger::with_outcome(&mut conn, source, &began).await?;
        for (delivery, _) in &deliveries {
            let first = delivery.strip_suffix(trigger::CONFIRMED).unwrap_or(delivery);
            let over = format!("{first}{}", trigger::RESOLVED);
            if db::trigger::seen(&mut conn, source, &over).await?.is_some() {
                return Ok(Ok(false));
            }
        }
        drop(conn);
        let named = deliveries.first().map_or(endpoint.id.as_str(), |(_, named)| named);
        Ok(self.sources.fails(source, &endpoint.id, named).await)
    }
}
