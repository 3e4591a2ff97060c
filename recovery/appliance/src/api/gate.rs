//! Who may in, and what they may: a bearer token, or a session that one opened. Everything behind this layer is denied by
//! default; only a route that stands before it is open, and a route that names no permission is closed to everybody.
//!
//! ```text
//! Authorization: Bearer <token> ─────────────────────────────────────────────────────┐
//! console-link ─► one-time code (10 min) ─┐                                          ├─► who, role ─► may this role do it? ─► Actor
//! token in the login form ────────────────┴► session cookie ─► Origin check on writes┘
//! ```
//!
//! The operator's token of the data directory is the site's own key to itself: role admin, name `token`, and one person
//! whether it comes by bearer or by session, so that it is nobody's second person. All others are people on record.
//! A session ends with the token that opened it.
//!
//! A session is 256 random bits of which only the hash is kept, in memory: a restart signs everybody out, and a copy of
//! the database opens no session. Idle for 30 minutes or 12 hours old, it ends. A browser sends the cookie only to us
//! (`__Host-`, `SameSite=Strict`), and a write only counts when its `Origin` is our own address.
//!
//! Ten wrong secrets a minute from one address are answered 401, more 429.
//!
//! It must never: keep a secret in clear longer than its comparison takes, or compare one byte by byte.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, Method, Uri, header},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use ipnet::IpNet;
use recovery_protocol::{
    Problem,
    people::{Permission, Role},
    selector::Selector,
};
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use subtle::ConstantTimeEq as _;

use super::{Needs, People, Refusal};
use crate::{
    console,
    db::person::Person,
    keys::{self, KeyError},
    service::Actor,
    tls::Peer,
};

/// The session cookie's name; the prefix binds it to this host, `Secure` and `Path=/` (RFC 6265bis §4.1.3.2).
pub const COOKIE: &str = "__Host-groundstate";
const SESSION_IDLE: Duration = Duration::from_secs(30 * 60);
const SESSION_AGE: Duration = Duration::from_secs(12 * 60 * 60);
/// How long a link from `groundstate console-link` works.
pub const LINK_AGE: Duration = Duration::from_secs(10 * 60);
/// After so long people are read from the database again.
const LEARN_EVERY: Duration = Duration::from_secs(30);
const SESSIONS_MAX: usize = 256;
const FAILURES_MAX: u32 = 10;
const FAILURES_WINDOW: Duration = Duration::from_secs(60);

type Hash = [u8; SHA256_OUTPUT_LEN];

/// The name of the operator's token of the data directory.
const OWN: &str = "token";
/// How often it is noted that somebody is here.
const USED_MS: u64 = 3_600_000;

struct Session {
    opened: Instant,
    used: Instant,
    /// The token that opened it.
    token: Hash,
}

/// A token, and whose it is.
#[derive(Debug, Clone)]
struct Known {
    token: Hash,
    name: String,
    role: Role,
    scope: Option<Selector>,
    networks: Vec<IpNet>,
    ends: Option<u64>,
    used: u64,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// Their name; `token` for the operator's token of the data directory.
    pub name: String,
    /// What they may.
    pub role: Role,
    /// About whom they may order something.
    scope: Option<Selector>,
    /// From where their token counts; empty: from anywhere.
    networks: Vec<IpNet>,
    /// Hash of the token that let them in.
    token: Hash,
    /// That they are here shall be noted.
    pub note: bool,
}

impl Who {
    /// As it stands in evidence.
    #[must_use]
    pub fn actor(&self) -> Actor {
        Actor { scope: self.scope.clone(), ..Actor::operator(&self.name) }
    }
}

impl Who {
    /// 403 `token-from-elsewhere` where their token does not count. An IPv4 address inside an IPv6 one is that address (RFC 4291 §2.5.5.2).
    fn here(self, from: IpAddr) -> Result<Self, Problem> {
        let from = from.to_canonical();
        if self.networks.is_empty() || self.networks.iter().any(|network| network.contains(&from)) {
            return Ok(self);
        }
        tracing::warn!(who = self.name, %from, "a token was used outside of its networks");
        let detail = format!("the token of {} does not count from {from}", self.name);
        let remedy =
            "come from a network of theirs; an admin changes them with `groundstate person set --network`";
        Err(Problem::new(403, "token-from-elsewhere", "This token does not count from here", detail, remedy))
    }
}

