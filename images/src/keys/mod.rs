//! Who may say what: signing keys, roles, and the proof that a manifest was signed by those whom we trust.
//!
//! | role | says | kept |
//! |---|---|---|
//! | root | which keys have which role (2 of 3) | offline |
//! | image | "this is a golden image" (m of n) | offline |
//! | channel | "`approved` now means this image", with an epoch | appliance or site manager |
//! | freshness | "this is the latest epoch I know", to an agent's nonce | appliance, online |
//!
//! ```text
//!   SignedTrustRoot ──pin──► KeyRing ──rotate(next root, signed by old and new)──► KeyRing
//!                               │ verify(SignedManifest)
//!                               ▼
//!                        Verified<Manifest>      the only way to get one
//! ```
//!
//! Every kind of message starts with a line of its own ([`crate::manifest::codec::MAGIC`], [`root::CONTEXT`],
//! [`statement::CONTEXT`], [`statement::FRESHNESS_CONTEXT`]), so a signature for one never counts for another. This module must
//! never read a clock: plant clocks are not trusted, and roll-back is stopped by epochs and nonces instead.

mod file;
mod keyring;
pub mod minisign;
pub mod root;
pub mod statement;

pub use file::{KeyFile, KeyFileError, PublicKeyFile, TokenPlace};
pub use keyring::{ArrivingError, KeyRing, Verified, VerifyError};
pub use root::{Role, RoleKeys, SignedTrustRoot, TrustRoot, TrustRootError};
pub use statement::{ChannelStatement, Freshness, Signed, Stage, StatementError};

use std::fmt;
use std::str::FromStr;

use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{Digest, SignedManifest};

/// An Ed25519 public key (RFC 8032), shown as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PublicKey(Digest);

impl PublicKey {
    /// The key with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Digest(bytes))
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Whether `signature` over `message` was made by this key.
    pub fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.as_bytes()).verify(message, signature).is_ok()
    }

    /// The eight bytes by which minisign names this key.
    pub fn short_id(&self) -> [u8; 8] {
        let mut id = [0; 8];
        id.copy_from_slice(&Digest::of(self.as_bytes()).0[..8]);
        id
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = crate::ParseDigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// The system gave no randomness.
#[derive(Debug, thiserror::Error)]
#[error("the system gave no random bytes for a new key; try again when it has started fully")]
pub struct NoRandomness;

/// A key that never leaves the token that holds it. The caller brings the way to the token.
pub trait TokenKey {
    /// The Ed25519 signature (64 bytes) over `message`, made by the token.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>>;
}

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The manifest is not whole.
    #[error("only a whole manifest is signed")]
    Manifest(#[from] crate::ManifestError),
    /// The token refuses.
    #[error("the token did not sign")]
    Token(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What the token gave back is no signature by the key of the key file.
    #[error(
        "the token signed with another key than {public}; look whether the key file names the right token and key"
    )]
    OtherKey {
        /// The key that was meant.
        public: PublicKey,
    },
}

/// An Ed25519 key that signs. A seed that it holds is wiped when it is dropped and never printed.
pub struct SigningKey {
    public: PublicKey,
    secret: Secret,
}

enum Secret {
    Here { seed: Zeroizing<[u8; 32]>, pair: Ed25519KeyPair },
    OnToken(Box<dyn TokenKey>),
}

impl SigningKey {
    /// A new key.
    pub fn generate() -> Result<Self, NoRandomness> {
        let mut seed = Zeroizing::new([0; 32]);
        SystemRandom::new().fill(&mut *seed).map_err(|_| NoRandomness)?;
        Ok(Self::from_seed(seed))
    }

    /// The key with this seed (RFC 8032, section 5.1.5).
    pub fn from_seed(seed: Zeroizing<[u8; 32]>) -> Self {
        // Any 32 bytes are a seed; the constructor fails only on another length.
        let pair = Ed25519KeyPair::from_seed_unchecked(&*seed).expect("32 bytes are an Ed25519 seed");
        let mut public = [0; 32];
        public.copy_from_slice(pair.public_key().as_ref());
        Self { public: PublicKey::from_bytes(public), secret: Secret::Here { seed, pair } }
    }

    /// The key on a token whose public half is `public`.
    pub fn on_token(public: PublicKey, token: Box<dyn TokenKey>) -> Self {
        Self { public, secret: Secret::OnToken(token) }
    }

    /// Its public half.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// Sign a message. Callers give it messages that start with their own context line only.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        match &self.secret {
            Secret::Here { pair, .. } => {
                let mut bytes = [0; 64];
                bytes.copy_from_slice(pair.sign(message).as_ref());
                Ok(bytes)
            }
            Secret::OnToken(token) => {
                let bytes = token.sign(message).map_err(SignError::Token)?;
                // A token is a computer of its own: what it gave is looked at before anybody relies on it.
                let signature = <[u8; 64]>::try_from(bytes).ok();
                let signature = signature.filter(|signature| self.public.verifies(message, signature));
                signature.ok_or(SignError::OtherKey { public: self.public })
            }
        }
    }

    /// Sign a golden image, beside whoever has signed it already. The manifest must be whole.
    pub fn sign_image(&self, manifest: &mut SignedManifest) -> Result<(), SignError> {
        manifest.parse()?;
        let signature = self.sign(&manifest.header)?;
        let comment_signature = self.sign(&minisign::comment_message(&manifest.id(), &signature))?;
        manifest.add(crate::Signature { key: *self.public().as_bytes(), signature, comment_signature });
        Ok(())
    }

    /// Its seed; none when a token holds it.
    pub(crate) fn seed(&self) -> Option<&[u8; 32]> {
        match &self.secret {
            Secret::Here { seed, .. } => Some(seed),
            Secret::OnToken(_) => None,
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(public {})", self.public())
    }
}

#[cfg(test)]
mod tests;
