//! The bound server on loopback: real sockets, ports chosen by the kernel.

use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use super::*;
use crate::artefact::Artefact;
use crate::client::Mac;
use crate::dhcp::loader::Loaders;
use crate::event::{Abort, BootEvent, Refusal};
use crate::policy::Stage;
use crate::policy::{BootDecision, BootRequest, Chain};
use crate::script;

const LO: Ipv4Addr = Ipv4Addr::LOCALHOST;
const ENDPOINT: [u8; 6] = [0x52, 0x54, 0, 0, 0, 1];

struct Everyone;
impl Neighbours for Everyone {
    fn mac_of(&self, _: Ipv4Addr) -> Option<Mac> {
        Some(ENDPOINT.into())
    }
}

struct Bench {
    ports: Ports,
    events: Arc<Mutex<Vec<BootEvent>>>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<Result<(), ServeError>>,
}

fn kit() -> Artefacts {
    let mut kit = Artefacts::new();
    let program: Vec<u8> = (0..300_000u32).map(|i| (i / 3) as u8).collect();
    for name in ["snponly.efi", "shimx64.efi", "recovery.efi", "undionly.kpxe"] {
        kit.insert(Artefact::fixed(name, program.clone().into(), "abc123").expect("valid"));
    }
    // More than all socket buffers on the way hold together.
    static LARGE: [u8; 64 << 20] = [0; 64 << 20];
    kit.insert(Artefact::fixed("large", Bytes::from_static(&LARGE), "def456").expect("valid"));
    script::install(&mut kit, script::sample(), 80).expect("valid");
    kit
}

fn config() -> Config {
    let interface = Interface { name: "lo".into(), addr: LO, prefix: 8, dhcp: DhcpMode::Off };
    let ports = Ports { dhcp: 0, dhcp_client: 68, boot_server: 0, tftp: 0, http: 0, syslog: 0 };
    Config { ports, ..Config::new(vec![interface]) }
}

fn start(decision: BootDecision) -> Bench {
    let events: Arc<Mutex<Vec<BootEvent>>> = Arc::default();
    let sink = events.clone();
    let handler: Handler = Arc::new(|request, _| {
        Box::pin(async move {
            let text = format!("{} {}", request.method(), request.uri().path());
            Response::new(text.into())
        })
    });
    let server = Server::bind(
        config(),
        kit(),
        Arc::new(move |_: &BootRequest| decision),
        Arc::new(move |e| sink.lock().expect("lock").push(e)),
    )
    .expect("bound")
    .with_neighbours(Arc::new(Everyone))
    .with_handler(handler);
    let (_, ports) = server.ports().next().expect("one interface");
    let stop = CancellationToken::new();
    let task = tokio::spawn(server.run(stop.clone()));
    Bench { ports, events, stop, task }
}

impl Bench {
    async fn tftp(&self) -> UdpSocket {
        let socket = UdpSocket::bind((LO, 0)).await.expect("client");
        assert_ne!(self.ports.tftp, 0);
        socket
    }

    async fn first_tftp_answer(&self, request: &[u8]) -> Vec<u8> {
        let socket = self.tftp().await;
        socket.send_to(request, (LO, self.ports.tftp)).await.expect("send");
        let mut buf = [0; 2000];
        let (len, _) = tokio::time::timeout(Duration::from_secs(5), socket.recv_from(&mut buf))
            .await
            .expect("an answer at once")
            .expect("received");
        buf[..len].to_vec()
    }

    /// Sends raw bytes over one connection and returns all that comes back until it is closed.
    async fn http(&self, request: &str) -> (String, Vec<u8>) {
        let mut stream = TcpStream::connect((LO, self.ports.http)).await.expect("connected");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut raw = Vec::new();
        let reading = stream.read_to_end(&mut raw);
        tokio::time::timeout(Duration::from_secs(5), reading).await.expect("closed").expect("read");
        let end = raw.windows(4).position(|w| w == b"\r\n\r\n").expect("a head") + 4;
        (String::from_utf8(raw[..end].to_vec()).expect("text"), raw[end..].to_vec())
    }

