//! The HTTP port of one interface: accepts, bounds, routes.
//!
//! Every connection has a permit, a time limit for its request head and one for unacknowledged bytes, so that a slow or
//! dead peer cannot hold the port.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response, StatusCode, Version};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::read::{NoRequest, request};
use super::respond::{file, refuse};
use super::send::{Asked, answer, gone};
use super::{Body, BodyError, Handler, Peer};
use crate::artefact::fold;
use crate::client::Mac;
use crate::event::{BootEvent, Fetcher, Refusal};
use crate::gate::Gate;
use crate::policy::Stage;

/// Time for which a peer may leave sent bytes unacknowledged.
const STALL_WAIT: Duration = Duration::from_secs(60);
/// Time for a peer to take the last answer and leave.
const LINGER_WAIT: Duration = Duration::from_secs(1);
/// Time to finish what runs when stopping.
const DRAIN_WAIT: Duration = Duration::from_secs(3);

/// HTTP on one interface.
pub(crate) struct HttpPort {
    pub listener: TcpListener,
    /// Our IPv4 address there, by which the policy knows the interface.
    pub interface: Ipv4Addr,
    pub gate: Arc<Gate>,
    pub handler: Option<Handler>,
    pub permits: Arc<Semaphore>,
    pub per_addr_max: usize,
}

/// Open connections by address, so that one peer cannot hold all permits.
#[derive(Default)]
struct Open(Mutex<HashMap<IpAddr, usize>>);

/// One open connection's place in the count.
struct Place {
    open: Arc<Open>,
    addr: IpAddr,
}

impl Open {
    fn take(self: &Arc<Self>, addr: IpAddr, max: usize) -> Option<Place> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(addr).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(Place { open: self.clone(), addr })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.open.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.addr) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.addr);
            }
        }
    }
}

/// Binds an address; a port still in TIME_WAIT after a restart is no hindrance.
pub(crate) fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(256)?;
    TcpListener::from_std(socket.into())
}

impl HttpPort {
    /// Serves until told to stop, then drains for a few seconds.
    pub(crate) async fn run(self, stop: CancellationToken) -> io::Result<()> {
        let mut tasks = JoinSet::new();
        let open = Arc::<Open>::default();
        loop {
            let permit = tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = tasks.join_next() => continue,
                permit = self.permits.clone().acquire_owned() => permit.map_err(io::Error::other)?,
            };
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            let (stream, from) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, or the peer was gone already: neither may end the service.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let Some(place) = open.take(from.ip(), self.per_addr_max) else {
                let (peer, stage) = (Some(from), Stage::Http);
                let reason = Refusal::Busy(format!("{} connections from there", self.per_addr_max));
                self.gate.tell(BootEvent::Refused { mac: None, peer, stage, reason });
                continue;
            };
            let (gate, handler, stop) = (self.gate.clone(), self.handler.clone(), stop.clone());
            let interface = self.interface;
            tasks.spawn(async move {
                connection_task(stream, from, (gate, interface), handler, stop).await;
                drop((place, permit));
            });
        }
        drop(self.listener);
        let drain = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN_WAIT, drain).await.is_err() {
            tracing::info!("boot file connections were cut while stopping");
        }
        Ok(())
    }
}

async fn connection_task(
    stream: TcpStream,
    from: SocketAddr,
    (gate, interface): (Arc<Gate>, Ipv4Addr),
    handler: Option<Handler>,
    stop: CancellationToken,
) {
    let ended = async {
        let peer = Peer { remote: from, local: stream.local_addr()? };
        stream.set_nodelay(true)?;
        socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(STALL_WAIT))?;
        Front { gate: Some(gate), interface, handler, peer }.talk(stream, &stop).await
    };
    if let Err(error) = ended.await {
        // Firmware hangs up with a reset as a rule; what it means for a file is told by the file's own event.
        tracing::debug!(error = %error, "connection ended");
    }
}

/// Answer the requests of one connection by a handler alone, until the peer leaves.
pub async fn converse(stream: TcpStream, peer: Peer, handler: Handler) {
    let front = Front { gate: None, interface: Ipv4Addr::UNSPECIFIED, handler: Some(handler), peer };
    // Who left is not told.
    let _ = front.talk(stream, &CancellationToken::new()).await;
}

/// Boot files by a gate that is there once the server runs.
pub(crate) fn files(gate: Arc<OnceLock<Arc<Gate>>>) -> Handler {
    Arc::new(move |request, peer| {
        let gate = gate.get().cloned();
        Box::pin(async move {
            let Some(gate) = gate else { return refuse(StatusCode::SERVICE_UNAVAILABLE, "not yet ready") };
            let front = Front { gate: Some(gate), interface: Ipv4Addr::UNSPECIFIED, handler: None, peer };
            front.route(request).await
        })
    })
}

