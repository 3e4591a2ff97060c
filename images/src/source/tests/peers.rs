//! QEMU's and other peers' files, byte for byte.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use super::*;
use crate::testing::{LINUX_TYPE, Plant, gpt_disk, not_looked_at, request};
use crate::{ImageId, import_disk};

/// Run a peer in `dir`; false, said loudly, when it is not here.
fn peer(dir: &Path, package: &str, line: &str) -> bool {
    let mut words = line.split_whitespace();
    let program = words.next().unwrap();
    let output = Command::new(program).args(words).current_dir(dir).stdin(Stdio::null()).output();
    match output {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            not_looked_at(program, package);
            false
        }
        output => {
            let output = output.unwrap();
            assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
            true
        }
    }
}

fn qemu(dir: &Path, line: &str) -> bool {
    peer(dir, "qemu-utils", line)
}

/// The name of the file, and what `qemu-img convert` is told to make it.
const CONVERSIONS: &[(&str, &str)] = &[
    ("default.qcow2", "-O qcow2"),
    ("old.qcow2", "-O qcow2 -o compat=0.10"),
    ("small.qcow2", "-O qcow2 -o cluster_size=512"),
    ("4k.qcow2", "-O qcow2 -o cluster_size=4k"),
    ("2m.qcow2", "-O qcow2 -o cluster_size=2M"),
    ("zlib.qcow2", "-c -O qcow2"),
    ("zlib-old-4k.qcow2", "-c -O qcow2 -o compat=0.10,cluster_size=4k"),
    ("zlib-2m.qcow2", "-c -O qcow2 -o cluster_size=2M"),
    ("zstd.qcow2", "-c -O qcow2 -o compression_type=zstd"),
    ("zstd-512.qcow2", "-c -O qcow2 -o compression_type=zstd,cluster_size=512"),
    ("zstd-2m.qcow2", "-c -O qcow2 -o compression_type=zstd,cluster_size=2M"),
    ("extended.qcow2", "-O qcow2 -o extended_l2=on,cluster_size=128k"),
    ("extended-zlib.qcow2", "-c -O qcow2 -o extended_l2=on"),
    ("metadata.qcow2", "-O qcow2 -o preallocation=metadata"),
    ("full.qcow2", "-O qcow2 -o preallocation=full,lazy_refcounts=on"),
    ("dynamic.vhd", "-O vpc -o force_size=on"),
    ("fixed.vhd", "-O vpc -o subformat=fixed,force_size=on"),
    ("dynamic.vhdx", "-O vhdx"),
    ("1m.vhdx", "-O vhdx -o block_size=1M"),
    ("fixed.vhdx", "-O vhdx -o subformat=fixed"),
    ("sparse.vmdk", "-O vmdk"),
    ("zeroed.vmdk", "-O vmdk -o zeroed_grain=on"),
    ("stream.vmdk", "-O vmdk -o subformat=streamOptimized"),
    ("flat.vmdk", "-O vmdk -o subformat=monolithicFlat"),
    ("parts.vmdk", "-O vmdk -o subformat=twoGbMaxExtentSparse"),
    ("flats.vmdk", "-O vmdk -o subformat=twoGbMaxExtentFlat"),
];

#[test]
fn what_qemu_writes_reads_as_the_disk_that_it_was_made_from() {
    let dir = tempfile::tempdir().unwrap();
    // No whole number of clusters, blocks or grains of any format.
    let disk = lively_disk(40 * MIB + 3 * 512);
    write(dir.path(), "disk.raw", &disk);
    for (name, how) in CONVERSIONS {
        if !qemu(dir.path(), &format!("qemu-img convert -f raw {how} disk.raw {name}")) {
            return;
        }
        let source = open(&dir.path().join(name)).unwrap();
        assert_ne!(source.format, Format::Raw, "{name}");
        assert_reads_as(source.disk(), &disk, name);
    }
}

/// Without `force_size`, QEMU rounds a VHD's disk up to whole cylinders.
#[test]
fn a_vhd_has_the_size_that_its_footer_says() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "disk.raw", &lively_disk(40 * MIB + 512));
    if qemu(dir.path(), "qemu-img convert -f raw -O vpc disk.raw disk.vhd") {
        qemu(dir.path(), "qemu-img convert -f vpc -O raw disk.vhd back.raw");
        let back = fs::read(dir.path().join("back.raw")).unwrap();
        assert_reads_as(open(&dir.path().join("disk.vhd")).unwrap().disk(), &back, "rounded");
    }
}

