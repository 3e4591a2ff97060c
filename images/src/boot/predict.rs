//! The prediction: which digests a boot of this EFI system partition will leave in the event log.

use ring::digest::{SHA256, digest};

use super::grub::{self, Entry};
use super::pe::{authenticode_sha256, is_signed};
use crate::disk::esp::Esp;
use crate::import::Warning;
use crate::manifest::header::{Measurement, Need};

/// Default loader on x86-64 (UEFI specification 2.10, section 3.5.1.1).
const LOADER: &str = "EFI/BOOT/BOOTX64.EFI";
/// Where shim looks for the next loader: beside itself.
const NEXT_LOADER: &str = "EFI/BOOT/grubx64.efi";
/// Where GRUB looks for its configuration: Debian's signed build has the second built in.
const CONFIGS: [&str; 4] =
    ["EFI/BOOT/grub.cfg", "EFI/debian/grub.cfg", "boot/grub/grub.cfg", "grub/grub.cfg"];
/// The agent as a check-in service writes this when it is installed into an image.
pub(crate) const AGENT_MARK: &str = "EFI/groundstate/agent.json";

/// What an EFI system partition will boot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prediction {
    /// Path of the first loader in UEFI spelling; empty when there is none.
    pub loader: String,
    /// All programs of the chain are signed.
    pub secure_boot: bool,
    /// Digests for the manifest.
    pub measurements: Vec<Measurement>,
    /// What GRUB will start, as its configuration says it.
    pub entry: Option<Entry>,
    /// What a person should know.
    pub warnings: Vec<Warning>,
}

/// Read the partition and predict.
pub fn predict(esp: &Esp<'_>) -> Prediction {
    let mut prediction = Prediction::default();
    if !esp.has(AGENT_MARK) {
        prediction.warnings.push(Warning::NoCheckIn);
    }
    if !prediction.program(esp, LOADER, Need::Always) {
        prediction.warnings.push(Warning::NotBootable);
        return prediction;
    }
    prediction.loader = uefi_path(LOADER);
    prediction.secure_boot = true;
    // Without a next loader the first one is all there is: a unified kernel image, or a boot manager of another kind.
    if esp.has(NEXT_LOADER) && prediction.program(esp, NEXT_LOADER, Need::Always) {
        prediction.grub(esp);
    }
    let programs = prediction.measurements.iter().filter(|m| m.pcr == 4);
    let signed = programs.map(|m| m.what.trim_start_matches("authenticode ").replace('\\', "/"));
    prediction.secure_boot =
        signed.into_iter().all(|path| esp.read(&path).is_ok_and(|file| is_signed(&file)));
    prediction
}

impl Prediction {
    fn grub(&mut self, esp: &Esp<'_>) {
        let Some((path, config)) = CONFIGS.iter().find_map(|path| Some((*path, esp.read(path).ok()?))) else {
            return self.warnings.push(Warning::NoBootConfiguration);
        };
        self.file(path, &config);
        let entry = grub::first_entry(&String::from_utf8_lossy(&config));
        let Some(entry) = entry.filter(|entry| !entry.has_variables()) else {
            return self.warnings.push(Warning::BootConfigurationUnclear { path: uefi_path(path) });
        };
        if !entry.by_firmware {
            self.warnings.push(Warning::NoEventLog { path: uefi_path(path) });
        }
        let line = entry.measured_command_line();
        self.add(8, sha256(line.as_bytes()), Need::Always, format!("kernel_cmdline: {line}"));
        // With Secure Boot on, GRUB hands the kernel to shim, which measures it as a program; without, only as a file.
        self.program(esp, &entry.kernel, Need::SecureBoot);
        for path in std::iter::once(&entry.kernel).chain(&entry.initrds) {
            match esp.read(path) {
                Ok(file) => self.file(path, &file),
                Err(_) => self.warnings.push(Warning::BootFileElsewhere { path: path.clone() }),
            }
        }
        self.entry = Some(entry);
    }

    fn program(&mut self, esp: &Esp<'_>, path: &str, need: Need) -> bool {
        let Ok(file) = esp.read(path) else { return false };
        match authenticode_sha256(&file) {
            Ok(digest) => {
                self.add(4, digest, need, format!("authenticode {}", uefi_path(path)));
                true
            }
            Err(error) => {
                self.warnings.push(Warning::BadProgram { path: uefi_path(path), error });
                false
            }
        }
    }

    fn file(&mut self, path: &str, bytes: &[u8]) {
        self.add(9, sha256(bytes), Need::Always, format!("file {}", uefi_path(path)));
    }

    fn add(&mut self, pcr: u8, digest: [u8; 32], need: Need, what: String) {
        let what: String = what.chars().filter(|c| !c.is_control()).take(250).collect();
        self.measurements.push(Measurement { pcr, digest, need, what });
    }
}

fn uefi_path(path: &str) -> String {
    format!("\\{}", path.trim_start_matches(['/', '\\']).replace('/', "\\"))
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}
