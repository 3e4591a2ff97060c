//! STOP for the whole site: what it holds, what it refuses while it stands, who releases it.

use recovery_protocol::operator::Mode;

use super::*;
use crate::{
    db::stop::Release,
    jobs::job::{Outcome, Proof, What},
};

const PAST: u64 = 61 * 60 * 1000;

fn why(reason: &str) -> Decision {
    Decision { reason: reason.to_owned() }
}

/// As it is in the database, put into a stage.
async fn put_in(
    bench: &Bench,
    job: recovery_protocol::JobId,
    stage: recovery_protocol::job::Stage,
    touched: bool,
) {
    let mut tx = bench.journal.begin().await.unwrap();
    let mut row = db::job::get(tx.conn(), job).await.unwrap().unwrap();
    row.job.state = JobState::Working { stage };
    row.job.touched = touched;
    if touched && stage == recovery_protocol::job::Stage::Imaging {
        row.job.disk = "S7".to_owned();
        row.job.erasing = Some(recovery_protocol::erase::EraseMethod::SanitizeBlock);
    }
    db::job::put(tx.conn(), &row).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn stop_holds_what_could_write_and_lets_finish_what_is_whole() {
    use recovery_protocol::job::Stage;
    let (bench, runner) = bench("max_concurrent = 9").await;
    let mut jobs = Vec::new();
    for n in 1..=4 {
        jobs.push(bench.recover(&format!("press-{n:02}")).await.job);
    }
    runner.settle().await.unwrap();
    put_in(&bench, jobs[1], Stage::Imaging, true).await;
    put_in(&bench, jobs[2], Stage::OsWait, true).await;
    put_in(&bench, jobs[3], Stage::Admitted, false).await;
    assert!(bench.journal.tickets.find("52:54:00:00:00:01".parse().unwrap(), bench.journal.now()).is_some());
    let anna = Actor::operator("anna");
    let stop = bench.service.press_stop(&anna, why("smoke in hall 3")).await.unwrap().stop.unwrap();
    assert_eq!((stop.jobs_held, stop.pressed_by.as_str()), (3, "operator:anna"));
    let [goes_on] = &stop.goes_on[..] else { panic!("{:?}", stop.goes_on) };
    assert!(goes_on.starts_with("press-02: Its disk S7 erases itself (sanitize block)"), "{goes_on}");
    assert_eq!(
        bench.service.stop().await.unwrap().stop.unwrap().goes_on,
        stop.goes_on,
        "and whoever looks later"
    );
    for (job, disk) in [(jobs[0], "not touched"), (jobs[1], "does not boot"), (jobs[3], "not touched")] {
        let view = bench.service.job(job).await.unwrap();
        assert!(held(&view, HoldReason::SiteStopped), "{:?}", view.state);
        assert!(view.what.contains("smoke in hall 3") && view.what.contains(disk), "{}", view.what);
    }
    let view = bench.service.job(jobs[2]).await.unwrap();
    assert_eq!(view.state, JobState::Working { stage: Stage::OsWait });
    assert!(
        bench.journal.tickets.find("52:54:00:00:00:01".parse().unwrap(), bench.journal.now()).is_none(),
        "nothing boots our agent"
    );
    // The order stands before what it did.
    let kinds = bench.evidence(None).await;
    let at = kinds.iter().position(|kind| kind == "order.stop").unwrap();
    assert_eq!(kinds[at + 1..].iter().filter(|kind| *kind == "transition").count(), 3);
    // What was under way on the outside and ends now changes nothing.
    runner.settle().await.unwrap();
    assert!(held(&bench.service.job(jobs[0]).await.unwrap(), HoldReason::SiteStopped));
}

#[tokio::test]
async fn while_stop_stands_nothing_is_begun_approved_or_resumed() {
    let (bench, runner) = bench("mode = \"auto\"\nsafety_class = 0\nmax_concurrent = 9").await;
    let anna = Actor::operator("anna");
    let waiting = bench.service.trigger(trigger(1, "a", TriggerClass::Alert, true)).await.unwrap();
    let TriggerDecision::AwaitsApproval(waiting) = waiting.decision else { panic!("{waiting:?}") };
    runner.settle().await.unwrap();
    let pairing = bench.recover("press-02").await.job;
    let ordered = bench.recover("press-03").await.job;
    runner.settle().await.unwrap();
    let reason = HoldReason::PairingNeeded;
    bench.journal.event(pairing, "agent", What::PairingShown).await.unwrap();
    assert!(held(&bench.service.job(pairing).await.unwrap(), reason));
    bench.service.press_stop(&anna, why("")).await.unwrap();

    let refused = |answer: Result<JobView, Problem>| {
        let problem = answer.unwrap_err();
        assert_eq!((problem.status, problem.code.as_str()), (409, "site-stopped"));
        assert!(problem.detail.contains("operator:anna"), "{}", problem.detail);
    };
    let service = &bench.service;
    refused(service.recover(&anna, &id(4), Default::default()).await);
    refused(service.approve(&anna, waiting, service.job(waiting).await.unwrap().approval("")).await);
    refused(service.resume(&anna, ordered, Decision::default()).await);
    let permit = service.drill_permit(&id(4)).await.unwrap();
    refused(service.propose_drill(&anna, permit, "d1", None).await);
    // By no other way either: the journal itself takes no step into acting.
    for (job, what) in [
        (pairing, What::HardwareProven { session: "s".into(), proof: Proof::Paired }),
        (waiting, What::Approve { by: "operator:anna".into() }),
        (ordered, What::Resume { by: "operator:anna".into() }),
    ] {
        let answer = bench.journal.event(job, "agent", what.clone()).await;
        assert!(answer.unwrap_err().to_string().contains("STOP"), "{what:?}");
    }
    assert!(observed(&integrity(&bench, 4, "z").await, "pressed STOP"));
    let given_up = service.cancel(&anna, ordered, Decision::default()).await.unwrap();
    assert!(given_up.state.is_over(), "giving up is always possible");
    assert_eq!(service.jobs(Some(&id(4))).await.unwrap(), []);
}

#[tokio::test]
async fn a_job_that_was_proposed_before_is_not_let_in_while_it_stands() {
    let (bench, runner) = bench("").await;
    let job = bench.recover("press-01").await.job;
    let anna = Actor::operator("anna");
    bench.service.press_stop(&anna, why("")).await.unwrap();
    let (bert, carl) = (Actor::operator("bert"), Actor::operator("carl"));
    bench.service.release_stop(&bert, why("found")).await.unwrap();
    assert_eq!(bench.service.release_stop(&carl, why("found")).await.unwrap().stop, None);
    bench.service.resume(&anna, job, Decision::default()).await.unwrap();
    // Pressed again between the order to resume and the guard rails' answer.
    let mut tx = bench.journal.begin().await.unwrap();
    let stop = db::stop::Stop {
        pressed: tx.at,
        pressed_by: "operator:anna".into(),
        reason: String::new(),
        jobs_held: 0,
        first: None,
    };
    db::stop::press(tx.conn(), &stop).await.unwrap();
    tx.commit().await.unwrap();
    runner.settle().await.unwrap();
    assert!(held(&bench.service.job(job).await.unwrap(), HoldReason::GuardRail));
}

#[tokio::test]
async fn two_people_release_it_each_with_a_reason_and_in_time() {
    let (bench, _) = bench("").await;
    let (anna, bert) = (Actor::operator("anna"), Actor::operator("bert"));
    let service = &bench.service;
    let code = |answer: Result<recovery_protocol::stop::StopAnswer, Problem>| answer.unwrap_err().code;
    assert_eq!(code(service.release_stop(&anna, why("x")).await), "not-stopped");
    service.press_stop(&anna, why("")).await.unwrap();
    assert_eq!(code(service.release_stop(&anna, why(" ")).await), "reason-missing");
    let first = service.release_stop(&anna, why("false alarm")).await.unwrap().stop.unwrap();
    assert_eq!(first.release.unwrap().by, "operator:anna");
    assert_eq!(code(service.release_stop(&anna, why("really")).await), "second-person-needed");
    // Pressed again: what was released before is void.
    let again = service.press_stop(&bert, why("still smoke")).await.unwrap().stop.unwrap();
    assert_eq!((again.release, again.pressed_by.as_str()), (None, "operator:anna"));
    let first = service.release_stop(&bert, why("out")).await.unwrap().stop.unwrap();
    assert_eq!(first.release.unwrap().by, "operator:bert", "a first one again");
    // Too old to count.
    let mut tx = bench.journal.begin().await.unwrap();
    let old = Release { by: "operator:bert".into(), reason: "out".into(), at: tx.at - PAST };
    db::stop::first(tx.conn(), Some(&old)).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(service.stop().await.unwrap().stop.unwrap().release, None);
    assert!(service.release_stop(&anna, why("out")).await.unwrap().stop.is_some());
    assert_eq!(service.release_stop(&bert, why("out")).await.unwrap().stop, None);
    let kinds = bench.evidence(None).await;
    let count = |wanted: &str| kinds.iter().filter(|kind| *kind == wanted).count();
    assert_eq!((count("order.stop"), count("order.stop-release"), count("order.stop-released")), (2, 3, 1));
    assert!(service.recover(&anna, &id(1), Default::default()).await.is_ok());
}

#[tokio::test]
async fn an_effect_that_was_on_its_way_when_stop_was_pressed_moves_nothing() {
    let (bench, runner) = bench("").await;
    let job = bench.recover("press-01").await;
    assert_eq!(job.mode, Mode::Real);
    let intent = {
        let mut conn = bench.journal.db.read().await.unwrap();
        db::job::intents(&mut conn).await.unwrap()[0].intent
    };
    bench.service.press_stop(&Actor::operator("anna"), why("")).await.unwrap();
    let late = What::Done { intent, outcome: Outcome::Done };
    bench.journal.event(job.job, "appliance", late).await.unwrap_err();
    runner.settle().await.unwrap();
    assert!(held(&bench.service.job(job.job).await.unwrap(), HoldReason::SiteStopped));
}

#[tokio::test]
async fn stop_names_a_disk_that_still_erases_itself_though_its_job_is_over() {
    use recovery_protocol::{job::Stage, stop::StopView};
    let (bench, runner) = bench("max_concurrent = 9").await;
    let job = bench.recover("press-01").await.job;
    runner.settle().await.unwrap();
    put_in(&bench, job, Stage::Imaging, true).await;
    let anna = Actor::operator("anna");
    // Held first, then given up.
    for _ in 0..2 {
        bench.service.cancel(&anna, job, Decision::default()).await.unwrap();
    }
    assert!(bench.service.job(job).await.unwrap().state.is_over());
    let named =
        |stop: Option<StopView>| stop.unwrap().goes_on.iter().filter(|what| what.contains("S7")).count();
    assert_eq!(named(bench.service.press_stop(&anna, why("smoke")).await.unwrap().stop), 1);
    let mut conn = bench.journal.db.read().await.unwrap();
    let later = bench.journal.now() + 48 * 3_600_000 + 60_000;
    assert_eq!(named(super::super::stop::show(&mut conn, later).await.unwrap()), 0, "none takes longer");
}
