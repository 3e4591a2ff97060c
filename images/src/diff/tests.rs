//! Two versions of a system, compared here and by `diff -r`; what is said to be fetched against what a restore fetches.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::disk::ESP_TYPE;
use crate::restore::mem::MemDisk;
use crate::restore::{ChunkSource, EndpointFacts, FrameSink, ReadBack, RestoreStats, SourceError, scan};
use crate::testing::{LINUX_TYPE, MIB, Plant, gpt_disk, noise, not_looked_at, request};
use crate::{ImportRequest, RestorePlan, Verified};

const SIZE: u64 = 96 * MIB;
/// First sector of the root filesystem, behind an EFI system partition of 8 MiB.
const ROOT_LBA: u64 = 9 * 2048;

fn quiet(_: &str) {}

fn write(root: &Path, path: &str, bytes: &[u8]) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// A system's files: release 2 differs from release 1 in every way that is told apart.
fn system(root: &Path, release: u64) {
    write(root, "etc/release", format!("{release}\n").as_bytes());
    write(root, "etc/hostname", b"panel\n");
    (0..40).for_each(|n| {
        write(root, &format!("usr/lib/library-{n}.so"), &noise(n, 150_000 + 1000 * n as usize))
    });
    write(root, "usr/bin/panel", &noise(100 + release, 700_000));
    write(root, "srv/log", &noise(7, 3 * MIB as usize));
    symlink("library-1.so", root.join("usr/lib/link")).unwrap();
    if release == 1 {
        write(root, "opt/old", b"old");
        write(root, "kind", b"file");
    } else {
        write(root, "a/new/file", b"new");
        fs::create_dir(root.join("kind")).unwrap();
        fs::remove_file(root.join("usr/lib/link")).unwrap();
        symlink("library-2.so", root.join("usr/lib/link")).unwrap();
        fs::set_permissions(root.join("etc/hostname"), fs::Permissions::from_mode(0o600)).unwrap();
        // In the middle of a long file, one byte.
        let mut log = noise(7, 3 * MIB as usize);
        log[MIB as usize] ^= 1;
        write(root, "srv/log", &log);
    }
}

/// A disk with a release, or `None` where mke2fs is not here.
fn disk(dir: &Path, release: u64, loader: &[u8]) -> Option<Vec<u8>> {
    let root = dir.join(format!("root-{release}"));
    system(&root, release);
    let image = dir.join(format!("ext4-{release}"));
    let made = Command::new("mke2fs")
        .args(["-q", "-F", "-t", "ext4", "-d"])
        .arg(&root)
        .arg(&image)
        .arg("80M")
        .output();
    let Ok(made) = made else {
        not_looked_at("mke2fs", "e2fsprogs");
        return None;
    };
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let last = ROOT_LBA + 80 * 2048 - 1;
    let mut disk = gpt_disk(SIZE, 512, &[(ESP_TYPE, 2048, ROOT_LBA - 1), (LINUX_TYPE, ROOT_LBA, last)]);
    let mut esp = io::Cursor::new(vec![0; 8 * MIB as usize]);
    fatfs::format_volume(&mut esp, fatfs::FormatVolumeOptions::new()).unwrap();
    disk[MIB as usize..9 * MIB as usize].copy_from_slice(esp.get_ref());
    let start = ROOT_LBA as usize * 512;
    disk[start..start + 80 * MIB as usize].copy_from_slice(&fs::read(&image).unwrap());
    let target = MemDisk::new(disk, 512);
    crate::disk::esp::put_file(&target, MIB..9 * MIB, "EFI/BOOT/BOOTX64.EFI", loader).unwrap();
    crate::disk::esp::put_file(&target, MIB..9 * MIB, "EFI/same", b"same").unwrap();
    Some(target.into_bytes())
}

fn version(version: &str) -> ImportRequest {
    ImportRequest { version: version.into(), ..request() }
}

/// What `diff -r` says of two trees: paths that are in one only, and paths that differ.
fn by_diff(dir: &Path) -> BTreeMap<String, &'static str> {
    let output = Command::new("diff")
        .args(["-rq", "--no-dereference", "root-1", "root-2"])
        .current_dir(dir)
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let only = |line: &str, root: &str| {
        let (at, name) = line.strip_prefix(&format!("Only in {root}"))?.split_once(": ")?;
        Some(format!("{at}/{name}"))
    };
    let found = text.lines().map(|line| {
        if let Some(path) = only(line, "root-1") {
            return (path, "removed");
        }
        if let Some(path) = only(line, "root-2") {
            return (path, "added");
        }
        let path = line.split_whitespace().find_map(|word| word.strip_prefix("root-1")).unwrap();
        (path.to_owned(), "content")
    });
    found.collect()
}

