//! The TFTP port of one interface: requests in, one task with its own [`Line`] for each transfer.
//!
//! Every request is answered at once: data, an option acknowledgement, or an error. Limits are counted per address and
//! in total; a request repeated from the port of a running transfer belongs to it and starts nothing.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{Interface, Limits};
use crate::event::{Abort, BootEvent, Fetcher, Protocol, Refusal};
use crate::gate::Gate;
use crate::net::AnyPort;
use crate::policy::Stage;
use crate::tftp::line::{Line, Packet};
use crate::tftp::netascii::{self, TEXT_LEN_MAX};
use crate::tftp::options::{Agreed, SHARED_WINDOW_MAX, WINDOW_MAX, agree_within};
use crate::tftp::packet::{ErrorCode, Incoming, ReadRequest, error, parse_incoming};
use crate::tftp::transfer::{Outcome, Transfer};

/// Headers of IPv4, UDP and TFTP; over IPv6 they are longer.
const HEADERS: u16 = 20 + 8 + 4;
const HEADERS_IPV6: u16 = HEADERS + 20;

/// TFTP on one interface.
pub(crate) struct TftpPort {
    pub port: Arc<AnyPort>,
    pub interface: Interface,
    pub limits: Limits,
    /// Transfers go over this port, too.
    pub single: bool,
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
    line: Line,
    inbox: Option<mpsc::Sender<Packet>>,
}

/// The running transfers by peer. In single-port mode each has a box for what comes for it.
#[derive(Default)]
struct Running(HashMap<SocketAddr, Option<mpsc::Sender<Packet>>>);

impl Running {
    /// Gives a packet to its peer's transfer; `false`: it has none. What is over takes nothing, also before it was put away: the next
    /// request of a client that keeps its port may come as fast.
    fn give(&self, from: SocketAddr, packet: &[u8]) -> bool {
        match self.0.get(&from) {
            None => false,
            Some(None) => true,
            Some(Some(inbox)) => !matches!(inbox.try_send(packet.to_vec()), Err(TrySendError::Closed(_))),
        }
    }

    fn begin(&mut self, peer: SocketAddr, inbox: Option<mpsc::Sender<Packet>>) {
        self.0.insert(peer, inbox);
    }

