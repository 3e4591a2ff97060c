//! The golden test image: a real, small Debian 12 that boots with and without Secure Boot.
//!
//! ```text
//!   sector 2048     ESP, FAT32, 128 MiB   EFI/BOOT/BOOTX64.EFI (shim)  EFI/BOOT/grubx64.efi (Debian's, signed)
//!                                         EFI/debian/grub.cfg  vmlinuz (signed)  initrd.img
//!   sector 264192   root, ext4, 1900 MiB  systemd, systemd-networkd, and the check-in service
//! ```
//!
//! Two layers. The *tree* comes from `mmdebstrap` and takes the network; it is cached by its recipe. The *image* adds configuration and the
//! check-in service and takes seconds; it is cached by recipe, release and agent, so a new agent never rebuilds the tree.
//! Nothing needs root: the file system is filled without a mount, in a user namespace. The same inputs give the same files; only the
//! change times of inodes differ between two builds, because `mkfs.ext4` takes them from the building system.
//!
//! Debian's cloud kernel has NVMe, ext4 and TPM built in, so the initrd (package `tiny-initramfs`) is 15 kB and the system is up a
//! few seconds after the kernel starts, even under emulation. It boots from NVMe only.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cache::{self, Cache};
use crate::tool::{as_root, run, run_on};

/// The GRUB configuration on the EFI system partition, as mtools names it.
pub const GRUB_CFG: &str = "::EFI/debian/grub.cfg";
/// What the marker service prints on the console when the system is up and has an address.
pub const MARK: &str = "GOLDEN-SYSTEM-UP";

/// Bytes of the whole disk.
pub const DISK_LEN: u64 = 2 << 30;

/// 2025-11-22T00:00:00Z, the date of every file that we add.
const EPOCH: &str = "1763769600";
const ROOT_UUID: &str = "6b1c9a52-0000-4000-8000-726f6f746673";
const SHIM: &str = "/usr/lib/shim/shimx64.efi.signed";
const GRUB: &str = "/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed";

/// Sizes in sectors of 512 bytes; the identifiers are fixed so that the same inputs give the same bytes.
const PARTITIONS: &str = "label: gpt
label-id: 6b1c9a52-0000-4000-8000-000000000000
start=2048, size=262144, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, uuid=6b1c9a52-0001-4000-8000-000000000000, name=ESP
start=264192, size=3891200, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, uuid=6b1c9a52-0002-4000-8000-000000000000, name=root
start=4155392, size=32768, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, uuid=6b1c9a52-0003-4000-8000-000000000000, name=data
";
/// Where the root file system begins, in bytes.
pub const ROOT_OFFSET: u64 = 264_192 * 512;
/// The name of the partition that a restore leaves as its endpoint has it.
pub const DATA: &str = "data";
/// Where it begins, in bytes.
pub const DATA_OFFSET: u64 = 4_155_392 * 512;
/// Its bytes.
pub const DATA_LEN: u64 = 32_768 * 512;
/// What it holds in the image.
pub const AS_DELIVERED: &str = "as delivered";
const ROOT_KIB: u64 = 3_891_200 / 2;
const ESP_SECTORS: &str = "262144";

/// The words for `mmdebstrap`, without the output. Files that an HMI panel never reads stay away, so that a restore is short.
const TREE: &[&str] = &[
    "--quiet",
    "--variant=essential",
    // Merges /usr from the start, so that the package that would do it later, and perl with it, stay away.
    "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
    "--include=systemd,systemd-sysv,udev,kmod,linux-image-cloud-amd64,tiny-initramfs",
    "--aptopt=APT::Install-Recommends \"false\"",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/info/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/zoneinfo/*",
    "--dpkgopt=path-exclude=/usr/share/bash-completion/*",
    "--dpkgopt=path-exclude=/usr/lib/x86_64-linux-gnu/gconv/*",
    "--dpkgopt=path-exclude=/lib/udev/hwdb.d/*",
    "--dpkgopt=path-exclude=/lib/modules/*/kernel/*",
    "--dpkgopt=path-include=/lib/modules/*/kernel/drivers/virtio/*",
    "--dpkgopt=path-include=/lib/modules/*/kernel/drivers/net/virtio_net.ko",
    "--dpkgopt=path-include=/lib/modules/*/kernel/drivers/net/net_failover.ko",
    "--dpkgopt=path-include=/lib/modules/*/kernel/net/core/failover.ko",
    "--dpkgopt=path-include=/lib/modules/*/kernel/drivers/char/hw_random/*",
    "--dpkgopt=path-include=/lib/modules/*/kernel/fs/fat/*",
    "--dpkgopt=path-include=/lib/modules/*/kernel/fs/nls/*",
    "--dpkgopt=path-include=/lib/modules/*/kernel/fs/efivarfs/*",
    // All drivers of the root disk are built in; without this the package would look for them in the building system.
    "--essential-hook=mkdir -p \"$1/etc/tiny-initramfs\" && echo auto_modules=no >\"$1/etc/tiny-initramfs/tiny-initramfs.conf\"",
    "bookworm",
];

