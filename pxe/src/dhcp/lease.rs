//! The addresses of one full-DHCP interface: who holds which, until when. Sans-I/O; time is given.
//!
//! ```text
//!   (free) ──offer──► Offered ──commit──► Bound ──time──► (expired: still remembered, reused last)
//!                        │                  │ release ──► (expired)
//!                        │ withdraw         └ decline ──► Declined for ten minutes
//!                        └──► (free)
//! ```
//!
//! A client gets the address that it had. The pool is never larger than its configuration, so a flood of hardware
//! addresses cannot grow it; when it is full, an endpoint with a boot ticket takes the oldest address that was offered
//! but never taken. It never hands out an address that someone holds.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::client::Mac;

/// How long an offer is held for the client's request. EDK2 takes four to five seconds to choose.
const OFFER_HOLD: Duration = Duration::from_secs(30);
/// How long an address that a client declined (someone else uses it) stays out of use.
const DECLINE_HOLD: Duration = Duration::from_secs(600);

/// A granted lease, as it is told to a [`LeaseJournal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The address.
    pub addr: Ipv4Addr,
    /// Who holds it.
    pub mac: Mac,
    /// For how long from now.
    pub remaining: Duration,
}

/// Keeps leases across restarts. Implemented by the appliance; without one they live in memory.
pub trait LeaseJournal: Send + Sync {
    /// A lease was granted or prolonged. Must not block.
    fn granted(&self, lease: Lease);
    /// A lease was given back.
    fn released(&self, addr: Ipv4Addr);
    /// What was granted before a restart and still runs.
    fn load(&self) -> Vec<Lease>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    Offered,
    Bound,
    Declined,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    mac: Mac,
    hold: Hold,
    until: Instant,
}

/// The pool.
#[derive(Debug)]
pub struct Leases {
    first: u32,
    len: u32,
    entries: HashMap<Ipv4Addr, Entry>,
    by_mac: HashMap<Mac, Ipv4Addr>,
}

impl Leases {
    /// An empty pool of all addresses from `first` to `last`.
    pub fn new(first: Ipv4Addr, last: Ipv4Addr) -> Self {
        let (first, last) = (u32::from(first), u32::from(last));
        let len = last.saturating_sub(first).saturating_add(1);
        Leases { first, len, entries: HashMap::new(), by_mac: HashMap::new() }
    }

    /// Takes over leases from before a restart; those outside the pool are dropped.
    pub fn restore(&mut self, leases: impl IntoIterator<Item = Lease>, now: Instant) {
        for Lease { addr, mac, remaining } in leases {
            if self.in_pool(addr) {
                self.bind(addr, Entry { mac, hold: Hold::Bound, until: now + remaining });
            }
        }
    }

    /// An address for a client: the one it has, the one it asks for if free, or another. `urgent` is an endpoint with a
    /// boot ticket. `None` when the pool is empty.
    pub fn offer(
        &mut self,
        mac: Mac,
        wanted: Option<Ipv4Addr>,
        urgent: bool,
        now: Instant,
    ) -> Option<Ipv4Addr> {
        let addr = self
            .held_by(mac)
            .or_else(|| wanted.filter(|a| self.in_pool(*a) && self.is_free(*a, now)))
            .or_else(|| self.unused(mac))
            .or_else(|| self.expired(now))
            .or_else(|| if urgent { self.oldest_offer() } else { None })?;
        let kept = self.entries.get(&addr).filter(|e| e.mac == mac && e.hold == Hold::Bound && e.until > now);
        if kept.is_none() {
            self.bind(addr, Entry { mac, hold: Hold::Offered, until: now + OFFER_HOLD });
        }
        Some(addr)
    }

    /// Grants `addr` for `lease`, if the client holds it or it is free. False means that it must not be confirmed.
    pub fn commit(&mut self, mac: Mac, addr: Ipv4Addr, lease: Duration, now: Instant) -> bool {
        let holds = self.held_by(mac) == Some(addr);
        if !self.in_pool(addr) || !(holds || self.is_free(addr, now)) {
            return false;
        }
        self.bind(addr, Entry { mac, hold: Hold::Bound, until: now + lease });
        true
    }

    /// The client chose another server: its offer is taken back. A bound lease stays.
    pub fn withdraw(&mut self, mac: Mac) {
        if let Some(addr) = self.by_mac.get(&mac).copied()
            && self.entries.get(&addr).is_some_and(|e| e.hold == Hold::Offered)
        {
            self.remove(addr);
        }
    }

