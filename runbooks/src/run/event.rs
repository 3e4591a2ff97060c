//! What goes into a run and what comes out: events, effects, orders, and the trait of whoever carries orders out.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{OrderKey, TargetId},
    runbook::{Approval, Attest, CheckItem, ReportKind},
    target::{Mode, WritePermit},
};

/// Something happened, at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEvent {
    /// When, in milliseconds since 1970. A time before the last event's counts as that event's time.
    pub at_ms: u64,
    /// What.
    pub what: Happened,
}

impl RunEvent {
    /// An event.
    #[must_use]
    pub fn new(at_ms: u64, what: Happened) -> Self {
        Self { at_ms, what }
    }

    /// Time passed and nothing else.
    #[must_use]
    pub fn tick(at_ms: u64) -> Self {
        Self::new(at_ms, Happened::Tick)
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Happened {
    /// Begin a planned run.
    Begin,
    /// Time passed.
    Tick,
    /// The actuator is done with an order.
    Done {
        /// Which.
        key: OrderKey,
        /// How it went.
        outcome: Outcome,
        /// What was looked at, one by one.
        checks: Vec<CheckResult>,
    },
    /// An order waits for a person elsewhere (a recovery job is held). Its timeout goes on.
    Held {
        /// Which.
        key: OrderKey,
        /// Why, and what the person can do.
        why: Failure,
    },
    /// It moves again.
    Resumed {
        /// Which.
        key: OrderKey,
    },
    /// A person decided on an `approve` step.
    Decided {
        /// Which.
        key: OrderKey,
        /// Who.
        person: String,
        /// In which role.
        role: String,
        /// Yes or no; no is final.
        approves: bool,
        /// The binding that they saw ([`super::RunRecord::binding`]).
        binding: String,
        /// In their words.
        reason: String,
    },
    /// A person answered a `manual` or `notify` step.
    Answered {
        /// Which.
        key: OrderKey,
        /// Who.
        person: String,
        /// Done, or not possible.
        done: bool,
        /// In their words.
        note: String,
    },
    /// A person chose a way in a `decide` step.
    Chose {
        /// Which.
        key: OrderKey,
        /// Who.
        person: String,
        /// One of the step's options.
        option: String,
    },
    /// What became of an order that the run waits for no more ([`RunEffect::Stop`]). Taken also when the run is over.
    Left {
        /// Which.
        key: OrderKey,
        /// What, one sentence.
        what: String,
    },
    /// A person stops the run. `finally` still runs. Never needs an approval.
    Abort {
        /// Who.
        person: String,
        /// Why.
        reason: String,
    },
}

/// How an order went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Outcome {
    /// It is so.
    Passed {
        /// What was done or seen, one sentence.
        what: String,
    },
    /// It is not.
    Failed {
        /// Why.
        why: Failure,
    },
}

/// Why something did not happen, for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// A stable code, such as `timed-out` or a job's hold reason.
    pub code: String,
    /// What happened, one sentence.
    pub what: String,
    /// What to do now, one sentence.
    pub what_now: String,
}

impl Failure {
    pub(crate) fn new(code: &str, what: impl Into<String>, what_now: &str) -> Self {
        Self { code: code.to_owned(), what: what.into(), what_now: what_now.to_owned() }
    }
}

/// One fact that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckResult {
    /// What was checked, such as `no-open-tickets` or `secure-boot`.
    pub check: String,
    /// What should be.
    pub expected: String,
    /// What was.
    pub seen: String,
    /// Whether that is good enough.
    pub passed: bool,
}

/// What the caller must do, after it stored the run.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "an effect that is not carried out leaves the run waiting until its timeout"]
pub enum RunEffect<M: Mode> {
    /// Hand this order to the actuator.
    Start(Order<M>),
    /// Nobody waits for this order any more: stop it if that is safe, leave the endpoint in a named state.
    Stop(OrderKey),
}

/// Work for the actuator.
#[derive(Debug, PartialEq, Eq)]
pub struct Order<M: Mode> {
    /// Names the work. The same key is the same work.
    pub key: OrderKey,
    /// What to do.
    pub work: Work<M>,
    /// The run gives up at this time (milliseconds since 1970).
    pub until_ms: u64,
}

