//! What a recovery keeps of the old system, as an endpoint brings it up: taken once, measured here, read and deleted by few, and never a
//! reason for a recovery to wait.

use recovery_protocol::{
    EndpointId, JobId,
    exhibit::{Cut, ExhibitState, Keep, KeepOrder, Kept, KeptSoFar},
    operator::{Decision, RecoverRequest},
};

use super::*;

fn press() -> EndpointId {
    "press-01".parse().unwrap()
}

fn quick() -> RecoverRequest {
    RecoverRequest { keep: Some(Keep::Quick), reason: "ransomware".into(), ..RecoverRequest::default() }
}

fn planned() -> Reported {
    Reported::Planned {
        plan: PlanFacts::default(),
        disk: disk_facts(),
        preserved: Vec::new(),
        health: Box::default(),
    }
}

impl Site {
    /// `top` stands before all tables of the configuration, `more` in the blueprint.
    async fn with(top: &str, more: &str) -> Self {
        let more = format!("enrolment = \"none\"\n{more}");
        Self::configured(top, &more, Vec::new(), Expectations::default()).await
    }

    /// An order that keeps something.
    async fn keeps(&self, request: RecoverRequest) -> (String, RestoreOrder, KeepOrder) {
        self.service.recover(&anna(), &press(), request).await.unwrap();
        self.runner.settle().await.unwrap();
        let session = self.paired().await;
        let order = self.ordered(&session).await;
        let keep = order.keep.clone().unwrap();
        (session, order, keep)
    }

    async fn part(&self, session: &str, at: u64, body: &[u8]) -> Result<u64, Problem> {
        let request = Request::post(format!("/agent/v1/exhibit?at={at}"))
            .header(header::AUTHORIZATION, format!("Bearer {session}"))
            .body(Body::from(body.to_vec()))
            .unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        match status {
            StatusCode::OK => Ok(serde_json::from_slice::<KeptSoFar>(&bytes).unwrap().bytes),
            _ => Err(serde_json::from_slice(&bytes).unwrap()),
        }
    }

    async fn state(&self, order: &RestoreOrder) -> ExhibitState {
        self.service.exhibit(order.job).await.unwrap().state
    }
}

/// As an endpoint tells of these bytes.
fn told(bytes: &[u8]) -> Kept {
    Kept {
        bytes: bytes.len() as u64,
        files: 2,
        took_ms: 900,
        sha256: recovery_protocol::tpm::Sha256::of(bytes).to_string(),
        blake3: blake3::hash(bytes).to_hex().to_string(),
        cut: vec![Cut::new("the\u{1b} rest", "no room")],
    }
}

fn kept(bytes: &[u8]) -> Reported {
    Reported::Kept { kept: Box::new(told(bytes)) }
}

async fn all_of(site: &Site, order: &RestoreOrder) -> Vec<u8> {
    let (_, parts) = site.service.read_exhibit(&anna(), order.job).await.unwrap();
    let read = |part| site.service.exhibits().read(order.job, part).unwrap();
    parts.iter().flat_map(read).collect()
}

