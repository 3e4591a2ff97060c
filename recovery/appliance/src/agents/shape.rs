//! Who sends when: bandwidth caps, in total and for each zone, shared fairly among endpoints by class.
//!
//! ```text
//!   piece to send ─► queue of its endpoint ─► next by virtual time ─► caps of zone and total ─► sent
//! ```
//!
//! Start-time fair queueing (Goyal, Vin, Cheng 1996) over token buckets, in two levels. Classes share the cap: each has a virtual time
//! that grows by bytes over weight, the least one goes first. Within a class endpoints share alike: their pieces carry such a time, too. So
//! ten connections of one endpoint get no more than one, ten critical endpoints among a thousand others get what their class has, and nobody
//! gets nothing. Without a cap nothing is queued.
//!
//! The queue is a plain struct that takes the time; [`Governor`] stands between it and the connections. The first of those who wait keeps the
//! time for all, so that a thousand who wait do not each look at the queue every millisecond. It must never let one endpoint's silence hold
//! another: a piece that is given up leaves the queue at once.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Deserialize;
use tokio::{sync::Notify, time::Instant};

/// How frames are sent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Serving {
    /// Cap for all frames together, MiB a second. None: as fast as the network goes.
    pub total_mib_per_s: Option<u32>,
    /// Zones of the plant with a cap or a class of their own; the first that fits counts.
    pub zones: Vec<Zone>,
    /// Endpoints that pass chunks on (`groundstate-agent relay`): asked first by those of their network.
    pub relays: Vec<RelayAt>,
    /// Other appliances that hold the same images: endpoints ask them when this one is silent, slow or wrong.
    pub also: Vec<Other>,
}

/// Another appliance's HTTP listener, e.g. `10.7.0.6` or `10.7.0.6:8080`. Endpoints verify what it gives, so it needs no trust.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Other(pub SocketAddr);

/// A relay, and for whom it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelayAt {
    /// The network of those that ask it, e.g. `10.7.3.0/24`.
    pub subnet: Subnet,
    /// Its address and port, e.g. `10.7.3.20:8480`.
    pub at: Other,
}

impl TryFrom<String> for Other {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let with_port = text.parse().or_else(|_| text.parse().map(|ip: IpAddr| SocketAddr::new(ip, 80)));
        let reachable =
            |at: &SocketAddr| !at.ip().is_unspecified() && !at.ip().is_multicast() && at.port() > 0;
        with_port.ok().filter(reachable).map(Self).ok_or_else(|| {
            format!(
                "`{text}` is no address of an appliance; write it as 10.7.0.6 or 10.7.0.6:8080 (a recovery system looks up no names)"
            )
        })
    }
}

/// One zone.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zone {
    /// Its network, e.g. `10.7.3.0/24`.
    pub subnet: Subnet,
    /// Cap for the zone, MiB a second.
    #[serde(default)]
    pub mib_per_s: Option<u32>,
    /// What its endpoints have of a cap that is reached.
    #[serde(default)]
    pub class: Class,
}

/// Share of all endpoints of a class together when a cap is reached; what a class leaves is the others'.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Four times what normal ones have, however many those are: what the line cannot run without.
    First,
    /// The usual.
    #[default]
    Normal,
    /// A quarter of what normal ones have.
    Background,
}

/// In the order of their numbers.
const CLASSES: [Class; 3] = [Class::First, Class::Normal, Class::Background];

impl Class {
    fn weight(self) -> u64 {
        match self {
            Self::Background => 1,
            Self::Normal => 4,
            Self::First => 16,
        }
    }
}

/// An IPv4 network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Subnet {
    network: u32,
    bits: u32,
}

impl TryFrom<String> for Subnet {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let wrong = || format!("`{text}` is no IPv4 network; write it as 10.7.3.0/24");
        let (address, bits) = text.split_once('/').ok_or_else(wrong)?;
        let (address, bits): (Ipv4Addr, u32) =
            (address.parse().map_err(|_| wrong())?, bits.parse().map_err(|_| wrong())?);
        let this = Self { network: u32::from(address), bits };
        if bits > 32 || u32::from(address) & !this.mask() != 0 { Err(wrong()) } else { Ok(this) }
    }
}

impl Subnet {
    fn mask(self) -> u32 {
        u32::MAX.checked_shl(32 - self.bits).unwrap_or(0)
    }

    /// Whether the address is in it.
    #[must_use]
    pub fn holds(self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => u32::from(v4) & self.mask() == self.network,
            IpAddr::V6(_) => false,
        }
    }
}

