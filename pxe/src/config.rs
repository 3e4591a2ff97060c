//! What to listen on and what each interface may answer, checked as a whole before any port is bound.
//!
//! An interface starts in [`DhcpMode::Observe`]: it reports and answers nothing. `Proxy` answers beside the site's own
//! DHCP and never gives addresses; `Full` gives addresses and belongs on an isolated recovery VLAN only.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::Deserialize;

use crate::artefact::Artefacts;
use crate::client::Mac;
use crate::dhcp::loader::Loaders;

/// Largest address pool, in addresses.
pub const POOL_LEN_MAX: u32 = 4096;

/// The whole configuration of the boot layer.
#[derive(Debug, Clone)]
pub struct Config {
    /// Interfaces to serve.
    pub interfaces: Vec<Interface>,
    /// Ports, the standard ones by default.
    pub ports: Ports,
    /// Which artefact starts which chain.
    pub loaders: Loaders,
    /// Vendor class prefixes that count as PXE beside `PXEClient`.
    pub extra_vendor_classes: Vec<String>,
    /// Limits on what clients can make us do.
    pub limits: Limits,
    /// TFTP transfers go over port 69 itself and not over a port each: for firewalls that do not follow TFTP.
    pub tftp_single_port: bool,
}

impl Config {
    /// Standard ports, Debian's loaders, default limits.
    pub fn new(interfaces: Vec<Interface>) -> Self {
        Config {
            interfaces,
            ports: Ports::default(),
            loaders: Loaders::debian(),
            extra_vendor_classes: Vec::new(),
            limits: Limits::default(),
            tftp_single_port: false,
        }
    }
}

/// One interface.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Interface {
    /// Kernel name, to which the DHCP and TFTP sockets are bound.
    pub name: String,
    /// Our address on it: the one that is put into replies.
    pub addr: Ipv4Addr,
    /// Length of its network prefix.
    pub prefix: u8,
    /// What DHCP may do on it.
    #[serde(default)]
    pub dhcp: DhcpMode,
}

impl Interface {
    /// The network mask.
    pub fn mask(&self) -> Ipv4Addr {
        Ipv4Addr::from(mask_bits(self.prefix))
    }

    /// Whether an address is on this interface's network.
    pub fn holds(&self, addr: Ipv4Addr) -> bool {
        let mask = mask_bits(self.prefix);
        u32::from(addr) & mask == u32::from(self.addr) & mask
    }

    /// Whether an address can be a host's on this interface's network.
    pub(crate) fn is_host(&self, addr: Ipv4Addr) -> bool {
        let host = u32::from(addr) & !mask_bits(self.prefix);
        self.holds(addr) && host != 0 && host != !mask_bits(self.prefix)
    }
}

fn mask_bits(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0)
}

/// What DHCP does on an interface.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(tag = "mode", rename_all = "kebab-case")]
pub enum DhcpMode {
    /// Ports 67 and 4011 are not even bound.
    Off,
    /// Listen and report, answer nothing.
    #[default]
    Observe,
    /// Answer boot requests of endpoints with a ticket, beside the site's DHCP. Gives no addresses.
    Proxy,
    /// Give addresses to everyone and boot fields to endpoints with a ticket. For an isolated network.
    Full(FullDhcp),
}

/// Full DHCP on an isolated network.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FullDhcp {
    /// First address of the pool.
    pub pool_first: Ipv4Addr,
    /// Last address of the pool.
    pub pool_last: Ipv4Addr,
    /// Router to announce, if any.
    #[serde(default)]
    pub router: Option<Ipv4Addr>,
    /// Name servers to announce.
    #[serde(default)]
    pub dns: Vec<Ipv4Addr>,
    /// Lease for ordinary clients and the agent, in seconds.
    #[serde(default = "lease_secs_default")]
    pub lease_secs: u32,
    /// Lease for boot firmware, in seconds: short, since each stage may ask for a new one.
    #[serde(default = "boot_lease_secs_default")]
    pub boot_lease_secs: u32,
    /// Our IPv6 address there, in a network of 64 bits: with it UEFI's PXE and HTTP Boot are served over IPv6 too.
    #[serde(default)]
    pub ipv6: Option<Ipv6Addr>,
    /// Addresses that are kept, by hardware address; inside the pool or outside.
    #[serde(default)]
    pub reservations: BTreeMap<Mac, Ipv4Addr>,
    /// What boot firmware without a ticket gets.
    #[serde(default)]
    pub unarmed: Unarmed,
}

fn lease_secs_default() -> u32 {
    3600
}

fn boot_lease_secs_default() -> u32 {
    120
}

impl FullDhcp {
    /// A pool with default leases.
    pub fn pool(first: Ipv4Addr, last: Ipv4Addr) -> Self {
        FullDhcp {
            pool_first: first,
            pool_last: last,
            router: None,
            dns: Vec::new(),
            lease_secs: lease_secs_default(),
            boot_lease_secs: boot_lease_secs_default(),
            ipv6: None,
            reservations: BTreeMap::new(),
            unarmed: Unarmed::default(),
        }
    }
}

