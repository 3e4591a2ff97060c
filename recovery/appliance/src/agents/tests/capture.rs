//! A capture as an endpoint brings it up, and each thing that is not taken.

use images::frames::{decode_request, encode_request, encode_upload};
use recovery_protocol::{
    EndpointId,
    agent::{CaptureOrder, CaptureSpec, Captured},
    operator::{CaptureRequest, JobKind},
};

use super::*;

fn capture_request() -> CaptureRequest {
    CaptureRequest {
        name: "box".into(),
        version: "2".into(),
        reason: "set up anew".into(),
        ..CaptureRequest::default()
    }
}

/// Frames of these chunks, and the manifest of a disk that they are.
fn captured_disk(spec: &CaptureSpec) -> (Vec<images::Frame>, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let raw = dir.path().join("disk.raw");
    let mut bytes = crate::testing::disk();
    let end = bytes.len() - (64 << 10);
    bytes[1_500_000..end].iter_mut().enumerate().for_each(|(at, byte)| *byte = (at * 7 / 3) as u8);
    std::fs::write(&raw, bytes).unwrap();
    let store = Store::open(dir.path().join("store")).unwrap();
    let request = ImportRequest {
        name: spec.name.clone(),
        version: spec.version.clone(),
        epoch: spec.epoch,
        created_unix_ms: spec.created_unix_ms,
        keep_free_space: true,
        preserve: Vec::new(),
        ..ImportRequest::default()
    };
    let manifest = images::import_raw(&raw, &request, &store, &mut |_| {}).unwrap().manifest;
    let ids: std::collections::BTreeSet<_> = manifest.chunk_ids().collect();
    let frames = ids.iter().map(|id| store.get_frame(id).unwrap()).collect();
    (frames, SignedManifest::unsigned(&manifest).encode())
}

fn press() -> EndpointId {
    "press-01".parse().unwrap()
}

fn ids(frames: &[images::Frame]) -> Vec<images::ChunkId> {
    frames.iter().map(|frame| frame.id).collect()
}

