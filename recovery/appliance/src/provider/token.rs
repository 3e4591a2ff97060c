//! What an OpenID provider says of somebody: an ID token (OpenID Connect Core 1.0 §2, RFC 7519), judged by the provider's keys (RFC 7517). No I/O, no clock.
//!
//! Signed in one of four ways, each with a key of its own kind: what a token says of itself chooses among the provider's keys, never how a key is used.
//!
//! It must never: believe a token that is not signed, that is signed with something public, or that was made for another.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::{Map, Value};
use subtle::ConstantTimeEq as _;

/// A token of more bytes is not read.
const TOKEN_MAX: usize = 64 * 1024;
/// Keys that are looked at.
const KEYS_MOST: usize = 64;
/// Clocks of two computers may differ by so many seconds.
pub const SKEW_S: u64 = 60;
/// A token is no older when it comes: it comes right away.
const AGE_MOST_S: u64 = 600;
const SUBJECT_MOST: usize = 255;

/// Why a token says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("it is no token: {0}")]
    NoToken(&'static str),
    #[error("it is signed by `{0}`, which counts for nothing here")]
    Algorithm(String),
    #[error("it has conditions that are not understood (`crit`)")]
    Critical,
    #[error("none of the provider's keys fits it")]
    UnknownKey,
    #[error("its signature is none of the provider's")]
    Signature,
    #[error("it is of another provider")]
    Issuer,
    #[error("it is for another than this appliance")]
    Audience,
    #[error("it is over, or not yet begun; look at the clocks of both")]
    Time,
    #[error("it answers another sign-in than this one")]
    Nonce,
    #[error("it names nobody")]
    Subject,
}

impl Refused {
    /// As it stands in evidence.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoToken(_) => "provider-token-none",
            Self::Algorithm(_) => "provider-token-algorithm",
            Self::Critical => "provider-token-critical",
            Self::UnknownKey => "provider-token-key",
            Self::Signature => "provider-token-signature",
            Self::Issuer => "provider-token-issuer",
            Self::Audience => "provider-token-audience",
            Self::Time => "provider-token-time",
            Self::Nonce => "provider-token-nonce",
            Self::Subject => "provider-token-subject",
        }
    }
}

/// What a token must be.
pub struct Expected<'a> {
    pub issuer: &'a str,
    pub client_id: &'a str,
    pub nonce: &'a str,
    pub now_s: u64,
}

#[derive(Debug)]
enum Public {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

#[derive(Debug)]
struct Key {
    id: Option<String>,
    alg: Option<String>,
    public: Public,
}

/// The provider's keys.
#[derive(Debug, Default)]
pub struct Keys(Vec<Key>);

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    alg: Option<String>,
    #[serde(default, rename = "use")]
    used_for: Option<String>,
    #[serde(default)]
    crv: Option<String>,
    #[serde(default)]
    n: Option<String>,
    #[serde(default)]
    e: Option<String>,
    #[serde(default)]
    x: Option<String>,
    #[serde(default)]
    y: Option<String>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    crit: Option<Value>,
}

impl Jwk {
    /// `None`: of a kind that signs nothing here.
    fn key(self) -> Option<Key> {
        let bytes = |text: &Option<String>| BASE64.decode(text.as_ref()?).ok();
        let number = |text: &Option<String>| {
            let bytes = bytes(text)?;
            let first = bytes.iter().position(|byte| *byte != 0)?;
            Some(bytes[first..].to_vec())
        };
        if self.used_for.as_deref().is_some_and(|used_for| used_for != "sig") {
            return None;
        }
        let public = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", None) => Public::Rsa { n: number(&self.n)?, e: number(&self.e)? },
            ("EC", Some("P-256")) => {
                let (x, y) = (bytes(&self.x)?, bytes(&self.y)?);
                if x.len() != 32 || y.len() != 32 {
                    return None;
                }
                Public::P256([&[4], x.as_slice(), y.as_slice()].concat())
            }
            ("OKP", Some("Ed25519")) => Public::Ed25519(bytes(&self.x)?),
            _ => return None,
        };
        Some(Key { id: self.kid, alg: self.alg, public })
    }
}

impl Keys {
    /// Read a key set; keys of other kinds are left out.
    pub fn read(json: &[u8]) -> Option<Self> {
        let set: Jwks = serde_json::from_slice(json).ok()?;
        let keys = set
            .keys
            .into_iter()
            .take(KEYS_MOST)
            .filter_map(|key| serde_json::from_value::<Jwk>(key).ok()?.key());
        Some(Self(keys.collect()))
    }
}

