//! The whole way: filesystems on a disk, imported without their free space, restored onto a disk full of noise.

use super::super::Unclean;
use super::*;
use crate::import::{ImportRequest, Imported, Warning};
use crate::restore::mem::MemDisk;
use crate::restore::{EndpointFacts, ReadBack, RestorePlan, scan};
use crate::testing::{LINUX_TYPE, Plant, gpt_disk, request};
use crate::{Content, Digest, import_raw};

type Check = fn(&Made, &Files);

/// A disk with one partition for each filesystem.
struct Plenty {
    dir: tempfile::TempDir,
    path: PathBuf,
    raw: Vec<u8>,
    parts: Vec<(Range<u64>, Files, Check)>,
}

impl Plenty {
    fn new() -> Option<Self> {
        let swap = Made::empty(8 * MIB);
        swap.run(&program("mkswap", "util-linux")?, ["-q"]);
        swap.patch(MIB, &noise(9, 4 << 20));
        let (ext4, ext4_files) = super::ext::made(&["-t", "ext4"], 40 * MIB, 11)?;
        let (xfs, xfs_files) = super::xfs::made(&[], 64 * MIB, 12)?;
        let (ntfs, ntfs_files) = super::ntfs::made(&[], 32 * MIB, 13)?;
        let (fat, fat_files) = super::fat::made(24 * MIB, &["-F", "16"], 14)?;
        let made: [(Made, Files, Check); 5] = [
            (ext4, ext4_files, super::ext::check),
            (xfs, xfs_files, super::xfs::check),
            (ntfs, ntfs_files, super::ntfs::check),
            (fat, fat_files, super::fat::check),
            (swap, Files::new(), |_, _| {}),
        ];
        let (mut at, mut table, mut parts) = (MIB, Vec::new(), Vec::new());
        for (made, files, check) in &made {
            let range = at..at + made.disk().size();
            at = range.end;
            table.push((LINUX_TYPE, range.start / 512, range.end / 512 - 1));
            parts.push((range, files.clone(), *check));
        }
        let mut raw = gpt_disk(at + MIB, 512, &table);
        for ((made, ..), (range, ..)) in made.iter().zip(&parts) {
            raw[range.start as usize..range.end as usize]
                .copy_from_slice(&made.bytes(0, made.disk().size() as usize));
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk.raw");
        fs::write(&path, &raw).unwrap();
        Some(Self { dir, path, raw, parts })
    }

    fn import(&self, plant: &Plant, request: &ImportRequest) -> Imported {
        import_raw(&self.path, request, &plant.store, &mut |_| {}).unwrap()
    }

    /// A partition of a disk as a file.
    fn part(&self, disk: &[u8], range: &Range<u64>) -> Made {
        let made = Made::empty(range.end - range.start);
        made.patch(0, &disk[range.start as usize..range.end as usize]);
        made
    }
}

/// The warnings but those about files, which are `import::inside`'s.
fn of_disk(imported: &Imported) -> Vec<&Warning> {
    imported.warnings.iter().filter(|warning| !matches!(warning, Warning::Inside(_))).collect()
}

#[test]
fn filesystems_without_their_free_space_are_whole_after_a_restore_over_noise() {
    let Some(plenty) = Plenty::new() else { return };
    let plant = Plant::new();
    let imported = plenty.import(&plant, &request());
    assert_eq!(of_disk(&imported), [&Warning::NoEsp]);
    assert!(imported.kept.is_empty(), "{:?}", imported.kept);
    let kinds: Vec<_> =
        imported.manifest.header().table.partitions.iter().map(|p| p.filesystem.as_str()).collect();
    assert_eq!(kinds, ["ext4", "xfs", "ntfs", "vfat", "swap"]);
    assert!(imported.stats.free_bytes > 80 * MIB, "{:?}", imported.stats);

    let image = plant.image_with(&plenty.raw, &request());
    let disk = MemDisk::new(noise(77, plenty.raw.len()), 512);
    let found = scan(&image, &disk, &|_| {}).unwrap();
    let plan = RestorePlan::new(&image, found, &EndpointFacts::default()).unwrap();
    let written = plan.poison(&disk).unwrap().write(&plant.store, &|_| {}).unwrap();
    written.read_back(ReadBack::Everything).unwrap().commit_boot_region().unwrap();
    let restored = disk.into_bytes();

    // Free space keeps the noise and is zeros in the content root; all else is the image's.
    let mut as_hashed = plenty.raw.clone();
    for extent in image.extents() {
        let range = extent.offset as usize..extent.end() as usize;
        if extent.content == Content::Any {
            assert!(restored[range.clone()] != plenty.raw[range.clone()]);
            as_hashed[range].fill(0);
        } else {
            assert!(restored[range.clone()] == plenty.raw[range]);
        }
    }
    assert_eq!(image.content_root(), Digest::of(&as_hashed));
    for (range, files, check) in &plenty.parts {
        check(&plenty.part(&restored, range), files);
    }
    // Nothing is left to do.
    assert!(scan(&image, &MemDisk::new(restored, 512), &|_| {}).unwrap().is_clean());
}

#[test]
fn all_of_a_disk_is_stored_when_asked_for() {
    let Some(plenty) = Plenty::new() else { return };
    let plant = Plant::new();
    let imported = plenty.import(&plant, &ImportRequest { keep_free_space: true, ..request() });
    assert_eq!(imported.stats.free_bytes, 0);
    assert_eq!(imported.manifest.content_root(), Digest::of(&plenty.raw));
    assert!(imported.manifest.extents().all(|extent| extent.content != Content::Any));
    drop(plenty.dir);
}

#[test]
fn a_filesystem_that_was_not_unmounted_is_stored_whole_and_said() {
    let Some(mut plenty) = Plenty::new() else { return };
    let (ext4, xfs) = (plenty.parts[0].0.clone(), plenty.parts[1].0.clone());
    // `needs_recovery` and the checksum are seen in this order; the XFS is none that we know any more.
    plenty.raw[ext4.start as usize + 1024 + 96] |= 4;
    plenty.raw[xfs.start as usize..][..4].copy_from_slice(b"none");
    fs::write(&plenty.path, &plenty.raw).unwrap();
    for keep_free_space in [false, true] {
        let plant = Plant::new();
        let imported = plenty.import(&plant, &ImportRequest { keep_free_space, ..request() });
        let warning = Warning::NotUnmounted { partition: 1, filesystem: Kind::Ext4, why: Unclean::Journal };
        assert_eq!(of_disk(&imported), [&Warning::NoEsp, &warning]);
        if !keep_free_space {
            let kept: Vec<_> = imported.kept.iter().map(|kept| (kept.partition, kept.filesystem)).collect();
            assert_eq!(kept, [(1, Kind::Ext4), (2, Kind::Unknown)]);
        }
        for extent in imported.manifest.extents().filter(|extent| extent.content == Content::Any) {
            assert!(extent.offset >= xfs.end && !keep_free_space);
        }
    }
}

/// From sector 63 to the last one, as old tools partition: the filesystem reaches into the boot region at both ends.
#[test]
fn free_space_in_the_boot_region_is_stored() {
    let Some(mkfs) = program("mkfs.fat", "dosfstools") else { return };
    let made = Made::empty(16 * MIB - 63 * 512);
    made.run(&mkfs, ["-F", "16"]);
    let mut raw = vec![0; 63 * 512];
    raw.extend(made.bytes(0, made.disk().size() as usize));
    raw[446 + 4] = 6;
    raw[446 + 8] = 63;
    raw[446 + 12..446 + 16].copy_from_slice(&((16 * MIB / 512) as u32 - 63).to_le_bytes());
    raw[510..512].copy_from_slice(&[0x55, 0xaa]);
    let imported = Plant::new().import_with(&raw, &request());
    let disk = &imported.manifest.header().disk;
    let free: Vec<_> = imported.manifest.extents().filter(|extent| extent.content == Content::Any).collect();
    assert_eq!((free.len(), free[0].offset), (1, disk.head_len));
    assert!(free[0].end() <= disk.tail_start() && free[0].end() + 4096 > disk.tail_start());
}
