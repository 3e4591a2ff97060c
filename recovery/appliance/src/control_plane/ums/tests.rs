//! All that we ask of UMS, against a server that is ours ([`site`]): no real UMS was to be had.

use std::sync::Arc;

use serde_json::json;

use self::site::{LINE, Lie, PASSWORD, QUARANTINE, SESSION, Site, USER};
use super::*;
use crate::{
    config::{Config, Plane},
    control_plane::{Other, Planes},
    testing::Heard,
};

mod site;

const ADDRESS: &str = "52:54:00:12:34:56";
const MAC: &str = "525400123456";

fn press() -> EndpointId {
    "press-01".parse().unwrap()
}

fn job(n: u8) -> JobId {
    JobId::new(1, [n; 10])
}

fn registration(n: u8) -> Registration {
    Registration {
        image: "hmi".into(),
        certificate: None,
        ek_sha256: None,
        job: job(n).to_string(),
        pcrs: Default::default(),
    }
}

/// `press-01`, which UMS knows by its only address.
async fn known() -> Site {
    let site = Site::new().await;
    site.bench.add("press-01", ADDRESS, json!({ "labels": { LABEL: "yes" } })).await;
    site
}

fn mark(endpoint: &str, generation: u64) -> String {
    format!("[groundstate endpoint={endpoint} generation={generation}]")
}

fn told(endpoint: &str, generation: u64, n: u8) -> String {
    format!("[groundstate endpoint={endpoint} generation={generation} job={} image=hmi]", job(n))
}

fn at(directory: &str, comment: impl Into<String>) -> (String, String) {
    (directory.to_owned(), comment.into())
}

fn refused<T: std::fmt::Debug>(said: Result<T, PlaneError>, word: &str) {
    let Err(PlaneError::Refused(why)) = said else { panic!("not refused: {said:?}") };
    assert!(why.contains(word), "{why}");
}

fn silent<T: std::fmt::Debug>(said: Result<T, PlaneError>, word: &str) {
    let Err(PlaneError::Silent(why)) = said else { panic!("not silent: {said:?}") };
    assert!(why.contains(word), "{why}");
}

async fn not_yet(plane: &Ums, n: u8, word: &str) {
    let Observed::NotYet(why) = plane.observe(&press(), job(n)).await.unwrap() else { panic!("{word}") };
    assert!(why.contains(word), "{why}");
}

