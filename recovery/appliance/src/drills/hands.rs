//! The appliance's hands in a drill: each order of a run becomes work here, and its outcome an event for the run.
//!
//! Waiting is for changes of the service, never for time alone; the run itself gives up at the order's limit.

use std::collections::VecDeque;

use recovery_protocol::{
    EndpointId, JobId, Problem,
    job::JobState,
    operator::{Decision, EndpointState, EndpointView, JobView},
};
use runbooks::{
    CheckResult, Failure, Happened, OrderKey, Outcome,
    runbook::{Attest, CheckItem},
};
use tokio::sync::mpsc;

use super::{
    Drills, clean,
    facts::golden_image,
    going::{Doing, Permit, Todo},
    rehearser::Said,
};
use crate::service::Actor;

/// Orders taken and not yet begun. The rehearser empties it after each step.
#[derive(Default)]
pub struct Hands {
    taken: std::cell::RefCell<VecDeque<Todo>>,
    dropped: std::cell::RefCell<Vec<OrderKey>>,
}

impl Hands {
    /// Take an order.
    pub(super) fn take(&self, todo: Todo) {
        self.taken.borrow_mut().push_back(todo);
    }

    /// Nobody waits for this one any more.
    pub(super) fn drop_order(&self, key: &OrderKey) {
        self.dropped.borrow_mut().push(key.clone());
    }

    /// The next order to work on.
    pub fn next(&self) -> Option<Todo> {
        self.taken.borrow_mut().pop_front()
    }

    /// The next order that nobody waits for any more.
    pub fn next_dropped(&self) -> Option<OrderKey> {
        self.dropped.borrow_mut().pop()
    }
}

/// Do the work of one order. Cancel-safe: the same order can be given again.
pub async fn work(drills: Drills, todo: Todo, say: mpsc::Sender<Said>) {
    let key = todo.key;
    let what = match todo.work {
        Doing::Check(set, targets) => check(&drills, &key, &set, &targets, todo.until_ms, &say).await,
        Doing::Reimage(permit, keep_ms) => reimage(&drills, permit, keep_ms, &say).await,
        Doing::Verify(target, image, attest) => verify(&drills, &key, target.as_str(), &image, attest).await,
        Doing::Enrol(target) => by_its_job(&drills, &key, target.as_str(), "enrolled").await,
        Doing::Release(target) => by_its_job(&drills, &key, target.as_str(), "released").await,
        // Nothing is printed ahead: the report is made whenever it is asked for, from the record and the evidence.
        Doing::Report => passed(&key, "the report can be read from now on", Vec::new()),
        // The run waits for them and not for us.
        Doing::People => return,
    };
    let _ = say.send(Said::Happened(key.run.clone(), what)).await;
}

async fn check(
    drills: &Drills,
    key: &OrderKey,
    set: &[CheckItem],
    targets: &[runbooks::TargetId],
    until_ms: u64,
    say: &mpsc::Sender<Said>,
) -> Happened {
    let mut checks = Vec::new();
    for item in set {
        let found = match item {
            CheckItem::Clean => clean::prove(drills, key, targets, until_ms, say).await,
            CheckItem::CapturesSealed => captures_sealed(drills, key, targets).await,
            item => check_one(drills, *item, targets).await,
        };
        match found {
            Ok(found) => checks.extend(found),
            Err(problem) => return failed(key, &problem),
        }
    }
    match checks.iter().find(|check| !check.passed).cloned() {
        None => passed(key, format!("{} of {} checks passed", checks.len(), checks.len()), checks),
        Some(bad) => Happened::Done {
            key: key.clone(),
            outcome: Outcome::Failed {
                why: Failure {
                    code: "check-failed".to_owned(),
                    what: format!("{}: {} instead of {}.", bad.check, bad.seen, bad.expected),
                    what_now: "Put it right, then run the drill again.".to_owned(),
                },
            },
            checks,
        },
    }
}

