//! The configuration: one TOML file, defaults for everything, checked as a whole before any port is bound.
//!
//! An unknown key is an error, not a surprise. A message names the file, the line, the key, and what to write instead.
//! Without a file the appliance starts on its defaults: no DHCP on any interface, one group `default` that only
//! observes, no blueprint. Secrets never stand here, only the names of files that hold them.
//!
//! ```toml
//! site = "plant-7"
//! [[interfaces]]
//! name = "enp2s0"
//! dhcp = "full"
//! pool = { first = "10.7.0.100", last = "10.7.0.199" }
//! [groups.line-3]
//! mode = "approve"
//! [blueprints.hmi]
//! image = "hmi-panel"
//! ```
//!
//! It must never: read the environment, or open a port. What is in force is replaced as a whole (`reload.rs`), or not at all.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
};

use jiff::tz::TimeZone;
use recovery_protocol::{EndpointId, MacAddr, job::Stage};
use serde::Deserialize;

mod blueprint;
mod directory;
mod evidence;
mod exhibits;
mod group;
mod hook;
pub mod keys;
mod notify;
mod plane;
mod provider;
mod shared;
mod site_est;
mod window;

pub use crate::agents::Serving;
pub use crate::depot::Images;
use crate::{
    db::{endpoint::Record, server::Database},
    depot,
    seal::Secrets,
};
pub use blueprint::{Blueprint, EkCertificatePolicy, Enrolment, FirmwareBaseline, Place};
#[cfg(test)]
pub use directory::Users;
pub use directory::{BELIEVED_H, Directory, DirectoryAt};
pub use evidence::Evidence;
pub use exhibits::Exhibits;
pub use group::{Group, GroupMode, Permit, Redundancy};
pub use hook::{EndpointBy, Hook, KeylimeVerifier};
pub use notify::{Channel, Notify, Rule};
pub use plane::{KeylimePlane, Plane, UmsPlane};
pub use provider::Provider;
pub use shared::Shared;
pub use site_est::SiteEst;
pub use window::Window;

/// Why the configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error(
        "cannot read the configuration {path}: {why}; name an existing file with --config, or leave it out"
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        why: String,
    },
    /// Not TOML, an unknown key, or a value of the wrong kind. The parser's message has line, column and key.
    #[error(
        "{path}: {why}\ncorrect the line; `groundstate config reference` prints every key with what it means"
    )]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The parser's words, with line and column.
        why: String,
    },
    /// A value that cannot work.
    #[error("{path}, line {line}: `{key}` {why}; {now}")]
    Value {
        /// The file.
        path: PathBuf,
        /// Line number from 1; 0 for a default.
        line: usize,
        /// The key, dotted.
        key: String,
        /// What is wrong with it.
        why: String,
        /// What to write instead.
        now: String,
    },
}

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The file that it was read from.
    #[serde(skip)]
    pub file: Option<PathBuf>,
    /// The site's name, for screens, certificates and evidence: a DNS label.
    pub site: EndpointId,
    /// State of the appliance: database, keys, token.
    pub data_dir: PathBuf,
    /// A PostgreSQL server that keeps the state. None: a SQLite file in the data directory.
    pub database: Option<Database>,
    /// What seals the private keys. None: they lie in clear, readable by their owner alone.
    pub secrets: Option<Secrets>,
    /// The boot kit: `kit.json` and the files that it names. None: nothing is served to firmware.
    pub boot_kit_dir: Option<PathBuf>,
    /// Golden images. Default: `images` in the data directory.
    pub image_store_dir: Option<PathBuf>,
    /// The image trust root: whose signatures make a golden image. Default: `trust-root.json` in the data directory.
    pub trust_root_file: Option<PathBuf>,
    /// Certificates of TPM makers whose EK certificates count: PEM or DER files in this directory. None: no maker does.
    pub tpm_roots_dir: Option<PathBuf>,
    /// What stands behind the image store.
    pub images: Images,
    /// Addresses and ports.
    pub listen: Listen,
    /// Caps and classes for chunk frames.
    pub serving: Serving,
    /// Interfaces on which firmware is answered.
    pub interfaces: Vec<Interface>,
    /// Groups of endpoints: mode and guard rails. `default` always exists.
    pub groups: BTreeMap<String, Group>,
    /// Endpoints that can stand in for each other, with how many must stay up.
    pub redundancy: BTreeMap<String, Redundancy>,
    /// What one kind of endpoint is.
    pub blueprints: BTreeMap<String, Blueprint>,
    /// Webhook sources, by name as in `/hooks/v1/<name>`.
    pub hooks: BTreeMap<String, Hook>,
    /// The site's EST server, which enrols endpoints. None: the embedded authority does.
    pub est: Option<SiteEst>,
    /// The fleet's own control planes, by a name for evidence.
    pub control_planes: BTreeMap<String, Plane>,
    /// Where evidence goes besides the database.
    pub evidence: Evidence,
    /// What recoveries keep of old systems.
    pub exhibits: Exhibits,
    /// Who is told what happens.
    pub notify: Notify,
    /// Limits of stages in seconds, where the defaults do not fit.
    pub stage_limits_s: BTreeMap<Stage, u32>,
    /// Where people may come from beside those on record.
    pub directory: Option<Directory>,
    /// Where else they may come from.
    pub provider: Option<Provider>,
    /// Seconds between two quotes of a trusted endpoint.
    pub attest_every_s: u32,
    /// In which time zone windows are meant, by its name in the tz database. Without it there are no windows.
    pub time_zone: Option<String>,
    /// Appended to the kernel command line of the recovery system. By default the agent speaks on the screen and the first serial line,
    /// and the kernel only of errors: at 115,200 baud its usual words cost the start a second or more.
    pub kernel_args: String,
}

