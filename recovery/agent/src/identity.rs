//! Who this endpoint is, proven by its TPM: keys for the hello, and the answer to a challenge.

use std::collections::BTreeMap;
use std::fs;

use recovery_protocol::agent::{Base64, CertifiedKey, Challenge, Proof, TpmIdentity};
use recovery_protocol::tpm::{EVENT_LOG_PATH, PcrMask};

use crate::tpm::{Key, Tpm, TpmError};

/// Opens the TPM; `None` where the endpoint has none.
///
/// # Errors
/// When there is one and it does not work: that is not the same as having none.
pub fn open_tpm() -> Result<Option<Tpm>, TpmError> {
    match Tpm::open() {
        Ok(tpm) => Ok(Some(tpm)),
        Err(TpmError::Absent { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The keys that the TPM presents itself with.
///
/// # Errors
/// As the TPM gives them.
pub fn of(tpm: &mut Tpm) -> Result<TpmIdentity, TpmError> {
    let (ek, ak, maker) = (tpm.ek()?, tpm.ak()?, tpm.ek_certificate()?);
    Ok(TpmIdentity {
        ek_public: Base64(ek.public.to_bytes()),
        ek_certificate: maker.certificate.map(Base64),
        rsa_ek_public: maker.rsa.map(|rsa| Base64(rsa.to_bytes())),
        ek_certificate_chain: Base64(maker.chain),
        ak_public: Base64(ak.public.to_bytes()),
    })
}

/// Answers a challenge; `tls_key` is certified along with it.
///
/// # Errors
/// As the TPM gives them; a credential for another TPM is refused by it.
pub fn prove(tpm: &mut Tpm, challenge: &Challenge, tls_key: Option<&Key>) -> Result<Proof, TpmError> {
    let activated = tpm.activate(&challenge.credential.0, &challenge.encrypted_secret.0)?;
    let activated_rsa = match &challenge.rsa {
        Some(rsa) => Some(tpm.activate_rsa(&rsa.credential.0, &rsa.encrypted_secret.0)?),
        None => None,
    };
    let quote = tpm.quote(&challenge.nonce.0, PcrMask::of(&challenge.pcrs))?;
    let certify = |key: &Key| -> Result<CertifiedKey, TpmError> {
        let certification = tpm.certify(key, &challenge.nonce.0)?;
        Ok(CertifiedKey {
            public: Base64(key.public.to_bytes()),
            attest: Base64(certification.attest),
            signature: Base64(certification.signature),
        })
    };
    let tls_key = tls_key.map(certify).transpose()?;
    let pcrs: BTreeMap<u8, Base64> =
        quote.pcrs.0.iter().map(|(index, value)| (*index, Base64(value.as_bytes().to_vec()))).collect();
    Ok(Proof {
        session: challenge.session.clone(),
        activated: Base64(activated),
        activated_rsa: activated_rsa.map(Base64),
        quote: Base64(quote.attest),
        signature: Base64(quote.signature),
        // Firmware that keeps no log gives no file; the appliance decides what that means.
        event_log: Base64(fs::read(EVENT_LOG_PATH).unwrap_or_default()),
        pcrs,
        tls_key,
    })
}
