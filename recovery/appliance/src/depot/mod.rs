//! The depot as an S3 object store: the one adapter between [`images::depot::Depot`] and the `object_store` crate.
//!
//! ```text
//!   images::depot (sync, trusts nothing) ─► S3Depot ─► object_store (signing, XML, retries) ─► wire (TLS, time limits) ─► S3
//! ```
//!
//! It judges nothing that it carries: what an answer is worth is decided in `images::depot`. It keeps the time: a request
//! that stands still ends, one that finds nobody is tried twice more. Its runtime is its own, so that it is called from
//! any thread that may block.
//!
//! It must never: print a secret, follow a redirect to another place, or hold more of an answer than was asked for.

mod credentials;
mod follow;
mod probe;
mod room;
mod setting;
mod wire;

pub use credentials::CredentialsError;
pub use follow::{DepotState, Keeper};
pub use probe::{Answer, Capabilities};
pub use room::{Needs, Order, shortfall};
pub use setting::{Images, Setting, SettingError, pinned};
pub use wire::Limits;

use std::{error::Error, ops::Range, time::Duration};

use futures_util::TryStreamExt as _;
use images::depot::{Depot, DepotError, Put};
use object_store::{
    BackoffConfig, ClientOptions, GetOptions, GetRange, ObjectStore, ObjectStoreExt as _, PutMode,
    PutOptions, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder, AwsCredential, Checksum, S3ConditionalPut},
    client::{HttpError, HttpErrorKind},
    path::Path,
};
use tokio::runtime::{Builder, Runtime};

use wire::{NotLetIn, Wire};

/// Most objects that are listed: beyond, a list is not believed.
const OBJECTS_MAX: usize = 4_000_000;

/// Why the depot cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Credentials.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The certificate authorities.
    #[error("the certificate authorities in {file} cannot be read; name a PEM file with `ca_file`")]
    Authorities {
        /// The file.
        file: String,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// TLS.
    #[error("TLS to the depot cannot be set up")]
    Tls(#[source] rustls::Error),
    /// No threads.
    #[error("the system gives no threads for the depot; try again")]
    Runtime(#[source] std::io::Error),
    /// The client library.
    #[error("the depot's settings do not fit together; check endpoint, bucket and region")]
    Client(#[source] object_store::Error),
}

/// A bucket, or a part of one.
pub struct S3Depot {
    store: AmazonS3,
    prefix: Path,
    setting: Setting,
    credential: AwsCredential,
    wire: Wire,
    /// Always there until the drop.
    runtime: Option<Runtime>,
}

impl S3Depot {
    /// Read the credentials and get ready; nobody is asked yet.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(setting: &Setting, limits: Limits) -> Result<Self, OpenError> {
        let credential = credentials::read(&setting.credentials_file)?;
        let wire = Wire::new(setting.ca_file.as_deref(), limits)?;
        let retry = RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(100),
                max_backoff: Duration::from_secs(2),
                base: 2.0,
            },
            max_retries: 2,
            retry_timeout: Duration::from_secs(60),
        };
        let mut builder = AmazonS3Builder::new()
            .with_endpoint(setting.endpoint.trim_end_matches('/'))
            .with_bucket_name(&setting.bucket)
            .with_region(&setting.region)
            .with_access_key_id(&credential.key_id)
            .with_secret_access_key(&credential.secret_key)
            .with_allow_http(setting.plain_http)
            .with_client_options(ClientOptions::new().with_allow_http(setting.plain_http))
            .with_virtual_hosted_style_request(false)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            // Not every service removes many at once, and we seldom do.
            .with_disable_bulk_delete(true)
            .with_checksum_algorithm(Checksum::SHA256)
            .with_retry(retry)
            .with_http_connector(wire.clone());
        if let Some(token) = &credential.token {
            builder = builder.with_token(token);
        }
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
        Ok(Self {
            store: builder.build().map_err(OpenError::Client)?,
            prefix: Path::from(setting.prefix.as_str()),
            setting: setting.clone(),
            credential,
            wire,
            runtime: Some(runtime.map_err(OpenError::Runtime)?),
        })
    }

    /// For people: where it is.
    #[must_use]
    pub fn place(&self) -> String {
        self.setting.to_string()
    }

    fn path(&self, name: &str) -> Path {
        self.prefix.parts().chain(Path::from(name).parts()).collect()
    }

    fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        let runtime = self.runtime.as_ref().unwrap_or_else(|| unreachable!("it is there until the drop"));
        runtime.block_on(work)
    }

    async fn put(&self, name: &str, bytes: &[u8], mode: PutMode) -> Result<Put, DepotError> {
        let options = PutOptions { mode, ..PutOptions::default() };
        match self.store.put_opts(&self.path(name), bytes.to_vec().into(), options).await {
            Ok(_) => Ok(Put::Done),
            // 409 is what some say of two at once.
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                Ok(Put::There)
            }
            Err(error) => Err(failure(name, error)),
        }
    }
}

