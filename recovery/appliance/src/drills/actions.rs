//! What is to be mended after a drill: opened by a step that failed or an objective that was missed, closed by a drill of the same runbook and class that
//! passes whole, and by nothing else.
//!
//! It must never: let a virtual endpoint close what hardware opened, or a person close anything.

use std::collections::BTreeSet;

use recovery_protocol::{Problem, drill::ActionView};
use runbooks::{
    RunId, RunRecord, TargetId, measure,
    paper::Language,
    report::{RunReport, Standing, around::Item},
    run::{FrozenTarget, Stage, TaskState, Verdict},
    runbook::ModeName,
    target::Place,
};

use super::{Drills, Kept, now_ms};
use crate::{db::drill::Action, service::Actor};

/// Ninety days, as CIP-009-6 R3 has it.
const DUE_MS: u64 = 90 * 24 * 3_600_000;

/// Hardware class, and whether it is virtual.
fn class(frozen: &FrozenTarget) -> String {
    match frozen.place {
        Place::Virtual => format!("{} (virtual)", frozen.class),
        Place::Production | Place::Canary | Place::SpareDisk | Place::Bench => frozen.class.clone(),
    }
}

fn classes(record: &RunRecord) -> BTreeSet<String> {
    let all: BTreeSet<String> = record.targets.iter().map(class).collect();
    if all.is_empty() { BTreeSet::from(["site".to_owned()]) } else { all }
}

/// Steps that failed, each with the classes that it failed on.
fn failed_steps(record: &RunRecord) -> Vec<(String, BTreeSet<String>, String)> {
    let of_target = |target: &TargetId| record.targets.iter().find(|one| one.target == *target).map(class);
    let mut found: Vec<(String, BTreeSet<String>, String)> = Vec::new();
    for task in &record.tasks {
        let TaskState::Failed { why, .. } = &task.state else { continue };
        let on = match &task.target {
            Some(target) => of_target(target).into_iter().collect(),
            None => classes(record),
        };
        let subject = format!("step {}", task.step);
        match found.iter_mut().find(|(seen, ..)| *seen == subject) {
            Some((_, seen, _)) => seen.extend(on),
            None => found.push((subject, on, format!("{} {}", why.what, why.what_now))),
        }
    }
    found
}

impl Drills {
    /// Every item, the open ones first.
    ///
    /// # Errors
    /// What the service refuses.
    pub async fn actions(&self) -> Result<Vec<ActionView>, Problem> {
        let view = |action: Action| ActionView {
            action: action.id,
            runbook: action.runbook,
            class: action.class,
            subject: action.subject,
            what: action.what,
            drill: action.drill,
            opened_unix_ms: action.opened,
            due_unix_ms: action.due,
            closed_unix_ms: action.closed,
            closed_by: action.closed_by,
        };
        Ok(self.0.service.actions().await?.into_iter().map(view).collect())
    }

    /// The items that a run's report shows: those of its runbook and classes that are open, and those that it opened or closed.
    pub(super) async fn items_of(&self, record: &RunRecord) -> Result<Vec<Item>, Problem> {
        let (run, mine) = (record.run.to_string(), classes(record));
        let about = |one: &Action| {
            let touched = one.drill == run || one.closed_by.as_ref() == Some(&run);
            one.runbook == record.runbook.name
                && (touched || one.closed.is_none() && mine.contains(&one.class))
        };
        let item = |one: Action| Item {
            id: one.id,
            class: one.class,
            subject: one.subject,
            what: one.what,
            opened_by: one.drill,
            opened_ms: one.opened,
            due_ms: one.due,
            closed: one.closed.zip(one.closed_by),
        };
        Ok(self.0.service.actions().await?.into_iter().filter(about).map(item).collect())
    }

    /// What follows from a run that is over.
    pub(super) async fn after(&self, run: &RunId) -> Result<(), Problem> {
        let kept = self.find(run.as_str())?;
        let record = &kept.record;
        let Stage::Over { verdict } = record.stage else { return Ok(()) };
        if verdict == Verdict::Aborted {
            // A person stopped it: it says nothing for or against.
            return Ok(());
        }
        let report = self.report_of(&kept, Language::En).await?;
        let mut found = failed_steps(record);
        // Nothing that a tabletop takes is a recovery's time.
        let timed = record.mode != ModeName::Tabletop;
        for missed in report.objectives.iter().filter(|one| timed && one.standing == Standing::Missed) {
            let what = match (missed.actual_ms, missed.target_ms) {
                (Some(took), Some(aim)) => {
                    format!("It took {} s and should take {} s.", took / 1000, aim / 1000)
                }
                _ => "It was never reached.".to_owned(),
            };
            found.push((missed.name.clone(), classes(record), what));
        }
        let now = now_ms();
        let mut opened = Vec::new();
        for (subject, on, what) in &found {
            for class in on {
                let id =
                    blake3::hash(format!("{run} {subject} {class}").as_bytes()).to_hex()[..12].to_owned();
                opened.push(Action {
                    id,
                    runbook: record.runbook.name.clone(),
                    class: class.clone(),
                    subject: subject.clone(),
                    what: what.clone(),
                    drill: run.to_string(),
                    opened: now,
                    due: now.saturating_add(DUE_MS),
                    closed: None,
                    closed_by: None,
                });
            }
        }
        let mut closed = Vec::new();
        if verdict == Verdict::Succeeded && found.is_empty() {
            let mine = classes(record);
            let open = self.0.service.actions().await?.into_iter().filter(|one| one.closed.is_none());
            let same = |one: &Action| one.runbook == record.runbook.name && mine.contains(&one.class);
            closed.extend(open.filter(same).map(|one| Action { closed_by: Some(run.to_string()), ..one }));
        }
        let actor = Actor::trigger(&format!("drill:{run}"));
        self.0.service.after_drill(&actor, &opened, &closed).await?;
        self.tell_slower(&kept, &report).await
    }

    /// A phase that was slower than in each comparable run before is an alarm, not only a line of the report.
    async fn tell_slower(&self, kept: &Kept, report: &RunReport) -> Result<(), Problem> {
        let run = &kept.record.run;
        let earlier = self.measured_before(kept).await?;
        for one in report.endpoints.iter().filter(|one| one.state == "proven") {
            let (class, place) = (&one.planned.class, one.planned.place);
            for slower in measure::slower_than_ever(&one.measured, &earlier, class, place) {
                let endpoint = one.planned.target.as_str().parse().ok();
                let phase = slower.phase.label();
                let facts = serde_json::json!({
                    "drill": run, "phase": phase, "took_ms": slower.now_ms, "middle_ms": slower.median_ms, "n": slower.n,
                });
                tracing::warn!(%run, phase, took_ms = slower.now_ms, "a phase was slower than in each drill before");
                let actor = Actor::trigger(&format!("drill:{run}"));
                self.note(run, "alarm.drill-slower", &actor, endpoint.as_ref(), facts).await?;
            }
        }
        Ok(())
    }
}
