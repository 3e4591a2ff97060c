//! The agent API as an endpoint without a TPM meets it, message by message, and each thing that it must be refused. With
//! a TPM: [`with_tpm`].

mod capture;
mod conflict;
mod copied;
mod erase;
mod exhibit;
mod golden;
mod health;
mod in_band;
mod own;
mod posture;
mod rehearsed;
mod versions;
mod with_tpm;
mod word;

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode, header},
};
use images::{Header, ImportRequest, Manifest, SignedManifest, Store, manifest::header::Measurement};
use recovery_protocol::{
    Problem,
    agent::{
        Assignment, BootedAs, DiskFacts, Firmware, Hello, HelloReply, Inventory, Next, PlanFacts, Report,
        ReportReply, Reported, RestoreFacts, RestoreOrder, SourceFacts,
    },
    job::{HoldReason, JobState, Stage},
    operator::{Decision, EndpointState, EndpointView, JobView, PairRequest},
    trust::EnrolmentTicket,
};
use serde::{Serialize, de::DeserializeOwned};
use tempfile::TempDir;
use tower::ServiceExt as _;

use super::{Agents, Expectations, Parts};
use crate::{
    boot::BootDesk,
    clock::SystemClock,
    config::Config,
    control_plane::Embedded,
    db::{self, conformance::database},
    evidence::EvidenceLog,
    golden::Golden,
    jobs::{journal::Journal, run::Runner},
    keys::Keys,
    live::Live,
    power::Drivers,
    service::{Actor, Inner, Service},
};

const MAC: &str = "52:54:00:00:00:01";

struct Site {
    _dir: TempDir,
    journal: Arc<Journal>,
    service: Service,
    runner: Runner,
    live: Arc<Live>,
    router: Router,
    desk: Arc<BootDesk>,
}

impl Site {
    /// An appliance with one endpoint without a TPM.
    async fn new() -> Self {
        Self::of("enrolment = \"none\"\n", Vec::new(), Expectations::default()).await
    }

    /// `more` belongs to the blueprint; the image and the recovery system measure what is said.
    async fn of(more: &str, measurements: Vec<Measurement>, expectations: Expectations) -> Self {
        Self::configured("", more, measurements, expectations).await
    }

    /// As [`Site::of`]; `top` stands before all tables of the configuration.
    async fn configured(
        top: &str,
        more: &str,
        measurements: Vec<Measurement>,
        expectations: Expectations,
    ) -> Self {
        Self::with_disk(&crate::testing::disk(), top, more, measurements, expectations).await
    }

    /// As [`Site::configured`], with an image of this disk.
    async fn with_disk(
        disk: &[u8],
        top: &str,
        more: &str,
        measurements: Vec<Measurement>,
        expectations: Expectations,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let text = format!("data_dir = \"state\"\n{top}[blueprints.box]\nimage = \"box\"\n{more}");
        let config = Arc::new(Config::parse(&text, &dir.path().join("gs.toml")).unwrap());
        let keys = Arc::new(Keys::open(&config.data_dir, &["a".to_owned()], &[]).unwrap());
        golden::image(&config, dir.path(), disk, measurements);
        let db = database(&config.data_dir.join("db")).await;
        let clock = Arc::new(SystemClock);
        let evidence = EvidenceLog::new(keys.clone());
        let journal =
            Arc::new(Journal::open(db.clone(), config.clone(), evidence, clock.clone()).await.unwrap());
        let golden = Golden::open(&config.image_store(), &config.trust_root()).unwrap();
        let live = Arc::new(Live::default());
        let plane = Arc::new(Embedded::new(db));
        let minute = std::time::Duration::from_secs(60);
        let drivers = Arc::new(Drivers::default().with_in_band(live.in_band.clone(), minute));
        let runner = Runner::new(journal.clone(), golden.clone(), drivers, plane, live.clone());
        let desk = Arc::new(BootDesk::new(journal.tickets.clone(), clock));
        let service = Service::new(Inner {
            journal: journal.clone(),
            golden: golden.clone(),
            keys: keys.clone(),
            live: live.clone(),
            desk: desk.clone(),
            frame_bytes: Arc::default(),
            depot: Default::default(),
            exhibits: crate::exhibits::Exhibits::new(&config, None),
            channels: Default::default(),
            followed: crate::followed::Followed::open(&config).unwrap(),
            started_unix_ms: journal.now(),
        });
        let router = Agents::new(Parts {
            journal: journal.clone(),
            golden,
            live: live.clone(),
            keys,
            service: service.clone(),
            expectations,
            maker_roots: crate::maker_roots::read(config.tpm_roots_dir.as_deref()).unwrap(),
            http_port: 80,
        })
        .router();
        let new = serde_json::json!({ "endpoint": "press-01", "macs": [MAC], "blueprint": "box" });
        service.add_endpoint(&anna(), serde_json::from_value(new).unwrap()).await.unwrap();
        Self { _dir: dir, journal, service, desk, runner, live, router }
    }

