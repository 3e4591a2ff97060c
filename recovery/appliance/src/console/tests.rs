//! The console as a browser without a script sees it: the door, the question before an order, what each state says.

use axum::{
    body::Body,
    http::{Request, Response, StatusCode, header},
};
use recovery_protocol::{
    agent::{Activity, Captured, Inventory, PlanFacts},
    erase::{EraseMethod, EraseOffer},
    health::{DiskHealth, HealthFigures, HealthState},
    job::{HoldReason, JobState, Stage},
    operator::{EkCertificate, EndpointView, JobKind, JobView, Mode, PhaseView, ProgressView, TpmModel},
    secure_boot::{SecureBoot, SiteKey},
};
use serde_json::json;

use super::{endpoint, endpoints, job, may::Viewer};
mod engineer;
mod history;
mod keep;
mod machine;
mod parity;
mod policy;
mod roles;
mod texts;

use crate::testing::{Bench, read};

fn engineer() -> Viewer {
    Viewer::role(recovery_protocol::people::Role::Engineer)
}

/// A line of three: one at rest, one whose recovery waits for an approval (its job is the answer), one begun by breaking glass; and a standing plan.
async fn a_line_at_work(bench: &Bench) -> recovery_protocol::JobId {
    for n in 1..=3 {
        let more = json!({ "group": "line", "drill_safe": true, "labels": { "line": "3" } });
        bench.add(&format!("press-0{n}"), &format!("52:54:00:12:34:0{n}"), more).await;
    }
    let job = bench.recover("press-02").await.job;
    let broke = crate::service::Actor::operator("ines");
    let reason = recovery_protocol::operator::Decision { reason: "nobody answers".to_owned() };
    bench.service.break_glass(&broke, &"press-03".parse().unwrap(), reason).await.unwrap();
    let plan = json!({
        "plan": "night", "selector": "group=line", "image": "hmi-panel:1", "triggers": ["attestation"], "most_per_day": 1, "valid_days": 1,
    });
    assert_eq!(bench.ask("POST", "/api/v1/plans", plan).await.0, StatusCode::OK);
    job
}

/// The page of the one golden image.
async fn image(bench: &Bench) -> String {
    let (_, images) = bench.ask("GET", "/api/v1/images", json!(null)).await;
    format!("/images/{}", images[0]["image"].as_str().unwrap())
}

const HOST: &str = "appliance:8444";

struct Reader {
    bench: Bench,
    cookie: String,
}

impl Reader {
    async fn signed_in() -> Self {
        let bench = Bench::new("").await;
        bench.add("press-01", "52:54:00:12:34:56", json!({})).await;
        let (_, link) = bench.ask("POST", "/api/v1/console-links", json!(null)).await;
        let code = link["path"].as_str().unwrap().split_once("code=").unwrap().1.to_owned();
        let mut reader = Self { bench, cookie: String::new() };
        let (status, page) = read(reader.get(link["path"].as_str().unwrap()).await).await;
        assert!(status == StatusCode::OK && page.contains(&code), "opening a link shows the button");
        let response =
            reader.post("/login", &format!("secret={code}&next=%2Fendpoints%2Fpress-01"), HOST).await;
        assert_eq!(response.headers()[header::LOCATION], "/endpoints/press-01");
        let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap().to_owned();
        for wanted in ["__Host-groundstate=", "; Path=/", "; Secure", "; HttpOnly", "; SameSite=Strict"] {
            assert!(cookie.contains(wanted), "{cookie}");
        }
        reader.cookie = cookie.split(';').next().unwrap().to_owned();
        let again = reader.post("/login", &format!("secret={code}"), HOST).await;
        assert_eq!(again.status(), StatusCode::UNAUTHORIZED, "a link opens once");
        reader
    }

    async fn get(&self, path: &str) -> Response<Body> {
        let request = Request::get(path)
            .header(header::HOST, HOST)
            .header(header::ACCEPT, "text/html")
            .header(header::COOKIE, &self.cookie);
        self.bench.send(request.body(Body::empty()).unwrap()).await
    }

