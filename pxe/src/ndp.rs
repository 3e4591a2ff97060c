//! Answers IPv6 router solicitations of endpoints with a ticket: "there is no router here".
//!
//! iPXE configures IPv6 before it looks at its boot script, and without any router advertisement it waits 13 to 18 s on
//! every boot (ipxe `src/net/ndp.c`, `src/usr/ifmgmt.c`). An advertisement with router lifetime 0 and no prefix (RFC 4861
//! section 4.2) ends the wait at once and gives nobody an address or a route. It goes to the one endpoint that asked and
//! holds a boot ticket, by unicast: no other station ever sees it.
//!
//! Where we have an IPv6 address to serve with, the advertisement also says that its network is on this link (RFC 4861
//! section 4.6.2), and firmware that DHCPv6 sends to a file of ours hears, again by unicast, that we are a router for half a minute: EDK2 looks for a
//! route to an address that it does not know yet, which only a default route is, and ten seconds long (edk2 `HttpBootDhcp6.c`,
//! `PxeBcDhcp6.c`; seen in the lab). It lets nobody make an address by itself, and its flags send nobody to DHCPv6: only who asks for it
//! anyway is served there (`dhcp6`).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV6};
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use crate::client::{Client, Mac};
use crate::dhcp6::{PREFIX_LEN, mac_in};
use crate::policy::{BootDecision, BootPolicy, BootRequest, Stage};

const PREFIX_LIFETIME_SECS: u32 = 3600;
/// EDK2 looks ten seconds for a router, and needs none afterwards.
const ROUTER_LIFETIME_SECS: u16 = 30;
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// RFC 4861 section 4.2: type 134, code 0, checksum by the kernel, hop limit unspecified, no flags, lifetime 0, timers
/// unspecified.
const NO_ROUTER: [u8; 16] = [134, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// The advertisement for an endpoint: a router for so many seconds (0: none here), and the network of `ours` where we have an address.
fn advertisement(ours: Option<Ipv6Addr>, router_secs: u16) -> Vec<u8> {
    let mut advertisement = NO_ROUTER.to_vec();
    advertisement[6..8].copy_from_slice(&router_secs.to_be_bytes());
    if let Some(ours) = ours {
        // Prefix information: 64 bits, on this link and not for addresses, for an hour.
        advertisement.extend([3, 4, PREFIX_LEN, 0x80]);
        advertisement.extend([PREFIX_LIFETIME_SECS.to_be_bytes(); 2].concat());
        advertisement.extend([0; 4]);
        advertisement.extend(&ours.octets()[..8]);
        advertisement.extend([0; 8]);
    }
    advertisement
}

/// A raw ICMPv6 socket on one interface.
#[derive(Debug)]
pub(crate) struct Solicitations {
    advertiser: Advertiser,
    ours: Option<Ipv6Addr>,
}

/// Sends router advertisements to one endpoint at a time.
#[derive(Debug, Clone)]
pub(crate) struct Advertiser {
    /// A raw socket in truth; it answers the same calls as a UDP socket.
    socket: Arc<UdpSocket>,
    interface: u32,
}

impl Advertiser {
    /// Tells firmware that boots from `ours` that we are a router, for as long as it looks for one.
    pub(crate) async fn route(&self, ours: Ipv6Addr, to: Ipv6Addr) {
        self.tell(&advertisement(Some(ours), ROUTER_LIFETIME_SECS), to).await;
    }

    async fn tell(&self, advertisement: &[u8], to: Ipv6Addr) {
        let to = SocketAddrV6::new(to, 0, 0, self.interface);
        if let Err(error) = self.socket.send_to(advertisement, to).await {
            tracing::debug!(%to, %error, "a router advertisement could not be sent");
        }
    }
}

impl Solicitations {
    /// Opens the socket. Fails where the kernel has no IPv6 or CAP_NET_RAW is missing; booting works without, later.
    pub(crate) fn open(interface: &str, ours: Option<Ipv6Addr>) -> io::Result<Self> {
        let index = nix::net::if_::if_nametoindex(interface)?;
        let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
        socket.set_nonblocking(true)?;
        socket.bind_device(Some(interface.as_bytes()))?;
        socket.join_multicast_v6(&ALL_ROUTERS, index)?;
        // Receivers drop neighbour discovery that could have been forwarded (RFC 4861 section 6.1.2).
        socket.set_unicast_hops_v6(255)?;
        let socket = Arc::new(UdpSocket::from_std(socket.into())?);
        Ok(Solicitations { advertiser: Advertiser { socket, interface: index }, ours })
    }

    /// What sends advertisements unasked.
    pub(crate) fn advertiser(&self) -> Advertiser {
        self.advertiser.clone()
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
                received = self.advertiser.socket.recv_from(&mut buf) => received?,
            };
            let IpAddr::V6(from) = from.ip() else { continue };
            let armed = |mac| {
                let client = Client::bare(mac, None);
                let request = BootRequest { client, stage: Stage::RouterSolicit, interface: ours };
                matches!(policy.decide(&request), BootDecision::RecoverySystem(_))
            };
            let local = Some(from).filter(Ipv6Addr::is_unicast_link_local);
            let who = local.and_then(|from| solicitor(&buf[..len], from));
            if who.is_some_and(armed) {
                self.advertiser.tell(&advertisement(self.ours, 0), from).await;
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
    Some(from).filter(Ipv6Addr::is_unicast_link_local).and_then(mac_in)
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

    #[test]
    fn the_network_is_on_this_link_and_makes_nobody_an_address() {
        assert_eq!(advertisement(None, 0), NO_ROUTER);
        let with = advertisement(Some("fd00:77::1".parse().expect("address")), 0);
        assert_eq!(
            (with.len(), &with[..16]),
            (48, &NO_ROUTER[..]),
            "RFC 4861: options in units of eight bytes"
        );
        assert_eq!(with[16..20], [3, 4, 64, 0x80], "on-link, not autonomous");
        assert_eq!(with[20..28], [0, 0, 0x0e, 0x10, 0, 0, 0x0e, 0x10]);
        let for_a_while = advertisement(Some("fd00:77::1".parse().expect("address")), 30);
        assert_eq!((&for_a_while[6..8], &for_a_while[8..]), (&[0, 30][..], &with[8..]));
        assert_eq!(with[32..], [&[0xfd, 0, 0, 0x77][..], &[0; 12]].concat());
    }

    proptest! {
        #[test]
        fn reading_never_panics_or_hangs(tail in proptest::collection::vec(any::<u8>(), 0..80)) {
            let raw = [&[133, 0][..], &tail].concat();
            let _ = solicitor(&raw, Ipv6Addr::LOCALHOST);
        }
    }
}
