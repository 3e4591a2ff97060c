//! Reads DHCP requests (RFC 2131 section 2, RFC 2132) with a walk that never fails on one bad option.
//!
//! dhcproto's decoder stops silently at the first option that it cannot decode and so turns a PXE client into a plain
//! one; some options can even panic a debug build. Here options stay bytes: each reader looks at the one that it
//! wants and ignores what is malformed. The walk is bounded by the packet, never allocates more than its size, and
//! never panics.

use std::net::Ipv4Addr;

use crate::client::Mac;

/// Fixed part before the options: 236 bytes of BOOTP and the magic cookie.
pub const HEADER_LEN: usize = 240;
/// Magic cookie of RFC 2131 section 3.
pub const COOKIE: [u8; 4] = [99, 130, 83, 99];

/// Option codes used here (RFC 2132, 3046, 3004, 4578, and 175 of iPXE).
pub mod code {
    /// Requested IP address.
    pub const REQUESTED_ADDR: u8 = 50;
    /// DHCP message type.
    pub const MESSAGE_TYPE: u8 = 53;
    /// Server identifier.
    pub const SERVER_ID: u8 = 54;
    /// Vendor-specific information.
    pub const VENDOR_INFO: u8 = 43;
    /// Maximum DHCP message size.
    pub const MESSAGE_SIZE: u8 = 57;
    /// Vendor class identifier.
    pub const VENDOR_CLASS: u8 = 60;
    /// Boot file name.
    pub const BOOT_FILE: u8 = 67;
    /// User class.
    pub const USER_CLASS: u8 = 77;
    /// Relay agent information.
    pub const RELAY_INFO: u8 = 82;
    /// Client system architecture.
    pub const ARCH: u8 = 93;
    /// Client machine identifier.
    pub const MACHINE_ID: u8 = 97;
    /// iPXE's encapsulated options.
    pub const IPXE: u8 = 175;
}

/// Message types (RFC 2132 section 9.6) that arrive at a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageType {
    /// 1
    Discover,
    /// 3
    Request,
    /// 4
    Decline,
    /// 7
    Release,
    /// 8
    Inform,
    /// Anything else.
    Other(u8),
}

impl From<u8> for MessageType {
    fn from(code: u8) -> Self {
        match code {
            1 => MessageType::Discover,
            3 => MessageType::Request,
            4 => MessageType::Decline,
            7 => MessageType::Release,
            8 => MessageType::Inform,
            other => MessageType::Other(other),
        }
    }
}

/// Why a datagram is not a DHCP request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotDhcp {
    /// Shorter than the fixed part.
    #[error("{0} bytes are too short for DHCP")]
    Short(usize),
    /// Not the operation that was expected: BOOTREQUEST is 1, BOOTREPLY 2.
    #[error("operation {0} is not expected here")]
    Op(u8),
    /// Hardware address length 0 or above 16.
    #[error("hardware address length {0} is impossible")]
    HardwareLen(u8),
    /// No magic cookie.
    #[error("the magic cookie is missing")]
    Cookie,
    /// No message type: plain BOOTP.
    #[error("no message type: plain BOOTP is not served")]
    Bootp,
}

/// A request, with its options as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Message type (option 53).
    pub kind: MessageType,
    /// Hardware type.
    pub htype: u8,
    /// Transaction.
    pub xid: u32,
    /// Seconds since the client began.
    pub secs: u16,
    /// Flags; the highest bit asks for a broadcast reply.
    pub flags: u16,
    /// The client's own address, if it has one.
    pub ciaddr: Ipv4Addr,
    /// Relay's address, if relayed.
    pub giaddr: Ipv4Addr,
    /// Hardware address, `hlen` bytes of `chaddr`.
    pub mac: Mac,
    options: Vec<(u8, Vec<u8>)>,
}

