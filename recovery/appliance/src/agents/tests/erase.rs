//! A blueprint that demands an erasure: ordered once for a disk, believed by its way, and in evidence.

use recovery_protocol::erase::{EraseFacts, EraseFound, EraseMethod, ErasePolicy, EraseSamples};

use super::*;

fn erased(method: EraseMethod) -> Reported {
    let facts = EraseFacts {
        policy: ErasePolicy::Purge,
        method,
        found: EraseFound::Nothing,
        reported: vec!["SSTAT 0x0101 \u{1b}[2J".repeat(99); 99],
        seconds: 3,
        samples: EraseSamples { read: 1000, zero: 1000, telling: 300, unchanged: 0 },
    };
    Reported::Erased { facts: Box::new(facts) }
}

fn erasing() -> Reported {
    Reported::Erasing { method: EraseMethod::SanitizeBlock, disk: disk_facts(), health: Box::default() }
}

#[tokio::test]
async fn an_erasure_is_ordered_once_shown_and_written_down() {
    let site =
        Site::of("enrolment = \"none\"\nerase = \"purge\"\n", Vec::new(), Expectations::default()).await;
    site.recover().await;
    let session = site.paired().await;
    let order = site.ordered(&session).await;
    assert_eq!(order.erase, ErasePolicy::Purge);
    assert_eq!(site.evidence("order.restore").await["erase"], "purge");
    // An agent that knows nothing of erasing goes on to write: not with this job.
    let stats = RestoreFacts::default();
    let written = || Reported::Written { stats, sources: Vec::new() };
    assert!(matches!(site.report(&session, &order, written()).await.unwrap(), ReportReply::Abort { .. }));
    for (what, expected) in [
        (erasing(), true),
        (erased(EraseMethod::Overwrite), false),
        (erased(EraseMethod::SanitizeBlock), true),
        (erased(EraseMethod::SanitizeBlock), true),
    ] {
        let reply = site.report(&session, &order, what).await.unwrap();
        assert_eq!(reply == ReportReply::Continue, expected, "{reply:?}");
    }
    assert_eq!(site.evidence("report.erasing").await["method"], "sanitize_block");
    let said = site.evidence("report.erased").await;
    assert_eq!((&said["method"], &said["samples"]["zero"]), (&"sanitize_block".into(), &1000.into()));
    let lines = said["reported"].as_array().unwrap();
    assert!(
        lines.len() == 16
            && lines[0].as_str().unwrap().len() == 250
            && !lines[0].to_string().contains("u001b")
    );
    let shown = site.service.job(order.job).await.unwrap().erased.unwrap();
    assert_eq!(serde_json::to_value(&shown).unwrap(), said);

    // After a power cut the next order does not demand it again.
    let again = site.ordered(&session).await;
    assert_eq!((again.erase, again.step_seq), (ErasePolicy::None, order.step_seq + 1));
    assert_eq!(site.report(&session, &again, written()).await.unwrap(), ReportReply::Continue);
}

#[tokio::test]
async fn a_disk_that_cannot_be_erased_holds_the_job_by_that_name() {
    let site =
        Site::of("enrolment = \"none\"\nerase = \"purge\"\n", Vec::new(), Expectations::default()).await;
    site.recover().await;
    let session = site.paired().await;
    let order = site.ordered(&session).await;
    let detail = "the blueprint demands `purge`, and the disk offers format user data".to_owned();
    let refused = Reported::Refused { reason: HoldReason::EraseUnsupported, detail };
    site.report(&session, &order, refused).await.unwrap();
    let job = site.service.job(order.job).await.unwrap();
    let JobState::Held { reason, .. } = &job.state else { panic!("{:?}", job.state) };
    assert_eq!(*reason, HoldReason::EraseUnsupported);
    assert!(job.what_now.contains("`erase` in the blueprint"), "{}", job.what_now);
}

#[tokio::test]
async fn without_a_demand_nothing_is_erased() {
    let site = Site::new().await;
    site.recover().await;
    let session = site.paired().await;
    let order = site.ordered(&session).await;
    assert_eq!(order.erase, ErasePolicy::None);
    for what in [erasing(), erased(EraseMethod::SanitizeBlock)] {
        assert!(matches!(site.report(&session, &order, what).await.unwrap(), ReportReply::Abort { .. }));
    }
}

#[tokio::test]
async fn an_image_that_preserves_what_is_to_be_erased_holds_the_job_before_anything_is_done() {
    let disk = crate::testing::disk_of(&[(images::disk::ESP_TYPE, 2048, 3071), ([6; 16], 3072, 4061)]);
    let more = "enrolment = \"none\"\nerase = \"discard\"\n";
    let site = Site::with_disk(&disk, "", more, Vec::new(), Expectations::default()).await;
    let job = site.recover().await;
    let JobState::Held { stage: Stage::Admitted, reason, detail } = &job.state else {
        panic!("{:?}", job.state)
    };
    assert_eq!(*reason, HoldReason::EraseConflict);
    assert!(detail.contains("`box` has erase = \"discard\"") && detail.contains("partition"), "{detail}");
    assert!(job.what_now.contains("--give-up-preserved"), "{}", job.what_now);
    site.service.cancel(&anna(), job.job, Decision::default()).await.unwrap();
    let give_up =
        recovery_protocol::operator::RecoverRequest { give_up_preserved: true, ..Default::default() };
    site.service.recover(&anna(), &"press-01".parse().unwrap(), give_up).await.unwrap();
    site.runner.settle().await.unwrap();
    let session = site.paired().await;
    let order = site.ordered(&session).await;
    assert_eq!((order.erase, order.give_up_preserved), (ErasePolicy::Discard, true));
}