#[test]
fn the_files_that_differ_are_those_that_diff_names() {
    let dir = tempfile::tempdir().unwrap();
    let plant = Plant::new();
    let (Some(a), Some(b)) = (disk(dir.path(), 1, b"loader 1"), disk(dir.path(), 2, b"loader 2")) else {
        return;
    };
    let (a, b) = (plant.image_with(&a, &version("1")), plant.image_with(&b, &version("2")));
    let difference = diff(&plant.store, &a, &b, &mut quiet).unwrap();
    assert_eq!(difference.header, [Fact { what: "version".into(), before: "1".into(), after: "2".into() }]);
    let [esp, root] = difference.partitions.as_slice() else { panic!("{:?}", difference.partitions) };
    assert!(esp.facts.is_empty() && root.facts.is_empty() && esp.unread.is_empty() && root.unread.is_empty());
    let paths: Vec<_> = esp.files.iter().map(|file| (file.path.as_str(), file.change)).collect();
    assert_eq!(paths, [("/EFI/BOOT/BOOTX64.EFI", Change::Content)]);
    let words = |change| match change {
        Change::Added => "added",
        Change::Removed => "removed",
        Change::Content => "content",
        Change::Owner => "owner",
    };
    let mut found: BTreeMap<String, &str> =
        root.files.iter().map(|file| (file.path.clone(), words(file.change))).collect();
    assert_eq!(found.remove("/etc/hostname"), Some("owner"), "diff does not look at modes");
    // Of a directory that is in one tree only, diff names the top.
    for below in ["/a/new", "/a/new/file", "/opt/old"] {
        assert!(found.remove(below).is_some(), "{below}");
    }
    assert_eq!(found, by_diff(dir.path()));
    let file = |path: &str| root.files.iter().find(|file| file.path == path).unwrap();
    assert_eq!(
        file("/etc/hostname").facts,
        [Fact { what: "mode".into(), before: "0644".into(), after: "0600".into() }]
    );
    assert_eq!(file("/usr/lib/link").facts[0].after, "library-2.so");
    assert_eq!(file("/kind").facts[0].before, "file");
    assert_eq!((file("/srv/log").len_before, file("/srv/log").len_after), (Some(3 * MIB), Some(3 * MIB)));
    let nothing = diff(&plant.store, &b, &b, &mut quiet).unwrap();
    assert!(nothing.header.is_empty() && nothing.partitions.is_empty());
    let kept = Cost { keep_bytes: nothing.cost.keep_bytes, ..Cost::default() };
    assert_eq!(nothing.cost, kept);
}

/// A source that counts what goes through it.
struct Counting<'s> {
    store: &'s Store,
    chunks: AtomicU64,
    wire: AtomicU64,
}

impl ChunkSource for Counting<'_> {
    fn fetch(&self, ids: &[crate::ChunkId], sink: &mut FrameSink<'_>) -> Result<(), SourceError> {
        self.store.fetch(ids, &mut |frame| {
            self.chunks.fetch_add(1, Ordering::Relaxed);
            self.wire.fetch_add(frame.bytes.len() as u64, Ordering::Relaxed);
            sink(frame)
        })
    }
}

/// Restore an image onto a disk and say what was done.
fn restore(plant: &Plant, image: &Verified<Manifest>, disk: Vec<u8>) -> (RestoreStats, u64, u64) {
    let target = MemDisk::new(disk, 512);
    let source = Counting { store: &plant.store, chunks: AtomicU64::new(0), wire: AtomicU64::new(0) };
    let scan = scan(image, &target, &|_| ()).unwrap();
    let plan = RestorePlan::new(image, scan, &EndpointFacts::default()).unwrap();
    let written = plan.poison(&target).unwrap().write(&source, &|_| ()).unwrap();
    let restored = written.read_back(ReadBack::Everything).unwrap().commit_boot_region().unwrap();
    (restored.stats(), source.chunks.into_inner(), source.wire.into_inner())
}

