//! A control plane that is away and comes back, and one whose own word is waited for.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use recovery_protocol::JobId;
use tokio::sync::Notify;

use super::*;
use crate::{db, testing::Bench};

/// Remembers what it was told; while it is away it takes nothing.
#[derive(Default)]
struct Fleet {
    away: AtomicBool,
    told: Mutex<Vec<String>>,
    passes: AtomicBool,
    /// It knows nobody.
    stranger: AtomicBool,
    asked: AtomicUsize,
    /// Calls of generation 1 are answered when this is open.
    shut: AtomicBool,
    entered: Notify,
    open: Notify,
}

impl Fleet {
    async fn gate(&self, generation: u64) {
        if generation == 1 && self.shut.swap(false, Ordering::Relaxed) {
            self.entered.notify_one();
            self.open.notified().await;
        }
    }

    fn take(&self, what: &str, generation: u64) -> Result<(), PlaneError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.away.load(Ordering::Relaxed) {
            return Err(PlaneError::Silent("uplink cut".to_owned()));
        }
        self.told.lock().unwrap().push(format!("{what} {generation}"));
        Ok(())
    }

    fn go(&self, away: bool) {
        self.away.store(away, Ordering::Relaxed);
    }

    fn told(&self) -> Vec<String> {
        std::mem::take(&mut *self.told.lock().unwrap())
    }
}

impl ControlPlane for Fleet {
    fn known_as<'a>(&'a self, endpoint: &'a EndpointId) -> BoxFuture<'a, Result<Option<String>, PlaneError>> {
        let known = !self.stranger.load(Ordering::Relaxed);
        Box::pin(std::future::ready(Ok(known.then(|| endpoint.to_string()))))
    }

    fn reset_record<'a>(
        &'a self,
        _: &'a EndpointId,
        generation: u64,
    ) -> BoxFuture<'a, Result<(), PlaneError>> {
        Box::pin(async move {
            self.gate(generation).await;
            self.take("reset", generation)
        })
    }

    fn register<'a>(
        &'a self,
        _: &'a EndpointId,
        generation: u64,
        registration: &'a Registration,
    ) -> BoxFuture<'a, Result<(), PlaneError>> {
        Box::pin(async move { self.take(&format!("register {}", registration.image), generation) })
    }

    fn assign_policy<'a>(
        &'a self,
        _: &'a EndpointId,
        generation: u64,
        _: &'a Registration,
    ) -> BoxFuture<'a, Result<(), PlaneError>> {
        Box::pin(async move { self.take("policy", generation) })
    }

    fn observe<'a>(&'a self, _: &'a EndpointId, _: JobId) -> BoxFuture<'a, Result<Observed, PlaneError>> {
        let passes = self.passes.load(Ordering::Relaxed);
        let said =
            if passes { Observed::Passes } else { Observed::NotYet("it has not looked yet".to_owned()) };
        Box::pin(std::future::ready(Ok(said)))
    }

    fn lift_quarantine<'a>(
        &'a self,
        _: &'a EndpointId,
        generation: u64,
    ) -> BoxFuture<'a, Result<(), PlaneError>> {
        Box::pin(async move { self.take("lift", generation) })
    }
}

struct Site {
    bench: Bench,
    fleet: Arc<Fleet>,
    planes: Planes,
    press: EndpointId,
}

impl Site {
    async fn new(waits: bool) -> Self {
        let (bench, fleet) = (Bench::new("").await, Arc::new(Fleet::default()));
        let other =
            Other { name: "fleet".to_owned(), plane: Arc::clone(&fleet) as Arc<dyn ControlPlane>, waits };
        let planes = Planes::new(Arc::clone(&bench.journal), vec![other]);
        Self { bench, fleet, planes, press: "press-01".parse().unwrap() }
    }

    async fn all(&self, generation: u64) {
        self.planes.reset_record(&self.press, generation).await.unwrap();
        self.planes.register(&self.press, generation, &registration()).await.unwrap();
        self.planes.lift_quarantine(&self.press, generation).await.unwrap();
    }

