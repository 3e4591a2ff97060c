//! From the power button to the agent's first packet: the same boot kit on the same firmware, served by us, and by dnsmasq with nginx.
//!
//! The chain is that of most sites: PXE, iPXE by TFTP, its script and the recovery system by HTTP. What a person would write for dnsmasq and nginx is written
//! here. Who listens hears every frame of the plant and knows the agent by the vendor class of its first DISCOVER.

use std::fs;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike as _};

use super::pxe::dnsmasq;
use super::{BOOT_SERVER_READY, Figure, NGINX_READY, Programs, Server, median};
use crate::endpoint::{Content, Endpoint};
use crate::plant::{APPLIANCE, BRIDGE, Plant};
use crate::qemu::Spec;
use crate::site::Site;

const RUNS: usize = 3;
/// How much longer it may take than with the peers.
const LONGER_MOST_S: f64 = 2.0;
/// Under emulation on a loaded computer; an idle one needs half a minute.
const LIMIT: Duration = Duration::from_secs(300);
/// What is in the agent's DISCOVER (option 60) and in no other packet.
const AGENT: &[u8] = b"groundstate-agent";
const FILES: &str = "pxe-boot";
const DISK_LEN: u64 = 64 << 20;

/// Makes the boot kit, outside of the plant: its parts come from Debian.
///
/// # Errors
/// When a command fails.
pub fn prepare(programs: &Programs, dir: &Path) -> Result<()> {
    let site = Site::at(&dir.join("site"), &programs.programs);
    site.prepare_kit()?;
    let files = dir.join(FILES);
    fs::create_dir_all(&files)?;
    for entry in fs::read_dir(site.path("kit"))? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), files.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// One boot after the other, by turns.
///
/// # Errors
/// When a server or the endpoint cannot be run, or the agent does not come.
pub fn boot(programs: &Programs, plant: &Plant) -> Result<Vec<Figure>> {
    let files = plant.dir().join(FILES);
    let press = Endpoint::new(plant, Spec::press(1), &Content::Blank(DISK_LEN))?;
    let (mut ours, mut peers) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let mut server = Command::new(&programs.boot_server);
        let pool = "full:10.77.0.50-10.77.0.99";
        server.args([BRIDGE, &format!("{APPLIANCE}/24"), pool, "ipxe"]).arg(&files);
        {
            let _server = Server::start(&mut server, BOOT_SERVER_READY, plant.dir().join("serve.log"))?;
            ours.push(first_packet(&press)?);
        }
        let _peers = dnsmasq_and_nginx(plant, &files)?;
        peers.push(first_packet(&press)?);
    }
    let (ours, peers) = (median(ours), median(peers));
    eprintln!("  dnsmasq and nginx: {peers:.1} s");
    let name = "pxe-boot/power-on to the agent's first packet s";
    Ok(vec![Figure::at_most(name, ours, peers + LONGER_MOST_S, "dnsmasq and nginx, and 2 s", 1.0)])
}

fn dnsmasq_and_nginx(plant: &Plant, files: &Path) -> Result<(Server, Server)> {
    let script =
        format!("#!ipxe\nkernel http://{APPLIANCE}/recovery.efi gs.appliance={APPLIANCE}:8443\nboot\n");
    let root = plant.dir().join("peers");
    fs::create_dir_all(&root)?;
    for name in ["snponly.efi", "recovery.efi"] {
        fs::copy(files.join(name), root.join(name))?;
    }
    fs::write(root.join("boot.ipxe"), script)?;
    let mut command = dnsmasq();
    command.args(["--user=root", "--no-ping", "--leasefile-ro", "--dhcp-authoritative", "--enable-tftp"]);
    command.args(["--dhcp-range=10.77.0.50,10.77.0.99,1h", "--dhcp-match=set:ipxe,175"]);
    command.arg("--dhcp-boot=tag:!ipxe,snponly.efi");
    command.arg(format!("--dhcp-boot=tag:ipxe,http://{APPLIANCE}/boot.ipxe"));
    command.arg(format!("--interface={BRIDGE}")).arg(format!("--tftp-root={}", root.display()));
    let dhcp = Server::start(&mut command, "TFTP root is", plant.dir().join("dnsmasq-boot.log"))?;
    let config = plant.dir().join("nginx-boot.conf");
    let dir = plant.dir().display();
    fs::write(
        &config,
        format!(
            "daemon off; master_process off; pid {dir}/nginx.pid; error_log stderr notice;\nevents {{}}\n\
             http {{ access_log off; sendfile on; client_body_temp_path {dir}; proxy_temp_path {dir};\n\
             fastcgi_temp_path {dir}; uwsgi_temp_path {dir}; scgi_temp_path {dir};\n\
             server {{ listen {APPLIANCE}:80; root {}; }} }}\n",
            root.display()
        ),
    )?;
    let mut nginx = Command::new("nginx");
    nginx.arg("-c").arg(&config);
    let http = Server::start(&mut nginx, NGINX_READY, plant.dir().join("nginx-boot.log"))?;
    Ok((dhcp, http))
}

/// Seconds from the power button to the agent's first packet.
fn first_packet(press: &Endpoint) -> Result<f64> {
    let ear = socket(AddressFamily::Packet, SockType::Raw, SockFlag::empty(), SockProtocol::EthAll)
        .context("no packet socket")?;
    setsockopt(&ear, sockopt::ReceiveTimeout, &TimeVal::seconds(1))?;
    press.arm_network();
    let begun = Instant::now();
    press.power_on();
    let mut frame = [0; 2048];
    let took = loop {
        match recv(ear.as_raw_fd(), &mut frame, MsgFlags::empty()) {
            Ok(len) if frame[..len].windows(AGENT.len()).any(|part| part == AGENT) => break begun.elapsed(),
            Ok(_) | Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(error) => bail!("cannot listen: {error}"),
        }
        let last =
            || format!("the agent did not come; serial line:\n  {}", press.serial().tail(20).join("\n  "));
        ensure!(begun.elapsed() < LIMIT, last());
    };
    press.power_off();
    Ok(took.as_secs_f64())
}