/// Units that a panel does not need and that cost boot time under emulation.
const MASKED: &[&str] = &[
    "getty.target",
    "getty@.service",
    "serial-getty@.service",
    "systemd-logind.service",
    "systemd-user-sessions.service",
    "systemd-ask-password-wall.path",
    "systemd-ask-password-console.path",
    "systemd-update-utmp.service",
    "systemd-update-utmp-runlevel.service",
    "e2scrub_reap.service",
    "e2scrub_all.timer",
    "dpkg-db-backup.timer",
    "fstrim.timer",
    "systemd-tmpfiles-clean.timer",
    "systemd-journal-flush.service",
    "systemd-random-seed.service",
    "systemd-pstore.service",
    "systemd-binfmt.service",
    "systemd-sysusers.service",
    "systemd-remount-fs.service",
    "systemd-firstboot.service",
    "systemd-machine-id-commit.service",
    "systemd-boot-system-token.service",
    "kmod-static-nodes.service",
    "modprobe@.service",
    "remote-fs.target",
    "cryptsetup.target",
    "veritysetup.target",
    "integritysetup.target",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "proc-sys-fs-binfmt_misc.automount",
];

const NETWORK: &str =
    "[Match]\nType=ether\n\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n";
const BLACKLIST: &str = "blacklist kvm\nblacklist kvm_amd\nblacklist kvm_intel\nblacklist iTCO_wdt\n";

/// Prints that the system is up: for stories about the lab itself, before there is an appliance to check in with.
const MARKER_UNIT: &str = "[Unit]
Description=Says on the console that the system is up
After=systemd-networkd.service
Wants=systemd-networkd.service

[Service]
Type=oneshot
ExecStart=/usr/lib/golden-marker

[Install]
WantedBy=multi-user.target
";
const MARKER: &str = r#"#!/bin/sh
read -r up _ </proc/uptime
secure=$(od -An -t u1 -j 4 -N 1 /sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c | tr -d ' ')
tpm=$(cd /dev && ls -d tpmrm0)
echo "GOLDEN-SYSTEM-UP release=$(cat /etc/golden-release) uptime=$up secure_boot=$secure tpm=$tpm" >/dev/console
"#;

/// Who says that the restored system is up.
#[derive(Debug, Clone)]
pub enum CheckIn {
    /// The agent at this path, put in by its own `install`.
    Agent(PathBuf),
    /// A line on the console.
    Marker,
}

/// The mtools name of the EFI system partition in the raw disk `disk`.
#[must_use]
pub fn esp(disk: &Path) -> String {
    format!("{}@@1M", disk.display())
}

/// A golden image, from the cache or built now. `release` is written into it, so that two releases differ a little.
///
/// # Errors
/// When a tool fails; the message has its last words.
pub fn image(cache: &Cache, release: u32, check_in: &CheckIn) -> Result<PathBuf> {
    let tree = tree(cache)?;
    let name = tree.file_name().context("the tree has a name")?.to_string_lossy().into_owned();
    let agent = match check_in {
        CheckIn::Agent(path) => fs::read(path).with_context(|| format!("no agent at {}", path.display()))?,
        CheckIn::Marker => Vec::new(),
    };
    let recipe = include_bytes!("golden.rs");
    let digest = cache::digest([name.as_bytes(), recipe.as_slice(), &release.to_le_bytes(), &agent]);
    cache.file(&format!("golden-{release}-{digest}.raw"), |path| {
        let work = tempfile::tempdir_in(cache.dir())?;
        let root = unpack(work.path(), &tree)?;
        build(work.path(), &root, release, check_in, path).context("cannot build the golden image")
    })
}

/// The disk of a golden image whose Debian tree `change` has changed before; not cached.
///
/// # Errors
/// When a tool fails; the message has its last words.
pub fn changed(
    cache: &Cache,
    check_in: &CheckIn,
    disk: &Path,
    change: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let work = tempfile::tempdir_in(cache.dir())?;
    let root = unpack(work.path(), &tree(cache)?)?;
    change(&root)?;
    build(work.path(), &root, 1, check_in, disk).context("cannot build the golden image")
}

