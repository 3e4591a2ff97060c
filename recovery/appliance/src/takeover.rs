//! A second appliance takes over by one order, and the one before it is fenced.
//!
//! Both have one identity (the keys of a backup) and one database. What makes them two is `appliance.id`; who of them writes
//! is [`db::reign`]. What was under way goes on from the journal, as after a crash: each intent without an outcome is probed
//! before it is done again.
//!
//! It must never: take over by itself. Silence on a network is no proof that the other one is off.

use std::{sync::Arc, time::Duration};

use recovery_protocol::evidence::Checkpoint;
use serde_json::json;

use crate::{
    backup::{self, StateError},
    clock::{Clock as _, SystemClock},
    config::Config,
    db::{self, Db, DbError},
    evidence::{EvidenceLog, Fact},
};

/// How often an appliance looks whether it is still the one that writes, besides at every write.
const LOOK: Duration = Duration::from_secs(5);

/// What came of an order to take over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Our number.
    pub term: u64,
    /// Whose it was; empty: nobody's.
    pub from: String,
}

/// Take over: from the commit on the other one writes nothing.
///
/// # Errors
/// [`StateError`]; nothing was changed then.
pub async fn take(config: &Config, reason: &str) -> Result<Taken, StateError> {
    let dir = &config.data_dir;
    if !dir.join("evidence.key").is_file() {
        return Err(StateError::NoState(dir.clone()));
    }
    let keys = backup::keys(config, dir)?;
    keys.lock()?;
    let own = keys.own_id()?;
    let log = EvidenceLog::new(Arc::clone(&keys));
    let db = Db::of_any(config).await?;
    let at = SystemClock.now_unix_ms();
    let mut tx = db.begin().await?;
    let before = db::reign::now(&mut tx).await?;
    if let Some((_, note)) = db::log::last_checkpoint(&mut tx).await?
        && Checkpoint::verify(&note, &log.origin()).is_err()
    {
        return Err(StateError::OtherKeys(dir.clone()));
    }
    let term = db::reign::turn(&mut tx, &own, at).await?;
    let facts = json!({ "reason": reason, "term": term, "from": before.holder, "to": own });
    log.append(&mut tx, at, Fact::new("state.taken-over", "operator:shell", facts)).await?;
    log.checkpoint(&mut tx).await?;
    tx.commit().await?;
    db.close().await;
    Ok(Taken { term, from: before.holder })
}

/// Back to the schema of an older program, with a word of it in evidence.
///
/// # Errors
/// [`StateError`]; nothing was changed then.
pub async fn back_to(config: &Config, schema: i64) -> Result<(), StateError> {
    let dir = &config.data_dir;
    if !dir.join("evidence.key").is_file() {
        return Err(StateError::NoState(dir.clone()));
    }
    let keys = backup::keys(config, dir)?;
    keys.lock()?;
    let own = keys.own_id()?;
    let db = Db::of(config).await?;
    let log = EvidenceLog::new(keys);
    let mut tx = db.begin().await?;
    db::reign::ours(&mut tx, &own).await?;
    let open = db::job::open(&mut tx).await?.len();
    if open > 0 {
        let why = format!(
            "{open} jobs are open, and an older program may not know their words; let them end, or cancel them"
        );
        return Err(DbError::Unfit { why }.into());
    }
    let facts = json!({ "from": db::known(), "to": schema });
    log.append(&mut tx, SystemClock.now_unix_ms(), Fact::new("state.migrated", "operator:shell", facts))
        .await?;
    log.checkpoint(&mut tx).await?;
    db::back_to(&mut tx, schema).await?;
    tx.commit().await?;
    db.close().await;
    Ok(())
}

/// Until another appliance took over. It looks now and then, so that one that has nothing to write learns it, too.
pub async fn fenced(db: &Db) {
    loop {
        tokio::select! {
            () = db.fenced().cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let looked = match db.read().await {
            Ok(mut conn) => db.still_ours(&mut conn).await,
            Err(error) => Err(error),
        };
        if let Err(error) = looked {
            tracing::error!(error = error.chain(), "cannot see that this appliance is the one that writes");
        }
    }
}

#[cfg(test)]
mod tests;
