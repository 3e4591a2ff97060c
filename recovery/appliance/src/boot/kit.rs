//! The boot kit on disk: read whole, checked against its own table of contents, handed to the boot layer.
//!
//! It must never: serve a file that `kit.json` does not list, or one whose bytes are not those it lists.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use pxe::{
    Artefact, Artefacts,
    dhcp::loader::Loaders,
    script::{KernelArgs, RecoverySystem},
};
use recovery_protocol::kit::BootKit;
use ring::digest;

use crate::power::media::Shelf;

/// Why a boot kit cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum KitError {
    /// A file cannot be read.
    #[error(
        "cannot read {path}: {why}; build the boot kit with `groundstate-bootkit build`, or correct boot_kit_dir"
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        why: String,
    },
    /// The table of contents is not one of ours.
    #[error("{path} is not a boot kit of format {}: {why}; build the boot kit again", BootKit::FORMAT)]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A file is not what the table of contents says.
    #[error("{path} is not the file that kit.json lists; the boot kit is damaged, build it again")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The boot layer will not have it.
    #[error("the boot kit cannot be served: {0}")]
    Unfit(String),
}

/// A checked boot kit.
#[derive(Debug, Clone)]
pub struct Kit {
    /// Its table of contents: what booting it measures.
    pub contents: BootKit,
    files: Vec<(String, Bytes, String)>,
}

/// Shim for UEFI HTTP Boot, where the kit is signed.
const HTTP_SHIM: &str = "signed/shimx64.efi";
/// What shim asks for beside itself: here the signed unified kernel image.
pub const HTTP_SECOND: &str = "signed/grubx64.efi";

impl Kit {
    /// The first files of the chains that this kit has.
    #[must_use]
    pub fn loaders(&self) -> Loaders {
        match self.contents.signer {
            Some(_) => Loaders::debian().with_http_shim(HTTP_SHIM),
            None => Loaders::debian(),
        }
    }

    /// SHA-256 of the certificate by which it is signed, lower-case hex; `None` where it is not.
    #[must_use]
    pub fn signer(&self) -> Option<&str> {
        self.contents.signer.as_ref().map(|signer| signer.certificate_sha256.as_str())
    }

    /// The recovery system as a CD, where the kit holds one, and its SHA-256.
    #[must_use]
    pub fn medium(&self) -> Option<(Bytes, String)> {
        let (_, bytes, sha256) = self.files.iter().find(|(name, ..)| name == BootKit::MEDIUM)?;
        Some((bytes.clone(), sha256.clone()))
    }

    /// From where BMCs fetch it.
    #[must_use]
    pub fn shelf(&self, interfaces: &[pxe::Interface], port: u16) -> Option<Shelf> {
        self.medium()?;
        Some(Shelf { addresses: interfaces.iter().map(|interface| interface.addr).collect(), port })
    }

    /// Read and check a boot kit directory. Blocking.
    ///
    /// # Errors
    /// [`KitError`] names the file.
    pub fn read(dir: &Path) -> Result<Self, KitError> {
        let read = |name: &str| {
            let path = dir.join(name);
            std::fs::read(&path).map_err(|e| KitError::Unreadable { path, why: e.to_string() })
        };
        let format = |why: String| KitError::Format { path: dir.join(BootKit::FILE_NAME), why };
        let contents: BootKit =
            serde_json::from_slice(&read(BootKit::FILE_NAME)?).map_err(|e| format(e.to_string()))?;
        if contents.format != BootKit::FORMAT {
            return Err(format(format!("it says format {}", contents.format)));
        }
        let mut files = Vec::new();
        for (name, listed) in &contents.files {
            let bytes = read(name)?;
            if hex::encode(digest::digest(&digest::SHA256, &bytes)) != listed.sha256 {
                return Err(KitError::Damaged { path: dir.join(name) });
            }
            files.push((name.clone(), Bytes::from(bytes), listed.sha256.clone()));
        }
        Ok(Self { contents, files })
    }

