//! Request and decision in, reply out: pure functions, one for each mode.
//!
//! ```text
//!            decision ─► Content (what to say of booting) ─► Fields ─► bytes
//!   proxy:   offer on 67 to DISCOVER only, never an address; acknowledgement on 4011
//!   full:    offer and acknowledgement on 67 with an address; boot fields by decision; 4011 too
//! ```
//!
//! OFFER and ACK are made by the same function from the same decision: a boot file in one but not the other ends in "Not
//! Found" (BeryJu/gravity#912). ProxyDHCP never carries an address and never refuses one.

use std::net::{Ipv4Addr, SocketAddrV4};

use dhcproto::v4::{DhcpOption, MessageType as Kind, OptionCode, UnknownOption};

use crate::client::{Arch, Client, ClientClass};
use crate::config::{DhcpMode, FullDhcp, Interface, Ports, Unarmed};
use crate::dhcp::encode::{Fields, encode};
use crate::dhcp::loader::{Loaders, NOT_ARMED};
use crate::dhcp::packet::{Request, code, sub_option};
use crate::event::Refusal;
use crate::policy::{Boot, BootDecision, OfferStyle};

/// PXE vendor options (PXE 2.1 table 2-1): discovery control 8 means "use the boot file in this offer, ask nobody".
const DISCOVERY_BYPASS: [u8; 4] = [6, 1, 8, 255];
/// PXE vendor option that names the wanted boot item.
const BOOT_ITEM: u8 = 71;

/// Where a reply goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// 255.255.255.255 at the client port, out of the interface on which the request came.
    Broadcast,
    /// One address.
    Unicast(SocketAddrV4),
}

/// What a reply says of booting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Nothing: an address only.
    Plain,
    /// Nothing to boot, but `siaddr` says where the appliance is: for our agent.
    Appliance,
    /// The firmware shall ask port 4011.
    AskBootServer,
    /// A boot file.
    File {
        /// Name or URL.
        file: String,
        /// What the firmware needs beside it: class echo, discovery control.
        options: Vec<DhcpOption>,
    },
}

impl Content {
    /// The boot file, if one is named.
    pub fn file(&self) -> Option<&str> {
        match self {
            Content::File { file, .. } => Some(file),
            Content::Plain | Content::Appliance | Content::AskBootServer => None,
        }
    }
}

/// The things of the site that a reply depends on.
#[derive(Debug, Clone)]
pub struct Site {
    /// The interface that was asked.
    pub interface: Interface,
    /// Loaders of the boot kit.
    pub loaders: Loaders,
    /// Ports.
    pub ports: Ports,
}

impl Site {
    fn boot_file(&self, client: &Client, boot: Boot) -> Result<String, Refusal> {
        self.loaders.boot_file(client, boot.chain, self.interface.addr, self.ports.http)
    }

    /// What a ProxyDHCP offer says.
    pub fn proxy_offer(&self, client: &Client, decision: BootDecision) -> Result<Content, Refusal> {
        let boot = allowed(client, decision)?;
        let file = self.boot_file(client, boot)?;
        let uefi = client.arch.is_some_and(Arch::is_uefi);
        let style = match (client.class, boot.style) {
            (ClientClass::HttpBoot, _) => {
                return Ok(Content::File { file, options: vec![class("HTTPClient")] });
            }
            (_, OfferStyle::Bypass) => OfferStyle::Bypass,
            (_, OfferStyle::BootServer) => OfferStyle::BootServer,
            (ClientClass::Pxe, OfferStyle::Auto) if uefi => OfferStyle::BootServer,
            (_, OfferStyle::Auto) => OfferStyle::Bypass,
        };
        Ok(match style {
            OfferStyle::BootServer => Content::AskBootServer,
            OfferStyle::Auto | OfferStyle::Bypass => {
                let bypass = DhcpOption::VendorExtensions(DISCOVERY_BYPASS.to_vec());
                Content::File { file, options: vec![class("PXEClient"), bypass] }
            }
        })
    }

    /// What the boot server port says. Rejects requests of the boot integrity layer (item layer with the high bit).
    pub fn boot_server(
        &self,
        request: &Request,
        client: &Client,
        decision: BootDecision,
    ) -> Result<Content, Refusal> {
        let boot = allowed(client, decision)?;
        let item = sub_option(request.option(code::VENDOR_INFO).unwrap_or_default(), BOOT_ITEM);
        if item.as_ref().is_some_and(|item| item.get(2).is_some_and(|layer| layer & 0x80 != 0)) {
            return Err(Refusal::Unsupported("boot integrity services".into()));
        }
        if client.class == ClientClass::HttpBoot {
            return Err(Refusal::NotBoot);
        }
        let file = self.boot_file(client, boot)?;
        let mut options = vec![class("PXEClient")];
        options.extend(item.map(|item| DhcpOption::VendorExtensions(echo_item(&item))));
        Ok(Content::File { file, options })
    }