    /// A transfer with this peer is over, and was not the next one that has taken its place.
    fn put_away(&mut self, peer: SocketAddr) {
        if self.0.get(&peer).is_some_and(|inbox| inbox.as_ref().is_none_or(mpsc::Sender::is_closed)) {
            self.0.remove(&peer);
        }
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn of(&self, addr: IpAddr) -> usize {
        self.0.keys().filter(|peer| peer.ip() == addr).count()
    }
}

impl TftpPort {
    /// Serves until told to stop; running transfers are ended with it.
    pub(crate) async fn run(self, stop: CancellationToken) -> io::Result<()> {
        let mut tasks: JoinSet<SocketAddr> = JoinSet::new();
        let mut running = Running::default();
        let mut buf = [0; 1024];
        loop {
            let arrival = tokio::select! {
                () = stop.cancelled() => break,
                Some(done) = tasks.join_next() => {
                    running.put_away(done.map_err(io::Error::other)?);
                    continue;
                }
                arrival = self.port.recv(&mut buf) => arrival?,
            };
            let (len, from, ours) = arrival;
            if running.give(from, &buf[..len]) {
                continue;
            }
            match self.accept(&buf[..len], from, ours, &running) {
                Ok(mut job) => {
                    running.begin(from, job.inbox.take());
                    let (gate, stop) = (self.gate.clone(), stop.clone());
                    tasks.spawn(async move {
                        transfer_task(job, &gate, &stop).await;
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
    fn accept(&self, raw: &[u8], from: SocketAddr, ours: IpAddr, running: &Running) -> Result<Job, Refused> {
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
                // Over one port a late acknowledgement of an ended transfer comes here, too, and a client that keeps its port would
                // take the error for its next one's.
                let code = (!self.single).then_some(ErrorCode::UnknownTransfer);
                return Err(Refused { code, reason: Refusal::Malformed("packet of no transfer".into()) });
            }
            Err(e) => return refuse(ErrorCode::Illegal, Refusal::Malformed(e.to_string())),
        };
        let text = request.mode.eq_ignore_ascii_case(b"netascii");
        if !text && !request.mode.eq_ignore_ascii_case(b"octet") {
            return unsupported("only modes octet and netascii");
        }
        let same = running.of(from.ip());
        if running.len() >= self.limits.tftp_transfers || same >= self.limits.tftp_transfers_per_addr {
            return refuse(
                ErrorCode::Busy,
                Refusal::Busy(format!("{} running, {same} from there", running.len())),
            );
        }
        self.find(&request, text, from, ours)
    }

    /// The file, by the same decision as DHCP's. Whoever may not have it learns no more than that it is not there: shim
    /// goes on after "not found" and stops after anything else.
    fn find(
        &self,
        request: &ReadRequest<'_>,
        text: bool,
        from: SocketAddr,
        ours: IpAddr,
    ) -> Result<Job, Refused> {
        let (boot, artefact) = self
            .gate
            .artefact(from.ip(), Stage::Tftp, (ours, self.interface.addr), request.name)
            .map_err(|reason| Refused { code: Some(ErrorCode::NotFound), reason })?;
        let mut body = artefact.bytes(&boot);
        if text {
            body = netascii::on_the_wire(&body).ok_or_else(|| Refused {
                code: Some(ErrorCode::Illegal),
                reason: Refusal::Unsupported(format!(
                    "mode netascii for anything but texts of at most {TEXT_LEN_MAX} bytes; ask for octet"
                )),
            })?;
        }
        let (line, inbox) = self.line(from, ours).map_err(|error| Refused {
            code: Some(ErrorCode::Busy),
            reason: Refusal::Busy(format!("no socket for the transfer: {error}")),
        })?;
        let window_max = if self.single { SHARED_WINDOW_MAX } else { WINDOW_MAX };
        let most = (self.block_len_max(&line, from), window_max);
        let agreed = agree_within(&request.options, body.len() as u64, most);
        let fetcher = Fetcher { peer: from, mac: Some(boot.client.mac) };
        Ok(Job { name: artefact.name().into(), body, agreed, fetcher, line, inbox })
    }

    fn line(&self, from: SocketAddr, ours: IpAddr) -> io::Result<(Line, Option<mpsc::Sender<Packet>>)> {
        if !self.single {
            return Ok((Line::own(ours, from)?, None));
        }
        let (line, inbox) = Line::door(self.port.clone(), ours, from);
        Ok((line, Some(inbox)))
    }

    /// What fits into a packet on the way to the peer, so that none is cut up.
    fn block_len_max(&self, line: &Line, from: SocketAddr) -> u16 {
        let (headers, usual) = match from.ip() {
            IpAddr::V4(_) => (HEADERS, self.limits.tftp_block_len),
            IpAddr::V6(_) => {
                (HEADERS_IPV6, self.limits.tftp_block_len.saturating_sub(HEADERS_IPV6 - HEADERS))
            }
        };
        line.mtu().map_or(usual, |mtu| mtu.saturating_sub(headers).clamp(8, usual))
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
async fn transfer_task(job: Job, gate: &Gate, stop: &CancellationToken) {
    let Job { name, body, agreed, fetcher, mut line, .. } = job;
    let protocol = Protocol::Tftp;
    let size = body.len() as u64;
    let options = agreed.words();
    gate.tell(BootEvent::TransferStarted { fetcher, protocol, name: name.clone(), size, options });
    let begun = Instant::now();
    let mut transfer = Transfer::new(body, agreed, begun);
    let result = tokio::select! {
        () = stop.cancelled() => Err(Abort::Stopping),
        result = drive(&mut transfer, &mut line) => result.map_err(|e| Abort::Network(e.to_string())),
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

/// Moves packets between the machine and its line until it has ended.
async fn drive(transfer: &mut Transfer, line: &mut Line) -> io::Result<()> {
    let mut out = Vec::with_capacity(1500);
    let mut buf = [0; 1500];
    while transfer.outcome().is_none() {
        while let Some(each) = transfer.next_batch(&mut out) {
            gone(line.send(&out, each).await, transfer)?;
        }
        tokio::select! {
            len = line.recv(&mut buf) => {
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
fn gone<T>(result: io::Result<T>, transfer: &mut Transfer) -> io::Result<Option<T>> {
    match result {
        Ok(done) => Ok(Some(done)),
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
            transfer.on_port_closed();
            Ok(None)
        }
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d16_what_is_over_takes_nothing_and_takes_nothing_away() {
        let peer = SocketAddr::from(([10, 77, 0, 9], 2070));
        let mut running = Running::default();
        assert!(!running.give(peer, b"request"));
        let (inbox, mut first) = mpsc::channel(2);
        running.begin(peer, Some(inbox));
        assert!(running.give(peer, b"ack") && running.give(peer, b"ack") && running.give(peer, b"too many"));
        assert_eq!(first.try_recv().as_deref(), Ok(&b"ack"[..]));
        drop(first);
        assert!(!running.give(peer, b"the next request"), "it begins a transfer");
        let (inbox, second) = mpsc::channel(2);
        running.begin(peer, Some(inbox));
        // Only now the end of the first is told.
        running.put_away(peer);
        assert!(running.give(peer, b"ack") && running.of(peer.ip()) == 1);
        drop(second);
        running.put_away(peer);
        assert_eq!(running.len(), 0);
        // Over a port of its own what comes to the door belongs to nobody, and is still no new request.
        running.begin(peer, None);
        assert!(running.give(peer, b"request again"));
        running.put_away(peer);
        assert_eq!(running.len(), 0);
    }
}
