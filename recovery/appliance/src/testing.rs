//! An appliance on a temporary directory for tests of what stands above the service: real database, real store, no network.

use std::{
    io::Write,
    path::Path,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Body,
    http::{Request, Response, StatusCode, header},
};
use http_body_util::BodyExt as _;
use images::{
    ImportRequest, Role, SignedManifest, SignedTrustRoot, SigningKey, Store, TrustRoot, keys::RoleKeys,
};
use recovery_protocol::{JobId, operator::JobView};
use tempfile::TempDir;
use tower::ServiceExt as _;

use crate::{
    api::{People, gate::Gate},
    boot::BootDesk,
    clock::SystemClock,
    config::Config,
    control_plane::Embedded,
    db::conformance::database,
    drills::{Drills, Rehearser},
    evidence::EvidenceLog,
    golden::Golden,
    hooks::{Confirmations, Hooks},
    jobs::{journal::Journal, run::Runner},
    keys::Keys,
    live::Live,
    notify::{self, Followers},
    power::Drivers,
    service::{Actor, Inner, Service},
};

/// One appliance.
pub struct Bench {
    pub data: TempDir,
    pub service: Service,
    pub journal: Arc<Journal>,
    pub desk: Arc<BootDesk>,
    pub token: String,
    pub keys: Arc<Keys>,
    pub router: Router,
    pub people: People,
    pub gate: Arc<Gate>,
    pub drills: Drills,
    pub rehearser: Option<Rehearser>,
    pub confirmations: Option<Confirmations>,
    pub followers: Option<Followers>,
}

/// Blueprint `hmi` restores the image `hmi-panel`, which is in the store and signed.
pub const CONFIG: &str = "site = \"plant-7\"\ntime_zone = \"UTC\"\n[blueprints.hmi]\nimage = \"hmi-panel\"\n";

impl Bench {
    /// An appliance with [`CONFIG`] and more.
    pub async fn new(more: &str) -> Self {
        let data = tempfile::tempdir().unwrap();
        let state = data.path().join("state");
        let text = format!("data_dir = \"state\"\n{CONFIG}{more}");
        let config = Arc::new(Config::parse(&text, &data.path().join("groundstate.toml")).unwrap());
        let keys = Arc::new(Keys::open(&state, &["appliance".to_owned()], &[]).unwrap());
        golden_image(data.path(), &config.image_store(), &config.trust_root());
        let db = database(&state.join("state.db")).await;
        let evidence = EvidenceLog::new(Arc::clone(&keys));
        let clock = Arc::new(SystemClock);
        let journal =
            Arc::new(Journal::open(db, Arc::clone(&config), evidence, clock.clone()).await.unwrap());
        // A recovery VLAN of its own, on which nothing is bound.
        let pool = pxe::config::FullDhcp::pool([10, 77, 0, 50].into(), [10, 77, 0, 99].into());
        let dhcp = pxe::DhcpMode::Full(pool);
        let vlan = pxe::Interface { name: "boot0".into(), addr: [10, 77, 0, 1].into(), prefix: 24, dhcp };
        let desk = Arc::new(BootDesk::new(Arc::clone(&journal.tickets), clock).on(vec![vlan]));
        let (followers, channels) = notify::start(&config, &journal).unwrap();
        let service = Service::new(Inner {
            journal: Arc::clone(&journal),
            golden: Golden::open(&config.image_store(), &config.trust_root()).unwrap(),
            keys: Arc::clone(&keys),
            live: Arc::new(Live::default()),
            desk: Arc::clone(&desk),
            frame_bytes: Arc::default(),
            depot: Default::default(),
            exhibits: crate::exhibits::Exhibits::new(&config, None),
            channels,
            followed: crate::followed::Followed::open(&config).unwrap(),
            started_unix_ms: journal.now(),
        });
        let gate = Arc::new(Gate::new(&keys.operator_token));
        let (drills, rehearser) = Drills::open(service.clone(), journal.config.clone()).unwrap();
        let (hooks, confirmations) = Hooks::open(&config.hooks).unwrap();
        let people = People::new(service.clone(), Arc::clone(&gate), drills.clone(), Arc::new(hooks));
        let router = people.clone().router();
        Self {
            data,
            service,
            journal,
            desk,
            token: keys.operator_token.clone(),
            keys,
            router,
            people,
            gate,
            drills,
            rehearser: Some(rehearser),
            confirmations: Some(confirmations),
            followers: Some(followers),
        }
    }

    /// Carries out what the journal intends; power is switched by a person.
    pub fn runner(&self) -> Runner {
        let config = &self.journal.config;
        let golden = Golden::open(&config.image_store(), &config.trust_root()).unwrap();
        let plane = Arc::new(Embedded::new(self.journal.db.clone()));
        let (drivers, live) = (Arc::new(Drivers::default()), Arc::new(Live::default()));
        Runner::new(self.journal.clone(), golden, drivers, plane, live)
    }

    /// Put an endpoint on record.
    pub async fn add(&self, endpoint: &str, mac: &str, more: serde_json::Value) {
        let mut new = serde_json::json!({ "endpoint": endpoint, "macs": [mac], "blueprint": "hmi" });
        new.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let new = serde_json::from_value(new).unwrap();
        self.service.add_endpoint(&Actor::operator("test"), new).await.unwrap();
    }

