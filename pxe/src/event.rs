//! What the boot layer tells the appliance: each hop of a boot, each refusal, each foreign DHCP server.
//!
//! Events are facts with the client's claims in them, bounded in size and escaped by whoever prints them. They are the
//! raw material of an endpoint's boot trace. This file holds no logic.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::client::{Client, Mac};
use crate::policy::Stage;

/// Receives events. Implemented by the appliance.
pub trait BootEvents: Send + Sync {
    /// Takes one event. Called from the packet path: it must not block; a slow receiver queues, bounded, and drops.
    fn event(&self, event: BootEvent);
}

impl<F> BootEvents for F
where
    F: Fn(BootEvent) + Send + Sync,
{
    fn event(&self, event: BootEvent) {
        self(event);
    }
}

/// The protocol of a file transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// RFC 1350.
    Tftp,
    /// HTTP/1.1.
    Http,
}

/// Who fetches a file: always an address, and the hardware address where it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetcher {
    /// Address and port.
    pub peer: SocketAddr,
    /// Hardware address, from DHCP or from the kernel's neighbour table.
    pub mac: Option<Mac>,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BootEvent {
    /// A DHCPDISCOVER was seen. `secs` is the client's own count since it began: above 30 at first sight means that a
    /// switch held the port back (spanning tree).
    DiscoverSeen {
        /// Who asks.
        client: Client,
        /// Our address on the interface.
        interface: Ipv4Addr,
        /// Field `secs`.
        secs: u16,
        /// Address of the relay that forwarded it, if any.
        relay: Option<Ipv4Addr>,
    },
    /// An offer went out.
    OfferSent {
        /// To whom.
        client: Client,
        /// The address offered, `None` for ProxyDHCP.
        addr: Option<Ipv4Addr>,
        /// The boot file named, if any.
        file: Option<String>,
    },
    /// An acknowledgement went out, on port 67 or 4011.
    AckSent {
        /// To whom; `client.addr` is its address.
        client: Client,
        /// Which port.
        stage: Stage,
        /// The boot file named, if any.
        file: Option<String>,
    },
    /// A DHCPNAK went out.
    NakSent {
        /// To whom.
        client: Client,
        /// The address that it asked for.
        wanted: Ipv4Addr,
    },
    /// A transfer began. `size` in bytes.
    TransferStarted {
        /// Who.
        fetcher: Fetcher,
        /// Protocol.
        protocol: Protocol,
        /// Table name of the artefact.
        name: String,
        /// Bytes to send.
        size: u64,
        /// The options granted of those that were asked, in words; empty without any and over HTTP.
        options: String,
    },
    /// A transfer reached the peer in full.
    TransferFinished {
        /// Who.
        fetcher: Fetcher,
        /// Protocol.
        protocol: Protocol,
        /// Table name of the artefact.
        name: String,
        /// Bytes sent, without repeats.
        bytes: u64,
        /// From first packet to last.
        took: Duration,
        /// Packets sent again after a loss.
        resent: u64,
    },
    /// A transfer ended early.
    TransferAborted {
        /// Who.
        fetcher: Fetcher,
        /// Protocol.
        protocol: Protocol,
        /// Table name of the artefact.
        name: String,
        /// Bytes that the peer had confirmed.
        bytes: u64,
        /// Why.
        reason: Abort,
    },
    /// Something was asked and not given.
    Refused {
        /// Who asks, if known.
        mac: Option<Mac>,
        /// Their address, if they have one.
        peer: Option<SocketAddr>,
        /// In which step.
        stage: Stage,
        /// Why.
        reason: Refusal,
    },
    /// A DHCP server that is not ours was named in a request on this interface. Expected in proxy mode; an alarm in full
    /// mode.
    ForeignDhcpServer {
        /// Its identifier (option 54).
        server: Ipv4Addr,
        /// Our address on the interface.
        interface: Ipv4Addr,
        /// The client that chose it.
        client: Mac,
    },
    /// Someone uses an address of our pool, or one that is reserved, without a lease of it. Nobody else is given it for now.
    AddressInUse {
        /// The address.
        addr: Ipv4Addr,
        /// Who uses it.
        by: Mac,
        /// Who has a lease of it, if anyone: these two disturb each other.
        holder: Option<Mac>,
        /// Our address on the interface.
        interface: Ipv4Addr,
    },
    /// A loader said something by syslog.
    LoaderSaid {
        /// Whose address it came from.
        mac: Mac,
        /// Address and port.
        peer: SocketAddr,
        /// One line, at most 128 characters, control characters replaced.
        text: String,
    },
    /// A server that is not ours answered a client, or our probe, on this interface.
    ForeignOffer {
        /// Its identifier (option 54), or where its answer came from.
        server: Ipv4Addr,
        /// Our address on the interface.
        interface: Ipv4Addr,
        /// Whom it answered.
        client: Mac,
        /// It gives an address.
        gives: bool,
        /// It names a boot file, or speaks as a boot server.
        boots: bool,
    },
}

