//! Captures over real sockets into a real store: it ends in the image that an import makes, or in a named refusal.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use images::disk::ReadDisk;
use images::frames::{decode_request, encode_request, read_upload};
use images::{FrameError, ImageId, ImportRequest, SignedManifest, Store, StoreError, import_raw};
use recovery_protocol::agent::{
    CaptureOrder, CaptureSpec, CaptureTaken, Captured, DiskSelector, Report, ReportReply, Reported,
};
use recovery_protocol::job::HoldReason;
use recovery_protocol::{JobId, Problem};

use super::reporter::Reporter;
use super::{Stop, capture};
use crate::client::Appliance;
use crate::pid1::Pulse;
use crate::screen::Screen;
use crate::testing::{Answer, Request, noise, serve_plain, serve_tls};

const MIB: usize = 1 << 20;

/// A disk that can only be read.
struct Raw(Vec<u8>);

impl ReadDisk for Raw {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<()> {
        let from = usize::try_from(offset).ok().and_then(|at| self.0.get(at..at.checked_add(buf.len())?));
        buf.copy_from_slice(from.ok_or(std::io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// An appliance's side of a capture over a real store.
#[derive(Clone)]
struct Desk {
    store: Arc<Store>,
    /// Bytes of frames that came.
    bytes: Arc<AtomicU64>,
    reports: Arc<Mutex<Vec<Reported>>>,
    /// Requests that are answered 503 before one is taken.
    busy: Arc<AtomicU64>,
    full: bool,
}

impl Desk {
    fn new(dir: &Path) -> Self {
        Self {
            store: Arc::new(Store::open(dir.join("store")).unwrap()),
            bytes: Arc::default(),
            reports: Arc::default(),
            busy: Arc::default(),
            full: false,
        }
    }

    fn answer(&self, request: &Request) -> Answer {
        if request.path == "/agent/v1/report" {
            let report: Report = serde_json::from_slice(&request.body).unwrap();
            self.reports.lock().unwrap().push(report.what);
            return (200, serde_json::to_vec(&ReportReply::Continue).unwrap());
        }
        if request.authorization != "Bearer session" {
            return problem(401, "session-unknown");
        }
        if self.busy.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            return problem(503, "busy");
        }
        match request.path.as_str() {
            "/agent/v1/capture/missing" => {
                let ids = decode_request(&request.body).unwrap();
                let missing: Vec<_> = ids.into_iter().filter(|id| !self.store.has(id)).collect();
                (200, encode_request(&missing))
            }
            "/agent/v1/capture/frames" if self.full => problem(507, "store-full"),
            "/agent/v1/capture/frames" => {
                self.bytes.fetch_add(request.body.len() as u64, Ordering::SeqCst);
                let writer = self.store.writer().unwrap();
                let (mut ingest, mut taken) = (writer.ingest(), CaptureTaken::default());
                let mut opener = images::frames::Opener::new().unwrap();
                read_upload(&request.body[..], |frame| {
                    opener.open(&frame)?;
                    taken.stored_bytes += ingest.append(&frame).unwrap();
                    taken.chunks += 1;
                    Ok::<_, FrameError>(())
                })
                .unwrap();
                ingest.finish().unwrap();
                (200, serde_json::to_vec(&taken).unwrap())
            }
            "/agent/v1/capture/manifest" => {
                let signed = SignedManifest::decode(&request.body).unwrap();
                match self.store.put_manifest(&signed) {
                    Ok(_) => (200, b"{}".to_vec()),
                    Err(StoreError::Incomplete { .. }) => problem(400, "message-unreadable"),
                    Err(error) => panic!("{error}"),
                }
            }
            other => panic!("{other}"),
        }
    }

    /// Captures `raw`, whose image before lies at `known`.
    fn capture(&self, raw: &[u8], known: &[String]) -> Result<(ImageId, Captured), Stop> {
        let desk = self.clone();
        let (address, pin) = serve_tls(move |request| desk.answer(&request));
        let appliance = Appliance::new(address, pin).unwrap();
        let (screen, pulse) = (Screen::standard_error("test"), Pulse::new());
        let order = order(known);
        let reporter = Reporter::new(&appliance, "session", (order.job, order.step_seq), &screen, &pulse);
        let (disk, path) = (Raw(raw.to_vec()), Path::new("/dev/test"));
        capture::capture(&order, path, &disk, &appliance, "session", &reporter)?;
        let reports = self.reports.lock().unwrap();
        let Some(Reported::Captured { image, captured }) = reports.last() else { panic!("{reports:?}") };
        Ok((*image, captured.clone()))
    }
}

fn problem(status: u16, code: &str) -> Answer {
    let problem = Problem::new(status, code, "no", format!("the reason is {code}"), "now");
    (status, serde_json::to_vec(&problem).unwrap())
}

fn order(known: &[String]) -> CaptureOrder {
    let image = CaptureSpec {
        name: "hmi".to_owned(),
        version: "7".to_owned(),
        epoch: 3,
        hardware_class: String::new(),
        note: "as set up".to_owned(),
        created_unix_ms: 5,
        previous: None,
        keep_free_space: true,
        preserve: Vec::new(),
    };
    let known_urls = known.to_vec();
    CaptureOrder {
        job: JobId::new(1, [1; 10]),
        step_seq: 1,
        disk: DiskSelector::default(),
        image,
        known_urls,
    }
}

/// What an import makes of the same disk.
fn imported(dir: &Path, raw: &[u8]) -> ImageId {
    let (path, store) = (dir.join("import.raw"), Store::open(dir.join("other")).unwrap());
    std::fs::write(&path, raw).unwrap();
    let request = ImportRequest {
        name: "hmi".into(),
        version: "7".into(),
        epoch: 3,
        note: "as set up".into(),
        created_unix_ms: 5,
        keep_free_space: true,
        ..ImportRequest::default()
    };
    import_raw(&path, &request, &store, &mut |_| {}).unwrap().manifest.id()
}

#[test]
fn a_captured_disk_is_the_image_that_an_import_makes_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let desk = Desk::new(dir.path());
    let mut raw = noise(1, 24 * MIB);
    raw[4 * MIB..7 * MIB].fill(0);
    desk.busy.store(2, Ordering::SeqCst);
    let (image, captured) = desk.capture(&raw, &[]).unwrap();
    assert_eq!(image, imported(dir.path(), &raw));
    let manifest = desk.store.get_manifest(&image).unwrap();
    assert!(manifest.signatures.is_empty());
    desk.store.verify_image(&manifest.parse().unwrap(), |_, _| {}).unwrap();
    assert_eq!((captured.disk_bytes, captured.sent_bytes), (24 << 20, desk.bytes.load(Ordering::SeqCst)));

    // Again, with a MiB that is new: only what differs is sent, and with the image before at hand not even asked for.
    raw[10 * MIB..11 * MIB].copy_from_slice(&noise(2, MIB));
    desk.bytes.store(0, Ordering::SeqCst);
    let before = manifest.encode();
    let known = format!("http://{}/v1/manifests/x", serve_plain(move |_| (200, before.clone())));
    let (second, captured) = desk.capture(&raw, &[known]).unwrap();
    assert_ne!(second, image);
    let sent = desk.bytes.load(Ordering::SeqCst);
    assert!(sent > MIB as u64 && sent < 3 * MIB as u64, "{sent}");
    assert_eq!(captured.sent_bytes, sent);
}

#[test]
fn a_manifest_before_that_names_what_is_not_there_costs_a_second_reading() {
    let dir = tempfile::tempdir().unwrap();
    let desk = Desk::new(dir.path());
    let raw = noise(3, 8 * MIB);
    imported(dir.path(), &raw);
    let other = Store::open(dir.path().join("other")).unwrap();
    let lie = other.get_manifest(&other.list().unwrap()[0]).unwrap().encode();
    let lie = format!("http://{}/m", serve_plain(move |_| (200, lie.clone())));
    let (image, captured) = desk.capture(&raw, &[lie]).unwrap();
    assert_eq!(desk.store.list().unwrap(), [image]);
    assert!(captured.sent_bytes > 8 << 20, "nothing of it was there");
    let manifest = desk.store.get_manifest(&image).unwrap().parse().unwrap();
    desk.store.verify_image(&manifest, |_, _| {}).unwrap();
}

#[test]
fn a_full_store_and_a_session_that_is_over_stop_the_capture_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let desk = Desk { full: true, ..Desk::new(dir.path()) };
    let raw = noise(4, 8 * MIB);
    let Err(Stop::Refused(refusal)) = desk.capture(&raw, &[]) else { panic!("it is full") };
    assert_eq!(
        (refusal.reason, refusal.detail.as_str()),
        (HoldReason::CaptureRefused, "the reason is store-full")
    );
    assert_eq!(desk.store.list().unwrap(), []);
    let small = Desk::new(&dir.path().join("b"));
    let Err(Stop::Refused(refusal)) = small.capture(&raw[..MIB], &[]) else { panic!("no disk has a MiB") };
    assert_eq!(refusal.reason, HoldReason::CaptureRefused);
}
