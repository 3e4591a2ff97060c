//! What this endpoint is made of, read from sysfs; its disks also say themselves how they are.
//!
//! Everything here is told by the endpoint itself: it selects, it proves nothing. A kernel name (`sda`) never leaves this
//! module except beside the facts that identify the disk, for the one who opens it.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use recovery_protocol::agent::{DiskFacts, Firmware, Inventory};

use crate::disk;
use crate::kernel_args::KernelArgs;
use crate::{net, secure_boot};

/// Most addresses that are told.
const ADDRESSES_MOST: usize = 32;

/// A disk: its facts, and where it is in this boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// What identifies it.
    pub facts: DiskFacts,
    /// Its device node in this boot.
    pub node: PathBuf,
    /// Partitions and devices built upon it are in use by these; empty in a recovery system that touched nothing.
    pub holders: Vec<String>,
}

#[cfg(test)]
impl Disk {
    /// A disk of which nothing is known but its node.
    pub fn of_node(node: PathBuf) -> Self {
        let facts = DiskFacts {
            wwn: None,
            serial: None,
            model: String::new(),
            size_bytes: 4096,
            sector_bytes: 512,
            transport: "scsi".to_owned(),
            rotational: false,
            removable: false,
            path: None,
        };
        Self { facts, node, holders: Vec::new() }
    }
}

/// Reads the whole inventory, and asks each disk how it is and how it can erase itself.
pub fn read(args: KernelArgs) -> Inventory {
    let dmi = |name: &str| text(&Path::new("/sys/class/dmi/id").join(name)).unwrap_or_default();
    let disks = disks(Path::new("/sys/block"));
    let (disk_health, disk_erase) = disks.iter().map(disk::ask).unzip();
    let interfaces = net::interfaces(args.boot_mac);
    let docked = interfaces.iter().filter(|interface| net::is_docked(Path::new("/sys/class/net"), interface));
    Inventory {
        dock_macs: docked.map(|interface| interface.mac).collect(),
        macs: interfaces.iter().map(|interface| interface.mac).collect(),
        vendor: dmi("sys_vendor"),
        product: dmi("product_name"),
        serial: dmi("product_serial"),
        uuid: dmi("product_uuid"),
        firmware: booted_by(),
        memory_bytes: memory_bytes(&fs::read_to_string("/proc/meminfo").unwrap_or_default()),
        disk_health,
        disk_erase,
        disks: disks.into_iter().map(|disk| disk.facts).collect(),
        hostname: text(Path::new("/proc/sys/kernel/hostname")).unwrap_or_default(),
        addresses: addresses(),
        secure_boot: secure_boot::read(Path::new("/sys/firmware/efi")),
    }
}

/// Those that neighbours can reach.
fn addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    let address = |interface: nix::ifaddrs::InterfaceAddress| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    };
    let near = |address: &IpAddr| match address {
        IpAddr::V4(v4) => !v4.is_loopback(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local(),
    };
    interfaces.filter_map(address).filter(near).take(ADDRESSES_MOST).collect()
}

/// How the firmware booted us.
pub fn booted_by() -> Firmware {
    firmware(Path::new("/sys/firmware/efi"))
}

/// A file's text, trimmed; `None` when it cannot be read or is empty.
fn text(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let trimmed = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    (!trimmed.is_empty()).then(|| trimmed.to_owned())
}

/// UEFI is there when its directory is; Secure Boot when the global variable says so (UEFI specification §3.3): four
/// bytes of attributes, then one byte.
fn firmware(efi: &Path) -> Firmware {
    if !efi.exists() {
        return Firmware::Bios;
    }
    let variable = efi.join("efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c");
    match fs::read(variable).ok().as_deref() {
        Some([_, _, _, _, 1]) => Firmware::UefiSecureBoot,
        _ => Firmware::Uefi,
    }
}

