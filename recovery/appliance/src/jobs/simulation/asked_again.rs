//! A recovery that began on a source's word alone: the source is asked once more before anything is written.

use super::*;
use crate::{db::trigger::Delivery, jobs::run::Sources, service::TriggerDecision};

/// What the source says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Says {
    #[default]
    Fails,
    Passes,
    Nothing,
}

impl Sources for World {
    fn fails<'a>(
        &'a self,
        source: &'a str,
        _: &'a EndpointId,
        named: &'a str,
    ) -> BoxFuture<'a, Result<bool, String>> {
        Box::pin(async move {
            assert_eq!((source, named), ("soc", "agent-7"), "as the source calls it");
            self.note("asked");
            match *self.source.lock().unwrap() {
                Says::Fails => Ok(true),
                Says::Passes => Ok(false),
                Says::Nothing => Err("it does not answer".to_owned()),
            }
        })
    }
}

/// What the source reported before, and whether it is over since.
async fn reported(life: &Life, job: JobId, over: bool) {
    let outcome = serde_json::to_string(&TriggerDecision::Started(job)).unwrap();
    let mut tx = life.journal.begin().await.unwrap();
    let first = ["a1#confirmed", "a1#resolved"];
    for delivery in &first[..1 + usize::from(over)] {
        let delivery = Delivery {
            source: "soc",
            delivery,
            endpoint: &endpoint_id(),
            named: "agent-7",
            class: "integrity",
            reason: "it failed",
            confirmed: true,
            received: 1,
            raw_sha256: "",
            outcome: &outcome,
        };
        db::trigger::put(tx.conn(), &delivery).await.unwrap();
    }
    tx.commit().await.unwrap();
}

/// A job whose recovery system has just proven itself, and what came of asking.
async fn proven(says: Says, over: bool) -> (Site, Life, JobId) {
    let site = Site { asks_again: true, ..Site::new() };
    let life = site.open(Death::default()).await.unwrap();
    site.order(&life).await.unwrap();
    let job = site.job.lock().unwrap().unwrap();
    reported(&life, job, over).await;
    life.runner.settle().await.unwrap();
    for what in agent(Stage::AgentWait, 0).into_iter().chain(agent(Stage::Proving, 0)) {
        life.journal.event(job, "agent", what).await.unwrap();
    }
    let row = db::job::get(&mut life.journal.db.read().await.unwrap(), job).await.unwrap().unwrap();
    assert_eq!(
        row.job.state,
        JobState::Working { stage: Stage::Proving },
        "nothing is written before the answer"
    );
    *site.world.source.lock().unwrap() = says;
    life.runner.settle().await.unwrap();
    (site, life, job)
}

async fn now(life: &Life, job: JobId) -> db::job::JobRow {
    db::job::get(&mut life.journal.db.read().await.unwrap(), job).await.unwrap().unwrap()
}

#[tokio::test]
async fn one_that_still_fails_is_written() {
    let (site, life, job) = proven(Says::Fails, false).await;
    assert_eq!(now(&life, job).await.job.state, JobState::Working { stage: Stage::Imaging });
    site.live_on(&life, None).await.unwrap();
    assert_eq!(site.world.count("asked"), 1);
    assert!(evidence::tests::exported(&life.journal.db).await.contains("act.confirm"));
}

#[tokio::test]
async fn one_that_passes_or_is_over_in_the_meantime_is_not_written() {
    for (says, over) in [(Says::Passes, false), (Says::Fails, true)] {
        let (site, life, job) = proven(says, over).await;
        let row = now(&life, job).await;
        assert_eq!(row.job.state, JobState::Cancelled { stage: Stage::Proving });
        assert!(!row.job.touched);
        assert_eq!(site.world.count("asked"), usize::from(!over));
        assert_eq!(site.world.count("clear"), 1, "it boots its disk");
    }
}

#[tokio::test]
async fn silence_is_not_a_yes_and_a_person_may_say_it() {
    let (site, life, job) = proven(Says::Nothing, false).await;
    let row = now(&life, job).await;
    assert!(
        matches!(row.job.state, JobState::Held { reason: HoldReason::TriggerUnconfirmed, .. }),
        "{row:?}"
    );
    assert!(!row.job.touched);
    // Asked again after a resume, it is as silent.
    life.journal.event(job, "operator:anna", What::Resume { by: "operator:anna".to_owned() }).await.unwrap();
    life.runner.settle().await.unwrap();
    for what in agent(Stage::AgentWait, 0).into_iter().chain(agent(Stage::Proving, 0)) {
        life.journal.event(job, "agent", what).await.unwrap();
    }
    life.runner.settle().await.unwrap();
    assert!(matches!(now(&life, job).await.job.state, JobState::Held { .. }));
    assert_eq!(site.world.count("asked"), 2);
    life.journal.event(job, "operator:anna", What::Approve { by: "operator:anna".to_owned() }).await.unwrap();
    site.live_on(&life, None).await.unwrap();
    assert_eq!(now(&life, job).await.job.state, JobState::Recovered);
    assert_eq!(site.world.count("asked"), 2, "a person stands for it");
}
