//! Public areas of ECC P-256 keys (`TPMT_PUBLIC`, TPM 2.0 Part 2 §12.2.4), their names, and the templates we create
//! keys from.
//!
//! An [`EccPublic`] keeps the coordinates in the lengths in which the TPM sent them, so that encoding gives back the
//! same bytes and the name (a hash over them) stays right even where a TPM drops leading zeros.

use super::wire::{CodecError, Reader, Writer};
use super::{ALG_AES, ALG_CFB, ALG_ECC, ALG_ECDSA, ALG_NULL, ALG_SHA256, CURVE_P256, Sha256};

const WHAT: &str = "TPMT_PUBLIC";

/// Attributes of an endorsement key by TCG template L-2: `fixedTPM | fixedParent | sensitiveDataOrigin |
/// adminWithPolicy | restricted | decrypt` (Part 2 §8.3).
pub const EK_ATTRIBUTES: u32 = 0x0003_00b2;

/// Attributes of the attestation key: `fixedTPM | fixedParent | sensitiveDataOrigin | userWithAuth | noDA | restricted |
/// sign`. `restricted`: it signs only what the TPM itself says. `noDA`: an attacker who drove the TPM into lockout does
/// not take the key from us.
pub const AK_ATTRIBUTES: u32 = 0x0005_0472;

/// Attributes of an endpoint's TLS key: as the attestation key but not `restricted`, since it signs TLS transcripts.
pub const TLS_ATTRIBUTES: u32 = 0x0004_0472;

/// `PolicySecret(TPM_RH_ENDORSEMENT)`: the policy of every EK by TCG template (EK Credential Profile §B.3).
pub const EK_POLICY: [u8; 32] = [
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24, 0xfd,
    0x52, 0xd7, 0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
];

/// A point of P-256: coordinates of at most 32 bytes, big-endian. In a template it is the `unique` seed instead.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Point {
    /// The x coordinate.
    pub x: Vec<u8>,
    /// The y coordinate.
    pub y: Vec<u8>,
}

impl Point {
    /// Reads a `TPMS_ECC_POINT` (Part 2 §11.2.5.2).
    ///
    /// # Errors
    /// [`CodecError`] when it is short or a coordinate has more than 32 bytes.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let x = reader.tpm2b("unique.x", 32)?.to_vec();
        Ok(Self { x, y: reader.tpm2b("unique.y", 32)?.to_vec() })
    }

    /// Appends a `TPMS_ECC_POINT`.
    #[must_use]
    pub fn write(&self, writer: Writer) -> Writer {
        writer.tpm2b(&self.x).tpm2b(&self.y)
    }

    /// The uncompressed form of SEC 1 §2.3.3: 0x04, x, y. Not checked to be on the curve; those who use it do.
    #[must_use]
    pub fn uncompressed(&self) -> [u8; 65] {
        let mut bytes = [0; 65];
        bytes[0] = 4;
        bytes[33 - self.x.len()..33].copy_from_slice(&self.x);
        bytes[65 - self.y.len()..].copy_from_slice(&self.y);
        bytes
    }

    /// From the uncompressed form of SEC 1; `None` for any other.
    #[must_use]
    pub fn from_uncompressed(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [4, rest @ ..] if rest.len() == 64 => {
                Some(Self { x: rest[..32].to_vec(), y: rest[32..].to_vec() })
            }
            _ => None,
        }
    }
}

/// What a key is for: `symmetric` and `scheme` of `TPMS_ECC_PARMS` (Part 2 §12.2.3.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A storage key: AES-128-CFB, no scheme.
    Decrypt,
    /// A signing key bound to ECDSA with SHA-256.
    EcdsaSha256,
}

/// The public area of an ECC P-256 key whose name is a SHA-256.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EccPublic {
    /// `objectAttributes` (Part 2 §8.3).
    pub attributes: u32,
    /// `authPolicy`: empty or a SHA-256 digest.
    pub policy: Vec<u8>,
    /// What the key is for.
    pub purpose: Purpose,
    /// The public point, or a template's seed.
    pub unique: Point,
}

