//! What a run would do, before anybody lets it: who, in which order, by whom, how often something is written, and how long it will take.
//!
//! This is the dry run. It is made from the planned record itself, so it is what would be approved: the same list, the same hash.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    plan::permits_at_most,
    record::RunRecord,
    waves::{Turn, turns},
};
use crate::{
    measure::fleet::{Fleet, Needs, Outlook, StageTimes, in_turn},
    report::words,
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

    /// How long, in a sentence with what it rests on.
    #[must_use]
    pub fn in_a_sentence(&self) -> String {
        let Some(outlook) = &self.outlook else { return "How long it takes is not known.".into() };
        let who = words::count(self.people, "person").replace("persons", "people");
        let mut said = format!(
            "{}, {who}: p90 {}",
            words::count(self.targets.len(), "endpoint"),
            words::length(outlook.p90_ms)
        );
        if let Some(saved_ms) = self.one_more_saves_ms {
            said += &format!("; one person more saves {}", words::length(saved_ms));
        }
        if let Some(rto_ms) = self.rto_ms {
            let fits = if outlook.p90_ms <= rto_ms { "within" } else { "OVER" };
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
        assert_eq!(by_hand, ["go", "safe", "cause", "operator"]);
        let said = preview.in_a_sentence();
        assert!(
            said.starts_with("8 endpoints, 2 people: p90 ")
                && said.contains("never measured")
                && said.contains("objective of 1 h 30 min"),
            "{said}"
        );
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
        let over = Preview::of(&record, &known(1, 60));
        assert!(over.in_a_sentence().contains("OVER"), "{}", over.in_a_sentence());
    }
}
