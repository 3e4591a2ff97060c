//! Recovery jobs: the machine that decides, the journal that remembers, the runner that acts.
//!
//! ```text
//! event ─► machine::step ─► one transaction: job, phases, tickets, endpoint, evidence, intent ─► commit
//!                                   │                                                     │
//!                          refusal: nothing written             run.rs: probe, act ─► outcome is the next event
//! ```
//!
//! Only [`machine`] changes a job's state; everyone else hands it an event through the journal.

pub mod job;
pub mod journal;
pub mod limits;
pub mod machine;
pub mod run;
#[cfg(test)]
pub mod simulation;
