//! This computer: clock, memory, disks, TPM, name, interfaces. Measured here and now.

use std::{
    fs::{self, File},
    io::Write as _,
    net::ToSocketAddrs as _,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use super::{AS_ROOT, Finding, Severity, seen};
use crate::{config::Config, interfaces, seal};

const GIB: u64 = 1 << 30;
/// How often a file is synced to learn how long the disk takes.
const SYNCS: usize = 50;

/// All of it.
pub fn look(config: &Config) -> Vec<Finding> {
    let mut found = vec![clock(), time_zone(config), memory(), tpm(config), name()];
    found.push(space("disk-state", &config.data_dir));
    found.push(space("disk-images", &config.image_store()));
    found.push(sync(&config.data_dir));
    found.extend(units(config));
    found
}

/// Whether something keeps the clock right, as systemd says it.
fn clock() -> Finding {
    const CHECK: &str = "clock";
    let remedy = "name a time server of the site (`timedatectl set-ntp true`, or chrony); certificates, tickets and evidence need the time";
    let asked = Command::new("timedatectl").args(["show", "--property=NTPSynchronized", "--value"]).output();
    match asked {
        Err(error) => Finding::unknown(CHECK, format!("timedatectl: {error}"), remedy),
        Ok(said) if !said.status.success() => {
            let why = String::from_utf8_lossy(&said.stderr).trim().to_owned();
            Finding::unknown(CHECK, format!("timedatectl: {why}"), remedy)
        }
        Ok(said) => match String::from_utf8_lossy(&said.stdout).trim() {
            "yes" => Finding::ok(CHECK, format!("kept by a time source; it is {}", jiff::Timestamp::now())),
            _ => Finding::warning(
                CHECK,
                format!("no time source keeps it; it says {}", jiff::Timestamp::now()),
                remedy,
            ),
        },
    }
}

/// The zone in which windows and schedules are meant, and people read times.
fn time_zone(config: &Config) -> Finding {
    const CHECK: &str = "time-zone";
    if let Some(zone) = &config.time_zone {
        return Finding::ok(CHECK, format!("{zone}, by the configuration"));
    }
    let system = fs::read_link("/etc/localtime").ok();
    let system = system.as_deref().and_then(Path::to_str).and_then(|path| path.split_once("zoneinfo/"));
    let of_system = system.map_or_else(|| "not said".to_owned(), |(_, name)| name.to_owned());
    let evidence = format!("none is configured, so windows and times are UTC; the system's is {of_system}");
    Finding::warning(CHECK, evidence, "set `time_zone = \"Europe/Berlin\"` in the configuration")
}

fn memory() -> Finding {
    const CHECK: &str = "memory";
    let text = match fs::read_to_string("/proc/meminfo") {
        Ok(text) => text,
        Err(error) => return Finding::unknown(CHECK, format!("/proc/meminfo: {error}"), ""),
    };
    let kib = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok()
    };
    let (Some(all), Some(free)) = (kib("MemTotal"), kib("MemAvailable")) else {
        return Finding::unknown(CHECK, "/proc/meminfo does not say it", "");
    };
    let severity = match free / 1024 {
        0..64 => Severity::Failure,
        64..256 => Severity::Warning,
        _ => Severity::Ok,
    };
    let evidence = format!("{} MiB of {} MiB can be had", free / 1024, all / 1024);
    Finding::of(CHECK, severity, evidence, "end what else runs here, or give the appliance more memory")
}

/// Whether this machine has a TPM, and whether keys are sealed by it.
fn tpm(config: &Config) -> Finding {
    const CHECK: &str = "tpm";
    let device = Path::new("/dev/tpmrm0").exists();
    let sealed = config.data_dir.join(seal::BY_TPM).exists();
    match (&config.secrets, device) {
        (Some(secrets), false) if secrets.seal == seal::By::Tpm && secrets.tpm.starts_with("device") => {
            Finding::failure(
                CHECK,
                "keys are sealed by a TPM, and there is no /dev/tpmrm0",
                "switch the TPM on in the firmware; without it the appliance does not start again",
            )
        }
        (Some(secrets), _) if secrets.seal == seal::By::Tpm => {
            let is = if sealed { "keys are sealed by it" } else { "keys are sealed at the next start" };
            Finding::ok(CHECK, format!("{}; {is}", secrets.tpm))
        }
        (Some(_), _) => Finding::ok(CHECK, "keys are sealed by a passphrase"),
        (None, true) => Finding::warning(
            CHECK,
            "there is one, and keys lie in clear beside it",
            "write `[secrets]` with `seal = \"tpm\"` into the configuration, so that a stolen disk is worth nothing",
        ),
        (None, false) => Finding::warning(
            CHECK,
            "there is none, and keys lie in clear",
            "write `[secrets]` with `seal = \"passphrase\"` into the configuration, or guard the disk",
        ),
    }
}