impl Key {
    fn verifies(&self, alg: &str, signed: &[u8], signature: &[u8]) -> bool {
        let rsa = |how: &signature::RsaParameters, n: &[u8], e: &[u8]| {
            RsaPublicKeyComponents { n, e }.verify(how, signed, signature).is_ok()
        };
        match (alg, &self.public) {
            ("RS256", Public::Rsa { n, e }) => rsa(&signature::RSA_PKCS1_2048_8192_SHA256, n, e),
            ("PS256", Public::Rsa { n, e }) => rsa(&signature::RSA_PSS_2048_8192_SHA256, n, e),
            ("ES256", Public::P256(point)) => {
                UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point)
                    .verify(signed, signature)
                    .is_ok()
            }
            ("EdDSA", Public::Ed25519(point)) => {
                UnparsedPublicKey::new(&signature::ED25519, point).verify(signed, signature).is_ok()
            }
            _ => false,
        }
    }

    fn fits(&self, header: &Header) -> bool {
        let kind = match self.public {
            Public::Rsa { .. } => header.alg == "RS256" || header.alg == "PS256",
            Public::P256(_) => header.alg == "ES256",
            Public::Ed25519(_) => header.alg == "EdDSA",
        };
        let named = header.kid.is_none() || header.kid == self.id;
        kind && named && self.alg.as_ref().is_none_or(|alg| *alg == header.alg)
    }
}

fn part<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, Refused> {
    let bytes = BASE64.decode(text).map_err(|_| Refused::NoToken("a part is no base64url"))?;
    serde_json::from_slice(&bytes).map_err(|_| Refused::NoToken("a part is no JSON"))
}

/// What a token says, once all of it was looked at.
///
/// # Errors
/// [`Refused`].
pub fn judge(token: &str, keys: &Keys, expected: &Expected<'_>) -> Result<Map<String, Value>, Refused> {
    if token.len() > TOKEN_MAX {
        return Err(Refused::NoToken("it is too long"));
    }
    let three = Refused::NoToken("it has not three parts");
    let (signed, signature) = token.rsplit_once('.').ok_or(three.clone())?;
    let (header, claims) = signed.split_once('.').filter(|(_, claims)| !claims.contains('.')).ok_or(three)?;
    let header: Header = part(header)?;
    if !["RS256", "PS256", "ES256", "EdDSA"].contains(&header.alg.as_str()) {
        return Err(Refused::Algorithm(
            header.alg.chars().filter(char::is_ascii_alphanumeric).take(16).collect(),
        ));
    }
    if header.crit.is_some() {
        return Err(Refused::Critical);
    }
    let mut fitting = keys.0.iter().filter(|key| key.fits(&header)).peekable();
    if fitting.peek().is_none() {
        return Err(Refused::UnknownKey);
    }
    let signature = BASE64.decode(signature).map_err(|_| Refused::Signature)?;
    if !fitting.any(|key| key.verifies(&header.alg, signed.as_bytes(), &signature)) {
        return Err(Refused::Signature);
    }
    let claims: Map<String, Value> = part(claims)?;
    meant_for_us(&claims, expected)?;
    Ok(claims)
}

