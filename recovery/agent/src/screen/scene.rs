//! What the picture shows, without a pixel: the mood, the words, how far the work is, and how long it may take.
//!
//! [`Mood`] is what a technician must know from two metres: may I go, am I needed, did it fail. [`Pace`] has no clock of its own.
//!
//! It must never promise: a time left is said only once there is something to reckon it from.

use std::collections::VecDeque;
use std::time::Duration;

/// What a person is to make of it. Each has a word, a sign and colours of its own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Mood {
    /// Under way, and nobody can say yet whether a person will be needed.
    #[default]
    Starting,
    /// An order is being carried out: nobody is needed.
    Working,
    /// Nothing goes forward without a person.
    Person,
    /// A person decides how to go on. A failure that is shown stays: it is what the decision is about.
    Held,
    /// A person compares this code with the appliance's console.
    Pairing(String),
    /// It did not work, for the reason of this short code; empty where it has none.
    Failed(String),
    /// The endpoint is about to reboot.
    Rebooting,
}

/// How far one part of the work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Bytes done.
    pub done: u64,
    /// Bytes in all.
    pub total: u64,
    /// Bytes a second of late, once known.
    pub rate: Option<u64>,
    /// Until this part is done, once known.
    pub left: Option<Duration>,
}

impl Progress {
    /// Thousandths that are done.
    pub fn permille(&self) -> u64 {
        (self.done.min(self.total).saturating_mul(1000)).checked_div(self.total).unwrap_or(1000)
    }

    /// `1.2 of 2.0 GiB`, `38 MiB/s`, `about 4 min left`; what is not known is left out.
    pub fn figures(&self) -> Vec<String> {
        let amount = super::amount(self.done, self.total);
        let amount = amount.split(" (").next().unwrap_or_default().to_owned();
        let rate = self.rate.map(|rate| match rate >> 20 {
            0 => format!("{} KiB/s", rate >> 10),
            mib => format!("{mib} MiB/s"),
        });
        [Some(amount), rate, self.left.map(left)].into_iter().flatten().collect()
    }
}

/// A time left as a person says it; rounded up, since too early is better than too late.
fn left(time: Duration) -> String {
    let minutes = time.as_secs().div_ceil(60);
    match minutes {
        0 | 1 => "less than 1 min left".to_owned(),
        2..=99 => format!("about {minutes} min left"),
        _ => format!("about {} h left", minutes.div_ceil(60)),
    }
}

/// What the picture shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scene {
    /// What to make of it.
    pub mood: Mood,
    /// The endpoint, as people call it; empty while nothing is known of it.
    pub endpoint: String,
    /// A rehearsal.
    pub drill: bool,
    /// What is going on, or what happened.
    pub now: String,
    /// Why.
    pub why: String,
    /// What now.
    pub next: String,
    /// How far the work is.
    pub progress: Option<Progress>,
}

/// Rate is reckoned over so long at most.
const WINDOW: Duration = Duration::from_secs(20);
/// Before this nothing is said of the rate.
const WINDOW_MIN: Duration = Duration::from_secs(4);
/// A sample is kept this often.
const SAMPLE: Duration = Duration::from_millis(500);

/// How fast one part of the work goes.
#[derive(Debug, Default)]
pub struct Pace {
    what: String,
    samples: VecDeque<(Duration, u64)>,
}

impl Pace {
    /// How far `what` is at a time counted from any fixed one. Another `what`, or less than before, begins anew.
    pub fn at(&mut self, what: &str, time: Duration, done: u64, total: u64) -> Progress {
        if self.what != what || self.samples.back().is_some_and(|&(_, before)| done < before) {
            what.clone_into(&mut self.what);
            self.samples.clear();
        }
        if self.samples.back().is_none_or(|&(last, _)| time.saturating_sub(last) >= SAMPLE) {
            self.samples.push_back((time, done));
        }
        while self.samples.front().is_some_and(|&(first, _)| time.saturating_sub(first) > WINDOW) {
            self.samples.pop_front();
        }
        let rate = self.samples.front().and_then(|&(first, before)| {
            let span = time.saturating_sub(first);
            (span >= WINDOW_MIN).then(|| ((done - before) as f64 / span.as_secs_f64()) as u64)
        });
        let left =
            rate.filter(|&rate| rate > 0).map(|rate| Duration::from_secs((total.max(done) - done) / rate));
        Progress { done, total, rate, left }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn rate_and_time_left_are_said_once_they_are_known() {
        let mut pace = Pace::default();
        let total = 6000 * MIB;
        let mut at = |second: u64, done: u64| pace.at("Writing", Duration::from_secs(second), done, total);
        assert_eq!(at(0, 0), Progress { total, ..Progress::default() });
        assert_eq!(at(2, 40 * MIB).rate, None);
        let later = at(10, 200 * MIB);
        assert_eq!((later.rate, later.left), (Some(20 * MIB), Some(Duration::from_secs(290))));
        assert_eq!(later.figures(), ["0.1 of 5.8 GiB", "20 MiB/s", "about 5 min left"]);
    }

    #[test]
    fn another_part_of_the_work_begins_anew() {
        let mut pace = Pace::default();
        for second in 0..10 {
            let _ = pace.at("a", Duration::from_secs(second), second * MIB, 100 * MIB);
        }
        assert_eq!(pace.at("b", Duration::from_secs(10), 50 * MIB, 100 * MIB).rate, None);
        assert_eq!(pace.at("b", Duration::from_secs(20), 40 * MIB, 100 * MIB).rate, None, "it went back");
    }

    #[test]
    fn a_standstill_is_not_a_time() {
        let mut pace = Pace::default();
        let still: Vec<_> = (0..60).map(|s| pace.at("a", Duration::from_secs(s), MIB, 2 * MIB)).collect();
        assert_eq!((still[59].rate, still[59].left), (Some(0), None));
    }

    #[test]
    fn times_are_rounded_up() {
        let said = |seconds| left(Duration::from_secs(seconds));
        assert_eq!(said(59), "less than 1 min left");
        assert_eq!(said(61), "about 2 min left");
        assert_eq!(said(100 * 60), "about 2 h left");
    }

    #[test]
    fn all_of_nothing_is_done() {
        assert_eq!(Progress::default().permille(), 1000);
        assert_eq!(Progress { done: u64::MAX, total: u64::MAX, ..Progress::default() }.permille(), 1);
    }
}
