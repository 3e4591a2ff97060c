//! The transitions of a run. [`step`] is the only way to change one.
//!
//! Each event is taken in three moves: what it says (`take`), whose time is up (`expire`), and what may begin now (`settle`). An event
//! that does not fit is refused and changes nothing.
//!
//! What it must never do: order the same (step, target, attempt) twice, order anything of the main part once the run stops, end
//! before each `finally` step had its turn, or order a `reimage` without a permit.

mod people;

use std::collections::BTreeSet;

use super::{
    Run,
    event::{CheckResult, Failure, Happened, Order, Outcome, Refusal, RunEffect, RunEvent},
    needs::{Lookup, Readiness, combined},
    orders::work,
    record::{ApprovalGiven, Moment, Stage, Stop, Task, TaskState, Waiting},
    waves::Progress,
};
use crate::{
    ids::{OrderKey, StepId, TargetId},
    runbook::{Approval, OnFailure, Profile, Step, Uses},
    target::Mode,
};

/// Take one event. Pure: the caller stores the new run, then carries the effects out.
///
/// # Errors
/// A named refusal; the run is as it was.
pub fn step<M: Mode>(run: &Run<M>, event: RunEvent) -> Result<(Run<M>, Vec<RunEffect<M>>), Refusal> {
    let mut machine = Machine { run: run.clone(), effects: Vec::new() };
    let record = &mut machine.run.record;
    record.now_ms = record.now_ms.max(event.at_ms);
    machine.take(event.what)?;
    machine.expire();
    machine.settle();
    Ok((machine.run, machine.effects))
}

struct Machine<M: Mode> {
    run: Run<M>,
    effects: Vec<RunEffect<M>>,
}

impl<M: Mode> Machine<M> {
    // ---- what an event says ----

    fn take(&mut self, what: Happened) -> Result<(), Refusal> {
        match (self.run.record.stage, &what) {
            (_, Happened::Tick) => return Ok(()),
            // It may be known only when the run is over.
            (_, Happened::Left { key, what }) => return self.left(key, what),
            (Stage::Over { .. }, _) => return Err(Refusal::Over),
            (Stage::Planned, Happened::Begin | Happened::Abort { .. }) => {}
            (Stage::Planned, _) => return Err(Refusal::NotBegun),
            (Stage::Running | Stage::Finally, Happened::Begin) => return Err(Refusal::AlreadyBegun),
            (Stage::Finally, Happened::Abort { .. }) => return Err(Refusal::AlreadyFinishing),
            (Stage::Running | Stage::Finally, _) => {}
        }
        match what {
            Happened::Tick | Happened::Left { .. } => {}
            Happened::Begin => self.begin(),
            Happened::Done { key, outcome, checks } => self.done(&key, outcome, checks)?,
            Happened::Held { key, why } => {
                let at = self.working(&key, Waiting::Machine)?;
                self.note(at, format!("held: {} {}", why.what, why.what_now));
                self.set_held(at, Some(why));
            }
            Happened::Resumed { key } => {
                let at = self.working(&key, Waiting::Machine)?;
                self.note(at, "moves again".into());
                self.set_held(at, None);
            }
            Happened::Decided { key, person, role, approves, binding, reason } => {
                let given = ApprovalGiven { person, role, at_ms: self.now(), reason };
                self.decided(&key, given, approves, &binding)?;
            }
            Happened::Answered { key, person, done, note } => self.answered(&key, &person, done, &note)?,
            Happened::Chose { key, person, option } => self.chose(&key, &person, option)?,
            Happened::Abort { person, reason } => self.abort(person, &reason),
        }
        Ok(())
    }

    fn begin(&mut self) {
        let record = &mut self.run.record;
        record.stage = Stage::Running;
        record.begun_at_ms = Some(record.now_ms);
        let what = format!("run began in mode {}, asked for by {}", record.mode.word(), record.requester);
        self.note_run(what);
    }

    fn done(&mut self, key: &OrderKey, outcome: Outcome, checks: Vec<CheckResult>) -> Result<(), Refusal> {
        let at = self.working(key, Waiting::Machine)?;
        match outcome {
            Outcome::Passed { what } => self.pass(at, what, checks),
            Outcome::Failed { why } => self.fail(at, why, checks, Fate::OnFailure),
        }
        Ok(())
    }

