//! Sessions of the console: who has one open, until when, and why it ended.
//!
//! ```text
//! open ─► used ─► … ─► ended: signed out · idle · too old · ended by a person · its secret is gone · one too many
//! ```
//!
//! A session is 256 random bits, of which the hash is kept, in memory: a restart signs everybody out, and a copy of the database opens none. It belongs
//! to the secret that opened it (a token, or a password as it is on record) and ends with it.
//!
//! It must never: keep a cookie's value.

use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use recovery_protocol::people::{Role, SessionView};
use ring::digest::{SHA256, digest};
use serde_json::json;

use super::{Hash, Note};

/// Twelve hours old, it ends.
const AGE: Duration = Duration::from_secs(12 * 60 * 60);
const IDLE: Duration = Duration::from_secs(30 * 60);
/// At the machine others pass by.
const IDLE_TECHNICIAN: Duration = Duration::from_secs(15 * 60);
const MOST: usize = 256;
const OF_ONE_MOST: usize = 16;

/// One session.
#[derive(Debug, Clone)]
pub struct Session {
    /// Its name: what may be shown.
    pub id: String,
    /// Whose.
    pub person: String,
    /// The secret that opened it.
    pub key: Hash,
    /// How it was opened.
    pub how: &'static str,
    /// From where.
    pub from: IpAddr,
    /// The hash of the secret of the kiosk at which it was opened.
    pub kiosk: Option<Hash>,
    idle: Duration,
    /// Since when; of one that a link opened, the session in which it was asked for.
    pub opened: Instant,
    used: Instant,
    opened_ms: u64,
    used_ms: u64,
}

/// All of them, by the hash of their cookie's value.
#[derive(Debug, Default)]
pub struct Sessions {
    open: HashMap<Hash, Session>,
}

/// Who opens a session, and with what.
pub struct Opening<'a> {
    /// Whose.
    pub person: &'a str,
    /// Their role.
    pub role: Role,
    /// The secret.
    pub key: Hash,
    /// How.
    pub how: &'static str,
    /// From where.
    pub from: IpAddr,
    /// At which kiosk.
    pub kiosk: Option<Hash>,
    /// It ends as one that was opened then; `None`: now.
    pub since: Option<Instant>,
}

impl Sessions {
    /// Open one; what happened is in the notes.
    pub fn open(&mut self, cookie: Hash, by: &Opening<'_>, (now, at): (Instant, u64)) -> Vec<Note> {
        let mut notes = self.sweep(now);
        let own = self.open.values().filter(|session| session.person == by.person).count();
        let one_too_many = if own >= OF_ONE_MOST { Some(by.person.to_owned()) } else { self.most_of(MOST) };
        if let Some(person) = one_too_many {
            let of_them = self.open.iter().filter(|(_, session)| session.person == person);
            let oldest = of_them.min_by_key(|(_, session)| session.used).map(|(hash, _)| *hash);
            let ended = oldest.and_then(|hash| self.open.remove(&hash));
            notes.extend(ended.map(|session| session.ended("one too many", None)));
        }
        let id = hex::encode(&digest(&SHA256, &cookie).as_ref()[..6]);
        let idle = if by.role == Role::Technician { IDLE_TECHNICIAN } else { IDLE };
        let session = Session {
            id,
            person: by.person.to_owned(),
            key: by.key,
            how: by.how,
            from: by.from,
            kiosk: by.kiosk,
            idle,
            opened: by.since.unwrap_or(now),
            used: now,
            opened_ms: at,
            used_ms: at,
        };
        let facts =
            json!({ "session": session.id, "how": by.how, "from": by.from.to_canonical().to_string() });
        notes.push(Note { kind: "session.opened", actor: format!("operator:{}", by.person), facts });
        self.open.insert(cookie, session);
        notes
    }

    /// Whoever has the most, where there are as many as there may be: a flood pushes out its own.
    fn most_of(&self, most: usize) -> Option<String> {
        if self.open.len() < most {
            return None;
        }
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for session in self.open.values() {
            *counts.entry(&session.person).or_default() += 1;
        }
        counts.into_iter().max_by_key(|(_, count)| *count).map(|(person, _)| person.to_owned())
    }

    /// It is used now, where it still lives.
    pub fn touch(&mut self, cookie: &Hash, (now, at): (Instant, u64)) -> Option<Session> {
        let session = self.open.get_mut(cookie).filter(|session| session.over(now).is_none())?;
        (session.used, session.used_ms) = (now, at);
        Some(session.clone())
    }

    /// Whose it is, where it still lives, without using it.
    pub fn look(&self, cookie: &Hash, now: Instant) -> Option<Session> {
        self.open.get(cookie).filter(|session| session.over(now).is_none()).cloned()
    }

    /// Its owner leaves.
    pub fn leave(&mut self, cookie: &Hash) -> Option<Note> {
        self.open.remove(cookie).map(|session| session.ended("signed out", None))
    }

    /// End one by its name; `of`: only one of this person.
    pub fn end(&mut self, id: &str, of: Option<&str>, by: &str) -> Option<Note> {
        let fits = |session: &Session| session.id == id && of.is_none_or(|of| session.person == of);
        let hash = self.open.iter().find(|(_, session)| fits(session)).map(|(hash, _)| *hash)?;
        self.open.remove(&hash).map(|session| session.ended("ended by a person", Some(by)))
    }

