//! A DHCP client's words and steps (RFC 2131, RFC 2132), without a socket or a clock.
//!
//! ```text
//!   Exchange::new ─ discover() ─►  on_packet(OFFER) ─► Step::Request(bytes) ─► on_packet(ACK) ─► Step::Bound(Lease)
//!                                                                              on_packet(NAK) ─► Step::Restart
//! ```
//!
//! The broadcast flag is always set: an interface without an address cannot answer ARP. Replies are matched by `xid` and
//! `chaddr`, since identical endpoints that start together can pick the same `xid`.
//!
//! It must never panic on any packet.

use std::net::Ipv4Addr;

use recovery_protocol::MacAddr;

/// Option 60: who asks.
pub const VENDOR_CLASS: &[u8] = b"groundstate-agent";

const MAGIC: [u8; 4] = [99, 130, 83, 99];
const FIXED_LEN: usize = 236;
/// BOOTP's minimum (RFC 1542 §2.1); some relays drop shorter ones.
const PACKET_MIN: usize = 300;

mod option {
    pub const MASK: u8 = 1;
    pub const ROUTER: u8 = 3;
    pub const REQUESTED_ADDRESS: u8 = 50;
    pub const LEASE_SECONDS: u8 = 51;
    pub const MESSAGE_TYPE: u8 = 53;
    pub const SERVER_ID: u8 = 54;
    pub const PARAMETERS: u8 = 55;
    pub const MESSAGE_SIZE: u8 = 57;
    pub const VENDOR_CLASS: u8 = 60;
}

const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const ACK: u8 = 5;
const NAK: u8 = 6;

/// An address for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Our address.
    pub address: Ipv4Addr,
    /// Length of the subnet prefix in bits, 0 to 32.
    pub prefix: u8,
    /// Default router, if any.
    pub router: Option<Ipv4Addr>,
    /// Who gave it (option 54).
    pub server: Ipv4Addr,
    /// Next server (`siaddr`), when not zero.
    pub next_server: Option<Ipv4Addr>,
    /// How long, in seconds.
    pub seconds: u32,
}

/// What to do after a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Broadcast these bytes: an offer was chosen.
    Request(Vec<u8>),
    /// The address is ours.
    Bound(Lease),
    /// The server took it back: start over with a new exchange.
    Restart,
}

/// One attempt to get, or to keep, an address.
#[derive(Debug)]
pub struct Exchange {
    mac: MacAddr,
    xid: u32,
    chosen: Option<Lease>,
}

impl Exchange {
    /// A fresh attempt; `xid` is random.
    pub fn new(mac: MacAddr, xid: u32) -> Self {
        Self { mac, xid, chosen: None }
    }

    /// An attempt to keep `lease` (RFC 2131 §4.3.2, RENEWING): broadcast [`Exchange::renewal`], expect Bound.
    pub fn renewing(mac: MacAddr, xid: u32, lease: Lease) -> Self {
        Self { mac, xid, chosen: Some(lease) }
    }

    /// The first message.
    pub fn discover(&self) -> Vec<u8> {
        self.packet(DISCOVER, Ipv4Addr::UNSPECIFIED, &[])
    }

    /// The message that keeps a lease; `None` without one.
    pub fn renewal(&self) -> Option<Vec<u8>> {
        self.chosen.map(|lease| self.packet(REQUEST, lease.address, &[]))
    }

    fn request(&self, offer: Lease) -> Vec<u8> {
        let wanted = offer.address.octets();
        let server = offer.server.octets();
        let more = [(option::REQUESTED_ADDRESS, wanted.as_slice()), (option::SERVER_ID, server.as_slice())];
        self.packet(REQUEST, Ipv4Addr::UNSPECIFIED, &more)
    }

