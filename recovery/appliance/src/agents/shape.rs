//! Who sends when: bandwidth caps, in total and for each zone, shared fairly among endpoints by class.
//!
//! ```text
//!   piece to send ─► queue of its endpoint ─► next by virtual time ─► caps of zone and total ─► sent
//! ```
//!
//! Start-time fair queueing (Goyal, Vin, Cheng 1996) over token buckets: each endpoint's pieces carry a virtual time that
//! grows by bytes over weight, the least one goes first. So ten connections of one endpoint get no more than one, and a
//! class with four times the weight gets four times the share, but nobody nothing. Without a cap nothing is queued.
//!
//! The queue is a plain struct that takes the time; [`Governor`] stands between it and the connections. It must never let
//! one endpoint's silence hold another: a piece that is given up leaves the queue at once.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::Deserialize;
use tokio::{sync::oneshot, time::Instant};

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
    /// Who goes first when a cap is reached.
    #[serde(default)]
    pub class: Class,
}

/// Share of an endpoint when a cap is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// A quarter of a normal share.
    Background,
    /// The usual.
    #[default]
    Normal,
    /// Four normal shares: what the line cannot run without.
    First,
}

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

/// The queue: pieces by virtual time.
#[derive(Debug)]
struct Queue {
    zones: Vec<(Zone, Option<Bucket>)>,
    total: Option<Bucket>,
    /// The virtual time of what was sent last.
    now_virtual: u64,
    /// Where each endpoint's next piece begins.
    ends: HashMap<IpAddr, u64>,
    waiting: BTreeMap<(u64, u64), Piece>,
    number: u64,
}

/// One of the pieces that wait.
type Place = (u64, u64);

impl Queue {
    fn new(serving: &Serving, now: Instant) -> Self {
        let bucket = |cap: Option<u32>| cap.map(|cap| Bucket::new(cap, now));
        Self {
            zones: serving.zones.iter().map(|zone| (zone.clone(), bucket(zone.mib_per_s))).collect(),
            total: bucket(serving.total_mib_per_s),
            now_virtual: 0,
            ends: HashMap::new(),
            waiting: BTreeMap::new(),
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

    fn enter(&mut self, from: IpAddr, bytes: u64) -> Place {
        let zone = self.zone_of(from);
        let weight = zone.map_or(Class::Normal, |zone| self.zones[zone].0.class).weight();
        let begin = self.ends.get(&from).copied().unwrap_or(0).max(self.now_virtual);
        // Who has sent all that they asked for owes nothing and is forgotten.
        if self.waiting.is_empty() {
            self.ends.clear();
        }
        self.ends.insert(from, begin + bytes * Class::First.weight() / weight);
        self.number += 1;
        let place = (begin, self.number);
        self.waiting.insert(place, Piece { zone, bytes });
        place
    }

    /// Take out what may be sent now; say when to ask again if something is left.
    fn poll(&mut self, now: Instant) -> (Vec<Place>, Option<Duration>) {
        let buckets = self.zones.iter_mut().filter_map(|(_, bucket)| bucket.as_mut());
        buckets.chain(self.total.as_mut()).for_each(|bucket| bucket.fill(now));
        let mut free = Vec::new();
        let mut soonest: Option<Duration> = None;
        let places: Vec<Place> = self.waiting.keys().copied().collect();
        for place in places {
            if let Some(total) = self.total.as_ref().filter(|total| total.level <= 0.0) {
                soonest = Some(soonest.map_or(total.wait(), |wait| wait.min(total.wait())));
                break;
            }
            let Piece { zone, bytes } = self.waiting[&place];
            let bucket = zone.and_then(|zone| self.zones[zone].1.as_mut());
            if let Some(bucket) = bucket {
                if bucket.level <= 0.0 {
                    soonest = Some(soonest.map_or(bucket.wait(), |wait| wait.min(bucket.wait())));
                    continue;
                }
                bucket.level -= bytes as f64;
            }
            if let Some(total) = &mut self.total {
                total.level -= bytes as f64;
            }
            self.waiting.remove(&place);
            self.now_virtual = self.now_virtual.max(place.0);
            free.push(place);
        }
        let left = !self.waiting.is_empty();
        (free, left.then(|| soonest.unwrap_or_default().max(Duration::from_millis(1))))
    }
}

#[derive(Debug)]
struct Inner {
    queue: Queue,
    waiters: HashMap<Place, oneshot::Sender<()>>,
}

/// Lets pieces go when their turn has come. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Governor(Arc<Mutex<Inner>>);

/// A waiting piece; given up when it is dropped.
struct Waiting<'a>(&'a Governor, Place);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut inner = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.queue.waiting.remove(&self.1);
        inner.waiters.remove(&self.1);
    }
}

impl Governor {
    /// With these caps.
    #[must_use]
    pub fn new(serving: &Serving) -> Self {
        let queue = Queue::new(serving, Instant::now());
        Self(Arc::new(Mutex::new(Inner { queue, waiters: HashMap::new() })))
    }

    /// Wait until `bytes` may be sent to an endpoint.
    ///
    /// Cancel-safe: dropped, the piece leaves the queue and has cost nothing.
    pub async fn admit(&self, to: IpAddr, bytes: u64) {
        let (place, mut turn) = {
            let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if !inner.queue.is_capped(to) {
                return;
            }
            let (sender, turn) = oneshot::channel();
            let place = inner.queue.enter(to, bytes);
            inner.waiters.insert(place, sender);
            (place, turn)
        };
        let _waiting = Waiting(self, place);
        loop {
            let again = self.step();
            tokio::select! {
                biased;
                _ = &mut turn => return,
                () = tokio::time::sleep(again) => {}
            }
        }
    }

    /// Wake whose turn has come.
    fn step(&self) -> Duration {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (free, again) = inner.queue.poll(Instant::now());
        for place in free {
            if let Some(waiter) = inner.waiters.remove(&place) {
                let _ = waiter.send(());
            }
        }
        again.unwrap_or(Duration::from_millis(50))
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
    fn who_was_silent_gets_no_more_than_a_share_afterwards() {
        let begun = Instant::now();
        let mut queue = Queue::new(&serving("total_mib_per_s = 10"), begun);
        for step in 0..200u64 {
            queue.enter(ip(1), PIECE);
            queue.poll(begun + Duration::from_millis(step * 7));
        }
        // The newcomer stands behind what was sent last, not at zero.
        let place = queue.enter(ip(2), PIECE);
        assert!(place.0 >= queue.now_virtual && queue.now_virtual > 0);
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
    async fn a_piece_that_is_given_up_leaves_the_queue() {
        let governor = Governor::new(&serving("total_mib_per_s = 1"));
        governor.admit(ip(1), 300 << 10).await;
        // The cap is overdrawn for a quarter of a second.
        let given_up = tokio::time::timeout(Duration::from_millis(20), governor.admit(ip(2), PIECE)).await;
        assert!(given_up.is_err());
        assert!(governor.0.lock().unwrap().queue.waiting.is_empty());
        let begun = Instant::now();
        governor.admit(ip(3), PIECE).await;
        assert!(begun.elapsed() > Duration::from_millis(100), "{:?}", begun.elapsed());
        let free = Governor::new(&Serving::default());
        free.admit(ip(1), u64::MAX / 2).await;
    }
}
