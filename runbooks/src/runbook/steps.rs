//! The verbs, what each takes, and the closed lists of words under `with`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Text;
use crate::report::words;

/// The closed set of verbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// Ask the appliance whether facts hold.
    Check,
    /// Wait for people to approve.
    Approve,
    /// Tell a person, who acknowledges.
    Notify,
    /// A person does something and says so.
    Manual,
    /// Put an endpoint into quarantine.
    Isolate,
    /// Keep data about the cause before it is overwritten.
    Capture,
    /// Return an endpoint to its golden image.
    Reimage,
    /// Prove what was restored.
    Verify,
    /// Give the endpoint its identity back.
    Enrol,
    /// The operator of the line accepts it.
    Accept,
    /// Lift the quarantine.
    Release,
    /// Let time pass.
    Wait,
    /// A person chooses a way.
    Decide,
    /// Write the report.
    Report,
    /// Run another runbook.
    Call,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 15] = [
        Self::Check,
        Self::Approve,
        Self::Notify,
        Self::Manual,
        Self::Isolate,
        Self::Capture,
        Self::Reimage,
        Self::Verify,
        Self::Enrol,
        Self::Accept,
        Self::Release,
        Self::Wait,
        Self::Decide,
        Self::Report,
        Self::Call,
    ];

    /// The word in a file.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Approve => "approve",
            Self::Notify => "notify",
            Self::Manual => "manual",
            Self::Isolate => "isolate",
            Self::Capture => "capture",
            Self::Reimage => "reimage",
            Self::Verify => "verify",
            Self::Enrol => "enrol",
            Self::Accept => "accept",
            Self::Release => "release",
            Self::Wait => "wait",
            Self::Decide => "decide",
            Self::Report => "report",
            Self::Call => "call",
        }
    }

    /// How long a step of this verb may take when the file does not say. Never days: it fails closed.
    #[must_use]
    pub fn default_timeout_ms(self) -> u64 {
        const MINUTE: u64 = 60_000;
        match self {
            Self::Check | Self::Isolate | Self::Capture | Self::Report => 2 * MINUTE,
            Self::Verify | Self::Enrol | Self::Release => 5 * MINUTE,
            Self::Approve | Self::Notify | Self::Accept | Self::Decide => 10 * MINUTE,
            Self::Manual => 15 * MINUTE,
            Self::Reimage | Self::Wait | Self::Call => 30 * MINUTE,
        }
    }

    /// What it does must be good, or nothing may go on with the endpoint as if it were.
    #[must_use]
    pub fn must_be_good(self) -> bool {
        matches!(self, Self::Reimage | Self::Verify | Self::Enrol | Self::Accept | Self::Release)
    }

    /// The verb works on one endpoint, so a step of it must say `per: target`.
    #[must_use]
    pub fn works_on_a_target(self) -> bool {
        matches!(
            self,
            Self::Isolate | Self::Capture | Self::Reimage | Self::Verify | Self::Enrol | Self::Release
        )
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A verb with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Uses {
    /// Do these facts hold?
    Check {
        /// Which facts; at least one.
        set: Vec<CheckItem>,
    },
    /// People approve.
    Approve(Approval),
    /// A person is told and acknowledges.
    Notify {
        /// The role that is told.
        to: String,
        /// What they are told.
        text: Text,
    },
    /// A person does something and says so.
    Manual {
        /// What to do.
        text: Text,
        /// What to tick, one by one.
        checklist: Vec<Text>,
    },
    /// Put the endpoint where it can do no harm. A person does it, on the switch; nothing here reaches switches yet.
    Isolate {
        /// Where to, such as `recovery-vlan`.
        to: String,
        /// The person first looks that the plant does without it.
        confirm_local: bool,
    },
    /// Keep data about the cause. `quick`: the reimage that follows keeps it before it writes; `full`: a person does.
    Capture {
        /// How much.
        profile: Profile,
        /// Never longer than this: data about the cause never keeps a line waiting.
        budget_ms: u64,
    },
    /// Return the endpoint to the golden image that its blueprint means.
    Reimage,
    /// Prove what was restored.
    Verify {
        /// Without a TPM quote the step fails (`attest: required`), or is noted (`attest: if_possible`).
        attest: Attest,
    },
    /// The endpoint has its identity back, and the old one is worth nothing.
    Enrol {
        /// The old identity must be revoked.
        revoke_previous: bool,
        /// What it means when the control plane does not answer.
        on_unreachable: OnUnreachable,
    },
    /// The operator of the line says whether it is as it should be.
    Accept {
        /// The role that is asked.
        by: String,
        /// What they are asked.
        question: Text,
    },
    /// The quarantine is lifted.
    Release {
        /// Where to, such as `production-vlan`.
        to: String,
    },
    /// Let time pass.
    Wait {
        /// How long.
        for_ms: u64,
    },
    /// A person chooses a way.
    Decide {
        /// What they are asked.
        text: Text,
        /// What they may answer; at least two.
        options: Vec<String>,
    },
    /// Write the report.
    Report {
        /// Which.
        kind: ReportKind,
    },
    /// A verb that this version cannot run.
    Later {
        /// Which.
        which: Verb,
    },
}

impl Uses {
    /// Its verb.
    #[must_use]
    pub fn verb(&self) -> Verb {
        match self {
            Self::Check { .. } => Verb::Check,
            Self::Approve(_) => Verb::Approve,
            Self::Notify { .. } => Verb::Notify,
            Self::Manual { .. } => Verb::Manual,
            Self::Reimage => Verb::Reimage,
            Self::Verify { .. } => Verb::Verify,
            Self::Isolate { .. } => Verb::Isolate,
            Self::Capture { .. } => Verb::Capture,
            Self::Enrol { .. } => Verb::Enrol,
            Self::Accept { .. } => Verb::Accept,
            Self::Release { .. } => Verb::Release,
            Self::Wait { .. } => Verb::Wait,
            Self::Decide { .. } => Verb::Decide,
            Self::Report { .. } => Verb::Report,
            Self::Later { which } => *which,
        }
    }

    /// A person does it; its time is a person's.
    #[must_use]
    pub fn is_by_hand(&self) -> bool {
        match self {
            Self::Approve(_)
            | Self::Notify { .. }
            | Self::Manual { .. }
            | Self::Isolate { .. }
            | Self::Capture { profile: Profile::Full, .. }
            | Self::Accept { .. }
            | Self::Decide { .. } => true,
            Self::Check { .. }
            | Self::Capture { profile: Profile::Quick, .. }
            | Self::Reimage
            | Self::Verify { .. }
            | Self::Enrol { .. }
            | Self::Release { .. }
            | Self::Wait { .. }
            | Self::Report { .. }
            | Self::Later { .. } => false,
        }
    }

    /// What a person is asked or told, and what they tick; empty where nobody is.
    #[must_use]
    pub fn asked(&self, language: &str) -> (String, Vec<String>) {
        let said = |text: &Text| text.in_language(language).to_owned();
        match self {
            Self::Approve(approval) if approval.roles.is_empty() => {
                (format!("{} must approve.", approval.min), Vec::new())
            }
            Self::Approve(approval) => {
                (format!("{} of {} must approve.", approval.min, approval.roles.join(", ")), Vec::new())
            }
            Self::Notify { to, text } => (format!("{to}: {}", said(text)), Vec::new()),
            Self::Manual { text, checklist } => (said(text), checklist.iter().map(said).collect()),
            Self::Isolate { to, confirm_local } => {
                let first = "Look that the plant does without it: another panel shows live values";
                let ticks = confirm_local.then(|| first.to_owned()).into_iter();
                let last = std::iter::once(format!("It is in `{to}` and reaches nothing else"));
                (format!("Put this endpoint into `{to}`."), ticks.chain(last).collect())
            }
            Self::Capture { profile: profile @ Profile::Full, budget_ms } => {
                let text = format!(
                    "Keep what may show the cause ({}), for at most {} s; then go on, whatever you have.",
                    profile.means(),
                    budget_ms / 1000
                );
                (text, Vec::new())
            }
            Self::Accept { by, question } => (format!("{by}: {}", said(question)), Vec::new()),
            Self::Decide { text, options } => {
                (format!("{} Answer with one of: {}.", said(text), options.join(", ")), Vec::new())
            }
            Self::Check { .. }
            | Self::Capture { profile: Profile::Quick, .. }
            | Self::Reimage
            | Self::Verify { .. }
            | Self::Enrol { .. }
            | Self::Release { .. }
            | Self::Wait { .. }
            | Self::Report { .. }
            | Self::Later { .. } => (String::new(), Vec::new()),
        }
    }

    /// What happens in it: what a person reads, or what the appliance does; and what they tick.
    #[must_use]
    pub fn told(&self, language: &str) -> (String, Vec<String>) {
        let (text, ticks) = self.asked(language);
        if !text.is_empty() {
            return (text, ticks);
        }
        let text = match self {
            Self::Check { set } => {
                let set: Vec<&str> = set.iter().map(|item| item.word()).collect();
                format!("The appliance looks: {}.", set.join(", "))
            }
            Self::Capture { profile, budget_ms } => format!(
                "The reimage that follows keeps {} before it writes, for at most {} s, and goes on with what it has.",
                profile.means(),
                budget_ms / 1000
            ),
            Self::Reimage => {
                "The appliance returns it to its golden image. Switch it off and on when the appliance asks."
                    .into()
            }
            Self::Verify { .. } => {
                "The appliance looks that it is the image, byte for byte, and that it proved itself.".into()
            }
            Self::Enrol { .. } => "It gets its identity back; the old one is refused.".into(),
            Self::Release { to } => format!("It goes back to `{to}`."),
            Self::Wait { for_ms } => format!("{} pass.", words::length(*for_ms)),
            Self::Report { .. } => "The appliance writes the report.".into(),
            other => format!("{}.", other.verb()),
        };
        (text, ticks)
    }

    /// What people read in it.
    pub fn texts(&self) -> impl Iterator<Item = &Text> {
        let (first, rest): (Option<&Text>, &[Text]) = match self {
            Self::Notify { text, .. } | Self::Decide { text, .. } => (Some(text), &[]),
            Self::Manual { text, checklist } => (Some(text), checklist),
            Self::Accept { question, .. } => (Some(question), &[]),
            _ => (None, &[]),
        };
        first.into_iter().chain(rest)
    }
}

/// Facts that a `check` can ask for. The appliance answers each with what it saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum CheckItem {
    /// The golden image of each target is in the store, whole, and signed by a key that we trust.
    ImageVerified,
    /// The store has room for what a run writes.
    StoreFree,
    /// No recovery job works on any target.
    EndpointIdle,
    /// No live boot ticket for any target.
    NoOpenTickets,
    /// The control plane answers.
    ControlPlane,
    /// What the run's recoveries were to keep of old systems lies with the appliance as it was kept.
    CapturesSealed,
    /// The run left nothing behind: no ticket, no lease of an endpoint that did not come back, no identity that nobody has, no boot override that is
    /// still armed, no inject. What can be taken back is taken back first.
    Clean,
}

