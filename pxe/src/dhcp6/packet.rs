//! DHCPv6 messages (RFC 8415): a tolerant walk over requests, and a writer of options.
//!
//! A request is read option by option; one that is cut off ends the walk and spoils nothing before it, as with DHCPv4 (J1). It must
//! never panic, whatever comes.

use std::net::Ipv6Addr;

use crate::client::Mac;

/// Longest reply: EDK2 passes over what is longer (`HttpBootDhcp6.h`).
pub const REPLY_LEN_MAX: usize = 1472;

/// Option codes (RFC 8415 section 21, RFC 5970 section 3).
pub mod code {
    #![allow(missing_docs)]
    pub const CLIENT_ID: u16 = 1;
    pub const SERVER_ID: u16 = 2;
    pub const IA_NA: u16 = 3;
    pub const IA_ADDR: u16 = 5;
    pub const ELAPSED: u16 = 8;
    pub const STATUS: u16 = 13;
    pub const USER_CLASS: u16 = 15;
    pub const VENDOR_CLASS: u16 = 16;
    pub const BOOT_URL: u16 = 59;
    pub const ARCH: u16 = 61;
}

/// Message types (RFC 8415 section 7.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageType {
    /// 1.
    Solicit,
    /// 3.
    Request,
    /// 4.
    Confirm,
    /// 5.
    Renew,
    /// 6.
    Rebind,
    /// 8.
    Release,
    /// 9.
    Decline,
    /// 11.
    InformationRequest,
    /// What a server does not answer; relays among them, which an isolated network has none of.
    Other(u8),
}

impl From<u8> for MessageType {
    fn from(kind: u8) -> Self {
        match kind {
            1 => MessageType::Solicit,
            3 => MessageType::Request,
            4 => MessageType::Confirm,
            5 => MessageType::Renew,
            6 => MessageType::Rebind,
            8 => MessageType::Release,
            9 => MessageType::Decline,
            11 => MessageType::InformationRequest,
            other => MessageType::Other(other),
        }
    }
}

/// A request that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a DHCPv6 message of {0} bytes, which has no room for its header")]
pub struct TooShort(pub usize);

/// A message of a client, by reference.
#[derive(Debug, Clone, Copy)]
pub struct Request<'r> {
    /// Its type.
    pub kind: MessageType,
    /// Its transaction.
    pub xid: [u8; 3],
    options: &'r [u8],
}

impl<'r> Request<'r> {
    /// Reads the header; options are read when they are asked for.
    ///
    /// # Errors
    /// [`TooShort`].
    pub fn parse(raw: &'r [u8]) -> Result<Self, TooShort> {
        let (&[kind, x, y, z], options) = raw.split_first_chunk().ok_or(TooShort(raw.len()))?;
        Ok(Request { kind: kind.into(), xid: [x, y, z], options })
    }

    /// The first option with this code.
    #[must_use]
    pub fn option(&self, code: u16) -> Option<&'r [u8]> {
        options(self.options).find(|(found, _)| *found == code).map(|(_, data)| data)
    }

    /// Each identity association for an address: its identifier and the addresses in it.
    pub fn associations(&self) -> impl Iterator<Item = ([u8; 4], Vec<Ipv6Addr>)> {
        let all = options(self.options).filter(|(found, _)| *found == code::IA_NA);
        all.filter_map(|(_, data)| {
            let (id, rest) = data.split_first_chunk::<4>()?;
            // T1 and T2 come first, which are the server's to say.
            let inner = options(rest.get(8..)?).filter(|(found, _)| *found == code::IA_ADDR);
            let addrs = inner.filter_map(|(_, data)| data.first_chunk::<16>().copied().map(Ipv6Addr::from));
            Some((*id, addrs.collect()))
        })
    }

    /// The hardware address inside the client's identifier, where it has one for Ethernet (RFC 8415 sections 11.2 and 11.4).
    #[must_use]
    pub fn mac_of_identifier(&self) -> Option<Mac> {
        let six: &[u8; 6] = match self.option(code::CLIENT_ID)? {
            [0, 1, 0, 1, _, _, _, _, mac @ ..] => mac.try_into().ok()?,
            [0, 3, 0, 1, mac @ ..] => mac.try_into().ok()?,
            _ => return None,
        };
        Some((*six).into())
    }

    /// The first vendor class, without the number of who defined it.
    #[must_use]
    pub fn vendor_class(&self) -> &'r [u8] {
        let data = self.option(code::VENDOR_CLASS).and_then(|data| data.get(4..)).unwrap_or_default();
        // Some early firmware left the length out.
        listed(data).next().unwrap_or(data)
    }

    /// Whether this is among the user classes.
    #[must_use]
    pub fn has_user_class(&self, class: &[u8]) -> bool {
        let data = self.option(code::USER_CLASS).unwrap_or_default();
        data == class || listed(data).any(|found| found == class)
    }
}

