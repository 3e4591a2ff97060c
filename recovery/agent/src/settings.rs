//! What belongs to this endpoint and not to its image: taken from the EFI system partition at each start of the restored system.
//!
//! ```text
//! EFI/groundstate/settings.json ─► checked ─► host name: kernel, /etc/hostname, the 127.0.1.1 line of /etc/hosts
//!                                          └► addresses, for whoever the image has them from:
//!                                             systemd-networkd  /run/systemd/network/05-groundstate-N.network
//!                                             NetworkManager    /run/NetworkManager/system-connections/groundstate-N.nmconnection
//!                                             ifupdown          the top of /etc/network/interfaces; /etc/resolv.conf
//! ```
//!
//! systemd-networkd takes its files by name, so ours go before the image's; NetworkManager goes by a priority, ifupdown by who comes
//! first. Systems with another network service have a seed partition and cloud-init or its kin. It must never take from the disk what
//! an order could not say.

mod ifupdown;
mod network_manager;

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use recovery_protocol::settings::EndpointSettings;

use crate::check_in::esp;
pub use ifupdown::{MAP, MAP_PATH};

/// Gives the running system below `root` its name and addresses; without settings nothing happens.
///
/// # Errors
/// When they are there and cannot be read or taken.
pub fn run(root: &Path) -> Result<()> {
    let settings = match esp::read_settings() {
        Ok(settings) => settings.unwrap_or_default(),
        Err(esp::TicketError::NoEsp) => EndpointSettings::default(),
        Err(error) => return Err(error.into()),
    };
    // Each by itself: a root that cannot be written shall not cost the addresses.
    let networks = take_networks(root, &settings);
    let name = settings.hostname.as_ref().map_or(Ok(()), |name| {
        nix::unistd::sethostname(name).context("setting the host name")?;
        take_name(root, name)
    });
    networks.and(name)
}

fn take_name(root: &Path, name: &str) -> Result<()> {
    put(&root.join("etc/hostname"), &format!("{name}\n"))?;
    let hosts = root.join("etc/hosts");
    let text = match fs::read_to_string(&hosts) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        read => read.with_context(|| format!("reading {}", hosts.display()))?,
    };
    put(&hosts, &with_own_line(&text, name))
}

fn take_networks(root: &Path, settings: &EndpointSettings) -> Result<()> {
    // Below /run: what a restore does not say any more is gone at the next start.
    let networks = root.join("run/systemd/network");
    for (number, interface) in settings.interfaces.iter().enumerate() {
        put(&networks.join(format!("05-groundstate-{number}.network")), &interface.networkd())?;
    }
    if network_manager::is_used(root) {
        let connections = root.join(network_manager::CONNECTIONS);
        for (number, interface) in settings.interfaces.iter().enumerate() {
            let path = connections.join(format!("groundstate-{number}.nmconnection"));
            put_as(&path, &network_manager::connection(number, interface), 0o600)?;
        }
    }
    take_interfaces(root, settings)
}

/// For ifupdown, which has no directory below /run: its own file, in which a block of an earlier restore's is replaced.
fn take_interfaces(root: &Path, settings: &EndpointSettings) -> Result<()> {
    if !ifupdown::is_used(root) {
        return Ok(());
    }
    let path = root.join(ifupdown::INTERFACES);
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let block = ifupdown::block(&settings.interfaces, &format!("/{}", ifupdown::MAP_PATH));
    put(&path, &ifupdown::with_block(&text, &block))?;
    // Where no program keeps it, as resolvconf or systemd-resolved do, it is a file and ours to write.
    let servers = root.join(ifupdown::RESOLV_CONF);
    let kept = root.join("sbin/resolvconf").exists()
        || root.join("usr/sbin/resolvconf").exists()
        || fs::symlink_metadata(&servers).is_ok_and(|there| !there.is_file());
    if kept || settings.interfaces.iter().all(|interface| interface.dns.is_empty()) {
        return Ok(());
    }
    let text = fs::read_to_string(&servers).unwrap_or_default();
    put(&servers, &ifupdown::with_name_servers(&text, &settings.interfaces))
}

