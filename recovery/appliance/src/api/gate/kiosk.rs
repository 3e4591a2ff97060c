//! Badge and PIN at a paired kiosk: a tablet on the shop floor, and hands in gloves.
//!
//! ```text
//! pairing code (10 min, five tries) ─► the tablet's browser keeps a secret
//! badge (who) ─► lane ─► the try is counted ─► PIN (one Argon2id) ─► a technician's session
//! ```
//!
//! A badge only names; whoever copies it has nothing without the PIN, and the PIN counts nowhere but at a paired kiosk. Five wrong PINs in a row close the
//! badge until a person with another permission opens it again; that count lies in the database.
//!
//! It must never: keep a badge's number, or let in anybody but a technician.

use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use axum::http::HeaderMap;
use recovery_protocol::{Problem, people::Role};

use super::{Gate, Hash, Who, hash, lane::Turn, password, setup, tries};
use crate::{
    db::{kiosk::Kiosk, person::Person},
    keys::{self, KeyError},
    passwords,
};

/// The cookie by which a kiosk is known.
pub const KIOSK_COOKIE: &str = "__Host-groundstate-kiosk";
/// How long a pairing code works.
pub const PAIRING_AGE: Duration = Duration::from_secs(10 * 60);
/// Wrong PINs in a row.
pub const PIN_WRONG_MOST: u64 = 5;
const CODES_MOST: usize = 16;
const TRIES: u32 = 5;

/// Codes that stand, and kiosks.
#[derive(Debug, Default)]
pub struct Kiosks {
    codes: HashMap<String, Code>,
    paired: HashMap<Hash, String>,
}

#[derive(Debug)]
struct Code {
    hash: Hash,
    made: Instant,
    wrong: u32,
    by: String,
}

/// Somebody with a badge whose turn in the lane it is, before their PIN is looked at.
pub struct Badge {
    /// Whose.
    pub name: Option<String>,
    kiosk: Hash,
    counted: String,
    phc: Option<String>,
    turn: Turn,
}

impl Gate {
    /// A code that pairs this kiosk.
    ///
    /// # Errors
    /// [`KeyError::Random`].
    pub fn kiosk_code(&self, kiosk: &str, by: &str) -> Result<String, KeyError> {
        let code = setup::code()?;
        let mut inside = self.inside();
        inside.kiosks.codes.retain(|_, code| code.made.elapsed() < PAIRING_AGE);
        if inside.kiosks.codes.len() >= CODES_MOST {
            inside.kiosks.codes.clear();
        }
        let made =
            Code { hash: hash(&setup::plain(&code)), made: Instant::now(), wrong: 0, by: by.to_owned() };
        inside.kiosks.codes.insert(kiosk.to_owned(), made);
        Ok(code)
    }

    /// Use a code up: the kiosk, who made the code, and the secret that its browser is to keep.
    ///
    /// # Errors
    /// 401 `kiosk-code-wrong`.
    pub fn pair_kiosk(&self, offered: &str, from: IpAddr) -> Result<(String, String, String), Problem> {
        let offered = hash(&setup::plain(offered));
        let fits = {
            let mut inside = self.inside();
            inside.kiosks.codes.retain(|_, code| code.made.elapsed() < PAIRING_AGE && code.wrong < TRIES);
            let found = inside
                .kiosks
                .codes
                .iter()
                .find(|(_, code)| code.hash == offered)
                .map(|(name, _)| name.clone());
            if found.is_none() {
                inside.kiosks.codes.values_mut().for_each(|code| code.wrong += 1);
            }
            found.and_then(|name| inside.kiosks.codes.remove(&name).map(|code| (name, code.by)))
        };
        let Some((kiosk, by)) = fits else {
            let detail = "no pairing code that stands is this one";
            let remedy = "make one with `groundstate kiosk pair NAME`; it works for 10 minutes";
            let problem = Problem::new(401, "kiosk-code-wrong", "The tablet was not paired", detail, remedy);
            return Err(self.failed(None, from, "kiosk-code", problem));
        };
        let secret = keys::secret().map_err(|error| super::random_failed(&error))?;
        Ok((kiosk, by, secret))
    }

    /// These are paired from now on, and no others: sessions at others end.
    pub fn learn_kiosks(&self, kiosks: &[Kiosk]) {
        let live = kiosks.iter().filter(|kiosk| kiosk.ended.is_none());
        let paired = live.filter_map(|kiosk| {
            let secret: Hash = hex::decode(&kiosk.secret_sha256).ok()?.try_into().ok()?;
            Some((secret, kiosk.name.clone()))
        });
        let paired: HashMap<Hash, String> = paired.collect();
        let mut inside = self.inside();
        let ended =
            inside.sessions.keep(|session| session.kiosk.is_none_or(|kiosk| paired.contains_key(&kiosk)));
        inside.note(ended);
        inside.kiosks.paired = paired;
    }

    /// Which kiosk a request comes from.
    pub fn kiosk(&self, headers: &HeaderMap) -> Option<String> {
        self.kiosk_of(&hash(kiosk_cookie(headers)?))
    }

    fn kiosk_of(&self, secret: &Hash) -> Option<String> {
        self.inside().kiosks.paired.get(secret).cloned()
    }