/// Options one after the other: code, length, data.
fn options(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (&[a, b, c, d], tail) = rest.split_first_chunk()?;
        let (data, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes([c, d])))?;
        rest = tail;
        Some((u16::from_be_bytes([a, b]), data))
    })
}

/// Data one after the other, each behind its length.
fn listed(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (len, tail) = rest.split_first_chunk::<2>()?;
        let (data, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
        rest = tail;
        Some(data)
    })
}

/// A reply in the making.
#[derive(Debug)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// A message of this type for a transaction.
    #[must_use]
    pub fn new(kind: u8, xid: [u8; 3]) -> Self {
        Writer([&[kind][..], &xid].concat())
    }

    /// Adds an option. What is longer than an option can be is left out: nothing that we write is.
    #[must_use]
    pub fn option(mut self, code: u16, data: &[u8]) -> Self {
        if let Ok(len) = u16::try_from(data.len()) {
            self.0.extend(code.to_be_bytes());
            self.0.extend(len.to_be_bytes());
            self.0.extend(data);
        }
        self
    }

    /// The message.
    ///
    /// # Errors
    /// Its length, when firmware would pass it over.
    pub fn finish(self) -> Result<Vec<u8>, usize> {
        if self.0.len() > REPLY_LEN_MAX { Err(self.0.len()) } else { Ok(self.0) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_damaged_option_spoils_nothing_before_it() {
        let whole = Writer::new(1, [1, 2, 3]).option(code::ARCH, &[0, 16]).option(code::ELAPSED, &[0, 9]).0;
        for cut in 1..6 {
            let raw = &whole[..whole.len() - cut];
            let request = Request::parse(raw).unwrap();
            assert_eq!((request.kind, request.xid), (MessageType::Solicit, [1, 2, 3]));
            assert_eq!(
                (request.option(code::ARCH), request.option(code::ELAPSED)),
                (Some(&[0, 16][..]), None)
            );
        }
        assert_eq!(Request::parse(&whole[..3]).unwrap_err(), TooShort(3));
    }

    #[test]
    fn a_hardware_address_is_found_in_identifiers_that_have_one() {
        let mac = [0x52, 0x54, 0, 0x77, 0, 9];
        let of = |duid: &[u8]| {
            let raw = Writer::new(1, [0; 3]).option(code::CLIENT_ID, duid).0;
            Request::parse(&raw).unwrap().mac_of_identifier()
        };
        assert_eq!(of(&[&[0, 1, 0, 1, 9, 9, 9, 9][..], &mac].concat()), Some(mac.into()), "with a time");
        assert_eq!(of(&[&[0, 3, 0, 1][..], &mac].concat()), Some(mac.into()));
        assert_eq!(of(&[&[0, 3, 0, 6][..], &mac].concat()), None, "not Ethernet");
        assert_eq!(of(&[&[0, 4][..], &[7; 16]].concat()), None, "a UUID, as EDK2 has");
        assert_eq!(of(&[&[0, 3, 0, 1][..], &mac[..5]].concat()), None);
    }

    #[test]
    fn classes_are_read_with_and_without_their_length() {
        let with = [&[0, 0, 1, 0x57, 0, 10][..], b"HTTPClient"].concat();
        let without = [&[0, 0, 1, 0x57][..], b"HTTPClient"].concat();
        for data in [with, without] {
            let raw = Writer::new(1, [0; 3]).option(code::VENDOR_CLASS, &data).0;
            assert_eq!(Request::parse(&raw).unwrap().vendor_class(), b"HTTPClient");
        }
        for data in [&b"\0\x04iPXE"[..], b"iPXE", b"\0\x01x\0\x04iPXE"] {
            let raw = Writer::new(1, [0; 3]).option(code::USER_CLASS, data).0;
            assert!(Request::parse(&raw).unwrap().has_user_class(b"iPXE"));
        }
    }

    proptest! {
        #[test]
        fn junk_is_read_without_a_panic(raw in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(request) = Request::parse(&raw) {
                let _ = (request.mac_of_identifier(), request.vendor_class(), request.has_user_class(b"iPXE"));
                prop_assert!(request.associations().count() <= raw.len());
            }
        }
    }
}