    async fn say<M: Serialize, R: DeserializeOwned>(&self, call: &str, message: &M) -> Result<R, Problem> {
        let request = Request::post(format!("/agent/v1/{call}"))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::HOST, "10.0.0.1:8443")
            .extension(crate::tls::Peer::at("10.0.3.9:4000"))
            .body(Body::from(serde_json::to_vec(message).unwrap()))
            .unwrap();
        let (status, text) = crate::testing::read(self.router.clone().oneshot(request).await.unwrap()).await;
        if status == StatusCode::OK {
            Ok(serde_json::from_str(&text).unwrap())
        } else {
            let problem: Problem = serde_json::from_str(&text).unwrap();
            assert_eq!(status.as_u16(), problem.status);
            Err(problem)
        }
    }

    /// Bytes of a capture.
    async fn bring(&self, what: &str, session: &str, body: Vec<u8>) -> Result<Vec<u8>, Problem> {
        let request = Request::post(format!("/agent/v1/capture/{what}"))
            .header(header::AUTHORIZATION, format!("Bearer {session}"))
            .body(Body::from(body))
            .unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec();
        if status == StatusCode::OK { Ok(bytes) } else { Err(serde_json::from_slice(&bytes).unwrap()) }
    }

    async fn hello(&self, hello: &Hello) -> Result<HelloReply, Problem> {
        self.say("hello", hello).await
    }

    async fn recover(&self) -> JobView {
        let job =
            self.service.recover(&anna(), &"press-01".parse().unwrap(), Default::default()).await.unwrap();
        self.runner.settle().await.unwrap();
        self.service.job(job.job).await.unwrap()
    }

    async fn report(
        &self,
        session: &str,
        order: &RestoreOrder,
        what: Reported,
    ) -> Result<ReportReply, Problem> {
        let report = Report { session: session.to_owned(), job: order.job, step_seq: order.step_seq, what };
        self.say("report", &report).await
    }

    async fn next(&self, session: &str) -> Result<Assignment, Problem> {
        self.say("next", &Next { session: session.to_owned() }).await
    }

    /// Hello and pairing: a session that may ask for orders.
    async fn paired(&self) -> String {
        let HelloReply::Pair { session, code } =
            self.hello(&hello(BootedAs::RecoverySystem, None)).await.unwrap()
        else {
            panic!("no pairing code")
        };
        self.pair(&code).await.unwrap();
        session
    }

    async fn pair(&self, code: &str) -> Result<EndpointView, Problem> {
        let request = PairRequest { code: code.to_owned() };
        self.service.pair(&anna(), &"press-01".parse().unwrap(), request).await
    }

    async fn ordered(&self, session: &str) -> RestoreOrder {
        match self.next(session).await.unwrap() {
            Assignment::Restore(order) => *order,
            other => panic!("{other:?}"),
        }
    }

    /// From the first order to the reboot; the ticket that lies on the ESP then.
    async fn restore(&self, session: &str) -> EnrolmentTicket {
        let order = self.ordered(session).await;
        let stats = RestoreFacts::default();
        for what in [
            Reported::Planned {
                plan: PlanFacts::default(),
                disk: disk_facts(),
                preserved: Vec::new(),
                health: Box::default(),
            },
            Reported::Written { stats, sources: Vec::new() },
            Reported::Proven { stats, preserved: Vec::new() },
        ] {
            assert_eq!(self.report(session, &order, what).await.unwrap(), ReportReply::Continue);
        }
        // The answer waits until the runner has cleared the boot override.
        let committed = self.report(session, &order, Reported::Committed { stats, placed: Vec::new() });
        let (reply, ()) = tokio::join!(committed, async {
            let mut changes = self.service.changes();
            loop {
                changes.borrow_and_update();
                self.runner.settle().await.unwrap();
                if self.stage(&order).await == Some(Stage::OsWait) {
                    return;
                }
                changes.changed().await.unwrap();
            }
        });
        assert_eq!(reply.unwrap(), ReportReply::Continue);
        serde_json::from_slice(&order.esp_files[EnrolmentTicket::ESP_PATH].0).unwrap()
    }

    async fn stage(&self, order: &RestoreOrder) -> Option<Stage> {
        self.service.job(order.job).await.unwrap().state.stage()
    }

    async fn entries(&self) -> Vec<serde_json::Value> {
        let lines = self.service.evidence_lines(None).await.unwrap();
        let entry = |line: &String| serde_json::to_value(recovery_protocol::evidence::entry(line)?).ok();
        lines.iter().filter_map(entry).collect()
    }

    async fn kinds(&self) -> Vec<String> {
        let kind = |entry: &serde_json::Value| entry["kind"].as_str().map(str::to_owned);
        self.entries().await.iter().filter_map(kind).collect()
    }

    /// The facts of the last entry of this kind.
    async fn evidence(&self, kind: &str) -> serde_json::Value {
        let entries = self.entries().await;
        entries.iter().rfind(|entry| entry["kind"] == kind).unwrap()["facts"].clone()
    }
}

