//! The appliance's own certificate, made anew by itself before it ends. The key stays, and with it every pin.
//!
//! It is looked at with each handshake, so nothing has to run for it, and a clock that was set to the right year is followed at once.
//!
//! It must never: leave a handshake without a certificate because a new one could not be written.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use rustls::{
    ServerConfig,
    crypto::ring::sign::any_supported_type,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::{CertifiedKey, SigningKey},
};

use super::{Clients, TlsError, server_config};
use crate::{clock::Clock, keys::Keys};

/// After a failure it is tried again in an hour.
const AGAIN_MS: u64 = 3_600_000;

/// What is shown to whoever connects.
pub struct Own {
    keys: Arc<Keys>,
    clock: Arc<dyn Clock>,
    signs: Arc<dyn SigningKey>,
    shown: Mutex<Shown>,
}

struct Shown {
    certificate: Arc<CertifiedKey>,
    pem: String,
    /// Not looked at before, milliseconds since 1970.
    not_before: u64,
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Own").field("keys", &self.keys).finish_non_exhaustive()
    }
}

impl Own {
    /// The certificate of these keys.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn new(keys: Arc<Keys>, clock: Arc<dyn Clock>) -> Result<Self, TlsError> {
        let key = PrivateKeyDer::from_pem_slice(keys.tls_key_pem.as_bytes()).map_err(TlsError::Pem)?;
        let signs = any_supported_type(&key).map_err(TlsError::Config)?;
        let pem = keys.tls_cert_pem.clone();
        let certificate = certified(&pem, &signs)?;
        Ok(Self { keys, clock, signs, shown: Mutex::new(Shown { certificate, pem, not_before: 0 }) })
    }

    /// What a listener serves with that asks these clients.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn config(self: &Arc<Self>, clients: Clients) -> Result<Arc<ServerConfig>, TlsError> {
        let config = server_config(&self.keys.tls_cert_pem, &self.keys.tls_key_pem, clients)?;
        let mut config = Arc::unwrap_or_clone(config);
        config.cert_resolver = Arc::<Self>::clone(self);
        Ok(Arc::new(config))
    }

    /// The one to show now.
    fn current(&self) -> Arc<CertifiedKey> {
        let now = self.clock.now_unix_ms();
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if now >= shown.not_before || now + AGAIN_MS < shown.not_before {
            shown.not_before = 0;
            match self.keys.renewed(&shown.pem, now / 1000) {
                Ok(None) => {}
                Ok(Some(pem)) => match certified(&pem, &self.signs) {
                    Ok(certificate) => {
                        tracing::info!("the appliance's certificate was made anew; its key and its pin stay");
                        *shown = Shown { certificate, pem, not_before: 0 };
                    }
                    Err(error) => tracing::error!(%error, "a new certificate cannot be used"),
                },
                Err(error) => {
                    tracing::error!(%error, "the appliance's certificate ends soon, and no new one could be made");
                    shown.not_before = now + AGAIN_MS;
                }
            }
        }
        Arc::clone(&shown.certificate)
    }
}

impl ResolvesServerCert for Own {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

fn certified(pem: &str, signs: &Arc<dyn SigningKey>) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().map_err(TlsError::Pem)?;
    Ok(Arc::new(CertifiedKey::new(chain, Arc::clone(signs))))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::clock::SystemClock;

    struct Moved(AtomicU64);

    impl Clock for Moved {
        fn now_unix_ms(&self) -> u64 {
            self.0.load(Ordering::SeqCst)
        }
    }

    /// Valid at that time, and its key's pin.
    fn seen(own: &Own, at_unix_s: u64) -> (bool, String) {
        let current = own.current();
        let (_, certificate) = x509_parser::parse_x509_certificate(current.cert[0].as_ref()).unwrap();
        let at = x509_parser::time::ASN1Time::from_timestamp(at_unix_s.cast_signed()).unwrap();
        (certificate.validity().is_valid_at(at), crate::keys::spki_sha256(certificate.public_key().raw))
    }

    #[test]
    fn a_certificate_is_made_anew_before_it_ends_and_the_pin_stays() {
        const DAY: u64 = 86_400;
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("state");
        let keys = Arc::new(Keys::open(&data, &["appliance".to_owned()], &[]).unwrap());
        let begun = SystemClock.now_unix_ms() / 1000;
        let clock = Arc::new(Moved(AtomicU64::new(begun * 1000)));
        let own = Own::new(Arc::clone(&keys), clock.clone()).unwrap();
        let first = own.current();
        let mut made = 0;
        let mut before = first.cert[0].clone();
        // Four years of handshakes, and a clock that is then set back to the first day.
        let days: Vec<u64> = (0..4 * 365).step_by(5).chain([0]).collect();
        for day in &days {
            let at = begun + day * DAY;
            clock.0.store(at * 1000, Ordering::SeqCst);
            assert_eq!(seen(&own, at), (true, keys.spki_sha256.clone()), "day {day}");
            made += u32::from(own.current().cert[0] != before);
            before = own.current().cert[0].clone();
        }
        assert!((4..=6).contains(&made), "{made} in four years");
        let kept = std::fs::read_to_string(data.join("tls.crt")).unwrap();
        assert_eq!(
            Keys::open(&data, &["appliance".to_owned()], &[]).unwrap().tls_cert_pem,
            kept,
            "and after a restart"
        );

        // No room for a new one: the old one is shown on.
        std::fs::remove_dir_all(&data).unwrap();
        clock.0.store((begun + 3000 * DAY) * 1000, Ordering::SeqCst);
        assert_eq!(own.current().cert[0], before);
    }
}