#[tokio::test]
async fn a_recovery_takes_the_old_record_away_and_gets_its_settings_only_after_its_proof() {
    let site = known().await;
    let (plane, press) = (site.plane(), press());
    let old = site.record(MAC, LINE, "by the door");
    site.record("00E0C54DCB8E", LINE, "somebody else");
    assert_eq!(plane.known_as(&press).await.unwrap().as_deref(), Some(MAC));
    plane.reset_record(&press, 3).await.unwrap();
    let orders = [format!("DELETE thinclients/{old}/deletetcoffline"), "PUT thinclients".to_owned()];
    assert_eq!(site.orders(), orders);
    let other = at(LINE, "somebody else");
    assert_eq!(site.live(), [other.clone(), at(QUARANTINE, mark("press-01", 3))]);
    let fresh = site.with(|state| state.records.last().unwrap().clone());
    assert_eq!((fresh.firmware.as_str(), fresh.name.as_str(), fresh.mac.as_str()), ("21", "press-01", MAC));
    for _ in 0..2 {
        plane.reset_record(&press, 3).await.unwrap();
        plane.reset_name(&press, 3, MAC).await.unwrap();
    }
    assert_eq!(site.orders(), [""; 0], "it is as it should be");
    not_yet(&plane, 1, "does not name this recovery").await;

    plane.register(&press, 3, &registration(1)).await.unwrap();
    assert_eq!(site.orders(), [format!("PUT thinclients/{}", fresh.id)]);
    plane.register(&press, 3, &registration(1)).await.unwrap();
    plane.assign_policy(&press, 3, &registration(1)).await.unwrap();
    assert_eq!(site.orders(), [""; 0], "again it changes nothing");
    assert_eq!(site.live(), [other.clone(), at(QUARANTINE, told("press-01", 3, 1))]);

    not_yet(&plane, 1, "does not see 525400123456 online").await;
    site.with(|state| state.online = true);
    assert_eq!(plane.observe(&press, job(1)).await.unwrap(), Observed::Passes);
    not_yet(&plane, 2, "does not name this recovery").await;
    let trusting = UmsPlane { release_when_online: false, ..site.setting() };
    let trusting = Ums::open(&trusting, site.bench.journal.db.clone()).unwrap();
    assert_eq!(trusting.observe(&press, job(1)).await.unwrap(), Observed::Nothing);

    assert_eq!(site.orders(), [""; 0], "no settings before that");
    plane.lift_quarantine(&press, 3).await.unwrap();
    let settings = "POST thinclients?command=settings2tc".to_owned();
    let moved = format!("PUT directories/tcdirectories/{LINE}?operation=move");
    assert_eq!(site.orders(), [moved, settings.clone()]);
    assert_eq!(site.live(), [other, at(LINE, told("press-01", 3, 1))]);
    plane.lift_quarantine(&press, 3).await.unwrap();
    assert_eq!(site.orders(), [settings], "the settings alone are sent again");
    plane.register(&press, 3, &registration(1)).await.unwrap();
    assert_eq!(site.orders(), [""; 0], "nor does it go back");
    assert_eq!(site.with(|state| state.logins), 1, "one session for all of it");

    // What comes late of an older recovery changes nothing.
    plane.reset_record(&press, 2).await.unwrap();
    plane.register(&press, 2, &registration(9)).await.unwrap();
    plane.lift_quarantine(&press, 2).await.unwrap();
    assert_eq!(site.orders(), [""; 0]);
    // The next recovery begins.
    plane.reset_record(&press, 4).await.unwrap();
    assert_eq!(site.live()[1..], [at(QUARANTINE, mark("press-01", 4))]);
}

#[tokio::test]
async fn one_without_the_label_is_none_of_its_and_a_label_that_cannot_be_is_named() {
    let site = Site::new().await;
    let plane = site.plane();
    site.bench.add("press-01", ADDRESS, json!({})).await;
    site.bench.add("press-02", "52:54:00:00:00:02", json!({ "labels": { LABEL: "00e0c54dcb8e" } })).await;
    site.bench.add("press-03", "52:54:00:00:00:03", json!({ "labels": { LABEL: "perhaps" } })).await;
    site.bench.add("press-04", "52:54:00:00:00:04", json!({ "labels": { LABEL: MAC } })).await;
    assert_eq!(plane.known_as(&press()).await.unwrap(), None);
    plane.reset_record(&press(), 1).await.unwrap();
    plane.register(&press(), 1, &registration(1)).await.unwrap();
    plane.lift_quarantine(&press(), 1).await.unwrap();
    assert_eq!(plane.observe(&press(), job(1)).await.unwrap(), Observed::Nothing);
    let id = |name: &str| -> EndpointId { name.parse().unwrap() };
    assert_eq!(plane.known_as(&id("press-02")).await.unwrap().as_deref(), Some("00E0C54DCB8E"));
    refused(plane.known_as(&id("press-03")).await, "neither yes nor the 12 hex digits");
    refused(plane.reset_record(&id("press-04"), 1).await, "an address of press-01");
    // Its removal does not take the record of the other one away either.
    site.record(MAC, LINE, "");
    plane.reset_name(&id("press-04"), 2, MAC).await.unwrap();
    assert_eq!(
        (site.live().len(), site.with(|state| state.asked.len())),
        (1, 0),
        "UMS was not asked about any of them"
    );
}

