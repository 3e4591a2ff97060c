//! DHCP and ProxyDHCP for network boot: one responder for each interface, without sockets.
//!
//! ```text
//!   bytes ─► packet::Request ─► classify ─► Client ─► policy ─► reply::Content ─► encode ─► bytes + destination
//!                                                        │
//!   policy, configuration ─► Reserved ─► lease::Leases ◄──┘  full mode only
//!   arp: who uses which address ──────────────┘
//! ```
//!
//! [`Responder::handle`] takes one datagram and the time, and returns at most one reply. It never panics on input, never
//! gives an address in proxy mode, never refuses (NAK) a request that did not name us, and never answers on one port
//! what it would not answer on the other.

pub mod arp;
pub mod classify;
pub mod encode;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod lease;
pub mod loader;
pub mod overhear;
pub mod packet;
pub mod reply;
pub mod reserved;
pub(crate) mod serve;
#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dhcproto::v4::MessageType as Kind;

use crate::client::{Client, ClientClass, Mac};
use crate::config::{DhcpMode, FullDhcp};
use crate::event::{BootEvent, BootEvents, Refusal};
use crate::policy::{BootDecision, BootPolicy, BootRequest, Stage};
use crate::whois::Whois;
use lease::{Lease, LeaseJournal, Leases, Squatter};
use packet::{MessageType, Request, code};
use reply::{Content, Destination, Site};
use reserved::{Reservations, Reserved};

/// Which port a datagram came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// 67.
    Dhcp,
    /// 4011.
    BootServer,
}

/// A reply to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// UDP payload.
    pub bytes: Vec<u8>,
    /// To whom.
    pub to: Destination,
    /// An address that is offered and not yet leased: ask by ARP who uses it, before the client asks for it.
    pub probe: Option<Ipv4Addr>,
}

/// What the responder asks and tells.
#[derive(Clone)]
pub struct Links {
    /// Decides.
    pub policy: Arc<dyn BootPolicy>,
    /// Is told.
    pub events: Arc<dyn BootEvents>,
    /// Learns which client has which address.
    pub whois: Arc<Whois>,
    /// Keeps leases across restarts, if there is one.
    pub journal: Option<Arc<dyn LeaseJournal>>,
}

/// A client that repeats its question sooner is offered its address without another look at the wire.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// DHCP on one interface.
pub struct Responder {
    site: Site,
    extra_classes: Vec<String>,
    leases: Option<Leases>,
    /// In full mode.
    terms: Option<Arc<FullDhcp>>,
    /// What the policy kept last.
    reservations: Option<Reservations>,
    links: Links,
}

impl Responder {
    /// A responder; in full mode it takes over the journal's leases.
    pub fn new(mut site: Site, extra_classes: Vec<String>, links: Links, now: Instant) -> Self {
        if site.interface.dhcp == DhcpMode::Proxy {
            site.loaders = site.loaders.beside_dhcp();
        }
        let reservations = links.policy.reservations();
        let terms = match &site.interface.dhcp {
            DhcpMode::Full(full) => Some(Arc::new(full.clone())),
            DhcpMode::Off | DhcpMode::Observe | DhcpMode::Proxy => None,
        };
        let leases = match &site.interface.dhcp {
            DhcpMode::Full(full) => {
                let mut leases = Leases::new(full.pool_first, full.pool_last);
                let kept = reservations.as_deref().unwrap_or_default();
                leases.reserve(Arc::new(Reserved::of(&site.interface, full, kept)));
                leases.restore(links.journal.iter().flat_map(|j| j.load()), now);
                Some(leases)
            }
            DhcpMode::Off | DhcpMode::Observe | DhcpMode::Proxy => None,
        };
        Responder { site, extra_classes, leases, terms, reservations, links }
    }

    /// Someone on the wire says that it uses this address.
    pub fn heard(&mut self, by: Mac, addr: Ipv4Addr, now: Instant) {
        let interface = self.site.interface.addr;
        let squatter = self.leases.as_mut().and_then(|leases| leases.heard(by, addr, now));
        if let Some(Squatter { addr, by, holder }) = squatter {
            self.tell(BootEvent::AddressInUse { addr, by, holder, interface });
        }
    }

