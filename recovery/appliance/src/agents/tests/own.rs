//! What is an endpoint's own, from its record and its disk into the order, and back into evidence.

use recovery_protocol::agent::{PlacedFile, PreservedFacts};
use recovery_protocol::operator::RecoverRequest;
use recovery_protocol::secure_boot::{SecureBoot, SiteKey};

use super::*;

fn press() -> recovery_protocol::EndpointId {
    "press-01".parse().unwrap()
}

fn record(settings: serde_json::Value) -> recovery_protocol::operator::NewEndpoint {
    let mut new = serde_json::json!({ "endpoint": "press-01", "macs": [MAC], "blueprint": "box" });
    if !settings.is_null() {
        new["settings"] = settings;
    }
    serde_json::from_value(new).unwrap()
}

#[tokio::test]
async fn whether_the_kits_key_is_enrolled_is_our_word_and_not_the_endpoints() {
    let signer = "ab".repeat(32);
    let expectations = Expectations::default().with_signer(&signer);
    let site = Site::of("enrolment = \"none\"\n", Vec::new(), expectations).await;
    let mut said = hello(BootedAs::RecoverySystem, None);
    for (db, expected) in [
        (vec!["cd".repeat(32), signer.clone()], SiteKey::Enrolled),
        (vec!["x".repeat(999); 999], SiteKey::Missing),
    ] {
        let secure_boot = SecureBoot { on: true, db, site_key: SiteKey::Enrolled, ..SecureBoot::default() };
        said.inventory.secure_boot = Some(secure_boot);
        // It is refused for want of a ticket, and what it said of itself is kept.
        assert!(site.hello(&said).await.is_err());
        let kept = site.service.endpoint(&press()).await.unwrap().inventory.unwrap().secure_boot.unwrap();
        assert_eq!(kept.site_key, expected);
        assert!(kept.db.len() <= 64 && kept.db.iter().all(|entry| entry.len() <= 128));
    }
}

#[tokio::test]
async fn a_name_and_addresses_go_from_the_record_into_the_order_and_can_be_said_again() {
    let site = Site::new().await;
    let first = serde_json::json!({
        "hostname": "press-01",
        "interfaces": [{ "mac": MAC, "addresses": ["10.7.3.21/24"], "gateways": ["10.7.3.1"] }],
    });
    let view = site.service.add_endpoint(&anna(), record(first.clone())).await.unwrap();
    assert_eq!(serde_json::to_value(&view.settings).unwrap()["hostname"], "press-01");
    // Not said is not forgotten; said again it is another; said empty it is gone.
    for (said, name) in [
        (serde_json::Value::Null, Some("press-01")),
        (serde_json::json!({ "hostname": "press-1" }), Some("press-1")),
        (serde_json::json!({}), None),
        (first, Some("press-01")),
    ] {
        let view = site.service.add_endpoint(&anna(), record(said)).await.unwrap();
        assert_eq!(view.settings.hostname.as_deref(), name);
    }
    let changes = site.entries().await.into_iter().filter(|entry| entry["kind"] == "order.change").count();
    assert_eq!(changes, 4);

    site.recover().await;
    let session = site.paired().await;
    let order = site.ordered(&session).await;
    assert_eq!(order.settings.interfaces[0].addresses[0].to_string(), "10.7.3.21/24");
    assert!(!order.give_up_preserved);
    assert_eq!((order.endpoint.as_str(), order.drill), ("press-01", false));
}

#[tokio::test]
async fn settings_that_no_endpoint_can_live_by_are_not_put_on_record() {
    let site = Site::new().await;
    for (settings, why) in [
        (serde_json::json!({ "hostname": "press 1" }), "not a host name"),
        (serde_json::json!({ "interfaces": [{ "mac": "52:54:00:00:00:02" }] }), "none of this endpoint's"),
        (
            serde_json::json!({ "interfaces": [{ "mac": MAC, "addresses": ["10.7.3.21/24"], "gateways": ["10.8.0.1"] }] }),
            "10.8.0.1",
        ),
    ] {
        let problem = site.service.add_endpoint(&anna(), record(settings)).await.unwrap_err();
        assert_eq!((problem.status, problem.code.as_str()), (422, "bad-settings"));
        assert!(problem.detail.contains(why), "{}", problem.detail);
    }
    assert!(site.service.endpoint(&press()).await.unwrap().settings.is_empty());
}