#[tokio::test]
async fn a_session_that_ended_is_begun_anew_and_one_that_always_ends_is_not_begun_for_ever() {
    let site = known().await;
    let plane = site.plane();
    site.record(MAC, LINE, "");
    plane.reset_record(&press(), 1).await.unwrap();
    site.with(|state| state.sessions.clear());
    plane.register(&press(), 1, &registration(1)).await.unwrap();
    assert_eq!(site.with(|state| state.logins), 2);
    site.with(|state| state.lie = Some(Lie::Ended));
    silent(plane.lift_quarantine(&press(), 1).await, "does not take the session that it just gave");
    assert_eq!(site.with(|state| state.logins), 3);
    site.with(|state| state.lie = None);
    plane.lift_quarantine(&press(), 1).await.unwrap();

    let setting = site.setting();
    std::fs::write(&setting.password_file, "another").unwrap();
    let wrong = Ums::open(&setting, site.bench.journal.db.clone()).unwrap();
    silent(wrong.reset_record(&press(), 2).await, "does not let groundstate in");
    std::fs::write(&setting.password_file, " \n").unwrap();
    let error = Ums::open(&setting, site.bench.journal.db.clone()).map(drop).unwrap_err();
    assert!(error.to_string().contains("one line with a password"), "{error}");
}

#[tokio::test]
async fn a_removal_takes_its_time_and_what_it_ran_is_not_forgotten_meanwhile() {
    let site = known().await;
    let (plane, press) = (site.plane(), press());
    let old = site.record(MAC, LINE, "");
    site.with(|state| state.slow = 1);
    let still = format!("UMS still has the record {old} of {MAC}");
    refused(plane.reset_record(&press, 1).await, &still);
    assert_eq!(
        site.orders(),
        [format!("DELETE thinclients/{old}/deletetcoffline")],
        "nothing is imported beside it"
    );
    plane.reset_record(&press, 1).await.unwrap();
    assert_eq!(site.live(), [at(QUARANTINE, mark("press-01", 1))]);
    assert_eq!(site.with(|state| state.records[0].firmware.clone()), "21");
}

#[tokio::test]
async fn the_recycle_bin_takes_no_calls_and_what_is_in_it_counts_as_gone() {
    let site = known().await;
    let (plane, press) = (site.plane(), press());
    site.record(MAC, LINE, "");
    site.with(|state| state.bins = true);
    plane.reset_record(&press, 1).await.unwrap();
    assert_eq!(site.live(), [at(QUARANTINE, mark("press-01", 1))]);
    plane.register(&press, 1, &registration(1)).await.unwrap();
    plane.lift_quarantine(&press, 1).await.unwrap();
    assert_eq!(site.live(), [at(LINE, told("press-01", 1, 1))]);
    // Another process: what the endpoint ran is known by the record in the bin.
    site.with(|state| state.records.retain(|one| one.in_bin));
    site.plane().reset_record(&press, 2).await.unwrap();
    assert_eq!(site.live(), [at(QUARANTINE, mark("press-01", 2))]);
    // A UMS for which it counts says no more than that there is a duplicate key.
    site.with(|state| state.bin_counts = true);
    refused(plane.reset_record(&press, 3).await, "remove it there for good");
    refused(plane.lift_quarantine(&press, 3).await, "no record of 525400123456 any more");
    site.with(|state| state.records.clear());
    plane.reset_record(&press, 3).await.unwrap();
    assert_eq!(site.live(), [at(QUARANTINE, mark("press-01", 3))]);
}

#[tokio::test]
async fn a_record_that_says_no_firmware_needs_one_of_the_configuration() {
    let site = known().await;
    refused(site.plane().reset_record(&press(), 1).await, "write `firmware_id`");
    let setting = UmsPlane { firmware_id: Some("13".to_owned()), ..site.setting() };
    let plane = Ums::open(&setting, site.bench.journal.db.clone()).unwrap();
    // It was never known there, or somebody removed it: it is imported when it registers at the latest.
    plane.register(&press(), 1, &registration(1)).await.unwrap();
    assert_eq!(site.live(), [at(QUARANTINE, told("press-01", 1, 1))]);
    assert_eq!(site.with(|state| state.records[0].firmware.clone()), "13");
    // What the old record ran comes first.
    site.with(|state| state.records[0].firmware = "21".to_owned());
    plane.reset_record(&press(), 2).await.unwrap();
    assert_eq!(site.with(|state| state.records[0].firmware.clone()), "21");
}

