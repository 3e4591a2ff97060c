//! Addresses of our pools that somebody uses without a lease of them: an alarm, since one day two will have the same.
//!
//! ```text
//!   ARP, heard or asked for ─► one line for each address ─► `net doctor`, status, console
//!                                   └─ new, or another one has it ─► evidence: alarm.address-in-use
//! ```
//!
//! Anybody can say of itself that it has an address. So the lines are few, one that is not heard of again is gone within the hour, each
//! address is one entry in evidence a day at most, and all together are [`ALARMS_MOST`]. It must never: take a lease away.

use std::{
    collections::{BTreeMap, VecDeque},
    net::Ipv4Addr,
    sync::{MutexGuard, PoisonError},
};

use recovery_protocol::{MacAddr, net::AddressInUseView};

use super::BootDesk;

/// Addresses remembered; the one heard of longest ago makes room.
const ADDRESSES_MOST: usize = 32;
/// The pool is asked about every five minutes: who was silent so long has gone.
const RECENT_MS: u64 = 3_600_000;
/// Between two entries in evidence about one address.
const AGAIN_MS: u64 = 24 * 3_600_000;
/// Entries in evidence within [`AGAIN_MS`].
const ALARMS_MOST: usize = 32;

/// Who uses an address, and who has a lease of it, if anyone.
pub type Pair = (MacAddr, Option<MacAddr>);

/// The addresses, by interface (our address).
#[derive(Debug, Default)]
pub struct Taken {
    addresses: BTreeMap<(Ipv4Addr, Ipv4Addr), Used>,
    alarms: VecDeque<u64>,
}

#[derive(Debug)]
struct Used {
    pair: Pair,
    first: u64,
    last: u64,
    count: u64,
    written: Option<u64>,
}

impl Taken {
    /// An address of an interface is in use, at a time.
    pub fn note(&mut self, interface: Ipv4Addr, addr: Ipv4Addr, pair: Pair, at: u64) {
        let key = (interface, addr);
        if self.addresses.len() >= ADDRESSES_MOST && !self.addresses.contains_key(&key) {
            let oldest = self.addresses.iter().min_by_key(|(_, used)| used.last).map(|(key, _)| *key);
            oldest.and_then(|key| self.addresses.remove(&key));
        }
        let fresh = Used { pair, first: at, last: at, count: 0, written: None };
        let used = self.addresses.entry(key).or_insert(fresh);
        // Another pair that disturb each other is news.
        if used.pair != pair {
            (used.pair, used.written) = (pair, None);
        }
        used.last = at;
        used.count += 1;
    }

    /// Those that were heard of lately.
    pub fn views(&self, at: u64) -> Vec<AddressInUseView> {
        let recent = |used: &Used| at.saturating_sub(used.last) < RECENT_MS;
        self.addresses.iter().filter(|(_, used)| recent(used)).map(|(key, used)| view(*key, used)).collect()
    }

    /// What is due to be written into evidence; it counts as written.
    pub fn take_due(&mut self, at: u64) -> Vec<AddressInUseView> {
        while self.alarms.front().is_some_and(|written| at >= written.saturating_add(AGAIN_MS)) {
            self.alarms.pop_front();
        }
        let room = ALARMS_MOST.saturating_sub(self.alarms.len());
        let due = |used: &Used| used.written.is_none_or(|written| used.last >= written + AGAIN_MS);
        let mut views = Vec::new();
        for (key, used) in self.addresses.iter_mut().filter(|(_, used)| due(used)).take(room) {
            used.written = Some(at);
            self.alarms.push_back(at);
            views.push(view(*key, used));
        }
        views
    }
}

fn view((interface, addr): (Ipv4Addr, Ipv4Addr), used: &Used) -> AddressInUseView {
    let (by, holder) = used.pair;
    let what = match holder {
        Some(holder) => format!(
            "{holder} has a lease of it: the two disturb each other; give one of them another address"
        ),
        None => "nobody else is given it; take it out of the pool, or reserve it for who has it".to_owned(),
    };
    AddressInUseView {
        interface: interface.to_string(),
        address: addr.to_string(),
        by,
        holder,
        first_unix_ms: used.first,
        last_unix_ms: used.last,
        count: used.count,
        what,
    }
}

impl BootDesk {
    /// The addresses of our pools that somebody uses without a lease.
    pub fn addresses_in_use(&self) -> Vec<AddressInUseView> {
        self.taken_now().views(self.clock.now_unix_ms())
    }

    /// Those not yet written into evidence; they count as written.
    pub(super) fn addresses_due(&self, at: u64) -> Vec<AddressInUseView> {
        self.taken_now().take_due(at)
    }

    pub(super) fn taken_now(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const ADDR: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 50);
    const PRINTER: MacAddr = MacAddr([2, 0, 0, 0, 0, 8]);
    const PRESS: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

    #[test]
    fn an_address_is_written_once_a_day_and_again_when_it_gets_a_holder() {
        let mut taken = Taken::default();
        taken.note(US, ADDR, (PRINTER, None), 1);
        assert!(taken.views(1)[0].what.contains("take it out of the pool"));
        assert_eq!((taken.take_due(1).len(), taken.take_due(2).len()), (1, 0));
        taken.note(US, ADDR, (PRINTER, None), 3);
        assert_eq!(taken.take_due(3), []);
        taken.note(US, ADDR, (PRINTER, Some(PRESS)), 4);
        let due = taken.take_due(4);
        assert!(due[0].count == 3 && due[0].what.contains("02:00:00:00:00:09"), "{due:?}");
        taken.note(US, ADDR, (PRINTER, Some(PRESS)), 4 + AGAIN_MS);
        assert_eq!(taken.take_due(4 + AGAIN_MS).len(), 1);
    }

    #[test]
    fn who_has_gone_is_not_shown_any_more() {
        let mut taken = Taken::default();
        taken.note(US, ADDR, (PRINTER, None), 1);
        assert_eq!((taken.views(RECENT_MS).len(), taken.views(1 + RECENT_MS).len()), (1, 0));
    }

    #[test]
    fn made_up_addresses_fill_neither_memory_nor_log() {
        let (mut taken, mut written) = (Taken::default(), 0);
        for n in 0..5_000 {
            taken.note(US, Ipv4Addr::from(n), (PRINTER, None), u64::from(n));
            written += taken.take_due(u64::from(n)).len();
        }
        assert_eq!((written, taken.addresses.len()), (ALARMS_MOST, ADDRESSES_MOST));
        assert!(taken.addresses.contains_key(&(US, Ipv4Addr::from(4_999))), "the newest stay");
        taken.note(US, ADDR, (PRINTER, None), 5_000 + AGAIN_MS);
        assert!(taken.take_due(5_000 + AGAIN_MS).iter().any(|view| view.address == ADDR.to_string()));
    }
}
