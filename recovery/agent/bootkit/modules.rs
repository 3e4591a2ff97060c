//! Which kernel modules go into the recovery system, and the two index files that its agent reads.
//!
//! [`WANTED`] is the whole policy: a table. What those modules need comes along (`depends` and `softdep pre` of their
//! `.modinfo`), as shipped and signed by Debian. The indices have the form of depmod(8), made here so that the builder
//! needs no tool of the host.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// Kernel module names by what they are for.
pub const WANTED: &[(&str, &[&str])] = &[
    (
        "virtual machines",
        &[
            "virtio_pci",
            "virtio_net",
            "virtio_blk",
            "virtio_scsi",
            "virtio_rng",
            "vmxnet3",
            "vmw_pvscsi",
            "hv_vmbus",
            "hv_netvsc",
            "hv_storvsc",
            "xen_netfront",
            "xen_blkfront",
        ],
    ),
    ("wired network, Intel", &["e1000", "e1000e", "igb", "igc", "ixgbe", "i40e", "dwmac_intel"]),
    ("wired network, Realtek", &["r8169", "8139cp", "8139too"]),
    ("wired network, Broadcom", &["tg3", "bnxt_en"]),
    ("wired network, others", &["atlantic", "alx", "atl1c", "sky2", "forcedeth", "ne2k_pci", "pcnet32"]),
    (
        "wired network over USB",
        &["r8152", "ax88179_178a", "asix", "cdc_ether", "cdc_ncm", "smsc95xx", "lan78xx"],
    ),
    (
        "PHYs that drivers ask for by name",
        &["realtek", "marvell", "broadcom", "intel_xway", "smsc", "micrel"],
    ),
    ("USB hosts", &["xhci_pci", "ehci_pci", "ohci_pci", "uhci_hcd"]),
    ("keyboards, for Ctrl+Alt+Del", &["usbhid", "hid_generic"]),
    ("NVMe", &["nvme", "vmd"]),
    (
        "SATA and SAS",
        &["ahci", "ata_piix", "ata_generic", "sd_mod", "mpt3sas", "megaraid_sas", "smartpqi", "aacraid"],
    ),
    ("parallel SCSI of virtual machines", &["mptspi", "sym53c8xx"]),
    ("eMMC and SD", &["mmc_block", "sdhci_pci", "sdhci_acpi"]),
    ("firmware variables", &["efivarfs"]),
];

/// Chosen modules and their indices.
#[derive(Debug)]
pub struct Selection {
    /// Path below `lib/modules/<release>` → file on this machine.
    pub files: BTreeMap<String, PathBuf>,
    /// Text of `modules.dep`.
    pub dep: String,
    /// Text of `modules.alias`.
    pub alias: String,
    /// Wanted names this kernel does not have (some are built in, some left out of the cloud kernel).
    pub missing: Vec<String>,
}

/// What a module says of itself.
#[derive(Debug, Default)]
struct Module {
    path: String,
    file: PathBuf,
    needs: Vec<String>,
    aliases: Vec<String>,
}

/// Selects from `modules_dir`, which is `lib/modules/<release>` of a Debian kernel package.
pub fn select(modules_dir: &Path) -> Result<Selection> {
    let available = find(modules_dir)?;
    let mut chosen: BTreeMap<String, Module> = BTreeMap::new();
    let mut missing = Vec::new();
    for name in WANTED.iter().flat_map(|(_, names)| *names) {
        match available.contains_key(*name) {
            true => choose(name, modules_dir, &available, &mut chosen)?,
            false => missing.push((*name).to_owned()),
        }
    }
    let (mut dep, mut alias) = (String::new(), String::new());
    for (name, module) in &chosen {
        let needs: Vec<&str> =
            needed_by(name, &chosen).into_iter().map(|need| chosen[need].path.as_str()).collect();
        dep += &format!("{}: {}\n", module.path, needs.join(" ")).replace(": \n", ":\n");
        module.aliases.iter().for_each(|glob| alias += &format!("alias {glob} {name}\n"));
    }
    let files = chosen.into_values().map(|module| (module.path, module.file)).collect();
    Ok(Selection { files, dep, alias, missing })
}

