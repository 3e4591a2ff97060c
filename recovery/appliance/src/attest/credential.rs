//! Who is asking: the endorsement key, the attestation key beside it, and the credential that only a TPM holding both
//! can open (`TPM2_MakeCredential` in software; TPM 2.0 Part 1 §24, Annex C.6.1 and §11.4.10).
//!
//! ```text
//! EK public ─┬─► ek_hash: is it the endpoint on record?
//!            └─┐
//! AK name ─────┴─► credential ──► the TPM opens it only if EK and AK lie in it ──► the AK's quotes speak for the EK
//! ```
//!
//! An [`AkPublic`] cannot be had of a key that signs foreign digests: every quote check builds on that.

use aes::Aes128;
use aes::cipher::{BlockEncrypt as _, KeyInit as _};
use num_bigint::BigUint;
use recovery_protocol::tpm::rsa::MODULUS_LEN;
use recovery_protocol::tpm::wire::Writer;
use recovery_protocol::tpm::{ALG_SHA256, CodecError, EccPublic, Point, RsaEkPublic, Sha256, Signature};
use ring::rand::SecureRandom as _;
use ring::{agreement, hmac, rand, signature};

/// `TPM_RH_ENDORSEMENT`: the hierarchy in which all keys of an endpoint are primaries.
const RH_ENDORSEMENT: u32 = 0x4000_000b;
/// `TPMA_OBJECT.restricted` (Part 2 §8.3).
const RESTRICTED: u32 = 1 << 16;

/// Why a key is not what it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The bytes are no public area of ours.
    #[error("the endpoint's {what} cannot be read")]
    Unreadable {
        /// Which key.
        what: &'static str,
        /// What is wrong with it.
        #[source]
        source: CodecError,
    },
    /// The attestation key may sign digests that come from outside: its quotes say nothing.
    #[error(
        "the endpoint's AK is not restricted (attributes {attributes:#010x}): it signs whatever it is given; run our agent on it"
    )]
    Unrestricted {
        /// `objectAttributes`.
        attributes: u32,
    },
    /// The key has other attributes.
    #[error(
        "the endpoint's {what} has attributes {attributes:#010x}, which our template does not have: it may leave its TPM or do \
         something else; run our agent on it"
    )]
    Attributes {
        /// Which key.
        what: &'static str,
        /// `objectAttributes`.
        attributes: u32,
    },
    /// The key is bound to another policy.
    #[error("the endpoint's {what} has another policy than our template; run our agent on it")]
    Policy {
        /// Which key.
        what: &'static str,
    },
    /// The key has another scheme: it is for something else.
    #[error("the endpoint's {what} is a key of another kind than our template; run our agent on it")]
    Purpose {
        /// Which key.
        what: &'static str,
    },
    /// The EK's point is not on the curve.
    #[error("the endpoint's EK is not a point of P-256; it is faulty or not a TPM")]
    NotOnCurve,
    /// No randomness for the credential.
    #[error("the appliance has no random numbers; its system is broken")]
    NoRandom,
}

impl IdentityError {
    /// The check that failed, by a name that stays: for evidence and counters.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { what: "AK", .. } => "ak-form",
            Self::Unreadable { .. } => "ek-form",
            Self::Unrestricted { .. } => "ak-unrestricted",
            Self::Attributes { what: "AK", .. } => "ak-attributes",
            Self::Attributes { .. } => "ek-attributes",
            Self::Policy { what: "AK" } => "ak-policy",
            Self::Policy { .. } => "ek-policy",
            Self::Purpose { what: "AK" } => "ak-scheme",
            Self::Purpose { .. } => "ek-scheme",
            Self::NotOnCurve => "ek-point",
            Self::NoRandom => "no-random",
        }
    }
}

fn parse(what: &'static str, bytes: &[u8], template: &EccPublic) -> Result<EccPublic, IdentityError> {
    let public = EccPublic::parse(bytes).map_err(|source| IdentityError::Unreadable { what, source })?;
    let attributes = public.attributes;
    if template.attributes & !attributes & RESTRICTED != 0 && what == "AK" {
        Err(IdentityError::Unrestricted { attributes })
    } else if attributes != template.attributes {
        Err(IdentityError::Attributes { what, attributes })
    } else if public.policy != template.policy {
        Err(IdentityError::Policy { what })
    } else if !public.is_made_from(template) {
        Err(IdentityError::Purpose { what })
    } else {
        Ok(public)
    }
}

