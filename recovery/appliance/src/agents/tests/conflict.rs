//! Another computer with a known address: a visible conflict that a person resolves, and no recovery until then.

use recovery_protocol::{
    job::{HoldReason, JobState, Stage},
    operator::{FactSource, Resolution},
};

use super::*;

/// A hello from the recovery system of this board.
fn from(serial: &str) -> Hello {
    let mut hello = hello(BootedAs::RecoverySystem, None);
    hello.inventory.serial = serial.to_owned();
    hello
}

async fn press(site: &Site) -> EndpointView {
    site.service.endpoint(&"press-01".parse().unwrap()).await.unwrap()
}

async fn resolve(site: &Site, replace: bool) -> Result<EndpointView, Problem> {
    let order = Resolution { replace, reason: "looked".to_owned() };
    site.service.resolve_conflict(&anna(), &"press-01".parse().unwrap(), order).await
}

/// `press-01` is on record with board SN-A123, and board SN-B456 came with its address.
async fn contested() -> Site {
    let site = Site::new().await;
    assert_eq!(code(site.hello(&from("SN-A123")).await), "no-boot-ticket");
    assert_eq!(code(site.hello(&from("SN-B456")).await), "identity-conflict");
    site
}

#[tokio::test]
async fn a_known_address_with_another_board_is_a_conflict_and_merges_nothing() {
    let site = contested().await;
    assert_eq!(code(site.hello(&from("SN-B456")).await), "identity-conflict");
    let view = press(&site).await;
    assert_eq!(view.inventory.unwrap().serial, "SN-A123", "what is on record stays");
    let claim = view.conflict.unwrap();
    assert_eq!((claim.inventory.serial.as_str(), claim.count), ("SN-B456", 2));
    assert!(claim.why.contains("sn-b456") && claim.why.contains("sn-a123"), "{}", claim.why);
    assert_eq!(site.service.status().await.unwrap().conflicts.len(), 1);
    assert_eq!(site.kinds().await.iter().filter(|kind| *kind == "identity.conflict").count(), 1);
    // Nor is the one on record let through: which of the two it is, nobody has said.
    assert_eq!(code(site.hello(&from("SN-A123")).await), "identity-conflict");
    let mut golden = from("SN-B456");
    golden.booted_as = BootedAs::GoldenSystem;
    assert_eq!(code(site.hello(&golden).await), "identity-conflict");
}

#[tokio::test]
async fn an_endpoint_in_conflict_is_not_recovered() {
    let site = contested().await;
    assert!(press(&site).await.why_not.unwrap().contains("identity_conflict"));
    let job = site.recover().await;
    assert!(matches!(job.state, JobState::Held { reason: HoldReason::GuardRail, .. }), "{:?}", job.state);
    assert!(
        job.what.contains("identity_conflict") && job.what.contains("endpoint resolve press-01"),
        "{}",
        job.what
    );
    resolve(&site, false).await.unwrap();
    site.service.resume(&anna(), job.job, Decision::default()).await.unwrap();
    site.runner.settle().await.unwrap();
    assert!(matches!(site.hello(&from("SN-A123")).await.unwrap(), HelloReply::Pair { .. }));
    // A job under way does not bring the other one in, and is not harmed by it.
    assert_eq!(code(site.hello(&from("SN-B456")).await), "identity-conflict");
    assert_eq!(press(&site).await.conflict, None);
}

#[tokio::test]
async fn a_dismissed_one_stays_out_and_starts_no_new_conflict_and_a_third_one_does() {
    let site = contested().await;
    let view = resolve(&site, false).await.unwrap();
    assert_eq!((view.conflict, view.refusal), (None, None));
    assert_eq!(code(site.hello(&from("SN-B456")).await), "identity-conflict");
    assert_eq!(press(&site).await.conflict, None);
    assert_eq!(code(site.hello(&from("SN-A123")).await), "no-boot-ticket");
    assert_eq!(code(site.hello(&from("SN-C789")).await), "identity-conflict");
    assert_eq!(press(&site).await.conflict.unwrap().inventory.serial, "SN-C789");
    assert_eq!(site.evidence("order.resolve").await["replace"], false);
}

