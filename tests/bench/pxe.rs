//! The boot layer under load: TFTP with and without windows, five hundred clients at once, DHCP by the thousand.
//!
//! Peers are Debian's dnsmasq, and for windows those that know them: Debian's atftpd, which is only unpacked, since it cannot be installed
//! beside tftpd-hpa, and the crates async-tftp and tftpd (rs-tftpd). The clients are Debian's (curl, atftp) and, where there is none,
//! our own ([`super::load`]). Each server has the port to itself.

use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::serve::{Cost, data, figures, get, ours, runs};
use super::{BOOT_SERVER_READY, Figure, Programs, Server, machine_time, median, resident_bytes};
use crate::cache::Cache;
use crate::debs;
use crate::plant::{APPLIANCE, BRIDGE, Neighbour, Plant};

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 201);
const FILE_LEN: usize = 64 << 20;
const PEER_PORT: u16 = 6970;
/// The wider network of the load clients, on the same cable.
const WIDE: &str = "10.78.0.1/16";
const WIDE_US: &str = "10.78.0.1";
const CLIENTS: usize = 500;
const CLIENT_FILE_LEN: usize = 1 << 20;
const MEMORY_MOST: f64 = 128.0;
const ENDPOINTS: u32 = 1000;
const DHCP_SECONDS: &str = "4";

/// One lockstep client beside dnsmasq, and windows of 16 and 64 beside async-tftp.
///
/// # Errors
/// When a server or client cannot be run.
pub fn tftp(programs: &Programs, plant: &Plant) -> Result<Vec<Figure>> {
    let (dir, client) = (data(plant, "pxe-tftp", FILE_LEN)?, plant.neighbour(CLIENT)?);
    let url = format!("tftp://{APPLIANCE}/file.bin");
    let lockstep = || runs(machine_time, || get(&client, &[&url, "--tftp-blksize", "1468"], FILE_LEN));
    let to = format!("{APPLIANCE}:69");
    let lossy = |lose: &str| -> Result<f64> {
        let words = ["window", &to, "file.bin", &FILE_LEN.to_string(), "4", lose];
        let times = (0..5).map(|_| load::<1>(&client, &words).map(|[ms]| ms)).collect::<Result<_>>()?;
        Ok(median(times))
    };
    let (one, windows, loss) = {
        let _server = ours(programs, &dir)?;
        let loss = (lossy("1000")?, lossy("0")?);
        (
            lockstep()?,
            [windowed(&client, 1, 69)?, windowed(&client, 16, 69)?, windowed(&client, 64, 69)?],
            loss,
        )
    };
    let dnsmasq = {
        let mut command = dnsmasq();
        command.arg(format!("--listen-address={APPLIANCE}")).arg("--bind-interfaces");
        command.arg("--enable-tftp").arg(format!("--tftp-root={}", dir.display()));
        let _server = Server::start(&mut command, "TFTP root is", plant.dir().join("dnsmasq.log"))?;
        lockstep()?
    };
    let peers = peers(programs, plant, &dir, &client)?;
    let mut found = figures("pxe-tftp/blksize 1468", &one, &dnsmasq, "dnsmasq", FILE_LEN);
    let gib = FILE_LEN as f64 / f64::from(1 << 30);
    for (at, (window, ours)) in [16, 64].into_iter().zip(&windows[1..]).enumerate() {
        let name = |what: &str| format!("pxe-tftp/windowsize {window}, {what} s per GiB");
        for (against, peer) in &peers {
            let peer = peer[at].wall / gib;
            found.push(Figure::at_most(&name("wall"), ours.wall / gib, peer, against, 1.0 / 1.2));
        }
        let lockstep = windows[0].cpu / gib;
        found.push(Figure::at_most(&name("cpu"), ours.cpu / gib, lockstep, "our own lockstep", 0.5));
    }
    let name = "pxe-tftp/window 4, 1 lost in 1000, ms";
    found.push(Figure::at_most(name, loss.0, loss.1, "none lost", 1.5));
    Ok(found)
}