    /// The files, with the scripts that lead a loader to the recovery system.
    ///
    /// # Errors
    /// [`KitError::Unfit`].
    pub fn artefacts(
        &self,
        agent_port: u16,
        http_port: u16,
        kernel_args: &str,
    ) -> Result<Artefacts, KitError> {
        let mut table = Artefacts::new();
        // The CD is for BMCs, who hold no ticket of their own.
        for (name, bytes, sha256) in self.files.iter().filter(|(name, ..)| name != BootKit::MEDIUM) {
            let artefact =
                Artefact::fixed(name, bytes.clone(), sha256).map_err(|e| KitError::Unfit(e.to_string()))?;
            let alias = match name.as_str() {
                BootKit::SHIM_EFI if self.contents.signer.is_some() => Some(HTTP_SHIM),
                BootKit::UKI if self.contents.signer.is_some() => Some(HTTP_SECOND),
                _ => None,
            };
            if let Some(alias) = alias {
                table.insert(artefact.alias(alias).map_err(|e| KitError::Unfit(e.to_string()))?);
            }
            table.insert(artefact);
        }
        let args =
            KernelArgs::new(kernel_args.split_whitespace()).map_err(|e| KitError::Unfit(e.to_string()))?;
        let unified = self.contents.files.contains_key(BootKit::UKI).then(|| BootKit::UKI.to_owned());
        let system = RecoverySystem {
            kernel: BootKit::KERNEL.to_owned(),
            initrd: BootKit::INITRD.to_owned(),
            unified,
            agent_port,
            args,
        };
        pxe::script::install(&mut table, system, http_port).map_err(|e| KitError::Unfit(e.to_string()))?;
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kit(dir: &Path) {
        let sha256 = hex::encode(digest::digest(&digest::SHA256, b"kernel"));
        std::fs::write(dir.join("vmlinuz"), b"kernel").unwrap();
        std::fs::write(dir.join("initrd.img"), b"kernel").unwrap();
        let file = serde_json::json!({ "size_bytes": 6, "sha256": sha256, "authenticode_sha256": null });
        let contents = serde_json::json!({
            "format": 1, "agent_version": "0", "kernel_release": "6", "command_line": "",
            "files": { "vmlinuz": file, "initrd.img": file }, "chains": {},
        });
        std::fs::write(dir.join("kit.json"), contents.to_string()).unwrap();
    }

    #[test]
    fn a_kit_is_read_whole_and_gets_its_scripts() {
        let dir = tempfile::tempdir().unwrap();
        kit(dir.path());
        let table = Kit::read(dir.path()).unwrap().artefacts(8443, 80, "console=ttyS0").unwrap();
        for name in ["vmlinuz", "initrd.img", "boot.ipxe", "grub/grub.cfg"] {
            assert!(table.contains(name), "{name}");
        }
    }

    #[test]
    fn only_a_signed_kit_is_served_behind_shim_over_http() {
        let dir = tempfile::tempdir().unwrap();
        kit(dir.path());
        let text = std::fs::read_to_string(dir.path().join("kit.json")).unwrap();
        let mut contents: serde_json::Value = serde_json::from_str(&text).unwrap();
        for name in [BootKit::SHIM_EFI, BootKit::UKI] {
            std::fs::write(dir.path().join(name), b"kernel").unwrap();
            contents["files"][name] = contents["files"]["vmlinuz"].clone();
        }
        let served = |contents: &serde_json::Value| {
            std::fs::write(dir.path().join("kit.json"), contents.to_string()).unwrap();
            let kit = Kit::read(dir.path()).unwrap();
            let table = kit.artefacts(8443, 80, "").unwrap();
            let named = kit.loaders().names().any(|name| name == HTTP_SHIM);
            (named, table.contains(HTTP_SHIM), table.contains(HTTP_SECOND))
        };
        assert_eq!(served(&contents), (false, false, false));
        contents["signer"] = serde_json::json!({ "certificate_sha256": "ab", "subject": "CN=lab" });
        assert_eq!(served(&contents), (true, true, true));
    }

    #[test]
    fn a_damaged_missing_or_foreign_file_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Kit::read(dir.path()), Err(KitError::Unreadable { .. })));
        kit(dir.path());
        std::fs::write(dir.path().join("vmlinuz"), b"kernal").unwrap();
        assert!(
            matches!(Kit::read(dir.path()), Err(KitError::Damaged { path }) if path.ends_with("vmlinuz"))
        );
        std::fs::write(dir.path().join("kit.json"), b"{}").unwrap();
        assert!(matches!(Kit::read(dir.path()), Err(KitError::Format { .. })));
    }
}