fn anna() -> Actor {
    Actor::operator("anna")
}

fn disk_facts() -> DiskFacts {
    DiskFacts {
        wwn: None,
        serial: Some("S1".into()),
        model: "test".into(),
        size_bytes: 1 << 30,
        sector_bytes: 512,
        transport: "nvme".into(),
        rotational: false,
        removable: false,
        path: Some("pci-0000:00:04.0-nvme-1".into()),
    }
}

fn hello(booted_as: BootedAs, ticket: Option<&str>) -> Hello {
    let inventory = Inventory {
        macs: vec![MAC.parse().unwrap()],
        dock_macs: Vec::new(),
        vendor: "v".into(),
        product: "p".into(),
        serial: String::new(),
        uuid: String::new(),
        firmware: Firmware::Bios,
        memory_bytes: 1 << 30,
        disks: vec![disk_facts()],
        hostname: String::new(),
        addresses: Vec::new(),
        disk_health: Vec::new(),
        disk_erase: Vec::new(),
        secure_boot: None,
    };
    Hello {
        protocol: recovery_protocol::AGENT_PROTOCOL,
        agent_version: "0".into(),
        booted_as,
        inventory,
        tpm: None,
        enrolment_ticket: ticket.map(str::to_owned),
    }
}

fn code<T: std::fmt::Debug>(result: Result<T, Problem>) -> String {
    result.unwrap_err().code
}

