//! Parts that a configuration names and that follow it without a restart: the directory and the OpenID provider, and how fast golden images go out.
//!
//! ```text
//! new configuration ─► those that it changes are opened ─► (all went well) ─► they take the place of the old ones
//! ```
//!
//! A sign-in that is under way with a provider that was replaced is refused, and begun again. It must never: close what did not change.

use std::sync::{Arc, PoisonError, RwLock};

use crate::{agents::Governor, config::Config, directory::Directory, provider::Provider};

/// From where people may come. Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub struct Elsewhere(Arc<RwLock<Parts>>);

/// The parts.
#[derive(Clone, Default)]
pub struct Parts {
    /// The site's directory.
    pub directory: Option<Arc<Directory>>,
    /// The OpenID provider.
    pub provider: Option<Arc<Provider>>,
}

impl Parts {
    /// What a configuration names, opened.
    ///
    /// # Errors
    /// A file that it names, in words.
    pub fn open(config: &Config) -> Result<Self, String> {
        Self::default().instead(&Config::default(), config)
    }

    /// What another configuration names: what did not change stays as it is, with whoever is signing in by it.
    ///
    /// # Errors
    /// As [`Parts::open`].
    pub fn instead(&self, old: &Config, new: &Config) -> Result<Self, String> {
        let directory = match old.directory == new.directory {
            true => self.directory.clone(),
            false => new.directory.as_ref().map(Directory::open).transpose()?.map(Arc::new),
        };
        let provider = match old.provider == new.provider {
            true => self.provider.clone(),
            false => new.provider.as_ref().map(Provider::open).transpose()?.map(Arc::new),
        };
        Ok(Self { directory, provider })
    }
}

impl Elsewhere {
    /// These.
    #[must_use]
    pub fn of(parts: Parts) -> Self {
        Self(Arc::new(RwLock::new(parts)))
    }

    /// From now on these.
    pub fn replace(&self, parts: Parts) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = parts;
    }

    /// As they are now.
    #[must_use]
    pub fn now(&self) -> Parts {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// All that follows.
#[derive(Clone)]
pub struct Followed {
    /// From where people may come.
    pub elsewhere: Elsewhere,
    /// How fast golden images go out.
    pub governor: Governor,
}

impl Followed {
    /// With a configuration.
    ///
    /// # Errors
    /// As [`Parts::open`].
    pub fn open(config: &Config) -> Result<Self, String> {
        Ok(Self { elsewhere: Elsewhere::of(Parts::open(config)?), governor: Governor::new(&config.serving) })
    }
}
