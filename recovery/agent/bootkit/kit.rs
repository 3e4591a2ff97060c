//! What a boot kit is made of, and its table of contents.
//!
//! [`Input`] is read, [`build`] is a pure function of it, [`Kit::write`] writes: the same input gives the same bytes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use images::boot::authenticode_sha256;
use recovery_protocol::kit::{BootKit, KitFile, KitSigner, Measured};
use recovery_protocol::trust::RecoveryTrust;
use ring::digest::{SHA256, digest};

use crate::authenticode;
use crate::boot_key::Signer;
use crate::cpio::Archive;
use crate::packages::Packages;
use crate::{modules, uki};

/// Compression level of the base; slow once, small on each boot.
const ZSTD_LEVEL: i32 = 19;

/// Signed or shipped boot files: name in the kit, package, path in the package.
const BOOT_FILES: [(&str, &str, &str); 4] = [
    (BootKit::IPXE_EFI, "ipxe", "usr/lib/ipxe/snponly.efi"),
    (BootKit::IPXE_BIOS, "ipxe", "usr/lib/ipxe/undionly.kpxe"),
    (BootKit::SHIM_EFI, "shim-signed", "usr/lib/shim/shimx64.efi.signed"),
    (BootKit::GRUB_EFI, "grub-efi-amd64-signed", "usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed"),
];
const STUB: (&str, &str) = ("systemd-boot-efi", "usr/lib/systemd/boot/efi/linuxx64.efi.stub");

/// What the kernel's EFI stub measures first.
const LOAD_OPTIONS: &str = "kernel: load options";

/// Everything a kit is made from, in memory.
#[derive(Debug, Clone)]
pub struct Input {
    kernel_release: String,
    kernel: Vec<u8>,
    /// Path in the initrd → content.
    drivers: BTreeMap<String, Vec<u8>>,
    agent: Vec<u8>,
    trust: Vec<u8>,
    stub: Vec<u8>,
    boot_files: BTreeMap<String, Vec<u8>>,
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("reading {}", path.display()))
}

impl Input {
    /// Reads the parts; `kernel_root` holds `boot/` and `lib/modules/` of one kernel package.
    pub fn read(packages: &Packages, kernel_root: &Path, agent: &Path, trust: &Path) -> Result<Self> {
        let kernel_release = release(kernel_root)?;
        let modules_dir = kernel_root.join("lib/modules").join(&kernel_release);
        let trust_text = read(trust)?;
        serde_json::from_slice::<RecoveryTrust>(&trust_text)
            .with_context(|| format!("{} is not a trust.json; take the appliance's", trust.display()))?;
        let agent_bytes = read(agent)?;
        ensure!(agent_bytes.starts_with(b"\x7fELF"), "{} is not a program", agent.display());
        ensure!(
            !needs_interpreter(&agent_bytes),
            "{} is not static; build it with -C target-feature=+crt-static and --target",
            agent.display()
        );
        let boot_files = BOOT_FILES
            .iter()
            .map(|(name, package, path)| Ok(((*name).to_owned(), read(&packages.file(package, path)?)?)));
        Ok(Self {
            kernel: read(&kernel_root.join("boot").join(format!("vmlinuz-{kernel_release}")))?,
            drivers: drivers(&modules_dir, &kernel_release)?,
            agent: agent_bytes,
            trust: trust_text,
            stub: read(&packages.file(STUB.0, STUB.1)?)?,
            boot_files: boot_files.collect::<Result<_>>()?,
            kernel_release,
        })
    }
}

/// The only release below `lib/modules`.
fn release(kernel_root: &Path) -> Result<String> {
    let dir = kernel_root.join("lib/modules");
    let entries = fs::read_dir(&dir).with_context(|| format!("reading {}", dir.display()))?;
    let names: Vec<String> =
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    match names.as_slice() {
        [one] => Ok(one.clone()),
        _ => bail!("{} holds {} kernels; expected one", dir.display(), names.len()),
    }
}