    /// The client gives its address back. It stays remembered for it. True if it held it.
    pub fn release(&mut self, mac: Mac, addr: Ipv4Addr, now: Instant) -> bool {
        match self.entries.get_mut(&addr) {
            Some(entry) if entry.mac == mac && entry.hold == Hold::Bound => {
                entry.until = now;
                true
            }
            _ => false,
        }
    }

    /// The client found that someone else uses its address. True if it held it.
    pub fn decline(&mut self, mac: Mac, addr: Ipv4Addr, now: Instant) -> bool {
        match self.entries.get_mut(&addr) {
            Some(entry) if entry.mac == mac && entry.hold != Hold::Declined => {
                *entry = Entry { mac, hold: Hold::Declined, until: now + DECLINE_HOLD };
                self.by_mac.remove(&mac);
                true
            }
            _ => false,
        }
    }

    /// The address that a client holds or was offered, even if expired and not yet reused.
    pub fn held_by(&self, mac: Mac) -> Option<Ipv4Addr> {
        self.by_mac.get(&mac).copied()
    }

    fn bind(&mut self, addr: Ipv4Addr, entry: Entry) {
        self.remove(addr);
        if let Some(old) = self.by_mac.insert(entry.mac, addr)
            && old != addr
        {
            self.entries.remove(&old);
        }
        self.entries.insert(addr, entry);
    }

    fn remove(&mut self, addr: Ipv4Addr) {
        if let Some(old) = self.entries.remove(&addr)
            && self.by_mac.get(&old.mac) == Some(&addr)
        {
            self.by_mac.remove(&old.mac);
        }
    }

    fn in_pool(&self, addr: Ipv4Addr) -> bool {
        u32::from(addr).wrapping_sub(self.first) < self.len
    }

    fn is_free(&self, addr: Ipv4Addr, now: Instant) -> bool {
        self.entries.get(&addr).is_none_or(|e| e.until <= now)
    }

    /// An address that nobody ever had, starting at a place that depends on the client, so that it tends to get the same
    /// one after a restart without a journal.
    fn unused(&self, mac: Mac) -> Option<Ipv4Addr> {
        if self.entries.len() >= self.len as usize {
            return None;
        }
        let mut hasher = DefaultHasher::new();
        mac.hash(&mut hasher);
        let start = (hasher.finish() % u64::from(self.len)) as u32;
        (0..self.len)
            .map(|i| Ipv4Addr::from(self.first + (start + i) % self.len))
            .find(|addr| !self.entries.contains_key(addr))
    }

    fn expired(&self, now: Instant) -> Option<Ipv4Addr> {
        self.oldest(|e| e.until <= now)
    }

    fn oldest_offer(&self) -> Option<Ipv4Addr> {
        self.oldest(|e| e.hold == Hold::Offered)
    }

    fn oldest(&self, wanted: impl Fn(&Entry) -> bool) -> Option<Ipv4Addr> {
        self.entries.iter().filter(|(_, e)| wanted(e)).min_by_key(|(a, e)| (e.until, **a)).map(|(a, _)| *a)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn mac(n: u16) -> Mac {
        [2, 0, 0, 0, (n >> 8) as u8, n as u8].into()
    }

    fn ip(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, last)
    }

    #[test]
    fn a_client_keeps_its_address_through_all_stages() {
        let now = Instant::now();
        let mut pool = Leases::new(ip(10), ip(20));
        let addr = pool.offer(mac(1), None, false, now).expect("free");
        assert!(pool.commit(mac(1), addr, HOUR, now));
        for _ in 0..3 {
            assert_eq!(pool.offer(mac(1), Some(ip(11)), false, now), Some(addr));
        }
        assert_eq!(pool.offer(mac(1), None, false, now + 2 * HOUR), Some(addr), "also after it ran out");
    }

    #[test]
    fn a_wanted_address_is_given_only_if_free() {
        let now = Instant::now();
        let mut pool = Leases::new(ip(10), ip(20));
        assert_eq!(pool.offer(mac(1), Some(ip(15)), false, now), Some(ip(15)));
        assert_ne!(pool.offer(mac(2), Some(ip(15)), false, now), Some(ip(15)));
        assert_ne!(pool.offer(mac(3), Some(ip(99)), false, now), Some(ip(99)));
        assert!(!pool.commit(mac(3), ip(15), HOUR, now));
        assert!(!pool.commit(mac(3), ip(99), HOUR, now));
    }

