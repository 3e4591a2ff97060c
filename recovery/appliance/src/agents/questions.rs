//! What a TPM is asked before it is believed: credentials that it alone opens, and what its maker's certificate tells.
//!
//! The endorsement key that is an endpoint's identity is of P-256. Where a maker certified only the RSA key, that key gets
//! a credential of its own, with another secret, for the same AK: whoever opens both holds both keys in one TPM.

use recovery_protocol::{
    Problem,
    agent::{Base64, RsaCredential, TpmIdentity},
    operator::EkCertificate,
    tpm::RsaEkPublic,
};

use crate::{
    agents::proof::named,
    attest::{self, AkPublic, EkPublic, IdentityError, MakerRoots},
    keys,
};

/// The questions to one TPM, and by what its answers are known.
pub struct Questions {
    /// SHA-256 of the EK's SPKI, lower-case hex.
    pub ek_sha256: String,
    /// The credential for the EK.
    pub credential: attest::Credential,
    /// SHA-256 of the secret in it, lower-case hex.
    pub secret_hash: String,
    /// The credential for the RSA EK.
    pub rsa: Option<RsaCredential>,
    /// SHA-256 of the secret in that; empty without one.
    pub rsa_secret_hash: String,
    /// What the maker's certificate tells. It counts once the credentials were opened.
    pub maker: EkCertificate,
}

impl Questions {
    /// For the TPM that presents itself so.
    pub fn to(tpm: &TpmIdentity, roots: &MakerRoots) -> Result<Self, Problem> {
        let secret: [u8; 32] = keys::random()?;
        let rsa_secret: [u8; 32] = keys::random()?;
        let made = || {
            let (ek, ak) = (EkPublic::parse(&tpm.ek_public.0)?, AkPublic::parse(&tpm.ak_public.0)?);
            let credential = attest::make_credential(&ek, &ak.name(), &secret)?;
            let unreadable = |source| IdentityError::Unreadable { what: "RSA EK", source };
            let rsa = tpm.rsa_ek_public.as_ref().map(|key| RsaEkPublic::parse(&key.0)).transpose();
            let rsa = rsa.map_err(unreadable)?;
            let rsa_credential = rsa
                .as_ref()
                .map(|key| attest::make_rsa_credential(key, &ak.name(), &rsa_secret))
                .transpose()?;
            Ok((ek, credential, rsa, rsa_credential))
        };
        let (ek, credential, rsa, rsa_credential) = made().map_err(|error| tpm_unfit(&error))?;
        let spki = rsa.map_or_else(|| ek.spki_der(), |rsa| rsa.spki_der());
        let certificate = tpm.ek_certificate.as_ref().map(|certificate| certificate.0.as_slice());
        let maker = attest::maker_of(&spki, certificate, &tpm.ek_certificate_chain.0, roots)
            .map_err(|error| certificate_foreign(&error))?;
        let rsa_secret_hash = match rsa_credential {
            Some(_) => keys::spki_sha256(&rsa_secret),
            None => String::new(),
        };
        Ok(Self {
            ek_sha256: ek.hash().to_string(),
            credential,
            secret_hash: keys::spki_sha256(&secret),
            rsa: rsa_credential.map(|made| RsaCredential {
                credential: Base64(made.blob),
                encrypted_secret: Base64(made.encrypted_secret),
            }),
            rsa_secret_hash,
            maker,
        })
    }
}

/// A TPM that shows the certificate of another.
fn certificate_foreign(error: &attest::MakerError) -> Problem {
    let remedy = "do not trust this endpoint: isolate it, and have its board replaced";
    Problem::new(
        403,
        "ek-certificate-foreign",
        "The certificate is not this TPM's",
        named(error.code(), error),
        remedy,
    )
}

/// A TPM that cannot be asked.
pub fn tpm_unfit(error: &IdentityError) -> Problem {
    let remedy =
        "use the agent that this appliance serves; if it persists, the TPM is faulty: replace the board";
    Problem::new(
        403,
        "tpm-unfit",
        "The TPM's keys are not as they must be",
        named(error.code(), error),
        remedy,
    )
}