/// What boot firmware without a ticket gets in full mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unarmed {
    /// No answer: the firmware moves on after its own time-out (about a minute with EDK2).
    #[default]
    Silent,
    /// An address and the name of a file that does not exist: the firmware moves on after seconds.
    FastRefuse,
}

/// Ports. All but `dhcp_client` are ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Ports {
    /// DHCP, 67.
    pub dhcp: u16,
    /// Where DHCP clients listen, 68.
    pub dhcp_client: u16,
    /// PXE boot server, 4011.
    pub boot_server: u16,
    /// TFTP, 69.
    pub tftp: u16,
    /// HTTP, 80.
    pub http: u16,
    /// Syslog of loaders, 514. Left out where another program has it.
    pub syslog: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Ports { dhcp: 67, dhcp_client: 68, boot_server: 4011, tftp: 69, http: 80, syslog: 514 }
    }
}

/// Limits on what clients can make us do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// TFTP transfers at once.
    pub tftp_transfers: usize,
    /// TFTP transfers at once from one address.
    pub tftp_transfers_per_addr: usize,
    /// Largest TFTP block, in bytes of data; the interface's MTU less 32 for Ethernet.
    pub tftp_block_len: u16,
    /// HTTP connections at once.
    pub http_connections: usize,
    /// HTTP connections at once from one address; further ones are closed unread.
    pub http_connections_per_addr: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            tftp_transfers: 1024,
            tftp_transfers_per_addr: 4,
            tftp_block_len: 1468,
            http_connections: 512,
            http_connections_per_addr: 64,
        }
    }
}

/// A configuration that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Nothing to serve.
    #[error("no interface is configured; name at least one with its address")]
    NoInterface,
    /// An interface is named twice.
    #[error("interface `{0}` is configured twice; remove one")]
    Twice(String),
    /// An interface's address or prefix is unusable.
    #[error(
        "interface `{name}`: {addr}/{prefix} is not a usable address; give the appliance's own address there"
    )]
    Address {
        /// Interface.
        name: String,
        /// Its address.
        addr: Ipv4Addr,
        /// Its prefix length.
        prefix: u8,
    },
    /// The pool is outside the network, reversed, too large, or holds our own address or the router's.
    #[error("interface `{name}`: pool {first} to {last} {why}")]
    Pool {
        /// Interface.
        name: String,
        /// First address.
        first: Ipv4Addr,
        /// Last address.
        last: Ipv4Addr,
        /// What is wrong and what to do.
        why: &'static str,
    },
    /// A reserved address is outside the network, or our own or the router's.
    #[error(
        "interface `{name}`: {addr}, reserved for {mac}, {why}; choose another address of the interface's network"
    )]
    Reservation {
        /// Interface.
        name: String,
        /// For whom.
        mac: Mac,
        /// The address.
        addr: Ipv4Addr,
        /// What is wrong.
        why: &'static str,
    },
    /// Our IPv6 address is none of a network.
    #[error("interface `{name}`: {addr} is no address of a network; give one like fd00:77::1")]
    Ipv6 {
        /// Interface.
        name: String,
        /// The address.
        addr: Ipv6Addr,
    },
    /// A lease time is out of range.
    #[error("interface `{name}`: a lease of {secs} s is out of range; use 30 to 86400")]
    Lease {
        /// Interface.
        name: String,
        /// The lease.
        secs: u32,
    },
    /// A loader is not in the boot kit.
    #[error("the boot kit has no `{0}`, which a chain starts with; rebuild the boot kit or remove the chain")]
    LoaderMissing(String),
    /// A loader's name is too long for the header field of a DHCP reply.
    #[error("the loader name `{0}` is longer than 80 characters; shorten it")]
    LoaderName(String),
    /// A limit is zero or the block length is outside 512 to 1468.
    #[error("limits: {0}")]
    Limit(&'static str),
}

impl Config {
    /// Checks everything that can be checked without a socket.
    pub fn check(&self, artefacts: &Artefacts) -> Result<(), ConfigError> {
        if self.interfaces.is_empty() {
            return Err(ConfigError::NoInterface);
        }
        for (i, interface) in self.interfaces.iter().enumerate() {
            if self.interfaces[..i].iter().any(|other| other.name == interface.name) {
                return Err(ConfigError::Twice(interface.name.clone()));
            }
            check_interface(interface)?;
        }
        for name in self.loaders.names() {
            if name.len() > 80 {
                return Err(ConfigError::LoaderName(name.into()));
            }
            if !artefacts.contains(name) {
                return Err(ConfigError::LoaderMissing(name.into()));
            }
        }
        let limits = &self.limits;
        let counts = [
            limits.tftp_transfers,
            limits.tftp_transfers_per_addr,
            limits.http_connections,
            limits.http_connections_per_addr,
        ];
        if counts.contains(&0) {
            return Err(ConfigError::Limit("each must be at least 1"));
        }
        if !(512..=1468).contains(&limits.tftp_block_len) {
            return Err(ConfigError::Limit("the TFTP block length must be 512 to 1468"));
        }
        Ok(())
    }
}

