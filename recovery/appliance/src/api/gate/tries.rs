//! Wrong secrets: whom they slow down, and what of them stands in evidence.
//!
//! | of | slows down | from |
//! |---|---|---|
//! | one name and one address | that name from that address | the fourth wrong password on: 1, 2, 4 … 300 s |
//! | one name from anywhere | that name from addresses where its owner never signed in | the twentieth on: 1, 2, 4 … 30 s |
//! | one address | passwords from it | the eleventh wrong secret of a minute on |
//!
//! So nobody is locked out: whoever guesses at a name keeps it from strangers, and not from the place where its owner works. A token and a link of
//! the right person open whatever was guessed before; they cannot be guessed. A name that nobody has is slowed down like any other.
//!
//! A try counts as wrong when it begins: else a hundred at once were one. What turns out right is forgotten.
//!
//! It must never: grow without bound, or put a name into evidence that nobody here has (people type passwords into that field).

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

use serde_json::json;

use super::Note;

/// Wrong secrets of one address in a minute that are answered as such.
pub const OF_ADDRESS_MOST: u32 = 10;
const ADDRESS_WINDOW: Duration = Duration::from_secs(60);
const PAIR_FREE: u32 = 3;
const PAIR_WAIT_MOST: u64 = 300;
const NAME_FREE: u32 = 19;
const NAME_WAIT_MOST: u64 = 30;
/// After so long without a wrong one it begins anew.
const FORGOTTEN: Duration = Duration::from_secs(30 * 60);
const KEPT_MOST: usize = 1024;
/// Addresses at which a person is known.
const PLACES_MOST: usize = 8;
/// Entries of evidence in an hour.
const WRITTEN_MOST: u32 = 64;
const HOUR: Duration = Duration::from_secs(3600);
const NAME_LEN_MOST: usize = 32;

#[derive(Debug, Clone, Copy)]
struct Tally {
    count: u32,
    last: Instant,
}

/// What was tried.
#[derive(Debug, Default)]
pub struct Tries {
    addresses: HashMap<IpAddr, Tally>,
    pairs: HashMap<(String, IpAddr), Tally>,
    names: HashMap<String, Tally>,
    places: HashMap<String, Vec<IpAddr>>,
    written: Written,
}

/// What of many alike is written: so that nobody fills the log.
#[derive(Debug, Default)]
pub struct Written {
    seen: HashMap<(String, IpAddr, String), u64>,
    hour: Option<Instant>,
    entries: u32,
}

impl Written {
    /// Whether this one is: the first, the tenth, the hundredth … of one person, address and kind in an hour. The how manyth, and what is to be added.
    pub fn due(
        &mut self,
        person: &str,
        from: IpAddr,
        how: &str,
        now: Instant,
    ) -> Option<(u64, Option<&'static str>)> {
        if self.hour.is_none_or(|hour| now.duration_since(hour) >= HOUR) {
            (self.hour, self.entries) = (Some(now), 0);
            self.seen.clear();
        }
        let key = (person.to_owned(), source(from), how.to_owned());
        if self.seen.len() >= KEPT_MOST && !self.seen.contains_key(&key) {
            return None;
        }
        let times = self.seen.entry(key).or_insert(0);
        *times += 1;
        if self.entries >= WRITTEN_MOST || !is_power_of_ten(*times) {
            return None;
        }
        self.entries += 1;
        let last = (self.entries == WRITTEN_MOST).then_some("more of this hour are counted and not written");
        Some((*times, last))
    }
}

