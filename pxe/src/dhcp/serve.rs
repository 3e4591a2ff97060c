//! The DHCP ports of one interface and its ear for ARP: receives, asks the responder, sends. Holds no logic of its own.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use crate::client::Mac;
use crate::dhcp::arp::Arp;
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
    /// Who uses which address, in full mode; without it addresses are given without a look.
    pub arp: Option<Arp>,
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
    let mut question = tokio::time::Instant::now();
    loop {
        let (door, port, arrival, raw) = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            spoken = hear(ports.arp.as_ref()) => {
                if let Some((by, addr)) = spoken? {
                    responder.heard(by, addr, Instant::now());
                }
                continue;
            }
            () = tokio::time::sleep_until(question), if ports.arp.is_some() => {
                let (addr, gap) = responder.next_question(Instant::now());
                ask(ports.arp.as_ref(), addr);
                question = tokio::time::Instant::now() + gap;
                continue;
            }
            arrival = ports.dhcp.recv(&mut buf67) => {
                let arrival = arrival?;
                (Door::Dhcp, &ports.dhcp, arrival, &buf67[..arrival.len])
            }
            arrival = ports.boot_server.recv(&mut buf4011) => {
                let arrival = arrival?;
                (Door::BootServer, &ports.boot_server, arrival, &buf4011[..arrival.len])
            }
        };
        // An answer to the question that went out with an offer comes before the client takes the offer.
        for (by, addr) in ports.arp.iter().flat_map(Arp::waiting) {
            responder.heard(by, addr, Instant::now());
        }
        let Some(reply) = responder.handle(Instant::now(), door, arrival.from, raw) else { continue };
        ask(ports.arp.as_ref(), reply.probe);
        let to = match reply.to {
            Destination::Broadcast => SocketAddrV4::new(Ipv4Addr::BROADCAST, client_port),
            Destination::Unicast(to) => to,
        };
        if let Err(error) = port.send(&reply.bytes, ours, to).await {
            tracing::warn!(%to, from = %ours, %error, "a DHCP reply could not be sent");
        }
    }
}

/// Waits for the next frame, and says who it says uses which address; without an ear there is none.
async fn hear(arp: Option<&Arp>) -> io::Result<Option<(Mac, Ipv4Addr)>> {
    match arp {
        Some(arp) => arp.next().await,
        None => std::future::pending().await,
    }
}

fn ask(arp: Option<&Arp>, addr: Option<Ipv4Addr>) {
    if let (Some(arp), Some(addr)) = (arp, addr) {
        arp.ask(addr);
    }
}
