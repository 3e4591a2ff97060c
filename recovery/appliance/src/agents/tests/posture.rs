//! An endpoint that is what its image predicts and lacks what its blueprint asks for by now: for a person, and no trigger.

use super::{with_tpm::*, *};
use crate::attest::tests::paper::Boot;

const FLOOR: &str = "tpm_firmware_min = 9\n[groups.default]\nmode = \"auto\"\ncool_down_s = 0\n";

/// The restored system proves itself again: whether that was accepted.
async fn again(site: &Site, tpm: &Tpm, boot: &Boot) -> String {
    let challenge = site.challenged(&tpm.hello(BootedAs::GoldenSystem, None)).await;
    match site.prove(&tpm.proof(&challenge, boot, None)).await {
        Ok(_) => "accepted".to_owned(),
        Err(problem) => problem.code,
    }
}

#[tokio::test]
async fn a_floor_for_tpm_firmware_triggers_nothing_and_its_recovery_is_held_before_it_fences() {
    let (site, mut tpm) = (Site::with_tpm(FLOOR).await, Tpm::new());
    site.recovered(&mut tpm).await;
    // As if the floor were raised now: the TPM says less than it.
    tpm.firmware = 8;
    for _ in 0..3 {
        assert_eq!(again(&site, &tpm, &Boot::golden_plain()).await, "accepted");
    }
    assert_eq!(site.service.jobs(None).await.unwrap().len(), 1, "no recovery begins by itself");
    let alarms = site.facts_of("alarm.posture").await;
    assert_eq!((alarms.len(), &alarms[0]["lacks"][0]["finding"]), (1, &"tpm_firmware_old".into()));
    // What a person orders is held while the endpoint still works and has its certificate.
    let job = site.recover().await;
    assert!(site.held_for(HoldReason::TpmFirmwareOld).await, "{:?}", job.state);
    assert_eq!(site.service.revoked_certificates().await.unwrap().len(), 0, "nothing was taken from it");
    // Resumed, the proof tells: first that it was not updated, then that it was.
    let decision = || Decision { reason: "updated it at the bench".to_owned() };
    site.service.resume(&anna(), job.job, decision()).await.unwrap();
    site.runner.settle().await.unwrap();
    assert_eq!(code(site.proven(&tpm, &Boot::recovery_ipxe()).await), "tpm-firmware-old");
    assert!(site.held_for(HoldReason::TpmFirmwareOld).await);
    tpm.firmware = 9;
    site.service.resume(&anna(), job.job, decision()).await.unwrap();
    site.runner.settle().await.unwrap();
    site.proven(&tpm, &Boot::recovery_ipxe()).await.unwrap();
}

#[tokio::test]
async fn an_old_tpm_excuses_nothing_else_that_is_wrong() {
    let (site, mut tpm) = (Site::with_tpm(FLOOR).await, Tpm::new());
    site.recovered(&mut tpm).await;
    tpm.firmware = 8;
    for _ in 0..2 {
        assert_eq!(again(&site, &tpm, &Boot::recovery_ipxe()).await, "golden-not-proven");
    }
    assert_eq!(site.service.jobs(None).await.unwrap().len(), 2, "an integrity failure is one");
}