#[tokio::test]
async fn two_records_of_one_mac_both_go_at_fencing_and_are_nobodys_afterwards() {
    let site = known().await;
    let (plane, press) = (site.plane(), press());
    for parent in [LINE, "-1"] {
        site.record(MAC, parent, "");
    }
    plane.reset_record(&press, 1).await.unwrap();
    assert_eq!(site.live(), [at(QUARANTINE, mark("press-01", 1))]);
    // One more comes by itself, since automatic registration is on there.
    site.record(MAC, "-1", "");
    refused(
        plane.register(&press, 1, &registration(1)).await,
        "several records of 525400123456 (7003, 7004)",
    );
    refused(plane.lift_quarantine(&press, 1).await, "several records");
    refused(plane.observe(&press, job(1)).await, "several records");
    plane.reset_record(&press, 1).await.unwrap();
    assert_eq!(site.live(), [at(QUARANTINE, mark("press-01", 1))], "ours stays");
    // Two of ours: an import whose answer was lost, and made again.
    site.record(MAC, QUARANTINE, &mark("press-01", 1));
    plane.reset_record(&press, 1).await.unwrap();
    assert_eq!(site.live(), [at(QUARANTINE, mark("press-01", 1))]);
}

#[tokio::test]
async fn where_a_record_stands_is_looked_at_and_not_believed() {
    let site = known().await;
    let (plane, press) = (site.plane(), press());
    site.record(MAC, LINE, "");
    // A rule of UMS puts new ones elsewhere.
    site.with(|state| state.puts_new = Some("-1"));
    plane.reset_record(&press, 1).await.unwrap();
    assert_eq!(site.live(), [at(QUARANTINE, mark("press-01", 1))]);
    // Somebody moves it out: fencing again takes it back, and so does its registration.
    site.with(|state| LINE.clone_into(&mut state.records[0].parent));
    plane.reset_record(&press, 1).await.unwrap();
    assert_eq!(site.live(), [at(QUARANTINE, mark("press-01", 1))]);
    site.with(|state| LINE.clone_into(&mut state.records[0].parent));
    plane.register(&press, 1, &registration(1)).await.unwrap();
    assert_eq!(site.live(), [at(QUARANTINE, told("press-01", 1, 1))]);
    site.orders();
    // 200, and it did not happen.
    site.with(|state| state.moves = "does_not_exist");
    refused(plane.lift_quarantine(&press, 1).await, "UMS says does_not_exist of the move");
    site.with(|state| (state.moves, state.stays) = ("successful", true));
    refused(plane.lift_quarantine(&press, 1).await, "it is not in directory 902");
    let settings = |orders: Vec<String>| orders.iter().filter(|order| order.starts_with("POST")).count();
    assert_eq!(settings(site.orders()), 0, "no settings to one in quarantine");
    site.with(|state| state.stays = false);
    // It is off: its settings wait for it in UMS.
    plane.lift_quarantine(&press, 1).await.unwrap();
    assert_eq!(settings(site.orders()), 1);
}

#[tokio::test]
async fn one_that_has_no_offline_removal_is_asked_for_the_other_one() {
    let site = known().await;
    let old = site.record(MAC, LINE, "");
    site.with(|state| state.old = true);
    let plane = site.plane();
    refused(plane.reset_record(&press(), 1).await, "Thin client is not online. (ITG-FF001)");
    site.with(|state| state.online = true);
    site.orders();
    plane.reset_record(&press(), 1).await.unwrap();
    let asked = [format!("DELETE thinclients/{old}/deletetcoffline"), format!("DELETE thinclients/{old}")];
    assert_eq!(site.orders()[..2], asked);
    assert_eq!(site.live(), [at(QUARANTINE, mark("press-01", 1))]);
}