    /// What became of work that the run had given up.
    fn left(&mut self, key: &OrderKey, what: &str) -> Result<(), Refusal> {
        let record = &self.run.record;
        if record.awaits(key) {
            return Err(Refusal::StillAwaited(key.clone()));
        }
        let of = |task: &Task| task.step == key.step && task.target == key.target;
        let given = |at: &usize| (1..=record.tasks[*at].attempts).contains(&key.attempt);
        let at = record.tasks.iter().position(of).filter(given).filter(|_| key.run == record.run);
        self.note(at.ok_or_else(|| Refusal::NotWaiting(key.clone()))?, format!("left: {what}"));
        Ok(())
    }

    // ---- whose time is up ----

    fn expire(&mut self) {
        let now_ms = self.now();
        for at in 0..self.run.record.tasks.len() {
            let task = &self.run.record.tasks[at];
            let TaskState::Working { until_ms, ref held, waiting, .. } = task.state else { continue };
            if now_ms < until_ms {
                continue;
            }
            if waiting == Waiting::Time {
                self.pass(at, "the time has passed".into(), Vec::new());
                continue;
            }
            let what = match held {
                Some(why) => format!("not done in time; it was held: {}", why.what),
                None => "not done in time".to_owned(),
            };
            self.effects.push(RunEffect::Stop(self.run.record.key_of(task)));
            let now = "Look at why it took so long, or raise the step's timeout; then run it again.";
            self.fail(at, Failure::new("timed-out", what, now), Vec::new(), Fate::OnTimeout);
        }
    }

    // ---- what may begin now ----

    fn settle(&mut self) {
        loop {
            let moved = match self.run.record.stage {
                Stage::Planned if self.run.record.stop.is_some() => {
                    self.skip_pending(|_| true);
                    self.finish();
                    true
                }
                Stage::Running => self.settle_main(),
                Stage::Finally => self.settle_finally(),
                Stage::Planned | Stage::Over { .. } => false,
            };
            if !moved {
                return;
            }
        }
    }

    /// Begin or skip main tasks; true when anything changed.
    fn settle_main(&mut self) -> bool {
        self.stop_at_too_many_failures();
        let waves = Progress::of(&self.run.record);
        if let Some(why) = waves.broken.clone() {
            self.stop(None, why);
        }
        if self.run.record.stop.is_some() {
            self.skip_pending(|task| !task.finally);
            self.skip_waiting_for_people();
        }
        let lookup = Lookup::of(&self.run);
        let mut moved = false;
        let mut ready: Vec<(bool, usize)> = Vec::new();
        for at in 0..self.run.record.tasks.len() {
            let task = &self.run.record.tasks[at];
            if task.finally || !matches!(task.state, TaskState::Pending) || self.run.record.stop.is_some() {
                continue;
            }
            match self.readiness(at, &lookup, &waves) {
                Readiness::Now => ready.push((self.is_fresh(at, &lookup), at)),
                Readiness::NotYet => {}
                Readiness::NotMeant(why) => {
                    self.skip_as(at, why, true);
                    moved = true;
                }
                Readiness::Never(why) => {
                    self.skip(at, why);
                    moved = true;
                }
            }
        }
        // Who was begun goes on before another is begun.
        ready.sort_unstable();
        moved |= self.start_within_limits(ready);
        if !moved && self.run.record.tasks.iter().filter(|task| !task.finally).all(Task::is_through) {
            self.run.record.stage = Stage::Finally;
            return true;
        }
        moved
    }

    /// Begin the next `finally` task once the one before it is through.
    fn settle_finally(&mut self) -> bool {
        match self.run.record.tasks.iter().position(|task| task.finally && !task.is_through()) {
            Some(at) if matches!(self.run.record.tasks[at].state, TaskState::Pending) => self.start(at),
            Some(_) => return false,
            None => self.finish(),
        }
        true
    }

