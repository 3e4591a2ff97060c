//! A job that is stopped or cancelled while its endpoint is powered: nothing is switched after that, and no override is left behind.

use super::*;

/// When, in the act of a driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// It has not switched anything yet.
    Looking,
    /// It has.
    Switching,
}

/// What a person does then.
pub struct During {
    at: Moment,
    what: What,
    journal: Arc<Journal>,
    job: JobId,
}

impl World {
    /// The person acts, once; and what follows from that at once is done beside the act.
    pub async fn meanwhile(&self, now: Moment) {
        let due = self.during.lock().unwrap().take_if(|during| during.at == now);
        let Some(During { what, journal, job, .. }) = due else { return };
        journal.event(job, "operator:anna", what).await.unwrap();
    }
}

fn by() -> String {
    "operator:anna".to_owned()
}

/// What was done to the endpoint, and the job after it.
async fn powered(at: Moment, what: What) -> (Vec<&'static str>, JobState) {
    let site = Site::new();
    let life = site.open(Death::default()).await.unwrap();
    site.order(&life).await.unwrap();
    let job = site.job.lock().unwrap().unwrap();
    *site.world.during.lock().unwrap() = Some(During { at, what, journal: life.journal.clone(), job });
    life.runner.settle().await.unwrap();
    assert!(site.world.during.lock().unwrap().is_none(), "nobody was powered");
    let mut conn = life.journal.db.read().await.unwrap();
    assert_eq!(db::job::intents(&mut conn).await.unwrap(), [], "an intent was left open");
    let row = db::job::get(&mut conn, job).await.unwrap().unwrap();
    drop(conn);
    life.journal.db.close().await;
    let mut done = site.world.done.lock().unwrap().clone();
    done.retain(|done| *done != "fence");
    (done, row.job.state)
}

#[tokio::test]
async fn a_stop_or_a_cancel_before_the_power_is_switched_keeps_it_from_being_switched() {
    let (done, state) = powered(Moment::Looking, What::SiteStop { by: by() }).await;
    assert!(!done.contains(&"power"), "{done:?}");
    assert!(matches!(state, JobState::Held { reason: HoldReason::SiteStopped, .. }), "{state:?}");
    let (done, state) = powered(Moment::Looking, What::Cancel { by: by() }).await;
    assert!(!done.contains(&"power"), "{done:?}");
    assert!(matches!(state, JobState::Cancelled { stage: Stage::Powering }), "{state:?}");
}

#[tokio::test]
async fn one_that_is_stopped_while_the_power_is_switched_leaves_no_override() {
    for what in [What::SiteStop { by: by() }, What::Cancel { by: by() }] {
        let (done, _) = powered(Moment::Switching, what).await;
        assert_eq!(done[..2], ["power", "clear"], "{done:?}");
    }
}

/// It is there already: its power is not cut from under it, and what it boots next is cleared when its disk is whole.
#[tokio::test]
async fn a_recovery_system_that_says_hello_meanwhile_is_not_switched_off() {
    let (done, state) = powered(Moment::Looking, What::AgentHello).await;
    assert_eq!((done, state), (vec![], JobState::Working { stage: Stage::Proving }));
}