    async fn count(&self, kind: &str) -> usize {
        self.bench.evidence(None).await.iter().filter(|found| *found == kind).count()
    }
}

fn job() -> JobId {
    JobId::new(1, [7; 10])
}

fn registration() -> Registration {
    Registration {
        image: "hmi".into(),
        certificate: Some("0a".into()),
        ek_sha256: None,
        job: "j".into(),
        pcrs: Default::default(),
    }
}

#[tokio::test]
async fn one_that_answers_is_told_at_once_and_in_evidence() {
    let site = Site::new(false).await;
    site.all(1).await;
    assert_eq!(site.fleet.told(), ["reset 1", "register hmi 1", "policy 1", "lift 1"]);
    assert_eq!((site.count("plane.told").await, site.count("plane.queued").await), (3, 0));
    assert_eq!(site.planes.reconcile().await.unwrap(), 0);
}

#[tokio::test]
async fn one_that_is_away_holds_up_nobody_and_is_told_later_in_order() {
    let site = Site::new(false).await;
    site.fleet.go(true);
    site.all(1).await;
    let known =
        db::plane::get(&mut site.bench.journal.db.read().await.unwrap(), &site.press).await.unwrap().unwrap();
    assert!(known.trusted, "our own registry knows it");
    assert_eq!((site.count("plane.told").await, site.count("plane.queued").await), (0, 3));
    assert_eq!(site.planes.reconcile().await.unwrap(), 0, "still away");
    // The same step again is queued once.
    site.planes.lift_quarantine(&site.press, 1).await.unwrap();
    assert_eq!(site.count("plane.queued").await, 3);
    site.fleet.go(false);
    assert_eq!(site.planes.reconcile().await.unwrap(), 3);
    assert_eq!(site.fleet.told(), ["reset 1", "register hmi 1", "policy 1", "lift 1"]);
    assert_eq!((site.count("plane.told").await, site.planes.reconcile().await.unwrap()), (3, 0));
}

#[tokio::test]
async fn what_is_queued_is_told_without_being_asked_for() {
    let site = Site::new(false).await;
    site.fleet.go(true);
    site.all(1).await;
    site.fleet.go(false);
    let told = async {
        let mut changes = site.bench.service.changes();
        while site.count("plane.told").await < 3 {
            changes.changed().await.unwrap();
        }
    };
    tokio::select! {
        () = site.planes.run() => panic!("it goes on for ever"),
        () = told => {}
    }
    assert_eq!(site.fleet.told(), ["reset 1", "register hmi 1", "policy 1", "lift 1"]);
}

#[tokio::test]
async fn a_later_step_waits_for_an_earlier_one_and_an_older_recovery_is_not_told_any_more() {
    let site = Site::new(false).await;
    site.fleet.go(true);
    site.planes.reset_record(&site.press, 1).await.unwrap();
    site.fleet.go(false);
    site.planes.register(&site.press, 1, &registration()).await.unwrap();
    assert_eq!(site.fleet.told(), [""; 0], "its old record is still there");
    assert_eq!(site.planes.reconcile().await.unwrap(), 2);
    assert_eq!(site.fleet.told(), ["reset 1", "register hmi 1", "policy 1"]);
    site.fleet.go(true);
    site.all(2).await;
    site.planes.reset_record(&site.press, 3).await.unwrap();
    site.fleet.go(false);
    assert_eq!(site.planes.reconcile().await.unwrap(), 1);
    assert_eq!(site.fleet.told(), ["reset 3"]);
}

#[tokio::test]
async fn where_its_own_word_is_wanted_it_is_waited_for() {
    let site = Site::new(true).await;
    let said = site.planes.observe(&site.press, job()).await.unwrap();
    assert_eq!(said, Observed::NotYet("fleet: it has not looked yet".to_owned()));
    site.fleet.passes.store(true, Ordering::Relaxed);
    assert_eq!(site.planes.observe(&site.press, job()).await.unwrap(), Observed::Passes);
    assert_eq!(Site::new(false).await.planes.observe(&site.press, job()).await.unwrap(), Observed::Nothing);
}

