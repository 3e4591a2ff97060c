//! Key files: one signing key in JSON: sealed with a passphrase, on a token that the file only names, or open for development and tests.
//!
//! Sealed: Argon2id (RFC 9106) makes a key of the passphrase; ChaCha20-Poly1305 (RFC 8439) seals the 32-byte seed and
//! binds role, name and public key to it. This module must never write a seed in the clear unless asked to by name
//! ([`KeyFile::open_for_tests`]).

use std::path::PathBuf;

use argon2::{Algorithm, Argon2, Params, Version};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{PublicKey, Role, SigningKey};

const FORMAT: &str = "groundstate key 1";
/// 64 MiB, 3 passes, 1 lane: RFC 9106, section 4, second recommended option with one lane.
const COST: Cost = Cost { memory_kib: 65_536, passes: 3, lanes: 1 };
/// A hostile file may not ask for more than this.
const MEMORY_KIB_MAX: u32 = 1 << 20;
const PASSES_MAX: u32 = 100;

/// Why a key file gives no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// Not a key file.
    #[error("this is not a groundstate key file; check that the right file was given")]
    NotAKeyFile(#[source] serde_json::Error),
    /// Made by a newer version.
    #[error("key file format `{format}` is not known here; update this program")]
    UnknownFormat {
        /// The format found.
        format: String,
    },
    /// It is sealed and no passphrase was given.
    #[error("the key file is sealed; give its passphrase")]
    PassphraseNeeded,
    /// Wrong passphrase, or the file was altered.
    #[error("the passphrase is wrong, or the key file was altered")]
    WrongPassphrase,
    /// The stated cost is out of bounds.
    #[error("the key file asks for an absurd amount of work; it is damaged or hostile")]
    AbsurdCost,
    /// The seed does not belong to the public key.
    #[error("the key file's secret and public halves do not belong together; it was altered")]
    Mismatch,
    /// A token holds the secret half.
    #[error("the key is on a token ({}); it is opened there", place.label)]
    OnToken {
        /// Which.
        place: TokenPlace,
    },
    /// There is no seed to write.
    #[error("the key is on a token, which does not give it away")]
    NoSeed,
    /// The system gave no randomness.
    #[error("the system gave no random bytes; try again when it has started fully")]
    NoRandomness,
}

/// A signing key at rest.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyFile {
    format: String,
    /// What the key is for.
    pub role: Role,
    /// Whose key it is, for people.
    pub name: String,
    /// Its public half.
    pub public: PublicKey,
    secret: Secret,
}

/// The public half of a key file, to be given away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublicKeyFile {
    /// What the key is for.
    pub role: Role,
    /// Whose key it is, for people.
    pub name: String,
    /// The key.
    pub public: PublicKey,
}

/// Where a token keeps a key (PKCS #11).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenPlace {
    /// The token vendor's library, a file on the computer that signs.
    pub module: PathBuf,
    /// The token's label (`CKA_LABEL` of the token).
    pub token: String,
    /// The key's label on it.
    pub label: String,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "protection", rename_all = "lowercase", deny_unknown_fields)]
enum Secret {
    None {
        seed: Zeroizing<String>,
    },
    Passphrase {
        argon2id: Cost,
        #[serde(with = "hex::serde")]
        salt: [u8; 16],
        #[serde(with = "hex::serde")]
        nonce: [u8; 12],
        #[serde(with = "hex::serde")]
        sealed: Vec<u8>,
    },
    Token(TokenPlace),
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl KeyFile {
    /// Seal a key with a passphrase.
    pub fn seal(key: &SigningKey, role: Role, name: &str, passphrase: &str) -> Result<Self, KeyFileError> {
        Self::seal_at_cost(key, role, name, passphrase, COST)
    }

    fn seal_at_cost(
        key: &SigningKey,
        role: Role,
        name: &str,
        passphrase: &str,
        cost: Cost,
    ) -> Result<Self, KeyFileError> {
        let (mut salt, mut nonce) = ([0; 16], [0; 12]);
        let random = SystemRandom::new();
        random
            .fill(&mut salt)
            .and_then(|()| random.fill(&mut nonce))
            .map_err(|_| KeyFileError::NoRandomness)?;
        let public = key.public();
        let cipher = cipher(passphrase, &salt, cost)?;
        let mut sealed = key.seed().ok_or(KeyFileError::NoSeed)?.to_vec();
        cipher
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                aad(role, name, &public),
                &mut sealed,
            )
            .map_err(|_| KeyFileError::AbsurdCost)?;
        let secret = Secret::Passphrase { argon2id: cost, salt, nonce, sealed };
        Ok(Self { format: FORMAT.into(), role, name: name.into(), public, secret })
    }