    fn packet(&self, kind: u8, ciaddr: Ipv4Addr, more: &[(u8, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0_u8; FIXED_LEN];
        bytes[..3].copy_from_slice(&[1, 1, 6]); // BOOTREQUEST, Ethernet, 6-byte addresses
        bytes[4..8].copy_from_slice(&self.xid.to_be_bytes());
        bytes[10] = 0x80; // broadcast flag
        bytes[12..16].copy_from_slice(&ciaddr.octets());
        bytes[28..34].copy_from_slice(&self.mac.0);
        bytes.extend(MAGIC);
        let parameters = [option::MASK, option::ROUTER, option::LEASE_SECONDS, option::SERVER_ID];
        let common: [(u8, &[u8]); 4] = [
            (option::MESSAGE_TYPE, &[kind]),
            (option::MESSAGE_SIZE, &1500_u16.to_be_bytes()),
            (option::VENDOR_CLASS, VENDOR_CLASS),
            (option::PARAMETERS, &parameters),
        ];
        for (code, value) in common.iter().chain(more) {
            // Every value above is shorter than 256 bytes.
            bytes.extend([*code, value.len() as u8]);
            bytes.extend_from_slice(value);
        }
        bytes.push(255);
        bytes.resize(bytes.len().max(PACKET_MIN), 0);
        bytes
    }

    /// Takes one received packet; `None` when it is not for this attempt, or malformed.
    pub fn on_packet(&mut self, bytes: &[u8]) -> Option<Step> {
        let reply = Reply::parse(bytes)?;
        if reply.xid != self.xid || reply.mac != self.mac {
            return None;
        }
        match (reply.kind, self.chosen) {
            (OFFER, None) => {
                let lease = reply.lease()?;
                self.chosen = Some(lease);
                Some(Step::Request(self.request(lease)))
            }
            (ACK, Some(chosen)) => {
                let lease = reply.lease()?;
                (lease.address == chosen.address).then_some(Step::Bound(lease))
            }
            // A foreign server's NAK must not end our boot.
            (NAK, Some(chosen)) if reply.server == Some(chosen.server) => Some(Step::Restart),
            _ => None,
        }
    }
}

/// What we read of a BOOTREPLY.
#[derive(Debug)]
struct Reply {
    xid: u32,
    mac: MacAddr,
    kind: u8,
    yiaddr: Ipv4Addr,
    siaddr: Ipv4Addr,
    mask: Option<u32>,
    router: Option<Ipv4Addr>,
    server: Option<Ipv4Addr>,
    seconds: Option<u32>,
}

fn four(bytes: &[u8]) -> Option<[u8; 4]> {
    bytes.get(..4)?.try_into().ok()
}

impl Reply {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (fixed, rest) = bytes.split_at_checked(FIXED_LEN)?;
        let options = rest.strip_prefix(&MAGIC)?;
        if fixed[..3] != [2, 1, 6] {
            return None;
        }
        let mut reply = Self {
            xid: u32::from_be_bytes(four(&fixed[4..])?),
            mac: MacAddr(fixed[28..34].try_into().ok()?),
            kind: 0,
            yiaddr: four(&fixed[16..])?.into(),
            siaddr: four(&fixed[20..])?.into(),
            mask: None,
            router: None,
            server: None,
            seconds: None,
        };
        reply.read_options(options);
        (reply.kind != 0).then_some(reply)
    }

    /// Reads options up to the end mark or the first one that is cut off.
    fn read_options(&mut self, mut options: &[u8]) {
        while let Some((&code, rest)) = options.split_first() {
            options = match code {
                0 => rest,
                255 => return,
                _ => {
                    let Some((&len, rest)) = rest.split_first() else { return };
                    let Some((value, rest)) = rest.split_at_checked(usize::from(len)) else { return };
                    self.read_option(code, value);
                    rest
                }
            };
        }
    }

    fn read_option(&mut self, code: u8, value: &[u8]) {
        match code {
            option::MESSAGE_TYPE => self.kind = value.first().copied().unwrap_or(0),
            option::MASK => self.mask = four(value).map(u32::from_be_bytes),
            option::ROUTER => self.router = four(value).map(Ipv4Addr::from),
            option::SERVER_ID => self.server = four(value).map(Ipv4Addr::from),
            option::LEASE_SECONDS => self.seconds = four(value).map(u32::from_be_bytes),
            _ => {}
        }
    }