impl Default for Config {
    fn default() -> Self {
        let site = "groundstate".parse().unwrap_or_else(|_| unreachable!("a constant label"));
        Self {
            file: None,
            site,
            data_dir: PathBuf::from("/var/lib/groundstate"),
            database: None,
            secrets: None,
            boot_kit_dir: None,
            image_store_dir: None,
            trust_root_file: None,
            tpm_roots_dir: None,
            images: Images::default(),
            listen: Listen::default(),
            serving: Serving::default(),
            interfaces: Vec::new(),
            groups: BTreeMap::from([("default".to_owned(), Group::default())]),
            redundancy: BTreeMap::new(),
            blueprints: BTreeMap::new(),
            hooks: BTreeMap::new(),
            est: None,
            control_planes: BTreeMap::new(),
            evidence: Evidence::default(),
            exhibits: Exhibits::default(),
            notify: Notify::default(),
            directory: None,
            provider: None,
            stage_limits_s: BTreeMap::new(),
            attest_every_s: 300,
            time_zone: None,
            kernel_args: "quiet console=tty0 console=ttyS0,115200".to_owned(),
        }
    }
}

/// Addresses and ports. A port of 0 means: any free one (tests).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// Address for people and webhooks.
    pub people_address: IpAddr,
    /// TLS: console, REST, webhooks, health, metrics.
    pub people_port: u16,
    /// Address for endpoints.
    pub endpoints_address: IpAddr,
    /// TLS: agent API and EST.
    pub endpoints_port: u16,
    /// Plain HTTP: boot files and chunk frames.
    pub http_port: u16,
    /// TFTP.
    pub tftp_port: u16,
    /// DHCP.
    pub dhcp_port: u16,
    /// PXE boot server.
    pub boot_server_port: u16,
    /// Syslog of loaders.
    pub syslog_port: u16,
    /// TLS: boot files, for firmware in which this appliance's boot authority is enrolled. None: UEFI HTTP Boot is served in plain.
    pub https_boot_port: Option<u16>,
    /// TFTP transfers go over the TFTP port itself, for firewalls that do not follow TFTP.
    pub tftp_single_port: bool,
}

impl Default for Listen {
    fn default() -> Self {
        let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        Self {
            people_address: any,
            people_port: 443,
            endpoints_address: any,
            endpoints_port: 8443,
            http_port: 80,
            tftp_port: 69,
            dhcp_port: 67,
            boot_server_port: 4011,
            syslog_port: 514,
            https_boot_port: None,
            tftp_single_port: false,
        }
    }
}