    fn readiness(&self, at: usize, lookup: &Lookup, waves: &Progress) -> Readiness {
        let tasks = &self.run.record.tasks;
        let task = &tasks[at];
        let Some(step) = self.run.record.step_of(task) else {
            return Readiness::Never("its step is gone".into());
        };
        if let Some(target) = &task.target
            && let Some(failed) = self.out(target, lookup)
        {
            return Readiness::Never(format!("{target} is out since `{failed}` failed"));
        }
        if let Some(target) = &task.target
            && let Some(by) = waves.stopped_by(target)
            && self.is_fresh(at, lookup)
        {
            return Readiness::Never(format!("its wave was stopped when `{by}` failed"));
        }
        if task.target.as_ref().is_some_and(|target| !waves.has_begun(target)) {
            return Readiness::NotYet;
        }
        for need in &step.needs {
            let needed = lookup.needed(need, task.target.as_ref());
            match combined(needed.iter().map(|at| &tasks[*at])) {
                Readiness::Now => {}
                Readiness::NotYet => return Readiness::NotYet,
                Readiness::Never(_) | Readiness::NotMeant(_) => {
                    return Readiness::Never(format!("`{need}` did not pass"));
                }
            }
        }
        self.meant(step, task.target.as_ref(), lookup)
    }

    /// Does the step's `if` hold? Asked only when its needs are through, so every answer is there.
    fn meant(&self, step: &Step, target: Option<&TargetId>, lookup: &Lookup) -> Readiness {
        let record = &self.run.record;
        if !step.condition.fits(record.mode) {
            return Readiness::NotMeant(format!("not meant in mode {}", record.mode.word()));
        }
        for (decide, option) in &step.condition.chose {
            let answered = lookup.needed(decide, target).into_iter().any(|at| {
                matches!(&record.tasks[at].state, TaskState::Passed { chose: Some(chose), .. } if chose == option)
            });
            if !answered {
                return Readiness::NotMeant(format!("`{decide}` was not answered with `{option}`"));
            }
        }
        Readiness::Now
    }

    /// True for a task on an endpoint on which nothing was begun yet.
    fn is_fresh(&self, at: usize, lookup: &Lookup) -> bool {
        let begun = |target| lookup.of_target(target).any(|at| self.run.record.tasks[at].attempts > 0);
        self.run.record.tasks[at].target.as_ref().is_some_and(|target| !begun(target))
    }

    /// `max_parallel`: endpoints with work going on count. True when anything was begun.
    fn start_within_limits(&mut self, ready: Vec<(bool, usize)>) -> bool {
        let record = &self.run.record;
        let room = record.runbook.limits.max_parallel as usize;
        let working = |task: &&Task| matches!(task.state, TaskState::Working { .. });
        let mut busy: BTreeSet<TargetId> =
            record.tasks.iter().filter(working).filter_map(|task| task.target.clone()).collect();
        let mut moved = false;
        for (_, at) in ready {
            if let Some(target) = self.run.record.tasks[at].target.clone() {
                if !busy.contains(&target) && busy.len() >= room {
                    continue;
                }
                busy.insert(target);
            }
            self.start(at);
            moved = true;
            if !matches!(self.run.record.tasks[at].state, TaskState::Working { .. }) {
                // It ended at once, which may change what else may begin.
                return true;
            }
        }
        moved
    }

    /// The step by which an endpoint failed for good.
    fn out(&self, target: &TargetId, lookup: &Lookup) -> Option<&StepId> {
        let failed = |task: &&Task| matches!(task.state, TaskState::Failed { went_on: false, .. });
        lookup.of_target(target).map(|at| &self.run.record.tasks[at]).find(failed).map(|task| &task.step)
    }