/// A network of one owner: of IPv6 the half that a network gives out (RFC 4291 §2.5.1).
pub fn source(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from(u128::from(address) & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

/// A name as it is counted: what is too long for one is all one.
fn counted(name: &str) -> String {
    if name.len() <= NAME_LEN_MOST { name.to_owned() } else { String::new() }
}

impl Tries {
    /// Begin a try of a password. Counts as wrong until [`Tries::right`].
    ///
    /// # Errors
    /// Seconds to wait.
    pub fn begin(&mut self, name: &str, from: IpAddr, now: Instant) -> Result<(), u64> {
        self.forget(now);
        let (name, from) = (counted(name), source(from));
        let at_home = self.places.get(&name).is_some_and(|places| places.contains(&from));
        let pair = (name.clone(), from);
        let wait = [
            left(self.pairs.get(&pair), PAIR_FREE, PAIR_WAIT_MOST, now),
            if at_home { 0 } else { left(self.names.get(&name), NAME_FREE, NAME_WAIT_MOST, now) },
            match self.addresses.get(&from) {
                Some(tally) if tally.count >= OF_ADDRESS_MOST => {
                    ADDRESS_WINDOW.saturating_sub(now.duration_since(tally.last)).as_secs().max(1)
                }
                _ => 0,
            },
        ];
        let wait = wait.into_iter().max().unwrap_or(0);
        if wait > 0 {
            return Err(wait);
        }
        count(&mut self.pairs, pair, now);
        if !at_home {
            count(&mut self.names, name, now);
        }
        Ok(())
    }

    /// It was right.
    pub fn right(&mut self, name: &str, from: IpAddr) {
        let from = source(from);
        self.pairs.remove(&(counted(name), from));
        self.names.remove(&counted(name));
        let places = self.places.entry(counted(name)).or_default();
        places.retain(|place| *place != from);
        places.insert(0, from);
        places.truncate(PLACES_MOST);
    }

    /// It was never looked at.
    pub fn void(&mut self, name: &str, from: IpAddr) {
        let (name, from) = (counted(name), source(from));
        if !self.places.get(&name).is_some_and(|places| places.contains(&from)) {
            uncount(&mut self.names, &name);
        }
        uncount(&mut self.pairs, &(name, from));
    }

    /// A wrong secret of any kind from there; how many within a minute.
    pub fn wrong(&mut self, from: IpAddr, now: Instant) -> u32 {
        self.forget(now);
        count(&mut self.addresses, source(from), now)
    }

    /// How many wrong secrets came from there lately.
    pub fn blame(&self, from: IpAddr) -> u32 {
        self.addresses.get(&source(from)).map_or(0, |tally| tally.count)
    }

    /// What of a wrong secret is to be written: the first, the tenth, the hundredth … of one person, address and kind in an hour.
    pub fn entry(&mut self, person: Option<&str>, from: IpAddr, how: &str, now: Instant) -> Option<Note> {
        let (times, last) = self.written.due(person.unwrap_or_default(), from, how, now)?;
        let facts = json!({
            "person": person, "from": from.to_canonical().to_string(), "how": how, "times": times, "note": last,
        });
        Some(Note { kind: "login.failed", actor: "appliance".to_owned(), facts })
    }

    fn forget(&mut self, now: Instant) {
        self.addresses.retain(|_, tally| now.duration_since(tally.last) < ADDRESS_WINDOW);
        self.pairs.retain(|_, tally| now.duration_since(tally.last) < FORGOTTEN);
        self.names.retain(|_, tally| now.duration_since(tally.last) < FORGOTTEN);
    }
}

/// Seconds that are left to wait.
fn left(tally: Option<&Tally>, free: u32, most: u64, now: Instant) -> u64 {
    let Some(tally) = tally.filter(|tally| tally.count >= free) else { return 0 };
    let wait = 1_u64.checked_shl(tally.count - free).map_or(most, |wait| wait.min(most));
    let passed = now.duration_since(tally.last);
    Duration::from_secs(wait).saturating_sub(passed).as_millis().div_ceil(1000).try_into().unwrap_or(most)
}

fn count<K: std::hash::Hash + Eq + Clone>(tallies: &mut HashMap<K, Tally>, key: K, now: Instant) -> u32 {
    if tallies.len() >= KEPT_MOST && !tallies.contains_key(&key) {
        // Those that say the least: else many names of one try each would wash out whoever is guessed at.
        let least = tallies.iter().min_by_key(|(_, tally)| (tally.count, tally.last));
        let least = least.map(|(key, _)| key.clone());
        least.map(|key| tallies.remove(&key));
    }
    let tally = tallies.entry(key).or_insert(Tally { count: 0, last: now });
    tally.count = tally.count.saturating_add(1);
    tally.last = now;
    tally.count
}

fn uncount<K: std::hash::Hash + Eq>(tallies: &mut HashMap<K, Tally>, key: &K) {
    if let Some(tally) = tallies.get_mut(key) {
        tally.count = tally.count.saturating_sub(1);
    }
    // Nothing stands against it any more: it takes no room.
    if tallies.get(key).is_some_and(|tally| tally.count == 0) {
        tallies.remove(key);
    }
}

fn is_power_of_ten(n: u64) -> bool {
    10_u64.checked_pow(n.ilog10()) == Some(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    fn at(n: u32) -> IpAddr {
        std::net::Ipv4Addr::from(0x0a01_0000 + n).into()
    }

    #[test]
    fn guessing_at_one_name_grows_slow_and_another_name_or_place_does_not() {
        let mut tries = Tries::default();
        let mut now = Instant::now();
        for _ in 0..PAIR_FREE {
            assert_eq!(tries.begin("anna", HERE, now), Ok(()));
        }
        let mut waits = Vec::new();
        for _ in 0..10 {
            let wait = tries.begin("anna", HERE, now).unwrap_err();
            assert_eq!(tries.begin("anna", HERE, now + Duration::from_millis(wait * 1000 - 1)), Err(1));
            now += Duration::from_secs(wait);
            assert_eq!(tries.begin("anna", HERE, now), Ok(()));
            waits.push(wait);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
        assert_eq!(tries.begin("otto", HERE, now), Ok(()));
        assert_eq!(tries.begin("anna", at(1), now), Ok(()));
        assert!(tries.begin("anna", HERE, now).is_err());
        assert_eq!(tries.begin("anna", HERE, now + FORGOTTEN), Ok(()), "not for ever");
    }

    #[test]
    fn a_guess_from_a_thousand_places_keeps_nobody_from_their_own() {
        let mut tries = Tries::default();
        let now = Instant::now();
        assert_eq!(tries.begin("anna", HERE, now), Ok(()));
        tries.right("anna", HERE);
        let let_in = (0..5000).filter(|n| tries.begin("anna", at(*n), now).is_ok()).count();
        assert_eq!(let_in, NAME_FREE as usize);
        assert_eq!(tries.begin("anna", HERE, now), Ok(()), "where she works");
        assert!(tries.pairs.len() <= KEPT_MOST && tries.names.len() <= KEPT_MOST);
    }

    #[test]
    fn a_spray_over_names_is_slowed_down_by_its_address_and_ipv6_is_one_network() {
        let mut tries = Tries::default();
        let now = Instant::now();
        let place = |n: u16| IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 1, 0, 0, 0, n));
        for n in 0..10 {
            assert_eq!(tries.begin(&format!("name-{n}"), place(n), now), Ok(()));
            tries.wrong(place(n), now);
        }
        assert_eq!(tries.begin("name-11", place(999), now), Err(60));
        assert_eq!(tries.begin("name-11", place(999), now + ADDRESS_WINDOW), Ok(()));
        assert_eq!(source("::ffff:10.0.0.1".parse().unwrap()), HERE);
    }

    #[test]
    fn what_was_never_looked_at_takes_no_room_and_a_flood_of_names_washes_nobody_out() {
        let mut tries = Tries::default();
        let now = Instant::now();
        for n in 0..50 {
            assert_eq!(tries.begin(&format!("name-{n}"), HERE, now), Ok(()));
            tries.void(&format!("name-{n}"), HERE);
        }
        assert!(tries.pairs.is_empty() && tries.names.is_empty());
        for _ in 0..PAIR_FREE {
            assert_eq!(tries.begin("anna", HERE, now), Ok(()));
        }
        for n in 0..3 * u32::try_from(KEPT_MOST).unwrap() {
            let later = now + Duration::from_millis(1);
            assert_eq!(tries.begin(&format!("name-{n}"), at(n), later), Ok(()));
        }
        assert_eq!(tries.begin("anna", HERE, now), Err(1), "is counted still");
        assert!(tries.pairs.len() <= KEPT_MOST && tries.names.len() <= KEPT_MOST);
        // At home a name is not counted, so nothing of it is taken back.
        tries.right("otto", HERE);
        assert_eq!(tries.begin("otto", at(1), now), Ok(()));
        assert_eq!(tries.begin("otto", HERE, now), Ok(()));
        tries.void("otto", HERE);
        assert_eq!(tries.names["otto"].count, 1);
    }

    #[test]
    fn evidence_has_the_first_the_tenth_the_hundredth_and_no_strangers_name() {
        let mut tries = Tries::default();
        let now = Instant::now();
        let notes: Vec<Note> =
            (0..1000).filter_map(|_| tries.entry(Some("anna"), HERE, "password", now)).collect();
        let times: Vec<u64> = notes.iter().map(|note| note.facts["times"].as_u64().unwrap()).collect();
        assert_eq!(times, [1, 10, 100, 1000]);
        let more = (0..100_000).filter(|n| tries.entry(None, at(*n), "password", now).is_some()).count();
        assert_eq!(more, WRITTEN_MOST as usize - 4, "bounded");
        assert!(tries.written.seen.len() <= KEPT_MOST);
        assert!(tries.entry(None, HERE, "password", now + HOUR).is_some());
    }
}