/// Module name → file, for each `.ko` below `kernel/`.
fn find(modules_dir: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    let mut open = vec![modules_dir.join("kernel")];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).with_context(|| format!("reading {}", dir.display()))? {
            let entry = entry?;
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if entry.file_type()?.is_dir() {
                open.push(path);
            } else if let Some(stem) = name.strip_suffix(".ko") {
                found.insert(stem.replace('-', "_"), path);
            }
        }
    }
    if found.is_empty() {
        bail!("{} holds no modules (.ko); is it lib/modules/<release> of Debian 12?", modules_dir.display());
    }
    Ok(found)
}

fn choose(
    name: &str,
    modules_dir: &Path,
    available: &BTreeMap<String, PathBuf>,
    chosen: &mut BTreeMap<String, Module>,
) -> Result<()> {
    let Some(file) = available.get(name).filter(|_| !chosen.contains_key(name)) else { return Ok(()) };
    let bytes = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    let info = modinfo(&bytes).with_context(|| format!("{} is not a kernel module", file.display()))?;
    let mut module = Module { file: file.clone(), ..Module::default() };
    module.path = file.strip_prefix(modules_dir)?.to_string_lossy().into_owned();
    for (key, value) in info {
        match key {
            "depends" => module.needs.extend(value.split(',').filter(|n| !n.is_empty()).map(underscored)),
            "softdep" => {
                let before = value.strip_prefix("pre:").and_then(|rest| rest.split("post:").next());
                module.needs.extend(before.unwrap_or("").split_whitespace().map(underscored));
            }
            "alias" if !value.contains(char::is_whitespace) => module.aliases.push(value.to_owned()),
            _ => {}
        }
    }
    // What is not a file is built in, or an alias that only modprobe would resolve.
    module.needs.retain(|need| available.contains_key(need));
    let needs = module.needs.clone();
    chosen.insert(name.to_owned(), module);
    needs.iter().try_for_each(|need| choose(need, modules_dir, available, chosen))
}

fn underscored(name: &str) -> String {
    name.replace('-', "_")
}

/// Everything `name` needs, nearest first, so that loading from the end backwards meets each need before its user.
fn needed_by<'a>(name: &str, chosen: &'a BTreeMap<String, Module>) -> Vec<&'a str> {
    let mut order: Vec<&str> = Vec::new();
    fn visit<'a>(
        name: &str,
        chosen: &'a BTreeMap<String, Module>,
        seen: &mut BTreeSet<&'a str>,
        order: &mut Vec<&'a str>,
    ) {
        for need in chosen.get(name).into_iter().flat_map(|module| &module.needs) {
            if seen.insert(need) {
                visit(need, chosen, seen, order);
                order.push(need);
            }
        }
    }
    visit(name, chosen, &mut BTreeSet::new(), &mut order);
    order.reverse();
    order
}

