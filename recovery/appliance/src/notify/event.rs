//! What can be told: the closed list of events, and which entry of the evidence log is one.

use recovery_protocol::{
    evidence::Entry,
    job::{HoldReason, JobState},
};
use serde::Deserialize;

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// A recovery waits for a person to mend something.
    Held,
    /// A recovery or a standing plan waits for a person to approve it.
    ApprovalNeeded,
    /// A recovery was given up.
    Failed,
    /// A person ended a recovery.
    Cancelled,
    /// An endpoint is back in service.
    Recovered,
    /// STOP was pressed, or released.
    Stop,
    /// Something that nobody should overlook.
    Alarm,
    /// No drill recovered an endpoint for too long.
    DrillDue,
    /// No backup was made for too long.
    BackupOld,
    /// The end of the evidence log is not anchored for too long.
    AnchorOld,
}

impl Event {
    /// Every one.
    #[cfg(test)]
    pub const ALL: [Self; 10] = [
        Self::Held,
        Self::ApprovalNeeded,
        Self::Failed,
        Self::Cancelled,
        Self::Recovered,
        Self::Stop,
        Self::Alarm,
        Self::DrillDue,
        Self::BackupOld,
        Self::AnchorOld,
    ];

    /// Its word in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::ApprovalNeeded => "approval-needed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Recovered => "recovered",
            Self::Stop => "stop",
            Self::Alarm => "alarm",
            Self::DrillDue => "drill-due",
            Self::BackupOld => "backup-old",
            Self::AnchorOld => "anchor-old",
        }
    }

    /// The event that an entry tells of; None: nobody is told.
    #[must_use]
    pub fn of(entry: &Entry) -> Option<Self> {
        match entry.kind.as_str() {
            "transition" => match state(entry)? {
                // Whoever pressed STOP is told of once, and not by each job that it held.
                JobState::Held { reason: HoldReason::SiteStopped, .. } => None,
                JobState::Held {
                    reason: HoldReason::AwaitingApproval | HoldReason::AwaitingWord, ..
                } => Some(Self::ApprovalNeeded),
                JobState::Held { .. } => Some(Self::Held),
                JobState::Failed { .. } => Some(Self::Failed),
                JobState::Cancelled { .. } => Some(Self::Cancelled),
                JobState::Recovered => Some(Self::Recovered),
                JobState::Working { .. } | JobState::Captured => None,
            },
            "order.plan" => Some(Self::ApprovalNeeded),
            "order.stop" | "order.stop-released" => Some(Self::Stop),
            "due.drill" => Some(Self::DrillDue),
            "due.backup" => Some(Self::BackupOld),
            "due.anchor" => Some(Self::AnchorOld),
            "log.failure" | "log.capacity" => Some(Self::Alarm),
            kind if kind.starts_with("alarm.") => Some(Self::Alarm),
            _ => None,
        }
    }
}

/// Where a job stands after a transition.
#[must_use]
pub fn state(entry: &Entry) -> Option<JobState> {
    serde_json::from_value(entry.facts.get("to")?.clone()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_has_the_word_that_the_configuration_takes() {
        for event in Event::ALL {
            let read: Event = serde_json::from_value(event.as_str().into()).unwrap();
            assert_eq!(read, event);
        }
    }

    #[test]
    fn what_nobody_needs_to_do_anything_about_is_no_event() {
        let entry = |kind: &str, to: serde_json::Value| Entry {
            seq: 1,
            at_unix_ms: 0,
            kind: kind.to_owned(),
            actor: "appliance".to_owned(),
            endpoint: None,
            job: None,
            mode: "real".to_owned(),
            facts: serde_json::Map::from_iter([("to".to_owned(), to)]),
        };
        let held = |reason: HoldReason| serde_json::json!({ "is": "held", "stage": "imaging", "reason": reason, "detail": "" });
        for (kind, to, event) in [
            ("transition", held(HoldReason::DiskFailed), Some(Event::Held)),
            ("transition", held(HoldReason::AwaitingApproval), Some(Event::ApprovalNeeded)),
            ("transition", held(HoldReason::AwaitingWord), Some(Event::ApprovalNeeded)),
            ("transition", held(HoldReason::SiteStopped), None),
            ("transition", serde_json::json!({ "is": "working", "stage": "imaging" }), None),
            ("transition", serde_json::json!({ "is": "recovered" }), Some(Event::Recovered)),
            ("transition", serde_json::json!("nonsense"), None),
            ("job.event", held(HoldReason::DiskFailed), None),
            ("alarm.left-off", serde_json::Value::Null, Some(Event::Alarm)),
            ("log.read", serde_json::Value::Null, None),
        ] {
            assert_eq!(Event::of(&entry(kind, to.clone())), event, "{kind} {to}");
        }
    }
}
