//! The TFTP port of one interface: requests in, one task with its own connected socket for each transfer.
//!
//! Every request is answered at once: data, an option acknowledgement, or an error. Limits are counted per address and
//! in total; a request repeated from the port of a running transfer belongs to it and starts nothing.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{Interface, Limits};
use crate::event::{Abort, BootEvent, Fetcher, Protocol, Refusal};
use crate::gate::Gate;
use crate::net::{AnyPort, connected};
use crate::policy::Stage;
use crate::tftp::options::{Agreed, agree};
use crate::tftp::packet::{ErrorCode, Incoming, ReadRequest, error, parse_incoming};
use crate::tftp::transfer::{Outcome, Transfer};

/// How much longer the header of IPv6 is than that of IPv4.
const IPV6_HEADER_MORE: u16 = 20;

/// TFTP on one interface.
pub(crate) struct TftpPort {
    pub port: AnyPort,
    pub interface: Interface,
    pub limits: Limits,
    pub gate: Arc<Gate>,
}

/// An error packet to send, and the reason for the event. `code` is `None` for silence.
struct Refused {
    code: Option<ErrorCode>,
    reason: Refusal,
}

struct Job {
    name: String,
    body: Bytes,
    agreed: Agreed,
    fetcher: Fetcher,
}

impl TftpPort {
    /// Serves until told to stop; running transfers are ended with it.
    pub(crate) async fn run(self, stop: CancellationToken) -> io::Result<()> {
        let mut tasks: JoinSet<SocketAddr> = JoinSet::new();
        let mut running: HashSet<SocketAddr> = HashSet::new();
        let mut buf = [0; 1024];
        loop {
            let arrival = tokio::select! {
                () = stop.cancelled() => break,
                Some(done) = tasks.join_next() => {
                    running.remove(&done.map_err(io::Error::other)?);
                    continue;
                }
                arrival = self.port.recv(&mut buf) => arrival?,
            };
            let (len, from, ours) = arrival;
            if running.contains(&from) {
                continue;
            }
            match self.accept(&buf[..len], from, ours, &running) {
                Ok(job) => {
                    running.insert(from);
                    let (gate, stop) = (self.gate.clone(), stop.clone());
                    tasks.spawn(async move {
                        transfer_task(job, ours, from, &gate, &stop).await;
                        from
                    });
                }
                Err(refused) => self.refuse(refused, from, ours).await,
            }
        }
        while tasks.join_next().await.is_some() {}
        Ok(())
    }

    /// Checks a request from top to bottom and finds its file.
    fn accept(
        &self,
        raw: &[u8],
        from: SocketAddr,
        ours: IpAddr,
        running: &HashSet<SocketAddr>,
    ) -> Result<Job, Refused> {
        // Beyond the wire only clients that came through a DHCP relay are known; nobody else is worth a packet there.
        let near = match from.ip() {
            IpAddr::V4(from) => self.interface.holds(from),
            IpAddr::V6(_) => false,
        };
        if !near && self.gate.client(from.ip(), ours).is_none() {
            return Err(Refused { code: None, reason: Refusal::OffLink });
        }
        let refuse = |code, reason| Err(Refused { code: Some(code), reason });
        let unsupported = |what: &str| refuse(ErrorCode::Illegal, Refusal::Unsupported(what.into()));
        let request = match parse_incoming(raw) {
            Ok(Incoming::Read(request)) => request,
            Ok(Incoming::Write) => {
                return refuse(ErrorCode::AccessViolation, Refusal::Unsupported("upload".into()));
            }
            Ok(Incoming::Stray) => {
                return refuse(
                    ErrorCode::UnknownTransfer,
                    Refusal::Malformed("packet of no transfer".into()),
                );
            }
            Err(e) => return refuse(ErrorCode::Illegal, Refusal::Malformed(e.to_string())),
        };
        if !request.mode.eq_ignore_ascii_case(b"octet") {
            return unsupported("only mode octet");
        }
        let same = running.iter().filter(|peer| peer.ip() == from.ip()).count();
        if running.len() >= self.limits.tftp_transfers || same >= self.limits.tftp_transfers_per_addr {
            return refuse(
                ErrorCode::Busy,
                Refusal::Busy(format!("{} running, {same} from there", running.len())),
            );
        }
        self.find(&request, from, ours)
    }