impl CheckItem {
    /// Every item.
    pub const ALL: [Self; 7] = [
        Self::ImageVerified,
        Self::StoreFree,
        Self::EndpointIdle,
        Self::NoOpenTickets,
        Self::ControlPlane,
        Self::CapturesSealed,
        Self::Clean,
    ];

    /// The word in a file.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::ImageVerified => "image-verified",
            Self::StoreFree => "store-free",
            Self::EndpointIdle => "endpoint-idle",
            Self::NoOpenTickets => "no-open-tickets",
            Self::ControlPlane => "control-plane",
            Self::CapturesSealed => "captures-sealed",
            Self::Clean => "clean",
        }
    }
}

/// Who must approve. People are always distinct from each other; a denial is final.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// How many people. 0 only in mode `virtual`: the step passes by itself and says so.
    pub min: u8,
    /// Roles, one of which each must have; empty means any.
    pub roles: Vec<String>,
    /// The requester may not be among them.
    pub not_requester: bool,
}

/// Is a TPM quote needed?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Attest {
    /// Without a verified quote the step fails.
    Required,
    /// Endpoints without a TPM pass, and the report says so.
    IfPossible,
}

/// Which report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ReportKind {
    /// HTML and JSON of this run.
    RunReport,
}

/// How much is kept of what may show the cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Profile {
    /// Logs, hashes of the disk's parts, chosen files.
    Quick,
    /// An image of the disk.
    Full,
}

impl Profile {
    /// What is kept: by the appliance, or of the whole disk by a person.
    #[must_use]
    pub fn means(self) -> &'static str {
        match self {
            Self::Quick => "the event log, the partition table, chosen files and hashes of the disk",
            Self::Full => "the whole disk: take it out, or image it",
        }
    }
}

/// What it means when the control plane does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum OnUnreachable {
    /// It is told later; the endpoint works meanwhile.
    Queue,
    /// The step fails.
    Fail,
}
