//! The addresses of one full-DHCP interface: who holds which, until when. Sans-I/O; time is given.
//!
//! ```text
//!   (free) ──offer──► Offered ──commit──► Bound ──time──► (expired: still remembered, reused last)
//!                        │                  │ release ──► (expired)
//!                        │ withdraw         └ decline ──► Declined for ten minutes
//!                        └──► (free)
//! ```
//!
//! A client gets the address that is reserved for it, or the one that it had. The pool is never larger than its configuration, so a flood of hardware
//! addresses cannot grow it; when it is full, an endpoint with a boot ticket takes the oldest address that was offered
//! but never taken. It never hands out an address that someone holds, that is reserved for another, or that someone was heard to use
//! without a lease ([`Leases::heard`]): a printer with an address of its own, a server that answered before us.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::client::Mac;
use crate::dhcp::reserved::Reserved;

/// How long an offer is held for the client's request. EDK2 takes four to five seconds to choose.
const OFFER_HOLD: Duration = Duration::from_secs(30);
/// How long an address that a client declined (someone else uses it) stays out of use.
const DECLINE_HOLD: Duration = Duration::from_secs(600);
/// How long an address stays out of use after someone without a lease was heard to use it.
const USED_HOLD: Duration = Duration::from_secs(600);
/// How long one round of questions through the pool takes, after the first.
const ROUND: Duration = Duration::from_secs(300);
/// From one question to the next in the first round, and at least in any other.
const PROBE_GAP: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(50));

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

/// Someone who uses an address without a lease of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Squatter {
    /// The address.
    pub addr: Ipv4Addr,
    /// Who uses it.
    pub by: Mac,
    /// Who has a lease of it, if anyone.
    pub holder: Option<Mac>,
}

/// The pool.
#[derive(Debug)]
pub struct Leases {
    first: u32,
    len: u32,
    entries: HashMap<Ipv4Addr, Entry>,
    by_mac: HashMap<Mac, Ipv4Addr>,
    reserved: Arc<Reserved>,
    /// Who was heard to use an address without a lease of it, and until when that counts.
    used: HashMap<Ipv4Addr, (Mac, Instant)>,
    /// Addresses asked about since the start.
    asked: u64,
}

impl Leases {
    /// An empty pool of all addresses from `first` to `last`.
    pub fn new(first: Ipv4Addr, last: Ipv4Addr) -> Self {
        let (first, last) = (u32::from(first), u32::from(last));
        let len = last.saturating_sub(first).saturating_add(1);
        Leases {
            first,
            len,
            entries: HashMap::new(),
            by_mac: HashMap::new(),
            reserved: Arc::default(),
            used: HashMap::new(),
            asked: 0,
        }
    }

    /// Sets what is reserved from now on. Who holds an address that is another's now keeps it until it asks again.
    pub fn reserve(&mut self, reserved: Arc<Reserved>) {
        self.reserved = reserved;
    }

    /// Takes over leases from before a restart; those of addresses that are not ours to give are dropped.
    pub fn restore(&mut self, leases: impl IntoIterator<Item = Lease>, now: Instant) {
        for Lease { addr, mac, remaining } in leases {
            if self.gives(mac, addr) {
                self.bind(addr, Entry { mac, hold: Hold::Bound, until: now + remaining }, now);
            }
        }
    }

