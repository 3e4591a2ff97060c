//! UDP sockets that know on which of our addresses a packet came and answer from it (RFC 1122 section 4.1.3.5).
//!
//! Each socket is bound to one interface, so that a broadcast leaves where the request came in, and not by the default
//! route. Firmware drops answers that come from another address than the one it asked. Packets go out without the
//! don't-fragment bit, which confuses some PXE ROMs (dnsmasq `src/dhcp.c`).

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;

use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SetSockOpt, SockaddrIn, getsockopt, recvmsg, sendmsg,
    setsockopt, sockopt,
};
use nix::{setsockopt_impl, sockopt_impl};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

sockopt_impl!(
    /// What to do about the path MTU: `IP_PMTUDISC_DONT` clears the don't-fragment bit.
    MtuDiscover,
    SetOnly,
    libc::IPPROTO_IP,
    libc::IP_MTU_DISCOVER,
    libc::c_int
);

/// A datagram's way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// Bytes received.
    pub len: usize,
    /// Sender.
    pub from: SocketAddrV4,
    /// Our address on the interface (for a broadcast, the interface's own).
    pub at: Ipv4Addr,
    /// The address in the packet's header: a broadcast address for a broadcast.
    pub dst: Ipv4Addr,
}

/// A UDP socket on one interface.
#[derive(Debug)]
pub(crate) struct UdpPort {
    socket: UdpSocket,
}

impl UdpPort {
    /// Binds `port` on every address of `interface`.
    pub(crate) fn bind(interface: &str, port: u16) -> io::Result<Self> {
        Self::bound(new_socket(Some(interface))?, Ipv4Addr::UNSPECIFIED, port)
    }

    /// A port that another program may have, too: broadcasts alone, of which each program gets its own copy. On every address
    /// it could take an answer away that the system's DHCP client waits for, since a unicast goes to one socket only.
    pub(crate) fn bind_shared(interface: &str, port: u16) -> io::Result<Self> {
        let socket = new_socket(Some(interface))?;
        socket.set_reuse_address(true)?;
        Self::bound(socket, Ipv4Addr::BROADCAST, port)
    }

    fn bound(socket: Socket, addr: Ipv4Addr, port: u16) -> io::Result<Self> {
        socket.set_broadcast(true)?;
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        socket.bind(&SocketAddrV4::new(addr, port).into())?;
        Ok(UdpPort { socket: UdpSocket::from_std(socket.into())? })
    }

    /// The port bound.
    pub(crate) fn port(&self) -> io::Result<u16> {
        Ok(self.socket.local_addr()?.port())
    }

    /// Waits for a datagram. Cancel-safe: a datagram is either returned or still queued.
    pub(crate) async fn recv(&self, buf: &mut [u8]) -> io::Result<Arrival> {
        loop {
            match self.socket.async_io(Interest::READABLE, || recv_now(&self.socket, buf)).await {
                // A datagram without its addresses cannot be answered; it must not end the service either.
                Err(e) if e.kind() == io::ErrorKind::InvalidData => {}
                result => return result,
            }
        }
    }

    /// A datagram that is there already.
    pub(crate) fn waiting(&self, buf: &mut [u8]) -> Option<Arrival> {
        self.socket.try_io(Interest::READABLE, || recv_now(&self.socket, buf)).ok()
    }

    /// Sends a datagram from our address `from`, out of the interface bound.
    pub(crate) async fn send(&self, bytes: &[u8], from: Ipv4Addr, to: SocketAddrV4) -> io::Result<()> {
        let source = source(from);
        self.socket
            .async_io(Interest::WRITABLE, || {
                let control = [ControlMessage::Ipv4PacketInfo(&source)];
                let to = SockaddrIn::from(to);
                let fd = self.socket.as_raw_fd();
                sendmsg(fd, &[IoSlice::new(bytes)], &control, MsgFlags::empty(), Some(&to))?;
                Ok(())
            })
            .await
    }
}