fn drivers(modules_dir: &Path, release: &str) -> Result<BTreeMap<String, Vec<u8>>> {
    let selection = modules::select(modules_dir)?;
    if !selection.missing.is_empty() {
        eprintln!("not in this kernel (built in or left out): {}", selection.missing.join(" "));
    }
    let below = |path: &str| format!("lib/modules/{release}/{path}");
    let mut files: BTreeMap<String, Vec<u8>> =
        selection.files.iter().map(|(path, file)| Ok((below(path), read(file)?))).collect::<Result<_>>()?;
    files.insert(below("modules.dep"), selection.dep.into_bytes());
    files.insert(below("modules.alias"), selection.alias.into_bytes());
    Ok(files)
}

/// A dynamic program names its interpreter with a `PT_INTERP` program header (ELF specification).
fn needs_interpreter(elf: &[u8]) -> bool {
    const PT_INTERP: u32 = 3;
    let number = |at: usize, len: usize| {
        let bytes = elf.get(at..at + len)?;
        Some(bytes.iter().rev().fold(0_usize, |value, &byte| value << 8 | usize::from(byte)))
    };
    let (Some(table), Some(len), Some(count)) = (number(0x20, 8), number(0x36, 2), number(0x38, 2)) else {
        return false;
    };
    (0..count).any(|index| number(table.saturating_add(index * len), 4) == Some(PT_INTERP as usize))
}

/// The kernel's arguments in the unified kernel image.
pub fn command_line(appliance: Option<SocketAddr>, consoles: &[String]) -> String {
    let mut line = vec!["quiet".to_owned()];
    line.extend(consoles.iter().map(|console| format!("console={console}")));
    line.extend(appliance.map(|address| format!("gs.appliance={address}")));
    // A kernel panic reboots; nobody presses a key on a plant floor.
    line.push("panic=60".to_owned());
    line.join(" ")
}

/// A kit in memory.
#[derive(Debug)]
pub struct Kit {
    contents: BootKit,
    files: BTreeMap<String, Vec<u8>>,
}

/// Builds the kit, its unified kernel image signed by `signer` where there is one. Pure: no clock, no environment.
pub fn build(input: &Input, command_line: &str, signer: Option<&Signer>) -> Result<Kit> {
    without_own_medium(input)?;
    let initrd = initrd(input)?;
    let os_release = format!(
        "ID=groundstate\nNAME=\"Groundstate recovery system\"\nVERSION_ID={}\n",
        env!("CARGO_PKG_VERSION")
    );
    let sections: [(&str, &[u8]); 4] = [
        (".osrel", os_release.as_bytes()),
        (".cmdline", command_line.as_bytes()),
        (".linux", &input.kernel),
        (".initrd", &initrd),
    ];
    let uki = uki::build(&input.stub, &sections)?;
    let uki = match signer {
        Some(signer) => authenticode::sign(&uki, signer).context("signing the unified kernel image")?,
        None => uki,
    };
    let uki_measured = measured_by_uki(&uki, &sections, command_line, &initrd)?;
    let mut files = input.boot_files.clone();
    // iPXE hands its script's arguments on, which take the place of the embedded command line.
    let from_ipxe = uki_measured.iter().filter(|measured| measured.what != LOAD_OPTIONS).cloned();
    let ipxe = std::iter::once(started(BootKit::IPXE_EFI, &files[BootKit::IPXE_EFI])?).chain(from_ipxe);
    let shim = std::iter::once(started(BootKit::SHIM_EFI, &files[BootKit::SHIM_EFI])?);
    let chains = BTreeMap::from([
        (BootKit::SHIM_UKI.to_owned(), shim.chain(uki_measured.iter().cloned()).collect()),
        (BootKit::IPXE.to_owned(), ipxe.collect()),
        (BootKit::HTTP.to_owned(), uki_measured),
        (BootKit::SHIM.to_owned(), measured_by_shim_chain(input, &initrd)?),
    ]);
    files.insert(BootKit::UKI.to_owned(), uki);
    if let Some(signer) = signer {
        files.insert(BootKit::CERTIFICATE.to_owned(), signer.certificate().to_vec());
    }
    files.insert(BootKit::KERNEL.to_owned(), input.kernel.clone());
    files.insert(BootKit::INITRD.to_owned(), initrd);
    let contents = BootKit {
        format: BootKit::FORMAT,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel_release: input.kernel_release.clone(),
        command_line: command_line.to_owned(),
        files: files.iter().map(|(name, content)| (name.clone(), kit_file(content))).collect(),
        chains,
        signer: signer.map(|signer| KitSigner {
            certificate_sha256: sha256(signer.certificate()),
            subject: signer.subject().to_owned(),
        }),
    };
    Ok(Kit { contents, files })
}

