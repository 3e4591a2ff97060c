//! The configuration in force. It is replaced as a whole, and whoever reads it then has the new one.
//!
//! One that was in force stays in memory until the process ends: it is small, a person replaces it, and so nobody who reads it has to hold a lock.

use std::{
    ops::Deref,
    sync::{Arc, PoisonError, RwLock},
};

use super::Config;

/// The configuration in force. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Shared(Arc<RwLock<&'static Config>>);

impl Shared {
    /// This one, for now.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self(Arc::new(RwLock::new(Box::leak(Box::new(config)))))
    }

    /// From now on this one.
    pub fn replace(&self, config: Config) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Box::leak(Box::new(config));
    }
}

impl Deref for Shared {
    type Target = Config;

    fn deref(&self) -> &Config {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<Arc<Config>> for Shared {
    fn from(config: Arc<Config>) -> Self {
        Self::new(Config::clone(&config))
    }
}
