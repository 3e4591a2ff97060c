//! Who may in: the operator's bearer token, or a session that it opened. Everything behind this layer is denied by
//! default; only a route that stands before it is open.
//!
//! ```text
//! Authorization: Bearer <operator token>  ──────────────────────────────► Actor operator:token
//! console-link ─► one-time code (10 min) ─┐
//! operator token in the login form ───────┴► session cookie ─► Origin check on writes ─► Actor operator:console
//! ```
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
    extract::{Request, State},
    http::{HeaderMap, Method, Uri, header},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use recovery_protocol::Problem;
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use subtle::ConstantTimeEq as _;

use super::{People, Refusal};
use crate::{
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
const SESSIONS_MAX: usize = 256;
const FAILURES_MAX: u32 = 10;
const FAILURES_WINDOW: Duration = Duration::from_secs(60);

type Hash = [u8; SHA256_OUTPUT_LEN];

struct Session {
    opened: Instant,
    used: Instant,
}

#[derive(Default)]
struct Inside {
    sessions: HashMap<Hash, Session>,
    links: HashMap<Hash, Instant>,
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

    /// A one-time code that opens one session within [`LINK_AGE`].
    ///
    /// # Errors
    /// [`KeyError::Random`].
    pub fn link(&self) -> Result<String, KeyError> {
        let code = keys::secret()?;
        let now = Instant::now();
        let mut inside = self.inside();
        inside.links.retain(|_, made| now.duration_since(*made) < LINK_AGE);
        inside.links.insert(hash(&code), now);
        Ok(code)
    }

    /// Open a session with a one-time code or the operator's token; its cookie value.
    ///
    /// # Errors
    /// 401 for a wrong or spent secret, 429 after too many wrong ones.
    pub fn sign_in(&self, secret: &str, from: IpAddr) -> Result<String, Problem> {
        let now = Instant::now();
        let offered = hash(secret.trim());
        let code =
            self.inside().links.remove(&offered).is_some_and(|made| now.duration_since(made) < LINK_AGE);
        if !code && !self.is_token(&offered) {
            return Err(self.failed(
                from,
                Problem::new(
                    401,
                    "sign-in-refused",
                    "That did not open the console",
                    "the link was used, is older than 10 minutes, or the token is wrong",
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
        inside.sessions.insert(hash(&cookie), Session { opened: now, used: now });
        Ok(cookie)
    }

    /// End the session of this cookie value.
    pub fn sign_out(&self, headers: &HeaderMap) {
        if let Some(cookie) = cookie(headers) {
            self.inside().sessions.remove(&hash(cookie));
        }
    }

    /// Who asks, by bearer token or session; writes by session need our own `Origin`.
    ///
    /// # Errors
    /// 401 without a valid secret, 403 for a write from another origin, 429 after too many wrong tokens.
    pub fn admit(&self, method: &Method, headers: &HeaderMap, from: IpAddr) -> Result<Actor, Problem> {
        if let Some(value) = headers.get(header::AUTHORIZATION) {
            let bearer = value.to_str().ok().and_then(|text| text.split_once(' '));
            return match bearer {
                Some((scheme, token))
                    if scheme.eq_ignore_ascii_case("bearer") && self.is_token(&hash(token.trim())) =>
                {
                    Ok(Actor::operator("token"))
                }
                _ => {
                    Err(self
                        .failed(from, Refusal::unauthenticated("the bearer token is not the operator's").0))
                }
            };
        }
        let session = cookie(headers).is_some_and(|cookie| self.touch(&hash(cookie)));
        if !session {
            return Err(Refusal::unauthenticated(
                "the request carries neither a bearer token nor a live session",
            )
            .0);
        }
        if method.is_safe() || same_origin(headers) {
            return Ok(Actor::operator("console"));
        }
        let detail = "the request was not sent by a page of this console";
        let remedy = "open the console itself and try again";
        Err(Problem::new(403, "foreign-origin", "This request comes from another site", detail, remedy))
    }

    fn is_token(&self, offered: &Hash) -> bool {
        self.token.ct_eq(offered).into()
    }

    fn touch(&self, cookie: &Hash) -> bool {
        let now = Instant::now();
        let mut inside = self.inside();
        match inside.sessions.get_mut(cookie) {
            Some(session) if session.lives(now) => {
                session.used = now;
                true
            }
            _ => false,
        }
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

/// The layer: no handler behind it runs without an [`Actor`] in its extensions. A person's browser is led to the login.
pub async fn layer(State(people): State<People>, mut request: Request, next: Next) -> Response {
    let from = address(request.extensions().get::<Peer>());
    match people.gate.admit(request.method(), request.headers(), from) {
        Ok(actor) => {
            request.extensions_mut().insert(actor);
            next.run(request).await
        }
        Err(problem) if problem.status == 401 && wants_page(&request) => {
            Redirect::to(&format!("/login?next={}", local_target(request.uri()))).into_response()
        }
        Err(problem) => Refusal(problem).into_response(),
    }
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

    const FROM: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    fn with_cookie(cookie: &str, more: &[(header::HeaderName, &str)]) -> HeaderMap {
        let cookie = format!("a=b; {COOKIE}={cookie}");
        headers(&[&[(header::COOKIE, cookie.as_str())], more].concat())
    }

    fn code(result: Result<Actor, Problem>) -> String {
        result.unwrap_err().code
    }

    #[test]
    fn the_token_opens_and_nothing_else_does() {
        let gate = Gate::new("secret");
        let ask = |value: &str| gate.admit(&Method::POST, &headers(&[(header::AUTHORIZATION, value)]), FROM);
        assert_eq!(ask("Bearer secret").unwrap().name, "operator:token");
        for wrong in ["Bearer Secret", "Bearer secret2", "Bearer", "secret", "Basic secret", ""] {
            assert_eq!(code(ask(wrong)), "unauthenticated", "{wrong}");
        }
        assert_eq!(code(gate.admit(&Method::GET, &HeaderMap::new(), FROM)), "unauthenticated");
    }

    #[test]
    fn a_link_opens_one_session_once() {
        let gate = Gate::new("secret");
        let link = gate.link().unwrap();
        let cookie = gate.sign_in(&link, FROM).unwrap();
        assert_eq!(gate.sign_in(&link, FROM).unwrap_err().code, "sign-in-refused");
        let signed_in = with_cookie(&cookie, &[]);
        assert_eq!(gate.admit(&Method::GET, &signed_in, FROM).unwrap().name, "operator:console");
        gate.sign_out(&signed_in);
        assert_eq!(code(gate.admit(&Method::GET, &signed_in, FROM)), "unauthenticated");
    }

    #[test]
    fn a_write_by_session_needs_our_own_origin() {
        let gate = Gate::new("secret");
        let cookie = gate.sign_in("secret", FROM).unwrap();
        let ask = |origin: &str| {
            let host = (header::HOST, "appliance:443");
            gate.admit(&Method::POST, &with_cookie(&cookie, &[host, (header::ORIGIN, origin)]), FROM)
        };
        assert!(ask("https://appliance:443").is_ok());
        for foreign in
            ["https://evil.example", "http://appliance:443", "null", "https://appliance:443.evil.example"]
        {
            assert_eq!(code(ask(foreign)), "foreign-origin", "{foreign}");
        }
        let without = with_cookie(&cookie, &[(header::HOST, "appliance:443")]);
        assert_eq!(code(gate.admit(&Method::POST, &without, FROM)), "foreign-origin");
    }

    #[test]
    fn guessing_is_slowed_down_and_nobody_is_locked_out() {
        let gate = Gate::new("secret");
        for _ in 0..FAILURES_MAX {
            assert_eq!(gate.sign_in("guess", FROM).unwrap_err().code, "sign-in-refused");
        }
        assert_eq!(gate.sign_in("guess", FROM).unwrap_err().code, "too-many-attempts");
        let bearer = |value| headers(&[(header::AUTHORIZATION, value)]);
        assert_eq!(code(gate.admit(&Method::GET, &bearer("Bearer guess"), FROM)), "too-many-attempts");
        assert!(gate.admit(&Method::GET, &bearer("Bearer secret"), FROM).is_ok());
        assert!(gate.sign_in("secret", FROM).is_ok());
    }

    #[test]
    fn a_login_leads_only_to_our_own_paths() {
        assert_eq!(local_target(&Uri::from_static("/endpoints/press-01?x=1")), "/endpoints/press-01");
        assert_eq!(local_target(&"//evil.example/x".parse().unwrap_or_else(|_| Uri::from_static("//"))), "/");
    }
}
