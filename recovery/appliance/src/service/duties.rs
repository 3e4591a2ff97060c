//! What people are in the words of runbooks: given by whoever manages people, and asked when somebody answers a run.
//!
//! It must never: believe a duty that somebody only names.

use recovery_protocol::{Problem, drill::Duties};
use serde_json::json;

use super::{Actor, Service, people};
use crate::{db, evidence::Fact};

const MOST: usize = 32;
const LEN_MOST: usize = 48;

impl Service {
    /// The duties of a person. 404 `unknown-person`.
    pub async fn duties(&self, person: &str) -> Result<Duties, Problem> {
        let mut conn = self.0.journal.db.read().await?;
        db::person::get(&mut conn, person).await?.ok_or_else(|| people::unknown(person))?;
        Ok(Duties { duties: db::duty::of(&mut conn, person).await? })
    }

    /// Give a person these duties and no others. 404 `unknown-person`, 422 `bad-duty`.
    pub async fn set_duties(&self, actor: &Actor, person: &str, order: Duties) -> Result<Duties, Problem> {
        let mut duties = order.duties;
        duties.sort();
        duties.dedup();
        let plain = |duty: &String| {
            !duty.is_empty()
                && duty.len() <= LEN_MOST
                && duty.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        if duties.len() > MOST || !duties.iter().all(plain) {
            let detail =
                format!("at most {MOST} duties of at most {LEN_MOST} small letters, digits and hyphens each");
            let remedy = "write them as the runbook does: `drill-lead`";
            return Err(Problem::new(
                422,
                "bad-duty",
                "These duties cannot be put on record",
                detail,
                remedy,
            ));
        }
        let mut tx = self.0.journal.begin().await?;
        db::person::get(tx.conn(), person).await?.ok_or_else(|| people::unknown(person))?;
        let at = tx.at;
        db::duty::set(tx.conn(), person, &duties, &actor.name, at).await?;
        tx.note(Fact::new("order.duties", &actor.name, json!({ "person": person, "duties": duties })))
            .await?;
        tx.commit().await?;
        Ok(Duties { duties })
    }

    /// The duties of who is signed in; none for who is no person on record.
    pub async fn duties_of(&self, actor: &Actor) -> Result<Vec<String>, Problem> {
        let Some(person) = actor.name.strip_prefix("operator:") else { return Ok(Vec::new()) };
        Ok(db::duty::of(&mut *self.0.journal.db.read().await?, person).await?)
    }
}