#[tokio::test]
async fn the_registry_is_pulled_by_what_changed() {
    let site = Site::new(false).await;
    site.all(4).await;
    let (status, all) = site.bench.ask("GET", "/api/v1/plane", serde_json::Value::Null).await;
    assert_eq!(status, 200);
    assert_eq!(
        (&all[0]["endpoint"], &all[0]["generation"], &all[0]["trusted"]),
        (&"press-01".into(), &4.into(), &true.into())
    );
    assert_eq!(all[0]["registration"]["image"], "hmi");
    let since = format!("/api/v1/plane?since={}", all[0]["sequence"]);
    let (_, none) = site.bench.ask("GET", &since, serde_json::Value::Null).await;
    assert_eq!(none, serde_json::json!([]));
}

#[tokio::test]
async fn an_older_recovery_is_never_told_after_a_newer_one() {
    let site = Site::new(false).await;
    site.fleet.go(true);
    site.all(1).await;
    site.fleet.go(false);
    site.fleet.shut.store(true, Ordering::Relaxed);
    // A newer recovery begins while the first of three steps is being told.
    let newer = async {
        site.fleet.entered.notified().await;
        let registry = async {
            let db = &site.bench.journal.db;
            while db::plane::get(&mut db.read().await.unwrap(), &site.press)
                .await
                .unwrap()
                .unwrap()
                .generation
                < 2
            {
                tokio::task::yield_now().await;
            }
            for _ in 0..1000 {
                tokio::task::yield_now().await;
            }
            site.fleet.open.notify_one();
        };
        tokio::join!(site.planes.reset_record(&site.press, 2), registry).0.unwrap();
    };
    tokio::join!(site.planes.reconcile(), newer).0.unwrap();
    let told = site.fleet.told();
    assert_eq!((told[0].as_str(), told.last().unwrap().as_str()), ("reset 1", "reset 2"), "{told:?}");
    // Nor by a call that comes late.
    site.planes.lift_quarantine(&site.press, 1).await.unwrap();
    assert_eq!(site.fleet.told(), [""; 0]);
    assert_eq!(site.planes.reconcile().await.unwrap(), 0);
}