#[tokio::test]
async fn what_is_preserved_is_given_up_by_a_new_order_only() {
    let site = Site::new().await;
    let give_up = || RecoverRequest { give_up_preserved: true, ..RecoverRequest::default() };
    let open = site.recover().await;
    // An open job was ordered otherwise: it does not change under the person who approved it.
    let problem = site.service.recover(&anna(), &press(), give_up()).await.unwrap_err();
    assert_eq!(problem.code, "job-open");
    let session = site.paired().await;
    let order = site.ordered(&session).await;
    assert!(!order.give_up_preserved);
    let detail = "the disk's partition table does not have it there".to_owned();
    let refused = Reported::Refused { reason: HoldReason::PreservedMissing, detail };
    site.report(&session, &order, refused).await.unwrap();
    let held = site.service.job(open.job).await.unwrap();
    assert!(held.what_now.contains("--give-up-preserved"), "{}", held.what_now);
    site.service.cancel(&anna(), open.job, Decision::default()).await.unwrap();
    site.runner.settle().await.unwrap();

    let job = site.service.recover(&anna(), &press(), give_up()).await.unwrap();
    site.runner.settle().await.unwrap();
    assert_ne!(job.job, open.job);
    let session = site.paired().await;
    assert!(site.ordered(&session).await.give_up_preserved);
    let orders = site.entries().await.into_iter().filter(|entry| entry["kind"] == "order.restore");
    let said: Vec<bool> = orders.map(|entry| entry["facts"]["give_up_preserved"] == true).collect();
    assert_eq!(said, [false, true]);
}

#[tokio::test]
async fn what_stayed_and_what_was_placed_stands_in_evidence() {
    let site = Site::new().await;
    site.recover().await;
    let session = site.paired().await;
    let order = site.ordered(&session).await;
    let stats = RestoreFacts::default();
    let blake3 = images::Digest::of(b"recipes");
    let stays = PreservedFacts { partition: 3, name: "data".to_owned(), bytes: 16 << 20, blake3 };
    let preserved = vec![stays; 200];
    let plan = PlanFacts { preserve_bytes: 16 << 20, ..PlanFacts::default() };
    for what in [
        Reported::Planned { plan, disk: disk_facts(), preserved: preserved.clone(), health: Box::default() },
        Reported::Written { stats, sources: Vec::new() },
        Reported::Proven { stats, preserved },
    ] {
        assert_eq!(site.report(&session, &order, what).await.unwrap(), ReportReply::Continue);
    }
    let placed = vec![PlacedFile { path: "cidata/meta-data".to_owned(), blake3 }];
    let committed = site.report(&session, &order, Reported::Committed { stats, placed });
    let (reply, ()) = tokio::join!(committed, async {
        let mut changes = site.service.changes();
        while site.stage(&order).await != Some(Stage::OsWait) {
            changes.borrow_and_update();
            site.runner.settle().await.unwrap();
            changes.changed().await.unwrap();
        }
    });
    assert_eq!(reply.unwrap(), ReportReply::Continue);
    let entries = site.entries().await;
    let facts = |kind: &str| {
        let entry = entries.iter().find(|entry| entry["kind"] == kind);
        entry.map(|entry| entry["facts"].clone()).unwrap_or_else(|| panic!("no {kind}"))
    };
    for kind in ["report.planned", "report.preserved"] {
        let list = facts(kind)["preserved"].as_array().unwrap().clone();
        assert_eq!(list.len(), 128, "no agent fills the log");
        assert_eq!(list[0]["blake3"], blake3.to_string());
    }
    assert_eq!(facts("report.placed")["placed"][0]["path"], "cidata/meta-data");
    let view = site.service.job(order.job).await.unwrap();
    assert_eq!(view.plan.unwrap().preserve_bytes, 16 << 20);
}