    async fn get(&self, path: &str, headers: &str) -> (String, Vec<u8>) {
        self.http(&format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n")).await
    }

    async fn event(&self, wanted: impl Fn(&BootEvent) -> bool) -> BootEvent {
        let found = async {
            loop {
                if let Some(event) = self.events.lock().expect("lock").iter().find(|e| wanted(e)) {
                    return event.clone();
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), found).await.expect("the event comes")
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.expect("no panic").expect("no error");
    }
}

fn armed() -> BootDecision {
    Chain::Ipxe.into()
}

#[tokio::test]
async fn c19_a_loaders_words_are_told_with_the_address_they_came_from() {
    let bench = start(Chain::Ipxe.into());
    let socket = UdpSocket::bind((LO, 0)).await.expect("client");
    assert_ne!(bench.ports.syslog, 0);
    socket.send_to(b"<14>ipxe: net0: link up", (LO, bench.ports.syslog)).await.expect("send");
    let said = bench.event(|event| matches!(event, BootEvent::LoaderSaid { .. })).await;
    let BootEvent::LoaderSaid { mac, text, .. } = said else { panic!("{said:?}") };
    assert_eq!((mac, text.as_str()), (ENDPOINT.into(), "ipxe: net0: link up"));
    bench.end().await;
}

#[tokio::test]
async fn a_file_is_fetched_over_tftp_with_options_and_reported() {
    let bench = start(armed());
    let socket = bench.tftp().await;
    let request = b"\0\x01/SNPonly.efi\0octet\0blksize\x001024\0windowsize\x004\0tsize\x000\0";
    socket.send_to(request, (LO, bench.ports.tftp)).await.expect("send");
    let mut buf = [0; 2000];
    let (len, transfer) = socket.recv_from(&mut buf).await.expect("option acknowledgement");
    assert_eq!(&buf[..len], b"\0\x06blksize\x001024\0windowsize\x004\0tsize\x00300000\0");
    assert_ne!(transfer.port(), bench.ports.tftp, "d16: a port of its own");
    let (mut body, mut expected) = (Vec::new(), 0u16);
    socket.send_to(&[0, 4, 0, 0], transfer).await.expect("ack");
    loop {
        let (len, from) = socket.recv_from(&mut buf).await.expect("data");
        assert_eq!(from, transfer);
        expected += 1;
        assert_eq!(buf[..4], [0, 3, (expected >> 8) as u8, expected as u8]);
        body.extend_from_slice(&buf[4..len]);
        let last = len < 1028;
        if last || expected % 4 == 0 {
            socket.send_to(&[0, 4, buf[2], buf[3]], transfer).await.expect("ack");
        }
        if last {
            break;
        }
    }
    assert_eq!(body.len(), 300_000);
    let finished = bench.event(|e| matches!(e, BootEvent::TransferFinished { .. })).await;
    let BootEvent::TransferFinished { name, bytes, fetcher, .. } = finished else { panic!("{finished:?}") };
    assert_eq!((name.as_str(), bytes, fetcher.mac), ("snponly.efi", 300_000, Some(ENDPOINT.into())));
    bench.end().await;
}

#[tokio::test]
async fn d12_d13_f3_f4_unknown_names_are_refused_at_once_with_code_1() {
    let bench = start(armed());
    for name in
        ["revocations_sku.efi", "shim_certificate_0.efi", "grub/x86_64-efi/fs.lst", "Network Boot 0", "../x"]
    {
        let answer = bench.first_tftp_answer(format!("\0\x01{name}\0octet\0").as_bytes()).await;
        assert_eq!(answer[..4], [0, 5, 0, 1], "{name}");
    }
    bench.end().await;
}

#[tokio::test]
async fn d10_writes_netascii_and_garbage_are_refused_by_code() {
    let bench = start(armed());
    for (request, code) in [
        (&b"\0\x02snponly.efi\0octet\0"[..], 2),
        (b"\0\x01snponly.efi\0netascii\0", 4),
        (b"\0\x01", 4),
        (b"\0\x63", 4),
        (b"\0\x04\0\x01", 5),
        (&[0; 600], 4),
    ] {
        let answer = bench.first_tftp_answer(request).await;
        assert_eq!(answer[..4], [0, 5, 0, code], "{request:?}");
    }
    bench.end().await;
}

#[tokio::test]
async fn b16_tftp_and_http_follow_the_same_decision_as_dhcp() {
    let bench = start(BootDecision::LocalDisk);
    let answer = bench.first_tftp_answer(b"\0\x01snponly.efi\0octet\0").await;
    assert_eq!(answer[..4], [0, 5, 0, 1], "not found, so that loaders go on");
    let (head, body) = bench.get("/snponly.efi", "").await;
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
    assert_eq!(body, b"no live boot ticket for this endpoint\n");
    bench.event(|e| matches!(e, BootEvent::Refused { reason: Refusal::NoTicket, .. })).await;
    bench.end().await;
}

#[tokio::test]
async fn d2_d3_a_size_probe_is_answered_and_freed() {
    let bench = start(armed());
    let socket = bench.tftp().await;
    socket.send_to(b"\0\x01snponly.efi\0octet\0tsize\x000\0", (LO, bench.ports.tftp)).await.expect("send");
    let mut buf = [0; 100];
    let (len, transfer) = socket.recv_from(&mut buf).await.expect("answer");
    assert_eq!(&buf[..len], b"\0\x06tsize\x00300000\0");
    socket.send_to(b"\0\x05\0\x08User aborted the transfer\0", transfer).await.expect("send");
    bench.event(|e| matches!(e, BootEvent::TransferAborted { reason: Abort::Probe, .. })).await;
    bench.end().await;
}

#[tokio::test]
async fn one_address_cannot_hold_more_than_its_share_of_transfers() {
    let bench = start(armed());
    let mut held = Vec::new();
    for _ in 0..4 {
        let socket = bench.tftp().await;
        socket
            .send_to(b"\0\x01snponly.efi\0octet\0tsize\x000\0", (LO, bench.ports.tftp))
            .await
            .expect("send");
        let mut buf = [0; 100];
        socket.recv_from(&mut buf).await.expect("answer");
        held.push(socket);
    }
    assert_eq!(bench.first_tftp_answer(b"\0\x01snponly.efi\0octet\0").await[..4], [0, 5, 0, 3]);
    bench.end().await;
}

#[tokio::test]
async fn e3_e7_e8_e10_heads_are_title_case_with_one_exact_length() {
    let bench = start(armed());
    for method in ["GET", "HEAD"] {
        let request = format!("{method} /recovery.efi HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let (head, body) = bench.http(&request).await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert_eq!(head.matches("Content-Length: 300000\r\n").count(), 1, "{head}");
        assert_eq!(head.to_lowercase().matches("content-length").count(), 1);
        assert!(head.contains("Content-Type: application/efi\r\n"), "{head}");
        assert!(head.contains("Etag: \"abc123\"\r\n") || head.contains("ETag: \"abc123\"\r\n"), "{head}");
        assert!(!head.to_lowercase().contains("transfer-encoding"));
        assert_eq!(body.len(), if method == "GET" { 300_000 } else { 0 });
    }
    bench.end().await;
}

#[tokio::test]
async fn e5_a29_doubled_slashes_are_folded_without_redirect() {
    let bench = start(armed());
    for path in ["//recovery.efi", "/./recovery.efi", "/RECOVERY.EFI", "/%72ecovery.efi", "/recovery.efi?x=1"]
    {
        let (head, body) = bench.get(path, "").await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {head}");
        assert_eq!(body.len(), 300_000);
    }
    bench.end().await;
}

#[tokio::test]
async fn e4_every_refusal_has_a_body_and_closes() {
    let bench = start(armed());
    for (request, status) in [
        ("PUT /recovery.efi HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "405"),
        ("GET /recovery.efi HTTP/1.1\r\nHost: x\r\nRange: bytes=300000-\r\n\r\n", "416"),
        ("GET /recovery.efi HTTP/1.1\r\nHost: x\r\nIf-Match: \"other\"\r\n\r\n", "412"),
    ] {
        let (head, body) = bench.http(request).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        assert!(head.to_lowercase().contains("connection: close\r\n"), "{head}");
        assert!(!body.is_empty() && head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
    }
    bench.end().await;
}

#[tokio::test]
async fn e15_a_download_resumes_by_range_and_tag() {
    let bench = start(armed());
    let (_, whole) = bench.get("/recovery.efi", "").await;
    let (head, part) = bench.get("/recovery.efi", "Range: bytes=1000-1999\r\nIf-Match: \"abc123\"\r\n").await;
    assert!(head.starts_with("HTTP/1.1 206 "), "{head}");
    assert!(head.contains("Content-Range: bytes 1000-1999/300000\r\n"), "{head}");
    assert_eq!(part, whole[1000..2000]);
    let (head, all) = bench.get("/recovery.efi", "Range: bytes=1000-\r\nIf-Range: \"stale\"\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 ") && all == whole, "{head}");
    bench.end().await;
}

#[tokio::test]
async fn e11_connections_are_kept_between_files() {
    let bench = start(armed());
    let two = "HEAD /recovery.efi HTTP/1.1\r\nHost: x\r\n\r\n\
               GET /boot.ipxe HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let mut stream = TcpStream::connect((LO, bench.ports.http)).await.expect("connected");
    stream.write_all(two.as_bytes()).await.expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("read");
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 2, "{text}");
    assert!(text.contains("kernel http://127.0.0.1/recovery.efi gs.appliance=127.0.0.1:8443"), "{text}");
    bench.end().await;
}

#[tokio::test]
async fn other_paths_go_to_the_handler() {
    let bench = start(BootDecision::Nothing);
    let request = "POST /v1/frames HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let (head, body) = bench.http(request).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(body, b"POST /v1/frames");
    bench.end().await;
}

#[tokio::test]
async fn malformed_http_ends_the_connection_and_nothing_else() {
    let bench = start(armed());
    for bad in ["\0\0\0\0\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "A B C D E\r\n\r\n"] {
        let mut stream = TcpStream::connect((LO, bench.ports.http)).await.expect("connected");
        stream.write_all(bad.as_bytes()).await.expect("sent");
        let mut raw = Vec::new();
        let _ = stream.read_to_end(&mut raw).await;
        assert!(
            raw.is_empty() || raw.starts_with(b"HTTP/1.1 4") || raw.starts_with(b"HTTP/1.1 505"),
            "{bad:?}"
        );
    }
    let told = |bench: &Bench| {
        let events = bench.events.lock().expect("lock");
        let malformed = |e: &&BootEvent| {
            matches!(
                e,
                BootEvent::Refused { stage: Stage::Http, peer: Some(_), reason: Refusal::Malformed(_), .. }
            )
        };
        events.iter().filter(malformed).count()
    };
    while told(&bench) < 4 {
        tokio::task::yield_now().await;
    }
    let (head, _) = bench.get("/recovery.efi", "").await;
    assert!(head.starts_with("HTTP/1.1 200 "));
    bench.end().await;
}

#[tokio::test]
async fn one_address_cannot_hold_all_http_connections() {
    let bench = start(armed());
    let mut held = Vec::new();
    for _ in 0..64 {
        held.push(TcpStream::connect((LO, bench.ports.http)).await.expect("connected"));
    }
    let mut late = TcpStream::connect((LO, bench.ports.http)).await.expect("connected");
    let mut buf = [0; 1];
    assert!(!matches!(late.read(&mut buf).await, Ok(1..)), "closed unread");
    held.clear();
    bench.event(|e| matches!(e, BootEvent::Refused { reason: Refusal::Busy(_), .. })).await;
    bench.end().await;
}

#[tokio::test]
async fn e17_an_http_transfer_cut_off_early_is_told_from_a_finished_one() {
    let bench = start(armed());
    bench.get("/recovery.efi", "").await;
    bench.event(|e| matches!(e, BootEvent::TransferFinished { bytes: 300_000, .. })).await;
    let mut stream = TcpStream::connect((LO, bench.ports.http)).await.expect("connected");
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
    stream.read_u8().await.expect("an answer begins");
    drop(stream);
    let aborted = bench.event(|e| matches!(e, BootEvent::TransferAborted { .. })).await;
    assert!(matches!(&aborted, BootEvent::TransferAborted { name, .. } if name == "large"), "{aborted:?}");
    bench.end().await;
}

#[tokio::test]
async fn ports_that_cannot_be_had_are_named_with_a_hint() {
    let taken = TcpListener::bind((LO, 0)).await.expect("bound");
    let port = taken.local_addr().expect("address").port();
    let policy = || Arc::new(|_: &BootRequest| BootDecision::Nothing);
    let bind =
        |config: Config| Server::bind(config, kit(), policy(), Arc::new(|_| {})).err().expect("refused");
    let mut busy = config();
    busy.ports.http = port;
    let text = bind(busy).to_string();
    assert!(
        text.contains(&format!("HTTP port {port} on interface `lo`")) && text.contains("another program"),
        "{text}"
    );
    let mut absent = config();
    absent.interfaces[0].name = "nosuchnic0".into();
    assert!(bind(absent).to_string().contains("no such interface"));
    let mut kitless = config();
    kitless.loaders = Loaders::none().with(Chain::Bios, crate::Arch::Bios, "missing.kpxe");
    assert!(matches!(bind(kitless), BindError::Config(ConfigError::LoaderMissing(_))));
}
