//! What the kernel's command line tells the recovery system: where the appliance is, and which card booted.
//!
//! | argument | meaning |
//! |---|---|
//! | `gs.appliance=<ip>:<port>` | the appliance's endpoint listener; without it: the DHCP server, port 8443 |
//! | `BOOTIF=01-<mac>` | the card that firmware booted from (PXELINUX's form) |
//!
//! Nothing here is trusted: the address only says whom to call; the key pinned in the recovery system says who may answer.

use std::net::SocketAddr;

use recovery_protocol::MacAddr;

/// Port of the appliance's endpoint listener when the command line does not say.
pub const APPLIANCE_PORT: u16 = 8443;

/// The arguments that concern us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KernelArgs {
    /// `gs.appliance`.
    pub appliance: Option<SocketAddr>,
    /// `BOOTIF`.
    pub boot_mac: Option<MacAddr>,
}

impl KernelArgs {
    /// Reads `/proc/cmdline`'s text; an argument that cannot be read counts as absent, the last of several counts.
    pub fn parse(line: &str) -> Self {
        let mut args = Self::default();
        for (name, value) in line.split_whitespace().filter_map(|word| word.split_once('=')) {
            match name {
                "gs.appliance" => args.appliance = appliance(value).or(args.appliance),
                "BOOTIF" => args.boot_mac = boot_mac(value).or(args.boot_mac),
                _ => {}
            }
        }
        args
    }
}

fn appliance(value: &str) -> Option<SocketAddr> {
    let alone = || value.parse().ok().map(|ip| SocketAddr::new(ip, APPLIANCE_PORT));
    value.parse().ok().or_else(alone)
}

/// `01-52-54-00-…` (hardware type first, PXELINUX) or a bare address (iPXE's `${mac}`).
fn boot_mac(value: &str) -> Option<MacAddr> {
    value.parse().ok().or_else(|| value.split_once(['-', ':'])?.1.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_arguments_are_read_and_broken_ones_are_absent() {
        let args =
            KernelArgs::parse("quiet gs.appliance=10.0.0.1:9443 BOOTIF=01-52-54-00-12-34-56 console=ttyS0\n");
        assert_eq!(args.appliance, Some("10.0.0.1:9443".parse().unwrap()));
        assert_eq!(args.boot_mac, Some(MacAddr([0x52, 0x54, 0, 0x12, 0x34, 0x56])));
        assert_eq!(
            KernelArgs::parse("gs.appliance=name:1 BOOTIF=nonsense gs.appliance"),
            KernelArgs::default()
        );
        assert_eq!(
            KernelArgs::parse("gs.appliance=10.0.0.1").appliance,
            Some("10.0.0.1:8443".parse().unwrap())
        );
        assert_eq!(KernelArgs::parse("BOOTIF=52:54:00:12:34:56").boot_mac, args.boot_mac);
    }
}
