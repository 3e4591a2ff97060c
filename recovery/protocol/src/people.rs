//! People and programs that ask, and what each role may.
//!
//! | call | body → answer |
//! |---|---|
//! | `GET /api/v1/people` | → [`PersonView`] list |
//! | `POST /api/v1/people` | [`NewPerson`] → [`PersonView`] with its token, once |
//! | `PATCH /api/v1/people/{person}` | [`ChangePerson`] → [`PersonView`], with a token where a new one was asked for |
//! | `PUT /api/v1/people/{person}/password` | [`NewPassword`] → [`PersonView`] |
//! | `PUT /api/v1/account/password` | [`NewPassword`] → [`PersonView`]: one's own |
//! | `GET /api/v1/sessions` | → [`SessionView`] list: one's own; all for whoever manages people |
//! | `DELETE /api/v1/sessions/{session}` | → [`SessionView`] list: what is left |
//! | `GET /api/v1/reviews` | → [`ReviewView`] list: where somebody broke the glass |
//! | `POST /api/v1/reviews/{job}` | [`NewReview`] → what is left |
//! | `PUT /api/v1/people/{person}/badge` | [`NewBadge`] → [`PersonView`] |
//! | `POST /api/v1/people/{person}/unlock` | → [`PersonView`]: a badge that wrong PINs have closed |
//! | `GET`, `POST /api/v1/kiosks` | [`NewKiosk`] → [`SetupCode`]: a code that pairs a tablet |
//! | `DELETE /api/v1/kiosks/{kiosk}` | → [`KioskView`] list |
//! | `POST /api/v1/setup-codes` | → [`SetupCode`], while no admin is on record |

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{EndpointId, JobId, selector::Selector};

/// What a person or program is on this site: a set of permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// At the machine: recovers, stops, pairs, answers a drill's questions.
    Technician,
    /// Keeps endpoints and images: all but people.
    Engineer,
    /// Says yes to what another asked for.
    Approver,
    /// Reads everything, evidence included; changes nothing.
    Auditor,
    /// Everything, people included.
    Admin,
    /// A program: looks, and orders recoveries.
    Automation,
}

/// One thing that may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Permission {
    /// See endpoints, jobs, images, drills, the boot network, and figures.
    Look,
    /// Order a recovery.
    Recover,
    /// Stop a job or a drill.
    Stop,
    /// Press STOP for the whole site.
    PressStop,
    /// Give one of the two releases of STOP.
    ReleaseStop,
    /// Confirm the code on an endpoint's screen.
    Pair,
    /// Answer a step of a drill.
    Answer,
    /// Approve a job.
    Approve,
    /// Begin a recovery without the second person that it wants: an alarm, and a review.
    BreakGlass,
    /// Make a standing plan.
    Plan,
    /// Let a held job go on.
    Resume,
    /// Read an endpoint's disk into the store.
    Capture,
    /// Hand in what somebody signed about golden images: promotions.
    Images,
    /// Put endpoints on record, change and remove them.
    Endpoints,
    /// Ask the boot network who else serves on it.
    Network,
    /// Start a drill.
    Drill,
    /// Read the evidence log.
    Evidence,
    /// Read what recoveries kept of old systems: it may hold what their people keep to themselves.
    Exhibits,
    /// Delete it.
    DeleteExhibits,
    /// Pair kiosks, and open a badge again that wrong PINs have closed.
    Kiosk,
    /// Add people, change their roles, give them tokens.
    People,
    /// Open and leave one's own session of the console.
    Session,
}

impl Permission {
    /// All of them.
    pub const ALL: [Self; 22] = [
        Self::Look,
        Self::Recover,
        Self::Stop,
        Self::PressStop,
        Self::ReleaseStop,
        Self::Pair,
        Self::Answer,
        Self::Approve,
        Self::BreakGlass,
        Self::Plan,
        Self::Resume,
        Self::Capture,
        Self::Images,
        Self::Endpoints,
        Self::Network,
        Self::Drill,
        Self::Evidence,
        Self::Exhibits,
        Self::DeleteExhibits,
        Self::Kiosk,
        Self::People,
        Self::Session,
    ];

