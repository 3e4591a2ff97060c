//! The site's OpenID provider: people sign in there, and it says who they are (OpenID Connect Core 1.0, authorization code with PKCE).
//!
//! ```text
//! /login/provider ─► state, nonce, PKCE verifier, bound to this browser by a cookie ─► the provider's own pages
//!   ─► /login/return?code&state ─► code and verifier for an ID token, asked by the appliance itself ─► judged ─► the role of the first claim that fits
//! ```
//!
//! It is believed in who somebody is, and in which groups; the table of the configuration says what that is worth, and nobody is admin by it. Who they are is
//! the provider's own word for them (`sub`), which is kept: a name that the provider gives to another one day opens nothing.
//!
//! It must never: take an answer that this browser did not ask for, take one twice, send anybody to another address than the configuration has, or keep a token.

mod ask;
mod token;

use std::{
    collections::HashMap,
    net::IpAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use recovery_protocol::{Problem, people::Role};
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use serde_json::{Map, Value};
use subtle::ConstantTimeEq as _;
use tokio::sync::Semaphore;
use ureq::Agent;
use zeroize::Zeroizing;

use self::{
    ask::{Exchange, Places, Trouble, words},
    token::{Expected, Keys, Refused},
};
use crate::{asking, config, keys, seal};

/// What is known of the provider is asked anew after so long; sooner before somebody is sent there: it may be gone, and then the sign-in page says so.
const FRESH: Duration = Duration::from_secs(600);
const FRESH_TO_SEND: Duration = Duration::from_secs(15);
/// Its keys are asked for once more for a token that none fits, but not more often.
const KEYS_EVERY: Duration = Duration::from_secs(10);
/// A longer way back is the start.
const NEXT_MAX: usize = 512;
/// A provider that did not answer is not asked where it is again for so long: who asks next is told at once.
const GONE_FOR: Duration = Duration::from_secs(5);
/// How long somebody may be at the provider.
pub const AWAY: Duration = Duration::from_secs(600);
const AWAY_MOST: usize = 512;
const OF_ADDRESS: usize = 16;
/// Questions to the provider at once.
const AT_ONCE: usize = 4;
const ROLES_MOST: usize = 1000;
/// Of several roles the first of these counts.
const ORDER: [Role; 4] = [Role::Engineer, Role::Approver, Role::Technician, Role::Auditor];

/// The provider.
pub struct Provider {
    setting: config::Provider,
    secret: Option<Zeroizing<String>>,
    agent: Agent,
    known: Mutex<Option<Arc<Known>>>,
    away: Mutex<HashMap<String, Away>>,
    turns: Arc<Semaphore>,
    gone: Mutex<Option<(Instant, String)>>,
    gone_for: Duration,
    fresh_to_send: Duration,
    keys_every: Duration,
}

struct Known {
    places: Places,
    keys: Keys,
    at: Instant,
}

/// Somebody who was sent to the provider.
struct Away {
    state: String,
    nonce: String,
    verifier: Zeroizing<String>,
    next: String,
    from: IpAddr,
    at: Instant,
}

/// Where somebody is sent, and what their browser keeps meanwhile.
pub struct Sent {
    /// The provider's page.
    pub to: String,
    /// The cookie's value.
    pub cookie: String,
}

/// What a browser brings back.
#[derive(Debug, Default, Deserialize)]
pub struct Brought {
    #[serde(default)]
    code: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    iss: Option<String>,
    #[serde(default)]
    error: Option<String>,
}

/// Who the provider says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The provider, and its own word for them.
    pub subject: String,
    /// What they are called here.
    pub name: String,
    /// What they are here. None: nothing.
    pub role: Option<Role>,
    /// Where they wanted to go.
    pub next: String,
}

/// What stands against a sign-in, and as what it stands in evidence.
#[derive(Debug)]
pub struct Against {
    pub problem: Problem,
    pub how: &'static str,
}

fn against(status: u16, how: &'static str, title: &'static str, detail: String) -> Against {
    let remedy = if status == 503 {
        "people on record here sign in by their password or token meanwhile; look at the provider, and [provider] of the configuration"
    } else {
        "sign in once more, from this page; an admin finds why in the evidence log"
    };
    Against { problem: Problem::new(status, how, title, detail, remedy), how }
}

impl From<Trouble> for Against {
    fn from(trouble: Trouble) -> Self {
        tracing::warn!(why = %trouble, "the OpenID provider cannot be asked");
        match &trouble {
            Trouble::Gone(_) => {
                against(503, "provider-gone", "The OpenID provider does not answer", trouble.to_string())
            }
            Trouble::Odd(_) => against(
                503,
                "provider-odd",
                "The OpenID provider answers what cannot be",
                trouble.to_string(),
            ),
            Trouble::Refused(_) => {
                against(401, "provider-refused", "The OpenID provider refused", trouble.to_string())
            }
        }
    }
}

