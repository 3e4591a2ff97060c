//! What a run would do, before anybody lets it: who, in which order, by whom, how often something is written, and how long it will take.
//!
//! This is the dry run. It is made from the planned record itself, so it is what would be approved: the same list, the same hash.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    plan::permits_at_most,
    record::{FrozenTarget, RunRecord},
    waves::{Turn, turns},
};
use crate::{
    measure::{
        Clock, PERCENTILE_N_MIN, comparable,
        fleet::{Fleet, Needs, Outlook, StageTimes, in_turn},
    },
    report::{RunReport, words},
    runbook::{Per, Step, Uses},
};

/// How often a run is played through for its outlook.
const PLAYS: usize = 1_000;

/// Who is there to do it, and what is known of how long it takes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Known {
    /// People with their hands free; at least one counts.
    pub people: usize,
    /// Endpoints that the network feeds at full speed at the same time; `None`: all.
    pub over_link: Option<usize>,
    /// Times of steps in earlier runs, milliseconds. Give only those that may stand together ([`crate::measure::comparable`]).
    pub steps_ms: BTreeMap<String, Vec<u64>>,
}

/// The class of endpoints that nobody named: times of every class stand for it.
pub const STAND_IN: &str = "stand-in";

impl Known {
    /// Take from the report of an earlier run the times that may stand for this plan: of a class that the plan has, and of a place that compares with one of the
    /// plan's. What a person did at a spare disk never stands for what they do at the plant.
    pub fn learn(&mut self, report: &RunReport, plan: &RunRecord) {
        for done in report.steps.iter().filter(|step| step.state == "passed") {
            let of_plan = plan.runbook.all_steps().find(|step| step.id == done.step);
            let (Some(took_ms), Some(step)) = (done.took_ms, of_plan) else { continue };
            let by_hand = step.uses_in(plan.mode).is_by_hand();
            let clock = if by_hand { Clock::Service } else { Clock::Machine };
            let stands_for = |was: &FrozenTarget| {
                plan.targets.iter().any(|is| {
                    comparable(is.place, was.place, clock)
                        && (by_hand || is.class == was.class || is.class == STAND_IN)
                })
            };
            let mut of = report
                .scope
                .iter()
                .filter(|was| done.target.is_none() || done.target.as_ref() == Some(&was.target));
            if of.all(stands_for) {
                self.steps_ms.entry(done.step.to_string()).or_default().push(took_ms);
            }
        }
    }
}

/// A run before it begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Preview {
    /// The runbook, with its version.
    pub runbook: String,
    /// blake3 of its file.
    pub digest: String,
    /// The mode.
    pub mode: &'static str,
    /// What people would approve.
    pub binding: String,
    /// The endpoints, in the plan's order, with their images.
    pub targets: Vec<(String, String)>,
    /// The waves, each with its endpoints.
    pub waves: Vec<(String, Vec<String>)>,
    /// The steps.
    pub steps: Vec<PlannedStep>,
    /// Permissions to write at most, retries counted.
    pub permits_at_most: usize,
    /// People that it is reckoned with.
    pub people: usize,
    /// How long it will take.
    pub outlook: Option<Outlook>,
    /// How much sooner nine of ten would be through with one person more.
    pub one_more_saves_ms: Option<u64>,
    /// The objective.
    pub rto_ms: Option<u64>,
}

/// A step before it begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedStep {
    /// Its id.
    pub step: String,
    /// Its verb.
    pub verb: &'static str,
    /// Once for each endpoint.
    pub each: bool,
    /// A person does it.
    pub by_hand: bool,
    /// The middle of the times that were measured.
    pub measured_ms: Option<u64>,
    /// How many were measured.
    pub n: usize,
    /// What it aims at.
    pub target_ms: Option<u64>,
}

impl Preview {
    /// Look at a planned run.
    #[must_use]
    pub fn of(record: &RunRecord, known: &Known) -> Self {
        let runbook = &record.runbook;
        let steps: Vec<&Step> =
            runbook.steps.iter().filter(|step| step.condition.fits(record.mode)).collect();
        let dealt = turns(runbook, &record.targets);
        let name = |at: &usize| record.targets[*at].target.to_string();
        let people = known.people.max(1);
        let outlook = |people| outlook(record, known, &steps, &dealt, people);
        let now = outlook(people);
        let one_more =
            now.as_ref().zip(outlook(people + 1)).map(|(now, more)| now.p90_ms.saturating_sub(more.p90_ms));
        Self {
            runbook: format!("{} v{}", runbook.name, runbook.version),
            digest: runbook.digest.clone(),
            mode: record.mode.word(),
            binding: record.binding.clone(),
            targets: record
                .targets
                .iter()
                .map(|frozen| (frozen.target.to_string(), frozen.image.clone()))
                .collect(),
            waves: dealt
                .iter()
                .map(|turn| (turn.name.clone(), turn.targets.iter().map(name).collect()))
                .collect(),
            steps: steps.iter().map(|step| planned(step, record, known)).collect(),
            permits_at_most: permits_at_most(runbook, record.targets.len()),
            people,
            outlook: now,
            one_more_saves_ms: one_more,
            rto_ms: runbook.objectives.rto_ms,
        }
    }