impl Drop for S3Depot {
    fn drop(&mut self) {
        // A runtime that is dropped in an async task would wait, which panics there.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Depot for S3Depot {
    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<Put, DepotError> {
        self.wait(self.put(name, bytes, PutMode::Create))
    }

    fn put_over(&self, name: &str, bytes: &[u8]) -> Result<(), DepotError> {
        self.wait(self.put(name, bytes, PutMode::Overwrite)).map(drop)
    }

    fn len(&self, name: &str) -> Result<Option<u64>, DepotError> {
        match self.wait(self.store.head(&self.path(name))) {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failure(name, error)),
        }
    }

    fn read(&self, name: &str, range: Range<u64>) -> Result<Vec<u8>, DepotError> {
        let len_max = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        // No range has no bytes, but an object may be empty.
        let range = if len_max == 0 { None } else { Some(GetRange::Bounded(range)) };
        self.wait(async {
            let options = GetOptions { range, ..GetOptions::default() };
            let answer =
                self.store.get_opts(&self.path(name), options).await.map_err(|e| failure(name, e))?;
            let mut stream = answer.into_stream();
            let mut bytes = Vec::new();
            while let Some(part) = stream.try_next().await.map_err(|e| failure(name, e))? {
                if bytes.len() + part.len() > len_max {
                    let what = "more comes than was asked for";
                    return Err(DepotError::Altered { name: name.to_owned(), what });
                }
                bytes.extend_from_slice(&part);
            }
            Ok(bytes)
        })
    }

    fn list(&self) -> Result<Vec<(String, u64)>, DepotError> {
        self.wait(async {
            let mut stream = self.store.list(Some(&self.prefix));
            let mut all = Vec::new();
            while let Some(meta) = stream.try_next().await.map_err(|e| failure("its list", e))? {
                if let Some(parts) = meta.location.prefix_match(&self.prefix) {
                    all.push((parts.collect::<Path>().to_string(), meta.size));
                }
                if all.len() > OBJECTS_MAX {
                    let what = "it has no end; give the depot a bucket, or a prefix, of its own";
                    return Err(DepotError::Altered { name: "its list".to_owned(), what });
                }
            }
            Ok(all)
        })
    }

    fn remove(&self, name: &str) -> Result<(), DepotError> {
        match self.wait(self.store.delete(&self.path(name))) {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failure(name, error)),
        }
    }
}

/// What the library's error means for whoever asked.
fn failure(name: &str, error: object_store::Error) -> DepotError {
    let name = name.to_owned();
    if matches!(error, object_store::Error::NotFound { .. }) {
        return DepotError::Absent { name };
    }
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(at) = cause {
        if at.is::<NotLetIn>() {
            return DepotError::Forbidden { name, source: error.into() };
        }
        match at.downcast_ref::<HttpError>().map(HttpError::kind) {
            Some(HttpErrorKind::Timeout) => return DepotError::Slow { name, source: error.into() },
            Some(HttpErrorKind::Connect | HttpErrorKind::Interrupted | HttpErrorKind::Request) => {
                return DepotError::Gone(error.into());
            }
            _ => cause = at.source(),
        }
    }
    DepotError::Refused { name, source: error.into() }
}

#[cfg(test)]
mod tests;