    async fn post(&self, path: &str, form: &str, origin: &str) -> Response<Body> {
        let request = Request::post(path)
            .header(header::HOST, HOST)
            .header(header::ORIGIN, format!("https://{origin}"))
            .header(header::COOKIE, &self.cookie)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.bench.send(request.body(Body::from(form.to_owned())).unwrap()).await
    }

    async fn jobs(&self) -> Vec<JobView> {
        self.bench.service.jobs(None).await.unwrap()
    }
}

#[tokio::test]
async fn a_stranger_is_led_to_the_door_and_back() {
    let bench = Bench::new("").await;
    let request = Request::get("/endpoints/press-01").header(header::ACCEPT, "text/html");
    let response = bench.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    assert_eq!(response.headers()[header::LOCATION], "/login?next=/endpoints/press-01");
}

#[tokio::test]
async fn an_order_without_a_script_is_asked_once_more_and_from_our_pages_only() {
    let reader = Reader::signed_in().await;
    let path = "/endpoints/press-01/recover";
    let (status, page) = read(reader.post(path, "confirm=", HOST).await).await;
    assert!(status == StatusCode::OK && page.contains("Recover press-01?") && page.contains("value=\"yes\""));
    assert_eq!(reader.post(path, "confirm=yes", "evil.example").await.status(), StatusCode::FORBIDDEN);
    assert!(reader.jobs().await.is_empty());
    let response = reader.post(path, "confirm=yes&reason=dark", HOST).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    let jobs = reader.jobs().await;
    assert_eq!((jobs.len(), jobs[0].reason.as_str()), (1, "dark"));
    let cancel = format!("/jobs/{}/cancel", jobs[0].job);
    let (_, page) = read(reader.post(&cancel, "", HOST).await).await;
    assert!(page.contains("Its disk is untouched so far"));
    assert!(!reader.jobs().await[0].state.is_over());
    reader.post(&cancel, "confirm=yes", HOST).await;
    assert!(reader.jobs().await[0].state.is_over());
}

#[tokio::test]
async fn stop_is_two_touches_from_every_page_and_stands_on_all_of_them() {
    let reader = Reader::signed_in().await;
    let page = async |path: &str| read(reader.get(path).await).await.1;
    assert!(page("/drills").await.contains("href=\"/stop\""));
    assert!(page("/stop").await.contains("method=\"post\" action=\"/stop\""));
    assert!(!page("/").await.contains("STOP stands"));
    reader.post("/stop", "reason=%3Cb%3Esmoke", "evil.example").await;
    assert!(!page("/").await.contains("STOP stands"), "from our pages only");
    assert_eq!(reader.post("/stop", "reason=%3Cb%3Esmoke", HOST).await.status(), StatusCode::SEE_OTHER);
    for path in ["/", "/?part=live", "/endpoints/press-01", "/drills"] {
        assert!(page(path).await.contains("STOP stands"), "{path}");
    }
    assert!(page("/stop").await.contains("&lt;b&gt;smoke"));
    let refused = read(reader.post("/endpoints/press-01/recover", "confirm=yes", HOST).await).await;
    assert!(refused.0 == StatusCode::CONFLICT && refused.1.contains("site-stopped"));
    reader.post("/stop/release", "reason=false+alarm", HOST).await;
    assert!(page("/stop").await.contains("Another person must too"));
    let alone = read(reader.post("/stop/release", "reason=again", HOST).await).await;
    assert!(alone.0 == StatusCode::CONFLICT && alone.1.contains("person add"), "{}", alone.1);
}

