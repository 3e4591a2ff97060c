//! Signatures of Standard Webhooks (specification 1.0): who sent this, and when. Pure: time is an argument.
//!
//! ```text
//! webhook-id: msg_2m…          webhook-timestamp: 1763800000
//! webhook-signature: v1,<base64 HMAC-SHA-256(secret, id "." timestamp "." body)> v1,<another> …
//! ```
//!
//! Several signatures are for the time in which a secret is changed; one that fits is enough. The id is the name of
//! the delivery: the same id again is the same delivery.

use axum::http::HeaderMap;
use base64::{
    Engine as _,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use ring::hmac;

/// How far a sender's clock may be from ours, in seconds.
pub const TOLERANCE_S: u64 = 5 * 60;
/// 24 to 64 bytes by the specification.
const SECRET_LEN_MIN: usize = 24;
const ID_LEN_MAX: usize = 256;
const SIGNATURES_MAX: usize = 16;

/// Why a message is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsigned {
    /// A header is missing or unusable.
    #[error("the header `{0}` is missing or cannot be read")]
    Header(&'static str),
    /// The timestamp is too far from now.
    #[error("the message is {0} s away from the appliance's clock, more than {TOLERANCE_S} s")]
    Stale(u64),
    /// No signature fits.
    #[error("no signature of the message fits the source's secret")]
    Wrong,
}

/// Why a secret cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSecret {
    /// Not in the form `whsec_<base64>`.
    #[error("it is not of the form `whsec_<base64>`")]
    Form,
    /// Too short to be safe.
    #[error("it has {0} bytes; at least {SECRET_LEN_MIN} are needed")]
    Short(usize),
}

/// A source's shared secrets: one, or two while it is changed.
pub struct Secrets(Vec<hmac::Key>);

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} secrets", self.0.len())
    }
}

/// A message whose signature fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed<'a> {
    /// The delivery's name.
    pub id: &'a str,
}

impl Secrets {
    /// Read a secret file's text: one `whsec_<base64>` a line.
    ///
    /// # Errors
    /// [`BadSecret`] for an empty file or an unusable line.
    pub fn parse(text: &str) -> Result<Self, BadSecret> {
        let lenient = GeneralPurpose::new(
            &base64::alphabet::STANDARD,
            GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
        );
        let key = |line: &str| {
            let encoded = line.strip_prefix("whsec_").ok_or(BadSecret::Form)?;
            let bytes = lenient.decode(encoded).map_err(|_| BadSecret::Form)?;
            if bytes.len() < SECRET_LEN_MIN {
                return Err(BadSecret::Short(bytes.len()));
            }
            Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
        };
        let keys: Vec<_> =
            text.lines().map(str::trim).filter(|line| !line.is_empty()).map(key).collect::<Result<_, _>>()?;
        if keys.is_empty() { Err(BadSecret::Form) } else { Ok(Self(keys)) }
    }

    /// Check a message. `now` is seconds since 1970.
    ///
    /// # Errors
    /// [`Unsigned`]; nothing of the message may be used then.
    pub fn check<'a>(&self, headers: &'a HeaderMap, body: &[u8], now: u64) -> Result<Signed<'a>, Unsigned> {
        let text = |name: &'static str| {
            headers.get(name).and_then(|value| value.to_str().ok()).ok_or(Unsigned::Header(name))
        };
        let (id, timestamp) = (text("webhook-id")?, text("webhook-timestamp")?);
        let signatures = text("webhook-signature")?;
        if id.is_empty() || id.len() > ID_LEN_MAX || id.contains('.') {
            return Err(Unsigned::Header("webhook-id"));
        }
        let sent: u64 = timestamp.parse().map_err(|_| Unsigned::Header("webhook-timestamp"))?;
        let message = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
        let fits = |signature: &str| {
            let Some(Ok(tag)) = signature.strip_prefix("v1,").map(|encoded| STANDARD.decode(encoded)) else {
                return false;
            };
            // `verify` compares in constant time.
            self.0.iter().any(|key| hmac::verify(key, &message, &tag).is_ok())
        };
        if !signatures.split(' ').take(SIGNATURES_MAX).any(fits) {
            return Err(Unsigned::Wrong);
        }
        let away = sent.abs_diff(now);
        if away > TOLERANCE_S { Err(Unsigned::Stale(away)) } else { Ok(Signed { id }) }
    }
}

#[cfg(test)]
pub mod tests {
    use axum::http::{HeaderName, HeaderValue};
    use proptest::prelude::{any, prop, proptest};

    use super::*;

