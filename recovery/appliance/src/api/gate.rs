//! Who may in, and what they may: a bearer token, or a session that a secret opened. Everything behind this layer is denied by
//! default; only a route that stands before it is open, and a route that names no permission is closed to everybody.
//!
//! ```text
//! Authorization: Bearer <token> ─────────────────────────────────────────────────────┐
//! console-link ─► one-time code (10 min) ─┐                                          ├─► who, role ─► may this role do it? ─► Actor
//! token in the login form ────────────────┼► session cookie ─► Origin check on writes┘
//! name and password ─► slow-down ─► lane ─┘
//! ```
//!
//! The operator's token of the data directory is the site's own key to itself: role admin, name `token`, and one person
//! whether it comes by bearer or by session, so that it is nobody's second person. All others are people on record.
//! A session ends with the secret that opened it: a token, or a password as it is on record. What a person has counts until `ends`: token,
//! password, badge, the links and sessions of each.
//!
//! A browser sends the cookie only to us (`__Host-`, `SameSite=Strict`), and a write only counts when its `Origin` is our own address.
//! Of wrong secrets [`tries`] decides, of Argon2id the [`lane`], of sessions [`sessions`]. While no admin is on record a set-up code of
//! the appliance makes the first one ([`setup`]).
//!
//! It must never: keep a secret in clear longer than its comparison takes, or compare one byte by byte.

mod elsewhere;
mod kiosk;
mod lane;
mod layer;
mod open;
mod password;
mod sessions;
mod setup;
mod tries;
mod who;

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::http::{HeaderMap, Method, Uri, header};
use ipnet::IpNet;
use recovery_protocol::{
    Problem,
    people::{Origin, Permission, Role, SessionView},
    selector::Selector,
};
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use rustls::DistinguishedName;
use subtle::ConstantTimeEq as _;
use tokio::sync::watch;

pub use self::{
    elsewhere::Elsewhere,
    kiosk::{KIOSK_COOKIE, PAIRING_AGE, PIN_WRONG_MOST, badge_sha256},
    layer::{address, layer, same_origin, wants_page},
    open::Open,
    setup::CODE_AGE,
    tries::source,
    who::Who,
};
use self::{
    kiosk::Kiosks,
    lane::Lane,
    sessions::{Opening, Sessions},
    setup::Setup,
    tries::{OF_ADDRESS_MOST, Tries, Written},
};
use super::Refusal;
use crate::{
    db::person::Person,
    keys::{self, KeyError},
    service::certificate,
    tls::Peer,
};

/// The session cookie's name; the prefix binds it to this host, `Secure` and `Path=/` (RFC 6265bis §4.1.3.2).
pub const COOKIE: &str = "__Host-groundstate";
/// How long a link from `groundstate console-link` works.
pub const LINK_AGE: Duration = Duration::from_secs(10 * 60);
/// After so long people are read from the database again.
const LEARN_EVERY: Duration = Duration::from_secs(30);
/// Argon2id at once: one core stays for what recovers endpoints.
const LANES: usize = 1;
/// Notes that wait to be written.
const NOTES_MOST: usize = 512;

type Hash = [u8; SHA256_OUTPUT_LEN];

/// The name of the operator's token of the data directory.
const OWN: &str = "token";
/// How often it is noted that somebody is here.
const USED_MS: u64 = 3_600_000;

/// What is to be written into evidence by whoever has a database.
#[derive(Debug, Clone)]
pub struct Note {
    /// Its kind.
    pub kind: &'static str,
    /// Who did it.
    pub actor: String,
    /// What.
    pub facts: serde_json::Value,
}

/// A person, and what opens for them.
#[derive(Debug, Clone)]
struct Known {
    token: Hash,
    /// Their password as it is on record, and its hash: what a session belongs to.
    password: Option<(String, Hash)>,
    /// The hash of their certificate, who issued it, and when it ends.
    certificate: Option<(Hash, DistinguishedName, u64)>,
    /// The hash of their badge, and their PIN as it is on record.
    badge: Option<(String, String)>,
    /// Who they are says somebody else: what a session belongs to that was opened so.
    elsewhere: Option<Hash>,
    name: String,
    role: Role,
    scope: Option<Selector>,
    networks: Vec<IpNet>,
    ends: Option<u64>,
    /// Until when the word of who says who they are counts; `None`: they are on record here.
    believed: Option<u64>,
    used: u64,
}