    /// An address of the pool to ask about now, and how long to wait until the next. Never asks outside full mode.
    pub fn next_question(&mut self, now: Instant) -> (Option<Ipv4Addr>, Duration) {
        const NEVER: Duration = Duration::from_secs(3600);
        self.leases.as_mut().map_or((None, NEVER), |leases| leases.next_question(now))
    }

    /// Takes one datagram and returns the reply, if there is one.
    pub fn handle(&mut self, now: Instant, door: Door, from: SocketAddrV4, raw: &[u8]) -> Option<Reply> {
        let stage = match door {
            Door::Dhcp => Stage::Discover,
            Door::BootServer => Stage::BootServer,
        };
        // A question from our own address is our own probe, heard again.
        if *from.ip() == self.site.interface.addr {
            return None;
        }
        let peer = Some(SocketAddr::V4(from)).filter(|p| !p.ip().is_unspecified());
        let request = match Request::parse(raw) {
            Ok(request) => request,
            Err(e) => {
                self.refused(None, peer, stage, Refusal::Malformed(e.to_string()));
                return None;
            }
        };
        let client = classify::classify(&request, &self.extra_classes);
        let stage = match (door, request.kind) {
            (Door::Dhcp, MessageType::Discover) => Stage::Discover,
            (Door::Dhcp, _) => Stage::Request,
            (Door::BootServer, _) => Stage::BootServer,
        };
        self.observe(&request, &client, stage);
        let answer = match (&self.site.interface.dhcp, door, self.terms.clone()) {
            (DhcpMode::Off | DhcpMode::Observe, _, _) => Err(Refusal::Observing),
            (DhcpMode::Proxy | DhcpMode::Full(_), Door::BootServer, _) => {
                self.boot_server(&request, &client, from)
            }
            (DhcpMode::Full(_), Door::Dhcp, Some(full)) => self.full(&request, &client, &full, now),
            (DhcpMode::Proxy | DhcpMode::Full(_), Door::Dhcp, _) => self.proxy(&request, &client),
        };
        match answer {
            Ok(reply) => reply,
            Err(reason) => {
                self.refused(Some(&client), peer, stage, reason);
                None
            }
        }
    }

    /// Reports what passes by, and learns addresses from it.
    fn observe(&mut self, request: &Request, client: &Client, stage: Stage) {
        let interface = self.site.interface.addr;
        match request.kind {
            MessageType::Discover => self.tell(BootEvent::DiscoverSeen {
                client: client.clone(),
                interface,
                secs: request.secs,
                relay: Some(request.giaddr).filter(|a| !a.is_unspecified()),
            }),
            MessageType::Request => {
                let server = request.addr_option(code::SERVER_ID);
                if let Some(server) = server.filter(|s| stage == Stage::Request && *s != interface) {
                    self.tell(BootEvent::ForeignDhcpServer { server, interface, client: client.mac });
                }
                let full = self.leases.is_some();
                if let Some(addr) = client.addr.or_else(|| request.addr_option(code::REQUESTED_ADDR))
                    && !full
                {
                    self.links.whois.learn(addr, client);
                }
            }
            _ => {}
        }
    }

    fn decide(&self, client: &Client, stage: Stage) -> BootDecision {
        let request = BootRequest { client: client.clone(), stage, interface: self.site.interface.addr };
        self.links.policy.decide(&request)
    }

    /// ProxyDHCP on port 67: offers to DISCOVER only; answering requests there can steal leases.
    fn proxy(&mut self, request: &Request, client: &Client) -> Result<Option<Reply>, Refusal> {
        if request.kind != MessageType::Discover {
            return Ok(None);
        }
        let content = self.site.proxy_offer(client, self.decide(client, Stage::Discover))?;
        let bytes = self.site.write(request, Kind::Offer, &content, None)?;
        let file = content.file().map(Into::into);
        self.tell(BootEvent::OfferSent { client: client.clone(), addr: None, file });
        Ok(Some(Reply { bytes, to: self.site.destination(request, Kind::Offer), probe: None }))
    }