impl From<Refused> for Against {
    fn from(refused: Refused) -> Self {
        tracing::warn!(why = %refused, "what the OpenID provider says is refused");
        against(401, refused.code(), "What the provider says is refused", refused.to_string())
    }
}

/// A text in a query or a form.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn sha256(text: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, text.as_bytes()))
}

/// Ask whether it describes itself and has keys. Blocking; nobody signs in.
///
/// # Errors
/// What stands against it, in words.
pub fn reach(setting: &config::Provider) -> Result<(), String> {
    let agent = asking::agent(setting.ca_file.as_deref());
    let places = ask::places(&agent, &setting.issuer).map_err(|trouble| trouble.to_string())?;
    ask::keys(&agent, &places).map(drop).map_err(|trouble| trouble.to_string())
}

impl Provider {
    /// With its configuration.
    ///
    /// # Errors
    /// The secret's file, in words.
    pub fn open(setting: &config::Provider) -> Result<Self, String> {
        let read = |path: &Path| {
            let text = seal::secret(path).map_err(|error| format!("{}: {error}", path.display()))?;
            let secret = Zeroizing::new(text.trim().to_owned());
            if secret.is_empty() { Err(format!("{} is empty", path.display())) } else { Ok(secret) }
        };
        Ok(Self {
            secret: setting.client_secret_file.as_deref().map(read).transpose()?,
            agent: asking::agent(setting.ca_file.as_deref()),
            known: Mutex::default(),
            away: Mutex::default(),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            gone: Mutex::default(),
            gone_for: GONE_FOR,
            fresh_to_send: FRESH_TO_SEND,
            keys_every: KEYS_EVERY,
            setting: setting.clone(),
        })
    }

