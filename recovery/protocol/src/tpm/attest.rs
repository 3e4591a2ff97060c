//! What a TPM says about itself: `TPMS_ATTEST` (TPM 2.0 Part 2 §10.12.12), as a quote or a certification, and the
//! ECDSA signature over it.
//!
//! `magic` is checked before anything else: a restricted key signs a foreign digest only if it does not begin with it,
//! so without this check the output of `TPM2_Sign` could pose as a quote.

use super::pcr::Selection;
use super::wire::{CodecError, Reader, Writer};
use super::{ALG_ECDSA, ALG_SHA256};

const WHAT: &str = "TPMS_ATTEST";

/// `TPM_GENERATED_VALUE` (Part 2 §6.2).
pub const GENERATED: u32 = 0xff54_4347;
/// `TPM_ST_ATTEST_CERTIFY` (Part 2 §6.9).
pub const ST_CERTIFY: u16 = 0x8017;
/// `TPM_ST_ATTEST_QUOTE`.
pub const ST_QUOTE: u16 = 0x8018;

/// `TPMS_CLOCK_INFO` (Part 2 §10.11.1). Readable as it is only when the signing key lies in the endorsement or platform
/// hierarchy; a TPM hides the counters from other keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClockInfo {
    /// Milliseconds that the TPM was powered, since it was last cleared.
    pub clock: u64,
    /// Times that the TPM was reset (power cycle or reboot) since it was last cleared.
    pub reset_count: u32,
    /// Times that it was restarted or resumed since the last reset.
    pub restart_count: u32,
    /// No larger `clock` was ever reported.
    pub safe: bool,
}

/// What is attested: `TPMU_ATTEST`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attested {
    /// `TPMS_QUOTE_INFO`: PCRs.
    Quote {
        /// Which PCRs.
        selection: Vec<Selection>,
        /// Hash of their values.
        pcr_digest: Vec<u8>,
    },
    /// `TPMS_CERTIFY_INFO`: a key in the same TPM.
    Certify {
        /// Name of the key.
        name: Vec<u8>,
        /// Its qualified name: with the hierarchy above it.
        qualified_name: Vec<u8>,
    },
}

/// A parsed `TPMS_ATTEST`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attest {
    /// `qualifiedSigner`: the qualified name of the signing key.
    pub signer: Vec<u8>,
    /// `extraData`: the nonce of whoever asked.
    pub extra_data: Vec<u8>,
    /// The TPM's clock and counters.
    pub clock: ClockInfo,
    /// Firmware version of the TPM, vendor-defined.
    pub firmware_version: u64,
    /// What is attested.
    pub attested: Attested,
}

impl Attest {
    /// Parses a whole `TPMS_ATTEST`.
    ///
    /// # Errors
    /// [`CodecError`]; field `magic` when no TPM generated it, field `type` when it is neither quote nor certification.
    pub fn parse(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut r = Reader::new(WHAT, bytes);
        let magic = r.u32()?;
        if magic != GENERATED {
            return Err(r.field("magic", magic.into(), "TPM_GENERATED (0xff544347)"));
        }
        let kind = r.u16()?;
        let signer = r.tpm2b("qualifiedSigner", 66)?.to_vec();
        let extra_data = r.tpm2b("extraData", 66)?.to_vec();
        let clock = ClockInfo {
            clock: r.u64()?,
            reset_count: r.u32()?,
            restart_count: r.u32()?,
            safe: match r.u8()? {
                0 => false,
                1 => true,
                other => return Err(r.field("clockInfo.safe", other.into(), "0 or 1")),
            },
        };
        let firmware_version = r.u64()?;
        let attested = match kind {
            ST_QUOTE => Attested::Quote {
                selection: Selection::read_list(&mut r)?,
                pcr_digest: r.tpm2b("pcrDigest", 64)?.to_vec(),
            },
            ST_CERTIFY => Attested::Certify {
                name: r.tpm2b("name", 66)?.to_vec(),
                qualified_name: r.tpm2b("qualifiedName", 66)?.to_vec(),
            },
            other => {
                return Err(r.field(
                    "type",
                    other.into(),
                    "ATTEST_QUOTE (0x8018) or ATTEST_CERTIFY (0x8017)",
                ));
            }
        };
        r.finish()?;
        Ok(Self { signer, extra_data, clock, firmware_version, attested })
    }

    /// Encodes the `TPMS_ATTEST`; only TPMs and tests say such things.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let kind = match self.attested {
            Attested::Quote { .. } => ST_QUOTE,
            Attested::Certify { .. } => ST_CERTIFY,
        };
        let ClockInfo { clock, reset_count, restart_count, safe } = self.clock;
        let head = Writer::new().u32(GENERATED).u16(kind).tpm2b(&self.signer).tpm2b(&self.extra_data);
        let head =
            head.u64(clock).u32(reset_count).u32(restart_count).u8(safe.into()).u64(self.firmware_version);
        match &self.attested {
            Attested::Certify { name, qualified_name } => head.tpm2b(name).tpm2b(qualified_name),
            Attested::Quote { selection, pcr_digest } => {
                let count = u32::try_from(selection.len()).unwrap_or(u32::MAX);
                let one = |w: Writer, s: &Selection| {
                    let bitmap = s.pcrs.indices().fold(0_u32, |mask, i| mask | 1 << i);
                    w.u16(s.bank).u8(3).bytes(&bitmap.to_le_bytes()[..3])
                };
                selection.iter().fold(head.u32(count), one).tpm2b(pcr_digest)
            }
        }
        .into_bytes()
    }
}