impl Request {
    /// Reads a datagram.
    pub fn parse(raw: &[u8]) -> Result<Self, NotDhcp> {
        let (head, kind, mac, options) = read(raw, 1)?;
        let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        Ok(Request {
            kind: MessageType::from(kind),
            htype: head[1],
            xid: word(4),
            secs: (word(8) >> 16) as u16,
            flags: (word(8) & 0xffff) as u16,
            ciaddr: word(12).into(),
            giaddr: word(24).into(),
            mac,
            options,
        })
    }

    /// The bytes of an option, joined when it was split (RFC 3396).
    pub fn option(&self, code: u8) -> Option<&[u8]> {
        find(&self.options, code)
    }

    /// An option that holds one address.
    pub fn addr_option(&self, code: u8) -> Option<Ipv4Addr> {
        let four: [u8; 4] = self.option(code)?.get(..4)?.try_into().ok()?;
        Some(four.into())
    }
}

/// A server's reply, as far as an onlooker needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Message type (option 53).
    pub kind: u8,
    /// Whom it answers.
    pub mac: Mac,
    /// The address given.
    pub yiaddr: Ipv4Addr,
    /// The header names a boot file.
    pub names_file: bool,
    options: Vec<(u8, Vec<u8>)>,
}

impl Reply {
    /// Reads a datagram.
    ///
    /// # Errors
    /// [`NotDhcp`].
    pub fn parse(raw: &[u8]) -> Result<Self, NotDhcp> {
        let (head, kind, mac, options) = read(raw, 2)?;
        let yiaddr = Ipv4Addr::new(head[16], head[17], head[18], head[19]);
        Ok(Reply { kind, mac, yiaddr, names_file: head[108] != 0, options })
    }

    /// The bytes of an option.
    #[must_use]
    pub fn option(&self, code: u8) -> Option<&[u8]> {
        find(&self.options, code)
    }

    /// An option that holds one address.
    #[must_use]
    pub fn addr_option(&self, code: u8) -> Option<Ipv4Addr> {
        let four: [u8; 4] = self.option(code)?.get(..4)?.try_into().ok()?;
        Some(four.into())
    }
}

type Options = Vec<(u8, Vec<u8>)>;

/// Header, message type, hardware address and options of a message of operation `op`.
fn read(raw: &[u8], op: u8) -> Result<(&[u8], u8, Mac, Options), NotDhcp> {
    let Some((head, tail)) = raw.split_at_checked(HEADER_LEN) else {
        return Err(NotDhcp::Short(raw.len()));
    };
    if head[0] != op {
        return Err(NotDhcp::Op(head[0]));
    }
    let hlen = head[2];
    let mac = (hlen <= 16).then(|| Mac::from_slice(&head[28..28 + usize::from(hlen)])).flatten();
    let mac = mac.ok_or(NotDhcp::HardwareLen(hlen))?;
    if head[236..240] != COOKIE {
        return Err(NotDhcp::Cookie);
    }
    let options = walk(tail);
    let kind = find(&options, code::MESSAGE_TYPE).and_then(|d| d.first()).copied().ok_or(NotDhcp::Bootp)?;
    Ok((head, kind, mac, options))
}

fn find(options: &[(u8, Vec<u8>)], code: u8) -> Option<&[u8]> {
    options.iter().find(|(c, _)| *c == code).map(|(_, data)| data.as_slice())
}

/// Walks type-length-value options: 0 is padding, 255 ends, and an option cut off by the end of the packet ends the walk
/// with what was read so far. Option overload (52) is not followed: no boot client uses it.
fn walk(mut raw: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut options: Vec<(u8, Vec<u8>)> = Vec::new();
    while let Some((&code, rest)) = raw.split_first() {
        match code {
            0 => raw = rest,
            255 => break,
            _ => {
                let Some((&len, rest)) = rest.split_first() else { break };
                let Some((data, rest)) = rest.split_at_checked(usize::from(len)) else { break };
                match options.iter_mut().find(|(c, _)| *c == code) {
                    Some((_, known)) => known.extend_from_slice(data),
                    None => options.push((code, data.to_vec())),
                }
                raw = rest;
            }
        }
    }
    options
}