/// A UDP port of either protocol. Over IPv6 there is one address, on which it is bound, so that answers come from it.
#[derive(Debug)]
pub(crate) enum AnyPort {
    /// On every IPv4 address of an interface.
    V4(UdpPort),
    /// On one IPv6 address.
    V6(UdpSocket, Ipv6Addr),
}

impl AnyPort {
    /// Binds `port` on one IPv6 address of `interface`.
    pub(crate) fn bind_ipv6(interface: &str, addr: Ipv6Addr, port: u16) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        socket.set_only_v6(true)?;
        socket.bind_device(Some(interface.as_bytes()))?;
        socket.bind(&SocketAddrV6::new(addr, port, 0, 0).into())?;
        Ok(AnyPort::V6(UdpSocket::from_std(socket.into())?, addr))
    }

    /// Waits for a datagram: its length, its sender, and our address that it was meant for. Cancel-safe.
    pub(crate) async fn recv(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr, IpAddr)> {
        match self {
            AnyPort::V4(port) => {
                let arrival = port.recv(buf).await?;
                let ours = if arrival.dst.is_broadcast() { arrival.at } else { arrival.dst };
                Ok((arrival.len, arrival.from.into(), ours.into()))
            }
            AnyPort::V6(socket, ours) => {
                let (len, from) = socket.recv_from(buf).await?;
                Ok((len, from, (*ours).into()))
            }
        }
    }

    /// Sends a datagram from our address `from`.
    pub(crate) async fn send(&self, bytes: &[u8], from: IpAddr, to: SocketAddr) -> io::Result<()> {
        match (self, from, to) {
            (AnyPort::V4(port), IpAddr::V4(from), SocketAddr::V4(to)) => port.send(bytes, from, to).await,
            (AnyPort::V6(socket, _), _, to) => socket.send_to(bytes, to).await.map(drop),
            (AnyPort::V4(_), _, _) => Err(io::ErrorKind::AddrNotAvailable.into()),
        }
    }
}

fn source(from: Ipv4Addr) -> libc::in_pktinfo {
    libc::in_pktinfo {
        ipi_ifindex: 0,
        ipi_spec_dst: libc::in_addr { s_addr: u32::from(from).to_be() },
        ipi_addr: libc::in_addr { s_addr: 0 },
    }
}

/// Sends packets of `each` bytes, the last perhaps shorter, to a connected socket's peer: the kernel cuts them apart (udp(7),
/// `UDP_SEGMENT`), which spares a walk through its stack for each.
pub(crate) async fn send_cut(socket: &UdpSocket, bytes: &[u8], each: u16) -> io::Result<()> {
    socket
        .async_io(Interest::WRITABLE, || {
            let control = [ControlMessage::UdpGsoSegments(&each)];
            sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(bytes)], &control, MsgFlags::empty(), None)?;
            Ok(())
        })
        .await
}

/// The MTU of the way to a connected socket's peer, as far as the kernel tells: over IPv4.
pub(crate) fn path_mtu(socket: &UdpSocket) -> Option<u16> {
    let mtu = getsockopt(socket, sockopt::IpMtu).ok()?;
    Some(u16::try_from(mtu).unwrap_or(u16::MAX))
}

fn recv_now(socket: &UdpSocket, buf: &mut [u8]) -> io::Result<Arrival> {
    let mut control = nix::cmsg_space!(libc::in_pktinfo);
    let mut parts = [IoSliceMut::new(buf)];
    let message =
        recvmsg::<SockaddrIn>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty())?;
    let info = message.cmsgs()?.find_map(|c| match c {
        ControlMessageOwned::Ipv4PacketInfo(info) => Some(info),
        _ => None,
    });
    let unknown = || io::Error::new(io::ErrorKind::InvalidData, "a datagram came without its addresses");
    let (info, from) = info.zip(message.address).ok_or_else(unknown)?;
    Ok(Arrival {
        len: message.bytes,
        from: from.into(),
        at: Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr)),
        dst: Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr)),
    })
}