/// The endorsement key of a TPM, made from TCG template L-2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EkPublic(EccPublic);

impl EkPublic {
    /// Reads a `TPMT_PUBLIC`.
    ///
    /// # Errors
    /// [`IdentityError`]: each way in which it is not made from the template has its own.
    pub fn parse(bytes: &[u8]) -> Result<Self, IdentityError> {
        parse("EK", bytes, &EccPublic::ek_template()).map(Self)
    }

    /// The endpoint's identity: SHA-256 of the key's `SubjectPublicKeyInfo` (DER).
    pub fn hash(&self) -> Sha256 {
        self.0.spki_sha256()
    }

    /// The key as `SubjectPublicKeyInfo`, DER: what its maker's certificate must be for.
    pub fn spki_der(&self) -> Vec<u8> {
        self.0.spki_der()
    }
}

/// The attestation key of a TPM: restricted, so that it signs only what the TPM itself says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AkPublic(EccPublic);

impl AkPublic {
    /// Reads a `TPMT_PUBLIC`.
    ///
    /// # Errors
    /// [`IdentityError`]; an unrestricted key is refused here.
    pub fn parse(bytes: &[u8]) -> Result<Self, IdentityError> {
        parse("AK", bytes, &EccPublic::ak_template()).map(Self)
    }

    /// The key's name, as a credential binds it: 34 bytes.
    pub fn name(&self) -> [u8; 34] {
        self.0.name()
    }

    /// What `qualifiedSigner` is when this key, as a primary of the endorsement hierarchy, signs.
    pub(super) fn qualified_name(&self) -> [u8; 34] {
        qualified_name(&self.name())
    }

    pub(super) fn verifies(&self, message: &[u8], signature: &Signature) -> bool {
        let point = self.0.unique.uncompressed();
        let key = signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point);
        key.verify(message, &signature.0).is_ok()
    }
}

/// The qualified name of a primary of the endorsement hierarchy (Part 1 §16.5): `nameAlg ‖ H(hierarchy ‖ name)`.
pub(super) fn qualified_name(name: &[u8; 34]) -> [u8; 34] {
    let mut qualified = [0; 34];
    qualified[..2].copy_from_slice(&ALG_SHA256.to_be_bytes());
    qualified[2..].copy_from_slice(Sha256::of_parts(&[&RH_ENDORSEMENT.to_be_bytes(), name]).as_bytes());
    qualified
}

/// A secret that only one TPM can read, and only while it holds one AK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Contents of the `TPM2B_ID_OBJECT`.
    pub blob: Vec<u8>,
    /// Contents of the `TPM2B_ENCRYPTED_SECRET`.
    pub encrypted_secret: Vec<u8>,
}

/// Wraps `secret` for the TPM with this EK, to be opened only together with the key named `ak_name`.
///
/// # Errors
/// [`IdentityError::NotOnCurve`] for an EK that no TPM made; [`IdentityError::NoRandom`].
pub fn make_credential(
    ek: &EkPublic,
    ak_name: &[u8; 34],
    secret: &[u8; 32],
) -> Result<Credential, IdentityError> {
    let random = rand::SystemRandom::new();
    let no_random = |_| IdentityError::NoRandom;
    let ephemeral =
        agreement::EphemeralPrivateKey::generate(&agreement::ECDH_P256, &random).map_err(no_random)?;
    let ephemeral_public = ephemeral.compute_public_key().map_err(no_random)?;
    let ephemeral_public =
        Point::from_uncompressed(ephemeral_public.as_ref()).ok_or(IdentityError::NoRandom)?;
    let ek_point = ek.0.unique.uncompressed();
    let peer = agreement::UnparsedPublicKey::new(&agreement::ECDH_P256, ek_point);
    let seed = agreement::agree_ephemeral(ephemeral, &peer, |z| {
        kdf_e(z, b"IDENTITY", &ephemeral_public.x, &ek_point[1..33])
    })
    .map_err(|_| IdentityError::NotOnCurve)?;
    let encrypted_secret = ephemeral_public.write(Writer::new()).into_bytes();
    Ok(Credential { blob: wrap(seed.as_bytes(), ak_name, secret), encrypted_secret })
}

