//! Stories of firmware that the others do not have: beside a site's own DHCP, behind a relay, and of other processors.
//!
//! ```text
//!   beside dnsmasq    press-01 UEFI ─► ProxyDHCP, 4011 ─► iPXE ─► agent          press-02 BIOS the same
//!                     press-03 Secure Boot ─► shim ─► signed recovery system, both by TFTP ─► agent
//!   behind a relay    press-01 ─ line1 ─ dnsmasq as relay ─ plant0 ─ appliance, full DHCP ─► agent
//!   over TLS          press-01, nothing enrolled ─► told https://10.77.0.1:8444/recovery.efi ─► nothing is fetched ─► its own disk
//!                     curl with the boot authority ─► 403, a stranger; without ─► no connection
//!   arm64             AAVMF ─► arch 0x000b ─► shimaa64.efi ─► grubaa64.efi ─► grub.cfg ─► kernel asked for
//!                     AAVMF ─► arch 0x0013 ─► HTTP Boot ─► the arm64 program starts
//!   ia32              OVMF of 32 bits ─► arch 0x0006 ─► shimia32.efi ─► grubia32.efi ─► grub.cfg ─► kernel asked for
//! ```
//!
//! Debian 12's OVMF offers no elliptic curves in TLS (seen in its ClientHello), and our TLS speaks nothing else: over TLS it fetches from nobody like us, so the
//! agent is not reached that way here. There is an agent for x86-64 alone, so the last two end where a loader of their own processor runs and asks for its configuration.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::bench::{BOOT_SERVER_READY, Server};
use tests::cache::Cache;
use tests::endpoint::{Content, Endpoint};
use tests::foreign::Board;
use tests::golden::{self, CheckIn, DISK_LEN, MARK};
use tests::plant::{APPLIANCE, BRIDGE, Neighbour, Plant};
use tests::programs::{self, Programs};
use tests::qemu::{Firmware, NetBoot, Spec};
use tests::site::{Appliance, BOOT_KEYS, Record, Site};
use tests::story::Log;
use tests::tool;
use tests::variables::{Enrolled, Place};

use crate::{Length, Needs, SITE, Story};

/// Under emulation on a loaded computer; an idle one needs half a minute.
const LIMIT: Duration = Duration::from_secs(400);

pub const STORIES: &[Story] = &[
    story("firmware_beside_a_sites_dhcp_is_led_to_the_agent", Needs::Site, beside_dnsmasq),
    story("firmware_behind_a_relay_is_led_to_the_agent", Needs::Site, behind_a_relay),
    story("firmware_is_told_to_fetch_over_tls_from_who_shows_our_authority", Needs::Site, over_tls),
    story("firmware_of_arm64_is_led_to_its_own_loaders", Needs::Board(Board::Arm64), arm64),
    story("firmware_of_ia32_is_led_to_its_own_loaders", Needs::Board(Board::Ia32), ia32),
];

const fn story(name: &'static str, needs: Needs, tell: fn(&Plant) -> Result<()>) -> Story {
    Story { name, needs, length: Length::Long, tell }
}

const SITES_DHCP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const RELAY_ON_LINE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 3);
const LINE: &str = "line1";

fn beside_dnsmasq(plant: &Plant) -> Result<()> {
    let site = Site::at(&plant.dir().join(SITE), &Programs::built()?);
    let file = site.path("groundstate.toml");
    let text = fs::read_to_string(&file)?;
    let full = text.lines().find(|line| line.starts_with("pool =")).context("the site has a pool")?;
    fs::write(&file, text.replace(full, "").replace("dhcp = \"full\"", "dhcp = \"proxy\""))?;
    let dhcp = plant.neighbour(SITES_DHCP)?;
    let mut dnsmasq = dnsmasq(&dhcp);
    dnsmasq.args(["--interface=eth0", "--dhcp-range=10.77.0.50,10.77.0.99,1h", "--dhcp-authoritative"]);
    let _dnsmasq = Server::start(&mut dnsmasq, "DHCP, IP range", plant.dir().join("dnsmasq.log"))?;
    let appliance = site.start()?;
    let uefi = Endpoint::new(plant, Spec::press(1), &Content::Blank(DISK_LEN))?;
    let bios = Spec { firmware: Firmware::SeaBios, ..Spec::press(2) };
    let bios = Endpoint::new(plant, bios, &Content::Blank(DISK_LEN))?;
    // Secure Boot with Microsoft's keys and the site's in shim's list: shim and the signed recovery system by TFTP.
    let enrolled = Enrolled { keys: site.path(BOOT_KEYS).into(), place: Place::Mok };
    let secure = Spec { firmware: Firmware::OvmfSecureBoot, enrolled: Some(enrolled), ..Spec::press(3) };
    let secure = Endpoint::new(plant, secure, &Content::Blank(DISK_LEN))?;
    recover(&appliance, &uefi, None)?;
    recover(&appliance, &bios, None)?;
    let told = hello(&appliance, &uefi)?;
    ensure!(told.contains("snponly.efi"), "{told}");
    ensure!(told.contains("4011"), "UEFI asks the boot server port: {told}");
    drop(uefi);
    recover(&appliance, &secure, Some("shim"))?;
    hello(&appliance, &bios)?;
    drop(bios);
    let told = hello(&appliance, &secure)?;
    ensure!(told.contains("signed/shimx64.efi") && told.contains("signed/grubx64.efi"), "{told}");
    Ok(())
}

