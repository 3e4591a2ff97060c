//! `kit.json`: what a boot kit holds and what booting it measures. Written by the kit's builder, read by the appliance.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A boot kit's table of contents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootKit {
    /// [`BootKit::FORMAT`].
    pub format: u32,
    /// Version of the agent inside.
    pub agent_version: String,
    /// Kernel release, e.g. `6.1.0-56-amd64`.
    pub kernel_release: String,
    /// Kernel command line inside the unified kernel image.
    pub command_line: String,
    /// The files beside `kit.json`, by name.
    pub files: BTreeMap<String, KitFile>,
    /// What the TPM is told, in order, by chain: [`BootKit::IPXE`], [`BootKit::HTTP`], [`BootKit::SHIM`].
    pub chains: BTreeMap<String, Vec<Measured>>,
    /// Whose key signed [`BootKit::UKI`] for Secure Boot; `None` where nobody's did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<KitSigner>,
}

impl BootKit {
    /// The format this crate writes and reads.
    pub const FORMAT: u32 = 1;
    /// File name within the kit.
    pub const FILE_NAME: &'static str = "kit.json";
    /// Debian's signed kernel.
    pub const KERNEL: &'static str = "vmlinuz";
    /// The initrd: trust, then agent and drivers.
    pub const INITRD: &'static str = "initrd.img";
    /// The unified kernel image.
    pub const UKI: &'static str = "recovery.efi";
    /// The certificate that [`BootKit::signer`] names, DER, where the kit is signed: what firmware enrols.
    pub const CERTIFICATE: &'static str = "db.cer";
    /// The recovery system as a CD for a BMC's virtual media, where one was made.
    pub const MEDIUM: &'static str = "recovery.iso";
    /// iPXE for UEFI, on the firmware's own network driver.
    pub const IPXE_EFI: &'static str = "snponly.efi";
    /// iPXE for BIOS.
    pub const IPXE_BIOS: &'static str = "undionly.kpxe";
    /// Microsoft-signed shim.
    pub const SHIM_EFI: &'static str = "shimx64.efi";
    /// Debian-signed GRUB for network boot; shim asks for this name.
    pub const GRUB_EFI: &'static str = "grubx64.efi";
    /// Chain: firmware, iPXE, unified kernel image. The arguments that iPXE's script hands on (PCR 12, and the first event of
    /// PCR 9) belong to whoever serves the script and are not listed.
    pub const IPXE: &'static str = "ipxe";
    /// Chain: firmware (UEFI HTTP Boot), unified kernel image.
    pub const HTTP: &'static str = "http";
    /// Chain: firmware (UEFI HTTP Boot, or a stick), shim, unified kernel image as its second stage.
    pub const SHIM_UKI: &'static str = "shim-uki";
    /// Chain: firmware, shim, GRUB, kernel and initrd, with Secure Boot. What GRUB measures of its own configuration and of
    /// the command line (PCR 8 and the first event of PCR 9) belongs to whoever serves `grub.cfg` and is not listed.
    pub const SHIM: &'static str = "shim";
}

/// The key that signed a kit's unified kernel image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KitSigner {
    /// SHA-256 of its certificate (DER), lower-case hex: by it the entry in a firmware's `db` is recognised.
    pub certificate_sha256: String,
    /// The certificate's subject, for people.
    pub subject: String,
}

/// One file of a kit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KitFile {
    /// Length in bytes.
    pub size_bytes: u64,
    /// SHA-256 of the file, lower-case hex.
    pub sha256: String,
    /// Authenticode SHA-256, lower-case hex, where it is a PE file: what firmware measures into PCR 4.
    pub authenticode_sha256: Option<String>,
}

/// One event that a boot of this kit adds to the SHA-256 bank.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// PCR index.
    pub pcr: u8,
    /// The event's digest, lower-case hex.
    pub sha256: String,
    /// What it is of, for people.
    pub what: String,
}
