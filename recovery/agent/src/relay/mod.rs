//! `groundstate-agent relay`: an idle endpoint passes chunks on to those beside it, over the interface that the appliance has.
//!
//! ```text
//!   endpoint ─ POST /v1/frames ─► relay ─ what is not in memory, once ─► appliance
//!            ◄──── verified ─────       ◄───── verified, kept ─────────
//! ```
//!
//! So twenty endpoints of a line cost the uplink of their switch one image. A relay needs no trust: what it gives is verified by
//! the endpoint like everything else. It has no state on disk and opens one port, and only where somebody starts it.
//!
//! It must never: keep or send what it has not hashed, hold more memory than it was given, wait for a client that does not read.

mod cache;
mod http;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use images::frames::{self, Opener, RESPONSE_MAGIC};
use images::restore::ChunkSource as _;
use images::{ChunkId, FrameError};

use self::cache::Cache;
use self::http::{Exchange, Request};
use crate::recovery::{HttpSource, Limits};

/// Connections at once; more are turned away. An endpoint has up to eight.
const CONNECTIONS_MAX: usize = 128;
/// Chunks that are fetched and sent in one go.
const PIECE: usize = 32;
/// An upstream that gives nothing for this long is told to the endpoint, which has other sources.
const OUTAGE_MAX: Duration = Duration::from_secs(5);
/// A client that neither asks nor reads for this long is left.
const IDLE_MAX: Duration = Duration::from_secs(60);
const STALLED_MAX: Duration = Duration::from_secs(20);

/// How a relay is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// Whom it asks: `http://10.7.0.1`, in order of preference.
    pub upstream: Vec<String>,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Memory for frames, in MiB.
    pub memory_mib: usize,
}

impl Setup {
    /// From the words of a command line.
    ///
    /// # Errors
    /// What is wrong with it, and how it is written.
    pub fn parse(words: &[&str]) -> Result<Self> {
        let mut setup = Self { upstream: Vec::new(), listen: ([0, 0, 0, 0], 8480).into(), memory_mib: 256 };
        let (pairs, rest) = words.as_chunks::<2>();
        ensure!(rest.is_empty(), "`{}` needs a value", rest[0]);
        for [name, value] in pairs {
            let wrong = || format!("{name} {value}: write it as in `--listen 0.0.0.0:8480 --memory-mib 256`");
            match *name {
                "--upstream" => {
                    ensure!(
                        value.starts_with("http://") && !value["http://".len()..].contains('/'),
                        "--upstream {value}: write it as in `--upstream http://10.7.0.1`"
                    );
                    setup.upstream.push((*value).to_owned());
                }
                "--listen" => setup.listen = value.parse().with_context(wrong)?,
                "--memory-mib" => setup.memory_mib = value.parse().with_context(wrong)?,
                _ => anyhow::bail!("a relay knows no `{name}`; it has --upstream, --listen, --memory-mib"),
            }
        }
        ensure!(!setup.upstream.is_empty(), "whom shall it ask? `--upstream http://10.7.0.1`");
        ensure!((8..=1 << 16).contains(&setup.memory_mib), "--memory-mib must be 8 to 65536");
        Ok(setup)
    }
}

/// Relays until the process ends.
///
/// # Errors
/// When the port cannot be had.
pub fn run(words: &[&str]) -> Result<()> {
    let setup = Setup::parse(words)?;
    let relay = Relay::bind(&setup).with_context(|| format!("cannot listen on {}", setup.listen))?;
    eprintln!("GROUNDSTATE: relays for {} on {}", setup.upstream.join(", "), relay.address()?);
    relay.serve()
}

/// A relay with its port.
pub struct Relay {
    listener: TcpListener,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: Vec<String>,
    cache: Cache,
    connections: AtomicUsize,
    /// Bytes of frames that came from upstream.
    fetched: AtomicU64,
}

impl Relay {
    /// Takes the port.
    pub fn bind(setup: &Setup) -> std::io::Result<Self> {
        let shared = Shared {
            upstream: setup.upstream.clone(),
            cache: Cache::new(setup.memory_mib << 20, OUTAGE_MAX * 2),
            connections: AtomicUsize::new(0),
            fetched: AtomicU64::new(0),
        };
        Ok(Self { listener: TcpListener::bind(setup.listen)?, shared: Arc::new(shared) })
    }

