//! One endpoint's power is in one hand at a time, and nobody clears an override that a later job has set.

use tokio::sync::{Notify, Semaphore};

use super::*;
use crate::jobs::job::Duty;

/// A BMC that takes its time: it ends an act when it is let.
struct Slow {
    began: Notify,
    may_end: Semaphore,
    log: Mutex<Vec<&'static str>>,
}

impl Slow {
    fn note(&self, what: &'static str) {
        self.log.lock().unwrap().push(what);
    }
}

impl PowerDriver for Slow {
    fn power_into_network<'a>(
        &'a self,
        _: &'a Target<'a>,
        still: &'a dyn Still,
    ) -> BoxFuture<'a, Result<Powered, PowerError>> {
        Box::pin(async {
            still.wanted().await?;
            self.note("begins");
            self.began.notify_one();
            self.may_end.acquire().await.unwrap().forget();
            self.note("ends");
            Ok(Powered::Confirmed { by: "slow".to_owned() })
        })
    }

    fn probe<'a>(&'a self, _: &'a Target<'a>) -> BoxFuture<'a, bool> {
        Box::pin(async { false })
    }

    fn stands<'a>(&'a self, _: &'a Target<'a>) -> BoxFuture<'a, Option<Left>> {
        Box::pin(async { None })
    }

    fn clear_boot<'a>(&'a self, _: &'a Target<'a>) -> BoxFuture<'a, Result<(), PowerError>> {
        Box::pin(async {
            self.note("clear");
            Ok(())
        })
    }
}

/// What is to be done for a job now.
async fn intent_of(life: &Life, job: JobId) -> db::job::Intent {
    let intents = db::job::intents(&mut life.journal.db.read().await.unwrap()).await.unwrap();
    intents.into_iter().find(|intent| intent.job == job).unwrap()
}

/// Acts for this job alone until it is in a stage.
pub async fn until(life: &Life, job: JobId, stage: Stage) {
    loop {
        let row = db::job::get(&mut life.journal.db.read().await.unwrap(), job).await.unwrap().unwrap();
        if row.job.state == (JobState::Working { stage }) {
            return;
        }
        life.runner.try_act(&intent_of(life, job).await).await.unwrap();
    }
}

#[tokio::test]
async fn an_act_waits_for_the_one_before_it_on_the_same_endpoint_and_not_for_others() {
    let (site, log) = (Site::new(), Mutex::default());
    let slow = Arc::new(Slow { began: Notify::new(), may_end: Semaphore::new(0), log });
    let mut life = site.open(Death::default()).await.unwrap();
    let (plane, live) = (site.world.clone(), Arc::new(Live::default()));
    life.runner = Runner::new(life.journal.clone(), life.golden.clone(), slow.clone(), plane, live);
    site.order(&life).await.unwrap();
    let job = site.job.lock().unwrap().unwrap();
    until(&life, job, Stage::Powering).await;
    let powering = intent_of(&life, job).await;
    let meanwhile = async {
        slow.began.notified().await;
        // Its limit passes: the next power cycle is due while the first one is under way.
        site.clock.0.fetch_add(601_000, Ordering::SeqCst);
        life.runner.tick().await.unwrap();
        until(&life, job, Stage::Powering).await;
        let next = intent_of(&life, job).await;
        assert_ne!(next, powering);
        let mut second = std::pin::pin!(life.runner.try_act(&next));
        let beside = tokio::time::timeout(std::time::Duration::from_millis(300), &mut second).await;
        assert!(beside.is_err(), "two acts on one endpoint at once");
        let other = site.order_for(&life, &"press-02".parse().unwrap(), 2).await.unwrap();
        until(&life, other, Stage::Powering).await;
        let others = intent_of(&life, other).await;
        slow.may_end.add_permits(3);
        let (second, other) = tokio::join!(second, life.runner.try_act(&others));
        second.and(other).unwrap();
    };
    let (first, ()) = tokio::join!(life.runner.try_act(&powering), meanwhile);
    first.unwrap();
    assert_eq!(slow.log.lock().unwrap().iter().filter(|what| **what == "ends").count(), 3);
    let row = db::job::get(&mut life.journal.db.read().await.unwrap(), job).await.unwrap().unwrap();
    assert_eq!(row.job.state, JobState::Working { stage: Stage::AgentWait });
}

