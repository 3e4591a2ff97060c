//! The embedded control plane: a registry in the appliance's own database, with who is trusted and who is in quarantine.
//!
//! It must never: take back by an older generation what a newer one has set.

use futures_util::future::BoxFuture;
use recovery_protocol::EndpointId;
use serde_json::json;

use super::{ControlPlane, PlaneError, Registration};
use crate::{
    clock::{Clock as _, SystemClock},
    db::{self, Db, plane::Enrolled},
};

/// The embedded control plane.
#[derive(Debug, Clone)]
pub struct Embedded {
    db: Db,
}

impl Embedded {
    /// Over the appliance's own database.
    #[must_use]
    pub fn new(db: Db) -> Self {
        Self { db }
    }

    async fn set(
        &self,
        endpoint: &EndpointId,
        generation: u64,
        trusted: bool,
        record: Option<serde_json::Value>,
    ) -> Result<(), PlaneError> {
        let failed = |e: db::DbError| PlaneError::Refused(e.chain());
        let mut tx = self.db.begin().await.map_err(failed)?;
        let known = db::plane::get(&mut tx, endpoint).await.map_err(failed)?;
        let record = record.or(known.map(|known| known.record)).unwrap_or_else(|| json!({}));
        let enrolled = Enrolled { generation, trusted, record, changed: SystemClock.now_unix_ms() };
        db::plane::put(&mut tx, endpoint, &enrolled).await.map_err(failed)?;
        tx.commit().await.map_err(|e| PlaneError::Refused(e.to_string()))
    }
}

impl ControlPlane for Embedded {
    fn reset_record<'a>(
        &'a self,
        endpoint: &'a EndpointId,
        generation: u64,
    ) -> BoxFuture<'a, Result<(), PlaneError>> {
        Box::pin(self.set(endpoint, generation, false, None))
    }

    fn register<'a>(
        &'a self,
        endpoint: &'a EndpointId,
        generation: u64,
        registration: &'a Registration,
    ) -> BoxFuture<'a, Result<(), PlaneError>> {
        Box::pin(self.set(endpoint, generation, false, Some(json!(registration))))
    }

    fn lift_quarantine<'a>(
        &'a self,
        endpoint: &'a EndpointId,
        generation: u64,
    ) -> BoxFuture<'a, Result<(), PlaneError>> {
        Box::pin(self.set(endpoint, generation, true, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_older_generation_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let db = db::conformance::database(&dir.path().join("db")).await;
        let plane = Embedded::new(db.clone());
        let endpoint: EndpointId = "press-01".parse().unwrap();
        let registration = Registration {
            image: "i".into(),
            certificate: Some("0a".into()),
            ek_sha256: None,
            job: "j".into(),
            pcrs: Default::default(),
        };
        plane.reset_record(&endpoint, 2).await.unwrap();
        plane.register(&endpoint, 2, &registration).await.unwrap();
        plane.lift_quarantine(&endpoint, 2).await.unwrap();
        plane.reset_record(&endpoint, 1).await.unwrap();
        let known = db::plane::get(&mut db.read().await.unwrap(), &endpoint).await.unwrap().unwrap();
        assert!(known.trusted && known.generation == 2);
        assert_eq!(known.record["certificate"], "0a");
    }
}
