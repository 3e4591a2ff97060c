//! What the appliance rests on: the health of its own disks, its interfaces and VLANs, the depot, the directory, the provider.
//!
//! It must never: change anything of another system but a canary in the depot, which is removed again; or hold on for longer than some seconds each.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::Value;

use super::{AS_ROOT, Finding, seen};
use crate::{
    config::Config,
    depot::{Limits, S3Depot},
    directory::Directory,
    provider,
};

/// All of it.
pub fn look(config: &Config) -> Vec<Finding> {
    let mut found = disks(config);
    found
        .extend(config.interfaces.iter().map(|interface| link(Path::new("/sys/class/net"), &interface.name)));
    found.extend(depot(config));
    found.extend(directory(config));
    found.extend(identity_provider(config));
    found
}

/// The health of the disks under the state and the images, as they tell it themselves.
fn disks(config: &Config) -> Vec<Finding> {
    const CHECK: &str = "disk-health";
    let mut disks = BTreeSet::new();
    for dir in [config.data_dir.clone(), config.image_store()] {
        match seen(CHECK, &dir) {
            Ok(about) => disks.extend(whole_disks(Path::new("/sys/dev/block"), about.dev())),
            Err(finding) => return vec![finding],
        }
    }
    if disks.is_empty() {
        let why = "the data lies on no disk of this computer (a network or memory file system)";
        return vec![Finding::unknown(CHECK, why, "look where the data lies")];
    }
    disks.iter().map(|disk| health(CHECK, disk)).collect()
}

/// The disks under a file system's device number: through partitions, and through what is put together of several.
fn whole_disks(block: &Path, dev: u64) -> Vec<String> {
    let path = block.join(format!("{}:{}", nix::sys::stat::major(dev), nix::sys::stat::minor(dev)));
    fs::canonicalize(path).map(|at| under(&at, 8)).unwrap_or_default()
}

fn under(at: &Path, deep: u8) -> Vec<String> {
    let slaves: Vec<PathBuf> = fs::read_dir(at.join("slaves"))
        .into_iter()
        .flatten()
        .filter_map(|entry| fs::canonicalize(entry.ok()?.path()).ok())
        .collect();
    if deep > 0 && !slaves.is_empty() {
        return slaves.iter().flat_map(|slave| under(slave, deep - 1)).collect();
    }
    let whole = if at.join("partition").exists() { at.parent() } else { Some(at) };
    whole
        .and_then(|whole| whole.file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .into_iter()
        .collect()
}

/// What smartctl says of a disk.
fn health(check: &'static str, disk: &str) -> Finding {
    let asked = Command::new("smartctl").args(["--json=c", "-H", "-A", &format!("/dev/{disk}")]).output();
    match asked {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let remedy = "install it (`apt install smartmontools`), and run the doctor again";
            Finding::unknown(check, format!("{disk} was not looked at: smartctl is not here"), remedy)
        }
        Err(error) => Finding::unknown(check, format!("{disk}: smartctl: {error}"), AS_ROOT),
        Ok(said) => judged(check, disk, &serde_json::from_slice(&said.stdout).unwrap_or_default()),
    }
}

/// An answer of `smartctl --json -H -A` (its schema, 7.x): `smart_status.passed`, ATA attributes 5, 187, 197, 198, the NVMe log of health.
fn judged(check: &'static str, disk: &str, said: &Value) -> Finding {
    let replace = "replace the disk while it still reads: make a backup first (`groundstate backup FILE`), and restore it on a new one";
    let passed = said["smart_status"]["passed"].as_bool();
    let nvme = &said["nvme_smart_health_information_log"];
    let raw = |id: u64| {
        let table = said["ata_smart_attributes"]["table"].as_array()?;
        table.iter().find(|row| row["id"] == id)?["raw"]["value"].as_u64()
    };
    let Some(passed) = passed else {
        let words: Vec<&str> = said["smartctl"]["messages"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|message| message["string"].as_str())
            .collect();
        let why =
            if words.is_empty() { "it says nothing of its health".to_owned() } else { words.join("; ") };
        let remedy = "run it as root; the health of a virtual disk, or of one behind a controller, is told by its host or controller";
        return Finding::unknown(check, format!("{disk}: {why}"), remedy);
    };
    let mut bad = Vec::new();
    let counted = [
        (raw(5), "sectors replaced"),
        (raw(187), "errors that could not be corrected"),
        (raw(197), "sectors that wait to be replaced"),
        (raw(198), "sectors that cannot be read"),
        (nvme["media_errors"].as_u64(), "media errors"),
    ];
    bad.extend(
        counted.iter().filter_map(|(count, what)| {
            count.filter(|count| *count > 0).map(|count| format!("{count} {what}"))
        }),
    );
    if nvme["critical_warning"].as_u64().is_some_and(|bits| bits != 0) {
        bad.push(format!("critical warning {:#04x}", nvme["critical_warning"].as_u64().unwrap_or_default()));
    }
    let worn = nvme["percentage_used"].as_u64().unwrap_or_default();
    if worn >= 90 {
        bad.push(format!("{worn} % of its life is used"));
    }
    match (passed, bad.is_empty()) {
        (false, _) => {
            Finding::failure(check, format!("{disk} says that it fails; {}", bad.join(", ")), replace)
        }
        (true, true) => Finding::ok(check, format!("{disk} says that it is well")),
        (true, false) => Finding::warning(check, format!("{disk}: {}", bad.join(", ")), replace),
    }
}