async fn check_one(
    drills: &Drills,
    item: CheckItem,
    targets: &[runbooks::TargetId],
) -> Result<Vec<CheckResult>, Problem> {
    let service = &drills.0.service;
    let result = |what: String, expected: &str, seen: String, passed| CheckResult {
        check: format!("{}{what}", item.word()),
        expected: expected.to_owned(),
        seen,
        passed,
    };
    if item == CheckItem::StoreFree {
        let ready = service.ready().await;
        let seen =
            ready.as_ref().err().map_or_else(|| "they can".to_owned(), |problem| problem.detail.clone());
        return Ok(vec![result(
            String::new(),
            "database and evidence log can be written",
            seen,
            ready.is_ok(),
        )]);
    }
    if item == CheckItem::ControlPlane {
        let seen = "the embedded control plane is part of this appliance".to_owned();
        return Ok(vec![result(String::new(), "it answers", seen, true)]);
    }
    let images = service.images().await?;
    let mut found = Vec::new();
    for target in targets {
        let Ok(endpoint) = target.as_str().parse::<EndpointId>() else { continue };
        let view = service.endpoint(&endpoint).await?;
        let open = view.job.as_ref().filter(|job| !job.state.is_over());
        let at = format!(" {target}");
        found.push(match item {
            CheckItem::ImageVerified => {
                let image = golden_image(&view, &drills.0.config, &images);
                let seen = image
                    .map_or_else(|| "none".to_owned(), |image| format!("{} {}", image.name, image.version));
                result(at, "a golden image that our keys trust", seen, image.is_some())
            }
            CheckItem::NoOpenTickets => {
                let seen = open.map_or_else(|| "none".to_owned(), |job| format!("held by job {}", job.job));
                result(at, "no live boot ticket", seen, open.is_none())
            }
            CheckItem::EndpointIdle
            | CheckItem::StoreFree
            | CheckItem::ControlPlane
            | CheckItem::CapturesSealed
            | CheckItem::Clean => {
                let seen =
                    open.map_or_else(|| "no open job".to_owned(), |job| format!("job {} is open", job.job));
                result(at, "no open job", seen, open.is_none())
            }
        });
    }
    Ok(found)
}

/// What this run's recoveries were to keep lies with the appliance, byte for byte as evidence says.
async fn captures_sealed(
    drills: &Drills,
    key: &OrderKey,
    targets: &[runbooks::TargetId],
) -> Result<Vec<CheckResult>, Problem> {
    let mut found = Vec::new();
    for target in targets {
        let proven = match drills.job_in(&key.run, target.as_str()) {
            Some(job) => drills.0.service.prove_exhibit(job).await?,
            None => Ok("nothing was recovered".to_owned()),
        };
        let passed = proven.is_ok();
        let (Ok(seen) | Err(seen)) = proven;
        found.push(CheckResult {
            check: format!("{} {target}", CheckItem::CapturesSealed.word()),
            expected: "what was to be kept is here, as it was kept".to_owned(),
            seen,
            passed,
        });
    }
    Ok(found)
}

async fn reimage(
    drills: &Drills,
    permit: Permit,
    keep_ms: Option<u64>,
    say: &mpsc::Sender<Said>,
) -> Happened {
    let key = permit.key().clone();
    let job = match drills.job_of(&key) {
        Some(job) => job,
        None => match propose(drills, &permit, keep_ms).await {
            Ok(view) => {
                let _ = say.send(Said::Ordered(key.clone(), view.job)).await;
                view.job
            }
            Err(problem) => return failed(&key, &problem),
        },
    };
    follow(drills, &key, job, say).await
}

impl Permit {
    fn key(&self) -> &OrderKey {
        match self {
            Self::Drill(permit) => permit.key(),
            Self::Real(permit) => permit.key(),
        }
    }

    fn endpoint_and_image(&self) -> (&str, &str) {
        match self {
            Self::Drill(permit) => (permit.target().as_str(), permit.image()),
            Self::Real(permit) => (permit.target().as_str(), permit.image()),
        }
    }
}