    #[test]
    fn c17_expired_addresses_are_reused_when_none_is_fresh() {
        let now = Instant::now();
        let mut pool = Leases::new(ip(10), ip(11));
        for n in 1..=2 {
            let addr = pool.offer(mac(n), None, false, now).expect("free");
            assert!(pool.commit(mac(n), addr, Duration::from_secs(120), now));
        }
        assert_eq!(pool.offer(mac(3), None, false, now), None);
        assert!(pool.offer(mac(3), None, false, now + Duration::from_secs(121)).is_some());
    }

    #[test]
    fn starvation_by_random_addresses_does_not_stop_an_endpoint_with_a_ticket() {
        let now = Instant::now();
        let mut pool = Leases::new(ip(10), ip(40));
        for n in 0..1000 {
            pool.offer(mac(n), None, false, now);
        }
        assert_eq!(pool.entries.len(), 31);
        assert_eq!(pool.offer(mac(5000), None, false, now), None);
        let addr = pool.offer(mac(5000), None, true, now).expect("taken from an unclaimed offer");
        assert!(pool.commit(mac(5000), addr, HOUR, now));
    }

    #[test]
    fn declined_addresses_rest_and_released_ones_come_back() {
        let now = Instant::now();
        let mut pool = Leases::new(ip(10), ip(10));
        assert_eq!(pool.offer(mac(1), None, false, now), Some(ip(10)));
        assert!(!pool.decline(mac(2), ip(10), now), "only the holder can decline");
        assert!(pool.decline(mac(1), ip(10), now));
        assert_eq!(pool.offer(mac(2), None, true, now), None);
        let later = now + DECLINE_HOLD;
        assert_eq!(pool.offer(mac(2), None, false, later), Some(ip(10)));
        assert!(pool.commit(mac(2), ip(10), HOUR, later));
        assert!(!pool.release(mac(1), ip(10), later));
        assert!(pool.release(mac(2), ip(10), later));
        assert_eq!(pool.offer(mac(3), None, false, later), Some(ip(10)));
    }

    #[test]
    fn restored_leases_are_held() {
        let now = Instant::now();
        let mut pool = Leases::new(ip(10), ip(11));
        let lease = |last, n| Lease { addr: ip(last), mac: mac(n), remaining: HOUR };
        pool.restore([lease(10, 1), lease(99, 2)], now);
        assert_eq!(pool.held_by(mac(1)), Some(ip(10)));
        assert_eq!(pool.held_by(mac(2)), None);
        assert_eq!(pool.offer(mac(3), Some(ip(10)), true, now), Some(ip(11)));
    }

    proptest! {
        #[test]
        fn no_two_clients_ever_hold_one_address(
            steps in proptest::collection::vec((0u8..6, 0u16..6, 9u8..16, 0u64..200), 1..200),
        ) {
            let start = Instant::now();
            let mut now = start;
            let mut pool = Leases::new(ip(10), ip(13));
            let mut bound: HashMap<Ipv4Addr, (Mac, Instant)> = HashMap::new();
            for (what, who, last, wait) in steps {
                now += Duration::from_secs(wait);
                let (who, addr) = (mac(who), ip(last));
                match what {
                    0 => { pool.offer(who, Some(addr), false, now); }
                    1 => { pool.offer(who, None, true, now); }
                    2 => if pool.commit(who, addr, HOUR, now) {
                        if let Some((other, until)) = bound.get(&addr) {
                            prop_assert!(*other == who || *until <= now, "{} held by {}", addr, other);
                        }
                        bound.retain(|_, (m, _)| *m != who);
                        bound.insert(addr, (who, now + HOUR));
                    },
                    3 => pool.withdraw(who),
                    4 => if pool.release(who, addr, now) { bound.remove(&addr); },
                    _ => if pool.decline(who, addr, now) { bound.remove(&addr); },
                }
                prop_assert!(pool.entries.len() <= 4);
                for (mac, addr) in &pool.by_mac {
                    prop_assert_eq!(pool.entries.get(addr).map(|e| e.mac), Some(*mac));
                }
            }
        }
    }
}