/// Debian's way: the host's own name stands beside 127.0.1.1.
fn with_own_line(hosts: &str, name: &str) -> String {
    let short = name.split('.').next().unwrap_or(name);
    let own = if short == name { format!("127.0.1.1\t{name}") } else { format!("127.0.1.1\t{name} {short}") };
    let mut lines: Vec<&str> =
        hosts.lines().filter(|line| line.split_whitespace().next() != Some("127.0.1.1")).collect();
    lines.push(&own);
    lines.join("\n") + "\n"
}

/// A file of before is kept whole until the new one is there; what is right already is not written.
fn put(path: &Path, text: &str) -> Result<()> {
    put_as(path, text, 0o644)
}

fn put_as(path: &Path, text: &str, mode: u32) -> Result<()> {
    if fs::read_to_string(path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    let write = || {
        fs::create_dir_all(path.parent().unwrap_or(path))?;
        let new = path.with_extension("groundstate-new");
        let _ = fs::remove_file(&new);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    write().with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_takes_its_name_and_addresses_once() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        let hosts = "127.0.0.1\tlocalhost\n127.0.1.1\thmi-panel\n10.7.0.5\tappliance\n";
        fs::write(root.path().join("etc/hosts"), hosts).unwrap();
        let text = r#"{"hostname":"press-01.plant","interfaces":[{"mac":"52:54:00:12:34:56","addresses":["10.7.3.21/24"]}]}"#;
        let settings: EndpointSettings = serde_json::from_str(text).unwrap();
        settings.check().unwrap();
        for _start in 0..2 {
            take_networks(root.path(), &settings).unwrap();
            take_name(root.path(), "press-01.plant").unwrap();
            let read = |path: &str| fs::read_to_string(root.path().join(path)).unwrap();
            assert_eq!(read("etc/hostname"), "press-01.plant\n");
            assert_eq!(
                read("etc/hosts"),
                "127.0.0.1\tlocalhost\n10.7.0.5\tappliance\n127.0.1.1\tpress-01.plant press-01\n"
            );
            let network = read("run/systemd/network/05-groundstate-0.network");
            assert_eq!(network, settings.interfaces[0].networkd());
        }
        assert_eq!(fs::read_dir(root.path().join("etc")).unwrap().count(), 2);
    }

    #[test]
    fn whoever_the_image_has_its_addresses_from_gets_them() {
        use std::os::unix::fs::PermissionsExt as _;
        let root = tempfile::tempdir().unwrap();
        let read = |path: &str| fs::read_to_string(root.path().join(path)).unwrap();
        let image = "auto lo\niface lo inet loopback\nallow-hotplug eth0\niface eth0 inet dhcp\n";
        for (path, text) in [
            ("usr/sbin/NetworkManager", ""),
            ("usr/sbin/ifup", ""),
            (ifupdown::INTERFACES, image),
            (ifupdown::RESOLV_CONF, "nameserver 192.0.2.1\n"),
        ] {
            put(&root.path().join(path), text).unwrap();
        }
        let text =
            r#"{"interfaces":[{"mac":"52:54:00:12:34:56","addresses":["10.7.3.21/24"],"dns":["10.7.0.1"]}]}"#;
        let settings: EndpointSettings = serde_json::from_str(text).unwrap();
        for _start in 0..2 {
            take_networks(root.path(), &settings).unwrap();
            let block = ifupdown::block(&settings.interfaces, "/usr/lib/groundstate/interface-map");
            assert_eq!(read(ifupdown::INTERFACES), block + image);
            assert_eq!(read(ifupdown::RESOLV_CONF), "nameserver 10.7.0.1\n");
            let path = root.path().join(network_manager::CONNECTIONS).join("groundstate-0.nmconnection");
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            assert_eq!(
                fs::read_to_string(path).unwrap(),
                network_manager::connection(0, &settings.interfaces[0])
            );
        }
        take_networks(root.path(), &EndpointSettings::default()).unwrap();
        assert_eq!(read(ifupdown::INTERFACES), image);
        assert_eq!(read(ifupdown::RESOLV_CONF), "nameserver 10.7.0.1\n");
    }

    #[test]
    fn without_settings_a_system_stays_as_the_image_is() {
        let root = tempfile::tempdir().unwrap();
        take_networks(root.path(), &EndpointSettings::default()).unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
