//! The RSA-2048 endorsement key: the one that every maker certifies, where the P-256 key has no certificate.
//!
//! One template (TCG EK Credential Profile 2.5, section B.3.3, template L-1), one size, one exponent (65537, written as 0).

use super::public::{EK_ATTRIBUTES, EK_POLICY};
use super::wire::{CodecError, Reader, Writer};
use super::{ALG_AES, ALG_CFB, ALG_NULL, ALG_RSA, ALG_SHA256};

const WHAT: &str = "TPMT_PUBLIC of the RSA EK";
/// Length of the modulus in bytes.
pub const MODULUS_LEN: usize = 256;
/// `SubjectPublicKeyInfo` (RFC 8017, section A.1) in front of the modulus, and behind it.
const SPKI_PREFIX: [u8; 33] = [
    0x30, 0x82, 0x01, 0x22, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01,
    0x05, 0x00, 0x03, 0x82, 0x01, 0x0f, 0x00, 0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01, 0x00,
];
const SPKI_SUFFIX: [u8; 5] = [0x02, 0x03, 0x01, 0x00, 0x01];

/// The public area of an EK made from template L-1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RsaEkPublic {
    /// The modulus, big-endian, [`MODULUS_LEN`] bytes.
    pub modulus: Vec<u8>,
}

impl RsaEkPublic {
    /// What such a key is made from: the template's `unique` is all zeros.
    #[must_use]
    pub fn template() -> Self {
        Self { modulus: vec![0; MODULUS_LEN] }
    }

    /// Parses a whole `TPMT_PUBLIC`.
    ///
    /// # Errors
    /// [`CodecError`] for anything but template L-1, and for trailing bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut r = Reader::new(WHAT, bytes);
        r.expect_u16("type", ALG_RSA, "RSA (0x1)")?;
        r.expect_u16("nameAlg", ALG_SHA256, "SHA-256 (0xb)")?;
        let attributes = r.u32()?;
        if attributes != EK_ATTRIBUTES {
            return Err(r.field("objectAttributes", attributes.into(), "those of template L-1 (0x300b2)"));
        }
        let policy = r.tpm2b("authPolicy", 32)?;
        if policy != EK_POLICY {
            return Err(r.field(
                "authPolicy.size",
                policy.len() as u64,
                "PolicySecret(endorsement), 32 bytes",
            ));
        }
        r.expect_u16("symmetric", ALG_AES, "AES (0x6)")?;
        r.expect_u16("symmetric.keyBits", 128, "128")?;
        r.expect_u16("symmetric.mode", ALG_CFB, "CFB (0x43)")?;
        r.expect_u16("scheme", ALG_NULL, "NULL (0x10)")?;
        r.expect_u16("keyBits", 2048, "2048")?;
        let exponent = r.u32()?;
        if exponent != 0 {
            return Err(r.field("exponent", exponent.into(), "0 (65537)"));
        }
        let modulus = r.tpm2b("unique", MODULUS_LEN)?.to_vec();
        if modulus.len() != MODULUS_LEN {
            return Err(r.field("unique.size", modulus.len() as u64, "256"));
        }
        r.finish()?;
        Ok(Self { modulus })
    }

    /// Encodes the `TPMT_PUBLIC`.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let w = Writer::new().u16(ALG_RSA).u16(ALG_SHA256).u32(EK_ATTRIBUTES).tpm2b(&EK_POLICY);
        let w = w.u16(ALG_AES).u16(128).u16(ALG_CFB).u16(ALG_NULL).u16(2048).u32(0);
        w.tpm2b(&self.modulus).into_bytes()
    }

    /// The key as a `SubjectPublicKeyInfo`, DER.
    #[must_use]
    pub fn spki_der(&self) -> Vec<u8> {
        [&SPKI_PREFIX[..], &self.modulus, &SPKI_SUFFIX].concat()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> RsaEkPublic {
        RsaEkPublic { modulus: (0..MODULUS_LEN).map(|n| 0x80 | n as u8).collect() }
    }

    #[test]
    fn it_comes_back_and_each_cut_and_extra_byte_is_named() {
        let bytes = key().to_bytes();
        assert_eq!(RsaEkPublic::parse(&bytes), Ok(key()));
        for cut in 0..bytes.len() {
            assert!(matches!(RsaEkPublic::parse(&bytes[..cut]), Err(CodecError::Short { .. })), "{cut}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(RsaEkPublic::parse(&longer), Err(CodecError::Trailing { what: WHAT, count: 1 }));
    }

    #[test]
    fn any_other_key_is_refused() {
        let good = key().to_bytes();
        let unique = good.len() - MODULUS_LEN;
        for at in 0..unique {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                assert!(RsaEkPublic::parse(&bad).is_err(), "byte {at}, bit {bit}");
            }
        }
    }

    #[test]
    fn spki_is_as_long_as_it_says() {
        let spki = key().spki_der();
        assert_eq!(usize::from(u16::from_be_bytes([spki[2], spki[3]])) + 4, spki.len());
        assert_eq!(usize::from(u16::from_be_bytes([spki[21], spki[22]])) + 23, spki.len());
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_keeps_every_byte(bytes in prop::collection::vec(any::<u8>(), 0..340)) {
            if let Ok(key) = RsaEkPublic::parse(&bytes) {
                prop_assert_eq!(key.to_bytes(), bytes);
            }
        }
    }
}
