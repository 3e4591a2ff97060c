//! Which source is asked: each is judged by what it has done. No socket and no clock in here; time comes in.
//!
//! ```text
//!            ┌── gave frames ──────────────► asked again, the first of the order before the others
//!   source ──┼── silent, cut off, too slow ► rests, longer each time; then one asks it, to see
//!            ├── of another version ───────► left for good, and said to be so
//!            ├── far slower than another ──► the other is asked, for a while
//!            └── sent junk ────────────────► left for good
//! ```
//!
//! The order of the list is the order of preference. It must never wait for one source while another is ready, or ask one again
//! that has sent junk.

use std::time::{Duration, Instant};

use recovery_protocol::agent::SourceFacts;

/// What is expected of a source.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// A source gives so many bytes at least…
    pub slow_bytes: u64,
    /// …in each such time that is spent waiting for it. Also the longest silence.
    pub slow_after: Duration,
    /// Below so many bytes a second it is compared with those that nothing is known of.
    pub compare_below: f64,
    /// What is known of a source's speed is forgotten after this.
    pub known_for: Duration,
    /// Rest after a failure: the first, and the longest.
    pub rest: (Duration, Duration),
    /// No chunk from any source for this long: the restore stops. Long enough to plug a cable back in.
    pub outage: Duration,
}

impl Limits {
    /// Those of a plant.
    pub const USUAL: Self = Self {
        slow_bytes: 64 << 10,
        slow_after: Duration::from_secs(10),
        compare_below: 4.0 * 1024.0 * 1024.0,
        known_for: Duration::from_secs(60),
        rest: (Duration::from_millis(250), Duration::from_secs(8)),
        outage: Duration::from_secs(10 * 60),
    };
}

/// Another must be so many times as fast to be preferred: a change costs a request's time, and speeds are measured roughly.
const FASTER: f64 = 4.0;
/// A request that brought less says nothing about speed.
const MEASURED_BYTES_MIN: u64 = 128 << 10;
/// Most sources of an order that are looked at.
pub const SOURCES_MAX: usize = 16;

/// Whom to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// This one.
    Ask(usize),
    /// Nobody before then.
    Wait(Instant),
    /// There is nobody left that has what is wanted.
    Nobody,
}

#[derive(Debug)]
struct Source {
    facts: SourceFacts,
    /// It is of a version that we do not speak.
    otherwise: bool,
    failures: u32,
    rests_until: Option<Instant>,
    /// Bytes a second, and when that was measured.
    speed: Option<(f64, Instant)>,
}

/// All sources of one restore.
#[derive(Debug)]
pub struct Sources {
    sources: Vec<Source>,
    limits: Limits,
}

impl Sources {
    /// In order of preference.
    pub fn new(urls: &[String], limits: Limits) -> Self {
        let source = |url: &String| Source {
            facts: SourceFacts { url: url.clone(), ..SourceFacts::default() },
            otherwise: false,
            failures: 0,
            rests_until: None,
            speed: None,
        };
        Self { sources: urls.iter().take(SOURCES_MAX).map(source).collect(), limits }
    }

    /// Whom to ask now, of those that `has` what is wanted.
    pub fn choose(&mut self, now: Instant, has: impl Fn(usize) -> bool) -> Choice {
        let able: Vec<usize> = (0..self.sources.len())
            .filter(|index| self.sources[*index].facts.left.is_none() && has(*index))
            .collect();
        let rests = |index: &usize| self.sources[*index].rests_until.filter(|until| *until > now);
        let ready: Vec<usize> = able.iter().copied().filter(|index| rests(index).is_none()).collect();
        let Some(first) = ready.first() else {
            return able.iter().filter_map(rests).min().map_or(Choice::Nobody, Choice::Wait);
        };
        let chosen = self.faster(*first, &ready, now).unwrap_or(*first);
        let source = &mut self.sources[chosen];
        if source.failures > 0 {
            // One asks and sees; the others go on without it.
            source.rests_until = Some(now + self.limits.slow_after);
        }
        Choice::Ask(chosen)
    }

    /// One that is better asked than `first`, which is slow.
    fn faster(&self, first: usize, ready: &[usize], now: Instant) -> Option<usize> {
        let speed = |index: usize| {
            let known = self.sources[index].speed;
            known.filter(|(_, at)| now.duration_since(*at) < self.limits.known_for).map(|(speed, _)| speed)
        };
        let slow = speed(first).filter(|speed| *speed < self.limits.compare_below)?;
        let others = || ready.iter().copied().filter(|index| *index != first);
        let unknown = others().find(|index| speed(*index).is_none());
        let best = || {
            let known = others().filter_map(|index| Some((index, speed(index)?)));
            let (best, fast) = known.max_by(|a, b| a.1.total_cmp(&b.1))?;
            (fast > slow * FASTER).then_some(best)
        };
        unknown.or_else(best)
    }

    /// It gave frames of so many bytes, for which it was waited so long.
    pub fn gave(&mut self, index: usize, frames: u64, bytes: u64, waited: Duration, now: Instant) {
        let source = &mut self.sources[index];
        source.facts.chunks += frames;
        source.facts.wire_bytes += bytes;
        if bytes >= MEASURED_BYTES_MIN {
            source.speed = Some((bytes as f64 / waited.as_secs_f64().max(1e-6), now));
        }
    }