    /// For a sentence: "may not …".
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Look => "look at this site",
            Self::Recover => "order a recovery",
            Self::Stop => "stop a job or a drill",
            Self::PressStop => "press STOP for the whole site",
            Self::ReleaseStop => "release STOP",
            Self::Pair => "confirm an endpoint's code",
            Self::Answer => "answer a drill's questions",
            Self::Approve => "approve a job",
            Self::BreakGlass => "begin a recovery without its approval",
            Self::Plan => "make a standing plan",
            Self::Resume => "let a held job go on",
            Self::Capture => "capture an endpoint's disk",
            Self::Images => "promote an image",
            Self::Endpoints => "change what is on record of endpoints",
            Self::Network => "ask the boot network",
            Self::Drill => "start a drill",
            Self::Evidence => "read the evidence log",
            Self::Exhibits => "read what a recovery kept of an old system",
            Self::DeleteExhibits => "delete what a recovery kept of an old system",
            Self::Kiosk => "pair a kiosk or open a badge again",
            Self::People => "manage people",
            Self::Session => "open the console",
        }
    }
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Technician, Self::Engineer, Self::Approver, Self::Auditor, Self::Admin, Self::Automation];

    /// Its name, as in the JSON form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Technician => "technician",
            Self::Engineer => "engineer",
            Self::Approver => "approver",
            Self::Auditor => "auditor",
            Self::Admin => "admin",
            Self::Automation => "automation",
        }
    }

    /// Whether this role may do that. What is not named here is not allowed.
    #[must_use]
    pub fn may(self, wanted: Permission) -> bool {
        use Permission as P;
        let allowed: &[P] = match self {
            Self::Admin => return true,
            Self::Engineer => return !matches!(wanted, P::People | P::DeleteExhibits),
            Self::Technician => {
                &[P::Look, P::Recover, P::Stop, P::PressStop, P::Pair, P::Answer, P::BreakGlass, P::Session]
            }
            Self::Approver => &[
                P::Look,
                P::Approve,
                P::Answer,
                P::Stop,
                P::PressStop,
                P::ReleaseStop,
                P::Evidence,
                P::Session,
            ],
            Self::Auditor => &[P::Look, P::PressStop, P::Evidence, P::Session],
            Self::Automation => &[P::Look, P::Recover],
        };
        allowed.contains(&wanted)
    }

    /// The roles that may do that, for a remedy.
    #[must_use]
    pub fn who_may(wanted: Permission) -> String {
        let names: Vec<&str> =
            Self::ALL.into_iter().filter(|role| role.may(wanted)).map(Self::as_str).collect();
        names.join(", ")
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Add a person or a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NewPerson {
    /// The name that stands in evidence: 1 to 32 of `a-z`, `0-9`, `.`, `_`, `-`.
    pub person: String,
    /// What they may.
    pub role: Role,
    /// Days until their token ends; absent: it does not.
    #[serde(default)]
    pub valid_days: Option<u32>,
    /// About whom they may order something; absent: about every endpoint.
    #[serde(default)]
    pub scope: Option<Selector>,
    /// From where their token counts, as in `10.7.0.0/24`; empty: from anywhere.
    #[serde(default)]
    pub networks: Vec<String>,
}

/// Change a person; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ChangePerson {
    /// What they may from now on.
    #[serde(default)]
    pub role: Option<Role>,
    /// They may not in any more, or again. Nobody is ever deleted: their name stands in evidence.
    #[serde(default)]
    pub disabled: Option<bool>,
    /// A new token in place of the old, which ends, and with it the sessions that it opened.
    #[serde(default)]
    pub new_token: bool,
    /// Days until the new token ends; absent: it does not.
    #[serde(default)]
    pub valid_days: Option<u32>,
    /// About whom they may order something from now on; empty: about every endpoint.
    #[serde(default)]
    pub scope: Option<String>,
    /// From where their token counts from now on; an empty list: from anywhere.
    #[serde(default)]
    pub networks: Option<Vec<String>>,
    /// The client certificate that is theirs from now on, PEM, in the place of a token; empty: none. For programs.
    #[serde(default)]
    pub client_certificate: Option<String>,
    /// Why; goes into evidence.
    #[serde(default)]
    pub reason: String,
}

/// A password that is set.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NewPassword {
    /// The new one; empty: none from now on, the token stays.
    pub password: String,
    /// The one that one had, where one changes one's own.
    #[serde(default)]
    pub current: String,
}

impl fmt::Debug for NewPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewPassword")
    }
}

/// A recovery that somebody began without its approval, until another person has looked at it. Times in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReviewView {
    /// The job.
    pub job: JobId,
    /// Its endpoint.
    pub endpoint: EndpointId,
    /// Who broke the glass, as in evidence.
    pub broke: String,
    /// Why, in their words.
    pub reason: String,
    /// When.
    pub at_unix_ms: u64,
    /// Until when another person looks at it.
    pub due_unix_ms: u64,
    /// That time is over.
    pub overdue: bool,
}

/// What another person says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NewReview {
    /// It was right to.
    pub justified: bool,
    /// What was found; goes into evidence.
    pub note: String,
}