/// Whether the name of this machine leads to itself.
fn name() -> Finding {
    const CHECK: &str = "name";
    let remedy =
        "put the appliance's name into the site's DNS, or its /etc/hosts: people and certificates name it so";
    let name = match nix::unistd::gethostname() {
        Ok(name) => name.to_string_lossy().into_owned(),
        Err(error) => return Finding::unknown(CHECK, error.to_string(), remedy),
    };
    let (own, found) = match (interfaces::addresses(), (name.as_str(), 0).to_socket_addrs()) {
        (Ok(own), Ok(found)) => (own, found.map(|address| address.ip()).collect::<Vec<_>>()),
        (Err(error), _) => return Finding::unknown(CHECK, error.to_string(), remedy),
        (_, Err(error)) => {
            return Finding::warning(CHECK, format!("`{name}` leads nowhere: {error}"), remedy);
        }
    };
    let list: Vec<String> = found.iter().map(ToString::to_string).collect();
    match found.iter().any(|address| own.contains(address)) {
        true if found.iter().all(std::net::IpAddr::is_loopback) => {
            Finding::ok(CHECK, format!("`{name}` is {} here; others need the site's DNS", list.join(", ")))
        }
        true => Finding::ok(CHECK, format!("`{name}` is {}", list.join(", "))),
        false => Finding::warning(
            CHECK,
            format!("`{name}` leads to {}, which is not here", list.join(", ")),
            remedy,
        ),
    }
}

/// Room on the disk that holds a directory.
fn space(check: &'static str, dir: &Path) -> Finding {
    let remedy = "make room: `groundstate image gc`, `groundstate image delete`, or a larger disk; a full disk stops every job";
    if let Err(finding) = seen(check, dir) {
        return finding;
    }
    let disk = match nix::sys::statvfs::statvfs(dir) {
        Ok(disk) => disk,
        Err(error) => return Finding::unknown(check, format!("{}: {error}", dir.display()), AS_ROOT),
    };
    let (size, free) = (disk.blocks() * disk.fragment_size(), disk.blocks_available() * disk.fragment_size());
    let percent = free.saturating_mul(100).checked_div(size).unwrap_or_default();
    let severity = match (percent, free) {
        (0..3, _) => Severity::Failure,
        (_, free) if free < GIB / 4 => Severity::Failure,
        (3..10, _) => Severity::Warning,
        (_, free) if free < GIB => Severity::Warning,
        _ => Severity::Ok,
    };
    let evidence = format!(
        "{}: {} MiB of {} MiB free, {percent} %",
        dir.display(),
        free / (GIB / 1024),
        size / (GIB / 1024)
    );
    Finding::of(check, severity, evidence, remedy)
}

/// How long the disk takes to keep what it was given: every step of a job waits for it.
fn sync(dir: &Path) -> Finding {
    const CHECK: &str = "fsync";
    let remedy = "put the data directory onto a disk that keeps what it is given within milliseconds (SSD with power-loss protection)";
    let path = dir.join(format!("doctor.{}.new", std::process::id()));
    let measured = measure(&path);
    let _ = fs::remove_file(&path);
    let mut took = match measured {
        Ok(took) => took,
        Err(error) => return Finding::unknown(CHECK, format!("{}: {error}", dir.display()), AS_ROOT),
    };
    took.sort_unstable();
    let at = |percent: usize| took.get((took.len() - 1) * percent / 100).copied().unwrap_or_default();
    let (half, worst) = (at(50), at(99));
    let severity = match worst.as_millis() {
        0..100 => Severity::Ok,
        100..1000 => Severity::Warning,
        _ => Severity::Failure,
    };
    let ms = |took: Duration| took.as_secs_f64() * 1e3;
    let evidence = format!("{SYNCS} writes of 4 KiB: p50 {:.1} ms, p99 {:.1} ms", ms(half), ms(worst));
    Finding::of(CHECK, severity, evidence, remedy)
}

fn measure(path: &Path) -> std::io::Result<Vec<Duration>> {
    let mut file = File::options().write(true).create_new(true).open(path)?;
    let mut took = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let begun = Instant::now();
        file.write_all(&[0x5a; 4096])?;
        file.sync_data()?;
        took.push(begun.elapsed());
    }
    Ok(took)
}

/// Packet sizes of the interfaces towards endpoints.
fn units(config: &Config) -> Vec<Finding> {
    const CHECK: &str = "mtu";
    let remedy = "set it to 1500 (`ip link set dev … mtu 1500`) on the interface and on every switch port towards endpoints: firmware knows no other";
    let look = |name: &str| {
        let path = format!("/sys/class/net/{name}/mtu");
        match fs::read_to_string(&path).map(|text| text.trim().parse::<u32>()) {
            Ok(Ok(1500)) => Finding::ok(CHECK, format!("{name}: 1500")),
            Ok(Ok(mtu)) => Finding::warning(CHECK, format!("{name}: {mtu}"), remedy),
            Ok(Err(_)) => Finding::unknown(CHECK, format!("{path} is no number"), remedy),
            Err(error) => {
                Finding::failure(CHECK, format!("{path}: {error}"), "correct `name` under [[interfaces]]")
            }
        }
    };
    config.interfaces.iter().map(|interface| look(&interface.name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syncing_is_measured_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let finding = sync(dir.path());
        assert!(finding.evidence.contains("p99"), "{finding:?}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let none = sync(&dir.path().join("none"));
        assert_eq!(none.severity, Severity::Unknown, "{none:?}");
        assert_eq!(space("disk-state", &dir.path().join("none")).severity, Severity::Unknown);
    }

    #[test]
    fn an_interface_that_is_not_there_is_named() {
        let interfaces =
            toml::from_str::<Interfaces>("[[interfaces]]\nname = \"nonesuch0\"\n").unwrap().interfaces;
        let config = Config { interfaces, ..Config::default() };
        let found = units(&config);
        assert_eq!((found[0].check, found[0].severity), ("mtu", Severity::Failure), "{found:?}");
        assert!(found[0].evidence.contains("nonesuch0"));
    }

    #[derive(serde::Deserialize)]
    struct Interfaces {
        interfaces: Vec<crate::config::Interface>,
    }
}