#[tokio::test]
async fn replaced_hardware_is_taken_by_a_persons_word_alone() {
    let site = contested().await;
    let view = resolve(&site, true).await.unwrap();
    assert_eq!(view.inventory.unwrap().serial, "SN-B456");
    assert_eq!(code(site.hello(&from("SN-B456")).await), "no-boot-ticket");
    assert_eq!(code(site.hello(&from("SN-A123")).await), "identity-conflict", "the old one is another now");
    // That is a conflict again; nothing more is open once it is resolved.
    resolve(&site, false).await.unwrap();
    assert_eq!(code(resolve(&site, false).await), "no-conflict");
}

#[tokio::test]
async fn an_address_that_wandered_with_an_adapter_names_the_endpoint_that_has_it_now() {
    let site = Site::new().await;
    let other = "02:00:00:00:00:77";
    let new = serde_json::json!({ "endpoint": "press-02", "macs": [other], "blueprint": "box" });
    site.service.add_endpoint(&anna(), serde_json::from_value(new).unwrap()).await.unwrap();
    let mut second = from("SN-B456");
    second.inventory.macs = vec![other.parse().unwrap()];
    assert_eq!(code(site.hello(&second).await), "no-boot-ticket");
    // The board of press-02 with the adapter of press-01, of which no board is known.
    assert_eq!(code(site.hello(&from("SN-B456")).await), "identity-conflict");
    let why = press(&site).await.conflict.unwrap().why;
    assert!(why.contains("the board of press-02"), "{why}");
}

/// As [`from`], on a dock.
fn docked(serial: &str) -> Hello {
    let mut hello = from(serial);
    hello.inventory.dock_macs = hello.inventory.macs.clone();
    hello
}

#[tokio::test]
async fn the_address_of_a_dock_identifies_nobody() {
    let site = Site::new().await;
    // Nothing is known of the endpoint but an address, and any computer may come with this one.
    assert_eq!(code(site.hello(&docked("SN-B456")).await), "identity-conflict");
    assert!(press(&site).await.conflict.unwrap().why.contains("dock"));
    assert_eq!(press(&site).await.inventory, None, "nothing of it is kept");
    resolve(&site, true).await.unwrap();
    assert_eq!(code(site.hello(&docked("SN-B456")).await), "no-boot-ticket", "its board tells who it is");
    // Neither board tells anything, and its disks do not, either.
    let site = Site::new().await;
    let mut blank = docked("");
    blank.inventory.disks.clear();
    assert_eq!(code(site.hello(&blank).await), "no-boot-ticket", "without an order it is given nothing");
    let view = press(&site).await;
    assert_eq!((view.inventory, view.conflict), (None, None), "nothing of it is kept");
}

#[tokio::test]
async fn an_endpoint_with_nothing_but_a_dock_is_recovered_where_a_person_matches_its_code() {
    let site = Site::new().await;
    let mut blank = docked("");
    blank.inventory.disks = vec![disk_facts()];
    let job = site.recover().await.job;
    let HelloReply::Pair { code: shown, .. } = site.hello(&blank).await.unwrap() else { panic!("no code") };
    let wrong = if shown == "000000" { "000001" } else { "000000" };
    assert!(site.pair(wrong).await.is_err());
    assert_eq!(press(&site).await.inventory, None, "nothing of it is kept before a person spoke");
    site.pair(&shown).await.unwrap();
    let state = site.service.job(job).await.unwrap().state;
    assert_eq!(state, JobState::Working { stage: Stage::Imaging });
}

fn blank() -> Hello {
    let mut blank = docked("");
    blank.inventory.disks.clear();
    blank
}

#[tokio::test]
async fn a_nameless_computer_on_a_dock_does_not_disturb_the_recovery_system_that_was_accepted() {
    let site = Site::new().await;
    let job = site.recover().await.job;
    site.paired().await;
    assert_eq!(code(site.hello(&blank()).await), "no-boot-ticket");
    let view = site.service.job(job).await.unwrap();
    assert_eq!(view.state, JobState::Working { stage: Stage::Imaging });
    assert!(press(&site).await.refusal.unwrap().contains("accepted already"));
    assert!(site.evidence("refusal.agent").await["detail"].as_str().unwrap().contains("accepted already"));
}

