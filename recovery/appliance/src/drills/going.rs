//! A run of any mode in one type, and its orders in another: what is done differs by mode only where something is written.

use runbooks::{
    Actuator, CannotStart, Drill, DrillScope, EndpointFacts, Happened, Mode, Order, OrderKey, Paper, Real,
    Refusal, Run, RunEffect, RunEvent, RunRecord, TargetId, Work, WritePermit,
    run::ResumeError,
    runbook::{Attest, CheckItem, ModeName},
    step,
};

use super::hands::Hands;

/// A run of any mode.
pub enum Going {
    /// A rehearsal, virtual or not.
    Drill(Run<Drill>),
    /// The real thing.
    Real(Run<Real>),
    /// Talked through.
    Paper(Run<Paper>),
}

macro_rules! each {
    ($going:expr, $run:ident => $do:expr) => {
        match $going {
            Going::Drill($run) => $do,
            Going::Real($run) => $do,
            Going::Paper($run) => $do,
        }
    };
}

/// An effect of a step, to be handed to the hands once the step is stored.
pub type Act = Box<dyn FnOnce(&Hands) -> Option<Happened> + Send>;

impl Going {
    /// What to store.
    pub fn record(&self) -> &RunRecord {
        each!(self, run => run.record())
    }

    /// When time alone would change it.
    pub fn next_wake_ms(&self) -> Option<u64> {
        each!(self, run => run.next_wake_ms())
    }

    /// Nothing will happen any more.
    pub fn is_over(&self) -> bool {
        each!(self, run => run.is_over())
    }

    /// One event.
    pub fn step(&self, event: RunEvent) -> Result<(Self, Vec<Act>), Refusal> {
        Ok(match self {
            Self::Drill(run) => step(run, event).map(|(run, acts)| (Self::Drill(run), later(acts)))?,
            Self::Real(run) => step(run, event).map(|(run, acts)| (Self::Real(run), later(acts)))?,
            Self::Paper(run) => step(run, event).map(|(run, acts)| (Self::Paper(run), later(acts)))?,
        })
    }

    /// Orders whose outcome is awaited, after a restart.
    pub fn outstanding(&self) -> Vec<Todo> {
        each!(self, run => run.outstanding().into_iter().map(Todo::of).collect())
    }

    /// Take a stored run up again; permissions are earned anew.
    pub fn resume(
        record: RunRecord,
        facts: Vec<EndpointFacts>,
        scope: &DrillScope,
    ) -> Result<Self, ResumeError> {
        Ok(match record.mode {
            ModeName::Real => Self::Real(Run::<Real>::resume(record, facts)?),
            ModeName::Tabletop => Self::Paper(Run::<Paper>::resume(record, facts)?),
            ModeName::Drill | ModeName::Virtual | ModeName::DryRun => {
                Self::Drill(Run::<Drill>::resume(record, facts, scope)?)
            }
        })
    }
}

fn later<M: Kind>(effects: Vec<RunEffect<M>>) -> Vec<Act> {
    let act = |effect: RunEffect<M>| Box::new(move |hands: &Hands| effect.carry_out(hands)) as Act;
    effects.into_iter().map(act).collect()
}

/// One order, whatever the mode.
pub struct Todo {
    /// Names the work.
    pub key: OrderKey,
    /// The run gives up at this time, milliseconds since 1970.
    pub until_ms: u64,
    /// What to do.
    pub work: Doing,
}

/// What an order asks of the appliance.
pub enum Doing {
    /// Look whether these hold of these endpoints.
    Check(Vec<CheckItem>, Vec<TargetId>),
    /// Return an endpoint to its golden image; keep what may show the cause before, for so many milliseconds.
    Reimage(Permit, Option<u64>),
    /// Prove that this endpoint runs this image.
    Verify(TargetId, String, Attest),
    /// Prove that it has its identity back.
    Enrol(TargetId),
    /// Prove that it is released.
    Release(TargetId),
    /// The report can be read.
    Report,
    /// People answer in their own time.
    People,
}

/// A permit to write, of a rehearsal or of the real thing.
pub enum Permit {
    /// Of a rehearsal.
    Drill(WritePermit<Drill>),
    /// Of the real thing.
    Real(WritePermit<Real>),
}

/// What a mode's permits are here.
pub trait Kind: Mode + Send {
    /// A permit of this mode; `None`: it writes nothing.
    fn permit(permit: WritePermit<Self>) -> Option<Permit>;
}

impl Kind for Drill {
    fn permit(permit: WritePermit<Self>) -> Option<Permit> {
        Some(Permit::Drill(permit))
    }
}

impl Kind for Real {
    fn permit(permit: WritePermit<Self>) -> Option<Permit> {
        Some(Permit::Real(permit))
    }
}

impl Kind for Paper {
    fn permit(_: WritePermit<Self>) -> Option<Permit> {
        None
    }
}

impl Todo {
    fn of<M: Kind>(order: Order<M>) -> Self {
        let work = match order.work {
            Work::Check { set, targets } => Doing::Check(set, targets),
            Work::Reimage { permit, keep_ms } => {
                M::permit(permit).map_or(Doing::People, |permit| Doing::Reimage(permit, keep_ms))
            }
            Work::Verify { target, image, attest } => Doing::Verify(target, image, attest),
            Work::Enrol { target, .. } => Doing::Enrol(target),
            Work::Release { target, .. } => Doing::Release(target),
            Work::Report { .. } => Doing::Report,
            Work::Approve { .. } | Work::Notify { .. } | Work::Manual { .. } | Work::Decide { .. } => {
                Doing::People
            }
        };
        Self { key: order.key, until_ms: order.until_ms, work }
    }
}

impl<M: Kind> Actuator<M> for Hands {
    fn start(&self, order: Order<M>) -> Result<(), CannotStart> {
        self.take(Todo::of(order));
        Ok(())
    }

    fn stop(&self, key: &OrderKey) {
        self.drop_order(key);
    }
}
