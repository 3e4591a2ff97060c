//! Pages for those who run the site: what waits stands first and says who may act, a list can be sent to a colleague and read to its end, a yes
//! is given to what was seen, a boot that stops names its hop.

use std::{collections::BTreeSet, sync::Arc};

use pxe::{Arch, BootEvent, BootEvents as _, Client, ClientClass};
use recovery_protocol::people::Role;

use super::*;
use crate::{
    control_plane::Embedded, golden::Golden, jobs::run::Runner, live::Live, power::Drivers, service::Actor,
};

/// Somebody signed in by token.
pub struct Somebody<'a> {
    pub bench: &'a Bench,
    pub token: String,
}

impl<'a> Somebody<'a> {
    pub async fn new(bench: &'a Bench, name: &str, role: Role) -> Self {
        let (_, added) = bench.ask("POST", "/api/v1/people", json!({ "person": name, "role": role })).await;
        Self { bench, token: added["token"].as_str().unwrap().to_owned() }
    }

    pub async fn get(&self, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).header(header::AUTHORIZATION, format!("Bearer {}", self.token));
        read(self.bench.send(request.body(Body::empty()).unwrap()).await).await
    }

    pub async fn post(&self, path: &str, form: &str) -> Response<Body> {
        let request = Request::post(path)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.bench.send(request.body(Body::from(form.to_owned())).unwrap()).await
    }
}

/// Carries out what the journal intends.
pub fn runner(bench: &Bench) -> Runner {
    let config = &bench.journal.config;
    let golden = Golden::open(&config.image_store(), &config.trust_root()).unwrap();
    let plane = Arc::new(Embedded::new(bench.journal.db.clone()));
    Runner::new(bench.journal.clone(), golden, Arc::new(Drivers::default()), plane, Arc::new(Live::default()))
}

/// Where this stands in the page.
fn place(page: &str, text: &str) -> usize {
    page.find(text).unwrap_or_else(|| panic!("{text} is not in {page}"))
}

#[tokio::test]
async fn what_waits_stands_first_says_the_next_step_and_who_may_take_it() {
    let bench = Bench::new("[groups.line]\nsafety_class = 2\n").await;
    for n in 1..=3 {
        let more = json!({ "group": "line", "labels": { "line": "3" } });
        bench.add(&format!("press-0{n}"), &format!("52:54:00:12:34:0{n}"), more).await;
    }
    let (auditor, approver) = (
        Somebody::new(&bench, "ada", Role::Auditor).await,
        Somebody::new(&bench, "paul", Role::Approver).await,
    );
    let (_, quiet) = auditor.get("/").await;
    assert!(quiet.contains("No backup of the appliance is on record"), "{quiet}");
    assert!(!quiet.contains("id=\"running\""));
    let job = bench.recover("press-02").await.job;
    runner(&bench).settle().await.unwrap();
    bench.recover("press-03").await;
    let (_, page) = auditor.get("/").await;
    let (held, backup) = (place(&page, &format!("id=\"todo-{job}\"")), place(&page, "id=\"todo-backup\""));
    assert!(held < backup, "what stands still comes before what is due");
    assert!(page.contains("asks for approval") && page.contains(&format!("/approvals#{job}")), "{page}");
    assert!(page.contains("May be done by: engineer, approver, admin."), "{page}");
    assert!(place(&page, "id=\"running\"") > backup && page.contains("1 job runs"), "{page}");
    assert!(page.contains("/endpoints?selector=state%3Dheld"), "counts lead to their lists");
    assert!(approver.get("/").await.1.contains("You may do this."));
    bench.ask("POST", "/api/v1/stop", json!({ "reason": "smoke" })).await;
    let (_, page) = auditor.get("/").await;
    assert!(place(&page, "id=\"todo-stop\"") < place(&page, "id=\"todo-backup\""));
}

