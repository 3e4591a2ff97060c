//! The appliance itself: its version, until when its certificates count, when its state was saved, who writes, where it listens, how full it is.

use recovery_protocol::{
    Problem,
    operator::{DepotView, SinkView},
};

use super::{
    Service,
    home::{Room, Saved},
};
use crate::{config::Config, db, keys::ends_at};

/// A port that others may reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its number.
    pub number: u16,
    /// `tcp` or `udp`.
    pub protocol: &'static str,
    /// What it is for: a name that pages know.
    pub purpose: &'static str,
    /// On which addresses.
    pub at: String,
}

/// The appliance as it stands.
#[derive(Debug, Clone)]
pub struct SiteFacts {
    /// The site's name.
    pub site: String,
    /// Version of the program.
    pub version: &'static str,
    /// When it started, milliseconds since 1970.
    pub started_unix_ms: u64,
    /// Until when its own TLS certificate counts; none: it cannot be read.
    pub certificate_ends_unix_ms: Option<u64>,
    /// SHA-256 of its TLS key, as endpoints pin it.
    pub spki_sha256: String,
    /// Grows with each takeover.
    pub term: u64,
    /// Which appliance writes; empty: none was named yet.
    pub holder: String,
    /// Since when, milliseconds since 1970.
    pub holds_since_unix_ms: u64,
    /// It is this one.
    pub is_ours: bool,
    /// The state lies in a file here, not on a database server.
    pub database_is_file: bool,
    /// When the state was saved last.
    pub saved: Saved,
    /// Room on the disk of the data directory.
    pub room: Option<Room>,
    /// Where the data directory is.
    pub data_dir: String,
    /// Where the image store is.
    pub image_store: String,
    /// The object store behind it.
    pub depot: Option<DepotView>,
    /// Who follows the evidence log.
    pub sinks: Vec<SinkView>,
    /// Ports that are open as configured.
    pub ports: Vec<Port>,
}

impl Service {
    /// The appliance as it stands.
    pub async fn site_facts(&self) -> Result<SiteFacts, Problem> {
        let (inner, status) = (&self.0, self.status().await?);
        let config = &inner.journal.config;
        let mut conn = inner.journal.db.read().await?;
        let reign = db::reign::now(&mut conn).await?;
        let database_is_file = conn.is_file();
        drop(conn);
        let own = inner.keys.own_id()?;
        Ok(SiteFacts {
            site: status.site,
            version: env!("CARGO_PKG_VERSION"),
            started_unix_ms: inner.started_unix_ms,
            certificate_ends_unix_ms: ends_at(&inner.keys.tls_cert_pem),
            spki_sha256: inner.keys.spki_sha256.clone(),
            term: reign.term,
            is_ours: reign.holder == own,
            holder: reign.holder,
            holds_since_unix_ms: reign.since,
            database_is_file,
            saved: self.saved().await?,
            room: self.room(),
            data_dir: config.data_dir.display().to_string(),
            image_store: config.image_store().display().to_string(),
            depot: status.depot,
            sinks: status.sinks,
            ports: ports(config),
        })
    }
}

/// As the table of README has them.
fn ports(config: &Config) -> Vec<Port> {
    let listen = &config.listen;
    let boot =
        config.interfaces.iter().map(|interface| interface.name.as_str()).collect::<Vec<_>>().join(", ");
    let port = |number, protocol, purpose, at: &str| Port { number, protocol, purpose, at: at.to_owned() };
    let mut all = vec![
        port(listen.people_port, "tcp", "people", &listen.people_address.to_string()),
        port(listen.endpoints_port, "tcp", "endpoints", &listen.endpoints_address.to_string()),
    ];
    if !config.interfaces.is_empty() {
        all.extend([
            port(listen.dhcp_port, "udp", "dhcp", &boot),
            port(listen.boot_server_port, "udp", "boot-server", &boot),
            port(listen.tftp_port, "udp", "tftp", &boot),
            port(listen.http_port, "tcp", "http-boot", &boot),
            port(listen.syslog_port, "udp", "syslog", &boot),
        ]);
        all.extend(listen.https_boot_port.map(|number| port(number, "tcp", "https-boot", &boot)));
    }
    all.retain(|port| port.number != 0);
    all
}