/// Reads the sub-options of 43 or 175: one byte code, one byte length, data; 255 ends.
pub fn sub_option(data: &[u8], wanted: u8) -> Option<Vec<u8>> {
    walk(data).into_iter().find(|(code, _)| *code == wanted).map(|(_, data)| data)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dhcp::fixtures;

    #[test]
    fn j1_a_bad_option_does_not_hide_the_ones_after_it() {
        let raw = fixtures::Packet::discover(1)
            .option(12, &[0xff, 0xfe])
            .option(81, &[0])
            .option(150, &[10, 0, 0, 1, 10, 0, 0, 2])
            .option(94, &[9])
            .option(code::VENDOR_CLASS, b"PXEClient")
            .build();
        let request = Request::parse(&raw).expect("tolerated");
        assert_eq!(request.option(code::VENDOR_CLASS), Some(&b"PXEClient"[..]));
    }

    #[test]
    fn j2_option_lengths_that_trip_asserts_elsewhere_are_plain_bytes() {
        let raw =
            fixtures::Packet::discover(1).option(80, &[1, 2, 3]).option(81, &[]).option(151, &[]).build();
        assert!(Request::parse(&raw).is_ok());
    }

    #[test]
    fn a_cut_off_option_ends_the_walk_and_keeps_the_rest() {
        let mut raw = fixtures::Packet::discover(1).option(60, b"PXEClient").build();
        let end = raw.iter().rposition(|b| *b == 255).expect("END");
        raw.truncate(end);
        raw.extend_from_slice(&[93, 200, 0]);
        let request = Request::parse(&raw).expect("tolerated");
        assert_eq!(request.option(60), Some(&b"PXEClient"[..]));
        assert_eq!(request.option(93), None);
    }

    #[test]
    fn split_options_are_joined() {
        let raw = fixtures::Packet::discover(1).option(43, &[1, 2]).option(43, &[3]).build();
        assert_eq!(Request::parse(&raw).expect("valid").option(43), Some(&[1, 2, 3][..]));
    }

    #[test]
    fn malformed_packets_are_refused_by_name() {
        let good = fixtures::ovmf_pxe(1);
        assert_eq!(Request::parse(&[]), Err(NotDhcp::Short(0)));
        assert_eq!(Request::parse(&good[..239]), Err(NotDhcp::Short(239)));
        let with = |at: usize, value: u8| {
            let mut raw = good.clone();
            raw[at] = value;
            Request::parse(&raw).map(|_| ())
        };
        assert_eq!(with(0, 2), Err(NotDhcp::Op(2)));
        assert_eq!(with(2, 17), Err(NotDhcp::HardwareLen(17)));
        assert_eq!(with(2, 0), Err(NotDhcp::HardwareLen(0)));
        assert_eq!(with(2, 16), Ok(()));
        assert_eq!(with(236, 0), Err(NotDhcp::Cookie));
        assert_eq!(Request::parse(&good[..HEADER_LEN]).map(|_| ()), Err(NotDhcp::Bootp));
    }

    proptest! {
        #[test]
        fn parsing_never_panics(raw in proptest::collection::vec(any::<u8>(), 0..700)) {
            let _ = Request::parse(&raw);
        }

        #[test]
        fn parsing_never_panics_on_a_real_packet_with_damage(
            hits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..24),
            keep in any::<prop::sample::Index>(),
        ) {
            let mut raw = fixtures::ovmf_pxe(1);
            for (at, value) in hits {
                let at = at.index(raw.len());
                raw[at] = value;
            }
            raw.truncate(keep.index(raw.len() + 1));
            if let Ok(request) = Request::parse(&raw) {
                let total: usize = request.options.iter().map(|(_, d)| d.len()).sum();
                prop_assert!(total <= raw.len());
                let _ = sub_option(request.option(43).unwrap_or_default(), 71);
            }
        }
    }
}