async fn propose(drills: &Drills, permit: &Permit, keep_ms: Option<u64>) -> Result<JobView, Problem> {
    let wrong = |why: String| {
        let remedy = "plan a new run";
        Problem::new(409, "drill-refused", "This run cannot go on", why, remedy)
    };
    let (named, planned) = permit.endpoint_and_image();
    let endpoint: EndpointId = named.parse().map_err(|_| wrong("no such endpoint".to_owned()))?;
    let service = &drills.0.service;
    let view = service.endpoint(&endpoint).await?;
    let images = service.images().await?;
    let image = golden_image(&view, &drills.0.config, &images).map(|image| image.image.to_string());
    if image.as_deref() != Some(planned) {
        return Err(wrong(format!("the golden image of {endpoint} is no longer the one that was planned")));
    }
    let key = permit.key();
    let keep_seconds = keep_ms.map(|ms| u32::try_from(ms.div_ceil(1000)).unwrap_or(u32::MAX));
    match permit {
        Permit::Drill(_) => {
            let leave = service.drill_permit(&endpoint).await?;
            let actor = Actor::trigger(&format!("drill:{}", key.run));
            service.propose_drill(&actor, leave, &key.to_string(), keep_seconds).await
        }
        Permit::Real(_) => {
            let asked_by = drills.find(key.run.as_str())?.record.requester;
            let actor = Actor { name: asked_by, scope: None };
            service.propose_real(&actor, &endpoint, &key.to_string(), keep_seconds).await
        }
    }
}

/// Nobody waits for this job any more: cancel it while nothing is written, else put on record what goes on. Cancel-safe.
pub async fn let_go(drills: Drills, key: OrderKey, job: JobId, say: mpsc::Sender<Said>) {
    let actor = Actor::trigger(&format!("drill:{}", key.run));
    let what = match drills.0.service.let_go(&actor, job, &key.to_string()).await {
        Ok(what) => what,
        Err(problem) => format!("job {job} could not be looked at: {}. {}", problem.detail, problem.remedy),
    };
    let _ = say.send(Said::Happened(key.run.clone(), Happened::Left { key, what })).await;
}

/// Wait until the job is over, passing on when it is held and when it moves again.
async fn follow(drills: &Drills, key: &OrderKey, job: JobId, say: &mpsc::Sender<Said>) -> Happened {
    let mut changes = drills.0.service.changes();
    let mut held = false;
    let mut resumed_for = None;
    loop {
        changes.borrow_and_update();
        let view = match drills.0.service.job(job).await {
            Ok(view) => view,
            Err(problem) => return failed(key, &problem),
        };
        match &view.state {
            JobState::Recovered => return passed(key, format!("recovered by job {job}"), Vec::new()),
            JobState::Captured => {
                return ended(
                    key,
                    "captured",
                    "The job was a capture, and no recovery.",
                    "Run the drill again.",
                );
            }
            JobState::Cancelled { .. } => {
                return ended(
                    key,
                    "cancelled",
                    "A person cancelled the recovery.",
                    "Ask them why, then run the drill again.",
                );
            }
            JobState::Failed { reason, .. } => return ended(key, reason.code(), &view.what, &view.what_now),
            JobState::Held { reason, .. } if !held => {
                held = true;
                let (what, what_now) = (view.what.clone(), view.what_now.clone());
                let why = Failure { code: reason.code().to_owned(), what, what_now };
                let _ =
                    say.send(Said::Happened(key.run.clone(), Happened::Held { key: key.clone(), why })).await;
            }
            JobState::Working { .. } if held => {
                held = false;
                let _ =
                    say.send(Said::Happened(key.run.clone(), Happened::Resumed { key: key.clone() })).await;
            }
            JobState::Working { .. } | JobState::Held { .. } => {}
        }
        let injected = injected(drills, key, &view, &mut resumed_for).await;
        let changed = tokio::select! {
            changed = changes.changed() => changed,
            () = tokio::time::sleep(injected.unwrap_or_default()), if injected.is_some() => Ok(()),
        };
        if changed.is_err() {
            return ended(
                key,
                "appliance-stops",
                "The appliance stops.",
                "It goes on when the appliance starts again.",
            );
        }
    }
}

/// A job that an inject holds goes on by itself when that has ended, once for each end. How long to wait for it.
async fn injected(
    drills: &Drills,
    key: &OrderKey,
    view: &JobView,
    resumed_for: &mut Option<u64>,
) -> Option<std::time::Duration> {
    if !matches!(view.state, JobState::Held { .. }) {
        return None;
    }
    let ends_ms = drills.held_by_inject(&key.run, &view.endpoint)?;
    if *resumed_for == Some(ends_ms) {
        return None;
    }
    let now = super::now_ms();
    if now < ends_ms {
        return Some(std::time::Duration::from_millis(ends_ms - now));
    }
    *resumed_for = Some(ends_ms);
    let actor = Actor::trigger(&format!("drill:{}", key.run));
    let reason = Decision { reason: "the inject that held it has ended".to_owned() };
    if let Err(error) = drills.0.service.resume(&actor, view.job, reason).await {
        tracing::warn!(job = %view.job, %error, "a job that an inject held does not go on");
    }
    None
}

