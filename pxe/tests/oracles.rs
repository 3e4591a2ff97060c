//! Other people's TFTP servers as oracles: the same client, the same file, byte for byte the same answers.
//!
//! | oracle | what it is asked |
//! |---|---|
//! | crate `tftp_server` | its packets are read here as it means them, ours there; its transfer of 512-byte blocks is the slowest peer |
//! | crate `async-tftp` | block size, size, window and time-out are granted as it grants them, and the file is the same |
//!
//! Neither is in the product; why stands in DESIGN.md. All on the loopback interface, on ports that the system chooses.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use proptest::prelude::*;
use pxe::dhcp::loader::Loaders;
use pxe::tftp::packet::{Answer, ErrorCode, Incoming, data, error, parse_answer, parse_incoming};
use pxe::whois::Neighbours;
use pxe::{Artefact, Artefacts, BootRequest, Chain, Config, DhcpMode, Interface, Mac, Ports, Server};
use tftp_server::packet::{DataBytes, ErrorCode as TheirCode, MAX_PACKET_SIZE, Packet, PacketData};
use tokio_util::sync::CancellationToken;

const NAME: &str = "snponly.efi";
const LO: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// What the oracle reads in our bytes.
fn theirs(raw: &[u8]) -> Packet {
    let mut bytes = [0; MAX_PACKET_SIZE];
    bytes[..raw.len()].copy_from_slice(raw);
    Packet::read(PacketData::new(bytes, raw.len())).expect("the oracle reads it")
}