    /// What a full DHCP reply says of booting, besides the address.
    pub fn full(&self, full: &FullDhcp, client: &Client, decision: BootDecision) -> Result<Content, Refusal> {
        let file = |file, options| Ok(Content::File { file, options });
        let server = self.interface.addr;
        match (decision, client.class) {
            (BootDecision::Nothing, _) => Err(Refusal::Muted),
            (_, ClientClass::Agent) => Ok(Content::Appliance),
            (_, ClientClass::Plain) | (BootDecision::AddressOnly, _) => Ok(Content::Plain),
            (BootDecision::RecoverySystem(boot), kind) => {
                // Option 60 = PXEClient without option 43 would send EDK2 to port 4011 (edk2#8149); HTTP Boot on the
                // other hand needs its class echoed, and iPXE would wait two seconds for a ProxyDHCP offer.
                let options = match kind {
                    ClientClass::HttpBoot => vec![class("HTTPClient")],
                    ClientClass::Ipxe { .. } => vec![no_proxy_follows(), log_server(server)],
                    ClientClass::Pxe | ClientClass::Agent | ClientClass::Plain => Vec::new(),
                };
                file(self.boot_file(client, boot)?, options)
            }
            (BootDecision::LocalDisk, kind) => match (full.unarmed, kind) {
                (Unarmed::Silent, _) => Err(Refusal::NoTicket),
                (Unarmed::FastRefuse, ClientClass::HttpBoot) => file(
                    self.loaders.http_boot_url(&server.to_string(), self.ports.http, NOT_ARMED),
                    vec![class("HTTPClient")],
                ),
                (Unarmed::FastRefuse, _) => file(NOT_ARMED.into(), Vec::new()),
            },
        }
    }

    /// The reply's bytes. `addr` is the address given with its lease in seconds, for full DHCP.
    pub fn write(
        &self,
        request: &Request,
        kind: Kind,
        content: &Content,
        addr: Option<(Ipv4Addr, Option<u32>)>,
    ) -> Result<Vec<u8>, Refusal> {
        let mut options = Vec::new();
        if let (Some((_, lease)), DhcpMode::Full(full)) = (addr, &self.interface.dhcp) {
            options.extend(address_options(&self.interface, full, lease));
        }
        match content {
            Content::Plain | Content::Appliance => {}
            Content::AskBootServer => options.push(class("PXEClient")),
            Content::File { options: more, .. } => options.extend(more.iter().cloned()),
        }
        let fields = Fields {
            kind,
            server: self.interface.addr,
            next_server: !matches!(content, Content::Plain),
            yiaddr: addr.map_or(Ipv4Addr::UNSPECIFIED, |(a, lease)| {
                if lease.is_some() { a } else { Ipv4Addr::UNSPECIFIED }
            }),
            file: content.file().map(Into::into),
            options,
        };
        encode(request, fields).map_err(|e| Refusal::Encode(e.to_string()))
    }

    /// Where a reply on port 67 goes: to the relay, to the address that the client has, else to everyone on the wire,
    /// since a client without an address cannot answer ARP. A refusal is never sent to an address.
    pub fn destination(&self, request: &Request, kind: Kind) -> Destination {
        if !request.giaddr.is_unspecified() {
            return Destination::Unicast(SocketAddrV4::new(request.giaddr, self.ports.dhcp));
        }
        if request.ciaddr.is_unspecified() || kind == Kind::Nak {
            return Destination::Broadcast;
        }
        Destination::Unicast(SocketAddrV4::new(request.ciaddr, self.ports.dhcp_client))
    }
}

/// The ticket of a boot client, or why there is none.
fn allowed(client: &Client, decision: BootDecision) -> Result<Boot, Refusal> {
    match (client.class, decision) {
        (ClientClass::Plain | ClientClass::Agent, _) => Err(Refusal::NotBoot),
        (_, BootDecision::RecoverySystem(boot)) => Ok(boot),
        (_, BootDecision::Nothing) => Err(Refusal::Muted),
        (_, BootDecision::LocalDisk | BootDecision::AddressOnly) => Err(Refusal::NoTicket),
    }
}

/// Option 60.
fn class(name: &str) -> DhcpOption {
    DhcpOption::ClassIdentifier(name.into())
}

/// iPXE's own option 175 with sub-option 176: no ProxyDHCP offer will follow (ipxe `src/include/ipxe/dhcp.h`,
/// `DHCP_EB_NO_PXEDHCP`).
fn no_proxy_follows() -> DhcpOption {
    DhcpOption::Unknown(UnknownOption::new(OptionCode::from(code::IPXE), vec![176, 1, 1]))
}

/// Option 7 (RFC 2132 section 3.9): where iPXE sends its messages, by address.
fn log_server(server: Ipv4Addr) -> DhcpOption {
    DhcpOption::Unknown(UnknownOption::new(OptionCode::from(7), server.octets().to_vec()))
}

fn echo_item(item: &[u8]) -> Vec<u8> {
    let item = &item[..item.len().min(4)];
    let mut out = vec![BOOT_ITEM, item.len() as u8];
    out.extend_from_slice(item);
    out.push(255);
    out
}

/// The options that come with an address. An INFORM (RFC 2131 section 3.4) gets them without lease times.
fn address_options(interface: &Interface, full: &FullDhcp, lease: Option<u32>) -> Vec<DhcpOption> {
    let mut options = vec![DhcpOption::SubnetMask(interface.mask())];
    options.extend(full.router.map(|r| DhcpOption::Router(vec![r])));
    if !full.dns.is_empty() {
        options.push(DhcpOption::DomainNameServer(full.dns.iter().take(4).copied().collect()));
    }
    if let Some(secs) = lease {
        options.push(DhcpOption::AddressLeaseTime(secs));
        options.push(DhcpOption::Renewal(secs / 2));
        options.push(DhcpOption::Rebinding(secs / 8 * 7));
    }
    options
}
