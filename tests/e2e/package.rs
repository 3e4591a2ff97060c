//! The Debian package on a computer of its own: installed by `dpkg` under a running systemd, set up by its answers, started, watched.
//!
//! What is outside asks it as people and firmware would: the console's listener, HTTP and TFTP must answer from within the unit's
//! sandbox, as a user that is not root.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use tests::cache::Cache;
use tests::endpoint::{Content, Endpoint};
use tests::golden::{self, CheckIn};
use tests::package;
use tests::plant::Plant;
use tests::programs::Programs;
use tests::qemu::Spec;
use tests::tool;

use crate::{Length, Needs, Story};

pub const STORIES: &[Story] = &[Story {
    name: "package_is_installed_set_up_watched_and_upgraded_under_systemd",
    needs: Needs::Package,
    length: Length::Short,
    tell: installed,
}];

const ADDRESS: &str = "10.77.0.60";
/// Firmware, kernel, systemd, dpkg and the first start, under emulation.
const SERVES: Duration = Duration::from_secs(420);
/// The watchdog's limit below, the stop that nobody obeys, and the next start.
const WATCHED: Duration = Duration::from_secs(300);

/// Two installations, and each time a start that is watched for a while.
const UPGRADED: Duration = Duration::from_secs(600);

const NETWORK: &str = "[Match]\nType=ether\n\n[Network]\nAddress=10.77.0.60/24\nLinkLocalAddressing=no\n";
const UNIT: &str = "[Unit]
Description=Installs the package, as a person would
After=systemd-networkd.service multi-user.target

[Service]
Type=oneshot
ExecStart=/usr/lib/install-it

[Install]
WantedBy=multi-user.target
";
/// Shorter than the unit's own, so that the story need not wait for minutes.
const LIMITS: &str = "[Service]\nWatchdogSec=20s\nTimeoutAbortSec=5s\n";
const INSTALL: &str = r#"#!/bin/sh
exec >/dev/console 2>&1
set -e
trap 'echo PACKAGE-FAILED; journalctl -b --no-pager -u groundstate | tail -30' EXIT
dpkg -i /groundstate.deb
link=$(ls /sys/class/net | grep -v '^lo$')
until ip -4 address show "$link" 2>/dev/null | grep -q 10.77.0.60 || grep -q 10.77.0.60 /proc/net/fib_trie; do :; done
printf 'site = "plant-7"\ninterface = "%s"\ndhcp = "full"\nimages = "/srv/images"\n' "$link" >/run/answers.toml
groundstate setup --answers /run/answers.toml
if groundstate setup --answers /run/answers.toml; then exit 1; fi
mkdir -p /run/systemd/system/groundstate.service.d
cp /usr/lib/limits.conf /run/systemd/system/groundstate.service.d/
systemctl daemon-reload
systemctl enable --now groundstate
systemctl show groundstate -p ActiveState -p StatusText
echo "runs-as=$(stat -c %U /proc/$(systemctl show groundstate -p MainPID --value))"
groundstate status
groundstate setup-code
[ -n "$(ls -A /srv/images)" ]
echo PACKAGE-SERVES
(while [ ! -e /run/restarted ]; do groundstate status >/dev/null 2>/run/why || cat /run/why >>/run/refused; done; touch /run/asked) &
systemctl restart groundstate
touch /run/restarted
until [ -e /run/asked ]; do :; done
if [ -e /run/refused ]; then cat /run/refused; exit 1; fi
journalctl -b --no-pager -u groundstate | grep -q 'handed over: nobody was refused'
echo PACKAGE-RESTARTED
dpkg -r groundstate
[ -s /var/lib/groundstate/listening.json ] && ! systemctl is-active --quiet groundstate
dpkg -i /groundstate.deb
systemctl enable --now groundstate
systemctl kill --signal=STOP groundstate
until [ "$(systemctl show groundstate -p NRestarts --value)" = 1 ] && systemctl is-active --quiet groundstate; do :; done
groundstate status
echo PACKAGE-WATCHED
echo 'a word for what is saved' >/run/word
groundstate upgrade /better.deb --passphrase-file /run/word
[ "$(dpkg-query -W -f '${Version}' groundstate)" = 0.1.1 ]
if groundstate upgrade /broken.deb --passphrase-file /run/word --limit 30; then exit 1; fi
[ "$(dpkg-query -W -f '${Version}' groundstate)" = 0.1.1 ]
groundstate status
groundstate evidence export --out /run/log.jsonl
grep -q upgrade.begun /run/log.jsonl
grep -q upgrade.rolled-back /run/log.jsonl
ls /var/backups/groundstate/0.1.1-*/state.age /var/backups/groundstate/0.1.1-*/groundstate_0.1.1.deb
trap - EXIT
echo PACKAGE-UPGRADED
"#;

