//! TFTP and HTTP: our boot server against Debian's tftpd-hpa and nginx, the same file, the same client, the same network stack.
//!
//! Everything runs inside a plant of its own; the client is a computer of its own on its network, since our server answers only
//! neighbours whose hardware address it can see. CPU is the server's, for TFTP the whole machine's with the client in it, because
//! tftpd-hpa disowns its children and with them the record of their time; wall is the client's.

use std::fs::File;
use std::io::Write as _;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::{BOOT_SERVER_READY, Figure, NGINX_READY, Programs, Server, machine_time, median};
use crate::plant::{APPLIANCE, BRIDGE, Neighbour, Plant};

const RUNS: usize = 5;
const TFTP_LEN: usize = 24 << 20;
const HTTP_LEN: usize = 256 << 20;
const HTTP_CLIENTS: usize = 4;
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 200);
const PEER_TFTP_PORT: u16 = 6969;
const PEER_HTTP_PORT: u16 = 8080;

/// What one way of serving cost: seconds of CPU and of wall.
pub(super) struct Cost {
    pub cpu: f64,
    pub wall: f64,
}

/// TFTP at block size 1468 without windows: what firmware, client for client, gets from either server.
///
/// # Errors
/// When a server or client cannot be run.
pub fn tftp(programs: &Programs, plant: &Plant) -> Result<Vec<Figure>> {
    let (dir, client) = (data(plant, "tftp", TFTP_LEN)?, plant.neighbour(CLIENT)?);
    let ours = {
        let _server = ours(programs, &dir)?;
        let url = format!("tftp://{APPLIANCE}/file.bin");
        runs(machine_time, || get(&client, &[&url, "--tftp-blksize", "1468"], TFTP_LEN))?
    };
    let peer = {
        let _server = Server::on_socket(
            Command::new("/usr/sbin/in.tftpd").args(["-u", "root", "-s"]).arg(&dir),
            UdpSocket::bind((APPLIANCE, PEER_TFTP_PORT))?,
        )?;
        let url = format!("tftp://{APPLIANCE}:{PEER_TFTP_PORT}/file.bin");
        runs(machine_time, || get(&client, &[&url, "--tftp-blksize", "1468"], TFTP_LEN))?
    };
    Ok(figures("tftp", &ours, &peer, "tftpd-hpa", TFTP_LEN))
}

/// HTTP: one file to four clients at once.
///
/// # Errors
/// When a server or client cannot be run.
pub fn http(programs: &Programs, plant: &Plant) -> Result<Vec<Figure>> {
    let (dir, client) = (data(plant, "http", HTTP_LEN)?, plant.neighbour(CLIENT)?);
    let many = |url: String| {
        let client = &client;
        move || -> Result<()> {
            std::thread::scope(|scope| {
                let each = || get(client, &[&url], HTTP_LEN);
                let clients: Vec<_> = (0..HTTP_CLIENTS).map(|_| scope.spawn(each)).collect();
                clients
                    .into_iter()
                    .try_for_each(|one| one.join().map_err(|_| anyhow::anyhow!("a client ended badly"))?)
            })
        }
    };
    let ours = {
        let server = ours(programs, &dir)?;
        runs(|| server.cpu_time(), many(format!("http://{APPLIANCE}/file.bin")))?
    };
    let config = dir.with_extension("nginx.conf");
    std::fs::write(
        &config,
        format!(
            "daemon off; master_process off; pid {0}/nginx.pid; error_log stderr notice;\n\
             events {{}}\n\
             http {{ access_log off; sendfile on; client_body_temp_path {0}; proxy_temp_path {0}; fastcgi_temp_path {0};\n\
             uwsgi_temp_path {0}; scgi_temp_path {0};\n\
             server {{ listen {APPLIANCE}:{PEER_HTTP_PORT}; root {1}; }} }}\n",
            plant.dir().display(),
            dir.display()
        ),
    )?;
    let peer = {
        let mut nginx = Command::new("nginx");
        nginx.arg("-c").arg(&config);
        let server = Server::start(&mut nginx, NGINX_READY, plant.dir().join("nginx.log"))?;
        runs(|| server.cpu_time(), many(format!("http://{APPLIANCE}:{PEER_HTTP_PORT}/file.bin")))?
    };
    Ok(figures("http", &ours, &peer, "nginx with sendfile", HTTP_LEN * HTTP_CLIENTS))
}

pub(super) fn figures(group: &str, ours: &Cost, peer: &Cost, against: &str, bytes: usize) -> Vec<Figure> {
    let gib = bytes as f64 / f64::from(1 << 30);
    vec![
        Figure::at_most(&format!("{group}/cpu s per GiB"), ours.cpu / gib, peer.cpu / gib, against, 1.1),
        Figure::at_most(&format!("{group}/wall s per GiB"), ours.wall / gib, peer.wall / gib, against, 1.0),
    ]
}

/// A directory with `file.bin` of incompressible bytes.
pub(super) fn data(plant: &Plant, name: &str, len: usize) -> Result<std::path::PathBuf> {
    let dir = plant.dir().join(name);
    std::fs::create_dir_all(&dir)?;
    let mut file = File::create(dir.join("file.bin"))?;
    let mut word = 0x9E37_79B9_7F4A_7C15_u64;
    let mut block = Vec::with_capacity(1 << 20);
    while block.len() < 1 << 20 {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        block.extend_from_slice(&word.to_le_bytes());
    }
    for _ in 0..len >> 20 {
        file.write_all(&block)?;
    }
    Ok(dir)
}

pub(super) fn ours(programs: &Programs, dir: &Path) -> Result<Server> {
    let mut server = Command::new(&programs.boot_server);
    server.args([BRIDGE, &format!("{APPLIANCE}/24"), "observe", "ipxe"]).arg(dir);
    Server::start(&mut server, BOOT_SERVER_READY, dir.with_extension("log"))
}

pub(super) fn runs(cpu_used: impl Fn() -> Result<Duration>, fetch: impl Fn() -> Result<()>) -> Result<Cost> {
    // What is asked for first is read from the disk.
    fetch()?;
    let (mut cpu, mut wall) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let (begin, before) = (Instant::now(), cpu_used()?);
        fetch()?;
        wall.push(begin.elapsed().as_secs_f64());
        cpu.push((cpu_used()?.saturating_sub(before)).as_secs_f64());
    }
    Ok(Cost { cpu: median(cpu), wall: median(wall) })
}

pub(super) fn get(client: &Neighbour, words: &[&str], len: usize) -> Result<()> {
    let said = crate::tool::run(
        client
            .command("curl")
            .args([
                "--silent",
                "--fail",
                "--max-time",
                "60",
                "--output",
                "/dev/null",
                "--write-out",
                "%{size_download}",
            ])
            .args(words),
    )?;
    if said.trim() != len.to_string() {
        bail!("curl got {said} of {len} bytes from {}", words.join(" "));
    }
    Ok(())
}
