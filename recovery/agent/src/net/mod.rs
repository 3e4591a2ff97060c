//! From a cable to an address: links up, DHCP on each in turn, address and route set, lease kept.
//!
//! All links are brought up first, so that spanning tree (30 to 50 s on unconfigured switch ports) runs on all of them
//! at once; then each is asked in turn, the one that firmware booted from first, with growing patience.
//!
//! It must never ask a name server: the appliance is an address.

pub mod dhcp;
mod ioctl;

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::time::{Duration, Instant};

use recovery_protocol::MacAddr;
use ring::rand::{SecureRandom as _, SystemRandom};
use socket2::{Domain, Protocol, Socket, Type};

use self::dhcp::{Exchange, Lease, Step};

/// How long one link is asked before the next has its turn: by round, the last repeats.
const PATIENCE: [Duration; 3] = [Duration::from_secs(4), Duration::from_secs(8), Duration::from_secs(15)];
/// First time until a DISCOVER is repeated; doubles.
const REPEAT_FIRST: Duration = Duration::from_secs(1);

/// Why there is no address.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// A socket call failed.
    #[error("{interface}: {what}: {source}")]
    Socket {
        /// The interface's name.
        interface: String,
        /// What was being done.
        what: &'static str,
        /// The kernel's word.
        source: io::Error,
    },
    /// No server answered in time.
    #[error("{interface}: no DHCP server answered within {seconds} s")]
    Silent {
        /// The interface's name.
        interface: String,
        /// How long we asked.
        seconds: u64,
    },
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// The kernel's name; for this boot only.
    pub name: String,
    /// Its Ethernet address.
    pub mac: MacAddr,
}

/// An interface with an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connected {
    /// Which one.
    pub interface: Interface,
    /// What DHCP gave.
    pub lease: Lease,
}

/// Ethernet interfaces with hardware behind them, `preferred` first, then by name.
pub fn interfaces(preferred: Option<MacAddr>) -> Vec<Interface> {
    let mut found: Vec<Interface> = fs::read_dir("/sys/class/net")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| interface(&entry.path(), entry.file_name().to_str()?))
        .collect();
    found.sort_by_key(|interface| (Some(interface.mac) != preferred, interface.name.clone()));
    found
}

fn interface(dir: &Path, name: &str) -> Option<Interface> {
    const ARPHRD_ETHER: &str = "1";
    let read = |file: &str| fs::read_to_string(dir.join(file)).ok();
    let ethernet = read("type")?.trim() == ARPHRD_ETHER && dir.join("device").exists();
    let mac = read("address")?.trim().parse().ok()?;
    ethernet.then(|| Interface { name: name.to_owned(), mac })
}

/// Whether it may be unplugged and come with another computer: a USB adapter, or a card behind a port that the firmware calls external
/// (Thunderbolt docks). `class` is `/sys/class/net`.
pub fn is_docked(class: &Path, interface: &Interface) -> bool {
    let device = class.join(&interface.name).join("device");
    let on_usb = fs::read_link(device.join("subsystem")).is_ok_and(|bus| bus.ends_with("usb"));
    on_usb || fs::read_to_string(device.join("removable")).is_ok_and(|text| text.trim() == "removable")
}

/// Brings the link up. Without a link partner it stays without carrier; that is not an error.
///
/// # Errors
/// When the kernel refuses.
pub fn bring_up(interface: &Interface) -> Result<(), NetError> {
    ioctl::bring_up(&interface.name).map_err(|errno| socket_error(interface, "link up", errno.into()))
}

/// Whether there is a link partner at the other end of the cable.
pub fn has_link(interface: &Interface) -> bool {
    let carrier = Path::new("/sys/class/net").join(&interface.name).join("carrier");
    fs::read_to_string(carrier).is_ok_and(|text| text.trim() == "1")
}

/// Asks for an address in round `round` (0, 1, 2, …; later rounds wait longer) and sets it.
///
/// # Errors
/// [`NetError::Silent`] when nobody answers; a socket's otherwise.
pub fn connect(
    interface: &Interface,
    round: usize,
    mut on_first_packet: impl FnMut(),
) -> Result<Connected, NetError> {
    let patience = PATIENCE[round.min(PATIENCE.len() - 1)];
    let socket = dhcp_socket(interface)?;
    let mut exchange = Exchange::new(interface.mac, random_u32());
    let mut message = exchange.discover();
    let until = Instant::now() + patience;
    let mut repeat = REPEAT_FIRST;
    while Instant::now() < until {
        match send(&socket, interface, &message) {
            Ok(()) => on_first_packet(),
            // The link is not quite there yet.
            Err(NetError::Socket { source, .. }) if is_transient(&source) => {}
            Err(other) => return Err(other),
        }
        match listen(&socket, &mut exchange, (Instant::now() + repeat).min(until)) {
            Some(Step::Bound(lease)) => return set(interface, lease),
            Some(Step::Request(bytes)) => {
                message = bytes;
                repeat = REPEAT_FIRST;
            }
            Some(Step::Restart) => {
                exchange = Exchange::new(interface.mac, random_u32());
                message = exchange.discover();
            }
            None => repeat *= 2,
        }
    }
    Err(NetError::Silent { interface: interface.name.clone(), seconds: patience.as_secs() })
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NetworkDown | io::ErrorKind::NetworkUnreachable)
}

