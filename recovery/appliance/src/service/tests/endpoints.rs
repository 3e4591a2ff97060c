//! What is on record of endpoints: changed, removed, in evidence, and refused where a job stands against it.

use recovery_protocol::{
    Problem,
    job::JobState,
    operator::{Chain, ChangeEndpoint, Decision, EndpointState, EndpointView, Power},
};
use serde_json::{Value, json};

use super::{bench, id};
use crate::{
    db::{self, ticket::BootTicket},
    service::Actor,
    testing::Bench,
};

fn mac(n: u8) -> String {
    format!("52:54:00:00:00:{n:02x}")
}

async fn set(bench: &Bench, n: u32, order: Value, revision: Option<u64>) -> Result<EndpointView, Problem> {
    let order: ChangeEndpoint = serde_json::from_value(order).unwrap();
    bench.service.change_endpoint(&Actor::operator("anna"), &id(n), order, revision).await
}

async fn remove(bench: &Bench, n: u32, revision: Option<u64>) -> Result<u64, Problem> {
    let order = Decision { reason: "scrapped".to_owned() };
    let gone = bench.service.remove_endpoint(&Actor::operator("anna"), &id(n), order, revision).await;
    gone.map(|gone| gone.certificates_revoked)
}

/// Evidence entries of a kind, oldest first.
async fn entries(bench: &Bench, kind: &str) -> Vec<Value> {
    let lines = bench.service.evidence_lines(None).await.unwrap();
    let entry = |line: &String| serde_json::to_value(recovery_protocol::evidence::entry(line)?).ok();
    lines.iter().filter_map(entry).filter(|entry: &Value| entry["kind"] == kind).collect()
}

#[tokio::test]
async fn each_fact_can_be_changed_and_evidence_says_from_what_to_what() {
    let (bench, _) = bench("[groups.other]\n[blueprints.box]\nimage = \"box\"").await;
    let ipmi = json!({ "by": "ipmi", "host": "10.0.0.9", "port": 623, "user": "a", "password_file": "/f" });
    for (n, (field, to)) in [
        ("macs", json!([mac(1), mac(0x21)])),
        ("blueprint", json!("box")),
        ("group", json!("other")),
        ("chain", json!("shim")),
        ("disk_serial", json!("S1")),
        ("drill_safe", json!(true)),
        ("power", ipmi),
        ("settings", json!({ "hostname": "press-1" })),
        ("labels", json!({ "line": "3", "cell": "b" })),
        ("kind", json!("hmi")),
        ("safety_class", json!(2)),
        ("redundancy", json!("panels")),
    ]
    .into_iter()
    .enumerate()
    {
        let view = set(&bench, 1, json!({ field: to, "reason": "moved" }), None).await.unwrap();
        assert_eq!(view.revision, n as u64 + 2, "{field}");
        let last = entries(&bench, "order.change").await.pop().unwrap();
        let (facts, changes) = (&last["facts"], &last["facts"]["changes"]);
        assert_eq!((&last["endpoint"], &facts["reason"]), (&json!("press-01"), &json!("moved")));
        assert_eq!(changes.as_object().unwrap().len(), 1, "{changes}");
        assert!(changes[field]["to"] == to && changes[field]["from"] != to, "{changes}");
        assert_eq!(facts["revision"], view.revision);
    }
    let view = bench.service.endpoint(&id(1)).await.unwrap();
    assert_eq!((view.macs.len(), view.chain, view.drill_safe), (2, Chain::Shim, true));
    assert_eq!((view.blueprint.as_str(), view.group.as_str()), ("box", "other"));
    assert!(matches!(view.power, Power::Ipmi { .. }) && view.disk_serial.as_deref() == Some("S1"));
    // Known to the boot layer by its new address at once.
    assert!(bench.journal.tickets.knows(mac(0x21).parse().unwrap()));

    let before = entries(&bench, "order.change").await.len();
    let same = set(&bench, 1, json!({ "group": "other", "disk_serial": "S1" }), None).await.unwrap();
    assert_eq!((same.revision, entries(&bench, "order.change").await.len()), (view.revision, before));
    let none = set(&bench, 1, json!({ "disk_serial": "" }), None).await.unwrap();
    assert_eq!(none.disk_serial, None);
}

