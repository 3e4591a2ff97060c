//! What an approval says yes to: everything that decides what would be done to which machine, as one hash. An approval names the hash that its
//! giver saw, so it is void when anything of it is another now, and it is used up by the step that it allows.
//!
//! It must never: be asked for a hash that nobody could have seen.

use recovery_protocol::job::{HoldReason, JobState};
use serde_json::json;

use crate::{config::Config, db::endpoint::Endpoint, db::job::JobRow};

/// The hash, lower-case hex; `None`: the job waits for no approval.
#[must_use]
pub fn of(config: &Config, row: &JobRow, endpoint: Option<&Endpoint>) -> Option<String> {
    let JobState::Held { stage, reason, detail } = &row.job.state else { return None };
    let asked = [HoldReason::AwaitingApproval, HoldReason::IdentityChanged, HoldReason::FirmwareChanged];
    if !asked.contains(reason) {
        return None;
    }
    let job = &row.job;
    let record = endpoint.map(|endpoint| &endpoint.record);
    let erase =
        record.and_then(|record| config.blueprints.get(&record.blueprint)).map(|blueprint| blueprint.erase);
    let bound = json!({
        "job": job.id, "endpoint": job.endpoint, "image": job.image, "mode": job.mode, "capture": job.capture,
        "give_up_preserved": job.give_up_preserved, "group": row.group, "asked_by": job.asked_by, "why": row.reason,
        "revision": endpoint.map(|endpoint| endpoint.revision), "record": record, "erase": erase,
        "stage": stage, "held": reason, "detail": detail,
    });
    // A map of this crate is sorted by key: the same facts are the same text.
    Some(blake3::hash(bound.to_string().as_bytes()).to_hex().to_string())
}
