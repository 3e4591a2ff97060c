//! Trees that real systems have, put into an ext4 by mke2fs and imported.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::testing::{LINUX_TYPE, MIB, Plant, gpt_disk, not_looked_at, request};

use super::*;

const SHADOW: &str = "root:*:19000:0:99999:7:::
daemon:!:19000:0:99999:7:::
hmi:$y$j9T$abc$def:19000:0:99999:7:::
old:!$6$abc$def:19000::::::
guest::19000::::::
";
type Make = fn(Places) -> Finding;

const BODY: &str = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgevZzL1gdAFr88hb2";

fn pem(label: &str) -> String {
    format!("-----BEGIN {label}-----\n{BODY}\n-----END {label}-----\n")
}

/// What an import of a disk with these files says of them; `None` where mke2fs is not here.
fn warnings(files: &[(&str, &str)], links: &[(&str, &str)]) -> Option<Vec<Finding>> {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    for (path, text) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    for (path, target) in links {
        fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        symlink(target, root.join(path)).unwrap();
    }
    let image = dir.path().join("image");
    let made = Command::new("mke2fs")
        .args(["-q", "-F", "-t", "ext4", "-d"])
        .arg(&root)
        .arg(&image)
        .arg("16M")
        .output();
    let Ok(made) = made else {
        not_looked_at("mke2fs", "e2fsprogs");
        return None;
    };
    assert!(made.status.success());
    let mut disk = gpt_disk(18 * MIB, 512, &[(LINUX_TYPE, 2048, 2047 + 16 * 2048)]);
    disk[MIB as usize..17 * MIB as usize].copy_from_slice(&fs::read(&image).unwrap());
    Some(found(&disk))
}

fn found(disk: &[u8]) -> Vec<Finding> {
    let warnings = Plant::new().import_with(disk, &request()).warnings;
    let inside = warnings.into_iter().filter_map(|warning| match warning {
        Warning::Inside(finding) => Some(finding),
        _ => None,
    });
    inside.collect()
}

fn places(paths: &[&str]) -> Places {
    let named = paths.iter().map(|path| format!("/{path} (partition 1)")).collect();
    Places { named, more: 0 }
}

#[test]
fn every_secret_and_everything_that_is_one_endpoints_own_is_named_with_its_place() {
    let key = |label| pem(label);
    let cases: Vec<(&str, String, Make)> = vec![
        ("etc/ssl/private/panel.key", key("PRIVATE KEY"), Finding::PrivateKeys),
        ("opt/app/server.pem", key("CERTIFICATE") + &key("RSA PRIVATE KEY"), Finding::PrivateKeys),
        ("root/.ssh/id_ed25519", key("OPENSSH PRIVATE KEY"), Finding::PrivateKeys),
        ("home/a/key.asc", key("PGP PRIVATE KEY BLOCK"), Finding::PrivateKeys),
        ("srv/sa.json", key("PRIVATE KEY").replace('\n', "\\n"), Finding::PrivateKeys),
        (
            "srv/old.pem",
            key("EC PRIVATE KEY").replacen('\n', "\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n", 1),
            Finding::PrivateKeys,
        ),
        ("opt/app/client.p12", "x".repeat(100_000), Finding::PrivateKeys),
        ("home/a/.netrc", "machine a login b password c\n".into(), Finding::Credentials),
        ("home/a/.pgpass", "*:*:*:panel:secret\n".into(), Finding::Credentials),
        ("root/.aws/credentials", "[default]\naws_secret_access_key = x\n".into(), Finding::Credentials),
        ("root/.kube/config", "users:\n- user:\n    client-key-data: YQ==\n".into(), Finding::Credentials),
        (
            "etc/NetworkManager/system-connections/plant.nmconnection",
            "[wifi-security]\nkey-mgmt=wpa-psk\npsk=secret\n".into(),
            Finding::Credentials,
        ),
        (
            "etc/wpa_supplicant/wpa_supplicant.conf",
            "network={\n  psk=\"secret\"\n}\n".into(),
            Finding::Credentials,
        ),
        ("etc/wireguard/wg0.conf", "[Interface]\nPrivateKey = x\n".into(), Finding::Credentials),
        ("etc/ssh/ssh_host_ed25519_key", key("OPENSSH PRIVATE KEY"), Finding::HostKeys),
        ("etc/machine-id", "0123456789abcdef0123456789abcdef\n".into(), Finding::MachineId),
        ("var/lib/dbus/machine-id", "0123456789abcdef0123456789abcdef\n".into(), Finding::MachineId),
        ("var/lib/systemd/random-seed", "x".into(), Finding::RandomSeed),
        ("var/lib/dhcp/dhclient.eth0.leases", "lease {}\n".into(), Finding::Leases),
        ("var/lib/cloud/data/instance-id", "i-1\n".into(), Finding::CloudInit),
        ("root/.bash_history", "mysql -psecret\n".into(), Finding::Histories),
    ];
    let files: Vec<(&str, &str)> = cases.iter().map(|(path, text, _)| (*path, text.as_str())).collect();
    // One image for each kind of finding, so that all places are named.
    for (path, text) in &files {
        let Some(found) = warnings(&[("etc/hostname", "panel"), (path, text)], &[]) else { return };
        let expected = cases.iter().find(|(at, ..)| at == path).unwrap().2;
        assert_eq!(found, [expected(places(&[path]))], "{path}");
        assert!(found[0].to_string().contains(path));
    }
    let found = warnings(&files, &[]).unwrap();
    let Finding::PrivateKeys(keys) = &found[0] else { panic!("{found:?}") };
    assert_eq!((keys.named.len(), keys.more), (3, 4));
    assert!(found[0].to_string().contains(" and 4 more"));
    assert_eq!(found.len(), 8);
}

