//! The key ring: what a trust root lets us believe.
//!
//! [`KeyRing::verify`] is the only constructor of [`Verified`]; whoever holds a `Verified<Manifest>` may write it on a
//! disk. Nothing here may be made to say yes by a flag, a default or a missing list.

use std::io::{self, Read};

use super::statement::{self, ChannelStatement, Freshness, Signed, StatementError};
use super::{PublicKey, Role, SignedTrustRoot, TrustRootError};
use crate::manifest::{ArrivalError, Arriving, Header, Parts, Signature};
use crate::{ImageId, Manifest, ManifestError, SignedManifest};

/// Something that enough trusted keys have signed.
#[derive(Debug, Clone)]
pub struct Verified<T> {
    inner: T,
    signers: Vec<PublicKey>,
}

impl<T> Verified<T> {
    /// Who has signed it, of those that we trust.
    pub fn signers(&self) -> &[PublicKey] {
        &self.signers
    }
}

impl<T> std::ops::Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner
    }
}

/// Why a manifest is not to be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// Nobody has signed it.
    #[error("image {image} is not signed; have it signed with `groundstate image sign`")]
    Unsigned {
        /// The image.
        image: ImageId,
    },
    /// Signed, but by nobody whom we trust.
    #[error(
        "image {image} is signed by no key that the trust root lists for images; sign it with a listed key, or rotate the trust root"
    )]
    UnknownSigner {
        /// The image.
        image: ImageId,
    },
    /// A signature by a key that we trust does not fit the manifest.
    #[error(
        "image {image} was altered after key {key} signed it, or the signature is forged; do not use it, fetch it again"
    )]
    WrongSignature {
        /// The image.
        image: ImageId,
        /// The key named by the signature.
        key: PublicKey,
    },
    /// Too few of the keys that we trust have signed it.
    #[error("image {image} has {have} of {need} signatures; have it signed by {missing} more", missing = need - have)]
    UnderThreshold {
        /// The image.
        image: ImageId,
        /// Valid signatures by distinct trusted keys.
        have: usize,
        /// Signatures needed.
        need: usize,
    },
    /// Older than what we still accept.
    #[error("image {image} has epoch {epoch}, at least {floor} is required; it was withdrawn")]
    BelowFloor {
        /// The image.
        image: ImageId,
        /// Its epoch.
        epoch: u64,
        /// The floor of the trust root.
        floor: u64,
    },
    /// Signed, but not a manifest that we understand.
    #[error("image {image} is refused")]
    Manifest {
        /// The image.
        image: ImageId,
        /// Why.
        #[source]
        source: ManifestError,
    },
}