/// A cap as a bucket of bytes that fills with time. It may be overdrawn by one piece.
#[derive(Debug)]
struct Bucket {
    bytes_per_s: f64,
    level: f64,
    at: Instant,
}

/// A bucket holds what its rate gives in so much time: what may be sent at once after a silence.
const BURST: Duration = Duration::from_millis(50);

impl Bucket {
    fn new(mib_per_s: u32, now: Instant) -> Self {
        let bytes_per_s = f64::from(mib_per_s.max(1)) * f64::from(1 << 20);
        Self { bytes_per_s, level: bytes_per_s * BURST.as_secs_f64(), at: now }
    }

    fn fill(&mut self, now: Instant) {
        let most = self.bytes_per_s * BURST.as_secs_f64();
        self.level = (self.level + self.bytes_per_s * (now - self.at).as_secs_f64()).min(most);
        self.at = now;
    }

    /// How long until something may be taken.
    fn wait(&self) -> Duration {
        Duration::from_secs_f64((-self.level).max(0.0) / self.bytes_per_s)
    }
}

/// A piece that waits.
#[derive(Debug)]
struct Piece {
    zone: Option<usize>,
    bytes: u64,
}

/// The pieces of one class, by virtual time.
#[derive(Debug, Default)]
struct Line {
    /// The virtual time of the class among the classes.
    time: u64,
    /// The virtual time of what was sent last of the class.
    now_virtual: u64,
    /// Where each endpoint's next piece begins.
    ends: HashMap<IpAddr, u64>,
    waiting: BTreeMap<(u64, u64), Piece>,
}

/// The queue: pieces by class, and in it by virtual time.
#[derive(Debug)]
pub(crate) struct Queue {
    zones: Vec<(Zone, Option<Bucket>)>,
    total: Option<Bucket>,
    lines: [Line; 3],
    /// The virtual time of the class that sent last.
    now_virtual: u64,
    number: u64,
}

/// One of the pieces that wait: its class, when it begins, its number.
pub(crate) type Place = (usize, u64, u64);

impl Queue {
    pub(crate) fn new(serving: &Serving, now: Instant) -> Self {
        let bucket = |cap: Option<u32>| cap.map(|cap| Bucket::new(cap, now));
        Self {
            zones: serving.zones.iter().map(|zone| (zone.clone(), bucket(zone.mib_per_s))).collect(),
            total: bucket(serving.total_mib_per_s),
            lines: Default::default(),
            now_virtual: 0,
            number: 0,
        }
    }

    fn zone_of(&self, from: IpAddr) -> Option<usize> {
        self.zones.iter().position(|(zone, _)| zone.subnet.holds(from))
    }

    /// Whether a cap holds for this endpoint at all.
    fn is_capped(&self, from: IpAddr) -> bool {
        self.total.is_some() || self.zone_of(from).is_some_and(|zone| self.zones[zone].1.is_some())
    }

    pub(crate) fn enter(&mut self, from: IpAddr, bytes: u64) -> Place {
        let zone = self.zone_of(from);
        let class = zone.map_or(Class::Normal, |zone| self.zones[zone].0.class) as usize;
        let line = &mut self.lines[class];
        let begin = line.ends.get(&from).copied().unwrap_or(0).max(line.now_virtual);
        if line.waiting.is_empty() {
            // A class that was silent has saved nothing up.
            line.time = line.time.max(self.now_virtual);
            // Who has sent all that they asked for owes nothing and is forgotten.
            line.ends.clear();
        }
        line.ends.insert(from, begin + bytes);
        self.number += 1;
        line.waiting.insert((begin, self.number), Piece { zone, bytes });
        (class, begin, self.number)
    }

    fn leave(&mut self, (class, begin, number): Place) {
        self.lines[class].waiting.remove(&(begin, number));
    }

    /// Who waits first.
    fn head(&self) -> Option<Place> {
        self.lines.iter().enumerate().find_map(|(class, line)| {
            let ((begin, number), _) = line.waiting.first_key_value()?;
            Some((class, *begin, *number))
        })
    }

