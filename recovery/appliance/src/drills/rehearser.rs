//! The one task that steps every run: events in, records stored, orders handed out.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use recovery_protocol::{EndpointId, JobId, Problem};
use runbooks::{
    Happened, OrderKey, RunEvent, RunId, RunRecord,
    run::{Moment, Stage},
    runbook::ModeName,
};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    Drills, Kept, facts,
    going::{Going, Todo},
    hands,
    hands::Hands,
    injects,
    injects::Wanted,
    now_ms, resume,
};
use crate::service::Actor;

/// What reaches the rehearser.
pub enum Said {
    /// A planned run begins.
    Begin(Box<Going>),
    /// Something happened in a run.
    Happened(RunId, Happened),
    /// A person said something to a run, and waits for what it makes of it.
    Person(RunId, Happened, oneshot::Sender<Result<(), String>>),
    /// An order made a job.
    Ordered(OrderKey, JobId),
    /// Something is to go wrong on purpose; whoever ordered it waits.
    Inject(Wanted, oneshot::Sender<Result<(), Problem>>),
    /// A run ends: so does what goes wrong in it.
    EndInjects(RunId),
}

/// Carries drills out.
pub struct Rehearser {
    drills: Drills,
    said: mpsc::Receiver<Said>,
    runs: BTreeMap<RunId, Going>,
    hands: Hands,
    /// Orders that were given up and whose jobs are being looked at. A run that is over stays until they are told of.
    letting_go: BTreeSet<OrderKey>,
    /// What was left of an order whose own end is not heard yet.
    early: Vec<(RunId, Happened)>,
}

/// Schedules are minded this often.
const MINUTE: Duration = Duration::from_secs(60);

type Works = FuturesUnordered<BoxFuture<'static, ()>>;

impl Rehearser {
    pub(super) fn new(drills: Drills, said: mpsc::Receiver<Said>) -> Self {
        let hands = Hands::default();
        Self { drills, said, runs: BTreeMap::new(), hands, letting_go: BTreeSet::new(), early: Vec::new() }
    }