    /// Ask as the operator; body is JSON.
    pub async fn ask(
        &self,
        method: &str,
        path: &str,
        body: serde_json::Value,
    ) -> (StatusCode, serde_json::Value) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .header(header::CONTENT_TYPE, "application/json");
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let (status, text) = read(self.send(request.body(body).unwrap()).await).await;
        (status, serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text)))
    }

    /// Send any request.
    pub async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    /// Order a recovery.
    pub async fn recover(&self, endpoint: &str) -> JobView {
        let endpoint = endpoint.parse().unwrap();
        self.service.recover(&Actor::operator("test"), &endpoint, Default::default()).await.unwrap()
    }

    /// Kinds of evidence entries, oldest first.
    pub async fn evidence(&self, job: Option<JobId>) -> Vec<String> {
        let lines = self.service.evidence_lines(job).await.unwrap();
        let kind = |line: &String| recovery_protocol::evidence::entry(line).map(|entry| entry.kind);
        lines.iter().filter_map(kind).collect()
    }
}

/// Status and text.
pub async fn read(response: Response<Body>) -> (StatusCode, String) {
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(bytes.to_vec()).unwrap())
}

/// CRC-32 (UEFI 2.10 section 5.3.2), bit by bit: it is for one header.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 },
        )
    })
}

/// A disk with an EFI system partition and nothing else.
pub fn disk() -> Vec<u8> {
    disk_of(&[(images::disk::ESP_TYPE, 64, 2047)])
}

/// A disk with partitions of these types, first and last sectors.
pub fn disk_of(partitions: &[([u8; 16], u64, u64)]) -> Vec<u8> {
    const SECTORS: u64 = 4096;
    let mut disk = vec![0; 512 * SECTORS as usize];
    disk[450] = 0xee;
    disk[454..462].copy_from_slice(&[1, 0, 0, 0, 0xff, 0x0f, 0, 0]);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    let mut entries = vec![0; 128 * 128];
    for (entry, (kind, first, last)) in entries.chunks_exact_mut(128).zip(partitions) {
        entry[..16].copy_from_slice(kind);
        entry[16..32].copy_from_slice(&[5; 16]);
        entry[32..40].copy_from_slice(&first.to_le_bytes());
        entry[40..48].copy_from_slice(&last.to_le_bytes());
    }
    for (at, other, table) in [(1, SECTORS - 1, 2), (SECTORS - 1, 1, SECTORS - 33)] {
        let mut header = vec![0; 92];
        header[..8].copy_from_slice(b"EFI PART");
        header[8..16].copy_from_slice(&[0, 0, 1, 0, 92, 0, 0, 0]);
        for (place, value) in [(24, at), (32, other), (40, 34), (48, SECTORS - 34), (72, table)] {
            header[place..place + 8].copy_from_slice(&value.to_le_bytes());
        }
        header[56..72].copy_from_slice(&[7; 16]);
        header[80..92].copy_from_slice(&[128, 0, 0, 0, 128, 0, 0, 0, 0, 0, 0, 0]);
        header[88..92].copy_from_slice(&crc32(&entries).to_le_bytes());
        let crc = crc32(&header);
        header[16..20].copy_from_slice(&crc.to_le_bytes());
        let (at, table) = (at as usize * 512, table as usize * 512);
        disk[at..at + 92].copy_from_slice(&header);
        disk[table..table + entries.len()].copy_from_slice(&entries);
    }
    disk[64 * 512..65 * 512].fill(9);
    disk
}

/// Image `hmi-panel` 1 in the store, signed by a key of the trust root.
pub fn golden_image(scratch: &Path, store: &Path, trust_root: &Path) {
    signed_image(&disk(), "hmi-panel", scratch, store, trust_root);
}

/// This disk as image `name` 1 in the store, signed by a key of a new trust root.
pub fn signed_image(disk: &[u8], name: &str, scratch: &Path, store: &Path, trust_root: &Path) {
    let raw = scratch.join("disk.raw");
    std::fs::write(&raw, disk).unwrap();
    let store = Store::open(store).unwrap();
    let request =
        ImportRequest { name: name.into(), version: "1".into(), epoch: 1, ..ImportRequest::default() };
    let imported = images::import_raw(&raw, &request, &store, &mut |_| {}).unwrap();
    let signed = store.get_manifest(&imported.manifest.id()).unwrap();
    trusted(&store, signed, trust_root);
}

/// This manifest in the store, signed by a key of a new trust root.
pub fn trusted(store: &Store, mut signed: SignedManifest, trust_root: &Path) {
    let (root, signer) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
    signer.sign_image(&mut signed).unwrap();
    store.put_manifest(&signed).unwrap();
    let one = |key: &SigningKey| RoleKeys { threshold: 1, keys: vec![key.public()] };
    let roles = [(Role::Root, one(&root)), (Role::Image, one(&signer))].into();
    let mut document =
        SignedTrustRoot::unsigned(TrustRoot { version: 1, epoch_floor: 0, expires_unix_ms: 0, roles });
    document.sign(&root).unwrap();
    std::fs::write(trust_root, serde_json::to_vec(&document).unwrap()).unwrap();
}

/// A peer program or file of Debian's is not here. In CI that is a failure; elsewhere the test says loudly what it leaves out.
pub fn not_looked_at(peer: &str, package: &str) {
    use std::io::Write as _;
    let ci = std::env::var("CI").is_ok_and(|value| value == "true" || value == "1");
    assert!(!ci, "{peer} is not here, and in CI nothing is left out: apt-get install {package}");
    // Not by `eprintln`, which the test runner keeps to itself when the test passes.
    let _ = writeln!(std::io::stderr(), "\nNOT LOOKED AT: {peer} is not here (apt-get install {package})");
}

/// A log that is kept, to be looked through.
#[derive(Clone, Default)]
pub struct Heard(pub Arc<Mutex<Vec<u8>>>);

impl Write for Heard {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