    /// Take out what may be sent now; say when to ask again if something is left.
    pub(crate) fn poll(&mut self, now: Instant) -> (Vec<Place>, Option<Duration>) {
        let buckets = self.zones.iter_mut().filter_map(|(_, bucket)| bucket.as_mut());
        buckets.chain(self.total.as_mut()).for_each(|bucket| bucket.fill(now));
        let (mut free, mut soonest): (Vec<Place>, Option<Duration>) = (Vec::new(), None);
        // Behind what each class has been looked through: what a zone's cap holds back is held back for this look.
        let mut looked = [(0, 0); 3];
        loop {
            if let Some(total) = self.total.as_ref().filter(|total| total.level <= 0.0) {
                soonest = Some(soonest.map_or(total.wait(), |wait| wait.min(total.wait())));
                break;
            }
            let zones = &self.zones;
            let next = self.lines.iter().enumerate().filter_map(|(class, line)| {
                let mut rest = line.waiting.range((Bound::Excluded(looked[class]), Bound::Unbounded));
                let found = rest.find(|(key, piece)| {
                    let Some(bucket) = piece.zone.and_then(|zone| zones[zone].1.as_ref()) else {
                        return true;
                    };
                    if bucket.level <= 0.0 {
                        soonest = Some(soonest.map_or(bucket.wait(), |wait| wait.min(bucket.wait())));
                        looked[class] = **key;
                    }
                    bucket.level > 0.0
                });
                found.map(|(key, _)| (line.time, class, *key))
            });
            let Some((time, class, key)) = next.min() else { break };
            let line = &mut self.lines[class];
            let Some(Piece { zone, bytes }) = line.waiting.remove(&key) else { break };
            line.now_virtual = line.now_virtual.max(key.0);
            line.time = time + bytes * Class::First.weight() / CLASSES[class].weight();
            self.now_virtual = self.now_virtual.max(time);
            let bucket = zone.and_then(|zone| self.zones[zone].1.as_mut());
            bucket.into_iter().chain(&mut self.total).for_each(|bucket| bucket.level -= bytes as f64);
            free.push((class, key.0, key.1));
        }
        let left = self.lines.iter().any(|line| !line.waiting.is_empty());
        (free, left.then(|| soonest.unwrap_or_default().max(Duration::from_millis(1))))
    }
}

#[derive(Debug)]
struct Inner {
    queue: Queue,
    /// Who waits; one that is not here any more may send.
    waiters: HashMap<Place, Arc<Notify>>,
    /// Who keeps the time.
    head: Option<Place>,
}

impl Inner {
    /// Wake whose turn has come, and who keeps the time from now on.
    fn step(&mut self) -> Option<Duration> {
        let (free, again) = self.queue.poll(Instant::now());
        for waiter in free.iter().filter_map(|place| self.waiters.remove(place)) {
            waiter.notify_one();
        }
        self.hand_over();
        again
    }

    fn hand_over(&mut self) {
        let head = self.queue.head();
        if head != self.head {
            self.head = head;
            if let Some(waiter) = head.and_then(|head| self.waiters.get(&head)) {
                waiter.notify_one();
            }
        }
    }
}

/// Lets pieces go when their turn has come. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Governor(Arc<Mutex<Inner>>);

/// A waiting piece; given up when it is dropped.
struct Waiting<'a>(&'a Governor, Place);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut inner = self.0.inner();
        inner.queue.leave(self.1);
        inner.waiters.remove(&self.1);
        inner.hand_over();
    }
}

