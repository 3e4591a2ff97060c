//! The control plane: who must know that an endpoint is not trusted, and that it is again.
//!
//! ```text
//! job: Fenced ─► reset_record      Registering ─► register, assign_policy      Releasing ─► observe ─► lift_quarantine
//!                     └──────────────────┴──── Planes: the embedded one, and after it the fleet's own ────┘
//!                                                  one that is away: queued, told later, both in evidence
//! ```
//!
//! Every call sets a state and may be repeated; the generation grows with each recovery, so a late call of an older one changes nothing.
//!
//! | module | what |
//! |---|---|
//! | [`embedded`] | a table in the appliance's own database; others pull it by REST, or get its changes by webhook |
//! | [`keylime`] | Keylime's verifier and registrar |
//! | [`ums`] | IGEL UMS, by its REST API IMI v3 |
//! | [`planes`] | several as one: what one does not take is queued in order and told when it answers |
//!
//! It must never: issue an identity (that is enrolment, which fails and is retried in other ways).

use std::{collections::BTreeMap, sync::Arc};

use futures_util::future::BoxFuture;
use recovery_protocol::{EndpointId, JobId};
use serde::{Deserialize, Serialize};

mod embedded;
mod keylime;
mod planes;
#[cfg(test)]
mod tests;
mod ums;

pub use embedded::Embedded;
pub use planes::{Other, Planes};
pub use ums::is_id as is_ums_id;

use crate::{
    asking::pinned::FileError,
    config::{Config, Plane},
    db::{
        DbError,
        endpoint::{Endpoint, Record},
        plane::{Queued, Step},
    },
    jobs::journal::{Journal, JournalTx},
};

/// The embedded one, and after it the fleet's own, as they are configured; nothing is connected yet.
///
/// # Errors
/// [`FileError`].
pub fn open(config: &Config, journal: &Arc<Journal>) -> Result<Arc<Planes>, FileError> {
    let one = |(name, setting): (&String, &Plane)| -> Result<Other, FileError> {
        let (plane, waits): (Arc<dyn ControlPlane>, bool) = match setting {
            Plane::Keylime(setting) => {
                (Arc::new(keylime::Keylime::open(setting, journal.db.clone())?), setting.release_after_pass)
            }
            Plane::IgelUms(setting) => {
                (Arc::new(ums::Ums::open(setting, journal.db.clone())?), setting.release_when_online)
            }
        };
        Ok(Other { name: name.clone(), plane, waits })
    };
    let others = config.control_planes.iter().map(one).collect::<Result<Vec<_>, _>>()?;
    Ok(Arc::new(Planes::new(Arc::clone(journal), others)))
}

/// Why the control plane was not told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaneError {
    /// It said no, or what must hold before it is told does not hold.
    #[error("the control plane did not take it: {0}")]
    Refused(String),
    /// It does not answer: asking it of another endpoint is in vain as well.
    #[error("the control plane did not take it: {0}")]
    Silent(String),
}

impl PlaneError {
    /// Why, for people.
    #[must_use]
    pub fn why(&self) -> &str {
        let (Self::Refused(why) | Self::Silent(why)) = self;
        why
    }
}

/// By which name one of the fleet's own knows an endpoint with this record; None: it does not, or the name is none that it gives.
fn known_as(setting: &Plane, record: &Record) -> Option<String> {
    match setting {
        Plane::Keylime(_) => keylime::agent_of(record).ok().flatten(),
        Plane::IgelUms(_) => ums::mac_of(record).ok().flatten(),
    }
}

