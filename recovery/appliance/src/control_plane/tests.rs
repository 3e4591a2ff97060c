//! A control plane that is away and comes back, and one whose own word is waited for.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use super::*;
use crate::{db, testing::Bench};

/// Remembers what it was told; while it is away it takes nothing.
#[derive(Default)]
struct Fleet {
    away: AtomicBool,
    told: Mutex<Vec<String>>,
    passes: AtomicBool,
}

impl Fleet {
    fn take(&self, what: &str, generation: u64) -> Result<(), PlaneError> {
        if self.away.load(Ordering::Relaxed) {
            return Err(PlaneError("uplink cut".to_owned()));
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
    fn reset_record<'a>(
        &'a self,
        _: &'a EndpointId,
        generation: u64,
    ) -> BoxFuture<'a, Result<(), PlaneError>> {
        Box::pin(async move { self.take("reset", generation) })
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

    fn observe<'a>(&'a self, _: &'a EndpointId) -> BoxFuture<'a, Result<Observed, PlaneError>> {
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
    let said = site.planes.observe(&site.press).await.unwrap();
    assert_eq!(said, Observed::NotYet("fleet: it has not looked yet".to_owned()));
    site.fleet.passes.store(true, Ordering::Relaxed);
    assert_eq!(site.planes.observe(&site.press).await.unwrap(), Observed::Passes);
    assert_eq!(Site::new(false).await.planes.observe(&site.press).await.unwrap(), Observed::Nothing);
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
    let since = format!("/api/v1/plane?since={}", all[0]["changed_unix_ms"]);
    let (_, none) = site.bench.ask("GET", &since, serde_json::Value::Null).await;
    assert_eq!(none, serde_json::json!([]));
}
