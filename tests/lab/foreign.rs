//! Boards of other processors: firmware, memory and a network adapter, nothing else.
//!
//! There is an agent for x86-64 only, so what such a board is led to ends at a boot loader. Its loaders are Debian's for that architecture, which this
//! computer cannot install beside its own ([`debs`]).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::cache::Cache;
use crate::debs;
use crate::qemu::NetBoot;

/// A kind of board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Board {
    /// 64-bit Arm: QEMU's `virt` with Debian's AAVMF.
    Arm64,
    /// 32-bit UEFI on a processor of 64 bits, as on many small panels.
    Ia32,
}

impl Board {
    /// Debian's name of the architecture.
    fn debian(self) -> &'static str {
        match self {
            Self::Arm64 => "arm64",
            Self::Ia32 => "i386",
        }
    }

    /// How loaders of this architecture are called: `shimaa64.efi`.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Arm64 => "aa64",
            Self::Ia32 => "ia32",
        }
    }

    /// The packages of the loaders, and the files in them with the names that firmware asks for.
    fn files(self) -> ([&'static str; 2], [(String, String); 2]) {
        let (suffix, grub, packages) = match self {
            Self::Arm64 => ("aa64", "arm64-efi-signed", ["shim-signed", "grub-efi-arm64-signed"]),
            Self::Ia32 => ("ia32", "i386-efi-signed", ["shim-signed", "grub-efi-ia32-signed"]),
        };
        let shim = format!("shim{suffix}.efi");
        let files = [
            (format!("usr/lib/shim/{shim}.signed"), shim),
            (format!("usr/lib/grub/{grub}/grubnet{suffix}.efi.signed"), format!("grub{suffix}.efi")),
        ];
        (packages, files)
    }

    /// shim and GRUB of this architecture, from the cache or through apt, with the names that firmware asks for.
    ///
    /// # Errors
    /// When apt cannot fetch them.
    pub fn loaders(self, cache: &Cache) -> Result<[(PathBuf, String); 2]> {
        let (packages, files) = self.files();
        let root = debs::unpacked(cache, &packages, Some(self.debian()))?;
        Ok(files.map(|(from, name)| (root.join(from), name)))
    }

    /// QEMU with this board, its serial line on standard output, its adapter on `tap`; what it writes goes into `dir`.
    ///
    /// # Errors
    /// When the firmware is not installed.
    pub fn power_on(self, dir: &Path, tap: &str, mac: &str, netboot: NetBoot) -> Result<Command> {
        let (program, code, vars, more): (_, _, _, &[&str]) = match self {
            Self::Arm64 => (
                "qemu-system-aarch64",
                "/usr/share/AAVMF/AAVMF_CODE.fd",
                "/usr/share/AAVMF/AAVMF_VARS.fd",
                &["-machine", "virt", "-cpu", "cortex-a57"],
            ),
            Self::Ia32 => (
                "qemu-system-x86_64",
                "/usr/share/OVMF/OVMF32_CODE_4M.secboot.fd",
                "/usr/share/OVMF/OVMF32_VARS_4M.fd",
                &[
                    "-machine",
                    "q35,graphics=off,smm=on",
                    "-cpu",
                    "max",
                    "-global",
                    "driver=cfi.pflash01,property=secure,value=on",
                ],
            ),
        };
        let own = dir.join(format!("vars-{}.fd", self.suffix()));
        fs::copy(vars, &own).with_context(|| format!("no firmware at {vars}: install its package"))?;
        let mut qemu = Command::new(program);
        qemu.args(more).args(["-accel", "tcg", "-m", "512", "-nodefaults", "-display", "none"]);
        qemu.args(["-chardev", "stdio,id=serial,signal=off", "-serial", "chardev:serial"]);
        qemu.args(["-drive", &format!("if=pflash,unit=0,format=raw,readonly=on,file={code}")]);
        qemu.args(["-drive", &format!("if=pflash,unit=1,format=raw,file={}", own.display())]);
        qemu.args(["-netdev", &format!("tap,id=lan,ifname={tap},script=no,downscript=no")]);
        // The firmware's own driver: the adapter's ROM is for x86.
        qemu.args(["-device", &format!("virtio-net-pci,romfile=,netdev=lan,mac={mac}")]);
        qemu.args(["-device", "virtio-rng-pci"]);
        for protocol in netboot.mute() {
            qemu.args(["-fw_cfg", &format!("name=opt/org.tianocore/{protocol},string=n")]);
        }
        qemu.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(qemu)
    }
}