/// What an order asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Work<M: Mode> {
    /// Look whether these facts hold for these endpoints; answer with one [`CheckResult`] each.
    Check {
        /// The facts.
        set: Vec<CheckItem>,
        /// The endpoints: of the run, or the one of the step.
        targets: Vec<TargetId>,
    },
    /// Show people what they are to approve; each decision is a [`Happened::Decided`].
    Approve {
        /// Who may.
        approval: Approval,
        /// What they approve: show it, send it back.
        binding: String,
    },
    /// Tell a role something; the acknowledgement is a [`Happened::Answered`].
    Notify {
        /// The role.
        to: String,
        /// What.
        text: String,
    },
    /// Show a person what to do; the answer is a [`Happened::Answered`].
    Manual {
        /// What.
        text: String,
        /// To tick, one by one.
        checklist: Vec<String>,
    },
    /// Show a person a choice; it comes back as a [`Happened::Chose`].
    Decide {
        /// What they are asked.
        text: String,
        /// What they may answer.
        options: Vec<String>,
    },
    /// Prove that the endpoint has its identity back.
    Enrol {
        /// The endpoint.
        target: TargetId,
        /// The old identity must be revoked.
        revoke_previous: bool,
        /// Good enough while the control plane does not answer, and is told later.
        may_queue: bool,
    },
    /// Lift the endpoint's quarantine, or prove that it is lifted.
    Release {
        /// The endpoint.
        target: TargetId,
        /// Where to.
        to: String,
    },
    /// Return the permit's endpoint to the permit's golden image.
    Reimage {
        /// Keep what may show the cause before anything is written, for at most so long; `None`: as the endpoint's blueprint has it.
        keep_ms: Option<u64>,
        /// Permission for this attempt.
        permit: WritePermit<M>,
    },
    /// Prove that the endpoint runs the image that was written.
    Verify {
        /// The endpoint.
        target: TargetId,
        /// The image that it must be.
        image: String,
        /// Is a quote needed?
        attest: Attest,
    },
    /// Write the report of the run so far ([`crate::report`]).
    Report {
        /// Which.
        kind: ReportKind,
    },
}

/// Why an order could not even be started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {} {}", .0.code, .0.what, .0.what_now)]
pub struct CannotStart(pub Failure);

/// Carries out what a run orders. The appliance implements it, in one adapter.
///
/// `start` returns at once and leaves work going: typically it writes the order down or puts it on a bounded channel, and an
/// async task works on it. The outcome comes back as a [`Happened::Done`] (or `Decided`, `Answered`). The same key twice is the same
/// work: the second call starts nothing and its outcome is reported (again).
pub trait Actuator<M: Mode> {
    /// Begin the work of an order.
    ///
    /// # Errors
    /// When it cannot begin at all. The caller gives it back to the run as [`Happened::Done`] with [`Outcome::Failed`];
    /// [`RunEffect::carry_out`] does so.
    fn start(&self, order: Order<M>) -> Result<(), CannotStart>;

    /// Nobody waits for this work any more. Unknown and finished keys are ignored.
    fn stop(&self, key: &OrderKey);
}

impl<M: Mode> RunEffect<M> {
    /// Hand the effect to an actuator. `Some`: it could not start, and this is what happened instead.
    #[must_use = "an order that cannot start is an event for the run"]
    pub fn carry_out(self, actuator: &impl Actuator<M>) -> Option<Happened> {
        match self {
            Self::Start(order) => {
                let key = order.key.clone();
                let CannotStart(why) = actuator.start(order).err()?;
                Some(Happened::Done { key, outcome: Outcome::Failed { why }, checks: Vec::new() })
            }
            Self::Stop(key) => {
                actuator.stop(&key);
                None
            }
        }
    }
}

/// Why the machine did not take an event. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It has begun.
    #[error("the run has begun already: read its state")]
    AlreadyBegun,
    /// It has not begun.
    #[error("the run has not begun: begin it first")]
    NotBegun,
    /// It is over.
    #[error("the run is over: plan a new one")]
    Over,
    /// Too late to stop.
    #[error("the run is already in its last steps, which always run: wait for its end")]
    AlreadyFinishing,
    /// Another run's key, an attempt of the past, or a step that is not working.
    #[error("nothing waits for {0}: it is done, timed out or was never ordered; read the run's state")]
    NotWaiting(OrderKey),
    /// It is not left: the run waits for it.
    #[error("the run still waits for {0}: tell how it ended, or stop the run first")]
    StillAwaited(OrderKey),
    /// A machine's answer to a question for people.
    #[error("{0} waits for a person: answer it in the console or on the command line")]
    WaitsForPerson(OrderKey),
    /// A person's answer to something that no person was asked.
    #[error("{0} waits for no such answer: read what the step asks for")]
    NotAsked(OrderKey),
    /// They saw another plan.
    #[error("the approval names another plan: show the plan again and approve that")]
    WrongBinding,
    /// Not one of the roles.
    #[error("role `{role}` may not approve this step: ask one of {}", allowed.join(", "))]
    WrongRole {
        /// Theirs.
        role: String,
        /// The step's.
        allowed: Vec<String>,
    },
    /// Who asks may not approve.
    #[error("{person} asked for this run and so cannot approve it: ask another person")]
    OwnRequest {
        /// Who.
        person: String,
    },
    /// Not one of the options.
    #[error("`{option}` is no answer to this: choose one of {}", options.join(", "))]
    NoOption {
        /// What was said.
        option: String,
        /// What may be.
        options: Vec<String>,
    },
    /// Once is enough.
    #[error("{person} has approved already: a second person must")]
    AlreadyDecided {
        /// Who.
        person: String,
    },
}