/// A program that says its schema and takes the configuration, as one does that was tested elsewhere, and does not serve here.
const BROKEN: &str = r#"#!/bin/sh
if [ "$1" = serve ]; then echo "it does not serve here" >&2; exit 1; fi
exec "$(dirname "$0")/../lib/groundstate/as-it-was" "$@"
"#;

/// Outside of the plant: the package, and a disk that has it but has not installed it.
pub fn prepare(programs: &Programs, dir: &Path) -> Result<()> {
    let deb = package::build(programs, dir)?;
    golden::changed(&Cache::open()?, &CheckIn::Marker, &disk(dir), |root| {
        fs::copy(&deb, root.join("groundstate.deb"))?;
        again(&deb, "0.1.1", &root.join("better.deb"), |_| Ok(()))?;
        again(&deb, "0.1.2", &root.join("broken.deb"), |tree| {
            let (program, was) =
                (tree.join("usr/bin/groundstate"), tree.join("usr/lib/groundstate/as-it-was"));
            fs::rename(&program, was)?;
            fs::write(&program, BROKEN)?;
            Ok(fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?)
        })?;
        fs::write(root.join("usr/lib/install-it"), INSTALL)?;
        fs::set_permissions(root.join("usr/lib/install-it"), fs::Permissions::from_mode(0o755))?;
        fs::write(root.join("usr/lib/limits.conf"), LIMITS)?;
        let etc = root.join("etc/systemd");
        fs::create_dir_all(etc.join("network"))?;
        fs::write(etc.join("network/05-appliance.network"), NETWORK)?;
        fs::write(etc.join("system/install-it.service"), UNIT)?;
        let wants = etc.join("system/multi-user.target.wants");
        fs::create_dir_all(&wants)?;
        Ok(symlink("/etc/systemd/system/install-it.service", wants.join("install-it.service"))?)
    })
}

/// The package as another version of it, changed somehow.
fn again(deb: &Path, version: &str, to: &Path, change: impl Fn(&Path) -> Result<()>) -> Result<()> {
    let work = tempfile::tempdir()?;
    let tree = work.path().join("tree");
    tool::run(Command::new("dpkg-deb").arg("--raw-extract").arg(deb).arg(&tree))?;
    let control = tree.join("DEBIAN/control");
    let fields: Vec<String> = fs::read_to_string(&control)?
        .lines()
        .map(
            |line| {
                if line.starts_with("Version: ") { format!("Version: {version}") } else { line.to_owned() }
            },
        )
        .collect();
    fs::write(control, fields.join("\n") + "\n")?;
    change(&tree)?;
    // Squeezed least: it is unpacked by an emulated processor.
    tool::run(
        Command::new("dpkg-deb").args(["--build", "--root-owner-group", "-Zgzip", "-z1"]).arg(&tree).arg(to),
    )?;
    Ok(())
}

fn disk(dir: &Path) -> PathBuf {
    dir.join("appliance.raw")
}

fn installed(plant: &Plant) -> Result<()> {
    let content = Content::Image(disk(plant.dir()));
    let appliance = Endpoint::new(plant, Spec::press(1), &content)?;
    appliance.power_on();
    let serial = appliance.serial();
    serial.wait_for(0, "PACKAGE-SERVES", SERVES)?;
    let said = serial.tail(400).join("\n");
    for word in
        ["ActiveState=active", "StatusText=console on 0.0.0.0:443", "runs-as=groundstate", "is there already"]
    {
        ensure!(said.contains(word), "{word} is missing in:\n{said}");
    }
    // Whoever asked while it was restarted was answered.
    serial.wait_for(0, "PACKAGE-RESTARTED", WATCHED)?;
    serial.wait_for(0, "PACKAGE-WATCHED", WATCHED)?;
    answers()?;
    // A version that serves, and one that does not and is taken back.
    serial.wait_for(0, "PACKAGE-UPGRADED", UPGRADED)?;
    Ok(())
}

/// The listeners of people, of HTTP boot and of TFTP, asked from another computer.
fn answers() -> Result<()> {
    let ready = tool::run(Command::new("curl").args([
        "-ksS",
        "--max-time",
        "60",
        &format!("https://{ADDRESS}/readyz"),
    ]))?;
    ensure!(ready == "ready\n", "{ready}");
    let status = ["-sS", "--max-time", "60", "-o", "/dev/null", "-w", "%{http_code}"];
    let status = tool::run(Command::new("curl").args(status).arg(format!("http://{ADDRESS}/no-such-file")))?;
    ensure!(status == "404", "{status}");
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(Duration::from_secs(60)))?;
    socket.send_to(b"\0\x01no-such-file\0octet\0", (ADDRESS, 69))?;
    let mut answer = [0; 512];
    let (len, _) = socket.recv_from(&mut answer)?;
    // ERROR, file not found (RFC 1350, section 5).
    ensure!(len > 4 && answer[..4] == [0, 5, 0, 1], "{:?}", &answer[..len]);
    Ok(())
}