/// An endpoint is taken off record: the fleet's own control planes are told that it is not trusted, though nothing of it is left here.
///
/// # Errors
/// [`DbError`].
pub async fn removed(tx: &mut JournalTx<'_>, gone: &Endpoint) -> Result<(), DbError> {
    let since = tx.at;
    let row = |(name, setting): (&String, &Plane)| {
        Some(Queued {
            plane: name.clone(),
            endpoint: gone.id.clone(),
            // As the embedded one has it: nothing of the generation that it had changes that.
            generation: gone.generation + 1,
            step: Step::Reset,
            registration: None,
            known_as: Some(known_as(setting, &gone.record)?),
            since,
        })
    };
    let rows: Vec<Queued> = tx.config().control_planes.iter().filter_map(row).collect();
    for row in &rows {
        planes::queue(tx, row, "the endpoint was taken off record").await?;
    }
    Ok(())
}

/// What the control plane learns of a recovered endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// The golden image that it runs.
    pub image: String,
    /// Serial number of its certificate, lower-case hex; none without a TPM.
    pub certificate: Option<String>,
    /// SHA-256 of its EK's SPKI, lower-case hex.
    pub ek_sha256: Option<String>,
    /// The job that recovered it.
    pub job: String,
    /// What its TPM held in the quote that was as predicted: value by PCR, lower-case hex. Empty without a TPM.
    #[serde(default)]
    pub pcrs: BTreeMap<u8, String>,
}

/// What a control plane says of an endpoint by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observed {
    /// It has nothing to say of its own: our proof stands alone.
    Nothing,
    /// It has looked, and the endpoint is as it should be.
    Passes,
    /// It has looked, and the endpoint is not; or it has not looked yet. Why, for people.
    NotYet(String),
}

/// A control plane. No call is cancelled half way by us; each may be repeated.
pub trait ControlPlane: Send + Sync {
    /// By which name it knows the endpoint; None: the endpoint is none of its, and it is told nothing.
    fn known_as<'a>(&'a self, endpoint: &'a EndpointId) -> BoxFuture<'a, Result<Option<String>, PlaneError>> {
        Box::pin(std::future::ready(Ok(Some(endpoint.to_string()))))
    }

    /// [`ControlPlane::reset_record`] of what it knows by this name, where the endpoint may be off record or have another name by now.
    fn reset_name<'a>(
        &'a self,
        endpoint: &'a EndpointId,
        generation: u64,
        _name: &'a str,
    ) -> BoxFuture<'a, Result<(), PlaneError>> {
        self.reset_record(endpoint, generation)
    }

    /// The endpoint's old identity is void: it must not be trusted, and what is known of it must not meet the one that comes back.
    fn reset_record<'a>(
        &'a self,
        endpoint: &'a EndpointId,
        generation: u64,
    ) -> BoxFuture<'a, Result<(), PlaneError>>;

    /// The endpoint is recovered and enrolled; it stays in quarantine until that is lifted.
    fn register<'a>(
        &'a self,
        endpoint: &'a EndpointId,
        generation: u64,
        registration: &'a Registration,
    ) -> BoxFuture<'a, Result<(), PlaneError>>;

    /// It gets the policy that belongs to what it runs now.
    fn assign_policy<'a>(
        &'a self,
        _: &'a EndpointId,
        _: u64,
        _: &'a Registration,
    ) -> BoxFuture<'a, Result<(), PlaneError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// What it says of the endpoint by itself, as this job recovered it; asked before the quarantine is lifted.
    fn observe<'a>(&'a self, _: &'a EndpointId, _: JobId) -> BoxFuture<'a, Result<Observed, PlaneError>> {
        Box::pin(std::future::ready(Ok(Observed::Nothing)))
    }

    /// Whether [`ControlPlane::observe`] will say something of the endpoint by itself.
    fn vouches<'a>(&'a self, _: &'a EndpointId) -> BoxFuture<'a, bool> {
        Box::pin(std::future::ready(false))
    }

    /// What it has to do by itself, for ever; dropped when the appliance stops.
    fn run(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }

    /// The endpoint's quarantine is lifted.
    fn lift_quarantine<'a>(
        &'a self,
        endpoint: &'a EndpointId,
        generation: u64,
    ) -> BoxFuture<'a, Result<(), PlaneError>>;
}