    fn start(&mut self, at: usize) {
        let now_ms = self.now();
        let record = &mut self.run.record;
        let Some(step) = record.step_of(&record.tasks[at]) else {
            return self.skip(at, "its step is gone".into());
        };
        let (uses, timeout_ms) = (step.uses_in(record.mode).clone(), step.timeout_ms);
        let waiting = match &uses {
            uses if record.mode.is_paper() && !uses.is_by_hand() => Waiting::Answer,
            Uses::Approve(_) => Waiting::Approval,
            Uses::Decide { .. } => Waiting::Choice,
            Uses::Wait { .. } => Waiting::Time,
            Uses::Manual { .. }
            | Uses::Notify { .. }
            | Uses::Isolate { .. }
            | Uses::Capture { profile: Profile::Full, .. }
            | Uses::Accept { .. } => Waiting::Answer,
            Uses::Check { .. }
            | Uses::Capture { .. }
            | Uses::Enrol { .. }
            | Uses::Release { .. }
            | Uses::Reimage
            | Uses::Verify { .. }
            | Uses::Report { .. }
            | Uses::Later { .. } => Waiting::Machine,
        };
        let until_ms = now_ms.saturating_add(match &uses {
            Uses::Wait { for_ms } if waiting == Waiting::Time => *for_ms,
            // Never past its budget: data about the cause keeps no line waiting.
            Uses::Capture { budget_ms, .. } => timeout_ms.min(*budget_ms),
            _ => timeout_ms,
        });
        let task = &mut record.tasks[at];
        task.attempts += 1;
        let attempt = task.attempts;
        task.state =
            TaskState::Working { from_ms: now_ms, until_ms, waiting, held: None, approvals: Vec::new() };
        self.note(at, if attempt == 1 { "began".into() } else { format!("began again, attempt {attempt}") });
        if matches!(&uses, Uses::Approve(Approval { min: 0, .. })) {
            let what = format!("by itself: mode {} asks for no approval", self.run.record.mode.word());
            return self.pass(at, what, Vec::new());
        }
        if let (Uses::Capture { profile: Profile::Quick, budget_ms }, Waiting::Machine) = (&uses, waiting) {
            let what = format!("the reimage that follows keeps it, for at most {} s", budget_ms / 1000);
            return self.pass(at, what, Vec::new());
        }
        if waiting == Waiting::Time {
            return;
        }
        let task = &self.run.record.tasks[at];
        match work(&self.run, task, until_ms) {
            Ok(work) => self.effects.push(RunEffect::Start(Order {
                key: self.run.record.key_of(task),
                work,
                until_ms,
            })),
            Err(why) => self.fail(at, why, Vec::new(), Fate::Final),
        }
    }

    // ---- ways out of a task ----

    fn pass(&mut self, at: usize, what: String, checks: Vec<CheckResult>) {
        self.note(at, format!("passed: {what}"));
        let to_ms = self.now();
        let task = &mut self.run.record.tasks[at];
        let TaskState::Working { from_ms, approvals, .. } = &mut task.state else { return };
        let (from_ms, approvals) = (*from_ms, std::mem::take(approvals));
        task.state = TaskState::Passed { from_ms, to_ms, what, checks, approvals, chose: None };
    }

    fn fail(&mut self, at: usize, why: Failure, checks: Vec<CheckResult>, fate: Fate) {
        self.note(at, format!("failed ({}): {}", why.code, why.what));
        let to_ms = self.now();
        let record = &mut self.run.record;
        let Some(step) = record.step_of(&record.tasks[at]) else { return };
        let (retries, then) = match fate {
            Fate::OnFailure => (step.retries, step.on_failure),
            Fate::OnTimeout => (0, step.on_timeout),
            Fate::Final => (0, step.on_failure),
        };
        let stopping = record.stop.is_some();
        let task = &mut record.tasks[at];
        let TaskState::Working { from_ms, .. } = task.state else { return };
        if task.attempts <= retries && !stopping {
            task.state = TaskState::Pending;
            return;
        }
        let (went_on, stops_wave) = (then == OnFailure::Continue, then == OnFailure::StopWave);
        let finally = task.finally;
        let of = task.step.clone();
        task.state = TaskState::Failed { from_ms, to_ms, why, checks, went_on, stops_wave };
        if then == OnFailure::StopRun && !finally {
            self.stop(None, format!("`{of}` failed"));
        }
    }

    fn skip(&mut self, at: usize, why: String) {
        self.skip_as(at, why, false);
    }