    /// The lease, when the reply holds a usable address and names its server.
    fn lease(&self) -> Option<Lease> {
        let usable =
            !self.yiaddr.is_unspecified() && !self.yiaddr.is_broadcast() && !self.yiaddr.is_multicast();
        let prefix = self.mask.unwrap_or(u32::MAX << 8).leading_ones() as u8;
        usable.then_some(Lease {
            address: self.yiaddr,
            prefix,
            router: self.router.filter(|router| !router.is_unspecified()),
            server: self.server?,
            next_server: Some(self.siaddr).filter(|next| !next.is_unspecified()),
            seconds: self.seconds.unwrap_or(3600),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAC: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);

    fn reply(xid: u32, kind: u8, server: [u8; 4]) -> Vec<u8> {
        let mut bytes = vec![0; FIXED_LEN];
        bytes[..3].copy_from_slice(&[2, 1, 6]);
        bytes[4..8].copy_from_slice(&xid.to_be_bytes());
        bytes[16..20].copy_from_slice(&[10, 0, 0, 9]);
        bytes[20..24].copy_from_slice(&[10, 0, 0, 2]);
        bytes[28..34].copy_from_slice(&MAC.0);
        bytes.extend(MAGIC);
        bytes.extend([53, 1, kind, 54, 4]);
        bytes.extend(server);
        bytes.extend([1, 4, 255, 255, 252, 0, 0, 0, 3, 4, 10, 0, 0, 1, 51, 4, 0, 0, 14, 16, 255]);
        bytes
    }

    #[test]
    fn an_offer_is_requested_and_an_ack_binds() {
        let mut exchange = Exchange::new(MAC, 7);
        let Some(Step::Request(request)) = exchange.on_packet(&reply(7, OFFER, [10, 0, 0, 1])) else {
            panic!("no request")
        };
        assert!(request.windows(6).any(|w| w == [50, 4, 10, 0, 0, 9]));
        assert!(request.windows(6).any(|w| w == [54, 4, 10, 0, 0, 1]));
        assert!(request.windows(VENDOR_CLASS.len()).any(|w| w == VENDOR_CLASS));
        let Some(Step::Bound(lease)) = exchange.on_packet(&reply(7, ACK, [10, 0, 0, 1])) else {
            panic!("not bound")
        };
        assert_eq!((lease.address, lease.prefix), (Ipv4Addr::new(10, 0, 0, 9), 22));
        assert_eq!(lease.router, Some(Ipv4Addr::new(10, 0, 0, 1)));
        assert_eq!(lease.next_server, Some(Ipv4Addr::new(10, 0, 0, 2)));
    }

    #[test]
    fn replies_for_others_are_passed_over() {
        let mut exchange = Exchange::new(MAC, 7);
        assert_eq!(exchange.on_packet(&reply(8, OFFER, [10, 0, 0, 1])), None);
        assert_eq!(exchange.on_packet(&reply(7, ACK, [10, 0, 0, 1])), None);
        let mut other = Exchange::new(MacAddr([2; 6]), 7);
        assert_eq!(other.on_packet(&reply(7, OFFER, [10, 0, 0, 1])), None);
    }

    #[test]
    fn only_the_chosen_server_may_refuse() {
        let mut exchange = Exchange::new(MAC, 7);
        exchange.on_packet(&reply(7, OFFER, [10, 0, 0, 1]));
        assert_eq!(exchange.on_packet(&reply(7, NAK, [10, 0, 0, 66])), None);
        assert_eq!(exchange.on_packet(&reply(7, NAK, [10, 0, 0, 1])), Some(Step::Restart));
    }

    #[test]
    fn every_request_is_as_long_as_relays_want_and_asks_for_broadcast() {
        let discover = Exchange::new(MAC, 1).discover();
        assert!(discover.len() >= PACKET_MIN && discover[10] == 0x80);
    }

    proptest! {
        #[test]
        fn no_packet_panics(bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
            let _ = Exchange::new(MAC, 7).on_packet(&bytes);
        }

        #[test]
        fn no_damaged_reply_panics(at in 0_usize..270, byte: u8, cut in 0_usize..270) {
            let mut bytes = reply(7, OFFER, [10, 0, 0, 1]);
            let len = bytes.len();
            bytes[at % len] = byte;
            bytes.truncate(len - cut % len);
            let mut exchange = Exchange::new(MAC, 7);
            let _ = exchange.on_packet(&bytes);
            let _ = exchange.on_packet(&bytes);
        }
    }
}