#[derive(Default)]
struct Inside {
    known: Vec<Known>,
    /// When they were learned last.
    learned: Option<Instant>,
    sessions: Sessions,
    /// When each was made, the secret of who asked for it, and since when the session is open in which they asked.
    links: HashMap<Hash, (Instant, Hash, Option<Instant>)>,
    tries: Tries,
    /// What of refused roles is written.
    refused: Written,
    setup: Setup,
    kiosks: Kiosks,
    notes: Vec<Note>,
    /// Counts what may have ended what somebody has open.
    ended: watch::Sender<u64>,
}

/// Tokens, passwords, links and sessions.
pub struct Gate {
    token: Hash,
    inside: Mutex<Inside>,
    lane: Arc<Lane>,
}

impl Gate {
    /// A gate that the operator's token opens.
    #[must_use]
    pub fn new(operator_token: &str) -> Self {
        Self { token: hash(operator_token), inside: Mutex::default(), lane: Lane::new(LANES) }
    }

    /// From now on these people may in, and nobody else. Sessions of secrets that are gone end, at this time (milliseconds since 1970).
    pub fn learn(&self, people: &[Person], at: u64) {
        let known = people.iter().filter(|person| !person.disabled).filter_map(|person| {
            let token = hex::decode(&person.token_sha256).ok()?.try_into().ok()?;
            let used = person.used.unwrap_or_default();
            // One that cannot be read is nowhere: better nobody than somebody from anywhere.
            let network = |text: &String| text.parse().unwrap_or(IpNet::from(IpAddr::from([255; 4])));
            let networks = person.networks.iter().map(network).collect();
            let (name, scope) = (person.name.clone(), person.scope.clone());
            let password = person.password.as_ref().map(|phc| (phc.clone(), hash(phc)));
            let certificate = certificate::of(person).and_then(|der| {
                certificate::issuer(&der).map(|(issuer, ends)| (hash_of(&der), issuer, ends))
            });
            Some(Known {
                token,
                password,
                certificate,
                badge: kiosk::of(person),
                elsewhere: elsewhere::key(person),
                name,
                role: person.role,
                scope,
                networks,
                ends: person.token_ends,
                believed: (person.origin != Origin::Here).then(|| person.believed_until.unwrap_or_default()),
                used,
            })
        });
        let known: Vec<Known> = known.collect();
        let mut inside = self.inside();
        let own = self.token;
        let mut notes = inside.sessions.keep(|session| {
            session.key == own
                || known.iter().any(|person| person.name == session.person && person.opened(&session.key, at))
        });
        notes.extend(inside.sessions.sweep(Instant::now()));
        inside.note(notes);
        (inside.known, inside.learned) = (known, Some(Instant::now()));
        inside.ended.send_modify(|count| *count += 1);
    }

    /// Whether people are to be learned again. Each change is told at once; one whose asker went away before it was, is learned so.
    pub fn forgets(&self) -> bool {
        self.inside().learned.is_none_or(|at| at.elapsed() > LEARN_EVERY)
    }

    /// Issuers of the certificates that are pinned on people: those are asked for.
    pub fn client_issuers(&self) -> Vec<DistinguishedName> {
        let inside = self.inside();
        inside
            .known
            .iter()
            .filter_map(|known| known.certificate.as_ref())
            .map(|(_, issuer, _)| issuer.clone())
            .collect()
    }

    /// As after [`LEARN_EVERY`].
    #[cfg(test)]
    pub fn let_time_pass(&self) {
        self.inside().learned = None;
    }

    /// How many Argon2id ran.
    #[cfg(test)]
    pub fn argon2_runs(&self) -> u64 {
        self.lane.runs()
    }

    /// What is to be written into evidence, once.
    pub fn notes(&self) -> Vec<Note> {
        std::mem::take(&mut self.inside().notes)
    }