#[tokio::test]
async fn one_that_is_silent_is_asked_once_in_a_round() {
    let site = Site::new(false).await;
    site.fleet.go(true);
    site.all(1).await;
    site.planes.reset_record(&"press-02".parse().unwrap(), 1).await.unwrap();
    site.fleet.asked.store(0, Ordering::Relaxed);
    assert_eq!(site.planes.reconcile().await.unwrap(), 0);
    assert_eq!(site.fleet.asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn its_word_counts_only_after_it_was_told_all() {
    let site = Site::new(true).await;
    site.fleet.passes.store(true, Ordering::Relaxed);
    site.fleet.go(true);
    site.planes.reset_record(&site.press, 1).await.unwrap();
    site.fleet.go(false);
    site.planes.register(&site.press, 1, &registration()).await.unwrap();
    let said = site.planes.observe(&site.press, job()).await.unwrap();
    assert_eq!(said, Observed::NotYet("fleet: it was not told the step reset yet: uplink cut".to_owned()));
    assert_eq!(site.planes.reconcile().await.unwrap(), 2);
    assert_eq!(site.planes.observe(&site.press, job()).await.unwrap(), Observed::Passes);
}

#[tokio::test]
async fn what_was_not_told_is_not_in_evidence_as_told() {
    let site = Site::new(false).await;
    site.fleet.go(true);
    site.planes.reset_record(&site.press, 1).await.unwrap();
    site.fleet.go(false);
    site.fleet.stranger.store(true, Ordering::Relaxed);
    site.planes.register(&site.press, 1, &registration()).await.unwrap();
    // What it was known by stands in the queue: that record goes. The rest is none of its.
    assert_eq!(site.planes.reconcile().await.unwrap(), 1);
    site.planes.lift_quarantine(&site.press, 1).await.unwrap();
    assert_eq!(site.fleet.told(), ["reset 1"]);
    assert_eq!((site.count("plane.told").await, site.planes.reconcile().await.unwrap()), (1, 0));
}

#[tokio::test]
async fn a_record_of_another_name_still_goes_when_the_next_recovery_begins() {
    let site = Site::new(false).await;
    let row = |generation, name: &str| db::plane::Queued {
        plane: "fleet".to_owned(),
        endpoint: site.press.clone(),
        generation,
        step: db::plane::Step::Reset,
        registration: None,
        known_as: Some(name.to_owned()),
        since: 1,
    };
    let mut tx = site.bench.journal.begin().await.unwrap();
    for (generation, name) in [(1, "a"), (2, "a"), (3, "b")] {
        assert!(db::plane::queue(tx.conn(), &row(generation, name)).await.unwrap());
    }
    assert_eq!(db::plane::queued(tx.conn()).await.unwrap(), [row(2, "a"), row(3, "b")]);
    db::plane::unqueue(tx.conn(), &row(3, "b")).await.unwrap();
    assert_eq!(db::plane::queued(tx.conn()).await.unwrap(), [row(2, "a")]);
}

#[tokio::test]
async fn the_order_of_changes_is_the_order_of_writing_whatever_the_clock_does() {
    let site = Site::new(false).await;
    let mut tx = site.bench.journal.begin().await.unwrap();
    let mut seen = 0;
    for (name, changed) in [("press-01", 5_000), ("press-02", 5_000), ("press-01", 1_000)] {
        let known =
            db::plane::Enrolled { generation: 1, trusted: true, record: serde_json::json!({}), changed };
        db::plane::put(tx.conn(), &name.parse().unwrap(), &known).await.unwrap();
        let new = db::plane::changed_since(tx.conn(), seen).await.unwrap();
        assert_eq!(new.iter().map(|new| new.endpoint.as_str()).collect::<Vec<_>>(), [name]);
        seen = new[0].sequence;
    }
    db::plane::retire(tx.conn(), &"press-02".parse().unwrap(), 1_000).await.unwrap();
    let new = db::plane::changed_since(tx.conn(), seen).await.unwrap();
    assert_eq!((new.len(), new[0].endpoint.as_str(), new[0].known.trusted), (1, "press-02", false));
}

/// One that says nothing by itself takes nothing from the word of another.
#[tokio::test]
async fn whoever_knows_the_endpoint_and_is_waited_for_vouches() {
    let site = Site::new(true).await;
    let silent: Arc<dyn ControlPlane> = Arc::new(Embedded::new(site.bench.journal.db.clone()));
    let fleet = Arc::clone(&site.fleet) as Arc<dyn ControlPlane>;
    let other = |name: &str, plane: &Arc<dyn ControlPlane>, waits| Other {
        name: name.to_owned(),
        plane: Arc::clone(plane),
        waits,
    };
    let planes = |waits| {
        let others = vec![other("fleet", &fleet, waits), other("silent", &silent, true)];
        Planes::new(Arc::clone(&site.bench.journal), others)
    };
    site.fleet.passes.store(true, Ordering::Relaxed);
    let job = job();
    assert_eq!(planes(true).observe(&site.press, job).await, Ok(Observed::Passes));
    assert_eq!(planes(false).observe(&site.press, job).await, Ok(Observed::Nothing));

    let alone = |waits| Planes::new(Arc::clone(&site.bench.journal), vec![other("fleet", &fleet, waits)]);
    assert!(alone(true).vouches(&site.press).await && !alone(false).vouches(&site.press).await);
    site.fleet.stranger.store(true, Ordering::Relaxed);
    assert!(!alone(true).vouches(&site.press).await, "it does not know it");
}