/// Windows of 16 and 64, served by each of those that know them.
fn peers(
    programs: &Programs,
    plant: &Plant,
    dir: &Path,
    client: &Neighbour,
) -> Result<Vec<(&'static str, [Cost; 2])>> {
    let both =
        || -> Result<[Cost; 2]> { Ok([windowed(client, 16, PEER_PORT)?, windowed(client, 64, PEER_PORT)?]) };
    let mut found = Vec::new();
    for (against, kind) in [("async-tftp, same window", "async-tftp"), ("rs-tftpd, same window", "rs-tftpd")]
    {
        let mut command = Command::new(&programs.peer_tftp);
        command.args([kind, &format!("{APPLIANCE}:{PEER_PORT}")]).arg(dir);
        let log = plant.dir().join(format!("{kind}.log"));
        let _server = Server::start(&mut command, BOOT_SERVER_READY, log)?;
        found.push((against, both()?));
    }
    let socket = UdpSocket::bind((APPLIANCE, PEER_PORT))?;
    let mut command = Command::new(atftpd(&Cache::open()?)?);
    command.args(["--user", "root", "--group", "root", "--tftpd-timeout", "300"]).arg(dir);
    let _server = Server::on_socket(&mut command, socket)?;
    found.push(("atftpd, same window", both()?));
    Ok(found)
}

/// Fetches what is only unpacked: inside of a plant nothing can be fetched.
///
/// # Errors
/// When apt cannot.
pub fn fetch(_: &Programs, _: &Path) -> Result<()> {
    atftpd(&Cache::open()?).map(drop)
}

fn atftpd(cache: &Cache) -> Result<PathBuf> {
    Ok(debs::unpacked(cache, &["atftpd"], None)?.join("usr/sbin/atftpd"))
}

/// Debian's atftp, which knows windows. CPU is the machine's, with the client in it: the same client on both sides.
fn windowed(client: &Neighbour, window: u32, port: u16) -> Result<Cost> {
    let (window, port) = (format!("windowsize {window}"), port.to_string());
    let words = ["--option", "blksize 1468", "--option", &window, "-g", "-r", "file.bin", "-l", "/dev/null"];
    runs(machine_time, || {
        let said =
            crate::tool::run(client.command("atftp").args(words).arg(APPLIANCE.to_string()).arg(&port))?;
        ensure!(!said.contains("aborting"), "atftp: {said}");
        Ok(())
    })
}

/// Five hundred lockstep clients at once, each with an address of its own.
///
/// # Errors
/// When the server or the clients cannot be run.
pub fn many(programs: &Programs, plant: &Plant) -> Result<Vec<Figure>> {
    let (dir, client) = (data(plant, "pxe-many", CLIENT_FILE_LEN)?, plant.neighbour(CLIENT)?);
    widen(&client)?;
    let addresses: String = (0..CLIENTS).map(|n| format!("address add {}/16 dev eth0\n", nth(n))).collect();
    let batch = plant.dir().join("addresses");
    std::fs::write(&batch, addresses)?;
    crate::tool::run(client.command("ip").arg("-batch").arg(&batch))?;
    let server = wide_server(programs, &dir, "observe")?;
    let (len, clients) = (CLIENT_FILE_LEN.to_string(), CLIENTS.to_string());
    let to = format!("{WIDE_US}:69");
    let [slowest, median, failed] =
        load(&client, &["tftp", &to, "file.bin", &len, &nth(0).to_string(), &clients])?;
    let memory = resident_bytes(server.pid())? as f64 / f64::from(1 << 20);
    let finished = CLIENTS as f64 - failed;
    Ok(vec![
        Figure::at_most("pxe-many/clients asked per finished", CLIENTS as f64, finished, "all finish", 1.0),
        Figure::at_most("pxe-many/slowest of 500 ms", slowest, median, "their median", 2.0),
        Figure::at_most("pxe-many/memory MiB", memory, MEMORY_MOST, "limit", 1.0),
    ])
}

fn nth(n: usize) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 78, 1, 0)) + n as u32)
}

