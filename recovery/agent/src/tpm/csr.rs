//! A TLS key in the TPM as `rcgen` wants to see it, to sign a certificate request (RFC 2986).

use std::sync::{Mutex, PoisonError};

use rcgen::{PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm, SigningKey};
use recovery_protocol::tpm::Sha256;

use super::{Key, Tpm};

/// A key that signs by asking the TPM.
#[derive(Debug)]
pub struct CsrKey<'a> {
    tpm: Mutex<&'a mut Tpm>,
    key: &'a Key,
    point: [u8; 65],
}

impl<'a> CsrKey<'a> {
    /// `key` is one that `tpm` has loaded.
    #[must_use]
    pub fn new(tpm: &'a mut Tpm, key: &'a Key) -> Self {
        Self { tpm: Mutex::new(tpm), key, point: key.public.unique.uncompressed() }
    }
}

impl PublicKeyData for CsrKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        &self.point
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for CsrKey<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        // A poisoned lock means that a thread died while it signed; the TPM itself is as good as before.
        let mut tpm = self.tpm.lock().unwrap_or_else(PoisonError::into_inner);
        let signature = tpm.sign(self.key, &Sha256::of(message));
        signature.map(|s| s.to_der()).map_err(|_| rcgen::Error::RemoteKeyError)
    }
}
