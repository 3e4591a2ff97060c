//! The trust root: the document that says which keys have which role. It travels inside the recovery system.
//!
//! As a file it is JSON; what is signed is not the JSON but its fields in our binary alphabet, so that white space and
//! key order never matter. A root is followed only by the root with the next version number, signed by the threshold
//! of the old root keys and by the threshold of the new ones (as in The Update Framework, section 5.3).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{PublicKey, SignError, SigningKey};
use crate::wire::Writer;

/// First bytes of every signed trust root.
pub const CONTEXT: &[u8] = b"groundstate trust root\n";
const KEYS_MAX: usize = 32;

/// What a key may sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Trust roots.
    Root,
    /// Golden images.
    Image,
    /// Channel statements.
    Channel,
    /// Freshness statements.
    Freshness,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Root => "root",
            Self::Image => "image",
            Self::Channel => "channel",
            Self::Freshness => "freshness",
        })
    }
}

/// The keys of a role and how many of them must sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleKeys {
    /// How many distinct keys must sign; 1 to the number of keys.
    pub threshold: u16,
    /// The keys, distinct.
    pub keys: Vec<PublicKey>,
}

/// Which keys have which role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustRoot {
    /// Counts up by one with each rotation, from 1.
    pub version: u64,
    /// Images and statements below this epoch are refused, however well signed.
    pub epoch_floor: u64,
    /// After this time whoever has a clock that can be trusted follows this root no more, milliseconds since 1970 UTC; 0 for never.
    /// Endpoints have no such clock: what they must not take is below the epoch floor.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub expires_unix_ms: u64,
    /// Keys by role; root and image are always there.
    pub roles: BTreeMap<Role, RoleKeys>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// A signature on a trust root or a statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySignature {
    /// The key that made it.
    pub key: PublicKey,
    /// The signature, 128 hexadecimal digits.
    #[serde(with = "hex::serde")]
    pub signature: [u8; 64],
}

/// A trust root with its signatures, as in `trust.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedTrustRoot {
    /// What is signed.
    pub root: TrustRoot,
    /// By whom.
    pub signatures: Vec<KeySignature>,
}

/// Why a trust root is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustRootError {
    /// A rule of the document is broken.
    #[error("the trust root breaks the rule \"{rule}\"")]
    Rule {
        /// The rule.
        rule: &'static str,
    },
    /// Too few root keys have signed it.
    #[error(
        "trust root {version} has {have} of the {need} signatures it needs from the {whose} root keys; have it signed by more key holders"
    )]
    UnderThreshold {
        /// Its version.
        version: u64,
        /// Valid signatures by distinct keys.
        have: usize,
        /// Signatures needed.
        need: usize,
        /// `old` or `new`.
        whose: &'static str,
    },
    /// Not the next version.
    #[error("trust root {found} cannot follow {current}; the next one is {next}", next = current + 1)]
    NotNext {
        /// The version trusted now.
        current: u64,
        /// The version offered.
        found: u64,
    },
    /// Its time is over.
    #[error(
        "trust root {version} has expired; have the root key holders sign the next one (`groundstate image root next`)"
    )]
    Expired {
        /// Its version.
        version: u64,
    },
    /// Epochs never go back.
    #[error("trust root {version} lowers the epoch floor; roll-back protection only ever rises")]
    FloorLowered {
        /// Its version.
        version: u64,
    },
}

impl TrustRoot {
    /// The bytes that are signed.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.bytes(CONTEXT).u64(self.version).u64(self.epoch_floor).u16(self.roles.len() as u16);
        for (role, keys) in &self.roles {
            out.text(&role.to_string()).u16(keys.threshold).u16(keys.keys.len() as u16);
            keys.keys.iter().for_each(|key| {
                out.bytes(key.as_bytes());
            });
        }
        if self.expires_unix_ms > 0 {
            out.u64(self.expires_unix_ms);
        }
        out.0
    }

    /// Check every rule of the document.
    pub fn check(&self) -> Result<(), TrustRootError> {
        let rule = |holds: bool, rule| if holds { Ok(()) } else { Err(TrustRootError::Rule { rule }) };
        rule(self.version > 0, "versions count from 1")?;
        for role in [Role::Root, Role::Image] {
            rule(self.roles.contains_key(&role), "there are root and image keys")?;
        }
        for keys in self.roles.values() {
            let mut distinct = keys.keys.clone();
            distinct.sort_unstable();
            distinct.dedup();
            rule(
                distinct.len() == keys.keys.len() && distinct.len() <= KEYS_MAX,
                "a role has up to 32 distinct keys",
            )?;
            let threshold = 1..=keys.keys.len();
            rule(threshold.contains(&usize::from(keys.threshold)), "a threshold is 1 to the number of keys")?;
        }
        let mut all: Vec<_> = self.roles.values().flat_map(|keys| &keys.keys).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        rule(all.len() == count, "a key has one role only")
    }

    fn require(&self, signed: &SignedTrustRoot, whose: &'static str) -> Result<(), TrustRootError> {
        let keys = &self.roles[&Role::Root];
        let message = signed.root.signed_bytes();
        let valid = |key: &&PublicKey| {
            signed.signatures.iter().any(|s| s.key == **key && key.verifies(&message, &s.signature))
        };
        let (have, need) = (keys.keys.iter().filter(valid).count(), usize::from(keys.threshold));
        match have >= need {
            true => Ok(()),
            false => Err(TrustRootError::UnderThreshold { version: signed.root.version, have, need, whose }),
        }
    }
}

impl SignedTrustRoot {
    /// A root that nobody has signed yet.
    pub fn unsigned(root: TrustRoot) -> Self {
        Self { root, signatures: Vec::new() }
    }

    /// Add the signature of a key holder.
    pub fn sign(&mut self, key: &SigningKey) -> Result<(), SignError> {
        let signature = KeySignature { key: key.public(), signature: key.sign(&self.root.signed_bytes())? };
        self.signatures.retain(|other| other.key != signature.key);
        self.signatures.push(signature);
        Ok(())
    }

    /// Whether it obeys the rules and is signed by the threshold of its own root keys.
    pub fn check(&self) -> Result<(), TrustRootError> {
        self.root.check()?;
        self.root.require(self, "new")
    }

    /// Whether its time is over, by a clock of the caller's.
    pub fn check_time(&self, now_unix_ms: u64) -> Result<(), TrustRootError> {
        match self.root.expires_unix_ms {
            0 => Ok(()),
            until if now_unix_ms <= until => Ok(()),
            _ => Err(TrustRootError::Expired { version: self.root.version }),
        }
    }

    /// Whether `next` may take the place of this root.
    pub fn check_next(&self, next: &Self) -> Result<(), TrustRootError> {
        next.root.check()?;
        let (current, found) = (self.root.version, next.root.version);
        if current.checked_add(1) != Some(found) {
            return Err(TrustRootError::NotNext { current, found });
        }
        if next.root.epoch_floor < self.root.epoch_floor {
            return Err(TrustRootError::FloorLowered { version: found });
        }
        self.root.require(next, "old")?;
        next.root.require(next, "new")
    }
}
