//! The control plane of the world outside, and a job for whose restored system it vouches.

use recovery_protocol::job::Word;

use super::*;

impl ControlPlane for World {
    fn reset_record<'a>(
        &'a self,
        _: &'a EndpointId,
        generation: u64,
    ) -> BoxFuture<'a, Result<(), PlaneError>> {
        Box::pin(async move {
            *self.plane.lock().unwrap() = (generation, false);
            self.note("fence");
            Ok(())
        })
    }

    fn register<'a>(
        &'a self,
        _: &'a EndpointId,
        generation: u64,
        _: &'a Registration,
    ) -> BoxFuture<'a, Result<(), PlaneError>> {
        Box::pin(async move {
            if Self::fails(&self.plane_fails) {
                return Err(PlaneError::Silent("uplink cut".to_owned()));
            }
            assert_eq!(self.plane.lock().unwrap().0, generation, "registered under the fenced generation");
            self.note("register");
            Ok(())
        })
    }

    fn lift_quarantine<'a>(
        &'a self,
        _: &'a EndpointId,
        generation: u64,
    ) -> BoxFuture<'a, Result<(), PlaneError>> {
        Box::pin(async move {
            if Self::fails(&self.lift_fails) {
                return Err(PlaneError::Silent("uplink cut".to_owned()));
            }
            *self.plane.lock().unwrap() = (generation, true);
            self.note("release");
            Ok(())
        })
    }

    fn observe<'a>(&'a self, _: &'a EndpointId, _: JobId) -> BoxFuture<'a, Result<Observed, PlaneError>> {
        let said = self.plane_sees.lock().unwrap().pop_front().unwrap_or(Observed::Nothing);
        Box::pin(std::future::ready(Ok(said)))
    }

    fn vouches<'a>(&'a self, _: &'a EndpointId) -> BoxFuture<'a, bool> {
        Box::pin(std::future::ready(!self.plane_sees.lock().unwrap().is_empty()))
    }
}

#[tokio::test]
async fn a_control_planes_word_is_waited_for_and_stands_in_evidence_once() {
    let site = Site::new();
    let life = site.open(Death::default()).await.unwrap();
    site.order(&life).await.unwrap();
    let id = site.job.lock().unwrap().unwrap();
    let mut tx = life.journal.begin().await.unwrap();
    let mut row = db::job::get(tx.conn(), id).await.unwrap().unwrap();
    row.job.word = Word::ControlPlane;
    db::job::put(tx.conn(), &row).await.unwrap();
    tx.commit().await.unwrap();
    let not_yet = || Observed::NotYet("it is not online".to_owned());
    // Silence is no word; and what it said is asked for again as often as the quarantine is not lifted.
    let says = [not_yet(), not_yet(), Observed::Nothing, Observed::Passes, Observed::Passes];
    site.world.plane_sees.lock().unwrap().extend(says);
    site.world.lift_fails.store(1, Ordering::SeqCst);
    for _ in 0..400 {
        life.runner.settle().await.unwrap();
        let row = db::job::get(&mut life.journal.db.read().await.unwrap(), id).await.unwrap().unwrap();
        let Some(stage) = row.job.state.stage().filter(|_| !row.job.state.is_over()) else { break };
        assert!(
            !(Stage::OsWait..=Stage::Enrolling).contains(&stage),
            "it waits for a system that says nothing"
        );
        for what in agent(stage, row.job.step_seq) {
            answer(life.journal.event(id, "agent", what).await).unwrap();
        }
        site.clock.0.fetch_add(2_000, Ordering::SeqCst);
    }
    let row = db::job::get(&mut life.journal.db.read().await.unwrap(), id).await.unwrap().unwrap();
    assert_eq!((row.job.state, row.job.golden), (JobState::Recovered, Some(Proof::ControlPlane)));
    assert!(site.world.plane_sees.lock().unwrap().is_empty(), "it was asked until it said so");
    let lines = evidence::tests::exported(&life.journal.db).await;
    let kinds = lines.lines().filter_map(recovery_protocol::evidence::entry).map(|entry| entry.kind);
    assert_eq!(kinds.filter(|kind| kind == "proof.word").count(), 1);
    life.journal.db.close().await;
}
