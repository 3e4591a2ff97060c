//! TPM 2.0 structures and the TCG event log: plain data, strict and bounded codecs.
//!
//! | module | what | source |
//! |---|---|---|
//! | [`wire`] | big-endian reader and writer, `TPM2B` | TPM 2.0 Part 2 §10.3 |
//! | [`public`] | ECC P-256 public areas, names, the key templates | Part 2 §12.2.4, TCG EK Credential Profile |
//! | [`rsa`] | the RSA-2048 endorsement key | Part 2 §12.2.4, TCG EK Credential Profile |
//! | [`attest`] | quotes, certifications, ECDSA signatures | Part 2 §10.12, §11.3.4 |
//! | [`pcr`] | PCR selections and values of the SHA-256 bank | Part 2 §10.6.2, §10.9.7 |
//! | [`event_log`] | the crypto-agile event log and its replay | TCG PC Client Platform Firmware Profile §10 |
//!
//! One curve, one hash: ECC NIST P-256 and SHA-256; RSA for the one key that makers certify everywhere. Whatever else a TPM could say is refused with a named error, not
//! carried along. Nothing here talks to a TPM (the agent does) and nothing here decides (the appliance does).

use std::fmt;
use std::str::FromStr;

use images::{Digest, ParseDigestError};
use serde::{Deserialize, Serialize};

pub mod attest;
pub mod event_log;
pub mod pcr;
pub mod public;
pub mod rsa;
pub mod wire;

pub use attest::{Attest, Attested, ClockInfo, Signature};
pub use event_log::{Event, EventLog, EventType};
pub use pcr::{PcrMask, PcrValues};
pub use public::{EccPublic, Point};
pub use rsa::RsaEkPublic;
pub use wire::CodecError;

/// `TPM_ALG_RSA` (TCG Algorithm Registry).
pub const ALG_RSA: u16 = 0x0001;
/// `TPM_ALG_AES` (TCG Algorithm Registry).
pub const ALG_AES: u16 = 0x0006;
/// `TPM_ALG_SHA256`.
pub const ALG_SHA256: u16 = 0x000b;
/// `TPM_ALG_NULL`.
pub const ALG_NULL: u16 = 0x0010;
/// `TPM_ALG_ECDSA`.
pub const ALG_ECDSA: u16 = 0x0018;
/// `TPM_ALG_ECC`.
pub const ALG_ECC: u16 = 0x0023;
/// `TPM_ALG_CFB`.
pub const ALG_CFB: u16 = 0x0043;
/// `TPM_ECC_NIST_P256`.
pub const CURVE_P256: u16 = 0x0003;

/// Where Linux shows the firmware's event log; needs securityfs, and a boot loader that starts the kernel's EFI stub.
pub const EVENT_LOG_PATH: &str = "/sys/kernel/security/tpm0/binary_bios_measurements";

/// A SHA-256 digest: 32 bytes, shown and serialised as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sha256(pub Digest);

impl Sha256 {
    /// 32 zero bytes: the initial value of most PCRs.
    pub const ZERO: Self = Self(Digest([0; 32]));

    /// SHA-256 of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::of_parts(&[bytes])
    }

    /// SHA-256 of the concatenation of `parts`.
    #[must_use]
    pub fn of_parts(parts: &[&[u8]]) -> Self {
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        parts.iter().for_each(|part| context.update(part));
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.finish().as_ref());
        Self(Digest(bytes))
    }

    /// What a PCR with this value holds after `digest` was extended into it (Part 1 §17.2).
    #[must_use]
    pub fn extended(&self, digest: &Self) -> Self {
        Self::of_parts(&[self.as_bytes(), digest.as_bytes()])
    }

    /// The bytes of the digest.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

impl From<[u8; 32]> for Sha256 {
    fn from(bytes: [u8; 32]) -> Self {
        Self(Digest(bytes))
    }
}

impl FromStr for Sha256 {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