#[tokio::test]
async fn a_list_is_filtered_ordered_and_read_to_its_end_by_its_address() {
    let bench = Bench::new("").await;
    for n in 0..23 {
        let more = json!({ "labels": { "line": if n % 2 == 0 { "3" } else { "4" } } });
        bench.add(&format!("press-{n:02}"), &format!("52:54:00:12:35:{n:02x}"), more).await;
    }
    let ada = Somebody::new(&bench, "ada", Role::Auditor).await;
    for sort in ["need", "name", "seen", "line"] {
        let (mut path, mut seen, mut pages) = (format!("/endpoints?limit=5&sort={sort}"), Vec::new(), 0);
        loop {
            let (status, page) = ada.get(&path).await;
            assert_eq!(status, StatusCode::OK, "{path}");
            seen.extend(
                page.split("id=\"row-").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()),
            );
            pages += 1;
            if pages == 2 {
                // Whoever comes meanwhile shifts nobody.
                bench
                    .add(&format!("aaa-{sort}"), &format!("52:54:00:12:36:0{}", sort.len()), json!({}))
                    .await;
                bench
                    .service
                    .remove_endpoint(
                        &Actor::operator("t"),
                        &format!("aaa-{sort}").parse().unwrap(),
                        Default::default(),
                        None,
                    )
                    .await
                    .unwrap();
            }
            let Some(next) = page.split("rel=\"next\" href=\"").nth(1) else { break };
            path = next.split('"').next().unwrap().replace("&amp;", "&");
        }
        let all: BTreeSet<&String> = seen.iter().collect();
        assert_eq!((seen.len(), all.len(), pages), (23, 23, 5), "{sort}: {seen:?}");
        if sort == "line" {
            assert!(seen[..12].iter().all(|name| name[6..].parse::<u32>().unwrap() % 2 == 0), "{seen:?}");
        }
    }
    let (_, found) = ada.get("/endpoints?selector=line%3D4&q=PRESS-1%20:0b").await;
    assert!(found.contains("id=\"row-press-11\"") && found.matches("id=\"row-").count() == 1, "{found}");
    let (_, none) = ada.get("/endpoints?q=%3Cb%3Enobody").await;
    assert!(none.contains("None is meant by this") && none.contains("&lt;b&gt;nobody"), "{none}");
    for (path, code) in [
        ("/endpoints?sort=size", "bad-sort"),
        ("/endpoints?cursor=zzz", "bad-cursor"),
        ("/endpoints?limit=501", "bad-limit"),
        ("/endpoints?limit=0", "bad-limit"),
        ("/endpoints?selector=line%3D", "bad-selector"),
    ] {
        let (status, page) = ada.get(path).await;
        assert!(status == StatusCode::BAD_REQUEST && page.contains(code), "{path}: {page}");
    }
}

#[tokio::test]
async fn a_link_of_before_leads_to_the_list() {
    let reader = Reader::signed_in().await;
    let moved = reader.get("/?selector=line%3D3").await;
    assert_eq!(moved.status(), StatusCode::PERMANENT_REDIRECT);
    assert_eq!(moved.headers()[header::LOCATION], "/endpoints?selector=line%3D3");
    let live = reader.get("/?selector=line%3D3&part=live").await;
    assert_eq!(live.headers()[header::LOCATION], "/endpoints?selector=line%3D3&part=live");
}

#[tokio::test]
async fn a_yes_is_given_to_what_was_seen_and_a_no_wants_a_reason() {
    let bench = Bench::new("[groups.line]\nsafety_class = 2\n").await;
    for n in 1..=2 {
        bench
            .add(
                &format!("press-0{n}"),
                &format!("52:54:00:12:34:0{n}"),
                json!({ "group": "line", "disk_serial": "S<1>" }),
            )
            .await;
    }
    let paul = Somebody::new(&bench, "paul", Role::Approver).await;
    assert!(paul.get("/approvals").await.1.contains("Nothing asks for an approval"));
    let (first, second) = (bench.recover("press-01").await.job, bench.recover("press-02").await.job);
    runner(&bench).settle().await.unwrap();
    let (_, page) = paul.get("/approvals").await;
    for wanted in [
        "never recovered here",
        "hmi-panel 1",
        "S&lt;1&gt;",
        "test asked for it",
        "Given up at",
        "Everything on it is replaced",
    ] {
        assert!(page.contains(wanted), "{wanted}: {page}");
    }
    assert!(!page.contains(" disabled"), "another one asked, so paul may: {page}");
    let seen = page
        .split(&format!("/approvals/{first}"))
        .nth(1)
        .unwrap()
        .split("name=\"seen\" value=\"")
        .nth(1)
        .unwrap();
    let seen = seen.split('"').next().unwrap();
    let stale = paul.post(&format!("/approvals/{first}"), "decision=approve&seen=00").await;
    assert_eq!(stale.status(), StatusCode::CONFLICT, "what was not seen is not approved");
    let approved =
        paul.post(&format!("/approvals/{first}"), &format!("decision=approve&seen={seen}&reason=ok")).await;
    assert_eq!(
        (approved.status(), &approved.headers()[header::LOCATION]),
        (StatusCode::SEE_OTHER, &"/approvals".parse().unwrap())
    );
    let mute = read(paul.post(&format!("/approvals/{second}"), "decision=deny&reason=+").await).await;
    assert!(mute.0 == StatusCode::UNPROCESSABLE_ENTITY && mute.1.contains("reason-missing"));
    assert_eq!(
        paul.post(&format!("/approvals/{second}"), "decision=maybe").await.status(),
        StatusCode::UNPROCESSABLE_ENTITY
    );
    assert_eq!(
        paul.post(&format!("/approvals/{second}"), "decision=deny&reason=wrong+one").await.status(),
        StatusCode::SEE_OTHER
    );
    assert!(bench.service.job(second).await.unwrap().state.is_over());
    assert!(bench.service.job(first).await.unwrap().approves.is_none());
    let tom = Somebody::new(&bench, "tom", Role::Technician).await;
    assert_eq!(
        tom.post(&format!("/approvals/{first}"), "decision=deny&reason=x").await.status(),
        StatusCode::FORBIDDEN
    );
}

