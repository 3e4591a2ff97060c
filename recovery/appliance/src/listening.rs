//! Where the appliance listens, for whoever started it with free ports: `listening.json` in the data directory.

use std::{io, net::SocketAddr, path::Path};

use serde::Serialize;

/// Addresses that were bound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listening {
    /// Console, REST, webhooks.
    pub people: SocketAddr,
    /// Agent API, EST.
    pub endpoints: SocketAddr,
    /// Boot files and chunk frames, for each interface.
    pub http: Vec<SocketAddr>,
    /// SHA-256 of the TLS key's SPKI: what to pin.
    pub spki_sha256: String,
}

impl Listening {
    /// Whole or not at all.
    ///
    /// # Errors
    /// As the file system.
    pub fn write(&self, data_dir: &Path) -> io::Result<()> {
        let path = data_dir.join("listening.json");
        let fresh = path.with_extension("new");
        std::fs::write(&fresh, serde_json::to_vec_pretty(self)?)?;
        std::fs::rename(&fresh, &path)
    }
}
