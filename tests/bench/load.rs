//! Load clients of our own, for what no Debian client does: many TFTP clients at once, and DHCP by the thousand.
//!
//! They run as a hidden command of the lab inside a neighbour's network namespace, and print one line of numbers. They are as plain as
//! the firmware that they stand for: lockstep, a time-out, a retry. They must never be faster than what they measure can be: their own
//! CPU time is printed, too.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Subcommand;
use nix::sys::socket::{setsockopt, sockopt};

/// A client gives up a packet after so long, and asks again.
const RETRY: Duration = Duration::from_secs(1);
/// A client gives up after so many retries without progress.
const TRIES: u32 = 30;
const BLOCK: usize = 1468;

/// One kind of load.
#[derive(Debug, Clone, Subcommand)]
pub enum Load {
    /// Fetch a file by TFTP with many clients at once; prints `slowest_ms median_ms failed`
    Tftp {
        /// Address and port to ask
        to: SocketAddrV4,
        /// File
        name: String,
        /// Its length in bytes
        len: usize,
        /// First address to ask from; each client has its own
        from: Ipv4Addr,
        /// How many
        clients: u32,
    },
    /// Fetch a file by TFTP with a window, as EDK2 does, and lose some of it on the way in; prints `ms`
    Window {
        /// Address and port to ask
        to: SocketAddrV4,
        /// File
        name: String,
        /// Its length in bytes
        len: usize,
        /// Blocks per window
        window: u16,
        /// Of so many packets one is lost; 0: none
        lose: u32,
    },
    /// Ask for addresses; prints `offers_per_s p50_us p99_us lost`
    Dhcp {
        /// Interface to ask on
        interface: String,
        /// Endpoints, each with its own hardware address
        endpoints: u32,
        /// Questions under way at once
        window: usize,
        /// Questions a second at most; 0: as fast as they are answered
        rate: u32,
        /// How long
        seconds: u64,
    },
}

/// Runs it.
///
/// # Errors
/// When a socket fails.
pub fn run(load: &Load) -> Result<()> {
    match load {
        Load::Tftp { to, name, len, from, clients } => tftp(*to, name, *len, *from, *clients),
        Load::Window { to, name, len, window, lose } => windowed(*to, name, *len, *window, *lose),
        Load::Dhcp { interface, endpoints, window, rate, seconds } => {
            dhcp(interface, *endpoints, *window, *rate, Duration::from_secs(*seconds))
        }
    }
}

fn tftp(to: SocketAddrV4, name: &str, len: usize, from: Ipv4Addr, clients: u32) -> Result<()> {
    let barrier = std::sync::Barrier::new(clients as usize);
    let times = std::thread::scope(|scope| {
        let one = |n: u32| {
            let (barrier, own) = (&barrier, Ipv4Addr::from(u32::from(from) + n));
            std::thread::Builder::new().stack_size(128 * 1024).spawn_scoped(scope, move || {
                let socket = UdpSocket::bind((own, 0))?;
                barrier.wait();
                let begun = Instant::now();
                fetch(&socket, to, name, len)?;
                Ok::<Duration, anyhow::Error>(begun.elapsed())
            })
        };
        let threads: Vec<_> = (0..clients).map(one).collect::<io::Result<_>>()?;
        let joined = threads.into_iter().map(|thread| thread.join());
        Ok::<Vec<Result<Duration>>, io::Error>(
            joined.map(|one| one.unwrap_or_else(|_| bail!("died"))).collect(),
        )
    })?;
    let failed = times.iter().filter(|time| time.is_err()).count();
    if let Some(error) = times.iter().find_map(|time| time.as_ref().err()) {
        eprintln!("{failed} clients failed; the first: {error:#}");
    }
    let mut good: Vec<Duration> = times.into_iter().flatten().collect();
    good.sort();
    let at = |part: usize| good.get(part).map_or(0, |time| time.as_millis());
    println!("{} {} {failed}", at(good.len().saturating_sub(1)), at(good.len() / 2));
    Ok(())
}

/// One client's side of a transfer: what it said last, to whom, and how often in vain.
struct Transfer<'a> {
    socket: &'a UdpSocket,
    peer: SocketAddr,
    say: Vec<u8>,
    tries: u32,
}

impl<'a> Transfer<'a> {
    /// Asks for a file with these options (RFC 1350, 2347).
    fn begin(socket: &'a UdpSocket, to: SocketAddrV4, name: &str, options: &[&str]) -> Result<Self> {
        socket.set_read_timeout(Some(RETRY))?;
        let mut say = vec![0, 1];
        for part in [&[name, "octet"], options].concat() {
            say.extend_from_slice(part.as_bytes());
            say.push(0);
        }
        socket.send_to(&say, SocketAddr::from(to))?;
        Ok(Transfer { socket, peer: to.into(), say, tries: 0 })
    }

    /// The next packet and its sender; after silence what was said last is said again.
    fn hear(&mut self, buf: &mut [u8]) -> Result<(usize, SocketAddr)> {
        loop {
            match self.socket.recv_from(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.again("no answer")?,
                heard => return Ok(heard?),
            }
        }
    }

    fn again(&mut self, why: &str) -> Result<()> {
        self.tries += 1;
        ensure!(self.tries < TRIES, "{why} after {} tries", self.tries);
        self.socket.send_to(&self.say, self.peer)?;
        Ok(())
    }