    /// Carry runs out until `stop`. What is open then is taken up again at the next start.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut works: Works = FuturesUnordered::new();
        self.take_up(&mut works).await;
        let mut minute = tokio::time::interval(MINUTE);
        minute.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // One whose end could not be put on record is tried again, but not at once.
            let ends = self.drills.next_inject_end_ms().map(|at| at.max(now_ms().saturating_add(200)));
            let wake = self.runs.values().filter_map(Going::next_wake_ms).chain(ends).min();
            let until_wake =
                Duration::from_millis(wake.map_or(u64::from(u32::MAX), |at| at.saturating_sub(now_ms())));
            tokio::select! {
                () = stop.cancelled() => return,
                Some(()) = works.next(), if !works.is_empty() => {}
                () = tokio::time::sleep(until_wake) => self.tick(&mut works),
                // It looks at what is there; two that overlap begin nothing twice: what runs is not begun.
                _ = minute.tick() => works.push(Box::pin(mind(self.drills.clone()))),
                said = self.said.recv() => match said {
                    Some(said) => self.hear(said, &mut works),
                    None => return,
                },
            }
        }
    }

    async fn take_up(&mut self, works: &mut Works) {
        let all: Vec<Kept> = self.drills.kept().values().cloned().collect();
        for kept in all {
            let left = left_by(&self.drills, &kept).await;
            if is_over(&kept) && left.is_empty() {
                continue;
            }
            let named: Vec<_> =
                kept.record.targets.iter().filter_map(|frozen| frozen.target.as_str().parse().ok()).collect();
            let (facts, scope) =
                facts::of(&self.drills.0.service, &self.drills.0.config, &named).await.unwrap_or_default();
            let Some(run) = resume(&kept, facts, &scope) else { continue };
            self.drills.arm_again(&kept).await;
            for order in run.outstanding() {
                works.push(self.work(order));
            }
            let id = kept.record.run.clone();
            self.runs.insert(id.clone(), run);
            for (key, job) in left {
                self.let_go(key, job, works);
            }
            if kept.record.stage == Stage::Planned {
                drop(self.take(&id, Happened::Begin, works));
            }
        }
    }

    fn end_injects(&mut self, run: RunId, all: bool, works: &mut Works) {
        let drills = self.drills.clone();
        works.push(Box::pin(async move { drills.end_injects(&run, all).await }));
    }

    fn let_go(&mut self, key: OrderKey, job: JobId, works: &mut Works) {
        if self.letting_go.insert(key.clone()) {
            tracing::info!(order = %key, %job, "nobody waits for this order any more");
            let say = self.drills.0.queue.clone();
            works.push(Box::pin(hands::let_go(self.drills.clone(), key, job, say)));
        }
    }

    fn hear(&mut self, said: Said, works: &mut Works) {
        match said {
            Said::Begin(run) => {
                let id = run.record().run.clone();
                self.runs.insert(id.clone(), *run);
                drop(self.take(&id, Happened::Begin, works));
            }
            Said::Happened(id, what) => drop(self.take(&id, what, works)),
            Said::Person(id, what, reply) => drop(reply.send(self.take(&id, what, works))),
            Said::Inject(wanted, reply) => {
                let drills = self.drills.clone();
                works.push(Box::pin(async move {
                    drop(reply.send(drills.begin_inject(wanted).await));
                }));
            }
            Said::EndInjects(run) => self.end_injects(run, true, works),
            Said::Ordered(key, job) => {
                let kept = self.drills.kept().get(&key.run).cloned();
                if let Some(mut kept) = kept {
                    let (step, target, what) =
                        (Some(key.step.clone()), key.target.clone(), format!("job {job}"));
                    let moment = Moment { at_ms: now_ms(), step, target, what };
                    let id = key.run.clone();
                    kept.jobs.push((key.clone(), job));
                    let _ = self.drills.store(&kept);
                    works.push(Box::pin(write_down(self.drills.clone(), id, vec![moment])));
                    if !kept.record.awaits(&key) {
                        // It was given up while the job was being made.
                        self.let_go(key, job, works);
                    }
                }
            }
        }
    }

    fn tick(&mut self, works: &mut Works) {
        for run in self.drills.runs_with_ended_injects() {
            self.end_injects(run, false, works);
        }
        let ids: Vec<_> = self.runs.keys().cloned().collect();
        for id in ids {
            drop(self.take(&id, Happened::Tick, works));
        }
    }

    /// One event: step, store, then act. A run that cannot be stored does not act; its limits end it.
    ///
    /// # Errors
    /// Why the run did not take the event, for whoever brought it.
    fn take(&mut self, id: &RunId, what: Happened, works: &mut Works) -> Result<(), String> {
        let mut pending = vec![what];
        while let Some(what) = pending.pop() {
            let Some(run) = self.runs.get(id) else { return Err("the drill is over".to_owned()) };
            if let Happened::Left { key, .. } = &what {
                if run.record().awaits(key) {
                    // The order's own end is on its way; what was left is said after it.
                    self.early.push((id.clone(), what));
                    continue;
                }
                self.letting_go.remove(key);
            }
            let (next, effects) = match run.step(RunEvent::new(now_ms(), what)) {
                Ok(stepped) => stepped,
                Err(refusal) => {
                    tracing::debug!(run = %id, %refusal, "an event did not fit its run");
                    return Err(refusal.to_string());
                }
            };
            let kept = self.drills.kept().get(id).cloned();
            let kept = match kept {
                Some(kept) => Kept { record: next.record().clone(), ..kept },
                None => Kept::new(next.record().clone()),
            };
            self.drills.store(&kept).map_err(|problem| problem.detail)?;
            let new = next.record().history.get(run.record().history.len()..).unwrap_or_default().to_vec();
            works.push(Box::pin(write_down(self.drills.clone(), id.clone(), new)));
            let over = next.is_over();
            pending.extend(self.no_longer_early(id, next.record()));
            self.runs.insert(id.clone(), next);
            pending.extend(effects.into_iter().filter_map(|act| act(&self.hands)));
            while let Some(order) = self.hands.next() {
                works.push(self.first_work(order));
            }
            while let Some(key) = self.hands.next_dropped() {
                // What made no job has nothing to take back; a job that is being made says so when it is there.
                if let Some(job) = self.drills.job_of(&key) {
                    self.let_go(key, job, works);
                }
            }
            if over && !self.letting_go.iter().any(|key| key.run == *id) {
                tracing::info!(run = %id, state = kept.record.state_word(), "drill over");
                self.runs.remove(id);
                works.push(Box::pin(follow_up(self.drills.clone(), id.clone())));
            }
        }
        Ok(())
    }

    /// What was left of orders that this run no longer waits for.
    fn no_longer_early(&mut self, id: &RunId, record: &RunRecord) -> Vec<Happened> {
        let due = |what: &Happened| matches!(what, Happened::Left { key, .. } if !record.awaits(key));
        let (now, later): (Vec<_>, _) =
            std::mem::take(&mut self.early).into_iter().partition(|(of, what)| of == id && due(what));
        self.early = later;
        now.into_iter().map(|(_, what)| what).collect()
    }

    fn work(&self, order: Todo) -> BoxFuture<'static, ()> {
        Box::pin(hands::work(self.drills.clone(), order, self.drills.0.queue.clone()))
    }

    /// What the runbook wants to go wrong with this order does so before its work begins.
    fn first_work(&self, order: Todo) -> BoxFuture<'static, ()> {
        let (drills, say) = (self.drills.clone(), self.drills.0.queue.clone());
        let record = self.runs.get(&order.key.run).map(Going::record);
        let wanted = record.map(|record| injects::declared(record, &order.key)).unwrap_or_default();
        Box::pin(async move {
            for inject in wanted {
                if let Err(error) = drills.begin_inject(inject).await {
                    tracing::error!(%error, "an inject of a runbook could not begin");
                }
            }
            hands::work(drills, order, say).await;
        })
    }
}

