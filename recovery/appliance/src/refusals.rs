//! Our own errors as [`Problem`]s: what happened, why, what now. In one place, so that one cause has one code.
//!
//! It must never: put a secret or an inner path of the database into a problem.

use recovery_protocol::{EndpointId, JobId, Problem};

use crate::{
    db::{DbError, stop::Stop},
    golden::GoldenError,
    jobs::{job::Refusal, journal::JournalError},
    keys::KeyError,
};

impl From<DbError> for Problem {
    fn from(error: DbError) -> Self {
        tracing::error!(error = error.chain(), "database");
        if let DbError::Gone(_) = &error {
            let remedy = "look whether the database server runs and can be reached, then ask again";
            return Self::new(
                503,
                "database-gone",
                "The appliance's database does not answer",
                error.to_string(),
                remedy,
            );
        }
        let remedy = "look at the appliance's log and at the disk of its data directory, then try again";
        Self::new(500, "database-failed", "The appliance's database failed", error.to_string(), remedy)
    }
}

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Self {
        let remedy = "look at the appliance's log; its system is broken";
        Self::new(500, "no-random", "The appliance could not make a secret", error.to_string(), remedy)
    }
}

impl From<GoldenError> for Problem {
    fn from(error: GoldenError) -> Self {
        let (status, code, title) = match &error {
            GoldenError::Missing { .. } => {
                (409, "image-missing", "There is no golden image for this endpoint")
            }
            GoldenError::NoWayHome { .. } => {
                (409, "image-without-esp", "A recovery with this golden image could not end")
            }
            GoldenError::NotApproved { .. } => {
                (409, "image-not-approved", "No golden image is approved for this endpoint")
            }
            GoldenError::TrustRoot { .. } => {
                (409, "trust-root-missing", "The image trust root cannot be used")
            }
            GoldenError::Statement(_) => {
                let remedy = "have it signed by a key that the trust root lists for channels";
                let title = "The promotion does not count";
                return Self::new(403, "statement-refused", title, error.to_string(), remedy);
            }
            GoldenError::Refused(_) | GoldenError::Damaged { .. } => {
                let reason = error.reason();
                let now = reason.what_now();
                return Self::new(409, reason.code(), reason.what(), error.to_string(), now);
            }
            GoldenError::Store(_) | GoldenError::Interrupted => {
                (500, "image-store-failed", "The image store failed")
            }
        };
        let remedy = "look at `groundstate image list`, mend the cause, try again";
        Self::new(status, code, title, error.to_string(), remedy)
    }
}

impl From<JournalError> for Problem {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Db(error) => error.into(),
            JournalError::UnknownJob(job) => unknown_job(job),
            JournalError::Refused(refusal) => refused(&refusal),
        }
    }
}

/// What ends a STOP.
const RELEASE: &str = "find out why it was pressed; two people release it, each with `groundstate stop release` or in the console";

/// STOP stands: nothing is ordered.
pub fn site_stopped(stop: &Stop) -> Problem {
    Problem::new(409, "site-stopped", "STOP was pressed for the whole site", stopped(stop), RELEASE)
}

/// Who pressed STOP and why, for a sentence.
pub fn stopped(stop: &Stop) -> String {
    let why = if stop.reason.is_empty() { "no reason given" } else { &stop.reason };
    format!("{} pressed STOP: {why}", stop.pressed_by)
}

fn refused(refusal: &Refusal) -> Problem {
    let (code, remedy) = match refusal {
        Refusal::Over => ("job-over", "order a new recovery if the endpoint still needs one"),
        Refusal::Stale | Refusal::Repeated => ("job-moved-on", "look at the job again"),
        Refusal::NotNow(_) => ("job-not-there", "look at the job: what it waits for stands there"),
        Refusal::Session => ("session-over", "say hello again"),
        Refusal::Order { .. } => ("order-stale", "ask for the next assignment"),
        Refusal::Certificate => ("certificate-foreign", "enrol again and report that certificate"),
        Refusal::NothingToApprove => ("nothing-to-approve", "resume the job instead"),
        Refusal::NothingSeen => {
            ("nothing-to-approve", "resume the job; what the endpoint shows then can be approved")
        }
        Refusal::ApproveInstead => ("approve-instead", "approve the job instead"),
        Refusal::SiteStopped => ("site-stopped", RELEASE),
        Refusal::SecondPerson => ("second-person-needed", "let another person approve"),
    };
    Problem::new(409, code, "The job does not take this now", refusal.to_string(), remedy)
}

/// No such job.
pub fn unknown_job(job: JobId) -> Problem {
    let remedy = "copy the id from `groundstate job list`";
    Problem::new(404, "unknown-job", "There is no such job", format!("{job} is not on record"), remedy)
}

/// No such endpoint.
pub fn unknown_endpoint(endpoint: &EndpointId) -> Problem {
    let remedy = "look at `groundstate endpoint list`, or add it";
    Problem::new(
        404,
        "unknown-endpoint",
        "There is no such endpoint",
        format!("{endpoint} is not on record"),
        remedy,
    )
}