    /// How many times stand behind the step that was measured least; none where a step that takes time was never measured.
    #[must_use]
    pub fn smallest_n(&self) -> usize {
        let guessed = self.outlook.as_ref().is_some_and(|outlook| !outlook.guessed.is_empty());
        let least = self.steps.iter().filter(|step| step.each).map(|step| step.n).min();
        if guessed { 0 } else { least.unwrap_or(0) }
    }

    /// How long, in a sentence with what it rests on. Under [`PERCENTILE_N_MIN`] measured times of any step there is a maximum and no percentile.
    #[must_use]
    pub fn in_a_sentence(&self) -> String {
        let Some(outlook) = &self.outlook else { return "How long it takes is not known.".into() };
        let who = words::count(self.people, "person").replace("persons", "people");
        let n = self.smallest_n();
        let (figure, ms) =
            if n < PERCENTILE_N_MIN { ("the slowest play", outlook.max_ms) } else { ("p90", outlook.p90_ms) };
        let mut said = format!(
            "{}, {who}: {figure} {} (the step measured least: n = {n})",
            words::count(self.targets.len(), "endpoint"),
            words::length(ms)
        );
        if let Some(saved_ms) = self.one_more_saves_ms {
            said += &format!("; one person more saves {}", words::length(saved_ms));
        }
        if let Some(rto_ms) = self.rto_ms {
            let fits = if ms <= rto_ms { "within" } else { "OVER" };
            said += &format!("; {fits} the objective of {}", words::length(rto_ms));
        }
        if !outlook.guessed.is_empty() {
            said += &format!("; never measured and taken from their targets: {}", outlook.guessed.join(", "));
        }
        said + "."
    }
}

fn measured<'a>(step: &Step, known: &'a Known) -> Option<&'a Vec<u64>> {
    known.steps_ms.get(step.id.as_str()).filter(|times| !times.is_empty())
}

/// What it takes when nobody measured it: its target, or the time of a wait; nothing else is known.
fn aimed_ms(step: &Step, record: &RunRecord) -> u64 {
    match step.uses_in(record.mode) {
        Uses::Wait { for_ms } => *for_ms,
        Uses::Capture { budget_ms, .. } => step.target_ms.unwrap_or(*budget_ms),
        _ => step.target_ms.unwrap_or(0),
    }
}

fn planned(step: &Step, record: &RunRecord, known: &Known) -> PlannedStep {
    let times = measured(step, known);
    let middle = times.and_then(|times| crate::measure::summary(times)).map(|summary| summary.median_ms);
    PlannedStep {
        step: step.id.to_string(),
        verb: step.uses.verb().word(),
        each: step.per == Per::Target,
        by_hand: step.uses_in(record.mode).is_by_hand(),
        measured_ms: middle,
        n: times.map_or(0, Vec::len),
        target_ms: step.target_ms,
    }
}