#[tokio::test]
async fn what_belongs_to_another_recovery_is_not_touched() {
    let site = known().await;
    let (plane, press) = (site.plane(), press());
    site.bench.add("press-02", "52:54:00:00:00:02", json!({ "labels": { LABEL: "yes" } })).await;
    site.record(MAC, LINE, &told("press-02", 7, 1));
    let before = site.live();
    for said in [
        plane.reset_record(&press, 1).await,
        plane.register(&press, 1, &registration(2)).await,
        plane.lift_quarantine(&press, 1).await,
    ] {
        refused(said, "is of the recovery of press-02, which is on record here");
    }
    not_yet(&plane, 2, "does not name this recovery").await;
    assert_eq!((site.live(), site.orders()), (before.clone(), Vec::new()));
    // One that is off record here was recovered under another name since.
    let gone: EndpointId = "press-09".parse().unwrap();
    site.with(|state| state.records[0].mac = "00E0C54DCB8E".to_owned());
    plane.reset_name(&gone, 4, "00E0C54DCB8E").await.unwrap();
    assert_eq!((site.live(), site.orders()), (before, Vec::new()));
    // A name that nobody here has any more is an earlier one of the same device.
    site.record(MAC, LINE, &told("press-00", 7, 1));
    plane.reset_record(&press, 1).await.unwrap();
    assert_eq!(site.live()[1..], [at(QUARANTINE, mark("press-01", 1))]);
}

#[tokio::test]
async fn one_that_is_off_record_here_is_removed_there_and_not_imported() {
    let site = Site::new().await;
    let plane = site.plane();
    site.record(MAC, LINE, &told("press-01", 1, 1));
    for _ in 0..2 {
        plane.reset_name(&press(), 2, MAC).await.unwrap();
    }
    assert_eq!((site.live(), site.orders().len()), (Vec::new(), 1));
    // It came back under its name, and was recovered, before that was told.
    site.record(MAC, LINE, &told("press-01", 3, 2));
    plane.reset_name(&press(), 2, MAC).await.unwrap();
    assert_eq!(site.live(), [at(LINE, told("press-01", 3, 2))]);
}

#[tokio::test]
async fn what_is_slow_endless_or_odd_ends_and_moves_no_terminal() {
    let site = known().await;
    site.record(MAC, LINE, "");
    for (lie, word, ms) in
        [(Lie::Cut, "UMS: ", 20_000), (Lie::Hangs, "no answer within", 400), (Lie::Endless, "limit", 20_000)]
    {
        site.with(|state| state.lie = Some(lie));
        silent(site.hasty(Duration::from_millis(ms)).reset_record(&press(), 1).await, word);
    }
    for (lie, word) in [
        (Lie::Tells, "no session [redacted], by [redacted] or [redacted] (ITG-0B004)"),
        (Lie::Ids, "in a form that its documentation has not"),
        (Lie::Form, "in a form that its documentation has not"),
    ] {
        site.with(|state| state.lie = Some(lie));
        refused(site.plane().reset_record(&press(), 1).await, word);
    }
    assert_eq!((site.live(), site.orders()), (vec![at(LINE, "")], Vec::new()));
    // Nobody is there at all, and somebody else is.
    let nowhere = UmsPlane { url: "https://127.0.0.1:1".to_owned(), ..site.setting() };
    silent(
        Ums::open(&nowhere, site.bench.journal.db.clone()).unwrap().reset_record(&press(), 1).await,
        "UMS: ",
    );
    let other = Site::new().await;
    let stranger = UmsPlane { ca_file: other.setting().ca_file, ..site.setting() };
    let logins = site.with(|state| state.logins);
    silent(
        Ums::open(&stranger, site.bench.journal.db.clone()).unwrap().reset_record(&press(), 1).await,
        "UMS: ",
    );
    assert_eq!(site.with(|state| state.logins), logins, "whoever it is was not told the password");
}

