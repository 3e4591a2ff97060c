//! The state of every endpoint at a broker: all of them when the connection stands, then those that an entry of the evidence log names.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use recovery_protocol::{EndpointId, job::JobState};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    Mqtt,
    client::{Client, Will},
};
use crate::{
    db::{self, DbError},
    jobs::journal::Journal,
};

const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// Entries read at once.
const PAGE: u64 = 256;
/// New entries are gathered for so long.
const GATHER: Duration = Duration::from_millis(200);

/// One broker that has the state of every endpoint.
pub struct States {
    mqtt: Mqtt,
    site: String,
    journal: Arc<Journal>,
    trouble: Arc<Mutex<String>>,
}

impl States {
    /// For this broker. `trouble` says why it has none now; empty: it has.
    #[must_use]
    pub fn new(mqtt: Mqtt, site: String, journal: Arc<Journal>, trouble: Arc<Mutex<String>>) -> Self {
        Self { mqtt, site, journal, trouble }
    }

    /// Keep the broker's topics true until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        let mut backoff = BACKOFF_MIN;
        loop {
            match self.session(&stop, &mut backoff).await {
                Ok(()) => return,
                Err(why) => {
                    tracing::warn!(broker = self.mqtt.at, why, "the broker has no state of the endpoints");
                    *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = why;
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(backoff) => backoff = (backoff * 2).min(BACKOFF_MAX),
            }
        }
    }

    async fn session(&self, stop: &CancellationToken, backoff: &mut Duration) -> Result<(), String> {
        let topic = format!("{}/appliance/state", self.mqtt.top(&self.site));
        let will = Will { topic: topic.clone(), payload: json!({ "state": "down" }).to_string() };
        let id = format!("groundstate-{}", self.site);
        let mut client = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            connected = self.mqtt.connect(&id, Some(will)) => connected?,
        };
        let mut changes = self.journal.changes();
        let mut seq = self.last().await.map_err(|error| error.chain())?;
        let up = json!({ "state": "up", "version": env!("CARGO_PKG_VERSION"), "since_unix_ms": self.journal.now() });
        client.publish(&topic, up.to_string().as_bytes(), true).await?;
        for endpoint in self.all().await.map_err(|error| error.chain())? {
            self.publish(&mut client, &endpoint).await?;
        }
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clear();
        *backoff = BACKOFF_MIN;
        let mut quiet = tokio::time::interval(Duration::from_secs(u64::from(self.mqtt.keep_alive_s)) / 2);
        loop {
            let touched = self.touched(&mut seq).await.map_err(|error| error.chain())?;
            for endpoint in touched {
                self.publish(&mut client, &endpoint).await?;
            }
            tokio::select! {
                () = stop.cancelled() => {
                    let down = json!({ "state": "down", "stopped": true });
                    client.publish(&topic, down.to_string().as_bytes(), true).await?;
                    return client.leave().await;
                }
                changed = changes.changed() => {
                    changed.map_err(|_| "the appliance stops".to_owned())?;
                    tokio::time::sleep(GATHER).await;
                }
                _ = quiet.tick() => client.ping().await?,
            }
        }
    }

    async fn publish(&self, client: &mut Client, endpoint: &EndpointId) -> Result<(), String> {
        let topic = format!("{}/recovery/{endpoint}/state", self.mqtt.top(&self.site));
        let state = self.state(endpoint).await.map_err(|error| error.chain())?;
        // An empty payload takes a retained one away (section 3.3.1.3).
        let payload = state.map(|state| state.to_string()).unwrap_or_default();
        client.publish(&topic, payload.as_bytes(), true).await
    }

    async fn last(&self) -> Result<u64, DbError> {
        Ok(db::log::last(&mut *self.journal.db.read().await?).await?.map_or(0, |(seq, _)| seq))
    }

    async fn all(&self) -> Result<Vec<EndpointId>, DbError> {
        let all = db::endpoint::all(&mut *self.journal.db.read().await?).await?;
        Ok(all.into_iter().map(|endpoint| endpoint.id).collect())
    }

    /// Endpoints that entries after `seq` name.
    async fn touched(&self, seq: &mut u64) -> Result<BTreeSet<EndpointId>, DbError> {
        let mut conn = self.journal.db.read().await?;
        let mut touched = BTreeSet::new();
        loop {
            let rows = db::log::page(&mut conn, *seq, u64::MAX, PAGE).await?;
            let Some(last) = rows.last() else { return Ok(touched) };
            *seq = last.seq;
            touched.extend(rows.iter().filter_map(|row| crate::forward::entry(row)?.endpoint));
        }
    }

    /// None: it is not on record.
    async fn state(&self, endpoint: &EndpointId) -> Result<Option<Value>, DbError> {
        let mut conn = self.journal.db.read().await?;
        let Some(known) = db::endpoint::get(&mut conn, endpoint).await? else { return Ok(None) };
        let newest = db::job::list(&mut conn, Some(endpoint), 1).await?.pop();
        let mut state = json!({ "endpoint": endpoint, "state": known.state, "group": known.record.group });
        if let Some(row) = newest {
            let reason = match &row.job.state {
                JobState::Held { reason, .. } | JobState::Failed { reason, .. } => Some(reason.code()),
                _ => None,
            };
            let word = serde_json::to_value(&row.job.state).ok().and_then(|state| state.get("is").cloned());
            state["job"] = json!({
                "id": row.job.id, "state": word, "stage": row.job.state.stage(), "reason": reason, "asked_unix_ms": row.asked,
            });
        }
        Ok(Some(state))
    }
}