    /// Somebody shows a badge at a kiosk, and has their turn in the lane. The PIN is looked at by [`Gate::sign_in_by_pin`], after the try was
    /// counted: one that is never looked at is none.
    ///
    /// # Errors
    /// 401 `kiosk-not-paired`, 429 `too-many-attempts`, 503 `sign-in-busy`.
    pub async fn badge(&self, headers: &HeaderMap, badge: &str, from: IpAddr) -> Result<Badge, Problem> {
        let kiosk = kiosk_cookie(headers).map(hash).filter(|secret| self.kiosk_of(secret).is_some());
        let kiosk = kiosk.ok_or_else(not_paired)?;
        let sha256 = badge_sha256(badge);
        let counted = format!("badge:{}", sha256.get(..16).unwrap_or_default());
        let blame = {
            let mut inside = self.inside();
            inside.tries.begin(&counted, from, Instant::now()).map_err(password::too_soon)?;
            inside.tries.blame(from)
        };
        let Ok(turn) = self.lane.turn(tries::source(from), blame).await else {
            self.inside().tries.void(&counted, from);
            return Err(password::busy());
        };
        let inside = self.inside();
        let known =
            inside.known.iter().find(|known| known.badge.as_ref().is_some_and(|(own, _)| *own == sha256));
        let known = known.filter(|known| known.role == Role::Technician);
        let (name, phc) = (
            known.map(|known| known.name.clone()),
            known.and_then(|known| known.badge.clone()).map(|(_, phc)| phc),
        );
        Ok(Badge { name, kiosk, counted, phc, turn })
    }

    /// Open a session with the PIN of a badge: whether it was theirs, and the session's cookie value. One Argon2id, also for a badge that is
    /// nobody's. A right PIN of somebody who may not in from there is a right one.
    ///
    /// # Errors
    /// 401 `sign-in-refused`, `kiosk-not-paired`, 403 `pin-locked`, `token-from-elsewhere`.
    pub async fn sign_in_by_pin(
        &self,
        badge: Badge,
        (pin, locked): (String, bool),
        from: IpAddr,
        at: u64,
    ) -> (bool, Result<String, Problem>) {
        let Badge { name, kiosk, counted, phc, turn } = badge;
        let phc = phc.filter(|_| !locked);
        let looked_at = phc.clone();
        let right = password::in_turn(turn, move || passwords::opens(&pin, phc.as_deref())).await;
        match right {
            Ok(right) => {
                let opened =
                    self.opened_by_pin((name, kiosk), (looked_at.filter(|_| right), locked), from, at);
                let mut inside = self.inside();
                match &opened {
                    Ok(_) => inside.tries.right(&counted, from),
                    Err(_) if right => inside.tries.void(&counted, from),
                    Err(_) => {}
                }
                (right, opened)
            }
            Err(problem) => (false, Err(problem)),
        }
    }

    fn opened_by_pin(
        &self,
        (name, kiosk): (Option<String>, Hash),
        (right, locked): (Option<String>, bool),
        from: IpAddr,
        at: u64,
    ) -> Result<String, Problem> {
        if locked && let Some(name) = &name {
            let detail = format!("{PIN_WRONG_MOST} wrong PINs were typed for the badge of {name}");
            let remedy = format!("an engineer or admin opens it again: `groundstate person unlock {name}`");
            let problem = Problem::new(403, "pin-locked", "This badge is closed", detail, remedy);
            return Err(self.failed(Some(name), from, "badge", problem));
        }
        let known = self.inside().known.iter().find(|known| Some(&known.name) == name.as_ref()).cloned();
        // The PIN that was looked at must be theirs still: another one may have been given while it was.
        let who: Option<Who> = known.filter(|known| !known.over(at)).and_then(|known| {
            let own = known.badge.as_ref().is_some_and(|(_, phc)| right.as_ref() == Some(phc));
            own.then(|| known.pin_key().map(|key| known.who(key, false)))?
        });
        let Some(who) = who.map(|who| who.here(from)).transpose()? else {
            let detail = "badge and PIN do not belong together";
            let problem = Problem::new(
                401,
                "sign-in-refused",
                "That did not sign you in",
                detail,
                "show the badge again, and mind the digits",
            );
            return Err(self.failed(name.as_deref(), from, "badge", problem));
        };
        // It may have been taken away while they waited.
        self.kiosk_of(&kiosk).ok_or_else(not_paired)?;
        self.open_at(&who, "badge", from, at, (Some(kiosk), None))
    }
}

fn not_paired() -> Problem {
    let detail = "a badge counts at a paired tablet alone";
    let remedy = "pair it: `groundstate kiosk pair NAME`";
    Problem::new(401, "kiosk-not-paired", "This tablet is not paired", detail, remedy)
}

/// A badge's number as it is kept.
#[must_use]
pub fn badge_sha256(badge: &str) -> String {
    keys::secret_hash(badge.trim())
}

/// A person's badge and PIN, where they have both.
pub fn of(person: &Person) -> Option<(String, String)> {
    Some((person.badge_sha256.clone()?, person.pin.clone()?))
}

fn kiosk_cookie(headers: &HeaderMap) -> Option<&str> {
    super::cookie_named(headers, KIOSK_COOKIE)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A kiosk of this name is paired; what its browser sends.
    pub fn paired(gate: &Gate, name: &str) -> HeaderMap {
        let kiosk = Kiosk {
            name: name.to_owned(),
            secret_sha256: keys::secret_hash("a kiosk's"),
            paired: 1,
            paired_by: "operator:ines".to_owned(),
            ended: None,
        };
        gate.learn_kiosks(&[kiosk]);
        let cookie = format!("{KIOSK_COOKIE}=a kiosk's");
        [(axum::http::header::COOKIE, cookie.parse().unwrap())].into_iter().collect()
    }
}