    /// A one-time code that opens one session of this person within [`LINK_AGE`]; asked for in a session, it opens none that outlives it:
    /// else who was asked about once would never be asked about again.
    ///
    /// # Errors
    /// [`KeyError::Random`].
    pub fn link(&self, who: &Who) -> Result<String, KeyError> {
        let code = keys::secret()?;
        let now = Instant::now();
        let mut inside = self.inside();
        inside.links.retain(|_, (made, ..)| now.duration_since(*made) < LINK_AGE);
        let since =
            who.session.and_then(|cookie| inside.sessions.look(&cookie, now)).map(|session| session.opened);
        inside.links.insert(hash(&code), (now, who.key, since));
        Ok(code)
    }

    /// Open a session with a one-time code or a token; its cookie value. `at`: milliseconds since 1970.
    ///
    /// # Errors
    /// 401 for a wrong, spent or ended secret, 429 after too many wrong ones.
    pub fn sign_in(&self, secret: &str, from: IpAddr, at: u64) -> Result<String, Problem> {
        let now = Instant::now();
        let offered = hash(secret.trim());
        let link = self.inside().links.remove(&offered);
        let link = link.filter(|(made, ..)| now.duration_since(*made) < LINK_AGE);
        let since = link.and_then(|(.., since)| since);
        let how = if link.is_some() { "link" } else { "token" };
        let opens = match link {
            // The secret of whoever asked for the link: a token, or a password by its session.
            Some((_, key, _)) => self.holder(&key, at),
            None => self.who(&offered, at),
        };
        let opens = opens.filter(|who| who.role.may(Permission::Session));
        let Some(who) = opens.map(|who| who.here(from)).transpose()? else {
            let problem = Problem::new(
                401,
                "sign-in-refused",
                "That did not open the console",
                "the link was used, is older than 10 minutes, or the token is wrong, has ended, or is a program's",
                "run `groundstate console-link` on the appliance for a fresh link",
            );
            return Err(self.failed(None, from, how, problem));
        };
        self.open_at(&who, how, from, at, (None, since))
    }

    fn open(&self, who: &Who, how: &'static str, from: IpAddr, at: u64) -> Result<String, Problem> {
        self.open_at(who, how, from, at, (None, None))
    }

    /// `kiosk`: the hash of its secret; the session ends with it. `since`: it ends as one that was opened then.
    fn open_at(
        &self,
        who: &Who,
        how: &'static str,
        from: IpAddr,
        at: u64,
        (kiosk, since): (Option<Hash>, Option<Instant>),
    ) -> Result<String, Problem> {
        let cookie = keys::secret().map_err(|error| random_failed(&error))?;
        let opening = Opening { person: &who.name, role: who.role, key: who.key, how, from, kiosk, since };
        let mut inside = self.inside();
        let notes = inside.sessions.open(hash(&cookie), &opening, (Instant::now(), at));
        inside.note(notes);
        Ok(cookie)
    }

    /// End the session of this cookie value.
    pub fn sign_out(&self, headers: &HeaderMap) {
        if let Some(cookie) = cookie(headers) {
            let mut inside = self.inside();
            let note = inside.sessions.leave(&hash(cookie));
            inside.note(note);
        }
    }

    /// Sessions that are open: one's own, or, for whoever manages people, all.
    pub fn sessions(&self, who: &Who, all: bool, headers: &HeaderMap) -> Vec<SessionView> {
        let of = if all && who.may(Permission::People) { None } else { Some(who.name.as_str()) };
        let mine = cookie(headers).map(hash);
        self.inside().sessions.list(of, mine.as_ref(), Instant::now())
    }

    /// End a session by its name: one's own, or, for whoever manages people, any.
    ///
    /// # Errors
    /// 404 `unknown-session`.
    pub fn end_session(&self, who: &Who, id: &str) -> Result<(), Problem> {
        let of = if who.may(Permission::People) { None } else { Some(who.name.as_str()) };
        let mut inside = self.inside();
        let Some(note) = inside.sessions.end(id, of, &who.actor().name) else {
            let detail = format!("`{id}` is no session of yours that is open");
            let remedy = "look for it with `groundstate person sessions`";
            return Err(Problem::new(404, "unknown-session", "There is no such session", detail, remedy));
        };
        inside.note([note]);
        Ok(())
    }

