//! What is asked of an OpenID provider by the appliance itself: where its parts are, its keys, and a code for a token. Blocking, short, bounded.
//!
//! It must never: follow a redirect, speak without TLS, or send the secret to another than the provider names for it.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;
use ureq::Agent;

use super::token::Keys;

const ANSWER_MAX: u64 = 256 * 1024;
const WORDS_MAX: usize = 200;

/// Why it said nothing.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error("{0}")]
    Gone(String),
    #[error("{0}")]
    Odd(String),
    #[error("it says `{0}`")]
    Refused(String),
}

/// Where its parts are (OpenID Connect Discovery 1.0 §3).
#[derive(Debug, Clone, Deserialize)]
pub struct Places {
    issuer: String,
    pub authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    code_challenge_methods_supported: Option<Vec<String>>,
}

/// Who asks for a token, and with what.
pub struct Exchange<'a> {
    pub client_id: &'a str,
    pub secret: Option<&'a str>,
    pub code: &'a str,
    pub verifier: &'a str,
    pub redirect: &'a str,
}

#[derive(Deserialize)]
struct Tokens {
    #[serde(default)]
    id_token: Option<String>,
    #[serde(default)]
    error: Option<String>,
}

/// Somebody else's words, short and harmless to show.
pub fn words(text: &str) -> String {
    text.chars().filter(|sign| !sign.is_control()).take(WORDS_MAX).collect()
}

fn get(agent: &Agent, url: &str) -> Result<Vec<u8>, Trouble> {
    let gone = |error: ureq::Error| Trouble::Gone(format!("{url}: {error}"));
    let mut response = agent.get(url).header("accept", "application/json").call().map_err(gone)?;
    if response.status() != 200 {
        return Err(Trouble::Gone(format!("{url} answers {}", response.status())));
    }
    response.body_mut().with_config().limit(ANSWER_MAX).read_to_vec().map_err(gone)
}

/// Where its parts are.
///
/// # Errors
/// [`Trouble`].
pub fn places(agent: &Agent, issuer: &str) -> Result<Places, Trouble> {
    let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let places: Places = serde_json::from_slice(&get(agent, &url)?)
        .map_err(|error| Trouble::Odd(format!("{url} is no description of a provider: {error}")))?;
    if places.issuer != issuer {
        return Err(Trouble::Odd(format!("{url} describes the issuer `{}`", words(&places.issuer))));
    }
    for place in [&places.authorization_endpoint, &places.token_endpoint, &places.jwks_uri] {
        let plain = place.bytes().all(|byte| byte.is_ascii_graphic());
        if !place.starts_with("https://") || !plain || place.contains('#') {
            return Err(Trouble::Odd(format!("{url} names `{}`, which is not over TLS", words(place))));
        }
    }
    if places
        .code_challenge_methods_supported
        .as_ref()
        .is_some_and(|ways| !ways.iter().any(|way| way == "S256"))
    {
        return Err(Trouble::Odd("it knows no PKCE with S256".to_owned()));
    }
    Ok(places)
}

/// Its keys.
///
/// # Errors
/// [`Trouble`].
pub fn keys(agent: &Agent, places: &Places) -> Result<Keys, Trouble> {
    let keys = Keys::read(&get(agent, &places.jwks_uri)?);
    keys.ok_or_else(|| Trouble::Odd(format!("{} is no set of keys", places.jwks_uri)))
}

/// A code for a token (RFC 6749 §4.1.3, RFC 7636 §4.5).
///
/// # Errors
/// [`Trouble`].
pub fn token(agent: &Agent, places: &Places, exchange: &Exchange<'_>) -> Result<String, Trouble> {
    let Exchange { client_id, secret, code, verifier, redirect } = *exchange;
    let mut form = vec![
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", redirect),
        ("code_verifier", verifier),
    ];
    let mut ask = agent.post(&places.token_endpoint).header("accept", "application/json");
    let ways = places.token_endpoint_auth_methods_supported.as_deref();
    let knows = |wanted: &str| ways.is_some_and(|ways| ways.iter().any(|way| way == wanted));
    // Some take the escapes of the header for the secret's own: where there are any, it goes into the form, which all read alike.
    let same = secret.is_some_and(|secret| super::escaped(secret) == secret);
    let basic = ways.is_none() || (knows("client_secret_basic") && (same || !knows("client_secret_post")));
    match secret {
        // RFC 6749 section 2.3.1.
        Some(secret) if basic => {
            let both = format!("{}:{}", super::escaped(client_id), super::escaped(secret));
            ask = ask.header("authorization", format!("Basic {}", BASE64_STANDARD.encode(both)));
        }
        Some(secret) => form.extend([("client_id", client_id), ("client_secret", secret)]),
        None => form.push(("client_id", client_id)),
    }
    let gone = |error: ureq::Error| Trouble::Gone(format!("{}: {error}", places.token_endpoint));
    let mut response = ask.config().http_status_as_error(false).build().send_form(form).map_err(gone)?;
    let status = response.status();
    let body = response.body_mut().with_config().limit(ANSWER_MAX).read_to_vec().map_err(gone)?;
    if status.is_server_error() {
        return Err(Trouble::Gone(format!("{} answers {status}", places.token_endpoint)));
    }
    let said: Result<Tokens, _> = serde_json::from_slice(&body);
    match said {
        Ok(Tokens { error: Some(error), .. }) => Err(Trouble::Refused(words(&error))),
        Ok(Tokens { id_token: Some(token), .. }) if status == 200 => Ok(token),
        _ => Err(Trouble::Odd(format!("{} answers {status} and no ID token", places.token_endpoint))),
    }
}