    /// Where it listens.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the process ends.
    pub fn serve(self) -> ! {
        loop {
            let Ok((socket, _)) = self.listener.accept() else {
                // Out of descriptors, or the peer left: a busy loop would make either worse.
                std::thread::sleep(Duration::from_millis(100));
                continue;
            };
            let shared = Arc::clone(&self.shared);
            if shared.connections.fetch_add(1, Ordering::SeqCst) >= CONNECTIONS_MAX {
                shared.connections.fetch_sub(1, Ordering::SeqCst);
                continue;
            }
            std::thread::spawn(move || {
                let _counted = Counted(&shared.connections);
                // A client that goes wrong or away has no one to be told.
                let _ = shared.converse(socket);
            });
        }
    }
}

struct Counted<'c>(&'c AtomicUsize);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Shared {
    fn converse(&self, socket: TcpStream) -> std::io::Result<()> {
        socket.set_read_timeout(Some(IDLE_MAX))?;
        socket.set_write_timeout(Some(STALLED_MAX))?;
        socket.set_nodelay(true)?;
        let mut exchange = Exchange::new(socket);
        // What this connection learns of the upstream, good or bad, ends with it.
        let limits = Limits { outage: OUTAGE_MAX, ..Limits::USUAL };
        let urls: Vec<String> = self.upstream.iter().map(|base| format!("{base}/v1/frames")).collect();
        let source = HttpSource::new(&urls, limits, || false);
        while let Some(request) = exchange.next()? {
            match request {
                Request::Frames(body) => match frames::decode_request(&body) {
                    Ok(ids) => self.frames(&mut exchange, &source, &ids)?,
                    Err(error @ FrameError::OtherVersion { .. }) => {
                        exchange.refuse(400, &frames::encode_refusal(&error.to_string()))?;
                    }
                    Err(error) => exchange.refuse(400, format!("{error}\n").as_bytes())?,
                },
                Request::Manifest(image) => self.manifest(&mut exchange, &image)?,
                Request::Other => exchange.refuse(404, b"a relay has frames and manifests\n")?,
            }
        }
        Ok(())
    }

    fn frames<Halted: Fn() -> bool + Sync>(
        &self,
        exchange: &mut Exchange,
        source: &HttpSource<Halted>,
        ids: &[ChunkId],
    ) -> std::io::Result<()> {
        let mut opener = Opener::new()?;
        exchange.begin()?;
        exchange.piece(RESPONSE_MAGIC)?;
        for some in ids.chunks(PIECE) {
            let mut claim = self.cache.claim(some);
            // Held here, too: what others ask for may push it out of the memory before it is sent.
            let (fetch, mut fetched) = (claim.ids(), HashMap::new());
            if !fetch.is_empty() {
                // What upstream does not give is absent here; the endpoint asks its next source.
                let _ = source.fetch(&fetch, &mut |frame| {
                    opener.open(&frame)?;
                    self.fetched.fetch_add(frame.bytes.len() as u64, Ordering::Relaxed);
                    fetched.insert(frame.id, claim.put(&frame));
                    Ok::<_, FrameError>(())
                });
            }
            drop(claim);
            let mut piece = Vec::new();
            for id in some {
                match fetched.remove(id).or_else(|| self.cache.get(id)) {
                    Some(sent) => piece.extend_from_slice(&sent),
                    None => piece.extend(frames::encode_absent(*id)),
                }
            }
            exchange.piece(&piece)?;
        }
        exchange.end()
    }

    /// Passed on as it comes: the endpoint verifies it, and it is small beside the image.
    fn manifest(&self, exchange: &mut Exchange, image: &str) -> std::io::Result<()> {
        let http = crate::recovery::plain_http(Limits::USUAL.slow_after);
        for base in &self.upstream {
            let answer = http.get(format!("{base}/v1/manifests/{image}")).call();
            if let Ok(mut answer) = answer
                && answer.status() == 200
            {
                exchange.begin()?;
                exchange.copy(answer.body_mut().as_reader())?;
                return exchange.end();
            }
        }
        exchange.refuse(502, b"no appliance gives this manifest\n")
    }
}