/// The Debian tree as a tar archive, from the cache or built now; building takes the network and about half a minute.
///
/// # Errors
/// When `mmdebstrap` fails.
pub fn tree(cache: &Cache) -> Result<PathBuf> {
    let digest = cache::digest(TREE.iter().map(|word| word.as_bytes()));
    cache.file(&format!("tree-{digest}.tar"), |path| {
        let words = TREE
            .iter()
            .flat_map(|word| if *word == "bookworm" { vec!["--format=tar", *word] } else { vec![*word] });
        run(Command::new("mmdebstrap").args(words).arg(path).env("SOURCE_DATE_EPOCH", EPOCH)).context(
            "cannot build a Debian tree; it is fetched from deb.debian.org, so check the network first",
        )?;
        Ok(())
    })
}

/// Unpacks a tree below `work`.
///
/// # Errors
/// When tar fails.
pub fn unpack(work: &Path, tree: &Path) -> Result<PathBuf> {
    let root = work.join("root");
    fs::create_dir(&root)?;
    run(as_root("tar")
        .args(["--extract", "--no-same-owner", "--exclude=./dev/*", "--file"])
        .arg(tree)
        .arg("-C")
        .arg(&root))?;
    Ok(root)
}

fn build(work: &Path, root: &Path, release: u32, check_in: &CheckIn, disk: &Path) -> Result<()> {
    configure(root, release)?;
    let esp = work.join("esp");
    move_boot_files(root, &esp)?;
    match check_in {
        CheckIn::Agent(agent) => {
            run(as_root(agent).arg("install").arg("--root").arg(root).arg("--esp").arg(&esp))
                .context("the agent cannot install itself")?;
        }
        CheckIn::Marker => marker(root)?,
    }
    date(&[root, &esp])?;
    partition(work, disk)?;
    fill_esp(&esp, disk)?;
    fill_root(root, disk)?;
    // The tree may hold files that only the namespace's root may remove.
    run(as_root("rm").arg("-rf").arg(root))?;
    Ok(())
}

fn configure(root: &Path, release: u32) -> Result<()> {
    let etc = root.join("etc");
    let units = etc.join("systemd/system");
    fs::write(etc.join("hostname"), "hmi-panel\n")?;
    fs::write(etc.join("golden-release"), format!("{release}\n"))?;
    // The EFI system partition stays unmounted: the check-in service mounts it for the moment in which it needs it.
    fs::write(etc.join("fstab"), format!("UUID={ROOT_UUID} / ext4 rw,noatime 0 0\n"))?;
    fs::create_dir_all(etc.join("systemd/network"))?;
    fs::write(etc.join("systemd/network/10-plant.network"), NETWORK)?;
    fs::create_dir_all(etc.join("modprobe.d"))?;
    fs::write(etc.join("modprobe.d/golden.conf"), BLACKLIST)?;
    for unit in MASKED {
        point(&units.join(unit), "/dev/null")?;
    }
    point(&units.join("default.target"), "/lib/systemd/system/multi-user.target")?;
    enable(root, "systemd-networkd.service", "/lib/systemd/system/systemd-networkd.service")
}

fn marker(root: &Path) -> Result<()> {
    let program = root.join("usr/lib/golden-marker");
    fs::write(&program, MARKER)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    fs::write(root.join("etc/systemd/system/golden-marker.service"), MARKER_UNIT)?;
    enable(root, "golden-marker.service", "/etc/systemd/system/golden-marker.service")
}

/// What `systemctl enable` would do in the tree.
fn enable(root: &Path, unit: &str, file: &str) -> Result<()> {
    let wants = root.join("etc/systemd/system/multi-user.target.wants");
    fs::create_dir_all(&wants)?;
    point(&wants.join(unit), file)
}

fn point(link: &Path, target: &str) -> Result<()> {
    let _ = fs::remove_file(link);
    symlink(target, link).with_context(|| format!("cannot make the link {}", link.display()))
}

