//! A restore against a real store over real sockets: it ends in the image, or in a disk that does not boot, or untouched.

use std::collections::BTreeMap;
use std::io::{Read, Write as _};
use std::sync::{Arc, Mutex};

use images::disk::esp::{self, Esp};
use images::frames::{RESPONSE_MAGIC, decode_request, encode_absent, encode_prefix};
use images::keys::{Role, RoleKeys};
use images::restore::mem::MemDisk;
use images::{
    Frame, ImageId, ImportRequest, KeyRing, SignedManifest, SignedTrustRoot, SigningKey, Store, TrustRoot,
    import_raw,
};
use recovery_protocol::JobId;
use recovery_protocol::agent::{
    Base64, BootEntry, DiskFacts, DiskSelector, PlacedFile, Report, ReportReply, Reported, RestoreOrder,
};
use recovery_protocol::erase::ErasePolicy;
use recovery_protocol::health::{DiskHealth, HealthState};
use recovery_protocol::job::HoldReason;
use recovery_protocol::settings::EndpointSettings;
use recovery_protocol::trust::{EnrolmentTicket, RecoveryTrust};

use super::reporter::Reporter;
use super::sources::Limits;
pub(super) use super::tests_disks::with_esp;
use super::{Refusal, Stop, restore};
use crate::client::Appliance;
use crate::inventory::Disk;
use crate::pid1::Pulse;
use crate::screen::Screen;
use crate::testing::noise;
use crate::testing::{Answer, serve_plain, serve_tls};

const MIB: usize = 1 << 20;

/// A signed image in a store, and what an endpoint of its plant would trust.
pub(super) struct Plant {
    dir: tempfile::TempDir,
    store: Arc<Store>,
    pub(super) keys: KeyRing,
    image: ImageId,
    pub(super) raw: Vec<u8>,
}

fn key_ring(root: &SigningKey, image: &SigningKey) -> KeyRing {
    let keys = |key: &SigningKey| RoleKeys { threshold: 1, keys: vec![key.public()] };
    let roles = BTreeMap::from([(Role::Root, keys(root)), (Role::Image, keys(image))]);
    let mut trust =
        SignedTrustRoot::unsigned(TrustRoot { version: 1, epoch_floor: 0, expires_unix_ms: 0, roles });
    trust.sign(root).unwrap();
    KeyRing::pin(trust).unwrap()
}

impl Plant {
    pub(super) fn new() -> Self {
        let mut raw = noise(0, 6 * MIB);
        raw[3 * MIB..4 * MIB].fill(0);
        Self::with(raw)
    }

    /// With this disk as its image.
    pub(super) fn with(raw: Vec<u8>) -> Self {
        Self::of(raw, ImportRequest::default())
    }

    /// With this disk as its image, which preserves what it has in this partition.
    pub(super) fn preserving(raw: Vec<u8>, partition: &str) -> Self {
        Self::of(raw, ImportRequest { preserve: vec![partition.to_owned()], ..ImportRequest::default() })
    }

    fn of(raw: Vec<u8>, request: ImportRequest) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("store")).unwrap();
        let (root, key) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        let path = dir.path().join("disk.raw");
        std::fs::write(&path, &raw).unwrap();
        let request = ImportRequest { name: "hmi".into(), version: "1".into(), epoch: 5, ..request };
        let image = import_raw(&path, &request, &store, &mut |_| {}).unwrap().manifest.id();
        let mut signed = store.get_manifest(&image).unwrap();
        key.sign_image(&mut signed).unwrap();
        store.put_manifest(&signed).unwrap();
        Self { dir, store: Arc::new(store), keys: key_ring(&root, &key), image, raw }
    }

    pub(super) fn manifest_bytes(&self) -> Vec<u8> {
        self.store.get_manifest(&self.image).unwrap().encode()
    }

    /// `http://…/v1/frames` over the store; `spoil` may change each frame.
    pub(super) fn frames(&self, spoil: fn(&mut Frame)) -> String {
        let store = self.store.clone();
        let answer = move |body: &[u8]| -> Answer {
            let mut out = RESPONSE_MAGIC.to_vec();
            for id in decode_request(body).unwrap() {
                match store.get_frame(&id) {
                    Ok(mut frame) => {
                        spoil(&mut frame);
                        out.extend(encode_prefix(&frame));
                        out.extend(&frame.bytes);
                    }
                    Err(_) => out.extend(encode_absent(id)),
                }
            }
            (200, out)
        };
        let address = serve_plain(move |request| answer(&request.body));
        format!("http://{address}/v1/frames")
    }

    pub(super) fn order(&self, frames_urls: Vec<String>) -> RestoreOrder {
        RestoreOrder {
            job: JobId::new(1, [1; 10]),
            step_seq: 1,
            image: self.image,
            manifest_urls: Vec::new(),
            frames_urls,
            disk: DiskSelector::default(),
            read_back_all: true,
            erase: ErasePolicy::None,
            endpoint: "press-01".to_owned(),
            drill: false,
            give_up_preserved: false,
            keep: None,
            settings: EndpointSettings::default(),
            esp_files: BTreeMap::new(),
        }
    }
}