    /// Acknowledges what came before the block `next`.
    fn acknowledge(&mut self, next: u16) -> io::Result<()> {
        let [high, low] = next.wrapping_sub(1).to_be_bytes();
        self.say = vec![0, 4, high, low];
        self.socket.send_to(&self.say, self.peer).map(drop)
    }
}

/// One lockstep client (RFC 1350, 2348).
fn fetch(socket: &UdpSocket, to: SocketAddrV4, name: &str, len: usize) -> Result<()> {
    let mut transfer = Transfer::begin(socket, to, name, &["blksize", "1468"])?;
    let (mut got, mut next, mut buf) = (0, 1_u16, [0; 2048]);
    loop {
        let (read, from) = transfer.hear(&mut buf)?;
        match (buf[1], u16::from_be_bytes([buf[2], buf[3]])) {
            // DATA
            (3, block) if block == next => {
                got += read - 4;
                next = next.wrapping_add(1);
            }
            // OACK
            (6, _) if next == 1 => {}
            // Too many transfers: firmware asks again, too.
            (5, _) => {
                let refused = String::from_utf8_lossy(&buf[4..read]);
                ensure!(next == 1, "refused: {refused}");
                std::thread::park_timeout(RETRY);
                transfer.again(&format!("refused: {refused}"))?;
                continue;
            }
            _ => continue,
        }
        (transfer.peer, transfer.tries) = (from, 0);
        transfer.acknowledge(next)?;
        if buf[1] == 3 && read < BLOCK + 4 {
            ensure!(got == len, "{got} of {len} bytes");
            return Ok(());
        }
    }
}

/// A client with a window (RFC 7440) that acknowledges each block that it did not expect, as EDK2 does (D1).
fn windowed(to: SocketAddrV4, name: &str, len: usize, window: u16, lose: u32) -> Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let (window_text, begun) = (window.to_string(), Instant::now());
    let options = ["blksize", "1468", "windowsize", &window_text];
    let mut transfer = Transfer::begin(&socket, to, name, &options)?;
    let (mut got, mut next, mut held, mut seen, mut buf) = (0, 1_u16, 0, 0_u32, [0; 2048]);
    while got < len {
        let (read, from) = transfer.hear(&mut buf)?;
        ensure!(buf[1] == 3 || buf[1] == 6, "refused: {}", String::from_utf8_lossy(&buf[4..read]));
        transfer.peer = from;
        if buf[1] == 3 {
            seen += 1;
            if lose > 0 && seen.is_multiple_of(lose) {
                continue;
            }
            if u16::from_be_bytes([buf[2], buf[3]]) == next {
                (got, next, held, transfer.tries) = (got + read - 4, next.wrapping_add(1), held + 1, 0);
                if held < window && got < len {
                    continue;
                }
            }
        }
        held = 0;
        transfer.acknowledge(next)?;
    }
    println!("{}", begun.elapsed().as_millis());
    Ok(())
}

fn dhcp(interface: &str, endpoints: u32, window: usize, rate: u32, long: Duration) -> Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 68)).context("port 68")?;
    setsockopt(&socket, sockopt::BindToDevice, &interface.into())?;
    socket.set_broadcast(true)?;
    socket.set_read_timeout(Some(Duration::from_millis(1)))?;
    let begun = Instant::now();
    let (mut asked, mut waiting) = (0_u32, HashMap::new());
    let (mut took, mut lost) = (Vec::new(), 0_u32);
    let mut buf = [0; 1500];
    while begun.elapsed() < long {
        let allowed =
            if rate == 0 { u32::MAX } else { (begun.elapsed().as_secs_f64() * f64::from(rate)) as u32 };
        while waiting.len() < window && asked < allowed {
            socket.send_to(&discover(asked, asked % endpoints), (Ipv4Addr::BROADCAST, 67))?;
            waiting.insert(asked, Instant::now());
            asked += 1;
        }
        match socket.recv_from(&mut buf) {
            Ok((len, _)) if len > 240 && buf[0] == 2 => {
                let xid = u32::from_be_bytes([buf[4], buf[5], buf[6], buf[7]]);
                took.extend(waiting.remove(&xid).map(|sent: Instant| sent.elapsed()));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let before = waiting.len();
                waiting.retain(|_, sent| sent.elapsed() < RETRY);
                lost += (before - waiting.len()) as u32;
            }
            Err(error) => return Err(error.into()),
        }
    }
    let offers = took.len() as f64 / begun.elapsed().as_secs_f64();
    took.sort();
    let at = |part: f64| took.get((took.len() as f64 * part) as usize).map_or(0, |time| time.as_micros());
    println!("{offers:.0} {} {} {lost}", at(0.5), at(0.99));
    Ok(())
}

/// A DISCOVER as a UEFI firmware for x64 sends it.
fn discover(xid: u32, endpoint: u32) -> Vec<u8> {
    let mut raw = vec![0; 240];
    raw[..4].copy_from_slice(&[1, 1, 6, 0]);
    raw[4..8].copy_from_slice(&xid.to_be_bytes());
    raw[10] = 0x80;
    raw[28..30].copy_from_slice(&[2, 0x47]);
    raw[30..34].copy_from_slice(&endpoint.to_be_bytes());
    raw[236..240].copy_from_slice(&[99, 130, 83, 99]);
    raw.extend_from_slice(&[53, 1, 1, 93, 2, 0, 7, 94, 3, 1, 3, 16, 60, 32]);
    raw.extend_from_slice(b"PXEClient:Arch:00007:UNDI:003016");
    raw.extend_from_slice(&[55, 7, 1, 3, 43, 54, 60, 66, 67, 255]);
    raw.resize(300, 0);
    raw
}