#[tokio::test]
async fn a_change_or_removal_after_an_older_look_is_refused() {
    let (bench, _) = bench("").await;
    let seen = bench.service.endpoint(&id(1)).await.unwrap().revision;
    set(&bench, 1, json!({ "disk_serial": "S1" }), Some(seen)).await.unwrap();
    let late = set(&bench, 1, json!({ "disk_serial": "S2" }), Some(seen)).await.unwrap_err();
    assert_eq!((late.status, late.code.as_str()), (412, "revision-stale"));
    assert_eq!(remove(&bench, 1, Some(seen)).await.unwrap_err().code, "revision-stale");
    assert_eq!(bench.service.endpoint(&id(1)).await.unwrap().disk_serial.as_deref(), Some("S1"));
}

#[tokio::test]
async fn facts_that_cannot_be_are_refused_and_change_nothing() {
    let (bench, _) = bench("").await;
    for (order, code) in [
        (json!({ "macs": [] }), "bad-mac"),
        (json!({ "macs": ["01:00:5e:00:00:01"] }), "bad-mac"),
        (json!({ "macs": [mac(2)] }), "endpoint-conflict"),
        (json!({ "labels": { "kind": "hmi" } }), "bad-label"),
        (json!({ "labels": { "line": "a b" } }), "bad-label"),
        (json!({ "safety_class": 4 }), "bad-safety-class"),
        (json!({ "redundancy": "a b" }), "bad-redundancy"),
        (json!({ "blueprint": "none" }), "unknown-blueprint"),
        (json!({ "group": "none" }), "unknown-group"),
        (json!({ "settings": { "hostname": "no name" } }), "bad-settings"),
        (json!({ "settings": { "interfaces": [{ "mac": mac(9) }] } }), "bad-settings"),
    ] {
        let problem = set(&bench, 1, order.clone(), None).await.unwrap_err();
        assert_eq!(problem.code, code, "{order}");
    }
    assert_eq!(bench.service.endpoint(&id(1)).await.unwrap().revision, 1);
    assert_eq!(entries(&bench, "order.change").await, Vec::<Value>::new());
    assert_eq!(set(&bench, 77, json!({}), None).await.unwrap_err().code, "unknown-endpoint");
}

#[tokio::test]
async fn a_discovered_one_is_not_changed_but_its_address_can_be_taken() {
    let (bench, _) = bench("").await;
    let mut tx = bench.journal.begin().await.unwrap();
    let stranger: recovery_protocol::MacAddr = mac(0x33).parse().unwrap();
    let seen = crate::service::discovered(&mut tx, &[stranger], None, "agent").await.unwrap().unwrap();
    tx.commit().await.unwrap();
    let order: ChangeEndpoint = serde_json::from_value(json!({ "group": "line" })).unwrap();
    let refused = bench.service.change_endpoint(&Actor::operator("anna"), &seen, order, None).await;
    assert_eq!(refused.unwrap_err().code, "endpoint-not-approved");
    set(&bench, 1, json!({ "macs": [mac(0x33)] }), None).await.unwrap();
    assert_eq!(bench.service.endpoint(&seen).await.unwrap_err().code, "unknown-endpoint");
    assert!(!bench.journal.tickets.knows(mac(1).parse().unwrap()));
}

#[tokio::test]
async fn with_an_open_job_only_what_mends_it_is_changed() {
    let (bench, _) = bench("[groups.other]\n[blueprints.box]\nimage = \"box\"").await;
    bench.recover("press-01").await;
    for order in [json!({ "macs": [mac(9)] }), json!({ "blueprint": "box" }), json!({ "group": "other" })] {
        assert_eq!(set(&bench, 1, order, None).await.unwrap_err().code, "job-open");
    }
    assert_eq!(remove(&bench, 1, None).await.unwrap_err().code, "job-open");
    for order in [
        json!({ "disk_serial": "S1" }),
        json!({ "chain": "shim" }),
        json!({ "settings": { "hostname": "a" } }),
    ] {
        set(&bench, 1, order, None).await.unwrap();
    }
    assert_eq!(bench.service.endpoint(&id(1)).await.unwrap().revision, 4);
}

