//! The DHCP ports of one interface and its ear for ARP: receives, asks the responder, sends. Holds no logic of its own.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use crate::client::Mac;
use crate::dhcp::arp::Arp;
use crate::dhcp::reply::Destination;
use crate::dhcp::{Door, Responder};
use crate::net::{Arrival, UdpPort};

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

/// Packets that are answered before anything else is looked at.
const IN_ONE_GO: usize = 32;

/// Serves until told to stop. A send that fails (a cable pulled, a filter) is logged and passed over; the client asks
/// again.
pub(crate) async fn run(
    ports: DhcpPorts,
    responder: Responder,
    ours: Ipv4Addr,
    client_port: u16,
    stop: CancellationToken,
) -> io::Result<()> {
    let (mut buf67, mut buf4011) = ([0; 1500], [0; 1500]);
    let mut question = tokio::time::Instant::now();
    let mut desk = Desk { ports, responder, ours, client_port };
    loop {
        let arp = desk.ports.arp.as_ref();
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            spoken = hear(arp) => {
                if let Some((by, addr)) = spoken? {
                    desk.responder.heard(by, addr, Instant::now());
                }
            }
            () = tokio::time::sleep_until(question), if arp.is_some() => {
                let (addr, gap) = desk.responder.next_question(Instant::now());
                ask(arp, addr);
                question = tokio::time::Instant::now() + gap;
            }
            arrival = desk.ports.dhcp.recv(&mut buf67) => {
                let mut next = Some(arrival?);
                // When a line gets its power back, what waits is answered in one go.
                for _ in 0..IN_ONE_GO {
                    let Some(arrival) = next else { break };
                    desk.answer(Door::Dhcp, arrival, &buf67[..arrival.len]).await;
                    next = desk.ports.dhcp.waiting(&mut buf67);
                }
                if let Some(arrival) = next {
                    desk.answer(Door::Dhcp, arrival, &buf67[..arrival.len]).await;
                }
            }
            arrival = desk.ports.boot_server.recv(&mut buf4011) => {
                let arrival = arrival?;
                desk.answer(Door::BootServer, arrival, &buf4011[..arrival.len]).await;
            }
        }
    }
}

/// The ports and who answers there.
struct Desk {
    ports: DhcpPorts,
    responder: Responder,
    ours: Ipv4Addr,
    client_port: u16,
}

impl Desk {
    async fn answer(&mut self, door: Door, arrival: Arrival, raw: &[u8]) {
        // An answer to the question that went out with an offer comes before the client takes the offer.
        for (by, addr) in self.ports.arp.iter().flat_map(Arp::waiting) {
            self.responder.heard(by, addr, Instant::now());
        }
        let Some(reply) = self.responder.handle(Instant::now(), door, arrival.from, raw) else { return };
        ask(self.ports.arp.as_ref(), reply.probe);
        let to = match reply.to {
            Destination::Broadcast => SocketAddrV4::new(Ipv4Addr::BROADCAST, self.client_port),
            Destination::Unicast(to) => to,
        };
        let port = match door {
            Door::Dhcp => &self.ports.dhcp,
            Door::BootServer => &self.ports.boot_server,
        };
        if let Err(error) = port.send(&reply.bytes, self.ours, to).await {
            tracing::warn!(%to, from = %self.ours, %error, "a DHCP reply could not be sent");
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
