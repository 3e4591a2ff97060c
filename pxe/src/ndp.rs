//! Answers IPv6 router solicitations of endpoints with a ticket: "there is no router here".
//!
//! iPXE configures IPv6 before it looks at its boot script, and without any router advertisement it waits 13 to 18 s on
//! every boot (ipxe `src/net/ndp.c`, `src/usr/ifmgmt.c`). An advertisement with router lifetime 0 and no prefix (RFC 4861
//! section 4.2) ends the wait at once and gives nobody an address or a route. It goes to the one endpoint that asked and
//! holds a boot ticket, by unicast: no other station ever sees it.
//!
//! DHCPv6 is not served: an advertisement without its flags also says so.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV6};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use crate::client::{Client, Mac};
use crate::policy::{BootDecision, BootPolicy, BootRequest, Stage};

const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// RFC 4861 section 4.2: type 134, code 0, checksum by the kernel, hop limit unspecified, no flags, lifetime 0, timers
/// unspecified.
const NO_ROUTER: [u8; 16] = [134, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// A raw ICMPv6 socket on one interface.
#[derive(Debug)]
pub(crate) struct Solicitations {
    /// A raw socket in truth; it answers the same calls as a UDP socket.
    socket: UdpSocket,
    interface: u32,
}

impl Solicitations {
    /// Opens the socket. Fails where the kernel has no IPv6 or CAP_NET_RAW is missing; booting works without, later.
    pub(crate) fn open(interface: &str) -> io::Result<Self> {
        let index = nix::net::if_::if_nametoindex(interface)?;
        let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
        socket.set_nonblocking(true)?;
        socket.bind_device(Some(interface.as_bytes()))?;
        socket.join_multicast_v6(&ALL_ROUTERS, index)?;
        // Receivers drop neighbour discovery that could have been forwarded (RFC 4861 section 6.1.2).
        socket.set_unicast_hops_v6(255)?;
        Ok(Solicitations { socket: UdpSocket::from_std(socket.into())?, interface: index })
    }

    /// Answers until told to stop.
    pub(crate) async fn run(
        self,
        policy: &dyn BootPolicy,
        ours: Ipv4Addr,
        stop: CancellationToken,
    ) -> io::Result<()> {
        let mut buf = [0; 1500];
        loop {
            let (len, from) = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                received = self.socket.recv_from(&mut buf) => received?,
            };
            let IpAddr::V6(from) = from.ip() else { continue };
            let Some(mac) = solicitor(&buf[..len], from).filter(|_| from.is_unicast_link_local()) else {
                continue;
            };
            let request =
                BootRequest { client: Client::bare(mac, None), stage: Stage::RouterSolicit, interface: ours };
            if !matches!(policy.decide(&request), BootDecision::RecoverySystem(_)) {
                continue;
            }
            let to = SocketAddrV6::new(from, 0, 0, self.interface);
            if let Err(error) = self.socket.send_to(&NO_ROUTER, to).await {
                tracing::debug!(%mac, %error, "a router solicitation could not be answered");
            }
        }
    }
}

/// The hardware address of whoever sent a router solicitation (RFC 4861 section 4.1): from its option, else from its
/// link-local address when that was made from one (RFC 4291 appendix A).
fn solicitor(raw: &[u8], from: Ipv6Addr) -> Option<Mac> {
    let [133, 0, _, _, _, _, _, _, options @ ..] = raw else { return None };
    let mut rest = options;
    while let [kind, len, ..] = *rest {
        let (option, tail) = rest.split_at_checked(usize::from(len) * 8).filter(|(o, _)| !o.is_empty())?;
        if kind == 1 && len == 1 {
            return Mac::from_slice(&option[2..8]);
        }
        rest = tail;
    }
    match from.octets() {
        [0xfe, 0x80, 0, 0, 0, 0, 0, 0, a, b, c, 0xff, 0xfe, d, e, f] => Some([a ^ 2, b, c, d, e, f].into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_solicitor_is_known_by_option_or_by_its_link_local_address() {
        let mac: Mac = [0x52, 0x54, 0, 0x77, 0, 1].into();
        let with = [&[133, 0, 0, 0, 0, 0, 0, 0, 1, 1][..], mac.as_slice()].concat();
        assert_eq!(solicitor(&with, Ipv6Addr::UNSPECIFIED), Some(mac));
        let from: Ipv6Addr = "fe80::5054:ff:fe77:1".parse().expect("address");
        assert_eq!(solicitor(&with[..8], from), Some(mac));
        assert_eq!(solicitor(&with[..8], "fe80::1".parse().expect("address")), None);
        assert_eq!(solicitor(&[134, 0, 0, 0, 0, 0, 0, 0], from), None, "an advertisement is not a question");
        assert_eq!(solicitor(&with[..12], from), None, "cut off");
    }

    proptest! {
        #[test]
        fn reading_never_panics_or_hangs(tail in proptest::collection::vec(any::<u8>(), 0..80)) {
            let raw = [&[133, 0][..], &tail].concat();
            let _ = solicitor(&raw, Ipv6Addr::LOCALHOST);
        }
    }
}
