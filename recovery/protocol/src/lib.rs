//! The words that appliance, agent and operator share.
//!
//! Types and codecs only: no sockets, no clock, no database, no environment. Everything here is plain data with a JSON
//! form (the agent API and the operator API) or a documented binary form ([`tpm`]).
//!
//! | module | who speaks it |
//! |---|---|
//! | [`ids`] | everyone: names that must not be mixed up |
//! | [`agent`] | agent ⇄ appliance, over TLS pinned to the appliance's key |
//! | [`channel`] | golden images: who signed one, where it is used, what its channels mean |
//! | [`health`] | what a disk says of itself, as the agent read it |
//! | [`history`] | what happened in a job and in the evidence log, as people look it up |
//! | [`job`] | the states of a recovery job, its phases, why it is held |
//! | [`operator`] | people and scripts ⇄ appliance (REST, console, command line) |
//! | [`endpoint`] | what a person puts on record of an endpoint, and how it is changed |
//! | [`erase`] | how a disk can erase itself, as it offers it |
//! | [`evidence`] | the evidence log: its Merkle tree, checkpoints and proofs, as exported and verified |
//! | [`problem`] | every refusal: what happened, why, what now (RFC 9457) |
//! | [`selector`] | labels, and the one grammar that says which endpoints are meant |
//! | [`exhibit`] | what a recovery keeps of the old system before it writes |
//! | [`settings`] | what belongs to one endpoint and not to its image |
//! | [`trust`] | what travels inside the recovery system and on the ESP |
//! | [`machine`] | an endpoint as whoever stands before it needs it |
//! | [`drill`] | rehearsals: a person ⇄ the appliance |
//! | [`report`] | in which form and language a report is wanted |
//! | [`notify`] | who is told what happens, and how it stands with each |
//! | [`net`] | the boot network: each endpoint's boot and what is the matter with it |
//! | [`policy`] | a configuration tried against what was reported before |
//! | [`kit`] | what a boot kit holds and measures: its builder ⇄ the appliance |
//! | [`tpm`] | TPM 2.0 structures and the TCG event log |
//!
//! It must never: hold a policy, decide anything, or know how a message travels.

pub mod agent;
pub mod approval;
pub mod channel;
pub mod drill;
pub mod endpoint;
pub mod erase;
pub mod evidence;
pub mod exhibit;
pub mod health;
pub mod history;
pub mod ids;
pub mod job;
pub mod kit;
pub mod machine;
pub mod net;
pub mod notify;
pub mod operator;
pub mod outlet;
pub mod people;
pub mod plan;
pub mod plant;
pub mod policy;
pub mod problem;
pub mod report;
#[cfg(feature = "schema")]
mod schema;
pub mod secure_boot;
pub mod selector;
pub mod settings;
pub mod stop;
pub mod tpm;
pub mod trust;
pub mod ustar;

pub use ids::{EndpointId, JobId, MacAddr};
pub use problem::Problem;

/// Version of the agent API. The appliance refuses a [`agent::Hello`] with another major version.
pub const AGENT_PROTOCOL: u32 = 1;