#[test]
fn compressed_disks_unpack_whatever_wrote_them() {
    let dir = tempfile::tempdir().unwrap();
    let disk = lively_disk(12 * MIB + 512);
    write(dir.path(), "disk.raw", &disk);
    write(dir.path(), "a", &disk[..5_000_000]);
    write(dir.path(), "b", &disk[5_000_000..]);
    for (package, name, line) in [
        ("zstd", "disk.raw.zst", "zstd -q disk.raw"),
        ("zstd", "long.raw.zst", "zstd -q --long=27 -o long.raw.zst disk.raw"),
        ("gzip", "disk.raw.gz", "gzip -k disk.raw"),
        ("xz-utils", "disk.raw.xz", "xz -k -0 disk.raw"),
        ("xz-utils", "blocks.raw.xz", "xz -0 -T2 --block-size=1MiB -S .raw.xz -k --files=list"),
        ("zstd", "two.raw.zst", "zstd -q a b"),
        ("gzip", "two.raw.gz", "gzip -k a b"),
        ("xz-utils", "two.raw.xz", "xz -0 -k a b"),
    ] {
        if name.starts_with("blocks") {
            fs::copy(dir.path().join("disk.raw"), dir.path().join("blocks")).unwrap();
            write(dir.path(), "list", b"blocks\n");
        }
        if !peer(dir.path(), package, line) {
            continue;
        }
        if let Some(ending) = name.strip_prefix("two.raw.") {
            let part = |name: &str| fs::read(dir.path().join(format!("{name}.{ending}"))).unwrap();
            write(dir.path(), name, &[part("a"), part("b")].concat());
        }
        let source = open(&dir.path().join(name)).unwrap();
        assert_eq!(source.format, Format::Raw);
        assert!(source.packing.is_some());
        assert_reads_as(source.disk(), &disk, name);
        // Zeros were not written, so that they take no room and are not read.
        assert!(source.disk().zeros_at(10 * MIB) >= MIB, "{name}");
    }
}

#[test]
fn a_chain_of_backing_files_reads_as_qemu_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::create_dir(dir.join("below")).unwrap();
    // Shorter than what lies on it, and with what looks like a qcow2 at its start: it is raw, since the overlay says so.
    let mut base = lively_disk(10 * MIB + 512);
    base[..4].copy_from_slice(&qcow2::MAGIC);
    write(&dir.join("below"), "base.img", &base);
    for line in [
        "qemu-img create -q -f qcow2 -F raw -b base.img below/middle.qcow2 14M",
        "qemu-io -f qcow2 -c write\u{a0}-P\u{a0}7\u{a0}1M\u{a0}100k -c write\u{a0}-z\u{a0}3M\u{a0}1M below/middle.qcow2",
        "qemu-img create -q -f qcow2 -o extended_l2=on,cluster_size=64k -F qcow2 -b below/middle.qcow2 top.qcow2 20M",
        "qemu-io -f qcow2 -c write\u{a0}-P\u{a0}9\u{a0}1030k\u{a0}2k -c write\u{a0}-P\u{a0}8\u{a0}15M\u{a0}3k -c write\u{a0}-z\u{a0}66k\u{a0}2k top.qcow2",
        "qemu-img convert -f qcow2 -O raw top.qcow2 expected.raw",
    ] {
        if !qemu_words(dir, line) {
            return;
        }
    }
    let source = open(&dir.join("top.qcow2")).unwrap();
    assert_eq!(source.notes, [Note::Files(3)]);
    assert_reads_as(source.disk(), &fs::read(dir.join("expected.raw")).unwrap(), "chain");
    // Somebody changes the lowest file of all.
    assert_eq!(source.changed().unwrap(), None);
    fs::File::options()
        .write(true)
        .open(dir.join("below/base.img"))
        .unwrap()
        .set_modified(std::time::UNIX_EPOCH)
        .unwrap();
    assert!(source.changed().unwrap().unwrap().ends_with("below/base.img"));
}

/// As [`qemu`], where a non-breaking space stands for a space within a word.
fn qemu_words(dir: &Path, line: &str) -> bool {
    let mut words = line.split(' ').map(|word| word.replace('\u{a0}', " "));
    let output =
        Command::new(words.next().unwrap()).args(words).current_dir(dir).stdin(Stdio::null()).output();
    match output {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            not_looked_at("qemu-img", "qemu-utils");
            false
        }
        output => {
            let output = output.unwrap();
            assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
            true
        }
    }
}