#[derive(Default)]
struct Inside {
    known: Vec<Known>,
    /// When they were learned last.
    learned: Option<Instant>,
    sessions: HashMap<Hash, Session>,
    links: HashMap<Hash, (Instant, Hash)>,
    /// Wrong secrets by address: how many since when.
    failures: HashMap<IpAddr, (u32, Instant)>,
}

/// Tokens, links and sessions.
pub struct Gate {
    token: Hash,
    inside: Mutex<Inside>,
}

impl Gate {
    /// A gate that the operator's token opens.
    #[must_use]
    pub fn new(operator_token: &str) -> Self {
        Self { token: hash(operator_token), inside: Mutex::default() }
    }

    /// From now on these people may in, and nobody else. Sessions of tokens that are gone end.
    pub fn learn(&self, people: &[Person]) {
        let known = people.iter().filter(|person| !person.disabled).filter_map(|person| {
            let token = hex::decode(&person.token_sha256).ok()?.try_into().ok()?;
            let used = person.used.unwrap_or_default();
            // One that cannot be read is nowhere: better nobody than somebody from anywhere.
            let network = |text: &String| text.parse().unwrap_or(IpNet::from(IpAddr::from([255; 4])));
            let networks = person.networks.iter().map(network).collect();
            let (name, scope) = (person.name.clone(), person.scope.clone());
            Some(Known { token, name, role: person.role, scope, networks, ends: person.token_ends, used })
        });
        let known = known.collect();
        let mut inside = self.inside();
        (inside.known, inside.learned) = (known, Some(Instant::now()));
    }

    /// Whether people are to be learned again. Each change is told at once; one whose asker went away before it was, is learned so.
    pub fn forgets(&self) -> bool {
        self.inside().learned.is_none_or(|at| at.elapsed() > LEARN_EVERY)
    }

    /// As after [`LEARN_EVERY`].
    #[cfg(test)]
    pub fn let_time_pass(&self) {
        self.inside().learned = None;
    }

    /// A one-time code that opens one session of this person within [`LINK_AGE`].
    ///
    /// # Errors
    /// [`KeyError::Random`].
    pub fn link(&self, who: &Who) -> Result<String, KeyError> {
        let code = keys::secret()?;
        let now = Instant::now();
        let mut inside = self.inside();
        inside.links.retain(|_, (made, _)| now.duration_since(*made) < LINK_AGE);
        inside.links.insert(hash(&code), (now, who.token));
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
        let link = link.filter(|(made, _)| now.duration_since(*made) < LINK_AGE);
        let token = link.map_or(offered, |(_, token)| token);
        let opens = self.who(&token, at).filter(|who| who.role.may(Permission::Session));
        let opens = opens.map(|who| who.here(from)).transpose()?;
        if opens.is_none() {
            return Err(self.failed(
                from,
                Problem::new(
                    401,
                    "sign-in-refused",
                    "That did not open the console",
                    "the link was used, is older than 10 minutes, or the token is wrong, has ended, or is a program's",
                    "run `groundstate console-link` on the appliance for a fresh link",
                ),
            ));
        }
        let cookie = keys::secret().map_err(|error| random_failed(&error))?;
        let mut inside = self.inside();
        inside.sessions.retain(|_, session| session.lives(now));
        if inside.sessions.len() >= SESSIONS_MAX {
            let oldest =
                inside.sessions.iter().min_by_key(|(_, session)| session.used).map(|(hash, _)| *hash);
            oldest.map(|hash| inside.sessions.remove(&hash));
        }
        inside.sessions.insert(hash(&cookie), Session { opened: now, used: now, token });
        Ok(cookie)
    }

    /// End the session of this cookie value.
    pub fn sign_out(&self, headers: &HeaderMap) {
        if let Some(cookie) = cookie(headers) {
            self.inside().sessions.remove(&hash(cookie));
        }
    }

    /// Who asks, by bearer token or session; writes by session need our own `Origin`. `at`: milliseconds since 1970.
    ///
    /// # Errors
    /// 401 without a valid secret, 403 for a write from another origin, 429 after too many wrong tokens.
    pub fn admit(&self, method: &Method, headers: &HeaderMap, from: IpAddr, at: u64) -> Result<Who, Problem> {
        if let Some(value) = headers.get(header::AUTHORIZATION) {
            let bearer = value.to_str().ok().and_then(|text| text.split_once(' '));
            let bearer = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
            let who = bearer.and_then(|(_, token)| self.who(&hash(token.trim()), at));
            let who = who.ok_or_else(|| {
                let why = "the bearer token is nobody's, or it has ended";
                self.failed(from, Refusal::unauthenticated(why).0)
            })?;
            return who.here(from);
        }
        let who = cookie(headers).and_then(|cookie| self.touch(&hash(cookie), at));
        let Some(who) = who.map(|who| who.here(from)).transpose()? else {
            return Err(Refusal::unauthenticated(
                "the request carries neither a bearer token nor a live session",
            )
            .0);
        };
        if method.is_safe() || same_origin(headers) {
            return Ok(who);
        }
        let detail = "the request was not sent by a page of this console";
        let remedy = "open the console itself and try again";
        Err(Problem::new(403, "foreign-origin", "This request comes from another site", detail, remedy))
    }

