//! What an agent reports of its disk's health: shown, written down, and held where the disk itself says so.

use recovery_protocol::health::{DiskHealth, HealthFigures, HealthState};

use super::*;

#[tokio::test]
async fn what_a_disk_says_of_its_health_is_shown_and_written_down_within_bounds() {
    let site = Site::of("enrolment = \"none\"\n", Vec::new(), Expectations::default()).await;
    site.recover().await;
    let session = site.paired().await;
    let order = site.ordered(&session).await;
    let figures = HealthFigures { reallocated_sectors: Some(3), ..HealthFigures::default() };
    let reasons = vec!["3 sectors \u{1b}[2Jwere replaced".repeat(9); 99];
    let health = Box::new(DiskHealth { state: HealthState::Worn, reasons, figures });
    let planned =
        Reported::Planned { plan: PlanFacts::default(), disk: disk_facts(), preserved: Vec::new(), health };
    assert_eq!(
        site.report(&session, &order, planned).await.unwrap(),
        ReportReply::Continue,
        "it holds nothing"
    );
    let said = site.evidence("report.planned").await["health"].clone();
    assert_eq!(
        (&said["state"], &said["figures"]),
        (&"worn".into(), &serde_json::json!({ "reallocated_sectors": 3 }))
    );
    let kept = site.service.job(order.job).await.unwrap().disk_health.unwrap();
    assert_eq!(serde_json::to_value(&kept).unwrap(), said);
    assert!(kept.reasons.len() == 8 && kept.reasons.iter().all(|reason| reason.len() == 128));
    assert!(!kept.to_string().contains('\u{1b}'), "what an endpoint says moves no cursor");
}

#[tokio::test]
async fn a_disk_that_says_it_is_failing_holds_the_job_by_that_name() {
    let site = Site::new().await;
    site.recover().await;
    let session = site.paired().await;
    let order = site.ordered(&session).await;
    let detail = "1.0 GB nvme serial S1 says of itself: failing: it is not reliable any more".to_owned();
    let refused = Reported::Refused { reason: HoldReason::DiskFailing, detail };
    site.report(&session, &order, refused).await.unwrap();
    let job = site.service.job(order.job).await.unwrap();
    let JobState::Held { reason, detail, .. } = &job.state else { panic!("{:?}", job.state) };
    assert!(*reason == HoldReason::DiskFailing && detail.contains("not reliable"));
    assert!(job.what_now.contains("Replace it"), "{}", job.what_now);
}
