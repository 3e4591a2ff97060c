//! A drill beside those before it: what its steps took before, when it will be through, and how two of them differ.

use std::collections::{BTreeMap, BTreeSet};

use recovery_protocol::{
    Problem,
    drill::{ComparedStep, DrillComparison, DrillView, TrendPoint},
};
use runbooks::{
    RunRecord,
    measure::summary,
    report::around::{Around, Before, Inject, RunPoint},
    run::{
        Stage, Task, TaskState,
        ahead::{Ahead, ahead},
    },
    runbook::ModeName,
    target::Place,
};
use serde_json::json;

use super::{Drills, Kept, now_ms};
use crate::service::Actor;

/// Points of a trend, at most: the newest.
const POINTS_MOST: usize = 100;

/// How long each step took, the slowest endpoint counting.
fn took(record: &RunRecord) -> BTreeMap<String, u64> {
    let mut steps: BTreeMap<String, u64> = BTreeMap::new();
    for task in record.tasks.iter().filter(|task| !task.finally) {
        if let TaskState::Passed { from_ms, to_ms, .. } = task.state {
            let slowest = steps.entry(task.step.to_string()).or_default();
            *slowest = (*slowest).max(to_ms.saturating_sub(from_ms));
        }
    }
    steps
}

/// From its begin to the end of its last step before `finally`; `None`: it was not gone through.
fn run_ms(record: &RunRecord) -> Option<u64> {
    let main = || record.tasks.iter().filter(|task| !task.finally);
    let good = |task: &Task| {
        matches!(task.state, TaskState::Passed { .. } | TaskState::Skipped { not_meant: true, .. })
    };
    let end_ms = main().filter_map(Task::ended_ms).max()?;
    main().all(good).then_some(end_ms.saturating_sub(record.begun_at_ms?))
}

/// Whether one run's times may stand for another's: the same runbook, of hardware for hardware, of a class that both have.
fn stands_for(earlier: &RunRecord, record: &RunRecord) -> bool {
    let kinds = |record: &RunRecord| -> BTreeSet<(String, bool)> {
        record.targets.iter().map(|one| (one.class.clone(), one.place == Place::Virtual)).collect()
    };
    earlier.runbook.name == record.runbook.name
        && (earlier.mode == ModeName::Tabletop) == (record.mode == ModeName::Tabletop)
        && earlier.run != record.run
        && (record.targets.is_empty() || !kinds(earlier).is_disjoint(&kinds(record)))
}

impl Drills {
    /// Times of steps in earlier runs that may stand for this one, milliseconds.
    fn steps_ms(&self, record: &RunRecord) -> BTreeMap<String, Vec<u64>> {
        let mut steps: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        let kept = self.kept();
        let over = |kept: &&Kept| matches!(kept.record.stage, Stage::Over { .. });
        for earlier in kept.values().filter(over).filter(|kept| stands_for(&kept.record, record)) {
            for task in &earlier.record.tasks {
                if let TaskState::Passed { from_ms, to_ms, .. } = task.state {
                    steps.entry(task.step.to_string()).or_default().push(to_ms.saturating_sub(from_ms));
                }
            }
        }
        steps
    }

    fn ahead_of(&self, record: &RunRecord) -> Option<Ahead> {
        ahead(record, &self.steps_ms(record), now_ms())
    }

    /// A run as people see it, with when it will be through.
    pub(super) fn seen(&self, kept: &Kept) -> DrillView {
        let ahead = self.ahead_of(&kept.record);
        DrillView {
            predicted_end_unix_ms: ahead.as_ref().map(|ahead| ahead.end_ms),
            breach_predicted: ahead.as_ref().is_some_and(Ahead::is_breach),
            ..super::view(kept)
        }
    }

    /// Say of each run that it will miss its objective, once, while there is time to do something.
    pub(super) async fn tell_breaches(&self) {
        let runs: Vec<Kept> = self.kept().values().filter(|kept| !kept.breach_told).cloned().collect();
        for kept in runs {
            let Some(ahead) = self.ahead_of(&kept.record).filter(Ahead::is_breach) else { continue };
            let run = &kept.record.run;
            let facts = json!({
                "drill": run, "predicted_end_unix_ms": ahead.end_ms, "must_unix_ms": ahead.must_ms, "n": ahead.n,
            });
            tracing::warn!(%run, end_ms = ahead.end_ms, must_ms = ahead.must_ms, n = ahead.n, "a run will miss its objective");
            let actor = Actor::trigger(&format!("drill:{run}"));
            let noted = self.note(run, "alarm.drill-breach", &actor, None, facts).await;
            if let Err(error) = noted.and_then(|()| self.change(run, |kept| kept.breach_told = true)) {
                tracing::error!(%run, %error, "that a run will miss its objective could not be put on record");
            }
        }
    }

