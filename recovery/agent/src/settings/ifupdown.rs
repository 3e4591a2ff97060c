//! Addresses for ifupdown: a block at the top of `/etc/network/interfaces`, before all that the image says.
//!
//! ifupdown knows interfaces by name and not by address, so a mapping tells it which of its names an interface has: [`MAP`], a few lines of
//! shell that `install` puts into the image, compares addresses. A mapping counts however an interface comes up, and what is up is not brought
//! up again, so the image's own stanzas stay and are not used.
//!
//! ```text
//! # groundstate begins: this endpoint's own
//! mapping *
//!     script /usr/lib/groundstate/interface-map
//!     map 52:54:00:12:34:56 groundstate0
//! auto mac/52:54:00:12:34:56
//! iface groundstate0 inet static
//!     address 10.7.3.21/24
//! # groundstate ends
//! ```

use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use recovery_protocol::settings::InterfaceSettings;

/// Where the block goes.
pub const INTERFACES: &str = "etc/network/interfaces";
/// Where name servers go without a program that keeps them.
pub const RESOLV_CONF: &str = "etc/resolv.conf";
/// Where [`MAP`] lies in an image.
pub const MAP_PATH: &str = "usr/lib/groundstate/interface-map";
/// Says the name of the interface whose address stands in a line of its input, else the one it was asked about.
pub const MAP: &str = r#"#!/bin/sh
own=$(cat "/sys/class/net/$1/address" 2>/dev/null)
while read -r address name; do
    if [ -n "$own" ] && [ "$address" = "$own" ]; then
        echo "$name"
        exit 0
    fi
done
echo "$1"
"#;

const BEGINS: &str = "# groundstate begins: this endpoint's own, written at each start";
const ENDS: &str = "# groundstate ends";

/// Whether the image below `root` has its interfaces from ifupdown: where NetworkManager is there as well, only if the file names one.
pub fn is_used(root: &Path) -> bool {
    let is_there = |path: &str| root.join(path).exists();
    if !is_there(INTERFACES) || !(is_there("sbin/ifup") || is_there("usr/sbin/ifup")) {
        return false;
    }
    !super::network_manager::is_used(root) || names_one(root)
}

fn names_one(root: &Path) -> bool {
    let more = fs::read_dir(root.join("etc/network/interfaces.d")).into_iter().flatten().flatten();
    let files = more.map(|entry| entry.path()).chain([root.join(INTERFACES)]);
    let text: String = files.filter_map(|path| Some(fs::read_to_string(path).ok()? + "\n")).collect();
    with_block(&text, "").lines().any(|line| {
        let mut words = line.split_whitespace();
        words.next() == Some("iface") && words.next().is_some_and(|name| name != "lo")
    })
}

/// The block for these interfaces, of which [`MAP`] lies at `map`; empty for none.
pub fn block(interfaces: &[InterfaceSettings], map: &str) -> String {
    if interfaces.is_empty() {
        return String::new();
    }
    let mut text = format!("{BEGINS}\nmapping *\n    script {map}\n");
    for (number, interface) in interfaces.iter().enumerate() {
        let _ = writeln!(text, "    map {} groundstate{number}", interface.mac);
    }
    for (number, interface) in interfaces.iter().enumerate() {
        let _ = writeln!(text, "auto mac/{}", interface.mac);
        stanzas(&mut text, number, interface);
    }
    text + ENDS + "\n"
}

fn stanzas(text: &mut String, number: usize, interface: &InterfaceSettings) {
    let mut dns: Vec<String> = interface.dns.iter().map(IpAddr::to_string).collect();
    let mut put = |family: &str, how: &str, lines: &[(&str, String)]| {
        let _ = writeln!(text, "iface groundstate{number} {family} {how}");
        lines.iter().for_each(|(key, value)| {
            let _ = writeln!(text, "    {key} {value}");
        });
        // For resolvconf, once.
        if !dns.is_empty() {
            let _ = writeln!(text, "    dns-nameservers {}", dns.join(" "));
            dns.clear();
        }
    };
    if interface.addresses.is_empty() {
        return put("inet", "dhcp", &[]);
    }
    for (family, is_v4) in [("inet", true), ("inet6", false)] {
        let own = |address: &IpAddr| address.is_ipv4() == is_v4;
        let mut gateway = interface.gateways.iter().find(|gateway| own(gateway));
        for address in interface.addresses.iter().filter(|address| own(&address.address)) {
            let mut lines = vec![("address", address.to_string())];
            lines.extend(gateway.take().map(|gateway| ("gateway", gateway.to_string())));
            put(family, "static", &lines);
        }
    }
}

/// The file with this block at its top, in the place of one of before.
pub fn with_block(text: &str, block: &str) -> String {
    let mut own = false;
    let rest: String = text
        .split_inclusive('\n')
        .filter(|line| {
            own |= line.trim_end() == BEGINS;
            let keep = !own;
            own &= line.trim_end() != ENDS;
            keep
        })
        .collect();
    block.to_owned() + &rest
}