    /// Who asks, by bearer token or session; writes by session need our own `Origin`. `at`: milliseconds since 1970.
    ///
    /// # Errors
    /// 401 without a valid secret, 403 for a write from another origin, 429 after too many wrong tokens.
    pub fn admit(
        &self,
        (method, uri): (&Method, &Uri),
        headers: &HeaderMap,
        from: IpAddr,
        at: u64,
    ) -> Result<Who, Problem> {
        if let Some(value) = headers.get(header::AUTHORIZATION) {
            let bearer = value.to_str().ok().and_then(|text| text.split_once(' '));
            let bearer = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
            let who = bearer.and_then(|(_, token)| self.who(&hash(token.trim()), at));
            let who = who.ok_or_else(|| {
                let why = "the bearer token is nobody's, or it has ended";
                self.failed(None, from, "bearer", Refusal::unauthenticated(why).0)
            })?;
            return who.here(from);
        }
        let by_itself = method.is_safe() && layer::by_itself(uri);
        let who = cookie(headers).and_then(|cookie| self.touch(&hash(cookie), (at, by_itself)));
        let Some(who) = who.map(|who| who.here(from)).transpose()? else {
            return Err(Refusal::unauthenticated(
                "the request carries neither a bearer token nor a live session",
            )
            .0);
        };
        if method.is_safe() || same_origin(headers) {
            return Ok(who);
        }
        Err(foreign_origin())
    }

    /// Who asks, as [`Gate::admit`], or by the certificate of the connection where the request carries no other secret. A page of another
    /// site must not order something by it: a browser would show it unasked.
    ///
    /// # Errors
    /// As [`Gate::admit`].
    pub fn admit_peer(
        &self,
        (method, uri): (&Method, &Uri),
        headers: &HeaderMap,
        peer: Option<&Peer>,
        at: u64,
    ) -> Result<Who, Problem> {
        let from = address(peer);
        let other = headers.contains_key(header::AUTHORIZATION) || cookie(headers).is_some();
        let shown = peer.and_then(|peer| peer.certificate.as_ref()).filter(|_| !other);
        let Some(who) = shown.and_then(|der| self.who_shows(&hash_of(der), at)) else {
            return self.admit((method, uri), headers, from, at);
        };
        if !method.is_safe() && headers.contains_key(header::ORIGIN) && !same_origin(headers) {
            return Err(foreign_origin());
        }
        who.here(from)
    }

    fn who_shows(&self, shown: &Hash, at: u64) -> Option<Who> {
        let mut inside = self.inside();
        let fits = |known: &&mut Known| {
            known.certificate.as_ref().is_some_and(|(own, _, ends)| own == shown && at < *ends)
                && !known.unbelieved(at)
        };
        inside.known.iter_mut().find(fits).map(|known| known.seen(*shown, at))
    }

    /// Whose token this is. All are looked at, whichever fits.
    fn who(&self, offered: &Hash, at: u64) -> Option<Who> {
        let own: bool = self.token.ct_eq(offered).into();
        let mut found = own.then(|| self.own());
        for known in &mut self.inside().known {
            let fits: bool = known.token.ct_eq(offered).into();
            if fits && !known.over(at) {
                found = Some(known.seen(*offered, at));
            }
        }
        found
    }

    /// Whose secret a session belongs to: a token that has not ended, or a password as it is on record. Never asked for what somebody sent.
    fn holder(&self, key: &Hash, at: u64) -> Option<Who> {
        if let Some(who) = self.who(key, at) {
            return Some(who);
        }
        let mut inside = self.inside();
        let known = inside.known.iter_mut().find(|known| known.opened(key, at));
        known.map(|known| known.seen(*key, at))
    }

    fn own(&self) -> Who {
        Who {
            name: OWN.to_owned(),
            role: Role::Admin,
            scope: None,
            networks: Vec::new(),
            key: self.token,
            session: None,
            kiosk: false,
            note: false,
        }
    }

