//! Client certificates that are pinned where they are used: whoever shows one must hold its key, and that is all this layer says.
//!
//! A verifier such as Keylime's has a certificate of an authority that is none of ours. The listener asks for certificates of the issuers
//! that are configured, so that a person's browser, which has none of theirs, asks its user nothing.

use std::sync::Arc;

use rustls::{
    DistinguishedName,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};

/// Takes any certificate whose key signs the handshake. What it is worth, its route decides by comparing it whole.
#[derive(Debug)]
pub struct Shown {
    /// Names of the issuers whose certificates are asked for.
    pub issuers: Vec<DistinguishedName>,
    /// Checks the signatures.
    pub provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for Shown {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.issuers
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    crate::tls::held::holds_the_key!();
}

#[cfg(test)]
mod tests {
    use rustls::{
        ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection,
        client::ResolvesClientCert,
        pki_types::PrivateKeyDer,
        sign::{CertifiedKey, SingleCertAndKey},
    };

    use super::*;

    struct Pair(rcgen::Certificate, rcgen::KeyPair);

    impl Pair {
        fn new() -> Self {
            let key = rcgen::KeyPair::generate().unwrap();
            let params = rcgen::CertificateParams::new(vec!["verifier".to_owned()]).unwrap();
            Self(params.self_signed(&key).unwrap(), key)
        }

        fn key(&self) -> PrivateKeyDer<'static> {
            PrivateKeyDer::try_from(self.1.serialize_der()).unwrap()
        }
    }

    /// A handshake in memory, by a client that shows `shown` and signs with the key of `signs`.
    fn shake(
        shown: &Pair,
        signs: &Pair,
        version: &'static rustls::SupportedProtocolVersion,
    ) -> Result<Vec<u8>, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let own = Pair::new();
        let verifier = Shown { issuers: Vec::new(), provider: Arc::clone(&provider) };
        let appliance = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[version])?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_single_cert(vec![own.0.der().clone()], own.key())?;
        let mut roots = RootCertStore::empty();
        roots.add(own.0.der().clone())?;
        let signer = provider.key_provider.load_private_key(signs.key())?;
        let certified = CertifiedKey::new(vec![shown.0.der().clone()], signer);
        let resolver: Arc<dyn ResolvesClientCert> = Arc::new(SingleCertAndKey::from(certified));
        let sender = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])?
            .with_root_certificates(roots)
            .with_client_cert_resolver(resolver);
        let mut sender = ClientConnection::new(Arc::new(sender), "verifier".try_into().unwrap())?;
        let mut appliance = ServerConnection::new(Arc::new(appliance))?;
        while sender.is_handshaking() || appliance.is_handshaking() {
            let mut wire = Vec::new();
            while sender.wants_write() {
                sender.write_tls(&mut wire).unwrap();
            }
            appliance.read_tls(&mut wire.as_slice()).unwrap();
            appliance.process_new_packets()?;
            let mut wire = Vec::new();
            while appliance.wants_write() {
                appliance.write_tls(&mut wire).unwrap();
            }
            sender.read_tls(&mut wire.as_slice()).unwrap();
            sender.process_new_packets()?;
        }
        Ok(appliance.peer_certificates().map(|chain| chain[0].to_vec()).unwrap_or_default())
    }

    #[test]
    fn whoever_shows_a_certificate_holds_its_key() {
        let (verifier, thief) = (Pair::new(), Pair::new());
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            assert_eq!(shake(&verifier, &verifier, version), Ok(verifier.0.der().to_vec()));
            assert!(shake(&verifier, &thief, version).is_err(), "a certificate is public; its key is not");
        }
    }
}