#[tokio::test]
async fn an_endpoint_without_a_tpm_is_paired_restored_and_recovered() {
    let site = Site::new().await;
    let job = site.recover().await;
    assert_eq!(job.state, JobState::Working { stage: Stage::AgentWait });
    assert!(site.journal.tickets.find(MAC.parse().unwrap(), site.journal.now()).is_some());
    assert!(job.what_now.contains("network boot"), "a person is told what to do: {}", job.what_now);

    let session = site.paired().await;
    let order = site.ordered(&session).await;
    assert_eq!(order.manifest_urls, [format!("http://10.0.0.1/v1/manifests/{}", order.image)]);
    assert_eq!((order.disk.min_size_bytes, order.step_seq), (4096 * 512, 1));
    let ticket = site.restore(&session).await;
    assert_eq!((ticket.job, ticket.appliance.as_str()), (job.job, "10.0.0.1:8443"));
    assert!(
        site.journal.tickets.find(MAC.parse().unwrap(), site.journal.now()).is_none(),
        "the boot ticket is void"
    );

    let reply = site.hello(&hello(BootedAs::GoldenSystem, Some(&ticket.secret))).await.unwrap();
    assert!(matches!(reply, HelloReply::Wait { .. }));
    site.runner.settle().await.unwrap();
    let job = site.service.job(job.job).await.unwrap();
    assert_eq!(job.state, JobState::Recovered);
    assert_eq!(job.restore, Some(RestoreFacts::default()));
    let endpoint = site.service.endpoint(&"press-01".parse().unwrap()).await.unwrap();
    assert_eq!(endpoint.state, EndpointState::Trusted);
    for kind in [
        "order.recover",
        "decision.admitted",
        "proof.pairing",
        "order.restore",
        "report.planned",
        "transition",
    ] {
        assert!(site.kinds().await.iter().any(|k| k == kind), "no {kind} in evidence");
    }

    let again = site.hello(&hello(BootedAs::GoldenSystem, Some(&ticket.secret))).await;
    assert_eq!(code(again), "ticket-spent");
}

#[tokio::test]
async fn an_order_names_the_second_appliance_and_evidence_says_who_gave_what() {
    let relay = |subnet: &str, at: &str| format!("{{ subnet = \"{subnet}\", at = \"{at}\" }}");
    let relays = [
        relay("10.0.4.0/24", "10.0.4.1:8480"),
        relay("10.0.3.0/24", "10.0.3.9:8480"),
        relay("10.0.3.0/24", "10.0.3.1:8480"),
    ];
    let more =
        format!("[serving]\nalso = [\"10.0.0.6\", \"10.0.0.7:8080\"]\nrelays = [{}]\n", relays.join(", "));
    let site = Site::of(&format!("enrolment = \"none\"\n{more}"), Vec::new(), Expectations::default()).await;
    site.recover().await;
    let session = site.paired().await;
    let order = site.ordered(&session).await;
    // The relay of its network and not itself, the appliance, then the others.
    let at = ["10.0.3.1:8480", "10.0.0.1", "10.0.0.6", "10.0.0.7:8080"];
    assert_eq!(order.frames_urls, at.map(|at| format!("http://{at}/v1/frames")));
    assert_eq!(order.manifest_urls, at.map(|at| format!("http://{at}/v1/manifests/{}", order.image)));

    let planned = Reported::Planned {
        plan: PlanFacts::default(),
        disk: disk_facts(),
        preserved: Vec::new(),
        health: Box::default(),
    };
    site.report(&session, &order, planned).await.unwrap();
    let source = |url: &str, left: Option<&str>| SourceFacts {
        url: url.into(),
        chunks: 3,
        wire_bytes: 70,
        left: left.map(Into::into),
    };
    let sources =
        vec![source("http://10.0.0.1/v1/frames", Some("chunk\u{1b}[2J was altered")), source("b", None)];
    let written = Reported::Written { stats: RestoreFacts::default(), sources };
    site.report(&session, &order, written).await.unwrap();
    let log = site.evidence("report.sources").await;
    assert_eq!(log["sources"][0]["left"], "chunk[2J was altered", "what an endpoint says moves no cursor");
    assert_eq!((&log["sources"][1]["url"], &log["sources"][1]["wire_bytes"]), (&"b".into(), &70.into()));
}

