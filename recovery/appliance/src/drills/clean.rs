//! The proven end of a run: nothing of it is left, kind by kind and endpoint by endpoint, each a line of the report.
//!
//! What can be taken back is taken back first: injects end, and a job that nobody waits for is let go. Then it is looked, and looked again while what is
//! left goes away by itself; the step's limit ends that. It must never: say clean because nobody could look.

use recovery_protocol::{EndpointId, JobId, Problem};
use runbooks::{CheckResult, OrderKey, TargetId};
use tokio::sync::mpsc;

use super::{Drills, injects, rehearser::Said};
use crate::service::Leftovers;

/// What is left is looked at again this much before the limit at the latest: then the run learns it from us and not from the clock.
const BEFORE_LIMIT_MS: u64 = 3_000;
/// A BMC and a lease change nothing here when they are done.
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_secs(2);

/// Take back what can be, and prove that nothing is left. Cancel-safe: it only takes back what is there.
///
/// # Errors
/// What the service refuses.
pub async fn prove(
    drills: &Drills,
    key: &OrderKey,
    targets: &[TargetId],
    until_ms: u64,
    say: &mpsc::Sender<Said>,
) -> Result<Vec<CheckResult>, Problem> {
    let _ = say.send(Said::EndInjects(key.run.clone())).await;
    let mut changes = drills.0.service.changes();
    loop {
        changes.borrow_and_update();
        let mut found = Vec::new();
        for target in targets {
            let Ok(endpoint) = target.as_str().parse::<EndpointId>() else { continue };
            let jobs = drills.jobs_on(key, target);
            let left = drills.0.service.leftovers(&endpoint, &jobs).await?;
            let armed = drills.0.service.injects().armed(key.run.as_str(), &endpoint);
            let unended = drills.injects_open(&key.run, &endpoint);
            found.extend(results(target, &left, &injects::named(&armed, unended)));
        }
        let clean = found.iter().all(|check| check.passed);
        if clean || super::now_ms().saturating_add(BEFORE_LIMIT_MS) >= until_ms {
            return Ok(found);
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return Ok(found) },
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
}

fn results(target: &TargetId, left: &Leftovers, injects: &[String]) -> Vec<CheckResult> {
    let of_kind = |what: &str, expected: &str, left: &[String]| CheckResult {
        check: format!("{what} {target}"),
        expected: expected.to_owned(),
        seen: if left.is_empty() { "none".to_owned() } else { left.join("; ") },
        passed: left.is_empty(),
    };
    vec![
        of_kind("no-open-tickets", "no ticket or job of this run lives", &left.tickets),
        of_kind("no-leases", "no address is lent to what did not come back", &left.leases),
        of_kind("no-orphan-identities", "no certificate that nobody has", &left.identities),
        of_kind("no-boot-overrides", "nothing that this run set for the boot stands", &left.overrides),
        of_kind("no-injects", "every inject is over", injects),
    ]
}

impl Drills {
    /// Jobs that a run made for an endpoint.
    fn jobs_on(&self, key: &OrderKey, target: &TargetId) -> Vec<JobId> {
        let kept = self.kept();
        let made = kept.get(&key.run).map(|kept| kept.jobs.as_slice()).unwrap_or_default();
        made.iter().filter(|(made, _)| made.target.as_ref() == Some(target)).map(|(_, job)| *job).collect()
    }
}
