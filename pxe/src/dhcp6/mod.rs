//! DHCPv6 for UEFI's PXE and HTTP Boot on an isolated network, without sockets (RFC 8415; boot options RFC 5970).
//!
//! ```text
//!   bytes ─► packet::Request ─► hardware address, class ─► policy ─► address, boot file URL ─► bytes
//! ```
//!
//! No leases: an endpoint's address is our prefix with its hardware address in it (RFC 4291 appendix A), so each stage of a boot
//! gets the same one, whatever identifier it made up (each stage has another, and pools run dry by it), and a request for a file tells from
//! where it comes whose it is. Only full mode has it, and only where the configuration names our IPv6 address.
//!
//! It must never: answer a relay, answer who asked another server, or give a boot file to whom the policy gives none.

pub mod packet;
pub(crate) mod serve;
#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::Arc;

use crate::client::{Arch, Client, ClientClass, Mac};
use crate::config::{FullDhcp, Unarmed};
use crate::dhcp::loader::{Loaders, NOT_ARMED};
use crate::event::{BootEvent, BootEvents, Refusal};
use crate::policy::{BootDecision, BootPolicy, BootRequest, Chain, Stage};
use packet::{MessageType, Request, Writer, code};

/// Length of the network's prefix, which an address made from a hardware address needs.
pub const PREFIX_LEN: u8 = 64;
const ADVERTISE: u8 = 2;
const REPLY: u8 = 7;
/// Status codes (RFC 8415 section 21.13).
const SUCCESS: [u8; 2] = [0, 0];
const NO_ADDRS: [u8; 2] = [0, 2];
const NOT_ON_LINK: [u8; 2] = [0, 4];
/// What HTTP Boot looks for in an answer: enterprise 0, and the class behind its length (edk2 `HttpBootDhcp6.c`).
const HTTP_CLASS: &[u8] = b"\0\0\0\0\0\x0aHTTPClient";

/// The hardware address inside an address that was made from one (RFC 4291 appendix A).
#[must_use]
pub fn mac_in(addr: Ipv6Addr) -> Option<Mac> {
    match addr.octets()[8..] {
        [a, b, c, 0xff, 0xfe, d, e, f] => Some([a ^ 2, b, c, d, e, f].into()),
        _ => None,
    }
}