    /// The boot server port: answers whoever asks from an address, at the port from which it asked (EDK2 uses 4011, iPXE
    /// 68). Option 54 is not required: EDK2 sends none here.
    fn boot_server(
        &mut self,
        request: &Request,
        client: &Client,
        from: SocketAddrV4,
    ) -> Result<Option<Reply>, Refusal> {
        let kind = match request.kind {
            MessageType::Request | MessageType::Inform => Kind::Ack,
            MessageType::Discover => Kind::Offer,
            MessageType::Decline | MessageType::Release => return Ok(None),
            MessageType::Other(other) => return Err(Refusal::MessageType(other)),
        };
        let addr = if from.ip().is_unspecified() { request.ciaddr } else { *from.ip() };
        if addr.is_unspecified() {
            return Err(Refusal::UnknownClient);
        }
        let client = Client { addr: Some(addr), ..client.clone() };
        self.links.whois.learn(addr, &client);
        let content = self.site.boot_server(request, &client, self.decide(&client, Stage::BootServer))?;
        let bytes = self.site.write(request, kind, &content, None)?;
        let file = content.file().map(Into::into);
        self.tell(BootEvent::AckSent { client, stage: Stage::BootServer, file });
        let to = Destination::Unicast(SocketAddrV4::new(addr, from.port()));
        Ok(Some(Reply { bytes, to, probe: None }))
    }

    fn full(
        &mut self,
        request: &Request,
        client: &Client,
        full: &FullDhcp,
        now: Instant,
    ) -> Result<Option<Reply>, Refusal> {
        if !request.giaddr.is_unspecified() && !self.site.interface.holds(request.giaddr) {
            return Err(Refusal::OffLink);
        }
        match request.kind {
            MessageType::Discover => self.full_offer(request, client, full, now).map(Some),
            MessageType::Request => self.full_request(request, client, full, now),
            MessageType::Inform => {
                let content = self.site.full(full, client, self.decide(client, Stage::Request))?;
                self.acknowledge(request, client, &content, (request.ciaddr, None)).map(Some)
            }
            MessageType::Release | MessageType::Decline => {
                self.give_back(request, now);
                Ok(None)
            }
            MessageType::Other(other) => Err(Refusal::MessageType(other)),
        }
    }

    fn full_offer(
        &mut self,
        request: &Request,
        client: &Client,
        full: &FullDhcp,
        now: Instant,
    ) -> Result<Reply, Refusal> {
        let decision = self.decide(client, Stage::Discover);
        let content = self.site.full(full, client, decision)?;
        let urgent = matches!(decision, BootDecision::RecoverySystem(_));
        let wanted = request.addr_option(code::REQUESTED_ADDR);
        self.renew_reservations(full);
        let leases = self.leases.as_mut().ok_or(Refusal::PoolEmpty)?;
        let before = leases.offered(client.mac);
        let addr = leases.offer(client.mac, wanted, urgent, now).ok_or(Refusal::PoolEmpty)?;
        let asked = before.is_some_and(|(last, at)| last == addr && now.duration_since(at) < PROBE_EVERY);
        let probe = Some(addr).filter(|addr| !asked && !leases.is_leased_to(client.mac, *addr, now));
        let lease = lease_secs(full, client);
        let bytes = self.site.write(request, Kind::Offer, &content, Some((addr, Some(lease))))?;
        let file = content.file().map(Into::into);
        self.tell(BootEvent::OfferSent { client: client.clone(), addr: Some(addr), file });
        Ok(Reply { bytes, to: self.site.destination(request, Kind::Offer), probe })
    }