    /// Of a request that the page sends by itself a session is none the younger: else an open page would never be idle.
    fn touch(&self, cookie: &Hash, (at, by_itself): (u64, bool)) -> Option<Who> {
        let now = Instant::now();
        let session = {
            let mut inside = self.inside();
            if by_itself {
                inside.sessions.look(cookie, now)?
            } else {
                inside.sessions.touch(cookie, (now, at))?
            }
        };
        let who = self.holder(&session.key, at)?;
        Some(Who { kiosk: session.kiosk.is_some(), session: Some(*cookie), ..who })
    }

    /// Count a wrong secret; past the limit the answer is 429, so that guessing is slow and seen. A right token is
    /// never refused: nobody can lock the operator out.
    fn failed(&self, person: Option<&str>, from: IpAddr, how: &'static str, otherwise: Problem) -> Problem {
        let now = Instant::now();
        let mut inside = self.inside();
        let count = inside.tries.wrong(from, now);
        let note = inside.tries.entry(person, from, how, now);
        inside.note(note);
        tracing::warn!(%from, count, how, "a wrong secret was offered");
        if count <= OF_ADDRESS_MOST {
            return otherwise;
        }
        let detail = format!("more than {OF_ADDRESS_MOST} wrong secrets came from {from} within a minute");
        Problem::new(429, "too-many-attempts", "Too many attempts", detail, "wait a minute, then try again")
    }

    fn inside(&self) -> std::sync::MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    /// Keep it until it is written; the oldest stay, since they say how it began.
    fn note(&mut self, notes: impl IntoIterator<Item = Note>) {
        self.ended.send_modify(|count| *count += 1);
        let room = NOTES_MOST.saturating_sub(self.notes.len());
        self.notes.extend(notes.into_iter().take(room));
    }
}

impl Known {
    /// What a session belongs to that their password opened.
    fn password_key(&self) -> Option<Hash> {
        self.password.as_ref().map(|(_, key)| *key)
    }

    /// What a session belongs to that their badge and PIN opened.
    fn pin_key(&self) -> Option<Hash> {
        self.badge.as_ref().map(|(_, phc)| hash(phc))
    }

    /// Whether their time here is over.
    fn over(&self, at: u64) -> bool {
        self.ends.is_some_and(|ends| at >= ends) || self.unbelieved(at)
    }

    /// Whether it is too long ago that somebody said who they are.
    fn unbelieved(&self, at: u64) -> bool {
        self.believed.is_some_and(|until| at >= until)
    }

    /// Whether a session with this key is theirs still.
    fn opened(&self, key: &Hash, at: u64) -> bool {
        if self.over(at) {
            return false;
        }
        self.token == *key
            || self.password_key().as_ref() == Some(key)
            || self.pin_key().as_ref() == Some(key)
            || self.elsewhere.as_ref() == Some(key)
    }

    fn seen(&mut self, key: Hash, at: u64) -> Who {
        let note = at.saturating_sub(self.used) >= USED_MS;
        self.used = if note { at } else { self.used };
        self.who(key, note)
    }

    fn who(&self, key: Hash, note: bool) -> Who {
        let Self { name, role, scope, networks, .. } = self.clone();
        Who { name, role, scope, networks, key, session: None, kiosk: false, note }
    }
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    cookie_named(headers, COOKIE)
}

/// The value of a cookie.
pub fn cookie_named<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == wanted).then_some(value))
}

fn hash(secret: &str) -> Hash {
    hash_of(secret.as_bytes())
}

fn hash_of(bytes: &[u8]) -> Hash {
    let mut hash = [0; SHA256_OUTPUT_LEN];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

fn foreign_origin() -> Problem {
    let detail = "the request was not sent by a page of this console";
    let remedy = "open the console itself and try again";
    Problem::new(403, "foreign-origin", "This request comes from another site", detail, remedy)
}

/// No random bytes: nothing secret can be made.
#[must_use]
pub fn random_failed(error: &KeyError) -> Problem {
    Problem::new(
        500,
        "no-random",
        "The appliance cannot make a secret",
        error.to_string(),
        "restart the appliance",
    )
}

#[cfg(test)]
mod tests;