pub(super) fn disk_facts(size: usize) -> DiskFacts {
    DiskFacts {
        wwn: None,
        serial: Some("S1".to_owned()),
        model: String::new(),
        size_bytes: size as u64,
        sector_bytes: 512,
        transport: "nvme".to_owned(),
        rotational: false,
        removable: false,
        path: None,
    }
}

/// An appliance that notes what is reported and answers each report by `reply`.
pub(super) fn appliance(reply: fn(&Reported) -> ReportReply) -> (Appliance, Arc<Mutex<Vec<Reported>>>) {
    let reports = Arc::new(Mutex::new(Vec::new()));
    let noted = reports.clone();
    let (address, pin) = serve_tls(move |request| {
        let report: Report = serde_json::from_slice(&request.body).unwrap();
        let answer = serde_json::to_vec(&reply(&report.what)).unwrap();
        noted.lock().unwrap().push(report.what);
        (200, answer)
    });
    (Appliance::new(address, pin).unwrap(), reports)
}

pub(super) fn go_on(_: &Reported) -> ReportReply {
    ReportReply::Continue
}

/// Runs the restore onto `disk` and returns its outcome with the milestones reported.
fn run(
    plant: &Plant,
    order: &RestoreOrder,
    disk: &MemDisk,
    reply: fn(&Reported) -> ReportReply,
) -> (Result<(), Stop>, Vec<&'static str>) {
    run_if(plant, order, disk, Ok(()), reply)
}

/// As [`run`], where `meant` says whether the disk still is the one that the order means.
fn run_if(
    plant: &Plant,
    order: &RestoreOrder,
    disk: &MemDisk,
    meant: Result<(), Refusal>,
    reply: fn(&Reported) -> ReportReply,
) -> (Result<(), Stop>, Vec<&'static str>) {
    let (outcome, reports) = run_and_hear(plant, order, disk, meant, reply);
    (outcome, reports.iter().filter_map(milestone).collect())
}

/// As [`run_if`], with all that was reported.
pub(super) fn run_and_hear(
    plant: &Plant,
    order: &RestoreOrder,
    disk: &MemDisk,
    meant: Result<(), Refusal>,
    reply: fn(&Reported) -> ReportReply,
) -> (Result<(), Stop>, Vec<Reported>) {
    run_on(plant, order, disk, meant, &DiskHealth::default(), reply)
}

/// As [`run_and_hear`], on a disk of this health.
fn run_on(
    plant: &Plant,
    order: &RestoreOrder,
    disk: &MemDisk,
    meant: Result<(), Refusal>,
    health: &DiskHealth,
    reply: fn(&Reported) -> ReportReply,
) -> (Result<(), Stop>, Vec<Reported>) {
    let (appliance, reports) = appliance(reply);
    let (screen, pulse) = (Screen::standard_error("test"), Pulse::new());
    let reporter = Reporter::new(&appliance, "s", (order.job, order.step_seq), &screen, &pulse);
    let manifest = restore::verify_manifest(&plant.manifest_bytes()[..], order, &plant.keys, 0).unwrap();
    // An empty file: it takes no command.
    let nobody = tempfile::tempfile().unwrap();
    let chosen = restore::Chosen {
        facts: &disk_facts(plant.raw.len()),
        health,
        port: &nobody,
        meant: &|| meant.clone(),
        register: &|_, _| BootEntry::Kept,
    };
    let outcome = restore::restore(order, &manifest, disk, &chosen, true, &reporter);
    let reports = reports.lock().unwrap().clone();
    (outcome, reports)
}