#[tokio::test]
async fn a_held_job_takes_its_override_back_and_not_the_one_that_it_sets_when_it_was_resumed() {
    let site = Site::new();
    let life = site.open(Death::default()).await.unwrap();
    site.order(&life).await.unwrap();
    let job = site.job.lock().unwrap().unwrap();
    until(&life, job, Stage::AgentWait).await;
    let by = || "operator:anna".to_owned();
    life.journal.event(job, "operator:anna", What::SiteStop { by: by() }).await.unwrap();
    let clears = intent_of(&life, job).await;
    assert_eq!(clears.duty, Duty::ClearBoot);
    life.journal.event(job, "operator:anna", What::Resume { by: by() }).await.unwrap();
    loop {
        let mut conn = life.journal.db.read().await.unwrap();
        let intents = db::job::intents(&mut conn).await.unwrap();
        drop(conn);
        let Some(next) = intents.into_iter().find(|intent| intent.duty != Duty::ClearBoot) else { break };
        life.runner.try_act(&next).await.unwrap();
    }
    assert_eq!(site.world.count("power"), 2);
    life.runner.try_act(&clears).await.unwrap();
    assert_eq!(site.world.count("clear"), 0, "its own new override is gone");
    life.journal.event(job, "operator:anna", What::SiteStop { by: by() }).await.unwrap();
    life.runner.settle().await.unwrap();
    assert_eq!(site.world.count("clear"), 1);
}

#[tokio::test]
async fn an_override_of_a_job_that_rests_and_cannot_be_taken_back_is_an_alarm() {
    let by = || "operator:anna".to_owned();
    for what in [What::SiteStop { by: by() }, What::Cancel { by: by() }] {
        for fails in [0, 1] {
            let site = Site::new();
            site.world.clear_fails.store(fails, Ordering::SeqCst);
            let life = site.open(Death::default()).await.unwrap();
            site.order(&life).await.unwrap();
            let job = site.job.lock().unwrap().unwrap();
            until(&life, job, Stage::AgentWait).await;
            life.journal.event(job, "operator:anna", what.clone()).await.unwrap();
            life.runner.settle().await.unwrap();
            let told = evidence::tests::exported(&life.journal.db).await;
            assert_eq!(told.contains("alarm.override-left"), fails == 1, "{what:?}");
        }
    }
}

#[tokio::test]
async fn what_a_cancelled_job_has_to_clear_is_left_where_a_later_job_boots_the_endpoint() {
    let site = Site::new();
    let life = site.open(Death::default()).await.unwrap();
    site.order(&life).await.unwrap();
    let old = site.job.lock().unwrap().unwrap();
    until(&life, old, Stage::AgentWait).await;
    life.journal.event(old, "operator:anna", What::Cancel { by: "operator:anna".to_owned() }).await.unwrap();
    let clears = intent_of(&life, old).await;
    let new = site.order_for(&life, &endpoint_id(), 2).await.unwrap();
    until(&life, new, Stage::AgentWait).await;
    life.runner.try_act(&clears).await.unwrap();
    assert_eq!(site.world.count("clear"), 0, "the new job's override is gone");
    life.journal.event(new, "operator:anna", What::Cancel { by: "operator:anna".to_owned() }).await.unwrap();
    life.runner.settle().await.unwrap();
    assert_eq!(site.world.count("clear"), 1);
}

impl super::Death {
    /// From now on it dies so; `i64::MAX`: it lives.
    pub fn next_at(&self, commits: i64, after: bool) {
        self.after.store(after, Ordering::SeqCst);
        self.commits.store(commits, Ordering::SeqCst);
    }
}
