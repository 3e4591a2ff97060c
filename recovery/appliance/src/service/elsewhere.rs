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
    ///
    /// `subject`: whom an OpenID provider means, whatever it calls them by now. What they are called here, once they are on record, stays.
    pub async fn sign_on(
        &self,
        name: &str,
        role: Role,
        (origin, subject): (Origin, Option<&str>),
    ) -> Result<String, Problem> {
        let mut tx = self.0.journal.begin().await?;
        let by = origin.as_str();
        let meant = match subject {
            Some(subject) => db::person::of_subject(tx.conn(), subject).await?,
            None => None,
        };
        let name = meant.as_ref().map_or(name, |person| person.name.as_str());
        check_name(name)?;
        match db::person::get(tx.conn(), name).await? {
            // Between the question and here somebody put them on record; or it is another one's name.
            Some(known) if known.origin != origin || known.subject.as_deref() != subject => {
                return Err(exists(name));
            }
            Some(known) if known.role == role => return Ok(known.name),
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
                let subject = subject.map(str::to_owned);
                let person = Person { origin, subject, ..Person::new(name.to_owned(), role, hash, tx.at) };
                db::person::put(tx.conn(), &person).await?;
                let facts = json!({ "person": name, "role": role, "by": by });
                tx.note(Fact::new("order.person-add", by, facts)).await?;
            }
        }
        tx.commit().await?;
        Ok(name.to_owned())
    }
}
