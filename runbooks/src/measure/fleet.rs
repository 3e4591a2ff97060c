//! How long a whole line takes: many stations, few people, one network. Played through many times with times that were measured.
//!
//! ```text
//! station ─► waits for its turn (at most `at_once`) ─► stage ─► stage ─► … ─► back
//!                                                      │ a stage by a person waits for one of `people`
//!                                                      │ a stage over the network waits for one of `over_link`
//! ```
//!
//! Each stage of each station draws one of the times that were measured for it, so nothing is assumed of how they are spread. The same seed gives the same
//! answer. What was never measured is taken from the runbook's own target, and the answer says of how many stages that is so.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

use serde::Serialize;

use super::{Actor, Summary, summary};

/// What a stage needs beside time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Needs {
    /// Nothing: the machine goes on by itself.
    Nobody,
    /// One of the people, the whole time.
    Person,
    /// A share of the network.
    Link,
}

impl From<Actor> for Needs {
    fn from(actor: Actor) -> Self {
        if actor == Actor::Human { Self::Person } else { Self::Nobody }
    }
}

/// One stage that every station goes through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageTimes {
    /// Its name.
    pub name: String,
    /// What it needs.
    pub needs: Needs,
    /// Times that were measured, milliseconds; at least one.
    pub times_ms: Vec<u64>,
    /// They were measured, and not taken from a target.
    pub measured: bool,
}

/// A line, and who brings it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fleet {
    /// How many stations.
    pub stations: usize,
    /// How many people; at least one.
    pub people: usize,
    /// Stations worked on at the same time (`max_parallel`).
    pub at_once: usize,
    /// Stations that the network feeds at full speed at the same time.
    pub over_link: usize,
    /// What each goes through, in order.
    pub stages: Vec<StageTimes>,
}

/// What came out of many plays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outlook {
    /// How often it was played.
    pub plays: usize,
    /// Half of the plays were through by then.
    pub p50_ms: u64,
    /// Nine of ten.
    pub p90_ms: u64,
    /// All.
    pub max_ms: u64,
    /// Stages whose times are a target's and not a measurement's.
    pub guessed: Vec<String>,
}

impl Fleet {
    /// Play it so many times. `None` when there is no station, no stage, or a stage without any time.
    #[must_use]
    pub fn play(&self, plays: usize, seed: u64) -> Option<Outlook> {
        in_turn(std::slice::from_ref(&(self.clone(), 0)), 0, plays, seed)
    }

    /// How much sooner nine of ten plays are through with one person more.
    #[must_use]
    pub fn one_more_saves_ms(&self, plays: usize, seed: u64) -> Option<u64> {
        let more = Self { people: self.people + 1, ..self.clone() };
        Some(self.play(plays, seed)?.p90_ms.saturating_sub(more.play(plays, seed)?.p90_ms))
    }

    fn play_once(&self, dice: &mut Dice) -> u64 {
        // Drawn station by station, so that one person more meets the same times.
        let draw = |dice: &mut Dice, stage: &StageTimes| stage.times_ms[dice.below(stage.times_ms.len())];
        let times: Vec<Vec<u64>> =
            (0..self.stations).map(|_| self.stages.iter().map(|stage| draw(dice, stage)).collect()).collect();
        let mut free = [usize::MAX, self.people.max(1), self.over_link.max(1)];
        let mut queues: [VecDeque<(usize, usize)>; 3] = Default::default();
        let mut running: BinaryHeap<Reverse<(u64, usize, usize)>> = BinaryHeap::new();
        let mut waiting: VecDeque<usize> = (0..self.stations).collect();
        for _ in 0..self.at_once.max(1) {
            if let Some(station) = waiting.pop_front() {
                queues[self.stages[0].needs as usize].push_back((station, 0));
            }
        }
        let mut now_ms = 0;
        loop {
            for (needs, queue) in queues.iter_mut().enumerate() {
                while free[needs] > 0
                    && let Some((station, stage)) = queue.pop_front()
                {
                    free[needs] -= 1;
                    running.push(Reverse((now_ms + times[station][stage], station, stage)));
                }
            }
            let Some(Reverse((at_ms, station, stage))) = running.pop() else { return now_ms };
            now_ms = at_ms;
            free[self.stages[stage].needs as usize] += 1;
            let next = match self.stages.get(stage + 1) {
                Some(next) => Some((next, station, stage + 1)),
                None => waiting.pop_front().map(|station| (&self.stages[0], station, 0)),
            };
            if let Some((next, station, stage)) = next {
                queues[next.needs as usize].push_back((station, stage));
            }
        }
    }
}