    pub const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    pub const OTHER: &str = "whsec_ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=";
    const NOW: u64 = 1_763_800_000;

    /// A sender's side, written from the specification.
    pub fn sign(secret: &str, id: &str, timestamp: u64, body: &[u8]) -> String {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let message = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), &message);
        format!("v1,{}", STANDARD.encode(tag.as_ref()))
    }

    pub fn headers(id: &str, timestamp: u64, signature: &str) -> HeaderMap {
        [
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", timestamp.to_string()),
            ("webhook-signature", signature.into()),
        ]
        .into_iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(&value).unwrap()))
        .collect()
    }

    fn check(headers: &HeaderMap, body: &[u8], now: u64) -> Result<String, Unsigned> {
        Secrets::parse(SECRET).unwrap().check(headers, body, now).map(|signed| signed.id.to_owned())
    }

    #[test]
    fn the_specification_s_own_example_verifies() {
        // Standard Webhooks, libraries' shared test vector.
        let secrets = Secrets::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let headers = headers(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        );
        let signed = secrets.check(&headers, br#"{"test": 2432232314}"#, 1_614_265_330).unwrap();
        assert_eq!(signed.id, "msg_p5jXN8AQM9LWM0D4loKWxJek");
    }

    #[test]
    fn one_fitting_signature_of_several_is_enough() {
        let old = sign(OTHER, "m1", NOW, b"{}");
        let new = sign(SECRET, "m1", NOW, b"{}");
        assert!(check(&headers("m1", NOW, &format!("v1a,xx {old} {new}")), b"{}", NOW).is_ok());
        assert_eq!(check(&headers("m1", NOW, &old), b"{}", NOW), Err(Unsigned::Wrong));
        let both = Secrets::parse(&format!("{SECRET}\n{OTHER}\n")).unwrap();
        assert!(both.check(&headers("m1", NOW, &old), b"{}", NOW).is_ok());
    }

    #[test]
    fn a_change_of_any_part_is_refused() {
        let signature = sign(SECRET, "m1", NOW, b"{}");
        assert_eq!(check(&headers("m2", NOW, &signature), b"{}", NOW), Err(Unsigned::Wrong));
        assert_eq!(check(&headers("m1", NOW + 1, &signature), b"{}", NOW), Err(Unsigned::Wrong));
        assert_eq!(check(&headers("m1", NOW, &signature), b"{} ", NOW), Err(Unsigned::Wrong));
        for bad in ["", "v1,", "v1,!!!", "v2,AAAA"] {
            assert_eq!(check(&headers("m1", NOW, bad), b"{}", NOW), Err(Unsigned::Wrong), "{bad}");
        }
        let mut none = headers("m1", NOW, &signature);
        none.remove("webhook-id");
        assert_eq!(check(&none, b"{}", NOW), Err(Unsigned::Header("webhook-id")));
    }

    #[test]
    fn five_minutes_either_way_and_no_second_more() {
        let signed = |at| headers("m1", at, &sign(SECRET, "m1", at, b"{}"));
        for at in [NOW - TOLERANCE_S, NOW + TOLERANCE_S] {
            assert!(check(&signed(at), b"{}", NOW).is_ok());
        }
        for at in [NOW - TOLERANCE_S - 1, NOW + TOLERANCE_S + 1, 0] {
            assert!(matches!(check(&signed(at), b"{}", NOW), Err(Unsigned::Stale(_))), "{at}");
        }
    }

    #[test]
    fn a_weak_or_garbled_secret_is_named() {
        assert_eq!(Secrets::parse("").unwrap_err(), BadSecret::Form);
        assert_eq!(Secrets::parse("hunter2").unwrap_err(), BadSecret::Form);
        assert_eq!(Secrets::parse("whsec_AAAA").unwrap_err(), BadSecret::Short(3));
    }

    proptest! {
        #[test]
        fn a_message_verifies_with_its_secret_and_no_other(
            id in "[a-zA-Z0-9_]{1,40}", body in prop::collection::vec(any::<u8>(), 0..200), flip in any::<prop::sample::Index>(),
        ) {
            let mut signature = sign(SECRET, &id, NOW, &body);
            assert!(check(&headers(&id, NOW, &signature), &body, NOW).is_ok());
            let at = 3 + flip.index(signature.len() - 4);
            let other = if signature.as_bytes()[at] == b'A' { "B" } else { "A" };
            signature.replace_range(at..=at, other);
            assert!(check(&headers(&id, NOW, &signature), &body, NOW).is_err());
        }
    }
}