/// The relay answers for both sides (proxy ARP, RFC 1027), so that one network is on two switches.
fn behind_a_relay(plant: &Plant) -> Result<()> {
    let site = Site::at(&plant.dir().join(SITE), &Programs::built()?);
    plant.switch(LINE)?;
    let relay = plant.neighbour(SITES_DHCP)?;
    let press = Endpoint::new(plant, Spec::press(1), &Content::Blank(DISK_LEN))?;
    tool::run(Command::new("ip").args(["link", "set", press.tap(), "master", LINE]))?;
    plant.plug(&relay, "eth1", LINE, RELAY_ON_LINE)?;
    let settings = "cd /proc/sys/net/ipv4; echo 1 > ip_forward; echo 1 > conf/all/proxy_arp; \
                    ip address del 10.77.0.3/24 dev eth1; ip address add 10.77.0.3/32 dev eth1; \
                    ip route add 10.77.0.48/28 dev eth1; ip route add 10.77.0.64/26 dev eth1; \
                    ip route add 10.77.0.128/26 dev eth1";
    tool::run(relay.command("sh").args(["-e", "-c", settings]))?;
    let mut dnsmasq = dnsmasq(&relay);
    dnsmasq.arg(format!("--dhcp-relay={RELAY_ON_LINE},{APPLIANCE}"));
    let _dnsmasq = Server::start(&mut dnsmasq, "DHCP relay from", plant.dir().join("dnsmasq.log"))?;
    let appliance = site.start()?;
    recover(&appliance, &press, None)?;
    let told = hello(&appliance, &press)?;
    ensure!(told.contains("relay"), "the trace tells of the relay: {told}");
    Ok(())
}

fn over_tls(plant: &Plant) -> Result<()> {
    let site = Site::at(&plant.dir().join(SITE), &Programs::built()?);
    let file = site.path("groundstate.toml");
    let text = fs::read_to_string(&file)?
        .replace("attest_every_s = 10\n", "attest_every_s = 10\nlisten = { https_boot_port = 8444 }\n");
    fs::write(&file, text)?;
    let appliance = site.start()?;
    let root = appliance.site().path("data/boot-ca/root.crt");
    let golden = golden::image(&Cache::open()?, 1, &CheckIn::Marker)?;
    let press = Spec { netboot: NetBoot::Http, ..Spec::press(1) };
    let press = Endpoint::new(plant, press, &Content::Image(golden))?;
    recover(&appliance, &press, None)?;
    let url = format!("https://{APPLIANCE}:8444/recovery.efi");
    press.serial().wait_for(0, &url, LIMIT)?;
    press.serial().wait_for(0, MARK, LIMIT)?;
    ensure!(appliance.endpoint("press-01")?.inventory.is_none(), "the recovery system said hello");
    // Firmware with elliptic curves offers this suite; a client that trusts the authority is answered, no other.
    let peer = plant.neighbour(SITES_DHCP)?;
    let curl = |words: &[&str]| {
        tool::run(
            peer.command("curl").args(["-sS", "-o", "/dev/null", "-w", "%{http_code}"]).args(words).arg(&url),
        )
    };
    ensure!(
        curl(&["--tls-max", "1.2", "--ciphers", "ECDHE-RSA-AES128-GCM-SHA256", "--cacert", &root])?.trim()
            == "403",
        "a stranger is refused by name"
    );
    ensure!(curl(&[]).is_err(), "without the authority there is no connection");
    Ok(())
}

fn dnsmasq(on: &Neighbour) -> Command {
    let mut command = on.command("/usr/sbin/dnsmasq");
    command.args(["--no-daemon", "--conf-file=/dev/null", "--port=0", "--leasefile-ro", "--no-ping"]);
    command
}

/// A job, and the endpoint switched on with the network first in its order.
fn recover(appliance: &Appliance, press: &Endpoint, chain: Option<&'static str>) -> Result<()> {
    appliance.put(press, None, &Record { chain, ..Record::default() })?;
    appliance.site().say(&["recover", &press.spec().name, "--reason", "a story", "--no-wait"])?;
    press.arm_network();
    press.power_on();
    Ok(())
}

/// The agent said hello; returns the endpoint's boot trace. Whether its quote proves it is told elsewhere: SeaBIOS measures otherwise.
fn hello(appliance: &Appliance, press: &Endpoint) -> Result<String> {
    let name = press.spec().name.as_str();
    let done = appliance.log().until(&format!("the agent of {name} to say hello"), LIMIT, || {
        Ok(appliance.endpoint(name)?.inventory.map(drop))
    });
    let told = appliance.site().say(&["net", "doctor", name])?;
    done.with_context(|| format!("{told}\nserial line:\n  {}", press.serial().tail(20).join("\n  ")))?;
    Ok(told)
}

