//! In-band: the check-in agent of a running system reboots it into the network, where there is no BMC.
//!
//! ```text
//! job powers ─► order on the desk ─► the agent checks in ─► its quote is accepted ─► order in evidence ─► given, once
//!                    └─ nobody came, or it proves nothing ─► the next driver, else a person
//! ```
//!
//! The order goes out in the answer to an accepted proof, over TLS to the key that the agent pins, and in no other message. A system that
//! fails its proof is told nothing: its word is worth nothing. The desk is in memory: a crash of the appliance is a try that failed. What
//! the agent does with the order shows when the recovery system comes, or does not. It must never: be all that a job waits for.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use recovery_protocol::{EndpointId, JobId};
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

use super::{PowerError, Still, Target};

/// How often it is asked whether the job still wants it.
const LOOK: Duration = Duration::from_millis(if cfg!(test) { 20 } else { 5_000 });
/// Beyond the time between two check-ins.
const SPARE: Duration = Duration::from_secs(if cfg!(test) { 0 } else { 30 });
/// Longest wait: a job powers for ten minutes, and another driver may come after this one.
const WAIT_MAX: Duration = Duration::from_secs(330);

/// Orders that wait for an agent.
#[derive(Debug, Default)]
pub struct Desk {
    waiting: Mutex<HashMap<EndpointId, JobId>>,
    given: Notify,
}

impl Desk {
    fn waiting(&self) -> MutexGuard<'_, HashMap<EndpointId, JobId>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The job for which an endpoint is to reboot by itself.
    pub fn waits_for(&self, endpoint: &EndpointId) -> Option<JobId> {
        self.waiting().get(endpoint).copied()
    }

    /// An order that nobody stands behind.
    #[cfg(test)]
    pub fn put(&self, endpoint: EndpointId, job: JobId) {
        self.waiting().insert(endpoint, job);
    }

    /// Give the order out; `false`: it does not wait any more.
    pub fn give(&self, endpoint: &EndpointId, job: JobId) -> bool {
        let mut waiting = self.waiting();
        if waiting.get(endpoint) != Some(&job) {
            return false;
        }
        waiting.remove(endpoint);
        self.given.notify_waiters();
        true
    }
}

/// An order on the desk, for as long as somebody stands behind it.
struct Order<'a> {
    desk: &'a Desk,
    endpoint: &'a EndpointId,
    job: JobId,
}

impl Drop for Order<'_> {
    fn drop(&mut self) {
        let mut waiting = self.desk.waiting();
        if waiting.get(self.endpoint) == Some(&self.job) {
            waiting.remove(self.endpoint);
        }
    }
}

/// Has the endpoint's own agent reboot it, once it has proven itself. `every`: the time between two check-ins.
pub async fn reboot(
    desk: &Arc<Desk>,
    target: &Target<'_>,
    every: Duration,
    still: &dyn Still,
) -> Result<(), PowerError> {
    if !target.proves {
        let why = "no TPM is on record, so its running system can prove nothing, and its word is not taken"
            .to_owned();
        return Err(PowerError::InBand { why });
    }
    still.wanted().await?;
    let order = Order { desk, endpoint: target.endpoint, job: target.job };
    desk.waiting().insert(target.endpoint.clone(), target.job);
    let most = (every + SPARE).min(WAIT_MAX);
    let until = Instant::now() + most;
    loop {
        let given = desk.given.notified();
        if desk.waits_for(order.endpoint) != Some(order.job) {
            return Ok(());
        }
        if Instant::now() >= until {
            let why = format!(
                "its check-in agent did not come, or did not prove itself, within {} s",
                most.as_secs()
            );
            return Err(PowerError::InBand { why });
        }
        tokio::select! { () = given => {} () = sleep(LOOK) => still.wanted().await? }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::power::{
        Drivers, PowerDriver as _, Powered,
        tests::{Always, MACS, Wanted, job},
    };
    use recovery_protocol::operator::{Chain, Power};

    fn endpoint() -> EndpointId {
        "press-01".parse().unwrap()
    }

    async fn power(
        desk: &Arc<Desk>,
        power: Power,
        proves: bool,
        ms: u64,
        still: &dyn Still,
    ) -> Result<Powered, PowerError> {
        let drivers = Drivers::default().with_in_band(Arc::clone(desk), Duration::from_millis(ms));
        let (id, macs) = (endpoint(), &MACS);
        let target =
            Target { power: &power, macs, chain: Chain::Auto, round: 1, job: job(), endpoint: &id, proves };
        drivers.power_into_network(&target, still).await
    }

    #[tokio::test]
    async fn the_order_is_given_once_and_to_the_agent_of_this_endpoint_alone() {
        let desk = Arc::new(Desk::default());
        let (asked, agent) = (Arc::clone(&desk), Arc::clone(&desk));
        let agent = async move {
            while agent.waits_for(&endpoint()).is_none() {
                tokio::task::yield_now().await;
            }
            assert_eq!(agent.waits_for(&"press-02".parse().unwrap()), None);
            assert!(!agent.give(&endpoint(), JobId::new(9, [9; 10])), "another job's");
            assert!(agent.give(&endpoint(), job()));
            assert!(!agent.give(&endpoint(), job()), "twice");
        };
        let (powered, ()) = tokio::join!(power(&asked, Power::InBand, true, 60_000, &Always), agent);
        assert_eq!(powered, Ok(Powered::Confirmed { by: "in-band".to_owned() }));
    }

    #[tokio::test]
    async fn who_does_not_come_or_can_prove_nothing_is_left_to_the_next_driver_or_a_person() {
        let desk = Arc::new(Desk::default());
        for (proves, why) in [(true, "did not come"), (false, "no TPM is on record")] {
            let asked = power(&desk, Power::InBand, proves, 30, &Always).await.unwrap();
            let Powered::Asked { task } = asked else { panic!("{asked:?}") };
            assert!(task.contains(why) && task.contains("network boot"), "{task}");
            let of = vec![Power::InBand, Power::Person];
            let asked = power(&desk, Power::Several { of }, proves, 30, &Always).await.unwrap();
            assert!(matches!(asked, Powered::Asked { .. }), "{asked:?}");
            assert_eq!(desk.waits_for(&endpoint()), None, "nothing waits for it any more");
        }
    }

    #[tokio::test]
    async fn a_job_that_is_stopped_takes_its_order_off_the_desk() {
        let desk = Arc::new(Desk::default());
        for times in [0, 1, 2] {
            let stopped = power(&desk, Power::InBand, true, 60_000, &Wanted::times(times)).await;
            assert_eq!(stopped, Err(PowerError::Withdrawn));
            assert_eq!(desk.waits_for(&endpoint()), None);
        }
    }
}