/// DISCOVER to OFFER with a thousand endpoints known.
///
/// # Errors
/// When a server or the client cannot be run.
pub fn dhcp(programs: &Programs, plant: &Plant) -> Result<Vec<Figure>> {
    let (dir, client) = (data(plant, "pxe-dhcp", CLIENT_FILE_LEN)?, plant.neighbour(CLIENT)?);
    widen(&client)?;
    std::fs::copy(dir.join("file.bin"), dir.join("snponly.efi"))?;
    let ask = |window: &str, rate: &str| -> Result<[f64; 4]> {
        let endpoints = ENDPOINTS.to_string();
        // The first round makes leases known, as each later one finds them.
        load::<4>(&client, &["dhcp", "eth0", &endpoints, "16", "0", "2"])?;
        load(&client, &["dhcp", "eth0", &endpoints, window, rate, DHCP_SECONDS])
    };
    let ([ours, ..], [_, _, p99, lost]) = {
        let _server = wide_server(programs, &dir, "full:10.78.4.1-10.78.8.254")?;
        (ask("64", "0")?, ask("64", "1000")?)
    };
    let [peer, ..] = {
        let hosts: String = (0..ENDPOINTS)
            .map(|n| {
                let [a, b, c, d] = n.to_be_bytes();
                let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 78, 4, 1)) + n);
                format!("02:47:{a:02x}:{b:02x}:{c:02x}:{d:02x},{address}\n")
            })
            .collect();
        let file = plant.dir().join("hosts");
        std::fs::write(&file, hosts)?;
        let mut command = dnsmasq();
        command.args([
            "--dhcp-range=10.78.4.1,10.78.8.254,1h",
            "--no-ping",
            "--quiet-dhcp",
            "--leasefile-ro",
        ]);
        command.args(["--dhcp-lease-max=4000", "--dhcp-boot=snponly.efi"]);
        command.arg(format!("--interface={BRIDGE}")).arg(format!("--dhcp-hostsfile={}", file.display()));
        let _server = Server::start(&mut command, "read ", plant.dir().join("dnsmasq-dhcp.log"))?;
        ask("64", "0")?
    };
    ensure!(ours > 0.0 && peer > 0.0, "nobody was offered an address: {ours}, {peer}");
    let micros = |rate: f64| 1e6 / rate;
    Ok(vec![
        Figure::at_most("pxe-dhcp/us per offer", micros(ours), micros(peer), "dnsmasq", 0.2),
        Figure::at_most("pxe-dhcp/p99 at 1000 per s ms", p99 / 1000.0, 2.0, "limit", 1.0),
        Figure::at_most("pxe-dhcp/unanswered at 1000 per s", lost, 1.0, "none", 0.0),
    ])
}

pub(super) fn dnsmasq() -> Command {
    let mut command = Command::new("/usr/sbin/dnsmasq");
    command.args(["--no-daemon", "--conf-file=/dev/null", "--port=0"]);
    command
}

/// Both sides get addresses on the wider network.
fn widen(client: &Neighbour) -> Result<()> {
    let mut here = Command::new("ip");
    crate::tool::run(here.args(["address", "replace", WIDE, "dev", BRIDGE]))?;
    let words = ["address", "add", "10.78.200.1/16", "dev", "eth0"];
    crate::tool::run(client.command("ip").args(words)).map(drop)
}

fn wide_server(programs: &Programs, dir: &Path, mode: &str) -> Result<Server> {
    let mut server = Command::new(&programs.boot_server);
    // A line for each packet would be measured with it.
    server.env("SERVE_QUIET", "1").args([BRIDGE, WIDE, mode, "ipxe"]).arg(dir);
    Server::start(&mut server, BOOT_SERVER_READY, dir.with_extension("log"))
}

/// Runs our own load client on a neighbour, and reads its numbers.
fn load<const N: usize>(client: &Neighbour, words: &[&str]) -> Result<[f64; N]> {
    let lab = std::env::current_exe()?;
    let lab = lab.to_str().context("the lab's path is no text")?;
    let said = crate::tool::run(client.command(lab).arg("load").args(words))?;
    let numbers = said.split_whitespace().map(str::parse).collect::<Result<Vec<f64>, _>>();
    let numbers = numbers.with_context(|| format!("the load client said {said}"))?;
    numbers.try_into().ok().with_context(|| format!("the load client said {said}"))
}