fn check_interface(interface: &Interface) -> Result<(), ConfigError> {
    let Interface { name, addr, prefix, dhcp } = interface;
    let name = || name.clone();
    if !(8..=30).contains(prefix) || !interface.is_host(*addr) || addr.is_multicast() {
        return Err(ConfigError::Address { name: name(), addr: *addr, prefix: *prefix });
    }
    let DhcpMode::Full(full) = dhcp else { return Ok(()) };
    let (first, last) = (full.pool_first, full.pool_last);
    let pool = |why| Err(ConfigError::Pool { name: name(), first, last, why });
    if first > last {
        return pool("is reversed; put the lower address first");
    }
    if !interface.is_host(first) || !interface.is_host(last) {
        return pool("is outside the interface's network; choose addresses inside it");
    }
    if u32::from(last) - u32::from(first) >= POOL_LEN_MAX {
        return pool("is too large; use at most 4096 addresses");
    }
    if std::iter::once(*addr).chain(full.router).any(|taken| (first..=last).contains(&taken)) {
        return pool("holds the appliance's or the router's own address; leave it out");
    }
    if let Some(ipv6) = full.ipv6
        && (ipv6.is_multicast()
            || ipv6.is_unspecified()
            || ipv6.is_loopback()
            || ipv6.is_unicast_link_local())
    {
        return Err(ConfigError::Ipv6 { name: name(), addr: ipv6 });
    }
    for (mac, reserved) in &full.reservations {
        let why = match *reserved {
            own if own == *addr => "is the appliance's own",
            router if Some(router) == full.router => "is the router's",
            other if !interface.is_host(other) => "is outside the interface's network",
            _ => continue,
        };
        return Err(ConfigError::Reservation { name: name(), mac: *mac, addr: *reserved, why });
    }
    for secs in [full.lease_secs, full.boot_lease_secs] {
        if !(30..=86_400).contains(&secs) {
            return Err(ConfigError::Lease { name: name(), secs });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::Artefact;

    fn ip(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, last)
    }

    fn config(dhcp: DhcpMode) -> Config {
        Config::new(vec![Interface { name: "recovery0".into(), addr: ip(1), prefix: 24, dhcp }])
    }

    fn kit() -> Artefacts {
        let mut kit = Artefacts::new();
        for name in Loaders::debian().names() {
            kit.insert(Artefact::fixed(name, Bytes::from_static(b"x"), "00").expect("valid"));
        }
        kit
    }

    #[test]
    fn a_good_configuration_passes_and_observes_by_default() {
        assert_eq!(config(DhcpMode::default()).check(&kit()), Ok(()));
        assert_eq!(DhcpMode::default(), DhcpMode::Observe);
        assert_eq!(config(DhcpMode::Full(FullDhcp::pool(ip(50), ip(200)))).check(&kit()), Ok(()));
    }

    #[test]
    fn impossible_configurations_are_refused_by_name() {
        let full = |a, b| config(DhcpMode::Full(FullDhcp::pool(a, b))).check(&kit());
        assert!(
            matches!(full(ip(200), ip(50)), Err(ConfigError::Pool { why, .. }) if why.contains("reversed"))
        );
        assert!(
            matches!(full(ip(1), ip(50)), Err(ConfigError::Pool { why, .. }) if why.contains("own address"))
        );
        assert!(
            matches!(full(ip(50), ip(255)), Err(ConfigError::Pool { why, .. }) if why.contains("outside"))
        );
        let mut lease = FullDhcp::pool(ip(50), ip(60));
        lease.boot_lease_secs = 1;
        assert!(matches!(
            config(DhcpMode::Full(lease)).check(&kit()),
            Err(ConfigError::Lease { secs: 1, .. })
        ));
        assert_eq!(Config::new(vec![]).check(&kit()), Err(ConfigError::NoInterface));
        let mut twice = config(DhcpMode::Off);
        twice.interfaces.push(twice.interfaces[0].clone());
        assert_eq!(twice.check(&kit()), Err(ConfigError::Twice("recovery0".into())));
        let mut network = config(DhcpMode::Off);
        network.interfaces[0].addr = ip(0);
        assert!(matches!(network.check(&kit()), Err(ConfigError::Address { .. })));
        assert!(matches!(config(DhcpMode::Off).check(&Artefacts::new()), Err(ConfigError::LoaderMissing(_))));
    }

    #[test]
    fn prefixes_hold_their_addresses() {
        let interface = &config(DhcpMode::Off).interfaces[0];
        assert!(interface.holds(ip(254)) && !interface.holds(Ipv4Addr::new(10, 77, 1, 1)));
        assert_eq!(interface.mask(), Ipv4Addr::new(255, 255, 255, 0));
        assert_eq!((mask_bits(0), mask_bits(32)), (0, u32::MAX));
    }
}
