//! The DHCP ports of one interface: receives, asks the responder, sends. Holds no logic of its own.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use crate::dhcp::reply::Destination;
use crate::dhcp::{Door, Responder};
use crate::net::UdpPort;

/// One interface's sockets.
#[derive(Debug)]
pub(crate) struct DhcpPorts {
    /// Port 67.
    pub dhcp: UdpPort,
    /// Port 4011.
    pub boot_server: UdpPort,
}

/// Serves until told to stop. A send that fails (a cable pulled, a filter) is logged and passed over; the client asks
/// again.
pub(crate) async fn run(
    ports: DhcpPorts,
    mut responder: Responder,
    ours: Ipv4Addr,
    client_port: u16,
    stop: CancellationToken,
) -> io::Result<()> {
    let (mut buf67, mut buf4011) = ([0; 1500], [0; 1500]);
    loop {
        let (door, port, arrival, raw) = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            arrival = ports.dhcp.recv(&mut buf67) => {
                let arrival = arrival?;
                (Door::Dhcp, &ports.dhcp, arrival, &buf67[..arrival.len])
            }
            arrival = ports.boot_server.recv(&mut buf4011) => {
                let arrival = arrival?;
                (Door::BootServer, &ports.boot_server, arrival, &buf4011[..arrival.len])
            }
        };
        let Some(reply) = responder.handle(Instant::now(), door, arrival.from, raw) else { continue };
        let to = match reply.to {
            Destination::Broadcast => SocketAddrV4::new(Ipv4Addr::BROADCAST, client_port),
            Destination::Unicast(to) => to,
        };
        if let Err(error) = port.send(&reply.bytes, ours, to).await {
            tracing::warn!(%to, from = %ours, %error, "a DHCP reply could not be sent");
        }
    }
}