proptest! {
    #[test]
    fn requests_are_read_alike(name in "[a-zA-Z0-9._/-]{1,100}", mode in "octet|netascii", options in any::<bool>()) {
        let packet = Packet::RRQ { filename: name.clone(), mode: mode.clone() };
        let mut raw = packet.clone().bytes().expect("bytes").to_slice().to_vec();
        if options {
            raw.extend_from_slice(b"blksize\x001468\0");
        }
        match parse_incoming(&raw) {
            Ok(Incoming::Read(read)) => prop_assert_eq!((read.name, read.mode), (name.as_bytes(), mode.as_bytes())),
            other => prop_assert!(false, "{:?}", other),
        }
        prop_assert_eq!(theirs(&raw), packet, "and it passes over options");
        let upload = Packet::WRQ { filename: name, mode }.bytes().expect("bytes");
        prop_assert_eq!(parse_incoming(upload.to_slice()), Ok(Incoming::Write));
    }

    #[test]
    fn answers_are_read_alike(block in any::<u16>(), body in proptest::collection::vec(any::<u8>(), 0..=512), text in "[ -~]{1,80}") {
        let ack = Packet::ACK(block).bytes().expect("bytes");
        prop_assert_eq!(parse_answer(ack.to_slice()), Answer::Ack(block));
        let said = Packet::ERROR { code: TheirCode::NoUser, msg: text.clone() }.bytes().expect("bytes");
        prop_assert_eq!(parse_answer(said.to_slice()), Answer::Error { code: 7, message: text.as_bytes() });

        let mut raw = Vec::new();
        data(block, &body, &mut raw);
        let mut whole = [0; 512];
        whole[..body.len()].copy_from_slice(&body);
        prop_assert_eq!(theirs(&raw), Packet::DATA { block_num: block, data: DataBytes(whole), len: body.len() });
        for (ours, code) in [
            (ErrorCode::NotFound, TheirCode::FileNotFound),
            (ErrorCode::AccessViolation, TheirCode::AccessViolation),
            (ErrorCode::Busy, TheirCode::DiskFull),
            (ErrorCode::Illegal, TheirCode::IllegalTFTP),
            (ErrorCode::UnknownTransfer, TheirCode::UnknownID),
        ] {
            prop_assert_eq!(theirs(&error(ours, &text)), Packet::ERROR { code, msg: text.clone() });
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_gets_one_file_from_three_servers() -> Result<()> {
    let servers = Servers::start().await?;
    let plain = |server| fetch_from(server, &[]);
    for server in [servers.ours, servers.async_tftp, servers.tftp_server] {
        let got = plain(server).await?;
        ensure!(got.granted.is_empty() && got.file == file(), "{server}");
    }
    servers.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn options_are_granted_as_async_tftp_grants_them() -> Result<()> {
    const ASKED: &[&[(&str, &str)]] = &[
        &[("tsize", "0")],
        &[("blksize", "1024")],
        &[("blksize", "1468"), ("tsize", "0")],
        &[("blksize", "1468"), ("windowsize", "4"), ("tsize", "0")],
        &[("blksize", "512"), ("windowsize", "16")],
        &[("timeout", "3"), ("blksize", "1468")],
        &[("BLKSIZE", "1024"), ("no-such-option", "1")],
    ];
    let servers = Servers::start().await?;
    for asked in ASKED {
        let (ours, peer) =
            (fetch_from(servers.ours, asked).await?, fetch_from(servers.async_tftp, asked).await?);
        ensure!(ours.granted == peer.granted, "{asked:?}: {:?}, the peer {:?}", ours.granted, peer.granted);
        ensure!(!ours.granted.is_empty(), "{asked:?}: nothing was granted, so nothing was compared");
        ensure!(ours.file == file() && peer.file == file(), "{asked:?}");
    }
    servers.stop().await
}

// --- servers ---

struct Servers {
    ours: SocketAddr,
    async_tftp: SocketAddr,
    tftp_server: SocketAddr,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<Result<(), pxe::ServeError>>,
    _dir: tempfile::TempDir,
}

/// Everybody is the endpoint with the ticket.
struct Everyone;

impl Neighbours for Everyone {
    fn mac_of(&self, _: Ipv4Addr) -> Option<Mac> {
        Some([2, 0, 0, 0, 0, 1].into())
    }
}

impl Servers {
    async fn start() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        std::fs::write(dir.path().join(NAME), file())?;
        let peer = async_tftp::server::TftpServerBuilder::with_dir_ro(dir.path())?
            .bind(SocketAddr::from((LO, 0)))
            .build()
            .await?;
        let async_tftp = peer.listen_addr()?;
        tokio::spawn(peer.serve());
        let (told, address) = std::sync::mpsc::channel();
        let served = dir.path().to_owned();
        std::thread::spawn(move || -> Result<()> {
            let lo = SocketAddr::from((LO, 0));
            let oracle = tftp_server::server::TftpServerBuilder::new().addr(lo).serve_dir(served).build();
            let Ok(mut oracle) = oracle else { bail!("tftp_server does not start") };
            let Ok(at) = oracle.local_addr() else { bail!("tftp_server has no address") };
            told.send(at)?;
            // Runs for as long as the test program.
            drop(oracle.run());
            Ok(())
        });
        let tftp_server = address.recv_timeout(Duration::from_secs(10)).context("tftp_server is not up")?;
        let server = ours()?;
        let port = server.ports().next().context("one interface")?.1.tftp;
        let stop = CancellationToken::new();
        let task = tokio::spawn(server.run(stop.clone()));
        let ours = SocketAddr::from((LO, port));
        Ok(Self { ours, async_tftp, tftp_server, stop, task, _dir: dir })
    }

    async fn stop(self) -> Result<()> {
        self.stop.cancel();
        Ok(self.task.await??)
    }
}

fn ours() -> Result<Server> {
    let mut kit = Artefacts::new();
    kit.insert(Artefact::fixed(NAME, file().into(), "00ff")?);
    let interface = Interface { name: "lo".into(), addr: LO, prefix: 8, dhcp: DhcpMode::Off };
    let mut config = Config::new(vec![interface]);
    config.loaders = Loaders::none();
    config.ports = Ports { dhcp: 0, dhcp_client: 68, boot_server: 0, tftp: 0, http: 0, syslog: 0 };
    let policy = |_: &BootRequest| Chain::Ipxe.into();
    Ok(Server::bind(config, kit, Arc::new(policy), Arc::new(|_| {}))?.with_neighbours(Arc::new(Everyone)))
}

/// Several windows of every size asked for, and no whole block at the end of any.
fn file() -> Vec<u8> {
    (0..100_003_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

// --- the client ---

struct Got {
    granted: BTreeMap<String, String>,
    file: Vec<u8>,
}

async fn fetch_from(server: SocketAddr, options: &'static [(&str, &str)]) -> Result<Got> {
    tokio::task::spawn_blocking(move || fetch(server, options)).await?
}

/// RFC 1350, 2347 to 2349 and 7440, on a wire that loses nothing.
fn fetch(server: SocketAddr, options: &[(&str, &str)]) -> Result<Got> {
    let socket = UdpSocket::bind(SocketAddrV4::new(LO, 0))?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut request = format!("\0\x01{NAME}\0octet\0").into_bytes();
    for (name, value) in options {
        request.extend_from_slice(format!("{name}\0{value}\0").as_bytes());
    }
    socket.send_to(&request, server)?;
    let mut got = Got { granted: BTreeMap::new(), file: Vec::new() };
    let (mut block, mut in_window, mut buf) = (0_u16, 0, [0; 2048]);
    loop {
        let (len, peer) = socket.recv_from(&mut buf).context("no answer")?;
        match &buf[..len] {
            [0, 6, granted @ ..] => {
                let mut fields = granted.split(|byte| *byte == 0).map(String::from_utf8_lossy);
                while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
                    got.granted.insert(name.to_ascii_lowercase(), value.into_owned());
                }
                socket.send_to(&[0, 4, 0, 0], peer)?;
            }
            [0, 3, high, low, body @ ..] => {
                let value = |name: &str, or: usize| {
                    got.granted.get(name).map_or(Ok(or), |value| value.parse::<usize>())
                };
                let (size, window) = (value("blksize", 512)?, value("windowsize", 1)?);
                block = block.wrapping_add(1);
                ensure!(u16::from_be_bytes([*high, *low]) == block, "a block out of order");
                got.file.extend_from_slice(body);
                in_window += 1;
                let last = body.len() < size;
                if last || in_window == window {
                    in_window = 0;
                    socket.send_to(&[[0, 4], block.to_be_bytes()].concat(), peer)?;
                }
                if last {
                    return Ok(got);
                }
            }
            other => bail!("{other:?}"),
        }
    }
}
