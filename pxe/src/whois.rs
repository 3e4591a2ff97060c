//! Who stands behind an IP address: TFTP and HTTP requests carry no hardware address, and boot tickets are kept by it.
//!
//! What DHCP taught us comes first (it knows class and architecture, and sees through relays), then the kernel's
//! neighbour table. Both can be lied to by anyone on the same wire; they select a ticket and prove nothing. The book is
//! bounded: the entry that was silent longest makes room.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::client::{Client, Mac};

/// Entries kept.
const ENTRIES_MAX: usize = 4096;

/// Looks a hardware address up when DHCP has not shown it.
pub trait Neighbours: Send + Sync {
    /// The hardware address of an on-link IPv4 address, if known.
    fn mac_of(&self, addr: Ipv4Addr) -> Option<Mac>;
}

/// The kernel's neighbour table (`/proc/net/arp`): an endpoint that sent us a unicast packet is in it.
#[derive(Debug, Clone, Copy, Default)]
pub struct KernelNeighbours;

impl Neighbours for KernelNeighbours {
    fn mac_of(&self, addr: Ipv4Addr) -> Option<Mac> {
        let table = std::fs::read_to_string("/proc/net/arp").ok()?;
        neighbour(&table, addr)
    }
}

/// Finds a complete entry in the text of `/proc/net/arp`: address, type, flags (2 = complete), hardware address.
fn neighbour(table: &str, addr: Ipv4Addr) -> Option<Mac> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().take(4).collect();
        let [ip, _, flags, mac] = fields[..] else { return None };
        let complete = u32::from_str_radix(flags.trim_start_matches("0x"), 16).is_ok_and(|f| f & 2 != 0);
        (complete && ip.parse() == Ok(addr)).then(|| mac.parse().ok()).flatten()
    })
}

/// The book of clients by address.
pub struct Whois {
    seen: Mutex<Seen>,
    neighbours: Arc<dyn Neighbours>,
}

#[derive(Default)]
struct Seen {
    by_addr: HashMap<Ipv4Addr, (u64, Client)>,
    clock: u64,
}

impl Whois {
    /// An empty book over a neighbour table.
    pub fn new(neighbours: Arc<dyn Neighbours>) -> Self {
        Whois { seen: Mutex::default(), neighbours }
    }

    /// Notes a client that DHCP showed together with its address.
    pub fn learn(&self, addr: Ipv4Addr, client: &Client) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.clock += 1;
        let now = seen.clock;
        if seen.by_addr.len() >= ENTRIES_MAX
            && !seen.by_addr.contains_key(&addr)
            && let Some(oldest) = seen.by_addr.iter().min_by_key(|(_, (at, _))| *at).map(|(a, _)| *a)
        {
            seen.by_addr.remove(&oldest);
        }
        seen.by_addr.insert(addr, (now, Client { addr: Some(addr), ..client.clone() }));
    }

    /// The client behind an address, if anything is known of it.
    pub fn lookup(&self, addr: Ipv4Addr) -> Option<Client> {
        let known = {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.clock += 1;
            let now = seen.clock;
            seen.by_addr.get_mut(&addr).map(|entry| {
                entry.0 = now;
                entry.1.clone()
            })
        };
        known.or_else(|| self.neighbours.mac_of(addr).map(|mac| Client::bare(mac, Some(addr))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Arch, ClientClass};

    const ARP: &str = "IP address       HW type     Flags       HW address            Mask     Device\n\
        10.0.0.9         0x1         0x2         52:54:00:00:00:09     *        br0\n\
        10.0.0.8         0x1         0x0         00:00:00:00:00:00     *        br0\n\
        broken line\n";

    #[test]
    fn kernel_table_gives_complete_entries_only() {
        assert_eq!(neighbour(ARP, Ipv4Addr::new(10, 0, 0, 9)), "52:54:00:00:00:09".parse().ok());
        assert_eq!(neighbour(ARP, Ipv4Addr::new(10, 0, 0, 8)), None);
        assert_eq!(neighbour("", Ipv4Addr::LOCALHOST), None);
    }

    struct Nobody;
    impl Neighbours for Nobody {
        fn mac_of(&self, _: Ipv4Addr) -> Option<Mac> {
            None
        }
    }

    fn client(last: u8) -> Client {
        let class = ClientClass::Pxe;
        Client {
            mac: [2, 0, 0, 0, 0, last].into(),
            machine: None,
            arch: Some(Arch::EfiX64),
            class,
            addr: None,
        }
    }

    #[test]
    fn what_dhcp_taught_comes_back_with_its_address() {
        let book = Whois::new(Arc::new(Nobody));
        let addr = Ipv4Addr::new(10, 0, 0, 5);
        assert_eq!(book.lookup(addr), None);
        book.learn(addr, &client(1));
        book.learn(addr, &client(2));
        assert_eq!(book.lookup(addr), Some(Client { addr: Some(addr), ..client(2) }));
    }

    #[test]
    fn a_flood_of_addresses_does_not_grow_the_book_or_evict_the_busy() {
        let book = Whois::new(Arc::new(Nobody));
        let busy = Ipv4Addr::new(10, 9, 9, 9);
        book.learn(busy, &client(1));
        for i in 0..(ENTRIES_MAX as u32 + 500) {
            book.learn(Ipv4Addr::from(0x0b00_0000 + i), &client(2));
            if i % 64 == 0 {
                assert!(book.lookup(busy).is_some());
            }
        }
        assert!(book.lookup(busy).is_some());
        assert!(book.seen.lock().expect("lock").by_addr.len() <= ENTRIES_MAX);
    }
}