fn memory_bytes(meminfo: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// The disks below `/sys/block` (or a copy of it), in name order; no loop, RAM, optical or mapped devices.
pub fn disks(block: &Path) -> Vec<Disk> {
    let mut names: Vec<String> = fs::read_dir(block)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names.iter().filter_map(|name| disk(&block.join(name), name)).collect()
}

/// The disk behind a device number (`st_rdev`), whatever its name is now.
pub fn disk_by_number(number: u64) -> Option<Disk> {
    let (major, minor) = (nix::sys::stat::major(number), nix::sys::stat::minor(number));
    let dir = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    disk(&dir, dir.file_name()?.to_str()?)
}

fn disk(dir: &Path, name: &str) -> Option<Disk> {
    const SECTOR: u64 = 512; // the unit of `size`, whatever the disk's own sector is
    let device = dir.join("device");
    let flag = |path: PathBuf| text(&path).as_deref() == Some("1");
    let size_bytes = text(&dir.join("size"))?.parse::<u64>().ok()?.checked_mul(SECTOR)?;
    if !device.exists() || size_bytes == 0 || name.starts_with("sr") || name.starts_with("fd") {
        return None;
    }
    let facts = DiskFacts {
        wwn: text(&dir.join("wwid")).or_else(|| text(&device.join("wwid"))),
        serial: serial(dir, &device),
        model: text(&device.join("model")).or_else(|| text(&device.join("name"))).unwrap_or_default(),
        size_bytes,
        sector_bytes: text(&dir.join("queue/logical_block_size")).and_then(|s| s.parse().ok()).unwrap_or(512),
        transport: transport(dir, name),
        rotational: flag(dir.join("queue/rotational")),
        removable: flag(dir.join("removable")),
        path: where_plugged(dir),
    };
    Some(Disk { facts, node: Path::new("/dev").join(name), holders: holders(dir) })
}

/// NVMe and MMC tell it as a file of the device, virtio of the disk, SCSI and ATA in VPD page 80h (SPC-4 §7.8.18).
fn serial(dir: &Path, device: &Path) -> Option<String> {
    let page = |path: PathBuf| {
        let bytes = fs::read(path).ok()?;
        let text = String::from_utf8_lossy(bytes.get(4..)?).trim_matches(['\0', ' ']).to_owned();
        (!text.is_empty()).then_some(text)
    };
    text(&device.join("serial"))
        .or_else(|| text(&dir.join("serial")))
        .or_else(|| page(device.join("vpd_pg80")))
}

/// By the path of the device in sysfs: what bus it hangs on.
fn transport(dir: &Path, name: &str) -> String {
    let path = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    let path = path.to_string_lossy();
    let kind = match () {
        () if name.starts_with("nvme") => "nvme",
        () if name.starts_with("mmcblk") => "mmc",
        () if path.contains("/usb") => "usb",
        () if path.contains("/ata") => "ata",
        () if name.starts_with("vd") => "virtio",
        () => "scsi",
    };
    kind.to_owned()
}

/// Where a disk is plugged in, in the words that udev's `path_id` has for NVMe, SATA and virtio, read from where the kernel has it below
/// `/sys/devices`. Everything else has no path here: what a person cannot look up in `/dev/disk/by-path` would never fit.
fn where_plugged(dir: &Path) -> Option<String> {
    let real = fs::canonicalize(dir).ok()?;
    let names: Vec<&str> = real.iter().filter_map(|name| name.to_str()).collect();
    let pci = names.iter().rfind(|name| is_pci(name))?;
    let name = *names.last()?;
    let ata = real.ancestors().find(|dir| {
        let name = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.strip_prefix("ata").is_some_and(|rest| rest.parse::<u32>().is_ok())
    });
    match ata {
        _ if name.starts_with("nvme") => Some(format!("pci-{pci}-nvme-{}", text(&dir.join("nsid"))?)),
        Some(port) => {
            let class = port.join("ata_port").join(port.file_name()?);
            let number = text(&class.join("port_no"))?;
            // Host, bus, target, unit; another bus than the first is behind a port multiplier.
            let scsi = names.iter().rfind(|name| name.split(':').count() == 4)?;
            let [_, bus, target, _] = scsi.split(':').collect::<Vec<_>>()[..] else { return None };
            Some(match bus {
                "0" => format!("pci-{pci}-ata-{number}.{target}"),
                bus => format!("pci-{pci}-ata-{number}.{bus}.0"),
            })
        }
        None if name.starts_with("vd") => Some(format!("pci-{pci}")),
        None => None,
    }
}

/// `0000:00:1f.2`: domain, bus, device and function of PCI.
fn is_pci(name: &str) -> bool {
    let hex = |part: &str, len: usize| part.len() == len && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut parts = name.split([':', '.']);
    let mut next = |len| parts.next().is_some_and(|part| hex(part, len));
    name.len() == 12 && next(4) && next(2) && next(2) && next(1)
}

/// Names of what was built upon the disk or one of its partitions (MD, LVM, crypt), from `holders` directories.
fn holders(dir: &Path) -> Vec<String> {
    let list = |path: PathBuf| fs::read_dir(path).into_iter().flatten().flatten();
    let partitions = list(dir.to_owned()).filter(|entry| entry.path().join("partition").exists());
    let places = std::iter::once(dir.join("holders")).chain(partitions.map(|p| p.path().join("holders")));
    places.flat_map(list).filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, file: &str, content: &str) {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    #[test]
    fn each_kind_of_disk_is_read_where_the_kernel_tells_it() {
        let root = tempfile::tempdir().unwrap();
        let block = root.path();
        for (file, content) in [
            ("nvme0n1/size", "2097152\n"),
            ("nvme0n1/wwid", "eui.0025388b710116a1\n"),
            ("nvme0n1/device/serial", "S4EWNX0R  \n"),
            ("nvme0n1/device/model", "Samsung SSD 970\n"),
            ("nvme0n1/queue/logical_block_size", "4096\n"),
            ("nvme0n1/queue/rotational", "0\n"),
            ("nvme0n1/removable", "0\n"),
            ("sda/size", "1000\n"),
            ("sda/device/wwid", "naa.5000c500a1b2c3d4\n"),
            ("sda/device/vpd_pg80", "\0\u{80}\0\u{8}  WD-1234"),
            ("sda/queue/rotational", "1\n"),
            ("sda/removable", "1\n"),
            ("sda/sda1/partition", "1\n"),
            ("sda/sda1/holders/md0", ""),
            ("vda/size", "8\n"),
            ("vda/serial", "press-01-disk\n"),
            ("vda/device/vendor", "0x1af4\n"),
            ("loop0/size", "8\n"),
            ("sr0/size", "8\n"),
            ("sr0/device/model", "DVD\n"),
            ("vdb/size", "0\n"),
            ("vdb/device/x", ""),
        ] {
            write(block, file, content);
        }
        let disks = disks(block);
        let facts: Vec<&DiskFacts> = disks.iter().map(|disk| &disk.facts).collect();
        assert_eq!(facts.len(), 3, "{facts:?}");
        assert_eq!(facts[0].wwn.as_deref(), Some("eui.0025388b710116a1"));
        assert_eq!(facts[0].serial.as_deref(), Some("S4EWNX0R"));
        assert_eq!((facts[0].size_bytes, facts[0].sector_bytes), (1 << 30, 4096));
        assert_eq!(facts[0].transport, "nvme");
        assert!(facts[1].removable && facts[1].rotational);
        assert_eq!(disks[1].holders, ["md0"]);
        assert_eq!(facts[2].serial.as_deref(), Some("press-01-disk"));
        assert_eq!(facts[2].transport, "virtio");
    }

    #[test]
    fn where_a_disk_is_plugged_in_is_what_udev_calls_it() {
        let root = tempfile::tempdir().unwrap();
        let devices = "devices/pci0000:00";
        let table = [
            ("nvme0n1", "0000:00:1c.0/0000:01:00.0/nvme/nvme0/nvme0n1", Some("pci-0000:01:00.0-nvme-1")),
            (
                "sda",
                "0000:00:1f.2/ata3/host2/target2:0:0/2:0:0:0/block/sda",
                Some("pci-0000:00:1f.2-ata-2.0"),
            ),
            (
                "sdb",
                "0000:00:1f.2/ata4/host3/target3:2:0/3:2:0:0/block/sdb",
                Some("pci-0000:00:1f.2-ata-3.2.0"),
            ),
            ("vda", "0000:00:04.0/virtio1/block/vda", Some("pci-0000:00:04.0")),
            ("sdc", "0000:00:14.0/usb1/1-1/1-1:1.0/host4/target4:0:0/4:0:0:0/block/sdc", None),
            ("sdd", "0000:00:05.0/virtio2/host5/target5:0:0/5:0:0:0/block/sdd", None),
        ];
        write(root.path(), &format!("{devices}/0000:00:1f.2/ata3/ata_port/ata3/port_no"), "2\n");
        write(root.path(), &format!("{devices}/0000:00:1f.2/ata4/ata_port/ata4/port_no"), "3\n");
        fs::create_dir_all(root.path().join("block")).unwrap();
        for (name, place, path) in table {
            write(root.path(), &format!("{devices}/{place}/size"), "8\n");
            write(root.path(), &format!("{devices}/{place}/nsid"), "1\n");
            write(root.path(), &format!("{devices}/{place}/device/x"), "");
            let link = root.path().join("block").join(name);
            std::os::unix::fs::symlink(root.path().join(devices).join(place), &link).unwrap();
            assert_eq!(disk(&link, name).unwrap().facts.path.as_deref(), path, "{name}");
        }
        assert!(is_pci("0000:00:1f.2") && !is_pci("0000:00:1f") && !is_pci("pci0000:0000"));
    }

    #[test]
    fn a_disk_is_the_same_by_its_name_and_by_its_number() {
        use std::os::unix::fs::MetadataExt as _;
        for disk in disks(Path::new("/sys/block")) {
            if let Ok(metadata) = fs::metadata(&disk.node) {
                assert_eq!(disk_by_number(metadata.rdev()), Some(disk));
            }
        }
        assert_eq!(disk_by_number(u64::MAX), None);
    }

    #[test]
    fn firmware_mode_is_read_from_the_variable() {
        let root = tempfile::tempdir().unwrap();
        let efi = root.path().join("efi");
        assert_eq!(firmware(&efi), Firmware::Bios);
        fs::create_dir(&efi).unwrap();
        assert_eq!(firmware(&efi), Firmware::Uefi);
        for (byte, expected) in [("\u{1}", Firmware::UefiSecureBoot), ("\0", Firmware::Uefi)] {
            let variable = "efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
            write(&efi, variable, &format!("\u{6}\0\0\0{byte}"));
            assert_eq!(firmware(&efi), expected);
        }
    }

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(memory_bytes("MemTotal:         507000 kB\nMemFree: 1 kB\n"), 507_000 * 1024);
        assert_eq!(memory_bytes("nonsense"), 0);
    }
}