/// `resolv.conf` with these name servers and all else as it was.
pub fn with_name_servers(text: &str, interfaces: &[InterfaceSettings]) -> String {
    let others = text.lines().filter(|line| line.split_whitespace().next() != Some("nameserver"));
    let servers = interfaces.iter().flat_map(|interface| &interface.dns);
    let servers = servers.map(|server| format!("nameserver {server}\n"));
    others.map(|line| format!("{line}\n")).chain(servers).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;

    use recovery_protocol::settings::EndpointSettings;

    use super::*;

    fn interfaces(text: &str) -> Vec<InterfaceSettings> {
        let settings: EndpointSettings =
            serde_json::from_str(&format!(r#"{{"interfaces":[{text}]}}"#)).unwrap();
        settings.check().unwrap();
        settings.interfaces
    }

    #[test]
    fn a_block_comes_first_is_replaced_and_goes_without_a_trace() {
        let image = "auto lo\niface lo inet loopback\nauto eth0\niface eth0 inet dhcp\n";
        let one = block(
            &interfaces(
                r#"{"mac":"52:54:00:12:34:56","addresses":["10.7.3.21/24","fd00::21/64","10.7.4.1/24"],
                    "gateways":["10.7.3.1","fd00::1"],"dns":["10.7.0.1","10.7.0.2"]},{"mac":"52:54:00:12:34:57"}"#,
            ),
            "/map",
        );
        let expected = "\
# groundstate begins: this endpoint's own, written at each start
mapping *
    script /map
    map 52:54:00:12:34:56 groundstate0
    map 52:54:00:12:34:57 groundstate1
auto mac/52:54:00:12:34:56
iface groundstate0 inet static
    address 10.7.3.21/24
    gateway 10.7.3.1
    dns-nameservers 10.7.0.1 10.7.0.2
iface groundstate0 inet static
    address 10.7.4.1/24
iface groundstate0 inet6 static
    address fd00::21/64
    gateway fd00::1
auto mac/52:54:00:12:34:57
iface groundstate1 inet dhcp
# groundstate ends
";
        assert_eq!(one, expected);
        let first = with_block(image, &one);
        assert_eq!(first, one.clone() + image);
        assert_eq!(with_block(&first, &one), first);
        assert_eq!(with_block(&first, ""), image);
    }

    #[test]
    fn it_is_used_where_its_file_names_an_interface_or_nobody_else_is_there() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put(INTERFACES, "source /etc/network/interfaces.d/*\nauto lo\niface lo inet loopback\n");
        assert!(!is_used(root.path()));
        put("usr/sbin/ifup", "");
        assert!(is_used(root.path()));
        put("usr/sbin/NetworkManager", "");
        assert!(!is_used(root.path()));
        put("etc/network/interfaces.d/eth0", "iface eth0 inet dhcp");
        assert!(is_used(root.path()));
    }

    #[test]
    fn name_servers_are_replaced_and_the_rest_of_resolv_conf_stays() {
        let one = interfaces(r#"{"mac":"52:54:00:12:34:56","dns":["10.7.0.1"]}"#);
        let text = "search plant\nnameserver 192.0.2.1\noptions edns0\n";
        assert_eq!(with_name_servers(text, &one), "search plant\noptions edns0\nnameserver 10.7.0.1\n");
    }

    /// The real ifupdown, and the interface that every system has.
    #[test]
    fn ifupdown_takes_the_block_before_the_images_own_stanzas() {
        let ifup = ["/usr/sbin/ifup", "/sbin/ifup"].into_iter().find(|path| Path::new(path).exists());
        let Some(ifup) = ifup else {
            return crate::testing::not_looked_at("ifupdown", true);
        };
        let dir = tempfile::tempdir().unwrap();
        let (map, file) = (dir.path().join("map"), dir.path().join("interfaces"));
        fs::write(&map, MAP).unwrap();
        fs::set_permissions(&map, fs::Permissions::from_mode(0o755)).unwrap();
        let own =
            interfaces(r#"{"mac":"00:00:00:00:00:00","addresses":["10.7.3.21/24"],"gateways":["10.7.3.1"]}"#);
        let other = interfaces(r#"{"mac":"52:54:00:12:34:99","addresses":["10.7.3.22/24"]}"#);
        let image = "allow-hotplug lo\niface lo inet static\n    address 192.0.2.1/24\n";
        // At the start, by a cable that is put in, and where the block is about another interface.
        for (own, how, expected) in [
            (&own, &["--all"][..], "ip addr add 10.7.3.21/255.255.255.0"),
            (&own, &["--allow=hotplug", "lo"], "ip addr add 10.7.3.21/255.255.255.0"),
            (&other, &["--allow=hotplug", "lo"], "ip addr add 192.0.2.1/255.255.255.0"),
        ] {
            fs::write(&file, with_block(image, &block(own, &map.display().to_string()))).unwrap();
            let state = dir.path().join("state");
            fs::create_dir_all(&state).unwrap();
            let mut command = Command::new(ifup);
            command.args(["--no-act", "--state-dir"]).arg(&state).arg("--interfaces").arg(&file).args(how);
            let done = command.output().unwrap();
            let said =
                String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
            let added: Vec<&str> = said.lines().filter(|line| line.starts_with("ip addr add")).collect();
            assert!(added.len() == 1 && added[0].starts_with(expected), "{how:?}: {said}");
        }
    }
}
