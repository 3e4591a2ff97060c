//! Kiosks, badges and PINs on record.

use recovery_protocol::{
    Problem,
    people::{KioskView, NewBadge, PersonView, Role},
};
use serde_json::json;

use super::{Actor, Service, people};
use crate::{
    api::gate::badge_sha256,
    db::{self, kiosk::Kiosk, person::Person},
    evidence::Fact,
    keys,
};

const KIOSKS_MOST: usize = 256;
const PIN_LEAST: usize = 6;
const PIN_MOST: usize = 12;
const BADGE_LEAST: usize = 4;
const BADGE_MOST: usize = 256;

impl Service {
    /// Kiosks on record.
    pub async fn kiosks(&self) -> Result<Vec<KioskView>, Problem> {
        Ok(self.kiosk_rows().await?.into_iter().map(view).collect())
    }

    /// The same, as the gate wants them.
    pub async fn kiosk_rows(&self) -> Result<Vec<Kiosk>, Problem> {
        Ok(db::kiosk::all(&mut *self.0.journal.db.read().await?).await?)
    }

    /// A name that a kiosk may have. 422 `bad-name`, 409 `too-many-kiosks`.
    pub async fn kiosk_name(&self, name: &str) -> Result<(), Problem> {
        people::check_name(name)?;
        let kiosks = self.kiosk_rows().await?;
        if kiosks.len() < KIOSKS_MOST || kiosks.iter().any(|kiosk| kiosk.name == name) {
            return Ok(());
        }
        let remedy = "pair one of them again under its name";
        Err(Problem::new(
            409,
            "too-many-kiosks",
            "There are too many kiosks",
            format!("{KIOSKS_MOST} are on record"),
            remedy,
        ))
    }

    /// A browser has used a pairing code; one that was paired under this name before is not any more.
    pub async fn kiosk_paired(&self, name: &str, by: &str, secret: &str) -> Result<(), Problem> {
        let mut tx = self.0.journal.begin().await?;
        let kiosk = Kiosk {
            name: name.to_owned(),
            secret_sha256: keys::secret_hash(secret),
            paired: tx.at,
            paired_by: by.to_owned(),
            ended: None,
        };
        db::kiosk::put(tx.conn(), &kiosk).await?;
        tx.note(Fact::new("order.kiosk-pair", by, json!({ "kiosk": name }))).await?;
        Ok(tx.commit().await?)
    }

    /// It is a kiosk no more. 404 `unknown-kiosk`.
    pub async fn end_kiosk(&self, actor: &Actor, name: &str) -> Result<Vec<KioskView>, Problem> {
        let mut tx = self.0.journal.begin().await?;
        let at = tx.at;
        let kiosks = db::kiosk::all(tx.conn()).await?;
        let Some(kiosk) = kiosks.into_iter().find(|kiosk| kiosk.name == name && kiosk.ended.is_none()) else {
            let remedy = "look for it with `groundstate kiosk list`";
            return Err(Problem::new(
                404,
                "unknown-kiosk",
                "There is no such kiosk",
                format!("no kiosk is called {name}"),
                remedy,
            ));
        };
        db::kiosk::put(tx.conn(), &Kiosk { ended: Some(at), ..kiosk }).await?;
        tx.note(Fact::new("order.kiosk-end", &actor.name, json!({ "kiosk": name }))).await?;
        tx.commit().await?;
        self.kiosks().await
    }

    /// Give a technician a badge and the PIN that belongs to it, as it is to be kept; `None`: neither. 409 `badge-taken`, `no-badge`.
    pub async fn set_badge(
        &self,
        actor: &Actor,
        name: &str,
        badge: Option<(String, String)>,
    ) -> Result<PersonView, Problem> {
        let mut tx = self.0.journal.begin().await?;
        let everybody = db::person::all(tx.conn()).await?;
        let Some(known) = everybody.iter().find(|person| person.name == name) else {
            return Err(people::unknown(name));
        };
        if badge.is_some() && known.role != Role::Technician {
            let remedy = "give them a password: `groundstate person passwd`";
            let detail =
                format!("{name} is {}, and a badge with a PIN is for technicians at a kiosk", known.role);
            return Err(Problem::new(409, "no-badge", "They have no badge", detail, remedy));
        }
        let (badge_sha256, pin) = badge.unzip();
        let taken = everybody
            .iter()
            .find(|other| other.name != name && badge_sha256.is_some() && other.badge_sha256 == badge_sha256);
        if let Some(other) = taken {
            let remedy =
                "take it from them first (`groundstate person badge NAME --none`), or use another badge";
            return Err(Problem::new(
                409,
                "badge-taken",
                "The badge is another's",
                format!("{} has it", other.name),
                remedy,
            ));
        }
        let has_one = badge_sha256.is_some();
        let now = Person { badge_sha256, pin, pin_wrong: 0, ..known.clone() };
        db::person::put(tx.conn(), &now).await?;
        let facts = json!({ "person": name, "had_one": known.badge_sha256.is_some(), "has_one": has_one });
        tx.note(Fact::new("order.person-badge", &actor.name, facts)).await?;
        tx.commit().await?;
        Ok(people::view(now, None))
    }

