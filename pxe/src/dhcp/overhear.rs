//! Other servers on an interface: what they answer to clients, overheard, and what they answer to a question of ours.
//!
//! ```text
//!   port 68 ◄── broadcast OFFER, ACK of anybody ──► Answer ──► BootEvent::ForeignOffer, unless it is our own
//!   probe:  DISCOVER like a UEFI firmware's, from our address ──► whoever serves boots here answers it
//! ```
//!
//! Boot firmware asks for broadcast replies (EDK2, iPXE), so that each answer to it passes by here, too. A switch that drops
//! server's answers from other ports (DHCP snooping) hides them from us as well. The port is shared with the system's own DHCP
//! client; where that does not share it, nothing is overheard and no probe can be answered.

use std::io;
use std::net::Ipv4Addr;
use std::net::SocketAddrV4;
use std::sync::Arc;

use dhcproto::v4::{
    DhcpOption, Encodable, Encoder, Flags, HType, Message, MessageType, Opcode, OptionCode, UnknownOption,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::client::Mac;
use crate::dhcp::encode::REPLY_LEN_MIN;
use crate::dhcp::packet::{self, code};
use crate::event::{BootEvent, BootEvents};
use crate::net::UdpPort;

/// Vendor class of the probe: a UEFI firmware for x64 (RFC 4578 section 2.1).
const PROBE_CLASS: &[u8] = b"PXEClient:Arch:00007:UNDI:003016";
/// Probes that may wait to be sent.
const PROBES_WAITING: usize = 2;

/// What a server answered to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Whom it answered.
    pub client: Mac,
    /// Its identifier (option 54), or where the packet came from.
    pub server: Ipv4Addr,
    /// It gives an address.
    pub gives: bool,
    /// It names a boot file or speaks as a boot server.
    pub boots: bool,
}

impl Answer {
    /// Reads an offer or an acknowledgement; anything else is `None`.
    #[must_use]
    pub fn parse(raw: &[u8], from: Ipv4Addr) -> Option<Self> {
        let reply = packet::Reply::parse(raw).ok()?;
        // 2 is DHCPOFFER, 5 is DHCPACK (RFC 2132 section 9.6).
        if !matches!(reply.kind, 2 | 5) {
            return None;
        }
        let speaks = |class: &[u8]| class.starts_with(b"PXEClient") || class.starts_with(b"HTTPClient");
        let named = reply.option(code::BOOT_FILE).is_some_and(|file| file.iter().any(|byte| *byte != 0));
        Some(Answer {
            client: reply.mac,
            server: reply.addr_option(code::SERVER_ID).unwrap_or(from),
            gives: !reply.yiaddr.is_unspecified(),
            boots: reply.names_file || named || reply.option(code::VENDOR_CLASS).is_some_and(speaks),
        })
    }
}

/// A DISCOVER as a UEFI firmware for x64 sends it, that wants its answers by broadcast.
///
/// # Errors
/// When the library refuses to write it.
pub fn probe(mac: [u8; 6], xid: u32) -> Result<Vec<u8>, dhcproto::error::EncodeError> {
    let none = Ipv4Addr::UNSPECIFIED;
    let mut message = Message::new_with_id(xid, none, none, none, none, &mac);
    message.set_opcode(Opcode::BootRequest).set_htype(HType::Eth).set_flags(Flags::new(0x8000));
    let raw = |code: u8, data: &[u8]| {
        DhcpOption::Unknown(UnknownOption::new(OptionCode::from(code), data.to_vec()))
    };
    let options = message.opts_mut();
    options.insert(DhcpOption::MessageType(MessageType::Discover));
    options.insert(raw(code::VENDOR_CLASS, PROBE_CLASS));
    options.insert(raw(code::ARCH, &[0, 7]));
    // Network interface: UNDI 3.16 (RFC 4578 section 2.2).
    options.insert(raw(94, &[1, 3, 16]));
    options.insert(raw(code::MESSAGE_SIZE, &1472_u16.to_be_bytes()));
    // Mask, router, vendor information, server, class, TFTP server, file.
    options.insert(raw(55, &[1, 3, 43, 54, 60, 66, 67]));
    let mut bytes = Vec::with_capacity(REPLY_LEN_MIN);
    message.encode(&mut Encoder::new(&mut bytes))?;
    bytes.resize(bytes.len().max(REPLY_LEN_MIN), 0);
    Ok(bytes)
}

/// Asks every interface's ear to send a probe. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Prober {
    ears: Vec<mpsc::Sender<u32>>,
}

impl Prober {
    /// Sends one probe on each interface that listens, with this transaction number; says on how many. Answers come as
    /// [`BootEvent::ForeignOffer`].
    pub fn probe(&self, xid: u32) -> usize {
        self.ears.iter().filter(|ear| ear.try_send(xid).is_ok()).count()
    }

