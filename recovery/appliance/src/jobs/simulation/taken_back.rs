//! What a driver may have set is taken back: in whichever stage the job ends, however long that fails, and also where it was powered by
//! something that is not on record any more.

use super::*;
use crate::service::Actor;

fn by() -> String {
    "operator:anna".to_owned()
}

async fn job_of(life: &Life, job: JobId) -> crate::jobs::job::Job {
    db::job::get(&mut life.journal.db.read().await.unwrap(), job).await.unwrap().unwrap().job
}

async fn open(life: &Life) -> Vec<db::job::Intent> {
    db::job::intents(&mut life.journal.db.read().await.unwrap()).await.unwrap()
}

/// A job whose first power cycle brought nobody, in the second round's stage.
async fn in_round_two(stage: Stage) -> (Site, Life, JobId) {
    let site = Site::new();
    let life = site.open(Death::default()).await.unwrap();
    site.order(&life).await.unwrap();
    let job = site.job.lock().unwrap().unwrap();
    turns::until(&life, job, Stage::AgentWait).await;
    let limit = job_of(&life, job).await.limit_unix_ms.unwrap();
    site.clock.0.store(limit + 1, Ordering::SeqCst);
    life.runner.tick().await.unwrap();
    turns::until(&life, job, stage).await;
    assert_eq!(job_of(&life, job).await.round, 2);
    (site, life, job)
}

#[tokio::test]
async fn what_the_first_round_set_is_taken_back_where_the_second_is_stopped_before_it_powers() {
    for what in [What::SiteStop { by: by() }, What::Cancel { by: by() }] {
        for stage in [Stage::Fenced, Stage::Ticketed] {
            let (site, life, job) = in_round_two(stage).await;
            life.journal.event(job, "operator:anna", what.clone()).await.unwrap();
            life.runner.settle().await.unwrap();
            assert_eq!(site.world.count("clear"), 1, "{what:?} in {stage:?}");
            assert!(!job_of(&life, job).await.boot_set);
            life.journal.db.close().await;
        }
    }
}

#[tokio::test]
async fn what_cannot_be_taken_back_is_tried_until_it_can_and_stands_with_the_job_meanwhile() {
    for what in [What::SiteStop { by: by() }, What::Cancel { by: by() }] {
        let (site, life, job) = in_round_two(Stage::AgentWait).await;
        site.world.clear_fails.store(3, Ordering::SeqCst);
        life.journal.event(job, "operator:anna", what).await.unwrap();
        for failed in 1..=3 {
            life.runner.settle().await.unwrap();
            let now = job_of(&life, job).await;
            assert!(now.boot_left.is_some_and(|why| why.contains("password file")) && now.boot_set);
            assert_eq!((now.clears, open(&life).await.len()), (failed, 1));
            site.clock.0.fetch_add(81_000, Ordering::SeqCst);
        }
        life.runner.settle().await.unwrap();
        let now = job_of(&life, job).await;
        assert_eq!((now.boot_set, now.boot_left, open(&life).await), (false, None, vec![]));
        let told = evidence::tests::exported(&life.journal.db).await;
        assert_eq!(told.matches("act.clear-boot").count(), 2, "the first failure and the end");
        life.journal.db.close().await;
    }
}

#[tokio::test]
async fn a_held_job_that_is_given_up_has_it_taken_back_however_long_that_failed() {
    let (site, life, job) = in_round_two(Stage::AgentWait).await;
    site.world.clear_fails.store(u64::MAX, Ordering::SeqCst);
    life.journal.event(job, "operator:anna", What::SiteStop { by: by() }).await.unwrap();
    life.runner.settle().await.unwrap();
    let limit = job_of(&life, job).await.limit_unix_ms.unwrap();
    site.clock.0.store(limit + 1, Ordering::SeqCst);
    life.runner.tick().await.unwrap();
    assert!(matches!(job_of(&life, job).await.state, JobState::Failed { .. }));
    life.runner.settle().await.unwrap();
    assert_eq!(open(&life).await.len(), 1, "one act tries it, not two");
    site.world.clear_fails.store(0, Ordering::SeqCst);
    site.clock.0.fetch_add(81_000, Ordering::SeqCst);
    life.runner.settle().await.unwrap();
    assert_eq!((site.world.count("clear"), open(&life).await), (1, vec![]));
    life.journal.db.close().await;
}

#[tokio::test]
async fn a_restored_system_is_not_kept_waiting_for_it() {
    let site = Site::new();
    let life = site.open(Death::default()).await.unwrap();
    site.order(&life).await.unwrap();
    let job = site.job.lock().unwrap().unwrap();
    for stage in [Stage::AgentWait, Stage::Proving, Stage::Imaging, Stage::Imaging, Stage::ReadBack] {
        turns::until(&life, job, stage).await;
        for what in agent(stage, job_of(&life, job).await.step_seq) {
            life.journal.event(job, "agent", what).await.unwrap();
        }
    }
    site.world.clear_fails.store(5, Ordering::SeqCst);
    for _ in 0..3 {
        life.runner.settle().await.unwrap();
        site.clock.0.fetch_add(81_000, Ordering::SeqCst);
    }
    let now = job_of(&life, job).await;
    assert_eq!((now.state, now.boot_set), (JobState::Working { stage: Stage::OsWait }, true));
    for stage in [Stage::OsWait, Stage::Verifying, Stage::Enrolling] {
        life.runner.settle().await.unwrap();
        assert_eq!(job_of(&life, job).await.state, JobState::Working { stage }, "a failed try holds nobody");
        for what in agent(stage, 0) {
            life.journal.event(job, "agent", what).await.unwrap();
        }
        site.clock.0.fetch_add(81_000, Ordering::SeqCst);
    }
    life.runner.settle().await.unwrap();
    let now = job_of(&life, job).await;
    assert_eq!((now.state, now.boot_set, site.world.count("clear")), (JobState::Recovered, false, 1));
    assert_eq!(open(&life).await, []);
    life.journal.db.close().await;
}

fn bmc(host: &str, user: &str) -> Power {
    Power::Ipmi { host: host.to_owned(), port: 623, user: user.to_owned(), password_file: "none".to_owned() }
}

#[tokio::test]
async fn it_is_taken_back_at_the_bmc_that_set_it_though_another_one_is_on_record_by_then() {
    let (site, life, job) = in_round_two(Stage::AgentWait).await;
    let actor = Actor::operator("anna");
    // Put on record before, with a password that is corrected; then another BMC.
    for (host, user) in [("10.8.0.1", "gs"), ("10.8.0.1", "admin"), ("10.8.0.2", "gs")] {
        let mut tx = life.journal.begin().await.unwrap();
        let known = db::endpoint::get(tx.conn(), &endpoint_id()).await.unwrap().unwrap();
        let now = endpoint::Record { power: bmc(host, user), ..known.record.clone() };
        crate::service::change::write(&mut tx, &actor, &known, &now, "").await.unwrap();
        tx.commit().await.unwrap();
    }
    assert_eq!(job_of(&life, job).await.powered_by, [bmc("10.8.0.1", "admin")]);
    life.journal.event(job, "operator:anna", What::Cancel { by: by() }).await.unwrap();
    life.runner.settle().await.unwrap();
    assert_eq!(*site.world.cleared.lock().unwrap(), [bmc("10.8.0.1", "admin"), bmc("10.8.0.2", "gs")]);
    assert!(job_of(&life, job).await.powered_by.is_empty());
    life.journal.db.close().await;
}
