//! Addresses of a full-DHCP interface that are kept for somebody.
//!
//! They come from the configuration and from what a person put on record of an endpoint. Several network adapters of one endpoint
//! may share one: whichever asks first has it, the others get one from the pool. It must never decide who gets an address
//! (`lease` does).

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::client::Mac;
use crate::config::{FullDhcp, Interface};

/// What a policy keeps, for any interface: each is used where its network is.
pub type Reservations = Arc<[(Mac, Ipv4Addr)]>;

/// Who has which address kept on one interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reserved {
    by_mac: HashMap<Mac, Ipv4Addr>,
    addrs: HashSet<Ipv4Addr>,
}

impl Reserved {
    /// What the configuration and the policy keep on this interface. A client in both has what the configuration says; an address that is
    /// ours, the router's or of another network is kept for nobody.
    #[must_use]
    pub fn of(interface: &Interface, full: &FullDhcp, policy: &[(Mac, Ipv4Addr)]) -> Self {
        let mut reserved = Reserved::default();
        let configured = full.reservations.iter().map(|(mac, addr)| (*mac, *addr));
        for (mac, addr) in configured.chain(policy.iter().copied()) {
            let taken = addr == interface.addr || full.router == Some(addr);
            if interface.is_host(addr) && !taken && !reserved.by_mac.contains_key(&mac) {
                reserved.by_mac.insert(mac, addr);
                reserved.addrs.insert(addr);
            }
        }
        reserved
    }

    /// The address that is kept for a client.
    #[must_use]
    pub fn of_client(&self, mac: Mac) -> Option<Ipv4Addr> {
        self.by_mac.get(&mac).copied()
    }

    /// Whether an address is kept for somebody.
    #[must_use]
    pub fn holds(&self, addr: Ipv4Addr) -> bool {
        self.addrs.contains(&addr)
    }

    /// How many addresses are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.addrs.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.addrs.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DhcpMode;

    #[test]
    fn the_configuration_comes_first_and_no_address_of_ours_or_of_another_network_is_kept() {
        let ip = |last| Ipv4Addr::new(10, 0, 0, last);
        let mac = |last| Mac::from([2, 0, 0, 0, 0, last]);
        let mut full = FullDhcp::pool(ip(50), ip(99));
        full.router = Some(ip(254));
        full.reservations.insert(mac(1), ip(20));
        let interface = Interface { name: "eth0".into(), addr: ip(1), prefix: 24, dhcp: DhcpMode::Off };
        let elsewhere = Ipv4Addr::new(10, 9, 0, 4);
        let policy = [
            (mac(1), ip(21)),
            (mac(2), ip(60)),
            (mac(3), ip(60)),
            (mac(4), ip(1)),
            (mac(5), ip(254)),
            (mac(6), elsewhere),
            (mac(6), ip(66)),
            (mac(7), ip(255)),
        ];
        let reserved = Reserved::of(&interface, &full, &policy);
        let kept: Vec<_> = (1..8).map(|n| reserved.of_client(mac(n))).collect();
        assert_eq!(kept, [Some(ip(20)), Some(ip(60)), Some(ip(60)), None, None, Some(ip(66)), None]);
        assert_eq!((reserved.len(), reserved.holds(ip(60)), reserved.holds(ip(21))), (3, true, false));
    }
}