    /// An address for a client: the one reserved for it, the one it has, the one it asks for if free, or another. `urgent` is an endpoint with a
    /// boot ticket. `None` when the pool is empty.
    pub fn offer(
        &mut self,
        mac: Mac,
        wanted: Option<Ipv4Addr>,
        urgent: bool,
        now: Instant,
    ) -> Option<Ipv4Addr> {
        let may_have = |addr: &Ipv4Addr| self.may_have(mac, *addr, now);
        let addr = self
            .reserved
            .of_client(mac)
            .filter(|addr| self.is_free_for_its_owner(mac, *addr, now))
            .filter(may_have)
            .or_else(|| self.held_by(mac).filter(may_have))
            .or_else(|| wanted.filter(|addr| self.is_free(*addr, now)).filter(may_have))
            .or_else(|| self.unused(mac, now))
            .or_else(|| self.oldest(|addr, e| e.until <= now && may_have(&addr)))
            .or_else(|| {
                let offered = |addr, e: &Entry| e.hold == Hold::Offered && may_have(&addr);
                if urgent { self.oldest(offered) } else { None }
            })?;
        let kept = self.entries.get(&addr).filter(|e| e.mac == mac && e.hold == Hold::Bound && e.until > now);
        if kept.is_none() {
            self.bind(addr, Entry { mac, hold: Hold::Offered, until: now + OFFER_HOLD }, now);
        }
        Some(addr)
    }

    /// The address that this client was offered and has not taken yet, and when it was last.
    pub fn offered(&self, mac: Mac) -> Option<(Ipv4Addr, Instant)> {
        let addr = self.held_by(mac)?;
        let entry = self.entries.get(&addr).filter(|e| e.mac == mac && e.hold == Hold::Offered)?;
        Some((addr, entry.until.checked_sub(OFFER_HOLD)?))
    }