/// An endpoint that was recovered, with a certificate and an enrolment ticket that nobody used.
async fn recovered(bench: &Bench) -> recovery_protocol::JobId {
    let job = bench.recover("press-01").await.job;
    let mut tx = bench.journal.begin().await.unwrap();
    let at = tx.at;
    let mut row = db::job::get(tx.conn(), job).await.unwrap().unwrap();
    row.job.state = JobState::Recovered;
    row.ended = Some(at);
    db::job::put(tx.conn(), &row).await.unwrap();
    let certificate = db::ticket::Certificate {
        serial: "0a".into(),
        endpoint: id(1),
        job,
        key_sha256: "k".into(),
        der: vec![1],
        issued: at,
        revoked: None,
    };
    db::ticket::put_certificate(tx.conn(), &certificate).await.unwrap();
    db::ticket::issue_enrolment(tx.conn(), job, "hash", at).await.unwrap();
    let plane = db::plane::Enrolled { generation: 1, trusted: true, record: json!({}), changed: 1 };
    db::plane::put(tx.conn(), &id(1), &plane).await.unwrap();
    let mut endpoint = db::endpoint::get(tx.conn(), &id(1)).await.unwrap().unwrap();
    endpoint.state = EndpointState::Trusted;
    endpoint.ek_sha256 = Some("ek".into());
    endpoint.generation = 1;
    db::endpoint::put(tx.conn(), &endpoint).await.unwrap();
    tx.commit().await.unwrap();
    job
}

#[tokio::test]
async fn a_removed_endpoint_keeps_its_history_and_loses_all_that_it_could_prove_itself_with() {
    let (bench, _) = bench("").await;
    let job = recovered(&bench).await;
    let history = bench.service.evidence_lines(Some(job)).await.unwrap();
    assert_eq!(remove(&bench, 1, None).await.unwrap(), 1);

    assert_eq!(bench.service.endpoint(&id(1)).await.unwrap_err().code, "unknown-endpoint");
    assert!(!bench.journal.tickets.knows(mac(1).parse().unwrap()));
    assert_eq!(bench.service.revoked_certificates().await.unwrap().len(), 1);
    let mut conn = bench.journal.db.read().await.unwrap();
    assert!(db::ticket::enrolment(&mut conn, "hash").await.unwrap().unwrap().voided.is_some());
    assert!(!db::plane::get(&mut conn, &id(1)).await.unwrap().unwrap().trusted);
    drop(conn);
    assert_eq!(bench.service.job(job).await.unwrap().job, job);
    assert_eq!(bench.service.evidence_lines(Some(job)).await.unwrap(), history);
    let entry = entries(&bench, "order.remove").await.pop().unwrap();
    assert_eq!((&entry["actor"], &entry["facts"]["ek_sha256"]), (&json!("operator:anna"), &json!("ek")));

    // The name is given to another: nothing of the one before is its own.
    bench.add("press-01", &mac(0x41), json!({ "group": "line" })).await;
    let view = bench.service.endpoint(&id(1)).await.unwrap();
    assert_eq!((view.state, view.ek_sha256, view.job), (EndpointState::Known, None, None));
    assert_eq!(view.certificate_serial, None);
    assert!(view.revision > 1, "an order for the one before does not fit");
    let endpoint = db::endpoint::get(&mut bench.journal.db.read().await.unwrap(), &id(1)).await.unwrap();
    assert_eq!(endpoint.unwrap().generation, 2);
    // And its own address, to somebody else.
    bench.add("press-71", &mac(1), json!({})).await;
}

