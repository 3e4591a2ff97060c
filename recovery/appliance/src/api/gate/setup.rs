//! The first admin: while none is on record, a code that is shown on the appliance (`groundstate setup-code`, or its terminal at the start)
//! makes one, with a name and a password. There is no default password.
//!
//! ```text
//! no admin ─► code (30 min, five tries) ─► /setup: name, password ─► admin on record ─► /setup is no page any more
//! ```
//!
//! It must never: be of use once there is an admin, or live in a file.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use recovery_protocol::Problem;
use ring::rand::{SecureRandom as _, SystemRandom};
use subtle::ConstantTimeEq as _;

use super::{Gate, Hash, hash};
use crate::keys::KeyError;

/// How long a code works.
pub const CODE_AGE: Duration = Duration::from_secs(30 * 60);
const TRIES: u32 = 5;
const LETTERS: &[u8; 32] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";
/// Of 32 letters each: 60 bits.
const LEN: usize = 12;

/// The code that stands, by its hash.
#[derive(Debug, Default)]
pub struct Setup {
    code: Option<(Hash, Instant, u32)>,
}

impl Gate {
    /// A new code; the one before is void.
    ///
    /// # Errors
    /// [`KeyError::Random`].
    pub fn setup_code(&self) -> Result<String, KeyError> {
        let code = code()?;
        self.inside().setup.code = Some((hash(&plain(&code)), Instant::now(), 0));
        Ok(code)
    }

    /// Whether this is the code, within its time and its tries. It stands still.
    ///
    /// # Errors
    /// 401 `setup-code-wrong`.
    pub fn check_setup_code(&self, offered: &str, from: IpAddr) -> Result<(), Problem> {
        self.try_setup_code(offered, true).map_err(|problem| self.failed(None, from, "setup-code", problem))
    }

    /// Use the code up: once.
    ///
    /// # Errors
    /// As [`Gate::check_setup_code`].
    pub fn use_setup_code(&self, offered: &str, from: IpAddr) -> Result<(), Problem> {
        self.try_setup_code(offered, false).map_err(|problem| self.failed(None, from, "setup-code", problem))
    }

    /// The session of whoever has just become the first admin. Their code was their secret; their password is what it belongs to.
    ///
    /// # Errors
    /// 401 `sign-in-refused`: they are not on record any more.
    pub fn open_first(&self, name: &str, from: IpAddr, at: u64) -> Result<String, Problem> {
        let known = self.inside().known.iter().find(|known| known.name == name).cloned();
        let who = known.and_then(|known| Some(known.who(known.password_key()?, false))).ok_or_else(|| {
            let detail = format!("{name} was made admin, and is not on record now");
            Problem::new(401, "sign-in-refused", "That did not open the console", detail, "sign in")
        })?;
        self.open(&who, "setup-code", from, at)
    }

    fn try_setup_code(&self, offered: &str, keep: bool) -> Result<(), Problem> {
        let offered = hash(&plain(offered));
        let mut inside = self.inside();
        let standing = inside.setup.code.take().filter(|(_, made, _)| made.elapsed() < CODE_AGE);
        let why = match standing {
            None => "no set-up code stands: none was made, it was used, or it is over",
            Some((code, made, wrong)) if bool::from(code.ct_eq(&offered)) => {
                inside.setup.code = keep.then_some((code, made, wrong));
                return Ok(());
            }
            Some((code, made, wrong)) if wrong + 1 < TRIES => {
                inside.setup.code = Some((code, made, wrong + 1));
                "the set-up code is another one"
            }
            Some(_) => "the set-up code is another one, and it was the last try: the code is void now",
        };
        let remedy = "run `groundstate setup-code` on the appliance";
        Err(Problem::new(401, "setup-code-wrong", "That made no admin", why, remedy))
    }
}

/// Letters that nobody mistakes, in fours.
pub(super) fn code() -> Result<String, KeyError> {
    let mut random = [0; LEN];
    SystemRandom::new().fill(&mut random).map_err(|_| KeyError::Random)?;
    let letters: Vec<u8> = random.iter().map(|byte| LETTERS[usize::from(byte & 31)]).collect();
    let code: Vec<&str> = letters.chunks(4).filter_map(|part| std::str::from_utf8(part).ok()).collect();
    Ok(code.join("-"))
}

/// As it is compared: people leave out lines and shift keys.
pub(super) fn plain(code: &str) -> String {
    code.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_uppercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_works_once_and_for_few_tries() {
        let gate = Gate::new("secret");
        assert!(gate.try_setup_code("", false).is_err());
        let code = gate.setup_code().unwrap();
        assert_eq!(code.len(), LEN + 2);
        assert!(gate.try_setup_code("AAAA-AAAA-AAAA", false).is_err());
        gate.try_setup_code(&code, true).unwrap();
        gate.try_setup_code(&code.to_lowercase().replace('-', " "), false).unwrap();
        assert!(gate.try_setup_code(&code, false).is_err(), "once");
        let code = gate.setup_code().unwrap();
        for _ in 0..TRIES {
            assert!(gate.try_setup_code("AAAA-AAAA-AAAA", false).is_err());
        }
        assert!(gate.try_setup_code(&code, false).is_err(), "guessed at too often");
        let old = gate.setup_code().unwrap();
        gate.setup_code().unwrap();
        assert!(gate.try_setup_code(&old, false).is_err());
    }
}
