//! An appliance on a temporary directory for tests of what stands above the service: real database, real store, no network.

use std::{path::Path, sync::Arc};

use axum::{
    Router,
    body::Body,
    http::{Request, Response, StatusCode, header},
};
use http_body_util::BodyExt as _;
use images::{ImportRequest, Role, SignedTrustRoot, SigningKey, Store, TrustRoot, keys::RoleKeys};
use recovery_protocol::{JobId, operator::JobView};
use tempfile::TempDir;
use tower::ServiceExt as _;

use crate::{
    api::{People, gate::Gate},
    boot::BootDesk,
    clock::SystemClock,
    config::Config,
    db::Db,
    drills::{Drills, Rehearser},
    evidence::EvidenceLog,
    golden::Golden,
    hooks::{Confirmations, Hooks},
    jobs::journal::Journal,
    keys::Keys,
    live::Live,
    service::{Actor, Inner, Service},
};

/// One appliance.
pub struct Bench {
    pub data: TempDir,
    pub service: Service,
    pub journal: Arc<Journal>,
    pub token: String,
    pub router: Router,
    pub rehearser: Option<Rehearser>,
    pub confirmations: Option<Confirmations>,
}

/// Blueprint `hmi` restores the image `hmi-panel`, which is in the store and signed.
pub const CONFIG: &str = "site = \"plant-7\"\n[blueprints.hmi]\nimage = \"hmi-panel\"\n";

impl Bench {
    /// An appliance with [`CONFIG`] and more.
    pub async fn new(more: &str) -> Self {
        let data = tempfile::tempdir().unwrap();
        let state = data.path().join("state");
        let text = format!("data_dir = \"state\"\n{CONFIG}{more}");
        let config = Arc::new(Config::parse(&text, &data.path().join("groundstate.toml")).unwrap());
        let keys = Arc::new(Keys::open(&state, &["appliance".to_owned()], &[]).unwrap());
        golden_image(data.path(), &config.image_store(), &config.trust_root());
        let db = Db::open(&state.join("state.db")).await.unwrap();
        let evidence = EvidenceLog::new(Arc::clone(&keys));
        let clock = Arc::new(SystemClock);
        let journal =
            Arc::new(Journal::open(db, Arc::clone(&config), evidence, clock.clone()).await.unwrap());
        let desk = Arc::new(BootDesk::new(Arc::clone(&journal.tickets), clock));
        let service = Service::new(Inner {
            journal: Arc::clone(&journal),
            golden: Golden::open(&config.image_store(), &config.trust_root()).unwrap(),
            keys: Arc::clone(&keys),
            live: Arc::new(Live::default()),
            desk,
            frame_bytes: Arc::default(),
            started_unix_ms: journal.now(),
        });
        let gate = Arc::new(Gate::new(&keys.operator_token));
        let (drills, rehearser) = Drills::open(service.clone(), Arc::clone(&config)).unwrap();
        let (hooks, confirmations) = Hooks::open(&config.hooks).unwrap();
        let router = People::new(service.clone(), gate, drills, Arc::new(hooks)).router();
        Self {
            data,
            service,
            journal,
            token: keys.operator_token.clone(),
            router,
            rehearser: Some(rehearser),
            confirmations: Some(confirmations),
        }
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
        let kind = |line: &String| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let entry: serde_json::Value = serde_json::from_str(line.get("text")?.as_str()?).unwrap();
            Some(entry["kind"].as_str()?.to_owned())
        };
        lines.iter().filter_map(kind).collect()
    }
}

/// Status and text.
pub async fn read(response: Response<Body>) -> (StatusCode, String) {
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(bytes.to_vec()).unwrap())
}

/// Image `hmi-panel` 1 in the store, signed by a key of the trust root.
pub fn golden_image(scratch: &Path, store: &Path, trust_root: &Path) {
    let disk = scratch.join("disk.raw");
    std::fs::write(&disk, vec![7; 4 << 20]).unwrap();
    let store = Store::open(store).unwrap();
    let request =
        ImportRequest { name: "hmi-panel".into(), version: "1".into(), epoch: 1, ..ImportRequest::default() };
    let imported = images::import_raw(&disk, &request, &store, &mut |_| {}).unwrap();
    let (root, signer) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
    let mut signed = store.get_manifest(&imported.manifest.id()).unwrap();
    signer.sign_image(&mut signed).unwrap();
    store.put_manifest(&signed).unwrap();
    let one = |key: &SigningKey| RoleKeys { threshold: 1, keys: vec![key.public()] };
    let roles = [(Role::Root, one(&root)), (Role::Image, one(&signer))].into();
    let mut document = SignedTrustRoot::unsigned(TrustRoot { version: 1, epoch_floor: 0, roles });
    document.sign(&root);
    std::fs::write(trust_root, serde_json::to_vec(&document).unwrap()).unwrap();
}