/// Play several groups one after the other (waves), each watched for so long before the next begins. `around_ms` is what comes once.
#[must_use]
pub fn in_turn(waves: &[(Fleet, u64)], around_ms: u64, plays: usize, seed: u64) -> Option<Outlook> {
    let can = |fleet: &Fleet| {
        fleet.stations > 0
            && !fleet.stages.is_empty()
            && fleet.stages.iter().all(|stage| !stage.times_ms.is_empty())
    };
    if waves.is_empty() || plays == 0 || !waves.iter().all(|(fleet, _)| can(fleet)) {
        return None;
    }
    let mut dice = Dice(seed);
    let last = waves.len() - 1;
    let mut play = || {
        let wave = |(at, (fleet, soak_ms)): (usize, &(Fleet, u64))| {
            fleet.play_once(&mut dice) + if at < last { *soak_ms } else { 0 }
        };
        around_ms + waves.iter().enumerate().map(wave).sum::<u64>()
    };
    let mut ends: Vec<u64> = (0..plays).map(|_| play()).collect();
    ends.sort_unstable();
    let rank = |percent: usize| ends[(plays * percent).div_ceil(100).clamp(1, plays) - 1];
    let stages = waves[0].0.stages.iter();
    let guessed = stages.filter(|stage| !stage.measured).map(|stage| stage.name.clone()).collect();
    Some(Outlook { plays, p50_ms: rank(50), p90_ms: rank(90), max_ms: rank(100), guessed })
}

/// Numbers that look random and are the same for the same seed (SplitMix64, Steele et al. 2014).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        usize::try_from((u128::from(z) * n as u128) >> 64).unwrap_or(0)
    }
}

/// Times of a stage as a person reads them, never without n.
#[must_use]
pub fn of_stage(stage: &StageTimes) -> Option<Summary> {
    stage.measured.then(|| summary(&stage.times_ms)).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: u64 = 60_000;

    fn stage(name: &str, needs: Needs, minutes: &[u64]) -> StageTimes {
        let times_ms = minutes.iter().map(|minute| minute * MINUTE).collect();
        StageTimes { name: name.into(), needs, times_ms, measured: true }
    }

    fn line(stations: usize, people: usize) -> Fleet {
        let stages = vec![
            stage("safe", Needs::Person, &[3]),
            stage("image", Needs::Nobody, &[9]),
            stage("accept", Needs::Person, &[2]),
        ];
        Fleet { stations, people, at_once: 100, over_link: 100, stages }
    }

    #[test]
    fn with_fixed_times_it_is_arithmetic() {
        let end = |fleet: &Fleet| fleet.play(10, 1).unwrap().max_ms / MINUTE;
        assert_eq!(end(&line(1, 1)), 14);
        // Two at once, one person: 3, 6, then both image; the first is accepted at 12 to 14, the second at 15 to 17.
        assert_eq!(end(&line(2, 1)), 17);
        assert_eq!(end(&line(2, 2)), 14);
        let one_by_one = Fleet { at_once: 1, ..line(3, 3) };
        assert_eq!(end(&one_by_one), 42);
        // Eighteen stations keep one person busy for 18 × 5 minutes, and nothing makes it shorter than that.
        assert!(end(&line(18, 1)) >= 90);
        let narrow = Fleet { over_link: 1, stages: vec![stage("fetch", Needs::Link, &[4])], ..line(5, 5) };
        assert_eq!(end(&narrow), 20);
    }

    #[test]
    fn one_person_more_saves_what_it_says() {
        let two = line(18, 2);
        let saved = two.one_more_saves_ms(50, 1).unwrap();
        assert_eq!(saved, two.play(50, 1).unwrap().p90_ms - line(18, 3).play(50, 1).unwrap().p90_ms);
        assert!(saved > 10 * MINUTE, "{saved}");
        assert_eq!(line(1, 1).one_more_saves_ms(10, 1), Some(0));
    }

    #[test]
    fn the_same_seed_gives_the_same_answer_and_guesses_are_named() {
        let mut fleet = line(6, 2);
        fleet.stages[1] = StageTimes { measured: false, ..stage("image", Needs::Nobody, &[7, 9, 30]) };
        assert_eq!(fleet.play(200, 5), fleet.play(200, 5));
        let outlook = fleet.play(200, 5).unwrap();
        assert_eq!(outlook.guessed, ["image"]);
        assert!(outlook.p50_ms <= outlook.p90_ms && outlook.p90_ms <= outlook.max_ms);
        assert_eq!((of_stage(&fleet.stages[1]), of_stage(&fleet.stages[0]).unwrap().n), (None, 1));
        fleet.stages[1].times_ms.clear();
        assert_eq!((fleet.play(1, 1), line(0, 1).play(1, 1)), (None, None));
        // One first, watched for five minutes, then four together.
        let waves = [(line(1, 4), 5 * MINUTE), (line(4, 4), 60 * MINUTE)];
        assert_eq!(in_turn(&waves, 2 * MINUTE, 10, 1).unwrap().p90_ms, (2 + 14 + 5 + 14) * MINUTE);
    }

    proptest! {
        /// Never sooner than the slowest station alone, nor than the people's work shared out; never later than all one after the other.
        #[test]
        fn an_outlook_lies_within_what_is_possible(stations in 1usize..12, people in 1usize..5, at_once in 1usize..12, seed in any::<u64>()) {
            let fleet = Fleet { at_once, ..line(stations, people) };
            let end = fleet.play(3, seed).unwrap();
            let hands = 5 * MINUTE * stations as u64;
            prop_assert!(end.p50_ms >= (14 * MINUTE).max(hands / people as u64));
            prop_assert!(end.max_ms <= 14 * MINUTE * stations as u64);
        }
    }
}