/// What a connection can ask.
struct Front {
    gate: Option<Arc<Gate>>,
    interface: Ipv4Addr,
    handler: Option<Handler>,
    peer: Peer,
}

impl Front {
    /// One request after the other; when told to stop, the one that is under way is the last.
    async fn talk(&self, mut stream: TcpStream, stop: &CancellationToken) -> Result<(), BodyError> {
        let mut buffer = BytesMut::with_capacity(4096);
        loop {
            let read = tokio::select! {
                read = request(&mut stream, &mut buffer) => read,
                () = stop.cancelled() => return Ok(()),
            };
            let (asked, response) = match read {
                Err(NoRequest::Left) => return Ok(()),
                Err(NoRequest::Bad(status, why)) => {
                    self.refused(why);
                    let asked = Asked { method: Method::GET, version: Version::HTTP_11, keep: false };
                    (asked, refuse(status, why))
                }
                Ok((request, keep)) => {
                    let (method, version) = (request.method().clone(), request.version());
                    let response = tokio::select! {
                        biased;
                        response = self.route(request) => response,
                        () = gone(&stream) => return Ok(()),
                    };
                    (Asked { method, version, keep: keep && !stop.is_cancelled() }, response)
                }
            };
            if !answer(&stream, &asked, response).await? {
                return end(stream).await;
            }
        }
    }

    fn refused(&self, why: &str) {
        if let Some(gate) = &self.gate {
            let (mac, reason) = (mac_of(gate, self.peer), Refusal::Malformed(why.to_owned()));
            gate.tell(BootEvent::Refused { mac, peer: Some(self.peer.remote), stage: Stage::Http, reason });
        }
    }

    async fn route(&self, request: Request<Bytes>) -> Response<Body> {
        let name = self.gate.as_ref().and_then(|gate| {
            let name = fold(&percent_decoded(request.uri().path()))?;
            gate.artefacts.contains(&name).then_some((gate, name))
        });
        match (name, &self.handler) {
            (Some((gate, name)), _) => boot_file(gate, self.interface, &name, &request, self.peer),
            (None, Some(handler)) => handler(request, self.peer).await,
            (None, None) => refuse(StatusCode::NOT_FOUND, "no such file"),
        }
    }
}

/// The last answer arrives: to close with unread bytes would reset the connection before the peer has read it.
async fn end(mut stream: TcpStream) -> Result<(), BodyError> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    stream.shutdown().await?;
    let drain = async {
        let (mut junk, mut left) = ([0; 4096], 64 * 1024);
        while left > 0 {
            match stream.read(&mut junk).await {
                Ok(0) | Err(_) => return,
                Ok(len) => left -= len.min(left),
            }
        }
    };
    let _ = tokio::time::timeout(LINGER_WAIT, drain).await;
    Ok(())
}

fn boot_file(
    gate: &Arc<Gate>,
    interface: Ipv4Addr,
    name: &str,
    request: &Request<Bytes>,
    peer: Peer,
) -> Response<Body> {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, "boot files can only be read");
    }
    let (from, ours) = (peer.remote.ip(), peer.local.ip());
    match gate.artefact(from, Stage::Http, (ours, interface), name.as_bytes()) {
        Ok((boot, artefact)) => {
            let fetcher = Fetcher { peer: peer.remote, mac: Some(boot.client.mac) };
            file(gate, artefact, &boot, fetcher, request.method(), request.headers())
        }
        Err(reason) => {
            let response = refuse(StatusCode::FORBIDDEN, &reason.to_string());
            let mac = mac_of(gate, peer);
            gate.tell(BootEvent::Refused { mac, peer: Some(peer.remote), stage: Stage::Http, reason });
            response
        }
    }
}

fn mac_of(gate: &Gate, peer: Peer) -> Option<Mac> {
    gate.client(peer.remote.ip(), peer.local.ip()).map(|client| client.mac)
}

/// Decodes `%xx`; a malformed escape stays as it is and so matches no name.
fn percent_decoded(path: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let hex = |b: u8| char::from(b).to_digit(16);
        let escape = match tail {
            [high, low, ..] if byte == b'%' => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match escape {
            Some((high, low)) => {
                out.push((high * 16 + low) as u8);
                rest = &tail[2..];
            }
            None => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g7_percent_escapes_are_decoded_and_malformed_ones_left() {
        assert_eq!(percent_decoded("/a%2Fb%20c"), b"/a/b c");
        assert_eq!(percent_decoded("/100%"), b"/100%");
        assert_eq!(percent_decoded("/%zz%4"), b"/%zz%4");
        assert_eq!(percent_decoded("%00"), b"\0");
    }
}