/// Jobs that are open and whose orders nobody waits for: the power was cut before they were let go.
async fn left_by(drills: &Drills, kept: &Kept) -> Vec<(OrderKey, JobId)> {
    let mut left = Vec::new();
    for (key, job) in kept.jobs.iter().filter(|(key, _)| !kept.record.awaits(key)) {
        let told = |moment: &Moment| {
            moment.what.starts_with("left: ")
                && moment.step.as_ref() == Some(&key.step)
                && moment.target == key.target
        };
        let open = drills.0.service.job(*job).await.is_ok_and(|view| !view.state.is_over());
        if open && !kept.record.history.iter().any(told) {
            left.push((key.clone(), *job));
        }
    }
    left
}

fn is_over(kept: &Kept) -> bool {
    matches!(kept.record.stage, Stage::Over { .. })
}

/// What follows from a run that is over.
async fn follow_up(drills: Drills, id: RunId) {
    if let Err(error) = drills.after(&id).await {
        tracing::error!(run = %id, %error, "what is to be mended after a drill could not be put on record");
    }
}

/// What is due by its schedule, and what will be late.
async fn mind(drills: Drills) {
    drills.tell_breaches().await;
    if let Err(error) = drills.mind_schedules().await {
        tracing::error!(%error, "the schedules of drills could not be minded");
    }
}

/// What happened in a run, into evidence; open pages are woken by it.
async fn write_down(drills: Drills, id: RunId, moments: Vec<Moment>) {
    for Moment { step, target, what, .. } in moments {
        let endpoint = target.and_then(|target| target.as_str().parse().ok());
        let facts = serde_json::json!({ "drill": id, "step": step, "what": what });
        let actor = Actor::trigger(&format!("drill:{id}"));
        let noted = drills.note(&id, "drill.step", &actor, endpoint.as_ref(), facts).await;
        if let Err(error) = noted {
            tracing::error!(run = %id, %error, "a step of a drill could not be put into evidence");
        }
    }
}

impl Drills {
    /// Write a fact about a run into evidence, as a rehearsal's unless the run is real.
    pub(super) async fn note(
        &self,
        run: &RunId,
        kind: &str,
        actor: &Actor,
        endpoint: Option<&EndpointId>,
        facts: serde_json::Value,
    ) -> Result<(), Problem> {
        let real = self.kept().get(run).is_some_and(|kept| kept.record.mode == ModeName::Real);
        match real {
            true => self.0.service.note(kind, actor, endpoint, None, facts).await,
            false => self.0.service.note_drill(kind, actor, endpoint, facts).await,
        }
    }

    /// The job that an order made before.
    pub(super) fn job_of(&self, key: &OrderKey) -> Option<JobId> {
        let kept = self.kept();
        kept.get(&key.run)?.jobs.iter().find(|(made, _)| made == key).map(|(_, job)| *job)
    }

    /// The newest job that a run made for an endpoint.
    pub(super) fn job_in(&self, run: &runbooks::RunId, target: &str) -> Option<JobId> {
        let kept = self.kept();
        let of_target =
            |(made, _): &&(OrderKey, JobId)| made.target.as_ref().is_some_and(|of| of.as_str() == target);
        kept.get(run)?.jobs.iter().rev().find(of_target).map(|(_, job)| *job)
    }
}