    pub(crate) fn add(&mut self) -> mpsc::Receiver<u32> {
        let (ear, probes) = mpsc::channel(PROBES_WAITING);
        self.ears.push(ear);
        probes
    }
}

/// Listens on one interface.
pub(crate) struct Ear {
    pub port: UdpPort,
    pub interface: Ipv4Addr,
    pub server_port: u16,
    /// The interface's hardware address, for probes.
    pub mac: [u8; 6],
    pub probes: mpsc::Receiver<u32>,
    pub events: Arc<dyn BootEvents>,
    /// Our addresses on all interfaces: what they say is our own word.
    pub ours: Vec<Ipv4Addr>,
}

impl Ear {
    /// Listens until told to stop.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> io::Result<()> {
        let mut buf = [0; 1500];
        loop {
            let arrival = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Some(xid) = self.probes.recv() => {
                    self.send_probe(xid).await;
                    continue;
                }
                arrival = self.port.recv(&mut buf) => arrival?,
            };
            let Some(answer) = Answer::parse(&buf[..arrival.len], *arrival.from.ip()) else { continue };
            if self.ours.contains(&answer.server) || self.ours.contains(arrival.from.ip()) {
                continue;
            }
            let Answer { client, server, gives, boots } = answer;
            let interface = self.interface;
            self.events.event(BootEvent::ForeignOffer { server, interface, client, gives, boots });
        }
    }

    async fn send_probe(&self, xid: u32) {
        let to = SocketAddrV4::new(Ipv4Addr::BROADCAST, self.server_port);
        let sent = match probe(self.mac, xid) {
            Ok(bytes) => self.port.send(&bytes, self.interface, to).await,
            Err(error) => Err(io::Error::other(error)),
        };
        if let Err(error) = sent {
            tracing::warn!(interface = %self.interface, %error, "a probe could not be sent");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dhcp::classify::classify;
    use crate::dhcp::fixtures::Packet;
    use crate::{Arch, ClientClass};

    const FROM: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);

    fn answer(kind: u8, change: impl FnOnce(&mut Vec<u8>), options: &[(u8, &[u8])]) -> Option<Answer> {
        let mut packet = Packet::discover(1).option(53, &[kind]);
        for (code, data) in options {
            packet = packet.option(*code, data);
        }
        let mut raw = packet.build();
        raw[0] = 2;
        // The kind that the fixture wrote first counts: replace it.
        let at = raw.windows(3).position(|w| w[0] == 53 && w[1] == 1).expect("a message type");
        raw[at + 2] = kind;
        change(&mut raw);
        Answer::parse(&raw, FROM)
    }

    #[test]
    fn b3_b13_c18_an_offer_tells_who_gives_addresses_and_who_boots() {
        let plain = answer(2, |raw| raw[16..20].copy_from_slice(&[10, 0, 0, 5]), &[(54, &[10, 0, 0, 1])]);
        let plain = plain.expect("an offer");
        assert_eq!((plain.server, plain.gives, plain.boots), ([10, 0, 0, 1].into(), true, false));
        let proxy = answer(2, |_| {}, &[(60, b"PXEClient")]).expect("an offer");
        assert_eq!((proxy.server, proxy.gives, proxy.boots), (FROM, false, true));
        let header = answer(5, |raw| raw[108] = b'x', &[]).expect("an acknowledgement");
        assert!(header.boots, "a file in the header");
        assert!(answer(5, |_| {}, &[(67, b"a\0")]).expect("an acknowledgement").boots);
        assert!(!answer(5, |_| {}, &[(67, b"\0")]).expect("an acknowledgement").boots);
        assert_eq!(answer(6, |_| {}, &[]), None, "a NAK offers nothing");
        assert_eq!(answer(2, |raw| raw[0] = 1, &[]), None, "a request");
    }

    #[test]
    fn a_probe_is_what_a_firmware_sends() {
        let raw = probe([2, 0, 0, 0, 0, 7], 0x1234).expect("encodes");
        let request = packet::Request::parse(&raw).expect("a request");
        assert_eq!(
            (request.kind, request.xid, request.flags),
            (packet::MessageType::Discover, 0x1234, 0x8000)
        );
        let client = classify(&request, &[]);
        assert_eq!((client.class, client.arch), (ClientClass::Pxe, Some(Arch::EfiX64)));
        assert!(raw.len() >= REPLY_LEN_MIN);
    }

    proptest! {
        #[test]
        fn reading_an_answer_never_panics(mut raw in proptest::collection::vec(any::<u8>(), 0..700)) {
            if let Some(op) = raw.first_mut() { *op = 2; }
            let _ = Answer::parse(&raw, FROM);
        }
    }
}