    /// Whose token this is. All are looked at, whichever fits.
    fn who(&self, offered: &Hash, at: u64) -> Option<Who> {
        let own: bool = self.token.ct_eq(offered).into();
        let mut found = own.then(|| Who {
            name: OWN.to_owned(),
            role: Role::Admin,
            scope: None,
            networks: Vec::new(),
            token: *offered,
            note: false,
        });
        for known in &mut self.inside().known {
            let fits: bool = known.token.ct_eq(offered).into();
            if fits && known.ends.is_none_or(|ends| at < ends) {
                let note = at.saturating_sub(known.used) >= USED_MS;
                known.used = if note { at } else { known.used };
                let Known { name, role, scope, networks, .. } = known.clone();
                found = Some(Who { name, role, scope, networks, token: *offered, note });
            }
        }
        found
    }

    fn touch(&self, cookie: &Hash, at: u64) -> Option<Who> {
        let now = Instant::now();
        let token = {
            let mut inside = self.inside();
            let session = inside.sessions.get_mut(cookie).filter(|session| session.lives(now))?;
            session.used = now;
            session.token
        };
        self.who(&token, at)
    }

    /// Count a wrong secret; past the limit the answer is 429, so that guessing is slow and seen. A right secret is
    /// never refused: nobody can lock the operator out.
    fn failed(&self, from: IpAddr, otherwise: Problem) -> Problem {
        let now = Instant::now();
        let mut inside = self.inside();
        inside.failures.retain(|_, (_, since)| now.duration_since(*since) < FAILURES_WINDOW);
        let count = &mut inside.failures.entry(from).or_insert((0, now)).0;
        *count = count.saturating_add(1);
        tracing::warn!(%from, count, "a wrong operator secret was offered");
        if *count <= FAILURES_MAX {
            return otherwise;
        }
        let detail = format!("more than {FAILURES_MAX} wrong secrets came from {from} within a minute");
        Problem::new(429, "too-many-attempts", "Too many attempts", detail, "wait a minute, then try again")
    }

    fn inside(&self) -> std::sync::MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    fn lives(&self, now: Instant) -> bool {
        now.duration_since(self.opened) < SESSION_AGE && now.duration_since(self.used) < SESSION_IDLE
    }
}

/// The layer: no handler behind it runs without an [`Actor`] in its extensions, and a permission of theirs that its route
/// names. A person's browser is led to the login.
pub async fn layer(State(people): State<People>, mut request: Request, next: Next) -> Response {
    let from = address(request.extensions().get::<Peer>());
    if people.gate.forgets() {
        match people.service.people_rows().await {
            Ok(rows) => people.gate.learn(&rows),
            // Better those of before than nobody at all.
            Err(problem) => tracing::warn!(why = problem.detail, "people cannot be read"),
        }
    }
    let admitted = people.gate.admit(request.method(), request.headers(), from, people.service.now());
    let who = match admitted {
        Ok(who) => who,
        Err(problem) if problem.status == 401 && wants_page(&request) => {
            return Redirect::to(&format!("/login?next={}", local_target(request.uri()))).into_response();
        }
        Err(problem) => return refuse(&request, problem),
    };
    // Without a pattern nothing was found, and nothing is what the answer says.
    if let Some(path) = request.extensions().get::<MatchedPath>()
        && let Err(problem) = allowed(&who, path.as_str(), request.method())
    {
        tracing::warn!(who = who.name, role = %who.role, path = path.as_str(), "refused");
        people.service.refused(&problem.code);
        return refuse(&request, problem);
    }
    if who.note
        && let Err(problem) = people.service.person_used(&who.name).await
    {
        tracing::warn!(who = who.name, why = problem.detail, "it cannot be noted that they are here");
    }
    request.extensions_mut().insert(who.actor());
    request.extensions_mut().insert(who);
    next.run(request).await
}

