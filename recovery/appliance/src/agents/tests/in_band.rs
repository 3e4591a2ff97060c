//! An endpoint that its own agent reboots: the order goes to whoever has just proven what it runs, once, and to nobody else.

use super::{with_tpm::Tpm, *};
use crate::attest::tests::paper::{self, Boot};
use recovery_protocol::agent::ProofReply;

fn press() -> recovery_protocol::EndpointId {
    "press-01".parse().unwrap()
}

/// Recovered once, and rebooted by its own agent from now on.
async fn site() -> (Site, Tpm) {
    let (site, mut tpm) = (Site::with_tpm("").await, Tpm::new());
    site.recovered(&mut tpm).await;
    let change = serde_json::from_value(serde_json::json!({ "power": { "by": "in_band" } })).unwrap();
    site.service.change_endpoint(&anna(), &press(), change, None).await.unwrap();
    (site, tpm)
}

async fn proves(site: &Site, tpm: &Tpm, boot: &Boot) -> Result<ProofReply, Problem> {
    let challenge = site.challenged(&tpm.hello(BootedAs::GoldenSystem, None)).await;
    site.prove(&tpm.proof(&challenge, boot, None)).await
}

#[tokio::test]
async fn only_who_has_just_proven_what_it_runs_is_told_to_reboot_and_only_once() {
    let (site, tpm) = site().await;
    let good = Boot::golden_plain();
    let idle = proves(&site, &tpm, &good).await.unwrap();
    assert!(matches!(idle, ProofReply::Accepted { reboot_for: None, .. }), "no job, no order: {idle:?}");
    let job = site.service.recover(&anna(), &press(), Default::default()).await.unwrap().job;
    let agent = async {
        while site.live.in_band.waits_for(&press()).is_none() {
            tokio::task::yield_now().await;
        }
        // Without its TPM, by another TPM, by what its image does not predict: nothing.
        let hidden = site.hello(&hello(BootedAs::GoldenSystem, None)).await;
        assert_eq!(code(hidden), "identity-changed");
        assert_eq!(
            code(site.hello(&Tpm::new().hello(BootedAs::GoldenSystem, None)).await),
            "identity-changed"
        );
        let mut bad = Boot::golden_plain();
        let at = bad.find(8, "kernel_cmdline");
        bad.0.events[at] = paper::event(8, bad.0.events[at].kind, b"kernel_cmdline: /vmlinuz init=/bin/sh");
        assert_eq!(code(proves(&site, &tpm, &bad).await), "golden-not-proven");
        assert_eq!(site.live.in_band.waits_for(&press()), Some(job), "it waits for the right one");

        let told = proves(&site, &tpm, &good).await.unwrap();
        assert!(
            matches!(told, ProofReply::Accepted { reboot_for: Some(found), .. } if found == job),
            "{told:?}"
        );
        let again = site.hello(&tpm.hello(BootedAs::GoldenSystem, None)).await.unwrap();
        assert!(matches!(again, HelloReply::Wait { .. }), "it is told once: {again:?}");
    };
    let (settled, ()) = tokio::join!(site.runner.settle(), agent);
    settled.unwrap();
    assert_eq!(site.evidence("act.power").await["by"], "in-band");
    assert_eq!(site.kinds().await.iter().filter(|kind| *kind == "order.reboot").count(), 1);
    let state = site.service.job(job).await.unwrap().state;
    assert_eq!(state, JobState::Working { stage: Stage::AgentWait });
}

#[tokio::test]
async fn a_job_that_is_stopped_meanwhile_gives_no_order() {
    let (site, tpm) = site().await;
    let job = site.service.recover(&anna(), &press(), Default::default()).await.unwrap().job;
    let agent = async {
        while site.live.in_band.waits_for(&press()).is_none() {
            tokio::task::yield_now().await;
        }
        let challenge = site.challenged(&tpm.hello(BootedAs::GoldenSystem, None)).await;
        site.service.cancel(&anna(), job, Decision::default()).await.unwrap();
        let told = site.prove(&tpm.proof(&challenge, &Boot::golden_plain(), None)).await.unwrap();
        assert!(matches!(told, ProofReply::Accepted { reboot_for: None, .. }), "{told:?}");
    };
    let (settled, ()) = tokio::join!(site.runner.settle(), agent);
    settled.unwrap();
    assert_eq!(site.live.in_band.waits_for(&press()), None);
    // Nor where the order was left behind: what the journal says counts.
    site.live.in_band.put(press(), job);
    let told = proves(&site, &tpm, &Boot::golden_plain()).await.unwrap();
    assert!(matches!(told, ProofReply::Accepted { reboot_for: None, .. }), "{told:?}");
    assert!(!site.kinds().await.contains(&"order.reboot".to_owned()));
}