    /// What the sign-in page calls it.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.setting.label
    }

    /// Send somebody to the provider, to come back and go on to `next`.
    ///
    /// # Errors
    /// [`Against`]: it cannot be asked where its page is.
    pub async fn send(self: &Arc<Self>, next: &str, from: IpAddr) -> Result<Sent, Against> {
        let known = self.asked(|provider| provider.known(provider.fresh_to_send)).await?;
        let random = || {
            keys::secret().map_err(|error| {
                against(500, "no-random", "The appliance cannot make a secret", error.to_string())
            })
        };
        let (state, nonce, cookie) = (random()?, random()?, random()?);
        let verifier = Zeroizing::new(random()?);
        let page = &known.places.authorization_endpoint;
        let and = if page.contains('?') { '&' } else { '?' };
        let asked: [(&str, &str); 8] = [
            ("response_type", "code"),
            ("client_id", &self.setting.client_id),
            ("redirect_uri", &self.setting.redirect()),
            ("scope", &self.setting.scope()),
            ("state", &state),
            ("nonce", &nonce),
            ("code_challenge", &sha256(&verifier)),
            ("code_challenge_method", "S256"),
        ];
        let query: Vec<String> =
            asked.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
        let to = format!("{page}{and}{}", query.join("&"));
        let next = if next.len() <= NEXT_MAX { next.to_owned() } else { "/".to_owned() };
        let now = Instant::now();
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        away.retain(|_, one| now.duration_since(one.at) < AWAY);
        let of_them = away.values().filter(|one| one.from == from).count();
        if of_them >= OF_ADDRESS || away.len() >= AWAY_MOST {
            // Who asks much pushes out their own.
            let own = away.iter().filter(|(_, one)| of_them < OF_ADDRESS || one.from == from);
            let oldest = own.min_by_key(|(_, one)| one.at).map(|(key, _)| key.clone());
            oldest.map(|key| away.remove(&key));
        }
        away.insert(sha256(&cookie), Away { state, nonce, verifier, next, from, at: now });
        Ok(Sent { to, cookie })
    }

    /// Somebody comes back from the provider. Whatever comes of it, this was the one time.
    ///
    /// # Errors
    /// [`Against`].
    pub async fn back(
        self: &Arc<Self>,
        cookie: &str,
        brought: Brought,
        now_s: u64,
    ) -> Result<Person, Against> {
        let stale = |detail: &str| {
            against(401, "provider-stale", "This is not the sign-in that was begun here", detail.to_owned())
        };
        let away = self.away.lock().unwrap_or_else(PoisonError::into_inner).remove(&sha256(cookie));
        let away = away.filter(|away| away.at.elapsed() < AWAY);
        let away = away.ok_or_else(|| {
            stale("this browser has begun none within 10 minutes, or its answer was here already")
        })?;
        if !bool::from(away.state.as_bytes().ct_eq(brought.state.as_bytes())) {
            return Err(stale("the answer belongs to another sign-in"));
        }
        // RFC 9207: an answer of another provider, which was led here.
        if brought.iss.as_ref().is_some_and(|iss| *iss != self.setting.issuer) {
            return Err(stale("the answer is another provider's"));
        }
        if let Some(error) = &brought.error {
            return Err(Trouble::Refused(words(error)).into());
        }
        let nonce = away.nonce;
        let (code, verifier) = (brought.code, away.verifier);
        let claims = self.asked(move |provider| provider.claims(&code, &verifier, &nonce, now_s)).await?;
        self.person(&claims, away.next)
    }

    /// Where blocking is allowed, and not too often at once: a turn lasts as long as the question, whoever hung up meanwhile.
    async fn asked<T: Send + 'static>(
        self: &Arc<Self>,
        ask: impl FnOnce(&Self) -> Result<T, Against> + Send + 'static,
    ) -> Result<T, Against> {
        let Ok(turn) = Arc::clone(&self.turns).try_acquire_owned() else {
            let detail = format!("{AT_ONCE} people are being asked about at this moment");
            return Err(against(503, "sign-in-busy", "The door is busy", detail));
        };
        let provider = Arc::clone(self);
        let question = move || {
            let _turn = turn;
            ask(&provider)
        };
        let done = tokio::task::spawn_blocking(question).await;
        done.map_err(|error| against(500, "internal", "The appliance failed", error.to_string()))?
    }

    /// Where its parts are, and its keys: as they were asked for lately.
    fn known(&self, fresh: Duration) -> Result<Arc<Known>, Against> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match known.filter(|known| known.at.elapsed() < fresh) {
            Some(known) => Ok(known),
            None => self.learn(),
        }
    }

    fn learn(&self) -> Result<Arc<Known>, Against> {
        let gone = || self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        let lately = gone().clone().filter(|(at, _)| at.elapsed() < self.gone_for);
        if let Some((_, why)) = lately {
            return Err(Trouble::Gone(why).into());
        }
        let places = ask::places(&self.agent, &self.setting.issuer);
        let learned = places.and_then(|places| Ok((ask::keys(&self.agent, &places)?, places)));
        if let Err(Trouble::Gone(why)) = &learned {
            *gone() = Some((Instant::now(), why.clone()));
        }
        let (keys, places) = learned?;
        let known = Arc::new(Known { places, keys, at: Instant::now() });
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&known));
        Ok(known)
    }

    fn claims(
        &self,
        code: &str,
        verifier: &str,
        nonce: &str,
        now_s: u64,
    ) -> Result<Map<String, Value>, Against> {
        let known = self.known(FRESH)?;
        let redirect = self.setting.redirect();
        let secret = self.secret.as_ref().map(|secret| secret.as_str());
        let exchange =
            Exchange { client_id: &self.setting.client_id, secret, code, verifier, redirect: &redirect };
        let token = ask::token(&self.agent, &known.places, &exchange)?;
        let (issuer, client_id) = (&self.setting.issuer, &self.setting.client_id);
        let expected = Expected { issuer, client_id, nonce, now_s };
        match token::judge(&token, &known.keys, &expected) {
            // It may have new keys. Whoever makes it ask must have a code of the provider's, and not even then more often than this.
            Err(Refused::UnknownKey) if known.at.elapsed() >= self.keys_every => {
                Ok(token::judge(&token, &self.learn()?.keys, &expected)?)
            }
            judged => Ok(judged?),
        }
    }

    fn person(&self, claims: &Map<String, Value>, next: String) -> Result<Person, Against> {
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        let called = text(&self.setting.name_claim).unwrap_or_default();
        // Of an address what stands before its host: names here have no `@`.
        let name = called.split('@').next().unwrap_or_default().to_lowercase();
        let subject = format!("{} {}", self.setting.issuer, text("sub").unwrap_or_default());
        if name.is_empty() {
            let detail = format!("it does not say what they are called (`{}`)", self.setting.name_claim);
            return Err(against(503, "provider-odd", "The OpenID provider answers what cannot be", detail));
        }
        let groups: Vec<&str> = match claim(claims, &self.setting.roles_claim) {
            Some(Value::String(one)) => vec![one.as_str()],
            Some(Value::Array(many)) => many.iter().take(ROLES_MOST).filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let theirs: Vec<Role> =
            groups.iter().filter_map(|group| self.setting.roles.get(*group).copied()).collect();
        let role = ORDER.into_iter().find(|role| theirs.contains(role));
        Ok(Person { subject, name, role, next })
    }
}

/// A claim by its name, or by a path as in `realm_access.roles`.
fn claim<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    claims.get(name).or_else(|| {
        let (first, rest) = name.split_once('.')?;
        claim(claims.get(first)?.as_object()?, rest)
    })
}

#[cfg(test)]
mod tests;