/// A capture whose recovery system has proven itself and has its order.
async fn ordered(site: &Site) -> (String, Box<CaptureOrder>) {
    let job = site.service.capture(&anna(), &press(), capture_request()).await.unwrap();
    assert_eq!((job.kind, job.image_name.as_str()), (JobKind::Capture, "box 2"));
    site.runner.settle().await.unwrap();
    let session = site.paired().await;
    let early = site.bring("missing", &session, encode_request(&[])).await;
    assert_eq!(code(early), "session-unknown", "nothing was ordered yet");
    match site.next(&session).await.unwrap() {
        Assignment::Capture(order) => (session, order),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_not_the_captured_disk_is_not_taken() {
    let site = Site::new().await;
    let (session, order) = ordered(&site).await;
    assert_eq!(code(site.service.capture(&anna(), &press(), capture_request()).await), "job-open");
    assert_eq!(code(site.service.recover(&anna(), &press(), Default::default()).await), "job-open");
    let (frames, manifest) = captured_disk(&order.image);
    for stranger in ["", "made up"] {
        for (what, body) in [
            ("missing", encode_request(&[])),
            ("frames", encode_upload(&frames)),
            ("manifest", manifest.clone()),
        ] {
            assert_eq!(code(site.bring(what, stranger, body).await), "session-unknown");
        }
    }
    let early = site.bring("manifest", &session, manifest.clone()).await;
    assert_eq!(code(early), "message-unreadable", "its chunks are not there");
    let mut junk = frames.clone();
    junk.last_mut().unwrap().bytes[3] ^= 1;
    assert_eq!(code(site.bring("frames", &session, encode_upload(&junk)).await), "message-unreadable");
    let cut = encode_upload(&frames);
    assert_eq!(
        code(site.bring("frames", &session, cut[..cut.len() - 1].to_vec()).await),
        "message-unreadable"
    );
    site.bring("frames", &session, encode_upload(&frames)).await.unwrap();
    let foreign = captured_disk(&CaptureSpec { version: "3".into(), ..order.image.clone() }).1;
    assert_eq!(code(site.bring("manifest", &session, foreign).await), "capture-foreign");
    let image = SignedManifest::decode(&manifest).unwrap().id();
    let what = Reported::Captured { image, captured: Captured::default() };
    let report = Report { session, job: order.job, step_seq: order.step_seq, what };
    assert_eq!(
        code(site.say::<_, ReportReply>("report", &report).await),
        "capture-foreign",
        "it is not there"
    );
    assert_eq!(site.service.images().await.unwrap().len(), 1, "nothing half is listed");
}

#[tokio::test]
async fn a_capture_comes_into_the_store_unsigned_and_the_endpoint_is_as_it_was() {
    let site = Site::new().await;
    let (session, order) = ordered(&site).await;
    assert_eq!((order.image.name.as_str(), order.image.epoch, order.step_seq), ("box", 2, 1));
    assert_eq!(order.disk.serial, disk_facts().serial);
    assert!(order.known_urls[0].starts_with("http://10.0.0.1/v1/manifests/"));

    let (frames, manifest) = captured_disk(&order.image);
    let missing = site.bring("missing", &session, encode_request(&ids(&frames))).await.unwrap();
    let missing = decode_request(&missing).unwrap();
    assert!(!missing.is_empty() && missing.len() < frames.len(), "the image before has some of them");
    site.bring("frames", &session, encode_upload(&frames)).await.unwrap();
    let missing = site.bring("missing", &session, encode_request(&ids(&frames))).await.unwrap();
    assert_eq!(decode_request(&missing).unwrap(), []);
    let image = SignedManifest::decode(&manifest).unwrap().id();
    site.bring("manifest", &session, manifest).await.unwrap();
    let captured = Captured { warnings: vec!["a\u{7}b".into()], ..Captured::default() };
    let what = Reported::Captured { image, captured };
    let done = Report { session: session.clone(), job: order.job, step_seq: order.step_seq, what };
    let (reply, ()) = tokio::join!(site.say::<_, ReportReply>("report", &done), async {
        site.runner.settle().await.unwrap();
    });
    assert_eq!(reply.unwrap(), ReportReply::Continue);
    site.runner.settle().await.unwrap();

    let job = site.service.job(order.job).await.unwrap();
    assert_eq!((&job.state, job.image), (&JobState::Captured, image));
    assert_eq!(job.captured.unwrap().warnings, ["ab"]);
    assert!(job.what_now.contains("image sign"), "{}", job.what_now);
    assert_eq!(site.service.endpoint(&press()).await.unwrap().state, EndpointState::Known);
    assert!(matches!(site.next(&session).await.unwrap(), Assignment::Reboot { .. }));
    // A recovery that follows at once does not take the system that is leaving for one that is there.
    assert_eq!(site.live.recovery_system_seen(&press()), 0);
    let images = site.service.images().await.unwrap();
    assert!(images.iter().any(|view| view.image == image && !view.trusted));
    assert_eq!(site.evidence("report.captured").await["image"], image.to_string());
    assert_eq!(site.evidence("order.capture").await["reason"], "set up anew");
    assert!(!site.kinds().await.iter().any(|kind| kind == "order.recover"));
    assert!(site.journal.tickets.find(MAC.parse().unwrap(), site.journal.now()).is_none());
}

#[tokio::test]
async fn nothing_is_captured_of_an_endpoint_that_is_being_recovered_or_under_no_name() {
    let site = Site::new().await;
    for refused in [
        CaptureRequest { name: String::new(), ..capture_request() },
        CaptureRequest { name: "box/approved".into(), ..capture_request() },
        CaptureRequest { version: "2;reboot".into(), ..capture_request() },
        CaptureRequest { note: "a\u{1b}b".into(), ..capture_request() },
    ] {
        assert_eq!(code(site.service.capture(&anna(), &press(), refused).await), "image-name");
    }
    let unknown = "press-99".parse().unwrap();
    assert_eq!(code(site.service.capture(&anna(), &unknown, capture_request()).await), "unknown-endpoint");
    site.recover().await;
    assert_eq!(code(site.service.capture(&anna(), &press(), capture_request()).await), "job-open");
    let session = site.paired().await;
    site.ordered(&session).await;
    let brought = site.bring("missing", &session, encode_request(&[])).await;
    assert_eq!(brought.unwrap_err().code, "session-unknown", "a recovery brings nothing up");
}