    /// Those whose secret is none any more end.
    pub fn keep(&mut self, valid: impl Fn(&Session) -> bool) -> Vec<Note> {
        let mut notes = Vec::new();
        self.open.retain(|_, session| {
            let keep = valid(session);
            if !keep {
                notes.push(session.ended("its secret ended, or its owner was shut out", None));
            }
            keep
        });
        notes
    }

    /// Those whose time is over end.
    pub fn sweep(&mut self, now: Instant) -> Vec<Note> {
        let mut notes = Vec::new();
        self.open.retain(|_, session| {
            let over = session.over(now);
            notes.extend(over.map(|why| session.ended(why, None)));
            over.is_none()
        });
        notes
    }

    /// What is open, of one or of all, the newest first.
    pub fn list(&self, of: Option<&str>, mine: Option<&Hash>, now: Instant) -> Vec<SessionView> {
        let shown = self.open.iter().filter(|(_, session)| session.over(now).is_none());
        let shown = shown.filter(|(_, session)| of.is_none_or(|of| session.person == of));
        let mut views: Vec<SessionView> = shown
            .map(|(hash, session)| SessionView {
                session: session.id.clone(),
                person: session.person.clone(),
                how: session.how.to_owned(),
                from: session.from.to_canonical().to_string(),
                opened_unix_ms: session.opened_ms,
                used_unix_ms: session.used_ms,
                this: mine == Some(hash),
            })
            .collect();
        views.sort_by(|a, b| b.opened_unix_ms.cmp(&a.opened_unix_ms).then(a.session.cmp(&b.session)));
        views
    }
}

impl Session {
    fn over(&self, now: Instant) -> Option<&'static str> {
        if now.duration_since(self.opened) >= AGE {
            return Some("twelve hours old");
        }
        (now.duration_since(self.used) >= self.idle).then_some("idle")
    }

    fn ended(&self, why: &str, by: Option<&str>) -> Note {
        let facts = json!({ "session": self.id, "person": self.person, "why": why, "opened_unix_ms": self.opened_ms });
        let actor = by.map_or_else(|| format!("operator:{}", self.person), str::to_owned);
        Note { kind: "session.ended", actor, facts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn open(sessions: &mut Sessions, cookie: u8, person: &str, role: Role, now: Instant) -> Vec<Note> {
        sessions.open(
            [cookie; 32],
            &Opening { person, role, key: [0; 32], how: "token", from: FROM, kiosk: None, since: None },
            (now, 1),
        )
    }

    #[test]
    fn a_session_ends_idle_and_old_and_says_why() {
        let mut sessions = Sessions::default();
        let begun = Instant::now();
        open(&mut sessions, 1, "anna", Role::Engineer, begun);
        open(&mut sessions, 2, "tom", Role::Technician, begun);
        let minutes = |n: u64| begun + Duration::from_secs(n * 60);
        assert!(sessions.touch(&[2; 32], (minutes(15), 2)).is_none(), "a technician's ends sooner");
        assert!(sessions.touch(&[1; 32], (minutes(29), 2)).is_some());
        assert!(sessions.look(&[1; 32], minutes(58)).is_some(), "which does not keep it");
        assert!(sessions.look(&[1; 32], minutes(59)).is_none());
        let notes = sessions.sweep(minutes(29));
        assert_eq!((notes.len(), &notes[0].facts["why"]), (1, &json!("idle")));
        for n in 1..25 {
            assert!(sessions.touch(&[1; 32], (minutes(29 * n), 2)).is_some());
        }
        assert!(sessions.touch(&[1; 32], (minutes(720), 2)).is_none());
        assert_eq!(sessions.sweep(minutes(720))[0].facts["why"], "twelve hours old");
    }

    #[test]
    fn one_persons_sessions_push_out_their_own() {
        let mut sessions = Sessions::default();
        let now = Instant::now();
        open(&mut sessions, 255, "otto", Role::Engineer, now);
        let mut pushed = 0;
        for n in 0..40 {
            pushed += open(&mut sessions, n, "anna", Role::Engineer, now + Duration::from_secs(u64::from(n)))
                .len()
                - 1;
        }
        assert_eq!((pushed, sessions.list(Some("anna"), None, now).len()), (40 - OF_ONE_MOST, OF_ONE_MOST));
        assert!(sessions.touch(&[255; 32], (now, 1)).is_some());
    }

    #[test]
    fn only_its_owner_ends_a_session_where_one_is_named() {
        let mut sessions = Sessions::default();
        let now = Instant::now();
        open(&mut sessions, 1, "anna", Role::Engineer, now);
        let id = sessions.list(None, Some(&[1; 32]), now)[0].session.clone();
        assert!(sessions.end(&id, Some("otto"), "operator:otto").is_none());
        assert!(sessions.end("", None, "x").is_none());
        let note = sessions.end(&id, None, "operator:admin").unwrap();
        assert_eq!((note.kind, note.actor.as_str()), ("session.ended", "operator:admin"));
        assert!(sessions.touch(&[1; 32], (now, 1)).is_none());
    }
}