/// The address of an Ethernet client in the network of `ours`.
#[must_use]
pub fn addr_of(ours: Ipv6Addr, mac: Mac) -> Option<Ipv6Addr> {
    let [a, b, c, d, e, f]: [u8; 6] = mac.as_slice().try_into().ok()?;
    let mut octets = ours.octets();
    octets[8..].copy_from_slice(&[a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    Some(octets.into()).filter(|addr| *addr != ours)
}

/// Whether two addresses are of one network.
#[must_use]
pub fn same_network(one: Ipv6Addr, other: Ipv6Addr) -> bool {
    one.octets()[..8] == other.octets()[..8]
}

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The datagram.
    pub bytes: Vec<u8>,
    /// It sends firmware to a file of ours: next it looks for a route to us.
    pub boots: bool,
}

/// DHCPv6 on one interface.
pub struct Responder {
    /// Our IPv6 address.
    pub ours: Ipv6Addr,
    /// Our IPv4 address there, by which the policy and the events know the interface.
    pub interface: Ipv4Addr,
    /// Our hardware address: our identifier is made from it.
    pub mac: [u8; 6],
    /// Leases and what firmware without a ticket gets.
    pub full: FullDhcp,
    /// Which file begins which chain.
    pub loaders: Loaders,
    /// Port of HTTP.
    pub http_port: u16,
    /// Decides.
    pub policy: Arc<dyn BootPolicy>,
    /// Is told.
    pub events: Arc<dyn BootEvents>,
}

impl Responder {
    /// Takes one datagram and returns the reply, if there is one; it goes back to where the datagram came from.
    #[must_use]
    pub fn handle(&self, from: SocketAddrV6, raw: &[u8]) -> Option<Answer> {
        let refused = |mac, reason| {
            let peer = Some(SocketAddr::V6(from));
            self.events.event(BootEvent::Refused { mac, peer, stage: Stage::Discover, reason });
            None
        };
        let request = match Request::parse(raw) {
            Ok(request) => request,
            Err(error) => return refused(None, Refusal::Malformed(error.to_string())),
        };
        let link_local = Some(*from.ip()).filter(Ipv6Addr::is_unicast_link_local);
        let Some(mac) = link_local.and_then(mac_in).or_else(|| request.mac_of_identifier()) else {
            return refused(None, Refusal::UnknownClient);
        };
        let client = classify(&request, mac);
        match self.answer(&request, &client) {
            Ok(reply) => reply,
            Err(reason) => refused(Some(mac), reason),
        }
    }

    fn answer(&self, request: &Request<'_>, client: &Client) -> Result<Option<Answer>, Refusal> {
        let named = request.option(code::SERVER_ID);
        let is_ours = named.is_some_and(|id| id == self.identifier());
        // Who must name a server, who must not, and who may (RFC 8415 section 16).
        let meant = match request.kind {
            MessageType::Request | MessageType::Renew | MessageType::Release | MessageType::Decline => {
                is_ours
            }
            MessageType::Solicit | MessageType::Confirm | MessageType::Rebind => named.is_none(),
            MessageType::InformationRequest => named.is_none() || is_ours,
            MessageType::Other(kind) => return Err(Refusal::MessageType(kind)),
        };
        if !meant {
            return Err(Refusal::OtherServer);
        }
        let stage = match request.kind {
            MessageType::Solicit => Stage::Discover,
            _ => Stage::Request,
        };
        if stage == Stage::Discover {
            let secs = request.option(code::ELAPSED).and_then(|data| data.try_into().ok());
            let secs = secs.map_or(0, |hundredths| u16::from_be_bytes(hundredths) / 100);
            let (client, interface) = (client.clone(), self.interface);
            self.events.event(BootEvent::DiscoverSeen { client, interface, secs, relay: None });
        }
        match request.kind {
            MessageType::Release | MessageType::Decline => {
                return self
                    .begin(REPLY, request)
                    .map(|reply| reply.option(code::STATUS, &SUCCESS))
                    .map(finish)?;
            }
            MessageType::Confirm => return self.confirm(request),
            _ => {}
        }
        let file = self.file(client, stage)?;
        let kind = if stage == Stage::Discover { ADVERTISE } else { REPLY };
        let mut reply = self.begin(kind, request)?;
        if request.kind != MessageType::InformationRequest {
            reply = self.associate(reply, request, client);
        }
        if let Some(url) = &file {
            reply = reply.option(code::BOOT_URL, url.as_bytes());
            if client.class == ClientClass::HttpBoot {
                reply = reply.option(code::VENDOR_CLASS, HTTP_CLASS);
            }
        }
        let boots = stage == Stage::Request && file.is_some();
        let client = client.clone();
        self.events.event(match stage {
            Stage::Discover => BootEvent::OfferSent { client, addr: None, file },
            _ => BootEvent::AckSent { client, stage, file },
        });
        finish(reply).map(|answer| answer.map(|answer| Answer { boots, ..answer }))
    }

    /// Our identifier (RFC 8415 section 11.4).
    fn identifier(&self) -> Vec<u8> {
        [&[0, 3, 0, 1][..], &self.mac].concat()
    }

    fn begin(&self, kind: u8, request: &Request<'_>) -> Result<Writer, Refusal> {
        let reply = Writer::new(kind, request.xid).option(code::SERVER_ID, &self.identifier());
        match (request.option(code::CLIENT_ID), request.kind) {
            (Some(client), _) => Ok(reply.option(code::CLIENT_ID, client)),
            (None, MessageType::InformationRequest) => Ok(reply),
            (None, _) => Err(Refusal::Malformed("a DHCPv6 client without an identifier".to_owned())),
        }
    }

    /// The address in the first association; none in any other, since a client has one.
    fn associate(&self, mut reply: Writer, request: &Request<'_>, client: &Client) -> Writer {
        let lease = match client.class {
            ClientClass::Plain | ClientClass::Agent => self.full.lease_secs,
            ClientClass::Pxe | ClientClass::HttpBoot | ClientClass::Ipxe { .. } => self.full.boot_lease_secs,
        };
        let mut addr = addr_of(self.ours, client.mac);
        for (id, _) in request.associations() {
            let inner = match addr.take() {
                Some(addr) => {
                    let data = [&addr.octets()[..], &lease.to_be_bytes(), &lease.to_be_bytes()].concat();
                    inner(code::IA_ADDR, &data)
                }
                None => inner(code::STATUS, &NO_ADDRS),
            };
            let times = [(lease / 2).to_be_bytes(), (lease / 5 * 4).to_be_bytes()].concat();
            reply = reply.option(code::IA_NA, &[&id[..], &times, &inner].concat());
        }
        reply
    }

    /// Whether what a client has is of this network (RFC 8415 section 18.3.3).
    fn confirm(&self, request: &Request<'_>) -> Result<Option<Answer>, Refusal> {
        let mut addrs = request.associations().flat_map(|(_, addrs)| addrs).peekable();
        if addrs.peek().is_none() {
            return Ok(None);
        }
        let status = if addrs.all(|addr| same_network(addr, self.ours)) { SUCCESS } else { NOT_ON_LINK };
        finish(self.begin(REPLY, request)?.option(code::STATUS, &status))
    }

    /// The URL that a client is told; `None`: an address only.
    fn file(&self, client: &Client, stage: Stage) -> Result<Option<String>, Refusal> {
        let request = BootRequest { client: client.clone(), stage, interface: self.interface };
        let decision = self.policy.decide(&request);
        match (client.class, decision) {
            (_, BootDecision::Nothing) => Err(Refusal::Muted),
            (ClientClass::Plain | ClientClass::Agent | ClientClass::Ipxe { .. }, _)
            | (_, BootDecision::AddressOnly) => Ok(None),
            (ClientClass::HttpBoot, BootDecision::RecoverySystem(boot)) => {
                let name = self.loaders.http_boot(client, boot.chain)?;
                Ok(Some(self.url(name)))
            }
            (ClientClass::Pxe, BootDecision::RecoverySystem(boot)) => self.pxe(client, boot.chain).map(Some),
            (ClientClass::Pxe, BootDecision::LocalDisk) if self.full.unarmed == Unarmed::FastRefuse => {
                Ok(Some(format!("tftp://[{}]/{NOT_ARMED}", self.ours)))
            }
            (ClientClass::HttpBoot, BootDecision::LocalDisk) if self.full.unarmed == Unarmed::FastRefuse => {
                Ok(Some(self.url(NOT_ARMED)))
            }
            (_, BootDecision::LocalDisk) => Err(Refusal::NoTicket),
        }
    }

    /// PXE over IPv6 knows TFTP alone. iPXE goes on over IPv4; GRUB would look for its configuration over IPv6, and a BIOS speaks none.
    fn pxe(&self, client: &Client, chain: Chain) -> Result<String, Refusal> {
        if chain == Chain::Shim || matches!(client.arch, None | Some(Arch::Bios)) {
            return Err(Refusal::NoLoader(format!("{chain:?}, {:?}, PXE over IPv6", client.arch)));
        }
        let name = self.loaders.pxe(client, chain)?;
        Ok(format!("tftp://[{}]/{name}", self.ours))
    }

    fn url(&self, name: &str) -> String {
        self.loaders.http_boot_url(&format!("[{}]", self.ours), self.http_port, name)
    }
}

fn finish(reply: Writer) -> Result<Option<Answer>, Refusal> {
    let encoded = reply.finish().map_err(|len| Refusal::Encode(format!("{len} bytes over DHCPv6")))?;
    Ok(Some(Answer { bytes: encoded, boots: false }))
}

/// An option inside another.
fn inner(code: u16, data: &[u8]) -> Vec<u8> {
    let len = data.len() as u16;
    [&code.to_be_bytes()[..], &len.to_be_bytes(), data].concat()
}

fn classify(request: &Request<'_>, mac: Mac) -> Client {
    let vendor = request.vendor_class();
    let class = if request.has_user_class(b"iPXE") {
        ClientClass::Ipxe { http: true }
    } else if vendor.starts_with(b"HTTPClient") {
        ClientClass::HttpBoot
    } else if vendor.starts_with(b"PXEClient") {
        ClientClass::Pxe
    } else {
        ClientClass::Plain
    };
    let arch = request.option(code::ARCH).and_then(Arch::from_option);
    Client { class, arch, ..Client::bare(mac, None) }
}
