//! Schedules of drills and what is to be mended after them, as they are kept: read, written, in evidence.

use recovery_protocol::{EndpointId, Problem};
use serde_json::json;

use super::{Actor, Service};
use crate::{
    db::{
        self,
        drill::{Action, Scheduled},
    },
    evidence::Fact,
};

impl Service {
    /// All schedules, by name.
    pub async fn schedules(&self) -> Result<Vec<Scheduled>, Problem> {
        Ok(db::drill::schedules(&mut *self.0.journal.db.read().await?).await?)
    }

    /// Put one on record; `false`: there is one of that name.
    pub async fn add_schedule(&self, actor: &Actor, one: &Scheduled) -> Result<bool, Problem> {
        let mut tx = self.0.journal.begin().await?;
        if !db::drill::add(tx.conn(), one).await? {
            return Ok(false);
        }
        tx.note(Fact::new("order.schedule-add", &actor.name, json!(one.schedule))).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Take one away; `false`: there is none of that name.
    pub async fn remove_schedule(&self, actor: &Actor, name: &str) -> Result<bool, Problem> {
        let mut tx = self.0.journal.begin().await?;
        if !db::drill::remove(tx.conn(), name).await? {
            return Ok(false);
        }
        tx.note(Fact::new("order.schedule-remove", &actor.name, json!({ "schedule": name }))).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// One began by itself now.
    pub async fn schedule_began(&self, name: &str) -> Result<(), Problem> {
        let mut tx = self.0.journal.begin().await?;
        let at = tx.at;
        db::drill::began(tx.conn(), name, at).await?;
        Ok(tx.commit().await?)
    }

    /// It was said now that one is due.
    pub async fn schedule_noticed(&self, name: &str) -> Result<(), Problem> {
        let mut tx = self.0.journal.begin().await?;
        let at = tx.at;
        db::drill::noticed(tx.conn(), name, at).await?;
        Ok(tx.commit().await?)
    }

    /// When each endpoint was last recovered, and whether that was a rehearsal.
    pub async fn recovered(&self) -> Result<Vec<(EndpointId, u64, bool)>, Problem> {
        Ok(db::job::recovered(&mut *self.0.journal.db.read().await?).await?)
    }

    /// What is to be mended after drills, and what was; the open ones first.
    pub async fn actions(&self) -> Result<Vec<Action>, Problem> {
        Ok(db::drill::actions(&mut *self.0.journal.db.read().await?).await?)
    }

    /// Open what a drill found, and close what it proved mended, in one transaction.
    pub async fn after_drill(
        &self,
        actor: &Actor,
        opened: &[Action],
        closed: &[Action],
    ) -> Result<(), Problem> {
        if opened.is_empty() && closed.is_empty() {
            return Ok(());
        }
        let mut tx = self.0.journal.begin().await?;
        let at = tx.at;
        for action in opened {
            if db::drill::open(tx.conn(), action).await? {
                let facts = json!({
                    "action": action.id, "drill": action.drill, "runbook": action.runbook, "class": action.class,
                    "subject": action.subject, "what": action.what, "due_unix_ms": action.due,
                });
                tx.note(Fact::new("drill.action-opened", &actor.name, facts)).await?;
            }
        }
        for action in closed {
            let by = action.closed_by.as_deref().unwrap_or_default();
            db::drill::close(tx.conn(), &action.id, by, at).await?;
            let facts =
                json!({ "action": action.id, "drill": by, "runbook": action.runbook, "class": action.class });
            tx.note(Fact::new("drill.action-closed", &actor.name, facts)).await?;
        }
        Ok(tx.commit().await?)
    }
}