/// An ECDSA P-256 signature over a SHA-256 digest: r and s, 32 bytes each, big-endian (the form of RFC 7518 §3.4).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

impl Signature {
    /// Parses a whole `TPMT_SIGNATURE` (Part 2 §11.3.4).
    ///
    /// # Errors
    /// [`CodecError`] for another algorithm or hash, and for trailing bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut r = Reader::new("TPMT_SIGNATURE", bytes);
        r.expect_u16("sigAlg", ALG_ECDSA, "ECDSA (0x18)")?;
        r.expect_u16("hash", ALG_SHA256, "SHA-256 (0xb)")?;
        let mut fixed = [0; 64];
        for (field, end) in [("signatureR", 32), ("signatureS", 64)] {
            let part = r.tpm2b(field, 32)?;
            fixed[end - part.len()..end].copy_from_slice(part);
        }
        r.finish()?;
        Ok(Self(fixed))
    }

    /// Encodes the `TPMT_SIGNATURE`.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let (r, s) = self.0.split_at(32);
        Writer::new().u16(ALG_ECDSA).u16(ALG_SHA256).tpm2b(r).tpm2b(s).into_bytes()
    }

    /// The signature as X.509 and TLS carry it: DER `SEQUENCE { INTEGER r, INTEGER s }` (RFC 3279 §2.2.3).
    #[must_use]
    pub fn to_der(&self) -> Vec<u8> {
        let integer = |part: &[u8]| {
            let zeros = part.iter().take_while(|b| **b == 0).count().min(part.len() - 1);
            let value = &part[zeros..];
            // A leading 1 bit would make the number negative.
            let pad: &[u8] = if value[0] & 0x80 == 0 { &[] } else { &[0] };
            let length = u8::try_from(pad.len() + value.len()).unwrap_or(33);
            [&[0x02, length], pad, value].concat()
        };
        let (r, s) = (integer(&self.0[..32]), integer(&self.0[32..]));
        let length = u8::try_from(r.len() + s.len()).unwrap_or(70);
        [&[0x30, length], &r[..], &s[..]].concat()
    }
}

impl std::fmt::Debug for Signature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", hex::encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tpm::PcrMask;

    fn quote() -> Attest {
        let selection = vec![Selection { bank: ALG_SHA256, pcrs: PcrMask::of(&[0, 4, 9]) }];
        Attest {
            signer: vec![0, 11, 7],
            extra_data: vec![9; 32],
            clock: ClockInfo { clock: 77, reset_count: 3, restart_count: 0, safe: true },
            firmware_version: 0x2019_1023,
            attested: Attested::Quote { selection, pcr_digest: vec![1; 32] },
        }
    }

    #[test]
    fn quote_and_certification_come_back() {
        let certify = Attested::Certify { name: vec![1; 34], qualified_name: vec![2; 34] };
        for attest in [quote(), Attest { attested: certify, ..quote() }] {
            assert_eq!(Attest::parse(&attest.to_bytes()), Ok(attest));
        }
    }

    #[test]
    fn cuts_extra_bytes_and_foreign_kinds_are_refused() {
        let good = quote().to_bytes();
        for cut in 0..good.len() {
            assert!(matches!(Attest::parse(&good[..cut]), Err(CodecError::Short { .. })), "{cut}");
        }
        let extra = [&good[..], &[0]].concat();
        assert_eq!(Attest::parse(&extra), Err(CodecError::Trailing { what: WHAT, count: 1 }));
        for (at, name) in [(0, "magic"), (5, "type")] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(matches!(Attest::parse(&bad), Err(CodecError::Field { field, .. }) if field == name));
        }
    }

    #[test]
    fn signatures_of_any_length_become_fixed() {
        let bytes =
            Writer::new().u16(ALG_ECDSA).u16(ALG_SHA256).tpm2b(&[1; 31]).tpm2b(&[0x80; 32]).into_bytes();
        let signature = Signature::parse(&bytes).unwrap();
        assert_eq!(signature.0[..2], [0, 1]);
        assert_eq!(signature.to_der()[..4], [0x30, 2 + 31 + 2 + 33, 0x02, 31]);
        assert_eq!(Signature::parse(&signature.to_bytes()), Ok(signature));
        let rsa = [&[0x00, 0x14][..], &bytes[2..]].concat();
        assert!(matches!(Signature::parse(&rsa), Err(CodecError::Field { field: "sigAlg", .. })));
    }

    proptest! {
        #[test]
        fn parsers_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..160)) {
            let _ = Attest::parse(&bytes);
            let _ = Signature::parse(&bytes);
        }

        #[test]
        fn der_is_what_ring_reads(message: Vec<u8>) {
            use ring::signature::{self, KeyPair as _};
            let rng = ring::rand::SystemRandom::new();
            let fixed = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
            let pkcs8 = signature::EcdsaKeyPair::generate_pkcs8(fixed, &rng).unwrap();
            let key = signature::EcdsaKeyPair::from_pkcs8(fixed, pkcs8.as_ref(), &rng).unwrap();
            let mut raw = [0; 64];
            raw.copy_from_slice(key.sign(&rng, &message).unwrap().as_ref());
            let point = signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_ASN1, key.public_key());
            prop_assert!(point.verify(&message, &Signature(raw).to_der()).is_ok());
        }
    }
}
