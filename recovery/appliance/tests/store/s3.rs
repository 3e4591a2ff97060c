//! A real S3 service (`s3s-fs`) on 127.0.0.1 behind a wire, both of which can be told to lie.

#![allow(dead_code, reason = "two test programs share this file, and neither uses all of it")]

use std::{
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use hyper_util::rt::TokioIo;
use s3s::{
    S3, S3Request, S3Response, S3Result,
    auth::SimpleAuth,
    dto::{
        DeleteObjectInput, DeleteObjectOutput, ETag, GetObjectInput, GetObjectOutput, HeadObjectInput,
        HeadObjectOutput, ListObjectsV2Input, ListObjectsV2Output, PutObjectInput, PutObjectOutput,
    },
    s3_error,
    service::S3ServiceBuilder,
};
use s3s_fs::FileSystem;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};

pub const KEY: &str = "depot-key-id";
pub const SECRET: &str = "depot-secret-word";

/// What the service or the wire does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// `If-None-Match` counts for nothing.
    IgnoresConditions,
    /// A wrong checksum is taken.
    IgnoresChecksums,
    /// What it keeps on its disk is not what it was given.
    Spoils,
    /// It answers that it has kept it, and has not.
    Forgets,
    /// Locks are taken, and then hold.
    Locks,
    /// After so many bytes of an answer the wire goes silent.
    Stalls(usize),
    /// It takes nothing more from whoever puts.
    Deaf,
    /// After so many bytes of an answer the connection ends.
    Cuts(usize),
    /// Nobody is there.
    Gone,
}

type Told = Arc<Mutex<Option<Lie>>>;

/// A running service.
pub struct Service {
    pub address: SocketAddr,
    root: tempfile::TempDir,
    told: Told,
    /// Connections that came.
    pub connections: Arc<AtomicUsize>,
    _runtime: Runtime,
}

impl Service {
    pub fn start() -> Self {
        Self::behind(None)
    }

