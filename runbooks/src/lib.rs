//! How we rehearse: runbooks as code, runs as a pure machine, measured times, and a report that an auditor can read.
//!
//! ```text
//! library/*.yaml ─► runbook::parse ─► runbook::lint ─► run::plan(runbook, targets) ─► Run<Drill> | Run<Real>
//!                                                           ▲                            │ run::step(event) ─► effects
//!   inventory facts ─► target::DrillSafe ─► Target<Drill> ──┘                            ▼
//!                                                        run::Actuator (the appliance) ◄─┘ outcomes come back as events
//!   PhaseTiming ─► measure ─► report ─► paper ─► HTML, PDF
//! ```
//!
//! The package does no I/O, reads no clock and imports no package of ours. Times are milliseconds since 1970, given by the caller.
//!
//! What it must never do: give a permit to write for an endpoint that is not drill-safe in a drill; claim more than was measured;
//! say that a site complies with anything.

pub mod assess;
pub mod blueprint;
pub mod ids;
pub mod library;
pub mod measure;
pub mod paper;
pub mod print;
pub mod report;
pub mod run;
pub mod runbook;
pub mod target;

pub use ids::{OrderKey, RunId, StepId, TargetId};
pub use library::library;
pub use run::{
    Actuator, Ask, CannotStart, CheckResult, Failure, Happened, Order, Outcome, Refusal, Run, RunEffect,
    RunEvent, RunRecord, Work, plan, step,
};
pub use runbook::{Runbook, lint::lint, parse::parse};
pub use target::{
    Drill, DrillSafe, DrillScope, EndpointFacts, Mode, Paper, Place, Real, Target, WritePermit,
};