/// A connected socket for one transfer: a new port, from the address that was asked.
pub(crate) fn connected(from: IpAddr, to: SocketAddr) -> io::Result<UdpSocket> {
    let socket = match from {
        IpAddr::V4(_) => new_socket(None)?,
        IpAddr::V6(_) => {
            let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
            socket.set_nonblocking(true)?;
            socket
        }
    };
    socket.bind(&SocketAddr::new(from, 0).into())?;
    socket.connect(&to.into())?;
    UdpSocket::from_std(socket.into())
}

fn new_socket(interface: Option<&str>) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.bind_device(interface.map(str::as_bytes))?;
    MtuDiscover.set(&socket, &libc::IP_PMTUDISC_DONT)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn c8_an_answer_leaves_from_the_address_that_was_asked() {
        let port = UdpPort::bind("lo", 0).expect("bind on loopback");
        let asked = Ipv4Addr::new(127, 0, 0, 77);
        let client = UdpSocket::bind("127.0.0.1:0").await.expect("client");
        let to = SocketAddrV4::new(asked, port.port().expect("port"));
        client.send_to(b"question", to).await.expect("send");
        let mut buf = [0; 64];
        let arrival = port.recv(&mut buf).await.expect("receive");
        assert_eq!((&buf[..arrival.len], arrival.dst), (&b"question"[..], asked));
        port.send(b"answer", asked, arrival.from).await.expect("answer");
        let (len, from) = client.recv_from(&mut buf).await.expect("answer arrives");
        assert_eq!((&buf[..len], from.to_string()), (&b"answer"[..], to.to_string()));
    }

    #[tokio::test]
    async fn a_shared_port_takes_no_answer_from_who_has_it() {
        let owner = new_socket(Some("lo")).expect("socket");
        owner.set_reuse_address(true).expect("option");
        owner.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0).into()).expect("bind on loopback");
        let owner = UdpSocket::from_std(owner.into()).expect("socket");
        let port = owner.local_addr().expect("address").port();
        // Of two that are equal the later one is given a unicast.
        let ear = UdpPort::bind_shared("lo", port).expect("the port is shared");
        let sender = UdpPort::bind("lo", 0).expect("sender");
        let mut buf = [0; 16];
        for to in [Ipv4Addr::LOCALHOST, Ipv4Addr::BROADCAST] {
            sender.send(b"ack", Ipv4Addr::LOCALHOST, SocketAddrV4::new(to, port)).await.expect("sent");
            let heard = tokio::time::timeout(Duration::from_secs(10), owner.recv(&mut buf)).await;
            assert_eq!(heard.expect("the owner hears it").expect("received"), 3, "{to}");
        }
        let heard = ear.recv(&mut buf).await.expect("the broadcast");
        assert_eq!(heard.dst, Ipv4Addr::BROADCAST, "and not the unicast before it");
    }

    #[tokio::test]
    async fn packets_that_the_kernel_cuts_arrive_one_by_one() {
        let peer = UdpSocket::bind("127.0.0.1:0").await.expect("peer");
        let socket =
            connected(Ipv4Addr::LOCALHOST.into(), peer.local_addr().expect("address")).expect("connected");
        let bytes: Vec<u8> = (0..25).collect();
        send_cut(&socket, &bytes, 10).await.expect("sent");
        let mut buf = [0; 64];
        for expected in bytes.chunks(10) {
            let len = peer.recv(&mut buf).await.expect("received");
            assert_eq!(&buf[..len], expected);
        }
        assert_eq!(path_mtu(&socket), Some(u16::MAX), "that of loopback");
    }

    #[tokio::test]
    async fn d17_a_transfer_socket_hears_only_its_peer() {
        let peer = UdpSocket::bind("127.0.0.1:0").await.expect("peer");
        let stranger = UdpSocket::bind("127.0.0.1:0").await.expect("stranger");
        let to = peer.local_addr().expect("address");
        let socket = connected(Ipv4Addr::LOCALHOST.into(), to).expect("connected");
        let ours = socket.local_addr().expect("address");
        stranger.send_to(b"wrong", ours).await.expect("send");
        peer.send_to(b"right", ours).await.expect("send");
        let mut buf = [0; 16];
        let len = socket.recv(&mut buf).await.expect("receive");
        assert_eq!(&buf[..len], b"right");
    }
}