#[tokio::test]
async fn an_endpoint_with_a_live_ticket_is_not_removed() {
    let (bench, _) = bench("").await;
    let job = recovered(&bench).await;
    let mut tx = bench.journal.begin().await.unwrap();
    let ticket = BootTicket { job, endpoint: id(1), issued: tx.at, expires: tx.at + 60_000 };
    db::ticket::issue_boot(tx.conn(), &ticket).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(remove(&bench, 1, None).await.unwrap_err().code, "job-open");
    assert_eq!(set(&bench, 1, json!({ "macs": [mac(9)] }), None).await.unwrap_err().code, "job-open");
}

async fn names(bench: &Bench, selector: &str) -> Vec<String> {
    let selector = selector.parse().unwrap();
    let views = bench.service.endpoints(Some(&selector)).await.unwrap();
    views.into_iter().map(|view| view.endpoint.to_string()).collect()
}

#[tokio::test]
async fn a_selector_asks_of_labels_and_of_the_record() {
    let (bench, _) = bench("safety_class = 1").await;
    for (n, order) in [
        (1, json!({ "labels": { "line": "3", "cell": "a" }, "kind": "hmi" })),
        (2, json!({ "labels": { "line": "3" }, "kind": "historian", "redundancy": "r" })),
        (3, json!({ "labels": { "line": "4", "site": "plant-8" }, "safety_class": 3 })),
    ] {
        set(&bench, n, order, None).await.unwrap();
    }
    for (selector, meant) in [
        ("line=3", vec!["press-01", "press-02"]),
        ("line=3,kind!=historian", vec!["press-01"]),
        ("!line", vec!["press-04"]),
        ("site=plant-7,line", vec!["press-01", "press-02"]),
        ("site=plant-8", vec!["press-03"]),
        ("safety-class=1", vec!["press-01", "press-02", "press-04"]),
        ("safety-class in (2,3)", vec!["press-03"]),
        ("redundancy", vec!["press-02"]),
        ("name in (press-01,press-04),state=known,group=line,blueprint=hmi", vec!["press-01", "press-04"]),
        ("state=held", vec![]),
    ] {
        assert_eq!(names(&bench, selector).await, meant, "{selector}");
    }
    set(&bench, 1, json!({ "labels": { "cell": null, "line": "5" } }), None).await.unwrap();
    assert_eq!(names(&bench, "line=5,!cell").await, ["press-01"]);
}

#[tokio::test]
async fn an_endpoint_is_as_safe_as_its_own_class_or_its_group_says_whichever_is_higher() {
    let (bench, runner) = bench("mode = \"auto\"").await;
    set(&bench, 1, json!({ "safety_class": 3 }), None).await.unwrap();
    set(&bench, 2, json!({ "safety_class": 1 }), None).await.unwrap();
    assert!(super::observed(&super::integrity(&bench, 1, "a").await, "safety class 3"));
    let proposed = super::integrity(&bench, 2, "b").await.decision;
    assert!(matches!(proposed, crate::service::TriggerDecision::AwaitsApproval(_)), "{proposed:?}");
    set(&bench, 3, json!({ "safety_class": 2 }), None).await.unwrap();
    let ordered = bench.recover("press-03").await;
    let view = super::settled(&bench, &runner, &ordered).await;
    assert!(super::held(&view, recovery_protocol::job::HoldReason::AwaitingApproval), "{:?}", view.state);

    let (guarded, _) = super::bench("mode = \"auto\"\nsafety_class = 3").await;
    set(&guarded, 1, json!({ "safety_class": 1 }), None).await.unwrap();
    assert_eq!(guarded.service.endpoint(&id(1)).await.unwrap().safety_class, 3);
    assert!(super::observed(&super::integrity(&guarded, 1, "a").await, "safety class 3"));
}

