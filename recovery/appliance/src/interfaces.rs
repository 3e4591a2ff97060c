//! The machine's own network interfaces: which addresses we have, and what each shall answer.
//!
//! It must never: change an interface.

use std::net::{IpAddr, Ipv4Addr};

use nix::ifaddrs::getifaddrs;

use crate::config::{Config, Dhcp, Interface};

/// Why an interface cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum InterfaceError {
    /// The system does not list its interfaces.
    #[error("the system does not list its network interfaces: {0}")]
    List(nix::Error),
    /// The interface has no IPv4 address, or there is none of that name.
    #[error(
        "interface `{0}` has no IPv4 address; give it one (`ip addr add …`) or correct [[interfaces]] name"
    )]
    NoAddress(String),
}

/// All addresses of this machine, for its certificate.
///
/// # Errors
/// [`InterfaceError::List`].
pub fn addresses() -> Result<Vec<IpAddr>, InterfaceError> {
    let mut found: Vec<IpAddr> = getifaddrs()
        .map_err(InterfaceError::List)?
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            // A link-local IPv6 address means nothing without its interface.
            let v6 = address.as_sockaddr_in6().map(|v6| v6.ip()).filter(|v6| !v6.is_unicast_link_local());
            v4.or(v6.map(IpAddr::V6))
        })
        .collect();
    found.sort();
    found.dedup();
    Ok(found)
}

/// An interface of this machine, by one IPv4 address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    /// Its name.
    pub name: String,
    /// The address.
    pub addr: Ipv4Addr,
    /// Length of its network's prefix.
    pub prefix: u8,
}

/// The interfaces of this machine that have an IPv4 address, but for the loopback: each once, by its first address.
///
/// # Errors
/// [`InterfaceError::List`].
pub fn local() -> Result<Vec<Local>, InterfaceError> {
    let mut found: Vec<Local> = Vec::new();
    for interface in getifaddrs().map_err(InterfaceError::List)? {
        let v4 = interface.address.and_then(|address| Some(address.as_sockaddr_in()?.ip()));
        let mask = interface.netmask.and_then(|mask| Some(mask.as_sockaddr_in()?.ip()));
        let (Some(addr), Some(mask)) = (v4, mask) else { continue };
        let name = interface.interface_name;
        if !addr.is_loopback() && found.iter().all(|known| known.name != name) {
            let prefix = u8::try_from(u32::from(mask).count_ones()).unwrap_or(32);
            found.push(Local { name, addr, prefix });
        }
    }
    Ok(found)
}

/// The configured interfaces with their addresses, as the boot layer wants them.
///
/// # Errors
/// [`InterfaceError`].
pub fn for_boot(config: &Config) -> Result<Vec<pxe::Interface>, InterfaceError> {
    config.interfaces.iter().map(one).collect()
}

fn one(wanted: &Interface) -> Result<pxe::Interface, InterfaceError> {
    let found = getifaddrs().map_err(InterfaceError::List)?.find_map(|interface| {
        let addr: Ipv4Addr =
            interface.address.filter(|_| interface.interface_name == wanted.name)?.as_sockaddr_in()?.ip();
        let mask = interface.netmask.and_then(|mask| Some(mask.as_sockaddr_in()?.ip()))?;
        Some((addr, u32::from(mask).count_ones()))
    });
    let (addr, prefix) = found.ok_or_else(|| InterfaceError::NoAddress(wanted.name.clone()))?;
    let dhcp = match (wanted.dhcp, &wanted.pool) {
        (Dhcp::Proxy, _) => pxe::DhcpMode::Proxy,
        (Dhcp::Full, Some(pool)) => {
            let mut full = pxe::config::FullDhcp::pool(pool.first, pool.last);
            full.router = pool.router;
            full.lease_secs = pool.lease_s;
            full.ipv6 = pool.ipv6;
            full.reservations =
                pool.reserved.iter().map(|(mac, addr)| (pxe::Mac::from(mac.0), *addr)).collect();
            // Without a ticket firmware shall go on to its disk in seconds, not in a minute.
            full.unarmed = pxe::Unarmed::FastRefuse;
            pxe::DhcpMode::Full(full)
        }
        (Dhcp::Off, _) | (Dhcp::Full, None) => pxe::DhcpMode::Off,
    };
    let prefix = u8::try_from(prefix).unwrap_or(32);
    Ok(pxe::Interface { name: wanted.name.clone(), addr, prefix, dhcp })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_is_not_there_is_named() {
        let wanted = Interface { name: "no-such-if".to_owned(), dhcp: Dhcp::Off, pool: None };
        assert!(matches!(one(&wanted), Err(InterfaceError::NoAddress(name)) if name == "no-such-if"));
    }
}
