//! Passwords: Argon2id as PHC text (RFC 9106; the password-hash string format), and what a password must be like.
//!
//! The cost is OWASP's floor of 2024 and RFC 9106 §4's second choice cut to what an appliance with two cores can give: 19 MiB, two passes,
//! one lane. Whoever has the database must pay it for every guess; whoever asks over the network is slowed down before (`api/gate/`).
//!
//! It must never: print a password, or say which part of a wrong one was right.

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString},
};
use recovery_protocol::Problem;
use ring::rand::{SecureRandom as _, SystemRandom};

/// Fewest characters, and most bytes: more would be work for whoever only wants us to work.
pub const LEAST: usize = 12;
const MOST: usize = 256;
/// Fewest different characters.
const DIFFERENT: usize = 5;
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
/// How a password is kept, in words.
pub fn how() -> String {
    format!("Argon2id, {MEMORY_KIB} KiB, {PASSES} passes, 1 lane")
}

/// What everybody tries first, as parts: a password that is one of these and little else is known.
const KNOWN: &[&str] = &[
    "password",
    "passwort",
    "passw0rd",
    "motdepasse",
    "contrasena",
    "administrator",
    "groundstate",
    "recovery",
    "welcome",
    "letmein",
    "changeme",
    "default",
    "qwertyuiop",
    "qwertzuiop",
    "qwerty",
    "qwertz",
    "asdfghjkl",
    "1q2w3e4r",
    "1qaz2wsx",
    "iloveyou",
    "superman",
    "football",
    "baseball",
    "sunshine",
    "princess",
    "trustno1",
    "dragon",
    "monkey",
    "shadow",
    "master",
    "operator",
    "engineer",
    "technician",
    "siemens",
    "wincc",
    "simatic",
    "schneider",
    "rockwell",
    "factorytalk",
    "honeywell",
    "emerson",
    "123456789",
    "12345678",
    "987654321",
    "abcdefghijkl",
    "abcdefgh",
    "abc123",
    "admin",
    "secret",
    "summer",
    "winter",
    "spring",
    "autumn",
    "sommer",
    "herbst",
];

/// Of no password: a salt and a hash of the same lengths and cost as ours, so that names cannot be told apart by time.
const NOBODYS: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn argon2() -> Argon2<'static> {
    // The numbers are constants within the library's bounds: the default would only be a weaker cost.
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).unwrap_or(Params::DEFAULT);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// One Argon2id: the text to keep. Takes tens of milliseconds.
///
/// # Errors
/// No random bytes.
pub fn seal(password: &str) -> Result<String, Problem> {
    let failed = |why: String| {
        let remedy = "restart the appliance; nothing was changed";
        Problem::new(500, "no-random", "The appliance cannot keep a password", why, remedy)
    };
    let mut salt = [0_u8; 16];
    SystemRandom::new().fill(&mut salt).map_err(|_| failed("the system gives no random bytes".to_owned()))?;
    let salt = SaltString::encode_b64(&salt).map_err(|error| failed(error.to_string()))?;
    let sealed = argon2().hash_password(password.as_bytes(), &salt);
    sealed.map(|phc| phc.to_string()).map_err(|error| failed(error.to_string()))
}

/// One Argon2id: whether this is the password. `None`: nobody's, which costs the same and is never right.
#[must_use]
pub fn opens(password: &str, phc: Option<&str>) -> bool {
    // More bytes than any password of ours are hashed as an empty text: the same work, and wrong.
    let (password, fits) = if password.len() > MOST { ("", false) } else { (password, true) };
    let known = phc.and_then(|phc| PasswordHash::new(phc).ok());
    let (hash, real) = match known {
        Some(hash) => (Some(hash), true),
        None => (PasswordHash::new(NOBODYS).ok(), false),
    };
    let right = hash.is_some_and(|hash| argon2().verify_password(password.as_bytes(), &hash).is_ok());
    right && real && fits
}

