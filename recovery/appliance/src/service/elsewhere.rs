//! People of whom somebody else says who they are, put on record at their first time: evidence has a person, and an admin can shut them out.
//!
//! It must never: take a name that is somebody's here, or give a role that was not mapped.

use recovery_protocol::{
    Problem,
    people::{Origin, Role},
};
use serde_json::json;

use super::{
    Service,
    people::{check_name, exists, token},
};
use crate::{
    db::{self, person::Person},
    evidence::Fact,
    keys,
};

impl Service {
    /// Whether somebody is asked about elsewhere: their name is nobody's here, or somebody's who came from there and may in.
    pub async fn asks_elsewhere(&self, name: &str, origin: Origin) -> Result<bool, Problem> {
        if check_name(name).is_err() {
            return Ok(false);
        }
        let known = db::person::get(&mut *self.0.journal.db.read().await?, name).await?;
        Ok(known.is_none_or(|person| person.origin == origin && !person.disabled))
    }

    /// It was said there that this is them, with this role: put on record at their first time, and changed where it is another role.
    pub async fn sign_on(&self, name: &str, role: Role, origin: Origin) -> Result<(), Problem> {
        check_name(name)?;
        let mut tx = self.0.journal.begin().await?;
        let by = origin.as_str();
        match db::person::get(tx.conn(), name).await? {
            // Between the question and here somebody put them on record.
            Some(known) if known.origin != origin => return Err(exists(name)),
            Some(known) if known.role == role => return Ok(()),
            Some(known) => {
                let facts = json!({ "person": name, "role": { "from": known.role, "to": role }, "by": by });
                let mut now = Person { role, ..known };
                if role != Role::Technician {
                    (now.badge_sha256, now.pin, now.pin_wrong) = (None, None, 0);
                }
                db::person::put(tx.conn(), &now).await?;
                tx.note(Fact::new("order.person-change", by, facts)).await?;
            }
            None => {
                let hash = keys::secret_hash(&token()?);
                let person = Person { origin, ..Person::new(name.to_owned(), role, hash, tx.at) };
                db::person::put(tx.conn(), &person).await?;
                let facts = json!({ "person": name, "role": role, "by": by });
                tx.note(Fact::new("order.person-add", by, facts)).await?;
            }
        }
        Ok(tx.commit().await?)
    }
}