    /// Grants `addr` for `lease`, if the client holds it or it is free. False means that it must not be confirmed.
    pub fn commit(&mut self, mac: Mac, addr: Ipv4Addr, lease: Duration, now: Instant) -> bool {
        let holds = self.entries.get(&addr).is_some_and(|e| e.mac == mac && e.hold != Hold::Declined);
        // Whoever has a lease keeps it: that another was heard on its address is for people to mend.
        let keeps = self.is_leased_to(mac, addr, now) && self.gives(mac, addr);
        let takes = (holds || self.is_free(addr, now)) && self.may_have(mac, addr, now);
        if !keeps && !takes {
            return false;
        }
        self.bind(addr, Entry { mac, hold: Hold::Bound, until: now + lease }, now);
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
                if self.by_mac.get(&mac) == Some(&addr) {
                    self.by_mac.remove(&mac);
                }
                true
            }
            _ => false,
        }
    }

    /// The address that a client holds or was offered, even if expired and not yet reused.
    pub fn held_by(&self, mac: Mac) -> Option<Ipv4Addr> {
        self.by_mac.get(&mac).copied()
    }

    /// Someone said that it uses `addr`. Returns who, the first time that it has no lease of it: the address then rests.
    pub fn heard(&mut self, by: Mac, addr: Ipv4Addr, now: Instant) -> Option<Squatter> {
        let ours = self.in_pool(addr) || self.reserved.holds(addr);
        let its_own = self.reserved.of_client(by) == Some(addr);
        if !ours || its_own {
            return None;
        }
        let known = self.used.insert(addr, (by, now + USED_HOLD));
        let news = known.is_none_or(|(before, until)| before != by || until <= now);
        let entry = self.entries.get(&addr).filter(|e| e.hold != Hold::Declined);
        // Its lease, or one that ran out and that it goes on with.
        let was_given = entry.is_some_and(|e| e.mac == by);
        let holder = entry.filter(|_| self.is_bound(addr, now)).map(|e| e.mac);
        (news && !was_given).then_some(Squatter { addr, by, holder })
    }

    /// The next address to ask about, and how long to wait until the one after it. Once through the pool quickly, then again and
    /// again at leisure; addresses that are leased are passed over.
    pub fn next_question(&mut self, now: Instant) -> (Option<Ipv4Addr>, Duration) {
        let asking = (0..self.len).find_map(|_| {
            let addr = Ipv4Addr::from(self.first + (self.asked % u64::from(self.len)) as u32);
            self.asked += 1;
            (!self.is_bound(addr, now)).then_some(addr)
        });
        let first_round = self.asked < u64::from(self.len);
        let gap = if first_round { PROBE_GAP.0 } else { (ROUND / self.len).max(PROBE_GAP.1) };
        (asking, gap)
    }

    /// Whether an address is this client's by a lease that runs.
    #[must_use]
    pub fn is_leased_to(&self, mac: Mac, addr: Ipv4Addr, now: Instant) -> bool {
        self.is_bound(addr, now) && self.entries.get(&addr).is_some_and(|e| e.mac == mac)
    }

    fn is_bound(&self, addr: Ipv4Addr, now: Instant) -> bool {
        self.entries.get(&addr).is_some_and(|e| e.hold == Hold::Bound && e.until > now)
    }

    /// Whether an address is ours to give to this client.
    fn gives(&self, mac: Mac, addr: Ipv4Addr) -> bool {
        let own = self.reserved.of_client(mac) == Some(addr);
        own || (self.in_pool(addr) && !self.reserved.holds(addr))
    }

    /// Whether nothing but a lease can keep a client from an address: it is ours to give, and no other was heard on it.
    fn may_have(&self, mac: Mac, addr: Ipv4Addr, now: Instant) -> bool {
        let heard = self.used.get(&addr).is_some_and(|(by, until)| *by != mac && *until > now);
        self.gives(mac, addr) && !heard
    }

    /// Whether a reserved address is free for one of those for whom it is reserved: an offer to somebody else gives way.
    fn is_free_for_its_owner(&self, mac: Mac, addr: Ipv4Addr, now: Instant) -> bool {
        let gives_way = |e: &Entry| e.hold == Hold::Offered && self.reserved.of_client(e.mac) != Some(addr);
        self.entries.get(&addr).is_none_or(|e| e.until <= now || e.mac == mac || gives_way(e))
    }

    fn bind(&mut self, addr: Ipv4Addr, entry: Entry, now: Instant) {
        self.remove(addr);
        // A lease that runs is not ended by an offer of another address: who asked may not be who holds it.
        let stays = |old| entry.hold == Hold::Offered && self.is_leased_to(entry.mac, old, now);
        if let Some(old) = self.by_mac.get(&entry.mac).copied().filter(|old| *old != addr && !stays(*old)) {
            self.entries.remove(&old);
        }
        self.by_mac.insert(entry.mac, addr);
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
    fn unused(&self, mac: Mac, now: Instant) -> Option<Ipv4Addr> {
        // Each entry is of the pool or reserved: with so many there is none to look for.
        if self.entries.len() >= self.len as usize + self.reserved.len() {
            return None;
        }
        let mut hasher = DefaultHasher::new();
        mac.hash(&mut hasher);
        let start = (hasher.finish() % u64::from(self.len)) as u32;
        (0..self.len)
            .map(|i| Ipv4Addr::from(self.first + (start + i) % self.len))
            .find(|addr| !self.entries.contains_key(addr) && self.may_have(mac, *addr, now))
    }

    fn oldest(&self, wanted: impl Fn(Ipv4Addr, &Entry) -> bool) -> Option<Ipv4Addr> {
        let wanted = self.entries.iter().filter(|(a, e)| wanted(**a, e));
        wanted.min_by_key(|(a, e)| (e.until, **a)).map(|(a, _)| *a)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::{FullDhcp, Interface};

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

    /// Reserves addresses below 10.0.0.0/24.
    fn keep(pool: &mut Leases, kept: &[(Mac, Ipv4Addr)]) {
        let interface =
            Interface { name: String::new(), addr: ip(1), prefix: 24, dhcp: crate::DhcpMode::Off };
        let full = FullDhcp::pool(ip(10), ip(20));
        pool.reserve(Arc::new(Reserved::of(&interface, &full, kept)));
    }

    #[test]
    fn a_reserved_address_is_given_to_those_for_whom_it_is_and_to_no_other() {
        let now = Instant::now();
        let mut pool = Leases::new(ip(10), ip(12));
        assert_eq!(pool.offer(mac(9), Some(ip(11)), false, now), Some(ip(11)));
        // Two adapters of one endpoint share one, another's lies outside the pool.
        keep(&mut pool, &[(mac(1), ip(11)), (mac(2), ip(11)), (mac(3), ip(90))]);
        assert_eq!(pool.offer(mac(1), None, false, now), Some(ip(11)), "an offer to another gives way");
        assert!(!pool.commit(mac(9), ip(11), HOUR, now));
        let second = pool.offer(mac(2), None, false, now).unwrap();
        assert_ne!(second, ip(11), "the first adapter has it");
        assert!(pool.commit(mac(1), ip(11), HOUR, now));
        assert_eq!(pool.offer(mac(3), Some(second), false, now), Some(ip(90)));
        assert!(pool.commit(mac(3), ip(90), HOUR, now) && !pool.commit(mac(4), ip(90), HOUR, now));
        // Everything else is given out; what is kept is left alone, also when it is free again.
        assert!(pool.commit(mac(2), second, HOUR, now));
        assert!(pool.offer(mac(5), None, true, now).is_some_and(|addr| addr != ip(11)));
        let later = now + 2 * HOUR;
        for n in 5..30 {
            assert_ne!(pool.offer(mac(n), Some(ip(11)), true, later), Some(ip(11)));
        }
        assert_eq!(pool.offer(mac(2), None, false, later), Some(ip(11)));
        // It is reserved no longer: what lies outside the pool is nobody's.
        keep(&mut pool, &[]);
        assert!(!pool.commit(mac(3), ip(90), HOUR, now));
    }

    #[test]
    fn a_lease_that_runs_outlives_an_offer_of_another_address() {
        let now = Instant::now();
        let mut pool = Leases::new(ip(10), ip(10));
        assert!(pool.commit(mac(1), ip(10), HOUR, now));
        keep(&mut pool, &[(mac(1), ip(90))]);
        assert_eq!(pool.offer(mac(1), None, false, now), Some(ip(90)));
        assert_eq!(pool.offer(mac(2), Some(ip(10)), true, now), None);
        assert!(pool.commit(mac(1), ip(10), HOUR, now), "it goes on with the old one");
        assert_eq!(pool.offer(mac(1), None, false, now), Some(ip(90)), "and may still have the other");
        assert!(pool.commit(mac(1), ip(90), HOUR, now));
    }

    #[test]
    fn an_address_on_which_someone_was_heard_rests() {
        let now = Instant::now();
        let mut pool = Leases::new(ip(10), ip(11));
        keep(&mut pool, &[(mac(7), ip(70))]);
        assert_eq!(pool.heard(mac(9), ip(50), now), None, "not ours to give");
        assert_eq!(pool.heard(mac(7), ip(70), now), None, "its own");
        let squatter = |addr, by, holder| Some(Squatter { addr, by, holder });
        assert_eq!(pool.heard(mac(9), ip(70), now), squatter(ip(70), mac(9), None));
        assert_ne!(pool.offer(mac(7), None, false, now), Some(ip(70)), "kept, and in use");
        pool.withdraw(mac(7));

        assert_eq!(pool.heard(mac(9), ip(10), now), squatter(ip(10), mac(9), None));
        assert_eq!(pool.heard(mac(9), ip(10), now), None, "told once");
        assert_eq!(pool.offer(mac(1), Some(ip(10)), true, now), Some(ip(11)));
        assert_eq!(pool.offer(mac(2), Some(ip(10)), true, now), Some(ip(11)), "rather an offer of another");
        assert!(!pool.commit(mac(3), ip(10), HOUR, now));
        assert_eq!(pool.offer(mac(9), None, false, now), Some(ip(10)), "who uses it may have it");
        pool.withdraw(mac(9));
        let later = now + USED_HOLD;
        assert_eq!(pool.offer(mac(1), Some(ip(10)), false, later), Some(ip(10)), "silent for long");

        // Whoever has a lease keeps it.
        assert!(pool.commit(mac(1), ip(10), HOUR, later));
        assert_eq!(pool.heard(mac(1), ip(10), later), None);
        assert_eq!(pool.heard(mac(9), ip(10), later), squatter(ip(10), mac(9), Some(mac(1))));
        assert!(pool.commit(mac(1), ip(10), HOUR, later));

        // A lease ran out, and its client goes on with the address: nobody else is given it, and nothing is told.
        let after = later + 2 * HOUR;
        assert_eq!(pool.heard(mac(1), ip(10), after), None);
        assert_ne!(pool.offer(mac(2), Some(ip(10)), true, after), Some(ip(10)));
        assert_eq!(pool.offer(mac(1), None, false, after), Some(ip(10)));
        assert!(pool.commit(mac(1), ip(10), HOUR, after));
        assert_eq!(
            pool.heard(mac(3), ip(10), after + 2 * HOUR),
            squatter(ip(10), mac(3), None),
            "it ran out"
        );
    }

    #[test]
    fn the_pool_is_asked_about_once_quickly_and_then_at_leisure() {
        let now = Instant::now();
        let mut pool = Leases::new(ip(10), ip(14));
        assert!(pool.commit(mac(1), ip(12), HOUR, now));
        let asked: Vec<_> = (0..4).map(|_| pool.next_question(now)).collect();
        let addrs: Vec<_> = asked.iter().filter_map(|(addr, _)| *addr).collect();
        assert_eq!(addrs, [ip(10), ip(11), ip(13), ip(14)]);
        assert!(asked[..3].iter().all(|(_, gap)| *gap == PROBE_GAP.0));
        assert_eq!(asked[3].1, ROUND / 5);
        assert_eq!(pool.next_question(now).0, Some(ip(10)));
        let mut leased = Leases::new(ip(10), ip(10));
        assert!(leased.commit(mac(1), ip(10), HOUR, now));
        assert_eq!(leased.next_question(now), (None, ROUND));
    }

    proptest! {
        #[test]
        fn no_two_clients_ever_hold_one_address(
            steps in proptest::collection::vec((0u8..8, 0u16..6, 9u8..16, 0u64..200), 1..200),
        ) {
            let start = Instant::now();
            let mut now = start;
            let mut pool = Leases::new(ip(10), ip(13));
            let mut bound: HashMap<Ipv4Addr, (Mac, Instant)> = HashMap::new();
            let mut kept: Vec<(Mac, Ipv4Addr)> = Vec::new();
            for (what, who, last, wait) in steps {
                now += Duration::from_secs(wait);
                let (who, addr) = (mac(who), ip(last));
                match what {
                    0 => { pool.offer(who, Some(addr), false, now); }
                    1 => { pool.offer(who, None, true, now); }
                    2 => if pool.commit(who, addr, HOUR, now) {
                        prop_assert!(
                            kept.iter().all(|(mac, its)| *its != addr || *mac == who),
                            "{} is kept for another than {}", addr, who
                        );
                        if let Some((other, until)) = bound.get(&addr) {
                            prop_assert!(*other == who || *until <= now, "{} held by {}", addr, other);
                        }
                        bound.retain(|_, (m, _)| *m != who);
                        bound.insert(addr, (who, now + HOUR));
                    },
                    3 => pool.withdraw(who),
                    4 => if pool.release(who, addr, now) { bound.remove(&addr); },
                    5 => if pool.decline(who, addr, now) { bound.remove(&addr); },
                    6 => {
                        kept = vec![(who, addr)];
                        keep(&mut pool, &kept);
                    }
                    _ => { pool.heard(who, addr, now); }
                }
                // The pool, and what was kept outside of it and still runs.
                prop_assert!(pool.entries.len() <= 4 + 3 && pool.used.len() <= 4 + 3);
                for (mac, addr) in &pool.by_mac {
                    prop_assert_eq!(pool.entries.get(addr).map(|e| e.mac), Some(*mac));
                }
            }
        }
    }
}