fn arm64(plant: &Plant) -> Result<()> {
    by_pxe(plant, Board::Arm64, "EfiArm64")?;
    by_http(plant, Board::Arm64, "EfiArm64")
}

fn ia32(plant: &Plant) -> Result<()> {
    by_pxe(plant, Board::Ia32, "EfiIa32")
}

/// shim and GRUB of the board's own processor run: GRUB asks for its configuration, and for the kernel that stands in it.
fn by_pxe(plant: &Plant, board: Board, arch: &str) -> Result<()> {
    let at = Bench::set(plant, board, "shim", NetBoot::Any)?;
    let suffix = board.suffix();
    let offer = at.told("OfferSent", &[arch, &format!("shim{suffix}.efi")])?;
    ensure!(!offer.contains("x64"), "{offer}");
    for file in [format!("shim{suffix}.efi"), format!("grub{suffix}.efi"), "grub/grub.cfg".to_owned()] {
        at.told("TransferFinished", &["Tftp", &file])?;
    }
    at.told("TransferStarted", &["Tftp", "vmlinuz"])?;
    at.never("x64.efi")
}

/// UEFI HTTP Boot: the program for the board's own processor is fetched over HTTP and speaks.
fn by_http(plant: &Plant, board: Board, arch: &str) -> Result<()> {
    let at = Bench::set(plant, board, "uefi-http", NetBoot::Http)?;
    let file = format!("recovery{}.efi", board.suffix());
    at.told("OfferSent", &["HttpBoot", arch, &format!("http://{APPLIANCE}/{file}")])?;
    at.told("TransferFinished", &["Http", &file])?;
    at.serial.wait_for(0, "GRUB", LIMIT)?;
    at.never("x64.efi")
}

/// A boot server that answers everyone, and one board.
struct Bench {
    _server: Server,
    board: Child,
    server: Log,
    serial: Log,
}

impl Bench {
    fn set(plant: &Plant, board: Board, chain: &str, netboot: NetBoot) -> Result<Self> {
        let dir = plant.dir().join(format!("{}-{chain}", board.suffix()));
        let files = files(&dir, board)?;
        let mut command = Command::new(programs::example("pxe", "serve")?);
        let pool = "full:10.77.0.50-10.77.0.99";
        command.args([BRIDGE, &format!("{APPLIANCE}/24"), pool, chain]).arg(files);
        let (log, server) = Server::with_log(&mut command, BOOT_SERVER_READY, dir.join("server.log"))?;
        let serial = Log::new(dir.join("serial.log"))?;
        let mut qemu = board.power_on(&dir, &plant.tap()?, "52:54:00:77:00:01", netboot)?;
        let mut board = qemu.stdin(Stdio::null()).spawn().context("cannot start the board")?;
        for stream in [board.stdout.take().map(Into::into), board.stderr.take().map(Into::into)] {
            let stream: Option<std::os::fd::OwnedFd> = stream;
            stream.map(|stream| serial.feed(fs::File::from(stream))).transpose()?;
        }
        Ok(Self { _server: server, board, server: log, serial })
    }

    /// Waits until the server tells of this kind of event with all these words in it.
    fn told(&self, event: &str, words: &[&str]) -> Result<String> {
        let mut from = 0;
        self.server
            .until(&format!("{event} with {words:?}"), LIMIT, || {
                let lines = self.server.tail(usize::MAX);
                let found = lines[from..]
                    .iter()
                    .find(|line| line.contains(event) && words.iter().all(|word| line.contains(word)));
                let found = found.cloned();
                from = lines.len();
                Ok(found)
            })
            .with_context(|| format!("serial line:\n  {}", self.serial.tail(20).join("\n  ")))
    }

    /// Nothing of another processor was given.
    fn never(&self, name: &str) -> Result<()> {
        let lines = self.server.tail(usize::MAX);
        let given = |line: &&String| line.contains("Transfer") && line.contains(name);
        let found = lines.iter().find(given);
        ensure!(found.is_none(), "{found:?}");
        Ok(())
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = self.board.kill();
        let _ = self.board.wait();
    }
}

/// What is served: the loaders of every processor at once, so that each must be given its own.
fn files(dir: &Path, board: Board) -> Result<std::path::PathBuf> {
    let files = dir.join("files");
    fs::create_dir_all(&files)?;
    let loaders = board.loaders(&Cache::open()?)?;
    for (from, name) in &loaders {
        fs::copy(from, files.join(name))?;
    }
    // GRUB starts by itself without shim, where Secure Boot is off.
    fs::copy(&loaders[1].0, files.join(format!("recovery{}.efi", board.suffix())))?;
    fs::copy("/usr/lib/shim/shimx64.efi.signed", files.join("shimx64.efi"))?;
    for stand_in in ["recovery.efi", "vmlinuz", "initrd.img"] {
        fs::write(files.join(stand_in), [0x5a; 4096])?;
    }
    Ok(files)
}
