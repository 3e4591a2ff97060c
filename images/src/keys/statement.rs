//! Statements: what a channel means now, and that this is still so.
//!
//! A channel statement binds a channel to an image and carries an epoch that only rises; going back to an older
//! image is a new statement with a higher epoch. Channels are called `<image name>/<stage>`, and epochs count over all
//! stages of a name, so that the statements about a name have one order. A freshness statement answers an agent's nonce, so that an old
//! statement cannot be replayed to a machine without memory. What is signed are the fields in our binary alphabet.

use serde::{Deserialize, Serialize};

use super::root::KeySignature;
use super::{PublicKey, RoleKeys, SignError, SigningKey};
use crate::wire::Writer;
use crate::{Digest, ImageId};

/// First bytes of every signed channel statement.
pub const CONTEXT: &[u8] = b"groundstate channel statement\n";
/// First bytes of every signed freshness statement.
pub const FRESHNESS_CONTEXT: &[u8] = b"groundstate freshness statement\n";

/// A body with a context of its own, to be signed.
pub trait Statement {
    /// The bytes that are signed; they start with the context of the kind.
    fn signed_bytes(&self) -> Vec<u8>;
}

/// Where an image of a name stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// To be tried.
    Candidate,
    /// What endpoints are restored to.
    Approved,
    /// Not to be restored any more.
    Retired,
}

impl Stage {
    /// The channel of this stage for images of a name.
    pub fn channel(self, name: &str) -> String {
        format!("{name}/{self}")
    }
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Candidate => "candidate",
            Self::Approved => "approved",
            Self::Retired => "retired",
        })
    }
}

/// "Channel X now means image Y."
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelStatement {
    /// The channel, such as `hmi-panel/approved`.
    pub channel: String,
    /// Counts up with each statement about the image's name.
    pub epoch: u64,
    /// The image it means.
    pub image: ImageId,
    /// Who ordered it.
    pub author: String,
    /// Why.
    pub reason: String,
    /// When, milliseconds since 1970 UTC; for people, nothing is decided by it.
    pub at_unix_ms: u64,
}

impl ChannelStatement {
    /// The image name and the stage that the channel stands for.
    pub fn about(&self) -> Option<(&str, Stage)> {
        let (name, stage) = self.channel.rsplit_once('/')?;
        let stages = [Stage::Candidate, Stage::Approved, Stage::Retired];
        Some((name, stages.into_iter().find(|known| known.to_string() == stage)?))
    }

    /// The digest by which a freshness statement names it.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.signed_bytes())
    }
}

impl Statement for ChannelStatement {
    fn signed_bytes(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.bytes(CONTEXT).text(&self.channel).u64(self.epoch).digest(&self.image.0);
        out.text(&self.author).text(&self.reason).u64(self.at_unix_ms);
        out.0
    }
}

/// "You asked with this nonce; this is the latest statement that I know."
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Freshness {
    /// The agent's nonce, 32 bytes as hexadecimal digits.
    pub nonce: Digest,
    /// [`ChannelStatement::digest`] of the latest statement.
    pub statement: Digest,
}

impl Statement for Freshness {
    fn signed_bytes(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.bytes(FRESHNESS_CONTEXT).digest(&self.nonce).digest(&self.statement);
        out.0
    }
}

/// A statement with its signatures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed<T> {
    /// What is signed.
    pub body: T,
    /// By whom.
    pub signatures: Vec<KeySignature>,
}

impl<T: Statement> Signed<T> {
    /// Make and sign a statement.
    pub fn new(body: T, key: &SigningKey) -> Result<Self, SignError> {
        let mut signed = Self { body, signatures: Vec::new() };
        signed.sign(key)?;
        Ok(signed)
    }

    /// Add a signature.
    pub fn sign(&mut self, key: &SigningKey) -> Result<(), SignError> {
        let signature = KeySignature { key: key.public(), signature: key.sign(&self.body.signed_bytes())? };
        self.signatures.retain(|other| other.key != signature.key);
        self.signatures.push(signature);
        Ok(())
    }
}

/// Why a statement is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Too few keys of its role have signed it.
    #[error(
        "the statement has {have} of {need} signatures by keys of its role; have it signed by a key that the trust root lists"
    )]
    UnderThreshold {
        /// Valid signatures by distinct keys of the role.
        have: usize,
        /// Signatures needed; 0 when the trust root has no key of the role.
        need: usize,
    },
    /// Older than one seen before.
    #[error("the statement has epoch {found}, {floor} was seen already; somebody replays an old one")]
    RolledBack {
        /// Its epoch.
        found: u64,
        /// The least accepted.
        floor: u64,
    },
    /// An answer to another question.
    #[error("the freshness statement answers another nonce; somebody replays an old one")]
    WrongNonce,
    /// An answer about another statement.
    #[error("the freshness statement is about another channel statement; ask for both again")]
    OtherStatement,
}

/// The distinct keys of the role that have signed, at least its threshold.
pub(super) fn signers<T: Statement>(
    signed: &Signed<T>,
    role: Option<&RoleKeys>,
) -> Result<Vec<PublicKey>, StatementError> {
    let Some(role) = role else { return Err(StatementError::UnderThreshold { have: 0, need: 0 }) };
    let message = signed.body.signed_bytes();
    let valid = |key: &&PublicKey| {
        signed.signatures.iter().any(|s| s.key == **key && key.verifies(&message, &s.signature))
    };
    let signers: Vec<PublicKey> = role.keys.iter().filter(valid).copied().collect();
    match signers.len() >= usize::from(role.threshold) {
        true => Ok(signers),
        false => {
            Err(StatementError::UnderThreshold { have: signers.len(), need: usize::from(role.threshold) })
        }
    }
}