/// As [`make_credential`], for the TPM with this RSA EK: the seed travels by RSAES-OAEP with SHA-256 and the label
/// `IDENTITY` (Part 1 §B.10.4; RFC 8017 section 7.1.1).
///
/// # Errors
/// [`IdentityError::NoRandom`].
pub fn make_rsa_credential(
    ek: &RsaEkPublic,
    ak_name: &[u8; 34],
    secret: &[u8; 32],
) -> Result<Credential, IdentityError> {
    let random = rand::SystemRandom::new();
    let (mut seed, mut mask_seed) = ([0; 32], [0; 32]);
    random.fill(&mut seed).and_then(|()| random.fill(&mut mask_seed)).map_err(|_| IdentityError::NoRandom)?;
    let padded = BigUint::from_bytes_be(&oaep(&seed, b"IDENTITY\0", &mask_seed));
    // A modulus is claimed by anybody; zero would be no number to divide by. Exponent and modulus are public, and the message
    // is new each time: time tells nothing twice.
    let modulus = BigUint::from_bytes_be(&ek.modulus).max(BigUint::from(1_u32));
    let cipher = padded.modpow(&BigUint::from(65_537_u32), &modulus).to_bytes_be();
    let mut encrypted_secret = vec![0; MODULUS_LEN - cipher.len()];
    encrypted_secret.extend(cipher);
    Ok(Credential { blob: wrap(&seed, ak_name, secret), encrypted_secret })
}

/// EME-OAEP with SHA-256 for a 2048-bit modulus (RFC 8017 section 7.1.1, step 2).
fn oaep(message: &[u8; 32], label: &[u8], seed: &[u8; 32]) -> [u8; MODULUS_LEN] {
    let mut encoded = [0; MODULUS_LEN];
    let (masked_seed, block) = encoded[1..].split_at_mut(32);
    block[..32].copy_from_slice(Sha256::of(label).as_bytes());
    let at = block.len() - message.len();
    block[at - 1] = 1;
    block[at..].copy_from_slice(message);
    mask(block, seed);
    masked_seed.copy_from_slice(seed);
    mask(masked_seed, block);
    encoded
}

/// MGF1 with SHA-256 (RFC 8017 section B.2.1), laid over `bytes`.
fn mask(bytes: &mut [u8], seed: &[u8]) {
    for (counter, piece) in (0_u32..).zip(bytes.chunks_mut(32)) {
        let block = Sha256::of_parts(&[seed, &counter.to_be_bytes()]);
        piece.iter_mut().zip(block.as_bytes()).for_each(|(byte, mask)| *byte ^= mask);
    }
}

/// The part of a credential that is the same for every kind of EK (Part 1 §24.4): the secret, encrypted and bound to the
/// name of the key beside which it may be opened.
fn wrap(seed: &[u8], ak_name: &[u8; 34], secret: &[u8; 32]) -> Vec<u8> {
    let mut identity = Writer::new().tpm2b(secret).into_bytes();
    let key = kdf_a(seed, b"STORAGE", ak_name, 128);
    cfb_encrypt(&Aes128::new(key.as_bytes()[..16].into()), &mut identity);
    let integrity = kdf_a(seed, b"INTEGRITY", &[], 256);
    let key = hmac::Key::new(hmac::HMAC_SHA256, integrity.as_bytes());
    let tag = hmac::sign(&key, &[&identity[..], ak_name].concat());
    Writer::new().tpm2b(tag.as_ref()).bytes(&identity).into_bytes()
}

/// `KDFe` with SHA-256 for 256 bits, which is one round (Part 1 §11.4.10.3).
fn kdf_e(z: &[u8], label: &[u8], party_u: &[u8], party_v: &[u8]) -> Sha256 {
    Sha256::of_parts(&[&1_u32.to_be_bytes(), z, label, &[0], party_u, party_v])
}