fn set(interface: &Interface, lease: Lease) -> Result<Connected, NetError> {
    ioctl::assign(&interface.name, lease.address, lease.prefix)
        .map_err(|errno| socket_error(interface, "set address", errno.into()))?;
    if let Some(router) = lease.router {
        ioctl::add_default_route(router)
            .map_err(|errno| socket_error(interface, "set default route", errno.into()))?;
    }
    Ok(Connected { interface: interface.clone(), lease })
}

/// Keeps the lease for as long as the process lives: asks again at half of its time. A refusal changes nothing here: a
/// recovery does not give up a working address half way.
pub fn keep(connected: &Connected) -> ! {
    let mut lease = connected.lease;
    loop {
        std::thread::sleep(Duration::from_secs(u64::from(lease.seconds / 2).max(10)));
        lease = renew(&connected.interface, lease).unwrap_or(lease);
    }
}

fn renew(interface: &Interface, lease: Lease) -> Option<Lease> {
    let socket = dhcp_socket(interface).ok()?;
    let mut exchange = Exchange::renewing(interface.mac, random_u32(), lease);
    send(&socket, interface, &exchange.renewal()?).ok()?;
    match listen(&socket, &mut exchange, Instant::now() + PATIENCE[0])? {
        Step::Bound(lease) => Some(lease),
        Step::Request(_) | Step::Restart => None,
    }
}

fn socket_error(interface: &Interface, what: &'static str, source: io::Error) -> NetError {
    NetError::Socket { interface: interface.name.clone(), what, source }
}

fn dhcp_socket(interface: &Interface) -> Result<Socket, NetError> {
    let open = || {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_reuse_address(true)?;
        socket.set_broadcast(true)?;
        socket.bind_device(Some(interface.name.as_bytes()))?;
        socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68).into())?;
        Ok(socket)
    };
    open().map_err(|source| socket_error(interface, "DHCP socket", source))
}

fn send(socket: &Socket, interface: &Interface, message: &[u8]) -> Result<(), NetError> {
    match socket.send_to(message, &SocketAddrV4::new(Ipv4Addr::BROADCAST, 67).into()) {
        Ok(_) => Ok(()),
        Err(source) => Err(socket_error(interface, "send DHCP", source)),
    }
}

/// Reads packets until one means something for the exchange, or the time is over.
fn listen(socket: &Socket, exchange: &mut Exchange, until: Instant) -> Option<Step> {
    let mut buffer = [0; 1500];
    loop {
        let left = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
        socket.set_read_timeout(Some(left)).ok()?;
        let mut reader = socket;
        let len = io::Read::read(&mut reader, &mut buffer).unwrap_or(0);
        if let Some(step) = exchange.on_packet(&buffer[..len]) {
            return Some(step);
        }
    }
}

fn random_u32() -> u32 {
    let mut bytes = [0; 4];
    // Without randomness a fixed xid still works: replies are matched by address too.
    let _ = SystemRandom::new().fill(&mut bytes);
    u32::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_unplugged_is_known_by_its_bus_or_its_port() {
        let class = tempfile::tempdir().unwrap();
        let interface = |name: &str| Interface { name: name.to_owned(), mac: MacAddr([2, 0, 0, 0, 0, 1]) };
        for (name, bus, removable) in
            [("enp1s0", "pci", "fixed"), ("enx02", "usb", "unknown"), ("enp9s0", "pci", "removable")]
        {
            let device = class.path().join(name).join("device");
            fs::create_dir_all(&device).unwrap();
            std::os::unix::fs::symlink(format!("../../../../bus/{bus}"), device.join("subsystem")).unwrap();
            fs::write(device.join("removable"), format!("{removable}\n")).unwrap();
            assert_eq!(is_docked(class.path(), &interface(name)), name != "enp1s0", "{name}");
        }
        assert!(!is_docked(class.path(), &interface("gone")));
    }
}