/// Drivers that a recovery system must not have: with them the stick or CD that it was started from would be a disk of the endpoint.
const NEVER: [&str; 3] = ["usb-storage", "uas", "sr_mod"];

/// Refuses drivers of [`NEVER`], also those that come along with others.
fn without_own_medium(input: &Input) -> Result<()> {
    let name = |path: &str| {
        path.rsplit('/').next().and_then(|file| file.split('.').next()).map(|n| n.replace('-', "_"))
    };
    let never = |path: &&String| NEVER.iter().any(|never| name(path) == Some(never.replace('-', "_")));
    match input.drivers.keys().find(never) {
        Some(path) => bail!(
            "{path} would make a recovery stick a disk of the endpoint; take it out of the table of drivers"
        ),
        None => Ok(()),
    }
}

/// First the trust, plain and short; then the base, compressed and the same for every appliance. The kernel unpacks
/// segments in order (`Documentation/driver-api/early-userspace/buffer-format.rst`).
fn initrd(input: &Input) -> Result<Vec<u8>> {
    let mut trust = Archive::default();
    trust.file("etc/groundstate/trust.json", false, input.trust.clone());
    let mut base = Archive::default();
    base.character_device("dev/console", 5, 1);
    base.character_device("dev/null", 1, 3);
    ["proc", "run", "sys", "tmp"].iter().for_each(|dir| base.directory(dir));
    base.file("init", true, input.agent.clone());
    input.drivers.iter().for_each(|(path, content)| base.file(path, false, content.clone()));
    let base = zstd::bulk::compress(&base.to_bytes(), ZSTD_LEVEL).context("compressing the initrd")?;
    Ok([trust.to_bytes(), base].concat())
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(digest(&SHA256, bytes))
}

fn kit_file(content: &[u8]) -> KitFile {
    KitFile {
        size_bytes: content.len() as u64,
        sha256: sha256(content),
        authenticode_sha256: authenticode_sha256(content).ok().map(hex::encode),
    }
}

/// PCR 4 for a PE file that is started.
fn started(name: &str, pe: &[u8]) -> Result<Measured> {
    let digest = authenticode_sha256(pe).with_context(|| format!("{name} cannot be started by firmware"))?;
    Ok(Measured { pcr: 4, sha256: hex::encode(digest), what: format!("{name} started") })
}

/// What systemd's stub and the kernel's EFI stub measure (systemd-stub(7); kernel `drivers/firmware/efi/libstub`).
fn measured_by_uki(
    uki: &[u8],
    sections: &[(&str, &[u8])],
    command_line: &str,
    initrd: &[u8],
) -> Result<Vec<Measured>> {
    let mut measured = vec![started(BootKit::UKI, uki)?];
    // The stub's own order, not that of the file.
    for wanted in [".linux", ".osrel", ".cmdline", ".initrd"] {
        let (name, content) =
            sections.iter().find(|(name, _)| *name == wanted).context("a section is missing")?;
        let what = format!("section {name}");
        measured.push(Measured {
            pcr: 11,
            sha256: sha256(format!("{name}\0").as_bytes()),
            what: format!("{what}: name"),
        });
        measured.push(Measured { pcr: 11, sha256: sha256(content), what: format!("{what}: content") });
        if *name == ".linux" {
            measured.insert(1, started(BootKit::KERNEL, content)?);
        }
    }
    let options: Vec<u8> = command_line.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    measured.push(Measured { pcr: 9, sha256: sha256(&options), what: LOAD_OPTIONS.to_owned() });
    measured.push(Measured { pcr: 9, sha256: sha256(initrd), what: "kernel: initrd".to_owned() });
    Ok(measured)
}

