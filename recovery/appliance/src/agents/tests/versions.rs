//! Agents of another version, and messages that nobody can read.

use super::*;

#[tokio::test]
async fn another_protocol_and_malformed_messages_are_refused_by_name() {
    let site = Site::new().await;
    let mut other = hello(BootedAs::RecoverySystem, None);
    other.protocol = 99;
    assert_eq!(code(site.hello(&other).await), "protocol-unknown");
    // Whatever else it says.
    let newer = serde_json::json!({ "protocol": 99, "greeting": "hello" });
    assert_eq!(code(site.say::<_, HelloReply>("hello", &newer).await), "protocol-unknown");
    let malformed = site.say::<_, HelloReply>("hello", &serde_json::json!({ "protocol": "x" })).await;
    assert_eq!(code(malformed), "message-unreadable");
    let row = db::job::list(&mut site.journal.db.read().await.unwrap(), None, 1).await.unwrap();
    assert!(row.is_empty());
}

#[tokio::test]
async fn an_agent_of_another_version_holds_the_job_that_waits_for_it_and_no_other() {
    let site = Site::new().await;
    let job = site.recover().await;
    let mut other = hello(BootedAs::RecoverySystem, None);
    other.protocol = 2;
    assert_eq!(code(site.hello(&other).await), "protocol-unknown");
    let endpoint = site.service.endpoint(&"press-01".parse().unwrap()).await.unwrap();
    assert!(endpoint.refusal.is_some_and(|said| said.contains("protocol 2, this appliance 1")));
    let held = site.service.job(job.job).await.unwrap();
    let JobState::Held { reason, detail, .. } = &held.state else { panic!("{:?}", held.state) };
    assert_eq!(*reason, HoldReason::AgentVersion);
    assert!(detail.contains("protocol 2") && held.what_now.contains("boot kit"), "{held:?}");

    // Once it has proven itself, an address alone stops nothing.
    let site = Site::new().await;
    site.recover().await;
    let session = site.paired().await;
    let order = site.ordered(&session).await;
    assert_eq!(code(site.hello(&other).await), "protocol-unknown");
    assert_eq!(site.stage(&order).await, Some(Stage::Imaging));
}