/// One interface towards endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interface {
    /// Its name in the system, e.g. `enp2s0`.
    pub name: String,
    /// What is answered on it.
    #[serde(default)]
    pub dhcp: Dhcp,
    /// Addresses to lend in mode `full`.
    #[serde(default)]
    pub pool: Option<Pool>,
}

/// What an interface answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dhcp {
    /// Boot files only; no DHCP packet is answered.
    #[default]
    Off,
    /// Beside the site's own DHCP: boot information, never an address.
    Proxy,
    /// We are the DHCP of this network.
    Full,
}

/// Addresses to lend.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// The first.
    pub first: Ipv4Addr,
    /// The last.
    pub last: Ipv4Addr,
    /// The router to name, if any.
    #[serde(default)]
    pub router: Option<Ipv4Addr>,
    /// Length of a lease in seconds.
    #[serde(default = "default_lease")]
    pub lease_s: u32,
    /// Our IPv6 address on this interface, in a network of 64 bits: with it UEFI's PXE and HTTP Boot are served over IPv6 too.
    #[serde(default)]
    pub ipv6: Option<Ipv6Addr>,
    /// Addresses that are kept for what is no endpoint, by Ethernet address; an endpoint's are those on its record.
    #[serde(default)]
    pub reserved: BTreeMap<MacAddr, Ipv4Addr>,
}

fn default_lease() -> u32 {
    3600
}

/// Whether the files that a text names must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Files {
    Here,
    Elsewhere,
}