/// Why a transfer ended early.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Abort {
    /// The peer asked for the size only: EDK2 and GRUB do so before the real request.
    #[error("the firmware only asked for the size")]
    Probe,
    /// The peer sent a TFTP error.
    #[error("the endpoint ended it: error {code}, `{message}`")]
    ByPeer {
        /// TFTP error code.
        code: u16,
        /// Its text, at most 128 characters, control characters replaced.
        message: String,
    },
    /// No answer after all repeats.
    #[error("no answer from the endpoint after {tries} tries")]
    Silent {
        /// Number of repeats.
        tries: u32,
    },
    /// The peer closed its port in the middle.
    #[error("the endpoint closed its port")]
    PortClosed,
    /// The socket failed.
    #[error("network error: {0}")]
    Network(String),
    /// We are shutting down.
    #[error("the appliance is stopping")]
    Stopping,
}

/// Why something was not answered, or was answered with an error. Each is counted; none stops the service.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// The packet could not be read.
    #[error("malformed packet: {0}")]
    Malformed(String),
    /// The policy gave no boot ticket.
    #[error("no live boot ticket for this endpoint")]
    NoTicket,
    /// The policy said to keep silent.
    #[error("the boot policy says not to answer")]
    Muted,
    /// The interface is in observe mode.
    #[error("this interface only observes")]
    Observing,
    /// The requester's hardware address is not known, so no ticket can be found.
    #[error("the hardware address behind this address is unknown")]
    UnknownClient,
    /// No loader in the boot kit fits the firmware.
    #[error("the boot kit has no loader for this firmware ({0})")]
    NoLoader(String),
    /// In proxy mode, an ordinary client: the site's own DHCP serves it.
    #[error("not a boot request; the site's DHCP serves it")]
    NotBoot,
    /// A request for another DHCP server.
    #[error("the client chose another DHCP server")]
    OtherServer,
    /// A message type that needs no answer here.
    #[error("DHCP message type {0} is not answered here")]
    MessageType(u8),
    /// No free address.
    #[error("no free address in the pool; widen it or shorten the leases")]
    PoolEmpty,
    /// The client asked to keep an address that it does not hold.
    #[error("the client asks for an address that it does not hold")]
    NotLeased,
    /// The reply would not fit or a name is too long.
    #[error("the reply cannot be encoded: {0}")]
    Encode(String),
    /// Unknown file.
    #[error("no such file: `{0}`")]
    NotFound(String),
    /// A method, mode or operation that is not supported.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// A limit was reached.
    #[error("too many transfers ({0})")]
    Busy(String),
    /// The sender is outside the prefixes of this interface.
    #[error("sender is not on this interface's network")]
    OffLink,
}

impl Refusal {
    /// Its stable name, for counters and the evidence log.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::Malformed(_) => "malformed",
            Refusal::NoTicket => "no-ticket",
            Refusal::Muted => "muted",
            Refusal::Observing => "observing",
            Refusal::UnknownClient => "unknown-client",
            Refusal::NoLoader(_) => "no-loader",
            Refusal::NotBoot => "not-boot",
            Refusal::OtherServer => "other-server",
            Refusal::MessageType(_) => "message-type",
            Refusal::PoolEmpty => "pool-empty",
            Refusal::NotLeased => "not-leased",
            Refusal::Encode(_) => "not-encodable",
            Refusal::NotFound(_) => "not-found",
            Refusal::Unsupported(_) => "unsupported",
            Refusal::Busy(_) => "busy",
            Refusal::OffLink => "off-link",
        }
    }

    /// Whether a healthy network is full of it: other people's DHCP, and files that loaders only try.
    #[must_use]
    pub fn is_ordinary(&self) -> bool {
        matches!(
            self,
            Refusal::Muted
                | Refusal::Observing
                | Refusal::NotBoot
                | Refusal::OtherServer
                | Refusal::MessageType(_)
                | Refusal::NotLeased
                | Refusal::NotFound(_)
        )
    }
}

/// Shortens and cleans text that came from outside, for events and logs.
pub(crate) fn clean(raw: &[u8]) -> String {
    let text = String::from_utf8_lossy(&raw[..raw.len().min(128)]);
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