#[tokio::test]
async fn strangers_are_listed_few_an_hour_and_the_silent_ones_make_room() {
    let (bench, _) = bench("").await;
    let discover = async |n: u16| {
        let mut tx = bench.journal.begin().await.unwrap();
        let [a, b] = n.to_be_bytes();
        let mac = recovery_protocol::MacAddr([0x02, 0, 0, 0, a, b]);
        let seen = crate::service::discovered(&mut tx, &[mac], None, "agent").await.unwrap();
        tx.commit().await.unwrap();
        seen
    };
    // Those before came hours ago.
    let age = async || {
        let mut tx = bench.journal.begin().await.unwrap();
        for mut endpoint in db::endpoint::all(tx.conn()).await.unwrap() {
            endpoint.added = endpoint.added.saturating_sub(2 * 3_600_000);
            db::endpoint::put(tx.conn(), &endpoint).await.unwrap();
        }
        tx.commit().await.unwrap();
    };
    let first = discover(0).await.unwrap();
    let mut turned_away = Vec::new();
    for n in 1..=300 {
        if discover(n).await.is_none() {
            turned_away.push(n);
            age().await;
            assert!(discover(n).await.is_some());
        }
    }
    assert_eq!(turned_away, (1..=9).map(|hour| hour * 32).collect::<Vec<u16>>());
    assert_eq!(names(&bench, "state=discovered").await.len(), 256);
    assert_eq!(bench.service.endpoint(&first).await.unwrap_err().code, "unknown-endpoint");
    assert_eq!(names(&bench, "state!=discovered").await.len(), 4, "what is on record stays");
}

#[tokio::test]
async fn the_fleets_own_control_plane_is_told_of_a_removal() {
    let plane = "[control_planes.fleet]\nkind = \"keylime\"\nverifier = \"https://127.0.0.1:1\"\nregistrar = \"https://127.0.0.1:1\"\n\
                 ca_file = \"ca\"\ncertificate_file = \"crt\"\nkey_file = \"key\"";
    let (bench, _) = bench(plane).await;
    recovered(&bench).await;
    let mut tx = bench.journal.begin().await.unwrap();
    let mut known = db::endpoint::get(tx.conn(), &id(1)).await.unwrap().unwrap();
    known.record.labels =
        known.record.labels.with(&[("keylime-agent".to_owned(), Some("agent-1".to_owned()))].into()).unwrap();
    db::endpoint::put(tx.conn(), &known).await.unwrap();
    tx.commit().await.unwrap();
    remove(&bench, 1, None).await.unwrap();
    let queued = db::plane::queued(&mut bench.journal.db.read().await.unwrap()).await.unwrap();
    let said =
        queued.iter().map(|row| (row.plane.as_str(), row.generation, row.step, row.known_as.as_deref()));
    assert_eq!(said.collect::<Vec<_>>(), [("fleet", 2, db::plane::Step::Reset, Some("agent-1"))]);
    assert_eq!(entries(&bench, "plane.queued").await.len(), 1);
    // One without an agent is none of Keylime's.
    remove(&bench, 2, None).await.unwrap();
    assert_eq!(entries(&bench, "plane.queued").await.len(), 1);
}