    /// The four kinds of DHCPREQUEST (RFC 2131 section 4.3.2). Only a request that names us (option 54) and asks for an
    /// address that we did not offer is refused; whoever holds an address elsewhere is left alone.
    fn full_request(
        &mut self,
        request: &Request,
        client: &Client,
        full: &FullDhcp,
        now: Instant,
    ) -> Result<Option<Reply>, Refusal> {
        let ours = self.site.interface.addr;
        let server = request.addr_option(code::SERVER_ID);
        let leases = self.leases.as_mut().ok_or(Refusal::PoolEmpty)?;
        if server.is_some_and(|s| s != ours) {
            leases.withdraw(client.mac);
            return Err(Refusal::OtherServer);
        }
        let wanted =
            client.addr.or_else(|| request.addr_option(code::REQUESTED_ADDR)).ok_or(Refusal::NotLeased)?;
        let content = self.site.full(full, client, self.decide(client, Stage::Request))?;
        let lease = lease_secs(full, client);
        let remaining = Duration::from_secs(lease.into());
        self.renew_reservations(full);
        let leases = self.leases.as_mut().ok_or(Refusal::PoolEmpty)?;
        if !leases.commit(client.mac, wanted, remaining, now) {
            if server == Some(ours) {
                return self.refuse_addr(request, client, wanted).map(Some);
            }
            return Err(Refusal::NotLeased);
        }
        if let Some(journal) = &self.links.journal {
            journal.granted(Lease { addr: wanted, mac: client.mac, remaining });
        }
        self.acknowledge(request, client, &content, (wanted, Some(lease))).map(Some)
    }

    fn acknowledge(
        &mut self,
        request: &Request,
        client: &Client,
        content: &Content,
        addr: (Ipv4Addr, Option<u32>),
    ) -> Result<Reply, Refusal> {
        let bytes = self.site.write(request, Kind::Ack, content, Some(addr))?;
        let client = Client { addr: Some(addr.0), ..client.clone() };
        if self.site.interface.holds(addr.0) {
            self.links.whois.learn(addr.0, &client);
        }
        self.tell(BootEvent::AckSent { client, stage: Stage::Request, file: content.file().map(Into::into) });
        Ok(Reply { bytes, to: self.site.destination(request, Kind::Ack), probe: None })
    }

    fn refuse_addr(
        &mut self,
        request: &Request,
        client: &Client,
        wanted: Ipv4Addr,
    ) -> Result<Reply, Refusal> {
        let bytes = self.site.write(request, Kind::Nak, &Content::Plain, None)?;
        self.tell(BootEvent::NakSent { client: client.clone(), wanted });
        Ok(Reply { bytes, to: self.site.destination(request, Kind::Nak), probe: None })
    }

    /// Takes over what the policy keeps, where that is another list than before.
    fn renew_reservations(&mut self, full: &FullDhcp) {
        let kept = self.links.policy.reservations();
        let same = match (&kept, &self.reservations) {
            (Some(now), Some(before)) => Arc::ptr_eq(now, before),
            (now, before) => now.is_none() && before.is_none(),
        };
        if same {
            return;
        }
        if let Some(leases) = &mut self.leases {
            let reserved = Reserved::of(&self.site.interface, full, kept.as_deref().unwrap_or_default());
            leases.reserve(Arc::new(reserved));
        }
        self.reservations = kept;
    }

    fn give_back(&mut self, request: &Request, now: Instant) {
        let Some(leases) = self.leases.as_mut() else { return };
        let (addr, done) = match request.kind {
            MessageType::Release => (request.ciaddr, leases.release(request.mac, request.ciaddr, now)),
            _ => {
                let Some(addr) = request.addr_option(code::REQUESTED_ADDR) else { return };
                (addr, leases.decline(request.mac, addr, now))
            }
        };
        if let (true, Some(journal)) = (done, &self.links.journal) {
            journal.released(addr);
        }
    }

    fn tell(&self, event: BootEvent) {
        self.links.events.event(event);
    }

    fn refused(&self, client: Option<&Client>, peer: Option<SocketAddr>, stage: Stage, reason: Refusal) {
        self.tell(BootEvent::Refused { mac: client.map(|c| c.mac), peer, stage, reason });
    }
}

/// Boot firmware gets short leases: each stage may come back as a new client (maas `dhcpd.conf.template`).
fn lease_secs(full: &FullDhcp, client: &Client) -> u32 {
    match client.class {
        ClientClass::Pxe | ClientClass::HttpBoot | ClientClass::Ipxe { .. } => full.boot_lease_secs,
        ClientClass::Agent | ClientClass::Plain => full.lease_secs,
    }
}
