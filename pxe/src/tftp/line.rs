//! Where the packets of one transfer go and come from.
//!
//! ```text
//!   own     a socket with a port of its own, connected to the peer     port 69 hears requests alone          (RFC 1350 section 4)
//!   door    port 69 itself; what comes there from the peer is put into this transfer's box          single-port mode, for firewalls
//! ```

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::libc;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use crate::net::{AnyPort, connected, path_mtu, send_cut};

/// Packets that wait in a transfer's box; further ones are lost, as on any wire.
pub(crate) const BOX_LEN: usize = 16;

/// A packet for a transfer.
pub(crate) type Packet = Vec<u8>;

/// Both ways of one transfer.
#[derive(Debug)]
pub(crate) enum Line {
    Own { socket: UdpSocket, cuts: AtomicBool },
    Door { port: Arc<AnyPort>, ours: IpAddr, peer: SocketAddr, inbox: mpsc::Receiver<Packet> },
}

impl Line {
    /// A new port, from the address that was asked.
    pub(crate) fn own(ours: IpAddr, peer: SocketAddr) -> io::Result<Self> {
        Ok(Line::Own { socket: connected(ours, peer)?, cuts: AtomicBool::new(true) })
    }

    /// The port that was asked, and the box for what comes from the peer.
    pub(crate) fn door(port: Arc<AnyPort>, ours: IpAddr, peer: SocketAddr) -> (Self, mpsc::Sender<Packet>) {
        let (sender, inbox) = mpsc::channel(BOX_LEN);
        (Line::Door { port, ours, peer, inbox }, sender)
    }

    /// Sends packets of `each` bytes, the last perhaps shorter.
    pub(crate) async fn send(&self, bytes: &[u8], each: usize) -> io::Result<()> {
        match self {
            Line::Own { socket, cuts } => {
                if let (true, true, Ok(each)) =
                    (bytes.len() > each, cuts.load(Ordering::Relaxed), u16::try_from(each))
                {
                    match send_cut(socket, bytes, each).await {
                        Err(error) if is_no_cutter(&error) => cuts.store(false, Ordering::Relaxed),
                        sent => return sent,
                    }
                }
                for packet in bytes.chunks(each) {
                    socket.send(packet).await?;
                }
            }
            Line::Door { port, ours, peer, .. } => {
                for packet in bytes.chunks(each) {
                    port.send(packet, *ours, *peer).await?;
                }
            }
        }
        Ok(())
    }

    /// The next packet from the peer. Cancel-safe: it is either returned or still queued.
    pub(crate) async fn recv(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Line::Own { socket, .. } => socket.recv(buf).await,
            Line::Door { inbox, .. } => {
                let packet = inbox.recv().await.ok_or(io::ErrorKind::BrokenPipe)?;
                let len = packet.len().min(buf.len());
                buf[..len].copy_from_slice(&packet[..len]);
                Ok(len)
            }
        }
    }

    /// The MTU of the way to the peer.
    pub(crate) fn mtu(&self) -> Option<u16> {
        match self {
            Line::Own { socket, .. } => path_mtu(socket),
            Line::Door { ours, peer, .. } => path_mtu(&connected(*ours, *peer).ok()?),
        }
    }
}

/// Not everything below can cut: an adapter that does not count checksums on older kernels (EIO), a way with a smaller MTU (EINVAL), a
/// kernel before 4.18 (ENOPROTOOPT, EINVAL).
fn is_no_cutter(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EIO | libc::EINVAL | libc::ENOPROTOOPT | libc::EOPNOTSUPP | libc::EMSGSIZE)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn where_the_kernel_does_not_cut_packets_go_one_by_one() {
        let peer = UdpSocket::bind("127.0.0.1:0").await.expect("peer");
        let line = Line::own([127, 0, 0, 1].into(), peer.local_addr().expect("address")).expect("a line");
        let mut buf = [0; 2048];
        // More pieces than any kernel cuts at once.
        let bytes = vec![7; 280];
        line.send(&bytes, 2).await.expect("sent");
        for _ in 0..140 {
            assert_eq!(peer.recv(&mut buf).await.expect("received"), 2);
        }
        let Line::Own { cuts, .. } = &line else { panic!("{line:?}") };
        assert!(!cuts.load(Ordering::Relaxed), "it is not tried again");
    }
}
