//! HTTP digest authentication with SHA-256 (RFC 7616), as outlets of Shelly want it from their second generation on: the password never
//! crosses the network.
//!
//! What an outlet asks is read here and nowhere else. This file stands alone, for the fuzzer. It must never: answer a challenge of a weaker
//! hash, or one without `qop`, where a nonce of its own choice would be all that is hashed.

use ring::digest::{SHA256, digest};

/// Longest challenge that is read.
const LEN_MAX: usize = 2048;

/// What the outlet asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    realm: String,
    nonce: String,
    opaque: Option<String>,
}

impl Challenge {
    /// Reads a `WWW-Authenticate` header.
    ///
    /// # Errors
    /// What it asks in place of what we answer, for a person.
    pub fn read(header: &str) -> Result<Self, String> {
        let rest = header.get(..7).filter(|word| word.eq_ignore_ascii_case("digest ")).map(|_| &header[7..]);
        let rest = rest.filter(|rest| rest.len() <= LEN_MAX).ok_or("it asks for no digest")?;
        let fields = fields(rest).ok_or("its challenge cannot be read")?;
        let field = |name: &str| {
            fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
        };
        let algorithm = field("algorithm").unwrap_or("MD5");
        if !algorithm.eq_ignore_ascii_case("SHA-256") {
            let algorithm: String = algorithm.chars().filter(char::is_ascii_graphic).take(20).collect();
            return Err(format!(
                "it asks for a digest by {algorithm}; update its firmware, so that it speaks SHA-256"
            ));
        }
        let knows = |qop: &str| qop.split(',').any(|word| word.trim() == "auth");
        if !field("qop").is_some_and(knows) {
            return Err("its challenge has no qop=\"auth\"".to_owned());
        }
        let (Some(realm), Some(nonce)) = (field("realm"), field("nonce")) else {
            return Err("its challenge names no realm or no nonce".to_owned());
        };
        let opaque = field("opaque").map(str::to_owned);
        Ok(Self { realm: realm.to_owned(), nonce: nonce.to_owned(), opaque })
    }

    /// The `Authorization` header of one request. `cnonce` is ours, fresh.
    #[must_use]
    pub fn answer(&self, (user, password): (&str, &str), method: &str, uri: &str, cnonce: &str) -> String {
        let Self { realm, nonce, opaque } = self;
        let who = hash(&format!("{user}:{realm}:{password}"));
        let what = hash(&format!("{method}:{uri}"));
        let response = hash(&format!("{who}:{nonce}:00000001:{cnonce}:auth:{what}"));
        let opaque =
            opaque.as_ref().map(|opaque| format!(", opaque=\"{}\"", quoted(opaque))).unwrap_or_default();
        format!(
            "Digest username=\"{}\", realm=\"{}\", nonce=\"{}\", uri=\"{uri}\", algorithm=SHA-256, qop=auth, nc=00000001, \
             cnonce=\"{cnonce}\", response=\"{response}\"{opaque}",
            quoted(user),
            quoted(realm),
            quoted(nonce),
        )
    }
}

/// `name=value` or `name="value"`, with commas between; `None`: it is not that.
fn fields(mut text: &str) -> Option<Vec<(String, String)>> {
    let mut fields = Vec::new();
    loop {
        text = text.trim_start_matches([' ', '\t', ',']);
        if text.is_empty() {
            return Some(fields);
        }
        let (name, rest) = text.split_once('=')?;
        let name = name.trim();
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return None;
        }
        let rest = rest.trim_start_matches([' ', '\t']);
        let (value, rest) = match rest.strip_prefix('"') {
            Some(rest) => unquoted(rest)?,
            None => {
                let end = rest.find([',', ' ', '\t']).unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        // It goes back to it in a header.
        if value.chars().any(char::is_control) || !value.is_ascii() {
            return None;
        }
        fields.push((name.to_owned(), value));
        text = rest;
    }
}

/// A quoted text behind its first quote, and what follows it.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(letters.next()?.1),
            _ => value.push(letter),
        }
    }
    None
}

fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

fn hash(text: &str) -> String {
    digest(&SHA256, text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_7616_is_answered_as_there() {
        // Section 3.9.1.
        let header = "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm=SHA-256, \
            nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"";
        let challenge = Challenge::read(header).unwrap();
        let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        let answer = challenge.answer(("Mufasa", "Circle of Life"), "GET", "/dir/index.html", cnonce);
        for wanted in [
            "response=\"753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1\"",
            "username=\"Mufasa\"",
            "uri=\"/dir/index.html\"",
            "qop=auth, nc=00000001",
            "opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"",
        ] {
            assert!(answer.contains(wanted), "{answer}");
        }
        assert!(!answer.contains("Circle"), "{answer}");
    }

    #[test]
    fn what_is_weaker_or_no_challenge_is_not_answered() {
        let good = "Digest qop=\"auth\", realm=\"shellypro1-1\", nonce=\"60dc2c5c\", algorithm=SHA-256";
        Challenge::read(good).unwrap();
        for (bad, says) in [
            ("Basic realm=\"x\"".to_owned(), "no digest"),
            (String::new(), "no digest"),
            (good.replace("SHA-256", "MD5"), "by MD5"),
            (good.replace(", algorithm=SHA-256", ""), "by MD5"),
            (good.replace("qop=\"auth\", ", ""), "qop"),
            (good.replace("auth\"", "auth-int\""), "qop"),
            (good.replace("realm=\"shellypro1-1\", ", ""), "no realm"),
            (good.replace("nonce=\"60dc2c5c\"", "nonce=\"60dc"), "cannot be read"),
            (good.replace("60dc2c5c", "60\r\nx: y"), "cannot be read"),
        ] {
            let why = Challenge::read(&bad).unwrap_err();
            assert!(why.contains(says), "{bad:?}: {why}");
        }
    }
}