#[tokio::test]
async fn what_a_kind_of_endpoints_disk_is_like_chooses_among_several_and_binds_the_order() {
    let more = "enrolment = \"none\"\ndisk = { path = \"pci-0000:00:04.0-nvme-1\", rotational = false }\n";
    let site = Site::of(more, Vec::new(), Expectations::default()).await;
    site.recover().await;
    let mut two = hello(BootedAs::RecoverySystem, None);
    let data = DiskFacts {
        serial: Some("HISTORIAN".to_owned()),
        path: Some("pci-0000:00:05.0-nvme-1 \u{1b}[2J".repeat(99)),
        ..disk_facts()
    };
    two.inventory.disks = vec![data, disk_facts()];
    let HelloReply::Pair { session, code } = site.hello(&two).await.unwrap() else {
        panic!("no pairing code")
    };
    site.pair(&code).await.unwrap();
    let disk = site.ordered(&session).await.disk;
    assert_eq!(disk.serial.as_deref(), Some("S1"));
    assert_eq!((disk.path.as_deref(), disk.rotational), (Some("pci-0000:00:04.0-nvme-1"), Some(false)));
    let shown = site.service.endpoint(&press()).await.unwrap().inventory.unwrap();
    let path = shown.disks[0].path.clone().unwrap();
    assert!(path.len() < 300 && !path.contains('\u{1b}'), "{path}");
}

#[tokio::test]
async fn a_place_with_no_disk_in_it_is_no_reason_to_take_another() {
    let more = "enrolment = \"none\"\ndisk = { path = \"pci-0000:00:09.0-nvme-1\" }\n";
    let site = Site::of(more, Vec::new(), Expectations::default()).await;
    let job = site.recover().await;
    let session = site.paired().await;
    assert!(matches!(site.next(&session).await.unwrap(), Assignment::Wait { .. }));
    match site.service.job(job.job).await.unwrap().state {
        JobState::Held { reason: HoldReason::DiskAmbiguous, detail, .. } => {
            assert!(
                detail.contains("0 of its 1 fixed ones") && detail.contains("at pci-0000:00:04.0"),
                "{detail}"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn reports_and_orders_of_before_are_understood() {
    let planned = r#"{"is":"planned","plan":{"image_bytes":1,"keep_bytes":0,"fetch_bytes":0,"zero_bytes":0,"fetch_chunks":0},
        "disk":{"wwn":null,"serial":"S1","model":"","size_bytes":1,"sector_bytes":512,"transport":"nvme","rotational":false,"removable":false}}"#;
    assert!(
        matches!(serde_json::from_str(planned), Ok(Reported::Planned { preserved, .. }) if preserved.is_empty())
    );
    let stats = serde_json::to_value(RestoreFacts::default()).unwrap();
    for is in ["proven", "committed"] {
        let report = serde_json::json!({ "is": is, "stats": stats });
        assert!(serde_json::from_value::<Reported>(report).is_ok(), "{is}");
    }
    let mut order = serde_json::to_value(RestoreOrder {
        job: recovery_protocol::JobId::new(1, [1; 10]),
        step_seq: 1,
        image: images::ImageId::of_header(b"x"),
        manifest_urls: Vec::new(),
        frames_urls: Vec::new(),
        disk: Default::default(),
        read_back_all: false,
        erase: Default::default(),
        settings: Default::default(),
        endpoint: String::new(),
        drill: false,
        give_up_preserved: false,
        keep: None,
        esp_files: Default::default(),
    })
    .unwrap();
    for new in ["endpoint", "drill", "settings", "give_up_preserved", "erase"] {
        order.as_object_mut().unwrap().remove(new);
    }
    assert!(serde_json::from_value::<RestoreOrder>(order).is_ok());
}
