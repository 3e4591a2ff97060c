//! Addresses for NetworkManager: a connection for each interface, below `/run`, before all that the image has for it.
//!
//! Format: nm-settings-keyfile(5). It takes files that only root may read, and of several connections for an interface the one of the
//! highest priority.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;

use recovery_protocol::settings::InterfaceSettings;

/// Where connections go that are gone at the next start.
pub const CONNECTIONS: &str = "run/NetworkManager/system-connections";
/// As high as there is.
const PRIORITY: u16 = 999;

/// Whether the image below `root` has it.
pub fn is_used(root: &Path) -> bool {
    root.join("usr/sbin/NetworkManager").exists()
}

/// The file of a connection.
pub fn connection(number: usize, interface: &InterfaceSettings) -> String {
    let mut text = format!(
        "[connection]\nid=groundstate-{number}\ntype=ethernet\nautoconnect-priority={PRIORITY}\n\n[ethernet]\nmac-address={}\n",
        interface.mac
    );
    for (family, is_v4) in [("ipv4", true), ("ipv6", false)] {
        let own = |address: &IpAddr| address.is_ipv4() == is_v4;
        let addresses: Vec<_> = interface.addresses.iter().filter(|address| own(&address.address)).collect();
        // As elsewhere: none at all is DHCP, and what an IPv6 router says counts beside addresses of IPv4.
        let method = match (addresses.is_empty(), interface.addresses.is_empty() || !is_v4) {
            (false, _) => "manual",
            (true, true) => "auto",
            (true, false) => "disabled",
        };
        let _ = write!(text, "\n[{family}]\nmethod={method}\n");
        for (at, address) in addresses.iter().enumerate() {
            let _ = writeln!(text, "address{}={address}", at + 1);
        }
        if let Some(gateway) = interface.gateways.iter().find(|gateway| own(gateway)) {
            let _ = writeln!(text, "gateway={gateway}");
        }
        let dns: String =
            interface.dns.iter().filter(|server| own(server)).map(|ip| format!("{ip};")).collect();
        // It refuses name servers of a family that is off.
        if !dns.is_empty() && method != "disabled" {
            let _ = writeln!(text, "dns={dns}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    fn interface(text: &str) -> InterfaceSettings {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_connection_says_what_the_settings_say() {
        let own = interface(
            r#"{"mac":"52:54:00:12:34:56","addresses":["10.7.3.21/24"],"gateways":["10.7.3.1"],"dns":["10.7.0.1","fd00::1"]}"#,
        );
        let expected = "\
[connection]
id=groundstate-0
type=ethernet
autoconnect-priority=999

[ethernet]
mac-address=52:54:00:12:34:56

[ipv4]
method=manual
address1=10.7.3.21/24
gateway=10.7.3.1
dns=10.7.0.1;

[ipv6]
method=auto
dns=fd00::1;
";
        assert_eq!(connection(0, &own), expected);
        let by_dhcp = connection(1, &interface(r#"{"mac":"52:54:00:12:34:56"}"#));
        assert_eq!(by_dhcp.matches("method=auto").count(), 2, "{by_dhcp}");
        let v6 = connection(
            1,
            &interface(r#"{"mac":"52:54:00:12:34:56","addresses":["fd00::21/64"],"dns":["10.7.0.1"]}"#),
        );
        assert!(
            v6.contains("[ipv4]\nmethod=disabled\n\n[ipv6]\nmethod=manual\naddress1=fd00::21/64\n"),
            "{v6}"
        );
    }

    /// NetworkManager's own reader of such files, which refuses what it cannot use. Where it is installed: it is not asked for, since it
    /// takes a computer's network over.
    #[test]
    fn network_manager_reads_it() {
        let Ok(mut nmcli) = Command::new("nmcli")
            .args(["--offline", "connection", "modify", "connection.autoconnect", "yes"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
        else {
            return crate::testing::not_looked_at("nmcli", false);
        };
        let own = interface(
            r#"{"mac":"52:54:00:12:34:56","addresses":["10.7.3.21/24","10.7.4.1/24","fd00::21/64"],"gateways":["10.7.3.1","fe80::1"],"dns":["10.7.0.1","fd00::1"]}"#,
        );
        nmcli.stdin.take().unwrap().write_all(connection(0, &own).as_bytes()).unwrap();
        let said = nmcli.wait_with_output().unwrap();
        let text = String::from_utf8(said.stdout).unwrap();
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        for line in [
            "address1=10.7.3.21/24,10.7.3.1",
            "address2=10.7.4.1/24",
            "address1=fd00::21/64,fe80::1",
            "dns=fd00::1;",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }
}