/// The `key=value` pairs of an ELF64 file's `.modinfo` section; `None` when it is not such a file.
fn modinfo(elf: &[u8]) -> Option<Vec<(&str, &str)>> {
    let u16_at = |at: usize| Some(usize::from(u16::from_le_bytes(elf.get(at..at + 2)?.try_into().ok()?)));
    let u32_at = |at: usize| Some(u32::from_le_bytes(elf.get(at..at + 4)?.try_into().ok()?) as usize);
    let u64_at = |at: usize| {
        usize::try_from(u64::from_le_bytes(elf.get(at..at.checked_add(8)?)?.try_into().ok()?)).ok()
    };
    if elf.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let (table, entry_len, count, names_at) = (u64_at(0x28)?, u16_at(0x3a)?, u16_at(0x3c)?, u16_at(0x3e)?);
    let section = |index: usize| {
        let at = table.checked_add(index.checked_mul(entry_len)?)?;
        let (offset, len) = (u64_at(at.checked_add(0x18)?)?, u64_at(at.checked_add(0x20)?)?);
        Some((u32_at(at)?, elf.get(offset..offset.checked_add(len)?)?))
    };
    let (_, names) = section(names_at)?;
    let (_, info) = (0..count)
        .filter_map(section)
        .find(|(name, _)| names.get(*name..).is_some_and(|rest| rest.starts_with(b".modinfo\0")))?;
    let lines = info.split(|&b| b == 0).filter_map(|line| std::str::from_utf8(line).ok()?.split_once('='));
    Some(lines.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest ELF64 file with a `.modinfo` section.
    fn module(info: &str) -> Vec<u8> {
        let names = b"\0.modinfo\0.shstrtab\0";
        let (names_at, info_at) = (64, 64 + names.len());
        let table = (info_at + info.len()).next_multiple_of(8);
        let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
        elf.resize(64, 0);
        elf[0x28..0x30].copy_from_slice(&(table as u64).to_le_bytes());
        for (at, value) in [(0x3a, 64_u16), (0x3c, 3), (0x3e, 2)] {
            elf[at..at + 2].copy_from_slice(&value.to_le_bytes());
        }
        elf.extend_from_slice(names);
        elf.extend_from_slice(info.as_bytes());
        elf.resize(table + 64, 0);
        for (name, offset, len) in [(1_u32, info_at, info.len()), (10, names_at, names.len())] {
            let mut header = vec![0; 64];
            header[..4].copy_from_slice(&name.to_le_bytes());
            header[0x18..0x20].copy_from_slice(&(offset as u64).to_le_bytes());
            header[0x20..0x28].copy_from_slice(&(len as u64).to_le_bytes());
            elf.extend(header);
        }
        elf
    }

    fn kernel(modules: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, info) in modules {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, module(info)).unwrap();
        }
        dir
    }

    #[test]
    fn needs_come_along_and_the_indices_name_them() {
        let dir = kernel(&[
            (
                "kernel/net/r8169.ko",
                "alias=pci:v000010ECd*\0softdep=pre: realtek\0depends=mdio_devres,libphy\0",
            ),
            ("kernel/phy/realtek.ko", "depends=libphy\0"),
            ("kernel/phy/mdio-devres.ko", "depends=libphy\0"),
            ("kernel/phy/libphy.ko", "depends=\0"),
            ("kernel/sound/snd.ko", "depends=\0"),
        ]);
        let selection = select(dir.path()).unwrap();
        let names: Vec<&str> = selection.files.keys().map(String::as_str).collect();
        let phy = ["kernel/phy/libphy.ko", "kernel/phy/mdio-devres.ko", "kernel/phy/realtek.ko"];
        assert_eq!(names, [&["kernel/net/r8169.ko"][..], &phy].concat());
        assert_eq!(selection.alias, "alias pci:v000010ECd* r8169\n");
        let line = selection.dep.lines().find(|line| line.starts_with("kernel/net/r8169.ko:")).unwrap();
        assert!(line.ends_with("kernel/phy/libphy.ko"), "what all need is loaded first: {line}");
        assert!(selection.missing.contains(&"nvme".to_owned()));
    }

    #[test]
    fn a_file_that_is_no_module_is_named() {
        let dir = kernel(&[]);
        std::fs::create_dir_all(dir.path().join("kernel")).unwrap();
        std::fs::write(dir.path().join("kernel/nvme.ko"), b"text").unwrap();
        let error = format!("{:#}", select(dir.path()).unwrap_err());
        assert!(error.contains("nvme.ko is not a kernel module"), "{error}");
    }

    #[test]
    fn damaged_elf_files_are_refused() {
        let good = module("depends=a\0");
        assert_eq!(modinfo(&good).unwrap(), [("depends", "a")]);
        for cut in 0..good.len() {
            let _ = modinfo(&good[..cut]);
        }
        let mut far = good;
        far[0x28..0x30].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(modinfo(&far).is_none());
    }
}