#[tokio::test]
async fn what_is_kept_arrives_is_measured_here_and_its_way_is_in_evidence() {
    let site = Site::with("", "keep_files = [\"/etc/hostname\"]\nkeep_seconds = 30\n").await;
    let (session, order, keep) = site.keeps(quick()).await;
    assert_eq!((keep.keep, keep.seconds, keep.bytes, keep.nonce.0.len()), (Keep::Quick, 30, 64 << 20, 32));
    assert_eq!(keep.files, ["/etc/hostname".parse().unwrap()]);
    assert_eq!(site.evidence("order.recover").await["keep"], "quick");
    assert_eq!(site.part(&session, 0, b"first").await.unwrap(), 5);
    assert_eq!(site.part(&session, 5, b" and second").await.unwrap(), 16);
    assert_eq!(site.part(&session, 5, b" and second").await.unwrap(), 16, "said again");
    let bytes = b"first and second";
    for _ in 0..2 {
        assert_eq!(site.report(&session, &order, kept(bytes)).await.unwrap(), ReportReply::Continue);
    }
    let said = site.evidence("exhibit.kept").await;
    assert_eq!(
        (&said["ordered_by"], &said["kept"]["sha256"]),
        (&"operator:anna".into(), &told(bytes).sha256.into())
    );
    assert_eq!(
        (&said["budget"]["seconds"], &said["kept"]["cut"][0]["what"]),
        (&30.into(), &"the rest".into())
    );
    assert_eq!(site.kinds().await.iter().filter(|kind| *kind == "exhibit.kept").count(), 1);
    assert_eq!(code(site.part(&session, 16, b"late").await), "session-unknown", "it is closed");

    let job = site.service.job(order.job).await.unwrap();
    let view = job.exhibit.unwrap();
    assert_eq!((view.state, view.kept.as_ref().unwrap().files), (ExhibitState::Kept, 2));
    assert_eq!(all_of(&site, &order).await, bytes);
    assert_eq!(site.evidence("exhibit.read").await["sha256"], told(bytes).sha256);
    assert!(site.service.prove_exhibit(order.job).await.unwrap().is_ok());

    let elsewhere = Actor { scope: Some("line=9".parse().unwrap()), ..anna() };
    for refused in [
        site.service.read_exhibit(&elsewhere, order.job).await.map(drop),
        site.service.delete_exhibit(&elsewhere, order.job, Decision { reason: "x".into() }).await.map(drop),
    ] {
        assert_eq!(code(refused), "out-of-scope");
    }

    // The recovery goes its way; an order after the plan keeps nothing any more.
    assert_eq!(site.report(&session, &order, planned()).await.unwrap(), ReportReply::Continue);
    assert_eq!(site.ordered(&session).await.keep, None);

    assert_eq!(
        code(site.service.delete_exhibit(&anna(), order.job, Decision::default()).await),
        "reason-missing"
    );
    let reason = Decision { reason: "looked at".into() };
    let view = site.service.delete_exhibit(&anna(), order.job, reason.clone()).await.unwrap();
    assert_eq!((view.state, view.deleted_by.as_deref()), (ExhibitState::Deleted, Some("operator:anna")));
    assert_eq!(site.evidence("exhibit.deleted").await["reason"], "looked at");
    assert_eq!(site.service.exhibits().jobs().unwrap(), []);
    for gone in [
        site.service.delete_exhibit(&anna(), order.job, reason).await.map(drop),
        site.service.read_exhibit(&anna(), order.job).await.map(drop),
    ] {
        assert_eq!(code(gone), "exhibit-gone");
    }
}

#[tokio::test]
async fn nothing_is_taken_of_a_stranger_out_of_order_or_beyond_what_was_ordered() {
    let site = Site::with("[exhibits]\nbytes = 1_048_576\nmax_bytes = 1_572_864\n", "").await;
    let (session, order, _) = site.keeps(quick()).await;
    for stranger in ["", "made up"] {
        assert_eq!(code(site.part(stranger, 0, b"x").await), "session-unknown");
    }
    assert_eq!(code(site.part(&session, 7, b"x").await), "exhibit-out-of-order");
    assert_eq!(site.part(&session, 0, &vec![1; 1 << 20]).await.unwrap(), 1 << 20);
    assert_eq!(
        code(site.part(&session, 1 << 20, b"x").await),
        "exhibit-out-of-order",
        "more than was ordered"
    );
    // What is said to have been sent was not: both stand there, and the recovery goes on.
    assert_eq!(site.report(&session, &order, kept(b"something else")).await.unwrap(), ReportReply::Continue);
    let said = site.evidence("exhibit.kept").await;
    assert_eq!(said["kept"]["bytes"], 1 << 20);
    assert!(said["kept"]["cut"][0]["what"].as_str().unwrap().contains("not the same"), "{said}");
    // Another one has no room, and says so; the recovery goes on.
    let reason = || Decision { reason: "again".into() };
    site.service.cancel(&anna(), order.job, reason()).await.unwrap();
    site.service.cancel(&anna(), order.job, reason()).await.unwrap();
    let (session, order, _) = site.keeps(quick()).await;
    assert_eq!(code(site.part(&session, 0, &vec![1; 1 << 20]).await), "exhibits-full");
    let nothing = Reported::Kept { kept: Box::new(Kept::nothing(Cut::new("all", "there is no room"))) };
    assert_eq!(site.report(&session, &order, nothing).await.unwrap(), ReportReply::Continue);
    assert_eq!(site.state(&order).await, ExhibitState::Nothing);
    assert_eq!(site.report(&session, &order, planned()).await.unwrap(), ReportReply::Continue);
    assert!(site.service.prove_exhibit(order.job).await.unwrap().unwrap_err().contains("nothing was kept"));
}

#[tokio::test]
async fn a_recovery_system_that_says_nothing_of_it_holds_nothing_and_what_came_is_closed() {
    let site = Site::new().await;
    let (session, order, _) = site.keeps(quick()).await;
    site.part(&session, 0, b"half").await.unwrap();
    assert_eq!(site.report(&session, &order, planned()).await.unwrap(), ReportReply::Continue);
    let view = site.service.exhibit(order.job).await.unwrap();
    let kept = view.kept.unwrap();
    assert_eq!((view.state, kept.bytes, kept.cut.len()), (ExhibitState::Kept, 4, 1));
    assert!(kept.cut[0].why.contains("without a word"), "{kept:?}");
}