#[test]
fn what_is_said_to_be_fetched_is_what_a_restore_fetches() {
    let plant = Plant::new();
    // Data that moves, that comes twice, that becomes zero, that was zero; another boot sector.
    let part = |seed, mib: u64| noise(seed, (mib * MIB) as usize);
    let zeros = |mib: u64| vec![0; (mib * MIB) as usize];
    let disk = |first: u8, parts: &[Vec<u8>]| {
        let mut disk = zeros(1);
        disk[0] = first;
        disk.extend(parts.concat());
        disk.resize(40 * MIB as usize, 0);
        disk
    };
    let base = disk(1, &[part(1, 3), part(2, 8), zeros(2), part(3, 4), zeros(1), part(4, 2)]);
    let next = [
        disk(1, &[part(1, 3), part(2, 8), zeros(2), part(3, 4), zeros(1), part(4, 2)]),
        disk(1, &[part(1, 3), part(5, 5), zeros(2), part(3, 4), part(1, 3), part(1, 3), part(6, 1)]),
        disk(2, &[part(1, 3), part(2, 8), zeros(7), part(4, 2), part(9, 3), part(9, 3)]),
        disk(3, &[zeros(1), part(1, 3)]),
    ];
    let a = plant.image_with(&base, &version("1"));
    for (number, bytes) in next.into_iter().enumerate() {
        let b = plant.image_with(&bytes, &version(&format!("2.{number}")));
        let said = diff(&plant.store, &a, &b, &mut quiet).unwrap().cost;
        let (did, chunks, wire) = restore(&plant, &b, base.clone());
        assert_eq!((said.fetch_chunks, said.wire_bytes), (chunks, wire), "image {number}");
        assert_eq!((said.fetch_bytes, said.copy_bytes), (did.fetched, did.copied), "image {number}");
        assert_eq!(said.zero_bytes, did.zeroed, "image {number}");
        // Writing completes the sectors at both ends of what it writes.
        let more = did.written - said.write_bytes;
        assert!(more < 64 << 10, "image {number}: {more}");
    }
}

#[test]
fn ranges_are_the_same_exactly_when_their_bytes_are() {
    let plant = Plant::new();
    // One chunk's worth of noise at several distances, zeros in between, and a byte that differs.
    let part = noise(1, 300_000);
    let mut before = [vec![0; 100_000], part.clone(), vec![0; 8192], part.clone()].concat();
    let mut after = [part.clone(), vec![0; 70_001], part.clone(), noise(2, 9000), part].concat();
    after[250_000] ^= 1;
    before.resize(3 * MIB as usize, 0);
    after.resize(3 * MIB as usize, 0);
    let [a, b] = [&before, &after].map(|disk| plant.import_with(disk, &request()).manifest);
    let disks = (StoredDisk::new(&plant.store, &a), StoredDisk::new(&plant.store, &b));
    let pair = Pair::new(&disks.0, &disks.1);
    let check = |a: usize, b: usize, len: usize| {
        let same = pair.same(a as u64, b as u64, len as u64).unwrap();
        assert_eq!(same, before[a..a + len] == after[b..b + len], "{len} bytes at {a} and {b}");
    };
    for (from, to) in
        [(100_000, 0), (100_000, 370_001), (408_192, 679_001), (0, 300_000), (720_000, 1_000_000)]
    {
        for (shift, len) in
            [(0, 1), (0, 70_000), (40_000, 60_000), (0, 299_000), (249_000, 2000), (1, 250_001)]
        {
            check(from + shift, to + shift, len);
            check(from + shift, to + shift + 1, len);
        }
    }
    assert!(!pair.same(3 * MIB - 1, 0, 2).unwrap() && !pair.same(u64::MAX, 0, 1).unwrap());
    assert!(pair.same(3 * MIB, 3 * MIB, 0).unwrap());
}

#[test]
fn partitions_are_found_again_and_what_is_gone_or_cannot_be_read_is_named() {
    let plant = Plant::new();
    let disk = |parts: &[crate::testing::Part], seed: u64| {
        let mut disk = gpt_disk(24 * MIB, 512, parts);
        let at = parts[0].1 as usize * 512;
        disk[at..at + 65536].copy_from_slice(&noise(seed, 65536));
        disk
    };
    let a = disk(&[(LINUX_TYPE, 2048, 8191), (LINUX_TYPE, 8192, 16383), (ESP_TYPE, 16384, 20479)], 1);
    let b = disk(&[(LINUX_TYPE, 4096, 8191), (LINUX_TYPE, 8192, 16383)], 2);
    let (a, b) = (plant.image_with(&a, &version("1")), plant.image_with(&b, &version("1")));
    let difference = diff(&plant.store, &a, &b, &mut quiet).unwrap();
    let [moved, gone] = difference.partitions.as_slice() else { panic!("{:?}", difference.partitions) };
    assert_eq!((moved.number, moved.fate, gone.number, gone.fate), (1, Fate::Changed, 3, Fate::Removed));
    let whats: Vec<&str> = moved.facts.iter().map(|fact| fact.what.as_str()).collect();
    assert_eq!(whats, ["first byte", "bytes"]);
    assert!(moved.bytes_differ && moved.not_compared.as_deref().unwrap().contains("ext2"));
    let back = diff(&plant.store, &b, &a, &mut quiet).unwrap();
    assert_eq!(back.partitions[1].fate, Fate::Added);
    let json = serde_json::to_value(&difference).unwrap();
    assert_eq!(json["partitions"][1]["fate"], "removed");
}