    /// The file, by the same decision as DHCP's. Whoever may not have it learns no more than that it is not there: shim
    /// goes on after "not found" and stops after anything else.
    fn find(&self, request: &ReadRequest<'_>, from: SocketAddr, ours: IpAddr) -> Result<Job, Refused> {
        let (boot, artefact) = self
            .gate
            .artefact(from.ip(), Stage::Tftp, (ours, self.interface.addr), request.name)
            .map_err(|reason| Refused { code: Some(ErrorCode::NotFound), reason })?;
        let body = artefact.bytes(&boot);
        let block_len_max = match ours {
            IpAddr::V4(_) => self.limits.tftp_block_len,
            IpAddr::V6(_) => self.limits.tftp_block_len.saturating_sub(IPV6_HEADER_MORE),
        };
        let agreed = agree(&request.options, body.len() as u64, block_len_max);
        let fetcher = Fetcher { peer: from, mac: Some(boot.client.mac) };
        Ok(Job { name: artefact.name().into(), body, agreed, fetcher })
    }

    async fn refuse(&self, refused: Refused, from: SocketAddr, ours: IpAddr) {
        if let Some(code) = refused.code
            && let Err(error) = self.port.send(&error(code, &refused.reason.to_string()), ours, from).await
        {
            tracing::debug!(%from, %error, "a TFTP error could not be sent");
        }
        let mac = self.gate.client(from.ip(), ours).map(|c| c.mac);
        let peer = Some(from);
        self.gate.tell(BootEvent::Refused { mac, peer, stage: Stage::Tftp, reason: refused.reason });
    }
}

/// Runs one transfer and reports its start and end.
async fn transfer_task(job: Job, ours: IpAddr, peer: SocketAddr, gate: &Gate, stop: &CancellationToken) {
    let Job { name, body, agreed, fetcher } = job;
    let protocol = Protocol::Tftp;
    let size = body.len() as u64;
    let options = agreed.words();
    gate.tell(BootEvent::TransferStarted { fetcher, protocol, name: name.clone(), size, options });
    let begun = Instant::now();
    let mut transfer = Transfer::new(body, agreed, begun);
    let result = tokio::select! {
        () = stop.cancelled() => Err(Abort::Stopping),
        result = drive(&mut transfer, ours, peer) => result.map_err(|e| Abort::Network(e.to_string())),
    };
    let (bytes, resent) = (transfer.bytes_confirmed(), transfer.resent());
    let aborted = match (result, transfer.outcome()) {
        (Ok(()), Some(Outcome::Complete)) => None,
        (Ok(()), Some(Outcome::Aborted(reason))) => Some(reason.clone()),
        (Ok(()), None) => Some(Abort::Stopping),
        (Err(reason), _) => Some(reason),
    };
    gate.tell(match aborted {
        None => BootEvent::TransferFinished { fetcher, protocol, name, bytes, took: begun.elapsed(), resent },
        Some(reason) => BootEvent::TransferAborted { fetcher, protocol, name, bytes, reason },
    });
}

/// Moves packets between the machine and its socket until it has ended.
async fn drive(transfer: &mut Transfer, ours: IpAddr, peer: SocketAddr) -> io::Result<()> {
    let socket = connected(ours, peer)?;
    let mut out = Vec::with_capacity(1500);
    let mut buf = [0; 1500];
    while transfer.outcome().is_none() {
        while transfer.next_packet(&mut out) {
            gone(socket.send(&out).await, transfer)?;
        }
        tokio::select! {
            len = socket.recv(&mut buf) => {
                if let Some(len) = gone(len, transfer)? {
                    transfer.on_packet(&buf[..len], Instant::now());
                }
            }
            () = tokio::time::sleep_until(transfer.deadline().into()) => transfer.on_timeout(Instant::now()),
        }
    }
    Ok(())
}

/// "Connection refused" on a UDP socket means that the peer closed its port: the transfer's business, not an error of
/// ours. Everything else is.
fn gone(result: io::Result<usize>, transfer: &mut Transfer) -> io::Result<Option<usize>> {
    match result {
        Ok(len) => Ok(Some(len)),
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
            transfer.on_port_closed();
            Ok(None)
        }
        Err(e) => Err(e),
    }
}