pub(super) fn milestone(reported: &Reported) -> Option<&'static str> {
    match reported {
        Reported::Erasing { .. } => Some("erasing"),
        Reported::Erased { .. } => Some("erased"),
        Reported::Kept { .. } => Some("kept"),
        Reported::Planned { .. } => Some("planned"),
        Reported::Written { .. } => Some("written"),
        Reported::Proven { .. } => Some("proven"),
        Reported::Committed { .. } => Some("committed"),
        Reported::Captured { .. } => Some("captured"),
        Reported::Progress { .. } | Reported::Enrolled { .. } | Reported::Refused { .. } => None,
    }
}

pub(super) fn reason(outcome: Result<(), Stop>) -> HoldReason {
    match outcome {
        Err(Stop::Refused(refusal)) => refusal.reason,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn a_foreign_disk_becomes_the_image_and_each_step_is_reported() {
    let plant = Plant::new();
    let order = plant.order(vec![plant.frames(|_| {})]);
    let disk = MemDisk::new(vec![0xa5; plant.raw.len()], 512);
    let (outcome, milestones) = run(&plant, &order, &disk, go_on);
    assert_eq!(outcome, Ok(()));
    assert_eq!(milestones, ["planned", "written", "proven", "committed"]);
    assert!(disk.into_bytes() == plant.raw);
}

#[test]
fn an_altered_chunk_is_refused_and_leaves_a_disk_that_does_not_boot() {
    let plant = Plant::new();
    let order = plant.order(vec![plant.frames(|frame| frame.bytes[0] ^= 1)]);
    let disk = MemDisk::new(vec![0xa5; plant.raw.len()], 512);
    let (outcome, milestones) = run(&plant, &order, &disk, go_on);
    assert_eq!(reason(outcome), HoldReason::ChunkCorrupt);
    assert_eq!(milestones, ["planned"]);
    assert!(disk.into_bytes()[..512].iter().all(|byte| *byte == 0));
}

#[test]
fn a_source_that_lies_or_is_silent_is_left_for_the_next() {
    let plant = Plant::new();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let lies = plant.frames(|frame| frame.bytes[0] ^= 1);
    let order = plant.order(vec![lies, format!("http://{nobody}/v1/frames"), plant.frames(|_| {})]);
    let disk = MemDisk::new(vec![0xa5; plant.raw.len()], 512);
    assert_eq!(run(&plant, &order, &disk, go_on).0, Ok(()));
    assert!(disk.into_bytes() == plant.raw);
}

#[test]
fn a_stop_at_the_plan_leaves_the_disk_untouched() {
    let plant = Plant::new();
    let order = plant.order(vec![plant.frames(|_| {})]);
    let disk = MemDisk::new(vec![0xa5; plant.raw.len()], 512);
    let stop = |_: &Reported| ReportReply::Abort { why: "cancelled".to_owned() };
    let (outcome, milestones) = run(&plant, &order, &disk, stop);
    assert_eq!(outcome, Err(Stop::Aborted("cancelled".to_owned())));
    assert!(milestones.len() <= 1);
    assert_eq!(disk.counts().operations, 0);
}

#[test]
fn a_disk_that_appears_after_the_scan_stops_the_restore_before_a_byte_is_written() {
    let plant = Plant::new();
    let mut order = plant.order(vec![plant.frames(|_| {})]);
    order.disk.serial = Some("S1".to_owned());
    let disk = MemDisk::new(vec![0xa5; plant.raw.len()], 512);
    let chosen = disk_facts(plant.raw.len());
    let twin = |name: &str| Disk { facts: chosen.clone(), ..Disk::of_node(name.into()) };
    let meant = restore::still_meant(&order, &chosen, &[twin("/dev/one"), twin("/dev/two")]);
    let (outcome, milestones) = run_if(&plant, &order, &disk, meant, go_on);
    assert_eq!(reason(outcome), HoldReason::DiskAmbiguous);
    assert!(milestones.is_empty());
    assert_eq!(disk.counts().operations, 0);

    let another = Disk { facts: DiskFacts { size_bytes: 1 << 40, ..chosen.clone() }, ..twin("/dev/one") };
    let refusal = restore::still_meant(&order, &chosen, &[another]).unwrap_err();
    assert_eq!(refusal.reason, HoldReason::DiskAmbiguous);
    assert_eq!(restore::still_meant(&order, &chosen, &[twin("/dev/one")]), Ok(()));
}

#[test]
fn a_disk_too_small_is_refused_untouched() {
    let plant = Plant::new();
    let order = plant.order(vec![plant.frames(|_| {})]);
    let disk = MemDisk::new(vec![0xa5; plant.raw.len() - 512], 512);
    let (outcome, _) = run(&plant, &order, &disk, go_on);
    assert_eq!(reason(outcome), HoldReason::DiskUnfit);
    assert_eq!(disk.counts().operations, 0);
}

#[test]
fn a_failing_disk_is_refused_before_it_is_read_and_a_worn_one_is_said() {
    let plant = Plant::new();
    let order = plant.order(vec![plant.frames(|_| {})]);
    let reasons = vec!["it is not reliable any more".to_owned()];
    let failing = DiskHealth { state: HealthState::Failing, reasons, ..DiskHealth::default() };
    let disk = MemDisk::new(vec![0xa5; plant.raw.len()], 512);
    let (outcome, reports) = run_on(&plant, &order, &disk, Ok(()), &failing, go_on);
    let Err(Stop::Refused(refusal)) = outcome else { panic!("not refused: {outcome:?}") };
    assert_eq!(refusal.reason, HoldReason::DiskFailing);
    let detail = "0.0 GB nvme serial S1 says of itself: failing: it is not reliable any more";
    assert_eq!(refusal.detail, detail);
    assert!(reports.is_empty() && disk.counts().operations == 0);

    let worn = DiskHealth { state: HealthState::Worn, ..failing };
    let (outcome, reports) = run_on(&plant, &order, &disk, Ok(()), &worn, go_on);
    assert_eq!(outcome, Ok(()));
    let said = reports.iter().find_map(|report| match report {
        Reported::Planned { health, .. } => Some(&**health),
        _ => None,
    });
    assert_eq!(said, Some(&worn));
}

/// The way home of `job`, as an order carries it.
fn ticket(job: JobId) -> Base64 {
    let ticket = EnrolmentTicket {
        job,
        endpoint: "press-01".to_owned(),
        appliance: "10.0.0.1:8443".to_owned(),
        appliance_spki_sha256: "00".repeat(32),
        secret: "once".to_owned(),
    };
    Base64(serde_json::to_vec(&ticket).unwrap())
}

#[test]
fn an_image_without_an_esp_cannot_take_a_ticket_and_is_refused_untouched() {
    let plant = Plant::new();
    let mut order = plant.order(vec![plant.frames(|_| {})]);
    order.esp_files.insert(EnrolmentTicket::ESP_PATH.to_owned(), ticket(order.job));
    let disk = MemDisk::new(vec![0xa5; plant.raw.len()], 512);
    assert_eq!(reason(run(&plant, &order, &disk, go_on).0), HoldReason::ManifestRefused);
    assert_eq!(disk.counts().operations, 0);
}

#[test]
fn an_appliance_that_was_taken_over_places_nothing_but_the_ticket_of_its_job() {
    let plant = Plant::with(with_esp(6 * MIB, &noise(0, 100_000)));
    let job = plant.order(Vec::new()).job;
    let evil = Base64(b"MZ what no image key signed".to_vec());
    let long = Base64(vec![b' '; 5000]);
    for (path, content) in [
        ("EFI/BOOT/BOOTX64.EFI", evil.clone()),
        ("efi/groundstate/../boot/bootx64.efi", ticket(job)),
        (EnrolmentTicket::ESP_PATH, evil),
        (EnrolmentTicket::ESP_PATH, ticket(JobId::new(2, [2; 10]))),
        (EnrolmentTicket::ESP_PATH, long),
    ] {
        let mut order = plant.order(vec![plant.frames(|_| {})]);
        order.esp_files.insert(path.to_owned(), content);
        let disk = MemDisk::new(vec![0xa5; plant.raw.len()], 512);
        assert_eq!(reason(run(&plant, &order, &disk, go_on).0), HoldReason::ManifestRefused, "{path}");
        assert_eq!(disk.counts().operations, 0, "{path}");
    }
}

#[test]
fn the_ticket_of_the_job_lies_on_the_esp_of_a_disk_that_boots() {
    let plant = Plant::with(with_esp(6 * MIB, &noise(0, 100_000)));
    let mut order = plant.order(vec![plant.frames(|_| {})]);
    order.esp_files.insert(EnrolmentTicket::ESP_PATH.to_owned(), ticket(order.job));
    let disk = MemDisk::new(vec![0xa5; plant.raw.len()], 512);
    assert_eq!(run(&plant, &order, &disk, go_on).0, Ok(()));
    let esp = Esp::open(&disk, MIB as u64..4 * MIB as u64).unwrap();
    assert_eq!(esp.read(EnrolmentTicket::ESP_PATH).unwrap(), ticket(order.job).0);
    assert_eq!(esp.read("EFI/BOOT/BOOTX64.EFI").unwrap(), noise(0, 100_000));
    drop(esp);
    assert_eq!(&disk.into_bytes()[512..520], b"EFI PART");
}

#[test]
fn an_endpoints_own_name_and_addresses_lie_where_its_system_looks() {
    let plant = Plant::with(with_esp(6 * MIB, &noise(0, 100_000)));
    let mut order = plant.order(vec![plant.frames(|_| {})]);
    order.settings = serde_json::from_str(
        r#"{"hostname":"press-01","interfaces":[{"mac":"52:54:00:12:34:56","addresses":["10.7.3.21/24"]}]}"#,
    )
    .unwrap();
    let disk = MemDisk::new(vec![0xa5; plant.raw.len()], 512);
    let (outcome, reports) = run_and_hear(&plant, &order, &disk, Ok(()), go_on);
    assert_eq!(outcome, Ok(()));
    let (esp, seed) = (MIB as u64..4 * MIB as u64, 4 * MIB as u64..5 * MIB as u64);
    let read = |range, path| Esp::open(&disk, range).unwrap().read(path).unwrap();
    let placed = [
        ("esp/EFI/groundstate/settings.json", read(esp.clone(), EndpointSettings::ESP_PATH)),
        ("cidata/meta-data", read(seed.clone(), "meta-data")),
        ("cidata/user-data", read(seed.clone(), "user-data")),
        ("cidata/network-config", read(seed, "network-config")),
    ];
    assert_eq!(serde_json::from_slice::<EndpointSettings>(&placed[0].1).unwrap(), order.settings);
    assert_eq!(String::from_utf8_lossy(&placed[1].1), order.settings.meta_data(&order.job.to_string()));
    assert_eq!(Some(String::from_utf8_lossy(&placed[3].1).into_owned()), order.settings.network_config());
    let expected: Vec<PlacedFile> = placed
        .iter()
        .map(|(path, bytes)| PlacedFile { path: (*path).to_owned(), blake3: images::Digest::of(bytes) })
        .collect();
    let Some(Reported::Committed { placed, .. }) = reports.last() else { panic!("{reports:?}") };
    assert_eq!(*placed, expected);
    assert_eq!(read(esp, "EFI/BOOT/BOOTX64.EFI"), noise(0, 100_000));

    // Nobody's settings are refused before a byte is written.
    order.settings.hostname = Some("press 01".to_owned());
    let untouched = MemDisk::new(vec![0xa5; plant.raw.len()], 512);
    assert_eq!(reason(run(&plant, &order, &untouched, go_on).0), HoldReason::ManifestRefused);
    assert_eq!(untouched.counts().operations, 0);
}

#[test]
fn what_an_image_has_its_people_do_at_the_first_start_stays() {
    let disk = MemDisk::new(with_esp(6 * MIB, &noise(0, 100_000)), 512);
    let (seed, own) = (4 * MIB as u64..5 * MIB as u64, b"#cloud-config\nusers: [technician]\n");
    esp::put_file(&disk, seed.clone(), "user-data", own).unwrap();
    let plant = Plant::with(disk.into_bytes());
    let mut order = plant.order(vec![plant.frames(|_| {})]);
    order.settings.hostname = Some("press-01".to_owned());
    let disk = MemDisk::new(vec![0xa5; plant.raw.len()], 512);
    let (outcome, reports) = run_and_hear(&plant, &order, &disk, Ok(()), go_on);
    assert_eq!(outcome, Ok(()));
    assert_eq!(Esp::open(&disk, seed).unwrap().read("user-data").unwrap(), own);
    let Some(Reported::Committed { placed, .. }) = reports.last() else { panic!("{reports:?}") };
    let paths: Vec<&str> = placed.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(
        paths,
        ["esp/EFI/groundstate/settings.json", "cidata/meta-data"],
        "evidence says what was placed"
    );
}

#[test]
fn manifests_are_believed_by_our_keys_name_and_epoch_only() {
    let plant = Plant::new();
    let order = plant.order(Vec::new());
    let bytes = plant.manifest_bytes();
    let verify = |bytes: &[u8], order: &RestoreOrder, keys: &KeyRing, epoch| {
        restore::verify_manifest(bytes, order, keys, epoch).map(drop).map_err(|not_taken| match not_taken {
            restore::NotTaken::Refused(refusal) => refusal.reason,
            broken @ restore::NotTaken::Broken(_) => panic!("{broken:?}"),
        })
    };
    assert_eq!(verify(&bytes, &order, &plant.keys, 5), Ok(()));
    use HoldReason::{ManifestAltered, ManifestForeign, ManifestRefused, ManifestUnsigned};
    assert_eq!(verify(&bytes, &order, &plant.keys, 6), Err(ManifestRefused), "older than wanted here");
    let (root, foreign) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
    let others = key_ring(&root, &foreign);
    assert_eq!(verify(&bytes, &order, &others, 0), Err(ManifestForeign), "signed by others");
    let mut unsigned: SignedManifest = plant.store.get_manifest(&plant.image).unwrap();
    unsigned.signatures.clear();
    assert_eq!(verify(&unsigned.encode(), &order, &plant.keys, 0), Err(ManifestUnsigned), "not signed");
    let mut other = order.clone();
    other.image = ImageId::of_header(b"another");
    assert_eq!(verify(&bytes, &other, &plant.keys, 0), Err(ManifestAltered), "another image than ordered");
    for cut in [0, 10, bytes.len() / 2, bytes.len() - 1] {
        assert_eq!(verify(&bytes[..cut], &order, &plant.keys, 0), Err(ManifestAltered), "cut at {cut}");
    }
    let mut page = plant.store.get_manifest(&plant.image).unwrap();
    page.pages[0][0] ^= 1;
    assert_eq!(verify(&page.encode(), &order, &plant.keys, 0), Err(ManifestAltered), "a byte of a page");
}

#[test]
fn a_source_of_the_manifest_that_fails_or_lies_is_left_for_the_next() {
    let plant = Plant::new();
    let order = plant.order(Vec::new());
    let right = plant.manifest_bytes();
    let source =
        |status: u16, bytes: Vec<u8>| format!("http://{}/m", serve_plain(move |_| (status, bytes.clone())));
    let altered = || {
        let mut signed = plant.store.get_manifest(&plant.image).unwrap();
        signed.pages[0][0] ^= 1;
        source(200, signed.encode())
    };
    // Says how long it is and hangs up before.
    let broken = || {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let half = right[..right.len() / 2].to_vec();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", right.len());
        std::thread::spawn(move || {
            for mut socket in listener.incoming().flatten() {
                let _ = socket.read(&mut [0; 4096]);
                let _ = socket.write_all(&[head.as_bytes(), &half].concat());
            }
        });
        format!("http://{address}/m")
    };
    let take = |body: &mut dyn Read| restore::verify_manifest(body, &order, &plant.keys, 0);
    let good = source(200, right.clone());
    let sources = [source(404, Vec::new()), altered(), broken(), good];
    assert_eq!(restore::download_manifest(&sources, Limits::USUAL, take).unwrap().id(), plant.image);
    let refusal =
        restore::download_manifest(&[altered(), source(404, Vec::new())], Limits::USUAL, take).unwrap_err();
    assert_eq!(refusal.reason, HoldReason::ManifestAltered, "what was refused is said, not who was silent");
}

#[test]
fn a_plan_can_be_printed_without_touching_the_disk() {
    let plant = Plant::new();
    let file = |name: &str, bytes: &[u8]| {
        let path = plant.dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let trust = RecoveryTrust {
        site: "lab".to_owned(),
        appliance_spki_sha256: "00".repeat(32),
        image_trust_root: Base64(serde_json::to_vec(plant.keys.root()).unwrap()),
        min_image_epoch: 0,
    };
    let trust = file("trust.json", &serde_json::to_vec(&trust).unwrap());
    let manifest = file("manifest", &plant.manifest_bytes());
    let (same, other) = (file("same.raw", &plant.raw), file("other.raw", &vec![0xa5; plant.raw.len()]));
    assert!(crate::plan::plan(&trust, &manifest, &same).unwrap().contains("nothing will be written"));
    assert!(crate::plan::plan(&trust, &manifest, &other).unwrap().contains("fetch"));
    assert!(std::fs::read(&other).unwrap().iter().all(|byte| *byte == 0xa5));
}

#[test]
fn the_screen_names_the_image_once_our_keys_have_verified_it() {
    let plant = Plant::new();
    let order = plant.order(Vec::new());
    let manifest = restore::verify_manifest(&plant.manifest_bytes()[..], &order, &plant.keys, 0).unwrap();
    let (now, why) = restore::headline(&manifest);
    assert_eq!(now, "Restoring the golden image hmi 1.");
    assert!(why.contains("signatures") && !why.contains(&plant.image.to_string()), "{why}");
}