#[tokio::test]
async fn what_it_does_not_take_is_told_later_and_no_secret_is_in_evidence_or_a_log() {
    let heard = Heard::default();
    let writer = heard.clone();
    let logs =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone());
    // With a single one around, a line that another test reaches first counts for that test alone, and is silent here from then on.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _guard = tracing::subscriber::set_default(logs.finish());

    let site = known().await;
    site.record(MAC, LINE, "");
    let plane: Arc<dyn ControlPlane> = Arc::new(site.plane());
    let other = Other { name: "fleet".to_owned(), plane, waits: true };
    let planes = Planes::new(Arc::clone(&site.bench.journal), vec![other]);
    let press = press();
    site.with(|state| state.lie = Some(Lie::Cut));
    planes.reset_record(&press, 1).await.unwrap();
    planes.register(&press, 1, &registration(1)).await.unwrap();
    let Observed::NotYet(why) = planes.observe(&press, job(1)).await.unwrap() else {
        panic!("it was told nothing")
    };
    assert!(why.contains("fleet: it was not told the step reset yet: UMS: "), "{why}");
    for lie in [Lie::Cut, Lie::Tells, Lie::Form, Lie::Ended] {
        site.with(|state| state.lie = Some(lie));
        assert_eq!(planes.reconcile().await.unwrap(), 0);
    }
    // A later recovery begins while UMS answers so: why it was not told is in evidence.
    site.with(|state| state.lie = Some(Lie::Tells));
    planes.reset_record(&press, 2).await.unwrap();
    planes.register(&press, 2, &registration(2)).await.unwrap();
    site.with(|state| state.lie = None);
    assert_eq!(planes.reconcile().await.unwrap(), 2);
    assert_eq!(site.live(), [at(QUARANTINE, told("press-01", 2, 2))]);
    let Observed::NotYet(why) = planes.observe(&press, job(2)).await.unwrap() else { panic!("it is off") };
    assert_eq!(why, "fleet: UMS does not see 525400123456 online");
    site.with(|state| state.online = true);
    assert_eq!(planes.observe(&press, job(2)).await.unwrap(), Observed::Passes);
    planes.lift_quarantine(&press, 2).await.unwrap();
    assert_eq!(site.live(), [at(LINE, told("press-01", 2, 2))]);

    let evidence = site.bench.service.evidence_lines(None).await.unwrap().join("\n");
    assert!(evidence.contains("no session [redacted], by [redacted] or [redacted]"), "{evidence}");
    let log = String::from_utf8(heard.0.lock().unwrap().clone()).unwrap();
    assert!(log.len() > 1000 && log.contains("still queued"), "the log was heard");
    let pair = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, format!("{USER}:{PASSWORD}"));
    for secret in [PASSWORD, SESSION, &pair] {
        assert!(!evidence.contains(secret) && !log.contains(secret), "{secret}");
    }
    for kind in ["plane.queued", "plane.told"] {
        assert!(site.bench.evidence(None).await.iter().any(|found| found == kind), "{kind}");
    }
}

#[test]
fn a_setting_that_cannot_work_is_named_with_what_to_write() {
    let text = "[control_planes.fleet]\nkind = \"igel_ums\"\nurl = \"https://10.7.0.9:8443\"\nca_file = \"ums.crt\"\nuser = \"groundstate\"\n\
                password_file = \"/secrets/ums\"\nquarantine_directory = \"901\"\ndirectory = \"902\"\n";
    let parse = |text: &str| Config::parse(text, std::path::Path::new("/etc/gs/g.toml"));
    let Plane::IgelUms(setting) = &parse(text).unwrap().control_planes["fleet"] else {
        panic!("another kind")
    };
    assert_eq!(setting.ca_file, std::path::Path::new("/etc/gs/ums.crt"));
    assert_eq!(setting.password_file, std::path::Path::new("/secrets/ums"));
    assert!(setting.release_when_online && setting.firmware_id.is_none());
    for (from, to, words) in [
        ("https://", "http://", ["line 3", "is not HTTPS"]),
        ("\"901\"", "\"-1\"", ["line 7", "is no id of UMS"]),
        ("\"902\"", "\"a/../b\"", ["line 8", "is no id of UMS"]),
        ("\"902\"", "\"901\"", ["line 7", "where recovered devices go"]),
        ("\"groundstate\"", "\"a:b\"", ["line 5", "without a colon"]),
        ("password_file", "pasword_file", ["pasword_file", "password_file"]),
    ] {
        let said = parse(&text.replace(from, to)).unwrap_err().to_string();
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
    }
}