/// Whether this role may do that.
fn allowed(who: &Who, path: &str, method: &Method) -> Result<(), Problem> {
    let needs = super::needs(path);
    let wanted = needs.map(|Needs { read, write }| if method.is_safe() { read } else { write });
    if wanted.is_some_and(|wanted| who.role.may(wanted)) {
        return Ok(());
    }
    let what = wanted.map_or("do this", Permission::words);
    let may = wanted.map(Role::who_may).unwrap_or_default();
    let detail = format!("{} is {} here, and may not {what}", who.name, who.role);
    let remedy = format!("ask somebody who may: {may}");
    Err(Problem::new(403, "not-allowed", "Your role does not allow this", detail, remedy))
}

fn refuse(request: &Request, problem: Problem) -> Response {
    let for_a_program = request.uri().path().starts_with("/api/") || problem.status == 401;
    if for_a_program { Refusal(problem).into_response() } else { console::refused(problem) }
}

/// The address of a peer; unspecified where a test has no socket.
#[must_use]
pub fn address(peer: Option<&Peer>) -> IpAddr {
    peer.map_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), |peer| peer.address.ip())
}

fn wants_page(request: &Request) -> bool {
    let accept =
        request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    request.method() == Method::GET && accept.contains("text/html")
}

/// Path only: a login must not lead to another site, and a query may hold what does not belong in a link.
fn local_target(uri: &Uri) -> &str {
    if uri.path().starts_with("//") { "/" } else { uri.path() }
}

/// The write came from a page of ours: `Origin` names the host that the request was sent to (RFC 6454 §7).
#[must_use]
pub fn same_origin(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &header::HeaderValue| value.to_str().ok());
    let (Some(origin), Some(host)) = (text(header::ORIGIN), text(header::HOST)) else { return false };
    origin.strip_prefix("https://").is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == COOKIE).then_some(value))
}