#[tokio::test]
async fn every_page_is_whole_uncached_and_needs_no_exception() {
    let reader = Reader::signed_in().await;
    let job = reader.bench.recover("press-01").await.job;
    for path in [
        "/",
        "/endpoints",
        "/approvals",
        "/network",
        "/network/press-01",
        "/site",
        "/endpoints/press-01",
        &format!("/jobs/{job}"),
        "/drills",
        "/stop",
        "/login",
        "/endpoints/none",
        "/jobs/x",
    ] {
        let response = reader.get(path).await;
        let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
        // With `no-referrer`, browsers send `Origin: null` with our own forms.
        assert_eq!(response.headers()[header::REFERRER_POLICY], "same-origin");
        let (_, page) = read(response).await;
        assert!(
            page.starts_with("<!DOCTYPE html>") && !page.contains(" style=") && !page.contains("://"),
            "{path}"
        );
    }
    let (_, part) = read(reader.get("/endpoints/press-01?part=live").await).await;
    assert!(part.starts_with("<div") && part.contains("press-01"));
    for asset in ["console.css", "console.js", "mark.svg"] {
        assert_eq!(reader.get(&format!("/assets/{asset}")).await.status(), StatusCode::OK);
    }
    assert_eq!(reader.get("/assets/../Cargo.toml").await.status(), StatusCode::NOT_FOUND);
}

async fn views() -> (EndpointView, JobView) {
    let bench = Bench::new("").await;
    bench.add("press-01", "52:54:00:12:34:56", json!({})).await;
    let job = bench.recover("press-01").await;
    (bench.service.endpoint(&"press-01".parse().unwrap()).await.unwrap(), job)
}

#[tokio::test]
async fn whatever_holds_a_job_the_page_says_what_now() {
    let (mut view, mut held) = views().await;
    for reason in HoldReason::ALL {
        let (what, what_now) = (reason.what().to_owned(), reason.what_now().to_owned());
        let state =
            JobState::Held { stage: Stage::Imaging, reason: *reason, detail: "<b>PCR 4</b>".to_owned() };
        held = JobView { state, what, what_now, ..held };
        view.pairing_code = (*reason == HoldReason::PairingNeeded).then(|| "123456".to_owned());
        view.job = Some(held.clone());
        let page = endpoint::content(&view, &engineer(), held.asked_unix_ms + 60_000).into_string();
        for wanted in [reason.code(), "What now:", "&lt;b&gt;PCR 4", "action=\"/jobs/"] {
            assert!(page.contains(wanted), "{}: {wanted}\n{page}", reason.code());
        }
        assert_eq!(page.contains("123456"), *reason == HoldReason::PairingNeeded);
        let list = endpoints::row(&view, held.asked_unix_ms).into_string();
        assert!(!list.contains("<form"), "no order can be given from a list");
    }
}

#[tokio::test]
async fn a_page_says_on_what_the_belief_in_a_tpm_rests() {
    let (mut view, job) = views().await;
    let page = |view: &EndpointView| endpoint::content(view, &engineer(), job.asked_unix_ms).into_string();
    assert!(!page(&view).contains("TPM's maker"), "no TPM, no maker");
    view.ek_sha256 = Some("00".repeat(32));
    for said in [None, Some(EkCertificate::RootUnknown { issuer: "CN=<X>".into(), tpm: TpmModel::default() })]
    {
        view.ek_certificate = said;
        let page = page(&view);
        assert!(page.contains("weaker proof") && !page.contains("<X>"), "{page}");
    }
    view.ek_certificate = Some(EkCertificate::Verified { root: "CN=Maker".into(), tpm: TpmModel::default() });
    assert!(page(&view).contains("verified by CN=Maker") && !page(&view).contains("weaker"));
}

#[tokio::test]
async fn a_captured_disk_says_what_to_look_at_before_it_is_signed() {
    let (_, view) = views().await;
    let captured = Captured {
        disk_bytes: 2 << 30,
        data_bytes: 1 << 30,
        free_bytes: 1 << 30,
        new_chunks: 12,
        sent_bytes: 3 << 20,
        warnings: vec!["p2:/etc/<key> is a private key".into()],
    };
    let view =
        JobView { kind: JobKind::Capture, state: JobState::Captured, captured: Some(captured), ..view };
    let page = job::content(&view, &[], &engineer(), view.asked_unix_ms).into_string();
    for wanted in
        ["Capture of ", "3.0 MiB in 12 chunks", "before you sign it", "p2:/etc/&lt;key&gt; is a private key"]
    {
        assert!(page.contains(wanted), "{wanted}\n{page}");
    }
}

