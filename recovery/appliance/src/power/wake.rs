//! Wake-on-LAN: six bytes FF and sixteen times the Ethernet address, in a UDP datagram to port 9 of the endpoint's network.
//!
//! It switches on what is off, says nothing of whether it did, and cannot choose what is booted: the firmware must try the
//! network first, which is harmless, since without a boot ticket it is sent to its own disk.

use std::net::Ipv4Addr;

use recovery_protocol::MacAddr;
use tokio::net::UdpSocket;

use super::PowerError;

/// UDP port "discard": nobody answers there. Adapters look for the pattern anywhere in the frame.
const PORT: u16 = 9;
/// A lost packet is not noticed by anybody.
const TIMES: usize = 3;

/// Wake every adapter of an endpoint.
pub async fn wake(to: Ipv4Addr, macs: &[MacAddr]) -> Result<(), PowerError> {
    send(to, PORT, macs).await
}

async fn send(to: Ipv4Addr, port: u16, macs: &[MacAddr]) -> Result<(), PowerError> {
    let failed = |why: String| PowerError::Wake { to, why };
    if macs.is_empty() {
        return Err(failed("the endpoint has no Ethernet address on record".to_owned()));
    }
    let sent = async {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
        socket.set_broadcast(true)?;
        for _ in 0..TIMES {
            for mac in macs {
                socket.send_to(&magic(*mac), (to, port)).await?;
            }
        }
        Ok::<_, std::io::Error>(())
    };
    sent.await.map_err(|error| failed(error.to_string()))
}

/// The 102 bytes that an adapter wakes for.
fn magic(mac: MacAddr) -> [u8; 102] {
    let mut packet = [0xff; 102];
    for place in packet[6..].chunks_exact_mut(6) {
        place.copy_from_slice(&mac.0);
    }
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_six_ff_and_sixteen_addresses() {
        let packet = magic("52:54:00:12:34:56".parse().unwrap());
        assert_eq!(packet[..6], [0xff; 6]);
        assert_eq!(packet[6..].chunks(6).filter(|six| *six == [0x52, 0x54, 0, 0x12, 0x34, 0x56]).count(), 16);
        assert_eq!(packet.len(), 6 + 16 * 6);
    }

    #[tokio::test]
    async fn every_adapter_is_woken_three_times_and_no_adapter_is_an_error() {
        let adapter = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let macs = ["52:54:00:12:34:56".parse().unwrap(), "52:54:00:12:34:57".parse().unwrap()];
        send(Ipv4Addr::LOCALHOST, adapter.local_addr().unwrap().port(), &macs).await.unwrap();
        let mut packet = [0; 200];
        for round in 0..6 {
            let len = adapter.recv(&mut packet).await.unwrap();
            assert_eq!(packet[..len], magic(macs[round % 2]));
        }
        let none = wake(Ipv4Addr::BROADCAST, &[]).await.unwrap_err();
        assert!(none.to_string().contains("no Ethernet address on record"), "{none}");
    }
}
