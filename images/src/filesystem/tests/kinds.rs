//! What a partition holds is told as blkid tells it.

use super::super::part::Part;
use super::*;

/// What is made, how large in MiB, and by which program of which package.
const MADE: &[(Kind, u64, &str, &str, &[&str])] = &[
    (Kind::Ext2, 8, "mke2fs", "e2fsprogs", &["-q", "-F", "-t", "ext2"]),
    (Kind::Ext3, 8, "mke2fs", "e2fsprogs", &["-q", "-F", "-t", "ext3"]),
    (Kind::Ext4, 8, "mke2fs", "e2fsprogs", &["-q", "-F", "-t", "ext4"]),
    (Kind::Ext4, 8, "mke2fs", "e2fsprogs", &["-q", "-F", "-t", "ext4", "-O", "^has_journal"]),
    (Kind::ExtJournal, 8, "mke2fs", "e2fsprogs", &["-q", "-F", "-O", "journal_dev"]),
    (Kind::Xfs, 300, "mkfs.xfs", "xfsprogs", &["-q", "-f"]),
    (Kind::Ntfs, 8, "mkntfs", "ntfs-3g", &["-q", "-F", "-f", "-p", "0", "-H", "255", "-S", "63"]),
    (Kind::Vfat, 4, "mkfs.fat", "dosfstools", &["-F", "12"]),
    (Kind::Vfat, 16, "mkfs.fat", "dosfstools", &["-F", "16"]),
    (Kind::Vfat, 300, "mkfs.fat", "dosfstools", &["-F", "32"]),
    (Kind::Swap, 8, "mkswap", "util-linux", &["-q"]),
    (Kind::Swap, 8, "mkswap", "util-linux", &["-q", "-p", "65536"]),
];

#[test]
fn what_programs_make_is_named_as_blkid_names_it() {
    let Some(blkid) = program("blkid", "util-linux") else { return };
    for (expected, size, name, package, args) in MADE {
        let Some(mkfs) = program(name, package) else { return };
        let made = Made::empty(size * MIB);
        made.run(&mkfs, *args);
        assert_eq!(made.kind(), *expected, "{name} {args:?}");
        let said = made.run(&blkid, ["-p", "-s", "TYPE", "-o", "value"]);
        assert_eq!(said.trim(), expected.name(), "{name} {args:?}");
    }
}

/// Marks where `blkid` looks for them, in an otherwise empty partition.
#[test]
fn what_holds_other_things_is_named_by_its_mark() {
    for (kind, at, mark) in [
        (Kind::Luks, 0, &b"LUKS\xba\xbe\0\x02"[..]),
        (Kind::BitLocker, 3, b"-FVE-FS-"),
        (Kind::Lvm2, 512 + 24, b"LVM2 001"),
        (Kind::Raid, 4096, b"\xfc\x4e\x2b\xa9"),
        (Kind::Raid, 8 * MIB - 64 * 1024, b"\xfc\x4e\x2b\xa9"),
        (Kind::Raid, 8 * MIB - 8192, b"\xfc\x4e\x2b\xa9"),
        (Kind::Btrfs, 65_600, b"_BHRfS_M"),
        (Kind::Exfat, 3, b"EXFAT   "),
        (Kind::Squashfs, 0, b"hsqs"),
        (Kind::Iso9660, 32_769, b"CD001"),
        (Kind::Suspended, 4086, b"S1SUSPEND\0"),
    ] {
        let made = Made::empty(8 * MIB);
        assert_eq!(made.kind(), Kind::Unknown);
        made.patch(at, mark);
        assert_eq!(made.kind(), kind);
        assert!(made.free().is_err(), "{kind}");
    }
}

#[test]
fn what_bears_two_marks_is_kept_whole() {
    let Some((made, _)) = super::ext::made(&["-t", "ext4"], 16 * MIB, 1) else { return };
    made.free().unwrap();
    for (at, mark) in [(0, &b"XFSB"[..]), (16 * MIB - 8192, b"\xfc\x4e\x2b\xa9"), (512 + 24, b"LVM2 001")] {
        let old = made.bytes(at, mark.len());
        made.patch(at, mark);
        assert!(matches!(made.free(), Err(KeepWhole::Ambiguous { .. })), "{at}");
        made.patch(at, &old);
    }
    made.free().unwrap();
}

#[test]
fn of_swap_space_the_first_page_is_used() {
    let Some(mkswap) = program("mkswap", "util-linux") else { return };
    for page in ["4096", "65536"] {
        let made = Made::empty(8 * MIB);
        made.run(&mkswap, ["-q", "-p", page]);
        let page: u64 = page.parse().unwrap();
        assert_eq!(made.free().unwrap(), std::iter::once(page..8 * MIB).collect::<Vec<_>>());
        // More pages than there are.
        made.patch(1028, &u32::MAX.to_le_bytes());
        assert!(matches!(made.free(), Err(KeepWhole::Damaged { .. })));
    }
}

#[test]
fn runs_are_long_and_aligned_on_the_disk_wherever_the_partition_starts() {
    let Some((made, _)) = super::ext::made(&["-t", "ext4", "-b", "1024"], 16 * MIB, 1) else { return };
    let disk = made.disk();
    let all = super::super::ext::free(&Part::new(&disk, 0..16 * MIB).unwrap()).unwrap();
    let blocks = numbers(all.free.runs());
    for start in [512, 63 * 512, 2048 * 512] {
        let bytes = [vec![0xa5; start as usize], made.bytes(0, 16 << 20)].concat();
        let disk = crate::restore::mem::MemDisk::new(bytes, 512);
        let free = free_space(&disk, start..start + 16 * MIB).unwrap();
        assert!(!free.is_empty());
        for range in free {
            assert!(range.start % 4096 == 0 && range.end % 4096 == 0 && range.end - range.start >= 64 << 10);
            let (first, last) = ((range.start - start) / 1024, (range.end - start).div_ceil(1024));
            assert!((first..last).all(|block| blocks.binary_search(&block).is_ok()));
        }
    }
}
