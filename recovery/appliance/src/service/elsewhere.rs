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
    agents::Governor,
    config::BELIEVED_H,
    db::{self, person::Person},
    evidence::Fact,
    followed::Elsewhere,
    keys,
};

impl Service {
    /// From where people may come, as it is configured at each moment.
    #[must_use]
    pub fn elsewhere(&self) -> Elsewhere {
        self.0.followed.elsewhere.clone()
    }

    /// What lets golden images go out, as it is configured at each moment.
    #[must_use]
    pub fn governor(&self) -> Governor {
        self.0.followed.governor.clone()
    }

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
    /// `subject`: whom it means there, whatever it calls them by now. What somebody is called here, once they are on record, stays: an OpenID
    /// provider's person comes by their first name whatever is new, and a directory's has no second one.
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
        if let Some(first) = meant.as_ref().filter(|first| origin == Origin::Directory && first.name != name)
        {
            return Err(second_name(&first.name));
        }
        let name = meant.as_ref().map_or(name, |person| person.name.as_str());
        check_name(name)?;
        let believed_until = Some(tx.at.saturating_add(self.believed_ms()));
        match db::person::get(tx.conn(), name).await? {
            // Between the question and here somebody put them on record; or it is another one's name.
            Some(known) if known.origin != origin || another(&known, subject) => return Err(exists(name)),
            Some(known) => {
                let now = with_role(&known, role, (subject, believed_until));
                if known.role != role || known.subject != now.subject || known.believed_until.is_none() {
                    let facts = json!({
                        "person": name, "role": { "from": known.role, "to": role }, "by": by, "subject": now.subject,
                    });
                    tx.note(Fact::new("order.person-change", by, facts)).await?;
                }
                db::person::put(tx.conn(), &now).await?;
            }
            None => {
                let hash = keys::secret_hash(&token()?);
                let subject = subject.map(str::to_owned);
                let new = Person::new(name.to_owned(), role, hash, tx.at);
                let person = Person { origin, subject, believed_until, ..new };
                db::person::put(tx.conn(), &person).await?;
                let facts = json!({ "person": name, "role": role, "by": by, "subject": person.subject });
                tx.note(Fact::new("order.person-add", by, facts)).await?;
            }
        }
        tx.commit().await?;
        Ok(name.to_owned())
    }

    /// It was said there that this is them, and that they are nothing here any more: what they had here opens nothing from now on, until it is
    /// said otherwise. Whether there was something to take away.
    pub async fn sign_off(
        &self,
        name: &str,
        (origin, subject): (Origin, Option<&str>),
    ) -> Result<bool, Problem> {
        let mut tx = self.0.journal.begin().await?;
        let known = match subject {
            Some(subject) => db::person::of_subject(tx.conn(), subject).await?,
            None => db::person::get(tx.conn(), name).await?,
        };
        let known = known.filter(|known| known.origin == origin && known.believed_until.is_some());
        let Some(known) = known else { return Ok(false) };
        let facts = json!({
            "person": known.name, "role": { "from": known.role, "to": null }, "by": origin.as_str(),
            "why": "nothing that they are there is a role here",
        });
        // A new token, which nobody has seen: the old one stays worthless when they come back.
        let token_sha256 = keys::secret_hash(&token()?);
        let now = Person {
            token_sha256,
            token_id: None,
            token_made: tx.at,
            client_certificate: None,
            badge_sha256: None,
            pin: None,
            pin_wrong: 0,
            believed_until: None,
            ..known
        };
        db::person::put(tx.conn(), &now).await?;
        tx.note(Fact::new("order.person-change", origin.as_str(), facts)).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// How long the word of who says who somebody is counts.
    fn believed_ms(&self) -> u64 {
        let hours =
            self.0.journal.config.directory.as_ref().map_or(BELIEVED_H, |directory| directory.believed_h);
        u64::from(hours) * 3_600_000
    }
}

/// Whether it is somebody else by this name. A directory's entry may move, and says so itself; an OpenID provider's own word for somebody stays.
fn another(known: &Person, subject: Option<&str>) -> bool {
    known.origin == Origin::Provider && known.subject.as_deref() != subject
}

/// With this role and no more than belongs to it.
fn with_role(known: &Person, role: Role, (subject, believed_until): (Option<&str>, Option<u64>)) -> Person {
    let subject = subject.map(str::to_owned).or_else(|| known.subject.clone());
    let mut now = Person { role, subject, believed_until, ..known.clone() };
    if role != Role::Technician {
        (now.badge_sha256, now.pin, now.pin_wrong) = (None, None, 0);
    }
    if role != Role::Automation {
        now.client_certificate = None;
    }
    now
}

fn second_name(first: &str) -> Problem {
    let detail = format!("the directory's entry is on record as {first} already");
    let remedy = format!("sign in as {first}");
    Problem::new(409, "person-exists", "This person has another name here", detail, remedy)
}
