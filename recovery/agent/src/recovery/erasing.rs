//! The erasure before a restore, where the order demands one.
//!
//! ```text
//! plan of a restore onto anything ─► way chosen ─► disk chosen again ─► Erasing ──Continue──► poisoned ─► erased ─► Erased
//!      refused: as any restore       none: held                                 nothing is written before
//! ```
//!
//! It comes before the scan, since it destroys what a scan would find right. What can be refused is refused before it: an erased
//! disk that cannot be restored would be a loss for nothing.

use std::time::Duration;

use images::restore::{Preserve, RestoreError, RestorePlan, RestoreTarget, unread};
use images::{Manifest, Verified};
use recovery_protocol::agent::{Activity, Reported, RestoreOrder};
use recovery_protocol::job::HoldReason;

use super::reporter::Reporter;
use super::restore::{Chosen, endpoint_facts};
use super::{Refusal, Stop, chain};
use crate::disk::{EraseError, Erasure, Watch, describe};

/// Between two questions to a disk that is at it.
const PAUSE: Duration = Duration::from_millis(250);

/// Erases the disk as the order demands and reports it.
///
/// # Errors
/// [`Stop`]: refused with the disk untouched, stopped, or failed with a disk that does not boot.
pub(super) fn erase(
    order: &RestoreOrder,
    manifest: &Verified<Manifest>,
    target: &dyn RestoreTarget,
    disk: &Chosen<'_>,
    (uefi, preserve): (bool, Preserve),
    reporter: &Reporter<'_>,
) -> Result<(), Stop> {
    let refused = |error: RestoreError| Stop::from(Refusal::from(&error));
    let scan = unread(manifest, target, preserve).map_err(refused)?;
    let plan = RestorePlan::new(manifest, scan, &endpoint_facts(uefi))
        .map_err(|error| refused(RestoreError::from(error)))?;
    let named = |error: &EraseError| {
        let Refusal { reason, detail } = Refusal::from(error);
        Stop::from(Refusal { reason, detail: format!("{}: {detail}", describe(disk.facts)) })
    };
    let erasure =
        Erasure::choose(disk.port, &disk.facts.transport, order.erase).map_err(|error| named(&error))?;
    (disk.meant)()?;
    let (facts, health) = (disk.facts.clone(), Box::new(disk.health.clone()));
    reporter.milestone(Reported::Erasing { method: erasure.method(), disk: facts, health })?;

    reporter.show(
        format!("Erasing the disk: {}.", erasure.method().label()),
        "The blueprint of this endpoint demands it before the golden image is written.".to_owned(),
    );
    let watch = Watch {
        pause: &|| std::thread::sleep(PAUSE),
        progress: &|done, total| reporter.progress(Activity::Erasing, done, total),
        halted: &|| reporter.halted(),
    };
    let erased = reporter.during(|| erasure.run(target, || plan.poison(target).map(drop), &watch));
    let facts = match erased {
        Ok(facts) => Box::new(facts),
        Err(error) => return Err(reporter.take_stop().unwrap_or_else(|| named(&error))),
    };
    reporter.say(format!("The disk is erased: {facts}."));
    reporter.milestone(Reported::Erased { facts })
}

impl From<&EraseError> for Refusal {
    fn from(error: &EraseError) -> Self {
        let reason = match error {
            EraseError::Unsupported { .. } | EraseError::Frozen { .. } => HoldReason::EraseUnsupported,
            EraseError::Poison(error) => return Self::from(error),
            EraseError::Command { .. }
            | EraseError::Failed { .. }
            | EraseError::Unchanged { .. }
            | EraseError::NotZero { .. }
            | EraseError::Unreadable { .. }
            | EraseError::Halted => HoldReason::EraseFailed,
        };
        Self::new(reason, chain(error))
    }
}