    /// How two runs of one runbook differ, step by step.
    ///
    /// # Errors
    /// 404 `unknown-drill`; 409 `not-comparable` where one says nothing about the other.
    pub fn compare(&self, drill: &str, other: &str) -> Result<DrillComparison, Problem> {
        let (one, two) = (self.find(drill)?.record, self.find(other)?.record);
        if !stands_for(&one, &two) {
            let detail = format!(
                "{} of {} ({}) and {} of {} ({})",
                drill,
                one.runbook.name,
                one.mode.word(),
                other,
                two.runbook.name,
                two.mode.word()
            );
            let remedy =
                "compare two runs of one runbook on one class; virtual ones never stand beside hardware";
            return Err(Problem::new(409, "not-comparable", "These runs cannot be compared", detail, remedy));
        }
        let (first, second) = (took(&one), took(&two));
        let names: BTreeSet<&String> = first.keys().chain(second.keys()).collect();
        let order = |name: &String| two.runbook.all_steps().position(|step| step.id.as_str() == name);
        let mut steps: Vec<ComparedStep> = names
            .into_iter()
            .map(|name| {
                let (before, now) = (first.get(name).copied(), second.get(name).copied());
                let change = before.zip(now).filter(|(before, _)| *before > 0).map(|(before, now)| {
                    let change = (i128::from(now) - i128::from(before)) * 100 / i128::from(before);
                    i32::try_from(change).unwrap_or(i32::MAX)
                });
                ComparedStep { step: name.clone(), before_ms: before, now_ms: now, change_percent: change }
            })
            .collect();
        steps.sort_by_key(|step| order(&step.step));
        Ok(DrillComparison {
            before: one.run.to_string(),
            now: two.run.to_string(),
            runbook: two.runbook.name.clone(),
            same_runbook: one.runbook.digest == two.runbook.digest,
            same_images: images(&one) == images(&two),
            before_ms: run_ms(&one),
            now_ms: run_ms(&two),
            steps,
        })
    }

    /// What other runs say of a run: its items on record, the comparable run before it, and the line of comparable runs that ends with it.
    ///
    /// # Errors
    /// What the service refuses.
    pub(super) async fn around(&self, kept: &Kept) -> Result<Around, Problem> {
        let record = &kept.record;
        let items = self.items_of(record).await?;
        let inject = |one: &super::injects::Injected| Inject {
            kind: one.kind.word().to_owned(),
            endpoint: one.endpoint.to_string(),
            by: one.by.clone(),
            from_ms: one.from_ms,
            ended_ms: one.ended_ms,
            met: one.met,
        };
        let injects: Vec<Inject> = kept.injects.iter().map(inject).collect();
        let mut before: Vec<RunRecord> = {
            let earlier = |other: &&Kept| {
                let (one, two) = (&other.record, record);
                matches!(one.stage, Stage::Over { .. })
                    && stands_for(one, two)
                    && (one.planned_at_ms, &one.run) < (two.planned_at_ms, &two.run)
            };
            self.kept().values().filter(earlier).map(|other| other.record.clone()).collect()
        };
        before.sort_by_key(|one| (one.planned_at_ms, one.run.clone()));
        let Some(last) = before.last() else {
            return Ok(Around { injects, items, ..Around::default() });
        };
        let (then, now) = (took(last), took(record));
        let steps = record.runbook.steps.iter().map(|step| step.id.to_string());
        let steps = steps.filter(|step| then.contains_key(step) || now.contains_key(step));
        let compared = Before {
            run: last.run.to_string(),
            ended_ms: last.now_ms,
            same_runbook: last.runbook.digest == record.runbook.digest,
            same_images: images(last) == images(record),
            run_ms: (run_ms(last), run_ms(record)),
            steps: steps
                .map(|step| {
                    let (before_ms, now_ms) = (then.get(&step).copied(), now.get(&step).copied());
                    (step, before_ms, now_ms)
                })
                .collect(),
        };
        let runs: Vec<&RunRecord> = before.iter().chain([record]).collect();
        let line = runs.iter().enumerate().map(|(at, one)| RunPoint {
            run: one.run.to_string(),
            ended_ms: one.now_ms,
            took_ms: run_ms(one),
            images_changed: at > 0 && images(runs[at - 1]) != images(one),
        });
        let line: Vec<RunPoint> = line.collect();
        let newest = line.len().saturating_sub(POINTS_MOST);
        Ok(Around { injects, items, before: Some(compared), line: line[newest..].to_vec() })
    }

    /// The runs of a runbook that are over, the oldest first, each against the middle of the comparable ones before it.
    #[must_use]
    pub fn trend(&self, runbook: &str) -> Vec<TrendPoint> {
        let mut runs: Vec<Kept> = self.kept().values().cloned().collect();
        runs.retain(|kept| {
            kept.record.runbook.name == runbook && matches!(kept.record.stage, Stage::Over { .. })
        });
        runs.sort_by_key(|kept| (kept.record.planned_at_ms, kept.record.run.clone()));
        let point = |(at, kept): (usize, &Kept)| {
            let record = &kept.record;
            let before = runs.iter().take(at).filter(|earlier| stands_for(&earlier.record, record));
            let times: Vec<u64> = before.filter_map(|earlier| run_ms(&earlier.record)).collect();
            TrendPoint {
                drill: record.run.to_string(),
                mode: record.mode.word().to_owned(),
                state: record.state_word().to_owned(),
                ended_unix_ms: record.now_ms,
                run_ms: run_ms(record),
                rto_ms: record.runbook.objectives.rto_ms,
                middle_before_ms: summary(&times).map(|all| all.median_ms),
                n_before: u64::try_from(times.len()).unwrap_or(u64::MAX),
                images: images(record).into_iter().collect(),
            }
        };
        let mut points: Vec<TrendPoint> = runs.iter().enumerate().map(point).collect();
        points.split_off(points.len().saturating_sub(POINTS_MOST))
    }
}

fn images(record: &RunRecord) -> BTreeSet<String> {
    record.targets.iter().map(|one| one.image.clone()).collect()
}