/// Whether a hello, after its endpoint's firmware has fetched a loader, teaches that this chain boots it.
async fn teaches(hello: &Hello) -> bool {
    use pxe::{
        BootEvent, BootEvents as _, Client,
        event::{Fetcher, Protocol},
    };
    let site = Site::new().await;
    site.recover().await;
    let (mac, interface) = ([0x52, 0x54, 0, 0, 0, 1], std::net::Ipv4Addr::LOCALHOST);
    let (arch, class) = (Some(pxe::Arch::EfiX64), pxe::ClientClass::Pxe);
    let client = Client { arch, class, ..Client::bare(mac.into(), None) };
    site.desk.event(BootEvent::DiscoverSeen { client, interface, secs: 0, relay: None });
    let fetcher = Fetcher { peer: ([127, 0, 0, 1], 1).into(), mac: Some(mac.into()) };
    let (name, protocol, options) = ("snponly.efi".to_owned(), Protocol::Tftp, String::new());
    let took = std::time::Duration::ZERO;
    site.desk.event(BootEvent::TransferStarted { fetcher, protocol, name: name.clone(), size: 9, options });
    site.desk.event(BootEvent::TransferFinished { fetcher, protocol, name, bytes: 9, took, resent: 0 });
    site.hello(hello).await.unwrap();
    let boot = site.service.boot(&"press-01".parse().unwrap()).await.unwrap();
    boot.chains.iter().any(|chain| chain.worked_unix_ms.is_some())
}

#[tokio::test]
async fn a_nameless_computer_on_a_dock_teaches_nothing_about_how_its_endpoint_boots() {
    assert!(!teaches(&blank()).await);
    assert!(teaches(&hello(BootedAs::RecoverySystem, None)).await, "its own agent does");
}

#[tokio::test]
async fn a_nameless_computer_without_the_disk_on_record_is_a_conflict() {
    let site = Site::new().await;
    let order = serde_json::from_value(serde_json::json!({ "disk_serial": "S1" })).unwrap();
    let id = "press-01".parse().unwrap();
    site.service.change_endpoint(&anna(), &id, order, None).await.unwrap();
    let mut right = blank();
    right.inventory.disks = vec![disk_facts()];
    assert_eq!(code(site.hello(&right).await), "no-boot-ticket");
    assert_eq!(code(site.hello(&blank()).await), "identity-conflict");
}

#[tokio::test]
async fn a_nameless_computer_on_the_dock_of_an_endpoint_that_has_a_name_is_a_conflict_as_ever() {
    let site = Site::new().await;
    assert_eq!(code(site.hello(&from("SN-A123")).await), "no-boot-ticket");
    site.recover().await;
    let mut blank = docked("");
    blank.inventory.disks.clear();
    assert_eq!(code(site.hello(&blank).await), "identity-conflict", "its board is on record");
    // And one with a name, where nothing is on record.
    let site = Site::new().await;
    site.recover().await;
    assert_eq!(code(site.hello(&docked("SN-B456")).await), "identity-conflict");
}

#[tokio::test]
async fn what_an_endpoint_is_made_of_is_shown_with_who_told_it_and_when() {
    let site = Site::new().await;
    assert_eq!(code(site.hello(&from("SN-A123")).await), "no-boot-ticket");
    let facts = press(&site).await.facts;
    let find = |name: &str| facts.iter().find(|fact| fact.fact == name);
    let serial = find("serial number").unwrap();
    assert_eq!((serial.value.as_str(), serial.source), ("SN-A123", FactSource::RecoverySystem));
    assert!(serial.since_unix_ms > 0 && serial.since_unix_ms == serial.seen_unix_ms);
    assert_eq!(find("memory").unwrap().value, "1024 MiB");
    assert!(find("disk S1").unwrap().value.contains("nvme"), "{facts:?}");
    assert!(find("UUID").is_none(), "what nobody told is no fact");
    // Another computer is a conflict and changes nothing of it.
    assert_eq!(code(site.hello(&from("SN-B456")).await), "identity-conflict");
    assert_eq!(press(&site).await.facts, facts);
    assert!(!site.kinds().await.contains(&"hardware.changed".to_owned()));
}
