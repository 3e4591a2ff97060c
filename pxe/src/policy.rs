//! The one decision: what a boot request is answered with.
//!
//! The appliance implements [`BootPolicy`] from its boot tickets. The same function is asked for DHCP, for the boot
//! server port, for TFTP and for HTTP, so that no protocol lets through what another refused (confluent had such a
//! hole: xcat2/confluent#265; smee another: tinkerbell#223).

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::client::Client;
use crate::dhcp::reserved::Reservations;

/// Where in the boot the request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// DHCPDISCOVER on port 67.
    Discover,
    /// DHCPREQUEST or DHCPINFORM on port 67.
    Request,
    /// A request to the boot server port 4011 (PXE 2.1 section 2.2.4).
    BootServer,
    /// An IPv6 router solicitation, answered with "no router" so that iPXE need not wait for one.
    RouterSolicit,
    /// A TFTP read request.
    Tftp,
    /// An HTTP request for a boot file.
    Http,
}

impl Stage {
    /// The protocol that it belongs to, as counters and the evidence log name it.
    #[must_use]
    pub fn protocol(self) -> &'static str {
        match self {
            Stage::Discover | Stage::Request | Stage::BootServer => "dhcp",
            Stage::RouterSolicit => "ndp",
            Stage::Tftp => "tftp",
            Stage::Http => "http",
        }
    }
}

/// One question to the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootRequest {
    /// Who asks, as far as it is known.
    pub client: Client,
    /// In which step of the boot.
    pub stage: Stage,
    /// Our address on the interface that was asked.
    pub interface: Ipv4Addr,
}

/// The order of loaders that leads to the recovery system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Chain {
    /// Firmware, iPXE over TFTP, script and kernel over HTTP. Needs Secure Boot off; works beside a site's DHCP.
    Ipxe,
    /// Firmware, Microsoft-signed shim, signed GRUB, kernel over TFTP. For Secure Boot; needs full DHCP mode, since
    /// GRUB does not read ProxyDHCP offers (rhboot/grub2#87).
    Shim,
    /// UEFI HTTP Boot straight to the recovery system's unified kernel image.
    UefiHttp,
    /// Legacy BIOS: undionly iPXE over TFTP, then kernel and initrd over HTTP.
    Bios,
}

/// How ProxyDHCP tells a PXE firmware its boot file (PXE 2.1 section 2.2.3). Firmware of both schools exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OfferStyle {
    /// UEFI asks port 4011, BIOS and iPXE get the file in the offer.
    #[default]
    Auto,
    /// The file stands in the offer, with discovery control 8 (`PXE_DISCOVERY_CONTROL`, "just use the file").
    Bypass,
    /// The offer only says who we are; the firmware asks port 4011 for the file.
    BootServer,
}

/// How to boot the recovery system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Boot {
    /// The preferred chain; a firmware that cannot follow it is given the one that it can (see `dhcp::loader`).
    pub chain: Chain,
    /// Per-endpoint override of the way the offer is made.
    pub style: OfferStyle,
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BootDecision {
    /// A live boot ticket: the endpoint may boot the recovery system.
    RecoverySystem(Boot),
    /// No ticket: the endpoint shall start from its own disk. Plain clients get an address in full DHCP mode; boot
    /// firmware gets what [`crate::Unarmed`] says.
    LocalDisk,
    /// An address in full DHCP mode, also for boot firmware, but never a boot file.
    AddressOnly,
    /// No answer on any port.
    Nothing,
}

impl From<Chain> for BootDecision {
    fn from(chain: Chain) -> Self {
        BootDecision::RecoverySystem(Boot { chain, style: OfferStyle::Auto })
    }
}

/// Owned here, implemented by the appliance in one adapter file.
pub trait BootPolicy: Send + Sync {
    /// Decides one request. Called for every packet, so it must be cheap, must not block, and must not change anything:
    /// asking twice gives the same answer. `request.client` is unproven.
    fn decide(&self, request: &BootRequest) -> BootDecision;

    /// Addresses that full DHCP keeps for endpoints, beside those of the configuration; `None`: none. Asked for every packet:
    /// the same list again is the same `Arc`.
    fn reservations(&self) -> Option<Reservations> {
        None
    }
}

impl<F> BootPolicy for F
where
    F: Fn(&BootRequest) -> BootDecision + Send + Sync,
{
    fn decide(&self, request: &BootRequest) -> BootDecision {
        self(request)
    }
}