/// `KDFa` with HMAC-SHA-256 for at most 256 bits, which is one round (Part 1 §11.4.10.2); its first `bits` count.
fn kdf_a(key: &[u8], label: &[u8], context: &[u8], bits: u32) -> Sha256 {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let message = [&1_u32.to_be_bytes(), label, &[0], context, &bits.to_be_bytes()].concat();
    let mut output = [0; 32];
    output.copy_from_slice(hmac::sign(&key, &message).as_ref());
    Sha256::from(output)
}

/// AES-128-CFB with full-block feedback and a zero IV, in place (Part 1 §11.4.6, NIST SP 800-38A §6.3). The key is
/// used once, so the constant IV repeats nothing.
fn cfb_encrypt(cipher: &Aes128, data: &mut [u8]) {
    let mut feedback = [0_u8; 16];
    for chunk in data.chunks_mut(16) {
        cipher.encrypt_block((&mut feedback).into());
        for (byte, mask) in chunk.iter_mut().zip(&mut feedback) {
            *byte ^= *mask;
            *mask = *byte;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cfb_is_that_of_the_standard() {
        // NIST SP 800-38A, F.3.13 with its IV folded into the first block: CFB(IV, P) = CFB(0, ...) one block later.
        let hex = |text: &str| hex::decode(text).unwrap();
        let key = hex("2b7e151628aed2a6abf7158809cf4f3c");
        let cipher = Aes128::new(key.as_slice().into());
        let iv = hex("000102030405060708090a0b0c0d0e0f");
        // With a zero IV the first output block is P1 xor AES(0); choosing P1 = AES(0) xor IV makes it the vector's IV.
        let mut zero = [0; 16];
        cipher.encrypt_block((&mut zero).into());
        let first: Vec<u8> = zero.iter().zip(&iv).map(|(a, b)| a ^ b).collect();
        let plain = hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51");
        let mut data = [first, plain].concat();
        cfb_encrypt(&cipher, &mut data);
        assert_eq!(data[..16], iv);
        assert_eq!(
            hex::encode(&data[16..]),
            "3b3fd92eb72dad20333449f8e83cfb4ac8a64537a0b3a93fcde3cdad9f1ce58b"
        );
    }

    #[test]
    fn keys_must_be_made_from_our_templates() {
        let (ek, ak) = (EccPublic::ek_template(), EccPublic::ak_template());
        assert!(EkPublic::parse(&ek.to_bytes()).is_ok() && AkPublic::parse(&ak.to_bytes()).is_ok());
        let attributes = |what, attributes| IdentityError::Attributes { what, attributes };
        assert_eq!(EkPublic::parse(&ak.to_bytes()), Err(attributes("EK", ak.attributes)));
        // Each attribute alone: fixedTPM gone, decrypt added, restricted gone.
        for bad in [0x0005_0470, 0x0007_0472] {
            let key = EccPublic { attributes: bad, ..ak.clone() };
            assert_eq!(AkPublic::parse(&key.to_bytes()), Err(attributes("AK", bad)));
        }
        let loose = EccPublic { attributes: 0x0004_0472, ..ak.clone() };
        let refused = AkPublic::parse(&loose.to_bytes());
        assert_eq!(refused, Err(IdentityError::Unrestricted { attributes: 0x0004_0472 }));
        let policy = EccPublic { policy: vec![0; 32], ..ek.clone() };
        assert_eq!(EkPublic::parse(&policy.to_bytes()), Err(IdentityError::Policy { what: "EK" }));
        let storage = EccPublic { purpose: ek.purpose, ..ak.clone() };
        assert_eq!(AkPublic::parse(&storage.to_bytes()), Err(IdentityError::Purpose { what: "AK" }));
        assert!(matches!(AkPublic::parse(&[]), Err(IdentityError::Unreadable { what: "AK", .. })));
    }

    #[test]
    fn an_ek_off_the_curve_gets_no_credential() {
        let ek = EkPublic::parse(&EccPublic::ek_template().to_bytes()).unwrap();
        assert_eq!(make_credential(&ek, &[0; 34], &[0; 32]), Err(IdentityError::NotOnCurve));
    }
}