/// Lays out the EFI system partition in `esp`: loaders, their configuration, kernel and initrd.
fn move_boot_files(root: &Path, esp: &Path) -> Result<()> {
    let boot = root.join("boot");
    fs::create_dir_all(esp.join("EFI/BOOT"))?;
    fs::create_dir_all(esp.join("EFI/debian"))?;
    fs::copy(SHIM, esp.join("EFI/BOOT/BOOTX64.EFI")).context("no shim: install the package shim-signed")?;
    fs::copy(GRUB, esp.join("EFI/BOOT/grubx64.efi"))
        .context("no GRUB: install the package grub-efi-amd64-signed")?;
    fs::write(
        esp.join("EFI/debian/grub.cfg"),
        format!(
            "linuxefi /vmlinuz root=UUID={ROOT_UUID} rw rootwait console=ttyS0,115200 quiet systemd.show_status=1\n\
             initrdefi /initrd.img\n\
             boot\n"
        ),
    )?;
    fs::copy(only(&boot, "vmlinuz-")?, esp.join("vmlinuz"))?;
    fs::copy(only(&boot, "initrd.img-")?, esp.join("initrd.img"))?;
    // They would only be restored twice; the system boots from the EFI system partition.
    fs::remove_dir_all(&boot)?;
    fs::create_dir(&boot)?;
    for link in ["vmlinuz", "vmlinuz.old", "initrd.img", "initrd.img.old"] {
        let _ = fs::remove_file(root.join(link));
    }
    Ok(())
}

/// The one file in `dir` whose name starts with `prefix`.
fn only(dir: &Path, prefix: &str) -> Result<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            found.push(entry.path());
        }
    }
    match found.as_slice() {
        [one] => Ok(one.clone()),
        _ => bail!("want one {prefix}* in {}, found {}", dir.display(), found.len()),
    }
}

/// Gives whatever is younger than the recipe's date that date, so that the time of building leaves no trace.
fn date(dirs: &[&Path]) -> Result<()> {
    let since = format!("@{EPOCH}");
    for dir in dirs {
        run(as_root("find").arg(dir).args([
            "-newermt",
            &since,
            "-exec",
            "touch",
            "--no-dereference",
            "--date",
            &since,
            "{}",
            "+",
        ]))?;
    }
    Ok(())
}

fn partition(work: &Path, disk: &Path) -> Result<()> {
    fs::File::create(disk)?.set_len(DISK_LEN)?;
    let script = work.join("partitions");
    fs::write(&script, PARTITIONS)?;
    run_on(Command::new("sfdisk").arg("--quiet").arg(disk), fs::File::open(script)?)?;
    write_data(disk, AS_DELIVERED)
}

/// Leaves a text on the data partition of the raw disk `disk`.
///
/// # Errors
/// When the disk cannot be written.
pub fn write_data(disk: &Path, text: &str) -> Result<()> {
    let disk = fs::OpenOptions::new().write(true).open(disk)?;
    let mut sector = [0; 512];
    sector.get_mut(..text.len()).context("the text has at most 512 bytes")?.copy_from_slice(text.as_bytes());
    disk.write_all_at(&sector, DATA_OFFSET).context("cannot write the data partition")
}

/// The text on the data partition of the raw disk `disk`.
///
/// # Errors
/// When the disk cannot be read.
pub fn read_data(disk: &Path) -> Result<String> {
    let mut sector = [0; 512];
    fs::File::open(disk)?
        .read_exact_at(&mut sector, DATA_OFFSET)
        .context("cannot read the data partition")?;
    Ok(String::from_utf8_lossy(&sector).trim_end_matches('\0').to_owned())
}

fn fill_esp(esp: &Path, disk: &Path) -> Result<()> {
    // Two sectors a cluster: enough clusters for FAT32, as firmware tells FAT16 from FAT32 by their number.
    run(Command::new("mformat")
        .args([
            "-i",
            &self::esp(disk),
            "-F",
            "-T",
            ESP_SECTORS,
            "-h",
            "8",
            "-s",
            "32",
            "-c",
            "2",
            "-H",
            "2048",
        ])
        .args(["-N", "67736573", "-v", "ESP", "::"])
        .env("SOURCE_DATE_EPOCH", EPOCH))?;
    let mut entries: Vec<PathBuf> =
        fs::read_dir(esp)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    entries.sort();
    run(Command::new("mcopy")
        .args(["-s", "-m", "-i", &self::esp(disk)])
        .args(entries)
        .arg("::")
        .env("SOURCE_DATE_EPOCH", EPOCH)
        .env("TZ", "UTC"))?;
    Ok(())
}

fn fill_root(root: &Path, disk: &Path) -> Result<()> {
    let options = format!(
        "offset={ROOT_OFFSET},hash_seed={ROOT_UUID},lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0"
    );
    run(as_root("mkfs.ext4")
        .args(["-q", "-F", "-U", ROOT_UUID, "-E", &options, "-d"])
        .arg(root)
        .arg(disk)
        .arg(format!("{ROOT_KIB}k"))
        .env("E2FSPROGS_FAKE_TIME", EPOCH))?;
    Ok(())
}