/// Who does not keep the time looks after it all the same, now and then.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Governor {
    /// With these caps.
    #[must_use]
    pub fn new(serving: &Serving) -> Self {
        let queue = Queue::new(serving, Instant::now());
        Self(Arc::new(Mutex::new(Inner { queue, waiters: HashMap::new(), head: None })))
    }

    /// Whether there is a cap for all together.
    #[cfg(test)]
    pub fn is_capped(&self) -> bool {
        self.inner().queue.total.is_some()
    }

    /// With other caps from now on. What waits for its turn goes at once: pieces of a quarter of a MiB, one a connection.
    pub fn follow(&self, serving: &Serving) {
        let mut inner = self.inner();
        let number = inner.queue.number;
        inner.queue = Queue { number, ..Queue::new(serving, Instant::now()) };
        inner.head = None;
        for (_, waiter) in inner.waiters.drain() {
            waiter.notify_one();
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wait until `bytes` may be sent to an endpoint.
    ///
    /// Cancel-safe: dropped, the piece leaves the queue and has cost nothing.
    pub async fn admit(&self, to: IpAddr, bytes: u64) {
        let (place, woken) = {
            let mut inner = self.inner();
            if !inner.queue.is_capped(to) {
                return;
            }
            let (place, woken) = (inner.queue.enter(to, bytes), Arc::new(Notify::new()));
            inner.waiters.insert(place, Arc::clone(&woken));
            (place, woken)
        };
        let _waiting = Waiting(self, place);
        loop {
            let again = {
                let mut inner = self.inner();
                let again = inner.step();
                if !inner.waiters.contains_key(&place) {
                    return;
                }
                if inner.head == Some(place) { again.unwrap_or(LOOK_EVERY) } else { LOOK_EVERY }
            };
            tokio::select! {
                () = woken.notified() => {}
                () = tokio::time::sleep(again) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: u64 = 64 << 10;

    fn serving(text: &str) -> Serving {
        toml::from_str(text).unwrap()
    }

    fn ip(last: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, 7, 3, last))
    }

    /// Endpoints that always have `connections` pieces waiting, for so many seconds of a clock that nobody waits for.
    fn run(serving: &Serving, endpoints: &[(IpAddr, usize)], seconds: u64) -> HashMap<IpAddr, u64> {
        let begun = Instant::now();
        let mut queue = Queue::new(serving, begun);
        let mut owner = HashMap::new();
        let mut sent: HashMap<IpAddr, u64> = HashMap::new();
        for (endpoint, connections) in endpoints {
            for _ in 0..*connections {
                owner.insert(queue.enter(*endpoint, PIECE), *endpoint);
            }
        }
        let mut now = begun;
        while now < begun + Duration::from_secs(seconds) {
            let (free, again) = queue.poll(now);
            if free.is_empty() {
                now += again.unwrap_or(Duration::from_millis(1));
            }
            for place in free {
                let endpoint = owner.remove(&place).unwrap();
                *sent.entry(endpoint).or_default() += PIECE;
                owner.insert(queue.enter(endpoint, PIECE), endpoint);
            }
        }
        sent
    }

    fn mib_per_s(sent: &HashMap<IpAddr, u64>, endpoint: IpAddr, seconds: u64) -> f64 {
        sent.get(&endpoint).copied().unwrap_or(0) as f64 / f64::from(1 << 20) / seconds as f64
    }

    #[test]
    fn the_total_is_kept_and_shared_by_endpoint_not_by_connection() {
        let sent = run(&serving("total_mib_per_s = 100"), &[(ip(1), 10), (ip(2), 1), (ip(3), 1)], 10);
        for endpoint in [ip(1), ip(2), ip(3)] {
            let rate = mib_per_s(&sent, endpoint, 10);
            assert!((32.0..35.0).contains(&rate), "{endpoint}: {rate}");
        }
    }

    #[test]
    fn a_zone_has_its_own_cap_and_leaves_the_rest_to_others() {
        let text = "total_mib_per_s = 100\n[[zones]]\nsubnet = \"10.7.3.1/32\"\nmib_per_s = 10\n";
        let sent = run(&serving(text), &[(ip(1), 4), (ip(2), 4)], 10);
        let (slow, other) = (mib_per_s(&sent, ip(1), 10), mib_per_s(&sent, ip(2), 10));
        assert!((9.5..10.6).contains(&slow), "{slow}");
        assert!((88.0..91.0).contains(&other), "{other}");
    }

    #[test]
    fn classes_share_by_weight_and_nobody_gets_nothing() {
        let text = "total_mib_per_s = 84\n[[zones]]\nsubnet = \"10.7.3.1/32\"\nclass = \"first\"\n\
                    [[zones]]\nsubnet = \"10.7.3.3/32\"\nclass = \"background\"\n";
        let sent = run(&serving(text), &[(ip(1), 2), (ip(2), 2), (ip(3), 2)], 20);
        for (endpoint, share) in [(ip(1), 64.0), (ip(2), 16.0), (ip(3), 4.0)] {
            let rate = mib_per_s(&sent, endpoint, 20);
            assert!((rate / share - 1.0).abs() < 0.1, "{endpoint}: {rate} of {share}");
        }
    }

    #[test]
    fn few_critical_ones_among_many_have_what_their_class_has() {
        let text = "total_mib_per_s = 100\n[[zones]]\nsubnet = \"10.7.3.0/31\"\nclass = \"first\"\n";
        let mut all: Vec<(IpAddr, usize)> = (0..2).map(|last| (ip(last), 2)).collect();
        all.extend((10..210).map(|last| (ip(last), 2)));
        let sent = run(&serving(text), &all, 20);
        let (critical, other) = (mib_per_s(&sent, ip(0), 20), mib_per_s(&sent, ip(77), 20));
        // Four fifths for two, a fifth for two hundred.
        assert!((38.0..42.0).contains(&critical), "{critical}");
        assert!((0.08..0.13).contains(&other), "{other}");
    }

    #[test]
    fn a_class_that_was_silent_has_saved_nothing_up() {
        let text = "total_mib_per_s = 100\n[[zones]]\nsubnet = \"10.7.3.1/32\"\nclass = \"background\"\n";
        let begun = Instant::now();
        let mut queue = Queue::new(&serving(text), begun);
        for step in 0..2000u64 {
            queue.enter(ip(2), PIECE);
            queue.poll(begun + Duration::from_millis(step));
        }
        // Both ask for much now: the one in the background has a fifth, and not all until it has caught up.
        let now = begun + Duration::from_millis(2000);
        let background: Vec<Place> = (0..100).map(|_| queue.enter(ip(1), PIECE)).collect();
        let others: Vec<Place> = (0..400).map(|_| queue.enter(ip(2), PIECE)).collect();
        let sent: Vec<Place> = (0..50).flat_map(|ms| queue.poll(now + Duration::from_millis(ms)).0).collect();
        let of_background = sent.iter().filter(|place| background.contains(place)).count();
        assert!(sent.len() > 40 && sent.len() < others.len(), "both want more than they get");
        assert!(of_background * 4 < sent.len(), "{of_background} of {}", sent.len());
    }

    #[tokio::test]
    async fn a_thousand_who_wait_all_come_to_their_turn_also_when_those_in_front_give_up() {
        let governor = Governor::new(&serving("total_mib_per_s = 2000"));
        let mut waiting = tokio::task::JoinSet::new();
        for number in 0..1000u16 {
            let governor = governor.clone();
            let [high, low] = number.to_be_bytes();
            let to = IpAddr::V4(Ipv4Addr::new(10, 8, high, low));
            waiting.spawn(async move {
                let turn = governor.admit(to, PIECE);
                // Every third gives up at once, among them those that keep the time.
                if number % 3 == 0 {
                    tokio::select! { biased; () = std::future::ready(()) => {}, () = turn => {} }
                } else {
                    turn.await;
                }
            });
        }
        while let Some(done) = waiting.join_next().await {
            done.unwrap();
        }
        let inner = governor.inner();
        assert!(inner.waiters.is_empty() && inner.queue.head().is_none());
    }

    #[test]
    fn who_was_silent_gets_no_more_than_a_share_afterwards() {
        let begun = Instant::now();
        let mut queue = Queue::new(&serving("total_mib_per_s = 10"), begun);
        for step in 0..200u64 {
            queue.enter(ip(1), PIECE);
            queue.poll(begun + Duration::from_millis(step * 7));
        }
        // The newcomer stands behind what was sent last, not at zero.
        let (class, begin, _) = queue.enter(ip(2), PIECE);
        let line = &queue.lines[class];
        assert!(begin >= line.now_virtual && line.now_virtual > 0);
    }

    #[test]
    fn networks_are_written_as_networks() {
        for good in ["10.7.3.0/24", "0.0.0.0/0", "10.7.3.1/32"] {
            assert!(Subnet::try_from(good.to_owned()).is_ok(), "{good}");
        }
        for bad in ["10.7.3.1/24", "10.7.3.0", "10.7.3.0/33", "fe80::/10", "x/8"] {
            assert!(Subnet::try_from(bad.to_owned()).is_err(), "{bad}");
        }
        let all = Subnet::try_from("0.0.0.0/0".to_owned()).unwrap();
        assert!(all.holds(ip(9)) && !all.holds("::1".parse().unwrap()));
    }

    #[tokio::test]
    async fn who_waits_under_a_cap_that_is_taken_away_goes_at_once() {
        let governor = Governor::new(&serving("total_mib_per_s = 1"));
        governor.admit(ip(1), 60 << 20).await;
        let waiting = tokio::spawn({
            let governor = governor.clone();
            async move { governor.admit(ip(2), PIECE).await }
        });
        while governor.inner().waiters.is_empty() {
            tokio::task::yield_now().await;
        }
        governor.follow(&serving(""));
        tokio::time::timeout(Duration::from_secs(5), waiting).await.expect("not a minute").unwrap();
        assert!(!governor.is_capped());
    }

    #[tokio::test]
    async fn a_piece_that_is_given_up_leaves_the_queue() {
        let governor = Governor::new(&serving("total_mib_per_s = 1"));
        governor.admit(ip(1), 300 << 10).await;
        // The cap is overdrawn for a quarter of a second.
        let given_up = tokio::time::timeout(Duration::from_millis(20), governor.admit(ip(2), PIECE)).await;
        assert!(given_up.is_err());
        assert!(governor.inner().queue.head().is_none());
        let begun = Instant::now();
        governor.admit(ip(3), PIECE).await;
        assert!(begun.elapsed() > Duration::from_millis(100), "{:?}", begun.elapsed());
        let free = Governor::new(&Serving::default());
        free.admit(ip(1), u64::MAX / 2).await;
    }
}