/// With Secure Boot the kernel is checked by shim twice and so measured twice; GRUB measures each file it reads.
fn measured_by_shim_chain(input: &Input, initrd: &[u8]) -> Result<Vec<Measured>> {
    let kernel = started(BootKit::KERNEL, &input.kernel)?;
    let read = |name: &str, content: &[u8]| Measured {
        pcr: 9,
        sha256: sha256(content),
        what: format!("{name} read by GRUB"),
    };
    Ok(vec![
        started(BootKit::SHIM_EFI, &input.boot_files[BootKit::SHIM_EFI])?,
        started(BootKit::GRUB_EFI, &input.boot_files[BootKit::GRUB_EFI])?,
        kernel.clone(),
        kernel,
        read(BootKit::KERNEL, &input.kernel),
        read(BootKit::INITRD, initrd),
    ])
}

impl Kit {
    /// Writes the files, `kit.json` last, so that a directory with it is whole.
    pub fn write(&self, out: &Path) -> Result<()> {
        fs::create_dir_all(out).with_context(|| format!("creating {}", out.display()))?;
        for (name, content) in &self.files {
            put(&out.join(name), content)?;
        }
        let mut contents = serde_json::to_vec_pretty(&self.contents)?;
        contents.push(b'\n');
        put(&out.join(BootKit::FILE_NAME), &contents)
    }

    /// Names and sizes, for a person.
    pub fn table(&self) -> String {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let mut table = String::new();
        for (name, file) in &self.contents.files {
            let _ = writeln!(table, "{name:<16} {:>8.2} MiB  {}", mib(file.size_bytes), &file.sha256[..16]);
        }
        let size = |name: &str| self.contents.files.get(name).map_or(0, |file| file.size_bytes);
        let both = mib(size(BootKit::KERNEL) + size(BootKit::INITRD));
        let _ = writeln!(table, "kernel + initrd  {both:>8.2} MiB  (aim: under 32)");
        let _ = match &self.contents.signer {
            Some(signer) => writeln!(
                table,
                "signed by        {}, certificate {}",
                signer.subject,
                &signer.certificate_sha256[..16]
            ),
            None => writeln!(
                table,
                "not signed       Secure Boot refuses {}; name a key with --key",
                BootKit::UKI
            ),
        };
        table
    }
}