#[test]
fn accounts_that_a_password_opens_are_named() {
    let Some(found) = warnings(&[("etc/shadow", SHADOW)], &[]) else { return };
    let accounts =
        |names: &[&str]| Places { named: names.iter().map(|n| (*n).to_owned()).collect(), more: 0 };
    assert_eq!(found, [Finding::Passwords(accounts(&["hmi"])), Finding::NoPasswords(accounts(&["guest"]))]);
}

#[test]
fn what_is_public_empty_or_a_packages_own_raises_no_alarm() {
    let key = pem("PRIVATE KEY");
    let files = [
        ("etc/shadow", "root:*:1::::::\nhmi:!:1::::::\n"),
        ("etc/machine-id", "uninitialized\n"),
        ("var/lib/systemd/random-seed", ""),
        ("root/.bash_history", ""),
        ("etc/ssl/certs/ca.pem", &pem("CERTIFICATE")),
        ("etc/ssh/ssh_host_ed25519_key.pub", "ssh-ed25519 AAAA"),
        ("etc/ssh/sshd_config", "HostKey /etc/ssh/ssh_host_ed25519_key\n"),
        (
            "usr/local/lib/check.py",
            "if text.startswith(\"-----BEGIN RSA PRIVATE KEY-----\"):\n    raise ValueError\n",
        ),
        ("usr/local/lib/library/tests/key.pem", &key),
        ("usr/lib/library/key.pem", &key),
        ("opt/app/README.md", &key),
        ("var/lib/dpkg/info/library.key", &key),
        ("etc/wpa_supplicant/wpa_supplicant.conf", "# psk=\"example\"\nctrl_interface=/run\npsk=\n"),
        ("etc/NetworkManager/system-connections/wired", "[connection]\ntype=ethernet\n"),
        ("etc/systemd/network/10-plant.network", "[Match]\nType=ether\n"),
        ("root/.docker/config.json", "{\"credsStore\": \"pass\"}"),
    ];
    let links = [("var/lib/dbus/machine-id", "/etc/machine-id"), ("root/key", "/usr/lib/library/key.pem")];
    let Some(found) = warnings(&files, &links) else { return };
    assert_eq!(found, []);
}

#[test]
fn a_filesystem_that_cannot_be_read_is_named_and_stops_nothing() {
    let mut disk = gpt_disk(18 * MIB, 512, &[(LINUX_TYPE, 2048, 2047 + 16 * 2048)]);
    disk[MIB as usize + 1024 + 56..][..2].copy_from_slice(&[0x53, 0xef]);
    disk[MIB as usize + 1024 + 96] = 4;
    let [Finding::NotLookedAt { number: 1, why }] = &found(&disk)[..] else { panic!() };
    assert!(why.contains("was not unmounted"), "{why}");
    disk[MIB as usize..][..4].copy_from_slice(b"XFSB");
    disk[MIB as usize + 1024 + 56] = 0;
    let [Finding::NotLookedAt { why, .. }] = &found(&disk)[..] else { panic!() };
    assert!(why.contains("xfs"), "{why}");
}