    /// A PIN is about to be looked at: it counts as wrong until [`Service::pin_right`]. Whether there were too many before.
    pub async fn pin_tried(&self, name: &str, most: u64) -> Result<bool, Problem> {
        let mut tx = self.0.journal.begin().await?;
        let Some(known) = db::person::get(tx.conn(), name).await? else { return Ok(true) };
        if known.pin_wrong >= most {
            return Ok(true);
        }
        let now = Person { pin_wrong: known.pin_wrong + 1, ..known };
        db::person::put(tx.conn(), &now).await?;
        if now.pin_wrong == most {
            // It is told with the last try; where that one is right, the count begins anew.
            tx.note(Fact::new("login.last-try", "appliance", json!({ "person": name }))).await?;
        }
        tx.commit().await?;
        Ok(false)
    }

    /// It was right.
    pub async fn pin_right(&self, name: &str) -> Result<(), Problem> {
        let mut tx = self.0.journal.begin().await?;
        if let Some(known) = db::person::get(tx.conn(), name).await? {
            db::person::put(tx.conn(), &Person { pin_wrong: 0, ..known }).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Open a badge again that wrong PINs have closed. 409 `nothing-to-change`, `second-person-needed`.
    pub async fn unlock(&self, actor: &Actor, name: &str) -> Result<PersonView, Problem> {
        let mut tx = self.0.journal.begin().await?;
        let Some(known) = db::person::get(tx.conn(), name).await? else { return Err(people::unknown(name)) };
        if known.pin_wrong == 0 {
            let remedy = "nothing is to be done";
            return Err(Problem::new(
                409,
                "nothing-to-change",
                "It is not closed",
                format!("no wrong PIN stands against {name}"),
                remedy,
            ));
        }
        let facts = json!({ "person": name, "wrong": known.pin_wrong });
        let now = Person { pin_wrong: 0, ..known };
        db::person::put(tx.conn(), &now).await?;
        tx.note(Fact::new("order.person-unlock", &actor.name, facts)).await?;
        tx.commit().await?;
        Ok(people::view(now, None))
    }
}

/// What a badge and a PIN must be like; the badge's hash. 422 `bad-badge`, `bad-pin`.
pub fn check(order: &NewBadge) -> Result<String, Problem> {
    let badge = order.badge.trim();
    if !(BADGE_LEAST..=BADGE_MOST).contains(&badge.len()) || badge.chars().any(char::is_control) {
        let remedy = "hold it to the reader once more; the reader types the number and Enter";
        return Err(Problem::new(
            422,
            "bad-badge",
            "This is no badge",
            format!("{} characters", badge.len()),
            remedy,
        ));
    }
    let digits: Vec<u8> = order.pin.bytes().collect();
    let steps = |by: i16| digits.windows(2).all(|pair| i16::from(pair[1]) - i16::from(pair[0]) == by);
    let plain = steps(0) || steps(1) || steps(-1);
    if !digits.iter().all(u8::is_ascii_digit) || !(PIN_LEAST..=PIN_MOST).contains(&digits.len()) || plain {
        let detail = "it has too few digits, something else than digits, or is a row that everybody tries";
        let remedy = format!("take {PIN_LEAST} to {PIN_MOST} digits that are no row and not all the same");
        return Err(Problem::new(422, "bad-pin", "This PIN is too weak", detail, remedy));
    }
    Ok(badge_sha256(badge))
}

fn view(kiosk: Kiosk) -> KioskView {
    KioskView {
        kiosk: kiosk.name,
        paired_unix_ms: kiosk.paired,
        paired_by: kiosk.paired_by,
        ended_unix_ms: kiosk.ended,
    }
}
