//! The one gate through which every request for a boot file goes, over TFTP and over HTTP.
//!
//! Address to client, client to decision, decision to file. Nothing here differs by protocol but the stage that the
//! policy is told.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use crate::artefact::{Artefact, Artefacts};
use crate::client::Client;
use crate::dhcp6;
use crate::event::{BootEvent, BootEvents, Refusal, clean};
use crate::policy::{BootDecision, BootPolicy, BootRequest, Stage};
use crate::whois::Whois;

/// Everything that the protocols share.
pub(crate) struct Gate {
    pub policy: Arc<dyn BootPolicy>,
    pub events: Arc<dyn BootEvents>,
    pub whois: Arc<Whois>,
    pub artefacts: Artefacts,
}

impl Gate {
    /// Whose address `from` is: over IPv4 by DHCP's book and the neighbour table, over IPv6 by the address itself, which DHCPv6 made from
    /// the hardware address in the network of `ours`.
    pub(crate) fn client(&self, from: IpAddr, ours: IpAddr) -> Option<Client> {
        match (from, ours) {
            (IpAddr::V4(from), _) => self.whois.lookup(from),
            (IpAddr::V6(from), IpAddr::V6(ours)) if dhcp6::same_network(from, ours) => {
                dhcp6::mac_in(from).map(|mac| Client::bare(mac, None))
            }
            (IpAddr::V6(_), _) => None,
        }
    }

    /// The file named `raw` for the client at `from`, if it holds a ticket. `ours` is the address that was asked, `interface` our IPv4 address
    /// there, by which the policy knows the interface when it was asked over IPv6.
    pub(crate) fn artefact(
        &self,
        from: IpAddr,
        stage: Stage,
        (ours, interface): (IpAddr, Ipv4Addr),
        raw: &[u8],
    ) -> Result<(BootRequest, &Artefact), Refusal> {
        let client = self.client(from, ours).ok_or(Refusal::UnknownClient)?;
        let interface = if let IpAddr::V4(ours) = ours { ours } else { interface };
        let request = BootRequest { client, stage, interface };
        match self.policy.decide(&request) {
            BootDecision::RecoverySystem(_) => {}
            BootDecision::LocalDisk | BootDecision::AddressOnly => return Err(Refusal::NoTicket),
            BootDecision::Nothing => return Err(Refusal::Muted),
        }
        let artefact = self.artefacts.find(raw).ok_or_else(|| Refusal::NotFound(clean(raw)))?;
        Ok((request, artefact))
    }

    pub(crate) fn tell(&self, event: BootEvent) {
        self.events.event(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Mac;
    use crate::whois::KernelNeighbours;

    #[test]
    fn over_ipv6_only_an_address_that_dhcpv6_gave_in_our_network_is_anybodys() {
        let gate = Gate {
            policy: Arc::new(|_: &BootRequest| BootDecision::LocalDisk),
            events: Arc::new(|_: BootEvent| {}),
            whois: Arc::new(Whois::new(Arc::new(KernelNeighbours))),
            artefacts: Artefacts::new(),
        };
        let whose = |from: &str, ours: &str| {
            let (from, ours) = (from.parse().expect("address"), ours.parse().expect("address"));
            gate.client(from, ours).map(|client| client.mac)
        };
        let mac: Mac = [0x52, 0x54, 0, 0x77, 0, 9].into();
        assert_eq!(whose("fd00:77::5054:ff:fe77:9", "fd00:77::1"), Some(mac));
        for (from, ours) in [
            ("fd00:78::5054:ff:fe77:9", "fd00:77::1"),
            ("fe80::5054:ff:fe77:9", "fd00:77::1"),
            ("fd00:77::1234", "fd00:77::1"),
            ("fd00:77::5054:ff:fe77:9", "10.77.0.1"),
        ] {
            assert_eq!(whose(from, ours), None, "{from} asks {ours}");
        }
    }
}
