//! Two TPMs with one key: both are held, and a person says which it is.

use super::{with_tpm::*, *};
use crate::attest::tests::paper::Boot;

async fn resolve(site: &Site, replace: bool) -> EndpointView {
    let order =
        serde_json::from_value(serde_json::json!({ "replace": replace, "reason": "the snapshot is gone" }));
    site.service.resolve_conflict(&anna(), &"press-01".parse().unwrap(), order.unwrap()).await.unwrap()
}

/// The restored system proves itself again.
async fn again(site: &Site, tpm: &Tpm) -> String {
    let challenge = site.challenged(&tpm.hello(BootedAs::GoldenSystem, None)).await;
    match site.prove(&tpm.proof(&challenge, &Boot::golden_plain(), None)).await {
        Ok(_) => "accepted".to_owned(),
        Err(problem) => problem.code,
    }
}

#[tokio::test]
async fn a_copy_of_a_tpm_holds_both_until_a_person_resolves_it() {
    let (site, mut tpm) = (Site::with_tpm("").await, Tpm::new());
    site.recovered(&mut tpm).await;
    tpm.resets += 1;
    assert_eq!(again(&site, &tpm).await, "accepted");
    // What an assessment goes by: which system it was, and with which TPM.
    let facts = site.facts_of("proof.quote").await;
    let last = facts.last().unwrap();
    assert_eq!((&last["again"], &last["system"]), (&true.into(), &"golden_system".into()));
    assert!(last["ek_sha256"].as_str().is_some_and(|ek| ek.len() == 64), "{last}");
    tpm.resets -= 1;
    assert_eq!(again(&site, &tpm).await, "tpm-copied", "a snapshot of before the last start");
    tpm.resets += 5;
    assert_eq!(again(&site, &tpm).await, "tpm-copied", "the first one as well: nobody knows which is which");
    let view = site.service.endpoint(&"press-01".parse().unwrap()).await.unwrap();
    assert!(view.conflict.unwrap().why.contains("(check tpm-copied)"));
    assert_eq!(site.kinds().await.iter().filter(|kind| *kind == "identity.conflict").count(), 1);
    assert_eq!(resolve(&site, false).await.conflict, None);
    tpm.resets = 3;
    assert_eq!(again(&site, &tpm).await, "accepted", "it was cleared, somebody says");
    tpm.resets = 2;
    assert_eq!(again(&site, &tpm).await, "tpm-copied");
}

#[tokio::test]
async fn a_recovery_of_a_copy_is_held_before_anything_is_written() {
    let (site, mut tpm) = (Site::with_tpm("").await, Tpm::new());
    site.recovered(&mut tpm).await;
    let job = site.recover().await;
    tpm.resets -= 1;
    assert_eq!(code(site.proven(&tpm, &Boot::recovery_ipxe()).await), "tpm-copied");
    assert!(site.held_for(HoldReason::TpmCopied).await);
    resolve(&site, false).await;
    let decision = Decision { reason: "the TPM was cleared at the bench".to_owned() };
    site.service.resume(&anna(), job.job, decision).await.unwrap();
    site.runner.settle().await.unwrap();
    site.proven(&tpm, &Boot::recovery_ipxe()).await.unwrap();
}
