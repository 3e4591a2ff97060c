//! Who uses which address on the wire, by ARP (RFC 826) and by the probe of RFC 5227, section 2.1.1.
//!
//! ```text
//!   probe: who has 10.77.0.60? (from 0.0.0.0) ─► the wire ─► 10.77.0.60 is at 52:54:… ─► lease::Leases::heard
//!                                       what others ask and announce of themselves ───────┘
//! ```
//!
//! A probe names no sender address, so it spoils no neighbour's cache. What it must never do: answer, or claim an address.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd as _;

use nix::ifaddrs::getifaddrs;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use crate::client::Mac;

/// EtherType of ARP.
const ETHERTYPE: u16 = 0x0806;
/// Ethernet header and an ARP packet for Ethernet and IPv4.
const FRAME_LEN: usize = 42;
/// Ethernet (1) and IPv4 (0x0800), addresses of six and four bytes.
const ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];
const REQUEST: [u8; 2] = [0, 1];
const REPLY: [u8; 2] = [0, 2];
/// Frames that are read before a client is answered.
const BACKLOG: usize = 64;

/// The frame that asks who uses `target`.
fn probe(ours: [u8; 6], target: Ipv4Addr) -> [u8; FRAME_LEN] {
    let mut frame = [0; FRAME_LEN];
    frame[..6].fill(0xff);
    frame[6..12].copy_from_slice(&ours);
    frame[12..14].copy_from_slice(&ETHERTYPE.to_be_bytes());
    frame[14..20].copy_from_slice(&ETHERNET_IPV4);
    frame[20..22].copy_from_slice(&REQUEST);
    frame[22..28].copy_from_slice(&ours);
    frame[38..42].copy_from_slice(&target.octets());
    frame
}

/// Who says in a frame that it uses which address; `None` where nobody does: a probe of others, or no ARP.
#[must_use]
pub fn speaker(frame: &[u8]) -> Option<(Mac, Ipv4Addr)> {
    let arp = frame.get(14..FRAME_LEN)?;
    let known = frame[12..14] == ETHERTYPE.to_be_bytes() && arp.starts_with(&ETHERNET_IPV4);
    let says = arp[6..8] == REQUEST || arp[6..8] == REPLY;
    let mac: [u8; 6] = arp[8..14].try_into().ok()?;
    let addr = Ipv4Addr::new(arp[14], arp[15], arp[16], arp[17]);
    // A group's address is no sender's (RFC 826 leaves it out; some clusters answer with one, and that is no client of ours).
    (known && says && mac[0] & 1 == 0 && !addr.is_unspecified()).then(|| (mac.into(), addr))
}

/// A packet socket for ARP on one interface.
#[derive(Debug)]
pub(crate) struct Arp {
    /// A packet socket in truth; it answers the same calls as a UDP socket.
    socket: UdpSocket,
    ours: [u8; 6],
}

impl Arp {
    /// Opens it. Fails where CAP_NET_RAW is missing or the interface is not Ethernet; addresses are given without a look then.
    pub(crate) fn open(interface: &str) -> io::Result<Self> {
        let mut all = getifaddrs()?.filter(|found| found.interface_name == interface);
        let link = all.find_map(|found| found.address?.as_link_addr().copied());
        let not_ethernet = || io::Error::other("it is not Ethernet");
        let link = link.ok_or_else(not_ethernet)?;
        let ours = link.addr().filter(|mac| *mac != [0; 6]).ok_or_else(not_ethernet)?;
        let protocol = Protocol::from(i32::from(ETHERTYPE.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol))?;
        socket.set_nonblocking(true)?;
        // It names the interface and no protocol, so that the socket's own stays (packet(7)).
        nix::sys::socket::bind(socket.as_raw_fd(), &link)?;
        Ok(Arp { socket: UdpSocket::from_std(socket.into())?, ours })
    }

    /// Asks who uses `addr`. A full queue or a link that is down loses the question.
    pub(crate) fn ask(&self, addr: Ipv4Addr) {
        if let Err(error) = self.socket.try_send(&probe(self.ours, addr)) {
            tracing::debug!(%addr, %error, "a probe was not sent");
        }
    }

    /// Waits for the next frame, and says who it says uses which address.
    pub(crate) async fn next(&self) -> io::Result<Option<(Mac, Ipv4Addr)>> {
        let mut frame = [0; 64];
        match self.socket.recv(&mut frame).await {
            // The link went down: it comes up again.
            Err(error) if error.raw_os_error() == Some(nix::libc::ENETDOWN) => Ok(None),
            received => Ok(self.of_another(&frame[..received?])),
        }
    }

    /// What waits to be read, at most [`BACKLOG`] frames.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = (Mac, Ipv4Addr)> {
        let read = |_| {
            let mut frame = [0; 64];
            let len = self.socket.try_recv(&mut frame).ok()?;
            Some(self.of_another(&frame[..len]))
        };
        (0..BACKLOG).map_while(read).flatten()
    }

    fn of_another(&self, frame: &[u8]) -> Option<(Mac, Ipv4Addr)> {
        speaker(frame).filter(|(mac, _)| *mac != self.ours.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const US: [u8; 6] = [2, 0, 0, 0, 0, 1];

    #[test]
    fn a_probe_claims_nothing_and_an_answer_is_understood() {
        let target = Ipv4Addr::new(10, 77, 0, 60);
        let frame = probe(US, target);
        assert_eq!(frame[28..32], [0; 4], "no sender address");
        assert_eq!(speaker(&frame), None, "nobody claims anything by a probe");
        let mut answer = frame;
        answer[21] = 2;
        answer[22..28].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
        answer[28..32].copy_from_slice(&target.octets());
        assert_eq!(speaker(&answer), Some(([2, 0, 0, 0, 0, 9].into(), target)));
        assert_eq!(speaker(&answer[..41]), None);
        for (at, wrong) in [(13, 0), (15, 6), (21, 3), (22, 3)] {
            let mut other = answer;
            other[at] = wrong;
            assert_eq!(speaker(&other), None, "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn junk_is_passed_over(frame in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = speaker(&frame);
        }
    }
}