impl Config {
    /// Read and check a file.
    ///
    /// # Errors
    /// [`ConfigError`] names file, line and key, and what to write instead.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| ConfigError::Unreadable { path: path.to_owned(), why: e.to_string() })?;
        Ok(Self { file: Some(path.to_owned()), ..Self::parse(&text, path)? })
    }

    /// Check a text; relative paths are taken from the directory of `path`.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        Self::read(text, path, Files::Here)
    }

    /// The same of a text that is not to be served with: whether the files that it names are there is not asked, and not told.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse_to_try(text: &str, path: &Path) -> Result<Self, ConfigError> {
        Self::read(text, path, Files::Elsewhere)
    }

    fn read(text: &str, path: &Path, files: Files) -> Result<Self, ConfigError> {
        let syntax = |e: toml::de::Error| ConfigError::Syntax { path: path.to_owned(), why: e.to_string() };
        let mut config: Self = toml::from_str(text).map_err(syntax)?;
        config.groups.entry("default".to_owned()).or_default();
        config.resolve(path.parent().unwrap_or(Path::new(".")));
        config.check(files).map_err(|wrong| ConfigError::Value {
            path: path.to_owned(),
            line: line_of(text, &wrong.key),
            key: wrong.key.join("."),
            why: wrong.why,
            now: wrong.now,
        })?;
        Ok(config)
    }

    /// Where golden images lie.
    #[must_use]
    pub fn image_store(&self) -> PathBuf {
        self.image_store_dir.clone().unwrap_or_else(|| self.data_dir.join("images"))
    }

    /// Where exhibits lie.
    #[must_use]
    pub fn exhibits_dir(&self) -> PathBuf {
        self.exhibits.dir.clone().unwrap_or_else(|| self.data_dir.join("exhibits"))
    }

    /// Where the image trust root lies.
    #[must_use]
    pub fn trust_root(&self) -> PathBuf {
        self.trust_root_file.clone().unwrap_or_else(|| self.data_dir.join("trust-root.json"))
    }

    /// The guard rails of a group; an unknown name gets those of a group that only observes.
    #[must_use]
    pub fn group(&self, name: &str) -> Group {
        self.groups.get(name).cloned().unwrap_or_default()
    }

    /// The guard rails of an endpoint: its group's, with its own safety class where that is higher. A class of its own makes an
    /// endpoint safer than its group, never less.
    #[must_use]
    pub fn rails(&self, record: &Record) -> Group {
        let group = self.group(&record.group);
        Group { safety_class: group.safety_class.max(record.safety_class), ..group }
    }

    /// The time zone of the site's windows.
    #[must_use]
    pub fn zone(&self) -> TimeZone {
        self.time_zone.as_deref().and_then(|name| window::zone(name).ok()).unwrap_or(TimeZone::UTC)
    }

    fn resolve(&mut self, base: &Path) {
        let hooks = self.hooks.values_mut().flat_map(Hook::files);
        let permits = self.groups.values_mut().filter_map(|group| group.permit.as_mut());
        let permits = permits.flat_map(|permit| [&mut permit.ca_file, &mut permit.token_file]).flatten();
        let own = [
            &mut self.boot_kit_dir,
            &mut self.image_store_dir,
            &mut self.trust_root_file,
            &mut self.tpm_roots_dir,
            &mut self.exhibits.dir,
        ];
        let password = self.database.as_mut().and_then(|server| server.password_file.as_mut());
        let passphrase = self.secrets.as_mut().and_then(|secrets| secrets.passphrase_file.as_mut());
        let paths = own
            .into_iter()
            .flatten()
            .chain(hooks)
            .chain(permits)
            .chain(password)
            .chain(passphrase)
            .chain(self.control_planes.values_mut().flat_map(Plane::files))
            .chain(self.est.iter_mut().flat_map(SiteEst::files))
            .chain([&mut self.data_dir]);
        for path in paths {
            *path = base.join(&*path);
        }
        self.evidence.resolve(base);
        self.notify.resolve(base);
        if let Some(directory) = &mut self.directory {
            directory.ca_file = base.join(&directory.ca_file);
        }
        for path in self.provider.iter_mut().flat_map(Provider::files) {
            *path = base.join(&*path);
        }
        if let Some(depot) = &mut self.images.depot {
            depot.resolve(base);
        }
    }

    fn check(&self, files: Files) -> Result<(), Wrong> {
        self.check_interfaces()?;
        self.check_ports()?;
        self.notify.check(self.time_zone.as_deref())?;
        if let Some(Err(why)) = self.database.as_ref().map(Database::check) {
            let now =
                "write postgres://user@host/name, and the password into the file that `password_file` names";
            return Err(Wrong::new(vec!["database".to_owned()], why, now));
        }
        if let Some((why, now)) = self.secrets.as_ref().and_then(|secrets| secrets.wrong(&self.data_dir)) {
            let key = ["secrets", "passphrase_file"].map(str::to_owned).to_vec();
            return Err(Wrong::new(key, why, now));
        }
        if let Some((key, why, now)) = self.images.depot.as_ref().and_then(depot::Setting::wrong) {
            let key = ["images", "depot", key].map(str::to_owned).to_vec();
            return Err(Wrong::new(key, why, now));
        }
        if let Some((key, why, now)) = self.est.as_ref().and_then(SiteEst::wrong) {
            return Err(Wrong::new(["est", key].map(str::to_owned).to_vec(), why, now));
        }
        for (name, plane) in &self.control_planes {
            if let Some((key, why, now)) = plane.wrong() {
                let key = ["control_planes", name, key].map(str::to_owned).to_vec();
                return Err(Wrong::new(key, why, now));
            }
        }
        group::check(&self.groups)?;
        let windowed = self.groups.iter().find(|(_, group)| !group.windows.is_empty());
        if let (Some((name, _)), None) = (windowed, &self.time_zone) {
            let key = ["groups", name, "windows"].map(str::to_owned).to_vec();
            let now = "write time_zone = \"Europe/Berlin\", or where the site is, at the top of the file";
            return Err(Wrong::new(key, "means hours of no time zone", now));
        }
        if let Some(Err(why)) = self.time_zone.as_deref().map(window::zone) {
            let now = "write a name of the tz database, such as \"Europe/Berlin\"";
            return Err(Wrong::new(vec!["time_zone".to_owned()], &why, now));
        }
        group::check_redundancy(&self.redundancy)?;
        for (name, blueprint) in &self.blueprints {
            exhibits::check_blueprint(name, blueprint)?;
            if blueprint.image.is_empty() {
                let key = vec!["blueprints".to_owned(), name.clone(), "image".to_owned()];
                return Err(Wrong::new(key, "is empty", "name a golden image (`groundstate image list`)"));
            }
        }
        self.exhibits.check()?;
        hook::check(&self.hooks, files)?;
        self.directory.as_ref().map_or(Ok(()), Directory::check)?;
        self.provider.as_ref().map_or(Ok(()), Provider::check)?;
        for (stage, seconds) in &self.stage_limits_s {
            if *seconds == 0 {
                let name = serde_json::to_value(stage).ok().and_then(|v| v.as_str().map(str::to_owned));
                let key = vec!["stage_limits_s".to_owned(), name.unwrap_or_default()];
                return Err(Wrong::new(key, "is 0", "write seconds, at least 1"));
            }
        }
        if self.attest_every_s == 0 {
            return Err(Wrong::new(vec!["attest_every_s".to_owned()], "is 0", "write seconds, at least 1"));
        }
        if !self.kernel_args.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
            let now = "write plain ASCII kernel arguments";
            return Err(Wrong::new(vec!["kernel_args".to_owned()], "has control characters", now));
        }
        Ok(())
    }

    fn check_interfaces(&self) -> Result<(), Wrong> {
        let at = |key: &str| vec!["interfaces".to_owned(), key.to_owned()];
        for (n, interface) in self.interfaces.iter().enumerate() {
            if interface.name.is_empty() || interface.name.len() > 15 {
                return Err(Wrong::new(at("name"), "is not an interface name", "write one of `ip link`"));
            }
            if self.interfaces[..n].iter().any(|other| other.name == interface.name) {
                let why = format!("lists {} twice", interface.name);
                return Err(Wrong::new(at("name"), why, "keep one entry for each interface"));
            }
            match (interface.dhcp, &interface.pool) {
                (Dhcp::Full, None) => {
                    let now = "add pool = { first = \"…\", last = \"…\" }, or use \"proxy\"";
                    return Err(Wrong::new(at("pool"), "is missing, but dhcp is \"full\"", now));
                }
                (Dhcp::Off | Dhcp::Proxy, Some(_)) => {
                    return Err(Wrong::new(
                        at("pool"),
                        "is set, but dhcp is not \"full\"",
                        "remove one of the two",
                    ));
                }
                (Dhcp::Full, Some(pool)) if pool.first > pool.last => {
                    return Err(Wrong::new(at("pool"), "ends before it begins", "swap first and last"));
                }
                (Dhcp::Full, Some(_)) | (Dhcp::Off | Dhcp::Proxy, None) => {}
            }
        }
        Ok(())
    }

    fn check_ports(&self) -> Result<(), Wrong> {
        let l = &self.listen;
        let tcp = [
            ("people_port", l.people_port),
            ("endpoints_port", l.endpoints_port),
            ("http_port", l.http_port),
        ];
        let udp = [
            ("dhcp_port", l.dhcp_port),
            ("boot_server_port", l.boot_server_port),
            ("tftp_port", l.tftp_port),
            ("syslog_port", l.syslog_port),
        ];
        for set in [&tcp[..], &udp[..]] {
            for (n, (key, port)) in set.iter().enumerate() {
                if *port != 0 && set[..n].iter().any(|(_, other)| other == port) {
                    let why = format!("is {port}, which another listener has");
                    let key = vec!["listen".to_owned(), (*key).to_owned()];
                    return Err(Wrong::new(key, why, "give each listener its own port"));
                }
            }
        }
        Ok(())
    }
}

struct Wrong {
    key: Vec<String>,
    why: String,
    now: String,
}

impl Wrong {
    fn new(key: Vec<String>, why: impl Into<String>, now: impl Into<String>) -> Self {
        Self { key, why: why.into(), now: now.into() }
    }
}

/// The line (from 1) of a dotted key, of its nearest table that exists, or 1. An array is entered at its last element.
fn line_of(text: &str, key: &[String]) -> usize {
    let Ok(root) = toml::de::DeTable::parse(text) else { return 1 };
    let mut at = root.span().start;
    let mut table = Some(root.get_ref());
    for part in key {
        let Some((name, value)) = table.and_then(|t| t.iter().find(|(name, _)| name.get_ref() == part))
        else {
            break;
        };
        at = name.span().start;
        table =
            value.get_ref().as_table().or_else(|| value.get_ref().as_array()?.last()?.get_ref().as_table());
    }
    1 + text.get(..at).map_or(0, |before| before.matches('\n').count())
}

#[cfg(test)]
mod tests;