/// Whether an interface of the configuration is there and has a link; of a VLAN, also the interface under it.
fn link(net: &Path, name: &str) -> Finding {
    const CHECK: &str = "link";
    let at = net.join(name);
    let tagged = name.rsplit_once('.').filter(|(_, id)| id.parse::<u16>().is_ok());
    if !at.exists() {
        return match tagged {
            Some((under, id)) if net.join(under).exists() => Finding::failure(
                CHECK,
                format!("{name} is not here: {under} is, and no VLAN {id} was made on it"),
                &format!(
                    "make it (`ip link add link {under} name {name} type vlan id {id}`), and write it into the system's network configuration, or it is gone after a start"
                ),
            ),
            _ => Finding::failure(
                CHECK,
                format!("there is no interface {name}"),
                "correct `name` under [[interfaces]] (`ip -br link` lists what there is)",
            ),
        };
    }
    let read =
        |file: &str| fs::read_to_string(at.join(file)).map(|text| text.trim().to_owned()).unwrap_or_default();
    let (state, carrier) = (read("operstate"), read("carrier"));
    match (state.as_str(), carrier.as_str()) {
        ("up", _) | ("unknown", "1") => Finding::ok(CHECK, format!("{name} is up and has a link")),
        ("lowerlayerdown", _) => Finding::failure(
            CHECK,
            format!("{name} has no link: the interface under it is down"),
            "plug its cable in, and switch the interface under the VLAN on (`ip link set dev … up`)",
        ),
        (_, "0") => Finding::failure(
            CHECK,
            format!("{name} has no link"),
            "plug its cable in, and look at the port of the switch",
        ),
        (state, _) => Finding::failure(
            CHECK,
            format!("{name} is {state}"),
            &format!("switch it on: `ip link set dev {name} up`, and in the system's network configuration"),
        ),
    }
}

/// Whether the depot lists, and takes an object, gives it back and removes it.
fn depot(config: &Config) -> Option<Finding> {
    const CHECK: &str = "depot-reach";
    let setting = config.images.depot.as_ref()?;
    let limits = Limits { answer: Duration::from_secs(10), ..Limits::default() };
    let depot = match S3Depot::open(setting, limits) {
        Ok(depot) => depot,
        Err(error) => {
            return Some(Finding::failure(
                CHECK,
                causes(&error),
                "correct [images] depot in the configuration, or its files",
            ));
        }
    };
    let place = depot.place();
    Some(match depot.canary() {
        Ok(Ok(())) => Finding::ok(CHECK, format!("{place}: an object was put, read and removed")),
        Ok(Err(error)) => Finding::warning(
            CHECK,
            format!("{place} can be read, and takes nothing: {}", causes(&error)),
            "give the access key the right to put and remove, if images are pushed from here; to pull, reading is enough",
        ),
        Err(error) => Finding::failure(
            CHECK,
            format!("{place}: {}", causes(&error)),
            "look at the way there, at the bucket and at the access key; `groundstate image depot probe` says more",
        ),
    })
}

/// Whether the directory is there, and is the one that is known.
fn directory(config: &Config) -> Option<Finding> {
    const CHECK: &str = "directory";
    let setting = config.directory.as_ref()?;
    let remedy = "look at the directory, its certificate, and [directory] of the configuration; people on record here sign in meanwhile";
    let reached = Directory::open(setting).and_then(|directory| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        runtime
            .block_on(directory.reach())
            .map_err(|problem| format!("{}: {}", problem.title, problem.detail))
    });
    Some(match reached {
        Ok(()) => Finding::ok(CHECK, format!("{} answers, by the certificate that is known", setting.url)),
        Err(why) => Finding::failure(CHECK, format!("{}: {why}", setting.url), remedy),
    })
}

/// Whether the OpenID provider describes itself and has keys.
fn identity_provider(config: &Config) -> Option<Finding> {
    const CHECK: &str = "provider";
    let setting = config.provider.as_ref()?;
    let remedy =
        "look at the provider, and [provider] of the configuration; people on record here sign in meanwhile";
    Some(match provider::reach(setting) {
        Ok(()) => Finding::ok(CHECK, format!("{} describes itself, and has keys", setting.issuer)),
        Err(why) => Finding::failure(CHECK, format!("{}: {why}", setting.issuer), remedy),
    })
}