    fn skip_as(&mut self, at: usize, why: String, not_meant: bool) {
        let at_ms = self.now();
        self.note(at, format!("skipped: {why}"));
        self.run.record.tasks[at].state = TaskState::Skipped { at_ms, why, not_meant };
    }

    fn skip_pending(&mut self, which: impl Fn(&Task) -> bool) {
        for at in 0..self.run.record.tasks.len() {
            let task = &self.run.record.tasks[at];
            if matches!(task.state, TaskState::Pending) && which(task) {
                self.skip(at, "the run stopped".into());
            }
        }
    }

    /// A run that stops asks nobody any more.
    fn skip_waiting_for_people(&mut self) {
        for at in 0..self.run.record.tasks.len() {
            let task = &self.run.record.tasks[at];
            if let TaskState::Working { waiting, .. } = task.state
                && waiting != Waiting::Machine
                && !task.finally
            {
                if waiting != Waiting::Time {
                    self.effects.push(RunEffect::Stop(self.run.record.key_of(task)));
                }
                self.skip(at, "the run stopped before it was answered".into());
            }
        }
    }

    // ---- the run as a whole ----

    fn stop(&mut self, person: Option<String>, why: String) {
        if self.run.record.stop.is_none() {
            self.note_run(format!("nothing new starts: {why}"));
            self.run.record.stop = Some(Stop { at_ms: self.run.record.now_ms, person, why });
        } else if let (Some(stop), Some(_)) = (&mut self.run.record.stop, &person) {
            stop.person = person;
        }
    }

    fn stop_at_too_many_failures(&mut self) {
        let record = &self.run.record;
        let failed = |task: &Task| matches!(task.state, TaskState::Failed { went_on: false, .. });
        let out: BTreeSet<&TargetId> =
            record.tasks.iter().filter(|task| failed(task)).filter_map(|task| task.target.as_ref()).collect();
        let allowed = record.runbook.limits.max_failures.of(record.targets.len());
        if out.len() > allowed && record.stop.is_none() {
            let why = format!("{} endpoint(s) failed and {allowed} may", out.len());
            self.stop(None, why);
        }
    }

    fn finish(&mut self) {
        let verdict = self.run.record.verdict();
        self.run.record.stage = Stage::Over { verdict };
        self.note_run(format!("run is over: {}", verdict.word()));
    }

    // ---- small things ----

    fn now(&self) -> u64 {
        self.run.record.now_ms
    }

    fn set_held(&mut self, at: usize, why: Option<Failure>) {
        if let TaskState::Working { held, .. } = &mut self.run.record.tasks[at].state {
            *held = why;
        }
    }

    /// The task that works on exactly this attempt and waits for such an answer.
    fn working(&self, key: &OrderKey, wanted: Waiting) -> Result<usize, Refusal> {
        let record = &self.run.record;
        let at = record
            .tasks
            .iter()
            .position(|task| task.step == key.step && task.target == key.target)
            .filter(|at| record.key_of(&record.tasks[*at]) == *key)
            .ok_or_else(|| Refusal::NotWaiting(key.clone()))?;
        match record.tasks[at].state {
            TaskState::Working { waiting, .. } if waiting == wanted => Ok(at),
            TaskState::Working { .. } if wanted == Waiting::Machine => {
                Err(Refusal::WaitsForPerson(key.clone()))
            }
            TaskState::Working { .. } => Err(Refusal::NotAsked(key.clone())),
            _ => Err(Refusal::NotWaiting(key.clone())),
        }
    }

    fn note(&mut self, at: usize, what: String) {
        let record = &mut self.run.record;
        let task = &record.tasks[at];
        let moment =
            Moment { at_ms: record.now_ms, step: Some(task.step.clone()), target: task.target.clone(), what };
        record.history.push(moment);
    }

    fn note_run(&mut self, what: String) {
        let record = &mut self.run.record;
        record.history.push(Moment { at_ms: record.now_ms, step: None, target: None, what });
    }
}

/// Which of a step's rules a failure falls under.
#[derive(Clone, Copy)]
enum Fate {
    /// It may be tried again.
    OnFailure,
    /// Its time was up.
    OnTimeout,
    /// Trying again would change nothing.
    Final,
}