fn outlook(
    record: &RunRecord,
    known: &Known,
    steps: &[&Step],
    dealt: &[Turn],
    people: usize,
) -> Option<Outlook> {
    let stage = |step: &&Step| {
        let uses = step.uses_in(record.mode);
        let needs = match uses {
            _ if uses.is_by_hand() => Needs::Person,
            Uses::Reimage => Needs::Link,
            _ => Needs::Nobody,
        };
        let times = measured(step, known);
        StageTimes {
            name: step.id.to_string(),
            needs,
            measured: times.is_some(),
            times_ms: times.cloned().unwrap_or_else(|| vec![aimed_ms(step, record)]),
        }
    };
    let stages: Vec<StageTimes> = steps.iter().filter(|step| step.per == Per::Target).map(stage).collect();
    let once_ms = steps.iter().filter(|step| step.per == Per::Run).map(|step| {
        measured(step, known)
            .and_then(|times| crate::measure::summary(times))
            .map_or(aimed_ms(step, record), |one| one.median_ms)
    });
    let fleet = |turn: &Turn| Fleet {
        stations: turn.targets.len(),
        people,
        at_once: record.runbook.limits.max_parallel as usize,
        over_link: known.over_link.unwrap_or(usize::MAX),
        stages: stages.clone(),
    };
    let waves: Vec<(Fleet, u64)> = dealt.iter().map(|turn| (fleet(turn), turn.soak_ms)).collect();
    in_turn(&waves, once_ms.sum(), PLAYS, 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        library,
        report::Circumstances,
        run::{
            plan,
            tests::{ask, safe},
        },
        runbook::parse::parse,
        target::Place,
    };

    const MINUTE: u64 = 60_000;

    fn record(stations: usize) -> RunRecord {
        let runbook = parse(library::shipped("line-hmi-mass-recovery").unwrap().text).unwrap();
        let targets = (1..=stations).map(|n| safe(&format!("hmi-{n:02}"), Place::Bench)).collect();
        plan(runbook, targets, ask()).unwrap().record().clone()
    }

    #[test]
    fn a_preview_shows_what_would_be_approved() {
        let record = record(8);
        let preview = Preview::of(&record, &Known { people: 2, ..Known::default() });
        assert_eq!((preview.mode, &preview.binding), ("drill", &record.binding));
        let sizes: Vec<(&str, usize)> =
            preview.waves.iter().map(|(name, who)| (name.as_str(), who.len())).collect();
        assert_eq!(sizes, [("canary", 1), ("rest", 6), ("rest 2", 1)]);
        assert_eq!((preview.permits_at_most, preview.targets.len()), (16, 8));
        let by_hand: Vec<&str> =
            preview.steps.iter().filter(|step| step.by_hand).map(|step| step.step.as_str()).collect();
        assert_eq!(by_hand, ["go", "safe", "operator"]);
        let said = preview.in_a_sentence();
        assert!(
            said.starts_with("8 endpoints, 2 people: the slowest play ")
                && said.contains("(the step measured least: n = 0)")
                && said.contains("never measured")
                && said.contains("objective of 1 h 30 min"),
            "{said}"
        );
    }

    #[test]
    fn only_times_of_a_like_place_and_class_stand_for_a_plan() {
        let plan = record(2);
        let learned = |change: fn(&mut FrozenTarget)| {
            let mut was = plan.clone();
            was.targets.iter_mut().for_each(change);
            let mut report = RunReport::of(&was, Circumstances::default());
            for step in &mut report.steps {
                (step.state, step.took_ms) = ("passed".to_owned(), Some(MINUTE));
            }
            let mut known = Known::default();
            known.learn(&report, &plan);
            ["operator", "image"].map(|step| known.steps_ms.get(step).map_or(0, Vec::len))
        };
        assert_eq!(learned(|_| ()), [2, 2]);
        assert_eq!(
            learned(|was| was.place = Place::SpareDisk),
            [0, 2],
            "people differ there, machines do not"
        );
        assert_eq!(learned(|was| was.place = Place::Virtual), [0, 0]);
        assert_eq!(learned(|was| was.class = "another".into()), [2, 0]);
    }

    #[test]
    fn measured_times_come_before_targets_and_people_are_what_is_short() {
        let record = record(18);
        let known = |people, image: u64| {
            let steps = ["safe", "cause", "prove", "join", "operator", "back"]
                .map(|step| (step.to_owned(), vec![MINUTE]));
            let image = [("image".to_owned(), vec![image * MINUTE])];
            Known { people, over_link: None, steps_ms: steps.into_iter().chain(image).collect() }
        };
        let p90 = |people, image| Preview::of(&record, &known(people, image)).outlook.unwrap().p90_ms;
        assert!(p90(1, 5) > p90(2, 5) && p90(2, 5) > p90(2, 4));
        let preview = Preview::of(&record, &known(2, 5));
        assert_eq!(preview.outlook.as_ref().unwrap().guessed, Vec::<String>::new());
        assert_eq!(preview.one_more_saves_ms, Some(p90(2, 5) - p90(3, 5)));
        let mut many = known(2, 5);
        assert!(
            preview.in_a_sentence().contains(": the slowest play ")
                && preview.in_a_sentence().contains("n = 1)")
        );
        many.steps_ms.values_mut().for_each(|times| *times = times.repeat(20));
        let said = Preview::of(&record, &many).in_a_sentence();
        assert!(said.contains(": p90 ") && said.contains("n = 20)"), "{said}");
        many.steps_ms.insert("back".to_owned(), vec![MINUTE; 19]);
        let said = Preview::of(&record, &many).in_a_sentence();
        assert!(said.contains(": the slowest play ") && said.contains("n = 19)"), "{said}");
        let over = Preview::of(&record, &known(1, 60));
        assert!(over.in_a_sentence().contains("OVER"), "{}", over.in_a_sentence());
    }
}