/// An error and what it comes from, in one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(why) = cause {
        let more = why.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = why.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::doctor::Severity;

    #[test]
    fn what_a_disk_says_of_itself_is_judged_and_silence_is_not_called_well() {
        let ata = |raw: u64| {
            json!({ "smart_status": { "passed": true }, "ata_smart_attributes": { "table": [
                { "id": 9, "raw": { "value": 4000 } }, { "id": 197, "raw": { "value": raw } } ] } })
        };
        let nvme = json!({ "smart_status": { "passed": true }, "nvme_smart_health_information_log": {
            "critical_warning": 0, "percentage_used": 95, "media_errors": 0 } });
        let silent = json!({ "smartctl": { "messages": [{ "string": "Unable to detect device type", "severity": "error" }] } });
        for (said, severity, word) in [
            (ata(0), Severity::Ok, "well"),
            (ata(8), Severity::Warning, "8 sectors that wait"),
            (json!({ "smart_status": { "passed": false } }), Severity::Failure, "fails"),
            (nvme, Severity::Warning, "95 %"),
            (silent, Severity::Unknown, "device type"),
            (Value::Null, Severity::Unknown, "says nothing"),
        ] {
            let finding = judged("disk-health", "sda", &said);
            assert_eq!(finding.severity, severity, "{finding:?}");
            assert!(finding.evidence.contains(word), "{finding:?}");
            assert_eq!(finding.remedy.is_empty(), severity == Severity::Ok);
        }
    }

    #[test]
    fn each_check_is_explained() {
        for check in ["disk-health", "link", "depot-reach", "directory", "provider", "agent-fetch"] {
            let told = crate::explain::one(crate::console::Texts::here(), check).unwrap();
            assert!(!told.now.is_empty(), "{check}");
        }
    }

    #[test]
    fn a_depot_that_is_not_there_is_a_failure_and_one_that_is_not_named_is_no_matter() {
        let dir = tempfile::tempdir().unwrap();
        assert!(depot(&Config::default()).is_none());
        fs::write(dir.path().join("c"), "[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
            .unwrap();
        let text = "[images.depot]\nendpoint = \"http://127.0.0.1:1\"\nbucket = \"golden\"\nplain_http = true\ncredentials_file = \"c\"\n";
        fs::write(dir.path().join("g.toml"), text).unwrap();
        let setting = crate::depot::Setting::load(&dir.path().join("g.toml")).unwrap();
        let mut config = Config::default();
        config.images.depot = Some(setting);
        let finding = depot(&config).unwrap();
        assert_eq!(finding.severity, Severity::Failure, "{finding:?}");
    }

    #[test]
    fn a_disk_is_found_through_partition_and_mapper() {
        let dir = tempfile::tempdir().unwrap();
        let devices = dir.path().join("devices");
        fs::create_dir_all(devices.join("sda/sda1")).unwrap();
        fs::write(devices.join("sda/sda1/partition"), "1").unwrap();
        fs::create_dir_all(devices.join("dm-0/slaves")).unwrap();
        std::os::unix::fs::symlink(devices.join("sda/sda1"), devices.join("dm-0/slaves/sda1")).unwrap();
        let block = dir.path().join("block");
        fs::create_dir_all(&block).unwrap();
        std::os::unix::fs::symlink(devices.join("dm-0"), block.join("254:0")).unwrap();
        std::os::unix::fs::symlink(devices.join("sda/sda1"), block.join("8:1")).unwrap();
        let disks = |major, minor| whole_disks(&block, nix::sys::stat::makedev(major, minor));
        assert_eq!((disks(254, 0), disks(8, 1)), (vec!["sda".to_owned()], vec!["sda".to_owned()]));
        assert!(disks(0, 40).is_empty(), "no disk of this computer");
    }

    #[test]
    fn a_vlan_that_nobody_made_is_told_apart_from_a_name_that_is_wrong() {
        let net = tempfile::tempdir().unwrap();
        let made = |name: &str, state: &str, carrier: &str| {
            let at = net.path().join(name);
            fs::create_dir_all(&at).unwrap();
            fs::write(at.join("operstate"), format!("{state}\n")).unwrap();
            fs::write(at.join("carrier"), format!("{carrier}\n")).unwrap();
        };
        made("eth0", "up", "1");
        made("eth1", "down", "");
        made("eth2", "down", "0");
        made("eth1.9", "lowerlayerdown", "0");
        for (name, severity, words) in [
            ("eth0", Severity::Ok, "has a link"),
            ("eth0.7", Severity::Failure, "type vlan id 7"),
            ("eth7", Severity::Failure, "ip -br link"),
            ("eth1", Severity::Failure, "ip link set dev eth1 up"),
            ("eth2", Severity::Failure, "cable"),
            ("eth1.9", Severity::Failure, "under it is down"),
        ] {
            let finding = link(net.path(), name);
            assert_eq!(finding.severity, severity, "{finding:?}");
            assert!(format!("{} {}", finding.evidence, finding.remedy).contains(words), "{finding:?}");
        }
    }
}