#[tokio::test]
async fn a_boot_that_stops_is_drawn_with_its_missing_hop_and_told_in_a_table() {
    let bench = Bench::new("").await;
    bench.add("press-01", "02:00:00:00:00:01", json!({})).await;
    bench.add("press-02", "02:00:00:00:00:02", json!({})).await;
    bench.recover("press-01").await;
    runner(&bench).settle().await.unwrap();
    let client = Client {
        arch: Some(Arch::EfiX64),
        class: ClientClass::Pxe,
        ..Client::bare([2, 0, 0, 0, 0, 1].into(), None)
    };
    let interface = std::net::Ipv4Addr::LOCALHOST;
    for _ in 0..3 {
        bench.desk.event(BootEvent::DiscoverSeen { client: client.clone(), interface, secs: 0, relay: None });
        bench.desk.event(BootEvent::OfferSent { client: client.clone(), addr: None, file: None });
    }
    let ada = Somebody::new(&bench, "ada", Role::Auditor).await;
    let (_, page) = ada.get("/network/press-01").await;
    for wanted in [
        "no-address",
        "The hop that did not come: request.",
        "class=\"gap\"",
        "role=\"img\"",
        "<caption>",
        "this did not come",
        "discover done",
    ] {
        assert!(page.contains(wanted), "{wanted}: {page}");
    }
    assert!(!page.contains(" style="));
    let (_, net) = ada.get("/network").await;
    assert!(
        net.contains("/network/press-01")
            && net.contains("boot0")
            && net.contains("1 endpoint was not heard of"),
        "{net}"
    );
    assert!(ada.get("/network?all=true").await.1.contains("/network/press-02"));
    assert!(
        net.contains("ask the boot network") && net.contains("id=\"probe\" disabled"),
        "an auditor may not probe: {net}"
    );
    assert_eq!(ada.get("/network/press-09").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_site_tells_its_certificate_its_backup_its_room_and_its_ports() {
    let bench = Bench::new("").await;
    let ada = Somebody::new(&bench, "ada", Role::Auditor).await;
    let (_, page) = ada.get("/site").await;
    for wanted in [
        "plant-7",
        "id=\"certificates\"",
        "No backup of the appliance is on record",
        "are free",
        "443/tcp",
        "groundstate backup",
    ] {
        assert!(page.contains(wanted), "{wanted}: {page}");
    }
    let fact = json!({ "file_sha256": "00" });
    bench.service.note("state.saved", &Actor::operator("shell"), None, None, fact).await.unwrap();
    let (_, page) = ada.get("/site").await;
    assert!(page.contains("Last saved at") && !page.contains("No backup"), "{page}");
}

#[tokio::test]
async fn what_is_to_be_rehearsed_follows_the_schedules() {
    let bench = Bench::new(
        "[blueprints.hmi-bench]\nimage = \"hmi-panel\"\nplace = \"bench\"\n[groups.bench]\ndrill_zone = true\n",
    )
    .await;
    let more = json!({ "blueprint": "hmi-bench", "group": "bench", "drill_safe": true });
    bench.add("press-01", "52:54:00:12:34:01", more).await;
    let ines = Somebody::new(&bench, "ines", Role::Engineer).await;
    assert!(ines.get("/").await.1.contains("id=\"todo-drill-due\""), "none was made: once a quarter");
    let schedule = json!({ "name": "quarterly", "runbook": "quarterly-hmi-drill", "endpoints": ["press-01"], "months": 3 });
    let (status, answer) = bench.ask("POST", "/api/v1/drills/schedules", schedule).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let (_, page) = ines.get("/").await;
    for wanted in [
        "id=\"todo-drill-quarterly\"",
        "overdue",
        "quarterly-hmi-drill is to be rehearsed",
        "/drills#schedule-quarterly",
    ] {
        assert!(page.contains(wanted), "{wanted}: {page}");
    }
    assert!(!page.contains("id=\"todo-drill-due\""), "{page}");
}