#[test]
fn snapshots_inside_a_file_are_left_out_and_said() {
    let dir = tempfile::tempdir().unwrap();
    let disk = lively_disk(12 * MIB);
    write(dir.path(), "disk.raw", &disk);
    if qemu(dir.path(), "qemu-img convert -f raw -O qcow2 disk.raw disk.qcow2") {
        qemu(dir.path(), "qemu-img snapshot -c before disk.qcow2");
        qemu_words(dir.path(), "qemu-io -f qcow2 -c write\u{a0}-P\u{a0}0\u{a0}0\u{a0}9M disk.qcow2");
        let source = open(&dir.path().join("disk.qcow2")).unwrap();
        assert_eq!(source.notes, [Note::Snapshots(1)]);
        let mut now = disk;
        now[..9 * MIB as usize].fill(0);
        assert_reads_as(source.disk(), &now, "after the snapshot");
    }
}

#[test]
fn one_disk_is_one_image_in_whatever_format_it_comes() {
    let plant = Plant::new();
    let dir = plant.dir.path();
    let mut disk = gpt_disk(16 * MIB, 512, &[(LINUX_TYPE, 2048, 32_000)]);
    disk[2 * MIB as usize..3 * MIB as usize].copy_from_slice(&noise(5, MIB as usize));
    write(dir, "disk.raw", &disk);
    let import = |name: &str| -> ImageId {
        let source = open(&dir.join(name)).unwrap();
        import_disk(&source, &request(), &plant.store, &mut |_| {}).unwrap().manifest.id()
    };
    let expected = import("disk.raw");
    for (name, how) in CONVERSIONS {
        if !qemu(dir, &format!("qemu-img convert -f raw {how} disk.raw {name}")) {
            return;
        }
        assert_eq!(import(name), expected, "{name}");
    }
    qemu(dir, "zstd -q zlib.qcow2");
    assert_eq!(import("zlib.qcow2.zst"), expected);
}

#[test]
fn a_disk_that_a_virtual_machine_writes_to_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    if !qemu(dir.path(), "qemu-img create -q -f qcow2 disk.qcow2 4M") {
        return;
    }
    let path = dir.path().join("disk.qcow2");
    let mut running = Command::new("qemu-io")
        .args(["-f", "qcow2"])
        .arg(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Its answer shows that it has the file open.
    let mut orders = running.stdin.take().unwrap();
    writeln!(orders, "length").unwrap();
    let mut said = BufReader::new(running.stdout.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().contains("4 MiB")));
    let refused = open(&path);
    writeln!(orders, "quit").unwrap();
    drop(orders);
    running.wait().unwrap();
    assert!(matches!(refused, Err(SourceError::Running { .. })), "{refused:?}");
    // `qemu-io` has closed it, so that it is not dirty.
    open(&path).unwrap();
}

/// A file as a block device, until dropped.
struct Loop(PathBuf);

impl Loop {
    /// `None`, said loudly, where this user or kernel makes none.
    fn new(file: &Path) -> Option<Self> {
        let output = Command::new("losetup").args(["--find", "--show"]).arg(file).output();
        match output {
            Ok(output) if output.status.success() => {
                Some(Self(PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())))
            }
            _ => {
                let _ = writeln!(
                    std::io::stderr(),
                    "\nNOT LOOKED AT: block devices; only root makes one of a file"
                );
                None
            }
        }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.0).status();
    }
}

#[test]
fn a_block_device_is_held_while_it_is_read_and_what_is_written_to_it_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let disk = lively_disk(12 * MIB);
    let Some(device) = Loop::new(&write(dir.path(), "disk", &disk)) else { return };
    let source = open(&device.0).unwrap();
    assert_reads_as(source.disk(), &disk, "block device");
    assert!(matches!(open(&device.0), Err(SourceError::Held { .. })));
    assert_eq!(source.changed().unwrap(), None);
    let mut other = fs::File::options().write(true).open(&device.0).unwrap();
    other.write_all(&[7; 4096]).unwrap();
    other.sync_all().unwrap();
    assert_eq!(source.changed().unwrap(), Some(&*device.0));
    drop(source);
    open(&device.0).unwrap();
}
