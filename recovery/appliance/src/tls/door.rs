//! The people's TLS configuration while it serves: which client certificates it asks for changes with the people on record.
//!
//! A browser is asked for nothing that it does not have: only certificates of issuers that somebody here has pinned are asked for, and where nobody
//! has, none. A connection keeps the configuration that it began with; what a certificate is worth, each request asks anew.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::{DistinguishedName, ServerConfig};
use tokio::sync::watch;

use super::{Clients, TlsError};

/// What a listener serves with: asked at each connection.
pub type Served = watch::Receiver<Arc<ServerConfig>>;

/// One that never changes.
#[must_use]
pub fn fixed(config: Arc<ServerConfig>) -> Served {
    watch::channel(config).1
}

/// A configuration that asks these clients.
type Make = dyn Fn(Clients) -> Result<Arc<ServerConfig>, TlsError> + Send + Sync;

/// The people's.
pub struct Door {
    make: Box<Make>,
    /// Asked for whoever is on record: webhook sources'.
    always: Vec<DistinguishedName>,
    asked: Mutex<Vec<DistinguishedName>>,
    now: watch::Sender<Arc<ServerConfig>>,
}

impl Door {
    /// Which shows what `make` says.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn open(
        make: impl Fn(Clients) -> Result<Arc<ServerConfig>, TlsError> + Send + Sync + 'static,
        always: Vec<DistinguishedName>,
    ) -> Result<Self, TlsError> {
        let config = make(clients(always.clone()))?;
        Ok(Self { make: Box::new(make), always, asked: Mutex::default(), now: watch::Sender::new(config) })
    }

    /// From now on certificates of these issuers, too.
    ///
    /// # Errors
    /// [`TlsError`]; then it stays as it is.
    pub fn ask_for(&self, issuers: Vec<DistinguishedName>) -> Result<(), TlsError> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let same =
            asked.len() == issuers.len() && asked.iter().zip(&issuers).all(|(a, b)| a.as_ref() == b.as_ref());
        if same {
            return Ok(());
        }
        let all = self.always.iter().chain(&issuers).cloned().collect();
        self.now.send_replace((self.make)(clients(all))?);
        *asked = issuers;
        Ok(())
    }

    /// For the listener.
    #[must_use]
    pub fn served(&self) -> Served {
        self.now.subscribe()
    }
}

fn clients(issuers: Vec<DistinguishedName>) -> Clients {
    if issuers.is_empty() { Clients::Nobody } else { Clients::Pinned(issuers) }
}