    /// With TLS, if a configuration is given.
    pub fn behind(tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("golden")).unwrap();
        let told = Told::default();
        let (files, told_too) = (FileSystem::new(root.path()).unwrap(), Arc::clone(&told));
        let mut builder = S3ServiceBuilder::new(Liar { root: root.path().to_owned(), files, told: told_too });
        builder.set_auth(SimpleAuth::from_single(KEY, SECRET));
        let (service, connections) = (builder.build(), Arc::new(AtomicUsize::new(0)));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (behind, front) = runtime.block_on(async {
            (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap())
        });
        let (service_at, address) = (behind.local_addr().unwrap(), front.local_addr().unwrap());
        runtime.spawn(async move {
            while let Ok((stream, _)) = behind.accept().await {
                let served = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service.clone());
                tokio::spawn(served);
            }
        });
        let (lies, count) = (Arc::clone(&told), Arc::clone(&connections));
        runtime.spawn(async move {
            while let Ok((stream, _)) = front.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let (lies, tls) = (Arc::clone(&lies), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => wire(stream, service_at, lies).await,
                        Some(tls) => {
                            if let Ok(stream) = tokio_rustls::TlsAcceptor::from(tls).accept(stream).await {
                                wire(stream, service_at, lies).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, root, told, connections, _runtime: runtime }
    }

    pub fn tell(&self, lie: impl Into<Option<Lie>>) {
        *self.told.lock().unwrap() = lie.into();
    }

    /// The directory that the service takes for the bucket.
    pub fn bucket(&self) -> PathBuf {
        self.root.path().join("golden")
    }

    /// Files of the bucket whose path contains this.
    pub fn files(&self, part: &str) -> Vec<PathBuf> {
        fn walk(dir: &Path, into: &mut Vec<PathBuf>) {
            for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
                match entry.file_type().unwrap().is_dir() {
                    true => walk(&entry.path(), into),
                    false => into.push(entry.path()),
                }
            }
        }
        let mut files = Vec::new();
        walk(&self.bucket(), &mut files);
        files.retain(|path| path.to_string_lossy().contains(part));
        files.sort();
        files
    }

    /// Change a byte of each such file behind the service's back.
    pub fn spoil(&self, part: &str, at: usize) {
        for path in self.files(part) {
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[at] ^= 1;
            std::fs::write(&path, bytes).unwrap();
        }
    }

    /// A configuration that names the depot, and its credentials, in `dir`.
    pub fn configure(&self, dir: &Path, secret: &str, more: &str) -> PathBuf {
        let credentials = dir.join("depot.credentials");
        let text = format!("[default]\naws_access_key_id = {KEY}\naws_secret_access_key = {secret}\n");
        std::fs::write(&credentials, text).unwrap();
        std::fs::set_permissions(&credentials, std::fs::Permissions::from_mode(0o600)).unwrap();
        let scheme = if more.contains("ca_file") { "https" } else { "http" };
        let config = dir.join("groundstate.toml");
        let table = format!(
            "[images]\ndepot = {{ endpoint = \"{scheme}://{}\", bucket = \"golden\", plain_http = true, \
             credentials_file = \"depot.credentials\"{more} }}\n",
            self.address
        );
        std::fs::write(&config, table).unwrap();
        config
    }
}

/// Carry bytes, and do to the answers what was told.
async fn wire(client: impl AsyncRead + AsyncWrite + Send + 'static, service: SocketAddr, told: Told) {
    let lie = || *told.lock().unwrap();
    if lie() == Some(Lie::Gone) {
        return;
    }
    let Ok(service) = TcpStream::connect(service).await else { return };
    let ((mut from_client, mut to_client), (mut from_service, mut to_service)) =
        (tokio::io::split(client), service.into_split());
    let up = async {
        let mut buffer = vec![0; 64 << 10];
        loop {
            match from_client.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) if lie() == Some(Lie::Deaf) => std::future::pending().await,
                Ok(len) if to_service.write_all(&buffer[..len]).await.is_ok() => {}
                Ok(_) => return,
            }
        }
    };
    let down = async {
        let (mut buffer, mut carried) = (vec![0; 16 << 10], 0);
        loop {
            let Ok(len @ 1..) = from_service.read(&mut buffer).await else { return };
            let len = match lie() {
                Some(Lie::Stalls(after) | Lie::Cuts(after)) => len.min(after.saturating_sub(carried)),
                Some(Lie::Gone) => return,
                _ => len,
            };
            carried += len;
            if to_client.write_all(&buffer[..len]).await.is_err() || to_client.flush().await.is_err() {
                return;
            }
            match lie() {
                Some(Lie::Stalls(after)) if carried >= after => std::future::pending().await,
                Some(Lie::Cuts(after)) if carried >= after => return,
                _ => {}
            }
        }
    };
    tokio::select! { () = up => {}, () = down => {} }
}

/// The service, with lies.
struct Liar {
    root: PathBuf,
    files: FileSystem,
    told: Told,
}

impl Liar {
    fn lies(&self, lie: Lie) -> bool {
        *self.told.lock().unwrap() == Some(lie)
    }
}

#[async_trait::async_trait]
impl S3 for Liar {
    async fn put_object(&self, mut req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        if self.lies(Lie::IgnoresConditions) {
            req.input.if_none_match = None;
        }
        if self.lies(Lie::IgnoresChecksums) {
            req.input.checksum_sha256 = None;
        }
        if self.lies(Lie::Forgets) {
            let e_tag = Some(ETag::Strong("d41d8cd98f00b204e9800998ecf8427e".to_owned()));
            return Ok(S3Response::new(PutObjectOutput { e_tag, ..PutObjectOutput::default() }));
        }
        let key = self.root.join(&req.input.bucket).join(&req.input.key);
        let done = self.files.put_object(req).await?;
        if self.lies(Lie::Spoils)
            && let Ok(mut bytes) = std::fs::read(&key)
        {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            let _ = std::fs::write(&key, bytes);
        }
        Ok(done)
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        self.files.get_object(req).await
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        self.files.head_object(req).await
    }

    async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.files.list_objects_v2(req).await
    }

    async fn delete_object(
        &self,
        req: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let lifted = req.input.bypass_governance_retention == Some(true);
        if self.lies(Lie::Locks) && req.input.key.ends_with("-lock") && !lifted {
            return Err(s3_error!(AccessDenied, "the object is under a lock"));
        }
        self.files.delete_object(req).await
    }
}
