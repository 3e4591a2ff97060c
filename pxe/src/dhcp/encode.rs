//! Writes DHCP replies: dhcproto behind a guard.
//!
//! dhcproto asserts on long names, writes no END for an empty option set and does not pad; small replies are dropped by
//! some relays and old ROMs, large ones by EDK2, and ROMs read past an option that is not NUL-terminated. So: lengths are
//! checked first, the file name stands in the header and NUL-terminated in option 67, END is last, zero padding follows
//! it to 300 bytes, and no reply is longer than the client can take, at most 1472. Never written: option 52 (overload),
//! 13 (size in blocks, EDK2 would trust it), 66 (a name where clients want an address).

use std::net::Ipv4Addr;

use dhcproto::v4::{
    DhcpOption, Encodable, Encoder, Flags, HType, Message, Opcode, OptionCode, UnknownOption,
};

use crate::dhcp::packet::{HEADER_LEN, Request, code};

/// Smallest reply, in bytes of UDP payload (BOOTP's fixed size, which old relays insist on).
pub const REPLY_LEN_MIN: usize = 300;
/// Largest reply (EDK2 `PxeBcDhcp4.c` ignores more; iPXE announces it).
pub const REPLY_LEN_MAX: usize = 1472;
/// Longest boot file name in the header, so that a NUL still fits.
pub const FILE_LEN_MAX: usize = 127;

/// What a reply says beyond what it copies from its request.
#[derive(Debug, Clone)]
pub struct Fields {
    /// Message type, 53.
    pub kind: dhcproto::v4::MessageType,
    /// Ourselves: option 54 and, with `next_server`, `siaddr`.
    pub server: Ipv4Addr,
    /// Fill `siaddr`: shim and BIOS ROMs load from there.
    pub next_server: bool,
    /// The address given, 0.0.0.0 for none.
    pub yiaddr: Ipv4Addr,
    /// Boot file for the header and option 67.
    pub file: Option<String>,
    /// Further options.
    pub options: Vec<DhcpOption>,
}

/// Why a reply cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The boot file name is too long or not plain ASCII.
    #[error("boot file name `{0}` does not fit the header")]
    File(String),
    /// Longer than the client takes.
    #[error("{len} bytes exceed the {max} that the client takes")]
    Long {
        /// Length of the reply.
        len: usize,
        /// Limit.
        max: usize,
    },
    /// The library refused.
    #[error("{0}")]
    Library(String),
}

/// Writes the reply to a request: transaction, flags, relay address, hardware address and options 82 and 97 are copied.
pub fn encode(request: &Request, fields: Fields) -> Result<Vec<u8>, EncodeError> {
    let none = Ipv4Addr::UNSPECIFIED;
    let siaddr = if fields.next_server { fields.server } else { none };
    let ciaddr = if fields.kind == dhcproto::v4::MessageType::Nak { none } else { request.ciaddr };
    let mut message = Message::new_with_id(
        request.xid,
        ciaddr,
        fields.yiaddr,
        siaddr,
        request.giaddr,
        request.mac.as_slice(),
    );
    message
        .set_opcode(Opcode::BootReply)
        .set_htype(HType::from(request.htype))
        .set_flags(Flags::new(request.flags));
    let raw = |code: u8, data: &[u8]| {
        DhcpOption::Unknown(UnknownOption::new(OptionCode::from(code), data.to_vec()))
    };
    if let Some(file) = &fields.file {
        let plain =
            !file.is_empty() && file.len() <= FILE_LEN_MAX && file.bytes().all(|b| b.is_ascii_graphic());
        if !plain {
            return Err(EncodeError::File(file.chars().take(FILE_LEN_MAX).collect()));
        }
        message.set_fname_str(file);
        let mut terminated = file.clone().into_bytes();
        terminated.push(0);
        message.opts_mut().insert(DhcpOption::BootfileName(terminated));
    }
    for copied in [code::RELAY_INFO, code::MACHINE_ID] {
        if let Some(data) = request.option(copied) {
            message.opts_mut().insert(raw(copied, data));
        }
    }
    message.opts_mut().insert(DhcpOption::MessageType(fields.kind));
    message.opts_mut().insert(DhcpOption::ServerIdentifier(fields.server));
    for option in fields.options {
        message.opts_mut().insert(option);
    }
    let mut bytes = Vec::with_capacity(HEADER_LEN + 128);
    message.encode(&mut Encoder::new(&mut bytes)).map_err(|e| EncodeError::Library(e.to_string()))?;
    let max = reply_len_max(request);
    if bytes.len() > max {
        return Err(EncodeError::Long { len: bytes.len(), max });
    }
    bytes.resize(bytes.len().max(REPLY_LEN_MIN), 0);
    Ok(bytes)
}