impl EccPublic {
    /// The endorsement key: TCG EK Credential Profile, template L-2 (ECC NIST P-256, unique of 32 zero bytes each).
    #[must_use]
    pub fn ek_template() -> Self {
        let unique = Point { x: vec![0; 32], y: vec![0; 32] };
        Self { attributes: EK_ATTRIBUTES, policy: EK_POLICY.to_vec(), purpose: Purpose::Decrypt, unique }
    }

    /// The attestation key. As a primary of the endorsement hierarchy it can be made again from nothing, after a reimage
    /// and after `TPM2_Clear`.
    #[must_use]
    pub fn ak_template() -> Self {
        Self::signing(AK_ATTRIBUTES, Point::default())
    }

    /// A TLS key. `seed` makes it one of many: the same seed gives the same key on the same TPM.
    #[must_use]
    pub fn tls_template(seed: &[u8; 32]) -> Self {
        Self::signing(TLS_ATTRIBUTES, Point { x: seed.to_vec(), y: Vec::new() })
    }

    fn signing(attributes: u32, unique: Point) -> Self {
        Self { attributes, policy: Vec::new(), purpose: Purpose::EcdsaSha256, unique }
    }

    /// Whether this is the key that `template` makes: everything but the point is equal.
    #[must_use]
    pub fn is_made_from(&self, template: &Self) -> bool {
        self.attributes == template.attributes
            && self.policy == template.policy
            && self.purpose == template.purpose
    }

