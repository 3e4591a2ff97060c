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

/// The state of a job whose endpoint a driver switched off and did not bring up again, and how the job says that it was left.
async fn left_off(at: Option<(Moment, What)>) -> (JobState, Option<String>, Site) {
    let site = Site::new();
    let life = site.open(Death::default()).await.unwrap();
    site.order(&life).await.unwrap();
    let job = site.job.lock().unwrap().unwrap();
    site.world.power_stays_off.store(if at.is_some() { 1 } else { 99 }, Ordering::SeqCst);
    *site.world.during.lock().unwrap() =
        at.map(|(at, what)| During { at, what, journal: life.journal.clone(), job });
    for _ in 0..4 {
        life.runner.settle().await.unwrap();
        site.clock.0.fetch_add(100_000, Ordering::SeqCst);
    }
    let mut conn = life.journal.db.read().await.unwrap();
    let row = db::job::get(&mut conn, job).await.unwrap().unwrap();
    assert_eq!(db::job::intents(&mut conn).await.unwrap(), [], "an intent was left open");
    drop(conn);
    let alarm = evidence::tests::exported(&life.journal.db).await.contains("alarm.left-off");
    assert_eq!(alarm, row.job.left.is_some(), "an alarm, and only then");
    life.journal.db.close().await;
    (row.job.state, row.job.left, site)
}

#[tokio::test]
async fn an_endpoint_that_a_driver_left_off_when_its_job_was_stopped_is_named_to_a_person() {
    for what in [What::SiteStop { by: by() }, What::Cancel { by: by() }] {
        let (state, left, _) = left_off(Some((Moment::Switching, what))).await;
        assert!(!matches!(state, JobState::Working { .. }), "{state:?}");
        assert!(left.as_ref().is_some_and(|left| left.contains("switch it on")), "{left:?}");
    }
}

#[tokio::test]
async fn one_that_stays_off_whatever_is_tried_is_named_and_one_that_comes_up_is_not() {
    let (state, left, _) = left_off(None).await;
    assert!(matches!(state, JobState::Held { reason: HoldReason::PowerFailed, .. }), "{state:?}");
    assert!(left.is_some());
    // Stopped before anything was switched.
    let (_, left, _) = left_off(Some((Moment::Looking, What::SiteStop { by: by() }))).await;
    assert_eq!(left, None);
}

#[tokio::test]
async fn what_a_driver_left_off_is_forgotten_once_it_was_powered() {
    let site = Site::new();
    site.world.power_stays_off.store(1, Ordering::SeqCst);
    let life = site.open(Death::default()).await.unwrap();
    site.order(&life).await.unwrap();
    let job = site.job.lock().unwrap().unwrap();
    life.runner.settle().await.unwrap();
    let row = db::job::get(&mut life.journal.db.read().await.unwrap(), job).await.unwrap().unwrap();
    assert!(row.job.left.is_some(), "{:?}", row.job.state);
    site.clock.0.fetch_add(100_000, Ordering::SeqCst);
    life.runner.settle().await.unwrap();
    let row = db::job::get(&mut life.journal.db.read().await.unwrap(), job).await.unwrap().unwrap();
    assert_eq!((row.job.state, row.job.left), (JobState::Working { stage: Stage::AgentWait }, None));
}

/// Dies with the power off, or before; the job is stopped or cancelled meanwhile; the next life looks before it forgets the act.
#[tokio::test]
async fn one_that_may_be_off_since_the_appliance_died_is_named_when_its_job_was_stopped_meanwhile() {
    let cases =
        [(Some(Left::Off), true), (Some(Left::Unknown), true), (Some(Left::On), false), (None, false)];
    for ((stands, named), what) in cases
        .into_iter()
        .flat_map(|case| [(case, What::SiteStop { by: by() }), (case, What::Cancel { by: by() })])
    {
        let site = Site::new();
        let life = site.open(Death::default()).await.unwrap();
        site.order(&life).await.unwrap();
        let job = site.job.lock().unwrap().unwrap();
        turns::until(&life, job, Stage::Powering).await;
        life.journal.event(job, "operator:anna", what).await.unwrap();
        life.journal.db.close().await;

        *site.world.stands.lock().unwrap() = stands;
        let life = site.open(Death::default()).await.unwrap();
        life.runner.settle().await.unwrap();
        let mut conn = life.journal.db.read().await.unwrap();
        assert_eq!(db::job::intents(&mut conn).await.unwrap(), [], "an intent was left open");
        let row = db::job::get(&mut conn, job).await.unwrap().unwrap();
        drop(conn);
        assert_eq!(row.job.left.is_some(), named, "{stands:?}: {:?}", row.job.left);
        let told = evidence::tests::exported(&life.journal.db).await;
        assert_eq!(told.contains("alarm.left-off"), named);
        assert_eq!(site.world.count("power"), 0, "nothing is switched for it any more");
    }
}

/// One that was fenced switches nothing, also where the job stands as it did.
#[tokio::test]
async fn a_fenced_appliance_switches_no_power() {
    let site = Site::new();
    let life = site.open(Death::default()).await.unwrap();
    life.journal.db.claim("first", 1).await.unwrap();
    site.order(&life).await.unwrap();
    let job = site.job.lock().unwrap().unwrap();
    turns::until(&life, job, Stage::Powering).await;
    let other = Db::open(&site.database()).await.unwrap();
    let mut tx = other.begin().await.unwrap();
    db::reign::turn(&mut tx, "second", 2).await.unwrap();
    tx.commit().await.unwrap();
    other.close().await;
    let acted = life.runner.settle().await;
    assert!(matches!(acted, Err(DbError::Fenced { .. })), "{acted:?}");
    assert_eq!(site.world.count("power"), 0);
}