#[tokio::test]
async fn how_a_disk_is_stands_beside_the_plan_and_the_disk() {
    let (mut view, job) = views().await;
    let health = |state| DiskHealth {
        state,
        reasons: vec!["3 sectors were <replaced>".to_owned()],
        figures: HealthFigures { temperature_celsius: Some(31), ..HealthFigures::default() },
    };
    let (plan, worn) = (Some(PlanFacts::default()), health(HealthState::Worn));
    let job = JobView { plan, disk_health: Some(worn.clone()), ..job };
    let page = job::content(&job, &[], &engineer(), job.asked_unix_ms).into_string();
    assert!(page.contains("worn: 3 sectors were &lt;replaced&gt; (31 °C)"), "{page}");

    let inventory = r#"{"macs": [], "vendor": "", "product": "", "serial": "", "uuid": "", "firmware": "uefi", "memory_bytes": 0,
        "disks": [{"wwn": null, "serial": "S1", "model": "", "size_bytes": 1, "sector_bytes": 512, "transport": "ata",
            "rotational": true, "removable": false}]}"#;
    let before: Inventory = serde_json::from_str(inventory).unwrap();
    view.inventory = Some(before.clone());
    let page = |view: &EndpointView| endpoint::content(view, &engineer(), job.asked_unix_ms).into_string();
    assert!(!page(&view).contains("health"), "an agent that says nothing of it is no news");
    let offer = EraseOffer { methods: vec![EraseMethod::FormatCrypto], against: Vec::new() };
    view.inventory = Some(Inventory { disk_health: vec![worn], disk_erase: vec![offer], ..before });
    assert!(page(&view).contains("worn: 3 sectors"), "{}", page(&view));
    assert!(page(&view).contains("format crypto"), "{}", page(&view));
    assert!(!page(&view).contains("Secure Boot on"), "an agent that says nothing of it is no news");
    let missing = SecureBoot { on: true, site_key: SiteKey::Missing, ..SecureBoot::default() };
    view.inventory.as_mut().unwrap().secure_boot = Some(missing);
    assert!(page(&view).contains("key is not enrolled"), "{}", page(&view));
}

#[tokio::test]
async fn progress_is_bytes_and_stretches_and_a_drill_is_marked() {
    let (_, view) = views().await;
    let from = view.asked_unix_ms;
    let phases = vec![
        PhaseView { stage: Stage::Proposed, from_unix_ms: from, to_unix_ms: Some(from + 1_500) },
        PhaseView { stage: Stage::Imaging, from_unix_ms: from + 1_500, to_unix_ms: None },
    ];
    let progress = ProgressView {
        activity: Activity::Writing,
        done_bytes: 512 << 20,
        total_bytes: 2 << 30,
        rate: 90 << 20,
    };
    let state = JobState::Working { stage: Stage::Imaging };
    let view = JobView { phases, progress: Some(progress), state, mode: Mode::Drill, ..view };
    let page = job::content(&view, &[], &engineer(), from + 10_000).into_string();
    for wanted in ["512 MiB of 2.0 GiB", "90 MiB/s", "max=\"2147483648\"", "1.5 s", "8.5 s", "DRILL", "Stop"]
    {
        assert!(page.contains(wanted), "{wanted}\n{page}");
    }
    let over =
        JobView { over_unix_ms: Some(from + 9_000), progress: None, state: JobState::Recovered, ..view };
    let page = job::content(&over, &[], &engineer(), from + 99_000).into_string();
    assert!(page.contains("Recovered") && page.contains("9.0 s") && !page.contains("<form"), "{page}");
}