    /// Parses a whole `TPMT_PUBLIC`.
    ///
    /// # Errors
    /// [`CodecError`] for anything but ECC P-256 with SHA-256 in one of the two [`Purpose`]s, and for trailing bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut r = Reader::new(WHAT, bytes);
        r.expect_u16("type", ALG_ECC, "ECC (0x23)")?;
        r.expect_u16("nameAlg", ALG_SHA256, "SHA-256 (0xb)")?;
        let attributes = r.u32()?;
        let policy = r.tpm2b("authPolicy", 32)?.to_vec();
        let purpose = match r.u16()? {
            ALG_NULL => {
                r.expect_u16("scheme", ALG_ECDSA, "ECDSA (0x18)")?;
                r.expect_u16("scheme.hash", ALG_SHA256, "SHA-256 (0xb)")?;
                Purpose::EcdsaSha256
            }
            ALG_AES => {
                r.expect_u16("symmetric.keyBits", 128, "128")?;
                r.expect_u16("symmetric.mode", ALG_CFB, "CFB (0x43)")?;
                r.expect_u16("scheme", ALG_NULL, "NULL (0x10)")?;
                Purpose::Decrypt
            }
            other => return Err(r.field("symmetric", other.into(), "NULL (0x10) or AES (0x6)")),
        };
        r.expect_u16("curveID", CURVE_P256, "NIST P-256 (0x3)")?;
        r.expect_u16("kdf", ALG_NULL, "NULL (0x10)")?;
        let unique = Point::read(&mut r)?;
        r.finish()?;
        Ok(Self { attributes, policy, purpose, unique })
    }

    /// Encodes the `TPMT_PUBLIC`.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let w = Writer::new().u16(ALG_ECC).u16(ALG_SHA256).u32(self.attributes).tpm2b(&self.policy);
        let w = match self.purpose {
            Purpose::Decrypt => w.u16(ALG_AES).u16(128).u16(ALG_CFB).u16(ALG_NULL),
            Purpose::EcdsaSha256 => w.u16(ALG_NULL).u16(ALG_ECDSA).u16(ALG_SHA256),
        };
        self.unique.write(w.u16(CURVE_P256).u16(ALG_NULL)).into_bytes()
    }

    /// The key's name: `nameAlg ‖ SHA-256(TPMT_PUBLIC)` (Part 1 §16), 34 bytes.
    #[must_use]
    pub fn name(&self) -> [u8; 34] {
        let mut name = [0; 34];
        name[..2].copy_from_slice(&ALG_SHA256.to_be_bytes());
        name[2..].copy_from_slice(Sha256::of(&self.to_bytes()).as_bytes());
        name
    }

    /// The key as a `SubjectPublicKeyInfo`, DER (RFC 5480 §2): 91 bytes.
    #[must_use]
    pub fn spki_der(&self) -> Vec<u8> {
        const PREFIX: [u8; 26] = [
            0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
            0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
        ];
        [&PREFIX[..], &self.unique.uncompressed()].concat()
    }

    /// SHA-256 of [`EccPublic::spki_der`]. Of an EK this is the endpoint's identity, `ek_hash`.
    #[must_use]
    pub fn spki_sha256(&self) -> Sha256 {
        Sha256::of(&self.spki_der())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ak(point: Point) -> EccPublic {
        EccPublic { unique: point, ..EccPublic::ak_template() }
    }

    #[test]
    fn templates_come_back_and_differ() {
        let all = [EccPublic::ek_template(), EccPublic::ak_template(), EccPublic::tls_template(&[7; 32])];
        for key in &all {
            assert_eq!(EccPublic::parse(&key.to_bytes()).as_ref(), Ok(key));
        }
        assert!(!all[1].is_made_from(&all[2]), "a TLS key must not pass for an attestation key");
        assert!(!all[1].is_made_from(&all[0]));
    }

    #[test]
    fn every_cut_is_short_and_every_extra_byte_trailing() {
        let bytes = ak(Point { x: vec![1; 32], y: vec![2; 32] }).to_bytes();
        for cut in 0..bytes.len() {
            assert!(matches!(EccPublic::parse(&bytes[..cut]), Err(CodecError::Short { .. })), "{cut}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(EccPublic::parse(&longer), Err(CodecError::Trailing { what: WHAT, count: 1 }));
    }

    #[test]
    fn other_algorithms_are_refused_by_field() {
        let good = ak(Point::default()).to_bytes();
        for (at, field) in
            [(1, "type"), (3, "nameAlg"), (11, "symmetric"), (13, "scheme"), (17, "curveID"), (19, "kdf")]
        {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            let error = EccPublic::parse(&bad).unwrap_err();
            assert!(matches!(error, CodecError::Field { field: f, .. } if f == field), "{field}: {error}");
        }
    }

    #[test]
    fn a_dropped_leading_zero_keeps_name_and_point_right() {
        let short = ak(Point { x: vec![5; 31], y: vec![6; 32] });
        let parsed = EccPublic::parse(&short.to_bytes()).unwrap();
        assert_eq!(parsed.name(), short.name());
        assert_eq!(parsed.unique.uncompressed()[..3], [4, 0, 5]);
    }

    #[test]
    fn spki_is_what_openssl_reads() {
        let spki = ak(Point { x: vec![1; 32], y: vec![2; 32] }).spki_der();
        assert_eq!(spki.len(), 91);
        assert_eq!(usize::from(spki[1]), spki.len() - 2);
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_keeps_every_byte(bytes in prop::collection::vec(any::<u8>(), 0..140)) {
            if let Ok(key) = EccPublic::parse(&bytes) {
                prop_assert_eq!(key.to_bytes(), bytes);
            }
        }

        #[test]
        fn any_flip_in_a_key_changes_its_name(at in 0_usize..88, bit in 0_u8..8) {
            let good = ak(Point { x: vec![1; 32], y: vec![2; 32] });
            let mut bytes = good.to_bytes();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            if let Ok(key) = EccPublic::parse(&bytes) {
                prop_assert_ne!(key.name(), good.name());
            }
        }
    }
}