#[tokio::test]
async fn an_endpoint_that_starts_over_before_it_said_so_begins_anew() {
    let site = Site::new().await;
    let (session, _, _) = site.keeps(quick()).await;
    site.part(&session, 0, b"of the first boot").await.unwrap();
    let session = site.paired().await;
    let order = site.ordered(&session).await;
    assert!(order.keep.is_some() && order.step_seq == 2);
    site.part(&session, 0, b"second").await.unwrap();
    site.report(&session, &order, kept(b"second")).await.unwrap();
    assert_eq!(all_of(&site, &order).await, b"second");
}

#[tokio::test]
async fn the_blueprint_says_what_is_kept_where_nobody_does_and_an_order_says_otherwise() {
    let nothing = Site::new().await;
    nothing.recover().await;
    let session = nothing.paired().await;
    assert_eq!(nothing.ordered(&session).await.keep, None, "a person looked at it first");

    let site = Site::with("", "keep = \"quick\"\n").await;
    let job = site.recover().await;
    assert_eq!(job.keep, Keep::Quick);
    let other = RecoverRequest { keep: Some(Keep::None), ..RecoverRequest::default() };
    assert_eq!(code(site.service.recover(&anna(), &press(), other.clone()).await), "job-open");
    site.service.recover(&anna(), &press(), quick()).await.unwrap();
    site.service.cancel(&anna(), job.job, Decision { reason: "x".into() }).await.unwrap();
    let job = site.service.recover(&anna(), &press(), other).await.unwrap();
    assert_eq!((job.keep, job.exhibit), (Keep::None, None));
}

#[tokio::test]
async fn days_that_are_over_and_recoveries_that_are_end_it_and_bytes_of_nobody_go() {
    let site = Site::with("[exhibits]\ndays = 1\n", "").await;
    let (session, order, _) = site.keeps(quick()).await;
    site.part(&session, 0, b"x").await.unwrap();
    site.service.mind_exhibits().await.unwrap();
    assert_eq!(site.state(&order).await, ExhibitState::Ordered);
    let reason = || Decision { reason: "x".into() };
    site.service.cancel(&anna(), order.job, reason()).await.unwrap();
    site.service.cancel(&anna(), order.job, reason()).await.unwrap();
    let stray = JobId::new(9, [9; 10]);
    site.service.exhibits().append(stray, 0, b"nobody's", 100, 1 << 20).unwrap();
    site.service.mind_exhibits().await.unwrap();
    assert_eq!(site.state(&order).await, ExhibitState::Kept);
    assert_eq!(site.service.exhibits().jobs().unwrap(), [order.job]);
    // As if it had been kept two days ago.
    let mut tx = site.journal.begin().await.unwrap();
    let mut row = crate::db::exhibit::get(tx.conn(), order.job).await.unwrap().unwrap();
    row.record.kept_at = Some(site.journal.now() - 2 * 86_400_000);
    crate::db::exhibit::put(tx.conn(), &row).await.unwrap();
    tx.commit().await.unwrap();
    site.service.mind_exhibits().await.unwrap();
    assert_eq!(site.state(&order).await, ExhibitState::Deleted);
    assert!(site.evidence("exhibit.deleted").await["reason"].as_str().unwrap().contains("1 days"));
    assert_eq!(site.service.exhibits().jobs().unwrap(), []);
}

#[tokio::test]
async fn a_crash_at_any_commit_leaves_it_as_it_was_or_as_it_was_to_be() {
    for after in [false, true] {
        for commits in 0..4 {
            let site = Site::new().await;
            let (session, order, _) = site.keeps(quick()).await;
            site.part(&session, 0, b"first").await.unwrap();
            site.journal.death.next_at(commits, after);
            let _ = site.report(&session, &order, kept(b"first")).await;
            let _ = site.service.read_exhibit(&anna(), order.job).await;
            let _ = site.service.delete_exhibit(&anna(), order.job, Decision { reason: "x".into() }).await;
            site.journal.death.next_at(i64::MAX, false);
            // The same once more, as whoever got no answer does.
            site.report(&session, &order, kept(b"first")).await.unwrap();
            let state = site.state(&order).await;
            let lies = site.service.exhibits().measure(order.job).unwrap().bytes;
            match state {
                ExhibitState::Kept => assert_eq!(lies, 5, "{commits} {after}"),
                ExhibitState::Deleted => site.service.mind_exhibits().await.unwrap(),
                other => panic!("{other:?} {commits} {after}"),
            }
            let kinds = site.kinds().await;
            let count = |kind: &str| kinds.iter().filter(|found| *found == kind).count();
            let deleted = usize::from(state == ExhibitState::Deleted);
            assert_eq!((count("exhibit.kept"), count("exhibit.deleted")), (1, deleted), "{commits} {after}");
            if deleted == 1 {
                assert_eq!(site.service.exhibits().jobs().unwrap(), []);
            }
        }
    }
}