#[tokio::test]
async fn an_unknown_endpoint_is_discovered_shown_and_gets_nothing() {
    let site = Site::new().await;
    let mut stranger = hello(BootedAs::RecoverySystem, None);
    stranger.inventory.macs = vec!["02:00:00:00:00:99".parse().unwrap()];
    assert_eq!(code(site.hello(&stranger).await), "endpoint-unknown");
    let seen = site.service.endpoint(&"seen-020000000099".parse().unwrap()).await.unwrap();
    assert_eq!((seen.state, seen.blueprint.as_str()), (EndpointState::Discovered, ""));
    let order = site.service.recover(&anna(), &seen.endpoint, Default::default()).await;
    assert_eq!(code(order), "endpoint-not-approved");
    let new =
        serde_json::json!({ "endpoint": "press-02", "macs": ["02:00:00:00:00:99"], "blueprint": "box" });
    let known = site.service.add_endpoint(&anna(), serde_json::from_value(new).unwrap()).await.unwrap();
    assert_eq!(known.state, EndpointState::Known);
    assert_eq!(known.inventory.map(|i| i.product).as_deref(), Some("p"), "what was seen is kept");
    assert_eq!(site.service.endpoints(None).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_boot_without_and_after_a_ticket_is_refused_by_name_once_in_evidence() {
    let site = Site::new().await;
    let recovery = hello(BootedAs::RecoverySystem, None);
    for _ in 0..3 {
        assert_eq!(code(site.hello(&recovery).await), "no-boot-ticket");
    }
    assert_eq!(site.kinds().await.iter().filter(|kind| *kind == "refusal.agent").count(), 1);
    site.recover().await;
    let session = site.paired().await;
    site.restore(&session).await;
    assert_eq!(code(site.hello(&recovery).await), "boot-ticket-spent");
    assert!(matches!(site.next(&session).await, Ok(Assignment::Reboot { .. })));
}

#[tokio::test]
async fn spent_foreign_and_missing_enrolment_tickets_are_refused_by_name() {
    let site = Site::new().await;
    let job = site.recover().await;
    let session = site.paired().await;
    let first = site.restore(&session).await;
    let golden = |ticket: Option<&str>| hello(BootedAs::GoldenSystem, ticket);
    assert_eq!(code(site.hello(&golden(Some("made up"))).await), "ticket-foreign");
    assert_eq!(code(site.hello(&golden(None)).await), "ticket-missing");
    assert!(matches!(
        site.service.job(job.job).await.unwrap().state,
        JobState::Working { stage: Stage::OsWait }
    ));
    // Past the point of no return: the first stop holds, the second gives up and voids the ticket.
    for _ in 0..2 {
        site.service.cancel(&anna(), job.job, Decision::default()).await.unwrap();
    }
    assert_eq!(code(site.hello(&golden(Some(&first.secret))).await), "ticket-spent");
    site.recover().await;
    let session = site.paired().await;
    site.restore(&session).await;
    assert_eq!(code(site.hello(&golden(Some(&first.secret))).await), "ticket-spent", "of an earlier job");
}

#[tokio::test]
async fn a_wrong_pairing_code_gives_nothing_and_three_end_it() {
    let site = Site::new().await;
    let job = site.recover().await;
    let HelloReply::Pair { session, code: shown } =
        site.hello(&hello(BootedAs::RecoverySystem, None)).await.unwrap()
    else {
        panic!("no pairing code")
    };
    assert!(matches!(site.next(&session).await, Ok(Assignment::Wait { why, .. }) if why.contains(&shown)));
    let wrong = if shown == "000000" { "000001" } else { "000000" };
    for _ in 0..3 {
        assert_eq!(code(site.pair(wrong).await), "pairing-code-wrong");
    }
    assert_eq!(code(site.pair(&shown).await), "nothing-to-pair", "the code is void");
    assert_eq!(code(site.next(&session).await), "session-unknown");
    let state = site.service.job(job.job).await.unwrap().state;
    assert!(matches!(state, JobState::Held { reason: HoldReason::PairingNeeded, .. }));
}

#[tokio::test]
async fn what_the_agent_refuses_holds_the_job_with_its_words_and_stops_the_agent() {
    let site = Site::new().await;
    let job = site.recover().await;
    let session = site.paired().await;
    let order = site.ordered(&session).await;
    let what =
        Reported::Refused { reason: HoldReason::DiskNotFound, detail: "no disk with serial S9".into() };
    site.report(&session, &order, what).await.unwrap();
    let view = site.service.job(job.job).await.unwrap();
    assert!(matches!(view.state, JobState::Held { reason: HoldReason::DiskNotFound, .. }));
    assert!(view.what.contains("S9") && !view.what_now.is_empty());
    assert!(matches!(site.next(&session).await, Ok(Assignment::Stop { why }) if why.contains("S9")));
    let late = site
        .report(&session, &order, Reported::Written { stats: RestoreFacts::default(), sources: Vec::new() })
        .await;
    assert!(matches!(late, Ok(ReportReply::Abort { .. })));

    // A person lets it go on: the agent that waits is asked to introduce itself again, and is not powered off.
    site.service.resume(&anna(), job.job, Decision::default()).await.unwrap();
    site.runner.settle().await.unwrap();
    assert_eq!(code(site.next(&session).await), "session-unknown");
    let session = site.paired().await;
    assert_eq!(site.ordered(&session).await.step_seq, 2);
}

#[tokio::test]
async fn a_stale_order_and_a_foreign_session_change_nothing() {
    let site = Site::new().await;
    site.recover().await;
    let session = site.paired().await;
    let stale = site.ordered(&session).await;
    let order = site.ordered(&session).await;
    assert_eq!(order.step_seq, stale.step_seq + 1);
    let stats = RestoreFacts::default();
    assert_eq!(
        code(site.report(&session, &stale, Reported::Written { stats, sources: Vec::new() }).await),
        "session-unknown"
    );
    assert_eq!(
        code(site.report("made up", &order, Reported::Written { stats, sources: Vec::new() }).await),
        "session-unknown"
    );
    assert_eq!(site.stage(&order).await, Some(Stage::Imaging));
    let early = site.report(&session, &order, Reported::Committed { stats, placed: Vec::new() }).await;
    assert!(matches!(early, Ok(ReportReply::Abort { .. })), "committed without a read-back");
}

#[tokio::test]
async fn every_order_names_its_disk_and_only_that_one_is_meant_from_then_on() {
    let site = Site::new().await;
    site.recover().await;
    let session = site.paired().await;
    let first = site.ordered(&session).await.disk;
    assert_eq!(first.serial, disk_facts().serial);
    assert!(site.kinds().await.contains(&"endpoint.disk-pinned".to_owned()));
}

#[tokio::test]
async fn two_fixed_disks_and_none_on_record_are_held() {
    let site = Site::new().await;
    let job = site.recover().await;
    let mut two = hello(BootedAs::RecoverySystem, None);
    let other = DiskFacts { serial: Some("HISTORIAN".to_owned()), ..disk_facts() };
    two.inventory.disks = vec![disk_facts(), other];
    let HelloReply::Pair { session, code } = site.hello(&two).await.unwrap() else {
        panic!("no pairing code")
    };
    site.pair(&code).await.unwrap();
    assert!(matches!(site.next(&session).await.unwrap(), Assignment::Wait { .. }));
    match site.service.job(job.job).await.unwrap().state {
        JobState::Held { reason: HoldReason::DiskAmbiguous, detail, .. } => {
            assert!(detail.contains("HISTORIAN"))
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_endpoint_with_a_tpm_on_record_cannot_hide_it() {
    let site = Site::new().await;
    let mut tx = site.journal.begin().await.unwrap();
    let mut endpoint = db::endpoint::get(tx.conn(), &"press-01".parse().unwrap()).await.unwrap().unwrap();
    endpoint.ek_sha256 = Some("00".repeat(32));
    db::endpoint::put(tx.conn(), &endpoint).await.unwrap();
    tx.commit().await.unwrap();
    site.recover().await;
    assert_eq!(code(site.hello(&hello(BootedAs::RecoverySystem, None)).await), "tpm-missing");
}

#[tokio::test]
async fn a_hello_after_the_proof_names_no_disk() {
    let site = Site::new().await;
    site.recover().await;
    let session = site.paired().await;
    let mut liar = hello(BootedAs::GoldenSystem, None);
    liar.inventory.disks = vec![DiskFacts { serial: Some("HISTORIAN".to_owned()), ..disk_facts() }];
    assert!(matches!(site.hello(&liar).await, Ok(HelloReply::Wait { .. })));
    let shown = site.service.endpoint(&"press-01".parse().unwrap()).await.unwrap().inventory.unwrap();
    assert_eq!(shown.disks[0].serial.as_deref(), Some("HISTORIAN"), "the claim is shown");
    assert_eq!(site.ordered(&session).await.disk.serial, disk_facts().serial, "and decides nothing");
}
