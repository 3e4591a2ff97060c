//! The control plane: who must know that an endpoint is not trusted, and that it is again.
//!
//! The trait is the seam; behind it stands the embedded one, a table in the appliance's own database. Every call sets a
//! state and may be repeated; the generation grows with each recovery, so a late call of an older one changes nothing.
//!
//! It must never: issue an identity (that is enrolment, which fails and is retried in other ways).

use futures_util::future::BoxFuture;
use recovery_protocol::EndpointId;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::db::{self, Db, plane::Enrolled};

/// Why the control plane was not told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the control plane did not take it: {0}")]
pub struct PlaneError(pub String);

/// What the control plane learns of a recovered endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// The golden image that it runs.
    pub image: String,
    /// Serial number of its certificate, lower-case hex; none without a TPM.
    pub certificate: Option<String>,
    /// SHA-256 of its EK's SPKI, lower-case hex.
    pub ek_sha256: Option<String>,
    /// The job that recovered it.
    pub job: String,
}

/// A control plane. No call is cancelled half way by us; each may be repeated.
pub trait ControlPlane: Send + Sync {
    /// The endpoint's old identity is void; it must not be trusted.
    fn fence<'a>(
        &'a self,
        endpoint: &'a EndpointId,
        generation: u64,
    ) -> BoxFuture<'a, Result<(), PlaneError>>;
    /// The endpoint is recovered and enrolled; it stays in quarantine until released.
    fn register<'a>(
        &'a self,
        endpoint: &'a EndpointId,
        generation: u64,
        registration: &'a Registration,
    ) -> BoxFuture<'a, Result<(), PlaneError>>;
    /// The endpoint's quarantine is lifted.
    fn release<'a>(
        &'a self,
        endpoint: &'a EndpointId,
        generation: u64,
    ) -> BoxFuture<'a, Result<(), PlaneError>>;
}

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
        let failed = |e: db::DbError| PlaneError(e.chain());
        let mut tx = self.db.begin().await.map_err(failed)?;
        let known = db::plane::get(&mut tx, endpoint).await.map_err(failed)?;
        let record = record.or(known.map(|known| known.record)).unwrap_or_else(|| json!({}));
        db::plane::put(&mut tx, endpoint, &Enrolled { generation, trusted, record }).await.map_err(failed)?;
        tx.commit().await.map_err(|e| PlaneError(e.to_string()))
    }
}

impl ControlPlane for Embedded {
    fn fence<'a>(
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

    fn release<'a>(
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
        };
        plane.fence(&endpoint, 2).await.unwrap();
        plane.register(&endpoint, 2, &registration).await.unwrap();
        plane.release(&endpoint, 2).await.unwrap();
        plane.fence(&endpoint, 1).await.unwrap();
        let known = db::plane::get(&mut db.read().await.unwrap(), &endpoint).await.unwrap().unwrap();
        assert!(known.trusted && known.generation == 2);
        assert_eq!(known.record["certificate"], "0a");
    }
}