    /// A key file that anybody can open: for development, demonstrations and tests only.
    pub fn open_for_tests(key: &SigningKey, role: Role, name: &str) -> Result<Self, KeyFileError> {
        let seed = Zeroizing::new(hex::encode(key.seed().ok_or(KeyFileError::NoSeed)?));
        let secret = Secret::None { seed };
        Ok(Self { format: FORMAT.into(), role, name: name.into(), public: key.public(), secret })
    }

    /// The file of a key that a token holds.
    pub fn on_token(public: PublicKey, role: Role, name: &str, place: TokenPlace) -> Self {
        Self { format: FORMAT.into(), role, name: name.into(), public, secret: Secret::Token(place) }
    }

    /// Whether a passphrase is needed.
    pub fn is_sealed(&self) -> bool {
        matches!(self.secret, Secret::Passphrase { .. })
    }

    /// The token that holds the key, if one does.
    pub fn token(&self) -> Option<&TokenPlace> {
        match &self.secret {
            Secret::Token(place) => Some(place),
            Secret::None { .. } | Secret::Passphrase { .. } => None,
        }
    }

    /// The signing key.
    pub fn unlock(&self, passphrase: Option<&str>) -> Result<SigningKey, KeyFileError> {
        let mut seed = Zeroizing::new([0; 32]);
        match (&self.secret, passphrase) {
            (Secret::Token(place), _) => return Err(KeyFileError::OnToken { place: place.clone() }),
            (Secret::None { seed: text }, _) => {
                hex::decode_to_slice(text.as_bytes(), &mut *seed).map_err(|_| KeyFileError::Mismatch)?;
            }
            (Secret::Passphrase { .. }, None) => return Err(KeyFileError::PassphraseNeeded),
            (Secret::Passphrase { argon2id, salt, nonce, sealed }, Some(passphrase)) => {
                let cipher = cipher(passphrase, salt, *argon2id)?;
                let mut sealed = Zeroizing::new(sealed.clone());
                let nonce = Nonce::assume_unique_for_key(*nonce);
                let aad = aad(self.role, &self.name, &self.public);
                let opened = cipher.open_in_place(nonce, aad, &mut sealed);
                let opened = opened.map_err(|_| KeyFileError::WrongPassphrase)?;
                seed.copy_from_slice(opened.get(..32).ok_or(KeyFileError::Mismatch)?);
            }
        }
        let key = SigningKey::from_seed(seed);
        if key.public() == self.public { Ok(key) } else { Err(KeyFileError::Mismatch) }
    }

    /// The public half.
    pub fn public_file(&self) -> PublicKeyFile {
        PublicKeyFile { role: self.role, name: self.name.clone(), public: self.public }
    }

    /// As JSON text.
    pub fn to_json(&self) -> Zeroizing<String> {
        Zeroizing::new(serde_json::to_string_pretty(self).unwrap_or_default() + "\n")
    }

    /// From JSON text.
    pub fn from_json(text: &str) -> Result<Self, KeyFileError> {
        let file: Self = serde_json::from_str(text).map_err(KeyFileError::NotAKeyFile)?;
        match file.format == FORMAT {
            true => Ok(file),
            false => Err(KeyFileError::UnknownFormat { format: file.format }),
        }
    }
}