/// Writes a file of a kit whole, or not at all.
pub fn put(path: &Path, content: &[u8]) -> Result<()> {
    let part = path.with_extension("part");
    fs::write(&part, content).with_context(|| format!("writing {}", part.display()))?;
    fs::rename(&part, path).with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A PE32+ file with room for sections, then `tail`.
    fn pe(tail: &[u8]) -> Vec<u8> {
        let mut pe = vec![0; 0x400];
        pe[..2].copy_from_slice(b"MZ");
        pe[0x3c] = 0x40;
        pe[0x40..0x44].copy_from_slice(b"PE\0\0");
        let optional = 0x44 + 20;
        pe[0x44 + 16] = 0xf0;
        pe[optional..optional + 2].copy_from_slice(&0x20b_u16.to_le_bytes());
        for (at, value) in [(32, 0x200_u32), (36, 0x200), (60, 0x400), (108, 16)] {
            pe[optional + at..optional + at + 4].copy_from_slice(&value.to_le_bytes());
        }
        [&pe, tail].concat()
    }

    fn input() -> Input {
        let boot_files =
            BOOT_FILES.iter().map(|(name, ..)| ((*name).to_owned(), pe(name.as_bytes()))).collect();
        Input {
            kernel_release: "6.1.0".to_owned(),
            kernel: pe(b"kernel"),
            drivers: BTreeMap::from([("lib/modules/6.1.0/modules.dep".to_owned(), Vec::new())]),
            agent: b"\x7fELF".to_vec(),
            trust: b"{}".to_vec(),
            stub: pe(b""),
            boot_files,
        }
    }

    #[test]
    fn the_same_input_gives_the_same_bytes() {
        let line = command_line(Some("10.0.0.1:8443".parse().unwrap()), &["ttyS0".to_owned()]);
        assert_eq!(line, "quiet console=ttyS0 gs.appliance=10.0.0.1:8443 panic=60");
        let (one, two) = (build(&input(), &line, None).unwrap(), build(&input(), &line, None).unwrap());
        assert_eq!(one.files, two.files);
        assert_eq!(one.contents, two.contents);
    }

    #[test]
    fn a_driver_for_the_own_medium_is_refused() {
        for path in ["usb/storage/usb-storage.ko", "usb/storage/uas.ko.xz", "scsi/sr_mod.ko"] {
            let mut input = input();
            input.drivers.insert(format!("lib/modules/6.1.0/kernel/drivers/{path}"), b"elf".to_vec());
            let refused = build(&input, "quiet", None).unwrap_err();
            assert!(refused.to_string().contains(path), "{refused}");
        }
    }

    #[test]
    fn another_appliance_changes_the_trust_segment_and_not_the_base() {
        let mut other = input();
        other.trust = b"{\"x\":1}".to_vec();
        let (one, two) = (initrd(&input()).unwrap(), initrd(&other).unwrap());
        assert_ne!(one, two);
        let magic = [0x28, 0xb5, 0x2f, 0xfd];
        let base = |initrd: &[u8]| initrd[initrd.windows(4).position(|w| w == magic).unwrap()..].to_vec();
        assert_eq!(base(&one), base(&two));
    }

    #[test]
    fn written_files_are_those_of_the_table_of_contents() {
        let dir = tempfile::tempdir().unwrap();
        build(&input(), "quiet", None).unwrap().write(dir.path()).unwrap();
        let contents: BootKit =
            serde_json::from_slice(&fs::read(dir.path().join("kit.json")).unwrap()).unwrap();
        assert_eq!(contents.files.len(), 7);
        for (name, file) in &contents.files {
            assert_eq!(sha256(&fs::read(dir.path().join(name)).unwrap()), file.sha256, "{name}");
        }
        let pcrs: Vec<u8> = contents.chains[BootKit::IPXE].iter().map(|measured| measured.pcr).collect();
        assert_eq!(pcrs, [4, 4, 4, 11, 11, 11, 11, 11, 11, 11, 11, 9]);
    }

    #[test]
    fn a_signed_kit_says_by_whom_and_measures_the_same() {
        let (_dir, signer) = crate::boot_key::tests::signer("plant-7: recovery systems");
        let (plain, signed) =
            (build(&input(), "quiet", None).unwrap(), build(&input(), "quiet", Some(&signer)).unwrap());
        assert_eq!(plain.contents.chains, signed.contents.chains);
        let uki = &signed.files[BootKit::UKI];
        assert!(images::boot::pe::is_signed(uki) && !images::boot::pe::is_signed(&plain.files[BootKit::UKI]));
        assert_eq!(signed.contents.files[BootKit::UKI], kit_file(uki));
        let by = signed.contents.signer.as_ref().unwrap();
        assert_eq!(by.certificate_sha256, sha256(signer.certificate()));
        assert_eq!(signed.files[BootKit::CERTIFICATE], signer.certificate());
        assert!(signed.table().contains("plant-7") && plain.table().contains("--key"));
    }

    #[test]
    fn a_dynamic_agent_is_told_apart() {
        let this_test = fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(needs_interpreter(&this_test));
        assert!(!needs_interpreter(b"\x7fELF"));
    }
}
