//! The DHCPv6 port of one interface: receives, asks the responder, sends. Holds no logic of its own.

use std::io;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use super::Responder;
use crate::ndp::Advertiser;

/// Where servers listen (RFC 8415 section 7.2).
const PORT: u16 = 547;
const ALL_SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);

/// Opens the port on one interface.
pub(crate) fn open(interface: &str) -> io::Result<UdpSocket> {
    let index = nix::net::if_::if_nametoindex(interface)?;
    let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.set_only_v6(true)?;
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.bind(&SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, PORT, 0, 0).into())?;
    socket.join_multicast_v6(&ALL_SERVERS, index)?;
    UdpSocket::from_std(socket.into())
}

/// Serves until told to stop. A send that fails is logged and passed over; the client asks again.
pub(crate) async fn run(
    port: UdpSocket,
    responder: Responder,
    advertiser: Option<Advertiser>,
    stop: CancellationToken,
) -> io::Result<()> {
    let mut buf = [0; 1500];
    loop {
        let (len, from) = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            received = port.recv_from(&mut buf) => received?,
        };
        let SocketAddr::V6(from) = from else { continue };
        let Some(answer) = responder.handle(from, &buf[..len]) else { continue };
        if let (true, Some(advertiser)) = (answer.boots, &advertiser) {
            advertiser.route(responder.ours, *from.ip()).await;
        }
        if let Err(error) = port.send_to(&answer.bytes, from).await {
            tracing::warn!(to = %from, %error, "a DHCPv6 reply could not be sent");
        }
    }
}
