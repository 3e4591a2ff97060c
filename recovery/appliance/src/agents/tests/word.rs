//! A restored system that cannot speak for itself.

use recovery_protocol::job::Word;

use super::*;

async fn of(word: &str) -> Site {
    let more = format!("enrolment = \"none\"\nword = \"{word}\"\n");
    Site::of(&more, Vec::new(), Expectations::default()).await
}

#[tokio::test]
async fn a_person_vouches_and_evidence_says_that_it_is_no_proof() {
    let site = of("person").await;
    let job = site.recover().await.job;
    let session = site.paired().await;
    let ticket = site.restore(&session).await;
    let held = site.service.job(job).await.unwrap();
    assert!(
        matches!(held.state, JobState::Held { reason: HoldReason::AwaitingWord, .. }),
        "{:?}",
        held.state
    );
    assert!(held.word == Word::Person && held.what_now.contains("approve"), "{}", held.what_now);

    site.service.approve(&anna(), job, held.approval("live values on the screen")).await.unwrap();
    site.runner.settle().await.unwrap();
    let over = site.service.job(job).await.unwrap();
    assert_eq!((over.state, over.word), (JobState::Recovered, Word::Person));
    assert!(over.what.contains("word of a person, and no proof"), "{}", over.what);
    let facts = site.evidence("proof.word").await;
    assert_eq!((&facts["word"], &facts["by"]), (&"person".into(), &anna().name.into()));
    assert_eq!(facts["reason"], "live values on the screen");
    // It speaks after all, too late for this job: nothing goes wrong by it.
    let late = site.hello(&hello(BootedAs::GoldenSystem, Some(&ticket.secret))).await;
    assert!(late.is_err() && site.service.job(job).await.unwrap().state == JobState::Recovered);
}

#[tokio::test]
async fn without_a_control_plane_that_vouches_nobody_is_fenced() {
    let site = of("control_plane").await;
    let held = site.recover().await;
    assert!(
        matches!(held.state, JobState::Held { reason: HoldReason::NobodyVouches, .. }),
        "{:?}",
        held.state
    );
    assert!(held.what.contains("no control plane whose word is waited for"), "{}", held.what);
    assert!(!site.kinds().await.iter().any(|kind| kind == "act.power" || kind == "proof.word"));
    let mut conn = site.journal.db.read().await.unwrap();
    let endpoint = db::endpoint::get(&mut conn, &held.endpoint).await.unwrap().unwrap();
    assert_eq!(endpoint.generation, 0, "its old identity counts on");
}