/// A badge and the PIN that belongs to it, for a technician.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NewBadge {
    /// The number that a reader types; empty: they have none from now on.
    pub badge: String,
    /// 6 to 12 digits.
    #[serde(default)]
    pub pin: String,
}

impl fmt::Debug for NewBadge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewBadge")
    }
}

/// A kiosk that is to be paired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NewKiosk {
    /// Its name: 1 to 32 of `a-z`, `0-9`, `.`, `_`, `-`.
    pub kiosk: String,
}

/// A kiosk on record. Times in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct KioskView {
    /// Its name.
    pub kiosk: String,
    /// When it was paired.
    pub paired_unix_ms: u64,
    /// Who made the code, as in evidence.
    pub paired_by: String,
    /// When it was taken away.
    pub ended_unix_ms: Option<u64>,
}

/// A session of the console. Times in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SessionView {
    /// Its name, of no use to open anything.
    pub session: String,
    /// Whose.
    pub person: String,
    /// How it was opened: `token`, `link`, `password`, `badge`, `directory`, `provider`.
    pub how: String,
    /// From which address.
    pub from: String,
    /// Since when.
    pub opened_unix_ms: u64,
    /// When it was last used.
    pub used_unix_ms: u64,
    /// It is the one that asks.
    #[serde(default)]
    pub this: bool,
}

/// What makes the first admin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SetupCode {
    /// The code, once.
    pub code: String,
    /// Where it is used.
    pub path: String,
    /// How long it works.
    pub valid_s: u64,
}

/// Who says who a person is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// This appliance.
    #[default]
    Here,
    /// The site's directory; also what they may.
    Directory,
    /// The site's OpenID provider; also what they may.
    Provider,
}

impl Origin {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Here => "here",
            Self::Directory => "directory",
            Self::Provider => "provider",
        }
    }
}

/// A person as they are on record. Times in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PersonView {
    /// The name.
    pub person: String,
    /// What they may.
    pub role: Role,
    /// They may not in.
    pub disabled: bool,
    /// About whom they may order something; absent: about every endpoint.
    #[serde(default)]
    pub scope: Option<Selector>,
    /// From where their token counts; empty: from anywhere.
    #[serde(default)]
    pub networks: Vec<String>,
    /// Since when.
    pub added_unix_ms: u64,
    /// The part of their token that is no secret: it begins with `gs_<id>_`. Absent of one that was made before tokens had one.
    #[serde(default)]
    pub token_id: Option<String>,
    /// When the token was made.
    pub token_unix_ms: u64,
    /// When it ends.
    pub token_ends_unix_ms: Option<u64>,
    /// When it was last used, within an hour.
    pub used_unix_ms: Option<u64>,
    /// When their password was set; absent: they have none.
    #[serde(default)]
    pub password_unix_ms: Option<u64>,
    /// SHA-256 of the client certificate that is theirs (DER), lower-case hex.
    #[serde(default)]
    pub certificate_sha256: Option<String>,
    /// They have a badge and a PIN, for kiosks.
    #[serde(default)]
    pub has_badge: bool,
    /// Wrong PINs in a row; five close the badge until somebody opens it again.
    #[serde(default)]
    pub pin_wrong: u64,
    /// Who says who they are.
    #[serde(default)]
    pub origin: Origin,
    /// The token, only in the answer to the order that made it: the appliance keeps its hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// A link that opens the console once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ConsoleLink {
    /// Path and query on the console's address; holds a one-time secret.
    pub path: String,
    /// Seconds for which it works.
    pub valid_s: u64,
}

impl std::fmt::Debug for ConsoleLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConsoleLink").field("valid_s", &self.valid_s).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_what_is_what_the_manual_says() {
        let may = |role: Role| -> Vec<Permission> {
            Permission::ALL.into_iter().filter(|wanted| role.may(*wanted)).collect()
        };
        use Permission as P;
        assert_eq!(may(Role::Auditor), [P::Look, P::PressStop, P::Evidence, P::Session]);
        assert_eq!(may(Role::Automation), [P::Look, P::Recover]);
        let technician =
            [P::Look, P::Recover, P::Stop, P::PressStop, P::Pair, P::Answer, P::BreakGlass, P::Session];
        assert_eq!(may(Role::Technician), technician);
        let approver =
            [P::Look, P::Stop, P::PressStop, P::ReleaseStop, P::Answer, P::Approve, P::Evidence, P::Session];
        assert_eq!(may(Role::Approver), approver);
        let engineer: Vec<_> = Permission::ALL
            .into_iter()
            .filter(|what| ![P::People, P::DeleteExhibits].contains(what))
            .collect();
        assert_eq!(may(Role::Engineer), engineer);
        assert_eq!(Role::who_may(P::People), "admin");
    }
}
