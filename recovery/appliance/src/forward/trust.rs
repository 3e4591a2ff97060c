//! Whom we believe on the other side of a TLS connection of ours, and what we show them.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use crate::seal;

/// Where the system keeps the authorities that it trusts.
pub const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// TLS towards who has a certificate of these authorities (PEM); with our own certificate and its key (PEM), where they want one.
///
/// # Errors
/// What a file is not, in a sentence.
pub fn client(ca_file: &Path, own: Option<(&PathBuf, &PathBuf)>) -> Result<Arc<ClientConfig>, String> {
    let pem = |file: &Path, what: String| format!("{} {what}; write a PEM file there", file.display());
    let mut roots = RootCertStore::empty();
    let read = CertificateDer::pem_file_iter(ca_file)
        .map_err(|error| pem(ca_file, format!("cannot be read: {error}")))?;
    for one in read {
        let one = one.map_err(|error| pem(ca_file, format!("is no PEM: {error}")))?;
        roots.add(one).map_err(|error| pem(ca_file, format!("holds no authority: {error}")))?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    let Some((certificate, key)) = own else { return Ok(Arc::new(builder.with_no_client_auth())) };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate)
        .map_err(|error| pem(certificate, format!("cannot be read: {error}")))?
        .collect();
    let chain = chain.map_err(|error| pem(certificate, format!("is no PEM: {error}")))?;
    let own = seal::secret(key).map_err(|error| pem(key, format!("cannot be read: {error}")))?;
    let key_der = PrivateKeyDer::from_pem_slice(own.as_bytes())
        .map_err(|error| pem(key, format!("holds no key: {error}")))?;
    let config =
        builder.with_client_auth_cert(chain, key_der).map_err(|error| pem(key, error.to_string()))?;
    Ok(Arc::new(config))
}