/// Why a manifest that arrives is not to be trusted, or does not arrive.
#[derive(Debug, thiserror::Error)]
pub enum ArrivingError {
    /// Its source failed: another may do better.
    #[error("the manifest stopped arriving; fetch it again")]
    Read(#[source] io::Error),
    /// It is not to be trusted.
    #[error(transparent)]
    Verify(#[from] VerifyError),
}

/// The keys that we trust now.
#[derive(Debug, Clone)]
pub struct KeyRing {
    root: SignedTrustRoot,
}

impl KeyRing {
    /// Trust a root because of where it was found: inside the recovery system, or placed by the operator.
    pub fn pin(root: SignedTrustRoot) -> Result<Self, TrustRootError> {
        root.check()?;
        Ok(Self { root })
    }

    /// Follow to the next trust root.
    pub fn rotate(&self, next: SignedTrustRoot) -> Result<Self, TrustRootError> {
        self.root.check_next(&next)?;
        Ok(Self { root: next })
    }

    /// The trust root in use.
    pub fn root(&self) -> &SignedTrustRoot {
        &self.root
    }

    /// Check a manifest to the last page; what comes back may be restored.
    pub fn verify(&self, signed: SignedManifest) -> Result<Verified<Manifest>, VerifyError> {
        let image = signed.id();
        let signers = self.image_signers(image, &signed.header, &signed.signatures)?;
        let manifest = Manifest::from_parts(signed.header, signed.pages)
            .map_err(|source| VerifyError::Manifest { image, source })?;
        self.check_floor(image, manifest.header())?;
        Ok(Verified { inner: manifest, signers })
    }

    /// The same while it arrives: who signed it and its epoch before the first page is asked for, each page before the next.
    pub fn verify_arriving(
        &self,
        mut file: Arriving<impl Read>,
    ) -> Result<Verified<Manifest>, ArrivingError> {
        let image = file.id();
        let refused = |source| VerifyError::Manifest { image, source };
        let signers = self.image_signers(image, &file.header, &file.signatures)?;
        let mut parts = Parts::new(std::mem::take(&mut file.header)).map_err(refused)?;
        self.check_floor(image, parts.header())?;
        while let Some(page) = file.next_page().map_err(|error| match error {
            ArrivalError::Read(source) => ArrivingError::Read(source),
            ArrivalError::Manifest(source) => refused(source).into(),
        })? {
            parts.add(page).map_err(refused)?;
        }
        Ok(Verified { inner: parts.finish().map_err(refused)?, signers })
    }

    fn check_floor(&self, image: ImageId, header: &Header) -> Result<(), VerifyError> {
        let (epoch, floor) = (header.identity.epoch, self.root.root.epoch_floor);
        match epoch < floor {
            true => Err(VerifyError::BelowFloor { image, epoch, floor }),
            false => Ok(()),
        }
    }

    /// Check a channel statement: what a channel means, not older than `epoch_seen` (the highest seen before).
    pub fn verify_statement(
        &self,
        signed: &Signed<ChannelStatement>,
        epoch_seen: u64,
    ) -> Result<Verified<ChannelStatement>, StatementError> {
        let signers = statement::signers(signed, self.role(Role::Channel))?;
        let (found, floor) = (signed.body.epoch, epoch_seen.max(self.root.root.epoch_floor));
        if found < floor {
            return Err(StatementError::RolledBack { found, floor });
        }
        Ok(Verified { inner: signed.body.clone(), signers })
    }

    /// Check a freshness statement against the nonce that we sent and the statement that came with it.
    pub fn verify_freshness(
        &self,
        signed: &Signed<Freshness>,
        nonce: &[u8; 32],
        statement: &Verified<ChannelStatement>,
    ) -> Result<Verified<Freshness>, StatementError> {
        let signers = statement::signers(signed, self.role(Role::Freshness))?;
        if signed.body.nonce.0 != *nonce {
            return Err(StatementError::WrongNonce);
        }
        if signed.body.statement != statement.digest() {
            return Err(StatementError::OtherStatement);
        }
        Ok(Verified { inner: signed.body.clone(), signers })
    }

    fn role(&self, role: Role) -> Option<&super::RoleKeys> {
        self.root.root.roles.get(&role)
    }

    fn image_signers(
        &self,
        image: ImageId,
        header: &[u8],
        signatures: &[Signature],
    ) -> Result<Vec<PublicKey>, VerifyError> {
        if signatures.is_empty() {
            return Err(VerifyError::Unsigned { image });
        }
        let Some(keys) = self.role(Role::Image) else { return Err(VerifyError::UnknownSigner { image }) };
        let mut signers: Vec<PublicKey> = Vec::new();
        for signature in signatures {
            let key = PublicKey::from_bytes(signature.key);
            if !keys.keys.contains(&key) || signers.contains(&key) {
                continue;
            }
            if !key.verifies(header, &signature.signature) {
                return Err(VerifyError::WrongSignature { image, key });
            }
            signers.push(key);
        }
        let (have, need) = (signers.len(), usize::from(keys.threshold));
        match have {
            0 => Err(VerifyError::UnknownSigner { image }),
            _ if have < need => Err(VerifyError::UnderThreshold { image, have, need }),
            _ => Ok(signers),
        }
    }
}