/// The client's own limit (option 57) where it is sane: not below 576 (RFC 2132 section 9.10), not above 1472. EDK2's
/// request says 65280.
fn reply_len_max(request: &Request) -> usize {
    let said =
        request.option(code::MESSAGE_SIZE).and_then(|d| d.get(..2)).map(|d| u16::from_be_bytes([d[0], d[1]]));
    usize::from(said.unwrap_or(576)).clamp(576, REPLY_LEN_MAX)
}

#[cfg(test)]
mod tests {
    use dhcproto::v4::MessageType;

    use super::*;
    use crate::dhcp::fixtures::{self, Packet};

    fn fields(file: Option<&str>) -> Fields {
        Fields {
            kind: MessageType::Offer,
            server: Ipv4Addr::new(10, 0, 0, 1),
            next_server: true,
            yiaddr: Ipv4Addr::UNSPECIFIED,
            file: file.map(Into::into),
            options: vec![],
        }
    }

    fn reply(raw: &[u8], file: Option<&str>) -> Result<Vec<u8>, EncodeError> {
        encode(&Request::parse(raw).expect("valid"), fields(file))
    }

    #[test]
    fn a11_a14_replies_end_and_are_padded_to_300_bytes() {
        let bytes = reply(&fixtures::bios_pxe(1), None).expect("fits");
        assert_eq!(bytes.len(), 300);
        let mut at = HEADER_LEN;
        while bytes[at] != 255 {
            assert_ne!(bytes[at], 0, "no padding between options");
            at += 2 + usize::from(bytes[at + 1]);
        }
        assert!(bytes[at + 1..].iter().all(|b| *b == 0));
    }

    #[test]
    fn a5_a7_a8_the_file_stands_in_the_header_and_terminated_in_67() {
        let bytes = reply(&fixtures::bios_pxe(1), Some("undionly.kpxe")).expect("fits");
        assert_eq!(&bytes[108..122], b"undionly.kpxe\0");
        assert_eq!(&bytes[20..24], &[10, 0, 0, 1], "siaddr");
        let at = bytes.windows(2).position(|w| w == [67, 14]).expect("option 67");
        assert_eq!(&bytes[at + 2..at + 16], b"undionly.kpxe\0");
    }

    #[test]
    fn j3_a_name_without_room_for_its_nul_is_refused_not_asserted() {
        let raw = fixtures::ovmf_pxe(1);
        assert!(reply(&raw, Some(&"a".repeat(127))).is_ok());
        assert!(matches!(reply(&raw, Some(&"a".repeat(128))), Err(EncodeError::File(_))));
        assert!(matches!(reply(&raw, Some("")), Err(EncodeError::File(_))));
        assert!(matches!(reply(&raw, Some("a b")), Err(EncodeError::File(_))));
    }

    #[test]
    fn a12_a_reply_never_exceeds_what_the_client_takes() {
        let limit = |two: &[u8]| {
            reply_len_max(&Request::parse(&Packet::discover(1).option(57, two).build()).expect("valid"))
        };
        assert_eq!(limit(&[0xff, 0x00]), 1472, "EDK2 says 65280");
        assert_eq!(limit(&[0, 10]), 576);
        assert_eq!(limit(&[4]), 576);
        let big = Packet::discover(1).option(82, &[1; 255]).option(82, &[2; 255]).build();
        assert!(matches!(reply(&big, Some("x")), Err(EncodeError::Long { max: 576, .. })));
    }

    #[test]
    fn a13_a26_neither_52_nor_13_nor_66_is_ever_written() {
        let bytes = reply(&fixtures::ovmf_pxe(1), Some("shimx64.efi")).expect("fits");
        let mut at = HEADER_LEN;
        while bytes[at] != 255 {
            assert!(![52, 13, 66].contains(&bytes[at]));
            at += 2 + usize::from(bytes[at + 1]);
        }
    }

    #[test]
    fn c4_a15_relay_information_and_machine_id_come_back_untouched() {
        let relay = Ipv4Addr::new(10, 9, 0, 1);
        let raw = Packet::discover(1).giaddr(relay).option(97, &[]).option(82, &[1, 2, 0xab, 0xcd]).build();
        let bytes = reply(&raw, None).expect("fits");
        assert_eq!(&bytes[24..28], &relay.octets());
        assert!(bytes.windows(6).any(|w| w == [82, 4, 1, 2, 0xab, 0xcd]));
        let seventeen = reply(&fixtures::bios_pxe(9), None).expect("fits");
        assert!(seventeen.windows(2).any(|w| w == [97, 17]));
    }
}