    /// It answered all that it was asked.
    pub fn kept_its_word(&mut self, index: usize) {
        let source = &mut self.sources[index];
        (source.failures, source.rests_until) = (0, None);
    }

    /// It was silent, cut off or refused to answer. `chance` from 0 to 1 keeps endpoints from coming back all at once.
    pub fn failed(&mut self, index: usize, chance: f64, now: Instant) {
        let (first, longest) = self.limits.rest;
        let source = &mut self.sources[index];
        let rest = first.saturating_mul(1 << source.failures.min(16)).min(longest);
        source.failures += 1;
        source.rests_until = Some(now + rest.mul_f64(0.75 + chance / 2.0));
    }

    /// It was too slow: no failure alone, but the others are asked before it is again.
    pub fn was_slow(&mut self, index: usize, chance: f64, now: Instant) {
        self.failed(index, chance, now);
        self.sources[index].speed =
            Some((self.limits.slow_bytes as f64 / self.limits.slow_after.as_secs_f64(), now));
    }

    /// It sent what is no frame that was asked for.
    pub fn sent_junk(&mut self, index: usize, why: String) {
        self.sources[index].facts.left.get_or_insert(why);
    }

    /// It is of another version, and stays so as long as this restore lasts.
    pub fn speaks_otherwise(&mut self, index: usize, why: String) {
        self.sources[index].otherwise = true;
        self.sent_junk(index, why);
    }

    /// Whether one at least is of another version.
    pub fn any_speaks_otherwise(&self) -> bool {
        self.sources.iter().any(|source| source.otherwise)
    }

    /// What each has given, and why those were left that were.
    pub fn facts(&self) -> Vec<SourceFacts> {
        self.sources.iter().map(|source| source.facts.clone()).collect()
    }

    /// Its address.
    pub fn url(&self, index: usize) -> &str {
        self.sources.get(index).map_or("", |source| &source.facts.url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn sources(count: usize) -> (Sources, Instant) {
        let urls: Vec<String> = (0..count).map(|number| format!("http://10.0.0.{number}")).collect();
        (Sources::new(&urls, Limits::USUAL), Instant::now())
    }

    fn all(_: usize) -> bool {
        true
    }

    #[test]
    fn the_first_is_asked_as_long_as_it_answers() {
        let (mut sources, now) = sources(3);
        assert_eq!(sources.choose(now, all), Choice::Ask(0));
        sources.gave(0, 10, 9 * MIB, Duration::from_secs(1), now);
        sources.kept_its_word(0);
        assert_eq!(sources.choose(now, all), Choice::Ask(0));
        assert_eq!(sources.choose(now, |index| index == 2), Choice::Ask(2), "only the last has it");
        assert_eq!(sources.choose(now, |_| false), Choice::Nobody);
    }

    #[test]
    fn one_that_failed_rests_longer_each_time_and_is_then_asked_by_one() {
        let (mut sources, mut now) = sources(2);
        let mut rests = Vec::new();
        for _ in 0..7 {
            sources.failed(0, 0.5, now);
            assert_eq!(sources.choose(now, all), Choice::Ask(1));
            let Choice::Wait(until) = sources.choose(now, |index| index == 0) else { panic!("it rests") };
            rests.push(until - now);
            now = until;
        }
        assert!(rests.is_sorted() && rests[0] < rests[4] && rests[6] == Limits::USUAL.rest.1, "{rests:?}");
        assert_eq!(sources.choose(now, all), Choice::Ask(0));
        assert_eq!(sources.choose(now, all), Choice::Ask(1), "one asks, the others go on");
        sources.kept_its_word(0);
        assert_eq!(sources.choose(now, all), Choice::Ask(0));
    }

    #[test]
    fn a_slow_one_is_compared_and_left_for_one_that_is_much_faster_for_a_while() {
        let (mut sources, now) = sources(3);
        sources.gave(0, 1, MIB, Duration::from_secs(1), now);
        assert_eq!(sources.choose(now, all), Choice::Ask(1), "nothing is known of it yet");
        sources.gave(1, 1, 2 * MIB, Duration::from_secs(1), now);
        assert_eq!(sources.choose(now, all), Choice::Ask(2));
        sources.gave(2, 1, 3 * MIB, Duration::from_secs(1), now);
        assert_eq!(sources.choose(now, all), Choice::Ask(0), "none is much faster");
        sources.gave(2, 1, 5 * MIB, Duration::from_secs(1), now);
        assert_eq!(sources.choose(now, all), Choice::Ask(2));
        assert_eq!(sources.choose(now + Limits::USUAL.known_for, all), Choice::Ask(0), "tried again");
    }

    #[test]
    fn one_that_sent_junk_is_never_asked_again_and_named() {
        let (mut sources, now) = sources(2);
        sources.gave(0, 3, 77, Duration::ZERO, now);
        sources.sent_junk(0, "chunk was altered".to_owned());
        sources.kept_its_word(0);
        assert_eq!(sources.choose(now + Duration::from_secs(9000), all), Choice::Ask(1));
        sources.sent_junk(1, "swapped".to_owned());
        assert_eq!(sources.choose(now, all), Choice::Nobody);
        let facts = &sources.facts()[0];
        assert_eq!((facts.chunks, facts.wire_bytes), (3, 77));
        assert_eq!(facts.left.as_deref(), Some("chunk was altered"));
    }
}