fn hash(secret: &str) -> Hash {
    let mut hash = [0; SHA256_OUTPUT_LEN];
    hash.copy_from_slice(digest(&SHA256, secret.as_bytes()).as_ref());
    hash
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
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const AT: u64 = 1_000_000_000;
    const FROM: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    fn with_cookie(cookie: &str, more: &[(header::HeaderName, &str)]) -> HeaderMap {
        let cookie = format!("a=b; {COOKIE}={cookie}");
        headers(&[&[(header::COOKIE, cookie.as_str())], more].concat())
    }

    fn code(result: Result<Who, Problem>) -> String {
        result.unwrap_err().code
    }

    #[test]
    fn the_token_opens_and_nothing_else_does() {
        let gate = Gate::new("secret");
        let ask =
            |value: &str| gate.admit(&Method::POST, &headers(&[(header::AUTHORIZATION, value)]), FROM, AT);
        let own = ask("Bearer secret").unwrap();
        assert_eq!((own.actor().name.as_str(), own.role), ("operator:token", Role::Admin));
        for wrong in ["Bearer Secret", "Bearer secret2", "Bearer", "secret", "Basic secret", ""] {
            assert_eq!(code(ask(wrong)), "unauthenticated", "{wrong}");
        }
        assert_eq!(code(gate.admit(&Method::GET, &HeaderMap::new(), FROM, AT)), "unauthenticated");
    }

    #[test]
    fn a_link_opens_one_session_once() {
        let gate = Gate::new("secret");
        let own = gate.who(&hash("secret"), AT).unwrap();
        let link = gate.link(&own).unwrap();
        let cookie = gate.sign_in(&link, FROM, AT).unwrap();
        assert_eq!(gate.sign_in(&link, FROM, AT).unwrap_err().code, "sign-in-refused");
        let signed_in = with_cookie(&cookie, &[]);
        // One person by bearer and by session: nobody approves their own order by changing the door.
        assert_eq!(gate.admit(&Method::GET, &signed_in, FROM, AT).unwrap(), own);
        gate.sign_out(&signed_in);
        assert_eq!(code(gate.admit(&Method::GET, &signed_in, FROM, AT)), "unauthenticated");
    }

    #[test]
    fn a_write_by_session_needs_our_own_origin() {
        let gate = Gate::new("secret");
        let cookie = gate.sign_in("secret", FROM, AT).unwrap();
        let ask = |origin: &str| {
            let host = (header::HOST, "appliance:443");
            gate.admit(&Method::POST, &with_cookie(&cookie, &[host, (header::ORIGIN, origin)]), FROM, AT)
        };
        assert!(ask("https://appliance:443").is_ok());
        for foreign in
            ["https://evil.example", "http://appliance:443", "null", "https://appliance:443.evil.example"]
        {
            assert_eq!(code(ask(foreign)), "foreign-origin", "{foreign}");
        }
        let without = with_cookie(&cookie, &[(header::HOST, "appliance:443")]);
        assert_eq!(code(gate.admit(&Method::POST, &without, FROM, AT)), "foreign-origin");
    }

    #[test]
    fn guessing_is_slowed_down_and_nobody_is_locked_out() {
        let gate = Gate::new("secret");
        for _ in 0..FAILURES_MAX {
            assert_eq!(gate.sign_in("guess", FROM, AT).unwrap_err().code, "sign-in-refused");
        }
        assert_eq!(gate.sign_in("guess", FROM, AT).unwrap_err().code, "too-many-attempts");
        let bearer = |value| headers(&[(header::AUTHORIZATION, value)]);
        assert_eq!(code(gate.admit(&Method::GET, &bearer("Bearer guess"), FROM, AT)), "too-many-attempts");
        assert!(gate.admit(&Method::GET, &bearer("Bearer secret"), FROM, AT).is_ok());
        assert!(gate.sign_in("secret", FROM, AT).is_ok());
    }

    #[test]
    fn a_login_leads_only_to_our_own_paths() {
        assert_eq!(local_target(&Uri::from_static("/endpoints/press-01?x=1")), "/endpoints/press-01");
        assert_eq!(local_target(&"//evil.example/x".parse().unwrap_or_else(|_| Uri::from_static("//"))), "/");
    }

    fn anna(token: &str) -> Person {
        Person {
            scope: None,
            networks: Vec::new(),
            name: "anna".to_owned(),
            role: Role::Engineer,
            disabled: false,
            added: 1,
            token_sha256: keys::secret_hash(token),
            token_made: 1,
            token_ends: None,
            used: None,
        }
    }

    #[test]
    fn a_person_comes_with_their_token_and_their_role_until_it_ends() {
        let gate = Gate::new("secret");
        let ask = |token: &str, at| {
            let headers = headers(&[(header::AUTHORIZATION, &format!("Bearer {token}"))]);
            gate.admit(&Method::POST, &headers, FROM, at)
        };
        assert!(ask("annas", AT).is_err());
        gate.learn(&[Person { token_ends: Some(AT + 5), ..anna("annas") }]);
        let who = ask("annas", AT).unwrap();
        assert_eq!((who.name.as_str(), who.role, who.note), ("anna", Role::Engineer, true));
        assert!(!ask("annas", AT + 4).unwrap().note, "once an hour is enough");
        assert_eq!(code(ask("annas", AT + 5)), "unauthenticated");
        assert!(ask("secret", AT).is_ok());
    }

    #[test]
    fn a_session_ends_with_the_token_that_opened_it() {
        for gone in [vec![], vec![Person { disabled: true, ..anna("annas") }], vec![anna("new")]] {
            let gate = Gate::new("secret");
            gate.learn(&[anna("annas")]);
            let who = gate.who(&hash("annas"), AT).unwrap();
            let link = gate.link(&who).unwrap();
            let late = gate.link(&who).unwrap();
            let signed_in = with_cookie(&gate.sign_in(&link, FROM, AT).unwrap(), &[]);
            assert_eq!(gate.admit(&Method::GET, &signed_in, FROM, AT).unwrap().name, "anna");
            gate.learn(&gone);
            assert_eq!(code(gate.admit(&Method::GET, &signed_in, FROM, AT)), "unauthenticated");
            assert_eq!(gate.sign_in(&late, FROM, AT).unwrap_err().code, "sign-in-refused");
        }
    }

    #[test]
    fn a_changed_role_counts_at_once_and_a_program_has_no_session() {
        let gate = Gate::new("secret");
        gate.learn(&[anna("annas")]);
        let signed_in = with_cookie(&gate.sign_in("annas", FROM, AT).unwrap(), &[]);
        gate.learn(&[Person { role: Role::Auditor, ..anna("annas") }]);
        assert_eq!(gate.admit(&Method::GET, &signed_in, FROM, AT).unwrap().role, Role::Auditor);
        gate.learn(&[Person { role: Role::Automation, ..anna("annas") }]);
        assert_eq!(gate.sign_in("annas", FROM, AT).unwrap_err().code, "sign-in-refused");
    }
}