/// OpenID Connect Core 1.0 section 3.1.3.7.
fn meant_for_us(claims: &Map<String, Value>, expected: &Expected<'_>) -> Result<(), Refused> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if text("iss") != Some(expected.issuer) {
        return Err(Refused::Issuer);
    }
    let (ours, others) = match claims.get("aud") {
        Some(Value::String(one)) => (one == expected.client_id, false),
        Some(Value::Array(many)) => (many.iter().any(|one| one == expected.client_id), many.len() > 1),
        _ => (false, false),
    };
    let party = claims.get("azp");
    if !ours || (others && party.is_none()) || party.is_some_and(|party| party != expected.client_id) {
        return Err(Refused::Audience);
    }
    // RFC 7519 section 2: a number, which may have a fraction.
    let time = |name: &str| claims.get(name).and_then(Value::as_f64).map(|at| at.max(0.0) as u64);
    let (ends, made) = (time("exp").ok_or(Refused::Time)?, time("iat").ok_or(Refused::Time)?);
    let now = expected.now_s;
    let begun = claims.get("nbf").is_none() || time("nbf").is_some_and(|begins| begins <= now + SKEW_S);
    if ends.saturating_add(SKEW_S) <= now
        || made > now + SKEW_S
        || made.saturating_add(AGE_MOST_S) < now
        || !begun
    {
        return Err(Refused::Time);
    }
    let nonce = text("nonce").unwrap_or_default();
    if !bool::from(nonce.as_bytes().ct_eq(expected.nonce.as_bytes())) || nonce.is_empty() {
        return Err(Refused::Nonce);
    }
    match text("sub") {
        Some(subject) if !subject.is_empty() && subject.len() <= SUBJECT_MOST => Ok(()),
        _ => Err(Refused::Subject),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, PublicKeyData as _};
    use ring::{hmac, rand::SystemRandom, signature::EcdsaKeyPair};
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_763_800_000;

    fn b64(value: &Value) -> String {
        BASE64.encode(value.to_string())
    }

    fn expected() -> Expected<'static> {
        Expected { issuer: "https://id.plant", client_id: "groundstate", nonce: "n-1", now_s: NOW }
    }

    fn claims() -> Value {
        json!({ "iss": "https://id.plant", "aud": "groundstate", "sub": "7", "nonce": "n-1", "iat": NOW - 1, "exp": NOW + 300 })
    }

    struct Provider {
        pair: EcdsaKeyPair,
        public: Vec<u8>,
    }

    impl Provider {
        fn new() -> Self {
            let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
            let (random, how) = (SystemRandom::new(), &signature::ECDSA_P256_SHA256_FIXED_SIGNING);
            let pair = EcdsaKeyPair::from_pkcs8(how, &key.serialize_der(), &random).unwrap();
            Self { pair, public: key.der_bytes().to_vec() }
        }

        fn jwk(&self, kid: &str) -> Value {
            let (x, y) = (BASE64.encode(&self.public[1..33]), BASE64.encode(&self.public[33..]));
            json!({ "kty": "EC", "crv": "P-256", "kid": kid, "use": "sig", "alg": "ES256", "x": x, "y": y })
        }

        fn keys(&self) -> Keys {
            Keys::read(json!({ "keys": [{ "kty": "oct", "k": "AA" }, self.jwk("a")] }).to_string().as_bytes())
                .unwrap()
        }

        fn signs(&self, header: &Value, claims: &Value) -> String {
            let signed = format!("{}.{}", b64(header), b64(claims));
            let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
            format!("{signed}.{}", BASE64.encode(signature.as_ref()))
        }
    }

    fn head() -> Value {
        json!({ "alg": "ES256", "kid": "a" })
    }

    #[test]
    fn a_token_that_is_all_it_must_be_says_who_it_is() {
        let provider = Provider::new();
        let said = judge(&provider.signs(&head(), &claims()), &provider.keys(), &expected()).unwrap();
        assert_eq!(said["sub"], "7");
        let several = json!({ "aud": ["other", "groundstate"], "azp": "groundstate", "nbf": NOW + 59, "exp": NOW as f64 - 58.5 });
        let mut more = claims();
        more.as_object_mut().unwrap().extend(several.as_object().unwrap().clone());
        let without_id = json!({ "alg": "ES256" });
        assert!(judge(&provider.signs(&without_id, &more), &provider.keys(), &expected()).is_ok());
    }

    #[test]
    fn each_thing_that_is_wrong_with_a_token_is_refused_by_its_name() {
        let provider = Provider::new();
        let with = |name: &str, value: Value| {
            let mut claims = claims();
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(name)
            } else {
                claims.as_object_mut().unwrap().insert(name.to_owned(), value)
            };
            judge(&provider.signs(&head(), &claims), &provider.keys(), &expected()).unwrap_err()
        };
        for (name, value, why) in [
            ("iss", json!("https://id.plant/"), Refused::Issuer),
            ("iss", json!(null), Refused::Issuer),
            ("aud", json!("other"), Refused::Audience),
            ("aud", json!(["other", "groundstate"]), Refused::Audience),
            ("aud", json!([]), Refused::Audience),
            ("azp", json!("other"), Refused::Audience),
            ("exp", json!(NOW - 61), Refused::Time),
            ("exp", json!("never"), Refused::Time),
            ("exp", json!(null), Refused::Time),
            ("iat", json!(NOW + 61), Refused::Time),
            ("iat", json!(NOW - 601), Refused::Time),
            ("iat", json!(null), Refused::Time),
            ("nbf", json!(NOW + 61), Refused::Time),
            ("nonce", json!("n-2"), Refused::Nonce),
            ("nonce", json!(null), Refused::Nonce),
            ("sub", json!(""), Refused::Subject),
            ("sub", json!("x".repeat(256)), Refused::Subject),
            ("sub", json!(7), Refused::Subject),
        ] {
            assert_eq!(with(name, value.clone()), why, "{name} {value}");
        }
        assert_eq!(
            judge(
                &provider.signs(&head(), &claims()),
                &provider.keys(),
                &Expected { nonce: "", ..expected() }
            ),
            Err(Refused::Nonce)
        );
    }

    #[test]
    fn what_is_not_signed_or_signed_with_something_public_counts_for_nothing() {
        let (provider, other) = (Provider::new(), Provider::new());
        let judged = |token: &str| judge(token, &provider.keys(), &expected()).unwrap_err();
        for alg in ["none", "None", "", "HS256", "RS384", "ES256K"] {
            let header = json!({ "alg": alg, "kid": "a" });
            assert_eq!(
                judged(&provider.signs(&header, &claims())),
                Refused::Algorithm(alg.to_owned()),
                "{alg}"
            );
            let unsigned = format!("{}.{}.", b64(&header), b64(&claims()));
            assert_eq!(judged(&unsigned), Refused::Algorithm(alg.to_owned()), "{alg}");
        }
        // The public key as the secret of an HMAC.
        let signed = format!("{}.{}", b64(&json!({ "alg": "HS256", "kid": "a" })), b64(&claims()));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &provider.public), signed.as_bytes());
        assert_eq!(
            judged(&format!("{signed}.{}", BASE64.encode(tag))),
            Refused::Algorithm("HS256".to_owned())
        );
        // A key that the token brings along, another's signature, another kind of key, another name of a key.
        let mut brought = head();
        brought["jwk"] = other.jwk("a");
        assert_eq!(judged(&other.signs(&brought, &claims())), Refused::Signature);
        assert_eq!(
            judged(&provider.signs(&json!({ "alg": "RS256", "kid": "a" }), &claims())),
            Refused::UnknownKey
        );
        assert_eq!(
            judged(&provider.signs(&json!({ "alg": "ES256", "kid": "b" }), &claims())),
            Refused::UnknownKey
        );
        assert_eq!(
            judged(&provider.signs(&json!({ "alg": "ES256", "crit": ["b64"] }), &claims())),
            Refused::Critical
        );
        let good = provider.signs(&head(), &claims());
        let (signed, _) = good.rsplit_once('.').unwrap();
        assert_eq!(judged(&format!("{signed}.")), Refused::Signature);
        let (header, rest) = good.split_once('.').unwrap();
        let (_, signature) = rest.split_once('.').unwrap();
        let mut admin = claims();
        admin["groups"] = json!(["admins"]);
        assert_eq!(judged(&format!("{header}.{}.{signature}", b64(&admin))), Refused::Signature);
        for text in ["", ".", "a.b", "..", "a.b.c.d", "a.b.c", &"x".repeat(TOKEN_MAX + 1)] {
            assert!(matches!(judged(text), Refused::NoToken(_)), "{}", text.len());
        }
    }

    #[test]
    fn a_key_for_something_else_and_a_set_that_is_none_are_left_out() {
        let provider = Provider::new();
        let read = |keys: Value| Keys::read(json!({ "keys": keys }).to_string().as_bytes()).unwrap().0.len();
        let with = |name: &str, value: &str| {
            let mut key = provider.jwk("a");
            key[name] = json!(value);
            key
        };
        assert_eq!(
            read(json!([
                with("use", "enc"),
                with("crv", "P-521"),
                with("x", "AA"),
                with("kty", "oct"),
                7,
                {}
            ])),
            0
        );
        assert_eq!(read(json!([{ "kty": "RSA", "n": "AAAA", "e": "AQAB" }])), 0, "a modulus of zeros");
        assert!(Keys::read(b"[]").is_none() && Keys::read(b"").is_none());
        let other_alg = Keys::read(json!({ "keys": [with("alg", "RS256")] }).to_string().as_bytes()).unwrap();
        let token = provider.signs(&head(), &claims());
        assert_eq!(judge(&token, &other_alg, &expected()), Err(Refused::UnknownKey));
    }
}