/// 422 `password-weak` with what to do.
///
/// # Errors
/// See above.
pub fn strong(password: &str, person: &str, site: &str) -> Result<(), Problem> {
    let weak = |why: String| {
        let remedy = format!(
            "take {LEAST} characters or more; four or five words that have nothing to do with each other are good, and any characters count"
        );
        Err(Problem::new(422, "password-weak", "This password is too weak", why, remedy))
    };
    if password.len() > MOST {
        return weak(format!("it is longer than {MOST} bytes"));
    }
    if password.chars().count() < LEAST {
        return weak(format!("it has fewer than {LEAST} characters"));
    }
    if password.chars().any(char::is_control) {
        return weak("it holds a character that nobody can type at every keyboard".to_owned());
    }
    let different: std::collections::BTreeSet<char> = password.chars().collect();
    if different.len() < DIFFERENT {
        return weak(format!("it has fewer than {DIFFERENT} different characters"));
    }
    if let Some(part) = guessed(&password.to_lowercase(), &[&person.to_lowercase(), &site.to_lowercase()]) {
        return weak(format!("`{part}` and what stands around it is what everybody tries first"));
    }
    Ok(())
}

/// The well-known part of it, where less than eight characters are left without well-known parts, digits at the ends and punctuation.
fn guessed<'a>(text: &str, own: &[&'a str]) -> Option<&'a str>
where
    'static: 'a,
{
    let mut left = text.to_owned();
    let mut found = None;
    let own = own.iter().copied().filter(|part| part.len() >= 3);
    for part in KNOWN.iter().copied().chain(own) {
        if left.contains(part) {
            left = left.replace(part, "");
            found = found.or(Some(part));
        }
    }
    let left: String = left.chars().filter(|letter| letter.is_alphabetic()).collect();
    found.filter(|_| left.chars().count() < 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_opens_itself_alone_and_two_hashes_of_it_differ() {
        let (a, b) = (seal("four words that fit").unwrap(), seal("four words that fit").unwrap());
        assert!(a.starts_with("$argon2id$v=19$m=19456,t=2,p=1$") && a != b, "{a}");
        assert!(opens("four words that fit", Some(&a)));
        for wrong in ["", "four words that fit ", "Four words that fit", &"x".repeat(5000)] {
            assert!(!opens(wrong, Some(&a)), "{wrong}");
        }
        assert!(!opens("", None) && !opens("x", None) && !opens("x", Some("no hash")));
    }

    #[test]
    fn nobody_costs_what_somebody_costs() {
        let sealed = seal("four words that fit").unwrap();
        let cost = |phc: &str| {
            let hash = PasswordHash::new(phc).unwrap();
            let lens = (hash.salt.unwrap().as_str().len(), hash.hash.unwrap().len());
            (hash.algorithm.to_string(), hash.version, hash.params.to_string(), lens)
        };
        assert_eq!(cost(NOBODYS), cost(&sealed));
    }

    #[test]
    fn what_everybody_tries_first_is_refused_and_a_sentence_is_not() {
        for weak in [
            "short",
            "elevenchars",
            "aaaaaaaaaaaaaaaa",
            "abababababababab",
            "Password1234!",
            "Plant-7-Admin-2026",
            "groundstate2026",
            "anna-anna-2026",
            "qwertyuiop12345",
            "Siemens-WinCC-1",
            "Sommer2026!!!!",
            "line\nfeed and more",
        ] {
            assert_eq!(strong(weak, "anna", "plant-7").unwrap_err().code, "password-weak", "{weak}");
        }
        assert_eq!(strong(&"long ".repeat(60), "anna", "plant-7").unwrap_err().code, "password-weak");
        for good in [
            "correct horse battery staple",
            "kein Kaffee vor 9 Uhr",
            "wPq8-zzKe-41mn",
            "長い合言葉を選ぶのはとても良い",
        ] {
            assert!(strong(good, "anna", "plant-7").is_ok(), "{good}");
        }
    }
}