impl std::fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyFile({} key `{}`, public {})", self.role, self.name, self.public)
    }
}

fn cipher(passphrase: &str, salt: &[u8; 16], cost: Cost) -> Result<LessSafeKey, KeyFileError> {
    if cost.memory_kib > MEMORY_KIB_MAX || cost.passes > PASSES_MAX || cost.lanes > 16 {
        return Err(KeyFileError::AbsurdCost);
    }
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32));
    let params = params.map_err(|_| KeyFileError::AbsurdCost)?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), salt, &mut *key)
        .map_err(|_| KeyFileError::AbsurdCost)?;
    let unbound = UnboundKey::new(&CHACHA20_POLY1305, &*key).map_err(|_| KeyFileError::AbsurdCost)?;
    Ok(LessSafeKey::new(unbound))
}

fn aad(role: Role, name: &str, public: &PublicKey) -> Aad<String> {
    Aad::from(format!("{FORMAT}\n{role}\n{public}\n{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Cost = Cost { memory_kib: 64, passes: 1, lanes: 1 };

    fn sealed() -> KeyFile {
        KeyFile::seal_at_cost(&SigningKey::generate().unwrap(), Role::Image, "anna", "open sesame", CHEAP)
            .unwrap()
    }

    #[test]
    fn a_sealed_key_opens_with_its_passphrase_only() {
        let file = KeyFile::from_json(&sealed().to_json()).unwrap();
        assert_eq!(file.unlock(Some("open sesame")).unwrap().public(), file.public);
        assert!(matches!(file.unlock(Some("open sesam")), Err(KeyFileError::WrongPassphrase)));
        assert!(matches!(file.unlock(None), Err(KeyFileError::PassphraseNeeded)));
    }

    #[test]
    fn role_name_and_public_key_are_bound_to_the_secret() {
        let mut role = sealed();
        role.role = Role::Root;
        let mut name = sealed();
        name.name = "eve".into();
        let mut public = sealed();
        public.public = PublicKey::from_bytes([1; 32]);
        for file in [role, name, public] {
            assert!(matches!(file.unlock(Some("open sesame")), Err(KeyFileError::WrongPassphrase)));
        }
    }

    #[test]
    fn neither_file_nor_debug_shows_the_seed() {
        let key = SigningKey::generate().unwrap();
        let seed = hex::encode(key.seed().unwrap());
        let file = KeyFile::seal_at_cost(&key, Role::Image, "anna", "x", CHEAP).unwrap();
        assert!(!file.to_json().contains(&seed));
        let open = KeyFile::open_for_tests(&key, Role::Image, "anna").unwrap();
        assert!(!format!("{open:?} {key:?}").contains(&seed));
        assert_eq!(KeyFile::from_json(&open.to_json()).unwrap().unlock(None).unwrap().public(), key.public());
    }

    #[test]
    fn hostile_key_files_are_refused() {
        let mut costly = sealed();
        if let Secret::Passphrase { argon2id, .. } = &mut costly.secret {
            argon2id.memory_kib = u32::MAX;
        }
        assert!(matches!(costly.unlock(Some("x")), Err(KeyFileError::AbsurdCost)));
        let mut newer = sealed();
        newer.format = "groundstate key 2".into();
        assert!(matches!(KeyFile::from_json(&newer.to_json()), Err(KeyFileError::UnknownFormat { .. })));
        assert!(matches!(KeyFile::from_json("{}"), Err(KeyFileError::NotAKeyFile(_))));
        let mut other =
            KeyFile::open_for_tests(&SigningKey::generate().unwrap(), Role::Image, "anna").unwrap();
        other.public = PublicKey::from_bytes([1; 32]);
        assert!(matches!(other.unlock(None), Err(KeyFileError::Mismatch)));
    }
}