#[tokio::test]
async fn a_bmc_is_one_endpoints_on_record_in_a_sheet_and_when_it_is_switched() {
    let (bench, _) = bench("").await;
    let ipmi = |host: &str, port: u16| json!({ "power": { "by": "ipmi", "host": host, "port": port, "user": "a", "password_file": "/f" } });
    let redfish =
        |url: &str| json!({ "power": { "by": "redfish", "url": url, "user": "a", "password_file": "/f" } });
    set(&bench, 1, ipmi("10.0.0.9", 623), None).await.unwrap();
    for other in [ipmi("10.0.0.9", 623), redfish("https://10.0.0.9"), redfish("https://10.0.0.9:443/")] {
        let problem = set(&bench, 2, other, None).await.unwrap_err();
        assert_eq!((problem.status, problem.code.as_str()), (409, "power-shared"), "{problem:?}");
        assert!(problem.detail.contains("press-01") && problem.remedy.contains("press-01"), "{problem:?}");
    }
    // A chassis has one BMC for many systems; the URL says which.
    let system = |n: u8, end: &str| redfish(&format!("https://10.0.0.8/redfish/v1/Systems/{n}{end}"));
    set(&bench, 2, system(1, ""), None).await.unwrap();
    set(&bench, 3, system(2, ""), None).await.unwrap();
    assert_eq!(set(&bench, 1, system(2, "/"), None).await.unwrap_err().code, "power-shared");
    // Another port is another one, and so is another host that begins the same.
    set(&bench, 2, ipmi("10.0.0.9", 624), None).await.unwrap();
    set(&bench, 3, ipmi("10.0.0.90", 623), None).await.unwrap();
    // What stays as it is is not asked again; a new password is no new BMC.
    set(&bench, 1, json!({ "disk_serial": "S1" }), None).await.unwrap();
    let sheet = bench.service.export_sheet().await.unwrap().replace("10.0.0.90", "10.0.0.9");
    let actor = Actor::operator("a");
    let plan = bench.service.import_sheet(&actor, sheet.as_bytes(), None).await.unwrap();
    let conflict = plan.conflicts.first().expect("two by one BMC");
    assert!(conflict.column == "power" && conflict.what.contains("10.0.0.9"), "{plan:?}");

    // Two that were on record before anybody asked.
    let mut tx = bench.journal.begin().await.unwrap();
    let mut second = crate::db::endpoint::get(tx.conn(), &id(2)).await.unwrap().unwrap();
    let first = crate::db::endpoint::get(tx.conn(), &id(1)).await.unwrap().unwrap();
    second.record.power = first.record.power.clone();
    crate::db::endpoint::put(tx.conn(), &second).await.unwrap();
    tx.commit().await.unwrap();
    let job = bench.recover("press-01").await.job;
    bench.runner().settle().await.unwrap();
    // It is tried again like every power that fails, until the job is held with these words; nobody was switched.
    let job = bench.service.job(job).await.unwrap();
    assert_eq!(job.state, JobState::Working { stage: recovery_protocol::job::Stage::Powering });
    assert!(!bench.evidence(None).await.iter().any(|kind| kind == "act.power"));
    let mut conn = bench.journal.db.read().await.unwrap();
    let shared = crate::service::switches::shared(&mut conn, &id(1), &first.record.power).await.unwrap();
    let (at, other) = shared.expect("press-02 has it, too");
    assert_eq!((at.as_str(), &other), ("10.0.0.9", &id(2)));
    let said = crate::power::PowerError::Shared { at, other }.to_string();
    for words in ["press-02", "power-shared", "nothing was switched"] {
        assert!(said.contains(words), "{said}");
    }
}

#[tokio::test]
async fn ums_is_told_of_a_removal_by_the_address_that_it_knows() {
    let plane = "[control_planes.fleet]\nkind = \"igel_ums\"\nurl = \"https://127.0.0.1:1\"\nca_file = \"ca\"\nuser = \"groundstate\"\n\
                 password_file = \"password\"\nquarantine_directory = \"1\"\ndirectory = \"2\"\n";
    let (bench, _) = bench(plane).await;
    let mut tx = bench.journal.begin().await.unwrap();
    let mut known = db::endpoint::get(tx.conn(), &id(1)).await.unwrap().unwrap();
    let mac = hex::encode_upper(known.record.macs[0].0);
    known.record.labels =
        known.record.labels.with(&[("igel-ums".to_owned(), Some("yes".to_owned()))].into()).unwrap();
    db::endpoint::put(tx.conn(), &known).await.unwrap();
    tx.commit().await.unwrap();
    remove(&bench, 1, None).await.unwrap();
    remove(&bench, 2, None).await.unwrap();
    let queued = db::plane::queued(&mut bench.journal.db.read().await.unwrap()).await.unwrap();
    let said = queued.iter().map(|row| (row.endpoint.clone(), row.step, row.known_as.as_deref()));
    assert_eq!(said.collect::<Vec<_>>(), [(id(1), db::plane::Step::Reset, Some(mac.as_str()))]);
}