async fn verify(drills: &Drills, key: &OrderKey, target: &str, image: &str, attest: Attest) -> Happened {
    let Ok(endpoint) = target.parse::<EndpointId>() else {
        return ended(key, "unknown-endpoint", "There is no such endpoint.", "Plan a new drill.");
    };
    match drills.0.service.endpoint(&endpoint).await {
        Ok(view) => verified(key, &view, image, attest),
        Err(problem) => failed(key, &problem),
    }
}

/// A recovery enrols and releases by itself before it is over: whether this drill's did, says its job.
async fn by_its_job(drills: &Drills, key: &OrderKey, target: &str, what: &str) -> Happened {
    let Some(job) = drills.job_in(&key.run, target) else {
        let why = format!("Nothing was recovered on {target} in this run, so nothing was {what}.");
        return ended(key, "not-recovered", &why, "Let the step need one that restores the endpoint.");
    };
    match drills.0.service.job(job).await {
        Ok(view) if view.state == JobState::Recovered => {
            passed(key, format!("{what} in recovery job {job}"), Vec::new())
        }
        Ok(view) => ended(key, "not-recovered", &view.what, &view.what_now),
        Err(problem) => failed(key, &problem),
    }
}

fn verified(key: &OrderKey, view: &EndpointView, image: &str, attest: Attest) -> Happened {
    let check = |check: &str, expected: &str, seen: String, passed| CheckResult {
        check: check.to_owned(),
        expected: expected.to_owned(),
        seen,
        passed,
    };
    let job = view.job.as_ref();
    let restored = job.map(|job| job.image.to_string()).unwrap_or_default();
    let quoted = job.is_some_and(|job| view.proven_unix_ms.is_some_and(|at| at >= job.asked_unix_ms));
    let quote_expected = match attest {
        Attest::Required => "accepted after the restore",
        Attest::IfPossible => "accepted, where there is a TPM",
    };
    let without_tpm = attest == Attest::IfPossible && view.ek_sha256.is_none();
    let checks = vec![
        check("restored-image", image, restored.clone(), restored == image),
        check(
            "quote",
            quote_expected,
            if quoted { "accepted" } else { "none" }.to_owned(),
            quoted || without_tpm,
        ),
        check(
            "trusted",
            "trusted",
            format!("{:?}", view.state).to_lowercase(),
            view.state == EndpointState::Trusted || (without_tpm && view.state == EndpointState::Known),
        ),
    ];
    match checks.iter().find(|check| !check.passed).cloned() {
        None => passed(key, "it runs the image that was written, and proved it", checks),
        Some(bad) => {
            let what = format!("{}: {} instead of {}.", bad.check, bad.seen, bad.expected);
            let what_now = "Treat the endpoint as compromised until it proves itself.".to_owned();
            let why = Failure { code: "not-proven".to_owned(), what, what_now };
            Happened::Done { key: key.clone(), outcome: Outcome::Failed { why }, checks }
        }
    }
}

fn passed(key: &OrderKey, what: impl Into<String>, checks: Vec<CheckResult>) -> Happened {
    Happened::Done { key: key.clone(), outcome: Outcome::Passed { what: what.into() }, checks }
}

fn failed(key: &OrderKey, problem: &Problem) -> Happened {
    ended(
        key,
        &problem.code,
        &format!("{}: {}.", problem.title, problem.detail),
        &format!("{}.", problem.remedy),
    )
}

fn ended(key: &OrderKey, code: &str, what: &str, what_now: &str) -> Happened {
    let why = Failure { code: code.to_owned(), what: what.to_owned(), what_now: what_now.to_owned() };
    Happened::Done { key: key.clone(), outcome: Outcome::Failed { why }, checks: Vec::new() }
}
